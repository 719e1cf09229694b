use std::sync::Arc;

use super::*;
use crate::alert::{Alert, Entity, EntityType, RuleInfo, Severity};
use crate::event::{Stamp, Timestamp, Told, Value};
use crate::journal::encode;
use crate::kafka::mock::Mock;

const HOUR: i64 = 1_700_000_000_000_000;

fn id(index: i32) -> PartitionId {
    PartitionId { stream: "telemetry".into(), index }
}

fn alert() -> Arc<Alert> {
    let rule = RuleInfo {
        id: "position-jumps".into(),
        title: "A car that is in two places".into(),
        severity: Severity::Medium,
        risk: 40,
        version: "0a1b2c3d".into(),
        kind: "threshold",
        stream: "telemetry".into(),
        r155: Vec::new(),
        atm: Vec::new(),
        attack: Vec::new(),
        triage: String::new(),
        blind_spots: String::new(),
        key: vec!["vin".into()],
    };
    Arc::new(Alert {
        id: 0xabc,
        rule: Arc::new(rule),
        severity: Severity::High,
        risk: 40,
        key: vec![Value::text("V1")],
        entities: vec![Entity { kind: EntityType::Vehicle, value: Value::text("V1") }],
        window: None,
        time: Timestamp(HOUR - 1_500_000),
        broker_time: Timestamp(HOUR - 1_000_000),
        observed: vec![("km".into(), Value::float(0.1)), ("count".into(), Value::Int(3))],
        count: 3,
        folds: 0,
        evidence: Vec::new(),
        event: None,
    })
}

/// The life of a partition whose first owner does not know that it has been put out.
fn life() -> Vec<Vec<u8>> {
    let of = |index, epoch, seq, entry| {
        let seconds = i64::try_from(seq).unwrap() * 1_000_000;
        encode(&Written {
            stamp: Stamp { source: id(index), epoch, seq },
            written: Timestamp(HOUR + seconds),
            engine: "0.1.0".into(),
            entry,
        })
    };
    let told = |at, told| Entry::Told { at, told };
    let gap = Told::Gap { from: 5, to: 9 };
    vec![
        of(3, -1, 1, Entry::Claim),
        of(3, 0, 2, Entry::Open { cold: true }),
        of(3, 0, 3, told(0, Told::Rules(0xff))),
        of(3, 0, 4, told(5, gap)),
        of(0, -1, 1, Entry::Claim),
        of(3, 0, 5, Entry::Alerts { through: 42, more: false, alerts: vec![alert()] }),
        of(3, -1, 1, Entry::Claim),
        of(3, 0, 6, told(42, Told::Tick(Timestamp(HOUR)))),
        of(3, 6, 2, Entry::Open { cold: false }),
        of(3, 0, 7, Entry::Alerts { through: 50, more: false, alerts: vec![alert()] }),
        of(3, 6, 3, Entry::Alerts { through: 51, more: false, alerts: Vec::new() }),
        b"{\"v\":9}".to_vec(),
    ]
}

fn taken() -> Vec<Taken> {
    let of =
        |(offset, payload)| Taken { partition: 1, offset, broker_time: Timestamp(HOUR), key: None, payload };
    (0..).zip(life()).map(of).collect()
}

fn shown(only: Option<&PartitionId>, show: impl Fn(&Taken, &Read) -> String) -> Vec<String> {
    let mut reader = Reader { marks: Marks::default(), only };
    taken().iter().filter_map(|taken| reader.read(taken).map(|read| show(taken, &read))).collect()
}

const TEXT: &str = include_str!("life.txt");

#[test]
fn a_life_as_people_read_it() {
    let lines = shown(Some(&id(3)), |taken, read| text(taken, read, false));
    assert_eq!(lines.join("\n"), TEXT.trim_end(), "\n{}", lines.join("\n"));
}

#[test]
fn a_life_as_programs_read_it() {
    let lines = shown(None, line);
    assert_eq!(lines.len(), life().len());
    let entry = String::from_utf8(life()[9].clone()).unwrap();
    assert_eq!(lines[9], format!("{{\"partition\":1,\"offset\":9,\"superseded_by\":6,\"entry\":{entry}}}"));
    assert!(lines[8].starts_with("{\"partition\":1,\"offset\":8,\"superseded_by\":null,\"entry\":{\"v\":1,"));
    assert!(lines[11].contains("\"malformed\":\"not an entry of the journal: v: version 9"), "{}", lines[11]);
}

#[test]
fn where_to_begin() {
    assert_eq!(part(None), Ok(Part::Between(None, None)));
    assert_eq!(part(Some("4711")), Ok(Part::Since(4711)));
    let time = Timestamp::parse_rfc3339("2026-11-24T10:00:00Z");
    assert_eq!(part(Some("2026-11-24T10:00:00Z")), Ok(Part::Between(time, None)));
    assert!(matches!(part(Some("90m")), Ok(Part::Between(Some(_), None))));
    assert!(part(Some("soon")).unwrap_err().contains("--from soon is no time"));
    assert!(source("telemetry").is_err());
    assert_eq!(source("telemetry/3"), Ok(id(3)));
}

#[test]
fn the_topic_is_read_where_the_source_lies() {
    let mock = Mock::start().unwrap();
    mock.create_topic("fleetwarden.journal", 4).unwrap();
    let lies = partition_of(&id(3), 4);
    for payload in life() {
        mock.send("fleetwarden.journal", lies, b"telemetry/3", &payload, Timestamp(HOUR)).unwrap();
    }
    mock.flush().unwrap();
    let args = |limit| JournalArgs {
        config: PathBuf::new(),
        partition: Some(id(3)),
        from: None,
        follow: true,
        format: Format::Json,
        limit: Some(limit),
    };
    let settings = Settings::new(mock.brokers());
    assert_eq!(print(&args(3), &settings, Part::Since(2)), Ok(Exit::Ok));
    let missing = Settings { journal_topic: Some("other".into()), ..settings };
    assert!(print(&args(3), &missing, Part::Since(2)).unwrap_err().contains("there is no topic \"other\""));
}
