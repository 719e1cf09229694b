//! How a partition becomes ours: a claim, whose offset in the journal is the epoch; a commit, by which the
//! group says whether we are its member still; an opening, from which on readers believe us; then its past.
//!
//! A claim alone proves nothing: one that a stalled process wrote may arrive after its successor's. A stalled
//! process cannot commit, so it never opens, and nobody notices it.

use std::collections::BTreeSet;

use super::partition::{Held, Partition, Past, Replay};
use super::{Action, Worker, add_rules};
use crate::event::{Micros, PartitionId, Root, Stamp, Timestamp, Told, time::SECOND};
use crate::journal::Entry;
use crate::pipeline::Pipeline;

/// How long one waits before a partition that could not be taken over is claimed again.
const AGAIN: Micros = SECOND / 2;

/// A partition that the group has given us, and that is not ours yet.
pub(super) struct Coming {
    tenure: u64,
    epoch: i64,
    next_offset: i64,
    root: Root,
    /// The place of its opening in the journal.
    opened: i64,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Its claim is being written.
    Claim,
    /// What the group has committed is being asked.
    Root,
    /// The group is being asked whether we own it.
    Proof,
    /// Its opening is being written.
    Open,
    /// Its past is being read.
    Load,
    /// It is claimed again at this time.
    Again(Timestamp),
}

impl Worker {
    /// A partition of a file.
    pub(super) fn given(&mut self, id: &PartitionId, next_offset: i64) {
        let source = usize::from(self.source(id));
        let rules = self.sets.wanted();
        let runs = self.runs(&rules, &id.stream);
        let pipeline = Pipeline::new(id.clone(), false, &rules, &runs, &self.limits);
        let mut partition = Partition::new(0, 0, pipeline, next_offset);
        partition.set = Some(rules.hash);
        // Nothing of a file is ever saved.
        partition.next_cut = Timestamp(i64::MAX);
        if let Some(place) = self.partitions.get_mut(source) {
            *place = Some(Held::Owned(Box::new(partition)));
        }
    }

    pub(super) fn assigned(&mut self, id: &PartitionId, actions: &mut Vec<Action>) {
        self.revoked(id, &mut Vec::new());
        let source = usize::from(self.source(id));
        self.tenures += 1;
        let tenure = self.tenures;
        let root = Root { checkpoint: None, journal: 0, epoch: 0 };
        let coming = Coming { tenure, epoch: -1, next_offset: 0, root, opened: -1, step: Step::Claim };
        if let Some(place) = self.partitions.get_mut(source) {
            *place = Some(Held::Coming(coming));
            let stamp = Stamp { source: id.clone(), epoch: -1, seq: tenure };
            actions.push(Action::Append(stamp, Entry::Claim));
        }
    }

    pub(super) fn revoked(&mut self, id: &PartitionId, actions: &mut Vec<Action>) {
        let Some(gone) = self.held(id).and_then(|(_, place)| place.take()) else { return };
        if let Held::Owned(gone) = gone {
            let counters = self.totals.partitions.entry(id.clone()).or_default();
            counters.add(&gone.counters);
            add_rules(&mut self.totals.rules, &gone.pipeline);
            self.forget_sets();
        }
        actions.push(Action::Forget(id.clone()));
    }

    /// Drops what it knows of a partition, and claims it anew: what is said of it by then is not ours.
    pub(super) fn restart(&mut self, id: &PartitionId, actions: &mut Vec<Action>) {
        self.revoked(id, actions);
        self.assigned(id, actions);
    }

    /// The same a little later, since at once it would likely fail as before.
    fn postpone(&mut self, id: &PartitionId, actions: &mut Vec<Action>) {
        let again = Step::Again(self.wall.plus(AGAIN));
        if let Some((_, Some(Held::Coming(coming)))) = self.held(id) {
            coming.step = again;
            actions.push(Action::Forget(id.clone()));
        }
    }

    /// Claims again what is due for it.
    pub(super) fn claim_again(&mut self, wall: Timestamp, actions: &mut Vec<Action>) {
        let is_due = |step: Step| matches!(step, Step::Again(due) if due <= wall);
        let due = |held: &Option<Held>| matches!(held, Some(Held::Coming(it)) if is_due(it.step));
        let all = self.sources.iter().zip(&self.partitions);
        let due: Vec<PartitionId> = all.filter(|(_, held)| due(held)).map(|(id, _)| id.clone()).collect();
        due.iter().for_each(|id| self.assigned(id, actions));
    }

    fn coming(&mut self, id: &PartitionId, tenure: u64, step: Step) -> Option<&mut Coming> {
        match self.held(id)?.1 {
            Some(Held::Coming(coming)) if coming.tenure == tenure && coming.step == step => Some(coming),
            _ => None,
        }
    }

    /// A claim or an opening has been written. False: it was neither.
    pub(super) fn advanced(&mut self, stamp: &Stamp, at: i64, actions: &mut Vec<Action>) -> bool {
        let id = &stamp.source;
        if stamp.epoch == -1 {
            if let Some(coming) = self.coming(id, stamp.seq, Step::Claim) {
                coming.epoch = at;
                coming.step = Step::Root;
                actions.push(Action::FindRoot { partition: id.clone(), tenure: stamp.seq });
            }
            return true;
        }
        let Some((_, Some(Held::Coming(coming)))) = self.held(id) else { return false };
        if coming.step == Step::Open && coming.epoch == stamp.epoch {
            coming.step = Step::Load;
            coming.opened = at;
            let (tenure, root) = (coming.tenure, coming.root.clone());
            actions.push(Action::Load { partition: id.clone(), tenure, root, until: at });
        }
        true
    }

