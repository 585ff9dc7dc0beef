//! The states of a call: one figure, one table, one snapshot.
//!
//! ```text
//!   INVITE ──► ┌────────┐ 101–199 upstream  ┌─────────┐◄─┐ 101–199,
//!              │ Trying ├──────────────────►│ Ringing ├──┘ next gateway
//!              └─┬─┬─┬──┘                   └─┬─┬─┬───┘
//!                │ │ └──── CANCEL, time-out ──│─│─┴───► ┌────────────┐
//!                │ │       (invite, early),   │ │       │ Cancelling │ the last branch ends by itself
//!                │ │       hang up            │ │       └──┬──────┬──┘
//!                │ └──────────────────┬───────│─┴──────────┘      │
//!                │                    │ 2xx upstream              │
//!                │           ┌────────▼───────┐                   │
//!                │           │ Unacknowledged ├──── BYE ──────────┤ non-2xx upstream
//!                │           └────┬──┬────────┘                   │
//!                │            ACK │  │ noack_timeout, hang up     │
//!                │           ┌────▼──│───┐◄─┐ ACK again,          │
//!                │           │ Confirmed ├──┘ refresh             │
//!                │           └──┬────┬───┘                        │
//!                │          BYE │    │ expiry, hang up  ┌────────┐│
//!                │              │    └─────────────────►│ HungUp ││
//!                │              │                       └───┬────┘│
//!                │ non-2xx      │                     64·T1 │     │
//!              ┌─▼──────────────▼───────────────────────────▼─────▼─┐
//!              │ Terminated                                         │
//!              └────────────────────────────────────────────────────┘
//! ```
//!
//! The terminal step (`end.rs`) is taken exactly once: on the way into [`State::HungUp`] or [`State::Terminated`], whichever comes
//! first. What stays of a hung-up call holds nothing but its tags: it answers the peers' own BYEs, which cross ours, for 64·T1.
//!
//! `Trying` lasts until something other than a 100 went upstream; the 100 itself is Corelane's own and changes nothing.

/// State of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// The INVITE is out; nothing but a 100 went upstream.
    Trying,
    /// A 101–199 went upstream.
    Ringing,
    /// The caller or a timer gave up; the last branch has still to end.
    Cancelling,
    /// A 2xx went upstream, its ACK has not come: confirmed without ACK.
    Unacknowledged,
    /// The dialog stands.
    Confirmed,
    /// Corelane sent BYE both ways; the call has ended, its tags answer BYEs that cross.
    HungUp,
    /// Over: the record goes back to its slab.
    Terminated,
}

/// Event of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A 101–199 goes upstream.
    Progress,
    /// A 2xx goes upstream.
    Answer,
    /// A non-2xx final response goes upstream: no candidate is left, or none may be tried.
    Failure,
    /// The caller's CANCEL.
    Cancel,
    /// The ACK of the 2xx.
    Ack,
    /// A successful re-INVITE or UPDATE (RFC 3261 §12.2, RFC 3311 §5).
    Refresh,
    /// The confirmed dialog was ended by a peer's BYE: answered, whatever the answer, or timed out.
    Bye,
    /// The state's timer fired.
    Timeout,
    /// Corelane ends the call: a 481 or 408 inside the dialog, the operator, drain.
    HangUp,
}

/// What becomes of the call's one timer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Timer {
    /// As it was.
    Keep,
    /// None runs: the branch that is left has its own.
    Stop,
    /// `early_timeout`: from the first 101–199 to the answer.
    Early,
    /// `noack_timeout`: from the 2xx to its ACK.
    NoAck,
    /// What is left of 64·T1 after the 2xx, in which its ACK may come.
    Acknowledge,
    /// `default_timeout`, or the session's interval where that is longer; the session's expiry where that is earlier: from the ACK and from
    /// each refresh.
    Default,
    /// 64·T1, as long as a BYE of the other side may cross ours.
    Crossing,
}

/// What the engine does.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Nothing more.
    Nothing,
    /// Cancels the branch that is tried and tries no other.
    Cancel,
    /// The terminal step, with BYE both ways.
    HangUp,
    /// The same as soon as the ACK of its 2xx comes, if one does, or the timer fires.
    HangUpLater,
    /// The terminal step.
    End,
    /// Takes out what was left of a hung-up call.
    Forget,
}

/// The consequence of an event.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// The timer.
    pub timer: Timer,
    /// The deed.
    pub act: Act,
}

impl Action {
    const NOTHING: Action = Action { timer: Timer::Keep, act: Act::Nothing };

    const fn start(timer: Timer) -> Action {
        Action { timer, act: Act::Nothing }
    }
}

/// The new call: `invite_timeout` runs.
pub const START: State = State::Trying;

