//! What a detector costs by itself: windows of any length, distinct values, many keys, memory, and a flood of keys.
//! Rows are picked before the clock runs.
//!
//! `cargo bench --bench detect`; `--bars` ends with code 1 when a bar is missed. Not measured: decoding, scanning,
//! what is done with findings.

mod common;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Options;
use common::fleet::{Dice, START};
use fleetwarden::alert::{Blind, Reason, Severity};
use fleetwarden::decode::JsonDecoder;
use fleetwarden::detect::suppress::Suppressor;
use fleetwarden::detect::threshold::ThresholdDetector;
use fleetwarden::detect::{Detector, Found};
use fleetwarden::diagnostic::{Gravity, Source};
use fleetwarden::event::{Key, Limits, PartitionId, Picked, Record, Slice, Timestamp, Value};
use fleetwarden::rule::{Kind, Rule, RuleFile, RuleSet, load};
use fleetwarden::schema::{self, Schema};

const BATCH: usize = 8192;

fn schemas() -> Vec<Arc<Schema>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/schemas/t.toml");
    let text = std::fs::read_to_string(path).unwrap();
    schema::load(&[Source { path: "t.toml".into(), text }]).0
}

/// One rule over the keys of stream `t`.
fn rule(window: &str, having: &str) -> RuleSet {
    let text = format!(
        "title = \"x\"\nseverity = \"low\"\nrisk = 1\nstream = \"t\"\nblind_spots = \"x\"\ntriage = \"x\"\n\
         [threshold]\nkey = [\"k\"]\nwindow = \"{window}\"\nhaving = \"{having}\"\n"
    );
    let loaded = load(&[RuleFile { source: Source { path: "r.toml".into(), text } }], &schemas());
    assert!(loaded.problems.iter().all(|p| p.gravity != Gravity::Error), "{:#?}", loaded.problems);
    loaded.rules
}

/// One event: milliseconds after the start, its key, its account.
type Event = (i64, u64, u64);

/// What the rule picks of events, batch by batch.
fn picked(rules: &RuleSet, events: &mut dyn Iterator<Item = Event>, each: &mut dyn FnMut(Picked)) {
    let schema = schemas().remove(0);
    let sources: Arc<[PartitionId]> = Arc::from([PartitionId { stream: "t".into(), index: 0 }]);
    let projection = rules.scans[&schema.name].projection();
    let mut decoder = JsonDecoder::new(schema, projection, &Limits::default());
    let (mut offset, mut more) = (0, true);
    while more {
        more = false;
        for ((ms, key, account), position) in (&mut *events).take(BATCH).zip(0..) {
            let time = (START + ms) * 1000;
            let text = format!(
                r#"{{"ts":{time},"k":"XFWESWMHA{key:08}","acct":"acct-{account}","x":1.5,"n":1.0,"m":1}}"#
            );
            let broker_time = Timestamp(time);
            decoder.push(
                &Record { source: 0, offset, broker_time, payload: text.as_bytes(), broken: None },
                position,
            );
            offset += 1;
            more = true;
        }
        let mut batch = decoder.finish(&sources).batch;
        batch.now = batch.names.iter().map(|name| name.broker_time).collect();
        batch.exchange_now = batch.now.clone();
        rules.scan(&Arc::new(batch)).into_iter().for_each(|(_, picked, _)| each(picked));
    }
}

fn detector(rule: &Arc<Rule>, limits: &Limits) -> ThresholdDetector {
    match &rule.kind {
        Kind::Threshold(spec) => ThresholdDetector::new(rule, spec, limits),
        _ => panic!("a threshold rule"),
    }
}

fn fold(detector: &mut ThresholdDetector, picked: &Picked, found: &mut Found) -> usize {
    let rows = Slice { picked, from: 0, to: picked.rows.len(), exchange: false };
    detector.fold(&rows, rows.now(rows.len() - 1), found);
    rows.len()
}

fn saved_keys(detector: &ThresholdDetector) -> usize {
    detector.save().iter().map(|batch| batch.num_rows()).sum()
}

/// A way to load a detector, and how fast that went.
struct Case {
    name: String,
    rules: RuleSet,
    picked: Vec<Picked>,
    best: Duration,
}

