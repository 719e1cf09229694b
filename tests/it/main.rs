//! Tests over the whole of Fleetwarden: one binary.

mod content;
mod cookbook;
mod demo;
mod hostile;
mod scenarios;
mod secrets;
mod simulation;
mod streams;
mod takeover;
mod tidy;
mod workers;
