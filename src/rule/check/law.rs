//! When a condition over a window is judged, and which counts are kept exactly.
//!
//! Goes by the condition as it was written: what becomes true only as a window fills ("upward"), what can
//! only become false ("downward"), and all else, which is neither.

use super::build::Draft;
use crate::event::{Type, Value};
use crate::rule::expr::node::{Func, Learned, Node, Op};
use crate::rule::expr::parse::conjuncts;
use crate::rule::file::Text;
use crate::rule::{AggFunc, Aggregate, Ring};
use crate::schema::Schema;

/// The largest constant that an exact count is compared with.
const EXACT_LIMIT: i64 = 1024;

/// How a condition changes while rows are added to its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trend {
    /// Once true it stays true.
    Up,
    /// Once false it stays false.
    Down,
    Neither,
}

impl Trend {
    fn turned(self) -> Trend {
        match self {
            Trend::Up => Trend::Down,
            Trend::Down => Trend::Up,
            Trend::Neither => Trend::Neither,
        }
    }
}

/// Whether a rule is judged on each event: some conjunct is upward, none is downward.
pub fn fires_on_event(draft: &Draft<'_>, having: &Node) -> bool {
    let trends: Vec<Trend> = conjuncts(having).iter().map(|part| trend(draft, part)).collect();
    trends.contains(&Trend::Up) && !trends.contains(&Trend::Down)
}

fn trend(draft: &Draft<'_>, node: &Node) -> Trend {
    match (&node.op, &node.args[..]) {
        (Op::Not, [inner]) => trend(draft, inner).turned(),
        (Op::And | Op::Or, [left, right]) => match (trend(draft, left), trend(draft, right)) {
            (left, right) if left == right => left,
            _ => Trend::Neither,
        },
        (Op::Ge | Op::Gt, [left, right]) if right.as_const().is_some() => growth(draft, left),
        (Op::Le | Op::Lt, [left, right]) if right.as_const().is_some() => growth(draft, left).turned(),
        _ => Trend::Neither,
    }
}

/// `Up` of what only grows as rows are added, `Down` of what only shrinks.
fn growth(draft: &Draft<'_>, node: &Node) -> Trend {
    if is_learned(node) {
        return Trend::Up;
    }
    let Some(call) = aggregate_of(node).and_then(|index| draft.scope.aggregates.get(index)) else {
        return Trend::Neither;
    };
    match call.func {
        AggFunc::Count | AggFunc::CountDistinct | AggFunc::Max => Trend::Up,
        AggFunc::Sum if call.arg.as_ref().is_some_and(|arg| is_non_negative(draft.schema, arg)) => Trend::Up,
        AggFunc::Min => Trend::Down,
        _ => Trend::Neither,
    }
}

/// The value of a rule with a learned normal, or how odd it is: asked only where the value itself grows.
fn is_learned(node: &Node) -> bool {
    match (&node.op, &node.args[..]) {
        (Op::Learned(what), _) => matches!(what, Learned::Value | Learned::Score),
        (Op::Cast, [inner]) => is_learned(inner),
        _ => false,
    }
}

/// The aggregate that a node is, seen through the cast that makes an int fit a float.
fn aggregate_of(node: &Node) -> Option<usize> {
    match (&node.op, &node.args[..]) {
        (Op::Aggregate(index), _) => Some(*index),
        (Op::Cast, [inner]) if inner.kind == Type::Int && node.kind == Type::Float => aggregate_of(inner),
        _ => None,
    }
}

/// Whether a value per event is never below zero, as far as its form and the schema say.
fn is_non_negative(schema: &Schema, node: &Node) -> bool {
    let all = || node.args.iter().all(|arg| is_non_negative(schema, arg));
    match &node.op {
        Op::Const(Value::Int(int)) => *int >= 0,
        Op::Const(Value::Float(float)) => *float >= 0.0,
        Op::Column(column) => match schema.fields.get(*column) {
            Some(field) => field.min.is_some_and(|min| min >= 0.0),
            None => schema.column_name(*column) == "_bytes",
        },
        Op::Add | Op::Mul | Op::Cast => all(),
        Op::Call(Func::Abs | Func::Length | Func::Cardinality) => true,
        _ => false,
    }
}

/// Whether a value only grows while rows are added to its window.
pub fn grows(draft: &Draft<'_>, value: &Node) -> bool {
    growth(draft, value) == Trend::Up
}

