//! The topic of the journal: made if it is missing, else checked for what could lose entries.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataTopic;

use super::{Cluster, Error, GLANCE, PATIENCE, explain};

/// How many partitions it gets. Too few: with many workers, appends wait for one leader; too many: taking over
/// reads more small pieces.
const PARTITIONS: i32 = 4;

/// What it gets: a week, so that a sink may be away over a long weekend. The entries of one batch stay well
/// below the size.
const RETENTION: &str = "604800000";
const BYTES: &str = "8388608";

/// What it must have at least: a day, and the longest entry.
const LEAST_RETENTION: i64 = 86_400_000;
const LEAST_BYTES: i64 = 2 << 20;

/// How many copies there are when one asks for as many as are usual.
const REPLICAS: usize = 3;

/// Settings of a topic, as the cluster tells them.
type Config = BTreeMap<String, String>;

/// A setting that is wrong, in words; what to set; and whether it can lose entries.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    what: String,
    set: &'static str,
    loses: bool,
}

impl Cluster<'_> {
    /// Makes the journal's topic, or checks it. Gives the number of its partitions. An error says which settings
    /// could lose entries, with the command that mends them; lesser faults are warned of.
    pub fn ensure_journal(&self, topic: &str) -> Result<i32, Error> {
        if self.partitions(topic)?.is_none() {
            return self.make_journal(topic);
        }
        let metadata = self.metadata(topic)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let (count, replicas) = found.map_or((0, 0), copies);
        match self.config(topic) {
            Ok(config) => self.judge(topic, &faults(&config, replicas))?,
            Err(why) => tracing::warn!(
                "whether the journal \"{topic}\" can lose entries is not known, since its settings cannot be \
                 read: {why}"
            ),
        }
        Ok(count)
    }

    fn make_journal(&self, topic: &str) -> Result<i32, Error> {
        let metadata = self.metadata(topic)?;
        let replicas = metadata.brokers().len().clamp(1, REPLICAS);
        let in_sync = if replicas < REPLICAS { "1" } else { "2" };
        let settings = [
            ("cleanup.policy", "delete"),
            ("max.message.bytes", BYTES),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.insync.replicas", in_sync),
            ("retention.ms", RETENTION),
        ];
        let fixed = TopicReplication::Fixed(i32::try_from(replicas).unwrap_or(1));
        let wanted = settings
            .iter()
            .fold(NewTopic::new(topic, PARTITIONS, fixed), |wanted, (key, value)| wanted.set(key, value));
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let why = match self.run(self.client.create_topics([&wanted], &options)) {
            Ok(results) => match results.into_iter().next() {
                Some(Ok(_)) => {
                    tracing::info!(
                        "created topic \"{topic}\" for the journal: {PARTITIONS} partitions, {replicas} \
                         replicas"
                    );
                    return Ok(PARTITIONS);
                }
                // Another process was faster.
                Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => return self.there(topic),
                Some(Err((_, code))) => explain(code),
                None => "no answer".into(),
            },
            Err(error) => error.rdkafka_error_code().map_or_else(|| error.to_string(), explain),
        };
        if self.asked_into_being(topic)? {
            return self.there(topic);
        }
        let configs: Vec<String> =
            settings.iter().map(|(key, value)| format!("--config {key}={value}")).collect();
        let message = format!("the journal \"{topic}\" does not exist and cannot be created: {why}");
        Err(Error::new(message).hint(format!(
            "kafka-topics.sh --bootstrap-server {} --create --topic {topic} --partitions {PARTITIONS} \
             --replication-factor {replicas} {}",
            self.settings.brokers,
            configs.join(" ")
        )))
    }

    /// How many partitions a topic has that somebody has just made: brokers hear of it one after another.
    fn there(&self, topic: &str) -> Result<i32, Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.partitions(topic);
            if let Ok(Some(count)) = found {
                return Ok(i32::try_from(count).unwrap_or(i32::MAX));
            }
            if Instant::now() >= end {
                let message = format!("the journal \"{topic}\" was made, but brokers do not show it");
                return Err(found.err().unwrap_or_else(|| Error::new(message).hint("start again")));
            }
            self.scout.poll(GLANCE / 10);
        }
    }

    fn config(&self, topic: &str) -> Result<Config, String> {
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
        let wanted = [ResourceSpecifier::Topic(topic)];
        let said = self.run(self.client.describe_configs(&wanted, &options));
        let described = said.map_err(|error| error.to_string())?.into_iter().next();
        let resource = described.ok_or("no answer")?.map_err(explain)?;
        let pairs = resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
        Ok(pairs.collect())
    }

    fn judge(&self, topic: &str, faults: &[Fault]) -> Result<(), Error> {
        let command = |faults: &[&Fault]| {
            let set: Vec<&str> = faults.iter().map(|fault| fault.set).collect();
            format!(
                "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {topic} \
                 --add-config {}",
                self.settings.brokers,
                set.join(",")
            )
        };
        let told = |faults: &[&Fault]| {
            let all: Vec<&str> = faults.iter().map(|fault| fault.what.as_str()).collect();
            Error::new(format!("the journal \"{topic}\": {}", all.join("; "))).hint(command(faults))
        };
        let (bad, lesser): (Vec<&Fault>, Vec<&Fault>) = faults.iter().partition(|fault| fault.loses);
        if !lesser.is_empty() {
            tracing::warn!("{}", told(&lesser));
        }
        if bad.is_empty() { Ok(()) } else { Err(told(&bad)) }
    }
}

