//! Clocks that lie: the six-failure attack is found whatever the car or its neighbour says the time is, and
//! what the engine did to the time is counted.

use fleetwarden::decode::DecodeStats;
use fleetwarden::event::Limits;

use super::{Engine, Event, Run, SECOND, START, event, over, source};

/// What a clock shows at a true time, as the JSON of `ts`.
type Shows = fn(i64, usize) -> String;

fn millis(micros: i64) -> String {
    (micros / 1000).to_string()
}

/// Clocks under which the events of one burst stay together, so that both clocks of a rule must find it; with
/// how many of six times are moved to the broker's, flagged, and not read at all.
const TOGETHER: [(&str, Shows, [u64; 3]); 13] = [
    ("true", |at, _| millis(at), [0, 0, 0]),
    ("ahead by 299 s", |at, _| millis(at + 299 * SECOND), [6, 0, 0]),
    ("ahead by 301 s", |at, _| millis(at + 301 * SECOND), [6, 6, 0]),
    ("one event ahead by 299 s", |at, nth| millis(at + if nth == 0 { 299 } else { 0 } * SECOND), [1, 0, 0]),
    ("in 2199", |at, _| millis(at + 5_400_000_000 * SECOND), [6, 6, 0]),
    ("from 1970 on", |at, _| millis(at - START), [0, 0, 0]),
    ("always 1970", |_, _| "0".into(), [0, 0, 0]),
    ("a rollover of GPS weeks ago", |at, _| millis(at - 619_315_200 * SECOND), [0, 0, 0]),
    ("a backlog of seven hours ago", |at, _| millis(at - 25_200 * SECOND), [0, 0, 0]),
    ("the extremes of 64 bits", |_, nth| [i64::MIN, i64::MAX][nth % 2].to_string(), [0, 0, 6]),
    ("fractions", |at, _| format!("{}.5", at / 1000), [0, 0, 6]),
    ("no numbers", |_, nth| NO_TIMES[nth % NO_TIMES.len()].to_string(), [0, 0, 6]),
    ("ten times too large", |at, _| format!("{at}0"), [0, 0, 6]),
];

const NO_TIMES: [&str; 8] =
    ["-1", "1e300", "-1e999", "18446744073709551616", "null", "\"1800000000000\"", "[1800000000000]", "{}"];

/// Texts that are no instant, or none between 1970 and 2200.
const NO_INSTANTS: [&str; 12] = [
    "",
    "now",
    "0000-00-00T00:00:00Z",
    "2027-13-15T08:00:00Z",
    "2027-02-29T08:00:00Z",
    "2027-01-15T24:00:00Z",
    "2027-01-15T08:00:00",
    "2027-01-15T08:00:00+99:99",
    "9999-12-31T23:59:60Z",
    "-027-01-15T08:00:00Z",
    "2027-01-15T08:00:00.1234567890Z",
    "２０２７-01-15T08:00:00Z",
];

fn engine(unit: &str) -> Engine {
    let mut schema = source("schemas/diagnostics.toml");
    schema.text = schema.text.replace("unit = \"ms\"", &format!("unit = \"{unit}\""));
    let rule = |clock: &str| {
        let table =
            "[threshold]\nwhere = \"service = 39 AND response = 'negative'\"\nkey = [\"vin\", \"ecu\"]\n";
        over(
            "diagnostics",
            &format!("{table}clock = \"{clock}\"\nwindow = \"60s\"\nhaving = \"count(*) >= 6\"\n"),
        )
    };
    Engine::new(&[schema], &[("by-event", rule("event")), ("by-arrival", rule("arrival"))], Limits::default())
}

fn failure(at: i64, car: &str, shown: &str) -> Event {
    let text = format!(
        r#"{{"vin":"{car}","ts":{shown},"ecu":"BCM","service":39,"subfunction":2,"response":"negative","nrc":53}}"#
    );
    Event { stream: "diagnostics", ..event(at, text) }
}

