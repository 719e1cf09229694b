//! Exact counts of distinct values over a span of panes.
//!
//! Every value's hash is kept for every pane it was seen in: "the newest pane of a value" alone would hide a
//! value of a late backlog that is also live. Beside it stands, per value, that newest pane: a span that ends
//! with the newest pane holds the values whose newest pane is in it, so that counting it costs what changed.
//! A span among older rows is counted as it moves forward; any other from its panes.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::event::key::Spread;

/// So many hashes are looked through one by one.
const FEW: usize = 16;

/// Distinct hashes by pane.
#[derive(Clone, Debug, Default)]
pub struct DistinctPanes {
    /// Sorted by pane.
    panes: VecDeque<PaneSet>,
    /// How many (hash, pane) pairs there are.
    pairs: usize,
    /// The newest pane of each hash.
    latest: Latest,
    /// A first pane, and how many hashes have their newest pane at or after it: derived, never saved.
    live: Option<(i64, usize)>,
    /// The span among older rows that is counted as it moves: likewise.
    older: Option<Box<Moving>>,
}

/// Which span is to be counted at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// That of the newest window.
    Newest,
    /// That of windows that contain an older row.
    Older,
}

/// The hashes of one pane.
#[derive(Clone, Debug)]
struct PaneSet {
    index: i64,
    /// How many of its hashes stand in no later pane.
    latest: usize,
    hashes: Hashes,
}

/// A set that is mostly tiny.
#[derive(Clone, Debug)]
enum Hashes {
    One([u64; 2]),
    Few(Vec<u128>),
    Many(HashSet<u128, Spread>),
}

/// The newest pane of each hash.
#[derive(Clone, Debug)]
enum Latest {
    Few(Vec<(u128, i64)>),
    Many(HashMap<u128, i64, Spread>),
}

impl Default for Latest {
    fn default() -> Latest {
        Latest::Few(Vec::new())
    }
}

impl Latest {
    fn get(&self, hash: u128) -> Option<i64> {
        match self {
            Latest::Few(list) => list.iter().find(|(known, _)| *known == hash).map(|(_, pane)| *pane),
            Latest::Many(map) => map.get(&hash).copied(),
        }
    }

    fn set(&mut self, hash: u128, pane: i64) {
        match self {
            Latest::Few(list) => {
                if let Some((_, newest)) = list.iter_mut().find(|(known, _)| *known == hash) {
                    *newest = pane;
                } else if list.len() < FEW {
                    list.push((hash, pane));
                } else {
                    let all = list.drain(..).chain([(hash, pane)]);
                    *self = Latest::Many(all.collect());
                }
            }
            Latest::Many(map) => {
                map.insert(hash, pane);
            }
        }
    }

    fn remove(&mut self, hash: u128) {
        match self {
            Latest::Few(list) => list.retain(|(known, _)| *known != hash),
            Latest::Many(map) => {
                map.remove(&hash);
            }
        }
    }
}

impl Hashes {
    fn len(&self) -> usize {
        match self {
            Hashes::One(_) => 1,
            Hashes::Few(list) => list.len(),
            Hashes::Many(set) => set.len(),
        }
    }

    fn contains(&self, hash: u128) -> bool {
        match self {
            Hashes::One(one) => whole(*one) == hash,
            Hashes::Few(list) => list.contains(&hash),
            Hashes::Many(set) => set.contains(&hash),
        }
    }

    /// Adds one that is not there.
    fn add(&mut self, hash: u128) {
        match self {
            Hashes::One(one) => *self = Hashes::Few(vec![whole(*one), hash]),
            Hashes::Few(list) if list.len() < FEW => list.push(hash),
            Hashes::Few(list) => *self = Hashes::Many(list.drain(..).chain([hash]).collect()),
            Hashes::Many(set) => {
                set.insert(hash);
            }
        }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = u128> + '_> {
        match self {
            Hashes::One(one) => Box::new(std::iter::once(whole(*one))),
            Hashes::Few(list) => Box::new(list.iter().copied()),
            Hashes::Many(set) => Box::new(set.iter().copied()),
        }
    }
}

fn halves(hash: u128) -> [u64; 2] {
    [(hash >> 64) as u64, hash as u64]
}

fn whole(halves: [u64; 2]) -> u128 {
    u128::from(halves[0]) << 64 | u128::from(halves[1])
}

