//! A line → the event in it: as it stands, or out of the envelope that says which partition and offset it had
//! and when the broker took it.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::Timestamp;

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framed {
    /// An event, or nothing that could be told.
    Event,
    /// An event in its envelope.
    Envelope(Envelope),
    /// It has the members of an envelope, but this is wrong with it.
    Bad(String),
}

/// Where an event came from, and where in the line it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub time: Timestamp,
    pub partition: i32,
    pub offset: i64,
    pub payload: Range<usize>,
}

const NAMES: [&[u8]; 4] = [b"_t\"", b"_p\"", b"_o\"", b"v\""];

/// Reads a line. If it breaks off or goes wrong within `v`, and the other members stand before it, it is an
/// envelope all the same, whose payload is the rest: so that what is wrong is said of the event.
pub(super) fn read(line: &[u8]) -> Framed {
    if !may_be(line) {
        return Framed::Event;
    }
    plain(line).map_or_else(|| thorough(line), Framed::Envelope)
}

fn thorough(line: &[u8]) -> Framed {
    let mut parts = Parts { line, ..Parts::default() };
    let mut json = serde_json::Deserializer::from_slice(line);
    let whole = json.deserialize_map(&mut parts).and_then(|()| json.end()).is_ok();
    let Parts { time: Some(time), partition: Some(partition), offset: Some(offset), .. } = parts else {
        return Framed::Event;
    };
    let payload = match (whole, parts.value, parts.value_at) {
        (_, _, _) if parts.others => return Framed::Event,
        (true, Some(value), _) => value,
        (false, _, Some(at)) => at..broken_end(line, at),
        _ => return Framed::Event,
    };
    envelope(time, partition, offset, payload).map_or_else(Framed::Bad, Framed::Envelope)
}

/// Whether its first member is one of an envelope: enough to let almost all other lines go.
fn may_be(line: &[u8]) -> bool {
    let first = line.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    let name = first.and_then(|first| first.strip_prefix(b"\""));
    name.is_some_and(|name| NAMES.iter().any(|known| name.starts_with(known)))
}

/// An envelope as it is mostly written: its members in their usual order, without spaces, around an object that
/// holds no other. Where no brace stands in between, the object ends with the last but one, whatever it holds.
fn plain(line: &[u8]) -> Option<Envelope> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (time, rest) = number(line.strip_prefix(b"{\"_t\":")?)?;
    let (partition, rest) = number(rest.strip_prefix(b",\"_p\":")?)?;
    let (offset, rest) = number(rest.strip_prefix(b",\"_o\":")?)?;
    let payload = rest.strip_prefix(b",\"v\":")?.strip_suffix(b"}")?;
    let inner = payload.strip_prefix(b"{")?.strip_suffix(b"}")?;
    if memchr::memchr2(b'{', b'}', inner).is_some() {
        return None;
    }
    let time = Some(Timestamp::from_millis(time)).filter(|time| time.is_plausible())?;
    let end = line.len() - 1;
    Some(Envelope {
        time,
        partition: i32::try_from(partition).ok()?,
        offset,
        payload: end - payload.len()..end,
    })
}

/// A number of JSON without sign, fraction and exponent, and what follows; none if it might not fit.
fn number(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = text.iter().take(19).take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    if !(1..=18).contains(&digits) || (digits > 1 && number.first() == Some(&b'0')) {
        return None;
    }
    Some((number.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')), rest))
}

/// Where the payload of a broken line ends: before the brace of the envelope, if the line has one.
fn broken_end(line: &[u8], at: usize) -> usize {
    let end = line.trim_ascii_end().len();
    let end = if line.get(..end).is_some_and(|text| text.ends_with(b"}")) { end - 1 } else { end };
    end.max(at)
}

fn envelope(time: &str, partition: &str, offset: &str, payload: Range<usize>) -> Result<Envelope, String> {
    let time = time.parse().ok().map(Timestamp::from_millis).filter(|time| time.is_plausible());
    let time = time.ok_or("_t is no plausible number of milliseconds")?;
    let partition = partition.parse().ok().filter(|partition| *partition >= 0);
    let partition = partition.ok_or("_p is no partition")?;
    let offset = offset.parse().ok().filter(|offset| (0..i64::MAX).contains(offset));
    let offset = offset.ok_or("_o is no offset")?;
    Ok(Envelope { time, partition, offset, payload })
}

/// What has been read of a line.
#[derive(Default)]
struct Parts<'a> {
    line: &'a [u8],
    time: Option<&'a str>,
    partition: Option<&'a str>,
    offset: Option<&'a str>,
    value: Option<Range<usize>>,
    /// Where the value starts, or something that should have been one.
    value_at: Option<usize>,
    /// Whether it has a member that is none of an envelope, or one twice.
    others: bool,
}

impl<'a> Parts<'a> {
    fn place(&self, part: &str) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.line.as_ptr() as usize)
    }

    /// Where the value behind a name starts.
    fn behind(&self, name: &str) -> Option<usize> {
        let at = self.place(name) + name.len() + 1;
        let rest = self.line.get(at..)?;
        let colon = at + rest.iter().position(|byte| *byte == b':')? + 1;
        let space = self.line.get(colon..)?;
        Some(colon + space.len() - space.trim_ascii_start().len())
    }
}

