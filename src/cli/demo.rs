//! `fleetwarden demo`: a recorded half minute of a fleet with attacks in it, played into an in-process Kafka,
//! and the real engine on it.

mod sample;
mod show;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::{Exit, fail};
use crate::alert::Alert;
use crate::event::time::parse_duration;
use crate::event::{Limits, Timestamp};
use crate::kafka::mock::Mock;
use crate::kafka::{Error, Settings, Topics};
use crate::metrics::Overview;
use crate::rule::{self, RuleSet, shipped};
use crate::runtime::run::{Plan, Running, edges};
use crate::runtime::thread::wall;
use crate::schema::{self, Schema};
use sample::{Attack, Sample};
use show::Show;

/// Watch attacks being found, on an in-process Kafka: needs nothing, ends by itself.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// How long it may take; the recording is played once within half of it
    #[arg(long = "for", default_value = "60s", value_name = "DURATION", value_parser = duration)]
    pub length: Duration,
    /// For people, or for machines: one JSON object an alert, then the summary
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Who reads the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// People.
    Human,
    /// Machines.
    Json,
}

/// Where metrics are served, if the port is free.
const METRICS_PORT: u16 = 9464;

/// The shortest demo: the group alone takes three seconds to form.
const SHORTEST: Duration = Duration::from_secs(10);

fn duration(text: &str) -> Result<Duration, String> {
    let micros = parse_duration(text).and_then(|micros| u64::try_from(micros).ok());
    let length = Duration::from_micros(micros.ok_or("such as 60s or 2m")?);
    if length < SHORTEST { Err("at least 10s".into()) } else { Ok(length) }
}

/// Runs it: 1 if an attack was missed, or something else was reported; 2 if it could not run.
pub fn run(args: &DemoArgs) -> Exit {
    match Demo::start(args).and_then(|demo| demo.play(args)) {
        Ok(true) => Exit::Ok,
        Ok(false) => Exit::Findings,
        Err(error) => fail(&error.to_string()),
    }
}

struct Demo {
    sample: Sample,
    kafka: Mock,
    running: Running,
    alerts: Receiver<(Arc<Alert>, Timestamp)>,
    show: Show,
    /// When it was started.
    began: Instant,
}

impl Demo {
    fn start(args: &DemoArgs) -> Result<Demo, Error> {
        let began = Instant::now();
        let schemas = schema::built_in();
        let sample = Sample::load(&schemas)?;
        let rules = rules(&schemas, &sample.streams())?;
        let kafka = Mock::start()?;
        let read: Vec<(Arc<str>, String)> = sample
            .streams()
            .iter()
            .filter_map(|stream| schemas.iter().find(|schema| schema.name == *stream))
            .map(|schema| (schema.name.clone(), schema.topic.clone()))
            .collect();
        for (_, topic) in &read {
            kafka.create_topic(topic, 1)?;
        }
        let mut settings = Settings::new(kafka.brokers());
        // The in-process cluster answers a fetch only when its time is up: not what a broker does.
        settings.consumer.0.insert("fetch.wait.max.ms".into(), "10".into());
        kafka.create_topic(&settings.dead_letter_topic, 1)?;
        let show = Show::new(args.format, rules.rules.len(), sample.vehicles(), read.len());
        let (tap, alerts) = channel();
        let plan = Plan {
            kafka: settings,
            topics: Topics::new(read)?,
            rules,
            unplaced: Vec::new(),
            schemas,
            limits: Limits::default(),
            workers: 1,
            sinks: Vec::new(),
            tap: Some(tap),
            listen: Some(free_port()),
        };
        let running = Running::start(plan, edges()?)?;
        show.welcome(running.address());
        Ok(Demo { sample, kafka, running, alerts, show, began })
    }

