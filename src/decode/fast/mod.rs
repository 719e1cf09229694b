//! The quick reading of a record: one pass, from bytes straight into columns.
//!
//! It takes a record or leaves it, and says no more: a record that it leaves is read again by `seed`, which
//! knows why it is none. It takes exactly what `seed` takes, and makes the same of it. Cars send the same
//! members in the same order, so the member that followed another one last time is looked for first.

mod bytes;
mod leaf;
mod steps;

use self::bytes::Cursor;
use self::steps::{Kind, Step, Steps};
use super::plan::Plan;
use super::seed::Memory;
use crate::event::Timestamp;

/// What the quick reading remembers from record to record, and what it found in the last one.
pub(super) struct Fast {
    steps: Steps,
    /// As `Memory::next`: what it was before that was another one.
    other: Vec<usize>,
    open: Vec<bool>,
    /// The time of each event, as it says.
    pub times: Vec<Option<Timestamp>>,
    /// Fields whose value became NULL, once per value.
    pub mistyped: Vec<usize>,
}

impl Fast {
    /// Ready for the first record.
    pub fn new(plan: &Plan) -> Fast {
        Fast {
            steps: Steps::new(plan),
            other: vec![0; plan.len() * 2],
            open: Vec::new(),
            times: Vec::new(),
            mistyped: Vec::new(),
        }
    }

    /// Takes a record whole, or leaves it and all columns as they were.
    pub fn read(
        &mut self,
        plan: &Plan,
        memory: &mut Memory,
        payload: &[u8],
        rows: usize,
        max_depth: usize,
    ) -> Option<()> {
        let text = std::str::from_utf8(payload).ok()?;
        self.times.clear();
        self.mistyped.clear();
        let mut reader = Reader {
            plan,
            steps: &self.steps,
            memory: &mut *memory,
            other: &mut self.other,
            text,
            cursor: Cursor::new(text.as_bytes(), max_depth, &mut self.open),
            first: rows,
            row: rows,
            times: &mut self.times,
            mistyped: &mut self.mistyped,
            time: None,
            outer: 0,
            listed: false,
        };
        let taken = reader.record();
        if taken.is_none() {
            memory.truncate(rows);
        }
        taken
    }
}

/// One record on its way into the columns.
struct Reader<'a> {
    plan: &'a Plan,
    steps: &'a Steps,
    memory: &'a mut Memory,
    other: &'a mut [usize],
    text: &'a str,
    cursor: Cursor<'a>,
    /// The row of the record's first event.
    first: usize,
    /// The row of the event that is being read.
    row: usize,
    times: &'a mut Vec<Option<Timestamp>>,
    mistyped: &'a mut Vec<usize>,
    /// The time of the event that is being read.
    time: Option<Timestamp>,
    /// The record itself, as an object.
    outer: u64,
    /// Whether the record turned out to be a list: then its own members are not those of an event.
    listed: bool,
}

impl Reader<'_> {
    fn record(&mut self) -> Option<()> {
        self.cursor.space();
        match self.cursor.peek()? {
            b'{' => {
                self.outer = self.memory.object();
                self.members(self.plan.outer, self.outer, 0)?;
            }
            b'[' if self.plan.many => {
                self.listed = true;
                self.events(0)?;
            }
            _ => return None,
        }
        if !self.listed {
            self.end_event();
        }
        self.cursor.space();
        self.cursor.peek().is_none().then_some(())
    }

    fn end_event(&mut self) {
        self.times.push(self.time.take());
        self.row += 1;
    }

    /// The array of a record's events.
    fn events(&mut self, depth: usize) -> Option<()> {
        if self.cursor.peek()? != b'[' {
            return None;
        }
        let mut more = self.cursor.enter(depth, b']')?;
        while more {
            let object = self.memory.object();
            self.members(self.plan.event, object, depth + 1)?;
            self.end_event();
            more = self.cursor.more(b']')?;
        }
        Some(())
    }

    /// The record is a list: what its own members have left is no event.
    fn begin_list(&mut self) {
        self.memory.truncate(self.first);
        self.mistyped.clear();
        self.time = None;
        self.listed = true;
    }

    /// An object on the way to declared members; `object` says which event or record it belongs to.
    fn members(&mut self, node: usize, object: u64, depth: usize) -> Option<()> {
        if self.cursor.peek()? != b'{' {
            return None;
        }
        let mut before = self.plan.len() + node;
        let mut more = self.cursor.enter(depth, b'}')?;
        while more {
            match self.name(node, before, object)? {
                Some((child, step)) => {
                    before = child;
                    self.member(child, step, object, depth + 1)?;
                }
                None => self.cursor.skip(depth + 1)?,
            }
            more = self.cursor.more(b'}')?;
        }
        Some(())
    }
}

