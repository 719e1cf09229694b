//! Looks, while reading is stopped, how much comes to wait in Kafka: on a thread of its own, so that no worker
//! waits for the answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::event::PartitionId;
use crate::kafka::{Ends, Error, Settings, Topics};
use crate::metrics::Status;

/// How often it looks.
const OFTEN: Duration = Duration::from_secs(5);

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How soon it ends when everything does.
const GLANCE: Duration = Duration::from_millis(100);

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Backlog(Mutex<BTreeMap<PartitionId, i64>>);

impl Backlog {
    /// Starts looking, until `stop`.
    pub fn watch(
        settings: Arc<Settings>,
        topics: Arc<Topics>,
        statuses: Vec<Arc<Mutex<Status>>>,
        stop: Arc<AtomicBool>,
    ) -> Result<Arc<Backlog>, Error> {
        let backlog: Arc<Backlog> = Arc::default();
        let seen = backlog.clone();
        let looking = move || {
            let (mut ends, mut next) = (None, Instant::now());
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(GLANCE);
                if Instant::now() < next {
                    continue;
                }
                let held = held(&statuses);
                if let Err(error) = seen.look(&mut ends, &held, &settings, &topics, &stop) {
                    tracing::debug!("how much waits in Kafka is not known: {error}");
                }
                next = Instant::now() + OFTEN;
            }
        };
        let spawned = std::thread::Builder::new().name("backlog".into()).spawn(looking);
        spawned.map_err(|error| Error::new(format!("cannot start a thread: {error}")))?;
        Ok(backlog)
    }

    /// Asks for the end of each partition. The client is made when it is needed first: mostly never.
    fn look(
        &self,
        ends: &mut Option<Ends>,
        held: &[PartitionId],
        settings: &Settings,
        topics: &Arc<Topics>,
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        let mut seen = BTreeMap::new();
        if !held.is_empty() {
            let ends = match ends {
                Some(ends) => ends,
                None => ends.insert(Ends::open(settings, topics)?),
            };
            for partition in held.iter().take_while(|_| !stop.load(Ordering::Relaxed)) {
                seen.insert(partition.clone(), ends.end(partition, PATIENCE)?);
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }

    /// Corrects the ends that a worker saw before its reading was stopped.
    pub fn correct(&self, status: &mut Status) {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (partition, reading) in &mut status.partitions {
            if let Some(end) = seen.get(partition) {
                reading.end = reading.end.max(Some(*end));
            }
        }
    }
}

/// The partitions of workers whose reading is stopped.
fn held(statuses: &[Arc<Mutex<Status>>]) -> Vec<PartitionId> {
    let mut held = Vec::new();
    for status in statuses {
        let status = status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.held_since.is_some() {
            held.extend(status.partitions.keys().cloned());
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;
    use crate::metrics::Reading;

    #[test]
    fn only_what_is_not_read_is_looked_at_and_an_end_never_falls() {
        let id = |index| PartitionId { stream: "s".into(), index };
        let reading = |end| Reading { stuck_since: None, next_offset: Some(5), end };
        let partitions = [(id(0), reading(Some(9))), (id(1), reading(None)), (id(2), reading(Some(30)))];
        let mut status = Status { partitions: partitions.into(), ..Status::default() };
        let shared = Arc::new(Mutex::new(status.clone()));
        assert_eq!(held(std::slice::from_ref(&shared)), []);
        shared.lock().unwrap().held_since = Some(Timestamp(1));
        assert_eq!(held(&[shared]), [id(0), id(1), id(2)]);
        let backlog = Backlog(Mutex::new([(id(0), 20), (id(1), 7), (id(2), 20)].into()));
        backlog.correct(&mut status);
        let ends: Vec<Option<u64>> = status.partitions.values().map(Reading::lag).collect();
        assert_eq!(ends, [Some(15), Some(2), Some(25)]);
    }
}
