//! ACKs that come twice, too early, or for something else.

use std::time::Duration;

use corelane_core::Counter;
use corelane_core::call::EndReason;

use crate::world::{CALLER, GATEWAY, World, invite, ladder, response, ringing, unacknowledged};

/// RFC 3261 §16.11: an ACK passes without state, each time that it comes, under one branch.
#[test]
fn an_ack_that_comes_twice_passes_twice() {
    let mut world = World::new();
    let call = unacknowledged(&mut world, "twice");
    let ack = call.caller_sends("ACK", "twice-ack", 1).text();
    let first = world.deliver(CALLER, &ack);
    let second = world.deliver(CALLER, &ack);
    assert_eq!(ladder(&first), [format!("{GATEWAY} ACK")]);
    assert_eq!(first[0].text, second[0].text);
    assert!(world.advance(Duration::from_secs(600)).is_empty(), "the call stands");
    world.settle();
}

/// RFC 3261 §17.1.1.3 wants a new branch for the ACK of a 2xx; peers that keep the INVITE's are understood (RFC 6026 §7.1).
#[test]
fn an_ack_on_the_branch_of_its_invite_passes() {
    let mut world = World::new();
    let call = unacknowledged(&mut world, "same");
    let mut ack = call.caller_sends("ACK", "unused", 1);
    ack.via = call.invite.via.clone();
    assert_eq!(ladder(&world.deliver(CALLER, &ack.text())), [format!("{GATEWAY} ACK")]);
    assert!(world.advance(Duration::from_secs(600)).is_empty(), "confirmed");
    world.settle();
}

/// RFC 3261 §17.1.1.3: the ACK of a refusal has its INVITE's branch. Another one acknowledges nothing: Timer G goes on, Timer H ends it.
#[test]
fn an_ack_of_a_refusal_on_another_branch_stops_nothing() {
    let mut world = World::new();
    let request = invite("4930123456", "astray");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    let mut ack = request.as_method("ACK", "astray-ack", 1);
    ack.to_tag = "t".into();
    assert!(world.deliver(CALLER, &ack.text()).is_empty());
    assert_eq!(world.count(Counter::StrayAcks), 1);
    assert_eq!(ladder(&world.advance(Duration::from_secs(1))), [format!("{CALLER} 486")]);
    assert!(world.deliver(CALLER, &request.hop("ACK").text()).is_empty());
    assert!(world.advance(Duration::from_secs(40)).is_empty(), "the right one does");
    world.settle();
}

/// RFC 3261 §12.2.2: Call-ID, both tags and our token name the dialog. What names another one confirms nothing and goes nowhere.
#[test]
fn an_ack_of_another_dialog_confirms_nothing() {
    let mut world = World::new();
    let call = unacknowledged(&mut world, "other");
    let ack = call.caller_sends("ACK", "other-ack", 1);
    let mut wrong = [ack.clone(), ack.clone(), ack.clone(), ack.clone(), ack];
    wrong[0].to_tag = "somebody".into();
    wrong[1].from_tag = "somebody".into();
    wrong[2].call_id = "somebody@192.0.2.10".into();
    wrong[3].routes[0] = wrong[3].routes[0].replace(";cl=1", ";cl=1A");
    wrong[4].routes.clear();
    for ack in &wrong {
        assert!(world.deliver(CALLER, &ack.text()).is_empty());
    }
    assert_eq!(world.count(Counter::StrayAcks), 5);
    let sent = world.advance(Duration::from_millis(60_100));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
    assert_eq!(world.last_record().reason, EndReason::Unacknowledged);
    world.settle();
}

/// Before the answer there is nothing to acknowledge: on the INVITE's branch it is absorbed (RFC 3261 §17.2.1), in an early dialog it
/// passes like any request of that dialog, and neither stands for the ACK that is due.
#[test]
fn an_ack_before_the_answer_acknowledges_nothing() {
    let mut world = World::new();
    let call = ringing(&mut world, "soon");
    assert!(world.deliver(CALLER, &call.invite.hop("ACK").text()).is_empty());
    let early = call.caller_sends("ACK", "soon-ack", 1);
    assert_eq!(ladder(&world.deliver(CALLER, &early.text())), [format!("{GATEWAY} ACK")]);
    world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &[]));
    let sent = world.advance(Duration::from_millis(60_100));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
    world.settle();
}

/// The callee repeats the 200 of a re-INVITE until its ACK comes (RFC 3261 §13.3.1.4): each one passes, and the call is his to end.
#[test]
fn a_reinvite_that_is_never_acknowledged() {
    let mut world = World::new();
    let call = crate::world::answered(&mut world, "mute");
    let again = world.deliver(CALLER, &call.caller_sends("INVITE", "mute-2", 2).text())[1].clone();
    let ok = response(&again, 200, "", &["Contact: <sip:bob@198.51.100.20>"]);
    for _ in 0..3 {
        assert_eq!(ladder(&world.deliver(GATEWAY, &ok)), [format!("{CALLER} 200")]);
    }
    assert!(world.advance(Duration::from_secs(60)).is_empty());
    assert_eq!(world.count(Counter::CallsLive), 1);
    let bye = world.deliver(GATEWAY, &call.callee_sends("BYE", "mute-bye", 1).text());
    world.deliver(CALLER, &response(&bye[0], 200, "", &[]));
    assert_eq!(world.last_record().reason, EndReason::ByCallee);
    world.settle();
}
