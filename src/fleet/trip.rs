//! How a car moves: speed, way and direction agree, since one is the integral of the other.

use super::place::Point;
use super::random::Random;

/// Where and how fast a car is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Motion {
    pub at: Point,
    /// Degrees, clockwise from north.
    pub heading: f64,
    /// km/h.
    pub speed: f64,
    /// km in all.
    pub odometer: f64,
    /// km since the last start.
    pub trip_km: f64,
}

/// A way to somewhere.
#[derive(Clone, Debug)]
pub(super) struct Trip {
    to: Point,
    /// The speed that the driver wants, in km/h.
    cruise: f64,
    /// Seconds until the driver wants another.
    change_in: f64,
    /// How far the road turns away from the straight line, in degrees.
    wander: f64,
    /// Whether it is at a red light.
    waiting: bool,
    /// Fastest for this car.
    fastest: f64,
}

/// Highest acceleration and braking, in km/h per second.
const ACCELERATION: f64 = 6.5;
const BRAKING: f64 = 9.0;

impl Trip {
    /// A way to a point for a car that goes no faster.
    pub fn new(to: Point, fastest: f64) -> Trip {
        Trip { to, cruise: 30.0, change_in: 10.0, wander: 0.0, waiting: false, fastest }
    }

    /// Drives on for so many seconds; true once it stands at the end. The speed changes evenly within the
    /// step, so the way is the mean of both speeds, by time.
    pub fn advance(&mut self, motion: &mut Motion, seconds: f64, random: &mut Random) -> bool {
        let left = motion.at.distance(self.to);
        self.change_in -= seconds;
        if self.change_in <= 0.0 {
            self.choose(left, random);
        }
        let arriving = left < (motion.speed * seconds / 3600.0).max(0.04);
        // v² = 2·a·s, in km/h and km, with 1.5 m/s² of comfortable braking.
        let stoppable = (left * 38_880.0).sqrt();
        let wanted = if arriving { 0.0 } else { self.cruise.min(stoppable.max(8.0)) };
        let before = motion.speed;
        let lowest = if arriving { 0.0 } else { (before - BRAKING * seconds).max(0.0) };
        motion.speed = wanted.clamp(lowest, before + ACCELERATION * seconds);
        let km = f64::midpoint(before, motion.speed) * seconds / 3600.0;
        self.wander = 0.85 * self.wander + random.normal() * 7.0;
        let bend = if left < 0.4 { 0.0 } else { self.wander.clamp(-70.0, 70.0) };
        if km > 0.0 {
            motion.heading = (motion.at.bearing(self.to) + bend).rem_euclid(360.0);
            motion.at = motion.at.moved(km, motion.heading);
            motion.odometer += km;
            motion.trip_km += km;
        }
        arriving && motion.speed == 0.0
    }

    fn choose(&mut self, left: f64, random: &mut Random) {
        self.waiting = !self.waiting && left < 12.0 && random.chance(0.25);
        if self.waiting {
            (self.cruise, self.change_in) = (0.0, random.range(8.0, 45.0));
            return;
        }
        let (low, high) = match left {
            ..3.0 => (22.0, 56.0),
            ..14.0 => (35.0, 92.0),
            _ => (80.0, 132.0),
        };
        self.cruise = random.range(low, high).min(self.fastest);
        self.change_in = random.range(15.0, 80.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trip_arrives_and_its_way_is_the_integral_of_its_speed() {
        for seed in 0..50 {
            let mut random = Random::new(seed, "trip", 0);
            let at = Point { lat: 48.0, lon: 11.0 };
            let to = at.moved(random.range(0.2, 60.0), random.range(0.0, 360.0));
            let straight = at.distance(to);
            let mut motion = Motion { at, heading: 0.0, speed: 0.0, odometer: 100.0, trip_km: 0.0 };
            let mut trip = Trip::new(to, 150.0);
            let (mut way, mut steps) = (0.0, 0);
            loop {
                let before = motion.speed;
                let done = trip.advance(&mut motion, 5.0, &mut random);
                way += f64::midpoint(before, motion.speed) * 5.0 / 3600.0;
                assert!((0.0..=140.0).contains(&motion.speed));
                steps += 1;
                if done {
                    break;
                }
                assert!(steps < 5_000, "seed {seed} never arrives");
            }
            assert!((motion.odometer - 100.0 - way).abs() < 1e-6 && motion.speed == 0.0);
            assert!(motion.at.distance(to) < 0.4, "seed {seed}: {} km off", motion.at.distance(to));
            assert!(way >= straight - 0.4 && way < 1.8 * straight + 0.4, "{way} for {straight}");
        }
    }
}
