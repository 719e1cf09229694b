//! Decides everything, does nothing: signals in, actions out. No clock, no IO.
//!
//! A worker owns some partitions. Records of all of them are decoded into one batch a stream, scanned once
//! with all rules, and each partition's part is folded into that partition's pipeline (`fold`). `takeover` is
//! how a partition becomes its own, `told` what a partition is told beside its records, `cut` when its state
//! is saved and what may be committed.

mod cut;
mod fold;
mod partition;
mod sets;
mod takeover;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use partition::Past;
use partition::{Held, Partition};
pub use sets::Compiled;
use sets::Sets;

use super::totals::add_rules;
pub use super::totals::{Gaps, PartitionCounters, Totals};
use crate::alert::Alert;
use crate::event::{Checkpoint, Limits, Micros, PartitionId, Record, Reject, Root, Stamp, Timestamp};
use crate::journal::Entry;
use crate::pipeline::{Order, Pipeline};
use crate::rule::{Placement, RuleSet};
use crate::schema::Schema;

/// Everything that can happen to a worker.
///
/// Answers carry the tenure of the question, see [`Action`]: an answer to an earlier tenure is nobody's.
#[derive(Debug)]
pub enum Signal<'a> {
    /// Records that were waiting, of any of its partitions, each partition in offset order.
    Records(&'a [Record<'a>]),
    /// A partition of a file: nobody else wants it, nothing of it is known, and nothing of it is kept.
    Given {
        /// The partition.
        partition: PartitionId,
        /// Where its reading starts.
        next_offset: i64,
    },
    /// The group has given us a partition. Nothing is read of it yet.
    Assigned(PartitionId),
    /// A partition is no longer ours.
    Revoked(PartitionId),
    /// What the group has committed of a partition; where nothing is committed, where its reading starts.
    Rooted {
        /// The partition.
        partition: PartitionId,
        /// Whose question it was.
        tenure: u64,
        /// Where reading goes on.
        next_offset: i64,
        /// Where its state lies.
        root: Option<Root>,
    },
    /// What the group says to a commit.
    Committed {
        /// The partition.
        partition: PartitionId,
        /// Whose commit it was.
        tenure: u64,
        /// Whether it was accepted.
        accepted: bool,
    },
    /// The past of a partition has been read.
    Loaded {
        /// The partition.
        partition: PartitionId,
        /// Whose question it was.
        tenure: u64,
        /// What there was.
        past: Box<Past>,
    },
    /// What was handed out under this stamp has been written; `at` is its offset in the journal, if it is
    /// there.
    Acked {
        /// The stamp.
        stamp: Stamp,
        /// Its place in the journal; none for dead letters.
        at: Option<i64>,
    },
    /// What was handed out under this stamp will never be written: its partition starts again from its
    /// checkpoint.
    Failed(Stamp),
    /// The offsets that the broker holds of a partition: asked for, or told because the next one is not among
    /// them.
    Ranged {
        /// The partition.
        partition: PartitionId,
        /// The oldest.
        oldest: i64,
        /// The one that comes next.
        end: i64,
    },
    /// A checkpoint has been written under this name; none: it could not be.
    Saved {
        /// The partition.
        partition: PartitionId,
        /// Whose checkpoint it was.
        tenure: u64,
        /// Its name.
        name: Option<Arc<str>>,
    },
    /// The broker was asked at this time whether there is a record at that offset, and there was not.
    AtEnd {
        /// The partition.
        partition: PartitionId,
        /// The offset.
        next_offset: i64,
        /// Wall time of the question.
        asked: Timestamp,
    },
    /// Other rules are to judge from now on.
    Published(Compiled),
    /// Stream time of every partition has reached this though nothing came (of files; live, it is told).
    Tick(Timestamp),
    /// Wall time, a few times a second.
    Clock(Timestamp),
    /// There is a moment to go on with what is being saved.
    Slice,
    /// Everything stops: what can be saved is to be saved now.
    Farewell,
}

