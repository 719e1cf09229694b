//! The `[checkpoints]` table: where state is saved.

use std::num::NonZeroU16;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::limits::Span;
use crate::checkpoint::store;
use crate::event::Micros;
use crate::event::time::SECOND;

/// Where the state of partitions is saved, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoints {
    /// A folder, or the URL of an object store; all processes of a group name the same.
    #[serde(default = "default_url", deserialize_with = "url")]
    pub url: String,
    /// How often the state of a partition is saved.
    #[serde(default = "default_every", deserialize_with = "every")]
    pub every: Micros,
    /// How many checkpoints of a partition are kept.
    #[serde(default = "default_keep")]
    pub keep: NonZeroU16,
}

impl Default for Checkpoints {
    fn default() -> Checkpoints {
        Checkpoints { url: default_url(), every: default_every(), keep: default_keep() }
    }
}

fn default_url() -> String {
    "state".into()
}

fn default_every() -> Micros {
    30 * SECOND
}

fn default_keep() -> NonZeroU16 {
    NonZeroU16::MIN.saturating_add(2)
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match store::is_place(&text) {
        true => Ok(text),
        false => Err(D::Error::custom(
            "no place for state, expected a folder, or a URL that begins with file://, s3://, gs:// or az://",
        )),
    }
}

fn every<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Micros, D::Error> {
    let Span(every) = Span::deserialize(deserializer)?;
    match (SECOND..=3600 * SECOND).contains(&every) {
        true => Ok(every),
        false => Err(D::Error::custom("out of range, expected \"1s\" to \"1h\"")),
    }
}
