//! `fleetwarden run`: Kafka in, alerts to the configured sinks, until it is told to stop.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::shelf::Folders;
use super::{Exit, Rules};
use crate::checkpoint::Store;
use crate::config::{self, Config, LogFormat};
use crate::kafka::{Cluster, Error, TopicInfo, Topics, Unplaced};
use crate::metrics::RuleRow;
use crate::rule::{Clock, Kind, Rule, RuleSet};
use crate::runtime::delivery::Outlet;
use crate::runtime::run::{Ended, Misplaced, Plan, Running, Saving, edges, misplaced, topics};
use crate::schema::Schema;
use crate::sink;

/// Detect: Kafka in, alerts to the configured sinks, until stopped.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The configuration
    #[arg(short, long, default_value = "fleetwarden.toml")]
    pub config: PathBuf,

    /// Start partitions whose saved state is gone without it, instead of not at all
    #[arg(long)]
    pub cold: bool,
}

/// Runs until SIGTERM or SIGINT. 1: problems in rules or schemas; 2: in the configuration, or around us.
pub fn run(args: &RunArgs) -> Exit {
    let started = Arc::new(AtomicBool::new(false));
    let runtime = match edges() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&error.to_string()),
    };
    end_at_once_until(&started, &runtime);
    let config = match config::load(&args.config) {
        Ok(config) => config,
        Err(refused) => {
            super::print_problems(&refused.problems, &[refused.source], crate::diagnostic::Gravity::Error);
            return super::fail("nothing was started");
        }
    };
    let loaded = match super::load_rules(std::slice::from_ref(&config.rules), config.schemas.as_deref()) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    log(&config.log);
    let running = start(config, loaded, args.cold, runtime);
    started.store(true, Ordering::Relaxed);
    match running {
        Ok(running) => finish(running),
        Err(error) => super::fail(&error.to_string()),
    }
}

