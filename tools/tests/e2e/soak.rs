//! Many calls of every outcome at once; afterwards every slab is empty. `make soak` sets the count, `make test` runs 1/50 of it.

use std::env;
use std::time::Duration;

use crate::corelane::{Corelane, Options, listener};
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};

/// Calls in all where nothing else is asked for: 1/50 of a soak.
const CALLS: u32 = 2_000;

/// Calls a second, over all outcomes. SIPp on two cores is the limit, not Corelane.
const RATE: u32 = 400;

/// Outcome by outcome: caller, gateway (none: Corelane refuses), number, code, percent of all calls.
const MIX: [(&str, Option<&str>, &str, u16, u32); 6] = [
    ("uac_basic", Some("uas_basic"), "4912345", 0, 50),
    ("uac_hungup", Some("uas_hangs_up"), "3312345", 0, 10),
    ("uac_reinvite", Some("uas_reinvite"), "3412345", 0, 5),
    ("uac_refused", Some("uas_refuses"), "4412345", 486, 15),
    ("uac_cancel", Some("uas_cancelled"), "3912345", 0, 10),
    ("uac_refused", None, "7712345", 404, 10),
];

#[test]
fn slabs_are_empty_after_calls_of_mixed_outcome() {
    let _serial = serial();
    let total =
        env::var("CORELANE_SOAK_CALLS").map_or(CALLS, |calls| calls.parse().expect("CORELANE_SOAK_CALLS is a number"));
    let limit = Duration::from_secs(60 + u64::from(total * 3 / RATE));
    let site = Site::new();
    let address = listener(&site);
    let mut tables = Tables::new(address, site.caller());
    let mut gateways = Vec::new();
    for (place, (_, gateway, number, code, _)) in (21..).zip(MIX) {
        if let Some(scenario) = gateway {
            let at = site.address(place);
            tables = tables.gateway(&number[..2], at);
            gateways.push(Sipp::uas(&site, scenario, at).word("CODE", code).within(limit).start());
        }
    }
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let callers = MIX.map(|(caller, _, number, code, percent)| {
        let caller = Sipp::uac(&site, caller, site.caller(), address).word("CODE", code).dial(&[number]);
        caller.calls(total * percent / 100, RATE * percent / 100).within(limit).start()
    });
    for caller in callers {
        caller.complete();
    }
    for gateway in gateways {
        gateway.stop();
    }
    let counters = corelane.stop_empty();
    let share = |percent: u32| u64::from(total * percent / 100);
    assert_eq!(counters.node("calls_answered"), share(50) + share(10) + share(5));
    assert_eq!(counters.node("rejected_404"), share(10));
    assert_eq!(counters.node("full") + counters.node("rejected_503"), 0, "the budget was large enough");
}
