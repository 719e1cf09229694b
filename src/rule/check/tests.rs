//! Whole rule files: what they become, and what is said about bad ones.

use std::sync::Arc;

use crate::alert::EntityType;
use crate::diagnostic::{Gravity, Source};
use crate::rule::fixtures::schemas;
use crate::rule::{Kind, Loaded, Placement, Rule, RuleFile, Threshold, Window};
use crate::rule::{load, load_with};

fn file(path: &str, text: &str) -> RuleFile {
    RuleFile { source: Source { path: path.into(), text: text.into() } }
}

fn load_text(text: &str) -> Loaded {
    load(&[file("rules/r.toml", &format!("title = \"T\"\nseverity = \"high\"\n{text}"))], &schemas())
}

/// The problems of a rule as `line: message | hint`, warnings about missing prose left out.
fn said(loaded: &Loaded) -> Vec<String> {
    let prose = |message: &str| message.starts_with("the rule lacks [[test]]") || message.ends_with("triage");
    loaded
        .problems
        .iter()
        .filter(|problem| problem.gravity == Gravity::Error || !prose(&problem.message))
        .map(|problem| format!("{} {} | {}", problem.gravity.name(), problem.message, problem.hint))
        .collect()
}

fn rule(text: &str) -> Arc<Rule> {
    let loaded = load_text(text);
    assert!(loaded.rules.rules.len() == 1, "{:#?}", said(&loaded));
    loaded.rules.rules[0].clone()
}

fn threshold(rule: &Rule) -> &Threshold {
    match &rule.kind {
        Kind::Threshold(threshold) => threshold,
        Kind::Match(_) | Kind::Baseline(_) => panic!("not a threshold"),
    }
}

const BRUTE_FORCE: &str = r#"
stream = "diagnostics"
[threshold]
where = "service = 39 AND response = 'negative'"
key = ["vin", "ecu"]
window = "60s"
having = "count(*) >= 6"
[suppress]
for = "1h"
[[test]]
name = "six"
events = '''
+0s x6 every 5s {"vin":"V1","ecu":"BCM","service":39,"response":"negative"}
'''
alerts = [ { at = "+25s", key = ["V1", "BCM"], "observed.count" = 6 } ]
"#;

#[test]
fn a_threshold_compiles() {
    let loaded = load_text(BRUTE_FORCE);
    assert_eq!(said(&loaded), Vec::<String>::new());
    assert_eq!(loaded.tests.len(), 1);
    let rule = &loaded.rules.rules[0];
    let threshold = threshold(rule);
    assert_eq!(threshold.window, Window::Sliding(60_000_000));
    assert!(threshold.on_event);
    assert_eq!(threshold.rings.len(), 1);
    assert_eq!(threshold.rings[0].n, 6);
    assert_eq!(threshold.count, Some(0));
    assert_eq!(rule.inputs.filters.len(), 2);
    assert_eq!(rule.inputs.values.len(), 2);
    assert_eq!(rule.placement, Placement::Partition);
    assert_eq!(rule.observed.len(), 1);
    assert_eq!(&*rule.observed[0].0, "count");
    assert_eq!(rule.entities.len(), 1);
    assert_eq!(rule.info.risk, 60);
}

/// A threshold on telemetry by vin whose table holds these lines.
fn over(lines: &str) -> String {
    let defaults = [("key", "key = [\"vin\"]"), ("window", "window = \"60s\"")];
    let missing = defaults.iter().filter(|(key, _)| !lines.contains(&format!("{key} = ")));
    let missing: Vec<&str> = missing.map(|(_, line)| *line).collect();
    format!(
        "stream = \"telemetry\"\n{}\n[threshold]\n{}",
        lines_of_top(lines),
        missing.join("\n") + "\n" + &rest(lines)
    )
}

/// Lines that belong before the kind's table are marked by a leading `^`.
fn lines_of_top(lines: &str) -> String {
    lines.lines().filter_map(|line| line.strip_prefix('^')).collect::<Vec<_>>().join("\n")
}

fn rest(lines: &str) -> String {
    lines.lines().filter(|line| !line.starts_with('^')).collect::<Vec<_>>().join("\n")
}

