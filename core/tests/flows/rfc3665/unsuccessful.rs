//! Sessions that do not come about: §3.8 to §3.11.

use std::time::Duration;

use corelane_core::call::EndReason;

use super::stage::Stage;

/// Alice, who calls Bob through these.
fn calling(mut stage: Stage) -> Stage {
    stage.says("alice", "INVITE", "Contact: <sip:alice@192.0.2.101>");
    stage
}

/// How the call ended.
fn ends(mut stage: Stage, status: u16, reason: EndReason) {
    let record = stage.first().last_record();
    assert_eq!((record.status, record.reason), (status, reason));
    stage.over();
}

/// RFC 3665 §3.8, both proxies Corelane: CANCEL and its 200 are each hop's own, the 487 goes from end to end.
#[test]
fn unsuccessful_no_answer() {
    let mut stage = calling(Stage::two());
    stage.plays(
        "F1   INVITE                             alice --> p1
         F3   100 Trying                         alice <-- p1
         F2   INVITE                             p1    --> p2
         F5   100 Trying                         p1    <-- p2
         F4   INVITE                             p2    --> bob
         F6   180 Ringing                        p2    <-- bob
         F7   180 Ringing                        p1    <-- p2
         F8   180 Ringing                        alice <-- p1
         F9   CANCEL                             alice --> p1
         F10  200 OK                             alice <-- p1
         F11  CANCEL                             p1    --> p2
         F12  200 OK                             p1    <-- p2
         F13  CANCEL                             p2    --> bob
         F14  200 OK                             p2    <-- bob",
    );
    // It goes no further.
    stage.silence();
    stage.plays(
        "F15  487 Request Terminated (INVITE)    p2    <-- bob
         F16  ACK                                p2    --> bob
         F17  487 Request Terminated (INVITE)    p1    <-- p2
         F18  ACK                                p1    --> p2
         F19  487 Request Terminated (INVITE)    alice <-- p1
         F20  ACK                                alice --> p1",
    );
    ends(stage, 487, EndReason::Cancelled);
}

/// RFC 3665 §3.9.
#[test]
fn unsuccessful_busy() {
    let mut stage = calling(Stage::one(&["bob"]));
    stage.plays(
        "F1   INVITE           alice --> p1
         F3   100 Trying       alice <-- p1
         F4   INVITE           p1    --> bob
         F6   486 Busy Here    p1    <-- bob
         F7   ACK              p1    --> bob
         F10  486 Busy Here    alice <-- p1
         F11  ACK              alice --> p1",
    );
    ends(stage, 486, EndReason::Refused);
}

/// RFC 3665 §3.10. `fr_timer` ends the wait after 4 s, not Timer B after 32; and the answer is 408, as RFC 3261 §16.8 has it, where the
/// RFC's example says 480. It is Corelane's own: a tag of its own, and no Record-Route, since there is no dialog.
#[test]
fn unsuccessful_no_response_from_user_agent() {
    let mut stage = calling(Stage::one(&["bob"]));
    stage.plays(
        "F1   INVITE        alice --> p1
         F3   100 Trying    alice <-- p1",
    );
    stage.passes(Duration::from_millis(4_010));
    // At 0, 0.5, 1.5 and 3.5 s.
    stage.plays(
        "F4   INVITE                 p1    --> bob
         F6   INVITE                 p1    --> bob
         F7   INVITE                 p1    --> bob
         F8   INVITE                 p1    --> bob
         F14  408 Request Timeout    alice <-- p1
         F15  ACK                    alice --> p1",
    );
    ends(stage, 408, EndReason::Unanswered);
}

/// RFC 3665 §3.11: it rings, and then Bob does not want it.
#[test]
fn unsuccessful_temporarily_unavailable() {
    let mut stage = calling(Stage::one(&["bob"]));
    stage.says("bob", "180 Ringing", "Contact: <sip:bob@192.0.2.201>");
    stage.plays(
        "F1   INVITE                         alice --> p1
         F3   100 Trying                     alice <-- p1
         F4   INVITE                         p1    --> bob
         F6   180 Ringing                    p1    <-- bob
         F8   180 Ringing                    alice <-- p1
         F9   480 Temporarily Unavailable    p1    <-- bob
         F10  ACK                            p1    --> bob
         F13  480 Temporarily Unavailable    alice <-- p1
         F14  ACK                            alice --> p1",
    );
    ends(stage, 480, EndReason::Refused);
}
