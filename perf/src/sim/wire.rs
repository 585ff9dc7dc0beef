//! What the endpoints of the simulated world say and how they read it: names that lead back to a call, requests, responses.
//!
//! ```text
//!   Call-ID   <check>-<call>-sim          8 hexadecimal digits each; the check follows from seed and number, so that a
//!                                         Call-ID with a changed byte is nobody's
//!   branch    z9hG4bK<call><leg><serial>  8, 4 and 8 digits: whose transaction a response is for
//!   From tag  c<call>                     the caller's
//!   To tag    g<host><leg><fork>          2, 4 and 2 digits: which gateway said it, in which leg, for which fork
//! ```

use super::network::Party;
use super::random::mix;
use super::sdp::Sdp;
use crate::wire::{Message, decimal, hex, put};

const MAGIC: &[u8] = b"z9hG4bK";

/// The methods that the world speaks.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Prack,
    Update,
    Info,
    Options,
    Other,
}

impl Method {
    const NAMES: [(Method, &'static [u8]); 8] = [
        (Method::Invite, b"INVITE"),
        (Method::Ack, b"ACK"),
        (Method::Bye, b"BYE"),
        (Method::Cancel, b"CANCEL"),
        (Method::Prack, b"PRACK"),
        (Method::Update, b"UPDATE"),
        (Method::Info, b"INFO"),
        (Method::Options, b"OPTIONS"),
    ];

    pub(super) fn name(self) -> &'static [u8] {
        Method::NAMES.iter().find(|(method, _)| *method == self).map_or(b"MESSAGE", |(_, name)| name)
    }

    pub(super) fn of(name: &[u8]) -> Method {
        Method::NAMES.iter().find(|(_, known)| *known == name).map_or(Method::Other, |(method, _)| *method)
    }
}

/// The check of a call's number under a seed.
pub(super) fn check(seed: u64, call: u32) -> u32 {
    mix(seed ^ u64::from(call) << 32 ^ 0x5349_4d00) as u32
}

/// The Call-ID of a call.
pub(super) fn write_call_id(out: &mut Vec<u8>, seed: u64, call: u32) {
    hex(out, check(seed, call));
    out.push(b'-');
    hex(out, call);
    out.extend_from_slice(b"-sim");
}

/// Whose transaction a branch names: call, leg, serial.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Branch {
    pub(super) call: u32,
    pub(super) leg: u16,
    pub(super) serial: u32,
}

impl Branch {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        hex(out, self.call);
        hex(out, u32::from(self.leg));
        hex(out, self.serial);
    }

    /// The branch of a Via value, where it is one of the world's.
    pub(super) fn read(via: &[u8]) -> Option<Branch> {
        let at = memchr::memmem::find(via, b";branch=z9hG4bK")? + 15;
        let digits = via.get(at..at + 24)?;
        if via.get(at + 24).is_some_and(|byte| *byte != b';') {
            return None;
        }
        let leg = u16::try_from(number(&digits[8..16])?).ok()?;
        Some(Branch { call: number(&digits[..8])?, leg, serial: number(&digits[16..])? })
    }
}

/// The branch of a Via value as text: the key of a server transaction.
pub(super) fn branch_text(via: &[u8]) -> &[u8] {
    let Some(at) = memchr::memmem::find(via, b";branch=") else { return b"" };
    let rest = &via[at + 8..];
    &rest[..memchr::memchr(b';', rest).unwrap_or(rest.len())]
}

/// The tag of a From or To value.
pub(super) fn tag(value: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(value, b";tag=")? + 5;
    let rest = &value[at..];
    Some(&rest[..memchr::memchr(b';', rest).unwrap_or(rest.len())])
}

/// A gateway's tag.
pub(super) fn write_gateway_tag(out: &mut Vec<u8>, host: u8, leg: u16, fork: u8) {
    out.push(b'g');
    hex(out, u32::from(host) << 24 | u32::from(leg) << 8 | u32::from(fork));
}

/// Which gateway, leg and fork a tag is of.
pub(super) fn read_gateway_tag(tag: &[u8]) -> Option<(u8, u16, u8)> {
    let [b'g', digits @ ..] = tag else { return None };
    let value = (digits.len() == 8).then(|| number(digits))??;
    Some(((value >> 24) as u8, (value >> 8) as u16, value as u8))
}

/// The number of hexadecimal digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, byte| Some(value << 4 | char::from(*byte).to_digit(16)?))
}

/// The value of the first header of a name, case as written.
pub(super) fn header<'m>(bytes: &'m [u8], name: &[u8]) -> Option<&'m [u8]> {
    let mut rest = bytes;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = rest[..end].trim_ascii_end();
        if line.is_empty() {
            return None;
        }
        rest = &rest[end + 1..];
        if let Some(value) = line.strip_prefix(name).and_then(|value| value.strip_prefix(b":")) {
            return Some(value.trim_ascii());
        }
    }
    None
}

/// A decimal number at the start of a value.
pub(super) fn leading_number(value: &[u8]) -> u32 {
    value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0u32, |number, byte| number.wrapping_mul(10).wrapping_add(u32::from(byte - b'0')))
}

/// The method of a request's first line, or of a response's CSeq.
pub(super) fn cseq_method(message: &Message<'_>) -> Method {
    Method::of(message.cseq_method())
}