impl Case {
    fn new(
        name: impl Into<String>,
        (window, having): (&str, &str),
        events: &mut dyn Iterator<Item = Event>,
    ) -> Case {
        let rules = rule(window, having);
        let mut all = Vec::new();
        picked(&rules, events, &mut |picked| all.push(picked));
        Case { name: name.into(), rules, picked: all, best: Duration::MAX }
    }

    /// One run: how many keys it ended with, of nothing found.
    fn run(&mut self, keys: usize) {
        let mut detector = detector(&self.rules.rules[0], &Limits::default());
        let mut found = Found::default();
        let start = Instant::now();
        let rows: usize = self.picked.iter().map(|picked| fold(&mut detector, picked, &mut found)).sum();
        self.best = self.best.min(start.elapsed());
        assert_eq!((found.findings.len(), saved_keys(&detector)), (0, keys), "{} of {rows}", self.name);
    }

    fn nanoseconds(&self) -> f64 {
        let rows: usize = self.picked.iter().map(|picked| picked.rows.len()).sum();
        self.best.as_secs_f64() / rows as f64 * 1e9
    }
}

/// Runs cases in turns and prints them; true if the slowest takes at most so many times as long as the fastest.
fn compare(options: &Options, name: &str, cases: &mut [Case], keys: &[usize], most: f64) -> bool {
    if !options.wants(name) {
        return true;
    }
    for _ in 0..options.rounds.min(5) {
        cases.iter_mut().zip(keys).for_each(|(case, keys)| case.run(*keys));
    }
    println!("{name}");
    println!("  {:<44} {:>12} {:>9}", "", "events/s", "ns/event");
    let times: Vec<f64> = cases.iter().map(Case::nanoseconds).collect();
    for (case, time) in cases.iter().zip(&times) {
        println!("  {:<44} {:>12.0} {time:>9.1}", case.name, 1e9 / time);
    }
    let (fast, slow) = times.iter().fold((f64::MAX, 0.0f64), |(a, b), time| (a.min(*time), b.max(*time)));
    let missed = if slow / fast > most { ", missed" } else { "" };
    println!("  slowest / fastest {:.2}   bar {most}{missed}", slow / fast);
    slow / fast <= most
}

/// A thousand keys, each once a second for a quarter of an hour; the windows differ, the events do not.
fn windows(options: &Options) -> bool {
    let mut good = true;
    for (what, having) in [
        ("exact count", "count(*) >= 1000"),
        ("sum of ints", "sum(m) >= 1000000"),
        ("largest and smallest", "max(x) >= 99 AND min(m) <= 1"),
        ("sum of floats", "sum(n) >= 1000000"),
    ] {
        let name = format!("windows: {what}");
        if !options.wants(&name) {
            continue;
        }
        let events = || (0..900_000i64).map(|i| (i, i as u64 % 1000, 0));
        let mut cases: Vec<Case> = ["1m", "10m", "1h", "24h"]
            .into_iter()
            .map(|window| Case::new(format!("{having} in {window}"), (window, having), &mut events()))
            .collect();
        good &= compare(options, &name, &mut cases, &[1000; 4], 1.3);
    }
    good
}

/// One key with few or many values in each window.
fn distinct(options: &Options) -> bool {
    let name = "distinct values of a window: 10 and 10,000";
    if !options.wants(name) {
        return true;
    }
    let case = |values: u64| {
        let mut dice = Dice(values);
        let mut events = (0..600_000i64).map(|i| (i * 5, 0, dice.below(values)));
        Case::new(format!("{values} values"), ("60s", "count(DISTINCT acct) >= 16000"), &mut events)
    };
    compare(options, name, &mut [case(10), case(10_000)], &[1, 1], 2.0)
}

/// A million keys beside a thousand; all keys speak three times.
fn keys(options: &Options) -> bool {
    let name = "live keys: 1,000 and 1,000,000";
    if !options.wants(name) {
        return true;
    }
    let case = |keys: i64| {
        let mut events = (0..3_000_000i64).map(|i| (i / 100, (i % keys) as u64, 0));
        Case::new(format!("{keys} keys"), ("10m", "count(*) FILTER (WHERE ok) >= 3"), &mut events)
    };
    compare(options, name, &mut [case(1000), case(1_000_000)], &[1000, 1_000_000], 2.0)
}

