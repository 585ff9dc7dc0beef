//! Drain: new calls are refused, those in progress go on, and a stop while it drains ends them with BYE both ways.

use crate::corelane::{Corelane, Options, listener};
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};

/// Calls that stand while the node drains.
const STANDING: u32 = 20;
const MORE: u32 = 5;

#[test]
fn a_draining_node_refuses_new_calls_and_hangs_up_the_others_when_it_is_stopped() {
    let _serial = serial();
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let mut corelane = Corelane::start(&site, &tables, &Options::default());
    let gateway = Sipp::uas(&site, "uas_basic", place).start();
    let caller =
        |scenario, calls| Sipp::uac(&site, scenario, site.caller(), address).dial(&["4912345"]).calls(calls, 100);
    // They wait for a BYE, which neither side sends.
    let standing = caller("uac_hungup", STANDING).many_sockets().start();
    corelane.await_counters("all calls stand", |counters| counters.node("calls_answered") == u64::from(STANDING));

    assert!(corelane.drain().starts_with("drain: new calls get 503"));
    caller("uac_refused", MORE).word("CODE", 503).run();
    let counters = corelane.counters();
    assert_eq!(counters.node("calls_live"), u64::from(STANDING), "calls in progress are untouched");

    assert_eq!(corelane.drain(), "drain: new calls are taken again");
    caller("uac_basic", MORE).run();

    assert!(corelane.drain().starts_with("drain: new calls get 503"));
    let counters = corelane.stop();
    standing.complete();
    assert_eq!(gateway.stop().successful, u64::from(STANDING + MORE), "each callee got its BYE");
    assert_eq!(counters.node("ended_hung_up"), u64::from(STANDING));
    assert_eq!(counters.node("byes_sent"), 2 * u64::from(STANDING), "one to each side");
    assert_eq!(counters.node("calls_live"), 0);
}
