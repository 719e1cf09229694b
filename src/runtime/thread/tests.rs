//! The contract with Kafka, against an in-process cluster and a worker whose every answer is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use super::*;
use crate::alert::{Alert, RuleInfo, Severity};
use crate::event::{Reject, RejectReason, Stamp};
use crate::kafka::mock::Mock;
use crate::pipeline::Order;
use crate::runtime::delivery::{Parcel, Report};
use crate::runtime::worker::Said;

/// What a scripted worker has seen.
#[derive(Debug, Default)]
struct Seen {
    /// (partition, offset), in the order it came.
    records: Vec<(i32, i64)>,
    /// (partition, next offset) of every assignment.
    assigned: Vec<(i32, i64)>,
    revoked: Vec<i32>,
    acked: usize,
}

/// Alerts for `alert`, rejects `bad`, commits as soon as everything below has its outcome.
struct Script {
    seen: Arc<Mutex<Seen>>,
    sources: Vec<PartitionId>,
    progress: BTreeMap<PartitionId, Progress>,
}

#[derive(Default)]
struct Progress {
    next: i64,
    seq: u64,
    /// By seq: the offset that waits for it.
    open: BTreeMap<u64, i64>,
}

impl Progress {
    fn stamp(&mut self, source: &PartitionId, offset: i64) -> Stamp {
        self.seq += 1;
        self.open.insert(self.seq, offset);
        Stamp { source: source.clone(), epoch: 0, seq: self.seq }
    }

    fn safe(&self) -> i64 {
        self.open.values().min().copied().unwrap_or(self.next)
    }
}

impl Script {
    fn records(&mut self, records: &[Record<'_>], actions: &mut Vec<Action>) {
        for record in records {
            let source = self.sources[usize::from(record.source)].clone();
            let progress = self.progress.get_mut(&source).expect("records of an assigned partition only");
            assert!(record.offset >= progress.next, "{source}: {} after {}", record.offset, progress.next);
            progress.next = record.offset + 1;
            self.seen.lock().unwrap().records.push((source.index, record.offset));
            if record.payload.starts_with(b"alert") {
                let stamp = progress.stamp(&source, record.offset);
                let alert = Arc::new(alert(record.broker_time));
                actions.push(Action::Append(stamp, vec![Said { order: Order::default(), alert }]));
            } else if record.payload.starts_with(b"bad") {
                let stamp = progress.stamp(&source, record.offset);
                let reject = Reject {
                    source: record.source,
                    offset: record.offset,
                    broker_time: record.broker_time,
                    reason: RejectReason::Syntax,
                    at: 1,
                    detail: "it is bad".into(),
                    payload: record.payload.to_vec(),
                };
                actions.push(Action::DeadLetter(stamp, vec![reject]));
            }
        }
    }
}

impl Handler for Script {
    fn source(&mut self, partition: &PartitionId) -> u16 {
        let at = self.sources.iter().position(|known| known == partition).unwrap_or_else(|| {
            self.sources.push(partition.clone());
            self.sources.len() - 1
        });
        at as u16
    }

    fn handle(&mut self, signal: Signal<'_>, actions: &mut Vec<Action>) {
        match signal {
            Signal::Records(records) => self.records(records, actions),
            Signal::Assigned { partition, next_offset } => {
                self.seen.lock().unwrap().assigned.push((partition.index, next_offset));
                let fresh = Progress { next: next_offset, ..Progress::default() };
                assert!(self.progress.insert(partition.clone(), fresh).is_none(), "assigned twice");
                actions.push(Action::Seek(partition, next_offset));
            }
            Signal::Revoked(partition) => {
                self.seen.lock().unwrap().revoked.push(partition.index);
                self.progress.remove(&partition);
                actions.push(Action::Forget(partition));
            }
            Signal::Acked(stamp) => {
                self.seen.lock().unwrap().acked += 1;
                if let Some(progress) = self.progress.get_mut(&stamp.source) {
                    progress.open.remove(&stamp.seq).expect("acknowledged what is open");
                }
            }
            Signal::Clock(_) | Signal::Tick(_) => {}
        }
        for (partition, progress) in &self.progress {
            actions.push(Action::Commit(partition.clone(), progress.safe()));
        }
    }

