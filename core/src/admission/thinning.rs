//! Thinning: what share of an overloading provider's new calls should reach a shard at all.
//!
//! A refused INVITE costs a shard about a fifth of a carried call: receiving it, the 503, its ACK. What can refuse for less is the kernel, which drops
//! it unanswered. So each provider of which calls are refused has a **share**, and the shard's host lets only that part of its new
//! calls through ([`Effect::Shed`](crate::Effect::Shed)). It is set so that about one call in eight that come through is still refused: peers go on
//! hearing 503 with Retry-After, and a provider that wants less is noticed.
//!
//! ```text
//!   window of a provider   opens when its share was set; calls that arrived before say nothing of the new share (they waited)
//!                          closes 50 ms of arrivals later, if it saw 32 calls, else when it has, after 1 s at most
//!     fitting              share × 8/7 × what the level lets in / what came
//!     too many came        fitting, a quarter of the share at least
//!     too few came         a quarter of the way to fitting, 5/4 of the share at most; where hardly any came, × 2 for each second
//! ```
//!
//! By what **came** and not by what was refused: a burst at the level is let in, so that a share that is too large by half refuses nobody for 100 ms and
//! then every third. And a share goes up slowly, because what it opens to is more than its part of the new calls: all that were dropped within the
//! last half minute, which their callers go on repeating.
//!
//! A provider of which nothing is refused has no share: that is all of them below the level, so that fairness is `overload`'s alone.

use alloc::boxed::Box;
use alloc::vec;

use crate::limits::OVERLOAD_BUCKETS;
use crate::time::Instant;

/// All calls: no thinning. Shares are in 65,536ths.
const ALL: u16 = u16::MAX;
/// The least share: one call in 64. What still comes through must suffice to find out that the load is over.
const LEAST: u16 = 1 << 10;
/// Above so much a share is all: less than the thirtieth part of the calls is not worth the drop.
const NEARLY_ALL: u16 = ALL - ALL / 32;
/// A window that saw fewer calls waits for more,
const ENOUGH: u16 = 32;
/// but no longer than so many milliseconds; and is never shorter than so many.
const LONGEST_MS: u32 = 1_000;
const SHORTEST_MS: u32 = 50;
/// After so many seconds without a call any share is all again.
const DOUBLINGS_MAX: u32 = 6;

/// The shares of all providers. By slot; providers beyond the table share.
#[derive(Debug)]
pub(super) struct Thinning {
    shares: Box<[Share]>,
}

#[derive(Copy, Clone, Debug)]
struct Share {
    /// When the window opened, milliseconds; the differences of 32 bits do.
    opened_ms: u32,
    /// New calls since, and how many of them were refused.
    seen: u16,
    refused: u16,
    pass: u16,
}

const OPEN: Share = Share { opened_ms: 0, seen: 0, refused: 0, pass: ALL };

impl Thinning {
    pub(super) const BYTES: usize = OVERLOAD_BUCKETS * size_of::<Share>();

    pub(super) fn new() -> Thinning {
        Thinning { shares: vec![OPEN; OVERLOAD_BUCKETS].into_boxed_slice() }
    }

    /// An overload begins: all calls of everybody pass.
    pub(super) fn begin(&mut self, now: Instant) {
        self.shares.fill(Share { opened_ms: millis(now), ..OPEN });
    }

    /// A new call of a bucket's provider, which came at `received_at`, was taken or refused `now`; of such calls it may bring `level` in a thousand
    /// seconds. Whether its calls are thinned.
    pub(super) fn note(
        &mut self,
        bucket: usize,
        refused: bool,
        level: u64,
        now: Instant,
        received_at: Instant,
    ) -> bool {
        let share = &mut self.shares[bucket];
        let age_ms = millis(received_at).wrapping_sub(share.opened_ms);
        // It came before the window opened.
        if age_ms > u32::MAX / 2 {
            return share.pass != ALL;
        }
        if age_ms >= LONGEST_MS || age_ms >= SHORTEST_MS && share.seen >= ENOUGH {
            *share = Share { opened_ms: millis(now), pass: share.next(age_ms, level), ..OPEN };
        }
        share.seen = share.seen.saturating_add(1);
        share.refused = share.refused.saturating_add(u16::from(refused));
        share.pass != ALL
    }

