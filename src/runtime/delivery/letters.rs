//! Alerts that a sink will never take, on their way to the dead-letter topic: tried until they are there.
//!
//! The producer is made when it is first needed: mostly never.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::gauge::Gauge;
use super::line::Place;
use crate::alert::Alert;
use crate::kafka::{Complaints, Letter, Outcome, Producer, Settings};

/// How long a letter that failed waits.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one waits that the client library has no room for.
const MOMENT: Duration = Duration::from_millis(10);

/// The letters of one sink.
pub(super) struct Letters {
    settings: Arc<Settings>,
    complaints: Arc<Complaints>,
    gauge: Arc<Gauge>,
    producer: Option<Producer>,
    /// By ticket: where the alert stands.
    open: HashMap<u64, Place>,
    waiting: VecDeque<(Instant, Letter)>,
    tickets: u64,
    complained: bool,
}

impl Letters {
    pub fn new(settings: Arc<Settings>, complaints: Arc<Complaints>, gauge: Arc<Gauge>) -> Letters {
        Letters {
            settings,
            complaints,
            gauge,
            producer: None,
            open: HashMap::new(),
            waiting: VecDeque::new(),
            tickets: 0,
            complained: false,
        }
    }

    /// Takes an alert on.
    pub fn write(&mut self, place: Place, alert: &Arc<Alert>, reason: String, now: Instant) {
        self.tickets += 1;
        self.open.insert(self.tickets, place);
        self.waiting.push_back((now, Letter::refused(self.tickets, &self.gauge.name, reason, alert)));
    }

    /// How many are on their way.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Moves everything along; where the alerts stand that are in the topic since the last call.
    pub fn work(&mut self, now: Instant) -> Vec<Place> {
        let mut written = Vec::new();
        if self.open.is_empty() {
            return written;
        }
        let Some(producer) = self.producer(now) else { return written };
        let mut outcomes = producer.poll();
        if let Some(reason) = producer.broken() {
            tracing::error!("the producer of dead letters is broken, and replaced: {reason}");
            outcomes.extend(self.producer.take().into_iter().flat_map(Producer::abandon));
        }
        for outcome in outcomes {
            self.judge(outcome, now, &mut written);
        }
        self.send(now);
        written
    }

    fn producer(&mut self, now: Instant) -> Option<&Producer> {
        if self.producer.is_none() {
            let due = self.waiting.front().is_some_and(|(due, _)| *due <= now);
            let name = format!("fleetwarden-sink-{}", self.gauge.name);
            match due.then(|| Producer::open(&self.settings, &self.complaints, &name))? {
                Ok(producer) => self.producer = Some(producer),
                Err(error) => {
                    tracing::error!("{error}");
                    self.waiting.iter_mut().for_each(|(due, _)| *due = now + PAUSE);
                }
            }
        }
        self.producer.as_ref()
    }

    fn send(&mut self, now: Instant) {
        let Some(producer) = &self.producer else { return };
        while let Some((due, _)) = self.waiting.front()
            && *due <= now
            && let Some((_, letter)) = self.waiting.pop_front()
        {
            if let Err(letter) = producer.send(letter) {
                self.waiting.push_front((now + MOMENT, letter));
                return;
            }
        }
    }

    fn judge(&mut self, outcome: Outcome, now: Instant, written: &mut Vec<Place>) {
        match outcome {
            Outcome::Written(letter) => {
                self.complained = false;
                self.gauge.reading().letters += 1;
                written.extend(self.open.remove(&letter.ticket));
            }
            Outcome::TooLong(mut letter) => match letter.cut() {
                true => self.waiting.push_back((now, letter)),
                false => self.failed(letter, "the topic takes no record of this length", now),
            },
            Outcome::Failed(letter, reason) => self.failed(letter, &reason, now),
        }
    }

    fn failed(&mut self, letter: Letter, reason: &str, now: Instant) {
        self.gauge.reading().letter_retries += 1;
        if !std::mem::replace(&mut self.complained, true) {
            let topic = &self.settings.dead_letter_topic;
            tracing::error!("a dead letter cannot be written to \"{topic}\", is tried again: {reason}");
        }
        self.waiting.push_back((now + PAUSE, letter));
    }
}
