//! CANCEL at every moment (RFC 3261 §9): before the gateway said anything, before it rang, while it rings, when it answers.

use crate::corelane::{Corelane, Counters, Options, listener};
use crate::peer::Peer;
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};

/// Calls of each test.
const CALLS: u32 = 30;

/// Calls of `caller` to one gateway, `gateway` with this provisional response.
fn calls(caller: &str, gateway: &str, progress: u16) -> Counters {
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let gateway = Sipp::uas(&site, gateway, place).word("PROGRESS", progress).start();
    Sipp::uac(&site, caller, site.caller(), address).dial(&["4912345"]).calls(CALLS, 100).many_sockets().run();
    assert_eq!(gateway.stop().successful, u64::from(CALLS));
    corelane.stop_empty()
}

/// The calls were cancelled, nobody answered, and no CANCEL met a stranger.
fn all_cancelled(counters: &Counters) {
    let expected = [("ended_cancelled", CALLS), ("calls_answered", 0), ("rejected_481", 0), ("byes_sent", 0)];
    for (name, value) in expected {
        assert_eq!(counters.node(name), u64::from(value), "{name}");
    }
}

#[test]
fn while_it_rings() {
    let _serial = serial();
    all_cancelled(&calls("uac_cancel", "uas_cancelled", 180));
}

/// The caller knows of Corelane's own 100 only. The CANCEL goes on when the gateway has said 100 (RFC 3261 §9.1).
#[test]
fn before_it_rings() {
    let _serial = serial();
    all_cancelled(&calls("uac_cancel_trying", "uas_cancelled", 100));
}

/// Nothing may be sent to a gateway that has said nothing: the call ends with its fr_timer.
#[test]
fn before_a_silent_gateway_says_anything() {
    let _serial = serial();
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place).then(site.address(22));
    let corelane = Corelane::start(&site, &tables, &Options { fr_timer_ms: 2_500, ..Options::default() });
    let silent = Peer::at(place, address);
    Sipp::uac(&site, "uac_cancel_trying", site.caller(), address).dial(&["4912345"]).calls(CALLS, 100).run();
    let counters = corelane.stop_empty();
    all_cancelled(&counters);
    assert_eq!(counters.node("attempts"), u64::from(CALLS), "a call that was given up is not hunted on");
    let received = silent.all_waiting();
    assert!(received.len() >= CALLS as usize, "each INVITE came");
    assert!(received.iter().all(|message| message.0.starts_with("INVITE ")), "RFC 3261 §9.1: no CANCEL before a 1xx");
}

/// The answer wins: the calls stood, and their callers hung up.
fn all_answered(counters: &Counters) {
    for (name, value) in [("calls_answered", CALLS), ("ended_by_caller", CALLS), ("ended_cancelled", 0)] {
        assert_eq!(counters.node(name), u64::from(value), "{name}");
    }
}

/// The caller gets the answer after his CANCEL.
#[test]
fn when_it_answers() {
    let _serial = serial();
    all_answered(&calls("uac_cancel_crossed", "uas_cancel_crossed", 180));
}

/// The answer is on its way to the caller when his CANCEL comes (RFC 3261 §9.2: it changes nothing).
#[test]
fn when_it_has_answered() {
    let _serial = serial();
    all_answered(&calls("uac_cancel_late", "uas_basic", 180));
}
