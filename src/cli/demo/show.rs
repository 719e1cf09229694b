//! What the demo shows: alerts as they come, one running line, a verdict.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::Format;
use super::engine::Engine;
use super::story::{Found, LENGTH_MS, Verdict};
use crate::alert::{Alert, Reason};
use crate::cli::show;
use crate::encode::plain;
use crate::fleet::{Attack, Plan};
use crate::metrics::Overview;

/// How often the running line says new numbers.
const RATE: Duration = Duration::from_millis(500);

/// Writes to the terminal.
pub struct Show {
    format: Format,
    start_ms: i64,
    line: ProgressBar,
    color: bool,
    /// When the running line last said something new, how many records had been sent by then.
    last: Option<(Instant, u64)>,
}

/// How it went.
pub struct Outcome<'a> {
    /// The truth.
    pub attacks: &'a [Attack],
    /// What was found of it.
    pub verdict: &'a Verdict,
    /// Rules that ran.
    pub rules: usize,
    /// Alerts that came.
    pub alerts: usize,
    /// Events that were judged.
    pub events: u64,
    /// Records that were played.
    pub records: u64,
    /// How long it took.
    pub seconds: f64,
    /// From sending an event to its alert.
    pub latencies: &'a [Duration],
}

impl Show {
    /// Says nothing yet.
    pub fn new(format: Format, start_ms: i64) -> Show {
        let live = format == Format::Human && io::stdout().is_terminal() && io::stderr().is_terminal();
        let line = if live { ProgressBar::new(LENGTH_MS.unsigned_abs()) } else { ProgressBar::hidden() };
        style(&line, "  {spinner} {msg}");
        Show { format, start_ms, line, color: crate::cli::color(&io::stdout()), last: None }
    }

    /// The first lines.
    pub fn welcome(&self, plan: &Plan, streams: usize, rules: usize, metrics: Option<SocketAddr>) {
        if self.format == Format::Json {
            return;
        }
        let metrics =
            metrics.map_or_else(String::new, |address| format!(" · metrics http://{address}/metrics"));
        println!(
            "fleetwarden demo · {} vehicles, {streams} streams, {rules} rules · in-process Kafka{metrics}",
            plan.vehicles
        );
    }

    /// What it waits for.
    pub fn waiting(&self, since: Duration) {
        self.line.set_message(format!("waiting for the Kafka group to form ({:.0} s)", since.as_secs_f64()));
        self.line.tick();
    }

    /// Simulated time begins to run.
    pub fn begin(&self, pace: f64) {
        style(&self.line, "  {prefix} ▕{bar:20}▏ {msg}");
        if self.format == Format::Human {
            let from = clock(self.start_ms);
            println!(
                "A Monday morning of a simulated fleet from {from} on, {pace:.0} times as fast as it happens."
            );
        }
    }

    /// One alert.
    pub fn alert(&self, alert: &Alert) {
        match self.format {
            Format::Json => println!("{}", plain::line(alert)),
            Format::Human => {
                let text = show::line_at(&format!("  {}", clock(alert.time.millis())), alert, self.color);
                let text = text.replace("\n  ", "\n         ");
                self.line.suspend(|| println!("{text}"));
            }
        }
    }

    /// The running line; `since` is how far simulated time has come.
    pub fn line(&mut self, engine: &Engine, since: i64, alerts: usize, latencies: &[Duration]) {
        if self.line.is_hidden() {
            return;
        }
        let (now, records) = (Instant::now(), engine.records());
        let (last, before) = *self.last.get_or_insert((now, records));
        let elapsed = now - last;
        if elapsed < RATE {
            return;
        }
        self.last = Some((now, records));
        let rate = (records - before) as f64 / elapsed.as_secs_f64();
        let overview = engine.overview();
        self.line.set_position(since.unsigned_abs());
        self.line.set_prefix(clock(self.start_ms + since));
        self.line.set_message(format!(
            "{rate:.0} events/s · lag {} · event→alert p50 {} p99 {} ms · {} · blind {}",
            overview.lag(),
            quantile(latencies, 0.5),
            quantile(latencies, 0.99),
            crate::cli::number(alerts, "alert"),
            blind(&overview)
        ));
    }

