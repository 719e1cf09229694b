//! What an alert shows: aggregates, compared columns, lets.

use std::sync::Arc;

use super::baseline::lifted;
use super::build::Draft;
use super::threshold::bind;
use crate::event::Type;
use crate::rule::expr::node::{Learned, Node, Op};
use crate::rule::expr::parse::{LetValue, Ref, Target, Tree};

/// Names and nodes, each name once.
#[derive(Default)]
struct List(Vec<(Arc<str>, Node)>);

impl List {
    /// Adds a value; a name that is taken gets `_2`, `_3`.
    fn push(&mut self, name: &str, node: Node) {
        let taken = |name: &str, list: &[(Arc<str>, Node)]| list.iter().any(|(other, _)| **other == *name);
        let mut free = name.to_string();
        let mut number = 2;
        while taken(&free, &self.0) {
            free = format!("{name}_{number}");
            number += 1;
        }
        self.0.push((free.into(), node));
    }
}

/// Of a match: the columns that `where` and `having` compare, in the order of the text. Where a let of the
/// rule stands, it stands for its columns; a shared let shows its columns.
pub fn of_match(draft: &mut Draft<'_>) -> Vec<(Arc<str>, Node)> {
    let mut targets: Vec<Target> = Vec::new();
    for tree in draft.conditions.clone() {
        flatten(draft, &tree.refs, &mut targets);
    }
    let mut of_whens = Vec::new();
    for tree in draft.whens.clone() {
        flatten(draft, &tree.refs, &mut of_whens);
    }
    of_whens.retain(|target| matches!(target, Target::Let(_)) && !targets.contains(target));
    targets.append(&mut of_whens);
    let mut list = List::default();
    for target in targets {
        let (name, node) = match target {
            Target::Column(column) => {
                let kind = draft.schema.column_type(column);
                let name = draft.schema.column_name(column).to_string();
                (name, Node { op: Op::Column(column), args: Vec::new(), kind })
            }
            Target::Let(index) => {
                let Some(tree) = draft.scope.read_let(index) else { continue };
                (let_name(draft, index), tree.node)
            }
        };
        let shown = lifted(draft, &node);
        list.push(&name, shown);
    }
    list.0
}

fn let_name(draft: &Draft<'_>, index: usize) -> String {
    draft.scope.lets.get(index).map_or_else(String::new, |each| each.name.clone())
}

/// Columns and own lets that a text names, each once; of a shared let, what it names.
fn flatten(draft: &mut Draft<'_>, refs: &[Ref], targets: &mut Vec<Target>) {
    for each in refs {
        if let Target::Let(index) = each.target
            && !draft.scope.lets.get(index).is_some_and(|each| each.own)
        {
            let inner = draft.scope.read_let(index).map(|tree| tree.refs).unwrap_or_default();
            flatten(draft, &inner, targets);
        } else if !targets.contains(&each.target) {
            targets.push(each.target);
        }
    }
}

/// Of a threshold: the aggregates of `having` in the order of the text, then the rule's own lets that hold
/// aggregates or that its conditions use, as far as they can be computed from aggregates and the key.
pub fn of_threshold(draft: &mut Draft<'_>, having: &Tree) -> Vec<(Arc<str>, Node)> {
    let mut aggregates: Vec<(usize, Node)> = Vec::new();
    having.node.walk(&mut |node| {
        if let Op::Aggregate(index) = node.op
            && !aggregates.iter().any(|(other, _)| *other == index)
        {
            aggregates.push((index, node.clone()));
        }
    });
    let used = used_lets(draft);
    let lets: Vec<(usize, String, Node, bool)> = own_lets(draft);
    let mut list = List::default();
    for (index, node) in &aggregates {
        let alias = lets.iter().find(|(_, _, let_node, _)| let_node.op == Op::Aggregate(*index));
        let name = match (alias, draft.scope.aggregates.get(*index)) {
            (Some((_, name, _, _)), _) => name.clone(),
            (None, Some(call)) => call.name.clone(),
            (None, None) => continue,
        };
        list.push(&name, node.clone());
    }
    for (index, name, node, holds) in lets {
        let listed = match node.op {
            Op::Aggregate(aggregate) => aggregates.iter().any(|(other, _)| *other == aggregate),
            _ => false,
        };
        if listed || !(holds || used.contains(&index)) {
            continue;
        }
        if let Ok(bound) = bind(draft, &node) {
            list.push(&name, bound);
        }
    }
    list.0
}

/// Of a baseline: what was judged and by what; then of a window what a threshold shows, of an event the columns
/// that `where` and `having` compare, and the rule's own lets that they use.
pub fn of_baseline(
    draft: &mut Draft<'_>,
    having: Option<&Tree>,
    windowed: bool,
    value: Type,
) -> Vec<(Arc<str>, Node)> {
    let mut list = List::default();
    for learned in Learned::ALL {
        let node = Node { op: Op::Learned(learned), args: Vec::new(), kind: learned.kind(value) };
        list.push(learned.name(), node);
    }
    let truth = Tree { node: Node::truth(), refs: Vec::new() };
    let more = if windowed { of_threshold(draft, having.unwrap_or(&truth)) } else { of_match(draft) };
    more.into_iter().for_each(|(name, node)| list.push(&name, node));
    list.0
}

/// The rule's own lets but lists: index, name, tree, whether it holds an aggregate.
fn own_lets(draft: &mut Draft<'_>) -> Vec<(usize, String, Node, bool)> {
    let mut found = Vec::new();
    for (index, each) in draft.scope.lets.iter().enumerate() {
        if each.own
            && !matches!(each.value, LetValue::List(_))
            && let Some(tree) = draft.scope.read_let(index)
        {
            let holds = tree.node.has_aggregate();
            found.push((index, each.name.clone(), tree.node, holds));
        }
    }
    found
}

/// The lets that the texts of conditions name.
fn used_lets(draft: &Draft<'_>) -> Vec<usize> {
    let trees = draft.conditions.iter().chain(&draft.whens);
    let refs = trees.flat_map(|tree| &tree.refs);
    refs.filter_map(|each| match each.target {
        Target::Let(index) => Some(index),
        Target::Column(_) => None,
    })
    .collect()
}
