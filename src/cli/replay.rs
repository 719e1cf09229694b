//! `fleetwarden replay`: runs rules over recorded events.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;

mod costs;

use super::{Exit, fail, show};
use crate::alert::{Alert, Blind};
use crate::decode::{DecodeStats, JsonDecoder};
use crate::encode::plain;
use crate::event::{KeyHasher, Limits, PartitionId, Record, Reject, RejectReason, Timestamp};
use crate::files::{Files, FilesError, Framing, Input, Line, inputs};
use crate::rule::RuleSet;
use crate::runtime::replay::Replay;
use crate::runtime::worker::Totals;
use crate::schema::Schema;
use costs::Costs;

/// Run rules over files of recorded events.
#[derive(Args, Debug)]
#[command(after_help = "\
A line is an event, or an event in its envelope {\"_t\":BROKER_MS,\"_p\":PARTITION,\"_o\":OFFSET,\"v\":{…}}.
Inputs are merged by (stream time, stream, partition, offset). The last line on stderr is a JSON summary.

Examples:
  fleetwarden replay telemetry=day.ndjson.zst
  fleetwarden replay --rules rules/cloudtrail --framing file cloudtrail=trail.json")]
pub struct ReplayArgs {
    /// STREAM=FILE (NDJSON, plain, gzip or zstd; - is standard input), or a folder of STREAM.ndjson[.gz|.zst]
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// Rule files, or folders of them; `none` builds every declared column and stops there
    #[arg(long, default_value = "rules")]
    pub rules: Vec<PathBuf>,
    /// Folder of stream schemas [default: ./schemas, else the built-in ones]
    #[arg(long)]
    pub schemas: Option<PathBuf>,
    /// Where alerts go, one JSON line each; - is standard output
    #[arg(long, default_value = "-", value_name = "FILE")]
    pub out: String,
    /// How alerts are printed [default: json, on a terminal: line]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Records that are folded at once: alerts do not depend on it
    #[arg(long, default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub batch: u32,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// What is a record: each line, or each file (a CloudTrail file)
    #[arg(long, value_enum, default_value_t = FramingArg::Lines)]
    pub framing: FramingArg,
    /// Longest record in bytes; longer ones are rejected [default: 1 MiB a line, 256 MiB a file]
    #[arg(long, value_name = "BYTES")]
    pub max_record_bytes: Option<usize>,
    /// No progress bar and no table: only alerts and the summary
    #[arg(long)]
    pub quiet: bool,
    /// Say afterwards what each rule costs, the slowest first, tried alone on the first records
    #[arg(long, conflicts_with = "decode_only")]
    pub costs: bool,
    /// Build the columns that the rules read, and stop there: what detection is measured against
    #[arg(long)]
    pub decode_only: bool,
}

/// How alerts are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON line each: for machines.
    Json,
    /// Two lines each, for people.
    Line,
    /// Everything that somebody needs who must act on it.
    Full,
}

/// What is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FramingArg {
    /// Each line.
    Lines,
    /// Each file.
    File,
}

/// Longest record where each file is one: services deliver many events in a file.
const FILE_BYTES: usize = 256 << 20;

/// Bytes of records that are handed on at once.
const BATCH_BYTES: usize = 4 << 20;

/// Runs it; 2 if an input cannot be read.
pub fn run(args: &ReplayArgs) -> Exit {
    match prepare(args).and_then(|job| job.run(args)) {
        Ok(()) => Exit::Ok,
        Err(exit) => exit,
    }
}

/// What is to be replayed.
struct Job {
    files: Files,
    consumer: Consumer,
    costs: Option<Costs>,
}

/// What happens to a batch.
enum Consumer {
    Detect(Box<Replay>),
    Decode(Decoding),
}

