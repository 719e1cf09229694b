//! A `KeyTable` ↔ an Arrow table: one row per key, in the order of admission, readable by any Arrow reader.
//!
//! Columns: `key` (16 bytes, the hash, big-endian), `values` (the typed key), `once` (seen once only),
//! `state` (what the detector knows, in the format of `codec`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::StateError;
use super::codec::{Reader, Sources, Writer};
use super::table::KeyTable;
use crate::event::Key;

/// The columns of a state table.
pub fn schema() -> SchemaRef {
    let fields = [
        ("key", DataType::FixedSizeBinary(16)),
        ("values", DataType::Binary),
        ("once", DataType::Boolean),
        ("state", DataType::Binary),
    ];
    let fields: Vec<Field> = fields.into_iter().map(|(name, kind)| Field::new(name, kind, false)).collect();
    Arc::new(Schema::new(fields))
}

/// The table of all keys.
pub fn save<S>(table: &KeyTable<S>, state: impl Fn(&S) -> Vec<u8>) -> RecordBatch {
    let entries = table.in_order();
    let mut keys: Vec<[u8; 16]> = Vec::with_capacity(entries.len());
    let (mut values, mut once, mut states) = (Vec::new(), Vec::new(), Vec::new());
    for (key, entry) in &entries {
        keys.push(key.0.to_be_bytes());
        let mut out = Writer::default();
        out.list(&entry.values.to_vec(), Writer::value);
        values.push(out.0);
        once.push(entry.is_once());
        states.push(state(&entry.state));
    }
    let bytes: Vec<u8> = keys.concat();
    let key_column = FixedSizeBinaryArray::new(16, bytes.into(), None);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(key_column),
        Arc::new(BinaryArray::from_iter_values(&values)),
        Arc::new(BooleanArray::from(once)),
        Arc::new(BinaryArray::from_iter_values(&states)),
    ];
    let schema = schema();
    RecordBatch::try_new(schema.clone(), columns).unwrap_or_else(|_| RecordBatch::new_empty(schema))
}

/// Puts the keys of a saved table into an empty one; timers are the caller's.
pub fn load<S>(
    table: &mut KeyTable<S>,
    saved: &RecordBatch,
    state: impl Fn(&[u8]) -> Result<S, StateError>,
) -> Result<(), StateError> {
    let column =
        |name: &str| saved.column_by_name(name).ok_or_else(|| StateError(format!("no column \"{name}\"")));
    let missing = |name: &str| StateError(format!("column \"{name}\" has another type"));
    let keys = column("key")?.as_fixed_size_binary_opt().ok_or_else(|| missing("key"))?;
    let values = column("values")?.as_binary_opt::<i32>().ok_or_else(|| missing("values"))?;
    let once = column("once")?.as_boolean_opt().ok_or_else(|| missing("once"))?;
    let states = column("state")?.as_binary_opt::<i32>().ok_or_else(|| missing("state"))?;
    for row in 0..keys.len() {
        let key: [u8; 16] = keys.value(row).try_into().map_err(|_| missing("key"))?;
        let typed = Reader(values.value(row), Sources::Same).list(Reader::value)?;
        table.insert(Key(u128::from_be_bytes(key)), typed.into(), state(states.value(row))?, once.value(row));
    }
    Ok(())
}
