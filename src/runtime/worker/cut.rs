//! When the state of a partition is saved, and what may be committed of it: a cut is published once everything
//! that was handed out before it has been written.

use std::sync::Arc;

use super::partition::{Cut, Partition};
use super::{Action, Worker};
use crate::event::{PartitionId, Root, Timestamp};

/// Bytes of state that are taken out at once: some milliseconds' work.
const SLICE: usize = 1 << 20;

/// Partitions are not all saved at the same moment: in so many slots of the interval.
const SLOTS: i64 = 16;

impl Worker {
    pub(super) fn clock(&mut self, wall: Timestamp, actions: &mut Vec<Action>) {
        self.wall = self.wall.max(wall);
        self.claim_again(wall, actions);
        self.tell_time(wall, actions);
        // One at a time: what is saved is taken out on this thread.
        if let Some(source) = self.first(|partition| partition.next_cut <= wall) {
            let next = wall.plus(self.habits.save_every);
            let cut = self.cut(source, actions);
            if let Some(partition) = self.at(source).filter(|partition| cut || partition.cut.is_none()) {
                partition.next_cut = next;
            }
        }
    }

    /// When a partition is saved first.
    pub(super) fn first_cut(&self, source: usize) -> Timestamp {
        let slot = (source as i64 % SLOTS + 1) * (self.habits.save_every / SLOTS);
        Timestamp(self.wall.0.saturating_add(slot))
    }

    pub(super) fn farewell(&mut self, actions: &mut Vec<Action>) {
        for source in self.owned_sources() {
            self.cut(source, actions);
        }
    }

    /// Has a partition saved, if there is anything new to save and it is the time for it. False: not now.
    fn cut(&mut self, source: usize, actions: &mut Vec<Action>) -> bool {
        let Some(partition) = self.at(source) else { return false };
        let here = (partition.seq, partition.next_offset);
        // What is told but not written belongs to neither side; what is gone through again is not ours alone.
        let fits = partition.cut.is_none() && !partition.is_waiting() && !partition.is_replaying();
        if !fits || partition.tenure == 0 || partition.last_cut == here {
            return false;
        }
        partition.last_cut = here;
        partition.cut = Some(Cut {
            next_offset: partition.next_offset,
            previous: partition.previous,
            stream_time: partition.stream_time,
            seq: partition.seq,
            below: partition.journal,
            journal: partition.journal,
            handed_out: false,
            name: None,
            committing: false,
        });
        self.slice(source, actions);
        true
    }

    /// Whether some state is being taken out, and waits to be gone on with.
    pub fn is_saving(&self) -> bool {
        self.owned().any(|partition| partition.pipeline.is_saving())
    }

    /// Goes on taking out what is being saved.
    pub(super) fn slices(&mut self, actions: &mut Vec<Action>) {
        if let Some(source) = self.first(|partition| partition.pipeline.is_saving()) {
            self.slice(source, actions);
        }
    }

    /// Takes out a part of a partition's state, so little that nobody waits for it; all of it is handed out.
    fn slice(&mut self, source: usize, actions: &mut Vec<Action>) {
        let sources = self.sources.clone();
        let Some(partition) = self.at(source) else { return };
        let Some(cut) = partition.cut.as_mut().filter(|cut| !cut.handed_out) else { return };
        let Some(mut saved) = partition.pipeline.save_some(&sources, &mut { SLICE }) else { return };
        cut.handed_out = true;
        (saved.epoch, saved.journal) = (partition.epoch, cut.below);
        (saved.next_offset, saved.previous) = (cut.next_offset, cut.previous);
        saved.stream_time = cut.stream_time;
        actions.push(Action::Save { tenure: partition.tenure, cut: Box::new(saved) });
    }

    pub(super) fn saved(
        &mut self,
        id: &PartitionId,
        tenure: u64,
        name: Option<Arc<str>>,
        actions: &mut Vec<Action>,
    ) {
        let Some((source, partition)) = self.ours(id, tenure) else { return };
        match (&mut partition.cut, name) {
            (Some(cut), Some(name)) => cut.name = Some(name),
            // The one before stays what it is, and the next attempt comes at its time.
            (cut, _) => *cut = None,
        }
        self.publish_cut(source, actions);
    }

    /// Commits a cut once it is written, and everything that was handed out before it.
    pub(super) fn publish_cut(&mut self, source: usize, actions: &mut Vec<Action>) {
        let Some(id) = self.sources.get(source).cloned() else { return };
        let Some(partition) = self.at(source) else { return };
        let open = partition.outstanding.first().copied();
        let (tenure, epoch) = (partition.tenure, partition.epoch);
        let Some(cut) = partition.cut.as_mut().filter(|cut| !cut.committing) else { return };
        if let Some(name) = &cut.name
            && open.is_none_or(|open| open > cut.seq)
        {
            cut.committing = true;
            let root = Root { checkpoint: Some(name.clone()), journal: cut.journal, epoch };
            let next_offset = cut.next_offset;
            actions.push(Action::Commit { partition: id, tenure, next_offset, root });
        }
    }

    /// What the group says to a commit.
    pub(super) fn committed(
        &mut self,
        id: &PartitionId,
        tenure: u64,
        accepted: bool,
        actions: &mut Vec<Action>,
    ) {
        if self.proven(id, tenure, accepted, actions) {
            return;
        }
        let Some((_, partition)) = self.ours(id, tenure) else { return };
        let Some(cut) = partition.cut.take_if(|cut| cut.committing) else { return };
        match cut.name.filter(|_| accepted) {
            Some(name) => {
                partition.counters.committed = cut.next_offset;
                actions.push(Action::Published(id.clone(), name));
            }
            // If the group has put us out, it will say so; if not, the next cut is tried as this one was.
            None => partition.last_cut = (0, i64::MIN),
        }
    }
}

impl Partition {
    /// Something that was handed out has been written.
    pub(super) fn wrote(&mut self, seq: u64, at: Option<i64>) {
        self.outstanding.remove(&seq);
        let Some(behind) = at.map(|at| at + 1) else { return };
        self.journal = self.journal.max(behind);
        if let Some(cut) = self.cut.as_mut().filter(|cut| seq <= cut.seq) {
            cut.journal = cut.journal.max(behind);
        }
    }
}
