//! A car: what it is, what it does, and what it says about itself.

use super::clock::{DeviceClock, HOUR, MINUTE};
use super::habit::{Habit, Place};
use super::json::Json;
use super::link::Link;
use super::model::{FIRMWARE, Model, choose, vin};
use super::place::{CARRIERS, CITIES, City, Point, address};
use super::random::Random;
use super::stream::Stream;
use super::tamper::Tamper;
use super::trip::{Motion, Trip};
use super::wire::Wire;

/// Time between two messages on the road, charging and parked.
pub(super) const ON_THE_ROAD: i64 = 3_000;
const CHARGING: i64 = MINUTE / 2;
const PARKED: i64 = 5 * MINUTE;

/// What a car is doing.
pub(super) enum State {
    Parked,
    Driving(Trip),
    /// At so many kilowatts at most, until so full.
    Charging {
        kw: f64,
        limit: f64,
    },
}

/// A car.
pub(super) struct Vehicle {
    pub vin: String,
    pub model: &'static Model,
    pub city: &'static City,
    pub firmware: &'static str,
    pub device_id: String,
    pub boot_id: String,
    pub seq: i64,
    pub ip: String,
    pub clock: DeviceClock,
    pub link: Link,
    pub habit: Habit,
    pub home: Point,
    pub work: Point,
    pub place: Place,
    pub state: State,
    pub motion: Motion,
    /// State of charge in per cent.
    pub soc: f64,
    pack_c: f64,
    coolant_c: f64,
    reefer_c: f64,
    /// Kilowatts out of the pack, negative into it.
    power_kw: f64,
    pub locked: bool,
    pub armed: bool,
    pub troubles: Vec<&'static str>,
    pub departure: i64,
    /// Where the next trip ends.
    bound: Place,
    /// When it was last moved on.
    moved: i64,
    /// When its next turn is: turns at other times are stale.
    pub wake: i64,
    /// Held where it is until then, by an attack that needs it so.
    pub held_until: i64,
    pub tamper: Tamper,
    pub random: Random,
}

/// Faults that honest cars have.
const TROUBLES: [&str; 6] = ["P0420", "P0171", "B1318", "C0035", "P0456", "U0155"];

impl Vehicle {
    /// The `index`-th car of a fleet, parked at home at `now`.
    pub fn new(seed: u64, index: usize, now: i64) -> Vehicle {
        let mut random = Random::new(seed, "vehicle", index as u64);
        let model = choose(&mut random);
        let city = random.pick(&CITIES);
        let carrier = random.pick(&CARRIERS);
        let home = city.centre.around(6.0, &mut random);
        let work = city.centre.around(4.0, &mut random);
        let habit = match model.van {
            true => Habit::Delivery,
            false if random.chance(0.65) => Habit::Commuter,
            false => Habit::Leisure,
        };
        let troubles = match random.unit() {
            ..0.94 => Vec::new(),
            ..0.99 => vec![*random.pick(&TROUBLES)],
            _ => vec![TROUBLES[0], TROUBLES[3]],
        };
        let motion = Motion {
            at: home,
            heading: random.range(0.0, 360.0),
            speed: 0.0,
            odometer: random.range(500.0, 140_000.0),
            trip_km: 0.0,
        };
        let departure = habit.departure(Place::Home, now, city.hours, &mut random);
        let wake = departure.min(now + random.between(0, PARKED));
        Vehicle {
            vin: vin(model, 100_000 + index as u64, &mut random),
            model,
            city,
            firmware: FIRMWARE[random.index(FIRMWARE.len())],
            device_id: format!("tcu-{}", random.hex(8)),
            boot_id: random.hex(6),
            seq: random.between(1_000, 90_000),
            ip: address(carrier.network, &mut random),
            clock: DeviceClock::random(&mut random, now),
            link: Link::new(carrier, Random::new(seed, "link", index as u64)),
            habit,
            home,
            work,
            place: Place::Home,
            state: State::Parked,
            motion,
            soc: random.range(35.0, 88.0),
            pack_c: 18.0,
            coolant_c: 20.0,
            reefer_c: 4.0,
            power_kw: 0.0,
            locked: true,
            armed: true,
            troubles,
            departure,
            bound: Place::Home,
            moved: now,
            wake,
            held_until: 0,
            tamper: Tamper::default(),
            random,
        }
    }

