//! Session timers (RFC 4028) as SPEC §3 *Session timers* has them, and Max-Breadth (RFC 5393 §5.3.3). The tables of
//! `core/src/call/session.rs` are tested there row by row; here is what peers see of them.

use std::time::Duration;

use corelane_core::call::EndReason;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::{Counter, Settings};

use super::world::{Answered, CALLER, GATEWAY, Request, Sent, World, invite, ladder, response, settings};

/// The other gateway of [`two_gateways`].
const SECOND: &str = "198.51.100.21:5060";
const CONTACT: &str = "Contact: <sip:bob@198.51.100.20>";

pub(super) fn invite_with(call: &str, lines: &[&str]) -> Request {
    let mut request = invite("4930123456", call);
    request.extra.extend(lines.iter().map(|&line| line.to_owned()));
    request
}

/// INVITE with these lines, 200 with those, ACK.
pub(super) fn answered(world: &mut World, call: &str, asked: &[&str], said: &[&str]) -> Answered {
    let invite = invite_with(call, asked);
    let sent = world.deliver(CALLER, &invite.text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")]);
    let forwarded = sent[1].clone();
    let lines = [said, &[CONTACT]].concat();
    let sent = world.deliver(GATEWAY, &response(&forwarded, 200, "callee", &lines));
    assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
    let answered = Answered { invite, forwarded, ok: sent[0].clone() };
    let ack = answered.caller_sends("ACK", &format!("{call}-ack"), 1);
    assert_eq!(ladder(&world.deliver(CALLER, &ack.text())), [format!("{GATEWAY} ACK")]);
    answered
}

/// A refresh of one side, answered by the other; the request and the 2xx as they arrive.
pub(super) fn refreshed(
    world: &mut World,
    mut request: Request,
    from: &str,
    asked: &[&str],
    said: &[&str],
) -> (Sent, Sent) {
    let to = if from == CALLER { GATEWAY } else { CALLER };
    request.extra.extend(asked.iter().map(|&line| line.to_owned()));
    let sent = world.deliver(from, &request.text());
    let forwarded = sent.iter().find(|sent| sent.to == to).expect("forwarded").clone();
    let sent = world.deliver(to, &response(&forwarded, 200, "", said));
    assert_eq!(ladder(&sent), [format!("{from} 200")]);
    (forwarded, sent[0].clone())
}

/// Nothing happens for `quiet` seconds; half a second later Corelane has ended the call.
pub(super) fn ends_after(world: &mut World, quiet: u64, reason: EndReason) {
    let sent = world.advance(Duration::from_millis(quiet * 1000 - 500));
    let byes = ladder(&sent).iter().filter(|line| line.ends_with("BYE")).count();
    assert_eq!(byes, 0, "no BYE before {quiet} s");
    let sent = world.advance(Duration::from_millis(900));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} BYE"), format!("{CALLER} BYE")], "after {quiet} s");
    assert_eq!(sent[0].header("Reason"), "Q.850;cause=102");
    assert_eq!(world.last_record().reason, reason);
}

/// Two gateways behind one number, and a provider with limits of his own.
fn two_gateways(session_expires: Option<u32>, min_se: Option<u32>) -> ImageBytes {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    let provider = builder.provider("acme", 1);
    builder.address(provider, CALLER.split(':').next().expect("an address"));
    builder.edit_provider(provider, |record| {
        record.session_expires_s = session_expires;
        record.min_se_s = min_se;
    });
    let (first, second) = (builder.gateway("first", GATEWAY), builder.gateway("second", SECOND));
    let carrier = builder.carrier("both", &[first, second]);
    builder.route(1, "49", carrier);
    builder.finish()
}

/// "422 only to an initial request with `Supported: timer`" (RFC 4028 §6, §8.1).
#[test]
fn too_small_an_interval_is_refused_where_that_helps() {
    let mut world = World::new();
    for (call, line) in [("small", "Session-Expires: 60"), ("one", "Session-Expires: 1;refresher=uac"), ("x", "x: 0")] {
        let request = invite_with(call, &["Supported: 100rel, timer", line]);
        let sent = world.deliver(CALLER, &request.text());
        assert_eq!(ladder(&sent), [format!("{CALLER} 422")], "{line}");
        assert_eq!(sent[0].header("Min-SE"), "90");
        assert!(world.deliver(CALLER, &request.hop("ACK").text()).is_empty());
    }
    assert_eq!(world.count(Counter::Rejected422), 3);
    assert_eq!(world.count(Counter::CallsStarted), 0);
    world.settle();
}

