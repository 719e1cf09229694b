//! Each folder `testdata/<kind>/<case>/` is a scenario: `rule.toml`, `events.ndjson` (in envelopes) and
//! `alerts.ndjson` (what must come out, in order; fields that are not named are free).
//!
//! Each runs at batch sizes 1, 7 and 8192, with its state saved and loaded after every first and third batch,
//! and among neighbours: unrelated keys, and keys whose clocks lie. The alerts must be the same each time, to
//! the byte where the input is the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetwarden::diagnostic::Source;
use fleetwarden::encode::plain;
use fleetwarden::event::{Limits, PartitionId, Record, Timestamp};
use fleetwarden::rule::{RuleFile, RuleSet};
use fleetwarden::runtime::replay::Replay;
use fleetwarden::schema::Schema;
use serde_json::Value as Json;

/// One line of `events.ndjson`.
#[derive(Clone, Debug)]
struct Event {
    time: i64,
    partition: i32,
    offset: i64,
    payload: String,
}

struct Scenario {
    rules: Arc<RuleSet>,
    schemas: Vec<Arc<Schema>>,
    events: Vec<Event>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn source(path: &Path) -> Source {
    Source { path: path.display().to_string(), text: fs::read_to_string(path).unwrap() }
}

fn load(case: &Path) -> Scenario {
    let (schemas, problems) = fleetwarden::schema::load(&[source(&root().join("schemas/t.toml"))]);
    assert!(problems.is_empty(), "{problems:?}");
    let file = RuleFile { source: source(&case.join("rule.toml")) };
    let folder = case.join("lookups");
    let tables = match folder.is_dir() {
        true => fleetwarden::rule::lookup::read(&folder).unwrap(),
        false => Default::default(),
    };
    assert!(tables.problems.is_empty(), "{:?}", tables.problems);
    let loaded = fleetwarden::rule::load_with(&[file], &schemas, &tables.lookups);
    let errors: Vec<_> =
        loaded.problems.iter().filter(|p| p.gravity == fleetwarden::diagnostic::Gravity::Error).collect();
    assert!(errors.is_empty(), "{}: {errors:#?}", case.display());
    let events = fs::read_to_string(case.join("events.ndjson")).unwrap();
    let events = events.lines().map(event).collect();
    Scenario { rules: Arc::new(loaded.rules), schemas, events }
}

fn event(line: &str) -> Event {
    let line: BTreeMap<&str, &serde_json::value::RawValue> = serde_json::from_str(line).unwrap();
    let number = |name: &str| line[name].get().parse::<i64>().unwrap();
    Event {
        time: number("_t"),
        partition: number("_p") as i32,
        offset: number("_o"),
        payload: line["v"].get().to_owned(),
    }
}

impl Scenario {
    /// The plain bodies that come out, in order.
    fn run(&self, events: &[Event], batch: usize, save_every: Option<usize>) -> Vec<String> {
        let mut replay = Replay::new(self.rules.clone(), &self.schemas, &Limits::default());
        let mut out = Vec::new();
        for (nth, events) in events.chunks(batch).enumerate() {
            let records: Vec<Record<'_>> = events
                .iter()
                .map(|event| Record {
                    source: replay.source(&PartitionId { stream: Arc::from("t"), index: event.partition }),
                    offset: event.offset,
                    broker_time: Timestamp::from_millis(event.time),
                    payload: event.payload.as_bytes(),
                    broken: None,
                })
                .collect();
            out.extend(replay.push(&records).0.iter().map(|alert| plain::line(alert)));
            if save_every.is_some_and(|every| (nth + 1) % every == 0) {
                replay.save_and_load();
            }
        }
        out
    }

    /// The scenario among neighbours of its partitions: other keys, some of them with clocks that lie.
    fn with_neighbours(&self, lie: i64) -> Vec<Event> {
        let mut out = Vec::new();
        for (nth, event) in self.events.iter().enumerate() {
            let neighbour = Event {
                payload: format!(
                    r#"{{"ts":{},"k":"neighbour-{}","x":1.0,"n":1.0,"ok":true,"acct":"nobody-{nth}"}}"#,
                    event.time * 1000 + lie,
                    nth % 3
                ),
                ..event.clone()
            };
            out.extend([neighbour, event.clone()]);
        }
        for (offset, event) in (0..).zip(&mut out) {
            event.offset = offset;
        }
        out
    }
}

/// A body without what changes with the place of its events: id, evidence.
fn placeless(body: &str) -> Option<Json> {
    let mut body: Json = serde_json::from_str(body).unwrap();
    if body["key"].to_string().contains("neighbour-") {
        return None;
    }
    let members = body.as_object_mut().unwrap();
    members.remove("id");
    members.remove("evidence");
    Some(body)
}

/// Whether `actual` has all that `expected` names.
fn fits(expected: &Json, actual: &Json) -> bool {
    match (expected, actual) {
        (Json::Object(expected), Json::Object(actual)) => {
            expected.iter().all(|(name, value)| actual.get(name).is_some_and(|other| fits(value, other)))
        }
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        _ => expected == actual,
    }
}

fn check(case: &Path) {
    let name = case.display();
    let scenario = load(case);
    let bodies = scenario.run(&scenario.events, 1, None);
    let expected = fs::read_to_string(case.join("alerts.ndjson")).unwrap();
    let expected: Vec<Json> = expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actual: Vec<Json> = bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    let same = expected.len() == actual.len() && expected.iter().zip(&actual).all(|(e, a)| fits(e, a));
    assert!(same, "{name}\nexpected {expected:#?}\ngot {actual:#?}");
    for (batch, save_every) in
        [(7, None), (8192, None), (1, Some(1)), (1, Some(3)), (7, Some(1)), (7, Some(3)), (8192, Some(1))]
    {
        let again = scenario.run(&scenario.events, batch, save_every);
        assert_eq!(bodies, again, "{name}: batch {batch}, saved and loaded every {save_every:?}");
    }
    // Alerts a second are counted per rule: there a neighbour must show.
    if case.ends_with("law-29-a-hundred-alerts-a-second-alone") {
        return;
    }
    let alone: Vec<Json> = bodies.iter().filter_map(|body| placeless(body)).collect();
    for lie in [0, 299_000_000, 301_000_000, -619_315_200_000_000, i64::MIN / 2, -3_600_000_000] {
        for batch in [1, 7, 8192] {
            let among = scenario.run(&scenario.with_neighbours(lie), batch, None);
            let among: Vec<Json> = among.iter().filter_map(|body| placeless(body)).collect();
            assert_eq!(alone, among, "{name}: neighbours whose clocks lie by {lie} us, batch {batch}");
        }
    }
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> =
        fs::read_dir(root().join(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

#[test]
fn threshold_scenarios() {
    let cases = cases("threshold");
    assert!(cases.len() >= 30, "only {} scenarios", cases.len());
    cases.iter().for_each(|case| check(case));
}

#[test]
fn baseline_scenarios() {
    let cases = cases("baseline");
    assert!(cases.len() >= 15, "only {} scenarios", cases.len());
    cases.iter().for_each(|case| check(case));
}

#[test]
fn match_scenarios() {
    let cases = cases("match");
    assert!(!cases.is_empty());
    cases.iter().for_each(|case| check(case));
}
