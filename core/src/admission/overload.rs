//! Overload of one shard: when it is so, and whose new calls it then sheds.
//!
//! ```text
//!            everybody in a queue waited > 5 ms, for 100 ms
//!    Calm ───────────────────────────────────────► Shedding: every provider may bring `level` new calls a second
//!      ▲                                               │     after each 100 ms of arrivals
//!      └─────── 1 s of arrivals, nothing shed ─────────┘       aim   ◄─ the measured capacity, less what drains the queue
//!                                                              level ◄─ level × aim / what the level let in
//! ```
//!
//! **When.** The queueing delay, from the kernel's receipt to the engine, is the one sign that covers everything: CPU, softirq, a
//! noisy neighbour. A single datagram that waited says nothing (a burst), one that did not says that the queue was empty: so only
//! a delay whose *least* value stays above the target counts, as in CoDel (RFC 8289 §3). Time during which the shard itself
//! did not run counts for [`GAP_MAX_US`] at most, so that a stall is not taken for load. A shard reads several queues in turn, each
//! listener's socket and its inbox: that one is empty says nothing of the others. What counts is the queue that is **watched**:
//! while calm the one in which somebody was late, while shedding the one whose least delay is the largest; and then time passes with what arrives in it.
//!
//! **How much.** While the queue stands, the calls taken per second of work *are* the capacity, shedding and all other traffic
//! paid. The aim is that, less a part that grows with the delay; when somebody found the queue empty, it rises by a little.
//!
//! **Whose.** One level for all: a provider below it is not touched, whatever the others send, and those above it share what is left
//! evenly (max-min fairness). The level is found by what it lets in and needs no list of providers; each has one GCRA word, so a
//! decision costs the same for one provider as for sixty thousand. The level goes up and down with the queue, a fair share does not: so
//! whoever is not ahead of the level's **mean** of the last seconds is measured by that, and only those who are ahead pay for the queue.
//! Rates are taken by the time of *arrival*: by the time of handling an overloaded shard lets no more in than it can, whatever the level,
//! and one could not learn from it.
//!
//! **Thinned.** Most of what a provider above the level brings need not even arrive: [`Overload::passes`] says what share should
//! (`thinning`). What is let in and what is refused of it still tell what the level lets in; only that *nothing* is refused says nothing while
//! somebody is thinned.
//!
//! Never shed: anything but an INVITE that would open a call. Whoever asks [`Overload::admits`] for something else has a bug.

mod shedding;

use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

use self::shedding::{Shedding, Window};
use super::thinning::Thinning;
use crate::flow::ListenerIndex;
use crate::limits::{LISTENERS_MAX, OVERLOAD_BUCKETS};
use crate::routing::ProviderSlot;
use crate::time::Instant;

/// The queueing delay that is no overload.
const TARGET_US: u64 = 5_000;
/// How long it must be exceeded without a break; also the period of control.
const WINDOW_US: u64 = 100_000;
const WINDOW: Duration = Duration::from_micros(WINDOW_US);
/// The most that the time between two datagrams adds to the time of overload.
const GAP_MAX_US: u64 = 10_000;

/// Queues of a shard: the socket of each listener, and what other shards hand over.
const QUEUES: usize = LISTENERS_MAX + 1;

const MICROS_PER_SECOND: u64 = 1_000_000;
const NANOS_PER_MICRO: u64 = 1000;

/// A queue in front of a shard.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Queue(u8);

impl Queue {
    /// The socket of a listener.
    #[must_use]
    pub const fn of(listener: ListenerIndex) -> Queue {
        Queue(listener.0)
    }

    /// What other shards hand over.
    pub const INBOX: Queue = Queue(LISTENERS_MAX as u8);
}

/// The overload control of one shard.
#[derive(Debug)]
pub struct Overload {
    phase: Phase,
    /// When the last datagram was handled.
    last: Instant,
    /// New calls taken while the delay has been above the target (calm), or in this window (shedding).
    taken: u64,
    /// When each provider's next call is due at the level, nanoseconds. By slot; providers beyond the table share.
    due: Box<[u64]>,
    /// What share of each provider's calls should arrive. `None`: nobody can keep any from arriving.
    thinning: Option<Thinning>,
}

#[derive(Copy, Clone, Debug)]
enum Phase {
    Calm(Calm),
    Shedding(Shedding),
}

/// How long the delay of a queue has been above the target.
#[derive(Copy, Clone, Debug)]
struct Calm {
    /// The queue; while `above_us` is 0, none.
    queue: u8,
    /// So many microseconds, none of which between two of its datagrams counts for more than [`GAP_MAX_US`].
    above_us: u64,
    /// So long the shard worked meanwhile, on whatever queue,
    worked_us: u64,
    /// on calls of so many providers.
    providers: u64,
    /// When a datagram was handled last that had waited there.
    last: Instant,
}

const CALM: Phase = Phase::Calm(Calm { queue: 0, above_us: 0, worked_us: 0, providers: 0, last: Instant::ZERO });

impl Overload {
    /// Bytes that one shard's takes.
    pub const BYTES: usize = OVERLOAD_BUCKETS * size_of::<u64>() + Thinning::BYTES;