fn prepare(args: &ReplayArgs) -> Result<Job, Exit> {
    let none = args.rules.len() == 1 && args.rules.iter().all(|path| path.as_os_str() == "none");
    let (rules, schemas) = if none {
        (None, super::schemas(args.schemas.as_deref())?)
    } else {
        let loaded = super::load_rules(&args.rules, args.schemas.as_deref())?;
        (Some(loaded.rules), loaded.schemas)
    };
    let mut limits = Limits::default();
    if args.framing == FramingArg::File {
        limits.record_bytes = FILE_BYTES;
    }
    limits.record_bytes = args.max_record_bytes.unwrap_or(limits.record_bytes);
    let inputs = inputs(&args.inputs).map_err(|error| fail(&error.to_string()))?;
    check_streams(&inputs, &schemas)?;
    let framing = match args.framing {
        FramingArg::Lines => Framing::Lines,
        FramingArg::File => Framing::File,
    };
    let files = Files::open(&inputs, &schemas, &limits, framing).map_err(|error| fail(&error.to_string()))?;
    let costs = rules.as_ref().filter(|_| args.costs).map(|rules| Costs::new(rules, &schemas, &limits));
    let consumer = match rules {
        Some(rules) if !args.decode_only => {
            Consumer::Detect(Box::new(Replay::new(Arc::new(rules), &schemas, &limits)))
        }
        rules => Consumer::Decode(Decoding::new(rules.as_ref(), &schemas, &limits)),
    };
    Ok(Job { files, consumer, costs })
}

fn check_streams(inputs: &[Input], schemas: &[Arc<Schema>]) -> Result<(), Exit> {
    let names = || schemas.iter().map(|schema| &*schema.name);
    match inputs.iter().find(|input| !names().any(|name| *name == *input.stream)) {
        None => Ok(()),
        Some(unknown) => {
            let hint = crate::diagnostic::suggest(&unknown.stream, names().collect::<Vec<_>>());
            Err(fail(&format!("there is no stream \"{}\": {hint}", unknown.stream)))
        }
    }
}

impl Job {
    fn run(mut self, args: &ReplayArgs) -> Result<(), Exit> {
        let started = Instant::now();
        let bar = progress_bar(args, self.files.progress().1);
        let mut report = Report::new(args)?;
        let mut lines: Vec<Line> = Vec::with_capacity(args.batch as usize);
        let mut left = args.limit.unwrap_or(u64::MAX);
        loop {
            let more = fill(&mut self.files, &mut lines, (args.batch as usize, left));
            let more = more.map_err(|error| fail(&error.to_string()))?;
            left -= lines.len() as u64;
            if !lines.is_empty() {
                report.span(&lines);
                if let Some(costs) = &mut self.costs {
                    costs.keep(&lines);
                }
                self.consumer.push(&lines, &mut report)?;
            }
            bar.set_position(self.files.progress().0);
            let rate = self.consumer.events() as f64 / started.elapsed().as_secs_f64().max(0.001);
            let rejects = report.rejects.values().sum::<u64>();
            let rate = super::progress::rate(rate);
            bar.set_message(format!("{rate} events/s   alerts {}   rejects {rejects}", report.alerts));
            if !more || left == 0 {
                break;
            }
        }
        bar.finish_and_clear();
        report.flush()?;
        let totals = self.consumer.totals();
        if !args.quiet {
            report.table(&totals);
        }
        if let Some(costs) = self.costs {
            eprint!("{}", costs.table());
        }
        eprintln!("{}", report.summary(&totals, started.elapsed().as_secs_f64()));
        Ok(())
    }
}

/// Fills a batch; false at the end of the input.
fn fill(files: &mut Files, lines: &mut Vec<Line>, (rows, left): (usize, u64)) -> Result<bool, FilesError> {
    lines.clear();
    let mut bytes = 0;
    while lines.len() < rows && (lines.len() as u64) < left && bytes < BATCH_BYTES {
        let Some(line) = files.next() else { return Ok(false) };
        let line = line?;
        bytes += line.payload.len();
        lines.push(line);
    }
    Ok(true)
}

