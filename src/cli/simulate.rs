//! `fleetwarden simulate`: writes the streams of a fleet that does not exist, and the truth about attacks.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressStyle};

use super::evaluate::Played;
use super::{Exit, fail};
use crate::event::Timestamp;
use crate::event::time::parse_duration;
use crate::fleet::{Attacks, Plan, Sent, Simulation, Stream, classes, push_int};
use crate::kafka::feed::Feed;
use crate::kafka::is_topic_name;
use crate::runtime::thread::wall;

/// Write the streams of a simulated fleet, with or without attacks.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("to").required(true).args(["out", "brokers", "list"]))]
#[command(after_help = "\
DIR gets a STREAM.ndjson for each stream, in envelopes that `replay` reads, truth.ndjson (a line an attack) and
plan.json (what was played).
The same plan gives the same bytes.

Examples:
  fleetwarden simulate --vehicles 200 --duration 2h --seed 7 --attacks all --out /tmp/fleet
  fleetwarden replay /tmp/fleet
  fleetwarden simulate --vehicles 50 --duration 10m --brokers localhost:9092 --rate 100")]
pub struct SimulateArgs {
    /// What is simulated
    #[command(flatten)]
    pub fleet: FleetArgs,
    /// Folder to write to; made if it is missing
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Kafka to produce to instead; topics are those of the schemas
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// List all attacks with their variants, and stop
    #[arg(long)]
    pub list: bool,
    /// Events a second of real time [default: as fast as possible into files, in real time into Kafka]
    #[arg(long, value_name = "EV/S", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: Option<u32>,
    /// Schemas to use for topics [default: ./schemas, else built in]
    #[arg(long, value_name = "DIR")]
    pub schemas: Option<PathBuf>,
    /// No progress bar
    #[arg(long)]
    pub quiet: bool,
}

/// What fleet, for how long, and who attacks it.
#[derive(Args, Clone, Debug)]
pub struct FleetArgs {
    /// How many cars
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub vehicles: u32,
    /// How long, in simulated time
    #[arg(long, default_value = "1h", value_parser = length)]
    pub duration: Duration,
    /// How long before that nobody attacks, so that rules learn what is normal; comes on top of --duration
    #[arg(long, value_name = "DURATION", value_parser = length)]
    pub warm_up: Option<Duration>,
    /// Everything random comes from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// `all`, `none`, or CLASS and CLASS/VARIANT with commas (see --list)
    #[arg(long, default_value = "all", value_name = "LIST")]
    pub attacks: String,
    /// When it begins [default: a Monday morning, 2026-03-02T06:00:00Z; into Kafka: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub start: Option<Timestamp>,
}

/// 2026-03-02T06:00:00Z, a Monday.
const MONDAY: i64 = 1_772_431_200_000;

fn length(text: &str) -> Result<Duration, String> {
    let micros = parse_duration(text).and_then(|micros| u64::try_from(micros).ok());
    let length = Duration::from_micros(micros.ok_or("such as 90m, 1h or 7d")?);
    let fits = (Duration::from_secs(60)..=Duration::from_secs(366 * 86_400)).contains(&length);
    if fits { Ok(length) } else { Err("from 1m to 366d".into()) }
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let time = Timestamp::parse_rfc3339(text).ok_or("such as 2026-03-02T06:00:00Z")?;
    if time.is_plausible() { Ok(time) } else { Err("from 1970 to 2200".into()) }
}

impl FleetArgs {
    /// The plan that these arguments ask for; without `--start` it begins at `start`.
    pub fn plan(&self, start: i64) -> Plan {
        let attacks = match self.attacks.as_str() {
            "none" => Attacks::None,
            "all" => Attacks::All,
            list => Attacks::These(list.split(',').map(|name| name.trim().to_owned()).collect()),
        };
        let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4);
        let warm_up_ms = self.warm_up.map_or(0, ms);
        Plan {
            vehicles: self.vehicles as usize,
            start_ms: self.start.map_or(start, Timestamp::millis),
            length_ms: warm_up_ms + ms(self.duration),
            warm_up_ms,
            seed: self.seed,
            attacks,
        }
    }

    /// The same for a fleet whose time is its own.
    pub fn default_plan(&self) -> Plan {
        self.plan(MONDAY)
    }
}

/// Runs it; 2 if it cannot be written.
pub fn run(args: &SimulateArgs) -> Exit {
    if args.list {
        for (class, variants) in classes() {
            println!("{class:28} {}", variants.join(" "));
        }
        return Exit::Ok;
    }
    match simulate(args) {
        Ok(()) => Exit::Ok,
        Err(message) => fail(&message),
    }
}

