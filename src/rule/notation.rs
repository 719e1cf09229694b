//! The notation of rule tests: one line an event, or many.
//!
//! ```text
//! AT [xN [every D]] [late D] [for NAME in A..B] [STREAM] JSON       AT tick       # comment
//! ```
//! `AT` is `+D` after 2025-01-01T00:00:00Z, the broker time; `late D` sets the event time to AT − D
//! (negative: the future);
//! `xN every D` repeats the line, `for v in 1..50` repeats it for each value (both ends included). In the
//! JSON `${…}` is replaced: the names `i` (0…N−1) and the loop's, `+ - * / %`, brackets, and `pick(a, b, …)`,
//! whose choices depend on the test's name only. `tick` moves stream time; nothing else does at the end.

use std::ops::Range;

use crate::event::time::parse_duration;
use crate::event::{KeyHasher, Micros};

/// Events a test may make.
pub const MOST_EVENTS: usize = 100_000;

/// One step of a test, in the order of its broker time.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A record.
    Event {
        /// Broker time after the start.
        at: Micros,
        /// How much earlier the event happened.
        late: Micros,
        /// Its stream, if the line names one.
        stream: Option<String>,
        /// The event.
        json: serde_json::Map<String, serde_json::Value>,
    },
    /// Stream time reaches this though nothing came.
    Tick(Micros),
}

impl Step {
    /// Its time after the start.
    pub fn at(&self) -> Micros {
        match self {
            Step::Event { at, .. } | Step::Tick(at) => *at,
        }
    }
}

/// What is wrong with a test's text, by bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub span: Range<usize>,
    /// What.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Reads a test's events; `seed` is the test's name.
pub fn parse(text: &str, seed: &str) -> Result<Vec<Step>, Vec<Problem>> {
    let (mut steps, mut problems, mut start) = (Vec::new(), Vec::new(), 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let trimmed = line.trim();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            let at = start + (line.len() - line.trim_start().len());
            let room = MOST_EVENTS.saturating_sub(steps.len());
            match Line::parse(trimmed).and_then(|line| line.expand(seed, number, room)) {
                Ok(more) => steps.extend(more),
                Err((message, hint)) => {
                    problems.push(Problem { span: at..at + trimmed.len(), message, hint: hint.into() });
                }
            }
        }
        start += line.len();
    }
    steps.sort_by_key(Step::at);
    if problems.is_empty() { Ok(steps) } else { Err(problems) }
}

const GRAMMAR: &str = "AT [xN [every D]] [late D] [for NAME in A..B] [STREAM] JSON, or AT tick";

type Wrong = (String, &'static str);

/// One line as it was written.
struct Line<'a> {
    at: Micros,
    times: usize,
    every: Micros,
    late: Micros,
    each: Option<(&'a str, i64, i64)>,
    stream: Option<&'a str>,
    json: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Result<Line<'a>, Wrong> {
        let (head, json) = match text.find('{') {
            Some(at) => (&text[..at], Some(&text[at..])),
            None => (text.split('#').next().unwrap_or_default(), None),
        };
        let mut words = head.split_whitespace();
        let at = words.next().and_then(|word| offset(word.strip_prefix('+')?));
        let at = at.ok_or_else(|| ("a line starts with when: +0s, +1m30s".to_owned(), GRAMMAR))?;
        let mut line = Line { at, times: 1, every: 0, late: 0, each: None, stream: None, json };
        let mut ticks = false;
        while let Some(word) = words.next() {
            let mut argument = |what: &str| {
                words.next().ok_or_else(|| (format!("\"{word}\" needs {what} after it"), GRAMMAR))
            };
            match word {
                "tick" => ticks = true,
                "every" => line.every = duration(argument("a duration")?)?,
                "late" => line.late = duration(argument("a duration")?)?,
                "for" => {
                    let name = argument("a name")?;
                    if argument("\"in\"")? != "in" {
                        return Err(("\"for\" is written: for v in 1..50".into(), GRAMMAR));
                    }
                    line.each = Some(range(name, argument("a range")?)?);
                }
                _ if word.starts_with('x')
                    && word.len() > 1
                    && word[1..].bytes().all(|b| b.is_ascii_digit()) =>
                {
                    line.times = word[1..].parse().map_err(|_| (format!("too many: {word}"), GRAMMAR))?;
                }
                _ if line.stream.is_none()
                    && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
                {
                    line.stream = Some(word);
                }
                _ => return Err((format!("cannot read \"{word}\""), GRAMMAR)),
            }
        }
        match (ticks, line.json) {
            (true, Some(_)) => Err(("a tick has no event".into(), GRAMMAR)),
            (false, None) => Err(("there is no event in this line".into(), GRAMMAR)),
            _ => Ok(line),
        }
    }

    fn expand(&self, seed: &str, number: usize, room: usize) -> Result<Vec<Step>, Wrong> {
        let Some(json) = self.json else { return Ok(vec![Step::Tick(self.at)]) };
        let (name, from, to) = self.each.unwrap_or(("", 0, 0));
        let count = (to.saturating_sub(from).saturating_add(1).max(0) as usize).saturating_mul(self.times);
        if count > room {
            return Err((format!("more than {MOST_EVENTS} events in one test"), "shorten a repetition"));
        }
        let mut steps = Vec::with_capacity(count);
        for i in 0..self.times as i64 {
            for value in from..=to {
                let scope = Scope { seed, number, i, name, value };
                let text = substitute(json, &scope)?;
                let parsed: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
                    (format!("not JSON: {error}"), "the event is one JSON object on one line")
                })?;
                let serde_json::Value::Object(json) = parsed else {
                    return Err(("the event is not a JSON object".into(), GRAMMAR));
                };
                let stream = self.stream.map(str::to_owned);
                steps.push(Step::Event { at: self.at + i * self.every, late: self.late, stream, json });
            }
        }
        Ok(steps)
    }
}

