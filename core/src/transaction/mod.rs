//! The four transaction machines of RFC 3261 §17 with RFC 6026 and RFC 4320: pure tables. The engine owns the records, the
//! timers and the buffers; a machine only says what an event means.
//!
//! ```text
//!   event ──► step(state, event, reliable) ──► (state, Action { send, tell, retransmit, timeout })
//!                                                               │     │        │          │
//!                                    to the flow of the record ◄┘     │        └────┬─────┘
//!                                    to the proxy core ◄──────────────┘             ▼
//!                                    one of two places in the wheel: Intervals
//! ```
//!
//! Each machine has `start(reliable)`, the new transaction, and `step`. A record has two timers: one repeats (A, E, G), one ends
//! the state (all others). A state whose ending timer would be zero over a reliable transport is skipped.
//!
//! Invariants, checked over every reachable state of all four: a timer event has a row exactly where that timer runs; nothing
//! repeats over a reliable transport; each state but those that the proxy core bounds has a running timer that leaves it;
//! a terminated transaction has no timer and takes no event.

use core::time::Duration;

use crate::engine::Timers;

pub mod client;
pub mod invite_client;
pub mod invite_server;
#[cfg(test)]
mod matrix;
pub mod server;

/// The timers of RFC 3261 table 4 and RFC 6026 §7.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Timer {
    /// INVITE request retransmission: T1, doubling.
    A,
    /// INVITE client time-out: 64·T1.
    B,
    /// Wait for response retransmissions, INVITE client: 64·T1, zero when reliable.
    D,
    /// Non-INVITE request retransmission: T1, doubling to T2.
    E,
    /// Non-INVITE client time-out: 64·T1.
    F,
    /// INVITE response retransmission: T1, doubling to T2.
    G,
    /// Wait for ACK: 64·T1.
    H,
    /// Wait for ACK retransmissions: T4, zero when reliable.
    I,
    /// Wait for non-INVITE request retransmissions: 64·T1, zero when reliable.
    J,
    /// Wait for response retransmissions, non-INVITE client: T4, zero when reliable.
    K,
    /// Wait for 2xx retransmissions at the server (RFC 6026): 64·T1.
    L,
    /// Wait for 2xx retransmissions at the client (RFC 6026): 64·T1.
    M,
}

impl Timer {
    /// It only waits for what may come again, and its end is seen by nobody.
    #[must_use]
    #[inline]
    pub const fn lingers(self) -> bool {
        matches!(self, Timer::D | Timer::I | Timer::J | Timer::K | Timer::L | Timer::M)
    }
}

/// What becomes of one of a transaction's two timers.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// As it was.
    Keep,
    /// Stopped.
    Stop,
    /// Started from its first interval.
    Start(Timer),
    /// Fired and started again with its next interval (doubled, up to T2 for E and G; E is T2 straight away in Proceeding).
    Again(Timer),
}

/// What the transaction sends by itself.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Send {
    /// Nothing.
    Nothing,
    /// The message that the event brought (a new request, a response from the proxy core): it is stored too.
    New,
    /// The message sent last, again.
    Again,
    /// An ACK for the non-2xx final response that the event brought, built now and stored (RFC 3261 §17.1.1.3).
    Ack,
}

/// What the proxy core is told.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Tell {
    /// Nothing: the event was absorbed.
    Nothing,
    /// The message that the event brought.
    Message,
    /// The transaction timed out.
    Timeout,
    /// The transport failed.
    TransportError,
}

/// The consequence of an event.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// What is sent.
    pub send: Send,
    /// What the proxy core is told.
    pub tell: Tell,
    /// The retransmission timer (A, E, G).
    pub retransmit: Change,
    /// The timer that ends the state (B, D, F, H, I, J, K, L, M).
    pub timeout: Change,
}

impl Action {
    /// Nothing at all: the event is absorbed.
    pub const ABSORB: Action =
        Action { send: Send::Nothing, tell: Tell::Nothing, retransmit: Change::Keep, timeout: Change::Keep };

    /// Whether one of the timers changes.
    #[must_use]
    pub const fn touches_timers(&self) -> bool {
        !matches!((self.retransmit, self.timeout), (Change::Keep, Change::Keep))
    }

    /// The end of the transaction: no timer is left.
    pub const END: Action =
        Action { send: Send::Nothing, tell: Tell::Nothing, retransmit: Change::Stop, timeout: Change::Stop };
}

/// The intervals that all timers are made from, in microseconds: made once from the settings, because each message starts a timer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Intervals {
    t1: u64,
    t2: u64,
    t4: u64,
    /// 64·T1.
    linger: u64,
}

