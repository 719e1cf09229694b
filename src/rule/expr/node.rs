//! A typed, checked expression: what SQL text becomes before it is compiled (`compile`) or judged
//! (`rule/having`).
//!
//! Every node is *total*: it has a value or NULL, never an error.

use std::fmt;

use crate::event::{Type, Value};
use crate::rule::lookup::Question;

/// One operation with its operands and the type of its result. The tree keeps the shape that was written
/// (`BETWEEN`,
/// `IN` and `<>` stay what they are), with lets substituted and constants turned to the right of comparisons.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// To what. Operand types have been made to fit (`Op::Cast` stands where a conversion is needed).
    pub args: Vec<Node>,
    /// The type of the result.
    pub kind: Type,
}

/// Operations.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A constant; no operands.
    Const(Value),
    /// Column of the stream's batch, by its index; no operands.
    Column(usize),
    /// Aggregate of the rule (index into `Threshold::aggregates`); no operands; only under `having`.
    Aggregate(usize),
    /// Column of `Picked::values`; no operands; only under `having` and in what is observed.
    Input(usize),
    /// What a learned normal says of the value at hand; no operands; only under `having` and in what is
    /// observed of a rule with a learned normal.
    Learned(Learned),
    /// `AND` (Kleene), two operands.
    And,
    /// `OR` (Kleene), two operands.
    Or,
    /// `NOT`.
    Not,
    /// `=`, two operands of one type (likewise the next five).
    Eq,
    /// `<>`.
    Ne,
    /// `<`.
    Lt,
    /// `<=`.
    Le,
    /// `>`.
    Gt,
    /// `>=`.
    Ge,
    /// `x BETWEEN low AND high`, three operands of one type; `NOT BETWEEN` is `Not` of it.
    Between,
    /// `x IN (…)`: the operand, then constants of its type; `NOT IN` is `Not` of it.
    In,
    /// `IS NOT DISTINCT FROM`, two operands of one type: never NULL. `IS DISTINCT FROM` is `Not` of it.
    Same,
    /// `IS NULL`. `IS NOT NULL` is `Not` of it.
    IsNull,
    /// `IS TRUE`: never NULL. `IS FALSE` is `IsTrue` of `Not`; `IS NOT TRUE` is `Not` of it.
    IsTrue,
    /// `x LIKE 'pattern'`: case-sensitive; the pattern is a constant of the operation.
    Like(String),
    /// `+` of ints, or of floats: overflow and non-finite are NULL, counted.
    Add,
    /// `-`.
    Sub,
    /// `*`.
    Mul,
    /// `/`: two floats, x / 0 is NULL (not counted).
    Div,
    /// `%` of ints or floats: x % 0 is NULL.
    Rem,
    /// Unary minus.
    Neg,
    /// `||` of texts: NULL if either is.
    Concat,
    /// `CASE WHEN c1 THEN v1 … ELSE v END`: operands c1, v1, c2, v2, …, else-value (NULL constant where
    /// none).
    Case,
    /// `TRY_CAST` to the node's type; what cannot be converted is NULL (not counted: the author asked).
    Cast,
    /// A function of the allow-list.
    Call(Func),
}

/// What a learned normal says of the value at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The value itself.
    Value,
    /// What was expected.
    Expected,
    /// The lowest value that is not odd.
    Low,
    /// The highest.
    High,
    /// How odd the value is; larger is odder.
    Score,
    /// From how many values the normal was learned.
    Samples,
    /// Whose normal it is: `own` or `cohort`.
    Source,
}

impl Learned {
    /// All, in the order in which alerts show them.
    pub const ALL: [Learned; 7] = [
        Learned::Value,
        Learned::Expected,
        Learned::Low,
        Learned::High,
        Learned::Score,
        Learned::Samples,
        Learned::Source,
    ];