/// `0s`, `1m30s`, `1h`: also zero.
pub fn offset(text: &str) -> Option<Micros> {
    match text.trim_end_matches(|c: char| c.is_ascii_lowercase()) {
        "0" => Some(0),
        _ => parse_duration(text),
    }
}

fn duration(text: &str) -> Result<Micros, Wrong> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let span =
        offset(digits).ok_or_else(|| (format!("\"{text}\" is no duration"), "such as 90s, 5m, 1h30m"))?;
    Ok(sign * span)
}

fn range<'a>(name: &'a str, text: &str) -> Result<(&'a str, i64, i64), Wrong> {
    let ends = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match ends {
        Some((from, to)) if from <= to => Ok((name, from, to)),
        _ => Err((format!("\"{text}\" is no range"), "such as 1..50, both ends included")),
    }
}

/// What `${…}` may name.
struct Scope<'a> {
    seed: &'a str,
    number: usize,
    i: i64,
    name: &'a str,
    value: i64,
}

fn substitute(json: &str, scope: &Scope<'_>) -> Result<String, Wrong> {
    let (mut out, mut rest, mut nth) = (String::with_capacity(json.len()), json, 0u64);
    while let Some(at) = rest.find("${") {
        let (before, tail) = (&rest[..at], &rest[at + 2..]);
        out.push_str(before);
        let end = tail.find('}').ok_or_else(|| ("\"${\" is not closed".to_owned(), GRAMMAR))?;
        let mut parser = Parser { text: &tail.as_bytes()[..end], at: 0, scope, nth };
        let value = parser.sum()?;
        if parser.peek().is_some() {
            return Err((format!("cannot read \"${{{}}}\"", &tail[..end]), HELP));
        }
        out.push_str(&value);
        rest = &tail[end + 1..];
        nth += 1;
    }
    out.push_str(rest);
    Ok(out)
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
    use crate::event::time::SECOND;

    fn events(text: &str) -> Vec<(i64, i64, String)> {
        parse(text, "a test")
            .unwrap()
            .into_iter()
            .map(|step| match step {
                Step::Event { at, late, json, .. } => {
                    (at / SECOND, late / SECOND, serde_json::Value::Object(json).to_string())
                }
                Step::Tick(at) => (at / SECOND, 0, "tick".into()),
            })
            .collect()
    }

    #[test]
    fn lines_repeat_and_interleave_by_time() {
        let got = events(
            "+0s x2 every 5s for v in 1..2 {\"vin\":\"V${v}\",\"n\":${i*10+v}}\n# a comment\n+3s tick",
        );
        let want = [
            (0, 0, r#"{"n":1,"vin":"V1"}"#),
            (0, 0, r#"{"n":2,"vin":"V2"}"#),
            (3, 0, "tick"),
            (5, 0, r#"{"n":11,"vin":"V1"}"#),
            (5, 0, r#"{"n":12,"vin":"V2"}"#),
        ];
        assert_eq!(got, want.map(|(at, late, json)| (at, late, json.to_owned())));
    }

    #[test]
    fn late_events_streams_and_choices() {
        assert_eq!(events("+1h late 51m telemetry {}")[0].1, 51 * 60);
        assert_eq!(events("+1h late -5m {}")[0].1, -300);
        let picked: Vec<String> =
            events("+0s x40 {\"c\":\"${pick('lock', 'unlock')}\"}").into_iter().map(|e| e.2).collect();
        assert!(picked.iter().any(|p| p.contains("\"lock\"")) && picked.iter().any(|p| p.contains("unlock")));
    }

    #[test]
    fn what_cannot_be_read_is_shown_with_its_place() {
        for bad in [
            "5s {}",
            "+5s",
            "+5s tick {}",
            "+5s {\"a\":}",
            "+5s for v in 5..1 {}",
            "+5s {\"a\":${b}}",
            "+5s every {}",
            "+5s {\"a\":${1/0}}",
            "+5s x999999 {}",
            "+5s [1]",
        ] {
            let problems = parse(&format!("+0s {{}}\n  {bad}\n"), "t").unwrap_err();
            assert_eq!(problems.len(), 1, "{bad}");
            assert_eq!(problems[0].span, 9..9 + bad.len(), "{bad}");
        }
    }
}
