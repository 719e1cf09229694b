use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::decode::JsonDecoder;
use crate::event::{Limits, PartitionId, Record, Timestamp};
use crate::schema;

const MONDAY: i64 = 1_772_431_200_000;
const HOUR: i64 = 3_600_000;

fn plan(vehicles: usize, hours: i64, seed: u64, attacks: Attacks) -> Plan {
    Plan { vehicles, start_ms: MONDAY, length_ms: hours * HOUR, warm_up_ms: 0, seed, attacks }
}

/// A record, owned.
struct Kept {
    stream: Stream,
    partition: i32,
    offset: i64,
    broker_ms: i64,
    payload: Vec<u8>,
}

impl Kept {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap()
    }
}

fn play(plan: &Plan) -> (Vec<Attack>, Vec<Kept>) {
    let mut simulation = Simulation::new(plan).unwrap();
    let mut records = Vec::new();
    while let Some(sent) = simulation.next_record() {
        let Sent { stream, partition, offset, broker_ms, payload, .. } = sent;
        records.push(Kept { stream, partition, offset, broker_ms, payload: payload.to_vec() });
    }
    (simulation.attacks().to_vec(), records)
}

fn digest(records: &[Kept]) -> u64 {
    records.iter().fold(0, |sum: u64, record| {
        let place = [record.broker_ms, record.offset, i64::from(record.partition), record.stream as i64];
        let place = place.iter().fold(sum, |sum, n| sum.rotate_left(9) ^ n.unsigned_abs());
        place.rotate_left(5).wrapping_mul(31) ^ random::hash(&record.payload)
    })
}

#[test]
fn same_seed_same_bytes() {
    let of = |seed| digest(&play(&plan(15, 2, seed, Attacks::All)).1);
    assert_eq!(of(5), of(5));
    assert_ne!(of(5), of(6));
}

#[test]
fn records_come_in_the_order_of_the_broker() {
    let (_, records) = play(&plan(20, 3, 1, Attacks::All));
    let places: Vec<_> = records.iter().map(|r| (r.broker_ms, r.stream, r.partition)).collect();
    assert!(places.is_sorted());
    let mut next: BTreeMap<(Stream, i32), i64> = BTreeMap::new();
    for record in &records {
        let next = next.entry((record.stream, record.partition)).or_default();
        assert_eq!(record.offset, *next);
        *next += 1;
    }
    let streams: BTreeSet<Stream> = records.iter().map(|record| record.stream).collect();
    assert_eq!(streams.len(), Stream::ALL.len(), "{streams:?}");
}

#[test]
fn every_record_is_what_its_schema_says() {
    let schemas = schema::built_in();
    let (_, records) = play(&plan(20, 3, 3, Attacks::All));
    for stream in Stream::ALL {
        let schema = schemas.iter().find(|schema| &*schema.name == stream.name()).unwrap();
        let known: BTreeSet<&str> = schema
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .chain(["jwt", "tls", "vehicle_state", "userIdentity", "_"])
            .collect();
        let all = vec![true; schema.fields.len()];
        let mut decoder = JsonDecoder::new(schema.clone(), all, &Limits::default());
        let id = PartitionId { stream: schema.name.clone(), index: 0 };
        let mut count = 0;
        for record in records.iter().filter(|record| record.stream == stream) {
            let broker_time = Timestamp::from_millis(record.broker_ms);
            let (offset, payload) = (count, &record.payload[..]);
            decoder.push(&Record { source: 0, offset, broker_time, payload, broken: None }, 0);
            count += 1;
            if stream != Stream::Cloudtrail {
                let json = record.json();
                let unknown = json.as_object().unwrap().keys().find(|name| !known.contains(name.as_str()));
                assert_eq!(unknown, None, "{} has no such field", stream.name());
            }
        }
        let decoded = decoder.finish(&Arc::from([id]));
        assert!(count > 0 && decoded.rejects.is_empty(), "{}: {:?}", stream.name(), decoded.rejects.first());
        assert!(decoded.stats.mistyped.is_empty(), "{}: {:?}", stream.name(), decoded.stats.mistyped);
        assert_eq!(decoded.stats.untimed, 0);
    }
}

