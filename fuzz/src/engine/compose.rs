//! Messages as peers put them together: from the engine's own, field by field.
//!
//! This reads with a scan of its own for lines, not with the parser that is under test, and gives nonsense for nonsense.

use std::io::Write;

use corelane_core::Endpoint;
use memchr::{memchr, memmem};

use super::site;
use crate::script::Script;

/// To tags that callees give. The last is none.
pub(super) const TAGS: [&str; 4] = ["callee", "fork", "other", ""];

/// Methods of requests inside a dialog.
pub(super) const IN_DIALOG: [&str; 16] = [
    "ACK",
    "BYE",
    "INVITE",
    "UPDATE",
    "PRACK",
    "INFO",
    "NOTIFY",
    "REFER",
    "MESSAGE",
    "OPTIONS",
    "CANCEL",
    "REGISTER",
    "SUBSCRIBE",
    "PUBLISH",
    "FLY",
    "BYE",
];

/// What may be dialled; routed are 49, 43, 44, 1 and 77-49.
const NUMBERS: [&str; 12] = [
    "sip:4930123456@10.0.0.1",
    "sip:43123456@10.0.0.1",
    "sip:+442071234567@10.0.0.1;user=phone",
    "tel:+1-201-555-0123",
    "sip:77494@10.0.0.1:5060;lr",
    "sip:4930123456;phone-context=x:secret@[2001:db8::1]",
    "sip:9@10.0.0.1",
    "sip:10.0.0.1",
    "sips:4930123456@10.0.0.1",
    "urn:service:sos",
    "sip:%34%39301@10.0.0.1",
    "sip:0000000000000000000000000000000000000000000004@10.0.0.1",
];

/// A description that an endpoint gives.
const SDP: &[u8] = b"v=0\r\ns=endpoint\r\n";

/// Fields that an INVITE may have besides.
const LINES: [&str; 16] = [
    "",
    "Supported: timer, 100rel\r\nSession-Expires: 90;refresher=uac\r\nMin-SE: 90\r\n",
    "Session-Expires: 1\r\n",
    "x: 4294967295\r\nMin-SE: 4294967296\r\nk: timer\r\n",
    "Proxy-Require: gin, sec-agree\r\n",
    "Route: <sip:10.0.0.1:5060;lr>\r\n",
    "Route: <sip:elsewhere.example;lr>\r\n",
    "Record-Route: <sip:192.0.2.99;lr>\r\nRecord-Route: <sip:192.0.2.98;lr>\r\n",
    "Via: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKbelow;received=192.0.2.78\r\n",
    "Privacy: id\r\nP-Asserted-Identity: <sip:+4930@example>\r\n",
    "Max-Breadth: 1\r\n",
    "Max-Breadth: 0\r\n",
    "Require: 100rel\r\nRSeq: 1\r\n",
    "Contact: *\r\n",
    "Contact: <sip:alice@nowhere.invalid;transport=tcp>\r\n",
    "Route: <sip:10.0.0.1:5060;lr;cl=AAAAAAAAAAAAAAAAAAAAAAAA>\r\n",
];

/// An INVITE that opens a call, or a request like one.
pub(super) struct Invite {
    pub(super) from: Endpoint,
    pub(super) listener: u8,
    method: &'static str,
    call: usize,
    number: &'static str,
    lines: &'static str,
    max_forwards: Option<u8>,
    branch: u8,
    rport: bool,
    body: usize,
}

impl Invite {
    /// Which of four Call-IDs and of four branches (`which`), and three bytes.
    pub(super) fn read(which: usize, script: &mut Script<'_>) -> Invite {
        let (who, what, how) = (script.byte(), script.byte(), script.byte());
        Invite {
            from: site::caller(usize::from(who & 7)),
            listener: who >> 3 & 1,
            method: if who < 0xe0 { "INVITE" } else { IN_DIALOG[usize::from(who & 15)] },
            call: which & 3,
            number: NUMBERS[usize::from(what & 15) % NUMBERS.len()],
            lines: LINES[usize::from(what >> 4)],
            max_forwards: match how & 3 {
                0 | 1 => Some(70),
                2 => Some(how >> 7),
                _ => None,
            },
            branch: (which >> 2) as u8,
            rport: how & 4 != 0,
            body: [SDP.len(), 0, 1300, 7600][usize::from(how >> 3 & 3)],
        }
    }

    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(512 + self.body);
        let Invite { method, number, from, branch, call, .. } = self;
        put(
            &mut text,
            format_args!("{method} {number} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-{call}-{branch}"),
        );
        text.extend_from_slice(if self.rport { b";rport\r\n" } else { b"\r\n" });
        text.extend_from_slice(self.lines.as_bytes());
        if let Some(hops) = self.max_forwards {
            put(&mut text, format_args!("Max-Forwards: {hops}\r\n"));
        }
        put(
            &mut text,
            format_args!(
                "From: <sip:alice@192.0.2.10>;tag=caller\r\nTo: <sip:bob@10.0.0.1>\r\nCall-ID: {call}@fuzz\r\nCSeq: 1 {method}\r\n\
                 Contact: <sip:alice@{from}>\r\nContent-Length: {}\r\n\r\n",
                self.body
            ),
        );
        let end = text.len() + self.body;
        text.extend_from_slice(SDP);
        text.resize(end, b'v');
        text
    }
}

