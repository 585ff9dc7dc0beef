//! What the writers change and what they keep (RFC 3261 §16.6, §16.7, §8.2.6, §17.1.1.3, §9.1).

use corelane_core::Transport;
use corelane_core::message::{
    Answer, Message, Name, Names, OwnRoute, OwnVia, Patch, RequestEdits, Rewrite, Span, Writer, write_ack,
    write_answer, write_cancel, write_request, write_response, write_response_with,
};

const NO_EDITS: RequestEdits<'static> = RequestEdits {
    request_uri: None,
    via: OwnVia { transport: Transport::Udp, sent_by: b"us", branch: b"z9hG4bKus" },
    received: None,
    rport: None,
    record_routes: &[],
    strip_routes: 0,
    drop_last_route: false,
    max_forwards: 69,
    max_breadth: false,
    rewrite: Rewrite::NOTHING,
};

/// What a writer made of a message, with LF for readability.
fn written(text: &str, write: impl FnOnce(&Message<'_>, &mut Writer<'_>)) -> String {
    let bytes = crate::wire(text);
    let message = Message::parse(&bytes).expect("well-formed");
    let mut out = [0; 2048];
    let mut writer = Writer::new(&mut out);
    write(&message, &mut writer);
    let text = String::from_utf8(writer.finish().expect("fits").to_vec()).expect("text");
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "every line ends with CR LF");
    text.replace("\r\n", "\n")
}

/// An INVITE with these lines in the middle.
fn invite(lines: &str) -> String {
    format!(
        "INVITE sip:bob@biloxi.example SIP/2.0\nv: SIP/2.0/UDP a;branch=z9hG4bKa;rport , SIP/2.0/UDP b\nVia: SIP/2.0/UDP c\n{lines}\
         From: <sip:a@a>;tag=1\nTo : \"B\"\n <sip:b@b>\nCall-ID: c1\nCSeq: 7 INVITE\nX-Unknown:  kept ;;,  \nContent-Length: 3\n\nabc"
    )
}

fn forwarded(lines: &str, edits: &RequestEdits<'_>) -> String {
    written(&invite(lines), |message, out| write_request(message, edits, out))
}

#[test]
fn a_forwarded_request_gets_via_and_max_forwards_only() {
    insta::assert_snapshot!(forwarded("Max-Forwards:  0070 \n", &NO_EDITS));
}

/// RFC 3261 §16.6 steps 2 to 8.
#[test]
fn a_forwarded_request_with_everything() {
    let edits = RequestEdits {
        request_uri: Some(b"sip:123@gw;user=phone"),
        received: Some([192, 0, 2, 7].into()),
        rport: Some(5062),
        record_routes: &[OwnRoute { sent_by: b"out", token: b"1" }, OwnRoute { sent_by: b"in", token: b"1" }],
        strip_routes: 1,
        ..NO_EDITS
    };
    insta::assert_snapshot!(forwarded(
        "Route: <sip:us;lr;cl=1>, <sip:next;lr>\nRecord-Route: <sip:before;lr>\n",
        &edits
    ));
}

/// RFC 3261 §18.2.1, RFC 3581 §4.
#[test]
fn received_and_rport() {
    let ip4 = Some([192, 0, 2, 7].into());
    let ip6 = Some("2001:db8::7".parse().expect("an address"));
    for (via, received, rport, expected) in [
        ("h", None, None, "h"),
        ("h", None, Some(1), "h"),
        ("h ;x=y", ip4, Some(1), "h ;x=y;received=192.0.2.7"),
        ("h;rport", None, Some(5060), "h;rport=5060"),
        ("h;rport", ip6, None, "h;rport;received=2001:db8::7"),
        ("h;rport;branch=b", ip4, Some(5060), "h;rport=5060;branch=b;received=192.0.2.7"),
        ("h;RPORT = 1 ;received = [::9] ;x", ip4, Some(2), "h;rport=2 ;received = 192.0.2.7 ;x"),
        ("h;received=1.2.3.4;rport;x", ip6, Some(2), "h;received=2001:db8::7;rport=2;x"),
        ("h;received=1.2.3.4;rport;x", None, Some(2), "h;received=1.2.3.4;rport=2;x"),
    ] {
        let request = invite("").replace("a;branch=z9hG4bKa;rport", via);
        let edits = RequestEdits { received, rport, ..NO_EDITS };
        let text = written(&request, |message, out| write_request(message, &edits, out));
        assert_eq!(text.lines().nth(2), Some(&*format!("v: SIP/2.0/UDP {expected} , SIP/2.0/UDP b")), "{via}");
    }
}

