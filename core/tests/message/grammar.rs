//! One table per point of RFC 3261's grammar.

use corelane_core::limits::{HEADERS_MAX, MESSAGE_SIZE_MAX};
use corelane_core::message::{Malformed, Message, Method, Name, ParseError, Scheme, Span, StartLine, parse_ip};

/// The five mandatory fields, and what the test is about behind them.
fn request(lines: &str) -> Vec<u8> {
    crate::wire(&format!(
        "INVITE sip:bob@example.com SIP/2.0\nVia: SIP/2.0/UDP a.example;branch=z9hG4bKa\nFrom: <sip:a@a.example>;tag=1\n\
         To: <sip:b@b.example>\nCall-ID: c1\nCSeq: 1 INVITE\n{lines}"
    ))
}

/// A request whose only fields are these and what is not replaced by them.
fn with(field: &str) -> Vec<u8> {
    let name = field.split(':').next().unwrap_or_default();
    let others = [
        "Via: SIP/2.0/UDP a.example;branch=z9hG4bKa",
        "From: <sip:a@a.example>;tag=1",
        "To: <sip:b@b.example>",
        "Call-ID: c1",
        "CSeq: 1 INVITE",
    ];
    let mut text = String::from("INVITE sip:bob@example.com SIP/2.0\n");
    for other in others.iter().filter(|other| !other.starts_with(&format!("{name}:"))) {
        text += &format!("{other}\n");
    }
    crate::wire(&format!("{text}{field}\n\n"))
}

fn parse(bytes: &[u8]) -> Message<'_> {
    match Message::parse(bytes) {
        Ok(message) => message,
        Err(Malformed { error, .. }) => panic!("{error:?} in {}", bytes.escape_ascii()),
    }
}

fn fault(bytes: &[u8]) -> (ParseError, bool) {
    match Message::parse(bytes) {
        Ok(_) => panic!("parsed: {}", bytes.escape_ascii()),
        Err(Malformed { error, partial }) => (error, partial.is_some()),
    }
}

fn text(message: &Message<'_>, span: Span) -> String {
    String::from_utf8_lossy(message.text(span)).into_owned()
}

fn values(message: &Message<'_>, name: Name) -> Vec<String> {
    message.values(name).map(|value| text(message, value)).collect()
}

/// RFC 3261 §7.1: Method SP Request-URI SP SIP-Version.
#[test]
fn request_lines() {
    let first = |line: &str| {
        crate::wire(&String::from_utf8_lossy(&request("\n")).replace("\r\n", "\n").replacen(
            "INVITE sip:bob@example.com SIP/2.0",
            line,
            1,
        ))
    };
    for (line, method, uri) in [
        ("INVITE sip:x SIP/2.0", Method::Invite, "sip:x"),
        ("INVITE sip:x sip/2.0", Method::Invite, "sip:x"),
        (
            "INVITE tel:+1-201-555-0123;phone-context=example.com SIP/2.0",
            Method::Invite,
            "tel:+1-201-555-0123;phone-context=example.com",
        ),
        ("INVITE urn:service:sos SIP/2.0", Method::Invite, "urn:service:sos"),
    ] {
        let bytes = first(line);
        let message = parse(&bytes);
        let StartLine::Request { method: got, name, uri: span } = message.start() else { panic!("{line}") };
        assert_eq!((got, text(&message, span)), (method, uri.into()), "{line}");
        assert_eq!(text(&message, name), "INVITE");
        assert!(message.request_uri().is_some());
    }
    for (line, expected) in [
        ("INVITE sip:x SIP/3.0", (ParseError::Version, true)),
        ("INVITE sip:x SIP/2.00", (ParseError::Version, true)),
        ("INVITE sip:x HTTP/1.1", (ParseError::StartLine, true)),
        ("INVITE sip:x", (ParseError::StartLine, true)),
        ("INVITE  sip:x SIP/2.0", (ParseError::StartLine, true)),
        ("INVITE sip:x  SIP/2.0", (ParseError::StartLine, true)),
        ("INVITE sip:x SIP/2.0 ", (ParseError::StartLine, true)),
        ("INVITE sip:x y SIP/2.0", (ParseError::StartLine, true)),
        ("INVITE  SIP/2.0", (ParseError::StartLine, true)),
        ("INVITE <sip:x> SIP/2.0", (ParseError::Uri, true)),
        ("INVITE sip: SIP/2.0", (ParseError::Uri, true)),
        ("INVITE sip:@x SIP/2.0", (ParseError::Uri, true)),
        ("INVITE sip:a@b@c SIP/2.0", (ParseError::Uri, true)),
        ("INVITE sip:a%4@b SIP/2.0", (ParseError::Uri, true)),
        ("INVITE sip:x:70000 SIP/2.0", (ParseError::Uri, true)),
        ("INVITE sip:x?Subject=y SIP/2.0", (ParseError::Uri, true)),
        ("INVITE 1sip:x SIP/2.0", (ParseError::Uri, true)),
        ("ACK sip:x SIP/3.0", (ParseError::Version, false)),
        ("INVITE", (ParseError::StartLine, false)),
        ("IN\0VITE sip:x SIP/2.0", (ParseError::StartLine, false)),
        (" INVITE sip:x SIP/2.0", (ParseError::StartLine, false)),
        // §7.1: methods are case-sensitive, so this is another one than CSeq says.
        ("invite sip:x SIP/2.0", (ParseError::BadHeader(Name::CSeq), true)),
    ] {
        assert_eq!(fault(&first(line)), expected, "{line}");
    }
}

