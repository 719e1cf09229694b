//! TODO-threshold
