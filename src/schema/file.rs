//! One file of `schemas/` becomes a [`Schema`], or a list of everything that is wrong with it.
//!
//! ```toml
//! doc     = "Signals of a car"                 # one line for people
//! topic   = "vehicle.telemetry"                # the Kafka topic; default: the stream's name (the file's)
//! time    = "ts"                               # the field that is the event time; default: broker time
//! key     = "vin"                              # the field that records are partitioned by; default: none
//! records = "Records"                          # path of a record's events; default: a record is an event
//! format  = "json"                             # or "kafka_authorizer": its log lines are taken apart
//! dedup   = { by = ["vin", "seq"], for = "1h" }   # the fields that together name an event, and for how long
//!
//! [fields]                                     # a line a column, in this order
//! vin   = { type = "string", normalize = ["trim", "upper"], entity = "vehicle", class = "vin", doc = "Who" }
//! ts    = { type = "timestamp", unit = "ms", doc = "When" }
//! speed = { type = "float", path = ["Vehicle.Speed"], unit = "km/h", min = 0, doc = "How fast" }
//! ```
//!
//! | key of a field | meaning | default |
//! |---|---|---|
//! | `type` | `string int float bool timestamp ip strings json`; `json`: any, kept as text | required |
//! | `path` | where it stands: names with dots between them, or a list of names | the column's name |
//! | `unit` | of a timestamp `s ms us ns rfc3339 text` (required); of all else free text | none |
//! | `doc` | one line for people | none |
//! | `normalize` | of a string: `trim`, `upper`, `lower`, applied in this order | none |
//! | `entity` | whom it names: `vehicle user ip certificate service` | none |
//! | `class` | how sensitive it is: `vin location person none` | `none` |
//! | `min` | of a number: what is smaller is NULL, counted | none |
//! | `values` | of a string: the texts it can have, for hints | none |
//!
//! A timestamp of unit `text` is one in another form: `Timestamp::parse_text` says which; without a zone it is UTC.
//!
//! Unknown keys are errors, so are two fields of one path, and a path that leads through another field,
//! unless that is `json`.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::words::{among, is_name, refuse};
use super::{Class, Dedup, Field, FieldType, Format, Normalize, Schema, TimeUnit};
use crate::alert::EntityType;
use crate::diagnostic::{Diagnostic, Gravity, Source, suggest};
use crate::event::time::parse_duration;

const TOP_KEYS: [&str; 8] = ["doc", "topic", "time", "key", "records", "format", "dedup", "fields"];
const FIELD_KEYS: [&str; 9] =
    ["type", "path", "unit", "doc", "normalize", "entity", "class", "min", "values"];
const TYPES: [&str; 8] = ["string", "int", "float", "bool", "timestamp", "ip", "strings", "json"];
const UNITS: [(&str, TimeUnit); 6] = [
    ("s", TimeUnit::Seconds),
    ("ms", TimeUnit::Millis),
    ("us", TimeUnit::Micros),
    ("ns", TimeUnit::Nanos),
    ("rfc3339", TimeUnit::Rfc3339),
    ("text", TimeUnit::Text),
];
const FORMATS: [(&str, Format); 2] = [("json", Format::Json), ("kafka_authorizer", Format::KafkaAuthorizer)];
const NORMALIZE: [(&str, Normalize); 3] =
    [("trim", Normalize::Trim), ("upper", Normalize::Upper), ("lower", Normalize::Lower)];
const CLASSES: [(&str, Class); 4] =
    [("none", Class::None), ("vin", Class::Vin), ("location", Class::Location), ("person", Class::Person)];

type Span = Range<usize>;

/// A text with its place.
type Placed = (String, Span);

/// A field, and where its name and its path stand.
struct Read {
    field: Field,
    name_at: Span,
    path_at: Span,
}

