//! `[threshold]`: aggregates over a window.

use super::build::{Draft, Judged, Raise, read_escalations};
use super::header::Header;
use super::keys::{self, Reader};
use super::{law, observed};
use crate::event::time::SECOND;
use crate::rule::expr::node::{Node, Op};
use crate::rule::expr::parse::{LetValue, Place, Target, Tree};
use crate::rule::file::{Span, Table, Text};
use crate::rule::{AggFunc, Aggregate, Escalate, Kind, Threshold, When, Window};

/// The longest window: a year and a day. Keys are remembered at least that long.
const LONGEST: i64 = 366 * 86_400 * SECOND;

/// Reads what is particular to the kind.
pub fn judge(
    draft: &mut Draft<'_>,
    header: &Header,
    inner: &Table,
    table: &Table,
    span: Span,
) -> Option<Judged> {
    draft.reader().known(inner, "[threshold]", &keys::THRESHOLD);
    let window = window(&mut draft.reader(), inner, span.clone());
    if inner.get("having").is_none() {
        draft.reader().missing(span, "[threshold]", "having", "having = \"count(*) >= 6\"");
    }
    let text = draft.reader().text(inner, "having");
    let having = text.and_then(|text| draft.scope.read_condition(text, Place::Window));
    draft.conditions.extend(having.clone());
    let raises = read_escalations(draft, table, header, Place::Window);
    draft.whens.extend(raises.iter().map(|raise| raise.when.clone()));
    read_lets(draft);
    let (text, having) = (text?, having?);
    if !having.node.has_aggregate() {
        let message = "`having` of a [threshold] compares no aggregate";
        let hint = "compare one: `count(*) >= 6`; conditions on one event stand in `where`, or in a [match]";
        draft.reader().error(text.span.clone(), message, hint);
        return None;
    }
    let judgement = bind_text(draft, text, &having);
    let escalate = bind_raises(draft, &raises);
    let on_event = law::fires_on_event(draft, &having.node);
    let sliding = matches!(window, Some(Window::Sliding(_)));
    let whens: Vec<&Node> = raises.iter().map(|raise| &raise.when.node).collect();
    law::warn_of_nonsense(draft, text, &having.node);
    let (aggregates, rings) = law::aggregates(draft, text, &having.node, &whens, on_event && sliding);
    let observed = observed::of_threshold(draft, &having);
    let threshold = Threshold {
        window: window?,
        on_event,
        count: first_count(&aggregates, &having.node),
        aggregates,
        rings,
        having: judgement?,
        reset: None,
    };
    let having = Some(having.node);
    Some(Judged { kind: Kind::Threshold(threshold), escalate: escalate?, observed, having, value: None })
}

/// Reads the lets that no condition used: those that hold aggregates are reported.
pub fn read_lets(draft: &mut Draft<'_>) {
    for (index, each) in draft.scope.lets.iter().enumerate() {
        if each.own && !matches!(each.value, LetValue::List(_)) {
            draft.scope.read_let(index);
        }
    }
}

/// Binds the conditions of escalations; none if one of them cannot be.
pub fn bind_raises(draft: &mut Draft<'_>, raises: &[Raise<'_>]) -> Option<Vec<Escalate>> {
    let bound: Vec<Option<Escalate>> = raises
        .iter()
        .map(|raise| {
            let when = When::Holds(bind_text(draft, raise.text, &raise.when)?);
            Some(Escalate { when, severity: raise.severity, risk: raise.risk })
        })
        .collect();
    bound.into_iter().collect()
}

/// The first count in a condition or value.
pub fn first_count(aggregates: &[Aggregate], having: &Node) -> Option<usize> {
    let mut found = None;
    having.walk(&mut |node| {
        if let Op::Aggregate(index) = node.op
            && found.is_none()
            && aggregates.get(index).is_some_and(|aggregate| aggregate.func == AggFunc::Count)
        {
            found = Some(index);
        }
    });
    found
}

fn window(reader: &mut Reader<'_>, inner: &Table, span: Span) -> Option<Window> {
    if inner.get("window").is_none() {
        let example = "window = \"60s\" (slides), \"tumbling 1h\" or \"session 30m\"";
        reader.missing(span, "[threshold]", "window", example);
        return None;
    }
    read_window(reader, inner)
}

