//! Properties: nothing from the network panics; what is forwarded is kept; the Call-ID is where steering finds it.

use corelane_core::Transport;
use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::message::{
    Answer, Malformed, Message, Name, Names, OwnRoute, OwnVia, ParseError, RequestEdits, Rewrite, StartLine, Writer,
    write_ack, write_answer, write_cancel, write_request, write_response, write_response_with,
};
use corelane_core::steering::find_call_id;
use proptest::prelude::*;

const SEEDS: [&str; 3] = [
    "INVITE sip:+1;phone-context=x:p@[2001:db8::1]:5060;lr;x=y SIP/2.0\nVia: SIP/2.0/UDP h:5060;branch=z9hG4bK1;rport;received=192.0.2.1, SIP/2.0/TCP g\n\
     Route: <sip:a;lr>, \"q, \\\"\" <sip:b?x=y,z>;p=\"v,w\"\nRecord-Route: <sip:r;lr>\nMax-Forwards: 70\nFrom: \"A \\\" B\" <sip:a@h>;tag=1\n\
     To: sip:b@h;x=y\nCall-ID: c1@h\nCSeq: 7 INVITE\nContact: <sip:c@h>;q=0.5, *\nSubject: a\n folded\nContent-Length: 5\n\nv=0\n",
    "SIP/2.0 180 Ringing\nv: SIP / 2.0 / UDP h : 1 ; branch = x , SIP/2.0/UDP [::1];rport=1\nf: <tel:+1>;tag=1\nt: <sips:b@h>;tag=2\ni: c1\nCSeq: 7 INVITE\nk: timer,100rel\nl:0\n\n",
    "\nBYE tel:+1-201;ext=1 SIP/2.0\nCSeq: 9 BYE\ni :\n c2\nTo : B <sip:b@h> ; tag = 2\nfRoM: A <sip:a@h>;tag=1\nRoute: <sip:x>\nX: ;;,,\nRoute: <sip:y>,<sip:z>\nVia: SIP/2.0/UDP h\n\n",
];

/// Bytes that mean something to the parser, and any others.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        8 => prop::sample::select(b"\r\n\t :;,=<>\"\\@?%[]/*.0123456789aiIvVtf\0\x7f\xff".to_vec()),
        1 => any::<u8>(),
    ]
}

/// A seed with some bytes replaced, put in or taken out.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), byte(), 0..3u8, 0..12usize);
    (0..SEEDS.len(), prop::collection::vec(edit, 0..6)).prop_map(|(seed, edits)| {
        let mut bytes = crate::wire(SEEDS[seed]);
        for (place, byte, kind, length) in edits {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.drain(at..(at + length).min(bytes.len() - 1).max(at))),
            }
        }
        bytes
    })
}

/// Looks at everything that a message shows, and writes everything that can be written from it.
fn exercise(message: &Message<'_>) {
    let via = message.via();
    for span in [
        via.value,
        via.transport,
        via.host,
        via.rport_param,
        message.from().value,
        message.to().uri,
        message.cseq().name,
    ] {
        let _ = message.text(span);
    }
    let _ = (message.body(), message.call_id(), message.max_forwards(), message.request_uri());
    for field in message.fields() {
        let _ = (message.text(field.line), message.text(field.value));
        let _ = (message.parse_via(field.value), message.parse_uri(field.value), message.parse_name_addr(field.value));
    }
    for name in Name::ALL {
        assert_eq!(message.first(name), message.fields().iter().find(|field| field.name == name).copied());
        for value in message.values(name) {
            assert!(!message.text(value).is_empty());
            let _ = message.parse_via(value);
            if let Ok(address) = message.parse_name_addr(value)
                && let Ok(uri) = message.parse_uri(address.uri)
            {
                let _ = (
                    uri.param(message.bytes(), b"lr"),
                    uri.user.map(|user| message.text(user)),
                    message.text(uri.host),
                );
            }
        }
    }
    let mut out = vec![0; 2 * MESSAGE_SIZE_MAX];
    let answer = Answer {
        status: 400,
        reason: b"Bad",
        to_tag: Some(b"t"),
        received: Some([1, 2, 3, 4].into()),
        rport: Some(9),
        lines: b"",
    };
    write_answer(message, &answer, &mut Writer::new(&mut out));
    if let StartLine::Request { .. } = message.start() {
        for (strip_routes, drop_last_route) in [(0, false), (1, true), (usize::MAX, false)] {
            let edits = RequestEdits { strip_routes, drop_last_route, ..EDITS };
            write_request(message, &edits, &mut Writer::new(&mut out));
        }
        write_ack(message, message, &mut Writer::new(&mut out));
        write_cancel(message, b"", &mut Writer::new(&mut out));
    }
    write_response(message, &mut Writer::new(&mut out));
}

const EDITS: RequestEdits<'static> = RequestEdits {
    request_uri: Some(b"sip:new@host"),
    via: OwnVia { transport: Transport::Udp, sent_by: b"us", branch: b"z9hG4bKus" },
    received: Some(core::net::IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 9))),
    rport: Some(5062),
    record_routes: &[OwnRoute { sent_by: b"us", token: b"1" }],
    strip_routes: 0,
    drop_last_route: false,
    max_forwards: 69,
    max_breadth: true,
    rewrite: Rewrite::NOTHING,
};

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    match Message::parse(bytes) {
        Ok(message) => {
            prop_assert_eq!(find_call_id(bytes), Some(message.call_id()));
            prop_assert_eq!(find_call_id(message.bytes()), Some(message.call_id()));
            exercise(&message);
            kept(&message)?;
            rewritten(&message)?;
        }
        Err(Malformed { partial: Some(partial), .. }) => exercise(&partial),
        Err(Malformed { partial: None, .. }) => {}
    }
    Ok(())
}

