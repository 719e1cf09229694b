//! Bytes → one destination: one attempt, one outcome per alert. When to try again is `runtime/delivery`'s to decide.

use serde::Deserialize;

/// One `[sinks.NAME]` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum SinkConfig {
    /// One line of JSON an alert, to stdout.
    Stdout {},
}
