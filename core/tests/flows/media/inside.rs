//! Re-INVITE and UPDATE of a call that stands: hold, another codec, and what is refused (RFC 3261 §14, RFC 3264 §8).

use std::time::Duration;

use corelane_core::Counter;
use corelane_core::bus::{MediaOutcome, Verb};

use super::node::session;
use super::through::{answer, called, image, talking, the, with_sdp, world};
use crate::world::{Answered, CALLER, GATEWAY, World, ladder, response, settings};

/// A re-INVITE of either side; the offer is its sender's.
#[test]
fn a_reinvite_goes_through_the_node() {
    let mut world = world();
    let call = talking(&mut world, "re");
    let hold = with_sdp(&call.caller_sends("INVITE", "re-hold", 2), "hold");
    let sent = world.deliver(CALLER, &hold.text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")]);
    let forwarded = the(&sent, "INVITE");
    assert_eq!(session(&forwarded), "relay-hold");
    let text = answer(&forwarded, 200, "", "held", &[]);
    let ok = the(&world.deliver(GATEWAY, &text), "SIP/2.0 200");
    assert_eq!(session(&ok), "relay-held");
    assert_eq!(world.deliver(GATEWAY, &text)[0].text, ok.text, "repeated as it was");
    the(&world.deliver(CALLER, &call.caller_sends("ACK", "re-ack", 2).text()), "ACK");
    let back = with_sdp(&call.callee_sends("INVITE", "re-back", 9), "codec");
    let forwarded = the(&world.deliver(GATEWAY, &back.text()), "INVITE");
    assert_eq!(session(&forwarded), "relay-codec");
    let ok = the(&world.deliver(CALLER, &answer(&forwarded, 200, "", "agreed", &[])), "SIP/2.0 200");
    assert_eq!(session(&ok), "relay-agreed");
    assert_eq!(
        world.asked(),
        ["Offer 1 caller>callee", "Answer 1 caller>callee", "Offer 1 callee>caller", "Answer 1 callee>caller"]
    );
    world.settle();
}

/// A re-INVITE without SDP: the other side offers in its 200, the ACK answers.
#[test]
fn a_delayed_offer_in_a_reinvite() {
    let mut world = world();
    let call = talking(&mut world, "dre");
    let again = call.caller_sends("INVITE", "dre-inv", 2);
    let forwarded = the(&world.deliver(CALLER, &again.text()), "INVITE");
    let ok = the(&world.deliver(GATEWAY, &answer(&forwarded, 200, "", "offer", &[])), "SIP/2.0 200");
    assert_eq!(session(&ok), "relay-offer");
    let ack = with_sdp(&call.caller_sends("ACK", "dre-ack", 2), "answer");
    let sent = world.deliver(CALLER, &ack.text());
    assert_eq!(session(&the(&sent, "ACK")), "relay-answer");
    assert_eq!(world.deliver(CALLER, &ack.text())[0].text, sent[0].text, "repeated as it was");
    assert_eq!(world.asked(), ["Offer 1 callee>caller", "Answer 1 callee>caller"]);
    world.settle();
}

/// The other side refuses: what was agreed last holds again at the node.
#[test]
fn a_refused_reinvite_is_restored() {
    for status in [488, 491, 500] {
        let mut world = world();
        let call = talking(&mut world, "no");
        let sent = world.deliver(CALLER, &with_sdp(&call.caller_sends("INVITE", "no-inv", 2), "video").text());
        let forwarded = the(&sent, "INVITE");
        let sent = world.deliver(GATEWAY, &response(&forwarded, status, "", &[]));
        assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} {status}")]);
        assert_eq!(world.asked(), ["Offer 1 caller>callee", "Restore 1 caller>callee"]);
        assert_eq!(world.count(Counter::CallsLive), 1);
        world.settle();
    }
}

