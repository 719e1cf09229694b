//! The way from a car to the broker: latency, dead zones with their backlogs, and messages sent twice.

use super::clock::{HOUR, MINUTE, SECOND};
use super::json::Json;
use super::place::Carrier;
use super::random::Random;
use super::stream::Stream;
use super::wire::Wire;

/// Messages that a unit keeps while it is offline; newer ones are lost then.
const KEPT: usize = 3_000;

/// The connection of one car.
pub(super) struct Link {
    pub carrier: &'static Carrier,
    /// Offline before this time.
    pub offline_until: i64,
    /// Never lost before this time.
    pub steady_until: i64,
    backlog: Vec<(Stream, Vec<u8>)>,
    /// When the last message arrived: one connection keeps its order.
    last: i64,
    random: Random,
}

impl Link {
    /// A connection, online.
    pub fn new(carrier: &'static Carrier, random: Random) -> Link {
        Link { carrier, offline_until: 0, steady_until: 0, backlog: Vec::new(), last: 0, random }
    }

    /// Loses its connection for a while, unless it is held.
    pub fn lose(&mut self, now: i64, until: i64) {
        if now >= self.steady_until {
            self.offline_until = self.offline_until.max(until);
        }
    }

    /// Connects it, and holds the connection.
    pub fn hold(&mut self, now: i64, until: i64) {
        self.offline_until = self.offline_until.min(now);
        self.steady_until = self.steady_until.max(until);
    }

    /// A dead zone on the road, now and then.
    pub fn maybe_lose_driving(&mut self, now: i64) {
        if self.random.chance(0.000_8) {
            let length = self.random.wait(4.0 * MINUTE as f64).min(40 * MINUTE);
            self.lose(now, now + length);
        }
    }

    /// Garages below ground, now and then; a few cars stay away for most of a day.
    pub fn maybe_lose_parked(&mut self, now: i64) {
        if self.random.chance(0.08) {
            let mean = if self.random.chance(0.1) { 10.0 } else { 1.5 };
            let length = self.random.wait(mean * HOUR as f64).min(20 * HOUR);
            self.lose(now, now + length);
        }
    }

    /// Whether there is a connection.
    pub fn online(&self, now: i64) -> bool {
        now >= self.offline_until
    }

    /// Sends what has been kept, if there is a connection.
    pub fn flush(&mut self, wire: &mut Wire, vin: &str, now: i64) {
        if !self.online(now) || self.backlog.is_empty() {
            return;
        }
        for (stream, payload) in std::mem::take(&mut self.backlog) {
            let arrival = (now + self.carrier.latency).max(self.last + 15);
            self.last = arrival;
            wire.send_bytes(stream, vin, arrival, payload);
        }
    }

    /// Sends a message of the car, or keeps it.
    pub fn send(&mut self, wire: &mut Wire, stream: Stream, vin: &str, now: i64, event: Json) {
        if !self.online(now) {
            if self.backlog.len() < KEPT {
                self.backlog.push((stream, event.finish()));
            }
            return;
        }
        self.flush(wire, vin, now);
        let arrival = self.arrival(now);
        let payload = event.finish();
        if self.random.chance(self.carrier.resend) {
            let again = arrival + self.random.between(300, 25 * SECOND);
            wire.send_bytes(stream, vin, again, payload.clone());
        }
        wire.send_bytes(stream, vin, arrival, payload);
    }

    /// When something that leaves now arrives.
    pub fn arrival(&mut self, now: i64) -> i64 {
        let mut latency = self.carrier.latency / 2 + self.random.wait(self.carrier.latency as f64 / 2.0);
        if self.random.chance(0.002) {
            latency += self.random.between(SECOND, 8 * SECOND);
        }
        self.last = (now + latency).max(self.last + 1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::CARRIERS;
    use super::*;

    #[test]
    fn what_is_said_offline_arrives_later_in_order() {
        let mut wire = Wire::default();
        let mut link = Link::new(&CARRIERS[0], Random::new(1, "link", 0));
        link.lose(0, 10_000);
        for now in [0, 5_000, 10_000] {
            let mut event = wire.event();
            event.int("ts", now);
            link.send(&mut wire, Stream::Telemetry, "V1", now, event);
        }
        let mut seen = Vec::new();
        while let Some(sent) = wire.take() {
            assert!(sent.broker_ms > 10_000);
            seen.push(String::from_utf8(sent.payload.to_vec()).unwrap());
        }
        assert_eq!(seen, ["{\"ts\":0}", "{\"ts\":5000}", "{\"ts\":10000}"]);
    }

    #[test]
    fn a_bad_carrier_sends_some_messages_twice() {
        let mut wire = Wire::default();
        let mut link = Link::new(&CARRIERS[2], Random::new(2, "link", 0));
        for n in 0..5_000 {
            let event = wire.event();
            link.send(&mut wire, Stream::Telemetry, "V1", n * 1_000, event);
        }
        assert!((5_010..5_120).contains(&wire.len()), "{}", wire.len());
    }
}
