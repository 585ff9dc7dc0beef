//! The engine: one input in, effects out.

use alloc::boxed::Box;
use core::net::IpAddr;
use core::time::Duration;

use arrayvec::ArrayVec;

use crate::counter::Counters;
use crate::flow::{Endpoint, Flow};
use crate::limits::{EFFECTS_MAX, LISTENERS_MAX};
use crate::memory::BufferRef;
use crate::routing::{Image, ListenerSlot};
use crate::siphash::Key;
use crate::steering::{ShardIndex, Steering};
use crate::time::{Instant, Now};

/// What happened.
pub enum Input<'a> {
    /// A datagram came.
    Datagram {
        /// Listener and peer.
        flow: Flow,
        /// When the kernel or the receiving shard got it; the difference to now is queueing delay.
        received_at: Instant,
        /// The bytes.
        bytes: &'a [u8],
        /// It was longer than [`MESSAGE_SIZE_MAX`](crate::limits::MESSAGE_SIZE_MAX) and was cut there.
        truncated: bool,
    },
    /// The kernel reported that a peer cannot be reached (ICMP, from the error queue).
    Unreachable {
        /// The flow that failed.
        flow: Flow,
    },
    /// Time passed: due timers fire, as many as the effects can hold. Repeat while [`Engine::next_timeout`] is not later than now.
    Timeout,
}

/// What is to be done.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send the bytes of [`Engine::buffer`] to the flow, then [`Engine::release`] it once the kernel took it (or refused it).
    Send {
        /// Where to.
        flow: Flow,
        /// What.
        buffer: BufferRef,
    },
    /// The datagram of this input belongs to a call of another shard: hand it over. The engine did nothing else with it.
    Forward {
        /// The owner.
        shard: ShardIndex,
    },
}

/// The fixed sink of effects. Empty it after each [`Engine::handle`].
pub type Effects = ArrayVec<Effect, EFFECTS_MAX>;

/// A listener as the engine writes it into messages.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its slot in the image.
    pub slot: ListenerSlot,
    /// The bound address.
    pub bound: Endpoint,
    /// `host:port` or `[v6]:port` for Via and Record-Route: the advertised one, else the bound one.
    pub advertised: arrayvec::ArrayString<{ crate::limits::HOST_MAX + 6 }>,
}

/// What to do with an out-of-dialog request from an unknown source.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum UnknownSource {
    /// Silence.
    Drop,
    /// 403.
    Forbid,
}

/// Timer values.
#[derive(Copy, Clone, Debug)]
pub struct Timers {
    /// RFC 3261 T1, round-trip estimate [500 ms].
    pub t1: Duration,
    /// RFC 3261 T2, largest retransmission interval [4 s].
    pub t2: Duration,
    /// RFC 3261 T4, longest a message stays in the network [5 s].
    pub t4: Duration,
    /// Timer C, restarted by each 101–199 [180 s].
    pub ring_timeout: Duration,
    /// A confirmed dialog without ACK [60 s].
    pub noack_timeout: Duration,
    /// A confirmed dialog without a refresh [1800 s].
    pub default_timeout: Duration,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            ring_timeout: Duration::from_secs(180),
            noack_timeout: Duration::from_secs(60),
            default_timeout: Duration::from_secs(1800),
        }
    }
}

/// How many records of each kind one engine has. Made by [`Budget::for_shard`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Calls from INVITE to end.
    pub calls: u32,
    /// Server transactions, lingering ones included.
    pub server_transactions: u32,
    /// Client transactions, lingering ones included.
    pub client_transactions: u32,
    /// Buffers of each class of [`CLASS_SIZES`](crate::memory::buffer::CLASS_SIZES).
    pub buffers: [u32; 3],
}

impl Budget {
    /// The records of one of `shards` engines of a node that holds `calls_max` calls and takes `cps_max` new ones a second.
    #[must_use]
    pub fn for_shard(calls_max: u32, cps_max: u32, shards: u8, timers: &Timers) -> Budget {
        todo!()
    }
    /// Bytes that an engine of this budget takes, by item, for the bill: name, count, bytes in all.
    #[must_use]
    pub fn bill(&self) -> [(&'static str, u32, usize); 6] {
        todo!()
    }
}

/// All that an engine is made from.
#[derive(Clone)]
pub struct Settings {
    /// Which shard this is.
    pub shard: ShardIndex,
    /// Who owns which call.
    pub steering: Steering,
    /// The listeners; [`ListenerIndex`](crate::ListenerIndex) is a place in here.
    pub listeners: ArrayVec<Listener, LISTENERS_MAX>,
    /// The node's secret, from the state directory.
    pub secret: Key,
    /// Seed of this engine's own numbers (tags, draws); different at each start.
    pub seed: u64,
    /// Timer values.
    pub timers: Timers,
    /// Unknown sources.
    pub unknown_source: UnknownSource,
    /// Record counts.
    pub budget: Budget,
}

/// One shard's protocol engine.
pub struct Engine {
    counters: Counters,
}

impl Engine {
    /// Takes all memory that this engine will ever use. `now` is the start of its clock.
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Box<Engine> {
        todo!()
    }
    /// Handles one input. `effects` must be empty.
    pub fn handle(&mut self, now: Now, image: &Image<'_>, input: Input<'_>, effects: &mut Effects) {
        todo!()
    }
    /// The bytes of a buffer named by [`Effect::Send`]; their address is stable until it is released.
    #[must_use]
    pub fn buffer(&self, buffer: BufferRef) -> &[u8] {
        todo!()
    }
    /// Gives a sent buffer back.
    pub fn release(&mut self, buffer: BufferRef) {
        todo!()
    }
    /// A time not later than the next due timer; `None` when none runs.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        todo!()
    }
    /// The counters, gauges brought up to date.
    pub fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }
}
