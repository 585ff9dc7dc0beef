//! The non-INVITE client transaction: RFC 3261 §17.1.2.2 (figure 6).
//!
//! ```text
//!                     start: send request, E*, F
//!                                 │
//!                  E: again ┌─────▼─────┐ F, transport error: tell
//!                     ┌─────┤  Trying   ├──────────────────────────┐
//!                     └────►└─┬───────┬─┘                          │
//!                             │       │ 1xx: tell                  │
//!                             │ ┌─────▼──────┐ F, tr. error: tell  │
//!                             │ │ Proceeding ├────────────────────►│
//!          200–699: tell      │ └┬──▲─────┬──┘                     │
//!                             │  └──┘     │ 200–699: tell          │
//!               E (now at T2): again      │                        │
//!                       1xx: tell         │                        │
//!                           ┌─▼───────────▼─┐                      │
//!                           │   Completed   │ K (0 when reliable)  │
//!                           └───┬──▲────┬───┘                      │
//!                               └──┘    │ K                        │
//!                     any response:     │                          │
//!                          absorb ┌─────▼──────┐                   │
//!                                 │ Terminated │◄──────────────────┘
//!                                 └────────────┘          * E not when reliable
//! ```
//!
//! What the proxy core does with a time-out is bound by RFC 4320 §4.2: it never sends a 408 to a non-INVITE request, since
//! the client upstream gives up at the same moment and the answer could only come too late.

use super::{Action, Change, Send, Tell, Timer};

/// State of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// The request is out, nothing came back.
    Trying,
    /// A provisional response came; the request is repeated every T2.
    Proceeding,
    /// The final response came; its retransmissions are absorbed.
    Completed,
    /// Over: the record goes back to its slab.
    Terminated,
}

/// Event of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A 100–199 came.
    Provisional,
    /// A 200–699 came.
    Final,
    /// Timer E fired.
    Retransmit,
    /// Timer F or K fired: the one that runs in this state.
    Timeout,
    /// The transport could not send, or reported the peer unreachable.
    TransportError,
}

/// The new transaction (RFC 3261 §17.1.2.2): it sends the request.
#[must_use]
pub const fn start(reliable: bool) -> (State, Action) {
    let retransmit = if reliable { Change::Keep } else { Change::Start(Timer::E) };
    (State::Trying, Action { send: Send::New, retransmit, timeout: Change::Start(Timer::F), ..Action::ABSORB })
}

/// The figure as a table. `None`: the event cannot happen in this state, or means nothing there.
#[must_use]
pub const fn step(state: State, event: Event, reliable: bool) -> Option<(State, Action)> {
    use Event::{Final, Provisional, Retransmit, Timeout, TransportError};
    use State::{Completed, Proceeding, Terminated, Trying};
    Some(match (state, event) {
        // RFC 3261 §17.1.2.2: E and F go on; E's next interval is T2 (see `interval`).
        (Trying | Proceeding, Provisional) => (Proceeding, Action { tell: Tell::Message, ..Action::ABSORB }),

        // RFC 3261 §17.1.2.2: K is zero when reliable, so Completed is skipped.
        (Trying | Proceeding, Final) if reliable => (Terminated, Action { tell: Tell::Message, ..Action::END }),
        (Trying | Proceeding, Final) => (
            Completed,
            Action {
                tell: Tell::Message,
                retransmit: Change::Stop,
                timeout: Change::Start(Timer::K),
                ..Action::ABSORB
            },
        ),

        // RFC 3261 §17.1.2.2: E runs in both states, and only when unreliable.
        (Trying | Proceeding, Retransmit) if !reliable => {
            (state, Action { send: Send::Again, retransmit: Change::Again(Timer::E), ..Action::ABSORB })
        }
        // RFC 3261 §17.1.2.2: F.
        (Trying | Proceeding, Timeout) => (Terminated, Action { tell: Tell::Timeout, ..Action::END }),
        // RFC 3261 §17.1.4.
        (Trying | Proceeding, TransportError) => (Terminated, Action { tell: Tell::TransportError, ..Action::END }),

        // When reliable there is no such state.
        (Completed, _) if reliable => return None,
        // RFC 3261 §17.1.2.2: Completed is there to absorb retransmissions.
        (Completed, Provisional | Final) => (Completed, Action::ABSORB),
        // RFC 3261 §17.1.2.2: K.
        (Completed, Timeout) => (Terminated, Action::END),

        // No retransmission timer runs in these states, and Completed sends nothing.
        (Trying | Proceeding | Completed, Retransmit) | (Completed, TransportError) | (Terminated, _) => return None,
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
        events: &[Provisional, Final, Retransmit, Timeout, TransportError],
        retransmit: Retransmit,
        timeout: Timeout,
        terminated: Terminated,
        bounded_by_core: &[],
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
