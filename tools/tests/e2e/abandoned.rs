//! Calls that nobody ends: Corelane does, with BYE to both sides (SPEC §3 *BYE that Corelane sends*).

use crate::corelane::{Corelane, Counters, Options, listener};
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};

/// Calls of each test.
const CALLS: u32 = 20;

/// How often a caller refreshes, and the time between two refreshes: together well above [`EXPIRY_S`], each well below.
const REFRESHES: u16 = 12;
const REFRESH_MS: u64 = 400;

/// `default_timeout` of these tests.
const EXPIRY_S: u64 = 4;

/// Calls of which both sides expect a BYE that neither sends.
fn calls(caller: &str, gateway: &str, options: &Options) -> Counters {
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let corelane = Corelane::start(&site, &tables, options);
    let words = |sipp: Sipp| sipp.word("TIMES", REFRESHES).pausing(REFRESH_MS);
    let gateway = words(Sipp::uas(&site, gateway, place)).start();
    let caller = words(Sipp::uac(&site, caller, site.caller(), address)).dial(&["4912345"]).calls(CALLS, 100);
    caller.many_sockets().run();
    assert_eq!(gateway.stop().successful, u64::from(CALLS));
    let counters = corelane.stop_empty();
    assert_eq!(counters.node("calls_answered"), u64::from(CALLS));
    assert_eq!(counters.node("byes_sent"), 2 * u64::from(CALLS), "one to each side");
    counters
}

/// The callee gets an ACK too, from Corelane: without one it would repeat its 200 for ever and not take the BYE.
#[test]
fn without_ack_noack_timeout_ends_the_call() {
    let _serial = serial();
    let counters = calls("uac_no_ack", "uas_basic", &Options { noack_timeout_ms: 1_500, ..Options::default() });
    assert_eq!(counters.node("ended_unacknowledged"), u64::from(CALLS));
}

#[test]
fn without_bye_default_timeout_ends_the_call() {
    let _serial = serial();
    let counters = calls("uac_hungup", "uas_basic", &Options { default_timeout_s: 2, ..Options::default() });
    assert_eq!(counters.node("ended_expired"), u64::from(CALLS));
}

/// A BYE before the last refresh would fail the scenario.
#[test]
fn a_reinvite_restarts_default_timeout() {
    let _serial = serial();
    let counters =
        calls("uac_refreshes", "uas_refreshed", &Options { default_timeout_s: EXPIRY_S, ..Options::default() });
    assert_eq!(counters.node("ended_expired"), u64::from(CALLS));
    assert!(u64::from(REFRESHES) * REFRESH_MS > EXPIRY_S * 1_000, "the calls lived longer than one timeout");
}
