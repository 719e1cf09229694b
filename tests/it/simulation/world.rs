//! Everything outside the members, the clock, and the order in which things happen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use fleetwarden::event::{PartitionId, Root, Stamp, Timestamp};
use fleetwarden::runtime::worker::Signal;

use super::group::Group;
use super::journal::{Journal, Writer};
use super::keeper::Question;
use super::log::{Kept, Logs};
use super::random::Random;
use super::store::Store;
use super::watch::Watch;
use super::{Bug, chaos::Blow};

/// In microseconds.
pub const SECOND: i64 = 1_000_000;

/// When every simulation begins.
pub const START: i64 = 1_800_000_000 * SECOND;

/// What happens at some time.
#[derive(Debug)]
pub enum Event {
    /// A producer writes.
    Produce(PartitionId, Kept),
    /// A member goes on with its loop.
    Turn(Writer),
    /// The next entry of a lane arrives in the journal.
    Arrive(Writer, usize),
    /// Dead letters arrive.
    Letter(Writer, u64, PartitionId, (usize, Vec<i64>)),
    /// A member hears something at its next look.
    Hear(Writer, Heard),
    /// A keeper answers a question.
    Ask(Writer, Question),
    /// The next commit of a member reaches the coordinator.
    Commit(Writer),
    /// Heartbeats.
    Beat,
    /// A sink goes on.
    Sink(usize),
    /// Something goes wrong.
    Blow(Blow),
}

/// What a member hears.
#[derive(Debug)]
pub enum Heard {
    /// What was given out under a ticket is written.
    Written(u64, Stamp, Option<i64>),
    /// It never will be.
    Lost(u64, Stamp),
    /// The group's answer to the commit that is on its way.
    Committed(PartitionId, bool),
    /// An answer of the keeper.
    Answer(Signal<'static>),
    /// A checkpoint has been written; what a commit of it would say.
    Saved { partition: PartitionId, tenure: u64, name: Option<Arc<str>>, next_offset: i64, root: Root },
    /// Edition of the rules.
    Published(usize),
}

/// A commit on its way.
#[derive(Debug)]
pub struct Wire {
    pub id: Option<u64>,
    pub partition: PartitionId,
    pub next_offset: i64,
    pub root: Root,
}

/// All that members share.
pub struct Outside {
    pub now: i64,
    pub random: Random,
    pub logs: Logs,
    pub journal: Journal,
    pub group: Group,
    pub store: Store,
    pub watch: Watch,
    pub bug: Option<Bug>,
    /// The edition of the rules that is on every disk.
    pub edition: usize,
    pub told_time: BTreeSet<Arc<str>>,
    pub grace: i64,
    pub tickets: u64,
    /// How long an entry is mostly on its way to the journal.
    pub slow: i64,
    /// Commits on their way.
    pub wires: BTreeMap<Writer, VecDeque<Wire>>,
    /// Dead letters that have been written.
    pub letters: BTreeSet<(PartitionId, usize, i64)>,
    /// Whether nothing goes wrong any more.
    pub calm: bool,
    queue: BTreeMap<(i64, u64), Event>,
    events: u64,
    /// Everything that happens, if anybody wants to know.
    pub trace: Option<Vec<String>>,
}

impl Outside {
    pub fn new(seed: u64, group: Group, bug: Option<Bug>, traced: bool) -> Outside {
        Outside {
            now: START,
            random: Random::new(seed),
            logs: Logs::new(),
            journal: Journal::default(),
            group,
            store: Store::default(),
            watch: Watch::default(),
            bug,
            edition: 0,
            told_time: BTreeSet::new(),
            grace: 2 * SECOND,
            tickets: 0,
            slow: SECOND / 50,
            wires: BTreeMap::new(),
            letters: BTreeSet::new(),
            calm: false,
            queue: BTreeMap::new(),
            events: 0,
            trace: traced.then(Vec::new),
        }
    }

    /// Has something happen later.
    pub fn later(&mut self, delay: i64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Has something happen at a time.
    pub fn at(&mut self, at: i64, event: Event) {
        self.events += 1;
        self.queue.insert((at.max(self.now), self.events), event);
    }

    /// The next thing that happens; the clock is put to it.
    pub fn next(&mut self) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        self.now = at;
        if self.trace.is_some() && !matches!(event, Event::Turn(_) | Event::Beat | Event::Sink(_)) {
            let text = match &event {
                Event::Hear(writer, Heard::Answer(signal)) => format!("Hear({writer:?}, {})", shown(signal)),
                event => format!("{event:?}"),
            };
            self.note(text);
        }
        Some(event)
    }

    /// Whether something is still to be produced.
    pub fn awaits_records(&self) -> bool {
        self.queue.values().any(|event| matches!(event, Event::Produce(..)))
    }

    /// Takes a note of what happened.
    pub fn note(&mut self, what: impl Into<String>) {
        let at = self.now - START;
        if let Some(trace) = &mut self.trace {
            let mut what = what.into();
            if what.len() > 1200 {
                what = what.chars().take(1200).collect();
            }
            trace.push(format!("{:>4}.{:06} {what}", at / SECOND, at % SECOND));
        }
    }

    /// Wall time as a machine sees it whose clock is off by so much.
    pub fn wall(&self, skew: i64) -> Timestamp {
        Timestamp(self.now + skew)
    }

    pub fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// The coordinator takes the next commit of a member, or refuses it.
    pub fn take_commit(&mut self, writer: Writer) {
        let Some(wire) = self.wires.get_mut(&writer).and_then(VecDeque::pop_front) else { return };
        let flaw = !self.calm && self.random.percent(2);
        let accepted = self.group.knows(wire.id) && !flaw;
        self.note(format!("commit {accepted} {wire:?}"));
        if accepted {
            let topic = self.logs.get(&wire.partition).map_or(0, |log| log.topic());
            let owner = self.group.owner(&wire.partition);
            self.watch.committed(writer, owner, &wire, topic);
            self.group.committed.insert(wire.partition.clone(), (wire.next_offset, Some(wire.root)));
        }
        let delay = self.random.delay(5_000);
        self.later(delay, Event::Hear(writer, Heard::Committed(wire.partition, accepted)));
    }
}

/// A signal for people: without what is long, or stands in no order.
pub fn shown(signal: &Signal<'_>) -> String {
    match signal {
        Signal::Records(records) => {
            let offsets: Vec<(u16, i64)> =
                records.iter().map(|record| (record.source, record.offset)).collect();
            format!("Records {offsets:?}")
        }
        Signal::Loaded { partition, tenure, past } => {
            let from = past.checkpoint.as_ref().map(|saved| saved.next_offset);
            let (told, said, reach) = (&past.tail.told, past.tail.said.len(), past.tail.reach);
            format!("Loaded {partition} {tenure}: {from:?} {told:?}, {said} said, to {reach}")
        }
        Signal::Published(set) => format!("Published {:x}", set.rules.hash),
        other => format!("{other:?}"),
    }
}
