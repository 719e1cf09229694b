//! How a rule runs: what it reads and shares, where, when it fires, what it remembers.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::sql::Sql;
use crate::cli::check::describe::{self as lines, span};
use crate::cli::progress::size as size_text;
use crate::detect::size;
use crate::event::Limits;
use crate::rule::expr::node::{Node, Op};
use crate::rule::expr::parse::conjuncts;
use crate::rule::learned::{Baseline, Learn, Measure};
use crate::rule::{Kind, Mode, Placement, Rule, Window};
use crate::schema::Schema;
use crate::schema::guess::thousands;

/// Width of the heads of lines.
pub const HEAD: usize = 9;

/// All of it, a line each.
pub fn describe(rule: &Arc<Rule>, schema: &Schema, others: &[&Arc<Rule>], keys: u64) -> String {
    let info = &rule.info;
    let mut out = format!("{} · {} · {} {}\n", info.id, info.title, info.severity.name(), info.risk);
    let mut line = |head: &str, text: String| out.push_str(&format!("{head:HEAD$} {text}\n"));
    line("reads", reads(rule, schema));
    if let Some(shared) = shared(rule, schema, others) {
        line("shares", shared);
    }
    line("runs", runs(rule, schema));
    line("fires", fires(rule, schema));
    if let Kind::Threshold(threshold) = &rule.kind {
        Sql::new(rule, schema).meanings(&threshold.having).into_iter().for_each(|meaning| line("", meaning));
    }
    if let Some(suppress) = &rule.suppress {
        line("says", format!("one alert a key and {}; what is folded is counted", span(suppress.span)));
    }
    line("keeps", keeps(rule, keys));
    for note in lines::notes(rule, schema) {
        line("note", note);
    }
    out
}

fn columns(rule: &Rule) -> BTreeSet<usize> {
    let mut columns = BTreeSet::new();
    let inputs = &rule.inputs;
    for node in inputs.filters.iter().chain(&inputs.steps).chain(&inputs.values) {
        node.walk(&mut |node| {
            if let Op::Column(column) = node.op {
                columns.insert(column);
            }
        });
    }
    columns
}

fn reads(rule: &Rule, schema: &Schema) -> String {
    let columns = columns(rule);
    let names: Vec<&str> = columns.iter().map(|column| schema.column_name(*column)).collect();
    let sql = Sql::new(rule, schema);
    let filters = match rule.inputs.filters.as_slice() {
        [] => "every event".to_owned(),
        filters => format!("where {}", sql.all(filters)),
    };
    format!(
        "{}: {} ({} of {} columns) · {filters}",
        rule.stream,
        names.join(", "),
        names.len(),
        schema.width()
    )
}

