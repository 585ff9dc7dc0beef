//! Overload of one shard: when it is so, and whose new calls it then sheds.
//!
//! ```text
//!            everybody waited > 5 ms, for 100 ms
//!    Calm ───────────────────────────────────────► Shedding: every provider may bring `level` new calls a second
//!      ▲                                               │     after each 100 ms of arrivals
//!      └─────── 1 s of arrivals, nothing shed ─────────┘       aim   ◄─ the measured capacity, less what drains the queue
//!                                                              level ◄─ level × aim / what the level let in
//! ```
//!
//! **When.** The queueing delay, from the kernel's receipt to the engine, is the one sign that covers everything: CPU, softirq, a
//! noisy neighbour. A single datagram that waited says nothing (a burst), one that did not says that the queue was empty: so only
//! a delay whose *least* value stays above the target counts, as in CoDel (RFC 8289 §3). Time during which the shard itself
//! did not run counts for [`GAP_MAX_US`] at most, so that a stall is not taken for load.
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

use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

use super::thinning::Thinning;
use crate::limits::OVERLOAD_BUCKETS;
use crate::routing::ProviderSlot;
use crate::time::Instant;

/// The queueing delay that is no overload.
const TARGET_US: u64 = 5_000;
/// How long it must be exceeded without a break; also the period of control.
const WINDOW_US: u64 = 100_000;
const WINDOW: Duration = Duration::from_micros(WINDOW_US);
/// The most that the time between two datagrams adds to the time of overload.
const GAP_MAX_US: u64 = 10_000;
/// Windows in a row without shedding after which the overload is over.
const QUIET_WINDOWS: u64 = 10;
/// A delay of so much or more takes a quarter off the aim, one of a tenth of it a fortieth. Never more: those within their shares are
/// to be served while the queue of the others is worked off.
const DRAIN_US: u64 = 100_000;
/// How many calls a provider at the level may bring at once, whatever the level: arrivals are never even.
const BURST_CALLS: u64 = 8;
/// Or so many microseconds' worth, where that is more.
const BURST_US: u64 = 100_000;

/// Parts into which the level's step is divided.
const GAIN: u64 = 64;
/// So many refusals cost what a call costs: three datagrams of fourteen.
const REFUSALS_PER_CALL: u64 = 5;
/// After so many windows without a standing queue the aim rises by so many parts in 32 a window.
const EASY_MAX: u64 = 4;
/// Windows over which the level is averaged,
const MEAN_WINDOWS: u64 = 32;
/// and how many times the level that may be: when even so low a level does not suffice, those who bring less than the mean are too many.
const MEAN_MAX: u64 = 3;
/// The level counts thousandths: with a thousand providers it may be below one call a second.
const MILLI: u64 = 1_000;

const MICROS_PER_SECOND: u64 = 1_000_000;
const NANOS_PER_MICRO: u64 = 1000;

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
    /// The delay has been above the target for so many microseconds, in which so many providers brought calls.
    Calm {
        above_us: u64,
        providers: u64,
    },
    Shedding(Shedding),
}

const CALM: Phase = Phase::Calm { above_us: 0, providers: 0 };

/// Rates are new calls a second; the level is in thousandths of that.
#[derive(Copy, Clone, Debug)]
struct Shedding {
    /// What each provider may bring.
    level: u64,
    /// The level on the average of the last seconds.
    mean: u64,
    /// What all together should bring.
    aim: u64,
    /// What the shard can take.
    capacity: u64,
    /// The window's end, by arrivals.
    ends: Instant,
    /// Its begin, by the shard's own time.
    began: Instant,
    /// Least delay in this window, microseconds; `u64::MAX`: no datagram came.
    least_us: u64,
    /// That of the window before.
    before_us: u64,
    /// Windows in a row without a standing queue, [`EASY_MAX`] at most.
    easy: u64,
    /// New calls shed in this window.
    shed: u64,
    /// Somebody who brought one in this window is thinned.
    thinned: bool,
    /// Windows in a row without either.
    quiet: u64,
}

impl Overload {
    /// Bytes that one shard's takes.
    pub const BYTES: usize = OVERLOAD_BUCKETS * size_of::<u64>() + Thinning::BYTES;

