//! How fast records become rows: the decoder against its slow twin, `arrow-json`, and `serde_json` into a
//! struct written by hand and into its own `Value`. Each run asserts how many rows came out.
//!
//! `cargo bench --bench decode`; events and bytes a second are printed per case. Not measured: reading files
//! or Kafka, rules.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fleetwarden::decode::JsonDecoder;
use fleetwarden::event::{Limits, PartitionId, Record, Timestamp};
use fleetwarden::schema::{Schema, arrow_type, built_in};
use serde::Deserialize;

const EVENTS: usize = 8192;

/// What four columns of telemetry are, written by hand. Texts that need no change are borrowed.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Four<'a> {
    #[serde(borrow)]
    vin: Option<std::borrow::Cow<'a, str>>,
    ts: Option<i64>,
    speed: Option<f64>,
    ignition: Option<std::borrow::Cow<'a, str>>,
}

/// All columns that the events have.
#[derive(Deserialize)]
#[allow(dead_code)]
struct All<'a> {
    #[serde(borrow)]
    vin: Option<&'a str>,
    ts: Option<i64>,
    seq: Option<i64>,
    device_id: Option<&'a str>,
    boot_id: Option<&'a str>,
    src_ip: Option<&'a str>,
    model: Option<&'a str>,
    region: Option<&'a str>,
    firmware: Option<&'a str>,
    ignition: Option<&'a str>,
    gear: Option<&'a str>,
    speed: Option<f64>,
    odometer: Option<f64>,
    rpm: Option<f64>,
    throttle: Option<f64>,
    brake: Option<f64>,
    steering_deg: Option<f64>,
    accel_long: Option<f64>,
    accel_lat: Option<f64>,
    lat: Option<f64>,
    lon: Option<f64>,
    heading: Option<f64>,
    fix_type: Option<i64>,
    battery_v: Option<f64>,
    doors_locked: Option<bool>,
    dtc_count: Option<i64>,
    dtc_list: Option<Vec<&'a str>>,
    soc: Option<f64>,
    charging: Option<bool>,
    alarm_flags: Option<i64>,
}

/// Events of about 500 bytes, each a little different.
fn telemetry() -> Vec<String> {
    (0..EVENTS)
        .map(|i| {
            let tenth = |n: usize| (i * 7 + n) % 1800;
            format!(
                concat!(
                    r#"{{"vin":"XFWESWMHASL1{:05}","ts":{},"seq":{},"device_id":"tcu-7a7d{:04x}","boot_id":"e4167c","#,
                    r#""src_ip":"100.89.{}.{}","model":"Aurora E3","region":"IT","firmware":"tcu-4.1.9","#,
                    r#""ignition":"on","gear":"D","speed":{}.{},"odometer":{}.19,"rpm":{},"throttle":{}.5,"#,
                    r#""brake":0,"steering_deg":-{}.25,"accel_long":0.{:03},"accel_lat":-0.0{},"#,
                    r#""lat":45.4{:04},"lon":9.1{:05},"heading":{},"fix_type":3,"battery_v":12.{},"#,
                    r#""doors_locked":true,"dtc_count":0,"dtc_list":[],"soc":55.5,"charging":false,"alarm_flags":0}}"#
                ),
                i,
                1_748_851_199_304_u64 + i as u64,
                88_916 + i,
                i % 65_536,
                i % 256,
                i % 251,
                tenth(0) / 10,
                tenth(0) % 10,
                142_819 + i,
                800 + tenth(1),
                tenth(2) % 100,
                tenth(3) % 45,
                tenth(4) % 1000,
                tenth(5) % 10,
                i % 10_000,
                i,
                tenth(6) % 360,
                tenth(7) % 10,
            )
        })
        .collect()
}

/// CloudTrail as it is delivered: one event a record, in a list.
fn cloudtrail() -> Vec<String> {
    let lines = include_str!("../testdata/demo/cloudtrail.ndjson").lines();
    let records: Vec<&str> = lines
        .filter_map(|line| line.split_once("\"v\":"))
        .filter_map(|(_, record)| record.strip_suffix('}'))
        .collect();
    records.iter().cycle().take(EVENTS / 4).map(|record| (*record).to_owned()).collect()
}

fn schema(name: &str) -> Arc<Schema> {
    built_in().into_iter().find(|schema| &*schema.name == name).unwrap()
}

/// Which fields are built: those of these names, or all.
fn projection(schema: &Schema, names: &[&str]) -> Vec<bool> {
    schema.fields.iter().map(|field| names.is_empty() || names.contains(&field.name.as_str())).collect()
}

fn push_all(decoder: &mut JsonDecoder, records: &[String], sources: &Arc<[PartitionId]>) -> usize {
    for (position, record) in (0..).zip(records) {
        let payload = record.as_bytes();
        let broker_time = Timestamp(1_800_000_000_000_000);
        let offset = i64::from(position);
        decoder.push(&Record { source: 0, offset, broker_time, payload, broken: None }, position);
    }
    let decoded = decoder.finish(sources);
    assert_eq!(decoded.rejects.len(), 0);
    black_box(&decoded.batch.columns).num_rows()
}

