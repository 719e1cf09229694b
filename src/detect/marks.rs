//! What a closed tumbling window leaves behind for a while: a row for it is late.

use super::StateError;
use super::codec::{Reader, Writer};
use super::shelf::Shelf;
use crate::event::Timestamp;

/// Closed windows that a key remembers at most.
const MARKS: usize = 1024;

/// The closed windows of one key.
#[derive(Debug, Default)]
pub struct Marks {
    /// Index, and until when it is remembered; sorted by index.
    known: Shelf<(i64, Timestamp)>,
    /// Whether some later window is remembered less long.
    mixed: bool,
}

impl Marks {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a window has closed.
    pub fn has(&self, index: i64) -> bool {
        self.known.binary_search_by_key(&index, |(mark, _)| *mark).is_ok()
    }

    /// Remembers that a window has closed; true if the one that would be forgotten first had to go for it.
    pub fn add(&mut self, index: i64, until: Timestamp) -> bool {
        if let Err(at) = self.known.binary_search_by_key(&index, |(mark, _)| *mark) {
            self.mixed |= at < self.known.len() || self.known.last().is_some_and(|(_, last)| *last > until);
            self.known.insert(at, [(index, until)]);
        }
        if self.known.len() <= MARKS {
            return false;
        }
        let first = if self.mixed { (0..self.known.len()).min_by_key(|at| self.until(*at)) } else { Some(0) };
        first.into_iter().for_each(|at| self.remove_at(at));
        true
    }

    fn until(&self, at: usize) -> Timestamp {
        self.known.get(at).map_or(Timestamp(i64::MAX), |(_, until)| *until)
    }

    /// The window that is forgotten first: until when it is remembered, and its index.
    pub fn next(&self) -> Option<(Timestamp, i64)> {
        let of = |(index, until): &(i64, Timestamp)| (*until, *index);
        if self.mixed { self.known.iter().map(of).min() } else { self.known.first().map(of) }
    }

    /// Forgets a window.
    pub fn remove(&mut self, index: i64) {
        if let Ok(at) = self.known.binary_search_by_key(&index, |(mark, _)| *mark) {
            self.remove_at(at);
        }
    }

    /// Forgets all that are remembered until then at most.
    pub fn forget(&mut self, until: Timestamp) {
        while let Some((_, index)) = self.next().filter(|(end, _)| *end <= until) {
            self.remove(index);
        }
    }

    fn remove_at(&mut self, at: usize) {
        self.known.remove(at, 1);
        self.mixed = self.mixed && is_mixed(&self.known);
    }

    /// Bit for bit.
    pub fn write(&self, out: &mut Writer) {
        out.list(&self.known, |out, (index, until)| {
            out.i64(*index);
            out.time(*until);
        });
    }

    /// What [`write`](Self::write) made.
    pub fn read(from: &mut Reader<'_>) -> Result<Marks, StateError> {
        let known = from.list(|from| Ok((from.i64()?, from.time()?)))?;
        Ok(Marks { mixed: is_mixed(&known), known: known.into() })
    }
}

fn is_mixed(known: &[(i64, Timestamp)]) -> bool {
    known.windows(2).any(|pair| pair[0].1 > pair[1].1)
}
