//! Aggregates over a window pass `having`: the `threshold` kind.
//!
//! Rows are folded as they arrive and placed at their own time. A rule whose condition can only grow is
//! judged on each event; any other when a window (tumbling) or a pane (sliding) closes. `panes` keeps what is
//! known, `edge` what has been said, `judge` looks at one window; this file decides which windows are judged,
//! and when they close.

use std::cell::OnceCell;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::codec::{Reader, Sources};
use super::judge::{Plan, View};
use super::memory::{KeyState, Seen, Times};
use super::moving::Moving;
use super::panes::{Pane, Touch};
use super::table::{Entry, KeyTable};
use super::{Detector, Found, StateError};
use crate::alert::{At, Episode, Finding, FiredBy, Reason};
use crate::event::time::SECOND;
use crate::event::{Key, Limits, Micros, Slice, Timestamp, Value};
use crate::rule::having::Scope as _;
use crate::rule::{Clock, Kind, Rule, Threshold, Window};
use crate::stats::distinct::Which;

/// How long something that has ended is remembered at least.
const REMEMBER: Micros = 600 * SECOND;

/// So many rows are looked at before they are folded,
const AHEAD: usize = 16;

/// where there are more keys than a processor's cache is sure to hold.
const MANY: usize = 64;

/// The memory of one threshold rule in one partition.
pub struct ThresholdDetector {
    plan: Plan,
    limits: Limits,
    clock: Clock,
    table: KeyTable<KeyState>,
}

/// One row, as a detector sees it.
struct Row<'a> {
    rows: &'a Slice<'a>,
    i: usize,
    time: Timestamp,
    now: Timestamp,
    index: i64,
    older: bool,
}

impl Row<'_> {
    fn fired_by(&self) -> FiredBy {
        FiredBy { slice_row: self.i, name: self.rows.name(self.i) }
    }

    fn at(&self) -> At {
        At::Row { row: self.rows.row(self.i) as u32 }
    }
}

impl ThresholdDetector {
    /// A detector that has seen nothing.
    pub fn new(rule: &Arc<Rule>, spec: &Threshold, limits: &Limits) -> ThresholdDetector {
        ThresholdDetector {
            plan: Plan::new(rule, spec),
            limits: limits.clone(),
            clock: rule.clock,
            table: KeyTable::new(limits.keys),
        }
    }

    /// Looks at what the next rows will need, so that the memory of many keys is waited for at once: first their
    /// entries, then what lies behind these.
    fn look_ahead(&self, rows: &Slice<'_>, from: usize) {
        let mut entries = [None; AHEAD];
        for (entry, i) in entries.iter_mut().zip(from..rows.len()) {
            *entry = self.table.get(rows.key(i));
        }
        let seen = entries.iter().flatten().fold(0, |all, entry| all ^ entry.state.peek());
        std::hint::black_box(seen);
    }

    /// Whether windows or panes of this rule close: all but sliding ones that are judged on events.
    fn closes(&self) -> bool {
        !self.plan.spec.on_event || matches!(self.plan.spec.window, Window::Tumbling(_))
    }

    /// The time of a row by the rule's clock.
    fn time_of(&self, rows: &Slice<'_>, i: usize) -> Timestamp {
        match self.clock {
            Clock::Event => rows.time(i),
            Clock::Arrival => rows.name(i).broker_time,
        }
    }

