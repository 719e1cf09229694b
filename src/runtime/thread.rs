//! The thread that executes a worker's actions against Kafka: poll, sort, hand over, do what it says.
//!
//! It decides nothing about records, alerts or time; it owns the consumer, the producers, the clock, and the
//! order in which things are done with them. Whoever is to be waited for is never waited for here: what takes
//! time is the keeper's, and its answers are heard in the loop.

mod commits;
mod partitions;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use commits::Commits;
use partitions::{Partitions, Phase};

use super::keeper::{Answer, Keeper, Question};
use super::outbox::{Done, Outbox};
use super::worker::{Action, Compiled, Signal, Worker};
use crate::event::{Record, Timestamp};
use crate::journal::Entry;
use crate::kafka::{Complaints, Consumer, Error, Message, Note, Polled, Settings, Topics};
use crate::metrics::Status;

/// Records that are handed to a worker at once.
const RECORDS: usize = 8_192;

/// Their bytes.
const BYTES: usize = 4 << 20;

/// How long a poll waits for the first record.
const WAIT: Duration = Duration::from_millis(50);

/// How long one waits while something is on its way.
const SHORT_WAIT: Duration = Duration::from_millis(5);

/// How long reading is stopped at least: each time it goes on, what had been fetched is fetched again.
const HOLD: Duration = Duration::from_millis(200);

/// How long outcomes are waited for when everything stops.
const FAREWELL: Duration = Duration::from_secs(8);

/// What a thread is given.
pub struct Setup {
    /// Tells workers of a process apart in logs and at the broker.
    pub name: String,
    /// How to reach Kafka.
    pub settings: Arc<Settings>,
    /// What is read.
    pub topics: Arc<Topics>,
    /// What all workers of a process complain of together.
    pub complaints: Arc<Complaints>,
    /// Who decides.
    pub worker: Worker,
    /// Who does what takes time.
    pub keeper: Arc<Keeper>,
    /// Rule sets that are to judge from now on.
    pub published: Receiver<Compiled>,
    /// How many partitions the journal has.
    pub journal: i32,
    /// Where it publishes how it does, once a second.
    pub status: Arc<Mutex<Status>>,
    /// Becomes true when it should end.
    pub stop: Arc<AtomicBool>,
}

