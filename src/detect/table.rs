//! The only keyed container: a map with typed key values, a cap, admission, timers, and an order that is
//! saved.
//!
//! At the cap the oldest key that was seen only once makes room; if there is none, the newcomer is refused.
//! So a flood of one-off keys evicts only itself. Timers are lazy: a later deadline is only noted, and an
//! entry that is popped too early goes back under its true deadline.
//!
//! Entries lie in chunks and are found by a table of their places, so that neither grows by copying all keys.

mod saving;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use hashbrown::HashTable;

use crate::alert::{Blind, Reason};
use crate::event::key::{self, spread};
use crate::event::{Key, Timestamp, Value};

use super::codec::{Reader, Sources, Writer};
use saving::Saving;

/// Entries of one chunk.
const CHUNK: usize = 256;

/// A time that is none.
const NEVER: Timestamp = Timestamp(i64::MAX);

/// State `S` per key.
#[derive(Debug)]
pub struct KeyTable<S> {
    /// The places of all keys.
    index: HashTable<u32>,
    slots: Slots<S>,
    /// Where the key that was asked for last lies: it is asked for several times in a row.
    last: u32,
    /// Deadlines with keys: those of one time come in the order of keys. What no longer fits an entry is skipped.
    due: BinaryHeap<Reverse<(Timestamp, [u64; 2])>>,
    /// Places in the order in which their keys were admitted, with the low half of the count at which they
    /// were: keys seen more than once, and those that have gone, are skipped.
    seen_once: VecDeque<(u32, u32)>,
    admitted: u64,
    cap: usize,
    /// Counts cuts; keys that the present one has saved, or that came after it began, bear its number.
    cut: u32,
    saving: Option<Box<Saving<S>>>,
}

/// One key.
#[derive(Debug)]
pub struct Entry<S> {
    /// What is remembered of it.
    pub state: S,
    /// The key's typed values.
    pub values: KeyValues,
    key: [u64; 2],
    /// The how-manieth key it was, and whether it was seen once only.
    admitted: u64,
    once: bool,
    /// The last cut that has nothing to ask of it any more.
    cut: u32,
    /// When its next timer is due.
    deadline: Timestamp,
    /// Under which time it stands in `due`.
    noted: Timestamp,
}

/// The typed values of a key, packed: they are read only when something is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValues(Box<[u8]>);

impl KeyValues {
    /// Packs values.
    pub fn new(values: &[Value]) -> KeyValues {
        if values.is_empty() {
            return KeyValues::default();
        }
        let mut out = Writer::default();
        out.list(values, Writer::value);
        KeyValues(out.0.into())
    }

    /// The bytes they are packed in.
    pub fn packed(&self) -> &[u8] {
        &self.0
    }

    /// What was packed.
    pub fn of_packed(bytes: &[u8]) -> KeyValues {
        KeyValues(bytes.into())
    }

    /// All of them.
    pub fn to_vec(&self) -> Vec<Value> {
        if self.0.is_empty() {
            return Vec::new();
        }
        Reader(&self.0, Sources::Same).list(Reader::value).unwrap_or_default()
    }

    /// The value at a place in the key.
    pub fn get(&self, at: usize) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        let mut from = Reader(&self.0, Sources::Same);
        let length = from.u32().unwrap_or_default();
        (0..length).map_while(|_| from.value().ok()).nth(at)
    }
}

impl<S> Entry<S> {
    /// When its next timer is due.
    pub fn deadline(&self) -> Option<Timestamp> {
        (self.deadline != NEVER).then_some(self.deadline)
    }

    /// Whether it was seen once only.
    pub fn is_once(&self) -> bool {
        self.once
    }

    /// The how-manieth key it was.
    pub fn admitted(&self) -> u64 {
        self.admitted
    }

    /// Its key.
    pub fn key(&self) -> Key {
        Key(whole(self.key))
    }
}

/// Entries at fixed places, in chunks.
#[derive(Debug)]
struct Slots<S> {
    chunks: Vec<Vec<Option<Entry<S>>>>,
    free: Vec<u32>,
}

