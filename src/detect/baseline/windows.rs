//! Values of windows: judged while they grow or when they close, learned when the aligned window closes.
//!
//! A sliding window is judged wherever it ends; what is learned are the values of the windows that lie side by
//! side, aligned to the epoch. A window in which nothing came is worth 0 where the value counts or sums: it is
//! learned when the key speaks again. A window that was counted so, and then does get events (a car that was out
//! of reach), is judged by them and learned as well: else cars that upload late would seem to do nothing. It may
//! also be what is left of a window that closed long ago, so it is never low.

use super::judgement::{Basis, Judgement, episode, say};
use super::member::{Member, Slot};
use super::{BaselineDetector, REMEMBER, Row, SILENT_LESSONS, number, unjudged};
use crate::alert::{At, Episode, Finding, Reason};
use crate::detect::Found;
use crate::detect::aggregate::Layout;
use crate::detect::judge::{Plan, View};
use crate::detect::memory::KeyState;
use crate::detect::panes::{Cut, Touch};
use crate::detect::table::KeyValues;
use crate::event::{Key, Limits, Timestamp, Value};
use crate::rule::having;
use crate::rule::learned::{Baseline, Measure, Sides, Windowed};
use crate::rule::{Rule, Window};
use crate::stats::distinct::Which;

/// What does not change while a rule runs.
struct Context<'a> {
    rule: &'a Rule,
    spec: &'a Baseline,
    windowed: &'a Windowed,
    plan: &'a Plan,
}

/// What happens next to a key by time alone, in the order in which it happens at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Close(i64),
    /// Panes that no window needs any more.
    Forget,
    /// Closed windows that need not be remembered any more.
    Unmark,
    /// The key was not seen for so long that its normal is worth nothing.
    Expire,
}

impl BaselineDetector {
    /// The sides that are judged when a window closes.
    pub(super) fn closing_sides(&self) -> Sides {
        let Baseline { sides, on_event, measure, .. } = &self.spec;
        match measure {
            Measure::Event(_) => Sides::default(),
            Measure::Window(_) => {
                Sides { high: sides.high && !on_event.high, low: sides.low && !on_event.low }
            }
        }
    }

    /// Adds a row to its window, and judges what grows.
    pub(super) fn fold_windowed(&mut self, row: &Row<'_>, found: &mut Found) {
        let Some(cut) = self.plan.as_ref().map(|plan| plan.cut) else { return };
        let index = cut.index(row.time);
        let window = index.div_euclid(cut.panes);
        if self.member(row.key).is_some_and(|(_, member)| is_closed(&member.rows, window)) {
            return found.blind.add(Reason::Late, 1);
        }
        let borrowed = self.borrowed(row.cohort);
        if self.admit(row, found).is_none() {
            return;
        }
        let BaselineDetector { rule, spec, plan, limits, table } = self;
        let (Some(plan), Measure::Window(windowed)) = (plan.as_ref(), &spec.measure) else { return };
        let Some(entry) = table.get_mut(row.key) else { return };
        let Slot::Member(member) = &mut entry.state else { return };
        member.meet(spec, row.cohort);
        let opened = open(member, &cut, window);
        let start = cut.start(window.saturating_mul(cut.panes));
        if let (Some(empty), 1..) = (windowed.empty, opened.silent) {
            member.normal.repeat(spec, empty, opened.silent, start);
        }
        let older = member.rows.newest.is_some_and(|newest| row.time < newest);
        member.rows.touched = row.now;
        let touch = Touch { rows: row.rows, i: row.i, index, older, turn: 0 };
        member.rows.add_to_pane(&plan.layout, limits, touch, &mut found.blind);
        if spec.on_event.any()
            && let Some(basis) = member.own().or(borrowed)
        {
            let context = Context { rule, spec, windowed, plan };
            context.judge_row((&entry.values, member), row, (index, older), &basis, found);
        }
        if !older {
            member.rows.newest = Some(row.time);
        }
        if let (Some(empty), 1..) = (windowed.empty, opened.silent) {
            let times = opened.silent.min(SILENT_LESSONS);
            self.teach(row.cohort, (empty, times), (start, row.now), found);
        }
        if opened.new {
            let of = row.rows.row(row.i) as u32;
            let at = |due, start| At::AfterRow { row: of, due, start };
            self.wake(row.key, row.now, Some(row.now), &at, found);
        }
    }

