//! Where a description is found, and where a reader could miss it.

use std::format;
use std::string::String;
use std::vec::Vec;

use super::*;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n";

fn message(headers: &str, body: &str) -> String {
    format!(
        "INVITE sip:1@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=a\r\nTo: <sip:b@h>\r\n\
         Call-ID: c@h\r\nCSeq: 1 INVITE\r\n{headers}\r\n{body}"
    )
}

fn found(text: &str) -> Option<&str> {
    let message = Message::parse(text.as_bytes()).expect("it parses");
    match find_sdp(&message) {
        Body::Sdp(span) => Some(core::str::from_utf8(span.of(text.as_bytes())).expect("text")),
        Body::None => None,
        Body::Unreadable => Some("unreadable"),
    }
}

#[test]
fn a_plain_description() {
    for kind in ["application/sdp", "APPLICATION/Sdp ; charset=utf-8"] {
        for name in ["Content-Type", "c", "content-TYPE"] {
            assert_eq!(found(&message(&format!("{name}: {kind}\r\n"), SDP)), Some(SDP));
        }
    }
    assert_eq!(found(&message("Content-Type: application/sdp\r\n", "")), None);
    assert_eq!(found(&message("Content-Type: application/sdpx\r\n", SDP)), None);
    assert_eq!(found(&message("Content-Type: text/plain\r\n", SDP)), None);
    assert_eq!(found(&message("", SDP)), Some(SDP), "what looks like one is one");
    assert_eq!(found(&message("", "hello")), None);
    assert_eq!(found(&message("Content-Type: application/sdp\r\ne: gzip\r\n", SDP)), Some("unreadable"));
    let identity = "Content-Type: application/sdp\r\nContent-Encoding: identity\r\n";
    assert_eq!(found(&message(identity, SDP)), Some(SDP));
}

#[test]
fn a_part_of_a_multipart() {
    let isup = "Content-Type: application/isup\r\nContent-Disposition: signal\r\n\r\n\x01\x02--b\r\n";
    let part = format!("Content-Type: application/sdp\r\n\r\n{SDP}");
    for boundary in ["b", "\"b\"", "\"b\"; type=\"x;boundary=c\""] {
        let kind = format!("Content-Type: multipart/mixed ; boundary={boundary}\r\n");
        for body in [
            format!("--b\r\n{isup}\r\n--b\r\n{part}\r\n--b--\r\n"),
            format!("preamble\r\n--b \t\r\n{part}\r\n--b\r\n{isup}\r\n--b--\r\nepilogue"),
            format!("--b\n{}\n--b--", part.replace("\r\n", "\n")),
        ] {
            assert_eq!(found(&message(&kind, &body)).map(|sdp| sdp.replace("\r\n", "\n").trim_end().len()), {
                Some(SDP.replace("\r\n", "\n").trim_end().len())
            });
        }
        assert_eq!(found(&message(&kind, &format!("--b\r\n{isup}\r\n--b--\r\n"))), None);
        let two = format!("--b\r\n{part}\r\n--b\r\n{part}\r\n--b--\r\n");
        assert_eq!(found(&message(&kind, &two)), Some("unreadable"));
        let encoded = format!("--b\r\nContent-Transfer-Encoding: base64\r\n{part}\r\n--b--\r\n");
        assert_eq!(found(&message(&kind, &encoded)), Some("unreadable"));
        assert_eq!(found(&message(&kind, SDP)), Some("unreadable"), "no delimiter");
    }
    assert_eq!(found(&message("Content-Type: multipart/mixed\r\n", SDP)), Some("unreadable"), "no boundary");
}

/// A message that another reader finds a description in has one, or cannot be read for sure (I2).
#[test]
fn a_description_does_not_hide() {
    for kind in ["application / sdp", "application/\r\n sdp", "\r\n application/sdp ;x=y", " application\t/sdp"] {
        assert_eq!(found(&message(&format!("Content-Type:{kind}\r\n"), SDP)), Some(SDP), "{kind:?}");
    }
    for headers in [
        "Content-Type: text/plain\r\nContent-Type: application/sdp\r\n",
        "c: application/sdp\r\nContent-Type: text/plain\r\n",
        "Content-Type: text/plain\r\nc: text/plain\r\n",
        "Content-Type:\r\n",
        "Content-Type: application\r\n",
        "Content-Type: text/plain, application/sdp\r\n",
        "Content-Type: application/sdp (a comment)\r\n",
    ] {
        assert_eq!(found(&message(headers, SDP)), Some("unreadable"), "{headers:?}");
    }
    assert_eq!(found(&message("", &format!("\r\n{SDP}"))).map(str::trim_start), Some(SDP));
    let in_part = |headers: &str| format!("--b\r\n{headers}\r\n{SDP}\r\n--b--\r\n");
    let mixed = "Content-Type: multipart/mixed;boundary=b\r\n";
    for headers in [
        "Content-Type:\r\n application/sdp\r\n",
        "Content-Type:\r\n\tapplication/\r\n\tsdp\r\n",
        "X-Folded: a\r\n b\r\nc : application/sdp\r\n",
        "content-type: Application/SDP;\r\n charset=utf-8\r\n",
        "",
    ] {
        assert_eq!(found(&message(mixed, &in_part(headers))), Some(SDP), "{headers:?}");
    }
    for headers in [
        "Content-Type: text/plain\r\nContent-Type: application/sdp\r\n",
        "Content-Type: text/plain\r\n \r\nContent-Type: application/sdp\r\n",
        "Content-Type:\r\n",
        "X: y\rContent-Type: application/sdp\r\n",
        "Content-Transfer-Encoding:\r\n base64\r\nContent-Type: application/sdp\r\n",
        "no field\r\nContent-Type: application/sdp\r\n",
    ] {
        assert_eq!(found(&message(mixed, &in_part(headers))), Some("unreadable"), "{headers:?}");
    }
    let isup = "--b\r\nContent-Type: application/isup\r\n\r\n\x01\r\n";
    let part = in_part("Content-Type: application/sdp\r\n");
    for body in [
        format!("{SDP}\r\n{isup}--b--\r\n"),
        format!("{isup}--b--\r\n{SDP}"),
        format!("{isup}--b--\r\n{part}"),
        format!("{}\r\n--b--c\r\nc=IN IP4 192.0.2.1\r\n", part.replace("\r\n--b--", "")),
        format!("--b\r\n{SDP}--b--"),
    ] {
        assert_eq!(found(&message(mixed, &body)), Some("unreadable"), "{body:?}");
    }
    for parameters in [
        "boundary=b;boundary=c",
        "boundary=\"b \"",
        "boundary*=b",
        "boundary=\"b",
        "boundary=b;x=\"",
        "boundary=b c",
        "boundary",
        "boundary=",
    ] {
        let headers = format!("Content-Type: multipart/mixed;{parameters}\r\n");
        assert_eq!(found(&message(&headers, &part)), Some("unreadable"), "{parameters}");
    }
    let quoted = "Content-Type: multipart/mixed; x=\";boundary=c\\\"\"; Boundary =\r\n \"b\"\r\n";
    assert_eq!(found(&message(quoted, &format!("--c\r\n\r\n--c--\r\n{part}"))), Some(SDP), "in quotes it is none");
}

