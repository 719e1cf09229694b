//! What leaves the system: the alert, its identity, and what a rule could not see.
//!
//! A *body* is deterministic: same input, same bytes. What is not (detect time, engine version, completeness)
//! belongs to the envelope, which `encode` puts around it.

pub mod brief;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{EventName, Key, KeyHasher, PartitionId, Timestamp, Value};

/// How bad it is. A rule's severity is a floor, which escalation may raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For the record.
    Info,
    /// Look when there is time.
    Low,
    /// Look today.
    Medium,
    /// Look now.
    High,
    /// Wake somebody.
    Critical,
}

impl Severity {
    /// All, rising.
    pub const ALL: [Severity; 5] =
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// The word in rules and alerts.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// The severity of that name.
    pub fn parse(name: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// What an alert says about its rule; one per rule, shared by all its alerts.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleInfo {
    /// The file's name.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// The floor.
    pub severity: Severity,
    /// 0 to 100; accumulates per entity.
    pub risk: u8,
    /// Hex of the first 32 bits of the fingerprint: changes when what the rule detects changes.
    pub version: String,
    /// The kind: `match`, `threshold`.
    pub kind: &'static str,
    /// The stream it reads.
    pub stream: Arc<str>,
    /// UN R155 Annex 5 vectors.
    pub r155: Vec<String>,
    /// Auto-ISAC Automotive Threat Matrix ids.
    pub atm: Vec<String>,
    /// MITRE ATT&CK technique ids.
    pub attack: Vec<String>,
    /// What to do first.
    pub triage: String,
    /// What the rule cannot see.
    pub blind_spots: String,
    /// Names of the key's parts, in order.
    pub key: Vec<String>,
}

/// What bears the risk: a vehicle, a user, an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// Its type, from the schema.
    pub kind: EntityType,
    /// Its value.
    pub value: Value,
}

/// The types an entity may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntityType {
    /// A vehicle, by VIN.
    Vehicle,
    /// A person's or machine's account.
    User,
    /// A network address.
    Ip,
    /// A certificate.
    Certificate,
    /// A service.
    Service,
}

impl EntityType {
    /// All types.
    pub const ALL: [EntityType; 5] =
        [EntityType::Vehicle, EntityType::User, EntityType::Ip, EntityType::Certificate, EntityType::Service];

    /// The word in schemas and alerts.
    pub fn name(self) -> &'static str {
        match self {
            EntityType::Vehicle => "vehicle",
            EntityType::User => "user",
            EntityType::Ip => "ip",
            EntityType::Certificate => "certificate",
            EntityType::Service => "service",
        }
    }
}

/// The event names of an alert, with their partition spelled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The partition of the record.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: i64,
    /// Which event of the record.
    pub index: u32,
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}#{}", self.partition, self.offset, self.index)
    }
}

/// One alert: its body, and the time by which latency is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// 128-bit name; the same finding has it in every run.
    pub id: u128,
    /// The rule.
    pub rule: Arc<RuleInfo>,
    /// The rule's floor, or what an escalation raised it to.
    pub severity: Severity,
    /// The rule's risk, or the highest of the escalations that were true.
    pub risk: u8,
    /// The key, typed.
    pub key: Vec<Value>,
    /// Whom it is about.
    pub entities: Vec<Entity>,
    /// Start and end of the window, if the rule has one.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Time of the event that fired by the rule's clock; of a close, the end of the window.
    pub time: Timestamp,
    /// Broker time of the event that fired; of a close, the stream time of the close.
    pub broker_time: Timestamp,
    /// Compared values, lets, aggregates, in order.
    pub observed: Vec<(Arc<str>, Value)>,
    /// Rows the finding stands on.
    pub count: u64,
    /// Findings folded into this one since the last alert of its key.
    pub folds: u64,
    /// The first and last few events.
    pub evidence: Vec<Evidence>,
    /// The text of the event that fired (JSON, at most 4 KiB); none for a finding that a close fired.
    pub event: Option<Box<str>>,
}

impl Alert {
    /// The id as text: 32 hex digits.
    pub fn id_hex(&self) -> String {
        format!("{:032x}", self.id)
    }
}

/// What made a finding one of its own: with rule and key, its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Episode {
    /// The event itself, or the one that began the episode.
    Event(EventName),
    /// The start of a tumbling window.
    Window(Timestamp),
    /// When a timer was due.
    Deadline(Timestamp),
}

