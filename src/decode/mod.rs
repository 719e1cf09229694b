//! Hostile bytes → rows and rejects; never an error.
//!
//! Whether a record is accepted depends on its bytes, the schema and the limits, never on the rules:
//! projection only decides which values are built. A record is one JSON value by RFC 8259 within the limits
//! of size and depth. It is one event (an object); where the schema says `records`, it may also be an object
//! with a list of events at that path, or such a list. A member that the schema declares may not stand twice,
//! whether it is read or not. All events of a record are taken or none is, and nothing is carried from one
//! record to the next.
//!
//! A value of another type than its field's, or one below its minimum, is NULL and counted; an absent one and
//! `null` are NULL. `seed` walks the record, `value` reads one value, `rows` are the columns, `strict` says
//! what is no record, `plan` is a schema made ready, `line` makes JSON of log lines. `probe` finds the
//! time of a record that is not decoded, or cannot be.

mod fast;
mod line;
mod plan;
pub mod probe;
mod rows;
mod seed;
mod strict;
mod text;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StructArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field as ArrowField, FieldRef};
use arrow::record_batch::RecordBatch;

pub use self::text::event_text;

use self::fast::Fast;
use self::plan::Plan;
use self::seed::{Memory, Reading};
use self::strict::Fault;
use crate::event::{EventBatch, EventName, Limits, PartitionId, Record, Reject, RejectReason, Timestamp};
use crate::schema::{BUILT_IN, Format, Schema, arrow_type};

/// Decodes records of one stream into one batch.
pub struct JsonDecoder {
    /// The stream.
    pub schema: Arc<Schema>,
    plan: Plan,
    limits: Limits,
    memory: Memory,
    fast: Option<Box<Fast>>,
    reread: u64,
    rows: Vec<Row>,
    rejects: Vec<Reject>,
    /// Per declared field: values that became NULL.
    mistyped: Vec<u64>,
    stats: DecodeStats,
}

/// What is known of a row beside its declared fields.
struct Row {
    name: EventName,
    time: Timestamp,
    skewed: bool,
    bytes: i64,
    position: u32,
}

/// What a batch of records became.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in the order the records were pushed. `now`, `exchange_now` and `spans` are left empty: the
    /// worker fills them, since rejects and other streams move time too.
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

impl JsonDecoder {
    /// A decoder that builds the columns for which `projection` (one flag per declared field) is true.
    pub fn new(schema: Arc<Schema>, projection: Vec<bool>, limits: &Limits) -> JsonDecoder {
        let mut decoder = JsonDecoder::thorough(schema, projection, limits);
        decoder.fast = Some(Box::new(Fast::new(&decoder.plan)));
        decoder
    }

    /// The same, but slow: it reads every record as [`JsonDecoder::new`] reads only those that the quick
    /// reading leaves. What it says is what is right.
    pub fn thorough(schema: Arc<Schema>, projection: Vec<bool>, limits: &Limits) -> JsonDecoder {
        let plan = Plan::new(&schema, &projection);
        JsonDecoder {
            memory: Memory::new(&plan),
            fast: None,
            reread: 0,
            mistyped: vec![0; plan.fields.len()],
            limits: limits.clone(),
            rows: Vec::new(),
            rejects: Vec::new(),
            stats: DecodeStats::default(),
            schema,
            plan,
        }
    }

    /// Reads one record; `position` is its place in what the worker was handed.
    pub fn push(&mut self, record: &Record<'_>, position: u32) {
        if self.read_line(record, position) {
            return;
        }
        if let Err(fault) = self.read(record, position) {
            self.rejects.push(Reject {
                source: record.source,
                offset: record.offset,
                broker_time: record.broker_time,
                reason: fault.reason,
                at: fault.at,
                detail: fault.detail,
                payload: record.payload.to_vec(),
            });
        }
    }

    /// How many records the quick reading has left so far: those that are rejected.
    pub fn reread(&self) -> u64 {
        self.reread
    }

    /// Reads a record that is no JSON yet; false if it is to be read, or rejected, as it came.
    fn read_line(&mut self, record: &Record<'_>, position: u32) -> bool {
        if self.schema.format == Format::Json || record.payload.len() > self.limits.record_bytes {
            return false;
        }
        let Some(payload) = line::rewritten(self.schema.format, record.payload) else { return false };
        self.read(&Record { payload: &payload, ..*record }, position).is_ok()
    }

