//! TODO-panes
