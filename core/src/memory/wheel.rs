//! A hierarchical timer wheel over fixed places: one timer per place.
//!
//! ```text
//!   level 0   64 slots of 1 ms      due within 64 ms
//!   level 1   64 slots of 64 ms     within 4.1 s         T1, T2, their doublings
//!   level 2   64 slots of 4.1 s     within 4.4 min       64·T1, ring time
//!   level 3   64 slots of 4.4 min   within 4.7 h         sessions
//!   level 4   64 slots of 4.7 h     within 12.4 days     later ones wait in the last slot and are placed again
//!
//!   slot = a ring of nodes through its sentinel:   ┌─► sentinel ⇄ place 8 ⇄ place 3 ⇄ place 5 ◄─┐
//!                                                  └────────────────────────────────────────────┘
//! ```
//!
//! A node is `{ deadline, next, previous }`, 16 bytes, at the number of its place; behind the places come the sentinels, one
//! per slot and one for the **pending** ring. A bitmap per level says which slots hold anything.
//!
//! When the clock reaches the start of a slot of level 1 or above, the slot's ring is spliced into the pending ring as a whole,
//! and its timers fire where they are due just then ([`TimerWheel::coarse`] makes such times), or are placed again one level or more
//! below. This *cascade* is cut into portions: one [`TimerWheel::pop`] moves at most [`CASCADE_MAX`] timers, because at ten thousand
//! calls a second a slot of level 2 holds a hundred thousand lingering transactions, and moving them at once would hold up messages
//! for milliseconds.
//!
//! A timer that is moved to a later time stays where it is, and is placed again when its slot's time has come: nearly every timer of
//! a transaction is moved before it fires, most of them several times, and a move is so a store and no more.
//!
//! Invariants: a bit is set exactly where the ring is not empty; a timer sits in a slot that starts no later than it is due, at the
//! level whose span its distance fits (its distance when it was placed), so that it is placed at most four times, plus once per
//! 12.4 days and once where it was moved; no slot lies before the clock; nothing in a slot fires while the pending ring
//! holds anything, because that may hold the next due.
//!
//! Deadlines are rounded up to the next millisecond, so a timer is never early and at most 1 ms late. Nothing here visits a
//! tick at which nothing happens: a jump of hours costs what the timers in it cost.

use alloc::boxed::Box;

use crate::time::Instant;

/// Length of a tick in microseconds.
const TICK_US: u64 = 1_000;

/// Slots of a level are 2⁶: one word of bitmap.
const SLOT_BITS: u32 = 6;
const SLOTS: u32 = 1 << SLOT_BITS;
const LEVELS: u32 = 5;

/// The farthest that a timer is placed from the clock, in ticks: 12.4 days.
const REACH: u64 = (1 << (SLOT_BITS * LEVELS)) - 1;

/// Timers that one [`TimerWheel::pop`] moves at most: some 25 µs of work among a million places in cold memory.
pub const CASCADE_MAX: u32 = 128;

/// Sentinel of the pending ring, counted like those of the slots.
const PENDING: u32 = LEVELS * SLOTS;
const SENTINELS: u32 = PENDING + 1;

/// In `next` of a place whose timer does not run.
const IDLE: u32 = u32::MAX;

const _: () = assert!(REACH * TICK_US / 86_400_000_000 >= 12, "the reach is at least twelve days");

#[derive(Copy, Clone)]
struct Node {
    deadline: Instant,
    next: u32,
    previous: u32,
}

const _: () = assert!(size_of::<Node>() == 16);

/// The wheel. A place is a number below the capacity that the owner chooses (a slab index plus an offset per slab).
pub struct TimerWheel {
    /// The places, then the sentinels.
    nodes: Box<[Node]>,
    capacity: u32,
    /// Which slots of each level hold a timer.
    occupied: [u64; LEVELS as usize],
    /// The clock in ticks: everything before it has fired.
    clock: u64,
    live: u32,
    started: u64,
    /// Those that fired and those that were stopped.
    ended: u64,
}

