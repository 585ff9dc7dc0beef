//! Calls that Corelane ends itself: BYE both ways (SPEC §3 *BYE that Corelane sends*), and what crosses it.

use std::time::Duration;

use corelane_core::call::EndReason;
use corelane_core::engine::Command;
use corelane_core::routing::build::Builder;
use corelane_core::routing::layout::Refer;
use corelane_core::{Counter, Input};

use super::world::{
    Answered, CALLER, GATEWAY, Sent, World, answered, invite, ladder, response, ringing, unacknowledged,
};

/// The operator ends all calls.
pub(crate) fn hang_up_all(world: &mut World) -> Vec<Sent> {
    let mut sent = world.handle(Input::Command(Command::HangUpAll));
    sent.extend(world.handle(Input::Timeout));
    sent
}

/// Each side gets a BYE in the other's name: tags, CSeq, target, and no route of ours.
#[test]
fn a_bye_for_each_side_in_the_others_name() {
    let mut world = World::new();
    let call = answered(&mut world, "both");
    let sent = hang_up_all(&mut world);
    assert_eq!(ladder(&sent), [format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
    let (to_callee, to_caller) = (&sent[0], &sent[1]);
    assert_eq!(to_callee.start_line(), "BYE sip:bob@198.51.100.20 SIP/2.0");
    assert_eq!(to_callee.header("From"), call.forwarded.header("From"));
    assert_eq!(to_callee.header("To"), "<sip:callee@10.0.0.1>;tag=callee");
    assert_eq!(to_callee.header("CSeq"), "2 BYE");
    assert_eq!(to_caller.start_line(), "BYE sip:alice@192.0.2.10 SIP/2.0");
    assert_eq!(to_caller.header("From"), to_callee.header("To"));
    assert_eq!(to_caller.header("To"), to_callee.header("From"));
    for bye in &sent {
        assert_eq!(bye.header("Call-ID"), call.forwarded.header("Call-ID"));
        assert_eq!(bye.headers("Route"), Vec::<&str>::new());
        assert_eq!(bye.header("Reason"), "Q.850;cause=31");
        assert_eq!(bye.headers("Via").len(), 1);
    }
    assert_eq!(world.last_record().reason, EndReason::HungUp);
    assert_eq!(world.count(Counter::CallsLive), 0);
    // 200 and silence alike: the sides are gone.
    world.deliver(GATEWAY, &response(to_callee, 200, "", &[]));
    let repeated = world.advance(Duration::from_secs(2));
    assert_eq!(ladder(&repeated), [format!("{CALLER} BYE"), format!("{CALLER} BYE")]);
    world.settle();
    assert_eq!(world.records.len(), 1);
}

/// The highest CSeq of each side counts, refused requests included (RFC 3261 §12.2.1.1).
#[test]
fn the_cseq_of_each_side_goes_on() {
    let mut world = World::new();
    let call = answered(&mut world, "cseq");
    let info = world.deliver(CALLER, &call.caller_sends("INFO", "c-9", 9).text());
    world.deliver(GATEWAY, &response(&info[0], 488, "", &[]));
    let info = world.deliver(CALLER, &call.caller_sends("INFO", "c-5", 5).text());
    world.deliver(GATEWAY, &response(&info[0], 500, "", &[]));
    let info = world.deliver(GATEWAY, &call.callee_sends("INFO", "g-77", 77).text());
    world.deliver(CALLER, &response(&info[0], 200, "", &[]));
    let sent = hang_up_all(&mut world);
    assert_eq!((sent[0].header("CSeq"), sent[1].header("CSeq")), ("10 BYE", "78 BYE"));
    world.settle();
}

/// RFC 3261 §12.1.1 and §12.1.2: routes of proxies on both sides of us, without ours, each in its own order.
#[test]
fn route_sets_of_both_sides() {
    let mut world = World::new();
    let mut request = invite("4930123456", "routes");
    request.extra.push("Record-Route: <sip:up1.example;lr>".into());
    request.extra.push("Record-Route: <sip:up2.example;lr>".into());
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    let ok = response(&forwarded, 200, "callee", &["Contact: <sip:bob@203.0.113.99;x=y>"]);
    let downstream = "Record-Route: <sip:down2.example;lr>\r\nRecord-Route: <sip:down1.example;lr>\r\nRecord-Route:";
    let ok = world.deliver(GATEWAY, &ok.replacen("Record-Route:", downstream, 1))[0].clone();
    let call = Answered { invite: request, forwarded, ok };
    let mut ack = call.caller_sends("ACK", "routes-ack", 1);
    ack.routes = call.ok.headers("Record-Route").iter().rev().skip(2).map(|&value| value.to_owned()).collect();
    world.deliver(CALLER, &ack.text());
    let sent = hang_up_all(&mut world);
    assert_eq!(ladder(&sent), [format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
    assert_eq!(sent[0].start_line(), "BYE sip:bob@203.0.113.99;x=y SIP/2.0");
    assert_eq!(sent[0].header("Route"), "<sip:down1.example;lr>, <sip:down2.example;lr>");
    assert_eq!(sent[1].header("Route"), "<sip:up1.example;lr>, <sip:up2.example;lr>");
    world.settle();
}

/// RFC 3261 §12.2.1.2, RFC 3311 §5.1: a re-INVITE and an UPDATE move the targets.
#[test]
fn targets_are_refreshed() {
    let mut world = World::new();
    let call = answered(&mut world, "move");
    let mut again = call.caller_sends("INVITE", "move-re", 2);
    again.extra.push("Contact: <sip:alice@192.0.2.11>".into());
    let sent = world.deliver(CALLER, &again.text());
    world.deliver(GATEWAY, &response(&sent[1], 200, "", &["Contact: <sip:bob@198.51.100.21>"]));
    world.deliver(CALLER, &call.caller_sends("ACK", "move-re-ack", 2).text());
    let sent = hang_up_all(&mut world);
    assert_eq!(sent[0].start_line(), "BYE sip:bob@198.51.100.21 SIP/2.0");
    assert_eq!(sent[1].start_line(), "BYE sip:alice@192.0.2.11 SIP/2.0");
    world.settle();
}

/// RFC 3261 §13.2.2.4: a 2xx that comes again says nothing new; what was agreed on since then holds.
#[test]
fn a_repeated_2xx_moves_no_target_back() {
    let mut world = World::new();
    let call = answered(&mut world, "back");
    let sent = world.deliver(CALLER, &call.caller_sends("INVITE", "back-re", 2).text());
    let ok = response(&sent[1], 200, "", &["Contact: <sip:bob@198.51.100.21>"]);
    world.deliver(GATEWAY, &ok);
    let mut update = call.callee_sends("UPDATE", "back-up", 5);
    update.extra.push("Contact: <sip:bob@198.51.100.22>".into());
    let sent = world.deliver(GATEWAY, &update.text());
    world.deliver(CALLER, &response(&sent[0], 200, "", &["Contact: <sip:alice@192.0.2.10>"]));
    assert_eq!(ladder(&world.deliver(GATEWAY, &ok)), [format!("{CALLER} 200")], "its ACK was lost");
    assert_eq!(hang_up_all(&mut world)[0].start_line(), "BYE sip:bob@198.51.100.22 SIP/2.0");
    world.settle();
}

/// A BYE that crosses ours is answered 200 for 64·T1, anything else 481; afterwards nothing knows the call.
#[test]
fn what_crosses_our_bye() {
    let mut world = World::new();
    let call = answered(&mut world, "cross");
    hang_up_all(&mut world);
    let bye = call.callee_sends("BYE", "cross-bye", 1);
    assert_eq!(ladder(&world.deliver(GATEWAY, &bye.text())), [format!("{GATEWAY} 200")]);
    let info = call.caller_sends("INFO", "cross-info", 2);
    assert_eq!(ladder(&world.deliver(CALLER, &info.text())), [format!("{CALLER} 481")]);
    let again = call.caller_sends("INVITE", "cross-re", 3);
    let sent = world.deliver(CALLER, &again.text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 481")]);
    assert!(world.deliver(CALLER, &call.caller_sends("ACK", "cross-re", 3).text()).is_empty());
    world.advance(Duration::from_secs(33));
    let late = call.callee_sends("BYE", "cross-late", 2);
    assert_eq!(ladder(&world.deliver(GATEWAY, &late.text())), [format!("{GATEWAY} 481")]);
    world.settle();
}

/// `default_timeout` of a call that nobody refreshed; the challenge of a peer that wants credentials counts as ended.
#[test]
fn an_expired_call_is_ended_both_ways() {
    let mut world = World::new();
    answered(&mut world, "old");
    let sent = world.advance(Duration::from_millis(1_800_100));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
    assert_eq!(sent[0].header("Reason"), "Q.850;cause=102");
    assert!(world.deliver(CALLER, &response(&sent[1], 407, "", &[])).is_empty());
    assert!(world.deliver(GATEWAY, &response(&sent[0], 481, "", &[])).is_empty());
    assert!(world.advance(Duration::from_secs(10)).is_empty(), "both are gone");
    let record = world.last_record();
    assert_eq!((record.reason, record.duration.as_secs()), (EndReason::Expired, 1_800));
    world.settle();
}

/// `noack_timeout`: the callee's 2xx is acknowledged before it is ended (RFC 3261 §13.2.2.4).
#[test]
fn an_unacknowledged_call_is_acknowledged_and_ended() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "noack").text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 200, "t", &["Contact: <sip:bob@198.51.100.20>"]));
    assert!(world.advance(Duration::from_secs(59)).is_empty());
    let sent = world.advance(Duration::from_millis(1_100));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
    assert_eq!((sent[0].header("CSeq"), sent[1].header("CSeq")), ("1 ACK", "2 BYE"));
    assert_ne!(sent[0].header("Via"), sent[1].header("Via"));
    assert_eq!(world.last_record().reason, EndReason::Unacknowledged);
    world.settle();
}

/// RFC 3261 §12.2.1.2: 481 and 408 inside the dialog end it, silence as well; not where a request only rides in it (RFC 5057).
#[test]
fn a_lost_dialog_ends_the_call() {
    for (method, status, ends) in [
        ("INVITE", 481, true),
        ("INVITE", 408, true),
        ("UPDATE", 481, true),
        ("INFO", 408, true),
        ("INFO", 500, false),
        ("NOTIFY", 481, false),
        ("MESSAGE", 481, false),
        ("INVITE", 491, false),
    ] {
        let mut world = World::new();
        let call = answered(&mut world, "lost");
        let sent = world.deliver(CALLER, &call.caller_sends(method, "lost-2", 2).text());
        let request = sent.iter().find(|sent| sent.to == GATEWAY).expect("forwarded").clone();
        let sent = ladder(&world.deliver(GATEWAY, &response(&request, status, "", &[])));
        let byes = sent.iter().filter(|line| line.ends_with("BYE")).count();
        assert_eq!(byes, if ends { 2 } else { 0 }, "{method} {status}: {sent:?}");
        assert_eq!(world.count(Counter::CallsLive), u64::from(!ends), "{method} {status}");
        if ends {
            assert_eq!(world.last_record().reason, EndReason::Lost);
        }
        world.settle();
    }
    let mut world = World::new();
    let call = answered(&mut world, "mute");
    world.deliver(CALLER, &call.caller_sends("INFO", "mute-2", 2).text());
    let sent = world.advance(Duration::from_secs(33));
    assert!(ladder(&sent).contains(&format!("{CALLER} BYE")), "silence in the dialog");
    world.settle();
}

/// The operator ends one call of two, also one that still rings: CANCEL downstream, 480 upstream.
#[test]
fn the_operator_ends_calls() {
    let mut world = World::new();
    let first = answered(&mut world, "one");
    let forwarded = world.deliver(CALLER, &invite("4930123456", "two").text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 180, "t", &[]));
    let sent = hang_up_all(&mut world);
    assert_eq!(ladder(&sent), [format!("{GATEWAY} BYE"), format!("{CALLER} BYE"), format!("{GATEWAY} CANCEL")]);
    let sent = world.deliver(GATEWAY, &response(&forwarded, 487, "t", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 480")]);
    let hashes: Vec<(u64, u32)> = world.records.iter().map(|record| (record.call_hash, record.pass)).collect();
    let command = Command::HangUp { call_hash: hashes[0].0, pass: hashes[0].1 };
    assert!(world.handle(Input::Command(command)).is_empty(), "it has ended");
    drop(first);
    world.settle();
}

/// Drain: 503 with Retry-After to new calls and OPTIONS, calls in progress untouched.
#[test]
fn drain_refuses_new_calls_only() {
    let mut world = World::new();
    let call = answered(&mut world, "stays");
    world.handle(Input::Command(Command::Drain(true)));
    let options = invite("1", "opt").as_method("OPTIONS", "opt", 1);
    for request in [invite("4930123456", "new"), options] {
        let sent = world.deliver(CALLER, &request.text());
        assert_eq!(ladder(&sent), [format!("{CALLER} 503")]);
        assert!(!sent[0].headers("Retry-After").is_empty());
    }
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "stays-bye", 2).text());
    assert_eq!(ladder(&bye), [format!("{GATEWAY} BYE")]);
    world.deliver(GATEWAY, &response(&bye[0], 200, "", &[]));
    world.handle(Input::Command(Command::Drain(false)));
    assert_eq!(world.deliver(CALLER, &invite("999", "back").text()).len(), 2);
    world.settle();
}

