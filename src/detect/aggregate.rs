//! TODO-aggregate
