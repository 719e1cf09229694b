//! SQL text → checked tree, with every problem and its place.
//!
//! What is written and what it becomes:
//! - A name is a column of the stream or a let; a let is replaced by its tree. Case counts; quotes are
//!   refused.
//! - An int and a float meet as floats: the int is cast. A numeric literal takes the type of the other side
//!   instead, if its value allows it (`5` beside a float is `5.0`, `6.0` beside an int is `6`). `/` divides
//!   floats, always.
//! - A text literal beside a timestamp is read as RFC 3339. `NULL` takes the type that is needed. Nothing
//!   else is converted silently: text beside a number is a problem, with the cast to write.
//! - A constant on the left of a comparison is turned to the right. `BETWEEN`, `IN`, `<>` and `NOT` stay as
//!   written.
//! - `CAST` is `TRY_CAST`. The only thing computed here is the sign of a literal.
//!
//! One call finds all problems of a text that do not follow from one another. It does not decide where
//! aggregates may stand beyond `Place`, nor what a window may read: that is `check`.

mod aggregate;
mod call;
mod coerce;
mod convert;
mod literal;
mod lookup;
mod operator;
mod sql;
#[cfg(test)]
mod tests;
pub mod words;

use std::sync::Arc;

use super::node::{Node, Op};
use crate::diagnostic::{Diagnostic, Gravity};
use crate::event::{Type, Value};
use crate::rule::AggFunc;
use crate::rule::file::{Span, Text};
use crate::rule::lookup::Lookups;
use crate::schema::Schema;
pub use call::{json_path, parse_network};
use convert::Converter;

/// How deep reading may go. Each level takes a few frames of the stack.
const MAX_NESTING: usize = 60;

/// Levels of a tree, lets substituted and chains of AND and OR included. Deeper trees would need a deep stack
/// to walk.
const MAX_DEPTH: usize = 200;

/// Nodes of a tree, lets substituted: lets that double each other grow without bound.
const MAX_NODES: usize = 10_000;

/// A name that rules use in expressions.
#[derive(Clone, Debug)]
pub struct Let {
    /// Its name.
    pub name: String,
    /// The file it stands in.
    pub file: Arc<str>,
    /// Where its name stands.
    pub name_span: Span,
    /// Whether the rule's own file declares it, and not a shared one.
    pub own: bool,
    /// What it stands for.
    pub value: LetValue,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum LetValue {
    /// An SQL expression.
    Sql(Text),
    /// A constant.
    Constant(Value),
    /// Constants, for `IN (name)`.
    List(Vec<Value>),
}

/// Where an expression stands: what it may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `where`: one event.
    Where,
    /// `having` or `when` of a rule without a window: one event.
    Judgement,
    /// `having` or `when` over a window: aggregates, and parts of the key.
    Window,
    /// A let: whatever the place that uses it may.
    Let,
}

/// An aggregate as it was written.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it computes.
    pub func: AggFunc,
    /// Of what, per event.
    pub arg: Option<Node>,
    /// Over which events.
    pub filter: Option<Node>,
    /// What alerts call it if no let does: `count`, `sum_speed`.
    pub name: String,
}

/// A name that a text uses.
#[derive(Clone, Debug)]
pub struct Ref {
    /// The column or let.
    pub target: Target,
    /// Where it stands in the file of the text.
    pub span: Span,
    /// Whether it stands inside an aggregate.
    pub inside: bool,
}

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A column of the stream, by index.
    Column(usize),
    /// A let, by index.
    Let(usize),
}

/// A checked expression, and the names that its text uses, in order.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The expression; `Op::Aggregate(i)` is `Scope::aggregates[i]`.
    pub node: Node,
    /// The names.
    pub refs: Vec<Ref>,
}

/// A predicate that is not true of NULL although it looks as if it excluded little.
#[derive(Clone, Debug)]
pub struct Negation {
    /// Columns it reads.
    pub columns: Vec<usize>,
    /// Where it stands.
    pub span: Span,
    /// How it is written.
    pub written: String,
}

/// How far a let has been read.
#[derive(Clone, Debug)]
enum LetState {
    Unread,
    Reading,
    Broken,
    Read { tree: Tree, size: usize, depth: usize },
}

/// What the expressions of one rule may name, and what they have brought up so far.
pub struct Scope<'a> {
    /// The stream's columns.
    pub schema: &'a Schema,
    /// The names: the rule's own, then shared ones.
    pub lets: &'a [Let],
    /// Aggregates in the order of their first appearance, equal ones once.
    pub aggregates: Vec<Call>,
    /// Problems found.
    pub problems: Vec<Diagnostic>,
    /// Negated predicates of `where`.
    pub negations: Vec<Negation>,
    /// The type of the value that a rule with a learned normal judges, once it is known: then conditions may
    /// name it, and what was expected.
    pub learned: Option<Type>,
    /// The tables that may be asked.
    pub lookups: Lookups,
    states: Vec<LetState>,
    used: Vec<bool>,
}

