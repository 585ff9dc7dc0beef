//! Several forks behind one gateway, each a side of its own at the node: with an offer of its own where the INVITE has none, and the one that answers
//! the call without SDP (RFC 3261 §13.2.2.4, RFC 3262 §5, RFC 6337 §3.1).

use corelane_core::bus::{MediaOutcome, Verb};

use super::node::session;
use super::through::{answer, bare, called, the, with_sdp, world};
use crate::world::{Answered, CALLER, GATEWAY, Request, Sent, World, ladder, response};

/// An INVITE without SDP whose forks offer, each in a reliable 183.
struct Forked {
    invite: Request,
    forwarded: Sent,
    rang: Vec<Sent>,
}

fn forked(world: &mut World, call: &str, tags: &[&str]) -> Forked {
    let invite = bare(call);
    let forwarded = the(&world.deliver(CALLER, &invite.text()), "INVITE");
    let rang = tags.iter().map(|tag| {
        let sent = the(&world.deliver(GATEWAY, &reliable(&forwarded, tag)), "SIP/2.0 183");
        assert_eq!(session(&sent), format!("relay-{tag}"));
        sent
    });
    let rang = rang.collect();
    let offers: Vec<String> = tags.iter().map(|tag| format!("Offer 1 {tag}>caller")).collect();
    assert_eq!(world.asked(), offers, "whose offer it is comes first");
    Forked { invite, forwarded, rang }
}

/// A fork's 183 with its offer.
fn reliable(forwarded: &Sent, tag: &str) -> String {
    answer(forwarded, 183, tag, tag, &["Require: 100rel", "RSeq: 1"])
}

impl Forked {
    /// A request of the caller in the dialog of a fork.
    fn caller_sends(&self, method: &'static str, tag: &str, cseq: u32) -> Request {
        let (invite, forwarded, ok) = (self.invite.clone(), self.forwarded.clone(), self.rang[0].clone());
        let call = Answered { invite, forwarded, ok };
        let mut request = call.caller_sends(method, &format!("{method}-{tag}-{cseq}"), cseq);
        request.to_tag = tag.into();
        if method == "PRACK" {
            request.extra.push("RAck: 1 1 INVITE".into());
        }
        request
    }

    fn prack(&self, tag: &str, cseq: u32, name: &str) -> String {
        with_sdp(&self.caller_sends("PRACK", tag, cseq), name).text()
    }
}

/// Each fork's offer has its own PRACK for an answer, in whatever order they come, and its next PRACK may offer. The 200 of one of them without SDP goes
/// on as it is, and what that one agreed on holds at the node, which knows the caller by one side only.
#[test]
fn forks_that_offer_are_answered_each() {
    for winner in ["a", "b"] {
        let mut world = world();
        let forks = forked(&mut world, "each", &["a", "b"]);
        for (tag, cseq) in [("a", 2), ("b", 3)] {
            let prack = the(&world.deliver(CALLER, &forks.prack(tag, cseq, "answer")), "PRACK");
            assert_eq!(session(&prack), "relay-answer");
            let ok = world.deliver(GATEWAY, &response(&prack, 200, "", &[]));
            assert_eq!(ladder(&ok), [format!("{CALLER} 200")]);
        }
        assert_eq!(world.asked(), ["Answer 1 a>caller", "Answer 1 b>caller"]);
        // Both are answered: what comes now is the caller's own.
        let prack = the(&world.deliver(CALLER, &forks.prack("a", 4, "more")), "PRACK");
        let ok = the(&world.deliver(GATEWAY, &answer(&prack, 200, "", "yes", &[])), "SIP/2.0 200");
        assert_eq!((session(&prack), session(&ok)), ("relay-more", "relay-yes"));
        assert_eq!(world.asked(), ["Offer 1 caller>a", "Answer 1 caller>a"]);
        let sent = world.deliver(GATEWAY, &response(&forks.forwarded, 200, winner, &[]));
        assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
        assert_eq!(session(&sent[0]), "");
        assert_eq!(world.asked(), [format!("Choose 1 {winner}>caller")]);
        // It comes again: nothing more is said.
        world.deliver(GATEWAY, &response(&forks.forwarded, 200, winner, &[]));
        let ack = the(&world.deliver(CALLER, &forks.caller_sends("ACK", winner, 1).text()), "ACK");
        assert_eq!(session(&ack), "");
        assert!(world.asked().is_empty());
        world.settle();
    }
}

