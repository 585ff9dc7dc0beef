//! Offers over several gateways (SPEC §5): used again while nobody answered them, by attempt else.

use std::time::Duration;

use corelane_core::Counter;
use corelane_core::bus::{MediaOutcome, Verb};

use super::node::session;
use super::through::{SECOND, answer, bare, called, image, offer, the, world};
use crate::world::{CALLER, GATEWAY, World, ladder, response, settings};

/// A gateway fails without SDP: the next one gets the same offer, and no node is asked.
#[test]
fn an_offer_that_nobody_answered_is_used_again() {
    let mut world = world();
    let (_, forwarded) = called(&mut world, "again");
    assert_eq!(world.asked(), ["Offer 1 caller>"]);
    world.deliver(GATEWAY, &response(&forwarded, 180, "a", &[]));
    let sent = world.deliver(GATEWAY, &response(&forwarded, 503, "a", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{SECOND} INVITE")]);
    assert_eq!(session(&the(&sent, "INVITE")), "relay-offer");
    let sent = world.deliver(SECOND, &answer(&sent[1], 200, "b", "answer", &[]));
    assert_eq!(session(&the(&sent, "SIP/2.0 200")), "relay-answer");
    assert_eq!(world.asked(), ["Answer 1 caller>b"], "the branch of the offer");
    world.settle();
}

/// A gateway answered in a 183 and failed: the next one gets an offer of its own, and the first one's side is deleted by its tag.
#[test]
fn an_answered_offer_is_not_used_again() {
    let mut world = world();
    let (_, forwarded) = called(&mut world, "spent");
    world.deliver(GATEWAY, &answer(&forwarded, 183, "a", "early", &[]));
    world.asked();
    let sent = world.deliver(GATEWAY, &response(&forwarded, 503, "a", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{SECOND} INVITE")]);
    assert_eq!(session(&the(&sent, "INVITE")), "relay-offer");
    assert!(world.advance(Duration::ZERO).is_empty());
    let forwarded = sent[1].clone();
    let sent = world.deliver(SECOND, &answer(&forwarded, 200, "b", "answer", &[]));
    assert_eq!(session(&the(&sent, "SIP/2.0 200")), "relay-answer");
    assert_eq!(world.asked(), ["Offer 2 caller>", "DeleteBranch 1 caller>a", "Answer 2 caller>b"]);
    world.settle();
}

/// Gateways with other flags need an offer each.
#[test]
fn other_flags_need_another_offer() {
    let routing = image(|builder| {
        for (slot, flags) in [(0, "ICE=remove"), (1, "RTP/SAVP")] {
            builder
                .edit_gateway(corelane_core::routing::GatewaySlot(slot), |gateway| gateway.media_flags = flags.into());
        }
        let provider = corelane_core::routing::ProviderSlot(0);
        builder.edit_provider(provider, |provider| {
            provider.media_flags = "trust-address".into();
            provider.media_set = Some(4);
        });
    });
    let mut world = World::with(settings()).with_routing(routing).with_node();
    world.hold();
    world.deliver(CALLER, &offer("flags").text());
    let first = world.wishes[0].clone();
    assert_eq!((first.set, first.flags.as_str()), (4, "trust-address ICE=remove"));
    let forwarded = the(&world.answer_wish(), "INVITE");
    let sent = world.deliver(GATEWAY, &response(&forwarded, 503, "a", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK")], "the next one's offer is with the node");
    let second = world.wishes[0].clone();
    assert_eq!((second.attempt, second.flags.as_str(), second.node), (2, "trust-address RTP/SAVP", 3));
    assert_eq!(second.sdp, first.sdp, "the caller's own, not the relay's");
    assert_eq!(ladder(&world.answer_wish()), [format!("{SECOND} INVITE")]);
    world.settle();
}

/// The late 200 of a gateway that was given up, while the offer for the next one is with the node: it is the answer, under its own
/// attempt, and the other offer's return means nothing.
#[test]
fn a_late_answer_while_the_next_offer_is_pending() {
    let routing = image(|builder| {
        let second = corelane_core::routing::GatewaySlot(1);
        builder.edit_gateway(second, |gateway| gateway.media_flags = "other".into());
    });
    let mut world = World::with(settings()).with_routing(routing).with_node();
    let (_, forwarded) = called(&mut world, "late");
    world.hold();
    let sent = world.advance(Duration::from_millis(4_010));
    assert!(!ladder(&sent).contains(&format!("{SECOND} INVITE")));
    let pending = world.wishes.pop_front().expect("the second offer");
    world.deliver(GATEWAY, &answer(&forwarded, 200, "a", "answer", &[]));
    let sent = world.answer_wish();
    assert_eq!(session(&the(&sent, "SIP/2.0 200")), "relay-answer");
    assert!(world.reply(&pending).is_empty());
    assert_eq!(world.asked(), ["Offer 1 caller>", "Answer 1 caller>a", "Offer 2 caller>"]);
    assert_eq!(world.count(Counter::MediaLate), 1);
    world.settle();
}

/// No offer of the caller's: each attempt is a branch of its own at the node.
#[test]
fn a_delayed_offer_of_the_second_gateway() {
    let mut world = world();
    let forwarded = the(&world.deliver(CALLER, &bare("two").text()), "INVITE");
    let sent = world.deliver(GATEWAY, &response(&forwarded, 503, "a", &[]));
    let sent = world.deliver(SECOND, &answer(&the(&sent, "INVITE"), 200, "b", "offer", &[]));
    assert_eq!(session(&the(&sent, "SIP/2.0 200")), "relay-offer");
    assert_eq!(world.asked(), ["Offer 2 b>caller"]);
    world.settle();
}

/// No node for the second offer: 503 with Retry-After, and nobody else is asked.
#[test]
fn no_node_for_the_second_offer() {
    let mut world = world();
    let (_, forwarded) = called(&mut world, "none");
    world.deliver(GATEWAY, &answer(&forwarded, 183, "a", "early", &[]));
    world.node().says.push((Verb::Offer, MediaOutcome::NoNode));
    let mut sent = world.deliver(GATEWAY, &response(&forwarded, 503, "a", &[]));
    sent.extend(world.advance(Duration::ZERO));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 503")]);
    world.settle();
}

/// The gateway that rings is cancelled when one that was given up answers, and its side at the node goes by its tag.
#[test]
fn a_branch_that_rang_with_sdp_is_deleted_when_another_answers() {
    let mut world = world();
    let (_, first) = called(&mut world, "else");
    let second = the(&world.advance(Duration::from_millis(4_010)), &format!("INVITE sip:4930123456@{SECOND}"));
    world.deliver(SECOND, &answer(&second, 183, "b", "early", &[]));
    let sent = world.deliver(GATEWAY, &answer(&first, 200, "a", "answer", &[]));
    assert_eq!(ladder(&sent), [format!("{SECOND} CANCEL"), format!("{CALLER} 200")], "no CANCEL waits for a node");
    world.asked();
    world.deliver(SECOND, &response(&second, 487, "b", &[]));
    world.advance(Duration::ZERO);
    assert_eq!(
        world.wishes.pop_front().map(|wish| wish.word()).into_iter().chain(world.asked()).collect::<Vec<_>>(),
        ["DeleteBranch 1 caller>b"]
    );
    world.settle();
}

/// The 2xx of a gateway that was given up is with the node: it has answered the call, whatever the next gateway says or does not say, and
/// whatever time it is (RFC 3261 §16.7 step 5). The next one is cancelled, and where the node fails the call ends.
#[test]
fn an_answer_at_the_node_decides_the_call() {
    #[derive(Copy, Clone, PartialEq, Debug)]
    enum Then {
        Busy,
        Silence,
        InviteTimeout,
        Failure,
    }
    for then in [Then::Busy, Then::Silence, Then::InviteTimeout, Then::Failure] {
        let mut settings = settings();
        settings.timers.media_timeout = Duration::from_secs(60);
        let mut world = World::with(settings).with_routing(image(|_| {})).with_node();
        let (_, first) = called(&mut world, "decides");
        let second = the(&world.advance(Duration::from_millis(4_010)), &format!("INVITE sip:4930123456@{SECOND}"));
        if then != Then::Silence {
            world.deliver(SECOND, &response(&second, 100, "", &[]));
        }
        world.hold();
        let sent = world.deliver(GATEWAY, &answer(&first, 200, "a", "answer", &["Contact: <sip:a@198.51.100.20>"]));
        let cancelled = ladder(&sent);
        match then {
            Then::Silence => assert!(cancelled.is_empty(), "nothing came that could be cancelled: {cancelled:?}"),
            _ => assert_eq!(cancelled, [format!("{SECOND} CANCEL")], "{then:?}"),
        }
        match then {
            Then::Busy | Then::Failure => {
                let sent = world.deliver(SECOND, &response(&second, 486, "b", &[]));
                assert_eq!(ladder(&sent), [format!("{SECOND} ACK")]);
            }
            Then::Silence => assert!(world.advance(Duration::from_secs(6)).is_empty(), "no other gateway, and no 408"),
            Then::InviteTimeout => {
                let sent = world.advance(Duration::from_secs(27));
                assert!(ladder(&sent).iter().all(|line| *line == format!("{SECOND} CANCEL")), "{:?}", ladder(&sent));
            }
        }
        if then == Then::Failure {
            world.node().says.push((Verb::Answer, MediaOutcome::Failed));
            let sent = world.answer_wish();
            assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} 500")]);
        } else {
            let sent = world.answer_wish();
            assert_eq!(ladder(&sent), [format!("{CALLER} 200")], "{then:?}");
            assert_eq!(session(&sent[0]), "relay-answer");
            assert_eq!(world.count(Counter::CallsAnswered), 1);
        }
        world.settle();
    }
}
