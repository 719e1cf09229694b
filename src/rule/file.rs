//! A rule file as it was typed, with the place of everything.
//!
//! Reads files and turns TOML into a tree that knows where each key and value stands. It does not know which
//! keys mean what: that is `check`.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::RuleFile;
use crate::diagnostic::{Diagnostic, Gravity, Source};

/// The name of the file whose `[let]` serves all rules of its directory.
pub const SHARED: &str = "_shared.toml";

/// Bytes of a file.
pub type Span = Range<usize>;

/// A text in a file: what it says, and where it says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// The file, as shown.
    pub file: Arc<str>,
    /// What it says, escapes resolved.
    pub text: String,
    /// The value with its quotes.
    pub span: Span,
    /// Where the text starts, if it stands in the file exactly as it is (no escapes).
    pub start: Option<usize>,
}

impl Text {
    /// The place in the file of a part of the text; the whole value where escapes hide it.
    pub fn place(&self, part: Span) -> Span {
        match self.start {
            Some(start) => start + part.start..start + part.end,
            None => self.span.clone(),
        }
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub value: ItemValue,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemValue {
    /// A string.
    Text(Text),
    /// An integer of 64 bits.
    Int(i64),
    /// An integer that does not fit 64 bits, as typed.
    BigInt(String),
    /// A float.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A date or time, as typed.
    Date(String),
    /// An array.
    List(Vec<Item>),
    /// A table.
    Table(Table),
}

impl ItemValue {
    /// The word for its type.
    pub fn name(&self) -> &'static str {
        match self {
            ItemValue::Text(_) => "a string",
            ItemValue::Int(_) | ItemValue::BigInt(_) => "an integer",
            ItemValue::Float(_) => "a float",
            ItemValue::Bool(_) => "a boolean",
            ItemValue::Date(_) => "a date",
            ItemValue::List(_) => "an array",
            ItemValue::Table(_) => "a table",
        }
    }
}

/// Keys and values in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Its entries.
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub item: Item,
}

impl Table {
    /// The entry of that key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// The id of a rule file: its name without `.toml`.
pub fn rule_id(path: &str) -> String {
    let name = Path::new(path).file_name().map_or(path.into(), |name| name.to_string_lossy());
    name.strip_suffix(".toml").unwrap_or(&name).to_string()
}

/// The directory of a file, as shown: whom a shared file serves.
pub fn folder(path: &str) -> &str {
    path.rfind(['/', '\\']).map_or("", |end| &path[..end])
}

/// Whether a file holds shared names only.
pub fn is_shared(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|name| name == SHARED)
}

/// Reads files, and all `*.toml` below directories, sorted by path. A directory without a rule is an error,
/// as is a path that does not exist.
pub fn read(paths: &[PathBuf]) -> io::Result<Vec<RuleFile>> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        if fs::metadata(path).map_err(|error| named(path, &error))?.is_dir() {
            collect(path, &mut found)?;
            if found[before..].iter().all(|path| is_shared(&path.to_string_lossy())) {
                let message = format!("{}: no rule (*.toml) in this directory", path.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, message));
            }
        } else {
            found.push(path.clone());
            found.extend(shared_beside(path));
        }
    }
    found.sort();
    found.dedup();
    found.iter().map(|path| read_one(path)).collect()
}

/// The shared file that serves a rule file named alone.
fn shared_beside(path: &Path) -> Option<PathBuf> {
    let shared = path.parent()?.join(SHARED);
    (shared != path && shared.is_file()).then_some(shared)
}

fn read_one(path: &Path) -> io::Result<RuleFile> {
    let text = fs::read_to_string(path).map_err(|error| named(path, &error))?;
    Ok(RuleFile { source: Source { path: path.to_string_lossy().into_owned(), text } })
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| named(folder, &error))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if fs::metadata(&path).map_err(|error| named(&path, &error))?.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    Ok(())
}

/// Parses a file; every syntax error is a problem, and a file that has one yields no table.
pub fn parse(source: &Source, problems: &mut Vec<Diagnostic>) -> Option<Table> {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        problems.push(Diagnostic {
            gravity: Gravity::Error,
            file: source.path.clone(),
            span,
            message: format!("not TOML: {}", error.message()),
            hint: syntax_hint(error.message()).into(),
        });
    }
    let reader = Reader { file: Arc::from(source.path.as_str()), text: &source.text };
    errors.is_empty().then(|| reader.table(document.get_ref()))
}

fn syntax_hint(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "a key may stand once in a table; a second `[[escalate]]` or `[[test]]` takes double brackets"
    } else if message.contains("quote") || message.contains("string") {
        "a text stands in double quotes, a text of several lines in ''' … '''"
    } else {
        "see https://toml.io for how tables, strings and arrays are written"
    }
}

/// Turns the parser's tree into ours.
struct Reader<'a> {
    file: Arc<str>,
    text: &'a str,
}

