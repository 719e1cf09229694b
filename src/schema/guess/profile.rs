//! What was seen at every path of some events: kinds of values, their range, their forms. Bounded, whatever
//! the events are.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::shape::{Shape, shape};
use crate::event::Timestamp;
use crate::event::time::SECOND;

/// Members of one object that are told apart.
const MEMBERS: usize = 256;
/// Paths that are told apart in all.
const NODES: usize = 2048;
/// How deep objects are looked into.
const DEPTH: usize = 6;
/// Values of one path that are told apart, and those that are remembered as they are.
const DISTINCT: usize = 1024;
const WORDS: usize = 24;
const WORD_BYTES: usize = 32;

/// Where an event comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// Its partition.
    pub partition: i32,
    /// When the broker took it, if that is known.
    pub broker_time: Option<Timestamp>,
    /// The key of its record.
    pub key: Option<&'a [u8]>,
}

/// A path, and all below it.
#[derive(Debug, Default)]
pub struct Node {
    /// The name of the member that leads here.
    pub name: String,
    /// Members, in the order they were first seen.
    pub children: Vec<Node>,
    by_name: HashMap<String, usize>,
    /// There are more members than are told apart, or they lie too deep.
    pub closed: bool,
    /// Events in which the member stands twice.
    pub doubled: u64,
    /// The last object of the parent that had it.
    last: u64,
    /// The values here.
    pub seen: Seen,
}

/// The values of one path.
#[derive(Debug, Default)]
pub struct Seen {
    /// `null`.
    pub nulls: u64,
    /// `true` and `false`.
    pub bools: u64,
    /// Whole numbers of 64 bits.
    pub ints: u64,
    /// Whole numbers beyond that.
    pub big: u64,
    /// Numbers with a fraction or an exponent.
    pub floats: u64,
    /// Texts.
    pub texts: u64,
    /// Objects.
    pub objects: u64,
    /// Lists of texts only, empty ones among them.
    pub text_lists: u64,
    /// Other lists.
    pub lists: u64,
    /// Bytes of the longest text.
    pub longest: usize,
    /// Smallest and largest number.
    pub range: Option<(f64, f64)>,
    /// Forms of texts, by [`Shape`].
    pub shapes: [u64; Shape::COUNT],
    /// Short texts and how often each was seen; empty once there are too many.
    pub words: BTreeMap<String, u64>,
    /// There were more short texts than are remembered, or longer ones.
    pub many_words: bool,
    /// Hashes of values, while there are not too many.
    pub distinct: HashSet<u64>,
    /// As a time.
    pub time: TimeSeen,
    /// As a partition key.
    pub key: KeySeen,
}

/// The values of one path, taken as times.
#[derive(Debug, Default)]
pub struct TimeSeen {
    /// Numbers that would be a time in s, ms, us, ns of this age.
    pub units: [u64; 4],
    /// Compared with the broker's clock.
    pub compared: u64,
    /// Of these: within 3 s; more than an hour behind; more than 5 min ahead.
    pub near: u64,
    /// More than an hour behind.
    pub behind: u64,
    /// More than five minutes ahead.
    pub ahead: u64,
    /// Not before the one before it in its partition, of `steps`.
    pub rising: u64,
    /// Pairs compared.
    pub steps: u64,
    last: HashMap<i32, i64>,
}

/// The values of one path, taken as the key of their record.
#[derive(Debug, Default)]
pub struct KeySeen {
    /// Equal to the record's key.
    pub equal: u64,
    /// Compared with a record's key.
    pub compared: u64,
    /// Seen in another partition than the first time.
    pub strays: u64,
    owners: HashMap<u64, i32>,
}

impl Seen {
    /// Values that are there and not `null`.
    pub fn values(&self) -> u64 {
        self.bools
            + self.ints
            + self.big
            + self.floats
            + self.texts
            + self.objects
            + self.text_lists
            + self.lists
    }

    /// How many texts have a form.
    pub fn of_shape(&self, shape: Shape) -> u64 {
        self.shapes.get(shape as usize).copied().unwrap_or(0)
    }

