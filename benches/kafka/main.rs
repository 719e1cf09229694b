//! Consumers of one topic that do more and more: `bare` only counts bytes, `decode` only decodes the columns that the
//! shipped rules read, `run` is what `fleetwarden run` runs, with all rules and a file as its sink. `produce` fills the
//! topic. `benches/kafka/run` starts the broker and calls all of it; by itself (`cargo bench`) this does nothing.
//!
//! `bench BROKERS MODE TOPIC PARTITIONS RECORDS`; prints one line of JSON.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleetwarden::decode::JsonDecoder;
use fleetwarden::event::{Limits, PartitionId, Record};
use fleetwarden::kafka::{Cluster, Consumer, Note, Polled, Settings, Topics};
use fleetwarden::rule::{self, RuleSet};
use fleetwarden::runtime::delivery::Outlet;
use fleetwarden::runtime::run::{Plan, Running, edges, without};
use fleetwarden::runtime::worker::Compiled;
use fleetwarden::schema::{Schema, built_in};
use fleetwarden::sink::Item;
use fleetwarden::sink::channel::Channel;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

/// Cars that speak in turn.
const CARS: u64 = 20_000;

/// One record of so many is an attack, each on a car of its own.
const ATTACK_EVERY: u64 = 20_000;

/// Records that are decoded into one batch, as a worker does.
const BATCH: u32 = 8_192;

struct Task {
    brokers: String,
    topic: String,
    partitions: u64,
    records: u64,
}

/// What one consumer read, and in which time: from the first record to the last.
#[derive(Default)]
struct Read {
    records: u64,
    bytes: u64,
    events: u64,
    alerts: u64,
    seconds: f64,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [brokers, mode, topic, partitions, records] = words.as_slice() else {
        println!("the broker is started by benches/kafka/run");
        return;
    };
    let number = |text: &String| text.parse().unwrap();
    let task = Task {
        brokers: brokers.clone(),
        topic: topic.clone(),
        partitions: number(partitions),
        records: number(records),
    };
    let read = match mode.as_str() {
        "produce" => return produce(&task),
        "bare" => bare(&task),
        "decode" => decode(&task),
        "run" => run(&task),
        other => panic!("no mode {other}"),
    };
    println!(
        r#"{{"records":{},"bytes":{},"events":{},"alerts":{},"seconds":{}}}"#,
        read.records, read.bytes, read.events, read.alerts, read.seconds
    );
}

/// A record of about 500 bytes, as telematics units send them: a car reports once in ten seconds.
fn telemetry(i: u64, began: u64) -> String {
    let (car, round) = (i % CARS, i / CARS);
    let ts = began + round * 10_000 + car / 2;
    let attack = i % ATTACK_EVERY == ATTACK_EVERY - 1;
    let vin = if attack { format!("XFWEATTACKL{i:06}") } else { format!("XFWESWMHASL1{car:05}") };
    message(&vin, if attack { "P" } else { "D" }, ts, i, round)
}

fn message(vin: &str, gear: &str, ts: u64, i: u64, round: u64) -> String {
    let tenth = |n: u64| (i * 7 + n) % 1800;
    format!(
        concat!(
            r#"{{"vin":"{}","ts":{},"seq":{},"device_id":"tcu-7a7d{:.6}","boot_id":"e4167c","#,
            r#""src_ip":"100.89.{}.{}","model":"Aurora E3","region":"IT","firmware":"tcu-4.1.9","#,
            r#""ignition":"on","gear":"{}","speed":{}.{},"odometer":{}.19,"rpm":{},"throttle":{}.5,"#,
            r#""brake":0,"steering_deg":-{}.25,"accel_long":0.{:03},"accel_lat":-0.0{},"#,
            r#""lat":45.4{:04},"lon":9.1{:05},"heading":{},"fix_type":3,"battery_v":12.{},"#,
            r#""doors_locked":true,"dtc_count":0,"dtc_list":[],"soc":55.5,"charging":false,"alarm_flags":0}}"#
        ),
        vin,
        ts,
        88_916 + round,
        &vin[vin.len() - 6..],
        i % 256,
        i % 251,
        gear,
        30 + tenth(0) / 20,
        tenth(0) % 10,
        142_819 + round,
        800 + tenth(1),
        tenth(2) % 100,
        tenth(3) % 45,
        tenth(4) % 1000,
        tenth(5) % 10,
        i % 10_000,
        i % 100_000,
        tenth(6) % 360,
        tenth(7) % 10,
    )
}

