//! Many calls of every fate at once, through two real media nodes and under caps that they never reach; afterwards every slab is empty, no node has
//! a session, and no place under any cap is taken. `make soak` sets the count, `make test` runs 1/50 of it.
//!
//! No counter says how many places are taken, and none need be believed: at the end as many calls are held as each cap allows, and then one more is
//! refused.

use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use crate::corelane::{Corelane, Options, listener};
use crate::media::rtpengine::Rtpengine;
use crate::peer::{Message, Peer, Request};
use crate::process::wait_until;
use crate::sipp::Sipp;
use crate::site::{Site, Tables};
use crate::wire::Wire;
use crate::{claim, let_others_run, serial};

/// Calls in all where nothing else is asked for: 1/50 of a soak.
const CALLS: u32 = 2_000;

/// Calls a second of a soak, over all fates. SIPp on two cores is the limit, not Corelane.
const RATE: u32 = 400;

/// The same of the test, on a machine that may have other work to do.
const RATE_OF_TEST: u32 = 200;

/// Loss on the lossy paths, in percent of each direction.
const LOSS: u64 = 5;

/// A rate that no peer of these tests comes near, so that it is asked about and never refuses.
const CPS: u32 = 10_000;

/// What a provider's refusal for a cap says, and nobody else: 503 would be any trouble at all.
const CAPPED: u16 = 480;

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
    let (soaks, unrefreshed) = (soak.is_some(), u32::from(soak.is_some()));
    let (total, rate) =
        soak.map_or((CALLS, RATE_OF_TEST), |calls| (calls.parse().expect("CORELANE_SOAK_CALLS is a number"), RATE));
    let limit = Duration::from_secs(120 + u64::from(total * 3 / rate));
    let site = Site::new();
    let address = listener(&site);
    // A given-up gateway keeps its place for ten seconds, and a busy machine may stand still for five.
    let cap = |percent: u32| rate / 2 + 5 * rate * percent / 100;
    let nodes = [41, 42].map(|host| Rtpengine::start(&site, host));
    let tables = Tables::new(address, site.caller()).for_source("max_cps", CPS);
    let mut tables = nodes.iter().fold(tables, |tables, node| tables.media_node(node.address()));
    let (mut places, mut calls_of_all) = (Vec::new(), 0);
    let (mut served, mut lossy, mut silent, mut wires) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, (_, gateway, number, code, percent)) in (61..).zip(FATES) {
        let (at, then) = (site.address(place), site.address(place + 100));
        let serve = |scenario, at| Sipp::uas(&site, scenario, at).word("CODE", code).within(limit);
        let prefix = &number[..2];
        match gateway {
            Gateway::Serves(scenario) => {
                tables = tables.gateway(prefix, at);
                served.push(serve(scenario, at).start());
            }
            Gateway::AfterRefusal(scenario) => {
                tables = capped(tables.gateway(prefix, at), cap(percent)).then(then);
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
            Gateway::Nobody => continue,
        }
        tables = capped(tables, cap(percent)).for_carrier("max_calls", cap(percent)).for_carrier("max_cps", CPS);
        places.push((at, number, cap(percent)));
        calls_of_all += cap(percent);
    }
    tables = tables.provider("max_calls", calls_of_all).provider("max_cps", CPS).provider("refuse_code", CAPPED);
    let beside = site.address(22);
    tables = tables.gateway("55", beside);
    let options = Options {
        fr_timer_ms: 4_000,
        noack_timeout_ms: 3_000,
        default_timeout_s: 5,
        media_deadline_ms: 8_000,
        calls_max: 2 * calls_of_all,
        ..Options::default()
    };
    let mut corelane = Corelane::start(&site, &tables, &options);
    let unrefreshed_call = soaks.then(|| Unrefreshed::start(&site, address, beside));
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
    if let Some(call) = unrefreshed_call {
        call.end();
    }
    let_others_run();
    let counters = corelane.await_empty();
    nodes.iter().for_each(|node| node.await_sessions(0));
    drop((lossy, wires, silent));
    let exact = [
        ("rejected_404", share(UNROUTED)),
        ("hunts", share(HUNTED)),
        ("full", 0),
        ("rejected_503", 0),
        ("provider_capped", 0),
        ("address_capped", 0),
        ("candidate_capped", 0),
        ("media_failed", 0),
        ("ended_session_expired", unrefreshed),
    ];
    for (name, value) in exact {
        assert_eq!(counters.node(name), u64::from(value), "{name}");
    }
    // Over the lossy paths a call may end in any of these ways.
    let answered =
        [NO_ACK, NO_BYE, HUNTED, HUNG_UP, REFRESHED, PLAIN].into_iter().map(share).sum::<u32>() + unrefreshed;
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
    // Exchanges of the plain calls alone: each has an offer and an answer.
    let exchanges = counters.node("media_done");
    assert!(exchanges >= u64::from(2 * share(PLAIN)), "{exchanges} exchanges");

    claim();
    every_place_is_free(&site, address, &places);
    let counters = corelane.stop_empty();
    let refused = (counters.node("provider_capped"), counters.node("candidate_capped"));
    // At the last gateway the provider has no place left either, and nobody looks at gateways; one of the numbers has two of them.
    assert_eq!(refused, (1, places.len() as u64), "caps that refused the one call more");
}

