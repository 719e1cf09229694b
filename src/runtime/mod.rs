//! Start and stop; `Signal → Action`; what executes actions; delivery; metrics and health.

mod backlog;
pub mod batch;
pub mod delivery;
pub mod http;
pub mod keeper;
pub mod outbox;
mod prober;
pub mod publish;
pub mod replay;
pub mod run;
pub mod thread;
pub mod totals;
pub mod worker;
