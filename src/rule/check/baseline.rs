//! `[baseline]`: a value beside what is normal for its key.

use super::build::{Draft, Judged, Raise, read_escalations};
use super::header::{Header, name_list};
use super::keys;
use super::threshold::{bind_raises, bind_text, first_count, read_lets, read_window};
use super::tuning::Tuning;
use super::{law, observed};
use crate::event::{Micros, Type, Value};
use crate::rule::expr::node::{Learned, Node, Op};
use crate::rule::expr::parse::{Place, Tree, a};
use crate::rule::file::{Span, Table, Text};
use crate::rule::having::{self, Scope};
use crate::rule::learned::{Baseline, Floor, Measure, Method, Sides, Windowed};
use crate::rule::{AggFunc, Aggregate, Escalate, Kind, Threshold, When, Window};

/// The spread that a normal of floats has at least, as a share of what is expected.
const LEAST_SHARE: f64 = 0.01;

/// Reads what is particular to the kind.
pub fn judge(
    draft: &mut Draft<'_>,
    header: &Header,
    inner: &Table,
    table: &Table,
    span: Span,
) -> Option<Judged> {
    draft.reader().known(inner, "[baseline]", &keys::BASELINE);
    say_hidden(draft);
    let window = inner.get("window").map(|_| read_window(&mut draft.reader(), inner));
    no_session(draft, inner, window.flatten());
    let value = read_value(draft, inner, span.clone(), window.is_some());
    let kind = value.as_ref().map_or(Type::Float, |(_, tree)| tree.node.kind);
    draft.scope.learned = Some(kind);
    let place = if window.is_some() { Place::Window } else { Place::Judgement };
    let text = draft.reader().text(inner, "having");
    let having = text.and_then(|text| draft.scope.read_condition(text, place));
    let raises = read_escalations(draft, table, header, place);
    draft.whens.extend(raises.iter().map(|raise| raise.when.clone()));
    read_lets(draft);
    let cohort = cohort(draft, inner);
    let counts = value.as_ref().is_some_and(|(_, tree)| is_count(draft, &tree.node));
    let length = window.flatten().map_or(0, length);
    let tuning = Tuning::read(&mut draft.reader(), inner, span, (counts, length));
    let judgement = match (text, &having) {
        (Some(text), Some(having)) => Some(lift(draft, text, having, window.is_some())),
        (Some(_), None) => None,
        (None, _) => Some(Some(Node::truth())),
    };
    let value = value?;
    let escalate = if window.is_some() { bind_raises(draft, &raises) } else { lift_raises(draft, &raises) };
    draft.conditions.extend(having.clone());
    let observed = observed::of_baseline(draft, having.as_ref(), window.is_some(), kind);
    let tuning = tuning?;
    fits_method(draft, value.0, kind, tuning.method)?;
    let grows = window.is_some()
        && tuning.at_least.is_none()
        && law::grows(draft, &value.1.node)
        && having.as_ref().is_none_or(|having| !law::has_downward(draft, &having.node));
    check_sides(draft, inner, window.flatten(), grows, tuning.sides)?;
    let measure = match window {
        None => Measure::Event(draft.value(value.1.node.clone())),
        Some(window) => windowed(draft, value.0, &value.1, window?, grows)?,
    };
    let baseline = built(tuning, measure, cohort, judgement??, grows, kind);
    let (having, value) = (having.map(|tree| tree.node), Some(value.1.node));
    Some(Judged { kind: Kind::Baseline(baseline), escalate: escalate?, observed, having, value })
}

fn built(
    tuning: Tuning,
    measure: Measure,
    cohort: Option<Vec<usize>>,
    having: Node,
    grows: bool,
    kind: Type,
) -> Baseline {
    let usual = if kind == Type::Int { Floor::Absolute(1.0) } else { Floor::Relative(LEAST_SHARE) };
    Baseline {
        on_event: Sides { high: tuning.sides.high && grows, low: false },
        measure,
        method: tuning.method,
        limit: tuning.limit,
        sides: tuning.sides,
        learn: tuning.learn,
        history: tuning.history,
        cohort,
        having,
        at_least: tuning.at_least,
        memory: tuning.memory,
        floor: tuning.floor.unwrap_or(usual),
    }
}

/// A normal is learned once a window length: sessions have none.
fn no_session(draft: &mut Draft<'_>, inner: &Table, window: Option<Window>) {
    if let (Some(Window::Session(_)), Some(entry)) = (window, inner.get("window")) {
        let hint = "sessions have no length in common that could be normal: write \"1h\", or \"tumbling 1h\"";
        draft.reader().error(entry.item.span.clone(), "a [baseline] takes no session window", hint);
    }
}

/// Lets whose names mean something else under `having`.
fn say_hidden(draft: &mut Draft<'_>) {
    for each in draft.scope.lets {
        if Learned::ALL.iter().any(|learned| learned.name() == each.name) {
            let message = format!("let \"{}\" hides what `having` of a [baseline] calls so", each.name);
            let file = each.file.clone();
            draft.scope.problem(&file, each.name_span.clone(), message, "give it another name");
        }
    }
}

