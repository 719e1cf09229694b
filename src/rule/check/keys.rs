//! Which keys stand where, and how their values are read.

use crate::diagnostic::{Diagnostic, Gravity, nearest};
use crate::event::Micros;
use crate::event::time::parse_duration;
use crate::rule::file::{Entry, Item, ItemValue, Span, Table, Text};

/// Keys of the whole file.
pub const TOP: [&str; 20] = [
    "title",
    "severity",
    "risk",
    "stream",
    "r155",
    "atm",
    "attack",
    "blind_spots",
    "triage",
    "description",
    "references",
    "mode",
    "entity",
    "let",
    "match",
    "threshold",
    "baseline",
    "suppress",
    "escalate",
    "test",
];

/// Kinds of rules that this version does not run, and what comes near.
pub const UNBUILT_KINDS: [(&str, &str); 6] = [
    ("sequence", "a [threshold] with `count(*) FILTER (WHERE …) >= 1 AND …` finds steps in any order"),
    ("absence", ""),
    ("new_terms", ""),
    ("peer", "a [threshold] with a fixed limit in `having` comes near"),
    ("multivariate", ""),
    ("drift", ""),
];

/// Keys of `[match]`.
pub const MATCH: [&str; 4] = ["where", "key", "having", "clock"];

/// Keys of `[threshold]`.
pub const THRESHOLD: [&str; 5] = ["where", "key", "having", "window", "clock"];

/// Keys of `[baseline]`.
pub const BASELINE: [&str; 14] = [
    "where",
    "key",
    "having",
    "clock",
    "window",
    "value",
    "method",
    "limit",
    "direction",
    "learn",
    "history",
    "cohort",
    "at_least",
    "tune",
];

/// Keys of `tune`.
pub const TUNE: [&str; 2] = ["memory", "floor"];

/// Keys of `[suppress]`.
pub const SUPPRESS: [&str; 2] = ["for", "by"];

/// Keys of `[[escalate]]`.
pub const ESCALATE: [&str; 3] = ["when", "severity", "risk"];

/// Keys of `[[test]]`.
pub const TEST: [&str; 4] = ["name", "events", "alerts", "lookups"];

/// Keys of the language that this version does not read, and what to do instead.
const UNBUILT: [(&str, &str); 17] = [
    ("repeats", "retransmissions are judged like all events"),
    ("at_least", "a [threshold] with `count(*) FILTER (WHERE …) >= 3` counts how often it was true"),
    ("reset", "a shorter window forgets earlier"),
    ("with", "each rule is tested alone"),
    ("join", "a rule sees one stream"),
    ("within", ""),
    ("steps", ""),
    ("ordered", ""),
    ("lateness", ""),
    ("expect", ""),
    ("roster", ""),
    ("collapse", ""),
    ("terms", ""),
    ("min_count", ""),
    ("reference", ""),
    ("contributor", ""),
    ("count", "compare it in `having`: `count(*) >= 3`"),
];

/// Words of other rule languages, and what they are here.
const FOREIGN: [(&str, &str); 14] = [
    ("id", "the file's name is the rule's id"),
    ("name", "the file's name is the rule's id; what people read is `title`"),
    ("level", "write `severity`"),
    ("priority", "write `severity`"),
    ("condition", "write `where` (one event) or `having` (a window)"),
    ("query", "write `where` (one event) or `having` (a window)"),
    ("filter", "write `where`, or FILTER (WHERE …) after an aggregate"),
    ("timeframe", "write `window`"),
    ("interval", "write `window`"),
    ("group_by", "write `key`"),
    ("tags", "write `r155`, `atm` and `attack`"),
    ("topic", "write `stream`; the topic stands in the schema"),
    ("source", "write `stream`"),
    ("runbook", "write `triage`"),
];

