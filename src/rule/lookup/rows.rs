//! The source of a table: CSV with a head, or a JSON object a line.
//!
//! A cell is a text until the declaration says otherwise, so that a table does not change its types with its
//! rows. An empty cell of CSV is NULL, as is a member that is absent.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::declare::Declared;
use super::table::{Lookup, MOST_ROWS, Shape};
use crate::diagnostic::{Diagnostic, Gravity, Source, suggest};
use crate::event::{Timestamp, Type, Value};
use crate::rule::file::{Span, Text};

/// The most bytes of a source.
const MOST_BYTES: u64 = 256 << 20;

/// Problems of one source that are told.
const TOLD: usize = 20;

/// A head, rows of cells, and where each row starts in the text.
#[derive(Default)]
struct Cells {
    head: Vec<String>,
    rows: Vec<(Vec<Option<String>>, usize)>,
}

/// Something wrong in a source: where, what, what to do.
type Wrong = (usize, String, String);

/// Gives the text of a source by its path, or says why there is none.
pub type TextOf<'a> = &'a dyn Fn(&Path) -> Result<String, String>;

/// Reads the source of a table that `file` declares. The second is its text.
pub fn load(
    (name, text_of): (&str, TextOf<'_>),
    file: &str,
    declared: &Declared,
    problems: &mut Vec<Diagnostic>,
) -> (Option<Lookup>, Option<Source>) {
    let path = Path::new(file).parent().unwrap_or(Path::new("")).join(&declared.source.text);
    let say = |problems: &mut Vec<Diagnostic>, span: Span, message: String, hint: String| {
        problems.push(Diagnostic { gravity: Gravity::Error, file: file.into(), span, message, hint });
    };
    let text = match text_of(&path) {
        Ok(text) => text,
        Err(message) => {
            let hint = "the path goes from the folder of this file".to_string();
            say(problems, declared.source.span.clone(), message, hint);
            return (None, None);
        }
    };
    let shown = path.to_string_lossy().into_owned();
    let cells = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => csv_cells(&text),
        Some("ndjson" | "jsonl") => json_cells(&text),
        _ => {
            let message = format!("\"{}\" is neither .csv nor .ndjson", declared.source.text);
            say(problems, declared.source.span.clone(), message, "give it the ending of what it is".into());
            return (None, None);
        }
    };
    let made = cells.and_then(|cells| {
        let shape = shape(declared, &cells.head).map_err(|faults| {
            faults.into_iter().for_each(|(span, message, hint)| say(problems, span, message, hint));
            Vec::new()
        })?;
        table(name.to_string(), shape, &cells)
    });
    match made {
        Ok(lookup) => (Some(lookup), Some(Source { path: shown, text })),
        Err(wrong) => {
            let more = wrong.len().saturating_sub(TOLD);
            for (nth, (at, message, hint)) in wrong.into_iter().take(TOLD).enumerate() {
                let message = match nth + 1 == TOLD && more > 0 {
                    true => format!("{message}; and {more} more like this"),
                    false => message,
                };
                let (gravity, file) = (Gravity::Error, shown.clone());
                problems.push(Diagnostic { gravity, file, span: at..at, message, hint });
            }
            (None, Some(Source { path: shown, text }))
        }
    }
}

/// The text of a file that is not too large.
pub fn text_of(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
    if size > MOST_BYTES {
        return Err(format!("{} has {size} bytes, and the most is {MOST_BYTES}", path.display()));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

fn csv_cells(text: &str) -> Result<Cells, Vec<Wrong>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let wrong = |error: &csv::Error| {
        let at = error.position().map_or(0, csv::Position::byte);
        let message = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("this row has {len} cells, and the head has {expected_len}")
            }
            _ => format!("not CSV: {error}"),
        };
        let hint = "cells are separated by commas; one with a comma in it stands in double quotes";
        vec![(usize::try_from(at).unwrap_or(0), message, hint.to_string())]
    };
    let head = reader.headers().map_err(|error| wrong(&error))?.iter().map(str::to_owned).collect();
    let mut cells = Cells { head, rows: Vec::new() };
    let mut faults = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => {
                let at = record.position().map_or(0, |position| position.byte() as usize);
                let row = record.iter().map(|cell| (!cell.is_empty()).then(|| cell.to_owned()));
                cells.rows.push((row.collect(), at));
            }
            Err(error) => faults.extend(wrong(&error)),
        }
        if cells.rows.len() > MOST_ROWS {
            faults.push(too_many(cells.rows.last().map_or(0, |(_, at)| *at)));
            break;
        }
    }
    if faults.is_empty() { Ok(cells) } else { Err(faults) }
}

