//! A worker and what executes its actions, as the thread of a process does it: one loop in four steps, between
//! any two of which a process may stop for a while, or for good.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use fleetwarden::event::{Limits, PartitionId, Record, Root, Stamp, Timestamp};
use fleetwarden::journal::Entry;
use fleetwarden::runtime::worker::{Action, Exchange, Habits, Signal, Worker};

use super::Bug;
use super::content::content;
use super::group::{Client, Note, SESSION};
use super::journal::{Flying, Lying, Writer, place};
use super::keeper::{self, Question};
use super::world::{Event, Heard, Outside, SECOND, Wire, shown};

/// After so long a standstill, everything is given up.
const LEASE: i64 = SESSION / 2;

/// How long one waits for outcomes when everything stops.
const FAREWELL: i64 = 8 * SECOND;

/// How far a partition has come since it is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Told,
    Seek { to: i64 },
    Live { next: i64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Settle,
    Poll,
    Feed,
    Tell,
}

/// A record that was polled.
struct Polled {
    partition: PartitionId,
    offset: i64,
    broker_time: Timestamp,
    payload: Vec<u8>,
}

type Commit = (u64, i64, Root);

/// One member of the group.
pub struct Member {
    pub writer: Writer,
    pub is_up: bool,
    /// Until when its process stands still.
    pub paused: i64,
    pub worker: Worker,
    pub inbox: VecDeque<Heard>,
    client: Client,
    skew: i64,
    step: Step,
    phases: BTreeMap<PartitionId, Phase>,
    /// Where the consumer reads: which topic of the name, and the next offset.
    positions: BTreeMap<PartitionId, (usize, i64)>,
    tickets: BTreeMap<u64, Stamp>,
    flying: BTreeMap<PartitionId, u64>,
    waiting: VecDeque<(PartitionId, Commit)>,
    /// Partitions of which an entry is lost: what follows it is lost as well, until that is heard.
    failed: BTreeSet<PartitionId>,
    polled: i64,
    batch: Vec<Polled>,
    notes: Vec<Note>,
    out_of_range: bool,
    next_clock: i64,
    /// Until when it waits before it leaves, and whether its worker has been told.
    leaving: Option<(i64, bool)>,
    /// What was cut too late, for [`Bug::CommitsAfterRevoke`].
    late: Vec<PartitionId>,
}

impl Member {
    /// A life of a member begins.
    pub fn new(writer: Writer, outside: &mut Outside, save_every: i64, limits: &Limits) -> Member {
        let rules = content().sets[outside.edition].rules.clone();
        let habits = Habits { told_time: outside.told_time.clone(), save_every };
        let worker =
            Worker::new(rules, &content().schemas, limits, Exchange::InPartition).with_habits(habits);
        let skew = outside.random.between(-SECOND, SECOND);
        let first = outside.random.between(1, SECOND);
        outside.later(first, Event::Turn(writer));
        Member {
            writer,
            is_up: true,
            paused: 0,
            worker,
            inbox: VecDeque::new(),
            client: Client::default(),
            skew,
            step: Step::Settle,
            phases: BTreeMap::new(),
            positions: BTreeMap::new(),
            tickets: BTreeMap::new(),
            flying: BTreeMap::new(),
            waiting: VecDeque::new(),
            failed: BTreeSet::new(),
            polled: outside.now + first,
            batch: Vec::new(),
            notes: Vec::new(),
            out_of_range: false,
            next_clock: 0,
            leaving: None,
            late: Vec::new(),
        }
    }

    /// It is to stop, and to save first what it can.
    pub fn stop(&mut self, now: i64) {
        for phase in self.phases.values_mut() {
            if let Phase::Live { next } = *phase {
                *phase = Phase::Seek { to: next };
            }
        }
        self.leaving.get_or_insert((now + FAREWELL, false));
    }

    /// Whether it has been told to stop.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// What was given out under a ticket in this life.
    pub fn stamp(&self, writer: Writer, ticket: u64) -> Option<Stamp> {
        self.tickets.get(&ticket).filter(|_| self.writer == writer).cloned()
    }

