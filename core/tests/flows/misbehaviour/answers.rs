//! Responses that come too late, too often, changed, from elsewhere, or without what they need.

use std::time::Duration;

use corelane_core::Counter;
use corelane_core::call::EndReason;

use crate::hangup::hang_up_all;
use crate::world::{CALLER, GATEWAY, STRANGER, World, answered, invite, ladder, response, ringing, unacknowledged};

/// RFC 3261 §13.3.1.4: a repeated 2xx is the same; one that is not passes as it came, and makes no second call.
#[test]
fn another_sdp_in_a_repeated_200_passes() {
    let mut world = World::new();
    let call = unacknowledged(&mut world, "sdp");
    let again = response(&call.forwarded, 200, "callee", &["Contact: <sip:other@198.51.100.99>"])
        .replace("Content-Length: 0\r\n\r\n", "Content-Length: 7\r\n\r\nv=0 two");
    let sent = world.deliver(GATEWAY, &again);
    assert_eq!(ladder(&sent), [format!("{CALLER} 200")]);
    assert!(sent[0].text.ends_with("\r\n\r\nv=0 two"));
    world.deliver(CALLER, &call.caller_sends("ACK", "sdp-ack", 1).text());
    assert_eq!(world.count(Counter::CallsAnswered), 1);
    let byes = hang_up_all(&mut world);
    assert_eq!(byes[0].start_line(), "BYE sip:bob@198.51.100.20 SIP/2.0", "the first answer counts");
    world.settle();
}

/// RFC 3261 §8.1.1.8 allows one Contact: all pass, the first is the target of Corelane's own BYE.
#[test]
fn several_contacts_in_a_200() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "many").text())[1].clone();
    let contacts = "<sip:bob@198.51.100.20>, <sip:bob@203.0.113.1>";
    let sent = world.deliver(GATEWAY, &response(&forwarded, 200, "t", &[&format!("Contact: {contacts}")]));
    assert_eq!(sent[0].header("Contact"), contacts);
    assert_eq!(hang_up_all(&mut world)[1].start_line(), "BYE sip:bob@198.51.100.20 SIP/2.0");
    world.settle();
}

/// RFC 3261 §12.1.1 wants a Contact of both sides. Without, or with one that names nobody, a side is asked for by its address.
#[test]
fn no_contact_or_none_that_can_be_used() {
    for contact in [None, Some("Contact: *"), Some("Contact: <tel:>"), Some("Contact: ;;;")] {
        let mut world = World::new();
        let mut request = invite("4930123456", "nobody");
        request.extra = contact.iter().map(|&line| line.to_owned()).collect();
        let forwarded = world.deliver(CALLER, &request.text())[1].clone();
        let lines: Vec<&str> = contact.into_iter().collect();
        let sent = world.deliver(GATEWAY, &response(&forwarded, 200, "t", &lines));
        assert_eq!(ladder(&sent), [format!("{CALLER} 200")], "{contact:?}");
        let byes = hang_up_all(&mut world);
        assert_eq!(ladder(&byes), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
        let asked: Vec<&str> = byes.iter().filter_map(|bye| bye.start_line().split(' ').nth(1)).collect();
        let callee = format!("sip:{GATEWAY}");
        assert_eq!(asked, [callee.as_str(), &callee, &format!("sip:{CALLER}")], "{contact:?}");
        world.settle();
    }
}

/// `symmetric_signalling`: a Contact behind NAT, or one that no name server knows, decides nothing; the learned peer does.
#[test]
fn an_unreachable_contact_is_not_gone_to() {
    let mut world = World::new();
    let mut call = ringing(&mut world, "nat");
    let contact = ["Contact: <sip:bob@10.255.255.1:5999>"];
    call.ok = world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &contact))[0].clone();
    for (method, cseq) in [("ACK", 1), ("INFO", 2)] {
        let mut request = call.caller_sends(method, method, cseq);
        request.uri = "sip:bob@10.255.255.1:5999".into();
        let sent = world.deliver(CALLER, &request.text());
        assert_eq!(ladder(&sent), [format!("{GATEWAY} {method}")]);
        assert!(sent[0].start_line().contains("10.255.255.1:5999"), "the Request-URI is the peer's");
    }
    let byes = hang_up_all(&mut world);
    assert_eq!(ladder(&byes)[0], format!("{GATEWAY} BYE"));
    assert_eq!(byes[0].start_line(), "BYE sip:bob@10.255.255.1:5999 SIP/2.0");
    world.settle();
}