    /// Takes all memory that it will ever use. `thins`: somebody acts on [`Overload::passes`].
    #[must_use]
    pub fn new(thins: bool) -> Overload {
        let due = vec![0; OVERLOAD_BUCKETS].into_boxed_slice();
        Overload { phase: CALM, last: Instant::ZERO, taken: 0, due, thinning: thins.then(Thinning::new) }
    }

    /// A datagram, of whatever kind, that came at `received_at` and stood in this queue is handled `now`. To be called for each, before it is.
    #[inline]
    pub fn observe(&mut self, now: Instant, received_at: Instant, queue: Queue) {
        let delay_us = now.as_micros().saturating_sub(received_at.as_micros());
        match &mut self.phase {
            Phase::Calm(Calm { above_us: 0, .. }) if delay_us <= TARGET_US => self.taken = 0,
            Phase::Calm(calm) => {
                if calm.forgets(now) {
                    self.taken = 0;
                }
                if calm.stands(delay_us, queue, now, self.last) {
                    let capacity = (self.taken * MICROS_PER_SECOND / calm.worked_us.max(1)).max(1);
                    let shedding = Shedding::start(capacity, calm.providers, (delay_us, queue), now, received_at);
                    self.phase = Phase::Shedding(shedding);
                    self.taken = 0;
                    if let Some(thinning) = &mut self.thinning {
                        thinning.begin(now);
                    }
                } else if calm.above_us == 0 {
                    self.taken = 0;
                }
            }
            Phase::Shedding(shedding) => match shedding.observe(self.taken, delay_us, queue, now, received_at) {
                Window::Runs => {}
                Window::Begins => self.taken = 0,
                Window::WasTheLast => (self.phase, self.taken) = (CALM, 0),
            },
        }
        self.last = now;
    }

    /// Whether this shard takes a provider's new call that came at `received_at`. `false`: answer 503 with Retry-After, statelessly.
    #[inline]
    pub fn admits(&mut self, provider: ProviderSlot, received_at: Instant) -> bool {
        let bucket = bucket(provider);
        let due = &mut self.due[bucket];
        match &mut self.phase {
            Phase::Calm(Calm { above_us: 0, .. }) => {}
            Phase::Calm(calm) => {
                // The first call in this time of delay, or in one so shortly before that it makes no difference.
                let at = received_at.as_micros().saturating_mul(NANOS_PER_MICRO);
                calm.providers += u64::from(at.saturating_sub(*due) > 2 * WINDOW_US * NANOS_PER_MICRO);
                *due = (*due).max(at);
            }
            Phase::Shedding(shedding) => {
                let admitted = shedding.admits(due, received_at);
                if let Some(thinning) = &mut self.thinning
                    && thinning.note(bucket, !admitted, shedding.level(), self.last, received_at)
                {
                    shedding.is_thinned();
                }
                if !admitted {
                    return false;
                }
            }
        }
        self.taken += 1;
        true
    }

    /// What share of a provider's new calls should reach this shard for the next second, in 65,536ths; `None`: all, as always when nothing is
    /// shed. To be said again with each of its new calls.
    #[inline]
    #[must_use]
    pub fn passes(&self, provider: ProviderSlot) -> Option<u16> {
        match &self.phase {
            Phase::Calm(_) => None,
            Phase::Shedding(_) => self.thinning.as_ref()?.pass(bucket(provider)),
        }
    }

    /// Whether new calls may be shed now.
    #[must_use]
    pub fn sheds(&self) -> bool {
        matches!(self.phase, Phase::Shedding(_))
    }
}

fn bucket(provider: ProviderSlot) -> usize {
    usize::from(provider.0) % OVERLOAD_BUCKETS
}

impl Calm {
    /// Nothing is known any more of a queue in which nothing came. Whether that is so now of the one that is watched.
    fn forgets(&mut self, now: Instant) -> bool {
        let silent = self.above_us > 0 && now.since(self.last) > WINDOW;
        if silent {
            self.above_us = 0;
        }
        silent
    }

    /// A datagram waited so long in a queue, behind another one that was handled at `before`. Whether that queue has stood long enough.
    fn stands(&mut self, delay_us: u64, queue: Queue, now: Instant, before: Instant) -> bool {
        let since_us = |at: Instant| now.as_micros().saturating_sub(at.as_micros()).min(GAP_MAX_US);
        let late = delay_us > TARGET_US;
        if self.above_us == 0 && late {
            *self = Calm { queue: queue.0, above_us: 0, worked_us: 0, providers: 0, last: before };
        }
        self.worked_us += since_us(before);
        if self.queue != queue.0 && self.above_us > 0 {
            // Where somebody is late more often, more is known.
            if !late || since_us(self.last) < GAP_MAX_US {
                return false;
            }
            self.queue = queue.0;
        }
        if !late {
            self.above_us = 0;
            return false;
        }
        // One, where no time has passed: it is watched from now on.
        self.above_us = (self.above_us + since_us(self.last)).max(1);
        self.last = now;
        self.above_us >= WINDOW_US
    }
}

#[cfg(test)]
mod tests;
