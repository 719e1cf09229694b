//! What the journal says of one partition behind a checkpoint: what its earlier owners were told, and said.

use std::collections::{HashSet, VecDeque};

use super::Entry;
use crate::event::{Marks, PartitionId, Stamp, Told};

/// Collects the entries of one partition, in the order of the journal.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    marks: Marks,
    /// What it was told, and before which offset, in the order in which it was.
    pub told: VecDeque<(i64, Told)>,
    /// Ids of the alerts that it said.
    pub said: HashSet<u128>,
    /// Everything that its records below this offset have to say is among them.
    pub through: i64,
}

impl Tail {
    /// Nothing read yet. `epoch`: of whoever made the checkpoint, or who first began where there is none; lower
    /// ones are not believed.
    pub fn behind(source: &PartitionId, epoch: i64) -> Tail {
        let mut marks = Marks::default();
        marks.open(source, epoch);
        Tail { marks, through: i64::MIN, ..Tail::default() }
    }

    /// Takes the next entry of the partition.
    pub fn push(&mut self, stamp: &Stamp, entry: &Entry) {
        match entry {
            Entry::Claim => {}
            Entry::Open { .. } => self.marks.open(&stamp.source, stamp.epoch),
            Entry::Told { at, told } if self.marks.accept(stamp) => {
                self.told.push_back((*at, *told));
                self.through = match told {
                    // Offsets may count anew from here.
                    Told::Gap { to, .. } => *to,
                    Told::Tick(_) | Told::Rules(_) => self.through.max(*at),
                };
            }
            Entry::Alerts { through, alerts } if self.marks.accept(stamp) => {
                self.said.extend(alerts.iter().map(|alert| alert.id));
                self.through = self.through.max(*through);
            }
            Entry::Told { .. } | Entry::Alerts { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

    fn stamp(epoch: i64) -> Stamp {
        Stamp { source: PartitionId { stream: "cars".into(), index: 0 }, epoch, seq: 1 }
    }

    fn tick(at: i64) -> Entry {
        Entry::Told { at, told: Told::Tick(Timestamp(at)) }
    }

    #[test]
    fn a_claim_counts_for_nobody_and_an_opening_ends_the_time_of_lower_epochs() {
        let mut tail = Tail::behind(&stamp(0).source, 5);
        tail.push(&stamp(4), &tick(1));
        tail.push(&stamp(5), &tick(2));
        tail.push(&stamp(9), &Entry::Claim);
        tail.push(&stamp(5), &tick(3));
        tail.push(&stamp(9), &Entry::Open { cold: false });
        tail.push(&stamp(5), &tick(4));
        tail.push(&stamp(9), &tick(5));
        assert_eq!(tail.told.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [2, 3, 5]);
        assert_eq!(tail.through, 5);
    }

    #[test]
    fn after_a_gap_offsets_may_count_anew() {
        let mut tail = Tail::behind(&stamp(0).source, 5);
        tail.push(&stamp(5), &Entry::Alerts { through: 900, alerts: Vec::new() });
        tail.push(&stamp(5), &Entry::Told { at: 900, told: Told::Gap { from: 900, to: 0 } });
        assert_eq!(tail.through, 0);
        tail.push(&stamp(5), &Entry::Alerts { through: 7, alerts: Vec::new() });
        assert_eq!(tail.through, 7);
    }
}