fn having(condition: &str) -> Arc<Rule> {
    rule(&over(&format!("having = \"{condition}\"")))
}

fn names(rule: &Rule) -> Vec<String> {
    rule.observed.iter().map(|(name, _)| name.to_string()).collect()
}

#[test]
fn what_only_grows_is_judged_on_the_event() {
    for condition in [
        "count(*) >= 6",
        "6 <= count(*)",
        "count(*) > 6 AND avg(speed) > 2",
        "count(*) >= 2 AND count(*) BETWEEN 3 AND 5",
        "count(DISTINCT vin) >= 2 OR max(lat) > 5",
        "sum(speed) >= 10",
        "sum(speed * 2 + abs(lat)) > 10",
        "sum(_bytes) > 10",
        "min(lat) <= 3",
        "NOT (count(*) < 3)",
        "NOT (min(lat) > 3 OR count(*) < 2)",
        "count(*) >= 2.5",
        "max(gear) > 1.5",
        "sum(CAST(speed AS BIGINT)) >= 4",
        "count(gear) >= 2",
        "max(event_time) > '2026-01-01T00:00:00Z'",
        "sum(speed) FILTER (WHERE lat > 1) > 5 AND gear_is AND vin = 'V1'",
    ] {
        let lines = format!("^let = {{ gear_is = \"vin <> 'x'\" }}\nhaving = \"{condition}\"");
        let lines = if condition.contains("gear_is") { lines } else { rest(&lines) };
        assert!(threshold(&rule(&over(&lines))).on_event, "{condition}");
    }
}

#[test]
fn all_else_is_judged_at_the_close() {
    for condition in [
        "count(*) >= 2 AND min(lat) > 3",
        "count(*) >= 2 AND count(*) < 5",
        "count(*) >= 2 OR avg(lat) > 3",
        "count(*) = 6",
        "count(*) BETWEEN 2 AND 4",
        "sum(lat) > 10",
        "sum(speed - 1) > 10",
        "sum(gear) > 10",
        "min(lat) >= 3",
        "max(lat) <= 3 AND count(*) >= 2",
        "NOT (count(*) >= 3)",
        "count(*) / 2 >= 3",
        "count(*) >= count(DISTINCT vin)",
        "avg(speed) > 2",
        "(count(*) >= 2) IS TRUE",
        "count(*) >= 2 AND vin = 'V1' OR vin = 'V2'",
        "cardinality(values(vin, 3)) >= 2",
        "count(*) >= 2 AND NOT (count(DISTINCT vin) > 3)",
    ] {
        assert!(!threshold(&having(condition)).on_event, "{condition}");
    }
}

/// The limits of a rule's rings.
fn rings(rule: &Rule) -> Vec<u32> {
    threshold(rule).rings.iter().map(|ring| ring.n).collect()
}

#[test]
fn counts_compared_upward_are_kept_exactly() {
    for (condition, expected) in [
        ("count(*) >= 6", vec![6]),
        ("count(*) > 6", vec![7]),
        ("count(*) > 0", vec![1]),
        ("count(*) >= 1024", vec![1024]),
        ("count(*) > 1024", vec![1025]),
        ("count(*) >= 1025", vec![]),
        ("count(*) >= 2 OR count(*) >= 9", vec![9]),
        ("count(*) >= 2.5", vec![3]),
        ("count(*) >= 2 AND count(*) FILTER (WHERE gear = 1) / count(*) > 0.5", vec![]),
        ("count(*) >= 2 AND count(*) = 2", vec![]),
        ("count(*) >= 2 AND count(*) FILTER (WHERE gear = 1) >= 3", vec![2, 3]),
        ("count(*) >= 2 AND max(lat) > 1", vec![2]),
        ("count(gear) >= 2 AND count(*) FILTER (WHERE gear IS NOT NULL) >= 4", vec![4]),
        ("NOT (count(*) < 3)", vec![]),
        ("avg(lat) > 1 AND count(*) = 3", vec![]),
    ] {
        assert_eq!(rings(&having(condition)), expected, "{condition}");
    }
    assert_eq!(
        rings(&rule(&over("window = \"tumbling 60s\"\nhaving = \"count(*) >= 6\""))),
        Vec::<u32>::new()
    );
    let raised =
        "having = \"count(*) >= 6\"\n[[escalate]]\nwhen = \"count(*) >= 60\"\nseverity = \"critical\"";
    assert_eq!(rings(&rule(&over(raised))), [60]);
    let equal = raised.replace(">= 60", "= 60");
    assert_eq!(rings(&rule(&over(&equal))), Vec::<u32>::new());
}

