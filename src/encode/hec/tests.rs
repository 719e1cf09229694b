//! Event objects are held to what the collector takes, to the information model, and to a golden.

use serde_json::json;

use super::*;
use crate::alert::Entity;
use crate::encode::ecs::tests::{assert_golden, envelope, sample};
use crate::event::Value;

const ORIGIN: Origin<'_> =
    Origin { index: Some("security"), source: "s", sourcetype: "fleetwarden:alert", host: "h" };

fn read(alert: &Alert) -> Json {
    serde_json::from_str(&line(alert, &envelope(false), &ORIGIN)).unwrap()
}

fn with(entities: &[(EntityType, &str)]) -> Json {
    let mut alert = sample(1);
    let entity = |(kind, text): &(EntityType, &str)| Entity { kind: *kind, value: Value::text(text) };
    alert.entities = entities.iter().map(entity).collect();
    read(&alert)["fields"].take()
}

/// Behind an object with another key events are lost; a field that is no scalar or list of them is refused.
#[test]
fn an_event_has_the_keys_that_the_collector_knows() {
    let got = read(&sample(1));
    let mut keys: Vec<&str> = got.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["event", "fields", "host", "index", "source", "sourcetype", "time"]);
    let scalar = |value: &Json| value.is_string() || value.is_number();
    for (name, value) in got["fields"].as_object().unwrap() {
        let list = value.as_array().is_some_and(|items| items.len() > 1 && items.iter().all(scalar));
        assert!(scalar(value) || list, "{name}: {value}");
    }
    let none = line(&sample(1), &envelope(false), &Origin { index: None, ..ORIGIN });
    assert!(!none.contains("\"index\""), "{none}");
}

#[test]
fn the_event_is_the_plain_body_and_its_text_leaves_only_where_it_may() {
    let alert = sample(1);
    for raw in [false, true] {
        let body = plain::line_for(&alert, &envelope(raw));
        let text = line(&alert, &envelope(raw), &ORIGIN);
        assert!(text.contains(&format!("\"event\":{body},")), "{text}");
        assert_eq!(text.contains(r#"\"ecu\""#), raw);
    }
}

#[test]
fn the_time_is_in_seconds_with_six_decimals() {
    for (micros, text) in
        [(1_795_602_738_204_000, "1795602738.204000"), (1, "0.000001"), (i64::MIN, "0.000000")]
    {
        assert_eq!(seconds(Timestamp(micros)), text);
    }
}

/// Required fields of the data model Alerts, for an alert that has all of them, and the allowed values.
#[test]
fn fields_are_those_of_the_information_model() {
    let got = with(&[(EntityType::Vehicle, "V1"), (EntityType::Ip, "192.0.2.7"), (EntityType::User, "u")]);
    for name in
        ["app", "description", "dest", "id", "signature", "signature_id", "severity", "src", "type", "user"]
    {
        assert!(got[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {got}");
    }
    assert_eq!((&got["type"], &got["alert_id"]), (&json!("alert"), &got["id"]));
    let words: Vec<&str> = Severity::ALL.into_iter().map(severity).collect();
    assert_eq!(words, ["informational", "low", "medium", "high", "critical"]);
}

#[test]
fn several_entities_are_several_values_each_with_its_type() {
    let got = with(&[
        (EntityType::Vehicle, "V1"),
        (EntityType::Vehicle, "V2"),
        (EntityType::Vehicle, "V1"),
        (EntityType::Ip, "192.0.2.7"),
        (EntityType::User, "u"),
    ]);
    assert_eq!(got["dest"], json!(["V1", "V2"]));
    assert_eq!(got["risk_object"], json!(["V1", "V2", "u"]));
    assert_eq!(got["risk_object_type"], json!(["system", "system", "user"]));
    assert_eq!((&got["threat_object"], &got["threat_object_type"]), (&json!("192.0.2.7"), &json!("ip")));
}

/// An alert without a bearer of risk would never show in risk-based alerting.
#[test]
fn what_somebody_came_with_bears_the_risk_of_nobody_else() {
    let got = with(&[(EntityType::Ip, "192.0.2.7")]);
    assert_eq!((&got["risk_object"], &got["risk_object_type"]), (&json!("192.0.2.7"), &json!("other")));
    let got = with(&[]);
    assert_eq!((&got["risk_object"], &got["dest"]), (&Json::Null, &Json::Null));
    assert_eq!(got["risk_score"], json!(80));
}

#[test]
fn the_event_is_the_golden_one() {
    assert_golden("hec.json", &(line(&sample(0x3f9c), &envelope(true), &ORIGIN) + "\n"));
}