    fn fold_row(&mut self, rows: &Slice<'_>, i: usize, found: &mut Found) {
        let time = self.time_of(rows, i);
        let (key, now, index) = (rows.key(i), rows.now(i), self.plan.cut.index(time));
        let closes = self.closes();
        if closes && self.table.get_mut(key).is_some_and(|entry| entry.state.is_closed(index)) {
            return found.blind.add(Reason::Late, 1);
        }
        let plan = &self.plan;
        let values = || (0..plan.rule.key.len()).map(|part| rows.value(part, i)).collect();
        let Some(entry) = self.table.touch(key, &mut found.blind, || (values(), KeyState::new(&plan.spec)))
        else {
            return;
        };
        let older = entry.state.newest.is_some_and(|newest| time < newest);
        let row = Row { rows, i, time, now, index, older };
        add_row(plan, &self.limits, &mut entry.state, &row, found);
        match (plan.spec.window, plan.spec.on_event) {
            (Window::Tumbling(_) | Window::Session(_), true) => judge_tumbling(plan, entry, key, &row, found),
            (Window::Sliding(_), true) if older => judge_older(plan, entry, key, &row, found),
            (Window::Sliding(_), true) => judge_newest(plan, entry, key, &row, found),
            (_, false) => {}
        }
        if !older {
            entry.state.newest = Some(time);
        }
        if closes {
            let row = rows.row(i) as u32;
            let at = |due, start| At::AfterRow { row, due, start };
            self.close_due(key, now, Some(now), &at, found);
        } else {
            let silent = now.plus(plan.cut.window.max(REMEMBER));
            self.table.schedule(key, Some(silent));
        }
    }

    /// Fires what is due at or before `until` for any key.
    fn fire_due(&mut self, until: Timestamp, found: &mut Found) {
        while let Some(key) = self.table.pop_due(until) {
            if self.closes() {
                self.close_due(key, until, None, &|due, start| At::Due { due, start }, found);
            } else {
                self.table.remove(key);
            }
        }
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
        loop {
            let Some(entry) = self.table.get_mut(key) else { return };
            let next = next_step(&self.plan, &self.limits, &entry.state);
            let Some((due, step)) = next else { return self.table.remove(key) };
            if due > until {
                return self.table.schedule(key, Some(due));
            }
            match step {
                Step::Close(index) => {
                    let now = fired_at.unwrap_or(due);
                    close(
                        &self.plan,
                        &self.limits,
                        (entry, key),
                        index,
                        now,
                        at(due, self.plan.cut.window_start(index)),
                        found,
                    );
                }
                Step::Forget(index) => entry.state.remove_pane(&self.plan.layout, index),
                Step::Unmark(index) => entry.state.marks.remove(index),
            }
        }
    }
}

impl Detector for ThresholdDetector {
    fn adopt(&mut self, rule: &Arc<Rule>) {
        if let Kind::Threshold(spec) = &rule.kind {
            self.plan = Plan::new(rule, spec);
            self.clock = rule.clock;
        }
    }

    fn fold(&mut self, rows: &Slice<'_>, until: Timestamp, found: &mut Found) {
        for i in 0..rows.len() {
            if i % AHEAD == 0 && self.table.len() > MANY {
                self.look_ahead(rows, i);
            }
            self.fire_due(rows.now(i), found);
            self.fold_row(rows, i, found);
        }
        self.fire_due(until, found);
    }

    fn pending(&self) -> u64 {
        if self.plan.spec.on_event {
            return 0;
        }
        let open =
            |entry: &Entry<KeyState>| entry.state.panes.heads().iter().filter(|p| p.closed.is_none()).count();
        self.table.entries().map(|entry| open(entry) as u64).sum()
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.table.next_due()
    }

    fn save(&self) -> Vec<RecordBatch> {
        super::state::save(&self.table, KeyState::write)
    }

    fn begin_save(&mut self) {
        self.table.begin_save(KeyState::write);
    }

    fn save_some(&mut self, budget: &mut usize) -> Option<Vec<RecordBatch>> {
        self.table.save_some(budget)
    }

    fn abandon_save(&mut self) {
        self.table.abandon_save();
    }

    fn load(&mut self, saved: &[RecordBatch], sources: Sources<'_>) -> Result<(), StateError> {
        self.table = KeyTable::new(self.limits.keys);
        let (plan, limits) = (&self.plan, &self.limits);
        super::state::load(&mut self.table, saved, |bytes| {
            let state = KeyState::read(&mut Reader(bytes, sources))?;
            let due = if plan.spec.on_event && matches!(plan.spec.window, Window::Sliding(_)) {
                Some(state.touched.plus(plan.cut.window.max(REMEMBER)))
            } else {
                next_step(plan, limits, &state).map(|(due, _)| due)
            };
            Ok((state, due))
        })
    }