/// Everything a worker can want done.
#[derive(Debug)]
pub enum Action {
    /// Append this to the journal, in the order of the actions, then say `Acked`.
    Append(Stamp, Entry),
    /// Append these alerts to the journal, then say `Acked`.
    Alert {
        /// Their stamp.
        stamp: Stamp,
        /// All that records below this offset have to say has been said with them.
        through: i64,
        /// Not yet: the next alerts go on.
        more: bool,
        /// The alerts.
        said: Vec<Said>,
    },
    /// Write these to the dead-letter topic, then say `Acked`.
    DeadLetter(Stamp, Vec<Reject>),
    /// Ask the group what it has committed, then say `Rooted`.
    FindRoot {
        /// Of which partition.
        partition: PartitionId,
        /// In which tenure.
        tenure: u64,
    },
    /// Commit this, then say `Committed`.
    Commit {
        /// The partition.
        partition: PartitionId,
        /// In which tenure.
        tenure: u64,
        /// Where reading goes on.
        next_offset: i64,
        /// Where its state lies.
        root: Root,
    },
    /// Read the checkpoint and the journal behind it, then say `Loaded`.
    Load {
        /// The partition.
        partition: PartitionId,
        /// In which tenure.
        tenure: u64,
        /// The checkpoint, and where in the journal to begin.
        root: Root,
        /// The place of our own opening in the journal, where to end.
        until: i64,
    },
    /// Find out which offsets the broker holds, then say `Ranged`.
    FindRange(PartitionId),
    /// Ask the broker whether there is a record at this offset; if not, say `AtEnd`.
    FindEnd(PartitionId, i64),
    /// Seek to this offset, then let records come.
    Seek(PartitionId, i64),
    /// Write this checkpoint, then say `Saved`.
    Save {
        /// In which tenure.
        tenure: u64,
        /// The state.
        cut: Box<Checkpoint>,
    },
    /// A checkpoint is the one that the group names: older ones may go, but for a few.
    Published(PartitionId, Arc<str>),
    /// Drop what is still on its way for this partition.
    Forget(PartitionId),
}

/// An alert, and its place among the outputs of the batch it came from.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its place.
    pub order: Order,
    /// The alert.
    pub alert: Arc<Alert>,
}

/// Where rules that need the exchange run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// In one more pipeline, `exchange/0`, over the merged input of all partitions: files, where everything
    /// is at hand.
    InProcess,
    /// In the partition, which the caller has made sure is the only one of its topic.
    InPartition,
}

/// How a worker keeps what it owns.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// Streams whose broker times are written by producers: their time is told, once a second.
    pub told_time: BTreeSet<Arc<str>>,
    /// How often the state of a partition is saved.
    pub save_every: Micros,
}

/// Decides for some partitions.
pub struct Worker {
    sets: Sets,
    limits: Limits,
    habits: Habits,
    placement: Exchange,
    sources: Arc<[PartitionId]>,
    /// The index of each source.
    indices: BTreeMap<PartitionId, u16>,
    /// By source; none = not ours.
    partitions: Vec<Option<Held>>,
    exchange: Pipeline,
    exchange_time: Timestamp,
    /// Wall time, as it was told last.
    wall: Timestamp,
    /// The last tenure that began.
    tenures: u64,
    totals: Totals,
}

impl Worker {
    /// A worker without partitions.
    pub fn new(rules: Arc<RuleSet>, schemas: &[Arc<Schema>], limits: &Limits, placement: Exchange) -> Worker {
        let exchanged: Vec<usize> = match placement {
            Exchange::InProcess => placed(&rules, None, Placement::Exchange),
            Exchange::InPartition => Vec::new(),
        };
        let exchange = PartitionId { stream: Arc::from("exchange"), index: 0 };
        Worker {
            exchange: Pipeline::new(exchange, true, &rules, &exchanged, limits),
            sets: Sets::new(Compiled { rules, schemas: schemas.into() }, limits),
            limits: limits.clone(),
            habits: Habits::default(),
            placement,
            sources: Arc::from([]),
            indices: BTreeMap::new(),
            partitions: Vec::new(),
            exchange_time: Timestamp(i64::MIN),
            wall: Timestamp(i64::MIN),
            tenures: 0,
            totals: Totals::default(),
        }
    }