/// RFC 3261 §16.4, §16.6 step 6: values go from the top, over lines; a line goes when it is empty.
#[test]
fn routes_are_taken_from_both_ends() {
    let lines = "Route: <sip:1> , <sip:2;x=\",\">,,\n <sip:3>\nX: y\nRoute: ,\nRoute: <sip:4>\n";
    for (strip_routes, drop_last_route, expected) in [
        (0, false, lines),
        (1, false, "Route: <sip:2;x=\",\">,,\n <sip:3>\nX: y\nRoute: ,\nRoute: <sip:4>\n"),
        (2, false, "Route: <sip:3>\nX: y\nRoute: ,\nRoute: <sip:4>\n"),
        (3, false, "X: y\nRoute: ,\nRoute: <sip:4>\n"),
        (4, false, "X: y\nRoute: ,\n"),
        (9, true, "X: y\nRoute: ,\n"),
        (0, true, "Route: <sip:1> , <sip:2;x=\",\">,,\n <sip:3>\nX: y\nRoute: ,\n"),
        (1, true, "Route: <sip:2;x=\",\">,,\n <sip:3>\nX: y\nRoute: ,\n"),
        (3, true, "X: y\nRoute: ,\n"),
    ] {
        let edits = RequestEdits { strip_routes, drop_last_route, ..NO_EDITS };
        let expected = forwarded(expected, &NO_EDITS);
        assert_eq!(forwarded(lines, &edits), expected, "{strip_routes} and {drop_last_route}");
    }
    let edits = RequestEdits { strip_routes: 1, drop_last_route: true, ..NO_EDITS };
    assert_eq!(forwarded("Route: <sip:1>,<sip:2>,<sip:3>\n", &edits), forwarded("Route: <sip:2>\n", &NO_EDITS));
    assert_eq!(forwarded("Route: <sip:1>\n", &edits), forwarded("", &NO_EDITS));
}

/// Record-Route and Max-Forwards find their place wherever the Vias are.
#[test]
fn new_fields_behind_vias_that_are_last() {
    let request = "BYE sip:b@b SIP/2.0\nFrom: <sip:a@a>;tag=1\nTo: <sip:b@b>;tag=2\nCall-ID: c\nCSeq: 8 BYE\nVia: SIP/2.0/UDP a\n\n";
    let edits = RequestEdits { record_routes: &[OwnRoute { sent_by: b"us", token: b"1" }], ..NO_EDITS };
    insta::assert_snapshot!(written(request, |message, out| write_request(message, &edits, out)));
}

const RESPONSE: &str = "From: <sip:a@a>;tag=1\nTo: <sip:b@b>;tag=2\nCall-ID: c1\nCSeq: 7 INVITE\nX:  kept \nl: 2\n\nok";

/// RFC 3261 §16.7 step 3.
#[test]
fn a_forwarded_response_loses_one_via() {
    for (vias, left) in [
        ("Via: SIP/2.0/UDP us\nVia: SIP/2.0/UDP a\n", "Via: SIP/2.0/UDP a\n"),
        ("v: SIP/2.0/UDP us ,\n  SIP/2.0/UDP a , SIP/2.0/UDP b\n", "v: SIP/2.0/UDP a , SIP/2.0/UDP b\n"),
        ("Via:\n SIP/2.0/UDP us,\nX: y\nVia: SIP/2.0/UDP a\n", "X: y\nVia: SIP/2.0/UDP a\n"),
        ("Via: SIP/2.0/UDP us\n", ""),
    ] {
        let text = written(&format!("SIP/2.0 180 So so\n{vias}{RESPONSE}"), write_response);
        assert_eq!(text, format!("SIP/2.0 180 So so\n{left}{RESPONSE}"));
    }
}

/// The rewriting of nothing is the writing of what came.
#[test]
fn nothing_to_rewrite() {
    for vias in
        ["Via: SIP/2.0/UDP us ,SIP/2.0/UDP a\n", "Via: SIP/2.0/UDP us\nVia: SIP/2.0/UDP a\n", "Via: SIP/2.0/UDP us\n"]
    {
        let response = format!("SIP/2.0 180 So so\nServer: x\n{vias}{RESPONSE}");
        let rewritten = written(&response, |message, out| write_response_with(message, &Rewrite::NOTHING, out));
        assert_eq!(rewritten, written(&response, write_response));
    }
}

