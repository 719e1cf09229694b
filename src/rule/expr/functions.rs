//! Our own kernels: arithmetic and functions that give a value or NULL, never an error.
//!
//! [`apply`] says what an operation does to one row. `kernel` runs it over columns and `rule/having` over
//! single values, so both agree. What depends on which operand decides (`AND`, `OR`, `CASE`, and `coalesce`
//! over columns) is not here: its operands are evaluated one after the other by those who hold them.

pub mod arrays;
pub mod json;
pub mod kernel;
pub mod like;

use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::IpAddr;

use regex::{Regex, RegexBuilder};

use super::node::{Func, Node, Op};
use crate::event::{Timestamp, Type, Value};
use like::Like;

/// How large a compiled regular expression may be, in bytes. Too small: honest patterns are refused; too
/// big: one rule eats memory and cache.
pub const REGEX_BYTES: usize = 1 << 20;

/// What cannot fail gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Total<T> {
    /// A value.
    Value(T),
    /// NULL, as the language has it.
    Null,
    /// NULL because arithmetic overflowed or an input could not be read: counted.
    Lost,
}

impl<T> Total<T> {
    /// A value, or a NULL that is counted.
    pub fn or_lost(value: Option<T>) -> Total<T> {
        value.map_or(Total::Lost, Total::Value)
    }

    /// A value, or a NULL that is not counted.
    pub fn or_null(value: Option<T>) -> Total<T> {
        value.map_or(Total::Null, Total::Value)
    }

    /// The same with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Total<U> {
        match self {
            Total::Value(value) => Total::Value(f(value)),
            Total::Null => Total::Null,
            Total::Lost => Total::Lost,
        }
    }
}

/// One value of one row, borrowed from wherever it lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Nothing known.
    Null,
    /// True or false.
    Bool(bool),
    /// 64-bit signed integer.
    Int(i64),
    /// Double.
    Float(f64),
    /// UTF-8 text.
    Text(Cow<'a, str>),
    /// Microseconds since 1970.
    Time(i64),
    /// List of values.
    List(Vec<Cell<'a>>),
}

impl<'a> From<&'a Value> for Cell<'a> {
    fn from(value: &'a Value) -> Cell<'a> {
        match value {
            Value::Null => Cell::Null,
            Value::Bool(b) => Cell::Bool(*b),
            Value::Int(i) => Cell::Int(*i),
            Value::Float(x) => Cell::Float(*x + 0.0),
            Value::Text(t) => Cell::Text(Cow::Borrowed(t)),
            Value::Time(t) => Cell::Time(t.0),
            Value::List(items) => Cell::List(items.iter().map(Cell::from).collect()),
        }
    }
}

impl From<Cell<'_>> for Value {
    fn from(cell: Cell<'_>) -> Value {
        match cell {
            Cell::Null => Value::Null,
            Cell::Bool(b) => Value::Bool(b),
            Cell::Int(i) => Value::Int(i),
            Cell::Float(x) => Value::float(x),
            Cell::Text(t) => Value::text(t),
            Cell::Time(t) => Value::Time(Timestamp(t)),
            Cell::List(items) => Value::List(items.into_iter().map(Value::from).collect()),
        }
    }
}

/// What an operation keeps compiled.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Of `LIKE`.
    Like(Like),
    /// Of `regexp_like`.
    Regexp(Regex),
}

impl Pattern {
    /// The pattern of an operation, if it has one. An error is a regular expression that is none, or too
    /// large.
    pub fn of(op: &Op) -> Result<Option<Pattern>, String> {
        match op {
            Op::Like(pattern) => Ok(Some(Pattern::Like(Like::new(pattern)))),
            Op::Call(Func::RegexpLike(pattern)) => regexp(pattern).map(Pattern::Regexp).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether a text matches.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Like(like) => like.matches(text),
            Pattern::Regexp(regexp) => regexp.is_match(text),
        }
    }
}

/// Compiles a regular expression; an error is a pattern that is none, or too large.
pub fn regexp(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES).build().map_err(|problem| problem.to_string())
}

