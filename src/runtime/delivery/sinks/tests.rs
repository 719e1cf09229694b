//! Sinks against an in-process cluster, reading a journal that the test writes.

use std::collections::BTreeSet;
use std::sync::MutexGuard;

use super::super::pump::group;
use super::super::{Backfill, backfill};
use super::*;
use crate::encode::ecs::tests::sample;
use crate::event::{PartitionId, Stamp, Timestamp};
use crate::journal::{Entry, Written, encode};
use crate::kafka::mock::Mock;
use crate::kafka::{Excerpt, Part};
use crate::sink::{Attempt, Item, Outcome, Trouble};

const TOPIC: &str = "fleetwarden.journal";

const FAST: Pace = Pace {
    first: Duration::from_millis(1),
    most: Duration::from_millis(4),
    blocked: Duration::from_millis(2),
};

/// A sink that does as it is told, and keeps what it took.
#[derive(Clone, Default)]
struct Played(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    down: bool,
    /// Never taken.
    bad: BTreeSet<u128>,
    /// Not taken for now.
    stuck: BTreeSet<u128>,
    taken: Vec<u128>,
    detected: Vec<i64>,
}

impl Played {
    fn down() -> Played {
        let played = Played::default();
        played.state().down = true;
        played
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Sink for Played {
    fn attempt<'a>(&'a mut self, batch: &'a [Item]) -> Attempt<'a> {
        let retry = || Trouble::Retry { after: None, why: "played".into() };
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut state = self.state();
            if state.down {
                return Err(retry());
            }
            let judge = |item: &Item| match item.alert.id {
                id if state.bad.contains(&id) => {
                    Outcome::Refused { why: "played".into(), detail: String::new() }
                }
                id if state.stuck.contains(&id) => Outcome::Failed(retry()),
                id => {
                    state.taken.push(id);
                    state.detected.push(item.detected.0);
                    Outcome::Delivered
                }
            };
            Ok(batch.iter().map(judge).collect())
        })
    }

    fn batch(&self) -> usize {
        7
    }
}

/// A cluster with a journal.
struct Stage {
    mock: Mock,
    runtime: tokio::runtime::Runtime,
    partitions: i32,
    seq: u64,
}

impl Stage {
    fn new(partitions: i32) -> Stage {
        let mock = Mock::start().unwrap();
        mock.create_topic(TOPIC, partitions).unwrap();
        mock.create_topic("fleetwarden.dead-letters", 1).unwrap();
        let runtime = crate::runtime::run::edges().unwrap();
        Stage { mock, runtime, partitions, seq: 0 }
    }

    fn settings(&self) -> Arc<Settings> {
        let mut settings = Settings::new(self.mock.brokers());
        // The mock lets members in when most of a session is over.
        for (key, value) in [("session.timeout.ms", "4000"), ("heartbeat.interval.ms", "300")] {
            settings.consumer.0.insert(key.into(), value.into());
        }
        Arc::new(settings)
    }

    fn append(&mut self, source: i32, epoch: i64, entry: Entry) {
        self.seq += 1;
        let source = PartitionId { stream: "s".into(), index: source };
        let index = source.index % self.partitions;
        let stamp = Stamp { source, epoch, seq: self.seq };
        let (written, engine) = (Timestamp(1_000 + self.seq as i64), "0".into());
        let bytes = encode(&Written { stamp, written, engine, entry });
        self.mock.send(TOPIC, index, b"k", &bytes, Timestamp::from_millis(1_000 + self.seq as i64)).unwrap();
    }

    /// A record an id, in partitions in turn.
    fn alerts(&mut self, epoch: i64, ids: impl IntoIterator<Item = u128>) {
        for id in ids {
            let alerts = vec![Arc::new(sample(id))];
            self.append(
                id as i32 % self.partitions,
                epoch,
                Entry::Alerts { through: 0, more: false, alerts },
            );
        }
        self.mock.flush().unwrap();
    }

    fn start(&self, sinks: &[(&str, &Played)]) -> Sinks {
        self.start_at(sinks, Start::Earliest)
    }

    fn start_at(&self, sinks: &[(&str, &Played)], start: Start) -> Sinks {
        let outlet = |(name, sink): &(&str, &Played)| {
            let sink: Box<dyn Sink> = Box::new((*sink).clone());
            Outlet { name: (*name).into(), start, sink }
        };
        let sinks = sinks.iter().map(outlet).collect();
        let handle = self.runtime.handle();
        Sinks::start_with(sinks, &self.settings(), TOPIC, &Arc::default(), handle, (10, FAST)).unwrap()
    }

