//! A `KeyTable` ↔ an Arrow table: one row per key, in batches, readable by any Arrow reader.
//!
//! Columns: `key` (16 bytes, the hash, big-endian), `values` (the typed key, packed; empty = not known),
//! `once` (seen once only), `admitted` (the order in which keys came), `state` (what the detector knows, in the
//! format of `codec`). Rows may stand in any order.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, BooleanBufferBuilder, FixedSizeBinaryArray,
    UInt64Array,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;

use super::StateError;
use super::codec::Writer;
use super::table::{Entry, KeyTable, KeyValues};
use crate::event::{Key, Timestamp};

/// A batch ends with this many rows,
const MOST_ROWS: usize = 16_384;

/// or when its states and values have so many bytes together: offsets in it have 32 bits, and memory grows by
/// whole batches.
const MOST_BYTES: usize = 8 << 20;

/// Bytes of a row beside its values and state.
const ROW: usize = 16 + 8 + 8 + 1;

/// The columns of a state table.
pub fn schema() -> SchemaRef {
    let fields = [
        ("key", DataType::FixedSizeBinary(16)),
        ("values", DataType::Binary),
        ("once", DataType::Boolean),
        ("admitted", DataType::UInt64),
        ("state", DataType::Binary),
    ];
    let fields: Vec<Field> = fields.into_iter().map(|(name, kind)| Field::new(name, kind, false)).collect();
    Arc::new(Schema::new(fields))
}

/// Collects the rows of a table.
#[derive(Debug, Default)]
pub struct Rows {
    keys: Vec<u8>,
    values: Cells,
    once: Vec<bool>,
    admitted: Vec<u64>,
    states: Cells,
    done: Vec<RecordBatch>,
}

/// A column of bytes: all of them, and where each cell ends.
#[derive(Debug, Default)]
struct Cells {
    bytes: Writer,
    ends: Vec<i32>,
}

impl Cells {
    fn with_capacity(rows: usize, bytes: usize) -> Cells {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Cells { bytes: Writer(Vec::with_capacity(bytes)), ends }
    }

    fn end(&mut self) {
        if self.ends.is_empty() {
            self.ends.push(0);
        }
        self.ends.push(i32::try_from(self.bytes.0.len()).unwrap_or(i32::MAX));
    }

    /// The column; what follows takes as much room.
    fn take(&mut self) -> ArrayRef {
        let next = Cells::with_capacity(self.ends.len(), self.bytes.0.len() + self.bytes.0.len() / 16);
        let Cells { bytes, ends } = std::mem::replace(self, next);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
        Arc::new(BinaryArray::new(offsets, Buffer::from_vec(bytes.0), None))
    }
}

impl Rows {
    /// Adds a key; says how many bytes its row takes.
    pub fn add<S>(&mut self, entry: &Entry<S>, write: impl FnOnce(&S, &mut Writer)) -> usize {
        let before = self.bytes();
        self.keys.extend_from_slice(&entry.key().0.to_be_bytes());
        self.values.bytes.0.extend_from_slice(entry.values.packed());
        self.values.end();
        self.once.push(entry.is_once());
        self.admitted.push(entry.admitted());
        write(&entry.state, &mut self.states.bytes);
        self.states.end();
        let after = self.bytes();
        if self.once.len() >= MOST_ROWS || after >= MOST_BYTES {
            self.end_batch();
        }
        after - before + ROW
    }

    fn bytes(&self) -> usize {
        self.values.bytes.0.len() + self.states.bytes.0.len()
    }

    fn end_batch(&mut self) {
        let rows = self.once.len();
        if rows == 0 {
            return;
        }
        let mut once = BooleanBufferBuilder::new(rows);
        once.append_slice(&self.once);
        self.once.clear();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(std::mem::take(&mut self.keys)), None)),
            self.values.take(),
            Arc::new(BooleanArray::new(once.finish(), None)),
            Arc::new(UInt64Array::from(std::mem::take(&mut self.admitted))),
            self.states.take(),
        ];
        self.keys.reserve(16 * rows);
        self.admitted.reserve(rows);
        // The columns are of one length by construction.
        self.done.extend(RecordBatch::try_new(schema(), columns));
    }

    /// All rows.
    pub fn finish(mut self) -> Vec<RecordBatch> {
        self.end_batch();
        self.done
    }
}

/// The table of all keys, in the order in which they were admitted.
pub fn save<S>(table: &KeyTable<S>, write: impl Fn(&S, &mut Writer)) -> Vec<RecordBatch> {
    let mut rows = Rows::default();
    for (_, entry) in table.in_order() {
        rows.add(entry, &write);
    }
    rows.finish()
}

/// Puts the keys of a saved table into an empty one, and schedules the timers that `state` finds.
pub fn load<S>(
    table: &mut KeyTable<S>,
    saved: &[RecordBatch],
    state: impl Fn(&[u8]) -> Result<(S, Option<Timestamp>), StateError>,
) -> Result<(), StateError> {
    let columns = saved.iter().map(Columns::of).collect::<Result<Vec<_>, _>>()?;
    let mut order = Vec::with_capacity(columns.iter().map(|columns| columns.keys.len()).sum());
    for (batch, columns) in columns.iter().enumerate() {
        order
            .extend(columns.admitted.values().iter().zip(0..).map(|(admitted, row)| (*admitted, batch, row)));
    }
    if !order.is_sorted() {
        order.sort_unstable();
    }
    table.reserve(order.len());
    for (admitted, batch, row) in order {
        let Some(columns) = columns.get(batch) else { continue };
        let key =
            columns.keys.value(row).try_into().map_err(|_| StateError("a key has another length".into()))?;
        let (state, due) = state(columns.states.value(row))?;
        let (key, values) = (Key(u128::from_be_bytes(key)), KeyValues::of_packed(columns.values.value(row)));
        table.insert(key, values, state, (columns.once.value(row), admitted));
        table.schedule(key, due);
    }
    Ok(())
}

/// The columns of one batch.
struct Columns<'a> {
    keys: &'a FixedSizeBinaryArray,
    values: &'a BinaryArray,
    once: &'a BooleanArray,
    admitted: &'a UInt64Array,
    states: &'a BinaryArray,
}

impl Columns<'_> {
    fn of(batch: &RecordBatch) -> Result<Columns<'_>, StateError> {
        if batch.schema().fields() != schema().fields() {
            return Err(StateError("a table has other columns".into()));
        }
        let found = || {
            Some(Columns {
                keys: batch.column(0).as_fixed_size_binary_opt()?,
                values: batch.column(1).as_binary_opt()?,
                once: batch.column(2).as_boolean_opt()?,
                admitted: batch.column(3).as_primitive_opt::<UInt64Type>()?,
                states: batch.column(4).as_binary_opt()?,
            })
        };
        found().ok_or_else(|| StateError("a column has another type".into()))
    }
}