/// Whether an operation costs much more than a comparison, so that it pays to spare it rows.
pub fn is_costly(node: &Node) -> bool {
    let mut costly = false;
    node.walk(&mut |part| {
        costly |= match &part.op {
            Op::Like(_) | Op::Concat => true,
            Op::Cast => {
                [part.kind, part.args.first().map_or(Type::Null, |arg| arg.kind)].contains(&Type::Text)
            }
            Op::Call(func) => !matches!(
                func,
                Func::Abs | Func::Floor | Func::Ceil | Func::Round | Func::Coalesce | Func::SecondsBetween
            ),
            _ => false,
        }
    });
    costly
}

/// What an operation makes of one row's operands; `kind` is the type of its result. `pattern` is
/// [`Pattern::of`] the operation; without it, it is made here.
pub fn apply<'a>(op: &Op, pattern: Option<&Pattern>, kind: Type, args: &[Cell<'a>]) -> Total<Cell<'a>> {
    match (op, args) {
        (Op::IsNull, [x]) => truth(*x == Cell::Null),
        (Op::IsTrue, [x]) => truth(*x == Cell::Bool(true)),
        (Op::Same, [a, b]) => truth(a == b),
        (Op::Between, [x, low, high]) => {
            kleene(false, compare(&Op::Ge, x, low), || compare(&Op::Le, x, high))
        }
        (Op::In, [x, list @ ..]) => is_in(x, list),
        (Op::Call(Func::Coalesce), _) => Total::or_null(args.iter().find(|arg| **arg != Cell::Null).cloned()),
        (Op::Call(Func::Lookup(question)), _) => question.answer(args),
        _ if args.contains(&Cell::Null) => Total::Null,
        (Op::Not, [Cell::Bool(b)]) => truth(!b),
        (Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge, [a, b]) => compare(op, a, b),
        (Op::Like(_) | Op::Call(Func::RegexpLike(_)), [Cell::Text(text)]) => {
            Total::or_null(matches(op, pattern, text)).map(Cell::Bool)
        }
        (Op::Concat, [Cell::Text(a), Cell::Text(b)]) => text(Cow::Owned([&**a, &**b].concat())),
        (Op::Cast, [x]) => Total::or_null(cast(x, kind)),
        (Op::Call(func), _) => call(func, args),
        (_, [Cell::Int(a), Cell::Int(b)]) => integers(op, *a, *b).map(Cell::Int),
        (_, [Cell::Float(a), Cell::Float(b)]) => floats(op, *a, *b).map(Cell::Float),
        (Op::Neg, [Cell::Int(a)]) => Total::or_lost(a.checked_neg()).map(Cell::Int),
        (Op::Neg, [Cell::Float(a)]) => finite(-a).map(Cell::Float),
        _ => Total::Null,
    }
}

fn truth<'a>(value: bool) -> Total<Cell<'a>> {
    Total::Value(Cell::Bool(value))
}

fn text(value: Cow<'_, str>) -> Total<Cell<'_>> {
    Total::Value(Cell::Text(value))
}

/// `AND` (decided by FALSE) or `OR` (decided by TRUE) of two truth values; the second is asked for only if
/// the first does not decide.
pub fn kleene<'a>(
    decisive: bool,
    left: Total<Cell<'a>>,
    right: impl FnOnce() -> Total<Cell<'a>>,
) -> Total<Cell<'a>> {
    match left {
        Total::Value(Cell::Bool(b)) if b == decisive => truth(decisive),
        Total::Value(Cell::Bool(_)) => right(),
        _ => match right() {
            Total::Value(Cell::Bool(b)) if b == decisive => truth(decisive),
            _ => Total::Null,
        },
    }
}

fn compare<'a>(op: &Op, a: &Cell<'_>, b: &Cell<'_>) -> Total<Cell<'a>> {
    let order = match (a, b) {
        (Cell::Bool(a), Cell::Bool(b)) => Some(a.cmp(b)),
        (Cell::Int(a), Cell::Int(b)) | (Cell::Time(a), Cell::Time(b)) => Some(a.cmp(b)),
        (Cell::Float(a), Cell::Float(b)) => a.partial_cmp(b),
        (Cell::Text(a), Cell::Text(b)) => Some(a.cmp(b)),
        // Lists have no order, but can be equal.
        (Cell::List(a), Cell::List(b)) => {
            return match op {
                Op::Eq => truth(a == b),
                Op::Ne => truth(a != b),
                _ => Total::Null,
            };
        }
        _ => None,
    };
    Total::or_null(order.map(|order| compares(op, order))).map(Cell::Bool)
}

