//! A call: all of one attempt, from its INVITE to its one end.
//!
//! ```text
//!             INVITE                2xx                    ACK
//!   (nothing) ──────► Early ──────────────► Unacknowledged ──────► Confirmed ◄─┐ ACK, re-INVITE, UPDATE, …
//!                       │                        │                    │   └────┘
//!                       │ non-2xx final          │ noack_timeout      │ BYE answered or timed out,
//!                       │ CANCEL, time-out       │ BYE answered       │ default_timeout
//!                       ▼                        ▼                    ▼
//!                     end ◄──────────────────────┴────────────────────┘   (end.rs, the only way out)
//! ```
//!
//! Transactions outlive their call (they linger for retransmissions) and hold a [`CallRef`] that goes stale at the end.

mod end;

use heapless::Vec;

use crate::flow::Flow;
use crate::limits::EARLY_DIALOGS_MAX;
use crate::memory::Ref;
use crate::routing::{CarrierSlot, GatewaySlot, ProviderSlot};
use crate::time::{Instant, WallTime};

pub use end::EndReason;

/// A handle on a call.
pub type CallRef = Ref<Call>;

/// The states of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// The INVITE has no final response yet.
    Early,
    /// A 2xx went upstream, its ACK has not come.
    Unacknowledged,
    /// The dialog stands.
    Confirmed,
}

/// One side of a call.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Leg {
    /// Where its requests go: the peer that was learned, never a name from a message.
    pub flow: Flow,
}

/// The dialogs of a call on its callee's side: each To tag that a 1xx or 2xx brought. Tags are held as keyed 64-bit hashes.
#[derive(Clone, Debug, Default)]
pub struct Dialogs {
    tags: Vec<u64, EARLY_DIALOGS_MAX, u8>,
    confirmed: u8,
}

const _: () = assert!(EARLY_DIALOGS_MAX <= u8::BITS as usize, "one bit a dialog");

impl Dialogs {
    /// Notes a tag; true when it is known now, false when there is no room for another fork.
    pub fn learn(&mut self, tag: u64) -> bool {
        self.tags.contains(&tag) || self.tags.push(tag).is_ok()
    }

    /// Whether a tag belongs to one of the dialogs.
    #[must_use]
    pub fn knows(&self, tag: u64) -> bool {
        self.tags.contains(&tag)
    }

    /// Confirms the dialog of a tag. Where there is no room, it takes that of an early dialog: a fork that answered counts more
    /// than one that only rang. False when every other fork answered as well.
    pub fn confirm(&mut self, tag: u64) -> bool {
        if !self.learn(tag) {
            let early = (0..self.tags.len()).find(|at| self.confirmed & 1 << at == 0);
            let Some(at) = early else { return false };
            self.tags[at] = tag;
        }
        if let Some(at) = self.tags.iter().position(|known| *known == tag) {
            self.confirmed |= 1 << at;
        }
        true
    }

    /// A dialog was ended by BYE: true when no confirmed one is left.
    pub fn end(&mut self, tag: u64) -> bool {
        if let Some(at) = self.tags.iter().position(|known| *known == tag) {
            self.confirmed &= !(1 << at);
        }
        self.confirmed == 0
    }
}

/// The record of a call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where in the figure it stands.
    pub state: State,
    /// Keyed hash of its Call-ID.
    pub call_hash: u64,
    /// Tells this passage from another one of the same Call-ID (a spiral).
    pub pass: u32,
    /// CSeq number of the INVITE: that of its ACK.
    pub cseq: u32,
    /// Keyed hash of the caller's tag.
    pub caller_tag: u64,
    /// Who called.
    pub caller: Leg,
    /// Who is called.
    pub callee: Leg,
    /// The dialogs on the callee's side.
    pub dialogs: Dialogs,
    /// Whose call it is.
    pub provider: ProviderSlot,
    /// The gateway that it went to.
    pub gateway: GatewaySlot,
    /// The carrier of that gateway.
    pub carrier: CarrierSlot,
    /// When its INVITE came.
    pub started: WallTime,
    /// When the running state's timer ends it: `noack_timeout`, `default_timeout`, or never.
    pub timeout_at: Instant,
}

/// Which side sent a request.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Side {
    /// The one that called.
    Caller,
    /// The one that was called.
    Callee,
}

impl Call {
    /// The key of a call in the call index.
    #[must_use]
    pub const fn key(call_hash: u64, pass: u32) -> u64 {
        // The hash is keyed already; the pass only has to move it elsewhere, so an odd multiplier will do.
        call_hash ^ (pass as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The side that sends a request with these tag hashes, with the tag of the callee's dialog; `None` when they are not this
    /// call's (RFC 3261 §12.2.2).
    #[must_use]
    pub fn sender(&self, from_tag: u64, to_tag: u64) -> Option<(Side, u64)> {
        if from_tag == self.caller_tag && self.dialogs.knows(to_tag) {
            Some((Side::Caller, to_tag))
        } else if to_tag == self.caller_tag && self.dialogs.knows(from_tag) {
            Some((Side::Callee, from_tag))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Dialogs;
    use crate::limits::EARLY_DIALOGS_MAX;

    #[test]
    fn the_last_confirmed_dialog_ends_the_call() {
        let mut dialogs = Dialogs::default();
        assert!(dialogs.confirm(1) && dialogs.confirm(2));
        assert!(!dialogs.end(1));
        assert!(dialogs.end(2));
    }

    #[test]
    fn forks_are_bounded() {
        let mut dialogs = Dialogs::default();
        for tag in 0..EARLY_DIALOGS_MAX as u64 {
            assert!(dialogs.learn(tag));
        }
        assert!(!dialogs.learn(99));
        assert!(dialogs.learn(3), "a known tag needs no room");
        assert!(!dialogs.knows(99));
        assert!(
            dialogs.confirm(99) && dialogs.knows(99) && !dialogs.knows(0),
            "an answer takes a ringing fork's place"
        );
        for tag in 1..EARLY_DIALOGS_MAX as u64 {
            assert!(dialogs.confirm(tag));
        }
        assert!(!dialogs.confirm(100), "all have answered");
    }
}
