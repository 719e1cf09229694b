//! What a car's own intrusion detection reports, on quiet days.

use super::agenda::Turn;
use super::clock::{HOUR, SECOND};
use super::random::Random;
use super::stream::Stream;
use super::vehicle::{State, Vehicle};
use super::wire::Wire;
use super::world::World;

/// A kind of security event: id and name.
pub(super) type Kind = (i64, &'static str);

pub(super) const ACCESS_PASSED: Kind = (102, "SEV_UDS_SECURITY_ACCESS_SUCCESSFUL");
pub(super) const ACCESS_FAILED: Kind = (103, "SEV_UDS_SECURITY_ACCESS_FAILED");
pub(super) const WRITE_DATA: Kind = (106, "SEV_UDS_WRITE_DATA_SUCCESSFUL");
pub(super) const DOWNLOAD: Kind = (110, "SEV_UDS_REQUEST_UP_DOWNLOAD_SUCCESSFUL");
pub(super) const CLEAR_DTC: Kind = (116, "SEV_UDS_CLEAR_DTC_SUCCESSFUL");
pub(super) const RESET: Kind = (120, "SEV_UDS_ECU_RESET_SUCCESSFUL");
pub(super) const ROUTINE: Kind = (122, "SEV_UDS_ROUTINE_CONTROL_SUCCESSFUL");
pub(super) const BLOCKED_IPV4: Kind = (51, "SEV_FW_PACKET_BLOCKED_IPV4_MISMATCH");
pub(super) const BLOCKED_TCP: Kind = (54, "SEV_FW_PACKET_BLOCKED_TCP_MISMATCH");
pub(super) const BLOCKED_UDP: Kind = (55, "SEV_FW_PACKET_BLOCKED_UDP_MISMATCH");
pub(super) const CAN_PASSIVE: Kind = (32_784, "SEV_CAN_ERRORSTATE_PASSIVE");
pub(super) const CAN_BUS_OFF: Kind = (32_785, "SEV_CAN_ERRORSTATE_BUSOFF");
pub(super) const SECOC_FAILED: Kind = (32_800, "SEV_SECOC_MAC_VERIFICATION_FAILED");
pub(super) const SECOC_FRESHNESS: Kind = (32_801, "SEV_SECOC_FRESHNESS_NOT_AVAILABLE");
pub(super) const NO_BUFFER: Kind = (32_816, "SEV_IDSM_NO_EVENT_BUFFER_AVAILABLE");
pub(super) const TRAFFIC_LIMIT: Kind = (32_817, "SEV_IDSM_TRAFFIC_LIMITATION_EXCEEDED");
pub(super) const V2X_REFUSED: Kind = (32_832, "SEV_V2X_MESSAGE_REFUSED");

/// PDUs that are authenticated on the bus.
pub(super) const PDUS: [&str; 5] =
    ["BrakeRequest", "SteeringAngle", "VehicleSpeed", "DoorLock", "Immobiliser"];

/// Details of a report, beyond what all have.
#[derive(Clone, Debug, Default)]
pub(super) struct Details {
    pub bus: Option<&'static str>,
    pub can_id: Option<i64>,
    pub pdu: Option<&'static str>,
    pub dtc: Option<&'static str>,
    pub service: Option<i64>,
    pub did: Option<i64>,
    pub client_address: Option<i64>,
    pub src: Option<String>,
    pub dst_port: Option<i64>,
    pub mode: Option<&'static str>,
    pub pattern: Option<String>,
    pub peer: Option<String>,
    pub signature_valid: Option<bool>,
}

/// A report of an event that happened so often.
pub(super) fn raise(wire: &mut Wire, now: i64, car: &Vehicle, kind: Kind, ecu: &str, count: i64) {
    report(wire, now, car, kind, ecu, count, &Details::default());
}

/// A report with details.
pub(super) fn report(
    wire: &mut Wire,
    now: i64,
    car: &Vehicle,
    (id, name): Kind,
    ecu: &str,
    count: i64,
    details: &Details,
) {
    // A car without a connection reports once it has one; the order does not matter here.
    let arrival = now.max(car.link.offline_until) + 200 + now % 300;
    let mut event = wire.event();
    event.text("vin", &car.vin).int("ts", car.clock.read(now)).int("received_at", arrival - 20);
    event.text("model", car.model.name).text("region", car.city.region).text("firmware", car.firmware);
    event.int("protocol_version", 2).int("idsm_instance", 17 + ecu.len() as i64);
    event.int("sensor_instance", id % 7).text("ecu", ecu).int("event_id", id).text("event_name", name);
    event.int("count", count).text("reporting_mode", details.mode.unwrap_or("BRIEF"));
    event.flag("signature_valid", details.signature_valid.unwrap_or(true));
    event.maybe("bus", details.bus).maybe("pdu", details.pdu).maybe("dtc", details.dtc);
    event.maybe("src", details.src.as_deref()).maybe("pattern", details.pattern.as_deref());
    event.maybe("peer", details.peer.as_deref());
    let numbers = [
        ("can_id", details.can_id),
        ("service", details.service),
        ("did", details.did),
        ("client_address", details.client_address),
        ("dst_port", details.dst_port),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            event.int(name, number);
        }
    }
    wire.send(Stream::VehicleSecurityEvents, &car.vin, arrival, event);
}

/// The dice of all sentinels.
pub(super) fn first(random: &mut Random, now: i64) -> i64 {
    now + random.wait(14.0 * HOUR as f64)
}

impl World {
    /// Something harmless: a stray packet, a counter that was not in step after a start, a loose plug.
    pub(super) fn sentinel_turn(&mut self, index: usize, now: i64) {
        let World { vehicles, wire, agenda, sentinels, .. } = self;
        let random = &mut sentinels[index];
        agenda.note(first(random, now), Turn::Sentinel(index));
        let car = &vehicles[index];
        if car.tamper.silent {
            return;
        }
        let driving = matches!(car.state, State::Driving(_));
        let bus = Some(*random.pick(&["powertrain", "body", "chassis"]));
        match random.unit() {
            ..0.45 => {
                let src = Some(format!("10.0.{}.{}", random.between(0, 4), random.between(2, 30)));
                let dst_port = Some(*random.pick(&[5_353, 1_900, 30_490, 67]));
                let details = Details { src, dst_port, ..Details::default() };
                let count = random.between(1, 40);
                report(wire, now, car, BLOCKED_UDP, "GW", count, &details);
            }
            ..0.70 => {
                let pdu = Some(*random.pick(&PDUS));
                let details = Details { bus, pdu, ..Details::default() };
                report(wire, now, car, SECOC_FRESHNESS, "BCM", random.between(1, 4), &details);
                if random.chance(0.4) {
                    let later = now + random.between(0, 2 * SECOND);
                    report(wire, later, car, SECOC_FAILED, "BCM", random.between(1, 3), &details);
                }
            }
            ..0.85 if driving => {
                let details = Details { bus, ..Details::default() };
                report(wire, now, car, CAN_PASSIVE, "GW", random.between(1, 3), &details);
            }
            ..0.93 if driving => {
                let pattern = Some(format!("p-{}", random.hex(12)));
                let peer = Some(format!("ps-{}", random.hex(8)));
                let details = Details { pattern, peer, ..Details::default() };
                report(wire, now, car, V2X_REFUSED, "V2X", 1, &details);
            }
            _ => raise(wire, now, car, RESET, "TCU", 1),
        }
    }
}