    fn number(&mut self, value: f64) {
        let (low, high) = self.range.unwrap_or((value, value));
        self.range = Some((low.min(value), high.max(value)));
    }

    fn text(&mut self, text: &str, place: &Place<'_>) {
        self.texts += 1;
        self.longest = self.longest.max(text.len());
        let shape = shape(text);
        if let Some(count) = self.shapes.get_mut(shape as usize) {
            *count += 1;
        }
        if !self.many_words {
            if text.len() > WORD_BYTES || (self.words.len() >= WORDS && !self.words.contains_key(text)) {
                self.many_words = true;
                self.words.clear();
            } else {
                *self.words.entry(text.to_owned()).or_default() += 1;
            }
        }
        if matches!(shape, Shape::Rfc3339 | Shape::OtherTime)
            && let Some(time) = Timestamp::parse_text(text)
        {
            self.time.add(time, place);
        }
        self.name(text, place);
    }

    /// A value that may be a key.
    fn name(&mut self, text: &str, place: &Place<'_>) {
        if text.len() > 256 {
            return;
        }
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(text);
        if self.distinct.len() < DISTINCT {
            self.distinct.insert(hash);
        }
        let key = &mut self.key;
        if let Some(of_record) = place.key {
            key.compared += 1;
            key.equal += u64::from(of_record == text.as_bytes());
        }
        let room = key.owners.len() < DISTINCT;
        match key.owners.entry(hash) {
            Entry::Occupied(owner) => key.strays += u64::from(*owner.get() != place.partition),
            Entry::Vacant(free) if room => {
                free.insert(place.partition);
            }
            Entry::Vacant(_) => {}
        }
    }

    fn int(&mut self, value: i64, place: &Place<'_>) {
        self.ints += 1;
        self.number(value as f64);
        self.epoch(value as f64, place);
        self.name(&value.to_string(), place);
    }

    fn float(&mut self, value: f64, place: &Place<'_>) {
        self.floats += 1;
        self.number(value);
        self.epoch(value, place);
    }

    fn epoch(&mut self, value: f64, place: &Place<'_>) {
        if let Some((unit, time)) = epoch(value) {
            if let Some(count) = self.time.units.get_mut(unit) {
                *count += 1;
            }
            self.time.add(time, place);
        }
    }
}

/// The unit (0 s, 1 ms, 2 us, 3 ns) in which a number is a time between 2000 and 2100, and that time.
pub fn epoch(value: f64) -> Option<(usize, Timestamp)> {
    const FROM: f64 = 946_684_800.0;
    const TO: f64 = 4_102_444_800.0;
    let units: [(usize, f64); 4] = [(0, 1.0), (1, 1e3), (2, 1e6), (3, 1e9)];
    units.into_iter().find_map(|(unit, scale)| {
        let seconds = value / scale;
        (FROM..TO).contains(&seconds).then_some((unit, Timestamp((seconds * SECOND as f64) as i64)))
    })
}

impl TimeSeen {
    fn add(&mut self, time: Timestamp, place: &Place<'_>) {
        if let Some(broker) = place.broker_time {
            let behind = broker.0.saturating_sub(time.0);
            self.compared += 1;
            self.near += u64::from(behind.abs() <= 3 * SECOND);
            self.behind += u64::from(behind > 3600 * SECOND);
            self.ahead += u64::from(behind < -300 * SECOND);
        }
        if let Some(last) = self.last.insert(place.partition, time.0) {
            self.steps += 1;
            self.rising += u64::from(time.0 >= last);
        }
        if self.last.len() > DISTINCT {
            self.last.clear();
        }
    }
}

/// What was seen of all events.
#[derive(Debug, Default)]
pub struct Profile {
    /// The events themselves.
    pub root: Node,
    nodes: usize,
}

impl Profile {
    /// Takes in one event; false if its text is no JSON object.
    pub fn add(&mut self, event: &str, place: &Place<'_>) -> bool {
        let mut json = serde_json::Deserializer::from_str(event);
        let walk = Walk { node: &mut self.root, nodes: &mut self.nodes, place, depth: 0 };
        event.trim_start().starts_with('{') && walk.deserialize(&mut json).is_ok()
    }
}

