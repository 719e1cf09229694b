//! `fleetwarden evaluate`: rules against a simulated fleet whose attacks are known.

mod html;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::simulate::FleetArgs;
use super::{Exit, fail};
use crate::event::time::parse_duration;
use crate::event::{Limits, PartitionId, Record, Timestamp};
use crate::files::{Files, Framing, inputs};
use crate::fleet::score::{ClaimsFile, Score, Seen, Trial, score};
use crate::fleet::{Attack, Plan, Simulation};
use crate::runtime::replay::Replay;

/// Play a simulated fleet to the rules, and say what they found and what they said without a reason.
#[derive(Args, Debug)]
#[command(after_help = "\
An alert belongs to an attack if it names one of its entities and comes between the attack's start and --slack
after its end. Recall counts attacks that a rule found which claims their class (--claims).

Examples:
  fleetwarden evaluate --vehicles 500 --duration 12h --seed 42 --html report.html
  fleetwarden evaluate /tmp/fleet --rules my-rules --min-recall 0.95 --max-false 10")]
pub struct EvaluateArgs {
    /// A folder that `simulate --out` wrote, instead of a fleet made on the spot
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// What is simulated, without DIR
    #[command(flatten)]
    pub fleet: FleetArgs,
    /// Rule files, or folders of them
    #[arg(long, default_value = "rules")]
    pub rules: Vec<PathBuf>,
    /// Schemas [default: ./schemas, else built in]
    #[arg(long, value_name = "DIR")]
    pub schemas: Option<PathBuf>,
    /// TOML: `[claims]` and, after --warm-up of 3d or more, `[learned]`, each with CLASS or "CLASS/VARIANT" =
    /// ["rule", …] [default: those of the shipped rules]
    #[arg(long, value_name = "FILE")]
    pub claims: Option<PathBuf>,
    /// How long after its end an attack may still be found
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub slack: Duration,
    /// For people, or for machines
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Write one HTML page with plots as well
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Show the first so many alerts that belong to no attack
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub show_false: usize,
    /// Exit 1 if a claimed class is found less often than this (0 to 1)
    #[arg(long, value_name = "SHARE")]
    pub min_recall: Option<f64>,
    /// Exit 1 if there are more false alerts than this per 1,000 vehicle-days
    #[arg(long, value_name = "N")]
    pub max_false: Option<f64>,
    /// No progress bar
    #[arg(long)]
    pub quiet: bool,
}

/// Who reads the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// People.
    Table,
    /// Machines.
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    let micros = parse_duration(text).and_then(|micros| u64::try_from(micros).ok());
    Ok(Duration::from_micros(micros.ok_or("such as 15m or 1h")?))
}

/// What was played: written beside the streams, so that rates have a denominator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Played {
    /// How many cars.
    pub vehicles: usize,
    /// When it began, in milliseconds.
    pub start_ms: i64,
    /// How long it took.
    pub length_ms: i64,
    /// How much of that nobody attacked.
    #[serde(default)]
    pub warm_up_ms: i64,
    /// Where it came from.
    pub seed: u64,
}

impl Played {
    /// What a plan plays.
    pub fn new(plan: &Plan) -> Played {
        let Plan { vehicles, start_ms, length_ms, warm_up_ms, seed, .. } = *plan;
        Played { vehicles, start_ms, length_ms, warm_up_ms, seed }
    }

    fn vehicle_days(&self) -> f64 {
        self.vehicles as f64 * (self.length_ms - self.warm_up_ms) as f64 / 86_400_000.0
    }
}

/// Everything that is reported.
pub struct Report {
    played: Played,
    events: u64,
    rejects: usize,
    seconds: f64,
    alerts: Vec<Seen>,
    score: Score,
    /// What would be claimed as well after some days of peace.
    later: Vec<String>,
}

/// Runs it; 1 if a bar is missed, 2 if something cannot be read.
pub fn run(args: &EvaluateArgs) -> Exit {
    let report = match evaluate(args) {
        Ok(report) => report,
        Err(exit) => return exit,
    };
    match args.format {
        Format::Table => table::print(&report, args.show_false),
        Format::Json => println!("{}", table::json(&report)),
    }
    if let Some(path) = &args.html
        && let Err(error) = std::fs::write(path, html::page(&report))
    {
        return fail(&format!("cannot write {}: {error}", path.display()));
    }
    judge(args, &report)
}

fn judge(args: &EvaluateArgs, report: &Report) -> Exit {
    let (recall, wrong) = (report.score.lowest_recall(), report.score.false_alerts.len());
    let wrong = report.score.per_thousand(wrong);
    let mut exit = Exit::Ok;
    if let Some(least) = args.min_recall.filter(|least| recall < *least) {
        eprintln!("recall {recall:.3} of the weakest class is below {least}");
        exit = Exit::Findings;
    }
    if let Some(most) = args.max_false.filter(|most| wrong > *most) {
        eprintln!("{wrong:.2} false alerts per 1,000 vehicle-days are more than {most}");
        exit = Exit::Findings;
    }
    exit
}

