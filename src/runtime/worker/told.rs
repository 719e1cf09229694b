//! What a partition is told beside its records: written to the journal first, applied after, at exactly one
//! offset. Meanwhile its records wait.

use super::partition::{Held, Owned, Partition, hash};
use super::{Action, Compiled, Worker};
use crate::event::{Micros, PartitionId, Record, Stamp, Timestamp, Told, time::SECOND};
use crate::journal::Entry;
use crate::pipeline::Input;

/// For how long an answer that there is nothing more is believed.
const FRESH: Micros = 2 * SECOND;

impl Worker {
    /// Something that was handed out has been written.
    pub(super) fn acked(&mut self, stamp: &Stamp, at: Option<i64>, actions: &mut Vec<Action>) {
        if let Some(at) = at
            && self.advanced(stamp, at, actions)
        {
            return;
        }
        let Some((source, Some(Held::Owned(partition)))) = self.held(&stamp.source) else { return };
        if partition.epoch != stamp.epoch {
            return;
        }
        partition.wrote(stamp.seq, at);
        if let Some((seq, told)) = partition.asked
            && seq == stamp.seq
        {
            partition.asked = None;
            self.apply_told(source, told, actions);
            self.release(source, actions);
        }
        self.publish_cut(source, actions);
    }

    /// Something that was handed out will never be written.
    pub(super) fn failed(&mut self, stamp: &Stamp, actions: &mut Vec<Action>) {
        let epoch = match self.held(&stamp.source) {
            Some((_, Some(Held::Owned(partition)))) => Some(partition.epoch),
            _ => None,
        };
        match epoch {
            Some(epoch) if epoch == stamp.epoch => self.restart(&stamp.source, actions),
            Some(_) => {}
            None => self.claim_failed(stamp, actions),
        }
    }

    /// Tells a partition something, once it is written.
    fn tell(&mut self, source: usize, told: Told, actions: &mut Vec<Action>) {
        let Some(id) = self.sources.get(source).cloned() else { return };
        let Some(partition) = self.at(source) else { return };
        let stamp = partition.stamp(&id);
        partition.asked = Some((stamp.seq, told));
        actions.push(Action::Append(stamp, Entry::Told { at: partition.next_offset, told }));
    }

    /// Applies what a partition is told, where it stands.
    fn apply_told(&mut self, source: usize, told: Told, actions: &mut Vec<Action>) {
        let Some(id) = self.sources.get(source).cloned() else { return };
        let set = match told {
            Told::Rules(hash) => Some(self.sets.rules(hash).unwrap_or_else(|| {
                self.totals.unknown_sets += 1;
                self.sets.wanted()
            })),
            Told::Tick(_) | Told::Gap { .. } => None,
        };
        let runs = set.as_ref().map(|set| self.runs(set, &id.stream)).unwrap_or_default();
        let sources = self.sources.clone();
        let mut out = Vec::new();
        let Some(partition) = self.at(source) else { return };
        match (told, &set) {
            (Told::Rules(_), Some(rules)) => {
                // Not what was told, if that cannot be had.
                partition.set = Some(rules.hash);
                // A cut that was being taken out is given up with the rules that it was of.
                partition.cut.take_if(|cut| !cut.handed_out);
                let input = Input::Rules { rules, runs: &runs };
                partition.pipeline.apply(input, &sources, &mut out);
            }
            (Told::Tick(now), _) => {
                partition.stream_time = partition.stream_time.max(now);
                partition.moved = false;
                partition.pipeline.apply(Input::Told(&told), &sources, &mut out);
            }
            _ => partition.pipeline.apply(Input::Told(&told), &sources, &mut out),
        }
        let through = partition.next_offset;
        if let Told::Gap { from, to } = told {
            (partition.next_offset, partition.previous, partition.lost) = (to, None, false);
            let gaps = self.totals.gaps.entry(id.stream.clone()).or_default();
            gaps.jumps += 1;
            gaps.records += u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        }
        self.append(vec![(Some(source), out, through)], &[], actions);
        match told {
            Told::Gap { .. } => self.read_on(source, actions),
            Told::Rules(_) => self.forget_sets(),
            Told::Tick(_) => {}
        }
    }

