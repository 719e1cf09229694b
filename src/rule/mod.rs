//! A rule set: what TOML files become once every problem has been found.
//!
//! `file` (what was typed, with its place) → `check` (all problems) → `expr` (SQL → total expressions) →
//! `scan` (batch → `Picked`). `having` judges what aggregates and keys say. No step is skipped.

pub mod check;
pub mod content;
pub mod expectation;
pub mod expr;
pub mod file;
#[cfg(test)]
pub mod fixtures;
pub mod having;
pub mod learned;
pub mod lookup;
pub mod mapping;
pub mod notation;
pub mod scan;
pub mod shipped;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::alert::{EntityType, RuleInfo, Severity};
use crate::diagnostic::{Diagnostic, Source};
use crate::event::{Micros, Type};
use crate::schema::Schema;
use expr::node::Node;
use learned::Baseline;

/// Everything that is loaded at one time, in the order of rule ids.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// Over all rules: fingerprints, and what else shapes their alerts.
    pub hash: u128,
    /// The rules, sorted by id.
    pub rules: Vec<Arc<Rule>>,
    /// Per stream that some rule reads: what is evaluated once per batch.
    pub scans: BTreeMap<Arc<str>, scan::StreamScan>,
}

impl RuleSet {
    /// The rule of that id alone, and live, to test it: its alerts alone are its alerts among all, and those
    /// of a shadow or a building block are those it would send. It asks `lookups` instead of tables of the same names.
    pub fn only(&self, id: &str, lookups: &[Arc<lookup::Lookup>], schemas: &[Arc<Schema>]) -> RuleSet {
        let of_id = self.rules.iter().filter(|rule| rule.info.id == id);
        let alone = |rule: &Arc<Rule>| {
            let mut rule = Rule { mode: Mode::Live, ..(**rule).clone() };
            rule.replace_lookups(lookups);
            Arc::new(rule)
        };
        let rules: Vec<Arc<Rule>> = of_id.map(alone).collect();
        RuleSet { hash: self.hash, scans: scans(&rules, schemas).0, rules }
    }
}

/// Compiles what is evaluated once per batch, for every stream that a rule reads; and why a stream's rules
/// cannot be.
pub fn scans(
    rules: &[Arc<Rule>],
    schemas: &[Arc<Schema>],
) -> (BTreeMap<Arc<str>, scan::StreamScan>, Vec<String>) {
    let (mut scans, mut problems) = (BTreeMap::new(), Vec::new());
    for schema in schemas {
        let of_stream: Vec<(usize, &Rule)> = (0..)
            .zip(rules)
            .filter(|(_, rule)| rule.stream == schema.name)
            .map(|(i, rule)| (i, &**rule))
            .collect();
        if of_stream.is_empty() {
            continue;
        }
        match scan::StreamScan::new(schema, &of_stream) {
            Ok(scan) => {
                scans.insert(schema.name.clone(), scan);
            }
            Err(problem) => problems.push(format!("stream \"{}\": {problem}", schema.name)),
        }
    }
    (scans, problems)
}

/// One rule, compiled.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What alerts say about it.
    pub info: Arc<RuleInfo>,
    /// Hash of its detection part after substitution: stream, the kind's table, lets.
    pub fingerprint: u128,
    /// The stream it reads.
    pub stream: Arc<str>,
    /// Which time orders and dates its events.
    pub clock: Clock,
    /// The key's parts; their values are the first columns of `Picked::values`.
    pub key: Vec<KeyPart>,
    /// What is judged, and how.
    pub kind: Kind,
    /// Names and values that its alerts show, in order.
    pub observed: Vec<(Arc<str>, Node)>,
    /// Whom its alerts are about.
    pub entities: Vec<EntityPart>,
    /// What raises the severity; sorted as written.
    pub escalate: Vec<Escalate>,
    /// How often a key's alert is said.
    pub suppress: Option<Suppress>,
    /// Whether its alerts are sent.
    pub mode: Mode,
    /// Where it runs.
    pub placement: Placement,
    /// What the scan evaluates for it.
    pub inputs: Inputs,
}

