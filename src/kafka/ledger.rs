//! The writer of one worker's entries of the journal: never gives up by itself, keeps their order, tells the
//! offset of each.
//!
//! What stands in an entry is not known here. A new writer needs half a second for its first entry: open it
//! before it is needed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig,
};

use super::complaints::kind;
use super::consumer::log;
use super::settings::config_error;
use super::{Complaints, Error, Settings};

/// What became of an entry, by its ticket: the offset at which it lies, or why it does not.
pub type Kept = (u64, Result<i64, String>);

struct Context {
    complaints: Arc<Complaints>,
    kept: Mutex<Vec<Kept>>,
}

impl Context {
    fn push(&self, ticket: u64, result: Result<i64, String>) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, result));
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
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<u64>) {
        self.push(*ticket, result.as_ref().map(|record| record.offset()).map_err(|(error, _)| kind(error)));
    }
}

/// Writes to the journal's topic.
pub struct Ledger {
    inner: BaseProducer<Context>,
    topic: String,
}

impl Ledger {
    /// Under a client name. Talks to nobody yet: errors are those of settings.
    pub fn open(settings: &Settings, complaints: &Arc<Complaints>, name: &str) -> Result<Ledger, Error> {
        let context = Context { complaints: complaints.clone(), kept: Mutex::default() };
        let inner = settings
            .ledger_config(name)
            .create_with_context(context)
            .map_err(|error| config_error(&error))?;
        Ok(Ledger { inner, topic: settings.journal() })
    }

    /// Writes an entry behind all that were given before for this partition of the journal. `Err` gives it
    /// back: the local queue is full, and nothing has happened. What became of it comes from [`poll`] under
    /// its ticket.
    ///
    /// [`poll`]: Ledger::poll
    pub fn append(&self, partition: i32, key: &str, value: Vec<u8>, ticket: u64) -> Result<(), Vec<u8>> {
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(ticket))
            .partition(partition)
            .key(key)
            .payload(&value);
        match self.inner.send(record) {
            Ok(()) => Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Err(value),
            Err((error, _)) => {
                self.inner.context().push(ticket, Err(kind(&error)));
                Ok(())
            }
        }
    }

    /// What became of entries since the last call. Within a partition of the journal offsets rise in the order
    /// in which entries were given, and behind one that failed none is written: see [`broken`]. Those that failed
    /// come in no order.
    ///
    /// [`broken`]: Ledger::broken
    pub fn poll(&self) -> Vec<Kept> {
        self.inner.poll(Duration::ZERO);
        std::mem::take(&mut *self.inner.context().kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why it will never write anything again, if that is so: an entry has failed for good. A new one has to be
    /// opened, and whatever was not acknowledged has to be made anew.
    pub fn broken(&self) -> Option<String> {
        self.inner.client().fatal_error().map(|(_, reason)| reason)
    }

    /// Ends it. Entries that are not acknowledged come back as failed, although some may have been written.
    pub fn abandon(self) -> Vec<Kept> {
        self.inner.purge(PurgeConfig::default().queue().inflight());
        if let Err(error) = self.inner.flush(Duration::from_millis(500)) {
            tracing::warn!(target: "kafka", "writer of the journal: {error}");
        }
        self.poll()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::types::RDKafkaRespErr;

    use super::super::mock::Mock;
    use super::*;

    fn open(mock: &Mock) -> Ledger {
        Ledger::open(&Settings::new(mock.brokers()), &Arc::default(), "test").unwrap()
    }

    fn wait(ledger: &Ledger, count: usize) -> Vec<Kept> {
        let end = Instant::now() + Duration::from_secs(15);
        let mut all = Vec::new();
        while all.len() < count && Instant::now() < end {
            all.extend(ledger.poll());
        }
        all
    }

    #[test]
    fn entries_lie_in_the_order_in_which_they_were_given() {
        let mock = Mock::start().unwrap();
        mock.create_topic("fleetwarden.journal", 2).unwrap();
        let ledger = open(&mock);
        for ticket in 0..40u64 {
            let partition = i32::from(ticket % 2 == 1);
            ledger.append(partition, "telemetry/3", ticket.to_string().into_bytes(), ticket).unwrap();
        }
        let kept = wait(&ledger, 40);
        for odd in [0, 1] {
            let part: Vec<&Kept> = kept.iter().filter(|(ticket, _)| ticket % 2 == odd).collect();
            let expected: Vec<Kept> = (0..20).map(|i| (i * 2 + odd, Ok(i as i64))).collect();
            assert_eq!(part, expected.iter().collect::<Vec<_>>());
        }
        let read = mock.read("fleetwarden.journal", 2, 40);
        assert!(read.iter().all(|(key, _, _)| key.as_deref() == Some("telemetry/3")));
        let even =
            read.iter().filter_map(|(_, value, _)| value.parse().ok()).filter(|n: &u64| n.is_multiple_of(2));
        assert_eq!(even.collect::<Vec<_>>(), (0..20).map(|i| i * 2).collect::<Vec<_>>());
        assert_eq!(ledger.broken(), None);
    }

    #[test]
    fn nothing_is_written_behind_an_entry_that_failed() {
        let mock = Mock::start().unwrap();
        mock.create_topic("fleetwarden.journal", 2).unwrap();
        let ledger = open(&mock);
        ledger.append(0, "a/0", b"0".to_vec(), 0).unwrap();
        assert_eq!(wait(&ledger, 1), [(0, Ok(0))]);
        mock.refuse_writing(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        for ticket in 1..50 {
            ledger.append(0, "a/0", vec![b'x'; 200_000], ticket).unwrap();
        }
        let mut kept = wait(&ledger, 49);
        kept.sort_by_key(|(ticket, _)| *ticket);
        assert_eq!(kept.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), (1..50).collect::<Vec<_>>());
        assert!(kept.iter().all(|(_, result)| result.is_err()), "{kept:?}");
        assert!(ledger.broken().is_some());
        ledger.append(0, "a/0", b"late".to_vec(), 99).unwrap();
        assert!(matches!(ledger.poll().as_slice(), [(99, Err(_))]));
        assert_eq!(mock.read("fleetwarden.journal", 2, 2).len(), 1);
    }

    #[test]
    fn a_passing_trouble_is_waited_out() {
        let mock = Mock::start().unwrap();
        mock.create_topic("fleetwarden.journal", 1).unwrap();
        let ledger = open(&mock);
        mock.refuse_writing(RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
        ledger.append(0, "a/0", b"0".to_vec(), 0).unwrap();
        ledger.append(0, "a/0", b"1".to_vec(), 1).unwrap();
        assert_eq!(wait(&ledger, 2), [(0, Ok(0)), (1, Ok(1))]);
    }

    #[test]
    fn what_is_abandoned_comes_back_as_failed() {
        let mock = Mock::start().unwrap();
        mock.create_topic("fleetwarden.journal", 1).unwrap();
        let ledger = open(&mock);
        mock.up(false);
        ledger.append(0, "a/0", b"0".to_vec(), 7).unwrap();
        assert!(ledger.poll().is_empty());
        assert!(matches!(ledger.abandon().as_slice(), [(7, Err(_))]));
    }
}
