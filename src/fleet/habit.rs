//! When people set out: rates of departures by hour, place and kind of driver.

use super::clock::{HOUR, hour, weekend};
use super::random::Random;

/// What a car is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// To work and back, and errands.
    Commuter,
    /// Errands.
    Leisure,
    /// Deliveries.
    Delivery,
}

/// Where a car stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its own street, or the depot of a van.
    Home,
    Work,
    /// Shops, friends, customers.
    Away,
    /// At a charging station.
    Station,
}

/// More departures an hour than any rate below.
const HIGHEST: f64 = 6.0;

impl Habit {
    /// Departures an hour, at an hour of the day.
    fn rate(self, place: Place, hour: f64, weekend: bool) -> f64 {
        let day = (7.0..22.0).contains(&hour);
        match (self, place) {
            (_, Place::Station) => 0.0,
            (Habit::Delivery, Place::Home) if weekend => 0.02,
            (Habit::Delivery, Place::Home) if (5.5..9.0).contains(&hour) => 1.8,
            (Habit::Delivery, Place::Home) if day => 0.1,
            (Habit::Delivery, Place::Home) => 0.01,
            (Habit::Delivery, _) => 5.0,
            (Habit::Commuter, Place::Home) if !weekend && (6.0..9.5).contains(&hour) => 0.8,
            (Habit::Commuter, Place::Work) if (15.5..19.5).contains(&hour) => 0.8,
            (Habit::Commuter, Place::Work) if (11.5..13.5).contains(&hour) => 0.12,
            (Habit::Commuter, Place::Work) => 0.05,
            (_, Place::Away) if day => 1.2,
            (_, Place::Away) => 0.5,
            (_, _) if (9.0..20.0).contains(&hour) => 0.13,
            (_, _) if day => 0.06,
            (_, _) => 0.006,
        }
    }

    /// The next departure after `now`: a Poisson process of changing rate, thinned (Lewis, Shedler 1979).
    /// At a station it is when the charging ends, so never by itself.
    pub fn departure(self, place: Place, now: i64, hours: i64, random: &mut Random) -> i64 {
        let mut at = now;
        loop {
            at += random.wait(HOUR as f64 / HIGHEST);
            if at > now + 36 * HOUR {
                return at;
            }
            let rate = self.rate(place, hour(at, hours), weekend(at, hours));
            if random.chance(rate / HIGHEST) {
                return at;
            }
        }
    }

    /// Where to, from here.
    pub fn destination(self, place: Place, now: i64, hours: i64, random: &mut Random) -> Place {
        let hour = hour(now, hours);
        match (self, place) {
            (Habit::Delivery, _) if (5.0..17.0).contains(&hour) && random.chance(0.93) => Place::Away,
            (Habit::Commuter, Place::Home) if hour < 12.0 && !weekend(now, hours) => Place::Work,
            (_, Place::Home) => Place::Away,
            (Habit::Delivery, _) => Place::Home,
            (_, _) if random.chance(0.8) => Place::Home,
            (_, _) => Place::Away,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONDAY: i64 = 1_748_822_400_000;

    #[test]
    fn commuters_leave_in_the_morning_and_hardly_at_night() {
        let mut random = Random::new(1, "habit", 0);
        let mut at = |hour: i64| {
            let now = MONDAY + hour * HOUR;
            let leave = |_| Habit::Commuter.departure(Place::Home, now, 0, &mut random) < now + HOUR;
            (0..1_000).map(leave).filter(|leave| *leave).count()
        };
        assert!(at(7) > 400 && at(2) < 30);
        assert_eq!(Habit::Commuter.destination(Place::Home, MONDAY + 7 * HOUR, 0, &mut random), Place::Work);
    }

    #[test]
    fn no_rate_exceeds_the_one_that_is_thinned() {
        for habit in [Habit::Commuter, Habit::Leisure, Habit::Delivery] {
            for place in [Place::Home, Place::Work, Place::Away, Place::Station] {
                for quarter in 0..96 {
                    let rate = |weekend| habit.rate(place, f64::from(quarter) / 4.0, weekend);
                    assert!(rate(true).max(rate(false)) <= HIGHEST);
                }
            }
        }
    }
}
