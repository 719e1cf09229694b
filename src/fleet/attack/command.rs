//! Attacks with remote commands: by those who may not, too often, at the wrong moment, against everybody.

use super::super::backend::{Call, Command};
use super::super::clock::{DAY, HOUR, MINUTE, SECOND};
use super::super::place::CITIES;
use super::super::session::Session;
use super::super::stream::Stream;
use super::script::Script;
use super::{Class, Variant};

use Variant::{Noisy, Plain, Slow, Spread};

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "mass-lockout",
        story: "one account immobilises and locks many cars, and no campaign stands behind it",
        streams: &[Stream::RemoteCommands],
        variants: &[Plain, Slow, Spread, Noisy],
        plan: lockout,
    },
    Class {
        name: "command-toggling",
        story: "a car is locked and unlocked, started and stopped, over and over",
        streams: &[Stream::RemoteCommands],
        variants: &[Plain, Slow],
        plan: toggling,
    },
    Class {
        name: "foreign-command",
        story: "an account that got access minutes ago locates a car and opens it",
        streams: &[Stream::RemoteCommands],
        variants: &[Plain, Slow],
        plan: foreign,
    },
    Class {
        name: "portal-command",
        story: "a stolen dealer account opens cars for which there is no order",
        streams: &[Stream::RemoteCommands],
        variants: &[Plain, Spread],
        plan: portal,
    },
    Class {
        name: "command-while-moving",
        story: "a car is immobilised and written to while it drives",
        streams: &[Stream::RemoteCommands, Stream::Telemetry],
        variants: &[Plain, Noisy],
        plan: moving,
    },
    Class {
        name: "charging-manipulation",
        story: "a stranger's command sets the charging current of a car beyond what its cable takes",
        streams: &[Stream::RemoteCommands],
        variants: &[Plain],
        plan: charging,
    },
    Class {
        name: "cargo-theft",
        story: "the cargo doors of vans are unlocked by night",
        streams: &[Stream::RemoteCommands],
        variants: &[Plain],
        plan: cargo,
    },
];

fn lockout(script: &mut Script<'_>) -> Option<()> {
    let cars = 30;
    let every = script.pace(6, 110);
    let start = script.begin(cars * every)?;
    let actors: Vec<Session> = match script.variant {
        Spread => {
            let origin = script.origin();
            let stolen = |script: &mut Script<'_>| {
                let technician = script.technician()?;
                let session = &script.world.technicians[technician].session;
                Some(script.steal(session, &origin))
            };
            vec![stolen(script)?, stolen(script)?]
        }
        _ => {
            let origin = script.origin();
            let account = format!("e-ops-{}", script.random.hex(4));
            script.name("user", &account);
            let desk = Session::desk(account, "employee", ("ops-console", "internal"), &CITIES[0]);
            vec![script.steal(&desk, &origin)]
        }
    };
    for (index, car) in (0..).zip(script.victims(cars as usize)?) {
        let at = start + index * every;
        script.park(car, at, at + MINUTE);
        let actor = &actors[index as usize % actors.len()];
        let command = if index % 3 == 2 { "lock" } else { "immobilize" };
        let channel = if script.variant == Spread { "dealer_portal" } else { "admin" };
        script.command(at, actor, car, Command::through(command, channel));
        if script.variant == Noisy {
            let call = Call::new("GET", "/vehicles/{vin}/status").about(&script.world.vehicles[car].vin, "-");
            script.request(at - 900, actor, call);
        }
    }
    Some(())
}

fn toggling(script: &mut Script<'_>) -> Option<()> {
    let (rounds, every) = if script.variant == Slow { (36, 70 * SECOND) } else { (26, 9 * SECOND) };
    let start = script.begin(rounds * every)?;
    let car = script.victim(|_| true)?;
    script.park(car, start, start + rounds * every);
    let origin = script.origin();
    let owner = &script.world.owners[car];
    let granted = owner.granted_at;
    let actor = script.steal(&owner.session, &origin);
    script.name("user", &actor.account);
    for round in 0..rounds {
        let command = ["lock", "unlock", "lock", "start", "stop", "unlock"][(round % 6) as usize];
        script.command(start + round * every, &actor, car, Command::app(command, granted));
    }
    Some(())
}

