//! What a worker's thread has handed out and not yet heard of: entries on their way to the journal, dead
//! letters on theirs.
//!
//! Knows for every stamp how much is still open, keeps what could not be handed over, and says when there is
//! too much of it. What was handed out for a partition before it changed hands is forgotten: whatever is
//! heard of it later belongs to nobody. Entries of a partition are written in their order, or not at all.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::{PartitionId, Reject, Stamp, Timestamp};
use crate::journal::{self, Entry, Written};
use crate::kafka::{Complaints, Error, Ledger, Letter, Outcome, Producer, Settings};
use crate::metrics::DeadLetters;

/// Journal entries that may be on their way at once.
const ENTRIES: usize = 10_000;

/// Their bytes.
const ENTRY_BYTES: usize = 32 << 20;

/// Bytes above which alerts are not written together.
const TOGETHER: usize = 768 << 10;

/// Dead letters that may be on their way at once.
const LETTERS: usize = 10_000;

/// Their bytes, likewise.
const LETTER_BYTES: usize = 32 << 20;

/// How long a letter that failed waits.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of something that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Everything under the stamp has been written; where its last entry stands in the journal, if it has any.
    Written(Stamp, Option<i64>),
    /// It will never be written.
    Failed(Stamp),
}

/// Everything under way.
pub struct Outbox {
    settings: Arc<Settings>,
    complaints: Arc<Complaints>,
    name: String,
    /// How many partitions the journal has.
    journal: i32,
    ledger: Ledger,
    producer: Producer,
    lanes: HashMap<PartitionId, HashMap<Stamp, Open>>,
    entries: HashMap<u64, (Stamp, usize)>,
    unsent: VecDeque<(u64, i32, String, Vec<u8>)>,
    letters: HashMap<u64, Ticket>,
    waiting: VecDeque<(Instant, Letter)>,
    entry_bytes: usize,
    bytes: usize,
    full: bool,
    tickets: u64,
    counts: DeadLetters,
    complained: bool,
}

/// What is open of one stamp.
#[derive(Default)]
struct Open {
    parts: usize,
    at: Option<i64>,
}

/// Whose letter it is.
struct Ticket {
    stamp: Stamp,
    bytes: usize,
    alert: bool,
}

impl Outbox {
    /// An empty one, with producers under that client name, for a journal of so many partitions.
    pub fn open(
        settings: Arc<Settings>,
        complaints: Arc<Complaints>,
        name: &str,
        journal: i32,
    ) -> Result<Outbox, Error> {
        let ledger = Ledger::open(&settings, &complaints, name)?;
        let producer = Producer::open(&settings, &complaints, name)?;
        Ok(Outbox {
            settings,
            complaints,
            name: name.to_string(),
            journal,
            ledger,
            producer,
            lanes: HashMap::new(),
            entries: HashMap::new(),
            unsent: VecDeque::new(),
            letters: HashMap::new(),
            waiting: VecDeque::new(),
            entry_bytes: 0,
            bytes: 0,
            full: false,
            tickets: 0,
            counts: DeadLetters::default(),
            complained: false,
        })
    }

    /// Sends an entry towards the journal.
    pub fn append(&mut self, stamp: &Stamp, entry: Entry, now: Timestamp) {
        let engine = env!("CARGO_PKG_VERSION").to_string();
        let written = Written { stamp: stamp.clone(), written: now, engine, entry };
        let bytes = journal::encode(&written);
        match written.entry {
            // What one record of the journal cannot hold becomes several.
            Entry::Alerts { through, more, mut alerts } if bytes.len() > TOGETHER && alerts.len() > 1 => {
                let later = alerts.split_off(alerts.len() / 2);
                self.append(stamp, Entry::Alerts { through, more: true, alerts }, now);
                self.append(stamp, Entry::Alerts { through, more, alerts: later }, now);
            }
            _ => self.enqueue(stamp, bytes),
        }
    }

