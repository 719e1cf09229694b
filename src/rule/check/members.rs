//! What the events of a test say that no field of their stream reads, or reads as NULL.
//!
//! Warnings only: a test may show on purpose what becomes of such an event.

use std::net::IpAddr;

use serde_json::Value as Json;

use crate::diagnostic::nearest;
use crate::event::Timestamp;
use crate::schema::{FieldType, Schema, TimeUnit};

/// One thing that is odd about an event.
#[derive(Debug, PartialEq, Eq)]
pub struct Oddity {
    /// The member's path.
    pub path: Vec<String>,
    /// What is odd.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// All that is odd about a record.
pub fn oddities(schema: &Schema, record: &Json) -> Vec<Oddity> {
    let mut walk = Walk { schema, found: Vec::new() };
    walk.members(record, &[], true);
    walk.found
}

struct Walk<'a> {
    schema: &'a Schema,
    found: Vec<Oddity>,
}

impl Walk<'_> {
    /// `outer`: whether the list of a record's events may stand here.
    fn members(&mut self, value: &Json, above: &[String], outer: bool) {
        let Json::Object(members) = value else { return };
        for (name, value) in members {
            let path: Vec<String> = above.iter().chain([name]).cloned().collect();
            self.member(value, path, outer);
        }
    }

    fn member(&mut self, value: &Json, path: Vec<String>, outer: bool) {
        let fields = &self.schema.fields;
        let records = outer && self.schema.records.starts_with(&path);
        if records && path.len() == self.schema.records.len() {
            let events = value.as_array().into_iter().flatten();
            return events.for_each(|event| self.members(event, &[], false));
        }
        let leads_on =
            fields.iter().any(|field| field.path.len() > path.len() && field.path.starts_with(&path));
        let field = fields.iter().find(|field| field.path == path);
        if let Some(field) = field
            && !value.is_null()
            && !reads(field.kind, value)
        {
            let message =
                format!("\"{}\" is NULL here: its value is not {}", path.join("."), word(field.kind));
            let hint = format!("write {}", example(field.kind));
            self.found.push(Oddity { path: path.clone(), message, hint });
        }
        let is_below =
            fields.iter().any(|field| path.len() > field.path.len() && path.starts_with(&field.path));
        match (leads_on || records, field.is_some() || is_below) {
            (true, _) if value.is_object() => self.members(value, &path, outer),
            (true, false) if !value.is_null() => {
                let message = format!("\"{}\" is no object: no field is read from it", path.join("."));
                let hint = format!("it holds {}", self.below(&path).join(", "));
                self.found.push(Oddity { path, message, hint });
            }
            (false, false) => {
                let message =
                    format!("no field of stream \"{}\" reads \"{}\"", self.schema.name, path.join("."));
                let hint = self.meant(&path);
                self.found.push(Oddity { path, message, hint });
            }
            _ => {}
        }
    }

    /// The paths that lie below one.
    fn below(&self, path: &[String]) -> Vec<String> {
        let below = self.schema.fields.iter().filter(|field| field.path.starts_with(path));
        below.map(|field| field.path.join(".")).collect()
    }

    fn meant(&self, path: &[String]) -> String {
        let name = path.join(".");
        let fields = &self.schema.fields;
        if let Some(field) = fields.iter().find(|field| field.name == name) {
            return format!("column {name} is read from the member \"{}\"", field.path.join("."));
        }
        let paths: Vec<String> = fields.iter().map(|field| field.path.join(".")).collect();
        match nearest(&name, paths.iter().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("the event is judged without it; the fields stand in {}.toml", self.schema.name),
        }
    }
}

/// Whether a field of this type takes the value.
fn reads(kind: FieldType, value: &Json) -> bool {
    match kind {
        FieldType::Text => value.is_string(),
        FieldType::Int => value.is_i64(),
        FieldType::Float => value.is_number(),
        FieldType::Bool => value.is_boolean(),
        FieldType::Time(TimeUnit::Rfc3339) => value.as_str().and_then(Timestamp::parse_rfc3339).is_some(),
        FieldType::Time(TimeUnit::Text) => value.as_str().and_then(Timestamp::parse_text).is_some(),
        FieldType::Time(TimeUnit::Seconds) => value.is_number(),
        FieldType::Time(_) => value.is_i64(),
        FieldType::Ip => value.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok()),
        FieldType::TextList => value.as_array().is_some_and(|items| items.iter().all(Json::is_string)),
        FieldType::Json => true,
    }
}

