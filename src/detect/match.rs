//! One event satisfies `where` and `having`: the `match` kind. It has no memory.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::aggregate::takes;
use super::codec::Sources;
use super::{Detector, Found, StateError};
use crate::alert::{At, Episode, Finding, FiredBy};
use crate::event::{Key, Slice, Timestamp, Value};
use crate::rule::having::{self, Scope};
use crate::rule::{Clock, Kind, Rule, When};

/// A rule whose every event is judged alone.
pub struct MatchDetector {
    rule: Arc<Rule>,
    having: Option<u32>,
}

/// One row: there are no aggregates.
struct Row<'a>(&'a Slice<'a>, usize);

impl Scope for Row<'_> {
    fn aggregate(&self, _: usize) -> Value {
        Value::Null
    }

    fn input(&self, column: usize) -> Value {
        self.0.value(column, self.1)
    }
}

impl MatchDetector {
    /// A detector for this rule, whose `having` is that filter.
    pub fn new(rule: &Arc<Rule>, having: Option<u32>) -> MatchDetector {
        MatchDetector { rule: rule.clone(), having }
    }

    fn finding(&self, rows: &Slice<'_>, i: usize) -> Finding {
        let (name, steps) = (rows.name(i), rows.steps(i));
        let info = &self.rule.info;
        let (mut severity, mut risk) = (info.severity, info.risk);
        for escalate in &self.rule.escalate {
            if let When::Step(bit) = escalate.when
                && takes(Some(bit), steps)
            {
                severity = severity.max(escalate.severity);
                risk = risk.max(escalate.risk.unwrap_or(0));
            }
        }
        let row = Row(rows, i);
        let observed = self.rule.observed.iter();
        Finding {
            at: At::Row { row: rows.row(i) as u32 },
            key: rows.key(i),
            key_values: (0..self.rule.key.len()).map(|part| rows.value(part, i)).collect(),
            episode: Episode::Event(name),
            time: if self.rule.clock == Clock::Arrival { name.broker_time } else { rows.time(i) },
            broker_time: name.broker_time,
            now: rows.now(i),
            severity,
            risk,
            window: None,
            observed: observed.map(|(name, node)| (name.clone(), having::evaluate(node, &row))).collect(),
            count: 1,
            evidence: vec![name],
            fired_by: Some(FiredBy { slice_row: i, name }),
        }
    }
}

impl Detector for MatchDetector {
    fn adopt(&mut self, rule: &Arc<Rule>) {
        if let Kind::Match(spec) = &rule.kind {
            *self = MatchDetector::new(rule, spec.having);
        }
    }

    fn fold(&mut self, rows: &Slice<'_>, _until: Timestamp, found: &mut Found) {
        for i in 0..rows.len() {
            if takes(self.having, rows.steps(i)) {
                found.findings.push(self.finding(rows, i));
            }
        }
    }

    fn pending(&self) -> u64 {
        0
    }

    fn next_due(&self) -> Option<Timestamp> {
        None
    }

    fn save(&self) -> Vec<RecordBatch> {
        Vec::new()
    }

    fn begin_save(&mut self) {}

    fn save_some(&mut self, _budget: &mut usize) -> Option<Vec<RecordBatch>> {
        Some(Vec::new())
    }

    fn abandon_save(&mut self) {}

    fn load(&mut self, _saved: &[RecordBatch], _sources: Sources<'_>) -> Result<(), StateError> {
        Ok(())
    }

    fn forget(&mut self, _key: Key) {}
}
