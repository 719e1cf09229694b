//! The text of one event, for people: what an alert shows of the event that fired it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::schema::Schema;

/// The text of the event of that index in a record, cut at a character to at most `max_bytes`; none if there
/// is no such event.
pub fn event_text(schema: &Schema, payload: &[u8], index: u32, max_bytes: usize) -> Option<Box<str>> {
    let record = std::str::from_utf8(payload).ok()?.trim_matches([' ', '\t', '\n', '\r']);
    let event = match events(schema, record) {
        Some(events) => events.get(usize::try_from(index).ok()?)?.get(),
        None if index == 0 => record,
        None => return None,
    };
    let end = event.floor_char_boundary(max_bytes);
    event.get(..end).map(Box::from)
}

/// The list of events of a record that is one.
fn events<'t>(schema: &Schema, record: &'t str) -> Option<Vec<&'t RawValue>> {
    if schema.records.is_empty() {
        return None;
    }
    let list = if record.starts_with('[') {
        record
    } else {
        schema.records.iter().try_fold(record, |object, name| {
            Member(name).deserialize(&mut serde_json::Deserializer::from_str(object)).ok().flatten()
        })?
    };
    serde_json::from_str(list).ok()
}

/// The value of a member of an object.
struct Member<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if name == self.0 && found.is_none() {
                found = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::built_in;

    fn text(stream: &str, payload: &str, index: u32, max_bytes: usize) -> Option<String> {
        let schema = built_in().into_iter().find(|schema| &*schema.name == stream).unwrap();
        event_text(&schema, payload.as_bytes(), index, max_bytes).map(String::from)
    }

    #[test]
    fn an_event_is_shown_as_it_was_written() {
        assert_eq!(text("telemetry", " {\"vin\" : 1} \n", 0, 100).unwrap(), "{\"vin\" : 1}");
        assert_eq!(text("telemetry", "{}", 1, 100), None);
        for list in
            ["[{\"a\":0}, {\"a\":1}]", "{\"x\":[1],\"Rec\\u006frds\":[{\"a\":0}, {\"a\":1}],\"Records\":1}"]
        {
            assert_eq!(text("cloudtrail", list, 1, 100).unwrap(), "{\"a\":1}");
            assert_eq!(text("cloudtrail", list, 2, 100), None);
        }
        assert_eq!(text("cloudtrail", "{\"eventName\":\"X\"}", 0, 100).unwrap(), "{\"eventName\":\"X\"}");
    }

    #[test]
    fn a_long_event_is_cut_at_a_character() {
        assert_eq!(text("telemetry", "{\"vin\":\"é\"}", 0, 9).unwrap(), "{\"vin\":\"");
        assert_eq!(text("telemetry", "{\"vin\":\"é\"}", 0, 10).unwrap(), "{\"vin\":\"é");
    }
}