/// "Otherwise raise Min-SE and Session-Expires; never below Min-SE."
#[test]
fn others_are_raised() {
    for (asked, expires, min_se) in [
        (&["Session-Expires: 60;refresher=uas"][..], "90;refresher=uas", Some("90")),
        (&["Session-Expires: 60", "Min-SE: 200"], "200", Some("200")),
        (&["Supported: timer", "Session-Expires: 100", "Min-SE: 300"], "300", Some("300")),
        (&["Supported: timer", "Session-Expires: 9000;refresher=uac"], "1800;refresher=uac", None),
        (&["Supported: timer", "Session-Expires: 9000", "Min-SE: 3600"], "3600", Some("3600")),
        (&["Supported: timer", "Session-Expires: 4", "Session-Expires: 5"], "", None),
        (&["Supported: timer", "Session-Expires: soon", "x: later"], "1800", None),
        (&["Session-Expires: soon"], "soon", None),
        (&["Supported: timer"], "1800", None),
    ] {
        let mut world = World::new();
        let sent = world.deliver(CALLER, &invite_with("raise", asked).text());
        if expires.is_empty() {
            assert_eq!(ladder(&sent), [format!("{CALLER} 422")], "the first of two counts");
            continue;
        }
        let forwarded = &sent[1];
        assert_eq!(forwarded.headers("Session-Expires"), [expires], "{asked:?}");
        assert_eq!(forwarded.headers("x"), [""; 0], "{asked:?}");
        assert_eq!(forwarded.headers("Min-SE"), min_se.into_iter().collect::<Vec<_>>(), "{asked:?}");
        assert!(forwarded.text.ends_with("\r\n\r\nv=0\r\n"), "the body stays");
        world.settle();
    }
    let mut world = World::new();
    let sent = world.deliver(CALLER, &invite("4930123456", "none").text());
    assert_eq!(sent[1].headers("Session-Expires"), [""; 0], "nobody spoke of session timers");
    world.settle();
}

/// The provider's limits go before the node's; an interval never is longer than `default_timeout`.
#[test]
fn limits_are_the_providers_or_the_nodes() {
    let interval = |settings: Settings, image: ImageBytes| {
        let mut world = World::with(settings).with_routing(image);
        let sent = world.deliver(CALLER, &invite_with("limit", &["Supported: timer"]).text());
        sent[1].header("Session-Expires").to_owned()
    };
    let mut node = settings();
    node.timers.session_expires = Duration::from_secs(1200);
    assert_eq!(interval(node.clone(), two_gateways(None, None)), "1200");
    assert_eq!(interval(node.clone(), two_gateways(Some(700), None)), "700");
    assert_eq!(interval(node.clone(), two_gateways(Some(700), Some(800))), "800");
    node.timers.default_timeout = Duration::from_secs(600);
    assert_eq!(interval(node, two_gateways(None, None)), "600");
    let mut world = World::routed_by(two_gateways(None, Some(120)));
    let sent = world.deliver(CALLER, &invite_with("p", &["Supported: timer", "Session-Expires: 100"]).text());
    assert_eq!((sent[0].status(), sent[0].header("Min-SE")), (422, "120"));
}

/// "When the 2xx has no Session-Expires and the caller supports timer, insert it with `refresher=uac` and `Require: timer`", in the
/// repeated 2xx as well; the call then lives by that interval.
#[test]
fn a_2xx_without_is_completed() {
    let mut world = World::new();
    let asked = ["Supported: timer", "Session-Expires: 600"];
    let call = answered(&mut world, "insert", &asked, &["Require: 100rel"]);
    assert_eq!(call.ok.headers("Session-Expires"), ["600;refresher=uac"]);
    assert_eq!(call.ok.headers("Require"), ["100rel", "timer"]);
    let again = world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &["Require: 100rel", CONTACT]));
    assert_eq!(again[0].text, call.ok.text, "the repeated 2xx is the same");
    ends_after(&mut world, 600, EndReason::SessionExpired);
    world.settle();
}

