//! What anybody may know about a sink at any time: counts without locks, and its last trouble.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::line::now;
use crate::event::{Micros, Timestamp};
use crate::metrics::Gaps;

/// How a sink is doing. Times are wall time.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkStats {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Alerts that are there.
    pub delivered: u64,
    /// Of them, those that were there before they were sent.
    pub present: u64,
    /// Alerts that it will never take.
    pub refused: u64,
    /// Alerts tried once more, counted each time.
    pub retried: u64,
    /// Alerts without an outcome.
    pub waiting: usize,
    /// How many may wait.
    pub capacity: usize,
    /// When an alert was last delivered.
    pub last_delivered: Option<Timestamp>,
    /// The last trouble, of any kind, and when it was seen. Quotes no alert.
    pub last_error: Option<(Timestamp, String)>,
    /// Set while somebody has to act before it goes on.
    pub blocked: Option<Blockage>,
    /// How it does as a reader of the journal.
    pub reading: SinkReading,
}

/// How a sink does as a reader of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkReading {
    /// Partitions of the journal that this process reads for it.
    pub partitions: usize,
    /// Records of the journal in these partitions behind what has its outcome; none = not known yet.
    pub lag: Option<u64>,
    /// For how long the oldest alert that was read has been without its outcome; 0 = there is none.
    pub oldest: Micros,
    /// Entries of owners that had been replaced: nobody listened.
    pub superseded: u64,
    /// Records that are no entries.
    pub undecodable: u64,
    /// What was gone before it could be read.
    pub gaps: Gaps,
    /// Refused alerts that are in the dead-letter topic.
    pub letters: u64,
    /// Attempts to write them that were made again.
    pub letter_retries: u64,
}

/// Why a sink does not go on by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blockage {
    /// Since when, in wall time.
    pub since: Timestamp,
    /// What happened, when it was tried last.
    pub why: String,
    /// What to do about it.
    pub mend: String,
}

/// The counters of one sink.
#[derive(Debug)]
pub(super) struct Gauge {
    pub name: Arc<str>,
    capacity: usize,
    waiting: AtomicUsize,
    delivered: AtomicU64,
    present: AtomicU64,
    refused: AtomicU64,
    retried: AtomicU64,
    /// Microseconds; 0 = never.
    last_delivered: AtomicI64,
    /// When the oldest alert without an outcome was written, in microseconds; 0 = there is none.
    oldest: AtomicI64,
    reading: Mutex<SinkReading>,
    trouble: Mutex<Trouble>,
}

#[derive(Clone, Debug, Default)]
struct Trouble {
    last_error: Option<(Timestamp, String)>,
    blocked: Option<Blockage>,
}

impl Gauge {
    pub fn new(name: Arc<str>, capacity: usize) -> Gauge {
        Gauge {
            name,
            capacity,
            waiting: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            present: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            last_delivered: AtomicI64::new(0),
            oldest: AtomicI64::new(0),
            reading: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// Gives room back.
    pub fn release(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::AcqRel);
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn delivered(&self, now: Timestamp) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.last_delivered.store(now.0, Ordering::Relaxed);
    }

    pub fn present(&self) {
        self.present.fetch_add(1, Ordering::Relaxed);
    }

    /// More alerts wait.
    pub fn add(&self, count: usize) {
        self.waiting.fetch_add(count, Ordering::AcqRel);
    }

    /// When the oldest alert without an outcome was written.
    pub fn oldest(&self, written: Option<Timestamp>) {
        self.oldest.store(written.map_or(0, |written| written.0), Ordering::Relaxed);
    }

    /// What is known of it as a reader.
    pub fn reading(&self) -> std::sync::MutexGuard<'_, SinkReading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub fn retried(&self, count: u64) {
        self.retried.fetch_add(count, Ordering::Relaxed);
    }

    pub fn error(&self, now: Timestamp, why: &str) {
        self.trouble().last_error = Some((now, why.to_string()));
    }

    /// Notes why it is blocked. True if it was not before.
    pub fn block(&self, now: Timestamp, why: &str, mend: &str) -> bool {
        let mut trouble = self.trouble();
        let since = trouble.blocked.as_ref().map(|blockage| blockage.since);
        let (why, mend) = (why.to_string(), mend.to_string());
        trouble.blocked = Some(Blockage { since: since.unwrap_or(now), why, mend });
        since.is_none()
    }

    pub fn is_blocked(&self) -> bool {
        self.trouble().blocked.is_some()
    }

    /// Notes that it is blocked no more. Returns since when it was.
    pub fn unblock(&self) -> Option<Timestamp> {
        self.trouble().blocked.take().map(|blockage| blockage.since)
    }

    pub fn stats(&self) -> SinkStats {
        let Trouble { last_error, blocked } = self.trouble().clone();
        let last = self.last_delivered.load(Ordering::Relaxed);
        let oldest = self.oldest.load(Ordering::Relaxed);
        let oldest = if oldest == 0 { 0 } else { now().0.saturating_sub(oldest).max(0) };
        SinkStats {
            name: self.name.clone(),
            delivered: self.delivered.load(Ordering::Relaxed),
            present: self.present.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            waiting: self.waiting(),
            capacity: self.capacity,
            last_delivered: (last != 0).then_some(Timestamp(last)),
            last_error,
            blocked,
            reading: SinkReading { oldest, ..self.reading().clone() },
        }
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
