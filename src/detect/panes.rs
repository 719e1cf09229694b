//! Time cut into panes, and what is known of the rows of each.
//!
//! A sliding window is the current pane and the 59 before it; a tumbling window is one pane of its own
//! length. Panes are aligned to the epoch. They lie side by side, in the order of time: heads, words, lists.

use super::StateError;
use super::aggregate::{Layout, List, Place, add_to_list, number_at, takes};
use super::codec::{Reader, Writer};
use super::edge::{read_severity, write_severity};
use super::shelf::Shelf;
use crate::alert::Severity;
use crate::event::{EventName, Micros, Slice, Timestamp};
use crate::rule::{Threshold, Window};
use crate::stats::distinct::first_at;

/// Panes of a sliding window.
pub const PANES: i64 = 60;

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
            Window::Tumbling(window) | Window::Session(window) => {
                Cut { window, pane: window, panes: 1, paned: true }
            }
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

/// What is known of the rows of one pane, beside its aggregates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pane {
    /// Which pane.
    pub index: i64,
    /// Its rows.
    pub rows: u64,
    /// The first and last row by arrival.
    pub ends: [EventName; 2],
    /// When it was touched, counted over the key's rows.
    pub turn: u64,
    /// Stream time at which it was touched last.
    pub touched: Timestamp,
    /// Until when it is remembered, once it has closed.
    pub closed: Option<Timestamp>,
    /// Whether the row that touched it last was older than the key's newest.
    pub by_older: bool,
    /// The severity that was said of it (tumbling).
    pub said: Option<Severity>,
}

/// A row on its way into a pane.
#[derive(Clone, Copy)]
pub struct Touch<'a> {
    /// The slice it stands in.
    pub rows: &'a Slice<'a>,
    /// Its place there.
    pub i: usize,
    /// Its pane.
    pub index: i64,
    /// Whether it is older than the key's newest.
    pub older: bool,
    /// Counts the key's rows.
    pub turn: u64,
}

/// The panes of one key, sorted by index.
#[derive(Debug, Default)]
pub struct Panes {
    heads: Shelf<Pane>,
    words: Shelf<u64>,
    lists: Shelf<List>,
    /// Whether some row was older than the key's newest: else panes were touched, and close, in their order.
    mixed: bool,
}

impl Panes {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// What is known of their rows, in the order of time.
    pub fn heads(&self) -> &[Pane] {
        &self.heads
    }

    /// The same, to change it.
    pub fn heads_mut(&mut self) -> &mut [Pane] {
        &mut self.heads
    }

    /// Some number from where the next row will be folded, and from the pane that leaves the window for it: to have
    /// them at hand.
    pub fn peek(&self) -> u64 {
        let Some(last) = self.heads.last() else { return 0 };
        let leaving = self.heads.len().saturating_sub(PANES as usize);
        let index = self.heads.get(leaving).map_or(0, |pane| pane.index as u64);
        let width = self.words.len() / self.heads.len();
        let word = |words: Option<&u64>| words.copied().unwrap_or_default();
        last.turn ^ index ^ word(self.words.last()) ^ word(self.words.get(leaving * width))
    }

    /// The place of the first pane at or after `index`.
    pub fn place(&self, index: i64) -> usize {
        let heads: &[Pane] = &self.heads;
        first_at(heads.len(), |at| heads.get(at).map_or(i64::MAX, |pane| pane.index), index)
    }

    fn find(&self, index: i64) -> Option<usize> {
        let at = self.place(index);
        self.heads.get(at).filter(|pane| pane.index == index).map(|_| at)
    }

    /// The pane of that index.
    pub fn get(&self, index: i64) -> Option<&Pane> {
        self.heads.get(self.find(index)?)
    }

    /// The pane of that index, to change it.
    pub fn get_mut(&mut self, index: i64) -> Option<&mut Pane> {
        let at = self.find(index)?;
        self.heads.get_mut(at)
    }

    /// Panes `low..=high` that have rows, in the order of time.
    pub fn within(&self, low: i64, high: i64) -> &[Pane] {
        self.heads.get(self.places(low, high)).unwrap_or_default()
    }

    /// Where panes `low..=high` stand.
    pub fn places(&self, low: i64, high: i64) -> std::ops::Range<usize> {
        let from = self.place(low);
        from..self.place(high.saturating_add(1)).max(from)
    }

    /// The words of the pane at a place.
    pub fn words(&self, layout: &Layout, at: usize) -> &[u64] {
        let width = layout.nothing().len();
        self.words.get(at * width..(at + 1) * width).unwrap_or_default()
    }

    /// The words of the pane of that index.
    pub fn words_of(&self, layout: &Layout, index: i64) -> Option<&[u64]> {
        self.find(index).map(|at| self.words(layout, at))
    }

    /// The lists of the pane at a place.
    pub fn lists(&self, layout: &Layout, at: usize) -> &[List] {
        let width = layout.lists();
        self.lists.get(at * width..(at + 1) * width).unwrap_or_default()
    }