/// An unreadable Session-Expires in a 2xx is as none.
#[test]
fn a_2xx_with_garbage_is_mended_or_ignored() {
    let mut world = World::new();
    let call = answered(&mut world, "mend", &["Supported: timer"], &["Session-Expires: 10 minutes;refresher=uas"]);
    assert_eq!(call.ok.headers("Session-Expires"), ["1800;refresher=uac"]);
    world.settle();
    let mut world = World::new();
    let call = answered(&mut world, "ignore", &[], &["Session-Expires: \"90\";refresher=uas"]);
    assert_eq!(call.ok.headers("Session-Expires"), ["\"90\";refresher=uas"], "it goes on as it came");
    ends_after(&mut world, 1800, EndReason::Expired);
    world.settle();
}

/// "Neither side supports it: no session timer, `default_timeout` bounds the call"; nor where the one who should refresh cannot.
#[test]
fn without_a_session_timer_default_timeout_bounds_the_call() {
    for (asked, said) in [
        (&[][..], &[][..]),
        (&["Session-Expires: 300"], &[]),
        (&["Session-Expires: 300"], &["Session-Expires: 300;refresher=uac"]),
        (&["Supported: replaces"], &["Session-Expires: 300"]),
    ] {
        let mut world = World::new();
        let call = answered(&mut world, "plain", asked, said);
        assert_eq!(call.ok.headers("Session-Expires").len(), said.len(), "nothing is inserted");
        ends_after(&mut world, 1800, EndReason::Expired);
        world.settle();
    }
}

/// A callee who refreshes by himself, though the caller knows nothing of it.
#[test]
fn the_callee_alone_keeps_the_session() {
    let mut world = World::new();
    let call = answered(&mut world, "uas", &[], &["Session-Expires: 300;refresher=uas"]);
    world.advance(Duration::from_secs(150));
    let asked = ["Supported: timer", "Session-Expires: 300;refresher=uac"];
    let (_, ok) = refreshed(&mut world, call.callee_sends("UPDATE", "uas-2", 1), GATEWAY, &asked, &[]);
    assert_eq!(ok.header("Session-Expires"), "300;refresher=uac", "the callee asked this time");
    ends_after(&mut world, 300, EndReason::SessionExpired);
    world.settle();
}

/// Refreshes of both sides, by re-INVITE and UPDATE, restart the session and may change its interval.
#[test]
fn refreshes_of_both_sides_keep_it() {
    let mut world = World::new();
    let said = ["Session-Expires: 600;refresher=uac", "Require: timer"];
    let call = answered(&mut world, "both", &["Supported: timer", "Session-Expires: 600"], &said);
    assert_eq!(call.ok.headers("Session-Expires"), ["600;refresher=uac"], "as the callee said it");
    world.advance(Duration::from_secs(500));
    let asked = ["Supported: timer", "Session-Expires: 600;refresher=uac"];
    refreshed(&mut world, call.caller_sends("INVITE", "both-2", 2), CALLER, &asked, &said);
    world.deliver(CALLER, &call.caller_sends("ACK", "both-2-ack", 2).text());
    world.advance(Duration::from_secs(500));
    refreshed(&mut world, call.callee_sends("UPDATE", "both-3", 1), GATEWAY, &asked, &said);
    world.advance(Duration::from_secs(500));
    let shorter = ["Session-Expires: 200;refresher=uas", "Require: timer"];
    refreshed(&mut world, call.caller_sends("UPDATE", "both-4", 3), CALLER, &asked, &shorter);
    ends_after(&mut world, 200, EndReason::SessionExpired);
    world.settle();
}

/// A refresh that is refused refreshes nothing.
#[test]
fn a_refused_refresh_does_not_count() {
    let mut world = World::new();
    let said = ["Session-Expires: 600;refresher=uac"];
    let call = answered(&mut world, "491", &["Supported: timer", "Session-Expires: 600"], &said);
    world.advance(Duration::from_secs(500));
    let sent = world.deliver(CALLER, &call.caller_sends("UPDATE", "491-2", 2).text());
    world.deliver(GATEWAY, &response(&sent[0], 491, "", &[]));
    ends_after(&mut world, 100, EndReason::SessionExpired);
    world.settle();
}

