//! Decides everything, does nothing: signals in, actions out. No clock, no IO.
//!
//! A worker owns some partitions. Records of all of them are decoded into one batch a stream, scanned once
//! with all rules, and each partition's part is folded into that partition's pipeline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::batch::{in_merged_order, part, refuse, timed};
use super::totals::add_rules;
pub use super::totals::{PartitionCounters, Totals};
use crate::alert::{Alert, Reason};
use crate::decode::{self, Decoded, JsonDecoder};
use crate::event::{
    Checkpoint, EventBatch, EventName, Limits, Mark, PartitionId, Picked, Record, Reject, Slice, Stamp,
    Timestamp, Told,
};
use crate::pipeline::{Input, Order, Output, Pipeline};
use crate::rule::{Placement, RuleSet};
use crate::schema::Schema;

/// Bytes of an event's text that an alert carries at most.
const EVENT_TEXT: usize = 4096;

/// Everything that can happen to a worker.
#[derive(Debug)]
pub enum Signal<'a> {
    /// Records that were waiting, of any of its partitions, each partition in offset order.
    Records(&'a [Record<'a>]),
    /// A partition is ours from now on (paused). `next_offset` is what the group has committed.
    Assigned {
        /// The partition.
        partition: PartitionId,
        /// Where its reading starts.
        next_offset: i64,
    },
    /// A partition is no longer ours.
    Revoked(PartitionId),
    /// Everything under this stamp has its outcome.
    Acked(Stamp),
    /// Stream time of every partition has reached this though nothing came (for tests: ticks are not
    /// journalled yet).
    Tick(Timestamp),
    /// Wall time, a few times a second.
    Clock(Timestamp),
}

/// Everything a worker can want done.
#[derive(Debug)]
pub enum Action {
    /// Deliver these alerts to every sink, then say `Acked`.
    Append(Stamp, Vec<Said>),
    /// Write these to the dead-letter topic, then say `Acked`.
    DeadLetter(Stamp, Vec<Reject>),
    /// Commit this next offset.
    Commit(PartitionId, i64),
    /// Seek to this offset, then resume.
    Seek(PartitionId, i64),
    /// Drop what is still on its way for this partition.
    Forget(PartitionId),
}

/// An alert, and its place among the outputs of the batch it came from.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its place.
    pub order: Order,
    /// The alert.
    pub alert: Arc<Alert>,
}

/// Where rules that need the exchange run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// In one more pipeline, `exchange/0`, over the merged input of all partitions: files, where everything
    /// is at hand.
    InProcess,
    /// In the partition, which the caller has made sure is the only one of its topic.
    InPartition,
}

/// Decides for some partitions.
pub struct Worker {
    rules: Arc<RuleSet>,
    limits: Limits,
    placement: Exchange,
    streams: BTreeMap<Arc<str>, Stream>,
    sources: Arc<[PartitionId]>,
    /// The index of each source.
    indices: BTreeMap<PartitionId, u16>,
    /// By source; none = not ours.
    partitions: Vec<Option<Partition>>,
    exchange: Pipeline,
    exchange_time: Timestamp,
    /// Wall second of the last commits.
    committed_at: i64,
    totals: Totals,
}

struct Stream {
    schema: Arc<Schema>,
    decoder: JsonDecoder,
}

struct Partition {
    pipeline: Pipeline,
    stream_time: Timestamp,
    next_offset: i64,
    /// Stamps: the last one given, and those that have no outcome yet.
    seq: u64,
    outstanding: BTreeSet<u64>,
    /// After each batch: where reading goes on, and the last stamp given by then.
    progress: VecDeque<(i64, u64)>,
    committed: i64,
    counters: PartitionCounters,
}

impl Worker {
    /// A worker without partitions.
    pub fn new(rules: Arc<RuleSet>, schemas: &[Arc<Schema>], limits: &Limits, placement: Exchange) -> Worker {
        let streams = schemas.iter().map(|schema| {
            let projection = match rules.scans.get(&schema.name) {
                Some(scan) => scan.projection(),
                None => vec![false; schema.fields.len()],
            };
            let decoder = JsonDecoder::new(schema.clone(), projection, limits);
            (schema.name.clone(), Stream { schema: schema.clone(), decoder })
        });
        let exchanged: Vec<usize> = match placement {
            Exchange::InProcess => placed(&rules, None, Placement::Exchange),
            Exchange::InPartition => Vec::new(),
        };
        let exchange = PartitionId { stream: Arc::from("exchange"), index: 0 };
        Worker {
            streams: streams.collect(),
            exchange: Pipeline::new(exchange, true, &rules, &exchanged, limits),
            rules,
            limits: limits.clone(),
            placement,
            sources: Arc::from([]),
            indices: BTreeMap::new(),
            partitions: Vec::new(),
            exchange_time: Timestamp(i64::MIN),
            committed_at: 0,
            totals: Totals::default(),
        }
    }

