//! Text → `Config`, or every problem in it.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::shape::Shaping;
use super::{Config, credentials, paths, substitute};
use crate::diagnostic::{Diagnostic, Gravity, Source};
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
    credentials::look(source, folder, &filled, root.get_ref(), &mut problems);
    let config = Shaping { source, filled: &filled, problems: &mut problems }.config(root);
    problems.sort_by_key(|p| (p.span.start, p.span.end));
    match config {
        Some(mut config) if problems.is_empty() => {
            paths::start_at(folder, &mut config);
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
            // What is not filled in yet cannot be judged.
            if problems.iter().any(|known| known.span == item.span()) {
                continue;
            }
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
