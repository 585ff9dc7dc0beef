//! How much is shed, and whose: aim and level, set anew after each window of arrivals in the watched queue.

use core::time::Duration;

use super::{MICROS_PER_SECOND, NANOS_PER_MICRO, QUEUES, Queue, TARGET_US, WINDOW, WINDOW_US};
use crate::time::Instant;

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
/// So many datagrams of a window say something of a queue that is not watched.
const SEVERAL: u8 = 4;

/// When nothing came in the watched queue for so long, others end its window.
const SILENCE: Duration = Duration::from_secs(1);

/// What a datagram means for the window of control in which it was handled.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Window {
    Runs,
    /// Another one begins with it.
    Begins,
    /// And there was no overload any more.
    WasTheLast,
}

/// What came in a queue in a window.
#[derive(Copy, Clone, Debug)]
struct Came {
    /// The least delay, microseconds; the largest number while nothing came, or for an hour and more.
    least_us: u32,
    /// So many datagrams, 255 at most.
    count: u8,
}

const NOTHING_CAME: [Came; QUEUES] = [Came { least_us: u32::MAX, count: 0 }; QUEUES];

/// Rates are new calls a second; the level is in thousandths of that.
#[derive(Copy, Clone, Debug)]
pub(super) struct Shedding {
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
    /// When the last one ended, by the same.
    ended: Instant,
    /// The watched queue.
    queue: u8,
    /// When a datagram of it was handled last.
    came: Instant,
    /// What came in each queue in this window.
    queues: [Came; QUEUES],
    /// The largest least delay of the window before.
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

impl Shedding {
    /// `capacity` in new calls a second of `providers`; the queue stood for so long.
    pub(super) fn start(
        capacity: u64,
        providers: u64,
        (delay_us, queue): (u64, Queue),
        now: Instant,
        received_at: Instant,
    ) -> Shedding {
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
            ended: now,
            queue: queue.0,
            came: now,
            queues: NOTHING_CAME,
            before_us: delay_us,
            easy: 0,
            shed: 0,
            thinned: false,
            quiet: 0,
        }
    }

    /// A datagram of any kind is handled; `taken` new calls were since the window began.
    #[inline]
    pub(super) fn observe(
        &mut self,
        taken: u64,
        delay_us: u64,
        queue: Queue,
        now: Instant,
        received_at: Instant,
    ) -> Window {
        let watched = queue.0 == self.queue;
        let silent = if watched { Duration::ZERO } else { now.since(self.came) };
        let moved = silent >= WINDOW && delay_us > TARGET_US;
        if moved && now.since(self.ended) < SILENCE {
            if self.shed > 0 || self.thinned {
                self.quiet = 0;
            }
            self.before_us = delay_us;
            self.watch(queue, now, received_at);
            Window::Begins
        } else if moved || silent >= SILENCE || watched && received_at >= self.ends {
            if self.end_window(taken, now, received_at) { Window::WasTheLast } else { Window::Begins }
        } else {
            self.note(queue, now, delay_us);
            Window::Runs
        }
    }

    /// GCRA as in `rate`, at the share for who is not ahead of it, at the level for who is. `due`: when the provider's next call is due,
    /// nanoseconds.
    #[inline]
    pub(super) fn admits(&mut self, due: &mut u64, received_at: Instant) -> bool {
        let at = received_at.as_micros().saturating_mul(NANOS_PER_MICRO);
        let (interval, at_share, tolerance) = self.terms();
        // Where it was reckoned at a lower level: a provider does not wait out what was too strict.
        *due = (*due).min(at.saturating_add(tolerance + interval));
        let admitted = *due <= at.saturating_add(tolerance);
        if admitted {
            let within = *due <= at.saturating_add(tolerance / 2);
            *due = at.max(*due) + if within { at_share } else { interval };
        } else {
            self.shed += 1;
        }
        admitted
    }

    /// What each provider may bring, thousandths of a call a second. Not what it may at the mean: that is too high for seconds after a step.
    pub(super) fn level(&self) -> u64 {
        self.level
    }

    /// Of the provider whose call was decided about, not all arrive.
    pub(super) fn is_thinned(&mut self) {
        self.thinned = true;
    }

    /// Sets aim and level for the next window; `true` when the overload is over.
    fn end_window(&mut self, taken: u64, now: Instant, received_at: Instant) -> bool {
        let (queue, least_us) = self.worst();
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
        let beyond_us = received_at.as_micros().saturating_sub(self.ends.as_micros());
        let let_in = (taken * MICROS_PER_SECOND / (WINDOW_US + beyond_us)).max(1);
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
        // With nobody above the mean there is nobody else to pay for the queue.
        let all_pay = all_came && !all_fitted;
        let mean = self.mean - self.mean / MEAN_WINDOWS + self.level / MEAN_WINDOWS;
        self.mean = mean.min(if all_pay { 1 } else { MEAN_MAX } * self.level);
        // Windows without a datagram are quiet, too.
        let windows = 1 + beyond_us / WINDOW_US;
        self.quiet = if all_came && !standing { self.quiet + windows } else { 0 };
        self.before_us = least_us;
        self.ended = now;
        // Where another queue is watched from now on, by what has arrived there.
        let there = Instant::from_micros(now.as_micros().saturating_sub(least_us));
        self.watch(Queue(queue), now, if queue == self.queue { received_at } else { there });
        self.quiet >= QUIET_WINDOWS
    }

    /// A datagram of this window.
    fn note(&mut self, queue: Queue, now: Instant, delay_us: u64) {
        if queue.0 == self.queue {
            self.came = now;
        }
        if let Some(came) = self.queues.get_mut(usize::from(queue.0)) {
            came.least_us = came.least_us.min(delay_us.min(u32::MAX.into()) as u32);
            came.count = came.count.saturating_add(1);
        }
    }

    /// A window begins; it ends by what arrives in this queue.
    fn watch(&mut self, queue: Queue, now: Instant, received_at: Instant) {
        self.queue = queue.0;
        (self.began, self.came) = (now, now);
        self.ends = received_at.after(WINDOW);
        self.queues = NOTHING_CAME;
        self.shed = 0;
        self.thinned = false;
    }

    /// The queue whose least delay in this window was the largest, and that. One without a datagram was empty, and a few that were late are no
    /// queue that stands; the watched one stays where none is worse.
    fn worst(&self) -> (u8, u64) {
        let least_us = |came: &Came| if came.count == 0 { 0 } else { u64::from(came.least_us) };
        let watched = (self.queue, self.queues.get(usize::from(self.queue)).map_or(0, least_us));
        (0..)
            .zip(&self.queues)
            .filter(|(_, came)| came.count >= SEVERAL)
            .map(|(queue, came)| (queue, least_us(came)))
            .fold(watched, |worst, other| if other.1 > worst.1 { other } else { worst })
    }

    /// Nanoseconds from call to call at the level and at the share, which is what a provider may bring whatever the level is at the moment; and how
    /// far ahead of that calls may come.
    fn terms(&self) -> (u64, u64, u64) {
        let at_share = interval_at(self.mean.max(self.level));
        (interval_at(self.level), at_share, (BURST_US * NANOS_PER_MICRO).max(BURST_CALLS * at_share))
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