/// The same projection for `arrow-json`, which takes neither lists in records nor paths.
fn arrow_decoder(schema: &Schema, projection: &[bool]) -> arrow::json::reader::Decoder {
    let fields = schema.fields.iter().zip(projection).filter(|(_, built)| **built).map(|(field, _)| {
        let is_time = matches!(field.kind, fleetwarden::schema::FieldType::Time(_));
        let kind = if is_time { DataType::Int64 } else { arrow_type(field.kind.logical()) };
        Field::new(&field.name, kind, true)
    });
    let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
    arrow::json::ReaderBuilder::new(schema).with_batch_size(EVENTS).build_decoder().unwrap()
}

fn arrow_rows(decoder: &mut arrow::json::reader::Decoder, records: &[String]) -> usize {
    for record in records {
        assert_eq!(decoder.decode(record.as_bytes()).unwrap(), record.len());
    }
    black_box(decoder.flush().unwrap().unwrap()).num_rows()
}

struct Case<'a> {
    name: &'a str,
    records: &'a [String],
    rows: usize,
}

/// Measures each in turn, then says how they compare.
fn measure(criterion: &mut Criterion, case: &Case<'_>, runs: &mut [(&str, &mut dyn FnMut() -> usize)]) {
    let bytes: usize = case.records.iter().map(String::len).sum();
    let mut group = criterion.benchmark_group(format!("decode/{}", case.name));
    group.throughput(Throughput::Bytes(bytes as u64)).sample_size(20);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for (name, run) in runs.iter_mut() {
        group.bench_function(*name, |bencher| bencher.iter(|| assert_eq!(run(), case.rows)));
    }
    group.finish();
    if std::env::args().skip(1).ne(["--bench".to_owned()]) {
        return;
    }
    // In turns, so that what else the machine does weighs on all alike.
    let mut best = vec![f64::INFINITY; runs.len()];
    for _ in 0..30 {
        for ((_, run), best) in runs.iter_mut().zip(&mut best) {
            let start = Instant::now();
            assert_eq!(run(), case.rows);
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    println!("{}: {} events of {} bytes", case.name, case.rows, bytes / case.rows);
    for ((name, _), time) in runs.iter().zip(&best) {
        let (events, megabytes) = (case.rows as f64 / time / 1e6, bytes as f64 / time / 1e6);
        let ratio = time / best.first().unwrap_or(time);
        println!(
            "  {name:<14} {events:>7.2} M events/s {megabytes:>8.0} MB/s   the decoder is {ratio:.2} times as fast"
        );
    }
}

fn compare(criterion: &mut Criterion) {
    let sources: Arc<[PartitionId]> = Arc::from([PartitionId { stream: "bench".into(), index: 0 }]);
    let records = telemetry();
    let schema = schema("telemetry");
    for (name, columns) in [("telemetry_4", &["vin", "ts", "speed", "ignition"][..]), ("telemetry_all", &[])]
    {
        let projection = projection(&schema, columns);
        let mut fast = JsonDecoder::new(schema.clone(), projection.clone(), &Limits::default());
        let mut slow = JsonDecoder::thorough(schema.clone(), projection.clone(), &Limits::default());
        let mut arrow = arrow_decoder(&schema, &projection);
        let case = Case { name, records: &records, rows: EVENTS };
        let by_hand: &mut dyn FnMut() -> usize = if columns.is_empty() {
            &mut || of::<All<'_>>(&records)
        } else {
            &mut || of::<Four<'_>>(&records)
        };
        measure(
            criterion,
            &case,
            &mut [
                ("decoder", &mut || push_all(&mut fast, &records, &sources)),
                ("thorough", &mut || push_all(&mut slow, &records, &sources)),
                ("arrow-json", &mut || arrow_rows(&mut arrow, &records)),
                ("serde struct", by_hand),
                ("serde value", &mut || of::<serde_json::Value>(&records)),
            ],
        );
        assert_eq!(fast.reread(), 0);
    }
}

/// Each record as a value of its own.
fn of<'a, T: Deserialize<'a>>(records: &'a [String]) -> usize {
    let read = |record: &&'a String| serde_json::from_slice::<T>(record.as_bytes()).map(black_box).is_ok();
    records.iter().filter(read).count()
}

fn compare_cloudtrail(criterion: &mut Criterion) {
    let sources: Arc<[PartitionId]> = Arc::from([PartitionId { stream: "bench".into(), index: 0 }]);
    let records = cloudtrail();
    let schema = schema("cloudtrail");
    let events = |record: &String| {
        serde_json::from_str::<serde_json::Value>(record).unwrap()["Records"].as_array().unwrap().len()
    };
    let rows: usize = records.iter().map(events).sum();
    let some = ["ts", "event_name", "user_arn", "source_ip", "error_code", "mfa_authenticated"];
    for (name, columns) in [("cloudtrail_6", &some[..]), ("cloudtrail_all", &[])] {
        let projection = projection(&schema, columns);
        let mut fast = JsonDecoder::new(schema.clone(), projection.clone(), &Limits::default());
        let mut slow = JsonDecoder::thorough(schema.clone(), projection, &Limits::default());
        let case = Case { name, records: &records, rows };
        measure(
            criterion,
            &case,
            &mut [
                ("decoder", &mut || push_all(&mut fast, &records, &sources)),
                ("thorough", &mut || push_all(&mut slow, &records, &sources)),
                ("serde value", &mut || {
                    of::<serde_json::Value>(&records);
                    rows
                }),
            ],
        );
        assert_eq!(fast.reread(), 0);
    }
}

criterion_group!(benches, compare, compare_cloudtrail);
criterion_main!(benches);
