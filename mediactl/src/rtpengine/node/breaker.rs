//! The breaker of a media node, as a table.
//!
//! ```text
//!                  timeout (n-th in a row), unreachable and silent
//!        ┌────────┐ ──────────────────────► ┌──────┐ ── probe due ──► ┌──────────┐
//!     ┌─►│ Closed │                         │ Open │                  │ HalfOpen │
//!     │  └────────┘ ◄── reply ───────────── └──────┘ ◄─ timeout, ──── └────┬─────┘
//!     │                                                 unreachable        │
//!     └───────────────────────────────── reply ────────────────────────────┘
//! ```

/// State of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Breaker {
    /// The node takes calls.
    Closed,
    /// It was given up.
    Open,
    /// It was given up, and a probe is out.
    HalfOpen,
}

/// Event of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A valid reply to any question.
    Reply,
    /// A question went without a word of the node; the n-th in a row.
    Timeout {
        /// Whether it fills the measure.
        last: bool,
    },
    /// The kernel says that nobody listens there, and nothing belies it.
    Unreachable,
    /// The pause between two probes has passed.
    ProbeDue,
}

/// What the client does.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Nothing more.
    Nothing,
    /// Moves waiting offers to other nodes.
    GiveUp,
    /// Pings it.
    Probe,
    /// Pays what it is owed.
    TakeBack,
}

/// The figure as a table. `None`: the event means nothing in this state.
#[must_use]
pub const fn step(state: Breaker, event: Event) -> Option<(Breaker, Act)> {
    use Breaker::{Closed, HalfOpen, Open};
    use Event::{ProbeDue, Reply, Timeout, Unreachable};
    Some(match (state, event) {
        (Closed, Timeout { last: true } | Unreachable) => (Open, Act::GiveUp),
        (Closed, Timeout { last: false } | Reply) => (Closed, Act::Nothing),

        (Open, ProbeDue) => (HalfOpen, Act::Probe),
        // Its own questions may be answered before a probe is.
        (Open | HalfOpen, Reply) => (Closed, Act::TakeBack),
        (HalfOpen, Timeout { .. } | Unreachable) => (Open, Act::Nothing),

        (Open, Timeout { .. } | Unreachable) | (Closed | HalfOpen, ProbeDue) => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const STATES: [Breaker; 3] = [Breaker::Closed, Breaker::Open, Breaker::HalfOpen];
    const EVENTS: [Event; 5] = [
        Event::Reply,
        Event::Timeout { last: false },
        Event::Timeout { last: true },
        Event::Unreachable,
        Event::ProbeDue,
    ];

    #[test]
    fn matrix() {
        let mut out = String::new();
        for state in STATES {
            writeln!(out, "{state:?}").unwrap();
            for event in EVENTS {
                let name = format!("{event:?}");
                match step(state, event) {
                    Some((then, act)) => writeln!(out, "  {name:<25} {:<9} {act:?}", format!("{then:?}")).unwrap(),
                    None => writeln!(out, "  {name:<25} ·").unwrap(),
                }
            }
        }
        insta::assert_snapshot!(out);
    }
}
