//! Charging stations and their visitors, as the management system logs them (OCPP 1.6).

use super::agenda::Turn;
use super::clock::{DAY, HOUR, MINUTE, SECOND, hour};
use super::json::Json;
use super::place::{CITIES, City, address};
use super::random::Random;
use super::stream::Stream;
use super::wire::Wire;
use super::world::World;

/// A station with two connectors.
pub(super) struct Station {
    pub id: String,
    pub city: &'static City,
    pub ip: String,
    pub connection: String,
    pub vendor: &'static str,
    pub model: &'static str,
    pub serial: String,
    pub firmware: &'static str,
    /// Offline before this time: messages are queued.
    pub offline_until: i64,
    next_visit: i64,
    next_heartbeat: i64,
    kw: f64,
    message: u64,
    meter_wh: f64,
    transactions: u64,
    pub random: Random,
}

const MAKERS: [(&str, &str, f64); 3] =
    [("Voltara", "VX-150", 150.0), ("Voltara", "VX-50", 50.0), ("Ampelos", "Duo 22", 22.0)];
const FIRMWARE: [&str; 3] = ["3.1.4", "3.2.0", "3.2.1"];

/// What the system knows about a message's circumstances.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Circumstances<'a> {
    /// Queued while the station was offline.
    pub queued: bool,
    pub campaign: Option<&'a str>,
    pub work_order: Option<&'a str>,
    /// Another end than the station's own.
    pub from: Option<(&'a str, &'a str)>,
    /// From the system to the station, by this operator.
    pub out: Option<&'a str>,
}

impl Station {
    /// The `index`-th station.
    pub fn new(seed: u64, index: usize, now: i64) -> Station {
        let mut random = Random::new(seed, "station", index as u64);
        let city = &CITIES[index % CITIES.len()];
        let (vendor, model, kw) = *random.pick(&MAKERS);
        Station {
            id: format!("CP-{}-{index:04}", city.region),
            city,
            ip: address(city.network, &mut random),
            connection: random.hex(10),
            vendor,
            model,
            serial: format!("{}{:07}", &vendor[..2].to_uppercase(), random.below(10_000_000)),
            firmware: FIRMWARE[random.index(FIRMWARE.len())],
            offline_until: 0,
            next_visit: now + random.wait(3.0 * HOUR as f64),
            next_heartbeat: now + random.between(0, 5 * MINUTE),
            kw,
            message: random.below(1_000_000),
            meter_wh: random.range(1e6, 9e7),
            transactions: 0,
            random,
        }
    }

    /// Its next turn.
    pub fn wake(&self) -> i64 {
        self.next_visit.min(self.next_heartbeat)
    }

    /// Logs a message of an action; `fill` adds what the payload says.
    pub fn say(
        &mut self,
        wire: &mut Wire,
        at: i64,
        action: &str,
        how: Circumstances<'_>,
        fill: impl FnOnce(&mut Json),
    ) {
        self.message += 1;
        let queued = how.queued || (at < self.offline_until && how.out.is_none());
        let received = at.max(self.offline_until) + 40 + self.random.between(0, 120);
        let (ip, connection) = how.from.unwrap_or((&self.ip, &self.connection));
        let mut event = wire.event();
        event.text("station_id", &self.id).int("ts", at).int("received_at", received);
        event.text("connection_id", connection).text("src_ip", ip).text("ocpp_version", "1.6");
        event.int("security_profile", 2).text("site_id", &self.id[..self.id.len() - 1]);
        event.text("region", self.city.region);
        event.text("direction", if how.out.is_some() { "out" } else { "in" }).text("message_type", "call");
        event.text("message_id", &format!("m-{:x}", self.message)).text("action", action);
        event.maybe("operator_id", how.out.filter(|operator| !operator.is_empty()));
        event.flag("is_queued", queued).maybe("campaign_id", how.campaign);
        event.maybe("work_order_id", how.work_order);
        fill(&mut event);
        wire.send(Stream::Charging, &self.id, received, event);
    }

    /// A security event.
    pub fn alarm(&mut self, wire: &mut Wire, at: i64, kind: &str, how: Circumstances<'_>) {
        self.say(wire, at, "SecurityEventNotification", how, |event| {
            event.text("security_event", kind);
        });
    }

