//! `${…}` in the events of a rule test: repeated lines that are not all alike.
//!
//! Texts in, text out, and where each part of it was written. It knows no JSON. What is drawn at random depends
//! on the test's name, the line, the repetition and the place in the line, and on nothing else.

use std::ops::Range;

use super::offset;
use crate::event::time::SECOND;
use crate::event::{KeyHasher, Micros};

/// What is wrong, and what to do.
type Wrong = (String, &'static str);

/// What `${…}` may name.
pub(super) struct Scope<'a> {
    /// What choices depend on.
    pub seed: &'a str,
    /// The line.
    pub number: usize,
    /// Its repetition.
    pub i: i64,
    /// The name of its loop; empty = none.
    pub name: &'a str,
    /// The value of its loop.
    pub value: i64,
    /// When the event comes, after the start.
    pub at: Micros,
}

/// A text whose `${…}` are replaced.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The text.
    pub text: String,
    /// What each replacement became, and where it was written.
    pieces: Vec<(Range<usize>, Range<usize>)>,
}

impl Made {
    /// Where a byte of the text was written: of a replacement, all of its `${…}`.
    pub fn place(&self, at: usize) -> Range<usize> {
        let (mut made, mut written) = (0, 0);
        for (piece, origin) in self.pieces.iter().take_while(|(piece, _)| piece.start <= at) {
            if piece.contains(&at) {
                return origin.clone();
            }
            (made, written) = (piece.end, origin.end);
        }
        let at = written + at.saturating_sub(made);
        at..at
    }
}

/// Replaces every `${…}`, or says what is wrong with each.
pub(super) fn substitute(text: &str, scope: &Scope<'_>) -> Result<Made, Vec<(Range<usize>, Wrong)>> {
    let (mut made, mut faults) = (Made::default(), Vec::new());
    let (mut from, mut nth) = (0, 0u64);
    while let Some(start) = text[from..].find("${").map(|at| from + at) {
        made.text.push_str(&text[from..start]);
        let Some(end) = text[start..].find('}').map(|at| start + at) else {
            faults.push((start..text.len(), ("\"${\" is not closed".to_owned(), HELP)));
            return Err(faults);
        };
        match evaluate(&text[start + 2..end], scope, nth) {
            Ok(value) => {
                let at = made.text.len();
                made.text.push_str(&value);
                made.pieces.push((at..made.text.len(), start..end + 1));
            }
            Err(wrong) => faults.push((start..end + 1, wrong)),
        }
        from = end + 1;
        nth += 1;
    }
    made.text.push_str(&text[from..]);
    if faults.is_empty() { Ok(made) } else { Err(faults) }
}

fn evaluate(text: &str, scope: &Scope<'_>, nth: u64) -> Result<String, Wrong> {
    let mut parser = Parser { text: text.as_bytes(), at: 0, scope, nth, draws: 0 };
    let value = parser.sum()?;
    match parser.peek() {
        Some(_) => Err((format!("cannot read \"${{{text}}}\""), HELP)),
        None => Ok(value),
    }
}

const HELP: &str = "names i, t and the loop's, + - * / %, brackets, pick(a, b, …), uniform(a, b), normal(mean, \
                    deviation), wave(mean, height, 24h)";

