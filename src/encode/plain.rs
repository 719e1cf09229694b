//! Plain JSON: the body of an alert, deterministic to the byte, members in a fixed order, what was observed
//! in its own.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value as Json, json};

use super::Envelope;
use crate::alert::{Alert, Entity, RuleInfo};
use crate::event::{Timestamp, Value};

/// The body as it is written.
#[derive(serde::Serialize)]
struct Body<'a> {
    id: String,
    rule: Rule<'a>,
    severity: &'static str,
    risk: u8,
    time: String,
    broker_time: String,
    key: Vec<Json>,
    entities: Vec<Json>,
    window: Option<Window>,
    observed: Observed<'a>,
    count: u64,
    folds: u64,
    evidence: Vec<String>,
    event: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct Rule<'a> {
    id: &'a str,
    title: &'a str,
    version: &'a str,
    kind: &'a str,
    stream: &'a str,
    severity: &'static str,
    risk: u8,
    r155: &'a [String],
    atm: &'a [String],
    attack: &'a [String],
    triage: &'a str,
    blind_spots: &'a str,
}

#[derive(serde::Serialize)]
struct Window {
    start: String,
    end: String,
}

/// Names and values in the order of the rule's text.
struct Observed<'a>(&'a [(Arc<str>, Value)]);

impl Serialize for Observed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(&**name, &value.json())?;
        }
        map.end()
    }
}

impl<'a> Body<'a> {
    fn of(alert: &'a Alert, raw: bool) -> Body<'a> {
        Body {
            id: alert.id_hex(),
            rule: Rule::of(&alert.rule),
            severity: alert.severity.name(),
            risk: alert.risk,
            time: alert.time.rfc3339(),
            broker_time: alert.broker_time.rfc3339(),
            key: alert.key.iter().map(Value::json).collect(),
            entities: alert.entities.iter().map(entity).collect(),
            window: alert.window.map(Window::of),
            observed: Observed(&alert.observed),
            count: alert.count,
            folds: alert.folds,
            evidence: alert.evidence.iter().map(ToString::to_string).collect(),
            event: alert.event.as_deref().filter(|_| raw),
        }
    }
}

impl<'a> Rule<'a> {
    fn of(rule: &'a RuleInfo) -> Rule<'a> {
        Rule {
            id: &rule.id,
            title: &rule.title,
            version: &rule.version,
            kind: rule.kind,
            stream: &rule.stream,
            severity: rule.severity.name(),
            risk: rule.risk,
            r155: &rule.r155,
            atm: &rule.atm,
            attack: &rule.attack,
            triage: &rule.triage,
            blind_spots: &rule.blind_spots,
        }
    }
}

impl Window {
    fn of((start, end): (Timestamp, Timestamp)) -> Window {
        Window { start: start.rfc3339(), end: end.rfc3339() }
    }
}

fn entity(entity: &Entity) -> Json {
    json!({"type": entity.kind.name(), "value": entity.value.json()})
}

/// The body as a JSON value, to look things up in.
pub fn body(alert: &Alert) -> Json {
    serde_json::to_value(Body::of(alert, true)).unwrap_or(Json::Null)
}

/// One line of NDJSON, without the line feed.
pub fn line(alert: &Alert) -> String {
    write(&Body::of(alert, true))
}

/// The same for a destination that may not be told the text of the event.
pub fn line_for(alert: &Alert, envelope: &Envelope) -> String {
    write(&Body::of(alert, envelope.raw))
}

/// Nothing in a body can fail to be written: names are texts, numbers are finite.
fn write(body: &Body<'_>) -> String {
    serde_json::to_string(body).unwrap_or_default()
}