    /// Does what is due for one key or cohort, in the order (due, step). `fired_at`: the stream time of the row
    /// that made it due; none if time alone did.
    pub(super) fn wake(
        &mut self,
        key: Key,
        until: Timestamp,
        fired_at: Option<Timestamp>,
        at: &dyn Fn(Timestamp, Timestamp) -> At,
        found: &mut Found,
    ) {
        while let Some((due, step)) = self.next_step(key) {
            if due > until {
                return self.table.schedule(key, Some(due));
            }
            match step {
                Step::Close(window) => {
                    let start = self.window_start(window);
                    self.close(key, window, fired_at.unwrap_or(due), at(due, start), found);
                }
                Step::Expire => return self.table.remove(key),
                Step::Forget | Step::Unmark => {
                    let layout = self.plan.as_ref().map(|plan| &plan.layout);
                    let Some(entry) = self.table.get_mut(key) else { return };
                    let Slot::Member(member) = &mut entry.state else { return };
                    forget_until(member, layout, due);
                }
            }
        }
    }

    /// When something happens to a key or cohort by time alone.
    pub(super) fn next_of(&mut self, key: Key) -> Option<Timestamp> {
        self.next_step(key).map(|(due, _)| due)
    }

    fn next_step(&mut self, key: Key) -> Option<(Timestamp, Step)> {
        let BaselineDetector { spec, plan, limits, table, .. } = self;
        match &table.get_mut(key)?.state {
            Slot::Cohort(cohort) => Some((cohort.touched.plus(spec.history), Step::Expire)),
            Slot::Member(member) => {
                let expiry = (member.rows.touched.plus(spec.history), Step::Expire);
                let marks = member.rows.marks.next().map(|(until, _)| (until, Step::Unmark));
                let panes = plan.as_ref().and_then(|plan| next_of_panes(&member.rows, &plan.cut, limits));
                [marks, panes, Some(expiry)].into_iter().flatten().min()
            }
        }
    }

    fn window_start(&self, window: i64) -> Timestamp {
        let Some(plan) = &self.plan else { return Timestamp(0) };
        plan.cut.start(window.saturating_mul(plan.cut.panes))
    }

    /// Judges a window for the last time, learns it, and leaves behind what must be remembered.
    fn close(&mut self, key: Key, window: i64, now: Timestamp, at: At, found: &mut Found) {
        let mut sides = self.closing_sides();
        let cohort = self.member(key).and_then(|(_, member)| member.cohort);
        let borrowed = self.borrowed(cohort);
        let BaselineDetector { rule, spec, plan, limits, table } = self;
        let (Some(plan), Measure::Window(windowed)) = (plan.as_ref(), &spec.measure) else { return };
        let Some(entry) = table.get_mut(key) else { return };
        let Slot::Member(member) = &mut entry.state else { return };
        let context = Context { rule, spec, windowed, plan };
        let end = plan.cut.end(window.saturating_mul(plan.cut.panes).saturating_add(plan.cut.panes - 1));
        let value = context.value_of(&entry.values, &member.rows, window, end);
        if let Some(at) = member.known.iter().position(|other| *other == window) {
            member.known.remove(at);
            sides.low = false;
        }
        match (number(&value), member.own().or(borrowed)) {
            (None, _) => found.blind.add(Reason::NullValue, 1),
            (Some(_), None) => unjudged(found),
            (Some(x), Some(basis)) if sides.any() => {
                let closing = Closing { key, window, end, now, at, sides };
                context.judge_closing((&entry.values, member), &closing, (&value, x), &basis, found);
            }
            _ => {}
        }
        let lesson = number(&value);
        if let Some(x) = lesson {
            member.normal.learn(spec, x, end);
        }
        leave(member, plan, limits, window, now, found);
        if let Some(x) = lesson {
            self.teach(cohort, (x, 1), (end, now), found);
        }
    }
}