/// RFC 6026 §7.2, §8.7: after the 2xx nothing but a 2xx passes.
#[test]
fn what_comes_after_the_200_goes_nowhere() {
    let mut world = World::new();
    let call = answered(&mut world, "after");
    for status in [100, 180, 183, 302, 486, 603] {
        assert!(world.deliver(GATEWAY, &response(&call.forwarded, status, "callee", &[])).is_empty(), "{status}");
    }
    assert_eq!(world.count(Counter::RetransmissionsAbsorbed), 6);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// RFC 6026, figure 5: a branch that refused is decided; a 2xx of it is absorbed, and its sender ends what he began (RFC 3261 §13.3.1.4).
#[test]
fn a_200_after_the_refusal_goes_nowhere() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "torn").text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    assert!(world.deliver(GATEWAY, &response(&forwarded, 200, "t", &[])).is_empty());
    let record = world.last_record();
    assert_eq!((record.status, record.answered), (486, None));
    world.settle();
}

/// Each 101–199 passes and restarts Timer C (RFC 3261 §16.7 step 2); tags are learned up to a bound; `early_timeout` ends the ringing.
#[test]
fn a_storm_of_provisionals_ends_at_early_timeout() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "storm").text())[1].clone();
    for fork in 0..300 {
        let ring = response(&forwarded, 180 + fork % 4, &format!("fork{fork}"), &[]);
        assert_eq!(world.deliver(GATEWAY, &ring).len(), 1);
    }
    assert_eq!(world.count(Counter::ForksForgotten), 292);
    for _ in 0..4 {
        assert!(world.advance(Duration::from_millis(74_000)).is_empty());
        world.deliver(GATEWAY, &response(&forwarded, 180, "fork0", &[]));
    }
    let sent = world.advance(Duration::from_millis(4_100));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} CANCEL")]);
    let sent = world.deliver(GATEWAY, &response(&forwarded, 487, "fork0", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 408")]);
    assert_eq!(world.last_record().reason, EndReason::Unanswered);
    world.settle();
}

/// RFC 6228: a 199 says that one fork is gone. It passes, and another fork may answer.
#[test]
fn a_199_ends_no_call() {
    let mut world = World::new();
    let call = ringing(&mut world, "gone");
    let gone = response(&call.forwarded, 199, "callee", &["Reason: SIP;cause=486"]);
    assert_eq!(ladder(&world.deliver(GATEWAY, &gone)), [format!("{CALLER} 199")]);
    let ok = world.deliver(GATEWAY, &response(&call.forwarded, 200, "second", &[]));
    assert_eq!(ladder(&ok), [format!("{CALLER} 200")]);
    assert_eq!(world.count(Counter::CallsAnswered), 1);
    world.settle();
}

/// RFC 3261 §12.1: without a tag a provisional makes no dialog; it passes all the same, and it is ringing.
#[test]
fn a_180_without_a_tag_makes_no_dialog() {
    let mut world = World::new();
    let invite = invite("4930123456", "untagged");
    let forwarded = world.deliver(CALLER, &invite.text())[1].clone();
    let ok = world.deliver(GATEWAY, &response(&forwarded, 180, "", &[]));
    assert_eq!(ladder(&ok), [format!("{CALLER} 180")]);
    let call = crate::world::Answered { invite, forwarded, ok: ok[0].clone() };
    for (cseq, tag) in [(2, ""), (3, "callee")] {
        let mut update = call.caller_sends("UPDATE", &format!("untagged-{cseq}"), cseq);
        update.to_tag = tag.into();
        assert_eq!(ladder(&world.deliver(CALLER, &update.text())), [format!("{CALLER} 481")]);
    }
    world.deliver(GATEWAY, &response(&call.forwarded, 486, "callee", &[]));
    world.settle();
}

/// Inside a dialog nobody else can be asked: a 503 or a 3xx of the callee passes as it came, and the call goes on.
#[test]
fn a_503_or_302_inside_the_dialog_passes() {
    for status in [302, 503] {
        let mut world = World::new();
        let call = answered(&mut world, "inside");
        let again = world.deliver(CALLER, &call.caller_sends("INVITE", "inside-2", 2).text())[1].clone();
        let sent = world.deliver(GATEWAY, &response(&again, status, "", &["Retry-After: 9"]));
        assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} {status}")]);
        assert_eq!(sent[1].header("Retry-After"), "9");
        assert_eq!(world.count(Counter::CallsLive), 1);
        world.settle();
    }
}

