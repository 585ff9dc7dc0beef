//! Sessions that come about: §3.2, §3.3, §3.4.

use std::time::Duration;

use corelane_core::call::EndReason;

use super::stage::{ALICE, BOB, P1, P2, Stage};

/// RFC 3665 §3.2, both proxies Corelane: each message at each hop. F1 to F3, the first proxy's challenge, do not exist here.
#[test]
fn session_establishment_through_two_proxies() {
    let mut stage = Stage::two();
    // F4: the second INVITE of the RFC is the only one here.
    stage.sends(
        ALICE,
        P1,
        "INVITE sip:+4930123456@10.0.0.1 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b43
         Max-Forwards: 70
         {call}
         CSeq: 1 INVITE
         Contact: <sip:alice@192.0.2.101>
         Content-Type: application/sdp

         v=0 of Alice",
    );
    // F6: 100 to Alice, from the first proxy itself.
    stage.gets(
        ALICE,
        "SIP/2.0 100 Trying
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b43
         {call}
         CSeq: 1 INVITE",
    );
    // F5.
    stage.gets(
        P2,
        "INVITE sip:+4930123456@10.0.0.2:5060 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={first-branch}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b43
         Record-Route: <sip:10.0.0.1:5060;lr;cl={first-token}>
         Max-Forwards: 69
         Max-Breadth: 60
         {call}
         CSeq: 1 INVITE
         Contact: <sip:alice@192.0.2.101>
         Content-Type: application/sdp

         v=0 of Alice",
    );
    stage.name("p1", "Record-Route: <sip:10.0.0.1:5060;lr;cl={first-token}>");
    // F8.
    stage.gets(
        P1,
        "SIP/2.0 100 Trying
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={first-branch}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b43
         {call}
         CSeq: 1 INVITE",
    );
    // F7.
    stage.gets(
        BOB,
        "INVITE sip:+4930123456@192.0.2.201:5060 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.2:5060;branch={second-branch}
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={first-branch}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b43
         Record-Route: <sip:10.0.0.2:5060;lr;cl={second-token}>
         Record-Route: <sip:10.0.0.1:5060;lr;cl={first-token}>
         Max-Forwards: 68
         Max-Breadth: 60
         {call}
         CSeq: 1 INVITE
         Contact: <sip:alice@192.0.2.101>
         Content-Type: application/sdp

         v=0 of Alice",
    );
    // F9 to F11: ringing. F12 to F14: answered.
    for (status, lines) in
        [("180 Ringing", "Contact: <sip:bob@192.0.2.201>"), ("200 OK", "Contact: <sip:bob@192.0.2.201>\n\nv=0 of Bob")]
    {
        stage.answers(BOB, "INVITE", status, lines);
        stage.name("status", status);
        stage.name("rest", lines);
        stage.gets(
            P1,
            "SIP/2.0 {status}
             Via: SIP/2.0/UDP 10.0.0.1:5060;branch={first-branch}
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b43
             Record-Route: <sip:10.0.0.2:5060;lr;cl={second-token}>
             Record-Route: <sip:10.0.0.1:5060;lr;cl={first-token}>
             {dialog}
             CSeq: 1 INVITE
             {rest}",
        );
        stage.gets(
            ALICE,
            "SIP/2.0 {status}
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b43
             Record-Route: <sip:10.0.0.2:5060;lr;cl={second-token}>
             Record-Route: <sip:10.0.0.1:5060;lr;cl={first-token}>
             {dialog}
             CSeq: 1 INVITE
             {rest}",
        );
    }
    // F15 to F17: the ACK is a request of its own, with its own branches; each proxy takes its Route off.
    stage.sends(
        ALICE,
        P1,
        "ACK sip:bob@192.0.2.201 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b76
         Max-Forwards: 70
         Route: <sip:10.0.0.1:5060;lr;cl={first-token}>
         Route: <sip:10.0.0.2:5060;lr;cl={second-token}>
         {dialog}
         CSeq: 1 ACK",
    );
    stage.gets(
        P2,
        "ACK sip:bob@192.0.2.201 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={first-ack}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b76
         Max-Forwards: 69
         Max-Breadth: 60
         Route: <sip:10.0.0.2:5060;lr;cl={second-token}>
         {dialog}
         CSeq: 1 ACK",
    );
    stage.gets(
        BOB,
        "ACK sip:bob@192.0.2.201 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.2:5060;branch={second-ack}
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={first-ack}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b76
         Max-Forwards: 68
         Max-Breadth: 60
         {dialog}
         CSeq: 1 ACK",
    );
    // F18 to F20: Bob hangs up; his Route is the Record-Route in its order.
    stage.name(
        "reversed",
        "From: Bob <sip:+4930123456@biloxi.example.com>;tag=bob-1
         To: Alice <sip:alice@atlanta.example.com>;tag=alice-1
         Call-ID: 2xTb9vxSit55XU7p8@atlanta.example.com",
    );
    stage.sends(
        BOB,
        P2,
        "BYE sip:alice@192.0.2.101 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.201:5060;branch=z9hG4bKnashds7
         Max-Forwards: 70
         Route: <sip:10.0.0.2:5060;lr;cl={second-token}>
         Route: <sip:10.0.0.1:5060;lr;cl={first-token}>
         {reversed}
         CSeq: 1 BYE",
    );
    stage.gets(
        P1,
        "BYE sip:alice@192.0.2.101 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.2:5060;branch={second-bye}
         Via: SIP/2.0/UDP 192.0.2.201:5060;branch=z9hG4bKnashds7
         Max-Forwards: 69
         Max-Breadth: 60
         Route: <sip:10.0.0.1:5060;lr;cl={first-token}>
         {reversed}
         CSeq: 1 BYE",
    );
    stage.gets(
        ALICE,
        "BYE sip:alice@192.0.2.101 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={first-bye}
         Via: SIP/2.0/UDP 10.0.0.2:5060;branch={second-bye}
         Via: SIP/2.0/UDP 192.0.2.201:5060;branch=z9hG4bKnashds7
         Max-Forwards: 68
         Max-Breadth: 60
         {reversed}
         CSeq: 1 BYE",
    );
    // F21 to F23.
    stage.answers(ALICE, "BYE", "200 OK", "");
    stage.gets(
        P2,
        "SIP/2.0 200 OK
         Via: SIP/2.0/UDP 10.0.0.2:5060;branch={second-bye}
         Via: SIP/2.0/UDP 192.0.2.201:5060;branch=z9hG4bKnashds7
         {reversed}
         CSeq: 1 BYE",
    );
    stage.gets(
        BOB,
        "SIP/2.0 200 OK
         Via: SIP/2.0/UDP 192.0.2.201:5060;branch=z9hG4bKnashds7
         {reversed}
         CSeq: 1 BYE",
    );
    assert_eq!(stage.first().last_record().reason, EndReason::ByCallee);
    stage.over();
}