/// Says what is wrong in one file.
pub struct Reader<'a> {
    /// The file, as shown.
    pub file: &'a str,
    /// Where problems go.
    pub problems: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    /// Adds an error.
    pub fn error(&mut self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.say(Gravity::Error, span, message.into(), hint.into());
    }

    /// Adds a warning.
    pub fn warning(&mut self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.say(Gravity::Warning, span, message.into(), hint.into());
    }

    fn say(&mut self, gravity: Gravity, span: Span, message: String, hint: String) {
        self.problems.push(Diagnostic { gravity, file: self.file.into(), span, message, hint });
    }

    /// Says of every key that does not belong into a table why not.
    pub fn known(&mut self, table: &Table, place: &str, allowed: &[&str]) {
        for entry in &table.entries {
            if !allowed.contains(&entry.key.as_str()) {
                self.unknown(entry, place, allowed);
            }
        }
    }

    fn unknown(&mut self, entry: &Entry, place: &str, allowed: &[&str]) {
        let key = entry.key.as_str();
        let span = entry.key_span.clone();
        let not_built = |instead: &str| match instead {
            "" => "this version has nothing in its place".to_string(),
            instead => instead.to_string(),
        };
        if let Some((_, instead)) = UNBUILT_KINDS.iter().find(|(kind, _)| *kind == key) {
            return self.error(span, format!("kind [{key}] is not built yet"), not_built(instead));
        }
        if let Some((_, instead)) = UNBUILT.iter().find(|(word, _)| *word == key) {
            return self.error(span, format!("key \"{key}\" is not built yet"), not_built(instead));
        }
        let message = format!("{place} has no key \"{key}\"");
        if let Some(home) = home_of(key) {
            return self.error(span, message, format!("it belongs {home}"));
        }
        let hint =
            match (nearest(key, allowed.iter().copied()), FOREIGN.iter().find(|(word, _)| *word == key)) {
                (_, Some((_, ours))) => (*ours).to_string(),
                (Some(near), None) => format!("did you mean \"{near}\"?"),
                (None, None) => format!("keys: {}", allowed.join(", ")),
            };
        self.error(span, message, hint);
    }

    /// Says that a key is missing.
    pub fn missing(&mut self, span: Span, place: &str, key: &str, example: &str) {
        self.error(span, format!("{place} lacks `{key}`"), format!("write {example}"));
    }

    fn wrong_type(&mut self, item: &Item, key: &str, wanted: &str) {
        let message = format!("\"{key}\" is {}, not {wanted}", item.value.name());
        let hint = match (wanted, &item.value) {
            ("an array of strings", ItemValue::Text(text)) => format!("write [\"{}\"]", text.text),
            ("a string", ItemValue::List(_)) => "write one text in double quotes".into(),
            ("a string", _) => "put it in double quotes".into(),
            _ => format!("write {wanted}"),
        };
        self.error(item.span.clone(), message, hint);
    }

    /// The text of an entry, if it has one and it is a text.
    pub fn text<'t>(&mut self, table: &'t Table, key: &str) -> Option<&'t Text> {
        let entry = table.get(key)?;
        match &entry.item.value {
            ItemValue::Text(text) => Some(text),
            _ => {
                self.wrong_type(&entry.item, key, "a string");
                None
            }
        }
    }

    /// The texts of an array; none if the key is absent or no array of texts.
    pub fn texts<'t>(&mut self, table: &'t Table, key: &str) -> Option<Vec<&'t Text>> {
        let entry = table.get(key)?;
        let ItemValue::List(items) = &entry.item.value else {
            self.wrong_type(&entry.item, key, "an array of strings");
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.value {
                ItemValue::Text(text) => texts.push(text),
                _ => self.wrong_type(item, key, "a string"),
            }
        }
        (texts.len() == items.len()).then_some(texts)
    }

    /// The table of an entry.
    pub fn table<'t>(&mut self, table: &'t Table, key: &str) -> Option<(&'t Entry, &'t Table)> {
        let entry = table.get(key)?;
        match &entry.item.value {
            ItemValue::Table(table) => Some((entry, table)),
            _ => {
                self.wrong_type(&entry.item, key, &format!("a table [{key}]"));
                None
            }
        }
    }

    /// The tables of an array of tables.
    pub fn tables<'t>(&mut self, table: &'t Table, key: &str) -> Vec<(&'t Item, &'t Table)> {
        let Some(entry) = table.get(key) else { return Vec::new() };
        let ItemValue::List(items) = &entry.item.value else {
            let message = format!("\"{key}\" is {}", entry.item.value.name());
            self.error(entry.key_span.clone(), message, format!("write it with double brackets: [[{key}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            match &item.value {
                ItemValue::Table(table) => tables.push((item, table)),
                _ => self.wrong_type(item, key, "a table"),
            }
        }
        tables
    }

    /// The duration of an entry, in microseconds.
    pub fn duration(&mut self, table: &Table, key: &str) -> Option<Micros> {
        let text = self.text(table, key)?;
        self.read_duration(text, &text.text)
    }

    /// A duration that stands in a text.
    pub fn read_duration(&mut self, text: &Text, duration: &str) -> Option<Micros> {
        let read = parse_duration(duration);
        if read.is_none() {
            let message = format!("\"{duration}\" is not a duration");
            let hint = "a number and a unit, more than zero: \"250ms\", \"60s\", \"10m\", \"1h30m\", \"7d\"";
            self.error(text.span.clone(), message, hint);
        }
        read
    }

    /// The number of an entry.
    pub fn number(&mut self, table: &Table, key: &str) -> Option<f64> {
        let entry = table.get(key)?;
        match &entry.item.value {
            ItemValue::Int(int) => Some(*int as f64),
            ItemValue::Float(float) if float.is_finite() => Some(*float),
            _ => {
                self.wrong_type(&entry.item, key, "a number");
                None
            }
        }
    }

    /// A risk from 0 to 100.
    pub fn risk(&mut self, table: &Table) -> Option<u8> {
        let entry = table.get("risk")?;
        match &entry.item.value {
            ItemValue::Int(risk) if (0..=100).contains(risk) => u8::try_from(*risk).ok(),
            ItemValue::Int(_) | ItemValue::BigInt(_) => {
                let hint = "risk accumulates per entity: 0 is nothing, 100 the worst";
                self.error(entry.item.span.clone(), "risk lies between 0 and 100", hint);
                None
            }
            _ => {
                self.wrong_type(&entry.item, "risk", "a number from 0 to 100");
                None
            }
        }
    }
}

/// Where a key of the language belongs.
fn home_of(key: &str) -> Option<&'static str> {
    Some(match key {
        "where" | "key" | "having" | "clock" => "in the kind's table: [match], [threshold] or [baseline]",
        "window" => "in [threshold] or [baseline]; a [match] judges each event alone",
        "value" | "method" | "limit" | "direction" | "learn" | "history" | "cohort" | "tune" => {
            "in [baseline]"
        }
        "memory" | "floor" => "in `tune` of a [baseline]",
        "for" | "by" => "in [suppress]",
        "when" => "in [[escalate]]",
        "events" | "alerts" | "lookups" => "in [[test]]",
        _ if TOP.contains(&key) => "at the top of the file, before the first table",
        _ => return None,
    })
}
