//! The event time of a record, without building it: what a file without envelopes is ordered by, and what a
//! reject may still say.
//!
//! It reads as far as the text goes and forgives what decoding rejects; of a record that decoding accepts it
//! finds what decoding finds.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::value;
use crate::event::Timestamp;
use crate::schema::{FieldType, Schema, TimeUnit};

/// The highest plausible event time of a record; none if the schema names no time field, or the record has
/// none.
pub fn event_time(schema: &Schema, payload: &[u8]) -> Option<Timestamp> {
    let field = schema.fields.get(schema.time?)?;
    let FieldType::Time(unit) = field.kind else { return None };
    let text = match std::str::from_utf8(payload) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(payload.get(..error.valid_up_to())?).ok()?,
    };
    let text = text.trim_start_matches('\u{feff}');
    let path = field.path.as_slice();
    let mut probe = Probe { path, unit, many: !schema.records.is_empty(), own: None, listed: None };
    let records = probe.many.then_some(schema.records.as_slice());
    let look = if text.trim_start().starts_with('[') && probe.many {
        Look { probe: &mut probe, time: None, records: Some(&[]), in_list: false }
    } else {
        Look { probe: &mut probe, time: Some(path), records, in_list: false }
    };
    // What comes behind an error is not looked at: what was found before counts.
    drop(look.deserialize(&mut serde_json::Deserializer::from_str(text)));
    probe.listed.unwrap_or(probe.own)
}

struct Probe<'a> {
    /// The path of the time field within an event.
    path: &'a [String],
    unit: TimeUnit,
    many: bool,
    /// The time of the record as one event.
    own: Option<Timestamp>,
    /// The highest time of its list of events, once there is a list.
    listed: Option<Option<Timestamp>>,
}

/// A value from which `time` leads to the time field, and `records` to the list of events.
struct Look<'p, 'a> {
    probe: &'p mut Probe<'a>,
    time: Option<&'a [String]>,
    records: Option<&'a [String]>,
    /// Whether it is part of an event of the list.
    in_list: bool,
}

impl<'de> DeserializeSeed<'de> for Look<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.time.is_none_or(|path| !path.is_empty()) {
            return deserializer.deserialize_any(self);
        }
        let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?.get();
        let found = value::time(raw, self.probe.unit);
        let known = if self.in_list { self.probe.listed.get_or_insert(None) } else { &mut self.probe.own };
        *known = found.max(*known);
        // One event has one time: nothing behind it could change it.
        if found.is_some() && !self.probe.many { Err(D::Error::custom("found")) } else { Ok(()) }
    }
}

/// A member's name → what is left of both paths behind it.
struct Step<'a> {
    time: Option<&'a [String]>,
    records: Option<&'a [String]>,
}

impl<'de, 'a> DeserializeSeed<'de> for Step<'a> {
    type Value = (Option<&'a [String]>, Option<&'a [String]>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, 'a> Visitor<'de> for Step<'a> {
    type Value = (Option<&'a [String]>, Option<&'a [String]>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let behind = |path: Option<&'a [String]>| {
            path.and_then(|path| path.split_first()).filter(|(first, _)| *first == name).map(|(_, rest)| rest)
        };
        Ok((behind(self.time), behind(self.records)))
    }
}

impl<'de> Visitor<'de> for Look<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((time, records)) =
            map.next_key_seed(Step { time: self.time, records: self.records })?
        {
            if time.is_none() && records.is_none() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Look { probe: &mut *self.probe, time, records, in_list: self.in_list })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.records.is_none_or(|path| !path.is_empty()) {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        self.probe.listed.get_or_insert(None);
        loop {
            let time = Some(self.probe.path);
            let event = Look { probe: &mut *self.probe, time, records: None, in_list: true };
            if list.next_element_seed(event)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::built_in;

    fn probe(stream: &str, payload: impl AsRef<[u8]>) -> Option<i64> {
        let schema = built_in().into_iter().find(|schema| &*schema.name == stream).unwrap();
        event_time(&schema, payload.as_ref()).map(Timestamp::millis)
    }

    #[test]
    fn the_time_of_one_event() {
        assert_eq!(probe("telemetry", r#"{"vin":{"ts":1},"x":[{"ts":2}],"ts":5000}"#), Some(5000));
        assert_eq!(probe("telemetry", r#"{"ts":null,"vin":"V"}"#), None);
        assert_eq!(probe("telemetry", r#"{"ts":"5000"}"#), None);
        assert_eq!(probe("telemetry", r#"{"ts":-5}"#), None);
        assert_eq!(probe("telemetry", r#"{"x":1e999,"ts":7}"#), Some(7));
    }

    #[test]
    fn of_a_list_the_highest_time_counts_and_its_own_does_not() {
        let at = |seconds| format!("{{\"eventTime\":\"1970-01-01T00:00:{seconds:02}Z\"}}");
        let list = format!("[{},{},{}]", at(3), at(9), at(5));
        assert_eq!(probe("cloudtrail", &list), Some(9000));
        let own = "\"eventTime\":\"2000-01-01T00:00:00Z\"";
        assert_eq!(probe("cloudtrail", format!("{{{own},\"Records\":{list}}}")), Some(9000));
        assert_eq!(probe("cloudtrail", format!("{{\"Records\":{list},{own}}}")), Some(9000));
        assert_eq!(probe("cloudtrail", format!("{{{own},\"Records\":[]}}")), None);
        assert_eq!(probe("cloudtrail", at(7)), Some(7000));
    }

    #[test]
    fn what_is_broken_is_read_as_far_as_it_goes() {
        assert_eq!(probe("telemetry", r#"{"ts":5000,"vin":"#), Some(5000));
        assert_eq!(probe("telemetry", b"{\"ts\":5000,\"vin\":\"\xff\"}"), Some(5000));
        assert_eq!(probe("telemetry", b"\xef\xbb\xbf{\"ts\":5000}"), Some(5000));
        assert_eq!(probe("telemetry", r#"{"vin":oops,"ts":5000}"#), None);
        assert_eq!(
            probe("cloudtrail", "[{\"eventTime\":\"1970-01-01T00:00:03Z\"},{\"eventTime\":"),
            Some(3000)
        );
        assert_eq!(probe("telemetry", ""), None);
        assert_eq!(probe("telemetry", "[".repeat(100_000)), None);
    }
}