/// REFER is the provider's choice, 403 unless he has it passed (RFC 3515 §2.4.2).
#[test]
fn a_refer_is_refused_unless_it_is_wanted() {
    for (refer, refused) in [(Refer::Reject, true), (Refer::Pass, false)] {
        let mut builder = Builder::new();
        builder.listener("10.0.0.1:5060");
        let provider = builder.provider("acme", 1);
        builder.edit_provider(provider, |provider| provider.refer = refer);
        builder.address(provider, "192.0.2.10");
        let gateway = builder.gateway("near", GATEWAY);
        let carrier = builder.carrier("near", &[gateway]);
        builder.route(1, "49", carrier);
        let mut world = World::new().with_routing(builder.finish());
        let call = answered(&mut world, "refer");
        let sent = world.deliver(CALLER, &call.caller_sends("REFER", "refer-2", 2).text());
        if refused {
            assert_eq!(ladder(&sent), [format!("{CALLER} 403")]);
        } else {
            assert_eq!(ladder(&sent), [format!("{GATEWAY} REFER")]);
            let accepted = world.deliver(GATEWAY, &response(&sent[0], 202, "", &[]));
            assert_eq!(ladder(&accepted), [format!("{CALLER} 202")]);
        }
        assert_eq!(world.count(Counter::CallsLive), 1);
        world.settle();
    }
}