/// The window that a table names.
pub fn read_window(reader: &mut Reader<'_>, inner: &Table) -> Option<Window> {
    let text = reader.text(inner, "window")?;
    let words: Vec<&str> = text.text.split_whitespace().collect();
    let (form, duration) = match words[..] {
        [duration] => ("", duration),
        [form @ ("tumbling" | "session"), duration] => (form, duration),
        _ => {
            let message = format!("\"{}\" is not a window", text.text);
            let hint =
                "\"60s\" slides, \"tumbling 1h\" is cut by the clock, \"session 30m\" ends with a pause";
            reader.error(text.span.clone(), message, hint);
            return None;
        }
    };
    let length = reader.read_duration(text, duration)?;
    if length > LONGEST {
        let message = format!("a window of {duration} is too long");
        reader.error(text.span.clone(), message, "the longest is 366d");
        return None;
    }
    match form {
        "" => Some(Window::Sliding(length)),
        "tumbling" => Some(Window::Tumbling(length)),
        _ => Some(Window::Session(length)),
    }
}

/// Binds a condition over the window, and says which columns it must not read.
pub fn bind_text(draft: &mut Draft<'_>, text: &Text, tree: &Tree) -> Option<Node> {
    match bind(draft, &tree.node) {
        Ok(node) => Some(node),
        Err(columns) => {
            say_foreign(draft, text, tree, &columns);
            None
        }
    }
}

fn say_foreign(draft: &mut Draft<'_>, text: &Text, tree: &Tree, columns: &[usize]) {
    let mut said = false;
    for each in tree.refs.iter().filter(|each| !each.inside) {
        let (column, through) = match each.target {
            Target::Column(column) => (Some(column).filter(|column| columns.contains(column)), None),
            Target::Let(index) => {
                let node = draft.scope.read_let(index).map(|tree| tree.node);
                let foreign = node.and_then(|node| foreign_columns(draft, &node).first().copied());
                (foreign, draft.scope.lets.get(index).map(|each| each.name.clone()))
            }
        };
        let Some(column) = column else { continue };
        said = true;
        say_column(draft, each.span.clone(), column, through);
    }
    if let (false, Some(column)) = (said, columns.first()) {
        say_column(draft, text.span.clone(), *column, None);
    }
}

fn say_column(draft: &mut Draft<'_>, span: Span, column: usize, through: Option<String>) {
    let name = draft.schema.column_name(column).to_string();
    let through = through.map_or(String::new(), |through| format!(", which let \"{through}\" reads,"));
    let message = format!("over a window, column \"{name}\"{through} has many values");
    let hint =
        format!("aggregate it (`max({name})`), move the condition to `where`, or add \"{name}\" to `key`");
    draft.reader().error(span, message, hint);
}

/// Makes of a tree over columns one over aggregates and the key. Fails with the columns that are in neither.
pub fn bind(draft: &Draft<'_>, node: &Node) -> Result<Node, Vec<usize>> {
    let foreign = foreign_columns(draft, node);
    if foreign.is_empty() { Ok(bound(key_nodes(draft), node)) } else { Err(foreign) }
}

/// The expressions of the key's parts.
fn key_nodes<'d>(draft: &'d Draft<'_>) -> &'d [Node] {
    draft.inputs.values.get(..draft.key.len()).unwrap_or(&[])
}

/// Columns outside aggregates that are not of the key.
fn foreign_columns(draft: &Draft<'_>, node: &Node) -> Vec<usize> {
    let key = key_nodes(draft);
    let mut found = Vec::new();
    collect_foreign(key, node, &mut found);
    found
}

fn collect_foreign(key: &[Node], node: &Node, found: &mut Vec<usize>) {
    if key.contains(node) {
        return;
    }
    match node.op {
        Op::Column(column) if !found.contains(&column) => found.push(column),
        _ => node.args.iter().for_each(|arg| collect_foreign(key, arg, found)),
    }
}

/// A part of the key becomes its column of `Picked::values`, which is known at a close too; what is computed
/// from parts of the key stays a tree, for the evaluator of conditions over windows.
fn bound(key: &[Node], node: &Node) -> Node {
    if let Some(part) = key.iter().position(|part| part == node) {
        return Node { op: Op::Input(part), args: Vec::new(), kind: node.kind };
    }
    let args = node.args.iter().map(|arg| bound(key, arg)).collect();
    Node { op: node.op.clone(), args, kind: node.kind }
}