/// Fills the topic, partition after car; each partition begins and ends with an attack whose alert tells the time.
fn produce(task: &Task) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &task.brokers)
        .set("compression.type", "lz4")
        .set("linger.ms", "50")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "500000")
        .create()
        .unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let began = now - (task.records / CARS + 1) * 10_000 - 60_000;
    let mut bytes = 0;
    let mut send = |partition: u64, payload: &str| {
        bytes += payload.len();
        let record = BaseRecord::<(), str>::to(&task.topic).partition(partition as i32).payload(payload);
        let mut waiting = Some(record);
        while let Some(record) = waiting.take() {
            if let Err((error, back)) = producer.send(record) {
                assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                producer.poll(Duration::from_millis(20));
                waiting = Some(back);
            }
        }
        producer.poll(Duration::ZERO);
    };
    for (name, at) in [("MARKBEGIN", began), ("MARKEND", now - 60_000)] {
        if name == "MARKEND" {
            for i in 0..task.records - 2 * task.partitions {
                send(i % CARS % task.partitions, &telemetry(i, began));
            }
        }
        for partition in 0..task.partitions {
            send(partition, &message(&format!("{name}{partition:08}"), "P", at, 0, 0));
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    let attacks = (task.records - 2 * task.partitions) / ATTACK_EVERY + 2 * task.partitions;
    println!(r#"{{"records":{},"bytes":{bytes},"alerts":{attacks}}}"#, task.records);
}

/// Counts bytes, with the settings that served this best.
fn bare(task: &Task) -> Read {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &task.brokers)
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.message.max.bytes", "4194304")
        .set("queued.max.messages.kbytes", "262144")
        .set("check.crcs", "false")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..task.partitions {
        list.add_partition_offset(&task.topic, partition as i32, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut read, mut began) = (Read::default(), None);
    while read.records < task.records {
        let message = consumer.poll(Duration::from_secs(30)).unwrap().unwrap();
        began.get_or_insert_with(Instant::now);
        read.records += 1;
        read.bytes += message.payload().map_or(0, <[u8]>::len) as u64;
    }
    read.seconds = began.unwrap().elapsed().as_secs_f64();
    read
}

/// The shipped rules of the topic's stream, or those of the folder that `RULES` names.
fn rules(schemas: &[Arc<Schema>]) -> RuleSet {
    let folder = std::env::var("RULES").unwrap_or_else(|_| "rules".to_owned());
    let loaded = rule::load(&rule::file::read(&[folder.into()]).unwrap(), schemas);
    assert_eq!(loaded.problems, []);
    let others = loaded.rules.rules.iter().filter(|rule| &*rule.stream != "telemetry");
    let others: Vec<String> = others.map(|rule| rule.info.id.clone()).collect();
    without(&loaded.rules, &others, schemas)
}

fn settings(task: &Task, group: &str) -> (Settings, Topics) {
    let topics = Topics::new([("telemetry".into(), task.topic.clone())]).unwrap();
    (Settings { group: group.into(), ..Settings::new(&task.brokers) }, topics)
}

/// All of it. Each partition's first and last record is an attack: the time between their alerts is what it took.
fn run(task: &Task) -> Read {
    let schemas = built_in();
    let (kafka, topics) = settings(task, &format!("run-{}", std::process::id()));
    let file = std::env::temp_dir().join(format!("fleetwarden-bench-{}.ndjson", std::process::id()));
    let sink = format!("type = \"file\"\npath = \"{}\"\n", file.display());
    let sink = fleetwarden::sink::open(&toml::from_str(&sink).unwrap()).unwrap();
    let (tap, alerts) = std::sync::mpsc::channel();
    let runtime = edges().unwrap();
    let journal = Cluster::open(&kafka, runtime.handle()).unwrap().ensure_journal(&kafka.journal()).unwrap();
    let compiled = Compiled { rules: rules(&schemas).into(), schemas: schemas.into() };
    let sinks = vec![Outlet::new("file", sink), Outlet::new("tap", Box::new(Channel(tap)))];
    let plan = Plan { journal, sinks, ..Plan::passing(kafka, topics, compiled).unwrap() };
    let running = Running::start(plan, runtime).unwrap();
    let (mut began, mut ended, mut ends, mut count) = (i64::MAX, i64::MIN, 0, 0);
    while ends < task.partitions {
        let Item { alert, detected } = alerts.recv_timeout(Duration::from_secs(60)).unwrap();
        let vin = format!("{:?}", alert.key);
        (began, ended) = (began.min(detected.0), ended.max(detected.0));
        ends += u64::from(vin.contains("MARKEND"));
        count += 1;
    }
    let seconds = (ended - began) as f64 / 1e6;
    // What is counted is published once a second.
    std::thread::sleep(Duration::from_millis(1500));
    count += alerts.try_iter().count();
    let mut read = Read { records: 0, bytes: 0, events: 0, alerts: count as u64, seconds };
    for counters in running.overview().workers.iter().flat_map(|worker| worker.totals.partitions.values()) {
        read.records += counters.records;
        read.bytes += counters.bytes;
        read.events += counters.events;
    }
    // The file's reader comes when it comes.
    while running.overview().sinks[0].delivered < count as u64 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(running.stop());
    let lines = std::fs::read_to_string(&file).unwrap().lines().count();
    assert_eq!(lines, count, "all alerts are in the file");
    std::fs::remove_file(&file).unwrap();
    read
}

/// Only decodes, by the consumer and the decoder of the engine.
fn decode(task: &Task) -> Read {
    let schemas = built_in();
    let projection = rules(&schemas).scans["telemetry"].projection();
    let schema = schemas.into_iter().find(|schema| &*schema.name == "telemetry").unwrap();
    let mut decoder = JsonDecoder::new(schema, projection, &Limits::default());
    let (settings, topics) = settings(task, &format!("decode-{}", std::process::id()));
    let consumer = Consumer::open(&settings, &topics.into(), &Arc::default(), "decode").unwrap();
    let mut waiting: Vec<PartitionId> = Vec::new();
    let sources: Arc<[PartitionId]> = Arc::from([PartitionId { stream: "telemetry".into(), index: 0 }]);
    let (mut read, mut began) = (Read::default(), None);
    let mut position = 0;
    while read.records < task.records {
        if let Polled::Message(message) = consumer.poll(Duration::from_millis(20)) {
            began.get_or_insert_with(Instant::now);
            read.records += 1;
            let payload = message.payload();
            read.bytes += payload.len() as u64;
            let (offset, broker_time) = (message.offset(), message.broker_time());
            decoder.push(&Record { source: 0, offset, broker_time, payload, broken: None }, position);
            position += 1;
        }
        if position == BATCH || (position > 0 && read.records == task.records) {
            position = 0;
            read.events += black_box(decoder.finish(&sources)).batch.columns.num_rows() as u64;
        }
        for note in consumer.notes() {
            if let Note::Assigned(partitions) = note {
                waiting.extend(partitions);
            }
        }
        waiting.retain(|partition| consumer.start(partition, 0).is_err());
    }
    read.seconds = began.unwrap().elapsed().as_secs_f64();
    read
}