fn evaluate(args: &EvaluateArgs) -> Result<Report, Exit> {
    let began = std::time::Instant::now();
    let loaded = super::load_rules(&args.rules, args.schemas.as_deref())?;
    let claims = match &args.claims {
        Some(path) => read_claims(path)?,
        None => ClaimsFile::shipped(),
    };
    let rules: BTreeSet<String> = loaded.rules.rules.iter().map(|rule| rule.info.id.clone()).collect();
    let replay = Replay::new(Arc::new(loaded.rules), &loaded.schemas, &Limits::default());
    let mut run =
        Run { replay, sources: BTreeMap::new(), batch: Batch::default(), seen: Vec::new(), rejects: 0 };
    let (played, attacks) = match &args.folder {
        Some(folder) => run.folder(folder, &loaded.schemas, args.quiet)?,
        None => run.simulation(&args.fleet.default_plan(), args.quiet)?,
    };
    // Time goes on after the last record, so that every window closes.
    run.close(played.start_ms + played.length_ms);
    run.seen.retain(|alert| alert.at_ms >= played.start_ms + played.warm_up_ms);
    let learned = played.warm_up_ms >= LEARNED_MS;
    let later = if learned { Vec::new() } else { claims.later() };
    let claims = claims.after(learned);
    let trial = Trial {
        attacks: &attacks,
        alerts: &run.seen,
        claims: &claims,
        rules: &rules,
        slack_ms: i64::try_from(args.slack.as_millis()).unwrap_or(i64::MAX / 4),
        vehicle_days: played.vehicle_days(),
    };
    let score = score(&trial);
    let (events, rejects) = (run.replay.events(), run.rejects);
    let seconds = began.elapsed().as_secs_f64();
    Ok(Report { played, events, rejects, seconds, alerts: run.seen, score, later })
}

/// Days after which rules have learned what is normal.
const LEARNED_MS: i64 = 3 * 86_400_000;

fn read_claims(path: &Path) -> Result<ClaimsFile, Exit> {
    let text = std::fs::read_to_string(path).map_err(|error| cannot_read(path, &error.to_string()))?;
    toml::from_str(&text).map_err(|error| cannot_read(path, &error.to_string()))
}

fn cannot_read(path: &Path, why: &str) -> Exit {
    fail(&format!("cannot read {}: {why}", path.display()))
}

/// Records that wait to be judged together.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    records: Vec<(u16, i64, Timestamp, usize)>,
}

const BATCH: usize = 8_192;

/// A worker over the records of a fleet.
struct Run {
    replay: Replay,
    sources: BTreeMap<PartitionId, u16>,
    batch: Batch,
    seen: Vec<Seen>,
    rejects: usize,
}

impl Run {
    fn source(&mut self, partition: PartitionId) -> u16 {
        let Run { replay, sources, .. } = self;
        *sources.entry(partition).or_insert_with_key(|partition| replay.source(partition))
    }

    fn push(&mut self, source: u16, offset: i64, broker_time: Timestamp, payload: &[u8]) {
        self.batch.bytes.extend_from_slice(payload);
        self.batch.records.push((source, offset, broker_time, self.batch.bytes.len()));
        if self.batch.records.len() >= BATCH {
            self.judge();
        }
    }

    fn judge(&mut self) {
        let mut from = 0;
        let batch = std::mem::take(&mut self.batch);
        let record = |(source, offset, broker_time, end): &(u16, i64, Timestamp, usize)| {
            let payload = &batch.bytes[std::mem::replace(&mut from, *end)..*end];
            Record { source: *source, offset: *offset, broker_time: *broker_time, payload, broken: None }
        };
        let records: Vec<Record<'_>> = batch.records.iter().map(record).collect();
        let (alerts, rejects) = self.replay.push(&records);
        self.rejects += rejects.len();
        self.seen.extend(alerts.iter().map(|alert| Seen::new(alert)));
        drop(records);
        (self.batch.bytes, self.batch.records) = (batch.bytes, batch.records);
        self.batch.bytes.clear();
        self.batch.records.clear();
    }

    fn close(&mut self, end_ms: i64) {
        self.judge();
        let alerts = self.replay.tick(Timestamp::from_millis(end_ms + 2 * 3_600_000));
        self.seen.extend(alerts.iter().map(|alert| Seen::new(alert)));
    }

