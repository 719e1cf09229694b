//! The words everyone shares: what a record, an event, a batch and a partition are.
//!
//! Nothing here knows JSON, Kafka, rules or alerts.

pub mod key;
pub mod picked;
pub mod time;
pub mod told;
pub mod value;
mod written;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

pub use key::{Key, KeyHasher};
pub use picked::{Column, Picked, Slice};
pub use time::{Micros, Timestamp};
pub use told::{Checkpoint, Marks, Root, Stamp, Told};
pub use value::{Scalar, Type, Value};

/// Unit of order, state, ownership and replay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// The stream's name (not the topic, which a configuration may rename).
    pub stream: Arc<str>,
    /// The number of the Kafka partition; 0 for a file without envelopes.
    pub index: i32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.index)
    }
}

/// One message, lent by whoever read it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Index into the worker's list of partitions.
    pub source: u16,
    /// The record's offset in its partition.
    pub offset: i64,
    /// The Kafka timestamp; in a file that of the envelope, else the highest event time so far.
    pub broker_time: Timestamp,
    /// The bytes as they came.
    pub payload: &'a [u8],
    /// What is wrong with it already before it is decoded: its line was cut off, its envelope is none.
    pub broken: Option<RejectReason>,
}

/// The name of one event: unforgeable, printable and free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName {
    /// Index into [`EventBatch::sources`].
    pub source: u16,
    /// The offset of its record.
    pub offset: i64,
    /// Which event of the record (0 unless a record holds many).
    pub index: u32,
    /// When the broker took the record.
    pub broker_time: Timestamp,
}

/// Events of one stream, grouped by partition, in offset order within each.
#[derive(Clone, Debug)]
pub struct EventBatch {
    /// The stream's name.
    pub stream: Arc<str>,
    /// One column per schema field, then the built-in ones, always in this order; a field that no rule reads
    /// is a
    /// `NullArray` in its place, so that a column has the same index everywhere.
    pub columns: RecordBatch,
    /// Event time per row: never after the broker time.
    pub time: Vec<Timestamp>,
    /// Stream time of the row's partition at each row: a running maximum over all records, rejects included.
    pub now: Vec<Timestamp>,
    /// Stream time of the whole input at each row: what the in-process exchange goes by.
    pub exchange_now: Vec<Timestamp>,
    /// The name of each row.
    pub names: Vec<EventName>,
    /// Where each row's record stood in what the worker was handed: the order in which outputs leave.
    pub positions: Vec<u32>,
    /// One span per partition.
    pub spans: Vec<Span>,
    /// The worker's list of partitions, to which `EventName::source` points.
    pub sources: Arc<[PartitionId]>,
}

impl EventBatch {
    /// A batch without rows: what a tick folds.
    pub fn empty() -> EventBatch {
        EventBatch {
            stream: Arc::from(""),
            columns: RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty())),
            time: Vec::new(),
            now: Vec::new(),
            exchange_now: Vec::new(),
            names: Vec::new(),
            positions: Vec::new(),
            spans: Vec::new(),
            sources: Arc::from([]),
        }
    }
}

/// One partition's part of a batch.
#[derive(Clone, Debug)]
pub struct Span {
    /// Index into [`EventBatch::sources`].
    pub source: u16,
    /// Its rows.
    pub rows: Range<usize>,
}

/// A record as time sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Stream time once this record has been read.
    pub now: Timestamp,
    /// Its place in what the worker was handed.
    pub position: u32,
}

/// A record that could not be read, with the reason and the place.
#[derive(Clone, Debug)]
pub struct Reject {
    /// Index into the worker's list of partitions.
    pub source: u16,
    /// The record's offset.
    pub offset: i64,
    /// The record's broker time.
    pub broker_time: Timestamp,
    /// Why.
    pub reason: RejectReason,
    /// The byte in the payload at which reading failed.
    pub at: usize,
    /// What stood there, for people; never more than the reason needs.
    pub detail: String,
    /// The bytes; the only place where a payload is copied.
    pub payload: Vec<u8>,
}

/// Why a record was rejected. Depends on its bytes, the schema and the limits, never on the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// Longer than the limit.
    TooLarge,
    /// Not UTF-8.
    Utf8,
    /// Not JSON by RFC 8259 (lone surrogates and trailing bytes included).
    Syntax,
    /// Nested deeper than the limit.
    TooDeep,
    /// A declared key stands twice in one object.
    DoubledKey,
    /// Not an object, nor what `records` allows.
    Shape,
    /// The envelope is not one, or its offset does not rise.
    Envelope,
}

impl RejectReason {
    /// All reasons, in the order they are reported.
    pub const ALL: [RejectReason; 7] = [
        RejectReason::TooLarge,
        RejectReason::Utf8,
        RejectReason::Syntax,
        RejectReason::TooDeep,
        RejectReason::DoubledKey,
        RejectReason::Shape,
        RejectReason::Envelope,
    ];

    /// The name in metrics, summaries and dead letters.
    pub fn name(self) -> &'static str {
        match self {
            RejectReason::TooLarge => "too_large",
            RejectReason::Utf8 => "utf8",
            RejectReason::Syntax => "syntax",
            RejectReason::TooDeep => "too_deep",
            RejectReason::DoubledKey => "doubled_key",
            RejectReason::Shape => "shape",
            RejectReason::Envelope => "envelope",
        }
    }
}

/// Every limit of the engine, with what breaks when it is too small or too big.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a window waits after its last row. Too small: rows of one second are judged apart; too big:
    /// alerts that wait for a close come later.
    pub grace: Micros,
    /// How far a clock may run ahead of the broker before the event is flagged.
    pub max_skew: Micros,
    /// Keys per rule and partition. Too small: busy fleets are refused; too big: a flood of keys eats the
    /// memory.
    pub keys: usize,
    /// Panes or open windows per key. Too small: a long backlog loses its oldest part; too big: one key can
    /// bloat.
    pub panes: usize,
    /// (value, pane) pairs per key and `count(DISTINCT)`. Too small: values of the panes touched longest ago
    /// are not counted; too big: one key can bloat.
    pub distinct: usize,
    /// Alerts per rule, partition and second of stream time.
    pub alerts_per_second: u32,
    /// Bytes of one record.
    pub record_bytes: usize,
    /// Depth of nested JSON.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            grace: 2_000_000,
            max_skew: 300_000_000,
            keys: 1_000_000,
            panes: 240,
            distinct: 16_384,
            alerts_per_second: 100,
            record_bytes: 1 << 20,
            depth: 64,
        }
    }
}
