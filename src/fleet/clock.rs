//! Simulated time: milliseconds since 1970, UTC; calendars; and the clocks of devices, which are wrong.

use super::json::push_digits;
use super::random::Random;

/// A second.
pub const SECOND: i64 = 1_000;
/// A minute.
pub const MINUTE: i64 = 60 * SECOND;
/// An hour.
pub const HOUR: i64 = 60 * MINUTE;
/// A day.
pub const DAY: i64 = 24 * HOUR;

/// Year, month and day (H. Hinnant, chrono-compatible low-level date algorithms).
fn civil(days: i64) -> (i64, u64, u64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month.unsigned_abs(), day.unsigned_abs())
}

/// Appends a time as RFC 3339, with or without milliseconds.
pub fn push_rfc3339(bytes: &mut Vec<u8>, ms: i64, millis: bool) {
    let (year, month, day) = civil(ms.div_euclid(DAY));
    let of_day = ms.rem_euclid(DAY).unsigned_abs();
    push_digits(bytes, year.unsigned_abs(), 4);
    for (mark, part) in [
        (b'-', month),
        (b'-', day),
        (b'T', of_day / 3_600_000),
        (b':', of_day / 60_000 % 60),
        (b':', of_day / 1_000 % 60),
    ] {
        bytes.push(mark);
        push_digits(bytes, part, 2);
    }
    if millis {
        bytes.push(b'.');
        push_digits(bytes, of_day % 1_000, 3);
    }
    bytes.push(b'Z');
}

/// The hour of the day at a place whose clocks are `offset` hours ahead of UTC, 0 to below 24.
pub fn hour(ms: i64, offset: i64) -> f64 {
    (ms + offset * HOUR).rem_euclid(DAY) as f64 / HOUR as f64
}

/// Whether it is Saturday or Sunday there.
pub fn weekend(ms: i64, offset: i64) -> bool {
    // 1970-01-01 was a Thursday.
    ((ms + offset * HOUR).div_euclid(DAY) + 3).rem_euclid(7) >= 5
}

/// What the clock of a device shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DeviceClock {
    /// Right at an instant but for an offset, then running too fast or too slow.
    Running {
        /// How far ahead it was, in milliseconds.
        ahead: i64,
        /// Parts in a million too fast.
        drift: f64,
        /// When.
        at: i64,
    },
    /// Without a battery: counts on from the year 2000 since its unit was built in.
    Dead {
        /// What stands for the first of January 2000.
        epoch: i64,
    },
}

/// 2000-01-01.
const YEAR_2000: i64 = 946_684_800_000;

impl DeviceClock {
    /// Almost all are right to a second; some are minutes off, very few are dead.
    pub fn random(random: &mut Random, now: i64) -> DeviceClock {
        let kind = random.unit();
        let drift = random.normal() * 20.0;
        let ahead = match kind {
            ..0.004 => return DeviceClock::Dead { epoch: now - random.between(DAY, 90 * DAY) },
            ..0.010 => random.between(30 * SECOND, 20 * MINUTE),
            ..0.030 => random.between(-10 * MINUTE, -10 * SECOND),
            _ => (random.normal() * 300.0) as i64,
        };
        DeviceClock::Running { ahead, drift, at: now }
    }

    /// What it shows.
    pub fn read(self, now: i64) -> i64 {
        match self {
            // Once a day the unit asks what time it is.
            DeviceClock::Running { ahead, drift, at } => {
                now + ahead + ((now - at).rem_euclid(DAY) as f64 * drift / 1e6) as i64
            }
            DeviceClock::Dead { epoch } => YEAR_2000 + (now - epoch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_are_written_as_they_are_read(ms in 0..7_258_118_399_999i64) {
            let mut text = Vec::new();
            push_rfc3339(&mut text, ms, true);
            let read = Timestamp::parse_rfc3339(std::str::from_utf8(&text).unwrap()).unwrap();
            prop_assert_eq!(read.millis(), ms);
        }
    }

    #[test]
    fn days_and_hours_are_local() {
        let monday = 1_748_822_400_000; // 2025-06-02T00:00:00Z
        assert_eq!(hour(monday, 2), 2.0);
        assert_eq!(hour(monday, -5), 19.0);
        assert!(weekend(monday, -5) && !weekend(monday, 0));
    }

    #[test]
    fn most_clocks_are_right_and_some_are_not() {
        let mut random = Random::new(1, "clocks", 0);
        let now = 1_748_822_400_000;
        let off: Vec<i64> =
            (0..5_000).map(|_| DeviceClock::random(&mut random, now).read(now) - now).collect();
        let count = |fits: fn(&i64) -> bool| off.iter().filter(|off| fits(off)).count();
        assert!(count(|off| off.abs() < 2_000) > 4_750);
        assert!(count(|off| *off > 29_000) > 10 && count(|off| (-600_001..-9_000).contains(off)) > 50);
        assert!(count(|off| *off < -20 * 365 * DAY) > 5);
    }

    #[test]
    fn a_clock_drifts_and_a_dead_one_is_decades_off() {
        let clock = DeviceClock::Running { ahead: 200, drift: 50.0, at: 1_000 };
        assert_eq!(clock.read(1_000 + 1_000_000), 1_000 + 1_000_000 + 200 + 50);
        let dead = DeviceClock::Dead { epoch: 5_000 };
        assert_eq!(dead.read(6_000), YEAR_2000 + 1_000);
    }
}
