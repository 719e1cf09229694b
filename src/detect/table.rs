//! TODO-table