/// Values that a schema lists are the only ones that are written.
#[test]
fn words_are_those_of_the_schema() {
    let schemas = schema::built_in();
    let (_, records) = play(&plan(20, 3, 4, Attacks::All));
    for record in &records {
        let schema = schemas.iter().find(|schema| &*schema.name == record.stream.name()).unwrap();
        let json = record.json();
        for field in schema.fields.iter().filter(|field| !field.values.is_empty()) {
            let Some(Value::String(word)) = json.get(&field.name) else { continue };
            let fits = field.values.iter().any(|known| known.eq_ignore_ascii_case(word));
            assert!(fits, "{}: {} = {word}", record.stream.name(), field.name);
        }
    }
}

/// The messages of each car in the order in which it made them, per start of its unit.
fn by_car(records: &[Kept]) -> BTreeMap<(String, String), BTreeMap<i64, Value>> {
    let mut cars: BTreeMap<(String, String), BTreeMap<i64, Value>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.stream == Stream::Telemetry) {
        let json = record.json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        let key = (text("vin"), text("boot_id"));
        cars.entry(key).or_default().insert(json["seq"].as_i64().unwrap(), json);
    }
    cars
}

#[test]
fn odometers_are_integrals_of_speed_and_positions_of_both() {
    let (_, records) = play(&plan(25, 4, 7, Attacks::None));
    let (mut steps, mut km) = (0, 0.0);
    for messages in by_car(&records).values() {
        for (before, after) in messages.values().zip(messages.values().skip(1)) {
            let number = |json: &Value, name: &str| json[name].as_f64().unwrap();
            let seconds = (number(after, "ts") - number(before, "ts")) / 1e3;
            let driven = number(after, "odometer") - number(before, "odometer");
            assert!(driven >= -1e-9);
            let degrees = |name| number(after, name) - number(before, name);
            let north = degrees("lat") * 111.195;
            let east = degrees("lon") * 111.195 * number(after, "lat").to_radians().cos();
            assert!(north.hypot(east) <= driven + 0.003, "{north} {east} {driven}");
            if seconds <= 5.1 {
                let speeds = number(before, "speed") + number(after, "speed");
                assert!((driven - speeds / 2.0 * seconds / 3600.0).abs() < 0.003, "{before} {after}");
                steps += 1;
                km += driven;
            }
        }
    }
    assert!(steps > 1_000 && km > 30.0, "{steps} steps, {km} km");
}

#[test]
fn batteries_empty_on_the_road_and_fill_at_the_plug() {
    let (_, records) = play(&plan(30, 10, 8, Attacks::None));
    let (mut spent, mut km, mut charged) = (0.0, 0.0, 0);
    for messages in by_car(&records).values() {
        for (before, after) in messages.values().zip(messages.values().skip(1)) {
            let Some((was, is)) = before["soc"].as_f64().zip(after["soc"].as_f64()) else { continue };
            let driven = after["odometer"].as_f64().unwrap() - before["odometer"].as_f64().unwrap();
            spent += if driven > 0.0 { was - is } else { 0.0 };
            km += driven;
            if after["charging"] == true && before["charging"] == true {
                assert!(is >= was && after["pack_a"].as_f64().unwrap() > 0.0);
                charged += 1;
            }
        }
    }
    // 17 to 26 kWh for 100 km out of packs of 58 to 82 kWh.
    let per_100_km = 100.0 * spent / km;
    assert!(charged > 10 && (15.0..60.0).contains(&per_100_km), "{charged}, {per_100_km} %/100 km");
}

#[test]
fn cars_report_late_and_twice() {
    let (_, records) = play(&plan(60, 5, 9, Attacks::None));
    let telemetry: Vec<(i64, Value)> = records
        .iter()
        .filter(|record| record.stream == Stream::Telemetry)
        .map(|record| (record.broker_ms, record.json()))
        .collect();
    let lag = |(at, json): &(i64, Value)| at - json["ts"].as_i64().unwrap();
    let late = telemetry.iter().filter(|of| (10 * 60_000..HOUR * 24).contains(&lag(of))).count();
    let distinct: BTreeSet<String> = telemetry.iter().map(|(_, json)| json.to_string()).collect();
    let twice = telemetry.len() - distinct.len();
    assert!(late > 50, "{late} late");
    assert!(twice > 5 && twice < telemetry.len() / 100, "{twice} twice of {}", telemetry.len());
}

