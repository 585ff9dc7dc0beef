//! Responses that Corelane itself gives (RFC 3261 §8.2.6).

use core::net::IpAddr;

use super::{Copier, Writer};
use crate::message::{Message, Name};

/// A response that Corelane itself gives.
pub struct Answer<'e> {
    /// Status code.
    pub status: u16,
    /// Reason phrase.
    pub reason: &'e [u8],
    /// To tag, added when the request's To has none (never for 100).
    pub to_tag: Option<&'e [u8]>,
    /// As in [`RequestEdits`](super::RequestEdits).
    pub received: Option<IpAddr>,
    /// As in [`RequestEdits`](super::RequestEdits).
    pub rport: Option<u16>,
    /// Further complete header lines, each with its CR LF.
    pub lines: &'e [u8],
}

/// The names of the fields that an answer has from its request.
const NAMES: [Name; 6] = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq, Name::Timestamp];

/// The same, a bit each.
const COPIED: u64 = {
    let (mut bits, mut at) = (0, 0);
    while at < NAMES.len() {
        bits |= 1u64 << NAMES[at] as u8;
        at += 1;
    }
    bits
};
const _: () = assert!(Name::COUNT <= 64, "a bit for each name");

/// Writes an answer to `request` (RFC 3261 §8.2.6): every Via, From, To, Call-ID, CSeq in order (and Timestamp in a 100, §8.2.6.1), `lines`,
/// no body. A [`Malformed::partial`](crate::message::Malformed::partial) can be answered too.
pub fn write_answer(request: &Message<'_>, answer: &Answer<'_>, out: &mut Writer<'_>) {
    out.put(b"SIP/2.0 ");
    out.put_number(u32::from(answer.status));
    out.put(b" ");
    out.put(answer.reason);
    out.put(b"\r\n");
    let mut copier = Copier::new(request, out);
    let mut written = 0u64;
    for field in request.fields_up_to(&NAMES) {
        let bit = 1u64 << (field.name as u8 % 64);
        if COPIED & bit == 0 {
            continue;
        }
        let first = written & bit == 0;
        written |= bit;
        // Of what may be there once a request with a fault may have two (`Malformed::partial`).
        if !(first || field.name == Name::Via) || (field.name == Name::Timestamp && answer.status != 100) {
            continue;
        }
        copier.drop_to(field.line.first());
        if field.name == Name::Via && first {
            copier.stamp(&request.via(), answer.received, answer.rport);
        }
        copier.keep_to(field.value.last());
        if field.name == Name::To
            && let Some(tag) = answer.to_tag
            && request.to().tag.is_none()
            && answer.status != 100
            // One that could not be read is repeated as it came: nobody knows what is in it already.
            && !request.to().uri.is_empty()
        {
            copier.put(b";tag=");
            copier.put(tag);
        }
        // The field's own line end, unless it is a bare LF or has blanks before it.
        let end = field.line.last() - field.value.last();
        if end == 2 && copier.bytes[field.value.last()] == b'\r' {
            copier.keep_to(field.line.last());
        } else {
            copier.put(b"\r\n");
        }
    }
    copier.finish();
    out.put(answer.lines);
    out.put(b"Content-Length: 0\r\n\r\n");
}
