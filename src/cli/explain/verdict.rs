//! What a trace says: the key's events in order, and in one sentence why it fired or did not.

use std::collections::BTreeMap;

use super::describe::HEAD;
use super::sql::Sql;
use super::trace::{Seen, Traced, cut, readable};
use crate::cli::show::figure;
use crate::event::{Timestamp, Value};
use crate::rule::expr::node::{Node, Op};
use crate::rule::expr::parse::conjuncts;
use crate::rule::having::{self, Scope};
use crate::rule::{AggFunc, Kind, Mode, Rule, Threshold, Window};
use crate::schema::Schema;
use crate::schema::guess::thousands;

/// Events that are shown unless all are asked for: the first and the last of them.
const SHOWN: usize = 40;

/// The trace and its verdict.
pub fn shown(traced: &Traced, rule: &Rule, schema: &Schema, key: &[String], all: bool) -> String {
    let sql = Sql::new(rule, schema);
    let name = if key.is_empty() { "everything".to_owned() } else { key.join(", ") };
    let mut out = format!("\n{name}\n");
    let lines: Vec<String> = traced.seen.iter().flat_map(|seen| line(seen, rule, &sql, traced)).collect();
    let half = SHOWN / 2;
    if all || lines.len() <= SHOWN {
        lines.iter().for_each(|line| out.push_str(line));
    } else {
        lines.iter().take(half).for_each(|line| out.push_str(line));
        out.push_str(&format!(
            "{:HEAD$} … {} more; --all shows them …\n",
            "",
            thousands((lines.len() - SHOWN) as u64)
        ));
        lines.iter().skip(lines.len() - half).for_each(|line| out.push_str(line));
    }
    for (severity, end) in &traced.late_found {
        out.push_str(&closed(severity.name(), *end));
    }
    if traced.forgotten > 0 {
        out.push_str(&format!("{:HEAD$} {} more events are not shown\n", "", thousands(traced.forgotten)));
    }
    out.push_str(&format!("\n{:HEAD$} {}\n", "verdict", verdict(traced, rule, &sql, &name)));
    for extra in extras(traced, rule) {
        out.push_str(&format!("{:HEAD$} {extra}\n", ""));
    }
    out
}

/// Why the key did not fire, or that it did, in one sentence.
pub fn sentence(traced: &Traced, rule: &Rule, schema: &Schema, key: &[String]) -> String {
    verdict(traced, rule, &Sql::new(rule, schema), &key.join(", "))
}

fn closed(severity: &str, end: Option<Timestamp>) -> String {
    let end = end.map_or_else(String::new, |end| format!("{end}  "));
    format!("{:HEAD$} {end}▲ {} at the close of the window\n", "", severity.to_uppercase())
}

fn line(seen: &Seen, rule: &Rule, sql: &Sql<'_>, traced: &Traced) -> Vec<String> {
    let mut lines: Vec<String> = seen
        .found
        .iter()
        .filter(|(_, end)| end.is_some())
        .map(|(severity, end)| closed(severity.name(), *end))
        .collect();
    let text = match &seen.failed {
        Some((filter, stood)) => {
            let filter = rule.inputs.filters.get(*filter).map_or_else(String::new, |node| sql.text(node));
            format!("not counted: `{filter}` is not true ({stood})")
        }
        None => known(seen, rule, sql),
    };
    let fired = seen.found.iter().find(|(_, end)| end.is_none()).map_or_else(String::new, |(severity, _)| {
        let said = traced.alerts.iter().any(|alert| alert.time == seen.time);
        let how = if said { "" } else { " (folded into an alert of before: [suppress])" };
        format!("   ▲ fires, {}{how}", severity.name().to_uppercase())
    });
    lines.push(format!("{:HEAD$} {}  {text}{fired}\n", "", seen.time));
    lines
}

/// What the rule knew after an event.
fn known(seen: &Seen, rule: &Rule, sql: &Sql<'_>) -> String {
    match &rule.kind {
        Kind::Match(kind) => {
            match kind.having.and_then(|bit| Some((bit, rule.inputs.steps.get(bit as usize)?))) {
                Some((bit, node)) if seen.steps & (1 << bit) == 0 => {
                    format!("passes where; `{}` is not true", sql.text(node))
                }
                _ => "passes".to_owned(),
            }
        }
        _ => {
            let shown = seen.known.iter().enumerate().map(|(at, (name, value))| {
                let name = match sql.name(at) {
                    _ if !name.is_empty() => (*name).to_owned(),
                    Some(name) => name.to_owned(),
                    None => sql.written(at),
                };
                format!("{name} {}", cut(&readable(value), 60))
            });
            shown.collect::<Vec<_>>().join(", ")
        }
    }
}

