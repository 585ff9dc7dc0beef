//! The two requests that are made from another one and live for one hop: ACK for a failure (RFC 3261 §17.1.1.3) and CANCEL (§9.1).
//!
//! Both have the Request-URI, Call-ID, From, CSeq number, topmost Via and Route of the request as it was sent, and no body.

use super::Writer;
use crate::message::{Message, Name, StartLine};

/// Writes the ACK for a non-2xx final `response` to `sent`, the request as it was sent (RFC 3261 §17.1.1.3). To is the
/// response's.
///
/// # Panics
/// When `sent` is a response: our bug.
pub fn write_ack(sent: &Message<'_>, response: &Message<'_>, out: &mut Writer<'_>) {
    write_hop(sent, b"ACK", response.text(response.to().value), b"", out);
}

/// Writes the CANCEL of `sent`, the INVITE as it was sent (RFC 3261 §9.1); `reason` is a complete Reason line or empty.
///
/// # Panics
/// When `sent` is a response: our bug.
pub fn write_cancel(sent: &Message<'_>, reason: &[u8], out: &mut Writer<'_>) {
    write_hop(sent, b"CANCEL", sent.text(sent.to().value), reason, out);
}

fn write_hop(sent: &Message<'_>, method: &[u8], to: &[u8], lines: &[u8], out: &mut Writer<'_>) {
    let StartLine::Request { uri, .. } = sent.start() else {
        panic!("a response is neither acknowledged nor cancelled");
    };
    out.put(method);
    out.put(b" ");
    out.put(sent.text(uri));
    out.put(b" SIP/2.0\r\nVia: ");
    out.put(sent.text(sent.via().value));
    out.put(b"\r\nMax-Forwards: 70\r\n");
    for route in sent.fields().iter().filter(|field| field.name == Name::Route) {
        out.put(sent.text(route.line));
    }
    out.put(b"From: ");
    out.put(sent.text(sent.from().value));
    out.put(b"\r\nTo: ");
    out.put(to);
    out.put(b"\r\nCall-ID: ");
    out.put(sent.call_id());
    out.put(b"\r\nCSeq: ");
    out.put_number(sent.cseq().number);
    out.put(b" ");
    out.put(method);
    out.put(b"\r\n");
    out.put(lines);
    out.put(b"Content-Length: 0\r\n\r\n");
}
