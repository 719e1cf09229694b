//! Plain JSON: the body of an alert, deterministic to the byte.

use serde_json::{Value as Json, json};

use super::Envelope;
use crate::alert::Alert;

/// The body as JSON. Members are in a fixed order once written with [`line`].
pub fn body(alert: &Alert) -> Json {
    let rule = &alert.rule;
    let observed: serde_json::Map<String, Json> =
        alert.observed.iter().map(|(name, value)| (name.to_string(), value.json())).collect();
    json!({
        "id": alert.id_hex(),
        "rule": {
            "id": rule.id, "title": rule.title, "version": rule.version, "kind": rule.kind,
            "severity": rule.severity.name(), "risk": rule.risk, "stream": &*rule.stream,
            "r155": rule.r155, "atm": rule.atm, "attack": rule.attack, "triage": rule.triage,
            "blind_spots": rule.blind_spots,
        },
        "severity": alert.severity.name(),
        "risk": alert.risk,
        "time": alert.time.rfc3339(),
        "broker_time": alert.broker_time.rfc3339(),
        "key": alert.key.iter().map(crate::event::Value::json).collect::<Vec<_>>(),
        "entities": alert.entities.iter()
            .map(|e| json!({"type": e.kind.name(), "value": e.value.json()})).collect::<Vec<_>>(),
        "window": alert.window.map(|(start, end)| json!({"start": start.rfc3339(), "end": end.rfc3339()})),
        "observed": observed,
        "count": alert.count,
        "folds": alert.folds,
        "evidence": alert.evidence.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "event": alert.event.as_deref(),
    })
}

/// One line of NDJSON, without the line feed.
pub fn line(alert: &Alert) -> String {
    body(alert).to_string()
}

/// The same for a destination that may not be told the text of the event.
pub fn line_for(alert: &Alert, envelope: &Envelope) -> String {
    let mut body = body(alert);
    if let (false, Some(event)) = (envelope.raw, body.get_mut("event")) {
        event.take();
    }
    body.to_string()
}
