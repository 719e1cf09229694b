//! Exact counts of distinct values over a span of panes.
//!
//! Every value's hash is kept for every pane it was seen in: "the newest pane of a value" alone would hide a
//! value of a late backlog that is also live. Two spans, the newest one and one among older rows, are counted
//! incrementally as they move forward, so that a count costs what changed, not what is there; any other span
//! is counted from its panes.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};

/// Distinct hashes by pane.
#[derive(Clone, Debug, Default)]
pub struct DistinctPanes {
    /// Sorted by pane.
    panes: Vec<(i64, HashSet<u128>)>,
    /// How many (hash, pane) pairs there are.
    pairs: usize,
    /// The spans that are counted as they move: derived from `panes`, never saved.
    moving: [Option<Moving>; 2],
}

/// Which of the two moving spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// That of the newest window.
    Newest,
    /// That of windows that contain an older row.
    Older,
}

/// A span that moves forward: in how many of its panes each hash stands.
#[derive(Clone, Debug)]
struct Moving {
    low: i64,
    high: i64,
    seen: HashMap<u128, u32>,
}

impl Moving {
    fn add(&mut self, hash: u128) {
        *self.seen.entry(hash).or_default() += 1;
    }

    fn remove(&mut self, hash: u128) {
        if let Entry::Occupied(mut entry) = self.seen.entry(hash) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl DistinctPanes {
    /// Notes a hash in a pane; false if there is no room left for another pair.
    pub fn insert(&mut self, pane: i64, hash: u128, cap: usize) -> bool {
        let found = self.panes.binary_search_by_key(&pane, |(index, _)| *index);
        if found.is_ok_and(|at| self.panes.get(at).is_some_and(|(_, set)| set.contains(&hash))) {
            return true;
        }
        if self.pairs >= cap {
            return false;
        }
        match found {
            Ok(at) => self.panes.get_mut(at).map(|(_, set)| set.insert(hash)).unwrap_or_default(),
            Err(at) => {
                self.panes.insert(at, (pane, HashSet::from([hash])));
                true
            }
        };
        self.pairs += 1;
        self.covering(pane).for_each(|moving| moving.add(hash));
        true
    }

    /// The moving spans in which a pane lies.
    fn covering(&mut self, pane: i64) -> impl Iterator<Item = &mut Moving> {
        self.moving.iter_mut().flatten().filter(move |moving| moving.low <= pane && pane <= moving.high)
    }

    /// Whether some hash stands in a pane.
    pub fn has(&self, pane: i64) -> bool {
        let at = self.panes.binary_search_by_key(&pane, |(index, _)| *index);
        at.is_ok_and(|at| self.panes.get(at).is_some_and(|(_, set)| !set.is_empty()))
    }

    /// Forgets a pane.
    pub fn remove(&mut self, pane: i64) {
        let Ok(at) = self.panes.binary_search_by_key(&pane, |(index, _)| *index) else { return };
        let (_, set) = self.panes.remove(at);
        self.pairs -= set.len();
        self.covering(pane).for_each(|moving| set.iter().for_each(|hash| moving.remove(*hash)));
    }

    /// Makes `low..=high` the span that [`count`](Self::count) answers at once, beside the other moving one.
    pub fn advance(&mut self, which: Which, low: i64, high: i64) {
        let Some(slot) = self.moving.get_mut(which as usize) else { return };
        match slot {
            Some(moving) if moving.low == low && moving.high == high => {}
            Some(moving) if moving.low <= low && moving.high <= high && low <= moving.high => {
                let (old_low, old_high) = (moving.low, moving.high);
                (moving.low, moving.high) = (low, high);
                for (pane, set) in within(&self.panes, old_low, high) {
                    if *pane < low {
                        set.iter().for_each(|hash| moving.remove(*hash));
                    } else if *pane > old_high {
                        set.iter().for_each(|hash| moving.add(*hash));
                    }
                }
            }
            slot => {
                let mut moving = Moving { low, high, seen: HashMap::new() };
                for (_, set) in within(&self.panes, low, high) {
                    set.iter().for_each(|hash| moving.add(*hash));
                }
                *slot = Some(moving);
            }
        }
    }

    /// How many distinct hashes stand in the panes `low..=high`.
    pub fn count(&self, low: i64, high: i64) -> usize {
        if let Some(moving) = self.moving.iter().flatten().find(|m| m.low == low && m.high == high) {
            return moving.seen.len();
        }
        match within(&self.panes, low, high) {
            [(_, set)] => set.len(),
            spans => spans.iter().flat_map(|(_, set)| set).collect::<HashSet<_>>().len(),
        }
    }

    /// Panes and their hashes, both rising: what is saved.
    pub fn sorted(&self) -> Vec<(i64, Vec<u128>)> {
        self.panes
            .iter()
            .map(|(pane, set)| {
                let mut hashes: Vec<u128> = set.iter().copied().collect();
                hashes.sort_unstable();
                (*pane, hashes)
            })
            .collect()
    }
}

fn within(panes: &[(i64, HashSet<u128>)], low: i64, high: i64) -> &[(i64, HashSet<u128>)] {
    let from = panes.partition_point(|(pane, _)| *pane < low);
    let to = panes.partition_point(|(pane, _)| *pane <= high);
    panes.get(from..to.max(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(i64, u128),
        Remove(i64),
        Advance(i64, i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0i64..20, 0u128..8).prop_map(|(p, h)| Step::Insert(p, h)),
            1 => (0i64..20).prop_map(Step::Remove),
            3 => (0i64..20, 0i64..6).prop_map(|(low, n)| Step::Advance(low, low + n)),
        ]
    }

    proptest! {
        /// Whatever was asked for before, a count is that of the pairs that are there.
        #[test]
        fn counts_are_those_of_a_plain_list(steps in proptest::collection::vec(step(), 0..80)) {
            let mut panes = DistinctPanes::default();
            let mut plain: HashSet<(i64, u128)> = HashSet::new();
            for step in steps {
                match step {
                    Step::Insert(p, h) => {
                        let room = plain.len() < 30 || plain.contains(&(p, h));
                        prop_assert_eq!(panes.insert(p, h, 30), room);
                        if room {
                            plain.insert((p, h));
                        }
                    }
                    Step::Remove(p) => {
                        panes.remove(p);
                        plain.retain(|(pane, _)| *pane != p);
                    }
                    Step::Advance(low, high) if low % 2 == 0 => panes.advance(Which::Newest, low, high),
                    Step::Advance(low, high) => panes.advance(Which::Older, low, high),
                }
                for (low, high) in [(0, 19), (3, 7), (5, 5), (7, 3)] {
                    let expected = plain.iter().filter(|(p, _)| low <= *p && *p <= high).map(|(_, h)| h)
                        .collect::<HashSet<_>>().len();
                    prop_assert_eq!(panes.count(low, high), expected);
                }
            }
        }
    }
}