/// All of a request that differs from one to the next. Header values are written as they are.
pub(super) struct Request<'r> {
    pub(super) method: Method,
    pub(super) uri: &'r [u8],
    pub(super) from_party: Party,
    pub(super) branch: Branch,
    pub(super) route: &'r [u8],
    pub(super) from: &'r [u8],
    pub(super) to: &'r [u8],
    pub(super) seed: u64,
    pub(super) cseq: u32,
    /// Further header lines, each with its end.
    pub(super) lines: &'r [u8],
    pub(super) body: Option<Sdp>,
}

impl Request<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put(out, &[self.method.name(), b" ", self.uri, b" SIP/2.0\r\nVia: SIP/2.0/UDP "]);
        out.extend_from_slice(self.from_party.text().as_bytes());
        out.extend_from_slice(b";branch=");
        self.branch.write(out);
        out.extend_from_slice(b"\r\nMax-Forwards: 70\r\n");
        if !self.route.is_empty() {
            put(out, &[b"Route: ", self.route, b"\r\n"]);
        }
        put(out, &[b"From: ", self.from, b"\r\nTo: ", self.to, b"\r\nCall-ID: "]);
        write_call_id(out, self.seed, self.branch.call);
        out.extend_from_slice(b"\r\nCSeq: ");
        decimal(out, self.cseq.into());
        put(out, &[b" ", self.method.name(), b"\r\n", self.lines]);
        if matches!(self.method, Method::Invite | Method::Update) {
            write_contact(out, self.from_party);
        }
        write_end(out, self.body);
    }
}

/// What a response says beyond its request.
#[derive(Copy, Clone)]
pub(super) struct Response<'r> {
    pub(super) status: u16,
    /// The tag to add where the request's To has none.
    pub(super) to_tag: &'r [u8],
    pub(super) lines: &'r [u8],
    /// The party that answers, where a Contact belongs.
    pub(super) contact: Option<Party>,
    pub(super) body: Option<Sdp>,
}

impl Response<'_> {
    /// Answers `request`, whose bytes have been scanned (RFC 3261 §8.2.6).
    pub(super) fn write(&self, out: &mut Vec<u8>, request: &Message<'_>) {
        out.extend_from_slice(b"SIP/2.0 ");
        decimal(out, self.status.into());
        out.extend_from_slice(b" Sim\r\n");
        for via in request.vias() {
            put(out, &[b"Via: ", via, b"\r\n"]);
        }
        for value in request.record_routes() {
            put(out, &[b"Record-Route: ", value, b"\r\n"]);
        }
        put(out, &[b"From: ", request.from, b"\r\nTo: ", request.to]);
        if !request.has_to_tag() && !self.to_tag.is_empty() {
            put(out, &[b";tag=", self.to_tag]);
        }
        put(out, &[b"\r\nCall-ID: ", request.call_id, b"\r\nCSeq: ", request.cseq, b"\r\n", self.lines]);
        if let Some(party) = self.contact {
            write_contact(out, party);
        }
        write_end(out, self.body);
    }
}

fn write_contact(out: &mut Vec<u8>, party: Party) {
    put(out, &[b"Contact: <sip:peer@", party.text().as_bytes(), b">\r\n"]);
}

fn write_end(out: &mut Vec<u8>, body: Option<Sdp>) {
    let Some(sdp) = body else { return out.extend_from_slice(b"Content-Length: 0\r\n\r\n") };
    let mut text = Vec::with_capacity(256);
    sdp.write(&mut text);
    out.extend_from_slice(b"Content-Type: application/sdp\r\nContent-Length: ");
    decimal(out, text.len() as u64);
    put(out, &[b"\r\n\r\n", &text]);
}

#[cfg(test)]
mod tests {
    use super::super::sdp::Origin;
    use super::*;

    #[test]
    fn a_request_scans_and_leads_back() {
        let branch = Branch { call: 0x1234, leg: 3, serial: 9 };
        let mut out = Vec::new();
        let party = Party::Caller(2);
        let request = Request {
            method: Method::Invite,
            uri: b"sip:49@10.0.0.1",
            from_party: party,
            branch,
            route: b"",
            from: b"<sip:a@b>;tag=c1",
            to: b"<sip:49@c>",
            seed: 7,
            cseq: 1,
            lines: b"",
            body: Some(Sdp { party, of: Origin { call: 0x1234, leg: 3, number: 1 } }),
        };
        request.write(&mut out);
        let message = Message::scan(&out).expect("a message");
        assert_eq!((message.call, message.run), (0x1234, check(7, 0x1234)));
        assert_eq!(Branch::read(message.vias()[0]), Some(branch));
        assert_eq!(branch_text(message.vias()[0]).len(), 31);
        assert_eq!(tag(message.from), Some(&b"c1"[..]));
        let body = memchr::memmem::find(&out, b"\r\n\r\n").map(|end| out.len() - end - 4);
        assert_eq!(header(&out, b"Content-Length").map(|value| leading_number(value) as usize), body);
        let mut answer = Vec::new();
        let response = Response { status: 180, to_tag: b"g1", lines: b"", contact: Some(party), body: None };
        response.write(&mut answer, &message);
        let answer = Message::scan(&answer).expect("a message");
        assert_eq!((answer.call, tag(answer.to)), (0x1234, Some(&b"g1"[..])));
    }

    #[test]
    fn gateway_tags_lead_back() {
        let mut tag = Vec::new();
        write_gateway_tag(&mut tag, 5, 300, 2);
        assert_eq!(read_gateway_tag(&tag), Some((5, 300, 2)));
        assert_eq!(read_gateway_tag(b"c00000000"), None);
    }
}
