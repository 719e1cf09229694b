//! The shipped schemas against a sample of each back-end stream: a quiet day, on which no rule has anything
//! to say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::Array;
use fleetwarden::decode::{DecodeStats, Decoded, JsonDecoder};
use fleetwarden::encode::plain;
use fleetwarden::event::{Limits, PartitionId, Record, Timestamp};
use fleetwarden::files::{Framing, Input, Line, Origin, read_all};
use fleetwarden::runtime::replay::Replay;
use fleetwarden::schema::{self, Format, Schema};

/// The streams that have a sample: all but those that the demo plays.
const SAMPLES: [&str; 7] = [
    "api_gateway",
    "charging",
    "identity",
    "kafka_audit",
    "ota",
    "remote_commands",
    "vehicle_security_events",
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn schema(stream: &str) -> Arc<Schema> {
    schema::built_in().into_iter().find(|schema| &*schema.name == stream).unwrap()
}

/// The lines of some streams' samples, in merged order.
fn sample(streams: &[&str]) -> Vec<Line> {
    let input = |stream: &&str| Input {
        stream: Arc::from(*stream),
        origin: Origin::Path(path(&format!("testdata/streams/{stream}.ndjson"))),
    };
    let inputs: Vec<Input> = streams.iter().map(input).collect();
    read_all(&inputs, &schema::built_in(), &Limits::default(), Framing::Lines).unwrap()
}

fn record(line: &Line, source: u16) -> Record<'_> {
    Record {
        source,
        offset: line.offset,
        broker_time: line.broker_time,
        payload: &line.payload,
        broken: line.reject.as_ref().map(|(reason, _)| *reason),
    }
}

fn decode(schema: &Arc<Schema>, lines: &[Line]) -> Decoded {
    let mut decoder = JsonDecoder::new(schema.clone(), vec![true; schema.fields.len()], &Limits::default());
    for (position, line) in (0..).zip(lines) {
        decoder.push(&record(line, 0), position);
    }
    decoder.finish(&Arc::from([PartitionId { stream: schema.name.clone(), index: 0 }]))
}

#[test]
fn every_sample_is_read_whole_and_uses_every_field() {
    for stream in SAMPLES {
        let (schema, lines) = (schema(stream), sample(&[stream]));
        assert!(lines.len() >= 200, "{stream}: {}", lines.len());
        let decoded = decode(&schema, &lines);
        assert_eq!((decoded.rejects.len(), decoded.stats), (0, DecodeStats::default()), "{stream}");
        for (field, column) in schema.fields.iter().zip(decoded.batch.columns.columns()) {
            assert!(column.null_count() < column.len(), "{stream}: no record has {}", field.name);
        }
    }
}

#[test]
fn no_sample_has_a_member_that_no_field_reads() {
    for stream in SAMPLES {
        let schema = schema(stream);
        for line in sample(&[stream]) {
            let value: serde_json::Value = serde_json::from_slice(&line.payload).unwrap();
            for member in members(&value, &[], &schema) {
                let taken_apart = schema.format == Format::KafkaAuthorizer && member == ["log"];
                let known = taken_apart || schema.fields.iter().any(|field| field.path == member);
                assert!(known, "{stream}: {member:?}");
            }
        }
    }
}

/// The paths of all members that hold a value; of an object that is a field, its own.
fn members(value: &serde_json::Value, above: &[String], schema: &Schema) -> Vec<Vec<String>> {
    match value {
        serde_json::Value::Object(inner) if !schema.fields.iter().any(|field| field.path == above) => inner
            .iter()
            .flat_map(|(name, value)| members(value, &[above, std::slice::from_ref(name)].concat(), schema))
            .collect(),
        _ => vec![above.to_vec()],
    }
}

#[test]
fn a_quiet_day_raises_nothing() {
    let (schemas, _) = schema::load(&schema::read_dir(&path("schemas")).unwrap());
    let files = fleetwarden::rule::file::read(&[path("rules")]).unwrap();
    let rules = Arc::new(fleetwarden::rule::load(&files, &schemas).rules);
    let mut replay = Replay::new(rules, &schemas, &Limits::default());
    let mut last = Timestamp(0);
    for line in sample(&SAMPLES) {
        let source = replay.source(&line.partition);
        let (alerts, rejects) = replay.push(&[record(&line, source)]);
        last = last.max(line.broker_time);
        assert!(rejects.is_empty(), "{rejects:?}");
        let alerts: Vec<_> = alerts.iter().map(|alert| plain::body(alert)).collect();
        assert!(alerts.is_empty(), "{alerts:#?}");
    }
    // Whatever waits for the end of a window: a day later all have ended.
    let later = replay.tick(last.plus(2 * 86_400_000_000));
    assert!(later.is_empty(), "{:#?}", later.iter().map(|alert| plain::body(alert)).collect::<Vec<_>>());
}

#[test]
fn the_samples_are_what_their_generator_writes() {
    let generator = path("testdata/streams/generate.py");
    let Ok(run) = Command::new("python3").arg(generator).arg("--check").output() else {
        return; // without Python the files still stand for themselves
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(fs::read_dir(path("testdata/streams")).unwrap().count() == SAMPLES.len() + 1);
}

#[test]
fn a_line_of_kafkas_log_reads_as_its_parts() {
    let schema = schema("kafka_audit");
    let lines = [
        "[2025-06-02 10:00:00,123] INFO Principal = User:eve is Denied operation = READ from host = 10.0.0.50 on \
         resource = Topic:LITERAL:vehicle.telemetry for request = Fetch with resourceRefCount = 1 based on rule \
         DefaultDeny (kafka.authorizer.logger)",
        r#"{"ts":1748858400123,"level":"INFO","principal":"User:eve","decision":"Denied","operation":"READ",
            "host":"10.0.0.50","resource_type":"Topic","pattern_type":"LITERAL","resource":"vehicle.telemetry",
            "request":"Fetch","resource_ref_count":1,"acl_rule":"DefaultDeny"}"#,
    ];
    let partition = PartitionId { stream: schema.name.clone(), index: 0 };
    let line = |text: &str| Line {
        partition: partition.clone(),
        offset: 7,
        broker_time: Timestamp(1_748_858_401_000_000),
        stream_time: Timestamp(1_748_858_401_000_000),
        payload: text.into(),
        reject: None,
    };
    let [from_line, from_parts] = lines.map(|text| decode(&schema, &[line(text)]).batch);
    assert_eq!(from_line.time, from_parts.time);
    for (index, field) in schema.fields.iter().enumerate().filter(|(_, field)| field.name != "message") {
        assert_eq!(from_line.columns.column(index), from_parts.columns.column(index), "{}", field.name);
    }
}