    /// One step of the loop.
    pub fn turn(&mut self, outside: &mut Outside) {
        match self.step {
            Step::Settle => {
                if self.leaving.is_none() {
                    self.renew_lease(outside);
                }
                if self.worker.is_saving() {
                    self.signal(outside, Signal::Slice);
                }
                while let Some(heard) = self.inbox.pop_front() {
                    self.hear(outside, heard);
                }
                self.say_farewell(outside);
                self.step = Step::Poll;
            }
            Step::Poll => {
                self.poll(outside);
                self.step = Step::Feed;
            }
            Step::Feed => {
                self.take_notes(outside);
                self.feed(outside);
                self.step = Step::Tell;
            }
            Step::Tell => {
                if self.leaving.is_none() {
                    self.find_gaps(outside);
                    self.start(outside);
                    self.tell_time(outside);
                }
                self.step = Step::Settle;
            }
        }
        if self.is_up {
            let pause = match self.step {
                Step::Settle => outside.random.between(2_000, 250_000),
                _ => outside.random.delay(1_000),
            };
            outside.later(pause, Event::Turn(self.writer));
        }
    }

    fn renew_lease(&mut self, outside: &mut Outside) {
        if outside.now - self.polled < LEASE {
            return;
        }
        outside.note(format!("{:?} stood still", self.writer));
        self.polled = outside.now;
        let held: Vec<PartitionId> = self.phases.keys().cloned().collect();
        for partition in held {
            self.forget(outside, &partition);
            self.phases.insert(partition.clone(), Phase::Told);
            self.signal(outside, Signal::Revoked(partition.clone()));
            self.signal(outside, Signal::Assigned(partition));
        }
    }

    fn hear(&mut self, outside: &mut Outside, heard: Heard) {
        match heard {
            Heard::Written(ticket, stamp, at) => {
                if self.tickets.remove(&ticket).is_some() && !self.tickets.values().any(|open| *open == stamp)
                {
                    self.signal(outside, Signal::Acked { stamp, at });
                }
            }
            Heard::Lost(ticket, stamp) => {
                self.failed.remove(&stamp.source);
                if self.tickets.contains_key(&ticket) {
                    self.forget(outside, &stamp.source.clone());
                    self.signal(outside, Signal::Failed(stamp));
                }
            }
            Heard::Committed(partition, accepted) => {
                let Some(tenure) = self.flying.remove(&partition) else { return };
                let next = self.waiting.iter().position(|(waiting, _)| *waiting == partition);
                if let Some((partition, commit)) = next.and_then(|at| self.waiting.remove(at)) {
                    self.commit(outside, partition, commit);
                }
                self.signal(outside, Signal::Committed { partition, tenure, accepted });
            }
            Heard::Saved { partition, tenure, name, next_offset, root } => {
                let late = self.late.iter().position(|late| *late == partition);
                let early = outside.bug == Some(Bug::PublishesEarly);
                if name.is_some() && (early || late.is_some()) {
                    late.map(|at| self.late.remove(at));
                    self.commit(outside, partition.clone(), (tenure, next_offset, root));
                }
                self.signal(outside, Signal::Saved { partition, tenure, name });
            }
            Heard::Answer(Signal::Ranged { partition, oldest, end }) => {
                let next = match self.phases.get(&partition) {
                    Some(Phase::Live { next }) => Some(*next),
                    _ => None,
                };
                if next.is_none_or(|next| !(oldest..=end).contains(&next)) {
                    self.renew(outside, &partition);
                }
                self.signal(outside, Signal::Ranged { partition, oldest, end });
            }
            Heard::Answer(signal) => self.signal(outside, signal),
            Heard::Published(edition) => {
                self.signal(outside, Signal::Published(content().sets[edition].clone()));
            }
        }
    }

    /// The client library takes up partitions anew, since it says no more of one.
    fn renew(&mut self, outside: &Outside, partition: &PartitionId) {
        for (other, phase) in &mut self.phases {
            if let Phase::Live { next } = *phase
                && (outside.group.eager || other == partition)
            {
                *phase = Phase::Seek { to: next };
            }
        }
    }

