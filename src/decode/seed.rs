//! `serde_json` seeds straight into Arrow builders.
