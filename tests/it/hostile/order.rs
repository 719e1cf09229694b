//! The order of arrival, the cut of batches, restarts, partitions and neighbours: none may hide or invent.

use std::collections::BTreeMap;

use arrow::array::{AsArray, BinaryArray};
use arrow::record_batch::RecordBatch;
use fleetwarden::detect::codec::{Reader, Sources};
use fleetwarden::detect::memory::KeyState;
use fleetwarden::detect::panes::Cut;
use fleetwarden::event::Limits;
use fleetwarden::rule::{Kind, Rule};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{Engine, Event, Run, SECOND, START, event, over, placeless, scenarios, threshold};

/// Conditions that can only grow. Exact counts beside panes are left out: at the start of a later pane an
/// exact count covers less of that pane than the panes do, so such a rule may fire in one order only.
const GROWING: [&str; 9] = [
    "count(*) >= $n",
    "count(*) FILTER (WHERE ok) >= $n",
    "count(*) >= $n AND count(*) FILTER (WHERE ok) >= 2",
    "count(DISTINCT acct) >= 3",
    "max(x) >= 5",
    "min(x) <= 1",
    "sum(n) >= 6",
    "sum(m) >= 6",
    "max(x) >= 5 AND count(DISTINCT acct) >= 2",
];

/// Each rule with the largest number of rows that its rings hold.
fn growing() -> (Engine, BTreeMap<String, usize>) {
    let (mut rules, mut rooms) = (Vec::new(), BTreeMap::new());
    for (i, having) in GROWING.iter().enumerate() {
        for n in 2..=5 {
            if !having.contains("$n") && n > 2 {
                continue;
            }
            for window in [10, 60] {
                let id = format!("r{i}-{n}-{window}");
                let text = threshold(&format!("{window}s"), &having.replace("$n", &n.to_string()));
                // The second count of a condition is compared with 2: a ring of 4.
                let room = if having.ends_with("(WHERE ok) >= 2") { 4 } else { 2 * n };
                rooms.insert(id.clone(), if having.contains("$n") { room } else { usize::MAX });
                rules.push((id, text));
            }
        }
    }
    let rules: Vec<(&str, String)> = rules.iter().map(|(id, text)| (id.as_str(), text.clone())).collect();
    (Engine::new(&scenarios(), &rules, Limits::default()), rooms)
}

