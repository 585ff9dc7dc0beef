//! Where a description stands, and how it says what it is: Content-Type in all its notations, and messages that neither offer nor answer (RFC 3261
//! §7.3.1 and §20.15, RFC 6086 §4.3, RFC 6337 §2.1).

use corelane_core::Counter;

use super::node::{ENDPOINT, sdp, session};
use super::through::{answer, bare, called, offer, talking, the, with_sdp, world};
use crate::world::{Answered, CALLER, GATEWAY, ladder, response};

const TYPE: &str = "Content-Type: application/sdp\r\n";

/// However the header is written, it is one description, and the header stays as it was.
#[test]
fn however_a_content_type_is_written() {
    for written in [
        "c: application/sdp\r\n",
        "C : Application/SDP\r\n",
        "CONTENT-TYPE:application/sdp;charset=UTF-8\r\n",
        "Content-Type:\tapplication/sdp ; x=\"a;b/c\"\r\n",
        "Content-Type:\r\n application / sdp\r\n",
        "Content-Type: application/sdp\r\nContent-Encoding: identity\r\n",
        "Content-Type: application/sdp\r\nContent-Disposition: session;handling=required\r\n",
    ] {
        let mut world = world();
        let sent = the(&world.deliver(CALLER, &offer("kinds").text().replace(TYPE, written)), "INVITE");
        assert_eq!(session(&sent), "relay-offer", "{written}");
        assert!(sent.text.contains(written), "{}", sent.text);
        let ok = answer(&sent, 200, "callee", "answer", &[]).replace(TYPE, written);
        assert_eq!(session(&the(&world.deliver(GATEWAY, &ok), "SIP/2.0 200")), "relay-answer", "{written}");
        world.settle();
    }
}

/// A Content-Type without a body describes nothing.
#[test]
fn a_type_without_a_body() {
    let mut world = world();
    let mut empty = bare("empty");
    empty.extra.push("Content-Type: application/sdp".into());
    the(&world.deliver(CALLER, &empty.text()), "INVITE");
    assert!(world.asked().is_empty());
    world.settle();
}

/// SDP in INFO, MESSAGE, OPTIONS, NOTIFY or BYE of a call, and in what answers it, is no offer and no answer: it says what a side could, or what an
/// application wants to know. It passes, and no node is asked.
#[test]
fn sdp_that_neither_offers_nor_answers() {
    for method in ["INFO", "MESSAGE", "OPTIONS", "NOTIFY", "BYE"] {
        for of_callee in [false, true] {
            let mut world = world();
            let call = talking(&mut world, "other");
            let (peer, request) = match of_callee {
                true => (GATEWAY, call.callee_sends(method, "other-1", 7)),
                false => (CALLER, call.caller_sends(method, "other-1", 7)),
            };
            let sent = world.deliver(peer, &with_sdp(&request, "facts").text());
            assert_eq!(sent.len(), 1, "{method}");
            assert!(sent[0].text.ends_with(&sdp("facts")), "{}", sent[0].text);
            let other = sent[0].to.clone();
            let back = world.deliver(&other, &answer(&sent[0], 200, "", "can", &[]));
            assert_eq!(ladder(&back), [format!("{peer} 200")]);
            assert!(back[0].text.contains(ENDPOINT));
            assert!(world.asked().is_empty());
            assert_eq!(world.count(Counter::MediaAsked), 2, "the call's own");
            world.settle();
        }
    }
}

