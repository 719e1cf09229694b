//! The quick reading of a record: one pass, from bytes straight into columns.
//!
//! It takes a record or leaves it, and says no more: a record that it leaves is read again by `seed`, which
//! knows why it is none. It takes exactly what `seed` takes, and makes the same of it. Cars send the same
//! members in the same order, so the member that followed another one last time is looked for first.

mod bytes;
mod leaf;
mod steps;

use self::bytes::Input;
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
        let text = simdutf8::basic::from_utf8(payload).ok()?;
        self.times.clear();
        self.mistyped.clear();
        let mut reader = Reader {
            plan,
            steps: &self.steps,
            memory: &mut *memory,
            other: &mut self.other,
            text,
            input: Input::new(text.as_bytes(), max_depth, &mut self.open),
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
    input: Input<'a>,
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
        let at = self.input.space(0);
        let at = match *self.input.bytes.get(at)? {
            b'{' => {
                self.outer = self.memory.object();
                self.members(self.plan.outer, self.outer, at, 0)?
            }
            b'[' if self.plan.many => {
                self.listed = true;
                self.events(at, 0)?
            }
            _ => return None,
        };
        if !self.listed {
            self.end_event();
        }
        (self.input.space(at) == self.input.bytes.len()).then_some(())
    }

    fn end_event(&mut self) {
        self.times.push(self.time.take());
        self.row += 1;
    }

    /// The array of a record's events.
    fn events(&mut self, at: usize, depth: usize) -> Option<usize> {
        if *self.input.bytes.get(at)? != b'[' {
            return None;
        }
        let (mut at, mut more) = self.input.enter(at, depth, b']')?;
        while more {
            let object = self.memory.object();
            at = self.members(self.plan.event, object, at, depth + 1)?;
            self.end_event();
            (at, more) = self.input.more(at, b']')?;
        }
        Some(at)
    }

    /// The record is a list: what its own members have left is no event.
    fn begin_list(&mut self) {
        self.memory.truncate(self.first);
        self.mistyped.clear();
        self.time = None;
        self.listed = true;
    }

    /// An object on the way to declared members; `object` says which event or record it belongs to.
    fn members(&mut self, node: usize, object: u64, at: usize, depth: usize) -> Option<usize> {
        if *self.input.bytes.get(at)? != b'{' {
            return None;
        }
        let (mut at, more) = self.input.enter(at, depth, b'}')?;
        if !more {
            return Some(at);
        }
        let bytes = self.input.bytes;
        let mut before = self.plan.len() + node;
        loop {
            let (child, value) = self.name(node, before, object, at)?;
            at = match child {
                Some((child, step)) => {
                    before = child;
                    self.member(child, step, object, value, depth + 1)?
                }
                None => self.input.skip(value, depth + 1)?,
            };
            // White space is left to whoever finds it instead of what should be there.
            match *bytes.get(at)? {
                b',' => at += 1,
                b'}' => return Some(at + 1),
                _ => {
                    let more;
                    (at, more) = self.input.more(at, b'}')?;
                    if !more {
                        return Some(at);
                    }
                }
            }
        }
    }
}

/// The node and step that a name leads to, if it is declared, and where the member's value begins.
type Named<'a> = (Option<(usize, &'a Step)>, usize);

impl<'a> Reader<'a> {
    /// Goes over a member's name and colon. A declared one that stands twice is a fault.
    #[inline(always)]
    fn name(&mut self, node: usize, before: usize, object: u64, at: usize) -> Option<Named<'a>> {
        let steps = self.steps;
        let guess = *self.memory.next.get(before)?;
        let step = steps.get(guess)?;
        if let Some(behind) = step.behind(self.input.bytes, at) {
            self.first_time(guess, object)?;
            return Some((Some((guess, step)), behind));
        }
        let (child, at) = self.other_name(node, before, at)?;
        let Some(child) = child else { return Some((None, at)) };
        let step = steps.get(child)?;
        self.first_time(child, object)?;
        Some((Some((child, step)), at))
    }

    /// The same for a name that was not foreseen.
    #[inline(never)]
    fn other_name(&mut self, node: usize, before: usize, at: usize) -> Option<(Option<usize>, usize)> {
        let at = self.input.space(at);
        let other = self.other.get_mut(before)?;
        let next = self.memory.next.get_mut(before)?;
        if let Some(behind) = self.steps.get(*next)?.behind(self.input.bytes, at) {
            return Some((Some(*next), behind));
        }
        if let Some(behind) = self.steps.get(*other)?.behind(self.input.bytes, at) {
            std::mem::swap(other, next);
            return Some((Some(*next), behind));
        }
        let name = self.input.string(at)?;
        let child = if name.escaped {
            let name: String = serde_json::from_str(self.text.get(at..=name.end)?).ok()?;
            self.steps.find(self.plan, node, name.as_bytes())
        } else {
            self.steps.find(self.plan, node, self.input.bytes.get(at + 1..name.end)?)
        };
        if let Some(child) = child {
            *other = std::mem::replace(next, child);
        }
        Some((child, self.input.colon(name.end + 1)?))
    }

    #[inline(always)]
    fn first_time(&mut self, node: usize, object: u64) -> Option<()> {
        let seen = self.memory.seen.get_mut(node)?;
        (std::mem::replace(seen, object) != object).then_some(())
    }

    /// The value of a declared member.
    #[inline(always)]
    fn member(&mut self, node: usize, step: &Step, object: u64, at: usize, depth: usize) -> Option<usize> {
        let at = self.input.space(at);
        match step.kind {
            Kind::Skip => self.input.skip(at, depth),
            Kind::Records => {
                self.begin_list();
                self.events(at, depth)
            }
            Kind::Inner => self.inner(node, step, object, at, depth),
            // Members of a record that is a list belong to no event.
            _ if self.listed && object == self.outer => self.input.skip(at, depth),
            _ => self.leaf(step, at, depth),
        }
    }

    /// An object in which declared members lie, or something else in its place.
    fn inner(&mut self, node: usize, step: &Step, object: u64, at: usize, depth: usize) -> Option<usize> {
        let spaced = std::mem::replace(&mut self.input.spaced, false);
        let is_object = *self.input.bytes.get(at)? == b'{';
        let end =
            if is_object { self.members(node, object, at, depth)? } else { self.input.skip(at, depth)? };
        let keep = !(self.listed && object == self.outer);
        let raw = self.text.get(at..end)?;
        if keep && raw != "null" {
            if self.plan.field(node).is_some() {
                self.value(step, raw)?;
            }
            if !is_object {
                self.mistyped.extend_from_slice(self.plan.below(node));
            }
        }
        self.input.spaced |= spaced;
        Some(end)
    }
}
