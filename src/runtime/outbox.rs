//! What a worker's thread has handed out and not yet heard of: parcels on their way to sinks, dead letters on
//! theirs.
//!
//! Knows for every stamp how much is still open, keeps what could not be handed over, and says when there is
//! too much of it. What was handed out for a partition before it changed hands is forgotten: whatever is
//! heard of it later belongs to nobody.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::delivery::{Parcel, Report};
use crate::alert::Alert;
use crate::event::{PartitionId, Reject, Stamp, Timestamp};
use crate::kafka::{Complaints, Error, Letter, Outcome, Producer, Settings};
use crate::metrics::DeadLetters;

/// Hands a parcel to delivery, or gives it back: some queue is full.
pub type Offer = Box<dyn Fn(Parcel, &Sender<Report>) -> Result<(), Parcel> + Send>;

/// Dead letters that may be on their way at once.
const LETTERS: usize = 10_000;

/// Their bytes, likewise.
const LETTER_BYTES: usize = 32 << 20;

/// How long a letter that failed waits.
const PAUSE: Duration = Duration::from_secs(1);

/// Everything under way.
pub struct Outbox {
    settings: Arc<Settings>,
    complaints: Arc<Complaints>,
    name: String,
    offer: Offer,
    producer: Producer,
    lanes: HashMap<PartitionId, Lane>,
    parcels: VecDeque<Parcel>,
    letters: HashMap<u64, Ticket>,
    waiting: VecDeque<(Instant, Letter)>,
    bytes: usize,
    full: bool,
    tickets: u64,
    counts: DeadLetters,
    complained: bool,
}

/// What is open of one partition since it became ours.
struct Lane {
    back: Sender<Report>,
    reports: Receiver<Report>,
    /// By seq: parts without an outcome.
    open: HashMap<u64, usize>,
}

/// Whose letter it is.
struct Ticket {
    stamp: Stamp,
    bytes: usize,
    alert: bool,
}

impl Outbox {
    /// An empty one, with a producer under that client name.
    pub fn open(
        settings: Arc<Settings>,
        complaints: Arc<Complaints>,
        name: &str,
        offer: Offer,
    ) -> Result<Outbox, Error> {
        let producer = Producer::open(&settings, &complaints, name)?;
        Ok(Outbox {
            settings,
            complaints,
            name: name.to_string(),
            offer,
            producer,
            lanes: HashMap::new(),
            parcels: VecDeque::new(),
            letters: HashMap::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            full: false,
            tickets: 0,
            counts: DeadLetters::default(),
            complained: false,
        })
    }

    /// Sends alerts towards every sink.
    pub fn append(&mut self, stamp: Stamp, alerts: Vec<Arc<Alert>>, detected: Timestamp) {
        self.expect(&stamp);
        self.parcels.push_back(Parcel { stamp, alerts, detected });
        self.hand_over();
    }

    /// Sends a record that could not be read towards the dead-letter topic.
    pub fn reject(&mut self, stamp: &Stamp, topic: &str, key: Option<&[u8]>, reject: Reject, now: Instant) {
        let ticket = self.ticket(stamp, reject.payload.len(), false);
        let letter = Letter::reject(ticket, &stamp.source, topic, key, reject);
        self.send(letter, now);
    }

    /// One more part of a stamp is open.
    fn expect(&mut self, stamp: &Stamp) {
        let lane = self.lanes.entry(stamp.source.clone()).or_insert_with(|| {
            let (back, reports) = channel();
            Lane { back, reports, open: HashMap::new() }
        });
        *lane.open.entry(stamp.seq).or_default() += 1;
    }

    fn ticket(&mut self, stamp: &Stamp, bytes: usize, alert: bool) -> u64 {
        self.expect(stamp);
        self.tickets += 1;
        self.letters.insert(self.tickets, Ticket { stamp: stamp.clone(), bytes, alert });
        self.bytes += bytes;
        self.tickets
    }

    /// Everything that a partition has under way is nobody's from now on.
    pub fn forget(&mut self, partition: &PartitionId) {
        self.lanes.remove(partition);
        self.parcels.retain(|parcel| parcel.stamp.source != *partition);
        let letters = &mut self.letters;
        let bytes = &mut self.bytes;
        letters.retain(|_, ticket| {
            let kept = ticket.stamp.source != *partition;
            *bytes -= if kept { 0 } else { ticket.bytes };
            kept
        });
        self.waiting.retain(|(_, letter)| letters.contains_key(&letter.ticket));
    }

