//! Rule sets while everything runs: a set that was read anew is kept in the store under its hash, then handed to
//! every worker, which has each of its partitions told. A set with problems is refused, and the old one runs on.

use std::fmt;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::keeper::Keeper;
use super::thread::wall;
use super::worker::Compiled;
use crate::checkpoint::{Store, rules};
use crate::event::Timestamp;
use crate::kafka::Error;
use crate::metrics::RuleRow;
use crate::rule::RuleSet;
use crate::rule::content::Content;
use crate::schema::Schema;

/// How often one looks whether files have changed.
pub const LOOK: Duration = Duration::from_secs(5);

/// A rule set that can run.
pub struct Fresh {
    /// What of the set runs here, and its streams.
    pub compiled: Compiled,
    /// Ids of rules that were left out.
    pub unplaced: Vec<String>,
    /// The texts of the whole set.
    pub content: Content,
}

/// Where rule sets come from.
pub trait Shelf: Send + Sync {
    /// Reads everything anew; else every problem, for people.
    fn read(&self) -> Result<Fresh, String>;
    /// Something that differs once any file does.
    fn look(&self) -> u64;
    /// What of a set that was kept earlier would run here.
    fn fit(&self, rules: RuleSet, schemas: &[Arc<Schema>]) -> RuleSet;
}

/// What is published.
#[derive(Clone, Debug)]
pub struct Current {
    /// The hash of the whole set.
    pub hash: u128,
    /// Its rules.
    pub rows: Vec<RuleRow>,
    /// Ids of rules that were left out.
    pub unplaced: Vec<String>,
    /// Since when.
    pub since: Timestamp,
    /// How many sets were refused since the start, and why the last one was, unless a later one was good.
    pub refused: u64,
    /// See there.
    pub trouble: Option<String>,
}

/// Publishes rule sets to the workers of a process.
pub struct Publisher {
    shelf: Option<Arc<dyn Shelf>>,
    store: Store,
    keeper: Arc<Keeper>,
    workers: Vec<Mutex<Sender<Compiled>>>,
    current: Mutex<Current>,
    looked: Mutex<u64>,
}

/// What came of reading rules anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// They are the same as before.
    Same(u128),
    /// They judge from now on.
    Published {
        /// The hash of the set.
        hash: u128,
        /// Its rules.
        rules: usize,
    },
    /// They have problems: what was before runs on.
    Refused(String),
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reloaded::Same(hash) => write!(f, "unchanged: {hash:032x}"),
            Reloaded::Published { hash, rules } => write!(f, "{rules} rules judge from now on: {hash:032x}"),
            Reloaded::Refused(why) => write!(f, "refused, the rules of before run on: {why}"),
        }
    }
}

impl Publisher {
    /// Keeps the first set in the store. `shelf`: none = rules never change.
    pub fn start(
        first: &Fresh,
        (shelf, store): (Option<Arc<dyn Shelf>>, Store),
        (keeper, workers): (Arc<Keeper>, Vec<Sender<Compiled>>),
        handle: &Handle,
    ) -> Result<Publisher, Error> {
        let rules = &first.compiled.rules;
        keeper.knows(&first.compiled);
        keep(&store, rules.hash, &first.content, handle)?;
        let current = Current {
            hash: rules.hash,
            rows: RuleRow::all(rules),
            unplaced: first.unplaced.clone(),
            since: wall(),
            refused: 0,
            trouble: None,
        };
        let looked = shelf.as_ref().map_or(0, |shelf| shelf.look());
        Ok(Publisher {
            shelf,
            store,
            keeper,
            workers: workers.into_iter().map(Mutex::new).collect(),
            current: Mutex::new(current),
            looked: Mutex::new(looked),
        })
    }

    /// What is published.
    pub fn current(&self) -> Current {
        lock(&self.current).clone()
    }

    /// Reads the rules anew if a file has changed. Blocks: not for threads that must not.
    pub fn reload_if_changed(&self, handle: &Handle) -> Option<Reloaded> {
        let looked = self.shelf.as_ref()?.look();
        let changed = std::mem::replace(&mut *lock(&self.looked), looked) != looked;
        changed.then(|| self.reload(handle))
    }

    /// Reads the rules anew. Blocks: not for threads that must not.
    pub fn reload(&self, handle: &Handle) -> Reloaded {
        let Some(shelf) = &self.shelf else { return Reloaded::Same(self.current().hash) };
        let fresh = match shelf.read() {
            Ok(fresh) => fresh,
            Err(why) => return self.refuse(why),
        };
        let hash = fresh.compiled.rules.hash;
        if hash == self.current().hash {
            lock(&self.current).trouble = None;
            return Reloaded::Same(hash);
        }
        // Before anybody is told of it: whoever takes over must be able to judge by it.
        if let Err(error) = keep(&self.store, hash, &fresh.content, handle) {
            return self.refuse(error.to_string());
        }
        let rules = fresh.compiled.rules.clone();
        self.keeper.knows(&fresh.compiled);
        for worker in &self.workers {
            // One that has ended needs none.
            drop(lock(worker).send(fresh.compiled.clone()));
        }
        let refused = self.current().refused;
        *lock(&self.current) = Current {
            hash,
            rows: RuleRow::all(&rules),
            unplaced: fresh.unplaced,
            since: wall(),
            refused,
            trouble: None,
        };
        Reloaded::Published { hash, rules: rules.rules.len() }
    }

    fn refuse(&self, why: String) -> Reloaded {
        let mut current = lock(&self.current);
        current.refused += 1;
        current.trouble = Some(why.clone());
        Reloaded::Refused(why)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(store: &Store, hash: u128, content: &Content, handle: &Handle) -> Result<(), Error> {
    let kept = handle.block_on(store.put_rules(hash, rules::encode(hash, content)));
    kept.map_err(|error| Error::new(error.to_string()))
}
