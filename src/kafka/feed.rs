//! A producer that only fills topics, for simulated streams: nobody waits for a single record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::consumer::log;
use super::settings::config_error;
use super::{Settings, explain};

struct Context {
    failed: Arc<AtomicU64>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Fills topics with records, by key.
pub struct Feed {
    producer: BaseProducer<Context>,
    topics: BTreeMap<&'static str, String>,
    failed: Arc<AtomicU64>,
}

/// How long it waits at its end until everything is written.
const FLUSH: Duration = Duration::from_secs(30);

impl Feed {
    /// A producer for a cluster; `topics` says where each stream goes. The error is one of settings.
    pub fn open(brokers: &str, topics: &BTreeMap<&'static str, String>) -> Result<Feed, String> {
        let failed = Arc::new(AtomicU64::new(0));
        let producer = Settings::new(brokers)
            .feed_config("fleetwarden-simulate")
            .create_with_context(Context { failed: failed.clone() })
            .map_err(|error| config_error(&error).to_string())?;
        Ok(Feed { producer, topics: topics.clone(), failed })
    }

    /// Hands a record of a stream over; waits while the local queue is full. An empty key is none.
    pub fn send(&mut self, stream: &str, key: &[u8], value: &[u8]) -> Result<(), String> {
        let topic = self.topics.get(stream).ok_or_else(|| format!("stream \"{stream}\" has no topic"))?;
        loop {
            let record = BaseRecord::<[u8], [u8]>::to(topic).payload(value);
            let record = if key.is_empty() { record } else { record.key(key) };
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(Duration::from_millis(20));
                }
                Err((KafkaError::MessageProduction(code), _)) => {
                    return Err(format!("cannot write to {topic}: {}", explain(code)));
                }
                Err((error, _)) => return Err(format!("cannot write to {topic}: {error}")),
            }
            self.judge()?;
        }
        self.producer.poll(Duration::ZERO);
        self.judge()
    }

    /// Waits until everything is written.
    pub fn finish(&mut self) -> Result<(), String> {
        let waited = self.producer.flush(FLUSH);
        self.judge()?;
        waited.map_err(|error| format!("not everything was written after 30 s: {error}"))
    }

    fn judge(&self) -> Result<(), String> {
        match self.failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => Err(format!(
                "{failed} records could not be written: do the topics exist, and is the broker there?"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mock::Mock;
    use super::*;

    #[test]
    fn records_are_there_with_their_keys() {
        let mock = Mock::start().unwrap();
        mock.create_topic("cars", 2).unwrap();
        let topics = BTreeMap::from([("telemetry", "cars".to_owned())]);
        let mut feed = Feed::open(&mock.brokers(), &topics).unwrap();
        for n in 0..10 {
            feed.send("telemetry", format!("V{n}").as_bytes(), b"{}").unwrap();
        }
        feed.send("telemetry", b"", b"[]").unwrap();
        assert!(feed.send("ota", b"", b"{}").unwrap_err().contains("no topic"));
        feed.finish().unwrap();
        let read = mock.read("cars", 2, 11);
        assert_eq!(read.iter().filter(|(key, ..)| key.is_some()).count(), 10);
        assert!(read.iter().any(|(key, value, _)| key.is_none() && value == "[]"));
    }
}
