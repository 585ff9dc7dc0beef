//! What an engine is made from.

use alloc::sync::Arc;
use core::time::Duration;

use arrayvec::{ArrayString, ArrayVec};

use super::Budget;
use crate::admission::Caps;
use crate::flow::Endpoint;
use crate::limits::{HOST_MAX, LISTENERS_MAX};
use crate::routing::ListenerSlot;
use crate::siphash::Key;
use crate::steering::{ShardIndex, Steering};

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
    /// What a failed gateway means.
    pub policy: Policy,
    /// Record counts.
    pub budget: Budget,
    /// Caps and rates, shared by all engines of the node.
    pub caps: Arc<Caps>,
}

/// A listener as the engine writes it into messages.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its slot in the image.
    pub slot: ListenerSlot,
    /// The bound address.
    pub bound: Endpoint,
    /// `host:port` or `[v6]:port` for Via and Record-Route: the advertised one, else the bound one.
    pub advertised: ArrayString<{ HOST_MAX + 6 }>,
}

/// What to do with an out-of-dialog request from an unknown source.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum UnknownSource {
    /// Silence.
    Drop,
    /// 403.
    Forbid,
}

/// Choices of the operator that hold for the whole node.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Another gateway may be tried after a 101–199 went upstream.
    pub hunt_after_ringing: bool,
    /// A gateway's 503 goes upstream as 500 (RFC 3261 §16.7 step 6).
    pub remap_503: bool,
    /// An expired session is ended with BYE both ways (exception to RFC 4028 §8.3).
    pub bye_on_expiry: bool,
    /// While calls are shed, whoever owns the sockets is asked to drop a share of them unanswered ([`Effect::Shed`](crate::Effect::Shed)).
    pub shed_in_kernel: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { hunt_after_ringing: true, remap_503: true, bye_on_expiry: true, shed_in_kernel: true }
    }
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
    /// A gateway's silence after an INVITE [4 s].
    pub fr_timer: Duration,
    /// From a bare 100 to a 101–199 or final response [10 s].
    pub progress_timeout: Duration,
    /// From the INVITE to the first 101–199 or final response, over all gateways [30 s].
    pub invite_timeout: Duration,
    /// Timer C, restarted by each 101–199 [180 s].
    pub ring_timeout: Duration,
    /// From the first 101–199 to the answer, over all gateways [300 s].
    pub early_timeout: Duration,
    /// A confirmed dialog without ACK [60 s].
    pub noack_timeout: Duration,
    /// A confirmed dialog without a refresh [1800 s].
    pub default_timeout: Duration,
    /// A media node's answer, if the control core never gives one [5 s].
    pub media_timeout: Duration,
    /// Where `timeout_mode` is `media`: how old the last RTP of a call may be that outlives its `default_timeout`, and when a node that
    /// gave no answer is asked again [60 s].
    pub media_idle: Duration,
    /// Shortest session interval that is let through (RFC 4028 §5) [90 s].
    pub min_se: Duration,
    /// Session interval that is asked for, and the longest that is let through (RFC 4028 §4) [1800 s].
    pub session_expires: Duration,
}

impl Timers {
    /// How long a finished transaction lingers for retransmissions: 64·T1 (RFC 3261 table 4).
    #[must_use]
    pub const fn linger(&self) -> Duration {
        self.t1.saturating_mul(64)
    }
}

impl Default for Timers {
    fn default() -> Timers {
        Timers {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            fr_timer: Duration::from_secs(4),
            progress_timeout: Duration::from_secs(10),
            invite_timeout: Duration::from_secs(30),
            ring_timeout: Duration::from_secs(180),
            early_timeout: Duration::from_secs(300),
            noack_timeout: Duration::from_secs(60),
            default_timeout: Duration::from_secs(1800),
            media_timeout: Duration::from_secs(5),
            media_idle: Duration::from_secs(60),
            min_se: Duration::from_secs(90),
            session_expires: Duration::from_secs(1800),
        }
    }
}
