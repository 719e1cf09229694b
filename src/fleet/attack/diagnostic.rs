//! Attacks through diagnostic requests, at the car or from afar.

use super::super::clock::{MINUTE, SECOND};
use super::super::sentinel::{
    ACCESS_FAILED, ACCESS_PASSED, CLEAR_DTC, DOWNLOAD, Details, RESET, ROUTINE, WRITE_DATA,
};
use super::super::stream::Stream;
use super::super::workshop::{ECUS, Request};
use super::script::{Intruder, Script};
use super::{Class, Variant};

use Variant::{Noisy, Plain, Slow, Spread};

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "uds-bruteforce",
        story: "wrong keys for an ECU's security access, until one fits or the attacker gives up",
        streams: &[Stream::Diagnostics, Stream::VehicleSecurityEvents],
        variants: &[Plain, Slow, Spread, Noisy],
        plan: bruteforce,
    },
    Class {
        name: "remote-write-moving",
        story: "an ECU is written and reset over the air while its car drives",
        streams: &[Stream::Diagnostics, Stream::VehicleSecurityEvents],
        variants: &[Plain, Slow],
        plan: write_moving,
    },
    Class {
        name: "fleet-write",
        story: "the same identifier is written on many cars, with a stolen tester account",
        streams: &[Stream::Diagnostics, Stream::VehicleSecurityEvents],
        variants: &[Plain, Slow],
        plan: fleet_write,
    },
    Class {
        name: "ecu-reprogramming",
        story: "software is loaded into an ECU that no campaign reaches",
        streams: &[Stream::Diagnostics, Stream::VehicleSecurityEvents],
        variants: &[Plain, Noisy],
        plan: reprogramming,
    },
    Class {
        name: "evidence-wiped",
        story: "after failed keys, fault memories are cleared on every ECU, and their recording is switched off",
        streams: &[Stream::Diagnostics, Stream::VehicleSecurityEvents],
        variants: &[Plain, Slow],
        plan: wiped,
    },
];

/// A tester that no dealer owns, over the air.
fn remote(script: &mut Script<'_>) -> Intruder {
    let job = Some(format!("job-{}", script.random.hex(8)));
    let id = format!("rt-{}", script.random.hex(6));
    script.name("user", &id);
    Intruder { id: Some(id), address: 3_840, job, remote: true }
}

/// A box at the diagnostic connector.
fn dongle() -> Intruder {
    Intruder { id: None, address: 3_825, job: None, remote: false }
}

/// One try: a seed, then a key.
fn attempt(
    script: &mut Script<'_>,
    at: i64,
    car: usize,
    who: &Intruder,
    ecu: &'static str,
    nrc: Option<i64>,
) {
    script.diagnose(at, car, who, Request { subfunction: Some(1), ..Request::new(ecu, 39) });
    script.diagnose(at + 350, car, who, Request { subfunction: Some(2), nrc, ..Request::new(ecu, 39) });
    let kind = if nrc.is_some() { ACCESS_FAILED } else { ACCESS_PASSED };
    let details = Details { client_address: Some(who.address), service: Some(39), ..Details::default() };
    script.raise(at + 500, car, kind, ecu, 1, details);
}

fn bruteforce(script: &mut Script<'_>) -> Option<()> {
    let (tries, every) = match script.variant {
        Slow => (24, 50 * SECOND),
        _ => (14, 3 * SECOND),
    };
    let start = script.begin(tries * every + 2 * MINUTE)?;
    let car = script.victim(|_| true)?;
    script.park(car, start, start + tries * every + MINUTE);
    let who = if script.random.chance(0.5) { remote(script) } else { dongle() };
    let first = script.random.index(ECUS.len());
    for round in 0..tries {
        let shift = if script.variant == Spread { round as usize % 3 } else { 0 };
        let ecu = ECUS[(first + shift) % ECUS.len()];
        let at = start + round * every;
        let locked = round % 5 == 4;
        attempt(script, at, car, &who, ecu, Some(if locked { 54 } else { 53 }));
        if script.variant == Noisy {
            let did = Some(61_840 + round);
            script.diagnose(at + 900, car, &who, Request { did, ..Request::new(ecu, 34) });
        }
    }
    if script.random.chance(0.5) {
        attempt(script, start + tries * every, car, &who, ECUS[first], None);
    }
    Some(())
}

