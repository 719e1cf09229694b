//! The only keyed container: a map with typed key values, a cap, admission, timers, and an order that is
//! saved.
//!
//! At the cap the oldest key that was seen only once makes room; if there is none, the newcomer is refused.
//! So a flood of one-off keys evicts only itself. Timers are lazy: at most one entry per key in `due`; a
//! later deadline is only noted, and an entry that is popped too early goes back under its true deadline.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::alert::{Blind, Reason};
use crate::event::{Key, Timestamp, Value};

/// State `S` per key.
#[derive(Debug)]
pub struct KeyTable<S> {
    entries: HashMap<Key, Entry<S>>,
    due: BTreeSet<(Timestamp, Key)>,
    /// Keys in the order they were admitted, with the count at which they were: those seen more than once,
    /// and those that have gone, are skipped.
    seen_once: VecDeque<(u64, Key)>,
    admitted: u64,
    cap: usize,
}

/// One key.
#[derive(Debug)]
pub struct Entry<S> {
    /// The key's typed values.
    pub values: Box<[Value]>,
    /// What is remembered of it.
    pub state: S,
    /// The how-manieth key it was.
    admitted: u64,
    /// Whether it was seen once only.
    once: bool,
    /// When its next timer is due.
    deadline: Option<Timestamp>,
    /// Under which time it stands in `due`.
    noted: Option<Timestamp>,
}

impl<S> Entry<S> {
    /// When its next timer is due.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Whether it was seen once only.
    pub fn is_once(&self) -> bool {
        self.once
    }
}

impl<S> KeyTable<S> {
    /// An empty table with room for `cap` keys.
    pub fn new(cap: usize) -> KeyTable<S> {
        KeyTable {
            entries: HashMap::new(),
            due: BTreeSet::new(),
            seen_once: VecDeque::new(),
            admitted: 0,
            cap: cap.max(1),
        }
    }

    /// The entry of a key that is seen now, made by `new` if it was unknown; none if it is refused.
    pub fn touch(
        &mut self,
        key: Key,
        blind: &mut Blind,
        new: impl FnOnce() -> (Box<[Value]>, S),
    ) -> Option<&mut Entry<S>> {
        if !self.entries.contains_key(&key) {
            if self.entries.len() >= self.cap && !self.make_room(blind) {
                return None;
            }
            let (values, state) = new();
            self.insert(key, values, state, true);
            return self.entries.get_mut(&key);
        }
        let entry = self.entries.get_mut(&key)?;
        entry.once = false;
        Some(entry)
    }

    /// What is remembered of a key.
    pub fn get(&self, key: Key) -> Option<&Entry<S>> {
        self.entries.get(&key)
    }

    /// The entry of a key, as it is.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Entry<S>> {
        self.entries.get_mut(&key)
    }

    /// Puts a key in as it was saved. Keys must come in the order in which they were first admitted.
    pub fn insert(&mut self, key: Key, values: Box<[Value]>, state: S, once: bool) {
        self.admitted += 1;
        let admitted = self.admitted;
        if once {
            self.seen_once.push_back((admitted, key));
            if self.seen_once.len() > 2 * self.entries.len() + 1024 {
                let entries = &self.entries;
                self.seen_once.retain(|(admitted, key)| {
                    entries.get(key).is_some_and(|entry| entry.once && entry.admitted == *admitted)
                });
            }
        }
        self.entries.insert(key, Entry { values, state, admitted, once, deadline: None, noted: None });
    }

    fn make_room(&mut self, blind: &mut Blind) -> bool {
        while let Some((admitted, key)) = self.seen_once.pop_front() {
            if self.entries.get(&key).is_some_and(|entry| entry.once && entry.admitted == admitted) {
                self.remove(key);
                blind.add(Reason::Evicted, 1);
                return true;
            }
        }
        blind.add(Reason::Refused, 1);
        false
    }

    /// Sets when the key's next timer is due.
    pub fn schedule(&mut self, key: Key, deadline: Option<Timestamp>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.deadline = deadline;
        let Some(deadline) = deadline else { return };
        match entry.noted {
            Some(noted) if noted <= deadline => {}
            noted => {
                if let Some(noted) = noted {
                    self.due.remove(&(noted, key));
                }
                self.due.insert((deadline, key));
                entry.noted = Some(deadline);
            }
        }
    }

    /// A key whose timer is due at or before `until`, earliest first; it must be scheduled anew or removed.
    pub fn pop_due(&mut self, until: Timestamp) -> Option<Key> {
        loop {
            let (noted, key) = *self.due.first()?;
            if noted > until {
                return None;
            }
            self.due.pop_first();
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.noted = None;
            match entry.deadline {
                Some(deadline) if deadline <= noted => {
                    entry.deadline = None;
                    return Some(key);
                }
                Some(deadline) => {
                    entry.noted = Some(deadline);
                    self.due.insert((deadline, key));
                }
                None => {}
            }
        }
    }

    /// When the next timer is due; may be earlier than anything happens, never later.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: Key) {
        if let Some(noted) = self.entries.remove(&key).and_then(|entry| entry.noted) {
            self.due.remove(&(noted, key));
        }
    }

    /// All keys in the order they were admitted: what is saved.
    pub fn in_order(&self) -> Vec<(Key, &Entry<S>)> {
        let mut all: Vec<_> = self.entries.iter().map(|(key, entry)| (*key, entry)).collect();
        all.sort_unstable_by_key(|(_, entry)| entry.admitted);
        all
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(table: &mut KeyTable<u32>, key: u128, blind: &mut Blind) -> bool {
        table.touch(Key(key), blind, || (Box::default(), 0)).is_some()
    }

    #[test]
    fn a_flood_of_one_off_keys_evicts_only_itself() {
        let (mut table, mut blind) = (KeyTable::new(3), Blind::default());
        for key in [1, 2, 1, 2, 10, 11, 12, 13] {
            assert!(touch(&mut table, key, &mut blind));
        }
        assert_eq!(table.len(), 3);
        assert!(table.get_mut(Key(1)).is_some() && table.get_mut(Key(2)).is_some());
        assert_eq!(blind.get(Reason::Evicted), 3);
        assert!(touch(&mut table, 13, &mut blind));
        assert!(!touch(&mut table, 14, &mut blind), "all three were seen twice");
        assert_eq!(blind.get(Reason::Refused), 1);
    }

    #[test]
    fn a_key_that_went_and_came_back_is_young_again() {
        let (mut table, mut blind) = (KeyTable::new(2), Blind::default());
        touch(&mut table, 1, &mut blind);
        table.remove(Key(1));
        touch(&mut table, 2, &mut blind);
        touch(&mut table, 1, &mut blind);
        touch(&mut table, 3, &mut blind);
        assert!(table.get_mut(Key(2)).is_none() && table.get_mut(Key(1)).is_some());
    }

    #[test]
    fn timers_come_in_order_and_late_deadlines_are_only_noted() {
        let (mut table, mut blind) = (KeyTable::new(9), Blind::default());
        for key in [1, 2, 3] {
            touch(&mut table, key, &mut blind);
            table.schedule(Key(key), Some(Timestamp(10 * key as i64)));
        }
        table.schedule(Key(1), Some(Timestamp(25)));
        table.schedule(Key(3), Some(Timestamp(5)));
        assert_eq!(table.next_due(), Some(Timestamp(5)));
        let due: Vec<_> = std::iter::from_fn(|| table.pop_due(Timestamp(25))).collect();
        assert_eq!(due, [Key(3), Key(2), Key(1)]);
        assert_eq!(table.next_due(), None);
    }
}
