//! Sessions that do not come about: §3.8 to §3.11.

use std::time::Duration;

use corelane_core::call::EndReason;

use super::stage::{ALICE, BOB, P1, P2, Stage};

/// The ACK of a refusal as the gateway gets it: our own, with the branch of the INVITE and no Via but ours.
const ACK: &str = "ACK sip:+4930123456@192.0.2.201:5060 SIP/2.0
    Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
    Max-Forwards: 70
    {dialog}
    CSeq: 1 ACK";

/// Alice's ACK of a refusal.
const ALICES_ACK: &str = "ACK sip:+4930123456@10.0.0.1 SIP/2.0
    Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
    Max-Forwards: 70
    {dialog}
    CSeq: 1 ACK";

/// RFC 3665 §3.8, both proxies Corelane: CANCEL and its 200 are each hop's own, the 487 goes from end to end.
#[test]
fn unsuccessful_no_answer() {
    let mut stage = Stage::two();
    // F1 to F8.
    stage.invites(P2, "Contact: <sip:alice@192.0.2.101>");
    stage.gets(
        P1,
        "SIP/2.0 100 Trying
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
         {call}
         CSeq: 1 INVITE",
    );
    stage.gets(
        BOB,
        "INVITE sip:+4930123456@192.0.2.201:5060 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.2:5060;branch={second}
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
         Record-Route: <sip:10.0.0.2:5060;lr;cl={second-token}>
         Record-Route: <sip:10.0.0.1:5060;lr;cl={token}>
         Max-Forwards: 68
         Max-Breadth: 60
         {call}
         CSeq: 1 INVITE
         Contact: <sip:alice@192.0.2.101>",
    );
    stage.answers(BOB, "INVITE", "180 Ringing", "");
    let answer_at_p1 = "SIP/2.0 {status}
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
         Record-Route: <sip:10.0.0.2:5060;lr;cl={second-token}>
         Record-Route: <sip:10.0.0.1:5060;lr;cl={token}>
         {dialog}
         CSeq: 1 INVITE";
    let answer_at_alice = "SIP/2.0 {status}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
         Record-Route: <sip:10.0.0.2:5060;lr;cl={second-token}>
         Record-Route: <sip:10.0.0.1:5060;lr;cl={token}>
         {dialog}
         CSeq: 1 INVITE";
    stage.name("status", "180 Ringing");
    stage.gets(P1, answer_at_p1);
    stage.gets(ALICE, answer_at_alice);
    // F9 to F14.
    stage.sends(
        ALICE,
        P1,
        "CANCEL sip:+4930123456@10.0.0.1 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
         Max-Forwards: 70
         {call}
         CSeq: 1 CANCEL",
    );
    stage.name("plain", "From: Alice <sip:alice@atlanta.example.com>;tag=alice-1");
    stage.name("id", "Call-ID: 2xTb9vxSit55XU7p8@atlanta.example.com");
    stage.gets(
        ALICE,
        "SIP/2.0 200 OK
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
         {plain}
         To: Bob <sip:+4930123456@biloxi.example.com>;tag=bob-1
         {id}
         CSeq: 1 CANCEL",
    );
    stage.gets(
        P2,
        "CANCEL sip:+4930123456@10.0.0.2:5060 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
         Max-Forwards: 70
         {call}
         CSeq: 1 CANCEL",
    );
    stage.gets(
        P1,
        "SIP/2.0 200 OK
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
         {plain}
         To: Bob <sip:+4930123456@biloxi.example.com>;tag=bob-1
         {id}
         CSeq: 1 CANCEL",
    );
    stage.gets(
        BOB,
        "CANCEL sip:+4930123456@192.0.2.201:5060 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.2:5060;branch={second}
         Max-Forwards: 70
         {call}
         CSeq: 1 CANCEL",
    );
    stage.answers(BOB, "CANCEL", "200 OK", "");
    stage.silence();
    // F15 to F20.
    stage.answers(BOB, "INVITE", "487 Request Terminated", "");
    stage.gets(
        BOB,
        "ACK sip:+4930123456@192.0.2.201:5060 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.2:5060;branch={second}
         Max-Forwards: 70
         {dialog}
         CSeq: 1 ACK",
    );
    stage.name("status", "487 Request Terminated");
    stage.gets(P1, answer_at_p1);
    stage.gets(
        P2,
        "ACK sip:+4930123456@10.0.0.2:5060 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
         Max-Forwards: 70
         {dialog}
         CSeq: 1 ACK",
    );
    stage.gets(ALICE, answer_at_alice);
    stage.sends(ALICE, P1, ALICES_ACK);
    let record = stage.first().last_record();
    assert_eq!((record.status, record.reason), (487, EndReason::Cancelled));
    stage.over();
}