/// RFC 3261 §7.2: SIP-Version SP Status-Code SP Reason-Phrase.
#[test]
fn status_lines() {
    let first = |line: &str| {
        let request = request("\n");
        let rest = request.iter().position(|byte| *byte == b'\n').expect("a line");
        [line.as_bytes(), b"\r\n", &request[rest + 1..]].concat()
    };
    for (line, status, reason) in [
        ("SIP/2.0 200 OK", 200, "OK"),
        ("sip/2.0 180 Ringing slowly", 180, "Ringing slowly"),
        ("SIP/2.0 100 ", 100, ""),
        ("SIP/2.0 100", 100, ""),
        ("SIP/2.0 699 \u{0442}", 699, "\u{0442}"),
    ] {
        let bytes = first(line);
        let message = parse(&bytes);
        let StartLine::Response { status: got, reason: span } = message.start() else { panic!("{line}") };
        assert_eq!((got, text(&message, span)), (status, reason.into()), "{line}");
        assert_eq!(message.request_uri(), None);
    }
    for (line, error) in [
        ("SIP/1.0 200 OK", ParseError::Version),
        ("SIP/2.0  200 OK", ParseError::StartLine),
        ("SIP/2.0 99 Low", ParseError::StartLine),
        ("SIP/2.0 099 Low", ParseError::StartLine),
        ("SIP/2.0 700 High", ParseError::StartLine),
        ("SIP/2.0 2000 OK", ParseError::StartLine),
        ("SIP/2.0 20x OK", ParseError::StartLine),
        ("SIP/2.0", ParseError::StartLine),
        ("SIP/", ParseError::StartLine),
    ] {
        assert_eq!(fault(&first(line)), (error, false), "{line}");
    }
}

