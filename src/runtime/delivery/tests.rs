//! Delivery with sinks that are played, and with the real one against a server that misbehaves.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::encode::ecs::tests::sample;
use crate::event::PartitionId;
use crate::sink::fault::{Reply, Server, error_body};
use crate::sink::{Attempt, ElasticConfig, Item, Outcome, SinkConfig, Trouble, open};

const SOON: Duration = Duration::from_secs(5);

const FAST: Pace = Pace {
    first: Duration::from_millis(1),
    most: Duration::from_millis(4),
    blocked: Duration::from_millis(2),
};

fn parcel(seq: u64, ids: impl IntoIterator<Item = u128>) -> Parcel {
    let source = PartitionId { stream: "diagnostics".into(), index: 0 };
    let alerts = ids.into_iter().map(|id| Arc::new(sample(id))).collect();
    Parcel { stamp: Stamp { source, epoch: 0, seq }, alerts, detected: Timestamp(0) }
}

fn elastic(name: &str, config: ElasticConfig) -> (Arc<str>, Box<dyn Sink>) {
    (name.into(), open(&SinkConfig::Opensearch(config)).unwrap())
}

fn start(sinks: Vec<(Arc<str>, Box<dyn Sink>)>, queue: usize) -> Delivery {
    Delivery::start_with(sinks, &Handle::current(), queue, FAST)
}

/// What was reported, in short.
fn reports(from: &Receiver<Report>) -> Vec<String> {
    from.try_iter()
        .map(|report| match report {
            Report::Refused { stamp, sink, alert, reason } => {
                format!("{} {sink} refused {:x}: {reason}", stamp.seq, alert.id)
            }
            Report::Settled(stamp) => format!("{} settled", stamp.seq),
        })
        .collect()
}

/// Delivers alerts 1 to `count` in one parcel to a server that answers so first; returns the server and the
/// reports.
async fn deliver(count: u128, replies: Vec<Reply>) -> (Server, Vec<String>, SinkStats) {
    let server = Server::start().await;
    replies.into_iter().for_each(|reply| {
        server.bulk(reply);
    });
    let delivery = start(vec![elastic("elastic", server.config())], 100);
    let (back, from) = channel();
    delivery.offer(parcel(1, 1..=count), &back).unwrap();
    assert_eq!(delivery.drain(SOON).await, 0);
    let stats = delivery.stats().remove(0);
    (server, reports(&from), stats)
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
    assert_eq!(told, ["1 settled"]);
    assert_eq!((stats.delivered, stats.retried, stats.refused, stats.waiting), (4, 2, 0, 0));
}

#[tokio::test]
async fn what_is_there_already_counts_as_delivered() {
    let (server, told, stats) =
        deliver(2, vec![Reply::Items(vec![(409, "version_conflict_engine_exception")])]).await;
    assert_eq!((server.seen("_bulk").len(), told), (1, vec!["1 settled".to_string()]));
    assert_eq!((stats.delivered, stats.retried), (2, 0));
}

