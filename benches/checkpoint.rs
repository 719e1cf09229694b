//! What it costs to save and to restore a million keys of a threshold rule: what the worker's thread does, in
//! slices between its batches, and what another thread does.
//!
//! `cargo bench --bench checkpoint`; `--bars` ends with code 1 when a bar is missed. Not measured: Kafka, decoding,
//! scanning; several partitions, which come one after the other.

mod common;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Options;
use common::fleet::START;
use fleetwarden::checkpoint::{Store, decode, encode, store};
use fleetwarden::decode::JsonDecoder;
use fleetwarden::diagnostic::{Gravity, Source};
use fleetwarden::event::{Checkpoint, Limits, Mark, PartitionId, Picked, Record, Slice, Timestamp};
use fleetwarden::pipeline::{Input, Pipeline};
use fleetwarden::rule::{RuleFile, RuleSet, load};
use fleetwarden::schema::{self, Schema};

/// Rows of a batch: as many as a worker takes at once.
const BATCH: usize = 8192;

/// Keys of the rule.
const KEYS: u64 = 1_000_000;

/// Bytes that one slice saves.
const SLICE: usize = 512 << 10;

fn schemas() -> Vec<Arc<Schema>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/schemas/t.toml");
    let text = std::fs::read_to_string(path).unwrap();
    schema::load(&[Source { path: "t.toml".into(), text }]).0
}

fn rules(having: &str) -> RuleSet {
    let text = format!(
        "title = \"x\"\nseverity = \"low\"\nrisk = 1\nstream = \"t\"\nblind_spots = \"x\"\ntriage = \"x\"\n\
         [threshold]\nkey = [\"k\"]\nwindow = \"1h\"\nhaving = \"{having}\"\n"
    );
    let loaded = load(&[RuleFile { source: Source { path: "r.toml".into(), text } }], &schemas());
    assert!(loaded.problems.iter().all(|p| p.gravity != Gravity::Error), "{:#?}", loaded.problems);
    loaded.rules
}

/// A partition, and batches that all its keys speak in, over and over.
struct Case {
    rules: RuleSet,
    sources: Vec<PartitionId>,
    pipeline: Pipeline,
    batches: Vec<Picked>,
    next: usize,
    offset: i64,
}

impl Case {
    /// After all keys have spoken twice.
    fn new(having: &str) -> Case {
        let rules = rules(having);
        let sources = vec![PartitionId { stream: "t".into(), index: 0 }];
        let pipeline = Pipeline::new(sources[0].clone(), false, &rules, &[0], &Limits::default());
        let batches = picked(&rules, &sources);
        let mut case = Case { rules, sources, pipeline, batches, next: 0, offset: 0 };
        (0..2 * case.batches.len()).for_each(|_| case.apply());
        case
    }

    /// One batch.
    fn apply(&mut self) {
        let picked = &self.batches[self.next % self.batches.len()];
        self.next += 1;
        let rows = Slice { picked, from: 0, to: picked.rows.len(), exchange: false };
        self.offset += rows.len() as i64;
        let marks = [Mark { now: rows.now(rows.len() - 1), position: 0 }];
        let input = Input::Rows { picked: &[(0, rows)], marks: &marks, next_offset: self.offset };
        self.pipeline.apply(input, &self.sources, &mut Vec::new());
    }

    fn save_some(&mut self) -> Option<Checkpoint> {
        self.pipeline.save_some(&self.sources, &mut SLICE.clone())
    }
}

/// Every key once, at one time: windows stay as they are however often they are folded.
fn picked(rules: &RuleSet, sources: &[PartitionId]) -> Vec<Picked> {
    let schema = schemas().remove(0);
    let mut decoder =
        JsonDecoder::new(schema.clone(), rules.scans[&schema.name].projection(), &Limits::default());
    let keys: Vec<u64> = (0..KEYS).collect();
    let mut all = Vec::new();
    for keys in keys.chunks(BATCH) {
        for (key, position) in keys.iter().zip(0..) {
            // All over the memory: keys do not speak in the order in which they came first.
            let (key, time) = (key.wrapping_mul(7_919) % KEYS, START * 1000);
            let text = format!(
                r#"{{"ts":{time},"k":"XFWESWMHA{key:08}","acct":"acct-{}","x":1.5,"n":1.0,"m":1}}"#,
                key % 7
            );
            let offset = key as i64;
            let (broker_time, payload) = (Timestamp(time), text.as_bytes());
            decoder.push(&Record { source: 0, offset, broker_time, payload, broken: None }, position);
        }
        let mut batch = decoder.finish(&Arc::from(sources)).batch;
        batch.now = batch.names.iter().map(|name| name.broker_time).collect();
        batch.exchange_now = batch.now.clone();
        all.extend(rules.scan(&Arc::new(batch)).into_iter().map(|(_, picked, _)| picked));
    }
    all
}

/// Prints a figure and its bar; whether it holds.
fn say(what: &str, milliseconds: f64, bar: Option<f64>) -> bool {
    let missed = bar.is_some_and(|bar| milliseconds > bar);
    let bar = bar.map_or(String::new(), |bar| format!("   bar {bar}"));
    println!("  {what:<58} {milliseconds:>9.1} ms{bar}{}", if missed { ", missed" } else { "" });
    !missed
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_secs_f64() * 1e3)
}

