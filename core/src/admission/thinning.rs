//! Thinning: what share of an overloading provider's new calls should reach a shard at all.
//!
//! A refused INVITE costs a shard about a fifth of a carried call: receiving it, the 503, its ACK. What can refuse for less is the kernel, which drops
//! it unanswered. So each provider of which calls are refused has a **share**, and the shard's host lets only that part of its new
//! calls through ([`Effect::Shed`](crate::Effect::Shed)). It is set so that about one call in nine that come through is still refused: peers go on
//! hearing 503 with Retry-After, and a provider that wants less is noticed.
//!
//! ```text
//!   window of a provider   opens when its share was set; calls that arrived before say nothing of the new share (they waited)
//!                          closes 50 ms of arrivals later, if it saw 32 calls, else when it has, after 1 s at most
//!     some refused         share × 9/8 × taken / seen, a quarter at least
//!     none refused         share × 5/4; where it saw few calls, × 2 for each second
//! ```
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

    /// A new call of a bucket's provider, which came at `received_at`, was taken or refused `now`. Whether its calls are thinned.
    pub(super) fn note(&mut self, bucket: usize, refused: bool, now: Instant, received_at: Instant) -> bool {
        let share = &mut self.shares[bucket];
        let age_ms = millis(received_at).wrapping_sub(share.opened_ms);
        // It came before the window opened.
        if age_ms > u32::MAX / 2 {
            return share.pass != ALL;
        }
        if age_ms >= LONGEST_MS || age_ms >= SHORTEST_MS && share.seen >= ENOUGH {
            *share = Share { opened_ms: millis(now), pass: share.next(age_ms), ..OPEN };
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
    fn next(self, age_ms: u32) -> u16 {
        let pass = u64::from(self.pass);
        let (seen, taken) = (u64::from(self.seen), u64::from(self.seen - self.refused));
        let next = if self.refused > 0 {
            (pass * 9 * taken / (8 * seen)).max(pass / 4)
        } else if self.seen >= ENOUGH {
            pass + pass / 4
        } else {
            pass << (age_ms / LONGEST_MS).min(DOUBLINGS_MAX)
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

    fn after(pass: u16, seen: u16, refused: u16, age_ms: u32) -> u16 {
        Share { opened_ms: 0, seen, refused, pass }.next(age_ms)
    }

    #[test]
    fn a_share_follows_what_was_refused() {
        // Three times what is taken: a third and an eighth of it.
        assert_eq!(after(ALL, 300, 200, 100), 24_575);
        // One in nine is as it should be.
        assert_eq!(after(20_000, 900, 100, 100), 20_000);
        assert_eq!(after(20_000, 9_000, 1_000, 100), 20_000);
        assert_eq!(after(20_000, 100, 100, 100), 5_000, "a quarter at most");
        assert_eq!(after(1_500, 100, 100, 100), LEAST);
        assert_eq!(after(20_000, 100, 0, 100), 25_000);
        assert_eq!(after(20_000, 5, 0, 1_000), 40_000);
        assert_eq!(after(20_000, 0, 0, 2_000), ALL);
        assert_eq!(after(ALL, u16::MAX, u16::MAX, 100), ALL / 4);
        assert_eq!(after(LEAST, 1, 0, 70_000), ALL, "a minute of silence");
        assert_eq!(after(64_000, 100, 0, 100), ALL);
    }

    #[test]
    fn what_waited_while_the_share_was_set_says_nothing_of_it() {
        let mut thinning = Thinning::new();
        let at = |ms: u64| Instant::from_micros(ms * 1_000);
        thinning.begin(at(1_000));
        for call in 0..60 {
            thinning.note(5, call % 3 != 0, at(1_200), at(1_000 + call / 4));
        }
        // Handled 200 ms after it came: the share is set now, and the next 200 ms of calls are what came before.
        assert!(thinning.note(5, true, at(1_300), at(1_100)));
        let pass = thinning.pass(5).expect("thinned");
        for call in 0..100 {
            thinning.note(5, true, at(1_400), at(1_101 + call));
        }
        assert_eq!(thinning.pass(5), Some(pass));
        assert_eq!(thinning.pass(6), None, "of whom nothing was refused");
    }
}
