//! The mathematics: one estimator a file, plain numbers in and out.
