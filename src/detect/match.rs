//! TODO-match
