//! Lookup tables: what is known beside the events. Work orders, campaigns, rosters, lists of addresses.
//!
//! A file `lookups/NAME.toml` declares a table:
//!
//! ```toml
//! source = "work_orders.csv"            # beside this file: .csv with a head, or .ndjson
//! key    = ["vin"]                      # columns by which rows are found
//! match  = "exact"                      # or "cidr": the key is a network, the longest that holds the address wins
//! valid  = ["from", "to"]               # columns: a row counts while from <= event time < to
//! types  = { max_charge_a = "float" }   # string (if not named here), int, float, bool, timestamp (RFC 3339)
//! ```
//!
//! It is read when rules are loaded and does not change while they run. `read` finds files, `declare` reads a
//! declaration, `rows` its source; `table` finds rows.

mod declare;
mod of_rule;
pub mod question;
pub mod rows;
pub mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::question::Question;
pub use self::table::{Lookup, Matching};
use super::file;
use crate::diagnostic::{Diagnostic, Source};

/// The tables that rules may ask, by name.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    /// The tables without errors.
    pub tables: BTreeMap<String, Arc<Lookup>>,
    /// The names of those with errors, which have been told.
    pub broken: BTreeSet<String>,
}

/// What a folder of tables holds.
#[derive(Debug, Default)]
pub struct Read {
    /// The tables without errors.
    pub lookups: Lookups,
    /// The declarations, and the texts of their sources.
    pub sources: Vec<Source>,
    /// Every problem of every file.
    pub problems: Vec<Diagnostic>,
}

/// The nearest folder `lookups` upwards from rule files or folders.
pub fn folder_of(rules: &[PathBuf]) -> Option<PathBuf> {
    let upwards = rules.iter().flat_map(|path| path.ancestors().skip(1));
    let mut folders = upwards.chain([Path::new("")]).map(|folder| folder.join("lookups"));
    folders.find(|folder| folder.is_dir())
}

/// Reads all `*.toml` of a folder, and their sources. An error is a folder that cannot be read.
pub fn read(folder: &Path) -> io::Result<Read> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut declarations = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        declarations.push(Source { path: path.to_string_lossy().into_owned(), text });
    }
    Ok(read_from(declarations, &rows::text_of))
}

/// The tables that these files declare; `text` gives the text of a source.
pub fn read_from(declarations: Vec<Source>, text: rows::TextOf<'_>) -> Read {
    let mut read = Read::default();
    declarations.into_iter().for_each(|source| read.one(source, text));
    read
}

impl Read {
    fn one(&mut self, source: Source, text: rows::TextOf<'_>) {
        let name = file::rule_id(&source.path);
        if let Some(table) = file::parse(&source, &mut self.problems)
            && let Some(declared) = declare::read(&source.path, &table, &mut self.problems)
        {
            let (lookup, text) = rows::load((&name, text), &source.path, &declared, &mut self.problems);
            if let Some(lookup) = lookup {
                self.lookups.tables.insert(name.clone(), Arc::new(lookup));
            }
            self.sources.extend(text);
        }
        if !self.lookups.tables.contains_key(&name) {
            self.lookups.broken.insert(name);
        }
        self.sources.push(source);
    }
}

#[cfg(test)]
mod tests;