impl TimerWheel {
    /// A wheel for `capacity` places, none running, at time `now`.
    ///
    /// # Panics
    /// When the places leave no numbers for the sentinels (`capacity` near 2³²).
    #[must_use]
    pub fn new(capacity: u32, now: Instant) -> TimerWheel {
        assert!(capacity < IDLE - SENTINELS, "places and sentinels are numbered in 32 bits");
        let nodes = (0..capacity + SENTINELS)
            .map(|at| {
                let next = if at < capacity { IDLE } else { at };
                Node { deadline: Instant::NEVER, next, previous: next }
            })
            .collect();
        TimerWheel {
            nodes,
            capacity,
            occupied: [0; LEVELS as usize],
            clock: now.as_micros() / TICK_US,
            live: 0,
            started: 0,
            ended: 0,
        }
    }

    /// Starts or moves the timer of `place`; it fires at the first [`TimerWheel::pop`] with `now >= at`, `at` rounded up to a
    /// whole millisecond. A time that has passed fires at the next pop.
    ///
    /// # Panics
    /// When `place` is not below the capacity.
    pub fn set(&mut self, place: u32, at: Instant) {
        assert!(place < self.capacity, "no such place");
        let node = &mut self.nodes[place as usize];
        if node.next == IDLE {
            self.live += 1;
            self.started += 1;
        } else if at >= node.deadline {
            // Its slot comes first, and then it is placed again.
            node.deadline = at;
            return;
        } else {
            self.unlink(place);
        }
        self.put(place, at);
    }

    /// `at` rounded up to the start of a slot of level 1, at most 64 ms later: a timer that is set for such a time, and nobody waits
    /// for to the millisecond, fires out of that slot and is placed once less.
    #[must_use]
    #[inline]
    pub const fn coarse(at: Instant) -> Instant {
        const SLOT_US: u64 = TICK_US << SLOT_BITS;
        Instant::from_micros(at.as_micros().saturating_add(SLOT_US - 1) / SLOT_US * SLOT_US)
    }

    /// Stops the timer of `place`, if it runs.
    ///
    /// # Panics
    /// When `place` is not below the capacity.
    pub fn clear(&mut self, place: u32) {
        assert!(place < self.capacity, "no such place");
        if self.nodes[place as usize].next != IDLE {
            self.unlink(place);
            self.live -= 1;
            self.ended += 1;
        }
    }

    /// One due timer, which no longer runs; `None` when none is due at `now`, or when a portion of a cascade was all that this
    /// call did. `next() <= now` tells the two apart: ask again.
    pub fn pop(&mut self, now: Instant) -> Option<u32> {
        let target = now.as_micros() / TICK_US;
        if target < self.clock {
            return None;
        }
        let mut portion = CASCADE_MAX;
        loop {
            while let Some((place, deadline)) = self.first(PENDING) {
                // What was due at the start of its slot is due now.
                let due = self.is_due(deadline);
                if !due && portion == 0 {
                    return None;
                }
                self.take_first(PENDING, place);
                if due {
                    return Some(self.fire(place));
                }
                portion -= 1;
                self.put(place, deadline);
            }
            let slot = self.slot_of(0);
            while let Some((place, deadline)) = self.first(slot) {
                let due = self.is_due(deadline);
                if !due && portion == 0 {
                    return None;
                }
                self.take_first(slot, place);
                if due {
                    return Some(self.fire(place));
                }
                // It was moved.
                portion -= 1;
                self.put(place, deadline);
            }
            match self.next_tick() {
                Some(tick) if tick <= target => self.advance(tick),
                _ => {
                    self.clock = target;
                    return None;
                }
            }
        }
    }