impl<'a> Visitor<'a> for &mut Parts<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<&'a str>()? {
            if name == "v" && self.value_at.is_none() {
                self.value_at = self.behind(name);
                let raw = map.next_value::<&'a RawValue>()?.get();
                let at = self.place(raw);
                self.value = Some(at..at + raw.len());
                continue;
            }
            let part = match name {
                "_t" => &mut self.time,
                "_p" => &mut self.partition,
                "_o" => &mut self.offset,
                _ => {
                    self.others = true;
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let raw = map.next_value::<&'a RawValue>()?.get();
            if part.replace(raw).is_some() {
                self.others = true;
                return Err(A::Error::custom("doubled member"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(line: &str) -> Option<(i64, i32, i64, &str)> {
        match read(line.as_bytes()) {
            Framed::Envelope(e) => Some((e.time.millis(), e.partition, e.offset, &line[e.payload])),
            _ => None,
        }
    }

    #[test]
    fn an_envelope_has_four_members_in_any_order() {
        let event = r#"{"vin": "V1", "v": [1]}"#;
        let lines = [
            format!(r#"{{"_t":5000,"_p":3,"_o":7,"v":{event}}}"#),
            format!(r#" {{ "v" : {event} , "_o":7,"_p":3, "_t":5000 }} "#),
        ];
        for line in &lines {
            assert_eq!(payload(line), Some((5000, 3, 7, event)), "{line}");
        }
        assert_eq!(payload(r#"{"_t":0,"_p":0,"_o":0,"v":null}"#), Some((0, 0, 0, "null")));
    }

    #[test]
    fn anything_else_is_an_event() {
        let lines = [
            r#"{"vin":"V1"}"#,
            r#"{"_t":5000,"_p":3,"_o":7}"#,
            r#"{"_t":5000,"_p":3,"v":{}}"#,
            r#"{"_t":5000,"_p":3,"_o":7,"v":{},"x":1}"#,
            r#"{"_t":5000,"_p":3,"_o":7,"v":{},"v":{}}"#,
            r#"{"_t":5000,"_t":5000,"_p":3,"_o":7,"v":{}}"#,
            r#"[{"_t":5000,"_p":3,"_o":7,"v":{}}]"#,
            r#"{"v":{"a":},"_t":5000,"_p":3,"_o":7}"#,
            r#"{"_t":5000,"_p":"#,
            "",
            "{",
        ];
        for line in lines {
            assert_eq!(read(line.as_bytes()), Framed::Event, "{line}");
        }
    }

    /// The quick look and the thorough one agree wherever the quick one says anything.
    #[test]
    fn a_plain_envelope_is_what_the_thorough_look_says() {
        let events =
            [r#"{}"#, r#"{"a":1}"#, r#"{"a":"}"}"#, r#"{"a":{}}"#, r#"{"a":1,}"#, r#"{"a" "#, "{", "}", "1"];
        let numbers = ["0", "1", "17", "017", "-1", "1.0", "5000", "2147483648", "9223372036854775808", ""];
        let ends = ["}", "} ", "}\r", ",\"x\":1}", "}}", "", "} x"];
        let mut quick = 0;
        for event in events {
            for number in numbers {
                for (end, place) in ends.iter().flat_map(|end| [(end, 0), (end, 1), (end, 2)]) {
                    let mut three = ["5000", "3", "7"];
                    three[place] = number;
                    let [t, p, o] = three;
                    let line = format!("{{\"_t\":{t},\"_p\":{p},\"_o\":{o},\"v\":{event}{end}");
                    if let Some(envelope) = plain(line.as_bytes()) {
                        quick += 1;
                        assert_eq!(thorough(line.as_bytes()), Framed::Envelope(envelope), "{line}");
                    }
                }
            }
        }
        assert!(quick > 100, "{quick}");
    }

    #[test]
    fn an_envelope_with_wrong_numbers_is_bad() {
        let lines = [
            r#"{"_t":"5000","_p":3,"_o":7,"v":{}}"#,
            r#"{"_t":5000.5,"_p":3,"_o":7,"v":{}}"#,
            r#"{"_t":-1,"_p":3,"_o":7,"v":{}}"#,
            r#"{"_t":9999999999999999,"_p":3,"_o":7,"v":{}}"#,
            r#"{"_t":5000,"_p":-1,"_o":7,"v":{}}"#,
            r#"{"_t":5000,"_p":3000000000,"_o":7,"v":{}}"#,
            r#"{"_t":5000,"_p":3,"_o":-7,"v":{}}"#,
            r#"{"_t":5000,"_p":3,"_o":null,"v":{}}"#,
        ];
        for line in lines {
            assert!(matches!(read(line.as_bytes()), Framed::Bad(_)), "{line}");
        }
    }

    #[test]
    fn a_broken_event_keeps_its_envelope() {
        let head = r#"{"_t":5000,"_p":3,"_o":7,"v" : "#;
        for broken in [r#"{"a":1,}"#, r#"{"a":tru}"#, "", "{} x", r#"{"a":1]"#] {
            assert_eq!(payload(&format!("{head}{broken}}}\n")), Some((5000, 3, 7, broken)), "{broken}");
        }
        assert_eq!(payload(&format!("{head}{{\"a\":[1")), Some((5000, 3, 7, "{\"a\":[1")));
        let bytes = [head.as_bytes(), b"{\"a\":\"\xff\"}}"].concat();
        let Framed::Envelope(found) = read(&bytes) else { panic!("no envelope") };
        assert_eq!(&bytes[found.payload], b"{\"a\":\"\xff\"}");
    }
}
