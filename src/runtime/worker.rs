//! Decides everything, does nothing: signals in, actions out. No clock, no IO.

use std::sync::Arc;

use crate::alert::Alert;
use crate::event::{Limits, PartitionId, Record, Reject, Stamp, Timestamp};
use crate::metrics::Snapshot;
use crate::rule::RuleSet;
use crate::schema::Schema;

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

/// Decides everything, does nothing.
#[derive(Debug)]
pub struct Worker {
    sources: Vec<PartitionId>,
}

impl Worker {
    /// A worker over these rules and streams that owns nothing yet.
    pub fn new(_rules: RuleSet, _schemas: &[Arc<Schema>], _limits: &Limits) -> Worker {
        Worker { sources: Vec::new() }
    }

    /// The index of a partition, for [`Record::source`].
    pub fn source(&mut self, partition: &PartitionId) -> u16 {
        let at = self.sources.iter().position(|known| known == partition).unwrap_or_else(|| {
            self.sources.push(partition.clone());
            self.sources.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// Takes one signal; what is to be done about it is added to `actions`.
    pub fn handle(&mut self, signal: Signal<'_>, actions: &mut Vec<Action>) {
        if let Signal::Assigned { partition, next_offset } = signal {
            actions.push(Action::Seek(partition, next_offset));
        }
    }

    /// What it has counted.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }
}
