//! Messages written by copying spans of the one that came in.
//!
//! A writer of a message moves through the original from front to back: it keeps what is unchanged in runs as long as they go
//! (one copy each), puts in what is new and leaves out what goes. So everything that Corelane does not understand comes out
//! byte for byte and in its order.
//!
//! `request.rs` forwards a request, `response.rs` a response, `answer.rs` writes our own responses, `hop.rs` the two requests
//! that are made from another one for one hop: ACK and CANCEL.

mod answer;
mod hop;
mod request;
mod response;
mod writer;

use core::net::IpAddr;

use super::{Message, Via};

pub use answer::{Answer, write_answer};
pub use hop::{write_ack, write_cancel};
pub use request::{RequestEdits, write_request};
pub use response::write_response;
pub use writer::Writer;

/// Moves through the bytes of a message.
struct Copier<'m, 'w, 'b> {
    bytes: &'m [u8],
    /// What is before this is dealt with.
    at: usize,
    out: &'w mut Writer<'b>,
}

impl<'m, 'w, 'b> Copier<'m, 'w, 'b> {
    fn new(message: &Message<'m>, out: &'w mut Writer<'b>) -> Copier<'m, 'w, 'b> {
        Copier { bytes: message.bytes(), at: 0, out }
    }

    /// Copies up to `end`.
    #[inline]
    fn keep_to(&mut self, end: usize) {
        self.out.put(&self.bytes[self.at..end]);
        self.at = end;
    }

    /// Copies the rest.
    #[inline]
    fn keep_rest(&mut self) {
        self.keep_to(self.bytes.len());
    }

    /// Leaves out up to `end`.
    #[inline]
    fn drop_to(&mut self, end: usize) {
        self.at = end;
    }

    /// Copies the topmost Via value with what the transport learned (RFC 3261 §18.2.1, RFC 3581 §4): `received` is put in place
    /// of the one there or behind the value, `rport` filled in where the peer asked for it. Starts wherever the copier is
    /// before the value, ends within it or at its end.
    fn stamp(&mut self, via: &Via, received: Option<IpAddr>, rport: Option<u16>) {
        let old = received.and(via.received);
        let early = old.filter(|old| old.start < via.rport_param.start);
        let late = old.filter(|old| old.start >= via.rport_param.start);
        if let (Some(ip), Some(old)) = (received, early) {
            self.keep_to(old.first());
            self.out.put_ip(ip, false);
            self.drop_to(old.last());
        }
        if let (Some(port), Some(_)) = (rport, via.rport) {
            self.keep_to(via.rport_param.first());
            self.out.put(b"rport=");
            self.out.put_number(u32::from(port));
            self.drop_to(via.rport_param.last());
        }
        if let (Some(ip), Some(old)) = (received, late) {
            self.keep_to(old.first());
            self.out.put_ip(ip, false);
            self.drop_to(old.last());
        }
        if let (Some(ip), None) = (received, via.received) {
            self.keep_to(via.value.last());
            self.out.put(b";received=");
            self.out.put_ip(ip, false);
        }
    }
}