/// RFC 3261 §7.3.1: folds, blanks, compact forms, any case, any order; §7.5: lines before the start line; bare LF.
#[test]
fn header_fields() {
    let bytes = crate::wire(
        "\n\n\nOPTIONS sip:x SIP/2.0\ncseq\t : 7\n\tOPTIONS  \nI:c1@h \nf :\n \"A, \\\"B\\\" <x>\"\n <sip:a@a>\n ;tag = t1 \n\
         T: sip:b@b;tag=t2\nv:SIP / 2.0 / UDP\n h : 5062 ;branch = z9hG4bK1\nSubject:\nX-Empty:   \nx-Folded: a\n b\n \n\tc\nl : 0\n\n",
    );
    for bytes in [bytes.clone(), String::from_utf8(bytes).expect("text").replace('\r', "").trim_start().into()] {
        let message = parse(&bytes);
        assert_eq!((message.cseq().number, message.cseq().method), (7, Method::Options));
        assert_eq!(message.call_id(), b"c1@h");
        assert_eq!(text(&message, message.from().uri), "sip:a@a");
        assert_eq!(message.from().tag.map(|tag| text(&message, tag)), Some("t1".into()));
        assert_eq!(text(&message, message.to().uri), "sip:b@b");
        assert_eq!(message.to().tag.map(|tag| text(&message, tag)), Some("t2".into()));
        assert_eq!((text(&message, message.via().host), message.via().port), ("h".into(), Some(5062)));
        assert_eq!(message.fields().len(), 9);
        assert!(message.bytes().starts_with(b"OPTIONS"));
        let folded = message.fields()[7];
        assert_eq!(text(&message, folded.value).replace('\r', ""), "a\n b\n \n\tc");
        assert!(text(&message, message.fields()[6].value).is_empty());
        let lines: Vec<u8> = message.fields().iter().flat_map(|field| message.text(field.line).to_vec()).collect();
        assert!(message.bytes().windows(lines.len()).any(|window| window == lines), "the lines follow each other");
    }
}

/// RFC 3261 §7.3: what is no header field. A fault outside the mandatory ones leaves the request answerable.
#[test]
fn lines_that_are_no_header_field() {
    for line in
        ["no colon", ": no name", "na me: x", "na\0me: x", "na\x01me: x", "na(me: x", "n\u{e4}me: x", "X: a\rVia: b"]
    {
        assert_eq!(fault(&request(&format!("{line}\n\n"))), (ParseError::HeaderLine, true), "{line:?}");
    }
    assert_eq!(
        fault(b"INVITE sip:x SIP/2.0\r\n Via: folded on the start line\r\n\r\n"),
        (ParseError::HeaderLine, false)
    );
}

/// RFC 3261 §8.1.1: the five are mandatory; §7.3.1: there once.
#[test]
fn mandatory_and_single_fields() {
    for (name, line) in
        [(Name::Via, "Via"), (Name::From, "From"), (Name::To, "To"), (Name::CallId, "Call-ID"), (Name::CSeq, "CSeq")]
    {
        let renamed = String::from_utf8(request("\n")).expect("text").replacen(&format!("\n{line}:"), "\nX:", 1);
        assert_eq!(fault(renamed.as_bytes()), (ParseError::MissingHeader(name), false), "{line}");
    }
    for (name, lines) in [
        (Name::From, "f: <sip:a@a.example>;tag=1\n\n"),
        (Name::To, "To: <sip:b@b.example>\n\n"),
        (Name::CallId, "i: c1\n\n"),
        (Name::CSeq, "CSeq: 1 INVITE\n\n"),
        (Name::MaxForwards, "Max-Forwards: 1\nMax-Forwards: 1\n\n"),
        (Name::ContentLength, "Content-Length: 0\nl: 0\n\n"),
    ] {
        assert_eq!(fault(&request(lines)), (ParseError::DuplicateHeader(name), true), "{lines}");
    }
}

