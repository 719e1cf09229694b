//! A row of things from which the first go often: they are taken out lazily, so that all the others need not
//! move each time.

use std::ops::{Deref, DerefMut};

/// A vector with a front that may have gone.
#[derive(Clone, Debug)]
pub struct Shelf<T> {
    items: Vec<T>,
    gone: usize,
}

impl<T> Default for Shelf<T> {
    fn default() -> Shelf<T> {
        Shelf { items: Vec::new(), gone: 0 }
    }
}

impl<T> Deref for Shelf<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.items.get(self.gone..).unwrap_or_default()
    }
}

impl<T> DerefMut for Shelf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.items.get_mut(self.gone..).unwrap_or_default()
    }
}

impl<T> From<Vec<T>> for Shelf<T> {
    fn from(items: Vec<T>) -> Shelf<T> {
        Shelf { items, gone: 0 }
    }
}

impl<T: Default> Shelf<T> {
    /// Puts things in before the one at a place.
    pub fn insert(&mut self, at: usize, items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) {
        let items = items.into_iter();
        self.make_room(items.len());
        if at >= self.len() {
            self.items.extend(items);
        } else {
            let at = self.gone + at;
            self.items.splice(at..at, items);
        }
    }

    /// Grows from small beginnings: most keys have few panes.
    fn make_room(&mut self, more: usize) {
        if self.items.capacity() - self.items.len() >= more {
            return;
        }
        if self.gone > 0 {
            self.items.drain(..self.gone);
            self.gone = 0;
        }
        if self.items.capacity() - self.items.len() < more {
            self.items.reserve_exact(more.max(self.items.len()));
        }
    }

    /// Takes some out, from a place on.
    pub fn remove(&mut self, at: usize, count: usize) {
        let count = count.min(self.len().saturating_sub(at));
        if at > 0 {
            let at = self.gone + at;
            self.items.drain(at..at + count);
            return;
        }
        for item in self.items.iter_mut().skip(self.gone).take(count) {
            *item = T::default();
        }
        self.gone += count;
        if self.gone * 4 > self.items.len() + 64 {
            self.items.drain(..self.gone);
            self.gone = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_vector(steps in proptest::collection::vec((any::<bool>(), 0usize..40, 0usize..4), 0..200)) {
            let (mut shelf, mut plain) = (Shelf::default(), Vec::new());
            for (number, (grows, at, count)) in steps.into_iter().enumerate() {
                let at = at.min(plain.len());
                if grows {
                    shelf.insert(at, vec![number; count]);
                    plain.splice(at..at, vec![number; count]);
                } else {
                    let at = if at % 2 == 0 { 0 } else { at };
                    shelf.remove(at, count);
                    plain.drain(at..(at + count).min(plain.len()));
                }
                prop_assert_eq!(&*shelf, &plain[..]);
            }
        }
    }
}