/// What is forwarded parses again, and has every untouched field byte for byte and in its order.
fn kept(message: &Message<'_>) -> Result<(), TestCaseError> {
    let untouched = |message: &Message<'_>, skip: &[Name]| -> Vec<Vec<u8>> {
        let fields = message.fields().iter().filter(|field| !skip.contains(&field.name));
        fields.map(|field| message.text(field.line).to_vec()).collect()
    };
    let mut out = vec![0; 2 * MESSAGE_SIZE_MAX];
    let mut writer = Writer::new(&mut out);
    let request = matches!(message.start(), StartLine::Request { .. });
    let hop = [Name::Via, Name::RecordRoute, Name::MaxForwards, Name::MaxBreadth];
    let skip = if request { &hop[..] } else { &[Name::Via] };
    if request {
        write_request(message, &EDITS, &mut writer);
    } else {
        write_response(message, &mut writer);
    }
    let written = writer.finish().expect("fits");
    let again = match Message::parse(written) {
        Ok(again) => again,
        // The one Via is gone; or it has grown over a bound.
        Err(Malformed {
            error: ParseError::MissingHeader(Name::Via) | ParseError::TooManyHeaders | ParseError::TooLarge,
            ..
        }) => return Ok(()),
        // What is below our Via is not looked at before it is on top.
        Err(Malformed { error: ParseError::BadHeader(Name::Via), .. }) if !request => return Ok(()),
        Err(Malformed { error, .. }) => {
            return Err(TestCaseError::fail(format!("{error:?}: {}", written.escape_ascii())));
        }
    };
    prop_assert_eq!(untouched(message, skip), untouched(&again, skip));
    prop_assert_eq!(message.body(), again.body());
    let (before, after): (Vec<_>, Vec<_>) = (
        message.values(Name::Via).map(|value| message.text(value)).collect(),
        again.values(Name::Via).map(|value| again.text(value)).collect(),
    );
    if request {
        prop_assert_eq!(after[0], &b"SIP/2.0/UDP us;branch=z9hG4bKus"[..]);
        prop_assert_eq!(&before[1..], &after[2..]);
        prop_assert_eq!(again.max_forwards(), Some(EDITS.max_forwards));
        prop_assert_eq!(again.number(Name::MaxBreadth), Some(60));
        prop_assert!(!again.is_repeated(Name::MaxBreadth));
        let stamped = again.parse_via(again.values(Name::Via).nth(1).expect("theirs")).expect("well-formed");
        prop_assert_eq!(stamped.received.map(|ip| again.text(ip)), Some(&b"192.0.2.9"[..]));
        prop_assert_eq!(stamped.rport, message.via().rport.map(|_| Some(5062)));
        prop_assert_eq!(again.values(Name::RecordRoute).count(), message.values(Name::RecordRoute).count() + 1);
    } else {
        prop_assert_eq!(&before[1..], &after[..]);
    }
    Ok(())
}

/// Rewritten, it parses again, has the other From and To, and is otherwise as it was written without.
fn rewritten(message: &Message<'_>) -> Result<(), TestCaseError> {
    let gone = [Name::Contact, Name::Supported, Name::RAck];
    let (from, to) = (&b"\"F\" <sip:f@f>;tag=1"[..], &b"sip:t@t;tag=2"[..]);
    let rewrite = Rewrite { drop: Names::of(&gone), ..Rewrite::identities(message, Some(from), Some(to)) };
    let (mut plain, mut other) = (vec![0; 2 * MESSAGE_SIZE_MAX], vec![0; 2 * MESSAGE_SIZE_MAX]);
    let (mut plain, mut other) = (Writer::new(&mut plain), Writer::new(&mut other));
    if let StartLine::Request { .. } = message.start() {
        write_request(message, &EDITS, &mut plain);
        write_request(message, &RequestEdits { rewrite, ..EDITS }, &mut other);
    } else {
        write_response(message, &mut plain);
        write_response_with(message, &rewrite, &mut other);
    }
    // What does not parse any more when it is forwarded is `kept`'s to judge.
    let Ok(plain) = Message::parse(plain.finish().expect("fits")) else { return Ok(()) };
    let written = other.finish().expect("fits");
    let Ok(other) = Message::parse(written) else {
        return Err(TestCaseError::fail(written.escape_ascii().to_string()));
    };
    prop_assert_eq!((other.text(other.from().value), other.text(other.to().value)), (from, to));
    let rest = |message: &Message<'_>| -> Vec<Vec<u8>> {
        let changed = [&gone[..], &[Name::From, Name::To]].concat();
        let fields = message.fields().iter().filter(|field| !changed.contains(&field.name));
        fields.map(|field| message.text(field.line).to_vec()).collect()
    };
    prop_assert!(gone.iter().all(|name| other.first(*name).is_none()));
    prop_assert_eq!(rest(&plain), rest(&other));
    prop_assert_eq!(plain.body(), other.body());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(byte(), 0..300)) {
        check(&bytes)?;
    }

    #[test]
    fn mutated_messages_never_panic_and_are_kept(bytes in mutated()) {
        check(&bytes)?;
    }
}

/// Each seed, and each of its prefixes.
#[test]
fn every_prefix_of_a_message() {
    for seed in SEEDS {
        let bytes = crate::wire(seed);
        assert!(Message::parse(&bytes).is_ok(), "{seed}");
        for end in 0..=bytes.len() {
            check(&bytes[..end]).unwrap_or_else(|error| panic!("{error} at {end} of {seed}"));
        }
    }
}
