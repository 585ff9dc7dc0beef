//! Early dialogs: forks, reliable provisional responses, delayed offers, PRACK and UPDATE (RFC 3262, RFC 3311, RFC 6337).

use corelane_core::Counter;
use corelane_core::bus::{MediaOutcome, Verb};

use super::node::session;
use super::through::{answer, bare, called, the, with_sdp, world};
use crate::world::{Answered, CALLER, GATEWAY, Sent, World, ladder, response};

const RELIABLE: [&str; 2] = ["Require: 100rel", "RSeq: 1"];

/// An INVITE without SDP, at the gateway.
fn called_bare(world: &mut World, call: &str) -> (crate::world::Request, Sent) {
    let invite = bare(call);
    let sent = world.deliver(CALLER, &invite.text());
    assert!(world.asked().is_empty(), "there is nothing to offer");
    (invite, the(&sent, "INVITE"))
}

/// Two forks ring with SDP, the second answers: each tag is a side of its own at the node.
#[test]
fn forks_are_answered_for_each() {
    let mut world = world();
    let (_, forwarded) = called(&mut world, "forks");
    for tag in ["a", "b"] {
        let sent = world.deliver(GATEWAY, &answer(&forwarded, 183, tag, tag, &[]));
        assert_eq!(session(&the(&sent, "SIP/2.0 183")), format!("relay-{tag}"));
    }
    let sent = world.deliver(GATEWAY, &answer(&forwarded, 200, "b", "b", &[]));
    assert_eq!(session(&the(&sent, "SIP/2.0 200")), "relay-b");
    assert_eq!(world.asked(), ["Offer 1 caller>", "Answer 1 caller>a", "Answer 1 caller>b", "Choose 1 caller>b"]);
    // The other fork answers too: acknowledged and ended, and no node is asked for it.
    let sent = world.deliver(GATEWAY, &answer(&forwarded, 200, "a", "a", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE")]);
    assert!(world.asked().is_empty());
    world.settle();
}

/// A repeated reliable 183 has the relay's SDP, and needs no other exchange; so has its repetition while the first is with the node.
#[test]
fn a_repeated_reliable_183() {
    let mut world = world();
    let (_, forwarded) = called(&mut world, "rel");
    world.asked();
    world.hold();
    let text = answer(&forwarded, 183, "callee", "early", &RELIABLE);
    assert!(world.deliver(GATEWAY, &text).is_empty());
    assert!(world.deliver(GATEWAY, &text).is_empty());
    let sent = world.answer_wish();
    assert_eq!(ladder(&sent), [format!("{CALLER} 183")]);
    let again = world.deliver(GATEWAY, &text);
    assert_eq!(again[0].text, sent[0].text);
    assert_eq!(world.asked(), ["Answer 1 caller>callee"]);
    assert!(world.wishes.is_empty());
    world.settle();
}

/// The callee offers in the 200, the caller answers in the ACK. Repeated, both leave as before.
#[test]
fn a_delayed_offer_in_the_200() {
    let mut world = world();
    let (invite, forwarded) = called_bare(&mut world, "late");
    let text = answer(&forwarded, 200, "callee", "offer", &["Contact: <sip:bob@198.51.100.20>"]);
    let sent = world.deliver(GATEWAY, &text);
    let call = Answered { invite, forwarded, ok: the(&sent, "SIP/2.0 200") };
    assert_eq!(session(&call.ok), "relay-offer");
    assert_eq!(world.asked(), ["Offer 1 callee>caller"]);
    let ack = with_sdp(&call.caller_sends("ACK", "late-ack", 1), "answer");
    let sent = world.deliver(CALLER, &ack.text());
    assert_eq!(session(&the(&sent, "ACK")), "relay-answer");
    assert_eq!(world.asked(), ["Answer 1 callee>caller"]);
    assert_eq!(world.deliver(GATEWAY, &text)[0].text, call.ok.text);
    assert_eq!(world.deliver(CALLER, &ack.text())[0].text, sent[0].text);
    assert!(world.asked().is_empty());
    world.settle();
    assert!(world.last_record().media);
}

/// The ACK that answers waits: the call is confirmed when it leaves, and its repetition is absorbed.
#[test]
fn an_ack_waits_for_its_node() {
    let mut world = world();
    let (invite, forwarded) = called_bare(&mut world, "wait");
    let sent = world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", "offer", &[]));
    let call = Answered { invite, forwarded, ok: the(&sent, "SIP/2.0 200") };
    world.hold();
    let ack = with_sdp(&call.caller_sends("ACK", "wait-ack", 1), "answer");
    assert!(world.deliver(CALLER, &ack.text()).is_empty());
    assert!(world.deliver(CALLER, &ack.text()).is_empty());
    assert_eq!(world.wishes.len(), 1);
    assert_eq!(ladder(&world.answer_wish()), [format!("{GATEWAY} ACK")]);
    world.settle();
}

/// The callee offers in a reliable 183, the caller answers in the PRACK; its next PRACK may offer (RFC 3262 §5).
#[test]
fn a_delayed_offer_in_a_reliable_183() {
    let mut world = world();
    let (invite, forwarded) = called_bare(&mut world, "prack");
    let sent = world.deliver(GATEWAY, &answer(&forwarded, 183, "callee", "offer", &RELIABLE));
    let call = Answered { invite, forwarded, ok: the(&sent, "SIP/2.0 183") };
    assert_eq!(session(&call.ok), "relay-offer");
    let prack = with_sdp(&call.caller_sends("PRACK", "p1", 2), "answer");
    let sent = world.deliver(CALLER, &prack.text());
    let first = the(&sent, "PRACK");
    assert_eq!(session(&first), "relay-answer");
    assert_eq!(world.asked(), ["Offer 1 callee>caller", "Answer 1 callee>caller"]);
    // Nothing was offered in it: SDP in its 200 has no business there.
    let sent = world.deliver(GATEWAY, &answer(&first, 200, "", "stray", &[]));
    assert_eq!(session(&the(&sent, "SIP/2.0 200")), "");
    let prack = with_sdp(&call.caller_sends("PRACK", "p2", 3), "more");
    let second = the(&world.deliver(CALLER, &prack.text()), "PRACK");
    assert_eq!(session(&second), "relay-more");
    let sent = world.deliver(GATEWAY, &answer(&second, 200, "", "yes", &[]));
    assert_eq!(session(&the(&sent, "SIP/2.0 200")), "relay-yes");
    assert_eq!(world.asked(), ["Offer 1 caller>callee", "Answer 1 caller>callee"]);
    let sent = world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &[]));
    assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
    world.settle();
}