    /// Does what a partition has to do before its next record: applies what earlier owners were told there;
    /// has it told what it must know.
    pub(super) fn pump(&mut self, source: usize, actions: &mut Vec<Action>) {
        while let Some(told) = self.at(source).and_then(Partition::next_told) {
            self.apply_told(source, told, actions);
        }
        let (wanted, wall) = (self.sets.wanted_hash(), self.wall);
        let grace = self.limits.grace;
        let Some(partition) = self.at(source) else { return };
        let diverged = partition.end_replay();
        if partition.is_waiting() || partition.is_replaying() {
            self.totals.divergence += diverged;
            return;
        }
        let timeless = partition.told_time && partition.stream_time == Timestamp(i64::MIN);
        let told = match partition.set {
            Some(set) if set == wanted && timeless && wall != Timestamp(i64::MIN) => {
                Some(Told::Tick(wall.minus(grace)))
            }
            Some(set) if set == wanted => None,
            _ => Some(Told::Rules(wanted)),
        };
        self.totals.divergence += diverged;
        if let Some(told) = told {
            self.tell(source, told, actions);
        }
    }

    /// Records of a partition that need more than to be folded: some wait, others are cut where it is told
    /// something.
    pub(super) fn careful(&mut self, source: usize, mut records: &[Record<'_>], actions: &mut Vec<Action>) {
        loop {
            self.pump(source, actions);
            let Some(partition) = self.at(source) else { return };
            if partition.lost {
                // They will be read again from where it turns out to go on.
                return;
            }
            if partition.asked.is_some() {
                partition.held.extend(records.iter().map(Owned::of));
                return;
            }
            let Some(first) = records.first() else { return };
            if let Some((offset, known)) = partition.verify.take()
                && first.offset == offset
            {
                if hash(first) != known {
                    partition.lost = true;
                    let id = self.sources.get(source).cloned();
                    actions.extend(id.map(Action::FindRange));
                    return;
                }
                records = records.get(1..).unwrap_or_default();
                continue;
            }
            let cut = match partition.next_cut_in(records) {
                Ok(cut) => cut,
                Err(at) => {
                    partition.next_offset = at;
                    continue;
                }
            };
            // None only while what judged before cannot be had: nothing may be dropped for that.
            let set = partition.set.unwrap_or_else(|| self.sets.wanted_hash());
            let (now, later) = records.split_at(cut);
            self.fold(set, now, actions);
            records = later;
        }
    }

    /// Lets go on what waited.
    fn release(&mut self, source: usize, actions: &mut Vec<Action>) {
        let Some(partition) = self.at(source) else { return };
        let held = std::mem::take(&mut partition.held);
        let Ok(index) = u16::try_from(source) else { return };
        let records: Vec<Record<'_>> = held.iter().map(|owned| owned.record(index)).collect();
        self.careful(source, &records, actions);
    }

    /// The offsets that there are of a partition whose next one is not among them, or whose log is another.
    pub(super) fn ranged(&mut self, id: &PartitionId, oldest: i64, end: i64, actions: &mut Vec<Action>) {
        let Some((source, Some(Held::Owned(partition)))) = self.held(id) else { return };
        if partition.asked.is_some() {
            return;
        }
        let reaches = (oldest..=end).contains(&partition.next_offset);
        let first = partition.verify.map_or(partition.next_offset, |(offset, _)| offset);
        if reaches && !partition.lost && first >= oldest {
            return self.read_on(source, actions);
        }
        if reaches && !partition.lost {
            // Only the record before it is gone: there is nothing to compare with, and nothing is missing.
            partition.previous = None;
            return self.read_on(source, actions);
        }
        partition.lost = true;
        partition.held.clear();
        partition.verify = None;
        let told = Told::Gap { from: partition.next_offset, to: oldest };
        // What earlier owners said of records that are gone is no divergence; of what is left, it is not said again.
        if let Some(replay) = &mut partition.replay {
            replay.has_branched = true;
            if oldest <= partition.next_offset {
                replay.count_anew(oldest);
            }
        }
        self.tell(source, told, actions);
    }

    /// There is nothing more of a partition, as of `asked`: what was due by then is told.
    pub(super) fn at_end(
        &mut self,
        id: &PartitionId,
        next_offset: i64,
        asked: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let (now, fresh) = (asked.minus(self.limits.grace), self.wall.0.saturating_sub(asked.0) < FRESH);
        let Some((source, Some(Held::Owned(partition)))) = self.held(id) else { return };
        let ends_here = fresh && partition.next_offset == next_offset && partition.verify.is_none();
        if ends_here && partition.is_replaying() && !partition.is_waiting() {
            // Its last records were lost: what was said of them is nobody's any more.
            partition.replay = None;
            self.pump(source, actions);
        } else if ends_here && partition.is_due(now) {
            self.tell(source, Told::Tick(now), actions);
        }
    }

    /// Other rules are to judge: each partition is told, where it stands.
    pub(super) fn published(&mut self, rules: Compiled, actions: &mut Vec<Action>) {
        self.sets.want(rules);
        for source in self.owned_sources() {
            self.pump(source, actions);
        }
    }

    /// Tells idle partitions what time it is, where something waits for it.
    pub(super) fn tell_time(&mut self, wall: Timestamp, actions: &mut Vec<Action>) {
        let now = wall.minus(self.limits.grace);
        for source in self.owned_sources() {
            self.pump(source, actions);
            let id = self.sources.get(source).cloned();
            let Some((id, partition)) = id.zip(self.at(source)) else { continue };
            if partition.lost || partition.verify.is_some() {
                // The question may have had no answer. Or the log has lost its last record: where that stood there
                // is nothing, and of that nothing is heard.
                if partition.asked.is_none() && partition.asks_end(wall) {
                    actions.push(Action::FindRange(id));
                }
            } else if partition.is_replaying() && !partition.is_waiting() {
                // The log may end before what earlier owners have read.
                if partition.asks_end(wall) {
                    actions.push(Action::FindEnd(id, partition.next_offset));
                }
            } else if partition.told_time && partition.moved {
                if partition.wants_time(now) {
                    self.tell(source, Told::Tick(now), actions);
                }
            } else if partition.is_due(now) && partition.asks_end(wall) {
                actions.push(Action::FindEnd(id, partition.next_offset));
            }
        }
    }

    /// The clock of files: everything at once, as nothing is written.
    pub(super) fn tick(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        for source in self.owned_sources() {
            self.apply_told(source, Told::Tick(now), actions);
        }
        self.exchange_time = self.exchange_time.max(now);
        let mut out = Vec::new();
        self.exchange.apply(Input::Told(&Told::Tick(now)), &self.sources, &mut out);
        self.append(vec![(None, out, 0)], &[], actions);
    }
}

impl Partition {
    /// What an earlier owner was told where this one stands.
    fn next_told(&mut self) -> Option<Told> {
        if self.is_waiting() {
            return None;
        }
        let replay = self.replay.as_mut()?;
        let (at, _) = replay.told.front()?;
        (*at <= self.next_offset).then(|| replay.told.pop_front())?.map(|(_, told)| told)
    }