/// Reads one file.
pub(super) fn read(source: &Source) -> (Option<Schema>, Vec<Diagnostic>) {
    let mut reader = Reader { file: &source.path, problems: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    for error in &errors {
        reader.error(error.span().unwrap_or(0..0), error.message().to_lowercase(), "");
    }
    // Behind a syntax error keys may be missing or misplaced: what would be said about them could be wrong.
    if !errors.is_empty() {
        return (None, reader.problems);
    }
    let schema = reader.schema(document.get_ref());
    (reader.problems.is_empty().then_some(schema), reader.problems)
}

/// The name of the stream that a file describes.
pub(super) fn stream_name(path: &str) -> &str {
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    file.strip_suffix(".toml").unwrap_or(file)
}

struct Reader<'a> {
    file: &'a str,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn error(&mut self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Diagnostic {
            gravity: Gravity::Error,
            file: self.file.to_owned(),
            span,
            message: message.into(),
            hint: hint.into(),
        });
    }

    fn schema(&mut self, top: &DeTable<'_>) -> Schema {
        self.known_keys(top, &TOP_KEYS, "a schema");
        let name = stream_name(self.file).to_owned();
        if !is_name(&name) || ["alerts", "exchange"].contains(&name.as_str()) {
            let hint = "the file is called as the stream: letters a-z, digits and _; not alerts or exchange";
            self.error(0..0, format!("\"{name}\" cannot be the name of a stream"), hint);
        }
        let read = self.fields(top);
        self.paths_apart(&read);
        let records = self.records(top, &read);
        let mut schema = Schema {
            doc: self.text(top, "doc").map_or_else(String::new, |(text, _)| text),
            topic: self.text(top, "topic").map_or_else(|| name.clone(), |(text, _)| text),
            name: name.into(),
            time: None,
            key: None,
            records,
            format: self.word(top, "format", &FORMATS).map_or(Format::Json, |(format, _)| format),
            dedup: None,
            fields: read.into_iter().map(|read| read.field).collect(),
        };
        schema.time = self.time(top, &schema.fields);
        schema.key = self.key(top, &schema.fields);
        schema.dedup = self.dedup(top, &schema.fields);
        schema
    }

    fn fields(&mut self, top: &DeTable<'_>) -> Vec<Read> {
        let Some(value) = top.get("fields") else {
            self.error(0..0, "a schema needs fields", "add [fields], then NAME = { type = \"string\" }");
            return Vec::new();
        };
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(value, "fields", "a table");
            return Vec::new();
        };
        if table.is_empty() {
            self.error(value.span(), "a schema needs fields", "add NAME = { type = \"string\" }");
        }
        in_order(table).into_iter().filter_map(|(name, value)| self.field(name, value)).collect()
    }

    /// One field; reported and left out if its type cannot be told.
    fn field(&mut self, name: &Spanned<impl AsRef<str>>, value: &Spanned<DeValue<'_>>) -> Option<Read> {
        let column = name.get_ref().as_ref().to_owned();
        if let Some((message, hint)) = refuse(&column) {
            self.error(name.span(), message, hint);
        }
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(value, &column, "a table, such as { type = \"string\" }");
            return None;
        };
        self.known_keys(table, &FIELD_KEYS, "a field");
        let unit = self.text(table, "unit");
        let kind = self.kind(table, &value.span(), unit.as_ref());
        let (path, path_at) = self.path(table, "path").unwrap_or((vec![column.clone()], name.span()));
        let field = Field {
            name: column,
            path,
            kind: kind.unwrap_or(FieldType::Text),
            unit: unit.map_or_else(String::new, |(text, _)| text),
            doc: self.text(table, "doc").map_or_else(String::new, |(text, _)| text),
            normalize: self.words(table, "normalize", &NORMALIZE),
            entity: self.entity(table),
            class: self.word(table, "class", &CLASSES).map_or(Class::None, |(class, _)| class),
            min: self.number(table, "min"),
            values: self.texts(table, "values").into_iter().map(|(text, _)| text).collect(),
        };
        if let Some(kind) = kind {
            self.fits(table, kind);
        }
        Some(Read { field, name_at: name.span(), path_at })
    }

    fn kind(&mut self, table: &DeTable<'_>, at: &Span, unit: Option<&Placed>) -> Option<FieldType> {
        let Some((word, span)) = self.text(table, "type") else {
            if table.get("type").is_none() {
                self.error(
                    at.clone(),
                    "a field needs a type",
                    format!("type = one of: {}", TYPES.join(", ")),
                );
            }
            return None;
        };
        match word.as_str() {
            "string" => Some(FieldType::Text),
            "int" => Some(FieldType::Int),
            "float" => Some(FieldType::Float),
            "bool" => Some(FieldType::Bool),
            "ip" => Some(FieldType::Ip),
            "strings" => Some(FieldType::TextList),
            "json" => Some(FieldType::Json),
            "timestamp" => self.unit(&span, unit).map(FieldType::Time),
            _ => {
                self.error(span, format!("there is no type \"{word}\""), suggest(&word, TYPES));
                None
            }
        }
    }

    fn unit(&mut self, type_at: &Span, unit: Option<&Placed>) -> Option<TimeUnit> {
        let names = UNITS.map(|(name, _)| name);
        let Some((word, span)) = unit else {
            let hint = format!("add unit = one of: {}", names.join(", "));
            self.error(type_at.clone(), "a timestamp needs a unit", hint);
            return None;
        };
        let found = UNITS.iter().find(|(name, _)| name == word).map(|(_, unit)| *unit);
        if found.is_none() {
            self.error(span.clone(), format!("\"{word}\" is no unit of a timestamp"), suggest(word, names));
        }
        found
    }

    fn entity(&mut self, table: &DeTable<'_>) -> Option<EntityType> {
        self.word(table, "entity", &EntityType::ALL.map(|kind| (kind.name(), kind))).map(|(kind, _)| kind)
    }

    /// Keys that make no sense with the field's type.
    fn fits(&mut self, table: &DeTable<'_>, kind: FieldType) {
        let number = matches!(kind, FieldType::Int | FieldType::Float);
        let names = matches!(kind, FieldType::Text | FieldType::Int | FieldType::Ip);
        let rules = [
            ("normalize", kind == FieldType::Text, "only a string can be normalized"),
            ("values", kind == FieldType::Text, "only a string has a list of values"),
            ("min", number, "only a number has a minimum"),
            ("entity", names, "only a string, an int or an ip names an entity"),
        ];
        for (key, fits, message) in rules {
            if let Some((name, _)) = table.get_key_value(key).filter(|_| !fits) {
                self.error(name.span(), message, format!("remove {key}, or change the type"));
            }
        }
    }

    /// Two fields of one path, and paths that lead through another field, unless that is JSON.
    fn paths_apart(&mut self, read: &[Read]) {
        for (i, late) in read.iter().enumerate() {
            let clash = read.iter().take(i).find(|early| clash(&early.field, &late.field));
            if let Some(early) = clash {
                let (late_name, early_name) = (&late.field.name, &early.field.name);
                let (message, hint) = if late.field.path == early.field.path {
                    (format!("\"{late_name}\" has the path of \"{early_name}\""), "remove one of them")
                } else {
                    let message =
                        format!("the paths of \"{late_name}\" and \"{early_name}\" lead through each other");
                    (message, "only a field of type json can hold other fields")
                };
                self.error(late.path_at.clone(), message, hint);
            }
            if read.iter().take(i).any(|early| early.field.name == late.field.name) {
                self.error(late.name_at.clone(), "two fields of one name", "rename one of them");
            }
        }
    }

    fn records(&mut self, top: &DeTable<'_>, read: &[Read]) -> Vec<String> {
        let Some((path, at)) = self.path(top, "records") else { return Vec::new() };
        if let Some(read) =
            read.iter().find(|read| through(&read.field.path, &path) || through(&path, &read.field.path))
        {
            let message = format!(
                "the path of \"{}\" and that of the records lead through each other",
                read.field.name
            );
            self.error(at, message, "paths of fields start within one event");
        }
        path
    }

    fn time(&mut self, top: &DeTable<'_>, fields: &[Field]) -> Option<usize> {
        let named = self.text(top, "time")?;
        let index = self.named_field(&named, fields)?;
        let is_time = fields.get(index).is_some_and(|field| matches!(field.kind, FieldType::Time(_)));
        if !is_time {
            self.error(
                named.1,
                format!("\"{}\" is no timestamp", named.0),
                "time names a field of type timestamp",
            );
        }
        Some(index)
    }

    fn key(&mut self, top: &DeTable<'_>, fields: &[Field]) -> Option<usize> {
        let named = self.text(top, "key")?;
        let index = self.named_field(&named, fields)?;
        let kind = fields.get(index).map(|field| field.kind);
        if !matches!(kind, Some(FieldType::Text | FieldType::Int | FieldType::Bool | FieldType::Ip)) {
            self.error(
                named.1,
                format!("\"{}\" cannot be a key", named.0),
                "a key is a string, int, bool or ip",
            );
        }
        Some(index)
    }

    fn dedup(&mut self, top: &DeTable<'_>, fields: &[Field]) -> Option<Dedup> {
        let value = top.get("dedup")?;
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(value, "dedup", "a table, such as { by = [\"vin\", \"seq\"], for = \"1h\" }");
            return None;
        };
        self.known_keys(table, &["by", "for"], "dedup");
        let names = self.texts(table, "by");
        let by: Vec<usize> = names.iter().filter_map(|named| self.named_field(named, fields)).collect();
        if names.is_empty() {
            self.error(value.span(), "dedup needs fields", "by = the fields that together name an event");
        }
        let span = self.text(table, "for");
        let Some((text, at)) = span else {
            self.error(value.span(), "dedup needs a duration", "for = \"1h\"");
            return None;
        };
        let Some(span) = parse_duration(&text) else {
            self.error(
                at,
                format!("\"{text}\" is no duration"),
                "such as \"90s\", \"1h30m\"; units ms s m h d w",
            );
            return None;
        };
        Some(Dedup { by, span })
    }

    fn named_field(&mut self, named: &Placed, fields: &[Field]) -> Option<usize> {
        let index = fields.iter().position(|field| field.name == named.0);
        if index.is_none() {
            let hint = among(&named.0, fields.iter().map(|field| field.name.as_str()));
            self.error(named.1.clone(), format!("there is no field \"{}\"", named.0), hint);
        }
        index
    }

    fn known_keys(&mut self, table: &DeTable<'_>, known: &[&str], of: &str) {
        for (key, _) in in_order(table) {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let hint = suggest(name, known.iter().copied());
                self.error(key.span(), format!("{of} has no key \"{name}\""), hint);
            }
        }
    }

    fn wrong_type(&mut self, value: &Spanned<DeValue<'_>>, key: &str, wanted: &str) {
        self.error(value.span(), format!("\"{key}\" must be {wanted}"), "");
    }

    fn text(&mut self, table: &DeTable<'_>, key: &str) -> Option<Placed> {
        let value = table.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some((text.to_string(), value.span())),
            _ => {
                self.wrong_type(value, key, "a text");
                None
            }
        }
    }

    fn texts(&mut self, table: &DeTable<'_>, key: &str) -> Vec<Placed> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(value, key, "a list of texts");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push((text.to_string(), item.span())),
                _ => self.wrong_type(item, key, "a list of texts"),
            }
        }
        texts
    }

    /// Member names from outside in: dotted text, or a list.
    fn path(&mut self, table: &DeTable<'_>, key: &str) -> Option<(Vec<String>, Span)> {
        let value = table.get(key)?;
        let names: Vec<String> = match value.get_ref() {
            DeValue::String(text) => text.split('.').map(str::to_owned).collect(),
            _ => self.texts(table, key).into_iter().map(|(text, _)| text).collect(),
        };
        if names.is_empty() || names.iter().any(String::is_empty) {
            let hint = "such as \"userIdentity.type\", or [\"Vehicle.Speed\"] for a name with dots";
            self.error(value.span(), format!("\"{key}\" has an empty name"), hint);
            return None;
        }
        Some((names, value.span()))
    }

    fn number(&mut self, table: &DeTable<'_>, key: &str) -> Option<f64> {
        let value = table.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(int) => {
                i64::from_str_radix(int.as_str(), int.radix()).ok().map(|int| int as f64)
            }
            DeValue::Float(float) => float.as_str().parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        };
        if number.is_none() {
            self.wrong_type(value, key, "a number");
        }
        number
    }

    fn word<T: Copy>(&mut self, table: &DeTable<'_>, key: &str, known: &[(&str, T)]) -> Option<(T, Span)> {
        let named = self.text(table, key)?;
        self.known_word(named, key, known)
    }

    fn words<T: Copy>(&mut self, table: &DeTable<'_>, key: &str, known: &[(&str, T)]) -> Vec<T> {
        let texts = self.texts(table, key);
        texts.into_iter().filter_map(|named| Some(self.known_word(named, key, known)?.0)).collect()
    }

    fn known_word<T: Copy>(&mut self, named: Placed, key: &str, known: &[(&str, T)]) -> Option<(T, Span)> {
        let (word, span) = named;
        match known.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => Some((*value, span)),
            None => {
                let hint = suggest(&word, known.iter().map(|(name, _)| *name));
                self.error(span, format!("\"{word}\" is no {key}"), hint);
                None
            }
        }
    }
}