    /// The same with other habits.
    pub fn with_habits(self, habits: Habits) -> Worker {
        Worker { habits, ..self }
    }

    /// The index of a partition, for [`Record::source`].
    pub fn source(&mut self, partition: &PartitionId) -> u16 {
        self.intern(partition).0
    }

    /// All partitions it has ever known, by source.
    pub fn partitions(&self) -> &[PartitionId] {
        &self.sources
    }

    /// Likewise, and whether it was unknown.
    pub fn intern(&mut self, partition: &PartitionId) -> (u16, bool) {
        if let Some(known) = self.indices.get(partition) {
            return (*known, false);
        }
        // More partitions than a worker can tell apart: the last index is nobody's, its records are not read.
        let Ok(at) = u16::try_from(self.partitions.len()) else { return (u16::MAX, false) };
        if at == u16::MAX {
            return (at, false);
        }
        self.sources = self.sources.iter().cloned().chain([partition.clone()]).collect();
        self.partitions.push(None);
        self.indices.insert(partition.clone(), at);
        (at, true)
    }

    /// One consistent cut of every partition it owns, then of the exchange.
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        let owned = self.owned().map(|partition| &partition.pipeline);
        owned.chain([&self.exchange]).map(|pipeline| pipeline.save(&self.sources)).collect()
    }

    /// Saves every partition's state and loads it again, as a restart would: nothing may change by it.
    pub fn save_and_load(&mut self) {
        let (rules, limits, sources) = (self.sets.wanted(), self.limits.clone(), self.sources.clone());
        let again = |pipeline: &Pipeline, exchange: bool| {
            let saved = pipeline.save(&sources);
            Pipeline::load(&rules, &pipeline.runs(), exchange, &limits, (&saved, &sources)).0
        };
        for held in self.partitions.iter_mut().flatten() {
            let Held::Owned(partition) = held else { continue };
            add_rules(&mut self.totals.rules, &partition.pipeline);
            partition.pipeline = again(&partition.pipeline, false);
        }
        add_rules(&mut self.totals.rules, &self.exchange);
        self.exchange = again(&self.exchange, true);
    }

    /// Takes one signal; what it wants done is pushed to `actions`, in order.
    pub fn handle(&mut self, signal: Signal<'_>, actions: &mut Vec<Action>) {
        match signal {
            Signal::Records(records) => self.records(records, actions),
            Signal::Given { partition, next_offset } => self.given(&partition, next_offset),
            Signal::Assigned(partition) => self.assigned(&partition, actions),
            Signal::Revoked(partition) => self.revoked(&partition, actions),
            Signal::Rooted { partition, tenure, next_offset, root } => {
                self.rooted(&partition, tenure, next_offset, root, actions);
            }
            Signal::Committed { partition, tenure, accepted } => {
                self.committed(&partition, tenure, accepted, actions);
            }
            Signal::Loaded { partition, tenure, past } => self.loaded(&partition, tenure, *past, actions),
            Signal::Acked { stamp, at } => self.acked(&stamp, at, actions),
            Signal::Failed(stamp) => self.failed(&stamp, actions),
            Signal::Ranged { partition, oldest, end } => self.ranged(&partition, oldest, end, actions),
            Signal::Saved { partition, tenure, name } => self.saved(&partition, tenure, name, actions),
            Signal::AtEnd { partition, next_offset, asked } => {
                self.at_end(&partition, next_offset, asked, actions);
            }
            Signal::Published(rules) => self.published(rules, actions),
            Signal::Tick(now) => self.tick(now, actions),
            Signal::Clock(wall) => self.clock(wall, actions),
            Signal::Slice => self.slices(actions),
            Signal::Farewell => self.farewell(actions),
        }
    }

    /// Whether it holds back so many records that no more should be read for now.
    pub fn is_crowded(&self) -> bool {
        self.owned().any(Partition::is_crowded)
    }

    /// Whether nothing is on its way: neither outputs nor checkpoints.
    pub fn is_settled(&self) -> bool {
        self.owned().all(Partition::is_settled)
    }

    /// Events that its partitions have decoded.
    pub fn events(&self) -> u64 {
        self.owned().map(|partition| partition.counters.events).sum()
    }

    /// What it has done so far.
    pub fn totals(&self) -> Totals {
        let mut totals = self.totals.clone();
        for (id, held) in self.sources.iter().zip(&self.partitions) {
            let Some(Held::Owned(partition)) = held else { continue };
            totals.pending += partition.pipeline.pending();
            totals.replaying += u64::from(partition.is_replaying());
            let counters = totals.partitions.entry(id.clone()).or_default();
            counters.add(&partition.counters);
            (counters.next_offset, counters.stream_time) = (partition.next_offset, partition.stream_time);
            add_rules(&mut totals.rules, &partition.pipeline);
        }
        totals.pending += self.exchange.pending();
        add_rules(&mut totals.rules, &self.exchange);
        totals
    }

    /// The partitions that are ours.
    fn owned(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().flatten().filter_map(|held| match held {
            Held::Owned(partition) => Some(&**partition),
            Held::Coming(_) => None,
        })
    }

    /// Their sources.
    fn owned_sources(&self) -> Vec<usize> {
        let owned =
            |(source, held): (usize, &Option<Held>)| matches!(held, Some(Held::Owned(_))).then_some(source);
        self.partitions.iter().enumerate().filter_map(owned).collect()
    }

    /// The source of the first partition of ours that is such.
    fn first(&self, such: impl Fn(&Partition) -> bool) -> Option<usize> {
        self.partitions.iter().position(|held| matches!(held, Some(Held::Owned(it)) if such(it)))
    }

    /// The place of a partition, whatever is there.
    fn held(&mut self, id: &PartitionId) -> Option<(usize, &mut Option<Held>)> {
        let at = usize::from(*self.indices.get(id)?);
        Some((at, self.partitions.get_mut(at)?))
    }

    /// A partition that is ours, by its source.
    fn at(&mut self, source: usize) -> Option<&mut Partition> {
        match self.partitions.get_mut(source)? {
            Some(Held::Owned(partition)) => Some(partition),
            _ => None,
        }
    }

    /// A partition that is ours in this tenure.
    fn ours(&mut self, id: &PartitionId, tenure: u64) -> Option<(usize, &mut Partition)> {
        let (source, held) = self.held(id)?;
        match held {
            Some(Held::Owned(partition)) if partition.tenure == tenure => Some((source, partition)),
            _ => None,
        }
    }

    /// Which rules of a set run in a partition of this stream.
    fn runs(&self, rules: &RuleSet, stream: &Arc<str>) -> Vec<usize> {
        let mut runs = placed(rules, Some(stream), Placement::Partition);
        if self.placement == Exchange::InPartition {
            runs.extend(placed(rules, Some(stream), Placement::Exchange));
            runs.sort_unstable();
        }
        runs
    }
}

/// Indices of rules with this placement, of one stream or of all.
fn placed(rules: &RuleSet, stream: Option<&Arc<str>>, placement: Placement) -> Vec<usize> {
    let fits = |rule: &crate::rule::Rule| {
        rule.placement == placement && stream.is_none_or(|stream| *stream == rule.stream)
    };
    rules.rules.iter().enumerate().filter(|(_, rule)| fits(rule)).map(|(index, _)| index).collect()
}
