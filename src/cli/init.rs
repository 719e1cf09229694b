//! `fleetwarden init`: from real records to a configuration, a schema and a first rule that has been tried.

mod config;
mod rule;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::look::{self, KafkaArgs, Looked};
use super::schema::{Guessed, Origin};
use super::test::Outcome;
use super::{Exit, fail};
use crate::diagnostic::{Gravity, Source};
use crate::event::{Limits, Record};
use crate::files::Framing;
use crate::rule::{RuleFile, load};
use crate::runtime::replay::Replay;
use crate::schema::Schema;

/// Look at real records, and write a configuration, a schema and a first rule.
#[derive(Args, Debug)]
#[command(after_help = "\
Nothing that exists is overwritten, unless --force says so.

Examples:
  fleetwarden init --brokers kafka:9092 --topic vehicle.remote
  fleetwarden init --sample day.ndjson.zst --name remote --dir /etc/fleetwarden")]
pub struct InitArgs {
    /// Where Kafka is
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// A file of events instead of a topic (several: one stream); NDJSON or one JSON text, plain, gzip or zstd
    #[arg(long, value_name = "FILE", required_unless_present = "topic", conflicts_with = "topic", num_args = 1..)]
    pub sample: Vec<PathBuf>,
    /// The stream's name [default: the topic's or file's]
    #[arg(long)]
    pub name: Option<String>,
    /// Where to write
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// Overwrite what exists
    #[arg(long)]
    pub force: bool,
    /// Look at so many records [default: 2,000 of a topic, 20,000 of files]
    #[arg(long, value_name = "N")]
    pub records: Option<usize>,
}

/// Runs it: 1 if what it made does not hold, 2 if nothing can be read or written.
pub fn run(args: &InitArgs) -> Exit {
    match init(args) {
        Ok(exit) => exit,
        Err(message) => fail(&message),
    }
}

fn init(args: &InitArgs) -> Result<Exit, String> {
    let origin =
        Origin { files: &args.sample, kafka: &args.kafka, name: args.name.as_deref(), most: args.records };
    let (name, mut looked) = origin.read()?;
    let look = looked.look();
    let guessed = Guessed::new(&name, &look, &looked, args.kafka.topic.as_deref())?;
    looked.date(&guessed.schema);
    let decoded = looked.decode(&guessed.schema);
    super::print(guessed.report(&looked, &decoded));
    if decoded.rejected() == decoded.records {
        return Err("not one record could be read, so nothing was written\n  \
                    hint: what stands in the way is named above; records are JSON objects"
            .into());
    }
    let tried = Tried::new(&guessed, &looked)?;
    let brokers = args.kafka.settings()?.map(|settings| settings.brokers);
    let files = [
        (
            "fleetwarden.toml".to_owned(),
            config::text(&name, args.kafka.topic.as_deref(), brokers.as_deref(), tried.exchange),
        ),
        (format!("schemas/{name}.toml"), guessed.source.text.clone()),
        (tried.path.clone(), tried.text.clone()),
    ];
    let written = write(&args.dir, &files, args.force)?;
    let next = next(args, &name, &looked, &guessed.schema);
    super::print(format!("{}\n{next}", told(&written, &tried)));
    let failed = tried.failed > 0 || decoded.rejected() * 1000 > decoded.records;
    Ok(if failed { Exit::Findings } else { Exit::Ok })
}

/// A first rule that was checked, tested and run over the sample.
struct Tried {
    path: String,
    text: String,
    tests: usize,
    failed: usize,
    /// Alerts over the sample.
    alerts: u64,
    /// Whether it needs all partitions together.
    exchange: bool,
}

impl Tried {
    /// Raises the limit until the sample is silent.
    fn new(guessed: &Guessed<'_>, looked: &Looked) -> Result<Tried, String> {
        let schema = &guessed.schema;
        let draft = rule::draft(&guessed.guess, schema, looked.partitions > 1);
        let mut limit = if draft.fails.is_some() { 5 } else { 20 };
        loop {
            let tried = Tried::once(&draft, limit, schema, looked)?;
            if tried.alerts == 0 || limit > 20_000 {
                return Ok(tried);
            }
            limit *= 2;
        }
    }