impl<S> Slots<S> {
    fn get(&self, at: u32) -> Option<&Entry<S>> {
        self.chunks.get(at as usize / CHUNK)?.get(at as usize % CHUNK)?.as_ref()
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut Entry<S>> {
        self.chunks.get_mut(at as usize / CHUNK)?.get_mut(at as usize % CHUNK)?.as_mut()
    }

    fn put(&mut self, entry: Entry<S>) -> u32 {
        if let Some(at) = self.free.pop() {
            if let Some(slot) =
                self.chunks.get_mut(at as usize / CHUNK).and_then(|c| c.get_mut(at as usize % CHUNK))
            {
                *slot = Some(entry);
            }
            return at;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // The first chunk grows: most tables stay small.
            self.chunks.push(Vec::with_capacity(if self.chunks.is_empty() { 1 } else { CHUNK }));
        }
        let full = CHUNK * (self.chunks.len() - 1);
        match self.chunks.last_mut() {
            Some(chunk) => {
                chunk.push(Some(entry));
                (full + chunk.len() - 1) as u32
            }
            None => u32::MAX,
        }
    }

    fn take(&mut self, at: u32) -> Option<Entry<S>> {
        let entry = self.chunks.get_mut(at as usize / CHUNK)?.get_mut(at as usize % CHUNK)?.take();
        if entry.is_some() {
            self.free.push(at);
        }
        entry
    }

    /// The place itself; none where the last chunk ends.
    fn place(&mut self, at: u32) -> Option<&mut Option<Entry<S>>> {
        self.chunks.get_mut(at as usize / CHUNK)?.get_mut(at as usize % CHUNK)
    }

    fn iter(&self) -> impl Iterator<Item = &Entry<S>> {
        self.chunks.iter().flatten().flatten()
    }
}

/// A key as it is compared: the upper half first. Unlike the whole it needs no room to be aligned.
fn halves(key: Key) -> [u64; 2] {
    [(key.0 >> 64) as u64, key.0 as u64]
}

fn whole(halves: [u64; 2]) -> u128 {
    u128::from(halves[0]) << 64 | u128::from(halves[1])
}

/// Where a key lies.
fn look<S>(index: &HashTable<u32>, slots: &Slots<S>, halves: [u64; 2]) -> Option<u32> {
    let is_it = |at: &u32| slots.get(*at).is_some_and(|entry| entry.key == halves);
    index.find(spread(whole(halves)), is_it).copied()
}

impl<S> KeyTable<S> {
    /// An empty table with room for `cap` keys.
    pub fn new(cap: usize) -> KeyTable<S> {
        KeyTable {
            index: HashTable::new(),
            slots: Slots { chunks: Vec::new(), free: Vec::new() },
            last: 0,
            due: BinaryHeap::new(),
            seen_once: VecDeque::new(),
            admitted: 0,
            cap: cap.clamp(1, u32::MAX as usize - 1),
            cut: 0,
            saving: None,
        }
    }

    /// Where a key lies.
    fn find(&mut self, key: Key) -> Option<u32> {
        let halves = halves(key);
        if self.slots.get(self.last).is_some_and(|entry| entry.key == halves) {
            return Some(self.last);
        }
        self.last = look(&self.index, &self.slots, halves)?;
        Some(self.last)
    }

    /// The entry of a key that is seen now, made by `new` if it was unknown; none if it is refused.
    pub fn touch(
        &mut self,
        key: Key,
        blind: &mut Blind,
        new: impl FnOnce() -> (Box<[Value]>, S),
    ) -> Option<&mut Entry<S>> {
        if let Some(at) = self.find(key) {
            self.before_change(at);
            let entry = self.slots.get_mut(at)?;
            entry.once = false;
            return Some(entry);
        }
        if self.index.len() >= self.cap && !self.make_room(blind) {
            return None;
        }
        let (mut values, state) = new();
        if key::shorten(&mut values) {
            blind.add(Reason::Capped, 1);
        }
        let at = self.admit(key, KeyValues::new(&values), state, true);
        self.slots.get_mut(at)
    }

    /// The entry of a key, as it is.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Entry<S>> {
        let at = self.find(key)?;
        self.before_change(at);
        self.slots.get_mut(at)
    }

    /// The entry of a key, to look at.
    pub fn get(&self, key: Key) -> Option<&Entry<S>> {
        let at = look(&self.index, &self.slots, halves(key))?;
        self.slots.get(at)
    }

    /// Puts a key in as it was saved: whether it was seen once, and the how-manieth it was. Keys must come in
    /// that order.
    pub fn insert(&mut self, key: Key, values: KeyValues, state: S, (once, admitted): (bool, u64)) {
        self.remove(key);
        self.admitted = self.admitted.max(admitted.saturating_sub(1));
        self.admit(key, values, state, once);
    }

