//! `fleetwarden test`: runs the tests that stand in rule files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde_json::Value as Json;

use super::{Exit, Rules};
use crate::alert::Alert;
use crate::encode::plain;
use crate::event::time::SECOND;
use crate::event::{Limits, Micros, PartitionId, Record, Reject, Timestamp};
use crate::rule::notation::{self, Step, offset};
use crate::rule::{Expected, RuleSet, RuleTest};
use crate::runtime::replay::Replay;
use crate::schema::{FieldType, Schema, TimeUnit};

/// 2025-01-01T00:00:00Z, a Wednesday: `+0s` of every test.
const START: Timestamp = Timestamp(1_735_689_600 * SECOND);

/// Run the tests of rule files.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Rule files, or folders of them
    #[arg(default_value = "rules")]
    pub paths: Vec<PathBuf>,
    /// Folder of stream schemas [default: ./schemas, else the built-in ones]
    #[arg(long)]
    pub schemas: Option<PathBuf>,
    /// Run only tests whose name or rule contains this text
    #[arg(long)]
    pub filter: Option<String>,
}

/// Runs them all; 1 if one fails or a rule does not compile.
pub fn run(args: &TestArgs) -> Exit {
    let started = Instant::now();
    let Rules { rules, tests, schemas, .. } = match super::load_rules(&args.paths, args.schemas.as_deref()) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let wanted = |test: &&RuleTest| {
        args.filter.as_ref().is_none_or(|text| test.name.contains(text) || test.rule.contains(text))
    };
    let (mut run, mut failed) = (0, 0);
    for test in tests.iter().filter(wanted) {
        run += 1;
        let outcome = Outcome::of(test, &rules, &schemas);
        if !outcome.passed() {
            failed += 1;
            println!("{}", outcome.render(test));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let counts = format!("{} rules, {run} tests", rules.rules.len());
    println!("{counts}: {} passed, {failed} failed ({seconds:.1} s)", run - failed);
    if run == 0 {
        eprintln!("error: no test was run; a rule's tests are its [[test]] tables");
        return Exit::Usage;
    }
    if failed > 0 { Exit::Findings } else { Exit::Ok }
}

/// What came of one test.
pub struct Outcome {
    alerts: Vec<Arc<Alert>>,
    rejects: Vec<Reject>,
    /// Expected against got: what is shown, and whether it fits.
    rows: Vec<(String, String, bool)>,
}

impl Outcome {
    /// Runs one test against its own rule.
    pub fn of(test: &RuleTest, rules: &RuleSet, schemas: &[Arc<Schema>]) -> Outcome {
        let alone = rules.only(&test.rule, schemas);
        let Some(rule) = alone.rules.first().cloned() else {
            let row = ("its rule".to_owned(), "not loaded".to_owned(), false);
            return Outcome { alerts: Vec::new(), rejects: Vec::new(), rows: vec![row] };
        };
        let steps = notation::parse(&test.events, &test.name).unwrap_or_default();
        let (alerts, rejects) = play(&steps, &rule.stream, Arc::new(alone), schemas);
        let rows = compare(&test.alerts, &alerts);
        Outcome { alerts, rejects, rows }
    }

    /// Whether all that was expected came, and nothing else.
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|(_, _, fits)| *fits)
    }

    /// Expected and got, side by side.
    pub fn render(&self, test: &RuleTest) -> String {
        let width = self.rows.iter().map(|(e, _, _)| e.chars().count()).max().unwrap_or(0).clamp(8, 60);
        let mut out =
            format!("FAIL  {} · \"{}\"\n        {:width$}  got\n", test.file, test.name, "expected");
        for (expected, got, fits) in &self.rows {
            let mark = if *fits { ' ' } else { '✗' };
            out.push_str(&format!("      {mark} {expected:width$}  {got}\n"));
        }
        if let Some(reject) = self.rejects.first() {
            let (count, reason) = (self.rejects.len(), reject.reason.name());
            out.push_str(&format!(
                "  why   {count} events were rejected; the first: {reason}, {}\n",
                reject.detail
            ));
        } else if self.alerts.is_empty() {
            out.push_str("  why   no alert came out; see which events pass `where`, and their times\n");
        }
        out.push_str(&format!("        rerun: fleetwarden test {} --filter \"{}\"", test.file, test.name));
        out
    }
}