    fn forget(&mut self, key: Key) {
        self.table.remove(key);
    }

    fn look(&self, key: Key, rows: &Slice<'_>, row: usize) -> Vec<(&'static str, Value)> {
        let Some(entry) = self.table.get(key) else { return Vec::new() };
        let (cut, end) = (&self.plan.cut, self.time_of(rows, row));
        let high = cut.index(end);
        let view = View {
            plan: &self.plan,
            state: &entry.state,
            key: &entry.values,
            low: cut.low(high),
            high,
            end,
            row: Some((rows, row)),
            sorted: None,
            carried: None,
            exact: OnceCell::new(),
        };
        (0..self.plan.spec.aggregates.len()).map(|at| ("", view.aggregate(at))).collect()
    }
}

/// What happens next to a key by time alone.
enum Step {
    Close(i64),
    Forget(i64),
    Unmark(i64),
}

/// The next step of a key, earliest first, at one time by the start of the window.
fn next_step(plan: &Plan, limits: &Limits, state: &KeyState) -> Option<(Timestamp, Step)> {
    let due = |pane: &Pane| {
        let passed = state.newest.is_some_and(|newest| newest >= plan.cut.end(pane.index));
        let wait = if passed && !pane.by_older { 0 } else { plan.cut.window };
        pane.touched.plus(wait).plus(limits.grace)
    };
    let steps = [
        state.panes.next_closing(due).map(|(due, index)| (due, index, Step::Close(index))),
        state.panes.next_forgotten().map(|(due, index)| (due, index, Step::Forget(index))),
        state.marks.next().map(|(due, index)| (due, index, Step::Unmark(index))),
    ];
    let first = steps.into_iter().flatten().min_by_key(|(due, index, _)| (*due, *index));
    first.map(|(due, _, step)| (due, step))
}

fn add_row(plan: &Plan, limits: &Limits, state: &mut KeyState, row: &Row<'_>, found: &mut Found) {
    let (spec, cut) = (&plan.spec, &plan.cut);
    state.touched = row.now;
    let seen = Seen { time: row.time, arrived: row.now, name: row.rows.name(row.i) };
    let open = cut.window.saturating_add(limits.grace);
    state.add_to_rings(spec, seen, row.rows.steps(row.i), open, &mut found.blind);
    if cut.paned {
        let touch = Touch { rows: row.rows, i: row.i, index: row.index, older: row.older, turn: 0 };
        state.add_to_pane(&plan.layout, limits, touch, &mut found.blind);
    }
}

/// A row that is not older than its key's newest judges the window that ends with it.
fn judge_newest(plan: &Plan, entry: &mut Entry<KeyState>, key: Key, row: &Row<'_>, found: &mut Found) {
    let cut = &plan.cut;
    let end = cut.measure(row.time);
    if entry.state.newest.is_some_and(|newest| end.saturating_sub(cut.measure(newest)) >= cut.span()) {
        entry.state.edge.rearm();
    }
    let (low, high) = (cut.low(row.index), row.index);
    if cut.paned {
        entry.state.advance(&plan.layout, low, high);
    }
    let Entry { values, state, .. } = entry;
    let row_of = Some((row.rows, row.i));
    let view = View { row: row_of, ..View::new(plan, state, values, (low, high), row.time) };
    if !view.holds() {
        return state.edge.rearm();
    }
    let (severity, risk) = view.severity();
    let episode = match state.edge.open() {
        Some(open) if severity <= open.said => {
            return state.edge.hold(end);
        }
        Some(open) => open.episode,
        None => Episode::Event(row.rows.name(row.i)),
    };
    let window = (row.time.minus(cut.window), row.time);
    let finding = view.finding(row.at(), key, episode, (severity, risk), window);
    found.findings.push(dated(finding, row));
    say(state, end, true, episode, severity);
}

