//! Fixed memory: all of it is taken when the engine is made, none of it moves.

pub mod buffer;
pub mod index;
pub mod slab;
pub mod wheel;

pub use buffer::{BufferPool, BufferRef};
pub use index::Index;
pub use slab::{Ref, Slab};
pub use wheel::TimerWheel;

/// A fixed resource is used up: our limit, never the peer's fault.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Full(pub Resource);

/// What can be used up.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Resource {
    /// Call records.
    Calls,
    /// Server transactions.
    ServerTransactions,
    /// Client transactions.
    ClientTransactions,
    /// Message buffers.
    Buffers,
    /// A message would exceed [`MESSAGE_SIZE_MAX`](crate::limits::MESSAGE_SIZE_MAX).
    MessageSize,
}
