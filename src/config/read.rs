//! Text → `Config`, or every problem in it.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::{Config, substitute};
use crate::diagnostic::{Diagnostic, Gravity, Source, suggest};
use crate::kafka;

pub(super) fn problem(
    source: &Source,
    span: Range<usize>,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Diagnostic {
    Diagnostic {
        gravity: Gravity::Error,
        file: source.path.clone(),
        span,
        message: message.into(),
        hint: hint.into(),
    }
}

pub(super) fn read(
    source: &Source,
    folder: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let (mut root, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        problems.push(problem(source, error.span().unwrap_or(0..0), error.message(), ""));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let (mut filled, mut wrong) = (Vec::new(), Vec::new());
    let sources = substitute::Sources { folder, env };
    substitute::table(root.get_mut(), "", &sources, &mut filled, &mut wrong);
    for one in wrong {
        problems.push(problem(source, one.span, one.message, one.hint));
    }
    client_settings(source, root.get_ref(), &mut problems);
    let config = shape(source, root, &filled, &mut problems);
    problems.sort_by_key(|p| (p.span.start, p.span.end));
    match config {
        Some(mut config) if problems.is_empty() => {
            config.rules = folder.join(&config.rules);
            config.schemas = config.schemas.map(|schemas| folder.join(schemas));
            Ok(config)
        }
        _ => Err(problems),
    }
}

/// Asks librdkafka about every setting that is handed to it.
fn client_settings(source: &Source, root: &DeTable<'_>, problems: &mut Vec<Diagnostic>) {
    let Some(kafka) = root.get("kafka").and_then(|item| item.get_ref().as_table()) else { return };
    for table in ["settings", "consumer", "producer"] {
        let Some(table) = kafka.get(table).and_then(|item| item.get_ref().as_table()) else { continue };
        for (key, item) in table {
            let value = match item.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.as_str().to_string(),
                DeValue::Boolean(flag) => flag.to_string(),
                // The shape is wrong: told with the other shapes.
                _ => continue,
            };
            if let Err(error) = kafka::settings::check(key.get_ref(), &value) {
                problems.push(problem(source, key.span(), error.message, error.hint));
            }
        }
    }
}

/// Gives the table its shape. What does not fit is told and taken out, so that what else does not fit is told
/// too.
fn shape(
    source: &Source,
    mut root: Spanned<DeTable<'_>>,
    filled: &[Range<usize>],
    problems: &mut Vec<Diagnostic>,
) -> Option<Config> {
    let mut removed: Vec<String> = Vec::new();
    loop {
        let error = match Config::deserialize(Deserializer::from(root.clone())) {
            Ok(config) => return Some(config).filter(|_| problems.is_empty()),
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let (message, hint) = reword(error.message(), filled.iter().any(|f| overlap(f, &span)));
        let consequence = removed.iter().any(|key| message == missing(key));
        if !consequence {
            problems.push(problem(source, span.clone(), message, hint));
        }
        // Each round takes something out: it ends.
        removed.push(take_out(root.get_mut(), &span)?);
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

fn missing(key: &str) -> String {
    format!("\"{key}\" is missing")
}

/// Takes the smallest entry out that the error is about; its key. None if the error is about the whole.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let about = |key: &Range<usize>, item: &Range<usize>| {
        let holds = |outer: &Range<usize>| outer.start <= span.start && span.end <= outer.end;
        !span.is_empty() && (holds(key) || holds(item))
    };
    let found = table.iter().find_map(|(key, item)| {
        // A table's own span is its header: what stands below it is looked at first.
        let inner = item.get_ref().as_table().is_some_and(|t| mentions(t, span));
        (inner || about(&key.span(), &item.span())).then(|| (key.get_ref().to_string(), inner))
    })?;
    let (key, inner) = found;
    if inner
        && let Some(item) = table.get_mut(key.as_str())
        && let DeValue::Table(below) = item.get_mut()
        && let Some(deeper) = take_out(below, span)
    {
        return Some(deeper);
    }
    table.remove(key.as_str());
    Some(key)
}

/// Whether anything in the table stands where the error is.
fn mentions(table: &DeTable<'_>, span: &Range<usize>) -> bool {
    table.iter().any(|(key, item)| {
        overlap(&key.span(), span)
            || overlap(&item.span(), span)
            || item.get_ref().as_table().is_some_and(|below| mentions(below, span))
    })
}

/// The library's words in ours: message and hint. A value that was filled in may be a secret, and is not
/// shown.
fn reword(message: &str, secret: bool) -> (String, String) {
    let quoted = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_string).collect::<Vec<_>>()
    };
    let names = quoted(message);
    for (start, what) in [("unknown field", "key"), ("unknown variant", "value")] {
        if message.starts_with(start)
            && let Some((name, known)) = names.split_first()
        {
            let shown = if secret { "…" } else { name };
            let hint = match known.is_empty() {
                true => String::new(),
                false => suggest(name, known.iter().map(String::as_str)),
            };
            return (format!("unknown {what} \"{shown}\""), hint);
        }
    }
    if message.starts_with("missing field")
        && let Some(name) = names.first()
    {
        return (missing(name), "it has no default".into());
    }
    let (text, expected) = message.rsplit_once(", expected ").unwrap_or((message, ""));
    let hint = if expected.is_empty() { String::new() } else { format!("expected {expected}") };
    let text = if secret { "the value that was filled in does not fit" } else { text };
    (text.replace('`', "\""), hint)
}