#[test]
fn a_part_without_an_end_is_a_part() {
    let body = format!("--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}");
    assert_eq!(found(&message("Content-Type: multipart/mixed;boundary=b\r\n", &body)), Some(SDP));
}

#[test]
fn depth_and_number_of_parts_are_bounded() {
    let mut body = format!("Content-Type: application/sdp\r\n\r\n{SDP}");
    for depth in 1..=BODY_DEPTH_MAX + 1 {
        body = format!("--b{depth}\r\n{body}\r\n--b{depth}--");
        let text = message(&format!("Content-Type: multipart/mixed;boundary=b{depth}\r\n"), &body);
        assert_eq!(found(&text), Some(if depth <= BODY_DEPTH_MAX { SDP } else { "unreadable" }), "{depth}");
        body = format!("Content-Type: multipart/mixed;boundary=b{depth}\r\n\r\n{body}");
    }
    let kind = "Content-Type: multipart/mixed;boundary=b\r\n";
    for (parts, expected) in [(BODY_PARTS_MAX - 1, SDP), (BODY_PARTS_MAX, "unreadable")] {
        let body = "--b\r\n\r\nx\r\n".repeat(parts);
        let body = format!("{body}--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b--");
        assert_eq!(found(&message(kind, &body)), Some(expected), "{parts} parts before it");
    }
}

fn rewritten(text: &str, new: &str) -> String {
    let message = Message::parse(text.as_bytes()).expect("it parses");
    let Body::Sdp(span) = find_sdp(&message) else { panic!("no description in {text}") };
    let mut out = [0; 4096];
    let mut writer = Writer::new(&mut out);
    write_with_sdp(&message, span, new.as_bytes(), &mut writer);
    String::from_utf8(writer.finish().expect("it fits").to_vec()).expect("text")
}

/// Content-Length is right however it was written, and the rest stays byte for byte.
#[test]
fn another_description_in_its_place() {
    let length = SDP.len();
    let new = "v=0\r\nc=IN IP4 203.0.113.1\r\n";
    for (line, then) in [
        (format!("Content-Length: {length}\r\n"), format!("Content-Length: {}\r\n", new.len())),
        (format!("l:{length}\r\n"), format!("l:{}\r\n", new.len())),
        (format!("Content-Length:\r\n {length}\r\n"), format!("Content-Length:\r\n {}\r\n", new.len())),
        (String::new(), format!("Content-Length: {}\r\n", new.len())),
    ] {
        let text = message(&format!("{line}c: application/sdp\r\nX-Last: 1\r\n"), SDP);
        let expected = match line.is_empty() {
            true => message(&format!("c: application/sdp\r\nX-Last: 1\r\n{then}"), new),
            false => message(&format!("{then}c: application/sdp\r\nX-Last: 1\r\n"), new),
        };
        assert_eq!(rewritten(&text, new), expected);
    }
    let body = |sdp| format!("--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b--");
    let text = message("c: multipart/mixed;boundary=b\r\n", &body(SDP));
    let new_text = rewritten(&text, new);
    assert!(new_text.ends_with(&body(new)) && new_text.contains(&format!("Content-Length: {}", body(new).len())));
    assert_eq!(found(&new_text), Some(new), "it is found again");
}

#[test]
fn a_message_without_its_body() {
    let headers = "Content-Disposition: session\r\nc: application/sdp\r\nX-Last: 1\r\nContent-Length: 31\r\n";
    let text = message(headers, &SDP[..31]);
    let read = Message::parse(text.as_bytes()).expect("it parses");
    let mut out = [0; 1024];
    let mut writer = Writer::new(&mut out);
    write_without_body(&read, &mut writer);
    let written: Vec<u8> = writer.finish().expect("it fits").to_vec();
    assert_eq!(String::from_utf8(written), Ok(message("X-Last: 1\r\nContent-Length: 0\r\n", "")));
}
