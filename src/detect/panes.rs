//! Time cut into panes, and the rings of exact counts.
//!
//! A sliding window is the current pane and the 59 before it; a tumbling window is one pane of its own
//! length. Panes are aligned to the epoch.

use std::collections::VecDeque;

use super::StateError;
use super::aggregate::{Partial, distinct_hash};
use super::codec::{Reader, Writer};
use super::edge::{Edge, read_severity, write_severity};
use crate::alert::{Blind, Reason, Severity};
use crate::event::{EventName, Limits, Micros, Slice, Timestamp};
use crate::rule::{AggFunc, Aggregate, Threshold, Window};
use crate::stats::distinct::DistinctPanes;

/// Panes of a sliding window.
pub const PANES: i64 = 60;

/// Closed tumbling windows whose start a key remembers at most.
const MARKS: usize = 1024;

/// How a rule cuts time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Length of the window.
    pub window: Micros,
    /// Length of a pane.
    pub pane: Micros,
    /// Panes of a window.
    pub panes: i64,
    /// Whether anything of the rule goes by panes.
    pub paned: bool,
}

impl Cut {
    /// How this rule cuts time.
    pub fn new(spec: &Threshold) -> Cut {
        match spec.window {
            Window::Tumbling(window) => Cut { window, pane: window, panes: 1, paned: true },
            Window::Sliding(window) => Cut {
                window,
                pane: window / PANES + i64::from(window % PANES != 0),
                panes: PANES,
                paned: spec.aggregates.iter().any(|aggregate| aggregate.ring.is_none()),
            },
        }
    }

    /// The pane of an instant.
    pub fn index(&self, time: Timestamp) -> i64 {
        time.0.div_euclid(self.pane)
    }

    /// The start of a pane.
    pub fn start(&self, index: i64) -> Timestamp {
        Timestamp(index.saturating_mul(self.pane))
    }

    /// The end of a pane: the first instant after it.
    pub fn end(&self, index: i64) -> Timestamp {
        self.start(index.saturating_add(1))
    }

    /// The start of the window whose last pane is `index`.
    pub fn window_start(&self, index: i64) -> Timestamp {
        self.end(index).minus(self.window)
    }

    /// The first pane of the window whose last one is `index`.
    pub fn low(&self, index: i64) -> i64 {
        index.saturating_sub(self.panes - 1)
    }

    /// By what ends of windows are compared: the pane if anything is paned, else the instant.
    pub fn measure(&self, end: Timestamp) -> i64 {
        if self.paned { self.index(end) } else { end.0 }
    }

    /// Ends less than this apart belong to windows that overlap.
    pub fn span(&self) -> i64 {
        if self.paned { self.panes } else { self.window }
    }
}

/// What is known of the rows of one pane.
#[derive(Clone, Debug, PartialEq)]
pub struct Pane {
    /// Which pane.
    pub index: i64,
    /// Its rows.
    pub rows: u64,
    /// One per aggregate.
    pub partials: Vec<Partial>,
    /// The first and last row by arrival.
    pub ends: [EventName; 2],
    /// When it was touched, counted over the key's rows.
    pub turn: u64,
    /// Stream time at which it was touched last.
    pub touched: Timestamp,
    /// Whether the row that touched it last was older than the key's newest.
    pub by_older: bool,
    /// Until when it is remembered, once it has closed.
    pub closed: Option<Timestamp>,
    /// The severity that was said of it (tumbling).
    pub said: Option<Severity>,
}

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
    pub rings: Vec<Times>,
    /// Sorted by index.
    pub panes: Vec<Pane>,
    /// One per aggregate that counts distinct values, in order.
    pub distinct: Vec<DistinctPanes>,
    /// Closed tumbling windows: index, and until when it is remembered; sorted by index.
    pub marks: Vec<(i64, Timestamp)>,
}