/// RFC 3261 §20.42, RFC 3581, RFC 5118 §4.5.
#[test]
fn via_values() {
    for (value, transport, host, port, branch, rport, received) in [
        ("SIP/2.0/UDP h", "UDP", "h", None, None, None, None),
        (
            "SIP/2.0/TCP h:5060;branch=z9hG4bK-1.!%66*_+`'~",
            "TCP",
            "h",
            Some(5060),
            Some("z9hG4bK-1.!%66*_+`'~"),
            None,
            None,
        ),
        (
            "sip / 2.0 /\tUNKNOWN  192.0.2.1 : 5070 ; Branch = b ; ttl=16",
            "UNKNOWN",
            "192.0.2.1",
            Some(5070),
            Some("b"),
            None,
            None,
        ),
        (
            "SIP/2.0/UDP [2001:db8::9:1] : 6050;received=2001:db8::9:255;RPORT",
            "UDP",
            "[2001:db8::9:1]",
            Some(6050),
            None,
            Some(None),
            Some("2001:db8::9:255"),
        ),
        (
            "SIP/2.0/UDP h;rport=5061;received=[2001:db8::1];x=\"a;branch=no\\\",\"",
            "UDP",
            "h",
            None,
            None,
            Some(Some(5061)),
            Some("[2001:db8::1]"),
        ),
        ("SIP/2.0/UDP a_b.example;branch=z9hG4bK==/@x", "UDP", "a_b.example", None, Some("z9hG4bK==/@x"), None, None),
    ] {
        let bytes = with(&format!("Via: {value} , SIP/2.0/UDP second"));
        let message = parse(&bytes);
        let via = message.via();
        let got = |span: Option<Span>| span.map(|span| text(&message, span));
        assert_eq!(text(&message, via.value), value);
        assert_eq!(
            (text(&message, via.transport), text(&message, via.host), via.port),
            (transport.into(), host.into(), port),
            "{value}"
        );
        assert_eq!(
            (got(via.branch), via.rport, got(via.received)),
            (branch.map(Into::into), rport, received.map(Into::into)),
            "{value}"
        );
        assert_eq!(message.parse_via(via.value), Ok(via));
        let second = message.values(Name::Via).nth(1).expect("two values");
        assert_eq!(message.parse_via(second).map(|via| text(&message, via.host)), Ok("second".into()));
        let whole = message.first(Name::Via).expect("there").value;
        assert_eq!(message.parse_via(whole), Err(ParseError::BadHeader(Name::Via)), "two values are not one");
    }
    for value in [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 UDP h",
        "SIP/2.0/ h",
        "SIP/2.0/UDPh;x",
        "SIP/2.0/UDP h;",
        "SIP/2.0/UDP h;;branch=x",
        ", SIP/2.0/UDP h",
        "SIP/2.0/UDP h:",
        "SIP/2.0/UDP h:65536",
        "SIP/2.0/UDP h:5o",
        "SIP/2.0/UDP [::1",
        "SIP/2.0/UDP []",
        "SIP/2.0/UDP [g]",
        "SIP/2.0/UDP h;branch",
        "SIP/2.0/UDP h;branch=",
        "SIP/2.0/UDP h;branch=a;branch=b",
        "SIP/2.0/UDP h;rport=x",
        "SIP/2.0/UDP h;rport;rport",
        "SIP/2.0/UDP h;received",
        "SIP/2.0/UDP h;x=\"open",
        "SIP/2.0/UDP h h",
        "SIP/2.0/UDP h;a b",
    ] {
        assert_eq!(fault(&with(&format!("Via: {value}"))), (ParseError::BadHeader(Name::Via), false), "{value}");
    }
}

/// RFC 3261 §20.10, §20: name-addr and addr-spec, whose parameters are the header's.
#[test]
fn name_addr_values() {
    for (value, uri, tag) in [
        ("sip:a@h", "sip:a@h", None),
        ("sip:a@h;user=phone;tag=x", "sip:a@h", Some("x")),
        ("<sip:a@h;tag=uri>", "sip:a@h;tag=uri", None),
        ("<sip:a@h;tag=uri;x?h=v,w>;Tag=x", "sip:a@h;tag=uri;x?h=v,w", Some("x")),
        ("A. Name<sips:a@h> ; tag = x", "sips:a@h", Some("x")),
        ("\"a, <b>; \\\" \\\\\"<tel:+1;phone-context=+1> ;tag=x ", "tel:+1;phone-context=+1", Some("x")),
        ("\"\u{0442}\" <http://x/y?z>;x=\"tag=no;\\\"\";tag=yes", "http://x/y?z", Some("yes")),
        ("J\u{f6}rg <sip:a@h>", "sip:a@h", None),
    ] {
        let bytes = with(&format!("From: {value}"));
        let message = parse(&bytes);
        let from = message.from();
        assert_eq!(text(&message, from.uri), uri, "{value}");
        assert_eq!(from.tag.map(|tag| text(&message, tag)), tag.map(Into::into), "{value}");
        assert_eq!(message.parse_name_addr(from.value), Ok(from));
    }
    for value in [
        "",
        "*",
        "a",
        "<>",
        "<sip:>",
        "<a@h>",
        "<sip:a@h",
        "sip:a@h>",
        "< sip:a@h>",
        "<sip:a@h >",
        "<sip:a b@h>",
        "\"open <sip:a@h>",
        "A, B <sip:a@h>",
        "A \"B\" <sip:a@h>",
        "sip:a@h?x=y",
        "sip:a@h, sip:b@h",
        "<sip:a@h>;",
        "<sip:a@h>;;tag=x",
        "<sip:a@h>;tag",
        "<sip:a@h>;tag=",
        "<sip:a@h>;tag=a;tag=b",
        "<sip:a@h> x",
        "<sip:\u{f6}@h>",
    ] {
        assert_eq!(fault(&with(&format!("From: {value}"))), (ParseError::BadHeader(Name::From), true), "{value}");
        assert_eq!(fault(&with(&format!("To: {value}"))), (ParseError::BadHeader(Name::To), true), "{value}");
    }
}