    fn simulation(&mut self, plan: &Plan, quiet: bool) -> Result<(Played, Vec<Attack>), Exit> {
        let mut simulation = Simulation::new(plan).map_err(|error| fail(&error))?;
        let bar = progress(quiet, plan.length_ms.unsigned_abs());
        while let Some(sent) = simulation.next_record() {
            let id = PartitionId { stream: sent.stream.name().into(), index: sent.partition };
            let source = self.source(id);
            self.push(source, sent.offset, Timestamp::from_millis(sent.broker_ms), sent.payload);
            if self.batch.records.is_empty() {
                bar.set_position((sent.broker_ms - plan.start_ms).max(0).unsigned_abs());
            }
        }
        bar.finish_and_clear();
        Ok((Played::new(plan), simulation.attacks().to_vec()))
    }

    fn folder(
        &mut self,
        folder: &Path,
        schemas: &[Arc<crate::schema::Schema>],
        quiet: bool,
    ) -> Result<(Played, Vec<Attack>), Exit> {
        let (plan, truth) = (folder.join("plan.json"), folder.join("truth.ndjson"));
        let text = std::fs::read(&plan).map_err(|error| cannot_read(&plan, &error.to_string()))?;
        let played: Played =
            serde_json::from_slice(&text).map_err(|error| cannot_read(&plan, &error.to_string()))?;
        let lines = std::fs::read(&truth).map_err(|error| cannot_read(&truth, &error.to_string()))?;
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let attacks: Result<Vec<Attack>, String> = lines.map(Attack::parse).collect();
        let attacks = attacks.map_err(|error| cannot_read(&truth, &error))?;
        let named = inputs(&[folder.display().to_string()]).map_err(|error| fail(&error.to_string()))?;
        let files = Files::open(&named, schemas, &Limits::default(), Framing::Lines);
        let files = files.map_err(|error| fail(&error.to_string()))?;
        let bar = progress(quiet, played.length_ms.unsigned_abs());
        for line in files {
            let line = line.map_err(|error| fail(&error.to_string()))?;
            let source = self.source(line.partition);
            self.push(source, line.offset, line.broker_time, &line.payload);
            if self.batch.records.is_empty() {
                bar.set_position((line.broker_time.millis() - played.start_ms).max(0).unsigned_abs());
            }
        }
        bar.finish_and_clear();
        Ok((played, attacks))
    }
}

fn progress(quiet: bool, length: u64) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("evaluate ▕{bar:20}▏ {percent:>3} %   ETA {eta}") {
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
    bar
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Verb, simulate};
    use super::*;

    fn arguments(words: &str) -> EvaluateArgs {
        let fleet = "--vehicles 12 --duration 40m --seed 3 --quiet";
        let line = format!("fleetwarden evaluate {fleet} {words}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
            Verb::Evaluate(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_scores_as_the_fleet_it_was_written_of() {
        let folder = std::env::temp_dir().join(format!("fleetwarden-evaluate-{}", std::process::id()));
        let fleet = "--vehicles 12 --duration 40m --seed 3 --quiet";
        let line = format!("fleetwarden simulate {fleet} --out {}", folder.display());
        let Verb::Simulate(args) = Cli::try_parse_from(line.split_whitespace()).unwrap().verb else {
            panic!("{line}");
        };
        assert_eq!(simulate::run(&args), Exit::Ok);
        let live = evaluate(&arguments("")).unwrap();
        let replayed = evaluate(&arguments(&folder.display().to_string())).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((&live.score, &live.alerts), (&replayed.score, &replayed.alerts));
        assert_eq!((live.events, live.rejects), (replayed.events, 0));
        assert!(live.score.classes.values().any(|class| class.found > 0));
        let page = html::page(&live);
        assert!(
            page.contains("<svg") && page.contains("Recall by class") && !page.contains("http"),
            "{page}"
        );
        let json = table::json(&live);
        assert_eq!(json["false"].as_u64(), Some(live.score.false_alerts.len() as u64));
        assert_eq!(judge(&arguments("--min-recall 1.1"), &live), Exit::Findings);
        assert_eq!(judge(&arguments("--min-recall 0 --max-false 1000000"), &live), Exit::Ok);
    }

    #[test]
    fn claims_name_attacks_and_rules_that_exist() {
        let classes = crate::fleet::classes();
        let files = crate::rule::shipped::files();
        let rules: BTreeSet<&str> = files
            .iter()
            .filter_map(|file| file.source.path.rsplit('/').next()?.strip_suffix(".toml"))
            .collect();
        let claims = ClaimsFile::shipped().after(true);
        assert!(claims.len() > 40);
        assert!(ClaimsFile::shipped().after(false).len() < claims.len());
        for (class, claiming) in &claims {
            let (name, variant) = class.split_once('/').unwrap_or((class, "plain"));
            let variants = classes.get(name).unwrap_or_else(|| panic!("there is no attack {class}"));
            assert!(variants.contains(&variant), "there is no attack {class}");
            for rule in claiming {
                assert!(rules.contains(rule.as_str()), "there is no rule {rule}");
            }
        }
    }
}
