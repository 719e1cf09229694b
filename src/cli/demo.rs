//! `fleetwarden demo`: a simulated fleet on a Monday morning, attacks on it, and the real engine on an in-process
//! Kafka. Simulated time runs faster than the clock on the wall.

mod engine;
mod show;
mod story;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::{Exit, fail};
use crate::diagnostic::Gravity;
use crate::event::time::parse_duration;
use crate::fleet::Simulation;
use crate::fleet::score::Seen;
use crate::kafka::Error;
use crate::rule::{self, RuleSet, shipped};
use crate::runtime::thread::wall;
use crate::schema::{self, Schema};
use engine::Engine;
use show::{Outcome, Show};
use story::{LENGTH_MS, Verdict};

/// Watch attacks on a simulated fleet being found, on an in-process Kafka: needs nothing, ends by itself.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// How long it may take: about an hour of a fleet is played within it
    #[arg(long = "for", default_value = "60s", value_name = "DURATION", value_parser = duration)]
    pub length: Duration,
    /// Everything random comes from it: the fleet, its people, who is attacked
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
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

/// How long it may take to form.
const JOIN: Duration = Duration::from_secs(15);

/// How long the last records may take to be judged.
const FAREWELL: Duration = Duration::from_secs(10);

/// How often the running line moves.
const BLINK: Duration = Duration::from_millis(50);

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

/// Everything that is started.
struct Demo {
    simulation: Simulation,
    rules: RuleSet,
    engine: Engine,
    watch: Watch,
    /// When it was started.
    began: Instant,
}

impl Demo {
    fn start(args: &DemoArgs) -> Result<Demo, Error> {
        let began = Instant::now();
        let schemas = schema::built_in();
        let rules = rules(&schemas)?;
        let plan = story::plan(args.seed, wall().millis());
        let simulation = Simulation::new(&plan).map_err(Error::new)?;
        let streams = schemas.len();
        let engine = Engine::start(rules.clone(), schemas, free_port())?;
        let show = Show::new(args.format, plan.start_ms);
        show.welcome(&plan, streams, rules.rules.len(), engine.address());
        let watch = Watch { show, start_ms: plan.start_ms, alerts: Vec::new(), latencies: Vec::new() };
        Ok(Demo { simulation, rules, engine, watch, began })
    }

    /// Plays the fleet, shows what is found, and says how it went.
    fn play(self, args: &DemoArgs) -> Result<bool, Error> {
        let Demo { mut simulation, rules, mut engine, mut watch, began } = self;
        join(&engine, &watch.show, began)?;
        let start = Instant::now();
        let pace = pace(args.length.saturating_sub(began.elapsed()));
        watch.show.begin(pace);
        while let Some(sent) = simulation.next_record() {
            let since = (sent.broker_ms - watch.start_ms).max(0);
            let due = start + Duration::from_secs_f64(since as f64 / 1_000.0 / pace);
            while watch.take(&engine, due, since) || !engine.has_room(sent.stream.name()) {}
            engine.send(&sent)?;
        }
        engine.flush()?;
        let end = Instant::now() + FAREWELL;
        while Instant::now() < end && !engine.is_settled(watch.alerts.len() as u64) {
            watch.take(&engine, Instant::now() + BLINK, LENGTH_MS);
        }
        let attacks = simulation.attacks();
        let verdict = Verdict::of(attacks, &rules, &watch.alerts);
        watch.show.verdict(&Outcome {
            attacks,
            verdict: &verdict,
            rules: rules.rules.len(),
            alerts: watch.alerts.len(),
            events: engine.overview().events(),
            records: engine.records(),
            seconds: start.elapsed().as_secs_f64(),
            latencies: &watch.latencies,
        });
        engine.stop();
        Ok(verdict.is_good())
    }
}

/// What has been seen so far.
struct Watch {
    show: Show,
    start_ms: i64,
    alerts: Vec<Seen>,
    /// Per alert that an event fired: how long that had been sent.
    latencies: Vec<Duration>,
}

impl Watch {
    /// Shows the alerts that have come, waiting a little for the first, at most until `due`. True if it is not due
    /// yet. `since` is how far simulated time has come, in milliseconds.
    fn take(&mut self, engine: &Engine, due: Instant, since: i64) -> bool {
        let wait = due.saturating_duration_since(Instant::now()).min(BLINK);
        let mut next = engine.alert(wait);
        while let Some(alert) = next {
            self.latencies.extend(engine.latency(&alert));
            self.alerts.push(Seen::new(&alert));
            self.show.alert(&alert);
            next = engine.alert(Duration::ZERO);
        }
        self.show.line(engine, since, self.alerts.len(), &self.latencies);
        Instant::now() < due
    }
}

/// Waits for the group to form.
fn join(engine: &Engine, show: &Show, began: Instant) -> Result<(), Error> {
    let end = Instant::now() + JOIN;
    while !engine.is_reading() {
        if Instant::now() > end {
            return Err(Error::new("the in-process Kafka did not let the worker in"));
        }
        show.waiting(began.elapsed());
        std::thread::sleep(BLINK);
    }
    Ok(())
}

/// How much faster than the clock on the wall simulated time runs, so that it is over a little before the time is
/// up. Never slower: real time is what people can follow.
fn pace(left: Duration) -> f64 {
    let seconds = left.as_secs_f64() - 2.0;
    (LENGTH_MS as f64 / 1_000.0 / seconds.max(4.0)).max(1.0)
}

/// The shipped rules.
fn rules(schemas: &[Arc<Schema>]) -> Result<RuleSet, Error> {
    let loaded = rule::load(&shipped::files(), schemas);
    let mut errors = loaded.problems.iter().filter(|problem| problem.gravity == Gravity::Error);
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