#[test]
fn the_count_of_an_alert_is_the_first_of_having() {
    let first = |condition: &str| threshold(&having(condition)).count;
    assert_eq!(first("count(DISTINCT vin) >= 2 AND count(gear) > 1 AND count(*) > 1"), Some(1));
    assert_eq!(first("max(lat) > 1"), None);
    let lines = "^let = { every = \"count(*)\" }\nhaving = \"max(lat) > 1\"";
    assert_eq!(threshold(&rule(&over(lines))).count, None);
}

#[test]
fn observed_names() {
    assert_eq!(names(&having("count(*) >= 6 AND count(gear) >= 2")), ["count", "count_2"]);
    assert_eq!(
        names(&having("max(lat) > 1 AND count(DISTINCT vin) >= 6 AND max(lat) < 9 AND sum(lat + 1) > 2")),
        ["max_lat", "count_distinct_vin", "sum"]
    );
    let lines = "^[let]\n^share = \"hits / every\"\n\
                 ^hits = \"count(*) FILTER (WHERE gear = 1)\"\n^every = \"count(*)\"\n\
                 ^vins = \"values(gear, 5)\"\n^wanted = 0.5\n^is_v1 = \"vin = 'V1'\"\n^odd = \"gear = 7\"\n\
                 where = \"odd OR lat > 1\"\n\
                 having = \"count(*) >= 2 AND share > wanted AND is_v1\"";
    assert_eq!(names(&rule(&over(lines))), ["every", "hits", "share", "vins", "wanted", "is_v1"]);
}

#[test]
fn observed_of_a_match() {
    let text = r#"
stream = "telemetry"
[let]
tilt = "lat - lon"
wanted = [1, 2]
unobserved = "gear = 1"
[match]
where = "speed > 5 AND gear IN (wanted) AND tilt > 1 AND speed < 90 AND vin IS NOT NULL"
having = "charging"
[[escalate]]
when = "unobserved"
severity = "critical"
[suppress]
for = "1h"
by = ["gear", "tilt"]
"#;
    let rule = rule(text);
    assert_eq!(names(&rule), ["speed", "gear", "tilt", "vin", "charging", "unobserved"]);
    assert_eq!(rule.inputs.steps.len(), 2);
    assert_eq!(rule.inputs.filters.len(), 5);
    let by = rule.suppress.clone().unwrap().by.unwrap();
    assert_eq!(by.len(), 2);
    assert!(by.iter().all(|column| *column < rule.inputs.values.len() && *column > 0));
    assert_eq!(rule.key.len(), 1);
    assert_eq!(rule.entities[0].value, 0);
}

#[test]
fn keys_entities_and_placement() {
    let by_gear = rule(&over("key = [\"gear\"]\nhaving = \"count(*) >= 2\""));
    assert_eq!(by_gear.placement, Placement::Exchange);
    assert_eq!(by_gear.entities.len(), 1);
    assert!(by_gear.entities[0].value >= 1);
    let cells = over(
        "^let = { cell = \"floor(lat / 5)\" }\nkey = [\"cell\", \"vin\"]\n\
         having = \"count(*) >= 2 AND cell > 3\"",
    );
    let cells = rule(&cells);
    assert_eq!(cells.placement, Placement::Partition);
    assert!(threshold(&cells).having.to_string().contains("Input(0)"));
    let fleet = rule(&over("key = []\nhaving = \"count(*) >= 2\""));
    assert_eq!((fleet.key.len(), fleet.placement), (0, Placement::Exchange));
    let trail = rule("stream = \"cloudtrail\"\n[match]\nwhere = \"event_name = 'StopLogging'\"\n");
    assert_eq!((trail.key.len(), trail.entities.len(), trail.placement), (0, 0, Placement::Partition));
    let user = rule(
        "stream = \"cloudtrail\"\nentity = [\"user_arn\", \"who\"]\nlet = { who = \"source_ip\" }\n\
         [match]\nkey = [\"user_arn\"]\nwhere = \"event_name = 'StopLogging'\"\n",
    );
    assert_eq!(
        user.entities.iter().map(|part| part.kind).collect::<Vec<_>>(),
        [EntityType::User, EntityType::Ip]
    );
}

