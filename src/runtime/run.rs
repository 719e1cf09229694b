//! Start and stop: worker threads, delivery, the HTTP server, as one thing.
//!
//! What is to run arrives here checked; where it came from (a configuration, the demo) is not known here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::backlog::Backlog;
use super::delivery::{Outlet, Sinks};
use super::http::{self, Look, Reload, View};
use super::keeper::{Keeper, Keeping};
use super::publish::{Fresh, LOOK, Publisher, Reloaded, Shelf};
use super::thread::{self, Setup, wall};
use super::worker::{Compiled, Exchange, Habits, Worker};
use crate::checkpoint::Store;
use crate::event::time::SECOND;
use crate::event::{Limits, Micros, Timestamp};
use crate::kafka::{self, Cluster, Complaints, Error, Topics};
use crate::metrics::{Overview, Status};
use crate::rule::content::Content;
use crate::rule::{Placement, RuleSet, scans};
use crate::schema::Schema;

/// How long workers may take to stop.
const STOP: Duration = Duration::from_secs(15);

/// How long sinks may take at least, then.
const SINKS: Duration = Duration::from_secs(3);

/// What is to run.
pub struct Plan {
    /// How to reach Kafka.
    pub kafka: kafka::Settings,
    /// What is read.
    pub topics: Topics,
    /// The rules, and what of them was left out.
    pub fresh: Fresh,
    /// Where rules are read again while everything runs; none = never.
    pub shelf: Option<Arc<dyn Shelf>>,
    /// The engine's limits.
    pub limits: Limits,
    /// Worker threads.
    pub workers: usize,
    /// Where alerts go.
    pub sinks: Vec<Outlet>,
    /// How many partitions the journal has.
    pub journal: i32,
    /// Where state is saved, how often, and how much of it is kept.
    pub saving: Saving,
    /// Streams whose times are written by their producers.
    pub told_time: BTreeSet<Arc<str>>,
    /// Where metrics and health are served; none = nowhere.
    pub listen: Option<SocketAddr>,
}

impl Plan {
    /// A run that nobody goes on with: one worker, a journal of one partition, state in memory, all defaults.
    pub fn passing(kafka: kafka::Settings, topics: Topics, compiled: Compiled) -> Result<Plan, Error> {
        let store = Store::unchecked("memory:").map_err(|error| Error::new(error.to_string()))?;
        let fresh = Fresh { compiled, unplaced: Vec::new(), content: Content::default() };
        Ok(Plan {
            kafka,
            topics,
            fresh,
            shelf: None,
            limits: Limits::default(),
            workers: 1,
            sinks: Vec::new(),
            journal: 1,
            saving: Saving { store, every: 60 * SECOND, keep: 1, cold: false },
            told_time: BTreeSet::new(),
            listen: None,
        })
    }
}

/// How state is saved.
pub struct Saving {
    /// Where.
    pub store: Store,
    /// How often each partition is.
    pub every: Micros,
    /// How many checkpoints of a partition are kept.
    pub keep: usize,
    /// Whether a partition whose state is lost may start without it.
    pub cold: bool,
}

/// Everything, running.
pub struct Running {
    runtime: Runtime,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    address: Option<SocketAddr>,
}

/// What the HTTP server looks at.
struct Shared {
    statuses: Vec<Arc<Mutex<Status>>>,
    backlog: Arc<Backlog>,
    threads: Mutex<Vec<JoinHandle<Result<(), Error>>>>,
    sinks: Sinks,
    keeper: Arc<Keeper>,
    publisher: Publisher,
    started: Timestamp,
}

/// Why it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to, by that signal.
    Asked(&'static str),
    /// A worker's thread has ended by itself.
    Broken(String),
}

/// The runtime of the edges: sinks and HTTP.
pub fn edges() -> Result<Runtime, Error> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("edge")
        .enable_all()
        .build();
    built.map_err(|error| Error::new(format!("cannot start threads: {error}")))
}