/// The figure as a table. `None`: the event means nothing in this state.
#[must_use]
pub const fn step(state: State, event: Event) -> Option<(State, Action)> {
    use Event::{Ack, Answer, Bye, Cancel, Failure, HangUp, Progress, Refresh, Timeout};
    use State::{Cancelling, Confirmed, HungUp, Ringing, Terminated, Trying, Unacknowledged};
    const END: Action = Action { timer: Timer::Stop, act: Act::End };
    Some(match (state, event) {
        (Trying, Progress) => (Ringing, Action::start(Timer::Early)),
        // early_timeout bounds the ringing over all gateways; Timer C is each branch's own.
        (Ringing | Cancelling, Progress) => (state, Action::NOTHING),

        // Also after CANCEL: the 2xx and the CANCEL crossed (RFC 3261 §9.1), and the caller has his answer to end.
        (Trying | Ringing | Cancelling, Answer) => (Unacknowledged, Action::start(Timer::NoAck)),
        (Trying | Ringing | Cancelling, Failure) => (Terminated, END),

        // RFC 3261 §16.10; invite_timeout and early_timeout; the operator.
        (Trying | Ringing, Cancel | Timeout | HangUp) => (Cancelling, Action { timer: Timer::Stop, act: Act::Cancel }),
        // The caller's own wish counts more than the timer that came first: he gets his 487.
        (Cancelling, Cancel) => (Cancelling, Action { timer: Timer::Keep, act: Act::Cancel }),
        // Somebody gave it up before and hears of it as he would have; a 2xx that crosses is answered for nobody all the same.
        (Cancelling, HangUp) => (Cancelling, Action { timer: Timer::Keep, act: Act::HangUpLater }),

        (Unacknowledged, Ack) => (Confirmed, Action::start(Timer::Default)),
        // A refresh before the ACK (T.38 gateways send theirs early) does not stand for it.
        (Unacknowledged, Refresh) => (Unacknowledged, Action::NOTHING),
        (Confirmed, Ack) => (Confirmed, Action::NOTHING),
        (Confirmed, Refresh) => (Confirmed, Action::start(Timer::Default)),
        (Unacknowledged | Confirmed, Bye) => (Terminated, END),
        (Unacknowledged, Timeout) | (Confirmed, Timeout | HangUp) => {
            (HungUp, Action { timer: Timer::Crossing, act: Act::HangUp })
        }
        // RFC 3261 §15: no BYE before the ACK, or before the 2xx was repeated in vain.
        (Unacknowledged, HangUp) => (Unacknowledged, Action { timer: Timer::Acknowledge, act: Act::HangUpLater }),

        (HungUp, Timeout) => (Terminated, Action { timer: Timer::Stop, act: Act::Forget }),

        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use core::fmt::Write;
    use std::format;
    use std::string::String;

    use super::*;

    const STATES: [State; 7] = [
        State::Trying,
        State::Ringing,
        State::Cancelling,
        State::Unacknowledged,
        State::Confirmed,
        State::HungUp,
        State::Terminated,
    ];
    const EVENTS: [Event; 9] = [
        Event::Progress,
        Event::Answer,
        Event::Failure,
        Event::Cancel,
        Event::Ack,
        Event::Refresh,
        Event::Bye,
        Event::Timeout,
        Event::HangUp,
    ];

    #[test]
    fn matrix() {
        let mut out = String::new();
        for state in STATES {
            writeln!(out, "{state:?}").unwrap();
            for event in EVENTS {
                match step(state, event) {
                    Some((then, Action { timer, act })) => {
                        let (event, then) = (format!("{event:?}"), format!("{then:?}"));
                        writeln!(out, "  {event:<10} {then:<15} {timer:?}, {act:?}").unwrap();
                    }
                    None => writeln!(out, "  {:<10} ·", format!("{event:?}")).unwrap(),
                }
            }
        }
        insta::assert_snapshot!(out);
    }

    /// The terminal step happens on each way out, and once on each.
    #[test]
    fn every_way_out_passes_the_terminal_step_once() {
        let ended = |state| matches!(state, State::HungUp | State::Terminated);
        for (state, event) in STATES.iter().flat_map(|state| EVENTS.map(|event| (*state, event))) {
            let Some((then, action)) = step(state, event) else { continue };
            let terminal = matches!(action.act, Act::End | Act::HangUp);
            assert_eq!(terminal, !ended(state) && ended(then), "{state:?} + {event:?}");
        }
    }

    /// Nobody waits for ever: each state that the engine's own branches do not bound has a timer that leaves it.
    #[test]
    fn every_state_is_left_by_its_timer_or_by_the_last_branch() {
        for state in STATES {
            let timed = step(state, Event::Timeout).is_some();
            let by_branch = step(state, Event::Failure).is_some();
            assert!(timed || by_branch || state == State::Terminated, "{state:?}");
            assert!(state != State::Terminated || EVENTS.iter().all(|event| step(state, *event).is_none()));
        }
    }
}
