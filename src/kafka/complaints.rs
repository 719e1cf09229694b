//! What the way to Kafka complains of, said once a minute for each kind, however many clients see it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{explain, security};

/// How long a kind of complaint is kept quiet after it has been said.
const QUIET: Duration = Duration::from_secs(60);

/// Shared by all clients of a process.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By kind: when it was said last, and how often it was not said since.
    said: HashMap<String, (Instant, u64)>,
    down: bool,
}

impl Complaints {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error of the client library; `reason` is its longer text.
    pub(super) fn about(&self, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // What the loop deals with, and says itself.
            Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AutoOffsetReset) => return,
            Some(RDKafkaErrorCode::AllBrokersDown) => self.state().down = true,
            _ => {}
        }
        match security::explain(reason) {
            Some(known) => self.say(&known.message, &format!("{}; {reason}", known.hint)),
            None => self.say(&kind(error), reason),
        }
    }

    /// Something else.
    pub(super) fn say(&self, kind: &str, reason: &str) {
        if let Some(unsaid) = self.due(kind, Instant::now()) {
            let more = if unsaid > 0 { format!(" ({unsaid} more in between)") } else { String::new() };
            tracing::error!(target: "kafka", "Kafka: {kind}: {reason}{more}");
        }
    }

    /// How many were not said, if it is time to say one.
    fn due(&self, kind: &str, now: Instant) -> Option<u64> {
        let mut state = self.state();
        match state.said.get_mut(kind) {
            Some((at, unsaid)) if now.duration_since(*at) < QUIET => {
                *unsaid += 1;
                None
            }
            _ => state.said.insert(kind.to_string(), (now, 0)).map_or(Some(0), |(_, unsaid)| Some(unsaid)),
        }
    }

    /// Some broker answers.
    pub(super) fn over(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.down) {
            // The next outage is to be said at once.
            state.said.clear();
            tracing::info!(target: "kafka", "Kafka answers again");
        }
    }
}

/// The kind of an error: its code, in words.
pub(super) fn kind(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), explain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_said_once_a_minute() {
        let complaints = Complaints::default();
        let now = Instant::now();
        assert_eq!(complaints.due("a", now), Some(0));
        assert_eq!(complaints.due("a", now), None);
        assert_eq!(complaints.due("b", now), Some(0));
        assert_eq!(complaints.due("a", now + QUIET / 2), None);
        assert_eq!(complaints.due("a", now + QUIET), Some(2));
        let down = KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
        complaints.about(&down, "1/1 brokers are down");
        complaints.over();
        assert_eq!(complaints.due("a", now + QUIET), Some(0), "an outage that is over is forgotten");
    }
}
