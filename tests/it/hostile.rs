//! The engine under attack. The attacker is the car: it writes the times, the keys, the values, and the order
//! in which they come. Laws that hold for honest streams must hold for these.

mod clocks;
mod expressions;
mod independence;
mod limits;
mod order;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetwarden::alert::Alert;
use fleetwarden::diagnostic::{Gravity, Source};
use fleetwarden::encode::plain;
use fleetwarden::event::{Limits, PartitionId, Record, Reject, Timestamp};
use fleetwarden::rule::{RuleFile, RuleSet};
use fleetwarden::runtime::replay::Replay;
use fleetwarden::runtime::worker::Totals;
use fleetwarden::schema::{self, Schema};
use serde_json::Value as Json;

/// The broker's clock when everything begins: long after 1970, on a whole minute.
const START: i64 = 1_800_000_000_000_000;

/// One second in microseconds.
const SECOND: i64 = 1_000_000;

/// One record before it is handed in; offsets are given by [`Engine::run`].
#[derive(Clone, Debug)]
struct Event {
    stream: &'static str,
    partition: i32,
    broker: i64,
    payload: Vec<u8>,
}

fn event(broker: i64, payload: impl Into<Vec<u8>>) -> Event {
    Event { stream: "t", partition: 0, broker, payload: payload.into() }
}

/// Rules over streams, with limits.
struct Engine {
    rules: Arc<RuleSet>,
    schemas: Vec<Arc<Schema>>,
    limits: Limits,
}

/// What came of a run.
struct Run {
    alerts: Vec<Arc<Alert>>,
    rejects: Vec<Reject>,
    totals: Totals,
    replay: Replay,
}

impl Engine {
    fn new(schemas: &[Source], rules: &[(&str, String)], limits: Limits) -> Engine {
        let (schemas, problems) = schema::load(schemas);
        assert!(problems.is_empty(), "{problems:#?}");
        let file = |(name, text): &(&str, String)| RuleFile {
            source: Source { path: format!("{name}.toml"), text: text.clone() },
        };
        let files: Vec<RuleFile> = rules.iter().map(file).collect();
        let tables = fleetwarden::rule::lookup::read(&path("testdata/lookups")).unwrap().lookups;
        let loaded = fleetwarden::rule::load_with(&files, &schemas, &tables);
        let errors: Vec<_> = loaded.problems.iter().filter(|p| p.gravity == Gravity::Error).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        Engine { rules: Arc::new(loaded.rules), schemas, limits }
    }

    /// All events at one batch size, with the state saved and loaded again after each batch or not.
    fn run(&self, events: &[Event], batch: usize, save: bool) -> Run {
        let mut replay = Replay::new(self.rules.clone(), &self.schemas, &self.limits);
        let (mut alerts, mut rejects) = (Vec::new(), Vec::new());
        let mut offsets: BTreeMap<u16, i64> = BTreeMap::new();
        for events in events.chunks(batch) {
            let mut records = Vec::new();
            for event in events {
                let id = PartitionId { stream: Arc::from(event.stream), index: event.partition };
                let source = replay.source(&id);
                let offset = offsets.entry(source).or_default();
                let broker_time = Timestamp(event.broker);
                let payload = event.payload.as_slice();
                records.push(Record { source, offset: *offset, broker_time, payload, broken: None });
                *offset += 1;
            }
            let (said, rejected) = replay.push(&records);
            alerts.extend(said);
            rejects.extend(rejected);
            if save {
                replay.save_and_load();
            }
        }
        let totals = replay.totals();
        Run { alerts, rejects, totals, replay }
    }
}

impl Run {
    fn bodies(&self) -> Vec<String> {
        self.alerts.iter().map(|alert| plain::line(alert)).collect()
    }

    /// How often a rule alerted.
    fn count(&self, rule: &str) -> usize {
        self.alerts.iter().filter(|alert| alert.rule.id == rule).count()
    }
}

/// A body without what changes with the place of its events among others: id and evidence.
fn placeless(alert: &Alert) -> Json {
    let mut body: Json = serde_json::from_str(&plain::line(alert)).unwrap();
    let members = body.as_object_mut().unwrap();
    members.remove("id");
    members.remove("evidence");
    body
}

/// A rule over the stream `t`, keyed by `k`.
fn threshold(window: &str, having: &str) -> String {
    over("t", &format!("[threshold]\nkey = [\"k\"]\nwindow = \"{window}\"\nhaving = \"{having}\"\n"))
}

/// A rule over a stream with this table.
fn over(stream: &str, table: &str) -> String {
    format!(
        "title = \"x\"\nseverity = \"low\"\nrisk = 10\nstream = \"{stream}\"\nblind_spots = \"x\"\n\
         triage = \"x\"\n{table}"
    )
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn source(name: &str) -> Source {
    Source { path: name.into(), text: std::fs::read_to_string(path(name)).unwrap() }
}

/// The stream `t` of the scenarios.
fn scenarios() -> Vec<Source> {
    vec![source("testdata/schemas/t.toml")]
}
