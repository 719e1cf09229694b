//! Splunk's HTTP Event Collector: an alert as one event object.
//!
//! Its keys are those that the collector knows and no others: behind an object with any other key it loses
//! events without a word. `event` is the plain body; `fields` are flat, in the words of the Common
//! Information Model (Alerts) and of risk-based alerting, so that searches over alerts of all makes find
//! them. What an alert does not have is left out.
//!
//! Several entities are several values of one field; values and types of risk and threat objects stand in the
//! same order.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use super::Envelope;
use super::ecs::{keyword, message, texts};
use super::plain;
use crate::alert::{Alert, EntityType, Severity};
use crate::event::Timestamp;

/// What every event of a sink says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The index it goes to; none = the one that the token names.
    pub index: Option<&'a str>,
    /// Its source.
    pub source: &'a str,
    /// Its source type.
    pub sourcetype: &'a str,
    /// Its host.
    pub host: &'a str,
}

/// The event object, key by key.
#[derive(Serialize)]
struct Event<'a> {
    time: Option<Box<RawValue>>,
    host: &'a str,
    source: &'a str,
    sourcetype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    event: Option<Box<RawValue>>,
    fields: Map<String, Json>,
}

/// The event object of an alert, in one line without the line feed: same alert, same bytes.
pub fn line(alert: &Alert, envelope: &Envelope, origin: &Origin<'_>) -> String {
    let event = Event {
        time: RawValue::from_string(seconds(alert.time)).ok(),
        host: origin.host,
        source: origin.source,
        sourcetype: origin.sourcetype,
        index: origin.index,
        event: RawValue::from_string(plain::line_for(alert, envelope)).ok(),
        fields: fields(alert),
    };
    // Nothing in it can fail to be written: names are texts, numbers are finite.
    serde_json::to_string(&event).unwrap_or_default()
}

/// Seconds with all six decimals that are kept. The collector knows no time before 1970.
fn seconds(time: Timestamp) -> String {
    let micros = time.0.max(0);
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "informational",
        other => other.name(),
    }
}

fn fields(alert: &Alert) -> Map<String, Json> {
    let rule = &alert.rule;
    let id = alert.id_hex();
    let told = message(alert);
    let mut fields = Fields(Map::new());
    fields.one("app", "fleetwarden");
    fields.one("type", "alert");
    fields.one("id", &id);
    // The body has an `id` too, and searches would have to tell them apart.
    fields.one("alert_id", &id);
    fields.one("signature", &rule.title);
    fields.one("signature_id", &rule.id);
    fields.one("description", &format!("{} ({} over {})", rule.title, rule.kind, rule.stream));
    fields.one("severity", severity(alert.severity));
    fields.many("mitre_technique_id", &rule.attack);
    fields.many("annotations.mitre_attack", &rule.attack);
    let of = |wanted: &dyn Fn(EntityType) -> bool| -> (Vec<String>, Vec<EntityType>) {
        entities(alert).into_iter().filter(|(_, kind)| wanted(*kind)).unzip()
    };
    fields.many("dest", &of(&|kind| kind == EntityType::Vehicle).0);
    fields.many("src", &of(&|kind| kind == EntityType::Ip).0);
    fields.many("user", &of(&|kind| kind == EntityType::User).0);
    // Addresses and certificates are what somebody came with. They bear the risk where nobody else does.
    let came_with = |kind| matches!(kind, EntityType::Ip | EntityType::Certificate);
    let (threats, mut bearers) = (of(&came_with), of(&|kind| !came_with(kind)));
    if bearers.0.is_empty() {
        bearers = threats.clone();
    }
    fields.many("risk_object", &bearers.0);
    fields.many("risk_object_type", &bearers.1.iter().map(|kind| bearer(*kind)).collect::<Vec<_>>());
    fields.many("threat_object", &threats.0);
    fields.many("threat_object_type", &threats.1.iter().map(|kind| kind.name()).collect::<Vec<_>>());
    fields.0.insert("risk_score".into(), alert.risk.into());
    fields.one("risk_message", &told);
    fields.0
}

/// What risk-based alerting calls it.
fn bearer(kind: EntityType) -> &'static str {
    match kind {
        EntityType::Vehicle => "system",
        EntityType::User => "user",
        EntityType::Ip | EntityType::Certificate | EntityType::Service => "other",
    }
}

/// Each entity once, with its type.
fn entities(alert: &Alert) -> Vec<(String, EntityType)> {
    let mut found = Vec::new();
    for entity in &alert.entities {
        for text in texts(&entity.value) {
            let one = (text, entity.kind);
            if !one.0.is_empty() && !found.contains(&one) {
                found.push(one);
            }
        }
    }
    found
}

/// Fields under construction: scalars, and lists of scalars. What says nothing is left out.
struct Fields(Map<String, Json>);

impl Fields {
    fn one(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.0.insert(name.to_string(), keyword(text));
        }
    }

    fn many<S: AsRef<str>>(&mut self, name: &str, texts: &[S]) {
        match texts {
            [] => {}
            [text] => self.one(name, text.as_ref()),
            texts => {
                let list = texts.iter().map(|text| keyword(text.as_ref())).collect();
                self.0.insert(name.to_string(), list);
            }
        }
    }
}

#[cfg(test)]
mod tests;
