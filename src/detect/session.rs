//! Windows that end with a pause: `window = "session 30m"` of the `threshold` kind.
//!
//! A row belongs to the session of the key from whose rows it is less than the pause away; one that lies
//! between two makes one of them, whichever came first. A session is judged for itself: one alert, and one
//! more for each rise of its severity. `known` keeps sessions; this file decides when they are judged and
//! closed, by the laws of tumbling windows: a pause after its last row is where a session ends.
//!
//! It learns nothing and slides nothing: that is `baseline` and `threshold`.

mod known;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use self::known::{Next, Session, Sessions, Step};
use super::aggregate::{List, Place, takes};
use super::codec::{Reader, Sources};
use super::judge::Plan;
use super::table::{Entry, KeyTable, KeyValues};
use super::{Detector, Found, StateError};
use crate::alert::{At, Episode, Finding, FiredBy, Reason, Severity};
use crate::event::time::SECOND;
use crate::event::{Key, Limits, Micros, Scalar, Slice, Timestamp, Value};
use crate::rule::having::Scope;
use crate::rule::{Clock, Kind, Rule, Threshold};

/// How long a closed session is remembered at least.
const REMEMBER: Micros = 600 * SECOND;

/// The memory of one rule over sessions in one partition.
pub struct SessionDetector {
    plan: Plan,
    limits: Limits,
    table: KeyTable<Sessions>,
}

/// One session of one key, as a condition sees it.
struct View<'a> {
    plan: &'a Plan,
    key: &'a KeyValues,
    session: &'a Session,
    /// The row that judges it; none at a close.
    row: Option<(&'a Slice<'a>, usize)>,
}

impl Scope for View<'_> {
    fn aggregate(&self, i: usize) -> Value {
        match self.plan.layout.place(i) {
            Some(Place::List { at, .. }) => {
                let list = self.session.lists.get(at);
                Value::List(list.map_or_else(Vec::new, |list| list.values().to_vec()))
            }
            _ => self.scalar(i).into(),
        }
    }

    fn scalar(&self, i: usize) -> Scalar {
        match self.plan.layout.place(i) {
            Some(Place::Words(cell)) => cell.tally.see(cell.of(&self.session.words)),
            Some(Place::Distinct(set)) => {
                Scalar::Int(i64::try_from(self.session.distinct(set)).unwrap_or(i64::MAX))
            }
            Some(Place::Quantiles { at, share }) => match self.session.lists.get(at) {
                Some(List::Counts(counts)) => {
                    counts.quantile(f64::from(share) / 1e4).map_or(Scalar::Null, Scalar::float)
                }
                _ => Scalar::Null,
            },
            // A session has no exact count of its own kind: it counts what it holds.
            Some(Place::Ring(_) | Place::List { .. }) | None => Scalar::Null,
        }
    }

    fn wide_sum(&self, i: usize) -> Option<i128> {
        match self.plan.layout.place(i) {
            Some(Place::Words(cell)) => cell.tally.see_wide(cell.of(&self.session.words)),
            _ => None,
        }
    }

    fn input(&self, column: usize) -> Value {
        match (self.key.get(column), self.row) {
            (Some(value), _) => value,
            (None, Some((rows, i))) => rows.value(column, i),
            (None, None) => Value::Null,
        }
    }
}

impl View<'_> {
    /// What a session that passes says, if it has not said as much before; the caller dates it.
    fn finding(&self, at: At, key: Key, end: Timestamp) -> Option<Finding> {
        if !self.plan.holds(self) {
            return None;
        }
        let (severity, risk) = self.plan.severity(self);
        if self.session.said.is_some_and(|said| severity <= said) {
            return None;
        }
        let count = match self.plan.spec.count.map(|i| self.aggregate(i)) {
            Some(Value::Int(count)) => u64::try_from(count).unwrap_or(0),
            _ => self.session.rows,
        };
        let mut evidence = self.session.ends.to_vec();
        evidence.dedup();
        Some(Finding {
            at,
            key,
            key_values: self.key.to_vec(),
            episode: Episode::Window(self.session.first),
            time: end,
            broker_time: end,
            now: end,
            severity,
            risk,
            window: Some((self.session.first, end)),
            observed: self.plan.observed(self),
            count,
            evidence,
            fired_by: None,
        })
    }
}

impl SessionDetector {
    /// A detector that has seen nothing.
    pub fn new(rule: &Arc<Rule>, spec: &Threshold, limits: &Limits) -> SessionDetector {
        SessionDetector {
            plan: Plan::new(rule, spec),
            limits: limits.clone(),
            table: KeyTable::new(limits.keys),
        }
    }

    fn pause(&self) -> Micros {
        self.plan.cut.window
    }

    /// The time of a row by the rule's clock.
    fn time_of(&self, rows: &Slice<'_>, i: usize) -> Timestamp {
        match self.plan.rule.clock {
            Clock::Event => rows.time(i),
            Clock::Arrival => rows.name(i).broker_time,
        }
    }

    fn fold_row(&mut self, rows: &Slice<'_>, i: usize, found: &mut Found) {
        let (time, key, now) = (self.time_of(rows, i), rows.key(i), rows.now(i));
        if self.table.get_mut(key).is_some_and(|entry| entry.state.is_late(time)) {
            return found.blind.add(Reason::Late, 1);
        }
        let plan = &self.plan;
        let values = || (0..plan.rule.key.len()).map(|part| rows.value(part, i)).collect();
        let Some(entry) = self.table.touch(key, &mut found.blind, || (values(), Sessions::default())) else {
            return;
        };
        let older = entry.state.newest.is_some_and(|newest| time < newest);
        let resets = plan.spec.reset.is_some_and(|bit| takes(Some(bit), rows.steps(i)));
        let step = Step { rows, i, time, now, older, resets };
        let at = entry.state.add(plan, &self.limits, &step, &mut found.blind);
        if let Some(at) = at.filter(|_| plan.spec.on_event) {
            judge(plan, entry, (at, key), &step, found);
        }
        if !older {
            entry.state.newest = Some(time);
        }
        let row = rows.row(i) as u32;
        self.close_due(key, now, Some(now), &|due, start| At::AfterRow { row, due, start }, found);
    }

