//! One value outside a column: what a key, a constant, an aggregate or an observation is made of.

use std::sync::Arc;

use super::Timestamp;

/// The types of the expression language. An `ip` and raw JSON are text here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Only `NULL` itself.
    Null,
    /// True or false.
    Bool,
    /// 64-bit signed integer.
    Int,
    /// Double, always finite, never -0.
    Float,
    /// UTF-8 text.
    Text,
    /// Instant in microseconds.
    Time,
    /// List of texts.
    List,
}

impl Type {
    /// The word that messages and schemas use.
    pub fn name(self) -> &'static str {
        match self {
            Type::Null => "null",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Float => "float",
            Type::Text => "string",
            Type::Time => "timestamp",
            Type::List => "list of strings",
        }
    }
}

/// A single value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing known.
    Null,
    /// True or false.
    Bool(bool),
    /// 64-bit signed integer.
    Int(i64),
    /// Double, finite, never -0.
    Float(f64),
    /// UTF-8 text.
    Text(Arc<str>),
    /// Instant.
    Time(Timestamp),
    /// List of values.
    List(Vec<Value>),
}

/// A value that is copied: what conditions mostly compute with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// Nothing known.
    Null,
    /// True or false.
    Bool(bool),
    /// 64-bit signed integer.
    Int(i64),
    /// Double, finite, never -0.
    Float(f64),
    /// Instant.
    Time(Timestamp),
}

impl Scalar {
    /// A float made safe: NULL if it is not finite, +0 for -0.
    pub fn float(x: f64) -> Scalar {
        if x.is_finite() { Scalar::Float(x + 0.0) } else { Scalar::Null }
    }
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Value {
        match scalar {
            Scalar::Null => Value::Null,
            Scalar::Bool(b) => Value::Bool(b),
            Scalar::Int(i) => Value::Int(i),
            Scalar::Float(x) => Value::Float(x),
            Scalar::Time(t) => Value::Time(t),
        }
    }
}

/// NULL for what is no scalar.
impl From<&Value> for Scalar {
    fn from(value: &Value) -> Scalar {
        match value {
            Value::Bool(b) => Scalar::Bool(*b),
            Value::Int(i) => Scalar::Int(*i),
            Value::Float(x) => Scalar::float(*x),
            Value::Time(t) => Scalar::Time(*t),
            Value::Null | Value::Text(_) | Value::List(_) => Scalar::Null,
        }
    }
}

impl Value {
    /// The type of this value.
    pub fn kind(&self) -> Type {
        match self {
            Value::Null => Type::Null,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Float(_) => Type::Float,
            Value::Text(_) => Type::Text,
            Value::Time(_) => Type::Time,
            Value::List(_) => Type::List,
        }
    }

    /// A text value.
    pub fn text(text: impl AsRef<str>) -> Value {
        Value::Text(Arc::from(text.as_ref()))
    }

    /// A float made safe: NULL if it is not finite, +0 for -0.
    pub fn float(x: f64) -> Value {
        if x.is_finite() { Value::Float(x + 0.0) } else { Value::Null }
    }

    /// As JSON, times as RFC 3339 text.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(i) => (*i).into(),
            Value::Float(x) => serde_json::Number::from_f64(*x).map_or(serde_json::Value::Null, Into::into),
            Value::Text(t) => (&**t).into(),
            Value::Time(t) => t.rfc3339().into(),
            Value::List(items) => items.iter().map(Value::json).collect(),
        }
    }
}
