//! Forks downstream, early dialogs, and peers that give no tag (RFC 3261 §12, §13.2.2.4, §15).

use std::collections::BTreeSet;
use std::time::Duration;

use corelane_core::Counter;
use corelane_core::call::EndReason;

use super::world::{Answered, CALLER, GATEWAY, World, answered, invite, ladder, response, ringing, settings};

/// RFC 3261 §15: a BYE in an early dialog ends that dialog; another fork may still answer.
#[test]
fn a_bye_in_an_early_dialog_ends_only_that() {
    let mut world = World::new();
    let call = ringing(&mut world, "eb");
    world.deliver(GATEWAY, &response(&call.forwarded, 180, "second", &[]));
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "eb-bye", 2).text());
    world.deliver(GATEWAY, &response(&bye[0], 200, "", &[]));
    assert_eq!(world.count(Counter::CallsLive), 1);
    assert_eq!(
        ladder(&world.deliver(GATEWAY, &response(&call.forwarded, 200, "second", &[]))),
        [format!("{CALLER} 200")]
    );
    world.settle();
}

/// A fork that rang answers behind another one: Corelane ends its dialog, and whatever it still sends there is not this call's.
#[test]
fn a_fork_that_was_ended_has_no_early_dialog_left() {
    let mut world = World::new();
    let mut call = ringing(&mut world, "late");
    world.deliver(GATEWAY, &response(&call.forwarded, 180, "second", &[]));
    call.ok = world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &[]))[0].clone();
    world.deliver(CALLER, &call.caller_sends("ACK", "late-1", 1).text());
    let declined = world.deliver(GATEWAY, &response(&call.forwarded, 200, "second", &[]));
    assert_eq!(ladder(&declined), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE")]);
    let mut again = call.callee_sends("INVITE", "late-2", 1);
    again.from_tag = "second".into();
    assert_eq!(ladder(&world.deliver(GATEWAY, &again.text())), [format!("{GATEWAY} 481")]);
    world.deliver(GATEWAY, &response(&declined[1], 200, "", &[]));
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "late-bye", 2).text());
    world.deliver(GATEWAY, &response(&bye[0], 200, "", &[]));
    assert_eq!(world.last_record().reason, EndReason::ByCaller);
    world.settle();
}

/// RFC 3261 §15: the caller's BYE in an early dialog and the 2xx of that very fork cross. The BYE ended the dialog that the 2xx confirmed, and the
/// call ends with its answer. A 2xx behind that answer is one that its caller may not want to hear of: `noack_timeout`.
#[test]
fn a_bye_in_an_early_dialog_crosses_its_2xx() {
    for answered_first in [true, false] {
        let mut world = World::new();
        let call = ringing(&mut world, "cross");
        let bye = world.deliver(CALLER, &call.caller_sends("BYE", "cross-bye", 2).text())[0].clone();
        let answers = [response(&call.forwarded, 200, "callee", &[]), response(&bye, 200, "", &[])];
        let order = if answered_first { [0, 1] } else { [1, 0] };
        for which in order {
            let sent = world.deliver(GATEWAY, &answers[which]);
            assert_eq!(sent[0].status(), 200, "{:?}", ladder(&sent));
        }
        assert_eq!(world.count(Counter::CallsLive), u64::from(!answered_first));
        world.settle();
        let reason = if answered_first { EndReason::ByCaller } else { EndReason::Unacknowledged };
        assert_eq!(world.last_record().reason, reason);
    }
}

/// RFC 3261 §14.2: an INVITE inside an early dialog is refused with 491 or 500; the call goes on.
#[test]
fn an_invite_in_an_early_dialog_does_not_touch_the_call() {
    let mut world = World::new();
    let call = ringing(&mut world, "inner");
    let inner = world.deliver(CALLER, &call.caller_sends("INVITE", "inner-2", 2).text());
    assert_eq!(ladder(&inner), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")]);
    world.deliver(GATEWAY, &response(&inner[1], 491, "", &[]));
    assert_eq!(world.count(Counter::CallsLive), 1);
    let inner = world.deliver(GATEWAY, &call.callee_sends("INVITE", "inner-3", 1).text());
    world.deliver(CALLER, &response(&inner[1], 200, "", &[]));
    assert_eq!(world.count(Counter::CallsAnswered), 0, "only the opening INVITE answers the call");
    world.deliver(GATEWAY, &response(&call.forwarded, 486, "callee", &[]));
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.settle();
}

/// T.38 gateways send their re-INVITE before the caller's ACK is there.
#[test]
fn a_reinvite_before_the_ack_leaves_the_dialogs_alone() {
    let mut world = World::new();
    let mut call = ringing(&mut world, "fax");
    call.ok = world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &[]))[0].clone();
    let again = world.deliver(GATEWAY, &call.callee_sends("INVITE", "fax-re", 2).text());
    world.deliver(CALLER, &response(&again[1], 200, "", &[]));
    assert_eq!(
        ladder(&world.deliver(GATEWAY, &call.callee_sends("ACK", "fax-ack", 2).text())),
        [format!("{CALLER} ACK")]
    );
    world.deliver(CALLER, &call.caller_sends("ACK", "fax-ack1", 1).text());
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "fax-bye", 2).text());
    world.deliver(GATEWAY, &response(&bye[0], 200, "", &[]));
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.settle();
}

