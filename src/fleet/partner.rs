//! Programs at the gateway: partners that poll their own cars, and strangers that knock.

use super::agenda::Turn;
use super::backend::Call;
use super::clock::{HOUR, MINUTE, SECOND};
use super::place::CITIES;
use super::random::Random;
use super::session::{Origin, Session};
use super::world::World;

/// A partner with an API key: a fleet operator or an insurer.
pub(super) struct Partner {
    pub session: Session,
    /// Indices of its cars.
    cars: Vec<usize>,
    every: i64,
    pub random: Random,
}

/// Somebody on the internet who tries doors.
pub(super) struct Stranger {
    random: Random,
}

/// What strangers ask everybody for.
const DOORS: [&str; 7] =
    ["/.env", "/wp-login.php", "/.git/config", "/actuator/health", "/admin", "/robots.txt", "/api/v1/login"];

impl Partner {
    /// The `index`-th partner, with cars out of the fleet.
    pub fn new(seed: u64, index: usize, fleet: usize) -> Partner {
        let mut random = Random::new(seed, "partner", index as u64);
        let operator = index.is_multiple_of(2);
        let (kind, client) = if operator { ("fleet", "fleet_operator") } else { ("partner", "partner") };
        let wanted = random.between(10, 45) as usize;
        let cars = (0..wanted.min(fleet / 4 + 1)).map(|_| random.index(fleet.max(1))).collect();
        let name = format!("{kind}-api-{index:02}");
        let account = format!("svc-{name}");
        let mut session = Session::desk(account, client, (&name, kind), &CITIES[index % 6]);
        session.agent = "okhttp/4.12.0".into();
        session.org = Some(format!("org-{index:03}"));
        Partner { session, cars, every: random.between(8, 21) * MINUTE, random }
    }
}

impl Stranger {
    /// The `index`-th.
    pub fn new(seed: u64, index: usize) -> Stranger {
        Stranger { random: Random::new(seed, "stranger", index as u64) }
    }
}

impl World {
    /// A partner polls where its cars are.
    pub(super) fn partner_turn(&mut self, index: usize, now: i64) {
        let World { partners, vehicles, owners, backend, wire, agenda, .. } = self;
        let partner = &mut partners[index];
        if partner.session.issued + 12 * HOUR < now {
            partner.session.renew(now, &mut partner.random);
        }
        let mut at = now;
        for car in &partner.cars {
            at += partner.random.between(150, 900);
            let mut call = Call::new("GET", "/vehicles/{vin}/location")
                .about(&vehicles[*car].vin, &owners[*car].session.account);
            if partner.random.chance(0.002) {
                call = call.status(504);
            }
            backend.request(wire, at, &partner.session, &call);
        }
        agenda.note(now + partner.every + partner.random.between(0, 5 * SECOND), Turn::Partner(index));
    }

    /// A stranger knocks at a few doors, and finds them closed.
    pub(super) fn stranger_turn(&mut self, index: usize, now: i64) {
        let World { strangers, backend, wire, agenda, .. } = self;
        let random = &mut strangers[index].random;
        let origin = Origin::hosting(random);
        let mut session = Session::desk(String::new(), "service", ("anonymous", "web"), &CITIES[0]);
        (session.ip, session.country, session.asn) = (origin.ip, origin.country, origin.asn);
        session.agent = "curl/8.5.0".into();
        let mut at = now;
        for _ in 0..random.between(1, 6) {
            let door = *random.pick(&DOORS);
            let call = Call::new("GET", door).status(404);
            backend.request(wire, at, &session, &call);
            at += random.between(200, 3 * SECOND);
        }
        agenda.note(now + random.wait(40.0 * MINUTE as f64), Turn::Stranger(index));
    }
}
