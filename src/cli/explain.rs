//! `fleetwarden explain`: how a rule runs; and over recorded events, why it fired for one key, or did not.

mod describe;
mod sql;
mod trace;
mod verdict;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::replay::FramingArg;
use super::{Exit, Rules, fail};
use crate::event::Timestamp;
use crate::files::Line;
use crate::rule::{Rule, RuleSet};
use crate::schema::Schema;

/// Say how a rule runs, and why it fired for a key or did not.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fleetwarden explain uds-seed-key-bruteforce --keys 200000
  fleetwarden explain uds-seed-key-bruteforce --key XFWE29GX5SL110841,BCM diagnostics=day.ndjson.zst")]
pub struct ExplainArgs {
    /// The rule's id: the name of its file
    pub rule: String,
    /// STREAM=FILE, or a folder of STREAM.ndjson[.gz|.zst]: events to explain a key by
    #[arg(value_name = "INPUT", requires = "key")]
    pub inputs: Vec<String>,
    /// The key, part by part with commas (or a JSON list): what happened to it, event by event
    #[arg(long, requires = "inputs")]
    pub key: Option<String>,
    /// For how many keys the memory is estimated
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub keys: u64,
    /// Show every event of the key, however many there are
    #[arg(long)]
    pub all: bool,
    /// Rule files, or folders of them
    #[arg(long, default_value = "rules")]
    pub rules: Vec<PathBuf>,
    /// Folder of stream schemas [default: ./schemas, else the built-in ones]
    #[arg(long)]
    pub schemas: Option<PathBuf>,
    /// What is a record: each line, or each file (a CloudTrail file)
    #[arg(long, value_enum, default_value_t = FramingArg::Lines)]
    pub framing: FramingArg,
}

/// Runs it; 2 if there is no such rule or input.
pub fn run(args: &ExplainArgs) -> Exit {
    let loaded = match super::load_rules(&args.rules, args.schemas.as_deref()) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match explain(args, &loaded) {
        Ok(text) => super::print(text),
        Err(message) => fail(&message),
    }
}

fn explain(args: &ExplainArgs, loaded: &Rules) -> Result<String, String> {
    let (rule, schema) = find(args, loaded)?;
    let others: Vec<&Arc<Rule>> =
        loaded.rules.rules.iter().filter(|other| other.info.id != rule.info.id).collect();
    let mut out = describe::describe(rule, schema, &others, args.keys);
    if let Some(key) = &args.key {
        let key = parts(key, rule)?;
        let traced = trace::trace(args, loaded, rule, schema, &key)?;
        out.push_str(&verdict::shown(&traced, rule, schema, &key, args.all));
    }
    Ok(out)
}

/// Why a rule says nothing about a key over lines at hand; of the first key there is, if none is named.
pub fn why(
    rules: &RuleSet,
    schemas: &[Arc<Schema>],
    rule: &Arc<Rule>,
    key: Option<Vec<String>>,
    lines: &[Line],
    until: Timestamp,
) -> Option<String> {
    let schema = schemas.iter().find(|schema| schema.name == rule.stream)?;
    let key = match key {
        Some(key) => key,
        None if rule.key.is_empty() => Vec::new(),
        None => trace::over(rules, schemas, rule, &[], lines, until)?.first?,
    };
    let traced = trace::over(rules, schemas, rule, &key, lines, until)?;
    Some(verdict::sentence(&traced, rule, schema, &key))
}

fn find<'l>(args: &ExplainArgs, loaded: &'l Rules) -> Result<(&'l Arc<Rule>, &'l Arc<Schema>), String> {
    let id = args.rule.rsplit('/').next().unwrap_or(&args.rule).trim_end_matches(".toml");
    let rules = &loaded.rules.rules;
    let Some(rule) = rules.iter().find(|rule| rule.info.id == id) else {
        let ids: Vec<&str> = rules.iter().map(|rule| rule.info.id.as_str()).collect();
        let hint = crate::diagnostic::suggest(id, ids.iter().copied());
        return Err(format!("there is no rule \"{id}\"\n  hint: {hint}"));
    };
    let schema = loaded.schemas.iter().find(|schema| schema.name == rule.stream);
    schema
        .map(|schema| (rule, schema))
        .ok_or_else(|| format!("there is no schema of stream \"{}\"", rule.stream))
}

/// The parts of a key, as they were written.
fn parts(text: &str, rule: &Rule) -> Result<Vec<String>, String> {
    let listed = serde_json::from_str::<Vec<serde_json::Value>>(text).ok();
    let parts: Vec<String> = match listed {
        Some(values) => values
            .into_iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect(),
        None if rule.key.len() == 1 => vec![text.to_owned()],
        None => text.split(',').map(|part| part.trim().to_owned()).collect(),
    };
    if rule.key.is_empty() {
        return Ok(Vec::new());
    }
    if parts.len() != rule.key.len() {
        return Err(format!(
            "the key of {} has {}: {}; --key gives {}",
            rule.info.id,
            super::number(rule.key.len(), "part"),
            rule.info.key.join(", "),
            super::number(parts.len(), "part")
        ));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
