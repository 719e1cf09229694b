//! Columns as rows of [`Cell`]s, and back.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Float64Array, Float64Builder, Int64Array,
    Int64Builder, ListArray, ListBuilder, NullArray, StringArray, StringBuilder, TimestampMicrosecondArray,
    TimestampMicrosecondBuilder, new_null_array,
};
use arrow::datatypes::{DataType, TimeUnit};

use super::Cell;
use crate::event::Type;
use crate::schema::arrow_type;

/// An operand: one cell per row, or one for all.
#[derive(Clone, Debug)]
pub struct Operand {
    /// The cells.
    pub array: ArrayRef,
    /// Whether its only cell stands in every row.
    pub one: bool,
}

impl Operand {
    /// Where the cell of a row lies.
    pub fn at(&self, row: usize) -> usize {
        if self.one { 0 } else { row }
    }
}

/// An array whose type has been found out.
#[derive(Debug)]
pub enum Reader<'a> {
    /// Whatever else: NULL.
    Null,
    /// Truth values.
    Bool(&'a BooleanArray),
    /// Integers.
    Int(&'a Int64Array),
    /// Floats.
    Float(&'a Float64Array),
    /// Texts.
    Text(&'a StringArray),
    /// Instants.
    Time(&'a TimestampMicrosecondArray),
    /// Lists of texts.
    List(&'a ListArray),
}

impl<'a> Reader<'a> {
    /// Reads an array; one of a type that the engine does not have reads NULL.
    pub fn new(array: &'a ArrayRef) -> Reader<'a> {
        let reader = match array.data_type() {
            DataType::Boolean => array.as_boolean_opt().map(Reader::Bool),
            DataType::Int64 => array.as_primitive_opt().map(Reader::Int),
            DataType::Float64 => array.as_primitive_opt().map(Reader::Float),
            DataType::Utf8 => array.as_string_opt().map(Reader::Text),
            DataType::Timestamp(TimeUnit::Microsecond, None) => array.as_primitive_opt().map(Reader::Time),
            DataType::List(_) => array.as_list_opt().map(Reader::List),
            _ => None,
        };
        reader.unwrap_or(Reader::Null)
    }

    /// The cell at an index.
    pub fn cell(&self, at: usize) -> Cell<'a> {
        match self {
            Reader::Null => Cell::Null,
            Reader::Bool(array) if array.is_valid(at) => Cell::Bool(array.value(at)),
            Reader::Int(array) if array.is_valid(at) => Cell::Int(array.value(at)),
            Reader::Float(array) if array.is_valid(at) => Cell::Float(array.value(at) + 0.0),
            Reader::Text(array) if array.is_valid(at) => Cell::Text(Cow::Borrowed(array.value(at))),
            Reader::Time(array) if array.is_valid(at) => Cell::Time(array.value(at)),
            Reader::List(array) if array.is_valid(at) => {
                let items = array.value(at);
                let reader = Reader::new(&items);
                Cell::List((0..items.len()).map(|i| reader.cell(i).into_owned()).collect())
            }
            _ => Cell::Null,
        }
    }
}

impl Cell<'_> {
    /// The same, borrowed from nothing.
    pub fn into_owned(self) -> Cell<'static> {
        match self {
            Cell::Null => Cell::Null,
            Cell::Bool(b) => Cell::Bool(b),
            Cell::Int(i) => Cell::Int(i),
            Cell::Float(x) => Cell::Float(x),
            Cell::Text(t) => Cell::Text(Cow::Owned(t.into_owned())),
            Cell::Time(t) => Cell::Time(t),
            Cell::List(items) => Cell::List(items.into_iter().map(Cell::into_owned).collect()),
        }
    }
}

/// Collects cells of one type into an array.
#[derive(Debug)]
pub struct Writer {
    column: Builder,
    bytes: usize,
}

#[derive(Debug)]
enum Builder {
    Null(usize),
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
    List(ListBuilder<StringBuilder>),
}

impl Writer {
    /// For about so many rows.
    pub fn new(kind: Type, rows: usize) -> Writer {
        let column = match kind {
            Type::Null => Builder::Null(0),
            Type::Bool => Builder::Bool(BooleanBuilder::with_capacity(rows)),
            Type::Int => Builder::Int(Int64Builder::with_capacity(rows)),
            Type::Float => Builder::Float(Float64Builder::with_capacity(rows)),
            Type::Text => Builder::Text(StringBuilder::with_capacity(rows, 0)),
            Type::Time => Builder::Time(TimestampMicrosecondBuilder::with_capacity(rows)),
            Type::List => Builder::List(ListBuilder::with_capacity(StringBuilder::new(), rows)),
        };
        Writer { column, bytes: 0 }
    }

    /// Adds a cell: a NULL if it is of another type. False if it is a NULL because the array is full: an
    /// array holds 2 GiB of text.
    pub fn push(&mut self, cell: Cell<'_>) -> bool {
        let bytes = self.bytes.saturating_add(size(&cell));
        if bytes > i32::MAX as usize {
            self.push(Cell::Null);
            return false;
        }
        self.bytes = bytes;
        match (&mut self.column, cell) {
            (Builder::Null(rows), _) => *rows += 1,
            (Builder::Bool(column), Cell::Bool(b)) => column.append_value(b),
            (Builder::Bool(column), _) => column.append_null(),
            (Builder::Int(column), Cell::Int(i)) => column.append_value(i),
            (Builder::Int(column), _) => column.append_null(),
            (Builder::Float(column), Cell::Float(x)) => column.append_value(x),
            (Builder::Float(column), _) => column.append_null(),
            (Builder::Text(column), Cell::Text(t)) => column.append_value(t),
            (Builder::Text(column), _) => column.append_null(),
            (Builder::Time(column), Cell::Time(t)) => column.append_value(t),
            (Builder::Time(column), _) => column.append_null(),
            (Builder::List(column), Cell::List(items)) => {
                for item in items {
                    match item {
                        Cell::Text(t) => column.values().append_value(t),
                        _ => column.values().append_null(),
                    }
                }
                column.append(true);
            }
            (Builder::List(column), _) => column.append(false),
        }
        true
    }

    /// The array.
    pub fn finish(self) -> ArrayRef {
        match self.column {
            Builder::Null(rows) => Arc::new(NullArray::new(rows)),
            Builder::Bool(mut column) => Arc::new(column.finish()),
            Builder::Int(mut column) => Arc::new(column.finish()),
            Builder::Float(mut column) => Arc::new(column.finish()),
            Builder::Text(mut column) => Arc::new(column.finish()),
            Builder::Time(mut column) => Arc::new(column.finish()),
            Builder::List(mut column) => Arc::new(column.finish()),
        }
    }
}

/// What a cell takes of what an array's offsets can say: bytes of text, or items of a list, whichever is
/// more.
fn size(cell: &Cell<'_>) -> usize {
    match cell {
        Cell::Text(t) => t.len(),
        Cell::List(items) => items.iter().map(|item| size(item).max(1)).sum(),
        _ => 0,
    }
}

/// The array, or as many NULLs of the type if it is an untyped one: what no rule reads is not decoded.
pub fn typed(array: &ArrayRef, kind: Type) -> ArrayRef {
    match array.data_type() {
        DataType::Null if kind != Type::Null => new_null_array(&arrow_type(kind), array.len()),
        _ => array.clone(),
    }
}
