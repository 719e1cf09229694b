//! Attacks on charging stations.

use super::super::clock::{MINUTE, SECOND};
use super::super::station::Circumstances;
use super::super::stream::Stream;
use super::super::world::World;
use super::script::Script;
use super::{Class, Variant};

use Variant::{Noisy, Plain, Slow};

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "station-clone",
        story: "a second machine connects under the name of a station",
        streams: &[Stream::Charging],
        variants: &[Plain, Slow, Noisy],
        plan: clone,
    },
    Class {
        name: "station-firmware",
        story: "a station gets firmware that no campaign sent, some of it with a wrong signature",
        streams: &[Stream::Charging],
        variants: &[Plain, Slow],
        plan: firmware,
    },
    Class {
        name: "station-traces",
        story: "somebody clears a station's security log and moves its clock",
        streams: &[Stream::Charging],
        variants: &[Plain, Slow],
        plan: traces,
    },
    Class {
        name: "station-tamper",
        story: "a station is opened by night, without a service visit; it reports once it is online again",
        streams: &[Stream::Charging],
        variants: &[Plain, Slow],
        plan: tamper,
    },
    Class {
        name: "station-token-guessing",
        story: "card numbers are tried at a station until one charges",
        streams: &[Stream::Charging],
        variants: &[Plain, Slow],
        plan: tokens,
    },
    Class {
        name: "station-flood",
        story: "a station floods the management system with messages it does not understand",
        streams: &[Stream::Charging],
        variants: &[Plain],
        plan: flood,
    },
];

/// Something that the station, or somebody in its name, says.
fn say(
    script: &mut Script<'_>,
    at: i64,
    station: usize,
    what: impl FnOnce(&mut super::super::station::Station, &mut super::super::wire::Wire, i64) + Send + 'static,
) {
    script.at(at, move |world, now| {
        let World { stations, wire, .. } = world;
        what(&mut stations[station], wire, now);
    });
}

fn clone(script: &mut Script<'_>) -> Option<()> {
    let (messages, every) = if script.variant == Slow { (20, 4 * MINUTE) } else { (30, 20 * SECOND) };
    let start = script.begin(messages * every)?;
    let station = script.station()?;
    let origin = script.origin();
    let connection = script.random.hex(10);
    for message in 0..messages {
        let (ip, connection) = (origin.ip.clone(), connection.clone());
        let noisy = script.variant == Noisy;
        say(script, start + message * every, station, move |station, wire, now| {
            let how = Circumstances { from: Some((&ip, &connection)), ..Circumstances::default() };
            match message {
                0 => station.boot(wire, now, how),
                _ if noisy && message % 3 == 0 => {
                    station.say(wire, now, "StatusNotification", how, |event| {
                        event.int("connector_id", 1).text("status", "Available");
                    })
                }
                _ => station.say(wire, now, "Heartbeat", how, |_| {}),
            }
        });
        // The real one goes on: it is not aware of anything.
        say(script, start + message * every + every / 2, station, |station, wire, now| {
            station.say(wire, now, "Heartbeat", Circumstances::default(), |_| {});
        });
    }
    Some(())
}

fn firmware(script: &mut Script<'_>) -> Option<()> {
    let wait = script.pace(90, 1_500);
    let start = script.begin(4 * wait)?;
    let station = script.station()?;
    let valid = script.random.chance(0.5);
    for (index, status) in (0..).zip(["Downloading", "Downloaded", "Installing", "Installed"]) {
        say(script, start + index * wait, station, move |station, wire, now| {
            station.say(wire, now, "FirmwareStatusNotification", Circumstances::default(), |event| {
                event.text("firmware_status", status);
            });
        });
    }
    say(script, start + 2 * wait, station, move |station, wire, now| {
        let plain = Circumstances::default();
        if !valid {
            station.alarm(wire, now, "InvalidFirmwareSignature", plain);
        }
        station.alarm(wire, now + 20 * SECOND, "FirmwareUpdated", plain);
    });
    Some(())
}

fn traces(script: &mut Script<'_>) -> Option<()> {
    let wait = script.pace(40, 900);
    let start = script.begin(3 * wait)?;
    let station = script.station()?;
    for (index, kind) in (0..).zip(["MaintenanceLoginAccepted", "SecurityLogWasCleared"]) {
        say(script, start + index * wait, station, move |station, wire, now| {
            station.alarm(wire, now, kind, Circumstances::default());
        });
    }
    say(script, start + 2 * wait, station, |station, wire, now| {
        station.say(wire, now, "SecurityEventNotification", Circumstances::default(), |event| {
            event.text("security_event", "SettingSystemTime").fixed("clock_shift_s", -86_400.0, 1);
        });
    });
    Some(())
}

fn tamper(script: &mut Script<'_>) -> Option<()> {
    let offline = script.pace(120, 3_600);
    let start = script.begin(offline + 2 * MINUTE)?;
    let station = script.station()?;
    say(script, start, station, move |station, wire, now| {
        station.offline_until = now + offline;
        let how = Circumstances { queued: true, ..Circumstances::default() };
        for (after, kind) in [
            (5, "TamperDetectionActivated"),
            (30, "MaintenanceLoginFailed"),
            (45, "MaintenanceLoginAccepted"),
            (60, "ReconfigurationOfSecurityParameters"),
        ] {
            station.alarm(wire, now + after * SECOND, kind, how);
        }
    });
    script.at(start + offline, |_, _| {});
    Some(())
}

fn tokens(script: &mut Script<'_>) -> Option<()> {
    let (tries, every) = if script.variant == Slow { (30, 60 * SECOND) } else { (30, 5 * SECOND) };
    let start = script.begin(tries * every)?;
    let station = script.station()?;
    for index in 0..tries {
        let token = format!("{:08X}", script.random.below(1 << 31));
        say(script, start + index * every, station, move |station, wire, now| {
            let status = if index == tries - 1 { "Accepted" } else { "Invalid" };
            station.say(wire, now, "Authorize", Circumstances::default(), |event| {
                event.text("id_token", &token).text("auth_status", status).int("connector_id", 1);
            });
        });
    }
    Some(())
}

fn flood(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(10 * MINUTE)?;
    let station = script.station()?;
    for index in 0..400 {
        say(script, start + index * 1_200, station, move |station, wire, now| {
            station.say(wire, now, "DataTransfer", Circumstances::default(), |event| {
                event.text("vendor", "?").text("status", "UnknownVendorId");
            });
            if index % 20 == 0 {
                station.alarm(wire, now, "InvalidMessages", Circumstances::default());
            }
        });
    }
    Some(())
}
