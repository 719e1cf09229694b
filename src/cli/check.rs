//! `fleetwarden check`: every mistake of every rule file, and how the good rules run.

pub(super) mod describe;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::{Exit, number};
use crate::diagnostic::{Diagnostic, Gravity, Source};
use crate::rule::{self, Kind, Loaded, Rule};
use crate::schema::Schema;

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

/// Prints all problems; 1 if one of them is an error. All goes to stdout: a report is whole.
pub fn run(args: &CheckArgs) -> Exit {
    let schemas = match super::schemas(args.schemas.as_deref()) {
        Ok(schemas) => schemas,
        Err(exit) => return exit,
    };
    let files = match super::rule_files(&args.paths) {
        Ok(files) => files,
        Err(exit) => return exit,
    };
    let tables = match super::lookups(&args.paths) {
        Ok(tables) => tables,
        Err(exit) => return exit,
    };
    let mut loaded = rule::load_with(&files, &schemas, &tables.lookups);
    loaded.problems.extend(tables.problems);
    let sources: Vec<Source> = files.into_iter().map(|file| file.source).chain(tables.sources).collect();
    match args.format {
        Format::Json => print!("{}", json_lines(&loaded.problems, &sources)),
        Format::Human => {
            if args.verbose {
                print!("{}", described(&loaded.rules.rules, &schemas));
            }
            print!("{}", report(&loaded.problems, &sources, super::color(&std::io::stdout())));
            println!("{}", summary(&loaded, &sources, args.verbose));
        }
    }
    if count(&loaded.problems, Gravity::Error) > 0 { Exit::Findings } else { Exit::Ok }
}

/// How each rule runs, with what may surprise.
fn described(rules: &[Arc<Rule>], schemas: &[Arc<Schema>]) -> String {
    let mut out = String::new();
    for rule in rules {
        out.push_str(&format!("{}\n", describe::describe(rule)));
        let schema = schemas.iter().find(|schema| schema.name == rule.stream);
        for note in schema.map(|schema| describe::notes(rule, schema)).unwrap_or_default() {
            out.push_str(&format!("    note: {note}\n"));
        }
    }
    out
}

/// All problems for people: what rules lack in a line each, other warnings, errors last, where they are seen.
fn report(problems: &[Diagnostic], sources: &[Source], color: bool) -> String {
    let (gaps, others): (Vec<&Diagnostic>, Vec<&Diagnostic>) =
        problems.iter().partition(|problem| is_gap(problem));
    let mut out: String =
        gaps.iter().map(|gap| format!("{}: {}: {}\n", gap.gravity.name(), gap.file, gap.message)).collect();
    if let Some(gap) = gaps.first() {
        out.push_str(&format!("  hint: {}\n\n", gap.hint));
    }
    let (errors, warnings): (Vec<&Diagnostic>, Vec<&Diagnostic>) =
        others.into_iter().partition(|problem| problem.gravity == Gravity::Error);
    for problem in warnings.into_iter().chain(errors) {
        out.push_str(&format!("{}\n\n", problem.render(text_of(problem, sources), color)));
    }
    out
}

/// Whether it says what a good rule has and this one lacks.
fn is_gap(problem: &Diagnostic) -> bool {
    problem.gravity == Gravity::Warning && problem.message.starts_with(rule::check::LACKS)
}

fn text_of<'s>(problem: &Diagnostic, sources: &'s [Source]) -> &'s str {
    sources.iter().find(|source| source.path == problem.file).map_or("", |source| source.text.as_str())
}

fn count(problems: &[Diagnostic], gravity: Gravity) -> usize {
    problems.iter().filter(|problem| problem.gravity == gravity).count()
}

fn json_lines(problems: &[Diagnostic], sources: &[Source]) -> String {
    problems.iter().map(|problem| format!("{}\n", problem.json(text_of(problem, sources)))).collect()
}

