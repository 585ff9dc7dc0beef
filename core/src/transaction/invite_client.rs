//! The INVITE client transaction: RFC 3261 §17.1.1.2 (figure 5) as changed by RFC 6026 §7.2.
//!
//! ```text
//!                     start: send INVITE, A*, B
//!                                 │
//!                  A: again ┌─────▼─────┐ B, transport error: tell
//!                     ┌─────┤  Calling  ├──────────────────────────────┐
//!                     └────►└┬────┬────┬┘                              │
//!       300–699: ACK, tell   │    │    │  2xx: tell                    │
//!          ┌─────────────────┘    │    └────────────────┐              │
//!          │                      │ 1xx: tell           │              │
//!          │                ┌─────▼──────┐              │              │
//!          │◄───────────────┤ Proceeding ├─────────────►│              │
//!          │  300–699:      └┬──▲──────┬─┘    2xx: tell │              │
//!          │  ACK, tell      └──┘      │                │              │
//!          │               1xx: tell   └── transport error: tell ─────►│
//!    ┌─────▼─────┐                                ┌─────▼────┐         │
//!    │ Completed │ D (0 when reliable)            │ Accepted │ M       │
//!    └┬──▲──┬────┘                                └┬──▲──┬───┘         │
//!     └──┘  │ D; transport error: tell             └──┘  │ M           │
//!  300–699: │                                  2xx: tell │             │
//! ACK again │               ┌────────────┐               │             │
//!           └──────────────►│ Terminated │◄──────────────┴─────────────┘
//!                           └────────────┘            * A not when reliable
//! ```
//!
//! The transaction user is a proxy core: after the first provisional response its Timer C bounds the wait (RFC 3261 §16.6 item 11),
//! so B is stopped, and Proceeding has no timer of its own. Every 2xx is told, retransmitted and forked ones too,
//! since a proxy forwards them all (§16.7 item 5); their ACKs pass end to end and are not this machine's.
//!
//! Not in the figure: a transport error in Proceeding ends the transaction as in Calling. It is the gateway's ICMP report about
//! a later message of the call; waiting for Timer C would hold the caller for minutes.

use super::{Action, Change, Send, Tell, Timer};

/// State of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// The INVITE is out, nothing came back.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// A 300–699 came and was acknowledged; its retransmissions are acknowledged again.
    Completed,
    /// A 2xx came; further ones are passed on (RFC 6026).
    Accepted,
    /// Over: the record goes back to its slab.
    Terminated,
}

/// Event of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A 100–199 came.
    Provisional,
    /// A 200–299 came.
    Success,
    /// A 300–699 came.
    Failure,
    /// Timer A fired.
    Retransmit,
    /// Timer B, D or M fired: the one that runs in this state.
    Timeout,
    /// The transport could not send, or reported the peer unreachable.
    TransportError,
}

/// The new transaction (RFC 3261 §17.1.1.2): it sends the INVITE.
#[must_use]
pub const fn start(reliable: bool) -> (State, Action) {
    let retransmit = if reliable { Change::Keep } else { Change::Start(Timer::A) };
    (State::Calling, Action { send: Send::New, retransmit, timeout: Change::Start(Timer::B), ..Action::ABSORB })
}

