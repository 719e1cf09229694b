//! A value leaves the normal that was learned of its key: the `baseline` kind.
//!
//! The value is one per event (`events`), or one per window (`windows`). Either way it is judged first and
//! learned then; of a window it is learned once per window length, when the aligned window closes. A key that
//! is still learning borrows the normal of its cohort, which all members of this partition teach. This file
//! keeps keys and cohorts, in one table; `member` is what is remembered of a key, `judgement` one verdict.

mod events;
mod judgement;
mod member;
mod windows;

use std::cell::OnceCell;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use self::judgement::{Basis, Source};
pub use self::member::Member;
use self::member::{Cohort, Slot};
use super::codec::{Reader, Sources};
use super::judge::{Plan, View};
use super::table::{KeyTable, KeyValues};
use super::{Detector, Found, StateError};
use crate::alert::{At, Finding, FiredBy, Reason};
use crate::event::time::SECOND;
use crate::event::{Key, KeyHasher, Limits, Micros, Slice, Timestamp, Value};
use crate::rule::having;
use crate::rule::learned::{Baseline, Measure};
use crate::rule::{Clock, Kind, Rule};

/// How long something that has ended is remembered at least.
const REMEMBER: Micros = 600 * SECOND;

/// A key whose newest event is ahead of what comes goes on from there once nothing newer came for so long.
const REBASE: Micros = 600 * SECOND;

/// Values that a key teaches its cohort at most for the time in which it was silent.
const SILENT_LESSONS: u64 = 10;

/// The memory of one baseline rule in one partition.
pub struct BaselineDetector {
    rule: Arc<Rule>,
    spec: Baseline,
    /// What windows need.
    plan: Option<Plan>,
    limits: Limits,
    table: KeyTable<Slot>,
}

/// One row, as the detector sees it.
#[derive(Clone, Copy)]
struct Row<'a> {
    rows: &'a Slice<'a>,
    i: usize,
    key: Key,
    /// By the rule's clock.
    time: Timestamp,
    /// Stream time.
    now: Timestamp,
    /// Whose normal the key borrows.
    cohort: Option<Key>,
}

impl Row<'_> {
    fn at(&self) -> At {
        At::Row { row: self.rows.row(self.i) as u32 }
    }

    /// A finding that this row fired.
    fn dated(&self, mut finding: Finding) -> Finding {
        let name = self.rows.name(self.i);
        finding.time = self.time;
        finding.broker_time = name.broker_time;
        finding.now = self.now;
        finding.fired_by = Some(FiredBy { slice_row: self.i, name });
        finding
    }
}

impl BaselineDetector {
    /// A detector that has learned nothing.
    pub fn new(rule: &Arc<Rule>, spec: &Baseline, limits: &Limits) -> BaselineDetector {
        let plan = match &spec.measure {
            Measure::Event(_) => None,
            Measure::Window(windowed) => Some(Plan::new(rule, &windowed.spec)),
        };
        BaselineDetector {
            rule: rule.clone(),
            spec: spec.clone(),
            plan,
            limits: limits.clone(),
            table: KeyTable::new(limits.keys),
        }
    }

    fn fold_row(&mut self, rows: &Slice<'_>, i: usize, found: &mut Found) {
        let time = match self.rule.clock {
            Clock::Event => rows.time(i),
            Clock::Arrival => rows.name(i).broker_time,
        };
        let cohort = self.spec.cohort.as_ref().map(|columns| cohort_key(rows, i, columns));
        let row = Row { rows, i, key: rows.key(i), time, now: rows.now(i), cohort };
        match self.spec.measure {
            Measure::Event(column) => self.fold_event(&row, column, found),
            Measure::Window(_) => self.fold_windowed(&row, found),
        }
    }

    /// Does what is due at or before `until`, in the order of (due, key): members teach their cohort as they
    /// close, so the order is part of the result, and must not depend on when timers were set.
    fn fire_due(&mut self, until: Timestamp, found: &mut Found) {
        while let Some(first) = self.table.next_due().filter(|due| *due <= until) {
            let Some(key) = self.table.pop_due(first) else { continue };
            self.wake(key, first, None, &|due, start| At::Due { due, start }, found);
        }
    }

    /// What the cohort of a key has learned, if it may judge.
    fn borrowed(&mut self, cohort: Option<Key>) -> Option<Basis> {
        match &self.table.get_mut(cohort?)?.state {
            Slot::Cohort(cohort) => Some(Basis { band: *cohort.normal.band()?, source: Source::Cohort }),
            Slot::Member(_) => None,
        }
    }

    /// Teaches a cohort a value so many times.
    fn teach(
        &mut self,
        cohort: Option<Key>,
        (value, times): (f64, u64),
        (time, now): (Timestamp, Timestamp),
        found: &mut Found,
    ) {
        let Some(key) = cohort else { return };
        let new = || (Box::default(), Slot::Cohort(Cohort::new(&self.spec)));
        let Some(entry) = self.table.touch(key, &mut found.blind, new) else { return };
        if let Slot::Cohort(cohort) = &mut entry.state {
            cohort.touched = now;
            cohort.normal.repeat(&self.spec, value, times, time);
        }
        self.table.schedule(key, Some(now.plus(self.spec.history)));
    }

