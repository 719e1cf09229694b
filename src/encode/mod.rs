//! Alert → bytes: one file a wire format. What a destination is, and how often it is tried, is none of its
//! business.

pub mod ecs;
pub mod hec;
pub mod plain;

use crate::event::Timestamp;

/// What is said around the body of an alert, and what may be said at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Wall time at which the alert was found.
    pub detected: Timestamp,
    /// Whether the text of the event may leave: it can hold anything that a vehicle or a person sent.
    pub raw: bool,
}
