//! Records → the schema that describes them, with what speaks for every guess.
//!
//! `profile` counts what was seen at every path, `shape` says what a text or a name looks like, `column` makes
//! fields of it, `toml` writes the schema. What is guessed here is written into a file that a person reads and
//! corrects: nothing that runs guesses.

mod column;
mod profile;
mod shape;
mod toml;

use serde_json::value::RawValue;

pub use self::column::{Column, Columns, LeftOut, plural, share, thousands};
pub use self::profile::{Place, Profile, Seen};
use self::shape::says_time;
use super::FieldType;
use crate::alert::EntityType;

/// The longest text that may be a partition key.
const KEY_BYTES: usize = 64;

/// One record to look at.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Where it comes from.
    pub place: Place<'a>,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// What was seen of some records.
#[derive(Debug, Default)]
pub struct Look {
    /// Records looked at.
    pub records: u64,
    /// Events in them.
    pub events: u64,
    /// Records that hold no event that could be read.
    pub unreadable: u64,
    /// Why the first of them could not.
    pub unreadable_why: Option<String>,
    /// Path of the list that holds the events of a record; empty = a record is an event.
    pub records_at: Vec<String>,
    /// Partitions they came from.
    pub partitions: u64,
    profile: Profile,
}

/// The time of events.
#[derive(Debug)]
pub struct TimeGuess {
    /// Index of its column.
    pub column: usize,
    /// What speaks for it.
    pub why: String,
}

/// The partition key of events.
#[derive(Debug)]
pub struct KeyGuess {
    /// Index of its column.
    pub column: usize,
    /// What speaks for it.
    pub why: String,
    /// Whether it is more than a habit: the records say so.
    pub sure: bool,
}

/// A schema that fits what was seen.
#[derive(Debug)]
pub struct Guess<'p> {
    /// What was seen.
    pub look: &'p Look,
    /// Its fields, and what is left out.
    pub columns: Columns<'p>,
    /// Its time field.
    pub time: Option<TimeGuess>,
    /// Other fields that could be the time.
    pub other_times: Vec<usize>,
    /// Its partition key.
    pub key: Option<KeyGuess>,
}

/// The name that something gets as a stream or a column.
pub fn name(text: &str) -> String {
    super::words::snake(text)
}

/// Looks at records, as many as there are.
pub fn look(samples: &[Sample<'_>]) -> Look {
    let mut look = Look { records_at: records_at(samples), ..Look::default() };
    let mut partitions = std::collections::HashSet::new();
    for sample in samples {
        look.records += 1;
        partitions.insert(sample.place.partition);
        if let Err(why) = look.add(sample) {
            look.unreadable += 1;
            look.unreadable_why.get_or_insert(why);
        }
    }
    look.partitions = partitions.len() as u64;
    look
}

impl Look {
    fn add(&mut self, sample: &Sample<'_>) -> Result<(), String> {
        let text = std::str::from_utf8(sample.payload).map_err(|_| "it is not UTF-8".to_owned())?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        let whole: &RawValue =
            serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        for event in events(whole, &self.records_at) {
            if !self.profile.add(event.get(), &sample.place) {
                return Err("it is no JSON object".to_owned());
            }
            self.events += 1;
        }
        Ok(())
    }

    /// The schema that fits.
    pub fn guess(&self) -> Guess<'_> {
        let columns = column::columns(&self.profile.root, self.events, &self.records_at);
        let mut times: Vec<(i64, usize)> = (0..)
            .zip(&columns.all)
            .filter(|(_, column)| matches!(column.kind, FieldType::Time(_)))
            .map(|(at, column)| (self.time_score(column), at))
            .collect();
        times.sort_by_key(|(score, at)| (std::cmp::Reverse(*score), *at));
        let best = times.first().copied().filter(|(score, _)| *score > 0);
        let time = best.map(|(_, at)| TimeGuess { column: at, why: self.time_why(&columns, at) });
        let other_times = times.iter().skip(usize::from(best.is_some())).map(|(_, at)| *at).collect();
        let key = self.key(&columns);
        Guess { look: self, columns, time, other_times, key }
    }

    /// How much speaks for a field being the time of the event; not above 0 = too little.
    fn time_score(&self, column: &Column<'_>) -> i64 {
        let seen = &column.seen.time;
        let percent = |part: u64, whole: u64| (part * 100).checked_div(whole).unwrap_or(0) as i64;
        let present = percent(column.seen.values(), self.events);
        let leaf = column.path.last().copied().map(super::words::snake).unwrap_or_default();
        let name = i64::from(says_time(&leaf));
        let in_order = percent(seen.rising, seen.steps);
        let by_clock = 2 * percent(seen.near, seen.compared)
            - percent(seen.behind, seen.compared)
            - 3 * percent(seen.ahead, seen.compared);
        let varies = if seen.steps > 20 && column.seen.distinct.len() < 2 { -200 } else { 0 };
        let deep = 20 * column.path.len() as i64;
        if present < 50 { -1 } else { 3 * present + 100 * name + in_order + by_clock + varies - deep }
    }

    fn time_why(&self, columns: &Columns<'_>, at: usize) -> String {
        let Some(column) = columns.all.get(at) else { return String::new() };
        let seen = &column.seen.time;
        let mut parts = Vec::new();
        if column.seen.values() < self.events {
            parts.push(format!("in {} of the events", share(column.seen.values(), self.events)));
        }
        if seen.compared > 0 {
            parts.push(format!("{} within 3 s of the broker's clock", share(seen.near, seen.compared)));
            if seen.behind > 0 {
                parts.push(format!("{} more than an hour behind", plural(seen.behind, "event")));
            }
            if seen.ahead > 0 {
                parts.push(format!("{} more than 5 min ahead", plural(seen.ahead, "event")));
            }
        } else if seen.steps > 0 {
            parts.push(format!("{} in order", share(seen.rising, seen.steps)));
        }
        parts.join("; ")
    }

    /// The field that the partition key is: the records' keys say so, or that each value keeps to one
    /// partition, or the habit of partitioning by vehicle.
    fn key(&self, columns: &Columns<'_>) -> Option<KeyGuess> {
        let fits = |column: &&Column<'_>| {
            matches!(column.kind, FieldType::Text | FieldType::Int | FieldType::Ip)
                && column.seen.values() * 100 >= self.events * 99
                && column.seen.longest <= KEY_BYTES
        };
        let able = || (0..).zip(&columns.all).filter(|(_, column)| fits(column));
        let equal = able()
            .filter(|(_, column)| column.seen.key.compared > 0)
            .map(|(at, column)| (column.seen.key.equal, at, column))
            .max_by_key(|(equal, at, _)| (*equal, std::cmp::Reverse(*at)))
            .filter(|(equal, _, column)| equal * 100 >= column.seen.key.compared * 95);
        if let Some((equal, column, seen)) = equal {
            let why = format!("equals the records' key in {}", share(equal, seen.seen.key.compared));
            return Some(KeyGuess { column, why, sure: true });
        }
        let keeps = |column: &Column<'_>| {
            let (distinct, values) = (column.seen.distinct.len() as u64, column.seen.values());
            distinct >= 4 * self.partitions && values >= 2 * distinct && column.seen.key.strays == 0
        };
        if self.partitions > 1 {
            let (column, _) = able()
                .filter(|(_, column)| keeps(column))
                .min_by_key(|(at, column)| (unlike_key(column), *at))?;
            let why = format!("each value in one of {} partitions only", self.partitions);
            return Some(KeyGuess { column, why, sure: true });
        }
        let (column, _) = able().find(|(_, column)| column.entity == Some(EntityType::Vehicle))?;
        let why = "supposed: vehicles' topics usually are partitioned by it".to_owned();
        Some(KeyGuess { column, why, sure: false })
    }
}

