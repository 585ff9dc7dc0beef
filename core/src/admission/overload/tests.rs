//! The overload control in models of a shard: one server, its queue, a kernel that thins, callers who send again.

use std::vec::Vec;

use super::{Overload, ProviderSlot, Queue};
use crate::flow::ListenerIndex;
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
    /// Where the calls come.
    queue: Queue,
    /// When the next datagram comes at a listener that hardly anybody uses; a shard that reads all its sockets in turn finds it at once.
    aside_us: u64,
    /// Longest wait of anything in the last run.
    longest_us: u64,
}

/// The cost of a call taken, in microseconds: a shard of a thousand calls a second. Three datagrams of fourteen come with the INVITE.
const INVITE_US: u64 = 216;
const IN_DIALOG_US: u64 = 392;
const SHED_US: u64 = 30;
/// Three datagrams of fourteen.
const REFUSAL_US: u64 = 3 * 1000 / 14;
const QUEUE: Queue = Queue::of(ListenerIndex(0));
const CAPACITY: u64 = 1_000_000 / (INVITE_US + 2 * IN_DIALOG_US);

impl World {
    fn new(seed: u64) -> World {
        let overload = Overload::new(false);
        let (queue, now_us) = (QUEUE, 1_000_000);
        World {
            overload,
            shares: Vec::new(),
            refusal_us: SHED_US,
            seed,
            now_us,
            queue,
            aside_us: u64::MAX,
            longest_us: 0,
        }
    }

    /// A kernel keeps away what it is told to. What is refused all the same costs what was measured.
    fn thinned(seed: u64) -> World {
        let (overload, shares) = (Overload::new(true), std::vec![Vec::new(); 16]);
        World { overload, shares, refusal_us: REFUSAL_US, ..World::new(seed) }
    }

    /// A datagram that came at `at` is handled, behind what is found at other sockets meanwhile.
    fn observe(&mut self, at: u64) {
        self.now_us = self.now_us.max(at);
        while self.aside_us <= self.now_us {
            let aside = Queue::of(ListenerIndex(1));
            self.overload.observe(Instant::from_micros(self.now_us), Instant::from_micros(self.now_us), aside);
            self.now_us += 1;
            self.aside_us = self.now_us + 3_000;
        }
        self.longest_us = self.longest_us.max(self.now_us - at);
        self.overload.observe(Instant::from_micros(self.now_us), Instant::from_micros(at), self.queue);
    }

    /// Whether the kernel drops a call of a provider that comes `at`. Its `fate` is the hash of its message.
    fn drops(&self, provider: usize, at: u64, fate: u16) -> bool {
        let Some(shares) = self.shares.get(provider) else { return false };
        let share = shares.iter().rev().find(|(since, _)| *since <= at).copied();
        share.is_some_and(|(since, pass)| at - since < 1_000_000 && fate > pass)
    }

