//! Commits that neither block nor are forgotten: each gets an answer, which is fetched when there is time.
//!
//! The only unsafe code of this crate. The wrapper around the client library knows commits that wait for the
//! answer, for as long as a broker is away, and commits whose answer nobody ever hears; the library itself
//! puts answers into a queue, which has to be made, asked and destroyed by hand. For the same reason, what is
//! committed is read here: the wrapper panics on metadata that is not UTF-8, and anybody in the group may
//! write some.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use rdkafka::bindings;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::{RDKafkaEvent, RDKafkaQueue, RDKafkaRespErr, RDKafkaTopicPartitionList};
use rdkafka::{Offset, TopicPartitionList};

/// A partition in an answer of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// The topic.
    pub topic: String,
    /// The number of the partition.
    pub index: i32,
    /// The next offset; below zero if there is none.
    pub offset: i64,
    /// What was committed with it. Anything that is not UTF-8 is replaced.
    pub metadata: String,
    /// Whether it worked.
    pub result: Result<(), RDKafkaErrorCode>,
}

/// A consumer and the queue of answers to its commits. Stays on its thread, since pointers are not `Send`:
/// that is the thread which serves rebalances, and commits must not be issued on any other.
pub(super) struct CommitQueue<C: ConsumerContext + 'static> {
    // Fields are dropped in this order: the queue must be destroyed before the consumer.
    queue: Queue,
    consumer: BaseConsumer<C>,
}

struct Queue(NonNull<RDKafkaQueue>);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: made by `rd_kafka_queue_new`, destroyed once, while its client lives.
        unsafe { bindings::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

impl<C: ConsumerContext + 'static> CommitQueue<C> {
    /// Gives a consumer its queue. None if the library is out of memory.
    pub fn open(consumer: BaseConsumer<C>) -> Option<CommitQueue<C>> {
        // SAFETY: the client lives as long as `consumer`, which is kept beside the queue.
        let queue = unsafe { bindings::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Some(CommitQueue { queue: Queue(NonNull::new(queue)?), consumer })
    }

    /// Commits the next offset of one partition. Its answer comes from [`poll_commits`]; only one of a
    /// partition must be on its way, since a lost coordinator may let two of them change places.
    ///
    /// [`poll_commits`]: CommitQueue::poll_commits
    pub fn enqueue(&self, topic: &str, index: i32, offset: i64, metadata: &str) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(1);
        let mut element = list.add_partition(topic, index);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(metadata);
        let client = self.consumer.client().native_ptr();
        // SAFETY: client, list and queue live beyond the call, which copies the list and keeps a reference of
        // its own to the queue. Without a callback the answer becomes an event in the queue.
        let error = unsafe {
            bindings::rd_kafka_commit_queue(client, list.ptr(), self.queue.0.as_ptr(), None, ptr::null_mut())
        };
        outcome(error).map_err(KafkaError::ConsumerCommit)
    }

    /// The answers that have come since the last call.
    pub fn poll_commits(&self) -> Vec<Element> {
        let mut all = Vec::new();
        // SAFETY: the queue lives. Zero: without waiting; null: nothing there.
        while let Some(event) =
            NonNull::new(unsafe { bindings::rd_kafka_queue_poll(self.queue.0.as_ptr(), 0) })
        {
            all.extend(answers(event));
            // SAFETY: ours since it was polled, destroyed once; `answers` has kept nothing of it.
            unsafe { bindings::rd_kafka_event_destroy(event.as_ptr()) };
        }
        all
    }
}

impl<C: ConsumerContext + 'static> Deref for CommitQueue<C> {
    type Target = BaseConsumer<C>;

    fn deref(&self) -> &BaseConsumer<C> {
        &self.consumer
    }
}

/// What a list holds.
pub(super) fn elements(list: &TopicPartitionList) -> Vec<Element> {
    // SAFETY: a list of the wrapper is never null, and lives beyond the call.
    unsafe { read(list.ptr()) }
}

fn answers(event: NonNull<RDKafkaEvent>) -> Vec<Element> {
    // SAFETY: the event lives until the caller destroys it, and its list as long as it; both calls only look.
    let (error, list) = unsafe {
        let error = bindings::rd_kafka_event_error(event.as_ptr());
        (error, bindings::rd_kafka_event_topic_partition_list(event.as_ptr()))
    };
    if list.is_null() {
        tracing::debug!(target: "kafka", "an answer without partitions: {:?}", outcome(error));
        return Vec::new();
    }
    // SAFETY: not null, and alive as said above.
    let mut all = unsafe { read(list) };
    // A request that was refused as a whole need not say so of each partition.
    for element in all.iter_mut().filter(|element| element.result.is_ok()) {
        element.result = outcome(error);
    }
    all
}