/// RFC 3261 §15: a call that is to end before its ACK waits for that, at most for 64·T1 after the 2xx.
#[test]
fn no_bye_before_the_ack() {
    let mut world = World::new();
    let call = unacknowledged(&mut world, "early");
    assert!(hang_up_all(&mut world).is_empty());
    let sent = world.deliver(CALLER, &call.caller_sends("ACK", "early-ack", 1).text());
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
    assert_eq!(world.last_record().reason, EndReason::HungUp);
    world.settle();

    let mut world = World::new();
    unacknowledged(&mut world, "never");
    assert!(hang_up_all(&mut world).is_empty());
    assert!(world.advance(Duration::from_millis(31_900)).is_empty());
    let sent = world.advance(Duration::from_millis(200));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
    assert_eq!(world.last_record().reason, EndReason::HungUp);
    world.settle();
}

/// RFC 3261 §12.2.2: a refused re-INVITE or UPDATE moves no target; an accepted UPDATE moves that of who sent it.
#[test]
fn only_an_accepted_request_moves_the_target() {
    for (status, target) in [(488, "sip:alice@192.0.2.10"), (200, "sip:alice@192.0.2.12")] {
        let mut world = World::new();
        let call = answered(&mut world, "target");
        let mut update = call.caller_sends("UPDATE", "target-up", 2);
        update.extra.push("Contact: <sip:alice@192.0.2.12>".into());
        let sent = world.deliver(CALLER, &update.text());
        world.deliver(GATEWAY, &response(&sent[0], status, "", &[]));
        let byes = hang_up_all(&mut world);
        assert_eq!(byes[1].start_line(), format!("BYE {target} SIP/2.0"), "{status}");
        world.settle();
    }
}

