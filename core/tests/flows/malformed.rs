//! Requests and responses with one thing broken: which of it is a proxy's affair, and who hears of it (SPEC §3 *Failure*, RFC 3261 §16.3).

use corelane_core::Counter;

use super::world::{CALLER, GATEWAY, Request, STRANGER, World, answered, invite, ladder, response, ringing};

/// What becomes of a request.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Fate {
    /// Nobody could be answered, or nothing repeated: counted.
    Silence,
    /// 400.
    Bad,
    /// It is the other end's to read.
    Passes,
}
use Fate::{Bad, Passes, Silence};

/// Header, value, fate. An INVITE has one field of each of these names, which gets the value; `None` takes it out.
const BROKEN: &[(&str, Option<&str>, Fate)] = &[
    // §18.2.2: without it there is no way back.
    ("Via", Some("nonsense"), Silence),
    ("Via", Some("SIP/2.0/UDP"), Silence),
    ("Via", Some("SIP/2.0/UDP 192.0.2.10;branch="), Silence),
    ("Via", None, Silence),
    // §8.2.6.2: what an answer repeats must be there; how well it is written is not asked.
    ("From", Some("<sip:alice@192.0.2.10>;tag="), Bad),
    ("From", Some("<sip:alice@192.0.2.10>;tag"), Bad),
    ("From", Some("\"open <sip:alice@192.0.2.10>;tag=caller"), Bad),
    ("From", Some("alice"), Bad),
    ("From", Some(""), Bad),
    ("From", None, Silence),
    ("To", Some("<sip:callee@10.0.0.1>;tag="), Bad),
    ("To", Some("<sip:callee@10.0.0.1"), Bad),
    ("To", Some("sip:a@b, sip:c@d"), Bad),
    ("To", None, Silence),
    ("Call-ID", Some("two words"), Bad),
    ("Call-ID", Some(""), Bad),
    ("Call-ID", None, Silence),
    ("CSeq", Some("1"), Bad),
    ("CSeq", Some("4294967296 INVITE"), Bad),
    ("CSeq", Some("INVITE"), Bad),
    ("CSeq", Some("1 BYE"), Bad),
    ("CSeq", None, Silence),
    ("Max-Forwards", Some("256"), Bad),
    ("Max-Forwards", Some("many"), Bad),
    ("Max-Forwards", None, Passes),
    ("Content-Length", Some("-1"), Bad),
    ("Content-Length", Some("5000"), Bad),
    ("Content-Length", None, Passes),
    // §16.4: a preloaded Route is looked at, and one that is none names nobody.
    ("Route", Some("<sip:10.0.0.1;lr"), Bad),
    ("Route", Some("nonsense"), Bad),
    ("Route", Some("<sip:10.0.0.1:99999;lr>"), Bad),
    ("Proxy-Require", Some(""), Bad),
    ("Proxy-Require", Some(" , "), Bad),
    // §16.3 step 1: what a proxy does not need to read it does not refuse.
    ("Record-Route", Some("<sip:up.example;lr"), Passes),
    ("Record-Route", Some("nonsense"), Passes),
    ("Contact", Some("<sip:alice@192.0.2.10"), Passes),
    ("Contact", Some("*"), Passes),
    ("Require", Some(","), Passes),
    ("Require", Some("\"timer"), Passes),
    ("Session-Expires", Some("soon"), Passes),
    ("Session-Expires", Some(";refresher=uac"), Passes),
    ("Min-SE", Some("-5"), Passes),
    ("Max-Breadth", Some("wide"), Passes),
    ("Supported", Some("timer timer"), Passes),
    ("Reason", Some(";;"), Passes),
    ("Privacy", Some("\"id"), Passes),
    ("Content-Type", Some("sdp"), Passes),
];

/// The request with a field of it changed, added or taken out.
fn with(request: &Request, name: &str, value: Option<&str>) -> String {
    let text = request.text();
    let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    let line = value.map(|value| format!("{name}: {value}"));
    let at = lines.iter().position(|line| line.split_once(':').is_some_and(|(key, _)| key == name));
    match (at, line.as_deref()) {
        (Some(at), Some(line)) => lines[at] = line,
        (None, Some(line)) => lines.push(line),
        (Some(at), None) => _ = lines.remove(at),
        (None, None) => panic!("{name} is not there"),
    }
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}

#[test]
fn a_broken_header_is_400_or_the_other_ends() {
    for &(name, value, fate) in BROKEN {
        let mut world = World::new();
        let broken = with(&invite("4930123456", "broken"), name, value);
        let sent = world.deliver(CALLER, &broken);
        let expected = match fate {
            Silence => vec![],
            Bad => vec![format!("{CALLER} 400")],
            Passes => vec![format!("{CALLER} 100"), format!("{GATEWAY} INVITE")],
        };
        assert_eq!(ladder(&sent), expected, "{name}: {value:?}");
        if fate == Bad {
            // RFC 3261 §8.2.6.2: repeated as it came, and nothing put behind a To that nobody could read.
            for same in ["Via", "From", "Call-ID", "CSeq"] {
                assert!(broken.contains(&format!("\r\n{same}: {}", sent[0].header(same))), "{}", sent[0].text);
            }
            let (to, tags) = (sent[0].header("To"), sent[0].header("To").matches(";tag=").count());
            assert!(if name == "To" { value == Some(to) } else { tags == 1 }, "{}", sent[0].text);
        }
        let counted = world.count(Counter::ParseErrors) + world.count(Counter::Rejected400);
        assert_eq!(counted > 0, fate != Passes, "{name}: {value:?}");
        if fate == Passes {
            world.deliver(GATEWAY, &response(&sent[1], 486, "busy", &[]));
        } else {
            assert!(world.deliver(STRANGER, &broken).is_empty(), "{name}: {value:?} of a stranger");
        }
        world.settle();
        assert_eq!(world.records.len(), usize::from(fate == Passes));
    }
}