/// What is evaluated once for this rule and others.
fn shared(rule: &Rule, schema: &Schema, others: &[&Arc<Rule>]) -> Option<String> {
    let sql = Sql::new(rule, schema);
    let same: Vec<&&Arc<Rule>> = others.iter().filter(|other| other.stream == rule.stream).collect();
    let with = |found: Vec<&str>| match found.len() {
        0 => None,
        1..=3 => Some(found.join(", ")),
        n => Some(format!("{} and {} more", found.get(..2).unwrap_or_default().join(", "), n - 2)),
    };
    let mut parts = Vec::new();
    for filter in &rule.inputs.filters {
        let has = |other: &&Arc<Rule>| other.inputs.filters.contains(filter);
        let found = same.iter().filter(|other| has(other)).map(|other| other.info.id.as_str()).collect();
        if let Some(found) = with(found) {
            parts.push(format!("filter `{}` with {found}", sql.text(filter)));
        }
    }
    let key =
        |rule: &Rule| -> Vec<Node> { rule.inputs.values.get(..rule.key.len()).unwrap_or_default().to_vec() };
    let found =
        same.iter().filter(|other| key(other) == key(rule)).map(|other| other.info.id.as_str()).collect();
    if let Some(found) = with(found).filter(|_| !rule.key.is_empty()) {
        parts.push(format!("key ({}) with {found}", rule.info.key.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}

fn runs(rule: &Rule, schema: &Schema) -> String {
    let mode = match rule.mode {
        Mode::Live => "",
        Mode::Shadow => " · in shadow: counts, and sends nothing",
        Mode::BuildingBlock => " · a building block: counts, and goes to no sink",
    };
    let partition_key = schema.key.map(|key| schema.column_name(key));
    let place = match (rule.placement, &rule.kind, partition_key) {
        (Placement::Partition, Kind::Match(_), _) => {
            "in the partition (it looks at one event at a time)".to_owned()
        }
        (Placement::Partition, _, Some(key)) => {
            format!("in the partition (its key holds {key}, by which the stream is partitioned)")
        }
        (Placement::Partition, _, None) => "in the partition".to_owned(),
        (Placement::Exchange, _, Some(key)) => format!(
            "over all partitions together (its key lacks {key}, by which the stream is partitioned): live, on \
             a topic of one partition only"
        ),
        (Placement::Exchange, _, None) => {
            "over all partitions together (the stream is partitioned by no field): live, on a topic of one \
             partition only"
                .to_owned()
        }
    };
    format!("{place}{mode}")
}

fn fires(rule: &Rule, schema: &Schema) -> String {
    let sql = Sql::new(rule, schema);
    match &rule.kind {
        Kind::Match(kind) => {
            let having = kind.having.and_then(|bit| rule.inputs.steps.get(bit as usize));
            let having = having.map_or_else(String::new, |node| format!(" and having {}", sql.text(node)));
            format!("on each event that passes where{having}")
        }
        Kind::Threshold(threshold) => {
            let over = over(threshold.window);
            let having = sql.all(&conjuncts(&threshold.having));
            match threshold.on_event {
                true => format!(
                    "on the event that completes `{having}` over {over}: as events are added it can only become true"
                ),
                false => format!(
                    "when the window closes, over {over}: `{having}` may become true or false with every event"
                ),
            }
        }
        Kind::Baseline(baseline) => learned(baseline, rule, &sql),
    }
}

fn over(window: Window) -> String {
    match window {
        Window::Sliding(length) => format!("the last {}", span(length)),
        Window::Tumbling(length) => format!("each {} of the clock", span(length)),
        Window::Session(length) => format!("each session, which a pause of {} ends", span(length)),
    }
}

fn learned(baseline: &Baseline, rule: &Rule, sql: &Sql<'_>) -> String {
    let value = match &baseline.measure {
        Measure::Event(column) => {
            let node = rule.inputs.values.get(*column);
            format!("`{}` of each event", node.map_or_else(String::new, |node| sql.text(node)))
        }
        Measure::Window(window) => format!("`{}` over {}", sql.text(&window.value), over(window.spec.window)),
    };
    let side = match (baseline.sides.high, baseline.sides.low) {
        (true, false) => "above",
        (false, true) => "below",
        _ => "above or below",
    };
    let when = match (&baseline.measure, baseline.on_event.any()) {
        (Measure::Event(_), _) => "on the event",
        (_, true) => "on the event where it can only grow, and when the window closes",
        (_, false) => "when the window closes",
    };
    let learn = match baseline.learn {
        Learn::Values(n) => format!("{n} values"),
        Learn::Span(length) => span(length),
    };
    let having = match baseline.having.as_const() {
        Some(_) => String::new(),
        None => format!(", and `{}`", sql.all(&conjuncts(&baseline.having))),
    };
    let often = baseline
        .at_least
        .map_or_else(String::new, |least| format!(", {} of the last {} times", least.hits, least.of));
    let cohort =
        if baseline.cohort.is_some() { "; until then by its cohort's normal" } else { "; silent until then" };
    let method = format!("{:?}", baseline.method).to_lowercase();
    format!(
        "{when}, where {value} is {side} what is normal for the key ({method}, limit {}){having}{often}; \
         learns for {learn}{cohort}",
        baseline.limit
    )
}

fn keeps(rule: &Arc<Rule>, keys: u64) -> String {
    let Some(per_key) = size::per_key(rule, &Limits::default()) else {
        return match &rule.suppress {
            Some(_) => "nothing but when each key was last said".to_owned(),
            None => "nothing: it has no memory".to_owned(),
        };
    };
    let all = |bytes: usize| size_text(u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(keys));
    format!(
        "{} a key just seen, {} one with a full window: {} to {} for {} keys",
        size_text(per_key.least as u64),
        size_text(per_key.most as u64),
        all(per_key.least),
        all(per_key.most),
        thousands(keys)
    )
}
