//! `alerts` of a `[[test]]`: what should come out, and whether any alert could be so.

use std::collections::BTreeMap;

use super::keys::Reader;
use crate::alert::Severity;
use crate::diagnostic::suggest;
use crate::event::Timestamp;
use crate::rule::Expected;
use crate::rule::expectation::{Bound, Times};
use crate::rule::file::{Entry, Item, ItemValue, Text};

/// What the value of a field looks like.
#[derive(Clone, Copy)]
enum Form {
    /// After the start of the test: `+25s`, `+1h..+2h`.
    Times,
    /// A number, or a bound: `>= 3`.
    Number,
    /// One of the severities.
    Severity,
    /// RFC 3339.
    Instant,
    /// A text.
    Text,
    /// An array.
    List,
    /// A text, or an array of texts.
    Entities,
    /// Only its members have values: these.
    Members(&'static [&'static str]),
    /// Only its members have values, and their names are the rule's.
    Observed,
}

const RULE: [&str; 12] = [
    "id",
    "title",
    "version",
    "kind",
    "stream",
    "severity",
    "risk",
    "r155",
    "atm",
    "attack",
    "triage",
    "blind_spots",
];

/// Fields of an alert that a test may name.
const FIELDS: [(&str, Form); 15] = [
    ("at", Form::Times),
    ("broker_time", Form::Instant),
    ("count", Form::Number),
    ("entities", Form::List),
    ("entity", Form::Entities),
    ("evidence", Form::List),
    ("folds", Form::Number),
    ("id", Form::Text),
    ("key", Form::List),
    ("observed", Form::Observed),
    ("risk", Form::Number),
    ("rule", Form::Members(&RULE)),
    ("severity", Form::Severity),
    ("time", Form::Instant),
    ("window", Form::Members(&["start", "end"])),
];

/// Reads `alerts`; none if something is wrong with it.
pub fn read(reader: &mut Reader<'_>, entry: &Entry) -> Option<Expected> {
    match &entry.item.value {
        ItemValue::Int(n) if *n >= 0 => usize::try_from(*n).ok().map(Expected::Count),
        ItemValue::List(items) => {
            let alerts: Vec<Option<BTreeMap<String, toml::Value>>> =
                items.iter().map(|item| read_one(reader, item)).collect();
            alerts.into_iter().collect::<Option<_>>().map(Expected::Alerts)
        }
        _ => {
            let hint = "alerts = 2 counts them, alerts = [ { at = \"+25s\" } ] names them, [] is none";
            reader.error(entry.item.span.clone(), "\"alerts\" is neither a number nor an array", hint);
            None
        }
    }
}

fn read_one(reader: &mut Reader<'_>, item: &Item) -> Option<BTreeMap<String, toml::Value>> {
    let ItemValue::Table(table) = &item.value else {
        let hint = "each alert is a table: { at = \"+25s\", key = [\"V1\"] }";
        reader.error(item.span.clone(), "an expected alert is a table", hint);
        return None;
    };
    let mut fields = BTreeMap::new();
    let mut whole = true;
    for entry in &table.entries {
        let (head, member) = match entry.key.split_once('.') {
            Some((head, member)) => (head, Some(member)),
            None => (entry.key.as_str(), None),
        };
        let Some((_, form)) = FIELDS.iter().find(|(name, _)| *name == head) else {
            whole = false;
            let hint = suggest(head, FIELDS.iter().map(|(name, _)| *name));
            reader.error(entry.key_span.clone(), format!("an alert has no field \"{}\"", entry.key), hint);
            continue;
        };
        let parts: Vec<(Option<&str>, &Entry)> = match &entry.item.value {
            ItemValue::Table(inner) => inner.entries.iter().map(|part| (Some(&*part.key), part)).collect(),
            _ => vec![(member, entry)],
        };
        for (member, part) in parts {
            whole &= is_possible(reader, *form, (head, member), part);
            let name = member.map_or_else(|| head.to_owned(), |member| format!("{head}.{member}"));
            fields.insert(name, value(&part.item));
        }
    }
    whole.then_some(fields)
}

