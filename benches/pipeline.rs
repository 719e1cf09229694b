//! What detection costs beside decoding: all shipped rules over cars that speak every second and over ten times as
//! many that speak every ten seconds (whose every message opens a pane in two rules), and 500 copies of them with literals of their own,
//! against a decoder that builds the columns which they read. One thread, records in memory.
//!
//! `cargo bench --bench pipeline`; `--bars` ends with code 1 when a ratio is below its bar. Not measured: files,
//! Kafka, sinks, and alerts as text.

mod common;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use common::fleet::Fleet;
use common::{Bench, Options};
use fleetwarden::decode::JsonDecoder;
use fleetwarden::diagnostic::{Gravity, Source};
use fleetwarden::event::{Limits, PartitionId, Record};
use fleetwarden::rule::{RuleFile, RuleSet, load, shipped};
use fleetwarden::runtime::replay::Replay;
use fleetwarden::schema::{Schema, built_in};

/// Messages of telemetry.
const MESSAGES: usize = 400_000;
const BATCH: usize = 8192;
const COPIES: usize = 500;

fn compiled(files: &[RuleFile], schemas: &[Arc<Schema>]) -> Arc<RuleSet> {
    let loaded = load(files, schemas);
    let errors: Vec<_> = loaded.problems.iter().filter(|p| p.gravity == Gravity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    Arc::new(loaded.rules)
}

/// The shipped rules on telemetry and diagnostics again and again, each with literals of its own: other models,
/// other firmware, other limits, other services.
fn copies() -> Vec<RuleFile> {
    let shipped = shipped::files();
    let text = |name: &str| {
        let file = shipped.iter().find(|file| file.source.path.contains(name)).unwrap();
        let text = file.source.text.split("[[test]]").next().unwrap();
        text.to_owned()
    };
    let park = text("vehicle-moves-in-park");
    let odometer = text("odometer-stands-still");
    let devices = text("vin-on-two-devices");
    let seeds = text("uds-seed-key-bruteforce");
    let copy = |i: usize| match i % 4 {
        0 => park.replace("> 5)", &format!("> {})", 130 + i)).replace("> 400)", &format!("> {})", 5000 + i)),
        1 => odometer.replace("where  = \"", &format!("where  = \"model = 'Model {i}' AND ")),
        2 => devices.replace("where  = \"", &format!("where  = \"firmware = 'tcu-5.{i}' AND ")),
        _ => seeds.replace("service = 39 OR event_id IN (102, 103)", &format!("service = {}", 1000 + i)),
    };
    let file = |i: usize| RuleFile { source: Source { path: format!("copy-{i}.toml"), text: copy(i) } };
    (0..COPIES).map(file).collect()
}

fn records(fleet: &Fleet) -> Vec<Record<'_>> {
    fn record(message: &common::fleet::Message) -> Record<'_> {
        Record {
            source: message.source,
            offset: message.offset,
            broker_time: message.broker_time,
            payload: &message.payload,
            broken: None,
        }
    }
    fleet.messages.iter().map(record).collect()
}

fn decode(fleet: &Fleet, records: &[Record<'_>], decoders: &mut BTreeMap<Arc<str>, JsonDecoder>) -> usize {
    let sources: Arc<[PartitionId]> = fleet.partitions.clone().into();
    let mut rows = 0;
    for batch in records.chunks(BATCH) {
        for (position, record) in (0..).zip(batch) {
            let stream = &sources[usize::from(record.source)].stream;
            decoders.get_mut(stream).unwrap().push(record, position);
        }
        for decoder in decoders.values_mut() {
            rows += decoder.finish(&sources).batch.names.len();
        }
    }
    rows
}

fn decoders(rules: &RuleSet, schemas: &[Arc<Schema>]) -> BTreeMap<Arc<str>, JsonDecoder> {
    let decoder = |schema: &Arc<Schema>| {
        let projection = rules.scans.get(&schema.name).map(|scan| scan.projection());
        let projection = projection.unwrap_or_else(|| vec![false; schema.fields.len()]);
        (schema.name.clone(), JsonDecoder::new(schema.clone(), projection, &Limits::default()))
    };
    schemas.iter().map(decoder).collect()
}

fn detect(fleet: &Fleet, records: &[Record<'_>], replay: &mut Replay, alerts: usize) -> usize {
    for (source, partition) in fleet.partitions.iter().enumerate() {
        assert_eq!(usize::from(replay.source(partition)), source);
    }
    let said: usize = records.chunks(BATCH).map(|batch| replay.push(batch).0.len()).sum();
    assert_eq!(said, alerts);
    replay.events() as usize
}

/// One case: its name, the rules, cars, milliseconds between their messages, alerts, the bar.
type Case = (&'static str, Arc<RuleSet>, usize, i64, usize, f64);

fn measure(
    options: &Options,
    schemas: &[Arc<Schema>],
    (name, rules, cars, every, alerts, bar): &Case,
) -> bool {
    if !options.wants(name) {
        return true;
    }
    let fleet = Fleet::new(*cars, MESSAGES / cars, *every);
    let records = records(&fleet);
    let replay = || Replay::new(rules.clone(), schemas, &Limits::default());
    Bench::new(name, records.len(), fleet.bytes())
        .prepared("decode and detect", None, replay, |replay| detect(&fleet, &records, replay, *alerts))
        .prepared(
            "decode only",
            Some(*bar),
            || decoders(rules, schemas),
            |decoders| decode(&fleet, &records, decoders),
        )
        .measure(options)
}

fn main() -> ExitCode {
    let options = Options::from_command_line();
    let schemas = built_in();
    let shipped = compiled(&shipped::files(), &schemas);
    let copies = compiled(&copies(), &schemas);
    let cases = [
        ("all shipped rules, 1,000 cars every second", shipped.clone(), 1000, 1000, 751, 0.6),
        ("all shipped rules, 10,000 cars every 10 s", shipped, 10_000, 10_000, 4339, 0.6),
        ("500 copies of the rules", copies, 1000, 1000, 0, 0.25),
    ];
    let good = cases.iter().fold(true, |good, case| measure(&options, &schemas, case) & good);
    common::exit(&options, good)
}
