//! What the newest window knows, carried from row to row: counts, sums of ints and extremes, so that a
//! judgement costs what changed and not what is there.
//!
//! It is derived from the panes and never saved. Counts and sums of ints are exact, so that a pane that leaves
//! is subtracted. Extremes lie on a stack, for each pane what is known from it on, which is built anew when it
//! is used up. Sums of floats are not here: they are merged anew.

use super::aggregate::{Layout, Place};
use super::panes::{Panes, fold};
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
    /// Counts and sums of all panes; extremes of those from `flip` on.
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
        if index < self.low || index > self.high {
            return true;
        }
        if index < self.flip {
            return false;
        }
        fold(layout, &mut self.total, rows, i);
        true
    }

    /// Whether a pane is in it.
    pub fn covers(&self, index: i64) -> bool {
        self.low <= index && index <= self.high
    }

    /// Takes in the panes up to `high` and lets those before `low` go; false if the stack is used up.
    fn step(&mut self, layout: &Layout, panes: &Panes, low: i64, high: i64) -> bool {
        if low < self.low || high < self.high || low > self.high {
            return false;
        }
        for at in panes.places(self.low, low.saturating_sub(1)) {
            if self.stack.is_empty() && layout.extremes() > 0 {
                return false;
            }
            self.stack.truncate(self.stack.len() - layout.extremes());
            let gone = panes.words(layout, at);
            layout.places().iter().for_each(|place| place.subtract(&mut self.total, gone));
        }
        for at in panes.places(self.high.saturating_add(1), high) {
            let new = panes.words(layout, at);
            layout.places().iter().for_each(|place| place.merge(&mut self.total, new));
        }
        (self.low, self.high) = (low, high);
        true
    }

    fn rebuild(&mut self, layout: &Layout, panes: &Panes, low: i64, high: i64) {
        (self.low, self.high, self.flip) = (low, high, high);
        self.total.clear();
        self.total.extend_from_slice(layout.nothing());
        self.stack.clear();
        let is_extreme = |place: &&Place| matches!(place, Place::Whole { .. } | Place::Real { .. });
        let extremes: Vec<Place> = layout.places().iter().filter(is_extreme).copied().collect();
        let mut from_here = layout.nothing().get(..layout.extremes()).unwrap_or_default().to_vec();
        for at in panes.places(low, high).rev() {
            let words = panes.words(layout, at);
            let last = panes.heads().get(at).is_some_and(|pane| pane.index == high);
            for place in layout.places() {
                if last || !is_extreme(&place) {
                    place.merge(&mut self.total, words);
                }
            }
            if !last {
                extremes.iter().for_each(|place| place.merge(&mut from_here, words));
                self.stack.extend_from_slice(&from_here);
            }
        }
    }

    /// What is known of `low..=high` at a place, in words of `into`; false if it is not what is carried.
    pub fn read(&self, layout: &Layout, place: Place, (low, high): (i64, i64), into: &mut [u64]) -> bool {
        if (low, high) != (self.low, self.high) || !place.is_carried() {
            return false;
        }
        place.merge(into, &self.total);
        if matches!(place, Place::Whole { .. } | Place::Real { .. }) {
            let top = self.stack.len().checked_sub(layout.extremes()).and_then(|top| self.stack.get(top..));
            top.into_iter().for_each(|top| place.merge(into, top));
        }
        true
    }
}
