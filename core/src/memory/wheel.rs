//! A hierarchical timer wheel over fixed places: one timer per place.

use crate::time::Instant;

/// The wheel. A place is a number below the capacity that the owner chooses (a slab index plus an offset per slab).
pub struct TimerWheel {}

impl TimerWheel {
    /// A wheel for `capacity` places, none running, at time `now`.
    #[must_use]
    pub fn new(capacity: u32, now: Instant) -> TimerWheel {
        todo!()
    }
    /// Starts or moves the timer of `place`; it fires at the first [`TimerWheel::pop`] with `now >= at` (resolution 1 ms, never early).
    pub fn set(&mut self, place: u32, at: Instant) {
        todo!()
    }
    /// Stops the timer of `place`, if it runs.
    pub fn clear(&mut self, place: u32) {
        todo!()
    }
    /// One due timer, which no longer runs; `None` when none is due at `now`.
    pub fn pop(&mut self, now: Instant) -> Option<u32> {
        todo!()
    }
    /// A time not later than the next due timer, for parking; `None` when none runs.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        todo!()
    }
    /// Timers that run.
    #[must_use]
    pub fn live(&self) -> u32 {
        todo!()
    }
    /// Bytes that a wheel of `capacity` takes (for the bill).
    #[must_use]
    pub const fn bytes(capacity: u32) -> usize {
        todo!()
    }
}
