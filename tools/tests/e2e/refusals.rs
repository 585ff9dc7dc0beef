//! Calls and requests that must not succeed, and how: by Corelane itself, by a gateway, by a timer, by the caller.

use std::net::SocketAddr;

use crate::corelane::{Corelane, Options, listener};
use crate::peer::Peer;
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};

/// A site with one gateway for 49…, and the options as given.
fn one_gateway(options: &Options) -> (Site, Corelane, SocketAddr, SocketAddr) {
    let site = Site::new();
    let (address, gateway) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", gateway);
    let corelane = Corelane::start(&site, &tables, options);
    (site, corelane, address, gateway)
}

/// Callers that must get `code`.
fn refused(site: &Site, corelane: SocketAddr, number: &str, code: u16, calls: u32) {
    let caller = Sipp::uac(site, "uac_refused", site.caller(), corelane).word("CODE", code).dial(&[number]);
    caller.calls(calls, 100).many_sockets().run();
}

#[test]
fn an_unknown_prefix_gets_404() {
    let _serial = serial();
    let (site, corelane, address, _) = one_gateway(&Options::default());
    refused(&site, address, "7712345", 404, 50);
    let counters = corelane.stop_empty();
    assert_eq!(counters.node("rejected_404"), 50);
    assert_eq!(counters.node("calls_answered"), 0);
}

#[test]
fn an_unknown_source_gets_silence() {
    let _serial = serial();
    let (site, corelane, address, _) = one_gateway(&Options::default());
    let stranger = Sipp::uac(&site, "uac_silence", site.stranger(), address).word("WAIT_MS", 500).dial(&["4912345"]);
    stranger.calls(20, 100).run();
    let counters = corelane.stop_empty();
    assert_eq!(counters.node("unknown_source"), 20);
    assert_eq!(counters.node("calls_started"), 0);
    assert_eq!(counters.node("datagrams_out"), 0);
}

#[test]
fn an_unknown_source_gets_403_where_configured() {
    let _serial = serial();
    let (site, corelane, address, _) = one_gateway(&Options { unknown_source: "forbid", ..Options::default() });
    // It repeats nothing, however late the answer: nothing is kept of a stranger, so each of his requests counts.
    let stranger = Sipp::uac(&site, "uac_refused", site.stranger(), address).word("CODE", 403).word("T1", 60_000);
    let stranger = stranger.dial(&["4912345"]);
    stranger.calls(20, 100).run();
    let counters = corelane.stop_empty();
    assert_eq!(counters.node("unknown_source"), 20);
    assert_eq!(counters.node("calls_started"), 0);
}

#[test]
fn a_refusal_of_the_gateway_goes_upstream_and_is_acknowledged_hop_by_hop() {
    let _serial = serial();
    for code in [404, 480, 486, 603] {
        let (site, corelane, address, gateway) = one_gateway(&Options::default());
        let gateway = Sipp::uas(&site, "uas_refuses", gateway).word("CODE", code).start();
        refused(&site, address, "4912345", code, 20);
        // The gateway's scenario is complete only with the ACK that Corelane makes.
        assert_eq!(gateway.stop().successful, 20, "calls refused with {code}");
        let counters = corelane.stop_empty();
        assert_eq!(counters.node("calls_started"), 20);
        assert_eq!(counters.node("stray_acks"), 0, "the caller's ACK is the transaction's own");
    }
}

#[test]
fn a_silent_gateway_gives_408_after_timer_b() {
    let _serial = serial();
    let (site, corelane, address, gateway) = one_gateway(&Options::default());
    // Bound, so that no ICMP error shortens the wait, and never read.
    let _silent = Peer::at(gateway, address);
    refused(&site, address, "4912345", 408, 20);
    let counters = corelane.stop_empty();
    assert_eq!(counters.node("rejected_408"), 20);
    assert!(counters.node("retransmissions") >= 20, "the INVITE was repeated until Timer B");
}

#[test]
fn a_gateway_that_rings_forever_is_cancelled_by_timer_c() {
    let _serial = serial();
    let (site, corelane, address, gateway) = one_gateway(&Options { ring_timeout_ms: 500, ..Options::default() });
    let gateway = Sipp::uas(&site, "uas_cancelled", gateway).start();
    refused(&site, address, "4912345", 408, 20);
    assert_eq!(gateway.stop().successful, 20);
    assert_eq!(corelane.stop_empty().node("rejected_408"), 20);
}

#[test]
fn a_caller_that_gives_up_gets_487() {
    let _serial = serial();
    let (site, corelane, address, gateway) = one_gateway(&Options::default());
    let gateway = Sipp::uas(&site, "uas_cancelled", gateway).start();
    Sipp::uac(&site, "uac_cancel", site.caller(), address).dial(&["4912345"]).calls(50, 100).many_sockets().run();
    assert_eq!(gateway.stop().successful, 50);
    let counters = corelane.stop_empty();
    assert_eq!(counters.node("calls_answered"), 0);
    assert_eq!(counters.node("rejected_481"), 0);
}