/// A refused UPDATE likewise.
#[test]
fn a_refused_update_is_restored() {
    let mut world = world();
    let call = talking(&mut world, "upd");
    let sent = world.deliver(GATEWAY, &with_sdp(&call.callee_sends("UPDATE", "upd-1", 5), "video").text());
    let sent = world.deliver(CALLER, &response(&the(&sent, "UPDATE"), 488, "", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} 488")]);
    assert_eq!(world.asked(), ["Offer 1 callee>caller", "Restore 1 callee>caller"]);
    world.settle();
}

/// The node refuses the offer of a re-INVITE: 488. No node: 503 without Retry-After. It fails: 503, and what was agreed is restored. The call
/// goes on in each case, and the ACK of the refusal ends here.
#[test]
fn a_reinvite_that_no_node_takes() {
    for (outcome, status, then) in [
        (MediaOutcome::Refused, 488, vec!["Offer 1 caller>callee"]),
        (MediaOutcome::NoNode, 503, vec!["Offer 1 caller>callee"]),
        (MediaOutcome::Failed, 503, vec!["Offer 1 caller>callee", "Restore 1 caller>callee"]),
    ] {
        let mut world = world();
        let call = talking(&mut world, "bad");
        world.node().says.push((Verb::Offer, outcome));
        let reinvite = with_sdp(&call.caller_sends("INVITE", "bad-inv", 2), "video");
        let sent = world.deliver(CALLER, &reinvite.text());
        assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{CALLER} {status}")]);
        assert!(sent[1].headers("Retry-After").is_empty());
        assert!(world.deliver(CALLER, &reinvite.hop("ACK").text()).is_empty());
        assert_eq!(world.asked(), then);
        assert_eq!(world.count(Counter::CallsLive), 1);
        let sent = world.deliver(CALLER, &call.caller_sends("BYE", "bad-bye", 3).text());
        assert_eq!(ladder(&sent), [format!("{GATEWAY} BYE")]);
        world.settle();
    }
}

/// The node fails the answer in the 200 of a re-INVITE: acknowledged here, 500 upstream, restored, the call goes on; a repeated 200 is
/// acknowledged again.
#[test]
fn the_answer_of_a_reinvite_fails() {
    let mut world = world();
    let call = talking(&mut world, "ans");
    let sent = world.deliver(CALLER, &with_sdp(&call.caller_sends("INVITE", "ans-inv", 2), "video").text());
    let forwarded = the(&sent, "INVITE");
    world.node().says.push((Verb::Answer, MediaOutcome::Failed));
    let ok = answer(&forwarded, 200, "", "yes", &[]);
    let sent = world.deliver(GATEWAY, &ok);
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 500")]);
    assert_eq!(sent[0].header("CSeq"), "2 ACK");
    assert_eq!(ladder(&world.deliver(GATEWAY, &ok)), [format!("{GATEWAY} ACK")]);
    assert_eq!(world.asked(), ["Offer 1 caller>callee", "Answer 1 caller>callee", "Restore 1 caller>callee"]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// The same for UPDATE: 500, restored.
#[test]
fn the_answer_of_an_update_fails() {
    let mut world = world();
    let call = talking(&mut world, "uans");
    let sent = world.deliver(CALLER, &with_sdp(&call.caller_sends("UPDATE", "uans-1", 2), "video").text());
    world.node().says.push((Verb::Answer, MediaOutcome::Refused));
    let sent = world.deliver(GATEWAY, &answer(&the(&sent, "UPDATE"), 200, "", "yes", &[]));
    assert_eq!(ladder(&sent), [format!("{CALLER} 500")]);
    assert_eq!(world.asked(), ["Offer 1 caller>callee", "Answer 1 caller>callee", "Restore 1 caller>callee"]);
    world.settle();
}

/// BYE while a re-INVITE is with the node: it goes on at once. The offer comes back to a call that is over: 481, and nothing leaves.
#[test]
fn a_bye_does_not_wait_for_an_exchange() {
    let mut world = world();
    let call = talking(&mut world, "bye");
    world.hold();
    let sent = world.deliver(CALLER, &with_sdp(&call.caller_sends("INVITE", "bye-inv", 2), "video").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100")]);
    let sent = world.deliver(GATEWAY, &call.callee_sends("BYE", "bye-bye", 4).text());
    assert_eq!(ladder(&sent), [format!("{CALLER} BYE")]);
    assert_eq!(ladder(&world.deliver(CALLER, &response(&sent[0], 200, "", &[]))), [format!("{GATEWAY} 200")]);
    assert_eq!(ladder(&world.answer_wish()), [format!("{CALLER} 481")]);
    world.settle();
}

/// BYE while the 200 of a re-INVITE is with the node: who asked gets 481, and no SDP of a session that is gone.
#[test]
fn a_bye_before_the_answer_of_a_reinvite_is_back() {
    let mut world = world();
    let call = talking(&mut world, "bye2");
    let sent = world.deliver(CALLER, &with_sdp(&call.caller_sends("INVITE", "bye2-inv", 2), "video").text());
    let forwarded = the(&sent, "INVITE");
    world.hold();
    assert!(world.deliver(GATEWAY, &answer(&forwarded, 200, "", "yes", &[])).is_empty());
    let sent = world.deliver(GATEWAY, &call.callee_sends("BYE", "bye2-bye", 4).text());
    world.deliver(CALLER, &response(&sent[0], 200, "", &[]));
    let refusal = world.answer_wish();
    assert_eq!(ladder(&refusal), [format!("{CALLER} 481")]);
    // The 200 comes again: there is one 481, which is repeated until its ACK (RFC 3261 §17.2.1).
    assert!(world.deliver(GATEWAY, &answer(&forwarded, 200, "", "yes", &[])).is_empty());
    let repeated = world.advance(Duration::from_millis(600));
    assert_eq!(repeated.iter().map(|sent| &sent.text).collect::<Vec<_>>(), [&refusal[0].text]);
    assert_eq!(world.count(Counter::Unrelayed), 0);
    world.settle();
}

/// CANCEL of a re-INVITE whose offer is with the node: 487 at once; what comes back is taken back.
#[test]
fn a_cancelled_reinvite_is_answered_at_once() {
    let mut world = world();
    let call = talking(&mut world, "cre");
    world.hold();
    let reinvite = with_sdp(&call.caller_sends("INVITE", "cre-inv", 2), "video");
    world.deliver(CALLER, &reinvite.text());
    let sent = world.deliver(CALLER, &reinvite.hop("CANCEL").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{CALLER} 487")]);
    assert!(world.answer_wish().is_empty());
    assert_eq!(world.wishes.pop_front().map(|wish| wish.word()), Some("Restore 1 caller>callee".into()));
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// A re-INVITE that is cancelled and never answered, after a 180 or in silence: 487 after 64·T1, its offer is off, and the call goes on.
#[test]
fn a_cancelled_reinvite_that_nobody_answers() {
    for rings in [true, false] {
        let mut world = world();
        let call = talking(&mut world, "lost");
        let reinvite = with_sdp(&call.caller_sends("INVITE", "lost-inv", 2), "video");
        let forwarded = the(&world.deliver(CALLER, &reinvite.text()), "INVITE");
        if rings {
            world.deliver(GATEWAY, &response(&forwarded, 180, "", &[]));
        }
        world.deliver(CALLER, &reinvite.hop("CANCEL").text());
        let sent = world.advance(Duration::from_millis(32_100));
        assert!(ladder(&sent).contains(&format!("{CALLER} 487")), "{:?}", ladder(&sent));
        assert_eq!(world.asked(), ["Offer 1 caller>callee", "Restore 1 caller>callee"]);
        assert_eq!(world.count(Counter::CallsLive), 1);
        world.settle();
    }
}

/// The node takes longer than Timer K over the answer to an UPDATE: it goes upstream all the same, or its failure does.
#[test]
fn a_slow_answer_of_an_update_is_not_lost() {
    for fails in [false, true] {
        let mut settings = settings();
        settings.timers.media_timeout = Duration::from_secs(12);
        let mut world = World::with(settings).with_routing(image(|_| {})).with_node();
        let call = talking(&mut world, "slow");
        let sent = world.deliver(CALLER, &with_sdp(&call.caller_sends("UPDATE", "slow-1", 2), "video").text());
        let forwarded = the(&sent, "UPDATE");
        world.hold();
        assert!(world.deliver(GATEWAY, &answer(&forwarded, 200, "", "yes", &[])).is_empty());
        assert!(world.advance(Duration::from_secs(11)).is_empty());
        if fails {
            assert_eq!(ladder(&world.advance(Duration::from_secs(2))), [format!("{CALLER} 500")]);
            assert_eq!(world.wishes.pop_back().map(|wish| wish.word()), Some("Restore 1 caller>callee".into()));
        } else {
            assert_eq!(session(&the(&world.answer_wish(), "SIP/2.0 200")), "relay-yes");
        }
        assert_eq!(world.count(Counter::CallsLive), 1);
        world.settle();
    }
}

/// The callee offers in his 200, and asks anew before the ACK that answers has come: that answers all the same.
#[test]
fn an_ack_that_crosses_a_reinvite() {
    let mut world = world();
    let call = talking(&mut world, "past");
    let forwarded = the(&world.deliver(CALLER, &call.caller_sends("INVITE", "cross-1", 2).text()), "INVITE");
    the(&world.deliver(GATEWAY, &answer(&forwarded, 200, "", "offer", &[])), "SIP/2.0 200");
    let back = the(&world.deliver(GATEWAY, &call.callee_sends("INVITE", "cross-2", 5).text()), "INVITE");
    let ack = with_sdp(&call.caller_sends("ACK", "cross-3", 2), "answer");
    assert_eq!(session(&the(&world.deliver(CALLER, &ack.text()), "ACK")), "relay-answer");
    // Then the other one goes on as any without an offer: the caller offers, the callee's ACK answers.
    let ok = the(&world.deliver(CALLER, &answer(&back, 200, "", "again", &[])), "SIP/2.0 200");
    assert_eq!(session(&ok), "relay-again");
    let ack = with_sdp(&call.callee_sends("ACK", "cross-4", 5), "agreed");
    assert_eq!(session(&the(&world.deliver(GATEWAY, &ack.text()), "ACK")), "relay-agreed");
    assert_eq!(
        world.asked(),
        ["Offer 1 callee>caller", "Answer 1 callee>caller", "Offer 1 caller>callee", "Answer 1 caller>callee"]
    );
    world.settle();
}

/// A re-INVITE that was cancelled and that nobody answers, and a PRACK with an offer that nobody answers: the call goes on with what was agreed
/// before.
#[test]
fn an_offer_that_nobody_ever_answers_is_restored() {
    let mut world = world();
    let call = talking(&mut world, "mute");
    let reinvite = with_sdp(&call.caller_sends("INVITE", "mute-inv", 2), "video");
    let forwarded = the(&world.deliver(CALLER, &reinvite.text()), "INVITE");
    world.deliver(GATEWAY, &response(&forwarded, 180, "", &[]));
    let sent = world.deliver(CALLER, &reinvite.hop("CANCEL").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{GATEWAY} CANCEL")]);
    world.asked();
    let sent = world.advance(Duration::from_secs(33));
    assert!(ladder(&sent).contains(&format!("{CALLER} 487")));
    assert_eq!(world.asked(), ["Restore 1 caller>callee"]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();

    let mut world = super::through::world();
    let (invite, forwarded) = called(&mut world, "prack");
    let reliable = answer(&forwarded, 183, "callee", "early", &["RSeq: 1", "Require: 100rel"]);
    let call = Answered { invite, ok: the(&world.deliver(GATEWAY, &reliable), "SIP/2.0 183"), forwarded };
    the(&world.deliver(CALLER, &with_sdp(&call.caller_sends("PRACK", "prack-1", 2), "again").text()), "PRACK");
    world.asked();
    world.advance(Duration::from_secs(33));
    assert_eq!(world.asked(), ["Restore 1 caller>callee"]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.deliver(GATEWAY, &response(&call.forwarded, 486, "callee", &[]));
    world.settle();
}