    /// A time not later than the next due timer, for parking; `None` when none runs. Whoever waits until then and pops makes
    /// progress: a timer fires or is placed again. After a pop that found none due it lies after that pop's `now`.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let tick = if self.first(PENDING).is_some() { self.clock } else { self.next_tick()? };
        Some(Instant::from_micros(tick.saturating_mul(TICK_US)))
    }

    /// When the timer of `place` is due, if it runs.
    ///
    /// # Panics
    /// When `place` is not below the capacity.
    #[must_use]
    pub fn deadline(&self, place: u32) -> Option<Instant> {
        assert!(place < self.capacity, "no such place");
        let node = self.nodes[place as usize];
        (node.next != IDLE).then_some(node.deadline)
    }

    /// Timers that run.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Timers ever started; one that is moved is not started anew.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Timers that fired or were stopped.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// Bytes that a wheel of `capacity` takes (for the bill).
    #[must_use]
    pub const fn bytes(capacity: u32) -> usize {
        (capacity as usize + SENTINELS as usize) * size_of::<Node>()
    }

    #[inline]
    fn is_due(&self, deadline: Instant) -> bool {
        deadline.as_micros() <= self.clock.saturating_mul(TICK_US)
    }

    /// A place that was taken out of its ring runs no more.
    #[inline]
    fn fire(&mut self, place: u32) -> u32 {
        self.nodes[place as usize].next = IDLE;
        self.live -= 1;
        self.ended += 1;
        place
    }

    /// The start of the first slot that holds a timer, at any level.
    fn next_tick(&self) -> Option<u64> {
        let levels: [u64; LEVELS as usize] = core::array::from_fn(|level| self.next_tick_at(level as u32));
        let next = levels.into_iter().fold(u64::MAX, u64::min);
        (next != u64::MAX).then_some(next)
    }

    /// The same at one level; `u64::MAX`, which is later than any tick of a clock in microseconds, when it holds none.
    #[inline(always)]
    fn next_tick_at(&self, level: u32) -> u64 {
        let occupied = self.occupied[level as usize];
        if occupied == 0 {
            return u64::MAX;
        }
        let unit = level * SLOT_BITS;
        // The slot of the clock itself is the first of level 0. Above, it was spliced out when the clock entered it: what it
        // holds now lies a whole turn ahead.
        let first = (self.clock >> unit).wrapping_add(u64::from(level > 0));
        let ahead = occupied.rotate_right((first % u64::from(SLOTS)) as u32).trailing_zeros();
        first.wrapping_add(ahead.into()) << unit
    }

    /// Moves the clock to `tick`, where slots may start but before which none does; they become pending.
    fn advance(&mut self, tick: u64) {
        self.clock = tick;
        for level in 1..LEVELS {
            if !tick.is_multiple_of(1 << (level * SLOT_BITS)) {
                break;
            }
            self.splice(self.slot_of(level));
        }
    }

    /// The slot of `level` in which the clock stands.
    fn slot_of(&self, level: u32) -> u32 {
        level * SLOTS + (self.clock >> (level * SLOT_BITS)) as u32 % SLOTS
    }

    /// Links an idle place into the slot that its distance from the clock asks for.
    #[inline]
    fn put(&mut self, place: u32, deadline: Instant) {
        // Up to the next whole tick.
        let due = deadline.as_micros().saturating_add(TICK_US - 1) / TICK_US;
        let distance = due.saturating_sub(self.clock).min(REACH);
        let level = (distance | 1).ilog2() / SLOT_BITS;
        let slot = (self.clock.wrapping_add(distance) >> (level * SLOT_BITS)) as u32 % SLOTS;
        self.occupied[level as usize] |= 1 << slot;
        // At the end of the ring: timers of one slot keep the order in which they were set.
        let next = self.sentinel(level * SLOTS + slot);
        let previous = core::mem::replace(&mut self.nodes[next as usize].previous, place);
        self.nodes[previous as usize].next = place;
        self.nodes[place as usize] = Node { deadline, next, previous };
    }

    /// The node of a slot.
    #[inline]
    fn sentinel(&self, slot: u32) -> u32 {
        // `new` made sure that there are numbers for all.
        self.capacity.wrapping_add(slot)
    }

    /// Takes a place out of its ring and leaves it idle.
    #[inline]
    fn unlink(&mut self, place: u32) {
        let node = &mut self.nodes[place as usize];
        let (next, previous) = (core::mem::replace(&mut node.next, IDLE), node.previous);
        self.join(previous, next);
        // Both neighbours are one and the same only where a sentinel is left alone.
        if next == previous && next >= self.capacity {
            self.vacate(next - self.capacity);
        }
    }

    /// Takes the first place of a slot out of its ring; what it is linked to stays as it was.
    #[inline]
    fn take_first(&mut self, slot: u32, place: u32) {
        let sentinel = self.sentinel(slot);
        let next = self.nodes[place as usize].next;
        self.join(sentinel, next);
        if next == sentinel {
            self.vacate(slot);
        }
    }

    /// Moves the whole ring of a slot to the end of the pending ring.
    fn splice(&mut self, slot: u32) {
        let sentinel = self.capacity + slot;
        let Node { next: first, previous: last, .. } = self.nodes[sentinel as usize];
        if first == sentinel {
            return;
        }
        let pending = self.capacity + PENDING;
        let before = self.nodes[pending as usize].previous;
        self.join(before, first);
        self.join(last, pending);
        self.join(sentinel, sentinel);
        self.vacate(slot);
    }

    /// Notes that a ring is empty. The pending ring has no bit.
    fn vacate(&mut self, slot: u32) {
        if let Some(occupied) = self.occupied.get_mut((slot / SLOTS) as usize) {
            *occupied &= !(1 << (slot % SLOTS));
        }
    }

    /// The first place in a ring, and its deadline.
    #[inline]
    fn first(&self, slot: u32) -> Option<(u32, Instant)> {
        let next = self.nodes[self.sentinel(slot) as usize].next;
        (next < self.capacity).then(|| (next, self.nodes[next as usize].deadline))
    }

    #[inline]
    fn join(&mut self, left: u32, right: u32) {
        self.nodes[left as usize].next = right;
        self.nodes[right as usize].previous = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    const MINUTE: u64 = 60_000_000;
    const DAY: u64 = 24 * 60 * MINUTE;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    /// Everything due at `now`, as a caller that obeys the contract gets it.
    fn drain(wheel: &mut TimerWheel, now: Instant) -> Vec<u32> {
        let mut fired = Vec::new();
        loop {
            match wheel.pop(now) {
                Some(place) => fired.push(place),
                None if wheel.next().is_some_and(|next| next <= now) => {}
                None => return fired,
            }
        }
    }

    /// Bits, rings and the live count say the same.
    fn audit(wheel: &TimerWheel) {
        let mut linked = 0;
        for slot in 0..SENTINELS {
            let sentinel = wheel.capacity + slot;
            let mut at = sentinel;
            loop {
                let next = wheel.nodes[at as usize].next;
                assert_eq!(wheel.nodes[next as usize].previous, at);
                at = next;
                if at == sentinel {
                    break;
                }
                linked += 1;
            }
            if slot < PENDING {
                let bit = wheel.occupied[(slot / SLOTS) as usize] >> (slot % SLOTS) & 1;
                assert_eq!(bit == 1, wheel.first(slot).is_some(), "slot {slot}");
            }
        }
        assert_eq!(linked, wheel.live());
        assert_eq!(
            wheel.nodes.iter().take(wheel.capacity as usize).filter(|node| node.next != IDLE).count(),
            linked as usize
        );
    }

    #[test]
    fn a_place_takes_sixteen_bytes() {
        assert_eq!(TimerWheel::bytes(1001) - TimerWheel::bytes(1000), 16);
    }

    #[test]
    fn never_early_and_at_most_a_millisecond_late() {
        for deadline in
            [1, 999, 1_000, 1_001, 63_999, 64_000, 64_001, 4_096_000, 4_096_001, 262_144_000, DAY, 30 * DAY + 1]
        {
            let mut wheel = TimerWheel::new(1, at(0));
            wheel.set(0, at(deadline));
            assert!(drain(&mut wheel, at(deadline - 1)).is_empty());
            assert_eq!(wheel.deadline(0), Some(at(deadline)));
            assert_eq!(drain(&mut wheel, at(deadline.next_multiple_of(1_000))), [0], "{deadline}");
            assert_eq!((wheel.deadline(0), wheel.next(), wheel.live()), (None, None, 0));
        }
    }

    #[test]
    fn a_time_that_has_passed_fires_at_once_and_never_stays() {
        let mut wheel = TimerWheel::new(2, at(DAY));
        wheel.set(0, at(5));
        wheel.set(1, Instant::NEVER);
        assert_eq!(drain(&mut wheel, at(DAY)), [0]);
        assert!(drain(&mut wheel, at(400 * DAY)).is_empty());
        assert_eq!(wheel.live(), 1);
        wheel.clear(1);
        wheel.clear(1);
        assert_eq!((wheel.live(), wheel.next()), (0, None));
        // An earlier now than the clock's is not obeyed, and breaks nothing.
        wheel.set(0, at(DAY));
        assert_eq!(wheel.pop(at(DAY)), None);
        assert_eq!(wheel.pop(at(400 * DAY)), Some(0));
    }

    #[test]
    fn moving_a_timer_forgets_its_old_time() {
        let mut wheel = TimerWheel::new(1, at(0));
        wheel.set(0, at(10_000));
        wheel.set(0, at(DAY));
        assert!(drain(&mut wheel, at(DAY - 1)).is_empty());
        wheel.set(0, at(DAY + 2_000));
        assert!(drain(&mut wheel, at(DAY + 1_000)).is_empty());
        assert_eq!(drain(&mut wheel, at(DAY + 2_000)), [0]);
    }

    #[test]
    fn a_timer_moved_to_later_waits_for_the_slot_that_it_is_in() {
        let mut wheel = TimerWheel::new(2, at(0));
        wheel.set(0, at(10_000));
        wheel.set(1, at(10_000));
        (1..=5).for_each(|second| wheel.set(0, at(second * 1_000_000)));
        assert_eq!((wheel.deadline(0), wheel.next(), wheel.live()), (Some(at(5_000_000)), Some(at(10_000)), 2));
        assert_eq!(drain(&mut wheel, at(10_000)), [1]);
        assert!(wheel.next().is_some_and(|next| next > at(4_000_000)), "placed again");
        // Earlier again, and it is placed at once.
        wheel.set(0, at(20_000));
        assert_eq!(drain(&mut wheel, at(20_000)), [0]);
        audit(&wheel);
    }

    #[test]
    fn a_crowd_that_was_moved_is_placed_again_in_portions() {
        const CROWD: u32 = 3 * CASCADE_MAX;
        let mut wheel = TimerWheel::new(CROWD, at(0));
        (0..CROWD).for_each(|place| wheel.set(place, at(10_000)));
        (0..CROWD).for_each(|place| wheel.set(place, at(DAY)));
        for left in [2, 1] {
            assert_eq!((wheel.pop(at(10_000)), wheel.next()), (None, Some(at(10_000))));
            let waiting = (0..CROWD).filter(|place| wheel.nodes[*place as usize].next < CROWD).count() as u32;
            assert!(waiting >= left * CASCADE_MAX - 1);
            audit(&wheel);
        }
        assert_eq!(wheel.pop(at(10_000)), None);
        assert!(drain(&mut wheel, at(DAY - 1)).is_empty());
        assert_eq!(drain(&mut wheel, at(DAY)).len() as u32, CROWD);
    }

    #[test]
    fn what_is_due_at_the_start_of_its_slot_fires_out_of_it() {
        assert_eq!(TimerWheel::coarse(at(64_000)), at(64_000));
        assert_eq!(TimerWheel::coarse(at(64_001)), at(128_000));
        let coarse = TimerWheel::coarse(at(32_000_500));
        let mut wheel = TimerWheel::new(2, at(0));
        wheel.set(0, coarse);
        wheel.set(1, at(coarse.as_micros() + 1));
        let mut wakes = 0;
        while let Some(next) = wheel.next().filter(|next| *next < coarse) {
            assert!(drain(&mut wheel, next).is_empty());
            wakes += 1;
        }
        assert_eq!((wakes, wheel.next()), (1, Some(coarse)), "from level 2 to level 1 and no further");
        assert_eq!(drain(&mut wheel, coarse), [0]);
        assert_eq!(drain(&mut wheel, at(coarse.as_micros() + 1_000)), [1]);
        audit(&wheel);
    }

    #[test]
    fn ticks_fire_in_order_and_one_tick_in_the_order_of_setting() {
        let mut wheel = TimerWheel::new(4, at(0));
        wheel.set(2, at(9_000));
        wheel.set(0, at(8_500));
        wheel.set(3, at(2_000));
        wheel.set(1, at(70_000));
        assert_eq!(drain(&mut wheel, at(DAY)), [3, 2, 0, 1]);
    }

    #[test]
    fn waiting_for_next_wakes_a_timer_at_most_once_per_level() {
        let mut wheel = TimerWheel::new(1, at(123_456_789));
        wheel.set(0, at(123_456_789).after(Duration::from_secs(11 * 24 * 3600)));
        let mut wakes = 0;
        let mut before = Instant::ZERO;
        while let Some(next) = wheel.next() {
            assert!(next > before, "each wake is later than the one before");
            before = next;
            wakes += 1;
            drain(&mut wheel, next);
        }
        assert!(wakes <= LEVELS, "{wakes} wakes");
    }

    #[test]
    fn a_crowded_slot_is_moved_in_portions_and_may_be_cleared_meanwhile() {
        const CROWD: u32 = 10 * CASCADE_MAX;
        let deadline = at(32_000_500);
        let mut wheel = TimerWheel::new(CROWD + 1, at(0));
        (0..CROWD).for_each(|place| wheel.set(place, deadline));
        let start = wheel.next().unwrap();
        for _ in 0..3 {
            assert_eq!(wheel.pop(start), None);
            assert_eq!(wheel.next(), Some(start));
            audit(&wheel);
        }
        // One that is pending still, one moved already, and a new one that is due before them all.
        wheel.clear(CROWD - 1);
        wheel.clear(0);
        wheel.set(CROWD, start);
        let portions = (1..20).find(|_| wheel.pop(start) == Some(CROWD));
        assert_eq!(portions, Some(10 - 3));
        audit(&wheel);
        assert_eq!(drain(&mut wheel, at(33_000_000)), (1..CROWD - 1).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "no such place")]
    fn a_sentinel_is_no_place() {
        TimerWheel::new(3, at(0)).set(3, at(0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u64),
        Clear(u32),
        Advance(u64),
        Wait,
    }

    /// Times of every magnitude up to 40 days, so that every level and the far end are met.
    fn span() -> impl Strategy<Value = u64> {
        prop_oneof![0..3_000u64, 0..100_000u64, 0..5_000_000u64, 0..10 * MINUTE, 0..DAY, 0..40 * DAY]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..24u32, span()).prop_map(|(place, after)| Step::Set(place, after)),
            2 => (0..24u32).prop_map(Step::Clear),
            3 => span().prop_map(Step::Advance),
            3 => Just(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(origin in span(), steps in prop::collection::vec(step(), 1..200)) {
            let mut now = at(origin);
            let mut wheel = TimerWheel::new(24, now);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Set(place, after) => {
                        // Half a millisecond back, so that some times have passed.
                        let deadline = (now.as_micros() + after).saturating_sub(500);
                        wheel.set(place, at(deadline));
                        model.insert(place, deadline);
                    }
                    Step::Clear(place) => {
                        wheel.clear(place);
                        model.remove(&place);
                    }
                    Step::Advance(by) => now = at(now.as_micros() + by),
                    Step::Wait => now = now.max(wheel.next().unwrap_or(now)),
                }
                // Never later than the first that is due.
                let first = model.values().map(|deadline| deadline.next_multiple_of(1_000)).min();
                if let Some(first) = first {
                    let next = wheel.next().map(Instant::as_micros);
                    prop_assert!(next.is_some_and(|next| next <= first.max(now.as_micros())), "{next:?} is after {first}");
                }
                let fired = drain(&mut wheel, now);
                let ticks: Vec<u64> = fired.iter().map(|place| model[place].div_ceil(1_000)).collect();
                prop_assert!(ticks.is_sorted(), "fired in the order {ticks:?}");
                for place in fired {
                    let deadline = model.remove(&place);
                    prop_assert!(deadline.is_some_and(|deadline| deadline <= now.as_micros()), "{place} at {deadline:?}");
                }
                let tick = now.as_micros() / 1_000 * 1_000;
                prop_assert!(model.values().all(|deadline| *deadline > tick), "one is overdue");
                for place in 0..24 {
                    prop_assert_eq!(wheel.deadline(place).map(Instant::as_micros), model.get(&place).copied());
                }
                prop_assert!(wheel.next().is_none_or(|next| next > now));
                prop_assert_eq!(wheel.live() as usize, model.len());
                audit(&wheel);
            }
        }
    }
}