    fn totals(&self) -> Totals {
        Totals::default()
    }
}

fn alert(time: Timestamp) -> Alert {
    let rule = RuleInfo {
        id: "r".into(),
        title: "R".into(),
        severity: Severity::Low,
        risk: 1,
        version: "00000000".into(),
        kind: "match",
        stream: "s".into(),
        r155: Vec::new(),
        atm: Vec::new(),
        attack: Vec::new(),
        triage: String::new(),
        blind_spots: String::new(),
        key: Vec::new(),
    };
    Alert {
        id: 0x1234,
        rule: Arc::new(rule),
        severity: Severity::Low,
        risk: 1,
        key: Vec::new(),
        entities: Vec::new(),
        window: None,
        time,
        broker_time: time,
        observed: Vec::new(),
        count: 1,
        folds: 0,
        evidence: Vec::new(),
        event: None,
    }
}

/// A cluster with one topic, and threads on it.
struct Stage {
    mock: Mock,
    partitions: i32,
    sent: Vec<i64>,
}

/// One running thread.
struct Running {
    seen: Arc<Mutex<Seen>>,
    status: Arc<Mutex<Status>>,
    stop: Arc<AtomicBool>,
    handle: JoinHandle<Result<(), Error>>,
}

fn settle(parcel: Parcel, back: &Sender<Report>) -> Result<(), Parcel> {
    // Whoever no longer listens does not care.
    back.send(Report::Settled(parcel.stamp)).ok();
    Ok(())
}

impl Stage {
    fn new(partitions: i32) -> Stage {
        let mock = Mock::start().unwrap();
        mock.create_topic("t", partitions).unwrap();
        mock.create_topic("fleetwarden.dead-letters", 1).unwrap();
        Stage { mock, partitions, sent: vec![0; partitions as usize] }
    }

    /// Sends `n` records, round robin.
    fn send(&mut self, n: usize, value: &str) {
        for i in 0..n {
            let partition = i % self.sent.len();
            let at = Timestamp::from_millis(1_700_000_000_000 + i as i64);
            self.mock.send("t", partition as i32, b"key", value.as_bytes(), at).unwrap();
            self.sent[partition] += 1;
        }
        self.mock.flush().unwrap();
    }

    fn thread(&self, settings: Settings, offer: Offer) -> Running {
        let (seen, status) = (Arc::<Mutex<Seen>>::default(), Arc::<Mutex<Status>>::default());
        let stop = Arc::new(AtomicBool::new(false));
        let setup = Setup {
            name: "test".into(),
            settings: Arc::new(settings),
            topics: Arc::new(Topics::new([("s".into(), "t".to_string())]).unwrap()),
            complaints: Arc::default(),
            worker: Script { seen: seen.clone(), sources: Vec::new(), progress: BTreeMap::new() },
            offer,
            status: status.clone(),
            stop: stop.clone(),
        };
        Running { seen, status, stop, handle: std::thread::spawn(move || run(setup)) }
    }

    /// With a session so short that the mock, which waits for almost all of it, lets members in soon; its
    /// first member waits three seconds.
    fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.mock.brokers());
        for (key, value) in [("session.timeout.ms", "4000"), ("heartbeat.interval.ms", "300")] {
            settings.consumer.0.insert(key.into(), value.into());
        }
        settings
    }

    fn usual(&self) -> Running {
        self.thread(self.settings(), Box::new(settle))
    }

    /// Every record of the topic, as (partition, offset).
    fn all(&self) -> BTreeSet<(i32, i64)> {
        (0..self.partitions).flat_map(|p| (0..self.sent[p as usize]).map(move |o| (p, o))).collect()
    }

    fn committed(&self) -> Vec<i64> {
        let of = |p| self.mock.committed("fleetwarden", "t", p).unwrap_or(-1);
        (0..self.partitions).map(of).collect()
    }
}

