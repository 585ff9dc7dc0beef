//! Messages written by copying spans of the one that came in.
//!
//! A writer of a message moves through the original from front to back: it keeps what is unchanged in runs as long as they go
//! (one copy each), puts in what is new and leaves out what goes. So everything that Corelane does not understand comes out
//! byte for byte and in its order.
//!
//! `request.rs` forwards a request, `response.rs` a response, `answer.rs` writes our own responses, `hop.rs` the two requests
//! that are made from another one for one hop: ACK and CANCEL, `own.rs` those by which Corelane ends a call; `rewrite.rs` is what of
//! From, To and others leaves another way than it came; `body.rs` is a message with another body.

mod answer;
mod body;
mod hop;
mod own;
mod request;
mod response;
mod rewrite;
mod writer;

use core::net::IpAddr;

use super::{Message, Via};

pub use answer::{Answer, write_answer};
pub(crate) use body::write_body;
pub use hop::{write_ack, write_cancel};
pub use own::{OwnRequest, write_own_request};
pub use request::{OwnRoute, OwnVia, RequestEdits, write_request};
pub use response::{write_response, write_response_with};
pub use rewrite::{Patch, Rewrite};
pub use writer::Writer;

/// Moves through the bytes of a message. What is kept is copied when something else comes: pieces that follow each other go in one copy.
struct Copier<'m, 'w, 'b> {
    bytes: &'m [u8],
    /// The run that is kept and not copied yet.
    run: (usize, usize),
    out: &'w mut Writer<'b>,
}

impl<'m, 'w, 'b> Copier<'m, 'w, 'b> {
    fn new(message: &Message<'m>, out: &'w mut Writer<'b>) -> Copier<'m, 'w, 'b> {
        Copier { bytes: message.bytes(), run: (0, 0), out }
    }

    /// Keeps up to `end`.
    #[inline(always)]
    fn keep_to(&mut self, end: usize) {
        self.run.1 = end;
    }

    /// Leaves out up to `start`.
    #[inline(always)]
    fn drop_to(&mut self, start: usize) {
        if self.run.1 != start {
            self.finish();
            self.run = (start, start);
        }
    }

    /// Puts in what is new.
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        self.finish();
        self.out.put(bytes);
    }

    /// Puts in a number.
    #[inline(always)]
    fn put_number(&mut self, number: u32) {
        self.finish();
        self.out.put_number(number);
    }

    /// Puts in an address as `received` has it.
    #[inline(always)]
    fn put_ip(&mut self, ip: IpAddr) {
        self.finish();
        self.out.put_ip(ip, false);
    }

    /// Keeps the rest.
    #[inline(always)]
    fn keep_rest(mut self) {
        self.keep_to(self.bytes.len());
        self.finish();
    }

    /// Copies what is kept so far.
    #[inline(always)]
    fn finish(&mut self) {
        let (start, end) = self.run;
        if start < end {
            self.out.put_part(self.bytes, start, end);
            self.run.0 = end;
        }
    }

    /// Copies the topmost Via value with what the transport learned (RFC 3261 §18.2.1, RFC 3581 §4): `received` is put in place
    /// of the one there or behind the value, `rport` filled in where the peer asked for it. Starts wherever the copier is
    /// before the value, ends within it or at its end.
    #[inline(always)]
    fn stamp(&mut self, via: &Via, received: Option<IpAddr>, rport: Option<u16>) {
        if via.received.is_some() {
            return self.stamp_again(via, received, rport);
        }
        if let (Some(port), Some(_)) = (rport, via.rport) {
            self.fill_rport(via, port);
        }
        if let Some(ip) = received {
            self.keep_to(via.value.last());
            self.put(b";received=");
            self.put_ip(ip);
        }
    }

    /// The same where a `received` is there already.
    #[cold]
    #[inline(never)]
    fn stamp_again(&mut self, via: &Via, received: Option<IpAddr>, rport: Option<u16>) {
        let old = received.and(via.received);
        let early = old.filter(|old| old.start < via.rport_param.start);
        let late = old.filter(|old| old.start >= via.rport_param.start);
        if let (Some(ip), Some(old)) = (received, early) {
            self.keep_to(old.first());
            self.put_ip(ip);
            self.drop_to(old.last());
        }
        if let (Some(port), Some(_)) = (rport, via.rport) {
            self.fill_rport(via, port);
        }
        if let (Some(ip), Some(old)) = (received, late) {
            self.keep_to(old.first());
            self.put_ip(ip);
            self.drop_to(old.last());
        }
    }

    #[inline(always)]
    fn fill_rport(&mut self, via: &Via, port: u16) {
        self.keep_to(via.rport_param.first());
        self.put(b"rport=");
        self.put_number(u32::from(port));
        self.drop_to(via.rport_param.last());
    }
}
