//! A reader of one topic of ours, as a member of a group of its own: positions with metadata, gaps seen, and
//! notes of what the group decided.
//!
//! As with a worker's consumer, the rebalance callback assigns, pauses, commits what is safe and takes a
//! note; what else a change of hands needs happens afterwards, by the notes. It decides nothing: where to
//! start, what to skip, what is safe.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;

use super::commit::{Element, elements};
use super::complaints::{Complaints, kind};
use super::consumer::{Message, Polled, log};
use super::excerpt::no_answer;
use super::settings::config_error;
use super::{Error, Settings, explain};

/// Where a group stands in a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The next offset to read.
    pub offset: i64,
    /// What was kept with it.
    pub metadata: String,
}

/// Where a group stands in a partition, and what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The number of the partition.
    pub partition: i32,
    /// The next offset to read; none if nothing has been committed.
    pub committed: Option<i64>,
    /// The oldest offset that the broker holds.
    pub oldest: i64,
    /// The next offset that it will give.
    pub end: i64,
}

impl Standing {
    /// Records that wait; none if nothing has been committed.
    pub fn lag(&self) -> Option<u64> {
        self.committed.map(|next| u64::try_from(self.end.saturating_sub(next.max(self.oldest))).unwrap_or(0))
    }
}

/// What the group decided, in the order it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Ours from now on, and paused.
    Gained(Vec<i32>),
    /// No longer ours: not even to commit.
    Lost(Vec<i32>),
}

/// What the callbacks and the loop share. All of them run on the same thread; the lock is never waited for.
#[derive(Default)]
struct Shared {
    changes: Vec<Change>,
    /// What would be committed.
    safe: BTreeMap<i32, Position>,
    ends: BTreeMap<i32, i64>,
}

struct Context {
    topic: String,
    complaints: Arc<Complaints>,
    shared: Mutex<Shared>,
}

impl Context {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self, doing: &str, result: Result<(), KafkaError>) {
        if let Err(error) = result {
            tracing::error!(target: "kafka", "{doing}: {error}");
        }
    }

    fn list(&self, positions: &BTreeMap<i32, Position>) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            let mut element = list.add_partition(&self.topic, *partition);
            if let Err(error) = element.set_offset(Offset::Offset(position.offset)) {
                tracing::error!(target: "kafka", "offset {}: {error}", position.offset);
            }
            element.set_metadata(&position.metadata);
        }
        list
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice::<Statistics>(statistics) {
            Ok(mut statistics) => {
                if let Some(topic) = statistics.topics.remove(&self.topic) {
                    // -1 stands for records that no partition was found for; an end below zero is not known.
                    let known = topic.partitions.into_iter().map(|(index, p)| (index, p.hi_offset));
                    let known = known.filter(|(index, end)| *index >= 0 && *end >= 0);
                    self.shared().ends.extend(known);
                }
            }
            Err(error) => self.complaints.say("statistics", &error.to_string()),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.about(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let assigned = begin(list).and_then(|()| match cooperative {
                true => consumer.incremental_assign(list),
                false => consumer.assign(list),
            });
            let paused = if list.count() > 0 { consumer.pause(list) } else { Ok(()) };
            self.said("taking over partitions of the journal", assigned.and(paused));
            self.shared().changes.push(Change::Gained(partitions));
        } else {
            self.commit_lost(consumer, &partitions);
            let freed = match cooperative {
                true => consumer.incremental_unassign(list),
                false => consumer.unassign(),
            };
            self.said("handing on partitions of the journal", freed);
            self.shared().changes.push(Change::Lost(partitions));
        }
    }
}

