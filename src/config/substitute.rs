//! `${env:NAME}` and `${file:PATH}` in text values: how secrets reach a configuration without standing in it.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a value could not be filled with, and where the value stands. Never holds what was filled in.
pub(super) struct Unfilled {
    /// The value's place.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Where values come from.
pub(super) struct Sources<'a> {
    /// Relative paths start here.
    pub folder: &'a Path,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// Fills in every text of the table. `filled` collects the places of values that are no longer what the file
/// says.
pub(super) fn table(
    table: &mut DeTable<'_>,
    path: &str,
    sources: &Sources<'_>,
    filled: &mut Vec<Range<usize>>,
    wrong: &mut Vec<Unfilled>,
) {
    for (key, item) in table.iter_mut() {
        let name = match path.is_empty() {
            true => key.get_ref().to_string(),
            false => format!("{path}.{}", key.get_ref()),
        };
        value(item, &name, sources, filled, wrong);
    }
}

fn value(
    item: &mut Spanned<DeValue<'_>>,
    path: &str,
    sources: &Sources<'_>,
    filled: &mut Vec<Range<usize>>,
    wrong: &mut Vec<Unfilled>,
) {
    let span = item.span();
    match item.get_mut() {
        DeValue::String(text) if text.contains("${") => match fill(text, sources) {
            Ok(whole) => {
                *text = Cow::Owned(whole);
                filled.push(span);
            }
            Err((message, hint)) => {
                wrong.push(Unfilled { span, message: format!("\"{path}\": {message}"), hint });
            }
        },
        DeValue::Array(items) => {
            items.iter_mut().for_each(|item| value(item, path, sources, filled, wrong));
        }
        DeValue::Table(inner) => table(inner, path, sources, filled, wrong),
        _ => {}
    }
}

/// The text with every `${…}` filled in; `$${` stands for `${`.
fn fill(text: &str, sources: &Sources<'_>) -> Result<String, (String, String)> {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, tail) = rest.split_at(at);
        if let Some(kept) = before.strip_suffix('$') {
            whole.push_str(kept);
            whole.push_str("${");
            rest = tail.get(2..).unwrap_or("");
            continue;
        }
        whole.push_str(before);
        let inside = tail.get(2..).unwrap_or("");
        let Some(end) = inside.find('}') else {
            return Err(("\"${\" without \"}\"".into(), "write $${ for a plain ${".into()));
        };
        let (reference, after) = inside.split_at(end);
        whole.push_str(&one(reference, sources)?);
        rest = after.get(1..).unwrap_or("");
    }
    whole.push_str(rest);
    Ok(whole)
}

fn one(reference: &str, sources: &Sources<'_>) -> Result<String, (String, String)> {
    match reference.split_once(':') {
        Some(("env", name)) => (sources.env)(name).ok_or_else(|| {
            (format!("environment variable \"{name}\" is not set"), "set it, or write the value here".into())
        }),
        Some(("file", path)) => match std::fs::read_to_string(sources.folder.join(path)) {
            // Editors and `kubectl create secret` end files with a line feed that no password has.
            Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_string()),
            Err(error) => Err((
                format!("cannot read file \"{path}\": {error}"),
                "a relative path starts at the configuration's folder".into(),
            )),
        },
        _ => Err((
            // Not quoted: what looks like a reference may be part of a password.
            "\"${…}\" names no source".into(),
            "${env:NAME} or ${file:PATH}; write $${ for a plain ${".into(),
        )),
    }
}
