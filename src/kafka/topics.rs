//! Questions to the cluster before anything starts: do the topics exist, how many partitions have they, who
//! writes their timestamps; and the one topic that is made if it is missing.

mod journal;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaRespErr;

use super::consumer::log;
use super::settings::config_error;
use super::{Error, Settings, Topics, explain, security};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often one looks whether something is known already of a question that has no answer yet.
const GLANCE: Duration = Duration::from_millis(500);

/// How long other brokers may take to answer where one refuses us.
const OTHERS: Duration = Duration::from_secs(2);

/// A topic that a stream reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// The stream.
    pub stream: Arc<str>,
    /// Its topic.
    pub topic: String,
    /// How many partitions the topic has; 0 = it does not exist.
    pub partitions: usize,
    /// Whether the broker writes the timestamps; none = it would not say.
    pub broker_time: Option<bool>,
}

impl TopicInfo {
    /// What the topic's clock means for the rules that read it, if it can be wrong, and the command that
    /// mends it. `windows` are the rules that remember, `arrival` those that count by broker time.
    pub fn clock_warning(&self, brokers: &str, windows: &[&str], arrival: &[&str]) -> Option<Error> {
        if self.broker_time != Some(false) {
            return None;
        }
        let mut message = format!(
            "topic \"{}\" is CreateTime: its producers, not the broker, say when a record arrived, up to an \
             hour ahead",
            self.topic
        );
        for (what, rules) in [
            ("one that runs ahead ends windows of other keys early", windows),
            ("what it writes is what is counted by", arrival),
        ] {
            if !rules.is_empty() {
                message.push_str(&format!("; {what}: {}", rules.join(", ")));
            }
        }
        Some(Error::new(message).hint(format!(
            "kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {} \
             --add-config message.timestamp.type=LogAppendTime",
            self.topic
        )))
    }
}

/// What is heard on the way to the brokers: the last trouble that says something.
#[derive(Default)]
struct Context(Mutex<Option<Heard>>);

#[derive(Clone)]
struct Heard {
    reason: String,
    /// Whether waiting does not help.
    is_final: bool,
}

impl Context {
    fn hear(&self, is_final: bool, reason: &str) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What only somebody can mend says more than that brokers are down.
        if is_final || heard.as_ref().is_none_or(|heard| !heard.is_final) {
            *heard = Some(Heard { reason: reason.to_string(), is_final });
        }
    }

    fn heard(&self) -> Option<Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Some reasons come as a line alone.
        if facility == "FAIL" {
            self.hear(security::is_final(RDKafkaErrorCode::BrokerTransportFailure, message), message);
        }
        log(level, facility, message);
    }

    // What fails is said by the question that failed.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "kafka", "{error}: {reason}");
        match error.rdkafka_error_code() {
            // The reasons came before.
            None | Some(RDKafkaErrorCode::AllBrokersDown) => {}
            Some(code) => self.hear(security::is_final(code, reason), reason),
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// A client that asks, and runs its questions on `handle`. Not to be used from within that runtime.
pub struct Cluster<'a> {
    client: AdminClient<Context>,
    /// Asks for metadata: unlike the other, it hears why a broker is not reached.
    scout: BaseProducer<Context>,
    settings: &'a Settings,
    handle: &'a tokio::runtime::Handle,
}