impl Intervals {
    /// Those of the settings; what is beyond 584,000 years is that long.
    #[must_use]
    pub fn new(timers: &Timers) -> Intervals {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Intervals {
            t1: micros(timers.t1),
            t2: micros(timers.t2),
            t4: micros(timers.t4),
            linger: micros(timers.linger()),
        }
    }

    /// How long a timer runs at first ([`Change::Start`]), in microseconds. `proceeding` says that a non-INVITE client transaction has
    /// had a provisional response. RFC 3261 table 4.
    ///
    /// D is 64·T1, like B and H, rather than a constant: that is the 32 s that §17.1.1.2 asks for at the usual T1, and it is as long
    /// as a server may repeat its response (H) at any other.
    #[must_use]
    #[inline]
    pub const fn first(&self, timer: Timer, proceeding: bool) -> u64 {
        match timer {
            Timer::E if proceeding => self.t2,
            Timer::A | Timer::E | Timer::G => self.t1,
            Timer::I | Timer::K => self.t4,
            Timer::B | Timer::D | Timer::F | Timer::H | Timer::J | Timer::L | Timer::M => self.linger,
        }
    }

    /// How long it runs after an interval of `previous` microseconds ([`Change::Again`]); a timer that does not repeat runs as at
    /// first.
    ///
    /// A doubles without limit, since B ends it (§17.1.1.2). E and G double up to T2; E is T2 at once in Proceeding (§17.1.2.2).
    #[must_use]
    pub fn next(&self, timer: Timer, previous: u64, proceeding: bool) -> u64 {
        match timer {
            Timer::E if proceeding => self.t2,
            Timer::A => previous.saturating_mul(2),
            Timer::E | Timer::G => previous.saturating_mul(2).min(self.t2),
            _ => self.first(timer, proceeding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The first intervals of a repeating timer, in milliseconds.
    fn repeats(timer: Timer, proceeding: bool, count: usize) -> Vec<u64> {
        let intervals = Intervals::new(&Timers::default());
        let next = |previous: &u64| Some(intervals.next(timer, *previous, proceeding));
        core::iter::successors(Some(intervals.first(timer, proceeding)), next)
            .take(count)
            .map(|interval| interval / 1_000)
            .collect()
    }

    #[test]
    fn a_doubles_until_b_ends_it() {
        // RFC 3261 §17.1.1.2: seven INVITEs within 64·T1.
        let sent = repeats(Timer::A, false, 7);
        assert_eq!(sent, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000]);
        assert_eq!(Intervals::new(&Timers::default()).first(Timer::B, false), 32_000_000);
        assert_eq!(sent.iter().take(6).sum::<u64>(), 31_500);
    }

    #[test]
    fn e_and_g_double_up_to_t2() {
        // RFC 3261 §17.1.2.2 names these intervals.
        assert_eq!(repeats(Timer::E, false, 6), [500, 1_000, 2_000, 4_000, 4_000, 4_000]);
        assert_eq!(repeats(Timer::G, false, 6), [500, 1_000, 2_000, 4_000, 4_000, 4_000]);
        assert_eq!(repeats(Timer::E, true, 2), [4_000, 4_000]);
        // Only E knows Proceeding.
        assert_eq!(repeats(Timer::G, true, 2), [500, 1_000]);
    }

    #[test]
    fn the_others_follow_t1_and_t4() {
        let timers = Timers {
            t1: Duration::from_millis(50),
            t2: Duration::from_millis(400),
            t4: Duration::from_millis(700),
            ..Timers::default()
        };
        let intervals = Intervals::new(&timers);
        for timer in [Timer::B, Timer::D, Timer::F, Timer::H, Timer::J, Timer::L, Timer::M] {
            assert_eq!(intervals.first(timer, false), 3_200_000, "{timer:?}");
        }
        for timer in [Timer::I, Timer::K] {
            assert_eq!(intervals.first(timer, false), 700_000, "{timer:?}");
        }
        assert_eq!(intervals.next(Timer::E, 300_000, false), 400_000);
    }

    #[test]
    fn absurd_values_do_not_overflow() {
        let intervals = Intervals::new(&Timers { t1: Duration::MAX, t2: Duration::MAX, ..Timers::default() });
        assert_eq!(intervals.first(Timer::B, false), u64::MAX);
        assert_eq!(intervals.next(Timer::A, u64::MAX, false), u64::MAX);
        assert_eq!(intervals.next(Timer::G, u64::MAX, false), u64::MAX);
    }
}