    /// Plays the recording, shows what is found, and says how it went.
    fn play(mut self, args: &DemoArgs) -> Result<bool, Error> {
        self.join(args.length / 4)?;
        let length = args.length / 2;
        let (first, span) = self.sample.span();
        // Never slower than it was recorded: real time is what people can follow.
        let pace = (span.as_secs_f64() / length.as_secs_f64()).max(1.0);
        let start = wall();
        let clock = sample::Clock { first, start, pace };
        let mut verdict = Verdict::default();
        for record in self.sample.records(&clock) {
            while wall() < record.at {
                self.take(&mut verdict, &clock, Duration::from_millis(20));
            }
            let topic = self.sample.topic(&record.stream).unwrap_or_default();
            self.kafka.send(topic, 0, record.key.as_bytes(), record.payload.as_bytes(), record.at)?;
            verdict.records += 1;
        }
        self.kafka.flush()?;
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && !self.is_settled(&verdict) {
            self.take(&mut verdict, &clock, Duration::from_millis(20));
        }
        self.take(&mut verdict, &clock, Duration::from_millis(200));
        let seconds = (wall().0 - start.0) as f64 / 1e6;
        let overview = self.running.overview();
        let good = self.show.verdict(&verdict, &self.sample, &overview, seconds);
        self.running.stop();
        Ok(good)
    }

    /// Waits for the group to form.
    fn join(&self, patience: Duration) -> Result<(), Error> {
        let end = Instant::now() + patience.max(Duration::from_secs(8));
        let reading = |overview: &Overview| {
            overview.workers.iter().any(|worker| worker.partitions.values().any(|p| p.next_offset.is_some()))
        };
        while !reading(&self.running.overview()) {
            if Instant::now() > end {
                return Err(Error::new("the in-process Kafka did not let the worker in"));
            }
            self.show.waiting(self.began.elapsed());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Takes the alerts that have come, waiting a little for the first.
    fn take(&mut self, verdict: &mut Verdict, clock: &sample::Clock, wait: Duration) {
        let mut next = self.alerts.recv_timeout(wait).ok();
        while let Some((alert, detected)) = next {
            verdict.add(&alert, detected, &self.sample, clock);
            self.show.alert(&alert, Duration::from_micros((wall().0 - clock.start.0).unsigned_abs()));
            next = self.alerts.try_recv().ok();
        }
        self.show.line(&self.running.overview(), verdict.alerts);
    }

    /// Whether everything that was sent has been judged.
    fn is_settled(&self, verdict: &Verdict) -> bool {
        let totals = self.running.overview().totals();
        totals.partitions.values().map(|p| p.records).sum::<u64>() >= verdict.records
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Records played.
    pub records: u64,
    /// Alerts that came.
    pub alerts: u64,
    /// Attacks that were found, by their index.
    pub found: BTreeSet<usize>,
    /// Alerts that belong to no attack.
    pub outside: u64,
    /// Per alert: from the broker's time of the record to the alert.
    pub latencies: Vec<Duration>,
}

impl Verdict {
    fn add(&mut self, alert: &Alert, detected: Timestamp, sample: &Sample, clock: &sample::Clock) {
        self.alerts += 1;
        self.latencies
            .push(Duration::from_micros(u64::try_from(detected.0 - alert.broker_time.0).unwrap_or(0)));
        let attack = sample.attacks.iter().position(|attack| matches(attack, alert, clock));
        match attack {
            Some(attack) => {
                self.found.insert(attack);
            }
            None => self.outside += 1,
        }
    }
}

/// An alert belongs to an attack that may be told by its rule and key, once that has begun.
fn matches(attack: &Attack, alert: &Alert, clock: &sample::Clock) -> bool {
    let key: Vec<serde_json::Value> = alert.key.iter().map(crate::event::Value::json).collect();
    attack.told_by.contains(&(alert.rule.id.clone(), key))
        && alert.broker_time >= clock.at(attack.start).minus(1000)
}

/// The shipped rules of these streams: they lie in a folder for each.
fn rules(schemas: &[Arc<Schema>], streams: &[Arc<str>]) -> Result<RuleSet, Error> {
    let mut files = shipped::files();
    files
        .retain(|file| file.source.path.split('/').nth(1).is_some_and(|f| streams.iter().any(|s| **s == *f)));
    let loaded = rule::load(&files, schemas);
    let mut errors = loaded.problems.iter().filter(|p| p.gravity == crate::diagnostic::Gravity::Error);
    match errors.next() {
        Some(problem) => Err(Error::new(format!("{}: {}", problem.file, problem.message))),
        None => Ok(loaded.rules),
    }
}

/// The usual port for metrics, or any other if somebody has it.
fn free_port() -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS_PORT));
    if TcpListener::bind(usual).is_ok() { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
}
