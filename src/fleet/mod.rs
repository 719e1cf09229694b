//! A fleet that does not exist, with everything around it, and attacks on it whose truth is known.
//!
//! Cars drive, park, charge, lose their connection and report late; owners, dealers, call centres, partners
//! and services go about their day; and an attack library, one file a family, disturbs them. Everything is
//! drawn from one seed: same plan, same bytes, on every machine.
//!
//! It knows the streams and nothing about rules; it reads no clock and does no IO: records are handed out in
//! the order in which a broker would have taken them.
//!
//! What it deliberately is not: a traffic model (roads are straight lines with bends), a battery model (power
//! is speed, mass and heating), or a radio model (cars are online or not).

mod agenda;
mod attack;
mod backend;
mod clock;
mod cloud;
mod habit;
mod json;
mod link;
mod model;
mod ota;
mod partner;
mod people;
mod place;
mod random;
pub mod score;
mod sentinel;
mod session;
mod station;
mod stream;
mod tamper;
mod trip;
mod truth;
mod vehicle;
mod wire;
mod workshop;
mod world;

pub use self::attack::classes;
pub use self::json::push_int;
pub use self::stream::Stream;
pub use self::truth::{Attack, Target};
pub use self::wire::Sent;

use self::world::World;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many cars.
    pub vehicles: usize,
    /// When it begins, in milliseconds since 1970.
    pub start_ms: i64,
    /// How long it goes on.
    pub length_ms: i64,
    /// How much of that goes by in peace, before anybody attacks.
    pub warm_up_ms: i64,
    /// Everything random comes from here.
    pub seed: u64,
    /// Who attacks.
    pub attacks: Attacks,
}

/// Which attacks are played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attacks {
    /// None.
    None,
    /// Every variant of every class, a few times.
    All,
    /// These: `CLASS` or `CLASS/VARIANT`.
    These(Vec<String>),
    /// These, each once, so many milliseconds after the beginning.
    Scheduled(Vec<(String, i64)>),
}

/// A running simulation.
pub struct Simulation {
    world: World,
    end: i64,
    attacks: Vec<Attack>,
}

/// Records that are under way when it ends are waited for so long.
const LINGER: i64 = 60_000;

impl Simulation {
    /// The world at its beginning. The error names an attack that does not exist.
    pub fn new(plan: &Plan) -> Result<Simulation, String> {
        let mut world = World::new(plan);
        let attacks = attack::place(&mut world, plan)?;
        Ok(Simulation { world, end: plan.start_ms + plan.length_ms, attacks })
    }

    /// The attacks that are played, by their start.
    pub fn attacks(&self) -> &[Attack] {
        &self.attacks
    }

    /// The next record, in the order (time, stream, partition) of the broker.
    pub fn next_record(&mut self) -> Option<Sent<'_>> {
        loop {
            let turn = self.world.agenda.next_time().filter(|at| *at < self.end);
            let until = turn.unwrap_or(self.end + LINGER);
            if self.world.wire.is_ready(until) {
                return self.world.wire.take();
            }
            turn?;
            let (now, turn) = self.world.agenda.pop()?;
            self.world.act(now, turn);
        }
    }
}

#[cfg(test)]
mod tests;
