//! One window of one key, as a condition sees it.

use std::cell;
use std::sync::Arc;

use super::aggregate::{Cell, Layout, List, Place, take_value};
use super::memory::KeyState;
use super::moving::Moving;
use super::panes::Cut;
use super::table::KeyValues;
use super::tally::{Tally, WIDEST};
use crate::alert::{At, Episode, Finding, Severity};
use crate::event::{EventName, Key, Scalar, Slice, Timestamp, Value};
use crate::rule::expr::node::{Node, Op};
use crate::rule::having::{self, Scope};
use crate::rule::{Rule, Threshold, When};
use crate::stats::quantiles::Quantiles;

/// Events named as evidence: so many of the first and of the last.
const EVIDENCE: usize = 3;

/// What a detector needs of its rule.
#[derive(Debug)]
pub struct Plan {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Its table.
    pub spec: Threshold,
    /// How it cuts time.
    pub cut: Cut,
    /// Where its aggregates keep what they know.
    pub layout: Layout,
    /// The conjuncts of its condition.
    conjuncts: Vec<Node>,
    /// The conjunct that was not true last: most windows fail by the same.
    failed: cell::Cell<usize>,
}

impl Plan {
    /// What a detector needs of this rule.
    pub fn new(rule: &Arc<Rule>, spec: &Threshold) -> Plan {
        let layout = Layout::new(&spec.aggregates);
        let mut conjuncts = conjuncts(&spec.having);
        conjuncts.sort_by_key(|conjunct| is_merged(conjunct, &layout));
        Plan {
            rule: rule.clone(),
            spec: spec.clone(),
            cut: Cut::new(spec),
            layout,
            conjuncts,
            failed: cell::Cell::new(0),
        }
    }

    /// Whether `having` is true of what is seen.
    pub fn holds(&self, scope: &dyn Scope) -> bool {
        let Plan { conjuncts, failed, .. } = self;
        let (before, from) = conjuncts.split_at(failed.get().min(conjuncts.len()));
        let mut all = (failed.get()..).zip(from).chain((0..).zip(before));
        match all.find(|(_, conjunct)| !having::holds(conjunct, scope)) {
            Some((at, _)) => {
                failed.set(at);
                false
            }
            None => true,
        }
    }

    /// The highest severity and risk of the escalations that are true, at least the rule's own.
    pub fn severity(&self, scope: &dyn Scope) -> (Severity, u8) {
        let info = &self.rule.info;
        let (mut severity, mut risk) = (info.severity, info.risk);
        for escalate in &self.rule.escalate {
            if let When::Holds(when) = &escalate.when
                && having::holds(when, scope)
            {
                severity = severity.max(escalate.severity);
                risk = risk.max(escalate.risk.unwrap_or(0));
            }
        }
        (severity, risk)
    }

    /// What its alerts show.
    pub fn observed(&self, scope: &dyn Scope) -> Vec<(Arc<str>, Value)> {
        let shown = self.rule.observed.iter();
        shown.map(|(name, node)| (name.clone(), having::evaluate(node, scope))).collect()
    }
}

/// What must all be true of a window: the parts of a condition that `AND` joins.
fn conjuncts(node: &Node) -> Vec<Node> {
    match (&node.op, node.args.as_slice()) {
        (Op::And, [left, right]) => [conjuncts(left), conjuncts(right)].concat(),
        _ => vec![node.clone()],
    }
}

/// Whether it reads what has to be merged from all panes of a window: such conjuncts are judged last.
fn is_merged(conjunct: &Node, layout: &Layout) -> bool {
    let mut merged = false;
    conjunct.walk(&mut |node| {
        merged |= matches!(node.op, Op::Aggregate(i) if layout.place(i).is_some_and(|place| !place.is_carried()));
    });
    merged
}

/// Words that need no memory of their own.
const ROOM: usize = 24;

/// What the panes of a window know exactly, merged.
#[derive(Debug)]
pub struct Exact {
    few: [u64; ROOM],
    /// All of it, where it is more.
    many: Vec<u64>,
}