/// A span that moves forward: in how many of its panes each hash stands.
#[derive(Clone, Debug)]
struct Moving {
    low: i64,
    high: i64,
    seen: HashMap<u128, u32, Spread>,
}

impl Moving {
    fn over(panes: &VecDeque<PaneSet>, low: i64, high: i64) -> Moving {
        let mut moving = Moving { low, high, seen: HashMap::default() };
        within(panes, low, high).for_each(|set| moving.add(set));
        moving
    }

    fn covers(&self, pane: i64) -> bool {
        self.low <= pane && pane <= self.high
    }

    fn add(&mut self, set: &PaneSet) {
        set.hashes.iter().for_each(|hash| *self.seen.entry(hash).or_default() += 1);
    }

    fn remove(&mut self, set: &PaneSet) {
        for hash in set.hashes.iter() {
            if let Some(panes) = self.seen.get_mut(&hash) {
                *panes -= 1;
                if *panes == 0 {
                    self.seen.remove(&hash);
                }
            }
        }
    }
}

impl DistinctPanes {
    /// Notes a hash in a pane; false if there is no room left for another pair.
    pub fn insert(&mut self, pane: i64, hash: u128, cap: usize) -> bool {
        let newest = self.latest.get(hash);
        if newest == Some(pane) {
            return true;
        }
        let found = self.find(pane);
        let known = |at: usize| self.panes.get(at).is_some_and(|set| set.hashes.contains(hash));
        if newest.is_some_and(|newest| newest > pane) && found.is_ok_and(known) {
            return true;
        }
        if self.pairs >= cap {
            return false;
        }
        self.pairs += 1;
        let at = match found {
            Ok(at) => {
                if let Some(set) = self.panes.get_mut(at) {
                    set.hashes.add(hash);
                }
                at
            }
            Err(at) => {
                self.panes.insert(at, PaneSet { index: pane, latest: 0, hashes: Hashes::One(halves(hash)) });
                at
            }
        };
        if newest.is_none_or(|newest| newest < pane) {
            self.move_latest(hash, newest, Some((pane, at)));
        }
        if let Some(older) = self.older.as_mut().filter(|older| older.covers(pane)) {
            *older.seen.entry(hash).or_default() += 1;
        }
        true
    }

    /// Where a pane stands, or would: mostly it is the last one.
    fn find(&self, pane: i64) -> Result<usize, usize> {
        match self.panes.back() {
            Some(last) if last.index == pane => Ok(self.panes.len() - 1),
            Some(last) if last.index < pane => Err(self.panes.len()),
            _ => {
                let at = place(&self.panes, pane);
                if self.panes.get(at).is_some_and(|set| set.index == pane) { Ok(at) } else { Err(at) }
            }
        }
    }

    /// The newest pane of a hash is another one, or none any more.
    fn move_latest(&mut self, hash: u128, from: Option<i64>, to: Option<(i64, usize)>) {
        if let Some(set) = from.and_then(|from| self.find(from).ok()).and_then(|at| self.panes.get_mut(at)) {
            set.latest = set.latest.saturating_sub(1);
        }
        match to {
            Some((pane, at)) => {
                self.latest.set(hash, pane);
                if let Some(set) = self.panes.get_mut(at) {
                    set.latest += 1;
                }
            }
            None => self.latest.remove(hash),
        }
        if let Some((low, count)) = &mut self.live {
            let lives = |pane: Option<i64>| usize::from(pane.is_some_and(|pane| pane >= *low));
            *count = *count + lives(to.map(|(pane, _)| pane)) - lives(from);
        }
    }

    /// Some number from where the next value will be looked for: to have it at hand.
    pub fn peek(&self) -> i64 {
        let known = match &self.latest {
            Latest::Few(list) => list.first().map_or(0, |(_, pane)| *pane),
            Latest::Many(_) => 0,
        };
        known ^ self.panes.back().map_or(0, |set| set.index)
    }

    /// Whether some hash stands in a pane.
    pub fn has(&self, pane: i64) -> bool {
        self.find(pane).is_ok()
    }

