//! One TOML configuration; unknown keys are errors, and all problems are told at once, each with its place.
//!
//! Says what was asked for. Whether the topics exist, whether a sink answers, what the rules mean: others
//! find out.

mod checkpoints;
mod credentials;
mod hide;
mod limits;
mod paths;
mod read;
mod shape;
mod substitute;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use checkpoints::Checkpoints;

use crate::diagnostic::{Diagnostic, Source};
use crate::event::Limits;
use crate::kafka;
use crate::sink::SinkConfig;

/// Everything that `fleetwarden run` is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How to reach Kafka.
    pub kafka: kafka::Settings,
    /// Worker threads; none = as many as there are cores.
    #[serde(default)]
    pub workers: Option<NonZeroUsize>,
    /// The folder of rules.
    #[serde(default = "default_rules")]
    pub rules: PathBuf,
    /// The folder of schemas; none = those that come with the program.
    #[serde(default)]
    pub schemas: Option<PathBuf>,
    /// What differs from a stream's schema.
    #[serde(default)]
    pub streams: BTreeMap<String, Stream>,
    /// Metrics and health.
    #[serde(default)]
    pub http: Http,
    /// Where alerts go.
    #[serde(default)]
    pub sinks: BTreeMap<String, SinkConfig>,
    /// Where state is saved.
    #[serde(default)]
    pub checkpoints: Checkpoints,
    /// The engine's limits.
    #[serde(default, deserialize_with = "limits::read")]
    pub limits: Limits,
    /// What is written to stderr.
    #[serde(default)]
    pub log: Log,
}

fn default_rules() -> PathBuf {
    "rules".into()
}

/// What differs from a stream's schema.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// The topic it is read from; none = the one that the schema names.
    #[serde(default)]
    pub topic: Option<String>,
    /// Whether it is read at all; rules on a stream that is not read do nothing.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// Metrics and health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The address that `/metrics`, `/livez` and `/readyz` are served at.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9464))
}

impl Default for Http {
    fn default() -> Http {
        Http { listen: default_listen() }
    }
}

/// What is written to stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// For people or for machines.
    #[serde(default)]
    pub format: LogFormat,
    /// From which level on.
    #[serde(default)]
    pub level: LogLevel,
}

/// For whom log lines are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// People.
    #[default]
    Text,
    /// Machines: one JSON object a line.
    Json,
}

/// The least severe line that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What stops something.
    Error,
    /// What somebody should look at.
    Warn,
    /// What was begun and ended.
    #[default]
    Info,
    /// What happens inside.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word in configurations.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// A configuration that cannot be used: its text, and every problem in it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The file; its text is without values, which may be secrets, and empty if it could not be read.
    pub source: Source,
    /// What is wrong, in the order of the text.
    pub problems: Vec<Diagnostic>,
}

/// Reads a configuration file. Relative paths in it start at its own folder.
pub fn load(path: &Path) -> Result<Config, Box<Refused>> {
    let mut source = Source { path: path.display().to_string(), text: String::new() };
    let problems = match std::fs::read_to_string(path) {
        Ok(text) => {
            source.text = text;
            let folder = path.parent().unwrap_or(Path::new(""));
            match read::read(&source, folder, &|name| std::env::var(name).ok()) {
                Ok(config) => return Ok(config),
                Err(problems) => problems,
            }
        }
        Err(error) => {
            let message = format!("cannot read the configuration: {error}");
            vec![read::problem(&source, 0..0, message, "name another with -c FILE")]
        }
    };
    Err(Box::new(Refused::new(source, problems)))
}

impl Refused {
    /// Fit to be shown: neither the text nor the length of a caret tells what a value is.
    fn new(mut source: Source, mut problems: Vec<Diagnostic>) -> Refused {
        let text = hide::values(&source.text);
        for problem in &mut problems {
            let blank = text.get(problem.span.clone()).is_none_or(|shown| shown.trim().is_empty());
            if blank {
                problem.span.end = problem.span.end.min(problem.span.start.saturating_add(1));
            }
        }
        source.text = text;
        Refused { source, problems }
    }
}

#[cfg(test)]
mod tests;
