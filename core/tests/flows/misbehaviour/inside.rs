//! Requests inside a dialog that come too early, twice, crossed, from elsewhere, or by another way.

use std::time::Duration;

use corelane_core::Counter;
use corelane_core::call::EndReason;

use crate::hangup::hang_up_all;
use crate::world::{
    Answered, CALLER, FAR_GATEWAY, GATEWAY, STRANGER, World, answered, invite, ladder, response, ringing,
    unacknowledged,
};

/// RFC 3261 §15: the caller may, the callee should have waited. Either way the call ends, and the ACK that comes then is for nobody.
#[test]
fn a_bye_before_the_ack() {
    for by_caller in [true, false] {
        let mut world = World::new();
        let call = unacknowledged(&mut world, "hasty");
        let (bye, from, to, reason) = if by_caller {
            (call.caller_sends("BYE", "hasty-bye", 2), CALLER, GATEWAY, EndReason::ByCaller)
        } else {
            (call.callee_sends("BYE", "hasty-bye", 1), GATEWAY, CALLER, EndReason::ByCallee)
        };
        let sent = world.deliver(from, &bye.text());
        assert_eq!(ladder(&sent), [format!("{to} BYE")]);
        assert_eq!(ladder(&world.deliver(to, &response(&sent[0], 200, "", &[]))), [format!("{from} 200")]);
        assert_eq!(world.last_record().reason, reason);
        assert!(world.deliver(CALLER, &call.caller_sends("ACK", "hasty-ack", 1).text()).is_empty());
        assert_eq!(world.count(Counter::StrayAcks), 1);
        world.settle();
    }
}

/// RFC 3261 §15: both hang up at once. Each BYE passes and gets its answer; the call ends once.
#[test]
fn two_byes_that_cross() {
    let mut world = World::new();
    let call = answered(&mut world, "cross");
    let down = world.deliver(CALLER, &call.caller_sends("BYE", "cross-down", 2).text());
    let up = world.deliver(GATEWAY, &call.callee_sends("BYE", "cross-up", 1).text());
    assert_eq!((ladder(&down), ladder(&up)), (vec![format!("{GATEWAY} BYE")], vec![format!("{CALLER} BYE")]));
    assert_eq!(ladder(&world.deliver(CALLER, &response(&up[0], 200, "", &[]))), [format!("{GATEWAY} 200")]);
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&down[0], 200, "", &[]))), [format!("{CALLER} 200")]);
    assert_eq!(world.records.len(), 1);
    assert_eq!(world.last_record().reason, EndReason::ByCallee, "the one that was answered first");
    // One that was on its way until the call had ended: 481 (§15.1.2), which its sender takes for an end as well.
    let late = call.callee_sends("BYE", "cross-late", 2);
    assert_eq!(ladder(&world.deliver(GATEWAY, &late.text())), [format!("{GATEWAY} 481")]);
    world.settle();
}

/// RFC 3261 §12.2.2, §15.1.1: the number is the callee's to refuse; who sent a BYE has hung up, whatever comes back.
#[test]
fn a_bye_with_an_old_cseq_ends_the_call() {
    let mut world = World::new();
    let call = answered(&mut world, "old");
    let info = world.deliver(CALLER, &call.caller_sends("INFO", "old-9", 9).text());
    world.deliver(GATEWAY, &response(&info[0], 200, "", &[]));
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "old-2", 2).text());
    assert_eq!((bye[0].to.as_str(), bye[0].header("CSeq")), (GATEWAY, "2 BYE"));
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&bye[0], 500, "", &[]))), [format!("{CALLER} 500")]);
    assert_eq!(world.last_record().reason, EndReason::ByCaller);
    world.settle();
}

/// RFC 3261 §22.2: a challenged BYE comes again. The call stands until it does.
#[test]
fn a_challenged_bye_comes_again() {
    let mut world = World::new();
    let call = answered(&mut world, "auth");
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "auth-2", 2).text());
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&bye[0], 407, "", &[]))), [format!("{CALLER} 407")]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "auth-3", 3).text());
    world.deliver(GATEWAY, &response(&bye[0], 200, "", &[]));
    assert_eq!(world.last_record().reason, EndReason::ByCaller);
    world.settle();
}

/// RFC 3261 §15 forbids it to the callee. It passes; the early dialog is gone, the INVITE goes on and may still be answered.
#[test]
fn a_callees_bye_in_an_early_dialog() {
    for status in [200, 481] {
        let mut world = World::new();
        let call = ringing(&mut world, "wrong");
        let bye = world.deliver(GATEWAY, &call.callee_sends("BYE", "wrong-bye", 1).text());
        assert_eq!(ladder(&bye), [format!("{CALLER} BYE")]);
        assert_eq!(
            ladder(&world.deliver(CALLER, &response(&bye[0], status, "", &[]))),
            [format!("{GATEWAY} {status}")]
        );
        assert_eq!(world.count(Counter::CallsLive), 1);
        let sent = world.deliver(GATEWAY, &response(&call.forwarded, 486, "callee", &[]));
        assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 486")]);
        world.settle();
    }
}