/// RFC 5393 §5.3.3: one value, in place or with Max-Forwards.
#[test]
fn max_breadth_is_set() {
    let edits = RequestEdits { max_breadth: true, ..NO_EDITS };
    for (lines, expected) in [
        ("Max-Forwards: 70\nX: y\n", "Max-Forwards: 69\nMax-Breadth: 60\nX: y\n"),
        ("Max-Breadth: 9 \nMax-Forwards: 70\nX: y\n", "Max-Breadth: 60 \nMax-Forwards: 69\nX: y\n"),
        ("X: y\nMax-Breadth: 9\nMax-Forwards: 70\nmax-breadth: 8\n", "X: y\nMax-Breadth: 60\nMax-Forwards: 69\n"),
    ] {
        assert_eq!(forwarded(lines, &edits), forwarded(expected, &NO_EDITS), "{lines}");
        let kept = lines.replace("70", "69");
        assert_eq!(forwarded(lines, &NO_EDITS), forwarded(&kept, &NO_EDITS), "{lines}");
    }
    let none = forwarded("", &edits);
    assert!(none.contains("Via: SIP/2.0/UDP c\nMax-Forwards: 69\nMax-Breadth: 60\nFrom:"), "{none}");
}

/// Lines go behind the last field, and stand for those that were dropped.
#[test]
fn lines_are_added_and_replaced() {
    let drop = Names::of(&[Name::SessionExpires]);
    let lines: &[&[u8]] = &[b"Session-Expires: ", b"90", b"\r\nMin-SE: 90\r\n"];
    let rewrite = Rewrite { drop, lines, ..Rewrite::NOTHING };
    let request = invite("x: 1\nMax-Forwards: 70\nSession-Expires: 2\n");
    let added = "Content-Length: 3\nSession-Expires: 90\nMin-SE: 90\n\nabc";
    let expected = forwarded("Max-Forwards: 70\n", &NO_EDITS).replace("Content-Length: 3\n\nabc", added);
    let edits = RequestEdits { rewrite, ..NO_EDITS };
    assert_eq!(written(&request, |message, out| write_request(message, &edits, out)), expected);
    // Without a field to rewrite.
    let edits = RequestEdits { rewrite: Rewrite { lines, ..Rewrite::NOTHING }, ..NO_EDITS };
    assert_eq!(forwarded("Max-Forwards: 70\n", &edits), expected);
    let response = format!("SIP/2.0 200 So so\nVia: SIP/2.0/UDP us\nVia: SIP/2.0/UDP a\nx: 9\n{RESPONSE}");
    let text = written(&response, |message, out| write_response_with(message, &rewrite, out));
    // The `X` of the response is the compact form of Session-Expires too.
    let plain = written(&response.replace("x: 9\n", "").replace("X:  kept \n", ""), write_response);
    assert_eq!(text, plain.replace("\n\nok", "\nSession-Expires: 90\nMin-SE: 90\n\nok"));
}