fn read_value<'t>(
    draft: &mut Draft<'_>,
    inner: &'t Table,
    span: Span,
    windowed: bool,
) -> Option<(&'t Text, Tree)> {
    if inner.get("value").is_none() {
        let example = "value = \"count(*)\" with a `window`, or value = \"speed\" of each event";
        draft.reader().missing(span, "[baseline]", "value", example);
    }
    let text = draft.reader().text(inner, "value")?;
    let tree = draft.scope.read(text, Place::Window)?;
    let problem = match (tree.node.has_aggregate(), windowed, tree.node.kind) {
        (true, false, _) => Some((
            "an aggregate needs a window".to_string(),
            "write `window = \"1h\"` (slides), or \"tumbling 1h\"".to_string(),
        )),
        (false, true, _) => Some((
            "`value` holds no aggregate, and the rule has a window".into(),
            format!("aggregate it: `max({})`; or leave `window` out: then each event is judged", text.text),
        )),
        (_, _, Type::Int | Type::Float) => None,
        (_, _, kind) => Some((
            format!("`value` is {}, not a number", a(kind)),
            "count what you mean: `count(*) FILTER (WHERE …)`, `count(DISTINCT x)`".into(),
        )),
    };
    if let Some((message, hint)) = problem {
        draft.reader().error(text.span.clone(), message, hint);
        return None;
    }
    Some((text, tree))
}

fn length(window: Window) -> Micros {
    match window {
        Window::Sliding(length) | Window::Tumbling(length) | Window::Session(length) => length,
    }
}

/// Whether a value is a count or a sum: small ones are nothing to look at.
fn is_count(draft: &Draft<'_>, node: &Node) -> bool {
    let func = |index: usize| draft.scope.aggregates.get(index).map(|call| call.func);
    match (&node.op, &node.args[..]) {
        (Op::Aggregate(index), _) => {
            matches!(func(*index), Some(AggFunc::Count | AggFunc::CountDistinct | AggFunc::Sum))
        }
        (Op::Cast, [inner]) => is_count(draft, inner),
        _ => false,
    }
}

fn fits_method(draft: &mut Draft<'_>, text: &Text, kind: Type, method: Method) -> Option<()> {
    if method == Method::Poisson && kind != Type::Int {
        let hint = "count or sum integers, or take method = \"robust\"";
        let message = format!("method \"poisson\" counts, and this value is {}", a(kind));
        draft.reader().error(text.span.clone(), message, hint);
        return None;
    }
    Some(())
}

/// A sliding window that only grows is judged on events, so it is never empty, and never low.
fn check_sides(
    draft: &mut Draft<'_>,
    inner: &Table,
    window: Option<Window>,
    grows: bool,
    sides: Sides,
) -> Option<()> {
    if grows
        && sides.low
        && let Some(Window::Sliding(_)) = window
    {
        let span = inner.get("direction").map_or(0..0, |entry| entry.item.span.clone());
        let message = "a sliding window is judged on its events, and never low";
        let hint = "write direction = \"high\", or a window of the clock: window = \"tumbling 1h\"";
        draft.reader().error(span, message, hint);
        return None;
    }
    Some(())
}

fn cohort(draft: &mut Draft<'_>, inner: &Table) -> Option<Vec<usize>> {
    inner.get("cohort")?;
    let names = name_list(&mut draft.reader(), inner, "cohort")?;
    let columns = names.into_iter().filter_map(|text| {
        let node = draft.resolve(text)?.node;
        Some(draft.value(node))
    });
    Some(columns.collect())
}

fn windowed(draft: &mut Draft<'_>, text: &Text, tree: &Tree, window: Window, grows: bool) -> Option<Measure> {
    let value = bind_text(draft, text, tree)?;
    let (aggregates, rings) = law::aggregates(draft, text, &tree.node, &[], false);
    let empty = match having::evaluate(&value, &Nothing(&aggregates)) {
        Value::Int(int) => Some(int as f64),
        Value::Float(float) => Some(float),
        _ => None,
    };
    let count = first_count(&aggregates, &tree.node);
    let having = Node::truth();
    let spec = Threshold { window, on_event: grows, aggregates, rings, having, reset: None, count };
    Some(Measure::Window(Box::new(Windowed { spec, value, empty })))
}

/// A window without events.
struct Nothing<'a>(&'a [Aggregate]);

impl Scope for Nothing<'_> {
    fn aggregate(&self, i: usize) -> Value {
        match self.0.get(i).map(|aggregate| (aggregate.func, aggregate.arg_type)) {
            Some((AggFunc::Count | AggFunc::CountDistinct, _) | (AggFunc::Sum, Type::Int)) => Value::Int(0),
            Some((AggFunc::Sum, _)) => Value::Float(0.0),
            _ => Value::Null,
        }
    }

    fn input(&self, _: usize) -> Value {
        Value::Null
    }
}

/// A condition whose parts over one event are computed before, together with all other values of events.
fn lift(draft: &mut Draft<'_>, text: &Text, tree: &Tree, windowed: bool) -> Option<Node> {
    match windowed {
        true => bind_text(draft, text, tree),
        false => Some(lifted(draft, &tree.node)),
    }
}

/// The same tree over columns of `Picked::values`.
pub fn lifted(draft: &mut Draft<'_>, node: &Node) -> Node {
    if node.as_const().is_some() || matches!(node.op, Op::Learned(_)) {
        return node.clone();
    }
    if !node.has_learned() {
        let column = draft.value(node.clone());
        return Node { op: Op::Input(column), args: Vec::new(), kind: node.kind };
    }
    let args = node.args.iter().map(|arg| lifted(draft, arg)).collect();
    Node { op: node.op.clone(), args, kind: node.kind }
}

fn lift_raises(draft: &mut Draft<'_>, raises: &[Raise<'_>]) -> Option<Vec<Escalate>> {
    let lift = |raise: &Raise<'_>| {
        let when = When::Holds(lifted(draft, &raise.when.node));
        Escalate { when, severity: raise.severity, risk: raise.risk }
    };
    Some(raises.iter().map(lift).collect())
}
