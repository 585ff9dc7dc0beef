//! Calls and minutes of a day. The day ends at midnight in the provider's zone, which the caller knows; here it has only an end.
//!
//! ```text
//!   word   63            40 39                              0
//!          │ end of the day │ how many since the day began   │      one word, so that a new day and its first count are
//!          │ quarter hours since 1970                               one step, and no shard ever adds to yesterday
//! ```
//!
//! Quarter hours, because clocks differ by such (Kathmandu is 5:45 ahead): a day that were taken to end at the hour before its midnight would
//! start anew up to 45 minutes early. Ends of days that follow each other are 22 to 26 hours apart. So of two ends, with the word's compared to the caller's,
//!
//! - less than half a day apart: the same day, also when the provider moved to another zone or the clocks changed,
//! - the word's later by up to a day and a half: another shard's wall clock is past midnight already; its day goes on,
//! - else: the word's day is over, or the wall clock had been wrong. The count starts again.

use crate::time::WallTime;

const MICROS_PER_QUARTER: u64 = 900_000_000;
/// Quarter hours of a day, and of half of one less one.
const DAY: u32 = 24 * 4;
pub(super) const SAME_DAY: u32 = DAY / 2 - 1;
const COUNT_BITS: u32 = 40;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const DAY_MAX: u64 = (1 << (u64::BITS - COUNT_BITS)) - 1;

/// A provider's day, named by the quarter hour in which it ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Day {
    ends_q: u32,
}

impl Day {
    /// The day that ends at this midnight.
    #[must_use]
    pub const fn ending(next_midnight: WallTime) -> Day {
        let quarters = next_midnight.0 / MICROS_PER_QUARTER;
        Day { ends_q: if quarters < DAY_MAX { quarters as u32 } else { DAY_MAX as u32 } }
    }

    /// The day that goes on `now`, told from an earlier or later day of the same provider.
    fn going_on(self, now: WallTime) -> Day {
        let now_q = Day::ending(now).ends_q;
        if now_q < self.ends_q {
            return self;
        }
        // Off by an hour where the clocks were changed in between: still the same day to whoever knows better.
        Day { ends_q: self.ends_q + DAY * ((now_q - self.ends_q) / DAY + 1) }
    }
}

/// What one provider has used of a day: plain data to be kept over a restart.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct DayCount {
    /// End of the day, quarter hours since 1970 UTC.
    pub ends_q: u32,
    /// Calls admitted.
    pub calls: u64,
    /// Seconds talked.
    pub seconds: u64,
}

/// The unpacked word.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    pub(super) ends_q: u32,
    pub(super) count: u64,
}

impl Tally {
    pub(super) const fn unpack(word: u64) -> Tally {
        Tally { ends_q: (word >> COUNT_BITS) as u32, count: word & COUNT_MAX }
    }

    pub(super) fn pack(self) -> u64 {
        u64::from(self.ends_q).min(DAY_MAX) << COUNT_BITS | self.count.min(COUNT_MAX)
    }

    /// This count as of a day: its own, or nothing yet.
    pub(super) fn of(self, day: Day) -> Tally {
        let ahead = i64::from(self.ends_q) - i64::from(day.ends_q);
        if ahead.unsigned_abs() <= u64::from(SAME_DAY) {
            Tally { ends_q: day.ends_q, count: self.count }
        } else if (0..=i64::from(DAY + DAY / 2)).contains(&ahead) {
            self
        } else {
            Tally { ends_q: day.ends_q, count: 0 }
        }
    }

    /// This count as of the wall clock.
    pub(super) fn at(self, now: WallTime) -> Tally {
        self.of(Day { ends_q: self.ends_q }.going_on(now))
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNT_MAX, Day, Tally};
    use crate::time::WallTime;

    const MICROS_PER_HOUR: u64 = 3_600_000_000;

    fn day(hours: u64) -> Day {
        Day::ending(WallTime(hours * MICROS_PER_HOUR))
    }

    fn ending(hours: u64, count: u64) -> Tally {
        Tally { ends_q: day(hours).ends_q, count }
    }

    #[test]
    fn a_day_keeps_its_count_and_the_next_one_starts_at_nothing() {
        let tally = Tally::unpack(ending(500_000, 7).pack());
        assert_eq!(tally.of(day(500_000)).count, 7);
        assert_eq!(tally.of(day(500_003)), ending(500_003, 7), "moved to another zone");
        for next in [23, 24, 25, 480] {
            assert_eq!(tally.of(day(500_000 + next)), ending(500_000 + next, 0));
        }
    }

    #[test]
    fn a_clock_behind_by_a_moment_does_not_bring_yesterday_back() {
        let today = ending(500_024, 3);
        assert_eq!(today.of(day(500_000)), today);
        assert_eq!(today.of(day(499_900)).count, 0, "a clock that had been set days ahead");
    }

    #[test]
    fn a_day_goes_on_until_its_end() {
        let tally = ending(500_000, 9);
        let at = |hours: u64, micros: u64| tally.at(WallTime(hours * MICROS_PER_HOUR - micros));
        assert_eq!(at(500_000, 1).count, 9);
        assert_eq!(at(500_000, 0), ending(500_024, 0));
        assert_eq!(at(500_060, 0), ending(500_072, 0));
    }

    /// India's midnight is at half past, Nepal's at a quarter past.
    #[test]
    fn a_day_that_ends_within_an_hour_goes_on_until_then() {
        for minutes in [15, 30, 45] {
            let midnight = 500_000 * MICROS_PER_HOUR + minutes * 60_000_000;
            let tally = Tally { ends_q: Day::ending(WallTime(midnight)).ends_q, count: 9 };
            assert_eq!(tally.at(WallTime(midnight - 1)).count, 9, "{minutes}");
            assert_eq!(tally.at(WallTime(midnight)).count, 0, "{minutes}");
            assert_eq!(tally.at(WallTime(midnight)).ends_q, tally.ends_q + 96, "{minutes}");
        }
    }

    #[test]
    fn counts_saturate() {
        let full = Tally { ends_q: 1, count: u64::MAX }.pack();
        assert_eq!(Tally::unpack(full), Tally { ends_q: 1, count: COUNT_MAX });
        assert_eq!(Day::ending(WallTime(u64::MAX)), Day::ending(WallTime(u64::MAX - 1)));
    }
}