/// Runs until told to stop. An error is one of settings: nothing has been read then.
pub fn run(setup: Setup) -> Result<(), Error> {
    // Before the consumer: a new idempotent producer needs half a second until it can write.
    let outbox = Outbox::open(setup.settings.clone(), setup.complaints.clone(), &setup.name, setup.journal)?;
    let now = Instant::now();
    let (back, answers) = channel();
    let mut thread = Thread {
        lease: setup.settings.session() / 2,
        settings: setup.settings,
        topics: setup.topics,
        worker: setup.worker,
        keeper: setup.keeper,
        published_rules: setup.published,
        back,
        answers,
        outbox,
        partitions: Partitions::default(),
        commits: Commits::default(),
        actions: Vec::new(),
        status: Status { reached_at: wall(), ..Status::default() },
        published: setup.status,
        stop: setup.stop,
        hold_until: now,
        polled: now,
        check_ranges: None,
        next_clock: now,
        next_second: now,
    };
    loop {
        let consumer = Consumer::open(&thread.settings, &thread.topics, &setup.complaints, &setup.name)?;
        thread.polled = Instant::now();
        match thread.serve(&consumer) {
            None => {
                thread.farewell(&consumer);
                // Closing serves the last revocation, and leaves the group.
                drop(consumer);
                return Ok(());
            }
            Some(reason) => {
                tracing::error!("the consumer is broken, and replaced: {reason}");
                thread.lose_everything();
                drop(consumer);
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

struct Thread {
    settings: Arc<Settings>,
    topics: Arc<Topics>,
    worker: Worker,
    keeper: Arc<Keeper>,
    published_rules: Receiver<Compiled>,
    back: Sender<Answer>,
    answers: Receiver<Answer>,
    outbox: Outbox,
    partitions: Partitions,
    commits: Commits,
    actions: Vec<Action>,
    status: Status,
    published: Arc<Mutex<Status>>,
    stop: Arc<AtomicBool>,
    /// Until when reading stays stopped, once it is.
    hold_until: Instant,
    /// When a poll was completed last, and how long ago that may be before what is owned is given up.
    polled: Instant,
    lease: Duration,
    /// When to look for the partition that was out of range.
    check_ranges: Option<Instant>,
    next_clock: Instant,
    next_second: Instant,
}

/// A batch: records with the index of their partition, sorted by it.
type Batch<'a> = Vec<(u16, Message<'a>)>;

impl Thread {
    /// None: told to stop. Some: this consumer is of no more use, and why.
    fn serve(&mut self, consumer: &Consumer) -> Option<String> {
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            self.renew_lease(consumer, now);
            self.settle(consumer, now);
            self.hold_or_release(consumer, now);
            let polled = match self.poll(consumer, now) {
                Ok(polled) => polled,
                Err(reason) => return Some(reason),
            };
            // Notes first: what was polled before a partition went must not be folded after it.
            self.take_notes(consumer);
            let batch = self.sort(polled);
            self.feed(consumer, &batch);
            drop(batch);
            self.find_gaps(now);
            self.start(consumer, now);
            self.tell_time(consumer, now);
            if self.worker.is_saving() {
                self.signal(consumer, Signal::Slice, &[]);
            }
        }
        None
    }

    /// A worker that has not polled for so long that others may own its partitions gives them up before it does
    /// anything else: what it has not said yet will be said by somebody, and only once.
    fn renew_lease(&mut self, consumer: &Consumer, now: Instant) {
        if now.duration_since(self.polled) < self.lease {
            return;
        }
        tracing::warn!("this process stood still: its partitions are taken up anew");
        self.polled = now;
        let held = self.partitions.names();
        if let Err(error) = consumer.pause(&held) {
            tracing::debug!("pausing: {error}");
        }
        for partition in held {
            self.outbox.forget(&partition);
            self.commits.forget(&partition);
            self.partitions.set(&partition, Phase::Told);
            self.signal(consumer, Signal::Revoked(partition.clone()), &[]);
            self.signal(consumer, Signal::Assigned(partition), &[]);
        }
    }

    /// Hears what became of alerts and dead letters, commits and questions.
    fn settle(&mut self, consumer: &Consumer, now: Instant) {
        for done in self.outbox.work(now) {
            let signal = match done {
                Done::Written(stamp, at) => Signal::Acked { stamp, at },
                Done::Failed(stamp) => Signal::Failed(stamp),
            };
            self.signal(consumer, signal, &[]);
        }
        for result in consumer.committed_results() {
            let (partition, result) = (result.partition, result.result);
            if let Err(error) = &result {
                tracing::warn!("the group refuses a commit of {partition}: {error}");
            }
            if let Some(tenure) = self.commits.answered(&partition, consumer) {
                self.signal(consumer, Signal::Committed { partition, tenure, accepted: result.is_ok() }, &[]);
            }
        }
        while let Ok(answer) = self.answers.try_recv() {
            self.hear(consumer, answer, now);
        }
        while let Ok(rules) = self.published_rules.try_recv() {
            self.signal(consumer, Signal::Published(rules), &[]);
        }
    }

    /// An answer of the keeper.
    fn hear(&mut self, consumer: &Consumer, answer: Answer, now: Instant) {
        match answer {
            Answer::Rooted { partition, tenure, next_offset, root } => {
                self.signal(consumer, Signal::Rooted { partition, tenure, next_offset, root }, &[]);
            }
            Answer::Loaded { partition, tenure, past } => {
                self.signal(consumer, Signal::Loaded { partition, tenure, past }, &[]);
            }
            Answer::Saved { partition, tenure, name } => {
                self.signal(consumer, Signal::Saved { partition, tenure, name }, &[]);
            }
            Answer::Unknown { partition, tenure } => {
                let stamp = crate::event::Stamp { source: partition, epoch: -1, seq: tenure };
                self.signal(consumer, Signal::Failed(stamp), &[]);
            }
            Answer::AtEnd { partition, next_offset, asked } => {
                self.signal(consumer, Signal::AtEnd { partition, next_offset, asked }, &[]);
            }
            Answer::Ranged { partition, oldest, end } => {
                let outside =
                    self.partitions.next_of(&partition).is_none_or(|n| !(oldest..=end).contains(&n));
                if outside {
                    match consumer.renew(&partition, &self.partitions.names()) {
                        Ok(again) => again.iter().for_each(|again| self.partitions.stop(again, now)),
                        Err(error) => tracing::warn!("taking up {partition} anew: {error}"),
                    }
                }
                self.signal(consumer, Signal::Ranged { partition, oldest, end }, &[]);
            }
        }
    }

    /// Takes what is waiting. Never lingers for more, once there is something.
    fn poll<'c>(&mut self, consumer: &'c Consumer, now: Instant) -> Result<Vec<Message<'c>>, String> {
        let hurry = self.status.held_since.is_some() || self.partitions.pending() || !self.outbox.idle();
        let mut wait = if hurry { SHORT_WAIT } else { WAIT };
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while messages.len() < RECORDS && bytes < BYTES {
            match consumer.poll(wait) {
                Polled::Message(message) => {
                    bytes += message.payload().len();
                    messages.push(message);
                    wait = Duration::ZERO;
                }
                Polled::Nothing => break,
                Polled::OutOfRange => {
                    self.check_ranges = Some(now);
                    break;
                }
                Polled::Fatal(reason) => return Err(reason),
            }
        }
        // What was polled by a process that stood still meanwhile is not its own any more.
        let polled = Instant::now();
        match polled.duration_since(self.polled) < self.lease {
            true => self.polled = polled,
            false => messages.clear(),
        }
        Ok(messages)
    }

    fn take_notes(&mut self, consumer: &Consumer) {
        for note in consumer.notes() {
            match note {
                Note::Assigned(partitions) => {
                    for partition in partitions {
                        if let Some(topic) = self.topics.topic(&partition.stream) {
                            let source = self.worker.source(&partition);
                            self.outbox.forget(&partition);
                            self.partitions.insert(partition.clone(), topic.to_string(), source);
                            self.signal(consumer, Signal::Assigned(partition), &[]);
                        }
                    }
                }
                Note::Revoked(partitions) => {
                    for partition in partitions {
                        self.partitions.remove(&partition);
                        self.commits.forget(&partition);
                        self.signal(consumer, Signal::Revoked(partition.clone()), &[]);
                        self.outbox.forget(&partition);
                    }
                }
            }
        }
    }

    /// Drops what is not to be read (now, or again), and sorts the rest by partition.
    fn sort<'c>(&mut self, messages: Vec<Message<'c>>) -> Batch<'c> {
        let mut batch: Batch<'c> = Vec::with_capacity(messages.len());
        for message in messages {
            if let Some(source) = self.partitions.accept(message.topic(), message.index(), message.offset()) {
                batch.push((source, message));
            }
        }
        // Stable: within a partition, offsets stay in order.
        batch.sort_by_key(|(source, _)| *source);
        batch
    }

    fn feed(&mut self, consumer: &Consumer, batch: &Batch<'_>) {
        if batch.is_empty() {
            return;
        }
        let records: Vec<Record<'_>> = batch
            .iter()
            .map(|(source, message)| Record {
                source: *source,
                offset: message.offset(),
                broker_time: message.broker_time(),
                payload: message.payload(),
                broken: None,
            })
            .collect();
        self.signal(consumer, Signal::Records(&records), batch);
    }

    /// Stops reading while nothing more can be handed out, and lets it go on afterwards.
    fn hold_or_release(&mut self, consumer: &Consumer, now: Instant) {
        match (self.outbox.full() || self.worker.is_crowded(), self.status.held_since) {
            (true, None) => {
                self.status.held_since = Some(wall());
                self.hold_until = now + HOLD;
                // Records that still arrive are dropped, and read again by the seek before reading goes on.
                let live = self.partitions.stop_all();
                if let Err(error) = consumer.pause(&live) {
                    tracing::error!("pausing: {error}");
                }
            }
            (false, Some(_)) if now >= self.hold_until => self.status.held_since = None,
            _ => {}
        }
    }

    /// Lets records come of partitions that are ready for it.
    fn start(&mut self, consumer: &Consumer, now: Instant) {
        if self.status.held_since.is_some() {
            return;
        }
        for (partition, offset) in self.partitions.ready(now) {
            match consumer.start(&partition, offset) {
                Ok(()) => self.partitions.set(&partition, Phase::Live { next: offset }),
                // Usual until the client library has set the partition up.
                Err(error) => {
                    tracing::debug!("starting {partition} at {offset}: {error}");
                    let again = now + Duration::from_millis(20);
                    self.partitions.set(&partition, Phase::Seek { to: offset, again });
                }
            }
        }
    }

    /// Some partition's next offset is not there: retention was shorter than our absence, the topic was made
    /// anew, or the log was cut. Which one is not told, so all are looked at.
    fn find_gaps(&mut self, now: Instant) {
        if self.check_ranges.is_none_or(|due| now < due) {
            return;
        }
        self.check_ranges = None;
        for (partition, _) in self.partitions.live() {
            self.keeper.ask(Question::Range(partition), &self.back);
        }
    }

    fn tell_time(&mut self, consumer: &Consumer, now: Instant) {
        if let Some(report) = consumer.report() {
            self.status.joined = report.joined;
            if report.joined {
                self.status.joined_at = wall();
            }
            if report.reachable {
                self.status.reached_at = wall();
            }
            self.partitions.report(&report);
        }
        if now >= self.next_clock {
            self.next_clock = now + Duration::from_millis(250);
            self.signal(consumer, Signal::Clock(wall()), &[]);
        }
        if now >= self.next_second {
            self.next_second = now + Duration::from_secs(1);
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.status.at = wall();
        let held = self.status.held_since.is_some() && !self.outbox.full();
        self.status.partitions = self.partitions.readings(self.status.at, held);
        self.status.totals = self.worker.totals();
        self.status.dead_letters = self.outbox.counts();
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = self.status.clone();
    }

    /// Tells the worker, and does what it says. `batch` is what the signal speaks of, if it speaks of
    /// records.
    fn signal(&mut self, consumer: &Consumer, signal: Signal<'_>, batch: &[(u16, Message<'_>)]) {
        let mut actions = std::mem::take(&mut self.actions);
        self.worker.handle(signal, &mut actions);
        for action in actions.drain(..) {
            self.execute(consumer, action, batch);
        }
        self.actions = actions;
    }

    fn execute(&mut self, consumer: &Consumer, action: Action, batch: &[(u16, Message<'_>)]) {
        match action {
            Action::Append(stamp, entry) => self.outbox.append(&stamp, entry, wall()),
            Action::Alert { stamp, through, more, said } => {
                let now = wall();
                let alerts: Vec<_> = said.into_iter().map(|said| said.alert).collect();
                for alert in &alerts {
                    self.status.event_to_alert.record(now.0.saturating_sub(alert.time.0));
                    self.status.broker_to_alert.record(now.0.saturating_sub(alert.broker_time.0));
                }
                self.outbox.append(&stamp, Entry::Alerts { through, more, alerts }, now);
            }
            Action::DeadLetter(stamp, rejects) => {
                let now = Instant::now();
                let topic = self.topics.topic(&stamp.source.stream).unwrap_or_default().to_string();
                for reject in rejects {
                    let at = batch
                        .binary_search_by_key(&(reject.source, reject.offset), |(s, m)| (*s, m.offset()));
                    let message = at.ok().and_then(|at| batch.get(at));
                    let key = message.and_then(|(_, message)| message.key());
                    self.outbox.reject(&stamp, &topic, key, reject, now);
                }
            }
            Action::FindRoot { partition, tenure } => {
                self.keeper.ask(Question::Root { partition, tenure }, &self.back);
            }
            Action::FindRange(partition) => self.keeper.ask(Question::Range(partition), &self.back),
            Action::FindEnd(partition, next_offset) => {
                self.keeper.ask(Question::End { partition, next_offset, asked: wall() }, &self.back);
            }
            Action::Load { partition, tenure, root, until } => {
                self.keeper.ask(Question::Past { partition, tenure, root, until }, &self.back);
            }
            Action::Save { tenure, cut } => {
                self.keeper.ask(Question::Save { tenure, cut }, &self.back);
            }
            Action::Published(partition, name) => {
                self.keeper.ask(Question::Prune { partition, name }, &self.back);
            }
            Action::Commit { partition, tenure, next_offset, root } => {
                if !self.commits.send(consumer, partition.clone(), (tenure, next_offset, root)) {
                    self.signal(consumer, Signal::Committed { partition, tenure, accepted: false }, &[]);
                }
            }
            Action::Seek(partition, to) => {
                self.partitions.set(&partition, Phase::Seek { to, again: Instant::now() });
            }
            Action::Forget(partition) => {
                self.partitions.set(&partition, Phase::Told);
                self.outbox.forget(&partition);
            }
        }
    }

    /// The consumer is gone, and with it everything it owned.
    fn lose_everything(&mut self) {
        for partition in self.partitions.names() {
            self.partitions.remove(&partition);
            self.outbox.forget(&partition);
            self.actions.clear();
            self.worker.handle(Signal::Revoked(partition), &mut self.actions);
        }
        self.actions.clear();
        self.commits = Commits::default();
        self.check_ranges = None;
    }

    /// Reads nothing more, saves what there is, and waits a little for it.
    fn farewell(&mut self, consumer: &Consumer) {
        let live = self.partitions.stop_all();
        if let Err(error) = consumer.pause(&live) {
            tracing::debug!("pausing: {error}");
        }
        let deadline = Instant::now() + FAREWELL;
        let mut asked = false;
        while Instant::now() < deadline {
            let now = Instant::now();
            self.settle(consumer, now);
            if self.outbox.idle() && !asked {
                asked = true;
                self.signal(consumer, Signal::Farewell, &[]);
            }
            if asked && self.outbox.idle() && self.worker.is_settled() {
                break;
            }
            if let Polled::Fatal(reason) = consumer.poll(SHORT_WAIT) {
                tracing::warn!("stopping: {reason}");
                break;
            }
            self.take_notes(consumer);
            if self.worker.is_saving() {
                self.signal(consumer, Signal::Slice, &[]);
            }
        }
        if !self.outbox.idle() || !self.worker.is_settled() {
            tracing::warn!("stopping before everything was saved: some records will be read again");
        }
        self.publish();
    }
}

/// The wall clock.
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
