//! Everyone there is, and the turn of each.

use super::Plan;
use super::agenda::{Agenda, Turn};
use super::attack::Step;
use super::backend::Backend;
use super::clock::{HOUR, MINUTE};
use super::cloud::{Engineer, Service};
use super::ota::Campaign;
use super::partner::{Partner, Stranger};
use super::people::{Agent, Owner};
use super::random::Random;
use super::station::Station;
use super::vehicle::Vehicle;
use super::wire::Wire;
use super::workshop::Technician;

/// The fleet, the people around it, the back end, and what is under way between them.
pub(super) struct World {
    pub agenda: Agenda,
    pub wire: Wire,
    pub backend: Backend,
    pub vehicles: Vec<Vehicle>,
    /// Each owns the car with the same index.
    pub owners: Vec<Owner>,
    /// The dice of each car's intrusion detection.
    pub sentinels: Vec<Random>,
    pub technicians: Vec<Technician>,
    pub agents: Vec<Agent>,
    pub stations: Vec<Station>,
    pub partners: Vec<Partner>,
    pub strangers: Vec<Stranger>,
    pub services: Vec<Service>,
    pub engineers: Vec<Engineer>,
    pub campaigns: Vec<Campaign>,
    /// Steps of attacks, until they are taken.
    pub steps: Vec<Option<Step>>,
}

fn many<T>(count: usize, make: impl Fn(usize) -> T) -> Vec<T> {
    (0..count).map(make).collect()
}

impl World {
    /// A world at the moment it begins.
    pub fn new(plan: &Plan) -> World {
        let (seed, now, fleet) = (plan.seed, plan.start_ms, plan.vehicles);
        let vehicles = many(fleet, |index| Vehicle::new(seed, index, now));
        let owners =
            vehicles.iter().enumerate().map(|(index, car)| Owner::new(seed, index, car.city, now)).collect();
        let days = (plan.length_ms / (24 * HOUR) + 1).unsigned_abs() as usize;
        let mut world = World {
            agenda: Agenda::default(),
            wire: Wire::default(),
            backend: Backend::new(seed),
            owners,
            sentinels: many(fleet, |index| Random::new(seed, "sentinel", index as u64)),
            technicians: many(3 * (fleet / 120 + 2), |index| Technician::new(seed, index)),
            agents: many(fleet / 300 + 3, |index| Agent::new(seed, index)),
            stations: many(fleet / 25 + 12, |index| Station::new(seed, index, now)),
            partners: many(fleet / 250 + 2, |index| Partner::new(seed, index, fleet)),
            strangers: many(3, |index| Stranger::new(seed, index)),
            services: many(Service::COUNT, |index| Service::new(seed, index)),
            engineers: many(9, |index| Engineer::new(seed, index)),
            campaigns: many(2 * days, |index| Campaign::new(seed, index, fleet)),
            vehicles,
            steps: Vec::new(),
        };
        world.first_turns(seed, now);
        world
    }

    fn first_turns(&mut self, seed: u64, now: i64) {
        let mut random = Random::new(seed, "first turns", 0);
        let agenda = &mut self.agenda;
        for (index, car) in self.vehicles.iter().enumerate() {
            agenda.note(car.wake, Turn::Vehicle(index));
        }
        for (index, dice) in self.sentinels.iter_mut().enumerate() {
            agenda.note(super::sentinel::first(dice, now), Turn::Sentinel(index));
        }
        for (index, owner) in self.owners.iter_mut().enumerate() {
            let hours = self.vehicles[index].city.hours;
            let at = super::people::next_by_day(now, 6 * HOUR, (6.0, 23.5), hours, &mut owner.random);
            agenda.note(at, Turn::Owner(index));
        }
        for (index, station) in self.stations.iter().enumerate() {
            agenda.note(station.wake(), Turn::Station(index));
        }
        for (index, _) in self.campaigns.iter().enumerate() {
            let at = now + index as i64 * 11 * HOUR + random.between(3 * MINUTE, HOUR);
            agenda.note(at, Turn::Campaign(index));
        }
        let mut soon = |count: usize, within: i64, turn: fn(usize) -> Turn| {
            (0..count).for_each(|index| agenda.note(now + random.between(0, within), turn(index)));
        };
        soon(self.technicians.len(), HOUR, Turn::Technician);
        soon(self.agents.len(), 10 * MINUTE, Turn::Agent);
        soon(self.partners.len(), 10 * MINUTE, Turn::Partner);
        soon(self.strangers.len(), 40 * MINUTE, Turn::Stranger);
        soon(self.services.len(), 2 * MINUTE, Turn::Service);
        soon(self.engineers.len(), 10 * MINUTE, Turn::Engineer);
    }

    /// Lets whoever's turn it is act.
    pub fn act(&mut self, now: i64, turn: Turn) {
        match turn {
            Turn::Attack(index) => {
                if let Some(step) = self.steps.get_mut(index).and_then(Option::take) {
                    step(self, now);
                }
            }
            Turn::Vehicle(index) => self.vehicle_turn(index, now),
            Turn::Sentinel(index) => self.sentinel_turn(index, now),
            Turn::Owner(index) => self.owner_turn(index, now),
            Turn::Technician(index) => self.technician_turn(index, now),
            Turn::Agent(index) => self.agent_turn(index, now),
            Turn::Station(index) => self.station_turn(index, now),
            Turn::Partner(index) => self.partner_turn(index, now),
            Turn::Service(index) => self.service_turn(index, now),
            Turn::Engineer(index) => self.engineer_turn(index, now),
            Turn::Campaign(index) => self.campaign_turn(index, now),
            Turn::Stranger(index) => self.stranger_turn(index, now),
        }
    }

    fn vehicle_turn(&mut self, index: usize, now: i64) {
        let car = &mut self.vehicles[index];
        if car.wake == now {
            car.act(&mut self.wire, now);
            self.agenda.note(car.wake, Turn::Vehicle(index));
        }
    }

    /// Wakes a car that has been given something to do.
    pub fn wake(&mut self, index: usize, at: i64) {
        self.vehicles[index].wake = at;
        self.agenda.note(at, Turn::Vehicle(index));
    }
}
