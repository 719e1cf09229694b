//! Queries over small inputs, by the verb's own parts.

use datafusion::prelude::SessionContext;

use super::place::Place;
use super::*;
use crate::event::{Limits, Timestamp};
use crate::files::{self, Framing, Input};
use crate::kafka::mock::Mock;
use crate::kafka::{Part, Settings};
use crate::schema::built_in;

fn telemetry(text: &str) -> Place {
    let schema = built_in().into_iter().find(|schema| &*schema.name == "telemetry").unwrap();
    let bytes = files::Origin::Bytes("test".into(), text.as_bytes().into());
    let inputs = vec![Input { stream: "telemetry".into(), origin: bytes }];
    Place { schema, origin: Origin::Files(inputs, Framing::Lines), limits: Limits::default() }
}

/// The table that comes of a query, and what was read for it.
fn asked(place: Place, sql: &str) -> (Result<String, String>, Option<super::super::look::Decoded>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        functions::all().into_iter().for_each(|function| context.register_udf(function));
        let table = StreamTable::new(place, ProgressBar::hidden());
        let seen = table.seen();
        context.register_table("telemetry", Arc::new(table)).unwrap();
        let names = ["telemetry".to_owned()];
        let rows = match context.sql(sql).await {
            Ok(query) => query.collect().await,
            Err(error) => Err(error),
        };
        let table = rows.map_err(|error| explained(&error.to_string(), &names, false));
        (table.and_then(|rows| out::table(&rows)), seen.decoded())
    })
}

fn cells(table: &str) -> Vec<Vec<String>> {
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

const LINES: &str = "{\"vin\":\"a\",\"ts\":1000,\"speed\":10,\"src_ip\":\"10.1.2.3\"}\n\
                     {\"vin\":\"b\",\"ts\":2000,\"speed\":\"fast\"}\n\
                     no json\n\
                     {\"vin\":\"a\",\"ts\":3000,\"speed\":30.5}\n";

#[test]
fn rows_are_those_that_rules_see() {
    let (table, seen) =
        asked(telemetry(LINES), "SELECT vin, count(*), sum(speed) FROM telemetry GROUP BY vin ORDER BY vin");
    assert_eq!(cells(&table.unwrap()), [["A", "2", "40.5"], ["B", "1", ""]]);
    let seen = seen.unwrap();
    assert_eq!((seen.records, seen.events, seen.rejected()), (4, 3, 1));
    assert_eq!(seen.mistyped.get("speed"), Some(&1));
    assert!(
        seen.complaints()[0].starts_with("rejected syntax 1, the first at offset 2"),
        "{:?}",
        seen.complaints()
    );
}

#[test]
fn only_what_is_asked_is_read() {
    let (table, seen) = asked(telemetry(LINES), "SELECT count(*) FROM telemetry");
    assert_eq!(cells(&table.unwrap()), [["3"]]);
    assert!(seen.unwrap().mistyped.is_empty(), "speed was not built");
    let (_, seen) = asked(telemetry(LINES), "SELECT 1");
    assert_eq!(seen, None);
}

#[test]
fn events_have_their_place_and_rules_functions_work() {
    let sql = "SELECT _partition, _offset, event_time, cidr_match(src_ip, '10.0.0.0/8'), \
               json_get('{\"a\":[{\"b\":7}]}', 'a[0].b') FROM telemetry LIMIT 1";
    let (table, _) = asked(telemetry(LINES), sql);
    assert_eq!(cells(&table.unwrap()), [["0", "0", "1970-01-01T00:00:01.000Z", "true", "7"]]);
}

#[test]
fn mistakes_say_what_to_do() {
    let said = |sql| asked(telemetry(LINES), sql).0.unwrap_err();
    assert!(said("SELECT * FROM telemetri").ends_with("hint: did you mean \"telemetry\"?"));
    assert!(said("SELECT * FROM other").ends_with("give other=FILE as well; given: telemetry"));
    assert!(said("SELECT sped FROM telemetry").contains("hint: `fleetwarden query \"DESCRIBE telemetry\""));
    assert!(said("SELEC 1").starts_with("the query is no SQL: Expected"));
    assert!(said("SELECT json_get(vin, vin) FROM telemetry").contains("a text in quotes"));
    assert!(explained("DDL not supported: DropTable", &[], false).starts_with("a query only looks"));
}

#[test]
fn a_part_of_a_topic_is_a_table_too() {
    let kafka = Mock::start().unwrap();
    kafka.create_topic("cars", 2).unwrap();
    for i in 0..10 {
        let payload = format!("{{\"vin\":\"v{i}\",\"ts\":{i},\"speed\":{i}}}");
        kafka
            .send("cars", i % 2, b"k", payload.as_bytes(), Timestamp::from_millis(1_700_000_000_000))
            .unwrap();
    }
    kafka.flush().unwrap();
    let settings = Box::new(Settings::new(kafka.brokers()));
    let place = Place {
        origin: Origin::Topic { settings, topic: "cars".into(), part: Part::Between(None, None) },
        ..telemetry("")
    };
    let (table, _) =
        asked(place, "SELECT _partition, count(*), max(speed) FROM telemetry GROUP BY 1 ORDER BY 1");
    assert_eq!(cells(&table.unwrap()), [["0", "5", "8.0"], ["1", "5", "9.0"]]);
}
