//! Judges what aggregates and keys say: a scalar evaluator over the same trees that `expr` compiles, and held to it by a
//! property test.

use super::expr::node::Node;
use crate::event::Value;

/// What the leaves of a judgement read.
pub trait Scope {
    /// Value of aggregate `i`.
    fn aggregate(&self, i: usize) -> Value;
    /// Value of column `c` of `Picked::values`.
    fn input(&self, c: usize) -> Value;
}

/// The value of a tree; NULL where anything cannot be computed.
pub fn evaluate(_node: &Node, _scope: &dyn Scope) -> Value {
    Value::Null
}

/// Whether a condition holds: true only if it is `TRUE`.
pub fn holds(node: &Node, scope: &dyn Scope) -> bool {
    evaluate(node, scope) == Value::Bool(true)
}
