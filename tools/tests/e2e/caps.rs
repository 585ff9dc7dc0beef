//! Caps over real sockets and threads: exact whatever the number of shards (SPEC §2 row 6).

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::corelane::{Corelane, Options, listener, state};
use crate::peer::{Dialog, Peer};
use crate::process::wait_until;
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};

/// Callers that dial at once, and the calls that each of them tries.
const CALLERS: u32 = 4;
const TRIES: u32 = 8;

/// Calls that may be held.
const CAP: u32 = 11;

/// The status of a refusal for a cap in these tests.
const REFUSED: u16 = 480;

/// Daily counts are written every five seconds; a busy machine may take longer.
const WRITTEN: Duration = Duration::from_secs(60);

/// Callers that dial at once and hold what they get: the held calls with their callers, and how many were refused with [`REFUSED`].
fn dial_at_once(site: &Site, corelane: SocketAddr) -> (Vec<(Peer, Vec<Dialog>)>, usize) {
    let ip = site.caller();
    let caller = move || {
        let peer = Peer::new(ip, corelane);
        let mut refused = 0;
        let mut held = Vec::new();
        for _ in 0..TRIES {
            match peer.try_call("4912345") {
                Ok(dialog) => held.push(dialog),
                Err(REFUSED) => refused += 1,
                Err(other) => panic!("refused with {other}"),
            }
        }
        ((peer, held), refused)
    };
    let callers: Vec<_> = (0..CALLERS).map(|_| thread::spawn(caller)).collect();
    let ends: Vec<_> = callers.into_iter().map(|caller| caller.join().expect("a caller's own checks hold")).collect();
    let refused = ends.iter().map(|(_, refused)| refused).sum();
    (ends.into_iter().map(|(held, _)| held).collect(), refused)
}

fn count(held: &[(Peer, Vec<Dialog>)]) -> usize {
    held.iter().map(|(_, dialogs)| dialogs.len()).sum()
}

fn hang_up(held: Vec<(Peer, Vec<Dialog>)>) {
    for (peer, dialogs) in held {
        dialogs.iter().for_each(|dialog| peer.hang_up(dialog));
    }
}

/// Twice, so that what was given back is there again, to the last one and as soon as the caller has his 200 to the BYE.
fn a_cap_of_the_provider_is_exact(shards: usize) {
    let _serial = serial();
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let tables = tables.provider("max_calls", CAP).provider("refuse_code", REFUSED);
    let corelane = Corelane::start(&site, &tables, &Options { shards, ..Options::default() });
    let gateway = Sipp::uas(&site, "uas_basic", place).start();
    let refusals = (CALLERS * TRIES - CAP) as usize;
    for round in 0..2 {
        let (held, refused) = dial_at_once(&site, address);
        assert_eq!((count(&held), refused), (CAP as usize, refusals), "round {round}, {shards} shards");
        hang_up(held);
    }
    assert_eq!(gateway.stop().successful, u64::from(2 * CAP), "nobody else reached the gateway");
    let counters = corelane.stop_empty();
    assert_eq!(counters.node("provider_capped"), 2 * refusals as u64);
    assert_eq!(counters.node("calls_answered"), u64::from(2 * CAP));
}

#[test]
fn a_cap_of_the_provider_is_exact_on_one_shard() {
    a_cap_of_the_provider_is_exact(1);
}

#[test]
fn a_cap_of_the_provider_is_exact_on_two_shards() {
    a_cap_of_the_provider_is_exact(2);
}

#[test]
fn a_cap_of_the_provider_is_exact_on_four_shards() {
    a_cap_of_the_provider_is_exact(4);
}

#[test]
fn a_full_gateway_is_skipped_for_the_next_one() {
    let _serial = serial();
    let site = Site::new();
    let (address, first, second) = (listener(&site), site.address(21), site.address(22));
    let tables = Tables::new(address, site.caller()).gateway("49", first).for_gateway("max_calls", CAP).then(second);
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let gateways = [first, second].map(|place| Sipp::uas(&site, "uas_basic", place).start());
    let (held, refused) = dial_at_once(&site, address);
    assert_eq!((count(&held), refused), ((CALLERS * TRIES) as usize, 0));
    hang_up(held);
    let taken = gateways.map(|gateway| gateway.stop().successful);
    assert_eq!(taken, [CAP, CALLERS * TRIES - CAP].map(u64::from), "calls that each gateway took");
    assert_eq!(corelane.stop_empty().node("calls_answered"), u64::from(CALLERS * TRIES));
}

/// The rate bounds what gets through by the time that passed, however slow the machine is; the burst is there at once.
#[test]
fn a_rate_lets_through_what_it_says() {
    const CALLS: u32 = 100;
    const CPS: u32 = 20;
    const BURST: u32 = 5;
    let _serial = serial();
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let tables = tables.provider("max_cps", CPS).provider("burst", BURST).provider("refuse_code", REFUSED);
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let gateway = Sipp::uas(&site, "uas_basic", place).start();
    let caller = Sipp::uac(&site, "uac_admitted_or_not", site.caller(), address).word("CODE", REFUSED);
    let start = Instant::now();
    caller.dial(&["4912345"]).calls(CALLS, 100).many_sockets().run();
    let most = f64::from(BURST) + 1.0 + f64::from(CPS) * start.elapsed().as_secs_f64();
    let through = gateway.stop().successful;
    assert!(through >= u64::from(BURST), "{through} calls are less than the burst");
    assert!(through as f64 <= most, "{through} calls are more than {most}");
    let counters = corelane.stop_empty();
    assert_eq!(counters.node("provider_capped"), u64::from(CALLS) - through);
}