impl Exact {
    /// Nothing seen.
    fn new(layout: &Layout) -> Exact {
        let nothing = layout.nothing();
        let mut exact = Exact { few: [0; ROOM], many: Vec::new() };
        match exact.few.get_mut(..nothing.len()) {
            Some(few) => few.copy_from_slice(nothing),
            None => exact.many = nothing.to_vec(),
        }
        exact
    }

    fn words(&self, layout: &Layout) -> &[u64] {
        self.few.get(..layout.nothing().len()).unwrap_or(&self.many)
    }

    fn words_mut(&mut self, layout: &Layout) -> &mut [u64] {
        self.few.get_mut(..layout.nothing().len()).unwrap_or(&mut self.many)
    }
}

/// One window of one key.
pub struct View<'a> {
    /// The rule.
    pub plan: &'a Plan,
    /// The key's memory.
    pub state: &'a KeyState,
    /// The key's values.
    pub key: &'a KeyValues,
    /// Its first pane.
    pub low: i64,
    /// Its last pane.
    pub high: i64,
    /// Its last instant.
    pub end: Timestamp,
    /// The row that judges it; none at a close.
    pub row: Option<(&'a Slice<'a>, usize)>,
    /// The times of each ring, rising, where many windows are looked at.
    pub sorted: Option<&'a [Vec<Timestamp>]>,
    /// What is carried from window to window, if this is where it stands.
    pub carried: Option<&'a Moving>,
    /// What all its panes know exactly: merged when it is first asked for.
    pub exact: cell::OnceCell<Exact>,
}

