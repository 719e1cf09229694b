//! Floods and limits: whatever is cut off is counted, and the keys that matter are found beside it.

use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray};
use arrow::record_batch::RecordBatch;
use fleetwarden::alert::Reason;
use fleetwarden::detect::codec::{Reader, Sources};
use fleetwarden::detect::memory::KeyState;
use fleetwarden::event::{Limits, PartitionId, Stamp, Timestamp};
use fleetwarden::journal::{self, Entry, Written};
use fleetwarden::pipeline::Pipeline;
use fleetwarden::runtime::worker::{Action, Exchange, Signal, Worker};

use super::{Engine, Event, Run, START, event, over, scenarios, threshold};

fn tiny() -> Limits {
    Limits { keys: 100, panes: 8, distinct: 20, alerts_per_second: 5, ..Limits::default() }
}

fn engine(rules: &[(&str, String)]) -> Engine {
    Engine::new(&scenarios(), rules, tiny())
}

/// An event of a key, so many milliseconds after the start, that comes at once.
fn live(ms: i64, key: &str, more: &str) -> Event {
    late(ms, ms, key, more)
}

/// The same, that comes at another time.
fn late(ms: i64, came: i64, key: &str, more: &str) -> Event {
    let text = format!(r#"{{"ts":{},"k":"{key}"{more}}}"#, START + ms * 1000);
    event(START + came * 1000, text)
}

fn blind(run: &Run, rule: &str, reason: Reason) -> u64 {
    run.totals.rules[rule].blind.get(reason)
}

/// The one reason for which rule `r` was blind, and how often; with the batch cut in any way.
fn only(engine: &Engine, events: &[Event]) -> Vec<(Reason, u64)> {
    let whole = engine.run(events, 8192, false);
    let counted: Vec<_> = whole.totals.rules["r"].blind.iter().collect();
    for (batch, save) in [(1, true), (7, false)] {
        let other = engine.run(events, batch, save);
        assert_eq!(counted, other.totals.rules["r"].blind.iter().collect::<Vec<_>>(), "batch {batch}");
        assert_eq!(whole.bodies(), other.bodies(), "batch {batch}");
    }
    counted
}

#[test]
fn a_row_for_a_closed_window_is_late() {
    let engine = engine(&[("r", threshold("tumbling 10s", "avg(x) > 1"))]);
    let events =
        [live(0, "a", ""), live(10_000, "a", ""), live(13_000, "a", ""), late(5000, 14_000, "a", "")];
    assert_eq!(only(&engine, &events), [(Reason::Late, 1)]);
}

#[test]
fn what_limits_cut_off_is_capped() {
    let cases: [(&str, String, Vec<Event>, u64); 5] = [
        (
            "a ring of 2n times",
            threshold("60s", "count(*) >= 3"),
            (0..9).map(|i| live(i * 100, "a", "")).collect(),
            3,
        ),
        ("panes", threshold("60s", "sum(n) >= 9"), (0..11).map(|i| live(i * 1000, "a", "")).collect(), 3),
        (
            "open windows",
            threshold("tumbling 1s", "avg(x) > 1"),
            (0..11).map(|i| late(i * 1000, 11_000, "a", "")).collect(),
            3,
        ),
        (
            "distinct values of one pane",
            threshold("60s", "count(DISTINCT acct) >= 9"),
            (0..23).map(|i| live(i, "a", &format!(r#","acct":"{i}""#))).collect(),
            3,
        ),
        (
            "alerts",
            over("t", "[match]\nwhere = \"ok\"\n"),
            (0..9).map(|i| live(i, "a", r#","ok":true"#)).collect(),
            4,
        ),
    ];
    for (name, rule, events, times) in cases {
        assert_eq!(only(&engine(&[("r", rule)]), &events), [(Reason::Capped, times)], "{name}");
    }
}

#[test]
fn closed_windows_that_are_forgotten_too_early_are_capped() {
    let engine =
        Engine::new(&scenarios(), &[("r", threshold("tumbling 10ms", "avg(x) > 1"))], Limits::default());
    let events = (0..1300).map(|i| live(i * 20, "a", "")).chain([live(60_000, "b", "")]);
    assert_eq!(only(&engine, &events.collect::<Vec<_>>()), [(Reason::Capped, 1300 - 1024)]);
}

#[test]
fn keys_beyond_the_limit_are_evicted_or_refused() {
    let engine = engine(&[("r", threshold("60s", "count(*) >= 5"))]);
    let keys = |n: i64| (0..n).map(|i| live(i, &format!("k{i}"), ""));
    assert_eq!(only(&engine, &keys(103).collect::<Vec<_>>()), [(Reason::Evicted, 3)]);
    let twice: Vec<Event> =
        keys(100).chain(keys(100)).chain([live(101, "new", ""), live(102, "new", "")]).collect();
    assert_eq!(only(&engine, &twice), [(Reason::Refused, 2)]);
    // Room again, once the others have been silent.
    let later = twice.iter().cloned().chain((0..5).map(|i| live(700_000 + i, "new", "")));
    assert_eq!(engine.run(&later.collect::<Vec<_>>(), 7, false).count("r"), 1);
}

#[test]
fn keys_without_value_share_one_and_are_counted() {
    let engine = engine(&[("r", threshold("60s", "count(*) >= 3"))]);
    let events: Vec<Event> =
        ["null", "7", "[]"].iter().map(|k| event(START, format!(r#"{{"k":{k}}}"#))).collect();
    assert_eq!(only(&engine, &events), [(Reason::NullKey, 3)]);
    assert_eq!(engine.run(&events, 9, false).count("r"), 1);
}

/// Five values make a normal; a value that is NULL makes none.
#[test]
fn values_without_a_normal_and_values_that_are_none_are_counted() {
    let rule = "[baseline]\nkey = [\"k\"]\nvalue = \"x\"\nmethod = \"robust\"\nlearn = 5\n";
    let engine = engine(&[("r", over("t", rule))]);
    let mut events: Vec<Event> = (0..5).map(|i| live(i * 1000, "a", &format!(r#","x":{i}"#))).collect();
    events.push(live(5000, "a", ""));
    assert_eq!(only(&engine, &events), [(Reason::Learning, 5), (Reason::NullValue, 1)]);
    events.push(live(6000, "a", r#","x":99"#));
    assert_eq!(engine.run(&events, 9, false).count("r"), 1);
}

/// Times that jump back and forth over years open windows without end: what one key holds stays small.
#[test]
fn a_clock_that_jumps_does_not_bloat_the_normal_of_its_key() {
    let rule = "[baseline]\nkey = [\"k\"]\nwindow = \"tumbling 1m\"\nvalue = \"count(*)\"\n\
                method = \"poisson\"\n";
    let engine = engine(&[("r", over("t", rule))]);
    let jump = |i: i64| late(-(i * 7919 % 5000) * 60_000, i, "a", "");
    let few: Vec<Event> = (0..200).map(jump).collect();
    let many: Vec<Event> = (0..4000).map(jump).collect();
    let size = |events: &[Event]| {
        let cuts = engine.run(events, 64, false).replay.checkpoints();
        let tables = cuts.into_iter().flat_map(|cut| cut.tables);
        let batches = tables.flat_map(|table| table.detector);
        let states = batches.map(|batch| batch.column_by_name("state").unwrap().clone());
        states.map(|state| state.as_binary::<i32>().value_data().len()).sum::<usize>()
    };
    assert!(size(&many) < 3 * size(&few), "{} {}", size(&many), size(&few));
}

#[test]
fn what_cannot_be_computed_is_counted() {
    let engine = engine(&[("r", over("t", "[match]\nwhere = \"i + 1 > 5\"\n"))]);
    let events: Vec<Event> =
        [4, 5, i64::MAX, i64::MIN].iter().map(|i| live(0, "a", &format!(r#","i":{i}"#))).collect();
    assert_eq!(only(&engine, &events), [(Reason::Expression, 1)]);
    assert_eq!(engine.run(&events, 9, false).count("r"), 1);
}

#[test]
fn a_rule_whose_memory_is_of_another_version_starts_cold() {
    let old = engine(&[("r", threshold("60s", "count(*) >= 3")), ("s", threshold("60s", "count(*) >= 2"))]);
    let new = engine(&[("r", threshold("60s", "count(*) >= 4")), ("s", threshold("60s", "count(*) >= 2"))]);
    let run = old.run(&[live(0, "a", "")], 9, false);
    let cut = run.replay.checkpoints().remove(0);
    let (pipeline, cold) = Pipeline::load(&new.rules, &[0, 1], false, &new.limits, (&cut, &cut.sources));
    assert_eq!(cold, ["r"]);
    let counted: Vec<u64> = pipeline.counters().map(|(_, c)| c.blind.get(Reason::ColdStart)).collect();
    assert_eq!(counted, [1, 0]);
}

#[test]
fn a_live_start_is_cold_and_a_replay_is_not() {
    let engine = engine(&[("r", threshold("60s", "count(*) >= 3"))]);
    let partition = PartitionId { stream: Arc::from("t"), index: 0 };
    for (exchange, times) in [(Exchange::InPartition, 1), (Exchange::InProcess, 0)] {
        let mut worker = Worker::new(engine.rules.clone(), &engine.schemas, &engine.limits, exchange);
        let mut actions = Vec::new();
        match exchange {
            Exchange::InProcess => {
                let given = Signal::Given { partition: partition.clone(), next_offset: 9 };
                worker.handle(given, &mut actions);
            }
            Exchange::InPartition => take_over(&mut worker, &partition, 9),
        }
        let counted = worker.totals().rules.get("r").map_or(0, |rule| rule.blind.get(Reason::ColdStart));
        assert_eq!(counted, times, "{exchange:?}");
    }
}

#[test]
fn a_key_as_long_as_a_record_makes_an_alert_that_the_journal_takes() {
    let engine = engine(&[("r", over("t", "[match]\nwhere = \"i > 5\"\nkey = [\"k\"]\n"))]);
    let long = "\\u0001".repeat(100_000);
    let run = engine.run(&[live(0, &long, r#","i":9"#), live(1, "a", r#","i":9"#)], 9, false);
    assert_eq!(run.alerts.len(), 2);
    for alert in &run.alerts {
        let source = PartitionId { stream: Arc::from("t"), index: 0 };
        let stamp = Stamp { source, epoch: 1, seq: 1 };
        let entry = Entry::Alerts { through: 1, more: false, alerts: vec![alert.clone()] };
        let written = Written { stamp, written: Timestamp(0), engine: String::new(), entry };
        assert!(journal::encode(&written).len() < 1 << 20);
    }
    assert_eq!(only(&engine, &[live(0, &long, r#","i":9"#)]), [(Reason::Capped, 1)]);
}

/// The group gives a worker a partition of which nothing is known.
fn take_over(worker: &mut Worker, partition: &PartitionId, next_offset: i64) {
    let (mut actions, mut journal) = (Vec::new(), 0);
    worker.handle(Signal::Assigned(partition.clone()), &mut actions);
    while let Some(action) = actions.pop() {
        let partition = partition.clone();
        let answer = match action {
            Action::Append(stamp, _) => {
                journal += 1;
                Signal::Acked { stamp, at: Some(journal) }
            }
            Action::FindRoot { tenure, .. } => Signal::Rooted { partition, tenure, next_offset, root: None },
            Action::Commit { tenure, .. } => Signal::Committed { partition, tenure, accepted: true },
            Action::Load { tenure, .. } => Signal::Loaded { partition, tenure, past: Box::default() },
            _ => continue,
        };
        worker.handle(answer, &mut actions);
    }
}

/// Entries of all sorts that the memory of all keys of a rule holds.
fn largest(run: &Run, rule: &str) -> (usize, [usize; 4]) {
    let cuts = run.replay.checkpoints();
    let table = cuts.iter().flat_map(|cut| &cut.tables).find(|table| table.rule == rule).unwrap();
    let column = |batch: &RecordBatch| batch.column_by_name("state").unwrap().as_binary::<i32>().clone();
    let states: Vec<BinaryArray> = table.detector.iter().map(column).collect();
    let mut most = [0; 4];
    for bytes in states.iter().flatten().flatten() {
        let state = KeyState::read(&mut Reader(bytes, Sources::Same)).unwrap();
        let sets = state.distinct.iter().map(|set| set.sorted().iter().map(|(_, hashes)| hashes.len()).sum());
        let sizes = [
            state.panes.len(),
            sets.max().unwrap_or(0),
            state.rings.iter().map(|ring| ring.0.len()).max().unwrap_or(0),
            state.marks.len(),
        ];
        most.iter_mut().zip(sizes).for_each(|(most, size)| *most = size.max(*most));
    }
    let rows = |batches: &Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    (rows(&table.detector).max(table.suppress.as_ref().map_or(0, rows)), most)
}

#[test]
fn the_busiest_keys_are_found_in_a_flood_of_one_off_keys() {
    let suppressed = threshold("60s", "count(*) >= 5") + "[suppress]\nfor = \"1h\"\n";
    let rules = [("exact", suppressed), ("panes", threshold("60s", "sum(n) >= 5"))];
    let engine = engine(&rules);
    let mut events = Vec::with_capacity(202_000);
    for nth in 0..200_000 {
        events.push(live(nth / 10, &format!("{nth}"), r#","n":1.0"#));
        // Five busy keys, as many as may alert in one second, and only for a while.
        if nth % 5 == 4 && nth / 1000 % 20 == 0 {
            events.push(live(nth / 10, &format!("busy-{}", nth / 5 % 5), r#","n":1.0"#));
        }
    }
    let run = engine.run(&events, 8192, false);
    for rule in ["exact", "panes"] {
        let keys: std::collections::BTreeSet<String> = run
            .alerts
            .iter()
            .filter(|alert| alert.rule.id == rule)
            .map(|alert| format!("{:?}", alert.key))
            .collect();
        assert_eq!(keys.len(), 5, "{rule}: {keys:?}");
        let (keys, [panes, _, ring, _]) = largest(&run, rule);
        assert!(keys <= 100 && panes <= 8 && ring <= 10, "{rule}: {keys} keys, {panes} panes, {ring} times");
        // Every stranger came, and all but those of the end went.
        let gone = blind(&run, rule, Reason::Evicted);
        assert!((199_900..=200_000).contains(&gone), "{rule}: {gone} evicted");
        assert_eq!(blind(&run, rule, Reason::Refused), 0, "{rule}");
    }
}

#[test]
fn a_key_that_floods_itself_stays_small() {
    let distinct = "count(DISTINCT acct) >= 1000 AND count(DISTINCT x) >= 1000";
    let engine = engine(&[
        ("sliding", threshold("60s", distinct)),
        ("tumbling", threshold("tumbling 1s", distinct)),
        ("closing", threshold("60s", "avg(x) > 1e9 AND count(DISTINCT acct) > 5")),
        ("exact", threshold("60s", "count(*) >= 1000")),
    ]);
    let values = |nth: i64| format!(r#","x":{nth},"acct":"{nth}""#);
    let times = |nth: i64| [nth, nth * 997 % 50_000_000, nth * 61_000][nth as usize % 3];
    let events: Vec<Event> =
        (0..6000).map(|nth| late(times(nth), 400_000_000 + nth * 20, "a", &values(nth))).collect();
    let run = engine.run(&events, 8192, false);
    for (rule, most) in [
        ("sliding", [8, 20, 0, 0]),
        ("tumbling", [8, 20, 0, 1024]),
        ("closing", [8, 20, 0, 0]),
        ("exact", [0, 0, 2000, 0]),
    ] {
        let (keys, sizes) = largest(&run, rule);
        let small = sizes.iter().zip(most).all(|(size, most)| *size <= most);
        assert!(keys == 1 && small, "{rule}: {keys} keys, {sizes:?} of {most:?}");
        assert!(blind(&run, rule, Reason::Capped) > 0, "{rule}");
    }
}

#[test]
fn old_distinct_values_do_not_hide_new_ones() {
    let mut engine = engine(&[("r", threshold("60s", "count(DISTINCT acct) >= 5"))]);
    engine.limits.panes = 240;
    // More pairs than there is room for, two a pane, then silence of a window, then what must be found.
    let old = (0..40).map(|i| live(i * 500, "a", &format!(r#","acct":"{}""#, i % 2)));
    let new = (0..5).map(|i| live(90_000 + i * 1000, "a", &format!(r#","acct":"new-{i}""#)));
    let run = engine.run(&old.chain(new).collect::<Vec<_>>(), 7, false);
    assert_eq!(run.count("r"), 1);
    let stream = (0..400).map(|i| live(i * 400, "a", &format!(r#","acct":"{i}""#)));
    let run = engine.run(&stream.collect::<Vec<_>>(), 7, false);
    assert_eq!(run.count("r"), 1, "a steady stream of new values is one episode");
    assert!(blind(&run, "r", Reason::Capped) > 0);
}

#[test]
fn an_absurd_value_does_not_hide_a_sum() {
    let engine =
        engine(&[("sum", threshold("60s", "sum(n) >= 6")), ("avg", threshold("tumbling 60s", "avg(n) > 6"))]);
    for huge in ["1.7e308", "1e308"] {
        let events: Vec<Event> = (0..9)
            .map(|i| live(i * 1000, "a", &format!(r#","n":{huge}"#)))
            .chain([live(63_000, "b", ""), live(200_000, "b", "")])
            .collect();
        let run = engine.run(&events, 7, false);
        assert_eq!((run.count("sum"), run.count("avg")), (1, 1), "{huge}");
    }
}
