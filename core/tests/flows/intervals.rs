//! Session intervals longer than `default_timeout` (RFC 4028; SPEC §3 *Session timers*: "neither side supports it: no session timer,
//! `default_timeout` bounds the call"). Where one runs, a call that is refreshed as agreed goes on.

use std::time::Duration;

use corelane_core::call::EndReason;

use super::session::{answered, ends_after, refreshed};
use super::world::{CALLER, GATEWAY, World, settings};

/// What the caller's network wants at least is asked for, and counts; the refresh is due when half of it is over, and each starts it anew.
#[test]
fn an_interval_beyond_default_timeout_counts() {
    let mut world = World::new();
    let asked = ["Supported: timer", "Session-Expires: 7200", "Min-SE: 7200"];
    let call = answered(&mut world, "long", &asked, &[]);
    assert_eq!(call.forwarded.headers("Session-Expires"), ["7200"]);
    assert_eq!(call.ok.headers("Session-Expires"), ["7200;refresher=uac"]);
    assert!(world.advance(Duration::from_secs(3600)).is_empty(), "the refresh is due now");
    let said = ["Session-Expires: 7200;refresher=uac"];
    refreshed(&mut world, call.caller_sends("UPDATE", "long-2", 2), CALLER, &asked, &said);
    ends_after(&mut world, 7200, EndReason::SessionExpired);
    world.settle();
}

/// Also one that only the 2xx names.
#[test]
fn an_interval_of_the_callees_own_counts() {
    for (asked, said) in [
        (&[][..], "Session-Expires: 7200;refresher=uas"),
        (&["Supported: timer"], "Session-Expires: 7200;refresher=uac"),
        (&["Supported: timer", "Session-Expires: 600"], "Session-Expires: 7200;refresher=uas"),
    ] {
        let mut world = World::new();
        answered(&mut world, "uas", asked, &[said]);
        ends_after(&mut world, 7200, EndReason::SessionExpired);
        world.settle();
    }
}

/// A re-INVITE or UPDATE that makes it longer, from either side; the next one makes it short again, or ends it.
#[test]
fn a_refresh_makes_the_interval_longer() {
    for (method, from) in [("INVITE", CALLER), ("UPDATE", CALLER), ("UPDATE", GATEWAY)] {
        for (then, ends, reason) in [
            (&[][..], 7200, EndReason::SessionExpired),
            (&["Session-Expires: 2000;refresher=uac"], 2000, EndReason::SessionExpired),
            (&["X: no word of it"], 1800, EndReason::Expired),
        ] {
            let mut world = World::new();
            let call = answered(&mut world, "longer", &["Supported: timer", "Session-Expires: 600"], &[]);
            world.advance(Duration::from_secs(300));
            let request = match from {
                CALLER => call.caller_sends(method, "longer-2", 2),
                _ => call.callee_sends(method, "longer-2", 1),
            };
            let asked = ["Supported: timer", "Session-Expires: 7200"];
            refreshed(&mut world, request, from, &asked, &["Session-Expires: 7200;refresher=uac"]);
            if method == "INVITE" {
                world.deliver(CALLER, &call.caller_sends("ACK", "longer-2-ack", 2).text());
            }
            world.advance(Duration::from_secs(2000));
            let mut left = ends;
            match then {
                [] => left -= 2000,
                said => {
                    let asked = if said[0].starts_with('X') { &[][..] } else { &asked };
                    refreshed(&mut world, call.caller_sends("UPDATE", "longer-3", 3), CALLER, asked, said);
                }
            }
            ends_after(&mut world, left, reason);
            world.settle();
        }
    }
}

/// `bye_on_expiry` off: the session's end ends nothing, and `default_timeout` does not come before it either.
#[test]
fn without_bye_on_expiry_the_longer_of_both_bounds_the_call() {
    for (interval, ends) in [(7200, 7200), (600, 1800)] {
        let mut plain = settings();
        plain.policy.bye_on_expiry = false;
        let mut world = World::with(plain);
        answered(&mut world, "off", &[], &[&format!("Session-Expires: {interval};refresher=uas")]);
        ends_after(&mut world, ends, EndReason::Expired);
        world.settle();
    }
}

/// A callee who would keep the call for 136 years has it for a day.
#[test]
fn no_interval_keeps_a_call_longer_than_a_day() {
    let mut world = World::new();
    answered(&mut world, "ever", &[], &["Session-Expires: 4294967295;refresher=uas"]);
    ends_after(&mut world, 86_400, EndReason::Expired);
    world.settle();
}