/// Whether a value can be that of some alert; if not, it is said.
fn is_possible(
    reader: &mut Reader<'_>,
    form: Form,
    (head, member): (&str, Option<&str>),
    at: &Entry,
) -> bool {
    let wrong = match (form, member) {
        (Form::Members(members), Some(member)) if members.contains(&member) => None,
        (Form::Members(members), Some(member)) => Some((
            at.key_span.clone(),
            format!("\"{head}\" of an alert has no \"{member}\""),
            suggest(member, members.iter().copied()),
        )),
        (Form::Members(members), None) => Some((
            at.item.span.clone(),
            format!("\"{head}\" of an alert has parts"),
            format!("name one: \"{head}.{}\"", members.join(&format!("\", \"{head}."))),
        )),
        (Form::Observed, None) => {
            let hint = "name what the alert shows: \"observed.count\" = 6".to_owned();
            Some((at.item.span.clone(), "\"observed\" of an alert has parts".to_owned(), hint))
        }
        (Form::Observed, Some(_)) => wrong_bound(&at.item),
        (_, Some(member)) => {
            let message = format!("\"{head}\" of an alert has no \"{member}\"");
            Some((at.key_span.clone(), message, format!("write {head} = …")))
        }
        (form, None) => wrong_value(form, head, &at.item),
    };
    let possible = wrong.is_none();
    if let Some((span, message, hint)) = wrong {
        reader.error(span, message, hint);
    }
    possible
}

/// Where, what, and what to do.
type Wrong = (std::ops::Range<usize>, String, String);

/// An observed value may be any text, but what starts like a bound is one.
fn wrong_bound(item: &Item) -> Option<Wrong> {
    match &item.value {
        ItemValue::Text(text) if text.text.trim().starts_with(['<', '>', '=']) => wrong_number(text),
        _ => None,
    }
}

fn wrong_number(text: &Text) -> Option<Wrong> {
    let hint = "a number, or a bound: \">= 3\", \"< 0.5\"";
    let wrong =
        || (text.span.clone(), format!("\"{}\" is no number and no bound", text.text), hint.to_owned());
    Bound::parse(&text.text).is_none().then(wrong)
}

fn wrong_value(form: Form, name: &str, item: &Item) -> Option<Wrong> {
    let is_text = |item: &Item| matches!(item.value, ItemValue::Text(_) | ItemValue::Int(_));
    let wanted = match (form, &item.value) {
        (Form::Times, ItemValue::Text(text)) => return wrong_times(text),
        (Form::Number, ItemValue::Text(text)) => return wrong_number(text),
        (Form::Severity, ItemValue::Text(text)) => return wrong_severity(text),
        (Form::Instant, ItemValue::Text(text)) => return wrong_instant(&item.span, &text.text),
        (Form::Instant, ItemValue::Date(text)) => return wrong_instant(&item.span, text),
        (Form::Number, ItemValue::Int(_) | ItemValue::Float(_))
        | (Form::Text, ItemValue::Text(_))
        | (Form::List, ItemValue::List(_))
        | (Form::Entities, ItemValue::Text(_) | ItemValue::Int(_)) => return None,
        (Form::Entities, ItemValue::List(items)) if items.iter().all(is_text) => return None,
        (Form::Times, _) => "\"+25s\" or \"+1h..+2h\", after the start of the test",
        (Form::Number, _) => "a number, or a bound: \">= 3\"",
        (Form::Severity, _) => "a severity, such as \"high\"",
        (Form::Instant, _) => "a time, such as \"2025-01-01T00:00:25Z\"",
        (Form::List, _) => "an array, such as [\"V1\"]",
        (Form::Entities, _) => "a text or an array of texts, all of which must be among the entities",
        (Form::Text | Form::Members(_) | Form::Observed, _) => "a string",
    };
    let message = format!("\"{name}\" of an alert is not {}", item.value.name());
    Some((item.span.clone(), message, format!("write {wanted}")))
}

fn wrong_times(text: &Text) -> Option<Wrong> {
    let wrong = |message: String, hint: &str| Some((text.span.clone(), message, hint.to_owned()));
    match Times::parse(&text.text) {
        None => {
            let hint = "times stand after the start of the test: \"+25s\", \"+1h..+2h\"";
            wrong(format!("\"{}\" is no time", text.text), hint)
        }
        Some(times) if times.from > times.to => {
            wrong(format!("\"{}\" ends before it starts", text.text), "the earlier time stands first")
        }
        Some(_) => None,
    }
}

fn wrong_severity(text: &Text) -> Option<Wrong> {
    let hint = || suggest(&text.text, Severity::ALL.map(Severity::name));
    let wrong = || (text.span.clone(), format!("there is no severity \"{}\"", text.text), hint());
    Severity::parse(&text.text).is_none().then(wrong)
}

fn wrong_instant(span: &std::ops::Range<usize>, text: &str) -> Option<Wrong> {
    let hint = "RFC 3339 with a zone: \"2025-01-01T00:00:25Z\"; `at` counts from the start of the test";
    let wrong = || (span.clone(), format!("\"{text}\" is no time"), hint.to_owned());
    Timestamp::parse_rfc3339(text).is_none().then(wrong)
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