/// The figure as a table. `None`: the event cannot happen in this state, or means nothing there.
#[must_use]
pub const fn step(state: State, event: Event, reliable: bool) -> Option<(State, Action)> {
    use Event::{Failure, Provisional, Retransmit, Success, Timeout, TransportError};
    use State::{Accepted, Calling, Completed, Proceeding, Terminated};
    Some(match (state, event) {
        // RFC 3261 §17.1.1.2: the first 1xx ends retransmission; B guards Calling only.
        (Calling, Provisional) => (
            Proceeding,
            Action { tell: Tell::Message, retransmit: Change::Stop, timeout: Change::Stop, ..Action::ABSORB },
        ),
        (Proceeding, Provisional) => (Proceeding, Action { tell: Tell::Message, ..Action::ABSORB }),

        // RFC 6026 §7.2: the transaction stays to match further 2xx; M has the same length over every transport.
        (Calling | Proceeding, Success) => (
            Accepted,
            Action {
                tell: Tell::Message,
                retransmit: Change::Stop,
                timeout: Change::Start(Timer::M),
                ..Action::ABSORB
            },
        ),
        // RFC 3261 §17.1.1.2 and §17.1.1.3: acknowledge hop by hop. D is zero when reliable, so Completed is skipped.
        (Calling | Proceeding, Failure) if reliable => {
            (Terminated, Action { send: Send::Ack, tell: Tell::Message, ..Action::END })
        }
        (Calling | Proceeding, Failure) => (
            Completed,
            Action { send: Send::Ack, tell: Tell::Message, retransmit: Change::Stop, timeout: Change::Start(Timer::D) },
        ),

        // RFC 3261 §17.1.1.2: A only when unreliable.
        (Calling, Retransmit) if !reliable => {
            (Calling, Action { send: Send::Again, retransmit: Change::Again(Timer::A), ..Action::ABSORB })
        }
        // RFC 3261 §17.1.1.2: B; §16.8 lets the core treat it as a 408.
        (Calling, Timeout) => (Terminated, Action { tell: Tell::Timeout, ..Action::END }),
        // RFC 3261 §17.1.4; for Proceeding see the head of this file.
        (Calling | Proceeding, TransportError) => (Terminated, Action { tell: Tell::TransportError, ..Action::END }),

        // When reliable there is no such state.
        (Completed, _) if reliable => return None,
        // RFC 3261 §17.1.1.2: the ACK was lost; the core has the response already.
        (Completed, Failure) => (Completed, Action { send: Send::Again, ..Action::ABSORB }),
        // RFC 6026, figure 5, gives Completed no arrow for either: the branch is decided. A late 2xx (a fork behind the gateway that
        // lost) is absorbed and counted; its sender gives up by §13.3.1.4 and sends BYE.
        (Completed, Provisional | Success) => (Completed, Action::ABSORB),
        // RFC 3261 §17.1.1.2: D.
        (Completed, Timeout) => (Terminated, Action::END),
        // RFC 3261 §17.1.4: the ACK could not be sent.
        (Completed, TransportError) => (Terminated, Action { tell: Tell::TransportError, ..Action::END }),

        // RFC 6026 §7.2: retransmitted or forked, each goes to the core.
        (Accepted, Success) => (Accepted, Action { tell: Tell::Message, ..Action::ABSORB }),
        // RFC 6026 §7.2: no arrow; overtaken provisional responses and failures of other forks end here.
        (Accepted, Provisional | Failure) => (Accepted, Action::ABSORB),
        // RFC 6026 §7.2: M.
        (Accepted, Timeout) => (Terminated, Action::END),

        // No retransmission timer runs in these states, Proceeding has no timer at all, Accepted sends nothing.
        (Calling | Proceeding | Completed | Accepted, Retransmit)
        | (Proceeding, Timeout)
        | (Accepted, TransportError)
        | (Terminated, _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::matrix::{Machine, check_laws, print};
    use Event::*;
    use State::*;

    const MACHINE: Machine<State, Event> = Machine {
        start,
        step,
        states: &[Calling, Proceeding, Completed, Accepted, Terminated],
        events: &[Provisional, Success, Failure, Retransmit, Timeout, TransportError],
        retransmit: Retransmit,
        timeout: Timeout,
        terminated: Terminated,
        // Timer C of the proxy core.
        bounded_by_core: &[Proceeding],
    };

    #[test]
    fn matrix() {
        insta::assert_snapshot!(print(&MACHINE));
    }

    #[test]
    fn laws() {
        check_laws(&MACHINE);
    }
}
