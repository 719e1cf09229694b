//! `fleetwarden query`: SQL over recorded events or a part of a topic, through the schemas and the decoder that
//! rules see, so that what is found here is what a rule will find.

mod functions;
mod out;
mod place;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use indicatif::ProgressBar;

use self::out::Out;
use self::place::{Origin, Place, sources};
use self::table::{Seen, StreamTable};
use super::look::KafkaArgs;
use super::replay::FramingArg;
use super::{Exit, fail};

/// Ask recorded events or a topic, in SQL.
#[derive(Args, Debug)]
#[command(after_help = "\
A table is a stream: its columns are those of its schema, and event_time, broker_time, _partition, _offset. A stream
without a schema gets one that is guessed from its first records. Records that cannot be read are counted on stderr.

Examples:
  fleetwarden query \"SELECT command, count(*) FROM remote GROUP BY command\" remote=day.ndjson.zst
  fleetwarden query \"SELECT * FROM telemetry WHERE speed > 200\" --brokers kafka:9092 --from 2h
  fleetwarden query \"DESCRIBE cloudtrail\" --framing file cloudtrail=trail.json")]
pub struct QueryArgs {
    /// One SELECT (or DESCRIBE STREAM); functions of rules work as well
    pub sql: String,
    /// STREAM=FILE (NDJSON, plain, gzip or zstd; - is standard input), or a folder of STREAM.ndjson[.gz|.zst]
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// Where Kafka is
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// The stream that --topic is read as [default: the one whose schema names the topic]
    #[arg(long)]
    pub stream: Option<String>,
    /// Of a topic: from this time on (RFC 3339, or so long ago: 90m, 2d)
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Of a topic: before this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Folder of stream schemas [default: ./schemas, else the built-in ones]
    #[arg(long)]
    pub schemas: Option<PathBuf>,
    /// What is a record of a file: each line, or each file (a CloudTrail file)
    #[arg(long, value_enum, default_value_t = FramingArg::Lines)]
    pub framing: FramingArg,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Stop after so many rows [default: 1000 for a table, else all]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// No progress bar
    #[arg(long)]
    pub quiet: bool,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// With a line of names.
    Csv,
    /// One JSON object a row.
    Ndjson,
}

/// Rows of a table that are held to be printed together.
const TABLE_ROWS: usize = 1000;

/// Runs it; 2 if the query or an input is wrong.
pub fn run(args: &QueryArgs) -> Exit {
    let sources = match sources(args) {
        Ok(sources) => sources,
        Err(exit) => return exit,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}")),
    };
    match runtime.block_on(ask(args, sources)) {
        Ok(()) => Exit::Ok,
        Err(message) => fail(&message),
    }
}

async fn ask(args: &QueryArgs, sources: Vec<Place>) -> Result<(), String> {
    let bar = bar(args);
    let context = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    for function in functions::all() {
        context.register_udf(function);
    }
    let mut seen = BTreeMap::new();
    let names: Vec<String> = sources.iter().map(|place| place.schema.name.to_string()).collect();
    let topics = sources.iter().any(|place| matches!(place.origin, Origin::Topic { .. }));
    for place in sources {
        let name = place.schema.name.to_string();
        let table = StreamTable::new(place, bar.clone());
        seen.insert(name.clone(), table.seen());
        context.register_table(&name, Arc::new(table)).map_err(|error| error.to_string())?;
    }
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let query = context.sql_with_options(&args.sql, options).await;
    let query = query.map_err(|error| explained(&error.to_string(), &names, topics))?;
    let limit = args.limit.unwrap_or(if args.format == Format::Table { TABLE_ROWS } else { usize::MAX });
    let mut out = Out::new(args.format, query.schema().as_arrow(), limit);
    let mut rows =
        query.execute_stream().await.map_err(|error| explained(&error.to_string(), &names, topics))?;
    while !out.is_full()
        && let Some(batch) = rows.next().await
    {
        let batch = batch.map_err(|error| explained(&error.to_string(), &names, topics))?;
        if !bar.suspend(|| out.write(&batch))? {
            break;
        }
    }
    drop(rows);
    bar.finish_and_clear();
    let rows = out.finish()?;
    tell(args, &seen, rows, limit);
    Ok(())
}

fn bar(args: &QueryArgs) -> ProgressBar {
    if args.quiet { ProgressBar::hidden() } else { super::progress::bar("query", 0) }
}

/// What was read, and what could not be: on stderr, so that rows can be piped.
fn tell(args: &QueryArgs, seen: &BTreeMap<String, Arc<Seen>>, rows: usize, limit: usize) {
    for (stream, seen) in seen {
        let Some(decoded) = seen.decoded() else { continue };
        for complaint in decoded.complaints() {
            eprintln!("{stream}: {complaint}");
        }
    }
    if rows >= limit && args.limit.is_none() {
        eprintln!("only the first {limit} rows; --limit N shows more, --format ndjson or csv all");
    }
    if !args.quiet {
        let read: Vec<String> = seen
            .iter()
            .filter_map(|(stream, seen)| {
                let decoded = seen.decoded()?;
                let rejected = match decoded.rejected() {
                    0 => String::new(),
                    n => format!(", {} rejected", super::number(n as usize, "record")),
                };
                Some(format!("{} of {stream}{rejected}", super::number(decoded.events as usize, "event")))
            })
            .collect();
        let read = if read.is_empty() { String::new() } else { format!(" · read {}", read.join("; ")) };
        eprintln!("{}{read}", super::number(rows, "row"));
    }
}

/// An error of the planner, without its jargon, with what to do.
fn explained(error: &str, names: &[String], topics: bool) -> String {
    let heads = ["Error during planning: ", "Schema error: ", "SQL error: ", "External error: "];
    let message = heads.iter().fold(error, |text, head| text.strip_prefix(head).unwrap_or(text));
    if let Some(missing) =
        message.strip_prefix("table 'datafusion.public.").and_then(|rest| rest.split('\'').next())
    {
        let near = crate::diagnostic::nearest(missing, names.iter().map(String::as_str));
        let hint = match (near, names.len()) {
            (Some(near), _) => format!("did you mean \"{near}\"?"),
            (None, 0) => format!("give {missing}=FILE, or --brokers HOST:PORT and --topic TOPIC"),
            (None, _) if topics => format!("streams there are: {}", names.join(", ")),
            (None, _) => format!("give {missing}=FILE as well; given: {}", names.join(", ")),
        };
        return format!("there is no stream \"{missing}\" here\n  hint: {hint}");
    }
    if let Some(problem) = message.strip_prefix("ParserError(\"").and_then(|text| text.strip_suffix("\")")) {
        return format!("the query is no SQL: {problem}");
    }
    if ["DDL", "DML", "Statement"].iter().any(|kind| message.starts_with(&format!("{kind} not supported"))) {
        return "a query only looks: SELECT, DESCRIBE or EXPLAIN".to_owned();
    }
    let first = message.split("\nValid fields are").next().unwrap_or(message).trim_end_matches('.');
    if message.contains("No field named") {
        let stream = names.first().map_or("STREAM", String::as_str);
        return format!("{first}\n  hint: `fleetwarden query \"DESCRIBE {stream}\" …` lists the columns");
    }
    first.to_owned()
}

#[cfg(test)]
mod tests;
