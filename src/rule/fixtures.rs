//! Streams like the shipped ones, for tests of rules.

use std::sync::Arc;

use crate::alert::EntityType;
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
        format: Default::default(),
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
