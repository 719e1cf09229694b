//! How far partitions reach that nobody reads at the moment. What a consumer knows of it comes with the
//! records, and none come while reading is stopped.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, Producer as _};

use super::complaints::kind;
use super::settings::config_error;
use super::silent::Silent;
use super::{Error, Settings, Topics};
use crate::event::PartitionId;

/// A client that asks for ends. Of its own: a question that is not answered in time drops the connection.
pub struct Ends {
    client: BaseProducer<Silent>,
    topics: Arc<Topics>,
}

impl Ends {
    /// Talks to nobody yet: errors are those of settings.
    pub fn open(settings: &Settings, topics: &Arc<Topics>) -> Result<Ends, Error> {
        let client =
            settings.admin_config().create_with_context(Silent).map_err(|error| config_error(&error))?;
        Ok(Ends { client, topics: topics.clone() })
    }

    /// The next offset that the broker will give. Blocks for `timeout` at most.
    pub fn end(&self, partition: &PartitionId, timeout: Duration) -> Result<i64, Error> {
        self.client.poll(Duration::ZERO);
        let topic = self.topics.topic(&partition.stream).unwrap_or_default();
        let range = self.client.client().fetch_watermarks(topic, partition.index, timeout);
        range.map(|(_, end)| end).map_err(|error| Error::new(kind(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;
    use crate::kafka::mock::Mock;

    #[test]
    fn an_end_is_behind_the_last_record() {
        let mock = Mock::start().unwrap();
        mock.create_topic("cars", 2).unwrap();
        for _ in 0..3 {
            mock.send("cars", 1, b"k", b"v", Timestamp(0)).unwrap();
        }
        mock.flush().unwrap();
        let topics = Arc::new(Topics::new([("telemetry".into(), "cars".to_string())]).unwrap());
        let ends = Ends::open(&Settings::new(mock.brokers()), &topics).unwrap();
        let end = |index| {
            ends.end(&PartitionId { stream: "telemetry".into(), index }, Duration::from_secs(10)).unwrap()
        };
        assert_eq!((end(0), end(1)), (0, 3));
    }
}