impl KeyState {
    /// Nothing seen yet.
    pub fn new(spec: &Threshold) -> KeyState {
        let distinct = spec.aggregates.iter().filter(|a| a.func == AggFunc::CountDistinct).count();
        KeyState {
            rings: vec![Times::default(); spec.rings.len()],
            distinct: vec![DistinctPanes::default(); distinct],
            touched: Timestamp(i64::MIN),
            ..KeyState::default()
        }
    }

    /// Whether the pane has closed: a row for it changes nothing.
    pub fn is_closed(&self, index: i64) -> bool {
        self.pane(index).is_some_and(|pane| pane.closed.is_some())
            || self.marks.binary_search_by_key(&index, |(mark, _)| *mark).is_ok()
    }

    /// The pane of that index.
    pub fn pane(&self, index: i64) -> Option<&Pane> {
        self.panes.binary_search_by_key(&index, |pane| pane.index).ok().and_then(|at| self.panes.get(at))
    }

    /// The pane of that index, to change it.
    pub fn pane_mut(&mut self, index: i64) -> Option<&mut Pane> {
        let at = self.panes.binary_search_by_key(&index, |pane| pane.index).ok()?;
        self.panes.get_mut(at)
    }

    /// Panes `low..=high` that have rows, in the order of time.
    pub fn within(&self, low: i64, high: i64) -> &[Pane] {
        let from = self.panes.partition_point(|pane| pane.index < low);
        let to = self.panes.partition_point(|pane| pane.index <= high);
        self.panes.get(from..to.max(from)).unwrap_or_default()
    }

    /// Forgets a pane.
    pub fn remove_pane(&mut self, index: i64) {
        if let Ok(at) = self.panes.binary_search_by_key(&index, |pane| pane.index) {
            self.panes.remove(at);
        }
        self.distinct.iter_mut().for_each(|distinct| distinct.remove(index));
    }

    /// Remembers that a tumbling window has closed.
    pub fn mark(&mut self, index: i64, until: Timestamp, blind: &mut Blind) {
        if let Err(at) = self.marks.binary_search_by_key(&index, |(mark, _)| *mark) {
            self.marks.insert(at, (index, until));
        }
        if self.marks.len() > MARKS
            && let Some(first) = (0..self.marks.len()).min_by_key(|at| self.marks[*at].1)
        {
            self.marks.remove(first);
            blind.add(Reason::Capped, 1);
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
            times.0.push_back(seen);
        }
    }