/// Plays the steps through one worker.
fn play(
    steps: &[Step],
    default_stream: &Arc<str>,
    rules: Arc<RuleSet>,
    schemas: &[Arc<Schema>],
) -> (Vec<Arc<Alert>>, Vec<Reject>) {
    let mut replay = Replay::new(rules, schemas, &Limits::default());
    let (mut alerts, mut rejects) = (Vec::new(), Vec::new());
    let mut offsets: BTreeMap<Arc<str>, i64> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Tick(at) => alerts.extend(replay.tick(START.plus(*at))),
            Step::Event { at, late, stream, json } => {
                let name: Arc<str> = stream.as_deref().map_or_else(|| default_stream.clone(), Arc::from);
                let mut json = json.clone();
                if let Some(schema) = schemas.iter().find(|schema| schema.name == name) {
                    write_time(schema, &mut json, START.plus(at - late));
                }
                let payload = serde_json::Value::Object(json).to_string();
                let offset = offsets.entry(name.clone()).or_default();
                let record = Record {
                    source: replay.source(&PartitionId { stream: name, index: 0 }),
                    offset: *offset,
                    broker_time: START.plus(*at),
                    payload: payload.as_bytes(),
                    broken: None,
                };
                *offset += 1;
                let (new, bad) = replay.push(&[record]);
                alerts.extend(new);
                rejects.extend(bad);
            }
        }
    }
    (alerts, rejects)
}

/// Writes the stream's time field in its unit, unless the event has it.
fn write_time(schema: &Schema, json: &mut serde_json::Map<String, Json>, time: Timestamp) {
    let Some(field) = schema.time.and_then(|time| schema.fields.get(time)) else { return };
    let FieldType::Time(unit) = field.kind else { return };
    let value: Json = match unit {
        TimeUnit::Seconds if time.0 % SECOND == 0 => (time.0 / SECOND).into(),
        TimeUnit::Seconds => (time.0 as f64 / SECOND as f64).into(),
        TimeUnit::Millis => time.millis().into(),
        TimeUnit::Micros => time.0.into(),
        TimeUnit::Nanos => time.0.saturating_mul(1000).into(),
        TimeUnit::Rfc3339 => time.rfc3339().into(),
    };
    let Some((last, above)) = field.path.split_last() else { return };
    let mut at = json;
    for name in above {
        let member = at.entry(name.clone()).or_insert_with(|| Json::Object(serde_json::Map::new()));
        let Json::Object(inner) = member else { return };
        at = inner;
    }
    at.entry(last.clone()).or_insert(value);
}

fn compare(expected: &Expected, alerts: &[Arc<Alert>]) -> Vec<(String, String, bool)> {
    match expected {
        Expected::Count(count) => {
            let mut rows =
                vec![(format!("{count} alerts"), format!("{} alerts", alerts.len()), *count == alerts.len())];
            if *count != alerts.len() {
                rows.extend(alerts.iter().map(|alert| (String::new(), show_alert(alert, &[]), false)));
            }
            rows
        }
        Expected::Alerts(expected) => (0..expected.len().max(alerts.len()))
            .map(|i| match (expected.get(i), alerts.get(i)) {
                (Some(want), Some(got)) => {
                    let names: Vec<&str> = want.keys().map(String::as_str).collect();
                    (
                        show_expected(want),
                        show_alert(got, &names),
                        want.iter().all(|(name, v)| fits(name, v, got)),
                    )
                }
                (Some(want), None) => (show_expected(want), "–".into(), false),
                (None, Some(got)) => ("–".into(), show_alert(got, &[]), false),
                (None, None) => (String::new(), String::new(), true),
            })
            .collect(),
    }
}

fn show_expected(want: &BTreeMap<String, toml::Value>) -> String {
    let parts: Vec<String> = want
        .iter()
        .map(|(name, value)| match value.as_str() {
            Some(text) if name == "at" => text.to_owned(),
            Some(text) => format!("{name} = {text}"),
            None => format!("{name} = {value}"),
        })
        .collect();
    parts.join("  ")
}

