//! A datagram that parses, written again in every way that Corelane writes: forwarded, answered, acknowledged, cancelled.
//!
//! ```text
//!   request ──write_request──► forwarded ──write_answer──► answer ──write_response──► what the sender gets
//!                                        └─write_ack, write_cancel
//! ```
//!
//! Each of them parses again. Fields that nobody meant to change come out byte for byte and in their order; the Vias that the sender wrote come
//! back to it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use corelane_core::Transport;
use corelane_core::limits::{MAX_BREADTH, MESSAGE_SIZE_MAX};
use corelane_core::message::{
    Answer, Malformed, Message, Name, Names, OwnRoute, OwnVia, ParseError, RequestEdits, Rewrite, Span, StartLine,
    Writer, write_ack, write_answer, write_cancel, write_request, write_response, write_response_with,
};

/// Room for a message at the limit and all that is added to it.
const ROOM: usize = 2 * MESSAGE_SIZE_MAX;
const VIA: OwnVia<'static> = OwnVia { transport: Transport::Udp, sent_by: b"us.example:5070", branch: b"z9hG4bKus" };
const TARGET: &[u8] = b"sip:new@host.example:5080;lr";
const RECORD_ROUTES: [OwnRoute<'static>; 2] =
    [OwnRoute { sent_by: b"outer.example", token: b"1" }, OwnRoute { sent_by: b"[2001:db8::1]:5070", token: b"2" }];
const RECEIVED: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9))];

/// The ways in which a request is forwarded here: first hop, next to a strict router, inside a dialog.
const EDITS: [RequestEdits<'static>; 3] = [
    RequestEdits {
        request_uri: Some(TARGET),
        via: VIA,
        received: Some(RECEIVED[0]),
        rport: Some(5062),
        record_routes: RECORD_ROUTES.split_at(1).0,
        strip_routes: 0,
        drop_last_route: false,
        max_forwards: 69,
        max_breadth: true,
        rewrite: Rewrite::NOTHING,
    },
    RequestEdits {
        request_uri: None,
        via: VIA,
        received: None,
        rport: None,
        record_routes: &[],
        strip_routes: 1,
        drop_last_route: true,
        max_forwards: 0,
        max_breadth: false,
        rewrite: Rewrite::NOTHING,
    },
    RequestEdits {
        request_uri: None,
        via: VIA,
        received: Some(RECEIVED[1]),
        rport: Some(1),
        record_routes: &RECORD_ROUTES,
        strip_routes: 2,
        drop_last_route: false,
        max_forwards: 255,
        max_breadth: true,
        rewrite: Rewrite::NOTHING,
    },
];

/// Writes everything that can be written from `bytes`, where they are a message, and reads it again.
///
/// # Panics
/// When something is lost, added or no longer a message.
pub fn check(bytes: &[u8]) {
    match Message::parse(bytes) {
        Ok(message) => {
            match message.start() {
                StartLine::Request { .. } => request(&message),
                StartLine::Response { .. } => _ = response(&message),
            }
            rewritten(&message);
        }
        // A message with a fault is answered and nothing else; whether the answer is well-formed is its sender's affair.
        Err(Malformed { partial: Some(partial), .. }) => _ = write(|out| write_answer(&partial, &answer(400), out)),
        Err(Malformed { partial: None, .. }) => {}
    }
}

fn request(message: &Message<'_>) {
    for edits in &EDITS {
        let forwarded = write(|out| write_request(message, edits, out));
        let Some(forwarded) = again(&forwarded) else { continue };
        forwarding(message, edits, &forwarded);
        hop(&forwarded);
        for status in [100, 200, 486] {
            let answered = write(|out| write_answer(&forwarded, &answer(status), out));
            let Some(answered) = again(&answered) else { continue };
            answering(&forwarded, &answered, status);
            let Some(passed) = response(&answered) else { continue };
            let passed = Message::parse(&passed).expect("the sender's own Via is on top, and it parsed");
            assert_eq!(vias(&passed)[1..], vias(message)[1..], "the Vias come back");
            let (ours, theirs) = (passed.via(), message.via());
            assert_eq!(passed.text(ours.host), message.text(theirs.host));
            assert_eq!(ours.branch.map(|it| passed.text(it)), theirs.branch.map(|it| message.text(it)));
        }
    }
}

