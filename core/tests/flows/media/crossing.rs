//! Offers of both sides that cross, and refusals: what is taken back at the node is the offer of whoever made it (RFC 3261 §14, RFC 3264 §4, RFC 3311
//! §5.2, RFC 6337 §2.3).

use std::time::Duration;

use corelane_core::Counter;
use corelane_core::bus::{MediaOutcome, Verb};

use super::node::session;
use super::through::{answer, talking, the, with_sdp, world};
use crate::world::{Answered, CALLER, GATEWAY, Sent, World, ladder, response};

/// A request with an offer of either side, at the other one.
fn offers(world: &mut World, call: &Answered, of: &str, method: &'static str, number: u32) -> Sent {
    let branch = format!("{of}-{method}-{number}");
    let (peer, request) = match of {
        "caller" => (CALLER, call.caller_sends(method, &branch, number)),
        _ => (GATEWAY, call.callee_sends(method, &branch, number)),
    };
    let sent = the(&world.deliver(peer, &with_sdp(&request, of).text()), method);
    assert_eq!(session(&sent), format!("relay-{of}"));
    sent
}

/// A re-INVITE is refused while the other side's UPDATE, or re-INVITE, is out, and the other way round: each refusal names whose offer is off, and what
/// the other one offers goes on to its own end.
#[test]
fn a_refused_offer_that_crosses_another() {
    for (first, second) in [("caller", "callee"), ("callee", "caller")] {
        for methods in [["INVITE", "UPDATE"], ["INVITE", "INVITE"], ["UPDATE", "INVITE"], ["UPDATE", "UPDATE"]] {
            for accepted in [true, false] {
                let mut world = world();
                let call = talking(&mut world, "cross");
                let one = offers(&mut world, &call, first, methods[0], 7);
                let two = offers(&mut world, &call, second, methods[1], 8);
                let sent = world.deliver(&one.to, &response(&one, 491, "", &[]));
                assert_eq!(ladder(&sent).last(), Some(&format!("{} 491", two.to)));
                if accepted {
                    let ok = the(&world.deliver(&two.to, &answer(&two, 200, "", "agreed", &[])), "SIP/2.0 200");
                    assert_eq!(session(&ok), "relay-agreed");
                } else {
                    world.deliver(&two.to, &response(&two, 491, "", &[]));
                }
                let last = if accepted { "Answer" } else { "Restore" };
                assert_eq!(
                    world.asked(),
                    [
                        format!("Offer 1 {first}>{second}"),
                        format!("Offer 1 {second}>{first}"),
                        format!("Restore 1 {first}>{second}"),
                        format!("{last} 1 {second}>{first}")
                    ],
                    "{methods:?}"
                );
                assert_eq!(world.count(Counter::CallsLive), 1);
                world.settle();
            }
        }
    }
}

/// A re-INVITE without SDP whose 183 offers is refused after all: the offer was the other side's.
#[test]
fn a_refused_reinvite_without_sdp() {
    for answered in [false, true] {
        let mut world = world();
        let call = talking(&mut world, "late");
        let forwarded = the(&world.deliver(CALLER, &call.caller_sends("INVITE", "late-again", 2).text()), "INVITE");
        let reliable = answer(&forwarded, 183, "", "offer", &["Require: 100rel", "RSeq: 4"]);
        the(&world.deliver(GATEWAY, &reliable), "SIP/2.0 183");
        if answered {
            let mut prack = with_sdp(&call.caller_sends("PRACK", "late-2", 3), "answer");
            prack.extra.push("RAck: 4 2 INVITE".into());
            the(&world.deliver(CALLER, &prack.text()), "PRACK");
            assert_eq!(world.asked(), ["Offer 1 callee>caller", "Answer 1 callee>caller"]);
        }
        world.asked();
        world.deliver(GATEWAY, &response(&forwarded, 488, "", &[]));
        assert_eq!(world.asked(), ["Restore 1 callee>caller"]);
        world.settle();
    }
}

/// The node takes no offer of a 2xx, and no answer of the ACK behind one: what is taken back is the offer of whoever answered the re-INVITE.
#[test]
fn a_delayed_offer_in_a_reinvite_that_the_node_refuses() {
    let mut world = world();
    let call = talking(&mut world, "ref");
    let forwarded = the(&world.deliver(CALLER, &call.caller_sends("INVITE", "ref-again", 2).text()), "INVITE");
    world.node().says.push((Verb::Offer, MediaOutcome::Refused));
    let sent = world.deliver(GATEWAY, &answer(&forwarded, 200, "", "offer", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 500")]);
    assert_eq!(world.asked(), ["Offer 1 callee>caller", "Restore 1 callee>caller"]);
    let back = the(&world.deliver(GATEWAY, &call.callee_sends("INVITE", "ref-2", 5).text()), "INVITE");
    the(&world.deliver(CALLER, &answer(&back, 200, "", "offer", &[])), "SIP/2.0 200");
    world.node().says.push((Verb::Answer, MediaOutcome::Refused));
    let ack = with_sdp(&call.callee_sends("ACK", "ref-3", 5), "answer");
    assert_eq!(session(&the(&world.deliver(GATEWAY, &ack.text()), "ACK")), "");
    assert_eq!(world.asked(), ["Offer 1 caller>callee", "Answer 1 caller>callee", "Restore 1 caller>callee"]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// A side's offer gets no answer at all, while the other side's is out: it is the one that is taken back.
#[test]
fn an_offer_in_silence_names_its_side() {
    let mut world = world();
    let call = talking(&mut world, "mute");
    let reinvite = with_sdp(&call.callee_sends("INVITE", "mute-1", 7), "video");
    let forwarded = the(&world.deliver(GATEWAY, &reinvite.text()), "INVITE");
    world.deliver(CALLER, &response(&forwarded, 180, "", &[]));
    world.deliver(GATEWAY, &reinvite.hop("CANCEL").text());
    world.asked();
    world.advance(Duration::from_secs(33));
    assert_eq!(world.asked(), ["Restore 1 callee>caller"]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// Both sides have a re-INVITE out: a PRACK belongs to the one that its RAck names, not to the last one.
#[test]
fn a_prack_belongs_to_the_invite_that_it_names() {
    let mut world = world();
    let call = talking(&mut world, "rack");
    let one = the(&world.deliver(CALLER, &call.caller_sends("INVITE", "rack-again", 2).text()), "INVITE");
    the(&world.deliver(GATEWAY, &answer(&one, 183, "", "offer", &["Require: 100rel", "RSeq: 9"])), "SIP/2.0 183");
    let two = the(&world.deliver(GATEWAY, &call.callee_sends("INVITE", "rack-2", 5).text()), "INVITE");
    let mut prack = with_sdp(&call.caller_sends("PRACK", "rack-3", 3), "answer");
    prack.extra.push("RAck: 9 2 INVITE".into());
    assert_eq!(session(&the(&world.deliver(CALLER, &prack.text()), "PRACK")), "relay-answer");
    assert_eq!(world.asked(), ["Offer 1 callee>caller", "Answer 1 callee>caller"]);
    world.deliver(CALLER, &response(&two, 491, "", &[]));
    the(&world.deliver(GATEWAY, &response(&one, 200, "", &[])), "SIP/2.0 200");
    world.settle();
}