/// RFC 3261 §14.2, RFC 3311 §5.2: both offer at once. Each side refuses the other with 491, and tries again as it sees fit.
#[test]
fn glare_passes() {
    for method in ["INVITE", "UPDATE"] {
        let mut world = World::new();
        let call = answered(&mut world, "glare");
        let last = |sent: Vec<crate::world::Sent>| sent.last().expect("forwarded").clone();
        let down = last(world.deliver(CALLER, &call.caller_sends(method, "glare-down", 2).text()));
        let up = last(world.deliver(GATEWAY, &call.callee_sends(method, "glare-up", 1).text()));
        assert_eq!((down.to.as_str(), up.to.as_str()), (GATEWAY, CALLER));
        let refused = last(world.deliver(GATEWAY, &response(&down, 491, "", &[])));
        assert_eq!((refused.to.as_str(), refused.status()), (CALLER, 491));
        let refused = last(world.deliver(CALLER, &response(&up, 491, "", &[])));
        assert_eq!((refused.to.as_str(), refused.status()), (GATEWAY, 491));
        assert_eq!(world.count(Counter::CallsLive), 1);
        world.settle();
    }
}

/// RFC 3261 §14.1, §14.2: a second re-INVITE before the first was answered is the callee's to refuse, with 500.
#[test]
fn a_second_reinvite_while_one_is_pending() {
    let mut world = World::new();
    let call = answered(&mut world, "impatient");
    let first = world.deliver(CALLER, &call.caller_sends("INVITE", "impatient-2", 2).text())[1].clone();
    let second = world.deliver(CALLER, &call.caller_sends("INVITE", "impatient-3", 3).text())[1].clone();
    let sent = world.deliver(GATEWAY, &response(&second, 500, "", &["Retry-After: 3"]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 500")]);
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&first, 200, "", &[]))), [format!("{CALLER} 200")]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// RFC 3311 §5.1: an UPDATE passes in an early dialog, both ways; it answers nothing.
#[test]
fn an_update_in_an_early_dialog_passes() {
    let mut world = World::new();
    let call = ringing(&mut world, "early");
    let update = world.deliver(CALLER, &call.caller_sends("UPDATE", "early-2", 2).text());
    assert_eq!(ladder(&update), [format!("{GATEWAY} UPDATE")]);
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&update[0], 200, "", &[]))), [format!("{CALLER} 200")]);
    let update = world.deliver(GATEWAY, &call.callee_sends("UPDATE", "early-3", 1).text());
    assert_eq!(ladder(&update), [format!("{CALLER} UPDATE")]);
    assert_eq!(ladder(&world.deliver(CALLER, &response(&update[0], 504, "", &[]))), [format!("{GATEWAY} 504")]);
    assert_eq!(world.count(Counter::CallsAnswered), 0);
    world.deliver(GATEWAY, &response(&call.forwarded, 486, "callee", &[]));
    world.settle();
}

/// What Corelane has no opinion on passes, with a body or without, and its answer too (RFC 3261 §16.2).
#[test]
fn any_method_passes_inside_the_dialog() {
    let mut world = World::new();
    let call = answered(&mut world, "any");
    for (cseq, method) in (2..).zip(["INFO", "MESSAGE", "OPTIONS", "SUBSCRIBE", "PUBLISH", "X-NEVER-SEEN"]) {
        let sent = world.deliver(CALLER, &call.caller_sends(method, &format!("any-{cseq}"), cseq).text());
        assert_eq!(ladder(&sent), [format!("{GATEWAY} {method}")]);
        assert_eq!(ladder(&world.deliver(GATEWAY, &response(&sent[0], 501, "", &[]))), [format!("{CALLER} 501")]);
    }
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// The token is the proof, not the address: the request passes and is answered where it came from. It moves nobody: what the other side
/// sends goes where it went before.
#[test]
fn a_request_from_a_third_address_moves_nobody() {
    let mut world = World::new();
    let call = answered(&mut world, "third");
    let sent = world.deliver(STRANGER, &call.caller_sends("INFO", "third-2", 2).text());
    assert_eq!(ladder(&sent), [format!("{GATEWAY} INFO")]);
    assert_eq!(sent[0].headers("Via")[1], format!("SIP/2.0/UDP {CALLER};branch=z9hG4bK-third-2;received=203.0.113.66"));
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&sent[0], 200, "", &[]))), [format!("{STRANGER} 200")]);
    // A re-INVITE that is refused moves nobody either, nor one from another port of the same host.
    let again = world.deliver(STRANGER, &call.caller_sends("INVITE", "third-3", 3).text());
    world.deliver(GATEWAY, &response(&again[1], 488, "", &[]));
    let mut again = call.caller_sends("INVITE", "third-4", 4);
    again.via += ";rport";
    let again = world.deliver("192.0.2.10:40000", &again.text());
    let sent = world.deliver(GATEWAY, &response(&again[1], 200, "", &[]));
    assert_eq!(ladder(&sent), ["192.0.2.10:40000 200"]);
    let sent = world.deliver(GATEWAY, &call.callee_sends("INFO", "third-5", 1).text());
    assert_eq!(ladder(&sent), [format!("{CALLER} INFO")]);
    world.deliver(CALLER, &response(&sent[0], 200, "", &[]));
    world.settle();
}

