//! One peer's words, and how several of them are taken as if they were one.
//!
//! ```text
//!   look ─► no room, settled ─────────────► refused; nothing was touched
//!    ▲  ├─► no room, unsettled ─┐
//!    │  └─► room ─► begin ─► take each ─► all taken ───► end ─► held
//!    │                          └─ one had gone: give the others back ─► end ─┐
//!    └──────────────────────────◄─────────────────────────────────────────────┘
//! ```
//!
//! A call needs a place with the carrier *and* with the gateway, under the cap *and* under the rate. While it has taken the first and
//! not yet the second, its taking is a **trial**: it may have to give the first back. Whoever meets a full word in that moment
//! must not be refused because of it. So every trial counts itself in `begun` before it touches the row, and in `ended` when it has
//! taken everything or given everything back; and a refusal is decided by reading alone: `ended`, then the words, then `begun`.
//!
//! Why equal counts mean a sound refusal: assume that the words read contain something that a trial took and gave back later. The
//! trial counted itself in `begun` before it took, so the later read of `begun` has it. It counts itself in `ended` after it gave
//! back; had the earlier read of `ended` seen that, the words would have been read after the giving back. So `begun` was read one
//! higher, and the counts differ. (Acquire and release suffice: each step either reads what the other wrote, or is ordered by its
//! own thread. All writes are read-modify-write, so a value built on the trial's carries its order along.)
//!
//! A row is one cache line: a busy peer does not slow its neighbour down.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::daily::{Day, DayCount, SAME_DAY, Tally};
use super::rate::Rate;
use super::{Limit, Limits};
use crate::time::{Instant, WallTime};

/// The words of one peer.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Row {
    /// Calls that hold a place.
    calls: AtomicU32,
    /// Trials begun and ended since the start; they wrap.
    begun: AtomicU32,
    ended: AtomicU32,
    /// The word of [`Rate`].
    rate: AtomicU64,
    /// Calls of the day, as a [`Tally`].
    day_calls: AtomicU64,
    /// Seconds of the day, as a [`Tally`].
    day_seconds: AtomicU64,
}

const _: () = assert!(size_of::<Row>() == 64, "one cache line");

/// What a call wants of a row.
#[derive(Copy, Clone, Debug)]
pub(super) struct Wanted {
    pub(super) limits: Limits,
    pub(super) max_calls_day: Option<u32>,
    pub(super) max_minutes_day: Option<u32>,
    /// There is one whenever a daily limit is.
    pub(super) today: Option<Day>,
    pub(super) now: Instant,
}

/// What a look found.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// Room for one more call.
    Room,
    /// None, and nobody is about to give any back.
    Full(Limit),
    /// None, but a trial is under way.
    Unsettled(Limit),
}

/// What a trial took of a row.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Taken {
    call: bool,
    day_call: Option<Day>,
    /// The word before and after.
    rate: Option<(u64, u64)>,
}

impl Row {
    /// Whether there is room, without touching anything.
    pub(super) fn look(&self, wanted: &Wanted) -> Look {
        let ended = self.ended.load(Ordering::Acquire);
        let Some(limit) = self.lacking(wanted) else { return Look::Room };
        let begun = self.begun.load(Ordering::Acquire);
        if begun == ended { Look::Full(limit) } else { Look::Unsettled(limit) }
    }

    /// The first limit that leaves no room.
    fn lacking(&self, wanted: &Wanted) -> Option<Limit> {
        let Wanted { limits, max_calls_day, max_minutes_day, today, now } = wanted;
        if limits.max_calls.is_some_and(|max| self.calls.load(Ordering::Acquire) >= max) {
            return Some(Limit::Calls);
        }
        let used = |word: &AtomicU64, day: Day| Tally::unpack(word.load(Ordering::Acquire)).of(day).count;
        if let Some(day) = today {
            if max_calls_day.is_some_and(|max| used(&self.day_calls, *day) >= u64::from(max)) {
                return Some(Limit::CallsOfDay);
            }
            if max_minutes_day.is_some_and(|max| used(&self.day_seconds, *day) >= 60 * u64::from(max)) {
                return Some(Limit::MinutesOfDay);
            }
        }
        let late = |rate: Rate| rate.next(self.rate.load(Ordering::Acquire), *now).is_none();
        limits.rate.is_some_and(late).then_some(Limit::Rate)
    }