fn too_many(at: usize) -> Wrong {
    let hint = "a table stands in memory: keep what is not needed out of it";
    (at, format!("a table has at most {MOST_ROWS} rows"), hint.into())
}

fn json_cells(text: &str) -> Result<Cells, Vec<Wrong>> {
    let (mut cells, mut faults, mut at) = (Cells::default(), Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<std::collections::BTreeMap<String, Box<RawValue>>>(line) {
            Ok(members) => cells.add(members, start),
            Err(error) => {
                let shown = error.to_string();
                let message = format!("no JSON object: {}", shown.split(" at line").next().unwrap_or(""));
                faults.push((start, message, "a line is one object: {\"vin\":\"V1\"}".into()));
            }
        }
        if cells.rows.len() > MOST_ROWS {
            faults.push(too_many(start));
            break;
        }
    }
    cells.rows.iter_mut().for_each(|(row, _)| row.resize(cells.head.len(), None));
    if faults.is_empty() { Ok(cells) } else { Err(faults) }
}

impl Cells {
    fn add(&mut self, members: std::collections::BTreeMap<String, Box<RawValue>>, at: usize) {
        let mut row = vec![None; self.head.len()];
        for (name, raw) in members {
            let column = self.head.iter().position(|other| *other == name).unwrap_or_else(|| {
                self.head.push(name);
                row.push(None);
                self.head.len() - 1
            });
            row[column] = match serde_json::from_str::<Json>(raw.get()) {
                Ok(Json::Null) => None,
                Ok(Json::String(text)) => Some(text),
                _ => Some(raw.get().to_owned()),
            };
        }
        self.rows.push((row, at));
    }
}

/// Names found among the columns; each that is not is a problem of the declaration.
pub fn shape(declared: &Declared, head: &[String]) -> Result<Shape, Vec<(Span, String, String)>> {
    let mut faults = Vec::new();
    let mut find = |name: &str, span: &Span| {
        let found = head.iter().position(|column| column == name);
        if found.is_none() {
            let message = format!("there is no column \"{name}\" in \"{}\"", declared.source.text);
            faults.push((span.clone(), message, suggest(name, head.iter().map(String::as_str))));
        }
        found
    };
    let key: Vec<Option<usize>> = declared.key.iter().map(|text| find(&text.text, &text.span)).collect();
    let mut columns: Vec<(String, Type)> = head.iter().map(|name| (name.clone(), Type::Text)).collect();
    for (name, kind, span) in &declared.types {
        if let Some(column) = find(name, span).and_then(|at| columns.get_mut(at)) {
            column.1 = *kind;
        }
    }
    let mut bound = |text: &Text| {
        let column = find(&text.text, &text.span);
        if let Some(column) = column.and_then(|at| columns.get_mut(at)) {
            column.1 = Type::Time;
        }
        column
    };
    let valid = declared.valid.as_ref().map(|(from, to)| (bound(from), bound(to)));
    if !faults.is_empty() {
        return Err(faults);
    }
    let key = key.into_iter().flatten().collect();
    let valid = valid.and_then(|(from, to)| from.zip(to));
    Ok(Shape { columns, key, matching: declared.matching, valid })
}

fn table(name: String, shape: Shape, cells: &Cells) -> Result<Lookup, Vec<Wrong>> {
    let (mut rows, mut faults) = (Vec::with_capacity(cells.rows.len()), Vec::new());
    for (cells, at) in &cells.rows {
        let row: Vec<Value> = cells
            .iter()
            .zip(&shape.columns)
            .map(|(cell, (column, kind))| match cell.as_ref().map(|text| value(text, *kind).ok_or(text)) {
                None => Value::Null,
                Some(Ok(value)) => value,
                Some(Err(text)) => {
                    let message = format!("\"{text}\" in column \"{column}\" is not of type {}", kind.name());
                    faults.push((*at, message, "change the cell, or `types`".to_string()));
                    Value::Null
                }
            })
            .collect();
        rows.push(row.into_boxed_slice());
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let place = |row: usize| cells.rows.get(row).map_or(0, |(_, at)| *at);
    Lookup::new(name, shape, rows).map_err(|faults| {
        faults.into_iter().map(|fault| (place(fault.row), fault.message, fault.hint)).collect()
    })
}

/// A text as a value of a type.
pub fn value(text: &str, kind: Type) -> Option<Value> {
    match kind {
        Type::Int => text.parse().ok().map(Value::Int),
        Type::Float => text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::float),
        Type::Bool => text.parse().ok().map(Value::Bool),
        Type::Time => Timestamp::parse_rfc3339(text).map(Value::Time),
        _ => Some(Value::text(text)),
    }
}
