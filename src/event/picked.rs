//! The waist of the engine: the rows one rule cares about, reduced to what it reads.
//!
//! `rule/scan` makes it, detectors fold it. A detector knows neither DataFusion nor streams nor Kafka.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};

use super::{EventBatch, EventName, Key, KeyHasher, Timestamp, Value};

/// A column of what was picked.
#[derive(Clone, Debug)]
pub enum Column {
    /// Indexed by batch row, shared with other rules.
    Shared(ArrayRef),
    /// Indexed by picked row.
    Own(ArrayRef),
}

impl Column {
    /// The column for these picked rows, in this order.
    pub fn gather(&self, order: &[u32]) -> Column {
        match self {
            Column::Shared(array) => Column::Shared(array.clone()),
            Column::Own(array) => {
                let indices = UInt32Array::from(order.to_vec());
                Column::Own(
                    take(array, &indices, None)
                        .unwrap_or_else(|_| new_null_array(array.data_type(), order.len())),
                )
            }
        }
    }
}

/// What one rule needs of a batch: a selection, no copies.
#[derive(Clone, Debug)]
pub struct Picked {
    /// The batch it was picked from.
    pub of: Arc<EventBatch>,
    /// Selected batch rows, rising within a partition.
    pub rows: Vec<u32>,
    /// Per selected row: bit i is set if it satisfies the rule's i-th filter. NULL counts as not satisfied.
    pub steps: Vec<u32>,
    /// One per *batch* row; shared by all rules with this key shape.
    pub keys: Arc<[Key]>,
    /// The key's columns first, then inputs of aggregates, conditions and observations.
    pub values: Vec<Column>,
}

impl Picked {
    /// No rows of no batch: what a tick folds.
    pub fn empty() -> Picked {
        Picked {
            of: Arc::new(EventBatch::empty()),
            rows: Vec::new(),
            steps: Vec::new(),
            keys: Arc::from([]),
            values: Vec::new(),
        }
    }
}

/// A partition's part of what was picked.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// What it is a part of.
    pub picked: &'a Picked,
    /// First index into `picked.rows`.
    pub from: usize,
    /// One past the last index into `picked.rows`.
    pub to: usize,
    /// Whether time is that of the exchange, else that of the row's partition.
    pub exchange: bool,
}

impl<'a> Slice<'a> {
    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.to - self.from
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.to == self.from
    }

    /// The batch row of row `i` of this slice.
    pub fn row(&self, i: usize) -> usize {
        self.picked.rows[self.from + i] as usize
    }

    /// Which filters row `i` satisfies.
    pub fn steps(&self, i: usize) -> u32 {
        self.picked.steps[self.from + i]
    }

    /// The key of row `i`.
    pub fn key(&self, i: usize) -> Key {
        self.picked.keys[self.row(i)]
    }

    /// The event time of row `i`.
    pub fn time(&self, i: usize) -> Timestamp {
        self.picked.of.time[self.row(i)]
    }

    /// Stream time at row `i`.
    pub fn now(&self, i: usize) -> Timestamp {
        let times = if self.exchange { &self.picked.of.exchange_now } else { &self.picked.of.now };
        times[self.row(i)]
    }

    /// The name of row `i`, with its broker time.
    pub fn name(&self, i: usize) -> EventName {
        self.picked.of.names[self.row(i)]
    }

    /// The array of value column `column`, and the index of row `i` in it.
    pub fn cell(&self, column: usize, i: usize) -> (&'a ArrayRef, usize) {
        match &self.picked.values[column] {
            Column::Shared(array) => (array, self.row(i)),
            Column::Own(array) => (array, self.from + i),
        }
    }

    /// The value of column `column` in row `i`.
    pub fn value(&self, column: usize, i: usize) -> Value {
        let (array, at) = self.cell(column, i);
        value_at(array, at)
    }
}

/// The value at index `at` of an array of one of the engine's types; NULL for any other type.
pub fn value_at(array: &ArrayRef, at: usize) -> Value {
    if array.is_null(at) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(at)),
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(at)),
        DataType::Float64 => Value::float(array.as_primitive::<Float64Type>().value(at)),
        DataType::Utf8 => Value::text(array.as_string::<i32>().value(at)),
        DataType::Timestamp(_, _) => {
            Value::Time(Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(at)))
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(at);
            Value::List((0..items.len()).map(|i| value_at(&items, i)).collect())
        }
        _ => Value::Null,
    }
}

/// Feeds the value at index `at` into a key hash, without making a [`Value`] of it.
pub fn hash_at(array: &ArrayRef, at: usize, hasher: &mut KeyHasher) {
    if array.is_null(at) {
        return hasher.null();
    }
    match array.data_type() {
        DataType::Boolean => hasher.bool(array.as_boolean().value(at)),
        DataType::Int64 => hasher.int(array.as_primitive::<Int64Type>().value(at)),
        DataType::Utf8 => hasher.text(array.as_string::<i32>().value(at)),
        _ => hasher.value(&value_at(array, at)),
    }
}