    /// Ends the replay once it has come as far as earlier owners; how many alerts they said that were not found
    /// again.
    fn end_replay(&mut self) -> u64 {
        let done =
            |replay: &super::partition::Replay| replay.told.is_empty() && replay.reach <= self.next_offset;
        match self.replay.take_if(|replay| done(replay)) {
            Some(replay) if !replay.has_branched => replay.known.len() as u64,
            _ => 0,
        }
    }

    /// How many of these records come before it is told something; the error: none, so that it stands at this
    /// offset already, and what was between (a log may have holes) is there no more.
    fn next_cut_in(&self, records: &[Record<'_>]) -> Result<usize, i64> {
        let Some(replay) = &self.replay else { return Ok(records.len()) };
        let before = |offset: i64| records.partition_point(|record| record.offset < offset);
        match replay.told.front() {
            // A gap may lead back: what stands behind it is folded when it has been told.
            Some((at, _)) => Some(before(*at)).filter(|cut| *cut > 0).ok_or(*at),
            // So that what earlier owners have said is not mixed with what is new.
            None => Ok(Some(before(replay.reach)).filter(|cut| *cut > 0).unwrap_or(records.len())),
        }
    }

    /// Whether something waits for this time, and it can be told.
    fn is_due(&self, now: Timestamp) -> bool {
        let free = self.tenure > 0 && !self.is_waiting() && !self.is_replaying();
        free && now > self.stream_time && self.pipeline.next_due().is_some_and(|due| due <= now)
    }

    /// Whether a partition whose time is only told is to be told it.
    fn wants_time(&self, now: Timestamp) -> bool {
        let second = now.0.saturating_sub(self.stream_time.0) >= SECOND;
        let free = self.tenure > 0 && !self.is_waiting() && !self.is_replaying();
        // Of one that is idle it is not known whether its broker only hangs: that is asked.
        free && second && self.moved
    }

    /// Whether the broker is to be asked for more: once a second, of what was idle for as long.
    fn asks_end(&mut self, wall: Timestamp) -> bool {
        let idle = !std::mem::take(&mut self.moved);
        let again = wall.0.saturating_sub(self.asked_end.0) >= SECOND;
        let asks = idle && again;
        if asks {
            self.asked_end = wall;
        }
        asks
    }
}