/// Log lines go to stderr. `FLEETWARDEN_LOG` overrides the level, also for parts of the program.
pub(super) fn log(log: &config::Log) {
    let filter =
        EnvFilter::try_from_env("FLEETWARDEN_LOG").unwrap_or_else(|_| EnvFilter::new(log.level.name()));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match log.format {
        LogFormat::Text => lines.with_ansi(super::color(&std::io::stderr())).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Err(error) = set {
        eprintln!("warning: nothing is logged: {error}");
    }
}

/// Until something is owned there is nothing to save: whoever asks this process to end is obeyed at once, and
/// that is no failure.
fn end_at_once_until(started: &Arc<AtomicBool>, runtime: &tokio::runtime::Runtime) {
    let started = started.clone();
    let entered = runtime.enter();
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    drop(entered);
    let listen = async move {
        terminate.recv().await;
        if !started.load(Ordering::Relaxed) {
            std::process::exit(0);
        }
    };
    runtime.spawn(listen);
}

fn start(
    config: Config,
    loaded: Rules,
    cold: bool,
    runtime: tokio::runtime::Runtime,
) -> Result<Running, Error> {
    let sinks = sinks(&config)?;
    let read = streams(&config, &loaded.schemas, &loaded.rules)?;
    let (found, journal) = {
        let cluster = Cluster::open(&config.kafka, runtime.handle())?;
        let found = topics(&cluster, &config.kafka, &read)?;
        cluster.ensure(&config.kafka.dead_letter_topic)?;
        (found, cluster.ensure_journal(&config.kafka.journal())?)
    };
    let saving = saving(&config, cold, &runtime)?;
    let misplaced = misplaced(&loaded.rules, &found);
    if config.kafka.unplaced == Unplaced::Refuse && !misplaced.is_empty() {
        return Err(refusal(&misplaced));
    }
    let folders = Folders::new(&config.rules, config.schemas.as_deref(), &found);
    let fresh = folders.fresh(loaded);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = config.workers.map_or(cores, usize::from);
    tell(&config, &fresh.compiled.rules, &found, &misplaced, workers, &sinks);
    let told_time = found.iter().filter(|topic| topic.broker_time == Some(false));
    let plan = Plan {
        told_time: told_time.map(|topic| topic.stream.clone()).collect(),
        kafka: config.kafka,
        topics: read,
        fresh,
        shelf: Some(Arc::new(folders)),
        limits: config.limits,
        workers,
        sinks,
        journal,
        saving,
        listen: Some(config.http.listen),
    };
    let running = Running::start(plan, runtime)?;
    if let Some(address) = running.address() {
        tracing::info!("metrics http://{address}/metrics, health http://{address}/readyz");
    }
    Ok(running)
}

fn finish(running: Running) -> Exit {
    let ended = running.wait();
    match &ended {
        Ok(Ended::Asked(signal)) => tracing::info!("{signal}: stopping"),
        Ok(Ended::Broken(reason)) => tracing::error!("{reason}: stopping"),
        Err(error) => tracing::error!("{error}: stopping"),
    }
    let clean = running.stop();
    match ended {
        Ok(Ended::Asked(_)) if clean => {
            tracing::info!("stopped");
            Exit::Ok
        }
        Ok(Ended::Asked(_)) => {
            tracing::warn!("stopped before everything was committed: some records will be read again");
            Exit::Ok
        }
        _ => Exit::Usage,
    }
}

fn sinks(config: &Config) -> Result<Vec<Outlet>, Error> {
    let open = |(name, settings): (&String, &sink::SinkConfig)| {
        let sink = sink::open(settings).map_err(|error| Error::new(format!("sink \"{name}\": {error}")))?;
        Ok(Outlet { name: Arc::from(name.as_str()), start: settings.start(), sink })
    };
    config.sinks.iter().map(open).collect()
}

/// What is read: every enabled stream that some rule reads. The rules of other streams are left out, and
/// told.
fn streams(config: &Config, schemas: &[Arc<Schema>], rules: &RuleSet) -> Result<Topics, Error> {
    for name in config.streams.keys() {
        if !schemas.iter().any(|schema| *schema.name == **name) {
            let known: Vec<&str> = schemas.iter().map(|schema| &*schema.name).collect();
            let hint = crate::diagnostic::suggest(name, known.iter().copied());
            return Err(Error::new(format!("[streams.{name}]: there is no such stream")).hint(hint));
        }
    }
    let enabled = |stream: &str| config.streams.get(stream).is_none_or(|stream| stream.enabled);
    let wanted: BTreeSet<&str> =
        rules.rules.iter().map(|rule| &*rule.stream).filter(|stream| enabled(stream)).collect();
    let mut read = Vec::new();
    for schema in schemas {
        if wanted.contains(&*schema.name) {
            let topic = config.streams.get(&*schema.name).and_then(|stream| stream.topic.clone());
            read.push((schema.name.clone(), topic.unwrap_or_else(|| schema.topic.clone())));
        } else {
            let why = if enabled(&schema.name) { "no rule reads it" } else { "it is not enabled" };
            tracing::info!("stream {} is not read: {why}", schema.name);
        }
    }
    if read.is_empty() {
        return Err(Error::new("there is nothing to do: no rule reads an enabled stream"));
    }
    Topics::new(read)
}

/// Where state is saved. A store that cannot be written to stops the start: without it, nothing that is
/// remembered would survive a crash.
fn saving(config: &Config, cold: bool, runtime: &tokio::runtime::Runtime) -> Result<Saving, Error> {
    let checkpoints = &config.checkpoints;
    let store = runtime
        .block_on(Store::open(&checkpoints.url))
        .map_err(|error| Error::new(format!("[checkpoints]: {error}")))?;
    Ok(Saving { store, every: checkpoints.every, keep: usize::from(checkpoints.keep.get()), cold })
}

fn refusal(misplaced: &[Misplaced]) -> Error {
    let lines = misplaced.iter().map(|one| {
        format!("{} reads stream {}, whose topic has {} partitions", one.rule, one.stream, one.partitions)
    });
    let lines: Vec<String> = lines.collect();
    Error::new(format!(
        "rules whose key is not the partition key need all records in one partition:\n  {}",
        lines.join("\n  ")
    ))
    .hint(
        "give the topic one partition, remove the rules, or leave them out with `unplaced = \"skip\"` in \
         [kafka]",
    )
}

fn tell(
    config: &Config,
    rules: &RuleSet,
    found: &[TopicInfo],
    misplaced: &[Misplaced],
    workers: usize,
    sinks: &[Outlet],
) {
    let rows = RuleRow::all(rules);
    let silent = |mode: &str, name: &str| match rows.iter().filter(|row| row.mode == mode).count() {
        0 => String::new(),
        n => format!(", {n} of them {name}"),
    };
    let shadow =
        format!("{}{}", silent("shadow", "in shadow"), silent("building_block", "only building blocks"));
    let (all, workers) = (count(rows.len(), "rule"), count(workers, "worker"));
    tracing::info!("fleetwarden {} · {all}{shadow} · {workers}", env!("CARGO_PKG_VERSION"));
    for topic in found {
        let clock = match topic.broker_time {
            Some(true) => "LogAppendTime (the broker's clock)",
            Some(false) => "CreateTime (its producers' clocks)",
            None => "clock unknown",
        };
        let stream = &topic.stream;
        let of = count(rules.rules.iter().filter(|rule| rule.stream == *stream).count(), "rule");
        let partitions = count(topic.partitions, "partition");
        tracing::info!("reads {stream}: topic {}, {partitions}, {clock}, {of}", topic.topic);
        let windows = ids(rules, stream, |rule| matches!(rule.kind, Kind::Threshold(_)));
        let arrival = ids(rules, stream, |rule| rule.clock == Clock::Arrival);
        if let Some(warning) = topic.clock_warning(&config.kafka.brokers, &windows, &arrival) {
            tracing::warn!("{warning}");
        }
    }
    for one in misplaced {
        tracing::warn!(
            "rule {} is left out: its key is not the partition key, and topic of stream {} has {} partitions",
            one.rule,
            one.stream,
            one.partitions
        );
    }
    match sinks {
        [] => tracing::warn!("no sink is configured: alerts are counted, and go nowhere"),
        sinks => {
            let names: Vec<&str> = sinks.iter().map(|outlet| &*outlet.name).collect();
            tracing::info!(
                "alerts go to {}; dead letters to {}",
                names.join(", "),
                config.kafka.dead_letter_topic
            );
        }
    }
    tracing::info!("Kafka {}, group {}", config.kafka.brokers, config.kafka.group);
}

/// The rules of a stream that are such.
fn ids<'r>(rules: &'r RuleSet, stream: &str, such: fn(&Rule) -> bool) -> Vec<&'r str> {
    let of = rules.rules.iter().filter(|rule| *rule.stream == *stream && such(rule));
    of.map(|rule| rule.info.id.as_str()).collect()
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