impl Running {
    /// Starts everything on `runtime`. Kafka need not answer yet: workers wait for it.
    pub fn start(plan: Plan, runtime: Runtime) -> Result<Running, Error> {
        let listener = plan.listen.map(|address| listen(&runtime, address)).transpose()?;
        let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let stop = Arc::new(AtomicBool::new(false));
        let Plan { fresh, shelf, saving, .. } = plan;
        let Compiled { rules, schemas } = fresh.compiled.clone();
        let (topics, kafka) = (Arc::new(plan.topics), Arc::new(plan.kafka));
        let complaints: Arc<Complaints> = Arc::default();
        let keeping = Keeping {
            settings: kafka.clone(),
            topics: topics.clone(),
            journal: plan.journal,
            store: saving.store.clone(),
            keep: saving.keep,
            cold: saving.cold,
            shelf: shelf.clone(),
        };
        let keeper = Arc::new(Keeper::open(keeping, runtime.handle().clone())?);
        let count = plan.workers.max(1);
        let (to_workers, published): (Vec<_>, Vec<_>) = (0..count).map(|_| channel()).unzip();
        // Before any worker says by which rules it judges.
        let publisher =
            Publisher::start(&fresh, (shelf, saving.store), (keeper.clone(), to_workers), runtime.handle())?;
        let habits = Habits { told_time: plan.told_time, save_every: saving.every };
        let (mut statuses, mut threads) = (Vec::new(), Vec::new());
        for (index, published) in published.into_iter().enumerate() {
            let status: Arc<Mutex<Status>> = Arc::default();
            let now = wall();
            *lock(&status) = Status { at: now, reached_at: now, ..Status::default() };
            let worker = Worker::new(rules.clone(), &schemas, &plan.limits, Exchange::InPartition);
            let setup = Setup {
                name: format!("fleetwarden-{index}"),
                settings: kafka.clone(),
                topics: topics.clone(),
                complaints: complaints.clone(),
                worker: worker.with_habits(habits.clone()),
                keeper: keeper.clone(),
                published,
                journal: plan.journal,
                status: status.clone(),
                stop: stop.clone(),
            };
            let builder = std::thread::Builder::new().name(format!("worker-{index}"));
            let thread = builder.spawn(move || thread::run(setup));
            threads.push(thread.map_err(|error| Error::new(format!("cannot start a worker: {error}")))?);
            statuses.push(status);
        }
        let journal = kafka.journal();
        let sinks = Sinks::start(plan.sinks, &kafka, &journal, &complaints, runtime.handle())?;
        let backlog = Backlog::watch(kafka, topics, statuses.clone(), stop.clone())?;
        let shared = Arc::new(Shared {
            statuses,
            backlog,
            threads: Mutex::new(threads),
            sinks,
            keeper,
            publisher,
            started: wall(),
        });
        if let Some(listener) = listener {
            serve(&runtime, listener, &shared);
        }
        watch(&runtime, &shared);
        Ok(Running { runtime, shared, stop, address })
    }

    /// Where metrics and health are served.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// How everything does; what workers published up to a second ago.
    pub fn overview(&self) -> Overview {
        self.shared.overview()
    }

    /// Waits until the process is asked to end, or a worker ends by itself. Asked a second time, it exits at
    /// once.
    pub fn wait(&self) -> Result<Ended, Error> {
        let shared = self.shared.clone();
        let failed = |error: std::io::Error| Error::new(format!("cannot listen for signals: {error}"));
        self.runtime.block_on(async move {
            let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
            let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
            let ended = loop {
                tokio::select! {
                    _ = terminate.recv() => break Ended::Asked("SIGTERM"),
                    _ = interrupt.recv() => break Ended::Asked("SIGINT"),
                    () = tokio::time::sleep(Duration::from_millis(200)) => {}
                }
                if let Some(reason) = shared.ended().into_iter().next() {
                    break Ended::Broken(reason);
                }
            };
            tokio::spawn(async move {
                tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
                std::process::exit(130);
            });
            Ok(ended)
        })
    }

    /// Stops: workers read nothing more, wait a little for sinks, commit, leave the group. True if all of
    /// them did in time; what was not committed is read again by whoever comes next.
    pub fn stop(self) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + STOP;
        let mut threads = std::mem::take(&mut *lock(&self.shared.threads));
        while !threads.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut clean = true;
        for thread in threads.drain(..) {
            // One that still hangs at a broker that does not answer is left behind: the process ends anyway.
            clean &= thread.is_finished() && matches!(thread.join(), Ok(Ok(())));
        }
        // After the workers: what they said last is delivered still, if it can be at once. What is not, waits
        // in the journal.
        clean &= self.shared.sinks.stop(deadline.max(Instant::now() + SINKS));
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        clean
    }
}

impl Shared {
    fn overview(&self) -> Overview {
        let mut workers: Vec<Status> = self.statuses.iter().map(|status| lock(status).clone()).collect();
        workers.iter_mut().for_each(|worker| self.backlog.correct(worker));
        let current = self.publisher.current();
        Overview {
            workers,
            sinks: self.sinks.stats(),
            rules: current.rows,
            unplaced: current.unplaced,
            rule_set: current.hash,
            refused_rule_sets: current.refused,
            failed_checkpoints: self.keeper.failures(),
        }
    }