    /// Whether its clock can be trusted to a few seconds.
    pub fn is_punctual(&self, now: i64) -> bool {
        (self.clock.read(now) - now).abs() < 3_000
    }

    /// Its turn: moves on, says so, and notes when it wants to be woken.
    pub fn act(&mut self, wire: &mut Wire, now: i64) {
        let seconds = (now - self.moved) as f64 / 1_000.0;
        self.moved = now;
        match &mut self.state {
            State::Parked if now >= self.departure => self.set_out(now),
            State::Parked => self.rest(seconds),
            State::Driving(_) => self.drive(seconds, now),
            State::Charging { .. } => self.charge(seconds, now),
        }
        if !self.tamper.silent {
            self.report(wire, now, None);
        }
        self.wake = match &self.state {
            State::Driving(_) => now + ON_THE_ROAD,
            State::Charging { .. } => now + CHARGING,
            State::Parked => (now + PARKED).min(self.departure.max(now + 1)),
        };
    }

    /// Begins a trip, unless it is held or its battery would not last.
    fn set_out(&mut self, now: i64) {
        if now < self.held_until {
            self.departure = self.held_until + self.random.between(MINUTE, HOUR);
            return;
        }
        let needs_charge = self.model.pack.is_some() && self.soc < 18.0;
        if needs_charge && self.place != Place::Station {
            let kw = self.home_kw();
            return self.plug_in(kw, 80.0);
        }
        self.bound = self.habit.destination(self.place, now, self.city.hours, &mut self.random);
        if self.model.pack.is_some()
            && self.soc < 40.0
            && self.place != Place::Home
            && self.random.chance(0.3)
        {
            self.bound = Place::Station;
        }
        let far = match self.habit {
            Habit::Delivery => 2.5,
            _ if self.random.chance(0.02) && self.soc > 70.0 => 45.0,
            _ => 4.0,
        };
        let to = match self.bound {
            Place::Home => self.home,
            Place::Work => self.work,
            Place::Away => self.motion.at.around(far, &mut self.random),
            Place::Station => self.city.centre.around(5.0, &mut self.random),
        };
        self.depart(to, now);
    }

    /// Starts towards a point, at once.
    pub fn depart(&mut self, to: Point, now: i64) {
        let fastest = if self.model.van { 105.0 } else { 150.0 };
        self.state = State::Driving(Trip::new(to, fastest));
        (self.moved, self.motion.trip_km, self.locked, self.armed) = (now, 0.0, true, false);
        if self.random.chance(0.03) {
            (self.boot_id, self.seq) = (self.random.hex(6), 0);
        }
        if self.random.chance(0.3) {
            self.ip = address(self.link.carrier.network, &mut self.random);
        }
    }

    fn drive(&mut self, seconds: f64, now: i64) {
        let State::Driving(trip) = &mut self.state else { return };
        let before = self.motion.speed;
        let arrived = trip.advance(&mut self.motion, seconds, &mut self.random);
        self.link.maybe_lose_driving(now);
        self.coolant_c += (91.0 - self.coolant_c) * (seconds / 240.0).min(1.0);
        self.reefer_c = 4.0 + (self.reefer_c - 4.0) * 0.9 + self.random.normal() * 0.1;
        self.spend(before, seconds);
        if arrived {
            self.arrive(now);
        }
    }

    /// Energy for air, tyres and heating, and for speeding up; braking gives six tenths back.
    fn spend(&mut self, before: f64, seconds: f64) {
        let Some(pack) = &self.model.pack else { return };
        let speed = f64::midpoint(before, self.motion.speed);
        let rolling =
            speed * self.model.wh_per_km / 1_000.0 * (0.55 + 0.45 * (speed / 100.0) * (speed / 100.0));
        let (v0, v1) = (before / 3.6, self.motion.speed / 3.6);
        let inertia = 0.5 * self.model.mass * (v1 * v1 - v0 * v0) / seconds.max(0.1);
        let drive = rolling + if inertia < 0.0 { 0.6 * inertia } else { inertia };
        self.power_kw = (0.7 + drive).clamp(-0.8 * pack.dc_kw, 250.0);
        self.soc = (self.soc - self.power_kw * seconds / 36.0 / pack.kwh).clamp(0.5, 100.0);
        self.pack_c += (18.0 + self.power_kw.abs() * 0.25 - self.pack_c) * (seconds / 900.0).min(1.0);
    }

