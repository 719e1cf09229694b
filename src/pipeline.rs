//! Everything that happens to one partition, in order: rows and what is told go in, alerts come out.
//!
//! One public `&mut` method. No clock, no IO, no map iteration that reaches the output, no error on the data
//! path: the same inputs give the same outputs, whatever the batch size and however often the state was saved
//! and loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::alert::brief;
use crate::alert::{Alert, At, Blind, Entity, Episode, Evidence, Finding, Reason, Severity, alert_id};
use crate::detect::baseline::BaselineDetector;
use crate::detect::codec::Sources;
use crate::detect::r#match::MatchDetector;
use crate::detect::session::SessionDetector;
use crate::detect::suppress::Suppressor;
use crate::detect::threshold::ThresholdDetector;
use crate::detect::{Detector, Found};
use crate::event::time::SECOND;
use crate::event::told::RuleState;
use crate::event::{
    Checkpoint, EventName, Key, Limits, Mark, PartitionId, Picked, Slice, Timestamp, Told, Value,
};
use crate::rule::{Kind, Mode, Rule, RuleSet, Window};

/// The fold over one partition's inputs.
pub struct Pipeline {
    partition: PartitionId,
    exchange: bool,
    limits: Limits,
    stream_time: Timestamp,
    next_offset: i64,
    seq: u64,
    rules: u128,
    slots: Vec<Slot>,
    nothing: Picked,
    saving: Option<Saving>,
}

/// A cut that is being saved in slices: how far it is, and which part of which rule comes next.
struct Saving {
    cut: Checkpoint,
    slot: usize,
    suppression: bool,
}

/// One rule in this partition.
struct Slot {
    /// Index in the rule set.
    index: usize,
    rule: Arc<Rule>,
    detector: Box<dyn Detector>,
    suppressor: Option<Suppressor>,
    /// The second of stream time that was counted last, and its alerts.
    second: (i64, u32),
    counters: RuleCounters,
}

/// What one rule has done in this partition since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCounters {
    /// Alerts sent, by severity.
    pub alerts: BTreeMap<Severity, u64>,
    /// Findings folded into a later alert.
    pub folded: u64,
    /// Alerts that a shadow rule would have sent.
    pub shadowed: u64,
    /// Alerts of a building block, which go to no sink.
    pub blocks: u64,
    /// What it could not see.
    pub blind: Blind,
}

impl RuleCounters {
    /// Adds what the rule has done elsewhere.
    pub fn merge(&mut self, other: &RuleCounters) {
        for (severity, n) in &other.alerts {
            *self.alerts.entry(*severity).or_default() += n;
        }
        self.folded += other.folded;
        self.shadowed += other.shadowed;
        self.blocks += other.blocks;
        self.blind.merge(&other.blind);
    }
}

/// What goes in.
pub enum Input<'a> {
    /// Records were read.
    Rows {
        /// Per rule that picked some of this partition's rows, by its index in the rule set, rising.
        picked: &'a [(usize, Slice<'a>)],
        /// Every record, rejects included.
        marks: &'a [Mark],
        /// Where reading goes on.
        next_offset: i64,
    },
    /// Something that is not a record.
    Told(&'a Told),
    /// Other rules judge from here on: what of them runs here. Those whose detection part is the same keep
    /// their memory.
    Rules {
        /// The set.
        rules: &'a RuleSet,
        /// Which of its rules run in this partition.
        runs: &'a [usize],
    },
}

/// What comes out. Same inputs: same (seq, alert).
#[derive(Debug)]
pub struct Output {
    /// Counts what this partition has said, from 1.
    pub seq: u64,
    /// Its place among the outputs of all partitions.
    pub order: Order,
    /// The event that fired, whose text the worker adds.
    pub fired_by: Option<EventName>,
    /// The alert.
    pub alert: Alert,
}

/// The place of an output among all outputs of one batch: the record, the event in it; then what was due
/// before it, what it fired, and what it made due; then by deadline, window, rule and key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// The record's place in what the worker was handed.
    pub position: u32,
    row: u32,
    phase: u8,
    due: Timestamp,
    start: Timestamp,
    rule: u32,
    key: u128,
}