/// What forwarding changes, and that it changes nothing else (RFC 3261 §16.6).
fn forwarding(message: &Message<'_>, edits: &RequestEdits<'_>, forwarded: &Message<'_>) {
    let touched = [Name::Via, Name::RecordRoute, Name::MaxForwards, Name::Route, Name::MaxBreadth];
    let touched = &touched[..if edits.max_breadth { 5 } else { 4 }];
    assert_eq!(untouched(message, touched), untouched(forwarded, touched));
    assert_eq!(message.body(), forwarded.body());
    let uri = |message: &Message<'_>| match message.start() {
        StartLine::Request { uri, .. } => uri,
        StartLine::Response { .. } => panic!("a forwarded request is a request"),
    };
    assert_eq!(forwarded.text(uri(forwarded)), edits.request_uri.unwrap_or(message.text(uri(message))));
    assert_eq!(forwarded.max_forwards(), Some(edits.max_forwards));
    if edits.max_breadth {
        assert_eq!(texts(forwarded, Name::MaxBreadth), [MAX_BREADTH.to_string().into_bytes()]);
    }

    let (before, after) = (vias(message), vias(forwarded));
    let OwnVia { transport, sent_by, branch } = edits.via;
    assert_eq!(after[0], [b"SIP/2.0/", transport.via_name().as_bytes(), b" ", sent_by, b";branch=", branch].concat());
    assert_eq!(before[1..], after[2..], "only the Via that was on top is touched");
    let stamped = value(forwarded, Name::Via, 1);
    let stamped = forwarded.parse_via(stamped).expect("what we stamped is a Via");
    let expected = edits.received.map(|ip| ip.to_string().into_bytes());
    let kept = message.via().received.map(|ip| message.text(ip).to_vec());
    assert_eq!(stamped.received.map(|ip| forwarded.text(ip).to_vec()), expected.or(kept));
    let rport = message.via().rport.map(|theirs| edits.rport.or(theirs));
    assert_eq!(stamped.rport, rport, "filled in where it was asked for");

    let record_routes = texts(message, Name::RecordRoute);
    let ours = edits
        .record_routes
        .iter()
        .map(|OwnRoute { sent_by, token }| [b"<sip:", *sent_by, b";lr;cl=", *token, b">"].concat());
    assert_eq!(texts(forwarded, Name::RecordRoute), ours.chain(record_routes).collect::<Vec<_>>());
    let mut routes = texts(message, Name::Route);
    if edits.drop_last_route {
        routes.pop();
    }
    let kept = routes.split_off(edits.strip_routes.min(routes.len()));
    assert_eq!(texts(forwarded, Name::Route), kept);
}

/// With other identities and without some headers it is otherwise what it is with nothing rewritten.
fn rewritten(message: &Message<'_>) {
    const GONE: [Name; 2] = [Name::Contact, Name::Supported];
    const FROM: &[u8] = b"\"F\" <sip:f@f>;tag=1";
    const TO: &[u8] = b"sip:t@t;tag=2";
    let rewrite = Rewrite { drop: Names::of(&GONE), ..Rewrite::identities(message, Some(FROM), Some(TO)) };
    let [plain, other] = [Rewrite::NOTHING, rewrite].map(|rewrite| {
        write(|out| match message.start() {
            StartLine::Request { .. } => write_request(message, &RequestEdits { rewrite, ..EDITS[1] }, out),
            StartLine::Response { .. } => write_response_with(message, &rewrite, out),
        })
    });
    // What does not parse without a change is for the other checks to judge.
    let Ok(plain) = Message::parse(&plain) else { return };
    let Some(other) = again(&other) else { return };
    assert_eq!((other.text(other.from().value), other.text(other.to().value)), (FROM, TO));
    assert!(GONE.iter().all(|name| other.first(*name).is_none()));
    let changed = [Name::From, Name::To, GONE[0], GONE[1]];
    assert_eq!(untouched(&plain, &changed), untouched(&other, &changed));
    assert_eq!(plain.body(), other.body());
}