fn quantile(times: &mut [f64], part: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * part) as usize]
}

/// The store's own thread: what is async is waited for here.
fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap().block_on(work)
}

/// Save in slices between batches, write, read, load: true if all bars are held.
fn round_trip(options: &Options, having: &str) -> bool {
    let name = format!("checkpoint of 1,000,000 keys: {having}");
    if !options.wants(&name) {
        return true;
    }
    println!("{name}");
    let mut case = Case::new(having);
    let mut alone: Vec<f64> = (0..case.batches.len()).map(|_| timed(|| case.apply()).1).collect();
    let (mut slices, mut between) = (Vec::new(), Vec::new());
    let cut = loop {
        let (done, time) = timed(|| case.save_some());
        slices.push(time);
        if let Some(cut) = done {
            break cut;
        }
        between.push(timed(|| case.apply()).1);
    };
    let mut good = true;
    let all = slices.iter().sum::<f64>() + between.iter().sum::<f64>();
    let usual = alone.iter().sum::<f64>() / alone.len() as f64;
    let cost = all - usual * between.len() as f64;
    say("on the worker: all slices, and what batches took longer", cost, None);
    say("on the worker: slice, median", quantile(&mut slices, 0.5), None);
    good &= say("on the worker: slice, p99", quantile(&mut slices, 0.99), Some(5.0));
    say("on the worker: slice, longest", quantile(&mut slices, 1.0), None);
    say("a batch of 8192 rows alone, p99", quantile(&mut alone, 0.99), None);
    say("a batch of 8192 rows between slices, p99", quantile(&mut between, 0.99), None);
    good & background(&case, &cut)
}

fn background(case: &Case, cut: &Checkpoint) -> bool {
    let folder = std::env::temp_dir().join(format!("fleetwarden-bench-{}", std::process::id()));
    let place = folder.to_str().unwrap();
    let store = wait(Store::open(place)).unwrap();
    let name = store::name(cut, 1);
    let (bytes, encoding) = timed(|| encode(cut).unwrap());
    println!("  {} MB, {} bytes a key", bytes.len() / 1_000_000, bytes.len() as u64 / KEYS);
    let (_, writing) = timed(|| wait(store.put(&name, bytes)).unwrap());
    say("in the background: checks and bytes", encoding, None);
    say("in the background: to the disk", writing, None);
    let mut good = say("in the background: together", encoding + writing, Some(2000.0));
    let (bytes, reading) = timed(|| wait(store.get(&name)).unwrap());
    let (saved, decoding) = timed(|| decode(&bytes).unwrap());
    let limits = Limits::default();
    let from = (&saved.checkpoint, case.sources.as_slice());
    let ((pipeline, cold), loading) = timed(|| Pipeline::load(&case.rules, &[0], false, &limits, from));
    assert_eq!(cold, Vec::<String>::new());
    let again = pipeline.save(&case.sources);
    let rows: usize = again.tables[0].detector.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(rows as u64, KEYS);
    say("restore: read", reading, None);
    say("restore: checks", decoding, None);
    say("restore: load", loading, None);
    good &= say("restore: together", reading + decoding + loading, Some(1500.0));
    std::fs::remove_dir_all(folder).unwrap();
    good
}

/// Rows a second for ten seconds, with one checkpoint of all keys in them and without.
fn throughput(options: &Options) -> bool {
    let name = "throughput with a checkpoint every 10 s";
    if !options.wants(name) {
        return true;
    }
    let seconds = if options.rounds > 1 { 10 } else { 1 };
    let mut case = Case::new("count(*) >= 100000");
    let folder = std::env::temp_dir().join(format!("fleetwarden-bench-{}", std::process::id()));
    let store = wait(Store::open(folder.to_str().unwrap())).unwrap();
    let mut run = |saves: bool| {
        let (start, mut rows, mut left) = (Instant::now(), 0usize, saves);
        let mut writer = None;
        while start.elapsed() < Duration::from_secs(seconds) {
            case.apply();
            rows += BATCH;
            if left && let Some(cut) = case.save_some() {
                left = false;
                let store = store.clone();
                writer = Some(std::thread::spawn(move || {
                    wait(store.put(&store::name(&cut, 1), encode(&cut).unwrap())).unwrap();
                }));
            }
        }
        let speed = rows as f64 / start.elapsed().as_secs_f64();
        assert!(!left || seconds < 10, "the checkpoint was not done in time");
        writer.into_iter().for_each(|writer| writer.join().unwrap());
        speed
    };
    let (without, with) = (run(false), run(true));
    let ratio = with / without;
    let missed = if ratio < 0.95 && seconds == 10 { ", missed" } else { "" };
    println!(
        "{name}\n  without {without:.0} rows/s, with {with:.0} rows/s, ratio {ratio:.3}   bar 0.95{missed}"
    );
    std::fs::remove_dir_all(folder).unwrap();
    missed.is_empty()
}

fn main() -> ExitCode {
    let options = Options::from_command_line();
    let mut good = round_trip(&options, "count(*) >= 100");
    good &= round_trip(&options, "count(DISTINCT acct) >= 100");
    good &= throughput(&options);
    common::exit(&options, good)
}
