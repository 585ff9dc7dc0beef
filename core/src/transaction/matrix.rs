//! What the tests of the four machines share: the printed matrix, for review beside the RFC's figure, and the laws that
//! every machine keeps, checked over all its reachable states.
//!
//! A configuration is a state with its running timers. From the start, every event that can happen there is tried: a timer's
//! event where that timer runs, every other event anywhere.

use core::fmt::{Debug, Write};
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use super::{Action, Change, Send, Tell, Timer};

/// A machine as the tests see it.
pub(super) struct Machine<S: 'static, E: 'static> {
    pub(super) start: fn(bool) -> (S, Action),
    pub(super) step: fn(S, E, bool) -> Option<(S, Action)>,
    pub(super) states: &'static [S],
    pub(super) events: &'static [E],
    /// The event of the repeating timer; the same as `timeout` where the machine has none.
    pub(super) retransmit: E,
    /// The event of the ending timer.
    pub(super) timeout: E,
    pub(super) terminated: S,
    /// States without an ending timer, because the proxy core leaves them by its own.
    pub(super) bounded_by_core: &'static [S],
}

/// The whole state × event matrix over both kinds of transport.
pub(super) fn print<S: Copy + Debug, E: Copy + Debug>(machine: &Machine<S, E>) -> String {
    let mut out = String::new();
    for reliable in [false, true] {
        writeln!(out, "{}", if reliable { "\nreliable transport" } else { "unreliable transport" }).unwrap();
        writeln!(out, "  start               {}", row((machine.start)(reliable))).unwrap();
        for state in machine.states {
            writeln!(out, "  {state:?}").unwrap();
            for event in machine.events {
                let result = (machine.step)(*state, *event, reliable).map_or_else(|| String::from("·"), row);
                writeln!(out, "    {:<16}  {result}", format!("{event:?}")).unwrap();
            }
        }
    }
    out
}

fn row<S: Debug>((state, action): (S, Action)) -> String {
    let mut parts = Vec::new();
    match action.send {
        Send::Nothing => {}
        send => parts.push(format!("send {send:?}")),
    }
    match action.tell {
        Tell::Nothing => {}
        tell => parts.push(format!("tell {tell:?}")),
    }
    for (name, change) in [("retransmit", action.retransmit), ("timeout", action.timeout)] {
        match change {
            Change::Keep => {}
            Change::Stop => parts.push(format!("stop {name}")),
            Change::Start(timer) => parts.push(format!("start {timer:?}")),
            Change::Again(timer) => parts.push(format!("restart {timer:?}")),
        }
    }
    if parts.is_empty() {
        parts.push(String::from("absorb"));
    }
    format!("{:<11} {}", format!("{state:?}"), parts.join(", "))
}

/// A state with its running timers.
#[derive(Copy, Clone, PartialEq, Debug)]
struct Configuration<S> {
    state: S,
    retransmit: Option<Timer>,
    timeout: Option<Timer>,
}

/// Walks every reachable configuration and checks the laws named in the head of [`super`].
pub(super) fn check_laws<S: Copy + PartialEq + Debug, E: Copy + PartialEq + Debug>(machine: &Machine<S, E>) {
    for reliable in [false, true] {
        let (state, action) = (machine.start)(reliable);
        let idle = Configuration { state, retransmit: None, timeout: None };
        let mut reached = vec![after(machine, idle, None, (state, action), reliable)];
        let mut next = 0;
        while let Some(at) = reached.get(next).copied() {
            next += 1;
            for event in machine.events {
                let result = (machine.step)(at.state, *event, reliable);
                check_timer_row(machine, at, *event, result.is_some());
                let Some(result) = result else { continue };
                let then = after(machine, at, Some(*event), result, reliable);
                if !reached.contains(&then) {
                    reached.push(then);
                }
            }
        }
        for state in machine.states {
            if reached.iter().any(|at| at.state == *state) {
                continue;
            }
            assert!(reliable, "{state:?} is never reached");
            let dead = machine.events.iter().all(|event| (machine.step)(*state, *event, reliable).is_none());
            assert!(dead, "{state:?} is never reached and has rows");
        }
    }
}

/// A timer's event has a row exactly where that timer runs, and a terminated transaction has none.
fn check_timer_row<S: Copy + PartialEq + Debug, E: Copy + PartialEq + Debug>(
    machine: &Machine<S, E>,
    at: Configuration<S>,
    event: E,
    has_row: bool,
) {
    if event == machine.timeout {
        assert_eq!(has_row, at.timeout.is_some(), "{at:?} + {event:?}");
    } else if event == machine.retransmit {
        assert_eq!(has_row, at.retransmit.is_some(), "{at:?} + {event:?}");
    }
    assert!(!has_row || at.state != machine.terminated, "{at:?} + {event:?}");
}

/// The configuration that an event leads to; asserts that it may exist.
fn after<S: Copy + PartialEq + Debug, E: Copy + PartialEq + Debug>(
    machine: &Machine<S, E>,
    mut from: Configuration<S>,
    event: Option<E>,
    (state, action): (S, Action),
    reliable: bool,
) -> Configuration<S> {
    let what = format!("{from:?} + {event:?}, reliable {reliable}");
    let mut fired = None;
    if event == Some(machine.timeout) {
        from.timeout = None;
    } else if event == Some(machine.retransmit) {
        fired = from.retransmit.take();
    }
    let retransmit = match action.retransmit {
        Change::Keep => from.retransmit,
        Change::Stop => None,
        Change::Start(timer) => Some(timer),
        Change::Again(timer) => {
            assert_eq!(fired, Some(timer), "{what}: only what fired starts again");
            Some(timer)
        }
    };
    let timeout = match action.timeout {
        Change::Keep => from.timeout,
        Change::Stop => None,
        Change::Start(timer) => Some(timer),
        Change::Again(_) => panic!("{what}: an ending timer does not repeat"),
    };
    assert!(matches!(retransmit, None | Some(Timer::A | Timer::E | Timer::G)), "{what}: {retransmit:?} repeats");
    assert!(!matches!(timeout, Some(Timer::A | Timer::E | Timer::G)), "{what}: {timeout:?} ends");
    assert!(retransmit.is_none() || !reliable, "{what}: repeats over a reliable transport");
    if state == machine.terminated {
        let stops = (action.retransmit, action.timeout) == (Change::Stop, Change::Stop);
        assert!(stops, "{what}: a timer outlives its transaction");
    } else {
        let bounded = timeout.is_some() != machine.bounded_by_core.contains(&state);
        assert!(bounded, "{what}: {state:?} must have one end, its timer's or the core's");
    }
    Configuration { state, retransmit, timeout }
}
