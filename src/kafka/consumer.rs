//! The consumer of one worker: records lent for as long as they are looked at, and notes of what the group
//! decided.
//!
//! The rebalance callback assigns, pauses and takes a note; it runs inside `poll`, on the worker's thread.
//! Everything else that a change of hands needs happens afterwards, in the worker's loop, by its own notes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;

use super::commit::CommitQueue;
use super::complaints::{Complaints, kind};
use super::settings::config_error;
use super::{Error, Settings, Topics, explain, root};
use crate::event::{PartitionId, Root, Timestamp};

/// What the group decided, in the order it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Ours from now on, and paused.
    Assigned(Vec<PartitionId>),
    /// No longer ours: not even to commit.
    Revoked(Vec<PartitionId>),
}

/// What the group answered to [`Consumer::commit_root`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub partition: PartitionId,
    /// The next offset that was to be committed.
    pub next_offset: i64,
    /// Whether it was; if not, most often because this member has been put out.
    pub result: Result<(), Error>,
}

/// What a poll gave.
#[derive(Debug)]
pub enum Polled<'a> {
    /// A record.
    Message(Message<'a>),
    /// Nothing, or an event that has been dealt with.
    Nothing,
    /// Some partition's next offset does not exist at the broker: see [`Consumer::range`].
    OutOfRange,
    /// This consumer will never deliver anything again.
    Fatal(String),
}

/// A record, lent by the client library until it is dropped.
#[derive(Debug)]
pub struct Message<'a>(pub(super) BorrowedMessage<'a>);

impl Message<'_> {
    /// The topic it came from.
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

    /// The number of its partition.
    pub fn index(&self) -> i32 {
        self.0.partition()
    }

    /// Its offset.
    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    /// The Kafka timestamp; 1970 if there is none.
    pub fn broker_time(&self) -> Timestamp {
        Timestamp::from_millis(self.0.timestamp().to_millis().unwrap_or(0))
    }

    /// Its bytes; none at all for a record without a value.
    pub fn payload(&self) -> &[u8] {
        self.0.payload().unwrap_or(&[])
    }

    /// Its key, if it has one.
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }
}

/// What the client library reports once a second about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether the group has taken this member in and no change of hands is going on.
    pub joined: bool,
    /// Whether some broker answers.
    pub reachable: bool,
    /// The end of each partition, as the last fetch saw it.
    pub ends: HashMap<PartitionId, i64>,
    /// What has been committed for each partition, as the group confirmed it.
    pub committed: HashMap<PartitionId, i64>,
    /// Partitions whose broker is away or says nothing: whether records wait there is not known.
    pub silent: HashSet<PartitionId>,
}

/// What the callbacks and the worker's loop share. All of them run on the worker's thread; the lock is never
/// waited for.
#[derive(Default)]
struct Shared {
    notes: Vec<Note>,
    report: Option<Report>,
}

struct Context {
    topics: Arc<Topics>,
    complaints: Arc<Complaints>,
    shared: Mutex<Shared>,
}

impl Context {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self, list: &TopicPartitionList) -> Vec<PartitionId> {
        list.elements().iter().filter_map(|e| self.topics.partition(e.topic(), e.partition())).collect()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice::<Statistics>(statistics) {
            Ok(statistics) => {
                let report = statistics.report(&self.topics);
                if report.reachable {
                    self.complaints.over();
                }
                self.shared().report = Some(report);
            }
            Err(error) => self.complaints.say("statistics", &error.to_string()),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.about(&error, reason);
    }
}

impl ConsumerContext for Context {
    // Owned whole: letting the library assign first and correcting it afterwards would let records of the
    // wrong offset through in between.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let partitions = self.names(list);
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let assigned = begin(list).and_then(|()| match cooperative {
                true => consumer.incremental_assign(list),
                false => consumer.assign(list),
            });
            let paused = if list.count() > 0 { consumer.pause(list) } else { Ok(()) };
            self.said("taking over partitions", assigned.and(paused));
            self.shared().notes.push(Note::Assigned(partitions));
        } else {
            let freed = match cooperative {
                true => consumer.incremental_unassign(list),
                false => consumer.unassign(),
            };
            self.said("handing on partitions", freed);
            self.shared().notes.push(Note::Revoked(partitions));
        }
    }
}