/// RFC 3665 §3.3, Corelane the first proxy: the second one's challenge passes, and so do the credentials. The INVITE that comes with them
/// is another call of the same Call-ID, with a token of its own.
#[test]
fn session_with_multiple_proxy_authentication() {
    let mut stage = Stage::one(&[P2]);
    // F4 and F5 (F1 to F3 are the first proxy's own challenge).
    stage.sends(
        ALICE,
        P1,
        "INVITE sip:+4930123456@10.0.0.1 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b21
         Max-Forwards: 70
         {call}
         CSeq: 2 INVITE
         Contact: <sip:alice@192.0.2.101>",
    );
    stage.gets(
        ALICE,
        "SIP/2.0 100 Trying
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b21
         {call}
         CSeq: 2 INVITE",
    );
    // F6.
    stage.gets(
        P2,
        "INVITE sip:+4930123456@10.0.0.2:5060 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b21
         Record-Route: <sip:10.0.0.1:5060;lr;cl={token}>
         Max-Forwards: 69
         Max-Breadth: 60
         {call}
         CSeq: 2 INVITE
         Contact: <sip:alice@192.0.2.101>",
    );
    // F7 to F9: the challenge, acknowledged on its hop (F8), goes up as it came.
    stage.answers(
        P2,
        "INVITE",
        "407 Proxy Authorization Required",
        "Proxy-Authenticate: Digest realm=\"biloxi.example.com\"",
    );
    stage.gets(
        P2,
        "ACK sip:+4930123456@10.0.0.2:5060 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
         Max-Forwards: 70
         {dialog}
         CSeq: 2 ACK",
    );
    stage.gets(
        ALICE,
        "SIP/2.0 407 Proxy Authorization Required
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b21
         Record-Route: <sip:10.0.0.1:5060;lr;cl={token}>
         {dialog}
         CSeq: 2 INVITE
         Proxy-Authenticate: Digest realm=\"biloxi.example.com\"",
    );
    // F10: it goes no further.
    stage.sends(
        ALICE,
        P1,
        "ACK sip:+4930123456@10.0.0.1 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b21
         Max-Forwards: 70
         {dialog}
         CSeq: 2 ACK",
    );
    stage.silence();
    assert_eq!(stage.first().last_record().status, 407);
    // F11 to F13: the same call again, with credentials, which are not ours to read.
    stage.sends(
        ALICE,
        P1,
        "INVITE sip:+4930123456@10.0.0.1 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b20
         Max-Forwards: 70
         {call}
         CSeq: 3 INVITE
         Proxy-Authorization: Digest username=\"alice\", realm=\"biloxi.example.com\", response=\"f44ab22f\"
         Contact: <sip:alice@192.0.2.101>",
    );
    stage.gets(
        ALICE,
        "SIP/2.0 100 Trying
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b20
         {call}
         CSeq: 3 INVITE",
    );
    stage.gets(
        P2,
        "INVITE sip:+4930123456@10.0.0.2:5060 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={again}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b20
         Record-Route: <sip:10.0.0.1:5060;lr;cl={token-again}>
         Max-Forwards: 69
         Max-Breadth: 60
         {call}
         CSeq: 3 INVITE
         Proxy-Authorization: Digest username=\"alice\", realm=\"biloxi.example.com\", response=\"f44ab22f\"
         Contact: <sip:alice@192.0.2.101>",
    );
    // F15: a 100 stays on its hop. F17 and F18: the answer.
    stage.answers(P2, "INVITE", "100 Trying", "");
    stage.silence();
    stage.answers(P2, "INVITE", "200 OK", "Contact: <sip:bob@192.0.2.201>");
    stage.gets(
        ALICE,
        "SIP/2.0 200 OK
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74b20
         Record-Route: <sip:10.0.0.1:5060;lr;cl={token-again}>
         {dialog}
         CSeq: 3 INVITE
         Contact: <sip:bob@192.0.2.201>",
    );
    // F19, and Alice's BYE, which needs the credentials too.
    for (method, branch) in [("ACK", "z9hG4bK74b44"), ("BYE", "z9hG4bK74be5")] {
        stage.name("method", method);
        stage.name("own", branch);
        stage.name("number", if method == "ACK" { "3" } else { "4" });
        stage.sends(
            ALICE,
            P1,
            "{method} sip:bob@192.0.2.201 SIP/2.0
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch={own}
             Max-Forwards: 70
             Route: <sip:10.0.0.1:5060;lr;cl={token-again}>
             {dialog}
             CSeq: {number} {method}
             Proxy-Authorization: Digest username=\"alice\", realm=\"biloxi.example.com\", response=\"3bd6e1c7\"",
        );
        let expected = "{method} sip:bob@192.0.2.201 SIP/2.0
             Via: SIP/2.0/UDP 10.0.0.1:5060;branch={method-branch}
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch={own}
             Max-Forwards: 69
             Max-Breadth: 60
             {dialog}
             CSeq: {number} {method}
             Proxy-Authorization: Digest username=\"alice\", realm=\"biloxi.example.com\", response=\"3bd6e1c7\"";
        stage.gets(P2, &expected.replace("{method-branch}", &format!("{{{method}-branch}}")));
    }
    stage.answers(P2, "BYE", "200 OK", "");
    stage.gets(
        ALICE,
        "SIP/2.0 200 OK
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK74be5
         {dialog}
         CSeq: 4 BYE",
    );
    assert_eq!(stage.first().records.len(), 2, "the challenged attempt, and the call");
    stage.over();
}

