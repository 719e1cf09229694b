//! The `[limits]` table: every limit of the engine, durations as text.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::event::time::parse_duration;
use crate::event::{Limits, Micros};

/// As written; what is left out keeps its default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    grace: Option<Span>,
    max_skew: Option<Span>,
    keys: Option<Count<1_000_000_000>>,
    panes: Option<Count<1_000_000>>,
    distinct: Option<Count<100_000_000>>,
    alerts_per_second: Option<Count<1_000_000>>,
    record_bytes: Option<Count<1_000_000_000>>,
    depth: Option<Count<128>>,
}

/// A duration as text.
pub(super) struct Span(pub Micros);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = parse_duration(&text).map(Span);
        parsed.ok_or_else(|| {
            D::Error::custom(format!("\"{text}\" is no duration, expected text such as \"2s\" or \"1h30m\""))
        })
    }
}

/// A whole number from 1 to `MAX`.
struct Count<const MAX: u64>(u64);

impl<'de, const MAX: u64> Deserialize<'de> for Count<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            n if n >= 1 && n.unsigned_abs() <= MAX => Ok(Count(n.unsigned_abs())),
            n => Err(D::Error::custom(format!("{n} is out of range, expected 1 to {MAX}"))),
        }
    }
}

pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
    let written = Written::deserialize(deserializer)?;
    let usual = Limits::default();
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Ok(Limits {
        grace: written.grace.map_or(usual.grace, |span| span.0),
        max_skew: written.max_skew.map_or(usual.max_skew, |span| span.0),
        keys: written.keys.map_or(usual.keys, |n| size(n.0)),
        panes: written.panes.map_or(usual.panes, |n| size(n.0)),
        distinct: written.distinct.map_or(usual.distinct, |n| size(n.0)),
        alerts_per_second: written
            .alerts_per_second
            .map_or(usual.alerts_per_second, |n| u32::try_from(n.0).unwrap_or(u32::MAX)),
        record_bytes: written.record_bytes.map_or(usual.record_bytes, |n| size(n.0)),
        depth: written.depth.map_or(usual.depth, |n| size(n.0)),
    })
}
