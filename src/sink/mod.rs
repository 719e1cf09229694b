//! Bytes → one destination: one attempt, one outcome per alert. When to try again is `runtime/delivery`'s to decide.
