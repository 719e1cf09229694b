//! Attacks that show in what cars say about themselves: places, distances, batteries, identities.

use super::super::clock::{MINUTE, SECOND};
use super::super::place::{CITIES, Point};
use super::super::stream::Stream;
use super::super::tamper::Fix;
use super::script::Script;
use super::{Class, Variant};

use Variant::{Noisy, Plain, Slow, Spread};

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "gnss-jump",
        story: "a car's satellite position leaps to another city and stays there, while its wheels say otherwise",
        streams: &[Stream::Telemetry],
        variants: &[Plain, Noisy],
        plan: jump,
    },
    Class {
        name: "gnss-drift",
        story: "a spoofer pulls the position of a driving car away from its way",
        streams: &[Stream::Telemetry],
        variants: &[Plain, Slow],
        plan: drift,
    },
    Class {
        name: "vin-clone",
        story: "a second device reports under the name of a car, from another place",
        streams: &[Stream::Telemetry],
        variants: &[Plain, Slow, Noisy],
        plan: clone,
    },
    Class {
        name: "odometer-rollback",
        story: "kilometres are taken off an odometer",
        streams: &[Stream::Telemetry],
        variants: &[Plain, Slow],
        plan: rollback,
    },
    Class {
        name: "odometer-frozen",
        story: "a device in the instrument cluster stops the odometer while the car drives",
        streams: &[Stream::Telemetry],
        variants: &[Plain, Noisy],
        plan: frozen,
    },
    Class {
        name: "telemetry-replay",
        story: "recorded messages of a car are sent again, with their old numbers and times",
        streams: &[Stream::Telemetry],
        variants: &[Plain, Slow],
        plan: replay,
    },
    Class {
        name: "moves-in-park",
        story: "injected bus messages: the car moves while its lever says park",
        streams: &[Stream::Telemetry],
        variants: &[Plain, Noisy],
        plan: moves_in_park,
    },
    Class {
        name: "charging-tamper",
        story: "limits of the traction battery are overwritten beyond what the pack takes",
        streams: &[Stream::Telemetry],
        variants: &[Plain, Slow],
        plan: charging,
    },
    Class {
        name: "gnss-area",
        story: "cars of one quarter all see the same false position within minutes",
        streams: &[Stream::Telemetry],
        variants: &[Plain, Spread],
        plan: area,
    },
];

fn jump(script: &mut Script<'_>) -> Option<()> {
    let length = 12 * MINUTE;
    let start = script.begin(length)?;
    let car = script.victim(|_| true)?;
    script.drive(car, start, start + length);
    let home = script.world.vehicles[car].city.centre;
    let there = CITIES.iter().map(|city| city.centre).find(|there| there.distance(home) > 150.0)?;
    let noisy = script.variant == Noisy;
    script.tamper(car, (start, start + length), move |tamper, random, _| {
        let there = if noisy { there.around(8.0, random) } else { there };
        tamper.fix = Fix::At(there);
    });
    Some(())
}

fn drift(script: &mut Script<'_>) -> Option<()> {
    let (steps, every) = if script.variant == Slow { (60, 20 * SECOND) } else { (30, 10 * SECOND) };
    let length = steps * every;
    let start = script.begin(length + MINUTE)?;
    let car = script.victim(|_| true)?;
    script.drive(car, start, start + length);
    let heading = script.random.range(0.0, 360.0);
    let stride = if script.variant == Slow { 0.25 } else { 0.6 };
    for step in 1..=steps {
        let at = start + step * every;
        script.at(at, move |world, _| {
            let km = step as f64 * stride;
            world.vehicles[car].tamper.fix = Fix::Off { km, heading };
        });
    }
    script.aside(start + length + every, move |world, _| world.vehicles[car].tamper.fix = Fix::True);
    Some(())
}

/// A second sender: it copies what the car is, not where it is.
fn clone(script: &mut Script<'_>) -> Option<()> {
    let (messages, every) = match script.variant {
        Slow => (30, 110 * SECOND),
        _ => (40, 10 * SECOND),
    };
    let start = script.begin(messages * every)?;
    let car = script.victim(|_| true)?;
    script.online(car, start, start + messages * every);
    if script.variant == Noisy {
        script.drive(car, start, start + messages * every);
    }
    let origin = script.origin();
    let (device, boot) = (format!("tcu-{}", script.random.hex(8)), script.random.hex(6));
    let elsewhere = script.random.pick(&CITIES).centre.around(15.0, &mut script.random.clone());
    let first = script.random.between(100, 5_000);
    for message in 0..messages {
        let (ip, device, boot) = (origin.ip.clone(), device.clone(), boot.clone());
        script.at(start + message * every, move |world, now| {
            let car = &world.vehicles[car];
            let mut event = world.wire.event();
            let at = elsewhere.moved(message as f64 * 0.14, 70.0);
            event.text("vin", &car.vin).int("ts", now).int("seq", first + message);
            event.text("device_id", &device).text("boot_id", &boot).text("src_ip", &ip);
            event
                .text("model", car.model.name)
                .text("region", car.city.region)
                .text("firmware", car.firmware);
            event.text("ignition", "on").text("gear", "D").fixed("speed", 50.4, 1).flag("is_moving", true);
            event.fixed("odometer", car.motion.odometer + message as f64 * 0.14, 3);
            event.fixed("lat", at.lat, 6).fixed("lon", at.lon, 6).fixed("heading", 70.0, 0);
            event.int("fix_type", 3).flag("doors_locked", true);
            world.wire.send(Stream::Telemetry, &car.vin, now + 260, event);
        });
    }
    Some(())
}