/// The last line: what was found, or what is fine.
fn summary(loaded: &Loaded, sources: &[Source], verbose: bool) -> String {
    let problems = &loaded.problems;
    let files = sources.iter().filter(|source| !rule::file::is_shared(&source.path)).count();
    let (errors, warnings) = (count(problems, Gravity::Error), count(problems, Gravity::Warning));
    let warned = match warnings {
        0 => String::new(),
        n => format!(", {}", number(n, "warning")),
    };
    if errors == 0 {
        let (rules, tests) = (&loaded.rules.rules, loaded.tests.len());
        let counts = format!("{}, {}", number(rules.len(), "rule"), number(tests, "test"));
        return format!("{counts}: no errors{warned}.{}", judged(rules, verbose));
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

/// When thresholds are judged, and where more is said.
fn judged(rules: &[Arc<Rule>], verbose: bool) -> String {
    let on_event = |rule: &Arc<Rule>| match &rule.kind {
        Kind::Threshold(threshold) => Some(threshold.on_event),
        Kind::Match(_) | Kind::Baseline(_) => None,
    };
    let judged: Vec<bool> = rules.iter().filter_map(on_event).collect();
    let on_events = judged.iter().filter(|on_event| **on_event).count();
    let more = if verbose { "" } else { "; --verbose says how each rule runs" };
    match judged.len() {
        0 if verbose => String::new(),
        0 => " --verbose says how each rule runs.".to_owned(),
        n => format!(
            " Of {}, {on_events} judged on events, {} when a window closes{more}.",
            number(n, "threshold"),
            n - on_events
        ),
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

    /// A rule that lacks all that rules should have.
    fn bare(path: &str, table: &str) -> rule::RuleFile {
        let text = format!("title = \"T\"\nseverity = \"low\"\nstream = \"telemetry\"\n{table}");
        rule::RuleFile { source: Source { path: path.into(), text } }
    }

    fn threshold(having: &str) -> String {
        format!("[threshold]\nkey = [\"vin\"]\nwindow = \"60s\"\nhaving = \"{having}\"\n")
    }

    #[test]
    fn the_summary_counts() {
        let sources = [source("r/a.toml"), source("r/b.toml"), source("r/_shared.toml")];
        let said = |files: &[rule::RuleFile], verbose| {
            summary(&rule::load(files, &crate::schema::built_in()), &sources, verbose)
        };
        let one = bare("r/a.toml", "[match]\nwhere = \"speed > 5\"\n");
        assert_eq!(
            said(std::slice::from_ref(&one), false),
            "1 rule, 0 tests: no errors, 1 warning. --verbose says how each rule runs."
        );
        assert_eq!(said(std::slice::from_ref(&one), true), "1 rule, 0 tests: no errors, 1 warning.");
        let files = [
            one.clone(),
            bare("r/b.toml", &threshold("count(*) >= 2")),
            bare("r/c.toml", &threshold("avg(speed) > 2")),
            bare("r/d.toml", &threshold("max(speed) > 2")),
        ];
        assert_eq!(
            said(&files, false),
            "4 rules, 0 tests: no errors, 4 warnings. Of 3 thresholds, 2 judged on events, 1 when a window \
             closes; --verbose says how each rule runs."
        );
        let bad = bare("r/b.toml", "[match]\nwhere = \"sped > 5 AND gaer = 1\"\n");
        assert_eq!(
            said(&[one, bad], false),
            "2 errors, 1 warning, in 1 of 2 files. Nothing would be loaded."
        );
    }

    #[test]
    fn one_error_is_not_drowned_by_what_rules_lack() {
        let mut files: Vec<rule::RuleFile> = (0..9)
            .map(|n| bare(&format!("r/{n}.toml"), "[match]\nwhere = \"speed > 5 AND model <> 'x'\"\n"))
            .collect();
        files.insert(0, bare("r/+.toml", "[match]\nwhere = \"sped > 5\"\n"));
        let loaded = rule::load(&files, &crate::schema::built_in());
        let sources: Vec<Source> = files.into_iter().map(|file| file.source).collect();
        let report = report(&loaded.problems, &sources, false);
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(lines[0], "warning: r/0.toml: the rule lacks [[test]], blind_spots, triage");
        assert!(lines[9].starts_with("  hint: a test that fires"), "{report}");
        let error = lines.iter().position(|line| line.starts_with("error")).unwrap();
        assert!(!lines[error..].iter().any(|line| line.starts_with("warning")), "{report}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("warning: `model <> 'x'`")).count(), 9);
    }

    #[test]
    fn machines_read_one_object_a_line() {
        let lines = json_lines(&[problem(Gravity::Error, "r/a.toml")], &[source("r/a.toml")]);
        let read: serde_json::Value = serde_json::from_str(lines.trim_end()).unwrap();
        assert_eq!(read["file"], "r/a.toml");
        assert_eq!((read["line"].as_u64(), read["column"].as_u64()), (Some(2), Some(1)));
        assert_eq!((&read["message"], &read["hint"]), (&"m".into(), &"h".into()));
    }
}