/// From and To of the other side, headers that stay behind; wherever they are.
#[test]
fn a_rewritten_message() {
    let drop = Names::of(&[Name::PAssertedIdentity, Name::Privacy, Name::Contact]);
    let dropped = "m: <sip:c>\n";
    let asserted = "P-Asserted-Identity: <sip:1>,\n <tel:+1>\n";
    let kept = "Subject: folded\n line\n";
    for response in [
        format!("{dropped}Via: SIP/2.0/UDP us,SIP/2.0/UDP a\n{kept}{RESPONSE}"),
        format!("Via: SIP/2.0/UDP us\n{dropped}Via: SIP/2.0/UDP a\n{kept}{RESPONSE}"),
        format!("{kept}{asserted}Privacy: id\nVia: SIP/2.0/UDP us\nprivacy: id\n{RESPONSE}"),
        format!("Via: SIP/2.0/UDP us\n{}{dropped}\nok", RESPONSE.strip_suffix("\nok").expect("a body")),
    ] {
        let response = format!("SIP/2.0 180 So so\n{response}");
        let text = written(&response, |message, out| {
            let rewrite = Rewrite::identities(message, Some(b"F <sip:f@f>;tag=1"), Some(b"<tel:+1>;tag=2"));
            write_response_with(message, &Rewrite { drop, ..rewrite }, out);
        });
        let expected = written(&response, write_response)
            .replace("From: <sip:a@a>;tag=1\n", "From: F <sip:f@f>;tag=1\n")
            .replace("To: <sip:b@b>;tag=2\n", "To: <tel:+1>;tag=2\n")
            .replace(dropped, "")
            .replace(asserted, "")
            .replace("Privacy: id\n", "")
            .replace("privacy: id\n", "");
        assert_eq!(text, expected);
    }
    let lines = "Privacy: id\nRoute: <sip:us;lr>\nP-Asserted-Identity: <sip:1>\nMax-Forwards: 9\n";
    let part = |message: &Message<'_>, out: &mut Writer<'_>| {
        let from = message.from().uri;
        // The host of `sip:a@a`.
        let span = Span { start: from.start + 6, end: from.end };
        let rewrite = Rewrite { from: Some(Patch { span, text: b"us.example" }), drop, ..Rewrite::NOTHING };
        let edits = RequestEdits {
            rewrite,
            strip_routes: 1,
            record_routes: &[OwnRoute { sent_by: b"us", token: b"t" }],
            ..NO_EDITS
        };
        write_request(message, &edits, out);
    };
    let plain =
        RequestEdits { strip_routes: 1, record_routes: &[OwnRoute { sent_by: b"us", token: b"t" }], ..NO_EDITS };
    let without = lines.replace("Privacy: id\n", "").replace("P-Asserted-Identity: <sip:1>\n", "");
    let expected = forwarded(&without, &plain).replace("<sip:a@a>", "<sip:a@us.example>");
    assert_eq!(written(&invite(lines), part), expected);
}

/// RFC 3261 §8.2.6.
#[test]
fn answers() {
    let request = invite("Timestamp: 54\nRecord-Route: <sip:x>\n");
    let mut answer = Answer {
        status: 503,
        reason: b"Service Unavailable",
        to_tag: Some(b"ours"),
        received: Some([192, 0, 2, 7].into()),
        rport: Some(5060),
        lines: b"Retry-After: 3\r\n",
    };
    insta::assert_snapshot!("answer_503", written(&request, |message, out| write_answer(message, &answer, out)));
    (answer.status, answer.reason, answer.lines) = (100, b"Trying", b"");
    insta::assert_snapshot!("answer_100", written(&request, |message, out| write_answer(message, &answer, out)));
    (answer.status, answer.reason) = (481, b"Gone");
    let text = written(&request.replace("<sip:b@b>", "<sip:b@b>;tag=theirs"), |message, out| {
        write_answer(message, &answer, out);
    });
    assert!(text.contains("<sip:b@b>;tag=theirs\n") && !text.contains("ours"), "{text}");
}

/// A request with a fault is answered from what could be read of it.
#[test]
fn a_malformed_request_is_answered() {
    let bytes = crate::wire(&invite("Max-Forwards: 300\nFrom: <sip:second@a>;tag=9\nCall-ID: second\n"));
    let partial = Message::parse(&bytes).expect_err("malformed").partial.expect("can be answered");
    let answer = Answer { status: 400, reason: b"Bad", to_tag: Some(b"t"), received: None, rport: None, lines: b"" };
    let mut out = [0; 1024];
    let mut writer = Writer::new(&mut out);
    write_answer(&partial, &answer, &mut writer);
    let text = String::from_utf8(writer.finish().expect("fits").to_vec()).expect("text");
    insta::assert_snapshot!(text.replace("\r\n", "\n"));
}

/// RFC 3261 §17.1.1.3 and §9.1.
#[test]
fn ack_and_cancel() {
    let response = crate::wire(&format!("SIP/2.0 486 Busy\nVia: SIP/2.0/UDP us\n{RESPONSE}"));
    let response = Message::parse(&response).expect("well-formed");
    let request = invite("Route: <sip:1;lr>,\n <sip:2;lr>\nProxy-Authorization: x\nr: <sip:no>\nRoute: <sip:3>\n");
    insta::assert_snapshot!("ack", written(&request, |sent, out| write_ack(sent, &response, out)));
    insta::assert_snapshot!(
        "cancel",
        written(&request, |sent, out| write_cancel(sent, b"Reason: SIP;cause=200\r\n", out))
    );
}

#[test]
fn what_does_not_fit_is_full() {
    let bytes = crate::wire(&invite(""));
    let message = Message::parse(&bytes).expect("well-formed");
    let mut out = vec![0; bytes.len()];
    let mut writer = Writer::new(&mut out);
    write_request(&message, &NO_EDITS, &mut writer);
    assert!(writer.finish().is_err());
}
