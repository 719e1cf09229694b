//! The script of one attack: who, when, and step by step what.

use std::collections::BTreeSet;

use super::super::Plan;
use super::super::backend::{Call, Change, Command};
use super::super::clock::{HOUR, MINUTE};
use super::super::random::Random;
use super::super::sentinel::{Details, Kind};
use super::super::session::{Origin, Session};
use super::super::tamper::Tamper;
use super::super::truth::{Attack, Target};
use super::super::vehicle::Vehicle;
use super::super::workshop::{Request, Tester, diagnose};
use super::super::world::World;
use super::{Class, Step, Variant};

/// Who has been attacked, or used for an attack: never again.
#[derive(Default)]
pub(super) struct Taken {
    vehicles: BTreeSet<usize>,
    technicians: BTreeSet<usize>,
    agents: BTreeSet<usize>,
    stations: BTreeSet<usize>,
    services: BTreeSet<usize>,
    partners: BTreeSet<usize>,
    addresses: BTreeSet<String>,
}

/// An attack in the making.
pub(super) struct Script<'w> {
    pub world: &'w World,
    pub variant: Variant,
    pub random: Random,
    /// When it starts; set by [`Script::begin`].
    pub start: i64,
    /// Which of several attacks of the same variant it is, from 0.
    pub round: u64,
    /// When it is to start, if that is not left to the dice.
    pub scheduled: Option<i64>,
    class: &'static Class,
    begin: i64,
    world_begin: i64,
    /// Whether there has been a time of peace.
    warm: bool,
    end: i64,
    taken: &'w mut Taken,
    steps: Vec<(i64, Step)>,
    first: i64,
    last: i64,
    entities: BTreeSet<Target>,
}

/// A tester at a car, or at the other end of the internet.
#[derive(Clone, Debug)]
pub(super) struct Intruder {
    pub id: Option<String>,
    pub address: i64,
    pub job: Option<String>,
    pub remote: bool,
}

/// The first of some things that is not taken, by lot.
fn lot(
    count: usize,
    taken: &mut BTreeSet<usize>,
    random: &mut Random,
    fit: impl Fn(usize) -> bool,
) -> Option<usize> {
    let offset = random.index(count);
    let found = (0..count).map(|n| (n + offset) % count).find(|n| !taken.contains(n) && fit(*n))?;
    taken.insert(found);
    Some(found)
}