fn progress_bar(args: &ReplayArgs, bytes: u64) -> ProgressBar {
    if args.quiet {
        return ProgressBar::hidden();
    }
    let inputs = super::number(args.inputs.len(), "input");
    super::progress::bar(&format!("replay  {inputs}, {}", super::progress::size(bytes)), bytes)
}

impl Consumer {
    fn push(&mut self, lines: &[Line], report: &mut Report) -> Result<(), Exit> {
        match self {
            Consumer::Decode(decoding) => decoding.push(lines, report)?,
            Consumer::Detect(replay) => {
                let records: Vec<Record<'_>> =
                    lines.iter().map(|line| record(line, replay.source(&line.partition))).collect();
                if records.iter().any(|record| record.source == u16::MAX) {
                    return Err(fail("more than 65,535 partitions in one replay: split the input"));
                }
                let (alerts, rejects) = replay.push(&records);
                report.rejected(&rejects, replay.partitions());
                for alert in &alerts {
                    report.write(alert)?;
                }
            }
        }
        Ok(())
    }

    /// Events decoded so far.
    fn events(&self) -> u64 {
        match self {
            Consumer::Detect(replay) => replay.events(),
            Consumer::Decode(decoding) => decoding.totals.partitions.values().map(|p| p.events).sum(),
        }
    }

    fn totals(&self) -> Totals {
        match self {
            Consumer::Detect(replay) => replay.totals(),
            Consumer::Decode(decoding) => decoding.totals.clone(),
        }
    }
}

fn record(line: &Line, source: u16) -> Record<'_> {
    Record {
        source,
        offset: line.offset,
        broker_time: line.broker_time,
        payload: &line.payload,
        broken: line.reject.as_ref().map(|(reason, _)| *reason),
    }
}

/// Decoding alone: the baseline that detection is measured against.
struct Decoding {
    decoders: BTreeMap<Arc<str>, JsonDecoder>,
    sources: Arc<[PartitionId]>,
    indices: BTreeMap<PartitionId, u16>,
    totals: Totals,
}

impl Decoding {
    /// With rules, the columns that they read; without, every declared one.
    fn new(rules: Option<&RuleSet>, schemas: &[Arc<Schema>], limits: &Limits) -> Decoding {
        let decoders = schemas.iter().map(|schema| {
            let projection = match rules.map(|rules| rules.scans.get(&schema.name)) {
                None => vec![true; schema.fields.len()],
                Some(Some(scan)) => scan.projection(),
                Some(None) => vec![false; schema.fields.len()],
            };
            (schema.name.clone(), JsonDecoder::new(schema.clone(), projection, limits))
        });
        Decoding {
            decoders: decoders.collect(),
            sources: Arc::from([]),
            indices: BTreeMap::new(),
            totals: Totals::default(),
        }
    }

    fn push(&mut self, lines: &[Line], report: &mut Report) -> Result<(), Exit> {
        for (position, line) in (0u32..).zip(lines) {
            let source = match self.indices.get(&line.partition) {
                Some(known) => *known,
                None => self.learn(&line.partition)?,
            };
            if let Some(decoder) = self.decoders.get_mut(&line.partition.stream) {
                decoder.push(&record(line, source), position);
            }
            let counters = self.totals.partitions.entry(line.partition.clone()).or_default();
            counters.records += 1;
            counters.bytes += line.payload.len() as u64;
        }
        for (stream, decoder) in &mut self.decoders {
            let decoded = decoder.finish(&self.sources);
            self.totals.decode.entry(stream.clone()).or_default().merge(&decoded.stats);
            report.rejected(&decoded.rejects, &self.sources);
            for name in &decoded.batch.names {
                if let Some(id) = self.sources.get(usize::from(name.source))
                    && let Some(counters) = self.totals.partitions.get_mut(id)
                {
                    counters.events += 1;
                }
            }
        }
        Ok(())
    }

    fn learn(&mut self, partition: &PartitionId) -> Result<u16, Exit> {
        let source = u16::try_from(self.sources.len())
            .map_err(|_| fail("more than 65,535 partitions in one replay: split the input"))?;
        self.sources = self.sources.iter().cloned().chain([partition.clone()]).collect();
        self.indices.insert(partition.clone(), source);
        Ok(source)
    }
}

