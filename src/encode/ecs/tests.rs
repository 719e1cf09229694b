//! Documents are held to the published field list, and to a golden.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::*;
use crate::alert::{Entity, Evidence, RuleInfo};
use crate::event::{PartitionId, Timestamp};

/// Compares with a file under `testdata/wire`, or writes it where `FLEETWARDEN_BLESS` is set.
pub fn assert_golden(name: &str, got: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/wire").join(name);
    if std::env::var_os("FLEETWARDEN_BLESS").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    assert_eq!(got, std::fs::read_to_string(&path).unwrap(), "{name} differs");
}

/// One alert with everything in it; `id` alone differs.
pub fn sample(id: u128) -> Alert {
    let time = Timestamp::parse_rfc3339("2026-11-24T10:32:18.204Z").unwrap();
    let evidence = |offset| Evidence {
        partition: PartitionId { stream: "diagnostics".into(), index: 3 },
        offset,
        index: 0,
    };
    Alert {
        id,
        rule: Arc::new(RuleInfo {
            id: "uds-seed-key-bruteforce".into(),
            title: "Repeated UDS security-access failures".into(),
            severity: Severity::Medium,
            risk: 60,
            version: "a1b2c3d4".into(),
            kind: "threshold",
            stream: "diagnostics".into(),
            r155: vec!["11.3".into(), "9.1".into()],
            atm: vec!["ATM-T0033".into()],
            attack: vec!["T1110".into(), "T1110.001".into(), "T0855".into()],
            triage: "Check for an open workshop order.".into(),
            blind_spots: "Failures spread over more than a minute.".into(),
            key: vec!["vin".into(), "ecu".into()],
        }),
        severity: Severity::High,
        risk: 80,
        key: vec![Value::text("V1"), Value::text("BCM")],
        entities: vec![
            Entity { kind: EntityType::Vehicle, value: Value::text("V1") },
            Entity { kind: EntityType::Ip, value: Value::text("192.0.2.7") },
            Entity { kind: EntityType::User, value: Value::Null },
        ],
        window: Some((time.minus(60_000_000), time)),
        time,
        broker_time: time.plus(1_500_000),
        observed: vec![
            ("count".into(), Value::Int(6)),
            ("share".into(), Value::Float(0.75)),
            ("locked".into(), Value::Bool(true)),
            ("first".into(), Value::Time(time)),
            ("codes".into(), Value::List(vec![Value::text("0x35"), Value::text("0x36")])),
            ("note".into(), Value::Null),
        ],
        count: 6,
        folds: 0,
        evidence: vec![evidence(81_210), evidence(81_502)],
        event: Some(r#"{"vin":"V1","ecu":"BCM"}"#.into()),
    }
}

/// The envelope of [`sample`].
pub fn envelope(raw: bool) -> Envelope {
    Envelope { detected: Timestamp::parse_rfc3339("2026-11-24T10:32:19.900Z").unwrap(), raw }
}

/// Every leaf with its dotted name: arrays of scalars are leaves, arrays of objects are not.
pub fn leaves(name: &str, value: &Json, found: &mut Vec<(String, Json)>) {
    match value {
        Json::Object(members) => members.iter().for_each(|(member, value)| {
            let dot = if name.is_empty() { "" } else { "." };
            leaves(&format!("{name}{dot}{member}"), value, found);
        }),
        Json::Array(items) if items.iter().any(Json::is_object) => {
            items.iter().for_each(|item| leaves(name, item, found));
        }
        leaf => found.push((name.to_string(), leaf.clone())),
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Allowed {
    Values(Vec<String>),
    WithTypes(BTreeMap<String, Vec<String>>),
}

#[derive(Deserialize)]
struct Listed {
    field: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    array: bool,
    #[serde(default)]
    required: bool,
    allowed: Option<Allowed>,
}

fn listed() -> BTreeMap<String, Listed> {
    let text = include_str!("../../../testdata/wire/ecs-9.4.0.json");
    let list: Vec<Listed> = serde_json::from_str(text).unwrap();
    list.into_iter().map(|entry| (entry.field.clone(), entry)).collect()
}

fn has_type(kind: &str, value: &Json) -> bool {
    match kind {
        "date" => value.as_str().is_some_and(|text| Timestamp::parse_rfc3339(text).is_some()),
        "long" => value.is_i64(),
        "float" => value.is_number(),
        "ip" => value.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok()),
        "keyword" => value.as_str().is_some_and(|text| text.encode_utf16().count() <= KEYWORD),
        "match_only_text" => value.is_string(),
        other => panic!("no check for type {other}"),
    }
}

/// Everything that the schema holds against a document.
fn complaints(document: &Json) -> Vec<String> {
    let (known, mut found, mut bad) = (listed(), Vec::new(), Vec::new());
    leaves("", document, &mut found);
    for (name, value) in found.iter().filter(|(name, _)| !name.starts_with("fleetwarden.")) {
        let Some(entry) = known.get(name) else {
            bad.push(format!("{name} is no field"));
            continue;
        };
        if entry.array != value.is_array() {
            bad.push(format!("{name} is an array: {}, and must be: {}", value.is_array(), entry.array));
        }
        let items = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        bad.extend(
            items
                .iter()
                .filter(|v| !has_type(&entry.kind, v))
                .map(|v| format!("{name}: {v} is no {}", entry.kind)),
        );
        let allowed = |text: &str| match &entry.allowed {
            None => true,
            Some(Allowed::Values(values)) => values.iter().any(|value| value == text),
            Some(Allowed::WithTypes(values)) => values.contains_key(text),
        };
        bad.extend(
            items
                .iter()
                .filter(|v| !v.as_str().is_none_or(allowed))
                .map(|v| format!("{name} may not be {v}")),
        );
    }
    let types = document["event"]["type"].as_array().cloned().unwrap_or_default();
    for category in document["event"]["category"].as_array().into_iter().flatten() {
        let Some(Allowed::WithTypes(fitting)) = &known["event.category"].allowed else { panic!("no list") };
        let fit = fitting.get(category.as_str().unwrap()).cloned().unwrap_or_default();
        bad.extend(
            types.iter().filter(|t| !fit.iter().any(|f| *t == f)).map(|t| format!("{t} in {category}")),
        );
    }
    let there = |name: &str| found.iter().any(|(other, _)| other == name);
    bad.extend(known.values().filter(|e| e.required && !there(&e.field)).map(|e| format!("no {}", e.field)));
    bad
}

#[test]
fn a_document_fits_the_published_schema() {
    for raw in [false, true] {
        assert_eq!(complaints(&document(&sample(1), &envelope(raw))), Vec::<String>::new());
    }
    let mut bare = sample(1);
    (bare.window, bare.event) = (None, None);
    (bare.key, bare.entities, bare.observed, bare.evidence) = Default::default();
    Arc::make_mut(&mut bare.rule).attack.clear();
    assert_eq!(complaints(&document(&bare, &envelope(true))), Vec::<String>::new());
}

/// The check itself can fail.
#[test]
fn what_does_not_fit_the_schema_is_seen() {
    let mut wrong = document(&sample(1), &envelope(true));
    wrong["event"]["type"] = json!(["indicator"]);
    wrong["event"]["kind"] = json!("alarm");
    wrong["event"]["severity"] = json!("high");
    wrong["related"]["ip"] = json!("192.0.2.7");
    wrong["vehicle"]["vin"] = json!("V1");
    wrong["ecs"].take();
    assert_eq!(complaints(&wrong).len(), 7, "{:?}", complaints(&wrong));
}

#[test]
fn the_document_is_the_golden_one() {
    let text = serde_json::to_string_pretty(&document(&sample(0x3f9c), &envelope(true))).unwrap();
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    assert_golden("ecs-alert.json", &(text.replace(&version, "\"version\": \"VERSION\"") + "\n"));
}

#[test]
fn the_text_of_the_event_leaves_only_where_it_may() {
    assert!(line(&sample(1), &envelope(true)).contains(r#"{\"vin\":\"V1\",\"ecu\":\"BCM\"}"#));
    assert!(!line(&sample(1), &envelope(false)).contains(r#"\"ecu\""#));
}

#[test]
fn only_an_entity_that_is_alone_of_its_type_stands_for_itself() {
    let mut alert = sample(1);
    let add = |kind, text: &str| Entity { kind, value: Value::text(text) };
    alert.entities.push(add(EntityType::Vehicle, "V2"));
    alert.entities.push(add(EntityType::Ip, "not an address"));
    alert.entities.push(add(EntityType::User, "u-1"));
    alert.entities.push(add(EntityType::User, "u-1"));
    let got = document(&alert, &envelope(false));
    assert_eq!(got["device"], Json::Null);
    assert_eq!(got["related"]["hosts"], json!(["V1", "V2"]));
    assert_eq!(got["related"]["ip"], json!(["192.0.2.7"]));
    assert_eq!(got["source"]["ip"], json!("192.0.2.7"));
    assert_eq!(got["user"]["name"], json!("u-1"));
}

#[test]
fn long_keywords_are_cut_at_a_character() {
    let mut alert = sample(1);
    let long = "\u{1F697}".repeat(600);
    alert.entities = vec![Entity { kind: EntityType::Vehicle, value: Value::text(&long) }];
    alert.observed = vec![("text".into(), Value::text(&long))];
    let got = document(&alert, &envelope(false));
    assert_eq!(got["device"]["id"], json!("\u{1F697}".repeat(512)));
    assert_eq!(complaints(&got), Vec::<String>::new());
    assert_eq!(got["fleetwarden"]["observed"][0]["value"], json!("\u{1F697}".repeat(512)));
}

#[test]
fn sub_techniques_name_their_technique() {
    assert_eq!(parent("T1562.008"), "T1562");
    assert_eq!(parent("T1562"), "T1562");
    assert_eq!(parent("AML.T0020"), "AML.T0020");
}
