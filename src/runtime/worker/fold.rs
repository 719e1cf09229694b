//! One batch: decode, scan, fold, and hand on what was found.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::batch::{in_merged_order, part, refuse, timed};
use super::partition::{Held, hash};
use super::{Action, Exchange, PartitionCounters, Said, Worker};
use crate::decode::{self, Decoded};
use crate::event::{
    EventBatch, EventName, Mark, PartitionId, Picked, Record, Reject, Slice, Stamp, Timestamp,
};
use crate::pipeline::{Input, Order, Output};
use crate::rule::{Placement, RuleSet};

/// Bytes of an event's text that an alert carries at most.
const EVENT_TEXT: usize = 4096;

/// Alerts of one journal entry at most.
const TOGETHER: usize = 64;

impl Worker {
    /// One batch of any partitions.
    pub(super) fn records(&mut self, records: &[Record<'_>], actions: &mut Vec<Action>) {
        let set = self.sets.wanted_hash();
        let careful = |worker: &Worker, source: u16| {
            matches!(worker.partitions.get(usize::from(source)),
                     Some(Some(Held::Owned(partition))) if partition.needs_care(set))
        };
        let runs = || records.chunk_by(|one, next| one.source == next.source);
        let first = |run: &[Record<'_>]| run.first().map_or(u16::MAX, |record| record.source);
        // Mostly there is nothing to be careful about, and all are folded as one.
        if !runs().any(|run| careful(self, first(run))) {
            return self.fold(set, records, actions);
        }
        let mut plain: Vec<Record<'_>> = Vec::new();
        for run in runs() {
            match careful(self, first(run)) {
                true => self.careful(usize::from(first(run)), run, actions),
                false => plain.extend_from_slice(run),
            }
        }
        // Being careful may have ended the use of the set that the others are judged by: then they are, too.
        if !plain.is_empty() {
            self.fold(set, &plain, actions);
        }
    }

    /// One batch: decode, scan, fold.
    pub(super) fn fold(&mut self, hash: u128, records: &[Record<'_>], actions: &mut Vec<Action>) {
        let Some(rules) = self.sets.rules(hash) else { return };
        let moved = self.move_time(records);
        let mut rejects: Vec<Reject> = moved.rejects;
        let mut batches: Vec<Arc<EventBatch>> = Vec::new();
        for (name, accepted) in moved.accepted {
            let streams = self.sets.get_mut(hash).map(|set| &mut set.streams);
            let Some(decoder) = streams.and_then(|streams| streams.get_mut(&name)) else { continue };
            for (position, record) in accepted {
                decoder.push(record, position);
            }
            let Decoded { batch, rejects: bad, stats } = decoder.finish(&self.sources);
            self.totals.decode.entry(name).or_default().merge(&stats);
            rejects.extend(bad);
            batches.push(Arc::new(timed(batch, &moved.times)));
        }
        self.count(records, &batches, &rejects);
        let scanned: Vec<(usize, Picked)> =
            batches.iter().flat_map(|batch| self.scan(&rules, batch)).collect();
        let mut outputs = Vec::new();
        for (source, marks) in &moved.marks {
            let placement = self.placement;
            let sources = self.sources.clone();
            let Some(partition) = self.at(*source) else { continue };
            let mut picked: Vec<(usize, Slice<'_>)> = scanned
                .iter()
                .filter(|(rule, _)| !exchanged(&rules, *rule, placement))
                .filter_map(|(rule, picked)| Some((*rule, part(picked, *source)?)))
                .collect();
            picked.sort_by_key(|(rule, _)| *rule);
            let input = Input::Rows { picked: &picked, marks, next_offset: partition.next_offset };
            let mut out = Vec::new();
            partition.pipeline.apply(input, &sources, &mut out);
            partition.moved = true;
            outputs.push((Some(*source), out, partition.next_offset));
        }
        if self.placement == Exchange::InProcess {
            outputs.push((None, self.exchange(&rules, &scanned, &moved.times), 0));
        }
        self.append(outputs, records, actions);
        self.dead_letters(rejects, actions);
    }

    /// Moves stream time over all records, and sorts those that go on by stream and partition.
    fn move_time<'r, 'a>(&mut self, records: &'r [Record<'a>]) -> Moved<'r, 'a> {
        let mut moved = Moved { times: Vec::with_capacity(records.len()), ..Moved::default() };
        let mut sorted: BTreeMap<usize, Positioned<'_, '_>> = BTreeMap::new();
        let mut position = 0u32;
        // Records of a partition mostly stand together: what belongs to it is looked up once for all of them.
        for run in records.chunk_by(|one, next| one.source == next.source) {
            let source = run.first().map_or(usize::MAX, |record| usize::from(record.source));
            let Some(Some(Held::Owned(partition))) = self.partitions.get_mut(source) else {
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
                    if !partition.told_time {
                        partition.stream_time = partition.stream_time.max(told);
                    }
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
            // Whose past may be looked at again one day; files are read once.
            if partition.tenure > 0 {
                partition.previous = run.last().map(hash);
            }
        }
        for (source, mut records) in sorted {
            if let Some(id) = self.sources.get(source).filter(|_| !records.is_empty()) {
                moved.accepted.entry(id.stream.clone()).or_default().append(&mut records);
            }
        }
        moved
    }

    fn scan(&mut self, rules: &RuleSet, batch: &Arc<EventBatch>) -> Vec<(usize, Picked)> {
        let scanned = rules.scan(batch);
        scanned
            .into_iter()
            .map(|(rule, picked, blind)| {
                if let Some(rule) = rules.rules.get(rule)
                    && blind.total() > 0
                {
                    self.totals.rules.entry(rule.info.id.clone()).or_default().blind.merge(&blind);
                }
                (rule, picked)
            })
            .collect()
    }

    /// Folds the rows of rules that need the exchange, in the merged order of the input.
    fn exchange(
        &mut self,
        rules: &RuleSet,
        scanned: &[(usize, Picked)],
        times: &[(Timestamp, Timestamp)],
    ) -> Vec<Output> {
        let mut merged: Vec<(usize, Picked)> = scanned
            .iter()
            .filter(|(rule, _)| exchanged(rules, *rule, self.placement))
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

    /// Hands alerts on, with the text of the events that fired: per partition, what was found, and the offset
    /// below which everything has been said with it. What an earlier owner has said is not said again.
    pub(super) fn append(
        &mut self,
        outputs: Vec<(Option<usize>, Vec<Output>, i64)>,
        records: &[Record<'_>],
        actions: &mut Vec<Action>,
    ) {
        for (source, outputs, through) in outputs {
            let mut said = Vec::with_capacity(outputs.len());
            for Output { order, fired_by, mut alert, .. } in outputs {
                let offset = records.get(order.position as usize).map_or(through, |record| record.offset);
                if source.is_some_and(|source| self.is_known(source, alert.id, offset)) {
                    continue;
                }
                alert.event = fired_by.and_then(|name| self.event_text(&name, order, records));
                said.push(Said { order, alert: Arc::new(alert) });
            }
            match source {
                Some(source) => self.say(source, said, through, actions),
                None if said.is_empty() => {}
                None => {
                    let source = PartitionId { stream: Arc::from("exchange"), index: 0 };
                    let stamp = Stamp { source, epoch: 0, seq: 0 };
                    actions.push(Action::Alert { stamp, through, more: false, said });
                }
            }
        }
    }

    /// Several appends if there is much to say. Only the last has said everything.
    fn say(&mut self, source: usize, mut said: Vec<Said>, through: i64, actions: &mut Vec<Action>) {
        while !said.is_empty() {
            let later = said.split_off(said.len().min(TOGETHER));
            let Some(stamp) = self.stamp(source) else { return };
            let more = !later.is_empty();
            actions.push(Action::Alert { stamp, through, more, said });
            said = later;
        }
    }

    /// Whether an earlier owner has said this alert of a record at that offset. If it has not, although it has
    /// said what is behind it, the two disagree.
    fn is_known(&mut self, source: usize, id: u128, offset: i64) -> bool {
        let Some(replay) = self.at(source).and_then(|partition| partition.replay.as_mut()) else {
            return false;
        };
        if let Some(times) = replay.known.get_mut(&id) {
            *times -= 1;
            if *times == 0 {
                replay.known.remove(&id);
            }
            return true;
        }
        self.totals.divergence += u64::from(offset < replay.through && !replay.has_branched);
        false
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
        let id = self.sources.get(source)?.clone();
        Some(self.at(source)?.stamp(&id))
    }

    fn event_text(&self, name: &EventName, order: Order, records: &[Record<'_>]) -> Option<Box<str>> {
        let record = records.get(order.position as usize).filter(|record| record.offset == name.offset)?;
        let source = usize::from(name.source);
        let set = match self.partitions.get(source)? {
            Some(Held::Owned(partition)) => partition.set?,
            _ => return None,
        };
        let schema = self.sets.schema(set, &self.sources.get(source)?.stream)?;
        decode::event_text(schema, record.payload, name.index, EVENT_TEXT)
    }

    fn count(&mut self, records: &[Record<'_>], batches: &[Arc<EventBatch>], rejects: &[Reject]) {
        let mut of = |source: u16, add: &mut dyn FnMut(&mut PartitionCounters)| {
            if let Some(partition) = self.at(usize::from(source)) {
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

fn exchanged(rules: &RuleSet, rule: usize, placement: Exchange) -> bool {
    placement == Exchange::InProcess
        && rules.rules.get(rule).is_some_and(|rule| rule.placement == Placement::Exchange)
}
