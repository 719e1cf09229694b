//! How a normal is learned and from where on a value is odd: the numbers of a learned kind.

use super::keys::{self, Reader};
use crate::diagnostic::suggest;
use crate::event::Micros;
use crate::event::time::SECOND;
use crate::rule::file::{ItemValue, Span, Table};
use crate::rule::learned::{AtLeast, FEWEST, Floor, Learn, Method, Sides};

/// Values that are learned before the first is judged.
const LEARN: u64 = 50;

/// How long a key that is not seen is remembered, and so many windows at least.
const HISTORY: Micros = 30 * 86_400 * SECOND;

/// See there.
const WINDOWS: i64 = 4;

/// The most values that may weigh in a normal: a robust one keeps them all.
const LARGEST_MEMORY: i64 = 1000;

/// The methods that the language has and this version has not.
const UNBUILT: [&str; 5] = ["novelty", "cusum", "seasonal", "period", "counter"];

const METHODS: &str = "\"robust\" (median and MAD), \"ewma\" (mean and deviation), \"poisson\" (counts)";

/// What a rule says of them.
pub struct Tuning {
    pub method: Method,
    pub limit: f64,
    pub sides: Sides,
    pub learn: Learn,
    pub history: Micros,
    pub at_least: Option<AtLeast>,
    pub memory: usize,
    pub floor: Option<Floor>,
}

impl Tuning {
    /// Reads them all; none if one is wrong, which has been said. `counts`: whether the value is a count or sum;
    /// `window`: its window, or 0.
    pub fn read(
        reader: &mut Reader<'_>,
        inner: &Table,
        span: Span,
        (counts, window): (bool, Micros),
    ) -> Option<Tuning> {
        let method = method(reader, inner, span);
        let sides = sides(reader, inner, counts);
        let learn = learn(reader, inner);
        let history = history(reader, inner, learn, window);
        let at_least = at_least(reader, inner);
        let (memory, floor) = tune(reader, inner, method, learn);
        let method = method?;
        let limit = limit(reader, inner, method)?;
        Some(Tuning {
            method,
            limit,
            sides: sides?,
            learn: learn?,
            history: history?,
            at_least: at_least?,
            memory: memory?,
            floor: floor?,
        })
    }
}

fn method(reader: &mut Reader<'_>, inner: &Table, span: Span) -> Option<Method> {
    if inner.get("method").is_none() {
        reader.missing(span, "[baseline]", "method", &format!("method = one of {METHODS}"));
        return None;
    }
    let text = reader.text(inner, "method")?;
    let method = match text.text.as_str() {
        "robust" => Some(Method::Robust),
        "ewma" => Some(Method::Ewma),
        "poisson" => Some(Method::Poisson),
        _ => None,
    };
    if method.is_none() {
        let (message, hint) = match UNBUILT.contains(&text.text.as_str()) {
            true => (format!("method \"{}\" is not built yet", text.text), format!("there is {METHODS}")),
            false => (
                format!("there is no method \"{}\"", text.text),
                suggest(&text.text, ["robust", "ewma", "poisson"]),
            ),
        };
        reader.error(text.span.clone(), message, hint);
    }
    method
}

fn limit(reader: &mut Reader<'_>, inner: &Table, method: Method) -> Option<f64> {
    let Some(entry) = inner.get("limit") else {
        return Some(if method == Method::Poisson { 1e-6 } else { 6.0 });
    };
    let limit = reader.number(inner, "limit")?;
    let (fits, hint) = match method {
        Method::Poisson => {
            (limit > 0.0 && limit <= 0.1, "a probability: 1e-6 fires on what is rarer than one in a million")
        }
        _ => (limit > 0.0 && limit <= 1e6, "in standard deviations from what is expected: 6"),
    };
    if !fits {
        reader.error(entry.item.span.clone(), format!("a limit of {limit} is out of range"), hint);
    }
    fits.then_some(limit)
}

fn sides(reader: &mut Reader<'_>, inner: &Table, counts: bool) -> Option<Sides> {
    if inner.get("direction").is_none() {
        return Some(Sides { high: true, low: !counts });
    }
    let text = reader.text(inner, "direction")?;
    match text.text.as_str() {
        "high" => Some(Sides { high: true, low: false }),
        "low" => Some(Sides { high: false, low: true }),
        "both" => Some(Sides { high: true, low: true }),
        other => {
            let message = format!("there is no direction \"{other}\"");
            reader.error(text.span.clone(), message, suggest(other, ["high", "low", "both"]));
            None
        }
    }
}