/// "A mid-dialog refresh with too small a value is tracked, not refused"; no interval ends the call sooner than `min_se`.
#[test]
fn a_wrong_refresh_is_tracked() {
    let mut world = World::new();
    let call = answered(&mut world, "wrong", &["Supported: timer", "Session-Expires: 600"], &[]);
    let asked = ["Supported: timer", "Session-Expires: 1;refresher=uac"];
    let (forwarded, ok) = refreshed(&mut world, call.caller_sends("INVITE", "wrong-2", 2), CALLER, &asked, &[]);
    assert_eq!(forwarded.headers("Session-Expires"), ["1;refresher=uac"], "as it came");
    assert_eq!(forwarded.headers("Min-SE"), [""; 0]);
    assert_eq!(ok.headers("Session-Expires"), ["1;refresher=uac"], "what was asked (§8.2)");
    world.deliver(CALLER, &call.caller_sends("ACK", "wrong-2-ack", 2).text());
    ends_after(&mut world, 90, EndReason::SessionExpired);
    world.settle();
}

/// `Session-Expires: 1` of a callee.
#[test]
fn a_callee_who_says_one_second() {
    let mut world = World::new();
    let said = ["Session-Expires: 1;refresher=uac"];
    let call = answered(&mut world, "second", &["Supported: timer", "Session-Expires: 600"], &said);
    assert_eq!(call.ok.headers("Session-Expires"), ["1;refresher=uac"]);
    ends_after(&mut world, 90, EndReason::SessionExpired);
    world.settle();
}

/// A re-INVITE whose 2xx has no Session-Expires and to which none can be given turns the session timer off (RFC 4028 §7.2, §10).
#[test]
fn a_refresh_without_a_word_of_it_turns_it_off() {
    for asked in [&[][..], &["Supported: timer"], &["Session-Expires: 600"], &["Supported: timer", "x: garbage"]] {
        let mut world = World::new();
        let call = answered(&mut world, "off", &["Supported: timer", "Session-Expires: 600"], &[]);
        world.advance(Duration::from_secs(100));
        let (_, ok) = refreshed(&mut world, call.caller_sends("UPDATE", "off-2", 2), CALLER, asked, &[]);
        assert_eq!(ok.headers("Session-Expires"), [""; 0], "{asked:?}");
        ends_after(&mut world, 1800, EndReason::Expired);
        world.settle();
    }
}

/// An INFO is no refresh, whatever it carries.
#[test]
fn only_invite_and_update_refresh() {
    let mut world = World::new();
    let call = answered(&mut world, "info", &["Supported: timer", "Session-Expires: 600"], &[]);
    world.advance(Duration::from_secs(500));
    let asked = ["Supported: timer", "Session-Expires: 600"];
    let (_, ok) = refreshed(&mut world, call.caller_sends("INFO", "info-2", 2), CALLER, &asked, &[]);
    assert_eq!(ok.headers("Session-Expires"), [""; 0]);
    ends_after(&mut world, 100, EndReason::SessionExpired);
    world.settle();
}

/// The session began with the 2xx, however late its ACK.
#[test]
fn the_interval_runs_from_the_2xx() {
    let mut world = World::new();
    let invite = invite_with("late", &["Supported: timer", "Session-Expires: 100"]);
    let forwarded = world.deliver(CALLER, &invite.text())[1].clone();
    let ok = world.deliver(GATEWAY, &response(&forwarded, 200, "callee", &[CONTACT]))[0].clone();
    world.advance(Duration::from_secs(30));
    let call = Answered { invite, forwarded, ok };
    world.deliver(CALLER, &call.caller_sends("ACK", "late-ack", 1).text());
    ends_after(&mut world, 70, EndReason::SessionExpired);
    world.settle();
}

/// `bye_on_expiry` off: carried, without effect.
#[test]
fn without_bye_on_expiry_nothing_is_ended() {
    let mut plain = settings();
    plain.policy.bye_on_expiry = false;
    let mut world = World::with(plain);
    let call = answered(&mut world, "carried", &["Supported: timer", "Session-Expires: 600"], &[]);
    assert_eq!(call.ok.headers("Session-Expires"), ["600;refresher=uac"]);
    ends_after(&mut world, 1800, EndReason::Expired);
    world.settle();
}

