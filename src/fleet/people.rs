//! People with the app, with a desk, with a shift: their days.

use super::backend::{Call, Change, Command};
use super::clock::{DAY, HOUR, MINUTE, SECOND, hour, weekend};
use super::place::{CITIES, City, address};
use super::random::Random;
use super::session::Session;
use super::vehicle::State;
use super::world::World;

/// The owner of the car with the same index.
pub(super) struct Owner {
    pub session: Session,
    pub home_ip: String,
    /// Since when the car is theirs.
    pub granted_at: i64,
    pub random: Random,
}

/// Somebody of a call centre.
pub(super) struct Agent {
    pub session: Session,
    pub hours: i64,
    random: Random,
}

impl Owner {
    /// The owner of the `index`-th car, who lives in its city.
    pub fn new(seed: u64, index: usize, city: &City, now: i64) -> Owner {
        let mut random = Random::new(seed, "owner", index as u64);
        let mut session = Session::owner(format!("o-{}", random.hex(8)), city, &mut random);
        session.issued = now - random.between(HOUR, 10 * DAY);
        let granted_at = now - random.between(20 * DAY, 1_200 * DAY);
        Owner { home_ip: session.ip.clone(), session, granted_at, random }
    }
}

impl Agent {
    /// The `index`-th agent.
    pub fn new(seed: u64, index: usize) -> Agent {
        let city = &CITIES[index % 2];
        let account = format!("e-agent-{index:03}");
        let session = Session::desk(account, "employee", ("crm", "internal"), city);
        Agent { session, hours: city.hours, random: Random::new(seed, "agent", index as u64) }
    }
}

/// The next time at which somebody does something that happens every `mean`, by day.
pub(super) fn next_by_day(
    now: i64,
    mean: i64,
    (from, to): (f64, f64),
    hours: i64,
    random: &mut Random,
) -> i64 {
    let at = now + random.wait(mean as f64);
    let of_day = hour(at, hours);
    if (from..to).contains(&of_day) {
        return at;
    }
    let until_morning = (from - of_day).rem_euclid(24.0);
    at + (until_morning * HOUR as f64) as i64 + random.between(0, 2 * HOUR)
}

impl World {
    /// An owner opens the app.
    pub(super) fn owner_turn(&mut self, index: usize, now: i64) {
        let World { owners, vehicles, backend, wire, .. } = self;
        let (owner, car) = (&mut owners[index], &mut vehicles[index]);
        let hours = car.city.hours;
        let mut at = now;
        owner.session.ip = if owner.random.chance(0.75) {
            owner.home_ip.clone()
        } else {
            address(car.city.network, &mut owner.random)
        };
        if owner.random.chance(0.15) || owner.session.issued + 12 * DAY < now {
            let (session, random) = (&mut owner.session, &mut owner.random);
            let mistakes = if random.chance(0.07) { random.between(1, 4) } else { 0 };
            for _ in 0..mistakes {
                backend.change(wire, at, session, &Change::failed("login", "bad_password"));
                at += random.between(4 * SECOND, 25 * SECOND);
            }
            if mistakes == 3 {
                backend.change(wire, at, session, &Change::new("password_reset_requested"));
                at += random.between(40 * SECOND, 4 * MINUTE);
                backend.change(wire, at, session, &Change::new("password_reset"));
                at += random.between(10 * SECOND, MINUTE);
            }
            session.renew(at, random);
            let method = session.mfa.then_some("push");
            if session.mfa {
                backend.change(wire, at, session, &Change { mfa: method, ..Change::new("mfa_challenge") });
                at += random.between(3 * SECOND, 20 * SECOND);
            }
            backend.change(wire, at, session, &Change { mfa: method, ..Change::new("login") });
        } else if owner.random.chance(0.3) {
            owner.session.renew(at, &mut owner.random);
            backend.change(wire, at, &owner.session, &Change::new("token_refresh"));
        }
        let account = owner.session.account.clone();
        for _ in 0..owner.random.between(1, 5) {
            at += owner.random.between(SECOND, 8 * SECOND);
            let routes = ["/vehicles/{vin}/status", "/vehicles/{vin}/status", "/vehicles/{vin}/location"];
            let call = Call::new("GET", routes[owner.random.index(routes.len())]).about(&car.vin, &account);
            let call = if owner.random.chance(0.004) { call.status(503) } else { call };
            backend.request(wire, at, &owner.session, &call);
        }
        let electric = car.model.pack.is_some();
        if let Some(what) = owner_command(owner, electric, &car.state) {
            at += owner.random.between(2 * SECOND, 10 * SECOND);
            let call = Call { scopes: &["vehicle:command"], ..Call::new("POST", "/vehicles/{vin}/commands") };
            backend.request(wire, at, &owner.session, &call.about(&car.vin, &account).status(202));
            backend.command(wire, at, &owner.session, car, &what);
        }
        let next = next_by_day(at, 6 * HOUR, (6.0, 23.5), hours, &mut owner.random);
        self.agenda.note(next, super::agenda::Turn::Owner(index));
    }

