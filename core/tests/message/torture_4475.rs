//! RFC 4475: SIP torture messages and what becomes of them here.
//!
//! Those of §3.1.2 that are faults of the message layer are refused, and answered unless what is at fault is what an answer needs. Two of
//! them (§3.1.2.12, §3.1.2.13) are faults in fields that a proxy hands on unread. §3.2 to §3.4 are faults above the parser, or
//! none.

mod refused;
mod valid;

use corelane_core::message::{Message, Method, Name, StartLine};

use refused::REFUSED;
use valid::PARSES;

/// A message of the RFC, parsed.
fn with_message<T>(name: &str, look: impl FnOnce(&Message<'_>) -> T) -> T {
    let (.., text) = PARSES.iter().find(|(_, known, _)| *known == name).expect("a message of the table");
    let bytes = crate::wire(text);
    look(&Message::parse(&bytes).unwrap_or_else(|fault| panic!("{name}: {:?}", fault.error)))
}

#[test]
fn what_parses() {
    for (section, name, text) in PARSES {
        let bytes = crate::wire(text);
        let message = Message::parse(&bytes).unwrap_or_else(|fault| panic!("§{section} {name}: {:?}", fault.error));
        let call_id = message.call_id();
        assert!(call_id.starts_with(name.as_bytes()) || name == "baddate", "§{section}: {}", call_id.escape_ascii());
        assert_eq!(corelane_core::steering::find_call_id(&bytes), Some(call_id), "§{section} {name}");
    }
}

#[test]
fn what_is_refused() {
    for (section, name, error, answered, text) in REFUSED {
        let bytes = crate::wire(text);
        let fault = Message::parse(&bytes).map(|_| ()).expect_err(name);
        assert_eq!((fault.error, fault.partial.is_some()), (error, answered), "§{section} {name}");
    }
}

/// §3.1.1.1: everything is found through folds, blanks and compact forms.
#[test]
fn the_short_tortuous_invite() {
    with_message("wsinv", |message| {
        let text = |span| message.text(span).escape_ascii().to_string();
        assert_eq!(text(message.from().uri), "sip:jdrosen@example.com");
        assert_eq!(message.from().tag.map(text), Some("98asjd8".into()));
        assert_eq!(text(message.to().uri), "sip:vivekg@chair-dnrc.example.com");
        assert_eq!(message.to().tag.map(text), Some("1918181833n".into()));
        assert_eq!((message.cseq().number, message.cseq().method), (9, Method::Invite));
        assert_eq!(message.max_forwards(), Some(68));
        assert_eq!(message.body().len(), 150);
        let vias: Vec<_> =
            message.values(Name::Via).map(|value| message.parse_via(value).expect("well-formed")).collect();
        let read: Vec<_> = vias.iter().map(|via| (text(via.transport), text(via.host), via.branch.map(text))).collect();
        let expected = [
            ("UDP", "192.0.2.2", "390skdjuw"),
            ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
            ("UDP", "192.168.255.111", "z9hG4bK30239"),
        ];
        assert_eq!(
            read,
            expected.map(|(transport, host, branch)| (transport.into(), host.into(), Some(branch.into())))
        );
        let contact = message.values(Name::Contact).next().expect("one");
        assert_eq!(
            message.parse_name_addr(contact).map(|contact| text(contact.uri)),
            Ok("sip:jdrosen@example.com".into())
        );
    });
}

/// §3.1.1.2, §3.1.1.5, §3.1.1.9: unusual bytes are where the grammar has them.
#[test]
fn unusual_bytes() {
    with_message("intmeth", |message| {
        let uri = message.request_uri().expect("a request");
        assert_eq!(message.text(uri.user.expect("a user")), b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*");
        assert_eq!(message.text(uri.host), b"example.com");
        assert_eq!(message.text(message.from().tag.expect("a tag")), b"_token~1'+`*%!-.");
        assert_eq!(message.text(message.via().branch.expect("a branch")), b"z9hG4bK-.!%66*_+`'~");
        assert_eq!(message.text(message.cseq().name), b"!interesting-Method0123456789_*+`.%indeed'~");
    });
    with_message("esc02", |message| {
        // An escaped method is another method, an escaped header name another header.
        assert_eq!(message.cseq().method, Method::Other);
        assert_eq!(message.values(Name::Contact).count(), 2);
    });
    with_message("semiuri", |message| {
        let uri = message.request_uri().expect("a request");
        assert_eq!(message.text(uri.user.expect("a user")), b"user;par=u%40example.net");
        assert!(uri.params.is_empty());
    });
    with_message("escnull", |message| assert_eq!(message.text(message.to().uri), b"sip:null-%00-null@example.com"));
}

/// §3.1.1.7: long values and 34 Vias in every spelling.
#[test]
fn long_values() {
    let vias: String = (1..34)
        .map(|host| {
            let name = ["Via", "v", "V", "ViA", "VIa", "VIA", "via", "viA", "vIa", "vIA", "V ", "v ", "v  ", "Via  "]
                [host % 14];
            format!("{name}: SIP/2.0/TCP sip{}.example.com\n", 34 - host)
        })
        .collect();
    let bytes = crate::wire(&format!(
        "INVITE sip:user@example.com SIP/2.0\nTo: \"I have a user name of {} proportion\"<sip:user@example.com:6000;unknownparam1=very{}value;\
         longparam{}=shortvalue;very{}ParameterNameWithNoValue>\nF: sip:{}@example.net;tag=12{}424;unknownheaderparam{}=unknowheaderparam{};\
         unknownValueless{}\nCall-ID: longreq.one{}longcallid\nCSeq: 3882340 INVITE\nUnknown-{}-Name: unknown-{}-value\n{vias}\
         Via: SIP/2.0/TCP host.example.com;received=192.0.2.5;branch=very{}branchvalue\nMax-Forwards: 70\nl: 0\n\n",
        "extreme".repeat(10),
        "long".repeat(20),
        "name".repeat(25),
        "long".repeat(25),
        "amazinglylongcallername".repeat(5),
        "982".repeat(50),
        "name".repeat(20),
        "value".repeat(15),
        "paramname".repeat(10),
        "really".repeat(20),
        "Long".repeat(20),
        "long".repeat(20),
        "long".repeat(50),
    ));
    let message = Message::parse(&bytes).expect("§3.1.1.7 is valid");
    assert_eq!(message.values(Name::Via).count(), 34);
    assert_eq!(message.from().tag.map(|tag| tag.len()), Some(155));
    let last = message.values(Name::Via).last().expect("many");
    assert_eq!(message.parse_via(last).expect("well-formed").branch.map(|branch| branch.len()), Some(215));
}

/// §3.1.1.8: what follows the body is no part of the message. §3.1.1.11: a body is bytes.
#[test]
fn bodies() {
    with_message("dblreq", |message| {
        assert!(message.body().is_empty());
        assert!(message.bytes().ends_with(b"Content-Length: 0\r\n\r\n"));
        assert_eq!(message.values(Name::CallId).count(), 1);
    });
    let body: Vec<u8> = (0..=u8::MAX).collect();
    let head = "MESSAGE sip:kumiko@example.org SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-d87543-4dade06d0bdb11ee-1--d87543-;rport\n\
                Max-Forwards: 70\nTo: <sip:kumiko@example.org>\nFrom: <sip:fluffy@example.com>;tag=2fb0dcc9\nCall-ID: 3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..\n\
                CSeq: 1 MESSAGE\nContent-Type: multipart/mixed;boundary=7a9cbec02ceef655\nContent-Length: 256\n\n";
    let bytes = [crate::wire(head), body.clone()].concat();
    assert_eq!(Message::parse(&bytes).expect("§3.1.1.11 is valid").body(), body);
}

/// §3.1.1.12, §3.1.1.13: reason phrases.
#[test]
fn reason_phrases() {
    let reason = |message: &Message<'_>| match message.start() {
        StartLine::Response { status, reason } => (status, String::from_utf8_lossy(message.text(reason)).into_owned()),
        StartLine::Request { .. } => panic!("a response"),
    };
    assert_eq!(with_message("unreason", reason), (200, "= 2**3 * 5**2 но сто девяносто девять - простое".into()));
    assert_eq!(with_message("noreason", reason), (100, String::new()));
}

/// §3.3.12, §3.3.13: without brackets a parameter is the Contact's, in them the URI's.
#[test]
fn parameters_of_contacts() {
    for (name, of_uri) in [("cparam01", false), ("cparam02", true)] {
        let has = with_message(name, |message| {
            let contact = message.values(Name::Contact).next().expect("one");
            let uri = message.parse_name_addr(contact).expect("well-formed").uri;
            message.parse_uri(uri).expect("well-formed").param(message.bytes(), b"unknownparam").is_some()
        });
        assert_eq!(has, of_uri, "{name}");
    }
}

/// §3.1.2.13: the Contact is refused where somebody reads it. §3.3.14: in brackets it is well.
#[test]
fn contacts_with_headers() {
    let contact =
        |message: &Message<'_>| message.parse_name_addr(message.values(Name::Contact).next().expect("one")).is_ok();
    assert!(!with_message("regbadct", contact));
    assert!(with_message("regescrt", contact));
}