/// RFC 3261 §20.8 (any visible bytes are taken), §20.16 and §8.1.1.5, §20.22.
#[test]
fn call_id_cseq_max_forwards() {
    for value in ["a", "a@b", "word%ZK-!.*_+'@word`~)(><:\\/\"][?}{", "a;b=c,d@e@f"] {
        let bytes = with(&format!("Call-ID:\n {value}"));
        assert_eq!(parse(&bytes).call_id(), value.as_bytes());
    }
    for value in ["", "a b", "a\tb", "a\n b", "a\u{1}", "\u{f6}", "a\u{7f}"] {
        assert_eq!(
            fault(&with(&format!("Call-ID: {value}"))),
            (ParseError::BadHeader(Name::CallId), true),
            "{value:?}"
        );
    }
    for (value, number) in [("0 INVITE", 0), ("0009 \n INVITE", 9), ("2147483647\tINVITE", 2_147_483_647)] {
        assert_eq!(parse(&with(&format!("CSeq: {value}"))).cseq().number, number);
    }
    for value in [
        "",
        "1",
        "INVITE",
        "1INVITE",
        "-1 INVITE",
        "2147483648 INVITE",
        "99999999999999999999 INVITE",
        "1 INVITE x",
        "1 IN(VITE",
    ] {
        assert_eq!(fault(&with(&format!("CSeq: {value}"))), (ParseError::BadHeader(Name::CSeq), true), "{value}");
    }
    assert_eq!(fault(&with("CSeq: 1 BYE")), (ParseError::BadHeader(Name::CSeq), true));
    for (value, hops) in [("0", 0), ("0068", 68), ("255", 255)] {
        assert_eq!(parse(&request(&format!("Max-Forwards: {value}\n\n"))).max_forwards(), Some(hops));
    }
    assert_eq!(parse(&request("\n")).max_forwards(), None);
    for value in ["", "256", "-1", "7 0", "x"] {
        let expected = (ParseError::BadHeader(Name::MaxForwards), true);
        assert_eq!(fault(&request(&format!("Max-Forwards: {value}\n\n"))), expected, "{value}");
    }
}

/// RFC 3261 §18.3: a longer datagram is cut, a shorter one is an error, without Content-Length the rest is the body.
#[test]
fn bodies() {
    for (lines, body) in [
        ("\nabc", &b"abc"[..]),
        ("\n", b""),
        ("Content-Length: 2\n\nabc", b"ab"),
        ("l:0\n\nabc", b""),
        ("L : 3\n\nabc", b"abc"),
    ] {
        let bytes = request(lines);
        let message = parse(&bytes);
        assert_eq!(message.body(), body, "{lines}");
        assert!(message.bytes().ends_with(&[b"\r\n\r\n", body].concat()));
    }
    for value in ["4", "-1", "", "3x", "99999999999999999999"] {
        let bytes = request(&format!("Content-Length: {value}\n\nabc"));
        assert_eq!(fault(&bytes), (ParseError::ContentLength, true), "{value}");
    }
    let whole = request("Content-Length: 0\n\n");
    for cut in [whole.len() - 1, whole.len() - 2, whole.len() - 3, whole.len() - 5] {
        assert_eq!(fault(&whole[..cut]), (ParseError::Truncated, true), "cut at {cut}");
    }
    assert_eq!(fault(b"INVITE sip:x SIP/2.0"), (ParseError::Truncated, false));
    for nothing in [&b""[..], b"\r\n", b"\r\n\r\n", b"\0", b"\0\0\0\0"] {
        assert!(!fault(nothing).1);
    }
}