/// A response of the peer that got `request`. `extra`: 1 a Contact, 2 no Record-Route, 4 a body and session timer.
pub(super) fn response(request: &[u8], status: u16, tag: &str, extra: u8) -> Vec<u8> {
    let mut text = Vec::with_capacity(request.len() + 256);
    put(&mut text, format_args!("SIP/2.0 {status} Whatever\r\n"));
    copy(&mut text, request, "Via");
    if extra & 2 == 0 {
        copy(&mut text, request, "Record-Route");
    }
    copy(&mut text, request, "From");
    to(&mut text, request, tag);
    copy(&mut text, request, "Call-ID");
    copy(&mut text, request, "CSeq");
    if extra & 1 == 0 {
        put(&mut text, format_args!("Contact: <sip:bob@198.51.100.20>\r\n"));
    }
    if extra & 4 == 0 {
        text.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    } else {
        text.extend_from_slice(b"Session-Expires: 1800;refresher=uas\r\nRequire: timer\r\nRSeq: 7\r\n");
        put(&mut text, format_args!("Content-Length: {}\r\n\r\n", SDP.len()));
        text.extend_from_slice(SDP);
    }
    text
}

/// ACK or CANCEL for an INVITE: same Request-URI, top Via, Call-ID and CSeq number.
pub(super) fn hop(invite: &[u8], method: &str, tag: Option<&str>) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    put(&mut text, format_args!("{method} "));
    text.extend_from_slice(request_uri(invite));
    text.extend_from_slice(b" SIP/2.0\r\n");
    if let Some(via) = fields(invite, "Via").next() {
        line(&mut text, "Via", via);
    }
    copy(&mut text, invite, "Route");
    copy(&mut text, invite, "From");
    match tag {
        Some(tag) => to(&mut text, invite, tag),
        None => copy(&mut text, invite, "To"),
    }
    copy(&mut text, invite, "Call-ID");
    cseq(&mut text, invite, 0, method);
    text.extend_from_slice(b"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n");
    text
}

/// A request inside the dialog that `base` belongs to: a response that the caller got, or a request that the callee got. `how`: CSeq 0–3 up
/// (bits 0, 1), another tag (2), no Route (3), strict routing (4), session timer and a
/// body (5).
pub(super) fn in_dialog(base: &[u8], by_caller: bool, method: &str, branch: &str, how: u8) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    let mut routes: Vec<&[u8]> = fields(base, "Record-Route").collect();
    if by_caller {
        routes.reverse();
    }
    let target = match fields(base, "Contact").next().and_then(in_brackets) {
        Some(contact) => contact,
        None => b"sip:bob@198.51.100.20",
    };
    put(&mut text, format_args!("{method} "));
    let strict = how & 0x10 != 0 && !routes.is_empty();
    text.extend_from_slice(if strict { in_brackets(routes[0]).unwrap_or(target) } else { target });
    put(&mut text, format_args!(" SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch={branch}\r\n"));
    if how & 8 == 0 {
        for route in routes.iter().skip(usize::from(strict)) {
            line(&mut text, "Route", route);
        }
        if strict {
            text.extend_from_slice(b"Route: <");
            text.extend_from_slice(target);
            text.extend_from_slice(b">\r\n");
        }
    }
    let tag = if how & 4 == 0 { TAGS[0] } else { TAGS[1] };
    if by_caller {
        copy(&mut text, base, "From");
        to(&mut text, base, tag);
    } else {
        // Turned round: the callee speaks.
        put(&mut text, format_args!("From: "));
        text.extend_from_slice(fields(base, "To").next().unwrap_or_default());
        if !tagged(base) {
            put(&mut text, format_args!(";tag={tag}"));
        }
        text.extend_from_slice(b"\r\n");
        line(&mut text, "To", fields(base, "From").next().unwrap_or_default());
    }
    copy(&mut text, base, "Call-ID");
    cseq(&mut text, base, u32::from(how & 3), method);
    text.extend_from_slice(b"Max-Forwards: 70\r\nRAck: 7 1 INVITE\r\n");
    if how & 0x20 != 0 {
        text.extend_from_slice(b"Supported: timer\r\nSession-Expires: 5;refresher=uas\r\n");
    }
    let body = if how & 0x20 != 0 { SDP } else { b"" };
    put(&mut text, format_args!("Contact: <sip:moved@192.0.2.10:6060>\r\nContent-Length: {}\r\n\r\n", body.len()));
    text.extend_from_slice(body);
    text
}

