//! Whole rule files: what they become, and what is said about bad ones.

use std::sync::Arc;

use super::load;
use crate::alert::EntityType;
use crate::diagnostic::{Gravity, Source};
use crate::rule::expr::node::{Node, Op};
use crate::rule::{Kind, Loaded, Placement, Rule, RuleFile, Threshold, Window};
use crate::schema::{Class, Field, FieldType, Schema, TimeUnit};

fn field(name: &str, kind: FieldType) -> Field {
    Field {
        name: name.into(),
        path: vec![name.into()],
        kind,
        unit: String::new(),
        doc: String::new(),
        normalize: Vec::new(),
        entity: None,
        class: Class::None,
        min: None,
        values: Vec::new(),
    }
}

fn entity(mut field: Field, kind: EntityType) -> Field {
    field.entity = Some(kind);
    field
}

fn stream(name: &str, key: Option<usize>, fields: Vec<Field>) -> Arc<Schema> {
    Arc::new(Schema {
        name: name.into(),
        doc: String::new(),
        topic: name.into(),
        time: None,
        key,
        records: Vec::new(),
        dedup: None,
        fields,
    })
}

/// Streams like the shipped ones.
pub fn schemas() -> Vec<Arc<Schema>> {
    let vin = entity(field("vin", FieldType::Text), EntityType::Vehicle);
    let mut response = field("response", FieldType::Text);
    response.values = vec!["positive".into(), "negative".into()];
    let mut speed = field("speed", FieldType::Float);
    speed.min = Some(0.0);
    let diagnostics = vec![
        vin.clone(),
        field("ecu", FieldType::Text),
        field("service", FieldType::Int),
        response,
        entity(field("client_address", FieldType::Ip), EntityType::Ip),
        field("time", FieldType::Time(TimeUnit::Millis)),
        field("codes", FieldType::TextList),
    ];
    let telemetry = vec![
        vin,
        speed,
        field("lat", FieldType::Float),
        field("lon", FieldType::Float),
        field("charging", FieldType::Bool),
        field("gear", FieldType::Int),
    ];
    let cloudtrail = vec![
        field("event_name", FieldType::Text),
        field("error_code", FieldType::Text),
        field("request_parameters", FieldType::Json),
        entity(field("user_arn", FieldType::Text), EntityType::User),
        entity(field("source_ip", FieldType::Ip), EntityType::Ip),
    ];
    vec![
        stream("cloudtrail", None, cloudtrail),
        stream("diagnostics", Some(0), diagnostics),
        stream("telemetry", Some(0), telemetry),
    ]
}

fn file(path: &str, text: &str) -> RuleFile {
    RuleFile { source: Source { path: path.into(), text: text.into() } }
}

fn load_text(text: &str) -> Loaded {
    load(&[file("rules/r.toml", &format!("title = \"T\"\nseverity = \"high\"\n{text}"))], &schemas())
}

/// The problems of a rule as `line: message | hint`, warnings about missing prose left out.
fn said(loaded: &Loaded) -> Vec<String> {
    let prose = |message: &str| {
        message.starts_with("the rule has no") || message.starts_with("the rule does not say")
    };
    loaded
        .problems
        .iter()
        .filter(|problem| problem.gravity == Gravity::Error || !prose(&problem.message))
        .map(|problem| format!("{} {} | {}", problem.gravity.name(), problem.message, problem.hint))
        .collect()
}

fn rule(text: &str) -> Rule {
    let mut loaded = load_text(text);
    assert!(loaded.rules.rules.len() == 1, "{:#?}", said(&loaded));
    loaded.rules.rules.remove(0)
}

fn threshold(rule: &Rule) -> &Threshold {
    match &rule.kind {
        Kind::Threshold(threshold) => threshold,
        Kind::Match(_) => panic!("not a threshold"),
    }
}

const BRUTE_FORCE: &str = r#"
stream = "diagnostics"
[threshold]
where = "service = 39 AND response = 'negative'"
key = ["vin", "ecu"]
window = "60s"
having = "count(*) >= 6"
[suppress]
for = "1h"
[[test]]
name = "six"
events = '''
+0s x6 every 5s {"vin":"V1","ecu":"BCM","service":39,"response":"negative"}
'''
alerts = [ { at = "+25s", key = ["V1", "BCM"], "observed.count" = 6 } ]
"#;

#[test]
fn a_threshold_compiles() {
    let loaded = load_text(BRUTE_FORCE);
    assert_eq!(said(&loaded), Vec::<String>::new());
    assert_eq!(loaded.tests.len(), 1);
    let rule = &loaded.rules.rules[0];
    let threshold = threshold(rule);
    assert_eq!(threshold.window, Window::Sliding(60_000_000));
    assert!(threshold.on_event);
    assert_eq!(threshold.rings.len(), 1);
    assert_eq!(threshold.rings[0].n, 6);
    assert_eq!(threshold.count, Some(0));
    assert_eq!(rule.inputs.filters.len(), 2);
    assert_eq!(rule.inputs.values.len(), 2);
    assert_eq!(rule.placement, Placement::Partition);
    assert_eq!(rule.observed.len(), 1);
    assert_eq!(&*rule.observed[0].0, "count");
    assert_eq!(rule.entities.len(), 1);
    assert_eq!(rule.info.risk, 60);
}