fn verdict(traced: &Traced, rule: &Rule, sql: &Sql<'_>, name: &str) -> String {
    let passing: Vec<&Seen> = traced.seen.iter().filter(|seen| seen.failed.is_none()).collect();
    if let Some(first) = traced.alerts.first() {
        let folded: u64 = traced.alerts.iter().map(|alert| alert.folds).sum();
        let folded = if folded > 0 { format!(", {folded} more folded into them") } else { String::new() };
        let times = if traced.alerts.len() == 1 {
            "once".to_owned()
        } else {
            format!("{} times", traced.alerts.len())
        };
        return format!("fired {times}: first at {} ({}){folded}", first.time, first.severity.name());
    }
    if traced.seen.is_empty() {
        let others: Vec<&str> = traced.others.iter().map(String::as_str).collect();
        let others = if others.is_empty() {
            String::new()
        } else {
            format!("; keys there are: {} …", others.join(" · "))
        };
        return format!("no event of {name} among {}{others}", thousands(traced.events));
    }
    if passing.is_empty() {
        return format!(
            "none of its {} passes where: {}",
            count(traced.seen.len(), "event"),
            most_failed(traced, rule, sql)
        );
    }
    match &rule.kind {
        Kind::Match(_) => format!("{} where, and having was never true", passes(passing.len())),
        Kind::Threshold(threshold) => of_threshold(&passing, threshold, sql),
        Kind::Baseline(_) => of_baseline(&passing),
    }
}

fn count(n: usize, what: &str) -> String {
    crate::cli::number(n, what)
}

fn passes(n: usize) -> String {
    format!("{} {}", count(n, "event"), if n == 1 { "passes" } else { "pass" })
}

/// The conjunct that most events failed by.
fn most_failed(traced: &Traced, rule: &Rule, sql: &Sql<'_>) -> String {
    let mut by: BTreeMap<usize, u64> = BTreeMap::new();
    for (filter, _) in traced.seen.iter().filter_map(|seen| seen.failed.as_ref()) {
        *by.entry(*filter).or_default() += 1;
    }
    let Some((filter, failed)) = by.into_iter().max_by_key(|(_, failed)| *failed) else {
        return String::new();
    };
    let filter = rule.inputs.filters.get(filter).map_or_else(String::new, |node| sql.text(node));
    format!("{failed} of them fail by `{filter}`")
}

/// What a threshold knew after an event.
struct Known<'a>(&'a Seen);

impl Scope for Known<'_> {
    fn aggregate(&self, at: usize) -> Value {
        self.0.known.get(at).map_or(Value::Null, |(_, value)| value.clone())
    }

    fn input(&self, _: usize) -> Value {
        Value::Null
    }
}

fn of_threshold(passing: &[&Seen], threshold: &Threshold, sql: &Sql<'_>) -> String {
    let mut never = Vec::new();
    for part in conjuncts(&threshold.having) {
        let mut reads_key = false;
        part.walk(&mut |node| reads_key |= matches!(node.op, Op::Input(_)));
        if reads_key || passing.iter().any(|seen| having::holds(&part, &Known(seen))) {
            continue;
        }
        never.push(best(passing, &part, threshold, sql));
    }
    if !never.is_empty() {
        return never.join("; ");
    }
    let held = passing.iter().any(|seen| having::holds(&threshold.having, &Known(seen)));
    match (held, threshold.on_event) {
        (true, true) => {
            format!("{} where and the condition held, but nothing was said", passes(passing.len()))
        }
        (true, false) => {
            "the condition held in between, but it is judged when a window closes: it was not true then, or \
             none has closed"
                .to_owned()
        }
        (false, _) => "each part of the condition was true at some time, but never all at once".to_owned(),
    }
}

/// How near a value came to the edge of its normal.
fn of_baseline(passing: &[&Seen]) -> String {
    let known = |seen: &Seen, name: &str| {
        seen.known.iter().find(|(known, _)| *known == name).and_then(|(_, value)| number(value))
    };
    let measured = passing.iter().filter_map(|seen| {
        let (value, expected) = (known(seen, "value")?, known(seen, "expected")?);
        let (low, high) = (known(seen, "low").unwrap_or(f64::MIN), known(seen, "high").unwrap_or(f64::MAX));
        let part = if value >= expected {
            (value - expected) / (high - expected)
        } else {
            (expected - value) / (expected - low)
        };
        Some((part, value, expected, low, high, seen.time))
    });
    let Some((part, value, expected, low, high, time)) = measured.max_by(|a, b| a.0.total_cmp(&b.0)) else {
        return format!("{} where, and it was still learning what is normal", passes(passing.len()));
    };
    let band = format!("expected {}, normal {} to {}", figure(expected), figure(low), figure(high));
    match part > 1.0 {
        true => format!(
            "the value left its normal ({} at {time}; {band}), but what else is asked for did not hold, or \
             the side does not matter",
            figure(value)
        ),
        false => format!("the value never left its normal: nearest {} at {time}; {band}", figure(value)),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(int) => Some(*int as f64),
        Value::Float(float) => Some(*float),
        _ => None,
    }
}

