//! `fleetwarden check`: every mistake of every rule file, and how the good rules run.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Exit, number};
use crate::diagnostic::{Diagnostic, Gravity, Source};
use crate::rule::{self, Kind, Mode, Placement, Rule, Window};

/// Find every mistake in rule files.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Rule files, or folders of them
    #[arg(default_value = "rules")]
    pub paths: Vec<PathBuf>,
    /// For people, or one JSON object a problem and line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Folder of stream schemas [default: ./schemas, else the built-in ones]
    #[arg(long)]
    pub schemas: Option<PathBuf>,
    /// Say of each rule when it fires, where it runs, and what it reads
    #[arg(long, short)]
    pub verbose: bool,
}

/// How problems are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// With the line and a caret.
    Human,
    /// One JSON object a line: file, line, column, severity, message, hint.
    Json,
}

/// Prints all problems; 1 if one of them is an error. People read them on stderr, machines on stdout.
pub fn run(args: &CheckArgs) -> Exit {
    let schemas = match super::schemas(args.schemas.as_deref()) {
        Ok(schemas) => schemas,
        Err(exit) => return exit,
    };
    let files = match super::rule_files(&args.paths) {
        Ok(files) => files,
        Err(exit) => return exit,
    };
    let loaded = rule::load(&files, &schemas);
    let sources: Vec<Source> = files.into_iter().map(|file| file.source).collect();
    match args.format {
        Format::Json => print!("{}", json_lines(&loaded.problems, &sources)),
        Format::Human => {
            super::print_problems(&loaded.problems, &sources, Gravity::Warning);
            if args.verbose {
                loaded.rules.rules.iter().for_each(|rule| println!("{}", describe(rule)));
            }
            println!("{}", summary(&loaded.problems, &sources, loaded.rules.rules.len(), loaded.tests.len()));
        }
    }
    if count(&loaded.problems, Gravity::Error) > 0 { Exit::Findings } else { Exit::Ok }
}

fn count(problems: &[Diagnostic], gravity: Gravity) -> usize {
    problems.iter().filter(|problem| problem.gravity == gravity).count()
}

fn json_lines(problems: &[Diagnostic], sources: &[Source]) -> String {
    let text = |problem: &Diagnostic| {
        sources.iter().find(|source| source.path == problem.file).map_or("", |source| source.text.as_str())
    };
    problems.iter().map(|problem| format!("{}\n", problem.json(text(problem)))).collect()
}

/// The last line: what was found, or what is fine.
fn summary(problems: &[Diagnostic], sources: &[Source], rules: usize, tests: usize) -> String {
    let files = sources.iter().filter(|source| !rule::file::is_shared(&source.path)).count();
    let (errors, warnings) = (count(problems, Gravity::Error), count(problems, Gravity::Warning));
    let warned = match warnings {
        0 => String::new(),
        n => format!(", {}", number(n, "warning")),
    };
    if errors == 0 {
        return format!("{}, {}: no errors{warned}.", number(rules, "rule"), number(tests, "test"));
    }
    let mut bad: Vec<&str> = problems
        .iter()
        .filter(|problem| problem.gravity == Gravity::Error)
        .map(|problem| problem.file.as_str())
        .collect();
    bad.dedup();
    format!(
        "{}{warned}, in {} of {}. Nothing would be loaded.",
        number(errors, "error"),
        bad.len(),
        number(files, "file")
    )
}

/// One line on how a rule runs.
fn describe(rule: &Rule) -> String {
    let judged = match &rule.kind {
        Kind::Match(_) => "fires on each event".to_string(),
        Kind::Threshold(threshold) => {
            let window = match threshold.window {
                Window::Sliding(length) => format!("the last {}", span(length)),
                Window::Tumbling(length) => format!("each {} of the clock", span(length)),
            };
            match threshold.on_event {
                true => format!("fires on the event that completes it, over {window}"),
                false => format!("judged when it closes, over {window}"),
            }
        }
    };
    let place = match rule.placement {
        Placement::Partition => "in the partition",
        Placement::Exchange => "on the exchange: its key does not hold the stream's key",
    };
    let mode = match rule.mode {
        Mode::Live => "",
        Mode::Shadow => " · shadow: sends nothing",
    };
    let key = match rule.info.key.join(", ") {
        key if key.is_empty() => "the whole fleet".to_string(),
        key => format!("by {key}"),
    };
    format!("{} · {judged} · {key} · {place}{mode}", rule.info.id)
}

/// A duration in its largest whole unit.
fn span(micros: i64) -> String {
    let units =
        [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms")];
    match units.iter().find(|(unit, _)| micros % unit == 0) {
        Some((unit, name)) => format!("{}{name}", micros / unit),
        None => format!("{micros} µs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(gravity: Gravity, file: &str) -> Diagnostic {
        Diagnostic { gravity, file: file.into(), span: 2..3, message: "m".into(), hint: "h".into() }
    }

    fn source(path: &str) -> Source {
        Source { path: path.into(), text: "a\nb\n".into() }
    }

    #[test]
    fn the_summary_counts() {
        let sources = [source("r/a.toml"), source("r/b.toml"), source("r/_shared.toml")];
        let warning = problem(Gravity::Warning, "r/a.toml");
        assert_eq!(summary(&[], &sources, 2, 1), "2 rules, 1 test: no errors.");
        assert_eq!(
            summary(std::slice::from_ref(&warning), &sources, 2, 1),
            "2 rules, 1 test: no errors, 1 warning."
        );
        let problems = [problem(Gravity::Error, "r/a.toml"), problem(Gravity::Error, "r/a.toml"), warning];
        assert_eq!(
            summary(&problems, &sources, 1, 0),
            "2 errors, 1 warning, in 1 of 2 files. Nothing would be loaded."
        );
    }

    #[test]
    fn machines_read_one_object_a_line() {
        let lines = json_lines(&[problem(Gravity::Error, "r/a.toml")], &[source("r/a.toml")]);
        let read: serde_json::Value = serde_json::from_str(lines.trim_end()).unwrap();
        assert_eq!(read["file"], "r/a.toml");
        assert_eq!((read["line"].as_u64(), read["column"].as_u64()), (Some(2), Some(1)));
        assert_eq!((&read["message"], &read["hint"]), (&"m".into(), &"h".into()));
    }

    #[test]
    fn durations_for_people() {
        assert_eq!(
            [60_000_000, 5_400_000_000, 250_000, 86_400_000_000].map(span),
            ["1m", "90m", "250ms", "1d"]
        );
    }
}
