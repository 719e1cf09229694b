//! One worker, four workers and `replay` say the same of the same records: the same alerts, ids and bodies.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fleetwarden::alert::Alert;
use fleetwarden::encode::plain;
use fleetwarden::event::{Limits, PartitionId, Record};
use fleetwarden::files::{Framing, Input, Line, Origin, read_all};
use fleetwarden::kafka::mock::Mock;
use fleetwarden::kafka::{Settings, Topics};
use fleetwarden::rule::{self, RuleSet, shipped};
use fleetwarden::runtime::delivery::Outlet;
use fleetwarden::runtime::replay::Replay;
use fleetwarden::runtime::run::{Plan, Running, edges};
use fleetwarden::runtime::worker::Compiled;
use fleetwarden::schema::{self, Schema};
use fleetwarden::sink::Item;
use fleetwarden::sink::channel::Channel;

/// Streams and their partitions. Not by vehicle, and so in one: CloudTrail.
const STREAMS: [(&str, u32); 3] = [("cloudtrail", 1), ("diagnostics", 4), ("telemetry", 4)];

const PATIENCE: Duration = Duration::from_secs(30);

/// The demo's records as a topic of several partitions would give them, a vehicle always in the same.
fn envelopes(stream: &str, partitions: u32) -> String {
    let path = format!("{}/testdata/demo/{stream}.ndjson", env!("CARGO_MANIFEST_DIR"));
    let mut next = vec![0u64; partitions as usize];
    let mut out = String::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let vin = json["v"]["vin"].as_str().unwrap_or_default();
        let partition = vin.bytes().map(u32::from).sum::<u32>() % partitions;
        let offset = &mut next[partition as usize];
        let (time, value) = (&json["_t"], line.split_once("\"v\":").unwrap().1);
        out.push_str(&format!("{{\"_t\":{time},\"_p\":{partition},\"_o\":{offset},\"v\":{value}\n"));
        *offset += 1;
    }
    out
}

fn rules(schemas: &[Arc<Schema>]) -> RuleSet {
    let loaded = rule::load(&shipped::files(), schemas);
    assert_eq!(loaded.problems, []);
    loaded.rules
}

fn sorted(alerts: impl IntoIterator<Item = Arc<Alert>>) -> Vec<String> {
    let mut lines: Vec<String> = alerts.into_iter().map(|alert| plain::line(&alert)).collect();
    lines.sort();
    lines
}

fn replayed(lines: &[Line], schemas: &[Arc<Schema>]) -> Vec<String> {
    let mut replay = Replay::new(Arc::new(rules(schemas)), schemas, &Limits::default());
    let mut alerts = Vec::new();
    for part in lines.chunks(100) {
        let sources: Vec<u16> = part.iter().map(|line| replay.source(&line.partition)).collect();
        let mut records = Vec::new();
        for (line, source) in part.iter().zip(sources) {
            let (offset, broker_time, payload) = (line.offset, line.broker_time, line.payload.as_slice());
            records.push(Record { source, offset, broker_time, payload, broken: None });
        }
        alerts.extend(replay.push(&records).0);
    }
    sorted(alerts)
}

/// Starts workers on the topics, which are empty, and waits until each owns some: partitions that change hands
/// later would begin cold.
fn start(mock: &Mock, schemas: &[Arc<Schema>], workers: usize) -> (Running, Receiver<Item>) {
    let (tap, alerts) = channel();
    let mut kafka = Settings::new(mock.brokers());
    // The in-process cluster answers a fetch only when its time is up, and lets members in when most of a
    // session is over.
    for (key, value) in
        [("fetch.wait.max.ms", "10"), ("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "300")]
    {
        kafka.consumer.0.insert(key.into(), value.into());
    }
    let topics = Topics::new(STREAMS.map(|(stream, _)| (stream.into(), stream.to_owned()))).unwrap();
    let compiled = Compiled { rules: Arc::new(rules(schemas)), schemas: schemas.into() };
    let mut plan = Plan::passing(kafka, topics, compiled).unwrap();
    plan.workers = workers;
    plan.sinks = vec![Outlet::new("test", Box::new(Channel(tap)))];
    let running = Running::start(plan, edges().unwrap()).unwrap();
    wait_until(&alerts, || {
        let owned: Vec<usize> = running.overview().workers.iter().map(|it| live(&it.partitions)).collect();
        owned.iter().sum::<usize>() == 9 && owned.iter().all(|n| *n > 0)
    });
    (running, alerts)
}

fn live(partitions: &std::collections::BTreeMap<PartitionId, fleetwarden::metrics::Reading>) -> usize {
    partitions.values().filter(|reading| reading.next_offset.is_some()).count()
}

/// Waits on the channel, through which nothing comes yet.
fn wait_until(alerts: &Receiver<Item>, ready: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < end, "the workers do not get their partitions");
        assert!(alerts.recv_timeout(Duration::from_millis(20)).is_err(), "an alert of nothing");
    }
}

/// What `workers` find; at least `wanted` alerts are waited for.
fn live_run(
    texts: &[(String, Vec<Line>)],
    schemas: &[Arc<Schema>],
    workers: usize,
    wanted: usize,
) -> Vec<String> {
    let mock = Mock::start().unwrap();
    for (stream, partitions) in STREAMS {
        mock.create_topic(stream, partitions as i32).unwrap();
    }
    mock.create_topic("fleetwarden.dead-letters", 1).unwrap();
    mock.create_topic("fleetwarden.journal", 1).unwrap();
    let (running, alerts) = start(&mock, schemas, workers);
    let mut sent = 0;
    for (stream, lines) in texts {
        for line in lines {
            mock.send(stream, line.partition.index, b"", &line.payload, line.broker_time).unwrap();
            sent += 1;
        }
    }
    mock.flush().unwrap();
    let (mut found, end) = (Vec::new(), Instant::now() + PATIENCE);
    let read = || running.overview().totals().partitions.values().map(|it| it.records).sum::<u64>();
    while read() < sent || found.len() < wanted {
        assert!(Instant::now() < end, "{} of {sent} records, {} of {wanted} alerts", read(), found.len());
        found.extend(alerts.recv_timeout(Duration::from_millis(20)));
    }
    assert!(running.stop());
    found.extend(alerts.try_iter());
    sorted(found.into_iter().map(|item| item.alert))
}

#[test]
fn one_worker_four_workers_and_replay_say_the_same() {
    let schemas = schema::built_in();
    let inputs = STREAMS.map(|(stream, partitions)| {
        let text = envelopes(stream, partitions).into_bytes();
        Input { stream: stream.into(), origin: Origin::Bytes(format!("{stream}.ndjson"), text.into()) }
    });
    let read = |inputs: &[Input]| read_all(inputs, &schemas, &Limits::default(), Framing::Lines).unwrap();
    let expected = replayed(&read(&inputs), &schemas);
    assert!(expected.len() > 10, "{} alerts", expected.len());
    let texts: Vec<(String, Vec<Line>)> =
        inputs.iter().map(|input| (input.stream.to_string(), read(std::slice::from_ref(input)))).collect();
    let wanted = expected.len();
    std::thread::scope(|scope| {
        // At once: a group takes seconds to form.
        let runs = [1, 4].map(|workers| {
            (
                workers,
                scope.spawn({
                    let (texts, schemas) = (&texts, &schemas);
                    move || live_run(texts, schemas, workers, wanted)
                }),
            )
        });
        for (workers, run) in runs {
            assert_eq!(run.join().unwrap(), expected, "{workers} workers");
        }
    });
}