impl<'a> Reader<'a> {
    /// Goes over a member's name and colon; the node and step that it leads to, if it is declared. A declared
    /// one that stands twice is a fault.
    #[inline]
    fn name(&mut self, node: usize, before: usize, object: u64) -> Option<Option<(usize, &'a Step)>> {
        let steps = self.steps;
        let rest = self.cursor.bytes.get(self.cursor.at..)?;
        let guess = *self.memory.next.get(before)?;
        let step = steps.get(guess)?;
        if let Some(length) = step.behind(rest) {
            self.cursor.at += length;
            self.cursor.space();
            return self.first_time(guess, object).map(|()| Some((guess, step)));
        }
        let Some(child) = self.other_name(node, before, rest)? else { return Some(None) };
        let step = steps.get(child)?;
        self.first_time(child, object).map(|()| Some((child, step)))
    }

    /// The same for a name that was not foreseen.
    fn other_name(&mut self, node: usize, before: usize, rest: &[u8]) -> Option<Option<usize>> {
        let other = self.other.get_mut(before)?;
        let next = self.memory.next.get_mut(before)?;
        if let Some(length) = self.steps.get(*other)?.behind(rest) {
            std::mem::swap(other, next);
            self.cursor.at += length;
            self.cursor.space();
            return Some(Some(*next));
        }
        let (name, escaped) = self.cursor.string()?;
        let child = if escaped {
            let name: String = serde_json::from_str(self.text.get(name.start - 1..name.end + 1)?).ok()?;
            self.steps.find(self.plan, node, name.as_bytes())
        } else {
            self.steps.find(self.plan, node, self.cursor.bytes.get(name)?)
        };
        self.cursor.expect(b':')?;
        self.cursor.space();
        if let Some(child) = child {
            *other = std::mem::replace(next, child);
        }
        Some(child)
    }

    #[inline]
    fn first_time(&mut self, node: usize, object: u64) -> Option<()> {
        let seen = self.memory.seen.get_mut(node)?;
        (std::mem::replace(seen, object) != object).then_some(())
    }

    /// The value of a declared member.
    #[inline]
    fn member(&mut self, node: usize, step: &Step, object: u64, depth: usize) -> Option<()> {
        match step.kind {
            Kind::Skip => self.cursor.skip(depth),
            Kind::Records => {
                self.begin_list();
                self.events(depth)
            }
            Kind::Inner => self.inner(node, step, object, depth),
            // Members of a record that is a list belong to no event.
            _ if self.listed && object == self.outer => self.cursor.skip(depth),
            _ => self.leaf(step, depth),
        }
    }

    /// An object in which declared members lie, or something else in its place.
    fn inner(&mut self, node: usize, step: &Step, object: u64, depth: usize) -> Option<()> {
        let start = self.cursor.at;
        let spaced = std::mem::replace(&mut self.cursor.spaced, false);
        let is_object = self.cursor.peek()? == b'{';
        if is_object {
            self.members(node, object, depth)?;
        } else {
            self.cursor.skip(depth)?;
        }
        let keep = !(self.listed && object == self.outer);
        let raw = self.text.get(start..self.cursor.at)?;
        if keep && raw != "null" {
            if self.plan.field(node).is_some() {
                self.value(step, raw)?;
            }
            if !is_object {
                self.mistyped.extend_from_slice(self.plan.below(node));
            }
        }
        self.cursor.spaced |= spaced;
        Some(())
    }
}