    /// Takes all memory that it will ever use. `thins`: somebody acts on [`Overload::passes`].
    #[must_use]
    pub fn new(thins: bool) -> Overload {
        let due = vec![0; OVERLOAD_BUCKETS].into_boxed_slice();
        Overload { phase: CALM, last: Instant::ZERO, taken: 0, due, thinning: thins.then(Thinning::new) }
    }

    /// A datagram, of whatever kind, that came at `received_at` is handled `now`. To be called for each, before it is.
    #[inline]
    pub fn observe(&mut self, now: Instant, received_at: Instant) {
        let delay_us = now.as_micros().saturating_sub(received_at.as_micros());
        match &mut self.phase {
            Phase::Calm { above_us, providers } if delay_us <= TARGET_US => {
                // Calm as before: two words, not the whole phase, for each datagram.
                (*above_us, *providers) = (0, 0);
                self.taken = 0;
            }
            Phase::Calm { above_us, providers } => {
                *above_us += now.as_micros().saturating_sub(self.last.as_micros()).min(GAP_MAX_US);
                if *above_us >= WINDOW_US {
                    let capacity = (self.taken * MICROS_PER_SECOND / *above_us).max(1);
                    self.phase = Phase::Shedding(Shedding::start(capacity, *providers, delay_us, now, received_at));
                    self.taken = 0;
                    if let Some(thinning) = &mut self.thinning {
                        thinning.begin(now);
                    }
                }
            }
            Phase::Shedding(shedding) => {
                if received_at >= shedding.ends {
                    let over = shedding.end_window(self.taken, now, received_at);
                    self.taken = 0;
                    if over {
                        self.phase = CALM;
                    }
                } else {
                    shedding.least_us = shedding.least_us.min(delay_us);
                }
            }
        }
        self.last = now;
    }

