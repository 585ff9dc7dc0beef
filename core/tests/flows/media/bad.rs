//! What nodes, the control core and endpoints should not do: each has an end (docs/media.md).

use std::time::Duration;

use corelane_core::bus::{ExchangeId, MediaOutcome, MediaReply, Verb};
use corelane_core::call::EndReason;
use corelane_core::engine::{Budget, Timers};
use corelane_core::{Counter, Input, Settings};

use super::node::{sdp, session};
use super::through::{answer, bare, called, image, offer, talking, the, with_sdp, world};
use crate::refusals::untagged;
use crate::world::{Answered, CALLER, GATEWAY, Request, World, invite, ladder, response, settings};

/// The node refuses the offer: 488, and no gateway hears of the call.
#[test]
fn an_offer_that_the_node_refuses() {
    let mut world = world();
    world.node().says.push((Verb::Offer, MediaOutcome::Refused));
    let sent = world.deliver(CALLER, &offer("no").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{CALLER} 488")]);
    assert_eq!((world.last_record().status, world.last_record().media), (488, true));
    world.settle();
}

/// RFC 3261 §8.1.1.3: at a node a side has the name of its tag. Nobody is asked for one without.
#[test]
fn an_offer_without_a_from_tag() {
    let mut world = world();
    for bad in untagged(&offer("untagged")) {
        assert_eq!(ladder(&world.deliver(CALLER, &bad)), [format!("{CALLER} 400")], "{bad}");
    }
    assert_eq!((world.count(Counter::MediaAsked), world.count(Counter::CallsStarted)), (0, 0));
    world.settle();
}

/// No node, or one that fails: 503 with Retry-After at once.
#[test]
fn an_offer_that_no_node_takes() {
    for outcome in [MediaOutcome::NoNode, MediaOutcome::Failed] {
        let mut world = world();
        world.node().says.push((Verb::Offer, outcome));
        let sent = world.deliver(CALLER, &offer("none").text());
        assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{CALLER} 503")]);
        assert!((1..=5).contains(&sent[1].header("Retry-After").parse().expect("seconds")));
        world.settle();
    }
}

/// Done, and nothing with it; done, with more than a message can take.
#[test]
fn a_reply_that_cannot_be_used() {
    let mut world = world();
    world.hold();
    world.deliver(CALLER, &offer("empty").text());
    let exchange = world.wishes.pop_front().expect("a wish").exchange;
    let reply = |exchange, sdp| Input::Media(MediaReply { exchange, outcome: MediaOutcome::Done, node: 3, sdp });
    assert_eq!(ladder(&world.handle(reply(exchange, b""))), [format!("{CALLER} 503")]);
    world.deliver(CALLER, &offer("large").text());
    let exchange = world.wishes.pop_front().expect("a wish").exchange;
    let large = sdp("x").replace("endpoint", "relay") + &"a=x\r\n".repeat(2_000);
    assert_eq!(ladder(&world.handle(reply(exchange, large.as_bytes()))), [format!("{CALLER} 513")]);
    // A 200 that grows too large has no answer.
    let forwarded = {
        world.deliver(CALLER, &offer("grow").text());
        the(&world.answer_wish(), "INVITE")
    };
    world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", "answer", &[]));
    let exchange = world.wishes.pop_front().expect("a wish").exchange;
    let sent = world.handle(reply(exchange, large.as_bytes()));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} 500")]);
    world.settle();
}

/// A reply that comes twice, late, or for nobody changes nothing.
#[test]
fn replies_that_nobody_waits_for() {
    let mut world = world();
    world.hold();
    world.deliver(CALLER, &offer("twice").text());
    let wish = world.wishes.pop_front().expect("a wish");
    assert_eq!(ladder(&world.reply(&wish)), [format!("{GATEWAY} INVITE")]);
    assert!(world.reply(&wish).is_empty());
    for exchange in
        [ExchangeId { index: 9, generation: 1 }, ExchangeId { index: u32::MAX, generation: 7 }, ExchangeId::NOBODY]
    {
        let reply = MediaReply { exchange, outcome: MediaOutcome::Done, node: 1, sdp: b"v=0\r\n" };
        assert!(world.handle(Input::Media(reply)).is_empty());
    }
    assert_eq!(world.count(Counter::MediaLate), 3, "nobody is nobody's");
    world.settle();
}

