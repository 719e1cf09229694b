//! Instants in microseconds, and their RFC 3339 text.

use std::fmt;

/// A span of time in microseconds.
pub type Micros = i64;

/// One second in microseconds.
pub const SECOND: Micros = 1_000_000;

/// An instant in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// 1970-01-01: nothing that a vehicle reports is older.
    pub const EARLIEST: Timestamp = Timestamp(0);
    /// 2200-01-01: nothing that a vehicle reports is as late.
    pub const LATEST: Timestamp = Timestamp(7_258_118_400 * SECOND);

    /// From milliseconds, saturating.
    pub fn from_millis(ms: i64) -> Timestamp {
        Timestamp(ms.saturating_mul(1000))
    }

    /// Milliseconds since 1970, rounded down.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Whether an event may carry this time: from 1970 up to, not including, 2200.
    pub fn is_plausible(self) -> bool {
        Timestamp::EARLIEST <= self && self < Timestamp::LATEST
    }

    /// This instant and `span`, saturating.
    pub fn plus(self, span: Micros) -> Timestamp {
        Timestamp(self.0.saturating_add(span))
    }

    /// This instant less `span`, saturating.
    pub fn minus(self, span: Micros) -> Timestamp {
        Timestamp(self.0.saturating_sub(span))
    }

    /// `2026-11-24T10:32:18.204Z`: always milliseconds, rounded down.
    pub fn rfc3339(self) -> String {
        let ms = self.millis();
        let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
        let (y, m, d) = civil(days);
        format!(
            "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{:03}Z",
            rest / 3_600_000,
            rest / 60_000 % 60,
            rest / 1000 % 60,
            rest % 1000
        )
    }

    /// Year and month, for names such as `fleetwarden-alerts-2026.11`.
    pub fn year_month(self) -> (i64, u32) {
        let (y, m, _) = civil(self.0.div_euclid(86_400 * SECOND));
        (y, m)
    }

    /// Reads RFC 3339: `2026-11-24T10:32:18.204Z`, with any offset, 0 to 9 fraction digits (beyond
    /// microseconds cut),
    /// `t`, `z` and a space for `T` accepted, a leap second read as the second after.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        let b = text.as_bytes();
        let digits = |from: usize, n: usize| -> Option<i64> {
            let mut v = 0i64;
            for c in b.get(from..from + n)? {
                if !c.is_ascii_digit() {
                    return None;
                }
                v = v * 10 + i64::from(c - b'0');
            }
            Some(v)
        };
        let is = |at: usize, any: &[u8]| b.get(at).is_some_and(|c| any.contains(c));
        if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
            return None;
        }
        let (y, mo, d) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
        let (h, mi, s) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
        if !(1..=12).contains(&mo) || d < 1 || d > days_in_month(y, mo) || h > 23 || mi > 59 || s > 60 {
            return None;
        }
        let mut at = 19;
        let mut micros = 0i64;
        if is(at, b".") {
            at += 1;
            let start = at;
            let mut scale = 100_000;
            while b.get(at).is_some_and(u8::is_ascii_digit) {
                micros += digits(at, 1)? * scale;
                scale /= 10;
                at += 1;
            }
            if at == start || at - start > 9 {
                return None;
            }
        }
        let offset = match b.get(at)? {
            b'Z' | b'z' => {
                at += 1;
                0
            }
            sign @ (b'+' | b'-') => {
                let (oh, om) = (digits(at + 1, 2)?, digits(at + 4, 2)?);
                if !is(at + 3, b":") || oh > 23 || om > 59 {
                    return None;
                }
                at += 6;
                (if *sign == b'+' { 1 } else { -1 }) * (oh * 3600 + om * 60)
            }
            _ => return None,
        };
        if at != b.len() {
            return None;
        }
        let seconds = days_from_civil(y, mo, d) * 86_400 + h * 3600 + mi * 60 + s - offset;
        Some(Timestamp(seconds * SECOND + micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

fn days_in_month(y: i64, m: i64) -> i64 {
    match m {
        2 if y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a date in the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date
/// algorithms", `days_from_civil`).
fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((m + 9) % 12) + 2) / 5 + d - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// The date of a day since 1970 (Hinnant, `civil_from_days`).
fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let d = doy - (153 * mp + 2) / 5 + 1;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    let y = yoe + era * 400 + i64::from(m <= 2);
    (y, m as u32, d as u32)
}

/// Reads a duration of the rule language: `90s`, `5m`, `1h30m`; units `ms s m h d w`, more than zero.
pub fn parse_duration(text: &str) -> Option<Micros> {
    let mut total: Micros = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest.get(..digits)?.parse().ok()?;
        let tail = rest.get(digits..)?;
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let unit = match tail.get(..letters)? {
            "ms" => 1000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            "d" => 86_400 * SECOND,
            "w" => 7 * 86_400 * SECOND,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = tail.get(letters..)?;
    }
    (total > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trips() {
        for text in ["1970-01-01T00:00:00.000Z", "2000-02-29T23:59:59.999Z", "2199-12-31T23:59:59.001Z"] {
            assert_eq!(Timestamp::parse_rfc3339(text).unwrap().rfc3339(), text);
        }
        assert_eq!(
            Timestamp::parse_rfc3339("2026-11-24T12:00:00+02:00").unwrap().rfc3339(),
            "2026-11-24T10:00:00.000Z"
        );
        assert_eq!(Timestamp::parse_rfc3339("2026-11-24t10:00:00.1234567z").unwrap().0 % SECOND, 123_456);
    }

    #[test]
    fn what_is_not_rfc3339_is_refused() {
        for text in [
            "",
            "2026-11-24",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-24T10:00:00",
            "2026-11-24T10:00:00.Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T10:00:00Zx",
            "2026-11-24T10:00:00+0200",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90s"), Some(90 * SECOND));
        assert_eq!(parse_duration("1h30m"), Some(5400 * SECOND));
        assert_eq!(parse_duration("250ms"), Some(250_000));
        for bad in ["", "0s", "5", "s", "5 m", "-5m", "5y", "99999999999999999999s", "9999999999999w"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