fn rollback(script: &mut Script<'_>) -> Option<()> {
    let length = 20 * MINUTE;
    let start = script.begin(length)?;
    let car = script.victim(|car| car.motion.odometer > 60_000.0)?;
    script.drive(car, start, start + length);
    let rounds = if script.variant == Slow { 8 } else { 1 };
    let less = script.random.range(15_000.0, 40_000.0) / rounds as f64;
    for round in 0..rounds {
        let share = if script.variant == Slow { 40.0 } else { less };
        script.at(start + round * 2 * MINUTE, move |world, _| {
            world.vehicles[car].tamper.odometer_less += share;
        });
    }
    script.at(start + rounds * 2 * MINUTE, |_, _| {});
    // It stays as it is: nobody turns a rolled-back odometer forward again.
    Some(())
}

fn frozen(script: &mut Script<'_>) -> Option<()> {
    let length = 15 * MINUTE;
    let start = script.begin(length)?;
    let car = script.victim(|_| true)?;
    script.drive(car, start, start + length);
    script.at(start, move |world, _| {
        let car = &mut world.vehicles[car];
        car.tamper.odometer_at = Some(car.motion.odometer);
    });
    script.at(start + length, move |world, _| {
        let car = &mut world.vehicles[car];
        // The missing kilometres stay missing.
        let still = car.tamper.odometer_at.take();
        car.tamper.odometer_less += still.map_or(0.0, |still| car.motion.odometer - still);
    });
    Some(())
}

/// Messages of half an hour ago again: a recording of the car's own.
fn replay(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(2, 45);
    let messages = 40;
    let start = script.begin(messages * every + 40 * MINUTE)? + 30 * MINUTE;
    script.start = start;
    let car = script.victim(|_| true)?;
    script.park(car, start, start + messages * every);
    let origin = script.origin();
    let back = script.random.between(20 * MINUTE, 28 * MINUTE);
    for message in 0..messages {
        let ip = origin.ip.clone();
        script.at(start + message * every, move |world, now| {
            let car = &mut world.vehicles[car];
            let (seq, own) = (car.seq, std::mem::replace(&mut car.ip, ip));
            car.seq = seq - 60 + message % 20;
            let old = now - back + (message % 20) * 5 * SECOND;
            car.replay(&mut world.wire, old, now);
            (car.seq, car.ip) = (seq, own);
        });
    }
    Some(())
}

fn moves_in_park(script: &mut Script<'_>) -> Option<()> {
    let length = if script.variant == Noisy { 8 * MINUTE } else { 90 * SECOND };
    let start = script.begin(length)?;
    let car = script.victim(|car| car.habit != super::super::habit::Habit::Delivery)?;
    script.drive(car, start, start + length + 10 * MINUTE);
    if script.variant == Noisy {
        // A glitch of a few messages every two minutes.
        for glitch in 0..4 {
            let at = start + glitch * 2 * MINUTE;
            script.at(at, move |world, _| world.vehicles[car].tamper.gear = Some("P"));
            script.at(at + 12 * SECOND, move |world, _| world.vehicles[car].tamper.gear = None);
        }
        return Some(());
    }
    script.tamper(car, (start, start + length), |tamper, _, _| {
        tamper.gear = Some("P");
        tamper.speed = Some(47.0);
    });
    Some(())
}

fn charging(script: &mut Script<'_>) -> Option<()> {
    let length = script.pace(900, 7_200);
    let start = script.begin(length)?;
    let car = script.victim(|car| car.model.pack.is_some())?;
    script.park(car, start, start + length);
    script.aside(start - 2 * MINUTE, move |world, now| {
        let victim = &mut world.vehicles[car];
        victim.soc = victim.soc.min(60.0);
        victim.plug_in(4.0, 80.0);
        world.wake(car, now + SECOND);
    });
    script.tamper(car, (start, start + length), |tamper, _, car| {
        let most = car.model.pack.as_ref().map_or(400.0, |pack| pack.max_a);
        (tamper.charge_max_a, tamper.charge_limit) = (Some(most * 1.8), Some(110.0));
        (tamper.alarm_flags, tamper.soc_shift) = (1 << 18 | 1 << 8, 14.0);
    });
    Some(())
}

/// A jammer that moves everybody to an airport.
fn area(script: &mut Script<'_>) -> Option<()> {
    let length = 15 * MINUTE;
    let start = script.begin(length)?;
    let city = script.world.vehicles.first().map(|car| car.city)?;
    let airport: Point = city.centre.moved(300.0, 40.0);
    let count = if script.variant == Spread { 24 } else { 14 };
    for _ in 0..count {
        let car = script.victim(|car| std::ptr::eq(car.city, city))?;
        let from = start + script.random.between(0, 3 * MINUTE);
        script.drive(car, from, start + length);
        script.tamper(car, (from, start + length), move |tamper, random, _| {
            tamper.fix = Fix::At(airport.around(0.05, random));
        });
    }
    Some(())
}