    /// Starts anew.
    pub fn boot(&mut self, wire: &mut Wire, at: i64, how: Circumstances<'_>) {
        if how.from.is_none() {
            self.connection = self.random.hex(10);
        }
        let (vendor, model, serial, firmware) = (self.vendor, self.model, self.serial.clone(), self.firmware);
        self.say(wire, at, "BootNotification", how, |event| {
            event.text("vendor", vendor).text("model", model).text("serial_number", &serial);
            event.text("firmware_version", firmware).text("status", "Accepted");
        });
    }

    /// A heartbeat, and once in a while what else happens to a machine in the street.
    fn beat(&mut self, wire: &mut Wire, now: i64) {
        let plain = Circumstances::default();
        self.say(wire, now, "Heartbeat", plain, |_| {});
        match self.random.unit() {
            ..0.000_4 => {
                let length = self.random.wait(25.0 * MINUTE as f64).min(6 * HOUR);
                self.offline_until = now + length;
            }
            ..0.000_8 => {
                self.boot(wire, now + 30 * SECOND, plain);
                self.alarm(wire, now + 31 * SECOND, "StartupOfTheDevice", plain);
            }
            ..0.001_2 => {
                let work_order = format!("sv-{}", self.random.hex(6));
                let how = Circumstances { work_order: Some(&work_order), ..plain };
                self.alarm(wire, now + 10 * SECOND, "MaintenanceLoginAccepted", how);
            }
            ..0.002_2 => {
                let shift = self.random.normal() * 0.8;
                self.say(wire, now + SECOND, "SecurityEventNotification", plain, |event| {
                    event.text("security_event", "SettingSystemTime").fixed("clock_shift_s", shift, 1);
                });
            }
            ..0.002_6 => self.alarm(wire, now + SECOND, "InvalidMessages", plain),
            _ => {}
        }
    }

    /// A visitor charges: most cars here are not of the fleet.
    fn visit(&mut self, wire: &mut Wire, now: i64) -> i64 {
        let plain = Circumstances::default();
        let token = format!("{:08X}", self.random.below(1 << 31));
        let connector = 1 + self.random.between(0, 2);
        let refused = self.random.chance(0.03);
        let status = if refused { "Invalid" } else { "Accepted" };
        let authorize = |event: &mut Json| {
            event.text("id_token", &token).text("auth_status", status).int("connector_id", connector);
        };
        self.say(wire, now, "Authorize", plain, authorize);
        if refused {
            return now + MINUTE;
        }
        self.transactions += 1;
        let transaction = format!("{}-{}", self.id, self.transactions);
        let mut at = now + self.random.between(4 * SECOND, 30 * SECOND);
        let meter = self.meter_wh;
        self.say(wire, at, "StartTransaction", plain, |event| {
            event.text("id_token", &token).int("connector_id", connector).fixed("energy_wh", meter, 0);
            event.text("transaction_id", &transaction).text("auth_status", "Accepted");
        });
        let end = at + self.random.between(12 * MINUTE, 75 * MINUTE);
        let watts = self.kw * 1_000.0 * self.random.range(0.35, 0.95);
        while at + 5 * MINUTE < end {
            at += 5 * MINUTE;
            self.meter_wh += watts / 12.0;
            let meter = self.meter_wh;
            self.say(wire, at, "MeterValues", plain, |event| {
                event.int("connector_id", connector).text("transaction_id", &transaction);
                event.fixed("energy_wh", meter, 0).fixed("power_w", watts, 0);
                event.fixed("voltage_v", 400.0, 0).fixed("current_a", watts / 400.0, 1);
            });
        }
        let meter = self.meter_wh;
        self.say(wire, end, "StopTransaction", plain, |event| {
            event.text("id_token", &token).text("transaction_id", &transaction).fixed("energy_wh", meter, 0);
        });
        end
    }

    fn act(&mut self, wire: &mut Wire, now: i64) {
        if now >= self.next_heartbeat {
            self.beat(wire, now);
            self.next_heartbeat = now + 5 * MINUTE;
        }
        if now >= self.next_visit {
            let end = self.visit(wire, now);
            let busy = if (7.0..22.0).contains(&hour(now, self.city.hours)) { 1.6 } else { 9.0 };
            self.next_visit = end + self.random.wait(busy * HOUR as f64).min(DAY);
        }
    }
}

impl World {
    /// A station sends its heartbeat or serves a visitor.
    pub(super) fn station_turn(&mut self, index: usize, now: i64) {
        let station = &mut self.stations[index];
        station.act(&mut self.wire, now);
        self.agenda.note(station.wake(), Turn::Station(index));
    }
}