impl Scope for View<'_> {
    fn aggregate(&self, i: usize) -> Value {
        match self.plan.layout.place(i) {
            Some(Place::List { at, most }) => Value::List(self.list(at, most)),
            _ => self.scalar(i).into(),
        }
    }

    fn scalar(&self, i: usize) -> Scalar {
        match self.plan.layout.place(i) {
            Some(Place::Words(cell)) => self.merged(cell, |words| cell.tally.see(words)),
            Some(Place::Ring(ring)) => Scalar::Int(self.exact_count(ring) as i64),
            Some(Place::Distinct(set)) => {
                let set = self.state.distinct.get(set);
                Scalar::Int(set.map_or(0, |distinct| distinct.count(self.low, self.high)) as i64)
            }
            Some(Place::Quantiles { at, share }) => {
                self.quantile(at, f64::from(share) / 1e4).map_or(Scalar::Null, Scalar::float)
            }
            Some(Place::List { .. }) | None => Scalar::Null,
        }
    }

    fn wide_sum(&self, i: usize) -> Option<i128> {
        match self.plan.layout.place(i) {
            Some(Place::Words(cell)) if matches!(cell.tally, Tally::Int { mean: false }) => {
                self.merged(cell, |words| cell.tally.see_wide(words))
            }
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

impl<'a> View<'a> {
    /// The window of panes `low..=high`, in which no row is judged, with what is carried.
    pub fn new(
        plan: &'a Plan,
        state: &'a KeyState,
        key: &'a KeyValues,
        (low, high): (i64, i64),
        end: Timestamp,
    ) -> View<'a> {
        let (carried, exact) = (state.moving.as_deref(), cell::OnceCell::new());
        View { plan, state, key, low, high, end, row: None, sorted: None, carried, exact }
    }

    /// Rows in (end − window, end] that a ring knows.
    fn exact_count(&self, ring: usize) -> u64 {
        let cut = &self.plan.cut;
        match self.sorted.and_then(|sorted| sorted.get(ring)) {
            Some(times) => {
                let start = self.end.minus(cut.window);
                let from = times.partition_point(|time| *time <= start);
                times.partition_point(|time| *time <= self.end).saturating_sub(from) as u64
            }
            None => self.state.rings.get(ring).map_or(0, |times| times.count(cut, self.end)),
        }
    }

    /// What the window's panes know of an aggregate, as `see` reads it.
    fn merged<T>(&self, cell: Cell, see: impl FnOnce(&[u64]) -> T) -> T {
        if cell.tally.is_carried() {
            return see(cell.of(self.exact.get_or_init(|| self.merge_exact()).words(&self.plan.layout)));
        }
        let View { plan: Plan { layout, .. }, state: KeyState { panes, .. }, low, high, .. } = self;
        let mut room = [0; WIDEST];
        let nothing = cell.tally.nothing();
        let words = room.get_mut(..nothing.len()).unwrap_or_default();
        words.copy_from_slice(nothing);
        cell.tally.merge_all(words, panes.places(*low, *high).map(|at| cell.of(panes.words(layout, at))));
        see(words)
    }

    /// What the window's panes know exactly.
    fn merge_exact(&self) -> Exact {
        let View { plan: Plan { layout, .. }, state: KeyState { panes, .. }, low, high, .. } = self;
        let mut exact = Exact::new(layout);
        let words = exact.words_mut(layout);
        match self.carried.and_then(|moving| moving.read(layout, *low, *high)) {
            Some((total, first)) => {
                words.copy_from_slice(total);
                let last = panes.words_of(layout, *high);
                for cell in layout.exact() {
                    if cell.tally.is_extreme() {
                        cell.merge(words, first);
                    }
                    last.into_iter().for_each(|last| cell.merge(words, last));
                }
            }
            None => {
                for at in panes.places(*low, *high) {
                    layout.exact().for_each(|cell| cell.merge(words, panes.words(layout, at)));
                }
            }
        }
        exact
    }

    /// The number below which a share of the window's numbers lie.
    fn quantile(&self, at: usize, share: f64) -> Option<f64> {
        let mut all = Quantiles::default();
        for pane in self.state.panes.places(self.low, self.high) {
            if let Some(List::Counts(counts)) = self.state.panes.lists(&self.plan.layout, pane).get(at) {
                all.merge(counts);
            }
        }
        all.quantile(share)
    }

    /// The first distinct values of the window.
    fn list(&self, at: usize, most: usize) -> Vec<Value> {
        let mut list = List::default();
        let layout = &self.plan.layout;
        for pane in self.state.panes.places(self.low, self.high) {
            let known = self.state.panes.lists(layout, pane).get(at);
            let values = known.map(List::values).unwrap_or_default();
            values.iter().for_each(|value| take_value(&mut list, value.clone(), most));
        }
        list.values().to_vec()
    }

    /// Whether `having` is true of it.
    pub fn holds(&self) -> bool {
        self.plan.holds(self)
    }

    /// The highest severity and risk of the escalations that are true, at least the rule's own.
    pub fn severity(&self) -> (Severity, u8) {
        self.plan.severity(self)
    }

    /// A finding of this window; the caller dates it.
    pub fn finding(
        &self,
        at: At,
        key: Key,
        episode: Episode,
        (severity, risk): (Severity, u8),
        window: (Timestamp, Timestamp),
    ) -> Finding {
        Finding {
            at,
            key,
            key_values: self.key.to_vec(),
            episode,
            time: self.end,
            broker_time: self.end,
            now: self.end,
            severity,
            risk,
            window: Some(window),
            observed: self.plan.observed(self),
            count: self.count(),
            evidence: self.evidence(),
            fired_by: None,
        }
    }

    /// The first count of `having`, or if it has none the rows of the window's panes.
    fn count(&self) -> u64 {
        match self.plan.spec.count.map(|i| self.aggregate(i)) {
            Some(Value::Int(count)) => u64::try_from(count).unwrap_or(0),
            _ => self.state.within(self.low, self.high).iter().map(|pane| pane.rows).sum(),
        }
    }

    /// The first and last few events that are still known of the window, in the order of time.
    fn evidence(&self) -> Vec<EventName> {
        let start = self.end.minus(self.plan.cut.window);
        let mut known: Vec<(Timestamp, EventName)> = if self.plan.cut.paned {
            let panes = self.state.within(self.low, self.high);
            panes
                .iter()
                .flat_map(|pane| pane.ends.map(|name| (self.plan.cut.start(pane.index), name)))
                .collect()
        } else {
            let rings = self.state.rings.iter().flat_map(|times| times.0.iter());
            rings.filter(|s| start < s.time && s.time <= self.end).map(|s| (s.time, s.name)).collect()
        };
        known.sort_by_key(|(time, name)| (*time, name.source, name.offset, name.index));
        let mut names: Vec<EventName> = known.into_iter().map(|(_, name)| name).collect();
        names.dedup();
        if names.len() > 2 * EVIDENCE {
            names.drain(EVIDENCE..names.len() - EVIDENCE);
        }
        names
    }
}
