//! Literals and casts.

use datafusion::sql::sqlparser::ast::{DataType, Expr, TypedString, Value as SqlValue};

use super::super::node::{Node, Op};
use super::a;
use super::convert::Converter;
use crate::event::{Timestamp, Type, Value};

impl Converter<'_, '_> {
    /// A literal; `negative` if a minus stands before it.
    pub fn literal(&mut self, expr: &Expr, value: &SqlValue, negative: bool) -> Option<Node> {
        match value {
            SqlValue::Number(digits, false) => self.number_literal(expr, digits, negative),
            SqlValue::SingleQuotedString(text) => Some(Node::constant(Value::text(text))),
            SqlValue::Boolean(value) => Some(Node::constant(Value::Bool(*value))),
            SqlValue::Null => Some(Node::constant(Value::Null)),
            _ => self.wrong(
                expr,
                "this kind of literal is not part of the rule language",
                "texts take single quotes",
            ),
        }
    }

    fn number_literal(&mut self, expr: &Expr, digits: &str, negative: bool) -> Option<Node> {
        let text = format!("{}{digits}", if negative { "-" } else { "" });
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse::<i64>() {
                Ok(int) => Some(Node::constant(Value::Int(int))),
                Err(_) => {
                    let hint = format!("integers reach {}; {text}.0 is a float", i64::MAX);
                    self.wrong(expr, format!("{text} does not fit 64 bits"), hint)
                }
            };
        }
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() => Some(Node::constant(Value::float(float))),
            _ => {
                self.wrong(expr, format!("{text} is not a number that a double can hold"), "at most 1.7e308")
            }
        }
    }

    /// `TIMESTAMP '2026-01-01T00:00:00Z'`.
    pub fn typed_literal(&mut self, expr: &Expr, typed: &TypedString) -> Option<Node> {
        match (&typed.data_type, &typed.value.value) {
            (DataType::Timestamp(None, _), SqlValue::SingleQuotedString(text)) => {
                match Timestamp::parse_rfc3339(text) {
                    Some(time) => Some(Node::constant(Value::Time(time))),
                    None => self.not_a_time(expr, text),
                }
            }
            _ => self.wrong(
                expr,
                "this kind of literal is not part of the rule language",
                "a time is written as text: `event_time > '2026-01-01T00:00:00Z'`",
            ),
        }
    }

    /// Says that a text is no instant.
    pub fn not_a_time<T>(&mut self, expr: &Expr, text: &str) -> Option<T> {
        let hint = "times are RFC 3339 with a zone: '2026-01-31T06:00:00Z'";
        self.wrong(expr, format!("'{text}' is not a time"), hint)
    }

    /// `-x`: the sign of a literal is part of it.
    pub fn minus(&mut self, _expr: &Expr, inner: &Expr) -> Option<Node> {
        if let Expr::Value(value) = inner
            && matches!(value.value, SqlValue::Number(..))
        {
            return self.literal(inner, &value.value, true);
        }
        let node = self.number(inner)?;
        let kind = node.kind;
        match node.as_const() {
            Some(Value::Int(int)) if *int != i64::MIN => Some(Node::constant(Value::Int(-int))),
            Some(Value::Float(float)) => Some(Node::constant(Value::float(-float))),
            _ => Some(Node { op: Op::Neg, args: vec![node], kind }),
        }
    }

    /// `TRY_CAST(x AS type)`, `CAST`, `x::type`.
    pub fn cast(&mut self, expr: &Expr, inner: &Expr, target: &DataType) -> Option<Node> {
        let node = self.node(inner);
        let Some(kind) = cast_target(target) else {
            let hint = "types are BIGINT, DOUBLE, VARCHAR, BOOLEAN and TIMESTAMP";
            return self.wrong(expr, format!("there is no cast to {target}"), hint);
        };
        let node = node?;
        if node.kind == kind {
            return Some(node);
        }
        let allowed = match node.kind {
            Type::Null | Type::Text => true,
            Type::Int | Type::Float => matches!(kind, Type::Int | Type::Float | Type::Text),
            Type::Bool | Type::Time => kind == Type::Text,
            Type::List => false,
        };
        if !allowed {
            let message = format!("{} cannot be cast to {}", a(node.kind), kind.name());
            let hint = match node.kind {
                Type::Time => "`seconds_between(a, b)` gives a number",
                Type::Bool => "`CASE WHEN x THEN 1 ELSE 0 END`",
                Type::List => "`array_has(list, text)` and `cardinality(list)` read lists",
                _ => "compare the number: `x <> 0`, or go through text",
            };
            return self.wrong(expr, message, hint);
        }
        Some(match node.kind {
            Type::Null => Node { kind, ..node },
            _ => Node { op: Op::Cast, args: vec![node], kind },
        })
    }
}

fn cast_target(target: &DataType) -> Option<Type> {
    Some(match target {
        DataType::BigInt(_) | DataType::Int(_) | DataType::Integer(_) | DataType::Int64 => Type::Int,
        DataType::Double(_) | DataType::DoublePrecision | DataType::Float(_) | DataType::Float64 => {
            Type::Float
        }
        DataType::Varchar(None) | DataType::Text | DataType::String(None) => Type::Text,
        DataType::Boolean | DataType::Bool => Type::Bool,
        DataType::Timestamp(None, _) => Type::Time,
        _ => return None,
    })
}