impl Context {
    /// The last moment at which these partitions are ours to commit. The client library sends the commit
    /// before it tells the group that they are free.
    fn commit_lost(&self, consumer: &BaseConsumer<Self>, lost: &[i32]) {
        let safe: BTreeMap<i32, Position> = {
            let mut shared = self.shared();
            lost.iter().filter_map(|partition| shared.safe.remove_entry(partition)).collect()
        };
        if !safe.is_empty()
            && let Err(error) = consumer.commit(&self.list(&safe), CommitMode::Async)
        {
            tracing::warn!(target: "kafka", "the last commit before partitions were handed on: {error}");
        }
    }
}

/// Where a partition stands until it is told where to read: an offset that needs no commit to exist.
fn begin(list: &mut TopicPartitionList) -> Result<(), KafkaError> {
    match list.count() {
        0 => Ok(()),
        _ => list.set_all_offsets(Offset::Beginning),
    }
}

/// The part of the library's statistics that is read.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: HashMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: HashMap<i32, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    hi_offset: i64,
}

/// A member of a reader's group.
pub struct Reader {
    inner: BaseConsumer<Context>,
}

impl Reader {
    /// Joins `group` under a client name. Talks to nobody yet: errors are those of settings.
    pub fn open(
        settings: &Settings,
        complaints: &Arc<Complaints>,
        topic: &str,
        group: &str,
        name: &str,
    ) -> Result<Reader, Error> {
        let reader = Reader::outside(settings, complaints, topic, group, name)?;
        reader.inner.subscribe(&[topic]).map_err(|error| Error::new(error.to_string()))?;
        Ok(reader)
    }

    /// Where a group stands in every partition of a topic, for somebody who is no member. Each question may
    /// take `timeout`.
    pub fn standing(
        settings: &Settings,
        topic: &str,
        group: &str,
        timeout: Duration,
    ) -> Result<Vec<Standing>, Error> {
        let reader = Reader::outside(settings, &Arc::default(), topic, group, "fleetwarden-look")?;
        let partitions = reader.partitions(settings, timeout)?;
        let mut standing = Vec::with_capacity(partitions.len());
        for (partition, position) in reader.committed(&partitions, timeout)? {
            let (oldest, end) = reader.range(partition, timeout)?;
            let committed = position.map(|position| position.offset);
            standing.push(Standing { partition, committed, oldest, end });
        }
        Ok(standing)
    }

    fn outside(
        settings: &Settings,
        complaints: &Arc<Complaints>,
        topic: &str,
        group: &str,
        name: &str,
    ) -> Result<Reader, Error> {
        let (topic, complaints) = (topic.to_string(), complaints.clone());
        let context = Context { topic, complaints, shared: Mutex::default() };
        let config = settings.reader_config(group, name);
        let inner = config.create_with_context(context).map_err(|error| config_error(&error))?;
        Ok(Reader { inner })
    }