#[test]
fn truth_is_in_the_events() {
    let (attacks, records) = play(&plan(150, 5, 11, Attacks::All));
    assert!(attacks.len() > 50, "{}", attacks.len());
    let text: Vec<String> =
        records.iter().map(|record| String::from_utf8(record.payload.clone()).unwrap()).collect();
    let words: BTreeSet<&str> =
        text.iter().flat_map(|text| text.split(['"', '/'])).filter(|word| word.len() > 3).collect();
    let missing: Vec<String> = attacks
        .iter()
        .flat_map(|attack| attack.entities.iter().map(move |target| (attack, target)))
        .filter(|(_, target)| !words.contains(target.value.rsplit('/').next().unwrap()))
        .map(|(attack, target)| format!("{}/{}: {}", attack.class, attack.variant, target.value))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
    for attack in &attacks {
        assert!((MONDAY..=MONDAY + 5 * HOUR).contains(&attack.start_ms) && attack.start_ms <= attack.end_ms);
    }
}

#[test]
fn a_day_has_room_for_every_attack_and_nobody_is_attacked_twice() {
    let simulation = Simulation::new(&plan(2_000, 24, 1, Attacks::All)).unwrap();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut victims: BTreeMap<&str, &str> = BTreeMap::new();
    for attack in simulation.attacks() {
        *counts.entry((&attack.class, &attack.variant)).or_default() += 1;
        for target in attack.entities.iter().filter(|target| target.kind == "vehicle" || target.kind == "ip")
        {
            let other = victims.insert(&target.value, &attack.id);
            assert_eq!(other, None, "{} and {} share {}", attack.id, other.unwrap_or_default(), target.value);
        }
    }
    for (class, variants) in classes() {
        for variant in variants {
            assert_eq!(counts.get(&(class, variant)), Some(&2), "{class}/{variant}");
        }
    }
}

#[test]
fn attacks_are_chosen_by_name() {
    let of = |attacks| Simulation::new(&plan(100, 12, 1, attacks)).map(|s| s.attacks().to_vec());
    let these = |name: &str| of(Attacks::These(vec![name.to_owned()]));
    assert_eq!(of(Attacks::None).unwrap(), []);
    let found: BTreeSet<String> =
        these("uds-bruteforce").unwrap().into_iter().map(|attack| attack.variant).collect();
    assert_eq!(found, ["noisy", "plain", "slow", "spread"].map(String::from).into());
    assert_eq!(these("uds-bruteforce/slow").unwrap().len(), 1);
    assert!(these("uds-brute").unwrap_err().contains("uds-bruteforce"));
}

/// Honest life does not change because somebody else is attacked.
#[test]
fn an_attack_changes_only_its_victims() {
    let lines = |attacks| {
        let (played, records) = play(&plan(20, 3, 2, attacks));
        let of_cars = records.into_iter().filter(|record| record.stream == Stream::Telemetry);
        let texts: BTreeSet<String> =
            of_cars.map(|record| String::from_utf8(record.payload).unwrap()).collect();
        (played, texts)
    };
    let (_, quiet) = lines(Attacks::None);
    let (attacks, loud) = lines(Attacks::These(vec!["uds-bruteforce/plain".into()]));
    let victims: Vec<&str> =
        attacks.iter().flat_map(|attack| attack.entities.iter().map(|of| of.value.as_str())).collect();
    assert_eq!(attacks.len(), 1);
    let strange: Vec<&String> = quiet
        .symmetric_difference(&loud)
        .filter(|line| !victims.iter().any(|victim| line.contains(victim)))
        .collect();
    assert_eq!(strange, Vec::<&String>::new());
}
