//! The rooms that read bytes, compiled into a fuzz target by themselves: without the rest of the engine a target is built
//! in minutes instead of half an hour, and runs many times as fast, because only what is fuzzed is watched.

#[path = "../src/alert.rs"]
pub mod alert;
#[path = "../src/decode/mod.rs"]
pub mod decode;
#[path = "../src/diagnostic.rs"]
pub mod diagnostic;
#[path = "../src/event/mod.rs"]
pub mod event;
#[path = "../src/files/mod.rs"]
pub mod files;
#[path = "../src/schema/mod.rs"]
pub mod schema;
