//! A call: all of one attempt, from its INVITE to its one end.
//!
//! ```text
//!   state.rs    the figure                      hunt.rs     the gateways, one after the other, and the best answer so far
//!   dialogs.rs  whose tags belong to it         text.rs     what Corelane must know to end it by itself
//!   end.rs      the one terminal step           record.rs   the facts of its CDR
//!   session.rs  the session timer (RFC 4028)        media.rs    the session at a media node, and what an SDP means
//! ```
//!
//! The record owns everything that the call holds: the hunt with its best answer, the text of the dialog, the timer. Transactions
//! outlive their call (they linger for retransmissions) and hold a [`CallRef`] that goes stale at the end.

mod dialogs;
mod end;
pub mod hunt;
pub mod media;
mod record;
pub mod session;
pub mod state;
pub mod text;

use core::time::Duration;

use crate::admission::{GatewayHold, ProviderHold};
use crate::engine::{ClientRef, ServerRef};
use crate::flow::Flow;
use crate::identity::Shown;
use crate::memory::{BufferRef, Ref};
use crate::message::Span;
use crate::number::Number;
use crate::routing::{Candidate, ProviderSlot};
use crate::time::{Instant, WallTime};

pub use dialogs::{Dialogs, Known};
pub use record::{CallRecord, EndReason};
pub use state::State;

/// A handle on a call.
pub type CallRef = Ref<Call>;

/// Which side of a call.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Side {
    /// The one that called.
    Caller,
    /// The one that was called.
    Callee,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }
}

/// One side of a call.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Leg {
    /// Where its requests go: the peer that was learned, never a name from a message.
    pub flow: Flow,
    /// The highest CSeq number that it used in this dialog (RFC 3261 §12.2.1.1): a request in its name has one more.
    pub cseq: u32,
}

/// What of the INVITE is needed again: for the next gateway, and for the text of the dialog.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Opening {
    /// Number of its CSeq: that of its ACK.
    pub(crate) cseq: u32,
    /// Hash of all that routing looked at (RFC 5393 §4.2.1).
    pub(crate) loop_hash: u32,
    /// Route values of ours on top of it.
    pub(crate) strip_routes: u8,
    /// It came with a Record-Route: other proxies stand between the caller and us.
    pub(crate) record_routed: bool,
    /// The caller's Contact URI within the stored INVITE.
    pub(crate) contact: Option<Span>,
    /// What it asks for of the session timer, to each gateway.
    pub(crate) session: session::Terms,
}

/// What leads to the end of a call that its state does not show.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Leaving {
    /// Nothing.
    No,
    /// A peer's BYE is on its way: no answer to anything else ends the call sooner.
    Peer,
    /// It was hung up and also given up otherwise: a 2xx that crosses the CANCEL is for nobody.
    HungUp,
}

/// The record of a call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where in the figure it stands.
    pub(crate) state: State,
    /// Keyed hash of its Call-ID.
    pub(crate) call_hash: u64,
    /// Tells this passage from another one of the same Call-ID (a spiral).
    pub(crate) pass: u32,
    /// Who called.
    pub(crate) caller: Leg,
    /// Who is called: the gateway that is tried, or that answered.
    pub(crate) callee: Leg,
    /// The tags of both sides.
    pub(crate) dialogs: Dialogs,
    /// Whose call it is.
    pub(crate) provider: ProviderSlot,
    /// The gateway of `callee`, and its carrier.
    pub(crate) candidate: Option<Candidate>,
    /// The INVITE's server transaction.
    pub(crate) server: ServerRef,
    /// The branch that is tried; none between the last failure and the end.
    pub(crate) branch: Option<ClientRef>,
    /// What it holds of its provider.
    pub(crate) hold: ProviderHold,
    /// What it holds of the gateway that answered; while it is tried, the branch holds it.
    pub(crate) gateway_hold: GatewayHold,
    pub(crate) hunt: hunt::Hunt,
    /// The number after the provider's rules, for the next gateway.
    pub(crate) number: Option<Number>,
    pub(crate) opening: Opening,
    /// [`text::DialogText`], from the answer to the end.
    pub(crate) text: Option<BufferRef>,
    /// When its INVITE came.
    pub(crate) started: WallTime,
    /// When the 2xx went upstream, by both clocks.
    pub(crate) answered: Option<(WallTime, Instant)>,
    /// When the running state's timer fires.
    pub(crate) timeout_at: Instant,
    /// When the wheel looks at the call: not later than `timeout_at`. Deadlines mostly move away, and a wheel that looks too early
    /// costs less than one that is set anew each time.
    pub(crate) armed_at: Instant,
    /// Timer C of the gateway, the provider or the node.
    pub(crate) ring_timeout: Duration,
    /// `default_timeout` of the provider or the node.
    pub(crate) default_timeout: Duration,
    /// How the gateway that knows least of the caller knows him.
    pub(crate) shown: Shown,
    /// Whether its end is under way besides what the figure says.
    pub(crate) leaving: Leaving,
    /// Its session at a media node; `None`: media goes from end to end.
    pub(crate) media: Option<media::Media>,
    /// Whether and until when the session stands.
    pub(crate) session: session::Session,
    /// The final status that went upstream.
    pub(crate) status: u16,
    /// Why it is being cancelled, or ends with its ACK; `Refused`: it does not.
    pub(crate) given_up: EndReason,
}

impl Call {
    /// The key of a call in the call index.
    #[must_use]
    pub const fn key(call_hash: u64, pass: u32) -> u64 {
        // The hash is keyed already; the pass only has to move it elsewhere, so an odd multiplier will do.
        call_hash ^ (pass as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The leg of a side.
    pub(crate) fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Caller => &mut self.caller,
            Side::Callee => &mut self.callee,
        }
    }

    /// The leg of a side.
    pub(crate) const fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::Caller => &self.caller,
            Side::Callee => &self.callee,
        }
    }

    /// Whether it has not been answered and no final response went upstream.
    pub(crate) const fn is_early(&self) -> bool {
        matches!(self.state, State::Trying | State::Ringing | State::Cancelling)
    }
}
