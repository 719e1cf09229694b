//! What one key of a threshold rule remembers: the times of exact counts, panes, distinct values, what has
//! been said, and which windows have closed.

use std::collections::VecDeque;

use super::StateError;
use super::aggregate::{Layout, distinct_hash, takes};
use super::codec::{Reader, Writer};
use super::edge::Edge;
use super::marks::Marks;
use super::moving::Moving;
use super::panes::{Cut, Pane, Panes, Touch};
use crate::alert::{Blind, Reason};
use crate::event::{EventName, Limits, Micros, Timestamp};
use crate::rule::{AggFunc, Threshold};
use crate::stats::distinct::{DistinctPanes, Which};

/// The times of the last rows that a FILTER took, by arrival.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times(pub VecDeque<Seen>);

/// One row of a ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Its time by the rule's clock.
    pub time: Timestamp,
    /// Stream time at which it came.
    pub arrived: Timestamp,
    /// Its name.
    pub name: EventName,
}

impl Times {
    /// All times, rising.
    pub fn sorted(&self) -> Vec<Timestamp> {
        let mut times: Vec<Timestamp> = self.0.iter().map(|seen| seen.time).collect();
        times.sort_unstable();
        times
    }

    /// Rows in (end − window, end].
    pub fn count(&self, cut: &Cut, end: Timestamp) -> u64 {
        let start = end.minus(cut.window);
        self.0.iter().filter(|seen| start < seen.time && seen.time <= end).count() as u64
    }

    /// Adds a row. Room grows from one on: most keys have few rows.
    fn push(&mut self, seen: Seen) {
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(self.0.len().max(1));
        }
        self.0.push_back(seen);
    }
}

/// What one key's memory holds.
#[derive(Debug, Default)]
pub struct KeyState {
    /// The newest time of a row that was folded; none before the first.
    pub newest: Option<Timestamp>,
    /// Stream time of the last row.
    pub touched: Timestamp,
    /// Counts rows.
    pub turns: u64,
    /// The newest pane that was judged at its close.
    pub judged: Option<i64>,
    /// What has fired.
    pub edge: Edge,
    /// One per [`Threshold::rings`].
    pub rings: Box<[Times]>,
    /// What is known of rows that no ring counts.
    pub panes: Panes,
    /// What the newest window knows, carried from row to row.
    pub moving: Option<Box<Moving>>,
    /// One per aggregate that counts distinct values, in order.
    pub distinct: Box<[DistinctPanes]>,
    /// Closed tumbling windows.
    pub marks: Marks,
}

impl KeyState {
    /// Nothing seen yet.
    pub fn new(spec: &Threshold) -> KeyState {
        let distinct = spec.aggregates.iter().filter(|a| a.func == AggFunc::CountDistinct).count();
        KeyState {
            rings: vec![Times::default(); spec.rings.len()].into(),
            distinct: vec![DistinctPanes::default(); distinct].into(),
            touched: Timestamp(i64::MIN),
            ..KeyState::default()
        }
    }

    /// Whether the pane has closed: a row for it changes nothing.
    pub fn is_closed(&self, index: i64) -> bool {
        self.panes.get(index).is_some_and(|pane| pane.closed.is_some()) || self.marks.has(index)
    }

    /// Panes `low..=high` that have rows, in the order of time.
    pub fn within(&self, low: i64, high: i64) -> &[Pane] {
        self.panes.within(low, high)
    }

    /// Forgets a pane.
    pub fn remove_pane(&mut self, layout: &Layout, index: i64) {
        self.panes.remove(layout, index);
        self.distinct.iter_mut().for_each(|distinct| distinct.remove(index));
        if self.moving.as_ref().is_some_and(|moving| moving.covers(index)) {
            self.moving = None;
        }
    }

    /// Adds a row to the rings.
    pub fn add_to_rings(
        &mut self,
        spec: &Threshold,
        seen: Seen,
        steps: u32,
        open: Micros,
        blind: &mut Blind,
    ) {
        for (ring, times) in spec.rings.iter().zip(&mut self.rings) {
            if !takes(ring.filter, steps) {
                continue;
            }
            if times.0.len() >= 2 * ring.n as usize
                && let Some(gone) = times.0.pop_front()
                && gone.arrived.plus(open) > seen.arrived
            {
                blind.add(Reason::Capped, 1);
            }
            times.push(seen);
        }
    }