/// Both answers are with the node at once: each goes on when its own is back, as the other's fork waits or fails.
#[test]
fn answers_of_two_forks_wait_side_by_side() {
    let mut world = world();
    let forks = forked(&mut world, "both", &["a", "b"]);
    world.hold();
    assert!(world.deliver(CALLER, &forks.prack("a", 2, "one")).is_empty());
    assert!(world.deliver(CALLER, &forks.prack("b", 3, "two")).is_empty());
    let words: Vec<String> = world.wishes.iter().map(|wish| wish.word()).collect();
    assert_eq!(words, ["Answer 1 a>caller", "Answer 1 b>caller"]);
    let second = world.wishes.pop_back().expect("b's");
    assert_eq!(session(&the(&world.reply(&second), "PRACK")), "relay-two");
    world.node().says.push((Verb::Answer, MediaOutcome::Failed));
    assert_eq!(ladder(&world.answer_wish()), [format!("{CALLER} 503")]);
    // The offer of a still stands, that of b does not: in a the next PRACK answers, in b it offers.
    world.asked();
    world.hold();
    world.deliver(CALLER, &forks.prack("b", 4, "three"));
    world.deliver(CALLER, &forks.prack("a", 5, "four"));
    let words: Vec<String> = world.wishes.iter().map(|wish| wish.word()).collect();
    assert_eq!(words, ["Offer 1 caller>b", "Answer 1 a>caller"]);
    assert_eq!(session(&the(&world.answer_wish(), "PRACK")), "relay-three");
    assert_eq!(session(&the(&world.answer_wish(), "PRACK")), "relay-four");
    world.deliver(GATEWAY, &response(&forks.forwarded, 486, "a", &[]));
    world.settle();
}

/// A fork's 183 comes again, after that of another one and after its PRACK: its offer is answered once.
#[test]
fn a_forks_183_again() {
    let mut world = world();
    let forks = forked(&mut world, "again", &["a", "b"]);
    the(&world.deliver(CALLER, &forks.prack("a", 2, "answer")), "PRACK");
    let again = the(&world.deliver(GATEWAY, &reliable(&forks.forwarded, "a")), "SIP/2.0 183");
    assert_eq!(session(&again), "relay-a");
    world.asked();
    assert_eq!(session(&the(&world.deliver(CALLER, &forks.prack("a", 3, "more")), "PRACK")), "relay-more");
    assert_eq!(session(&the(&world.deliver(CALLER, &forks.prack("b", 4, "answer")), "PRACK")), "relay-answer");
    assert_eq!(world.asked(), ["Offer 1 caller>a", "Answer 1 b>caller"]);
    world.deliver(GATEWAY, &response(&forks.forwarded, 486, "a", &[]));
    world.settle();
}

/// A fork ends its early dialog with BYE (RFC 3261 §15): what is known of the others stays theirs.
#[test]
fn a_fork_that_goes_takes_nothing_with_it() {
    let mut world = world();
    let forks = forked(&mut world, "gone", &["a", "b", "c"]);
    for (tag, cseq) in [("a", 2), ("c", 3)] {
        the(&world.deliver(CALLER, &forks.prack(tag, cseq, "answer")), "PRACK");
    }
    let bye = the(&world.deliver(CALLER, &forks.caller_sends("BYE", "a", 4).text()), "BYE");
    world.deliver(GATEWAY, &response(&bye, 200, "", &[]));
    world.asked();
    the(&world.deliver(CALLER, &forks.prack("b", 5, "answer")), "PRACK");
    the(&world.deliver(CALLER, &forks.prack("c", 6, "more")), "PRACK");
    assert_eq!(world.asked(), ["Answer 1 b>caller", "Offer 1 caller>c"]);
    assert_eq!(ladder(&world.deliver(CALLER, &forks.prack("a", 7, "more"))), [format!("{CALLER} 481")]);
    world.deliver(GATEWAY, &response(&forks.forwarded, 486, "b", &[]));
    world.settle();
}

