//! The recording that the demo plays, its times moved to now, and the truth about the attacks in it.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::event::{Limits, Timestamp};
use crate::files::{Framing, Input, Line, Origin, read_all};
use crate::kafka::Error;
use crate::schema::{FieldType, Schema, TimeUnit};

const STREAMS: [(&str, &str); 3] = [
    ("cloudtrail", include_str!("../../../testdata/demo/cloudtrail.ndjson")),
    ("diagnostics", include_str!("../../../testdata/demo/diagnostics.ndjson")),
    ("telemetry", include_str!("../../../testdata/demo/telemetry.ndjson")),
];

const TRUTH: &str = include_str!("../../../testdata/demo/truth.jsonl");

/// One attack of the recording.
#[derive(Clone, Debug)]
pub struct Attack {
    /// The rules that may tell of it, the one that must first, each with the key of its alerts.
    pub told_by: Vec<(String, Vec<Json>)>,
    /// When it begins, by the recording's clock.
    pub start: Timestamp,
    /// One line for people.
    pub story: String,
}

/// A line of the truth.
#[derive(Deserialize)]
struct Truth {
    rule: String,
    key: Vec<Json>,
    /// Other rules that see the same attack.
    #[serde(default)]
    also: Vec<(String, Vec<Json>)>,
    start_ms: i64,
    story: String,
}

/// The recording.
pub struct Sample {
    lines: Vec<Line>,
    schemas: Vec<Arc<Schema>>,
    /// The attacks in it.
    pub attacks: Vec<Attack>,
}

/// One record as it is played.
pub struct Played {
    /// Its stream.
    pub stream: Arc<str>,
    /// Its partition key.
    pub key: String,
    /// Its text.
    pub payload: String,
    /// When it is sent, and its timestamp.
    pub at: Timestamp,
}

/// Recording time → now.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The first record of the recording.
    pub first: Timestamp,
    /// When that is played.
    pub start: Timestamp,
    /// How much faster than it was recorded.
    pub pace: f64,
}

impl Clock {
    /// When an instant of the recording is played.
    pub fn at(&self, recorded: Timestamp) -> Timestamp {
        let since = (recorded.0 - self.first.0) as f64 / self.pace;
        Timestamp(self.start.0 + since as i64)
    }
}

impl Sample {
    /// Reads what the binary carries.
    pub fn load(schemas: &[Arc<Schema>]) -> Result<Sample, Error> {
        let inputs: Vec<Input> = STREAMS
            .iter()
            .map(|(stream, text)| Input {
                stream: Arc::from(*stream),
                origin: Origin::Bytes(format!("{stream}.ndjson"), Arc::from(text.as_bytes())),
            })
            .collect();
        let broken = |error: &dyn std::fmt::Display| Error::new(format!("the demo's recording: {error}"));
        let lines = read_all(&inputs, schemas, &Limits::default(), Framing::Lines).map_err(|e| broken(&e))?;
        let attacks = TRUTH
            .lines()
            .map(|line| {
                serde_json::from_str(line).map(|truth: Truth| Attack {
                    told_by: [vec![(truth.rule, truth.key)], truth.also].concat(),
                    start: Timestamp::from_millis(truth.start_ms),
                    story: truth.story,
                })
            })
            .collect::<Result<_, _>>()
            .map_err(|error| broken(&error))?;
        Ok(Sample { lines, schemas: schemas.to_vec(), attacks })
    }

    /// The streams it has.
    pub fn streams(&self) -> Vec<Arc<str>> {
        STREAMS.iter().map(|(stream, _)| Arc::from(*stream)).collect()
    }

    /// The topic of a stream.
    pub fn topic(&self, stream: &str) -> Option<&str> {
        self.schemas.iter().find(|schema| &*schema.name == stream).map(|schema| schema.topic.as_str())
    }

    /// Its first instant, and how long it lasts.
    pub fn span(&self) -> (Timestamp, Duration) {
        let times = || self.lines.iter().map(|line| line.broker_time);
        let first = times().min().unwrap_or_default();
        let last = times().max().unwrap_or_default();
        (first, Duration::from_micros(u64::try_from(last.0 - first.0).unwrap_or(0)))
    }

    /// How many vehicles speak in it.
    pub fn vehicles(&self) -> usize {
        let vins = self.lines.iter().filter_map(|line| {
            let event: Json = serde_json::from_slice(&line.payload).ok()?;
            event.get("vin")?.as_str().map(str::to_owned)
        });
        vins.collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Its records in order, their times moved; what came late comes late by as much.
    pub fn records(&self, clock: &Clock) -> Vec<Played> {
        let played = self.lines.iter().filter_map(|line| {
            let schema = self.schemas.iter().find(|schema| schema.name == line.partition.stream)?;
            let mut event: Json = serde_json::from_slice(&line.payload).ok()?;
            let at = clock.at(line.broker_time);
            move_times(schema, &mut event, at.0 - line.broker_time.0);
            let key = event.get("vin").and_then(Json::as_str).unwrap_or_default().to_owned();
            Some(Played { stream: schema.name.clone(), key, payload: event.to_string(), at })
        });
        played.collect()
    }
}

/// Moves the time of every event of a record.
fn move_times(schema: &Schema, record: &mut Json, by: i64) {
    let mut at = &mut *record;
    for name in &schema.records {
        match at.get_mut(name) {
            Some(inner) => at = inner,
            None => return,
        }
    }
    match at {
        Json::Array(events) => events.iter_mut().for_each(|event| move_time(schema, event, by)),
        event => move_time(schema, event, by),
    }
}

fn move_time(schema: &Schema, event: &mut Json, by: i64) {
    let Some(field) = schema.time.and_then(|time| schema.fields.get(time)) else { return };
    let FieldType::Time(unit) = field.kind else { return };
    let mut at = event;
    for name in &field.path {
        match at.get_mut(name) {
            Some(inner) => at = inner,
            None => return,
        }
    }
    let moved: Json = match (unit, &*at) {
        (TimeUnit::Rfc3339, Json::String(text)) => match Timestamp::parse_rfc3339(text) {
            Some(time) => time.plus(by).rfc3339().into(),
            None => return,
        },
        (TimeUnit::Millis, Json::Number(number)) => match number.as_i64() {
            Some(ms) => (ms + by / 1000).into(),
            None => return,
        },
        _ => return,
    };
    *at = moved;
}