    /// Adds a row to its pane.
    pub fn add_to_pane(&mut self, layout: &Layout, limits: &Limits, mut touch: Touch<'_>, blind: &mut Blind) {
        self.turns += 1;
        touch.turn = self.turns;
        let Touch { rows, i, index, .. } = touch;
        self.panes.add(layout, touch);
        if self.moving.as_mut().is_some_and(|moving| !moving.add(layout, index, rows, i)) {
            self.moving = None;
        }
        if !self.distinct.is_empty() {
            let all = layout.aggregates().iter().filter(|a| a.func == AggFunc::CountDistinct);
            for (set, aggregate) in all.enumerate() {
                if takes(aggregate.filter, rows.steps(i))
                    && let Some(hash) = distinct_hash(aggregate, rows, i)
                {
                    self.add_distinct(set, (index, hash), limits.distinct, blind);
                }
            }
        }
        while self.panes.len() > limits.panes.max(1) {
            // By time, a backlog would be invisible.
            let Some(oldest) = self.panes.oldest_touched() else { return };
            self.remove_pane(layout, oldest);
            blind.add(Reason::Capped, 1);
        }
    }

    /// At the limit the values of the pane that was touched longest ago leave: were the newcomer refused, what
    /// is long over would hide what is going on.
    fn add_distinct(&mut self, set: usize, (pane, hash): (i64, u128), cap: usize, blind: &mut Blind) {
        let Some(set) = self.distinct.get_mut(set) else { return };
        while !set.insert(pane, hash, cap) {
            blind.add(Reason::Capped, 1);
            let others =
                self.panes.heads().iter().filter(|other| other.index != pane && set.has(other.index));
            let Some(oldest) = others.min_by_key(|other| other.turn) else { return };
            set.remove(oldest.index);
        }
    }

    /// Some number from where the next row will be folded: to have it at hand.
    pub fn peek(&self) -> u64 {
        let sets = self.distinct.iter().fold(0, |all, set| all ^ set.peek()) as u64;
        let moving = self.moving.as_ref().map_or(0, |moving| moving.peek());
        let ring = self.rings.first().and_then(|times| times.0.back()).map_or(0, |seen| seen.time.0 as u64);
        self.panes.peek() ^ moving ^ sets ^ ring
    }

    /// Makes `low..=high` the newest window, which is judged next.
    pub fn advance(&mut self, layout: &Layout, low: i64, high: i64) {
        self.distinct.iter_mut().for_each(|distinct| distinct.advance(Which::Newest, low, high));
        Moving::advance(&mut self.moving, layout, &self.panes, low, high);
    }

    /// Bit for bit.
    pub fn write(&self, out: &mut Writer) {
        out.option(self.newest.as_ref(), |out, time| out.time(*time));
        out.time(self.touched);
        out.u64(self.turns);
        out.option(self.judged.as_ref(), |out, pane| out.i64(*pane));
        self.edge.write(out);
        out.list(&self.rings, |out, times| {
            let seen: Vec<Seen> = times.0.iter().copied().collect();
            out.list(&seen, |out, seen| {
                out.time(seen.time);
                out.time(seen.arrived);
                out.name(&seen.name);
            });
        });
        self.panes.write(out);
        out.list(&self.distinct, |out, distinct| {
            out.list(&distinct.sorted(), |out, (pane, hashes)| {
                out.i64(*pane);
                out.list(hashes, |out, hash| out.u128(*hash));
            });
        });
        self.marks.write(out);
    }

    /// What [`write`](Self::write) made.
    pub fn read(from: &mut Reader<'_>) -> Result<KeyState, StateError> {
        Ok(KeyState {
            newest: from.option(Reader::time)?,
            touched: from.time()?,
            turns: from.u64()?,
            judged: from.option(Reader::i64)?,
            edge: Edge::read(from)?,
            rings: from
                .list(|from| {
                    let seen = from.list(|from| {
                        Ok(Seen { time: from.time()?, arrived: from.time()?, name: from.name()? })
                    })?;
                    Ok(Times(seen.into()))
                })?
                .into(),
            panes: Panes::read(from)?,
            moving: None,
            distinct: from
                .list(|from| {
                    let mut distinct = DistinctPanes::default();
                    for (pane, hashes) in from.list(|from| Ok((from.i64()?, from.list(Reader::u128)?)))? {
                        hashes.into_iter().for_each(|hash| {
                            distinct.insert(pane, hash, usize::MAX);
                        });
                    }
                    Ok(distinct)
                })?
                .into(),
            marks: Marks::read(from)?,
        })
    }
}
