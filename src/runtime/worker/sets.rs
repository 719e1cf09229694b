//! The rule sets that some partition is judged by, each with the decoders that read what it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::decode::JsonDecoder;
use crate::event::Limits;
use crate::rule::RuleSet;
use crate::schema::Schema;

/// All sets in use, by hash; mostly there is one.
pub(super) struct Sets {
    schemas: Vec<Arc<Schema>>,
    limits: Limits,
    all: BTreeMap<u128, Set>,
    wanted: u128,
    current: Arc<RuleSet>,
}

/// One set.
pub(super) struct Set {
    pub rules: Arc<RuleSet>,
    pub streams: BTreeMap<Arc<str>, Stream>,
}

/// A stream as a set reads it.
pub(super) struct Stream {
    pub decoder: JsonDecoder,
}

impl Sets {
    pub fn new(rules: Arc<RuleSet>, schemas: &[Arc<Schema>], limits: &Limits) -> Sets {
        let wanted = rules.hash;
        let mut sets =
            Sets { schemas: schemas.to_vec(), limits: limits.clone(), all: BTreeMap::new(), wanted, current: rules.clone() };
        sets.add(rules);
        sets
    }

    /// Makes a set known.
    pub fn add(&mut self, rules: Arc<RuleSet>) {
        if self.all.contains_key(&rules.hash) {
            return;
        }
        let streams = self.schemas.iter().map(|schema| {
            let projection = match rules.scans.get(&schema.name) {
                Some(scan) => scan.projection(),
                None => vec![false; schema.fields.len()],
            };
            let decoder = JsonDecoder::new(schema.clone(), projection, &self.limits);
            (schema.name.clone(), Stream { decoder })
        });
        let streams = streams.collect();
        self.all.insert(rules.hash, Set { rules, streams });
    }

    /// From now on, this one is to judge.
    pub fn want(&mut self, rules: Arc<RuleSet>) {
        self.wanted = rules.hash;
        self.current = rules.clone();
        self.add(rules);
    }

    /// The hash of the set that is to judge.
    pub fn wanted_hash(&self) -> u128 {
        self.wanted
    }

    /// The set that is to judge.
    pub fn wanted(&self) -> Arc<RuleSet> {
        self.current.clone()
    }

    /// A stream's schema.
    pub fn schema(&self, stream: &str) -> Option<&Schema> {
        self.schemas.iter().find(|schema| *schema.name == *stream).map(|schema| &**schema)
    }

    /// The rules of a set, if it is known.
    pub fn rules(&self, hash: u128) -> Option<Arc<RuleSet>> {
        self.all.get(&hash).map(|set| set.rules.clone())
    }

    pub fn get_mut(&mut self, hash: u128) -> Option<&mut Set> {
        self.all.get_mut(&hash)
    }

    /// Forgets all that are neither wanted nor in use.
    pub fn retain(&mut self, used: &BTreeSet<u128>) {
        let wanted = self.wanted;
        self.all.retain(|hash, _| *hash == wanted || used.contains(hash));
    }
}