fn word(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text => "a string",
        FieldType::Int => "an integer of 64 bits",
        FieldType::Float => "a number",
        FieldType::Bool => "true or false",
        FieldType::Time(TimeUnit::Rfc3339) => "an RFC 3339 time",
        FieldType::Time(TimeUnit::Text) => "a time as a text",
        FieldType::Time(_) => "a time as a number",
        FieldType::Ip => "an address",
        FieldType::TextList => "an array of strings",
        FieldType::Json => "JSON",
    }
}

fn example(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text => "it in double quotes",
        FieldType::Int => "a number without fraction and exponent, such as 3",
        FieldType::Float => "a number, such as 3 or 0.5",
        FieldType::Bool => "true or false, without quotes",
        FieldType::Time(TimeUnit::Rfc3339 | TimeUnit::Text) => {
            "\"2025-01-01T00:00:00Z\", or leave it out: the line's time is it"
        }
        FieldType::Time(_) => "a number in the field's unit, or leave it out: the line's time is it",
        FieldType::Ip => "an address, such as \"10.0.0.1\"",
        FieldType::TextList => "an array of strings, such as [\"P0301\"]",
        FieldType::Json => "any JSON",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stream: &str, event: &str) -> Vec<String> {
        let schema = crate::schema::built_in().into_iter().find(|schema| *schema.name == *stream).unwrap();
        let found = oddities(&schema, &serde_json::from_str(event).unwrap());
        found.into_iter().map(|odd| format!("{} | {}", odd.message, odd.hint)).collect()
    }

    #[test]
    fn members_that_no_field_reads() {
        assert_eq!(
            said("telemetry", r#"{"vin":"V1","sped":3,"speed":null}"#),
            ["no field of stream \"telemetry\" reads \"sped\" | did you mean \"speed\"?"]
        );
        assert_eq!(
            said(
                "cloudtrail",
                r#"{"event_name":"StopLogging","userIdentity":{"arnn":"a","sessionContext":{"x":1}}}"#
            ),
            ["no field of stream \"cloudtrail\" reads \"event_name\" | \
              column event_name is read from the member \"eventName\""],
            "below a field that is JSON anything may stand"
        );
        assert_eq!(
            said(
                "cloudtrail",
                r#"{"tlsDetails":{"tlsVersions":"1"},"requestParameters":{"any":{"thing":1}}}"#
            ),
            ["no field of stream \"cloudtrail\" reads \"tlsDetails.tlsVersions\" | \
              did you mean \"tlsDetails.tlsVersion\"?"]
        );
    }

    #[test]
    fn events_of_a_list_are_looked_at_one_by_one() {
        let said =
            said("cloudtrail", r#"{"Records":[{"eventName":"A"},{"eventNam":"B","Records":[]}],"x":1}"#);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].contains("\"Records\"") && said[1].contains("\"eventNam\"") && said[2].contains("\"x\"")
        );
    }

    #[test]
    fn values_that_are_null_here() {
        for (event, message) in [
            (r#"{"speed":"3"}"#, "\"speed\" is NULL here: its value is not a number"),
            (r#"{"dtc_count":3.0}"#, "\"dtc_count\" is NULL here: its value is not an integer of 64 bits"),
            (r#"{"src_ip":"x"}"#, "\"src_ip\" is NULL here: its value is not an address"),
            (r#"{"dtc_list":["a",1]}"#, "\"dtc_list\" is NULL here: its value is not an array of strings"),
            (r#"{"is_moving":0}"#, "\"is_moving\" is NULL here: its value is not true or false"),
            (r#"{"vin":1}"#, "\"vin\" is NULL here: its value is not a string"),
        ] {
            let said = said("telemetry", event);
            assert!(said.len() == 1 && said[0].starts_with(message), "{event}: {said:?}");
        }
        assert_eq!(
            said("telemetry", r#"{"vin":"V","speed":3,"ts":1,"dtc_list":[],"src_ip":"::1"}"#),
            [""; 0]
        );
        let text = said("cloudtrail", r#"{"tlsDetails":"x"}"#);
        assert!(text.len() == 1 && text[0].starts_with("\"tlsDetails\" is no object"), "{text:?}");
    }
}