/// UPDATE offers in an early dialog, from either side (RFC 3311 §5.1).
#[test]
fn an_update_in_an_early_dialog() {
    let mut world = world();
    let (invite, forwarded) = called(&mut world, "upd");
    let sent = world.deliver(GATEWAY, &answer(&forwarded, 183, "callee", "early", &RELIABLE));
    let call = Answered { invite, forwarded, ok: the(&sent, "SIP/2.0 183") };
    world.asked();
    let update = with_sdp(&call.caller_sends("UPDATE", "u1", 2), "hold");
    let sent = the(&world.deliver(CALLER, &update.text()), "UPDATE");
    assert_eq!(session(&sent), "relay-hold");
    let ok = the(&world.deliver(GATEWAY, &answer(&sent, 200, "", "held", &[])), "SIP/2.0 200");
    assert_eq!(session(&ok), "relay-held");
    let update = with_sdp(&call.callee_sends("UPDATE", "u2", 7), "tones");
    let sent = the(&world.deliver(GATEWAY, &update.text()), "UPDATE");
    assert_eq!(session(&sent), "relay-tones");
    let ok = the(&world.deliver(CALLER, &answer(&sent, 200, "", "heard", &[])), "SIP/2.0 200");
    assert_eq!(session(&ok), "relay-heard");
    assert_eq!(
        world.asked(),
        ["Offer 1 caller>callee", "Answer 1 caller>callee", "Offer 1 callee>caller", "Answer 1 callee>caller"]
    );
    world.settle();
}

/// SDP in an ACK that nothing asked for goes nowhere (RFC 3264 §5).
#[test]
fn an_ack_that_answers_nothing() {
    let mut world = world();
    let call = super::through::talking(&mut world, "odd");
    let ack = with_sdp(&call.caller_sends("ACK", "odd-ack", 1), "odd");
    let sent = world.deliver(CALLER, &ack.text());
    assert_eq!(session(&the(&sent, "ACK")), "");
    assert!(world.asked().is_empty());
    assert_eq!(world.count(Counter::MediaRefused), 1);
    world.settle();
}

