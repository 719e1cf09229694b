//! One value → its column. What is written in an unusual way, or is of another type, is read by `value`, as
//! everything is in the slow reading.

use std::borrow::Cow;

use super::Reader;
use super::bytes;
use super::steps::{Kind, Step};
use crate::decode::rows::Column;
use crate::decode::value;
use crate::event::Timestamp;
use crate::schema::{FieldType, TimeUnit};

impl Reader<'_> {
    /// The value of a field that has no declared members.
    #[inline(always)]
    pub(super) fn leaf(&mut self, step: &Step, at: usize, depth: usize) -> Option<usize> {
        let bytes = self.input.bytes;
        let byte = *bytes.get(at)?;
        let is_digit = byte == b'-' || byte.is_ascii_digit();
        let end = match step.kind {
            _ if byte == b'n' => return bytes::literal(bytes, at),
            Kind::Float if is_digit => {
                let number = bytes::number(bytes, at)?;
                if let Some(float) = number.float() {
                    return self.float(step, float).map(|()| number.end);
                }
                number.end
            }
            Kind::Int if is_digit => {
                let number = bytes::number(bytes, at)?;
                if let Some(int) = number.int() {
                    return self.int(step, int).map(|()| number.end);
                }
                number.end
            }
            Kind::Text(case) if byte == b'"' => {
                let text = bytes::string(bytes, at + 1)?;
                if !text.escaped && case.holds(bytes.get(at + 1..text.end)?) {
                    return self.text(step, at + 1, text.end).map(|()| text.end + 1);
                }
                text.end + 1
            }
            Kind::Bool if matches!(byte, b't' | b'f') => {
                let end = bytes::literal(bytes, at)?;
                return self.bool(step, byte == b't').map(|()| end);
            }
            Kind::Time(unit) if is_digit => {
                let number = bytes::number(bytes, at)?;
                if let Some(time) = number.int().and_then(|int| whole(int, unit)) {
                    let time = Some(time).filter(|time| time.is_plausible());
                    return self.time(step, time).map(|()| number.end);
                }
                number.end
            }
            Kind::Ip if byte == b'"' => {
                let text = bytes::string(bytes, at + 1)?;
                if !text.escaped && bytes::is_ipv4(bytes.get(at + 1..text.end)?) {
                    return self.text(step, at + 1, text.end).map(|()| text.end + 1);
                }
                text.end + 1
            }
            Kind::List if byte == b'[' => return self.list(step, at, depth),
            Kind::Json => return self.json(step, at, depth),
            _ => self.input.skip(at, depth)?,
        };
        self.value(step, self.text.get(at..end)?)?;
        Some(end)
    }

    /// Any value, by its text, which is known to be valid JSON and not `null`.
    #[inline(never)]
    pub(super) fn value(&mut self, step: &Step, raw: &str) -> Option<()> {
        let plan = self.plan.fields.get(step.field)?;
        if let (true, FieldType::Time(unit)) = (step.is_time, plan.field.kind) {
            self.time = value::time(raw, unit);
        }
        let column = self.memory.columns.get_mut(step.field)?;
        column.pad(self.row);
        let fits = match column {
            Column::Text(column) if plan.field.kind == FieldType::Json && !self.input.spaced => {
                column.push(Some(raw))
            }
            column => column.push(plan, raw),
        };
        self.count(step, fits);
        Some(())
    }

    #[inline(always)]
    fn count(&mut self, step: &Step, fits: bool) {
        if !fits {
            self.mistyped.push(step.field);
        }
    }

    #[inline(always)]
    fn float(&mut self, step: &Step, float: f64) -> Option<()> {
        let Column::Float(column) = self.memory.columns.get_mut(step.field)? else { return None };
        let fits = column.put(self.row, Some(float).filter(|float| *float >= step.min));
        self.count(step, fits);
        Some(())
    }

    #[inline(always)]
    fn int(&mut self, step: &Step, int: i64) -> Option<()> {
        let Column::Int(column) = self.memory.columns.get_mut(step.field)? else { return None };
        let fits = column.put(self.row, Some(int).filter(|int| *int as f64 >= step.min));
        self.count(step, fits);
        Some(())
    }

    #[inline(always)]
    fn bool(&mut self, step: &Step, value: bool) -> Option<()> {
        let Column::Bool(column) = self.memory.columns.get_mut(step.field)? else { return None };
        column.put(self.row, Some(value));
        Some(())
    }

    /// The text from one place to another.
    #[inline(always)]
    fn text(&mut self, step: &Step, start: usize, end: usize) -> Option<()> {
        let Column::Text(column) = self.memory.columns.get_mut(step.field)? else { return None };
        let fits = column.put(self.row, self.input.bytes, start, end);
        self.count(step, fits);
        Some(())
    }

    #[inline(always)]
    fn time(&mut self, step: &Step, time: Option<Timestamp>) -> Option<()> {
        if step.is_time {
            self.time = time;
        }
        if let Column::Time(column) = self.memory.columns.get_mut(step.field)? {
            let fits = column.put(self.row, time.map(|time| time.0));
            self.count(step, fits);
        }
        Some(())
    }

    fn list(&mut self, step: &Step, at: usize, depth: usize) -> Option<usize> {
        let Column::List(column) = self.memory.columns.get_mut(step.field)? else { return None };
        column.pad(self.row);
        let mut fits = true;
        let (mut at, mut more) = self.input.enter(at, depth, b']')?;
        while more {
            let end = if *self.input.bytes.get(at)? == b'"' {
                let item = self.input.string(at)?;
                let text = if item.escaped {
                    value::text(self.text.get(at..=item.end)?)?
                } else {
                    Cow::Borrowed(self.text.get(at + 1..item.end)?)
                };
                fits = fits && column.item(&text);
                item.end + 1
            } else {
                fits = false;
                self.input.skip(at, depth + 1)?
            };
            (at, more) = self.input.more(end, b']')?;
        }
        let fits = column.close(fits);
        self.count(step, fits);
        Some(at)
    }

    fn json(&mut self, step: &Step, at: usize, depth: usize) -> Option<usize> {
        let spaced = std::mem::replace(&mut self.input.spaced, false);
        let end = self.input.skip(at, depth)?;
        self.value(step, self.text.get(at..end)?)?;
        self.input.spaced |= spaced;
        Some(end)
    }
}

/// The instant that a whole number stands for; none if it must be read with more care.
fn whole(int: i64, unit: TimeUnit) -> Option<Timestamp> {
    let micros = match unit {
        TimeUnit::Seconds => int.checked_mul(1_000_000)?,
        TimeUnit::Millis => int.checked_mul(1000)?,
        TimeUnit::Micros => int,
        TimeUnit::Nanos => int.div_euclid(1000),
        TimeUnit::Rfc3339 | TimeUnit::Text => return None,
    };
    Some(Timestamp(micros))
}
