//! `fleetwarden sink replay`.

use std::time::{Duration, Instant};

use clap::Args;

use super::ConfigArgs;
use crate::cli::progress::bar;
use crate::cli::{Exit, fail, number, print};
use crate::config::Config;
use crate::diagnostic::suggest;
use crate::event::Timestamp;
use crate::event::time::parse_duration;
use crate::kafka::{Excerpt, Part};
use crate::runtime::delivery::{Backfill, Passing, backfill};
use crate::runtime::run::edges;
use crate::runtime::thread::wall;
use crate::sink::{self, SinkConfig};

/// How often the line of progress changes.
const OFTEN: Duration = Duration::from_millis(100);

/// Send the alerts of a span of time to a sink once more, without disturbing those that run.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// The sink's name in the configuration
    pub name: String,
    /// Which configuration
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Alerts from then on: a time, or so long ago (90m, 24h, 2d)
    #[arg(long, value_name = "TIME")]
    pub since: String,
    /// Alerts before then; without it, until now
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Count them, and send nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Sends them: 1 if the sink refused some; 2 if it could not be done.
pub fn run(args: &ReplayArgs) -> Exit {
    let config = match super::load(&args.config.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    crate::cli::run::log(&config.log);
    let Some(sink) = config.sinks.get(&args.name) else {
        let hint = suggest(&args.name, config.sinks.keys().map(String::as_str));
        return fail(&format!("there is no sink \"{}\"\n  hint: {hint}", args.name));
    };
    match replay(args, &config, sink, wall()) {
        Ok(found) => {
            print(summary(args, &found));
            if found.refused > 0 { Exit::Findings } else { Exit::Ok }
        }
        Err(message) => fail(&message),
    }
}

fn replay(args: &ReplayArgs, config: &Config, sink: &SinkConfig, now: Timestamp) -> Result<Backfill, String> {
    let since = time("--since", &args.since, now)?;
    let until = args.until.as_deref().map_or(Ok(now), |text| time("--until", text, now))?;
    if until <= since {
        return Err("the span is empty: --until must be later than --since".into());
    }
    let opened = match args.dry_run {
        true => None,
        false => Some(sink::open(sink).map_err(|error| format!("sink \"{}\": {error}", args.name))?),
    };
    if opened.is_some() && !sink.knows_ids() {
        let kind = sink.kind();
        eprintln!(
            "note: a {kind} sink knows no ids: what it has already will be there twice, with equal ids"
        );
    }
    let failed = |error: crate::kafka::Error| error.to_string();
    let part = Part::Between(None, Some(until));
    let mut journal = Excerpt::open(&config.kafka, &config.kafka.journal(), part).map_err(failed)?;
    let runtime = edges().map_err(failed)?;
    let bar = bar(&format!("replaying to {}", args.name), journal.progress().1);
    let mut next = Instant::now();
    let mut watch = |passing: Passing<'_>| {
        if Instant::now() >= next {
            next = Instant::now() + OFTEN;
            bar.set_position(passing.offsets.0);
            let found = passing.found;
            let done = found.sent + found.present + found.refused;
            let trouble = passing.trouble.map(|why| format!(", the last trouble: {why}")).unwrap_or_default();
            bar.set_message(format!("{done} of {} alerts{trouble}", found.alerts));
        }
    };
    let sink = opened.map(|sink| (args.name.as_str(), sink));
    let found = backfill(sink, &mut journal, since..until, runtime.handle(), &mut watch);
    bar.finish_and_clear();
    runtime.shutdown_timeout(Duration::from_secs(1));
    found.map_err(failed)
}

fn summary(args: &ReplayArgs, found: &Backfill) -> String {
    let alerts = number(usize::try_from(found.alerts).unwrap_or(usize::MAX), "alert");
    let span = match &args.until {
        Some(until) => format!("from {} to {until}", args.since),
        None => format!("since {}", args.since),
    };
    let mut text = match args.dry_run {
        true => format!("{alerts} {span} would be sent to {}", args.name),
        false => format!(
            "{alerts} {span}: {} sent to {}, {} there already, {} refused",
            found.sent, args.name, found.present, found.refused
        ),
    };
    for (count, what) in
        [(found.superseded, "of replaced owners skipped"), (found.undecodable, "that cannot be read")]
    {
        if count > 0 {
            text += &format!("; {count} entries {what}");
        }
    }
    text + "\n"
}

fn time(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, String> {
    match (Timestamp::parse_text(text), parse_duration(text)) {
        (Some(time), _) => Ok(time),
        (None, Some(span)) => Ok(now.minus(span)),
        (None, None) => Err(format!(
            "{name} {text} is no time\n  hint: such as 2026-11-24T10:00:00Z, or so long ago: 90m, 2d"
        )),
    }
}
