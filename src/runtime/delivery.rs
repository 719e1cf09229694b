//! Takes alerts from the journal to every sink, each by itself: a group of its own, retries with jitter, one
//! outcome per alert, and a position that waits for all of them.
//!
//! A sink has a thread that reads (`pump`) and a task that tries (`line`). Alerts leave in the order in which
//! they came; one that has to be tried again does not hold up those behind it where the sink took them.
//! Nothing is kept but positions: what waits lies in the journal.

mod backfill;
mod gauge;
mod letters;
mod line;
mod memo;
mod progress;
mod pump;
mod sinks;
#[cfg(test)]
mod tests;

pub use backfill::{Backfill, Passing, backfill};
pub use gauge::{Blockage, SinkReading, SinkStats};
pub use pump::group;
pub use sinks::{Outlet, Sinks};
