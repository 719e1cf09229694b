//! Elastic Common Schema 9.4: the document of an alert for Elasticsearch and OpenSearch.
//!
//! What the schema has a field for stands there; all else stands under `fleetwarden`. Observations are a list
//! of `{name, value, number}` and never members of their own name, since one rule's int is another rule's
//! text and the first of them would fix the type for both. `value` is always text, `number` is there where it
//! is one.
//!
//! Not here: where documents go, and the types that an index gives them (`sink/template`).

use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};

use super::Envelope;
use crate::alert::{Alert, EntityType, Severity};
use crate::event::Value;

/// The schema's version, as documents say it.
pub const VERSION: &str = "9.4.0";

/// Longer keywords are kept but cannot be searched: they are cut. Counted as the servers count, in UTF-16
/// units.
const KEYWORD: usize = 1024;

/// Longest value within `message`, in characters.
const WORD: usize = 80;

/// Observations within `message`.
const TOLD: usize = 3;

/// The document of an alert, in one line without the line feed. Members are sorted: same alert, same bytes.
pub fn line(alert: &Alert, envelope: &Envelope) -> String {
    document(alert, envelope).to_string()
}

/// The document of an alert.
pub fn document(alert: &Alert, envelope: &Envelope) -> Json {
    let mut document = Document(Map::new());
    document.set("@timestamp", alert.time.rfc3339());
    document.set("ecs.version", VERSION);
    document.set("message", keyword(&message(alert)));
    event(&mut document, alert, envelope);
    rule(&mut document, alert);
    document.set("observer.vendor", "Fleetwarden");
    document.set("observer.product", "Fleetwarden");
    document.set("observer.type", "ids");
    document.set("observer.version", env!("CARGO_PKG_VERSION"));
    entities(&mut document, alert);
    ours(&mut document, alert, envelope);
    Json::Object(document.0)
}

/// `event.severity` on the scale that Elastic's own rules use.
pub fn severity_number(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    }
}

fn event(document: &mut Document, alert: &Alert, envelope: &Envelope) {
    document.set("event.kind", "alert");
    document.set("event.category", json!(["intrusion_detection"]));
    document.set("event.type", json!(["info"]));
    document.set("event.id", alert.id_hex());
    document.set("event.code", keyword(&alert.rule.id));
    document.set("event.created", envelope.detected.rfc3339());
    if let Some((start, end)) = alert.window {
        document.set("event.start", start.rfc3339());
        document.set("event.end", end.rfc3339());
    }
    document.set("event.severity", severity_number(alert.severity));
    document.set("event.risk_score", alert.risk);
    document.set("event.risk_score_norm", alert.risk);
    document.set("event.module", "fleetwarden");
    document.set("event.dataset", "fleetwarden.alert");
    document.set("event.provider", "fleetwarden");
    document.set("event.reason", keyword(&told(alert)));
}

fn rule(document: &mut Document, alert: &Alert) {
    let rule = &alert.rule;
    document.set("rule.id", keyword(&rule.id));
    document.set("rule.name", keyword(&rule.title));
    document
        .set("rule.description", keyword(&format!("{} ({} over {})", rule.title, rule.kind, rule.stream)));
    document.set("rule.category", rule.kind);
    document.set("rule.version", keyword(&rule.version));
    document.set("rule.ruleset", keyword(&rule.stream));
    if !rule.attack.is_empty() {
        document.set("threat.framework", "MITRE ATT&CK");
    }
    let (mut techniques, mut below) = (Vec::new(), Vec::new());
    for id in &rule.attack {
        let technique = parent(id);
        if !techniques.iter().any(|known| known == technique) {
            techniques.push(technique.to_string());
        }
        if technique.len() < id.len() {
            below.push(id.clone());
        }
    }
    document.set("threat.technique.id", keywords(&techniques));
    document.set("threat.technique.subtechnique.id", keywords(&below));
    let vectors = rule.r155.iter().map(|vector| format!("R155-{vector}"));
    let tags: Vec<String> = ["fleetwarden".to_string()].into_iter().chain(vectors).collect();
    document.set("tags", keywords(&[tags, rule.atm.clone()].concat()));
}

/// The technique of a sub-technique such as `T1562.008`; any other id as it is.
fn parent(id: &str) -> &str {
    match id.split_once('.') {
        Some((technique, _)) if technique.starts_with('T') => technique,
        _ => id,
    }
}

/// Entities where the schema has a field for their type: all of them under `related`, and one alone as
/// itself.
fn entities(document: &mut Document, alert: &Alert) {
    let of = |kind: EntityType| -> Vec<String> {
        let mut found = Vec::new();
        for entity in alert.entities.iter().filter(|entity| entity.kind == kind) {
            for text in texts(&entity.value) {
                if !found.contains(&text) {
                    found.push(text);
                }
            }
        }
        found
    };
    let (vehicles, users) = (of(EntityType::Vehicle), of(EntityType::User));
    // A text that is no address would have the whole document refused.
    let addresses: Vec<String> =
        of(EntityType::Ip).into_iter().filter(|text| text.parse::<IpAddr>().is_ok()).collect();
    document.set("related.hosts", keywords(&vehicles));
    document.set("related.user", keywords(&users));
    document.set("related.ip", addresses.clone());
    for (field, found) in [
        ("device.id", &vehicles),
        ("user.name", &users),
        ("source.ip", &addresses),
        ("service.name", &of(EntityType::Service)),
    ] {
        if let [one] = found.as_slice() {
            document.set(field, keyword(one));
        }
    }
}

