//! The caps of a node under real threads: never one too many, never a refusal while a place is free.
//!
//! Both are checked on a log, not on a second counter that would have the same races. Each thread notes what it did between two
//! numbers of one global sequence; a call that took and gave back is
//!
//! ```text
//!   asked ──── took ··· held for certain ··· gives ──── gave
//!     └───────────────── may have held ─────────────────┘
//! ```
//!
//! At no point may more than the cap be held for certain. And a refusal between two numbers is right only if at some point between
//! them as many as the cap may have held: calls that were themselves refused do not count, which is what a scheme of adding first
//! and taking back later gets wrong.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use corelane_core::admission::{
    Caps, CapsSize, Day, DayCount, GatewayHold, Limit, Limits, Peer, ProviderHold, ProviderLimits, Rate, Refusal,
};
use corelane_core::routing::{AddressCap, Candidate, CarrierSlot, GatewaySlot, ProviderSlot};
use corelane_core::{Instant, WallTime};

const SIZE: CapsSize = CapsSize { providers: 8, carriers: 8, gateways: 8, addresses: 8 };
const PROVIDER: ProviderSlot = ProviderSlot(3);
const NOW: Instant = Instant::from_micros(1_000_000);
const NO_TIME: WallTime = WallTime(0);

fn calls(max: u32) -> Limits {
    Limits { max_calls: Some(max), ..Limits::NONE }
}

fn rate(max_cps: u32, burst: u32) -> Limits {
    Limits { rate: Some(Rate::new(max_cps, Some(burst))), ..Limits::NONE }
}

fn of_provider(now: Limits) -> ProviderLimits {
    ProviderLimits { now, ..ProviderLimits::default() }
}

fn no_day() -> Day {
    panic!("no daily limit, no day")
}

fn candidate(carrier: u16, gateway: u16) -> Candidate {
    Candidate { carrier: CarrierSlot(carrier), gateway: GatewaySlot(gateway) }
}

fn refused<T>(peer: Peer, limit: Limit) -> Result<T, Refusal> {
    Err(Refusal { peer, limit })
}

// ---- one thread: what is taken, and what comes back -------------------------------------------------------------------

#[test]
fn a_peer_without_limits_touches_nothing() {
    let caps = Caps::default();
    let hold = caps.admit_provider(PROVIDER, &ProviderLimits::default(), None, NOW, no_day);
    assert_eq!(hold, Ok(ProviderHold::NONE), "a table without rows is not asked");
    assert_eq!(caps.take_gateway(candidate(1, 2), &Limits::NONE, &Limits::NONE, NOW), Ok(GatewayHold::NONE));
    caps.release_provider(ProviderHold::NONE, Duration::from_secs(9), NO_TIME);
    caps.release_gateway(GatewayHold::NONE);
}

#[test]
fn a_peer_beyond_the_table_is_refused_and_not_let_through() {
    let caps = Caps::new(SIZE);
    let hold = caps.admit_provider(ProviderSlot(8), &of_provider(calls(1)), None, NOW, no_day);
    assert_eq!(hold, refused(Peer::Provider, Limit::NoRow));
    assert_eq!(caps.take_gateway(candidate(0, 8), &calls(1), &calls(1), NOW), refused(Peer::Gateway, Limit::NoRow));
    assert!(!caps.has_room(candidate(8, 0), &calls(1), &calls(1), NOW));
    assert_eq!(caps.held(), [0; 3]);
}

#[test]
fn what_was_taken_comes_back_whatever_became_of_the_limit() {
    let caps = Caps::new(SIZE);
    let admit = |limits| caps.admit_provider(PROVIDER, &of_provider(limits), None, NOW, no_day);
    let uncapped = admit(Limits::NONE).expect("no limit");
    let first = admit(calls(2)).expect("one of two");
    let second = admit(calls(2)).expect("two of two: what came before the limit holds nothing");
    assert_eq!(admit(calls(2)), refused(Peer::Provider, Limit::Calls));
    // The limit is lowered: nobody new until the count is below it.
    assert_eq!(admit(calls(1)), refused(Peer::Provider, Limit::Calls));
    caps.release_provider(first, Duration::ZERO, NO_TIME);
    assert_eq!(admit(calls(1)), refused(Peer::Provider, Limit::Calls));
    caps.release_provider(uncapped, Duration::ZERO, NO_TIME);
    assert_eq!(caps.held(), [1, 0, 0]);
    // It is removed, and the call that held one still gives it back.
    caps.release_provider(second, Duration::ZERO, NO_TIME);
    assert_eq!(caps.held(), [0; 3]);
    let last = admit(calls(1)).expect("all are back");
    caps.release_provider(last, Duration::ZERO, NO_TIME);
}