/// "A downstream 422 goes upstream", and ends the hunt: only the caller can raise his interval.
#[test]
fn a_422_of_a_gateway_goes_upstream() {
    let mut world = World::routed_by(two_gateways(None, None));
    let asked = ["Supported: timer", "Session-Expires: 300"];
    let forwarded = world.deliver(CALLER, &invite_with("up", &asked).text())[1].clone();
    let sent = world.deliver(&forwarded.to, &response(&forwarded, 422, "t", &["Min-SE: 900"]));
    assert_eq!(ladder(&sent), [format!("{} ACK", forwarded.to), format!("{CALLER} 422")]);
    assert_eq!(sent[1].header("Min-SE"), "900");
    assert_eq!(world.count(Counter::Attempts), 1);
    // The caller comes again with what the gateway wants.
    let mut again = invite_with("up", &["Supported: timer", "Session-Expires: 900", "Min-SE: 900"]);
    again.via = again.via.replace("up-1", "up-2");
    again.cseq = 2;
    let sent = world.deliver(CALLER, &again.text());
    assert_eq!(sent.last().expect("forwarded").header("Session-Expires"), "900");
    world.settle();
}

/// Every gateway of the hunt is asked the same, from the INVITE as it came.
#[test]
fn each_gateway_is_asked_the_same() {
    let mut world = World::routed_by(two_gateways(None, None));
    let asked = ["Session-Expires: 60;refresher=uas", "Max-Breadth: 7"];
    let first = world.deliver(CALLER, &invite_with("same", &asked).text())[1].clone();
    let other = if first.to == GATEWAY { SECOND } else { GATEWAY };
    let sent = world.deliver(&first.to, &response(&first, 503, "t", &[]));
    let second = sent.iter().find(|sent| sent.to == other).expect("the next gateway");
    for name in ["Session-Expires", "Min-SE", "Max-Breadth"] {
        assert_eq!(second.headers(name), first.headers(name), "{name}");
    }
    assert_eq!(second.headers("Session-Expires"), ["90;refresher=uas"]);
    assert_eq!(second.headers("Max-Breadth"), ["7"], "the second has all of what the first gave back");
    let ok = response(second, 200, "callee", &["Session-Expires: 90;refresher=uas"]);
    assert_eq!(ladder(&world.deliver(other, &ok)), [format!("{CALLER} 200")]);
    world.settle();
}

/// RFC 5393 §5.3.3: none becomes 60, more than 60 becomes 60, 0 is refused with 440.
#[test]
fn max_breadth() {
    for (lines, expected) in [
        (&[][..], "60"),
        (&["Max-Breadth: 1"], "1"),
        (&["Max-Breadth: 60"], "60"),
        (&["Max-Breadth: 61"], "60"),
        (&["Max-Breadth: many"], "60"),
        (&["Max-Breadth: 9", "Max-Breadth: 8"], "60"),
    ] {
        let mut world = World::new();
        let sent = world.deliver(CALLER, &invite_with("breadth", lines).text());
        assert_eq!(sent[1].headers("Max-Breadth"), [expected], "{lines:?}");
        world.settle();
    }
    let mut world = World::new();
    let sent = world.deliver(CALLER, &invite_with("zero", &["Max-Breadth: 0"]).text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 440")]);
    let call = answered(&mut world, "inside", &[], &[]);
    assert_eq!(world.count(Counter::Rejected440), 1);
    let mut update = call.caller_sends("UPDATE", "inside-2", 2);
    let forwarded = world.deliver(CALLER, &update.text());
    assert_eq!(forwarded[0].headers("Max-Breadth"), ["60"]);
    update.via.push('0');
    update.cseq = 3;
    update.extra.push("Max-Breadth: 0".into());
    assert_eq!(ladder(&world.deliver(CALLER, &update.text())), [format!("{CALLER} 440")]);
    world.settle();
}

/// RFC 4028 §10: a session is as long as it was when its 2xx came first, however often that is repeated.
#[test]
fn a_repeated_2xx_refreshes_nothing() {
    let mut world = World::new();
    let call =
        answered(&mut world, "again", &["Supported: timer", "Session-Expires: 1800"], &["Session-Expires: 1800"]);
    let mut again = call.caller_sends("INVITE", "again-re", 2);
    again.extra.extend(["Supported: timer".into(), "Session-Expires: 100".into()]);
    let sent = world.deliver(CALLER, &again.text());
    let ok = response(&sent[1], 200, "", &["Session-Expires: 100;refresher=uac", CONTACT]);
    assert_eq!(ladder(&world.deliver(GATEWAY, &ok)), [format!("{CALLER} 200")]);
    world.advance(Duration::from_secs(20));
    assert_eq!(ladder(&world.deliver(GATEWAY, &ok)), [format!("{CALLER} 200")]);
    ends_after(&mut world, 80, EndReason::SessionExpired);
    world.settle();
}
