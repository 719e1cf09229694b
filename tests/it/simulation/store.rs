//! The store of checkpoints: it fails, says that it failed when it did not, and forgets.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetwarden::checkpoint;
use fleetwarden::event::{Checkpoint, PartitionId};

use super::random::Random;

/// Objects by name.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<Arc<str>, Checkpoint>,
    /// How many attempts fail from now on.
    pub failing: u32,
    /// Names are counted, as a process counts them.
    written: u64,
}

/// Checkpoints of a partition that are kept.
const KEPT: usize = 3;

impl Store {
    /// Writes one. None: it failed, or the answer was lost.
    pub fn put(&mut self, cut: &Checkpoint, random: &mut Random) -> Option<Arc<str>> {
        checkpoint::invariants::check(cut)
            .unwrap_or_else(|refused| panic!("a checkpoint that is none: {refused}"));
        self.written += 1;
        let name: Arc<str> = checkpoint::store::name(cut, self.written).into();
        let fails = self.failing > 0;
        self.failing = self.failing.saturating_sub(1);
        if fails && random.percent(50) {
            return None;
        }
        // Its bytes are looked at now and then: they are the same for all.
        let kept = match random.percent(6) {
            true => through_bytes(cut),
            false => cut.clone(),
        };
        self.objects.insert(name.clone(), kept);
        (!fails).then_some(name)
    }

    /// The one of that name, or the newest older one; and whether it is that one. None: it cannot be read now.
    pub fn get(&mut self, partition: &PartitionId, name: &Arc<str>) -> Option<(Checkpoint, bool)> {
        if self.failing > 0 {
            self.failing -= 1;
            return None;
        }
        if let Some(found) = self.objects.get(name) {
            return Some((found.clone(), true));
        }
        let older = self.of(partition).into_iter().rev().find(|older| older < name)?;
        self.objects.get(&older).map(|found| (found.clone(), false))
    }

    fn of(&self, partition: &PartitionId) -> Vec<Arc<str>> {
        let is = |(name, cut): (&Arc<str>, &Checkpoint)| (cut.partition == *partition).then(|| name.clone());
        self.objects.iter().filter_map(is).collect()
    }

    /// What is older than the one in use goes, but for the newest.
    pub fn prune(&mut self, partition: &PartitionId, in_use: &Arc<str>) {
        let older: Vec<Arc<str>> = self.of(partition).into_iter().filter(|name| name < in_use).collect();
        for gone in older.iter().rev().skip(KEPT - 1) {
            self.objects.remove(gone);
        }
    }

    /// What owners before `epoch` did not publish goes.
    pub fn discard(&mut self, partition: &PartitionId, published: Option<&Arc<str>>, epoch: i64) {
        self.objects.retain(|name, cut| {
            let published = published.is_some_and(|published| name <= published);
            cut.partition != *partition || cut.epoch >= epoch || published
        });
    }

    /// The object in use is lost, if there is an older one.
    pub fn spoil(&mut self, partition: &PartitionId, in_use: &Arc<str>) {
        if self.of(partition).iter().any(|older| older < in_use) {
            self.objects.remove(in_use);
        }
    }
}

fn through_bytes(cut: &Checkpoint) -> Checkpoint {
    let bytes = checkpoint::encode(cut).unwrap_or_else(|refused| panic!("{refused}"));
    match checkpoint::decode(&bytes.into()) {
        Ok(saved) => saved.checkpoint,
        Err(refused) => panic!("{refused}"),
    }
}
