//! Entries of the journal as bytes: JSON, described member by member in `docs/formats/journal.md`.
//!
//! What is read back equals what was written to the bit. Which entries count, and where they lie, is not
//! known here.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::Entry;
use crate::alert::{Alert, Entity, EntityType, Evidence, RuleInfo, Severity};
use crate::event::{KeyHasher, PartitionId, Stamp, Timestamp, Told, Value};
use crate::rule::KINDS;

/// The version of the format that is written, and the only one that is read.
const VERSION: u32 = 1;

/// An entry as it lies in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Who wrote it, in whose time.
    pub stamp: Stamp,
    /// Wall time of the writer: of alerts, when they were found.
    pub written: Timestamp,
    /// The version of the engine that wrote it.
    pub engine: String,
    /// What it says.
    pub entry: Entry,
}

/// Why bytes are no entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The member, or the line and column.
    pub at: String,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an entry of the journal: {}: {}", self.at, self.what)
    }
}

impl std::error::Error for Malformed {}

/// The bytes of an entry.
pub fn encode(written: &Written) -> Vec<u8> {
    let line = Line {
        v: VERSION,
        source: source_key(&written.stamp.source).into(),
        epoch: written.stamp.epoch,
        seq: written.stamp.seq,
        written: written.written.0,
        engine: (&written.engine).into(),
        entry: WireEntry::of(&written.entry),
    };
    // Nothing in it can fail to be written: names are texts, floats are texts too.
    serde_json::to_vec(&line).unwrap_or_default()
}

/// Reads the bytes of an entry. Members that are not known are passed over; another version is refused.
pub fn decode(bytes: &[u8]) -> Result<Written, Malformed> {
    let line = match serde_json::from_slice::<Line<'_>>(bytes) {
        Ok(line) => other_version(line.v).map_or(Ok(line), Err),
        // What else is wrong with an entry of another version says nothing.
        Err(error) => {
            let version = serde_json::from_slice(bytes).ok().and_then(|Version { v }| other_version(v));
            Err(version.unwrap_or_else(|| syntax(&error)))
        }
    }?;
    let source = parse_source(&line.source)
        .ok_or_else(|| malformed("source", format!("\"{}\" is not stream/partition", line.source)))?;
    Ok(Written {
        stamp: Stamp { source, epoch: line.epoch, seq: line.seq },
        written: Timestamp(line.written),
        engine: line.engine.into_owned(),
        entry: line.entry.read()?,
    })
}

/// The partition of the journal to which everything of a source goes: its key's SipHash-2-4-128, as alert ids
/// use it, modulo the number of partitions. Part of the format: all writers and readers must agree.
pub fn partition_of(source: &PartitionId, count: i32) -> i32 {
    let mut hasher = KeyHasher::default();
    hasher.text(&source_key(source));
    let count = u128::from(count.max(1).unsigned_abs());
    i32::try_from(hasher.finish() % count).unwrap_or(0)
}

/// A source as text, `telemetry/3`: the key of its records in the journal.
pub fn source_key(source: &PartitionId) -> String {
    source.to_string()
}

/// Reads what [`source_key`] wrote.
pub fn parse_source(key: &str) -> Option<PartitionId> {
    let (stream, index) = key.rsplit_once('/')?;
    Some(PartitionId { stream: Arc::from(stream), index: index.parse().ok()? })
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    v: u32,
    #[serde(borrow)]
    source: Cow<'a, str>,
    epoch: i64,
    seq: u64,
    written: i64,
    #[serde(borrow)]
    engine: Cow<'a, str>,
    #[serde(borrow)]
    entry: WireEntry<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireEntry<'a> {
    Claim,
    Open {
        cold: bool,
    },
    Told {
        at: i64,
        #[serde(borrow)]
        told: WireTold<'a>,
    },
    Alerts {
        through: i64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
        #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<WireRule<'a>>,
        #[serde(borrow)]
        alerts: Vec<WireAlert<'a>>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireTold<'a> {
    Tick(i64),
    #[serde(borrow)]
    Rules(Cow<'a, str>),
    Gap {
        from: i64,
        to: i64,
    },
}

/// Rules stand once an entry, since their texts are longer than all else in an alert.
#[derive(Serialize, Deserialize)]
struct WireRule<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow)]
    severity: Cow<'a, str>,
    risk: u8,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    r155: Cow<'a, [String]>,
    atm: Cow<'a, [String]>,
    attack: Cow<'a, [String]>,
    #[serde(borrow)]
    triage: Cow<'a, str>,
    #[serde(borrow)]
    blind_spots: Cow<'a, str>,
    key: Cow<'a, [String]>,
}