    fn ended(&self) -> Vec<String> {
        let threads = lock(&self.threads);
        let ended = threads.iter().enumerate().filter(|(_, thread)| thread.is_finished());
        let ended = ended.map(|(index, _)| format!("worker {index} has ended"));
        self.keeper.refusal().into_iter().chain(ended).chain(self.sinks.ended()).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads rules anew when a file has changed, and when the process is told to (SIGHUP).
fn watch(runtime: &Runtime, shared: &Arc<Shared>) {
    let (shared, handle) = (Arc::downgrade(shared), runtime.handle().clone());
    runtime.spawn(async move {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return tracing::error!("SIGHUP is not listened to: {error}"),
        };
        loop {
            let asked = tokio::select! {
                _ = hangup.recv() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let Some(shared) = shared.upgrade() else { return };
            let handle = handle.clone();
            let work = move || match asked {
                true => Some(shared.publisher.reload(&handle)),
                false => shared.publisher.reload_if_changed(&handle),
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(Some(Reloaded::Refused(why))) => {
                    tracing::error!("rules are refused, those of before run on: {why}")
                }
                Ok(Some(reloaded)) => tracing::info!("rules read anew: {reloaded}"),
                Ok(None) => {}
                Err(error) => tracing::error!("reading rules anew: {error}"),
            }
        }
    });
}

fn listen(runtime: &Runtime, address: SocketAddr) -> Result<TcpListener, Error> {
    runtime.block_on(TcpListener::bind(address)).map_err(|error| {
        Error::new(format!("cannot serve metrics at {address}: {error}"))
            .hint("choose another address: `listen` in [http]")
    })
}

fn serve(runtime: &Runtime, listener: TcpListener, shared: &Arc<Shared>) {
    let (shared, publisher) = (shared.clone(), shared.clone());
    let look: Look = Arc::new(move || View {
        overview: shared.overview(),
        ended: shared.ended(),
        started: shared.started,
        now: wall(),
    });
    let handle = runtime.handle().clone();
    let reload: Reload = Arc::new(move || publisher.publisher.reload(&handle));
    runtime.spawn(async move {
        if let Err(error) = axum::serve(listener, http::router(look, reload)).await {
            tracing::error!("metrics and health are no longer served: {error}");
        }
    });
}

/// A rule that cannot run where its topic has several partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// The rule's id.
    pub rule: String,
    /// Its stream.
    pub stream: Arc<str>,
    /// How many partitions the topic has.
    pub partitions: usize,
}

/// Rules whose key does not contain the partition key, on topics of more than one partition: a key's rows lie
/// in several partitions, and no worker sees them all.
pub fn misplaced(rules: &RuleSet, topics: &[kafka::TopicInfo]) -> Vec<Misplaced> {
    let partitions = |stream: &str| topics.iter().find(|t| &*t.stream == stream).map_or(0, |t| t.partitions);
    let bad = rules.rules.iter().filter(|rule| rule.placement == Placement::Exchange);
    bad.map(|rule| Misplaced {
        rule: rule.info.id.clone(),
        stream: rule.stream.clone(),
        partitions: partitions(&rule.stream),
    })
    .filter(|misplaced| misplaced.partitions > 1)
    .collect()
}

/// The set without some rules.
pub fn without(rules: &RuleSet, gone: &[String], schemas: &[Arc<Schema>]) -> RuleSet {
    let kept: Vec<_> = rules.rules.iter().filter(|rule| !gone.contains(&rule.info.id)).cloned().collect();
    RuleSet { hash: rules.hash, scans: scans(&kept, schemas).0, rules: kept }
}

/// Asks the cluster about all topics. While some are missing and that is to be waited for, asks again.
pub fn topics(
    cluster: &Cluster<'_>,
    settings: &kafka::Settings,
    topics: &Topics,
) -> Result<Vec<kafka::TopicInfo>, Error> {
    let mut told = false;
    loop {
        let all = cluster.inspect(topics)?;
        let missing: Vec<&kafka::TopicInfo> = all.iter().filter(|topic| topic.partitions == 0).collect();
        if missing.is_empty() {
            return Ok(all);
        }
        let names: Vec<String> =
            missing.iter().map(|info| format!("\"{}\" (stream {})", info.topic, info.stream)).collect();
        let message = format!("topics that do not exist: {}", names.join(", "));
        if settings.missing_topics == kafka::MissingTopics::Refuse {
            let command =
                |info: &&kafka::TopicInfo| kafka::topics::create_command(&settings.brokers, &info.topic, 4);
            let commands: Vec<String> = missing.iter().map(command).collect();
            return Err(Error::new(message).hint(format!(
                "create them, or say `enabled = false` for a stream, or `missing_topics = \"wait\"`:\n  {}",
                commands.join("\n  ")
            )));
        }
        if !told {
            tracing::warn!("waiting for {message}");
            told = true;
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::sync::mpsc::channel;

    use super::*;
    use crate::diagnostic::Source;

    use crate::kafka::TopicInfo;
    use crate::kafka::mock::Mock;
    use crate::rule::{self, RuleFile};
    use crate::schema;
    use crate::sink::Item;
    use crate::sink::channel::Channel;

    fn rules(schemas: &[Arc<Schema>]) -> RuleSet {
        let head = "title = \"T\"\nseverity = \"high\"\nrisk = 10\nstream = \"telemetry\"\n\
                    triage = \"x\"\nblind_spots = \"x\"\n";
        let fast = format!("{head}[match]\nwhere = \"speed > 250\"\nkey = [\"vin\"]\n");
        let many = format!(
            "{head}[threshold]\nkey = [\"ignition\"]\nwindow = \"60s\"\nhaving = \"count(*) >= 99\"\n"
        );
        let file =
            |(name, text): (&str, String)| RuleFile { source: Source { path: format!("{name}.toml"), text } };
        let loaded = rule::load(&[("fast", fast), ("many", many)].map(file), schemas);
        assert_eq!(loaded.rules.rules.len(), 2, "{:?}", loaded.problems);
        loaded.rules
    }

    #[test]
    fn a_rule_over_several_partitions_is_noticed_and_can_be_left_out() {
        let schemas = schema::built_in();
        let rules = rules(&schemas);
        let topic = |partitions| {
            let (stream, topic) = ("telemetry".into(), "cars".into());
            [TopicInfo { stream, topic, partitions, broker_time: None }]
        };
        assert_eq!(misplaced(&rules, &topic(1)), []);
        let found = misplaced(&rules, &topic(3));
        let expected = Misplaced { rule: "many".into(), stream: "telemetry".into(), partitions: 3 };
        assert_eq!(found, [expected]);
        let kept = without(&rules, &["many".into()], &schemas);
        assert_eq!(kept.rules.iter().map(|rule| rule.info.id.as_str()).collect::<Vec<_>>(), ["fast"]);
        assert!(kept.scans.contains_key("telemetry"));
    }

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_record_becomes_an_alert_a_number_and_a_commit() {
        let mock = Mock::start().unwrap();
        mock.create_topic("cars", 1).unwrap();
        let schemas = schema::built_in();
        let runtime = edges().unwrap();
        let mut kafka = kafka::Settings::new(mock.brokers());
        // The mock lets members in when most of a session is over.
        for (key, value) in [("session.timeout.ms", "4000"), ("heartbeat.interval.ms", "300")] {
            kafka.consumer.0.insert(key.into(), value.into());
        }
        let names = Topics::new([("telemetry".into(), "cars".to_string())]).unwrap();
        let cluster = Cluster::open(&kafka, runtime.handle()).unwrap();
        assert_eq!(topics(&cluster, &kafka, &names).unwrap()[0].partitions, 1);
        drop(cluster);
        let (tap, alerts) = channel();
        mock.create_topic(&kafka.journal(), 2).unwrap();
        let compiled = Compiled { rules: Arc::new(rules(&schemas)), schemas: schemas.into() };
        let mut plan = Plan::passing(kafka, names, compiled).unwrap();
        (plan.workers, plan.journal, plan.saving.every) = (2, 2, SECOND);
        plan.sinks = vec![Outlet::new("test", Box::new(Channel(tap)))];
        plan.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let running = Running::start(plan, runtime).unwrap();
        let address = running.address().unwrap();
        assert!(get(address, "/readyz").starts_with("HTTP/1.0 503"), "not in the group yet");
        for (speed, at) in [(120, 1), (290, 2), (130, 3)] {
            let text = format!("{{\"vin\":\"V1\",\"ts\":{at},\"speed\":{speed}}}");
            mock.send("cars", 0, b"V1", text.as_bytes(), wall()).unwrap();
        }
        mock.flush().unwrap();
        let Item { alert, detected } = alerts.recv_timeout(Duration::from_secs(15)).unwrap();
        assert_eq!((alert.rule.id.as_str(), alert.evidence[0].offset), ("fast", 1));
        assert!(detected >= alert.broker_time);
        let end = Instant::now() + Duration::from_secs(10);
        while !get(address, "/readyz").starts_with("HTTP/1.0 200") || running.overview().events() < 3 {
            assert!(Instant::now() < end, "{}", get(address, "/readyz"));
            std::thread::sleep(Duration::from_millis(50));
        }
        let page = get(address, "/metrics");
        assert!(page.contains("fleetwarden_alerts_total{rule=\"fast\",severity=\"high\"} 1\n"), "{page}");
        assert!(get(address, "/livez").starts_with("HTTP/1.0 200"));
        assert!(running.stop());
        assert_eq!(mock.committed("fleetwarden", "cars", 0), Some(3));
    }
}