    /// Whether this shard takes a provider's new call that came at `received_at`. `false`: answer 503 with Retry-After, statelessly.
    #[inline]
    pub fn admits(&mut self, provider: ProviderSlot, received_at: Instant) -> bool {
        let bucket = bucket(provider);
        let due = &mut self.due[bucket];
        match &mut self.phase {
            Phase::Calm { above_us: 0, .. } => {}
            Phase::Calm { providers, .. } => {
                // The first call in this time of delay, or in one so shortly before that it makes no difference.
                let at = received_at.as_micros().saturating_mul(NANOS_PER_MICRO);
                *providers += u64::from(at.saturating_sub(*due) > 2 * WINDOW_US * NANOS_PER_MICRO);
                *due = (*due).max(at);
            }
            Phase::Shedding(shedding) => {
                *due = shedding.bounded(*due, received_at);
                let next = shedding.next(*due, received_at);
                if let Some(thinning) = &mut self.thinning {
                    shedding.thinned |= thinning.note(bucket, next.is_none(), self.last, received_at);
                }
                let Some(next) = next else {
                    shedding.shed += 1;
                    return false;
                };
                *due = next;
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
            Phase::Calm { .. } => None,
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

impl Shedding {
    fn start(capacity: u64, providers: u64, delay_us: u64, now: Instant, received_at: Instant) -> Shedding {
        let aim = draining(capacity, delay_us);
        let even = |all: u64| (all * MILLI / providers.max(1)).max(1);
        Shedding {
            // Even shares at first: too low for some, but too high would make a long queue before it is known.
            level: even(aim),
            mean: even(capacity),
            aim,
            capacity,
            ends: received_at.after(WINDOW),
            began: now,
            least_us: u64::MAX,
            before_us: delay_us,
            easy: 0,
            shed: 0,
            thinned: false,
            quiet: 0,
        }
    }

    /// Sets aim and level for the next window; `true` when the overload is over.
    fn end_window(&mut self, taken: u64, now: Instant, received_at: Instant) -> bool {
        // A window without a datagram had an empty queue.
        let least_us = if self.least_us == u64::MAX { 0 } else { self.least_us };
        let standing = least_us > TARGET_US;
        if standing {
            let worked_us = now.as_micros().saturating_sub(self.began.as_micros()).max(1);
            // Where a share of the calls is kept away, few will be refused from now on: what was refused was work for calls.
            let spent = if self.thinned { taken + self.shed / REFUSALS_PER_CALL } else { taken };
            let served = spent * MICROS_PER_SECOND / worked_us;
            if served > self.capacity {
                self.capacity = (self.capacity + served).div_ceil(2);
            } else if least_us >= self.before_us {
                // It does not drain, so the shard takes less than was thought. A window that drains says nothing of the kind: it may be
                // full of what was shed, and of what calls taken before still need.
                self.capacity = served.max(self.capacity - self.capacity / 8).max(1);
            }
            self.aim = draining(self.capacity, least_us);
            self.easy = 0;
        } else {
            // The longer there was no queue, the less is known of where one begins.
            self.easy = (self.easy + 1).min(EASY_MAX);
            self.aim = (self.aim + self.aim * self.easy / 32 + 1).max(self.capacity - self.capacity / 8);
        }
        let let_in = (taken * MICROS_PER_SECOND / WINDOW_US).max(1);
        let all_came = self.shed == 0 && !self.thinned;
        let all_fitted = all_came && let_in <= self.aim;
        let fitting = if all_fitted { self.aim * MILLI } else { self.level.saturating_mul(self.aim) / let_in };
        let fitting = fitting.clamp(self.level / 4, self.level * 2);
        // Half of the way at most: one window's arrivals are chance. Less where a burst at the level takes longer than a window: what was let
        // in then is still of the levels before. And nobody can bring more than all may together.
        let gain = (self.level * WINDOW_US * GAIN / (BURST_CALLS * MICROS_PER_SECOND * MILLI)).clamp(GAIN / 16, GAIN);
        let step = fitting.abs_diff(self.level) * gain / (2 * GAIN);
        self.level = if fitting > self.level { self.level + step.max(1) } else { self.level - step };
        self.level = self.level.clamp(1, self.aim * MILLI);
        self.mean = (self.mean - self.mean / MEAN_WINDOWS + self.level / MEAN_WINDOWS).min(MEAN_MAX * self.level);
        // Windows without a datagram are quiet, too.
        let windows = 1 + received_at.as_micros().saturating_sub(self.ends.as_micros()) / WINDOW_US;
        self.quiet = if all_came && !standing { self.quiet + windows } else { 0 };
        self.ends = received_at.after(WINDOW);
        self.began = now;
        self.before_us = least_us;
        self.least_us = u64::MAX;
        self.shed = 0;
        self.thinned = false;
        self.quiet >= QUIET_WINDOWS
    }

    /// What a provider may bring whatever the level is at the moment.
    fn share(&self) -> u64 {
        self.mean.max(self.level)
    }

    /// GCRA as in `rate`, at the share for who is not ahead of it, at the level for who is.
    fn next(&self, due: u64, received_at: Instant) -> Option<u64> {
        let at = received_at.as_micros().saturating_mul(NANOS_PER_MICRO);
        let (interval, tolerance) = self.terms();
        let within = due <= at.saturating_add(tolerance / 2);
        let price = if within { interval_at(self.share()) } else { interval };
        (due <= at.saturating_add(tolerance)).then(|| due.max(at) + price)
    }

    /// When the next call is due at this level, where it was reckoned at a lower one: a provider does not wait out what was too strict.
    fn bounded(&self, due: u64, received_at: Instant) -> u64 {
        let at = received_at.as_micros().saturating_mul(NANOS_PER_MICRO);
        let (interval, tolerance) = self.terms();
        due.min(at.saturating_add(tolerance + interval))
    }

    /// Nanoseconds from call to call, and how far ahead of that calls may come.
    fn terms(&self) -> (u64, u64) {
        let interval = interval_at(self.level);
        (interval, (BURST_US * NANOS_PER_MICRO).max(BURST_CALLS * interval_at(self.share())))
    }
}

/// Nanoseconds from call to call, at so many thousandths of a call a second.
fn interval_at(rate: u64) -> u64 {
    (MICROS_PER_SECOND * NANOS_PER_MICRO * MILLI).div_ceil(rate)
}

/// What may come in while a queue of so much delay is to become shorter.
fn draining(capacity: u64, delay_us: u64) -> u64 {
    (capacity - capacity / 4 * delay_us.min(DRAIN_US) / DRAIN_US).max(1)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::{Overload, ProviderSlot};
    use crate::time::Instant;

    /// What one provider offers and got.
    #[derive(Copy, Clone, Default, Debug)]
    struct Tally {
        offered: u64,
        taken: u64,
        refused: u64,
    }

    /// A shard that is one server with a queue: new calls, two messages in the dialog of each call taken, refusals. In front of it
    /// there may be a kernel that drops what the shares say.
    struct World {
        overload: Overload,
        /// What the shares were, by provider: since when, and how much of 65,536. A share says nothing a second later. Empty: no kernel.
        shares: Vec<Vec<(u64, u16)>>,
        refusal_us: u64,
        seed: u64,
        now_us: u64,
        /// Longest wait of anything in the last run.
        longest_us: u64,
    }

    /// The cost of a call taken, in microseconds: a shard of a thousand calls a second. Three datagrams of fourteen come with the INVITE.
    const INVITE_US: u64 = 216;
    const IN_DIALOG_US: u64 = 392;
    const SHED_US: u64 = 30;
    /// Three datagrams of fourteen.
    const REFUSAL_US: u64 = 3 * 1000 / 14;
    const CAPACITY: u64 = 1_000_000 / (INVITE_US + 2 * IN_DIALOG_US);

    impl World {
        fn new(seed: u64) -> World {
            let overload = Overload::new(false);
            World { overload, shares: Vec::new(), refusal_us: SHED_US, seed, now_us: 1_000_000, longest_us: 0 }
        }

        /// A kernel keeps away what it is told to. What is refused all the same costs what was measured.
        fn thinned(seed: u64) -> World {
            let (overload, shares) = (Overload::new(true), std::vec![Vec::new(); 16]);
            World { overload, shares, refusal_us: REFUSAL_US, ..World::new(seed) }
        }

        /// Whether the kernel drops a call of a provider that comes `at`.
        fn drops(&mut self, provider: usize, at: u64) -> bool {
            let Some(shares) = self.shares.get(provider) else { return false };
            let share = shares.iter().rev().find(|(since, _)| *since <= at).copied();
            let draw = self.draw(1 << 16) as u16;
            share.is_some_and(|(since, pass)| at - since < 1_000_000 && draw > pass)
        }

        fn draw(&mut self, below: u64) -> u64 {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.seed >> 33) % below
        }

        /// Runs for some seconds; `rates` are the new calls a second of providers 0, 1, …
        fn run(&mut self, seconds: u64, rates: &[u64]) -> Vec<Tally> {
            let start = self.now_us;
            let end = start + seconds * 1_000_000;
            let mut arrivals: Vec<(u64, Option<usize>)> = Vec::new();
            for (provider, rate) in rates.iter().enumerate() {
                // Uneven: between nothing and twice the mean.
                let mut at = start + self.draw(2_000_000 / rate + 1);
                while at < end {
                    arrivals.push((at, Some(provider)));
                    at += self.draw(2_000_000 / rate + 1);
                }
            }
            arrivals.sort_unstable();
            let mut tallies = std::vec![Tally::default(); rates.len()];
            let mut queue = std::collections::BinaryHeap::new();
            queue.extend(arrivals.into_iter().map(std::cmp::Reverse));
            self.longest_us = 0;
            while let Some(std::cmp::Reverse((at, provider))) = queue.pop() {
                if let Some(provider) = provider
                    && self.drops(provider, at)
                {
                    tallies[provider].offered += 1;
                    continue;
                }
                self.now_us = self.now_us.max(at);
                self.longest_us = self.longest_us.max(self.now_us - at);
                let now = Instant::from_micros(self.now_us);
                self.overload.observe(now, Instant::from_micros(at));
                let Some(provider) = provider else {
                    self.now_us += IN_DIALOG_US;
                    continue;
                };
                tallies[provider].offered += 1;
                let slot = ProviderSlot(provider as u16);
                let admitted = self.overload.admits(slot, Instant::from_micros(at));
                if let Some(pass) = self.overload.passes(slot) {
                    self.shares[provider].push((self.now_us, pass));
                }
                if admitted {
                    tallies[provider].taken += 1;
                    self.now_us += INVITE_US;
                    queue.push(std::cmp::Reverse((self.now_us + 50_000, None)));
                    queue.push(std::cmp::Reverse((self.now_us + 500_000, None)));
                } else {
                    tallies[provider].refused += 1;
                    self.now_us += self.refusal_us;
                }
            }
            tallies
        }
    }

    #[test]
    fn nothing_is_shed_below_capacity() {
        let mut world = World::new(1);
        for tally in world.run(60, &[CAPACITY / 2, CAPACITY / 4, CAPACITY / 10]) {
            assert_eq!(tally.offered, tally.taken);
        }
        assert!(!world.overload.sheds());
    }

    #[test]
    fn a_burst_alone_is_served() {
        let mut overload = Overload::new(true);
        // Ninety milliseconds of work arrive at once, every second: the last of them waited long, none was shed.
        for second in 1..60u64 {
            for call in 0..90 {
                let at = Instant::from_micros(second * 1_000_000);
                let now = Instant::from_micros(second * 1_000_000 + call * 1000);
                overload.observe(now, at);
                assert!(overload.admits(ProviderSlot(0), now), "second {second}, call {call}");
            }
        }
    }

    #[test]
    fn a_stall_is_not_load() {
        let mut overload = Overload::new(true);
        let at = |micros: u64| Instant::from_micros(1_000_000 + micros);
        overload.observe(at(6_000), at(0));
        // The shard lost its core for a second; what came in between was all received late, and then the queue is empty.
        for datagram in 0..5 {
            overload.observe(at(1_006_000 + datagram), at(7_000));
            assert!(overload.admits(ProviderSlot(0), at(1_006_000 + datagram)));
        }
        overload.observe(at(1_007_000), at(1_006_999));
        assert!(!overload.sheds());
    }

    #[test]
    fn three_times_the_capacity_leaves_nine_tenths_of_it() {
        let mut world = World::new(2);
        world.run(2, &[3 * CAPACITY]);
        let [tally] = world.run(60, &[3 * CAPACITY])[..] else { panic!("one provider") };
        // What the refusals cost is not there for calls.
        let refusals_us = (tally.offered - tally.taken) * SHED_US;
        let possible = (60_000_000 - refusals_us) / (1_000_000 / CAPACITY);
        assert!(tally.taken * 10 >= possible * 9, "{} of {possible}", tally.taken);
        assert!(world.longest_us < 500_000, "waited {} us: SIP would have sent again", world.longest_us);
    }

    #[test]
    fn thinned_three_times_the_capacity_leaves_nine_tenths_of_it_whatever_a_refusal_costs() {
        for (seed, times) in [(11, 2), (12, 3), (13, 10)] {
            let mut world = World::thinned(seed);
            world.run(2, &[times * CAPACITY]);
            let [tally] = world.run(60, &[times * CAPACITY])[..] else { panic!("one provider") };
            assert!(tally.taken * 10 >= 60 * CAPACITY * 9, "{times} times: {tally:?}");
            assert!(tally.refused * if times > 3 { 3 } else { 5 } < tally.taken, "{times} times: {tally:?}");
            assert!(tally.refused * 20 > tally.taken, "peers are to hear that they are refused: {tally:?}");
            assert!(world.longest_us < 500_000, "waited {} us: SIP would have sent again", world.longest_us);
            world.run(5, &[CAPACITY / 2]);
            assert_eq!(world.overload.passes(ProviderSlot(0)), None);
            assert!(!world.overload.sheds());
            let [tally] = world.run(20, &[CAPACITY / 2])[..] else { panic!("one provider") };
            assert_eq!(tally.offered, tally.taken);
        }
    }

    /// Nobody brings more than all together should, and all together bring three times that; a window sees few calls of each.
    #[test]
    fn many_small_providers_are_an_overload_too() {
        for (count, thinned) in [(10, false), (30, false), (100, false), (10, true), (30, true), (100, true)] {
            let mut world = if thinned { World::thinned(14) } else { World::new(14) };
            world.shares = std::vec![Vec::new(); if thinned { count } else { 0 }];
            let rates = std::vec![3 * CAPACITY / count as u64; count];
            world.run(5, &rates);
            let tallies = world.run(60, &rates);
            let taken: u64 = tallies.iter().map(|tally| tally.taken).sum();
            let refused: u64 = tallies.iter().map(|tally| tally.refused).sum();
            let possible = 60 * CAPACITY - refused * world.refusal_us * CAPACITY / 1_000_000;
            assert!(
                taken * 10 >= possible * 9,
                "{count} providers, {thinned}: {taken} of {possible}, {refused} refused"
            );
            assert!(taken <= 62 * CAPACITY, "{count} providers, {thinned}: {taken} make a queue without end");
            assert!(tallies.iter().all(|tally| tally.taken * 2 > taken / count as u64), "{tallies:?}");
        }
    }

    #[test]
    fn thinned_who_stays_within_his_share_is_served_whatever_another_sends() {
        for (seed, modest) in [(15, CAPACITY / 10), (16, CAPACITY / 4), (17, CAPACITY * 2 / 5)] {
            let mut world = World::thinned(seed);
            let [greedy, modest] = world.run(60, &[10 * CAPACITY / 2, modest])[..] else { panic!("two providers") };
            assert!(modest.taken * 100 >= modest.offered * 99, "seed {seed}: {modest:?} beside {greedy:?}");
            assert!(
                (greedy.taken + modest.taken) * 10 >= 60 * CAPACITY * 9,
                "seed {seed}: {modest:?} beside {greedy:?}"
            );
        }
    }

    /// Who was thinned and comes back to his share is whole within seconds, though another goes on.
    #[test]
    fn thinned_who_wants_less_gets_it_all() {
        let mut world = World::thinned(18);
        world.run(20, &[5 * CAPACITY, 5 * CAPACITY]);
        for modest in [CAPACITY / 4, CAPACITY / 50] {
            world.run(6, &[5 * CAPACITY, modest]);
            let tallies = world.run(30, &[5 * CAPACITY, modest]);
            assert!(tallies[1].taken * 100 >= tallies[1].offered * 99, "{tallies:?}");
            world.run(20, &[5 * CAPACITY, 5 * CAPACITY]);
        }
    }

    #[test]
    fn who_stays_within_his_share_is_served_whatever_another_sends() {
        for (seed, modest) in [(3, CAPACITY / 10), (4, CAPACITY / 4), (5, CAPACITY * 2 / 5)] {
            let mut world = World::new(seed);
            // Ten times an even share of two.
            let [greedy, modest] = world.run(60, &[10 * CAPACITY / 2, modest])[..] else { panic!("two providers") };
            assert!(modest.taken * 100 >= modest.offered * 99, "seed {seed}: {modest:?} beside {greedy:?}");
            assert!(greedy.taken > 0);
        }
    }

    #[test]
    fn those_above_the_level_share_evenly() {
        let mut world = World::new(6);
        let rates: Vec<u64> = (1..=10).map(|n| n * CAPACITY / 10).collect();
        world.run(5, &rates);
        let tallies = world.run(60, &rates);
        let share = tallies.iter().map(|tally| tally.taken).sum::<u64>() / 10;
        let (least, most) =
            tallies.iter().fold((u64::MAX, 0), |(a, b), tally| (a.min(tally.taken), b.max(tally.taken)));
        // The one that offers little more than its share loses some of it to its own unevenness.
        assert!(least * 10 >= share * 8 && most * 10 <= share * 11, "{tallies:?}");
        assert!(share * 10 >= CAPACITY * 60 * 7 / 10, "shedding 80 % costs, but not this much: {tallies:?}");
    }

    #[test]
    fn the_overload_ends_with_the_load() {
        let mut world = World::new(7);
        world.run(5, &[4 * CAPACITY, CAPACITY / 10]);
        assert!(world.overload.sheds());
        world.run(20, &[CAPACITY / 2, CAPACITY / 10]);
        assert!(!world.overload.sheds());
        for tally in world.run(20, &[CAPACITY / 2, CAPACITY / 10]) {
            assert_eq!(tally.offered, tally.taken);
        }
    }
}