    /// Forgets a pane.
    pub fn remove(&mut self, pane: i64) {
        let Ok(at) = self.find(pane) else { return };
        let Some(set) = self.panes.get(at).cloned() else { return };
        self.pairs -= set.hashes.len();
        if let Some(older) = self.older.as_mut().filter(|older| older.covers(pane)) {
            older.remove(&set);
        }
        for hash in set.hashes.iter().filter(|hash| self.latest.get(*hash) == Some(pane)).collect::<Vec<_>>()
        {
            let before = self.panes.range(..at).enumerate();
            let next = before.rev().find(|(_, set)| set.hashes.contains(hash));
            let next = next.map(|(at, set)| (set.index, at));
            self.move_latest(hash, Some(pane), next);
        }
        self.panes.remove(at);
    }

    /// Makes `low..=high` a span that [`count`](Self::count) answers at once.
    pub fn advance(&mut self, which: Which, low: i64, high: i64) {
        match which {
            Which::Newest => self.advance_newest(low),
            Which::Older => self.advance_older(low, high),
        }
    }

    fn advance_newest(&mut self, low: i64) {
        self.live = match self.live {
            Some((from, count)) if from == low => Some((from, count)),
            Some((from, count)) if from < low => {
                let gone = within(&self.panes, from, low - 1);
                Some((low, count - gone.map(|set| set.latest).sum::<usize>()))
            }
            _ => Some((low, self.latest_since(low))),
        };
    }

    /// How many hashes have their newest pane at or after `low`.
    fn latest_since(&self, low: i64) -> usize {
        within(&self.panes, low, i64::MAX).map(|set| set.latest).sum()
    }

    fn advance_older(&mut self, low: i64, high: i64) {
        match &mut self.older {
            Some(moving) if moving.low == low && moving.high == high => {}
            Some(moving) if moving.low <= low && moving.high <= high && low <= moving.high => {
                let (old_low, old_high) = (moving.low, moving.high);
                (moving.low, moving.high) = (low, high);
                for set in within(&self.panes, old_low, high) {
                    if set.index < low {
                        moving.remove(set);
                    } else if set.index > old_high {
                        moving.add(set);
                    }
                }
            }
            slot => *slot = Some(Box::new(Moving::over(&self.panes, low, high))),
        }
    }

    /// How many distinct hashes stand in the panes `low..=high`.
    pub fn count(&self, low: i64, high: i64) -> usize {
        if low <= high && self.panes.back().is_none_or(|last| last.index <= high) {
            return match self.live {
                Some((from, count)) if from == low => count,
                _ => self.latest_since(low),
            };
        }
        if let Some(moving) = self.older.as_ref().filter(|moving| moving.low == low && moving.high == high) {
            return moving.seen.len();
        }
        let hashes = within(&self.panes, low, high).flat_map(|set| set.hashes.iter());
        hashes.collect::<HashSet<_, Spread>>().len()
    }

    /// Panes and their hashes, both rising: what is saved.
    pub fn sorted(&self) -> Vec<(i64, Vec<u128>)> {
        let sorted = |set: &PaneSet| {
            let mut hashes: Vec<u128> = set.hashes.iter().collect();
            hashes.sort_unstable();
            (set.index, hashes)
        };
        self.panes.iter().map(sorted).collect()
    }
}

fn within(panes: &VecDeque<PaneSet>, low: i64, high: i64) -> impl Iterator<Item = &PaneSet> {
    let from = place(panes, low);
    panes.range(from..place(panes, high.saturating_add(1)).max(from))
}

/// Where the first pane at or after `low` stands.
fn place(panes: &VecDeque<PaneSet>, low: i64) -> usize {
    first_at(panes.len(), |at| panes.get(at).map_or(i64::MAX, |set| set.index), low)
}

/// Where the first of `len` rising, different numbers stands that is at least `low`. Where they mostly follow
/// one another, it is guessed from the last one.
pub fn first_at(len: usize, number: impl Fn(usize) -> i64, low: i64) -> usize {
    let Some(last) = len.checked_sub(1).map(&number) else { return 0 };
    if low > last {
        return len;
    }
    let behind = usize::try_from(last.saturating_sub(low)).unwrap_or(usize::MAX);
    let (mut from, mut to) = (len.saturating_sub(1).saturating_sub(behind), len - 1);
    if number(from) >= low {
        return from;
    }
    while from < to {
        let middle = from + (to - from) / 2;
        if number(middle) < low { from = middle + 1 } else { to = middle }
    }
    from
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
