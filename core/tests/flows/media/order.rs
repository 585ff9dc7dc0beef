//! The order of a branch's responses, and what may wait (ADR 6).

use std::time::Duration;

use corelane_core::Counter;

use super::node::session;
use super::through::{answer, called, the, with_sdp, world};
use crate::world::{Answered, CALLER, GATEWAY, Sent, World, ladder, response};

/// What comes behind a 183 that is with the node waits, and goes upstream behind it in its order.
#[test]
fn responses_keep_their_order() {
    let mut world = world();
    let (_, forwarded) = called(&mut world, "order");
    world.hold();
    assert!(world.deliver(GATEWAY, &answer(&forwarded, 183, "callee", "early", &[])).is_empty());
    assert!(world.deliver(GATEWAY, &response(&forwarded, 180, "callee", &[])).is_empty());
    assert!(world.deliver(GATEWAY, &response(&forwarded, 182, "callee", &[])).is_empty());
    let ok = answer(&forwarded, 200, "callee", "early", &[]);
    assert!(world.deliver(GATEWAY, &ok).is_empty());
    assert!(world.deliver(GATEWAY, &ok).is_empty(), "absorbed");
    let sent = world.answer_wish();
    let upstream = [183, 180, 182, 200].map(|status| format!("{CALLER} {status}"));
    assert_eq!(ladder(&sent), upstream, "the 200 has the SDP of the 183 and needs no node");
    assert_eq!(session(&sent[3]), "relay-early");
    world.settle();
}

/// A 200 with another SDP than the 183 before it goes to the node when its turn has come; what is behind it waits on.
#[test]
fn a_response_behind_another_is_asked_for_in_its_turn() {
    let mut world = world();
    let (_, forwarded) = called(&mut world, "turn");
    world.hold();
    world.deliver(GATEWAY, &answer(&forwarded, 183, "a", "first", &[]));
    world.deliver(GATEWAY, &answer(&forwarded, 183, "b", "second", &[]));
    world.deliver(GATEWAY, &response(&forwarded, 180, "a", &[]));
    assert_eq!(world.wishes.len(), 1);
    assert_eq!(ladder(&world.answer_wish()), [format!("{CALLER} 183")]);
    let sent = world.answer_wish();
    assert_eq!(ladder(&sent), [format!("{CALLER} 183"), format!("{CALLER} 180")]);
    assert_eq!(session(&sent[0]), "relay-second");
    world.settle();
}

/// A refusal waits for nothing: what is held before it is provisional.
#[test]
fn a_refusal_overtakes_what_waits() {
    let mut world = world();
    let (_, forwarded) = called(&mut world, "busy");
    world.hold();
    world.deliver(GATEWAY, &answer(&forwarded, 183, "callee", "early", &[]));
    world.deliver(GATEWAY, &response(&forwarded, 180, "callee", &[]));
    let sent = world.deliver(GATEWAY, &response(&forwarded, 486, "callee", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 486")]);
    assert!(world.answer_wish().is_empty(), "too late");
    assert_eq!(world.count(Counter::MediaLate), 1);
    world.settle();
}

/// A bounded number waits; the last place is for a final response.
#[test]
fn the_queue_of_a_branch_is_bounded() {
    let mut world = world();
    let (_, forwarded) = called(&mut world, "queue");
    world.hold();
    world.deliver(GATEWAY, &answer(&forwarded, 183, "a", "early", &[]));
    for number in 0..20 {
        let line = format!("X-Number: {number}");
        assert!(world.deliver(GATEWAY, &response(&forwarded, 180, "a", &[&line])).is_empty());
    }
    assert!(world.deliver(GATEWAY, &answer(&forwarded, 200, "a", "early", &[])).is_empty());
    let sent = world.answer_wish();
    let mut all = ladder(&sent);
    // More than one turn may hold: the clock goes on with the rest at once.
    let rest = world.advance(Duration::ZERO);
    all.extend(ladder(&rest));
    assert_eq!(all.len(), 1 + 7 + 1, "{all:?}");
    assert_eq!(all.last(), Some(&format!("{CALLER} 200")));
    assert_eq!(world.count(Counter::Full), 13);
    world.settle();
}

/// A ringing branch whose 183 is with the node is not silent: `fr_timer` does not end it, and a CANCEL can reach it.
#[test]
fn a_response_that_waits_keeps_its_branch_alive() {
    let mut world = world();
    let (invite, forwarded) = called(&mut world, "alive");
    world.advance(Duration::from_millis(3_900));
    world.hold();
    world.deliver(GATEWAY, &answer(&forwarded, 183, "callee", "early", &[]));
    assert!(world.advance(Duration::from_millis(500)).is_empty(), "no other gateway");
    let sent = world.deliver(CALLER, &invite.hop("CANCEL").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{GATEWAY} CANCEL")]);
    let sent = world.answer_wish();
    assert_eq!(ladder(&sent), [format!("{CALLER} 183")]);
    let sent = world.deliver(GATEWAY, &response(&forwarded, 487, "callee", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 487")]);
    world.settle();
}

/// A 200 that is with the node when the caller cancels: it goes upstream, as one that crossed the CANCEL (RFC 3261 §9.1).
#[test]
fn a_cancel_while_the_200_waits() {
    let mut world = world();
    let (invite, forwarded) = called(&mut world, "cross");
    world.hold();
    world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", "answer", &[]));
    let sent = world.deliver(CALLER, &invite.hop("CANCEL").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
    let sent = world.answer_wish();
    assert_eq!(session(&the(&sent, "SIP/2.0 200")), "relay-answer");
    assert_eq!(world.count(Counter::CallsAnswered), 1);
    world.settle();
}

/// A 183 that comes back behind the 200 starts no Timer C: the branch goes when its Timer M fires, of a call's INVITE and of a re-INVITE.
#[test]
fn a_183_behind_the_200_does_not_keep_its_branch() {
    let mut world = world();
    let (invite, first) = called(&mut world, "late183");
    let branches = |world: &mut World, forwarded: &Sent, tag: &str| {
        world.hold();
        assert!(world.deliver(GATEWAY, &answer(forwarded, 183, tag, "early", &[])).is_empty());
        assert!(world.deliver(GATEWAY, &answer(forwarded, 200, tag, "early", &[])).is_empty());
        let sent = world.answer_wish();
        assert_eq!(ladder(&sent), [format!("{CALLER} 183"), format!("{CALLER} 200")]);
        world.advance(Duration::from_secs(33));
        assert_eq!(world.count(Counter::ClientTransactionsLive), 0);
        sent[1].clone()
    };
    let ok = branches(&mut world, &first, "callee");
    let call = Answered { invite, forwarded: first, ok };
    world.deliver(CALLER, &call.caller_sends("ACK", "late183-ack", 1).text());
    let again = call.caller_sends("INVITE", "late183-inv", 2);
    let again = with_sdp(&again, "hold");
    world.deliver(CALLER, &again.text());
    let forwarded = the(&world.answer_wish(), "INVITE");
    branches(&mut world, &forwarded, "");
    world.settle();
}
