//! What a worker has counted since it started. Counts never fall, also when a partition goes to somebody else.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::alert::Blind;
use crate::event::{PartitionId, RejectReason, Timestamp};

/// All counts of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Per partition that it has ever read.
    pub partitions: BTreeMap<PartitionId, PartitionCounts>,
    /// Per stream.
    pub streams: BTreeMap<Arc<str>, StreamCounts>,
    /// Per rule that it runs, by id; all of them, also those that have seen nothing.
    pub rules: BTreeMap<String, RuleCounts>,
    /// Windows and panes that wait to be judged.
    pub pending: u64,
}

/// Counts of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionCounts {
    /// Records read, rejects included.
    pub records: u64,
    /// Events decoded.
    pub events: u64,
    /// Bytes of all records.
    pub bytes: u64,
    /// Where reading goes on.
    pub next_offset: i64,
    /// Its stream time.
    pub stream_time: Timestamp,
}

/// Counts of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Records that could not be read, by reason.
    pub rejects: BTreeMap<RejectReason, u64>,
    /// Events whose time lay after their broker time and was moved to it.
    pub moved: u64,
    /// Of these, events further ahead than `max_skew`.
    pub skewed: u64,
    /// Events without a plausible time, dated by the broker.
    pub untimed: u64,
    /// Values of the wrong type, by column.
    pub mistyped: BTreeMap<String, u64>,
}

/// Counts of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Its severity: the floor.
    pub severity: &'static str,
    /// Alerts sent; of a shadow rule, alerts that would have been sent.
    pub alerts: u64,
    /// Findings that suppression folded into others.
    pub suppressed: u64,
    /// What it could not see.
    pub blind: Blind,
}

impl Snapshot {
    /// Adds what another worker has counted.
    pub fn merge(&mut self, other: &Snapshot) {
        for (partition, theirs) in &other.partitions {
            let own = self.partitions.entry(partition.clone()).or_default();
            own.records += theirs.records;
            own.events += theirs.events;
            own.bytes += theirs.bytes;
            // Whoever has come further owns it now, or has just handed it on.
            own.next_offset = own.next_offset.max(theirs.next_offset);
            own.stream_time = own.stream_time.max(theirs.stream_time);
        }
        for (stream, theirs) in &other.streams {
            let own = self.streams.entry(stream.clone()).or_default();
            theirs.rejects.iter().for_each(|(reason, n)| *own.rejects.entry(*reason).or_default() += n);
            own.moved += theirs.moved;
            own.skewed += theirs.skewed;
            own.untimed += theirs.untimed;
            for (column, n) in &theirs.mistyped {
                *own.mistyped.entry(column.clone()).or_default() += n;
            }
        }
        for (rule, theirs) in &other.rules {
            let own = self.rules.entry(rule.clone()).or_default();
            own.severity = theirs.severity;
            own.alerts += theirs.alerts;
            own.suppressed += theirs.suppressed;
            own.blind.merge(&theirs.blind);
        }
        self.pending += other.pending;
    }

    /// Records of all partitions.
    pub fn records(&self) -> u64 {
        self.partitions.values().map(|p| p.records).sum()
    }

    /// Events of all partitions.
    pub fn events(&self) -> u64 {
        self.partitions.values().map(|p| p.events).sum()
    }

    /// Alerts of all rules.
    pub fn alerts(&self) -> u64 {
        self.rules.values().map(|r| r.alerts).sum()
    }

    /// What all rules could not see.
    pub fn blind(&self) -> Blind {
        let mut sum = Blind::default();
        self.rules.values().for_each(|rule| sum.merge(&rule.blind));
        sum
    }
}
