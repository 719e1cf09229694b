//! The waist of the engine: the rows one rule cares about, reduced to what it reads.
//!
//! `rule/scan` makes it, detectors fold it. A detector knows neither DataFusion nor streams nor Kafka.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_null_array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};

use super::{EventBatch, EventName, Key, KeyHasher, Timestamp, Value};

/// A column of what was picked.
#[derive(Clone, Debug)]
pub struct Column {
    array: ArrayRef,
    /// Indexed by picked row, else by batch row and shared with other rules.
    own: bool,
    words: Option<Words>,
}

/// Ints and times as they are, floats by their bits; and which of them are NULL.
type Words = (ScalarBuffer<u64>, Option<NullBuffer>);

impl Column {
    /// Indexed by batch row, shared with other rules.
    pub fn shared(array: ArrayRef) -> Column {
        Column { words: words(&array), array, own: false }
    }

    /// Indexed by picked row.
    pub fn own(array: ArrayRef) -> Column {
        Column { words: words(&array), array, own: true }
    }

    /// All values.
    pub fn array(&self) -> &ArrayRef {
        &self.array
    }

    /// The index in [`array`](Self::array) of a row: the `place`-th that was picked, row `row` of the batch.
    pub fn at(&self, place: usize, row: usize) -> usize {
        if self.own { place } else { row }
    }

    /// The column for these picked rows, in this order.
    pub fn gather(&self, order: &[u32]) -> Column {
        if !self.own {
            return self.clone();
        }
        let indices = UInt32Array::from(order.to_vec());
        let array = take(&self.array, &indices, None);
        Column::own(array.unwrap_or_else(|_| new_null_array(self.array.data_type(), order.len())))
    }
}

fn words(array: &ArrayRef) -> Option<Words> {
    let values = match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().values().inner(),
        DataType::Float64 => array.as_primitive::<Float64Type>().values().inner(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive::<TimestampMicrosecondType>().values().inner()
        }
        _ => return None,
    };
    Some((values.clone().into(), array.nulls().filter(|nulls| nulls.null_count() > 0).cloned()))
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
        let column = &self.picked.values[column];
        (&column.array, column.at(self.from + i, self.row(i)))
    }

    /// The int or time of value column `column` in row `i` as it is, the float by its bits; none of NULL and of
    /// anything else.
    #[inline]
    pub fn word(&self, column: usize, i: usize) -> Option<u64> {
        let column = self.picked.values.get(column)?;
        let (values, nulls) = column.words.as_ref()?;
        let at = column.at(self.from + i, self.row(i));
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(at)) {
            return None;
        }
        values.get(at).copied()
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
