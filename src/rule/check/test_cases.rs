//! `[[test]]`: events in the test notation, and the alerts that should come of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::keys::{self, Reader};
use crate::diagnostic::suggest;
use crate::rule::file::{Entry, Item, ItemValue, Table, Text};
use crate::rule::notation::{self, Step, offset};
use crate::rule::{Expected, RuleTest};
use crate::schema::Schema;

/// Fields of an alert that a test may name; `observed.NAME` and other parts beside them.
const FIELDS: [&str; 15] = [
    "at",
    "broker_time",
    "count",
    "entities",
    "entity",
    "evidence",
    "folds",
    "id",
    "key",
    "observed",
    "risk",
    "rule",
    "severity",
    "time",
    "window",
];

/// Reads all tests of a file; a test with a problem is left out.
pub fn read(reader: &mut Reader<'_>, rule: &str, table: &Table, schemas: &[Arc<Schema>]) -> Vec<RuleTest> {
    let mut tests: Vec<RuleTest> = Vec::new();
    for (item, inner) in reader.tables(table, "test") {
        reader.known(inner, "[[test]]", &keys::TEST);
        let Some(test) = read_one(reader, rule, item, inner, schemas) else { continue };
        if tests.iter().any(|other| other.name == test.name) {
            let span = inner.get("name").map_or(item.span.clone(), |entry| entry.item.span.clone());
            reader.error(
                span,
                format!("a second test \"{}\"", test.name),
                "give each test a name of its own",
            );
        }
        tests.push(test);
    }
    tests
}

fn read_one(
    reader: &mut Reader<'_>,
    rule: &str,
    item: &Item,
    inner: &Table,
    schemas: &[Arc<Schema>],
) -> Option<RuleTest> {
    for (key, example) in [
        ("name", "name = \"six failures within a minute alert once\""),
        ("events", "events = ''' … ''', an event a line: +0s {\"vin\":\"V1\"}"),
        ("alerts", "alerts = 1, or alerts = [ { at = \"+25s\" } ]"),
    ] {
        if inner.get(key).is_none() {
            reader.missing(item.span.clone(), "[[test]]", key, example);
        }
    }
    let name = reader.text(inner, "name");
    let events = reader.text(inner, "events");
    let alerts = inner.get("alerts").and_then(|entry| expected(reader, entry));
    let (name, events) = (name?, events?);
    match notation::parse(&events.text, &name.text) {
        Ok(steps) => say_unknown_streams(reader, events, &steps, schemas),
        Err(faults) => faults
            .into_iter()
            .for_each(|fault| reader.error(events.place(fault.span), fault.message, fault.hint)),
    }
    Some(RuleTest {
        rule: rule.to_string(),
        file: reader.file.to_string(),
        name: name.text.clone(),
        events: events.text.clone(),
        events_at: events.start.unwrap_or(events.span.start),
        at: item.span.start,
        alerts: alerts?,
    })
}

fn say_unknown_streams(reader: &mut Reader<'_>, events: &Text, steps: &[Step], schemas: &[Arc<Schema>]) {
    let mut said: Vec<&str> = Vec::new();
    for step in steps {
        if let Step::Event { stream: Some(stream), .. } = step
            && !said.contains(&stream.as_str())
            && !schemas.iter().any(|schema| *schema.name == **stream)
        {
            said.push(stream);
            let at = events.text.find(stream.as_str()).unwrap_or(0);
            let hint = suggest(stream, schemas.iter().map(|schema| &*schema.name));
            let span = events.place(at..at + stream.len());
            reader.error(span, format!("stream \"{stream}\" has no schema"), hint);
        }
    }
}

/// Whether the time of an expected alert can be read: `+25s`, `+1h..+2h`.
fn is_time(text: &str) -> bool {
    let is_offset = |part: &str| part.trim().strip_prefix('+').is_some_and(|part| offset(part).is_some());
    text.split("..").count() <= 2 && text.split("..").all(is_offset)
}

fn expected(reader: &mut Reader<'_>, entry: &Entry) -> Option<Expected> {
    match &entry.item.value {
        ItemValue::Int(n) if *n >= 0 => usize::try_from(*n).ok().map(Expected::Count),
        ItemValue::List(items) => {
            let alerts: Vec<Option<BTreeMap<String, toml::Value>>> =
                items.iter().map(|item| expected_alert(reader, item)).collect();
            alerts.into_iter().collect::<Option<_>>().map(Expected::Alerts)
        }
        _ => {
            let hint = "alerts = 2 counts them, alerts = [ { at = \"+25s\" } ] names them, [] is none";
            reader.error(entry.item.span.clone(), "\"alerts\" is neither a number nor an array", hint);
            None
        }
    }
}

fn expected_alert(reader: &mut Reader<'_>, item: &Item) -> Option<BTreeMap<String, toml::Value>> {
    let ItemValue::Table(table) = &item.value else {
        let hint = "each alert is a table: { at = \"+25s\", key = [\"V1\"] }";
        reader.error(item.span.clone(), "an expected alert is a table", hint);
        return None;
    };
    let mut fields = BTreeMap::new();
    let mut whole = true;
    for entry in &table.entries {
        let head = entry.key.split('.').next().unwrap_or("");
        if !FIELDS.contains(&head) {
            whole = false;
            let hint = suggest(head, FIELDS.iter().copied());
            reader.error(entry.key_span.clone(), format!("an alert has no field \"{}\"", entry.key), hint);
        }
        match &entry.item.value {
            ItemValue::Text(text) if entry.key == "at" && !is_time(&text.text) => {
                whole = false;
                let hint = "times stand after the start of the test: \"+25s\", \"+1h..+2h\"";
                reader.error(text.span.clone(), format!("\"{}\" is no time", text.text), hint);
            }
            ItemValue::Table(inner) => inner.entries.iter().for_each(|part| {
                let name = format!("{}.{}", entry.key, part.key);
                fields.insert(name, value(&part.item));
            }),
            _ => {
                fields.insert(entry.key.clone(), value(&entry.item));
            }
        }
    }
    whole.then_some(fields)
}

fn value(item: &Item) -> toml::Value {
    match &item.value {
        ItemValue::Text(text) => toml::Value::String(text.text.clone()),
        ItemValue::Int(int) => toml::Value::Integer(*int),
        ItemValue::BigInt(text) | ItemValue::Date(text) => toml::Value::String(text.clone()),
        ItemValue::Float(float) => toml::Value::Float(*float),
        ItemValue::Bool(bool) => toml::Value::Boolean(*bool),
        ItemValue::List(items) => toml::Value::Array(items.iter().map(value).collect()),
        ItemValue::Table(table) => toml::Value::Table(
            table.entries.iter().map(|entry| (entry.key.clone(), value(&entry.item))).collect(),
        ),
    }
}