/// What `scan` evaluates for a rule. All nodes are over one event of the stream: no aggregates.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The conjuncts of `where`: all must be true.
    pub filters: Vec<Node>,
    /// Filter i sets bit i of `Picked::steps` where it is true (at most 32).
    pub steps: Vec<Node>,
    /// Columns of `Picked::values`: the key's parts first.
    pub values: Vec<Node>,
}

/// Which time orders and dates a rule's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Event time.
    Event,
    /// Broker time: for rates of hostile acts, whose times the attacker writes.
    Arrival,
}

/// One part of a key.
#[derive(Clone, Debug)]
pub struct KeyPart {
    /// Column or let.
    pub name: String,
    /// Its type: never float, never list.
    pub kind: Type,
}

/// One entity of a rule's alerts.
#[derive(Clone, Debug)]
pub struct EntityPart {
    /// Its type, from the schema.
    pub kind: EntityType,
    /// Column of `Picked::values`. Below the key's length it is known at a close as well; any other is known
    /// only where a row fires.
    pub value: usize,
}

/// The names of the kinds that this version runs.
pub const KINDS: [&str; 3] = ["match", "threshold", "baseline"];

/// The kinds of rules that this version runs.
#[derive(Clone, Debug)]
pub enum Kind {
    /// One event satisfies `where` and, if there is one, filter 0.
    Match(Match),
    /// Aggregates over a window pass `having`.
    Threshold(Threshold),
    /// A value leaves the normal of its key.
    Baseline(Baseline),
}

/// A rule whose every event is judged alone.
#[derive(Clone, Debug)]
pub struct Match {
    /// The filter (bit of `Picked::steps`) that is `having`.
    pub having: Option<u32>,
}

/// A rule over windows.
#[derive(Clone, Debug)]
pub struct Threshold {
    /// How time is cut.
    pub window: Window,
    /// Judged on each event (one conjunct only grows and none shrinks), else when a window or pane closes.
    pub on_event: bool,
    /// Aggregates of `having`, of `[[escalate]]` and of lets, in that order, equal ones once.
    pub aggregates: Vec<Aggregate>,
    /// Rings of exact counts, one per FILTER.
    pub rings: Vec<Ring>,
    /// The judgement: `Op::Aggregate(i)` is an aggregate, `Op::Input(c)` a column of `Picked::values` that
    /// belongs to the key.
    pub having: Node,
    /// The filter (bit of `Picked::steps`) of a row that empties its key's window before it is added.
    pub reset: Option<u32>,
    /// The first count of `having` (index into `aggregates`), whose value is the alert's `count`.
    pub count: Option<usize>,
}

/// How time is cut, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last so much before each row.
    Sliding(Micros),
    /// Aligned to the epoch, each judged for itself.
    Tumbling(Micros),
    /// Until the key pauses for so long, each judged for itself.
    Session(Micros),
}

/// One aggregate.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// What it computes.
    pub func: AggFunc,
    /// Its argument: column of `Picked::values`; none for `count(*)`. (`count(x)` is `count(*) FILTER (WHERE
    /// x IS NOT NULL)`.)
    pub arg: Option<usize>,
    /// Type of its argument; `Null` without one.
    pub arg_type: Type,
    /// The filter (bit of `Picked::steps`) that a row must satisfy.
    pub filter: Option<u32>,
    /// Kept exactly, in this ring (index into `Threshold::rings`), instead of by panes.
    pub ring: Option<usize>,
}

/// What an aggregate computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggFunc {
    /// Rows.
    Count,
    /// Distinct non-NULL values.
    CountDistinct,
    /// Sum; of ints in 128 bits, saturated to 64 where it is shown.
    Sum,
    /// Sum over count, as float.
    Avg,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Standard deviation of a sample (n − 1); of fewer than two values NULL.
    StdDev,
    /// The value below which so many hundredths of a per cent of all lie, to 1 %.
    Percentile(u32),
    /// The first so many distinct non-NULL values of the window, by pane, within a pane by fold order.
    Values(u32),
}

