//! The folders from which `run` reads its rules, at the start and again while it runs.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Refusal, Rules};
use crate::kafka::TopicInfo;
use crate::rule::{Placement, RuleSet};
use crate::runtime::publish::{Fresh, Shelf};
use crate::runtime::run::without;
use crate::runtime::worker::Compiled;
use crate::schema::Schema;

/// Rules, schemas and tables in folders, for the topics that are read.
pub struct Folders {
    rules: PathBuf,
    schemas: Option<PathBuf>,
    /// Per stream that is read: how many partitions its topic has.
    read: BTreeMap<Arc<str>, usize>,
}

impl Folders {
    /// Of these folders; the topics that are read stay those of the start.
    pub fn new(rules: &Path, schemas: Option<&Path>, found: &[TopicInfo]) -> Folders {
        let read = found.iter().map(|topic| (topic.stream.clone(), topic.partitions)).collect();
        Folders { rules: rules.to_path_buf(), schemas: schemas.map(Path::to_path_buf), read }
    }

    /// What of a set runs here, and the ids of rules that would need several partitions together.
    pub fn fresh(&self, loaded: Rules) -> Fresh {
        let Rules { rules, schemas, content, .. } = loaded;
        let misplaced = rules.rules.iter().filter(|rule| {
            rule.placement == Placement::Exchange && self.read.get(&rule.stream).is_some_and(|n| *n > 1)
        });
        let unplaced: Vec<String> = misplaced.map(|rule| rule.info.id.clone()).collect();
        let compiled = Compiled { rules: Arc::new(self.fit(rules, &schemas)), schemas: schemas.into() };
        Fresh { compiled, unplaced, content }
    }
}

impl Shelf for Folders {
    fn read(&self) -> Result<Fresh, String> {
        if !self.rules.exists() {
            return Err(format!("{} is not there", self.rules.display()));
        }
        let loaded = super::read_rules(std::slice::from_ref(&self.rules), self.schemas.as_deref());
        let loaded = loaded.map_err(|refusal: Refusal| refusal.text(false))?;
        let unread = loaded.rules.rules.iter().filter(|rule| !self.read.contains_key(&rule.stream));
        for rule in unread {
            let (id, stream) = (&rule.info.id, &rule.stream);
            tracing::warn!(
                "rule {id} does not run: stream {stream} is not read since the start; restart for it"
            );
        }
        Ok(self.fresh(loaded))
    }

    fn look(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut folders = vec![self.rules.clone()];
        folders.extend(self.schemas.clone());
        folders.extend(crate::rule::lookup::folder_of(std::slice::from_ref(&self.rules)));
        let mut files: Vec<PathBuf> = Vec::new();
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                // Followed: what a container platform mounts is links that are swapped.
                match std::fs::metadata(entry.path()) {
                    Ok(there) if there.is_dir() => folders.push(entry.path()),
                    Ok(_) => files.push(entry.path()),
                    Err(_) => {}
                }
            }
        }
        files.sort();
        for file in files {
            file.hash(&mut hasher);
            std::fs::read(&file).unwrap_or_default().hash(&mut hasher);
        }
        hasher.finish()
    }

    fn fit(&self, rules: RuleSet, schemas: &[Arc<Schema>]) -> RuleSet {
        let runs = |rule: &crate::rule::Rule| match self.read.get(&rule.stream) {
            Some(partitions) => *partitions <= 1 || rule.placement == Placement::Partition,
            None => false,
        };
        let gone: Vec<String> =
            rules.rules.iter().filter(|rule| !runs(rule)).map(|rule| rule.info.id.clone()).collect();
        if gone.is_empty() { rules } else { without(&rules, &gone, schemas) }
    }
}