#[test]
fn the_fingerprint_is_what_is_detected() {
    let base = rule(BRUTE_FORCE).fingerprint;
    let with = |from: &str, to: &str| {
        assert!(BRUTE_FORCE.contains(from), "{from}");
        rule(&BRUTE_FORCE.replace(from, to)).fingerprint
    };
    assert_eq!(with("for = \"1h\"", "for = \"2h\""), base);
    assert_eq!(
        with("stream =", "r155 = [\"11.3\"]\ntriage = \"look\"\nmode = \"shadow\"\nrisk = 3\nstream ="),
        base
    );
    assert_eq!(
        with(
            "[suppress]",
            "[[escalate]]\nwhen = \"count(DISTINCT service) >= 3\"\nseverity = \"critical\"\n[suppress]"
        ),
        base
    );
    assert_eq!(with("stream =", "let = { seen = \"values(service, 3)\" }\nstream ="), base);
    assert_eq!(with("having = \"count(*) >= 6\"", "having = \"6 <= count(*)\""), base);
    let named = BRUTE_FORCE
        .replace("stream =", "let = { bad = \"response = 'negative'\" }\nstream =")
        .replace("AND response = 'negative'", "AND bad");
    assert_eq!(rule(&named).fingerprint, base);
    for (from, to) in [
        ("60s", "61s"),
        ("\"60s\"", "\"tumbling 60s\""),
        (">= 6", ">= 7"),
        ("39", "40"),
        ("[\"vin\", \"ecu\"]", "[\"vin\"]"),
        ("[threshold]", "[threshold]\nclock = \"arrival\""),
    ] {
        assert_ne!(with(from, to), base, "{from}");
    }
}

/// One file per mistake, all read at once; what is said stands in `expected.txt` (`UPDATE=1` writes it anew).
#[test]
fn every_mistake_of_every_file_is_told_at_once() {
    let files = crate::rule::file::read(&["testdata/bad".into()]).unwrap();
    let tables = crate::rule::lookup::read("testdata/lookups".as_ref()).unwrap();
    assert_eq!(tables.problems, []);
    let loaded = load_with(&files, &schemas(), &tables.lookups);
    let mut told = String::new();
    for problem in &loaded.problems {
        let file = files.iter().find(|file| file.source.path == problem.file).unwrap();
        let (line, column) = problem.position(&file.source.text);
        let name = problem.file.strip_prefix("testdata/bad/").unwrap();
        let part = file.source.text.get(problem.span.clone()).unwrap().lines().next().unwrap_or("");
        told += &format!(
            "{name}:{line}:{column}: {} {} | {} [{}]\n",
            problem.gravity.name(),
            problem.message,
            problem.hint,
            part.chars().take(40).collect::<String>()
        );
    }
    let expected = "testdata/bad/expected.txt";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(expected, &told).unwrap();
    }
    assert_eq!(told, std::fs::read_to_string(expected).unwrap(), "UPDATE=1 cargo test writes what is told");
    for file in files.iter().filter(|file| !crate::rule::file::is_shared(&file.source.path)) {
        let said = loaded.problems.iter().any(|problem| problem.file == file.source.path);
        assert!(said, "nothing is said about {}", file.source.path);
    }
    let ids: Vec<&str> = loaded.rules.rules.iter().map(|rule| rule.info.id.as_str()).collect();
    assert!(ids.iter().all(|id| id.starts_with("warning-")), "{ids:?}");
}