/// The control core never answers: `media_timeout` ends each wait. The caller had his 100 at once.
#[test]
fn a_control_core_that_never_answers() {
    let mut world = world();
    world.hold();
    let sent = world.deliver(CALLER, &offer("mute").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100")]);
    assert!(world.advance(Duration::from_millis(4_900)).is_empty());
    assert_eq!(ladder(&world.advance(Duration::from_millis(200))), [format!("{CALLER} 503")]);
    assert_eq!(world.count(Counter::MediaTimeouts), 1);
    let late = world.wishes.pop_front().expect("a wish");
    assert!(world.reply(&late).is_empty());
    world.settle();
}

/// CANCEL while the offer is with the node: 487 at once, and the reply finds nobody.
#[test]
fn a_cancel_while_the_offer_is_pending() {
    let mut world = world();
    world.hold();
    let invite = offer("cancel");
    world.deliver(CALLER, &invite.text());
    let sent = world.deliver(CALLER, &invite.hop("CANCEL").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{CALLER} 487")]);
    assert_eq!(world.last_record().reason, EndReason::Cancelled);
    assert!(world.last_record().media, "the node may have it");
    assert!(world.answer_wish().is_empty());
    assert_eq!(world.count(Counter::MediaLate), 1);
    world.settle();
}

/// `invite_timeout` while the offer is with the node: 408.
#[test]
fn invite_timeout_while_the_offer_is_pending() {
    let mut settings = settings();
    settings.timers.invite_timeout = Duration::from_secs(2);
    let mut world = World::with(settings).with_routing(image(|_| {})).with_node();
    world.hold();
    world.deliver(CALLER, &offer("slow").text());
    assert_eq!(ladder(&world.advance(Duration::from_millis(2_100))), [format!("{CALLER} 408")]);
    world.settle();
}

/// The answer of the first 2xx fails: ACK and BYE to the callee, 500 upstream, no other gateway. Its repetition is acknowledged.
#[test]
fn the_answer_of_a_200_fails() {
    for outcome in [MediaOutcome::Failed, MediaOutcome::Refused, MediaOutcome::NoNode] {
        let mut world = world();
        let (_, forwarded) = called(&mut world, "fails");
        world.node().says.push((Verb::Answer, outcome));
        let ok = answer(&forwarded, 200, "callee", "answer", &["Contact: <sip:bob@198.51.100.20>"]);
        let sent = world.deliver(GATEWAY, &ok);
        assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} 500")]);
        assert_eq!((world.last_record().status, world.last_record().attempts), (500, 1));
        assert_eq!(ladder(&world.deliver(GATEWAY, &ok)), [format!("{GATEWAY} ACK")]);
        world.settle();
    }
}

/// The same when the caller has cancelled meanwhile: he gets his 487.
#[test]
fn the_answer_fails_after_a_cancel() {
    let mut world = world();
    let (invite, forwarded) = called(&mut world, "both");
    world.hold();
    world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", "answer", &[]));
    world.deliver(CALLER, &invite.hop("CANCEL").text());
    world.node().says.push((Verb::Answer, MediaOutcome::Failed));
    let sent = world.answer_wish();
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} 487")]);
    world.settle();
}

/// The answer of a 183 fails: it goes upstream without SDP; a reliable one is lost, and comes again.
#[test]
fn the_answer_of_a_183_fails() {
    let mut world = world();
    let (_, forwarded) = called(&mut world, "early");
    world.node().says.push((Verb::Answer, MediaOutcome::Failed));
    let sent = world.deliver(GATEWAY, &answer(&forwarded, 183, "a", "early", &[]));
    let progress = the(&sent, "SIP/2.0 183");
    assert_eq!(session(&progress), "");
    assert!(progress.headers("Content-Type").is_empty());
    world.node().says.push((Verb::Answer, MediaOutcome::Failed));
    let reliable = answer(&forwarded, 183, "b", "early", &["RSeq: 1", "Require: 100rel"]);
    assert!(world.deliver(GATEWAY, &reliable).is_empty());
    let sent = world.deliver(GATEWAY, &reliable);
    assert_eq!(session(&the(&sent, "SIP/2.0 183")), "relay-early");
    world.settle();
}

