//! Numbers for the people who run this: what workers publish once a second, and the text that Prometheus scrapes.
//!
//! Nothing here is counted on the hot path: workers own plain counters and lend copies; text is made when it is asked
//! for. A VIN, or anything else that names somebody, is never a label.

mod latency;
mod snapshot;
mod text;

pub use latency::Latency;
pub use snapshot::{PartitionCounts, RuleCounts, Snapshot, StreamCounts};
pub use text::{CONTENT_TYPE, render};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{PartitionId, Timestamp};

/// What one worker's thread publishes about itself.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// When it was published, by the wall clock.
    pub at: Timestamp,
    /// Whether the group has taken the worker in; false while partitions change hands.
    pub joined: bool,
    /// When the group last had.
    pub joined_at: Timestamp,
    /// Since when reading has been stopped because nothing more could be handed to sinks or to the dead-letter topic.
    pub held_since: Option<Timestamp>,
    /// The partitions it owns.
    pub partitions: BTreeMap<PartitionId, Reading>,
    /// What its worker has counted since it started.
    pub counts: Snapshot,
    /// From event to alert.
    pub event_to_alert: Latency,
    /// From the broker's clock to the alert.
    pub broker_to_alert: Latency,
    /// What could not be read since it was gone before it was read, by stream.
    pub gaps: BTreeMap<Arc<str>, Gaps>,
    /// Dead letters written, by what they are.
    pub dead_letters: DeadLetters,
}

/// How far reading has come in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Since when nothing has moved although something should; none = all is well.
    pub stuck_since: Option<Timestamp>,
    /// The next offset to read; none until reading has started.
    pub next_offset: Option<i64>,
    /// The end of the partition as the last fetch saw it.
    pub end: Option<i64>,
}

impl Reading {
    /// Records that wait to be read.
    pub fn lag(&self) -> Option<u64> {
        let (next, end) = (self.next_offset?, self.end?);
        Some(u64::try_from(end.saturating_sub(next)).unwrap_or(0))
    }
}

/// Records that were gone before they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// How often reading had to jump.
    pub jumps: u64,
    /// How many offsets were jumped over, where that is known.
    pub records: u64,
}

/// Dead letters written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// Records that could not be read.
    pub records: u64,
    /// Alerts that a sink refused.
    pub alerts: u64,
    /// Attempts that failed and were made again.
    pub retries: u64,
}

/// How one sink does. The runtime fills it from what delivery knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// The name in the configuration.
    pub name: String,
    /// Alerts it has taken.
    pub delivered: u64,
    /// Attempts that were made again.
    pub retries: u64,
    /// Alerts it will never take.
    pub refused: u64,
    /// Alerts that wait for it.
    pub queue: u64,
    /// Why it takes nothing at the moment; none = it does.
    pub blocked: Option<String>,
}

/// Everything that is shown at one moment.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// What each worker published last.
    pub workers: Vec<Status>,
    /// The sinks.
    pub sinks: Vec<SinkStatus>,
    /// Rules that run, by severity, kind and mode.
    pub rules: BTreeMap<(String, String, String), u64>,
    /// Rules that were left out since they would need the exchange.
    pub unplaced: Vec<String>,
}

impl Overview {
    /// What all workers have counted together.
    pub fn counts(&self) -> Snapshot {
        let mut sum = Snapshot::default();
        self.workers.iter().for_each(|worker| sum.merge(&worker.counts));
        sum
    }

    /// Records that wait to be read in all partitions, as far as that is known.
    pub fn lag(&self) -> u64 {
        self.workers.iter().flat_map(|worker| worker.partitions.values()).filter_map(Reading::lag).sum()
    }

    /// All event→alert latencies together.
    pub fn event_to_alert(&self) -> Latency {
        let mut sum = Latency::default();
        self.workers.iter().for_each(|worker| sum.merge(&worker.event_to_alert));
        sum
    }

    /// All broker→alert latencies together.
    pub fn broker_to_alert(&self) -> Latency {
        let mut sum = Latency::default();
        self.workers.iter().for_each(|worker| sum.merge(&worker.broker_to_alert));
        sum
    }
}
