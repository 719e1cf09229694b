//! Tests over the whole of Fleetwarden: one binary.

mod content;
mod scenarios;
mod tidy;
