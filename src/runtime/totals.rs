//! What a worker has counted since it started: plain numbers, added up where they are shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decode::DecodeStats;
use crate::event::{PartitionId, RejectReason, Timestamp};
use crate::pipeline::{Pipeline, RuleCounters};

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
    /// What has been committed with its state.
    pub committed: i64,
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
    /// Partitions that go through what an earlier owner has said already.
    pub replaying: u64,
    /// Alerts that one owner found and another did not, though both read the same: must stay 0.
    pub divergence: u64,
    /// Rule sets that a partition was told of, and that could not be had.
    pub unknown_sets: u64,
    /// Per stream: records that were gone before they could be read.
    pub gaps: BTreeMap<Arc<str>, Gaps>,
}

/// Records that were gone before they could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// How often reading had to go on elsewhere.
    pub jumps: u64,
    /// How many offsets were left out.
    pub records: u64,
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
pub fn add_rules(totals: &mut BTreeMap<String, RuleCounters>, pipeline: &Pipeline) {
    for (rule, counters) in pipeline.counters() {
        totals.entry(rule.info.id.clone()).or_default().merge(counters);
    }
}
