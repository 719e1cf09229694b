//! The mathematics: one estimator a file, plain numbers in and out, a fixed seed, nothing that flips coins.

pub mod distinct;
pub mod ewma;
pub mod moments;
pub mod poisson;
pub mod quantiles;
pub mod robust;
