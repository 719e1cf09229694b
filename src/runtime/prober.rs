//! Looks, on a thread of its own, whether partitions that seem idle have no more records: their windows are
//! closed by the clock only then. A broker that hangs looks exactly like one that has nothing to say, unless it
//! is asked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::keeper::Answer;
use crate::event::{PartitionId, Timestamp};
use crate::kafka::{Error, Probe, Settings, Topics};

/// How long an answer may take: later, it would say too little about now.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A question.
#[derive(Debug)]
pub struct Wanted {
    /// The partition.
    pub partition: PartitionId,
    /// The offset at which there should be nothing.
    pub next_offset: i64,
    /// When it was asked.
    pub asked: Timestamp,
    /// Where the answer goes.
    pub back: Sender<Answer>,
}

/// The thread; ends with its last question.
pub struct Prober(Sender<Wanted>);

impl Prober {
    /// Starts it. The client is made when it is needed first.
    pub fn start(settings: Arc<Settings>, topics: Arc<Topics>) -> Result<Prober, Error> {
        let (wanted, questions) = channel();
        let work = move || answer(&questions, &settings, &topics);
        let spawned = std::thread::Builder::new().name("prober".into()).spawn(work);
        spawned.map_err(|error| Error::new(format!("cannot start a thread: {error}")))?;
        Ok(Prober(wanted))
    }

    /// Asks; there is an answer only if there is no record.
    pub fn ask(&self, wanted: Wanted) {
        // The thread ends only with this sender.
        drop(self.0.send(wanted));
    }
}

fn answer(questions: &Receiver<Wanted>, settings: &Settings, topics: &Arc<Topics>) {
    let mut probe: Option<Probe> = None;
    let mut waiting: Vec<Wanted> = Vec::new();
    loop {
        if waiting.is_empty() {
            match questions.recv() {
                Ok(first) => waiting.push(first),
                Err(_) => return,
            }
        }
        waiting.extend(questions.try_iter());
        // The client library tells the number of a partition that has ended, and not its topic.
        let mut numbers = BTreeSet::new();
        let (now, later): (Vec<Wanted>, Vec<Wanted>) =
            waiting.drain(..).partition(|wanted| numbers.insert(wanted.partition.index));
        waiting = later;
        if probe.is_none() {
            probe = Probe::open(settings, topics)
                .inspect_err(|error| tracing::error!("idle partitions cannot be looked at: {error}"))
                .ok();
        }
        let Some(open) = &probe else { continue };
        let asked: Vec<(PartitionId, i64)> =
            now.iter().map(|wanted| (wanted.partition.clone(), wanted.next_offset)).collect();
        match open.ended(&asked, PATIENCE) {
            Ok(ended) => {
                for Wanted { partition, next_offset, asked, back } in now {
                    if ended.contains(&partition) {
                        drop(back.send(Answer::AtEnd { partition, next_offset, asked }));
                    }
                }
            }
            Err(error) => {
                tracing::warn!("idle partitions could not be looked at: {error}");
                probe = None;
            }
        }
    }
}
