//! One file per verb, and what the verbs share: exit codes, and how rules and schemas are found.

pub mod check;
pub mod demo;
pub mod evaluate;
pub mod explain;
pub mod init;
mod look;
mod paper;
mod progress;
pub mod query;
pub mod replay;
pub mod run;
pub mod schema;
mod show;
pub mod simulate;
pub mod sink;
pub mod test;

use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::diagnostic::{Diagnostic, Gravity, Source};
use crate::rule::content::Content;
use crate::rule::{self, RuleFile, RuleSet, RuleTest};
use crate::schema::Schema;

/// Streaming threat detection for connected vehicles: Kafka in, rules in TOML, alerts out within a second.
#[derive(Parser, Debug)]
#[command(name = "fleetwarden", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Watch attacks being found, on an in-process Kafka: needs nothing, ends by itself
    Demo(demo::DemoArgs),
    /// Detect: Kafka in, alerts to the configured sinks, until stopped
    Run(run::RunArgs),
    /// Find every mistake in rule files
    Check(check::CheckArgs),
    /// Run the tests that stand in rule files
    Test(test::TestArgs),
    /// Run rules over files of recorded events
    Replay(replay::ReplayArgs),
    /// Say how a rule runs, and why it fired for a key or did not
    Explain(explain::ExplainArgs),
    /// Look at real records, and write a configuration, a schema and a first rule
    Init(init::InitArgs),
    /// Ask recorded events or a topic, in SQL
    Query(query::QueryArgs),
    /// Schemas: print the one that fits some records
    #[command(subcommand)]
    Schema(schema::SchemaVerb),
    /// Sinks: where each stands in the journal; send the alerts of a span of time to one once more
    #[command(subcommand)]
    Sink(sink::SinkVerb),
    /// Print what completes commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one a verb into a folder
    Man {
        /// The folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Write the streams of a simulated fleet, with attacks whose truth is known
    Simulate(simulate::SimulateArgs),
    /// Rules against a simulated fleet: what they find, how soon, and what they say without a reason
    Evaluate(evaluate::EvaluateArgs),
}

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: nothing wrong.
    Ok,
    /// 1: problems in rules, or failed tests.
    Findings,
    /// 2: wrong usage, or something that is missing around us.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        match exit {
            Exit::Ok => ExitCode::SUCCESS,
            Exit::Findings => ExitCode::from(1),
            Exit::Usage => ExitCode::from(2),
        }
    }
}

/// Runs the verb that the command line names.
pub fn main() -> ExitCode {
    let exit = match Cli::parse().verb {
        Verb::Demo(args) => demo::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Init(args) => init::run(&args),
        Verb::Query(args) => query::run(&args),
        Verb::Schema(verb) => schema::run(&verb),
        Verb::Sink(verb) => sink::run(&verb),
        Verb::Completions { shell } => paper::completions(shell),
        Verb::Man { out } => paper::man(out.as_deref()),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Evaluate(args) => evaluate::run(&args),
    };
    exit.into()
}

/// Rules that are fit to run, with all that goes with them.
pub struct Rules {
    /// The rules.
    pub rules: RuleSet,
    /// Their tests.
    pub tests: Vec<RuleTest>,
    /// All streams.
    pub schemas: Vec<Arc<Schema>>,
    /// The texts of all these.
    pub content: Content,
}

/// All streams: those of `path`, else of `./schemas`, else the built-in ones. Problems are printed.
pub fn schemas(path: Option<&Path>) -> Result<Vec<Arc<Schema>>, Exit> {
    schemas_of(&schema_files(path)?)
}

/// Their files.
fn schema_files(path: Option<&Path>) -> Result<Vec<Source>, Exit> {
    let local = Path::new("schemas");
    let path = match path {
        Some(path) => path,
        None if local.is_dir() => local,
        None => return Ok(crate::schema::built_in_sources()),
    };
    let sources = crate::schema::read_dir(path)
        .map_err(|error| fail(&format!("cannot read schemas {}: {error}", path.display())))?;
    if sources.is_empty() {
        return Err(fail(&format!(
            "no schema in {}: a stream is described by NAME.toml there",
            path.display()
        )));
    }
    Ok(sources)
}

