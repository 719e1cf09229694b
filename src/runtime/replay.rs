//! Drives one worker over records that are already at hand: files, tests, scenarios.

use std::sync::Arc;

use super::worker::{Action, Exchange, Said, Signal, Totals, Worker};
use crate::alert::Alert;
use crate::event::{Checkpoint, Limits, PartitionId, Record, Reject, Timestamp};
use crate::rule::RuleSet;
use crate::schema::Schema;

/// A worker with all partitions at hand, whose alerts come out in the merged order of the input.
pub struct Replay {
    worker: Worker,
    actions: Vec<Action>,
}

impl Replay {
    /// A worker over these rules and streams, nothing read yet.
    pub fn new(rules: Arc<RuleSet>, schemas: &[Arc<Schema>], limits: &Limits) -> Replay {
        Replay { worker: Worker::new(rules, schemas, limits, Exchange::InProcess), actions: Vec::new() }
    }

    /// The index of a partition, for [`Record::source`]; the partition exists from now on.
    pub fn source(&mut self, partition: &PartitionId) -> u16 {
        let (source, new) = self.worker.intern(partition);
        if new {
            // A file knows no committed offset: whatever its first record says is where it starts.
            let given = Signal::Given { partition: partition.clone(), next_offset: i64::MIN };
            self.worker.handle(given, &mut self.actions);
            self.actions.clear();
        }
        source
    }

    /// Folds one batch, whose records stand in merged order (stream time, stream, partition, offset).
    pub fn push(&mut self, records: &[Record<'_>]) -> (Vec<Arc<Alert>>, Vec<Reject>) {
        self.worker.handle(Signal::Records(records), &mut self.actions);
        self.settle()
    }

    /// Nothing came, and stream time of every partition is now this.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Arc<Alert>> {
        self.worker.handle(Signal::Tick(now), &mut self.actions);
        self.settle().0
    }

    /// Saves every partition's state and loads it again: nothing may change by it.
    pub fn save_and_load(&mut self) {
        self.worker.save_and_load();
    }

    /// One consistent cut of every partition, then of the exchange.
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        self.worker.checkpoints()
    }

    /// All partitions, by [`Record::source`].
    pub fn partitions(&self) -> &[PartitionId] {
        self.worker.partitions()
    }

    /// Events decoded so far.
    pub fn events(&self) -> u64 {
        self.worker.events()
    }

    /// What it has seen so far.
    pub fn totals(&self) -> Totals {
        self.worker.totals()
    }

    /// Everything has its outcome at once.
    fn settle(&mut self) -> (Vec<Arc<Alert>>, Vec<Reject>) {
        let (mut said, mut rejected): (Vec<Said>, Vec<Reject>) = (Vec::new(), Vec::new());
        let mut acks = Vec::new();
        for action in self.actions.drain(..) {
            match action {
                Action::Alert { stamp, said: more, .. } => {
                    said.extend(more);
                    acks.push(stamp);
                }
                Action::DeadLetter(stamp, rejects) => {
                    rejected.extend(rejects);
                    acks.push(stamp);
                }
                // Nobody else wants a file, and nothing of it is kept.
                _ => {}
            }
        }
        let acks = acks.into_iter().map(|stamp| Signal::Acked { stamp, at: None });
        acks.for_each(|acked| self.worker.handle(acked, &mut self.actions));
        said.sort_by_key(|said| said.order);
        (said.into_iter().map(|said| said.alert).collect(), rejected)
    }
}