/// What came out, and where it goes.
struct Report {
    out: Box<dyn Write>,
    format: Format,
    color: bool,
    alerts: u64,
    /// The first and last stream time.
    span: Option<(Timestamp, Timestamp)>,
    /// The keys that each rule fired for.
    keys: BTreeMap<String, HashSet<u128>>,
    rejects: BTreeMap<RejectReason, u64>,
    /// The first example of each reason.
    examples: BTreeMap<RejectReason, String>,
}

impl Report {
    fn new(args: &ReplayArgs) -> Result<Report, Exit> {
        let to_terminal = args.out == "-" && io::stdout().is_terminal();
        let format = args.format.unwrap_or(if to_terminal { Format::Line } else { Format::Json });
        let color = args.out == "-" && super::color(&io::stdout());
        let out = args.out.as_str();
        let out: Box<dyn Write> = if out == "-" {
            Box::new(BufWriter::new(io::stdout().lock()))
        } else {
            let file = File::create(out).map_err(|error| fail(&format!("cannot write {out}: {error}")))?;
            Box::new(BufWriter::new(file))
        };
        Ok(Report {
            out,
            format,
            color,
            alerts: 0,
            span: None,
            keys: BTreeMap::new(),
            rejects: BTreeMap::new(),
            examples: BTreeMap::new(),
        })
    }

    fn write(&mut self, alert: &Alert) -> Result<(), Exit> {
        self.alerts += 1;
        let mut hasher = KeyHasher::default();
        alert.key.iter().for_each(|value| hasher.value(value));
        let keys = self.keys.entry(alert.rule.id.clone()).or_default();
        keys.insert(hasher.finish());
        let text = match self.format {
            Format::Json => plain::line(alert),
            Format::Line => show::line(alert, self.color),
            Format::Full => show::opened(alert, self.color),
        };
        writeln!(self.out, "{text}").map_err(|error| cannot_write(&error))
    }

    /// Notes how far records reach; they come in the order of stream time.
    fn span(&mut self, lines: &[Line]) {
        let known = |line: &&Line| line.stream_time.0 > 0;
        if let (Some(first), Some(last)) = (lines.iter().find(known), lines.last()) {
            let start = self.span.map_or(first.stream_time, |(start, _)| start);
            self.span = Some((start, last.stream_time));
        }
    }

    /// How many days the records span; none if less than an hour, which says nothing about a day.
    fn days(&self) -> Option<f64> {
        let (start, end) = self.span?;
        let micros = end.0.saturating_sub(start.0);
        (micros >= 3_600_000_000).then(|| micros as f64 / 86_400e6)
    }

    fn flush(&mut self) -> Result<(), Exit> {
        self.out.flush().map_err(|error| cannot_write(&error))
    }

    fn rejected(&mut self, rejects: &[Reject], sources: &[PartitionId]) {
        for reject in rejects {
            *self.rejects.entry(reject.reason).or_default() += 1;
            self.examples.entry(reject.reason).or_insert_with(|| {
                let partition = sources.get(usize::from(reject.source)).map(ToString::to_string);
                let place =
                    format!("{}@{}, byte {}", partition.unwrap_or_default(), reject.offset, reject.at);
                format!("{place}: {}", reject.detail)
            });
        }
    }

