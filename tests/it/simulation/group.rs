//! The consumer group, cooperative or eager: members that are put out when they are silent, commits that are
//! refused from whoever is no member and from nobody else.

use std::collections::{BTreeMap, BTreeSet};

use fleetwarden::event::{PartitionId, Root};

use super::journal::Writer;
use super::random::Random;
use super::world::SECOND;

/// A member that is silent for longer is put out.
pub const SESSION: i64 = 6 * SECOND;

/// What a member is told of its partitions.
#[derive(Clone, Debug)]
pub enum Note {
    Assigned(Vec<PartitionId>),
    Revoked(Vec<PartitionId>),
}

#[derive(Debug)]
struct Member {
    writer: Writer,
    seen: i64,
    /// Eager: which balance it has given everything up for.
    balance: u64,
}

/// What the coordinator knows.
#[derive(Debug, Default)]
pub struct Group {
    pub eager: bool,
    members: BTreeMap<u64, Member>,
    owners: BTreeMap<PartitionId, u64>,
    targets: BTreeMap<PartitionId, u64>,
    balances: u64,
    last_id: u64,
    pub committed: BTreeMap<PartitionId, (i64, Option<Root>)>,
}

/// What a member's client library knows.
#[derive(Debug, Default)]
pub struct Client {
    pub id: Option<u64>,
    pub owned: BTreeSet<PartitionId>,
}

impl Group {
    pub fn new(partitions: impl Iterator<Item = PartitionId>, eager: bool) -> Group {
        Group { eager, targets: partitions.map(|id| (id, 0)).collect(), ..Group::default() }
    }

    /// Whether a commit stamped with this id is taken.
    pub fn knows(&self, id: Option<u64>) -> bool {
        id.is_some_and(|id| self.members.contains_key(&id))
    }

    /// The member whose turn it is by the coordinator's word.
    pub fn owner(&self, partition: &PartitionId) -> Option<Writer> {
        self.members.get(self.owners.get(partition)?).map(|member| member.writer)
    }

    /// Whether the next poll takes something from a member.
    pub fn asks_back(&self, client: &Client) -> bool {
        let Some(id) = client.id else { return false };
        let anew = self.members.get(&id).is_none_or(|member| self.eager && member.balance != self.balances);
        anew || client.owned.iter().any(|partition| self.targets.get(partition) != Some(&id))
    }

    /// Heartbeats arrive, and who has sent none for long is put out.
    pub fn beat(&mut self, now: i64, is_alive: impl Fn(Writer) -> bool, random: &mut Random) {
        for member in self.members.values_mut().filter(|member| is_alive(member.writer)) {
            member.seen = now;
        }
        let silent = |(id, member): (&u64, &Member)| (now - member.seen > SESSION).then_some(*id);
        let out: Vec<u64> = self.members.iter().filter_map(silent).collect();
        out.iter().for_each(|id| self.leave(*id, random));
    }

    pub fn leave(&mut self, id: u64, random: &mut Random) {
        if self.members.remove(&id).is_some() {
            self.owners.retain(|_, owner| *owner != id);
            self.balance(20, random);
        }
    }

    /// Decides anew who is to own what; so many in a hundred move without need.
    pub fn balance(&mut self, moves: i64, random: &mut Random) {
        self.balances += 1;
        let all: Vec<u64> = self.members.keys().copied().collect();
        for target in self.targets.values_mut().filter(|_| !all.is_empty()) {
            if !all.contains(target) || random.percent(moves) {
                *target = all[random.index(all.len())];
            }
        }
    }

    /// A member polls: it is told what has changed, and what it is told to give up is free from now on.
    pub fn poll(&mut self, client: &mut Client, writer: Writer, now: i64, random: &mut Random) -> Vec<Note> {
        let Some(id) = client.id else {
            self.last_id += 1;
            client.id = Some(self.last_id);
            self.members.insert(self.last_id, Member { writer, seen: now, balance: 0 });
            self.balance(20, random);
            return Vec::new();
        };
        let Some(member) = self.members.get_mut(&id) else {
            client.id = None;
            let gone = std::mem::take(&mut client.owned);
            return vec![Note::Revoked(gone.into_iter().collect())];
        };
        let anew = self.eager && member.balance != self.balances;
        member.balance = self.balances;
        let ours = |partition: &PartitionId| self.targets.get(partition) == Some(&id);
        let gone: Vec<PartitionId> = client.owned.iter().filter(|p| anew || !ours(p)).cloned().collect();
        for partition in &gone {
            client.owned.remove(partition);
            self.owners.remove(partition);
        }
        if !gone.is_empty() {
            return vec![Note::Revoked(gone)];
        }
        let free = |(partition, target): (&PartitionId, &u64)| {
            (*target == id && !self.owners.contains_key(partition)).then(|| partition.clone())
        };
        let new: Vec<PartitionId> = self.targets.iter().filter_map(free).collect();
        for partition in &new {
            client.owned.insert(partition.clone());
            self.owners.insert(partition.clone(), id);
        }
        // Cooperative groups often tell of nothing.
        if new.is_empty() && !random.percent(2) { Vec::new() } else { vec![Note::Assigned(new)] }
    }
}
