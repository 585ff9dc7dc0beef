//! Requests inside a dialog: each kind, from either side, and BYEs that cross. Re-INVITE and BYE from either side are in `calls.rs` too.

use crate::corelane::{Corelane, Counters, Options, listener};
use crate::media::rtpengine::Rtpengine;
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};

/// Calls of each test.
const CALLS: u32 = 30;

/// Calls between a pair of scenarios, over two shards, from many ports; media through so many nodes.
fn calls(caller: &str, gateway: &str, nodes: u8) -> Counters {
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let nodes: Vec<_> = (0..nodes).map(|node| Rtpengine::start(&site, 41 + node)).collect();
    let tables = nodes.iter().fold(tables, |tables, node| tables.media_node(node.address()));
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let gateway = Sipp::uas(&site, gateway, place).start();
    Sipp::uac(&site, caller, site.caller(), address).dial(&["4912345"]).calls(CALLS, 100).many_sockets().run();
    assert_eq!(gateway.stop().successful, u64::from(CALLS));
    nodes.iter().for_each(|node| node.await_sessions(0));
    let counters = corelane.stop_empty();
    assert_eq!(counters.node("calls_answered"), u64::from(CALLS));
    assert_eq!(counters.node("rejected_481"), 0);
    counters
}

/// A reliable 183 with its PRACK, INFO and UPDATE from the caller, INFO and re-INVITE from the callee.
#[test]
fn every_kind_of_request_goes_either_way() {
    let _serial = serial();
    let counters = calls("uac_requests", "uas_requests", 0);
    assert_eq!(counters.node("ended_by_caller"), u64::from(CALLS));
}

/// Hold, another codec and UPDATE, each offered by the callee: every offer and every answer went through its node.
#[test]
fn the_callee_changes_the_session() {
    let _serial = serial();
    let counters = calls("uac_reoffered", "uas_reoffers", 2);
    assert!(counters.node("media_done") >= 8 * u64::from(CALLS), "{} exchanges", counters.node("media_done"));
    assert_eq!(counters.node("unrelayed"), 0);
}

#[test]
fn both_sides_hang_up_at_once() {
    let _serial = serial();
    let counters = calls("uac_both_hang_up", "uas_both_hang_up", 0);
    let ended = counters.node("ended_by_caller") + counters.node("ended_by_callee");
    assert_eq!(ended, u64::from(CALLS), "one of the two BYEs ended each call");
}
