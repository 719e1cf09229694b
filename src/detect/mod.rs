//! Detectors: each folds the rows of one rule in one partition, and says what it found.
//!
//! A detector knows no stream, no sink, no config and no clock but the times of its rows. It cannot fail.

pub mod aggregate;
pub mod baseline;
pub mod codec;
pub mod edge;
pub mod judge;
pub mod marks;
pub mod r#match;
pub mod memory;
pub mod moving;
pub mod normal;
pub mod panes;
pub mod session;
pub mod shelf;
pub mod size;
pub mod state;
pub mod suppress;
pub mod table;
pub mod tally;
pub mod threshold;

use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use codec::Sources;

use crate::alert::{Blind, Finding};
use crate::event::{Key, Slice, Timestamp, Value};
use crate::rule::Rule;

/// One rule's memory in one partition.
pub trait Detector: Send {
    /// Folds rows in order; before each, and at the end up to `until`, fires what is due. No rows = a tick.
    fn fold(&mut self, rows: &Slice<'_>, until: Timestamp, found: &mut Found);
    /// Windows and panes that wait to be judged.
    fn pending(&self) -> u64;
    /// When the next timer is due; may be earlier than anything happens, never later.
    fn next_due(&self) -> Option<Timestamp>;
    /// Its state, a row per key, in batches; none of a rule without memory.
    fn save(&self) -> Vec<RecordBatch>;
    /// Begins to save its state as it is now, in slices; what was begun before is given up.
    fn begin_save(&mut self);
    /// Saves so many bytes, which are taken off `budget`; all of the state once it is whole.
    fn save_some(&mut self, budget: &mut usize) -> Option<Vec<RecordBatch>>;
    /// Gives up what was begun.
    fn abandon_save(&mut self);
    /// Replaces its state by what `save` made; `sources` says what the partitions of event names are called now.
    fn load(&mut self, saved: &[RecordBatch], sources: Sources<'_>) -> Result<(), StateError>;
    /// Forgets a key.
    fn forget(&mut self, key: Key);
    /// Goes on under another wording of its rule, whose detection part (fingerprint) is the same.
    fn adopt(&mut self, rule: &Arc<Rule>);

    /// What is known of the window that ends with a row just folded: names and values, for people who want to
    /// know why nothing fired. Aggregates come first, in their order, without names.
    fn look(&self, _key: Key, _rows: &Slice<'_>, _row: usize) -> Vec<(&'static str, Value)> {
        Vec::new()
    }
}

/// What a fold found, and what it could not see.
#[derive(Debug, Default)]
pub struct Found {
    /// Findings, in any order: each says where it stands.
    pub findings: Vec<Finding>,
    /// What was late, capped, refused.
    pub blind: Blind,
}

/// A saved state that this version cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateError(pub String);

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read saved state: {}", self.0)
    }
}

impl std::error::Error for StateError {}