/// RFC 3261 §7.1, §19.1.1: what is no Request-URI is 400, what is none of ours 416.
#[test]
fn a_broken_request_uri_is_400() {
    for (uri, status) in [
        ("<sip:4930123456@10.0.0.1>", 400),
        ("sip:4930123456@10.0.0.1?x=y", 400),
        ("sip:4930123456@10.0.0.1:99999", 400),
        ("sip:49%3@10.0.0.1", 400),
        ("sip: 4930123456@10.0.0.1", 400),
        ("nonsense", 400),
        ("isbn:2983792873", 416),
    ] {
        let mut world = World::new();
        let broken = Request { uri: uri.into(), ..invite("4930123456", "uri") };
        assert_eq!(ladder(&world.deliver(CALLER, &broken.text())), [format!("{CALLER} {status}")], "{uri}");
        world.settle();
    }
}

/// The same inside a dialog: 400, and the call goes on. An ACK is never answered.
#[test]
fn a_broken_request_inside_the_dialog_ends_nothing() {
    for (name, value) in [
        ("From", "<sip:alice@192.0.2.10>;tag="),
        ("To", "<sip:callee@10.0.0.1>;tag="),
        ("CSeq", "two"),
        ("Max-Forwards", "-1"),
        ("Content-Length", "x"),
    ] {
        let mut world = World::new();
        let call = answered(&mut world, "inside");
        for method in ["BYE", "INVITE", "UPDATE", "X-UNKNOWN"] {
            let broken = with(&call.caller_sends(method, "inside-2", 2), name, Some(value));
            assert_eq!(ladder(&world.deliver(CALLER, &broken)), [format!("{CALLER} 400")], "{method} {name}");
        }
        let ack = with(&call.caller_sends("ACK", "inside-ack", 1), name, Some(value));
        assert!(world.deliver(CALLER, &ack).is_empty(), "{name}");
        let bye = world.deliver(CALLER, &call.caller_sends("BYE", "inside-bye", 2).text());
        assert_eq!(ladder(&bye), [format!("{GATEWAY} BYE")]);
        world.deliver(GATEWAY, &response(&bye[0], 200, "", &[]));
        world.settle();
    }
}

/// A response that cannot be read is none: dropped and counted, and the next one counts.
#[test]
fn a_broken_response_is_dropped() {
    for (name, value) in [
        ("Via", "nonsense"),
        ("From", "<sip:alice@192.0.2.10>;tag="),
        ("To", "<sip:callee@10.0.0.1>;tag="),
        ("Call-ID", "two words"),
        ("CSeq", "INVITE"),
        ("Content-Length", "7"),
    ] {
        let mut world = World::new();
        let call = ringing(&mut world, "answer");
        let good = response(&call.forwarded, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]);
        let line = good.lines().find(|line| line.starts_with(name)).expect("it has one");
        let broken = good.replacen(line, &format!("{name}: {value}"), 1);
        assert!(world.deliver(GATEWAY, &broken).is_empty(), "{name}");
        assert_eq!((world.count(Counter::ParseErrors), world.count(Counter::CallsAnswered)), (1, 0), "{name}");
        assert_eq!(ladder(&world.deliver(GATEWAY, &good)), [format!("{CALLER} 200")], "{name}");
        world.settle();
    }
}

/// Any one byte of an INVITE turned into another: nothing but its first lines, the names of its headers and its line ends can keep it from being
/// answered.
#[test]
fn one_wrong_byte_anywhere() {
    let text = invite("4930123456", "byte").text();
    let head = text.split("\r\n\r\n").next().expect("an empty line").len();
    let first_lines = text.match_indices("\r\n").nth(1).expect("a Via").0;
    let is_name = |at: usize| {
        let line = text[..at].rfind('\n').map_or(0, |feed| feed + 1);
        text[line..].find(':').is_some_and(|colon| at <= line + colon)
    };
    for at in 0..head {
        for byte in *b"\0\t ;\"<" {
            let mut bytes = text.clone().into_bytes();
            let old = core::mem::replace(&mut bytes[at], byte);
            let mut world = World::new();
            let sent = world.deliver_to(0, CALLER, &bytes);
            let which = || format!("{byte:#x} at {at}: {}", bytes.escape_ascii());
            match ladder(&sent).as_slice() {
                [] => {
                    assert!(at < first_lines || is_name(at) || matches!(old, b'\r' | b'\n'), "{}", which());
                    let unread = world.count(Counter::ParseErrors) + world.count(Counter::StrayResponses);
                    assert_eq!(unread, 1, "{}", which());
                }
                // A blank in his Via's port makes it another one.
                [only] => assert!(only.starts_with("192.0.2.10:") && sent[0].status() >= 400, "{}", which()),
                [trying, then] => {
                    assert!(trying.starts_with("192.0.2.10:") && sent[0].status() == 100, "{}", which());
                    assert!(*then == format!("{GATEWAY} INVITE") || sent[1].status() >= 400, "{}", which());
                }
                _ => panic!("{}", which()),
            }
        }
    }
}
