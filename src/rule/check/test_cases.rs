//! `[[test]]`: events in the test notation, and the alerts that should come of them.

use std::ops::Range;
use std::sync::Arc;

use super::keys::{self, Reader};
use super::{expected, members, test_lookups};
use crate::diagnostic::suggest;
use crate::rule::RuleTest;
use crate::rule::file::{Item, Table, Text};
use crate::rule::lookup::Lookups;
use crate::rule::notation::{self, Parsed, Step};
use crate::schema::Schema;

/// What a test is read against.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The rule's id.
    pub rule: &'a str,
    /// The rule's stream, if it is known.
    pub stream: Option<&'a Schema>,
    /// All streams.
    pub schemas: &'a [Arc<Schema>],
    /// All tables.
    pub lookups: &'a Lookups,
}

/// Reads all tests of a file; a test with a problem is left out.
pub fn read(reader: &mut Reader<'_>, context: Context<'_>, table: &Table) -> Vec<RuleTest> {
    let mut tests: Vec<RuleTest> = Vec::new();
    for (item, inner) in reader.tables(table, "test") {
        reader.known(inner, "[[test]]", &keys::TEST);
        let Some(test) = read_one(reader, context, item, inner) else { continue };
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

fn read_one(reader: &mut Reader<'_>, context: Context<'_>, item: &Item, inner: &Table) -> Option<RuleTest> {
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
    let alerts = inner.get("alerts").and_then(|entry| expected::read(reader, entry));
    let tables = test_lookups::read(reader, inner, context.lookups);
    let (name, events) = (name?, events?);
    let parsed = notation::parse(&events.text, &name.text);
    for fault in &parsed.problems {
        reader.error(events.place(fault.span.clone()), fault.message.clone(), fault.hint.clone());
    }
    say_unknown_streams(reader, events, &parsed, context.schemas);
    say_oddities(reader, events, &parsed, context);
    Some(RuleTest {
        rule: context.rule.to_string(),
        file: reader.file.to_string(),
        name: name.text.clone(),
        events: events.text.clone(),
        events_at: events.start.unwrap_or(events.span.start),
        at: item.span.start,
        alerts: alerts?,
        lookups: tables?,
    })
}

/// Words that stand where a stream may stand.
const WORDS: [&str; 4] = ["every", "late", "for", "tick"];

fn say_unknown_streams(reader: &mut Reader<'_>, events: &Text, parsed: &Parsed, schemas: &[Arc<Schema>]) {
    let mut said: Vec<&str> = Vec::new();
    for (stream, place) in &parsed.streams {
        if !said.contains(&stream.as_str()) && !schemas.iter().any(|schema| *schema.name == **stream) {
            said.push(stream);
            let words = schemas.iter().map(|schema| &*schema.name).chain(WORDS);
            let span = events.place(place.clone());
            reader.error(span, format!("stream \"{stream}\" has no schema"), suggest(stream, words));
        }
    }
}

/// Warns of what no field reads, or reads as NULL; of each member of a stream once a test.
fn say_oddities(reader: &mut Reader<'_>, events: &Text, parsed: &Parsed, context: Context<'_>) {
    let mut said: Vec<(&str, Vec<String>)> = Vec::new();
    for step in &parsed.steps {
        let Step::Event { stream, json, written, .. } = step else { continue };
        let named = stream.as_deref().map(|name| context.schemas.iter().find(|schema| *schema.name == *name));
        let schema = named.map_or(context.stream, |schema| schema.map(|schema| &**schema));
        // What does not even fit a JSON value is for decoding to judge.
        let (Some(schema), Ok(record)) = (schema, serde_json::from_str(json)) else { continue };
        for odd in members::oddities(schema, &record) {
            if !said.iter().any(|(stream, path)| **stream == *schema.name && *path == odd.path) {
                let place = events.place(member_place(&events.text, written, &odd.path));
                reader.warning(place, odd.message, odd.hint);
                said.push((&schema.name, odd.path));
            }
        }
    }
}

/// Where an event names a member; the whole event where it is made from `${…}` or escaped.
fn member_place(text: &str, written: &Range<usize>, path: &[String]) -> Range<usize> {
    let quoted = path.last().map(|name| format!("\"{name}\"")).unwrap_or_default();
    let found = text.get(written.clone()).and_then(|event| event.find(&quoted));
    match found {
        Some(at) if !quoted.is_empty() => {
            let start = written.start + at + 1;
            start..start + quoted.len() - 2
        }
        _ => written.clone(),
    }
}
