//! Corelane's protocol engine: SIP transactions, calls and routing as pure computation.
//!
//! The contract, on which everything else hangs: *every call of [`Engine::handle`] with `(now, image, input, &mut
//! effects)` is followed by accepting all its effects, in order, before the next; the engine reads no clock and does no
//! I/O.*
//!
//! What follows from it:
//!
//! - A [`Effect::Send`] names a counted pool buffer. Whoever sends it calls [`Engine::release`] once the kernel took it; a
//!   transaction may end while its last datagram is still in a ring.
//! - [`Now`] is an argument: the monotonic part never goes backwards and runs every timer, the wall part may step and
//!   serves records and time windows only.
//! - The routing [`Image`] is an argument. Calls keep stable slots (numbers that survive a reload), never a reference.
//! - Inputs and effects name a [`Flow`] (listener, transport, peer), never a bare address.
//!
//! This crate is `no_std`, forbids `unsafe`, and takes all its memory in [`Engine::new`].

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod admission;
pub mod bus;
pub mod call;
pub mod counter;
pub mod engine;
pub mod flow;
pub mod identity;
pub mod limits;
pub mod memory;
pub mod message;
pub mod number;
pub mod routing;
pub mod siphash;
pub mod steering;
pub mod time;
pub mod token;
pub mod transaction;

pub use counter::{Counter, Counters};
pub use engine::{Effect, Effects, Engine, Input, Settings};
pub use flow::{Endpoint, Flow, ListenerIndex, Transport};
pub use memory::BufferRef;
pub use routing::Image;
pub use time::{Instant, Now, WallTime};
