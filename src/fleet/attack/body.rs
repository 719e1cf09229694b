//! Attacks inside the car that its intrusion detection reports: buses, gateways, thieves at the headlight.

use super::super::clock::{MINUTE, SECOND};
use super::super::sentinel::{
    BLOCKED_IPV4, BLOCKED_TCP, BLOCKED_UDP, CAN_BUS_OFF, CAN_PASSIVE, Details, NO_BUFFER, PDUS, SECOC_FAILED,
    TRAFFIC_LIMIT, V2X_REFUSED,
};
use super::super::stream::Stream;
use super::script::Script;
use super::{Class, Variant};

use Variant::{Noisy, Plain, Slow, Spread};

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "can-injection-theft",
        story: "a thief injects messages behind the headlight of a parked car: ECUs lose each other, doors open",
        streams: &[Stream::Telemetry, Stream::VehicleSecurityEvents],
        variants: &[Plain, Slow, Noisy],
        plan: theft,
    },
    Class {
        name: "can-flood",
        story: "a bus is flooded until its nodes go off",
        streams: &[Stream::VehicleSecurityEvents],
        variants: &[Plain, Slow],
        plan: flood,
    },
    Class {
        name: "secoc-forgery",
        story: "forged messages fail their authentication on the bus, again and again",
        streams: &[Stream::VehicleSecurityEvents],
        variants: &[Plain, Spread, Noisy],
        plan: forgery,
    },
    Class {
        name: "in-car-scan",
        story: "something in the car tries the ports of the other units",
        streams: &[Stream::VehicleSecurityEvents],
        variants: &[Plain, Noisy],
        plan: scan,
    },
    Class {
        name: "ids-blinding",
        story: "the car's intrusion detection is drowned in events, or told to be silent",
        streams: &[Stream::VehicleSecurityEvents],
        variants: &[Plain, Noisy],
        plan: blinding,
    },
    Class {
        name: "malformed-fleet",
        story: "one malformed message is sent to many cars: the same form is refused everywhere",
        streams: &[Stream::VehicleSecurityEvents],
        variants: &[Plain, Slow],
        plan: malformed,
    },
];

/// Lost communication with this and that.
const LOST: [&str; 5] = ["U0100", "U0121", "U0140", "U0155", "U0214"];

fn theft(script: &mut Script<'_>) -> Option<()> {
    let length = 12 * MINUTE;
    let start = script.begin(length)?;
    let car = script.victim(|_| true)?;
    script.park(car, start, start + 7 * MINUTE);
    let every = if script.variant == Slow { 11 * SECOND } else { 3 * SECOND };
    let ecus = ["BCM", "GW", "ADAS", "ECM", "TCU"];
    for (index, (dtc, ecu)) in (0..).zip(LOST.into_iter().zip(ecus)) {
        let at = start + index * every;
        let details = Details { dtc: Some(dtc), bus: Some("body"), ..Details::default() };
        script.raise(at, car, CAN_PASSIVE, ecu, 20 + index * 7, details);
    }
    let after = start + 5 * every;
    if script.variant == Noisy {
        let details = Details { bus: Some("body"), ..Details::default() };
        script.raise(after, car, CAN_BUS_OFF, "BCM", 2, details);
    }
    script.tamper(car, (start + SECOND, start + 8 * MINUTE), |tamper, _, _| tamper.troubles = &LOST);
    for second in [2, 8, 20, 40] {
        script.report(start + second * SECOND + 5 * every, car);
    }
    // The injected "key is valid": doors open, nobody has asked for it, and the engine starts.
    script.at(after + 20 * SECOND, move |world, _| {
        let car = &mut world.vehicles[car];
        (car.locked, car.armed) = (false, false);
        car.tamper.doors_open = 1;
    });
    for second in [22, 30] {
        script.report(after + second * SECOND, car);
    }
    script.at(after + 50 * SECOND, move |world, now| {
        let victim = &mut world.vehicles[car];
        victim.tamper.doors_open = 0;
        victim.held_until = 0;
        let away = victim.motion.at.moved(25.0, 200.0);
        victim.depart(away, now);
        world.wake(car, now + SECOND);
    });
    Some(())
}

fn flood(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(4, 40);
    let start = script.begin(12 * every)?;
    let car = script.victim(|_| true)?;
    let bus = Some(*script.random.pick(&["powertrain", "chassis"]));
    for step in 0..12 {
        let details = Details { bus, can_id: Some(1), ..Details::default() };
        let kind = if step % 3 == 2 { CAN_BUS_OFF } else { CAN_PASSIVE };
        let count = script.random.between(20, 300);
        script.raise(start + step * every, car, kind, "GW", count, details);
    }
    Some(())
}

fn forgery(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(10 * MINUTE)?;
    let cars = if script.variant == Spread { 6 } else { 1 };
    for _ in 0..cars {
        let car = script.victim(|_| true)?;
        let pdu = Some(*script.random.pick(&PDUS));
        let from = start + script.random.between(0, 5 * MINUTE);
        for step in 0..9 {
            let at = from + step * 5 * SECOND;
            let details = Details { pdu, bus: Some("chassis"), ..Details::default() };
            let count = if script.variant == Noisy { 1 } else { script.random.between(1, 9) };
            script.raise(at, car, SECOC_FAILED, "BCM", count, details);
        }
    }
    Some(())
}

fn scan(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(6 * MINUTE)?;
    let car = script.victim(|_| true)?;
    let src = Some(format!("10.0.3.{}", script.random.between(40, 90)));
    for port in 0..30 {
        let kind = [BLOCKED_TCP, BLOCKED_UDP, BLOCKED_IPV4][(port % 3) as usize];
        let details = Details { src: src.clone(), dst_port: Some(20 + port * 37), ..Details::default() };
        script.raise(start + port * 7 * SECOND, car, kind, "GW", script_count(script.variant), details);
    }
    Some(())
}

fn script_count(variant: Variant) -> i64 {
    if variant == Noisy { 6 } else { 1 }
}

fn blinding(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(8 * MINUTE)?;
    let car = script.victim(|_| true)?;
    for step in 0..8 {
        let at = start + step * 20 * SECOND;
        let kind = if step % 2 == 0 { NO_BUFFER } else { TRAFFIC_LIMIT };
        let count = script.random.between(30, 400);
        script.raise(at, car, kind, "GW", count, Details::default());
    }
    if script.variant == Noisy {
        for step in 0..5 {
            let details = Details { src: Some("10.0.1.9".into()), ..Details::default() };
            script.raise(start + step * 30 * SECOND, car, BLOCKED_UDP, "GW", 200, details);
        }
    }
    let details = Details { mode: Some("OFF"), ..Details::default() };
    script.raise(start + 4 * MINUTE, car, SECOC_FAILED, "GW", 1, details);
    Some(())
}

fn malformed(script: &mut Script<'_>) -> Option<()> {
    let length = script.pace(900, 2_700);
    let start = script.begin(length)?;
    let pattern = format!("p-{}", script.random.hex(12));
    script.name("pattern", &pattern);
    let cars = 18;
    for index in 0..cars {
        let car = script.victim(|_| true)?;
        let at = start + index * length / cars;
        script.park(car, at, at + MINUTE);
        let peer = Some(format!("ps-{}", script.random.hex(8)));
        let details = Details { pattern: Some(pattern.clone()), peer, ..Details::default() };
        script.raise(at, car, V2X_REFUSED, "V2X", 1, details);
    }
    Some(())
}
