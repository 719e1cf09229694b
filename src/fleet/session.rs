//! Somebody who is signed in somewhere: what the gateway, the identity provider and the command service all
//! see of the same person.

use super::place::{City, address};
use super::random::Random;

/// A person or a program at the back end's doors.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub account: String,
    /// Owner, dealer, employee …
    pub actor: &'static str,
    pub client_id: String,
    /// App, web, dealer_portal …
    pub client_type: &'static str,
    pub org: Option<String>,
    pub ip: String,
    pub country: &'static str,
    pub asn: i64,
    pub agent: String,
    pub device_id: String,
    pub session_id: String,
    pub jti: String,
    pub mfa: bool,
    /// When the token was issued.
    pub issued: i64,
}

/// Programs that people use.
const PHONES: [&str; 4] = [
    "FleetApp/6.2.1 (iOS 18.4)",
    "FleetApp/6.2.1 (Android 15)",
    "FleetApp/6.1.0 (Android 14)",
    "FleetApp/6.2.0 (iOS 18.3)",
];
const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/136.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1",
    "Mozilla/5.0 (X11; Linux x86_64) Firefox/138.0",
];

impl Session {
    /// An owner with the app on a phone.
    pub fn owner(account: String, city: &City, random: &mut Random) -> Session {
        Session {
            account,
            actor: "owner",
            client_id: "mobile-app".into(),
            client_type: "app",
            org: None,
            ip: address(city.network, random),
            country: city.region,
            asn: city.asn,
            agent: (*random.pick(&PHONES)).into(),
            device_id: format!("ph-{}", random.hex(10)),
            session_id: random.hex(12),
            jti: random.hex(16),
            mfa: random.chance(0.35),
            issued: 0,
        }
    }

    /// Somebody at a desk.
    pub fn desk(account: String, actor: &'static str, client: (&str, &'static str), at: &City) -> Session {
        let mut random = Random::new(super::random::hash(account.as_bytes()), "desk", 0);
        Session {
            account,
            actor,
            client_id: client.0.into(),
            client_type: client.1,
            org: None,
            ip: address(at.network, &mut random),
            country: at.region,
            asn: at.asn,
            agent: (*random.pick(&BROWSERS)).into(),
            device_id: format!("pc-{}", random.hex(10)),
            session_id: random.hex(12),
            jti: random.hex(16),
            mfa: true,
            issued: 0,
        }
    }

    /// The same account from somewhere else: another address, another device, a session of its own.
    pub fn stolen(&self, from: &Origin, random: &mut Random) -> Session {
        Session {
            ip: from.ip.clone(),
            country: from.country,
            asn: from.asn,
            agent: "python-requests/2.32.3".into(),
            device_id: format!("dv-{}", random.hex(10)),
            session_id: random.hex(12),
            jti: random.hex(16),
            ..self.clone()
        }
    }

    /// A new token, as after a sign-in.
    pub fn renew(&mut self, now: i64, random: &mut Random) {
        (self.issued, self.session_id, self.jti) = (now, random.hex(12), random.hex(16));
    }
}

/// Somewhere on the internet.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub ip: String,
    pub country: &'static str,
    pub asn: i64,
}

/// Hosting networks, where honest customers do not live.
const HOSTING: [([u8; 2], &str, i64); 6] = [
    ([185, 220], "RO", 60729),
    ([45, 155], "RU", 49505),
    ([193, 32], "SE", 39351),
    ([146, 70], "SG", 9009),
    ([23, 129], "US", 396_507),
    ([91, 219], "HU", 56322),
];

impl Origin {
    /// A machine in a hosting network.
    pub fn hosting(random: &mut Random) -> Origin {
        let (network, country, asn) = *random.pick(&HOSTING);
        Origin { ip: address(network, random), country, asn }
    }
}