impl Context {
    fn said(&self, doing: &str, result: Result<(), KafkaError>) {
        if let Err(error) = result {
            tracing::error!(target: "kafka", "{doing}: {error}");
        }
    }
}

/// Where a partition stands until it is told where to read: an offset that needs no commit to exist. Without
/// one, a partition that the group has never committed could not be sought in.
fn begin(list: &mut TopicPartitionList) -> Result<(), KafkaError> {
    match list.count() {
        0 => Ok(()),
        _ => list.set_all_offsets(Offset::Beginning),
    }
}

/// A line of the client library, at its level.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    // Settings of `[kafka.settings]` go to every client; that some mean nothing to one of them is no news.
    if message.contains("property and will be ignored") {
        return;
    }
    // Connections come and go; that none is left, or that a request failed for good, comes as an error.
    if matches!(facility, "FAIL" | "GETPID" | "REQTMOUT") {
        tracing::debug!(target: "librdkafka", "{facility}: {message}");
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::warn!(target: "librdkafka", "{facility}: {message}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", "{facility}: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", "{facility}: {message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", "{facility}: {message}"),
    }
}

/// A broker that is asked for records answers several times a second, also that there are none.
const SILENT_MICROS: i64 = 5_000_000;

/// The part of the library's statistics that is read.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: HashMap<String, TopicStatistics>,
    #[serde(default)]
    brokers: HashMap<String, BrokerStatistics>,
    cgrp: Option<GroupStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    state: String,
    #[serde(default)]
    nodeid: i32,
    /// Microseconds since it said anything.
    #[serde(default)]
    rxidle: i64,
    /// The coordinator stands there twice; as such it tells nothing about records.
    #[serde(default)]
    source: String,
}

#[derive(Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: HashMap<i32, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    hi_offset: i64,
    committed_offset: i64,
    /// The node that is asked for its records.
    #[serde(default = "nobody")]
    broker: i32,
}

fn nobody() -> i32 {
    -1
}

#[derive(Deserialize)]
struct GroupStatistics {
    join_state: String,
}

impl Statistics {
    fn report(self, topics: &Topics) -> Report {
        let joined = self.cgrp.is_some_and(|group| group.join_state == "steady");
        let reachable = self.brokers.values().any(|broker| broker.state == "UP");
        let speaks = |broker: &&BrokerStatistics| {
            broker.state == "UP" && broker.source != "logical" && broker.rxidle < SILENT_MICROS
        };
        let speaking: HashSet<i32> = self.brokers.values().filter(speaks).map(|b| b.nodeid).collect();
        let mut report = Report { joined, reachable, ..Report::default() };
        for (topic, statistics) in self.topics {
            for (index, partition) in statistics.partitions {
                // -1 stands for those that no partition was found for.
                let Some(id) = topics.partition(&topic, index).filter(|id| id.index >= 0) else { continue };
                if !speaking.contains(&partition.broker) {
                    report.silent.insert(id.clone());
                }
                // Below zero: not known yet.
                if partition.hi_offset >= 0 {
                    report.ends.insert(id.clone(), partition.hi_offset);
                }
                if partition.committed_offset >= 0 {
                    report.committed.insert(id, partition.committed_offset);
                }
            }
        }
        report
    }
}

/// A member of the consumer group.
pub struct Consumer {
    inner: CommitQueue<Context>,
    topics: Arc<Topics>,
}

