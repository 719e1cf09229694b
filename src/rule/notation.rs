//! The notation of rule tests: one line an event, or many.
//!
//! ```text
//! AT [xN [every D]] [late D] [for NAME in A..B] [STREAM] JSON       AT tick       # comment
//! ```
//! `AT` is `+D` after 2025-01-01T00:00:00Z, the broker time; `late D` sets the event time to AT − D
//! (negative: the future);
//! `xN every D` repeats the line, `for v in 1..50` repeats it for each value (both ends included). In the
//! JSON `${…}` is replaced: the names `i` (0…N−1), `t` (seconds after the start) and the loop's, `+ - * / %`,
//! brackets, `pick(a, b, …)`, `uniform(a, b)`, `normal(mean, deviation)` and `wave(mean, height, 24h)`, a sine
//! over time. Of whole numbers the result is whole. What is drawn depends on the test's name only. `tick`
//! moves stream time; nothing else does at the end.
//!
//! An event's text stays as it is written: whether it is a good record is for decoding to say.

mod template;

use std::ops::Range;

use serde::de::IgnoredAny;

use self::template::{Made, Scope, substitute};
use crate::event::time::{SECOND, parse_duration};
use crate::event::{Micros, Timestamp};

/// 2025-01-01T00:00:00Z, a Wednesday: `+0s` of every test.
pub const START: Timestamp = Timestamp(1_735_689_600 * SECOND);

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
        /// The event: a JSON object.
        json: String,
        /// Where it is written, by bytes of the test's text.
        written: Range<usize>,
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

/// What a test's text says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// The steps of all lines that can be read.
    pub steps: Vec<Step>,
    /// The streams that lines name, and where.
    pub streams: Vec<(String, Range<usize>)>,
    /// What is wrong, in the order of the lines.
    pub problems: Vec<Problem>,
}

/// Reads a test's events; `seed` is the test's name.
pub fn parse(text: &str, seed: &str) -> Parsed {
    let (mut parsed, mut start) = (Parsed::default(), 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let trimmed = line.trim();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            let at = start + (line.len() - line.trim_start().len());
            parsed.read(Source { text: trimmed, at, seed, number });
        }
        start += line.len();
    }
    parsed.steps.sort_by_key(Step::at);
    parsed
}

/// A line and what else decides what becomes of it.
#[derive(Clone, Copy)]
struct Source<'a> {
    text: &'a str,
    /// Where it starts in the test's text.
    at: usize,
    seed: &'a str,
    number: usize,
}

impl Parsed {
    fn read(&mut self, source: Source<'_>) {
        let mut faults = Faults(Vec::new());
        let line = Line::parse(source.text, &mut faults);
        let readable = faults.0.is_empty();
        let room = MOST_EVENTS.saturating_sub(self.steps.len());
        let steps = match line.json {
            None => vec![Step::Tick(line.at)],
            // Once, to see what else is wrong.
            _ if !readable => Line { times: 1, ..line.clone() }.expand(source, room, &mut faults),
            Some(_) => line.expand(source, room, &mut faults),
        };
        if faults.0.is_empty() {
            self.steps.extend(steps);
        }
        let shift = |span: Range<usize>| source.at + span.start..source.at + span.end;
        self.streams.extend(line.stream.map(|(place, name)| (name.to_owned(), shift(place))));
        faults.0.sort_by_key(|(span, _)| span.start);
        self.problems.extend(faults.0.into_iter().map(|(span, (message, hint))| Problem {
            span: shift(span),
            message,
            hint: hint.into(),
        }));
    }
}

const GRAMMAR: &str = "AT [xN [every D]] [late D] [for NAME in A..B] [STREAM] JSON, or AT tick";
const ONE_OBJECT: &str = "the event is one JSON object on one line";

type Wrong = (String, &'static str);

/// What is wrong with a line, by bytes of it.
struct Faults(Vec<(Range<usize>, Wrong)>);

impl Faults {
    fn say(&mut self, span: Range<usize>, message: impl Into<String>, hint: &'static str) {
        self.0.push((span, (message.into(), hint)));
    }

    /// The value, or none and what is wrong with it.
    fn heed<T>(&mut self, span: Range<usize>, read: Result<T, Wrong>) -> Option<T> {
        read.map_err(|wrong| self.0.push((span, wrong))).ok()
    }
}

/// A word of a line and its place.
type Word<'a> = (Range<usize>, &'a str);