/// One value on its way into its node.
struct Walk<'a> {
    node: &'a mut Node,
    nodes: &'a mut usize,
    place: &'a Place<'a>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.node.seen.nulls += 1;
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.node.seen.bools += 1;
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.node.seen.int(value, self.place);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.node.seen.int(value, self.place),
            Err(_) => {
                self.node.seen.big += 1;
                self.node.seen.number(value as f64);
            }
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.node.seen.float(value, self.place);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.node.seen.text(text, self.place);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut only_texts = true;
        while let Some(is_text) = list.next_element_seed(IsText)? {
            only_texts &= is_text;
        }
        if only_texts {
            self.node.seen.text_lists += 1;
        } else {
            self.node.seen.lists += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Walk { node, nodes, place, depth } = self;
        node.seen.objects += 1;
        let object = node.seen.objects;
        while let Some(name) = map.next_key::<String>()? {
            let known = node.by_name.get(&name).copied();
            let at = match known {
                Some(at) => Some(at),
                None if node.children.len() >= MEMBERS || *nodes >= NODES || depth >= DEPTH => None,
                None => {
                    *nodes += 1;
                    node.children.push(Node { name: name.clone(), ..Node::default() });
                    node.by_name.insert(name, node.children.len() - 1);
                    Some(node.children.len() - 1)
                }
            };
            match at.and_then(|at| node.children.get_mut(at)) {
                Some(child) => {
                    child.doubled += u64::from(child.last == object);
                    child.last = object;
                    map.next_value_seed(Walk { node: child, nodes, place, depth: depth + 1 })?;
                }
                None => {
                    node.closed = true;
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a value is a text.
struct IsText;

impl<'de> DeserializeSeed<'de> for IsText {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for IsText {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_counts_kinds_in_the_order_of_the_members() {
        let mut profile = Profile::default();
        let place = Place::default();
        assert!(profile.add(r#"{"b":1,"a":{"x":[1],"y":["t"]},"c":null}"#, &place));
        assert!(profile.add(r#"{"b":1.5,"a":{"x":[],"z":"t"},"d":18446744073709551615}"#, &place));
        assert!(!profile.add("[1]", &place) && !profile.add("{\"b\":", &place));
        let names: Vec<&str> = profile.root.children.iter().map(|child| child.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "c", "d"]);
        let [b, a, c, d] = profile.root.children.as_slice() else { panic!() };
        assert_eq!((b.seen.ints, b.seen.floats, c.seen.nulls, d.seen.big), (1, 1, 1, 1));
        assert_eq!((a.children[0].seen.lists, a.children[0].seen.text_lists), (1, 1));
        assert_eq!(a.children[1].seen.text_lists, 1);
    }

    #[test]
    fn it_stays_small_whatever_comes() {
        let mut profile = Profile::default();
        for i in 0..100 {
            let members: Vec<String> =
                (0..1000).map(|n| format!("\"k{}\":{{\"x{n}\":\"{i}-{n}\"}}", i * 1000 + n)).collect();
            assert!(profile.add(&format!("{{{}}}", members.join(",")), &Place::default()));
        }
        assert!(profile.root.closed && profile.root.children.len() == MEMBERS && profile.nodes <= NODES);
        let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
        let mut profile = Profile::default();
        assert!(profile.add(&deep, &Place::default()));
        assert_eq!(profile.nodes, DEPTH);
    }

    #[test]
    fn numbers_are_times_by_their_size() {
        let unit = |value| epoch(value).map(|(unit, time)| (unit, time.0 / SECOND));
        let at = 1_732_443_138;
        assert_eq!(unit(1_732_443_138.0), Some((0, at)));
        assert_eq!(unit(1_732_443_138_204.0), Some((1, at)));
        assert_eq!(unit(1_732_443_138_204_001.0), Some((2, at)));
        assert_eq!(unit(1.732443138204e18), Some((3, at)));
        assert_eq!([unit(5.0), unit(-1.0), unit(9e20)], [None; 3]);
    }
}