    /// How it went, and where to go on.
    pub fn verdict(&self, outcome: &Outcome<'_>) {
        self.line.finish_and_clear();
        match self.format {
            Format::Json => println!("{}", summary(outcome)),
            Format::Human => print!("{}", self.told(outcome)),
        }
    }

    fn told(&self, outcome: &Outcome<'_>) -> String {
        let Outcome { attacks, verdict, .. } = outcome;
        let mut out = "\n".to_owned();
        for (attack, found) in attacks.iter().zip(&verdict.found) {
            let (at, story) = (clock(attack.start_ms), &attack.story);
            let told = match found {
                Some(Found { after_ms, .. }) => format!("found after {}", after(*after_ms)),
                None => "missed".to_owned(),
            };
            out.push_str(&format!("  {at}  {told:19}  {}\n", show::cut(story, 100)));
        }
        let found = verdict.found.iter().flatten().count();
        out.push_str(&format!(
            "\n{found} of {} attacks found, {} alerts outside an attack, {} events judged by {} rules, \
             event to alert p50 {} ms, p99 {} ms.\n",
            attacks.len(),
            verdict.outside,
            outcome.events,
            outcome.rules,
            quantile(outcome.latencies, 0.5),
            quantile(outcome.latencies, 0.99),
        ));
        out + "Look closer:   fleetwarden explain mass-lockout      Your own files:   fleetwarden replay STREAM=FILE\n\
               Your own topic:   fleetwarden init --brokers HOST:9092 --topic TOPIC\n"
    }
}

fn style(line: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        line.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
}

/// For machines.
fn summary(outcome: &Outcome<'_>) -> serde_json::Value {
    let Outcome { attacks, verdict, latencies, .. } = outcome;
    let of = |(attack, found): (&Attack, &Option<Found>)| match found {
        Some(Found { rule, after_ms }) => {
            json!({ "class": attack.class, "rule": rule, "after_ms": after_ms })
        }
        None => json!({ "class": attack.class, "rule": null, "after_ms": null }),
    };
    let missed = attacks.iter().zip(&verdict.found).filter(|(_, found)| found.is_none());
    let missed: Vec<&str> = missed.map(|(attack, _)| attack.story.as_str()).collect();
    let tenth = |x: f64| (x * 10.0).round() / 10.0;
    json!({
        "attacks_injected": attacks.len(), "attacks_detected": attacks.len() - missed.len(),
        "alerts_outside": verdict.outside, "missed": missed,
        "attacks": attacks.iter().zip(&verdict.found).map(of).collect::<Vec<_>>(),
        "alerts": outcome.alerts, "events": outcome.events, "records": outcome.records,
        "events_per_second": tenth(outcome.events as f64 / outcome.seconds.max(0.001)),
        "latency_ms": quantile(latencies, 0.99), "latency_ms_median": quantile(latencies, 0.5),
        "seconds": tenth(outcome.seconds),
    })
}

/// What the rules could not see; that they started without a past, and still learn, is no news in a demo.
fn blind(overview: &Overview) -> u64 {
    let blind = overview.blind();
    blind.total() - blind.get(Reason::ColdStart) - blind.get(Reason::Learning)
}

/// The n-th part of the latencies, in milliseconds.
fn quantile(latencies: &[Duration], q: f64) -> u128 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = ((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).map_or(0, Duration::as_millis)
}

/// Hours and minutes of the day.
fn clock(ms: i64) -> String {
    let minutes = ms.div_euclid(60_000).rem_euclid(24 * 60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// A simulated span, as people say it.
fn after(ms: i64) -> String {
    match ms.max(0) / 1_000 {
        0..120 => format!("{} s", ms / 1_000),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_say_them() {
        assert_eq!(clock(1_772_431_200_000 + 61_000), "06:01");
        assert_eq!(
            [0, 999, 1_000, 119_999, 120_000, 150_000].map(after),
            ["0 s", "0 s", "1 s", "119 s", "2 min", "3 min"]
        );
        let ms = |n: &u64| Duration::from_millis(*n);
        assert_eq!(quantile(&[], 0.5), 0);
        assert_eq!(quantile(&[3, 1, 2, 9].iter().map(ms).collect::<Vec<_>>(), 0.5), 2);
    }
}
