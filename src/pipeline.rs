//! Everything that happens to one partition, in order; one `&mut` method.
