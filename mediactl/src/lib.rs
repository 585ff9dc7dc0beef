//! The control core: everything that is slow, rare or may block, so that no shard ever does it.
//!
//! | module | what |
//! | --- | --- |
//! | [`config`] | settings: file, flags, defaults, placement |
//! | [`problem`] | what an operator is told when something is wrong |
//! | [`machine`], [`state`] | cores and memory; the state directory with its key and lock |
//! | [`routes`] | the tables (CSV) and their compiler |
//! | [`image`] | the node's routing image: compiled, verified, or the last good one |
//! | [`listeners`] | what this node binds and advertises |
//! | [`rtpengine`] | media control |
//! | [`boot`] | all of that in the one safe order, up to running shards |
//! | [`control`] | the control core's thread; signals |
//! | [`reload`] | what a running node takes from the tables again |
//! | [`slow`] | what may wait for a disk |
//! | [`report`] | memory bill and counter lines |

pub mod boot;
pub mod config;
pub mod control;
pub mod daily;
pub mod image;
pub mod listeners;
pub mod machine;
pub mod problem;
pub mod reload;
pub mod report;
pub mod routes;
pub mod rtpengine;
pub mod slow;
pub mod state;

pub use problem::{Place, Problem, Severity, Sourced};
