//! What a test says of a rule, and what is shown if it fails.

use super::*;
use crate::diagnostic::Source;
use crate::rule::{self, RuleFile};
use crate::schema::built_in;

/// The outcome of the one test of a rule.
fn outcome(head: &str, events: &str, alerts: &str) -> (Outcome, RuleTest) {
    let text = format!(
        "title = \"T\"\nseverity = \"high\"\nstream = \"telemetry\"\n{head}\n[match]\n\
         where = \"speed > 100\"\n[[test]]\nname = \"a\"\nevents = '''\n{events}\n'''\nalerts = {alerts}\n"
    );
    let file = RuleFile { source: Source { path: "r.toml".into(), text } };
    let loaded = rule::load(&[file], &built_in());
    assert_eq!(loaded.tests.len(), 1, "{:#?}", loaded.problems);
    (Outcome::of(&loaded.tests[0], &loaded.rules, &built_in()), loaded.tests[0].clone())
}

const FAST: &str = r#"+5s {"vin":"V1","speed":120,"src_ip":"1.2.3.4"}"#;

#[test]
fn a_shadow_is_tested_as_if_it_were_live() {
    for mode in ["live", "shadow", "building_block"] {
        let (got, test) = outcome(&format!("mode = \"{mode}\""), FAST, "[ { at = \"+5s\" } ]");
        assert!(got.passed(), "{}", got.render(&test));
    }
}

#[test]
fn a_doubled_key_is_rejected_as_in_production() {
    let (got, test) = outcome("", r#"+5s {"vin":"V1","speed":120,"speed":120}"#, "1");
    assert!(!got.passed());
    let shown = got.render(&test);
    assert!(shown.contains("1 event was rejected") && shown.contains("speed"), "{shown}");
}

#[test]
fn entities_are_one_or_all_of_several() {
    let head = "entity = [\"vin\", \"src_ip\"]";
    for (alerts, fits) in [
        ("[ { entity = \"1.2.3.4\" } ]", true),
        ("[ { entity = [\"1.2.3.4\", \"V1\"] } ]", true),
        ("[ { entity = [\"1.2.3.4\", \"V2\"] } ]", false),
        ("[ { entity = \"V2\" } ]", false),
    ] {
        let (got, test) = outcome(head, FAST, alerts);
        assert_eq!(got.passed(), fits, "{alerts}");
        if !fits {
            let shown = got.render(&test);
            assert!(shown.contains(r#"entities = ["V1","1.2.3.4"]"#), "{shown}");
        }
    }
}

#[test]
fn times_are_compared_as_instants() {
    for (alerts, fits) in [
        ("[ { time = \"2025-01-01T01:00:05+01:00\", broker_time = 2025-01-01T00:00:05Z } ]", true),
        ("[ { time = \"2025-01-01T00:00:06Z\" } ]", false),
    ] {
        assert_eq!(outcome("", FAST, alerts).0.passed(), fits, "{alerts}");
    }
}

#[test]
fn the_time_is_written_where_it_is_absent_and_all_else_stays() {
    let path = |path: &[&str]| path.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let with = |object, names: &[&str]| with_member(object, &path(names), &json!(7));
    assert_eq!(with("{ }", &["t"]).unwrap(), "{\"t\":7 }");
    assert_eq!(with(r#"{"a":1, "a":2}"#, &["t"]).unwrap(), r#"{"t":7,"a":1, "a":2}"#);
    assert_eq!(with(r#"{"a":1}"#, &["h", "t"]).unwrap(), r#"{"h":{"t":7},"a":1}"#);
    assert_eq!(
        with(r#"{"a":1, "h" : { "b":"ä" } }"#, &["h", "t"]).unwrap(),
        r#"{"a":1, "h" : {"t":7, "b":"ä" } }"#
    );
    assert_eq!(with(r#"{"t":null}"#, &["t"]), None);
    assert_eq!(with(r#"{"h":{"t":1}}"#, &["h", "t"]), None);
    assert_eq!(with(r#"{"h":1}"#, &["h", "t"]), None);
}

#[test]
fn offsets_for_people() {
    assert_eq!(show_offset(START.plus(3_900 * SECOND)), "+1h5m");
    assert_eq!(show_offset(START), "+0s");
    assert_eq!(show_offset(START.plus(500_000)), "+0.5s");
}

#[test]
fn rules_without_tests_are_no_failure_and_a_filter_that_fits_none_is() {
    assert_eq!(verdict(None, 0, 0), Exit::Ok);
    assert_eq!(verdict(Some("x"), 0, 0), Exit::Usage);
    assert_eq!(verdict(Some("x"), 1, 0), Exit::Ok);
    assert_eq!(verdict(None, 3, 1), Exit::Findings);
}