/// A spiral: what lies between our own two passes is a proxy like any other, and so is the other pass.
#[test]
fn the_other_pass_of_a_spiral_is_on_the_way() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "spiral").text())[1].clone();
    // The softswitch sends it back to us, under another number.
    let mut again = invite("4930123457", "spiral");
    again.via = format!("SIP/2.0/UDP {CALLER};branch=z9hG4bK-switch\r\nVia: {}", forwarded.headers("Via")[0]);
    again.extra.push("Record-Route: <sip:switch.example;lr>".into());
    again.extra.push(format!("Record-Route: {}", forwarded.header("Record-Route")));
    let second = world.deliver(CALLER, &again.text());
    let second = second.iter().find(|sent| sent.to == GATEWAY).expect("another call").clone();
    let routes = second.headers("Record-Route");
    assert_eq!(routes.len(), 3);
    // The first pass is answered with all of them above its own.
    let ok = response(&forwarded, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]);
    let above = format!("Record-Route: {}\r\nRecord-Route: {}\r\nRecord-Route:", routes[0], routes[1]);
    let ok = world.deliver(GATEWAY, &ok.replacen("Record-Route:", &above, 1))[0].clone();
    let call = Answered { invite: invite("4930123456", "spiral"), forwarded, ok };
    let mut ack = call.caller_sends("ACK", "spiral-ack", 1);
    ack.routes.truncate(1);
    world.deliver(CALLER, &ack.text());
    world.deliver(GATEWAY, &response(&second, 486, "x", &[]));
    let byes = hang_up_all(&mut world);
    assert_eq!(byes[0].header("Route"), format!("{}, {}", routes[1], routes[0]));
    assert_eq!(byes[1].headers("Route"), Vec::<&str>::new());
    world.settle();
}

