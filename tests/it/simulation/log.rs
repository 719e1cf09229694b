//! The topics that are read: partitions that grow, lose their beginning, stall, or are made anew.

use std::collections::BTreeMap;

use fleetwarden::event::{PartitionId, Timestamp};

/// One record as the broker keeps it.
#[derive(Clone, Debug)]
pub struct Kept {
    pub broker_time: i64,
    /// When the broker took it.
    pub taken: i64,
    pub payload: Vec<u8>,
}

/// One partition of a source topic.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// What each topic of this name held: the last one is there now.
    pub topics: Vec<Vec<Kept>>,
    pub oldest: i64,
    /// Until then its leader does not answer.
    pub stalled: i64,
    /// When the topic was made anew last; 0: never.
    pub made: i64,
    /// What was read of it may be nobody's truth any more: it was cut short, or it was made anew while the
    /// checkpoint that knew it was lost, and an older one knows no record of it.
    pub is_untold: bool,
}

/// All of them.
pub type Logs = BTreeMap<PartitionId, Log>;

impl Log {
    pub fn new() -> Log {
        Log { topics: vec![Vec::new()], ..Log::default() }
    }

    /// Which topic of this name it is.
    pub fn topic(&self) -> usize {
        self.topics.len() - 1
    }

    pub fn end(&self) -> i64 {
        self.topics.last().map_or(0, Vec::len) as i64
    }

    pub fn push(&mut self, kept: Kept) {
        if let Some(topic) = self.topics.last_mut() {
            topic.push(kept);
        }
    }

    /// A topic of this name is made anew.
    pub fn recreate(&mut self, now: i64) {
        self.made = now;
        self.topics.push(Vec::new());
        self.oldest = 0;
    }

    /// A leader that did not have everything took over: the last records are gone.
    pub fn cut(&mut self, records: usize) {
        let mut kept = self.topics.last().cloned().unwrap_or_default();
        kept.truncate(kept.len().saturating_sub(records).max(self.oldest as usize));
        self.topics.push(kept);
        self.is_untold = true;
    }

    /// Whether a record at or behind this offset had been taken by then.
    pub fn had(&self, offset: i64, by: i64) -> bool {
        let records = self.topics.last().into_iter().flatten();
        records.skip(offset.max(0) as usize).any(|kept| kept.taken < by)
    }

    pub fn get(&self, topic: usize, offset: i64) -> Option<(i64, Timestamp, &[u8])> {
        let kept = self.topics.get(topic)?.get(usize::try_from(offset).ok()?)?;
        Some((offset, Timestamp(kept.broker_time), &kept.payload))
    }
}
