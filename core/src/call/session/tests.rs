//! Each row of both tables, and what is read from what peers write.

use std::format;
use std::string::String;

use super::*;

const LIMITS: Limits = Limits { min_se_s: 90, session_expires_s: 1800 };

fn message<R>(start: &str, lines: &str, read: impl FnOnce(&Message<'_>) -> R) -> R {
    let lines = lines.split('|').filter(|line| !line.is_empty()).fold(String::new(), |text, line| text + line + "\r\n");
    let text = format!(
        "{start}\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nMax-Forwards: 1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
         Call-ID: 1\r\nCSeq: 1 INVITE\r\n{lines}Content-Length: 0\r\n\r\n"
    );
    read(&Message::parse(text.as_bytes()).expect("a message"))
}

fn invite<R>(lines: &str, read: impl FnOnce(&Message<'_>) -> R) -> R {
    message("INVITE sip:a@b SIP/2.0", lines, read)
}

fn answer<R>(lines: &str, read: impl FnOnce(&Message<'_>) -> R) -> R {
    message("SIP/2.0 200 OK", lines, read)
}

/// The lines that go into the request, on one line.
fn written(decision: Decision, lines: &str) -> String {
    let Decision::Take(terms) = decision else { return String::from("422") };
    let wording = Wording::of_request(&terms);
    invite(lines, |message| {
        let pieces = wording.request_lines(message).concat();
        assert_eq!(pieces.is_empty(), wording.replaced().is_empty(), "what is written replaces what was there");
        String::from_utf8(pieces).expect("text").replace("\r\n", "|")
    })
}

#[test]
fn requests() {
    let supported = |interval_s| Asked { supported: true, interval_s };
    let unsupported = |interval_s| Asked { supported: false, interval_s };
    for (lines, asked, expected) in [
        // Nobody speaks of it.
        ("", Asked::default(), ""),
        ("Supported: 100rel, replaces", Asked::default(), ""),
        ("Min-SE: 120", Asked::default(), ""),
        ("Session-Expires: soon", Asked::default(), ""),
        // Not supported.
        ("x: 1", unsupported(90), "Session-Expires: 90|Min-SE: 90|"),
        (
            "Session-Expires: 60 ;refresher=uac|Min-SE: 50",
            unsupported(90),
            "Session-Expires: 90 ;refresher=uac|Min-SE: 90|",
        ),
        ("Session-Expires: 60|Min-SE: 200", unsupported(200), "Session-Expires: 200|Min-SE: 200|"),
        ("Session-Expires: 600", unsupported(600), ""),
        ("Session-Expires: 600;refresher=uas|Min-SE: 700", unsupported(700), "Session-Expires: 700;refresher=uas|"),
        ("Session-Expires: 86400", unsupported(1800), "Session-Expires: 1800|"),
        ("Session-Expires: 7200|Min-SE: 3600", unsupported(3600), "Session-Expires: 3600|"),
        // Supported.
        ("Supported: timer", supported(1800), "Session-Expires: 1800|"),
        ("k: 100rel , TIMER", supported(1800), "Session-Expires: 1800|"),
        ("Require: timer", supported(1800), "Session-Expires: 1800|"),
        ("Supported: timer|Min-SE: 3600", supported(3600), "Session-Expires: 3600|"),
        ("Supported: timer|Session-Expires: -5", supported(1800), "Session-Expires: 1800|"),
        ("Supported: timer|Session-Expires: 90", supported(90), ""),
        ("Supported: timer|Session-Expires: 1800;refresher=uac|Min-SE: 90", supported(1800), ""),
        ("Supported: timer|Session-Expires: 100|Min-SE: 200", supported(200), "Session-Expires: 200|"),
        ("Supported: timer|Session-Expires: 3600;a=b", supported(1800), "Session-Expires: 1800;a=b|"),
        ("Supported: timer|Session-Expires: 99999999999999", supported(1800), "Session-Expires: 1800|"),
    ] {
        let decision = invite(lines, |message| on_request(LIMITS, message));
        let Decision::Take(terms) = decision else { panic!("{lines} is taken") };
        assert_eq!(terms.asked, asked, "{lines}");
        assert_eq!(written(decision, lines), expected, "{lines}");
        assert!(expected.is_empty() || invite(lines, concerns), "{lines}");
    }
    for lines in ["Supported: timer|Session-Expires: 89", "Supported: timer|x: 1|Min-SE: 1", "Require: timer|x: 0"] {
        let decision = invite(lines, |message| on_request(LIMITS, message));
        assert_eq!(decision, Decision::Refuse { min_se_s: 90 }, "{lines}");
    }
    // A session_expires below min_se, which the configuration does not allow, is min_se.
    let tight = Limits { min_se_s: 300, session_expires_s: 100 };
    let decision = invite("Supported: timer", |message| on_request(tight, message));
    assert_eq!(written(decision, "Supported: timer"), "Session-Expires: 300|");
}

#[test]
fn the_option_tag_among_others() {
    for (tags, there) in [
        ("timer", true),
        ("100rel,Timer", true),
        ("timer , histinfo", true),
        ("tdialog, outbound,\r\n timer", true),
        ("", false),
        ("time", false),
        ("timers", false),
        ("x-timer", false),
        ("timer.x, mytimer", false),
        ("100rel, replaces, norefersub", false),
    ] {
        assert_eq!(has_timer(tags.as_bytes()), there, "{tags}");
    }
    assert!(invite("Supported: 100rel|k: replaces, timer", supports_timer), "two fields");
    assert!(!invite("Supported: 100rel|k: replaces|Unsupported: timer", supports_timer));
}

#[test]
fn requests_inside_a_dialog_are_only_read() {
    for (lines, supported, interval_s) in [
        ("", false, 0),
        ("Supported: timer", true, 0),
        ("Supported: timer|Session-Expires: 1", true, 1),
        ("Session-Expires: 600;refresher=uac", false, 600),
        ("Supported: timer|Session-Expires: x", true, 0),
    ] {
        assert_eq!(invite(lines, asked_in_dialog), Asked { supported, interval_s }, "{lines}");
    }
}

#[test]
fn answers() {
    let kept = |interval_s, refresher| Some(Agreed { interval_s, refresher, inserted: false });
    let (able, unable) = (Asked { supported: true, interval_s: 600 }, Asked { supported: false, interval_s: 600 });
    let able_unasked = Asked { supported: true, interval_s: 0 };
    for (asked, lines, expected) in [
        (able, "Session-Expires: 500;refresher=uas", kept(500, Side::Callee)),
        (unable, "x: 500 ; refresher = UAS", kept(500, Side::Callee)),
        (Asked::default(), "Session-Expires: 500;refresher=uas", kept(500, Side::Callee)),
        (able, "Session-Expires: 500;refresher=uac", kept(500, Side::Caller)),
        (able, "Session-Expires: 500", kept(500, Side::Caller)),
        (able, "Session-Expires: 500;refresher=both", kept(500, Side::Caller)),
        (able, "Session-Expires: 1;refresher=uac", kept(1, Side::Caller)),
        (unable, "Session-Expires: 500;refresher=uac", None),
        (unable, "Session-Expires: 500", None),
        (able, "", Some(Agreed { interval_s: 600, refresher: Side::Caller, inserted: true })),
        (
            able,
            "Session-Expires: ;refresher=uas",
            Some(Agreed { interval_s: 600, refresher: Side::Caller, inserted: true }),
        ),
        (able_unasked, "", None),
        (unable, "", None),
        (Asked::default(), "Session-Expires: 1h", None),
    ] {
        let agreed = answer(lines, |answer| on_answer(asked, Side::Caller, answer));
        assert_eq!(agreed, expected, "{asked:?} {lines}");
        let mirrored = answer(lines, |answer| on_answer(asked, Side::Callee, answer));
        assert_eq!(mirrored.map(|agreed| agreed.refresher.other()), expected.map(|agreed| agreed.refresher));
        let wording = answer(lines, |answer| Wording::of_answer(asked, answer));
        assert_eq!(wording.is_some(), expected.is_some_and(|agreed| agreed.inserted), "{asked:?} {lines}");
        if let Some(wording) = wording {
            let lines = wording.answer_lines().concat();
            assert_eq!(lines, b"Session-Expires: 600;refresher=uac\r\nRequire: timer\r\n");
        }
    }
    for start in ["SIP/2.0 180 Ringing", "SIP/2.0 422 Session Interval Too Small"] {
        assert!(message(start, "", |response| Wording::of_answer(able, response)).is_none(), "{start}");
    }
}