    /// Makes room for so many keys at once.
    pub fn reserve(&mut self, keys: usize) {
        let slots = &self.slots;
        self.index.reserve(keys, |at| slots.get(*at).map_or(0, |entry| spread(entry.key().0)));
    }

    /// Puts a key in that is not there, and says where.
    fn admit(&mut self, key: Key, values: KeyValues, state: S, once: bool) -> u32 {
        self.admitted += 1;
        let (admitted, cut) = (self.admitted, self.cut);
        let (deadline, noted) = (NEVER, NEVER);
        let entry = Entry { state, values, key: halves(key), admitted, once, cut, deadline, noted };
        let at = self.slots.put(entry);
        self.last = at;
        let slots = &self.slots;
        let hash = |at: &u32| slots.get(*at).map_or(0, |entry| spread(entry.key().0));
        self.index.insert_unique(spread(key.0), at, hash);
        if once {
            self.seen_once.push_back((at, admitted as u32));
            if self.seen_once.len() > 2 * self.index.len() + 1024 {
                let slots = &self.slots;
                self.seen_once.retain(|(at, admitted)| is_once(slots, *at, *admitted));
            }
        }
        at
    }

    fn make_room(&mut self, blind: &mut Blind) -> bool {
        while let Some((at, admitted)) = self.seen_once.pop_front() {
            if is_once(&self.slots, at, admitted)
                && let Some(key) = self.slots.get(at).map(Entry::key)
            {
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
        let Some(at) = self.find(key) else { return };
        let Some(entry) = self.slots.get_mut(at) else { return };
        entry.deadline = deadline.unwrap_or(NEVER);
        if entry.deadline < entry.noted {
            entry.noted = entry.deadline;
            let noted = entry.noted;
            self.note(noted, key);
        }
    }

    fn note(&mut self, deadline: Timestamp, key: Key) {
        self.due.push(Reverse((deadline, halves(key))));
        // What was noted of keys that have gone since, or again earlier, must not pile up.
        if self.due.len() > 2 * self.index.len() + 1024 {
            let KeyTable { index, slots, due, .. } = self;
            due.retain(|Reverse((noted, halves))| {
                let entry = look(index, slots, *halves).and_then(|at| slots.get(at));
                entry.is_some_and(|entry| entry.noted == *noted)
            });
        }
    }

    /// A key whose timer is due at or before `until`, earliest first; it must be scheduled anew or removed.
    pub fn pop_due(&mut self, until: Timestamp) -> Option<Key> {
        loop {
            let Reverse((noted, halves)) = *self.due.peek()?;
            if noted > until {
                return None;
            }
            self.due.pop();
            let Some(at) = look(&self.index, &self.slots, halves) else { continue };
            let Some(entry) = self.slots.get_mut(at).filter(|entry| entry.noted == noted) else { continue };
            let key = entry.key();
            entry.noted = NEVER;
            if entry.deadline <= noted {
                entry.deadline = NEVER;
                return Some(key);
            }
            if entry.deadline != NEVER {
                entry.noted = entry.deadline;
                let deadline = entry.deadline;
                self.note(deadline, key);
            }
        }
    }

    /// When the next timer is due; may be earlier than anything happens, never later.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: Key) {
        let Some(at) = self.find(key) else { return };
        self.before_change(at);
        if let Ok(found) = self.index.find_entry(spread(key.0), |place| *place == at) {
            found.remove();
        }
        self.slots.take(at);
    }

    /// All keys in the order they were admitted: what is saved.
    pub fn in_order(&self) -> Vec<(Key, &Entry<S>)> {
        let mut all: Vec<_> = self.slots.iter().map(|entry| (entry.key(), entry)).collect();
        all.sort_unstable_by_key(|(_, entry)| entry.admitted);
        all
    }

    /// All entries, in no order that means anything: to add up numbers.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<S>> {
        self.slots.iter()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

fn is_once<S>(slots: &Slots<S>, at: u32, admitted: u32) -> bool {
    slots.get(at).is_some_and(|entry| entry.once && entry.admitted as u32 == admitted)
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
        assert_eq!(
            table.pop_due(Timestamp(1000)),
            None,
            "the earlier deadline of key 3 has replaced the later"
        );
    }
}
