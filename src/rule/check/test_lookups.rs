//! The tables that a test brings: `lookups = { work_orders = [ { vin = "V1", from = "+0s", to = "+2h" } ] }`.

use std::sync::Arc;

use super::keys::Reader;
use crate::diagnostic::suggest;
use crate::event::{Type, Value};
use crate::rule::file::{Entry, Item, ItemValue, Table};
use crate::rule::lookup::table::Shape;
use crate::rule::lookup::{Lookup, Lookups, rows};
use crate::rule::notation::{START, signed};

/// Reads them; none if one is wrong, which has been said.
pub fn read(reader: &mut Reader<'_>, test: &Table, lookups: &Lookups) -> Option<Vec<Arc<Lookup>>> {
    if test.get("lookups").is_none() {
        return Some(Vec::new());
    }
    let (_, tables) = reader.table(test, "lookups")?;
    let read: Vec<Option<Arc<Lookup>>> =
        tables.entries.iter().map(|entry| table(reader, tables, entry, lookups)).collect();
    read.into_iter().collect()
}

fn table(reader: &mut Reader<'_>, tables: &Table, entry: &Entry, lookups: &Lookups) -> Option<Arc<Lookup>> {
    let Some(loaded) = lookups.tables.get(&entry.key) else {
        let hint = suggest(&entry.key, lookups.tables.keys().map(String::as_str));
        let message = format!("there is no lookup table \"{}\"", entry.key);
        reader.error(entry.key_span.clone(), message, hint);
        return None;
    };
    let items = reader.tables(tables, &entry.key);
    let shape = &loaded.shape;
    let rows: Vec<Option<Box<[Value]>>> =
        items.iter().map(|(_, inner)| row(reader, inner, shape, &entry.key)).collect();
    let rows: Vec<Box<[Value]>> = rows.into_iter().collect::<Option<_>>()?;
    match Lookup::new(entry.key.clone(), shape.clone(), rows) {
        Ok(lookup) => Some(Arc::new(lookup)),
        Err(faults) => {
            for fault in faults {
                let span = items.get(fault.row).map_or(entry.key_span.clone(), |(item, _)| item.span.clone());
                reader.error(span, fault.message, fault.hint);
            }
            None
        }
    }
}

fn row(reader: &mut Reader<'_>, inner: &Table, shape: &Shape, name: &str) -> Option<Box<[Value]>> {
    let names: Vec<&str> = shape.columns.iter().map(|(column, _)| column.as_str()).collect();
    let before = reader.problems.len();
    for entry in inner.entries.iter().filter(|entry| !names.contains(&entry.key.as_str())) {
        let message = format!("lookup table \"{name}\" has no column \"{}\"", entry.key);
        reader.error(entry.key_span.clone(), message, suggest(&entry.key, names.iter().copied()));
    }
    let cells = shape.columns.iter().map(|(column, kind)| match inner.get(column) {
        None => Value::Null,
        Some(entry) => cell(reader, &entry.item, *kind),
    });
    let cells: Vec<Value> = cells.collect();
    (reader.problems.len() == before).then(|| cells.into_boxed_slice())
}

fn cell(reader: &mut Reader<'_>, item: &Item, kind: Type) -> Value {
    let text = match &item.value {
        ItemValue::Text(text) => Some(text.text.clone()),
        ItemValue::Int(int) => Some(int.to_string()),
        ItemValue::Float(float) => Some(float.to_string()),
        ItemValue::Bool(bool) => Some(bool.to_string()),
        _ => None,
    };
    let after = text.as_deref().filter(|_| kind == Type::Time).and_then(|text| text.strip_prefix('+'));
    let relative = after.and_then(signed).map(|offset| Value::Time(START.plus(offset)));
    match relative.or_else(|| rows::value(text.as_deref()?, kind)) {
        Some(value) => value,
        None => {
            let hint = match kind {
                Type::Time => "\"+2h\" after the start of the test, or RFC 3339",
                _ => "write what the column holds",
            };
            reader.error(item.span.clone(), format!("this is not of type {}", kind.name()), hint);
            Value::Null
        }
    }
}
