//! What the newest window knows, carried from row to row: counts, sums of ints and extremes, so that a
//! judgement costs what changed and not what is there.
//!
//! It is derived from the panes and never saved. The window's last pane, in which rows arrive, is not in it: it is
//! looked at beside it. Counts and sums of ints are exact, so that a pane that leaves is subtracted. Extremes lie
//! on a stack, for each pane what is known from it on, which is built anew when it is used up. Sums of floats are
//! not here: they are merged anew.

use super::aggregate::Layout;
use super::panes::Panes;
use crate::event::Slice;

/// So few panes are merged at once.
const FEW: usize = 4;

/// The newest window of one key.
#[derive(Debug)]
pub struct Moving {
    low: i64,
    high: i64,
    /// Panes before this one are on the stack.
    flip: i64,
    /// Counts and sums of all panes before the last; extremes of those from `flip` on.
    total: Vec<u64>,
    /// Extremes per pane: of it and all later ones before `flip`; the oldest pane last.
    stack: Vec<u64>,
}

impl Moving {
    /// Moves to the window `low..=high`; none where it is not worth it.
    pub fn advance(moving: &mut Option<Box<Moving>>, layout: &Layout, panes: &Panes, low: i64, high: i64) {
        if layout.nothing().is_empty() {
            return;
        }
        if let Some(known) = moving {
            if known.low == low && known.high == high || known.step(layout, panes, low, high) {
                return;
            }
            known.rebuild(layout, panes, low, high);
        } else if panes.places(low, high).len() > FEW {
            let mut new = Moving { low, high, flip: high, total: Vec::new(), stack: Vec::new() };
            new.rebuild(layout, panes, low, high);
            *moving = Some(Box::new(new));
        }
    }

    /// A row was added to a pane; false if that cannot be followed.
    pub fn add(&mut self, layout: &Layout, index: i64, rows: &Slice<'_>, i: usize) -> bool {
        if index < self.low || index >= self.high {
            return true;
        }
        if index < self.flip {
            return false;
        }
        layout.fold(&mut self.total, rows, i);
        true
    }

    /// Some number from what the next row will need: to have it at hand.
    pub fn peek(&self) -> u64 {
        let word = |words: &[u64]| words.last().copied().unwrap_or_default();
        word(&self.total) ^ word(&self.stack)
    }

    /// Whether a pane is in it.
    pub fn covers(&self, index: i64) -> bool {
        self.low <= index && index < self.high
    }

    /// Takes in the panes before `high` and lets those before `low` go; false if the stack is used up.
    fn step(&mut self, layout: &Layout, panes: &Panes, low: i64, high: i64) -> bool {
        if low < self.low || high < self.high || low > self.high {
            return false;
        }
        for at in panes.places(self.high, high.saturating_sub(1)) {
            let new = panes.words(layout, at);
            layout.exact().for_each(|cell| cell.merge(&mut self.total, new));
        }
        for at in panes.places(self.low, low.saturating_sub(1)) {
            if layout.extremes() > 0 {
                let Some(rest) = self.stack.len().checked_sub(layout.extremes()) else { return false };
                self.stack.truncate(rest);
            }
            let gone = panes.words(layout, at);
            layout.exact().for_each(|cell| cell.subtract(&mut self.total, gone));
        }
        (self.low, self.high) = (low, high);
        true
    }

    fn rebuild(&mut self, layout: &Layout, panes: &Panes, low: i64, high: i64) {
        (self.low, self.high, self.flip) = (low, high, high);
        self.total.clear();
        self.total.extend_from_slice(layout.nothing());
        self.stack.clear();
        let mut from_here = layout.nothing().get(..layout.extremes()).unwrap_or_default().to_vec();
        for at in panes.places(low, high.saturating_sub(1)).rev() {
            let words = panes.words(layout, at);
            for cell in layout.exact() {
                let into = if cell.tally.is_extreme() { &mut from_here } else { &mut self.total };
                cell.merge(into, words);
            }
            self.stack.extend_from_slice(&from_here);
        }
    }

    /// What is known of `low..=high` without its last pane: all that is exact, and extremes of the panes on the
    /// stack. None if that is not where it stands.
    pub fn read(&self, layout: &Layout, low: i64, high: i64) -> Option<(&[u64], &[u64])> {
        let top = self.stack.len().checked_sub(layout.extremes()).and_then(|top| self.stack.get(top..));
        ((low, high) == (self.low, self.high)).then_some((&self.total, top.unwrap_or_default()))
    }
}
