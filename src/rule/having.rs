//! Judges what aggregates and keys say: a scalar evaluator over the same trees that `expr` compiles, and
//! held to it by a property test.
//!
//! It counts nothing: that a sum overflowed is the business of whoever summed.

use std::cmp::Ordering;

use super::expr::functions::{Cell, Total, apply, compares, floats, integers, seconds_between};
use super::expr::node::{Func, Learned, Node, Op};
use crate::event::{Scalar, Type, Value};

/// What the leaves of a judgement read.
pub trait Scope {
    /// Value of aggregate `i`.
    fn aggregate(&self, i: usize) -> Value;
    /// The same, if it is a scalar.
    fn scalar(&self, i: usize) -> Scalar {
        (&self.aggregate(i)).into()
    }
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
    if is_scalar(node) { scalar(node, scope).into() } else { general(node, scope) }
}

/// Whether a condition holds: true only if it is `TRUE`.
pub fn holds(node: &Node, scope: &dyn Scope) -> bool {
    evaluate_bool(node, scope) == Some(true)
}

fn evaluate_bool(node: &Node, scope: &dyn Scope) -> Option<bool> {
    match scalar(node, scope) {
        Scalar::Bool(b) => Some(b),
        _ => None,
    }
}

/// Whether values of its type are copied.
fn is_scalar(node: &Node) -> bool {
    !matches!(node.kind, Type::Text | Type::List)
}

/// The value of a tree whose type is that of scalars: what conditions mostly consist of, without a detour.
fn scalar(node: &Node, scope: &dyn Scope) -> Scalar {
    match (&node.op, node.args.as_slice()) {
        (Op::Const(value), _) => value.into(),
        (Op::Aggregate(i), _) => scope.scalar(*i),
        (Op::And, [left, right]) => logic(false, left, right, scope),
        (Op::Or, [left, right]) => logic(true, left, right, scope),
        (Op::Case, args) => chosen(args, scope).map_or(Scalar::Null, |value| scalar(value, scope)),
        (op, [a, b]) if is_comparison(op) && (is_wide(a, scope) || is_wide(b, scope)) => {
            compare_wide(op, wide(a, scope), wide(b, scope))
        }
        (op, [a, b]) if is_comparison(op) && is_scalar(a) && is_scalar(b) => {
            let order = compare(scalar(a, scope), scalar(b, scope));
            order.map_or(Scalar::Null, |order| Scalar::Bool(compares(op, order)))
        }
        (op @ (Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem), [a, b]) => {
            known(match (scalar(a, scope), scalar(b, scope)) {
                (Scalar::Int(a), Scalar::Int(b)) => integers(op, a, b).map(Scalar::Int),
                (Scalar::Float(a), Scalar::Float(b)) => floats(op, a, b).map(Scalar::Float),
                _ => Total::Null,
            })
        }
        (Op::Call(Func::SecondsBetween), [a, b]) => match (scalar(a, scope), scalar(b, scope)) {
            (Scalar::Time(a), Scalar::Time(b)) => known(seconds_between(a.0, b.0).map(Scalar::Float)),
            _ => Scalar::Null,
        },
        _ => (&general(node, scope)).into(),
    }
}

/// The value of any tree but those above.
fn general(node: &Node, scope: &dyn Scope) -> Value {
    match (&node.op, node.args.as_slice()) {
        (Op::Const(value), _) => plain(value.clone()),
        (Op::Aggregate(i), _) => plain(scope.aggregate(*i)),
        (Op::Input(c), _) => plain(scope.input(*c)),
        (Op::Learned(what), _) => plain(scope.learned(*what)),
        (Op::Case, args) => chosen(args, scope).map_or(Value::Null, |value| evaluate(value, scope)),
        (Op::Call(Func::Coalesce), args) => {
            let mut values = args.iter().map(|arg| evaluate(arg, scope));
            values.find(|value| *value != Value::Null).unwrap_or(Value::Null)
        }
        (_, [a]) => strict(node, &[evaluate(a, scope)].each_ref().map(Cell::from)),
        (_, [a, b]) => strict(node, &[evaluate(a, scope), evaluate(b, scope)].each_ref().map(Cell::from)),
        (_, args) => {
            let values: Vec<Value> = args.iter().map(|arg| evaluate(arg, scope)).collect();
            strict(node, &values.iter().map(Cell::from).collect::<Vec<_>>())
        }
    }
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

fn known(total: Total<Scalar>) -> Scalar {
    match total {
        Total::Value(scalar) => scalar,
        Total::Null | Total::Lost => Scalar::Null,
    }
}

/// `AND`, which FALSE decides, or `OR`, which TRUE decides.
fn logic(decisive: bool, left: &Node, right: &Node, scope: &dyn Scope) -> Scalar {
    let left = evaluate_bool(left, scope);
    if left == Some(decisive) {
        return Scalar::Bool(decisive);
    }
    match (left, evaluate_bool(right, scope)) {
        (_, Some(right)) if right == decisive => Scalar::Bool(right),
        (Some(_), Some(right)) => Scalar::Bool(right),
        _ => Scalar::Null,
    }
}

/// The value that a `CASE` chooses. Operands c1, v1, c2, v2, …, else-value.
fn chosen<'n>(args: &'n [Node], scope: &dyn Scope) -> Option<&'n Node> {
    args.chunks(2).find_map(|pair| match pair {
        [condition, value] => holds(condition, scope).then_some(value),
        [otherwise] => Some(otherwise),
        _ => None,
    })
}

fn is_comparison(op: &Op) -> bool {
    matches!(op, Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge)
}

fn compare(a: Scalar, b: Scalar) -> Option<Ordering> {
    match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) => Some(a.cmp(&b)),
        (Scalar::Float(a), Scalar::Float(b)) => a.partial_cmp(&b),
        (Scalar::Time(a), Scalar::Time(b)) => Some(a.cmp(&b)),
        (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(&b)),
        _ => None,
    }
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
fn compare_wide(op: &Op, left: Option<i128>, right: Option<i128>) -> Scalar {
    let (Some(left), Some(right)) = (left, right) else { return Scalar::Null };
    Scalar::Bool(compares(op, left.cmp(&right)))
}

#[cfg(test)]
mod tests;