#[test]
fn a_refusal_takes_nothing_from_anybody() {
    let caps = Caps::new(SIZE);
    // The gateway's rate refuses: carrier and gateway keep their places, the carrier its rate.
    let carrier = Limits { max_calls: Some(2), ..rate(1, 1) };
    let gateway = Limits { max_calls: Some(1), ..rate(1, 0) };
    let first = caps.take_gateway(candidate(1, 1), &carrier, &gateway, NOW).expect("free");
    caps.release_gateway(first);
    for _ in 0..10 {
        assert_eq!(caps.take_gateway(candidate(1, 1), &carrier, &gateway, NOW), refused(Peer::Gateway, Limit::Rate));
        assert!(!caps.has_room(candidate(1, 1), &carrier, &gateway, NOW));
    }
    assert_eq!(caps.held(), [0; 3]);
    let second =
        caps.take_gateway(candidate(1, 2), &carrier, &gateway, NOW).expect("the carrier's second of its burst");
    assert_eq!(caps.take_gateway(candidate(1, 3), &carrier, &gateway, NOW), refused(Peer::Carrier, Limit::Rate));
    caps.release_gateway(second);
    assert_eq!(caps.held(), [0; 3]);
}

#[test]
fn an_address_and_its_provider_are_taken_together() {
    let caps = Caps::new(SIZE);
    let cap = |slot| Some(AddressCap { slot, max_cps: 1 });
    let admit = |limits, cap| caps.admit_provider(PROVIDER, &of_provider(limits), cap, NOW, no_day);
    // The provider refuses: the address keeps its rate.
    let held = admit(calls(1), None).expect("the only place");
    for _ in 0..10 {
        assert_eq!(admit(calls(1), cap(0)), refused(Peer::Provider, Limit::Calls));
    }
    caps.release_provider(held, Duration::ZERO, NO_TIME);
    for _ in 0..2 {
        let held = admit(calls(1), cap(0)).expect("one, and one of the burst");
        caps.release_provider(held, Duration::ZERO, NO_TIME);
    }
    // The address refuses: the provider keeps its place.
    assert_eq!(admit(calls(1), cap(0)), refused(Peer::Address, Limit::Rate));
    assert_eq!(caps.held(), [0; 3]);
    assert_eq!(admit(Limits::NONE, cap(0)), refused(Peer::Address, Limit::Rate));
    assert_eq!(admit(Limits::NONE, cap(1)), Ok(ProviderHold::NONE), "another row is another rate");
    let none = Some(AddressCap { slot: 2, max_cps: 0 });
    assert_eq!(admit(Limits::NONE, none), refused(Peer::Address, Limit::Rate));
    assert_eq!(admit(Limits::NONE, cap(8)), refused(Peer::Address, Limit::NoRow));
}

#[test]
fn a_limit_of_nothing_lets_nothing_through() {
    let caps = Caps::new(SIZE);
    assert_eq!(
        caps.admit_provider(PROVIDER, &of_provider(calls(0)), None, NOW, no_day),
        refused(Peer::Provider, Limit::Calls)
    );
    assert_eq!(
        caps.admit_provider(PROVIDER, &of_provider(rate(0, 9)), None, NOW, no_day),
        refused(Peer::Provider, Limit::Rate)
    );
}

