//! `[match]`: each event is judged alone.

use super::build::{Draft, Judged, read_escalations};
use super::header::Header;
use super::{keys, observed};
use crate::rule::expr::parse::Place;
use crate::rule::file::Table;
use crate::rule::{Escalate, Kind, Match, When};

/// Reads what is particular to the kind.
pub fn judge(draft: &mut Draft<'_>, header: &Header, inner: &Table, table: &Table) -> Option<Judged> {
    draft.reader().known(inner, "[match]", &keys::MATCH);
    if inner.get("where").is_none() && inner.get("having").is_none() {
        let span = table.get("match").map_or(0..0, |entry| entry.key_span.clone());
        let example = "where = \"…\": without it every event is an alert";
        draft.reader().missing(span, "[match]", "where", example);
    }
    let text = draft.reader().text(inner, "having");
    let having = text.and_then(|text| draft.scope.read_condition(text, Place::Judgement));
    let bit = match (&having, text) {
        (Some(tree), Some(text)) => Some(draft.step(tree.node.clone(), text.span.clone())),
        _ => None,
    };
    let judged = having.as_ref().map(|tree| tree.node.clone());
    draft.conditions.extend(having);
    let mut escalate = Vec::new();
    for raise in read_escalations(draft, table, header, Place::Judgement) {
        let step = draft.step(raise.when.node.clone(), raise.text.span.clone());
        draft.whens.push(raise.when);
        escalate.push(Escalate { when: When::Step(step), severity: raise.severity, risk: raise.risk });
    }
    let observed = observed::of_match(draft);
    Some(Judged { kind: Kind::Match(Match { having: bit }), escalate, observed, having: judged, value: None })
}
