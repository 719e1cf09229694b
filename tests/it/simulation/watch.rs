//! What must never happen, looked at while it might.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetwarden::event::{PartitionId, Stamp, Told};
use fleetwarden::journal::Entry;

use super::journal::Writer;
use super::log::Log;
use super::world::Wire;

/// What is known of what has been done so far.
#[derive(Debug, Default)]
pub struct Watch {
    pub violations: Vec<String>,
    /// Per written checkpoint: what had been given out before it was cut.
    before: BTreeMap<Arc<str>, Vec<u64>>,
    /// Tickets of what has arrived.
    arrived: BTreeSet<u64>,
    /// Where reading began: the first that was committed, and of which topic.
    pub starts: BTreeMap<PartitionId, (i64, usize)>,
    read: BTreeSet<PartitionId>,
    /// From where in the journal an owner of that epoch read.
    pub journals: BTreeMap<(PartitionId, i64), i64>,
    /// What workers counted that are gone.
    pub divergence: u64,
    pub unknown_sets: u64,
}

impl Watch {
    pub fn broken(&mut self, what: String) {
        self.violations.push(what);
    }

    pub fn arrived(&mut self, ticket: u64) {
        self.arrived.insert(ticket);
    }

    /// Records of a partition are read, of this topic of its name.
    pub fn read(&mut self, partition: &PartitionId, topic: usize) {
        if self.read.insert(partition.clone())
            && let Some(start) = self.starts.get_mut(partition)
        {
            start.1 = topic;
        }
    }

    /// A checkpoint lies in the store.
    pub fn written(&mut self, name: &Arc<str>, before: Vec<u64>) {
        self.before.insert(name.clone(), before);
    }

    /// The group has accepted a commit.
    pub fn committed(&mut self, writer: Writer, owner: Option<Writer>, wire: &Wire, topic: usize) {
        if owner != Some(writer) {
            self.broken(format!("{} was committed by {writer:?}, and is {owner:?}'s", wire.partition));
        }
        self.starts.entry(wire.partition.clone()).or_insert((wire.next_offset, topic));
        self.journals.entry((wire.partition.clone(), wire.root.epoch)).or_insert(wire.root.journal);
        let Some(name) = &wire.root.checkpoint else { return };
        let before = self.before.get(name).into_iter().flatten();
        let missing: Vec<&u64> = before.filter(|ticket| !self.arrived.contains(ticket)).collect();
        if !missing.is_empty() {
            self.broken(format!("{name} was published before its outputs {missing:?} were written"));
        }
    }

    /// Something is said; of a tick, at which time the broker was asked whether there is more.
    pub fn said(&mut self, stamp: &Stamp, entry: &Entry, log: &Log, asked: Option<i64>) {
        if let (Entry::Told { at, told: Told::Tick(now) }, Some(asked)) = (entry, asked)
            && log.had(*at, asked)
        {
            self.broken(format!("{} was told {now:?} at {at}, and had records left", stamp.source));
        }
    }
}