    fn enqueue(&mut self, stamp: &Stamp, bytes: Vec<u8>) {
        self.expect(stamp);
        self.tickets += 1;
        self.entry_bytes += bytes.len();
        self.entries.insert(self.tickets, (stamp.clone(), bytes.len()));
        let (to, key) =
            (journal::partition_of(&stamp.source, self.journal), journal::source_key(&stamp.source));
        self.unsent.push_back((self.tickets, to, key, bytes));
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
        self.lanes.entry(stamp.source.clone()).or_default().entry(stamp.clone()).or_default().parts += 1;
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
        let (entries, entry_bytes) = (&mut self.entries, &mut self.entry_bytes);
        entries.retain(|_, (stamp, bytes)| {
            let kept = stamp.source != *partition;
            *entry_bytes -= if kept { 0 } else { *bytes };
            kept
        });
        self.unsent.retain(|(ticket, ..)| entries.contains_key(ticket));
        let letters = &mut self.letters;
        let bytes = &mut self.bytes;
        letters.retain(|_, ticket| {
            let kept = ticket.stamp.source != *partition;
            *bytes -= if kept { 0 } else { ticket.bytes };
            kept
        });
        self.waiting.retain(|(_, letter)| letters.contains_key(&letter.ticket));
    }

    /// Moves everything along; what became of stamps since the last call.
    pub fn work(&mut self, now: Instant) -> Vec<Done> {
        let mut done = Vec::new();
        self.hear(&mut done);
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
        let over = |part: usize| {
            self.letters.len() > LETTERS / part
                || self.bytes > LETTER_BYTES / part
                || self.entries.len() > ENTRIES / part
                || self.entry_bytes > ENTRY_BYTES / part
        };
        self.full = if self.full { over(2) } else { over(1) };
        done
    }

    /// Whether nothing more should be read for now.
    pub fn full(&self) -> bool {
        self.full
    }

    /// Whether everything has its outcome.
    pub fn idle(&self) -> bool {
        self.entries.is_empty() && self.letters.is_empty()
    }

    /// Dead letters so far.
    pub fn counts(&self) -> DeadLetters {
        self.counts
    }

    fn hand_over(&mut self) {
        while let Some((ticket, to, key, bytes)) = self.unsent.pop_front() {
            if let Err(bytes) = self.ledger.append(to, &key, bytes, ticket) {
                self.unsent.push_front((ticket, to, key, bytes));
                return;
            }
        }
    }

    /// What became of journal entries. One that fails for good takes all behind it along, so that the journal
    /// holds the beginning of what a partition said, and nothing else.
    fn hear(&mut self, done: &mut Vec<Done>) {
        for (ticket, result) in self.ledger.poll() {
            let Some((stamp, bytes)) = self.entries.remove(&ticket) else { continue };
            self.entry_bytes -= bytes;
            match result {
                Ok(at) => self.close(stamp, Some(at), done),
                Err(reason) => {
                    tracing::error!(
                        "an entry of the journal is lost, {} starts again: {reason}",
                        stamp.source
                    );
                    self.forget(&stamp.source);
                    done.push(Done::Failed(stamp));
                }
            }
        }
        if let Some(reason) = self.ledger.broken() {
            tracing::error!("the producer of the journal is broken, and replaced: {reason}");
            match Ledger::open(&self.settings, &self.complaints, &self.name) {
                Ok(fresh) => drop(std::mem::replace(&mut self.ledger, fresh)),
                Err(error) => return tracing::error!("{error}"),
            }
            let lost: Vec<Stamp> = self.entries.values().map(|(stamp, _)| stamp.clone()).collect();
            for stamp in lost {
                self.forget(&stamp.source);
                done.push(Done::Failed(stamp));
            }
        }
    }

    /// One part of a stamp has its outcome.
    fn close(&mut self, stamp: Stamp, at: Option<i64>, done: &mut Vec<Done>) {
        let Some(lane) = self.lanes.get_mut(&stamp.source) else { return };
        let Some(open) = lane.get_mut(&stamp) else { return };
        open.parts = open.parts.saturating_sub(1);
        open.at = open.at.max(at);
        if open.parts == 0 {
            let at = open.at;
            lane.remove(&stamp);
            done.push(Done::Written(stamp, at));
        }
    }

    fn send(&mut self, letter: Letter, now: Instant) {
        if let Err(letter) = self.producer.send(letter) {
            self.waiting.push_back((now + Duration::from_millis(10), letter));
        }
    }

    fn judge(&mut self, outcome: Outcome, now: Instant, done: &mut Vec<Done>) {
        match outcome {
            Outcome::Written(letter) => {
                let Some(ticket) = self.letters.remove(&letter.ticket) else { return };
                self.bytes -= ticket.bytes;
                self.complained = false;
                match ticket.alert {
                    true => self.counts.alerts += 1,
                    false => self.counts.records += 1,
                }
                self.close(ticket.stamp, None, done);
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

    fn renew(&mut self, reason: &str, now: Instant, done: &mut Vec<Done>) {
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
