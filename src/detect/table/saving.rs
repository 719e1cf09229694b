//! A cut of a table, taken in slices while its rows go on changing.
//!
//! Between two slices a key that is about to change, and that the cut has not yet reached, is saved first: so
//! the cut is that of the moment at which it began, and nobody waits for it. A key that is admitted later is
//! not in it. Rows come in no order; they say themselves in which order keys were admitted.

use arrow::record_batch::RecordBatch;

use super::super::codec::Writer;
use super::super::state::Rows;
use super::KeyTable;

/// How far a cut has come.
#[derive(Debug)]
pub(super) struct Saving<S> {
    rows: Rows,
    write: fn(&S, &mut Writer),
    /// The next place to be looked at.
    next: u32,
}

impl<S> KeyTable<S> {
    /// Begins a cut of what is there now; one that has begun is given up.
    pub fn begin_save(&mut self, write: fn(&S, &mut Writer)) {
        self.cut = self.cut.wrapping_add(1);
        self.saving = Some(Box::new(Saving { rows: Rows::default(), write, next: 0 }));
    }

    /// Gives a cut up.
    pub fn abandon_save(&mut self) {
        self.saving = None;
    }

    /// Goes on with a cut for so many bytes, which are taken off `budget`; the whole of it once it is done.
    pub fn save_some(&mut self, budget: &mut usize) -> Option<Vec<RecordBatch>> {
        let Some(saving) = &mut self.saving else { return Some(Vec::new()) };
        while *budget > 0 {
            let Some(slot) = self.slots.place(saving.next) else {
                return self.saving.take().map(|saving| saving.rows.finish());
            };
            saving.next += 1;
            let mut spent = 1;
            if let Some(entry) = slot.as_mut().filter(|entry| entry.cut != self.cut) {
                entry.cut = self.cut;
                spent = saving.rows.add(entry, saving.write);
            }
            *budget = budget.saturating_sub(spent);
        }
        None
    }

    /// To be called before a key changes or goes.
    pub(super) fn before_change(&mut self, at: u32) {
        if self.saving.is_some() {
            self.save_first(at);
        }
    }

    #[cold]
    fn save_first(&mut self, at: u32) {
        let Some(saving) = &mut self.saving else { return };
        if let Some(entry) = self.slots.get_mut(at).filter(|entry| entry.cut != self.cut) {
            entry.cut = self.cut;
            saving.rows.add(entry, saving.write);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::super::codec::{Reader, Sources};
    use super::super::super::state;
    use super::*;
    use crate::alert::Blind;
    use crate::event::{Key, Timestamp};

    fn write(state: &u32, out: &mut Writer) {
        out.u32(*state);
    }

    fn loaded(tables: &[RecordBatch]) -> KeyTable<u32> {
        let mut table = KeyTable::new(100);
        state::load(&mut table, tables, |bytes| Ok((Reader(bytes, Sources::Same).u32()?, None))).unwrap();
        table
    }

    /// Key, state, whether seen once: in the order of admission.
    fn content(table: &KeyTable<u32>) -> Vec<(u128, u32, bool)> {
        table.in_order().iter().map(|(key, entry)| (key.0, entry.state, entry.is_once())).collect()
    }

    /// What is done to a table: a key is seen, looked at, or forgotten.
    fn change(table: &mut KeyTable<u32>, (what, key): (u8, u128), nth: u32) {
        let mut blind = Blind::default();
        match what {
            0 | 1 => {
                if let Some(entry) = table.touch(Key(key), &mut blind, || (Box::default(), 0)) {
                    entry.state = nth;
                }
            }
            2 => table.remove(Key(key)),
            3 => table.schedule(Key(key), Some(Timestamp(key as i64))),
            _ => {
                if let Some(entry) = table.get_mut(Key(key)) {
                    entry.state += 1000;
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However a cut is sliced, and whatever happens between the slices, it is that of its beginning.
        #[test]
        fn a_cut_is_that_of_its_beginning(
            before in proptest::collection::vec((0u8..5, 0u128..12), 0..60),
            during in proptest::collection::vec((0u8..5, 0u128..12), 0..60),
            budget in 1usize..200,
            rounds in 1usize..4,
        ) {
            let mut table = KeyTable::new(8);
            before.iter().zip(0..).for_each(|(what, nth)| change(&mut table, *what, nth));
            for round in 0..rounds {
                // A cut that was given up leaves no trace.
                table.begin_save(write);
                table.save_some(&mut (budget / 2));
                table.abandon_save();
                let expected = content(&table);
                table.begin_save(write);
                let mut steps = during.iter().zip(1000 * round as u32..);
                let saved = loop {
                    if let Some(saved) = table.save_some(&mut budget.clone()) {
                        break saved;
                    }
                    if let Some((what, nth)) = steps.next() {
                        change(&mut table, *what, nth);
                    }
                };
                let keys: BTreeMap<u128, u32> = expected.iter().map(|(key, state, _)| (*key, *state)).collect();
                prop_assert_eq!(saved.iter().map(RecordBatch::num_rows).sum::<usize>(), keys.len());
                prop_assert_eq!(content(&loaded(&saved)), expected);
            }
        }

        /// Saved at once or in slices and loaded, a table evicts and goes on as if nothing had been.
        #[test]
        fn a_loaded_table_goes_on_as_the_old_one(
            before in proptest::collection::vec((0u8..5, 0u128..12), 0..60),
            after in proptest::collection::vec((0u8..5, 0u128..12), 0..60),
        ) {
            let mut table = KeyTable::new(8);
            before.iter().zip(0..).for_each(|(what, nth)| change(&mut table, *what, nth));
            let mut again = loaded(&state::save(&table, write));
            again.cap = 8;
            prop_assert_eq!(content(&again), content(&table));
            for (what, nth) in after.iter().zip(500..) {
                change(&mut table, *what, nth);
                change(&mut again, *what, nth);
            }
            prop_assert_eq!(content(&again), content(&table));
        }
    }
}
