//! Decides everything, does nothing: signals in, actions out. No clock, no IO.

use std::sync::Arc;

use crate::alert::Alert;
use crate::event::{PartitionId, Record, Reject, Stamp, Timestamp};

/// Everything that can happen to a worker.
#[derive(Debug)]
pub enum Signal<'a> {
    /// Records that were waiting, of any of its partitions, each partition in offset order.
    Records(&'a [Record<'a>]),
    /// A partition is ours from now on (paused). `next_offset` is what the group has committed.
    Assigned {
        /// The partition.
        partition: PartitionId,
        /// Where its reading starts.
        next_offset: i64,
    },
    /// A partition is no longer ours.
    Revoked(PartitionId),
    /// Everything under this stamp has its outcome.
    Acked(Stamp),
    /// Stream time of every partition has reached this though nothing came (tests only until ticks are journalled).
    Tick(Timestamp),
    /// Wall time, a few times a second.
    Clock(Timestamp),
}

/// Everything a worker can want done.
#[derive(Debug)]
pub enum Action {
    /// Deliver these alerts to every sink, then say `Acked`.
    Append(Stamp, Vec<Arc<Alert>>),
    /// Write these to the dead-letter topic, then say `Acked`.
    DeadLetter(Stamp, Vec<Reject>),
    /// Commit this next offset.
    Commit(PartitionId, i64),
    /// Seek to this offset, then resume.
    Seek(PartitionId, i64),
    /// Drop what is still on its way for this partition.
    Forget(PartitionId),
}