/// Whether a comparison holds of operands that stand in this order.
pub fn compares(op: &Op, order: Ordering) -> bool {
    match op {
        Op::Eq => order.is_eq(),
        Op::Ne => order.is_ne(),
        Op::Lt => order.is_lt(),
        Op::Le => order.is_le(),
        Op::Gt => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn is_in<'a>(x: &Cell<'_>, list: &[Cell<'_>]) -> Total<Cell<'a>> {
    if *x == Cell::Null {
        Total::Null
    } else if list.contains(x) {
        truth(true)
    } else if list.contains(&Cell::Null) {
        Total::Null
    } else {
        truth(false)
    }
}

thread_local! {
    /// Regular expressions of judgements: there are as many as rules have, and each is compiled once a
    /// thread.
    static REGEXPS: RefCell<HashMap<String, Option<Pattern>>> = RefCell::new(HashMap::new());
}

fn matches(op: &Op, pattern: Option<&Pattern>, text: &str) -> Option<bool> {
    if let Some(pattern) = pattern {
        return Some(pattern.matches(text));
    }
    match op {
        Op::Like(pattern) => Some(Like::new(pattern).matches(text)),
        Op::Call(Func::RegexpLike(source)) => REGEXPS.with_borrow_mut(|known| {
            if !known.contains_key(source) {
                known.insert(source.clone(), regexp(source).ok().map(Pattern::Regexp));
            }
            known.get(source)?.as_ref().map(|pattern| pattern.matches(text))
        }),
        _ => None,
    }
}

/// `+`, `-`, `*`, `%` of ints.
pub fn integers(op: &Op, a: i64, b: i64) -> Total<i64> {
    match op {
        Op::Add => Total::or_lost(a.checked_add(b)),
        Op::Sub => Total::or_lost(a.checked_sub(b)),
        Op::Mul => Total::or_lost(a.checked_mul(b)),
        Op::Rem if b != 0 => Total::Value(a.wrapping_rem(b)),
        _ => Total::Null,
    }
}

/// `+`, `-`, `*`, `/`, `%` of floats.
pub fn floats(op: &Op, a: f64, b: f64) -> Total<f64> {
    match op {
        Op::Add => finite(a + b),
        Op::Sub => finite(a - b),
        Op::Mul => finite(a * b),
        Op::Div if b != 0.0 => finite(a / b),
        Op::Rem if b != 0.0 => finite(a % b),
        _ => Total::Null,
    }
}

/// Seconds from one time in microseconds to another.
pub fn seconds_between(a: i64, b: i64) -> Total<f64> {
    finite((i128::from(b) - i128::from(a)) as f64 / 1e6)
}

/// A float as the engine has them: finite and never -0.
fn finite(x: f64) -> Total<f64> {
    if x.is_finite() { Total::Value(x + 0.0) } else { Total::Lost }
}

/// The int that a float is once its fraction is cut off, if it is in range.
fn truncated(x: f64) -> Option<i64> {
    // Both bounds are floats exactly; i64::MAX is not.
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&x).then_some(x as i64)
}

fn call<'a>(func: &Func, args: &[Cell<'a>]) -> Total<Cell<'a>> {
    match (func, args) {
        (Func::JsonGet(path), [Cell::Text(json)]) => json::get(json, path).map(|t| Cell::Text(t.into())),
        (Func::JsonList(path), [Cell::Text(json)]) => json::list(json, path)
            .map(|all| Cell::List(all.into_iter().map(|t| Cell::Text(t.into())).collect())),
        (Func::CidrMatch(networks), [Cell::Text(ip)]) => {
            Total::or_lost(ip.parse::<IpAddr>().ok().map(|ip| in_networks(ip, networks))).map(Cell::Bool)
        }
        (Func::Lower, [Cell::Text(t)]) => text(t.to_lowercase().into()),
        (Func::Upper, [Cell::Text(t)]) => text(t.to_uppercase().into()),
        (Func::Length, [Cell::Text(t)]) => Total::Value(Cell::Int(t.chars().count() as i64)),
        (Func::StartsWith, [Cell::Text(t), Cell::Text(prefix)]) => truth(t.starts_with(&**prefix)),
        (Func::EndsWith, [Cell::Text(t), Cell::Text(suffix)]) => truth(t.ends_with(&**suffix)),
        (Func::Abs, [Cell::Int(i)]) => Total::or_lost(i.checked_abs()).map(Cell::Int),
        (Func::Abs, [Cell::Float(x)]) => finite(x.abs()).map(Cell::Float),
        (Func::SecondsBetween, [Cell::Time(a), Cell::Time(b)]) => seconds_between(*a, *b).map(Cell::Float),
        (Func::ArrayHas, [Cell::List(items), item]) => truth(items.contains(item)),
        (Func::Cardinality, [Cell::List(items)]) => Total::Value(Cell::Int(items.len() as i64)),
        (Func::Floor | Func::Ceil | Func::Round, [Cell::Int(i)]) => Total::Value(Cell::Int(*i)),
        (Func::Floor, [Cell::Float(x)]) => Total::or_lost(truncated(x.floor())).map(Cell::Int),
        (Func::Ceil, [Cell::Float(x)]) => Total::or_lost(truncated(x.ceil())).map(Cell::Int),
        (Func::Round, [Cell::Float(x)]) => Total::or_lost(truncated(x.round())).map(Cell::Int),
        _ => Total::Null,
    }
}