    /// The share of a bucket's provider, in 65,536ths; `None`: all.
    pub(super) fn pass(&self, bucket: usize) -> Option<u16> {
        let pass = self.shares[bucket].pass;
        (pass != ALL).then_some(pass)
    }
}

impl Share {
    /// The share after this window.
    fn next(self, age_ms: u32, level: u64) -> u16 {
        let pass = u64::from(self.pass);
        let next = if self.refused == 0 && self.pass == ALL {
            pass
        } else if self.refused == 0 && self.seen < ENOUGH {
            pass << (age_ms / LONGEST_MS).min(DOUBLINGS_MAX)
        } else {
            // Of calls in a thousand seconds: milliseconds, and a millionth part.
            let let_in = level.saturating_mul(u64::from(age_ms));
            let fitting = (pass * 8).saturating_mul(let_in) / (7 * 1_000_000 * u64::from(self.seen.max(1)));
            if fitting < pass { fitting.max(pass / 4) } else { pass + ((fitting - pass) / 4).min(pass / 4) }
        };
        match u16::try_from(next) {
            Ok(next) if next < NEARLY_ALL => next.max(LEAST),
            _ => ALL,
        }
    }
}

fn millis(at: Instant) -> u32 {
    (at.as_micros() / 1_000) as u32
}

#[cfg(test)]
mod tests {
    use super::{ALL, LEAST, Share, Thinning};
    use crate::time::Instant;

    /// Of a provider that may bring a thousand calls a second.
    fn after(pass: u16, seen: u16, refused: u16, age_ms: u32) -> u16 {
        Share { opened_ms: 0, seen, refused, pass }.next(age_ms, 1_000_000)
    }

    #[test]
    fn a_share_follows_what_came() {
        // Three times what is let in: a third and a seventh of it.
        assert_eq!(after(ALL, 300, 200, 100), 24_965);
        assert_eq!(after(60_000, 300, 0, 100), 22_857, "though a burst was let in");
        // One in eight is as it should be.
        assert_eq!(after(21_000, 800, 100, 700), 21_000);
        assert_eq!(after(21_000, 8_000, 1_000, 7_000), 21_000);
        assert_eq!(after(20_000, 1_000, 900, 100), 5_000, "a quarter at most");
        assert_eq!(after(1_500, 100, 100, 10), LEAST);
        assert_eq!(after(21_000, 100, 100, 100), 21_750, "a quarter of the way");
        assert_eq!(after(20_000, 33, 0, 100), 25_000, "and of the share at most");
        assert_eq!(after(ALL, 33, 0, 100), ALL);
        assert_eq!(after(ALL, 300, 0, 100), ALL, "whom nothing is refused");
        assert_eq!(after(20_000, 5, 0, 1_000), 40_000);
        assert_eq!(after(20_000, 0, 0, 2_000), ALL);
        assert_eq!(after(ALL, u16::MAX, u16::MAX, 100), ALL / 4);
        assert_eq!(after(LEAST, 1, 0, 70_000), ALL, "a minute of silence");
        assert_eq!(after(64_000, 100, 0, 200), ALL);
    }

    #[test]
    fn what_waited_while_the_share_was_set_says_nothing_of_it() {
        let mut thinning = Thinning::new();
        let at = |ms: u64| Instant::from_micros(ms * 1_000);
        thinning.begin(at(1_000));
        for call in 0..60 {
            thinning.note(5, call % 3 != 0, 200_000, at(1_200), at(1_000 + call / 4));
        }
        // Handled 200 ms after it came: the share is set now, and the next 200 ms of calls are what came before.
        assert!(thinning.note(5, true, 200_000, at(1_300), at(1_100)));
        let pass = thinning.pass(5).expect("thinned");
        for call in 0..100 {
            thinning.note(5, true, 200_000, at(1_400), at(1_101 + call));
        }
        assert_eq!(thinning.pass(5), Some(pass));
        assert_eq!(thinning.pass(6), None, "of whom nothing was refused");
    }
}
