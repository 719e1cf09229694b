//! One file per verb, and what the verbs share: exit codes, and how rules and schemas are found.

pub mod check;
pub mod demo;
pub mod evaluate;
pub mod explain;
pub mod init;
pub mod journal;
mod look;
mod paper;
mod progress;
pub mod query;
pub mod replay;
pub mod run;
pub mod schema;
mod shelf;
mod show;
pub mod simulate;
pub mod sink;
pub mod state;
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
    /// Print what workers have claimed, been told and said
    Journal(journal::JournalArgs),
    /// Schemas: print the one that fits some records
    #[command(subcommand)]
    Schema(schema::SchemaVerb),
    /// Sinks: where each stands in the journal; send the alerts of a span of time to one once more
    #[command(subcommand)]
    Sink(sink::SinkVerb),
    /// Saved state: list, show, verify, export, delete, forget
    #[command(subcommand)]
    State(state::StateVerb),
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
        Verb::Journal(args) => journal::run(&args),
        Verb::Schema(verb) => schema::run(&verb),
        Verb::Sink(verb) => sink::run(&verb),
        Verb::State(verb) => state::run(&verb),
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

/// Why rules or schemas are not fit to run.
pub enum Refusal {
    /// What could not be read at all.
    Unreadable(String),
    /// Problems, and the files that they are in.
    Problems(Vec<Diagnostic>, Vec<Source>),
}

impl Refusal {
    /// For people.
    pub fn text(&self, color: bool) -> String {
        match self {
            Refusal::Unreadable(why) => why.clone(),
            Refusal::Problems(problems, sources) => {
                let errors = problems.iter().filter(|problem| problem.gravity == Gravity::Error);
                let text = |problem: &Diagnostic| {
                    let source = sources.iter().find(|source| source.path == problem.file);
                    problem.render(source.map_or("", |source| &source.text), color)
                };
                errors.map(text).collect::<Vec<String>>().join("\n\n")
            }
        }
    }

    /// Prints it.
    fn exit(self) -> Exit {
        match self {
            Refusal::Unreadable(why) => fail(&why),
            Refusal::Problems(problems, sources) => {
                print_problems(&problems, &sources, Gravity::Error);
                let errors = problems.iter().filter(|problem| problem.gravity == Gravity::Error).count();
                let errors = number(errors, "error");
                eprintln!("{errors}. Nothing was loaded; `fleetwarden check` shows warnings as well.");
                Exit::Findings
            }
        }
    }
}

/// All streams: those of `path`, else of `./schemas`, else the built-in ones. Problems are printed.
pub fn schemas(path: Option<&Path>) -> Result<Vec<Arc<Schema>>, Exit> {
    schema_files(path).and_then(|files| schemas_of(&files)).map_err(Refusal::exit)
}

/// Their files.
fn schema_files(path: Option<&Path>) -> Result<Vec<Source>, Refusal> {
    let local = Path::new("schemas");
    let path = match path {
        Some(path) => path,
        None if local.is_dir() => local,
        None => return Ok(crate::schema::built_in_sources()),
    };
    let sources = crate::schema::read_dir(path)
        .map_err(|error| Refusal::Unreadable(format!("cannot read schemas {}: {error}", path.display())))?;
    if sources.is_empty() {
        return Err(Refusal::Unreadable(format!(
            "no schema in {}: a stream is described by NAME.toml there",
            path.display()
        )));
    }
    Ok(sources)
}

fn schemas_of(sources: &[Source]) -> Result<Vec<Arc<Schema>>, Refusal> {
    let (schemas, problems) = crate::schema::load(sources);
    match problems.iter().any(|problem| problem.gravity == Gravity::Error) {
        true => Err(Refusal::Problems(problems, sources.to_vec())),
        false => Ok(schemas),
    }
}

/// Reads rule files and folders of them. Where there is no folder `rules` and nothing else was asked for, the
/// shipped rules: the binary alone is enough to look at them.
pub fn rule_files(paths: &[PathBuf]) -> Result<Vec<RuleFile>, Exit> {
    rule_sources(paths).map_err(Refusal::exit)
}

fn rule_sources(paths: &[PathBuf]) -> Result<Vec<RuleFile>, Refusal> {
    if let [path] = paths
        && path == Path::new("rules")
        && !path.exists()
    {
        eprintln!("no folder \"rules\" here: these are the rules that ship with the program");
        return Ok(rule::shipped::files());
    }
    let files = rule::file::read(paths).map_err(|error| Refusal::Unreadable(error.to_string()))?;
    if files.is_empty() {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Refusal::Unreadable(format!("no rule file (*.toml) in {}", shown.join(", "))));
    }
    Ok(files)
}

/// The tables of the nearest folder `lookups` upwards from the rules; none if there is no such folder.
pub fn lookups(rules: &[PathBuf]) -> Result<rule::lookup::Read, Exit> {
    tables(rules).map_err(Refusal::exit)
}

fn tables(rules: &[PathBuf]) -> Result<rule::lookup::Read, Refusal> {
    let Some(folder) = rule::lookup::folder_of(rules) else { return Ok(rule::lookup::Read::default()) };
    rule::lookup::read(&folder)
        .map_err(|error| Refusal::Unreadable(format!("cannot read lookups {}: {error}", folder.display())))
}

/// Loads rules and schemas; if there is an error in any, prints all problems and gives up.
pub fn load_rules(paths: &[PathBuf], schemas_path: Option<&Path>) -> Result<Rules, Exit> {
    read_rules(paths, schemas_path).map_err(Refusal::exit)
}

/// Loads rules and schemas; prints nothing.
pub fn read_rules(paths: &[PathBuf], schemas_path: Option<&Path>) -> Result<Rules, Refusal> {
    let described = schema_files(schemas_path)?;
    let schemas = schemas_of(&described)?;
    let files = rule_sources(paths)?;
    let tables = tables(paths)?;
    let mut loaded = rule::load_with(&files, &schemas, &tables.lookups);
    loaded.problems.extend(tables.problems);
    let written: Vec<Source> = files.into_iter().map(|file| file.source).collect();
    if loaded.problems.iter().any(|problem| problem.gravity == Gravity::Error) {
        let sources: Vec<Source> = written.into_iter().chain(tables.sources).collect();
        return Err(Refusal::Problems(loaded.problems, sources));
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
