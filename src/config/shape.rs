//! Table → its type, or everything in it that does not fit.
//!
//! Values may be secrets. One is quoted only where its key cannot hold a secret and the file itself says it.

use std::ops::Range;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};

use super::Config;
use super::read::problem;
use crate::diagnostic::{Diagnostic, Source, nearest, suggest};
use crate::sink::{ElasticConfig, FileConfig, SplunkConfig, StdoutConfig};

/// What is known while tables get their shape, and what was found.
pub(super) struct Shaping<'a> {
    /// The file.
    pub source: &'a Source,
    /// The places of values that are not what the file says: they came from elsewhere.
    pub filled: &'a [Range<usize>],
    /// What is wrong so far.
    pub problems: &'a mut Vec<Diagnostic>,
}

/// The word behind `type` in a sink.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Stdout,
    File,
    Opensearch,
    Elasticsearch,
    Splunk,
}

impl Shaping<'_> {
    /// The whole configuration; none if there is any problem.
    pub fn config(&mut self, mut root: Spanned<DeTable<'_>>) -> Option<Config> {
        self.sinks(root.get_mut());
        let config = self.fit::<Config>(root, &[]);
        config.filter(|_| self.problems.is_empty())
    }

    /// Each sink by the settings of its type, which keep their places only without the word that chooses
    /// among the types. Those that have a problem are taken out.
    fn sinks(&mut self, root: &mut DeTable<'_>) {
        let Some(DeValue::Table(sinks)) = root.get_mut("sinks").map(Spanned::get_mut) else { return };
        let mut bad = Vec::new();
        for (name, item) in sinks.iter() {
            let before = self.problems.len();
            let span = item.span();
            match item.get_ref() {
                DeValue::Table(table) => self.sink(name.get_ref(), table.clone(), span),
                _ => {
                    let name = name.get_ref();
                    let hint = format!("write [sinks.{name}], and below it its type");
                    self.tell(span, format!("\"sinks.{name}\" is no table"), hint);
                }
            }
            if self.problems.len() > before {
                bad.push(name.get_ref().to_string());
            }
        }
        bad.iter().for_each(|name| drop(sinks.remove(name.as_str())));
    }

    fn sink(&mut self, name: &str, mut table: DeTable<'_>, span: Range<usize>) {
        let path = ["sinks", name];
        let Some(kind) = table.remove("type") else {
            let hint = format!("one of: {}", KINDS.map(|(name, _)| name).join(", "));
            return self.tell(span, format!("\"sinks.{name}\": \"type\" is missing"), hint);
        };
        let written = kind.get_ref().as_str().unwrap_or_default().to_string();
        let kind = match self.value::<Kind>(kind, &["sinks", name, "type"]) {
            Some(kind) => kind,
            // Almost certainly meant: the rest is looked at as if it were said.
            None => match nearest(&written, KINDS.map(|(name, _)| name)) {
                Some(near) => KINDS.iter().find(|(name, _)| *name == near).map_or(Kind::Stdout, |k| k.1),
                None => return,
            },
        };
        let table = Spanned::new(span, table);
        match kind {
            Kind::Stdout => drop(self.fit::<StdoutConfig>(table, &path)),
            Kind::File => drop(self.fit::<FileConfig>(table, &path)),
            Kind::Opensearch | Kind::Elasticsearch => drop(self.fit::<ElasticConfig>(table, &path)),
            Kind::Splunk => drop(self.fit::<SplunkConfig>(table, &path)),
        }
    }

    fn value<T: DeserializeOwned>(&mut self, item: Spanned<DeValue<'_>>, path: &[&str]) -> Option<T> {
        let span = item.span();
        match T::deserialize(ValueDeserializer::from(item)) {
            Ok(value) => Some(value),
            Err(error) => {
                let (message, hint) = self.reword(error.message(), &span, path);
                self.tell(span, message, hint);
                None
            }
        }
    }

    /// Gives a table its shape. What does not fit is told and taken out, so that what else does not fit is
    /// told too.
    fn fit<T: DeserializeOwned>(&mut self, mut table: Spanned<DeTable<'_>>, above: &[&str]) -> Option<T> {
        // What was taken out, and what was meant by it: it is not missing as well.
        let mut gone: Vec<Vec<String>> = Vec::new();
        loop {
            let error = match T::deserialize(Deserializer::from(table.clone())) {
                Ok(fits) => return Some(fits),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| table.span());
            let place = locate(table.get_ref(), &span);
            let path: Vec<&str> = above.iter().copied().chain(place.iter().map(String::as_str)).collect();
            let names = quoted(error.message());
            let name = names.first().map_or("", String::as_str);
            let beside = |name: &str, place: &[String]| {
                let mut path = place.to_vec();
                path.push(name.to_string());
                path
            };
            let consequence =
                error.message().starts_with("missing field") && gone.contains(&beside(name, &place));
            if !consequence {
                let (message, hint) = self.reword(error.message(), &span, &path);
                self.tell(span, message, hint);
            }
            if error.message().starts_with("unknown field")
                && let Some((_, table)) = place.split_last()
                && let Some(meant) = nearest(name, names.iter().skip(1).map(String::as_str))
            {
                gone.push(beside(meant, table));
            }
            // Each round takes something out: it ends.
            take_out(table.get_mut(), &place)?;
            gone.push(place);
        }
    }

    /// A value that is wrong twice is told once.
    fn tell(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        if self.problems.iter().all(|known| known.span != span) {
            self.problems.push(problem(self.source, span, message, hint));
        }
    }

    /// The library's words in ours: message and hint.
    fn reword(&self, message: &str, span: &Range<usize>, path: &[&str]) -> (String, String) {
        let filled = self.filled.iter().any(|f| f.start < span.end && span.start < f.end);
        let names = quoted(message);
        let name = names.first().map_or("", String::as_str);
        let known = names.iter().skip(1).map(String::as_str);
        let hint = if names.len() > 1 { suggest(name, known) } else { String::new() };
        let key = path.join(".");
        let inside = if key.is_empty() { String::new() } else { format!("\"{key}\": ") };
        if message.starts_with("unknown field") {
            return (format!("unknown key \"{key}\""), hint);
        }
        if message.starts_with("missing field") {
            return (format!("{inside}\"{name}\" is missing"), "it has no default".into());
        }
        if message.starts_with("unknown variant") {
            let shown = if filled || !harmless(path) { "…" } else { name };
            return (format!("{inside}unknown value \"{shown}\""), hint);
        }
        let (text, expected) = message.rsplit_once(", expected ").unwrap_or((message, ""));
        let hint = if expected.is_empty() { String::new() } else { format!("expected {expected}") };
        let text = match text {
            _ if filled => "the value that was filled in does not fit".into(),
            text if harmless(path) => text.replace('`', "\""),
            // Values stand in quotes, behind what is wrong with them.
            text => text.split(['`', '"']).next().unwrap_or_default().trim_end().to_string(),
        };
        (format!("{inside}{text}"), hint)
    }
}

