//! Exact counts of distinct values over a span of panes.
//!
//! Every value's hash is kept for every pane it was seen in: "the newest pane of a value" alone would hide a
//! value of a late backlog that is also live. The span asked for last is counted incrementally as it moves
//! forward, so that a count costs what changed, not what is there; any other span is counted from its panes.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};

/// Distinct hashes by pane.
#[derive(Clone, Debug, Default)]
pub struct DistinctPanes {
    /// Sorted by pane.
    panes: Vec<(i64, HashSet<u128>)>,
    /// How many (hash, pane) pairs there are.
    pairs: usize,
    /// The span counted last: derived from `panes`, never saved.
    recent: Option<Recent>,
}

/// The span counted last: in how many of its panes each hash stands.
#[derive(Clone, Debug)]
struct Recent {
    low: i64,
    high: i64,
    seen: HashMap<u128, u32>,
}

impl Recent {
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
        let at = match self.panes.binary_search_by_key(&pane, |(index, _)| *index) {
            Ok(at) => at,
            Err(at) => {
                self.panes.insert(at, (pane, HashSet::new()));
                at
            }
        };
        let Some((_, set)) = self.panes.get_mut(at) else { return false };
        if set.contains(&hash) {
            return true;
        }
        if self.pairs >= cap {
            return false;
        }
        set.insert(hash);
        self.pairs += 1;
        if let Some(recent) = self.recent.as_mut().filter(|recent| recent.low <= pane && pane <= recent.high)
        {
            recent.add(hash);
        }
        true
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
        if let Some(recent) = self.recent.as_mut().filter(|recent| recent.low <= pane && pane <= recent.high)
        {
            set.into_iter().for_each(|hash| recent.remove(hash));
        }
    }

    /// Makes `low..=high` the span that [`count`](Self::count) answers at once.
    pub fn advance(&mut self, low: i64, high: i64) {
        match &mut self.recent {
            Some(recent) if recent.low == low && recent.high == high => {}
            Some(recent) if recent.low <= low && recent.high <= high && low <= recent.high => {
                let (old_low, old_high) = (recent.low, recent.high);
                (recent.low, recent.high) = (low, high);
                for (pane, set) in within(&self.panes, old_low, high) {
                    if *pane < low {
                        set.iter().for_each(|hash| recent.remove(*hash));
                    } else if *pane > old_high {
                        set.iter().for_each(|hash| recent.add(*hash));
                    }
                }
            }
            _ => {
                let mut recent = Recent { low, high, seen: HashMap::new() };
                for (_, set) in within(&self.panes, low, high) {
                    set.iter().for_each(|hash| recent.add(*hash));
                }
                self.recent = Some(recent);
            }
        }
    }

    /// How many distinct hashes stand in the panes `low..=high`.
    pub fn count(&self, low: i64, high: i64) -> usize {
        match &self.recent {
            Some(recent) if recent.low == low && recent.high == high => recent.seen.len(),
            _ => {
                let spans = within(&self.panes, low, high);
                match spans {
                    [(_, set)] => set.len(),
                    _ => spans.iter().flat_map(|(_, set)| set).collect::<HashSet<_>>().len(),
                }
            }
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
                    Step::Advance(low, high) => panes.advance(low, high),
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
