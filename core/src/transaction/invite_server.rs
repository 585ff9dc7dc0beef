//! The INVITE server transaction: RFC 3261 §17.2.1 (figure 7) as changed by RFC 6026 §7.1 and §8.7.
//!
//! ```text
//!                     start: tell the INVITE
//!                                 │
//!   INVITE: last 1xx again ┌──────▼─────┐
//!   1xx from core: send    │            ├──┐ transport error: tell
//!                     ┌────┤ Proceeding │◄─┘
//!                     └───►└──┬──────┬──┘
//!   300–699 from core: send   │      │   2xx from core: send
//!                   ┌─────────┘      └────────────────┐
//!   INVITE, G: again│                                 │  INVITE: absorb
//!   tr. error: tell │                                 │  2xx from core: send
//!          ┌──┐┌────▼──────┐                  ┌───────▼──┐┌──┐  ACK: tell
//!          └─►─┤ Completed │ G*, H            │ Accepted ├◄─┘  transport error: tell
//!              └─┬───────┬─┘                  └───────┬──┘  L
//!            ACK │       │ H: tell                    │ L
//!      ┌─────────▼─┐     │                            │
//!      │ Confirmed │ I (0 when reliable)              │
//!      └─┬──▲────┬─┘     │                            │
//!        └──┘    │ I     │       ┌────────────┐       │
//!  ACK, INVITE:  └───────┴──────►│ Terminated │◄──────┘
//!  absorb                        └────────────┘       * G not when reliable
//! ```
//!
//! The transaction user is a proxy core. It sends the 100 at once, as its first provisional response, so there is always one to
//! repeat and no 200 ms timer (§17.2.1). It ends each Proceeding by its own timers. Retransmitting 2xx is the far
//! UAS's business (§13.3.1.4): each one that comes is passed through Accepted and leaves by [`Send::New`].
//!
//! A transport error changes no state (RFC 6026 §7.1): the caller may still be there, and another response may reach it.

use super::{Action, Change, Send, Tell, Timer};

/// State of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// The core works on it; provisional responses may have left.
    Proceeding,
    /// A 300–699 left and waits for its ACK.
    Completed,
    /// The ACK came; its retransmissions are absorbed.
    Confirmed,
    /// A 2xx left; INVITE retransmissions are absorbed, further 2xx pass (RFC 6026).
    Accepted,
    /// Over: the record goes back to its slab.
    Terminated,
}

/// Event of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The INVITE came again.
    Request,
    /// The core answers 100–199.
    Provisional,
    /// The core answers 200–299.
    Success,
    /// The core answers 300–699.
    Failure,
    /// An ACK with this transaction's branch came (§17.2.3).
    Ack,
    /// Timer G fired.
    Retransmit,
    /// Timer H, I or L fired: the one that runs in this state.
    Timeout,
    /// The transport could not send, or reported the peer unreachable.
    TransportError,
}

/// The new transaction (RFC 3261 §17.2.1): it passes the INVITE up and sends nothing by itself.
#[must_use]
pub const fn start(_reliable: bool) -> (State, Action) {
    (State::Proceeding, Action { tell: Tell::Message, ..Action::ABSORB })
}

/// The figure as a table. `None`: the event cannot happen in this state, or means nothing there.
#[must_use]
pub const fn step(state: State, event: Event, reliable: bool) -> Option<(State, Action)> {
    use Event::{Ack, Failure, Provisional, Request, Retransmit, Success, Timeout, TransportError};
    use State::{Accepted, Completed, Confirmed, Proceeding, Terminated};
    Some(match (state, event) {
        // RFC 3261 §17.2.1: the most recent provisional response again; the core does not hear of it.
        (Proceeding, Request) => (Proceeding, Action { send: Send::Again, ..Action::ABSORB }),
        (Proceeding, Provisional) => (Proceeding, Action { send: Send::New, ..Action::ABSORB }),
        // RFC 6026 §7.1: no longer the end. L has the same length over every transport.
        (Proceeding, Success) => {
            (Accepted, Action { send: Send::New, timeout: Change::Start(Timer::L), ..Action::ABSORB })
        }
        // RFC 3261 §17.2.1: H bounds the wait for the ACK over every transport, G repeats when unreliable.
        (Proceeding, Failure) => {
            let retransmit = if reliable { Change::Keep } else { Change::Start(Timer::G) };
            (Completed, Action { send: Send::New, retransmit, timeout: Change::Start(Timer::H), ..Action::ABSORB })
        }

        // RFC 3261 §17.2.1.
        (Completed, Request) => (Completed, Action { send: Send::Again, ..Action::ABSORB }),
        (Completed, Retransmit) if !reliable => {
            (Completed, Action { send: Send::Again, retransmit: Change::Again(Timer::G), ..Action::ABSORB })
        }
        // RFC 3261 §17.2.1: I is zero when reliable, so Confirmed is skipped.
        (Completed, Ack) if reliable => (Terminated, Action::END),
        (Completed, Ack) => {
            (Confirmed, Action { retransmit: Change::Stop, timeout: Change::Start(Timer::I), ..Action::ABSORB })
        }
        // RFC 3261 §17.2.1: H means that the ACK never came; a proxy core counts it (§16.9 asks no more).
        (Completed, Timeout) => (Terminated, Action { tell: Tell::Timeout, ..Action::END }),
        // RFC 3261 §17.2.1: whatever the core sends after a final response is discarded.
        (Completed, Provisional | Success | Failure) => (Completed, Action::ABSORB),

        // When reliable there is no such state.
        (Confirmed, _) if reliable => return None,
        // RFC 3261 §17.2.1: Confirmed is there to absorb ACKs; a delayed INVITE is older still.
        (Confirmed, Ack | Request | Provisional | Success | Failure) => (Confirmed, Action::ABSORB),
        // RFC 3261 §17.2.1: I.
        (Confirmed, Timeout) => (Terminated, Action::END),

        // RFC 6026 §7.1: the INVITE is recognised and goes no further, which is what Accepted is for.
        (Accepted, Request) => (Accepted, Action::ABSORB),
        // RFC 6026 §7.1: a 2xx from the core passes; none is repeated from here.
        (Accepted, Success) => (Accepted, Action { send: Send::New, ..Action::ABSORB }),
        // RFC 6026 §7.1: an ACK for a 2xx goes to the core. Usually it has a branch of its own and is met elsewhere.
        (Accepted, Ack) => (Accepted, Action { tell: Tell::Message, ..Action::ABSORB }),
        // RFC 6026 §8.7: the call is answered; no other response may leave.
        (Accepted, Provisional | Failure) => (Accepted, Action::ABSORB),
        // RFC 6026 §8.7: L.
        (Accepted, Timeout) => (Terminated, Action::END),

        // RFC 6026 §7.1, figure 7: the core is told and the state stays.
        (Proceeding | Completed | Accepted, TransportError) => {
            (state, Action { tell: Tell::TransportError, ..Action::ABSORB })
        }

        // Proceeding has no timer, an ACK before a final response acknowledges nothing, G runs in Completed only, Confirmed
        // sends nothing.
        (Proceeding, Ack | Retransmit | Timeout)
        | (Completed | Confirmed | Accepted, Retransmit)
        | (Confirmed, TransportError)
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
        states: &[Proceeding, Completed, Confirmed, Accepted, Terminated],
        events: &[Request, Provisional, Success, Failure, Ack, Retransmit, Timeout, TransportError],
        retransmit: Retransmit,
        timeout: Timeout,
        terminated: Terminated,
        // The hunt's timers: the core answers every INVITE.
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
