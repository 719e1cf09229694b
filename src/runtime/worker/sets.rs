//! The rule sets that some partition is judged by, each with the decoders that read what it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::decode::JsonDecoder;
use crate::event::Limits;
use crate::rule::RuleSet;
use crate::schema::Schema;

/// A rule set with the streams that it was compiled for.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// What the fields of streams are to them.
    pub schemas: Arc<[Arc<Schema>]>,
}

/// All sets in use, by hash; mostly there is one.
pub(super) struct Sets {
    limits: Limits,
    all: BTreeMap<u128, Set>,
    wanted: Arc<RuleSet>,
}

/// One set.
pub(super) struct Set {
    pub compiled: Compiled,
    /// A decoder a stream.
    pub streams: BTreeMap<Arc<str>, JsonDecoder>,
}

impl Sets {
    pub fn new(compiled: Compiled, limits: &Limits) -> Sets {
        let wanted = compiled.rules.clone();
        let mut sets = Sets { limits: limits.clone(), all: BTreeMap::new(), wanted };
        sets.add(compiled);
        sets
    }

    /// Makes a set known.
    pub fn add(&mut self, compiled: Compiled) {
        let hash = compiled.rules.hash;
        if self.all.contains_key(&hash) {
            return;
        }
        let streams = compiled.schemas.iter().map(|schema| {
            let projection = match compiled.rules.scans.get(&schema.name) {
                Some(scan) => scan.projection(),
                None => vec![false; schema.fields.len()],
            };
            (schema.name.clone(), JsonDecoder::new(schema.clone(), projection, &self.limits))
        });
        let streams = streams.collect();
        self.all.insert(hash, Set { compiled, streams });
    }

    /// From now on, this one is to judge.
    pub fn want(&mut self, compiled: Compiled) {
        self.wanted = compiled.rules.clone();
        self.add(compiled);
    }

    /// The hash of the set that is to judge.
    pub fn wanted_hash(&self) -> u128 {
        self.wanted.hash
    }

    /// The set that is to judge.
    pub fn wanted(&self) -> Arc<RuleSet> {
        self.wanted.clone()
    }

    /// A stream as a set knows it.
    pub fn schema(&self, hash: u128, stream: &str) -> Option<&Schema> {
        let schemas = &self.all.get(&hash)?.compiled.schemas;
        schemas.iter().find(|schema| *schema.name == *stream).map(|schema| &**schema)
    }

    /// The rules of a set, if it is known.
    pub fn rules(&self, hash: u128) -> Option<Arc<RuleSet>> {
        self.all.get(&hash).map(|set| set.compiled.rules.clone())
    }

    pub fn get_mut(&mut self, hash: u128) -> Option<&mut Set> {
        self.all.get_mut(&hash)
    }

    /// Forgets all that are neither wanted nor in use.
    pub fn retain(&mut self, used: &BTreeSet<u128>) {
        let wanted = self.wanted.hash;
        self.all.retain(|hash, _| *hash == wanted || used.contains(hash));
    }
}