    /// Moves everything along; the stamps that have all their outcomes since the last call.
    pub fn work(&mut self, now: Instant) -> Vec<Stamp> {
        let mut done = Vec::new();
        self.hear(now, &mut done);
        for outcome in self.producer.poll() {
            self.judge(outcome, now, &mut done);
        }
        if let Some(reason) = self.producer.broken() {
            self.renew(&reason, now, &mut done);
        }
        self.hand_over();
        while let Some((due, _)) = self.waiting.front()
            && *due <= now
            && let Some((_, letter)) = self.waiting.pop_front()
        {
            if let Err(letter) = self.producer.send(letter) {
                self.waiting.push_front((now + Duration::from_millis(10), letter));
            }
        }
        self.full = match self.full {
            false => self.letters.len() > LETTERS || self.bytes > LETTER_BYTES,
            true => self.letters.len() > LETTERS / 2 || self.bytes > LETTER_BYTES / 2,
        };
        done
    }

    /// Whether nothing more should be read for now.
    pub fn full(&self) -> bool {
        self.full || !self.parcels.is_empty()
    }

    /// Whether it is dead letters, which Kafka does not take, that nothing more should be read for.
    pub fn full_of_letters(&self) -> bool {
        self.full
    }

    /// Whether everything has its outcome.
    pub fn idle(&self) -> bool {
        self.parcels.is_empty()
            && self.letters.is_empty()
            && self.lanes.values().all(|lane| lane.open.is_empty())
    }

    /// Dead letters so far.
    pub fn counts(&self) -> DeadLetters {
        self.counts
    }

    fn hand_over(&mut self) {
        while let Some(parcel) = self.parcels.pop_front() {
            let Some(lane) = self.lanes.get(&parcel.stamp.source) else { continue };
            if let Err(parcel) = (self.offer)(parcel, &lane.back) {
                self.parcels.push_front(parcel);
                return;
            }
        }
    }

    fn hear(&mut self, now: Instant, done: &mut Vec<Stamp>) {
        let reports: Vec<Report> = self.lanes.values().flat_map(|lane| lane.reports.try_iter()).collect();
        for report in reports {
            match report {
                Report::Refused { stamp, sink, alert, reason } => {
                    // The reason may quote the alert: it goes with the letter, not into the log.
                    tracing::warn!("sink \"{sink}\" refused alert {}: it is a dead letter", alert.id_hex());
                    let ticket = self.ticket(&stamp, 0, true);
                    self.send(Letter::refused(ticket, &sink, reason, &alert), now);
                }
                Report::Settled(stamp) => self.close(stamp, done),
            }
        }
    }

    /// One part of a stamp has its outcome.
    fn close(&mut self, stamp: Stamp, done: &mut Vec<Stamp>) {
        let Some(lane) = self.lanes.get_mut(&stamp.source) else { return };
        let Some(open) = lane.open.get_mut(&stamp.seq) else { return };
        *open = open.saturating_sub(1);
        if *open == 0 {
            lane.open.remove(&stamp.seq);
            done.push(stamp);
        }
    }

    fn send(&mut self, letter: Letter, now: Instant) {
        if let Err(letter) = self.producer.send(letter) {
            self.waiting.push_back((now + Duration::from_millis(10), letter));
        }
    }

    fn judge(&mut self, outcome: Outcome, now: Instant, done: &mut Vec<Stamp>) {
        match outcome {
            Outcome::Written(letter) => {
                let Some(ticket) = self.letters.remove(&letter.ticket) else { return };
                self.bytes -= ticket.bytes;
                self.complained = false;
                match ticket.alert {
                    true => self.counts.alerts += 1,
                    false => self.counts.records += 1,
                }
                self.close(ticket.stamp, done);
            }
            Outcome::TooLong(mut letter) => match letter.cut() {
                true => self.retry(letter, now),
                false => self.failed(letter, "the topic takes no record of this length", now),
            },
            Outcome::Failed(letter, reason) => self.failed(letter, &reason, now),
        }
    }

    fn failed(&mut self, letter: Letter, reason: &str, now: Instant) {
        self.counts.retries += 1;
        if !self.complained {
            self.complained = true;
            let topic = &self.settings.dead_letter_topic;
            tracing::error!("a dead letter cannot be written to \"{topic}\", is tried again: {reason}");
        }
        self.retry(letter, now + PAUSE);
    }

    fn retry(&mut self, letter: Letter, due: Instant) {
        if self.letters.contains_key(&letter.ticket) {
            self.waiting.push_back((due, letter));
        }
    }

    fn renew(&mut self, reason: &str, now: Instant, done: &mut Vec<Stamp>) {
        tracing::error!("the producer of dead letters is broken, and replaced: {reason}");
        match Producer::open(&self.settings, &self.complaints, &self.name) {
            Ok(fresh) => {
                for outcome in std::mem::replace(&mut self.producer, fresh).abandon() {
                    self.judge(outcome, now, done);
                }
            }
            Err(error) => tracing::error!("{error}"),
        }
    }
}
