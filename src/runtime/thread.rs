//! The thread that executes a worker's actions against Kafka: poll, sort, hand over, do what it says.
//!
//! It decides nothing about records, alerts or time; it owns the consumer, the producer, the clock, and the
//! order in which things are done with them. Whoever is to be waited for is never waited for here, with two
//! exceptions while partitions change hands: what the group has committed, and the ends of a partition that
//! it has never committed, each for five seconds at most.

mod partitions;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use partitions::{Partitions, Phase};

use super::outbox::{Offer, Outbox};
use super::worker::{Action, Signal, Totals, Worker};
use crate::event::{PartitionId, Record, Timestamp};
use crate::kafka::{Complaints, Consumer, Error, Message, Note, Polled, Position, Settings, Start, Topics};
use crate::metrics::Status;

/// Records that are handed to a worker at once.
const RECORDS: usize = 8_192;

/// Their bytes.
const BYTES: usize = 4 << 20;

/// How long a poll waits for the first record.
const WAIT: Duration = Duration::from_millis(50);

/// How long one waits while something is about to be tried again.
const SHORT_WAIT: Duration = Duration::from_millis(10);

/// How long the group and the cluster may take to answer while partitions change hands.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long reading is stopped at least: each time it goes on, what had been fetched is fetched again.
const HOLD: Duration = Duration::from_millis(200);

/// How long outcomes are waited for when everything stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a thread drives: [`Worker`]. It is a trait so that the contract with Kafka (rebalance, back-pressure,
/// resuming at the right offset) can be tested with one whose every answer is known, without rules or
/// decoding.
pub trait Handler: Send {
    /// The index of a partition, for `Record::source`.
    fn source(&mut self, partition: &PartitionId) -> u16;
    /// Takes one signal; what is to be done about it is added to `actions`.
    fn handle(&mut self, signal: Signal<'_>, actions: &mut Vec<Action>);
    /// What it has counted.
    fn totals(&self) -> Totals;
}

impl Handler for Worker {
    fn source(&mut self, partition: &PartitionId) -> u16 {
        Worker::source(self, partition)
    }

    fn handle(&mut self, signal: Signal<'_>, actions: &mut Vec<Action>) {
        Worker::handle(self, signal, actions);
        // At once, not once a second: should a partition be taken away, this is what is committed of it.
        actions
            .extend(self.committable().into_iter().map(|(partition, next)| Action::Commit(partition, next)));
    }