/// The id of an alert: 128 bits over rule, fingerprint, typed key, episode and the severity that is said, so
/// that an escalation is a document of its own. `partition` is that of the episode's event.
pub fn alert_id(
    rule: &str,
    fingerprint: u128,
    key: &[Value],
    episode: Episode,
    partition: Option<&PartitionId>,
    severity: Severity,
) -> u128 {
    let mut hasher = KeyHasher::default();
    hasher.text(rule);
    hasher.bytes(7, &fingerprint.to_le_bytes());
    hasher.int(key.len() as i64);
    key.iter().for_each(|value| hasher.value(value));
    match episode {
        Episode::Event(name) => {
            hasher.text("event");
            if let Some(partition) = partition {
                hasher.text(&partition.stream);
                hasher.int(i64::from(partition.index));
            }
            hasher.int(name.offset);
            hasher.int(i64::from(name.index));
            hasher.time(name.broker_time.0);
        }
        Episode::Window(start) => {
            hasher.text("window");
            hasher.time(start.0);
        }
        Episode::Deadline(due) => {
            hasher.text("deadline");
            hasher.time(due.0);
        }
    }
    hasher.text(severity.name());
    hasher.finish()
}

/// Everything that can blind a rule. Each has a counter (`fleetwarden_blind_total{rule,reason}`), a test that
/// raises it, and a line in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// An event for a window or pane that has closed: it changed nothing.
    Late,
    /// A limit cut something off: old times of a count, panes, distinct values, alerts of one second.
    Capped,
    /// A key seen once made room for a newcomer.
    Evicted,
    /// A new key was refused, since all keys that there is room for have been seen more than once.
    Refused,
    /// A part of the key was NULL: such events share one key.
    NullKey,
    /// Arithmetic overflowed, or a function could not read its input: NULL.
    Expression,
    /// The rule started without memory of what came before.
    ColdStart,
    /// Records that it will never see: they were gone before they could be read.
    Gap,
    /// The rule was left out, since it would need the exchange.
    Unplaced,
    /// A value was not judged, since neither its key nor its cohort has a normal yet.
    Learning,
    /// A value was NULL: neither judged nor learned.
    NullValue,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 11] = [
        Reason::Late,
        Reason::Capped,
        Reason::Evicted,
        Reason::Refused,
        Reason::NullKey,
        Reason::Expression,
        Reason::ColdStart,
        Reason::Gap,
        Reason::Unplaced,
        Reason::Learning,
        Reason::NullValue,
    ];

    /// The label in metrics and summaries.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Late => "late",
            Reason::Capped => "capped",
            Reason::Evicted => "evicted",
            Reason::Refused => "refused",
            Reason::NullKey => "null_key",
            Reason::Expression => "expression",
            Reason::ColdStart => "cold_start",
            Reason::Gap => "gap",
            Reason::Unplaced => "unplaced",
            Reason::Learning => "learning",
            Reason::NullValue => "null_value",
        }
    }
}

/// Counts by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blind(BTreeMap<Reason, u64>);

impl Blind {
    /// Counts `n` more of `reason`.
    pub fn add(&mut self, reason: Reason, n: u64) {
        if n > 0 {
            *self.0.entry(reason).or_default() += n;
        }
    }

    /// Adds all counts of `other`.
    pub fn merge(&mut self, other: &Blind) {
        other.0.iter().for_each(|(reason, n)| self.add(*reason, *n));
    }

    /// The count of `reason`.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0.get(&reason).copied().unwrap_or(0)
    }

    /// Reasons seen, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        self.0.iter().map(|(reason, n)| (*reason, *n))
    }

    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// What a detector found, before suppression.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Where in the order of outputs it stands.
    pub at: At,
    /// Whose finding it is.
    pub key: Key,
    /// The key's typed values.
    pub key_values: Vec<Value>,
    /// What made it one of its own.
    pub episode: Episode,
    /// By the rule's clock: of the row that fired, or the end of the window.
    pub time: Timestamp,
    /// Broker time of the row that fired, or the stream time of the close.
    pub broker_time: Timestamp,
    /// Stream time at which it was found: what suppression and limits go by.
    pub now: Timestamp,
    /// The rule's floor, or what an escalation raised it to.
    pub severity: Severity,
    /// Likewise.
    pub risk: u8,
    /// Start and end of the window.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Names and values, in order.
    pub observed: Vec<(Arc<str>, Value)>,
    /// Rows it stands on.
    pub count: u64,
    /// First and last few events.
    pub evidence: Vec<EventName>,
    /// The event that fired, if one did: its text is added by the worker.
    pub fired_by: Option<FiredBy>,
}

/// The row that fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiredBy {
    /// Its index in the rule's slice.
    pub slice_row: usize,
    /// Its name.
    pub name: EventName,
}

/// The place of a finding among all outputs of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A timer fired it by time: it stands before the first record whose stream time has reached `due`.
    Due {
        /// When the timer was due.
        due: Timestamp,
        /// The start of its window.
        start: Timestamp,
    },
    /// A row fired it.
    Row {
        /// The batch row.
        row: u32,
    },
    /// A row made a timer due, which fired directly after the row.
    AfterRow {
        /// The batch row.
        row: u32,
        /// When the timer was due.
        due: Timestamp,
        /// The start of its window.
        start: Timestamp,
    },
}