    /// Closes and forgets what is due for one key, in the order (due, start). `fired_at`: the stream time of
    /// the row that made it due; none if time alone did.
    fn close_due(
        &mut self,
        key: Key,
        until: Timestamp,
        fired_at: Option<Timestamp>,
        at: &dyn Fn(Timestamp, Timestamp) -> At,
        found: &mut Found,
    ) {
        let pause = self.pause();
        loop {
            let Some(entry) = self.table.get_mut(key) else { return };
            let Some((due, next)) = entry.state.next(pause, &self.limits) else {
                return self.table.remove(key);
            };
            if due > until {
                return self.table.schedule(key, Some(due));
            }
            match next {
                Next::Unmark(mark) => entry.state.unmark(mark),
                Next::Close(place) => {
                    let now = fired_at.unwrap_or(due);
                    if !self.plan.spec.on_event {
                        judge_closing(&self.plan, entry, (place, key), (due, now), at, found);
                    }
                    entry.state.close(place, pause, now.plus(pause.max(REMEMBER)), &mut found.blind);
                }
            }
        }
    }

    fn fire_due(&mut self, until: Timestamp, found: &mut Found) {
        while let Some(key) = self.table.pop_due(until) {
            self.close_due(key, until, None, &|due, start| At::Due { due, start }, found);
        }
    }
}

/// A session is judged with each of its rows.
fn judge(
    plan: &Plan,
    entry: &mut Entry<Sessions>,
    (at, key): (usize, Key),
    step: &Step<'_>,
    found: &mut Found,
) {
    let end = entry.state.end(at, plan.cut.window);
    let Some(session) = entry.state.open().get(at) else { return };
    let view = View { plan, key: &entry.values, session, row: Some((step.rows, step.i)) };
    let row = step.rows.row(step.i) as u32;
    let Some(mut finding) = view.finding(At::Row { row }, key, end) else { return };
    let name = step.rows.name(step.i);
    (finding.time, finding.broker_time, finding.now) = (step.time, name.broker_time, step.now);
    finding.fired_by = Some(FiredBy { slice_row: step.i, name });
    say(entry, at, finding.severity);
    found.findings.push(finding);
}

/// A session is judged as it closes.
fn judge_closing(
    plan: &Plan,
    entry: &mut Entry<Sessions>,
    (place, key): (usize, Key),
    (due, now): (Timestamp, Timestamp),
    at: &dyn Fn(Timestamp, Timestamp) -> At,
    found: &mut Found,
) {
    let end = entry.state.end(place, plan.cut.window);
    let Some(session) = entry.state.open().get(place) else { return };
    let view = View { plan, key: &entry.values, session, row: None };
    let Some(mut finding) = view.finding(at(due, session.first), key, end) else { return };
    (finding.broker_time, finding.now) = (now, now);
    found.findings.push(finding);
}

fn say(entry: &mut Entry<Sessions>, at: usize, severity: Severity) {
    if let Some(session) = entry.state.get_mut(at) {
        session.said = Some(severity);
    }
}

impl Detector for SessionDetector {
    fn adopt(&mut self, rule: &Arc<Rule>) {
        if let Kind::Threshold(spec) = &rule.kind {
            self.plan = Plan::new(rule, spec);
        }
    }

    fn fold(&mut self, rows: &Slice<'_>, until: Timestamp, found: &mut Found) {
        for i in 0..rows.len() {
            self.fire_due(rows.now(i), found);
            self.fold_row(rows, i, found);
        }
        self.fire_due(until, found);
    }

    fn pending(&self) -> u64 {
        if self.plan.spec.on_event {
            return 0;
        }
        self.table.entries().map(|entry| entry.state.open().len() as u64).sum()
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.table.next_due()
    }

    fn save(&self) -> Vec<RecordBatch> {
        super::state::save(&self.table, Sessions::write)
    }

    fn begin_save(&mut self) {
        self.table.begin_save(Sessions::write);
    }

    fn save_some(&mut self, budget: &mut usize) -> Option<Vec<RecordBatch>> {
        self.table.save_some(budget)
    }

    fn abandon_save(&mut self) {
        self.table.abandon_save();
    }

    fn load(&mut self, saved: &[RecordBatch], sources: Sources<'_>) -> Result<(), StateError> {
        self.table = KeyTable::new(self.limits.keys);
        let (pause, limits) = (self.pause(), &self.limits);
        super::state::load(&mut self.table, saved, |bytes| {
            let state = Sessions::read(&mut Reader(bytes, sources))?;
            let due = state.next(pause, limits).map(|(due, _)| due);
            Ok((state, due))
        })
    }

    fn forget(&mut self, key: Key) {
        self.table.remove(key);
    }

    fn look(&self, key: Key, rows: &Slice<'_>, row: usize) -> Vec<(&'static str, Value)> {
        let Some(entry) = self.table.get(key) else { return Vec::new() };
        let of = entry.state.of(self.time_of(rows, row), self.pause());
        let Some(session) = entry.state.open().get(of.start).filter(|_| !of.is_empty()) else {
            return Vec::new();
        };
        let view = View { plan: &self.plan, key: &entry.values, session, row: Some((rows, row)) };
        (0..self.plan.spec.aggregates.len()).map(|at| ("", view.aggregate(at))).collect()
    }
}
