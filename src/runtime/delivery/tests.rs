//! Lines with sinks that are played, and with the real ones against servers that misbehave.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::gauge::Gauge;
use super::line::{Line, Order, Pace, Parcel, Place, Report};
use super::*;
use crate::encode::ecs::tests::sample;
use crate::event::Timestamp;
use crate::sink::fault::{Reply, Server, error_body};
use crate::sink::{Attempt, ElasticConfig, Item, Outcome, Sink, SinkConfig, Trouble, open};

const SOON: Duration = Duration::from_secs(5);

const FAST: Pace = Pace {
    first: Duration::from_millis(1),
    most: Duration::from_millis(4),
    blocked: Duration::from_millis(2),
};

/// A line, and both its ends.
struct Running {
    gauge: Arc<Gauge>,
    orders: UnboundedSender<Order>,
    reports: Receiver<Report>,
}

fn start(name: &str, sink: Box<dyn Sink>) -> Running {
    start_with(name, sink, FAST)
}

fn start_with(name: &str, sink: Box<dyn Sink>, pace: Pace) -> Running {
    let gauge = Arc::new(Gauge::new(name.into(), 100));
    let (orders, inbox) = unbounded_channel();
    let (outcomes, reports) = channel();
    let tell = Box::new(move |report| drop(outcomes.send(report)));
    tokio::spawn(Line::new(sink, inbox, tell, gauge.clone(), pace).run());
    Running { gauge, orders, reports }
}

impl Running {
    /// Hands over a record of these alerts.
    fn send(&self, offset: i64, ids: impl IntoIterator<Item = u128>) {
        let alerts: Vec<_> = ids.into_iter().map(|id| Arc::new(sample(id))).collect();
        self.gauge.add(alerts.len());
        let place = Place { partition: 0, term: 1, offset };
        self.orders.send(Order::Deliver(Parcel { place, alerts, detected: Timestamp(0) })).unwrap();
    }

    /// Waits until nothing waits any more, or the time is up; how many still do.
    async fn drain(&self, limit: Duration) -> usize {
        let end = Instant::now() + limit;
        while self.gauge.waiting() > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.gauge.waiting()
    }

    /// What was told, in short: refusals in full, the rest by number.
    fn told(&self) -> Vec<String> {
        let (mut told, mut delivered) = (Vec::new(), 0);
        for report in self.reports.try_iter() {
            match report {
                Report::Refused { place, alert, reason } => {
                    told.push(format!("{} refused {:x}: {reason}", place.offset, alert.id));
                }
                Report::Delivered(_) => delivered += 1,
            }
        }
        told.push(format!("{delivered} delivered"));
        told
    }
}

fn elastic(config: ElasticConfig) -> Box<dyn Sink> {
    open(&SinkConfig::Opensearch(config)).unwrap()
}

/// Delivers alerts 1 to `count` in one record to a server that answers so first; returns the server and what
/// was told.
async fn deliver(count: u128, replies: Vec<Reply>) -> (Server, Vec<String>, SinkStats) {
    let server = Server::start().await;
    replies.into_iter().for_each(|reply| {
        server.bulk(reply);
    });
    let line = start("elastic", elastic(server.config()));
    line.send(1, 1..=count);
    assert_eq!(line.drain(SOON).await, 0);
    (server, line.told(), line.gauge.stats())
}

fn ids(server: &Server, request: usize) -> Vec<u128> {
    let names = server.seen("_bulk")[request].names();
    names.iter().map(|(_, id)| u128::from_str_radix(id, 16).unwrap()).collect()
}

#[tokio::test]
async fn only_what_failed_is_tried_again() {
    let busy = (429, "rejected_execution_exception");
    let (server, told, stats) = deliver(4, vec![Reply::Items(vec![(0, ""), busy, (0, ""), busy])]).await;
    assert_eq!(ids(&server, 0), [1, 2, 3, 4]);
    let mut again: Vec<u128> = (1..server.seen("_bulk").len()).flat_map(|at| ids(&server, at)).collect();
    again.sort();
    assert_eq!(again, [2, 4]);
    assert_eq!(told, ["4 delivered"]);
    assert_eq!((stats.delivered, stats.retried, stats.refused, stats.waiting), (4, 2, 0, 0));
}

