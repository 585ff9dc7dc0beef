//! Calls that nobody ends: Corelane does, with BYE to both sides (SPEC §3 *BYE that Corelane sends*).

use std::time::Duration;

use crate::corelane::{Corelane, Counters, Options, listener};
use crate::peer::{Message, Peer};
use crate::process::wait_until;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};
use crate::{let_others_run, serial};

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

/// RFC 4028: no legal interval is shorter than 90 s, so other tests run meanwhile. `default_timeout`, which is shorter, does not end the call
/// that has a session timer.
#[test]
fn without_refresh_the_session_interval_ends_the_call() {
    const INTERVAL: Duration = Duration::from_secs(90);
    let _serial = serial();
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let corelane = Corelane::start(&site, &tables, &Options { default_timeout_s: EXPIRY_S, ..Options::default() });
    let (caller, gateway) = (Peer::new(site.caller(), address), Peer::at(place, address));
    let invite = caller.request("INVITE", "4912345").add("Supported: timer");
    caller.send(invite.text());
    let received = gateway.receive_request(invite.call_id(), "INVITE", 1);
    let agreed = ["Require: timer", "Session-Expires: 90;refresher=uac"];
    gateway.send(received.answer_with("200 OK", place, &agreed, ""));
    let dialog = caller.answered(invite);
    gateway.receive_request(dialog.call_id(), "ACK", 1);

    let_others_run();
    let bye = |message: &Message| message.text().starts_with("BYE ");
    for peer in [&caller, &gateway] {
        let bye = wait_until("Corelane hangs up", 2 * INTERVAL, || peer.all_waiting().into_iter().find(bye));
        assert_eq!(bye.header("Reason").and_then(|reason| reason.split(";text").next()), Some("Q.850;cause=102"));
        peer.send(bye.answer("200 OK", peer.address()));
    }
    let counters = corelane.stop_empty();
    assert_eq!((counters.node("ended_session_expired"), counters.node("byes_sent")), (1, 2));
}