/// The gateway is given up, and the forks of the next one are others: nothing of the first ones is taken for theirs.
#[test]
fn the_forks_of_the_next_gateway_start_anew() {
    let mut world = world();
    let forks = forked(&mut world, "next", &["a"]);
    the(&world.deliver(CALLER, &forks.prack("a", 2, "answer")), "PRACK");
    let sent = world.deliver(GATEWAY, &response(&forks.forwarded, 503, "a", &[]));
    if let Some(next) = sent.iter().find(|sent| sent.start_line().starts_with("INVITE")) {
        let peer = next.to.clone();
        world.asked();
        the(&world.deliver(&peer, &reliable(next, "d")), "SIP/2.0 183");
        the(&world.deliver(CALLER, &forks.prack("d", 3, "answer")), "PRACK");
        assert_eq!(world.asked(), ["Offer 2 d>caller", "Answer 2 d>caller"]);
        world.deliver(&peer, &response(next, 486, "d", &[]));
    } else {
        panic!("no other gateway: {:?}", ladder(&sent));
    }
    world.settle();
}

/// The caller offers, two forks answer in a 183, and one of them answers the call without SDP: it is the one that holds. Whether it was the last one
/// that a node was asked about the control core knows: an UPDATE may have come since.
#[test]
fn a_200_without_sdp_chooses_its_fork() {
    for winner in ["a", "b"] {
        let mut world = world();
        let (_, forwarded) = called(&mut world, "choose");
        for tag in ["a", "b"] {
            the(&world.deliver(GATEWAY, &reliable(&forwarded, tag)), "SIP/2.0 183");
        }
        world.asked();
        let sent = world.deliver(GATEWAY, &response(&forwarded, 200, winner, &[]));
        assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
        assert_eq!(world.asked(), [format!("Choose 1 caller>{winner}")]);
        // The other one answers as well.
        let other = if winner == "a" { "b" } else { "a" };
        let sent = world.deliver(GATEWAY, &answer(&forwarded, 200, other, "late", &[]));
        assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE")]);
        assert!(world.asked().is_empty());
        world.settle();
    }
}

/// The 200 repeats what its fork's 183 said, though that fork was not the last one that was answered: it has the relay's SDP, and the fork holds.
#[test]
fn a_200_that_repeats_its_forks_offer_chooses_it() {
    let mut world = world();
    let forks = forked(&mut world, "same", &["b", "a"]);
    for (tag, cseq) in [("a", 2), ("b", 3)] {
        the(&world.deliver(CALLER, &forks.prack(tag, cseq, "answer")), "PRACK");
    }
    world.asked();
    let ok = world.deliver(GATEWAY, &answer(&forks.forwarded, 200, "a", "a", &[]));
    assert_eq!(session(&the(&ok, "SIP/2.0 200")), "relay-a");
    assert_eq!(world.asked(), ["Choose 1 a>caller"]);
    the(&world.deliver(CALLER, &forks.caller_sends("ACK", "a", 1).text()), "ACK");
    world.settle();

    let mut world = super::through::world();
    let forks = forked(&mut world, "other", &["a", "b"]);
    for (tag, cseq) in [("a", 2), ("b", 3)] {
        the(&world.deliver(CALLER, &forks.prack(tag, cseq, "answer")), "PRACK");
    }
    world.asked();
    let ok = world.deliver(GATEWAY, &answer(&forks.forwarded, 200, "a", "a", &[]));
    assert_eq!(session(&the(&ok, "SIP/2.0 200")), "relay-a");
    assert_eq!(world.asked(), ["Offer 1 a>caller", "Choose 1 a>caller"]);
    world.settle();
}
