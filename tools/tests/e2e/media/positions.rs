//! Offer and answer wherever SIP allows them (RFC 3261 §13.2.1, RFC 3262 §5, RFC 3311 §5.1), and bodies that are none.

use std::net::SocketAddr;

use super::Stage;
use super::rtp::{RtpEnd, flows, media_address};
use crate::peer::{Dialog, Peer};
use crate::serial;

#[test]
fn offer_in_the_invite_and_answer_in_the_200_let_audio_flow() {
    let _serial = serial();
    let stage = Stage::new(1);
    let (dialog, told) = stage.call();
    assert_eq!(stage.sessions(), 1);
    stage.audio(told);
    stage.hang_up(&dialog);
    stage.end();
}

/// The 200 takes the answer of a 183 back: another port of the gateway, and audio follows it.
#[test]
fn a_200_may_answer_otherwise_than_the_183_before_it() {
    let _serial = serial();
    let stage = Stage::new(1);
    let invite = stage.offer();
    stage.caller.send(invite.text());
    let (received, gateway_told) = stage.relayed("INVITE", 1);
    stage.answer(&received, "183 Session Progress", &[], "sendrecv");
    let progress = stage.caller.receive_status(183);
    stage.audio([stage.of_relay(&progress), gateway_told]);

    let second = RtpEnd::new(stage.gateway.address().ip(), 0x33);
    stage.gateway.send(received.answer_with("200 OK", stage.gateway.address(), &[], &second.sdp("sendrecv")));
    let dialog = stage.caller.answered(invite);
    let caller_told = stage.of_relay(dialog.answer());
    stage.gateway.receive_request("ACK", 1);
    flows(&stage.ends[0], caller_told, &second, gateway_told);
    stage.hang_up(&dialog);
    stage.end();
}

/// RFC 3261 §13.2.1: no offer in the INVITE, so the 200 has it and the ACK answers.
#[test]
fn a_delayed_offer_is_answered_in_the_ack() {
    let _serial = serial();
    let stage = Stage::new(1);
    let invite = stage.caller.request("INVITE", super::NUMBER);
    stage.caller.send(invite.text());
    let received = stage.gateway.receive_request("INVITE", 1);
    assert!(received.body().is_empty(), "{}", received.text());
    stage.answer(&received, "200 OK", &[], "sendrecv");
    let answer = stage.caller.receive_final(&invite);
    let caller_told = stage.of_relay(&answer);
    let dialog = Dialog::of(invite, answer);
    let ack = dialog.request("ACK", 1).content("application/sdp", &stage.ends[0].sdp("sendrecv"));
    stage.caller.send(ack.text());
    let (_, gateway_told) = stage.relayed("ACK", 1);
    stage.audio([caller_told, gateway_told]);
    stage.hang_up(&dialog);
    stage.end();
}

#[test]
fn a_reinvite_holds_the_call_and_takes_it_back() {
    let _serial = serial();
    let stage = Stage::new(1);
    let (dialog, _) = stage.call();
    let mut told = Vec::new();
    for (cseq, offered, answered) in [(2, "sendonly", "recvonly"), (3, "sendrecv", "sendrecv")] {
        let reinvite = dialog.request("INVITE", cseq).content("application/sdp", &stage.ends[0].sdp(offered));
        stage.caller.send(reinvite.text());
        let (received, gateway_told) = stage.relayed("INVITE", cseq);
        assert!(received.body().contains(&format!("a={offered}\r\n")), "{}", received.text());
        stage.answer(&received, "200 OK", &[], answered);
        let answer = stage.caller.receive_final(&reinvite);
        assert!(answer.body().contains(&format!("a={answered}\r\n")), "{}", answer.text());
        told = vec![stage.of_relay(&answer), gateway_told];
        stage.caller.send(dialog.request("ACK", cseq).text());
        stage.gateway.receive_request("ACK", cseq);
    }
    assert_eq!(stage.sessions(), 1, "one call, one session");
    stage.audio([told[0], told[1]]);
    stage.hang_up_as(&dialog, 4);
    stage.end();
}

/// What was agreed before the offer holds again, at the relay too.
#[test]
fn a_refused_reinvite_leaves_the_audio_as_it_was() {
    let _serial = serial();
    let stage = Stage::new(1);
    let (dialog, told) = stage.call();
    let elsewhere = RtpEnd::new(stage.caller.address().ip(), 0x44);
    let reinvite = dialog.request("INVITE", 2).content("application/sdp", &elsewhere.sdp("sendrecv"));
    stage.caller.send(reinvite.text());
    let (received, _) = stage.relayed("INVITE", 2);
    stage.reply(&received, "488 Not Acceptable Here");
    let refusal = stage.caller.receive_final(&reinvite);
    assert_eq!(refusal.code(), Some(488));
    stage.caller.send(reinvite.ack(&refusal).text());
    stage.audio(told);
    stage.hang_up_as(&dialog, 3);
    stage.end();
}

#[test]
fn an_update_offers_within_the_call() {
    let _serial = serial();
    let stage = Stage::new(1);
    let (dialog, _) = stage.call();
    let update = dialog.request("UPDATE", 2).content("application/sdp", &stage.ends[0].sdp("sendrecv"));
    stage.caller.send(update.text());
    let (received, gateway_told) = stage.relayed("UPDATE", 2);
    stage.answer(&received, "200 OK", &[], "sendrecv");
    let answer = stage.caller.receive_final(&update);
    assert_eq!(answer.code(), Some(200));
    stage.audio([stage.of_relay(&answer), gateway_told]);
    stage.hang_up_as(&dialog, 3);
    stage.end();
}