    /// The index of a partition, for [`Record::source`].
    pub fn source(&mut self, partition: &PartitionId) -> u16 {
        self.intern(partition).0
    }

    /// All partitions it has ever known, by source.
    pub fn partitions(&self) -> &[PartitionId] {
        &self.sources
    }

    /// Likewise, and whether it was unknown.
    pub fn intern(&mut self, partition: &PartitionId) -> (u16, bool) {
        if let Some(known) = self.indices.get(partition) {
            return (*known, false);
        }
        // More partitions than a worker can tell apart: the last index is nobody's, its records are not read.
        let Ok(at) = u16::try_from(self.partitions.len()) else { return (u16::MAX, false) };
        if at == u16::MAX {
            return (at, false);
        }
        self.sources = self.sources.iter().cloned().chain([partition.clone()]).collect();
        self.partitions.push(None);
        self.indices.insert(partition.clone(), at);
        (at, true)
    }

    /// The state of a partition that is ours.
    fn owned(&mut self, id: &PartitionId) -> Option<&mut Partition> {
        let at = *self.indices.get(id)?;
        self.partitions.get_mut(usize::from(at))?.as_mut()
    }

    /// One consistent cut of every partition it owns, then of the exchange.
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        let owned = self.partitions.iter().flatten().map(|partition| &partition.pipeline);
        owned.chain([&self.exchange]).map(|pipeline| pipeline.save(&self.sources)).collect()
    }

    /// Saves every partition's state and loads it again, as a restart would: nothing may change by it.
    pub fn save_and_load(&mut self) {
        let (rules, limits, sources) = (self.rules.clone(), self.limits.clone(), self.sources.clone());
        let again = |pipeline: &Pipeline, exchange: bool| {
            let runs: Vec<usize> = pipeline.counters().map(|(index, _)| index).collect();
            Pipeline::load(&rules, &runs, exchange, &limits, (&pipeline.save(&sources), &sources)).0
        };
        for partition in self.partitions.iter_mut().flatten() {
            add_rules(&self.rules, &mut self.totals.rules, &partition.pipeline);
            partition.pipeline = again(&partition.pipeline, false);
        }
        add_rules(&self.rules, &mut self.totals.rules, &self.exchange);
        self.exchange = again(&self.exchange, true);
    }

    /// Takes one signal; what it wants done is pushed to `actions`, in order.
    pub fn handle(&mut self, signal: Signal<'_>, actions: &mut Vec<Action>) {
        match signal {
            Signal::Records(records) => self.records(records, actions),
            Signal::Assigned { partition, next_offset } => self.assigned(partition, next_offset, actions),
            Signal::Revoked(partition) => self.revoked(partition, actions),
            Signal::Acked(stamp) => {
                if let Some(partition) = self.owned(&stamp.source) {
                    partition.outstanding.remove(&stamp.seq);
                }
            }
            Signal::Tick(now) => self.tick(now, actions),
            Signal::Clock(wall) => self.clock(wall, actions),
        }
    }

    /// Per partition, the newest next offset below which everything has its outcome, if it is above what was
    /// committed.
    pub fn committable(&mut self) -> Vec<(PartitionId, i64)> {
        let all = self.sources.iter().zip(&mut self.partitions);
        all.filter_map(|(id, partition)| Some((id.clone(), partition.as_mut()?.committable()?))).collect()
    }

    /// Events that its partitions have decoded.
    pub fn events(&self) -> u64 {
        self.partitions.iter().flatten().map(|partition| partition.counters.events).sum()
    }

    /// What it has done so far.
    pub fn totals(&self) -> Totals {
        let mut totals = self.totals.clone();
        for (id, partition) in self.sources.iter().zip(&self.partitions) {
            let Some(partition) = partition else { continue };
            totals.pending += partition.pipeline.pending();
            let counters = totals.partitions.entry(id.clone()).or_default();
            counters.add(&partition.counters);
            (counters.next_offset, counters.stream_time) = (partition.next_offset, partition.stream_time);
            add_rules(&self.rules, &mut totals.rules, &partition.pipeline);
        }
        totals.pending += self.exchange.pending();
        add_rules(&self.rules, &mut totals.rules, &self.exchange);
        totals
    }

    fn assigned(&mut self, id: PartitionId, next_offset: i64, actions: &mut Vec<Action>) {
        let source = usize::from(self.source(&id));
        let mut runs = placed(&self.rules, Some(&id.stream), Placement::Partition);
        if self.placement == Exchange::InPartition {
            runs.extend(placed(&self.rules, Some(&id.stream), Placement::Exchange));
            runs.sort_unstable();
        }
        // Files hold all there is: only a live start has a past that it does not know.
        let cold = if self.placement == Exchange::InPartition { runs.as_slice() } else { &[] };
        for index in cold {
            if let Some(rule) = self.rules.rules.get(*index) {
                self.totals.rules.entry(rule.info.id.clone()).or_default().blind.add(Reason::ColdStart, 1);
            }
        }
        let partition = Partition {
            pipeline: Pipeline::new(id.clone(), false, &self.rules, &runs, &self.limits),
            stream_time: Timestamp(i64::MIN),
            next_offset,
            seq: 0,
            outstanding: BTreeSet::new(),
            progress: VecDeque::new(),
            committed: next_offset,
            counters: PartitionCounters::default(),
        };
        if let Some(place) = self.partitions.get_mut(source) {
            *place = Some(partition);
        }
        actions.push(Action::Seek(id, next_offset));
    }

    fn revoked(&mut self, id: PartitionId, actions: &mut Vec<Action>) {
        let source = usize::from(self.source(&id));
        let Some(mut gone) = self.partitions.get_mut(source).and_then(Option::take) else { return };
        if let Some(offset) = gone.committable() {
            actions.push(Action::Commit(id.clone(), offset));
        }
        let counters = self.totals.partitions.entry(id.clone()).or_default();
        counters.add(&gone.counters);
        add_rules(&self.rules, &mut self.totals.rules, &gone.pipeline);
        actions.push(Action::Forget(id));
    }

    fn clock(&mut self, wall: Timestamp, actions: &mut Vec<Action>) {
        let second = wall.millis() / 1000;
        if second <= self.committed_at {
            return;
        }
        self.committed_at = second;
        for (id, offset) in self.committable() {
            if let Some(partition) = self.owned(&id) {
                partition.committed = offset;
            }
            actions.push(Action::Commit(id, offset));
        }
    }

    fn tick(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let told = Told::Tick(now);
        let mut outputs = Vec::new();
        for (source, partition) in self.partitions.iter_mut().enumerate() {
            let Some(partition) = partition else { continue };
            partition.stream_time = partition.stream_time.max(now);
            let mut out = Vec::new();
            partition.pipeline.apply(Input::Told(&told), &self.sources, &mut out);
            outputs.push((Some(source), out));
        }
        self.exchange_time = self.exchange_time.max(now);
        let mut out = Vec::new();
        self.exchange.apply(Input::Told(&told), &self.sources, &mut out);
        outputs.push((None, out));
        self.append(outputs, &[], actions);
    }

    /// One batch: decode, scan, fold.
    fn records(&mut self, records: &[Record<'_>], actions: &mut Vec<Action>) {
        let moved = self.move_time(records);
        let mut rejects: Vec<Reject> = moved.rejects;
        let mut batches: Vec<Arc<EventBatch>> = Vec::new();
        for (name, accepted) in moved.accepted {
            let Some(stream) = self.streams.get_mut(&name) else { continue };
            for (position, record) in accepted {
                stream.decoder.push(record, position);
            }
            let Decoded { batch, rejects: bad, stats } = stream.decoder.finish(&self.sources);
            self.totals.decode.entry(name).or_default().merge(&stats);
            rejects.extend(bad);
            batches.push(Arc::new(timed(batch, &moved.times)));
        }
        self.count(records, &batches, &rejects);
        let scanned: Vec<(usize, Picked)> = batches.iter().flat_map(|batch| self.scan(batch)).collect();
        let mut outputs = Vec::new();
        for (source, marks) in &moved.marks {
            let Some(Some(partition)) = self.partitions.get_mut(*source) else { continue };
            let mut picked: Vec<(usize, Slice<'_>)> = scanned
                .iter()
                .filter(|(rule, _)| !exchanged(&self.rules, *rule, self.placement))
                .filter_map(|(rule, picked)| Some((*rule, part(picked, *source)?)))
                .collect();
            picked.sort_by_key(|(rule, _)| *rule);
            let input = Input::Rows { picked: &picked, marks, next_offset: partition.next_offset };
            let mut out = Vec::new();
            partition.pipeline.apply(input, &self.sources, &mut out);
            outputs.push((Some(*source), out));
        }
        if self.placement == Exchange::InProcess {
            outputs.push((None, self.exchange(&scanned, &moved.times)));
        }
        self.append(outputs, records, actions);
        self.dead_letters(rejects, actions);
        for source in moved.marks.keys() {
            if let Some(Some(partition)) = self.partitions.get_mut(*source) {
                match partition.progress.back_mut() {
                    Some((next, seq)) if *seq == partition.seq => *next = partition.next_offset,
                    _ => partition.progress.push_back((partition.next_offset, partition.seq)),
                }
            }
        }
    }

    /// Moves stream time over all records, and sorts those that go on by stream and partition.
    fn move_time<'r, 'a>(&mut self, records: &'r [Record<'a>]) -> Moved<'r, 'a> {
        let mut moved = Moved { times: Vec::with_capacity(records.len()), ..Moved::default() };
        let mut sorted: BTreeMap<usize, Positioned<'_, '_>> = BTreeMap::new();
        let mut position = 0u32;
        // Records of a partition mostly stand together: what belongs to it is looked up once for all of them.
        for run in records.chunk_by(|one, next| one.source == next.source) {
            let source = run.first().map_or(usize::MAX, |record| usize::from(record.source));
            let Some(Some(partition)) = self.partitions.get_mut(source) else {
                for record in run {
                    self.exchange_time = self.exchange_time.max(told(record).unwrap_or(self.exchange_time));
                    moved.times.push((self.exchange_time, self.exchange_time));
                }
                position += run.len() as u32;
                continue;
            };
            let accepted = sorted.entry(source).or_default();
            let marks = moved.marks.entry(source).or_default();
            for record in run {
                if let Some(told) = told(record) {
                    self.exchange_time = self.exchange_time.max(told);
                    partition.stream_time = partition.stream_time.max(told);
                }
                marks.push(Mark { now: partition.stream_time, position });
                moved.times.push((partition.stream_time, self.exchange_time));
                if let Some(reject) = refuse(record, partition.next_offset) {
                    moved.rejects.push(reject);
                } else {
                    partition.next_offset = record.offset + 1;
                    accepted.push((position, record));
                }
                position += 1;
            }
        }
        for (source, mut records) in sorted {
            if let Some(id) = self.sources.get(source).filter(|_| !records.is_empty()) {
                moved.accepted.entry(id.stream.clone()).or_default().append(&mut records);
            }
        }
        moved
    }

    fn scan(&mut self, batch: &Arc<EventBatch>) -> Vec<(usize, Picked)> {
        let scanned = self.rules.scan(batch);
        scanned
            .into_iter()
            .map(|(rule, picked, blind)| {
                if let Some(rule) = self.rules.rules.get(rule)
                    && blind.total() > 0
                {
                    self.totals.rules.entry(rule.info.id.clone()).or_default().blind.merge(&blind);
                }
                (rule, picked)
            })
            .collect()
    }

    /// Folds the rows of rules that need the exchange, in the merged order of the input.
    fn exchange(&mut self, scanned: &[(usize, Picked)], times: &[(Timestamp, Timestamp)]) -> Vec<Output> {
        let mut merged: Vec<(usize, Picked)> = scanned
            .iter()
            .filter(|(rule, _)| exchanged(&self.rules, *rule, self.placement))
            .map(|(rule, picked)| (*rule, in_merged_order(picked)))
            .collect();
        merged.sort_by_key(|(rule, _)| *rule);
        let picked: Vec<(usize, Slice<'_>)> = merged
            .iter()
            .map(|(rule, picked)| (*rule, Slice { picked, from: 0, to: picked.rows.len(), exchange: true }))
            .collect();
        let marks: Vec<Mark> =
            (0u32..).zip(times).map(|(position, (_, now))| Mark { now: *now, position }).collect();
        let mut out = Vec::new();
        self.exchange.apply(
            Input::Rows { picked: &picked, marks: &marks, next_offset: 0 },
            &self.sources,
            &mut out,
        );
        out
    }

    /// Hands alerts on, one append a partition, with the text of the events that fired.
    fn append(
        &mut self,
        outputs: Vec<(Option<usize>, Vec<Output>)>,
        records: &[Record<'_>],
        actions: &mut Vec<Action>,
    ) {
        for (source, outputs) in outputs {
            if outputs.is_empty() {
                continue;
            }
            let said = outputs
                .into_iter()
                .map(|Output { order, fired_by, mut alert, .. }| {
                    alert.event = fired_by.and_then(|name| self.event_text(&name, order, records));
                    Said { order, alert: Arc::new(alert) }
                })
                .collect();
            let stamp = match source {
                Some(source) => self.stamp(source),
                None => {
                    let source = PartitionId { stream: Arc::from("exchange"), index: 0 };
                    Some(Stamp { source, epoch: 0, seq: 0 })
                }
            };
            if let Some(stamp) = stamp {
                actions.push(Action::Append(stamp, said));
            }
        }
    }

    fn dead_letters(&mut self, rejects: Vec<Reject>, actions: &mut Vec<Action>) {
        let mut by_source: BTreeMap<u16, Vec<Reject>> = BTreeMap::new();
        rejects.into_iter().for_each(|reject| by_source.entry(reject.source).or_default().push(reject));
        for (source, mut rejects) in by_source {
            rejects.sort_by_key(|reject| reject.offset);
            if let Some(stamp) = self.stamp(usize::from(source)) {
                actions.push(Action::DeadLetter(stamp, rejects));
            }
        }
    }

    fn stamp(&mut self, source: usize) -> Option<Stamp> {
        let partition = self.partitions.get_mut(source)?.as_mut()?;
        partition.seq += 1;
        partition.outstanding.insert(partition.seq);
        Some(Stamp { source: self.sources.get(source)?.clone(), epoch: 0, seq: partition.seq })
    }

    fn event_text(&self, name: &EventName, order: Order, records: &[Record<'_>]) -> Option<Box<str>> {
        let record = records.get(order.position as usize).filter(|record| record.offset == name.offset)?;
        let schema = &self.streams.get(&self.sources.get(usize::from(name.source))?.stream)?.schema;
        decode::event_text(schema, record.payload, name.index, EVENT_TEXT)
    }

    fn count(&mut self, records: &[Record<'_>], batches: &[Arc<EventBatch>], rejects: &[Reject]) {
        let mut of = |source: u16, add: &mut dyn FnMut(&mut PartitionCounters)| {
            if let Some(Some(partition)) = self.partitions.get_mut(usize::from(source)) {
                add(&mut partition.counters);
            }
        };
        for run in records.chunk_by(|one, next| one.source == next.source) {
            let bytes: u64 = run.iter().map(|record| record.payload.len() as u64).sum();
            of(run.first().map_or(u16::MAX, |record| record.source), &mut |counters| {
                counters.records += run.len() as u64;
                counters.bytes += bytes;
            });
        }
        for span in batches.iter().flat_map(|batch| &batch.spans) {
            of(span.source, &mut |counters| counters.events += span.rows.len() as u64);
        }
        for reject in rejects {
            of(reject.source, &mut |counters| *counters.rejects.entry(reject.reason).or_default() += 1);
        }
    }
}

/// What a record tells of stream time. A time that no clock shows would stand at the end of all times, where
/// every deadline is due.
fn told(record: &Record<'_>) -> Option<Timestamp> {
    Some(record.broker_time).filter(|time| time.is_plausible())
}

/// Records with their place in what the worker was handed.
type Positioned<'r, 'a> = Vec<(u32, &'r Record<'a>)>;

/// Records by stream, with what they did to time.
#[derive(Default)]
struct Moved<'r, 'a> {
    /// Per stream: position and record, partition after partition.
    accepted: BTreeMap<Arc<str>, Positioned<'r, 'a>>,
    /// Records whose offset does not rise.
    rejects: Vec<Reject>,
    /// Per source: its records as time sees them.
    marks: BTreeMap<usize, Vec<Mark>>,
    /// Per position: stream time of the record's partition, and of the whole input.
    times: Vec<(Timestamp, Timestamp)>,
}

impl Partition {
    fn committable(&mut self) -> Option<i64> {
        let done = self.outstanding.first().map_or(u64::MAX, |first| first - 1);
        let mut offset = None;
        while self.progress.front().is_some_and(|(_, seq)| *seq <= done) {
            offset = self.progress.pop_front().map(|(next, _)| next);
        }
        if let Some(offset) = offset {
            self.committed = self.committed.max(offset);
        }
        offset
    }
}

/// Indices of rules with this placement, of one stream or of all.
fn placed(rules: &RuleSet, stream: Option<&Arc<str>>, placement: Placement) -> Vec<usize> {
    let fits = |rule: &crate::rule::Rule| {
        rule.placement == placement && stream.is_none_or(|stream| *stream == rule.stream)
    };
    rules.rules.iter().enumerate().filter(|(_, rule)| fits(rule)).map(|(index, _)| index).collect()
}

fn exchanged(rules: &RuleSet, rule: usize, placement: Exchange) -> bool {
    placement == Exchange::InProcess
        && rules.rules.get(rule).is_some_and(|rule| rule.placement == Placement::Exchange)
}