impl Pipeline {
    /// A partition that has seen nothing. It runs the rules (by their index in the set) that `runs` names.
    pub fn new(
        partition: PartitionId,
        exchange: bool,
        rules: &RuleSet,
        runs: &[usize],
        limits: &Limits,
    ) -> Pipeline {
        let slots = runs
            .iter()
            .filter_map(|index| rules.rules.get(*index).map(|rule| Slot::new(*index, rule, limits)))
            .collect();
        Pipeline {
            partition,
            exchange,
            limits: limits.clone(),
            stream_time: Timestamp(i64::MIN),
            next_offset: 0,
            seq: 0,
            rules: rules.hash,
            slots,
            nothing: Picked::empty(),
            saving: None,
        }
    }

    /// Folds one input. `sources` is the list to which event names point.
    pub fn apply(&mut self, input: Input<'_>, sources: &[PartitionId], out: &mut Vec<Output>) {
        let (picked, marks): (&[(usize, Slice<'_>)], &[Mark]) = match input {
            Input::Rows { picked, marks, next_offset } => {
                self.next_offset = self.next_offset.max(next_offset);
                if let Some(mark) = marks.last() {
                    self.stream_time = self.stream_time.max(mark.now);
                }
                (picked, marks)
            }
            Input::Told(Told::Tick(now)) => {
                self.stream_time = self.stream_time.max(*now);
                (&[], &[])
            }
            Input::Told(Told::Gap { from, to }) => {
                let missed = u64::try_from(to.saturating_sub(*from)).unwrap_or(0).max(1);
                self.slots.iter_mut().for_each(|slot| slot.counters.blind.add(Reason::Gap, missed));
                self.next_offset = *to;
                (&[], &[])
            }
            // A set is applied as `Input::Rules`, by whoever has it.
            Input::Told(Told::Rules(_)) => (&[], &[]),
            Input::Rules { rules, runs } => {
                self.switch(rules, runs);
                (&[], &[])
            }
        };
        let until = self.stream_time;
        let mut found: Vec<(Order, usize, Finding, Option<&Slice<'_>>)> = Vec::new();
        let mut rest = picked.iter().peekable();
        for (at, slot) in self.slots.iter_mut().enumerate() {
            while rest.next_if(|(rule, _)| *rule < slot.index).is_some() {}
            let rows = rest.next_if(|(rule, _)| *rule == slot.index).map(|(_, slice)| slice);
            if rows.is_none() && slot.detector.next_due().is_none_or(|due| due > until) {
                continue;
            }
            let nothing = Slice { picked: &self.nothing, from: 0, to: 0, exchange: self.exchange };
            let mut new = Found::default();
            slot.detector.fold(rows.unwrap_or(&nothing), until, &mut new);
            slot.counters.blind.merge(&new.blind);
            found.extend(
                new.findings
                    .into_iter()
                    .map(|finding| (order(&finding, slot.index, rows, marks), at, finding, rows)),
            );
        }
        found.sort_by_key(|(order, ..)| *order);
        for (order, at, finding, rows) in found {
            let Some(slot) = self.slots.get_mut(at) else { continue };
            let fired_by = finding.fired_by.map(|fired| fired.name);
            if let Some(alert) = slot.say(finding, rows, sources, &self.limits) {
                self.seq += 1;
                out.push(Output { seq: self.seq, order, fired_by, alert });
            }
        }
    }

    /// Takes over what stays the same of each rule, by its id and the fingerprint of its detection part.
    fn switch(&mut self, rules: &RuleSet, runs: &[usize]) {
        self.abandon_save();
        self.rules = rules.hash;
        let mut old: BTreeMap<String, Slot> =
            self.slots.drain(..).map(|slot| (slot.rule.info.id.clone(), slot)).collect();
        for index in runs {
            let Some(rule) = rules.rules.get(*index) else { continue };
            let mut slot = Slot::new(*index, rule, &self.limits);
            if let Some(known) = old.remove(&rule.info.id) {
                match known.rule.fingerprint == rule.fingerprint {
                    true => slot.inherit(known),
                    false => {
                        slot.counters = known.counters;
                        slot.counters.blind.add(Reason::ColdStart, 1);
                    }
                }
            } else {
                slot.counters.blind.add(Reason::ColdStart, 1);
            }
            self.slots.push(slot);
        }
    }

    /// One consistent cut, at once: for tests and small states.
    pub fn save(&self, sources: &[PartitionId]) -> Checkpoint {
        let tables = self.slots.iter().map(|slot| RuleState {
            detector: slot.detector.save(),
            suppress: slot.suppressor.as_ref().map(Suppressor::save),
            ..slot.header()
        });
        self.cut(sources, tables.collect())
    }

    /// Goes on with a cut of the state, or begins one; the whole cut once it is done. Each call saves so many
    /// bytes, which are taken off `budget`. Inputs may be applied between calls: the cut is that of the moment
    /// at which it began, and changes nothing of what the pipeline does. A switch of rules gives it up.
    pub fn save_some(&mut self, sources: &[PartitionId], budget: &mut usize) -> Option<Checkpoint> {
        if self.saving.is_none() {
            let headers = self.slots.iter().map(Slot::header).collect();
            self.slots.iter_mut().for_each(Slot::begin_save);
            self.saving = Some(Saving { cut: self.cut(sources, headers), slot: 0, suppression: false });
        }
        let saving = self.saving.as_mut()?;
        while let Some((slot, state)) =
            self.slots.get_mut(saving.slot).zip(saving.cut.tables.get_mut(saving.slot))
        {
            if !saving.suppression {
                state.detector = slot.detector.save_some(budget)?;
                saving.suppression = true;
            }
            if let Some(suppressor) = &mut slot.suppressor {
                state.suppress = Some(suppressor.save_some(budget)?);
            }
            (saving.slot, saving.suppression) = (saving.slot + 1, false);
        }
        // Those that have come since stand behind those that were there.
        saving.cut.sources = sources.to_vec();
        self.saving.take().map(|saving| saving.cut)
    }

    /// Whether a cut has begun that is not whole yet.
    pub fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// Gives up a cut that has begun.
    pub fn abandon_save(&mut self) {
        if self.saving.take().is_some() {
            self.slots.iter_mut().for_each(Slot::abandon_save);
        }
    }

    fn cut(&self, sources: &[PartitionId], tables: Vec<RuleState>) -> Checkpoint {
        Checkpoint {
            partition: self.partition.clone(),
            epoch: 0,
            journal: 0,
            next_offset: self.next_offset,
            stream_time: self.stream_time,
            seq: self.seq,
            rules: self.rules,
            previous: None,
            sources: sources.to_vec(),
            tables,
        }
    }

    /// A partition as it was at a cut, and the ids of rules that start without memory: those whose detection
    /// part has changed, and those whose saved state cannot be read.
    ///
    /// `sources` is the list to which event names point from now on; names of a partition that is not in it
    /// cannot be read.
    pub fn load(
        rules: &RuleSet,
        runs: &[usize],
        exchange: bool,
        limits: &Limits,
        (from, sources): (&Checkpoint, &[PartitionId]),
    ) -> (Pipeline, Vec<String>) {
        let mut pipeline = Pipeline::new(from.partition.clone(), exchange, rules, runs, limits);
        pipeline.next_offset = from.next_offset;
        pipeline.stream_time = from.stream_time;
        pipeline.seq = from.seq;
        let renamed: Vec<u16> = from
            .sources
            .iter()
            .map(|saved| sources.iter().position(|ours| ours == saved))
            .map(|at| at.and_then(|at| u16::try_from(at).ok()).unwrap_or(u16::MAX))
            .collect();
        let mut cold = Vec::new();
        for slot in &mut pipeline.slots {
            let same = |state: &&RuleState| {
                state.rule == slot.rule.info.id && state.fingerprint == slot.rule.fingerprint
            };
            let loaded = from
                .tables
                .iter()
                .find(same)
                .is_some_and(|state| slot.load(state, Sources::Renamed(&renamed)).is_ok());
            if !loaded {
                *slot = Slot::new(slot.index, &slot.rule, limits);
                slot.counters.blind.add(Reason::ColdStart, 1);
                cold.push(slot.rule.info.id.clone());
            }
        }
        (pipeline, cold)
    }

    /// When the next timer is due; may be earlier than anything happens, never later.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.slots.iter().filter_map(|slot| slot.detector.next_due()).min()
    }

    /// Windows and panes that wait to be judged.
    pub fn pending(&self) -> u64 {
        self.slots.iter().map(|slot| slot.detector.pending()).sum()
    }

    /// What the rules have done here.
    pub fn counters(&self) -> impl Iterator<Item = (&Rule, &RuleCounters)> {
        self.slots.iter().map(|slot| (&*slot.rule, &slot.counters))
    }

    /// The rules that run here, by their index in the rule set.
    pub fn runs(&self) -> Vec<usize> {
        self.slots.iter().map(|slot| slot.index).collect()
    }
}

/// The memory of a rule in a partition that has seen nothing.
pub fn detector(rule: &Arc<Rule>, limits: &Limits) -> Box<dyn Detector> {
    match &rule.kind {
        Kind::Match(spec) => Box::new(MatchDetector::new(rule, spec.having)),
        Kind::Threshold(spec) if matches!(spec.window, Window::Session(_)) => {
            Box::new(SessionDetector::new(rule, spec, limits))
        }
        Kind::Threshold(spec) => Box::new(ThresholdDetector::new(rule, spec, limits)),
        Kind::Baseline(spec) => Box::new(BaselineDetector::new(rule, spec, limits)),
    }
}

impl Slot {
    fn new(index: usize, rule: &Arc<Rule>, limits: &Limits) -> Slot {
        Slot {
            index,
            rule: rule.clone(),
            detector: detector(rule, limits),
            suppressor: rule.suppress.as_ref().map(|suppress| Suppressor::new(suppress.span, limits.keys)),
            second: (i64::MIN, 0),
            counters: RuleCounters::default(),
        }
    }

    /// What is saved of it beside its tables.
    fn header(&self) -> RuleState {
        RuleState {
            rule: self.rule.info.id.clone(),
            fingerprint: self.rule.fingerprint,
            detector: Vec::new(),
            suppress: None,
            second: self.second,
        }
    }

    fn begin_save(&mut self) {
        self.detector.begin_save();
        self.suppressor.iter_mut().for_each(Suppressor::begin_save);
    }

    fn abandon_save(&mut self) {
        self.detector.abandon_save();
        self.suppressor.iter_mut().for_each(Suppressor::abandon_save);
    }

    /// Goes on where the same rule, in other words, has been.
    fn inherit(&mut self, known: Slot) {
        self.detector = known.detector;
        self.detector.adopt(&self.rule);
        (self.second, self.counters) = (known.second, known.counters);
        let same = known.rule.suppress.as_ref().map(|one| (one.span, &one.by))
            == self.rule.suppress.as_ref().map(|one| (one.span, &one.by));
        if same {
            self.suppressor = known.suppressor;
        }
    }

    fn load(&mut self, state: &RuleState, sources: Sources<'_>) -> Result<(), crate::detect::StateError> {
        self.detector.load(&state.detector, sources)?;
        if let (Some(suppressor), Some(saved)) = (&mut self.suppressor, &state.suppress) {
            suppressor.load(saved)?;
        }
        self.second = state.second;
        Ok(())
    }

    /// Finding → alert, unless it is folded, over the limit, or the rule only counts.
    fn say(
        &mut self,
        finding: Finding,
        rows: Option<&Slice<'_>>,
        sources: &[PartitionId],
        limits: &Limits,
    ) -> Option<Alert> {
        let row = finding.fired_by.map(|fired| fired.slice_row).zip(rows).map(|(i, rows)| (rows, i));
        let mut folds = 0;
        if let Some(suppressor) = &mut self.suppressor {
            let key = match (self.rule.suppress.as_ref().and_then(|suppress| suppress.by.as_ref()), row) {
                (None, _) => finding.key,
                (Some(by), row) => {
                    let values: Vec<Value> = by.iter().map(|c| value(&finding, row, *c)).collect();
                    Key::of(&values)
                }
            };
            match suppressor.send(key, finding.now, finding.severity, &mut self.counters.blind) {
                Some(told) => folds = told,
                None => {
                    self.counters.folded += 1;
                    return None;
                }
            }
        }
        let second = finding.now.0.div_euclid(SECOND);
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 = self.second.1.saturating_add(1);
        if self.second.1 > limits.alerts_per_second {
            self.counters.blind.add(Reason::Capped, 1);
            return None;
        }
        match self.rule.mode {
            Mode::Live => {}
            Mode::Shadow => {
                self.counters.shadowed += 1;
                return None;
            }
            Mode::BuildingBlock => {
                self.counters.blocks += 1;
                return None;
            }
        }
        *self.counters.alerts.entry(finding.severity).or_default() += 1;
        let mut alert = self.alert(finding, row, folds, sources);
        if brief::shorten(&mut alert) {
            self.counters.blind.add(Reason::Capped, 1);
        }
        Some(alert)
    }

    fn alert(
        &self,
        finding: Finding,
        row: Option<(&Slice<'_>, usize)>,
        folds: u64,
        sources: &[PartitionId],
    ) -> Alert {
        let rule = &self.rule;
        let began = match finding.episode {
            Episode::Event(name) => sources.get(usize::from(name.source)),
            Episode::Window(_) | Episode::Deadline(_) => None,
        };
        let known = |entity: &&crate::rule::EntityPart| entity.value < rule.key.len() || row.is_some();
        let entities = rule
            .entities
            .iter()
            .filter(known)
            .map(|entity| Entity { kind: entity.kind, value: value(&finding, row, entity.value) });
        let entities = entities.filter(|entity| entity.value != Value::Null).collect();
        let evidence = finding.evidence.iter().filter_map(|name| {
            let partition = sources.get(usize::from(name.source))?.clone();
            Some(Evidence { partition, offset: name.offset, index: name.index })
        });
        Alert {
            id: alert_id(
                &rule.info.id,
                rule.fingerprint,
                &finding.key_values,
                finding.episode,
                began,
                finding.severity,
            ),
            rule: rule.info.clone(),
            severity: finding.severity,
            risk: finding.risk,
            entities,
            window: finding.window,
            time: finding.time,
            broker_time: finding.broker_time,
            count: finding.count,
            folds,
            evidence: evidence.collect(),
            event: None,
            observed: finding.observed,
            key: finding.key_values,
        }
    }
}

/// The value of a column of `Picked::values` for a finding: a part of the key, else from the row that fired.
fn value(finding: &Finding, row: Option<(&Slice<'_>, usize)>, column: usize) -> Value {
    match (finding.key_values.get(column), row) {
        (Some(value), _) => value.clone(),
        (None, Some((rows, i))) => rows.value(column, i),
        (None, None) => Value::Null,
    }
}

fn order(finding: &Finding, rule: usize, rows: Option<&Slice<'_>>, marks: &[Mark]) -> Order {
    let (rule, key) = (u32::try_from(rule).unwrap_or(u32::MAX), finding.key.0);
    let of_row = |row: u32| {
        let batch = rows.map(|rows| &rows.picked.of);
        let position = batch.and_then(|batch| batch.positions.get(row as usize)).copied().unwrap_or_default();
        (position, batch.and_then(|batch| batch.names.get(row as usize)).map_or(0, |name| name.index))
    };
    match finding.at {
        At::Due { due, start } => {
            let first = marks.partition_point(|mark| mark.now < due);
            let position = marks.get(first).or(marks.last()).map_or(0, |mark| mark.position);
            Order { position, row: 0, phase: 0, due, start, rule, key }
        }
        At::Row { row } => {
            let (position, row) = of_row(row);
            Order { position, row, phase: 1, rule, key, ..Order::default() }
        }
        At::AfterRow { row, due, start } => {
            let (position, row) = of_row(row);
            Order { position, row, phase: 2, due, start, rule, key }
        }
    }
}
