//! `fleetwarden test`: runs the tests that stand in rule files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::explain::why;
use super::look::record;
use super::{Exit, Rules, number};
use crate::alert::Alert;
use crate::encode::plain;
use crate::event::time::SECOND;
use crate::event::{Limits, PartitionId, Reject, Timestamp};
use crate::files::Line;
use crate::rule::expectation::{Bound, Times};
use crate::rule::notation::{self, START, Step};
use crate::rule::{Expected, RuleSet, RuleTest};
use crate::runtime::replay::Replay;
use crate::schema::{FieldType, Schema, TimeUnit};

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

/// Runs them all; 1 if one fails or a rule does not compile, 2 if the filter fits none.
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
    let counts = format!("{}, {}", number(rules.rules.len(), "rule"), number(run, "test"));
    println!("{counts}: {} passed, {failed} failed ({seconds:.1} s)", run - failed);
    verdict(args.filter.as_deref(), run, failed)
}

/// How it ended: a filter that fits no test is a slip, rules without tests are a lack.
fn verdict(filter: Option<&str>, run: usize, failed: usize) -> Exit {
    match (filter, run) {
        (Some(text), 0) => {
            super::fail(&format!("--filter \"{text}\" fits no test and no rule that has tests"))
        }
        (None, 0) => {
            eprintln!(
                "warning: no test was run, for these rules have none: a rule's tests are its [[test]] tables"
            );
            Exit::Ok
        }
        _ if failed > 0 => Exit::Findings,
        _ => Exit::Ok,
    }
}

/// What came of one test.
pub struct Outcome {
    rejects: Vec<Reject>,
    /// Why no alert came out.
    why: Option<String>,
    /// Expected against got: what is shown, and whether it fits.
    rows: Vec<(String, String, bool)>,
}

impl Outcome {
    /// Runs one test against its own rule.
    pub fn of(test: &RuleTest, rules: &RuleSet, schemas: &[Arc<Schema>]) -> Outcome {
        let alone = rules.only(&test.rule, &test.lookups, schemas);
        let Some(rule) = alone.rules.first().cloned() else {
            let row = ("its rule".to_owned(), "not loaded".to_owned(), false);
            return Outcome { rejects: Vec::new(), rows: vec![row], why: None };
        };
        let steps = notation::parse(&test.events, &test.name).steps;
        let lines = lines(&steps, &rule.stream, schemas);
        let alone = Arc::new(alone);
        let (alerts, rejects) = play(&lines, alone.clone(), schemas);
        let rows = compare(&test.alerts, &alerts);
        let mut outcome = Outcome { rejects, rows, why: None };
        if alerts.is_empty() && !outcome.passed() {
            let until = lines.last().map_or(START, |(at, _)| *at);
            let lines: Vec<Line> = lines.into_iter().filter_map(|(_, line)| line).collect();
            outcome.why = why(&alone, schemas, &rule, expected_key(&test.alerts), &lines, until);
        }
        outcome
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
            let were = if self.rejects.len() == 1 { "was" } else { "were" };
            let (count, reason) = (number(self.rejects.len(), "event"), reject.reason.name());
            out.push_str(&format!(
                "  why   {count} {were} rejected; the first: {reason}, {}\n",
                reject.detail
            ));
        } else if let Some(why) = &self.why {
            out.push_str(&format!("  why   {why}\n"));
        }
        out.push_str(&format!("        rerun: fleetwarden test {} --filter \"{}\"", test.file, test.name));
        out
    }
}

/// What the steps are to a worker: when, and which record; none = time passes.
fn lines(
    steps: &[Step],
    default_stream: &Arc<str>,
    schemas: &[Arc<Schema>],
) -> Vec<(Timestamp, Option<Line>)> {
    let mut offsets: BTreeMap<Arc<str>, i64> = BTreeMap::new();
    let mut line = |step: &Step| {
        let at = START.plus(step.at());
        let Step::Event { late, stream, json, .. } = step else { return (at, None) };
        let stream: Arc<str> = stream.as_deref().map_or_else(|| default_stream.clone(), Arc::from);
        let schema = schemas.iter().find(|schema| schema.name == stream);
        let payload = schema.and_then(|schema| timed(schema, json, at.minus(*late))).unwrap_or(json.clone());
        let offset = offsets.entry(stream.clone()).or_default();
        let line = Line {
            partition: PartitionId { stream, index: 0 },
            offset: *offset,
            broker_time: at,
            stream_time: at,
            payload: payload.into_bytes(),
            reject: None,
        };
        *offset += 1;
        (at, Some(line))
    };
    steps.iter().map(&mut line).collect()
}

