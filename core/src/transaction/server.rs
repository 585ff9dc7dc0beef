//! The non-INVITE server transaction: RFC 3261 §17.2.2 (figure 8, with erratum 1470), RFC 4320 §4.
//!
//! ```text
//!                     start: tell the request
//!                                 │
//!                           ┌─────▼─────┐
//!          request: absorb  │  Trying   ├──┐
//!                           └──┬────┬───┘◄─┘
//!                              │    │ 1xx from core: send
//!  200–699 from core: send     │ ┌──▼─────────┐
//!                              │ │ Proceeding │◄─┐ request: again
//!                              │ └──┬──────┬──┘──┘ 1xx from core: send
//!                              │    │      │
//!     200–699 from core: send  │    │      └────── transport error: tell ─┐
//!                           ┌──▼────▼───┐                                 │
//!          request: again   │ Completed │ J (0 when reliable)             │
//!                           └─▲──┬────┬─┘                                 │
//!                             └──┘    │ J; transport error: tell          │
//!                              ┌──────▼─────┐                             │
//!                              │ Terminated │◄────────────────────────────┘
//!                              └────────────┘
//! ```
//!
//! The transaction user is a proxy core, and RFC 4320 binds what it may answer, not this table: §4.1 forbids provisional responses
//! other than 100, and a 100 over an unreliable transport before the client's Timer E has reached T2; §4.2 forbids 408. A
//! proxy core that never answers leaves Trying by forgetting the transaction once its client transaction has timed out.

use super::{Action, Change, Send, Tell, Timer};

/// State of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// The core works on it; nothing has left.
    Trying,
    /// A provisional response left.
    Proceeding,
    /// The final response left and is repeated on request.
    Completed,
    /// Over: the record goes back to its slab.
    Terminated,
}

/// Event of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The request came again.
    Request,
    /// The core answers 100–199.
    Provisional,
    /// The core answers 200–699.
    Final,
    /// Timer J fired.
    Timeout,
    /// The transport could not send, or reported the peer unreachable.
    TransportError,
}

/// The new transaction (RFC 3261 §17.2.2): it passes the request up and sends nothing by itself.
#[must_use]
pub const fn start(_reliable: bool) -> (State, Action) {
    (State::Trying, Action { tell: Tell::Message, ..Action::ABSORB })
}

/// The figure as a table. `None`: the event cannot happen in this state, or means nothing there.
#[must_use]
pub const fn step(state: State, event: Event, reliable: bool) -> Option<(State, Action)> {
    use Event::{Final, Provisional, Request, Timeout, TransportError};
    use State::{Completed, Proceeding, Terminated, Trying};
    Some(match (state, event) {
        // RFC 3261 §17.2.2: nothing to repeat yet.
        (Trying, Request) => (Trying, Action::ABSORB),
        // RFC 3261 §17.2.2.
        (Trying | Proceeding, Provisional) => (Proceeding, Action { send: Send::New, ..Action::ABSORB }),
        (Proceeding, Request) => (Proceeding, Action { send: Send::Again, ..Action::ABSORB }),
        // RFC 3261 §17.2.2 and erratum 1470 (also from Trying): J is zero when reliable, so Completed is skipped.
        (Trying | Proceeding, Final) if reliable => (Terminated, Action { send: Send::New, ..Action::END }),
        (Trying | Proceeding, Final) => {
            (Completed, Action { send: Send::New, timeout: Change::Start(Timer::J), ..Action::ABSORB })
        }
        // RFC 3261 §17.2.4, figure 8.
        (Proceeding, TransportError) => (Terminated, Action { tell: Tell::TransportError, ..Action::END }),

        // When reliable there is no such state.
        (Completed, _) if reliable => return None,
        // RFC 3261 §17.2.2: the final response again.
        (Completed, Request) => (Completed, Action { send: Send::Again, ..Action::ABSORB }),
        // RFC 3261 §17.2.2: whatever the core sends after a final response is discarded.
        (Completed, Provisional | Final) => (Completed, Action::ABSORB),
        // RFC 3261 §17.2.2: J.
        (Completed, Timeout) => (Terminated, Action::END),
        // RFC 3261 §17.2.4, figure 8.
        (Completed, TransportError) => (Terminated, Action { tell: Tell::TransportError, ..Action::END }),

        // Only Completed has a timer; Trying has sent nothing that could fail.
        (Trying, TransportError) | (Trying | Proceeding, Timeout) | (Terminated, _) => return None,
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
        states: &[Trying, Proceeding, Completed, Terminated],
        events: &[Request, Provisional, Final, Timeout, TransportError],
        // It has no retransmission timer; the laws show that none ever runs, so the event here is never met as such.
        retransmit: Timeout,
        timeout: Timeout,
        terminated: Terminated,
        // The time-out of the client transaction (Timer F).
        bounded_by_core: &[Trying, Proceeding],
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
