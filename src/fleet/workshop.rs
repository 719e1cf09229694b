//! Dealers: technicians with testers, work orders, and now and then a wrong key.

use super::agenda::Turn;
use super::backend::{Call, Change, Command};
use super::clock::{HOUR, MINUTE, SECOND};
use super::people::{at_work, next_by_day};
use super::place::City;
use super::random::Random;
use super::session::Session;
use super::stream::Stream;
use super::vehicle::{State, Vehicle};
use super::wire::Wire;
use super::world::World;

/// A technician of a dealer.
pub(super) struct Technician {
    pub session: Session,
    pub tester: String,
    pub city: &'static City,
    pub random: Random,
}

impl Technician {
    /// The `index`-th one; three share a dealer.
    pub fn new(seed: u64, index: usize) -> Technician {
        let city = &super::place::CITIES[(index / 3) % super::place::CITIES.len()];
        let account = format!("d-{:03}-{index:03}", index / 3);
        let mut session = Session::desk(account, "dealer", ("dealer-portal", "dealer_portal"), city);
        session.org = Some(format!("dealer-{:03}", index / 3));
        let random = Random::new(seed, "technician", index as u64);
        Technician { session, tester: format!("tester-{index:04}"), city, random }
    }
}

/// A diagnostic request with its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub ecu: &'static str,
    pub service: i64,
    pub subfunction: Option<i64>,
    /// Negative response code; positive without.
    pub nrc: Option<i64>,
    pub did: Option<i64>,
    pub rid: Option<i64>,
    pub session: i64,
}

impl Request {
    /// A request that the ECU answers positively.
    pub fn new(ecu: &'static str, service: i64) -> Request {
        Request { ecu, service, subfunction: None, nrc: None, did: None, rid: None, session: 3 }
    }
}

/// Who asks an ECU, and from where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tester<'a> {
    pub id: Option<&'a str>,
    pub address: i64,
    pub job: Option<&'a str>,
    pub remote: bool,
}

/// ECUs that are asked.
pub(super) const ECUS: [&str; 5] = ["BCM", "ECM", "GW", "ADAS", "TCU"];

/// Logs a diagnostic request.
pub(super) fn diagnose(wire: &mut Wire, now: i64, car: &Vehicle, who: Tester<'_>, what: Request) {
    let mut event = wire.event();
    event.text("vin", &car.vin).int("ts", now).text("ecu", what.ecu).int("service", what.service);
    let numbers = [("subfunction", what.subfunction), ("did", what.did), ("rid", what.rid)];
    event.text("response", if what.nrc.is_some() { "negative" } else { "positive" });
    for (name, number) in numbers.into_iter().chain([("nrc", what.nrc)]) {
        if let Some(number) = number {
            event.int(name, number);
        }
    }
    event.int("session", what.session).int("client_address", who.address).maybe("tester_id", who.id);
    event.maybe("request_id", who.job).flag("remote", who.remote);
    wire.send(Stream::Diagnostics, &car.vin, now + 180 + now % 70, event);
}

