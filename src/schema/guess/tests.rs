//! Odd and hostile samples.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::diagnostic::Source;
use crate::event::Timestamp;
use crate::schema::{Schema, TimeUnit, load};

fn samples(lines: &[impl AsRef<[u8]>]) -> Vec<Sample<'_>> {
    lines.iter().map(|line| Sample { place: Place::default(), payload: line.as_ref() }).collect()
}

/// What is guessed, as text and as the schema that it is.
fn guessed(lines: &[impl AsRef<[u8]>]) -> (String, Arc<Schema>) {
    let look = look(&samples(lines));
    let text = look.guess().toml("t", "a test");
    let (schemas, problems) = load(&[Source { path: "schemas/odd.toml".into(), text: text.clone() }]);
    assert_eq!(problems, [], "{text}");
    (text, schemas[0].clone())
}

fn kinds(schema: &Schema) -> Vec<(&str, FieldType)> {
    schema.fields.iter().map(|field| (field.name.as_str(), field.kind)).collect()
}

#[test]
fn types_times_and_roles_of_a_plain_stream() {
    let lines: Vec<String> = (0..100)
        .map(|i| {
            format!(
                "{{\"vin\":\"XFWESWMHASL{:06}\",\"ts\":{},\"speed\":{i},\"locked\":true,\"src_ip\":\"10.0.0.{i}\",\
                 \"cmd\":\"{}\",\"tags\":[\"a\"],\"who\":{{\"user_id\":\"u{i}\",\"token\":\"abc{i}\"}},\"n\":{i}}}",
                i % 7,
                1_748_851_200_000_i64 + i * 1000,
                if i % 3 == 0 { "lock" } else { "unlock" }
            )
        })
        .collect();
    let (text, schema) = guessed(&lines);
    assert_eq!(
        kinds(&schema),
        [
            ("vin", FieldType::Text),
            ("ts", FieldType::Time(TimeUnit::Millis)),
            ("speed", FieldType::Float),
            ("locked", FieldType::Bool),
            ("src_ip", FieldType::Ip),
            ("cmd", FieldType::Text),
            ("tags", FieldType::TextList),
            ("who_user_id", FieldType::Text),
            ("n", FieldType::Int),
        ]
    );
    assert_eq!((schema.time, schema.key), (Some(1), Some(0)));
    assert_eq!(schema.fields[0].entity, Some(EntityType::Vehicle));
    assert_eq!(schema.fields[4].entity, Some(EntityType::Ip));
    assert_eq!(schema.fields[5].values, ["lock", "unlock"]);
    assert_eq!(schema.fields[7].entity, Some(EntityType::User));
    assert!(text.contains("# who.token: looks secret by its name"), "{text}");
}

#[test]
fn mixed_types_are_kept_as_text_and_said() {
    let lines: Vec<String> = (0..10)
        .map(|i| if i % 2 == 0 { "{\"status\":\"ok\"}".into() } else { format!("{{\"status\":{i}}}") })
        .collect();
    let (text, schema) = guessed(&lines);
    assert_eq!(kinds(&schema), [("status", FieldType::Json)]);
    assert!(text.contains("# not sure: 5 numbers and 5 texts: kept as JSON text"), "{text}");
}

#[test]
fn names_that_sql_cannot_read_get_the_checkers_substitute() {
    let line = r#"{"user":"a","end":1,"Größe":2,"a.b":3,"x-y":4,"x y":5,"event_time":"soon","":6,
        "select":{"from":1}}"#;
    let (text, schema) = guessed(&[line]);
    let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(
        names,
        ["user_name", "end_time", "gr_e", "a_b", "x_y", "x_y_2", "reported_event_time", "select_from"]
    );
    assert_eq!(schema.fields[3].path, ["a.b"]);
    assert!(text.contains("a member without a name"), "{text}");
}

#[test]
fn maps_are_kept_whole() {
    let lines: Vec<String> = (0..50)
        .map(|i| {
            let map = format!("{{\"XFWESWMHASL{i:06}\":{{\"n\":{i}}}}}");
            format!("{{\"by_vin\":{map},\"deep\":{{\"a\":{{\"b\":{{\"c\":1}}}}}}}}")
        })
        .collect();
    let (text, schema) = guessed(&lines);
    assert_eq!(kinds(&schema), [("by_vin", FieldType::Json), ("deep_a_b_c", FieldType::Int)]);
    assert!(text.contains("kept whole: json_get(by_vin, '…')"), "{text}");
    let wide: Vec<String> =
        (0..900).map(|i| format!("{{\"m\":{{\"key_{i}\":1,\"key_{}\":1}},\"id\":{i}}}", i + 1)).collect();
    assert_eq!(kinds(&guessed(&wide).1), [("m", FieldType::Json), ("id", FieldType::Int)]);
}

#[test]
fn a_schema_comes_of_whatever_there_is() {
    for lines in [
        vec!["{}"],
        vec!["{\"a\":null}"],
        vec!["no json", "{\"a\":1}"],
        vec![""],
        vec!["[]"],
        vec!["[{\"a\":1},{\"a\":2}]"],
        vec!["5"],
        vec!["{\"a\":{}}", "{\"a\":1}", "{\"a\":[{\"b\":1}]}"],
        vec!["{\"a\":1e999}"],
        vec!["{\"Records\":[]}"],
    ] {
        guessed(&lines);
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(60), "}".repeat(60));
    assert_eq!(kinds(&guessed(&[deep]).1), [("a_a_a_a_a_a", FieldType::Json)]);
    let none: [&str; 0] = [];
    guessed(&none);
}