/// Whether an address lies in one of the networks. An IPv4 address written as IPv6 is the IPv4 address.
fn in_networks(ip: IpAddr, networks: &[(IpAddr, u8)]) -> bool {
    let (wide, bits) = widened(ip);
    networks.iter().any(|(network, prefix)| {
        let (base, base_bits) = widened(*network);
        let mapped = matches!(network, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        let prefix = if mapped { u32::from(*prefix).saturating_sub(96) } else { u32::from(*prefix) };
        let shift = bits.saturating_sub(prefix);
        bits == base_bits && (wide ^ base).checked_shr(shift).unwrap_or(0) == 0
    })
}

/// The address as a number, and how many bits it has. An IPv4 address written as IPv6 is the IPv4 address.
pub fn widened(ip: IpAddr) -> (u128, u32) {
    match ip.to_canonical() {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

/// `TRY_CAST`: the value as another type, if it can be read as one.
fn cast<'a>(x: &Cell<'a>, kind: Type) -> Option<Cell<'a>> {
    match (x, kind) {
        (Cell::Bool(_), Type::Bool)
        | (Cell::Int(_), Type::Int)
        | (Cell::Float(_), Type::Float)
        | (Cell::Text(_), Type::Text)
        | (Cell::Time(_), Type::Time)
        | (Cell::List(_), Type::List) => Some(x.clone()),
        (Cell::Int(i), Type::Float) => Some(Cell::Float(*i as f64)),
        (Cell::Float(x), Type::Int) => truncated(*x).map(Cell::Int),
        (Cell::Text(t), Type::Int) => t.parse().ok().map(Cell::Int),
        (Cell::Text(t), Type::Float) => {
            t.parse::<f64>().ok().filter(|x| x.is_finite()).map(|x| Cell::Float(x + 0.0))
        }
        (Cell::Text(t), Type::Bool) => t.parse().ok().map(Cell::Bool),
        (Cell::Text(t), Type::Time) => Timestamp::parse_rfc3339(t).map(|t| Cell::Time(t.0)),
        (Cell::Bool(b), Type::Text) => Some(Cell::Text(b.to_string().into())),
        (Cell::Int(i), Type::Text) => Some(Cell::Text(i.to_string().into())),
        (Cell::Float(x), Type::Text) => Some(Cell::Text(format!("{x:?}").into())),
        (Cell::Time(t), Type::Text) => Some(Cell::Text(Timestamp(*t).rfc3339().into())),
        _ => None,
    }
}