fn simulate(args: &SimulateArgs) -> Result<(), String> {
    let to_kafka = args.brokers.is_some();
    let start = if to_kafka { wall().millis() } else { MONDAY };
    let plan = args.fleet.plan(start);
    let mut simulation = Simulation::new(&plan)?;
    let mut out = match (&args.out, &args.brokers) {
        (Some(folder), _) => Out::Folder(Folder::create(folder)?),
        (_, Some(brokers)) => Out::Kafka(Box::new(Feed::open(brokers, &topics(args)?)?)),
        _ => return Err("say where to: --out or --brokers".into()),
    };
    if let Out::Folder(folder) = &mut out {
        folder.truth(&simulation, &plan)?;
    }
    let pace = Pace::new(args.rate, to_kafka, &plan);
    let bar = progress(args.quiet, &plan);
    let mut events = 0u64;
    while let Some(sent) = simulation.next_record() {
        pace.wait(events, sent.broker_ms);
        out.write(&sent)?;
        events += 1;
        if events.is_multiple_of(4_096) || pace.is_slow() {
            bar.set_position((sent.broker_ms - plan.start_ms).max(0).unsigned_abs());
            bar.set_message(format!("{:.0} events/s", events as f64 / pace.seconds()));
        }
    }
    out.finish()?;
    bar.finish_and_clear();
    let (attacks, seconds) = (simulation.attacks().len(), pace.seconds());
    eprintln!(
        "{events} events of {} vehicles, {attacks} attacks, in {seconds:.1} s ({:.0} events/s)",
        plan.vehicles,
        events as f64 / seconds
    );
    Ok(())
}

/// The topic of each stream.
fn topics(args: &SimulateArgs) -> Result<BTreeMap<&'static str, String>, String> {
    let schemas = super::schemas(args.schemas.as_deref()).map_err(|_| "there are problems in schemas")?;
    let topic = |stream: &Stream| {
        let schema = schemas.iter().find(|schema| &*schema.name == stream.name());
        let topic = schema.map(|schema| schema.topic.clone()).filter(|topic| is_topic_name(topic));
        Some((stream.name(), topic?))
    };
    Ok(Stream::ALL.iter().filter_map(topic).collect())
}

fn progress(quiet: bool, plan: &Plan) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(plan.length_ms.unsigned_abs());
    let style = "simulate ▕{bar:20}▏ {percent:>3} %   ETA {eta}   {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
    bar
}

/// Where records go.
enum Out {
    Folder(Folder),
    Kafka(Box<Feed>),
}

impl Out {
    fn write(&mut self, sent: &Sent<'_>) -> Result<(), String> {
        match self {
            Out::Folder(folder) => folder.write(sent),
            Out::Kafka(feed) => feed.send(sent.stream.name(), sent.key, sent.payload),
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        match self {
            Out::Folder(folder) => folder.finish(),
            Out::Kafka(feed) => feed.finish(),
        }
    }
}

/// A file a stream.
struct Folder {
    path: PathBuf,
    files: Vec<BufWriter<File>>,
    line: Vec<u8>,
}

impl Folder {
    fn create(path: &Path) -> Result<Folder, String> {
        std::fs::create_dir_all(path).map_err(|error| cannot(path, &error))?;
        let open = |stream: &Stream| {
            let path = path.join(format!("{}.ndjson", stream.name()));
            let file = File::create(&path).map_err(|error| cannot(&path, &error))?;
            Ok(BufWriter::with_capacity(1 << 18, file))
        };
        let files = Stream::ALL.iter().map(open).collect::<Result<_, String>>()?;
        Ok(Folder { path: path.to_owned(), files, line: Vec::new() })
    }

    fn truth(&self, simulation: &Simulation, plan: &Plan) -> Result<(), String> {
        let path = self.path.join("plan.json");
        let played = serde_json::to_vec(&Played::new(plan)).unwrap_or_default();
        std::fs::write(&path, played).map_err(|error| cannot(&path, &error))?;
        let path = self.path.join("truth.ndjson");
        let lines: Vec<Vec<u8>> = simulation.attacks().iter().map(|attack| attack.line()).collect();
        let mut text = lines.join(&b'\n');
        if !text.is_empty() {
            text.push(b'\n');
        }
        std::fs::write(&path, text).map_err(|error| cannot(&path, &error))
    }

    fn write(&mut self, sent: &Sent<'_>) -> Result<(), String> {
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(b"{\"_t\":");
        push_int(line, sent.broker_ms);
        line.extend_from_slice(b",\"_p\":");
        push_int(line, i64::from(sent.partition));
        line.extend_from_slice(b",\"_o\":");
        push_int(line, sent.offset);
        line.extend_from_slice(b",\"v\":");
        line.extend_from_slice(sent.payload);
        line.extend_from_slice(b"}\n");
        let Some(file) = self.files.get_mut(sent.stream as usize) else { return Ok(()) };
        file.write_all(line).map_err(|error| cannot(&self.path, &error))
    }

    fn finish(&mut self) -> Result<(), String> {
        self.files.iter_mut().try_for_each(|file| file.flush()).map_err(|error| cannot(&self.path, &error))
    }
}

fn cannot(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// When the next record may go.
struct Pace {
    began: Instant,
    /// Events a second.
    rate: Option<f64>,
    /// Simulated time that goes by in real time, from here.
    live_from: Option<i64>,
}

impl Pace {
    fn new(rate: Option<u32>, to_kafka: bool, plan: &Plan) -> Pace {
        let live = to_kafka && rate.is_none();
        Pace { began: Instant::now(), rate: rate.map(f64::from), live_from: live.then_some(plan.start_ms) }
    }

    fn is_slow(&self) -> bool {
        self.live_from.is_some()
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64().max(0.001)
    }

    fn wait(&self, events: u64, broker_ms: i64) {
        let due = match (self.rate, self.live_from) {
            (Some(rate), _) => events as f64 / rate,
            (None, Some(from)) => (broker_ms - from) as f64 / 1_000.0,
            (None, None) => return,
        };
        let early = due - self.seconds();
        if early > 0.001 {
            std::thread::sleep(Duration::from_secs_f64(early));
        }
    }
}
