//! Fixed memory: all of it is taken when the engine is made, none of it moves.

pub mod buffer;
pub mod index;
pub mod slab;
pub mod wheel;

pub use buffer::{BufferPool, BufferRef, Room};
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
    /// Messages that wait for a media node.
    Exchanges,
    /// A message would exceed [`MESSAGE_SIZE_MAX`](crate::limits::MESSAGE_SIZE_MAX).
    MessageSize,
    /// Timers.
    Timers,
    /// Places of calls with capped peers.
    AdmissionPlaces,
    /// Deletes that are owed to media nodes.
    MediaDebts,
}

/// The account of one resource: `acquired == released + live` at all times.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// Of what.
    pub resource: Resource,
    /// How often one was taken.
    pub acquired: u64,
    /// How often one was given back.
    pub released: u64,
    /// How many are in use.
    pub live: u64,
}

/// What was taken of a resource that has no slab of its own, and what came back.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// How often one was taken.
    pub acquired: u64,
    /// How often one was given back.
    pub released: u64,
}

impl Tally {
    /// How many are in use; none where more came back than were taken, so that the account does not balance.
    #[must_use]
    pub const fn live(self) -> u64 {
        self.acquired.saturating_sub(self.released)
    }
}

impl Ledger {
    /// Whether nothing was lost and nothing given back twice.
    #[must_use]
    pub const fn balances(&self) -> bool {
        self.acquired == self.released + self.live
    }
}