    fn member(&mut self, key: Key) -> Option<(&KeyValues, &mut Member)> {
        let entry = self.table.get_mut(key)?;
        match &mut entry.state {
            Slot::Member(member) => Some((&entry.values, member)),
            Slot::Cohort(_) => None,
        }
    }

    /// The member of a row, made if it is new and there is room.
    fn admit(&mut self, row: &Row<'_>, found: &mut Found) -> Option<&mut Member> {
        let BaselineDetector { rule, spec, plan, table, .. } = self;
        let new = || {
            let values = (0..rule.key.len()).map(|part| row.rows.value(part, row.i)).collect();
            (values, Slot::Member(Box::new(Member::new(spec, plan.as_ref()))))
        };
        match &mut table.touch(row.key, &mut found.blind, new)?.state {
            Slot::Member(member) => Some(member),
            Slot::Cohort(_) => None,
        }
    }
}

/// The name of a cohort: never that of a key.
fn cohort_key(rows: &Slice<'_>, i: usize, columns: &[usize]) -> Key {
    let mut hasher = KeyHasher::default();
    hasher.bytes(8, b"cohort");
    columns.iter().for_each(|column| hasher.value(&rows.value(*column, i)));
    Key(hasher.finish())
}

/// A value as a number; none of NULL.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(int) => Some(*int as f64),
        Value::Float(float) => Some(*float),
        _ => None,
    }
}

impl Detector for BaselineDetector {
    fn adopt(&mut self, rule: &Arc<Rule>) {
        if let Kind::Baseline(spec) = &rule.kind {
            let fresh = BaselineDetector::new(rule, spec, &self.limits);
            let table = std::mem::replace(&mut self.table, KeyTable::new(0));
            *self = BaselineDetector { table, ..fresh };
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
        let waits = |slot: &Slot| match slot {
            Slot::Member(member) => {
                member.rows.panes.heads().iter().filter(|pane| pane.closed.is_none()).count()
            }
            Slot::Cohort(_) => 0,
        };
        if !self.closing_sides().any() {
            return 0;
        }
        self.table.entries().map(|entry| waits(&entry.state) as u64).sum()
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.table.next_due()
    }

    fn save(&self) -> Vec<RecordBatch> {
        super::state::save(&self.table, Slot::write)
    }

    fn begin_save(&mut self) {
        self.table.begin_save(Slot::write);
    }

    fn save_some(&mut self, budget: &mut usize) -> Option<Vec<RecordBatch>> {
        self.table.save_some(budget)
    }

    fn abandon_save(&mut self) {
        self.table.abandon_save();
    }

    fn load(&mut self, saved: &[RecordBatch], sources: Sources<'_>) -> Result<(), StateError> {
        self.table = KeyTable::new(self.limits.keys);
        let spec = &self.spec;
        super::state::load(&mut self.table, saved, |bytes| {
            Ok((Slot::read(spec, &mut Reader(bytes, sources))?, None))
        })?;
        let keys: Vec<Key> = self.table.in_order().iter().map(|(key, _)| *key).collect();
        for key in keys {
            let due = self.next_of(key);
            self.table.schedule(key, due);
        }
        Ok(())
    }

    fn forget(&mut self, key: Key) {
        self.table.remove(key);
    }

    fn look(&self, key: Key, rows: &Slice<'_>, row: usize) -> Vec<(&'static str, Value)> {
        let entry = self.table.get(key);
        let member = entry.and_then(|entry| match &entry.state {
            Slot::Member(member) => Some((&entry.values, member)),
            Slot::Cohort(_) => None,
        });
        let value = match (&self.spec.measure, &self.plan, member) {
            (Measure::Event(column), _, _) => rows.value(*column, row),
            (Measure::Window(window), Some(plan), Some((key, member))) => {
                let end = match self.rule.clock {
                    Clock::Event => rows.time(row),
                    Clock::Arrival => rows.name(row).broker_time,
                };
                let high = plan.cut.index(end);
                let (low, row) = (plan.cut.low(high), Some((rows, row)));
                let (state, sorted, carried) = (&member.rows, None, None);
                let exact = OnceCell::new();
                let view = View { plan, state, key, low, high, end, row, sorted, carried, exact };
                having::evaluate(&window.value, &view)
            }
            _ => Value::Null,
        };
        let cohort = self.spec.cohort.as_ref().map(|columns| cohort_key(rows, row, columns));
        let lent = || match &self.table.get(cohort?)?.state {
            Slot::Cohort(cohort) => Some(Basis { band: *cohort.normal.band()?, source: Source::Cohort }),
            Slot::Member(_) => None,
        };
        let Some(Basis { band, source }) = member.and_then(|(_, member)| member.own()).or_else(lent) else {
            return vec![("value", value), ("normal", Value::text("none yet: learning"))];
        };
        let whose = if source == Source::Own { "its own" } else { "its cohort's" };
        vec![
            ("value", value),
            ("normal", Value::text(whose)),
            ("expected", Value::float(band.expected)),
            ("low", Value::float(band.low)),
            ("high", Value::float(band.high)),
            ("samples", Value::Int(i64::try_from(band.samples).unwrap_or(i64::MAX))),
        ]
    }
}

/// Counts a value that could not be judged.
fn unjudged(found: &mut Found) {
    found.blind.add(Reason::Learning, 1);
}