/// The operator ends a call that rings, and its 200 crosses the CANCEL: the caller has an answer, and with his ACK the call ends.
#[test]
fn a_hang_up_that_crosses_the_answer_is_not_lost() {
    for acknowledged in [true, false] {
        let mut world = World::new();
        let call = ringing(&mut world, "crossed");
        assert_eq!(ladder(&hang_up_all(&mut world)), [format!("{GATEWAY} CANCEL")]);
        let ok = response(&call.forwarded, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]);
        let ok = world.deliver(GATEWAY, &ok)[0].clone();
        let call = Answered { ok, ..call };
        let byes = [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} BYE")];
        if acknowledged {
            let sent = world.deliver(CALLER, &call.caller_sends("ACK", "crossed-ack", 1).text());
            assert_eq!(ladder(&sent), byes);
        } else {
            let sent = ladder(&world.advance(Duration::from_millis(32_100)));
            assert!(byes.iter().all(|line| sent.contains(line)), "{sent:?}");
        }
        assert_eq!(world.last_record().reason, EndReason::HungUp);
        world.settle();
    }
}

/// The same where the call had been given up before, or was afterwards: by the caller's CANCEL or by Timer C. What he gets without a 2xx is
/// what he would have got, the hang-up holds for the 2xx that crosses.
#[test]
fn a_hang_up_of_a_call_that_was_given_up_holds() {
    let cancel = |world: &mut World, call: &Answered| {
        let sent = world.deliver(CALLER, &call.invite.hop("CANCEL").text());
        assert_eq!(sent[0].status(), 200);
    };
    let timer_c = |world: &mut World, _: &Answered| {
        assert_eq!(ladder(&world.advance(Duration::from_millis(180_100)))[0], format!("{GATEWAY} CANCEL"));
    };
    let hang_up = |world: &mut World, _: &Answered| {
        hang_up_all(world);
    };
    /// What happens to a call that rings.
    type Step<'s> = &'s dyn Fn(&mut World, &Answered);
    let orders: [(&[Step<'_>], u16, EndReason); 5] = [
        (&[&cancel, &hang_up], 487, EndReason::Cancelled),
        (&[&timer_c, &hang_up], 408, EndReason::Unanswered),
        (&[&timer_c, &cancel, &hang_up], 487, EndReason::Cancelled),
        (&[&timer_c, &hang_up, &cancel], 487, EndReason::Cancelled),
        (&[&hang_up, &cancel], 487, EndReason::Cancelled),
    ];
    for (order, (steps, status, reason)) in orders.into_iter().enumerate() {
        for (crosses, acknowledged) in [(true, true), (true, false), (false, false)] {
            let mut world = World::new();
            let call = ringing(&mut world, "given-up");
            steps.iter().for_each(|step| step(&mut world, &call));
            if !crosses {
                let sent = world.deliver(GATEWAY, &response(&call.forwarded, 487, "callee", &[]));
                assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} {status}")], "{order}");
                assert_eq!(world.last_record().reason, reason, "{order}");
                world.settle();
                continue;
            }
            let ok = response(&call.forwarded, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]);
            let sent = world.deliver(GATEWAY, &ok);
            assert_eq!(ladder(&sent), [format!("{CALLER} 200")], "{order}");
            let call = Answered { ok: sent[0].clone(), ..call };
            let ends = [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} BYE")];
            if acknowledged {
                let sent = world.deliver(CALLER, &call.caller_sends("ACK", "given-up-ack", 1).text());
                assert_eq!(ladder(&sent), ends, "{order}");
            } else {
                let sent = ladder(&world.advance(Duration::from_millis(32_100)));
                assert!(ends.iter().all(|line| sent.contains(line)), "{order}: {sent:?}");
            }
            assert_eq!((world.last_record().reason, world.last_record().status), (EndReason::HungUp, 200), "{order}");
            world.settle();
        }
    }
}

