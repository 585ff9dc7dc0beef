//! The control core: everything that is slow, rare or may block, so that no shard ever does it.

pub mod config;
pub mod listeners;
pub mod machine;
pub mod problem;
pub mod state;

pub use problem::{Place, Problem, Severity, Sourced};