/// A window that closes.
struct Closing {
    key: Key,
    window: i64,
    end: Timestamp,
    now: Timestamp,
    at: At,
    sides: Sides,
}

/// What a row did to the windows of its key.
struct Opened {
    /// Whether its window was not open before.
    new: bool,
    /// Windows before it that stayed empty, and of which nothing had been known.
    silent: u64,
}

fn open(member: &mut Member, cut: &Cut, window: i64) -> Opened {
    let of_window = |rows: &KeyState, window: i64| {
        let first = window.saturating_mul(cut.panes);
        !rows.within(first, first.saturating_add(cut.panes - 1)).is_empty()
    };
    let is_open = of_window(&member.rows, window);
    match member.through {
        Some(through) if window <= through => {
            if !is_open && !member.known.contains(&window) {
                // One whose panes all made room for others never closes.
                member.known.retain(|known| of_window(&member.rows, *known));
                member.known.push(window);
            }
            Opened { new: !is_open, silent: 0 }
        }
        through => {
            member.through = Some(window);
            let silent = through.map_or(0, |through| window.saturating_sub(through) - 1);
            Opened { new: true, silent: u64::try_from(silent).unwrap_or(0) }
        }
    }
}

fn is_closed(rows: &KeyState, window: i64) -> bool {
    rows.marks.has(window)
}

/// The next close of a window, or forgetting of a pane.
fn next_of_panes(rows: &KeyState, cut: &Cut, limits: &Limits) -> Option<(Timestamp, Step)> {
    let newest = rows.newest.map(|newest| cut.index(newest).div_euclid(cut.panes));
    let windows =
        rows.panes.heads().chunk_by(|a, b| a.index.div_euclid(cut.panes) == b.index.div_euclid(cut.panes));
    let steps = windows.filter_map(|panes| {
        let last = panes.iter().max_by_key(|pane| pane.turn)?;
        if let Some(until) = last.closed {
            return Some((until, Step::Forget));
        }
        let window = last.index.div_euclid(cut.panes);
        let passed = newest.is_some_and(|newest| newest > window);
        let wait = if passed && !last.by_older { 0 } else { cut.window };
        Some((last.touched.plus(wait).plus(limits.grace), Step::Close(window)))
    });
    steps.min()
}

fn forget_until(member: &mut Member, layout: Option<&Layout>, until: Timestamp) {
    let gone =
        member.rows.panes.heads().iter().filter(|pane| pane.closed.is_some_and(|closed| closed <= until));
    let gone: Vec<i64> = gone.map(|pane| pane.index).collect();
    if let Some(layout) = layout {
        gone.into_iter().for_each(|index| member.rows.remove_pane(layout, index));
    }
    member.rows.marks.forget(until);
}

/// What a window leaves behind: its name, and where windows slide its panes, for as long as one may reach back
/// to them.
fn leave(member: &mut Member, plan: &Plan, limits: &Limits, window: i64, now: Timestamp, found: &mut Found) {
    let cut = &plan.cut;
    let reach = cut.window.saturating_add(limits.grace);
    let first = window.saturating_mul(cut.panes);
    let panes = first..=first.saturating_add(cut.panes - 1);
    if cut.panes == 1 {
        member.rows.remove_pane(&plan.layout, first);
    } else {
        let of_window = member.rows.panes.heads_mut().iter_mut().filter(|pane| panes.contains(&pane.index));
        of_window.for_each(|pane| pane.closed = Some(now.plus(reach)));
    }
    if member.rows.marks.add(window, now.plus(reach.max(REMEMBER))) {
        found.blind.add(Reason::Capped, 1);
    }
}

