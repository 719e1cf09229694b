//! Our own kernels: arithmetic and functions that give a value or NULL, never an error.
