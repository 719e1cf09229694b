//! What a rule detects, as one number: equal for equal detection, whatever the prose, the mappings and the
//! severity.
//!
//! Trees are hashed with the names of the columns they read, not with their indices, so that a column added
//! to a schema leaves rules that do not read it as they were.

use std::sync::Arc;

use super::build::{Draft, Judged};
use crate::event::KeyHasher;
use crate::rule::expr::node::{Node, Op};
use crate::rule::expr::parse::{Call, Scope};
use crate::rule::learned::{Baseline, Measure};
use crate::rule::{Clock, Kind, Rule, Suppress, When, Window};
use crate::schema::Schema;

/// The fingerprint of one rule: stream, key, `where`, window, `having`, clock. Not what only escalations and
/// alerts read.
pub fn of_rule(draft: &Draft<'_>, kind: &str, clock: Clock, judged: &Judged) -> u128 {
    let mut hasher = KeyHasher::default();
    hasher.text("rule 1");
    hasher.text(kind);
    hasher.text(&draft.schema.name);
    hasher.text(match clock {
        Clock::Event => "event",
        Clock::Arrival => "arrival",
    });
    count(&mut hasher, draft.key.len());
    for (part, node) in draft.key.iter().zip(&draft.inputs.values) {
        hasher.text(&part.name);
        tree(&mut hasher, &draft.scope, node);
    }
    count(&mut hasher, draft.inputs.filters.len());
    draft.inputs.filters.iter().for_each(|node| tree(&mut hasher, &draft.scope, node));
    match &judged.kind {
        Kind::Match(_) => {}
        Kind::Threshold(threshold) => window(&mut hasher, threshold.window),
        Kind::Baseline(baseline) => normal(&mut hasher, draft, baseline, judged.value.as_ref()),
    }
    condition(&mut hasher, draft, judged.having.as_ref());
    hasher.finish()
}

fn window(hasher: &mut KeyHasher, window: Window) {
    let (form, length) = match window {
        Window::Sliding(length) => ("sliding", length),
        Window::Tumbling(length) => ("tumbling", length),
        Window::Session(length) => ("session", length),
    };
    hasher.text(form);
    hasher.int(length);
}

fn condition(hasher: &mut KeyHasher, draft: &Draft<'_>, node: Option<&Node>) {
    match node {
        Some(node) => tree(hasher, &draft.scope, node),
        None => hasher.null(),
    }
}

/// All that decides what is learned and what is odd.
fn normal(hasher: &mut KeyHasher, draft: &Draft<'_>, baseline: &Baseline, value: Option<&Node>) {
    match &baseline.measure {
        Measure::Event(_) => hasher.text("event"),
        Measure::Window(windowed) => window(hasher, windowed.spec.window),
    }
    condition(hasher, draft, value);
    let Baseline { method, limit, sides, learn, history, at_least, memory, floor, .. } = baseline;
    hasher
        .text(&format!("{method:?} {limit:?} {sides:?} {learn:?} {history} {at_least:?} {memory} {floor:?}"));
    match &baseline.cohort {
        Some(columns) => {
            count(hasher, columns.len());
            let nodes = columns.iter().filter_map(|column| draft.inputs.values.get(*column));
            nodes.for_each(|node| tree(hasher, &draft.scope, node));
        }
        None => hasher.null(),
    }
}

fn count(hasher: &mut KeyHasher, n: usize) {
    hasher.int(i64::try_from(n).unwrap_or(i64::MAX));
}

fn tree(hasher: &mut KeyHasher, scope: &Scope<'_>, node: &Node) {
    match &node.op {
        Op::Column(column) => {
            hasher.text("column");
            hasher.text(scope.schema.column_name(*column));
        }
        Op::Aggregate(index) => match scope.aggregates.get(*index) {
            Some(call) => aggregate(hasher, scope, call),
            None => hasher.null(),
        },
        op => hasher.text(&format!("{op:?}")),
    }
    hasher.text(node.kind.name());
    count(hasher, node.args.len());
    node.args.iter().for_each(|arg| tree(hasher, scope, arg));
}

fn aggregate(hasher: &mut KeyHasher, scope: &Scope<'_>, call: &Call) {
    hasher.text(&format!("{:?}", call.func));
    for part in [&call.arg, &call.filter] {
        match part {
            Some(node) => tree(hasher, scope, node),
            None => hasher.null(),
        }
    }
}

/// The hash of a rule set: what its rules detect, and all else that shapes their alerts.
pub fn of_set(rules: &[Rule], schemas: &[Arc<Schema>]) -> u128 {
    let mut hasher = KeyHasher::default();
    hasher.text("rules 1");
    count(&mut hasher, rules.len());
    for rule in rules {
        hasher.bytes(7, &rule.fingerprint.to_le_bytes());
        hasher.text(&format!("{:?}", rule.info));
        hasher.text(&format!("{:?} {:?} {:?}", rule.mode, rule.entities, rule.placement));
        suppression(&mut hasher, rule.suppress.as_ref());
        count(&mut hasher, rule.escalate.len());
        for raise in &rule.escalate {
            hasher.text(raise.severity.name());
            hasher.int(raise.risk.map_or(-1, i64::from));
            hasher.text(&match &raise.when {
                When::Step(bit) => {
                    let step = usize::try_from(*bit).ok().and_then(|bit| rule.inputs.steps.get(bit));
                    step.map_or_else(String::new, ToString::to_string)
                }
                When::Holds(node) => node.to_string(),
            });
        }
        count(&mut hasher, rule.observed.len());
        for (name, node) in &rule.observed {
            hasher.text(name);
            hasher.text(&node.to_string());
        }
        rule.inputs.values.iter().for_each(|node| hasher.text(&node.to_string()));
        for (name, hash) in rule.lookups() {
            hasher.text(&name);
            hasher.bytes(7, &hash.to_le_bytes());
        }
        match &rule.kind {
            Kind::Threshold(threshold) => hasher.text(&format!("{:?}", threshold.aggregates)),
            Kind::Baseline(baseline) => hasher.text(&format!("{:?}", baseline.measure)),
            Kind::Match(_) => {}
        }
    }
    for schema in schemas.iter().filter(|schema| rules.iter().any(|rule| rule.stream == schema.name)) {
        hasher.text(&format!("{schema:?}"));
    }
    hasher.finish()
}

fn suppression(hasher: &mut KeyHasher, suppress: Option<&Suppress>) {
    match suppress {
        Some(suppress) => {
            hasher.int(suppress.span);
            hasher.text(&format!("{:?}", suppress.by));
        }
        None => hasher.null(),
    }
}