impl<'w> Script<'w> {
    /// An empty script.
    pub fn new(
        world: &'w World,
        plan: &Plan,
        class: &'static Class,
        variant: Variant,
        round: u64,
        taken: &'w mut Taken,
    ) -> Script<'w> {
        let name = format!("{}/{}", class.name, variant.name());
        Script {
            world,
            variant,
            random: Random::new(plan.seed, &name, round),
            start: plan.start_ms,
            round,
            scheduled: None,
            class,
            begin: plan.start_ms + plan.warm_up_ms,
            world_begin: plan.start_ms,
            warm: plan.warm_up_ms > 0,
            end: plan.start_ms + plan.length_ms,
            taken,
            steps: Vec::new(),
            first: i64::MAX,
            last: i64::MIN,
            entities: BTreeSet::new(),
        }
    }

    /// Draws when it starts, if it takes so long and is not scheduled: not at once, since there must be a
    /// normal day before.
    pub fn begin(&mut self, length: i64) -> Option<i64> {
        if let Some(start) = self.scheduled {
            self.start = start;
            return self.fits(start, length).then_some(start);
        }
        let whole = self.end - self.begin;
        let earliest = self.begin + if self.warm { 0 } else { (whole / 4).min(6 * HOUR) };
        let latest = self.end - length - (whole / 50).min(10 * MINUTE);
        if earliest >= latest {
            return None;
        }
        self.start = self.random.between(earliest, latest);
        Some(self.start)
    }

    /// Whether something that starts then and takes so long lies within the simulation.
    pub fn fits(&self, start: i64, length: i64) -> bool {
        start > self.begin && start + length < self.end
    }

    /// A length for this variant: minutes if slow, seconds else.
    pub fn pace(&self, seconds: i64, slow_seconds: i64) -> i64 {
        1_000 * if self.variant == Variant::Slow { slow_seconds } else { seconds }
    }

    /// A car that fits, and is nobody's victim yet.
    pub fn vehicle(&mut self, fit: impl Fn(&Vehicle) -> bool) -> Option<usize> {
        let cars = &self.world.vehicles;
        let start = self.start;
        let found = lot(cars.len(), &mut self.taken.vehicles, &mut self.random, |n| {
            cars[n].is_punctual(start) && fit(&cars[n])
        })?;
        Some(found)
    }

    /// A car that fits, named in the truth.
    pub fn victim(&mut self, fit: impl Fn(&Vehicle) -> bool) -> Option<usize> {
        let found = self.vehicle(fit)?;
        let vin = self.world.vehicles[found].vin.clone();
        self.name("vehicle", &vin);
        Some(found)
    }

    /// So many of them.
    pub fn victims(&mut self, count: usize) -> Option<Vec<usize>> {
        (0..count).map(|_| self.victim(|_| true)).collect()
    }

    /// A technician whose account is used, named in the truth.
    pub fn technician(&mut self) -> Option<usize> {
        let all = &self.world.technicians;
        let found = lot(all.len(), &mut self.taken.technicians, &mut self.random, |_| true)?;
        self.name("user", &all[found].session.account.clone());
        Some(found)
    }

    /// Likewise an agent of the call centre.
    pub fn agent(&mut self) -> Option<usize> {
        let all = &self.world.agents;
        let found = lot(all.len(), &mut self.taken.agents, &mut self.random, |_| true)?;
        self.name("user", &all[found].session.account.clone());
        Some(found)
    }

    /// Likewise a station.
    pub fn station(&mut self) -> Option<usize> {
        let all = &self.world.stations;
        let found = lot(all.len(), &mut self.taken.stations, &mut self.random, |_| true)?;
        self.name("service", &all[found].id.clone());
        Some(found)
    }

    /// Likewise a service on Kafka.
    pub fn service(&mut self) -> Option<usize> {
        let all = &self.world.services;
        let found = lot(all.len(), &mut self.taken.services, &mut self.random, |_| true)?;
        self.name("user", &all[found].principal.clone());
        Some(found)
    }

    /// Likewise a partner.
    pub fn partner(&mut self) -> Option<usize> {
        let all = &self.world.partners;
        let found = lot(all.len(), &mut self.taken.partners, &mut self.random, |_| true)?;
        self.name("service", &all[found].session.client_id.clone());
        Some(found)
    }

    /// A machine somewhere that nobody has used yet, named in the truth.
    pub fn origin(&mut self) -> Origin {
        loop {
            let origin = Origin::hosting(&mut self.random);
            if self.taken.addresses.insert(origin.ip.clone()) {
                self.name("ip", &origin.ip);
                return origin;
            }
        }
    }

    /// The session that somebody gets who has an account's password: signed in a moment ago, from there.
    pub fn steal(&mut self, of: &Session, from: &Origin) -> Session {
        Session { issued: self.start - 20_000, ..of.stolen(from, &mut self.random) }
    }

    /// Names something in the truth.
    pub fn name(&mut self, kind: &str, value: &str) {
        self.entities.insert(Target { kind: kind.into(), value: value.into() });
    }

    /// Something happens.
    pub fn at(&mut self, at: i64, step: impl FnOnce(&mut World, i64) + Send + 'static) {
        (self.first, self.last) = (self.first.min(at), self.last.max(at));
        self.steps.push((at, Box::new(step)));
    }

    /// What has been written so far was only its prelude.
    pub fn prelude_ends(&mut self) {
        (self.first, self.last) = (i64::MAX, i64::MIN);
    }

    /// Something happens that is not yet, or no more, the attack itself.
    pub fn aside(&mut self, at: i64, step: impl FnOnce(&mut World, i64) + Send + 'static) {
        self.steps.push((at.max(self.world_begin), Box::new(step)));
    }

    /// A request at the gateway.
    pub fn request(&mut self, at: i64, who: &Session, call: Call) {
        let who = who.clone();
        self.at(at, move |world, now| world.backend.request(&mut world.wire, now, &who, &call));
    }

    /// A change of an account, or a try.
    pub fn change(&mut self, at: i64, who: &Session, change: Change) {
        let who = who.clone();
        self.at(at, move |world, now| world.backend.change(&mut world.wire, now, &who, &change));
    }

    /// A remote command.
    pub fn command(&mut self, at: i64, who: &Session, car: usize, what: Command) {
        let who = who.clone();
        self.at(at, move |world, now| {
            let World { backend, wire, vehicles, .. } = world;
            backend.command(wire, now, &who, &mut vehicles[car], &what);
        });
    }

    /// A diagnostic request.
    pub fn diagnose(&mut self, at: i64, car: usize, who: &Intruder, what: Request) {
        let who = who.clone();
        self.at(at, move |world, now| {
            let (id, job) = (who.id.as_deref(), who.job.as_deref());
            let tester = Tester { id, address: who.address, job, remote: who.remote };
            diagnose(&mut world.wire, now, &world.vehicles[car], tester, what);
        });
    }

    /// A report of a car's own intrusion detection, which has a connection.
    pub fn raise(
        &mut self,
        at: i64,
        car: usize,
        kind: Kind,
        ecu: &'static str,
        count: i64,
        details: Details,
    ) {
        self.online(car, at, at);
        self.at(at, move |world, now| {
            let World { wire, vehicles, .. } = world;
            super::super::sentinel::report(wire, now, &vehicles[car], kind, ecu, count, &details);
        });
    }

    /// Lets a car stand, with a connection, over a time: it parks before, and holds still.
    pub fn park(&mut self, car: usize, from: i64, until: i64) {
        self.aside(from - 100 * MINUTE, move |world, now| {
            let car = &mut world.vehicles[car];
            car.held_until = car.held_until.max(until);
            car.link.hold(now, until);
        });
    }

    /// Keeps a car's connection over a time, whatever it does.
    pub fn online(&mut self, car: usize, from: i64, until: i64) {
        self.aside(from - MINUTE, move |world, now| world.vehicles[car].link.hold(now, until));
    }

    /// Lets a car drive, with a connection, over a time.
    pub fn drive(&mut self, car: usize, from: i64, until: i64) {
        let heading = self.random.range(0.0, 360.0);
        let km = 12.0 + (until - from) as f64 / HOUR as f64 * 90.0;
        self.aside(from - 2 * MINUTE, move |world, now| {
            let victim = &mut world.vehicles[car];
            victim.soc = victim.soc.max(75.0);
            victim.held_until = 0;
            victim.link.hold(now, until);
            if !victim.is_driving() {
                victim.depart(victim.motion.at, now);
                world.wake(car, now + 1_000);
            }
            let victim = &mut world.vehicles[car];
            victim.turn_to(victim.motion.at.moved(km, heading));
        });
    }

    /// Makes a car say what is not so, over a time.
    pub fn tamper(
        &mut self,
        car: usize,
        (from, until): (i64, i64),
        change: impl Fn(&mut Tamper, &mut Random, &Vehicle) + Send + 'static,
    ) {
        let mut random = Random::new(self.random.bits(), "tamper", 0);
        self.at(from, move |world, _| {
            let car = &mut world.vehicles[car];
            let mut tamper = std::mem::take(&mut car.tamper);
            change(&mut tamper, &mut random, car);
            car.tamper = tamper;
        });
        self.at(until, move |world, _| world.vehicles[car].tamper = Tamper::default());
    }

    /// Lets a car say something now, besides its cadence.
    pub fn report(&mut self, at: i64, car: usize) {
        self.at(at, move |world, now| {
            let World { wire, vehicles, .. } = world;
            vehicles[car].report(wire, now, None);
        });
    }

    /// The attack, and its steps by time.
    pub fn finish(self) -> (Attack, Vec<(i64, Step)>) {
        let attack = Attack {
            id: String::new(),
            class: self.class.name.into(),
            variant: self.variant.name().into(),
            start_ms: self.first,
            end_ms: self.last,
            entities: self.entities.into_iter().collect(),
            streams: self.class.streams.iter().map(|stream| stream.name().to_owned()).collect(),
            story: self.class.story.into(),
        };
        (attack, self.steps)
    }
}
