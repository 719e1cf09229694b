//! Detector state ↔ bytes: little-endian, length-prefixed, every read checked.

use super::StateError;
use crate::event::{EventName, Timestamp, Value};

/// Collects bytes.
#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// 32 bits.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// 64 bits.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// 64 bits, signed.
    pub fn i64(&mut self, value: i64) {
        self.u64(value as u64);
    }

    /// 128 bits.
    pub fn u128(&mut self, value: u128) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// An instant.
    pub fn time(&mut self, value: Timestamp) {
        self.i64(value.0);
    }

    /// A text.
    pub fn text(&mut self, value: &str) {
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value.as_bytes());
    }

    /// The name of an event.
    pub fn name(&mut self, name: &EventName) {
        self.u32(u32::from(name.source));
        self.i64(name.offset);
        self.u32(name.index);
        self.time(name.broker_time);
    }

    /// A typed value.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.u8(0),
            Value::Bool(b) => {
                self.u8(1);
                self.u8(u8::from(*b));
            }
            Value::Int(i) => {
                self.u8(2);
                self.i64(*i);
            }
            Value::Float(x) => {
                self.u8(3);
                self.u64(x.to_bits());
            }
            Value::Text(t) => {
                self.u8(4);
                self.text(t);
            }
            Value::Time(t) => {
                self.u8(5);
                self.time(*t);
            }
            Value::List(items) => {
                self.u8(6);
                self.list(items, Writer::value);
            }
        }
    }

    /// How many, then each.
    pub fn list<T>(&mut self, items: &[T], each: impl Fn(&mut Writer, &T)) {
        self.u32(items.len() as u32);
        items.iter().for_each(|item| each(self, item));
    }

    /// Whether there is one, then it.
    pub fn option<T>(&mut self, item: Option<&T>, each: impl Fn(&mut Writer, &T)) {
        self.u8(u8::from(item.is_some()));
        if let Some(item) = item {
            each(self, item);
        }
    }
}

/// What the indices of partitions in saved event names are called by whoever reads them.
#[derive(Clone, Copy, Debug)]
pub enum Sources<'a> {
    /// As they were when they were written.
    Same,
    /// By the saved index.
    Renamed(&'a [u16]),
}

impl Sources<'_> {
    fn of(self, saved: u32) -> Result<u16, StateError> {
        let saved = usize::try_from(saved).unwrap_or(usize::MAX);
        let found = match self {
            Sources::Same => u16::try_from(saved).ok(),
            Sources::Renamed(names) => names.get(saved).copied(),
        };
        found.ok_or_else(|| StateError("no such partition".into()))
    }
}

/// Reads what a [`Writer`] wrote.
#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8], pub Sources<'a>);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or_else(|| StateError("cut short".into()))?;
        self.0 = tail;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, StateError> {
        Ok(self.take::<1>()?[0])
    }

    /// 32 bits.
    pub fn u32(&mut self) -> Result<u32, StateError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    /// 64 bits.
    pub fn u64(&mut self) -> Result<u64, StateError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    /// 64 bits, signed.
    pub fn i64(&mut self) -> Result<i64, StateError> {
        Ok(i64::from_le_bytes(self.take()?))
    }

    /// 128 bits.
    pub fn u128(&mut self) -> Result<u128, StateError> {
        Ok(u128::from_le_bytes(self.take()?))
    }

    /// An instant.
    pub fn time(&mut self) -> Result<Timestamp, StateError> {
        Ok(Timestamp(self.i64()?))
    }

    /// A text.
    pub fn text(&mut self) -> Result<String, StateError> {
        let length = self.u32()? as usize;
        let bytes = self.0.get(..length).ok_or_else(|| StateError("cut short".into()))?;
        let text = std::str::from_utf8(bytes).map_err(|_| StateError("text is not UTF-8".into()))?.to_owned();
        self.0 = self.0.get(length..).unwrap_or_default();
        Ok(text)
    }

    /// The name of an event.
    pub fn name(&mut self) -> Result<EventName, StateError> {
        let saved = self.u32()?;
        let source = self.1.of(saved)?;
        Ok(EventName { source, offset: self.i64()?, index: self.u32()?, broker_time: self.time()? })
    }

    /// A typed value.
    pub fn value(&mut self) -> Result<Value, StateError> {
        Ok(match self.u8()? {
            0 => Value::Null,
            1 => Value::Bool(self.u8()? != 0),
            2 => Value::Int(self.i64()?),
            3 => Value::Float(f64::from_bits(self.u64()?)),
            4 => Value::text(self.text()?),
            5 => Value::Time(self.time()?),
            6 => Value::List(self.list(Reader::value)?),
            tag => return Err(StateError(format!("unknown value {tag}"))),
        })
    }

    /// How many, then each.
    pub fn list<T>(
        &mut self,
        each: impl Fn(&mut Self) -> Result<T, StateError>,
    ) -> Result<Vec<T>, StateError> {
        (0..self.u32()?).map(|_| each(self)).collect()
    }

    /// Whether there is one, then it.
    pub fn option<T>(
        &mut self,
        each: impl Fn(&mut Self) -> Result<T, StateError>,
    ) -> Result<Option<T>, StateError> {
        Ok(if self.u8()? != 0 { Some(each(self)?) } else { None })
    }
}
