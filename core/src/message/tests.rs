//! The readers of the usual forms find what the readers of every form find, or nothing.

use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

use super::parse::{Line, any_line, status_line, usual_line, usual_status_line};
use super::{CSeq, Name, NameAddr, Span, Uri, Values, Via, cseq, name_addr, scan, uri, via};

/// Pieces of values: the usual ones whole, so that long runs of them come, and what may stand between them.
const PIECES: [&str; 44] = [
    "SIP/2.0/UDP ",
    "192.0.2.1",
    "h-1.example",
    "[::1]",
    ":5060",
    ":65536",
    ":",
    ";branch=z9hG4bK-1",
    ";branch",
    ";rport",
    ";rport=5062",
    ";rport=070000",
    ";received=192.0.2.9",
    ";received",
    ";ttl=1",
    ",",
    ";",
    "=",
    " ",
    "\t",
    "\r\n ",
    "\"A \\\" B\"",
    "\"Alice\" ",
    "\"",
    "<sip:",
    "<sip:+1-201@h>",
    "<",
    ">",
    ";tag=9f-x",
    ";tag=",
    "sip:",
    "a+b.c",
    "a_b",
    "@",
    ";user=phone",
    ";lr",
    "?x=y",
    "%41",
    "314159",
    " INVITE",
    " BYE",
    "4294967296",
    "\0",
    "\u{f6}",
];

/// A few pieces after each other, often beginning as a value does; and whether a message goes on behind them.
fn value() -> impl Strategy<Value = (String, bool)> {
    let start = prop::sample::select(
        [
            "",
            "SIP/2.0/UDP h",
            "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1",
            "<sip:a@h>",
            "\"A\" <sip:+1@h;x>;tag=1",
            "sip:a@h",
            "sip:h:5060;lr",
            "1 INVITE",
        ]
        .to_vec(),
    );
    let pieces = prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..6);
    (start, pieces, any::<bool>()).prop_map(|(start, pieces, more)| (String::from(start) + &pieces.concat(), more))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn usual_values_are_read_as_any_are((value, more) in value(), cut in 0..3usize) {
        let mut bytes = value.clone().into_bytes();
        // The value may end before what looks like more of it.
        let end = bytes.len().saturating_sub(cut);
        if more {
            bytes.extend_from_slice(b"\r\nMax-Forwards: 70\r\nX: a line of more than a block\r\n\r\n");
        }
        let (mut via, mut address, mut uri, mut cseq) = (Via::NONE, NameAddr::NONE, Uri::NONE, CSeq::NONE);
        if via::usual(&bytes, 0, end, &mut via) {
            prop_assert_eq!(via::any(&bytes[..end], 0), Some((via, end)));
        }
        if name_addr::usual(&bytes, 0, end, &mut address) {
            prop_assert_eq!(name_addr::any(&bytes[..end], 0), Some(address));
            // `Message::first_address` rests on it.
            prop_assert!(Values::within(&bytes, Span::new(0, end)).eq([address.value]), "it is one value");
        }
        if uri::usual(&bytes, 0, end, &mut uri) {
            prop_assert_eq!(uri::any(&bytes[..end], 0), Some(uri));
        }
        if cseq::usual(&bytes, 0, end, &mut cseq) {
            prop_assert_eq!(cseq::any(&bytes[..end], 0), Some(cseq));
        }
    }

    #[test]
    fn usual_status_lines_are_read_as_any_are(line in "SIP/2.[0-1] {1,2}[0-9]{2,4}[ -]?[A-Za-z ]{0,9}", cut in 0..3usize) {
        let line = &line.as_bytes()[..line.len() - cut];
        if let Some(found) = usual_status_line(line) {
            prop_assert_eq!(status_line(line), Ok(found));
        }
    }

    #[test]
    fn short_numbers_are_read_as_any_are(digits in "[0-9x ]{0,6}") {
        let bytes = [b"a: ", digits.as_bytes(), b"\r\n"].concat();
        let value = Span::new(3, 3 + digits.len());
        prop_assert_eq!(scan::number_in(&bytes, value, 255), scan::number(digits.as_bytes(), 255));
        prop_assert_eq!(scan::number_in(&bytes, value, u32::MAX), scan::number(digits.as_bytes(), u32::MAX));
    }

    #[test]
    fn usual_lines_are_read_as_any_are(
        name in prop::sample::select(Name::ALL.map(Name::text).to_vec()),
        edit in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        colon in prop::sample::select([":", ": ", " :", ":  ", ""].to_vec()),
        (value, _) in value(),
        end in prop::sample::select(["\r\n", "\n", " \r\n", "\r\r\n"].to_vec()),
    ) {
        let mut bytes: Vec<u8> = [name, colon, &value.replace('\n', ""), end, "Via: of another line\r\n"].concat().into_bytes();
        if let Some((place, byte)) = edit {
            let at = place.index(name.len() + 1);
            // What has a CR within a line is refused as a whole (`lone_cr`).
            if byte != b'\r' && bytes[at] != b'\n' {
                bytes[at] = byte;
            }
        }
        let mark = bytes.iter().position(|byte| *byte <= b'\r').expect("a line");
        if let Some((name, start)) = usual_line(&bytes, 0, mark) {
            prop_assert_eq!(any_line(&bytes, 0, mark + 1), Line::Field(name, Span::new(start, mark)));
        }
    }
}

/// The comparison above is one of something: what nearly always comes is read as usual.
#[test]
fn usual_forms_are_usual() {
    let tail = "\r\nMax-Forwards: 70\r\n\r\n";
    let bytes = |value: &str| String::from(value) + tail;
    for value in
        ["SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1;rport", "SIP/2.0/UDP h;rport=1;received=192.0.2.1;branch=x"]
    {
        assert!(via::usual(bytes(value).as_bytes(), 0, value.len(), &mut { Via::NONE }), "{value}");
    }
    for value in
        ["<sip:a@h>", "<sip:+1@192.0.2.1:5060;user=phone>;tag=x-1", "\"Alice B\" <sip:a@h>;tag=1", "\"A\"<sip:h>"]
    {
        assert!(name_addr::usual(bytes(value).as_bytes(), 0, value.len(), &mut { NameAddr::NONE }), "{value}");
    }
    for value in
        ["sip:h", "sip:+1-201@192.0.2.1:5060;user=phone", "sip:192.0.2.1:5060;lr;t=0a1b", "sip:a.b@h;transport=udp"]
    {
        assert!(uri::usual(bytes(value).as_bytes(), 0, value.len(), &mut { Uri::NONE }), "{value}");
    }
    assert!(cseq::usual(bytes("314159 INVITE").as_bytes(), 0, 13, &mut { CSeq::NONE }));
    assert!(usual_status_line(b"SIP/2.0 486 Busy Here").is_some());
    for name in Name::ALL.map(Name::text).into_iter().filter(|name| !name.is_empty()) {
        let line = std::format!("{name}: x{tail}");
        assert!(usual_line(line.as_bytes(), 0, name.len() + 3).is_some(), "{name}");
    }
}