/// RFC 3665 §3.9.
#[test]
fn unsuccessful_busy() {
    let mut stage = Stage::one(&[BOB]);
    stage.invites(BOB, "Contact: <sip:alice@192.0.2.101>");
    stage.answers(BOB, "INVITE", "486 Busy Here", "");
    stage.gets(BOB, ACK);
    stage.alice_gets_answer("486 Busy Here", "");
    stage.sends(ALICE, P1, ALICES_ACK);
    let record = stage.first().last_record();
    assert_eq!((record.status, record.reason), (486, EndReason::Refused));
    stage.over();
}

/// RFC 3665 §3.10. `fr_timer` ends the wait after 4 s, not Timer B after 32; and the answer is 408, as RFC 3261 §16.8 has it, where the
/// RFC's example says 480.
#[test]
fn unsuccessful_no_response_from_user_agent() {
    let mut stage = Stage::one(&[BOB]);
    stage.invites(BOB, "Contact: <sip:alice@192.0.2.101>");
    stage.passes(Duration::from_millis(4_010));
    // At 0.5, 1.5 and 3.5 s, the same again.
    for _ in 0..3 {
        stage.gets(
            BOB,
            "INVITE sip:+4930123456@192.0.2.201:5060 SIP/2.0
             Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
             Record-Route: <sip:10.0.0.1:5060;lr;cl={token}>
             Max-Forwards: 69
             Max-Breadth: 60
             {call}
             CSeq: 1 INVITE
             Contact: <sip:alice@192.0.2.101>",
        );
    }
    // Corelane's own answer: a tag of its own, and no Record-Route, since there is no dialog.
    stage.gets(
        ALICE,
        "SIP/2.0 408 Request Timeout
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
         From: Alice <sip:alice@atlanta.example.com>;tag=alice-1
         To: Bob <sip:+4930123456@biloxi.example.com>;tag={own-tag}
         Call-ID: 2xTb9vxSit55XU7p8@atlanta.example.com
         CSeq: 1 INVITE",
    );
    stage.sends(
        ALICE,
        P1,
        "ACK sip:+4930123456@10.0.0.1 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bf9
         Max-Forwards: 70
         From: Alice <sip:alice@atlanta.example.com>;tag=alice-1
         To: Bob <sip:+4930123456@biloxi.example.com>;tag={own-tag}
         Call-ID: 2xTb9vxSit55XU7p8@atlanta.example.com
         CSeq: 1 ACK",
    );
    assert_eq!(stage.first().last_record().reason, EndReason::Unanswered);
    stage.over();
}

/// RFC 3665 §3.11: it rings, and then Bob does not want it.
#[test]
fn unsuccessful_temporarily_unavailable() {
    let mut stage = Stage::one(&[BOB]);
    stage.invites(BOB, "Contact: <sip:alice@192.0.2.101>");
    stage.answer_reaches_alice(BOB, "180 Ringing", "Contact: <sip:bob@192.0.2.201>");
    stage.answers(BOB, "INVITE", "480 Temporarily Unavailable", "");
    stage.gets(BOB, ACK);
    stage.alice_gets_answer("480 Temporarily Unavailable", "");
    stage.sends(ALICE, P1, ALICES_ACK);
    let record = stage.first().last_record();
    assert_eq!((record.status, record.reason), (480, EndReason::Refused));
    stage.over();
}