#[derive(Serialize, Deserialize)]
struct WireAlert<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    rule: usize,
    #[serde(borrow)]
    severity: Cow<'a, str>,
    risk: u8,
    key: Vec<Typed<'a>>,
    #[serde(borrow)]
    entities: Vec<WireEntity<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<(i64, i64)>,
    time: i64,
    broker_time: i64,
    #[serde(borrow)]
    observed: Vec<(Cow<'a, str>, Typed<'a>)>,
    count: u64,
    folds: u64,
    #[serde(borrow)]
    evidence: Vec<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct WireEntity<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    value: Typed<'a>,
}

impl<'a> WireEntry<'a> {
    fn of(entry: &'a Entry) -> WireEntry<'a> {
        match entry {
            Entry::Claim => WireEntry::Claim,
            Entry::Open { cold } => WireEntry::Open { cold: *cold },
            Entry::Told { at, told } => WireEntry::Told { at: *at, told: WireTold::of(*told) },
            Entry::Alerts { through, more, alerts } => {
                let mut known: Vec<&'a RuleInfo> = Vec::new();
                let alerts = alerts.iter().map(|alert| WireAlert::of(alert, &mut known)).collect();
                let rules = known.into_iter().map(WireRule::of).collect();
                WireEntry::Alerts { through: *through, more: *more, rules, alerts }
            }
        }
    }

    fn read(self) -> Result<Entry, Malformed> {
        Ok(match self {
            WireEntry::Claim => Entry::Claim,
            WireEntry::Open { cold } => Entry::Open { cold },
            WireEntry::Told { at, told } => Entry::Told { at, told: told.read()? },
            WireEntry::Alerts { through, more, rules, alerts } => {
                let rules = each("rules", rules, WireRule::read)?;
                let alerts = each("alerts", alerts, |alert| alert.read(&rules))?;
                Entry::Alerts { through, more, alerts }
            }
        })
    }
}

impl WireTold<'_> {
    fn of(told: Told) -> WireTold<'static> {
        match told {
            Told::Tick(now) => WireTold::Tick(now.0),
            Told::Rules(hash) => WireTold::Rules(hex(hash).into()),
            Told::Gap { from, to } => WireTold::Gap { from, to },
        }
    }

    fn read(&self) -> Result<Told, Malformed> {
        Ok(match self {
            WireTold::Tick(now) => Told::Tick(Timestamp(*now)),
            WireTold::Rules(hash) => Told::Rules(parse_hex("told.rules", hash)?),
            WireTold::Gap { from, to } => Told::Gap { from: *from, to: *to },
        })
    }
}