/// The answer in the ACK of a delayed offer fails: it goes without SDP, and the call that it opened ends with BYE both ways.
#[test]
fn the_answer_of_an_ack_fails() {
    let mut world = world();
    let invite = bare("ack");
    let forwarded = the(&world.deliver(CALLER, &invite.text()), "INVITE");
    let sent =
        world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", "offer", &["Contact: <sip:bob@198.51.100.20>"]));
    let call = Answered { invite, forwarded, ok: the(&sent, "SIP/2.0 200") };
    world.node().says.push((Verb::Answer, MediaOutcome::Failed));
    let sent = world.deliver(CALLER, &with_sdp(&call.caller_sends("ACK", "ack-ack", 1), "answer").text());
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
    assert_eq!(session(&sent[0]), "");
    assert_eq!(world.last_record().reason, EndReason::Lost);
    world.settle();
}

/// The same in a call that stands: the ACK goes without SDP, the session is restored, the call goes on.
#[test]
fn the_answer_of_a_reinvites_ack_fails() {
    let mut world = world();
    let call = talking(&mut world, "reack");
    let forwarded = the(&world.deliver(CALLER, &call.caller_sends("INVITE", "reack-inv", 2).text()), "INVITE");
    world.deliver(GATEWAY, &answer(&forwarded, 200, "", "offer", &[]));
    world.node().says.push((Verb::Answer, MediaOutcome::Failed));
    let sent = world.deliver(CALLER, &with_sdp(&call.caller_sends("ACK", "reack-ack", 2), "answer").text());
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK")]);
    assert_eq!(session(&sent[0]), "");
    assert_eq!(world.asked(), ["Offer 1 callee>caller", "Answer 1 callee>caller", "Restore 1 callee>caller"]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// A PRACK whose answer fails is refused; the call goes on.
#[test]
fn the_answer_of_a_prack_fails() {
    let mut world = world();
    let invite = bare("prack");
    let forwarded = the(&world.deliver(CALLER, &invite.text()), "INVITE");
    let reliable = answer(&forwarded, 183, "callee", "offer", &["RSeq: 1", "Require: 100rel"]);
    let call = Answered { invite, ok: the(&world.deliver(GATEWAY, &reliable), "SIP/2.0 183"), forwarded };
    world.node().says.push((Verb::Answer, MediaOutcome::Failed));
    let sent = world.deliver(CALLER, &with_sdp(&call.caller_sends("PRACK", "prack-1", 2), "answer").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 503")]);
    // The offer of the 183 still stands: what comes in the next PRACK is its answer, and no offer.
    let sent = world.deliver(CALLER, &with_sdp(&call.caller_sends("PRACK", "prack-2", 3), "answer").text());
    assert_eq!(session(&the(&sent, "PRACK")), "relay-answer");
    assert_eq!(world.asked(), ["Offer 1 callee>caller", "Answer 1 callee>caller", "Answer 1 callee>caller"]);
    world.deliver(GATEWAY, &response(&call.forwarded, 486, "callee", &[]));
    world.settle();
}

/// A body that nobody can read for sure: 488, and in a 2xx as if the answer had failed; in an ACK it stays here.
#[test]
fn an_encoded_description() {
    let mut world = world();
    let mut encoded = offer("gzip");
    encoded.extra.push("Content-Encoding: gzip".into());
    let sent = world.deliver(CALLER, &encoded.text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{CALLER} 488")]);
    let (_, forwarded) = called(&mut world, "gzip2");
    let sent = world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", "answer", &["Content-Encoding: gzip"]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} 500")]);
    let call = talking(&mut world, "gzip3");
    let mut update = with_sdp(&call.caller_sends("UPDATE", "gzip3-1", 2), "video");
    update.extra.push("Content-Encoding: gzip".into());
    assert_eq!(ladder(&world.deliver(CALLER, &update.text())), [format!("{CALLER} 488")]);
    world.settle();
}

/// A description that one reader finds and another does not: refused as one that cannot be read, and found where a fold hides it.
#[test]
fn a_description_that_hides() {
    let mut world = world();
    let two = |text: String| text.replace("Content-Type: ", "Content-Type: text/plain\r\nc: ");
    let sent = world.deliver(CALLER, &two(offer("two").text()));
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{CALLER} 488")]);
    let (_, forwarded) = called(&mut world, "two2");
    let sent = world.deliver(GATEWAY, &two(answer(&forwarded, 200, "callee", "answer", &[])));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} 500")]);
    let call = talking(&mut world, "two3");
    let update = two(with_sdp(&call.caller_sends("UPDATE", "two3-1", 2), "video").text());
    assert_eq!(ladder(&world.deliver(CALLER, &update)), [format!("{CALLER} 488")]);
    let mut folded = bare("folded");
    folded.extra.push("Content-Type: multipart/mixed;boundary=b".into());
    folded.body = format!("--b\r\nContent-Type:\r\n application/sdp\r\n\r\n{}\r\n--b--\r\n", sdp("offer"));
    assert_eq!(session(&the(&world.deliver(CALLER, &folded.text()), "INVITE")), "relay-offer");
    world.settle();
}

