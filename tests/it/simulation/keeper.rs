//! Answers of the store, the group and the brokers: late, or never.

use std::sync::Arc;

use fleetwarden::event::{Checkpoint, PartitionId, Root, Stamp, Timestamp};
use fleetwarden::journal::{Entry, Tail};
use fleetwarden::runtime::worker::{Past, Signal};

use super::Bug;
use super::content::content;
use super::journal::{Writer, place};
use super::world::{Event, Heard, Outside, SECOND};

/// What takes time.
#[derive(Debug)]
pub enum Question {
    Root { partition: PartitionId, tenure: u64 },
    Range(PartitionId),
    End { partition: PartitionId, next_offset: i64, asked: Timestamp },
    Past { partition: PartitionId, tenure: u64, root: Root, until: i64 },
    Save { tenure: u64, cut: Box<Checkpoint>, before: Vec<u64> },
    Prune(PartitionId, Arc<str>),
}

/// Answers a question by what is so now; the answer is heard later.
pub fn answer(outside: &mut Outside, writer: Writer, question: Question) {
    let fails = !outside.calm && outside.random.percent(4);
    let answer = match question {
        Question::Root { partition, tenure } | Question::Past { partition, tenure, .. } if fails => {
            Some(unknown(partition, tenure))
        }
        Question::Range(_) | Question::End { .. } if fails => None,
        Question::Root { partition, tenure } => root(outside, partition, tenure),
        Question::Range(partition) => outside.logs.get(&partition).and_then(|log| {
            let answers = log.stalled <= outside.now;
            answers.then(|| Signal::Ranged { partition, oldest: log.oldest, end: log.end() })
        }),
        Question::End { partition, next_offset, asked } => outside.logs.get(&partition).and_then(|log| {
            let at_end = log.end() == next_offset && log.stalled <= outside.now;
            at_end.then_some(Signal::AtEnd { partition, next_offset, asked })
        }),
        Question::Past { partition, tenure, root, until } => match past(outside, &partition, &root, until) {
            Some(past) => Some(Signal::Loaded { partition, tenure, past: Box::new(past) }),
            None => Some(unknown(partition, tenure)),
        },
        Question::Save { tenure, cut, before } => return save(outside, writer, tenure, &cut, before),
        Question::Prune(partition, name) => {
            outside.store.prune(&partition, &name);
            None
        }
    };
    if let Some(answer) = answer {
        let delay = outside.random.delay(40_000);
        outside.later(delay, Event::Hear(writer, Heard::Answer(answer)));
    }
}

fn unknown(partition: PartitionId, tenure: u64) -> Signal<'static> {
    Signal::Failed(Stamp { source: partition, epoch: -1, seq: tenure })
}

fn root(outside: &Outside, partition: PartitionId, tenure: u64) -> Option<Signal<'static>> {
    let (next_offset, root) = match outside.group.committed.get(&partition) {
        Some(committed) => committed.clone(),
        None => (outside.logs.get(&partition)?.oldest, None),
    };
    Some(Signal::Rooted { partition, tenure, next_offset, root })
}

fn save(outside: &mut Outside, writer: Writer, tenure: u64, cut: &Checkpoint, before: Vec<u64>) {
    let name = outside.store.put(cut, &mut outside.random);
    if let Some(name) = &name {
        outside.watch.written(name, before);
    }
    let root = Root { checkpoint: name.clone(), journal: cut.journal, epoch: cut.epoch };
    let (partition, next_offset) = (cut.partition.clone(), cut.next_offset);
    let delay = outside.random.delay(40_000);
    let heard = Heard::Saved { partition, tenure, name, next_offset, root };
    outside.later(delay, Event::Hear(writer, heard));
}

fn past(outside: &mut Outside, partition: &PartitionId, root: &Root, until: i64) -> Option<Past> {
    outside.store.discard(partition, root.checkpoint.as_ref(), root.epoch);
    let checkpoint = match &root.checkpoint {
        None => None,
        Some(name) => Some(outside.store.get(partition, name)?),
    };
    let (journal, epoch) = match &checkpoint {
        Some((saved, true)) => (root.journal, saved.epoch),
        Some((saved, false)) => (saved.journal, saved.epoch),
        None => (root.journal, root.journal),
    };
    let covered = checkpoint.as_ref().map(|(saved, _)| saved.next_offset);
    let tail = tail(outside, partition, (journal, until), epoch, covered);
    Some(Past { checkpoint: checkpoint.map(|(saved, _)| saved), tail, sets: content().sets.clone() })
}

fn tail(
    outside: &Outside,
    partition: &PartitionId,
    (from, until): (i64, i64),
    epoch: i64,
    covered: Option<i64>,
) -> Tail {
    let mut tail = Tail::behind(partition, epoch);
    if let Some(next_offset) = covered {
        tail = tail.covered(next_offset, epoch);
    }
    let at = place(&Stamp { source: partition.clone(), epoch: 0, seq: 0 });
    let all = outside.journal.partitions[at].iter().take(until as usize + 1).skip(from as usize);
    for lying in all.filter(|lying| lying.stamp.source == *partition) {
        tail.push(&lying.stamp, &lying.entry);
    }
    if outside.bug == Some(Bug::SaysAgain) {
        tail.said.clear();
    }
    tail
}

/// When the broker was asked whether there is more, if a tick stands on its answer.
pub fn asked(outside: &Outside, stamp: &Stamp, entry: &Entry, skew: i64) -> Option<i64> {
    let is_told = outside.told_time.contains(&stamp.source.stream);
    match entry {
        Entry::Told { told: fleetwarden::event::Told::Tick(now), .. } if !is_told => {
            Some(now.0 + outside.grace - skew)
        }
        _ => None,
    }
}

/// For how long a question is on its way.
pub fn on_the_way(outside: &mut Outside) -> i64 {
    outside.random.delay(SECOND / 50)
}