    pub(super) fn rooted(
        &mut self,
        id: &PartitionId,
        tenure: u64,
        next_offset: i64,
        root: Option<Root>,
        actions: &mut Vec<Action>,
    ) {
        let Some(coming) = self.coming(id, tenure, Step::Root) else { return };
        coming.next_offset = next_offset;
        // Where nothing is known, the journal is of interest from our own claim on.
        coming.root = match root {
            Some(root) => Root { epoch: coming.epoch, ..root },
            None => Root { checkpoint: None, journal: coming.epoch, epoch: coming.epoch },
        };
        coming.step = Step::Proof;
        let root = coming.root.clone();
        actions.push(Action::Commit { partition: id.clone(), tenure, next_offset, root });
    }

    /// The group's answer to the commit that proves our claim. False: it was none.
    pub(super) fn proven(
        &mut self,
        id: &PartitionId,
        tenure: u64,
        accepted: bool,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(coming) = self.coming(id, tenure, Step::Proof) else { return false };
        if !accepted {
            self.postpone(id, actions);
            return true;
        }
        coming.step = Step::Open;
        let stamp = Stamp { source: id.clone(), epoch: coming.epoch, seq: 0 };
        let cold = coming.root.checkpoint.is_none();
        actions.push(Action::Append(stamp, Entry::Open { cold }));
        true
    }

    /// What was handed out for a partition that is not ours yet could not be written.
    pub(super) fn claim_failed(&mut self, stamp: &Stamp, actions: &mut Vec<Action>) {
        if let Some((_, Some(Held::Coming(coming)))) = self.held(&stamp.source)
            && (coming.epoch == stamp.epoch || coming.tenure == stamp.seq)
        {
            self.postpone(&stamp.source, actions);
        }
    }

    pub(super) fn loaded(&mut self, id: &PartitionId, tenure: u64, past: Past, actions: &mut Vec<Action>) {
        let Some(coming) = self.coming(id, tenure, Step::Load) else { return };
        let (epoch, next_offset, opened) = (coming.epoch, coming.next_offset, coming.opened);
        let Past { checkpoint, tail, sets } = past;
        sets.into_iter().for_each(|set| self.sets.add(set));
        let mut partition = match &checkpoint {
            Some(checkpoint) => self.wake(checkpoint, tenure, epoch),
            None => self.begin(id, tenure, epoch, next_offset),
        };
        partition.told_time = self.habits.told_time.contains(&id.stream);
        partition.journal = opened + 1;
        partition.replay = Some(Replay {
            told: tail.told,
            known: tail.said,
            through: tail.through,
            reach: tail.reach,
            has_branched: tail.has_branched,
        });
        let next_offset = partition.next_offset;
        partition.replay.iter_mut().for_each(|replay| replay.leave_behind(next_offset));
        let Some((source, place)) = self.held(id) else { return };
        *place = Some(Held::Owned(Box::new(partition)));
        let first_cut = self.first_cut(source);
        if let Some(partition) = self.at(source) {
            partition.next_cut = first_cut;
        }
        self.pump(source, actions);
        self.read_on(source, actions);
    }

    /// Has a partition read from where it stands: from the record before it, if that is known.
    pub(super) fn read_on(&mut self, source: usize, actions: &mut Vec<Action>) {
        let Some(id) = self.sources.get(source).cloned() else { return };
        let wall = self.wall;
        let Some(partition) = self.at(source) else { return };
        // It is given a second to come before anybody asks where it stays.
        partition.asked_end = wall;
        partition.verify = partition.previous.map(|hash| (partition.next_offset - 1, hash));
        let from = partition.verify.map_or(partition.next_offset, |(offset, _)| offset);
        actions.push(Action::Seek(id, from));
    }

    /// A partition of which nothing was ever saved. No rule judges until it is told which do.
    fn begin(&self, id: &PartitionId, tenure: u64, epoch: i64, next_offset: i64) -> Partition {
        let pipeline = Pipeline::new(id.clone(), false, &self.sets.wanted(), &[], &self.limits);
        Partition::new(tenure, epoch, pipeline, next_offset)
    }

    /// A partition as it was saved, with the rules that judged it then, if they can be had.
    fn wake(&self, saved: &crate::event::Checkpoint, tenure: u64, epoch: i64) -> Partition {
        let known = self.sets.rules(saved.rules);
        let rules = known.clone().unwrap_or_else(|| self.sets.wanted());
        let runs = self.runs(&rules, &saved.partition.stream);
        let from = (saved, &*self.sources);
        let (pipeline, _cold) = Pipeline::load(&rules, &runs, false, &self.limits, from);
        let mut partition = Partition::new(tenure, epoch, pipeline, saved.next_offset);
        // Others than those that judged: which, is to be told.
        partition.set = known.map(|rules| rules.hash);
        partition.stream_time = saved.stream_time;
        partition.previous = saved.previous;
        partition
    }

    /// Lets go of rule sets that no partition is judged by, nor will be by what it is told or was told earlier.
    pub(super) fn forget_sets(&mut self) {
        let used: BTreeSet<u128> = self.owned().flat_map(Partition::named_sets).collect();
        self.sets.retain(&used);
    }
}

impl Partition {
    /// The rule sets that judge it, or may have to.
    fn named_sets(&self) -> impl Iterator<Item = u128> {
        let replayed = self.replay.iter().flat_map(|replay| &replay.told).map(|(_, told)| told);
        let told = replayed.chain(self.asked.iter().map(|(_, told)| told));
        let named = told.filter_map(|told| match told {
            Told::Rules(hash) => Some(*hash),
            Told::Tick(_) | Told::Gap { .. } => None,
        });
        self.set.into_iter().chain(named)
    }
}
