//! What a worker knows of one partition that is its own.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::super::totals::PartitionCounters;
use super::sets::Compiled;
use super::takeover::Coming;
use crate::event::{Checkpoint, PartitionId, Record, Stamp, Timestamp, Told};
use crate::journal::Tail;
use crate::pipeline::Pipeline;

/// Records of one partition that may be held back before no more are read.
const HELD_RECORDS: usize = 50_000;

/// Their bytes.
const HELD_BYTES: usize = 32 << 20;

/// What is known of a partition when it is taken over.
#[derive(Debug, Default)]
pub struct Past {
    /// Its state; none if nothing was ever saved.
    pub checkpoint: Option<Checkpoint>,
    /// What the journal says behind it.
    pub tail: Tail,
    /// The rule sets that are named by either, as far as they could be had.
    pub sets: Vec<Compiled>,
}

/// A partition that the group has given us.
pub(super) enum Held {
    /// It is about to become ours.
    Coming(Coming),
    /// It is ours.
    Owned(Box<Partition>),
}

/// A partition that is ours.
pub(super) struct Partition {
    pub tenure: u64,
    pub epoch: i64,
    pub pipeline: Pipeline,
    /// The hash of the rules that judge; none yet on the very first start.
    pub set: Option<u128>,
    pub stream_time: Timestamp,
    /// Whether stream time moves by what is told only.
    pub told_time: bool,
    pub next_offset: i64,
    /// What the record before it hashes to.
    pub previous: Option<u64>,
    /// The last stamp given, and those without an answer.
    pub seq: u64,
    pub outstanding: BTreeSet<u64>,
    /// The journal position behind everything of ours that has been written.
    pub journal: i64,
    /// What earlier owners were told and said, behind the checkpoint.
    pub replay: Option<Replay>,
    /// The record that is read once more, to see whether this is the same log: its offset and hash.
    pub verify: Option<(i64, u64)>,
    /// What it is being told: applied once it is written.
    pub asked: Option<(u64, Told)>,
    /// Whether it is being found out which offsets there are, because ours is not among them.
    pub lost: bool,
    /// Records that wait for what it is being told.
    pub held: Vec<Owned>,
    pub cut: Option<Cut>,
    /// When the next cut is due, and the seq and offset of the last.
    pub next_cut: Timestamp,
    pub last_cut: (u64, i64),
    /// When the broker was asked last whether there is more.
    pub asked_end: Timestamp,
    /// Whether records came since the last tick, or since one looked.
    pub moved: bool,
    pub counters: PartitionCounters,
}

/// The past of a partition that is gone through once more.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// What is to be told, and before which offset.
    pub told: VecDeque<(i64, Told)>,
    /// Ids of alerts that have been said already, and how often.
    pub known: HashMap<u128, u32>,
    /// Everything that records below this offset have to say is among them.
    pub through: i64,
    /// Nothing that records from this offset on have to say is.
    pub reach: i64,
    /// Whether records are gone that earlier owners had read, so that the two may say different things.
    pub has_branched: bool,
}

impl Replay {
    /// Where an earlier owner was told that offsets count anew, the records before are not those that the log
    /// holds now: of what was told till then, only the rules and that itself are of use, at once.
    pub fn leave_behind(&mut self, next_offset: i64) {
        let anew = |told: &Told| matches!(told, Told::Gap { from, to } if to <= from);
        let Some(last) = self.told.iter().rposition(|(_, told)| anew(told)) else { return };
        self.has_branched |= last > 0 || self.told.front().is_some_and(|(at, _)| next_offset < *at);
        let later = self.told.split_off(last + 1);
        let rules = self.told.iter().rev().find(|(_, told)| matches!(told, Told::Rules(_))).copied();
        let gap = self.told.pop_back();
        self.told = rules.into_iter().chain(gap).map(|(_, told)| (i64::MIN, told)).chain(later).collect();
    }