/// What the schema has no field for.
fn ours(document: &mut Document, alert: &Alert, envelope: &Envelope) {
    let rule = &alert.rule;
    document.set("fleetwarden.id", alert.id_hex());
    document.set("fleetwarden.severity", alert.severity.name());
    document.set("fleetwarden.risk", alert.risk);
    document.set("fleetwarden.time", alert.time.rfc3339());
    document.set("fleetwarden.broker_time", alert.broker_time.rfc3339());
    document.set("fleetwarden.detected", envelope.detected.rfc3339());
    document.set("fleetwarden.rule.kind", rule.kind);
    document.set("fleetwarden.rule.stream", keyword(&rule.stream));
    document.set("fleetwarden.rule.severity", rule.severity.name());
    document.set("fleetwarden.rule.risk", rule.risk);
    document.set("fleetwarden.rule.r155", keywords(&rule.r155));
    document.set("fleetwarden.rule.atm", keywords(&rule.atm));
    document.set("fleetwarden.rule.attack", keywords(&rule.attack));
    document.set("fleetwarden.rule.triage", rule.triage.as_str());
    document.set("fleetwarden.rule.blind_spots", rule.blind_spots.as_str());
    let names = rule.key.iter().map(String::as_str).chain(std::iter::repeat(""));
    let key = alert.key.iter().zip(names).map(|(value, name)| named(name, value));
    document.set("fleetwarden.key", key.collect::<Vec<_>>());
    let entities = alert.entities.iter().flat_map(|entity| {
        texts(&entity.value)
            .into_iter()
            .map(|text| json!({"type": entity.kind.name(), "value": keyword(&text)}))
    });
    document.set("fleetwarden.entities", entities.collect::<Vec<_>>());
    if let Some((start, end)) = alert.window {
        document.set("fleetwarden.window.start", start.rfc3339());
        document.set("fleetwarden.window.end", end.rfc3339());
    }
    let observed = alert.observed.iter().map(|(name, value)| named(name, value));
    document.set("fleetwarden.observed", observed.collect::<Vec<_>>());
    document.set("fleetwarden.count", alert.count);
    document.set("fleetwarden.folds", alert.folds);
    let evidence: Vec<String> = alert.evidence.iter().map(ToString::to_string).collect();
    document.set("fleetwarden.evidence", keywords(&evidence));
    document.set("fleetwarden.engine.version", env!("CARGO_PKG_VERSION"));
    if envelope.raw {
        document.set("fleetwarden.event", alert.event.as_deref());
    }
}

/// A value with its name, in a form whose types never depend on the rule. NULL has no `value`.
fn named(name: &str, value: &Value) -> Json {
    let mut member = Document(Map::new());
    member.set("name", keyword(name));
    let mut texts = keywords(&texts(value));
    if let (false, Some([_])) = (matches!(value, Value::List(_)), texts.as_array().map(Vec::as_slice)) {
        texts = texts.get_mut(0).map(Json::take).unwrap_or_default();
    }
    member.set("value", texts);
    if matches!(value, Value::Int(_) | Value::Float(_)) {
        member.set("number", value.json());
    }
    Json::Object(member.0)
}

/// One sentence for people: the rule, whose alert it is, what was seen.
pub(super) fn message(alert: &Alert) -> String {
    let names = alert.rule.key.iter().map(String::as_str).chain(std::iter::repeat("key"));
    let key: Vec<String> =
        alert.key.iter().zip(names).map(|(value, name)| format!("{name} {}", word(value))).collect();
    let parts = [key.join(", "), told(alert)];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        alert.rule.title.clone()
    } else {
        format!("{}: {}", alert.rule.title, parts.join("; "))
    }
}

/// The first observations in words.
fn told(alert: &Alert) -> String {
    let told: Vec<String> =
        alert.observed.iter().take(TOLD).map(|(name, value)| format!("{name} = {}", word(value))).collect();
    told.join(", ")
}

/// A value in a few words.
fn word(value: &Value) -> String {
    let texts = texts(value);
    if texts.is_empty() { "none".into() } else { cut(&texts.join(" "), WORD, |_| 1).to_string() }
}

/// The texts of a value: none for NULL, those of each item for a list.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::List(items) => items.iter().flat_map(texts).collect(),
        Value::Text(text) => vec![text.to_string()],
        Value::Time(time) => vec![time.rfc3339()],
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => vec![value.json().to_string()],
    }
}

pub(super) fn keyword(text: &str) -> Json {
    cut(text, KEYWORD, char::len_utf16).into()
}

fn keywords(texts: &[String]) -> Json {
    texts.iter().map(|text| keyword(text)).collect()
}

/// The longest beginning of `text` whose characters, measured by `length`, sum up to at most `limit`.
fn cut(text: &str, limit: usize, length: impl Fn(char) -> usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += length(*c);
        used > limit
    });
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// A document under construction, by dotted names.
struct Document(Map<String, Json>);

impl Document {
    /// Sets a member, making the objects around it; what says nothing (null, "", []) is left out.
    fn set(&mut self, path: &str, value: impl Into<Json>) {
        let value = value.into();
        let silent = match &value {
            Json::Null => true,
            Json::String(text) => text.is_empty(),
            Json::Array(items) => items.is_empty(),
            _ => false,
        };
        if !silent {
            put(&mut self.0, path, value);
        }
    }
}

fn put(object: &mut Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => {
            object.insert(path.to_string(), value);
        }
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
pub mod tests;
