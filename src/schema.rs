//! What the fields of a stream are: one TOML file a stream, read from `schemas/`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, TimeUnit as ArrowUnit};

use crate::alert::EntityType;
use crate::event::{Micros, Type};

/// A stream: where it comes from, how its records are laid out, and what its fields mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// The stream's name: the file's name.
    pub name: Arc<str>,
    /// One line for people.
    pub doc: String,
    /// The Kafka topic, which a configuration may rename.
    pub topic: String,
    /// Index of the declared timestamp field that is the event time; none = broker time.
    pub time: Option<usize>,
    /// Index of the field that is the partition key; none = records are not partitioned by any field.
    pub key: Option<usize>,
    /// Path of the array that holds the events of one record, e.g. `Records`; empty = one record is one event.
    pub records: Vec<String>,
    /// Retransmissions are recognised by these fields (accepted; used by a later version).
    pub dedup: Option<Dedup>,
    /// Declared fields, in the order of the file.
    pub fields: Vec<Field>,
}

/// How retransmissions are recognised.
#[derive(Clone, Debug, PartialEq)]
pub struct Dedup {
    /// Indices of the fields that together name an event.
    pub by: Vec<usize>,
    /// For how long it is remembered.
    pub span: Micros,
}

/// One declared field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The column's name: `[a-z_][a-z0-9_]*`, readable by SQL without quotes.
    pub name: String,
    /// Where it stands in the event: member names, outermost first.
    pub path: Vec<String>,
    /// Its type.
    pub kind: FieldType,
    /// Its unit, e.g. `km/h`.
    pub unit: String,
    /// One line for people.
    pub doc: String,
    /// Applied to texts, in this order.
    pub normalize: Vec<Normalize>,
    /// What kind of entity it names.
    pub entity: Option<EntityType>,
    /// How sensitive it is.
    pub class: Class,
    /// A smaller number is NULL, counted. A field with `min = 0` is known to be non-negative.
    pub min: Option<f64>,
    /// The texts it can have, for hints (not enforced).
    pub values: Vec<String>,
}

/// The types of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// UTF-8 text.
    Text,
    /// 64-bit integer: a JSON number without fraction and exponent.
    Int,
    /// Double; also takes integers.
    Float,
    /// `true` or `false`.
    Bool,
    /// An instant.
    Time(TimeUnit),
    /// An IP address in canonical text.
    Ip,
    /// A list of texts.
    TextList,
    /// Any JSON, kept as its compact text.
    Json,
}

/// How an instant is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Number of seconds since 1970; a fraction is allowed.
    Seconds,
    /// Number of milliseconds.
    Millis,
    /// Number of microseconds.
    Micros,
    /// Number of nanoseconds.
    Nanos,
    /// RFC 3339 text.
    Rfc3339,
}

/// What is done to a text before anything else sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// White space at both ends goes.
    Trim,
    /// Upper case.
    Upper,
    /// Lower case.
    Lower,
}

/// How sensitive a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Not sensitive.
    None,
    /// Names a vehicle.
    Vin,
    /// Tells where somebody was.
    Location,
    /// Names a person.
    Person,
}

/// Columns that every stream has beside its declared fields, in this order after them.
pub const BUILT_IN: [(&str, Type); 4] = [
    ("event_time", Type::Time),
    ("broker_time", Type::Time),
    ("_time_skewed", Type::Bool),
    ("_bytes", Type::Int),
];

impl FieldType {
    /// The type that expressions see.
    pub fn logical(self) -> Type {
        match self {
            FieldType::Text | FieldType::Ip | FieldType::Json => Type::Text,
            FieldType::Int => Type::Int,
            FieldType::Float => Type::Float,
            FieldType::Bool => Type::Bool,
            FieldType::Time(_) => Type::Time,
            FieldType::TextList => Type::List,
        }
    }
}

/// The Arrow type of columns of a logical type.
pub fn arrow_type(kind: Type) -> DataType {
    match kind {
        Type::Null => DataType::Null,
        Type::Bool => DataType::Boolean,
        Type::Int => DataType::Int64,
        Type::Float => DataType::Float64,
        Type::Text => DataType::Utf8,
        Type::Time => DataType::Timestamp(ArrowUnit::Microsecond, None),
        Type::List => DataType::List(Arc::new(ArrowField::new("item", DataType::Utf8, true))),
    }
}

impl Schema {
    /// How many columns a batch of this stream has: declared fields and built-in ones.
    pub fn width(&self) -> usize {
        self.fields.len() + BUILT_IN.len()
    }

    /// Index, in a batch, of the column of that name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.fields
            .iter()
            .map(|field| field.name.as_str())
            .chain(BUILT_IN.iter().map(|(name, _)| *name))
            .position(|other| other == name)
    }

    /// Name of the column at an index; empty beyond the last.
    pub fn column_name(&self, column: usize) -> &str {
        match self.fields.get(column) {
            Some(field) => &field.name,
            None => BUILT_IN.get(column.wrapping_sub(self.fields.len())).map_or("", |(name, _)| name),
        }
    }

    /// Type of the column at an index.
    pub fn column_type(&self, column: usize) -> Type {
        match self.fields.get(column) {
            Some(field) => field.kind.logical(),
            None => {
                BUILT_IN.get(column.wrapping_sub(self.fields.len())).map_or(Type::Null, |(_, kind)| *kind)
            }
        }
    }
}
