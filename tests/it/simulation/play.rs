//! Plays one seed from its beginning to the end, when everything has calmed down.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleetwarden::event::{Limits, PartitionId};

use super::chaos::{self, Blow};
use super::check::check;
use super::content::{STREAMS, payload};
use super::group::Group;
use super::journal::Writer;
use super::log::{Kept, Log};
use super::member::Member;
use super::random::Random;
use super::sinks::Sink;
use super::world::{Event, Heard, Outside, SECOND, START};
use super::{Bug, Outcome, Plan, keeper};

/// How long it may take until everything has been read once nothing goes wrong any more.
const PATIENCE: i64 = 120 * SECOND;

/// Everything that a seed plays with.
struct Stage<'p> {
    plan: &'p Plan,
    outside: Outside,
    members: Vec<Member>,
    sinks: Vec<Sink>,
    limits: Limits,
    /// Partitions of which a checkpoint was lost.
    spoiled: BTreeSet<PartitionId>,
}

/// Plays a seed.
pub fn play(plan: &Plan, bug: Option<Bug>, traced: bool) -> Outcome {
    let group = Group::new(plan.partitions.iter().cloned(), plan.eager);
    let mut outside = Outside::new(plan.seed, group, bug, traced);
    outside.told_time.insert(Arc::from(STREAMS[1]));
    outside.slow = plan.slow;
    let limits = Limits::default();
    for partition in &plan.partitions {
        outside.logs.insert(partition.clone(), Log::new());
    }
    produce(plan, &mut outside);
    chaos::schedule(plan, &mut outside);
    outside.later(SECOND, Event::Beat);
    let sinks: Vec<Sink> = (0..2).map(|_| Sink::default()).collect();
    (0..sinks.len()).for_each(|number| outside.later(SECOND, Event::Sink(number)));
    let count = plan.processes * plan.workers;
    let members = (0..count).map(|i| Member::new((i, 1), &mut outside, plan.save_every, &limits)).collect();
    let mut stage = Stage { plan, outside, members, sinks, limits, spoiled: BTreeSet::new() };
    stage.run();
    stage.finish()
}

/// Draws what producers write, and when.
fn produce(plan: &Plan, outside: &mut Outside) {
    let mut random = Random::new(plan.seed ^ 0x4ec0);
    let mut at = START;
    for _ in 0..plan.records {
        // Now and then nothing comes for a while.
        let pause = if random.percent(4) { 5 * SECOND } else { 2 * plan.lasts / plan.records };
        at += random.between(0, pause.max(1));
        let partition = plan.partitions[random.index(plan.partitions.len())].clone();
        let behind = if random.percent(80) { 0 } else { random.between(0, 4 * SECOND) };
        let payload = payload(&mut random, partition.index, at);
        outside.at(at, Event::Produce(partition, Kept { broker_time: at - behind, taken: 0, payload }));
    }
}