    fn poll(&mut self, outside: &mut Outside) {
        // What was sent before a partition is given up reaches the coordinator before.
        while outside.wires.get(&self.writer).is_some_and(|wires| !wires.is_empty())
            && outside.group.asks_back(&self.client)
        {
            outside.take_commit(self.writer);
        }
        let (group, now, random) = (&mut outside.group, outside.now, &mut outside.random);
        let notes = group.poll(&mut self.client, self.writer, now, random);
        if !notes.is_empty() {
            outside.note(format!("{:?} {notes:?}", self.writer));
        }
        self.notes.extend(notes);
        let live: Vec<PartitionId> =
            self.phases.iter().filter(|(_, p)| is_live(p)).map(|(id, _)| id.clone()).collect();
        let mut batch = Vec::new();
        for partition in live.iter().filter(|_| outside.random.percent(70)).collect::<Vec<_>>() {
            self.fetch(outside, partition, &mut batch);
        }
        if outside.now - self.polled < LEASE {
            self.polled = outside.now;
            self.batch = batch;
        }
    }

    fn fetch(&mut self, outside: &mut Outside, partition: &PartitionId, batch: &mut Vec<Polled>) {
        let most = outside.random.between(1, 14);
        let Some(log) = outside.logs.get(partition).filter(|log| log.stalled <= outside.now) else { return };
        let Some((topic, next)) = self.positions.get_mut(partition) else { return };
        if *topic != log.topic() || !(log.oldest..=log.end()).contains(next) {
            self.out_of_range = true;
            return;
        }
        if *next < log.end() {
            outside.watch.read(partition, *topic);
        }
        for offset in *next..log.end().min(*next + most) {
            let Some((offset, broker_time, payload)) = log.get(*topic, offset) else { return };
            let payload = payload.to_vec();
            batch.push(Polled { partition: partition.clone(), offset, broker_time, payload });
            *next = offset + 1;
        }
    }

    fn take_notes(&mut self, outside: &mut Outside) {
        for note in std::mem::take(&mut self.notes) {
            match note {
                Note::Assigned(partitions) => {
                    for partition in partitions {
                        self.forget(outside, &partition);
                        self.phases.insert(partition.clone(), Phase::Told);
                        self.signal(outside, Signal::Assigned(partition));
                    }
                }
                Note::Revoked(partitions) => {
                    if outside.bug == Some(Bug::CommitsAfterRevoke) && !partitions.is_empty() {
                        self.late.extend(partitions.iter().cloned());
                        self.signal(outside, Signal::Farewell);
                    }
                    for partition in partitions {
                        self.phases.remove(&partition);
                        self.waiting.retain(|(waiting, _)| *waiting != partition);
                        self.signal(outside, Signal::Revoked(partition.clone()));
                        self.forget(outside, &partition);
                    }
                }
            }
        }
    }

