//! How to reach Kafka and how to behave there: our defaults, and any librdkafka setting on top of them.
//!
//! Values may be secrets: they are never printed, neither by `Debug` nor in errors.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};

use super::Error;
use super::security::{self, Sasl, Tls};

/// The `[kafka]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where to start looking for the cluster: `host:port`, several with commas.
    pub brokers: String,
    /// The consumer group: all processes with the same name share the partitions.
    #[serde(default = "default_group")]
    pub group: String,
    /// The topic of the journal, if it is not named after the group: see [`Settings::journal`].
    #[serde(default)]
    pub journal_topic: Option<String>,
    /// Where records go that cannot be read, and alerts that a sink will never take.
    #[serde(default = "default_dead_letter_topic")]
    pub dead_letter_topic: String,
    /// Where reading starts in a partition for which the group has committed nothing.
    #[serde(default)]
    pub start: Start,
    /// What becomes of a rule that would need rows of several partitions together.
    #[serde(default)]
    pub unplaced: Unplaced,
    /// What start-up does while a topic to read does not exist.
    #[serde(default)]
    pub missing_topics: MissingTopics,
    /// Encryption, and certificates; none = neither.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// User and password; none = neither.
    #[serde(default)]
    pub sasl: Option<Sasl>,
    /// librdkafka settings of every client.
    #[serde(default)]
    pub settings: Raw,
    /// librdkafka settings of consumers only.
    #[serde(default)]
    pub consumer: Raw,
    /// librdkafka settings of producers only.
    #[serde(default)]
    pub producer: Raw,
}

fn default_group() -> String {
    "fleetwarden".into()
}

fn default_dead_letter_topic() -> String {
    "fleetwarden.dead-letters".into()
}

/// Where reading starts if nothing is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the oldest record there is.
    #[default]
    Earliest,
    /// At the next record to come.
    Latest,
}

/// What becomes of a rule whose key does not contain the partition key, on a topic of several partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unplaced {
    /// Nothing starts.
    #[default]
    Refuse,
    /// The rule is left out, told in the log, in metrics and by `/readyz`.
    Skip,
}

/// What start-up does while a topic does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingTopics {
    /// Nothing starts.
    #[default]
    Refuse,
    /// It waits until they all exist.
    Wait,
}

/// librdkafka settings as they were written: names and values, numbers and booleans as text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Raw(pub BTreeMap<String, String>);

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        let values = BTreeMap::<String, Scalar>::deserialize(deserializer)?;
        Ok(Raw(values.into_iter().map(|(key, value)| (key, value.0)).collect()))
    }
}

/// A string, an integer or a boolean, as text.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an integer or a boolean")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scalar, E> {
                if text.contains('\0') { Err(E::custom("a NUL byte")) } else { Ok(Scalar(text.into())) }
            }
            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Scalar, E> {
                Ok(Scalar(flag.to_string()))
            }
        }
        deserializer.deserialize_any(Reader).map_err(|error| D::Error::custom(error.to_string()))
    }
}

/// The session time-out of members, unless it is set otherwise.
const SESSION_MILLIS: u64 = 45_000;

/// Settings that would break a promise, or that have a key of their own, with the reason.
const RESERVED: [(&str, &str); 12] = [
    ("bootstrap.servers", "write it as `brokers`"),
    ("metadata.broker.list", "write it as `brokers`"),
    ("group.id", "write it as `group`"),
    ("client.id", "each client is named after its worker"),
    ("enable.auto.commit", "offsets are committed only once everything before them has been delivered"),
    ("enable.auto.offset.store", "offsets are committed only once everything before them has been delivered"),
    ("auto.commit.interval.ms", "offsets are committed only once everything before them has been delivered"),
    ("auto.offset.reset", "a gap must be noticed; where to start without a commit is `start`"),
    ("transactional.id", "dead letters are not written in transactions"),
    ("delivery.report.only.error", "what has been written must be known"),
    ("log.queue", "the client library sets it"),
    ("test.mock.num.brokers", "each client would talk to a cluster of its own"),
];

/// Why a setting cannot be set here: it is reserved, unknown to librdkafka, or its value cannot be read.
pub fn check(key: &str, value: &str) -> Result<(), Error> {
    if let Some((_, why)) = RESERVED.iter().find(|(name, _)| *name == key) {
        return Err(Error::new(format!("\"{key}\" cannot be set")).hint(*why));
    }
    match ClientConfig::new().set(key, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(error) => Err(config_error(&error)),
    }
}

