//! The journal: what owners of partitions claim, are told and say, in the order in which they did.
//!
//! Entries and their bytes; who carries them is `kafka/`, who believes them is [`Marks`].
//!
//! [`Marks`]: crate::event::Marks

mod past;
mod wire;

use std::sync::Arc;

pub use past::Tail;
pub use wire::{Malformed, Written, decode, encode, parse_source, partition_of, source_key};

use crate::alert::Alert;
use crate::event::Told;

/// One record of the journal, under its [`Stamp`](crate::event::Stamp).
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Somebody wants to own the partition. Its own offset becomes the epoch; it counts for nobody yet.
    Claim,
    /// The group has accepted the owner of this epoch: lower ones are no longer believed.
    Open {
        /// Whether it starts without the state that there was.
        cold: bool,
    },
    /// The partition is told something, before the record at offset `at`.
    Told {
        /// The next offset at which it applies.
        at: i64,
        /// What.
        told: Told,
    },
    /// Alerts, in the order of the partition.
    Alerts {
        /// The partition has said everything that its records below this offset made it say.
        through: i64,
        /// Not yet: they are the beginning of it, and the next entry goes on.
        more: bool,
        /// The alerts.
        alerts: Vec<Arc<Alert>>,
    },
}
