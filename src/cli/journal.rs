//! `fleetwarden journal`: prints the journal as people, or programs, read it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::value::RawValue;

use super::{Exit, fail, look, show};
use crate::config;
use crate::event::{Marks, PartitionId};
use crate::journal::{Entry, Written, decode, parse_source, partition_of};
use crate::kafka::{Excerpt, Part, Settings, Taken};

/// Print what workers have claimed, been told and said.
#[derive(Args, Debug)]
#[command(after_help = "\
A line begins with where the entry lies: its partition and offset in the journal. An entry is `superseded` if
an owner with a higher epoch has written before it: nobody believes it. Where a part is read, that is known of
what lies in it alone.

Examples:
  fleetwarden journal --from 1h
  fleetwarden journal -c prod.toml --partition telemetry/3 --from 47110 --follow
  fleetwarden journal --format json | jq 'select(.entry.entry.alerts?)'")]
pub struct JournalArgs {
    /// The configuration that `run` is given
    #[arg(short, long, default_value = "fleetwarden.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Only what was said of this partition of a stream
    #[arg(long, value_name = "STREAM/NUMBER", value_parser = source)]
    pub partition: Option<PartitionId>,
    /// From this time on (RFC 3339, or so long ago: 90m, 2d), or from this offset [default: everything there is]
    #[arg(long, value_name = "TIME|OFFSET")]
    pub from: Option<String>,
    /// Go on with what comes, until interrupted
    #[arg(long)]
    pub follow: bool,
    /// How entries are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Stop after so many entries
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// How entries are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON line each: where it lies, whether it is believed, and the entry as it was written.
    Json,
}

fn source(text: &str) -> Result<PartitionId, String> {
    parse_source(text).ok_or_else(|| "a stream and a number, such as telemetry/3".to_owned())
}

/// Runs it; 2 if the journal cannot be read.
pub fn run(args: &JournalArgs) -> Exit {
    let settings = match config::load(&args.config) {
        Ok(config) => config.kafka,
        Err(refused) => {
            super::print_problems(&refused.problems, &[refused.source], crate::diagnostic::Gravity::Error);
            return fail(&format!("{} cannot be used", args.config.display()));
        }
    };
    match part(args.from.as_deref()).and_then(|part| print(args, &settings, part)) {
        Ok(exit) => exit,
        Err(message) => fail(&message),
    }
}

fn part(from: Option<&str>) -> Result<Part, String> {
    match from {
        None => Ok(Part::Between(None, None)),
        Some(text) => match text.parse() {
            Ok(offset) => Ok(Part::Since(offset)),
            Err(_) => Ok(Part::Between(Some(look::when("--from", text)?), None)),
        },
    }
}

fn print(args: &JournalArgs, settings: &Settings, part: Part) -> Result<Exit, String> {
    let only = |count| args.partition.as_ref().map(|source| partition_of(source, count));
    let said = |error: crate::kafka::Error| error.to_string();
    let mut excerpt = Excerpt::open_of(settings, &settings.journal(), part, only).map_err(said)?;
    if args.follow {
        excerpt.follow().map_err(said)?;
    }
    let mut reader = Reader { marks: Marks::default(), only: args.partition.as_ref() };
    let color = args.format == Format::Text && super::color(&std::io::stdout());
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(taken) = excerpt.next().map_err(said)? else { break };
        let Some(read) = reader.read(&taken) else { continue };
        left -= 1;
        let shown = match args.format {
            Format::Text => text(&taken, &read, color),
            Format::Json => line(&taken, &read),
        };
        if super::print(shown + "\n") != Exit::Ok {
            return Ok(Exit::Usage);
        }
    }
    Ok(Exit::Ok)
}

/// What one record says: an entry and the higher epoch that is believed instead, or why it is none.
type Read = Result<(Written, Option<i64>), String>;

/// Reads records in order, and remembers whom to believe.
struct Reader<'a> {
    marks: Marks,
    only: Option<&'a PartitionId>,
}

impl Reader<'_> {
    /// None for what was said of others.
    fn read(&mut self, taken: &Taken) -> Option<Read> {
        let written = match decode(&taken.payload) {
            Ok(written) => written,
            Err(malformed) => return Some(Err(malformed.to_string())),
        };
        if self.only.is_some_and(|only| *only != written.stamp.source) {
            return None;
        }
        // A claim asks to be believed; it is for its open to say so.
        let believed = written.entry == Entry::Claim || self.marks.accept(&written.stamp);
        let instead = self.marks.epoch(&written.stamp.source).filter(|_| !believed);
        Some(Ok((written, instead)))
    }
}

fn text(taken: &Taken, read: &Read, color: bool) -> String {
    let place = format!("{}@{}", taken.partition, taken.offset);
    let (written, instead) = match read {
        Ok((written, instead)) => (written, instead),
        Err(why) => return format!("{place:12} {}  {why}", taken.broker_time),
    };
    let stamp = &written.stamp;
    let owner = match stamp.epoch {
        ..0 => "no epoch yet".to_owned(),
        epoch => format!("epoch {epoch} #{}", stamp.seq),
    };
    let source = stamp.source.to_string();
    let head = format!("{place:12} {}  {source:16} {owner:20}", written.written);
    let said = match &written.entry {
        Entry::Claim => format!("asks to own it, as epoch {}", taken.offset),
        Entry::Open { cold: true } => "opens it, cold: without the state that there was".to_owned(),
        Entry::Open { cold: false } => "opens it".to_owned(),
        Entry::Told { at, told } => format!("is told, before {at}: {told}"),
        Entry::Alerts { through, more, alerts } => {
            let said = if *more { "begins to say" } else { "has said" };
            format!("{said} everything below {through}: {}", super::number(alerts.len(), "alert"))
        }
    };
    let superseded = instead.map(|epoch| format!("  superseded by epoch {epoch}")).unwrap_or_default();
    let mut out = format!("{head} {said}{superseded}");
    if let Entry::Alerts { alerts, .. } = &written.entry {
        for alert in alerts {
            out.push_str(&format!(
                "\n  {}  {}",
                alert.id_hex(),
                show::line(alert, color).replace('\n', "\n  ")
            ));
        }
    }
    out
}

fn line(taken: &Taken, read: &Read) -> String {
    // As it was written: what came through `serde_json::Value` would have other numbers.
    let raw = || serde_json::from_slice::<&RawValue>(&taken.payload).ok();
    let line = Line {
        partition: taken.partition,
        offset: taken.offset,
        superseded_by: read.as_ref().ok().and_then(|(_, instead)| *instead),
        malformed: read.as_ref().err().map(String::as_str),
        entry: read.as_ref().ok().and_then(|_| raw()),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

#[derive(serde::Serialize)]
struct Line<'a> {
    partition: i32,
    offset: i64,
    superseded_by: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    malformed: Option<&'a str>,
    entry: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests;