/// A caller who cancelled and got a 2xx ends the call himself, where nobody hung it up.
#[test]
fn a_2xx_that_crosses_the_callers_cancel_alone_stands() {
    let mut world = World::new();
    let call = ringing(&mut world, "stands");
    world.deliver(CALLER, &call.invite.hop("CANCEL").text());
    let ok = response(&call.forwarded, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]);
    let call = Answered { ok: world.deliver(GATEWAY, &ok)[0].clone(), ..call };
    let sent = world.deliver(CALLER, &call.caller_sends("ACK", "stands-ack", 1).text());
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK")]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// A 481 that crosses a BYE is no lost dialog: the call ends with the BYE's own answer, once. A challenged BYE is none that is on its way.
#[test]
fn a_481_that_crosses_a_bye_ends_nothing() {
    for challenged in [false, true] {
        let mut world = World::new();
        let call = answered(&mut world, "x481");
        let info = world.deliver(GATEWAY, &call.callee_sends("INFO", "x481-info", 7).text());
        let bye = world.deliver(CALLER, &call.caller_sends("BYE", "x481-bye", 2).text());
        assert_eq!(ladder(&bye), [format!("{GATEWAY} BYE")]);
        if challenged {
            let sent = world.deliver(GATEWAY, &response(&bye[0], 407, "", &[]));
            assert_eq!(ladder(&sent), [format!("{CALLER} 407")]);
        }
        let sent = ladder(&world.deliver(CALLER, &response(&info[0], 481, "", &[])));
        assert_eq!(sent[0], format!("{GATEWAY} 481"));
        assert_eq!(sent.len(), if challenged { 3 } else { 1 }, "{sent:?}");
        if !challenged {
            assert_eq!(world.count(Counter::CallsLive), 1);
            assert_eq!(ladder(&world.deliver(GATEWAY, &response(&bye[0], 200, "", &[]))), [format!("{CALLER} 200")]);
        }
        assert_eq!(world.last_record().reason, if challenged { EndReason::Lost } else { EndReason::ByCaller });
        world.settle();
    }
}
