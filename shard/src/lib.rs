//! The shards of a node: the only owner of SIP sockets and rings. It moves datagrams into engines and effects out of them, and
//! knows no SIP word.
//!
//! ```text
//!              ┌ shard 0 (core 0) ── socket of listener 0, of listener 1, …  ─┐  one address, SO_REUSEPORT;
//!   Node ──────┤ shard 1 (core 1) ── socket of listener 0, of listener 1, …   │  the kernel steers by Call-ID (steer/),
//!              └ …                                                           ─┘  else the shards do (inbox.rs)
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `node.rs` | start and stop |
//! | `run.rs` | the loop, the one task of each shard's executor |
//! | `protocol.rs` | what the loop runs: the engine, or a stand-in for floor and tests |
//! | `io/` | datagrams in and out: `recvmmsg`/`sendmmsg`, or a ring |
//! | `inbox.rs` | from shard to shard, and orders |
//! | `bus.rs` | between shards and the control core |
//! | `journal.rs`, `journal/` | how calls ended, in a file that outlives the process |
//! | `waker.rs` | the wake-up |
//! | `socket.rs` | the sockets of a node |
//! | `steer/` | the kernel program that chooses the shard |
//! | `shed/` | the kernel program that drops a share of new calls while a shard sheds |
//! | `assembler.rs` | how both are written |
//! | `pin.rs`, `clock.rs`, `snapshot.rs`, `error.rs` | cores, time, counters for others, why a start failed |
//! | `sys/` | kernel calls; the only `unsafe` |
//!
//! Refused here: connecting a listener's socket (it would take traffic past the steering), blocking anywhere but in the loop's
//! one wait, and allocating after the start.

mod assembler;
mod bus;
pub mod clock;
mod error;
mod inbox;
mod io;
pub mod journal;
mod node;
pub mod pin;
mod protocol;
mod refusal;
mod run;
pub mod shed;
mod snapshot;
mod socket;
pub mod steer;
mod sys;
mod waker;

pub use bus::{BUS_BYTES, ControlBus};
pub use error::{ShardFailed, StartError};
pub use inbox::SHARDS_MAX;
pub use io::IoKind;
pub use journal::{JournalReader, JournalWriter, Journals};
pub use node::{Busy, Layout, Node, NodeSpec, ShardSpec, SheddingInUse, SteeringInUse, SteeringMode};
pub use protocol::Protocol;
pub use sys::map::{MapCause, MapError, MappedFile, MappedImage};