    /// The next record, or what else happened, within `timeout`.
    pub fn poll(&self, timeout: Duration) -> Polled<'_> {
        match self.inner.poll(timeout) {
            Some(Ok(message)) => Polled::Message(Message(message)),
            None | Some(Err(KafkaError::PartitionEOF(_))) => Polled::Nothing,
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                Polled::OutOfRange
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => Polled::Fatal(explain(code)),
            Some(Err(error)) => {
                self.inner.context().complaints.about(&error, "while reading the journal");
                Polled::Nothing
            }
        }
    }

    /// What the group decided since the last call.
    pub fn changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.inner.context().shared().changes)
    }

    /// The end of each partition, as the last fetch saw it.
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        self.inner.context().shared().ends.clone()
    }

    /// Sets what is committed by [`commit`], and should the partition be taken away. Only for partitions
    /// whose loss has not been noted.
    ///
    /// [`commit`]: Reader::commit
    pub fn safe(&self, partition: i32, position: Position) {
        self.inner.context().shared().safe.insert(partition, position);
    }

    /// Commits what is safe. Nobody waits for the answer: a commit that is lost costs reading some records
    /// again, unless a later one gets through.
    pub fn commit(&self) -> Result<(), Error> {
        let context = self.inner.context();
        let list = context.list(&context.shared().safe);
        match list.count() {
            0 => Ok(()),
            _ => self.inner.commit(&list, CommitMode::Async).map_err(|error| Error::new(kind(&error))),
        }
    }

    /// What the group has committed, by partition: none = nothing yet. Blocks for `timeout` at most.
    pub fn committed(
        &self,
        partitions: &[i32],
        timeout: Duration,
    ) -> Result<BTreeMap<i32, Option<Position>>, Error> {
        let list = self.inner.committed_offsets(self.list(partitions), timeout);
        let list = list.map_err(|error| Error::new(kind(&error)))?;
        let mut found = BTreeMap::new();
        // Not by the wrapper, which panics on metadata that is not UTF-8.
        for Element { index, offset, metadata, result, .. } in elements(&list) {
            result.map_err(|code| Error::new(explain(code)))?;
            found.insert(index, (offset >= 0).then_some(Position { offset, metadata }));
        }
        Ok(found)
    }

    /// The oldest offset that the broker holds, and the next it will give. Blocks for `timeout` at most.
    pub fn range(&self, partition: i32, timeout: Duration) -> Result<(i64, i64), Error> {
        let topic = &self.inner.context().topic;
        self.inner.fetch_watermarks(topic, partition, timeout).map_err(|error| Error::new(kind(&error)))
    }

    fn partitions(&self, settings: &Settings, timeout: Duration) -> Result<Vec<i32>, Error> {
        let topic = &self.inner.context().topic;
        // All topics: asking for one by name would make some brokers create it.
        let all = self.inner.fetch_metadata(None, timeout);
        let all = all.map_err(|error| no_answer(&settings.brokers, &error))?;
        let found = all.topics().iter().find(|found| found.name() == topic);
        let mut partitions: Vec<i32> =
            found.map_or(&[][..], |found| found.partitions()).iter().map(|p| p.id()).collect();
        partitions.sort_unstable();
        match partitions.is_empty() {
            true => {
                Err(Error::new(format!("there is no topic \"{topic}\"")).hint("`fleetwarden run` creates it"))
            }
            false => Ok(partitions),
        }
    }

    /// Seeks, then lets records come. An error is usual directly after an assignment: again a little later.
    pub fn start(&self, partition: i32, offset: i64) -> Result<(), Error> {
        // Without waiting, a failed seek would not be noticed.
        let patience = Duration::from_secs(5);
        self.inner
            .seek(&self.inner.context().topic, partition, Offset::Offset(offset), patience)
            .and_then(|()| self.inner.resume(&self.list(&[partition])))
            .map_err(|error| Error::new(error.to_string()))
    }

    /// No more records of these partitions, until they are started again.
    pub fn pause(&self, partitions: &[i32]) -> Result<(), Error> {
        match partitions {
            [] => Ok(()),
            _ => self.inner.pause(&self.list(partitions)).map_err(|error| Error::new(error.to_string())),
        }
    }

    /// Takes a partition up anew, paused: one that was out of range cannot be sought in. Gives all partitions
    /// that have to be started again: with an eager protocol, every one of `owned`.
    pub fn renew(&self, partition: i32, owned: &[i32]) -> Result<Vec<i32>, Error> {
        let failed = |error: KafkaError| Error::new(error.to_string());
        let cooperative = matches!(self.inner.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let again = if cooperative { vec![partition] } else { owned.to_vec() };
        let mut list = self.list(&again);
        if cooperative {
            self.inner.incremental_unassign(&list).map_err(failed)?;
        }
        begin(&mut list).map_err(failed)?;
        match cooperative {
            true => self.inner.incremental_assign(&list).map_err(failed)?,
            false => self.inner.assign(&list).map_err(failed)?,
        }
        self.inner.pause(&list).map_err(failed)?;
        Ok(again)
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.inner.context().topic, *partition);
        }
        list
    }
}