    /// Adds row `i` to the pane `index`.
    pub fn add_to_pane(
        &mut self,
        spec: &Threshold,
        limits: &Limits,
        (rows, i): (&Slice<'_>, usize),
        (index, older): (i64, bool),
        blind: &mut Blind,
    ) {
        self.turns += 1;
        let (name, now, turn) = (rows.name(i), rows.now(i), self.turns);
        let at = match self.panes.binary_search_by_key(&index, |pane| pane.index) {
            Ok(at) => at,
            Err(at) => {
                let partials = spec.aggregates.iter().map(Partial::new).collect();
                let pane = Pane {
                    index,
                    rows: 0,
                    partials,
                    ends: [name; 2],
                    turn,
                    touched: now,
                    by_older: older,
                    closed: None,
                    said: None,
                };
                self.panes.insert(at, pane);
                at
            }
        };
        let Some(pane) = self.panes.get_mut(at) else { return };
        pane.rows += 1;
        pane.ends[1] = name;
        (pane.turn, pane.touched, pane.by_older) = (turn, now, older);
        let steps = rows.steps(i);
        for (aggregate, partial) in spec.aggregates.iter().zip(&mut pane.partials) {
            if aggregate.func != AggFunc::CountDistinct && takes(aggregate.filter, steps) {
                partial.add(aggregate, rows, i);
            }
        }
        let counts_distinct = |aggregate: &&Aggregate| aggregate.func == AggFunc::CountDistinct;
        for (set, aggregate) in spec.aggregates.iter().filter(counts_distinct).enumerate() {
            if takes(aggregate.filter, steps)
                && let Some(hash) = distinct_hash(aggregate, rows, i)
            {
                self.add_distinct(set, (index, hash), limits.distinct, blind);
            }
        }
        self.cap_panes(limits, blind);
    }

    /// At the limit the values of the pane that was touched longest ago leave: were the newcomer refused,
    /// what is long over would hide what is going on.
    fn add_distinct(&mut self, set: usize, (pane, hash): (i64, u128), cap: usize, blind: &mut Blind) {
        let Some(set) = self.distinct.get_mut(set) else { return };
        while !set.insert(pane, hash, cap) {
            blind.add(Reason::Capped, 1);
            let others = self.panes.iter().filter(|other| other.index != pane && set.has(other.index));
            let Some(oldest) = others.min_by_key(|other| other.turn) else { return };
            set.remove(oldest.index);
        }
    }

    /// At the limit the pane that was touched longest ago leaves: by time, a backlog would be invisible.
    fn cap_panes(&mut self, limits: &Limits, blind: &mut Blind) {
        while self.panes.len() > limits.panes.max(1) {
            let Some(oldest) = self.panes.iter().min_by_key(|pane| pane.turn).map(|pane| pane.index) else {
                return;
            };
            self.remove_pane(oldest);
            blind.add(Reason::Capped, 1);
        }
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
        out.list(&self.panes, |out, pane| pane.write(out));
        out.list(&self.distinct, |out, distinct| {
            out.list(&distinct.sorted(), |out, (pane, hashes)| {
                out.i64(*pane);
                out.list(hashes, |out, hash| out.u128(*hash));
            });
        });
        out.list(&self.marks, |out, (index, until)| {
            out.i64(*index);
            out.time(*until);
        });
    }

    /// What [`write`](Self::write) made.
    pub fn read(from: &mut Reader<'_>) -> Result<KeyState, StateError> {
        Ok(KeyState {
            newest: from.option(Reader::time)?,
            touched: from.time()?,
            turns: from.u64()?,
            judged: from.option(Reader::i64)?,
            edge: Edge::read(from)?,
            rings: from.list(|from| {
                let seen = from.list(|from| {
                    Ok(Seen { time: from.time()?, arrived: from.time()?, name: from.name()? })
                })?;
                Ok(Times(seen.into()))
            })?,
            panes: from.list(Pane::read)?,
            distinct: from.list(|from| {
                let mut distinct = DistinctPanes::default();
                for (pane, hashes) in from.list(|from| Ok((from.i64()?, from.list(Reader::u128)?)))? {
                    hashes.into_iter().for_each(|hash| {
                        distinct.insert(pane, hash, usize::MAX);
                    });
                }
                Ok(distinct)
            })?,
            marks: from.list(|from| Ok((from.i64()?, from.time()?)))?,
        })
    }
}

impl Pane {
    fn write(&self, out: &mut Writer) {
        out.i64(self.index);
        out.u64(self.rows);
        out.list(&self.partials, |out, partial| partial.write(out));
        self.ends.iter().for_each(|name| out.name(name));
        out.u64(self.turn);
        out.time(self.touched);
        out.u8(u8::from(self.by_older));
        out.option(self.closed.as_ref(), |out, until| out.time(*until));
        out.option(self.said.as_ref(), |out, said| write_severity(*said, out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Pane, StateError> {
        Ok(Pane {
            index: from.i64()?,
            rows: from.u64()?,
            partials: from.list(Partial::read)?,
            ends: [from.name()?, from.name()?],
            turn: from.u64()?,
            touched: from.time()?,
            by_older: from.u8()? != 0,
            closed: from.option(Reader::time)?,
            said: from.option(read_severity)?,
        })
    }
}

/// Whether a filter took a row with these steps.
pub fn takes(filter: Option<u32>, steps: u32) -> bool {
    filter.is_none_or(|bit| steps.checked_shr(bit).is_some_and(|rest| rest & 1 == 1))
}