    fn arrive(&mut self, now: i64) {
        (self.state, self.place, self.power_kw) = (State::Parked, self.bound, 0.0);
        (self.locked, self.armed) = (true, true);
        let habit = self.habit;
        self.departure = habit.departure(self.place, now, self.city.hours, &mut self.random);
        self.link.maybe_lose_parked(now);
        let plugs = match self.place {
            Place::Home => self.soc < 72.0 && self.random.chance(0.6),
            Place::Work => self.soc < 50.0 && self.random.chance(0.3),
            Place::Station => true,
            Place::Away => false,
        };
        if self.model.pack.is_some() && plugs {
            let at_station = self.place == Place::Station;
            let kw = if at_station { self.random.range(45.0, 150.0) } else { self.home_kw() };
            let limit = if self.random.chance(0.2) { 100.0 } else { 80.0 };
            self.plug_in(kw, limit);
        }
    }

    fn home_kw(&self) -> f64 {
        self.model.pack.as_ref().map_or(0.0, |pack| pack.ac_kw)
    }

    /// Begins to charge.
    pub fn plug_in(&mut self, kw: f64, limit: f64) {
        self.state = State::Charging { kw, limit };
    }

    fn charge(&mut self, seconds: f64, now: i64) {
        let (State::Charging { kw, limit }, Some(pack)) = (&self.state, &self.model.pack) else { return };
        let (kw, limit) = (kw.min(pack.dc_kw), *limit);
        let taper = if self.soc > 78.0 { (1.0 - (self.soc - 78.0) / 26.0).max(0.05) } else { 1.0 };
        self.power_kw = -(kw * taper).min(pack.max_a * pack.volts / 1_000.0 * 0.95);
        self.soc = (self.soc - self.power_kw * seconds / 36.0 / pack.kwh).min(100.0);
        self.pack_c += (20.0 + kw * 0.15 - self.pack_c) * (seconds / 900.0).min(1.0);
        let leaving = now >= self.departure && self.soc > 35.0 && now >= self.held_until;
        if self.soc >= limit || leaving {
            (self.state, self.power_kw) = (State::Parked, 0.0);
            if self.place == Place::Station {
                self.place = Place::Away;
                self.departure = now + self.random.between(2 * MINUTE, 10 * MINUTE);
            }
        }
    }

    fn rest(&mut self, seconds: f64) {
        self.coolant_c += (15.0 - self.coolant_c) * (seconds / 5_000.0).min(1.0);
        self.pack_c += (15.0 - self.pack_c) * (seconds / 9_000.0).min(1.0);
        self.power_kw = 0.0;
    }

    /// Says how it is; with `ack` that it has executed a command.
    pub fn report(&mut self, wire: &mut Wire, now: i64, ack: Option<&str>) {
        self.seq += 1;
        let mut event = wire.event();
        self.identify(&mut event, now);
        self.describe(&mut event);
        event.maybe("ack_id", ack);
        self.link.send(wire, Stream::Telemetry, &self.vin, now, event);
    }

    /// What it would have said at `then`, sent by somebody else at `now`: no link of the car's own.
    pub fn replay(&mut self, wire: &mut Wire, then: i64, now: i64) {
        let mut event = wire.event();
        self.identify(&mut event, then);
        self.describe(&mut event);
        wire.send(Stream::Telemetry, &self.vin, now + 240, event);
    }

    fn identify(&self, event: &mut Json, now: i64) {
        event.text("vin", &self.vin).int("ts", self.clock.read(now)).int("seq", self.seq);
        event.text("device_id", &self.device_id).text("boot_id", &self.boot_id).text("src_ip", &self.ip);
        event.text("model", self.model.name).text("region", self.city.region);
        event.text("firmware", self.firmware);
    }

