//! The real engine on an in-process Kafka: records in, alerts out. All that the demo knows of how it runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::alert::Alert;
use crate::event::Timestamp;
use crate::fleet::Sent;
use crate::kafka::mock::Mock;
use crate::kafka::{Error, Settings, Topics};
use crate::metrics::Overview;
use crate::rule::RuleSet;
use crate::runtime::delivery::Outlet;
use crate::runtime::run::{Plan, Running, edges};
use crate::runtime::worker::Compiled;
use crate::schema::Schema;
use crate::sink::Item;
use crate::sink::channel::Channel;

/// Bytes that may lie unread in a topic: the in-process cluster keeps 5 MiB, and drops silently what is older.
const UNREAD: usize = 3 << 20;

/// A topic, and what was sent there.
struct Topic {
    name: String,
    /// By offset: when it was sent, and the bytes of all records up to it.
    sent: Vec<(Instant, usize)>,
}

/// Everything, running.
pub struct Engine {
    kafka: Mock,
    running: Running,
    alerts: Receiver<Item>,
    topics: BTreeMap<Arc<str>, Topic>,
}

impl Engine {
    /// A cluster with a topic of one partition for each stream, and one worker on it.
    pub fn start(rules: RuleSet, schemas: Vec<Arc<Schema>>, listen: SocketAddr) -> Result<Engine, Error> {
        let kafka = Mock::start()?;
        let mut topics = BTreeMap::new();
        for schema in &schemas {
            kafka.create_topic(&schema.topic, 1)?;
            topics.insert(schema.name.clone(), Topic { name: schema.topic.clone(), sent: Vec::new() });
        }
        let mut settings = Settings::new(kafka.brokers());
        // The in-process cluster answers a fetch only when its time is up: not what a broker does.
        settings.consumer.0.insert("fetch.wait.max.ms".into(), "10".into());
        kafka.create_topic(&settings.dead_letter_topic, 1)?;
        kafka.create_topic(&settings.journal(), 1)?;
        let (tap, alerts) = channel();
        let names = schemas.iter().map(|schema| (schema.name.clone(), schema.topic.clone()));
        let names = Topics::new(names)?;
        let compiled = Compiled { rules: Arc::new(rules), schemas: schemas.into() };
        let mut plan = Plan::passing(settings, names, compiled)?;
        plan.sinks = vec![Outlet::new("demo", Box::new(Channel(tap)))];
        plan.listen = Some(listen);
        let running = Running::start(plan, edges()?)?;
        Ok(Engine { kafka, running, alerts, topics })
    }

    /// Where metrics are served.
    pub fn address(&self) -> Option<SocketAddr> {
        self.running.address()
    }

    /// How everything does; up to a second old.
    pub fn overview(&self) -> Overview {
        self.running.overview()
    }

    /// Whether the group has let the worker in, and all topics are read.
    pub fn is_reading(&self) -> bool {
        let overview = self.overview();
        let partitions = overview.workers.iter().flat_map(|worker| worker.partitions.values());
        partitions.filter(|partition| partition.next_offset.is_some()).count() >= self.topics.len()
    }

    /// Whether a record of this stream may be sent now: on a slow machine reading is waited for.
    pub fn has_room(&self, stream: &str) -> bool {
        let Some(topic) = self.topics.get(stream) else { return true };
        let bytes =
            |records: usize| records.checked_sub(1).and_then(|last| topic.sent.get(last)).map_or(0, |s| s.1);
        if bytes(topic.sent.len()) < UNREAD {
            return true;
        }
        let overview = self.overview();
        let read = overview.workers.iter().flat_map(|worker| &worker.partitions);
        let read = read.filter(|(id, _)| &*id.stream == stream).find_map(|(_, reading)| reading.next_offset);
        let read = usize::try_from(read.unwrap_or(0)).unwrap_or(0);
        bytes(topic.sent.len()) - bytes(read.min(topic.sent.len())) < UNREAD
    }

    /// Hands a record to its topic, with the time that the simulated broker gave it.
    pub fn send(&mut self, sent: &Sent<'_>) -> Result<(), Error> {
        let Some(topic) = self.topics.get_mut(sent.stream.name()) else { return Ok(()) };
        let at = Timestamp::from_millis(sent.broker_ms);
        self.kafka.send(&topic.name, 0, sent.key, sent.payload, at)?;
        let before = topic.sent.last().map_or(0, |(_, bytes)| *bytes);
        topic.sent.push((Instant::now(), before + sent.payload.len()));
        Ok(())
    }

    /// Waits until everything sent is in the topics.
    pub fn flush(&self) -> Result<(), Error> {
        self.kafka.flush()
    }

    /// The next alert; waits so long for it.
    pub fn alert(&self, wait: Duration) -> Option<Arc<Alert>> {
        self.alerts.recv_timeout(wait).ok().map(|item| item.alert)
    }

    /// How long ago the event was sent that an alert fired on; none if a window's end fired it.
    pub fn latency(&self, alert: &Alert) -> Option<Duration> {
        alert.event.as_ref()?;
        let fired = alert.evidence.last()?;
        let topic = self.topics.get(&fired.partition.stream)?;
        Some(topic.sent.get(usize::try_from(fired.offset).ok()?)?.0.elapsed())
    }

    /// Records sent so far.
    pub fn records(&self) -> u64 {
        self.topics.values().map(|topic| topic.sent.len() as u64).sum()
    }

    /// Whether all that was sent has been judged, and so many alerts are all that were made.
    pub fn is_settled(&self, alerts: u64) -> bool {
        let totals = self.overview().totals();
        let judged: u64 = totals.partitions.values().map(|partition| partition.records).sum();
        let made: u64 = totals.rules.values().flat_map(|rule| rule.alerts.values()).sum();
        judged >= self.records() && alerts >= made
    }

    /// Ends it.
    pub fn stop(self) {
        self.running.stop();
    }
}
