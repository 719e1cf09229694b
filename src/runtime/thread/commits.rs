//! Commits on their way: one a partition at a time, since two could overtake each other.

use std::collections::{BTreeMap, VecDeque};

use crate::event::{PartitionId, Root};
use crate::kafka::Consumer;

/// In which tenure, which next offset, where the state lies.
type Commit = (u64, i64, Root);

/// Commits that wait for an answer, and those that wait for them.
#[derive(Debug, Default)]
pub(super) struct Commits {
    flying: BTreeMap<PartitionId, u64>,
    waiting: VecDeque<(PartitionId, Commit)>,
}

impl Commits {
    /// Sends a commit, now or once the one before has its answer. False: it could not be sent, and has none.
    pub fn send(&mut self, consumer: &Consumer, partition: PartitionId, commit: Commit) -> bool {
        if self.flying.contains_key(&partition) {
            self.waiting.push_back((partition, commit));
            return true;
        }
        let (tenure, next_offset, root) = commit;
        match consumer.commit_root(&partition, next_offset, &root) {
            Ok(()) => {
                self.flying.insert(partition, tenure);
                true
            }
            Err(error) => {
                tracing::error!("committing {partition}: {error}");
                false
            }
        }
    }

    /// The answer to a partition's commit has come: whose it was. What waited for it is sent.
    pub fn answered(&mut self, partition: &PartitionId, consumer: &Consumer) -> Option<u64> {
        let tenure = self.flying.remove(partition);
        let next = self.waiting.iter().position(|(waiting, _)| waiting == partition);
        if let Some((partition, commit)) = next.and_then(|at| self.waiting.remove(at)) {
            self.send(consumer, partition, commit);
        }
        tenure
    }

    /// A partition is no longer ours: nothing more is committed of it.
    pub fn forget(&mut self, partition: &PartitionId) {
        self.waiting.retain(|(waiting, _)| waiting != partition);
    }
}
