#![doc = include_str!("ARCHITECTURE.md")]
#![deny(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::let_underscore_must_use)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod alert;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod decode;
pub mod detect;
pub mod diagnostic;
pub mod encode;
pub mod event;
pub mod files;
pub mod fleet;
pub mod journal;
pub mod kafka;
pub mod metrics;
pub mod pipeline;
pub mod rule;
pub mod runtime;
pub mod schema;
pub mod secret;
pub mod sink;
pub mod stats;
