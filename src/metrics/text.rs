//! The text format of Prometheus, made at the time of a scrape.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};

use super::{Latency, Overview, Status};
use crate::alert::Reason;
use crate::event::{PartitionId, RejectReason};
use crate::pipeline::RuleCounters;
use crate::runtime::delivery::SinkReading;
use crate::runtime::worker::Totals;

/// The content type of [`render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics as text.
pub fn render(overview: &Overview) -> String {
    let totals = overview.totals();
    let mut page = Page::default();
    page.about(overview);
    page.state(overview, &totals);
    page.partitions(overview, &totals);
    page.streams(&totals);
    page.rules(overview, &totals);
    page.sinks(overview);
    page.workers(overview);
    page.latencies(overview);
    let mut text = Vec::new();
    let families: Vec<MetricFamily> = page.families.into_values().collect();
    if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
        tracing::error!("metrics cannot be written: {error}");
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Label names and values.
type Labels<'a> = &'a [(&'a str, &'a str)];

#[derive(Default)]
struct Page {
    families: BTreeMap<&'static str, MetricFamily>,
}

impl Page {
    fn add(
        &mut self,
        name: &'static str,
        help: &str,
        kind: MetricType,
        mut metric: Metric,
        labels: Labels<'_>,
    ) {
        metric.set_label(labels.iter().map(|(name, value)| label(name, value)).collect());
        let family = self.families.entry(name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_string());
            family.set_help(help.to_string());
            family.set_field_type(kind);
            family
        });
        family.mut_metric().push(metric);
    }

    fn counter(&mut self, name: &'static str, help: &str, labels: Labels<'_>, value: u64) {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = Metric::default();
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric, labels);
    }

    fn gauge(&mut self, name: &'static str, help: &str, labels: Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::default();
        metric.set_gauge(gauge);
        self.add(name, help, MetricType::GAUGE, metric, labels);
    }

    fn histogram(&mut self, name: &'static str, help: &str, latency: &Latency) {
        let mut histogram = Histogram::default();
        histogram.set_sample_count(latency.count());
        histogram.set_sample_sum(latency.sum() as f64 / 1e6);
        let buckets = latency.buckets().into_iter().map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound as f64 / 1e6);
            bucket.set_cumulative_count(count);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.add(name, help, MetricType::HISTOGRAM, metric, &[]);
    }

    fn about(&mut self, overview: &Overview) {
        let version = env!("CARGO_PKG_VERSION");
        let help = "Which version this is; always 1.";
        self.gauge("fleetwarden_build_info", help, &[("version", version)], 1.0);
        let mut rules: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
        for rule in &overview.rules {
            *rules.entry((rule.severity.name(), rule.kind, rule.mode)).or_default() += 1;
        }
        for ((severity, kind, mode), n) in rules {
            let labels = [("severity", severity), ("kind", kind), ("mode", mode)];
            self.gauge("fleetwarden_rules", "Rules that run.", &labels, n as f64);
        }
        let hash = format!("{:032x}", overview.rule_set);
        let help = "The rule set that judges, by its hash; always 1.";
        self.gauge("fleetwarden_rule_set_info", help, &[("hash", hash.as_str())], 1.0);
        let help = "Rule sets that were read anew and refused.";
        self.counter("fleetwarden_rule_sets_refused_total", help, &[], overview.refused_rule_sets);
    }

    fn state(&mut self, overview: &Overview, totals: &Totals) {
        let help = "Checkpoints that could not be written: the one before was kept.";
        self.counter("fleetwarden_checkpoints_failed_total", help, &[], overview.failed_checkpoints);
        let help = "Partitions that go through what an earlier owner has said already.";
        self.gauge("fleetwarden_partitions_replaying", help, &[], totals.replaying as f64);
        let help = "Alerts that one owner of a partition found and another did not; must stay 0.";
        self.counter("fleetwarden_divergence_total", help, &[], totals.divergence);
        let help = "Rule sets that had judged and could not be had again when a partition was taken over.";
        self.counter("fleetwarden_rule_sets_missing_total", help, &[], totals.unknown_sets);
    }

    fn partitions(&mut self, overview: &Overview, totals: &Totals) {
        for (id, counts) in &totals.partitions {
            let index = id.index.to_string();
            let labels = [("stream", &*id.stream), ("partition", index.as_str())];
            self.counter("fleetwarden_records_total", "Records read.", &labels, counts.records);
            self.counter("fleetwarden_events_total", "Events decoded from records.", &labels, counts.events);
            self.counter(
                "fleetwarden_record_bytes_total",
                "Bytes of the records read.",
                &labels,
                counts.bytes,
            );
        }
        let mut shown: BTreeSet<PartitionId> = BTreeSet::new();
        for worker in &overview.workers {
            for (id, reading) in &worker.partitions {
                // While a partition changes hands, two workers of a process may both show it for a moment.
                if !shown.insert(id.clone()) {
                    continue;
                }
                let index = id.index.to_string();
                let labels = [("stream", &*id.stream), ("partition", index.as_str())];
                if let Some(lag) = reading.lag() {
                    let help = "Records that wait to be read.";
                    self.gauge("fleetwarden_consumer_lag_records", help, &labels, lag as f64);
                }
                // Before the first record there is no stream time.
                if let Some(counts) =
                    worker.totals.partitions.get(id).filter(|counts| counts.stream_time.0 > 0)
                {
                    let help = "Stream time of a partition, in seconds since 1970.";
                    let seconds = counts.stream_time.0 as f64 / 1e6;
                    self.gauge("fleetwarden_stream_time_seconds", help, &labels, seconds);
                }
            }
        }
    }

    fn streams(&mut self, totals: &Totals) {
        let mut rejects: BTreeMap<&str, BTreeMap<RejectReason, u64>> = BTreeMap::new();
        for (id, counts) in &totals.partitions {
            let of_stream = rejects.entry(&*id.stream).or_default();
            RejectReason::ALL.into_iter().for_each(|reason| {
                *of_stream.entry(reason).or_default() += counts.rejects.get(&reason).copied().unwrap_or(0);
            });
        }
        for (stream, reasons) in rejects {
            for (reason, n) in reasons {
                let labels = [("stream", stream), ("reason", reason.name())];
                self.counter("fleetwarden_rejects_total", "Records that could not be read.", &labels, n);
            }
        }
        for (stream, counts) in &totals.decode {
            let labels = [("stream", &**stream)];
            let help = "Events from the future, moved to the time at which the broker took them.";
            self.counter("fleetwarden_events_moved_total", help, &labels, counts.moved);
            let help = "Of the moved events, those further ahead than max_skew.";
            self.counter("fleetwarden_events_skewed_total", help, &labels, counts.skewed);
            let help = "Events without a plausible time, dated by the broker.";
            self.counter("fleetwarden_events_untimed_total", help, &labels, counts.untimed);
            for (column, n) in &counts.mistyped {
                let labels = [("stream", &**stream), ("column", column.as_str())];
                let help = "Values of the wrong type or out of range, read as NULL.";
                self.counter("fleetwarden_values_mistyped_total", help, &labels, *n);
            }
        }
        self.gaps(totals);
    }

    fn gaps(&mut self, totals: &Totals) {
        for (stream, sum) in &totals.gaps {
            let help = "How often records were gone before they were read.";
            self.counter("fleetwarden_gaps_total", help, &[("stream", stream)], sum.jumps);
            let help = "Offsets that were gone before they were read, where their number is known.";
            self.counter("fleetwarden_gap_records_total", help, &[("stream", stream)], sum.records);
        }
    }

    fn rules(&mut self, overview: &Overview, totals: &Totals) {
        let none = RuleCounters::default();
        for rule in &overview.rules {
            let counts = totals.rules.get(&rule.id).unwrap_or(&none);
            // Present from the start, so that the first alert is a rise.
            let mut alerts = counts.alerts.clone();
            alerts.entry(rule.severity).or_default();
            for (severity, n) in alerts {
                let labels = [("rule", rule.id.as_str()), ("severity", severity.name())];
                self.counter(
                    "fleetwarden_alerts_total",
                    "Alerts, by the severity that they say.",
                    &labels,
                    n,
                );
            }
            let labels = [("rule", rule.id.as_str())];
            let help = "Findings that suppression folded into another alert.";
            self.counter("fleetwarden_alerts_suppressed_total", help, &labels, counts.folded);
            if rule.mode == "shadow" {
                let help = "Alerts that a rule in shadow mode would have sent.";
                self.counter("fleetwarden_alerts_shadowed_total", help, &labels, counts.shadowed);
            }
            if rule.mode == "building_block" {
                let help = "Alerts of a building block, which go to no sink.";
                self.counter("fleetwarden_alerts_building_block_total", help, &labels, counts.blocks);
            }
            for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::Unplaced) {
                self.blind(&rule.id, reason, counts.blind.get(reason));
            }
        }
        for rule in &overview.unplaced {
            self.blind(rule, Reason::Unplaced, 1);
        }
        let help = "Windows and panes that wait to be judged.";
        self.gauge("fleetwarden_pending_windows", help, &[], totals.pending as f64);
    }

    fn blind(&mut self, rule: &str, reason: Reason, n: u64) {
        let labels = [("rule", rule), ("reason", reason.name())];
        self.counter("fleetwarden_blind_total", "What a rule could not see, by reason.", &labels, n);
    }

    fn sinks(&mut self, overview: &Overview) {
        for sink in &overview.sinks {
            let labels = [("sink", &*sink.name)];
            let help = "Alerts that a sink took.";
            self.counter("fleetwarden_sink_delivered_total", help, &labels, sink.delivered);
            let help = "Of the alerts that a sink took, those that it had already.";
            self.counter("fleetwarden_sink_present_total", help, &labels, sink.present);
            let help = "Attempts at a sink that were made again.";
            self.counter("fleetwarden_sink_retries_total", help, &labels, sink.retried);
            let help = "Alerts that a sink will never take; they are dead letters.";
            self.counter("fleetwarden_sink_refused_total", help, &labels, sink.refused);
            let help = "Alerts that were read for a sink and wait for it.";
            self.gauge("fleetwarden_sink_queue_alerts", help, &labels, sink.waiting as f64);
            let blocked = if sink.blocked.is_some() { 1.0 } else { 0.0 };
            self.gauge("fleetwarden_sink_blocked", "1 while a sink takes nothing.", &labels, blocked);
            self.reader(&labels, &sink.reading);
        }
    }

    /// What a sink does as a reader of the journal.
    fn reader(&mut self, labels: Labels<'_>, reading: &SinkReading) {
        let help = "Partitions of the journal that this process reads for a sink.";
        self.gauge("fleetwarden_sink_partitions", help, labels, reading.partitions as f64);
        if let Some(lag) = reading.lag {
            let help = "Records of the journal that wait for a sink.";
            self.gauge("fleetwarden_sink_lag_records", help, labels, lag as f64);
        }
        let help = "Age of the oldest alert that was read for a sink and has no outcome.";
        self.gauge("fleetwarden_sink_oldest_seconds", help, labels, reading.oldest as f64 / 1e6);
        let help = "Entries of the journal whose writer had been replaced: not delivered.";
        self.counter("fleetwarden_sink_superseded_total", help, labels, reading.superseded);
        let help = "Records of the journal that could not be read.";
        self.counter("fleetwarden_sink_undecodable_total", help, labels, reading.undecodable);
        let help = "How often records of the journal were gone before a sink had them.";
        self.counter("fleetwarden_sink_gaps_total", help, labels, reading.gaps.jumps);
        let help =
            "Records of the journal that were gone before a sink had them, where their number is known.";
        self.counter("fleetwarden_sink_gap_records_total", help, labels, reading.gaps.records);
    }

    fn workers(&mut self, overview: &Overview) {
        let sum = |of: fn(&Status) -> u64| overview.workers.iter().map(of).sum::<u64>();
        let help = "Dead letters written, by what they are.";
        let name = "fleetwarden_dead_letters_total";
        self.counter(name, help, &[("kind", "record")], sum(|w| w.dead_letters.records));
        let of_sinks =
            |of: fn(&SinkReading) -> u64| overview.sinks.iter().map(|s| of(&s.reading)).sum::<u64>();
        let alerts = sum(|w| w.dead_letters.alerts) + of_sinks(|sink| sink.letters);
        self.counter(name, help, &[("kind", "alert")], alerts);
        let help = "Attempts to write a dead letter that were made again.";
        let retries = sum(|w| w.dead_letters.retries) + of_sinks(|sink| sink.letter_retries);
        self.counter("fleetwarden_dead_letter_retries_total", help, &[], retries);
        for (index, worker) in overview.workers.iter().enumerate() {
            let index = index.to_string();
            let held = if worker.held_since.is_some() { 1.0 } else { 0.0 };
            let help =
                "1 while a worker does not read because sinks or the dead-letter topic take nothing more.";
            self.gauge("fleetwarden_worker_held", help, &[("worker", &index)], held);
            let help = "Partitions that a worker owns.";
            let owned = worker.partitions.len() as f64;
            self.gauge("fleetwarden_worker_partitions", help, &[("worker", &index)], owned);
        }
    }

    fn latencies(&mut self, overview: &Overview) {
        let help = "From the time of the event that fired to its alert.";
        self.histogram("fleetwarden_event_to_alert_seconds", help, &overview.event_to_alert());
        let help = "From the time at which the broker took the event that fired to its alert.";
        self.histogram("fleetwarden_broker_to_alert_seconds", help, &overview.broker_to_alert());
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_string());
    pair.set_value(value.to_string());
    pair
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::{Gaps, Reading, RuleRow};
    use super::*;
    use crate::alert::Severity;
    use crate::event::Timestamp;
    use crate::runtime::delivery::{Blockage, SinkStats};
    use crate::runtime::worker::PartitionCounters;

    pub(crate) fn sink(name: &str, blocked: Option<Blockage>) -> SinkStats {
        SinkStats {
            name: name.into(),
            delivered: 5,
            refused: 1,
            retried: 2,
            waiting: 3,
            capacity: 10,
            last_delivered: None,
            last_error: None,
            blocked,
            present: 1,
            reading: SinkReading { partitions: 4, lag: Some(9), oldest: 1_500_000, ..SinkReading::default() },
        }
    }

    pub(crate) fn blockage() -> Blockage {
        Blockage { since: Timestamp(0), why: "no route".into(), mend: "look at the cable".into() }
    }

    pub(crate) fn sample() -> Overview {
        let id = |stream: &str, index| PartitionId { stream: stream.into(), index };
        let mut worker = Status { joined: true, at: Timestamp(5), ..Status::default() };
        for index in 0..2 {
            let rejects = [(RejectReason::Syntax, 3), (RejectReason::Utf8, 1)].into();
            let stream_time = Timestamp(7_000_000);
            let counts =
                PartitionCounters { records: 10, events: 12, rejects, stream_time, ..Default::default() };
            worker.totals.partitions.insert(id("telemetry", index), counts);
            let reading = Reading { stuck_since: None, next_offset: Some(10), end: Some(15) };
            worker.partitions.insert(id("telemetry", index), reading);
        }
        let decode = worker.totals.decode.entry("telemetry".into()).or_default();
        decode.moved = 1;
        decode.mistyped.insert("speed".into(), 2);
        let rule = worker.totals.rules.entry("a-\"quoted\"\\rule\n".into()).or_default();
        rule.alerts.insert(Severity::Critical, 4);
        Reason::ALL.into_iter().for_each(|reason| rule.blind.add(reason, 1));
        worker.totals.gaps.insert("telemetry".into(), Gaps { jumps: 1, records: 7 });
        worker.event_to_alert.record(1_500);
        worker.broker_to_alert.record(900);
        let row = |id: &str, mode| RuleRow { id: id.into(), severity: Severity::High, kind: "match", mode };
        Overview {
            workers: vec![worker.clone(), worker],
            sinks: vec![sink("stdout", None), sink("opensearch", Some(blockage()))],
            rules: vec![
                row("a-\"quoted\"\\rule\n", "live"),
                row("quiet", "shadow"),
                row("part", "building_block"),
            ],
            unplaced: vec!["needs-the-exchange".into()],
            rule_set: 0xabc,
            ..Overview::default()
        }
    }

    /// Name and labels of every sample line.
    fn series(text: &str) -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').unwrap().0.to_string())
            .collect()
    }

    #[test]
    fn series_are_unique() {
        let all = series(&render(&sample()));
        let unique: BTreeSet<&String> = all.iter().collect();
        assert_eq!(all.len(), unique.len(), "{all:#?}");
        assert!(all.len() > 60, "{}", all.len());
    }

    #[test]
    fn names_follow_the_rules() {
        let text = render(&sample());
        assert!(text.ends_with('\n'));
        let mut kinds = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            let mut words = line.split(' ').skip(2);
            let (name, kind) = (words.next().unwrap(), words.next().unwrap());
            assert!(kinds.insert(name, kind).is_none(), "{name} twice");
            assert!(text.contains(&format!("# HELP {name} ")), "{name} without help");
            assert!(name.starts_with("fleetwarden_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} {kind}");
            let reserved = ["_count", "_sum", "_bucket", "_ms", "_info_total"];
            assert!(!reserved.iter().any(|tail| name.ends_with(tail)), "{name}");
        }
        assert!(kinds.len() >= 28, "{kinds:#?}");
    }

    #[test]
    fn workers_are_added_up_and_labels_escaped() {
        let text = render(&sample());
        let has = |line: &str| assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        has("fleetwarden_records_total{stream=\"telemetry\",partition=\"1\"} 20");
        has("fleetwarden_consumer_lag_records{stream=\"telemetry\",partition=\"0\"} 5");
        has("fleetwarden_rejects_total{stream=\"telemetry\",reason=\"syntax\"} 12");
        has("fleetwarden_rejects_total{stream=\"telemetry\",reason=\"shape\"} 0");
        has("fleetwarden_rules{severity=\"high\",kind=\"match\",mode=\"shadow\"} 1");
        has("fleetwarden_stream_time_seconds{stream=\"telemetry\",partition=\"0\"} 7");
        has("fleetwarden_alerts_total{rule=\"quiet\",severity=\"high\"} 0");
        has("fleetwarden_alerts_total{rule=\"a-\\\"quoted\\\"\\\\rule\\n\",severity=\"critical\"} 8");
        has("fleetwarden_blind_total{rule=\"needs-the-exchange\",reason=\"unplaced\"} 1");
        has("fleetwarden_sink_blocked{sink=\"opensearch\"} 1");
        has("fleetwarden_event_to_alert_seconds_bucket{le=\"0.0025\"} 2");
        has("fleetwarden_event_to_alert_seconds_bucket{le=\"+Inf\"} 2");
        has("fleetwarden_event_to_alert_seconds_sum 0.003");
    }

    #[test]
    fn nothing_yet_is_a_page_too() {
        let text = render(&Overview::default());
        assert!(text.contains("fleetwarden_build_info{version=\""), "{text}");
        assert!(text.contains("fleetwarden_event_to_alert_seconds_count 0"), "{text}");
    }
}