impl<'a> Cluster<'a> {
    /// Talks to nobody yet: errors are those of settings.
    pub fn open(settings: &'a Settings, handle: &'a tokio::runtime::Handle) -> Result<Cluster<'a>, Error> {
        let failed = |error: KafkaError| config_error(&error);
        if let Some(warning) = security::readable(settings.tls.as_ref(), settings.sasl.as_ref()) {
            tracing::warn!("{warning}");
        }
        let client = settings.admin_config().create_with_context(Context::default()).map_err(failed)?;
        let scout = settings.admin_config().create_with_context(Context::default()).map_err(failed)?;
        Ok(Cluster { client, scout, settings, handle })
    }

    /// All topics that streams read, sorted by stream, also those that do not exist. An error means that
    /// nobody answered.
    pub fn inspect(&self, topics: &Topics) -> Result<Vec<TopicInfo>, Error> {
        let mut all = Vec::new();
        for (stream, topic) in topics.iter() {
            let partitions = self.partitions(topic)?.unwrap_or(0);
            all.push(TopicInfo {
                stream: stream.clone(),
                topic: topic.into(),
                partitions,
                broker_time: None,
            });
        }
        self.clocks(&mut all);
        Ok(all)
    }

    /// How many members a consumer group has now.
    pub fn members(&self, group: &str) -> Result<usize, Error> {
        let listed = self.scout.client().fetch_group_list(Some(group), Duration::from_secs(10));
        let listed =
            listed.map_err(|error| Error::new(format!("cannot ask for group \"{group}\": {error}")))?;
        Ok(listed.groups().iter().map(|group| group.members().len()).sum())
    }

    /// How many partitions a topic has; none if it does not exist.
    fn partitions(&self, topic: &str) -> Result<Option<usize>, Error> {
        let metadata = self.metadata(topic)?;
        let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else { return Ok(None) };
        match found.error() {
            None => Ok(Some(found.partitions().len()).filter(|n| *n > 0)),
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Ok(None),
            Some(error) => {
                let why = explain(RDKafkaErrorCode::from(error));
                Err(Error::new(format!("topic \"{topic}\": {why}")))
            }
        }
    }

    /// Asks until somebody answers, or until it is clear that nobody will.
    fn metadata(&self, topic: &str) -> Result<Metadata, Error> {
        let mut end = Instant::now() + PATIENCE;
        loop {
            let answer = self.scout.client().fetch_metadata(Some(topic), GLANCE);
            // Also so that an answer that fails at once is not asked for in a circle.
            self.scout.poll(GLANCE / 10);
            let error = match answer {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            let heard = self.scout.context().heard();
            if heard.as_ref().is_some_and(|heard| heard.is_final) {
                end = end.min(Instant::now() + OTHERS);
            }
            if Instant::now() >= end {
                return Err(self.unanswered(&error, heard));
            }
        }
    }

    fn unanswered(&self, error: &KafkaError, heard: Option<Heard>) -> Error {
        let brokers = &self.settings.brokers;
        let reason = heard.map(|heard| heard.reason).unwrap_or_default();
        let known = security::explain(&reason);
        // Behind it: how long it took, and how often it was seen.
        let reason = reason.split(" (after ").next().unwrap_or_default();
        if let Some(known) = known {
            return Error::new(format!("no answer from Kafka at {brokers}: {} ({reason})", known.message))
                .hint(known.hint);
        }
        let why = error.rdkafka_error_code().map_or_else(|| error.to_string(), explain);
        let why = if reason.is_empty() { why } else { reason.to_string() };
        Error::new(format!("no answer from Kafka at {brokers}: {why}")).hint(
            "is it running, and is `brokers` right? Encryption and passwords: [kafka.tls], [kafka.sasl]",
        )
    }

    /// Best effort: a cluster that does not tell leaves it unknown.
    fn clocks(&self, all: &mut [TopicInfo]) {
        let mut found: Vec<&mut TopicInfo> = all.iter_mut().filter(|info| info.partitions > 0).collect();
        if found.is_empty() {
            return;
        }
        let names: Vec<ResourceSpecifier<'_>> =
            found.iter().map(|info| ResourceSpecifier::Topic(&info.topic)).collect();
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
        match self.run(self.client.describe_configs(&names, &options)) {
            Ok(described) => {
                let types: Vec<Option<bool>> =
                    described.into_iter().map(|topic| topic.ok().as_ref().and_then(broker_writes)).collect();
                for (info, kind) in found.iter_mut().zip(types) {
                    info.broker_time = kind;
                }
            }
            Err(error) => tracing::debug!(target: "kafka", "who writes timestamps is not known: {error}"),
        }
    }

    /// Makes the dead-letter topic if it is not there.
    pub fn ensure(&self, topic: &str) -> Result<(), Error> {
        if self.partitions(topic)?.is_some() {
            return Ok(());
        }
        // -1: as many replicas as the cluster's default says.
        let wanted = NewTopic::new(topic, 1, TopicReplication::Fixed(-1))
            .set("message.timestamp.type", "LogAppendTime")
            .set("compression.type", "producer");
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let why = match self.run(self.client.create_topics([&wanted], &options)) {
            Ok(results) => match results.into_iter().next() {
                Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) => {
                    tracing::info!("created topic \"{topic}\" for what cannot be read or delivered");
                    return Ok(());
                }
                Some(Err((_, code))) => explain(code),
                None => "no answer".into(),
            },
            Err(error) => error.rdkafka_error_code().map_or_else(|| error.to_string(), explain),
        };
        if self.asked_into_being(topic)? {
            return Ok(());
        }
        Err(Error::new(format!(
            "the dead-letter topic \"{topic}\" does not exist and cannot be created: {why}"
        ))
        .hint(create_command(&self.settings.brokers, topic, 1)))
    }

    /// A broker that makes topics by itself makes this one when an ordinary producer asks for it.
    fn asked_into_being(&self, topic: &str) -> Result<bool, Error> {
        let mut config = self.settings.admin_config();
        config.remove("allow.auto.create.topics");
        let producer: BaseProducer = config.create().map_err(|error| config_error(&error))?;
        if let Err(error) = producer.client().fetch_metadata(Some(topic), PATIENCE) {
            tracing::debug!(target: "kafka", "asking for topic \"{topic}\": {error}");
        }
        Ok(self.partitions(topic)?.is_some())
    }

    fn run<T>(&self, question: impl Future<Output = Result<T, KafkaError>>) -> Result<T, KafkaError> {
        self.handle.block_on(question)
    }
}

fn broker_writes(topic: &ConfigResource) -> Option<bool> {
    let kind = topic.get("message.timestamp.type")?.value.as_deref()?;
    Some(kind == "LogAppendTime")
}

/// The command that makes a topic.
pub fn create_command(brokers: &str, topic: &str, partitions: usize) -> String {
    format!(
        "kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic} --partitions {partitions} \
         --config message.timestamp.type=LogAppendTime"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producers_clock_is_warned_of_with_the_command() {
        let mut info = TopicInfo {
            stream: "telemetry".into(),
            topic: "cars".into(),
            partitions: 2,
            broker_time: Some(false),
        };
        let warning = info.clock_warning("k:9092", &["often", "twice"], &["twice"]).unwrap();
        assert!(warning.message.contains("\"cars\" is CreateTime"), "{warning}");
        assert!(warning.message.contains("early: often, twice; what"), "{warning}");
        assert!(warning.message.ends_with("counted by: twice"), "{warning}");
        let warning = info.clock_warning("k:9092", &[], &[]).unwrap();
        assert!(warning.message.ends_with("ahead"), "{warning}");
        assert!(
            warning.hint.contains("--entity-name cars --add-config message.timestamp.type=LogAppendTime")
        );
        info.broker_time = Some(true);
        assert_eq!(info.clock_warning("k:9092", &["often"], &[]), None);
        info.broker_time = None;
        assert_eq!(info.clock_warning("k:9092", &["often"], &[]), None);
    }
}
