//! The texts that a rule set is made of, from which it can be made again, elsewhere and later.

use std::path::Path;
use std::sync::Arc;

use super::{Loaded, RuleFile, load_with, lookup};
use crate::diagnostic::{Diagnostic, Source};
use crate::schema::{self, Schema};

/// All files, as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Rule files, shared lets among them.
    pub rules: Vec<Source>,
    /// What the fields of streams are.
    pub schemas: Vec<Source>,
    /// Declarations of tables, and what these are read from.
    pub lookups: Vec<Source>,
}

impl Content {
    /// Compiles them: the streams, the rules, and every problem of every file.
    pub fn compile(&self) -> (Vec<Arc<Schema>>, Loaded) {
        let (schemas, mut problems): (_, Vec<Diagnostic>) = schema::load(&self.schemas);
        let tables = lookup::read_from(self.declarations(), &|path| self.table(path));
        let files: Vec<RuleFile> = self.rules.iter().map(|file| RuleFile { source: file.clone() }).collect();
        let mut loaded = load_with(&files, &schemas, &tables.lookups);
        problems.extend(tables.problems);
        problems.append(&mut loaded.problems);
        loaded.problems = problems;
        (schemas, loaded)
    }

    fn declarations(&self) -> Vec<Source> {
        self.lookups.iter().filter(|file| file.path.ends_with(".toml")).cloned().collect()
    }

    fn table(&self, path: &Path) -> Result<String, String> {
        let found = self.lookups.iter().find(|file| Path::new(&file.path) == path);
        found.map(|file| file.text.clone()).ok_or_else(|| format!("{}: not kept", path.display()))
    }
}
