//! `lookups/NAME.toml`: what a table is, as it was declared.

use super::table::Matching;
use crate::diagnostic::{Diagnostic, suggest};
use crate::event::Type;
use crate::rule::check::Reader;
use crate::rule::file::{ItemValue, Span, Table, Text};

const KEYS: [&str; 6] = ["source", "key", "match", "valid", "types", "doc"];

/// The types that cells may have.
const TYPES: [(&str, Type); 5] = [
    ("string", Type::Text),
    ("int", Type::Int),
    ("float", Type::Float),
    ("bool", Type::Bool),
    ("timestamp", Type::Time),
];

/// What a declaration says. Names are looked for once the columns are known.
pub struct Declared {
    pub source: Text,
    pub key: Vec<Text>,
    pub matching: Matching,
    pub valid: Option<(Text, Text)>,
    /// Types by column, with the place of the name.
    pub types: Vec<(String, Type, Span)>,
}

/// Reads a declaration; none if something that is needed is missing or wrong.
pub fn read(file: &str, table: &Table, problems: &mut Vec<Diagnostic>) -> Option<Declared> {
    let start = problems.len();
    let mut reader = Reader { file, problems };
    reader.known(table, "a lookup", &KEYS);
    reader.text(table, "doc");
    for (key, example) in [("source", "source = \"work_orders.csv\""), ("key", "key = [\"vin\"]")] {
        if table.get(key).is_none() {
            reader.missing(0..0, "the lookup", key, example);
        }
    }
    let source = reader.text(table, "source").cloned();
    let key: Vec<Text> = reader.texts(table, "key").unwrap_or_default().into_iter().cloned().collect();
    let matching = matching(&mut reader, table, &key);
    let valid = valid(&mut reader, table);
    let types = types(&mut reader, table);
    if let Some(entry) = table.get("key")
        && matches!(&entry.item.value, ItemValue::List(items) if items.is_empty())
    {
        reader.error(entry.item.span.clone(), "the key names no column", "key = [\"vin\"]");
    }
    (problems.len() == start).then_some(Declared { source: source?, key, matching: matching?, valid, types })
}

fn matching(reader: &mut Reader<'_>, table: &Table, key: &[Text]) -> Option<Matching> {
    if table.get("match").is_none() {
        return Some(Matching::Exact);
    }
    let text = reader.text(table, "match")?;
    match text.text.as_str() {
        "exact" => Some(Matching::Exact),
        "cidr" if key.len() > 1 => {
            reader.error(text.span.clone(), "networks have a key of one column", "key = [\"network\"]");
            None
        }
        "cidr" => Some(Matching::Cidr),
        "geo" => {
            let hint = "there is \"exact\" and \"cidr\"";
            reader.error(text.span.clone(), "match \"geo\" is not built yet", hint);
            None
        }
        other => {
            let hint = suggest(other, ["exact", "cidr"]);
            reader.error(text.span.clone(), format!("there is no match \"{other}\""), hint);
            None
        }
    }
}

fn valid(reader: &mut Reader<'_>, table: &Table) -> Option<(Text, Text)> {
    let entry = table.get("valid")?;
    match &reader.texts(table, "valid")?[..] {
        [from, to] => Some(((*from).clone(), (*to).clone())),
        _ => {
            let hint = "valid = [\"from\", \"to\"]: columns of timestamps; empty cells are no bound";
            reader.error(entry.item.span.clone(), "`valid` names two columns", hint);
            None
        }
    }
}

fn types(reader: &mut Reader<'_>, table: &Table) -> Vec<(String, Type, Span)> {
    let Some((_, inner)) = reader.table(table, "types") else { return Vec::new() };
    let mut types = Vec::new();
    for entry in &inner.entries {
        let Some(text) = reader.text(inner, &entry.key) else { continue };
        match TYPES.iter().find(|(name, _)| *name == text.text) {
            Some((_, kind)) => types.push((entry.key.clone(), *kind, entry.key_span.clone())),
            None => {
                let hint = suggest(&text.text, TYPES.map(|(name, _)| name));
                reader.error(text.span.clone(), format!("there is no type \"{}\"", text.text), hint);
            }
        }
    }
    types
}
