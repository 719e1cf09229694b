//! Tests over the whole of Fleetwarden: one binary.

mod scenarios;
mod tidy;