/// A CANCEL goes from hop to hop: that to the gateway is Corelane's own, and so is the answer to the caller's.
#[test]
fn sdp_in_a_cancel_stays_here() {
    let mut world = world();
    let (invite, forwarded) = called(&mut world, "cancel");
    world.deliver(GATEWAY, &response(&forwarded, 180, "callee", &[]));
    let sent = world.deliver(CALLER, &with_sdp(&invite.hop("CANCEL"), "facts").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{GATEWAY} CANCEL")]);
    assert!(sent.iter().all(|sent| session(sent).is_empty()));
    let refusal = response(&forwarded, 487, "callee", &[]);
    world.deliver(GATEWAY, &refusal);
    world.settle();
}

/// UPDATE with an offer before the first one is answered, of either side (RFC 3311 §5.1 forbids it): it passes, its refusal takes it back, and the first
/// one is answered all the same.
#[test]
fn an_update_before_the_first_answer() {
    for of in ["caller", "callee"] {
        let mut world = world();
        let (invite, forwarded) = called(&mut world, "soon");
        let ok = the(&world.deliver(GATEWAY, &response(&forwarded, 180, "callee", &[])), "SIP/2.0 180");
        let call = Answered { invite, forwarded, ok };
        let (peer, update, other) = match of {
            "caller" => (CALLER, call.caller_sends("UPDATE", "soon-1", 2), "callee"),
            _ => (GATEWAY, call.callee_sends("UPDATE", "soon-1", 7), "caller"),
        };
        let sent = the(&world.deliver(peer, &with_sdp(&update, "hold").text()), "UPDATE");
        assert_eq!(session(&sent), "relay-hold");
        world.deliver(&sent.to.clone(), &response(&sent, 491, "", &[]));
        let ok = world.deliver(GATEWAY, &answer(&call.forwarded, 200, "callee", "answer", &[]));
        assert_eq!(session(&the(&ok, "SIP/2.0 200")), "relay-answer");
        assert_eq!(
            world.asked(),
            [
                "Offer 1 caller>".to_owned(),
                format!("Offer 1 {of}>{other}"),
                format!("Restore 1 {of}>{other}"),
                "Answer 1 caller>callee".to_owned()
            ]
        );
        world.settle();
    }
}

/// The 200 of a re-INVITE says something else than its 183: a node is asked again, as for the first INVITE.
#[test]
fn a_200_after_a_183_of_a_reinvite() {
    for (name, wishes) in [("early", 0), ("late", 1)] {
        let mut world = world();
        let call = talking(&mut world, "two");
        let reinvite = with_sdp(&call.caller_sends("INVITE", "two-again", 2), "video");
        let forwarded = the(&world.deliver(CALLER, &reinvite.text()), "INVITE");
        let early = answer(&forwarded, 183, "", "early", &["Require: 100rel", "RSeq: 1"]);
        assert_eq!(session(&the(&world.deliver(GATEWAY, &early), "SIP/2.0 183")), "relay-early");
        world.asked();
        let ok = the(&world.deliver(GATEWAY, &answer(&forwarded, 200, "", name, &[])), "SIP/2.0 200");
        assert_eq!(session(&ok), format!("relay-{name}"));
        assert_eq!(world.asked(), vec!["Answer 1 caller>callee"; wishes]);
        world.settle();
    }
}

/// The callee's offer was answered by a PRACK: SDP in the ACK of its 200 answers nothing.
#[test]
fn an_ack_behind_a_prack_that_answered() {
    let mut world = world();
    let invite = bare("done");
    let forwarded = the(&world.deliver(CALLER, &invite.text()), "INVITE");
    let reliable = answer(&forwarded, 183, "callee", "offer", &["Require: 100rel", "RSeq: 1"]);
    let call = Answered { invite, ok: the(&world.deliver(GATEWAY, &reliable), "SIP/2.0 183"), forwarded };
    the(&world.deliver(CALLER, &with_sdp(&call.caller_sends("PRACK", "done-1", 2), "answer").text()), "PRACK");
    the(&world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &[])), "SIP/2.0 200");
    world.asked();
    let ack = with_sdp(&call.caller_sends("ACK", "done-2", 1), "more");
    assert_eq!(session(&the(&world.deliver(CALLER, &ack.text()), "ACK")), "");
    assert!(world.asked().is_empty());
    world.settle();
}