/// The error without the value, which may be a secret.
pub(super) fn config_error(error: &KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, description, key, value) => {
            let description = match value.is_empty() {
                true => description.clone(),
                false => description.replace(value.as_str(), "…"),
            };
            let known = "https://github.com/confluentinc/librdkafka/blob/v2.12.1/CONFIGURATION.md";
            Error::new(format!("librdkafka refuses \"{key}\": {}", lower_first(&description)))
                .hint(format!("all settings: {known}"))
        }
        // Files are read when a client is made.
        KafkaError::ClientCreation(why) => security::unfit(why),
        KafkaError::Nul(_) => Error::new("a setting of Kafka holds a NUL byte"),
        other => Error::new(lower_first(&other.to_string())),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

impl Settings {
    /// All defaults, for a cluster at `brokers`.
    pub fn new(brokers: impl Into<String>) -> Settings {
        Settings {
            brokers: brokers.into(),
            group: default_group(),
            dead_letter_topic: default_dead_letter_topic(),
            journal_topic: None,
            start: Start::default(),
            unplaced: Unplaced::default(),
            missing_topics: MissingTopics::default(),
            tls: None,
            sasl: None,
            settings: Raw::default(),
            consumer: Raw::default(),
            producer: Raw::default(),
        }
    }

    /// The topic of the journal: what owners of partitions claim, are told and say. Each group has one of its own,
    /// since an owner in one group is none in another.
    pub fn journal(&self) -> String {
        self.journal_topic.clone().unwrap_or_else(|| format!("{}.journal", self.group))
    }

    fn client(&self, name: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", name);
        config.set("socket.keepalive.enable", "true");
        // The default waits up to 10 s before it tries a broker again that has come back.
        config.set("reconnect.backoff.max.ms", "2000");
        config.set("topic.metadata.refresh.interval.ms", "60000");
        config.set_log_level(RDKafkaLogLevel::Info);
        for (key, value) in security::settings(self.tls.as_ref(), self.sasl.as_ref()) {
            config.set(key, value);
        }
        config
    }

    fn apply(&self, config: &mut ClientConfig, own: &Raw) {
        for (key, value) in self.settings.0.iter().chain(&own.0) {
            config.set(key, value);
        }
    }

    /// Whether the broker, not the members, assigns partitions (KIP-848): other settings exist then.
    fn broker_assigns(&self) -> bool {
        let protocol =
            self.consumer.0.get("group.protocol").or_else(|| self.settings.0.get("group.protocol"));
        protocol.is_some_and(|value| value.eq_ignore_ascii_case("consumer"))
    }

    /// Of the consumer of one worker.
    pub(super) fn consumer_config(&self, name: &str) -> ClientConfig {
        let mut config = self.client(name);
        config
            .set("group.id", &self.group)
            // What has not been read must be noticed, never skipped.
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            .set("fetch.wait.max.ms", "100")
            // The default of a second stops fetching for that long whenever the local queue has been full.
            .set("fetch.queue.backoff.ms", "10")
            // A worker that does not poll for a minute is stuck; its partitions go to others.
            .set("max.poll.interval.ms", "60000")
            // The source of `fleetwarden_consumer_lag_records` and of what `/readyz` says about the group.
            .set("statistics.interval.ms", "1000");
        if !self.broker_assigns() {
            config
                .set("partition.assignment.strategy", "cooperative-sticky")
                // How long a member may be out of reach before its partitions go to others. Short: an outage
                // of the broker makes windows start cold. Long: after a crash of a process its partitions
                // wait.
                .set("session.timeout.ms", SESSION_MILLIS.to_string())
                // A heartbeat's answer is how a member learns that others have come or gone. With the default
                // of three seconds, each step of a change of hands takes as long.
                .set("heartbeat.interval.ms", "500");
        }
        self.apply(&mut config, &self.consumer);
        config
    }

    /// Of a client that looks at partitions, and at what the group has committed, and joins nothing.
    pub(super) fn probe_config(&self) -> ClientConfig {
        let mut config = self.excerpt_config();
        // An answer that there is nothing more is waited for no longer than this.
        config.set("client.id", "fleetwarden-probe").set("fetch.wait.max.ms", "10");
        config
    }

    /// How long a member may be out of reach before its partitions go to others.
    pub fn session(&self) -> std::time::Duration {
        let named = |raw: &Raw| raw.0.get("session.timeout.ms").and_then(|text| text.parse().ok());
        let millis = named(&self.consumer).or_else(|| named(&self.settings)).unwrap_or(SESSION_MILLIS);
        std::time::Duration::from_millis(millis)
    }

    /// Of a reader of a topic of ours, which belongs to a group of its own.
    pub(super) fn reader_config(&self, group: &str, name: &str) -> ClientConfig {
        let mut config = self.consumer_config(name);
        // Each sink has such a client: what is fetched ahead of it is bounded by little.
        config.set("group.id", group).set("queued.max.messages.kbytes", "8192");
        config
    }

