//! What is agreed late, or changed: §3.6, §3.7.

use corelane_core::call::EndReason;

use super::stage::Stage;

/// RFC 3665 §3.6 from F4 on (the redirect server is before us): no SDP in the INVITE, the offer in the 200, the answer in the ACK.
#[test]
fn session_with_sdp_in_the_ack() {
    let mut stage = Stage::one(&["bob"]);
    stage.says("alice", "INVITE", "Contact: <sip:alice@192.0.2.101>");
    stage.says("alice", "ACK", "Content-Type: application/sdp\n\nv=0 of Alice, the answer");
    stage.says("bob", "180 Ringing", "Contact: <sip:bob@192.0.2.201>");
    stage.says(
        "bob",
        "200 OK",
        "Contact: <sip:bob@192.0.2.201>\nContent-Type: application/sdp\n\nv=0 of Bob, the offer",
    );
    stage.plays(
        "F4   INVITE        alice --> p1
         F6   100 Trying    alice <-- p1
         F5   INVITE        p1    --> bob
         F7   180 Ringing   p1    <-- bob
         F8   180 Ringing   alice <-- p1
         F9   200 OK        p1    <-- bob
         F10  200 OK        alice <-- p1
         F11  ACK           alice --> p1
         F12  ACK           p1    --> bob
         -    BYE           alice --> p1
         -    BYE           p1    --> bob
         -    200 OK        p1    <-- bob
         -    200 OK        alice <-- p1",
    );
    assert_eq!(stage.first().last_record().reason, EndReason::ByCaller);
    stage.over();
}

/// RFC 3665 §3.7: Bob has a new address and says so by a re-INVITE from there. What Alice sends afterwards goes there: the address that
/// counts is the one that the re-INVITE came from, once it was answered 200 (RFC 3261 §12.2.1.2). Both are gateways of ours: nobody moves to
/// where we know nobody.
#[test]
fn session_with_reinvite_from_a_new_address() {
    let mut stage = Stage::one(&["bob", "moved"]);
    stage.says("alice", "INVITE", "Contact: <sip:alice@192.0.2.101>");
    stage.says("bob", "200 OK", "Contact: <sip:bob@192.0.2.201>");
    stage.plays(
        "-    INVITE        alice --> p1
         -    100 Trying    alice <-- p1
         -    INVITE        p1    --> bob
         -    200 OK        p1    <-- bob
         -    200 OK        alice <-- p1
         -    ACK           alice --> p1
         -    ACK           p1    --> bob",
    );
    let moved = "Contact: <sip:bob@192.0.2.202>\nContent-Type: application/sdp\n\nv=0 from the new address";
    stage.says("moved", "INVITE", moved);
    stage.says("alice", "200 OK", "Contact: <sip:alice@192.0.2.101>");
    stage.plays(
        "-    INVITE        p1    <-- moved
         -    100 Trying    p1    --> moved
         -    INVITE        alice <-- p1
         -    200 OK        alice --> p1
         -    200 OK        p1    --> moved
         -    ACK           p1    <-- moved
         -    ACK           alice <-- p1",
    );
    stage.target = "sip:bob@192.0.2.202".into();
    stage.plays(
        "-    BYE           alice --> p1
         -    BYE           p1    --> moved
         -    200 OK        p1    <-- moved
         -    200 OK        alice <-- p1",
    );
    assert_eq!(stage.first().last_record().reason, EndReason::ByCaller);
    stage.over();
}
