//! The shipped rules against what they were made for: their own tests, logs of real techniques, the demo's
//! sample.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetwarden::cli::test::Outcome;
use fleetwarden::diagnostic::{Diagnostic, Gravity};
use fleetwarden::encode::plain;
use fleetwarden::event::{Limits, PartitionId, Record, Timestamp};
use fleetwarden::rule::Loaded;
use fleetwarden::runtime::replay::Replay;
use fleetwarden::schema::{self, Schema};
use serde_json::Value as Json;

const STREAMS: [&str; 3] = ["telemetry", "diagnostics", "cloudtrail"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn shipped() -> (Loaded, Vec<Arc<Schema>>) {
    let (schemas, problems) = schema::load(&schema::read_dir(&path("schemas")).unwrap());
    assert!(problems.is_empty(), "{problems:#?}");
    let files = fleetwarden::rule::file::read(&[path("rules")]).unwrap();
    (fleetwarden::rule::load(&files, &schemas), schemas)
}

fn lines(name: &str) -> Vec<Json> {
    let text = fs::read_to_string(path(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(value: &Json) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn the_shipped_rules_are_whole() {
    let (loaded, _) = shipped();
    let problems: Vec<&Diagnostic> =
        loaded.problems.iter().filter(|problem| problem.gravity <= Gravity::Warning).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    assert_eq!(loaded.rules.rules.len(), 8);
    for rule in &loaded.rules.rules {
        let info = &rule.info;
        assert!(rule.suppress.is_some() && !info.r155.is_empty() && !info.attack.is_empty(), "{}", info.id);
        // The matrix of threats to vehicles has nothing to say about back ends.
        assert_eq!(info.atm.is_empty(), *info.stream == *"cloudtrail", "{}", info.id);
    }
}

#[test]
fn the_shipped_rules_pass_their_tests() {
    let (loaded, schemas) = shipped();
    for test in &loaded.tests {
        let outcome = Outcome::of(test, &loaded.rules, &schemas);
        assert!(outcome.passed(), "{}", outcome.render(test));
    }
    let silent = |alerts: &fleetwarden::rule::Expected| match alerts {
        fleetwarden::rule::Expected::Count(n) => *n == 0,
        fleetwarden::rule::Expected::Alerts(alerts) => alerts.is_empty(),
    };
    for rule in &loaded.rules.rules {
        let own: Vec<bool> =
            loaded.tests.iter().filter(|test| test.rule == rule.info.id).map(|t| silent(&t.alerts)).collect();
        assert!(
            own.contains(&true) && own.contains(&false),
            "{}: a test that fires, one that does not",
            rule.info.id
        );
    }
}

#[test]
fn logs_of_real_techniques_raise_what_they_show_and_nothing_else() {
    let (loaded, schemas) = shipped();
    let rules = Arc::new(loaded.rules);
    let folder = path("testdata/cloudtrail");
    let table: toml::Table =
        toml::from_str(&fs::read_to_string(folder.join("expected.toml")).unwrap()).unwrap();
    let names = fs::read_dir(folder.join("stratus")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.filter(|name| name.ends_with(".json")).collect();
    assert_eq!(names, table.keys().cloned().collect(), "every file is named, and no other");
    for (name, expected) in table {
        let payload = fs::read(folder.join("stratus").join(&name)).unwrap();
        let mut replay = Replay::new(rules.clone(), &schemas, &Limits::default());
        let source = replay.source(&PartitionId { stream: "cloudtrail".into(), index: 0 });
        let broker_time = Timestamp(1_740_000_000_000_000);
        let (alerts, rejects) =
            replay.push(&[Record { source, offset: 0, broker_time, payload: &payload, broken: None }]);
        assert!(rejects.is_empty(), "{name}: {rejects:?}");
        let fired: Vec<&str> = alerts.iter().map(|alert| alert.rule.id.as_str()).collect();
        let expected: Vec<&str> =
            expected.as_array().unwrap().iter().map(|rule| rule.as_str().unwrap()).collect();
        assert_eq!(fired, expected, "{name}");
    }
}

/// The demo's records in the order in which they would be read: time in ms, stream, offset, payload.
fn sample() -> Vec<(i64, &'static str, i64, String)> {
    let mut records = Vec::new();
    for stream in STREAMS {
        let file = format!("testdata/demo/{stream}.ndjson");
        assert!(fs::metadata(path(&file)).unwrap().len() < 700 * 1024, "{file} is too large to ship");
        let read = lines(&file);
        assert!(read.len() <= 2_000, "{file}: more records than the demo's broker keeps");
        records.extend(read.iter().map(|line| {
            (line["_t"].as_i64().unwrap(), stream, line["_o"].as_i64().unwrap(), line["v"].to_string())
        }));
    }
    records.sort();
    records
}

#[test]
fn the_sample_raises_its_attacks_and_nothing_else() {
    let (loaded, schemas) = shipped();
    let mut replay = Replay::new(Arc::new(loaded.rules), &schemas, &Limits::default());
    let truth = lines("testdata/demo/truth.jsonl");
    let mut found = BTreeSet::new();
    for (time, stream, offset, payload) in sample() {
        let source = replay.source(&PartitionId { stream: stream.into(), index: 0 });
        let broker_time = Timestamp(time * 1000);
        let record = Record { source, offset, broker_time, payload: payload.as_bytes(), broken: None };
        let (alerts, rejects) = replay.push(&[record]);
        assert!(rejects.is_empty(), "{payload}: {rejects:?}");
        for alert in alerts {
            let body = plain::body(&alert);
            let attack = truth
                .iter()
                .find(|attack| attack["rule"] == body["rule"]["id"] && attack["key"] == body["key"]);
            let attack = attack.unwrap_or_else(|| panic!("outside every attack: {body}"));
            let span = attack["start_ms"].as_i64().unwrap()..=attack["end_ms"].as_i64().unwrap();
            assert!(span.contains(&time), "{}: fired at {time}", attack["id"]);
            assert!(body["entities"].as_array().unwrap().contains(&attack["entity"]), "{body}");
            found.insert(text(&attack["id"]));
        }
    }
    let all: BTreeSet<String> = truth.iter().map(|attack| text(&attack["id"])).collect();
    assert_eq!(found, all);
    let streams: BTreeSet<String> = truth.iter().map(|attack| text(&attack["stream"])).collect();
    assert!(all.len() >= 6 && streams.len() == STREAMS.len());
}
