//! What a partition is told beside its records, the stamp on what it says, who is believed, and one
//! consistent cut of its state.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::{PartitionId, Timestamp};

/// An input that is not a record, written to the journal before it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing came, and stream time is now this.
    Tick(Timestamp),
    /// From here on, the rule set (with its lookup tables) of this hash judges.
    Rules(u128),
    /// The records `from..to` will never be seen; reading goes on at `to`, which is below `from` if offsets
    /// count anew.
    Gap {
        /// The offset that should have come next.
        from: i64,
        /// The offset that comes next.
        to: i64,
    },
}

/// On everything we say: which partition said it, in whose time, and the how-manieth it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// Who said it.
    pub source: PartitionId,
    /// The journal offset of the claim of the owner that said it; -1 on a claim, which asks for one.
    pub epoch: i64,
    /// Counts what this owner has written, from 1.
    pub seq: u64,
}

/// Whom a reader of the journal believes: per source, the newest epoch that has opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<PartitionId, i64>);

impl Marks {
    /// An owner has opened: the group has accepted it. Nothing of lower epochs counts from now on.
    pub fn open(&mut self, source: &PartitionId, epoch: i64) {
        let mark = self.0.entry(source.clone()).or_insert(epoch);
        *mark = epoch.max(*mark);
    }

    /// Whether what stands under a stamp counts. Only an owner that has opened says anything but claims, so a
    /// higher epoch is one whose opening was not read.
    pub fn accept(&mut self, stamp: &Stamp) -> bool {
        self.open(&stamp.source, stamp.epoch);
        self.0.get(&stamp.source) == Some(&stamp.epoch)
    }

    /// The epoch that is believed of a source.
    pub fn epoch(&self, source: &PartitionId) -> Option<i64> {
        self.0.get(source).copied()
    }

    /// Every source with its epoch, by source.
    pub fn iter(&self) -> impl Iterator<Item = (&PartitionId, i64)> {
        self.0.iter().map(|(source, epoch)| (source, *epoch))
    }
}

/// What the group keeps of a partition beside its next offset: where its state lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The name of the checkpoint in the store; none = nothing has been saved yet.
    pub checkpoint: Option<Arc<str>>,
    /// The journal offset from which entries are read that the checkpoint does not hold.
    pub journal: i64,
    /// The epoch of the owner that committed it.
    pub epoch: i64,
}

/// One consistent cut of a partition.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Whose state it is.
    pub partition: PartitionId,
    /// The epoch of the owner that made it; 0 where nobody claims.
    pub epoch: i64,
    /// A journal offset: nothing that stands before it is missing here. What stands behind it may be here
    /// already if it is an alert; if it was told, it is not.
    pub journal: i64,
    /// Where reading goes on.
    pub next_offset: i64,
    /// What the record before it hashes to, if one was read: another one there means another log.
    pub previous: Option<u64>,
    /// Stream time at the cut.
    pub stream_time: Timestamp,
    /// How many alerts had been said.
    pub seq: u64,
    /// The hash of the rule set that judged.
    pub rules: u128,
    /// The partitions to which saved event names point.
    pub sources: Vec<PartitionId>,
    /// Per rule: its id, fingerprint, and the tables of its detector and of its suppression.
    pub tables: Vec<RuleState>,
}

/// The saved state of one rule in one partition.
#[derive(Clone, Debug)]
pub struct RuleState {
    /// The rule's id.
    pub rule: String,
    /// The fingerprint of its detection part; state of another fingerprint is not loaded.
    pub fingerprint: u128,
    /// The detector's keys, one row each, in batches; none of a rule without memory.
    pub detector: Vec<RecordBatch>,
    /// The suppression periods, one row a key; none if the rule does not suppress.
    pub suppress: Option<Vec<RecordBatch>>,
    /// The second of stream time that was counted last, and how many alerts it has seen.
    pub second: (i64, u32),
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Tick(now) => write!(f, "tick {now}"),
            Told::Rules(hash) => write!(f, "rules {hash:032x}"),
            Told::Gap { from, to } => write!(f, "gap {from} to {to}"),
        }
    }
}
