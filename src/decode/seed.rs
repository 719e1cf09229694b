//! `serde_json` walks a record and hands each declared value's text to its column.
//!
//! Every value is taken as raw text, whether its column is built or not, so that what is rejected cannot
//! depend on what is built. Only objects on the way to a declared member are entered.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::plan::Plan;
use super::rows::Column;
use super::strict::{Fault, error_at};
use super::value;
use crate::event::{RejectReason, Timestamp};

/// What lives from record to record: columns under construction, and what is remembered of the order of
/// members.
pub(super) struct Memory {
    /// One per declared field.
    pub columns: Vec<Column>,
    /// Per node of the plan: the last object that had it.
    pub seen: Vec<u64>,
    /// How many objects there have been.
    objects: u64,
    /// Per node of the plan, the member that followed it last time, and then per node, the first member of an
    /// object there. Cars send the same members in the same order.
    pub next: Vec<usize>,
}

impl Memory {
    /// Empty columns for a plan.
    pub fn new(plan: &Plan) -> Memory {
        Memory {
            columns: plan.fields.iter().map(Column::new).collect(),
            seen: vec![0; plan.len()],
            objects: 0,
            next: vec![0; plan.len() * 2],
        }
    }

    /// Forgets all rows but the first so many.
    pub fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    /// Makes all columns `rows` long.
    pub fn pad(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.pad(rows));
    }

    /// The next object's number.
    pub fn object(&mut self) -> u64 {
        self.objects += 1;
        self.objects
    }
}

/// One record on its way into the columns. What it did is undone with [`Reading::undo`].
pub(super) struct Reading<'a> {
    plan: &'a Plan,
    memory: &'a mut Memory,
    text: &'a str,
    /// The rows that were there before.
    first: usize,
    /// The time of each event, as it says.
    pub times: Vec<Option<Timestamp>>,
    /// Fields whose value became NULL, once per value.
    pub mistyped: Vec<usize>,
    /// The time of the event that is being read.
    time: Option<Timestamp>,
    /// The record itself, as an object.
    outer: u64,
    /// Whether the record turned out to be a list: then its own members are not those of an event.
    listed: bool,
    fault: Option<Fault>,
}

impl<'a> Reading<'a> {
    /// Reads a record; a fault is what is wrong with it if it is JSON.
    pub fn read(
        plan: &'a Plan,
        memory: &'a mut Memory,
        text: &'a str,
        rows: usize,
    ) -> (Self, Result<(), Option<Fault>>) {
        let mut reading = Reading {
            plan,
            memory,
            text,
            first: rows,
            times: Vec::new(),
            mistyped: Vec::new(),
            time: None,
            outer: 0,
            listed: false,
            fault: None,
        };
        let outcome = reading.record();
        let outcome = outcome.map_err(|()| reading.fault.take());
        (reading, outcome)
    }

    /// Takes back all rows of the record.
    pub fn undo(self) {
        self.memory.truncate(self.first);
    }

    fn record(&mut self) -> Result<(), ()> {
        let text = self.text;
        let mut json = serde_json::Deserializer::from_str(text);
        let start = text.len() - text.trim_start_matches([' ', '\t', '\n', '\r']).len();
        let done = match text.as_bytes().get(start) {
            Some(b'{') => {
                self.outer = self.memory.object();
                Members { node: self.plan.outer, object: self.outer, reading: self }.deserialize(&mut json)
            }
            Some(b'[') if self.plan.many => {
                self.listed = true;
                Events(self).deserialize(&mut json)
            }
            _ => {
                self.fault = Some(Fault::new(RejectReason::Shape, start, "not an object"));
                return Err(());
            }
        };
        let done = done.and_then(|()| json.end());
        if done.is_ok() && !self.listed {
            self.end_event();
        }
        done.map_err(|error| self.stopped(text, &error))
    }

    /// Where it stopped, unless that is known better: it is a matter of shape if it is none of JSON.
    fn stopped(&mut self, text: &str, error: &serde_json::Error) {
        if self.fault.is_none() && error.is_data() {
            let at = self.place(text) + error_at(text, error);
            self.fault = Some(Fault::new(RejectReason::Shape, at, "not an event, nor a list of events"));
        }
    }

    /// The byte of the record at which a part of it starts.
    fn place(&self, part: &str) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    fn end_event(&mut self) {
        self.times.push(self.time.take());
        let rows = self.first + self.times.len();
        self.memory.pad(rows);
    }