    /// The signals, as the truth or as somebody wants them to be.
    fn describe(&mut self, event: &mut Json) {
        let (accuracy, idle) = (3.0 + self.random.unit() * 5.0, 780.0 + self.random.unit() * 40.0);
        let tamper = &self.tamper;
        let moving = matches!(self.state, State::Driving(_));
        let speed = tamper.speed.unwrap_or(self.motion.speed);
        let gear = match tamper.gear {
            Some(gear) => gear,
            None if moving => "D",
            None => "P",
        };
        let ignition = tamper.ignition.unwrap_or(moving);
        event.text("ignition", if ignition { "on" } else { "off" }).text("gear", gear);
        event.fixed("speed", speed, 1).flag("is_moving", speed > 0.0);
        event.fixed("odometer", tamper.odometer(self.motion.odometer), 3);
        event.fixed("trip_km", self.motion.trip_km, 3);
        let at = tamper.position(self.motion.at);
        event.fixed("lat", at.lat, 6).fixed("lon", at.lon, 6).fixed("heading", self.motion.heading, 0);
        event.fixed("accuracy_m", accuracy, 1).int("fix_type", 3);
        let charging = matches!(self.state, State::Charging { .. });
        event.fixed("battery_v", if moving || charging { 14.1 } else { 12.6 }, 1);
        event.flag("doors_locked", tamper.locked.unwrap_or(self.locked));
        event.int("doors_open", tamper.doors_open).flag("alarm_armed", self.armed);
        let codes = || self.troubles.iter().chain(tamper.troubles).copied();
        event.int("dtc_count", codes().count() as i64);
        if codes().next().is_some() {
            event.texts("dtc_list", codes());
        }
        match &self.model.pack {
            Some(_) => self.describe_pack(event, charging),
            None => self.describe_engine(event, moving, idle),
        }
        if self.model.reefer {
            event.fixed("reefer_c", tamper.reefer_c.unwrap_or(self.reefer_c), 1);
            event.fixed("reefer_setpoint_c", 4.0, 1);
        }
    }

    fn describe_pack(&self, event: &mut Json, charging: bool) {
        let (tamper, Some(pack)) = (&self.tamper, &self.model.pack) else { return };
        let volts = pack.volts * (0.92 + 0.001 * self.soc);
        let soc = (self.soc + tamper.soc_shift).clamp(0.0, 100.0);
        event.fixed("soc", soc, 1).fixed("pack_v", volts, 1);
        // VSS counts what flows into the battery.
        event.fixed("pack_a", -self.power_kw * 1_000.0 / volts, 1).fixed("pack_c", self.pack_c, 1);
        event.flag("charging", charging);
        if let State::Charging { limit, .. } = &self.state {
            event.fixed("charge_limit", tamper.charge_limit.unwrap_or(*limit), 0);
            event.fixed("charge_max_a", tamper.charge_max_a.unwrap_or(pack.max_a), 0);
        }
        event.int("alarm_flags", tamper.alarm_flags);
    }

    fn describe_engine(&self, event: &mut Json, moving: bool, idle: f64) {
        let speed = self.motion.speed;
        let gear_ratio = match speed {
            ..18.0 => 110.0,
            ..38.0 => 58.0,
            ..62.0 => 36.0,
            ..95.0 => 25.0,
            _ => 19.5,
        };
        let rpm = if moving { (speed * gear_ratio).max(idle) } else { 0.0 };
        let rpm = self.tamper.rpm.unwrap_or(rpm);
        event.fixed("rpm", rpm, 0).fixed("coolant_c", self.coolant_c, 1);
    }

    /// Whether it is on the road.
    pub fn is_driving(&self) -> bool {
        matches!(self.state, State::Driving(_))
    }

    /// Drives somewhere else than it meant to.
    pub fn turn_to(&mut self, to: Point) {
        self.bound = Place::Away;
        self.state = State::Driving(Trip::new(to, if self.model.van { 105.0 } else { 150.0 }));
    }
}