/// Six failures of each car, five seconds apart, side by side; each car is live before.
fn attack(cars: &[(&str, Shows)]) -> Vec<Event> {
    let mut events = Vec::new();
    for (car, _) in cars {
        let honest = format!(r#"{{"vin":"{car}","ts":{},"ecu":"BCM","service":34}}"#, millis(START));
        events.push(Event { stream: "diagnostics", ..event(START, honest) });
    }
    for nth in 0..6 {
        let at = START + (nth as i64 + 1) * 5 * SECOND;
        events.extend(cars.iter().map(|(car, shows)| failure(at, car, &shows(at, nth))));
    }
    events
}

fn found(run: &Run, rule: &str, car: &str) -> usize {
    let own = |alert: &&std::sync::Arc<fleetwarden::alert::Alert>| {
        alert.rule.id == rule && alert.key.first() == Some(&fleetwarden::event::Value::text(car))
    };
    run.alerts.iter().filter(own).count()
}

fn stats(run: &Run) -> DecodeStats {
    run.totals.decode.values().next().unwrap().clone()
}

#[test]
fn the_attack_is_found_on_a_car_and_its_neighbour_whatever_their_clocks_say() {
    let engine = engine("ms");
    for (name, shows, [moved, skewed, untimed]) in &TOGETHER {
        for (other, beside, [moved_too, skewed_too, untimed_too]) in &TOGETHER {
            let events = attack(&[("V1", *shows), ("V2", *beside)]);
            let run = engine.run(&events, 8192, false);
            for rule in ["by-event", "by-arrival"] {
                for car in ["V1", "V2"] {
                    assert_eq!(found(&run, rule, car), 1, "{rule}: {car}, clocks \"{name}\" and \"{other}\"");
                }
            }
            let stats = stats(&run);
            let counted = [stats.moved, stats.skewed, stats.untimed];
            let expected = [moved + moved_too, skewed + skewed_too, untimed + untimed_too];
            assert_eq!(counted, expected, "moved, skewed, untimed: \"{name}\" and \"{other}\"");
            assert!(run.rejects.is_empty());
        }
    }
}

/// On a CreateTime topic the clock that lies is the broker time, too. One more than ten minutes ahead would end
/// what its neighbours remember.
#[test]
fn where_producers_write_the_broker_time_the_attack_and_its_neighbour_are_found() {
    let engine = engine("ms");
    let some = |(name, ..): &&(&str, Shows, [u64; 3])| {
        ["true", "ahead", "one event", "from 1970", "always", "a rollover", "a backlog"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let clocks: Vec<_> = TOGETHER.iter().filter(some).collect();
    assert_eq!(clocks.len(), 8);
    for (name, shows, _) in &clocks {
        for (other, beside, _) in &clocks {
            let mut events = attack(&[("V1", *shows), ("V2", *beside)]);
            for event in &mut events {
                let json: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
                event.broker = json["ts"].as_i64().unwrap() * 1000;
            }
            let run = engine.run(&events, 7, true);
            for (car, own) in [("V1", name), ("V2", other)] {
                // Its own six times do not lie within a minute: with those it hides itself, and nobody else.
                let expected = usize::from(!own.starts_with("one event"));
                let found = [found(&run, "by-event", car), found(&run, "by-arrival", car)];
                assert_eq!(found, [expected; 2], "{car}, clocks \"{name}\" and \"{other}\"");
            }
            assert_eq!((stats(&run).moved, stats(&run).skewed), (0, 0));
        }
    }
}

#[test]
fn the_cut_of_batches_does_not_show_under_any_clock() {
    let engine = engine("ms");
    for (name, shows, _) in &TOGETHER {
        let events = attack(&[("V1", *shows), ("V2", |at, _| millis(at))]);
        let whole = engine.run(&events, 8192, false).bodies();
        for (batch, save) in [(1, true), (7, false)] {
            assert_eq!(whole, engine.run(&events, batch, save).bodies(), "\"{name}\", batch {batch}");
        }
    }
}

#[test]
fn texts_that_are_no_time_are_dated_by_the_broker() {
    let engine = engine("rfc3339");
    let nonsense: Shows = |_, nth| format!("\"{}\"", NO_INSTANTS[nth]);
    let more: Shows = |_, nth| format!("\"{}\"", NO_INSTANTS[nth + 6]);
    let run = engine.run(&attack(&[("V1", nonsense), ("V2", more)]), 8192, false);
    for rule in ["by-event", "by-arrival"] {
        assert_eq!((found(&run, rule, "V1"), found(&run, rule, "V2")), (1, 1), "{rule}");
    }
    // The two events before the attack hold numbers, which are no times of this schema either.
    assert_eq!((stats(&run).untimed, stats(&run).moved), (14, 0));
}

#[test]
fn a_car_that_spreads_its_times_evades_its_own_times_but_not_the_arrival() {
    let engine = engine("ms");
    let spread: [(&str, Shows); 2] = [
        ("61 s apart", |at, nth| millis(at - 61 * SECOND * nth as i64)),
        ("each another clock", |at, nth| TOGETHER[[0, 5, 6, 7, 8, 5][nth]].1(at, nth)),
    ];
    for (name, shows) in spread {
        for (other, beside, _) in &TOGETHER {
            let run = engine.run(&attack(&[("V1", shows), ("V2", *beside)]), 8192, false);
            let found = |rule, car| found(&run, rule, car);
            assert_eq!(found("by-event", "V1"), 0, "{name}: no six lie within a minute");
            assert_eq!(found("by-arrival", "V1"), 1, "{name} beside \"{other}\"");
            assert_eq!(
                (found("by-event", "V2"), found("by-arrival", "V2")),
                (1, 1),
                "{name} beside \"{other}\""
            );
        }
    }
}

#[test]
fn live_traffic_does_not_hide_the_backlog_behind_it_whatever_the_neighbour_shows() {
    let engine = engine("ms");
    TOGETHER.iter().for_each(|(name, beside, _)| live_then_backlog(&engine, name, *beside));
}

fn live_then_backlog(engine: &Engine, other: &str, beside: Shows) {
    let events = attack(&[("V2", beside)]);
    let live = |nth: usize| {
        failure(START + 60 * SECOND * nth as i64, "V1", &millis(START + 60 * SECOND * nth as i64))
    };
    // Live failures a minute apart never add up; between them a backlog of seven hours ago comes in, as one
    // upload or drop by drop.
    for per_gap in [6, 3, 1] {
        let mut with = events.clone();
        let mut stored = 0;
        for minute in 1..=8 {
            with.push(live(minute));
            for _ in 0..per_gap {
                if stored < 6 {
                    let then = START - 25_200 * SECOND + stored * 5 * SECOND;
                    let now = START + 60 * SECOND * minute as i64 + (stored % per_gap + 1) * SECOND;
                    with.push(failure(now, "V1", &millis(then)));
                    stored += 1;
                }
            }
        }
        let run = engine.run(&with, 7, true);
        assert_eq!(found(&run, "by-event", "V1"), 1, "{per_gap} of the backlog a minute beside \"{other}\"");
        assert_eq!(found(&run, "by-event", "V2"), 1, "\"{other}\"");
    }
}

/// Times that only the broker writes. Where a producer writes them instead, even the ends of 64 bits stop
/// nothing: the attack behind them is found.
#[test]
fn broker_times_at_the_ends_of_64_bits_stop_nothing() {
    let engine = engine("ms");
    for extreme in [i64::MIN, i64::MAX, 0, -1] {
        let mut events = vec![failure(extreme, "V3", &millis(START))];
        events.extend(attack(&[("V1", |at, _| millis(at)), ("V2", |at, _| millis(at - 25_200 * SECOND))]));
        let run = engine.run(&events, 8192, false);
        assert_eq!(run.bodies(), engine.run(&events, 1, true).bodies(), "{extreme}");
        for car in ["V1", "V2"] {
            assert_eq!(found(&run, "by-event", car), 1, "{car} behind a broker time of {extreme}");
            assert_eq!(found(&run, "by-arrival", car), 1, "{car} behind a broker time of {extreme}");
        }
    }
}