fn foreign(script: &mut Script<'_>) -> Option<()> {
    let wait = script.pace(90, 3_000);
    let start = script.begin(4 * wait)?;
    let car = script.victim(|_| true)?;
    script.park(car, start, start + 4 * wait);
    let origin = script.origin();
    let account = format!("o-{}", script.random.hex(8));
    script.name("user", &account);
    let city = script.world.vehicles[car].city;
    let actor = Session::owner(account, city, &mut script.random);
    let actor = script.steal(&actor, &origin);
    for (step, command) in (1..).zip(["locate", "unlock", "start"]) {
        script.command(start + step * wait, &actor, car, Command::app(command, start));
    }
    Some(())
}

fn portal(script: &mut Script<'_>) -> Option<()> {
    let cars = if script.variant == Spread { 7 } else { 4 };
    let start = script.begin(cars * 4 * MINUTE)?;
    let origin = script.origin();
    let technician = script.technician()?;
    let actor = script.steal(&script.world.technicians[technician].session, &origin);
    for (index, car) in (0..).zip(script.victims(cars as usize)?) {
        let at = start + index * 4 * MINUTE;
        script.park(car, at, at + 3 * MINUTE);
        for (after, command) in [(0, "locate"), (50 * SECOND, "unlock"), (100 * SECOND, "start")] {
            script.command(at + after, &actor, car, Command::through(command, "dealer_portal"));
        }
    }
    Some(())
}

fn moving(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(10 * MINUTE)?;
    let car = script.victim(|_| true)?;
    script.drive(car, start, start + 8 * MINUTE);
    let origin = script.origin();
    let account = format!("e-ops-{}", script.random.hex(4));
    script.name("user", &account);
    let desk = Session::desk(account, "employee", ("ops-console", "internal"), &CITIES[1]);
    let actor = script.steal(&desk, &origin);
    let rounds = if script.variant == Noisy { 6 } else { 3 };
    for round in 0..rounds {
        let command = ["immobilize", "diag_write", "unlock"][round % 3];
        let at = start + MINUTE + round as i64 * 55 * SECOND;
        script.command(at, &actor, car, Command::through(command, "admin"));
    }
    Some(())
}

fn charging(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(15 * MINUTE)?;
    let car = script.victim(|car| car.model.pack.is_some())?;
    script.park(car, start, start + 10 * MINUTE);
    let origin = script.origin();
    let account = format!("o-{}", script.random.hex(8));
    script.name("user", &account);
    let city = script.world.vehicles[car].city;
    let actor = Session::owner(account, city, &mut script.random);
    let actor = script.steal(&actor, &origin);
    for round in 0..3 {
        let mut what = Command::app("charge_set", start - MINUTE);
        (what.amps, what.charge_limit) = (Some(480.0), Some(110.0));
        script.command(start + round * 3 * MINUTE, &actor, car, what);
    }
    Some(())
}

/// At two in the morning where the van stands.
fn cargo(script: &mut Script<'_>) -> Option<()> {
    let begin = script.begin(40 * MINUTE)?;
    let car = script.vehicle(|car| car.model.van)?;
    let hours = script.world.vehicles[car].city.hours;
    let midnight = (begin + hours * HOUR).div_euclid(DAY) * DAY - hours * HOUR;
    let start = [midnight + 2 * HOUR, midnight + 26 * HOUR]
        .into_iter()
        .find(|night| script.fits(*night, 40 * MINUTE))?;
    let vin = script.world.vehicles[car].vin.clone();
    script.name("vehicle", &vin);
    script.park(car, start, start + 30 * MINUTE);
    let origin = script.origin();
    let account = format!("f-{}", script.random.hex(6));
    script.name("user", &account);
    let desk = Session::desk(account, "fleet_operator", ("fleet-api-00", "fleet"), &CITIES[2]);
    let actor = script.steal(&desk, &origin);
    for round in 0..3 {
        let what = Command::through("cargo_unlock", "fleet_api");
        script.command(start + round * 7 * MINUTE, &actor, car, what);
    }
    Some(())
}
