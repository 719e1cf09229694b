//! Values of single events: each is judged by what came before it, and learned.

use super::judgement::{Basis, Judgement, episode, say};
use super::member::{Member, Slot};
use super::{BaselineDetector, REBASE, Row, number, unjudged};
use crate::alert::{Episode, Reason};
use crate::detect::Found;
use crate::detect::table::KeyValues;
use crate::event::Value;

use crate::rule::Rule;
use crate::rule::learned::Baseline;

impl BaselineDetector {
    /// Judges and learns the value of one event. An event older than its key's newest changes nothing, until
    /// nothing newer has come for a while.
    pub(super) fn fold_event(&mut self, row: &Row<'_>, column: usize, found: &mut Found) {
        if self.member(row.key).is_some_and(|(_, member)| is_older(member, row)) {
            return found.blind.add(Reason::Late, 1);
        }
        let borrowed = self.borrowed(row.cohort);
        if self.admit(row, found).is_none() {
            return;
        }
        let BaselineDetector { rule, spec, table, .. } = self;
        table.schedule(row.key, Some(row.now.plus(spec.history)));
        let Some(entry) = table.get_mut(row.key) else { return };
        let Slot::Member(member) = &mut entry.state else { return };
        member.meet(spec, row.cohort);
        (member.rows.newest, member.rows.touched) = (Some(row.time), row.now);
        let value = row.rows.value(column, row.i);
        let Some(x) = number(&value) else { return found.blind.add(Reason::NullValue, 1) };
        match member.own().or(borrowed) {
            Some(basis) => judge((rule, spec), (&entry.values, member), row, (&value, x), &basis, found),
            None => unjudged(found),
        }
        member.normal.learn(spec, x, row.time);
        self.teach(row.cohort, (x, 1), (row.time, row.now), found);
    }
}

/// Whether an event is older than its key's newest, and the newest is not one that ran ahead of all others.
fn is_older(member: &Member, row: &Row<'_>) -> bool {
    member.rows.newest.is_some_and(|newest| row.time < newest) && row.now < member.rows.touched.plus(REBASE)
}

fn judge(
    (rule, spec): (&Rule, &Baseline),
    (key, member): (&KeyValues, &mut Member),
    row: &Row<'_>,
    (value, x): (&Value, f64),
    basis: &Basis,
    found: &mut Found,
) {
    let of = Some((row.rows, row.i));
    let judgement = Judgement { rule, spec, view: None, row: of, key, value, number: x, basis };
    if !member.tally(judgement.holds(spec.sides), spec.at_least) {
        return member.rows.edge.rearm();
    }
    let (severity, risk) = judgement.severity();
    let new = Episode::Event(row.rows.name(row.i));
    let Some(episode) = episode(&member.rows.edge, severity, new) else { return };
    let finding = judgement.finding(row.at(), row.key, episode, (severity, risk), None);
    found.findings.push(row.dated(finding));
    say(&mut member.rows.edge, row.time.0, episode, severity);
}
