//! What is left of a call when it has ended: the facts of its CDR, handed out once, at the terminal step.

use core::time::Duration;

use crate::counter::Counter;
use crate::routing::{CarrierSlot, GatewaySlot, ProviderSlot};
use crate::time::WallTime;

/// Why a call ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// A non-2xx final response went upstream: the gateway's, or Corelane's own.
    Refused,
    /// The caller cancelled.
    Cancelled,
    /// No answer within `invite_timeout`, `ring_timeout` or `early_timeout`.
    Unanswered,
    /// The caller's BYE.
    ByCaller,
    /// The callee's BYE.
    ByCallee,
    /// No ACK within `noack_timeout`.
    Unacknowledged,
    /// No refresh within `default_timeout`.
    Expired,
    /// No refresh within the session interval (RFC 4028 §10).
    SessionExpired,
    /// A peer no longer knew the dialog, or did not answer in it (481, 408: RFC 3261 §12.2.1.2).
    Lost,
    /// The operator, or drain.
    HungUp,
}

impl EndReason {
    /// The counter of calls that ended so.
    pub(crate) const fn counter(self) -> Counter {
        match self {
            EndReason::Refused => Counter::EndedRefused,
            EndReason::Cancelled => Counter::EndedCancelled,
            EndReason::Unanswered => Counter::EndedUnanswered,
            EndReason::ByCaller => Counter::EndedByCaller,
            EndReason::ByCallee => Counter::EndedByCallee,
            EndReason::Unacknowledged => Counter::EndedUnacknowledged,
            EndReason::Expired => Counter::EndedExpired,
            EndReason::SessionExpired => Counter::EndedSessionExpired,
            EndReason::Lost => Counter::EndedLost,
            EndReason::HungUp => Counter::EndedHungUp,
        }
    }
}

/// The facts of one call: exactly one for each call that was started.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct CallRecord {
    /// Keyed hash of its Call-ID; with `pass` the identity of the call on this node.
    pub call_hash: u64,
    /// Which passage of that Call-ID.
    pub pass: u32,
    /// Whose call it was.
    pub provider: ProviderSlot,
    /// The gateway that answered, or was tried last; `None` when none was tried.
    pub gateway: Option<GatewaySlot>,
    /// The carrier of that gateway.
    pub carrier: Option<CarrierSlot>,
    /// How many gateways were tried.
    pub attempts: u8,
    /// The final status that went upstream.
    pub status: u16,
    /// When the INVITE came.
    pub started: WallTime,
    /// When the 2xx went upstream.
    pub answered: Option<WallTime>,
    /// When it ended.
    pub ended: WallTime,
    /// How long it was answered, by the monotonic clock: the wall clock may have stepped.
    pub duration: Duration,
    /// Why it ended.
    pub reason: EndReason,
    /// Something was offered to a media node: the deletes of the call are owed.
    pub media: bool,
}

const _: () = assert!(size_of::<CallRecord>() <= 128, "an effect is copied about");