impl Context<'_> {
    /// The value of an aligned window.
    fn value_of(&self, key: &KeyValues, rows: &KeyState, window: i64, end: Timestamp) -> Value {
        having::evaluate(&self.windowed.value, &self.aligned(key, rows, window, end))
    }

    fn aligned<'v>(
        &'v self,
        key: &'v KeyValues,
        state: &'v KeyState,
        window: i64,
        end: Timestamp,
    ) -> View<'v> {
        let low = window.saturating_mul(self.plan.cut.panes);
        let high = low.saturating_add(self.plan.cut.panes - 1);
        View::new(self.plan, state, key, (low, high), end)
    }

    /// Judges what grows with each row.
    fn judge_row(
        &self,
        (key, member): (&KeyValues, &mut Member),
        row: &Row<'_>,
        (index, older): (i64, bool),
        basis: &Basis,
        found: &mut Found,
    ) {
        match self.plan.spec.window {
            Window::Tumbling(_) | Window::Session(_) => {
                self.judge_tumbling((key, member), row, index, basis, found)
            }
            Window::Sliding(_) if older => self.judge_older((key, member), row, index, basis, found),
            Window::Sliding(_) => self.judge_newest((key, member), row, index, basis, found),
        }
    }

    fn view_at<'v>(
        &'v self,
        (key, state): (&'v KeyValues, &'v KeyState),
        row: &'v Row<'_>,
        end: Timestamp,
    ) -> View<'v> {
        let cut = &self.plan.cut;
        let (low, high) = (cut.low(cut.index(end)), cut.index(end));
        View { row: Some((row.rows, row.i)), ..View::new(self.plan, state, key, (low, high), end) }
    }

    fn judgement<'v>(
        &'v self,
        view: &'v View<'v>,
        (value, x): (&'v Value, f64),
        basis: &'v Basis,
    ) -> Judgement<'v> {
        let Context { rule, spec, .. } = self;
        Judgement { rule, spec, view: Some(view), row: view.row, key: view.key, value, number: x, basis }
    }

    /// A row that is not older than its key's newest judges the window that ends with it.
    fn judge_newest(
        &self,
        (key, member): (&KeyValues, &mut Member),
        row: &Row<'_>,
        index: i64,
        basis: &Basis,
        found: &mut Found,
    ) {
        let (cut, rows) = (&self.plan.cut, &mut member.rows);
        let apart = |newest: Timestamp| index.saturating_sub(cut.index(newest)) >= cut.panes;
        if rows.newest.is_some_and(apart) {
            rows.edge.rearm();
        }
        let low = cut.low(index);
        rows.advance(&self.plan.layout, low, index);
        let view = self.view_at((key, rows), row, row.time);
        let value = having::evaluate(&self.windowed.value, &view);
        let Some(x) = number(&value) else { return };
        let judgement = self.judgement(&view, (&value, x), basis);
        if !judgement.holds(self.spec.on_event) {
            return rows.edge.rearm();
        }
        let (severity, risk) = judgement.severity();
        let new = Episode::Event(row.rows.name(row.i));
        let Some(episode) = episode(&rows.edge, severity, new) else { return rows.edge.hold(index) };
        let window = Some((row.time.minus(cut.window), row.time));
        let finding = judgement.finding(row.at(), row.key, episode, (severity, risk), window);
        found.findings.push(row.dated(finding));
        say(&mut rows.edge, index, episode, severity);
    }

    /// An older row judges the windows that contain it, oldest first; the first true one decides.
    fn judge_older(
        &self,
        (key, member): (&KeyValues, &mut Member),
        row: &Row<'_>,
        index: i64,
        basis: &Basis,
        found: &mut Found,
    ) {
        let (cut, rows) = (&self.plan.cut, &mut member.rows);
        let newest = cut.index(rows.newest.unwrap_or(row.time));
        let later = rows.within(index.saturating_add(1), index.saturating_add(cut.panes - 1));
        let later: Vec<Timestamp> = later.iter().map(|pane| cut.start(pane.index)).collect();
        for end in [row.time].into_iter().chain(later) {
            let high = cut.index(end);
            rows.distinct.iter_mut().for_each(|set| set.advance(Which::Older, cut.low(high), high));
            let view = self.view_at((key, rows), row, end);
            let value = having::evaluate(&self.windowed.value, &view);
            let Some(x) = number(&value) else { continue };
            let judgement = self.judgement(&view, (&value, x), basis);
            if !judgement.holds(self.spec.on_event) {
                continue;
            }
            let (severity, risk) = judgement.severity();
            let episode = Episode::Event(row.rows.name(row.i));
            let window = Some((end.minus(cut.window), end));
            let finding = judgement.finding(row.at(), row.key, episode, (severity, risk), window);
            if !rows.edge.absorb(high, cut.panes) {
                found.findings.push(row.dated(finding));
                rows.edge.fire(high, newest.saturating_sub(high) < cut.panes, episode, severity);
            }
            return;
        }
    }

    /// A tumbling window is judged for itself: one alert, and one more for each rise of its severity.
    fn judge_tumbling(
        &self,
        (key, member): (&KeyValues, &mut Member),
        row: &Row<'_>,
        index: i64,
        basis: &Basis,
        found: &mut Found,
    ) {
        let (cut, rows) = (&self.plan.cut, &mut member.rows);
        let view = self.view_at((key, rows), row, row.time);
        let value = having::evaluate(&self.windowed.value, &view);
        let Some(x) = number(&value) else { return };
        let judgement = self.judgement(&view, (&value, x), basis);
        if !judgement.holds(self.spec.on_event) {
            return;
        }
        let (severity, risk) = judgement.severity();
        if rows.panes.get(index).and_then(|pane| pane.said).is_some_and(|said| severity <= said) {
            return;
        }
        let (start, end) = (cut.start(index), cut.end(index));
        let episode = Episode::Window(start);
        let finding = judgement.finding(row.at(), row.key, episode, (severity, risk), Some((start, end)));
        found.findings.push(row.dated(finding));
        if let Some(pane) = rows.panes.get_mut(index) {
            pane.said = Some(severity);
        }
    }

    /// A window that closes is judged on the sides on which it was not while it grew. Tumbling ones each for
    /// itself; else those side by side are one episode while all are odd.
    fn judge_closing(
        &self,
        (key, member): (&KeyValues, &mut Member),
        closing: &Closing,
        (value, x): (&Value, f64),
        basis: &Basis,
        found: &mut Found,
    ) {
        let (window, end, at_least) = (closing.window, closing.end, self.spec.at_least);
        let judged = member.rows.judged;
        let newer = judged.is_none_or(|judged| window > judged);
        if newer && judged.is_some_and(|judged| window.saturating_sub(judged) > 1) {
            member.rows.edge.rearm();
        }
        member.rows.judged = Some(judged.map_or(window, |judged| judged.max(window)));
        let odd = {
            let view = self.aligned(key, &member.rows, window, end);
            self.judgement(&view, (value, x), basis).holds(closing.sides)
        };
        if !member.tally(odd, at_least) {
            if newer {
                member.rows.edge.rearm();
            }
            return;
        }
        let rows = &mut member.rows;
        let view = self.aligned(key, rows, window, end);
        let judgement = self.judgement(&view, (value, x), basis);
        let said = judgement.severity();
        let start = end.minus(self.plan.cut.window);
        let of_itself = matches!(self.plan.spec.window, Window::Tumbling(_)) && at_least.is_none();
        let new = if of_itself { Episode::Window(start) } else { Episode::Deadline(end) };
        let episode = match of_itself || !newer {
            true => Some(new),
            false => episode(&rows.edge, said.0, new),
        };
        let finding = episode.map(|episode| {
            let finding = judgement.finding(closing.at, closing.key, episode, said, Some((start, end)));
            Finding { time: end, broker_time: closing.now, now: closing.now, ..finding }
        });
        let Some(finding) = finding else { return rows.edge.hold(window) };
        let (episode, severity) = (finding.episode, said.0);
        if of_itself {
            found.findings.push(finding);
        } else if newer {
            found.findings.push(finding);
            say(&mut rows.edge, window, episode, severity);
        } else if !rows.edge.absorb(window, 1) {
            found.findings.push(finding);
            rows.edge.fire(window, false, episode, severity);
        }
    }
}