/// Two addresses of one provider, one of them with a rate of its own: what it keeps back is nobody else's.
#[test]
fn a_rate_of_an_address_is_its_own() {
    const CALLS: u32 = 40;
    const CPS: u32 = 10;
    let _serial = serial();
    let site = Site::new();
    let (address, place, other) = (listener(&site), site.address(21), site.host(11));
    let tables = Tables::new(address, site.caller()).for_source("max_cps", CPS).source(other, None);
    let tables = tables.provider("refuse_code", REFUSED).gateway("49", place);
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let gateway = Sipp::uas(&site, "uas_basic", place).start();
    let caller = |scenario, from| Sipp::uac(&site, scenario, from, address).word("CODE", REFUSED).dial(&["4912345"]);
    let start = Instant::now();
    let free = caller("uac_basic", other).calls(CALLS, 50).start();
    caller("uac_admitted_or_not", site.caller()).calls(CALLS, 100).run();
    // A burst of a tenth of the rate.
    let most = f64::from(CPS.div_ceil(10)) + 1.0 + f64::from(CPS) * start.elapsed().as_secs_f64();
    assert_eq!(free.complete().successful, u64::from(CALLS));
    let through = gateway.stop().successful - u64::from(CALLS);
    assert!((1.0..=most).contains(&(through as f64)), "{through} calls, {most} at most");
    assert_eq!(corelane.stop_empty().node("address_capped"), u64::from(CALLS) - through);
}

/// A carrier's cap is over both its gateways, of which the first has one of its own.
#[test]
fn a_cap_of_a_carrier_is_over_all_its_gateways() {
    const OF_THE_FIRST: u32 = 4;
    let _serial = serial();
    let site = Site::new();
    let (address, first, second) = (listener(&site), site.address(21), site.address(22));
    let tables = Tables::new(address, site.caller()).provider("refuse_code", REFUSED);
    let tables = tables.gateway("49", first).for_gateway("max_calls", OF_THE_FIRST).then(second);
    let tables = tables.for_carrier("max_calls", CAP);
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let gateways = [first, second].map(|place| Sipp::uas(&site, "uas_basic", place).start());
    let (held, refused) = dial_at_once(&site, address);
    assert_eq!((count(&held), refused), (CAP as usize, (CALLERS * TRIES - CAP) as usize));
    hang_up(held);
    let taken = gateways.map(|gateway| gateway.stop().successful);
    assert_eq!(taken, [OF_THE_FIRST, CAP - OF_THE_FIRST].map(u64::from), "calls that each gateway took");
    assert_eq!(corelane.stop_empty().node("calls_answered"), u64::from(CAP));
}

/// Many calls of two seconds and more are a minute soon; the next one comes too late.
#[test]
fn a_days_minutes_are_counted_when_calls_end() {
    const TALK: Duration = Duration::from_secs(2);
    let _serial = serial();
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let tables = tables.provider("max_minutes_day", 1).provider("refuse_code", REFUSED);
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let gateway = Sipp::uas(&site, "uas_basic", place).start();
    let peer = Peer::new(site.caller(), address);
    let calls: Vec<_> = (0..60 / TALK.as_secs()).map(|_| peer.call("4912345")).collect();
    let answered = Instant::now();
    // None of them has ended, so none has counted: there is room for one more, and for the time that they go on.
    peer.hang_up(&peer.call("4912345"));
    wait_until("each call has gone on for its time", WRITTEN, || (answered.elapsed() > TALK).then_some(()));
    calls.iter().for_each(|call| peer.hang_up(call));
    assert_eq!(peer.try_call("4912345").err(), Some(REFUSED), "a minute was talked");
    assert_eq!(gateway.stop().successful, 60 / TALK.as_secs() + 1);
    let counters = corelane.stop_empty();
    assert_eq!((counters.node("provider_day_used"), counters.node("ended_by_caller")), (1, 60 / TALK.as_secs() + 1));
}

/// SPEC §2 row 9: a day survives a restart, and `kill -9` once it was written, which is every five seconds.
#[test]
fn a_days_calls_are_counted_over_a_restart_and_a_kill() {
    let _serial = serial();
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let tables = tables.provider("max_calls_day", CAP).provider("refuse_code", REFUSED);
    let start = || Corelane::start(&site, &tables, &Options::default());
    let gateway = Sipp::uas(&site, "uas_basic", place).start();
    let caller =
        |scenario, calls| Sipp::uac(&site, scenario, site.caller(), address).dial(&["4912345"]).calls(calls, 100);
    let kept = || fs::read_to_string(state(&site).join("limits.day")).unwrap_or_default();

    let corelane = start();
    caller("uac_basic", CAP - 2).run();
    corelane.stop();
    assert!(kept().lines().last().is_some_and(|line| line.split(' ').nth(2) == Some("9")), "{}", kept());

    let corelane = start();
    caller("uac_basic", 2).run();
    caller("uac_refused", 3).word("CODE", REFUSED).run();
    wait_until("the day's count is written", WRITTEN, || {
        kept().lines().last().is_some_and(|line| line.split(' ').nth(2) == Some("11")).then_some(())
    });
    corelane.crash();

    let corelane = start();
    caller("uac_refused", 3).word("CODE", REFUSED).run();
    assert_eq!(gateway.stop().successful, u64::from(CAP), "no call of the day too many");
    corelane.stop_empty();
}