impl Consumer {
    /// Joins the group under a client name. Talks to nobody yet: errors are those of settings.
    pub fn open(
        settings: &Settings,
        topics: &Arc<Topics>,
        complaints: &Arc<Complaints>,
        name: &str,
    ) -> Result<Consumer, Error> {
        let (topics, complaints) = (topics.clone(), complaints.clone());
        let context = Context { topics: topics.clone(), complaints, shared: Mutex::default() };
        let inner: BaseConsumer<Context> = settings
            .consumer_config(name)
            .create_with_context(context)
            .map_err(|error| config_error(&error))?;
        let names: Vec<&str> = topics.iter().map(|(_, topic)| topic).collect();
        inner.subscribe(&names).map_err(|error| Error::new(error.to_string()))?;
        let inner = CommitQueue::open(inner).ok_or_else(|| Error::new("no memory for a queue"))?;
        Ok(Consumer { inner, topics })
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
                self.inner.context().complaints.about(&error, "while reading");
                Polled::Nothing
            }
        }
    }

    /// What the group decided since the last call.
    pub fn notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.inner.context().shared().notes)
    }

    /// The newest report, if there is one since the last call.
    pub fn report(&self) -> Option<Report> {
        self.inner.context().shared().report.take()
    }

    /// Commits the next offset of a partition with the place of its state, without waiting: the answer comes
    /// from [`committed_results`]. To be called again for a partition only after its answer, and only for
    /// partitions whose revocation has not been noted.
    ///
    /// [`committed_results`]: Consumer::committed_results
    pub fn commit_root(&self, partition: &PartitionId, next_offset: i64, root: &Root) -> Result<(), Error> {
        let (topic, metadata) = (self.topic(partition)?, root::write(root)?);
        self.inner
            .enqueue(topic, partition.index, next_offset, &metadata)
            .map_err(|error| Error::new(kind(&error)))
    }

    /// What the group has answered to commits of roots since the last call.
    pub fn committed_results(&self) -> Vec<Committed> {
        let answer = |element: super::commit::Element| {
            let partition = self.topics.partition(&element.topic, element.index)?;
            let result = element.result.map_err(|code| Error::new(explain(code)));
            Some(Committed { partition, next_offset: element.offset, result })
        };
        self.inner.poll_commits().into_iter().filter_map(answer).collect()
    }

    /// Seeks, then lets records come. An error is usual directly after an assignment: again a little later.
    /// The order matters: records of the old position would come first otherwise, or none for up to a second.
    pub fn start(&self, partition: &PartitionId, offset: i64) -> Result<(), Error> {
        let topic = self.topic(partition)?;
        // Without waiting, a failed seek would not be noticed.
        let patience = Duration::from_secs(5);
        self.inner
            .seek(topic, partition.index, Offset::Offset(offset), patience)
            .and_then(|()| self.inner.resume(&self.list([partition])))
            .map_err(|error| Error::new(error.to_string()))
    }

    /// No more records of these partitions, until they are started again.
    pub fn pause<'a>(&self, partitions: impl IntoIterator<Item = &'a PartitionId>) -> Result<(), Error> {
        let list = self.list(partitions);
        match list.count() {
            0 => Ok(()),
            _ => self.inner.pause(&list).map_err(|error| Error::new(error.to_string())),
        }
    }

    /// Takes a partition up anew, paused: one that was out of range cannot be sought in. Gives all partitions
    /// that have to be started again: with an eager protocol, every one of `owned`.
    pub fn renew(&self, partition: &PartitionId, owned: &[PartitionId]) -> Result<Vec<PartitionId>, Error> {
        let failed = |error: KafkaError| Error::new(error.to_string());
        let cooperative = matches!(self.inner.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let again = if cooperative { vec![partition.clone()] } else { owned.to_vec() };
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

    fn topic(&self, partition: &PartitionId) -> Result<&str, Error> {
        self.topics
            .topic(&partition.stream)
            .ok_or_else(|| Error::new(format!("no topic for stream \"{}\"", partition.stream)))
    }

    fn list<'a>(&self, partitions: impl IntoIterator<Item = &'a PartitionId>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            if let Some(topic) = self.topics.topic(&partition.stream) {
                list.add_partition(topic, partition.index);
            }
        }
        list
    }
}

#[cfg(test)]
mod tests;