/// RFC 3262 §5: the INVITE's offer is answered in a reliable 183, the PRACK has the next offer, its 200 answers that.
#[test]
fn a_prack_offers_within_the_early_dialog() {
    let _serial = serial();
    let stage = Stage::new(1);
    let invite = stage.offer().add("Supported: 100rel");
    stage.caller.send(invite.text());
    let (received, _) = stage.relayed("INVITE", 1);
    stage.answer(&received, "183 Session Progress", &["Require: 100rel", "RSeq: 7"], "sendrecv");
    let progress = stage.caller.receive_status(183);
    stage.of_relay(&progress);
    assert_eq!(progress.header("RSeq"), Some("7"), "{}", progress.text());

    let early = Dialog::of(invite.clone(), progress);
    let prack = early.request("PRACK", 2).add("RAck: 7 1 INVITE");
    let prack = prack.content("application/sdp", &stage.ends[0].sdp("sendrecv"));
    stage.caller.send(prack.text());
    let (pracked, gateway_told) = stage.relayed("PRACK", 2);
    stage.answer(&pracked, "200 OK", &[], "sendrecv");
    let answer = stage.caller.receive_final(&prack);
    assert_eq!(answer.code(), Some(200));
    let told = [stage.of_relay(&answer), gateway_told];

    stage.reply(&received, "200 OK");
    let dialog = stage.caller.answered(invite);
    stage.gateway.receive_request("ACK", 1);
    stage.audio(told);
    stage.hang_up_as(&dialog, 3);
    stage.end();
}

/// The SDP part alone changes; what stands beside it arrives as it was, and the lengths are right.
#[test]
fn the_sdp_inside_a_multipart_is_replaced_alone() {
    let _serial = serial();
    let stage = Stage::new(1);
    let sdp = stage.ends[0].sdp("sendrecv");
    let body = format!(
        "--border\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--border\r\nContent-Type: application/isup;version=itu-t92+\r\n\
         Content-Disposition: signal;handling=optional\r\n\r\n0123456789\r\n--border--\r\n"
    );
    let invite = stage.caller.request("INVITE", super::NUMBER).content("multipart/mixed;boundary=border", &body);
    stage.caller.send(invite.text());
    let (received, gateway_told) = stage.relayed("INVITE", 1);
    let length = received.header("Content-Length").and_then(|length| length.parse::<usize>().ok());
    assert_eq!(length, Some(received.body().len()), "{}", received.text());
    let (_, beside) = body.split_once("\r\n--border\r\nContent-Type: application/isup").expect("as written above");
    assert!(received.body().ends_with(beside), "{}", received.text());
    stage.answer(&received, "200 OK", &[], "sendrecv");
    let dialog = stage.caller.answered(invite);
    let told: [SocketAddr; 2] = [stage.of_relay(dialog.answer()), gateway_told];
    stage.gateway.receive_request("ACK", 1);
    stage.audio(told);
    stage.hang_up(&dialog);
    stage.end();
}

#[test]
fn an_sdp_that_rtpengine_refuses_is_refused_with_488() {
    let _serial = serial();
    let stage = Stage::new(1);
    let invite = stage.caller.request("INVITE", super::NUMBER).content("application/sdp", "v=0\r\nthis is no SDP\r\n");
    let refusal = stage.caller.ask(&invite);
    assert_eq!(refusal.code(), Some(488), "{}", refusal.text());
    assert!(stage.gateway.nothing_came(), "the gateway was not called");
    assert_eq!(stage.sessions(), 0);
    stage.end();
}

/// Both early dialogs of a hunt: the first gateway's answer goes with it, and the caller hears the second.
#[test]
fn the_answer_of_an_abandoned_branch_is_replaced_by_that_of_the_next() {
    let _serial = serial();
    let stage = Stage::new(1);
    let then = Peer::at(stage.then, stage.address);
    let invite = stage.offer();
    stage.caller.send(invite.text());
    let first = stage.relayed("INVITE", 1).0;
    stage.answer(&first, "183 Session Progress", &[], "sendrecv");
    stage.of_relay(&stage.caller.receive_status(183));
    stage.reply(&first, "503 Service Unavailable");
    let second = then.receive_request("INVITE", 1);
    let gateway_told = stage.of_relay(&second);
    let end = RtpEnd::new(then.address().ip(), 0x55);
    then.send(
        second.answer_with("200 OK", then.address(), &[], &end.sdp("sendrecv")).replace(";tag=gateway", ";tag=then"),
    );
    let dialog = stage.caller.answered(invite);
    then.receive_request("ACK", 1);
    assert_ne!(media_address(dialog.answer()).ip(), end.address().ip());
    flows(&stage.ends[0], stage.of_relay(dialog.answer()), &end, gateway_told);
    let bye = stage.caller.say_bye(&dialog);
    let received = then.receive_request("BYE", 2);
    then.send(received.answer("200 OK", then.address()));
    assert_eq!(stage.caller.receive_final(&bye).code(), Some(200));
    stage.end();
}
