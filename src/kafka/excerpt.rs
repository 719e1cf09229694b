//! A part of a topic, read once: the newest records, or those of a span of time.
//!
//! It joins no group and commits nothing: whoever looks at a topic disturbs nobody. It ends where the topic
//! ended when it was opened.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::complaints::kind;
use super::settings::config_error;
use super::silent::Silent;
use super::{Error, Settings, explain};
use crate::diagnostic::nearest;
use crate::event::Timestamp;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one poll may take, and how many in a row may give nothing.
const POLL: Duration = Duration::from_millis(250);
const POLLS: u32 = 60;

/// Which records of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The newest so many, spread over all partitions.
    Newest(u64),
    /// Those whose Kafka timestamp is not before the first and before the second; none = no bound.
    Between(Option<Timestamp>, Option<Timestamp>),
    /// Those of every partition from this offset on.
    Since(i64),
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The number of its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The Kafka timestamp; 1970 if there is none.
    pub broker_time: Timestamp,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// The part of a topic that is being read.
pub struct Excerpt {
    consumer: BaseConsumer<Silent>,
    topic: String,
    brokers: String,
    partitions: usize,
    /// Partitions that are not read to their end: the next offset, and where to stop.
    left: BTreeMap<i32, (i64, i64)>,
    /// Where every partition was to stop.
    ends: BTreeMap<i32, i64>,
    total: u64,
    read: u64,
    follows: bool,
}

impl Excerpt {
    /// Asks the cluster for the topic's offsets, and starts to read. An error says which topics there are, or
    /// that nobody answers.
    pub fn open(settings: &Settings, topic: &str, part: Part) -> Result<Excerpt, Error> {
        Excerpt::open_of(settings, topic, part, |_| None)
    }

    /// The same of one partition alone, if `only` gives one, told how many there are.
    pub fn open_of(
        settings: &Settings,
        topic: &str,
        part: Part,
        only: impl FnOnce(i32) -> Option<i32>,
    ) -> Result<Excerpt, Error> {
        let consumer: BaseConsumer<Silent> =
            settings.excerpt_config().create_with_context(Silent).map_err(|error| config_error(&error))?;
        let mut partitions = partitions(&consumer, settings, topic)?;
        let only = only(i32::try_from(partitions.len()).unwrap_or(i32::MAX));
        partitions.retain(|partition| only.is_none_or(|only| only == *partition));
        let mut excerpt = Excerpt {
            consumer,
            topic: topic.to_owned(),
            brokers: settings.brokers.clone(),
            partitions: partitions.len(),
            left: BTreeMap::new(),
            ends: BTreeMap::new(),
            total: 0,
            read: 0,
            follows: false,
        };
        excerpt.left = excerpt.ranges(&partitions, part)?;
        excerpt.ends = excerpt.left.iter().map(|(index, (_, end))| (*index, *end)).collect();
        excerpt.left.retain(|_, (next, end)| next < end);
        excerpt.total = excerpt.left.values().map(|(next, end)| next.abs_diff(*end)).sum();
        excerpt.assign()?;
        Ok(excerpt)
    }

