//! What happened to one key: every event of it, whether it passed `where`, and what the rule knew after it.
//!
//! The alerts are those of a replay of the rule over all that was read; beside it the rule's detector is fed
//! the key's rows alone, one by one, and asked what it knows. Nothing of this is in the way of a live run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use arrow::record_batch::RecordBatch;

use super::ExplainArgs;
use super::sql::{Sql, constant};
use crate::alert::{Alert, Blind, Severity};
use crate::cli::Rules;
use crate::cli::look::{FILE_BYTES, record};
use crate::cli::replay::FramingArg;
use crate::decode::{Decoded, JsonDecoder};
use crate::detect::{Detector, Found};
use crate::event::picked::value_at;
use crate::event::{EventBatch, Key, Limits, PartitionId, Picked, Record, Slice, Timestamp, Value};
use crate::files::{Files, Framing, Line, inputs};
use crate::pipeline::detector;
use crate::rule::expr::compile::Compiled;
use crate::rule::expr::node::{Node, Op};
use crate::rule::{Clock, Kind, Placement, Rule, RuleSet};
use crate::runtime::replay::Replay;
use crate::schema::Schema;

/// Records that are decoded at once.
const BATCH: usize = 4096;
/// Events of the key that are remembered.
const REMEMBERED: usize = 100_000;
/// Other keys that are named if the key never occurs.
const OTHERS: usize = 5;

/// One event of the key.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its time by the rule's clock.
    pub time: Timestamp,
    /// The first conjunct of `where` that is not true, and what stood there; none if it passes.
    pub failed: Option<(usize, String)>,
    /// Where it passes: what the rule knows after it, aggregates first.
    pub known: Vec<(&'static str, Value)>,
    /// Which filters it satisfies.
    pub steps: u32,
    /// What it made the rule find: the severity, and the end of the window if a close found it.
    pub found: Vec<(Severity, Option<Timestamp>)>,
}

/// All that happened to the key.
#[derive(Debug, Default)]
pub struct Traced {
    /// Its events, in the order they came.
    pub seen: Vec<Seen>,
    /// Events beyond those that are remembered.
    pub forgotten: u64,
    /// What closed after its last event.
    pub late_found: Vec<(Severity, Option<Timestamp>)>,
    /// Its alerts.
    pub alerts: Vec<Arc<Alert>>,
    /// Events of all keys.
    pub events: u64,
    /// Some other keys.
    pub others: BTreeSet<String>,
    /// The first of them, part by part.
    pub first: Option<Vec<String>>,
    /// Records that could not be read.
    pub rejected: u64,
    /// What the rule could not see, of any key.
    pub blind: Blind,
    /// Windows of any key that were open at the end.
    pub pending: u64,
}

/// Reads the inputs of the rule's stream, and follows the key.
pub fn trace(
    args: &ExplainArgs,
    loaded: &Rules,
    rule: &Arc<Rule>,
    schema: &Arc<Schema>,
    key: &[String],
) -> Result<Traced, String> {
    let all = inputs(&args.inputs).map_err(|error| error.to_string())?;
    let own: Vec<_> = all.into_iter().filter(|input| input.stream == rule.stream).collect();
    if own.is_empty() {
        let stream = &rule.stream;
        return Err(format!(
            "{} reads stream {stream}, which no input is of\n  hint: give {stream}=FILE",
            rule.info.id
        ));
    }
    let mut limits = Limits::default();
    let framing = match args.framing {
        FramingArg::Lines => Framing::Lines,
        FramingArg::File => Framing::File,
    };
    if framing == Framing::File {
        limits.record_bytes = FILE_BYTES;
    }
    let mut files =
        Files::open(&own, &loaded.schemas, &limits, framing).map_err(|error| error.to_string())?;
    let mut trace = Trace::new(&loaded.rules, &loaded.schemas, rule, schema, key, &limits)?;
    let bar = crate::cli::progress::bar("explain", files.progress().1);
    let mut lines = Vec::with_capacity(BATCH);
    loop {
        lines.clear();
        while lines.len() < BATCH
            && let Some(line) = files.next()
        {
            lines.push(line.map_err(|error| error.to_string())?);
        }
        if lines.is_empty() {
            bar.finish_and_clear();
            return Ok(trace.finish());
        }
        trace.push(&lines);
        bar.set_position(files.progress().0);
    }
}

