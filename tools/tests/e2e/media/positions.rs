//! Offer and answer wherever SIP allows them (RFC 3261 §13.2.1, RFC 3262 §5, RFC 3311 §5.1), and bodies that are none.
//!
//! Each position is a call of its own. All of them go through one Corelane after the other, on one, two and four shards; which shard has a
//! call its Call-ID says. After each the node has no session left.

use std::net::SocketAddr;

use super::rtp::{Codec, RtpEnd, flows, media_address};
use super::{Side, Stage, Talk, ends};
use crate::corelane::Options;
use crate::peer::{Dialog, Peer};
use crate::serial;

/// Functions and their names.
macro_rules! positions {
    ($( $name:ident, )*) => { [$( (stringify!($name), $name) ),*] };
}

/// A call on a stage, and what it is called.
type Position = (&'static str, fn(&Stage));

/// All positions.
const POSITIONS: [Position; 16] = positions![
    offer_in_the_invite_and_answer_in_the_200_let_audio_flow,
    a_200_may_answer_otherwise_than_the_183_before_it,
    a_delayed_offer_is_answered_in_the_ack,
    either_side_holds_the_call_and_takes_it_back,
    either_side_changes_the_codec,
    a_refused_reinvite_leaves_the_audio_as_it_was,
    an_update_of_either_side_offers_within_the_call,
    a_prack_offers_within_the_early_dialog,
    the_sdp_inside_a_multipart_is_replaced_alone,
    an_sdp_that_rtpengine_refuses_is_refused_with_488,
    the_answer_of_an_abandoned_branch_is_replaced_by_that_of_the_next,
    of_two_forks_that_ring_with_sdp_either_may_answer,
    an_offer_in_a_reliable_183_is_answered_in_the_prack,
    an_update_of_either_side_offers_before_the_call_is_answered,
    a_reinvite_of_either_side_without_sdp_is_answered_in_the_ack,
    after_a_glare_the_audio_is_as_it_was_and_may_change,
];

/// Each position, one after the other.
fn positions_on(shards: usize) {
    let _serial = serial();
    let mut stage = Stage::with(1, &Options { shards, ..Options::default() });
    for (name, position) in POSITIONS {
        eprintln!("position: {name}");
        stage.ends = ends(&stage.site, Codec::Pcma);
        position(&stage);
        stage.nodes[0].await_sessions(0);
        // What was repeated on a busy machine belongs to the call that is over.
        drop((stage.caller.all_waiting(), stage.gateway.all_waiting()));
    }
    let counters = stage.end();
    let busy = (0..shards).filter(|&shard| counters.shard(shard, "calls_started") > 0).count();
    assert!(busy >= shards.min(2), "{} calls came to {busy} of {shards} shards", POSITIONS.len());
}

#[test]
fn every_position_on_one_shard() {
    positions_on(1);
}

#[test]
fn every_position_on_two_shards() {
    positions_on(2);
}

#[test]
fn every_position_on_four_shards() {
    positions_on(4);
}

fn offer_in_the_invite_and_answer_in_the_200_let_audio_flow(stage: &Stage) {
    let (dialog, told) = stage.call();
    assert_eq!(stage.sessions(), 1);
    stage.audio(told);
    stage.hang_up(&dialog);
}

/// The 200 takes the answer of a 183 back: another port of the gateway, and audio follows it.
fn a_200_may_answer_otherwise_than_the_183_before_it(stage: &Stage) {
    let invite = stage.offer();
    stage.caller.send(invite.text());
    let (received, gateway_told) = stage.relayed(invite.call_id(), "INVITE", 1);
    stage.answer(&received, "183 Session Progress", &[], "sendrecv");
    let progress = stage.caller.receive_status(183);
    stage.audio([stage.of_relay(&progress), gateway_told]);

    let second = RtpEnd::new(Codec::Pcma, stage.gateway.address().ip(), 0x33);
    stage.gateway.send(received.answer_with("200 OK", stage.gateway.address(), &[], &second.sdp("sendrecv")));
    let dialog = stage.caller.answered(invite);
    let caller_told = stage.of_relay(dialog.answer());
    stage.gateway.receive_request(dialog.call_id(), "ACK", 1);
    flows(&stage.ends[0], caller_told, &second, gateway_told);
    stage.hang_up(&dialog);
}

/// RFC 3261 §13.2.1: no offer in the INVITE, so the 200 has it and the ACK answers.
fn a_delayed_offer_is_answered_in_the_ack(stage: &Stage) {
    let invite = stage.caller.request("INVITE", super::NUMBER);
    stage.caller.send(invite.text());
    let received = stage.gateway.receive_request(invite.call_id(), "INVITE", 1);
    assert!(received.body().is_empty(), "{}", received.text());
    stage.answer(&received, "200 OK", &[], "sendrecv");
    let answer = stage.caller.receive_final(&invite);
    let caller_told = stage.of_relay(&answer);
    let dialog = Dialog::of(invite, answer);
    let ack = dialog.request("ACK", 1).content("application/sdp", &stage.ends[0].sdp("sendrecv"));
    stage.caller.send(ack.text());
    let (_, gateway_told) = stage.relayed(dialog.call_id(), "ACK", 1);
    stage.audio([caller_told, gateway_told]);
    stage.hang_up(&dialog);
}

fn either_side_holds_the_call_and_takes_it_back(stage: &Stage) {
    let talk = stage.talk();
    for side in [Side::Caller, Side::Gateway] {
        stage.reoffer(&talk, side, ("INVITE", 2), &stage.ends, ["sendonly", "recvonly"]);
        let told = stage.reoffer(&talk, side, ("INVITE", 3), &stage.ends, ["sendrecv", "sendrecv"]);
        assert_eq!(stage.sessions(), 1, "one call, one session");
        stage.audio(told);
    }
    stage.hang_up_as(&talk.dialog, 4);
}

/// And both ports: the old ones are silent from then on.
fn either_side_changes_the_codec(stage: &Stage) {
    let talk = stage.talk();
    let codecs = [(Side::Gateway, Codec::Pcmu), (Side::Caller, Codec::Pcma)];
    for (side, codec) in codecs {
        let ends = ends(&stage.site, codec);
        let told = stage.reoffer(&talk, side, ("INVITE", 2), &ends, ["sendrecv", "sendrecv"]);
        flows(&ends[0], told[0], &ends[1], told[1]);
    }
    stage.hang_up_as(&talk.dialog, 3);
}

/// What was agreed before the offer holds again, at the relay too.
fn a_refused_reinvite_leaves_the_audio_as_it_was(stage: &Stage) {
    let (dialog, told) = stage.call();
    let elsewhere = RtpEnd::new(Codec::Pcma, stage.caller.address().ip(), 0x44);
    let reinvite = dialog.request("INVITE", 2).content("application/sdp", &elsewhere.sdp("sendrecv"));
    stage.caller.send(reinvite.text());
    let (received, _) = stage.relayed(dialog.call_id(), "INVITE", 2);
    stage.reply(&received, "488 Not Acceptable Here");
    let refusal = stage.caller.receive_final(&reinvite);
    assert_eq!(refusal.code(), Some(488));
    stage.caller.send(reinvite.ack(&refusal).text());
    stage.audio(told);
    stage.hang_up_as(&dialog, 3);
}

fn an_update_of_either_side_offers_within_the_call(stage: &Stage) {
    let talk = stage.talk();
    for side in [Side::Caller, Side::Gateway] {
        let told = stage.reoffer(&talk, side, ("UPDATE", 2), &stage.ends, ["sendrecv", "sendrecv"]);
        stage.audio(told);
    }
    stage.hang_up_as(&talk.dialog, 3);
}

/// RFC 3262 §5: the INVITE's offer is answered in a reliable 183, the PRACK has the next offer, its 200 answers that.
fn a_prack_offers_within_the_early_dialog(stage: &Stage) {
    let invite = stage.offer().add("Supported: 100rel");
    stage.caller.send(invite.text());
    let (received, _) = stage.relayed(invite.call_id(), "INVITE", 1);
    stage.answer(&received, "183 Session Progress", &["Require: 100rel", "RSeq: 7"], "sendrecv");
    let progress = stage.caller.receive_status(183);
    stage.of_relay(&progress);
    assert_eq!(progress.header("RSeq"), Some("7"), "{}", progress.text());

    let early = Dialog::of(invite.clone(), progress);
    let prack = early.request("PRACK", 2).add("RAck: 7 1 INVITE");
    let prack = prack.content("application/sdp", &stage.ends[0].sdp("sendrecv"));
    stage.caller.send(prack.text());
    let (pracked, gateway_told) = stage.relayed(early.call_id(), "PRACK", 2);
    stage.answer(&pracked, "200 OK", &[], "sendrecv");
    let answer = stage.caller.receive_final(&prack);
    assert_eq!(answer.code(), Some(200));
    let told = [stage.of_relay(&answer), gateway_told];

    stage.reply(&received, "200 OK");
    let dialog = stage.caller.answered(invite);
    stage.gateway.receive_request(dialog.call_id(), "ACK", 1);
    stage.audio(told);
    stage.hang_up_as(&dialog, 3);
}

/// The SDP part alone changes; what stands beside it arrives as it was, and the lengths are right.
fn the_sdp_inside_a_multipart_is_replaced_alone(stage: &Stage) {
    let sdp = stage.ends[0].sdp("sendrecv");
    let body = format!(
        "--border\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--border\r\nContent-Type: application/isup;version=itu-t92+\r\n\
         Content-Disposition: signal;handling=optional\r\n\r\n0123456789\r\n--border--\r\n"
    );
    let invite = stage.caller.request("INVITE", super::NUMBER).content("multipart/mixed;boundary=border", &body);
    stage.caller.send(invite.text());
    let (received, gateway_told) = stage.relayed(invite.call_id(), "INVITE", 1);
    let length = received.header("Content-Length").and_then(|length| length.parse::<usize>().ok());
    assert_eq!(length, Some(received.body().len()), "{}", received.text());
    let (_, beside) = body.split_once("\r\n--border\r\nContent-Type: application/isup").expect("as written above");
    assert!(received.body().ends_with(beside), "{}", received.text());
    stage.answer(&received, "200 OK", &[], "sendrecv");
    let dialog = stage.caller.answered(invite);
    let told: [SocketAddr; 2] = [stage.of_relay(dialog.answer()), gateway_told];
    stage.gateway.receive_request(dialog.call_id(), "ACK", 1);
    stage.audio(told);
    stage.hang_up(&dialog);
}

fn an_sdp_that_rtpengine_refuses_is_refused_with_488(stage: &Stage) {
    let invite = stage.caller.request("INVITE", super::NUMBER).content("application/sdp", "v=0\r\nthis is no SDP\r\n");
    let refusal = stage.caller.ask(&invite);
    assert_eq!(refusal.code(), Some(488), "{}", refusal.text());
    let came = stage.gateway.all_waiting();
    assert!(came.iter().all(|message| message.call_id() != invite.call_id()), "the gateway was not called");
    assert_eq!(stage.sessions(), 0);
}

/// Both early dialogs of a hunt: the first gateway's answer goes with it, and the caller hears the second.
fn the_answer_of_an_abandoned_branch_is_replaced_by_that_of_the_next(stage: &Stage) {
    let then = Peer::at(stage.then, stage.address);
    let invite = stage.offer();
    stage.caller.send(invite.text());
    let first = stage.relayed(invite.call_id(), "INVITE", 1).0;
    stage.answer(&first, "183 Session Progress", &[], "sendrecv");
    stage.of_relay(&stage.caller.receive_status(183));
    stage.reply(&first, "503 Service Unavailable");
    let second = then.receive_request(invite.call_id(), "INVITE", 1);
    let gateway_told = stage.of_relay(&second);
    let end = RtpEnd::new(Codec::Pcma, then.address().ip(), 0x55);
    then.send(
        second.answer_with("200 OK", then.address(), &[], &end.sdp("sendrecv")).replace(";tag=gateway", ";tag=then"),
    );
    let dialog = stage.caller.answered(invite);
    then.receive_request(dialog.call_id(), "ACK", 1);
    assert_ne!(media_address(dialog.answer()).ip(), end.address().ip());
    flows(&stage.ends[0], stage.of_relay(dialog.answer()), &end, gateway_told);
    let bye = stage.caller.say_bye(&dialog);
    let received = then.receive_request(dialog.call_id(), "BYE", 2);
    then.send(received.answer("200 OK", then.address()));
    assert_eq!(stage.caller.receive_final(&bye).code(), Some(200));
}

/// Several early dialogs of one gateway (RFC 3261 §12.1), each with its own answer: the one that answers the call is heard, also where the
/// node heard of the other one last.
fn of_two_forks_that_ring_with_sdp_either_may_answer(stage: &Stage) {
    for answering in [0, 1] {
        let forks = ends(&stage.site, Codec::Pcma);
        let invite = stage.offer();
        stage.caller.send(invite.text());
        let (received, gateway_told) = stage.relayed(invite.call_id(), "INVITE", 1);
        let say = |status: &str, fork: usize| {
            let text = received.answer_with(status, stage.gateway.address(), &[], &forks[fork].sdp("sendrecv"));
            stage.gateway.send(text.replace(";tag=gateway", &format!(";tag=fork{fork}")));
        };
        for fork in [0, 1] {
            say("183 Session Progress", fork);
            let progress = stage.caller.receive_status(183);
            let tag = format!(";tag=fork{fork}");
            assert!(progress.header("To").is_some_and(|to| to.ends_with(&tag)), "{}", progress.text());
            assert_ne!(stage.of_relay(&progress), forks[fork].address());
        }
        say("200 OK", answering);
        let dialog = stage.caller.answered(invite);
        let caller_told = stage.of_relay(dialog.answer());
        stage.gateway.receive_request(dialog.call_id(), "ACK", 1);
        flows(&stage.ends[0], caller_told, &forks[answering], gateway_told);
        stage.hang_up(&dialog);
    }
}

/// RFC 3262 §5: no offer in the INVITE, so the reliable 183 has it and its PRACK answers.
fn an_offer_in_a_reliable_183_is_answered_in_the_prack(stage: &Stage) {
    let invite = stage.caller.request("INVITE", super::NUMBER).add("Supported: 100rel");
    stage.caller.send(invite.text());
    let received = stage.gateway.receive_request(invite.call_id(), "INVITE", 1);
    stage.answer(&received, "183 Session Progress", &["Require: 100rel", "RSeq: 7"], "sendrecv");
    let progress = stage.caller.receive_status(183);
    let caller_told = stage.of_relay(&progress);

    let early = Dialog::of(invite.clone(), progress);
    let prack = early.request("PRACK", 2).add("RAck: 7 1 INVITE");
    let prack = prack.content("application/sdp", &stage.ends[0].sdp("sendrecv"));
    stage.caller.send(prack.text());
    let (pracked, gateway_told) = stage.relayed(early.call_id(), "PRACK", 2);
    stage.reply(&pracked, "200 OK");
    assert_eq!(stage.caller.receive_final(&prack).code(), Some(200));
    stage.audio([caller_told, gateway_told]);

    stage.reply(&received, "200 OK");
    let dialog = stage.caller.answered(invite);
    stage.gateway.receive_request(dialog.call_id(), "ACK", 1);
    stage.audio([caller_told, gateway_told]);
    stage.hang_up_as(&dialog, 3);
}

/// RFC 3311 §5.1: once the INVITE's offer is answered in a reliable 183 either side may offer anew, while the telephone rings.
fn an_update_of_either_side_offers_before_the_call_is_answered(stage: &Stage) {
    let invite = stage.offer().add("Supported: 100rel");
    stage.caller.send(invite.text());
    let (received, gateway_told) = stage.relayed(invite.call_id(), "INVITE", 1);
    stage.answer(&received, "183 Session Progress", &["Require: 100rel", "RSeq: 7"], "sendrecv");
    let progress = stage.caller.receive_status(183);
    let told = [stage.of_relay(&progress), gateway_told];
    let early = Dialog::of(invite.clone(), progress);
    let prack = early.request("PRACK", 2).add("RAck: 7 1 INVITE");
    stage.caller.send(prack.text());
    stage.reply(&stage.gateway.receive_request(early.call_id(), "PRACK", 2), "200 OK");
    assert_eq!(stage.caller.receive_final(&prack).code(), Some(200));

    let talk = Talk { dialog: early, invite: received, told };
    let mut told = talk.told;
    let mut latest = ends(&stage.site, Codec::Pcma);
    for side in [Side::Gateway, Side::Caller] {
        latest = ends(&stage.site, Codec::Pcma);
        told = stage.reoffer(&talk, side, ("UPDATE", 3), &latest, ["sendrecv", "sendrecv"]);
        flows(&latest[0], told[0], &latest[1], told[1]);
    }
    stage.reply(&talk.invite, "200 OK");
    let dialog = stage.caller.answered(invite);
    stage.gateway.receive_request(dialog.call_id(), "ACK", 1);
    flows(&latest[0], told[0], &latest[1], told[1]);
    stage.hang_up_as(&dialog, 4);
}

/// RFC 3261 §14.1: who is asked offers in the 200, who asked answers in the ACK.
fn a_reinvite_of_either_side_without_sdp_is_answered_in_the_ack(stage: &Stage) {
    let talk = stage.talk();
    let peers = [&stage.caller, &stage.gateway];
    for side in [Side::Caller, Side::Gateway] {
        let ends = ends(&stage.site, Codec::Pcma);
        let (own, far) = (side as usize, 1 - side as usize);
        let within = |method: &str| match side {
            Side::Caller => talk.dialog.request(method, 2),
            Side::Gateway => stage.gateway.request_within(&talk.invite, method, 2),
        };
        let reinvite = within("INVITE");
        peers[own].send(reinvite.text());
        let received = peers[far].receive_request(talk.dialog.call_id(), "INVITE", 2);
        assert!(received.body().is_empty(), "{}", received.text());
        peers[far].send(received.answer_with("200 OK", peers[far].address(), &[], &ends[far].sdp("sendrecv")));
        let answer = peers[own].receive_final(&reinvite);
        assert_eq!(answer.code(), Some(200), "{}", answer.text());
        let mut told = [stage.of_relay(&answer); 2];
        peers[own].send(within("ACK").content("application/sdp", &ends[own].sdp("sendrecv")).text());
        let ack = peers[far].receive_request(talk.dialog.call_id(), "ACK", 2);
        told[far] = stage.of_relay(&ack);
        flows(&ends[0], told[0], &ends[1], told[1]);
    }
    stage.hang_up_as(&talk.dialog, 3);
}

/// RFC 3261 §14.2: both offer at once, both are refused with 491, and what was agreed before holds at the node; one of them offers again.
fn after_a_glare_the_audio_is_as_it_was_and_may_change(stage: &Stage) {
    let talk = stage.talk();
    let elsewhere = ends(&stage.site, Codec::Pcma);
    let peers = [&stage.caller, &stage.gateway];
    let reinvites = [talk.dialog.request("INVITE", 2), stage.gateway.request_within(&talk.invite, "INVITE", 2)];
    let reinvites = [0, 1].map(|side| {
        let reinvite = reinvites[side].clone().content("application/sdp", &elsewhere[side].sdp("sendrecv"));
        peers[side].send(reinvite.text());
        reinvite
    });
    // Each has the other's before it answers.
    let received = peers.map(|peer| peer.receive_request(talk.dialog.call_id(), "INVITE", 2));
    for (peer, received) in peers.into_iter().zip(&received) {
        stage.of_relay(received);
        peer.send(received.answer("491 Request Pending", peer.address()));
    }
    for (peer, reinvite) in peers.into_iter().zip(&reinvites) {
        let refusal = peer.receive_final(reinvite);
        assert_eq!(refusal.code(), Some(491), "{}", refusal.text());
        peer.send(reinvite.ack(&refusal).text());
    }
    stage.audio(talk.told);
    let told = stage.reoffer(&talk, Side::Gateway, ("INVITE", 3), &elsewhere, ["sendrecv", "sendrecv"]);
    flows(&elsewhere[0], told[0], &elsewhere[1], told[1]);
    stage.hang_up_as(&talk.dialog, 3);
}
