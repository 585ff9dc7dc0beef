//! The kernel calls of the harness behind safe functions.
//!
//! Shipped crates keep `unsafe` in `shard/src/sys/` only. The harness is not shipped and must not lean on what it measures,
//! so it has its own few wrappers here, and `unsafe` appears in no other place of this package.
//!
//! - [`udp`]: batches of datagrams by `recvmmsg` and `sendmmsg`, on sockets that are never connected
//! - [`process`]: where a thread runs, what it burned, how a child is told to end
//! - [`allocator`]: the counting allocator that the binary installs

pub mod allocator;
pub mod process;
pub mod udp;
