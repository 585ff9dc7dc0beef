//! Admission: who may open a call. Caps and rates of providers, carriers and gateways, exact over all shards; daily limits; and, for
//! each shard, what it sheds when it cannot keep up.
//!
//! ```text
//!   new INVITE ─► provider recognised ─► Overload::admits ──no──► 503 + Retry-After, stateless, nothing was taken
//!                                              │ yes
//!                                  Caps::admit_provider ──Refusal──► the provider's refuse_code, Q.850 cause 34
//!                                              │ ProviderHold ─────────────────────────────────────► into the Call
//!   Image::select_where(… Caps::has_room) ─► candidates
//!                                              │ each, as it is tried
//!                                    Caps::take_gateway ──Refusal──► next candidate
//!                                              │ GatewayHold ─────────────────────────────────────► with the branch
//!   branch failed ─► Caps::release_gateway     call ended (call/end.rs) ─► Caps::release_provider, Caps::release_gateway
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `caps` | the shared table: taking and giving back |
//! | `row` | one peer's words, and how several are taken as one |
//! | `rate` | calls per second: GCRA in one word |
//! | `daily` | calls and minutes of a day that ends at the provider's midnight |
//! | `overload` | per shard: queueing delay, shedding, fair shares |
//! | `thinning` | what of an overloading provider's calls should not even arrive |
//!
//! **What counts.** A peer is counted from the moment it has a limit: calls that it opened before hold nothing. What a call took is
//! written in its holds, so that it is given back exactly once and exactly so, whatever an image swap did to the limit in
//! between; a limit that was lowered below what is held refuses until enough calls have ended.
//!
//! **What is exact.** For a cap of N there are never N + 1 holds, and nobody is refused while fewer than N calls hold one: a refusal
//! rests on a look during which nobody was in the middle of taking something that he then did not get (`row`). One hole is left
//! and bounded: a shard that loses its core for longer than [`LOOKS_MAX`](crate::limits::LOOKS_MAX) looks within those few
//! instructions may make another one refuse a last free slot.
//!
//! Refused here: locks, waiting, allocation after the start, touching a shared word for a peer without limits.

mod caps;
mod daily;
mod overload;
mod rate;
mod row;
mod thinning;

use crate::counter::Counter;
use crate::routing::{Candidate, Carrier, Gateway, Image, Provider};

pub use caps::{Caps, CapsSize, GatewayHold, ProviderHold};
pub use daily::{Day, DayCount};
pub use overload::{Overload, Queue};
pub use rate::Rate;

/// Limits of a gateway or carrier, and those of a provider that do not know of days.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Calls at the same time.
    pub max_calls: Option<u32>,
    /// New calls per second.
    pub rate: Option<Rate>,
}

impl Limits {
    /// No limits at all.
    pub const NONE: Limits = Limits { max_calls: None, rate: None };

    /// Those of a candidate's carrier and gateway; one that is gone has none.
    #[must_use]
    pub fn of_candidate(image: &Image<'_>, candidate: Candidate) -> (Limits, Limits) {
        let carrier = image.carrier(candidate.carrier);
        let [max_cps, burst, max_calls] = image.gateway_limits(candidate.gateway);
        (carrier.map_or(Limits::NONE, |carrier| (&carrier).into()), Limits::of(max_cps, burst, max_calls))
    }

    fn of(max_cps: Option<u32>, burst: Option<u32>, max_calls: Option<u32>) -> Limits {
        Limits { max_calls, rate: max_cps.map(|max_cps| Rate::new(max_cps, burst)) }
    }
}

impl From<&Gateway<'_>> for Limits {
    fn from(gateway: &Gateway<'_>) -> Limits {
        Limits::of(gateway.max_cps, gateway.burst, gateway.max_calls)
    }
}

impl From<&Carrier<'_>> for Limits {
    fn from(carrier: &Carrier<'_>) -> Limits {
        Limits::of(carrier.max_cps(), carrier.burst(), carrier.max_calls())
    }
}

/// Limits of a provider.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct ProviderLimits {
    /// Calls at the same time and per second.
    pub now: Limits,
    /// Calls admitted in a day.
    pub max_calls_day: Option<u32>,
    /// Minutes talked in a day; a call counts when it ends.
    pub max_minutes_day: Option<u32>,
}

impl From<&Provider<'_>> for ProviderLimits {
    fn from(provider: &Provider<'_>) -> ProviderLimits {
        ProviderLimits {
            now: Limits::of(provider.max_cps, provider.burst, provider.max_calls),
            max_calls_day: provider.max_calls_day,
            max_minutes_day: provider.max_minutes_day,
        }
    }
}

/// Whose limit it was.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// The caller's network.
    Provider,
    /// The row of `provider_address` that the call came from.
    Address,
    /// The carrier of the candidate.
    Carrier,
    /// The candidate itself.
    Gateway,
}

/// Which limit it was.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Limit {
    /// `max_calls`.
    Calls,
    /// `max_cps` with `burst`.
    Rate,
    /// `max_calls_day`.
    CallsOfDay,
    /// `max_minutes_day`.
    MinutesOfDay,
    /// The peer has a limit and a slot beyond the table ([`CapsSize::holds`] was not asked before the image was taken): what cannot be
    /// counted cannot be kept, and is refused.
    NoRow,
}

/// Why a call was not admitted, or a candidate skipped. Each has its counter: [`Refusal::counter`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Whose limit.
    pub peer: Peer,
    /// Which one.
    pub limit: Limit,
}

impl Refusal {
    /// Where it is counted.
    #[must_use]
    pub const fn counter(self) -> Counter {
        match (self.peer, self.limit) {
            (Peer::Provider, Limit::CallsOfDay | Limit::MinutesOfDay) => Counter::ProviderDayUsed,
            (Peer::Provider, _) => Counter::ProviderCapped,
            (Peer::Address, _) => Counter::AddressCapped,
            (Peer::Carrier | Peer::Gateway, _) => Counter::CandidateCapped,
        }
    }
}