#[tokio::test]
async fn a_refusal_is_reported_before_its_parcel_is_settled() {
    let (_, told, stats) = deliver(2, vec![Reply::Items(vec![(400, "mapper_parsing_exception")])]).await;
    let why = "400 mapper_parsing_exception (index fleetwarden-alerts-2026.11)";
    assert_eq!(
        told,
        [format!("1 elastic refused 1: {why}: failed to parse 'SECRET-VIN': inner"), "1 settled".to_string()]
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
    assert_eq!((server.ids(), told), (vec![1, 2, 3], vec!["1 settled".to_string()]));
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
async fn a_sink_that_hangs_delays_no_other_until_its_queue_is_full() {
    let (slow, quick) = (Server::start().await, Server::start().await);
    slow.bulk(Reply::Hang);
    let delivery = start(vec![elastic("slow", slow.config()), elastic("quick", quick.config())], 10);
    let (back, from) = channel();
    for seq in 0..2 {
        delivery.offer(parcel(seq, (1..=5).map(|id| id + 5 * u128::from(seq))), &back).unwrap();
    }
    let given_back = delivery.offer(parcel(2, [11]), &back).unwrap_err();
    assert_eq!((given_back.stamp.seq, given_back.alerts.len()), (2, 1));
    let end = Instant::now() + SOON;
    while delivery.stats()[1].delivered < 10 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stats = delivery.stats();
    assert_eq!((stats[0].delivered, stats[0].waiting, stats[0].capacity), (0, 10, 10));
    assert_eq!((stats[1].delivered, stats[1].waiting), (10, 0));
    assert_eq!(quick.ids(), (1..=10).collect::<Vec<_>>());
    assert_eq!(reports(&from), Vec::<String>::new());
    assert_eq!(delivery.drain(Duration::from_millis(20)).await, 10);
}

#[tokio::test]
async fn a_parcel_larger_than_the_queue_is_taken_alone() {
    let server = Server::start().await;
    let delivery = start(vec![elastic("elastic", server.config())], 3);
    let (back, _from) = channel();
    delivery.offer(parcel(1, 1..=9), &back).unwrap();
    assert!(delivery.offer(parcel(2, [10]), &back).is_err());
    assert_eq!(delivery.drain(SOON).await, 0);
    delivery.offer(parcel(2, [10]), &back).unwrap();
    assert_eq!(delivery.drain(SOON).await, 0);
    assert_eq!(server.ids().len(), 10);
}

#[tokio::test]
async fn nothing_to_deliver_is_settled_at_once() {
    let server = Server::start().await;
    let (back, from) = channel();
    start(vec![elastic("elastic", server.config())], 10).offer(parcel(1, []), &back).unwrap();
    start(vec![], 10).offer(parcel(2, [1, 2]), &back).unwrap();
    assert_eq!(reports(&from), ["1 settled", "2 settled"]);
}

#[tokio::test]
async fn nobody_who_listens_stops_nothing() {
    let server = Server::start().await;
    server.bulk(Reply::Items(vec![(400, "mapper_parsing_exception")]));
    let delivery = start(vec![elastic("elastic", server.config())], 10);
    for seq in 1..=2 {
        let (back, from) = channel();
        drop(from);
        delivery.offer(parcel(seq, [u128::from(seq)]), &back).unwrap();
        assert_eq!(delivery.drain(SOON).await, 0);
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
    assert_eq!((server.ids(), told, stats.blocked), (vec![1, 2, 3], vec!["1 settled".to_string()], None));
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
    let sinks = vec![elastic("elastic", server.config())];
    let delivery = Delivery::start_with(sinks, &Handle::current(), 10, pace);
    let (back, _from) = channel();
    delivery.offer(parcel(1, 1..=2), &back).unwrap();
    assert_eq!(delivery.drain(Duration::from_millis(300)).await, 1);
    let blocked = delivery.stats()[0].blocked.clone().unwrap();
    assert!(blocked.why.contains("cluster_block_exception") && blocked.mend.contains("disk"), "{blocked:?}");
    // Those behind it are not held up, and do not make the block forgotten.
    delivery.offer(parcel(2, 3..=4), &back).unwrap();
    assert_eq!(delivery.drain(Duration::from_millis(300)).await, 1);
    assert_eq!(server.ids(), [2, 3, 4]);
    assert!(delivery.stats()[0].blocked.is_some());
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

    /// Whatever sinks do: every alert has one outcome at every sink, and its parcel is settled once, after
    /// them.
    #[test]
    fn every_alert_has_one_outcome_at_every_sink(
        scripts in prop::collection::vec(prop::collection::vec(0u8..9, 0..30), 1..4),
        sizes in prop::collection::vec(0usize..5, 1..8),
        batch in 1usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let kept: Vec<_> = scripts.iter().map(|_| Arc::<Mutex<Vec<u128>>>::default()).collect();
            let sinks = scripts.iter().zip(&kept).enumerate().map(|(at, (script, kept))| {
                let (script, kept) = (script.clone(), kept.clone());
                let played = Played { script, batch, kept, tried: Arc::default() };
                (Arc::from(at.to_string()), Box::new(played) as Box<dyn Sink>)
            });
            let delivery = start(sinks.collect(), 6);
            let (back, from) = channel();
            let mut next = 0;
            for (seq, size) in sizes.iter().enumerate() {
                let ids = next..next + *size as u128;
                next = ids.end;
                let mut left = parcel(seq as u64, ids);
                while let Err(again) = delivery.offer(left, &back) {
                    left = again;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            prop_assert_eq!(delivery.drain(SOON).await, 0);
            let mut settled: BTreeMap<u64, usize> = BTreeMap::new();
            let mut outcomes: BTreeMap<(usize, u128), usize> = BTreeMap::new();
            for report in from.try_iter() {
                match report {
                    Report::Settled(stamp) => *settled.entry(stamp.seq).or_default() += 1,
                    Report::Refused { stamp, sink, alert, .. } => {
                        prop_assert!(!settled.contains_key(&stamp.seq));
                        *outcomes.entry((sink.parse().unwrap(), alert.id)).or_default() += 1;
                    }
                }
            }
            // A failure of the whole leaves what was written before it: it is written again, as a real sink
            // would see by its id.
            for (at, kept) in kept.iter().enumerate() {
                let mut kept = kept.lock().unwrap().clone();
                kept.sort();
                kept.dedup();
                kept.iter().for_each(|id| *outcomes.entry((at, *id)).or_default() += 1);
            }
            prop_assert_eq!(settled.into_iter().collect::<Vec<_>>(),
                (0..sizes.len() as u64).map(|seq| (seq, 1)).collect::<Vec<_>>());
            for at in 0..scripts.len() {
                for id in 0..next {
                    prop_assert!(outcomes.contains_key(&(at, id)), "{} at {}", id, at);
                }
            }
            let done: u64 = delivery.stats().iter().map(|stats| stats.delivered + stats.refused).sum();
            prop_assert_eq!(done, next as u64 * scripts.len() as u64);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn alerts_leave_in_the_order_in_which_they_came() {
    let tried: Arc<Mutex<Vec<u128>>> = Arc::default();
    let played = Played { script: vec![0, 1, 2, 2, 0], batch: 4, kept: Arc::default(), tried: tried.clone() };
    let kept = played.kept.clone();
    let delivery = start(vec![("played".into(), Box::new(played))], 100);
    let (back, _from) = channel();
    for seq in 0..5 {
        let first = u128::from(seq) * 3;
        delivery.offer(parcel(seq, first..first + 3), &back).unwrap();
    }
    assert_eq!(delivery.drain(SOON).await, 0);
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
        let delivery = start(vec![("splunk".into(), open(&SinkConfig::Splunk(config)).unwrap())], 100);
        let (back, from) = channel();
        for seq in 0..10 {
            delivery.offer(parcel(seq, (1..=5).map(|id| id + 5 * u128::from(seq))), &back).unwrap();
        }
        assert_eq!(delivery.drain(SOON).await, 0);
        let stats = delivery.stats().remove(0);
        assert_eq!((stats.delivered, stats.refused, stats.blocked), (47, 3, None));
        assert!(stats.retried <= 40, "asking is no second try: {}", stats.retried);
        let told = reports(&from);
        assert_eq!(told.iter().filter(|report| report.ends_with("settled")).count(), 10);
        let expected = (1..=50).filter(|id| ![7, 8, 40].contains(id)).map(|id| (id, 1)).collect();
        assert_eq!(server.inner().indexed, expected, "ack = {ack}");
    }
}
