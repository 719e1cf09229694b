//! The shipped rules against what they were made for: logs of real techniques, and the demo's sample.
//!
//! Drives the program as a person would. What a rule does event by event stands in its own tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fleetwarden(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetwarden"));
    let output = command.args(args).current_dir(root()).output().unwrap();
    let code = output.status.code();
    assert_eq!(code, Some(0), "{args:?} ended with {code:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn lines(bytes: &[u8]) -> Vec<Json> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(json).collect()
}

fn json(bytes: &[u8]) -> Json {
    serde_json::from_slice(bytes).unwrap()
}

/// (rule, key) of every alert, and how many alerts there were.
fn alerts(output: &Output) -> (BTreeSet<(String, String)>, usize) {
    let alerts = lines(&output.stdout);
    let found = alerts.iter().map(|alert| (text(&alert["rule"]["id"]), alert["key"].to_string())).collect();
    (found, alerts.len())
}

fn text(value: &Json) -> String {
    value.as_str().unwrap().to_owned()
}

fn summary(output: &Output) -> Json {
    json(output.stderr.trim_ascii().rsplit(|byte| *byte == b'\n').next().unwrap())
}

#[test]
fn the_shipped_rules_are_without_a_mistake_and_pass_their_tests() {
    let checked = String::from_utf8(fleetwarden(&["check"]).stderr).unwrap();
    assert!(!checked.contains("warning"), "{checked}");
    fleetwarden(&["test"]);
    let folder = root().join("rules");
    let files: Vec<PathBuf> = ["telemetry", "diagnostics", "cloudtrail"]
        .iter()
        .flat_map(|stream| std::fs::read_dir(folder.join(stream)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name != "_shared.toml"))
        .collect();
    assert_eq!(files.len(), 8);
    for file in files {
        let rule: toml::Table = toml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let expected = |test: &toml::Value| match &test["alerts"] {
            toml::Value::Array(alerts) => alerts.len(),
            other => other.as_integer().unwrap() as usize,
        };
        let tests: Vec<usize> = rule["test"].as_array().unwrap().iter().map(expected).collect();
        assert!(tests.contains(&0) && tests.iter().any(|n| *n > 0), "{}: both kinds of test", file.display());
        for name in ["title", "severity", "risk", "r155", "attack", "blind_spots", "triage", "suppress"] {
            assert!(rule.contains_key(name), "{}: {name}", file.display());
        }
    }
}

#[test]
fn the_logs_of_real_techniques_raise_what_they_show_and_nothing_else() {
    let folder = root().join("testdata/cloudtrail");
    let text = std::fs::read_to_string(folder.join("expected.toml")).unwrap();
    let expected: toml::Table = toml::from_str(&text).unwrap();
    let names = std::fs::read_dir(folder.join("stratus")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.filter(|name| name.ends_with(".json")).collect();
    assert_eq!(names, expected.keys().cloned().collect(), "every file is named, and no other");
    for (name, rules) in expected {
        let input = format!("cloudtrail=testdata/cloudtrail/stratus/{name}");
        let output = fleetwarden(&[
            "replay",
            "--rules",
            "rules",
            "--out",
            "-",
            "--quiet",
            "--framing",
            "file",
            &input,
        ]);
        let found: Vec<String> = lines(&output.stdout).iter().map(|a| text_of_rule(a)).collect();
        let wanted: Vec<&str> = rules.as_array().unwrap().iter().map(|rule| rule.as_str().unwrap()).collect();
        assert_eq!(found, wanted, "{name}");
        assert_eq!(summary(&output)["records"], 1, "{name}");
    }
}

fn text_of_rule(alert: &Json) -> String {
    text(&alert["rule"]["id"])
}

#[test]
fn every_attack_of_the_sample_is_found_and_nothing_else() {
    let output = fleetwarden(&["replay", "--rules", "rules", "--out", "-", "--quiet", "testdata/demo"]);
    let (found, count) = alerts(&output);
    let truth = lines(&std::fs::read(root().join("testdata/demo/truth.ndjson")).unwrap());
    let wanted: BTreeSet<(String, String)> =
        truth.iter().map(|attack| (text(&attack["rule"]), attack["key"].to_string())).collect();
    assert_eq!(found, wanted);
    assert!(wanted.len() >= 6 && count >= wanted.len() && count <= 2 * wanted.len(), "{count} alerts");
    for alert in lines(&output.stdout) {
        let at = |attack: &&Json| attack["rule"] == alert["rule"]["id"] && attack["key"] == alert["key"];
        let attack = truth.iter().find(at).unwrap();
        let entity = alert["entities"].as_array().unwrap().iter().any(|entity| entity == &attack["entity"]);
        assert!(entity, "{} is about {}", alert["id"], attack["entity"]);
    }
    let summary = summary(&output);
    assert_eq!(summary["alerts"], count, "{summary}");
}
