//! How a test writes what it expects of an alert's times and numbers.
//!
//! `check` reads it to say what cannot be read, `fleetwarden test` to compare.

use super::notation::offset;
use crate::event::Micros;

/// `+25s`, or `+1h..+2h` with both ends included: after the start of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The first that fits.
    pub from: Micros,
    /// The last that fits.
    pub to: Micros,
}

impl Times {
    /// Reads it; an end before the start is kept as it is, and nothing fits.
    pub fn parse(text: &str) -> Option<Times> {
        let instant = |text: &str| offset(text.trim().strip_prefix('+')?);
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        Some(Times { from: instant(from)?, to: instant(to)? })
    }

    /// Whether a time after the start fits.
    pub fn hold(&self, time: Micros) -> bool {
        (self.from..=self.to).contains(&time)
    }
}

/// `>= 3`, `< 0.5`, `3`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound<'a> {
    sign: &'a str,
    limit: f64,
}

impl Bound<'_> {
    /// Reads it.
    pub fn parse(text: &str) -> Option<Bound<'_>> {
        let text = text.trim();
        let (sign, number) = text.split_at(text.find(|c: char| !"<>=".contains(c))?);
        let limit = number.trim().parse().ok().filter(|limit: &f64| limit.is_finite())?;
        ["", "=", ">=", ">", "<=", "<"].contains(&sign).then_some(Bound { sign, limit })
    }

    /// Whether a number fits.
    pub fn holds(&self, got: f64) -> bool {
        match self.sign {
            ">=" => got >= self.limit,
            ">" => got > self.limit,
            "<=" => got <= self.limit,
            "<" => got < self.limit,
            _ => got == self.limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::time::SECOND;

    #[test]
    fn times() {
        let hold = |text, seconds: i64| Times::parse(text).unwrap().hold(seconds * SECOND);
        assert!(hold("+25s", 25) && !hold("+25s", 26) && hold("+0s", 0));
        assert!(hold("+1h..+2h", 3600) && hold("+1h .. +2h", 7200) && !hold("+1h..+2h", 7201));
        assert!(!hold("+1s..+0s", 0));
        for bad in ["25s", "+25", "+1s..2s", "+1s..+2s..+3s", "", ".."] {
            assert_eq!(Times::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn bounds() {
        let holds = |text, got| Bound::parse(text).unwrap().holds(got);
        assert!(holds(">= 3", 3.0) && !holds("> 3", 3.0) && holds("<0.5", 0.4) && holds("<= 1", 1.0));
        assert!(holds("= 3", 3.0) && holds("3", 3.0) && !holds("3", 4.0) && holds("> -1", 0.0));
        for bad in ["about 3", "=> 3", ">=", "== 3", "> x", "", "> nan"] {
            assert_eq!(Bound::parse(bad), None, "{bad}");
        }
    }
}