    fn totals(&self) -> Totals {
        Worker::totals(self)
    }
}

/// What a thread is given.
pub struct Setup<H> {
    /// Tells workers of a process apart in logs and at the broker.
    pub name: String,
    /// How to reach Kafka.
    pub settings: Arc<Settings>,
    /// What is read.
    pub topics: Arc<Topics>,
    /// What all workers of a process complain of together.
    pub complaints: Arc<Complaints>,
    /// Who decides.
    pub worker: H,
    /// Where alerts go.
    pub offer: Offer,
    /// Where it publishes how it does, once a second.
    pub status: Arc<Mutex<Status>>,
    /// Becomes true when it should end.
    pub stop: Arc<AtomicBool>,
}

/// Runs until told to stop. An error is one of settings: nothing has been read then.
pub fn run<H: Handler>(setup: Setup<H>) -> Result<(), Error> {
    // Before the consumer: a new idempotent producer needs half a second until it can write.
    let outbox = Outbox::open(setup.settings.clone(), setup.complaints.clone(), &setup.name, setup.offer)?;
    let now = Instant::now();
    let mut thread = Thread {
        settings: setup.settings,
        topics: setup.topics,
        worker: setup.worker,
        outbox,
        partitions: Partitions::default(),
        actions: Vec::new(),
        status: Status { reached_at: wall(), ..Status::default() },
        published: setup.status,
        stop: setup.stop,
        hold_until: now,
        check_ranges: None,
        next_clock: now,
        next_second: now,
    };
    loop {
        let consumer = Consumer::open(&thread.settings, &thread.topics, &setup.complaints, &setup.name)?;
        match thread.serve(&consumer) {
            None => {
                thread.farewell(&consumer);
                // Closing serves the last revocation, which commits what is safe to commit, and leaves the
                // group.
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

struct Thread<H> {
    settings: Arc<Settings>,
    topics: Arc<Topics>,
    worker: H,
    outbox: Outbox,
    partitions: Partitions,
    actions: Vec<Action>,
    status: Status,
    published: Arc<Mutex<Status>>,
    stop: Arc<AtomicBool>,
    /// Until when reading stays stopped, once it is.
    hold_until: Instant,
    /// When to look for the partition that was out of range.
    check_ranges: Option<Instant>,
    next_clock: Instant,
    next_second: Instant,
}

/// A batch: records with the index of their partition, sorted by it.
type Batch<'a> = Vec<(u16, Message<'a>)>;

impl<H: Handler> Thread<H> {
    /// None: told to stop. Some: this consumer is of no more use, and why.
    fn serve(&mut self, consumer: &Consumer) -> Option<String> {
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            self.settle(consumer, now);
            self.hold_or_release(consumer, now);
            let polled = match self.poll(consumer, now) {
                Ok(polled) => polled,
                Err(reason) => return Some(reason),
            };
            // Notes first: what was polled before a partition went must not be folded after it.
            self.take_notes(consumer, now);
            let batch = self.sort(polled);
            self.feed(consumer, &batch);
            drop(batch);
            self.take_over(consumer, now);
            self.find_gaps(consumer, now);
            self.start(consumer, now);
            self.tell_time(consumer, now);
        }
        None
    }

    /// Hears what became of alerts and dead letters.
    fn settle(&mut self, consumer: &Consumer, now: Instant) {
        for stamp in self.outbox.work(now) {
            self.signal(consumer, Signal::Acked(stamp), &[]);
        }
    }

    /// Takes what is waiting. Never lingers for more, once there is something.
    fn poll<'c>(&mut self, consumer: &'c Consumer, now: Instant) -> Result<Vec<Message<'c>>, String> {
        let hurry = self.status.held_since.is_some() || self.partitions.pending();
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
        Ok(messages)
    }

    fn take_notes(&mut self, consumer: &Consumer, now: Instant) {
        for note in consumer.notes() {
            match note {
                Note::Assigned(partitions) => {
                    for partition in partitions {
                        if let Some(topic) = self.topics.topic(&partition.stream) {
                            let source = self.worker.source(&partition);
                            self.outbox.forget(&partition);
                            self.partitions.insert(partition, topic.to_string(), source, now);
                        }
                    }
                }
                Note::Revoked(partitions) => {
                    for partition in partitions {
                        self.partitions.remove(&partition);
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

    /// Finds out where reading starts in partitions that are new here, and tells the worker.
    fn take_over(&mut self, consumer: &Consumer, now: Instant) {
        let fresh = self.partitions.fresh(now);
        if fresh.is_empty() {
            return;
        }
        let starts = match self.starts(consumer, &fresh) {
            Ok(starts) => starts,
            Err(error) => {
                tracing::warn!("where the group stands is not known, is asked again: {error}");
                self.partitions.postpone(&fresh, now + Duration::from_millis(500));
                return;
            }
        };
        for (partition, next_offset) in starts {
            self.partitions.set(&partition, Phase::Told);
            self.signal(consumer, Signal::Assigned { partition, next_offset }, &[]);
        }
    }

    fn starts(
        &mut self,
        consumer: &Consumer,
        fresh: &[PartitionId],
    ) -> Result<Vec<(PartitionId, i64)>, Error> {
        let mut starts = Vec::with_capacity(fresh.len());
        for Position { partition, next_offset: committed, .. } in consumer.committed(fresh, PATIENCE)? {
            let start = match committed {
                Some(offset) => offset,
                None => {
                    let (oldest, next) = consumer.range(&partition, PATIENCE)?;
                    let start = if self.settings.start == Start::Earliest { oldest } else { next };
                    // Committed at once: a partition in which nothing comes for long would otherwise start
                    // anew, and with `latest` skip what came meanwhile, each time it changes hands.
                    self.partitions.safe(&partition, start);
                    consumer.safe(&partition, Some(start));
                    start
                }
            };
            starts.push((partition, start));
        }
        Ok(starts)
    }

    /// Stops reading while nothing more can be handed out, and lets it go on afterwards.
    fn hold_or_release(&mut self, consumer: &Consumer, now: Instant) {
        match (self.outbox.full(), self.status.held_since) {
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
    fn find_gaps(&mut self, consumer: &Consumer, now: Instant) {
        if self.check_ranges.is_none_or(|due| now < due) {
            return;
        }
        self.check_ranges = None;
        for (partition, next) in self.partitions.live() {
            if let Err(error) = self.mend(consumer, &partition, next, now) {
                tracing::warn!("looking for the oldest record of {partition}, tried again: {error}");
                self.check_ranges = Some(now + Duration::from_secs(1));
            }
        }
    }

    fn mend(
        &mut self,
        consumer: &Consumer,
        partition: &PartitionId,
        next: i64,
        now: Instant,
    ) -> Result<(), Error> {
        let (oldest, end) = consumer.range(partition, PATIENCE)?;
        for again in consumer.renew(partition, &self.partitions.names())? {
            self.partitions.stop(&again, now);
        }
        if (oldest..=end).contains(&next) {
            return Ok(());
        }
        let gaps = self.status.gaps.entry(partition.stream.clone()).or_default();
        gaps.jumps += 1;
        tracing::error!(
            "{partition}: offset {next} is gone, the broker holds {oldest} to {end}: reading from {oldest}"
        );
        if next < oldest {
            gaps.records += oldest.abs_diff(next);
            self.partitions.set(partition, Phase::Seek { to: oldest, again: now });
            return Ok(());
        }
        // Offsets count anew: to the worker it is another partition under the same name.
        self.signal(consumer, Signal::Revoked(partition.clone()), &[]);
        self.outbox.forget(partition);
        self.partitions.set(partition, Phase::Told);
        self.partitions.safe(partition, oldest);
        consumer.safe(partition, Some(oldest));
        self.signal(consumer, Signal::Assigned { partition: partition.clone(), next_offset: oldest }, &[]);
        Ok(())
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
            self.commit(consumer, now);
            self.publish();
        }
    }

    /// Commits what is safe to commit. Nobody waits for the answer; what the client library reports as
    /// committed a few seconds later is compared, and said again if it differs. A commit that is lost even so
    /// costs reading some records again, no more.
    fn commit(&mut self, consumer: &Consumer, now: Instant) {
        let due = self.partitions.commits_due(now);
        if let Err(error) = consumer.commit(&due, false) {
            tracing::warn!("committing, tried again: {error}");
        }
    }

    fn publish(&mut self) {
        let now = wall();
        self.status.at = now;
        // A sink's trouble is not ours; that no dead letter can be written is.
        let held = self.status.held_since.is_some() && !self.outbox.full_of_letters();
        self.status.partitions = self.partitions.readings(now, held);
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
            Action::Append(stamp, said) => {
                let now = wall();
                let alerts: Vec<_> = said.into_iter().map(|said| said.alert).collect();
                for alert in &alerts {
                    self.status.event_to_alert.record(now.0.saturating_sub(alert.time.0));
                    self.status.broker_to_alert.record(now.0.saturating_sub(alert.broker_time.0));
                }
                self.outbox.append(stamp, alerts, now);
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
            Action::Commit(partition, offset) => {
                // Only of what is ours: the group would believe it of others, too.
                if self.partitions.safe(&partition, offset) {
                    consumer.safe(&partition, Some(offset));
                }
            }
            Action::Seek(partition, to) => {
                self.partitions.set(&partition, Phase::Seek { to, again: Instant::now() });
            }
            Action::Forget(partition) => self.outbox.forget(&partition),
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
        self.check_ranges = None;
    }

    /// Reads nothing more, and waits a little for outcomes, so that they can still be committed.
    fn farewell(&mut self, consumer: &Consumer) {
        let live = self.partitions.stop_all();
        if let Err(error) = consumer.pause(&live) {
            tracing::debug!("pausing: {error}");
        }
        let deadline = Instant::now() + FAREWELL;
        while !self.outbox.idle() && Instant::now() < deadline {
            let now = Instant::now();
            self.settle(consumer, now);
            if let Polled::Fatal(reason) = consumer.poll(SHORT_WAIT) {
                tracing::warn!("stopping: {reason}");
                break;
            }
            self.take_notes(consumer, now);
        }
        if !self.outbox.idle() {
            tracing::warn!("stopping with alerts that some sink has not taken: they will be found again");
        }
        self.signal(consumer, Signal::Clock(wall()), &[]);
        self.publish();
    }
}

/// The wall clock.
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