/// `limits.rs`: what does not fit is answered when the mandatory fields did.
#[test]
fn bounds() {
    let many = |count: usize| request(&format!("{}\n", "X: y\n".repeat(count)));
    assert_eq!(parse(&many(HEADERS_MAX - 5)).fields().len(), HEADERS_MAX);
    assert_eq!(fault(&many(HEADERS_MAX - 4)), (ParseError::TooManyHeaders, true));
    assert_eq!(fault(&many(1000)), (ParseError::TooManyHeaders, true));
    let late = crate::wire(&format!("INVITE sip:x SIP/2.0\n{}Via: SIP/2.0/UDP h\n\n", "X: y\n".repeat(HEADERS_MAX)));
    assert_eq!(fault(&late), (ParseError::TooManyHeaders, false));

    let head = request("\n");
    let sized = |size: usize| [&head[..], &vec![b'x'; size - head.len()]].concat();
    assert_eq!(parse(&sized(MESSAGE_SIZE_MAX)).bytes().len(), MESSAGE_SIZE_MAX);
    assert_eq!(fault(&sized(MESSAGE_SIZE_MAX + 1)), (ParseError::TooLarge, true));
    assert_eq!(fault(&sized(65_507)), (ParseError::TooLarge, true));
    assert_eq!(fault(&sized(200_000)), (ParseError::TooLarge, true));
    let long =
        crate::wire(&format!("INVITE sip:x SIP/2.0\nX: {}\nVia: SIP/2.0/UDP h\n\n", "y".repeat(MESSAGE_SIZE_MAX)));
    assert_eq!(fault(&long), (ParseError::TooLarge, false));
}

/// RFC 3261 §7.3.1: several values on a line and several lines; commas in quotes and brackets separate nothing.
#[test]
fn lists() {
    let bytes = request(
        "Route: <sip:a;lr>, \"x, \\\" y\" <sip:b,c;lr>;p=\"q,r\" ,,\n , <sip:d>\nSupported: timer\nRoute:\nRoute: ,\nRoute: <sip:e>\nk: 100rel,path\n\
         Reason: \"open, x\nReason: <open, y\n\n",
    );
    let message = parse(&bytes);
    assert_eq!(
        values(&message, Name::Route),
        ["<sip:a;lr>", "\"x, \\\" y\" <sip:b,c;lr>;p=\"q,r\"", "<sip:d>", "<sip:e>"]
    );
    assert_eq!(values(&message, Name::Supported), ["timer", "100rel", "path"]);
    assert_eq!(values(&message, Name::Reason), ["\"open, x", "<open, y"]);
    assert_eq!(values(&message, Name::Require), Vec::<String>::new());
}