/// How many partitions a topic has, and how many copies of each there are at least.
fn copies(topic: &MetadataTopic) -> (i32, usize) {
    let partitions = topic.partitions();
    let replicas = partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
    (i32::try_from(partitions.len()).unwrap_or(i32::MAX), replicas)
}

/// What is wrong with a topic of so many copies. What the cluster does not tell is taken as right.
fn faults(config: &Config, replicas: usize) -> Vec<Fault> {
    let text = |key: &str| config.get(key).map(String::as_str);
    let number = |key: &str| text(key).and_then(|value| value.parse::<i64>().ok());
    let mut all = Vec::new();
    let mut fault = |loses: bool, set: &'static str, what: String| all.push(Fault { what, set, loses });
    if text("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        let what = "it is compacted, which keeps one entry of each partition alone";
        fault(true, "cleanup.policy=delete", what.into());
    }
    if let Some(kept) = number("retention.ms").filter(|ms| (0..LEAST_RETENTION).contains(ms)) {
        let what = format!(
            "it keeps entries for {} minutes: a sink or a process that is away for longer misses some",
            kept / 60_000
        );
        fault(true, "retention.ms=604800000", what);
    }
    if let Some(bytes) = number("retention.bytes").filter(|bytes| *bytes >= 0) {
        let what = format!("it keeps {bytes} bytes of each partition, however new they are");
        fault(false, "retention.bytes=-1", what);
    }
    if let Some(bytes) = number("max.message.bytes").filter(|bytes| *bytes < LEAST_BYTES) {
        let what = format!("it takes entries of {bytes} bytes at most, and longer ones stop their worker");
        fault(true, "max.message.bytes=8388608", what);
    }
    match number("min.insync.replicas") {
        Some(..=1) if replicas >= REPLICAS => {
            let what = format!(
                "an entry counts as written when one of {replicas} replicas has it, and is lost with that one"
            );
            fault(true, "min.insync.replicas=2", what);
        }
        Some(wanted) if i64::try_from(replicas).is_ok_and(|replicas| 0 < replicas && replicas < wanted) => {
            let what =
                format!("it asks for {wanted} replicas in sync and has {replicas}: nothing can be written");
            fault(true, "min.insync.replicas=1", what);
        }
        _ => {}
    }
    if text("unclean.leader.election.enable") == Some("true") {
        let what = "a replica that lacks entries may become its leader";
        fault(true, "unclean.leader.election.enable=false", what.into());
    }
    if text("message.timestamp.type") == Some("CreateTime") {
        let what = "it is CreateTime: a process whose clock is wrong decides how long its entries are kept";
        fault(false, "message.timestamp.type=LogAppendTime", what.into());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::super::Settings;
    use super::super::super::mock::Mock;
    use super::*;

    fn config(changes: &[(&str, &str)]) -> Config {
        let good = [
            ("cleanup.policy", "delete"),
            ("max.message.bytes", "8388608"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.insync.replicas", "2"),
            ("retention.ms", "604800000"),
            ("retention.bytes", "-1"),
            ("unclean.leader.election.enable", "false"),
        ];
        let pairs = good.iter().chain(changes).map(|(key, value)| (key.to_string(), value.to_string()));
        pairs.collect()
    }

    fn of(key: &str, value: &str, replicas: usize) -> Vec<(&'static str, bool)> {
        faults(&config(&[(key, value)]), replicas).iter().map(|fault| (fault.set, fault.loses)).collect()
    }

    #[test]
    fn what_can_lose_entries_is_refused_and_the_rest_is_told() {
        assert_eq!(faults(&config(&[]), 3), []);
        assert_eq!(faults(&Config::new(), 3), [], "a cluster that tells nothing");
        assert_eq!(of("cleanup.policy", "compact,delete", 3), [("cleanup.policy=delete", true)]);
        assert_eq!(of("retention.ms", "86399999", 3), [("retention.ms=604800000", true)]);
        assert_eq!(of("retention.ms", "86400000", 3), []);
        assert_eq!(of("retention.ms", "-1", 3), []);
        assert_eq!(of("retention.bytes", "1000", 3), [("retention.bytes=-1", false)]);
        assert_eq!(of("max.message.bytes", "1048588", 3), [("max.message.bytes=8388608", true)]);
        assert_eq!(of("max.message.bytes", "2097152", 3), []);
        assert_eq!(of("min.insync.replicas", "1", 3), [("min.insync.replicas=2", true)]);
        assert_eq!(of("min.insync.replicas", "1", 1), []);
        assert_eq!(of("min.insync.replicas", "2", 1), [("min.insync.replicas=1", true)]);
        let unclean = [("unclean.leader.election.enable=false", true)];
        assert_eq!(of("unclean.leader.election.enable", "true", 3), unclean);
        let clock = [("message.timestamp.type=LogAppendTime", false)];
        assert_eq!(of("message.timestamp.type", "CreateTime", 3), clock);
    }

    #[test]
    fn one_command_mends_all() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let settings = Settings::new("k:9092");
        let cluster = Cluster::open(&settings, runtime.handle()).unwrap();
        let config = config(&[("cleanup.policy", "compact"), ("retention.ms", "60000")]);
        let error = cluster.judge("j", &faults(&config, 3)).unwrap_err();
        assert!(error.message.starts_with("the journal \"j\": it is compacted"), "{error}");
        assert!(error.message.contains("; it keeps entries for 1 minutes"), "{error}");
        assert_eq!(
            error.hint,
            "kafka-configs.sh --bootstrap-server k:9092 --alter --entity-type topics --entity-name j \
             --add-config cleanup.policy=delete,retention.ms=604800000"
        );
        assert_eq!(cluster.judge("j", &faults(&super::tests::config(&[]), 3)), Ok(()));
    }

    #[test]
    fn it_is_made_once_and_counted() {
        let mock = Mock::start().unwrap();
        mock.create_topic("mine", 7).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let settings = Settings::new(mock.brokers());
        let cluster = Cluster::open(&settings, runtime.handle()).unwrap();
        assert_eq!(cluster.ensure_journal("mine"), Ok(7));
        let made = cluster.ensure_journal("fleetwarden.journal").unwrap();
        assert!(made > 0);
        assert_eq!(cluster.ensure_journal("fleetwarden.journal"), Ok(made));
    }

    #[test]
    fn one_that_somebody_else_is_making_is_waited_for() {
        let mock = Mock::start().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let settings = Settings::new(mock.brokers());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| Cluster::open(&settings, runtime.handle()).unwrap().there("theirs"));
            mock.create_topic("theirs", 3).unwrap();
            assert_eq!(waits.join().unwrap(), Ok(3));
        });
    }
}
