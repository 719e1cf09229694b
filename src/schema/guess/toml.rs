//! A guess → the text of its schema file, each guess with what speaks for it.

use super::column::{Column, LeftOut, plural, thousands};
use super::{Guess, Look};
use crate::schema::words;
use crate::schema::{Class, FieldType, Normalize, TimeUnit};

/// How a text stands in TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.into_iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}

/// A path as a schema takes it: dotted, or a list where a name has dots.
pub fn path(names: &[&str]) -> String {
    if names.iter().any(|name| name.contains('.')) {
        list(names.iter().copied())
    } else {
        quoted(&names.join("."))
    }
}

/// The words of a type.
pub fn kind(kind: FieldType) -> (&'static str, Option<&'static str>) {
    match kind {
        FieldType::Text => ("string", None),
        FieldType::Int => ("int", None),
        FieldType::Float => ("float", None),
        FieldType::Bool => ("bool", None),
        FieldType::Ip => ("ip", None),
        FieldType::TextList => ("strings", None),
        FieldType::Json => ("json", None),
        FieldType::Time(unit) => ("timestamp", Some(unit_name(unit))),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Seconds => "s",
        TimeUnit::Millis => "ms",
        TimeUnit::Micros => "us",
        TimeUnit::Nanos => "ns",
        TimeUnit::Rfc3339 => "rfc3339",
        TimeUnit::Text => "text",
    }
}

fn field(column: &Column<'_>) -> String {
    let (word, unit) = kind(column.kind);
    let mut parts = Vec::new();
    if column.path != [column.name.as_str()] {
        parts.push(format!("path = {}", path(&column.path)));
    }
    parts.push(format!("type = \"{word}\""));
    if let Some(unit) = unit {
        parts.push(format!("unit = \"{unit}\""));
    }
    if !column.normalize.is_empty() && column.kind == FieldType::Text {
        let words = column.normalize.iter().map(|step| match step {
            Normalize::Trim => "trim",
            Normalize::Upper => "upper",
            Normalize::Lower => "lower",
        });
        parts.push(format!("normalize = {}", list(words)));
    }
    if let Some(entity) = column.entity {
        parts.push(format!("entity = \"{}\"", entity.name()));
    }
    let class = match column.class {
        Class::None => None,
        Class::Vin => Some("vin"),
        Class::Location => Some("location"),
        Class::Person => Some("person"),
    };
    if let Some(class) = class {
        parts.push(format!("class = \"{class}\""));
    }
    if !column.values.is_empty() {
        parts.push(format!("values = {}", list(column.values.iter().copied())));
    }
    parts.join(", ")
}

/// One comment may not end its line early.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Guess<'_> {
    /// The schema file of a stream that reads a topic. `from`: what was read, for people.
    pub fn toml(&self, topic: &str, from: &str) -> String {
        let mut out = head(self.look, from);
        out.push_str(&format!("doc     = {}\n", quoted(&format!("Guessed from {from}"))));
        out.push_str(&format!("topic   = {}\n", quoted(topic)));
        let name = |at: usize| self.columns.all.get(at).map_or("", |column| column.name.as_str());
        match &self.time {
            Some(time) => {
                let why = if time.why.is_empty() { String::new() } else { format!("# {}", plain(&time.why)) };
                out.push_str(&format!("time    = {:14} {why}\n", quoted(name(time.column))));
            }
            None => out.push_str(
                "# time  =                # no field looks like the time of the event: broker time is it\n",
            ),
        }
        if !self.other_times.is_empty() {
            let others: Vec<&str> = self.other_times.iter().map(|at| name(*at)).collect();
            out.push_str(&format!("#                         other times: {}\n", others.join(", ")));
        }
        match &self.key {
            Some(key) => {
                out.push_str(&format!("key     = {:14} # {}\n", quoted(name(key.column)), plain(&key.why)))
            }
            None => out.push_str(
                "# key   =                # no field is known to keep its values in one partition each\n",
            ),
        }
        if !self.look.records_at.is_empty() {
            let names: Vec<&str> = self.look.records_at.iter().map(String::as_str).collect();
            out.push_str(&format!(
                "records = {:14} # a record is a list of events, or has one there\n",
                path(&names)
            ));
        }
        out.push_str("\n[fields]\n");
        self.fields(&mut out);
        out
    }

    fn fields(&self, out: &mut String) {
        let width = self.columns.all.iter().map(|column| column.name.len()).max().unwrap_or(0).min(40);
        for column in &self.columns.all {
            if let Some(doubt) = &column.doubt {
                out.push_str(&format!("# not sure: {}\n", plain(doubt)));
            }
            let why = if column.why.is_empty() {
                String::new()
            } else {
                format!("   # {}", plain(&column.why.join("; ")))
            };
            out.push_str(&format!("{:width$} = {{ {} }}{why}\n", column.name, field(column)));
        }
        if self.columns.all.is_empty() {
            let doc = "No field has had a value yet: describe yours here";
            out.push_str(&format!("nothing = {{ type = \"json\", doc = \"{doc}\" }}\n"));
        }
        if !self.columns.left_out.is_empty() {
            out.push_str("\n# Left out:\n");
        }
        for left in &self.columns.left_out {
            out.push_str(&format!("# {}\n", plain(&left_out(left))));
        }
    }
}

fn left_out(left: &LeftOut) -> String {
    let declare = || {
        let name = words::snake(&left.path);
        format!(" · to read it all the same: {name} = {{ path = {}, type = \"string\" }}", quoted(&left.path))
    };
    format!("{}: {}{}", left.path, left.why, if left.secret { declare() } else { String::new() })
}

fn head(look: &Look, from: &str) -> String {
    let mut out = format!(
        "# Guessed from {}: {} in {}. Read it, and correct what is wrong.\n",
        plain(from),
        plural(look.events, "event"),
        plural(look.records, "record")
    );
    out.push_str(
        "# Keys of a field: type, path, unit, entity, class, normalize, min, values, doc. Any line may go.\n",
    );
    if look.unreadable > 0 {
        let why = look.unreadable_why.as_deref().unwrap_or_default();
        out.push_str(&format!(
            "# {} of them could not be read; the first: {}\n",
            thousands(look.unreadable),
            plain(why)
        ));
    }
    out
}
