//! The producer of one worker: writes dead letters and tells what became of each.
//!
//! It never gives up on a letter by itself; when to try again is its caller's to decide.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig,
};

use super::consumer::log;
use super::settings::config_error;
use super::{Complaints, Error, Letter, Settings, explain};

/// What became of a letter.
#[derive(Debug)]
pub enum Outcome {
    /// All replicas that must have it have it.
    Written(Letter),
    /// Not now: to be sent again later. With the reason.
    Failed(Letter, String),
    /// Longer than the topic takes: to be cut, and sent again.
    TooLong(Letter),
}

struct Context {
    complaints: Arc<Complaints>,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Context {
    fn push(&self, outcome: Outcome) {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.about(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Letter>;

    fn delivery(&self, result: &DeliveryResult<'_>, letter: Box<Letter>) {
        self.push(match result {
            Ok(_) => Outcome::Written(*letter),
            Err((error, _)) => judge(error, *letter),
        });
    }
}

fn judge(error: &KafkaError, letter: Letter) -> Outcome {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            Outcome::TooLong(letter)
        }
        Some(code) => Outcome::Failed(letter, explain(code)),
        None => Outcome::Failed(letter, error.to_string()),
    }
}

/// Writes to the dead-letter topic.
pub struct Producer {
    inner: BaseProducer<Context>,
    topic: String,
}

impl Producer {
    /// Under a client name. Talks to nobody yet: errors are those of settings.
    pub fn open(settings: &Settings, complaints: &Arc<Complaints>, name: &str) -> Result<Producer, Error> {
        let context = Context { complaints: complaints.clone(), outcomes: Mutex::default() };
        let inner = settings
            .producer_config(name)
            .create_with_context(context)
            .map_err(|error| config_error(&error))?;
        Ok(Producer { inner, topic: settings.dead_letter_topic.clone() })
    }

    /// Hands a letter over. `Err` gives it back: the local queue is full. Any other outcome comes from
    /// [`poll`].
    ///
    /// [`poll`]: Producer::poll
    pub fn send(&self, letter: Letter) -> Result<(), Letter> {
        let headers = letter.headers.iter().fold(OwnedHeaders::new(), |headers, (key, text)| {
            headers.insert(Header { key, value: Some(text.as_str()) })
        });
        let (key, value) = (letter.key.clone(), letter.value.clone());
        let record =
            BaseRecord::with_opaque_to(&self.topic, Box::new(letter)).payload(&value).headers(headers);
        let record = match &key {
            Some(key) => record.key(key),
            None => record,
        };
        match self.inner.send(record) {
            Ok(()) => Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                Err(*record.delivery_opaque)
            }
            Err((error, record)) => {
                self.inner.context().push(judge(&error, *record.delivery_opaque));
                Ok(())
            }
        }
    }

    /// What became of letters since the last call.
    pub fn poll(&self) -> Vec<Outcome> {
        self.inner.poll(Duration::ZERO);
        let mut outcomes = self.inner.context().outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *outcomes)
    }

    /// Why this producer will never write anything again, if that is so.
    pub fn broken(&self) -> Option<String> {
        self.inner.client().fatal_error().map(|(_, reason)| reason)
    }

    /// Ends it. What has not been written comes back as failed.
    pub fn abandon(self) -> Vec<Outcome> {
        self.inner.purge(PurgeConfig::default().queue().inflight());
        if let Err(error) = self.inner.flush(Duration::from_millis(500)) {
            tracing::warn!(target: "kafka", "producer: {error}");
        }
        self.poll()
    }
}
