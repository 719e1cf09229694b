//! `${…}` in the events of a rule test: repeated lines that are not all alike.
//!
//! Texts in, text out, and where each part of it was written. It knows no JSON.

use std::ops::Range;

use crate::event::KeyHasher;

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
    let mut parser = Parser { text: text.as_bytes(), at: 0, scope, nth };
    let value = parser.sum()?;
    match parser.peek() {
        Some(_) => Err((format!("cannot read \"${{{text}}}\""), HELP)),
        None => Ok(value),
    }
}

const HELP: &str = "names i and the loop's, + - * / %, brackets, pick(a, b, …)";

/// Reads one `${…}`. Values are texts; arithmetic needs whole numbers.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    scope: &'a Scope<'a>,
    nth: u64,
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
            Some(b) if b.is_ascii_alphanumeric() => {
                let start = self.at;
                while self.text.get(self.at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') {
                    self.at += 1;
                }
                let word = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
                self.word(word)
            }
            _ => Err(("cannot read \"${…}\"".into(), HELP)),
        }
    }

    fn word(&mut self, word: String) -> Result<String, Wrong> {
        match word.as_str() {
            "i" => Ok(self.scope.i.to_string()),
            _ if word == self.scope.name => Ok(self.scope.value.to_string()),
            "pick" => {
                self.expect(b'(')?;
                let mut choices = vec![self.sum()?];
                while self.peek() == Some(b',') {
                    self.at += 1;
                    choices.push(self.sum()?);
                }
                self.expect(b')')?;
                let mut hasher = KeyHasher::default();
                hasher.text(self.scope.seed);
                for part in [self.scope.number as i64, self.scope.i, self.scope.value, self.nth as i64] {
                    hasher.int(part);
                }
                let chosen = (hasher.finish() % choices.len() as u128) as usize;
                Ok(choices.swap_remove(chosen))
            }
            _ if word.bytes().all(|b| b.is_ascii_digit()) => Ok(word),
            _ => Err((format!("unknown name \"{word}\" in \"${{…}}\""), HELP)),
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

fn arithmetic(op: u8, left: &str, right: &str) -> Result<String, Wrong> {
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| (format!("\"{text}\" is no whole number"), "texts cannot be added"))
    };
    let (a, b) = (number(left)?, number(right)?);
    let value = match op {
        b'+' => a.checked_add(b),
        b'-' => a.checked_sub(b),
        b'*' => a.checked_mul(b),
        b'/' => a.checked_div(b),
        _ => a.checked_rem(b),
    };
    value.map(|v| v.to_string()).ok_or_else(|| (format!("{a} {} {b} has no value", op as char), HELP))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope<'static> {
        Scope { seed: "s", number: 0, i: 3, name: "v", value: 20 }
    }

    #[test]
    fn names_and_arithmetic() {
        let made = |text| substitute(text, &scope()).unwrap().text;
        assert_eq!(made("a ${i}, ${v / (i - 1) * 2}, ${'x'}"), "a 3, 20, x");
        assert!(["1", "2"].contains(&made("${pick(1, 2)}").as_str()));
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
