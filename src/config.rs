//! One TOML configuration; unknown keys are errors.