/// Whether some conjunct can only become false while rows are added.
pub fn has_downward(draft: &Draft<'_>, having: &Node) -> bool {
    conjuncts(having).iter().any(|part| trend(draft, part) == Trend::Down)
}

/// The aggregates of a rule, and the rings of those counts that are kept exactly.
pub fn aggregates(
    draft: &mut Draft<'_>,
    text: &Text,
    having: &Node,
    whens: &[&Node],
    may_ring: bool,
) -> (Vec<Aggregate>, Vec<Ring>) {
    let (mut aggregates, mut rings) = (Vec::new(), Vec::new());
    for (index, call) in draft.scope.aggregates.clone().into_iter().enumerate() {
        let arg_type = call.arg.as_ref().map_or(Type::Null, |arg| arg.kind);
        let arg = call.arg.map(|node| draft.value(node));
        let filter = call.filter.map(|node| draft.step(node, text.span.clone()));
        let exact = may_ring && call.func == AggFunc::Count;
        let ring = exact.then(|| exact_limit(index, having, whens)).flatten().map(|n| {
            rings.push(Ring { filter, n });
            rings.len() - 1
        });
        aggregates.push(Aggregate { func: call.func, arg, arg_type, filter, ring });
    }
    (aggregates, rings)
}

/// The largest number that a count must reach, if all its uses compare it upward with constants of at most
/// 1024.
fn exact_limit(index: usize, having: &Node, whens: &[&Node]) -> Option<u32> {
    let mut limit = None;
    for node in std::iter::once(having).chain(whens.iter().copied()) {
        if !collect_limit(index, node, &mut limit) {
            return None;
        }
    }
    limit.and_then(|n: i64| u32::try_from(n.max(1)).ok())
}

/// Whether every use below a node is such a comparison; `limit` takes the largest.
fn collect_limit(index: usize, node: &Node, limit: &mut Option<i64>) -> bool {
    if let (Op::Ge | Op::Gt, [left, right]) = (&node.op, &node.args[..])
        && aggregate_of(left) == Some(index)
    {
        return match reach(&node.op, right) {
            Some(n) => {
                *limit = (*limit).max(Some(n));
                true
            }
            None => false,
        };
    }
    if node.op == Op::Aggregate(index) {
        return false;
    }
    node.args.iter().all(|arg| collect_limit(index, arg, limit))
}

/// What a count must reach so that it is `>=` or `>` a constant of at most 1024.
fn reach(op: &Op, constant: &Node) -> Option<i64> {
    let (floor, fraction) = match constant.as_const()? {
        Value::Int(int) => (*int, false),
        Value::Float(float) if float.abs() <= EXACT_LIMIT as f64 => {
            (float.floor() as i64, float.fract() != 0.0)
        }
        _ => return None,
    };
    let fits = floor < EXACT_LIMIT || (floor == EXACT_LIMIT && !fraction);
    fits.then(|| if *op == Op::Gt || fraction { floor.saturating_add(1) } else { floor })
}

/// Warns of comparisons of counts that are always or never true.
pub fn warn_of_nonsense(draft: &mut Draft<'_>, text: &Text, having: &Node) {
    for part in conjuncts(having) {
        let [left, right] = &part.args[..] else { continue };
        let Some(call) = aggregate_of(left).and_then(|index| draft.scope.aggregates.get(index)) else {
            continue;
        };
        let counts = matches!(call.func, AggFunc::Count | AggFunc::CountDistinct);
        let all_rows = call.func == AggFunc::Count && call.filter.is_none();
        let Some(Value::Int(n)) = right.as_const() else { continue };
        let (always, never) = match part.op {
            Op::Ge => (*n <= 0, false),
            Op::Gt => (*n < 0, false),
            Op::Lt => (false, *n <= i64::from(all_rows)),
            Op::Le => (false, *n < i64::from(all_rows)),
            Op::Eq => (false, *n < i64::from(all_rows)),
            _ => (false, false),
        };
        if counts && always {
            let message = "a count is never below 0: this comparison is always true";
            draft.reader().warning(text.span.clone(), message, "compare it with 1 or more");
        } else if counts && never {
            let message = "this comparison is never true: a window without events is not judged";
            let hint = "silence is the kind [absence], which is not built yet";
            draft.reader().warning(text.span.clone(), message, hint);
        }
    }
}