/// Two forks have agreed on something each: where an UPDATE in one of them is refused, that fork's own is restored.
#[test]
fn a_refused_update_restores_its_own_fork() {
    let mut world = world();
    let (invite, forwarded) = called(&mut world, "each");
    let forks =
        ["a", "b"].map(|tag| the(&world.deliver(GATEWAY, &answer(&forwarded, 183, tag, tag, &[])), "SIP/2.0 183"));
    world.asked();
    let call = Answered { invite, forwarded: forwarded.clone(), ok: forks[0].clone() };
    let mut update = call.caller_sends("UPDATE", "each-u", 2);
    update.to_tag = "a".into();
    let sent = the(&world.deliver(CALLER, &with_sdp(&update, "hold").text()), "UPDATE");
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&sent, 488, "", &[]))), [format!("{CALLER} 488")]);
    assert_eq!(world.asked(), ["Offer 1 caller>a", "Restore 1 caller>a"]);
    world.settle();
}

/// The first ACK comes again after a re-INVITE, since the first 200 did: it leaves as it left before, no node is asked, and none can end the
/// call that stands.
#[test]
fn the_first_ack_again_after_a_reinvite() {
    let mut world = world();
    let (invite, forwarded) = called_bare(&mut world, "again");
    let contact = ["Contact: <sip:bob@198.51.100.20>"];
    let ok = the(&world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", "offer", &contact)), "SIP/2.0 200");
    let call = Answered { invite, forwarded, ok };
    let first = with_sdp(&call.caller_sends("ACK", "again-ack", 1), "answer").text();
    let left = the(&world.deliver(CALLER, &first), "ACK");
    let re = the(&world.deliver(GATEWAY, &call.callee_sends("INVITE", "again-re", 101).text()), "INVITE");
    the(&world.deliver(CALLER, &answer(&re, 200, "", "second", &[])), "SIP/2.0 200");
    let asked = world.asked().len();
    world.node().says.extend([(Verb::Answer, MediaOutcome::Failed); 2]);
    // Before the re-INVITE's own ACK and after it, which the node fails.
    assert_eq!(the(&world.deliver(CALLER, &first), "ACK").text, left.text);
    let ack = with_sdp(&call.callee_sends("ACK", "again-re-ack", 101), "third");
    assert_eq!(session(&the(&world.deliver(GATEWAY, &ack.text()), "ACK")), "");
    assert_eq!(the(&world.deliver(CALLER, &first), "ACK").text, left.text);
    assert_eq!(
        (asked, world.asked().len(), world.count(Counter::CallsLive)),
        (3, 2, 1),
        "an answer that failed, restored"
    );
    world.settle();
}

/// A callee whose 2xx is still with the node hangs up, because nobody acknowledged it: his BYE is not refused, it passes when it is repeated.
#[test]
fn a_bye_that_overtakes_its_dialog_passes_when_it_is_repeated() {
    let mut world = world();
    let (invite, forwarded) = called(&mut world, "over");
    world.hold();
    assert!(world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", "early", &[])).is_empty());
    let call = Answered { invite, ok: forwarded.clone(), forwarded };
    let bye = call.callee_sends("BYE", "bye", 1).text();
    assert!(world.deliver(GATEWAY, &bye).is_empty());
    assert_eq!(world.count(Counter::ByesEarly), 1);
    assert_eq!(ladder(&world.answer_wish()), [format!("{CALLER} 200")]);
    assert_eq!(ladder(&world.deliver(GATEWAY, &bye)), [format!("{CALLER} BYE")]);
    world.settle();
}

/// The callee asks in a dialog whose first response is with the node: the caller knows no such dialog yet, and it is not lost either. Later it
/// passes.
#[test]
fn a_request_that_overtakes_its_dialog_comes_again() {
    for status in [183, 200] {
        let mut world = world();
        let (invite, forwarded) = called(&mut world, "over");
        world.hold();
        assert!(world.deliver(GATEWAY, &answer(&forwarded, status, "callee", "early", &[])).is_empty());
        let call = Answered { invite, ok: forwarded.clone(), forwarded };
        let sent = world.deliver(GATEWAY, &call.callee_sends("UPDATE", "over-1", 1).text());
        assert_eq!(ladder(&sent), [format!("{GATEWAY} 500")]);
        assert!((1..=5).contains(&sent[0].header("Retry-After").parse().expect("seconds")));
        let mut stranger = call.callee_sends("UPDATE", "over-2", 1);
        stranger.to_tag = "nobody".into();
        assert_eq!(ladder(&world.deliver(GATEWAY, &stranger.text())), [format!("{GATEWAY} 481")]);
        assert_eq!(ladder(&world.answer_wish()), [format!("{CALLER} {status}")]);
        let sent = world.deliver(GATEWAY, &call.callee_sends("UPDATE", "over-3", 2).text());
        assert_eq!(ladder(&sent), [format!("{CALLER} UPDATE")]);
        world.settle();
    }
}
