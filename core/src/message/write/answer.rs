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

/// Writes an answer to `request` (RFC 3261 §8.2.6): every Via, From, To, Call-ID, CSeq in order (and Timestamp in a 100, §8.2.6.1), `lines`,
/// no body. A [`Malformed::partial`](crate::message::Malformed::partial) can be answered too.
pub fn write_answer(request: &Message<'_>, answer: &Answer<'_>, out: &mut Writer<'_>) {
    out.put(b"SIP/2.0 ");
    out.put_number(u32::from(answer.status));
    out.put(b" ");
    out.put(answer.reason);
    out.put(b"\r\n");
    let mut copier = Copier::new(request, out);
    let mut written = [false; Name::COUNT];
    for field in request.fields() {
        let first = !core::mem::replace(&mut written[field.name as usize], true);
        let copied = match field.name {
            Name::Via => true,
            Name::From | Name::To | Name::CallId | Name::CSeq => first,
            Name::Timestamp => first && answer.status == 100,
            _ => false,
        };
        if !copied {
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
        {
            copier.out.put(b";tag=");
            copier.out.put(tag);
        }
        copier.out.put(b"\r\n");
    }
    out.put(answer.lines);
    out.put(b"Content-Length: 0\r\n\r\n");
}
