//! The columns that are being built. They can forget their last rows, so that a record is taken whole or not
//! at all; Arrow's own builders cannot.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, NullArray, NullBufferBuilder,
    StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field as ArrowField};

use super::plan::FieldPlan;
use super::value;
use crate::event::Type;
use crate::schema::FieldType;

/// One column under construction.
pub(super) enum Column {
    /// Nobody reads it.
    Skipped,
    Bool(Plain<bool>),
    Int(Plain<i64>),
    Float(Plain<f64>),
    Time(Plain<i64>),
    Text(Texts),
    List(Lists),
}

/// Values of one size.
pub(super) struct Plain<T> {
    values: Vec<T>,
    valid: NullBufferBuilder,
}

/// Texts, one behind the other.
pub(super) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<i32>,
    valid: NullBufferBuilder,
}

/// Lists of texts.
pub(super) struct Lists {
    items: Texts,
    ends: Vec<i32>,
    valid: NullBufferBuilder,
}

impl<T: Copy + Default> Plain<T> {
    fn new() -> Plain<T> {
        Plain { values: Vec::new(), valid: NullBufferBuilder::new(0) }
    }

    #[inline]
    fn push(&mut self, value: Option<T>) -> bool {
        self.values.push(value.unwrap_or_default());
        self.valid.append(value.is_some());
        value.is_some()
    }

    /// Adds the value of a row; rows before it that had none are NULL.
    #[inline]
    pub fn put(&mut self, row: usize, value: Option<T>) -> bool {
        if self.values.len() < row {
            self.pad(row);
        }
        self.push(value)
    }

    fn pad(&mut self, rows: usize) {
        self.valid.append_n_nulls(rows.saturating_sub(self.values.len()));
        self.values.resize(rows.max(self.values.len()), T::default());
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.valid.truncate(rows);
    }

    fn take(&mut self) -> (ScalarBuffer<T>, Option<NullBuffer>)
    where
        T: arrow::datatypes::ArrowNativeType,
    {
        (ScalarBuffer::from(renew(&mut self.values)), self.valid.finish())
    }
}

impl Texts {
    fn new() -> Texts {
        Texts { bytes: Vec::new(), ends: vec![0], valid: NullBufferBuilder::new(0) }
    }

    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// A text that would make the column longer than Arrow can count is NULL.
    #[inline]
    pub fn push(&mut self, text: Option<&str>) -> bool {
        let length = self.bytes.len() + text.map_or(0, str::len);
        let text = text.filter(|_| i32::try_from(length).is_ok());
        self.bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        self.ends.push(end(self.bytes.len()));
        self.valid.append(text.is_some());
        text.is_some()
    }

    /// Adds the text of a row, which stands among the bytes of its record; rows before it that had none are
    /// NULL.
    #[inline(always)]
    pub fn put(&mut self, row: usize, record: &[u8], start: usize, until: usize) -> bool {
        if self.len() < row {
            self.pad(row);
        }
        let before = self.bytes.len();
        let length = until.saturating_sub(start);
        // Most texts are short: copying more than is needed is cheaper than calling what copies any length.
        match record.get(start..).and_then(|rest| rest.first_chunk::<16>()) {
            Some(head) if length <= 16 => {
                self.bytes.extend_from_slice(head);
                self.bytes.truncate(before + length);
            }
            _ => self.bytes.extend_from_slice(record.get(start..until).unwrap_or_default()),
        }
        let fits = i32::try_from(self.bytes.len());
        if fits.is_err() {
            self.bytes.truncate(before);
        }
        self.ends.push(fits.unwrap_or(end(before)));
        self.valid.append(fits.is_ok());
        fits.is_ok()
    }

    fn pad(&mut self, rows: usize) {
        self.valid.append_n_nulls(rows.saturating_sub(self.len()));
        self.ends.resize(self.ends.len().max(rows + 1), end(self.bytes.len()));
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.valid.truncate(rows);
        self.bytes.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }

    fn take(&mut self) -> StringArray {
        let bytes = Buffer::from_vec(renew(&mut self.bytes));
        StringArray::new(offsets(&mut self.ends), bytes, self.valid.finish())
    }
}

impl Lists {
    fn new() -> Lists {
        Lists { items: Texts::new(), ends: vec![0], valid: NullBufferBuilder::new(0) }
    }

    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    fn push(&mut self, items: Option<&[std::borrow::Cow<'_, str>]>) -> bool {
        let fits = items.is_some_and(|items| items.iter().all(|item| self.item(item)));
        self.close(fits)
    }

    /// Adds an item to the list that is open.
    pub fn item(&mut self, item: &str) -> bool {
        self.items.push(Some(item))
    }

    /// Ends the list that is open; if it does not fit, it is NULL.
    pub fn close(&mut self, fits: bool) -> bool {
        let valid = fits && i32::try_from(self.items.len()).is_ok();
        if !valid {
            self.forget_open();
        }
        self.ends.push(end(self.items.len()));
        self.valid.append(valid);
        valid
    }

    /// Forgets the list that is open.
    fn forget_open(&mut self) {
        self.items.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }

    /// Makes it `rows` long.
    pub fn pad(&mut self, rows: usize) {
        self.valid.append_n_nulls(rows.saturating_sub(self.len()));
        self.ends.resize(self.ends.len().max(rows + 1), end(self.items.len()));
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.valid.truncate(rows);
        self.forget_open();
    }

    fn take(&mut self) -> ListArray {
        let item = Arc::new(ArrowField::new("item", DataType::Utf8, true));
        let items = Arc::new(self.items.take());
        ListArray::new(item, offsets(&mut self.ends), items, self.valid.finish())
    }
}

/// A length as Arrow counts it.
fn end(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// The values so far; what they are taken from starts anew, with room for as many again.
fn renew<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room)
}

