//! A Kafka inside this process: for the demo and for tests.
//!
//! It is the client library's own mock, with its limits: a partition holds 5 MiB and 100,000 records, older
//! ones vanish silently; topics are made by `create_topic` or by producing; it knows neither TLS nor
//! passwords nor topic settings; the first member of a group waits three seconds. Nothing about exactly-once
//! can be learned from it.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

use super::Error;
use crate::event::Timestamp;

/// A running cluster; ends when it is dropped.
pub struct Mock {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

fn failed(error: KafkaError) -> Error {
    Error::new(format!("in-process Kafka: {error}"))
}

impl Mock {
    /// A cluster of one broker.
    pub fn start() -> Result<Mock, Error> {
        let cluster = MockCluster::new(1).map_err(failed)?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("linger.ms", "0")
            .create()
            .map_err(failed)?;
        Ok(Mock { cluster, producer })
    }

    /// Where clients reach it.
    pub fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Makes a topic.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), Error> {
        self.cluster.create_topic(topic, partitions, 1).map_err(failed)
    }

    /// Hands a record to a partition. It is there once [`flush`] has returned.
    ///
    /// [`flush`]: Mock::flush
    pub fn send(
        &self,
        topic: &str,
        partition: i32,
        key: &[u8],
        value: &[u8],
        at: Timestamp,
    ) -> Result<(), Error> {
        loop {
            let record =
                BaseRecord::to(topic).partition(partition).key(key).payload(value).timestamp(at.millis());
            match self.producer.send(record) {
                Ok(()) => {
                    self.producer.poll(Duration::ZERO);
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(failed(error)),
            }
        }
    }

    /// Waits until everything sent is there.
    pub fn flush(&self) -> Result<(), Error> {
        self.producer.flush(Duration::from_secs(10)).map_err(failed)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
    use rdkafka::message::{Headers as _, Message as _};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use rdkafka::{Offset, TopicPartitionList};

    use super::super::{Cluster, Settings, TopicInfo, Topics};
    use super::*;

    /// Key, value and headers of a record.
    pub(crate) type Read = (Option<String>, String, BTreeMap<String, String>);

    impl Mock {
        /// Takes the broker off the network, or puts it back.
        pub(crate) fn up(&self, up: bool) {
            match up {
                true => self.cluster.broker_up(1).unwrap(),
                false => self.cluster.broker_down(1).unwrap(),
            }
        }

        /// Answers the next commit so.
        pub(crate) fn refuse_commits(&self, error: RDKafkaRespErr) {
            self.cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[error]);
        }

        /// Answers the next request to write so.
        pub(crate) fn refuse_writing(&self, error: RDKafkaRespErr) {
            self.cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
        }

        fn consumer(&self, group: &str) -> BaseConsumer {
            ClientConfig::new()
                .set("bootstrap.servers", self.brokers())
                .set("group.id", group)
                .set("enable.auto.commit", "false")
                .create()
                .unwrap()
        }

        /// Commits for a group without members.
        pub(crate) fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
            self.commit_with(group, topic, partition, offset, "");
        }

        /// The same with metadata.
        pub(crate) fn commit_with(&self, group: &str, topic: &str, partition: i32, offset: i64, with: &str) {
            let mut list = TopicPartitionList::new();
            let mut element = list.add_partition(topic, partition);
            element.set_offset(Offset::Offset(offset)).unwrap();
            element.set_metadata(with);
            self.consumer(group).commit(&list, CommitMode::Sync).unwrap();
        }

        /// What a group has committed.
        pub(crate) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
            let mut list = TopicPartitionList::new();
            list.add_partition(topic, partition);
            let list = self.consumer(group).committed_offsets(list, Duration::from_secs(10)).unwrap();
            match list.elements()[0].offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            }
        }

        /// Everything in a topic, once it holds `n` records; whatever is there after ten seconds.
        pub(crate) fn read(&self, topic: &str, partitions: i32, n: usize) -> Vec<Read> {
            let consumer = self.consumer("reader");
            let mut list = TopicPartitionList::new();
            for partition in 0..partitions {
                list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
            }
            consumer.assign(&list).unwrap();
            let mut found = Vec::new();
            for _ in 0..100 {
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                    let headers =
                        headers.map(|h| (h.key.to_string(), text(h.value.unwrap_or_default()))).collect();
                    found.push((
                        message.key().map(text),
                        message.payload().map(text).unwrap_or_default(),
                        headers,
                    ));
                }
                if found.len() >= n {
                    break;
                }
            }
            found
        }
    }

    #[test]
    fn a_cluster_tells_what_it_has_and_makes_the_dead_letter_topic() {
        let mock = Mock::start().unwrap();
        mock.create_topic("cars", 3).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let settings = Settings::new(mock.brokers());
        let cluster = Cluster::open(&settings, runtime.handle()).unwrap();
        let pairs = [("telemetry".into(), "cars".to_string()), ("cloudtrail".into(), "aws".to_string())];
        let topics = Topics::new(pairs).unwrap();
        let shown =
            |all: Vec<TopicInfo>| all.into_iter().map(|t| (t.topic, t.partitions)).collect::<Vec<_>>();
        let all = cluster.inspect(&topics).unwrap();
        assert!(all.iter().all(|t| t.broker_time.is_none()), "the mock does not say who writes timestamps");
        let expected = [("aws".to_string(), 0), ("cars".to_string(), 3)];
        assert_eq!(shown(all), expected);
        cluster.ensure("fleetwarden.dead-letters").unwrap();
        cluster.ensure("fleetwarden.dead-letters").unwrap();
        // Asking must not have made the other.
        assert_eq!(shown(cluster.inspect(&topics).unwrap()), expected);
    }

    #[test]
    fn nobody_there_is_told_with_the_address() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let settings = Settings::new("127.0.0.1:1");
        let cluster = Cluster::open(&settings, runtime.handle()).unwrap();
        let topics = Topics::new([("telemetry".into(), "cars".to_string())]).unwrap();
        let error = cluster.inspect(&topics).unwrap_err();
        assert!(error.message.contains("no answer from Kafka at 127.0.0.1:1"), "{error}");
    }
}