fn show_alert(alert: &Alert, names: &[&str]) -> String {
    let body = plain::body(alert);
    let mut parts = vec![show_offset(alert.time), format!("key = {}", body["key"])];
    for name in names.iter().filter(|name| !["at", "key"].contains(name)) {
        parts.push(format!("{name} = {}", lookup(&body, name).unwrap_or(&Json::Null)));
    }
    parts.join("  ")
}

/// `+1h5m`, `+25.5s`: after the start of the test.
fn show_offset(time: Timestamp) -> String {
    let mut rest = time.0 - START.0;
    if rest % SECOND != 0 || rest < 0 {
        return format!("{:+}s", rest as f64 / SECOND as f64);
    }
    let mut out = String::from("+");
    for (unit, name) in [(86_400 * SECOND, "d"), (3600 * SECOND, "h"), (60 * SECOND, "m"), (SECOND, "s")] {
        if rest >= unit || (name == "s" && out.len() == 1) {
            out.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    out
}

/// Whether one expected field fits.
fn fits(name: &str, want: &toml::Value, alert: &Alert) -> bool {
    match (name, want.as_str()) {
        ("at", Some(text)) => fits_time(text, alert.time.0 - START.0),
        ("entity", Some(text)) => alert.entities.iter().any(|entity| entity.value.json() == *text),
        _ => lookup(&plain::body(alert), name).is_some_and(|got| fits_json(want, got)),
    }
}

fn fits_time(text: &str, got: Micros) -> bool {
    let instant = |text: &str| offset(text.trim().strip_prefix('+').unwrap_or(text.trim()));
    match text.split_once("..") {
        Some((from, to)) => instant(from).zip(instant(to)).is_some_and(|(from, to)| from <= got && got <= to),
        None => instant(text) == Some(got),
    }
}

fn fits_json(want: &toml::Value, got: &Json) -> bool {
    match (want, got) {
        (toml::Value::String(text), Json::Number(number)) => {
            number.as_f64().is_some_and(|got| bound(text, got))
        }
        (toml::Value::String(text), Json::String(got)) => text == got,
        (toml::Value::Integer(want), Json::Number(got)) => {
            got.as_i64() == Some(*want) || got.as_f64() == Some(*want as f64)
        }
        (toml::Value::Float(want), Json::Number(got)) => got.as_f64() == Some(*want),
        (toml::Value::Boolean(want), Json::Bool(got)) => want == got,
        (toml::Value::Array(want), Json::Array(got)) => {
            want.len() == got.len() && want.iter().zip(got).all(|(want, got)| fits_json(want, got))
        }
        (toml::Value::Table(want), Json::Object(got)) => {
            want.iter().all(|(name, want)| got.get(name).is_some_and(|got| fits_json(want, got)))
        }
        _ => false,
    }
}

/// `>= 3`, `< 0.5`, `3`.
fn bound(text: &str, got: f64) -> bool {
    let text = text.trim();
    let split = text.find(|c: char| !"<>=".contains(c)).unwrap_or(text.len());
    let Ok(limit) = text[split..].trim().parse::<f64>() else { return false };
    match &text[..split] {
        ">=" => got >= limit,
        ">" => got > limit,
        "<=" => got <= limit,
        "<" => got < limit,
        "" | "=" => got == limit,
        _ => false,
    }
}

/// A member by its dotted path; an observed name may itself hold dots.
fn lookup<'a>(body: &'a Json, path: &str) -> Option<&'a Json> {
    if let Some(found) = body.get(path) {
        return Some(found);
    }
    let (head, tail) = path.split_once('.')?;
    lookup(body.get(head)?, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_bounds() {
        assert!(fits_time("+25s", 25 * SECOND) && !fits_time("+25s", 26 * SECOND));
        assert!(fits_time("+1h..+2h", 5400 * SECOND) && !fits_time("+1h..+2h", 7201 * SECOND));
        assert!(bound(">= 3", 3.0) && !bound("> 3", 3.0) && bound("<0.5", 0.4) && !bound("about 3", 3.0));
        assert_eq!(show_offset(START.plus(3_900 * SECOND)), "+1h5m");
        assert_eq!(show_offset(START), "+0s");
        assert_eq!(show_offset(START.plus(500_000)), "+0.5s");
    }
}