fn learn(reader: &mut Reader<'_>, inner: &Table) -> Option<Learn> {
    let Some(entry) = inner.get("learn") else { return Some(Learn::Values(LEARN)) };
    let hint = "a number of values (50), or a duration (\"7d\") with at least 5 values in it";
    match &entry.item.value {
        ItemValue::Text(_) => reader.duration(inner, "learn").map(Learn::Span),
        ItemValue::Int(n) => match u64::try_from(*n) {
            Ok(n) if (FEWEST..=LARGEST_MEMORY as u64).contains(&n) => Some(Learn::Values(n)),
            _ => {
                let message = format!("a normal is learned from {FEWEST} to {LARGEST_MEMORY} values");
                reader.error(entry.item.span.clone(), message, hint);
                None
            }
        },
        other => {
            let message = format!("\"learn\" is {}, not a number or a duration", other.name());
            reader.error(entry.item.span.clone(), message, hint);
            None
        }
    }
}

fn history(reader: &mut Reader<'_>, inner: &Table, learn: Option<Learn>, window: Micros) -> Option<Micros> {
    let least = window.saturating_mul(WINDOWS);
    let Some(entry) = inner.get("history") else {
        return Some(match learn {
            Some(Learn::Span(span)) => HISTORY.max(span).max(least),
            _ => HISTORY.max(least),
        });
    };
    let history = reader.duration(inner, "history")?;
    if let Some(Learn::Span(span)) = learn
        && history < span
    {
        let hint = "a key that is forgotten before it has learned is never judged";
        reader.error(entry.item.span.clone(), "`history` is shorter than `learn`", hint);
        return None;
    }
    if history < least {
        let message = format!("`history` is shorter than {WINDOWS} windows");
        reader.error(entry.item.span.clone(), message, "a key would be forgotten before its window closes");
        return None;
    }
    Some(history)
}

/// `"3 of 5"`. None if it is wrong; none inside if there is none.
fn at_least(reader: &mut Reader<'_>, inner: &Table) -> Option<Option<AtLeast>> {
    if inner.get("at_least").is_none() {
        return Some(None);
    }
    let text = reader.text(inner, "at_least")?;
    let words: Vec<&str> = text.text.split_whitespace().collect();
    let read = match words[..] {
        [hits, "of", of] => hits.parse().ok().zip(of.parse().ok()),
        _ => None,
    };
    match read {
        Some((hits, of)) if 1 <= hits && hits <= of && of <= 64 => Some(Some(AtLeast { hits, of })),
        _ => {
            let message = format!("\"{}\" is not so many of so many", text.text);
            let hint = "write at_least = \"3 of 5\": of the last 5 judgements 3 must be true; at most 64";
            reader.error(text.span.clone(), message, hint);
            None
        }
    }
}

/// `tune`: `memory` and `floor`. None of each that is wrong.
fn tune(
    reader: &mut Reader<'_>,
    inner: &Table,
    method: Option<Method>,
    learn: Option<Learn>,
) -> (Option<usize>, Option<Option<Floor>>) {
    let usual = if method == Some(Method::Poisson) { 200 } else { 100 };
    let learned = match learn {
        Some(Learn::Values(values)) => usize::try_from(values).unwrap_or(usize::MAX),
        _ => 0,
    };
    let memory = Some(usual.max(learned));
    if inner.get("tune").is_none() {
        return (memory, Some(None));
    }
    let Some((_, table)) = reader.table(inner, "tune") else { return (None, None) };
    reader.known(table, "`tune`", &keys::TUNE);
    (tuned_memory(reader, table, memory, learned), tuned_floor(reader, table, method))
}

fn tuned_memory(
    reader: &mut Reader<'_>,
    tune: &Table,
    usual: Option<usize>,
    learned: usize,
) -> Option<usize> {
    let Some(entry) = tune.get("memory") else { return usual };
    match &entry.item.value {
        ItemValue::Int(n) if (10..=LARGEST_MEMORY).contains(n) && learned as i64 <= *n => {
            usize::try_from(*n).ok()
        }
        _ => {
            let message =
                format!("`memory` is a number of values from 10 to {LARGEST_MEMORY}, at least `learn`");
            reader.error(entry.item.span.clone(), message, "that many values weigh in the normal: 100");
            None
        }
    }
}

fn tuned_floor(reader: &mut Reader<'_>, tune: &Table, method: Option<Method>) -> Option<Option<Floor>> {
    let Some(entry) = tune.get("floor") else { return Some(None) };
    let floor = reader.number(tune, "floor")?;
    let problem = match method {
        Some(Method::Poisson) => Some("method \"poisson\" has no `floor`"),
        _ if floor <= 0.0 => Some("`floor` is above 0"),
        _ => None,
    };
    if let Some(message) = problem {
        let hint = "the least standard deviation that is assumed, in the unit of the value";
        reader.error(entry.item.span.clone(), message, hint);
        return None;
    }
    Some(Some(Floor::Absolute(floor)))
}
