//! Session timers (RFC 4028) and the timers of a call that nobody answers, as both sides see them. That a session which nobody refreshes
//! is ended is in `soak.rs`, and runs in a soak only: no legal interval is shorter than 90 s.

use crate::corelane::{Corelane, Options, listener};
use crate::peer::{Message, Peer};
use crate::serial;
use crate::site::{Site, Tables};

/// The number that leads to the gateway.
const NUMBER: &str = "4912345";

/// What the caller says, what the gateway is to read, what it says in its 200, what the caller is to read.
struct Row {
    asked: &'static [&'static str],
    offered: Timer,
    answered: &'static [&'static str],
    agreed: Timer,
}

/// Session-Expires, Min-SE and Require of a message.
type Timer = (Option<&'static str>, Option<&'static str>, Option<&'static str>);

/// With `min_se` 120 and `session_expires` 200.
const ROWS: [Row; 5] = [
    // Nobody knows of it.
    Row { asked: &[], offered: (None, None, None), answered: &[], agreed: (None, None, None) },
    // The caller can, the gateway cannot: Corelane writes what was asked into its answer (§8.2).
    Row {
        asked: &["Supported: timer"],
        offered: (Some("200"), None, None),
        answered: &[],
        agreed: (Some("200;refresher=uac"), None, Some("timer")),
    },
    // Both can: too long is lowered, and the answer passes as it is (§8.1).
    Row {
        asked: &["Supported: timer", "Session-Expires: 1800"],
        offered: (Some("200"), None, None),
        answered: &["Session-Expires: 150;refresher=uas", "Require: timer"],
        agreed: (Some("150;refresher=uas"), None, Some("timer")),
    },
    // Too short, from a caller who would not understand a 422: raised (§8.1).
    Row {
        asked: &["Session-Expires: 60"],
        offered: (Some("120"), Some("120"), None),
        answered: &["Session-Expires: 120;refresher=uas"],
        agreed: (Some("120;refresher=uas"), None, None),
    },
    // A caller who came back with what a 422 had told him.
    Row {
        asked: &["Supported: timer", "Session-Expires: 120", "Min-SE: 120"],
        offered: (Some("120"), Some("120"), None),
        answered: &["Session-Expires: 120;refresher=uac", "Require: timer"],
        agreed: (Some("120;refresher=uac"), None, Some("timer")),
    },
];

fn timer_of(message: &Message) -> (Option<&str>, Option<&str>, Option<&str>) {
    (message.header("Session-Expires"), message.header("Min-SE"), message.header("Require"))
}

#[test]
fn a_session_interval_is_agreed_on() {
    let _serial = serial();
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let tables = tables.provider("min_se", 120).provider("session_expires", 200);
    let corelane = Corelane::start(&site, &tables, &Options { default_timeout_s: 300, ..Options::default() });
    let (caller, gateway) = (Peer::new(site.caller(), address), Peer::at(place, address));

    let short = caller.request("INVITE", NUMBER).add("Supported: timer").add("Session-Expires: 60");
    let refusal = caller.ask(&short);
    assert_eq!((refusal.code(), refusal.header("Min-SE")), (Some(422), Some("120")), "{}", refusal.text());
    assert!(gateway.nothing_came(), "RFC 4028 §8.1: it was refused at once");

    for (row, Row { asked, offered, answered, agreed }) in ROWS.iter().enumerate() {
        let invite = asked.iter().fold(caller.request("INVITE", NUMBER), |invite, header| invite.add(header));
        caller.send(invite.text());
        let received = gateway.receive_request(invite.call_id(), "INVITE", 1);
        assert_eq!(timer_of(&received), *offered, "row {row}: {}", received.text());
        gateway.send(received.answer_with("200 OK", place, answered, ""));
        let dialog = caller.answered(invite);
        assert_eq!(timer_of(dialog.answer()), *agreed, "row {row}: {}", dialog.answer().text());
        let bye = caller.say_bye(&dialog);
        gateway.send(gateway.receive_request(dialog.call_id(), "BYE", 2).answer("200 OK", place));
        assert_eq!(caller.receive_final(&bye).code(), Some(200));
    }

    // The gateway's own 422 is the caller's business (§8.1), and no reason to try another one.
    let invite = caller.request("INVITE", NUMBER).add("Supported: timer");
    caller.send(invite.text());
    let received = gateway.receive_request(invite.call_id(), "INVITE", 1);
    gateway.send(received.answer_with("422 Session Interval Too Small", place, &["Min-SE: 600"], ""));
    let refusal = caller.receive_final(&invite);
    assert_eq!((refusal.code(), refusal.header("Min-SE")), (Some(422), Some("600")), "{}", refusal.text());
    caller.send(invite.ack(&refusal).text());

    let counters = corelane.stop_empty();
    assert_eq!(counters.node("calls_answered"), ROWS.len() as u64);
}

/// A bare 100 until `invite_timeout`, ringing until `early_timeout`: no other timer of these calls is as short.
#[test]
fn a_call_that_nobody_answers_is_given_up() {
    let _serial = serial();
    let site = Site::new();
    let (address, place) = (listener(&site), site.address(21));
    let tables = Tables::new(address, site.caller()).gateway("49", place);
    let options = Options {
        invite_timeout_ms: 3_000,
        early_timeout_ms: 2_000,
        progress_timeout_ms: 60_000,
        fr_timer_ms: 30_000,
        ..Options::default()
    };
    let corelane = Corelane::start(&site, &tables, &options);
    let (caller, gateway) = (Peer::new(site.caller(), address), Peer::at(place, address));
    let calls = ["100 Trying", "180 Ringing"].map(|progress| {
        let invite = caller.request("INVITE", NUMBER);
        caller.send(invite.text());
        let received = gateway.receive_request(invite.call_id(), "INVITE", 1);
        gateway.send(received.answer(progress, place));
        (invite, received)
    });
    // The one that rings is over first: early_timeout began with its 180.
    for (invite, received) in calls.iter().rev() {
        let cancel = gateway.receive_request(invite.call_id(), "CANCEL", 1);
        let reason = cancel.header("Reason").unwrap_or_default();
        assert!(reason.starts_with("SIP;cause=408"), "{}", cancel.text());
        gateway.send(cancel.answer("200 OK", place));
        gateway.send(received.answer("487 Request Terminated", place));
        let refusal = caller.receive_final(invite);
        assert_eq!(refusal.code(), Some(408), "{}", refusal.text());
        caller.send(invite.ack(&refusal).text());
    }
    let counters = corelane.stop_empty();
    assert_eq!((counters.node("ended_unanswered"), counters.node("attempts")), (2, 2));
}
