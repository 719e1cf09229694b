//! TODO-suppress