const KINDS: [(&str, Kind); 5] = [
    ("stdout", Kind::Stdout),
    ("file", Kind::File),
    ("opensearch", Kind::Opensearch),
    ("elasticsearch", Kind::Elasticsearch),
    ("splunk", Kind::Splunk),
];

/// Whether the value of a key can hold no secret: numbers, durations, switches, and words out of a list.
fn harmless(path: &[&str]) -> bool {
    match path {
        ["workers"] | ["limits" | "log", _] | ["checkpoints", "every" | "keep"] => true,
        ["kafka", key] => ["start", "unplaced", "missing_topics"].contains(key),
        ["kafka", "sasl", key] => *key == "mechanism",
        ["streams", _, key] => *key == "enabled",
        ["sinks", _, key] => {
            ["type", "timeout", "gzip", "max_bytes", "batch", "raw", "template"].contains(key)
        }
        _ => false,
    }
}

/// What stands in backticks.
fn quoted(message: &str) -> Vec<String> {
    message.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

/// The keys that lead to the innermost entry that the place is in; empty: the table itself.
fn locate(table: &DeTable<'_>, span: &Range<usize>) -> Vec<String> {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    if span.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (key, item) in table {
        let below = item.get_ref().as_table().map(|table| locate(table, span)).unwrap_or_default();
        // A table's own place is its header, which is also the place of its key and of those above it.
        if !below.is_empty() || holds(key.span()) || holds(item.span()) {
            let path: Vec<String> = std::iter::once(key.get_ref().to_string()).chain(below).collect();
            if path.len() > found.len() {
                found = path;
            }
        }
    }
    found
}

/// Takes one entry out. None if there is none.
fn take_out(table: &mut DeTable<'_>, path: &[String]) -> Option<()> {
    match path {
        [] => None,
        [key] => table.remove(key.as_str()).map(drop),
        [key, below @ ..] => match table.get_mut(key.as_str())?.get_mut() {
            DeValue::Table(table) => take_out(table, below),
            _ => None,
        },
    }
}