#[test]
fn requests_that_corelane_answers_itself() {
    let _serial = serial();
    let (site, corelane, address, gateway) = one_gateway(&Options::default());
    let peer = Peer::new(site.caller(), address);

    let options = peer.ask(&peer.request("OPTIONS", ""));
    assert_eq!(options.code(), Some(200), "{}", options.0);
    assert!(options.header("Allow").is_some_and(|allow| allow.contains("INVITE")), "RFC 3261 §11.2: {}", options.0);
    assert!(options.header("To").is_some_and(|to| to.contains(";tag=")), "RFC 3261 §8.2.6.2: {}", options.0);
    let probe = Peer::at(gateway, address);
    assert_eq!(probe.ask(&probe.request("OPTIONS", "")).code(), Some(200), "a gateway may probe Corelane");
    drop(probe);

    for method in ["REGISTER", "SUBSCRIBE", "PUBLISH", "MESSAGE"] {
        let answer = peer.ask(&peer.request(method, "4912345"));
        assert_eq!(answer.code(), Some(405), "{}", answer.0);
        assert!(answer.header("Allow").is_some(), "RFC 3261 §8.2.1: {}", answer.0);
    }

    let answer = peer.ask(&peer.request("INVITE", "4912345").set("Max-Forwards", "0"));
    assert_eq!(answer.code(), Some(483), "{}", answer.0);

    let answer = peer.ask(&peer.request("INVITE", "4912345").add("Proxy-Require: corelane-knows-not"));
    assert_eq!(answer.code(), Some(420), "{}", answer.0);
    assert_eq!(answer.header("Unsupported"), Some("corelane-knows-not"), "RFC 3261 §16.3: {}", answer.0);

    let answer = peer.ask(&peer.request("INVITE", "4912345").line("INVITE gopher:4912345 SIP/2.0"));
    assert_eq!(answer.code(), Some(416), "{}", answer.0);

    let answer = peer.ask(&peer.request("INVITE", "4912345").add("Route: <sip:192.0.2.1;lr>"));
    assert_eq!(answer.code(), Some(403), "a preloaded Route that names anyone else: {}", answer.0);

    let stray = peer.request("BYE", "4912345").set("To", "<sip:4912345@example.com>;tag=nobody");
    let answer = peer.ask(&stray);
    assert_eq!(answer.code(), Some(481), "{}", answer.0);
    let answer = peer.ask(&peer.request("CANCEL", "4912345"));
    assert_eq!(answer.code(), Some(481), "{}", answer.0);

    let counters = corelane.stop_empty();
    let expected = [
        ("options_answered", 2),
        ("rejected_405", 4),
        ("rejected_483", 1),
        ("rejected_420", 1),
        ("rejected_416", 1),
        ("rejected_403", 1),
        ("rejected_481", 2),
        ("calls_answered", 0),
    ];
    for (name, value) in expected {
        assert_eq!(counters.node(name), value, "{name}");
    }
}

#[test]
fn a_full_slab_refuses_new_calls_only() {
    let _serial = serial();
    let (site, mut corelane, address, gateway) =
        one_gateway(&Options { shards: 1, calls_max: 8, ..Options::default() });
    let gateway = Sipp::uas(&site, "uas_basic", gateway).start();
    // The budget may round up; what counts is what it says that it has.
    let counters = corelane.await_counters("the capacity is told", |counters| counters.node("calls_capacity") > 0);
    let capacity = u32::try_from(counters.node("calls_capacity")).expect("a small number");
    assert!((8..=1024).contains(&capacity), "--calls-max 8 gave {capacity}");

    let peer = Peer::new(site.caller(), address);
    let standing: Vec<_> = (0..capacity).map(|_| peer.call("4912345")).collect();
    corelane
        .await_counters("all call records are taken", |counters| counters.node("calls_live") == u64::from(capacity));
    refused(&site, address, "4912345", 503, 30);
    assert_eq!(corelane.counters().node("calls_live"), u64::from(capacity), "calls in progress are untouched");
    for dialog in &standing {
        peer.hang_up(dialog);
    }
    corelane.await_counters("the records are free again", |counters| counters.node("calls_live") == 0);
    Sipp::uac(&site, "uac_basic", site.caller(), address).dial(&["4912345"]).calls(8, 4).run();
    assert_eq!(gateway.stop().successful, u64::from(capacity) + 8);
    let counters = corelane.stop_empty();
    assert!(counters.node("full") >= 30, "each refusal is counted");
    assert_eq!(counters.node("calls_answered"), u64::from(capacity) + 8);
}