#[test]
fn members_that_stand_twice_are_left_out() {
    let (text, schema) = guessed(&[r#"{"a":1,"b":{"c":1,"c":2,"d":3},"a":2}"#, r#"{"a":1,"b":{"d":3}}"#]);
    assert_eq!(kinds(&schema), [("b_d", FieldType::Int)]);
    assert!(
        text.contains("# a: stands twice in one event") && text.contains("# b.c: stands twice"),
        "{text}"
    );
}

#[test]
fn lists_of_events_are_opened() {
    let (_, schema) = guessed(&[r#"{"Records":[{"a":1},{"a":2}]}"#, r#"{"Records":[{"a":3}]}"#]);
    assert_eq!(
        (schema.records.as_slice(), kinds(&schema)),
        (&["Records".to_owned()][..], vec![("a", FieldType::Int)])
    );
    let (_, schema) = guessed(&[r#"{"data":{"events":[{"a":1}]}}"#]);
    assert_eq!(schema.records, ["data", "events"]);
    let (_, schema) = guessed(&[r#"{"vin":"V","n":1,"signals":[{"a":1}]}"#]);
    assert_eq!((schema.records.len(), kinds(&schema)[2]), (0, ("signals", FieldType::Json)));
}

#[test]
fn the_time_of_the_event_is_told_from_other_times() {
    let line = |i: i64| {
        format!(
            "{{\"userIdentity\":{{\"creationDate\":\"2025-06-02T06:11:09Z\"}},\"expires\":{},\
             \"eventTime\":\"2025-06-02T07:{:02}:00Z\"}}",
            1_748_851_200 + i,
            i
        )
    };
    let (text, schema) = guessed(&(0..40).map(line).collect::<Vec<_>>());
    assert_eq!(
        schema.fields[schema.time.unwrap()].name,
        "event_time".replace("event_time", "reported_event_time")
    );
    assert!(
        text.contains("other times: user_identity_creation_date, expires") || text.contains("other times"),
        "{text}"
    );
    let (_, schema) = guessed(&[r#"{"when":"Mon, 21 Nov 2022 18:12:16 GMT"}"#]);
    assert_eq!(schema.fields[schema.time.unwrap()].kind, FieldType::Time(TimeUnit::Text));
    let (_, schema) = guessed(&[r#"{"meta":{"ts":"1748851200000"},"n":5}"#]);
    assert_eq!(schema.fields[schema.time.unwrap()].path, ["meta", "ts"]);
    let (_, schema) = guessed(&[r#"{"counter":1748851200}"#]);
    assert_eq!((schema.time, schema.fields[0].kind), (None, FieldType::Int));
}

#[test]
fn the_brokers_clock_finds_a_time_of_any_name() {
    let lines: Vec<String> =
        (0..50).map(|i| format!("{{\"zeit\":{},\"id\":{i}}}", 1_748_851_200_000_i64 + i)).collect();
    let samples: Vec<Sample<'_>> = (0..)
        .zip(&lines)
        .map(|(i, line)| Sample {
            place: Place {
                broker_time: Some(Timestamp::from_millis(1_748_851_200_500 + i)),
                ..Place::default()
            },
            payload: line.as_bytes(),
        })
        .collect();
    let look = look(&samples);
    let guess = look.guess();
    let time = guess.time.unwrap();
    assert_eq!(guess.columns.all[time.column].name, "zeit");
    assert_eq!(time.why, "100 % within 3 s of the broker's clock");
}

#[test]
fn the_partition_key_is_what_the_records_say() {
    let lines: Vec<String> =
        (0..400).map(|i| format!("{{\"id\":{i},\"car\":\"c{}\",\"x\":\"{}\"}}", i % 40, i % 3)).collect();
    let keys: Vec<String> = (0..400).map(|i| format!("c{}", i % 40)).collect();
    let keyed = |with_key: bool| -> Vec<Sample<'_>> {
        (0..)
            .zip(lines.iter().zip(&keys))
            .map(|(i, (line, key))| Sample {
                place: Place {
                    partition: i % 40 % 4,
                    key: with_key.then_some(key.as_bytes()),
                    broker_time: None,
                },
                payload: line.as_bytes(),
            })
            .collect()
    };
    for with_key in [true, false] {
        let look = look(&keyed(with_key));
        let guess = look.guess();
        let key = guess.key.unwrap();
        assert!(key.sure && guess.columns.all[key.column].name == "car", "{}", key.why);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_members_make_a_schema_that_loads(names in prop::collection::vec("\\PC{0,12}", 1..6), text in "\\PC{0,20}") {
        let text = serde_json::json!(text);
        let members: Vec<String> = names.iter().map(|name| format!("{}:{text}", serde_json::json!(name))).collect();
        guessed(&[format!("{{{}}}", members.join(","))]);
    }
}