impl Stage<'_> {
    fn run(&mut self) {
        let calm = START + self.plan.lasts;
        let mut looked = calm;
        while let Some(event) = self.outside.next() {
            if !self.outside.watch.violations.is_empty() {
                return;
            }
            let now = self.outside.now;
            if now > calm && !self.outside.calm {
                self.calm_down();
            }
            if now > looked + SECOND / 2 {
                looked = now;
                if self.is_done() {
                    return;
                }
                if now > calm + PATIENCE {
                    let all: Vec<String> = self.members.iter().map(Member::describe).collect();
                    self.outside.watch.broken(format!("no progress: {all:#?}"));
                    return;
                }
            }
            self.happen(event);
        }
    }

    fn calm_down(&mut self) {
        self.outside.note("calm");
        self.outside.calm = true;
        self.outside.store.failing = 0;
        for log in self.outside.logs.values_mut() {
            log.stalled = 0;
        }
    }

    fn is_done(&self) -> bool {
        let outside = &self.outside;
        outside.calm
            && !outside.awaits_records()
            && outside.journal.is_quiet()
            && outside.logs.iter().all(|(id, log)| {
                let owner = outside.group.owner(id);
                let owner = self.members.iter().find(|member| Some(member.writer) == owner);
                owner.is_some_and(|owner| owner.is_up && owner.has_finished(id, log.end()))
            })
    }

    fn happen(&mut self, event: Event) {
        let of = match &event {
            Event::Turn(w) | Event::Arrive(w, _) | Event::Letter(w, ..) | Event::Hear(w, _) => Some(*w),
            Event::Ask(w, _) | Event::Commit(w) => Some(*w),
            _ => None,
        };
        let Some(writer) = of else { return self.happen_outside(event) };
        let (at, life) = writer;
        let member = &self.members[at];
        let outside = &mut self.outside;
        let gone = member.writer.1 != life || !member.is_up;
        let paused = !gone && member.paused > outside.now;
        let on_the_wire = matches!(event, Event::Arrive(..) | Event::Letter(..) | Event::Commit(_));
        if (gone || paused) && !(on_the_wire && outside.random.percent(60)) {
            match (&event, paused) {
                (Event::Arrive(_, place), false) => outside.journal.lose(writer, *place),
                (Event::Commit(_), false) => drop(outside.wires.remove(&writer)),
                (_, false) => {}
                (Event::Turn(_), true) => {
                    let wakes = member.paused + outside.random.between(0, 100_000);
                    outside.at(wakes, event);
                }
                (_, true) => outside.at(member.paused + 1, event),
            }
            return;
        }
        self.happen_to(writer, event);
    }

    fn happen_to(&mut self, writer: Writer, event: Event) {
        let outside = &mut self.outside;
        match event {
            Event::Turn(_) => {
                let member = &mut self.members[writer.0];
                member.turn(outside);
                if !member.is_up {
                    self.count(writer.0);
                }
            }
            Event::Arrive(_, place) => {
                if let Some((ticket, stamp, offset)) = outside.journal.arrive(writer, place) {
                    outside.watch.arrived(ticket);
                    let at = outside.now + outside.random.delay(10_000);
                    let at = outside.journal.in_order(writer, place, at);
                    outside.at(at, Event::Hear(writer, Heard::Written(ticket, stamp, Some(offset))));
                }
            }
            Event::Letter(_, ticket, partition, (topic, offsets)) => {
                outside.watch.arrived(ticket);
                let named = offsets.iter().map(|offset| (partition.clone(), topic, *offset));
                outside.letters.extend(named);
                let delay = outside.random.delay(10_000);
                let Some(stamp) = self.members[writer.0].stamp(writer, ticket) else { return };
                outside.later(delay, Event::Hear(writer, Heard::Written(ticket, stamp, None)));
            }
            Event::Hear(_, heard) => self.members[writer.0].inbox.push_back(heard),
            Event::Ask(_, question) => keeper::answer(outside, writer, question),
            Event::Commit(_) => outside.take_commit(writer),
            _ => {}
        }
    }

    fn happen_outside(&mut self, event: Event) {
        let outside = &mut self.outside;
        match event {
            Event::Produce(partition, mut kept) => {
                let Some(log) = outside.logs.get_mut(&partition) else { return };
                if log.stalled > outside.now {
                    let again = log.stalled;
                    return outside.at(again, Event::Produce(partition, kept));
                }
                kept.taken = outside.now;
                if !outside.told_time.contains(&partition.stream) {
                    kept.broker_time = outside.now;
                }
                log.push(kept);
            }
            Event::Beat => {
                let members = &self.members;
                let beats = |(at, life): Writer| {
                    let member = &members[at];
                    member.writer.1 == life && member.is_up && member.paused <= outside.now
                };
                outside.group.beat(outside.now, beats, &mut outside.random);
                outside.later(SECOND / 2, Event::Beat);
            }
            Event::Sink(number) => self.sinks[number].turn(number, outside),
            Event::Blow(blow) => self.strike(blow),
            _ => {}
        }
    }

    fn workers(&self, process: usize) -> std::ops::Range<usize> {
        process * self.plan.workers..(process + 1) * self.plan.workers
    }

    fn strike(&mut self, blow: Blow) {
        let now = self.outside.now;
        let outside = &mut self.outside;
        match blow {
            Blow::Kill(process, back) => {
                for at in self.workers(process) {
                    if self.members[at].is_up {
                        self.members[at].is_up = false;
                        self.count(at);
                    }
                }
                self.outside.later(back, Event::Blow(Blow::Start(process)));
            }
            Blow::Pause(process, long) => {
                for at in self.workers(process) {
                    self.members[at].paused = now + long;
                }
            }
            Blow::Stop(process, back) => {
                for at in self.workers(process) {
                    self.members[at].stop(now);
                }
                self.outside.later(back + SECOND, Event::Blow(Blow::Start(process)));
            }
            Blow::Start(process) => self.start(process),
            Blow::Balance => outside.group.balance(60, &mut outside.random),
            Blow::Publish(edition) => {
                outside.edition = edition;
                for member in &self.members {
                    let delay = outside.random.delay(SECOND / 2);
                    outside.later(delay, Event::Hear(member.writer, Heard::Published(edition)));
                }
            }
            Blow::Fail(times) => outside.store.failing += times,
            Blow::Spoil(partition) => {
                let root = outside.group.committed.get(&partition).and_then(|(_, root)| root.clone());
                if let Some(name) = root.and_then(|root| root.checkpoint) {
                    outside.store.spoil(&partition, &name);
                    self.spoiled.insert(partition.clone());
                    outside.logs.entry(partition).and_modify(|log| log.is_untold |= log.made > 0);
                }
            }
            Blow::Retain(partition, part) => {
                if let Some(log) = outside.logs.get_mut(&partition) {
                    log.oldest += (log.end() - log.oldest) * part / 100;
                }
            }
            Blow::Recreate(partition) => {
                let spoiled = self.spoiled.contains(&partition);
                outside.logs.entry(partition).and_modify(|log| {
                    log.recreate(now);
                    log.is_untold |= spoiled;
                });
            }
            Blow::Cut(partition, records) => {
                outside.logs.entry(partition).and_modify(|log| log.cut(records));
            }
            Blow::Stall(partition, long) => {
                if let Some(log) = outside.logs.get_mut(&partition) {
                    log.stalled = now + long;
                }
            }
        }
    }

    /// Starts the workers of a process that have gone. One that still stops is waited for.
    fn start(&mut self, process: usize) {
        for at in self.workers(process) {
            let member = &self.members[at];
            if member.is_up {
                if member.is_leaving() {
                    self.outside.later(SECOND, Event::Blow(Blow::Start(process)));
                }
                continue;
            }
            let writer = (at, member.writer.1 + 1);
            self.members[at] = Member::new(writer, &mut self.outside, self.plan.save_every, &self.limits);
        }
    }

    /// What a worker that is gone has counted.
    fn count(&mut self, at: usize) {
        let totals = self.members[at].worker.totals();
        self.outside.watch.divergence += totals.divergence;
        self.outside.watch.unknown_sets += totals.unknown_sets;
    }

    fn finish(mut self) -> Outcome {
        for at in 0..self.members.len() {
            if self.members[at].is_up {
                self.count(at);
            }
        }
        let mut violations = std::mem::take(&mut self.outside.watch.violations);
        if violations.is_empty() {
            self.sinks.iter_mut().for_each(|sink| sink.finish(&self.outside));
            violations = check(&self.outside, &self.sinks, &self.limits);
        }
        let trace = self.outside.trace.take().unwrap_or_default();
        Outcome { violations, trace, alerts: self.sinks[0].got.len() }
    }
}
