//! What goes wrong, and when: drawn from the seed before anything begins.

use fleetwarden::event::PartitionId;

use super::Plan;
use super::random::Random;
use super::world::{Event, Outside, SECOND, START};

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub enum Blow {
    /// A process is killed, and started again so much later.
    Kill(usize, i64),
    /// A process stands still for so long.
    Pause(usize, i64),
    /// A process is told to stop, and started again so much later.
    Stop(usize, i64),
    /// It starts.
    Start(usize),
    /// The group decides anew who owns what.
    Balance,
    /// Other rules lie on every disk.
    Publish(usize),
    /// The oldest records of a partition are deleted: so many in a hundred.
    Retain(PartitionId, i64),
    /// A topic is deleted and made anew.
    Recreate(PartitionId),
    /// The last records of a partition are lost.
    Cut(PartitionId, usize),
    /// The leader of a partition says nothing for so long.
    Stall(PartitionId, i64),
    /// So many attempts of the store fail.
    Fail(u32),
    /// The newest checkpoint of a partition cannot be read.
    Spoil(PartitionId),
}

/// Draws what happens, and schedules it.
pub fn schedule(plan: &Plan, outside: &mut Outside) {
    let mut random = Random::new(plan.seed ^ 0xb10f);
    let random = &mut random;
    let blows = match random.between(0, 10) {
        0 => 0,
        1..=4 => random.between(1, 5),
        _ => random.between(4, 16),
    };
    for _ in 0..blows {
        let partition = plan.partitions[random.index(plan.partitions.len())].clone();
        let process = random.index(plan.processes);
        let blow = match random.between(0, 40) {
            0..=7 => Blow::Kill(process, random.delay(2 * SECOND)),
            8..=13 => Blow::Pause(process, random.between(SECOND / 2, 14 * SECOND)),
            14..=16 => Blow::Stop(process, random.delay(SECOND)),
            17..=21 => Blow::Balance,
            22..=26 => Blow::Publish(random.index(4)),
            27..=28 => Blow::Stall(partition, random.between(SECOND, 10 * SECOND)),
            29..=31 => Blow::Fail(random.between(1, 4) as u32),
            32..=33 => Blow::Spoil(partition),
            34..=35 => Blow::Retain(partition, random.between(10, 100)),
            36 => Blow::Recreate(partition),
            37 if random.percent(50) => Blow::Cut(partition, random.index(12)),
            _ => Blow::Kill(process, random.between(1, SECOND)),
        };
        let at = START + random.between(SECOND, plan.lasts);
        outside.at(at, Event::Blow(blow));
    }
}
