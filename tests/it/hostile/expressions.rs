//! Values at the ends of every type, and of every other type, through the whole engine: nothing stops, all is
//! counted, and what one car sends does not touch what another's events mean.

use std::collections::{BTreeMap, BTreeSet};

use fleetwarden::alert::Reason;
use fleetwarden::diagnostic::Source;
use fleetwarden::event::Limits;
use fleetwarden::rule::expr::parse::words::ALLOWED;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Engine, Event, Run, SECOND, START, event, over, placeless};

const SCHEMA: &str = r#"
doc   = "One field of each type, twice"
topic = "t"
time  = "ts"
key   = "k"

[fields]
ts = { type = "timestamp", unit = "us", doc = "x" }
k  = { type = "string", doc = "x" }
b  = { type = "bool", doc = "x" }
i  = { type = "int", doc = "x" }
j  = { type = "int", doc = "x" }
f  = { type = "float", doc = "x" }
g  = { type = "float", doc = "x" }
s  = { type = "string", doc = "x" }
p  = { type = "string", doc = "x" }
u  = { type = "timestamp", unit = "us", doc = "x" }
a  = { type = "ip", doc = "x" }
l  = { type = "strings", doc = "x" }
o  = { type = "json", doc = "x" }
"#;

/// Conditions on one event.
const WHERE: [&str; 45] = [
    "i + j > 5",
    "i - j < 5",
    "i * j > 5",
    "i / j > 0.5",
    "i % j = 1",
    "-i < 0",
    "abs(i) > 3",
    "abs(-i) > 3 OR b",
    "f + g > 1",
    "f - g > 1",
    "f * g > 1",
    "f / g > 1",
    "f % g < 1",
    "-f < 0",
    "abs(f) > 3",
    "floor(f) = ceil(f)",
    "round(f * 10) > 5",
    "floor(i / j) > 0",
    "i = 0 OR f = 0",
    "f IN (0, 1, 5) AND i NOT IN (0, 7)",
    "i BETWEEN 1 AND 7 OR f NOT BETWEEN -1 AND 1",
    "NOT b OR b IS NULL",
    "(i > 3) IS TRUE OR (f > 1) IS NOT TRUE",
    "s IS DISTINCT FROM p",
    "s = p OR s < p",
    "s || p LIKE '%a_b%'",
    "s LIKE '%\\_%' OR p NOT LIKE 'a%'",
    "lower(s) = upper(p)",
    "length(s) > length(p)",
    "starts_with(s, p) OR ends_with(p, s)",
    "regexp_like(s, '(a|b)*c') OR regexp_like(p, '^.{0,9}$')",
    "coalesce(i, j, 0) = 0",
    "coalesce(s, p, 'none') = 'none'",
    "seconds_between(ts, u) > 60",
    "u > ts OR u = event_time",
    "lookup('networks.asn', a) > 0 OR lookup('work_orders.shop', s) = 'x'",
    "NOT lookup('entitlements', p, i)",
    "NOT lookup('work_orders', s) AND coalesce(lookup('vehicles.max_charge_a', p), f) > 1",
    "cidr_match(a, '10.0.0.0/8', '2001:db8::/32', '::/0')",
    "array_has(l, s) AND cardinality(l) >= 1",
    "json_get(o, 'a.b[1]') = 'x' OR json_get(o, 'n') IS NULL",
    "array_has(json_list(o, 'l[*].v'), 'x') OR cardinality(json_list(o, 'l')) > 1",
    "CASE WHEN i > 3 THEN i + 1 WHEN f > 1 THEN j - 1 ELSE -j END > 0",
    "TRY_CAST(s AS BIGINT) > 3 OR TRY_CAST(p AS DOUBLE) > 1 OR TRY_CAST(s AS TIMESTAMP) > ts",
    "TRY_CAST(f AS BIGINT) = i OR TRY_CAST(i AS DOUBLE) = f OR TRY_CAST(i AS VARCHAR) = s",
];

/// Conditions on windows.
const HAVING: [&str; 16] = [
    "count(*) >= 3",
    "count(*) FILTER (WHERE i + 1 > j) >= 2",
    "sum(i) > 10",
    "sum(abs(i)) >= 10",
    "sum(f) > 3",
    "sum(f * g) > 3",
    "avg(i) > 1",
    "stddev(f) > 1",
    "percentile(i, 95) > 3 AND percentile(f, 5) < 5",
    "avg(f) > 1 AND count(s) > 1",
    "min(i) < 0 OR min(u) > max(ts)",
    "max(f) - min(f) > 2",
    "count(DISTINCT s) >= 3 OR count(DISTINCT i) >= 4",
    "count(DISTINCT f) >= 4 OR count(DISTINCT a) >= 3",
    "cardinality(values(s, 5)) >= 3 OR cardinality(values(f, 5)) >= 4",
    "sum(i) / count(*) > 1 AND sum(f) + sum(i) - 1 > abs(min(i)) * 2 OR round(avg(f)) % 2 = 1",
];

