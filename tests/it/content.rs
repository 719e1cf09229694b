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
use fleetwarden::rule::{Loaded, Placement, RuleFile, shipped};
use fleetwarden::runtime::replay::Replay;
use fleetwarden::schema::{self, Schema};
use serde_json::Value as Json;

const STREAMS: [&str; 3] = ["telemetry", "diagnostics", "cloudtrail"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn shipped_content() -> (Loaded, Vec<Arc<Schema>>) {
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
    let (loaded, schemas) = shipped_content();
    let problems: Vec<&Diagnostic> =
        loaded.problems.iter().filter(|problem| problem.gravity <= Gravity::Warning).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(loaded.rules.rules.len() >= 70);
    for rule in &loaded.rules.rules {
        let info = &rule.info;
        assert!(rule.suppress.is_some() && !info.r155.is_empty() && !info.attack.is_empty(), "{}", info.id);
        assert!(!info.triage.is_empty() && !info.blind_spots.is_empty() && info.risk > 0, "{}", info.id);
        let together = rule.placement == Placement::Exchange;
        let told = info.blind_spots.contains("looks at all partitions together");
        assert_eq!(together, told, "{}: its blind spots say where it runs", info.id);
        // The matrix of threats to vehicles has little to say about back ends.
        let back_end = ["cloudtrail", "identity", "kafka_audit", "api_gateway"].contains(&&*info.stream);
        assert!(!info.atm.is_empty() || back_end, "{}", info.id);
        let folder = format!("rules/{}/", info.stream);
        let file = |file: &RuleFile| file.source.path == format!("{folder}{}.toml", info.id);
        assert!(shipped::files().iter().any(file), "{} lies in {folder} and in the program", info.id);
    }
    let streams: BTreeSet<&str> = loaded.rules.rules.iter().map(|rule| &*rule.stream).collect();
    assert_eq!(streams, schemas.iter().map(|schema| &*schema.name).collect(), "every stream has rules");
    let files = fleetwarden::rule::file::read(&[path("rules")]).unwrap();
    assert_eq!(files.len(), shipped::files().len());
}

/// The table of `rules/README.md`: a row a rule, by stream and name.
fn rule_table(loaded: &Loaded) -> String {
    let mut rows: Vec<String> = loaded
        .rules
        .rules
        .iter()
        .map(|rule| {
            let info = &rule.info;
            let (stream, id, severity) = (&info.stream, &info.id, info.severity.name());
            let mapped = [info.r155.join(" "), info.atm.join(" "), info.attack.join(" ")].join(" | ");
            let kind = info.kind;
            format!(
                "| {stream} | [`{id}`]({stream}/{id}.toml) | {kind} | {severity} | {} | {mapped} |",
                info.title
            )
        })
        .collect();
    rows.sort();
    rows.join("\n")
}

/// With `FLEETWARDEN_WRITE_TABLES=1` the table is written instead.
#[test]
fn the_table_of_rules_is_the_rules() {
    let (loaded, _) = shipped_content();
    let file = path("rules/README.md");
    let text = fs::read_to_string(&file).unwrap();
    let mark = "|---|---|---|---|---|---|---|---|\n";
    let (head, _) = text.split_once(mark).unwrap();
    let wanted = format!("{head}{mark}{}\n", rule_table(&loaded));
    if std::env::var_os("FLEETWARDEN_WRITE_TABLES").is_some() {
        fs::write(&file, &wanted).unwrap();
    }
    let fix = "FLEETWARDEN_WRITE_TABLES=1 cargo test --test it the_table_of_rules writes it";
    assert!(fs::read_to_string(&file).unwrap() == wanted, "rules/README.md is behind the rules: {fix}");
}

#[test]
fn the_shipped_rules_pass_their_tests() {
    let (loaded, schemas) = shipped_content();
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
    let (loaded, schemas) = shipped_content();
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
    let (loaded, schemas) = shipped_content();
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
            let told = Json::from(vec![body["rule"]["id"].clone(), body["key"].clone()]);
            let attack = truth.iter().find(|attack| {
                attack["also"].as_array().is_some_and(|also| also.contains(&told))
                    || attack["rule"] == told[0] && attack["key"] == told[1]
            });
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
