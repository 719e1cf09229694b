//! Explanations of shipped rules, as they are printed.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// The shipped rule over lines of its stream, by the verb itself.
fn explained(rule: &str, key: Option<&str>, lines: &str) -> String {
    explained_of(None, rule, key, lines)
}

/// The rule of this text, or the shipped one.
fn explained_of(text: Option<&str>, rule: &str, key: Option<&str>, lines: &str) -> String {
    static FOLDERS: AtomicUsize = AtomicUsize::new(0);
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("fleetwarden-explain-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rules = root.join("rules");
    if let Some(text) = text {
        rules = folder.join(format!("{rule}.toml"));
        std::fs::write(&rules, text).unwrap();
    }
    let args = |input: Vec<String>| ExplainArgs {
        rule: rule.into(),
        inputs: input,
        key: key.map(str::to_owned),
        keys: 10_000,
        all: false,
        rules: vec![rules.clone()],
        schemas: Some(root.join("schemas")),
        framing: FramingArg::Lines,
    };
    let loaded =
        super::super::load_rules(&args(Vec::new()).rules, args(Vec::new()).schemas.as_deref()).unwrap();
    let stream =
        loaded.rules.rules.iter().find(|known| known.info.id == rule).map(|rule| rule.stream.clone());
    let path = folder.join("events.ndjson");
    std::fs::write(&path, lines).unwrap();
    let text =
        explain(&args(vec![format!("{}={}", stream.as_deref().unwrap_or("x"), path.display())]), &loaded);
    std::fs::remove_dir_all(&folder).unwrap();
    text.unwrap_or_else(|error| error)
}

/// Failed security accesses of a control unit, at these seconds; `!` before one means that it succeeded.
fn accesses(seconds: &[&str]) -> String {
    let line = |second: &&str| {
        let (response, second) = match second.strip_prefix('!') {
            Some(second) => ("\"positive\"", second),
            None => ("\"negative\",\"nrc\":53", *second),
        };
        let ts = 1_748_851_200_000 + second.parse::<i64>().unwrap() * 1000;
        format!(
            "{{\"_t\":{ts},\"_p\":0,\"_o\":{ts},\"v\":{{\"vin\":\"V1\",\"ts\":{ts},\"ecu\":\"BCM\",\"service\":39,\
             \"subfunction\":2,\"response\":{response}}}}}\n"
        )
    };
    seconds.iter().map(line).collect()
}

const BRUTE: &str = "uds-seed-key-bruteforce";

#[test]
fn a_rule_says_what_it_reads_where_it_runs_and_what_it_costs() {
    let text = explained(BRUTE, None, "");
    for line in [
        "reads     diagnostics: ",
        "runs      in the partition (its key holds vin, by which the stream is partitioned)",
        "fires     on the event that completes `",
        "keeps     ",
        " for 10,000 keys",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    assert!(
        explained("uds-seed-key-bruteforse", None, "").contains("did you mean \"uds-seed-key-bruteforce\"?")
    );
}

#[test]
fn a_near_miss_says_how_near_it_was() {
    let text = explained(BRUTE, Some("v1, bcm"), &accesses(&["0", "5", "10", "15", "20"]));
    let verdict = text.lines().find(|line| line.starts_with("verdict")).unwrap();
    assert!(verdict.contains("never reached `"), "{text}");
    assert!(verdict.contains("highest 5 at 2025-06-02T08:00:20.000Z"), "{text}");
    assert!(verdict.ends_with("1 more before 2025-06-02T08:01:00.000Z would have fired"), "{text}");
}

#[test]
fn what_fired_is_shown_where_it_fired() {
    let text = explained(BRUTE, Some("V1,BCM"), &accesses(&["0", "5", "10", "15", "20", "25", "26"]));
    let fired: Vec<&str> = text.lines().filter(|line| line.contains('▲')).collect();
    assert_eq!(fired.len(), 1, "{text}");
    assert!(fired[0].contains("2025-06-02T08:00:25.000Z") && fired[0].ends_with("▲ fires, HIGH"), "{text}");
    assert!(text.contains("verdict   fired once: first at 2025-06-02T08:00:25.000Z (high)"), "{text}");
}

#[test]
fn a_key_that_is_not_there_and_one_that_never_passes() {
    let text = explained(BRUTE, Some("V9,BCM"), &accesses(&["0", "5"]));
    assert!(text.contains("no event of V9, BCM among 2; keys there are: V1,BCM …"), "{text}");
    let text = explained(
        "vehicle-moves-in-park",
        Some("V1"),
        "{\"vin\":\"V1\",\"ts\":1,\"gear\":\"D\",\"speed\":5}\n",
    );
    assert!(text.contains("not counted: `"), "{text}");
    assert!(text.contains("none of its 1 event passes where"), "{text}");
    assert!(explained(BRUTE, Some("V1"), "").contains("has 2 parts: vin, ecu; --key gives 1 part"));
}

#[test]
fn every_shipped_rule_can_be_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = super::super::load_rules(&[root.join("rules")], Some(&root.join("schemas"))).unwrap();
    for rule in &loaded.rules.rules {
        let schema = loaded.schemas.iter().find(|schema| schema.name == rule.stream).unwrap();
        let others: Vec<&Arc<Rule>> = loaded.rules.rules.iter().collect();
        let text = describe::describe(rule, schema, &others, 1000);
        assert!(text.lines().count() >= 5, "{text}");
    }
}

const ODD_SPEED: &str = r#"
title       = "An odd speed"
severity    = "high"
risk        = 60
stream      = "telemetry"
blind_spots = "Most."
triage      = "Look."
[baseline]
where  = "speed IS NOT NULL"
key    = ["vin"]
value  = "speed"
method = "robust"
learn  = 5
having = "value > 2 * expected"
"#;

/// What a car said of its speed, once a minute.
fn speeds(speeds: &[i64]) -> String {
    let line = |(minute, speed): (usize, &i64)| {
        let ts = 1_748_851_200_000 + 60_000 * minute as i64;
        format!(
            "{{\"_t\":{ts},\"_p\":0,\"_o\":{ts},\"v\":{{\"vin\":\"V1\",\"ts\":{ts},\"speed\":{speed}}}}}\n"
        )
    };
    speeds.iter().enumerate().map(line).collect()
}

#[test]
fn a_baseline_says_whose_normal_it_was_and_how_far_a_value_left_it() {
    let told = |values: &[i64]| explained_of(Some(ODD_SPEED), "odd-speed", Some("V1"), &speeds(values));
    let text = told(&[100, 101, 99, 100, 102, 300]);
    for line in [
        "fires     on the event, where `speed` of each event is above or below what is normal for the key (robust, \
         limit 6), and `value > 2.0 * expected`; learns for 5 values; silent until then",
        "  2025-06-02T08:04:00.000Z  value 102, normal none yet: learning",
        "  2025-06-02T08:05:00.000Z  value 300, normal its own, expected 100, low 91.104, high 108.896, samples 5   \
         ▲ fires, HIGH",
        "verdict   fired once: first at 2025-06-02T08:05:00.000Z (high)",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    let text = told(&[100, 101, 99, 100, 102, 180]);
    assert!(
        text.contains("the value left its normal (180 at 2025-06-02T08:05:00.000Z; expected 100,"),
        "{text}"
    );
    assert!(text.contains("what else is asked for did not hold"), "{text}");
    let text = told(&[100, 101, 99]);
    assert!(
        text.contains("verdict   3 events pass where, and it was still learning what is normal"),
        "{text}"
    );
    let text = told(&[100, 101, 99, 100, 102, 104]);
    assert!(text.contains("the value never left its normal: nearest 104"), "{text}");
}

#[test]
fn a_shipped_baseline_says_what_it_learns_from_and_what_it_keeps() {
    let text = explained("unusual-message-rate", None, "");
    for line in [
        "fires     on the event",
        "is above what is normal for the key (poisson, limit ",
        "; learns for 144 values;",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
}
