//! INVITE with an offer, and its answers in 18x and 2xx (RFC 3264 §4, RFC 3261 §13.2.1).

use corelane_core::Counter;

use super::node::session;
use super::through::{answer, called, offer, the, world};
use crate::world::{Answered, CALLER, GATEWAY, ladder};

/// The whole of a call: the caller hears 100 at once, the INVITE leaves with the relay's SDP, so does the 200.
#[test]
fn offer_and_answer_go_through_the_node() {
    let mut world = world();
    world.hold();
    let invite = offer("plain");
    let sent = world.deliver(CALLER, &invite.text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100")], "not one message waits but the INVITE");
    let sent = world.answer_wish();
    assert_eq!(ladder(&sent), [format!("{GATEWAY} INVITE")]);
    assert_eq!(session(&sent[0]), "relay-offer");
    let forwarded = sent[0].clone();
    let ok = answer(&forwarded, 200, "callee", "answer", &["Contact: <sip:bob@198.51.100.20>"]);
    assert!(world.deliver(GATEWAY, &ok).is_empty());
    let wish = world.wishes[0].clone();
    assert_eq!((wish.node, wish.set), (3, 0), "the node that has the offer");
    let sent = world.answer_wish();
    assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
    assert_eq!(session(&sent[0]), "relay-answer");
    assert_eq!(world.asked(), ["Offer 1 caller>", "Answer 1 caller>callee"]);
    let call = Answered { invite, forwarded, ok: sent[0].clone() };
    assert_eq!(
        ladder(&world.deliver(CALLER, &call.caller_sends("ACK", "plain-ack", 1).text())),
        [format!("{GATEWAY} ACK")]
    );
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "plain-bye", 2).text());
    assert_eq!(ladder(&bye), [format!("{GATEWAY} BYE")]);
    world.deliver(GATEWAY, &crate::world::response(&bye[0], 200, "", &[]));
    assert!(world.last_record().media, "a delete is owed");
    world.settle();
}

/// The same SDP in 183 and 200 is asked about once; another one in the 200 again.
#[test]
fn a_200_after_a_183() {
    for (name, wishes, shown) in [("early", 0, "relay-early"), ("late", 1, "relay-late")] {
        let mut world = world();
        let (_, forwarded) = called(&mut world, "after");
        let sent = world.deliver(GATEWAY, &answer(&forwarded, 183, "callee", "early", &[]));
        assert_eq!(session(&the(&sent, "SIP/2.0 183")), "relay-early");
        world.asked();
        let sent = world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", name, &[]));
        assert_eq!(session(&the(&sent, "SIP/2.0 200")), shown);
        assert_eq!(world.asked().len(), wishes);
        // It comes again: no other exchange, the same SDP.
        let again = world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", name, &[]));
        assert_eq!(again[0].text, sent[0].text);
        assert!(world.asked().is_empty());
        world.settle();
    }
}

/// A call without nodes in the image asks nobody: direct media.
#[test]
fn without_nodes_media_goes_from_end_to_end() {
    let mut world = crate::world::World::new();
    let sent = world.deliver(CALLER, &offer("direct").text());
    assert_eq!(session(&sent[1]), "endpoint-offer");
    assert!(world.wishes.is_empty());
    assert_eq!(world.count(Counter::MediaAsked), 0);
    let ok = world.deliver(GATEWAY, &answer(&sent[1], 200, "callee", "answer", &[]));
    assert_eq!(session(&ok[0]), "endpoint-answer");
    world.settle();
    assert!(!world.last_record().media);
}