impl Reader<'_> {
    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<Entry> = table.iter().map(|(key, value)| self.entry(key, value)).collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Table { entries }
    }

    fn entry(&self, key: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) -> Entry {
        Entry { key: key.get_ref().to_string(), key_span: key.span(), item: self.item(value) }
    }

    fn item(&self, value: &Spanned<DeValue<'_>>) -> Item {
        let span = value.span();
        let value = match value.get_ref() {
            DeValue::String(text) => ItemValue::Text(self.string(text, span.clone())),
            DeValue::Integer(int) => match i64::from_str_radix(int.as_str(), int.radix()) {
                Ok(int) => ItemValue::Int(int),
                Err(_) => ItemValue::BigInt(int.to_string()),
            },
            DeValue::Float(float) => ItemValue::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(bool) => ItemValue::Bool(*bool),
            DeValue::Datetime(date) => ItemValue::Date(date.to_string()),
            DeValue::Array(items) => ItemValue::List(items.iter().map(|item| self.item(item)).collect()),
            DeValue::Table(table) => ItemValue::Table(self.table(table)),
        };
        Item { span, value }
    }

    /// A string, and where its text starts if the raw slice holds it verbatim.
    fn string(&self, text: &str, span: Span) -> Text {
        let raw = self.text.get(span.clone()).unwrap_or("");
        let quotes = if raw.starts_with("\"\"\"") || raw.starts_with("'''") { 3 } else { 1 };
        let mut start = quotes;
        if quotes == 3 {
            let rest = raw.get(quotes..).unwrap_or("");
            start += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
        }
        let verbatim = raw.get(start..raw.len().saturating_sub(quotes)) == Some(text);
        Text {
            file: self.file.clone(),
            text: text.to_string(),
            start: verbatim.then_some(span.start + start),
            span,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Table {
        let mut problems = Vec::new();
        let table = parse(&Source { path: "t.toml".into(), text: text.into() }, &mut problems);
        assert_eq!(problems, []);
        table.unwrap()
    }

    /// What stands in the file at the place of a part of a key's text.
    fn at(text: &str, key: &str, part: Span) -> String {
        match &parse_text(text).get(key).unwrap().item.value {
            ItemValue::Text(found) => text[found.place(part)].to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_part_of_a_text_has_its_place_in_the_file() {
        assert_eq!(at("a = 1\nk = \"ab cd\"", "k", 3..5), "cd");
        assert_eq!(at("k = 'ab cd'", "k", 3..5), "cd");
        assert_eq!(at("k = '''\nab\ncd\n'''", "k", 3..5), "cd");
        assert_eq!(at("k = \"\"\"ab cd\"\"\"", "k", 3..5), "cd");
        assert_eq!(at("k = \"ä\\tcd\"", "k", 3..5), "\"ä\\tcd\"");
        assert_eq!(at("k = \"\"", "k", 0..0), "");
    }

    #[test]
    fn keys_keep_the_order_of_the_file() {
        let table = parse_text("z = 1\na = 2\n[t]\ny = 1\nb = 2\n");
        let keys: Vec<&str> = table.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["z", "a", "t"]);
        let huge = parse_text("n = 99999999999999999999\nh = 0x10\n");
        assert!(matches!(huge.entries[0].item.value, ItemValue::BigInt(_)));
        assert_eq!(huge.entries[1].item.value, ItemValue::Int(16));
    }

    #[test]
    fn every_syntax_error_is_told() {
        let mut problems = Vec::new();
        let text = "a = 1\na = 2\nb = \n[c\n";
        assert!(parse(&Source { path: "t".into(), text: text.into() }, &mut problems).is_none());
        assert!(problems.len() >= 2, "{problems:#?}");
    }

    #[test]
    fn ids_and_folders() {
        assert_eq!((rule_id("rules/a/b.toml"), folder("rules/a/b.toml")), ("b".into(), "rules/a"));
        assert_eq!((rule_id("b.toml"), folder("b.toml")), ("b".into(), ""));
        assert!(is_shared("a/_shared.toml") && !is_shared("a/shared.toml"));
    }

    #[test]
    fn files_and_folders_are_read_in_order() {
        let files = read(&["testdata/bad".into(), "testdata/bad/sql-syntax.toml".into()]).unwrap();
        let paths: Vec<&str> = files.iter().map(|file| file.source.path.as_str()).collect();
        assert!(paths.is_sorted() && paths.len() > 25);
        assert!(paths.contains(&"testdata/bad/again/column-unknown.toml"));
        let one = read(&["testdata/bad/shared/let-hides-shared.toml".into()]).unwrap();
        assert_eq!(one.len(), 2, "a file named alone brings the names it shares");
        assert!(read(&["testdata/none".into()]).is_err());
        assert!(read(&["src/rule/check".into()]).unwrap_err().to_string().contains("no rule"));
    }
}
