//! One value beside what is normal: whether it is odd, how severe that is, and what an alert shows of it.

use std::sync::Arc;

use super::super::edge::Edge;
use super::super::judge::View;
use super::super::normal::Band;
use super::super::table::KeyValues;
use crate::alert::{At, Episode, Finding, Severity};
use crate::event::{Key, Scalar, Slice, Timestamp, Value};
use crate::rule::expr::node::Learned;
use crate::rule::having::{self, Scope};
use crate::rule::learned::{Baseline, Sides};
use crate::rule::{Rule, When};

/// What a value is judged by, and whose normal that is.
#[derive(Clone, Copy, Debug)]
pub struct Basis {
    /// The normal.
    pub band: Band,
    /// Whose it is.
    pub source: Source,
}

/// Whose normal a value is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The key's.
    Own,
    /// That of its cohort, since the key is still learning.
    Cohort,
}

/// One value beside what is normal.
pub struct Judgement<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Its table.
    pub spec: &'a Baseline,
    /// The window, if the value is of one.
    pub view: Option<&'a View<'a>>,
    /// The event, if the value is of one.
    pub row: Option<(&'a Slice<'a>, usize)>,
    /// The key's values.
    pub key: &'a KeyValues,
    /// The value.
    pub value: &'a Value,
    /// The same as a number.
    pub number: f64,
    /// What it is judged by.
    pub basis: &'a Basis,
}

impl Scope for Judgement<'_> {
    fn aggregate(&self, i: usize) -> Value {
        self.view.map_or(Value::Null, |view| view.aggregate(i))
    }

    fn scalar(&self, i: usize) -> Scalar {
        self.view.map_or(Scalar::Null, |view| view.scalar(i))
    }

    fn wide_sum(&self, i: usize) -> Option<i128> {
        self.view?.wide_sum(i)
    }

    fn input(&self, column: usize) -> Value {
        match (self.key.get(column), self.row) {
            (Some(value), _) => value,
            (None, Some((rows, i))) => rows.value(column, i),
            (None, None) => Value::Null,
        }
    }

    fn learned(&self, what: Learned) -> Value {
        let Basis { band, source } = self.basis;
        match what {
            Learned::Value => self.value.clone(),
            Learned::Expected => Value::float(band.expected),
            Learned::Low => Value::float(band.low),
            Learned::High => Value::float(band.high),
            Learned::Score => Value::float(band.score(self.number, self.spec.sides)),
            Learned::Samples => Value::Int(i64::try_from(band.samples).unwrap_or(i64::MAX)),
            Learned::Source => Value::text(match source {
                Source::Own => "own",
                Source::Cohort => "cohort",
            }),
        }
    }
}

impl Judgement<'_> {
    /// Whether the value is odd on one of these sides, and `having` holds.
    pub fn holds(&self, sides: Sides) -> bool {
        self.basis.band.is_odd(self.number, sides) && having::holds(&self.spec.having, self)
    }

    /// The highest severity and risk of the escalations that are true, at least the rule's own.
    pub fn severity(&self) -> (Severity, u8) {
        let (mut severity, mut risk) = (self.rule.info.severity, self.rule.info.risk);
        for escalate in &self.rule.escalate {
            if let When::Holds(when) = &escalate.when
                && having::holds(when, self)
            {
                severity = severity.max(escalate.severity);
                risk = risk.max(escalate.risk.unwrap_or(0));
            }
        }
        (severity, risk)
    }

    /// A finding; the caller dates it.
    pub fn finding(
        &self,
        at: At,
        key: Key,
        episode: Episode,
        (severity, risk): (Severity, u8),
        window: Option<(Timestamp, Timestamp)>,
    ) -> Finding {
        let mut finding = match (self.view, window) {
            (Some(view), Some(window)) => view.finding(at, key, episode, (severity, risk), window),
            _ => self.of_event(at, key, episode, (severity, risk)),
        };
        finding.observed = self.observed();
        finding
    }

    fn of_event(&self, at: At, key: Key, episode: Episode, (severity, risk): (Severity, u8)) -> Finding {
        let time = self.row.map_or(Timestamp(0), |(rows, i)| rows.time(i));
        Finding {
            at,
            key,
            key_values: self.key.to_vec(),
            episode,
            time,
            broker_time: time,
            now: time,
            severity,
            risk,
            window: None,
            observed: Vec::new(),
            count: 1,
            evidence: self.row.map(|(rows, i)| rows.name(i)).into_iter().collect(),
            fired_by: None,
        }
    }

    fn observed(&self) -> Vec<(Arc<str>, Value)> {
        let shown = self.rule.observed.iter();
        shown.map(|(name, node)| (name.clone(), having::evaluate(node, self))).collect()
    }
}

/// The episode of a true judgement: the one that goes on, if its severity rises, or a new one; none if all
/// has been said.
pub fn episode(edge: &Edge, severity: Severity, new: Episode) -> Option<Episode> {
    match edge.open() {
        Some(open) if severity <= open.said => None,
        Some(open) => Some(open.episode),
        None => Some(new),
    }
}

/// Notes what was said: of an episode that goes on, or of a new one.
pub fn say(edge: &mut Edge, end: i64, episode: Episode, severity: Severity) {
    match edge.open_mut() {
        Some(open) if open.episode == episode => {
            open.said = severity;
            edge.hold(end);
        }
        _ => edge.fire(end, true, episode, severity),
    }
}
