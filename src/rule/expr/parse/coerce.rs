//! Making operands one type.

use datafusion::sql::sqlparser::ast::Expr;

use super::super::node::{Node, Op};
use super::a;
use super::convert::{Converter, constant_text};
use crate::event::{Timestamp, Type, Value};

/// Integers up to this size are exact as doubles.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Converter<'_, '_> {
    /// Makes operands one type, or says which two do not fit. `exprs` are what the nodes were written as.
    pub fn fit(&mut self, nodes: Vec<Node>, exprs: &[&Expr]) -> Option<Vec<Node>> {
        let target = common(&nodes);
        let mut fitted = Vec::with_capacity(nodes.len());
        let mut whole = true;
        for (index, node) in nodes.iter().enumerate() {
            match convert(node, target) {
                Ok(node) => fitted.push(node),
                Err(Misfit::Time(text)) => {
                    whole = false;
                    if let Some(expr) = exprs.get(index) {
                        self.not_a_time::<()>(expr, &text);
                    }
                }
                Err(Misfit::Type) => {
                    whole = false;
                    self.mismatch(&nodes, exprs, index, target);
                }
            }
        }
        whole.then_some(fitted)
    }

    /// Says that operand `index` has not the type of the others.
    fn mismatch(&mut self, nodes: &[Node], exprs: &[&Expr], index: usize, target: Type) {
        let (Some(node), Some(expr)) = (nodes.get(index), exprs.get(index)) else { return };
        let other = nodes.iter().zip(exprs).find(|(other, _)| other.kind == target);
        let beside = other.map_or(String::new(), |(_, expr)| self.written(expr));
        let written = self.written(expr);
        let hint = hint(node, &written, other.map(|(node, _)| node), &beside);
        let message = format!("\"{written}\" is {}, but \"{beside}\" is {}", a(node.kind), a(target));
        self.wrong::<()>(expr, message, hint);
    }
}

/// How to make a pair fit.
fn hint(node: &Node, written: &str, other: Option<&Node>, beside: &str) -> String {
    let target = other.map_or(Type::Null, |other| other.kind);
    let is_constant = node.as_const().is_some();
    match (node.kind, target) {
        (Type::Int | Type::Float, Type::Text) if is_constant => {
            format!("quote it: '{written}', or convert: `TRY_CAST({beside} AS BIGINT)`")
        }
        (Type::Text, Type::Int | Type::Float) if is_constant => "write the number without quotes".into(),
        (Type::Text, Type::Int) => format!("convert it: `TRY_CAST({written} AS BIGINT)`"),
        (Type::Text, Type::Float) => format!("convert it: `TRY_CAST({written} AS DOUBLE)`"),
        (Type::Text, Type::Bool) => format!("a boolean stands alone: `{beside}`, or `NOT {beside}`"),
        (_, Type::Bool) => format!("a boolean stands alone: `{beside}`, or `NOT {beside}`"),
        (Type::Bool, _) => format!("a boolean stands alone: `{written}`, or `NOT {written}`"),
        (_, Type::List) => format!("ask for an element: `array_has({beside}, 'text')`"),
        (Type::List, _) => format!("ask for an element: `array_has({written}, 'text')`"),
        (_, Type::Time) => "times are text in RFC 3339: '2026-01-31T06:00:00Z'".into(),
        (Type::Time, _) => "time between two instants is `seconds_between(a, b)`".into(),
        _ => format!("convert one: `TRY_CAST({written} AS VARCHAR)`"),
    }
}

/// The type that operands should have: that of the first column or computed value; float beats int.
fn common(nodes: &[Node]) -> Type {
    let open = |node: &&Node| node.as_const().is_none() && node.kind != Type::Null;
    let first = nodes.iter().find(open).or_else(|| nodes.iter().find(|node| node.kind != Type::Null));
    let mut target = first.map_or(Type::Null, |node| node.kind);
    if matches!(target, Type::Int) {
        let floats = |node: &Node| match node.as_const() {
            Some(Value::Float(x)) => !is_integral(*x) || nodes.iter().all(|node| node.as_const().is_some()),
            Some(_) => false,
            None => node.kind == Type::Float,
        };
        if nodes.iter().any(floats) {
            target = Type::Float;
        }
    }
    let texts_and_time = |node: &Node| node.kind == Type::Time;
    if target == Type::Text && nodes.iter().filter(open).count() == 0 && nodes.iter().any(texts_and_time) {
        target = Type::Time;
    }
    target
}

fn is_integral(x: f64) -> bool {
    x.fract() == 0.0 && x.abs() <= EXACT
}

enum Misfit {
    Type,
    Time(String),
}

fn convert(node: &Node, target: Type) -> Result<Node, Misfit> {
    if node.kind == target {
        return Ok(node.clone());
    }
    match (node.as_const(), node.kind, target) {
        (_, Type::Null, _) => Ok(Node { kind: target, ..node.clone() }),
        (Some(Value::Int(int)), _, Type::Float) => Ok(Node::constant(Value::float(*int as f64))),
        (Some(Value::Float(x)), _, Type::Int) if is_integral(*x) => Ok(Node::constant(Value::Int(*x as i64))),
        (_, Type::Int, Type::Float) => Ok(cast(node.clone(), Type::Float)),
        (Some(_), Type::Text, Type::Time) => {
            let text = constant_text(node).unwrap_or("");
            let time = Timestamp::parse_rfc3339(text).ok_or_else(|| Misfit::Time(text.into()))?;
            Ok(Node::constant(Value::Time(time)))
        }
        _ => Err(Misfit::Type),
    }
}

/// A number as a float.
pub fn as_float(node: Node) -> Node {
    convert(&node, Type::Float).unwrap_or(node)
}

fn cast(node: Node, kind: Type) -> Node {
    Node { op: Op::Cast, args: vec![node], kind }
}
