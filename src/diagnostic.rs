//! A problem with a place: rendered for people (with the line and a caret) and as JSON.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Whether it stops anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Nothing is loaded.
    Error,
    /// Worth a look.
    Warning,
    /// For information: printed by `check`, never a failure.
    Note,
}

impl Gravity {
    /// The word that is printed.
    pub fn name(self) -> &'static str {
        match self {
            Gravity::Error => "error",
            Gravity::Warning => "warning",
            Gravity::Note => "note",
        }
    }
}

/// One problem in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error, warning or note.
    pub gravity: Gravity,
    /// The file, as it was named on the command line or found below it.
    pub file: String,
    /// Bytes in the file that are wrong.
    pub span: Range<usize>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it; empty = nothing to say.
    pub hint: String,
}

/// A file as it was read, to which diagnostics point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path, as shown.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Diagnostic {
    /// Line and column of the span's start, both from 1; the column counts characters.
    pub fn position(&self, text: &str) -> (usize, usize) {
        let start = floor_char(text, self.span.start);
        let before = &text[..start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        (line, column)
    }

    /// For people: message, place, the line, a caret, the hint.
    pub fn render(&self, text: &str, color: bool) -> String {
        let level = match self.gravity {
            Gravity::Error => Level::ERROR,
            Gravity::Warning => Level::WARNING,
            Gravity::Note => Level::NOTE,
        };
        let span = floor_char(text, self.span.start)..floor_char(text, self.span.end.max(self.span.start));
        let snippet = Snippet::source(text)
            .path(self.file.as_str())
            .fold(true)
            .annotation(AnnotationKind::Primary.span(span));
        let mut group = level.primary_title(self.message.as_str()).element(snippet);
        if !self.hint.is_empty() {
            group = group.element(Level::HELP.with_name("hint").message(self.hint.as_str()));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }

    /// For machines: `file, line, column, severity, message, hint`.
    pub fn json(&self, text: &str) -> serde_json::Value {
        let (line, column) = self.position(text);
        serde_json::json!({
            "severity": self.gravity.name(), "file": self.file, "line": line, "column": column,
            "message": self.message, "hint": self.hint,
        })
    }
}

/// The nearest character boundary at or below `at`.
fn floor_char(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// The candidate nearest to `name` by edit distance, if it is near enough to be what was meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(d, candidate)| *d <= 1 + name.len().min(candidate.len()) / 4)
        .min_by_key(|(d, candidate)| (*d, candidate.len(), *candidate))
        .map(|(_, candidate)| candidate)
}

/// `did you mean "response"?`, or `one of: a, b, c` where nothing is near.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, candidates.clone()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => {
            let all: Vec<&str> = candidates.into_iter().collect();
            format!("one of: {}", all.join(", "))
        }
    }
}

/// Edits (insert, delete, replace, swap of neighbours) between two names (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_what_was_meant() {
        assert_eq!(nearest("respons", ["service", "response", "vin"]), Some("response"));
        assert_eq!(nearest("wherе", ["having"]), None);
        assert_eq!(suggest("hvaing", ["having", "where"]), "did you mean \"having\"?");
        assert_eq!(suggest("zzz", ["a", "b"]), "one of: a, b");
    }

    #[test]
    fn a_problem_shows_its_line_and_a_caret() {
        let text = "a = 1\nwhere = \"respons = 1\"\n";
        let d = Diagnostic {
            gravity: Gravity::Error,
            file: "r.toml".into(),
            span: 15..22,
            message: "column \"respons\" does not exist".into(),
            hint: "did you mean \"response\"?".into(),
        };
        assert_eq!(d.position(text), (2, 10));
        let shown = d.render(text, false);
        assert!(shown.contains("r.toml:2:10"), "{shown}");
        assert!(shown.contains("^^^^^^^"), "{shown}");
        assert!(shown.contains("hint: did you mean"), "{shown}");
    }
}
