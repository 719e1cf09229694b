//! Alert → bytes: one file a wire format.

pub mod ecs;
pub mod plain;