/// How little a field is like a partition key: vehicles first, then what is called an id or names somebody.
fn unlike_key(column: &Column<'_>) -> u8 {
    let is_id = ["id", "key", "vin"].iter().any(|end| column.name.rsplit('_').next() == Some(end));
    match column.entity {
        Some(EntityType::Vehicle) => 0,
        Some(EntityType::User) => 1,
        _ if is_id => 1,
        Some(_) => 2,
        None => 3,
    }
}

/// Names of members that hold lists of events.
const LISTS: [&str; 9] =
    ["records", "events", "logevents", "items", "entries", "messages", "value", "values", "data"];
/// Records that tell whether they hold lists of events.
const TOLD: usize = 64;

/// The path of the list that holds the events of a record: the only member of records, or one of a usual name,
/// in all of the first records; or a name for a bare list. Empty = a record is an event.
fn records_at(samples: &[Sample<'_>]) -> Vec<String> {
    let values = || {
        samples.iter().filter_map(|sample| serde_json::from_slice::<serde_json::Value>(sample.payload).ok())
    };
    let mut paths: Vec<Vec<String>> = values().take(TOLD).filter_map(|value| list_in(&value)).collect();
    let Some(path) = paths.pop() else { return Vec::new() };
    if paths.iter().any(|other| !other.is_empty() && !path.is_empty() && *other != path) {
        return Vec::new();
    }
    if values().take(TOLD).any(|value| value.is_object() && list_in(&value).is_none()) {
        return Vec::new();
    }
    if path.is_empty() { vec!["Records".to_owned()] } else { path }
}

/// Where the list of events in a record is; empty = the record is it; none = it is one event.
fn list_in(value: &serde_json::Value) -> Option<Vec<String>> {
    let is_events = |value: &serde_json::Value| {
        value.as_array().is_some_and(|list| list.iter().all(serde_json::Value::is_object))
    };
    if value.is_array() {
        return is_events(value).then(Vec::new);
    }
    let members = value.as_object()?;
    if let [(name, inner)] = members.iter().collect::<Vec<_>>().as_slice() {
        if is_events(inner) {
            return Some(vec![(*name).clone()]);
        }
        if inner.is_object() {
            let below = list_in(inner)?;
            return Some(std::iter::once((*name).clone()).chain(below).collect());
        }
    }
    let usual = |name: &str| LISTS.contains(&name.to_ascii_lowercase().as_str());
    let listed: Vec<&String> = members
        .iter()
        .filter(|(_, inner)| is_events(inner) && inner.get(0).is_some())
        .map(|(name, _)| name)
        .collect();
    match listed.as_slice() {
        [name] if usual(name) && members.len() <= 8 => Some(vec![(*name).clone()]),
        _ => None,
    }
}

/// The events of a record.
fn events<'r>(record: &'r RawValue, path: &[String]) -> Vec<&'r RawValue> {
    let list = |value: &'r RawValue| serde_json::from_str::<Vec<&RawValue>>(value.get()).ok();
    if path.is_empty() {
        return vec![record];
    }
    if let Some(list) = list(record) {
        return list;
    }
    let mut at = record;
    for name in path {
        let members: Option<std::collections::HashMap<String, &RawValue>> =
            serde_json::from_str(at.get()).ok();
        match members.and_then(|members| members.get(name).copied()) {
            Some(inner) => at = inner,
            None => return vec![record],
        }
    }
    list(at).unwrap_or_else(|| vec![record])
}

#[cfg(test)]
mod tests;
