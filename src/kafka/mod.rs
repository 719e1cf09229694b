//! The only home of rdkafka: settings, checks of topics, the consumer of a worker, the producer of dead
//! letters.
//!
//! Nothing here reads a clock or decides when to do something: `runtime/thread.rs` does.

mod commit;
pub mod complaints;
pub mod consumer;
pub mod ends;
pub mod excerpt;
pub mod feed;
pub mod ledger;
pub mod letter;
pub mod mock;
pub mod probe;
pub mod producer;
pub mod reader;
pub mod root;
pub mod scout;
pub mod security;
pub mod settings;
mod silent;
pub mod tail;
pub mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;

pub use complaints::Complaints;
pub use consumer::{Committed, Consumer, Message, Note, Polled};
pub use ends::Ends;
pub use excerpt::{Excerpt, Part, Taken};
pub use ledger::Ledger;
pub use letter::Letter;
pub use probe::Probe;
pub use producer::{Outcome, Producer};
pub use reader::Reader;
pub use scout::Scout;
pub use security::{Mechanism, Sasl, Tls};
pub use settings::{MissingTopics, Raw, Settings, Start, Unplaced};
pub use tail::Tail;
pub use topics::{Cluster, TopicInfo};

use crate::event::PartitionId;

/// Something that Kafka, or the way to it, does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong, with the names that matter: lower case, no full stop, no secret.
    pub message: String,
    /// What mends it, perhaps a command; empty = nothing to say.
    pub hint: String,
}

impl Error {
    /// An error without advice.
    pub fn new(message: impl Into<String>) -> Error {
        Error { message: message.into(), hint: String::new() }
    }

    /// The same with advice.
    pub fn hint(self, hint: impl Into<String>) -> Error {
        Error { hint: hint.into(), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Which topic each stream is read from.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    topics: BTreeMap<Arc<str>, String>,
    streams: BTreeMap<String, Arc<str>>,
}

impl Topics {
    /// From (stream, topic) pairs. A topic that two streams read would make each record two events: an error.
    pub fn new(pairs: impl IntoIterator<Item = (Arc<str>, String)>) -> Result<Topics, Error> {
        let mut all = Topics::default();
        for (stream, topic) in pairs {
            if !is_topic_name(&topic) {
                let message = format!("stream \"{stream}\": \"{topic}\" cannot be the name of a topic");
                return Err(
                    Error::new(message).hint("letters, digits, dot, underscore and hyphen, at most 249")
                );
            }
            if let Some(other) = all.streams.insert(topic.clone(), stream.clone()) {
                let message = format!("streams \"{other}\" and \"{stream}\" both read topic \"{topic}\"");
                return Err(Error::new(message).hint("give one of them another topic, or enabled = false"));
            }
            all.topics.insert(stream, topic);
        }
        Ok(all)
    }

    /// Streams and their topics, by stream.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &str)> {
        self.topics.iter().map(|(stream, topic)| (stream, topic.as_str()))
    }

    /// The topic of a stream.
    pub fn topic(&self, stream: &str) -> Option<&str> {
        self.topics.get(stream).map(String::as_str)
    }

    /// The stream that reads a topic.
    pub fn stream(&self, topic: &str) -> Option<&Arc<str>> {
        self.streams.get(topic)
    }

    /// The partition that Kafka calls so; none for a topic that no stream reads.
    pub fn partition(&self, topic: &str, index: i32) -> Option<PartitionId> {
        self.stream(topic).map(|stream| PartitionId { stream: stream.clone(), index })
    }
}

/// Whether Kafka takes this as the name of a topic.
pub fn is_topic_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.chars().all(fits)
}

/// An error code as people read it.
fn explain(code: RDKafkaErrorCode) -> String {
    // Display is "CodeName (description)"; the description alone is what people look up.
    let text = code.to_string();
    match text.split_once(" (") {
        Some((_, tail)) => tail.trim_end_matches(')').to_string(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_belongs_to_one_stream() {
        let pairs = |list: &[(&str, &str)]| -> Vec<(Arc<str>, String)> {
            list.iter().map(|(s, t)| (Arc::from(*s), t.to_string())).collect()
        };
        let topics = Topics::new(pairs(&[("telemetry", "cars"), ("cloudtrail", "aws")])).unwrap();
        assert_eq!(topics.topic("telemetry"), Some("cars"));
        assert_eq!(topics.partition("aws", 3).unwrap().to_string(), "cloudtrail/3");
        assert_eq!(topics.partition("other", 3), None);
        assert!(Topics::new(pairs(&[("a", "t"), ("b", "t")])).unwrap_err().message.contains("both read"));
        assert!(Topics::new(pairs(&[("a", "no spaces")])).is_err());
    }

    #[test]
    fn codes_read_like_sentences() {
        assert_eq!(explain(RDKafkaErrorCode::OffsetOutOfRange), "Broker: Offset out of range");
    }
}