    /// What a person can act on.
    fn table(&self, totals: &Totals) {
        let firing: Vec<_> = totals.rules.iter().filter(|(_, rule)| says_something(rule)).collect();
        if !firing.is_empty() {
            eprintln!(
                "{:40} {:>8} {:>8} {:>8} {:>8}  severities",
                "rule", "alerts", "keys", "per day", "folded"
            );
        }
        let days = self.days();
        for (id, rule) in firing {
            let mut by: Vec<String> = rule.alerts.iter().map(|(s, n)| format!("{} {n}", s.name())).collect();
            if rule.shadowed > 0 {
                by.push(format!("{} in shadow, not sent", rule.shadowed));
            }
            if rule.blocks > 0 {
                by.push(format!("{} of a building block, not sent", rule.blocks));
            }
            let alerts = rule.alerts.values().sum::<u64>();
            let keys = self.keys.get(id).map_or(0, HashSet::len);
            let per_day = days.map_or_else(|| "–".to_owned(), |days| format!("{:.1}", alerts as f64 / days));
            eprintln!("{id:40} {alerts:>8} {keys:>8} {per_day:>8} {:>8}  {}", rule.folded, by.join(", "));
        }
        for (id, rule) in totals.rules.iter().filter(|(_, rule)| rule.blind.total() > 0) {
            let by: Vec<String> = rule.blind.iter().map(|(r, n)| format!("{} {n}", r.name())).collect();
            eprintln!("could not see: {id}: {}", by.join(", "));
        }
        for (reason, count) in &self.rejects {
            let example = self.examples.get(reason).map_or("", String::as_str);
            eprintln!("rejected: {} {count}, the first at {example}", reason.name());
        }
        for (stream, stats) in &totals.decode {
            for (column, n) in &stats.mistyped {
                eprintln!(
                    "null instead: {n} values of {stream}.{column} had the wrong type or were below its min"
                );
            }
        }
    }

    /// One JSON object: the last line of stderr.
    fn summary(&self, totals: &Totals, seconds: f64) -> serde_json::Value {
        let sum = |of: fn(&DecodeStats) -> u64| totals.decode.values().map(of).sum::<u64>();
        let mut blind = Blind::default();
        totals.rules.values().for_each(|rule| blind.merge(&rule.blind));
        let by_rule: BTreeMap<&String, BTreeMap<&str, u64>> = totals
            .rules
            .iter()
            .filter(|(_, rule)| rule.blind.total() > 0)
            .map(|(id, rule)| (id, rule.blind.iter().map(|(reason, n)| (reason.name(), n)).collect()))
            .collect();
        let rejects: BTreeMap<&str, u64> =
            self.rejects.iter().map(|(reason, n)| (reason.name(), *n)).collect();
        let mistyped: BTreeMap<String, u64> = totals
            .decode
            .iter()
            .flat_map(|(stream, stats)| {
                stats.mistyped.iter().map(move |(c, n)| (format!("{stream}.{c}"), *n))
            })
            .collect();
        json!({
            "records": totals.partitions.values().map(|p| p.records).sum::<u64>(),
            "events": totals.partitions.values().map(|p| p.events).sum::<u64>(),
            "bytes": totals.partitions.values().map(|p| p.bytes).sum::<u64>(),
            "rejects": rejects,
            "late": blind.get(crate::alert::Reason::Late),
            "moved": sum(|stats| stats.moved),
            "skewed": sum(|stats| stats.skewed),
            "untimed": sum(|stats| stats.untimed),
            "mistyped": mistyped,
            "blind": by_rule,
            "pending": totals.pending,
            "building_blocks": totals.rules.values().map(|rule| rule.blocks).sum::<u64>(),
            "shadowed": totals.rules.values().map(|rule| rule.shadowed).sum::<u64>(),
            "folded": totals.rules.values().map(|rule| rule.folded).sum::<u64>(),
            "alerts": self.alerts,
            "seconds": (seconds * 1e6).round() / 1e6,
        })
    }
}

/// Whether a rule has found anything that is not folded into what it has not said.
fn says_something(rule: &crate::pipeline::RuleCounters) -> bool {
    !rule.alerts.is_empty() || rule.shadowed > 0 || rule.blocks > 0
}

fn cannot_write(error: &io::Error) -> Exit {
    // A reader that has seen enough (`| head`) is no error worth a word.
    if error.kind() == io::ErrorKind::BrokenPipe {
        Exit::Ok
    } else {
        fail(&format!("cannot write alerts: {error}"))
    }
}