/// A body of another kind is nobody's offer: no node is asked.
#[test]
fn a_body_without_sdp_passes() {
    let mut world = world();
    let mut other = bare("isup");
    other.extra.push("Content-Type: application/isup".into());
    let sent = world.deliver(CALLER, &Request { body: "\u{1}\u{2}".into(), ..other }.text());
    assert!(the(&sent, "INVITE").text.ends_with("\r\n\r\n\u{1}\u{2}"));
    assert!(world.asked().is_empty());
    world.settle();
}

/// SDP beside another part: that one stays byte for byte.
#[test]
fn sdp_in_a_multipart() {
    let mut world = world();
    let mut multipart = bare("multi");
    multipart.extra.push("Content-Type: multipart/mixed;boundary=\"b\"".into());
    let part = |sdp: &str| {
        format!(
            "--b\r\nContent-Type: application/isup\r\n\r\n\u{1}\r\n--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b--\r\n"
        )
    };
    multipart.body = part(&sdp("offer"));
    let forwarded = the(&world.deliver(CALLER, &multipart.text()), "INVITE");
    let relayed = world.node().given.iter().next().expect("one").clone();
    assert!(forwarded.text.ends_with(&part(&relayed)));
    assert_eq!(session(&forwarded), "relay-offer");
    world.settle();
}

/// No place to wait in: 503 for a new call; a 2xx is lost and comes again; calls that stand keep their last places.
#[test]
fn no_room_to_wait() {
    let budget = Budget { exchanges: 1, ..Budget::for_shard(100, 10, 1, &Timers::default()) };
    let mut world = World::with(Settings { budget, ..settings() }).with_routing(image(|_| {})).with_node();
    let sent = world.deliver(CALLER, &offer("full").text());
    assert_eq!(
        ladder(&sent),
        [format!("{CALLER} 100"), format!("{CALLER} 503")],
        "the one place is for calls that run"
    );
    assert!((1..=5).contains(&sent[1].header("Retry-After").parse().expect("seconds")));
    let one = the(&world.deliver(CALLER, &bare("one").text()), "INVITE");
    let two = the(&world.deliver(CALLER, &bare("two").text()), "INVITE");
    world.hold();
    assert!(world.deliver(GATEWAY, &answer(&one, 200, "a", "one", &[])).is_empty());
    let progress = the(&world.deliver(GATEWAY, &answer(&two, 183, "b", "two", &[])), "SIP/2.0 183");
    assert_eq!(session(&progress), "", "ringing needs no SDP");
    let ok = answer(&two, 200, "b", "two", &[]);
    assert!(world.deliver(GATEWAY, &ok).is_empty(), "lost");
    assert_eq!(ladder(&world.answer_wish()), [format!("{CALLER} 200")]);
    assert!(world.deliver(GATEWAY, &ok).is_empty());
    assert_eq!(ladder(&world.answer_wish()), [format!("{CALLER} 200")]);
    world.settle();
}

/// An INVITE whose SDP has no Content-Type is an offer as well.
#[test]
fn sdp_without_a_content_type() {
    let mut world = world();
    let forwarded = the(&world.deliver(CALLER, &invite("4930123456", "untyped").text()), "INVITE");
    assert!(forwarded.text.contains("c=IN IP4 203.0.113.9"), "the relay's");
    world.settle();
}

/// The operator ends the calls while a node is asked: nothing is left of them.
#[test]
fn a_hang_up_while_a_node_is_asked() {
    let mut world = world();
    let call = talking(&mut world, "stands");
    world.hold();
    world.deliver(CALLER, &offer("pending").text());
    world.deliver(CALLER, &with_sdp(&call.caller_sends("INVITE", "stands-inv", 2), "video").text());
    let command = corelane_core::engine::Command::HangUpAll;
    world.handle(Input::Command(command));
    let sent = world.advance(Duration::from_millis(10));
    let ladder_of = ladder(&sent);
    assert!(
        ladder_of.contains(&format!("{GATEWAY} BYE")) && ladder_of.contains(&format!("{CALLER} 480")),
        "{ladder_of:?}"
    );
    while !world.wishes.is_empty() {
        world.answer_wish();
    }
    world.settle();
}
