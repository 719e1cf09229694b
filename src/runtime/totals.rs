//! What a worker has counted since it started: plain numbers, added up where they are shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decode::DecodeStats;
use crate::event::{PartitionId, RejectReason, Timestamp};
use crate::pipeline::{Pipeline, RuleCounters};
use crate::rule::RuleSet;

/// What one partition has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionCounters {
    /// Records.
    pub records: u64,
    /// Bytes of records.
    pub bytes: u64,
    /// Decoded events.
    pub events: u64,
    /// Records that could not be read, by reason.
    pub rejects: BTreeMap<RejectReason, u64>,
    /// Where reading goes on.
    pub next_offset: i64,
    /// Its stream time.
    pub stream_time: Timestamp,
}

/// What a worker has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Per partition, those that have gone included.
    pub partitions: BTreeMap<PartitionId, PartitionCounters>,
    /// Per stream: what decoding changed.
    pub decode: BTreeMap<Arc<str>, DecodeStats>,
    /// Per rule, over all its partitions.
    pub rules: BTreeMap<String, RuleCounters>,
    /// Windows and panes that wait to be judged.
    pub pending: u64,
}

impl PartitionCounters {
    /// Adds what another owner of the partition has read.
    pub fn add(&mut self, other: &PartitionCounters) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.events += other.events;
        for (reason, n) in &other.rejects {
            *self.rejects.entry(*reason).or_default() += n;
        }
    }
}

/// Adds what the rules of a pipeline have done.
pub fn add_rules(set: &RuleSet, totals: &mut BTreeMap<String, RuleCounters>, pipeline: &Pipeline) {
    for (index, counters) in pipeline.counters() {
        let Some(rule) = set.rules.get(index) else { continue };
        totals.entry(rule.info.id.clone()).or_default().merge(counters);
    }
}