/// RFC 3665 §3.4, Corelane in the place of who has a second proxy to turn to: the first one is silent, `fr_timer` (4 s) ends the wait
/// where Alice takes Timer B (32 s), and the second one is asked on a branch and with an early dialog of its own.
#[test]
fn successful_session_with_proxy_failure() {
    const FIRST: &str = "198.51.100.1:5060";
    const SECOND: &str = "198.51.100.2:5060";
    let mut stage = Stage::one(&[FIRST, SECOND]);
    stage.sends(
        ALICE,
        P1,
        "INVITE sip:+4930123456@10.0.0.1 SIP/2.0
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK465b6d
         Max-Forwards: 70
         {call}
         CSeq: 1 INVITE
         Contact: <sip:alice@192.0.2.101>",
    );
    stage.gets(
        ALICE,
        "SIP/2.0 100 Trying
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK465b6d
         {call}
         CSeq: 1 INVITE",
    );
    stage.passes(Duration::from_millis(4_010));
    // F1 to F4 of the RFC's seven: at 0, 0.5, 1.5 and 3.5 s, each the same.
    for _ in 0..4 {
        stage.gets(
            FIRST,
            "INVITE sip:+4930123456@198.51.100.1:5060 SIP/2.0
             Via: SIP/2.0/UDP 10.0.0.1:5060;branch={silent}
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK465b6d
             Record-Route: <sip:10.0.0.1:5060;lr;cl={token}>
             Max-Forwards: 69
             Max-Breadth: 60
             {call}
             CSeq: 1 INVITE
             Contact: <sip:alice@192.0.2.101>",
        );
    }
    // F8 of the RFC: the other one. The dialog token is the call's and stays.
    stage.gets(
        SECOND,
        "INVITE sip:+4930123456@198.51.100.2:5060 SIP/2.0
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK465b6d
         Record-Route: <sip:10.0.0.1:5060;lr;cl={token}>
         Max-Forwards: 69
         Max-Breadth: 60
         {call}
         CSeq: 1 INVITE
         Contact: <sip:alice@192.0.2.101>",
    );
    for status in ["180 Ringing", "200 OK"] {
        stage.answers(SECOND, "INVITE", status, "Contact: <sip:bob@192.0.2.201>");
        stage.name("status", status);
        stage.gets(
            ALICE,
            "SIP/2.0 {status}
             Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK465b6d
             Record-Route: <sip:10.0.0.1:5060;lr;cl={token}>
             {dialog}
             CSeq: 1 INVITE
             Contact: <sip:bob@192.0.2.201>",
        );
    }
    stage.alice_sends(SECOND, "ACK", 1, "");
    stage.alice_sends(SECOND, "BYE", 2, "");
    stage.answers(SECOND, "BYE", "200 OK", "");
    stage.gets(
        ALICE,
        "SIP/2.0 200 OK
         Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK-BYE-2
         {dialog}
         CSeq: 2 BYE",
    );
    assert_eq!(stage.first().last_record().attempts, 2);
    stage.over();
}
