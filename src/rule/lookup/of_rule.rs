//! The tables that a rule asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Lookup;
use crate::rule::expr::node::{Func, Node, Op};
use crate::rule::learned::Measure;
use crate::rule::{Kind, Rule, When};

impl Rule {
    /// Names and hashes of the tables that it asks.
    pub fn lookups(&self) -> BTreeMap<String, u128> {
        let mut found = BTreeMap::new();
        // Reading and replacing walk the same trees; a rule is small, and this is done once.
        for node in trees(&mut self.clone()) {
            node.walk(&mut |node| {
                if let Op::Call(Func::Lookup(question)) = &node.op {
                    found.insert(question.table.name.clone(), question.table.hash);
                }
            });
        }
        found
    }

    /// Lets it ask these tables in place of those of the same names.
    pub fn replace_lookups(&mut self, tables: &[Arc<Lookup>]) {
        trees(self).into_iter().for_each(|node| replace(node, tables));
    }
}

fn replace(node: &mut Node, tables: &[Arc<Lookup>]) {
    if let Op::Call(Func::Lookup(question)) = &mut node.op
        && let Some(table) = tables.iter().find(|table| table.name == question.table.name)
    {
        question.table = table.clone();
    }
    node.args.iter_mut().for_each(|arg| replace(arg, tables));
}

/// Every expression of a rule.
fn trees(rule: &mut Rule) -> Vec<&mut Node> {
    let inputs = &mut rule.inputs;
    let mut all: Vec<&mut Node> = inputs.filters.iter_mut().collect();
    all.extend(inputs.steps.iter_mut().chain(&mut inputs.values));
    all.extend(rule.observed.iter_mut().map(|(_, node)| node));
    for escalate in &mut rule.escalate {
        if let When::Holds(node) = &mut escalate.when {
            all.push(node);
        }
    }
    match &mut rule.kind {
        Kind::Match(_) => {}
        Kind::Threshold(threshold) => all.push(&mut threshold.having),
        Kind::Baseline(baseline) => {
            all.push(&mut baseline.having);
            if let Measure::Window(windowed) = &mut baseline.measure {
                all.push(&mut windowed.value);
            }
        }
    }
    all
}
