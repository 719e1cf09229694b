//! `fleetwarden schema infer`: prints the schema that fits some records.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::look::{self, Decoded, KafkaArgs, Looked};
use super::{Exit, fail};
use crate::diagnostic::{Diagnostic, Source};
use crate::schema::guess::{Guess, Look, share, thousands};
use crate::schema::{self, Schema};

/// What is done about schemas.
#[derive(Subcommand, Debug)]
pub enum SchemaVerb {
    /// Print the schema that fits the records of files or of a topic
    #[command(after_help = "\
The schema goes to stdout, what was seen to stderr.

Examples:
  fleetwarden schema infer trail.json > schemas/trail.toml
  fleetwarden schema infer --brokers kafka:9092 --topic vehicle.remote --name remote")]
    Infer(InferArgs),
}

/// What to look at.
#[derive(Args, Debug)]
pub struct InferArgs {
    /// Files of one stream: NDJSON, or one JSON text; plain, gzip or zstd; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "topic", conflicts_with = "topic")]
    pub files: Vec<PathBuf>,
    /// Where Kafka is
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// The stream's name [default: the file's or topic's]
    #[arg(long)]
    pub name: Option<String>,
    /// Look at so many records [default: 2,000 of a topic, 20,000 of files]
    #[arg(long, value_name = "N")]
    pub records: Option<usize>,
}

/// Runs it; 2 if nothing can be read.
pub fn run(verb: &SchemaVerb) -> Exit {
    let SchemaVerb::Infer(args) = verb;
    match infer(args) {
        Ok(exit) => exit,
        Err(message) => fail(&message),
    }
}

fn infer(args: &InferArgs) -> Result<Exit, String> {
    let origin =
        Origin { files: &args.files, kafka: &args.kafka, name: args.name.as_deref(), most: args.records };
    let (name, mut looked) = origin.read()?;
    let look = looked.look();
    let guessed = Guessed::new(&name, &look, &looked, args.kafka.topic.as_deref())?;
    looked.date(&guessed.schema);
    let decoded = looked.decode(&guessed.schema);
    eprint!("{}", guessed.report(&looked, &decoded));
    Ok(super::print(&guessed.source.text))
}

/// What is to be looked at.
pub struct Origin<'a> {
    /// Files, or none for a topic.
    pub files: &'a [PathBuf],
    /// Where Kafka is, and the topic.
    pub kafka: &'a KafkaArgs,
    /// The stream's name, if it was said.
    pub name: Option<&'a str>,
    /// How many records, if it was said.
    pub most: Option<usize>,
}

impl Origin<'_> {
    /// The stream's name, and the records.
    pub fn read(&self) -> Result<(String, Looked), String> {
        let most = self.most.map(|most| most.max(1));
        if let Some(topic) = &self.kafka.topic {
            let name = self.name(topic)?;
            let settings =
                self.kafka.settings()?.ok_or("where is Kafka? add --brokers HOST:PORT, or -c FILE")?;
            return Ok((name.clone(), look::topic(&name, &settings, topic, most)?));
        }
        let first = self.files.first().ok_or("name a file, or --brokers HOST:PORT and --topic TOPIC")?;
        let name = self.name(&first.display().to_string())?;
        Ok((name.clone(), look::files(&name, self.files, most)?))
    }

    fn name(&self, of: &str) -> Result<String, String> {
        let Some(name) = self.name else { return Ok(look::stream_name(of)) };
        if look::stream_name(name) == name {
            return Ok(name.to_owned());
        }
        Err(format!(
            "\"{name}\" cannot be the name of a stream\n  hint: letters a-z, digits and _, such as \"{}\"",
            look::stream_name(name)
        ))
    }
}

/// A schema that was guessed, and what speaks for it.
pub struct Guessed<'l> {
    /// What was seen.
    pub guess: Guess<'l>,
    /// The file.
    pub source: Source,
    /// What the file says.
    pub schema: Arc<Schema>,
}

