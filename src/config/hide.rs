//! The text of a configuration without its values: what may be shown beside a problem.
//!
//! Knows nothing of which values are secret: a mistyped key, or a quote that is missing, would make it guess
//! wrong. So no value is shown.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use toml::de::{DeTable, DeValue};

/// A header, or a key with its `=`, at the start of a line.
static SHOWN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let key = r#"(?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')"#;
    let path = format!(r"{key}(?:[ \t]*\.[ \t]*{key})*");
    Regex::new(&format!(r"^[ \t]*(?:\[{{1,2}}[ \t]*{path}[ \t]*\]{{1,2}}|{path}[ \t]*=)")).ok()
});

/// The text with everything blank but headers, and keys with their `=`. Every byte keeps its offset, and
/// every line its number.
pub(super) fn values(text: &str) -> String {
    let secret = spans(text);
    let hidden = |at: usize| {
        let before = secret.partition_point(|span| span.start <= at);
        secret.get(..before).and_then(|spans| spans.last()).is_some_and(|span| at < span.end)
    };
    let (mut blank, mut at, mut open) = (String::with_capacity(text.len()), 0, None);
    for line in text.split_inclusive('\n') {
        let shown = match (&*SHOWN, open) {
            (Some(shown), None) => shown.find(line).map_or(0, |found| found.end()),
            _ => 0,
        };
        for (offset, char) in line.char_indices() {
            match char {
                '\n' => blank.push('\n'),
                _ if offset < shown && !hidden(at + offset) => blank.push(char),
                _ => blanks(&mut blank, char.len_utf8()),
            }
        }
        open = after(line.get(shown..).unwrap_or(""), open);
        at += line.len();
    }
    blank
}

/// One blank of as many bytes as it replaces, so that columns stay as well; four bytes take two.
fn blanks(text: &mut String, bytes: usize) {
    match bytes {
        1 => text.push(' '),
        2 => text.push('\u{a0}'),
        3 => text.push('\u{2003}'),
        _ => text.push_str("\u{a0}\u{a0}"),
    }
}

/// Which text of several lines is open behind this line. Also right where the file cannot be parsed.
fn after(line: &str, mut open: Option<&'static str>) -> Option<&'static str> {
    let mut rest = line;
    loop {
        let next = ["\"\"\"", "'''"]
            .into_iter()
            .filter(|quotes| open.is_none_or(|open| open == *quotes))
            .filter_map(|quotes| rest.find(quotes).map(|at| (at, quotes)))
            .min();
        let Some((at, quotes)) = next else { return open };
        open = if open.is_some() { None } else { Some(quotes) };
        rest = rest.get(at + quotes.len()..).unwrap_or("");
    }
}

/// The places of all values that the parser finds, in order.
fn spans(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    collect(DeTable::parse_recoverable(text).0.get_ref(), &mut found);
    found.sort_by_key(|span| (span.start, span.end));
    found
}

fn collect(table: &DeTable<'_>, found: &mut Vec<Range<usize>>) {
    for item in table.values() {
        match item.get_ref() {
            DeValue::Table(below) => collect(below, found),
            // `[[…]]` makes an array too, and its tables' places are their headers.
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                items.iter().filter_map(|item| item.get_ref().as_table()).for_each(|t| collect(t, found));
            }
            _ => found.push(item.span()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_and_headers_stay_and_nothing_else() {
        let text = "# password = \"hunter2\"\n[a.\"b c\"] # hunter2\n\"sasl.password\" = \"hunter2\" # x\r\n\
                    x = { y = \"hunter2\" }\nlist = [\n  \"u=hunter2\",\n  hunter2\n]\npem = '''\n[hunter2]\n\
                    hunter2==\n'''\nz = 1\nhunter2\n";
        let kept = values(text);
        assert!(!kept.contains("hunter2"), "{kept}");
        let lines: Vec<&str> = kept.lines().map(str::trim_end).collect();
        let expected = [
            "",
            "[a.\"b c\"]",
            "\"sasl.password\" =",
            "x =",
            "list =",
            "",
            "",
            "",
            "pem =",
            "",
            "",
            "",
            "z =",
            "",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_cannot_be_parsed_is_blank_as_well() {
        for text in [
            "password=\"hunter2\n",
            "password=hunter2\n",
            "password \"hunter2\"\n",
            "password=\"\"\"\nhunter2=\n[hunter2]\n",
            "a = '''x\"\"\"\nhunter2=\n'''\nb = \"\"\"hunter2\n",
            "= hunter2\n[hunter2\n",
            // A text that holds what opens another: the parser knows better.
            "a = \"it'''s\"\nb = '''\nhunter2==\n'''\n",
        ] {
            let kept = values(text);
            assert!(!kept.contains("hunter2"), "{text}: {kept}");
        }
    }

    proptest! {
        #[test]
        fn offsets_and_lines_stay(text in "[a-c=\\[\\]\"' \né€😀\r]{0,60}") {
            let kept = values(&text);
            prop_assert_eq!(kept.len(), text.len());
            prop_assert_eq!(kept.matches('\n').count(), text.matches('\n').count());
        }
    }
}