    /// Of the producer of one worker.
    pub(super) fn producer_config(&self, name: &str) -> ClientConfig {
        let mut config = self.client(name);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("compression.type", "lz4")
            // Never give up: while a dead letter is not written, nothing behind it is committed.
            .set("message.timeout.ms", "0")
            // Local limit only: what the broker accepts is the topic's own setting.
            .set("message.max.bytes", "67108864")
            .set("partitioner", "murmur2_random");
        self.apply(&mut config, &self.producer);
        config
    }

    /// Of the producer of one worker's journal. What its promises stand on is not the user's to change.
    pub(super) fn ledger_config(&self, name: &str) -> ClientConfig {
        let mut config = self.producer_config(name);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            // What comes behind a record that failed must fail too: the journal holds a prefix of what was said.
            .set("enable.gapless.guarantee", "true")
            // Several under way would mean that one behind a failed one may have been written already.
            .set("max.in.flight.requests.per.connection", "1");
        config
    }

    /// Of a client that reads the journal up to a place. It joins no group, but must name one.
    pub(super) fn tail_config(&self, name: &str) -> ClientConfig {
        let mut config = self.excerpt_config();
        config
            .set("client.id", name)
            // A client that is used again waits out its last long poll first.
            .set("fetch.wait.max.ms", "10")
            .set("fetch.queue.backoff.ms", "10")
            .set("queued.max.messages.kbytes", "16384");
        config
    }

    /// Of a client that reads a part of a topic and leaves no trace in the group.
    pub(super) fn excerpt_config(&self) -> ClientConfig {
        let mut config = self.client("fleetwarden-excerpt");
        config
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false");
        self.apply(&mut config, &self.consumer);
        config.remove("group.protocol");
        config
    }

    /// Of a producer that only fills topics.
    pub(super) fn feed_config(&self, name: &str) -> ClientConfig {
        let mut config = self.client(name);
        config
            .set("linger.ms", "20")
            .set("compression.type", "lz4")
            .set("message.timeout.ms", "30000")
            .set("partitioner", "murmur2_random");
        self.apply(&mut config, &self.producer);
        config
    }

    /// Of a client that only asks questions.
    pub(super) fn admin_config(&self) -> ClientConfig {
        let mut config = self.client("fleetwarden-admin");
        config.set("allow.auto.create.topics", "false");
        self.apply(&mut config, &Raw::default());
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn ours_are_defaults_and_the_users_win() {
        let text = "brokers = \"a:1\"\n[settings]\n\"security.protocol\" = \"ssl\"\n[consumer]\n\
                    \"fetch.min.bytes\" = 7\n\
                    \"session.timeout.ms\" = 30000\n[producer]\n\"linger.ms\" = 1\n\
                    \"enable.idempotence\" = true\n";
        let s = settings(text);
        let consumer = s.consumer_config("w");
        assert_eq!(consumer.get("auto.offset.reset"), Some("error"));
        assert_eq!(consumer.get("fetch.queue.backoff.ms"), Some("10"));
        assert_eq!(consumer.get("session.timeout.ms"), Some("30000"));
        assert_eq!(consumer.get("fetch.min.bytes"), Some("7"));
        assert_eq!(consumer.get("security.protocol"), Some("ssl"));
        let producer = s.producer_config("w");
        assert_eq!((producer.get("linger.ms"), producer.get("acks")), (Some("1"), Some("all")));
        assert_eq!(producer.get("fetch.min.bytes"), None);
        consumer.create_native_config().unwrap();
        producer.create_native_config().unwrap();
        s.admin_config().create_native_config().unwrap();
    }

    #[test]
    fn the_new_group_protocol_drops_settings_that_it_refuses() {
        let s = settings("brokers = \"a:1\"\n[consumer]\n\"group.protocol\" = \"consumer\"\n");
        let config = s.consumer_config("w");
        assert_eq!(config.get("session.timeout.ms"), None);
        assert_eq!(config.get("partition.assignment.strategy"), None);
    }

    #[test]
    fn what_would_break_a_promise_is_refused() {
        for (key, _) in RESERVED {
            assert!(check(key, "true").is_err(), "{key}");
        }
        assert!(check("fetch.min.bytes", "100").is_ok());
        assert!(check("ssl.ca.location", "/x").is_ok());
        let unknown = check("fetch.min.bites", "100").unwrap_err();
        assert!(unknown.message.contains("fetch.min.bites"), "{unknown}");
    }

    #[test]
    fn values_are_never_printed() {
        let s = settings("brokers = \"a:1\"\n[settings]\n\"sasl.password\" = \"hunter2\"\n");
        assert!(!format!("{s:?}").contains("hunter2"));
        let refused = check("security.protocol", "hunter2").unwrap_err();
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}