    fn once(draft: &rule::Draft, limit: u32, schema: &Arc<Schema>, looked: &Looked) -> Result<Tried, String> {
        let path = format!("rules/{}/{}.toml", schema.name, draft.id);
        let text = draft.text(limit);
        let file = RuleFile { source: Source { path: path.clone(), text: text.clone() } };
        let schemas = [schema.clone()];
        let loaded = load(&[file], &schemas);
        if let Some(problem) = loaded.problems.iter().find(|problem| problem.gravity == Gravity::Error) {
            return Err(format!("the first rule is refused: {}", problem.render(&text, false)));
        }
        let failed =
            loaded.tests.iter().filter(|test| !Outcome::of(test, &loaded.rules, &schemas).passed()).count();
        let exchange =
            loaded.rules.rules.iter().any(|rule| rule.placement == crate::rule::Placement::Exchange);
        let tests = loaded.tests.len();
        let record_bytes =
            if looked.framing == Framing::File { look::FILE_BYTES } else { Limits::default().record_bytes };
        let limits = Limits { record_bytes, ..Limits::default() };
        let mut replay = Replay::new(Arc::new(loaded.rules), &schemas, &limits);
        let mut alerts = 0;
        for lines in looked.lines.chunks(4096) {
            let records: Vec<Record<'_>> =
                lines.iter().map(|line| look::record(line, replay.source(&line.partition))).collect();
            alerts += replay.push(&records).0.len() as u64;
        }
        Ok(Tried { path, text, tests, failed, alerts, exchange })
    }
}

/// Writes files, those that exist only if that is wished; says of each whether it was written.
fn write(dir: &Path, files: &[(String, String)], force: bool) -> Result<BTreeMap<String, bool>, String> {
    let mut written = BTreeMap::new();
    for (name, text) in files {
        let path = dir.join(name);
        let new = force || !path.exists();
        if new {
            let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(failed)?;
            }
            std::fs::write(&path, text).map_err(failed)?;
        }
        written.insert(path.display().to_string(), new);
    }
    Ok(written)
}

fn told(written: &BTreeMap<String, bool>, tried: &Tried) -> String {
    let names = |new: bool| -> Vec<&str> {
        written.iter().filter(|(_, is_new)| **is_new == new).map(|(name, _)| name.as_str()).collect()
    };
    let tests = match tried.failed {
        0 => format!("{}, pass", super::number(tried.tests, "test")),
        failed => format!("{} of {}", super::number(failed, "test"), tried.tests) + " FAIL",
    };
    let sample = match tried.alerts {
        0 => "silent over what was read".to_owned(),
        n => format!("{n} alerts over what was read: raise its limit"),
    };
    let mut out = String::new();
    if !names(true).is_empty() {
        out.push_str(&format!("wrote  {}\n", names(true).join(" · ")));
    }
    if !names(false).is_empty() {
        out.push_str(&format!("kept   {} (there already; --force overwrites)\n", names(false).join(" · ")));
    }
    out.push_str(&format!("rule   {}: {tests}; {sample}", tried.path));
    out
}

/// What to do next, as commands that work.
fn next(args: &InitArgs, name: &str, looked: &Looked, schema: &Schema) -> String {
    let mut out = String::new();
    let (cd, dir) = (args.dir.as_path() != Path::new("."), args.dir.display());
    let at = if cd { format!("cd {dir} && ") } else { String::new() };
    let many = |field: &&crate::schema::Field| field.values.len() > 1;
    let column = schema.fields.iter().find(many).or(schema.fields.first());
    let column = column.map_or("event_time", |field| field.name.as_str());
    let select = format!("SELECT {column}, count(*) AS n FROM {name} GROUP BY {column} ORDER BY n DESC");
    match &args.kafka.topic {
        Some(topic) => {
            out.push_str(&format!(
                "next   {at}fleetwarden query \"{select}\" -c fleetwarden.toml --topic {topic}\n"
            ));
            out.push_str(&format!("       {at}fleetwarden run -c fleetwarden.toml\n"));
        }
        None => {
            let framing = if looked.framing == Framing::File { "--framing file " } else { "" };
            let file =
                args.sample.first().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()));
            let file = match file {
                Some(file) if cd => file.display().to_string(),
                _ => args.sample.first().map(|file| file.display().to_string()).unwrap_or_default(),
            };
            out.push_str(&format!("next   {at}fleetwarden query {framing}\"{select}\" {name}={file}\n"));
            out.push_str(&format!("       {at}fleetwarden replay {framing}{name}={file}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests;