/// Copies what a list holds.
///
/// SAFETY: `list` must point to a list that nobody changes during the call.
unsafe fn read(list: *const RDKafkaTopicPartitionList) -> Vec<Element> {
    // SAFETY: by contract.
    let list = unsafe { &*list };
    let count = usize::try_from(list.cnt).unwrap_or(0);
    let element = |at: usize| {
        // SAFETY: `elems` has `cnt` members; a topic is a text that ends with NUL; metadata is null or has
        // `metadata_size` bytes.
        unsafe {
            let element = &*list.elems.add(at);
            let metadata: &[u8] = match element.metadata.is_null() {
                true => &[],
                false => std::slice::from_raw_parts(element.metadata.cast(), element.metadata_size),
            };
            Element {
                topic: CStr::from_ptr(element.topic).to_string_lossy().into_owned(),
                index: element.partition,
                offset: element.offset,
                metadata: String::from_utf8_lossy(metadata).into_owned(),
                result: outcome(element.err),
            }
        }
    };
    (0..count).map(element).collect()
}

fn outcome(error: RDKafkaRespErr) -> Result<(), RDKafkaErrorCode> {
    match error {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rdkafka::ClientConfig;

    use super::super::mock::Mock;
    use super::*;

    fn open(mock: &Mock, group: &str) -> CommitQueue<rdkafka::consumer::DefaultConsumerContext> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", mock.brokers())
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        CommitQueue::open(consumer).unwrap()
    }

    /// As many answers as asked for, or what came within ten seconds.
    fn wait<C: ConsumerContext>(queue: &CommitQueue<C>, count: usize) -> Vec<Element> {
        let mut all = Vec::new();
        let end = Instant::now() + Duration::from_secs(10);
        while all.len() < count && Instant::now() < end {
            assert!(queue.poll(Duration::from_millis(10)).is_none_or(|m| m.is_err()));
            all.extend(queue.poll_commits());
        }
        all
    }

    fn committed<C: ConsumerContext>(queue: &CommitQueue<C>, partitions: i32) -> Vec<(i64, String)> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range("cars", 0, partitions - 1);
        let list = queue.committed_offsets(list, Duration::from_secs(10)).unwrap();
        elements(&list).into_iter().map(|e| (e.offset, e.metadata)).collect()
    }

    #[test]
    fn every_commit_is_answered_and_keeps_its_metadata() {
        let mock = Mock::start().unwrap();
        mock.create_topic("cars", 3).unwrap();
        let queue = open(&mock, "g");
        assert_eq!(queue.poll_commits(), []);
        let long = "x".repeat(4096);
        queue.enqueue("cars", 0, 7, "").unwrap();
        queue.enqueue("cars", 1, 8, "root \"ä\"").unwrap();
        queue.enqueue("cars", 2, 9, &long).unwrap();
        let answers = wait(&queue, 3);
        let shown: Vec<_> = answers.iter().map(|a| (a.topic.as_str(), a.index, a.offset, a.result)).collect();
        assert_eq!(shown, [("cars", 0, 7, Ok(())), ("cars", 1, 8, Ok(())), ("cars", 2, 9, Ok(()))]);
        let expected = [(7, String::new()), (8, "root \"ä\"".into()), (9, long)];
        assert_eq!(committed(&queue, 3), expected);
        assert_eq!(queue.poll_commits(), []);
    }

    #[test]
    fn what_is_refused_is_told() {
        let mock = Mock::start().unwrap();
        mock.create_topic("cars", 1).unwrap();
        let queue = open(&mock, "g");
        queue.enqueue("cars", 0, 1, "old").unwrap();
        assert_eq!(wait(&queue, 1).len(), 1);
        mock.refuse_commits(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
        queue.enqueue("cars", 0, 2, "new").unwrap();
        let answers = wait(&queue, 1);
        let shown: Vec<_> = answers.iter().map(|a| (a.index, a.offset, a.result)).collect();
        assert_eq!(shown, [(0, 2, Err(RDKafkaErrorCode::UnknownMemberId))]);
        assert_eq!(committed(&queue, 1), [(1, "old".into())]);
    }

    #[test]
    fn a_consumer_may_go_while_answers_are_due() {
        let mock = Mock::start().unwrap();
        mock.create_topic("cars", 1).unwrap();
        let queue = open(&mock, "g");
        for offset in 0..50 {
            queue.enqueue("cars", 0, offset, "root").unwrap();
        }
        drop(queue);
        let queue = open(&mock, "g");
        assert_eq!(committed(&queue, 1), [(49, "root".into())], "closing sends what is on its way");
    }
}
