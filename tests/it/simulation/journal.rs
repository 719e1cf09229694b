//! The journal: ordered per partition; what a producer was given arrives later and in order, or not at all from
//! some point on.

use std::collections::{BTreeMap, VecDeque};

use fleetwarden::event::Stamp;
use fleetwarden::journal::{self, Entry};

/// Partitions of the journal.
pub const PARTITIONS: i32 = 2;

/// Who writes: a member and its how-manieth life.
pub type Writer = (usize, u64);

/// One entry as it lies there.
#[derive(Clone, Debug)]
pub struct Lying {
    pub stamp: Stamp,
    pub entry: Entry,
    /// Which topic of its name its writer was reading.
    pub topic: usize,
    /// When its writer gave it out.
    pub given: i64,
}

/// An entry on its way.
#[derive(Debug)]
pub struct Flying {
    pub ticket: u64,
    pub lying: Lying,
}

/// All partitions, and what is on its way to them.
#[derive(Debug, Default)]
pub struct Journal {
    pub partitions: [Vec<Lying>; PARTITIONS as usize],
    lanes: BTreeMap<(Writer, usize), VecDeque<Flying>>,
    /// No acknowledgement of a lane overtakes an earlier one.
    acks: BTreeMap<(Writer, usize), i64>,
}

/// The partition of the journal in which a stamp's source lies.
pub fn place(stamp: &Stamp) -> usize {
    journal::partition_of(&stamp.source, PARTITIONS) as usize
}

impl Journal {
    pub fn give(&mut self, writer: Writer, flying: Flying) {
        self.lanes.entry((writer, place(&flying.lying.stamp))).or_default().push_back(flying);
    }

    /// The next entry of a lane arrives: its ticket, its stamp, and where it lies.
    pub fn arrive(&mut self, writer: Writer, place: usize) -> Option<(u64, Stamp, i64)> {
        let flying = self.lanes.get_mut(&(writer, place))?.pop_front()?;
        let stamp = flying.lying.stamp.clone();
        let partition = &mut self.partitions[place];
        partition.push(flying.lying);
        Some((flying.ticket, stamp, partition.len() as i64 - 1))
    }

    /// What is still on its way from a writer that is gone never arrives.
    pub fn lose(&mut self, writer: Writer, place: usize) {
        self.lanes.remove(&(writer, place));
    }

    /// Of what a writer has under way for a source, all but the first few is taken back.
    pub fn take_back(
        &mut self,
        writer: Writer,
        source: &fleetwarden::event::PartitionId,
        mut keep: impl FnMut(usize) -> usize,
    ) {
        for ((of, _), lane) in &mut self.lanes {
            let is = |flying: &Flying| flying.lying.stamp.source == *source;
            let count = lane.iter().filter(|flying| is(flying)).count();
            if *of != writer || count == 0 {
                continue;
            }
            let (mut seen, keep) = (0, keep(count));
            lane.retain(|flying| {
                seen += usize::from(is(flying));
                !is(flying) || seen <= keep
            });
        }
    }

    /// When an acknowledgement that would come then comes.
    pub fn in_order(&mut self, writer: Writer, place: usize, at: i64) -> i64 {
        let last = self.acks.entry((writer, place)).or_default();
        *last = at.max(*last);
        *last
    }

    pub fn is_quiet(&self) -> bool {
        self.lanes.values().all(VecDeque::is_empty)
    }
}