impl<'l> Guessed<'l> {
    /// Guesses. An error is one of ours: a file that the checker refuses.
    pub fn new(
        name: &str,
        look: &'l Look,
        looked: &Looked,
        topic: Option<&str>,
    ) -> Result<Guessed<'l>, String> {
        if look.events == 0 {
            let why = look.unreadable_why.clone().unwrap_or_else(|| "they hold no events".to_owned());
            return Err(format!(
                "no event in {}: {} looked at; the first: {why}",
                looked.from,
                super::number(look.records as usize, "record")
            ));
        }
        let guess = look.guess();
        let text = guess.toml(topic.unwrap_or(name), &looked.from);
        let source = Source { path: format!("schemas/{name}.toml"), text };
        let (schemas, problems) = schema::load(std::slice::from_ref(&source));
        let said = |problem: &Diagnostic| {
            format!("the guessed schema is refused: {}\n{}", problem.message, source.text)
        };
        let schema =
            schemas.into_iter().next().ok_or_else(|| problems.first().map(said).unwrap_or_default())?;
        Ok(Guessed { guess, source, schema })
    }

    /// What was seen and guessed, for people.
    pub fn report(&self, looked: &Looked, decoded: &Decoded) -> String {
        let Guess { look, columns, time, other_times, key } = &self.guess;
        let name = |at: usize| columns.all.get(at).map_or("", |column| column.name.as_str());
        let mut out = format!("read {} of {}", super::number(look.records as usize, "record"), looked.from);
        if looked.partitions > 0 {
            out.push_str(&format!(" ({})", super::number(looked.partitions, "partition")));
        }
        if look.events != look.records {
            out.push_str(&format!(", {} in them", super::number(look.events as usize, "event")));
        }
        out.push('\n');
        let mut line = |head: &str, text: &str| out.push_str(&format!("  {head:15} {text}\n"));
        match time {
            Some(time) => {
                let unit = self.schema.fields.get(time.column).map_or("", |field| field.unit.as_str());
                let why = if time.why.is_empty() { String::new() } else { format!("; {}", time.why) };
                line("time field", &format!("{} ({}{why})", name(time.column), unit_words(unit)));
            }
            None => line("time field", "none found: the broker's time is used"),
        }
        if !other_times.is_empty() {
            let others: Vec<&str> = other_times.iter().map(|at| name(*at)).collect();
            line("", &format!("not taken: {}", shorten(&others)));
        }
        match key {
            Some(key) => line("partition key", &format!("{} ({})", name(key.column), key.why)),
            None => line("partition key", "none found: rules that count need a topic of one partition"),
        }
        let roles: Vec<String> = columns
            .all
            .iter()
            .filter_map(|column| Some(format!("{} → {}", column.name, column.entity?.name())))
            .collect();
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        line(
            "fields",
            &format!("{}{}{}", columns.all.len(), if roles.is_empty() { "" } else { ": " }, shorten(&roles)),
        );
        self.report_doubts(&mut line);
        let good = decoded.records - decoded.rejected();
        line(
            "decodes",
            &format!(
                "{} of the records ({} of {})",
                share(good, decoded.records),
                thousands(good),
                thousands(decoded.records)
            ),
        );
        decoded.complaints().iter().for_each(|complaint| line("", complaint));
        out
    }

    fn report_doubts(&self, line: &mut impl FnMut(&str, &str)) {
        let columns = &self.guess.columns;
        for left in columns.left_out.iter().filter(|left| left.secret) {
            line("left out", &format!("{}: {}", left.path, left.why));
        }
        let others: Vec<&str> =
            columns.left_out.iter().filter(|left| !left.secret).map(|left| left.path.as_str()).collect();
        if !others.is_empty() {
            line("left out", &format!("{} (the schema says why)", shorten(&others)));
        }
        for column in &columns.all {
            if let Some(doubt) = &column.doubt {
                line("not sure", &format!("\"{}\": {doubt}", column.name));
            }
        }
    }
}

fn unit_words(unit: &str) -> &str {
    match unit {
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "rfc3339" => "RFC 3339",
        "text" => "text, UTC where it says no zone",
        other => other,
    }
}

/// The first of many names.
fn shorten(names: &[&str]) -> String {
    match names.len() {
        0..=8 => names.join(", "),
        n => format!("{} … and {} more", names.get(..7).unwrap_or_default().join(", "), n - 7),
    }
}
