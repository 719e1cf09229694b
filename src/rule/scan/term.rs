//! What is evaluated once per batch: distinct predicates and values, the parts that several of them share, and
//! comparisons of one column with many constants, which one look-up a row answers.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int64Type;

use crate::event::{Type, Value};
use crate::rule::expr::compile::Compiled;
use crate::rule::expr::functions::is_costly;
use crate::rule::expr::node::{Func, Node, Op};

/// Columns from here on are terms.
const SHARED: usize = 1 << 32;

/// From so many comparisons of a column with constants on, they are looked up.
const WORTH_A_PROBE: usize = 4;

/// A distinct predicate or value.
#[derive(Clone, Debug)]
pub struct Term {
    /// Over the columns of the batch.
    pub compiled: Compiled,
    /// Over columns and other terms, if it shares a part with others.
    pub combined: Option<Compiled>,
    /// The column of the batch that it is, if it is one.
    pub column: Option<usize>,
    /// The look-up that answers it, if one does.
    pub probe: Option<usize>,
    /// How often rules use it.
    pub uses: usize,
}

/// Which term a column of a combined term is; none if it is a column of the batch.
pub fn shared_term(column: usize) -> Option<usize> {
    column.checked_sub(SHARED)
}

/// Gives equal trees one term.
#[derive(Default)]
pub struct Interner {
    terms: Vec<Term>,
    nodes: Vec<Node>,
    by_text: HashMap<String, usize>,
}

impl Interner {
    /// The terms of these trees.
    pub fn all(&mut self, nodes: &[Node]) -> Result<Vec<usize>, String> {
        nodes.iter().map(|node| self.term(node, 1)).collect()
    }

    fn term(&mut self, node: &Node, uses: usize) -> Result<usize, String> {
        let text = node.to_string();
        let at = match self.by_text.get(&text) {
            Some(at) => *at,
            None => {
                let column = match node.op {
                    Op::Column(index) => Some(index),
                    _ => None,
                };
                let compiled = Compiled::new(node)?;
                self.terms.push(Term { compiled, combined: None, column, probe: None, uses: 0 });
                self.nodes.push(node.clone());
                self.by_text.insert(text, self.terms.len() - 1);
                self.terms.len() - 1
            }
        };
        if let Some(term) = self.terms.get_mut(at) {
            term.uses += uses;
        }
        Ok(at)
    }

    /// All terms, with what they share, and the look-ups.
    pub fn finish(mut self) -> Result<(Vec<Term>, Vec<Probe>), String> {
        let mut parts: HashMap<String, usize> = HashMap::new();
        for node in &self.nodes {
            let below = node.args.iter();
            below.for_each(|arg| {
                arg.walk(&mut |part| {
                    if is_shareable(part) {
                        *parts.entry(part.to_string()).or_default() += 1;
                    }
                })
            });
        }
        parts.retain(|text, uses| *uses > 1 || self.by_text.contains_key(text));
        let mut at = 0;
        while let Some(node) = self.nodes.get(at).cloned() {
            if !parts.is_empty() && !node.args.is_empty() {
                let combined = self.combined(&node, &parts, true)?;
                if combined != node
                    && let Some(term) = self.terms.get_mut(at)
                {
                    term.combined = Some(Compiled::new(&combined)?);
                }
            }
            at += 1;
        }
        let probes = self.probes();
        Ok((self.terms, probes))
    }

    /// The tree with terms in place of the parts that it shares.
    fn combined(&mut self, node: &Node, parts: &HashMap<String, usize>, top: bool) -> Result<Node, String> {
        if !top && is_shareable(node) && parts.contains_key(&node.to_string()) {
            let term = self.term(node, 0)?;
            return Ok(Node { op: Op::Column(SHARED + term), args: Vec::new(), kind: node.kind });
        }
        let args = node.args.iter().map(|arg| self.combined(arg, parts, false));
        Ok(Node { op: node.op.clone(), args: args.collect::<Result<_, _>>()?, kind: node.kind })
    }