    /// Goes on with what comes after the end, and never ends.
    pub fn follow(&mut self) -> Result<(), Error> {
        self.follows = true;
        for (index, end) in &self.ends {
            self.left.entry(*index).or_insert((*end, 0)).1 = i64::MAX;
        }
        self.assign()
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Offsets passed so far, and in all.
    pub fn progress(&self) -> (u64, u64) {
        (self.read, self.total)
    }

    fn ranges(&self, partitions: &[i32], part: Part) -> Result<BTreeMap<i32, (i64, i64)>, Error> {
        let mut ranges = BTreeMap::new();
        for partition in partitions {
            let marks = self.consumer.fetch_watermarks(&self.topic, *partition, PATIENCE);
            let (low, high) = marks.map_err(|error| self.silent(&error))?;
            ranges.insert(*partition, (low, high));
        }
        match part {
            Part::Newest(wanted) => {
                let share =
                    i64::try_from(wanted.div_ceil(partitions.len().max(1) as u64)).unwrap_or(i64::MAX);
                for (low, high) in ranges.values_mut() {
                    *low = (*low).max(high.saturating_sub(share));
                }
            }
            Part::Since(from) => ranges.values_mut().for_each(|(low, _)| *low = from.max(*low)),
            Part::Between(from, to) => {
                for (index, offset) in self.offsets_at(&ranges, from)? {
                    ranges.entry(index).and_modify(|(low, _)| *low = offset.max(*low));
                }
                for (index, offset) in self.offsets_at(&ranges, to)? {
                    ranges.entry(index).and_modify(|(_, high)| *high = offset.min(*high));
                }
            }
        }
        Ok(ranges)
    }

    /// Per partition the first offset at or after a time; of a partition that has none, its end.
    fn offsets_at(
        &self,
        ranges: &BTreeMap<i32, (i64, i64)>,
        time: Option<Timestamp>,
    ) -> Result<Vec<(i32, i64)>, Error> {
        let Some(time) = time else { return Ok(Vec::new()) };
        let mut list = TopicPartitionList::new();
        for index in ranges.keys() {
            let at = Offset::Offset(time.millis().max(0));
            list.add_partition_offset(&self.topic, *index, at).map_err(|error| Error::new(kind(&error)))?;
        }
        let found = self.consumer.offsets_for_times(list, PATIENCE).map_err(|error| self.silent(&error))?;
        let end = |index: i32| ranges.get(&index).map_or(0, |(_, high)| *high);
        Ok(found
            .elements()
            .iter()
            .map(|element| match element.offset() {
                Offset::Offset(offset) => (element.partition(), offset),
                _ => (element.partition(), end(element.partition())),
            })
            .collect())
    }

    fn assign(&self) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        for (index, (next, _)) in &self.left {
            list.add_partition_offset(&self.topic, *index, Offset::Offset(*next))
                .map_err(|error| Error::new(kind(&error)))?;
        }
        self.consumer.assign(&list).map_err(|error| Error::new(error.to_string()))
    }

