//! Transaction machine, to be written.
use super::Action;

/// State of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

/// Event of the figure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Start,
    Provisional,
    Success,
    Failure,
    Retransmit,
    Timeout,
    TransportError,
}

/// The figure as a table. `None`: the event cannot happen in this state, or means nothing there.
#[must_use]
pub const fn step(state: State, event: Event, reliable: bool) -> Option<(State, Action)> {
    todo!()
}