    /// Adds a row to its pane.
    pub fn add(&mut self, layout: &Layout, touch: Touch<'_>) {
        let at = self.place(touch.index);
        let name = touch.rows.name(touch.i);
        if self.heads.get(at).is_none_or(|pane| pane.index != touch.index) {
            let pane = Pane { index: touch.index, ends: [name; 2], ..Pane::default() };
            self.heads.insert(at, [pane]);
            self.words.insert(at * layout.nothing().len(), layout.nothing().iter().copied());
            self.lists.insert(at * layout.lists(), std::iter::repeat_n(List::Empty, layout.lists()));
        }
        self.mixed |= touch.older || at + 1 < self.heads.len();
        let Some(pane) = self.heads.get_mut(at) else { return };
        pane.rows += 1;
        pane.ends[1] = name;
        (pane.turn, pane.touched, pane.by_older) = (touch.turn, touch.rows.now(touch.i), touch.older);
        let width = layout.nothing().len();
        if let Some(words) = self.words.get_mut(at * width..(at + 1) * width) {
            layout.fold(words, touch.rows, touch.i);
        }
        if layout.lists() > 0 {
            self.add_to_lists(layout, at, touch);
        }
    }

    fn add_to_lists(&mut self, layout: &Layout, at: usize, touch: Touch<'_>) {
        let steps = touch.rows.steps(touch.i);
        for (aggregate, place) in layout.aggregates().iter().zip(layout.places()) {
            let Some(argument) = aggregate.arg.filter(|_| takes(aggregate.filter, steps)) else { continue };
            let (list, most) = match *place {
                Place::List { at, most } => (at, Some(most)),
                Place::Quantiles { at, .. } => (at, None),
                _ => continue,
            };
            let here = at * layout.lists() + list;
            let Some((before, after)) = self.lists.split_at_mut_checked(here) else { return };
            let hint = at.checked_sub(1).and_then(|at| before.get(at * layout.lists() + list));
            let Some(list) = after.first_mut() else { return };
            let (array, row) = touch.rows.cell(argument, touch.i);
            match (most, list) {
                (Some(most), list) => {
                    add_to_list(list, most, (array, row), hint.and_then(|list| list.values().first()));
                }
                (None, list) => {
                    if let (Some(x), Some(counts)) = (number_at(array, row), list.counts()) {
                        counts.add(x);
                    }
                }
            }
        }
    }

    /// Forgets a pane.
    pub fn remove(&mut self, layout: &Layout, index: i64) {
        let Some(at) = self.find(index) else { return };
        self.heads.remove(at, 1);
        self.words.remove(at * layout.nothing().len(), layout.nothing().len());
        self.lists.remove(at * layout.lists(), layout.lists());
        self.mixed = self.mixed && is_mixed(&self.heads);
    }

    /// The closed pane that is forgotten first: until when it is remembered, and its index.
    pub fn next_forgotten(&self) -> Option<(Timestamp, i64)> {
        let end = |pane: &Pane| Some((pane.closed?, pane.index));
        if self.mixed { self.heads.iter().filter_map(end).min() } else { end(self.heads.first()?) }
    }

    /// The open pane that closes first, and when.
    pub fn next_closing(&self, due: impl Fn(&Pane) -> Timestamp) -> Option<(Timestamp, i64)> {
        let closing = |pane: &Pane| pane.closed.is_none().then(|| (due(pane), pane.index));
        if self.mixed {
            return self.heads.iter().filter_map(closing).min();
        }
        closing(self.heads.get(self.heads.partition_point(|pane| pane.closed.is_some()))?)
    }

    /// The pane that was touched longest ago.
    pub fn oldest_touched(&self) -> Option<i64> {
        if self.mixed {
            return self.heads.iter().min_by_key(|pane| pane.turn).map(|pane| pane.index);
        }
        self.heads.first().map(|pane| pane.index)
    }

    /// Bit for bit.
    pub fn write(&self, out: &mut Writer) {
        out.list(&self.heads, |out, pane| pane.write(out));
        out.list(&self.words, |out, word| out.u64(*word));
        out.list(&self.lists, |out, list| list.write(out));
    }

    /// What [`write`](Self::write) made.
    pub fn read(from: &mut Reader<'_>) -> Result<Panes, StateError> {
        let heads = from.list(Pane::read)?;
        Ok(Panes {
            mixed: is_mixed(&heads),
            heads: heads.into(),
            words: from.list(Reader::u64)?.into(),
            lists: from.list(List::read)?.into(),
        })
    }
}

/// Whether panes were not touched in their order alone.
fn is_mixed(heads: &[Pane]) -> bool {
    heads.iter().any(|pane| pane.by_older) || heads.windows(2).any(|pair| pair[0].turn > pair[1].turn)
}

impl Pane {
    fn write(&self, out: &mut Writer) {
        out.i64(self.index);
        out.u64(self.rows);
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
            ends: [from.name()?, from.name()?],
            turn: from.u64()?,
            touched: from.time()?,
            by_older: from.u8()? != 0,
            closed: from.option(Reader::time)?,
            said: from.option(read_severity)?,
        })
    }
}
