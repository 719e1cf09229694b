//! Drives one worker over records that are already at hand: files, tests, scenarios.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::alert::{Alert, Blind};
use crate::decode::DecodeStats;
use crate::event::{Limits, PartitionId, Record, Reject, Timestamp};
use crate::rule::RuleSet;
use crate::schema::Schema;

/// A worker with all partitions at hand, whose alerts come out in the merged order of the input.
pub struct Replay {}

/// What a replay has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Records read.
    pub records: u64,
    /// Events decoded.
    pub events: u64,
    /// Alerts that came out.
    pub alerts: u64,
    /// Per rule: what it could not see.
    pub blind: BTreeMap<String, Blind>,
    /// What decoding changed, per stream.
    pub decode: BTreeMap<String, DecodeStats>,
}

impl Replay {
    /// A worker over these rules and streams, nothing read yet.
    pub fn new(_rules: RuleSet, _schemas: &[Arc<Schema>], _limits: &Limits) -> Replay {
        Replay {}
    }

    /// The index of a partition, for [`Record::source`]; the partition exists from now on.
    pub fn source(&mut self, _partition: &PartitionId) -> u16 {
        0
    }

    /// Folds one batch, whose records stand in merged order (stream time, stream, partition, offset).
    pub fn push(&mut self, _records: &[Record<'_>]) -> (Vec<Alert>, Vec<Reject>) {
        todo!()
    }

    /// Nothing came, and stream time of every partition is now this.
    pub fn tick(&mut self, _now: Timestamp) -> Vec<Alert> {
        todo!()
    }

    /// Windows and panes that wait to be judged.
    pub fn pending(&self) -> u64 {
        0
    }

    /// What it has seen so far.
    pub fn totals(&self) -> Totals {
        Totals::default()
    }
}