/// The offsets of an array, which always start with 0.
fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let all = renew(ends);
    ends.push(0);
    OffsetBuffer::new(ScalarBuffer::from(all))
}

impl Column {
    /// An empty column for a field.
    pub fn new(plan: &FieldPlan) -> Column {
        if !plan.built {
            return Column::Skipped;
        }
        match plan.field.kind.logical() {
            Type::Bool => Column::Bool(Plain::new()),
            Type::Int => Column::Int(Plain::new()),
            Type::Float => Column::Float(Plain::new()),
            Type::Time => Column::Time(Plain::new()),
            Type::List => Column::List(Lists::new()),
            Type::Text | Type::Null => Column::Text(Texts::new()),
        }
    }

    /// Adds the value that a JSON text stands for; false = it has the wrong type or is below its minimum:
    /// NULL.
    pub fn push(&mut self, plan: &FieldPlan, raw: &str) -> bool {
        let field = &plan.field;
        let at_least = |number: f64| field.min.is_none_or(|min| number >= min);
        match (self, field.kind) {
            (Column::Skipped, _) => true,
            (Column::Bool(column), _) => column.push(value::bool(raw)),
            (Column::Int(column), _) => column.push(value::int(raw).filter(|int| at_least(*int as f64))),
            (Column::Float(column), _) => column.push(value::float(raw).filter(|float| at_least(*float))),
            (Column::Time(column), FieldType::Time(unit)) => {
                column.push(value::time(raw, unit).map(|time| time.0))
            }
            (Column::Time(column), _) => column.push(None),
            (Column::List(column), _) => column.push(value::texts(raw).as_deref()),
            (Column::Text(column), FieldType::Ip) => column.push(value::ip(raw).as_deref()),
            (Column::Text(column), FieldType::Json) => column.push(Some(&value::compact(raw))),
            (Column::Text(column), _) => {
                let text = value::text(raw).map(|text| value::normalized(text, &field.normalize));
                column.push(text.as_deref())
            }
        }
    }

    /// Makes it `rows` long: values that were not there are NULL.
    pub fn pad(&mut self, rows: usize) {
        if self.len(rows) < rows {
            match self {
                Column::Skipped => {}
                Column::Bool(column) => column.pad(rows),
                Column::Int(column) | Column::Time(column) => column.pad(rows),
                Column::Float(column) => column.pad(rows),
                Column::Text(column) => column.pad(rows),
                Column::List(column) => column.pad(rows),
            }
        }
    }

    fn len(&self, rows: usize) -> usize {
        match self {
            Column::Skipped => rows,
            Column::Bool(column) => column.values.len(),
            Column::Int(column) | Column::Time(column) => column.values.len(),
            Column::Float(column) => column.values.len(),
            Column::Text(column) => column.len(),
            Column::List(column) => column.len(),
        }
    }

    /// Forgets all rows but the first so many.
    pub fn truncate(&mut self, rows: usize) {
        match self {
            Column::List(column) => column.truncate(rows),
            column if column.len(rows) <= rows => {}
            Column::Skipped => {}
            Column::Bool(column) => column.truncate(rows),
            Column::Int(column) | Column::Time(column) => column.truncate(rows),
            Column::Float(column) => column.truncate(rows),
            Column::Text(column) => column.truncate(rows),
        }
    }

    /// The array of all rows; the column is empty again.
    pub fn take(&mut self, rows: usize) -> ArrayRef {
        let array: ArrayRef = match self {
            Column::Skipped => Arc::new(NullArray::new(rows)),
            Column::Bool(column) => {
                let values = renew(&mut column.values);
                Arc::new(BooleanArray::new(values.into(), column.valid.finish()))
            }
            Column::Int(column) => {
                let (values, valid) = column.take();
                Arc::new(Int64Array::new(values, valid))
            }
            Column::Time(column) => {
                let (values, valid) = column.take();
                Arc::new(TimestampMicrosecondArray::new(values, valid))
            }
            Column::Float(column) => {
                let (values, valid) = column.take();
                Arc::new(Float64Array::new(values, valid))
            }
            Column::Text(column) => Arc::new(column.take()),
            Column::List(column) => Arc::new(column.take()),
        };
        debug_assert_eq!(array.len(), rows);
        array
    }
}
