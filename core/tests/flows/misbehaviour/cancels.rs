//! CANCELs that come too late or for something else, and gateways that do not do what they are told.

use std::time::Duration;

use corelane_core::Counter;
use corelane_core::call::EndReason;

use crate::world::{CALLER, GATEWAY, STRANGER, World, answered, ladder, response, ringing};

/// RFC 3261 §9.2: after the 200 a CANCEL changes nothing; it is answered while the INVITE's transaction is there, 481 afterwards.
#[test]
fn a_cancel_after_the_200() {
    let mut world = World::new();
    let call = answered(&mut world, "late");
    let mut cancel = call.invite.hop("CANCEL");
    assert_eq!(ladder(&world.deliver(CALLER, &cancel.text())), [format!("{CALLER} 200")]);
    world.advance(Duration::from_secs(33));
    cancel.max_forwards = 69;
    assert_eq!(ladder(&world.deliver(CALLER, &cancel.text())), [format!("{CALLER} 481")]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// RFC 3261 §9.1: the branch is what names the INVITE.
#[test]
fn a_cancel_on_another_branch_cancels_nothing() {
    let mut world = World::new();
    let call = ringing(&mut world, "astray");
    let cancel = call.invite.as_method("CANCEL", "astray-other", 1);
    assert_eq!(ladder(&world.deliver(CALLER, &cancel.text())), [format!("{CALLER} 481")]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.deliver(GATEWAY, &response(&call.forwarded, 486, "callee", &[]));
    world.settle();
}

/// RFC 3261 §17.2.3 matches by branch, not by CSeq; downstream goes the number of the INVITE (§9.1).
#[test]
fn a_cancel_with_another_cseq_is_obeyed() {
    let mut world = World::new();
    let call = ringing(&mut world, "number");
    let mut cancel = call.invite.hop("CANCEL");
    cancel.cseq = 7;
    let sent = world.deliver(CALLER, &cancel.text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{GATEWAY} CANCEL")]);
    assert_eq!((sent[0].header("CSeq"), sent[1].header("CSeq")), ("7 CANCEL", "1 CANCEL"));
    world.deliver(GATEWAY, &response(&call.forwarded, 487, "callee", &[]));
    assert_eq!(world.last_record().reason, EndReason::Cancelled);
    world.settle();
}

/// Who repeats a Call-ID and a Via may be anybody: a stranger cancels nothing, and learns nothing. A peer's other node may.
#[test]
fn a_strangers_cancel_is_met_with_silence() {
    let mut world = World::new();
    let call = ringing(&mut world, "third");
    assert!(world.deliver(STRANGER, &call.invite.hop("CANCEL").text()).is_empty());
    let sent = world.deliver(GATEWAY, &call.invite.hop("CANCEL").text());
    assert_eq!(ladder(&sent), [format!("{GATEWAY} 200"), format!("{GATEWAY} CANCEL")]);
    let sent = world.deliver(GATEWAY, &response(&call.forwarded, 487, "callee", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 487")]);
    world.settle();
}

/// RFC 3261 §9.1: whatever the gateway says to the CANCEL, its INVITE has 64·T1 to end; then the caller gets his 487 from Corelane.
#[test]
fn a_cancel_that_is_answered_and_not_obeyed() {
    for status in [200, 481, 500] {
        let mut world = World::new();
        let call = ringing(&mut world, "deaf");
        let sent = world.deliver(CALLER, &call.invite.hop("CANCEL").text());
        assert!(world.deliver(GATEWAY, &response(&sent[1], status, "callee", &[])).is_empty());
        assert!(world.advance(Duration::from_millis(31_900)).is_empty(), "the CANCEL is not repeated");
        assert_eq!(ladder(&world.advance(Duration::from_millis(200))), [format!("{CALLER} 487")]);
        let record = world.last_record();
        assert_eq!((record.status, record.reason), (487, EndReason::Cancelled), "{status}");
        world.settle();
    }
}

/// When the caller has had his 487 for lack of any answer, the branch is forgotten: a 200 that comes then is nobody's (RFC 6026 §8.9), and
/// its sender, who never gets an ACK, ends what he began (RFC 3261 §13.3.1.4).
#[test]
fn a_200_long_after_the_cancel() {
    let mut world = World::new();
    let call = ringing(&mut world, "asleep");
    world.deliver(CALLER, &call.invite.hop("CANCEL").text());
    let sent = world.advance(Duration::from_millis(32_100));
    assert_eq!(sent.last().map(|sent| (sent.to.as_str(), sent.status())), Some((CALLER, 487)));
    assert!(world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &[])).is_empty());
    assert_eq!(world.count(Counter::StrayResponses), 1);
    world.settle();
}

/// RFC 3261 §9.1: only an INVITE can be cancelled. A BYE goes on.
#[test]
fn a_cancel_of_a_bye() {
    let mut world = World::new();
    let call = answered(&mut world, "bye");
    let bye = call.caller_sends("BYE", "bye-2", 2);
    let forwarded = world.deliver(CALLER, &bye.text())[0].clone();
    assert_eq!(ladder(&world.deliver(CALLER, &bye.hop("CANCEL").text())), [format!("{CALLER} 481")]);
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&forwarded, 200, "", &[]))), [format!("{CALLER} 200")]);
    assert_eq!(world.last_record().reason, EndReason::ByCaller);
    world.settle();
}

/// RFC 3261 §14.1, §9: a cancelled re-INVITE leaves the session as it was.
#[test]
fn a_cancel_of_a_reinvite_leaves_the_call() {
    let mut world = World::new();
    let call = answered(&mut world, "hold");
    let again = call.caller_sends("INVITE", "hold-2", 2);
    let forwarded = world.deliver(CALLER, &again.text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 180, "", &[]));
    let sent = world.deliver(CALLER, &again.hop("CANCEL").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{GATEWAY} CANCEL")]);
    world.deliver(GATEWAY, &response(&sent[1], 200, "", &[]));
    let sent = world.deliver(GATEWAY, &response(&forwarded, 487, "", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 487")]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}