    fn fate(&mut self) -> u16 {
        self.draw(1 << 16) as u16
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
            let fate = self.fate();
            if let Some(provider) = provider
                && self.drops(provider, at, fate)
            {
                tallies[provider].offered += 1;
                continue;
            }
            self.observe(at);
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

    /// One provider brings so many times the capacity: nine tenths of what the refusals leave are carried, and nothing waits for long.
    fn keeps_up(&mut self, seconds: u64, times: u64) {
        let [tally] = self.run(seconds, &[times * CAPACITY])[..] else { panic!("one provider") };
        let possible = seconds * CAPACITY - tally.refused * self.refusal_us * CAPACITY / 1_000_000;
        assert!(tally.taken * 10 >= possible * 9, "{} of {possible}", tally.taken);
        assert!(self.longest_us < 500_000, "waited {} us: SIP would have sent again", self.longest_us);
    }
}

/// What is on its way to the socket of [`flooded`].
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Datagram {
    /// A new call, how often its INVITE was sent before, and the hash of that.
    Invite(u32, u16),
    /// One of the [`STEPS`] messages that follow it, and how often it was sent before.
    Step(u32, u32),
}

/// Messages in the dialog of a call, one behind the other, that cost as much as the two of [`World::run`].
const STEPS: u32 = 4;
const STEP_US: u64 = 2 * IN_DIALOG_US / STEPS as u64;
/// What takes longer to come to its turn found the socket full.
const SOCKET_US: u64 = 250_000;
const T1_US: u64 = 500_000;

/// One provider's calls, so many times the capacity, through a socket that overflows: whoever gets no answer sends again. Every second so many
/// datagrams were lost there, so many calls were carried to their end, and so many refused.
fn flooded(seed: u64, times_tenth: u64, seconds: u64, aside_us: u64) -> Vec<[u64; 3]> {
    let mut world = World { aside_us, ..World::thinned(seed) };
    let (start, mut arrivals) = (world.now_us, std::collections::BinaryHeap::new());
    let mut at = start;
    while at < start + seconds * 1_000_000 {
        arrivals.push(std::cmp::Reverse((at, Datagram::Invite(0, world.fate()))));
        at += world.draw(2 * 10 * 1_000_000 / (times_tenth * CAPACITY)) + 1;
    }
    let mut told = std::vec![[0; 3]; seconds as usize];
    while let Some(std::cmp::Reverse((at, datagram))) = arrivals.pop() {
        let Some(second) = told.get_mut(((at - start) / 1_000_000) as usize) else { break };
        let mut later = |after_us: u64, datagram| arrivals.push(std::cmp::Reverse((at + after_us, datagram)));
        let lost = world.now_us.saturating_sub(at) > SOCKET_US;
        second[0] += u64::from(lost);
        match datagram {
            Datagram::Invite(sent, fate) => {
                if lost || world.drops(0, at, fate) {
                    // Six times in 32 seconds.
                    if sent < 6 {
                        later(T1_US << sent, Datagram::Invite(sent + 1, fate));
                    }
                    continue;
                }
            }
            Datagram::Step(step, sent) if lost => {
                later((T1_US << sent).min(8 * T1_US), Datagram::Step(step, sent + 1));
                continue;
            }
            Datagram::Step(..) => {}
        }
        world.observe(at);
        let step = match datagram {
            Datagram::Invite(..) => {
                let admitted = world.overload.admits(ProviderSlot(0), Instant::from_micros(at));
                if let Some(pass) = world.overload.passes(ProviderSlot(0)) {
                    world.shares[0].push((world.now_us, pass));
                }
                if !admitted {
                    world.now_us += REFUSAL_US;
                    second[2] += 1;
                    continue;
                }
                world.now_us += INVITE_US;
                0
            }
            Datagram::Step(step, _) => {
                world.now_us += STEP_US;
                step + 1
            }
        };
        if step < STEPS {
            let after = world.now_us + 50_000;
            arrivals.push(std::cmp::Reverse((after, Datagram::Step(step, 0))));
        } else {
            second[1] += 1;
        }
    }
    told
}

/// Within seconds nothing is lost any more, whoever sends again, nearly all of the capacity is carried to its end, and no more is refused than is to be.
#[test]
fn a_socket_that_overflowed_does_so_no_more() {
    for (seed, times_tenth) in [(21, 15), (22, 20), (23, 30), (24, 50)] {
        for aside_us in [0, u64::MAX] {
            let told = flooded(seed, times_tenth, 40, aside_us);
            let [lost, carried, refused] =
                told[5..].iter().fold([0; 3], |sums, second| [0, 1, 2].map(|of| sums[of] + second[of]));
            assert_eq!(lost, 0, "{times_tenth} tenths: {told:?}");
            assert!(carried * 10 >= 35 * CAPACITY * 9, "{times_tenth} tenths: {carried}, {told:?}");
            assert!(refused * 5 <= carried, "{times_tenth} tenths: {refused} refused, {told:?}");
        }
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
            overload.observe(now, at, QUEUE);
            assert!(overload.admits(ProviderSlot(0), now), "second {second}, call {call}");
        }
    }
}