    /// The next record, partitions mixed as they come; none at the end.
    #[expect(clippy::should_implement_trait, reason = "it fails with an error of ours")]
    pub fn next(&mut self) -> Result<Option<Taken>, Error> {
        let mut idle = 0;
        while !self.left.is_empty() {
            let taken = match self.consumer.poll(POLL) {
                None => {
                    idle += 1;
                    if idle > POLLS && !self.follows {
                        return Err(
                            self.silent(&KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
                        );
                    }
                    None
                }
                Some(Err(KafkaError::PartitionEOF(index))) => {
                    if !self.follows {
                        self.left.remove(&index);
                    }
                    None
                }
                Some(Err(error)) if is_passing(&error) => None,
                Some(Err(error)) => return Err(self.silent(&error)),
                Some(Ok(message)) => Some(Taken {
                    partition: message.partition(),
                    offset: message.offset(),
                    broker_time: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
                    key: message.key().map(<[u8]>::to_vec),
                    payload: message.payload().unwrap_or_default().to_vec(),
                }),
            };
            if let Some(taken) = taken.filter(|taken| self.takes(taken)) {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// Whether a record belongs to the part; notes how far its partition is.
    fn takes(&mut self, taken: &Taken) -> bool {
        let Some((next, end)) = self.left.get_mut(&taken.partition) else { return false };
        let wanted = taken.offset < *end;
        let passed = taken.offset.saturating_add(1).min(*end);
        self.read += u64::try_from(passed - *next).unwrap_or(0);
        *next = passed.max(*next);
        if *next >= *end {
            self.left.remove(&taken.partition);
        }
        wanted
    }

    fn silent(&self, error: &KafkaError) -> Error {
        no_answer(&self.brokers, error)
    }
}

pub(super) fn no_answer(brokers: &str, error: &KafkaError) -> Error {
    let why = error.rdkafka_error_code().map_or_else(|| error.to_string(), explain);
    Error::new(format!("no answer from Kafka at {brokers}: {why}"))
        .hint("is it running, and are the brokers right? TLS and passwords: [kafka.settings] of a file given with -c")
}

/// Errors after which the client goes on by itself.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
        )
    )
}

/// The numbers of a topic's partitions.
fn partitions(consumer: &BaseConsumer<Silent>, settings: &Settings, topic: &str) -> Result<Vec<i32>, Error> {
    // All topics: asking for one by name would make some brokers create it.
    let all =
        consumer.fetch_metadata(None, PATIENCE).map_err(|error| no_answer(&settings.brokers, &error))?;
    let found = all.topics().iter().find(|found| found.name() == topic && !found.partitions().is_empty());
    if let Some(found) = found {
        let mut indices: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
        indices.sort_unstable();
        return Ok(indices);
    }
    let mut names: Vec<&str> =
        all.topics().iter().map(|topic| topic.name()).filter(|name| !name.starts_with("__")).collect();
    names.sort_unstable();
    let hint = match (nearest(topic, names.iter().copied()), names.len()) {
        (Some(near), _) => format!("did you mean \"{near}\"?"),
        (None, 0) => "the cluster has no topics yet".to_owned(),
        (None, 1..=20) => format!("topics there: {}", names.join(", ")),
        (None, n) => {
            format!("{n} topics there; the first: {}", names.get(..20).unwrap_or_default().join(", "))
        }
    };
    Err(Error::new(format!("there is no topic \"{topic}\" at {}", settings.brokers)).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::super::mock::Mock;
    use super::*;

    fn filled() -> (Mock, Settings) {
        let kafka = Mock::start().unwrap();
        kafka.create_topic("cars", 3).unwrap();
        kafka.create_topic("other", 1).unwrap();
        for i in 0..30u8 {
            let at = Timestamp::from_millis(1_700_000_000_000 + i64::from(i) * 1000);
            kafka.send("cars", i32::from(i % 3), &[b'k', i], &[i], at).unwrap();
        }
        kafka.flush().unwrap();
        let settings = Settings::new(kafka.brokers());
        (kafka, settings)
    }

    fn read(settings: &Settings, part: Part) -> Vec<Taken> {
        let mut excerpt = Excerpt::open(settings, "cars", part).unwrap();
        let mut all = Vec::new();
        while let Some(taken) = excerpt.next().unwrap() {
            all.push(taken);
        }
        let (read, total) = excerpt.progress();
        assert_eq!((read, excerpt.partitions()), (total, 3));
        all.sort_by_key(|taken| (taken.partition, taken.offset));
        all
    }

    #[test]
    fn the_newest_of_every_partition_or_all() {
        let (_kafka, settings) = filled();
        let newest = read(&settings, Part::Newest(6));
        let places: Vec<(i32, i64)> = newest.iter().map(|taken| (taken.partition, taken.offset)).collect();
        assert_eq!(places, [(0, 8), (0, 9), (1, 8), (1, 9), (2, 8), (2, 9)]);
        assert_eq!(
            (newest[0].key.as_deref(), newest[0].payload.as_slice()),
            (Some(&b"k\x18"[..]), &[24][..])
        );
        assert_eq!(read(&settings, Part::Newest(9999)).len(), 30);
        assert_eq!(read(&settings, Part::Between(None, None)).len(), 30);
    }

    #[test]
    fn one_partition_from_an_offset_on_and_what_comes_later() {
        let (kafka, settings) = filled();
        let mut excerpt =
            Excerpt::open_of(&settings, "cars", Part::Since(7), |count| Some(count - 1)).unwrap();
        excerpt.follow().unwrap();
        let mut next = || excerpt.next().unwrap().map(|taken| (taken.partition, taken.offset));
        assert_eq!([next(), next(), next()], [Some((2, 7)), Some((2, 8)), Some((2, 9))]);
        kafka.send("cars", 2, b"k", b"v", Timestamp(0)).unwrap();
        kafka.flush().unwrap();
        assert_eq!(next(), Some((2, 10)));
    }

    #[test]
    fn a_topic_that_is_not_there_is_said_with_those_that_are() {
        let (_kafka, settings) = filled();
        let said = |topic| Excerpt::open(&settings, topic, Part::Newest(1)).err().unwrap().to_string();
        assert!(said("carz").contains("did you mean \"cars\"?"), "{}", said("carz"));
        assert!(said("zzzzzz").contains("topics there: cars, other"), "{}", said("zzzzzz"));
    }
}
