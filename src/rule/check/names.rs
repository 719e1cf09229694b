//! `[let]`: names for expressions, constants and lists; a rule's own, and those that its folder shares.

use std::sync::Arc;

use super::keys::Reader;
use crate::diagnostic::Diagnostic;
use crate::event::Value;
use crate::rule::expr::parse::{Let, LetValue, is_function, is_reserved};
use crate::rule::file::{Entry, Item, ItemValue, Table};
use crate::schema::Schema;

/// Reads a shared file: `[let]` and nothing else.
pub fn read_shared(path: &str, table: &Table, problems: &mut Vec<Diagnostic>) -> Vec<Let> {
    let mut reader = Reader { file: path, problems };
    for entry in &table.entries {
        if entry.key != "let" {
            let hint = "it serves all rules of its directory; a rule goes into a file of its own";
            let message = format!("_shared.toml holds only [let], not \"{}\"", entry.key);
            reader.error(entry.key_span.clone(), message, hint);
        }
    }
    let lets = read(&mut reader, table, false);
    super::syntax_of(&lets, problems);
    lets
}

/// Reads the `[let]` of a file, in the order of the text.
pub fn read(reader: &mut Reader<'_>, table: &Table, own: bool) -> Vec<Let> {
    let Some((_, inner)) = reader.table(table, "let") else { return Vec::new() };
    inner.entries.iter().filter_map(|entry| read_one(reader, entry, own)).collect()
}

fn read_one(reader: &mut Reader<'_>, entry: &Entry, own: bool) -> Option<Let> {
    let name = entry.key.as_str();
    let span = entry.key_span.clone();
    if !is_name(name) {
        let hint = "lower-case letters, digits and _, not a digit first";
        reader.error(span, format!("\"{name}\" is no name"), hint);
        return None;
    }
    if is_function(name) {
        reader.error(span, format!("let \"{name}\" hides a function"), "give it another name");
        return None;
    }
    if is_reserved(name) {
        let hint = format!("give it another name: {name}_");
        reader.error(span, format!("\"{name}\" is a word of SQL"), hint);
        return None;
    }
    let value = match &entry.item.value {
        ItemValue::Text(text) => LetValue::Sql(text.clone()),
        ItemValue::List(items) => {
            let values: Vec<Option<Value>> = items.iter().map(|item| constant(reader, item, true)).collect();
            LetValue::List(values.into_iter().collect::<Option<_>>()?)
        }
        _ => LetValue::Constant(constant(reader, &entry.item, false)?),
    };
    Some(Let { name: name.into(), file: Arc::from(reader.file), name_span: span, own, value })
}

fn constant(reader: &mut Reader<'_>, item: &Item, in_list: bool) -> Option<Value> {
    Some(match &item.value {
        ItemValue::Text(text) if in_list => Value::text(&text.text),
        ItemValue::Int(int) => Value::Int(*int),
        ItemValue::Float(float) if float.is_finite() => Value::float(*float),
        ItemValue::Bool(bool) => Value::Bool(*bool),
        other => {
            let what = match other {
                ItemValue::BigInt(_) => "an integer beyond 64 bits",
                ItemValue::Float(_) => "a float that is no number",
                other => other.name(),
            };
            let hint = "a let is an expression in quotes, a number, true or false, or an array of these";
            reader.error(item.span.clone(), format!("a let cannot be {what}"), hint);
            return None;
        }
    })
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Own and shared lets together. A name that hides a column, or a shared name, is a problem.
pub fn together(own: Vec<Let>, shared: &[Let], schema: &Schema, problems: &mut Vec<Diagnostic>) -> Vec<Let> {
    for each in own.iter().chain(shared) {
        let mut reader = Reader { file: &each.file, problems };
        if schema.column(&each.name).is_some() {
            let message = format!("let \"{}\" hides a column of stream \"{}\"", each.name, schema.name);
            reader.error(each.name_span.clone(), message, "give it another name");
        }
    }
    for each in &own {
        if let Some(other) = shared.iter().find(|other| other.name == each.name) {
            let message = format!("let \"{}\" hides a let of {}", each.name, other.file);
            let hint = "give it another name, or remove one of the two";
            Reader { file: &each.file, problems }.error(each.name_span.clone(), message, hint);
        }
    }
    own.into_iter().chain(shared.iter().cloned()).collect()
}