#[test]
fn a_stall_is_not_load() {
    let mut overload = Overload::new(true);
    let at = |micros: u64| Instant::from_micros(1_000_000 + micros);
    overload.observe(at(6_000), at(0), QUEUE);
    // The shard lost its core for a second; what came in between was all received late, and then the queue is empty.
    for datagram in 0..5 {
        overload.observe(at(1_006_000 + datagram), at(7_000), QUEUE);
        assert!(overload.admits(ProviderSlot(0), at(1_006_000 + datagram)));
    }
    overload.observe(at(1_007_000), at(1_006_999), QUEUE);
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
        assert!(taken * 10 >= possible * 9, "{count} providers, {thinned}: {taken} of {possible}, {refused} refused");
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
        assert!((greedy.taken + modest.taken) * 10 >= 60 * CAPACITY * 9, "seed {seed}: {modest:?} beside {greedy:?}");
    }
}

/// A socket that stands beside one that is always empty: the overload is seen, kept in bounds, and over when it is over.
#[test]
fn an_empty_queue_says_nothing_of_a_full_one() {
    for (mut world, times) in [(World::new(31), 3), (World::thinned(32), 3), (World::thinned(33), 10)] {
        world.aside_us = 0;
        world.run(2, &[times * CAPACITY]);
        world.keeps_up(60, times);
        // It goes over to another queue, and then nothing comes in the first any more.
        world.queue = Queue::INBOX;
        world.run(3, &[times * CAPACITY]);
        world.keeps_up(30, times);
        world.run(10, &[CAPACITY / 2]);
        assert!(!world.overload.sheds());
        let [tally] = world.run(20, &[CAPACITY / 2])[..] else { panic!("one provider") };
        assert_eq!(tally.offered, tally.taken);
    }
}

/// Nothing comes any more where the shard was overloaded: it does not shed what comes elsewhere for ever.
#[test]
fn a_queue_in_which_nothing_comes_is_forgotten() {
    let mut world = World::new(34);
    world.run(5, &[4 * CAPACITY]);
    assert!(world.overload.sheds());
    world.queue = Queue::INBOX;
    world.run(5, &[CAPACITY / 2]);
    assert!(!world.overload.sheds());
}

/// One late datagram in a queue that nobody uses any more, beside a busy one that is empty, is no overload.
#[test]
fn a_late_datagram_alone_in_its_queue_is_not_load() {
    let mut overload = Overload::new(true);
    let at = |micros: u64| Instant::from_micros(1_000_000 + micros);
    overload.observe(at(50_000), at(0), Queue::INBOX);
    for datagram in 0..500 {
        let now = at(51_000 + datagram * 1_000);
        overload.observe(now, now, QUEUE);
        assert!(overload.admits(ProviderSlot(0), now));
    }
    overload.observe(at(600_000), at(550_000), Queue::INBOX);
    assert!(!overload.sheds());
}

/// A queue in which somebody is late now and then does not keep another one's flood from being seen, nor make the capacity look larger.
#[test]
fn a_queue_that_is_seldom_used_hides_no_flood() {
    let mut overload = Overload::new(false);
    let at = |micros: u64| Instant::from_micros(1_000_000 + micros);
    // A call takes a millisecond, and each came 50 ms before.
    let mut call = 0;
    while !overload.sheds() {
        let now = at(100_000 + call * 1_000);
        if call % 95 == 0 {
            overload.observe(now, at(50_000 + call * 1_000), Queue::INBOX);
        }
        overload.observe(now, at(50_000 + call * 1_000), QUEUE);
        overload.admits(ProviderSlot(0), now);
        call += 1;
        assert!(call < 150, "an overload of {call} ms is not seen");
    }
    // What is taken of twice the capacity in the next second.
    let taken = (0..2_000).filter(|call| {
        let now = at(250_000 + call * 500);
        overload.observe(now, at(200_000 + call * 500), QUEUE);
        overload.admits(ProviderSlot(0), at(200_000 + call * 500))
    });
    assert!(taken.count() < 1_400);
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
    let (least, most) = tallies.iter().fold((u64::MAX, 0), |(a, b), tally| (a.min(tally.taken), b.max(tally.taken)));
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
