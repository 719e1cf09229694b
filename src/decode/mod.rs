//! Hostile bytes → rows and rejects; never an error.
//!
//! Whether a record is accepted depends on its bytes, the schema and the limits, never on the rules: projection only
//! decides which values are built.

pub mod probe;
pub mod seed;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{EventBatch, Limits, PartitionId, Record, Reject};
use crate::schema::Schema;

/// Decodes records of one stream into one batch.
pub struct JsonDecoder {
    /// The stream.
    pub schema: Arc<Schema>,
}

/// What a batch of records became.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in the order the records were pushed. `now`, `exchange_now` and `spans` are left empty: the worker fills
    /// them, since rejects and other streams move time too.
    pub batch: EventBatch,
    /// The records that could not be read.
    pub rejects: Vec<Reject>,
    /// What was changed or lost on the way.
    pub stats: DecodeStats,
}

/// Counts of what decoding changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecodeStats {
    /// Values of the wrong type or below `min`, now NULL, by column (built columns only).
    pub mistyped: BTreeMap<String, u64>,
    /// Events whose time lay after their broker time and was moved to it.
    pub moved: u64,
    /// Of these, events more than `max_skew` ahead.
    pub skewed: u64,
    /// Events without a plausible time, dated by the broker.
    pub untimed: u64,
}

impl DecodeStats {
    /// Adds the counts of another batch.
    pub fn merge(&mut self, other: &DecodeStats) {
        for (column, n) in &other.mistyped {
            *self.mistyped.entry(column.clone()).or_default() += n;
        }
        self.moved += other.moved;
        self.skewed += other.skewed;
        self.untimed += other.untimed;
    }
}

/// The JSON text of one event of a record, cut to `most` bytes.
pub fn event_text(_schema: &Schema, _payload: &[u8], _index: u32, _most: usize) -> Option<Box<str>> {
    None
}

impl JsonDecoder {
    /// A decoder that builds the columns for which `projection` (one flag per declared field) is true.
    pub fn new(schema: Arc<Schema>, _projection: Vec<bool>, _limits: &Limits) -> JsonDecoder {
        JsonDecoder { schema }
    }

    /// Reads one record; `position` is its place in what the worker was handed.
    pub fn push(&mut self, _record: &Record<'_>, _position: u32) {}

    /// All rows and rejects since the last `finish`; the decoder is empty again.
    pub fn finish(&mut self, _sources: &Arc<[PartitionId]>) -> Decoded {
        Decoded { batch: todo!(), rejects: Vec::new(), stats: DecodeStats::default() }
    }
}
