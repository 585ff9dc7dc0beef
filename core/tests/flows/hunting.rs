//! Hunting over gateways (SPEC §3 *Hunt*, *Answers*; RFC 3261 §16.7, §16.8, §9.1).

use std::time::Duration;

use corelane_core::call::EndReason;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::Redirect;
use corelane_core::{Counter, Flow, Input, ListenerIndex, Transport};

use super::world::{Answered, CALLER, Sent, World, endpoint, invite, ladder, response, settings};

const FIRST: &str = "198.51.100.1:5060";
const SECOND: &str = "198.51.100.2:5060";
const THIRD: &str = "198.51.100.3:5060";

/// Three gateways in this order for 49, one of them for 43.
fn image(redirect: Redirect) -> ImageBytes {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    builder.listener("10.0.1.1:5070");
    let provider = builder.provider("acme", 1);
    builder.edit_provider(provider, |provider| provider.redirect = redirect);
    builder.address(provider, "192.0.2.10");
    let gateways = [FIRST, SECOND, THIRD].map(|address| builder.gateway(address, address));
    let ordered = [(gateways[0], 1, 0), (gateways[1], 2, 0), (gateways[2], 3, 0)];
    let carrier = builder.carrier_weighted("all", &ordered);
    let last = builder.carrier("last", &[gateways[2]]);
    builder.route(1, "49", carrier);
    builder.route(1, "43", last);
    builder.finish()
}

fn world() -> World {
    World::new().with_routing(image(Redirect::Hunt))
}

