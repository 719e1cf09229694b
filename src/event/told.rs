//! What a partition is told beside its records, the stamp on what it says, and one consistent cut of its
//! state.

use arrow::record_batch::RecordBatch;

use super::{PartitionId, Timestamp};

/// An input that is not a record, applied before the record at the next offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing came, and stream time is now this.
    Tick(Timestamp),
}

/// On everything we say: which partition said it, and the how-manieth it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// Who said it.
    pub source: PartitionId,
    /// Counts what this partition has said, from 1; part of its state.
    pub seq: u64,
}

/// One consistent cut of a partition.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Whose state it is.
    pub partition: PartitionId,
    /// Where reading goes on.
    pub next_offset: i64,
    /// Stream time at the cut.
    pub stream_time: Timestamp,
    /// What had been said.
    pub seq: u64,
    /// The partitions to which saved event names point.
    pub sources: Vec<PartitionId>,
    /// Per rule: its id, fingerprint, and the tables of its detector and of its suppression.
    pub tables: Vec<RuleState>,
}

/// The saved state of one rule in one partition.
#[derive(Clone, Debug)]
pub struct RuleState {
    /// The rule's id.
    pub rule: String,
    /// The fingerprint of its detection part; state of another fingerprint is not loaded.
    pub fingerprint: u128,
    /// The detector's keys, one row each.
    pub detector: RecordBatch,
    /// The suppression periods, one row a key; none if the rule does not suppress.
    pub suppress: Option<RecordBatch>,
    /// The second of stream time that was counted last, and how many alerts it has seen.
    pub second: (i64, u32),
}