/// Only the caller's ACK of the INVITE itself starts `default_timeout`.
#[test]
fn another_ack_does_not_confirm_the_call() {
    let mut world = World::new();
    let mut call = ringing(&mut world, "noack");
    call.ok = world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &[]))[0].clone();
    world.deliver(GATEWAY, &call.callee_sends("ACK", "noack-1", 1).text());
    world.deliver(CALLER, &call.caller_sends("ACK", "noack-2", 7).text());
    let sent = world.advance(Duration::from_secs(61));
    assert!(ladder(&sent).starts_with(&[format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]));
    assert_eq!(world.count(Counter::CallsLive), 0, "noack_timeout");
    world.settle();
}

/// A fork that answers takes the room of one that only rang.
#[test]
fn the_ninth_fork_may_answer() {
    let mut world = World::new();
    let invite = invite("4930123456", "nine");
    let forwarded = world.deliver(CALLER, &invite.text())[1].clone();
    for fork in 0..8 {
        world.deliver(GATEWAY, &response(&forwarded, 180, &format!("fork{fork}"), &[]));
    }
    let ok = world.deliver(GATEWAY, &response(&forwarded, 200, "callee", &[]))[0].clone();
    let call = Answered { invite, forwarded, ok };
    let ack = world.deliver(CALLER, &call.caller_sends("ACK", "nine-ack", 1).text());
    assert_eq!(ladder(&ack), [format!("{GATEWAY} ACK")]);
    world.settle();
}

/// RFC 3261 §12.1.2: an old peer without a To tag has a dialog all the same.
#[test]
fn a_callee_without_a_tag_is_served() {
    let mut world = World::new();
    let invite = invite("4930123456", "old");
    let forwarded = world.deliver(CALLER, &invite.text())[1].clone();
    let ok = world.deliver(GATEWAY, &response(&forwarded, 200, "", &[]))[0].clone();
    let call = Answered { invite, forwarded, ok };
    for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
        let mut request = call.caller_sends(method, method, cseq);
        request.to_tag = String::new();
        let sent = world.deliver(CALLER, &request.text());
        assert_eq!(ladder(&sent), [format!("{GATEWAY} {method}")]);
        if method == "BYE" {
            world.deliver(GATEWAY, &response(&sent[0], 200, "", &[]));
        }
    }
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.settle();
}

/// An INVITE that copies the token of a call but names no dialog of it opens its own call.
#[test]
fn a_copied_token_opens_nothing_of_another_call() {
    let mut world = World::new();
    let call = answered(&mut world, "copy");
    let mut again = call.caller_sends("INVITE", "copy-2", 2);
    again.to_tag = String::new();
    again.uri = "sip:4940123456@10.0.0.1".into();
    assert_eq!(ladder(&world.deliver(CALLER, &again.text())), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")]);
    assert_eq!(world.count(Counter::CallsStarted), 2);
    world.settle();
}

/// RFC 3261 §12.2.1.1: the BYE for a fork that nobody waits for goes on from the number of the caller's PRACK in its early dialog.
#[test]
fn the_bye_for_a_fork_goes_on_from_the_callers_number() {
    let mut world = World::new();
    let call = ringing(&mut world, "prack-fork");
    let prack = world.deliver(CALLER, &call.caller_sends("PRACK", "pf-2", 2).text());
    world.deliver(GATEWAY, &response(&prack[0], 200, "", &[]));
    world.deliver(GATEWAY, &response(&call.forwarded, 200, "other", &[]));
    let sent = world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE")]);
    assert_eq!((sent[0].header("CSeq"), sent[1].header("CSeq")), ("1 ACK", "3 BYE"));
    world.settle();
}

/// More forks answer than a branch notes: those get ACK and BYE each time that they answer, on branches of their own, and Corelane repeats
/// nothing for them.
#[test]
fn a_storm_of_answers_is_ended_without_records() {
    let mut world = World::new();
    let call = answered(&mut world, "storm");
    let live = world.count(Counter::ClientTransactionsLive);
    let mut branches = BTreeSet::new();
    for tag in ["a", "b", "c", "d", "c", "d"] {
        let sent = world.deliver(GATEWAY, &response(&call.forwarded, 200, tag, &[]));
        assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE")], "{tag}");
        branches.insert(sent[1].header("Via").to_owned());
    }
    assert_eq!(branches.len(), 4, "one for each dialog");
    assert_eq!(world.count(Counter::ClientTransactionsLive), live + 2);
    let sent = world.deliver(GATEWAY, &response(&call.forwarded, 200, "a", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK")]);
    assert_eq!(ladder(&world.advance(Duration::from_millis(600))), vec![format!("{GATEWAY} BYE"); 2]);
    world.settle();
}

/// The last records are for the ends of calls, not for the BYE of a fork (I8).
#[test]
fn the_bye_for_a_fork_leaves_the_last_records_alone() {
    let mut settings = settings();
    settings.budget.client_transactions = 32;
    let mut world = World::with(settings);
    let call = answered(&mut world, "few");
    for number in 0..29 {
        world.deliver(CALLER, &invite("4930123456", &format!("fill{number}")).text());
    }
    world.deliver(CALLER, &call.caller_sends("INFO", "few-info", 2).text());
    assert_eq!(world.count(Counter::ClientTransactionsLive), 31);
    let sent = world.deliver(GATEWAY, &response(&call.forwarded, 200, "other", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE")]);
    assert_eq!(world.count(Counter::ClientTransactionsLive), 31);
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "few-bye", 3).text());
    assert_eq!(ladder(&bye), [format!("{GATEWAY} BYE")]);
    world.settle();
}