    /// The record is a list: what its own members have left is no event.
    fn begin_list(&mut self) {
        self.memory.truncate(self.first);
        self.mistyped.clear();
        self.time = None;
        self.listed = true;
    }

    /// A declared member of an object.
    fn member(&mut self, node: usize, object: u64, raw: &str, keep: bool) -> Result<(), ()> {
        if let Some(field) = self.plan.field(node).filter(|_| keep && raw != "null") {
            self.value(field, raw);
        }
        if !self.plan.is_inner(node) {
            return Ok(());
        }
        if raw.starts_with('{') {
            let mut json = serde_json::Deserializer::from_str(raw);
            let inner = Members { node, object, reading: self }.deserialize(&mut json);
            return inner.map_err(|error| self.stopped(raw, &error));
        }
        if keep && raw != "null" {
            self.mistyped.extend_from_slice(self.plan.below(node));
        }
        Ok(())
    }

    fn value(&mut self, field: usize, raw: &str) {
        let (Some(plan), Some(column)) = (self.plan.fields.get(field), self.memory.columns.get_mut(field))
        else {
            return;
        };
        if !column.push(plan, raw) {
            self.mistyped.push(field);
        }
        if let (true, crate::schema::FieldType::Time(unit)) = (plan.is_time, plan.field.kind) {
            self.time = value::time(raw, unit);
        }
    }

    /// The node of a member; a declared one that stands twice is a fault.
    fn enter(
        &mut self,
        name: &str,
        at: usize,
        node: usize,
        before: usize,
        object: u64,
    ) -> Result<Option<usize>, ()> {
        let guess = self.memory.next.get(before).copied().unwrap_or(0);
        let Some(child) = self.plan.child(node, name, guess) else { return Ok(None) };
        if let Some(next) = self.memory.next.get_mut(before) {
            *next = child;
        }
        if let Some(seen) = self.memory.seen.get_mut(child) {
            if *seen == object {
                let detail = format!("member \"{name}\" stands twice");
                self.fault = Some(Fault::new(RejectReason::DoubledKey, at, detail));
                return Err(());
            }
            *seen = object;
        }
        Ok(Some(child))
    }
}

/// An object on the way to declared members.
struct Members<'r, 'a> {
    reading: &'r mut Reading<'a>,
    node: usize,
    /// Which object it belongs to: an event or the record itself.
    object: u64,
}

impl<'de> DeserializeSeed<'de> for Members<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Members { reading, node, object } = self;
        let (mut before, mut end) = (reading.plan.len() + node, 0);
        loop {
            let name = Name { reading: &mut *reading, node, before, object, end };
            let Some(child) = map.next_key_seed(name)? else { return Ok(()) };
            let Some(child) = child else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            before = child;
            if reading.plan.is_records(child) {
                reading.begin_list();
                map.next_value_seed(Events(&mut *reading))?;
                continue;
            }
            let raw = map.next_value::<&RawValue>()?.get();
            end = reading.place(raw) + raw.len();
            // Members of a record that is a list belong to no event.
            let keep = !(reading.listed && object == reading.outer);
            reading.member(child, object, raw, keep).map_err(|()| A::Error::custom("stopped"))?;
        }
    }
}

/// A member's name → its node.
struct Name<'r, 'a> {
    reading: &'r mut Reading<'a>,
    /// The object's node.
    node: usize,
    /// The place in `next` of the declared member before, or of the object's first one.
    before: usize,
    object: u64,
    /// Where the last declared value ended: the place of a name that is written with escapes.
    end: usize,
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(mut self, name: &'de str) -> Result<Self::Value, E> {
        self.end = self.reading.place(name).saturating_sub(1);
        self.visit_str(name)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let entered = self.reading.enter(name, self.end, self.node, self.before, self.object);
        entered.map_err(|()| E::custom("stopped"))
    }
}

/// The array of a record's events.
struct Events<'r, 'a>(&'r mut Reading<'a>);

impl<'de> DeserializeSeed<'de> for Events<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Events<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        loop {
            let object = self.0.memory.object();
            let event = Members { node: self.0.plan.event, object, reading: &mut *self.0 };
            if list.next_element_seed(event)?.is_none() {
                return Ok(());
            }
            self.0.end_event();
        }
    }
}