/// Reads one `${…}`. Values are texts. Of whole numbers the result is whole, if one has a point it has one.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    scope: &'a Scope<'a>,
    nth: u64,
    /// How often something was drawn at random.
    draws: u64,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn sum(&mut self) -> Result<String, Wrong> {
        let mut left = self.product()?;
        while let Some(op @ (b'+' | b'-')) = self.peek() {
            self.at += 1;
            left = arithmetic(op, &left, &self.product()?)?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<String, Wrong> {
        let mut left = self.atom()?;
        while let Some(op @ (b'*' | b'/' | b'%')) = self.peek() {
            self.at += 1;
            left = arithmetic(op, &left, &self.atom()?)?;
        }
        Ok(left)
    }

    fn atom(&mut self) -> Result<String, Wrong> {
        match self.peek() {
            Some(b'(') => {
                self.at += 1;
                let value = self.sum()?;
                self.expect(b')')?;
                Ok(value)
            }
            Some(quote @ b'\'') => {
                let start = self.at + 1;
                let end = self.text[start..].iter().position(|b| *b == quote);
                let end = start + end.ok_or_else(|| ("a quote is not closed".to_owned(), HELP))?;
                self.at = end + 1;
                Ok(String::from_utf8_lossy(&self.text[start..end]).into_owned())
            }
            Some(b'-') => {
                self.at += 1;
                arithmetic(b'-', "0", &self.atom()?)
            }
            Some(b) if b.is_ascii_alphanumeric() => {
                let word = self.bare();
                self.word(word)
            }
            _ => Err(("cannot read \"${…}\"".into(), HELP)),
        }
    }

    /// A name or a number.
    fn bare(&mut self) -> String {
        let start = self.at;
        let dots = self.text.get(start).is_some_and(u8::is_ascii_digit);
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || (dots && *b == b'.');
        while self.text.get(self.at).is_some_and(is_part) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }

    fn word(&mut self, word: String) -> Result<String, Wrong> {
        match word.as_str() {
            "i" => Ok(self.scope.i.to_string()),
            "t" if self.scope.at % SECOND == 0 => Ok((self.scope.at / SECOND).to_string()),
            "t" => Ok(shown(self.scope.at as f64 / SECOND as f64)),
            _ if word == self.scope.name => Ok(self.scope.value.to_string()),
            "pick" => {
                let mut choices = self.arguments()?;
                let chosen = (self.draw() % choices.len() as u128) as usize;
                Ok(choices.swap_remove(chosen))
            }
            "uniform" => self.uniform(),
            "normal" => self.normal(),
            "wave" => self.wave(),
            _ if number(&word).is_ok() && word.starts_with(|c: char| c.is_ascii_digit()) => Ok(word),
            _ => Err((format!("unknown name \"{word}\" in \"${{…}}\""), HELP)),
        }
    }

    /// What stands in the brackets of a call.
    fn arguments(&mut self) -> Result<Vec<String>, Wrong> {
        self.expect(b'(')?;
        let mut all = vec![self.sum()?];
        while self.peek() == Some(b',') {
            self.at += 1;
            all.push(self.sum()?);
        }
        self.expect(b')')?;
        Ok(all)
    }

    /// 128 bits that look random.
    fn draw(&mut self) -> u128 {
        let mut hasher = KeyHasher::default();
        hasher.text(self.scope.seed);
        for part in [self.scope.number as i64, self.scope.i, self.scope.value, self.nth as i64] {
            hasher.int(part);
        }
        if self.draws > 0 {
            hasher.int(self.draws as i64);
        }
        self.draws += 1;
        hasher.finish()
    }

    /// A number from 0 to 1, without 1, out of 53 bits.
    fn unit(bits: u64) -> f64 {
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Any number between two, both included if they are whole.
    fn uniform(&mut self) -> Result<String, Wrong> {
        let (a, b, whole) = self.two_numbers("uniform(a, b)")?;
        let unit = Self::unit(self.draw() as u64);
        if a > b {
            return Err((format!("uniform({a}, {b}): the first is the smaller"), HELP));
        }
        Ok(if whole { shown((a + unit * (b - a + 1.0)).floor()) } else { shown(a + unit * (b - a)) })
    }

    /// Normally distributed, by the method of Box and Muller (1958).
    fn normal(&mut self) -> Result<String, Wrong> {
        let (mean, deviation, whole) = self.two_numbers("normal(mean, deviation)")?;
        let bits = self.draw();
        let radius = (-2.0 * (1.0 - Self::unit(bits as u64)).ln()).sqrt();
        let drawn =
            mean + deviation * radius * (std::f64::consts::TAU * Self::unit((bits >> 64) as u64)).cos();
        Ok(shown(if whole { drawn.round() } else { drawn }))
    }

    /// A sine over time: starts at the mean, rises first.
    fn wave(&mut self) -> Result<String, Wrong> {
        let usage = || ("wave(mean, height, period) needs two numbers and a duration".to_owned(), HELP);
        self.expect(b'(')?;
        let mean = self.sum()?;
        self.expect(b',')?;
        let height = self.sum()?;
        self.expect(b',')?;
        self.peek();
        let period = offset(&self.bare()).filter(|period| *period > 0).ok_or_else(usage)?;
        self.expect(b')')?;
        let (m, h) = (number(&mean)?, number(&height)?);
        let turn = self.scope.at.rem_euclid(period) as f64 / period as f64;
        let value = m + h * (std::f64::consts::TAU * turn).sin();
        Ok(shown(if is_whole(&mean) && is_whole(&height) { value.round() } else { value }))
    }

    fn two_numbers(&mut self, usage: &str) -> Result<(f64, f64, bool), Wrong> {
        match &self.arguments()?[..] {
            [a, b] => Ok((number(a)?, number(b)?, is_whole(a) && is_whole(b))),
            _ => Err((format!("{usage} needs two numbers"), HELP)),
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Wrong> {
        if self.peek() != Some(byte) {
            return Err((format!("\"{}\" is missing in \"${{…}}\"", byte as char), HELP));
        }
        self.at += 1;
        Ok(())
    }
}

fn is_whole(text: &str) -> bool {
    text.parse::<i64>().is_ok()
}

fn number(text: &str) -> Result<f64, Wrong> {
    let read = text.parse::<f64>().ok().filter(|x| x.is_finite());
    read.ok_or_else(|| (format!("\"{text}\" is no number"), "texts cannot be added"))
}

/// A number as JSON writes it, to a millionth; -0 is 0.
fn shown(x: f64) -> String {
    let rounded = (x * 1e6).round() / 1e6 + 0.0;
    if rounded.is_finite() { format!("{rounded}") } else { format!("{x}") }
}

fn arithmetic(op: u8, left: &str, right: &str) -> Result<String, Wrong> {
    let none = || (format!("{left} {} {right} has no value", op as char), HELP);
    if let (Ok(a), Ok(b)) = (left.parse::<i64>(), right.parse::<i64>()) {
        let value = match op {
            b'+' => a.checked_add(b),
            b'-' => a.checked_sub(b),
            b'*' => a.checked_mul(b),
            b'/' => a.checked_div(b),
            _ => a.checked_rem(b),
        };
        return value.map(|v| v.to_string()).ok_or_else(none);
    }
    let (a, b) = (number(left)?, number(right)?);
    let value = match op {
        b'+' => a + b,
        b'-' => a - b,
        b'*' => a * b,
        b'/' => a / b,
        _ => a % b,
    };
    if value.is_finite() { Ok(shown(value)) } else { Err(none()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope<'static> {
        Scope { seed: "s", number: 0, i: 3, name: "v", value: 20, at: 6 * 3600 * SECOND }
    }

    #[test]
    fn names_and_arithmetic() {
        let made = |text| substitute(text, &scope()).unwrap().text;
        assert_eq!(made("a ${i}, ${v / (i - 1) * 2}, ${'x'}"), "a 3, 20, x");
        assert!(["1", "2"].contains(&made("${pick(1, 2)}").as_str()));
    }

    #[test]
    fn numbers_with_a_point() {
        let made = |text| substitute(text, &scope()).unwrap().text;
        assert_eq!(made("${1.5 * 2} ${7 / 2} ${7 / 2.0} ${-i} ${0.1 + 0.2} ${t}"), "3 3 3.5 -3 0.3 21600");
        assert_eq!(made("${wave(10, 5, 24h)} ${wave(1.5, 1, 1h)} ${wave(10, 5, 8h)}"), "15 1.5 5");
        for bad in ["${1.2.3}", "${wave(1, 2)}", "${uniform(3, 1)}", "${normal('a', 1)}", "${1e999 + 1}"] {
            assert!(substitute(bad, &scope()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_drawn_is_spread_as_it_says() {
        let draw = |text: &str, i| {
            let made = substitute(text, &Scope { i, ..scope() }).unwrap().text;
            assert_eq!(made, substitute(text, &Scope { i, ..scope() }).unwrap().text);
            made.parse::<f64>().unwrap()
        };
        let all = |text: &str| (0..2000).map(|i| draw(text, i)).collect::<Vec<_>>();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let normal = all("${normal(20.0, 3.0)}");
        let spread = mean(&normal.iter().map(|x| (x - 20.0).powi(2)).collect::<Vec<_>>()).sqrt();
        assert!((mean(&normal) - 20.0).abs() < 0.3 && (spread - 3.0).abs() < 0.2, "{}", mean(&normal));
        let die = all("${uniform(1, 6)}");
        assert!((1..=6).all(|side| die.iter().filter(|x| **x == f64::from(side)).count() > 250));
        let twice = all("${uniform(0.0, 1.0) - uniform(0.0, 1.0)}");
        assert!(twice.iter().filter(|x| **x == 0.0).count() < 5, "each call draws for itself");
    }

    #[test]
    fn a_byte_knows_where_it_was_written() {
        let made = substitute("a${v*100}b${i}c", &scope()).unwrap();
        assert_eq!(made.text, "a2000b3c");
        assert_eq!(
            [0, 1, 4, 5, 6, 7, 8].map(|at| made.place(at)),
            [0..0, 1..9, 1..9, 9..9, 10..14, 14..14, 15..15]
        );
    }

    #[test]
    fn every_fault_is_told() {
        let faults = substitute("${b} ${i} ${1/0} ${i i}", &scope()).unwrap_err();
        let places: Vec<Range<usize>> = faults.into_iter().map(|(place, _)| place).collect();
        assert_eq!(places, [0..4, 10..16, 17..23]);
        assert_eq!(substitute("x ${i", &scope()).unwrap_err()[0].0, 2..5);
    }
}