fn write_moving(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(6, 60);
    let start = script.begin(10 * every + MINUTE)?;
    let car = script.victim(|_| true)?;
    script.drive(car, start, start + 10 * every);
    let who = remote(script);
    let ecu = *script.random.pick(&["ADAS", "ECM", "BCM"]);
    attempt(script, start, car, &who, ecu, None);
    for step in 1..5 {
        let at = start + step * 2 * every;
        let did = Some(4_096 + step);
        script.diagnose(at, car, &who, Request { did, ..Request::new(ecu, 46) });
        script.raise(
            at + 200,
            car,
            WRITE_DATA,
            ecu,
            1,
            Details { did, service: Some(46), ..Details::default() },
        );
        script.diagnose(at + every, car, &who, Request { rid: Some(512), ..Request::new(ecu, 49) });
        script.raise(at + every + 200, car, ROUTINE, ecu, 1, Details::default());
    }
    script.diagnose(start + 10 * every, car, &who, Request { subfunction: Some(1), ..Request::new(ecu, 17) });
    script.raise(start + 10 * every, car, RESET, ecu, 1, Details::default());
    Some(())
}

fn fleet_write(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(20, 150);
    let cars = 16;
    let start = script.begin(cars * every)?;
    // Straight to the cars, past the service that hands out jobs.
    let who = Intruder { job: None, ..remote(script) };
    for index in 0..cars {
        let car = script.victim(|_| true)?;
        let at = start + index * every;
        script.park(car, at, at + MINUTE);
        script.diagnose(at, car, &who, Request { subfunction: Some(3), ..Request::new("BCM", 16) });
        attempt(script, at + 1_000, car, &who, "BCM", None);
        let did = Some(4_242);
        script.diagnose(at + 3_000, car, &who, Request { did, ..Request::new("BCM", 46) });
        let details = Details { did, service: Some(46), ..Details::default() };
        script.raise(at + 3_200, car, WRITE_DATA, "BCM", 1, details);
    }
    Some(())
}

fn reprogramming(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(10 * MINUTE)?;
    let car = script.victim(|_| true)?;
    script.park(car, start, start + 10 * MINUTE);
    let who = dongle();
    let ecu = *script.random.pick(&["ECM", "ADAS", "GW"]);
    let programming = |service| Request { session: 2, ..Request::new(ecu, service) };
    script.diagnose(start, car, &who, Request { subfunction: Some(2), ..programming(16) });
    attempt(script, start + 2 * SECOND, car, &who, ecu, None);
    if script.variant == Noisy {
        for read in 0..20 {
            let did = Some(61_800 + read);
            script.diagnose(start + 4 * SECOND + read * 400, car, &who, Request { did, ..programming(34) });
        }
    }
    let load = start + 20 * SECOND;
    script.diagnose(load, car, &who, programming(52));
    for block in 0..12 {
        script.diagnose(load + (block + 1) * 2 * SECOND, car, &who, programming(54));
    }
    script.diagnose(load + MINUTE, car, &who, programming(55));
    script.raise(load + SECOND, car, DOWNLOAD, ecu, 1, Details { service: Some(52), ..Details::default() });
    script.diagnose(load + 70 * SECOND, car, &who, Request { subfunction: Some(1), ..programming(17) });
    script.raise(load + 70 * SECOND, car, RESET, ecu, 1, Details::default());
    Some(())
}

fn wiped(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(4, 45);
    let start = script.begin(20 * every + MINUTE)?;
    let car = script.victim(|_| true)?;
    script.park(car, start, start + 20 * every);
    let who = dongle();
    for round in 0..8 {
        attempt(script, start + round * every, car, &who, "BCM", Some(53));
    }
    attempt(script, start + 9 * every, car, &who, "BCM", None);
    for (index, ecu) in (10..).zip(ECUS) {
        let at = start + index * every;
        script.diagnose(at, car, &who, Request::new(ecu, 20));
        script.raise(at + 200, car, CLEAR_DTC, ecu, 1, Details { service: Some(20), ..Details::default() });
        script.diagnose(at + 900, car, &who, Request { subfunction: Some(2), ..Request::new(ecu, 133) });
        let kind = (118, "SEV_UDS_CONTROL_DTC_SETTING_SUCCESSFUL");
        script.raise(at + 1_100, car, kind, ecu, 1, Details { service: Some(133), ..Details::default() });
    }
    Some(())
}