    /// Offsets count anew from `to`: what was told by the old ones says nothing any more.
    pub fn count_anew(&mut self, to: i64) {
        match self.told.iter().rposition(|(_, told)| matches!(told, Told::Gap { .. })) {
            Some(last) => drop(self.told.drain(..=last)),
            None => {
                self.told.clear();
                (self.through, self.reach) = (to, to);
            }
        }
    }
}

/// A cut on its way.
#[derive(Debug)]
pub(super) struct Cut {
    pub next_offset: i64,
    pub previous: Option<u64>,
    pub stream_time: Timestamp,
    /// The journal position behind what had been written by then.
    pub below: i64,
    /// Whether the state has been taken out as a whole.
    pub handed_out: bool,
    /// The last stamp before it: what was handed out by then must have been written.
    pub seq: u64,
    /// The journal position behind what was handed out by then.
    pub journal: i64,
    /// Its name, once it is written.
    pub name: Option<Arc<str>>,
    /// Whether it is being committed.
    pub committing: bool,
}

/// A record that waits.
pub(super) struct Owned {
    offset: i64,
    broker_time: Timestamp,
    payload: Vec<u8>,
}

impl Owned {
    pub fn of(record: &Record<'_>) -> Owned {
        let (offset, broker_time) = (record.offset, record.broker_time);
        Owned { offset, broker_time, payload: record.payload.to_vec() }
    }

    pub fn record(&self, source: u16) -> Record<'_> {
        let (offset, broker_time, payload) = (self.offset, self.broker_time, self.payload.as_slice());
        Record { source, offset, broker_time, payload, broken: None }
    }
}

impl Partition {
    /// At this offset, having seen nothing.
    pub fn new(tenure: u64, epoch: i64, pipeline: Pipeline, next_offset: i64) -> Partition {
        Partition {
            tenure,
            epoch,
            pipeline,
            set: None,
            stream_time: Timestamp(i64::MIN),
            told_time: false,
            next_offset,
            previous: None,
            seq: 0,
            outstanding: BTreeSet::new(),
            journal: 0,
            replay: None,
            verify: None,
            asked: None,
            lost: false,
            held: Vec::new(),
            cut: None,
            next_cut: Timestamp(i64::MIN),
            last_cut: (0, next_offset),
            asked_end: Timestamp(i64::MIN),
            moved: false,
            counters: PartitionCounters::default(),
        }
    }

    /// The stamp of the next thing it says.
    pub fn stamp(&mut self, source: &PartitionId) -> Stamp {
        self.seq += 1;
        self.outstanding.insert(self.seq);
        Stamp { source: source.clone(), epoch: self.epoch, seq: self.seq }
    }

    /// Whether records cannot be folded now.
    pub fn is_waiting(&self) -> bool {
        self.asked.is_some() || self.lost
    }

    /// Whether records of this partition need more than to be folded.
    pub fn needs_care(&self, set: u128) -> bool {
        self.is_waiting()
            || self.replay.is_some()
            || self.verify.is_some()
            || !self.held.is_empty()
            || self.set != Some(set)
            || (self.told_time && self.stream_time == Timestamp(i64::MIN))
    }

    /// Whether it goes through what an earlier owner has said already.
    pub fn is_replaying(&self) -> bool {
        self.replay.is_some()
    }

    /// Whether too much is held back.
    pub fn is_crowded(&self) -> bool {
        self.held.len() > HELD_RECORDS
            || (self.held.len() > 64
                && self.held.iter().map(|owned| owned.payload.len()).sum::<usize>() > HELD_BYTES)
    }

    /// Whether nothing is on its way.
    pub fn is_settled(&self) -> bool {
        self.outstanding.is_empty() && self.cut.is_none() && self.asked.is_none()
    }
}

/// By which the record before a checkpoint's next offset is known again: FNV-1a, 64 bits, over its time and its
/// bytes.
pub(super) fn hash(record: &Record<'_>) -> u64 {
    let time = record.broker_time.0.to_le_bytes();
    let bytes = time.iter().chain(record.payload);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