/// The words of a text that are separated by white space.
fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut from = 0;
    text.split_whitespace().map(move |word| {
        let start = text[from..].find(word).map_or(from, |at| from + at);
        from = start + word.len();
        (start..from, word)
    })
}

/// One line as it was written.
#[derive(Clone)]
struct Line<'a> {
    at: Micros,
    times: usize,
    every: Micros,
    late: Micros,
    each: Option<(&'a str, i64, i64)>,
    stream: Option<Word<'a>>,
    json: Option<Range<usize>>,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str, faults: &mut Faults) -> Line<'a> {
        let end = text.find(['{', '#']).unwrap_or(text.len());
        let json = text[end..].starts_with('{').then(|| end..end + event_length(&text[end..]));
        let mut words = words(&text[..end]);
        let (place, first) = words.next().unwrap_or((0..text.len(), ""));
        let at = first.strip_prefix('+').and_then(offset);
        if at.is_none() {
            faults.say(place, "a line starts with when: +0s, +1m30s", GRAMMAR);
        }
        let at = at.unwrap_or(0);
        let mut line = Line { at, times: 1, every: 0, late: 0, each: None, stream: None, json: json.clone() };
        let rest: Vec<Word<'a>> = words.collect();
        line.options(&rest, faults);
        let tick = rest.iter().find(|(_, word)| *word == "tick");
        match (tick, json) {
            (Some(_), Some(json)) => faults.say(json, "a tick has no event", GRAMMAR),
            (None, None) => faults.say(0..text.len(), "there is no event in this line", GRAMMAR),
            (Some(_), None) => {
                if let Some((place, word)) = rest.iter().find(|(_, word)| *word != "tick") {
                    faults.say(
                        place.clone(),
                        format!("a tick takes no \"{word}\""),
                        "AT tick, and nothing else",
                    );
                }
            }
            (None, Some(json)) => {
                let behind = text[json.end..].trim_start();
                if !behind.is_empty() && !behind.starts_with('#') {
                    let hint = "one event a line; a comment starts with #";
                    faults.say(
                        text.len() - behind.len()..text.len(),
                        "something stands behind the event",
                        hint,
                    );
                }
            }
        }
        line
    }

    /// What stands between time and event.
    fn options(&mut self, words: &[Word<'a>], faults: &mut Faults) {
        let (mut repeated, mut every) = (false, None);
        let mut words = words.iter();
        while let Some((place, word)) = words.next() {
            let mut argument = |what: &str, faults: &mut Faults| {
                let next = words.next();
                if next.is_none() {
                    faults.say(place.clone(), format!("\"{word}\" needs {what} after it"), GRAMMAR);
                }
                next.cloned()
            };
            match *word {
                "tick" => {}
                "every" => {
                    every = Some(place.clone());
                    if let Some((place, text)) = argument("a duration", faults) {
                        self.every = faults.heed(place, duration(text, offset(text))).unwrap_or(0);
                    }
                }
                "late" => {
                    if let Some((place, text)) = argument("a duration", faults) {
                        self.late = faults.heed(place, duration(text, signed(text))).unwrap_or(0);
                    }
                }
                "for" => {
                    let Some((_, name)) = argument("a name", faults) else { continue };
                    self.each = Some((name, 1, 1));
                    match argument("\"in\"", faults) {
                        Some((_, "in")) => {}
                        Some((place, _)) => {
                            faults.say(place, "\"for\" is written: for v in 1..50", GRAMMAR);
                            continue;
                        }
                        None => continue,
                    }
                    if let Some((place, text)) = argument("a range", faults) {
                        let (from, to) = faults.heed(place, range(text)).unwrap_or((1, 1));
                        self.each = Some((name, from, to));
                    }
                }
                _ if is_repetition(word) => {
                    repeated = true;
                    self.times = faults.heed(place.clone(), times(word)).unwrap_or(1);
                }
                _ if self.stream.is_none()
                    && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
                {
                    self.stream = Some((place.clone(), word));
                }
                _ => faults.say(place.clone(), format!("cannot read \"{word}\""), GRAMMAR),
            }
        }
        if let (Some(place), false) = (every, repeated) {
            faults.say(
                place,
                "\"every\" needs xN before it: how often",
                "such as +0s x6 every 5s {\"vin\":\"V1\"}",
            );
        }
    }

    fn expand(&self, source: Source<'_>, room: usize, faults: &mut Faults) -> Vec<Step> {
        let Some(json) = self.json.clone() else { return Vec::new() };
        let (name, from, to) = self.each.unwrap_or(("", 0, 0));
        let values = usize::try_from(to.saturating_sub(from).saturating_add(1)).unwrap_or(0);
        let count = values.saturating_mul(self.times);
        if count > room {
            let message = format!("more than {MOST_EVENTS} events in one test");
            faults.say(0..source.text.len(), message, "shorten a repetition");
            return Vec::new();
        }
        let written = source.at + json.start..source.at + json.end;
        let stream = self.stream.as_ref().map(|(_, name)| (*name).to_owned());
        let mut steps = Vec::with_capacity(count);
        for i in 0..i64::try_from(self.times).unwrap_or(0) {
            let at = self.at.saturating_add(i.saturating_mul(self.every));
            for value in from..=to {
                let scope = Scope { seed: source.seed, number: source.number, i, name, value, at };
                match event(&source.text[json.clone()], &scope) {
                    Ok(json) => {
                        let (stream, written) = (stream.clone(), written.clone());
                        steps.push(Step::Event { at, late: self.late, stream, json, written });
                    }
                    Err(wrong) => {
                        let shift = |place: Range<usize>| json.start + place.start..json.start + place.end;
                        faults.0.extend(wrong.into_iter().map(|(place, wrong)| (shift(place), wrong)));
                        return Vec::new();
                    }
                }
            }
        }
        steps
    }
}