    fn committed(&self, sink: &str) -> Vec<i64> {
        let group = group(&self.settings(), sink);
        (0..self.partitions).map(|p| self.mock.committed(&group, TOPIC, p).unwrap_or(-1)).collect()
    }
}

fn wait(what: &str, until: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !until() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn taken(sink: &Played) -> Vec<u128> {
    let mut taken = sink.state().taken.clone();
    taken.sort();
    taken
}

fn stop(sinks: &Sinks) {
    assert!(sinks.stop(Instant::now() + Duration::from_secs(10)));
}

/// Each waits for seconds most of its time: together they take as long as the longest.
#[test]
fn scenes() {
    let scenes: [(&str, fn()); 9] = [
        ("a dead sink", a_dead_sink_delays_no_other_and_holds_little),
        ("a restart", a_restart_sends_what_has_no_outcome_and_nothing_else),
        ("a zombie", what_a_zombie_writes_is_skipped_also_after_a_restart),
        ("a poison alert", a_poison_alert_is_a_dead_letter_and_holds_up_nothing),
        ("what is gone", what_is_gone_is_a_gap_and_reading_goes_on),
        ("another log", another_log_is_read_from_its_beginning),
        ("two processes", two_processes_share_a_sink),
        ("a backfill", a_backfill_sends_a_span_and_believes_whom_a_reader_does),
        ("latest", a_new_sink_may_start_with_what_comes),
    ];
    let start = |(name, scene): (&str, fn())| {
        (name.to_string(), std::thread::Builder::new().name(name.into()).spawn(scene).unwrap())
    };
    let running: Vec<_> = scenes.into_iter().map(start).collect();
    let failed: Vec<String> =
        running.into_iter().filter_map(|(name, handle)| handle.join().is_err().then_some(name)).collect();
    assert!(failed.is_empty(), "{failed:?}: see above");
}

fn a_dead_sink_delays_no_other_and_holds_little() {
    let mut stage = Stage::new(2);
    let (dead, good) = (Played::down(), Played::default());
    let sinks = stage.start(&[("dead", &dead), ("good", &good)]);
    stage.alerts(1, 1..=200);
    wait("the good one", || good.state().taken.len() == 200);
    wait("what is known of the dead one", || {
        let stats = sinks.stats();
        let (dead, good) = (&stats[0].reading, &stats[1].reading);
        dead.oldest > 0 && dead.lag == Some(200) && good.oldest == 0 && good.lag == Some(0)
    });
    let stats = sinks.stats();
    assert_eq!((stats[0].delivered, stats[0].waiting, stats[0].reading.partitions), (0, 10, 2));
    assert_eq!(good.state().detected.iter().min(), Some(&1_001), "the time at which it was found");
    wait("the good one's commit", || stage.committed("good") == [100, 100]);
    // Long enough that reading has stopped, and has to be taken up again.
    wait("nothing more is read", || sinks.stats()[0].reading.lag == Some(200));
    stage.alerts(1, 201..=220);
    wait("what came meanwhile is known", || sinks.stats()[0].reading.lag == Some(220));
    dead.state().down = false;
    wait("the dead one", || dead.state().taken.len() == 220);
    stop(&sinks);
    assert_eq!(taken(&dead), (1..=220).collect::<Vec<_>>());
    assert_eq!(taken(&good), (1..=220).collect::<Vec<_>>());
    assert_eq!(stage.committed("dead"), [110, 110]);
}

fn a_restart_sends_what_has_no_outcome_and_nothing_else() {
    let mut stage = Stage::new(1);
    let sink = Played::default();
    stage.alerts(1, 1..=50);
    let sinks = stage.start(&[("a", &sink)]);
    wait("all", || sink.state().taken.len() == 50);
    stop(&sinks);
    assert_eq!(stage.committed("a"), [50]);
    sink.state().stuck.insert(55);
    stage.alerts(1, 51..=60);
    let sinks = stage.start(&[("a", &sink)]);
    wait("all but one", || sink.state().taken.len() == 59);
    sinks.stop(Instant::now() + Duration::from_secs(2));
    drop(sinks);
    assert_eq!(stage.committed("a"), [54], "what is stuck has no outcome");
    sink.state().taken.clear();
    sink.state().stuck.clear();
    let sinks = stage.start(&[("a", &sink)]);
    wait("the rest", || sink.state().taken.len() == 6);
    stop(&sinks);
    assert_eq!(taken(&sink), (55..=60).collect::<Vec<_>>());
    assert_eq!(stage.committed("a"), [60]);
}

fn what_a_zombie_writes_is_skipped_also_after_a_restart() {
    let mut stage = Stage::new(1);
    let sink = Played::default();
    let sinks = stage.start(&[("a", &sink)]);
    stage.append(0, -1, Entry::Claim);
    stage.append(0, 0, Entry::Open { cold: true });
    stage.alerts(0, [1]);
    stage.append(0, -1, Entry::Claim);
    stage.alerts(0, [2]);
    stage.append(0, 3, Entry::Open { cold: false });
    stage.alerts(0, [3]);
    stage.alerts(3, [4]);
    stage.mock.send(TOPIC, 0, b"k", b"{\"v\":99", Timestamp(1)).unwrap();
    stage.alerts(3, [5]);
    wait("what counts", || taken(&sink) == [1, 2, 4, 5]);
    let reading = sinks.stats().remove(0).reading;
    assert_eq!((reading.superseded, reading.undecodable), (1, 1));
    stop(&sinks);
    stage.alerts(0, [6]);
    stage.alerts(3, [7]);
    let sinks = stage.start(&[("a", &sink)]);
    wait("what counts after a restart", || taken(&sink) == [1, 2, 4, 5, 7]);
    assert_eq!(sinks.stats()[0].reading.superseded, 1);
    stop(&sinks);
}

fn a_poison_alert_is_a_dead_letter_and_holds_up_nothing() {
    let mut stage = Stage::new(1);
    let (picky, good) = (Played::default(), Played::default());
    picky.state().bad = [3, 4].into();
    stage.alerts(1, 1..=20);
    let sinks = stage.start(&[("picky", &picky), ("good", &good)]);
    wait("all but the poison", || picky.state().taken.len() == 18 && good.state().taken.len() == 20);
    wait("letters", || sinks.stats()[0].reading.letters == 2);
    stop(&sinks);
    let letters = stage.mock.read("fleetwarden.dead-letters", 1, 2);
    let (_, value, headers) = &letters[0];
    assert!(value.contains(&sample(3).id_hex()), "{value}");
    assert_eq!((headers["sink"].as_str(), headers["reason"].as_str()), ("picky", "played"));
    assert_eq!((letters.len(), sinks.stats()[0].refused), (2, 2));
    assert_eq!((stage.committed("picky"), stage.committed("good")), (vec![20], vec![20]));
}

fn what_is_gone_is_a_gap_and_reading_goes_on() {
    let mut stage = Stage::new(1);
    let sink = Played::default();
    stage.alerts(1, [1]);
    let sinks = stage.start(&[("a", &sink)]);
    wait("the first", || taken(&sink) == [1]);
    stop(&sinks);
    // The in-process cluster keeps 5 MiB of a partition.
    for _ in 0..20 {
        stage.mock.send(TOPIC, 0, b"k", &vec![b'x'; 500_000], Timestamp(1)).unwrap();
    }
    stage.alerts(1, [2]);
    let sinks = stage.start(&[("a", &sink)]);
    wait("what is left", || taken(&sink) == [1, 2]);
    let reading = sinks.stats().remove(0).reading;
    assert_eq!(reading.gaps.jumps, 1);
    assert_eq!(reading.gaps.records + reading.undecodable, 20);
    assert!(reading.gaps.records >= 9, "{reading:?}");
    stop(&sinks);
}

fn another_log_is_read_from_its_beginning() {
    let mut stage = Stage::new(2);
    let sink = Played::default();
    stage.alerts(1, 1..=8);
    let group = group(&stage.settings(), "a");
    // One partition was longer than it is; in the other, the record before the position was another one.
    stage.mock.commit_with(&group, TOPIC, 0, 500, "sink1 - s:0=99");
    stage.mock.commit_with(&group, TOPIC, 1, 2, "sink1 77 s:1=99");
    let sinks = stage.start(&[("a", &sink)]);
    wait("all", || taken(&sink) == (1..=8).collect::<Vec<_>>());
    assert_eq!(sinks.stats()[0].reading.gaps.jumps, 2);
    stop(&sinks);
    // The same records are known again.
    stage.alerts(1, 9..=10);
    let sinks = stage.start(&[("a", &sink)]);
    wait("the rest", || taken(&sink) == (1..=10).collect::<Vec<_>>());
    assert_eq!(sinks.stats()[0].reading.gaps.jumps, 0);
    stop(&sinks);
    assert_eq!(stage.committed("a"), [5, 5]);
}

fn two_processes_share_a_sink() {
    let mut stage = Stage::new(4);
    let (one, two) = (Played::default(), Played::default());
    stage.alerts(1, 1..=40);
    let first = stage.start(&[("a", &one)]);
    wait("the first alone", || one.state().taken.len() == 40);
    wait("its commit", || stage.committed("a") == [10; 4]);
    let second = stage.start(&[("a", &two)]);
    let owned = |sinks: &Sinks| sinks.stats()[0].reading.partitions;
    wait("the second's share", || owned(&first) == 2 && owned(&second) == 2);
    stage.alerts(1, 41..=80);
    wait("all", || one.state().taken.len() + two.state().taken.len() == 80);
    assert_eq!(two.state().taken.len(), 20);
    stop(&second);
    stage.alerts(1, 81..=120);
    wait("what the first took over", || one.state().taken.len() + two.state().taken.len() == 120);
    stop(&first);
    let mut all = [taken(&one), taken(&two)].concat();
    all.sort();
    assert_eq!(all, (1..=120).collect::<Vec<_>>());
    assert_eq!(stage.committed("a"), [30; 4]);
}

fn a_new_sink_may_start_with_what_comes() {
    let mut stage = Stage::new(1);
    let sink = Played::default();
    stage.alerts(1, 1..=5);
    let sinks = stage.start_at(&[("a", &sink)], Start::Latest);
    wait("its start is committed", || stage.committed("a") == [5]);
    stop(&sinks);
    stage.alerts(1, 6..=7);
    let sinks = stage.start_at(&[("a", &sink)], Start::Latest);
    wait("what came meanwhile", || taken(&sink) == [6, 7]);
    stop(&sinks);
}

fn a_backfill_sends_a_span_and_believes_whom_a_reader_does() {
    let mut stage = Stage::new(2);
    let sink = Played::default();
    stage.append(0, 1, Entry::Open { cold: true });
    stage.append(1, 1, Entry::Open { cold: true });
    stage.alerts(1, 1..=4);
    stage.append(0, 5, Entry::Open { cold: true });
    // From here on, in milliseconds: 1008.
    stage.alerts(1, 5..=7);
    stage.alerts(5, [8, 10, 12]);
    stage.mock.send(TOPIC, 0, b"k", b"?", Timestamp::from_millis(1_011)).unwrap();
    stage.mock.flush().unwrap();
    let running = stage.start(&[("a", &Played::default())]);
    wait("a reader beside it", || running.stats()[0].delivered == 9);
    let span = |sink: Option<&Played>, until: i64| {
        let part = Part::Between(None, Some(Timestamp::from_millis(until)));
        let mut journal = Excerpt::open(&stage.settings(), TOPIC, part).unwrap();
        let sink = sink.map(|sink| ("a", Box::new(sink.clone()) as Box<dyn Sink>));
        let span = Timestamp::from_millis(1_008)..Timestamp::from_millis(until);
        backfill(sink, &mut journal, span, stage.runtime.handle(), &mut |_| {}).unwrap()
    };
    let found = span(Some(&sink), 1_013);
    // Of 5, 6 and 7, 6 is of the partition whose owner had been replaced.
    let expected = Backfill { alerts: 4, sent: 4, superseded: 1, undecodable: 1, ..Backfill::default() };
    assert_eq!((found, taken(&sink)), (expected, vec![5, 7, 8, 10]));
    let counted = Backfill { alerts: 5, superseded: 1, undecodable: 1, ..Backfill::default() };
    assert_eq!(span(None, 9_999), counted);
    sink.state().bad.insert(12);
    assert_eq!(span(Some(&sink), 9_999), Backfill { sent: 4, refused: 1, ..counted });
    assert_eq!(running.stats()[0].reading.partitions, 2, "the reader was not disturbed");
    stop(&running);
}