#[test]
fn days_are_counted_kept_and_forgotten() {
    const HOUR_US: u64 = 3_600_000_000;
    let midnight = WallTime(500_000 * HOUR_US);
    let evening = WallTime(midnight.0 - HOUR_US);
    let caps = Caps::new(SIZE);
    let limits = ProviderLimits { max_calls_day: Some(3), max_minutes_day: Some(2), ..ProviderLimits::default() };
    let admit = |caps: &Caps, midnight| caps.admit_provider(PROVIDER, &limits, None, NOW, || Day::ending(midnight));
    assert_eq!(caps.day(PROVIDER), None);

    let first = admit(&caps, midnight).expect("the first of the day");
    caps.release_provider(first, Duration::from_millis(59_001), evening);
    assert_eq!(
        caps.day(PROVIDER),
        Some(DayCount { ends_q: 500_000 * 4, calls: 1, seconds: 60 }),
        "begun seconds count"
    );
    let second = admit(&caps, midnight).expect("one minute of two is used");
    caps.release_provider(second, Duration::from_secs(60), evening);
    assert_eq!(admit(&caps, midnight), refused(Peer::Provider, Limit::MinutesOfDay));

    // A restart: what was kept is set again.
    let kept = caps.day(PROVIDER).expect("a day");
    let caps = Caps::new(SIZE);
    caps.set_day(PROVIDER, kept);
    assert_eq!(admit(&caps, midnight), refused(Peer::Provider, Limit::MinutesOfDay));

    // Midnight: a call that goes over it counts where it ends.
    let next = WallTime(midnight.0 + 24 * HOUR_US);
    let third = admit(&caps, next).expect("a new day");
    caps.release_provider(third, Duration::from_secs(30), WallTime(midnight.0 + 1));
    assert_eq!(caps.day(PROVIDER), Some(DayCount { ends_q: 500_024 * 4, calls: 1, seconds: 30 }));
    for _ in 0..2 {
        let hold = admit(&caps, next).expect("two and three of three");
        caps.release_provider(hold, Duration::ZERO, midnight);
    }
    assert_eq!(admit(&caps, next), refused(Peer::Provider, Limit::CallsOfDay));

    // The slot went to another provider.
    caps.set_day(PROVIDER, DayCount::default());
    assert!(admit(&caps, next).is_ok());
}

// ---- threads ----------------------------------------------------------------------------------------------------------

/// What one attempt did, in numbers of the sequence.
#[derive(Copy, Clone, Debug)]
enum Event {
    Held { asked: u64, took: u64, gives: u64, gave: u64 },
    Refused { asked: u64, told: u64 },
}