/// How near a conjunct came.
fn best(passing: &[&Seen], part: &Node, threshold: &Threshold, sql: &Sql<'_>) -> String {
    let text = sql.text(part);
    let (Some(value), Some(limit)) = (part.args.first(), part.args.get(1).and_then(Node::as_const)) else {
        return format!("`{text}` was never true");
    };
    let rising = matches!(part.op, Op::Ge | Op::Gt);
    let falling = matches!(part.op, Op::Le | Op::Lt);
    let reached =
        passing.iter().filter_map(|seen| Some((number(&having::evaluate(value, &Known(seen)))?, *seen)));
    let reached = reached.reduce(|best, next| {
        let better = if falling { next.0 < best.0 } else { next.0 > best.0 };
        if better { next } else { best }
    });
    let Some((reached, at)) = reached.filter(|_| rising || falling) else {
        return format!("`{text}` was never true");
    };
    let word = if falling { "lowest" } else { "highest" };
    let mut out = format!("never reached `{text}`: {word} {} at {}", figure(reached), at.time);
    if let Some(more) = missing(value, limit, &part.op, reached, threshold)
        && let Some(until) = leaves(passing, at, threshold)
    {
        out.push_str(&format!(". {more} more before {until} would have fired"));
    }
    out
}

/// How much a count or sum lacked.
fn missing(value: &Node, limit: &Value, op: &Op, reached: f64, threshold: &Threshold) -> Option<i64> {
    let value = if value.op == Op::Cast { value.args.first()? } else { value };
    let Op::Aggregate(at) = value.op else { return None };
    let counted = [AggFunc::Count, AggFunc::CountDistinct, AggFunc::Sum];
    let counts = threshold.aggregates.get(at).is_some_and(|aggregate| counted.contains(&aggregate.func));
    let limit = number(limit)?;
    let needed = if *op == Op::Gt { limit.floor() + 1.0 } else { limit.ceil() };
    counts.then_some((needed - reached) as i64).filter(|more| *more > 0)
}

/// When the first event of the window that ends there leaves it.
fn leaves(passing: &[&Seen], at: &Seen, threshold: &Threshold) -> Option<Timestamp> {
    match threshold.window {
        Window::Tumbling(length) => Some(Timestamp((at.time.0.div_euclid(length) + 1) * length)),
        // A session goes on as long as there are events.
        Window::Session(_) => None,
        Window::Sliding(length) => {
            let inside =
                passing.iter().filter(|seen| seen.time > at.time.minus(length) && seen.time <= at.time);
            inside.map(|seen| seen.time).min().map(|first| first.plus(length))
        }
    }
}

/// What else may explain it.
fn extras(traced: &Traced, rule: &Rule) -> Vec<String> {
    let mut extras = Vec::new();
    if traced.alerts.is_empty() && traced.pending > 0 {
        let windows = count(traced.pending as usize, "window");
        extras.push(format!(
            "at the end of the input {windows} of all keys waited to be judged: more events would close them"
        ));
    }
    if traced.blind.total() > 0 {
        let by: Vec<String> =
            traced.blind.iter().map(|(reason, n)| format!("{} {n}", reason.name())).collect();
        extras.push(format!("over all keys it could not see: {}", by.join(", ")));
    }
    if traced.rejected > 0 {
        extras.push(format!("{} could not be read", count(traced.rejected as usize, "record")));
    }
    if let Some(alert) = traced.alerts.first() {
        let observed: Vec<String> = alert
            .observed
            .iter()
            .filter(|(_, value)| *value != Value::Null)
            .map(|(name, value)| format!("{name} {}", cut(&readable(value), 60)))
            .collect();
        if !observed.is_empty() {
            extras.push(format!("with {}", observed.join(", ")));
        }
    }
    let mode = match rule.mode {
        _ if traced.alerts.is_empty() => None,
        Mode::Live => None,
        Mode::Shadow => Some("the rule is in shadow: live, it sends none of this"),
        Mode::BuildingBlock => Some("the rule is a building block: live, it sends none of this to a sink"),
    };
    extras.extend(mode.map(str::to_owned));
    extras
}
