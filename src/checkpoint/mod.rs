//! Checkpoints: one consistent cut of a partition as one object in a store, and rule sets by their hash.
//!
//! `format` turns a cut into bytes and back, `invariants` says what every cut holds to, `store` moves objects,
//! `rules` keeps the texts of rule sets. Nothing here decides when something is saved, published or deleted.

pub mod format;
pub mod invariants;
pub mod rules;
pub mod store;

pub use format::{Refused, Saved, decode, encode};
pub use store::{Store, StoreError};
