//! Many calls of every fate at once; afterwards every slab is empty. `make soak` sets the count, `make test` runs 1/50 of it.

use std::env;
use std::time::Duration;

use crate::corelane::{Corelane, Options, listener};
use crate::peer::Peer;
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};
use crate::wire::Wire;

/// Calls in all where nothing else is asked for: 1/50 of a soak.
const CALLS: u32 = 2_000;

/// Calls a second of a soak, over all fates. SIPp on two cores is the limit, not Corelane.
const RATE: u32 = 400;

/// The same of the test, on a machine that may have other work to do.
const RATE_OF_TEST: u32 = 200;

/// Loss on the lossy paths, in percent of each direction.
const LOSS: u64 = 5;

/// What is at the other end of a fate's route.
#[derive(Copy, Clone)]
enum Gateway {
    /// A SIPp with this scenario.
    Serves(&'static str),
    /// A gateway that answers 503, then one with this scenario.
    AfterRefusal(&'static str),
    /// Same as `Serves`; both sides of the call lose datagrams.
    Lossy(&'static str),
    /// One that reads nothing.
    Silent,
    /// There is no route.
    Nobody,
}

/// One kind of call: caller's scenario, gateway, number, code, percent of all calls.
type Fate = (&'static str, Gateway, &'static str, u16, u32);

const NO_ACK: Fate = ("uac_no_ack", Gateway::Serves("uas_basic"), "5012345", 0, 4);
const NO_BYE: Fate = ("uac_hungup", Gateway::Serves("uas_basic"), "5112345", 0, 4);
const SILENT: Fate = ("uac_refused", Gateway::Silent, "5212345", 408, 4);
const HUNTED: Fate = ("uac_basic", Gateway::AfterRefusal("uas_basic"), "5312345", 503, 5);
const LOSSY: Fate = ("uac_basic", Gateway::Lossy("uas_basic"), "5412345", 0, 2);
const CANCELLED: Fate = ("uac_cancel", Gateway::Serves("uas_cancelled"), "3912345", 0, 8);
const UNROUTED: Fate = ("uac_refused", Gateway::Nobody, "7712345", 404, 8);
const REFUSED: Fate = ("uac_refused", Gateway::Serves("uas_refuses"), "4412345", 486, 12);
const HUNG_UP: Fate = ("uac_hungup", Gateway::Serves("uas_hangs_up"), "3312345", 0, 8);
const REFRESHED: Fate = ("uac_reinvite", Gateway::Serves("uas_reinvite"), "3412345", 0, 5);
const PLAIN: Fate = ("uac_basic", Gateway::Serves("uas_basic"), "4912345", 0, 40);

const FATES: [Fate; 11] =
    [NO_ACK, NO_BYE, SILENT, HUNTED, LOSSY, CANCELLED, UNROUTED, REFUSED, HUNG_UP, REFRESHED, PLAIN];

#[test]
fn slabs_are_empty_after_calls_of_every_fate() {
    let _serial = serial();
    assert_eq!(FATES.iter().map(|(.., percent)| percent).sum::<u32>(), 100);
    let soak = env::var("CORELANE_SOAK_CALLS").ok();
    let (total, rate) =
        soak.map_or((CALLS, RATE_OF_TEST), |calls| (calls.parse().expect("CORELANE_SOAK_CALLS is a number"), RATE));
    let limit = Duration::from_secs(120 + u64::from(total * 3 / rate));
    let site = Site::new();
    let address = listener(&site);
    let mut tables = Tables::new(address, site.caller());
    let (mut served, mut lossy, mut silent, mut wires) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, (_, gateway, number, code, _)) in (21..).zip(FATES) {
        let (at, then) = (site.address(place), site.address(place + 100));
        let serve = |scenario, at| Sipp::uas(&site, scenario, at).word("CODE", code).within(limit);
        let prefix = &number[..2];
        match gateway {
            Gateway::Serves(scenario) => {
                tables = tables.gateway(prefix, at);
                served.push(serve(scenario, at).start());
            }
            Gateway::AfterRefusal(scenario) => {
                tables = tables.gateway(prefix, at).then(then);
                served.extend([serve("uas_refuses", at).start(), serve(scenario, then).start()]);
            }
            Gateway::Lossy(scenario) => {
                tables = tables.gateway(prefix, at);
                let gateway = serve(scenario, then).patient();
                wires.push(Wire::new(at, then.ip(), LOSS, 1).connect(gateway.local(), address));
                lossy.push(gateway.start());
            }
            Gateway::Silent => {
                tables = tables.gateway(prefix, at);
                silent.push(Peer::at(at, address));
            }
            Gateway::Nobody => {}
        }
    }
    let options = Options { fr_timer_ms: 4_000, noack_timeout_ms: 3_000, default_timeout_s: 5, ..Options::default() };
    let corelane = Corelane::start(&site, &tables, &options);
    let share = |(.., percent): Fate| total * percent / 100;
    let callers = FATES.map(|fate| {
        let (caller, gateway, number, code, percent) = fate;
        let place = |caller: Sipp| {
            caller.word("CODE", code).dial(&[number]).calls(share(fate), rate * percent / 100).within(limit)
        };
        if matches!(gateway, Gateway::Lossy(_)) {
            let wire = Wire::new(site.address(10), site.host(11), LOSS, 2);
            let caller = place(Sipp::uac(&site, caller, site.host(12), wire.outer())).patient();
            wires.push(wire.connect(caller.local(), address));
            (caller.start(), true)
        } else {
            (place(Sipp::uac(&site, caller, site.caller(), address)).start(), false)
        }
    });
    for (caller, loses) in callers {
        // Over a lossy path a call may go wrong for SIPp; what must not is Corelane's ledger.
        if loses {
            caller.end()
        } else {
            caller.complete()
        };
    }
    for gateway in served {
        gateway.stop();
    }
    let counters = corelane.stop_empty();
    drop(lossy);
    let exact = [("rejected_404", share(UNROUTED)), ("hunts", share(HUNTED)), ("full", 0), ("rejected_503", 0)];
    for (name, value) in exact {
        assert_eq!(counters.node(name), u64::from(value), "{name}");
    }
    // Over the lossy paths a call may end in any of these ways.
    let answered = [NO_ACK, NO_BYE, HUNTED, HUNG_UP, REFRESHED, PLAIN].into_iter().map(share).sum();
    let at_least = [
        ("calls_answered", answered),
        ("rejected_408", share(SILENT)),
        ("ended_cancelled", share(CANCELLED)),
        ("ended_unacknowledged", share(NO_ACK)),
        ("ended_expired", share(NO_BYE)),
        ("ended_by_callee", share(HUNG_UP)),
        ("ended_by_caller", share(PLAIN) + share(REFRESHED) + share(HUNTED)),
    ];
    for (name, least) in at_least {
        let value = counters.node(name);
        let most = u64::from(least + share(LOSSY));
        assert!((u64::from(least)..=most).contains(&value), "{name}: {value}, {least} without the lossy paths");
    }
}