fn schemas_of(sources: &[Source]) -> Result<Vec<Arc<Schema>>, Exit> {
    let (schemas, problems) = crate::schema::load(sources);
    print_problems(&problems, sources, Gravity::Error);
    if problems.iter().any(|problem| problem.gravity == Gravity::Error) {
        Err(Exit::Findings)
    } else {
        Ok(schemas)
    }
}

/// Reads rule files and folders of them. Where there is no folder `rules` and nothing else was asked for, the
/// shipped rules: the binary alone is enough to look at them.
pub fn rule_files(paths: &[PathBuf]) -> Result<Vec<RuleFile>, Exit> {
    if let [path] = paths
        && path == Path::new("rules")
        && !path.exists()
    {
        eprintln!("no folder \"rules\" here: these are the rules that ship with the program");
        return Ok(rule::shipped::files());
    }
    let files = rule::file::read(paths).map_err(|error| fail(&error.to_string()))?;
    if files.is_empty() {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(fail(&format!("no rule file (*.toml) in {}", shown.join(", "))));
    }
    Ok(files)
}

/// The tables of the nearest folder `lookups` upwards from the rules; none if there is no such folder.
pub fn lookups(rules: &[PathBuf]) -> Result<rule::lookup::Read, Exit> {
    let Some(folder) = rule::lookup::folder_of(rules) else { return Ok(rule::lookup::Read::default()) };
    rule::lookup::read(&folder)
        .map_err(|error| fail(&format!("cannot read lookups {}: {error}", folder.display())))
}

/// Loads rules and schemas; if there is an error in any, prints all problems and gives up.
pub fn load_rules(paths: &[PathBuf], schemas_path: Option<&Path>) -> Result<Rules, Exit> {
    let described = schema_files(schemas_path)?;
    let schemas = schemas_of(&described)?;
    let files = rule_files(paths)?;
    let tables = lookups(paths)?;
    let mut loaded = rule::load_with(&files, &schemas, &tables.lookups);
    loaded.problems.extend(tables.problems);
    let errors = loaded.problems.iter().filter(|problem| problem.gravity == Gravity::Error).count();
    let written: Vec<Source> = files.into_iter().map(|file| file.source).collect();
    if errors > 0 {
        let sources: Vec<Source> = written.into_iter().chain(tables.sources).collect();
        print_problems(&loaded.problems, &sources, Gravity::Error);
        let errors = number(errors, "error");
        eprintln!("{errors}. Nothing was loaded; `fleetwarden check` shows warnings as well.");
        return Err(Exit::Findings);
    }
    let content = Content { rules: written, schemas: described, lookups: tables.sources };
    Ok(Rules { rules: loaded.rules, tests: loaded.tests, schemas, content })
}

/// Prints problems for people, to stderr, those up to `least` severe.
pub fn print_problems(problems: &[Diagnostic], sources: &[Source], least: Gravity) {
    let color = color(&std::io::stderr());
    for problem in problems.iter().filter(|problem| problem.gravity <= least) {
        let text =
            sources.iter().find(|source| source.path == problem.file).map_or("", |source| &source.text);
        eprintln!("{}\n", problem.render(text, color));
    }
}

/// Whether a stream takes colours.
pub fn color(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `1 rule`, `2 rules`.
pub fn number(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Prints to stdout; a reader that has seen enough (`| head`) is no error.
pub fn print(text: impl AsRef<[u8]>) -> Exit {
    match std::io::stdout().write_all(text.as_ref()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(&format!("cannot print: {error}"))
        }
        _ => Exit::Ok,
    }
}

/// Prints an error that is not about a rule.
pub fn fail(message: &str) -> Exit {
    let head = if color(&std::io::stderr()) { "\x1b[1;31merror\x1b[0m" } else { "error" };
    eprintln!("{head}: {message}");
    Exit::Usage
}
