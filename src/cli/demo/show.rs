//! What the demo shows: alerts as they come, one running line, a verdict.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::sample::Sample;
use super::{Format, Verdict};
use crate::alert::{Alert, Severity};
use crate::encode::plain;
use crate::event::Value;
use crate::metrics::Overview;

/// Writes to the terminal.
pub struct Show {
    format: Format,
    rules: usize,
    vehicles: usize,
    streams: usize,
    line: ProgressBar,
    color: bool,
}

impl Show {
    /// Says nothing yet.
    pub fn new(format: Format, rules: usize, vehicles: usize, streams: usize) -> Show {
        let live = format == Format::Human && io::stdout().is_terminal() && io::stderr().is_terminal();
        let line = if live { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg}") {
            line.set_style(style);
        }
        Show { format, rules, vehicles, streams, line, color: crate::cli::color(&io::stdout()) }
    }

    /// The first line.
    pub fn welcome(&self, metrics: Option<SocketAddr>) {
        if self.format == Format::Json {
            return;
        }
        let metrics =
            metrics.map_or_else(String::new, |address| format!(" · metrics http://{address}/metrics"));
        println!(
            "fleetwarden demo · {} vehicles, {} streams, {} rules · in-process Kafka{metrics}",
            self.vehicles, self.streams, self.rules
        );
    }

    /// What it waits for.
    pub fn waiting(&self, since: Duration) {
        self.line.set_message(format!("waiting for the Kafka group to form ({:.0} s)", since.as_secs_f64()));
        self.line.tick();
    }

    /// One alert.
    pub fn alert(&self, alert: &Alert, at: Duration) {
        if self.format == Format::Json {
            println!("{}", plain::line(alert));
            return;
        }
        let (minutes, seconds) = (at.as_secs() / 60, at.as_secs() % 60);
        let key: Vec<String> = alert.key.iter().map(text).collect();
        let severity = alert.severity.name().to_uppercase();
        let severity = format!("{severity:8}");
        let severity = if self.color { paint(alert.severity, &severity) } else { severity };
        let raised = if alert.severity > alert.rule.severity {
            format!("   ▲ raised from {}", alert.rule.severity.name())
        } else {
            String::new()
        };
        let (id, key, what) = (&alert.rule.id, cut(&key.join(" / "), 44), cut(&observed(alert), 96));
        let line =
            format!("  {minutes:02}:{seconds:02}  {severity}  {id:37}  {key}{raised}\n           {what}");
        self.line.suspend(|| println!("{line}"));
    }

    /// The running line.
    pub fn line(&self, overview: &Overview, alerts: u64) {
        if self.line.is_hidden() {
            return;
        }
        self.line.set_message(format!(
            "{} events · lag {} · {alerts} alerts · blind {}",
            overview.events(),
            overview.lag(),
            blind(overview)
        ));
        self.line.tick();
    }

    /// How it went; true if every attack was found and nothing else.
    pub fn verdict(&self, verdict: &Verdict, sample: &Sample, overview: &Overview, seconds: f64) -> bool {
        self.line.finish_and_clear();
        let (injected, found) = (sample.attacks.len(), verdict.found.len());
        let events = overview.events();
        let rate = events as f64 / seconds.max(0.001);
        let (median, worst) = (quantile(&verdict.latencies, 0.5), quantile(&verdict.latencies, 0.99));
        let missed: Vec<&str> = (0..injected)
            .filter(|i| !verdict.found.contains(i))
            .filter_map(|i| sample.attacks.get(i).map(|attack| attack.story.as_str()))
            .collect();
        if self.format == Format::Json {
            let summary = json!({
                "attacks_injected": injected, "attacks_detected": found, "alerts_outside": verdict.outside,
                "events_per_second": (rate * 10.0).round() / 10.0,
                "latency_ms": worst, "latency_ms_median": median,
                "alerts": verdict.alerts, "events": events, "records": verdict.records, "missed": missed,
                "seconds": (seconds * 10.0).round() / 10.0,
            });
            println!("{summary}");
        } else {
            println!(
                "\n{found} of {injected} attacks found, {} alerts outside an attack, {events} events judged \
                 by {} rules, p99 {worst} ms from broker to alert.",
                verdict.outside, self.rules
            );
            missed.iter().for_each(|story| println!("missed: {story}"));
            println!(
                "Look closer:   fleetwarden test rules        \
                 Your own files:   fleetwarden replay STREAM=FILE"
            );
            println!("Your own topic:   fleetwarden init --brokers HOST:9092 --topic TOPIC");
        }
        found == injected && verdict.outside == 0
    }
}

/// What the rules could not see; that they started without a past is no news in a demo.
fn blind(overview: &Overview) -> u64 {
    let blind = overview.blind();
    blind.total() - blind.get(crate::alert::Reason::ColdStart)
}

/// The n-th part of the latencies, in milliseconds.
fn quantile(latencies: &[Duration], q: f64) -> u128 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = ((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).map_or(0, Duration::as_millis)
}

/// What was seen, in one line: title, then names and values in the order of the rule.
fn observed(alert: &Alert) -> String {
    let known = alert.observed.iter().filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)));
    let shown: Vec<String> =
        known.take(3).map(|(name, value)| format!("{name} {}", cut(&text(value), 32))).collect();
    format!("{} · {}", alert.rule.title, shown.join(", "))
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        other => other.json().to_string(),
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn paint(severity: Severity, text: &str) -> String {
    let code = match severity {
        Severity::Critical => "1;31",
        Severity::High => "31",
        Severity::Medium => "33",
        Severity::Low => "36",
        Severity::Info => "2",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