/// The INVITE at the first gateway.
fn called(world: &mut World, call: &str) -> Sent {
    let sent = world.deliver(CALLER, &invite("4930123456", call).text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{FIRST} INVITE")]);
    sent[1].clone()
}

/// The one INVITE among what was sent.
fn the_invite(sent: &[Sent]) -> Sent {
    let invites: Vec<&Sent> = sent.iter().filter(|sent| sent.start_line().starts_with("INVITE")).collect();
    assert_eq!(invites.len(), 1, "{:?}", ladder(sent));
    invites[0].clone()
}

fn unreachable(world: &mut World, peer: &str, sent: &Sent) -> Vec<Sent> {
    let flow = Flow { peer: endpoint(peer), listener: ListenerIndex(0), transport: Transport::Udp };
    world.handle(Input::Unreachable { flow, sent: &sent.text.as_bytes()[..200] })
}

/// `failover_codes` go on, in order; the last failure is the answer when it is the best.
#[test]
fn failures_of_the_carriers_list_go_on() {
    let mut world = world();
    let first = called(&mut world, "list");
    let sent = world.deliver(FIRST, &response(&first, 503, "a", &[]));
    assert_eq!(ladder(&sent), [format!("{FIRST} ACK"), format!("{SECOND} INVITE")]);
    let second = the_invite(&sent);
    assert_ne!(first.header("Via"), second.header("Via"), "a branch of its own");
    assert!(second.start_line().contains("@198.51.100.2:5060"));
    let sent = world.deliver(SECOND, &response(&second, 500, "b", &[]));
    assert_eq!(ladder(&sent), [format!("{SECOND} ACK"), format!("{THIRD} INVITE")]);
    let sent = world.deliver(THIRD, &response(&the_invite(&sent), 486, "c", &[]));
    assert_eq!(ladder(&sent), [format!("{THIRD} ACK"), format!("{CALLER} 486")]);
    let record = world.last_record();
    assert_eq!((record.status, record.attempts, record.reason), (486, 3, EndReason::Refused));
    assert_eq!(world.count(Counter::Hunts), 2);
    world.settle();
}

/// RFC 3261 §16.7 step 6: of three failures the best goes upstream, byte for byte; a 503 alone becomes 500.
#[test]
fn the_best_failure_is_the_answer() {
    let mut world = world();
    let first = called(&mut world, "best");
    let sent = world.deliver(FIRST, &response(&first, 500, "a", &["X-From: first"]));
    let sent = world.deliver(SECOND, &response(&the_invite(&sent), 503, "b", &[]));
    let sent = world.deliver(THIRD, &response(&the_invite(&sent), 503, "c", &[]));
    assert_eq!(ladder(&sent), [format!("{THIRD} ACK"), format!("{CALLER} 500")]);
    assert_eq!(sent[1].header("X-From"), "first");
    assert!(sent[1].header("To").ends_with(";tag=a"));

    let mut last = called(&mut world, "all-503");
    for (peer, tag) in [(FIRST, "a"), (SECOND, "b"), (THIRD, "c")] {
        let sent = world.deliver(peer, &response(&last, 503, tag, &["Retry-After: 3600"]));
        if peer == THIRD {
            assert_eq!(ladder(&sent), [format!("{THIRD} ACK"), format!("{CALLER} 500")]);
            assert!(sent[1].headers("Retry-After").is_empty(), "their overload is not ours");
        } else {
            last = the_invite(&sent);
        }
    }
    world.settle();
}

/// 486, 487, 422 and 6xx are answers: nobody else is asked.
#[test]
fn what_is_an_answer_ends_the_hunt() {
    for status in [486, 487, 422, 603, 404] {
        let mut world = world();
        let first = called(&mut world, "answer");
        let sent = world.deliver(FIRST, &response(&first, status, "a", &[]));
        assert_eq!(ladder(&sent), [format!("{FIRST} ACK"), format!("{CALLER} {status}")]);
        world.settle();
    }
}

/// A gateway that wants credentials does not know us: the next one. The last one's challenge is the caller's to answer.
#[test]
fn a_challenge_goes_on_while_there_is_another() {
    let mut world = world();
    let mut last = called(&mut world, "auth");
    for (peer, next) in [(FIRST, Some(SECOND)), (SECOND, Some(THIRD)), (THIRD, None)] {
        let sent = world.deliver(peer, &response(&last, 407, "a", &["Proxy-Authenticate: Digest realm=\"x\""]));
        match next {
            Some(next) => {
                assert_eq!(ladder(&sent), [format!("{peer} ACK"), format!("{next} INVITE")]);
                last = the_invite(&sent);
            }
            None => assert_eq!(ladder(&sent), [format!("{THIRD} ACK"), format!("{CALLER} 407")]),
        }
    }
    assert_eq!(world.count(Counter::GatewayChallenges), 3);
    world.settle();
}

/// The challenge of a gateway that was passed over is no answer where another gateway gave one (RFC 3261 §16.7 step 6 prefers it where it
/// helps the caller to come again; this one cannot). Where nobody else said a word it is.
#[test]
fn a_challenge_that_was_passed_over_is_no_answer() {
    let challenge = ["WWW-Authenticate: Digest realm=\"x\""];
    for (status, answer) in [(404, 404), (480, 480), (603, 603), (503, 401)] {
        let mut world = world();
        let first = called(&mut world, "passed");
        let second = the_invite(&world.deliver(FIRST, &response(&first, 401, "a", &challenge)));
        let sent = world.deliver(SECOND, &response(&second, 503, "b", &[]));
        let sent = world.deliver(THIRD, &response(&the_invite(&sent), status, "c", &[]));
        assert_eq!(ladder(&sent), [format!("{THIRD} ACK"), format!("{CALLER} {answer}")]);
        world.settle();
    }
}

/// `fr_timer`: silence for 4 s, then the next. The first one's late 1xx is cancelled, its INVITE never repeated.
#[test]
fn silence_goes_on_after_fr_timer() {
    let mut world = world();
    let first = called(&mut world, "silent");
    let sent = world.advance(Duration::from_millis(4_010));
    assert_eq!(
        ladder(&sent),
        [format!("{FIRST} INVITE"), format!("{FIRST} INVITE"), format!("{FIRST} INVITE"), format!("{SECOND} INVITE")]
    );
    let second = sent[3].clone();
    world.deliver(SECOND, &response(&second, 180, "b", &[]));
    let late = world.deliver(FIRST, &response(&first, 180, "a", &[]));
    assert_eq!(ladder(&late), [format!("{FIRST} CANCEL")], "and no 180 of it upstream");
    assert_eq!(late[0].header("Reason"), "SIP;cause=408");
    world.deliver(FIRST, &response(&late[0], 200, "a", &[]));
    assert_eq!(ladder(&world.deliver(FIRST, &response(&first, 487, "a", &[]))), [format!("{FIRST} ACK")]);
    let sent = world.deliver(SECOND, &response(&second, 486, "b", &[]));
    assert_eq!(ladder(&sent), [format!("{SECOND} ACK"), format!("{CALLER} 486")]);
    world.settle();
}

/// `progress_timeout`: a bare 100 for 10 s; that gateway can be cancelled at once.
#[test]
fn a_bare_100_goes_on_after_progress_timeout() {
    let mut world = world();
    let first = called(&mut world, "bare");
    world.deliver(FIRST, &response(&first, 100, "", &[]));
    assert!(world.advance(Duration::from_millis(9_900)).is_empty());
    let sent = world.advance(Duration::from_millis(200));
    assert_eq!(ladder(&sent), [format!("{FIRST} CANCEL"), format!("{SECOND} INVITE")]);
    world.deliver(SECOND, &response(&sent[1], 603, "b", &[]));
    assert_eq!(world.last_record().status, 603);
    world.settle();
}

/// `invite_timeout` bounds all gateways together: 408, and nobody else is asked.
#[test]
fn invite_timeout_ends_the_hunt() {
    let mut settings = settings();
    settings.timers.invite_timeout = Duration::from_secs(6);
    let mut world = World::with(settings).with_routing(image(Redirect::Hunt));
    called(&mut world, "all-silent");
    let sent = world.advance(Duration::from_millis(5_900));
    assert_eq!(ladder(&sent).iter().filter(|line| line.starts_with(CALLER)).count(), 0);
    let sent = world.advance(Duration::from_millis(200));
    assert_eq!(ladder(&sent), [format!("{CALLER} 408")]);
    assert_eq!(world.last_record().reason, EndReason::Unanswered);
    assert!(!ladder(&world.advance(Duration::from_secs(40))).iter().any(|line| line.contains(THIRD)));
    world.settle();
}

/// Three silent gateways: 408 after 3 × `fr_timer`.
#[test]
fn silence_of_all_is_408() {
    let mut world = world();
    called(&mut world, "silence");
    let sent = world.advance(Duration::from_millis(12_100));
    assert_eq!(ladder(&sent).last(), Some(&format!("{CALLER} 408")));
    let record = world.last_record();
    assert_eq!((record.status, record.attempts, record.reason), (408, 3, EndReason::Unanswered));
    world.settle();
}

/// ICMP: the next gateway at once. It counts only from the peer that the branch went to, and only while that is silent.
#[test]
fn an_unreachable_gateway_is_passed_over_at_once() {
    let mut world = world();
    let first = called(&mut world, "icmp");
    assert!(unreachable(&mut world, SECOND, &first).is_empty(), "not its peer");
    let sent = unreachable(&mut world, FIRST, &first);
    assert_eq!(ladder(&sent), [format!("{SECOND} INVITE")]);
    assert!(unreachable(&mut world, FIRST, &first).is_empty(), "given up already");
    let second = sent[0].clone();
    world.deliver(SECOND, &response(&second, 180, "b", &[]));
    assert!(unreachable(&mut world, SECOND, &second).is_empty(), "it was there a moment ago");
    let other = world.handle(Input::Unreachable {
        flow: Flow { peer: endpoint(SECOND), listener: ListenerIndex(0), transport: Transport::Udp },
        sent: b"",
    });
    assert!(other.is_empty());
    assert_eq!(world.count(Counter::Unreachable), 5);
    world.deliver(SECOND, &response(&second, 486, "b", &[]));
    world.settle();
}

/// After ringing the hunt goes on, under a new To tag; the old early dialog is gone: 481. Where the operator says so, it does not.
#[test]
fn hunting_after_ringing() {
    let mut world = world();
    let first = called(&mut world, "rang");
    let rang = world.deliver(FIRST, &response(&first, 183, "a", &[]))[0].clone();
    let sent = world.deliver(FIRST, &response(&first, 500, "a", &[]));
    let second = the_invite(&sent);
    let early = Answered { invite: invite("4930123456", "rang"), forwarded: first, ok: rang };
    let mut update = early.caller_sends("UPDATE", "rang-up", 2);
    update.to_tag = "a".into();
    assert_eq!(ladder(&world.deliver(CALLER, &update.text())), [format!("{CALLER} 481")]);
    let sent = world.deliver(SECOND, &response(&second, 180, "b", &[]));
    assert!(sent[0].header("To").ends_with(";tag=b"));
    world.deliver(SECOND, &response(&second, 486, "b", &[]));
    world.settle();

    let mut settings = settings();
    settings.policy.hunt_after_ringing = false;
    let mut world = World::with(settings).with_routing(image(Redirect::Hunt));
    let first = called(&mut world, "stay");
    world.deliver(FIRST, &response(&first, 180, "a", &[]));
    let sent = world.deliver(FIRST, &response(&first, 500, "a", &[]));
    assert_eq!(ladder(&sent), [format!("{FIRST} ACK"), format!("{CALLER} 500")]);
    world.settle();
}

/// SPEC §3 *Answers*: the 2xx of a gateway that was given up goes upstream while the caller waits; the one that runs is cancelled.
#[test]
fn a_late_answer_of_an_abandoned_gateway_is_the_answer() {
    let mut world = world();
    let first = called(&mut world, "late");
    world.advance(Duration::from_millis(4_010));
    let sent = world.deliver(FIRST, &response(&first, 200, "a", &["Contact: <sip:bob@198.51.100.1>"]));
    assert_eq!(ladder(&sent), [format!("{CALLER} 200")], "the second one is silent: its CANCEL waits");
    let call = Answered { invite: invite("4930123456", "late"), forwarded: first.clone(), ok: sent[0].clone() };
    let mut ack = call.caller_sends("ACK", "late-ack", 1);
    ack.to_tag = "a".into();
    assert_eq!(ladder(&world.deliver(CALLER, &ack.text())), [format!("{FIRST} ACK")]);
    let mut bye = call.caller_sends("BYE", "late-bye", 2);
    bye.to_tag = "a".into();
    let sent = world.deliver(CALLER, &bye.text());
    assert_eq!(ladder(&sent), [format!("{FIRST} BYE")]);
    world.deliver(FIRST, &response(&sent[0], 200, "", &[]));
    let record = world.last_record();
    assert_eq!((record.status, record.reason, record.gateway.map(|slot| slot.0)), (200, EndReason::ByCaller, Some(0)));
    world.settle();
}

/// The early dialog of the gateway that rings is over when another one answers: its requests go to nobody (RFC 3261 §12.2.2).
#[test]
fn an_answer_elsewhere_ends_the_early_dialogs() {
    let mut world = world();
    let first = called(&mut world, "early");
    let second = the_invite(&world.advance(Duration::from_millis(4_010))[3..]);
    let ringing = world.deliver(SECOND, &response(&second, 183, "b", &[]));
    let call = Answered { invite: invite("4930123456", "early"), forwarded: second, ok: ringing[0].clone() };
    world.deliver(FIRST, &response(&first, 200, "a", &[]));
    let mut prack = call.caller_sends("PRACK", "early-prack", 2);
    prack.to_tag = "b".into();
    assert_eq!(ladder(&world.deliver(CALLER, &prack.text())), [format!("{CALLER} 481")]);
    world.settle();
}

/// Both answer: the first one's 2xx counts, the other is cancelled "completed elsewhere" or ended.
#[test]
fn two_gateways_answer() {
    let mut world = world();
    let first = called(&mut world, "two");
    let second = the_invite(&world.advance(Duration::from_millis(4_010))[3..]);
    world.deliver(SECOND, &response(&second, 180, "b", &[]));
    let sent = world.deliver(FIRST, &response(&first, 200, "a", &[]));
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{SECOND} CANCEL")]);
    assert_eq!(sent[1].header("Reason"), "SIP;cause=200");
    // The CANCEL and its answer crossed.
    let sent = world.deliver(SECOND, &response(&second, 200, "b", &["Contact: <sip:bob@198.51.100.2:5070>"]));
    assert_eq!(ladder(&sent), [format!("{SECOND} ACK"), format!("{SECOND} BYE")]);
    assert_eq!(sent[1].start_line(), "BYE sip:bob@198.51.100.2:5070 SIP/2.0");
    world.deliver(SECOND, &response(&sent[1], 481, "", &[]));
    assert_eq!(world.count(Counter::AnswersUndelivered), 1);
    world.settle();
}

/// The caller has his 408: an answer that comes then is ended.
#[test]
fn an_answer_after_the_refusal_is_ended() {
    let mut world = world();
    called(&mut world, "after");
    let sent = world.advance(Duration::from_millis(12_100));
    let third = sent.iter().rfind(|sent| sent.to == THIRD).expect("the third was tried").clone();
    let sent = world.deliver(THIRD, &response(&third, 200, "c", &[]));
    assert_eq!(ladder(&sent), [format!("{THIRD} ACK"), format!("{THIRD} BYE")]);
    assert_eq!(sent[0].start_line(), "ACK sip:198.51.100.3:5060 SIP/2.0", "no Contact: its address");
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.settle();
}

/// `ring_timeout` of a gateway is its own: the next one has the provider's again.
#[test]
fn each_gateway_has_its_own_ring_timeout() {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    let provider = builder.provider("acme", 1);
    builder.edit_provider(provider, |provider| provider.ring_timeout_ms = Some(60_000));
    builder.address(provider, "192.0.2.10");
    let gateways = [FIRST, SECOND].map(|address| builder.gateway(address, address));
    builder.edit_gateway(gateways[0], |gateway| gateway.ring_timeout_ms = Some(5_000));
    let carrier = builder.carrier_weighted("all", &[(gateways[0], 1, 0), (gateways[1], 2, 0)]);
    builder.route(1, "49", carrier);
    let mut world = World::new().with_routing(builder.finish());
    let first = called(&mut world, "own");
    world.deliver(FIRST, &response(&first, 180, "a", &[]));
    world.advance(Duration::from_millis(4_900));
    let second = the_invite(&world.deliver(FIRST, &response(&first, 503, "a", &[])));
    world.deliver(SECOND, &response(&second, 180, "b", &[]));
    assert!(world.advance(Duration::from_millis(59_900)).iter().all(|sent| sent.to == FIRST), "not 5 s");
    assert_eq!(ladder(&world.advance(Duration::from_millis(200))), [format!("{SECOND} CANCEL")]);
    world.deliver(SECOND, &response(&second, 487, "b", &[]));
    assert_eq!(world.last_record().reason, EndReason::Unanswered);
    world.settle();
}

/// CANCEL while the first gateway is silent: nobody else is asked, the caller gets 487 when `fr_timer` says so.
#[test]
fn cancel_while_silent() {
    let mut world = world();
    let request = invite("4930123456", "quit");
    called(&mut world, "quit");
    assert_eq!(ladder(&world.deliver(CALLER, &request.hop("CANCEL").text())), [format!("{CALLER} 200")]);
    let sent = world.advance(Duration::from_secs(5));
    assert_eq!(ladder(&sent).iter().filter(|line| **line == format!("{CALLER} 487")).count(), 2, "and Timer G");
    assert!(!ladder(&sent).iter().any(|line| line.contains(SECOND)));
    assert_eq!(world.last_record().reason, EndReason::Cancelled);
    world.settle();
}

/// CANCEL between two gateways: only the one that runs is cancelled, with what the caller said (RFC 3326 §2).
#[test]
fn cancel_on_the_second_gateway() {
    let mut world = world();
    let request = invite("4930123456", "mid");
    let first = called(&mut world, "mid");
    let second = the_invite(&world.deliver(FIRST, &response(&first, 503, "a", &[])));
    world.deliver(SECOND, &response(&second, 180, "b", &[]));
    let mut cancel = request.hop("CANCEL");
    cancel.extra.push("Reason: Q.850;cause=16;text=\"bye\"".into());
    let sent = world.deliver(CALLER, &cancel.text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{SECOND} CANCEL")]);
    assert_eq!(sent[1].header("Reason"), "Q.850;cause=16");
    let sent = world.deliver(SECOND, &response(&second, 487, "b", &[]));
    assert_eq!(ladder(&sent), [format!("{SECOND} ACK"), format!("{CALLER} 487")]);
    let record = world.last_record();
    assert_eq!((record.status, record.reason, record.attempts), (487, EndReason::Cancelled, 2));
    world.settle();
}

/// A 503 that comes after the CANCEL is no reason to go on.
#[test]
fn no_hunt_after_cancel() {
    let mut world = world();
    let request = invite("4930123456", "nohunt");
    let first = called(&mut world, "nohunt");
    world.deliver(FIRST, &response(&first, 100, "", &[]));
    world.deliver(CALLER, &request.hop("CANCEL").text());
    let sent = world.deliver(FIRST, &response(&first, 503, "a", &[]));
    assert_eq!(ladder(&sent), [format!("{FIRST} ACK"), format!("{CALLER} 500")]);
    world.settle();
}

/// 3xx: another gateway, or upstream as it is, or where its number is routed, once. Its Contact leaks only where it is meant to.
#[test]
fn redirections() {
    let contact = ["Contact: <sip:+43123456@203.0.113.9>"];
    let mut hunting = world();
    let mut last = called(&mut hunting, "3xx");
    for peer in [FIRST, SECOND, THIRD] {
        let sent = hunting.deliver(peer, &response(&last, 302, "a", &contact));
        if peer == THIRD {
            assert_eq!(ladder(&sent), [format!("{THIRD} ACK"), format!("{CALLER} 500")]);
            assert!(sent[1].headers("Contact").is_empty());
        } else {
            last = the_invite(&sent);
        }
    }
    hunting.settle();

    let mut passing = World::new().with_routing(image(Redirect::Pass));
    let first = called(&mut passing, "pass");
    let sent = passing.deliver(FIRST, &response(&first, 302, "a", &contact));
    assert_eq!(ladder(&sent), [format!("{FIRST} ACK"), format!("{CALLER} 302")]);
    assert_eq!(sent[1].header("Contact"), "<sip:+43123456@203.0.113.9>");
    passing.settle();

    let mut recursing = World::new().with_routing(image(Redirect::Recurse));
    let first = called(&mut recursing, "recurse");
    let sent = recursing.deliver(FIRST, &response(&first, 302, "a", &contact));
    assert_eq!(ladder(&sent), [format!("{FIRST} ACK"), format!("{THIRD} INVITE")]);
    assert_eq!(sent[1].start_line(), "INVITE sip:+43123456@198.51.100.3:5060 SIP/2.0");
    let sent = recursing.deliver(THIRD, &response(&sent[1], 302, "c", &contact));
    assert_eq!(ladder(&sent), [format!("{THIRD} ACK"), format!("{CALLER} 500")], "once");
    recursing.settle();
}

/// RFC 3261 §9.1: after a CANCEL the gateway has 64·T1 to end its INVITE, however little its branch had left before.
#[test]
fn a_cancel_has_its_own_time() {
    let mut world = world();
    let request = invite("4930123456", "time");
    let first = called(&mut world, "time");
    world.deliver(FIRST, &response(&first, 100, "", &[]));
    world.advance(Duration::from_millis(9_980));
    let sent = world.deliver(CALLER, &request.hop("CANCEL").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 200"), format!("{FIRST} CANCEL")]);
    assert!(ladder(&world.advance(Duration::from_secs(5))).iter().all(|line| *line == format!("{FIRST} CANCEL")));
    let sent = world.deliver(FIRST, &response(&first, 487, "a", &[]));
    assert_eq!(ladder(&sent), [format!("{FIRST} ACK"), format!("{CALLER} 487")]);
    world.settle();
}

/// A gateway that could not be given the number was never asked: it has no say beside one that was.
#[test]
fn a_gateway_that_was_not_asked_has_no_say() {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    builder.listener("10.0.1.1:5070");
    let provider = builder.provider("acme", 1);
    builder.address(provider, "192.0.2.10");
    let gateways = [FIRST, SECOND].map(|address| builder.gateway(address, address));
    builder.edit_gateway(gateways[0], |gateway| gateway.strip = 20);
    let both = builder.carrier("both", &gateways);
    let first = builder.carrier("first", &gateways[..1]);
    builder.route(1, "49", both);
    builder.route(1, "43", first);
    let mut world = World::new().with_routing(builder.finish());
    let sent = world.deliver(CALLER, &invite("4930123456", "asked").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{SECOND} INVITE")]);
    let sent = world.deliver(SECOND, &response(&sent[1], 500, "b", &[]));
    assert_eq!(ladder(&sent), [format!("{SECOND} ACK"), format!("{CALLER} 500")]);
    let sent = world.deliver(CALLER, &invite("4330123456", "nobody").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{CALLER} 484")], "nobody else could be asked");
    world.settle();
}