/// Notes what was said: of an episode that goes on, or of a new one.
fn say(state: &mut KeyState, end: i64, spends: bool, episode: Episode, severity: crate::alert::Severity) {
    match state.edge.open_mut() {
        Some(open) if open.episode == episode => {
            open.said = severity;
            state.edge.hold(end);
        }
        _ => state.edge.fire(end, spends, episode, severity),
    }
}

/// An older row judges the windows that contain it, oldest first; the first true one decides.
fn judge_older(plan: &Plan, entry: &mut Entry<KeyState>, key: Key, row: &Row<'_>, found: &mut Found) {
    let cut = &plan.cut;
    let Entry { values, state, .. } = entry;
    let newest = state.newest.unwrap_or(row.time);
    // Sorted once: an older row may have to look at as many windows as there are times.
    let sorted: Vec<Vec<Timestamp>> = state.rings.iter().map(Times::sorted).collect();
    let mut carried = None;
    for end in ends_that_contain(plan, state, row) {
        let (low, high) = (cut.low(cut.index(end)), cut.index(end));
        Moving::advance(&mut carried, &plan.layout, &state.panes, low, high);
        state.distinct.iter_mut().for_each(|distinct| distinct.advance(Which::Older, low, high));
        let row_of = Some((row.rows, row.i));
        let view = View {
            plan,
            state,
            key: values,
            low,
            high,
            end,
            row: row_of,
            sorted: Some(&sorted),
            carried: carried.as_deref(),
            exact: OnceCell::new(),
        };
        if !view.holds() {
            continue;
        }
        let (severity, risk) = view.severity();
        let window = (end.minus(cut.window), end);
        let episode = Episode::Event(row.rows.name(row.i));
        let finding = view.finding(row.at(), key, episode, (severity, risk), window);
        let end = cut.measure(end);
        if !state.edge.absorb(end, cut.span()) {
            found.findings.push(dated(finding, row));
            let spends = cut.measure(newest).saturating_sub(end) < cut.span();
            state.edge.fire(end, spends, episode, severity);
        }
        return;
    }
}

