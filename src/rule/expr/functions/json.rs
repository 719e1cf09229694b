//! `json_get` and `json_list`: scalars at a path of a JSON text, as texts.
//!
//! The text is read once, to its end, without building it: what is not on the path is skipped, and depth is
//! limited by the reader. A scalar's text is what stands there (`1e3` stays `1e3`), a string's is what it
//! says. A member that stands twice: `json_list` gives both, `json_get` the last, as most readers do.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Total;
use crate::rule::expr::node::JsonStep;

/// The scalar at a path; NULL if there is none, counted if the text is not JSON.
pub fn get(json: &str, path: &[JsonStep]) -> Total<String> {
    let mut last = None;
    match read(json, path, &mut |scalar| last = scalar) {
        Ok(()) => Total::or_null(last),
        Err(_) => Total::Lost,
    }
}

/// All scalars at a path, in order; NULL, counted, if the text is not JSON.
pub fn list(json: &str, path: &[JsonStep]) -> Total<Vec<String>> {
    let mut all = Vec::new();
    match read(json, path, &mut |scalar| all.extend(scalar)) {
        Ok(()) => Total::Value(all),
        Err(_) => Total::Lost,
    }
}

/// Tells everything that stands at the path: a scalar's text, or nothing for null, an object or an array.
fn read(json: &str, path: &[JsonStep], tell: &mut dyn FnMut(Option<String>)) -> serde_json::Result<()> {
    let mut reader = serde_json::Deserializer::from_str(json);
    Walk { path, tell }.deserialize(&mut reader)?;
    reader.end()
}

/// Follows the rest of a path.
struct Walk<'p, 't> {
    path: &'p [JsonStep],
    tell: &'t mut dyn FnMut(Option<String>),
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        if !self.path.is_empty() {
            return reader.deserialize_any(self);
        }
        let raw: &RawValue = serde::Deserialize::deserialize(reader)?;
        let scalar = match raw.get().as_bytes().first() {
            Some(b'"') => Some(serde_json::from_str(raw.get()).map_err(D::Error::custom)?),
            Some(b'{' | b'[' | b'n') | None => None,
            Some(_) => Some(raw.get().to_owned()),
        };
        (self.tell)(scalar);
        Ok(())
    }
}

/// A scalar in the middle of a path leads nowhere.
impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
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

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (wanted, path) = match self.path {
            [JsonStep::Member(name), path @ ..] => (Some(name.as_str()), path),
            _ => (None, [].as_slice()),
        };
        while let Some(found) = map.next_key_seed(IsName(wanted))? {
            if found {
                map.next_value_seed(Walk { path, tell: &mut *self.tell })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((step, path)) = self.path.split_first() else {
            return Ok(());
        };
        for at in 0.. {
            let wanted = match step {
                JsonStep::Index(index) => *index == at,
                JsonStep::Each => true,
                JsonStep::Member(_) => false,
            };
            let more = if wanted {
                items.next_element_seed(Walk { path, tell: &mut *self.tell })?.is_some()
            } else {
                items.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

/// Reads a member's name without keeping it.
struct IsName<'a>(Option<&'a str>);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(self.0 == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<JsonStep> {
        text.split('.')
            .map(|part| match part {
                "*" => JsonStep::Each,
                _ => part.parse().map_or_else(|_| JsonStep::Member(part.into()), JsonStep::Index),
            })
            .collect()
    }

    fn got(json: &str, at: &str) -> Total<String> {
        get(json, &path(at))
    }

    fn found(text: &str) -> Total<String> {
        Total::Value(text.to_owned())
    }

    #[test]
    fn scalars() {
        let json = r#" {"a":{"b":"x\u00e9\"","n":-0.0,"big":123456789012345678901234567890,"t":true,"z":null,
            "o":{},"l":[1,[2,3]]},"":1} "#;
        for (at, text) in [
            ("a.b", "xé\""),
            ("a.n", "-0.0"),
            ("a.big", "123456789012345678901234567890"),
            ("a.t", "true"),
            ("a.l.0", "1"),
            ("a.l.1.1", "3"),
            ("", "1"),
        ] {
            assert_eq!(got(json, at), found(text), "{at}");
        }
        for at in
            ["a", "a.z", "a.o", "a.l", "a.l.1", "a.l.2", "a.b.c", "b", "a.0", "0", "A.b", "a.t.x", "a.n.x"]
        {
            assert_eq!(got(json, at), Total::Null, "{at}");
        }
    }

    #[test]
    fn what_is_not_json_is_lost() {
        let deep = "[".repeat(100_000);
        let bad =
            ["", " ", "x", "{\"a\":1", "{\"a\":1}}", "{\"a\":1,}", "{\"a\":\"\\ud800\"}", "{'a':1}", &deep];
        for json in bad {
            assert_eq!(got(json, "a"), Total::Lost, "{}", &json[..json.len().min(20)]);
            assert_eq!(list(json, &path("a")), Total::Lost);
        }
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(got(&format!("{{\"b\":{nested},\"a\":1}}"), "a"), found("1"));
    }

    #[test]
    fn a_member_that_stands_twice() {
        let json = r#"{"a":"x","a":["y"],"b":1,"b":2}"#;
        assert_eq!(got(json, "b"), found("2"));
        assert_eq!(got(json, "a"), Total::Null);
        assert_eq!(list(json, &path("b")), Total::Value(vec!["1".into(), "2".into()]));
    }

    #[test]
    fn lists() {
        let json =
            r#"{"a":[{"c":1},{"c":"two"},{"d":3},{"c":null},{"c":[4]},5,{"c":false}],"n":[["x"],["y","z"]]}"#;
        let texts = |at: &str| list(json, &path(at));
        let all = |items: &[&str]| Total::Value(items.iter().map(|t| t.to_string()).collect());
        assert_eq!(texts("a.*.c"), all(&["1", "two", "false"]));
        assert_eq!(texts("n.*.*"), all(&["x", "y", "z"]));
        assert_eq!(texts("n.1.*"), all(&["y", "z"]));
        assert_eq!(texts("n.*"), all(&[]));
        assert_eq!(texts("x.*"), all(&[]));
        assert_eq!(list("7", &[]), all(&["7"]));
        assert_eq!(list("[]", &path("*")), all(&[]));
    }
}
