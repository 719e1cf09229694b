//! The only home of DataFusion and of SQL: text → typed tree (`parse`) → vectorised, total expression
//! (`compile`).

pub mod compile;
pub mod functions;
pub mod node;
pub mod parse;