/// RFC 3261 §18.2.2, RFC 3581 §4: a caller who sends from another port than he listens on says so in his Via, or asks for the port with
/// `rport`. Requests of the other side, and Corelane's own, go where responses go.
#[test]
fn a_caller_who_listens_on_another_port() {
    for (rport, port) in [("", 5070), (";rport", 40_000)] {
        let mut world = World::new();
        let mut invite = invite("4930123456", "port");
        invite.via = format!("SIP/2.0/UDP 192.0.2.10:5070;branch=z9hG4bK-port{rport}");
        let sent = world.deliver("192.0.2.10:40000", &invite.text());
        let caller = format!("192.0.2.10:{port}");
        assert_eq!(ladder(&sent), [format!("{caller} 100"), format!("{GATEWAY} INVITE")]);
        let forwarded = sent[1].clone();
        let ok = world.deliver(GATEWAY, &response(&forwarded, 200, "callee", &[]))[0].clone();
        let call = Answered { invite, forwarded, ok };
        world.deliver("192.0.2.10:40000", &call.caller_sends("ACK", "port-ack", 1).text());
        let info = world.deliver(GATEWAY, &call.callee_sends("INFO", "port-info", 1).text());
        assert_eq!(ladder(&info), [format!("{caller} INFO")]);
        world.deliver("192.0.2.10:40000", &response(&info[0], 200, "", &[]));
        assert_eq!(hang_up_all(&mut world)[1].to, caller);
        world.settle();
    }
}

/// RFC 3261 §16.4: both of our faces are ours in whatever order; a Route of somebody else above ours is not ours to serve.
#[test]
fn routes_in_another_order() {
    let mut world = World::new();
    let invite = invite("431234567", "order");
    let forwarded = world.deliver(CALLER, &invite.text())[1].clone();
    let ok = world.deliver_to(1, FAR_GATEWAY, response(&forwarded, 200, "callee", &[]).as_bytes())[0].clone();
    let call = Answered { invite, forwarded, ok };
    let mut ack = call.caller_sends("ACK", "order-ack", 1);
    ack.routes.reverse();
    let sent = world.deliver(CALLER, &ack.text());
    assert_eq!(ladder(&sent), [format!("{FAR_GATEWAY} ACK")]);
    assert!(sent[0].headers("Route").is_empty());
    let mut bye = call.caller_sends("BYE", "order-bye", 2);
    bye.routes.insert(0, "<sip:beyond.example;lr>".into());
    assert_eq!(ladder(&world.deliver(CALLER, &bye.text())), [format!("{CALLER} 481")]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// RFC 3261 §12.2.2: 481 to a re-INVITE of no dialog, without state; the ACK of it is for nobody.
#[test]
fn an_invite_with_an_unknown_tag() {
    let mut world = World::new();
    let call = answered(&mut world, "unknown");
    let mut again = call.caller_sends("INVITE", "unknown-2", 2);
    again.to_tag = "somebody".into();
    assert_eq!(ladder(&world.deliver(CALLER, &again.text())), [format!("{CALLER} 481")]);
    assert!(world.deliver(CALLER, &again.hop("ACK").text()).is_empty());
    assert!(world.advance(Duration::from_secs(5)).is_empty(), "nothing is repeated");
    assert_eq!(world.count(Counter::CallsStarted), 1);
    world.settle();
}

/// RFC 3261 §16.3 step 3: a request that is out of hops ends here with 483, and not the call with it.
#[test]
fn a_bye_out_of_hops_ends_nothing() {
    let mut world = World::new();
    let call = answered(&mut world, "hops");
    let mut bye = call.caller_sends("BYE", "hops-2", 2);
    bye.max_forwards = 0;
    assert_eq!(ladder(&world.deliver(CALLER, &bye.text())), [format!("{CALLER} 483")]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}
