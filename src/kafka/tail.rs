//! Reads one partition of the journal from a place up to one's own newest entry.
//!
//! It joins no group and commits nothing. Entries are lent one by one, so that a long tail costs no memory.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::complaints::kind;
use super::settings::config_error;
use super::silent::Silent;
use super::{Error, Settings};

/// How long one poll may take: a time-out is noticed that late at most.
const POLL: Duration = Duration::from_millis(100);

/// A reader of the journal, to be used again and again.
pub struct Tail {
    consumer: BaseConsumer<Silent>,
    topic: String,
}

impl Tail {
    /// Under a client name. Talks to nobody yet: errors are those of settings.
    pub fn open(settings: &Settings, name: &str) -> Result<Tail, Error> {
        let consumer =
            settings.tail_config(name).create_with_context(Silent).map_err(|error| config_error(&error))?;
        Ok(Tail { consumer, topic: settings.journal() })
    }

    /// Lends every entry of a partition from offset `from` up to and including `until`, which must have been
    /// acknowledged, in order. Gives the offset from which on none was missing: above `from` if the topic no
    /// longer holds what was there. Blocks for `timeout` at most; after an error, some may have been lent.
    pub fn read(
        &self,
        partition: i32,
        from: i64,
        until: i64,
        timeout: Duration,
        mut entry: impl FnMut(i64, &[u8]),
    ) -> Result<i64, Error> {
        let span = Span { partition, until, end: Instant::now() + timeout };
        let result = self.run(&span, from, &mut entry);
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(target: "kafka", "reader of the journal: {error}");
        }
        result.map_err(|why| {
            Error::new(format!("partition {partition} of \"{}\", from {from} to {until}: {why}", self.topic))
        })
    }

    fn run(&self, span: &Span, from: i64, entry: &mut dyn FnMut(i64, &[u8])) -> Result<i64, String> {
        let (mut first, mut next) = (from, from);
        self.assign(span, next)?;
        while next <= span.until {
            if Instant::now() >= span.end {
                return Err(format!("no further than {next} in the time there was"));
            }
            match self.consumer.poll(POLL) {
                // What is left of another read.
                Some(Ok(message)) if message.partition() != span.partition || message.offset() < next => {}
                Some(Ok(message)) => {
                    next = message.offset().saturating_add(1);
                    if message.offset() <= span.until {
                        entry(message.offset(), message.payload().unwrap_or_default());
                    }
                }
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                    next = self.oldest(span, next)?;
                    first = next;
                    self.assign(span, next)?;
                }
                // The end, if what should be the last is not among what there is.
                Some(Err(KafkaError::PartitionEOF(index))) if index == span.partition => {
                    if self.range(span)?.1 > span.until {
                        break;
                    }
                }
                Some(Err(error)) if is_final(&error) => return Err(kind(&error)),
                Some(Err(_)) | None => {}
            }
        }
        Ok(first)
    }

    fn assign(&self, span: &Span, offset: i64) -> Result<(), String> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, span.partition, Offset::Offset(offset))
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|error| error.to_string())
    }

    /// Where reading goes on after `next` was not there.
    fn oldest(&self, span: &Span, next: i64) -> Result<i64, String> {
        let (low, high) = self.range(span)?;
        if span.until >= high {
            return Err(format!("it ends at {high}: another topic of the same name?"));
        }
        Ok(low.max(next))
    }

    fn range(&self, span: &Span) -> Result<(i64, i64), String> {
        let patience = span.end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.consumer.fetch_watermarks(&self.topic, span.partition, patience).map_err(|error| kind(&error))
    }
}

/// What is read, and until when.
struct Span {
    partition: i32,
    until: i64,
    end: Instant,
}

/// Errors after which waiting is of no use.
fn is_final(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::Fatal
        )
    )
}

#[cfg(test)]
mod tests {
    use super::super::mock::Mock;
    use super::*;
    use crate::event::Timestamp;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn filled(records: i64, bytes: usize) -> (Mock, Tail) {
        let mock = Mock::start().unwrap();
        mock.create_topic("fleetwarden.journal", 2).unwrap();
        for i in 0..records {
            let mut value = i.to_string().into_bytes();
            value.resize(bytes.max(value.len()), b' ');
            mock.send("fleetwarden.journal", 1, b"a/0", &value, Timestamp(0)).unwrap();
        }
        mock.flush().unwrap();
        let tail = Tail::open(&Settings::new(mock.brokers()), "test").unwrap();
        (mock, tail)
    }

    fn read(tail: &Tail, from: i64, until: i64, patience: Duration) -> (Result<i64, Error>, Vec<i64>) {
        let mut offsets = Vec::new();
        let first = tail.read(1, from, until, patience, |offset, value| {
            assert_eq!(String::from_utf8_lossy(value).trim(), offset.to_string());
            offsets.push(offset);
        });
        (first, offsets)
    }

    #[test]
    fn what_lies_between_two_places_again_and_again() {
        let (_mock, tail) = filled(50, 0);
        assert_eq!(read(&tail, 10, 20, PATIENCE), (Ok(10), (10..=20).collect()));
        assert_eq!(read(&tail, 0, 49, PATIENCE), (Ok(0), (0..=49).collect()));
        assert_eq!(read(&tail, 49, 49, PATIENCE), (Ok(49), vec![49]));
        assert_eq!(read(&tail, 20, 10, PATIENCE), (Ok(20), vec![]), "nothing lies between them");
    }

    #[test]
    fn what_is_not_there_is_waited_for_and_then_said() {
        let (_mock, tail) = filled(5, 0);
        let (first, offsets) = read(&tail, 0, 7, Duration::from_millis(600));
        let error = first.unwrap_err();
        assert!(error.message.contains("from 0 to 7: no further than 5"), "{error}");
        assert_eq!(offsets, [0, 1, 2, 3, 4]);
        let (first, offsets) = read(&tail, 90, 95, PATIENCE);
        assert!(first.unwrap_err().message.contains("it ends at 5"));
        assert!(offsets.is_empty());
    }

    #[test]
    fn it_begins_at_the_oldest_and_says_so() {
        // A partition of the mock holds 5 MiB.
        let (_mock, tail) = filled(12, 900_000);
        let (first, offsets) = read(&tail, 0, 11, PATIENCE);
        let first = first.unwrap();
        assert!(first > 0);
        assert_eq!(offsets, (first..=11).collect::<Vec<_>>());
    }
}