impl<'a> WireRule<'a> {
    fn of(rule: &'a RuleInfo) -> WireRule<'a> {
        WireRule {
            id: (&rule.id).into(),
            title: (&rule.title).into(),
            severity: rule.severity.name().into(),
            risk: rule.risk,
            version: (&rule.version).into(),
            kind: rule.kind.into(),
            stream: (&*rule.stream).into(),
            r155: (&rule.r155).into(),
            atm: (&rule.atm).into(),
            attack: (&rule.attack).into(),
            triage: (&rule.triage).into(),
            blind_spots: (&rule.blind_spots).into(),
            key: (&rule.key).into(),
        }
    }

    fn read(self) -> Result<Arc<RuleInfo>, Malformed> {
        let kind = KINDS.into_iter().find(|kind| *kind == self.kind);
        Ok(Arc::new(RuleInfo {
            id: self.id.into_owned(),
            title: self.title.into_owned(),
            severity: parse_severity(&self.severity)?,
            risk: self.risk,
            version: self.version.into_owned(),
            kind: kind.ok_or_else(|| malformed("kind", format!("unknown kind \"{}\"", self.kind)))?,
            stream: self.stream.into(),
            r155: self.r155.into_owned(),
            atm: self.atm.into_owned(),
            attack: self.attack.into_owned(),
            triage: self.triage.into_owned(),
            blind_spots: self.blind_spots.into_owned(),
            key: self.key.into_owned(),
        }))
    }
}

impl<'a> WireAlert<'a> {
    /// `known` are the rules of the entry so far.
    fn of(alert: &'a Alert, known: &mut Vec<&'a RuleInfo>) -> WireAlert<'a> {
        let rule = &*alert.rule;
        let same = |other: &&RuleInfo| std::ptr::eq(*other, rule) || **other == *rule;
        let rule = known.iter().position(same).unwrap_or_else(|| {
            known.push(rule);
            known.len() - 1
        });
        WireAlert {
            id: alert.id_hex().into(),
            rule,
            severity: alert.severity.name().into(),
            risk: alert.risk,
            key: alert.key.iter().map(Typed::of).collect(),
            entities: alert.entities.iter().map(WireEntity::of).collect(),
            window: alert.window.map(|(start, end)| (start.0, end.0)),
            time: alert.time.0,
            broker_time: alert.broker_time.0,
            observed: alert
                .observed
                .iter()
                .map(|(name, value)| ((&**name).into(), Typed::of(value)))
                .collect(),
            count: alert.count,
            folds: alert.folds,
            evidence: alert.evidence.iter().map(|evidence| evidence.to_string().into()).collect(),
            event: alert.event.as_deref().map(Cow::Borrowed),
        }
    }

    fn read(self, rules: &[Arc<RuleInfo>]) -> Result<Arc<Alert>, Malformed> {
        let rule = rules.get(self.rule).cloned();
        let own = |typed: Typed<'_>| typed.0.into_owned();
        Ok(Arc::new(Alert {
            id: parse_hex("id", &self.id)?,
            rule: rule.ok_or_else(|| malformed("rule", format!("the entry has no rule {}", self.rule)))?,
            severity: parse_severity(&self.severity)?,
            risk: self.risk,
            key: self.key.into_iter().map(own).collect(),
            entities: each("entities", self.entities, WireEntity::read)?,
            window: self.window.map(|(start, end)| (Timestamp(start), Timestamp(end))),
            time: Timestamp(self.time),
            broker_time: Timestamp(self.broker_time),
            observed: self.observed.into_iter().map(|(name, value)| (name.into(), own(value))).collect(),
            count: self.count,
            folds: self.folds,
            evidence: each("evidence", self.evidence, |text| parse_evidence(&text))?,
            event: self.event.map(|text| text.into_owned().into_boxed_str()),
        }))
    }
}

impl<'a> WireEntity<'a> {
    fn of(entity: &'a Entity) -> WireEntity<'a> {
        WireEntity { kind: entity.kind.name().into(), value: Typed::of(&entity.value) }
    }

    fn read(self) -> Result<Entity, Malformed> {
        let kind = EntityType::ALL.into_iter().find(|kind| kind.name() == self.kind);
        let kind = kind.ok_or_else(|| malformed("type", format!("unknown type \"{}\"", self.kind)))?;
        Ok(Entity { kind, value: self.value.0.into_owned() })
    }
}

/// A value with its type: what JSON tells apart stands plainly, floats and times in an object of one member.
/// Floats are texts, since readers of JSON numbers round.
struct Typed<'a>(Cow<'a, Value>);