/// One event of the key: its time after the start, and its values as members of JSON.
fn row() -> impl Strategy<Value = (i64, String)> {
    let time = prop_oneof![
        (0..25_000i64).prop_map(|ms| ms * 1000),
        (0..150i64).prop_map(|s| s * SECOND),
        (0..1500i64).prop_map(|tenth| tenth * 100_000),
        (0..13_000i64).prop_map(|ms| ms * 1000),
    ];
    let values = (select(vec![0, 1, 5]), 1..=3i64, any::<bool>(), select(vec!["a", "b", "c"]));
    (time, values).prop_map(|(time, (x, n, ok, acct))| {
        (time, format!(r#""x":{x},"n":{n}.0,"m":{n},"ok":{ok},"acct":"{acct}""#))
    })
}

/// Events in this order, all brought in after the last of them happened.
fn brought(rows: &[(i64, String)]) -> Vec<Event> {
    let last = rows.iter().map(|(time, _)| *time).max().unwrap_or(0);
    let at = |nth: usize| START + last + nth as i64 * 1000;
    let one = |(nth, (time, values)): (usize, &(i64, String))| {
        event(at(nth), format!(r#"{{"ts":{},"k":"a",{values}}}"#, START + time))
    };
    rows.iter().enumerate().map(one).collect()
}

/// The stretches in which each rule fired.
fn stretches(run: &Run) -> BTreeMap<String, Vec<(i64, i64)>> {
    let mut out = BTreeMap::new();
    for table in run.replay.checkpoints().into_iter().flat_map(|cut| cut.tables) {
        let column = |batch: &RecordBatch| batch.column_by_name("state").unwrap().as_binary::<i32>().clone();
        let states: Vec<BinaryArray> = table.detector.iter().map(column).collect();
        let of_key = |bytes: &[u8]| {
            let state = KeyState::read(&mut Reader(bytes, Sources::Same)).unwrap();
            state.edge.stretches().collect::<Vec<_>>()
        };
        out.insert(table.rule, states.iter().flatten().flatten().flat_map(of_key).collect());
    }
    out
}

fn span(rule: &Rule) -> i64 {
    match &rule.kind {
        Kind::Threshold(spec) => Cut::new(spec).span(),
        Kind::Match(_) | Kind::Baseline(_) => 0,
    }
}

#[test]
fn shuffled_events_fire_in_both_orders_or_in_neither() {
    let (engine, rooms) = growing();
    let fired = std::cell::Cell::new(0u64);
    let rows = proptest::collection::vec(row(), 2..=8).prop_flat_map(|rows| {
        let shuffled = Just(rows.clone()).prop_shuffle();
        (Just(rows), shuffled)
    });
    proptest!(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() },
        |((mut rows, shuffled) in rows)| {
        rows.sort();
        let (one, other) = (engine.run(&brought(&rows), 99, false), engine.run(&brought(&shuffled), 99, false));
        let (one, other) = (stretches(&one), stretches(&other));
        for rule in &engine.rules.rules {
            let id = &rule.info.id;
            let (a, b) = (&one[id], &other[id]);
            // What the rings and the memory of fired windows do not hold, order may change.
            if rooms[id] < rows.len() || a.len().max(b.len()) >= 4 {
                continue;
            }
            fired.set(fired.get() + a.len() as u64);
            let span = span(rule);
            let meet = |s: &(i64, i64), t: &(i64, i64)| s.0 - t.1 < span && t.0 - s.1 < span;
            let all = |these: &[(i64, i64)], those: &[(i64, i64)]| {
                these.iter().all(|s| those.iter().any(|t| meet(s, t)))
            };
            prop_assert!(all(a, b) && all(b, a), "{id}: in order {a:?}, shuffled {b:?} of {shuffled:?}");
        }
    });
    assert!(fired.get() > 1000, "only {} stretches were compared", fired.get());
}

/// Rules of every kind of window and clock; those of the second list go over all partitions.
fn mixed() -> Engine {
    let suppressed = threshold("10s", "count(*) >= 2") + "[suppress]\nfor = \"20s\"\n";
    let escalating = threshold("20s", "max(x) >= 1")
        + "[[escalate]]\nwhen = \"max(x) >= 5\"\nseverity = \"high\"\nrisk = 70\n";
    let arrival = threshold("5s", "count(*) >= 3").replace("window", "clock = \"arrival\"\nwindow");
    let rules = [
        ("exact", threshold("10s", "count(*) FILTER (WHERE ok) >= 2")),
        ("sum", threshold("10s", "sum(n) >= 6")),
        ("distinct", threshold("10s", "count(DISTINCT acct) >= 3")),
        ("mixed", threshold("20s", "count(*) >= 2 AND max(x) >= 5")),
        ("ratio", threshold("10s", "count(*) FILTER (WHERE ok) / count(*) > 0.5")),
        ("tumbling", threshold("tumbling 10s", "avg(x) > 1")),
        ("tumbling-event", threshold("tumbling 10s", "count(*) >= 2")),
        ("list", threshold("10s", "cardinality(values(acct, 3)) >= 2 AND sum(x) > 2")),
        ("suppressed", suppressed),
        ("escalating", escalating),
        ("arrival", arrival),
        ("match", over("t", "[match]\nwhere = \"x >= 5\"\nkey = [\"k\"]\n[suppress]\nfor = \"5s\"\n")),
        ("fleet", over("t", "[threshold]\nkey = [\"acct\"]\nwindow = \"10s\"\nhaving = \"count(*) >= 4\"\n")),
        ("fleet-close", over("t", "[threshold]\nkey = []\nwindow = \"10s\"\nhaving = \"avg(x) > 2\"\n")),
    ];
    Engine::new(
        &scenarios(),
        &rules,
        Limits { alerts_per_second: 3, panes: 12, distinct: 9, ..Limits::default() },
    )
}

/// A stream of two partitions: keys, times before, at and after the broker's, silences, and what is no event.
fn stream() -> impl Strategy<Value = Vec<Event>> {
    let lie = prop_oneof![
        4 => Just(0i64), 2 => -20 * SECOND..20 * SECOND, 1 => select(vec![-1000, 299, -619_315_200]).prop_map(|s| s * SECOND)
    ];
    let step = prop_oneof![6 => (0..4i64).prop_map(|half| half * SECOND / 2), 1 => Just(700 * SECOND)];
    let one = (step, lie, select(vec!["a", "b", "c"]), 0..2i32, row(), 0..12u8);
    proptest::collection::vec(one, 20..60).prop_map(|steps| {
        let mut now = START;
        let mut events = Vec::new();
        for (step, lie, key, partition, (_, values), spoil) in steps {
            now += step;
            let payload = match spoil {
                0 => format!(r#"{{"k":"{key}","k":"x",{values}}}"#),
                1 => format!(r#"{{"ts":"never","k":"{key}",{values}}}"#),
                2 => format!(r#"{{"ts":{},{values}}}"#, now + lie),
                _ => format!(r#"{{"ts":{},"k":"{key}",{values}}}"#, now + lie),
            };
            events.push(Event { partition, ..event(now, payload) });
        }
        events
    })
}

/// Alerts of rules that run in their partition, of one partition.
fn of_partition(run: &Run, partition: i32) -> Vec<String> {
    let own = run.alerts.iter().zip(run.bodies()).filter(|(alert, _)| {
        !alert.rule.id.starts_with("fleet") && alert.evidence.iter().all(|e| e.partition.index == partition)
    });
    own.map(|(_, body)| body).collect()
}

#[test]
fn batches_restarts_and_partitions_do_not_show() {
    let engine = mixed();
    let said = std::cell::Cell::new(0usize);
    proptest!(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() },
        |(events in stream())| {
        let whole = engine.run(&events, 8192, false);
        let bodies = whole.bodies();
        said.set(said.get() + bodies.len());
        for (batch, save) in [(1, true), (7, false), (3, true)] {
            let other = engine.run(&events, batch, save);
            prop_assert_eq!(&bodies, &other.bodies(), "batch {}, saved: {}", batch, save);
            prop_assert_eq!(&whole.totals, &other.totals, "batch {}, saved: {}", batch, save);
        }
        for partition in 0..2 {
            let alone: Vec<Event> = events.iter().filter(|e| e.partition == partition).cloned().collect();
            let alone = of_partition(&engine.run(&alone, 8192, false), partition);
            prop_assert_eq!(of_partition(&whole, partition), alone, "partition {} alone", partition);
        }
    });
    assert!(said.get() > 500, "only {} alerts were compared", said.get());
}

#[test]
fn neighbours_do_not_show() {
    let mut engine = mixed();
    // Alerts a second are counted per rule: there neighbours must show.
    engine.limits.alerts_per_second = 1_000_000;
    let lies = vec![0, 299, 301, -619_315_200, -7200, i64::MIN / SECOND];
    proptest!(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() },
        |(events in stream(), lie in select(lies), places in subsequence((0..60).collect::<Vec<usize>>(), 30))| {
        let mut among = Vec::new();
        for (nth, one) in events.iter().enumerate() {
            if places.contains(&nth) {
                let time = one.broker.saturating_add(lie * SECOND);
                let text = format!(
                    r#"{{"ts":{time},"k":"neighbour-{}","x":7,"n":7.0,"ok":true,"acct":"nobody-{nth}"}}"#, nth % 3);
                among.push(Event { payload: text.into_bytes(), ..one.clone() });
            }
            among.push(one.clone());
        }
        let own = |run: &Run| -> Vec<_> {
            let own = run.alerts.iter().filter(|alert| !alert.rule.id.starts_with("fleet"));
            let bodies = own.map(|alert| placeless(alert));
            bodies.filter(|body| !body["key"].to_string().contains("neighbour-")).collect()
        };
        let alone = own(&engine.run(&events, 8192, false));
        prop_assert_eq!(&alone, &own(&engine.run(&among, 8192, false)), "in one batch");
        prop_assert_eq!(&alone, &own(&engine.run(&among, 7, false)), "in batches of 7");
    });
}