/// The entries of a table as they stand in the file; the table itself is sorted by name.
fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<std::borrow::Cow<'i, str>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// Whether `long` starts with `short`.
fn through(short: &[String], long: &[String]) -> bool {
    long.starts_with(short)
}

fn clash(a: &Field, b: &Field) -> bool {
    let (short, long) = if a.path.len() <= b.path.len() { (a, b) } else { (b, a) };
    through(&short.path, &long.path) && (short.path == long.path || short.kind != FieldType::Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (Option<Schema>, Vec<Diagnostic>) {
        read(&Source { path: "schemas/cars.toml".into(), text: text.into() })
    }

    #[test]
    fn a_schema_keeps_the_order_of_its_file() {
        let (schema, problems) = read_text(
            r#"
topic = "t"
time = "ts"
key = "vin"
records = "body.events"
dedup = { by = ["vin", "seq"], for = "1h" }
[fields]
vin = { type = "string", normalize = ["trim", "upper"], entity = "vehicle", class = "vin" }
ts = { type = "timestamp", unit = "ns" }
seq = { type = "int", min = -5 }
b = { type = "json", path = ["Vehicle.Speed"] }
a = { type = "strings", path = "x.y" }
[fields.last]
type = "float"
min = 0.5
unit = "km/h"
"#,
        );
        assert_eq!(problems, []);
        let schema = schema.unwrap();
        let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["vin", "ts", "seq", "b", "a", "last"]);
        assert_eq!((&*schema.name, schema.topic.as_str()), ("cars", "t"));
        assert_eq!((schema.time, schema.key), (Some(1), Some(0)));
        assert_eq!(schema.records, ["body", "events"]);
        assert_eq!(schema.dedup, Some(Dedup { by: vec![0, 2], span: 3_600_000_000 }));
        assert_eq!(schema.fields[0].normalize, [Normalize::Trim, Normalize::Upper]);
        assert_eq!(schema.fields[1].kind, FieldType::Time(TimeUnit::Nanos));
        assert_eq!(schema.fields[2].min, Some(-5.0));
        assert_eq!(schema.fields[3].path, ["Vehicle.Speed"]);
        assert_eq!(schema.fields[4].path, ["x", "y"]);
        assert_eq!((schema.fields[5].min, schema.fields[5].unit.as_str()), (Some(0.5), "km/h"));
    }

    /// Each line of the table is a mistake, what is said of it, and what its hint names.
    #[test]
    fn every_mistake_is_reported_at_its_place_with_a_hint() {
        let cases = [
            ("tpic = 'x'", "tpic", "no key \"tpic\"", "topic"),
            ("topic = 3", "3", "must be a text", ""),
            ("time = 'tz'", "'tz'", "no field \"tz\"", "ts"),
            ("time = 'vin'", "'vin'", "no timestamp", "timestamp"),
            ("key = 'vni'", "'vni'", "no field \"vni\"", "vin"),
            ("key = 'x'", "'x'", "cannot be a key", "string, int, bool or ip"),
            ("records = 'vin.a'", "'vin.a'", "lead through each other", "one event"),
            ("records = ''", "''", "empty name", "userIdentity"),
            ("dedup = { by = ['vn'], for = '1h' }", "'vn'", "no field \"vn\"", "vin"),
            ("dedup = { by = ['vin'], for = 'soon' }", "'soon'", "no duration", "90s"),
            ("dedup = { by = ['vin'], within = '1h', for = '1h' }", "within", "no key \"within\"", "one of"),
            ("dedup = 1", "1", "must be a table", ""),
            ("fields.user = { type = 'string' }", "user", "SQL cannot read", "user_name"),
            ("fields.event_time = { type = 'string' }", "event_time", "taken", "reported_event_time"),
            ("fields.sourceIP = { type = 'string' }", "sourceIP", "cannot be the name", "source_ip"),
            ("fields.a = 'string'", "'string'", "must be a table", ""),
            ("fields.a = { unit = 'V' }", "{ unit = 'V' }", "needs a type", "string"),
            ("fields.a = { type = 'strng' }", "'strng'", "no type \"strng\"", "string"),
            ("fields.a = { type = 'timestamp' }", "'timestamp'", "needs a unit", "rfc3339"),
            ("fields.a = { type = 'timestamp', unit = 'sec' }", "'sec'", "no unit", "s, ms"),
            (
                "fields.a = { type = 'string', normalise = [] }",
                "normalise",
                "no key \"normalise\"",
                "normalize",
            ),
            ("fields.a = { type = 'string', normalize = ['uper'] }", "'uper'", "no normalize", "upper"),
            ("fields.a = { type = 'string', normalize = 'upper' }", "'upper'", "list of texts", ""),
            ("fields.a = { type = 'int', normalize = ['upper'] }", "normalize", "only a string", "remove"),
            ("fields.a = { type = 'bool', min = 0 }", "min", "only a number", "remove"),
            ("fields.a = { type = 'int', min = 'x' }", "'x'", "must be a number", ""),
            ("fields.a = { type = 'int', min = nan }", "nan", "must be a number", ""),
            ("fields.a = { type = 'float', entity = 'user' }", "entity", "names an entity", "remove"),
            ("fields.a = { type = 'string', entity = 'car' }", "'car'", "no entity", "one of: vehicle"),
            ("fields.a = { type = 'string', class = 'loction' }", "'loction'", "no class", "location"),
            ("fields.a = { type = 'string', path = 'vin' }", "'vin'", "has the path of \"vin\"", "remove"),
            ("fields.a = { type = 'string', path = 'vin.b' }", "'vin.b'", "lead through", "json"),
            ("fields.a = { type = 'string', path = 'a..b' }", "'a..b'", "empty name", "dots"),
            ("fields.a = { type = 'int', path = [1] }", "1", "list of texts", ""),
        ];
        let base = "fields.vin = { type = 'string' }\nfields.ts = { type = 'timestamp', unit = 'ms' }\n\
                    fields.x = { type = 'json' }\nfields.y = { type = 'int', path = 'x.y' }\n";
        assert_eq!(read_text(base).1, []);
        for (line, place, message, hint) in cases {
            let text = format!("{base}{line}\n");
            let (schema, problems) = read_text(&text);
            assert_eq!(schema, None, "{line}");
            let problem = problems.first().unwrap();
            assert!(problem.message.contains(message), "{line}: {problems:?}");
            assert!(problem.hint.contains(hint), "{line}: {problems:?}");
            assert_eq!(&text[problem.span.clone()], place, "{line}");
        }
    }

    #[test]
    fn all_mistakes_come_in_one_run() {
        let (schema, problems) = read_text(
            "tme = 'a'\nkey = 'b'\n[fields]\nuser = { type = 'strin' }\n\
             end = { type = 'int', clas = 'vin' }\n",
        );
        assert_eq!(schema, None);
        assert_eq!(problems.len(), 6, "{problems:?}");
    }

    #[test]
    fn what_is_no_toml_is_said_with_its_place() {
        let (schema, problems) = read_text("topic = \n[fields]\nx = { type = 'int' \ny = 3 3\n");
        assert_eq!(schema, None);
        assert!(!problems.is_empty() && problems[0].span.start >= 7, "{problems:?}");
    }

    #[test]
    fn a_file_without_fields_or_with_a_name_of_another_style_is_refused() {
        assert!(read_text("topic = 'x'").1[0].message.contains("needs fields"));
        assert!(read_text("[fields]").1[0].message.contains("needs fields"));
        for path in ["Cars.toml", "alerts.toml", "a/vehicle-data.toml"] {
            let source = Source { path: path.into(), text: "fields.x = { type = 'int' }".into() };
            assert!(read(&source).1[0].message.contains("name of a stream"), "{path}");
        }
    }
}