    fn read(&mut self, record: &Record<'_>, position: u32) -> Result<(), Fault> {
        if let Some(mut fast) = self.fast.take() {
            let taken = self.read_fast(&mut fast, record, position);
            self.fast = Some(fast);
            if taken.is_some() {
                return Ok(());
            }
            self.reread += 1;
            self.memory.pad(self.rows.len());
        }
        let text = strict::text(record.payload, self.limits.record_bytes)?;
        let depth = self.limits.depth;
        let strict = strict::check(text, depth);
        let (reading, outcome) = Reading::read(&self.plan, &mut self.memory, text, self.rows.len());
        if let Some(fault) = outcome.err().or(strict.err().map(Some)) {
            reading.undo();
            return Err(strict::first_fault(text, depth, fault));
        }
        let (mistyped, times) = (reading.mistyped, reading.times);
        self.take(&mistyped, &times, record, position);
        Ok(())
    }

    fn read_fast(&mut self, fast: &mut Fast, record: &Record<'_>, position: u32) -> Option<()> {
        if record.payload.len() > self.limits.record_bytes {
            return None;
        }
        fast.read(&self.plan, &mut self.memory, record.payload, self.rows.len(), self.limits.depth)?;
        self.take(&fast.mistyped, &fast.times, record, position);
        Some(())
    }

    /// Takes what was read of a record.
    fn take(&mut self, mistyped: &[usize], times: &[Option<Timestamp>], record: &Record<'_>, position: u32) {
        for field in mistyped {
            if let Some(count) = self.mistyped.get_mut(*field) {
                *count += 1;
            }
        }
        for (index, said) in (0..).zip(times) {
            self.row(record, position, index, *said);
        }
    }

    fn row(&mut self, record: &Record<'_>, position: u32, index: u32, said: Option<Timestamp>) {
        let broker = record.broker_time;
        let time = said.unwrap_or(broker);
        let skewed = time > broker.plus(self.limits.max_skew);
        self.stats.untimed += u64::from(said.is_none() && self.schema.time.is_some());
        self.stats.moved += u64::from(time > broker);
        self.stats.skewed += u64::from(skewed);
        self.rows.push(Row {
            name: EventName { source: record.source, offset: record.offset, index, broker_time: broker },
            time: time.min(broker),
            skewed,
            bytes: i64::try_from(record.payload.len()).unwrap_or(i64::MAX),
            position,
        });
    }

    /// All rows and rejects since the last `finish`; the decoder is empty again.
    pub fn finish(&mut self, sources: &Arc<[PartitionId]>) -> Decoded {
        let rows = std::mem::take(&mut self.rows);
        let mut stats = std::mem::take(&mut self.stats);
        for (plan, count) in self.plan.fields.iter().zip(&mut self.mistyped) {
            let count = std::mem::take(count);
            if plan.built && count > 0 {
                stats.mistyped.insert(plan.field.name.clone(), count);
            }
        }
        let batch = EventBatch {
            stream: self.schema.name.clone(),
            columns: self.columns(&rows),
            time: rows.iter().map(|row| row.time).collect(),
            now: Vec::new(),
            exchange_now: Vec::new(),
            names: rows.iter().map(|row| row.name).collect(),
            positions: rows.iter().map(|row| row.position).collect(),
            spans: Vec::new(),
            sources: sources.clone(),
        };
        Decoded { batch, rejects: std::mem::take(&mut self.rejects), stats }
    }

    fn columns(&mut self, rows: &[Row]) -> RecordBatch {
        let declared = self.plan.fields.iter().zip(&mut self.memory.columns).map(|(plan, column)| {
            let field = ArrowField::new(&plan.field.name, plan.arrow_type(), true);
            column.pad(rows.len());
            (Arc::new(field), column.take(rows.len()))
        });
        let times = |time: fn(&Row) -> Timestamp| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| time(row).0)))
        };
        let built_in: [ArrayRef; 4] = [
            times(|row| row.time),
            times(|row| row.name.broker_time),
            Arc::new(BooleanArray::from(rows.iter().map(|row| row.skewed).collect::<Vec<_>>())),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.bytes))),
        ];
        let built_in = BUILT_IN
            .iter()
            .zip(built_in)
            .map(|((name, kind), array)| (Arc::new(ArrowField::new(*name, arrow_type(*kind), true)), array));
        let columns: Vec<(FieldRef, ArrayRef)> = declared.chain(built_in).collect();
        RecordBatch::from(StructArray::from(columns))
    }
}

impl Decoded {
    /// How many records were rejected for each reason.
    pub fn rejects_by_reason(&self) -> BTreeMap<RejectReason, u64> {
        let mut counts = BTreeMap::new();
        self.rejects.iter().for_each(|reject| *counts.entry(reject.reason).or_default() += 1);
        counts
    }
}

#[cfg(test)]
mod tests;
