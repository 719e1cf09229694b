//! Judges what aggregates and keys say: a scalar evaluator over the same trees that `expr` compiles, and
//! held to it by a property test.
//!
//! It counts nothing: that a sum overflowed is the business of whoever summed.

use super::expr::functions::{Cell, Total, apply};
use super::expr::node::{Func, Learned, Node, Op};
use crate::event::Value;

/// What the leaves of a judgement read.
pub trait Scope {
    /// Value of aggregate `i`.
    fn aggregate(&self, i: usize) -> Value;
    /// Value of column `c` of `Picked::values`.
    fn input(&self, c: usize) -> Value;
    /// Aggregate `i`, if it is a sum that does not fit 64 bits: comparisons see all of it.
    fn wide_sum(&self, _i: usize) -> Option<i128> {
        None
    }
    /// What a learned normal says.
    fn learned(&self, _what: Learned) -> Value {
        Value::Null
    }
}

/// The value of a tree; NULL where anything cannot be computed.
pub fn evaluate(node: &Node, scope: &dyn Scope) -> Value {
    match (&node.op, node.args.as_slice()) {
        (Op::Const(value), _) => plain(value.clone()),
        (Op::Aggregate(i), _) => plain(scope.aggregate(*i)),
        (Op::Input(c), _) => plain(scope.input(*c)),
        (Op::Learned(what), _) => plain(scope.learned(*what)),
        (Op::And, [left, right]) => logic(false, left, right, scope),
        (Op::Or, [left, right]) => logic(true, left, right, scope),
        (Op::Case, args) => case(args, scope),
        (Op::Call(Func::Coalesce), args) => {
            let mut values = args.iter().map(|arg| evaluate(arg, scope));
            values.find(|value| *value != Value::Null).unwrap_or(Value::Null)
        }
        (op, [a, b]) if is_comparison(op) && (is_wide(a, scope) || is_wide(b, scope)) => {
            compare_wide(op, wide(a, scope), wide(b, scope))
        }
        (_, [a]) => strict(node, &[evaluate(a, scope)].each_ref().map(Cell::from)),
        (_, [a, b]) => strict(node, &[evaluate(a, scope), evaluate(b, scope)].each_ref().map(Cell::from)),
        (_, args) => {
            let values: Vec<Value> = args.iter().map(|arg| evaluate(arg, scope)).collect();
            strict(node, &values.iter().map(Cell::from).collect::<Vec<_>>())
        }
    }
}

fn is_comparison(op: &Op) -> bool {
    matches!(op, Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge)
}

fn is_wide(node: &Node, scope: &dyn Scope) -> bool {
    matches!(node.op, Op::Aggregate(i) if scope.wide_sum(i).is_some())
}

fn wide(node: &Node, scope: &dyn Scope) -> Option<i128> {
    if let Op::Aggregate(i) = node.op
        && let Some(sum) = scope.wide_sum(i)
    {
        return Some(sum);
    }
    match evaluate(node, scope) {
        Value::Int(value) => Some(value.into()),
        _ => None,
    }
}

/// A sum in 128 bits beside an int.
fn compare_wide(op: &Op, left: Option<i128>, right: Option<i128>) -> Value {
    let (Some(left), Some(right)) = (left, right) else { return Value::Null };
    Value::Bool(match op {
        Op::Eq => left == right,
        Op::Ne => left != right,
        Op::Lt => left < right,
        Op::Le => left <= right,
        Op::Gt => left > right,
        _ => left >= right,
    })
}

/// Whether a condition holds: true only if it is `TRUE`.
pub fn holds(node: &Node, scope: &dyn Scope) -> bool {
    evaluate(node, scope) == Value::Bool(true)
}

/// -0 is 0 wherever it comes from, and what is not finite is NULL.
fn plain(value: Value) -> Value {
    match value {
        Value::Float(x) => Value::float(x),
        value => value,
    }
}

/// Every operand is needed.
fn strict(node: &Node, cells: &[Cell<'_>]) -> Value {
    match apply(&node.op, None, node.kind, cells) {
        Total::Value(cell) => cell.into(),
        Total::Null | Total::Lost => Value::Null,
    }
}

/// `AND`, which FALSE decides, or `OR`, which TRUE decides.
fn logic(decisive: bool, left: &Node, right: &Node, scope: &dyn Scope) -> Value {
    let left = evaluate(left, scope);
    if left == Value::Bool(decisive) {
        return left;
    }
    match (left, evaluate(right, scope)) {
        (_, right) if right == Value::Bool(decisive) => right,
        (Value::Bool(_), Value::Bool(right)) => Value::Bool(right),
        _ => Value::Null,
    }
}

/// Operands c1, v1, c2, v2, …, else-value.
fn case(args: &[Node], scope: &dyn Scope) -> Value {
    args.chunks(2)
        .find_map(|pair| match pair {
            [condition, value] => holds(condition, scope).then(|| evaluate(value, scope)),
            [otherwise] => Some(evaluate(otherwise, scope)),
            _ => None,
        })
        .unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests;
