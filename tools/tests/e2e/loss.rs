//! Calls over paths that lose datagrams in both directions on both sides. Whatever SIPp makes of it, Corelane ends every call.

use std::time::Duration;

use crate::corelane::{Corelane, Counters, Options, listener};
use crate::media::rtpengine::Rtpengine;
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};
use crate::wire::Wire;

/// Caller, gateway, number, code, calls.
const MIX: [(&str, &str, &str, u16, u32); 4] = [
    ("uac_basic", "uas_basic", "4912345", 0, 60),
    ("uac_hungup", "uas_hangs_up", "3312345", 0, 40),
    ("uac_cancel", "uas_cancelled", "3912345", 0, 30),
    ("uac_refused", "uas_refuses", "4412345", 486, 30),
];

/// Calls of [`MIX`] that are meant to be answered.
const ANSWERED: u64 = 100;

/// The calls of [`MIX`] over wires that lose `percent`, their media through so many nodes; the counters after the last timer.
fn calls_over_lossy_paths(percent: u64, nodes: u8) -> Counters {
    let site = Site::new();
    let address = listener(&site);
    let places = [21, 22, 23, 24].map(|host| site.address(host));
    let mut tables = Tables::new(address, site.caller());
    for ((_, _, number, ..), place) in MIX.into_iter().zip(places) {
        tables = tables.gateway(&number[..2], place);
    }
    let nodes: Vec<_> = (0..nodes).map(|node| Rtpengine::start(&site, 51 + node)).collect();
    tables = nodes.iter().fold(tables, |tables, node| tables.media_node(node.address()));
    // What a lost datagram leaves standing these end: a call that one side gave up, one that rings for a caller who has gone.
    let options = Options { ring_timeout_ms: 6_000, default_timeout_s: 8, ..Options::default() };
    let corelane = Corelane::start(&site, &tables, &options);

    let (mut wires, mut gateways, mut callers) = (Vec::new(), Vec::new(), Vec::new());
    for (seed, ((caller, gateway, number, code, calls), place)) in (1..).zip(MIX.into_iter().zip(places)) {
        let gateway = Sipp::uas(&site, gateway, site.address(40)).word("CODE", code).patient();
        wires.push(Wire::new(place, site.host(41), percent, 2 * seed).connect(gateway.local(), address));
        gateways.push(gateway.start());

        let wire = Wire::new(site.address(10), site.host(43), percent, 2 * seed + 1);
        let caller = Sipp::uac(&site, caller, site.host(42), wire.outer()).word("CODE", code).patient();
        wires.push(wire.connect(caller.local(), address));
        callers.push(caller.dial(&[number]).calls(calls, 20).within(Duration::from_secs(90)).start());
    }
    for caller in callers {
        caller.end();
    }
    // The gateways are still there, so that every BYE finds somebody.
    let counters = corelane.stop_empty();
    drop(gateways);
    nodes.iter().for_each(|node| node.await_sessions(0));
    let lost: u64 = wires.iter().map(Wire::lost).sum();
    assert!(lost > 0, "the wires lost something");
    counters
}

/// Retransmissions make up for it: RFC 3261 §17 gives each message six chances or more on each hop. What is missing is SIPp's: when a
/// gateway's 180 and its first 200 were both lost (one call in 400), the repeated INVITE silences it.
#[test]
fn one_datagram_in_twenty_lost() {
    let _serial = serial();
    let counters = calls_over_lossy_paths(5, 0);
    assert!(counters.node("calls_answered") >= ANSWERED * 95 / 100, "{} answered", counters.node("calls_answered"));
    assert!(counters.node("retransmissions") > 0 && counters.node("retransmissions_absorbed") > 0);
}

/// The same through media nodes: what is held for a node is repeated on the way all the same, and no session outlives its call.
#[test]
fn one_datagram_in_twenty_lost_and_media_through_nodes() {
    let _serial = serial();
    let counters = calls_over_lossy_paths(5, 2);
    assert!(counters.node("calls_answered") >= ANSWERED * 95 / 100, "{} answered", counters.node("calls_answered"));
    assert!(counters.node("media_done") >= 2 * ANSWERED, "{} exchanges", counters.node("media_done"));
    assert_eq!(counters.node("unrelayed"), 0);
}

/// The ledger is what must hold here, and [`Corelane::stop_empty`] has checked it.
#[test]
fn one_datagram_in_five_lost() {
    let _serial = serial();
    let counters = calls_over_lossy_paths(20, 0);
    assert!(counters.node("calls_answered") > 0);
    let ends = ["refused", "cancelled", "unanswered", "by_caller", "by_callee", "unacknowledged", "expired", "lost"];
    let ended: u64 = ends.iter().map(|end| counters.node(&format!("ended_{end}"))).sum();
    assert_eq!(ended, counters.node("calls_ended"), "each end has its reason");
}