    fn feed(&mut self, outside: &mut Outside) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.retain(|polled| match self.phases.get_mut(&polled.partition) {
            Some(Phase::Live { next }) if polled.offset >= *next => {
                *next = polled.offset + 1;
                true
            }
            _ => false,
        });
        if batch.is_empty() {
            return;
        }
        let sources: Vec<u16> = batch.iter().map(|polled| self.worker.source(&polled.partition)).collect();
        let mut records: Vec<Record<'_>> = sources
            .into_iter()
            .zip(&batch)
            .map(|(source, polled)| {
                let Polled { offset, broker_time, payload, .. } = polled;
                Record { source, offset: *offset, broker_time: *broker_time, payload, broken: None }
            })
            .collect();
        records.sort_by_key(|record| record.source);
        self.signal(outside, Signal::Records(&records));
    }

    fn find_gaps(&mut self, outside: &mut Outside) {
        if std::mem::take(&mut self.out_of_range) {
            for (partition, _) in self.phases.clone().iter().filter(|(_, phase)| is_live(phase)) {
                self.ask(outside, Question::Range(partition.clone()));
            }
        }
    }

    fn start(&mut self, outside: &mut Outside) {
        for (partition, phase) in &mut self.phases {
            if let Phase::Seek { to } = *phase
                && !outside.random.percent(20)
            {
                *phase = Phase::Live { next: to };
                let topic = outside.logs.get(partition).map_or(0, |log| log.topic());
                self.positions.insert(partition.clone(), (topic, to));
            }
        }
    }

    fn tell_time(&mut self, outside: &mut Outside) {
        if outside.now >= self.next_clock {
            self.next_clock = outside.now + SECOND / 4;
            self.signal(outside, Signal::Clock(outside.wall(self.skew)));
        }
    }

    fn say_farewell(&mut self, outside: &mut Outside) {
        let Some((deadline, asked)) = self.leaving else { return };
        if self.tickets.is_empty() && !asked {
            self.leaving = Some((deadline, true));
            self.signal(outside, Signal::Farewell);
        }
        let done = asked && self.tickets.is_empty() && self.worker.is_settled();
        if done || outside.now >= deadline {
            outside.note(format!("{:?} leaves", self.writer));
            self.is_up = false;
            while outside.wires.get(&self.writer).is_some_and(|wires| !wires.is_empty()) {
                outside.take_commit(self.writer);
            }
            if let Some(id) = self.client.id {
                outside.group.leave(id, &mut outside.random);
            }
        }
    }

    fn signal(&mut self, outside: &mut Outside, signal: Signal<'_>) {
        let mut actions = Vec::new();
        if outside.trace.is_some() && !matches!(signal, Signal::Clock(_)) {
            let text = format!("{:?} < {}", self.writer, shown(&signal));
            outside.note(text);
        }
        self.worker.handle(signal, &mut actions);
        for action in actions {
            if outside.trace.is_some() && !matches!(action, Action::Save { .. }) {
                outside.note(format!("{:?} > {action:?}", self.writer));
            }
            self.execute(outside, action);
        }
    }

    fn execute(&mut self, outside: &mut Outside, action: Action) {
        match action {
            Action::Append(stamp, entry) => self.append(outside, stamp, entry),
            Action::Alert { stamp, through, more, said } => {
                let mut alerts: Vec<Arc<_>> = said.into_iter().map(|said| said.alert).collect();
                // What one record of the journal cannot hold becomes several.
                if alerts.len() > 1 && outside.random.percent(30) {
                    let later = alerts.split_off(alerts.len() / 2);
                    self.append(outside, stamp.clone(), Entry::Alerts { through, more: true, alerts });
                    alerts = later;
                }
                self.append(outside, stamp, Entry::Alerts { through, more, alerts });
            }
            Action::DeadLetter(stamp, rejects) => {
                let ticket = outside.ticket();
                let offsets = rejects.iter().map(|reject| reject.offset).collect();
                let source = stamp.source.clone();
                let topic = self.positions.get(&source).map_or(0, |(topic, _)| *topic);
                self.tickets.insert(ticket, stamp);
                let delay = outside.random.delay(60_000);
                outside.later(delay, Event::Letter(self.writer, ticket, source, (topic, offsets)));
            }
            Action::FindRoot { partition, tenure } => self.ask(outside, Question::Root { partition, tenure }),
            Action::FindRange(partition) => self.ask(outside, Question::Range(partition)),
            Action::FindEnd(partition, next_offset) => {
                let asked = outside.wall(self.skew);
                self.ask(outside, Question::End { partition, next_offset, asked });
            }
            Action::Load { partition, tenure, root, until } => {
                self.ask(outside, Question::Past { partition, tenure, root, until });
            }
            Action::Save { tenure, cut } => {
                let of = |(ticket, stamp): (&u64, &Stamp)| (stamp.source == cut.partition).then_some(*ticket);
                let before = self.tickets.iter().filter_map(of).collect();
                outside.note(format!("{:?} > Save {} at {}", self.writer, cut.partition, cut.next_offset));
                self.ask(outside, Question::Save { tenure, cut, before });
            }
            Action::Published(partition, name) => self.ask(outside, Question::Prune(partition, name)),
            Action::Commit { partition, tenure, next_offset, root } => {
                self.commit(outside, partition, (tenure, next_offset, root));
            }
            Action::Seek(partition, to) => {
                if let Some(phase) = self.phases.get_mut(&partition) {
                    *phase = Phase::Seek { to };
                }
            }
            Action::Forget(partition) => {
                if let Some(phase) = self.phases.get_mut(&partition) {
                    *phase = Phase::Told;
                }
                self.forget(outside, &partition);
            }
        }
    }

    fn append(&mut self, outside: &mut Outside, stamp: Stamp, entry: Entry) {
        let asked = keeper::asked(outside, &stamp, &entry, self.skew);
        let now = outside.now;
        let Some(log) = outside.logs.get(&stamp.source) else { return };
        outside.watch.said(&stamp, &entry, log, asked);
        let topic = self.positions.get(&stamp.source).map_or(log.topic(), |(topic, _)| *topic);
        let topic = if matches!(entry, Entry::Told { told: fleetwarden::event::Told::Gap { .. }, .. }) {
            log.topic()
        } else {
            topic
        };
        let ticket = outside.ticket();
        self.tickets.insert(ticket, stamp.clone());
        let at = place(&stamp);
        if outside.bug == Some(Bug::AppliesUnwritten) && matches!(entry, Entry::Told { .. }) {
            let at = Some(outside.journal.partitions[at].len() as i64);
            self.inbox.push_back(Heard::Written(ticket, stamp.clone(), at));
        }
        if self.failed.contains(&stamp.source) {
            let delay = outside.random.delay(20_000);
            return outside.later(delay, Event::Hear(self.writer, Heard::Lost(ticket, stamp)));
        }
        let lying = Lying { stamp: stamp.clone(), entry, topic, given: now };
        outside.journal.give(self.writer, Flying { ticket, lying });
        let delay = outside.random.delay(outside.slow);
        match !outside.calm && outside.random.between(0, 400) == 0 {
            // It will never be written, and neither will what follows it.
            true => {
                outside.journal.take_back(self.writer, &stamp.source, |count| count - 1);
                self.failed.insert(stamp.source.clone());
                outside.later(delay, Event::Hear(self.writer, Heard::Lost(ticket, stamp)));
            }
            false => outside.later(delay, Event::Arrive(self.writer, at)),
        }
    }

    /// Whatever is under way for a partition is nobody's. What was handed over already is written all the same.
    fn forget(&mut self, outside: &mut Outside, partition: &PartitionId) {
        self.tickets.retain(|_, stamp| stamp.source != *partition);
        let mut random = outside.random.clone();
        outside.journal.take_back(self.writer, partition, |count| random.index(count + 1));
        outside.random.between(0, 2);
    }

    fn ask(&mut self, outside: &mut Outside, question: Question) {
        let delay = keeper::on_the_way(outside);
        outside.later(delay, Event::Ask(self.writer, question));
    }

    fn commit(&mut self, outside: &mut Outside, partition: PartitionId, commit: Commit) {
        if self.flying.contains_key(&partition) {
            return self.waiting.push_back((partition, commit));
        }
        let (tenure, next_offset, root) = commit;
        self.flying.insert(partition.clone(), tenure);
        let wire = Wire { id: self.client.id, partition, next_offset, root };
        outside.wires.entry(self.writer).or_default().push_back(wire);
        let delay = outside.random.delay(10_000);
        outside.later(delay, Event::Commit(self.writer));
    }

    /// Whether it has read a partition to its end, and nothing of it is on its way.
    pub fn has_finished(&self, partition: &PartitionId, end: i64) -> bool {
        let totals = self.worker.totals();
        let next = totals.partitions.get(partition).map(|counters| counters.next_offset);
        let live = self.phases.get(partition).is_some_and(is_live);
        live && next == Some(end)
            && totals.replaying == 0
            && self.worker.is_settled()
            && self.tickets.is_empty()
    }

    /// Why it has not, for people.
    pub fn describe(&self) -> String {
        let settled = self.worker.is_settled();
        let totals = self.worker.totals();
        let next: Vec<String> =
            totals.partitions.iter().map(|(id, counters)| format!("{id}@{}", counters.next_offset)).collect();
        format!(
            "{:?} up {} settled {settled} replaying {} phases {:?} next {next:?} tickets {:?}",
            self.writer, self.is_up, totals.replaying, self.phases, self.tickets
        )
    }
}

fn is_live(phase: &Phase) -> bool {
    matches!(phase, Phase::Live { .. })
}
