//! The node's clock: one origin for all shards, so that an instant means the same on each.

use std::time;

use corelane_core::{Instant, Now, WallTime};

pub use crate::sys::cpu::thread_cpu;

/// Reads time for the engines. Copies share the origin.
#[derive(Copy, Clone, Debug)]
pub struct Clock {
    origin: time::Instant,
}

impl Clock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { origin: time::Instant::now() }
    }

    /// Both clocks. The monotonic one never goes backwards; the wall one may step.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = time::SystemTime::now().duration_since(time::UNIX_EPOCH).unwrap_or_default();
        Now { monotonic: self.monotonic(), wall: WallTime(micros(wall)) }
    }

    /// The monotonic clock alone.
    #[must_use]
    pub fn monotonic(&self) -> Instant {
        Instant::from_micros(micros(self.origin.elapsed()))
    }
}

/// Whole microseconds; 584,000 years fit.
fn micros(span: time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn copies_share_the_origin_and_never_go_back() {
        let clock = Clock::start();
        let copy = clock;
        let mut last = clock.monotonic();
        for turn in 0..1000 {
            let now = if turn % 2 == 0 { clock.now() } else { copy.now() };
            assert!(now.monotonic >= last);
            assert!(now.wall.0 > 1_600_000_000_000_000, "microseconds since 1970");
            last = now.monotonic;
        }
    }
}