impl<'a> Scope<'a> {
    /// A scope in which nothing has been read.
    pub fn new(schema: &'a Schema, lets: &'a [Let]) -> Scope<'a> {
        Scope {
            schema,
            lets,
            aggregates: Vec::new(),
            problems: Vec::new(),
            negations: Vec::new(),
            learned: None,
            lookups: Lookups::default(),
            states: vec![LetState::Unread; lets.len()],
            used: vec![false; lets.len()],
        }
    }

    /// Reads an expression; its problems are added to the scope's. None if there is an error in it.
    pub fn read(&mut self, text: &Text, place: Place) -> Option<Tree> {
        match sql::parse(&text.text) {
            Ok(expr) => Converter::new(self, text, place).tree(&expr),
            Err(fault) => {
                self.problem(&text.file, text.place(fault.span), fault.message, fault.hint);
                None
            }
        }
    }

    /// Reads a condition: an expression whose value is true or false.
    pub fn read_condition(&mut self, text: &Text, place: Place) -> Option<Tree> {
        match sql::parse(&text.text) {
            Ok(expr) => Converter::new(self, text, place).condition_tree(&expr),
            Err(fault) => {
                self.problem(&text.file, text.place(fault.span), fault.message, fault.hint);
                None
            }
        }
    }

    /// The index of the let of that name.
    pub fn find_let(&self, name: &str) -> Option<usize> {
        self.lets.iter().position(|each| each.name == name)
    }

    /// The tree of a let that is no list, read when it is first asked for.
    pub fn read_let(&mut self, index: usize) -> Option<Tree> {
        self.open_let(index).map(|(tree, _, _)| tree)
    }

    /// Whether some expression has used a let.
    pub fn is_used(&self, index: usize) -> bool {
        self.used.get(index).copied().unwrap_or(false)
    }

    fn mark_used(&mut self, index: usize) {
        if let Some(used) = self.used.get_mut(index) {
            *used = true;
        }
    }

    /// A let's tree, its size and its depth.
    fn open_let(&mut self, index: usize) -> Option<(Tree, usize, usize)> {
        let each = self.lets.get(index)?;
        match self.states.get(index)? {
            LetState::Broken => return None,
            LetState::Read { tree, size, depth } => return Some((tree.clone(), *size, *depth)),
            LetState::Reading => {
                let hint = "a let may use other lets, but not itself, not even through others";
                self.problem(&each.file, each.name_span.clone(), cycle(&each.name), hint);
                return None;
            }
            LetState::Unread => {}
        }
        self.states[index] = LetState::Reading;
        let tree = match &each.value {
            LetValue::Sql(text) => self.read(text, Place::Let),
            LetValue::Constant(value) => Some(Tree { node: Node::constant(value.clone()), refs: Vec::new() }),
            LetValue::List(_) => None,
        };
        let state = match &tree {
            Some(tree) => {
                let (size, depth) = measure(&tree.node);
                LetState::Read { tree: tree.clone(), size, depth }
            }
            None => LetState::Broken,
        };
        self.states[index] = state;
        self.open_read(index)
    }

    fn open_read(&self, index: usize) -> Option<(Tree, usize, usize)> {
        match self.states.get(index)? {
            LetState::Read { tree, size, depth } => Some((tree.clone(), *size, *depth)),
            _ => None,
        }
    }

    fn intern(&mut self, call: Call) -> usize {
        let equal =
            |other: &Call| other.func == call.func && other.arg == call.arg && other.filter == call.filter;
        self.aggregates.iter().position(equal).unwrap_or_else(|| {
            self.aggregates.push(call);
            self.aggregates.len() - 1
        })
    }

    /// Adds an error.
    pub fn problem(&mut self, file: &str, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.say(Gravity::Error, file, span, message, hint);
    }

    /// Adds a warning.
    pub fn warning(&mut self, file: &str, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.say(Gravity::Warning, file, span, message, hint);
    }

    fn say(
        &mut self,
        gravity: Gravity,
        file: &str,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem =
            Diagnostic { gravity, file: file.into(), span, message: message.into(), hint: hint.into() };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// A type with its article: `an int`.
pub fn a(kind: Type) -> String {
    format!("{} {}", if kind == Type::Int { "an" } else { "a" }, kind.name())
}

fn cycle(name: &str) -> String {
    format!("let \"{name}\" is defined by itself")
}

/// How many nodes a tree has, and how many levels.
fn measure(node: &Node) -> (usize, usize) {
    let (mut size, mut depth) = (1, 0);
    for arg in &node.args {
        let (arg_size, arg_depth) = measure(arg);
        size += arg_size;
        depth = depth.max(arg_depth);
    }
    (size, depth + 1)
}

/// The top-level conjuncts of a condition, in the order of the text.
pub fn conjuncts(node: &Node) -> Vec<Node> {
    match node.op {
        Op::And => node.args.iter().flat_map(conjuncts).collect(),
        _ => vec![node.clone()],
    }
}

/// Whether a name means a function of the language, built or not: no let may be called so.
pub fn is_function(name: &str) -> bool {
    words::ALLOWED.contains(&name) || words::UNBUILT.iter().any(|(known, _)| *known == name)
}

/// The SQL words that a bare name cannot be.
pub fn is_reserved(name: &str) -> bool {
    let between = format!("x > {name} AND {name} IS NULL AND f({name})");
    words::SQL.contains(&name)
        || !matches!(sql::parse(name), Ok(expr) if sql::is_bare_name(&expr, name))
        || sql::parse(&between).is_err()
}

/// Checks the SQL of a text that no rule may ever use: its syntax only.
pub fn check_syntax(text: &Text) -> Option<Diagnostic> {
    sql::parse(&text.text).err().map(|fault| Diagnostic {
        gravity: Gravity::Error,
        file: text.file.to_string(),
        span: text.place(fault.span),
        message: fault.message,
        hint: fault.hint,
    })
}