/// Follows a key over lines at hand, up to a time.
pub fn over(
    rules: &RuleSet,
    schemas: &[Arc<Schema>],
    rule: &Arc<Rule>,
    key: &[String],
    lines: &[Line],
    until: Timestamp,
) -> Option<Traced> {
    let schema = schemas.iter().find(|schema| schema.name == rule.stream)?;
    let mut trace = Trace::new(rules, schemas, rule, schema, key, &Limits::default()).ok()?;
    lines.chunks(BATCH).for_each(|lines| trace.push(lines));
    trace.newest = trace.newest.max(until);
    Some(trace.finish())
}

struct Trace<'a> {
    rule: &'a Arc<Rule>,
    sql: Sql<'a>,
    key: &'a [String],
    limits: Limits,
    alone: Arc<RuleSet>,
    replay: Replay,
    decoder: JsonDecoder,
    filters: Vec<Compiled>,
    parts: Vec<Compiled>,
    /// One a partition, or one for all if the rule needs them together.
    detectors: BTreeMap<i32, Box<dyn Detector>>,
    newest: Timestamp,
    traced: Traced,
}

/// The key's part of one batch.
struct Batch {
    columns: RecordBatch,
    batch: Arc<EventBatch>,
    /// Where each conjunct of `where` is true.
    masks: Vec<BooleanBuffer>,
    picked: Option<Picked>,
}