#[tokio::test]
async fn what_is_there_already_counts_as_delivered() {
    let (server, told, stats) =
        deliver(2, vec![Reply::Items(vec![(409, "version_conflict_engine_exception")])]).await;
    assert_eq!((server.seen("_bulk").len(), told), (1, vec!["2 delivered".to_string()]));
    assert_eq!((stats.delivered, stats.present, stats.retried), (2, 1, 0));
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason() {
    let (_, told, stats) = deliver(2, vec![Reply::Items(vec![(400, "mapper_parsing_exception")])]).await;
    let why = "400 mapper_parsing_exception (index fleetwarden-alerts-2026.11)";
    assert_eq!(
        told,
        [format!("1 refused 1: {why}: failed to parse 'SECRET-VIN': inner"), "1 delivered".to_string()]
    );
    assert_eq!((stats.delivered, stats.refused), (1, 1));
    assert_eq!(stats.last_error.unwrap().1, why);
}

#[tokio::test]
async fn every_failure_of_the_whole_passes() {
    let whole = |status: u16| Reply::Status(status, vec![], error_body(status, "x"));
    let truncated = Reply::Status(200, vec![], r#"{"items":[{"create":{"status":2"#.into());
    let fewer = Reply::Status(200, vec![], r#"{"items":[{"create":{"status":201}}]}"#.into());
    let replies = vec![whole(503), truncated, fewer, whole(429), whole(403), whole(401), whole(413)];
    let (server, told, stats) = deliver(3, replies).await;
    assert_eq!((server.ids(), told), (vec![1, 2, 3], vec!["3 delivered".to_string()]));
    assert_eq!((stats.delivered, stats.waiting, stats.blocked), (3, 0, None));
    assert!(stats.last_error.is_some() && stats.last_delivered.is_some());
}

#[tokio::test]
async fn the_server_says_when_to_come_back() {
    let before = Instant::now();
    let busy = Reply::Status(429, vec![("retry-after", "1")], String::new());
    let (server, _, _) = deliver(1, vec![busy]).await;
    assert_eq!(server.seen("_bulk").len(), 2);
    assert!(before.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_handed_on_is_forgotten_unless_the_sink_has_it() {
    let kept: Arc<Mutex<Vec<u128>>> = Arc::default();
    let tried: Arc<Mutex<Vec<u128>>> = Arc::default();
    // From the end: the first alert is on its way, then the sink takes nothing for a while.
    let played = Played { script: vec![1, 6], batch: 1, kept: kept.clone(), tried: tried.clone() };
    let line = start_with("played", Box::new(played), Pace { blocked: Duration::from_millis(400), ..FAST });
    line.send(1, 1..=3);
    while tried.lock().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    line.orders.send(Order::Forget(0)).unwrap();
    let place = Place { partition: 1, term: 1, offset: 1 };
    let parcel = Parcel { place, alerts: vec![Arc::new(sample(4))], detected: Timestamp(0) };
    line.gauge.add(1);
    line.orders.send(Order::Deliver(parcel)).unwrap();
    assert_eq!(line.drain(SOON).await, 0);
    assert_eq!(*kept.lock().unwrap(), [1, 4]);
}

#[tokio::test]
async fn nobody_who_listens_stops_nothing() {
    let server = Server::start().await;
    server.bulk(Reply::Items(vec![(400, "mapper_parsing_exception")]));
    let Running { gauge, orders, reports } = start("elastic", elastic(server.config()));
    drop(reports);
    let line = Running { gauge, orders, reports: channel().1 };
    for offset in 1..=2 {
        line.send(offset, [offset as u128]);
        assert_eq!(line.drain(SOON).await, 0);
    }
    assert_eq!(server.ids(), [2]);
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_blocked_sink_says_so_once_and_loses_nothing() {
    let log = Log::default();
    let writer = log.clone();
    let logger = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // With one subscriber alone, tracing lets a thread without any decide that nobody listens: hence a
    // second.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().finish());
    let _guard = tracing::subscriber::set_default(logger);
    let forbidden = || Reply::Status(403, vec![], error_body(403, "security_exception"));
    let (server, told, stats) = deliver(3, (0..4).map(|_| forbidden()).collect()).await;
    assert_eq!((server.ids(), told, stats.blocked), (vec![1, 2, 3], vec!["3 delivered".to_string()], None));
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let errors: Vec<&str> = text.lines().filter(|line| line.contains("ERROR")).collect();
    let [error] = errors.as_slice() else { panic!("{text}") };
    for part in
        ["\"elastic\"", "403 security_exception", "since 2", "3 of 100 alerts waiting", "grant create_doc"]
    {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(text.lines().filter(|line| line.contains("takes alerts again")).count(), 1, "{text}");
    assert!(!text.contains("answers again") && !text.contains("SECRET"), "{text}");
}

#[tokio::test]
async fn a_blocked_sink_can_be_seen() {
    let server = Server::start().await;
    server.bulk(Reply::Items(vec![(403, "cluster_block_exception"), (0, "")]));
    let pace = Pace { blocked: Duration::from_secs(600), ..FAST };
    let line = start_with("elastic", elastic(server.config()), pace);
    line.send(1, 1..=2);
    assert_eq!(line.drain(Duration::from_millis(300)).await, 1);
    let blocked = line.gauge.stats().blocked.unwrap();
    assert!(blocked.why.contains("cluster_block_exception") && blocked.mend.contains("disk"), "{blocked:?}");
    // Those behind it are not held up, and do not make the block forgotten.
    line.send(2, 3..=4);
    assert_eq!(line.drain(Duration::from_millis(300)).await, 1);
    assert_eq!(server.ids(), [2, 3, 4]);
    assert!(line.gauge.stats().blocked.is_some());
}

#[test]
fn waits_grow_to_a_limit_and_heed_the_server() {
    let retry = |after| Trouble::Retry { after, why: String::new() };
    let pace = Pace::default();
    for tries in [1, 2, 5, 40, u32::MAX] {
        let limit =
            Duration::from_millis(100).saturating_mul(1 << (tries - 1).min(20)).min(Duration::from_secs(30));
        let waits: Vec<Duration> = (0..200).map(|_| pace.wait(tries, &retry(None))).collect();
        assert!(waits.iter().all(|wait| *wait <= limit));
        assert!(waits.iter().any(|wait| *wait > limit / 2) && waits.iter().any(|wait| *wait < limit / 2));
    }
    let asked = Duration::from_secs(60);
    assert_eq!(pace.wait(1, &retry(Some(asked))), asked);
    assert_eq!(pace.wait(1, &retry(Some(Duration::from_secs(1 << 40)))), Duration::from_secs(300));
    let blocked = pace.wait(1, &Trouble::Blocked { why: String::new(), mend: String::new() });
    assert!((15..=30).contains(&blocked.as_secs()));
}

/// A sink that does as it is told, and keeps what it took.
struct Played {
    script: Vec<u8>,
    batch: usize,
    kept: Arc<Mutex<Vec<u128>>>,
    tried: Arc<Mutex<Vec<u128>>>,
}

impl Sink for Played {
    fn attempt<'a>(&'a mut self, batch: &'a [Item]) -> Attempt<'a> {
        let retry = || Trouble::Retry { after: None, why: "played".into() };
        let blocked = || Trouble::Blocked { why: "played".into(), mend: "wait".into() };
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.tried.lock().unwrap().extend(batch.iter().map(|item| item.alert.id));
            let mut outcomes = Vec::new();
            for item in batch {
                match self.script.pop() {
                    Some(0) => return Err(retry()),
                    Some(1) => return Err(blocked()),
                    Some(2) => break,
                    Some(3) => outcomes.push(Outcome::Failed(retry())),
                    Some(4) => outcomes.push(Outcome::Failed(blocked())),
                    Some(5) => {
                        outcomes.push(Outcome::Refused { why: "played".into(), detail: String::new() })
                    }
                    Some(6) => outcomes.push(Outcome::Pending(Duration::from_millis(20))),
                    _ => {
                        self.kept.lock().unwrap().push(item.alert.id);
                        outcomes.push(Outcome::Delivered);
                    }
                }
            }
            Ok(outcomes)
        })
    }

    fn batch(&self) -> usize {
        self.batch
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a sink does: every alert has one outcome, and is told once.
    #[test]
    fn every_alert_has_one_outcome(
        script in prop::collection::vec(0u8..9, 0..30),
        sizes in prop::collection::vec(0usize..5, 1..8),
        batch in 1usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let kept: Arc<Mutex<Vec<u128>>> = Arc::default();
            let played = Played { script, batch, kept: kept.clone(), tried: Arc::default() };
            let line = start("played", Box::new(played));
            let mut next = 0;
            for (offset, size) in (0..).zip(&sizes) {
                let ids = next..next + *size as u128;
                next = ids.end;
                line.send(offset, ids);
            }
            prop_assert_eq!(line.drain(SOON).await, 0);
            let mut told: BTreeMap<i64, usize> = BTreeMap::new();
            // A failure of the whole leaves what was written before it: it is written again, as a real sink
            // would see by its id.
            let mut outcomes: BTreeSet<u128> = kept.lock().unwrap().iter().copied().collect();
            for report in line.reports.try_iter() {
                let place = match report {
                    Report::Delivered(place) => place,
                    Report::Refused { place, alert, .. } => {
                        outcomes.insert(alert.id);
                        place
                    }
                };
                *told.entry(place.offset).or_default() += 1;
            }
            let sizes = (0i64..).zip(sizes).filter(|(_, size)| *size > 0);
            prop_assert_eq!(told, sizes.collect::<BTreeMap<_, _>>());
            prop_assert_eq!(outcomes, (0..next).collect::<BTreeSet<_>>());
            let stats = line.gauge.stats();
            prop_assert_eq!(stats.delivered + stats.refused, next as u64);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn alerts_leave_in_the_order_in_which_they_came() {
    let tried: Arc<Mutex<Vec<u128>>> = Arc::default();
    let played = Played { script: vec![0, 1, 2, 2, 0], batch: 4, kept: Arc::default(), tried: tried.clone() };
    let kept = played.kept.clone();
    let line = start("played", Box::new(played));
    for offset in 0..5 {
        let first = offset as u128 * 3;
        line.send(offset, first..first + 3);
    }
    assert_eq!(line.drain(SOON).await, 0);
    assert_eq!(*kept.lock().unwrap(), (0..15).collect::<Vec<_>>());
    assert_eq!(tried.lock().unwrap()[..8], [0, 1, 2, 3, 0, 1, 2, 3]);
}

/// A collector that knows no ids: nothing is lost, nothing sent twice, whatever it answers in between.
#[tokio::test]
async fn a_collector_indexes_each_alert_once() {
    use crate::sink::hec::fault as hec;
    for ack in [false, true] {
        let server = hec::Server::start().await;
        let refused = |status| hec::Reply::Status(status, vec![], "<html>".into());
        {
            let mut inner = server.inner();
            (inner.ack, inner.slow) = (ack, Some(1));
            inner.bad = [(7, 15), (8, 12), (40, 6)].into();
            inner.writes = [refused(503), refused(403), hec::Reply::Taken(24), refused(413)].into();
            inner.asks = [refused(503), refused(401)].into();
        }
        let config = server.config(&format!("ack = {ack}\nbatch = 10"));
        let line = start("splunk", open(&SinkConfig::Splunk(config)).unwrap());
        for offset in 0..10 {
            line.send(offset, (1..=5).map(|id| id + 5 * offset as u128));
        }
        assert_eq!(line.drain(SOON).await, 0);
        let stats = line.gauge.stats();
        assert_eq!((stats.delivered, stats.refused, stats.blocked), (47, 3, None));
        assert!(stats.retried <= 40, "asking is no second try: {}", stats.retried);
        assert_eq!(line.told().len(), 4, "three refusals");
        let expected = (1..=50).filter(|id| ![7, 8, 40].contains(id)).map(|id| (id, 1)).collect();
        assert_eq!(server.inner().indexed, expected, "ack = {ack}");
    }
}