/// Plays the lines through one worker.
fn play(
    lines: &[(Timestamp, Option<Line>)],
    rules: Arc<RuleSet>,
    schemas: &[Arc<Schema>],
) -> (Vec<Arc<Alert>>, Vec<Reject>) {
    let mut replay = Replay::new(rules, schemas, &Limits::default());
    let (mut alerts, mut rejects) = (Vec::new(), Vec::new());
    for (at, line) in lines {
        match line {
            None => alerts.extend(replay.tick(*at)),
            Some(line) => {
                let record = record(line, replay.source(&line.partition));
                let (new, bad) = replay.push(&[record]);
                alerts.extend(new);
                rejects.extend(bad);
            }
        }
    }
    (alerts, rejects)
}

/// The key of the first alert that is expected, as it was written.
fn expected_key(expected: &Expected) -> Option<Vec<String>> {
    let Expected::Alerts(alerts) = expected else { return None };
    let parts = alerts.first()?.get("key")?.as_array()?;
    Some(parts.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).collect())
}

/// The event with the stream's time field in its unit; none if it has one, or cannot take it.
fn timed(schema: &Schema, json: &str, time: Timestamp) -> Option<String> {
    let field = schema.fields.get(schema.time?)?;
    let FieldType::Time(unit) = field.kind else { return None };
    let value: Json = match unit {
        TimeUnit::Seconds if time.0 % SECOND == 0 => (time.0 / SECOND).into(),
        TimeUnit::Seconds => (time.0 as f64 / SECOND as f64).into(),
        TimeUnit::Millis => time.millis().into(),
        TimeUnit::Micros => time.0.into(),
        TimeUnit::Nanos => time.0.saturating_mul(1000).into(),
        TimeUnit::Rfc3339 | TimeUnit::Text => time.rfc3339().into(),
    };
    with_member(json, &field.path, &value)
}

/// A JSON object with one more member, all else as it is written; none if the member is there already.
fn with_member(object: &str, path: &[String], value: &Json) -> Option<String> {
    let (name, below) = path.split_first()?;
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(object).ok()?;
    let Some(inner) = members.get(name) else {
        let nested = below.iter().rev().fold(value.clone(), |value, name| json!({ name: value }));
        let open = object.find('{')? + 1;
        let comma = if members.is_empty() { "" } else { "," };
        return Some(format!("{}{}:{nested}{comma}{}", &object[..open], json!(name), &object[open..]));
    };
    let changed = with_member(inner.get(), below, value)?;
    // A raw value is a part of the text that it was read from.
    let start = (inner.get().as_ptr() as usize).checked_sub(object.as_ptr() as usize)?;
    let (before, behind) = (object.get(..start)?, object.get(start + inner.get().len()..)?);
    Some(format!("{before}{changed}{behind}"))
}

fn compare(expected: &Expected, alerts: &[Arc<Alert>]) -> Vec<(String, String, bool)> {
    match expected {
        Expected::Count(count) => {
            let mut rows =
                vec![(number(*count, "alert"), number(alerts.len(), "alert"), *count == alerts.len())];
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
        let (name, value) = match *name {
            "entity" => ("entities", entities(alert)),
            name => (name, lookup(&body, name).cloned().unwrap_or(Json::Null)),
        };
        parts.push(format!("{name} = {value}"));
    }
    parts.join("  ")
}

/// The values of an alert's entities.
fn entities(alert: &Alert) -> Json {
    alert.entities.iter().map(|entity| entity.value.json()).collect()
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
    let body = plain::body(alert);
    match (name, want.as_str()) {
        ("at", Some(text)) => Times::parse(text).is_some_and(|times| times.hold(alert.time.0 - START.0)),
        ("entity", _) => match want.as_array() {
            Some(all) => all.iter().all(|want| is_among(want, alert)),
            None => is_among(want, alert),
        },
        ("time" | "broker_time" | "window.start" | "window.end", Some(text)) => {
            let got = lookup(&body, name).and_then(Json::as_str).and_then(Timestamp::parse_rfc3339);
            got.is_some() && got == Timestamp::parse_rfc3339(text)
        }
        _ => lookup(&body, name).is_some_and(|got| fits_json(want, got)),
    }
}

/// Whether some entity of the alert has that value.
fn is_among(want: &toml::Value, alert: &Alert) -> bool {
    alert.entities.iter().any(|entity| fits_json(want, &entity.value.json()))
}

fn fits_json(want: &toml::Value, got: &Json) -> bool {
    match (want, got) {
        (toml::Value::String(text), Json::Number(number)) => {
            number.as_f64().zip(Bound::parse(text)).is_some_and(|(got, bound)| bound.holds(got))
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

/// A member by its dotted path; an observed name may itself hold dots.
fn lookup<'a>(body: &'a Json, path: &str) -> Option<&'a Json> {
    if let Some(found) = body.get(path) {
        return Some(found);
    }
    let (head, tail) = path.split_once('.')?;
    lookup(body.get(head)?, tail)
}

#[cfg(test)]
mod tests;