/// Bytes that this process holds.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or_default() * 4096.0
}

/// Bytes a key and rule, of so many keys that spoke once or twice.
fn memory(options: &Options) -> bool {
    const KEYS: i64 = 200_000;
    let name = "bytes per live key and rule";
    if !options.wants(name) {
        return true;
    }
    println!("{name}, {KEYS} keys");
    // Nothing is given back before the end: the next case would be counted in what this one left.
    let (mut good, mut held) = (true, Vec::new());
    let mut say = |what: &str, bytes: f64| {
        let each = bytes / KEYS as f64;
        println!("  {what:<44} {each:>9.0}   bar 150{}", if each > 150.0 { ", missed" } else { "" });
        good &= each <= 150.0;
    };
    for having in ["count(*) >= 3", "sum(m) >= 100", "count(DISTINCT acct) >= 3"] {
        for times in [1, 2] {
            let rules = rule("10m", having);
            let mut detector = detector(&rules.rules[0], &Limits::default());
            let mut found = Found::default();
            let before = resident();
            let mut events = (0..KEYS * times).map(|i| (i / 1000, (i % KEYS) as u64, (i / KEYS) as u64));
            picked(&rules, &mut events, &mut |picked| {
                fold(&mut detector, &picked, &mut found);
            });
            say(&format!("{having}, {times} events a key"), resident() - before);
            held.push(detector);
        }
    }
    let mut suppressor = Suppressor::new(3_600_000_000, KEYS as usize);
    let before = resident();
    for key in 0..KEYS {
        let key = Key::of(&[Value::Int(key)]);
        let said = suppressor.send(key, Timestamp(START), Severity::Low, &mut Blind::default());
        assert_eq!(said, Some(0));
    }
    say("a match with suppression", resident() - before);
    assert!(held.iter().all(|detector| saved_keys(detector) == KEYS as usize));
    good
}

/// Ten million keys that come once, and ten that come often, with room for 100,000.
fn flood(options: &Options) -> bool {
    let name = "a flood of 10,000,000 keys";
    if !options.wants(name) {
        return true;
    }
    let limits = Limits { keys: 100_000, ..Limits::default() };
    let rules = rule("10m", "count(*) >= 50");
    let mut detector = detector(&rules.rules[0], &limits);
    let (mut found, mut time, mut rows) = (Found::default(), Duration::ZERO, 0);
    let mut events = (0..10_000_000i64).flat_map(|i| {
        let busy = (i % 1000 == 0).then_some((i / 100, 20_000_000 + (i / 1000) as u64 % 10, 0));
        [Some((i / 100, i as u64, 0)), busy].into_iter().flatten()
    });
    let before = resident();
    let mut most = before;
    picked(&rules, &mut events, &mut |picked| {
        let start = Instant::now();
        rows += fold(&mut detector, &picked, &mut found);
        time += start.elapsed();
        most = most.max(resident());
    });
    let busy: std::collections::BTreeSet<u128> = found.findings.iter().map(|finding| finding.key.0).collect();
    let gone = found.blind.get(Reason::Evicted) + found.blind.get(Reason::Refused);
    println!("{name}, room for {}", limits.keys);
    println!("  {rows} events, {:.0} events/s", rows as f64 / time.as_secs_f64());
    println!("  busy keys found {}, strangers evicted or refused {gone}", busy.len());
    let each = (most - before) / limits.keys as f64;
    println!("  at most {each:.0} bytes a key that there is room for");
    assert!((1.0..1000.0).contains(&each), "memory follows the room, not the flood: {each} bytes a key");
    assert_eq!((busy.len(), gone), (10, 10_000_010 - 100_000));
    std::mem::forget(detector);
    true
}

fn main() -> ExitCode {
    let options = Options::from_command_line();
    // What measures memory comes first: what others gave back would be used again.
    let benches = [flood, memory, windows, distinct, keys];
    let good = benches.iter().fold(true, |good, bench| bench(&options) & good);
    common::exit(&options, good)
}