/// A message as another proxy hands it on. `how`: 1 it writes a Via, 2 it dials another number.
pub(super) fn through_a_proxy(message: &[u8], how: u8) -> Vec<u8> {
    let mut text = Vec::with_capacity(message.len() + 128);
    let (first, rest) = message.split_at(memchr(b'\n', message).map_or(0, |at| at + 1));
    if how & 2 != 0 && is_request(message) {
        text.extend_from_slice(b"INVITE sip:43999@10.0.0.1 SIP/2.0\r\n");
    } else {
        text.extend_from_slice(first);
    }
    if how & 1 != 0 {
        text.extend_from_slice(b"Via: SIP/2.0/UDP 198.51.100.20;branch=z9hG4bKspiral\r\n");
    }
    text.extend_from_slice(rest);
    text
}

/// Puts the first field `name` of `donor` in the place of that of `message`.
pub(super) fn transplant(message: &[u8], name: &str, donor: &[u8]) -> Vec<u8> {
    let (Some(old), Some(new)) = (fields(message, name).next(), fields(donor, name).next()) else {
        return message.to_vec();
    };
    let at = old.as_ptr().addr() - message.as_ptr().addr();
    [&message[..at], new, &message[at + old.len()..]].concat()
}

pub(super) fn is_request(message: &[u8]) -> bool {
    !is_response(message)
}

pub(super) fn is_response(message: &[u8]) -> bool {
    message.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/2.0 "))
}

/// The values of all fields of this name, as they stand.
pub(super) fn fields<'a>(message: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let name = name.as_bytes();
    let mut rest = message;
    core::iter::from_fn(move || {
        loop {
            let end = memchr(b'\n', rest)?;
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            if line.is_empty() {
                return None;
            }
            rest = &rest[end + 1..];
            if let Some((key, value)) = line.split_at_checked(name.len())
                && let Some(value) = value.strip_prefix(b":")
                && key.eq_ignore_ascii_case(name)
            {
                return Some(value.trim_ascii());
            }
        }
    })
}

fn request_uri(message: &[u8]) -> &[u8] {
    message.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
}

fn in_brackets(value: &[u8]) -> Option<&[u8]> {
    let start = memchr(b'<', value)? + 1;
    let end = memchr(b'>', value)?;
    value.get(start..end)
}

fn tagged(message: &[u8]) -> bool {
    fields(message, "To").any(|value| memmem::find(value, b";tag=").is_some())
}

fn put(text: &mut Vec<u8>, what: core::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("memory takes everything");
}

fn line(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    put(text, format_args!("{name}: "));
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

fn copy(text: &mut Vec<u8>, from: &[u8], name: &str) {
    for value in fields(from, name) {
        line(text, name, value);
    }
}

/// To, with a tag where it has none yet.
fn to(text: &mut Vec<u8>, from: &[u8], tag: &str) {
    put(text, format_args!("To: "));
    text.extend_from_slice(fields(from, "To").next().unwrap_or_default());
    if !tag.is_empty() && !tagged(from) {
        put(text, format_args!(";tag={tag}"));
    }
    text.extend_from_slice(b"\r\n");
}

fn cseq(text: &mut Vec<u8>, from: &[u8], up: u32, method: &str) {
    let number = fields(from, "CSeq").next().and_then(|value| {
        let digits = value.split(|byte| *byte == b' ').next()?;
        str::from_utf8(digits).ok()?.parse::<u32>().ok()
    });
    put(text, format_args!("CSeq: {} {method}\r\n", number.unwrap_or(1).wrapping_add(up)));
}