    /// An agent takes a call: looks the customer up, and now and then opens a car for who locked the key in.
    pub(super) fn agent_turn(&mut self, index: usize, now: i64) {
        let World { owners, vehicles, agents, backend, wire, .. } = self;
        let agent = &mut agents[index];
        let random = &mut agent.random;
        let customer = random.index(owners.len());
        let account = owners[customer].session.account.clone();
        let car = &mut vehicles[customer];
        let mut at = now;
        if agent.session.issued + 9 * HOUR < now {
            agent.session.renew(at, random);
            backend.change(wire, at, &agent.session, &Change { mfa: Some("totp"), ..Change::new("login") });
            at += random.between(5 * SECOND, 30 * SECOND);
        }
        let work_order = Some(format!("case-{}", random.hex(6)));
        let mut lookup = Call::new("GET", "/owners/lookup");
        (lookup.items, lookup.scopes) = (Some(1), &["customer:read"]);
        lookup.work_order = work_order.clone();
        backend.request(wire, at, &agent.session, &lookup.about(&car.vin, &account));
        if random.chance(0.06) && matches!(car.state, State::Parked) {
            at += random.between(30 * SECOND, 3 * MINUTE);
            let consent = Some(format!("cs-{}", random.hex(8)));
            let what = Command { consent, work_order, ..Command::through("unlock", "call_centre") };
            backend.command(wire, at, &agent.session, car, &what);
        }
        let next = next_by_day(at, 9 * MINUTE, (8.0, 20.0), agent.hours, random);
        self.agenda.note(next, super::agenda::Turn::Agent(index));
    }
}

/// What an owner wants the car to do, if anything.
fn owner_command(owner: &mut Owner, electric: bool, state: &State) -> Option<Command> {
    let random = &mut owner.random;
    if random.chance(0.55) {
        return None;
    }
    let parked = !matches!(state, State::Driving(_));
    let command = match random.unit() {
        ..0.45 if parked => "climate",
        ..0.60 => "lock",
        ..0.72 if parked => "unlock",
        ..0.86 if electric => "charge_set",
        ..0.97 => "locate",
        _ if parked => "horn",
        _ => "locate",
    };
    let mut what = Command::app(command, owner.granted_at);
    if command == "charge_set" {
        what.charge_limit = Some(*random.pick(&[80.0, 80.0, 90.0, 100.0]));
        what.amps = Some(*random.pick(&[10.0, 16.0, 16.0, 32.0]));
    }
    Some(what)
}

/// Whether somebody who works on weekdays is at work.
pub(super) fn at_work(now: i64, hours: i64) -> bool {
    !weekend(now, hours) && (7.5..17.5).contains(&hour(now, hours))
}