/// ACK and CANCEL match the request hop by hop (RFC 3261 §17.1.1.3, §9.1).
fn hop(sent: &Message<'_>) {
    let acknowledged = write(|out| write_ack(sent, sent, out));
    let cancelled = write(|out| write_cancel(sent, b"Reason: SIP;cause=200\r\n", out));
    for written in [acknowledged, cancelled] {
        let Some(written) = again(&written) else { continue };
        assert_eq!(written.text(written.via().value), sent.text(sent.via().value));
        assert_eq!((written.call_id(), written.cseq().number), (sent.call_id(), sent.cseq().number));
        assert_eq!(written.text(written.from().value), sent.text(sent.from().value));
        assert_eq!(texts(&written, Name::Route), texts(sent, Name::Route));
        assert_eq!(vias(&written).len(), 1);
        assert!(written.body().is_empty());
    }
}

/// An answer has what ties it to its request, and a To tag unless it is a 100 (RFC 3261 §8.2.6).
fn answering(request: &Message<'_>, answered: &Message<'_>, status: u16) {
    assert!(matches!(answered.start(), StartLine::Response { status: written, .. } if written == status));
    assert_eq!(vias(answered), vias(request));
    assert_eq!(answered.text(answered.from().value), request.text(request.from().value));
    assert_eq!((answered.call_id(), answered.cseq().number), (request.call_id(), request.cseq().number));
    let tag = request.to().tag.map(|tag| request.text(tag)).or((status != 100).then_some(&b"ours"[..]));
    assert_eq!(answered.to().tag.map(|tag| answered.text(tag)), tag);
}

/// A response that is passed on loses its topmost Via and nothing else. Gives what was written where that is a message: below
/// the topmost Via nobody has looked.
fn response(message: &Message<'_>) -> Option<Vec<u8>> {
    let passed = write(|out| write_response(message, out));
    match Message::parse(&passed) {
        Ok(again) => {
            assert_eq!(untouched(message, &[Name::Via]), untouched(&again, &[Name::Via]));
            assert_eq!(vias(message)[1..], vias(&again)[..]);
            assert_eq!(message.body(), again.body());
        }
        Err(Malformed { error: ParseError::MissingHeader(Name::Via) | ParseError::BadHeader(Name::Via), .. }) => {
            return None;
        }
        Err(Malformed { error, .. }) => panic!("{error:?}: {}", passed.escape_ascii()),
    }
    Some(passed)
}

fn answer(status: u16) -> Answer<'static> {
    Answer { status, reason: b"Why", to_tag: Some(b"ours"), received: None, rport: None, lines: b"Retry-After: 3\r\n" }
}

fn write(fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut room = vec![0; ROOM];
    let mut writer = Writer::new(&mut room);
    fill(&mut writer);
    writer.finish().expect("twice the limit is room enough").to_vec()
}

/// What was written, read; `None` where what was added made it longer than a message may be.
fn again(written: &[u8]) -> Option<Message<'_>> {
    match Message::parse(written) {
        Ok(message) => Some(message),
        Err(Malformed { error: ParseError::TooManyHeaders | ParseError::TooLarge, .. }) => None,
        Err(Malformed { error, .. }) => panic!("{error:?}: {}", written.escape_ascii()),
    }
}

/// The fields that have none of these names, byte for byte.
fn untouched<'a>(message: &Message<'a>, names: &[Name]) -> Vec<&'a [u8]> {
    let fields = message.fields().iter().filter(|field| !names.contains(&field.name));
    fields.map(|field| message.text(field.line)).collect()
}

fn vias<'a>(message: &Message<'a>) -> Vec<&'a [u8]> {
    message.values(Name::Via).map(|value| message.text(value)).collect()
}

fn texts(message: &Message<'_>, name: Name) -> Vec<Vec<u8>> {
    message.values(name).map(|value| message.text(value).to_vec()).collect()
}

fn value(message: &Message<'_>, name: Name, place: usize) -> Span {
    message.values(name).nth(place).expect("as many as were counted")
}