impl<'a> Trace<'a> {
    fn new(
        rules: &RuleSet,
        schemas: &[Arc<Schema>],
        rule: &'a Arc<Rule>,
        schema: &'a Arc<Schema>,
        key: &'a [String],
        limits: &Limits,
    ) -> Result<Trace<'a>, String> {
        let alone = Arc::new(rules.only(&rule.info.id, &[], schemas));
        let projection = alone.scans.get(&rule.stream).map(|scan| scan.projection()).unwrap_or_default();
        let compile = |nodes: &[Node]| nodes.iter().map(Compiled::new).collect::<Result<Vec<_>, _>>();
        Ok(Trace {
            rule,
            sql: Sql::new(rule, schema),
            key,
            limits: limits.clone(),
            replay: Replay::new(alone.clone(), schemas, limits),
            alone,
            decoder: JsonDecoder::new(schema.clone(), projection, limits),
            filters: compile(&rule.inputs.filters)?,
            parts: compile(rule.inputs.values.get(..rule.key.len()).unwrap_or_default())?,
            detectors: BTreeMap::new(),
            newest: Timestamp(i64::MIN),
            traced: Traced::default(),
        })
    }

    fn push(&mut self, lines: &[Line]) {
        let records: Vec<Record<'_>> =
            lines.iter().map(|line| record(line, self.replay.source(&line.partition))).collect();
        let (alerts, rejects) = self.replay.push(&records);
        self.traced.rejected += rejects.len() as u64;
        self.traced.alerts.extend(alerts.into_iter().filter(|alert| is_key(&alert.key, self.key)));
        let mut now = Vec::with_capacity(lines.len());
        for ((position, line), record) in (0u32..).zip(lines).zip(&records) {
            self.newest = self.newest.max(line.stream_time);
            let together = self.rule.placement == Placement::Exchange;
            now.push(if together { self.newest } else { line.stream_time });
            if line.reject.is_none() {
                self.decoder.push(record, position);
            }
        }
        let sources: Arc<[PartitionId]> = self.replay.partitions().iter().cloned().collect();
        let Decoded { mut batch, .. } = self.decoder.finish(&sources);
        batch.now =
            batch.positions.iter().map(|at| now.get(*at as usize).copied().unwrap_or_default()).collect();
        batch.exchange_now.clone_from(&batch.now);
        self.follow(batch);
    }

    /// The key's rows of a batch.
    fn follow(&mut self, batch: EventBatch) {
        let rows = batch.time.len();
        self.traced.events += rows as u64;
        let columns = batch.columns.clone();
        let parts: Vec<ArrayRef> = self.parts.iter().map(|part| part.evaluate(&columns).0).collect();
        let masks = self.filters.iter().map(|filter| filter.mask(&columns).0).collect();
        let batch = Arc::new(batch);
        let picked = self.alone.scan(&batch).into_iter().next().map(|(_, picked, _)| picked);
        let own = Batch { columns, batch, masks, picked };
        for row in 0..rows {
            let values: Vec<Value> = parts.iter().map(|part| value_at(part, row)).collect();
            if !is_key(&values, self.key) {
                self.other(&values);
                // Others teach the cohort whose normal the key may borrow.
                if matches!(self.rule.kind, Kind::Baseline(_)) {
                    self.row(&own, row);
                }
                continue;
            }
            let seen = self.row(&own, row);
            if self.traced.seen.len() < REMEMBERED {
                self.traced.seen.push(seen);
            } else {
                self.traced.forgotten += 1;
            }
        }
    }

    fn other(&mut self, values: &[Value]) {
        if self.traced.others.len() < OTHERS {
            let parts: Vec<String> = values.iter().map(plain).collect();
            self.traced.others.insert(parts.join(","));
            self.traced.first.get_or_insert(parts);
        }
    }

    fn row(&mut self, own: &Batch, row: usize) -> Seen {
        let name = own.batch.names.get(row).copied();
        let event_time = own.batch.time.get(row).copied().unwrap_or_default();
        let time = match self.rule.clock {
            Clock::Event => event_time,
            Clock::Arrival => name.map_or(event_time, |name| name.broker_time),
        };
        let mut seen = Seen { time, failed: None, known: Vec::new(), steps: 0, found: Vec::new() };
        if let Some(at) = own.masks.iter().position(|mask| !mask.value(row)) {
            seen.failed = Some((at, self.stood(at, &own.columns, row)));
            return seen;
        }
        let Some(picked) = &own.picked else { return seen };
        let Ok(at) = picked.rows.binary_search(&(row as u32)) else { return seen };
        let slice = Slice { picked, from: at, to: at + 1, exchange: false };
        let partition = match (self.rule.placement, name) {
            (Placement::Partition, Some(name)) => i32::from(name.source),
            _ => 0,
        };
        let (rule, limits) = (self.rule, &self.limits);
        let detector = self.detectors.entry(partition).or_insert_with(|| detector(rule, limits));
        let mut found = Found::default();
        let key: Key = slice.key(0);
        // A normal is that of before the event, which is judged first and learned then; all else is of after it.
        let before = detector.look(key, &slice, 0);
        detector.fold(&slice, slice.now(0), &mut found);
        seen.known = detector.look(key, &slice, 0);
        if let (Kind::Baseline(_), Some(value)) = (&self.rule.kind, seen.known.first().cloned()) {
            seen.known = std::iter::once(value).chain(before.into_iter().skip(1)).collect();
        }
        seen.steps = slice.steps(0);
        seen.found = findings(&found);
        seen
    }

    /// What stood in the columns of a conjunct.
    fn stood(&self, filter: usize, columns: &RecordBatch, row: usize) -> String {
        let Some(node) = self.rule.inputs.filters.get(filter) else { return String::new() };
        let mut shown: Vec<String> = Vec::new();
        node.walk(&mut |part| {
            if let Op::Column(column) = part.op {
                let value = columns.columns().get(column).map_or(Value::Null, |array| value_at(array, row));
                let text = format!("{} is {}", self.sql.text(part), cut(&constant(&value), 60));
                if !shown.contains(&text) {
                    shown.push(text);
                }
            }
        });
        shown.join(", ")
    }

    fn finish(mut self) -> Traced {
        let nothing = Picked::empty();
        let rows = Slice { picked: &nothing, from: 0, to: 0, exchange: false };
        for detector in self.detectors.values_mut() {
            let mut found = Found::default();
            detector.fold(&rows, self.newest, &mut found);
            self.traced.late_found.extend(findings(&found));
        }
        let totals = self.replay.totals();
        self.traced.pending = totals.pending;
        if let Some(rule) = totals.rules.get(&self.rule.info.id) {
            self.traced.blind = rule.blind.clone();
        }
        self.traced
    }
}

fn findings(found: &Found) -> Vec<(Severity, Option<Timestamp>)> {
    let closed = |finding: &crate::alert::Finding| finding.fired_by.is_none().then_some(finding.time);
    found.findings.iter().map(|finding| (finding.severity, closed(finding))).collect()
}

/// Whether a key's values are those that were asked for.
fn is_key(values: &[Value], wanted: &[String]) -> bool {
    values.len() == wanted.len()
        && values.iter().zip(wanted).all(|(value, wanted)| plain(value).eq_ignore_ascii_case(wanted))
}

/// A value as people write it in a key.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Null => "NULL".to_owned(),
        other => other.json().to_string(),
    }
}

/// A value as people read what was seen.
pub fn readable(value: &Value) -> String {
    match value {
        Value::Float(number) => crate::cli::show::figure(*number),
        other => plain(other),
    }
}

/// At most so many characters.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
