//! Calls per second: the generic cell rate algorithm, one word for each peer.
//!
//! ```text
//!                 tolerance = burst × interval
//!            ◄────────────────────────────────►
//!   ─────────┼────────────────────────────────┼──────────► time     a call at `now` passes while the word is not later
//!           now                         now + tolerance             than now + tolerance; it then moves the word to
//!                       ▲ word: when the next call is due           max(word, now) + interval
//! ```
//!
//! The word is the *theoretical arrival time*: in any span of t seconds at most 1 + burst + t × max_cps calls pass, wherever the
//! span lies and whichever shards' clocks stamped them. Time is in nanoseconds, so that a rate up to a million a second is off by
//! at most one part in a thousand.

use crate::time::Instant;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A rate with its burst.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Nanoseconds between two calls; rounded up, so that the rate is never exceeded.
    interval: u64,
    /// How far ahead of the clock the word may run, nanoseconds.
    tolerance: u64,
}

impl Rate {
    /// `max_cps` calls a second and `burst` more at once. Without `burst` a tenth of a second's calls, at least one: arrivals are never
    /// even, and a peer that counts in whole seconds still sees little more than its rate.
    #[must_use]
    pub const fn new(max_cps: u32, burst: Option<u32>) -> Rate {
        if max_cps == 0 {
            return Rate { interval: u64::MAX, tolerance: 0 };
        }
        let burst = match burst {
            Some(burst) => burst,
            None => max_cps.div_ceil(10),
        };
        let interval = NANOS_PER_SECOND.div_ceil(max_cps as u64);
        Rate { interval, tolerance: interval.saturating_mul(burst as u64) }
    }

    /// The word after one more call, or `None` when that call is too early.
    #[inline]
    pub(super) fn next(&self, word: u64, now: Instant) -> Option<u64> {
        let now = now.as_micros().saturating_mul(1000);
        if self.interval == u64::MAX || word > now.saturating_add(self.tolerance) {
            return None;
        }
        Some(word.max(now).saturating_add(self.interval))
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;
    use crate::time::Instant;

    /// How many of `calls` calls, `spacing` microseconds apart, pass.
    fn passed(rate: Rate, calls: u64, spacing: u64) -> u64 {
        let mut word = 0;
        let start = 5_000_000;
        (0..calls)
            .filter(|call| {
                let next = rate.next(word, Instant::from_micros(start + call * spacing));
                word = next.unwrap_or(word);
                next.is_some()
            })
            .count() as u64
    }

    #[test]
    fn a_burst_passes_at_once_and_no_more() {
        assert_eq!(passed(Rate::new(10, Some(4)), 100, 0), 5);
        assert_eq!(passed(Rate::new(10, Some(0)), 100, 0), 1);
        assert_eq!(passed(Rate::new(100, None), 100, 0), 11, "a tenth of a second");
        assert_eq!(passed(Rate::new(2, None), 100, 0), 2, "at least one more");
        assert_eq!(passed(Rate::new(0, Some(10)), 100, 1000), 0);
    }

    #[test]
    fn ten_seconds_hold_ten_seconds_of_calls() {
        for max_cps in [1, 3, 7, 30, 1000, 7000] {
            // Offered at eleven times the rate.
            let calls = u64::from(max_cps) * 110;
            let spacing = 10_000_000 / calls;
            let passed = passed(Rate::new(max_cps, Some(2)), calls, spacing);
            let most = u64::from(max_cps) * calls * spacing / 1_000_000 + 3;
            assert!((most - 2..=most).contains(&passed), "{max_cps} a second: {passed} of {most}");
        }
    }

    #[test]
    fn what_comes_at_the_rate_passes() {
        assert_eq!(passed(Rate::new(1000, Some(0)), 10_000, 1000), 10_000);
        assert_eq!(passed(Rate::new(u32::MAX, None), 10_000, 0), 10_000);
    }
}