/// Where the windows end that contain an older row: at itself, at each later row of the key, and at the start
/// of each later pane with rows; rising.
fn ends_that_contain(plan: &Plan, state: &KeyState, row: &Row<'_>) -> Vec<Timestamp> {
    let cut = &plan.cut;
    let own = cut.measure(row.time);
    let mut ends = vec![row.time];
    ends.extend(state.rings.iter().flat_map(|times| times.0.iter().map(|seen| seen.time)));
    if cut.paned {
        let later = state.within(row.index.saturating_add(1), row.index.saturating_add(cut.panes));
        ends.extend(later.iter().map(|pane| cut.start(pane.index)));
    }
    // Where exact counts and panes stand beside each other, a row is contained if either of them sees it.
    let exact = !plan.spec.rings.is_empty();
    ends.retain(|end| {
        let by_panes = cut.measure(*end).saturating_sub(own) < cut.span();
        *end >= row.time && (by_panes || (exact && end.0.saturating_sub(row.time.0) < cut.window))
    });
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// A tumbling window is judged for itself: one alert, and one more for each rise of its severity.
fn judge_tumbling(plan: &Plan, entry: &mut Entry<KeyState>, key: Key, row: &Row<'_>, found: &mut Found) {
    let cut = &plan.cut;
    let Entry { values, state, .. } = entry;
    let row_of = Some((row.rows, row.i));
    let view = View { row: row_of, ..View::new(plan, state, values, (row.index, row.index), row.time) };
    if !view.holds() {
        return;
    }
    let (severity, risk) = view.severity();
    let said = state.panes.get(row.index).and_then(|pane| pane.said);
    if said.is_some_and(|said| severity <= said) {
        return;
    }
    let start = cut.start(row.index);
    let finding =
        view.finding(row.at(), key, Episode::Window(start), (severity, risk), (start, cut.end(row.index)));
    found.findings.push(dated(finding, row));
    if let Some(pane) = state.panes.get_mut(row.index) {
        pane.said = Some(severity);
    }
}

/// Closes a window or pane: judges it, if closing is when the rule judges, and leaves behind what must be
/// remembered.
fn close(
    plan: &Plan,
    limits: &Limits,
    (entry, key): (&mut Entry<KeyState>, Key),
    index: i64,
    now: Timestamp,
    at: At,
    found: &mut Found,
) {
    if !plan.spec.on_event {
        judge_closing(plan, (entry, key), index, now, at, found);
    }
    match plan.spec.window {
        Window::Tumbling(window) | Window::Session(window) => {
            entry.state.remove_pane(&plan.layout, index);
            if entry.state.marks.add(index, now.plus(window.max(REMEMBER))) {
                found.blind.add(Reason::Capped, 1);
            }
        }
        Window::Sliding(window) => {
            let until = now.plus(window.saturating_mul(2).saturating_add(limits.grace).max(REMEMBER));
            entry.state.judged = Some(entry.state.judged.map_or(index, |judged| judged.max(index)));
            if let Some(pane) = entry.state.panes.get_mut(index) {
                pane.closed = Some(until);
            }
        }
    }
}

/// For the edge a closing pane is what a row is elsewhere: newer than the last judged one, it moves the edge;
/// older, it is a finding unless it overlaps a fired stretch, and never re-arms.
fn judge_closing(
    plan: &Plan,
    (entry, key): (&mut Entry<KeyState>, Key),
    index: i64,
    now: Timestamp,
    at: At,
    found: &mut Found,
) {
    let cut = &plan.cut;
    let Entry { values, state, .. } = entry;
    let tumbling = matches!(plan.spec.window, Window::Tumbling(_));
    let newer = state.judged.is_none_or(|judged| index > judged);
    if !tumbling && newer && state.judged.is_some_and(|judged| index.saturating_sub(judged) >= cut.span()) {
        state.edge.rearm();
    }
    let (low, end) = (cut.low(index), cut.end(index));
    if newer && !tumbling {
        state.advance(&plan.layout, low, index);
    }
    let view = View::new(plan, state, values, (low, index), end);
    if !view.holds() {
        if newer && !tumbling {
            state.edge.rearm();
        }
        return;
    }
    let (severity, risk) = view.severity();
    let dated = |mut finding: Finding| {
        (finding.time, finding.broker_time, finding.now) = (end, now, now);
        finding
    };
    if tumbling {
        let start = cut.start(index);
        found.findings.push(dated(view.finding(
            at,
            key,
            Episode::Window(start),
            (severity, risk),
            (start, end),
        )));
        return;
    }
    let window = (end.minus(cut.window), end);
    if newer {
        let episode = match state.edge.open() {
            Some(open) if severity <= open.said => return state.edge.hold(index),
            Some(open) => open.episode,
            None => Episode::Deadline(end),
        };
        found.findings.push(dated(view.finding(at, key, episode, (severity, risk), window)));
        say(state, index, true, episode, severity);
    } else {
        let finding = dated(view.finding(at, key, Episode::Deadline(end), (severity, risk), window));
        if !state.edge.absorb(index, cut.span()) {
            found.findings.push(finding);
            let spends = state.judged.is_some_and(|judged| judged.saturating_sub(index) < cut.span());
            state.edge.fire(index, spends, Episode::Deadline(end), severity);
        }
    }
}

/// A finding that a row fired.
fn dated(mut finding: Finding, row: &Row<'_>) -> Finding {
    finding.time = row.time;
    finding.broker_time = row.rows.name(row.i).broker_time;
    finding.now = row.now;
    finding.fired_by = Some(row.fired_by());
    finding
}
