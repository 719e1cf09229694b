//! Finds every problem of every rule file, and compiles what has none.
//!
//! One pass a file: `keys` (which keys there are), `header` (what alerts say), `names` (lets), then the
//! kind's table. Expressions are read by `expr::parse`; nothing here looks at SQL. A rule with an error is
//! left out, the others are compiled all the same, so that one run shows everything.

mod baseline;
mod build;
mod expected;
mod fingerprint;
mod header;
mod keys;
mod law;
mod matching;
mod members;
mod names;
mod observed;
mod test_cases;
mod test_lookups;
#[cfg(test)]
mod tests;
mod threshold;
mod tuning;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use header::LACKS;
pub use keys::Reader;

use super::expr::parse::{Let, check_syntax};
use super::file::{self, Table};
use super::lookup::Lookups;
use super::{Loaded, Rule, RuleFile, RuleSet, RuleTest};
use crate::diagnostic::{Diagnostic, Gravity};
use crate::schema::Schema;

/// See [`super::load`].
pub fn load(files: &[RuleFile], schemas: &[Arc<Schema>], lookups: &Lookups) -> Loaded {
    let mut problems = Vec::new();
    let mut shared: BTreeMap<&str, Vec<Let>> = BTreeMap::new();
    let mut tables: Vec<(&RuleFile, Table)> = Vec::new();
    for each in files {
        let Some(table) = file::parse(&each.source, &mut problems) else { continue };
        if file::is_shared(&each.source.path) {
            let lets = names::read_shared(&each.source.path, &table, &mut problems);
            shared.insert(file::folder(&each.source.path), lets);
        } else {
            tables.push((each, table));
        }
    }
    let mut rules: BTreeMap<String, (Rule, Vec<RuleTest>, String)> = BTreeMap::new();
    let mut ids: BTreeMap<String, &str> = BTreeMap::new();
    for (each, table) in &tables {
        let path = each.source.path.as_str();
        let id = file::rule_id(path);
        let lets = shared.get(file::folder(path)).map_or(&[][..], Vec::as_slice);
        let known = build::Known { shared: lets, schemas, lookups };
        let compiled = build::compile(&id, path, table, known, &mut problems);
        match (ids.get(&id), compiled) {
            (Some(first), _) => problems.push(double_id(path, &id, first)),
            (None, Some((rule, tests))) => {
                rules.insert(id.clone(), (rule, tests, path.to_string()));
            }
            (None, None) => {}
        }
        ids.entry(id).or_insert(path);
    }
    finish(rules, schemas, problems)
}

fn double_id(path: &str, id: &str, first: &str) -> Diagnostic {
    Diagnostic {
        gravity: Gravity::Error,
        file: path.into(),
        span: 0..0,
        message: format!("rule id \"{id}\" is taken by {first}"),
        hint: "a rule's id is its file's name: give one of the two another name".into(),
    }
}

/// Puts the rules that compiled together, in the order of their ids.
fn finish(
    rules: BTreeMap<String, (Rule, Vec<RuleTest>, String)>,
    schemas: &[Arc<Schema>],
    mut problems: Vec<Diagnostic>,
) -> Loaded {
    let (mut compiled, mut tests, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    for (rule, mut of_rule, path) in rules.into_values() {
        compiled.push(rule);
        tests.append(&mut of_rule);
        paths.push(path);
    }
    let hash = fingerprint::of_set(&compiled, schemas);
    let rules: Vec<Arc<Rule>> = compiled.into_iter().map(Arc::new).collect();
    let (scans, faults) = super::scans(&rules, schemas);
    problems.extend(faults.into_iter().map(|message| Diagnostic {
        gravity: Gravity::Error,
        file: paths.first().cloned().unwrap_or_default(),
        span: 0..0,
        message: format!("rules do not compile: {message}"),
        hint: "this is a fault of the program: the rules passed every check".into(),
    }));
    problems.sort_by(|a, b| (&a.file, a.span.start, &a.message).cmp(&(&b.file, b.span.start, &b.message)));
    problems.dedup();
    Loaded { rules: RuleSet { hash, rules, scans }, tests, problems }
}

/// The syntax errors of lets that nobody may use.
fn syntax_of(lets: &[Let], problems: &mut Vec<Diagnostic>) {
    for each in lets {
        if let super::expr::parse::LetValue::Sql(text) = &each.value {
            problems.extend(check_syntax(text));
        }
    }
}
