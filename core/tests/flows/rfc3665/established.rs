//! Sessions that come about: §3.2, §3.3, §3.4.

use std::time::Duration;

use corelane_core::call::EndReason;

use super::stage::Stage;

/// RFC 3665 §3.2, both proxies Corelane: each message at each hop. F1 to F3, the first proxy's challenge, do not exist here.
#[test]
fn session_establishment_through_two_proxies() {
    let mut stage = Stage::two();
    stage.says("alice", "INVITE", "Contact: <sip:alice@192.0.2.101>\nContent-Type: application/sdp\n\nv=0 of Alice");
    stage.says("bob", "180 Ringing", "Contact: <sip:bob@192.0.2.201>");
    stage.says("bob", "200 OK", "Contact: <sip:bob@192.0.2.201>\nContent-Type: application/sdp\n\nv=0 of Bob");
    stage.plays(
        "F4   INVITE        alice --> p1
         F6   100 Trying    alice <-- p1
         F5   INVITE        p1    --> p2
         F8   100 Trying    p1    <-- p2
         F7   INVITE        p2    --> bob
         F9   180 Ringing   p2    <-- bob
         F10  180 Ringing   p1    <-- p2
         F11  180 Ringing   alice <-- p1
         F12  200 OK        p2    <-- bob
         F13  200 OK        p1    <-- p2
         F14  200 OK        alice <-- p1
         F15  ACK           alice --> p1
         F16  ACK           p1    --> p2
         F17  ACK           p2    --> bob
         F18  BYE           p2    <-- bob
         F19  BYE           p1    <-- p2
         F20  BYE           alice <-- p1
         F21  200 OK        alice --> p1
         F22  200 OK        p1    --> p2
         F23  200 OK        p2    --> bob",
    );
    assert_eq!(stage.first().last_record().reason, EndReason::ByCallee);
    stage.over();
}

/// RFC 3665 §3.3, Corelane the first proxy: the second one's challenge passes, and so do the credentials, which are not ours to read. The
/// INVITE that comes with them is another call of the same Call-ID, with a token of its own. F1 to F3 are the first proxy's own challenge.
#[test]
fn session_with_multiple_proxy_authentication() {
    let mut stage = Stage::one(&["p2"]);
    let credentials =
        "Proxy-Authorization: Digest username=\"alice\", realm=\"biloxi.example.com\", response=\"f44ab22f\"";
    stage.says("alice", "INVITE", "Contact: <sip:alice@192.0.2.101>");
    stage.says("p2", "407 Proxy Authorization Required", "Proxy-Authenticate: Digest realm=\"biloxi.example.com\"");
    stage.plays(
        "F4   INVITE                              alice --> p1
         F5   100 Trying                          alice <-- p1
         F6   INVITE                              p1    --> p2
         F7   407 Proxy Authorization Required    p1    <-- p2
         F8   ACK                                 p1    --> p2
         F9   407 Proxy Authorization Required    alice <-- p1
         F10  ACK                                 alice --> p1",
    );
    // It goes no further.
    stage.silence();
    assert_eq!(stage.first().last_record().status, 407);
    stage.says("alice", "INVITE", &format!("{credentials}\nContact: <sip:alice@192.0.2.101>"));
    stage.says("p2", "200 OK", "Contact: <sip:bob@192.0.2.201>");
    stage.plays(
        "F11  INVITE        alice --> p1
         F12  100 Trying    alice <-- p1
         F13  INVITE        p1    --> p2
         F15  100 Trying    p1    <-- p2",
    );
    // A 100 stays on its hop.
    stage.silence();
    // F19, and Alice's BYE, which needs credentials too.
    stage.says("alice", "ACK", credentials);
    stage.says("alice", "BYE", credentials);
    stage.plays(
        "F17  200 OK        p1    <-- p2
         F18  200 OK        alice <-- p1
         F19  ACK           alice --> p1
         F20  ACK           p1    --> p2
         -    BYE           alice --> p1
         -    BYE           p1    --> p2
         -    200 OK        p1    <-- p2
         -    200 OK        alice <-- p1",
    );
    assert_eq!(stage.first().records.len(), 2, "the challenged attempt, and the call");
    stage.over();
}

/// RFC 3665 §3.4, Corelane in the place of who has a second proxy to turn to: the first one is silent, `fr_timer` (4 s) ends the wait
/// where Alice takes Timer B (32 s), and the second one is asked on a branch and with an early dialog of its own.
#[test]
fn successful_session_with_proxy_failure() {
    let mut stage = Stage::one(&["first", "second"]);
    stage.says("alice", "INVITE", "Contact: <sip:alice@192.0.2.101>");
    stage.says("second", "180 Ringing", "Contact: <sip:bob@192.0.2.201>");
    stage.says("second", "200 OK", "Contact: <sip:bob@192.0.2.201>");
    stage.plays(
        "-    INVITE        alice --> p1
         -    100 Trying    alice <-- p1",
    );
    stage.passes(Duration::from_millis(4_010));
    // F1 to F4 of the RFC's seven, at 0, 0.5, 1.5 and 3.5 s, each the same. The dialog token is the call's and stays.
    stage.plays(
        "F1   INVITE        p1    --> first
         F2   INVITE        p1    --> first
         F3   INVITE        p1    --> first
         F4   INVITE        p1    --> first
         F8   INVITE        p1    --> second
         -    180 Ringing   p1    <-- second
         -    180 Ringing   alice <-- p1
         -    200 OK        p1    <-- second
         -    200 OK        alice <-- p1
         -    ACK           alice --> p1
         -    ACK           p1    --> second
         -    BYE           alice --> p1
         -    BYE           p1    --> second
         -    200 OK        p1    <-- second
         -    200 OK        alice <-- p1",
    );
    assert_eq!(stage.first().last_record().attempts, 2);
    stage.over();
}