    /// Its name in conditions and alerts.
    pub fn name(self) -> &'static str {
        match self {
            Learned::Value => "value",
            Learned::Expected => "expected",
            Learned::Low => "low",
            Learned::High => "high",
            Learned::Score => "score",
            Learned::Samples => "samples",
            Learned::Source => "source",
        }
    }

    /// Its type, where that of the value is `value`.
    pub fn kind(self, value: Type) -> Type {
        match self {
            Learned::Value => value,
            Learned::Samples => Type::Int,
            Learned::Source => Type::Text,
            _ => Type::Float,
        }
    }
}

/// The functions of the language that see one event.
#[derive(Clone, Debug, PartialEq)]
pub enum Func {
    /// `json_get(text, 'a.b')`: the scalar at that path as text (strings without quotes), NULL if absent,
    /// null, an object or array. A number of the path indexes an array.
    JsonGet(Vec<JsonStep>),
    /// `json_list(text, 'a.b[*].c')`: all scalars at that path as texts, in order; NULL if the text is not
    /// JSON.
    JsonList(Vec<JsonStep>),
    /// `cidr_match(ip, '10.0.0.0/8', …)`: whether the address lies in one of the networks; NULL if it is no
    /// address.
    CidrMatch(Vec<(std::net::IpAddr, u8)>),
    /// `regexp_like(text, 'pattern')`: found anywhere, Rust `regex` syntax, size-limited, compiled by
    /// `check`.
    RegexpLike(String),
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
    /// Characters of a text.
    Length,
    /// `starts_with(text, prefix)`; the prefix may be any expression.
    StartsWith,
    /// `ends_with(text, suffix)`.
    EndsWith,
    /// The first operand that is not NULL; operands of one type.
    Coalesce,
    /// Absolute value of an int or float; `abs(MIN)` is NULL, counted.
    Abs,
    /// `seconds_between(a, b)`: b − a in seconds, float.
    SecondsBetween,
    /// `array_has(list, text)`.
    ArrayHas,
    /// Number of elements of a list.
    Cardinality,
    /// Rounded down, int; out of range is NULL, counted. An int is itself.
    Floor,
    /// Rounded up, int.
    Ceil,
    /// Rounded half away from zero, int.
    Round,
    /// `lookup('t.column', key, …)`: the value or NULL; `lookup('t', key, …)`: whether there is such a row, never
    /// NULL. Operands: the key, and the event's time if rows of the table are valid for a time.
    Lookup(Question),
}

/// One step of a JSON path.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonStep {
    /// Member of an object.
    Member(String),
    /// Element of an array.
    Index(usize),
    /// Every element of an array.
    Each,
}

impl Node {
    /// A constant.
    pub fn constant(value: Value) -> Node {
        let kind = value.kind();
        Node { op: Op::Const(value), args: Vec::new(), kind }
    }

    /// `TRUE`.
    pub fn truth() -> Node {
        Node::constant(Value::Bool(true))
    }

    /// The constant it is, if it is one.
    pub fn as_const(&self) -> Option<&Value> {
        match &self.op {
            Op::Const(value) => Some(value),
            _ => None,
        }
    }

    /// This node and all below it, parents first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Node)) {
        visit(self);
        self.args.iter().for_each(|arg| arg.walk(visit));
    }

    /// Whether an aggregate stands in it.
    pub fn has_aggregate(&self) -> bool {
        let mut found = false;
        self.walk(&mut |node| found |= matches!(node.op, Op::Aggregate(_)));
        found
    }

    /// Whether something learned stands in it.
    pub fn has_learned(&self) -> bool {
        let mut found = false;
        self.walk(&mut |node| found |= matches!(node.op, Op::Learned(_)));
        found
    }
}

/// A canonical text: equal trees have equal texts. Conjuncts are interned by it, and fingerprints hash it, so
/// it is part of the format: columns go by index here; a fingerprint therefore also hashes the names of the
/// columns it reads.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:?}", self.op)?;
        for arg in &self.args {
            write!(f, " {arg}")?;
        }
        write!(f, "):{:?}", self.kind)
    }
}