/// RFC 3261 §16.7 step 3: our Via comes off, whatever else is there stays; the way back is the server transaction's, not the Via's.
#[test]
fn a_via_too_many() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "via").text())[1].clone();
    let own = format!("Via: {}\r\n", forwarded.header("Via"));
    let extra = "Via: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK-extra\r\n";
    let ring = response(&forwarded, 180, "t", &[]);
    let sent = world.deliver(GATEWAY, &ring.replace(&own, &format!("{own}{extra}")));
    assert_eq!(ladder(&sent), [format!("{CALLER} 180")]);
    assert_eq!(sent[0].headers("Via").len(), 2);
    // On top of ours it is somebody else's response (§18.1.2).
    assert!(world.deliver(GATEWAY, &ring.replace(&own, &format!("{extra}{own}"))).is_empty());
    assert_eq!(world.count(Counter::StrayResponses), 1);
    world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    world.settle();
}

/// RFC 3261 §18.1.2: the branch matches a response, not where it came from; the next request goes where the INVITE went.
#[test]
fn a_response_from_a_third_address_counts() {
    let mut world = World::new();
    let invite = invite("4930123456", "elsewhere");
    let forwarded = world.deliver(CALLER, &invite.text())[1].clone();
    assert_eq!(ladder(&world.deliver(STRANGER, &response(&forwarded, 180, "callee", &[]))), [format!("{CALLER} 180")]);
    let ok = world.deliver(STRANGER, &response(&forwarded, 200, "callee", &[]))[0].clone();
    let call = crate::world::Answered { invite, forwarded, ok };
    let ack = world.deliver(CALLER, &call.caller_sends("ACK", "elsewhere-ack", 1).text());
    assert_eq!(ladder(&ack), [format!("{GATEWAY} ACK")]);
    world.settle();
}

/// RFC 3261 §17.1.3: the branch and the method of CSeq match a response.
#[test]
fn a_response_of_another_method_is_dropped() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "method").text())[1].clone();
    for method in ["BYE", "CANCEL", "ACK"] {
        let wrong = response(&forwarded, 200, "t", &[]).replace("CSeq: 1 INVITE", &format!("CSeq: 1 {method}"));
        assert!(world.deliver(GATEWAY, &wrong).is_empty(), "{method}");
    }
    assert_eq!(world.count(Counter::StrayResponses), 3);
    assert_eq!(world.count(Counter::CallsAnswered), 0);
    world.deliver(GATEWAY, &response(&forwarded, 486, "t", &[]));
    world.settle();
}

/// RFC 3261 §12.1.1: the Record-Route comes back. Where a callee loses it the caller goes past us: to him the call stands, here its ACK
/// never comes, and `noack_timeout` ends it.
#[test]
fn a_200_that_lost_the_record_route() {
    let mut world = World::new();
    let mut call = ringing(&mut world, "bare");
    let line = format!("Record-Route: {}\r\n", call.forwarded.header("Record-Route"));
    let bare = response(&call.forwarded, 200, "callee", &[]).replace(&line, "");
    call.ok = world.deliver(GATEWAY, &bare)[0].clone();
    assert!(call.ok.headers("Record-Route").is_empty());
    assert!(world.deliver(CALLER, &call.caller_sends("ACK", "bare-ack", 1).text()).is_empty());
    let sent = world.advance(Duration::from_millis(60_100));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
    world.settle();
}

/// RFC 3262 §3: the callee repeats a reliable 183, and refuses the INVITE when no PRACK comes. All of it passes.
#[test]
fn a_prack_that_never_comes() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "noprack").text())[1].clone();
    let progress = response(&forwarded, 183, "t", &["RSeq: 1", "Require: 100rel"]);
    for _ in 0..7 {
        assert_eq!(ladder(&world.deliver(GATEWAY, &progress)), [format!("{CALLER} 183")]);
        world.advance(Duration::from_secs(4));
    }
    let sent = world.deliver(GATEWAY, &response(&forwarded, 504, "t", &[]));
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{CALLER} 504")]);
    world.settle();
}

/// RFC 3262 §3: 481 to a PRACK is about the PRACK. Neither an early dialog nor the call ends by it.
#[test]
fn a_prack_for_an_unknown_rseq() {
    let mut world = World::new();
    let mut call = ringing(&mut world, "rseq");
    for (cseq, answered) in [(2, false), (3, true)] {
        if answered {
            call.ok = world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &[]))[0].clone();
            world.deliver(CALLER, &call.caller_sends("ACK", "rseq-ack", 1).text());
        }
        let mut prack = call.caller_sends("PRACK", &format!("rseq-{cseq}"), cseq);
        prack.extra.push("RAck: 99 1 INVITE".into());
        let sent = world.deliver(CALLER, &prack.text());
        assert_eq!(ladder(&sent), [format!("{GATEWAY} PRACK")]);
        assert_eq!(ladder(&world.deliver(GATEWAY, &response(&sent[0], 481, "", &[]))), [format!("{CALLER} 481")]);
        assert_eq!(world.count(Counter::CallsLive), 1);
    }
    world.settle();
}