impl World {
    /// A technician takes up the next car that stands around in town.
    pub(super) fn technician_turn(&mut self, index: usize, now: i64) {
        let hours = self.technicians[index].city.hours;
        let random = &mut self.technicians[index].random;
        let next = next_by_day(now, 70 * MINUTE, (7.5, 17.0), hours, random);
        self.agenda.note(next, Turn::Technician(index));
        if !at_work(now, hours) {
            return;
        }
        let World { technicians, vehicles, owners, backend, wire, .. } = self;
        let technician = &mut technicians[index];
        let found = (0..40).map(|_| technician.random.index(vehicles.len())).find(|candidate| {
            let car = &vehicles[*candidate];
            std::ptr::eq(car.city, technician.city)
                && matches!(car.state, State::Parked)
                && car.held_until < now
                && car.departure > now + MINUTE
        });
        let Some(found) = found else { return };
        let (car, owner) = (&mut vehicles[found], &owners[found].session.account);
        let random = &mut technician.random;
        let work_order = format!("wo-{}", random.hex(7));
        let mut at = now;
        if technician.session.issued + 9 * HOUR < now {
            technician.session.renew(at, random);
            let login = Change { mfa: Some("totp"), ..Change::new("login") };
            if random.chance(0.06) {
                backend.change(wire, at, &technician.session, &Change::failed("login", "bad_password"));
                at += random.between(5 * SECOND, 20 * SECOND);
            }
            backend.change(wire, at, &technician.session, &login);
            at += random.between(5 * SECOND, 60 * SECOND);
        }
        for route in ["/owners/lookup", "/vehicles/{vin}", "/vehicles/{vin}/service-history"] {
            let mut call = Call::new("GET", route).about(&car.vin, owner);
            call.work_order = Some(work_order.clone());
            call.scopes = &["dealer:read"];
            call.items = (route == "/owners/lookup").then_some(1);
            backend.request(wire, at, &technician.session, &call);
            at += random.between(4 * SECOND, 30 * SECOND);
        }
        if random.chance(0.15) {
            let work_order = Some(work_order.clone());
            let what = Command { work_order, ..Command::through("diag_read", "dealer_portal") };
            backend.command(wire, at, &technician.session, car, &what);
            at += random.between(MINUTE, 2 * MINUTE);
        }
        let tester = technician.tester.clone();
        let end = self.repair(found, &tester, at, index);
        let car = &mut self.vehicles[found];
        car.held_until = car.held_until.max(end);
        car.link.hold(now, end);
    }

    /// A diagnostic session of some minutes at the car; returns when it ends.
    fn repair(&mut self, car: usize, tester: &str, start: i64, technician: usize) -> i64 {
        let World { technicians, vehicles, wire, .. } = self;
        let random = &mut technicians[technician].random;
        let car = &mut vehicles[car];
        let ecu = *random.pick(&ECUS);
        let who = Tester { id: Some(tester), address: 3_712, job: None, remote: false };
        let mut at = start + random.between(2 * MINUTE, 15 * MINUTE);
        let open = Request { subfunction: Some(3), ..Request::new(ecu, 16) };
        diagnose(wire, at, car, who, open);
        for _ in 0..random.between(4, 14) {
            at += random.between(SECOND, 20 * SECOND);
            let did = Some(61_840 + random.between(0, 20));
            diagnose(wire, at, car, who, Request { did, ..Request::new(ecu, 34) });
        }
        diagnose(wire, at + 500, car, who, Request { subfunction: Some(2), ..Request::new(ecu, 25) });
        if random.chance(0.3) {
            at = security_access(wire, at, car, who, ecu, random);
            if random.chance(0.6) {
                at += random.between(5 * SECOND, 40 * SECOND);
                let did = Some(4_096 + random.between(0, 40));
                diagnose(wire, at, car, who, Request { did, ..Request::new(ecu, 46) });
                super::sentinel::raise(wire, at, car, super::sentinel::WRITE_DATA, ecu, 1);
            }
        }
        if !car.troubles.is_empty() || random.chance(0.2) {
            at += random.between(5 * SECOND, 60 * SECOND);
            diagnose(wire, at, car, who, Request::new(ecu, 20));
            super::sentinel::raise(wire, at, car, super::sentinel::CLEAR_DTC, ecu, 1);
            car.troubles.clear();
        }
        at + MINUTE
    }
}

/// Asks for a seed and sends the key; one in eight technicians mistypes something once, rarely twice.
fn security_access(
    wire: &mut Wire,
    start: i64,
    car: &Vehicle,
    who: Tester<'_>,
    ecu: &'static str,
    random: &mut Random,
) -> i64 {
    let mut at = start;
    let failures = match random.unit() {
        ..0.03 => 2,
        ..0.13 => 1,
        _ => 0,
    };
    for round in 0..=failures {
        at += random.between(2 * SECOND, 15 * SECOND);
        diagnose(wire, at, car, who, Request { subfunction: Some(1), ..Request::new(ecu, 39) });
        at += random.between(300, 1_500);
        let nrc = (round < failures).then_some(53);
        diagnose(wire, at, car, who, Request { subfunction: Some(2), nrc, ..Request::new(ecu, 39) });
        let kind =
            if nrc.is_some() { super::sentinel::ACCESS_FAILED } else { super::sentinel::ACCESS_PASSED };
        super::sentinel::raise(wire, at, car, kind, ecu, 1);
    }
    at
}
