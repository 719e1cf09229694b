//! The index template of alerts: the type of every field that `encode/ecs` writes.
//!
//! It holds only types that Elasticsearch and OpenSearch both have, so one template serves both. Fields that
//! it does not name are kept in the document and never get a type by guess.

use serde_json::{Map, Value as Json, json};

/// Raised with every change of what follows: a server that has this version or a later one is left alone.
pub const VERSION: u64 = 1;

/// Above the built-in templates of both products, which use 100 to 200.
const PRIORITY: u64 = 500;

/// Every field by its dotted name.
const FIELDS: [(&str, &str); 69] = [
    ("@timestamp", "date"),
    ("ecs.version", "keyword"),
    ("message", "text"),
    ("tags", "keyword"),
    ("event.kind", "keyword"),
    ("event.category", "keyword"),
    ("event.type", "keyword"),
    ("event.id", "keyword"),
    ("event.code", "keyword"),
    ("event.created", "date"),
    ("event.start", "date"),
    ("event.end", "date"),
    ("event.severity", "long"),
    ("event.risk_score", "float"),
    ("event.risk_score_norm", "float"),
    ("event.module", "keyword"),
    ("event.dataset", "keyword"),
    ("event.provider", "keyword"),
    ("event.reason", "keyword"),
    ("rule.id", "keyword"),
    ("rule.name", "keyword"),
    ("rule.description", "keyword"),
    ("rule.category", "keyword"),
    ("rule.version", "keyword"),
    ("rule.ruleset", "keyword"),
    ("threat.framework", "keyword"),
    ("threat.technique.id", "keyword"),
    ("threat.technique.subtechnique.id", "keyword"),
    ("observer.vendor", "keyword"),
    ("observer.product", "keyword"),
    ("observer.type", "keyword"),
    ("observer.version", "keyword"),
    ("related.hosts", "keyword"),
    ("related.user", "keyword"),
    ("related.ip", "ip"),
    ("device.id", "keyword"),
    ("user.name", "keyword"),
    ("source.ip", "ip"),
    ("service.name", "keyword"),
    ("fleetwarden.id", "keyword"),
    ("fleetwarden.severity", "keyword"),
    ("fleetwarden.risk", "long"),
    ("fleetwarden.time", "date"),
    ("fleetwarden.broker_time", "date"),
    ("fleetwarden.detected", "date"),
    ("fleetwarden.rule.kind", "keyword"),
    ("fleetwarden.rule.stream", "keyword"),
    ("fleetwarden.rule.severity", "keyword"),
    ("fleetwarden.rule.risk", "long"),
    ("fleetwarden.rule.r155", "keyword"),
    ("fleetwarden.rule.atm", "keyword"),
    ("fleetwarden.rule.attack", "keyword"),
    ("fleetwarden.rule.triage", "text"),
    ("fleetwarden.rule.blind_spots", "text"),
    ("fleetwarden.key.name", "keyword"),
    ("fleetwarden.key.value", "keyword"),
    ("fleetwarden.key.number", "double"),
    ("fleetwarden.entities.type", "keyword"),
    ("fleetwarden.entities.value", "keyword"),
    ("fleetwarden.window.start", "date"),
    ("fleetwarden.window.end", "date"),
    ("fleetwarden.observed.name", "keyword"),
    ("fleetwarden.observed.value", "keyword"),
    ("fleetwarden.observed.number", "double"),
    ("fleetwarden.count", "long"),
    ("fleetwarden.folds", "long"),
    ("fleetwarden.evidence", "keyword"),
    ("fleetwarden.engine.version", "keyword"),
    // The text of the event is shown, never searched: no index holds it.
    ("fleetwarden.event", "shown"),
];

/// The template for indices `NAME-YYYY.MM`, each of which joins the alias `NAME`.
pub fn template(name: &str) -> Json {
    let properties: Map<String, Json> =
        FIELDS.iter().map(|(field, kind)| (field.to_string(), mapping(kind))).collect();
    json!({
        "index_patterns": [format!("{name}-*")],
        "priority": PRIORITY,
        "version": VERSION,
        "_meta": {"description": "alerts of Fleetwarden"},
        "template": {
            "aliases": {name: {}},
            "settings": {"index": {"auto_expand_replicas": "0-1"}},
            "mappings": {"dynamic": false, "properties": properties},
        },
    })
}

fn mapping(kind: &str) -> Json {
    match kind {
        "keyword" => json!({"type": "keyword", "ignore_above": 1024}),
        "shown" => json!({"type": "keyword", "index": false, "doc_values": false}),
        other => json!({"type": other}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::ecs::{document, tests as ecs};

    /// A field without a type could not be searched, and nobody would notice.
    #[test]
    fn every_field_of_a_document_has_a_type() {
        let mut alert = ecs::sample(1);
        let add = |kind, text: &str| crate::alert::Entity { kind, value: crate::event::Value::text(text) };
        alert.entities.push(add(crate::alert::EntityType::User, "u"));
        alert.entities.push(add(crate::alert::EntityType::Service, "s"));
        alert.key.push(crate::event::Value::Int(1));
        let mut found = Vec::new();
        ecs::leaves("", &document(&alert, &ecs::envelope(true)), &mut found);
        let typed = |name: &str| FIELDS.iter().any(|(field, _)| *field == name);
        let missing: Vec<_> = found.iter().filter(|(name, _)| !typed(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let used = |field: &str| found.iter().any(|(name, _)| name == field);
        let idle: Vec<_> = FIELDS.iter().filter(|(field, _)| !used(field)).collect();
        assert!(idle.is_empty(), "never written: {idle:?}");
    }
}