impl<'a> Typed<'a> {
    fn of(value: &'a Value) -> Typed<'a> {
        Typed(Cow::Borrowed(value))
    }
}

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tagged = |serializer: S| serializer.serialize_map(Some(1));
        match &*self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => serializer.collect_seq(items.iter().map(Typed::of)),
            Value::Float(number) => {
                let mut map = tagged(serializer)?;
                map.serialize_entry("float", &format!("{number:?}"))?;
                map.end()
            }
            Value::Time(time) => {
                let mut map = tagged(serializer)?;
                map.serialize_entry("time", &time.0)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Typed<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TypedVisitor).map(|value| Typed(Cow::Owned(value)))
    }
}

struct TypedVisitor;

impl<'de> Visitor<'de> for TypedVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "null, a boolean, an integer, a text, a list, {\"float\": \"text\"} or {\"time\": microseconds}",
        )
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Int).map_err(|_| E::custom("an integer beyond 64 bits"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element::<Typed<'_>>()? {
            all.push(item.0.into_owned());
        }
        Ok(Value::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let tag = members.next_key::<Cow<'_, str>>()?;
        let value = match tag.as_deref() {
            Some("float") => {
                let text = members.next_value::<Cow<'_, str>>()?;
                let number = text.parse().map_err(|_| A::Error::custom(format!("\"{text}\" is no float")))?;
                Value::float(number)
            }
            Some("time") => Value::Time(Timestamp(members.next_value()?)),
            _ => return Err(A::Error::custom("neither \"float\" nor \"time\"")),
        };
        match members.next_key::<Cow<'_, str>>()? {
            None => Ok(value),
            Some(more) => Err(A::Error::custom(format!("\"{more}\" beside the value"))),
        }
    }
}

fn other_version(v: u32) -> Option<Malformed> {
    let what = format!("version {v}, while this engine reads version {VERSION}: another one wrote it");
    (v != VERSION).then(|| malformed("v", what))
}

fn malformed(at: &str, what: String) -> Malformed {
    Malformed { at: at.to_owned(), what }
}

fn syntax(error: &serde_json::Error) -> Malformed {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default().to_owned();
    Malformed { at: format!("line {} column {}", error.line(), error.column()), what }
}

/// Reads every item of a member, and says of a bad one which it was.
fn each<T, R>(
    member: &str,
    items: Vec<T>,
    read: impl Fn(T) -> Result<R, Malformed>,
) -> Result<Vec<R>, Malformed> {
    let read = |(at, item)| {
        read(item).map_err(|bad| {
            let inner = if bad.at.is_empty() { String::new() } else { format!(".{}", bad.at) };
            Malformed { at: format!("{member}[{at}]{inner}"), what: bad.what }
        })
    };
    items.into_iter().enumerate().map(read).collect()
}

fn hex(number: u128) -> String {
    format!("{number:032x}")
}

fn parse_hex(member: &str, text: &str) -> Result<u128, Malformed> {
    let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex);
    number.ok_or_else(|| malformed(member, format!("\"{text}\" is not 32 hex digits")))
}

fn parse_severity(name: &str) -> Result<Severity, Malformed> {
    Severity::parse(name).ok_or_else(|| malformed("severity", format!("unknown severity \"{name}\"")))
}

fn parse_evidence(text: &str) -> Result<Evidence, Malformed> {
    let read = || {
        let (record, index) = text.rsplit_once('#')?;
        let (partition, offset) = record.rsplit_once('@')?;
        let partition = parse_source(partition)?;
        Some(Evidence { partition, offset: offset.parse().ok()?, index: index.parse().ok()? })
    };
    read().ok_or_else(|| malformed("", format!("\"{text}\" is not stream/partition@offset#index")))
}

#[cfg(test)]
mod tests;