/// RFC 3261 §19.1, RFC 3966.
#[test]
fn uris() {
    type Parts<'p> = (Scheme, Option<&'p str>, &'p str, Option<u16>, &'p str, &'p str);
    let table: [(&str, Parts<'_>); 14] = [
        ("sip:h", (Scheme::Sip, None, "h", None, "", "")),
        ("SIP:a@h:5060", (Scheme::Sip, Some("a"), "h", Some(5060), "", "")),
        ("sips:a:secret@h;lr;x=y?a=b&c=", (Scheme::Sips, Some("a"), "h", None, ";lr;x=y", "?a=b&c=")),
        (
            "sip:+1-201;phone-context=+1;x@h;user=phone",
            (Scheme::Sip, Some("+1-201;phone-context=+1;x"), "h", None, ";user=phone", ""),
        ),
        ("sip:a?b/c,d@h", (Scheme::Sip, Some("a?b/c,d"), "h", None, "", "")),
        ("sip:user;par=u%40example.net@h", (Scheme::Sip, Some("user;par=u%40example.net"), "h", None, "", "")),
        ("sip:%00%ff@[2001:db8::1]:5060;lr", (Scheme::Sip, Some("%00%ff"), "[2001:db8::1]", Some(5060), ";lr", "")),
        ("sip:[2001:db8::10:5070]", (Scheme::Sip, None, "[2001:db8::10:5070]", None, "", "")),
        ("sip:h;a@b", (Scheme::Sip, Some("h;a"), "b", None, "", "")),
        ("sip:h;maddr=[::1];%6C%72", (Scheme::Sip, None, "h", None, ";maddr=[::1];%6C%72", "")),
        ("tel:+1-(201)-555.0123", (Scheme::Tel, Some("+1-(201)-555.0123"), "", None, "", "")),
        ("TEL:*69#;phone-context=h;ext=1", (Scheme::Tel, Some("*69#"), "", None, ";phone-context=h;ext=1", "")),
        ("urn:service:sos.fire", (Scheme::Other, None, "", None, "", "")),
        ("soap.beep://192.0.2.103:3002", (Scheme::Other, None, "", None, "", "")),
    ];
    for (uri, expected) in table {
        let bytes = request(&format!("Route: <{uri}>\n\n"));
        let message = parse(&bytes);
        let route = message.parse_name_addr(message.values(Name::Route).next().expect("one")).expect("an address");
        let read = message.parse_uri(route.uri).unwrap_or_else(|error| panic!("{uri}: {error:?}"));
        let user = read.user.map(|user| text(&message, user));
        let (host, params, headers) =
            (text(&message, read.host), text(&message, read.params), text(&message, read.headers));
        assert_eq!((read.scheme, user.as_deref(), &*host, read.port, &*params, &*headers), expected, "{uri}");
    }
    for uri in [
        "sip:",
        "sip:@h",
        "sip::p@h",
        "sip:a@",
        "sip:a@@h",
        "sip:a@h@i",
        "sip:a%zz@h",
        "sip:a@h:",
        "sip:a@h:1x",
        "sip:a@[::1",
        "sip:a@h/x",
        "sip:a@h;x y",
        "sip:a@h;%4",
        "sip:2001:db8::10",
        "tel:",
        "tel:+",
        "tel:12x",
        "tel:12?x=y",
        "x",
        ":x",
        "a b:c",
        "isbn:",
    ] {
        let bytes = request(&format!("X: {uri}\n\n"));
        let message = parse(&bytes);
        assert_eq!(message.parse_uri(message.fields()[5].value), Err(ParseError::Uri), "{uri}");
    }
}

/// RFC 3261 §19.1.1: names in any case; RFC 3261 §19.1.2: values as they came.
#[test]
fn uri_parameters() {
    let bytes = crate::wire(&String::from_utf8(request("\n")).expect("text").replace("\r\n", "\n").replacen(
        "sip:bob@example.com",
        "sip:lr;x=user@h;LR;transport=udp;x=a=b;Empty=",
        1,
    ));
    let message = parse(&bytes);
    let uri = message.request_uri().expect("a request");
    for (name, expected) in [
        (&b"lr"[..], Some(None)),
        (b"Transport", Some(Some(&b"udp"[..]))),
        (b"x", Some(Some(b"a=b"))),
        (b"empty", Some(Some(b""))),
        (b"maddr", None),
        (b"", None),
    ] {
        assert_eq!(uri.param(message.bytes(), name), expected, "{}", name.escape_ascii());
    }
}

/// RFC 5118 §4.5, §4.10.
#[test]
fn addresses_of_hosts() {
    for (host, expected) in [
        ("192.0.2.1", Some("192.0.2.1")),
        ("[2001:db8::9:1]", Some("2001:db8::9:1")),
        ("2001:db8::9:255", Some("2001:db8::9:255")),
        ("[::ffff:192.0.2.10]", Some("::ffff:192.0.2.10")),
        ("[2001:db8:::192.0.2.1]", Some("2001:db8::192.0.2.1")),
        ("[2001:db8:::1]", None),
        ("[192.0.2.1]", None),
        ("[::1", None),
        ("example.com", None),
        ("192.0.2", None),
        ("", None),
    ] {
        assert_eq!(parse_ip(host.as_bytes()), expected.map(|ip| ip.parse().expect("an address")), "{host}");
    }
}
