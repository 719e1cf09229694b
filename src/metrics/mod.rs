//! Numbers for the people who run this: what workers publish once a second, and the text that Prometheus
//! scrapes.
//!
//! Nothing here is counted on the hot path: workers own plain counters and lend copies; text is made when it
//! is asked for. A VIN, or anything else that names somebody, is never a label.

mod latency;
mod text;

pub use latency::Latency;
#[cfg(test)]
pub(crate) use text::tests;
pub use text::{CONTENT_TYPE, render};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::alert::{Blind, Severity};
use crate::event::{PartitionId, Timestamp};
use crate::rule::{Kind, Mode, RuleSet};
use crate::runtime::delivery::SinkStats;
pub use crate::runtime::worker::{Gaps, Totals};

/// What one worker's thread publishes about itself.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// When it was published, by the wall clock.
    pub at: Timestamp,
    /// Whether the group has taken the worker in; false while partitions change hands.
    pub joined: bool,
    /// When the group last had; 1970 = not yet.
    pub joined_at: Timestamp,
    /// When some broker last answered.
    pub reached_at: Timestamp,
    /// Since when reading has been stopped because nothing more could be handed to sinks or to the
    /// dead-letter topic.
    pub held_since: Option<Timestamp>,
    /// The partitions it owns.
    pub partitions: BTreeMap<PartitionId, Reading>,
    /// What its worker has counted since it started; never falls, also when a partition goes to somebody
    /// else.
    pub totals: Totals,
    /// From event to alert.
    pub event_to_alert: Latency,
    /// From the broker's clock to the alert.
    pub broker_to_alert: Latency,
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

/// A rule that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRow {
    /// Its id.
    pub id: String,
    /// Its severity: the floor.
    pub severity: Severity,
    /// `match`, `threshold` or `baseline`.
    pub kind: &'static str,
    /// `live`, `shadow` or `building_block`.
    pub mode: &'static str,
}

impl RuleRow {
    /// All rules of a set.
    pub fn all(rules: &RuleSet) -> Vec<RuleRow> {
        let row = |rule: &Arc<crate::rule::Rule>| RuleRow {
            id: rule.info.id.clone(),
            severity: rule.info.severity,
            kind: match rule.kind {
                Kind::Match(_) => "match",
                Kind::Threshold(_) => "threshold",
                Kind::Baseline(_) => "baseline",
            },
            mode: match rule.mode {
                Mode::Live => "live",
                Mode::Shadow => "shadow",
                Mode::BuildingBlock => "building_block",
            },
        };
        rules.rules.iter().map(row).collect()
    }
}

/// Everything that is shown at one moment.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// What each worker published last.
    pub workers: Vec<Status>,
    /// The sinks.
    pub sinks: Vec<SinkStats>,
    /// The rules that run.
    pub rules: Vec<RuleRow>,
    /// Ids of rules that were left out since they would need the exchange.
    pub unplaced: Vec<String>,
    /// The hash of the rule set that judges.
    pub rule_set: u128,
    /// Rule sets that were refused since the start.
    pub refused_rule_sets: u64,
    /// Checkpoints that could not be written.
    pub failed_checkpoints: u64,
}

impl Overview {
    /// What all workers have counted together.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for totals in self.workers.iter().map(|worker| &worker.totals) {
            for (partition, theirs) in &totals.partitions {
                let own = sum.partitions.entry(partition.clone()).or_default();
                own.records += theirs.records;
                own.bytes += theirs.bytes;
                own.events += theirs.events;
                for (reason, n) in &theirs.rejects {
                    *own.rejects.entry(*reason).or_default() += n;
                }
                // Whoever has come further owns it now, or has just handed it on.
                own.next_offset = own.next_offset.max(theirs.next_offset);
                own.stream_time = own.stream_time.max(theirs.stream_time);
            }
            for (stream, theirs) in &totals.decode {
                sum.decode.entry(stream.clone()).or_default().merge(theirs);
            }
            for (rule, theirs) in &totals.rules {
                sum.rules.entry(rule.clone()).or_default().merge(theirs);
            }
            sum.pending += totals.pending;
            sum.replaying += totals.replaying;
            sum.divergence += totals.divergence;
            sum.unknown_sets += totals.unknown_sets;
            for (stream, theirs) in &totals.gaps {
                let own = sum.gaps.entry(stream.clone()).or_default();
                own.jumps += theirs.jumps;
                own.records += theirs.records;
            }
        }
        sum
    }

    /// Records that wait to be read in all partitions, as far as that is known.
    pub fn lag(&self) -> u64 {
        self.workers.iter().flat_map(|worker| worker.partitions.values()).filter_map(Reading::lag).sum()
    }

    /// Events decoded.
    pub fn events(&self) -> u64 {
        self.totals().partitions.values().map(|partition| partition.events).sum()
    }

    /// What all rules together could not see.
    pub fn blind(&self) -> Blind {
        let mut sum = Blind::default();
        self.totals().rules.values().for_each(|rule| sum.merge(&rule.blind));
        sum
    }

    /// All event→alert latencies together.
    pub fn event_to_alert(&self) -> Latency {
        self.latency(|worker| &worker.event_to_alert)
    }

    /// All broker→alert latencies together.
    pub fn broker_to_alert(&self) -> Latency {
        self.latency(|worker| &worker.broker_to_alert)
    }

    fn latency(&self, of: fn(&Status) -> &Latency) -> Latency {
        let mut sum = Latency::default();
        self.workers.iter().for_each(|worker| sum.merge(of(worker)));
        sum
    }
}