/// What is put into a file to damage it.
const PIECE: &str = "[\"'\\[\\]={}a-z0-9 \n.,()<>*]{0,6}";

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    /// A file with pieces cut out or put in: no panic, every problem lies in the file, and no rule without a
    /// reason.
    #[test]
    fn a_damaged_file_is_explained(
        cuts in proptest::collection::vec((0usize..400, 0usize..12, PIECE), 1..4),
    ) {
        let whole = format!("title = \"T\"\nseverity = \"high\"\n{BRUTE_FORCE}");
        let mut text: Vec<char> = whole.chars().collect();
        for (at, length, put) in cuts {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        let loaded = load(&[file("r.toml", &text)], &schemas());
        let errors = loaded.problems.iter().filter(|problem| problem.gravity == Gravity::Error).count();
        proptest::prop_assert_eq!(loaded.rules.rules.is_empty(), errors > 0);
        for problem in &loaded.problems {
            proptest::prop_assert!(text.get(problem.span.clone()).is_some(), "{:?}", problem);
            proptest::prop_assert!(!problem.hint.is_empty(), "{:?}", problem);
        }
    }
}

#[test]
fn shared_lets_serve_their_directory() {
    let shared = "[let]\nfast = \"speed > limit\"\nlimit = 100\nmany = [1, 2]\n";
    let rule = "title = \"T\"\nseverity = \"low\"\nstream = \"telemetry\"\n\
                [match]\nwhere = \"fast AND gear IN (many)\"\n";
    let files = [file("a/_shared.toml", shared), file("a/one.toml", rule), file("b/two.toml", rule)];
    let loaded = load(&files, &schemas());
    assert_eq!(loaded.rules.rules.len(), 1);
    assert_eq!(names(&loaded.rules.rules[0]), ["speed", "gear"]);
    assert!(
        loaded
            .problems
            .iter()
            .any(|problem| problem.file == "b/two.toml" && problem.message.contains("fast"))
    );
}

#[test]
fn a_rule_with_a_mistake_leaves_the_others_alone() {
    let good = format!("title = \"T\"\nseverity = \"high\"\n{BRUTE_FORCE}");
    let bad = good.replace("service = 39", "servise = 39");
    let loaded = load(&[file("bad.toml", &bad), file("good.toml", &good)], &schemas());
    assert_eq!(loaded.rules.rules.len(), 1);
    assert_eq!(loaded.rules.rules[0].info.id, "good");
    assert!(loaded.tests.iter().all(|test| test.rule == "good"));
    let alone = load(&[file("good.toml", &good)], &schemas());
    assert_eq!(alone.rules.hash, loaded.rules.hash);
    let louder = good.replace("severity = \"high\"", "severity = \"critical\"");
    let louder = load(&[file("good.toml", &louder)], &schemas());
    assert_ne!(louder.rules.hash, loaded.rules.hash);
    assert_eq!(louder.rules.rules[0].fingerprint, loaded.rules.rules[0].fingerprint);
}

/// A field put before the others moves every index; rules that do not read it are as they were.
#[test]
fn a_new_field_does_not_change_a_fingerprint() {
    let text = format!("title = \"T\"\nseverity = \"high\"\n{BRUTE_FORCE}");
    let mut grown = (*schemas()[1]).clone();
    let first = grown.fields[0].clone();
    grown.fields.insert(0, crate::schema::Field { name: "new_field".into(), ..first });
    grown.key = Some(1);
    let old = load(&[file("r.toml", &text)], &schemas());
    let new = load(&[file("r.toml", &text)], &[Arc::new(grown)]);
    assert_eq!(old.rules.rules[0].fingerprint, new.rules.rules[0].fingerprint);
}

#[test]
fn risk_has_a_default_by_severity() {
    for (severity, risk) in [("info", 10), ("low", 20), ("medium", 40), ("high", 60), ("critical", 80)] {
        let text = format!("title = \"T\"\nseverity = \"{severity}\"\n{BRUTE_FORCE}");
        assert_eq!(load(&[file("r.toml", &text)], &schemas()).rules.rules[0].info.risk, risk);
    }
}
