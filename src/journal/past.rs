//! What the journal says of one partition behind a checkpoint: what its earlier owners were told, and said.

use std::collections::{HashMap, VecDeque};

use super::Entry;
use crate::event::{Marks, PartitionId, Stamp, Told};

/// Collects the entries of one partition, in the order of the journal.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    marks: Marks,
    /// What the owner of this epoch said, before it was told anything more, of records below this offset is in
    /// the checkpoint.
    covered: Option<(i64, i64)>,
    /// What it was told, and before which offset, in the order in which it was.
    pub told: VecDeque<(i64, Told)>,
    /// Ids of the alerts that it said, and how often.
    pub said: HashMap<u128, u32>,
    /// Everything that its records below this offset have to say is among them.
    pub through: i64,
    /// Nothing that records from this offset on have to say is.
    pub reach: i64,
    /// Whether some owner went on without records that an earlier one had read: they may have said different
    /// things.
    pub has_branched: bool,
}

impl Tail {
    /// Nothing read yet. `epoch`: of whoever made the checkpoint, or who first began where there is none; lower
    /// ones are not believed.
    pub fn behind(source: &PartitionId, epoch: i64) -> Tail {
        let mut marks = Marks::default();
        marks.open(source, epoch);
        Tail { marks, through: i64::MIN, reach: i64::MIN, ..Tail::default() }
    }

    /// Behind a checkpoint that was taken at this offset: alerts that were still on their way then are not said
    /// behind it.
    pub fn covered(self, next_offset: i64, epoch: i64) -> Tail {
        Tail { covered: Some((next_offset, epoch)), ..self }
    }

    /// Takes the next entry of the partition.
    pub fn push(&mut self, stamp: &Stamp, entry: &Entry) {
        match entry {
            Entry::Claim => {}
            Entry::Open { .. } => self.marks.open(&stamp.source, stamp.epoch),
            Entry::Told { at, told } if self.marks.accept(stamp) => {
                self.take_told(*at, *told);
            }
            Entry::Alerts { through, more, alerts } if self.marks.accept(stamp) => {
                if let Some((next_offset, epoch)) = self.covered
                    && *through <= next_offset
                    && stamp.epoch == epoch
                {
                    return;
                }
                alerts.iter().for_each(|alert| *self.said.entry(alert.id).or_default() += 1);
                self.reach = self.reach.max(*through);
                if !more {
                    self.through = self.through.max(*through);
                }
            }
            Entry::Told { .. } | Entry::Alerts { .. } => {}
        }
    }

    fn take_told(&mut self, at: i64, told: Told) {
        self.covered = None;
        match told {
            // Offsets may count anew from here.
            Told::Gap { from, to } if from >= self.reach => (self.through, self.reach) = (to, to),
            // The log lost what its owner had not gone through again: from there on, it went another way than
            // the owners before, whose later inputs it was told as well.
            Told::Gap { from, to } => {
                self.has_branched = true;
                let earlier = self.told.iter().rposition(|(before, _)| *before <= at);
                let place = earlier.map_or(0, |earlier| earlier + 1);
                if to <= from {
                    self.told.truncate(place);
                    (self.through, self.reach) = (to, to);
                }
                self.told.insert(place, (at, told));
                return;
            }
            Told::Tick(_) | Told::Rules(_) => {
                self.through = self.through.max(at);
                self.reach = self.reach.max(at);
            }
        }
        self.told.push_back((at, told));
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
        tail.push(&stamp(5), &Entry::Alerts { through: 900, more: false, alerts: Vec::new() });
        tail.push(&stamp(5), &Entry::Told { at: 900, told: Told::Gap { from: 900, to: 0 } });
        assert_eq!(tail.through, 0);
        tail.push(&stamp(5), &Entry::Alerts { through: 7, more: false, alerts: Vec::new() });
        assert_eq!(tail.through, 7);
    }
}