impl Running {
    fn wait(&self, what: &str, until: impl Fn(&Seen) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !until(&self.seen.lock().unwrap()) {
            assert!(!self.handle.is_finished(), "{what}: the thread has ended");
            assert!(Instant::now() < end, "{what}: {:?}", self.seen.lock().unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait_records(&self, n: usize) {
        self.wait("records", |seen| seen.records.len() >= n);
    }

    fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.handle.join().unwrap().unwrap();
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn once(records: &[(i32, i64)]) -> BTreeSet<(i32, i64)> {
    let set: BTreeSet<_> = records.iter().copied().collect();
    assert_eq!(set.len(), records.len(), "some came twice: {records:?}");
    set
}

/// Each waits for seconds most of its time: together they take as long as the longest.
#[test]
fn scenes() {
    let scenes: [(&str, fn()); 8] = [
        (
            "reading_goes_on_where_everything_had_its_outcome",
            reading_goes_on_where_everything_had_its_outcome,
        ),
        (
            "without_a_commit_latest_skips_what_is_there_and_remembers_that",
            without_a_commit_latest_skips_what_is_there_and_remembers_that,
        ),
        ("partitions_change_hands_without_a_gap", partitions_change_hands_without_a_gap),
        ("full_queues_stop_reading_and_lose_nothing", full_queues_stop_reading_and_lose_nothing),
        (
            "dead_letters_are_written_before_anything_behind_them_is_committed",
            dead_letters_are_written_before_anything_behind_them_is_committed,
        ),
        (
            "what_no_sink_has_taken_is_not_committed_at_the_end",
            what_no_sink_has_taken_is_not_committed_at_the_end,
        ),
        ("a_lost_broker_is_survived", a_lost_broker_is_survived),
        (
            "offsets_that_are_gone_are_counted_and_reading_goes_on",
            offsets_that_are_gone_are_counted_and_reading_goes_on,
        ),
    ];
    let start = |(name, scene): (&str, fn())| {
        (name.to_string(), std::thread::Builder::new().name(name.into()).spawn(scene).unwrap())
    };
    let running: Vec<_> = scenes.into_iter().map(start).collect();
    let failed: Vec<String> =
        running.into_iter().filter_map(|(name, handle)| handle.join().is_err().then_some(name)).collect();
    assert!(failed.is_empty(), "{failed:?}: see above");
}

fn reading_goes_on_where_everything_had_its_outcome() {
    let mut stage = Stage::new(3);
    stage.send(90, "alert");
    let first = stage.usual();
    first.wait_records(90);
    first.wait("acks", |seen| seen.acked == 90);
    let latency = || first.status.lock().unwrap().event_to_alert.count();
    first.wait("a second of status", |_| latency() == 90);
    let seen = first.stop();
    assert_eq!(once(&seen.records), stage.all());
    assert_eq!(seen.assigned.iter().map(|(_, next)| *next).collect::<Vec<_>>(), [0, 0, 0]);
    assert_eq!(stage.committed(), [30, 30, 30]);
    stage.send(9, "x");
    let second = stage.usual();
    second.wait_records(9);
    let seen = second.stop();
    assert_eq!(seen.assigned.iter().map(|(_, next)| *next).collect::<Vec<_>>(), [30, 30, 30]);
    assert_eq!(once(&seen.records).len(), 9);
    assert_eq!(stage.committed(), [33, 33, 33]);
}

fn without_a_commit_latest_skips_what_is_there_and_remembers_that() {
    let mut stage = Stage::new(1);
    stage.send(5, "x");
    let latest = || Settings { start: Start::Latest, ..stage.settings() };
    let first = stage.thread(latest(), Box::new(settle));
    first.wait("assignment", |seen| seen.assigned == [(0, 5)]);
    assert!(first.stop().records.is_empty());
    assert_eq!(stage.committed(), [5]);
    let again = latest();
    stage.send(2, "x");
    let second = stage.thread(again, Box::new(settle));
    second.wait_records(2);
    assert_eq!(second.stop().records, [(0, 5), (0, 6)]);
}

fn partitions_change_hands_without_a_gap() {
    let mut stage = Stage::new(4);
    stage.send(40, "alert");
    let first = stage.usual();
    first.wait_records(40);
    let second = stage.usual();
    second.wait("its share", |seen| seen.assigned.len() == 2);
    stage.send(40, "alert");
    second.wait("the rest", |seen| first.seen.lock().unwrap().records.len() + seen.records.len() >= 80);
    let revoked = first.seen.lock().unwrap().revoked.clone();
    assert_eq!(revoked.len(), 2, "cooperative: only what moves is taken away");
    let of_second = second.stop();
    assert!(of_second.records.iter().all(|(partition, _)| revoked.contains(partition)));
    stage.send(40, "alert");
    first.wait("everything", |seen| seen.records.len() + of_second.records.len() >= 120);
    let mut records = first.stop().records;
    records.extend(&of_second.records);
    // What was read and not yet acknowledged at the handover may come twice; here everything was.
    assert_eq!(once(&records), stage.all());
    assert_eq!(stage.committed(), [30, 30, 30, 30]);
}

fn full_queues_stop_reading_and_lose_nothing() {
    let mut stage = Stage::new(2);
    stage.send(20, "x");
    let closed = Arc::new(AtomicBool::new(true));
    let gate = closed.clone();
    let offer: Offer = Box::new(move |parcel, back| match gate.load(Ordering::Relaxed) {
        true => Err(parcel),
        false => settle(parcel, back),
    });
    let thread = stage.thread(stage.settings(), offer);
    thread.wait_records(20);
    stage.send(2, "alert");
    let held = || thread.status.lock().unwrap().held_since.is_some();
    thread.wait("hold", |_| held());
    // The second may come before or after the first has stopped everything.
    let read = thread.seen.lock().unwrap().records.len();
    assert!((21..=22).contains(&read), "{read}");
    stage.send(40, "alert");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(thread.seen.lock().unwrap().records.len(), read, "nothing is read meanwhile");
    assert_eq!(stage.committed(), [10, 10], "nor committed beyond what waits");
    closed.store(false, Ordering::Relaxed);
    let opened = Instant::now();
    thread.wait_records(62);
    assert!(opened.elapsed() < Duration::from_millis(700), "goes on at once: {:?}", opened.elapsed());
    thread.wait("acks", |seen| seen.acked == 42);
    thread.wait("release", |_| !held());
    assert_eq!(once(&thread.stop().records), stage.all());
    assert_eq!(stage.committed(), [31, 31]);
}

fn dead_letters_are_written_before_anything_behind_them_is_committed() {
    let mut stage = Stage::new(1);
    stage.send(1, "x");
    stage.send(2, "bad{");
    stage.send(1, "alert");
    let refuse: Offer = Box::new(|parcel, back| {
        for alert in &parcel.alerts {
            let (stamp, alert) = (parcel.stamp.clone(), alert.clone());
            back.send(Report::Refused { stamp, sink: "es".into(), alert, reason: "400 mapping".into() }).ok();
        }
        settle(parcel, back)
    });
    let thread = stage.thread(stage.settings(), refuse);
    thread.wait("acks", |seen| seen.acked == 3);
    let letters = stage.mock.read("fleetwarden.dead-letters", 1, 3);
    assert_eq!(letters.len(), 3, "{letters:?}");
    let (key, value, headers) = &letters[0];
    assert_eq!((key.as_deref(), value.as_str()), (Some("key"), "bad{"));
    let expected = [
        ("at", "1"),
        ("detail", "it is bad"),
        ("offset", "1"),
        ("partition", "0"),
        ("reason", "syntax"),
        ("stream", "s"),
        ("topic", "t"),
    ];
    assert_eq!(headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    let (_, value, headers) = &letters[2];
    assert!(value.contains("00000000000000000000000000001234"), "{value}");
    assert_eq!((headers["sink"].as_str(), headers["reason"].as_str()), ("es", "400 mapping"));
    thread.wait("count", |_| thread.status.lock().unwrap().dead_letters.alerts == 1);
    assert_eq!(thread.status.lock().unwrap().dead_letters.records, 2);
    thread.stop();
    assert_eq!(stage.committed(), [4]);
}

fn what_no_sink_has_taken_is_not_committed_at_the_end() {
    let mut stage = Stage::new(1);
    stage.send(3, "x");
    stage.send(1, "alert");
    stage.send(3, "x");
    // Taken, but no outcome ever comes.
    let thread = stage.thread(stage.settings(), Box::new(|_, _| Ok(())));
    thread.wait_records(7);
    let begun = Instant::now();
    thread.stop();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(stage.committed(), [3]);
}

fn a_lost_broker_is_survived() {
    let mut stage = Stage::new(2);
    stage.send(10, "alert");
    let thread = stage.usual();
    thread.wait_records(10);
    stage.mock.up(false);
    std::thread::sleep(Duration::from_secs(2));
    stage.mock.up(true);
    stage.send(10, "alert");
    thread.wait_records(20);
    thread.wait("acks", |seen| seen.acked == 20);
    assert_eq!(once(&thread.stop().records), stage.all());
    assert_eq!(stage.committed(), [10, 10]);
}

fn offsets_that_are_gone_are_counted_and_reading_goes_on() {
    let mut stage = Stage::new(1);
    stage.send(10, "x");
    stage.mock.commit("fleetwarden", "t", 0, 500);
    let thread = stage.usual();
    thread.wait_records(10);
    let seen = thread.seen.lock().unwrap().assigned.clone();
    assert_eq!(seen, [(0, 500), (0, 0)]);
    stage.send(2, "x");
    thread.wait_records(12);
    let jumps = || thread.status.lock().unwrap().gaps.get("s").map_or(0, |gaps| gaps.jumps);
    thread.wait("count", |_| jumps() == 1);
    assert_eq!(once(&thread.stop().records), stage.all());
    assert_eq!(stage.committed(), [12]);
}
