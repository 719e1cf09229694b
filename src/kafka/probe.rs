//! Whether a partition has ended: a consumer that joins nothing reads at its next offset, and the broker says
//! that there is nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::settings::config_error;
use super::silent::Silent;
use super::{Error, Settings, Topics};
use crate::event::PartitionId;

/// The consumer that looks.
pub struct Probe {
    inner: BaseConsumer<Silent>,
    topics: Arc<Topics>,
}

impl Probe {
    /// Talks to nobody yet: errors are those of settings.
    pub fn open(settings: &Settings, topics: &Arc<Topics>) -> Result<Probe, Error> {
        let inner =
            settings.probe_config().create_with_context(Silent).map_err(|error| config_error(&error))?;
        Ok(Probe { inner, topics: topics.clone() })
    }

    /// Which of these partitions, no two of the same number, have no record at the offset beside them. Blocks
    /// for `timeout` at most; a broker that does not answer by then has said nothing.
    pub fn ended(
        &self,
        asked: &[(PartitionId, i64)],
        timeout: Duration,
    ) -> Result<BTreeSet<PartitionId>, Error> {
        let failed = |error: KafkaError| Error::new(error.to_string());
        let mut list = TopicPartitionList::with_capacity(asked.len());
        for (partition, offset) in asked {
            if let Some(topic) = self.topics.topic(&partition.stream) {
                list.add_partition_offset(topic, partition.index, Offset::Offset(*offset)).map_err(failed)?;
            }
        }
        self.inner.assign(&list).map_err(failed)?;
        let deadline = Instant::now() + timeout;
        let (mut open, mut ended) = (asked.to_vec(), BTreeSet::new());
        while !open.is_empty() && Instant::now() < deadline {
            match self.inner.poll(deadline.saturating_duration_since(Instant::now())) {
                Some(Err(KafkaError::PartitionEOF(index))) => {
                    if let Some(at) = open.iter().position(|(partition, _)| partition.index == index) {
                        ended.insert(open.swap_remove(at).0);
                    }
                }
                // There is more: no answer.
                Some(Ok(message)) => open.retain(|(partition, _)| partition.index != message.partition()),
                Some(Err(error)) => tracing::debug!(target: "kafka", "looking for ends: {error}"),
                None => {}
            }
        }
        self.inner.unassign().map_err(failed)?;
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::super::mock::Mock;
    use super::*;
    use crate::event::Timestamp;

    #[test]
    fn a_partition_has_ended_where_there_is_no_record() {
        let mock = Mock::start().unwrap();
        mock.create_topic("cars", 3).unwrap();
        for _ in 0..3 {
            mock.send("cars", 1, b"k", b"v", Timestamp(0)).unwrap();
        }
        mock.flush().unwrap();
        let topics = Arc::new(Topics::new([("telemetry".into(), "cars".to_string())]).unwrap());
        let probe = Probe::open(&Settings::new(mock.brokers()), &topics).unwrap();
        let id = |index| PartitionId { stream: "telemetry".into(), index };
        let ended = |asked: &[(PartitionId, i64)]| probe.ended(asked, Duration::from_secs(10)).unwrap();
        assert_eq!(ended(&[(id(0), 0), (id(1), 3)]), [id(0), id(1)].into());
        assert_eq!(ended(&[(id(1), 2), (id(2), 0)]), [id(2)].into());
    }
}
