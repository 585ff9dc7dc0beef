//! What is agreed late, or changed: §3.6, §3.7.

use corelane_core::call::EndReason;

use super::stage::{ALICE, BOB, P1, Stage};

/// Bob's side of the dialog, as he writes it.
const BOBS: &str = "From: Bob <sip:+4930123456@biloxi.example.com>;tag=bob-1
    To: Alice <sip:alice@atlanta.example.com>;tag=alice-1
    Call-ID: 2xTb9vxSit55XU7p8@atlanta.example.com";

/// RFC 3665 §3.6 from F4 on (the redirect server is before us): no SDP in the INVITE, the offer in the 200, the answer in the ACK.
#[test]
fn session_with_sdp_in_the_ack() {
    let mut stage = Stage::one(&[BOB]);
    stage.invites(BOB, "Contact: <sip:alice@192.0.2.101>");
    stage.answer_reaches_alice(BOB, "180 Ringing", "Contact: <sip:bob@192.0.2.201>");
    stage.answer_reaches_alice(
        BOB,
        "200 OK",
        "Contact: <sip:bob@192.0.2.201>\nContent-Type: application/sdp\n\nv=0 of Bob, the offer",
    );
    stage.alice_sends(BOB, "ACK", 1, "Content-Type: application/sdp\n\nv=0 of Alice, the answer");
    stage.alice_sends(BOB, "BYE", 2, "");
    stage.answers(BOB, "BYE", "200 OK", "");
    stage.gets(
        ALICE,
        "SIP/2.0 200 OK
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK-BYE-2
         {dialog}
         CSeq: 2 BYE",
    );
    assert_eq!(stage.first().last_record().reason, EndReason::ByCaller);
    stage.over();
}

/// RFC 3665 §3.7: Bob has a new address and says so by a re-INVITE from there. What Alice sends afterwards goes there: the address that
/// counts is the one that the re-INVITE came from, once it was answered 200 (RFC 3261 §12.2.1.2).
#[test]
fn session_with_reinvite_from_a_new_address() {
    const MOVED: &str = "192.0.2.202:5060";
    let mut stage = Stage::one(&[BOB]);
    stage.name("bobs", BOBS);
    stage.invites(BOB, "Contact: <sip:alice@192.0.2.101>");
    stage.answer_reaches_alice(BOB, "200 OK", "Contact: <sip:bob@192.0.2.201>");
    stage.alice_sends(BOB, "ACK", 1, "");
    stage.sends(
        MOVED,
        P1,
        "INVITE sip:alice@192.0.2.101 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.202:5060;branch=z9hG4bKlkld5l
         Max-Forwards: 70
         Route: <sip:10.0.0.1:5060;lr;cl={token}>
         {bobs}
         CSeq: 14 INVITE
         Contact: <sip:bob@192.0.2.202>
         Content-Type: application/sdp

         v=0 from the new address",
    );
    stage.gets(
        MOVED,
        "SIP/2.0 100 Trying
         Via: SIP/2.0/UDP 192.0.2.202:5060;branch=z9hG4bKlkld5l
         {bobs}
         CSeq: 14 INVITE",
    );
    stage.gets(
        ALICE,
        "INVITE sip:alice@192.0.2.101 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={again}
         Via: SIP/2.0/UDP 192.0.2.202:5060;branch=z9hG4bKlkld5l
         Max-Forwards: 69
         Max-Breadth: 60
         {bobs}
         CSeq: 14 INVITE
         Contact: <sip:bob@192.0.2.202>
         Content-Type: application/sdp

         v=0 from the new address",
    );
    stage.answers(ALICE, "INVITE", "200 OK", "Contact: <sip:alice@192.0.2.101>");
    stage.gets(
        MOVED,
        "SIP/2.0 200 OK
         Via: SIP/2.0/UDP 192.0.2.202:5060;branch=z9hG4bKlkld5l
         {bobs}
         CSeq: 14 INVITE
         Contact: <sip:alice@192.0.2.101>",
    );
    stage.sends(
        MOVED,
        P1,
        "ACK sip:alice@192.0.2.101 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.202:5060;branch=z9hG4bKldksd
         Max-Forwards: 70
         Route: <sip:10.0.0.1:5060;lr;cl={token}>
         {bobs}
         CSeq: 14 ACK",
    );
    stage.gets(
        ALICE,
        "ACK sip:alice@192.0.2.101 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={again-ack}
         Via: SIP/2.0/UDP 192.0.2.202:5060;branch=z9hG4bKldksd
         Max-Forwards: 69
         Max-Breadth: 60
         {bobs}
         CSeq: 14 ACK",
    );
    stage.sends(
        ALICE,
        P1,
        "BYE sip:bob@192.0.2.202 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bye
         Max-Forwards: 70
         Route: <sip:10.0.0.1:5060;lr;cl={token}>
         {dialog}
         CSeq: 2 BYE",
    );
    stage.gets(
        MOVED,
        "BYE sip:bob@192.0.2.202 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={bye}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bye
         Max-Forwards: 69
         Max-Breadth: 60
         {dialog}
         CSeq: 2 BYE",
    );
    stage.answers(MOVED, "BYE", "200 OK", "");
    stage.gets(
        ALICE,
        "SIP/2.0 200 OK
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74bye
         {dialog}
         CSeq: 2 BYE",
    );
    assert_eq!(stage.first().last_record().reason, EndReason::ByCaller);
    stage.over();
}
