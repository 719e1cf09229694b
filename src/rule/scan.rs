//! Batch → `Picked`: every distinct predicate and value is evaluated once per batch, for all rules of a stream.

use std::sync::Arc;

use super::{Rule, RuleSet};
use crate::alert::Blind;
use crate::event::{EventBatch, Picked};
use crate::schema::Schema;

/// What is evaluated once per batch of one stream, compiled.
#[derive(Clone, Debug)]
pub struct StreamScan {}

impl StreamScan {
    /// Compiles what the rules of one stream read. `rules` are (index in the set, rule).
    pub fn new(_schema: &Arc<Schema>, _rules: &[(usize, &Rule)]) -> Result<StreamScan, String> {
        Ok(StreamScan {})
    }

    /// Which declared fields some rule reads.
    pub fn projection(&self) -> Vec<bool> {
        Vec::new()
    }
}

/// What the scan of one batch gave: per rule that picked at least one row (by index in the set, rising), its rows and what
/// its expressions could not compute.
pub type Scanned = Vec<(usize, Picked, Blind)>;

impl RuleSet {
    /// Picks each rule's rows. No memory; once per worker and batch.
    pub fn scan(&self, _batch: &Arc<EventBatch>) -> Scanned {
        Vec::new()
    }
}