    /// Before the first word is touched.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// After everything was taken, or given back.
    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes all that is wanted, within a trial; `None` when something has gone since the look, and then nothing is taken.
    pub(super) fn take(&self, wanted: &Wanted) -> Option<Taken> {
        let mut taken = Taken::default();
        if let Some(max) = wanted.limits.max_calls {
            let more = |calls| (calls < max).then(|| calls + 1);
            self.calls.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
            taken.call = true;
        }
        if let (Some(max), Some(day)) = (wanted.max_calls_day, wanted.today) {
            let more = |word| {
                let tally = Tally::unpack(word).of(day);
                (tally.count < u64::from(max)).then(|| Tally { count: tally.count + 1, ..tally }.pack())
            };
            if self.day_calls.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
                self.give_back(&taken);
                return None;
            }
            taken.day_call = Some(day);
        }
        if let Some(rate) = wanted.limits.rate {
            let next = |word| rate.next(word, wanted.now);
            match self.rate.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
                Ok(before) => taken.rate = next(before).map(|after| (before, after)),
                Err(_) => {
                    self.give_back(&taken);
                    return None;
                }
            }
        }
        Some(taken)
    }

    /// Gives back what a trial took, before it ends.
    pub(super) fn give_back(&self, taken: &Taken) {
        if let Some((before, after)) = taken.rate {
            // Only while nobody passed since. The others' steps start from ours, and which of them would have found an idle word is
            // not known any more: to keep the call counted is late by one interval, to subtract could be one call too many.
            let _ = self.rate.compare_exchange(after, before, Ordering::AcqRel, Ordering::Relaxed);
        }
        if let Some(day) = taken.day_call {
            let less = |word| {
                let tally = Tally::unpack(word);
                (tally.of(day) == tally).then(|| Tally { count: tally.count.saturating_sub(1), ..tally }.pack())
            };
            // Another day has begun: there is nothing to take off it.
            let _ = self.day_calls.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        }
        if taken.call {
            self.release_call();
        }
    }

    /// A call that held a place has ended.
    pub(super) fn release_call(&self) {
        let before = self.calls.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a hold was given back twice");
    }

    /// Calls that hold a place.
    pub(super) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Acquire)
    }

    /// Makes sure that the minutes have a day to go to.
    pub(super) fn open_day(&self, day: Day) {
        let moved = |word| {
            let tally = Tally::unpack(word);
            Some(tally.of(day)).filter(|of| *of != tally).map(Tally::pack)
        };
        // Refused: it is that day's already.
        let _ = self.day_seconds.fetch_update(Ordering::AcqRel, Ordering::Acquire, moved);
    }

    /// Adds what a call talked to the day that goes on.
    pub(super) fn charge(&self, seconds: u64, now: WallTime) {
        let more = |word| {
            let tally = Tally::unpack(word).at(now);
            Some(Tally { count: tally.count.saturating_add(seconds), ..tally }.pack())
        };
        // Never refused: the closure always has a new value.
        let _ = self.day_seconds.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    /// What was used of the later of the two words' days; `None` when there was no day yet.
    pub(super) fn day(&self) -> Option<DayCount> {
        let calls = Tally::unpack(self.day_calls.load(Ordering::Acquire));
        let seconds = Tally::unpack(self.day_seconds.load(Ordering::Acquire));
        let ends_q = calls.ends_q.max(seconds.ends_q);
        let count = |tally: Tally| if ends_q - tally.ends_q <= SAME_DAY { tally.count } else { 0 };
        (ends_q != 0).then(|| DayCount { ends_q, calls: count(calls), seconds: count(seconds) })
    }

    /// Sets the day's counts.
    pub(super) fn set_day(&self, day: DayCount) {
        let word = |count| Tally { ends_q: day.ends_q, count }.pack();
        self.day_calls.store(word(day.calls), Ordering::Release);
        self.day_seconds.store(word(day.seconds), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::{Limit, Limits, Look, Row, Wanted};
    use crate::admission::Rate;
    use crate::time::Instant;

    fn wanted(limits: Limits) -> Wanted {
        let now = Instant::from_micros(7_000_000);
        Wanted { limits, max_calls_day: None, max_minutes_day: None, today: None, now }
    }

    #[test]
    fn a_trial_makes_nobody_be_refused() {
        let call = Limits { max_calls: Some(1), rate: None };
        let rate = Limits { max_calls: None, rate: Some(Rate::new(10, Some(0))) };
        for (limits, limit) in [(call, Limit::Calls), (rate, Limit::Rate)] {
            let row = Row::default();
            let wanted = wanted(limits);
            row.begin();
            let taken = row.take(&wanted).expect("the last place");
            assert_eq!(row.look(&wanted), Look::Unsettled(limit));
            assert!(row.take(&wanted).is_none());
            row.give_back(&taken);
            assert_eq!(row.look(&wanted), Look::Room);
            row.end();

            row.begin();
            row.take(&wanted).expect("the last place, to be kept");
            row.end();
            assert_eq!(row.look(&wanted), Look::Full(limit));
        }
    }

    #[test]
    fn a_trial_that_ends_during_a_look_does_not_settle_another() {
        let row = Row::default();
        let wanted = wanted(Limits { max_calls: Some(1), rate: None });
        row.begin();
        row.begin();
        row.take(&wanted).expect("one of them takes");
        row.end();
        assert_eq!(row.look(&wanted), Look::Unsettled(Limit::Calls), "the other one may still give back");
        row.end();
        assert_eq!(row.look(&wanted), Look::Full(Limit::Calls));
    }

    #[test]
    fn a_rate_that_moved_on_is_not_given_back() {
        let row = Row::default();
        let wanted = wanted(Limits { max_calls: None, rate: Some(Rate::new(10, Some(1))) });
        row.begin();
        let first = row.take(&wanted).expect("one of two");
        row.take(&wanted).expect("two of two, by another");
        row.give_back(&first);
        row.end();
        assert_eq!(row.look(&wanted), Look::Full(Limit::Rate));
    }
}