/// How far an event reaches from its brace: to the brace that closes it, or to the end.
fn event_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut quoted) = (0, 0usize, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                at = text[at..].find('}').map_or(text.len(), |end| at + end);
            }
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The event that a text becomes, or all that is wrong with it.
fn event(written: &str, scope: &Scope<'_>) -> Result<String, Vec<(Range<usize>, Wrong)>> {
    let made = substitute(written, scope)?;
    match serde_json::from_str::<IgnoredAny>(&made.text) {
        Ok(_) => Ok(made.text),
        Err(error) => {
            let shown = error.to_string();
            let message = format!("not JSON: {}", shown.split(" at line ").next().unwrap_or_default());
            Err(vec![(fault_place(written, &made, &error), (message, ONE_OBJECT))])
        }
    }
}

/// The character at which reading stopped.
fn fault_place(written: &str, made: &Made, error: &serde_json::Error) -> Range<usize> {
    let place = made.place(error.column().saturating_sub(1));
    if !place.is_empty() {
        return place;
    }
    let start =
        (0..=place.start.min(written.len())).rev().find(|at| written.is_char_boundary(*at)).unwrap_or(0);
    let length = written[start..].chars().next().map_or(0, char::len_utf8);
    start..start + length
}

/// `0s`, `1m30s`, `1h`: also zero.
pub fn offset(text: &str) -> Option<Micros> {
    match text.trim_end_matches(|c: char| c.is_ascii_lowercase()) {
        "0" => Some(0),
        _ => parse_duration(text),
    }
}

/// An offset that may be negative.
pub fn signed(text: &str) -> Option<Micros> {
    match text.strip_prefix('-') {
        Some(digits) => offset(digits).map(|span| -span),
        None => offset(text),
    }
}

fn duration(text: &str, read: Option<Micros>) -> Result<Micros, Wrong> {
    read.ok_or_else(|| (format!("\"{text}\" is no duration"), "such as 90s, 5m, 1h30m"))
}

fn is_repetition(word: &str) -> bool {
    word.strip_prefix('x').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn times(word: &str) -> Result<usize, Wrong> {
    match word[1..].parse() {
        Ok(0) => Err((format!("{word} makes no event"), "repeat it once or more, or put # before the line")),
        Ok(times) => Ok(times),
        Err(_) => Err((format!("too many: {word}"), "shorten the repetition")),
    }
}

fn range(text: &str) -> Result<(i64, i64), Wrong> {
    let ends = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match ends {
        Some((from, to)) if from <= to => Ok((from, to)),
        _ => Err((format!("\"{text}\" is no range"), "such as 1..50, both ends included")),
    }
}

#[cfg(test)]
mod tests;
