//! One value → its column. What is written in an unusual way, or is of another type, is read by `value`, as
//! everything is in the slow reading.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use super::Reader;
use super::bytes::{self, Number};
use super::steps::{Kind, Step};
use crate::decode::rows::Column;
use crate::decode::value;
use crate::event::Timestamp;
use crate::schema::{FieldType, TimeUnit};

impl Reader<'_> {
    /// The value of a field that has no declared members.
    #[inline]
    pub(super) fn leaf(&mut self, step: &Step, depth: usize) -> Option<()> {
        let start = self.cursor.at;
        let byte = self.cursor.peek()?;
        let is_digit = byte == b'-' || byte.is_ascii_digit();
        match step.kind {
            _ if byte == b'n' => {
                self.cursor.at = bytes::literal(self.cursor.bytes, start)?;
                return Some(());
            }
            Kind::Float if is_digit => {
                if let Some(float) = self.number()?.float() {
                    return self.float(step, float);
                }
            }
            Kind::Int if is_digit => {
                if let Some(int) = self.number()?.int() {
                    return self.int(step, int);
                }
            }
            Kind::Text(case) if byte == b'"' => {
                let (text, escaped) = self.cursor.string()?;
                let text = self.text.get(text)?;
                if !escaped && case.holds(text.as_bytes()) {
                    return self.text(step, text);
                }
            }
            Kind::Bool if matches!(byte, b't' | b'f') => {
                self.cursor.at = bytes::literal(self.cursor.bytes, start)?;
                return self.bool(step, byte == b't');
            }
            Kind::Time(unit) if is_digit => {
                if let Some(time) = self.number()?.int().and_then(|int| whole(int, unit)) {
                    return self.time(step, Some(time).filter(|time| time.is_plausible()));
                }
            }
            Kind::Ip if byte == b'"' => {
                let (text, escaped) = self.cursor.string()?;
                let text = self.text.get(text)?;
                // The one way to write such an address is its canonical form.
                if !escaped && text.parse::<Ipv4Addr>().is_ok() {
                    return self.text(step, text);
                }
            }
            Kind::List if byte == b'[' => return self.list(step, depth),
            Kind::Json => return self.json(step, depth),
            _ => self.cursor.skip(depth)?,
        }
        let raw = self.text.get(start..self.cursor.at)?;
        self.value(step, raw)
    }

    #[inline]
    fn number(&mut self) -> Option<Number> {
        let number = bytes::number(self.cursor.bytes, self.cursor.at)?;
        self.cursor.at = number.end;
        Some(number)
    }

    /// Any value, by its text, which is known to be valid JSON and not `null`.
    pub(super) fn value(&mut self, step: &Step, raw: &str) -> Option<()> {
        let plan = self.plan.fields.get(step.field)?;
        if let (true, FieldType::Time(unit)) = (step.is_time, plan.field.kind) {
            self.time = value::time(raw, unit);
        }
        let column = self.memory.columns.get_mut(step.field)?;
        column.pad(self.row);
        let fits = match column {
            Column::Text(column) if plan.field.kind == FieldType::Json && !self.cursor.spaced => {
                column.push(Some(raw))
            }
            column => column.push(plan, raw),
        };
        self.count(step, fits);
        Some(())
    }

    #[inline]
    fn count(&mut self, step: &Step, fits: bool) {
        if !fits {
            self.mistyped.push(step.field);
        }
    }

    #[inline]
    fn float(&mut self, step: &Step, float: f64) -> Option<()> {
        let Column::Float(column) = self.memory.columns.get_mut(step.field)? else { return None };
        let fits = column.put(self.row, Some(float).filter(|float| *float >= step.min));
        self.count(step, fits);
        Some(())
    }

    #[inline]
    fn int(&mut self, step: &Step, int: i64) -> Option<()> {
        let Column::Int(column) = self.memory.columns.get_mut(step.field)? else { return None };
        let fits = column.put(self.row, Some(int).filter(|int| *int as f64 >= step.min));
        self.count(step, fits);
        Some(())
    }

    #[inline]
    fn bool(&mut self, step: &Step, value: bool) -> Option<()> {
        let Column::Bool(column) = self.memory.columns.get_mut(step.field)? else { return None };
        column.put(self.row, Some(value));
        Some(())
    }

    #[inline]
    fn text(&mut self, step: &Step, text: &str) -> Option<()> {
        let Column::Text(column) = self.memory.columns.get_mut(step.field)? else { return None };
        let fits = column.put(self.row, Some(text));
        self.count(step, fits);
        Some(())
    }

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

    fn list(&mut self, step: &Step, depth: usize) -> Option<()> {
        let Column::List(column) = self.memory.columns.get_mut(step.field)? else { return None };
        column.pad(self.row);
        let mut fits = true;
        let mut more = self.cursor.enter(depth, b']')?;
        while more {
            if let Some((item, escaped)) = self.cursor.text()? {
                let item = if escaped {
                    value::text(self.text.get(item.start - 1..item.end + 1)?)?
                } else {
                    Cow::Borrowed(self.text.get(item)?)
                };
                fits = fits && column.item(&item);
            } else {
                self.cursor.skip(depth + 1)?;
                fits = false;
            }
            more = self.cursor.more(b']')?;
        }
        let fits = column.close(fits);
        self.count(step, fits);
        Some(())
    }

    fn json(&mut self, step: &Step, depth: usize) -> Option<()> {
        let start = self.cursor.at;
        let spaced = std::mem::replace(&mut self.cursor.spaced, false);
        self.cursor.skip(depth)?;
        let raw = self.text.get(start..self.cursor.at)?;
        self.value(step, raw)?;
        self.cursor.spaced |= spaced;
        Some(())
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
