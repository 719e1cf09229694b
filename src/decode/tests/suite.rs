use serde_json::Value;

use super::*;

/// The usual fields, but `a`, which some cases double, is not declared.
fn schema() -> String {
    CARS.replace("\"a.", "\"way.")
}

/// The cases of the JSON parsing test suite: name and bytes.
fn cases() -> Vec<(String, Vec<u8>)> {
    let lines = include_str!("../../../testdata/json/suite.ndjson").lines();
    let mut cases: Vec<(String, Vec<u8>)> = lines
        .map(|line| {
            let case: Value = serde_json::from_str(line).unwrap();
            let bytes = match case["hex"].as_str() {
                Some(hex) => (0..hex.len())
                    .step_by(2)
                    .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
                    .collect(),
                None => case["text"].as_str().unwrap().as_bytes().to_vec(),
            };
            (case["name"].as_str().unwrap().to_owned(), bytes)
        })
        .collect();
    cases.push(("n_structure_100000_opening_arrays".into(), b"[".repeat(100_000)));
    cases
        .push(("n_structure_open_array_object".into(), [b"[{\"\":".repeat(50_000), b"\n".to_vec()].concat()));
    assert_eq!(cases.len(), 318);
    cases
}

fn of(letter: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
    cases().into_iter().filter(move |(name, _)| name.starts_with(letter))
}

/// The case as the value of a member.
fn within(member: &str, case: &[u8]) -> Vec<u8> {
    [format!("{{\"{member}\":").as_bytes(), case, b"}"].concat()
}

/// A member that is skipped, one of each type, and one on the way to others.
const MEMBERS: [&str; 10] = ["other", "vin", "ts", "n", "x", "lit", "ip", "tags", "raw", "way"];

#[test]
fn what_must_be_rejected_is_rejected_alone_and_as_any_value() {
    for (name, case) in of("n_") {
        assert!(reason(&schema(), &case).is_some(), "{name}");
        assert!(reason(&format!("records = \"Records\"\n{}", schema()), &case).is_some(), "{name}");
        for member in MEMBERS {
            assert!(reason(&schema(), within(member, &case)).is_some(), "{name} in {member}");
        }
    }
}

#[test]
fn what_must_be_accepted_is_accepted_as_an_event_and_as_any_value() {
    for (name, case) in of("y_") {
        let is_object = case.trim_ascii().starts_with(b"{");
        assert_eq!(reason(&schema(), &case), (!is_object).then_some(RejectReason::Shape), "{name}");
        for member in MEMBERS {
            assert_eq!(reason(&schema(), within(member, &case)), None, "{name} in {member}");
        }
    }
}

#[test]
fn what_may_be_either_is_decided() {
    use RejectReason::{Syntax, TooDeep, Utf8};
    let decided = |name: &str| match name {
        "i_string_utf16BE_no_BOM" | "i_string_utf16LE_no_BOM" | "i_string_UTF-16LE_with_BOM" => Some(Utf8),
        "i_string_UTF-8_invalid_sequence" | "i_string_UTF8_surrogate_U+D800" | "i_string_invalid_utf-8" => {
            Some(Utf8)
        }
        "i_string_iso_latin_1" | "i_string_lone_utf8_continuation_byte" | "i_string_truncated-utf-8" => {
            Some(Utf8)
        }
        "i_string_not_in_unicode_range" | "i_string_overlong_sequence_2_bytes" => Some(Utf8),
        "i_string_overlong_sequence_6_bytes" | "i_string_overlong_sequence_6_bytes_null" => Some(Utf8),
        "i_structure_500_nested_arrays" => Some(TooDeep),
        // A number too big for its field is NULL, not the end of the record.
        _ if name.starts_with("i_number_") => None,
        // A lone surrogate, in a value or a key; a byte order mark.
        _ => Some(Syntax),
    };
    for (name, case) in of("i_") {
        for member in MEMBERS {
            assert_eq!(reason(&schema(), within(member, &case)), decided(&name), "{name} in {member}");
        }
    }
}
