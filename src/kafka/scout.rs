//! What the group has committed, and which offsets brokers hold, asked by a client that is no member: a
//! question that is not answered in time drops its connection, and no worker's.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::commit::elements;
use super::complaints::kind;
use super::settings::config_error;
use super::silent::Silent;
use super::{Error, Settings, Topics, explain, root};
use crate::event::{PartitionId, Root};

/// The client.
pub struct Scout {
    inner: BaseConsumer<Silent>,
    topics: Arc<Topics>,
}

impl Scout {
    /// Talks to nobody yet: errors are those of settings.
    pub fn open(settings: &Settings, topics: &Arc<Topics>) -> Result<Scout, Error> {
        let inner =
            settings.probe_config().create_with_context(Silent).map_err(|error| config_error(&error))?;
        Ok(Scout { inner, topics: topics.clone() })
    }

    /// The committed next offset of a partition, none = nothing yet, and where its state lies. Blocks for
    /// `timeout` at most.
    pub fn root(
        &self,
        partition: &PartitionId,
        timeout: Duration,
    ) -> Result<(Option<i64>, Option<Root>), Error> {
        let mut list = rdkafka::TopicPartitionList::with_capacity(1);
        list.add_partition(self.topic(partition)?, partition.index);
        let list = self.inner.committed_offsets(list, timeout).map_err(|error| Error::new(kind(&error)))?;
        let Some(element) = elements(&list).into_iter().next() else { return Ok((None, None)) };
        element.result.map_err(|code| Error::new(explain(code)))?;
        let found = root::read(&element.metadata);
        if found.is_none() && !element.metadata.is_empty() {
            let metadata = &element.metadata;
            tracing::warn!("{partition}: the group keeps {metadata:?}, which this version did not write");
        }
        Ok(((element.offset >= 0).then_some(element.offset), found))
    }

    /// The oldest offset that the broker holds, and the next it will give. Blocks for `timeout` at most.
    pub fn range(&self, partition: &PartitionId, timeout: Duration) -> Result<(i64, i64), Error> {
        let topic = self.topic(partition)?;
        self.inner.fetch_watermarks(topic, partition.index, timeout).map_err(|error| Error::new(kind(&error)))
    }

    fn topic(&self, partition: &PartitionId) -> Result<&str, Error> {
        let none = || Error::new(format!("no topic for stream \"{}\"", partition.stream));
        self.topics.topic(&partition.stream).ok_or_else(none)
    }
}