impl Aggregate {
    /// The type of its result.
    pub fn result_type(&self) -> Type {
        match self.func {
            AggFunc::Count | AggFunc::CountDistinct => Type::Int,
            AggFunc::Avg | AggFunc::StdDev | AggFunc::Percentile(_) => Type::Float,
            AggFunc::Sum | AggFunc::Min | AggFunc::Max => self.arg_type,
            AggFunc::Values(_) => Type::List,
        }
    }
}

/// The times of the last rows that a FILTER took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// The filter; none = every row.
    pub filter: Option<u32>,
    /// The largest constant that its count is compared with, plus one for `>`. Twice as many times are kept.
    pub n: u32,
}

/// What raises the severity.
#[derive(Clone, Debug)]
pub struct Escalate {
    /// When.
    pub when: When,
    /// To what.
    pub severity: Severity,
    /// To what risk, if it says so.
    pub risk: Option<u8>,
}

/// The condition of an escalation.
#[derive(Clone, Debug)]
pub enum When {
    /// Of a match: a bit of `Picked::steps`.
    Step(u32),
    /// Of a threshold or a baseline: like `having`.
    Holds(Node),
}

/// How often a key's alert is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppress {
    /// Length of a period of stream time.
    pub span: Micros,
    /// Columns of `Picked::values` whose values a period belongs to; for a threshold, parts of the key. None
    /// = the key.
    pub by: Option<Vec<usize>>,
}

/// Whether alerts are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Sent.
    Live,
    /// Counted only.
    Shadow,
    /// Counted, and kept from sinks: a sign that means something beside others only.
    BuildingBlock,
}

/// Where a rule runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In the partition of its rows.
    Partition,
    /// On the exchange: its key does not contain the partition key.
    Exchange,
}

/// A rule file and what was read from it, before and after compilation.
#[derive(Clone, Debug)]
pub struct RuleFile {
    /// The text, to which diagnostics point.
    pub source: Source,
}

/// One test of a rule, as its file says it.
#[derive(Clone, Debug)]
pub struct RuleTest {
    /// Id of the rule it belongs to.
    pub rule: String,
    /// The file it stands in.
    pub file: String,
    /// Its name.
    pub name: String,
    /// The events, in the test notation.
    pub events: String,
    /// Where the text of `events` starts in the file, to point at a bad line.
    pub events_at: usize,
    /// The tables that it brings in place of those that are loaded.
    pub lookups: Vec<Arc<lookup::Lookup>>,
    /// Where the test starts in the file.
    pub at: usize,
    /// What should come out.
    pub alerts: Expected,
}

/// What a test expects.
#[derive(Clone, Debug)]
pub enum Expected {
    /// So many alerts.
    Count(usize),
    /// These alerts, in this order; each names any fields, unnamed ones are free.
    Alerts(Vec<BTreeMap<String, toml::Value>>),
}

/// The outcome of loading: the rules that compiled, their tests, and every problem of every file.
#[derive(Debug)]
pub struct Loaded {
    /// The rules without errors.
    pub rules: RuleSet,
    /// The tests of these rules.
    pub tests: Vec<RuleTest>,
    /// Every problem, sorted by file and place.
    pub problems: Vec<Diagnostic>,
}

/// Compiles rule files against schemas; every problem of every file is found in one go.
pub fn load(files: &[RuleFile], schemas: &[Arc<Schema>]) -> Loaded {
    check::load(files, schemas, &lookup::Lookups::default())
}

/// The same of rules that may ask tables.
pub fn load_with(files: &[RuleFile], schemas: &[Arc<Schema>], lookups: &lookup::Lookups) -> Loaded {
    check::load(files, schemas, lookups)
}