fn engine() -> Engine {
    let mut rules: Vec<(String, String)> = Vec::new();
    for (nth, sql) in WHERE.iter().enumerate() {
        let table = format!("[match]\nwhere = '''{sql}'''\nkey = [\"k\"]\n[suppress]\nfor = \"5s\"\n");
        rules.push((format!("match-{nth}"), over("t", &table)));
    }
    for (nth, sql) in HAVING.iter().enumerate() {
        for window in ["10s", "tumbling 10s"] {
            let table = format!("[threshold]\nkey = [\"k\"]\nwindow = \"{window}\"\nhaving = '''{sql}'''\n");
            rules.push((format!("window-{nth}-{}", window.len()), over("t", &table)));
        }
    }
    let rules: Vec<(&str, String)> = rules.iter().map(|(id, text)| (id.as_str(), text.clone())).collect();
    let schema = Source { path: "t.toml".into(), text: SCHEMA.into() };
    let limits = Limits { alerts_per_second: 1_000_000, ..Limits::default() };
    Engine::new(&[schema], &rules, limits)
}

/// Values at the ends of the types, as JSON.
fn extremes() -> Vec<String> {
    let plain = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-0.0",
        "1",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "-9223372036854775809",
        "1e308",
        "-1.7976931348623157e308",
        "1e309",
        "-1e999",
        "5e-324",
        "4611686018427387904",
        "0.5",
        "1E400",
        "\"\"",
        "\"NaN\"",
        "\"nan\"",
        "\"inf\"",
        "\"-Infinity\"",
        "\"-0\"",
        "\"9223372036854775807\"",
        "\"-9223372036854775808\"",
        "\"1e999\"",
        "\"a_b\"",
        "\"%\"",
        "\"\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "\"İıßẞ\"",
        "\"a\\\\\"",
        "\"9999-12-31T23:59:59Z\"",
        "\"1969-12-31T23:59:59Z\"",
        "\"0.0.0.0\"",
        "\"::\"",
        "\"::ffff:10.0.0.1\"",
        "\"fe80::1%eth0\"",
        "[]",
        "{}",
        "[\"\"]",
        "[null]",
        "[\"a\",1]",
        "[[\"a\"]]",
        "{\"a\":{\"b\":[0,\"x\"]},\"l\":[{\"v\":\"x\"},1,null]}",
        "{\"n\":1e999,\"l\":\"x\"}",
        "{\"\":{\"\":0}}",
    ];
    let mut all: Vec<String> = plain.into_iter().map(String::from).collect();
    all.push(format!("\"{}\"", "ab".repeat(20_000)));
    all.push(format!("\"{}\"", "\\u00df".repeat(5_000)));
    all.push(format!("[{}\"z\"]", "\"y\",".repeat(3_000)));
    all.push(format!("{}{}", "[".repeat(60), "]".repeat(60)));
    all.push(format!("-{}", "9".repeat(400)));
    all.push(format!("0.{}1", "0".repeat(400)));
    all
}

const FIELDS: [&str; 12] = ["ts", "b", "i", "j", "f", "g", "s", "p", "u", "a", "l", "o"];

/// A sane event: small values, so that rules fire now and then.
fn sane() -> impl Strategy<Value = String> {
    let text = || select(vec!["", "a", "b", "ab", "a_b", "abc", "7"]);
    let number = || select(vec![-2i64, 0, 1, 4, 7]);
    (any::<bool>(), number(), number(), number(), text(), text(), 0..200i64).prop_map(|(b, i, j, f, s, p, u)| {
        format!(
            r#""b":{b},"i":{i},"j":{j},"f":{f}.5,"g":{j},"s":"{s}","p":"{p}","u":{},"a":"10.0.0.{u}","l":["{s}","{p}"],"o":{{"a":{{"b":[0,"{p}"]}},"l":[{{"v":"{s}"}}]}}"#,
            START + u * SECOND
        )
    })
}

/// A hostile event: any field may hold anything, or nothing.
fn hostile() -> impl Strategy<Value = String> {
    let value = proptest::option::weighted(0.8, select(extremes()));
    proptest::collection::vec(value, FIELDS.len()).prop_map(|values| {
        let members =
            FIELDS.iter().zip(values).filter_map(|(name, value)| Some(format!("\"{name}\":{}", value?)));
        members.collect::<Vec<_>>().join(",")
    })
}

