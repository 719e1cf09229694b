//! Tree → DataFusion physical expression.
