//! The `fleetwarden` binary.

fn main() {}