    /// The look-ups that are worth it.
    fn probes(&mut self) -> Vec<Probe> {
        let mut by_column: BTreeMap<usize, Probe> = BTreeMap::new();
        for (term, node) in self.nodes.iter().enumerate() {
            if let Some((column, constants)) = membership(node) {
                by_column.entry(column).or_insert_with(|| Probe::new(column)).add(term, &constants);
            }
        }
        let mut probes = Vec::new();
        for probe in by_column.into_values().filter(|probe| probe.terms.len() >= WORTH_A_PROBE) {
            for term in &probe.terms {
                if let Some(term) = self.terms.get_mut(*term) {
                    term.probe = Some(probes.len());
                }
            }
            probes.push(probe);
        }
        probes
    }
}

/// Whether a part may be evaluated for all rows once: it must cost little and never count a NULL, since it is
/// evaluated where its whole would have been decided without it.
fn is_shareable(node: &Node) -> bool {
    !node.args.is_empty() && !is_costly(node) && is_silent(node)
}

/// Whether no NULL of it is ever counted.
fn is_silent(node: &Node) -> bool {
    let silent = match &node.op {
        Op::Const(_) | Op::Column(_) | Op::And | Op::Or | Op::Not | Op::IsTrue | Op::IsNull => true,
        Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::Same | Op::Between | Op::In => true,
        Op::Call(Func::Abs) => node.kind == Type::Float,
        _ => false,
    };
    silent && node.args.iter().all(is_silent)
}

/// The column and the constants of `column = constant` and `column IN (…)`, of texts or ints.
fn membership(node: &Node) -> Option<(usize, Vec<&Value>)> {
    let (first, rest) = node.args.split_first()?;
    let (Op::Column(column), Op::Eq | Op::In, Type::Text | Type::Int) = (&first.op, &node.op, first.kind)
    else {
        return None;
    };
    let constants: Option<Vec<&Value>> = rest.iter().map(Node::as_const).collect();
    let constants = constants.filter(|all| !all.is_empty() && all.iter().all(|v| v.kind() == first.kind));
    Some((*column, constants?))
}

/// Comparisons of one column with constants: which of them hold of a value.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The column of the batch.
    pub column: usize,
    /// The terms that it answers.
    pub terms: Vec<usize>,
    texts: HashMap<Box<str>, Vec<usize>>,
    ints: HashMap<i64, Vec<usize>>,
}

impl Probe {
    fn new(column: usize) -> Probe {
        Probe { column, terms: Vec::new(), texts: HashMap::new(), ints: HashMap::new() }
    }

    fn add(&mut self, term: usize, constants: &[&Value]) {
        let at = self.terms.len();
        self.terms.push(term);
        for constant in constants {
            let terms = match constant {
                Value::Text(text) => self.texts.entry((&**text).into()).or_default(),
                Value::Int(int) => self.ints.entry(*int).or_default(),
                _ => continue,
            };
            if terms.last() != Some(&at) {
                terms.push(at);
            }
        }
    }

    /// Per term, the rows in which it is true, rising; none if the array has another type.
    pub fn rows(&self, array: &ArrayRef) -> Option<Vec<Vec<u32>>> {
        let mut rows = vec![Vec::new(); self.terms.len()];
        let mut found = |row: usize, terms: Option<&Vec<usize>>| {
            for term in terms.into_iter().flatten() {
                if let Some(rows) = rows.get_mut(*term) {
                    rows.push(row as u32);
                }
            }
        };
        if let Some(texts) = array.as_string_opt::<i32>() {
            for row in (0..texts.len()).filter(|row| texts.is_valid(*row)) {
                found(row, self.texts.get(texts.value(row)));
            }
        } else {
            let ints = array.as_primitive_opt::<Int64Type>()?;
            for row in (0..ints.len()).filter(|row| ints.is_valid(*row)) {
                found(row, self.ints.get(&ints.value(row)));
            }
        }
        Some(rows)
    }
}