/// What the sane car's alerts say, by rule.
fn of_sane(run: &Run) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for alert in run.alerts.iter().filter(|alert| format!("{:?}", alert.key).contains("sane")) {
        out.entry(alert.rule.id.clone()).or_default().push(placeless(alert).to_string());
    }
    out
}

#[test]
fn every_function_of_the_language_is_used() {
    let all = [WHERE.concat(), HAVING.concat()].concat();
    let missing: Vec<&&str> = ALLOWED.iter().filter(|name| !all.contains(&format!("{name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn hostile_values_stop_nothing_and_touch_no_neighbour() {
    let engine = engine();
    let fired = std::cell::RefCell::new(BTreeSet::new());
    let step = (sane(), proptest::collection::vec(hostile(), 0..3));
    proptest!(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() },
        |(steps in proptest::collection::vec(step, 12))| {
        let (mut alone, mut among) = (Vec::new(), Vec::new());
        for (nth, (sane, hostile)) in steps.iter().enumerate() {
            let now = START + nth as i64 * SECOND;
            let own = event(now, format!(r#"{{"ts":{now},"k":"sane",{sane}}}"#));
            among.extend(hostile.iter().map(|members| event(now, format!(r#"{{{members}{}"k":"foe"}}"#,
                if members.is_empty() { "" } else { "," }))));
            alone.push(own.clone());
            among.push(own);
        }
        let whole = engine.run(&among, 8192, false);
        prop_assert!(whole.rejects.is_empty(), "{:?}", whole.rejects.first().map(|reject| &reject.detail));
        let events: u64 = whole.totals.partitions.values().map(|partition| partition.events).sum();
        prop_assert_eq!(events, among.len() as u64);
        prop_assert_eq!(of_sane(&engine.run(&alone, 8192, false)), of_sane(&whole));
        fired.borrow_mut().extend(of_sane(&whole).into_keys());
        let single = engine.run(&among, 1, true);
        prop_assert_eq!(whole.bodies(), single.bodies());
        prop_assert_eq!(&whole.totals, &single.totals);
    });
    let (fired, all) = (fired.into_inner().len(), engine.rules.rules.len());
    assert!(fired * 10 >= all * 9, "only {fired} of {all} rules fired for the sane car");
}

/// Each extreme in each field, the other fields sane: what cannot be read is NULL and counted, what cannot be
/// computed too.
#[test]
fn each_extreme_in_each_field_is_read_or_counted() {
    let engine = engine();
    let sane = r#""b":true,"i":1,"j":2,"f":1.5,"g":2,"s":"a","p":"b","u":1800000000000000,"a":"10.0.0.1","l":["a"],"o":{"n":1}"#;
    let mut events: Vec<Event> = Vec::new();
    for field in FIELDS {
        for value in extremes() {
            let mut members: Vec<String> =
                sane.split(",\"").map(|member| format!("\"{}", member.trim_start_matches('"'))).collect();
            members.retain(|member| !member.starts_with(&format!("\"{field}\":")));
            events.push(event(START, format!(r#"{{"k":"foe","{field}":{value},{}}}"#, members.join(","))));
        }
    }
    let run = engine.run(&events, 8192, false);
    assert!(run.rejects.is_empty(), "{:?}", run.rejects.first().map(|reject| &reject.detail));
    let decoded = run.totals.decode.values().next().unwrap();
    // Of every field but JSON, which takes all, something is of the wrong type; NULL itself never is.
    let mistyped: Vec<&str> = decoded.mistyped.keys().map(String::as_str).collect();
    assert_eq!(mistyped, ["a", "b", "f", "g", "i", "j", "l", "p", "s", "ts", "u"], "{:?}", decoded.mistyped);
    assert_eq!(decoded.mistyped["b"], extremes().len() as u64 - 3, "all but true, false and null");
    let lost = |rule: &str| run.totals.rules[rule].blind.get(Reason::Expression);
    // i + 2 at MAX; 1 + j at MAX.
    assert_eq!(lost("match-0"), 2, "{}", WHERE[0]);
    // -i at MIN, once.
    assert_eq!(lost("match-5"), 1, "{}", WHERE[5]);
    // Twice: as the operand of abs, and in -i.
    assert_eq!(lost("match-6"), 1, "{}", WHERE[6]);
    let whole: Vec<String> = run.bodies();
    assert_eq!(whole, engine.run(&events, 1, false).bodies());
}
