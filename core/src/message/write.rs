//! Messages written by copying spans of the one that came in.

use super::{IpAddr, Message};
use crate::memory::Full;

/// A bounded output. Overflow is remembered and reported once, at the end.
pub struct Writer<'b> {
    out: &'b mut [u8],
    length: usize,
    overflow: bool,
}

impl<'b> Writer<'b> {
    /// Writes into `out` from its start.
    #[must_use]
    pub fn new(out: &'b mut [u8]) -> Writer<'b> {
        Writer { out, length: 0, overflow: false }
    }
    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        todo!()
    }
    /// Appends a decimal number.
    pub fn put_number(&mut self, number: u32) {
        todo!()
    }
    /// Appends an address; IPv6 in brackets where `reference` (sent-by, URIs), bare otherwise (`received`).
    pub fn put_ip(&mut self, ip: IpAddr, reference: bool) {
        todo!()
    }
    /// What was written, or [`Full`] when it did not fit.
    pub fn finish(self) -> Result<&'b [u8], Full> {
        todo!()
    }
}

/// What a forwarded request differs in from the one that came (RFC 3261 §16.6).
pub struct RequestEdits<'e> {
    /// The new Request-URI; `None` keeps it.
    pub request_uri: Option<&'e [u8]>,
    /// Our complete Via value; written as a field of its own before all others.
    pub via: &'e [u8],
    /// Added to the Via value that was topmost (RFC 3261 §18.2.1), replacing one that is there.
    pub received: Option<IpAddr>,
    /// The value of its `rport` (RFC 3581 §4), where the parameter is there.
    pub rport: Option<u16>,
    /// Complete Record-Route values, topmost first, written before the others.
    pub record_routes: &'e [&'e [u8]],
    /// How many Route values to remove from the top.
    pub strip_routes: usize,
    /// Removes the last Route value (strict-router repair, RFC 3261 §16.4).
    pub drop_last_route: bool,
    /// The Max-Forwards to write, in place or as a new field.
    pub max_forwards: u8,
}

/// Writes the request with the edits; the rest is kept byte for byte.
pub fn write_request(message: &Message<'_>, edits: &RequestEdits<'_>, out: &mut Writer<'_>) {
    todo!()
}

/// Writes the response without its topmost Via value (RFC 3261 §16.7 step 3).
pub fn write_response(message: &Message<'_>, out: &mut Writer<'_>) {
    todo!()
}

/// A response that Corelane itself gives.
pub struct Answer<'e> {
    /// Status code.
    pub status: u16,
    /// Reason phrase.
    pub reason: &'e [u8],
    /// To tag, added when the request's To has none (never for 100).
    pub to_tag: Option<&'e [u8]>,
    /// As in [`RequestEdits`].
    pub received: Option<IpAddr>,
    /// As in [`RequestEdits`].
    pub rport: Option<u16>,
    /// Further complete header lines, each with its CR LF.
    pub lines: &'e [u8],
}

/// Writes an answer to `request` (RFC 3261 §8.2.6): every Via, From, To, Call-ID, CSeq in order, `lines`, no body.
pub fn write_answer(request: &Message<'_>, answer: &Answer<'_>, out: &mut Writer<'_>) {
    todo!()
}

/// Writes the ACK for a non-2xx final `response` to `sent`, the request as it was sent (RFC 3261 §17.1.1.3).
pub fn write_ack(sent: &Message<'_>, response: &Message<'_>, out: &mut Writer<'_>) {
    todo!()
}

/// Writes the CANCEL of `sent`, the INVITE as it was sent (RFC 3261 §9.1); `reason` is a complete Reason line or empty.
pub fn write_cancel(sent: &Message<'_>, reason: &[u8], out: &mut Writer<'_>) {
    todo!()
}
