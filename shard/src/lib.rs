//! The shard: pinned thread, sockets, steering.

pub mod steer;
mod sys;