/// A call with a session timer that nobody refreshes. No legal interval is shorter than 90 s (RFC 4028 §4), so a soak has the time for it, and
/// `make test` has not.
struct Unrefreshed {
    caller: Peer,
    gateway: Peer,
}

impl Unrefreshed {
    fn start(site: &Site, corelane: SocketAddr, place: SocketAddr) -> Unrefreshed {
        let (caller, gateway) = (Peer::new(site.caller(), corelane), Peer::at(place, corelane));
        let invite = caller.request("INVITE", "5512345").add("Supported: timer");
        caller.send(invite.text());
        let received = gateway.receive_request(invite.call_id(), "INVITE", 1);
        let agreed = ["Require: timer", "Session-Expires: 90;refresher=uac"];
        gateway.send(received.answer_with("200 OK", place, &agreed, ""));
        let dialog = caller.answered(invite);
        gateway.receive_request(dialog.call_id(), "ACK", 1);
        Unrefreshed { caller, gateway }
    }

    /// Waits for the BYE both ways: `default_timeout`, which is shorter, did not end the call.
    fn end(self) {
        let is_bye = |message: &Message| message.text().starts_with("BYE ");
        for peer in [&self.caller, &self.gateway] {
            let came = || peer.all_waiting().into_iter().find(is_bye);
            let bye = wait_until("Corelane ends the session", Duration::from_secs(180), came);
            assert!(bye.header("Reason").is_some_and(|reason| reason.starts_with("Q.850;cause=102")), "{}", bye.text());
            peer.send(bye.answer("200 OK", peer.address()));
        }
    }
}

/// Caps the gateway added last.
fn capped(tables: Tables, calls: u32) -> Tables {
    tables.for_gateway("max_calls", calls).for_gateway("max_cps", CPS)
}

/// Rings as many calls at each gateway as its cap and its carrier's allow, all together as many as the provider's: each finds its place, and one
/// more at each finds none.
fn every_place_is_free(site: &Site, corelane: SocketAddr, places: &[(SocketAddr, &str, u32)]) {
    let caller = Peer::new(site.caller(), corelane);
    let mut ringing: Vec<(Peer, Vec<(Request, Message)>)> = Vec::new();
    for &(place, number, cap) in places {
        let gateway = Peer::at(place, corelane);
        let ring = |_| {
            let invite = caller.request("INVITE", number);
            caller.send(invite.text());
            let received = gateway.receive_request(invite.call_id(), "INVITE", 1);
            gateway.send(received.answer("180 Ringing", place));
            (invite, received)
        };
        let calls = (0..cap).map(ring).collect();
        assert_eq!(caller.try_call(number).err(), Some(CAPPED), "a call above {cap} for {number}");
        ringing.push((gateway, calls));
    }
    for (gateway, calls) in &ringing {
        for (invite, received) in calls {
            gateway.send(received.answer("486 Busy Here", gateway.address()));
            let refusal = caller.receive_final(invite);
            assert_eq!(refusal.code(), Some(486), "{}", refusal.text());
            caller.send(invite.ack(&refusal).text());
        }
    }
}