/// Runs `attempt` on some threads at once and gives their log back, with how many numbers were given out. `attempt` says what it
/// holds, and `release` gives it back.
fn hammer<H: Copy>(
    threads: usize,
    rounds: usize,
    attempt: impl Fn(usize, usize) -> Option<H> + Sync,
    release: impl Fn(H) + Sync,
) -> (Vec<Vec<Event>>, u64) {
    let sequence = AtomicU64::new(0);
    let number = || sequence.fetch_add(1, Ordering::SeqCst);
    let start = Barrier::new(threads);
    let logs = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (number, attempt, release, start) = (&number, &attempt, &release, &start);
                scope.spawn(move || {
                    let mut log = Vec::with_capacity(rounds);
                    start.wait();
                    for round in 0..rounds {
                        let asked = number();
                        let hold = attempt(thread, round);
                        let took = number();
                        let Some(hold) = hold else {
                            log.push(Event::Refused { asked, told: took });
                            continue;
                        };
                        // Now and then somebody else gets the core while a place is held.
                        if (round + thread) % 7 == 0 {
                            thread::yield_now();
                        }
                        let gives = number();
                        release(hold);
                        log.push(Event::Held { asked, took, gives, gave: number() });
                    }
                    log
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    (logs, sequence.into_inner())
}

/// How many of some intervals cover each number.
fn coverage(intervals: impl Iterator<Item = (u64, u64)>, numbers: u64) -> Vec<i64> {
    let mut change = vec![0i64; numbers as usize + 1];
    for (from, to) in intervals {
        change[from as usize] += 1;
        change[to as usize + 1] -= 1;
    }
    change
        .iter()
        .scan(0, |sum, change| {
            *sum += change;
            Some(*sum)
        })
        .collect()
}

/// Holds a log against a cap; says how many were refused.
fn audit(log: &[Event], numbers: u64, cap: u32) -> usize {
    let held = |event: &Event| match *event {
        Event::Held { took, gives, .. } => Some((took, gives)),
        Event::Refused { .. } => None,
    };
    let possibly = |event: &Event| match *event {
        Event::Held { asked, gave, .. } => Some((asked, gave)),
        Event::Refused { .. } => None,
    };
    let most = coverage(log.iter().filter_map(held), numbers).into_iter().max();
    assert!(most.is_some_and(|most| most <= i64::from(cap)), "{most:?} at once, the cap is {cap}");
    let possible = coverage(log.iter().filter_map(possibly), numbers);
    let mut refused = 0;
    for event in log {
        let Event::Refused { asked, told } = *event else { continue };
        refused += 1;
        let most = possible[asked as usize..=told as usize].iter().max();
        assert!(most.is_some_and(|most| *most >= i64::from(cap)), "refused with {most:?} of {cap} taken");
    }
    refused
}

#[test]
fn a_cap_is_exact_among_threads() {
    for (threads, cap) in [(2, 1), (4, 3), (8, 3), (8, 7)] {
        let caps = Caps::new(SIZE);
        let limits = of_provider(calls(cap));
        let (logs, numbers) = hammer(
            threads,
            60_000,
            |_, _| caps.admit_provider(PROVIDER, &limits, None, NOW, no_day).ok(),
            |hold| caps.release_provider(hold, Duration::ZERO, NO_TIME),
        );
        audit(&logs.concat(), numbers, cap);
        assert_eq!(caps.held(), [0; 3]);
    }
}

#[test]
fn as_many_threads_as_places_are_never_refused() {
    let caps = Caps::new(SIZE);
    let limits = of_provider(calls(8));
    let (logs, numbers) = hammer(
        8,
        60_000,
        |_, _| caps.admit_provider(PROVIDER, &limits, None, NOW, no_day).ok(),
        |hold| caps.release_provider(hold, Duration::ZERO, NO_TIME),
    );
    assert_eq!(audit(&logs.concat(), numbers, 8), 0);
}

#[test]
fn who_does_not_get_the_gateway_does_not_cost_another_the_carrier() {
    const CARRIER: u16 = 1;
    let caps = Caps::new(SIZE);
    // Three threads fight for one gateway with room for one; a fourth has a gateway of its own. The carrier has room for two, so
    // the fourth is refused only if somebody who did not get the gateway was seen holding the carrier.
    let (logs, _) = hammer(
        4,
        60_000,
        |thread, _| {
            let gateway = if thread == 3 { 5 } else { 4 };
            caps.take_gateway(candidate(CARRIER, gateway), &calls(2), &calls(1), NOW).ok()
        },
        |hold| caps.release_gateway(hold),
    );
    assert_eq!(caps.held(), [0; 3]);
    let refused = logs[3].iter().filter(|event| matches!(event, Event::Refused { .. })).count();
    assert_eq!(refused, 0);
}

/// Attempts of four threads that read the clock out of step, as shards do: how many `admit` lets pass, and at most may.
fn passed_among_threads(cps: u32, burst: u32, admit: impl Fn(Instant) -> bool + Sync) -> (u64, u64) {
    const SPAN_US: u64 = 2_000_000;
    // The clock is the number of the attempt.
    let clock = AtomicU64::new(0);
    let attempts = || {
        let mut passed = 0;
        loop {
            let micros = clock.fetch_add(25, Ordering::Relaxed);
            if micros >= SPAN_US {
                return passed;
            }
            passed += u64::from(admit(Instant::from_micros(1_000_000 + micros)));
        }
    };
    let passed = thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(attempts)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).sum()
    });
    (passed, 1 + u64::from(burst) + u64::from(cps) * SPAN_US / 1_000_000)
}

#[test]
fn a_rate_is_exact_among_threads() {
    const CPS: u32 = 5_000;
    const BURST: u32 = 20;
    let by_provider = of_provider(Limits { max_calls: Some(1_000_000), ..rate(CPS, BURST) });
    let held = of_provider(calls(1_000_000));
    let address = Some(AddressCap { slot: 3, max_cps: CPS });
    for (limits, address, burst) in
        [(&by_provider, None, BURST), (&ProviderLimits::default(), address, CPS / 10), (&held, address, CPS / 10)]
    {
        let caps = Caps::new(SIZE);
        let (passed, most) = passed_among_threads(CPS, burst, |now| {
            let hold = caps.admit_provider(PROVIDER, limits, address, now, no_day);
            hold.map(|hold| caps.release_provider(hold, Duration::ZERO, NO_TIME)).is_ok()
        });
        assert!(passed <= most, "{passed} of at most {most}");
        // Attempts come eight times as often as calls may pass, so hardly any is lost to a thread that was late.
        assert!(passed * 100 >= most * 95, "{passed} of at most {most}");
        assert_eq!(caps.held(), [0; 3]);
    }
}
