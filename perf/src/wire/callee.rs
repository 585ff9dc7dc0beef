//! What the called endpoint writes: 100, 180, 200 to an INVITE, 200 to a BYE.
//!
//! A response repeats Via, Record-Route, From, To, Call-ID and CSeq of its request (RFC 3261 §8.2.6.2, §12.1.1). The To tag
//! follows from the number of the call, so that a retransmitted request gets the same answer without any memory.

use std::net::SocketAddr;

use super::{Message, hex, put, session};

/// Everything of a callee's messages that all calls share.
pub struct Callee {
    contact: Vec<u8>,
    tail: Vec<u8>,
}

impl Callee {
    /// A callee at `local`.
    #[must_use]
    pub fn new(local: SocketAddr) -> Callee {
        let body = session(&local.ip().to_string(), 40_000);
        let mut tail = format!(
            "Server: Gateway/4.0.3\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        tail.extend_from_slice(&body);
        Callee { contact: format!("Contact: <sip:gw@{local};transport=udp>\r\n").into_bytes(), tail }
    }

    /// Appends the 100: no tag, no Record-Route.
    pub fn write_trying(&self, out: &mut Vec<u8>, invite: &Message<'_>) {
        write_head(out, b"SIP/2.0 100 Trying\r\n", invite, false);
        put(out, &[b"\r\n", NO_BODY]);
    }

    /// Appends the 180.
    pub fn write_ringing(&self, out: &mut Vec<u8>, invite: &Message<'_>) {
        write_head(out, b"SIP/2.0 180 Ringing\r\n", invite, true);
        write_tag(out, invite);
        put(out, &[&self.contact, NO_BODY]);
    }

    /// Appends the 200 to an INVITE.
    pub fn write_answer(&self, out: &mut Vec<u8>, invite: &Message<'_>) {
        write_head(out, b"SIP/2.0 200 OK\r\n", invite, true);
        write_tag(out, invite);
        put(out, &[&self.contact, &self.tail]);
    }

    /// Appends the 200 to a BYE.
    pub fn write_bye_answer(&self, out: &mut Vec<u8>, bye: &Message<'_>) {
        write_head(out, b"SIP/2.0 200 OK\r\n", bye, false);
        put(out, &[b"\r\n", NO_BODY]);
    }
}

const NO_BODY: &[u8] = b"Content-Length: 0\r\n\r\n";

/// The repeated headers, To last and without its line end, so that a tag can follow.
fn write_head(out: &mut Vec<u8>, status: &[u8], request: &Message<'_>, record_route: bool) {
    out.extend_from_slice(status);
    for via in request.vias() {
        put(out, &[b"Via: ", via, b"\r\n"]);
    }
    if record_route {
        for value in request.record_routes() {
            put(out, &[b"Record-Route: ", value, b"\r\n"]);
        }
    }
    put(
        out,
        &[
            b"From: ",
            request.from,
            b"\r\nCall-ID: ",
            request.call_id,
            b"\r\nCSeq: ",
            request.cseq,
            b"\r\nTo: ",
            request.to,
        ],
    );
}

fn write_tag(out: &mut Vec<u8>, request: &Message<'_>) {
    if !request.has_to_tag() {
        out.extend_from_slice(b";tag=gw");
        hex(out, request.call);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::Callee;
    use crate::wire::{Caller, Dialog, Message, Start};

    #[test]
    fn a_whole_call_reads_back_what_it_wrote() {
        let caller = Caller::new(
            7,
            "127.0.0.2:5061".parse().expect("address"),
            "127.0.0.1:5060".parse().expect("address"),
            "4930",
            7,
        );
        let callee = Callee::new("127.0.0.3:5070".parse().expect("address"));
        let mut invite = Vec::new();
        caller.write_invite(&mut invite, 42);
        assert!((700..=900).contains(&invite.len()), "an INVITE of realistic size, not {} bytes", invite.len());
        let line_end = invite.iter().position(|byte| *byte == b'\n').expect("a first line") + 1;
        let cseq_end = memchr::memmem::find(&invite, b"1 INVITE\r\n").expect("a CSeq") + 10;
        assert!(cseq_end - line_end <= 320, "the floor's 100 carries all that names the call");

        // As a proxy would pass it: one Via and one Record-Route on top.
        let mut passed = invite[..line_end].to_vec();
        passed.extend_from_slice(
            b"Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKp\r\nRecord-Route: <sip:127.0.0.1:5060;lr>\r\n",
        );
        passed.extend_from_slice(&invite[line_end..]);
        let request = Message::scan(&passed).expect("our own INVITE");
        assert_eq!(request.start, Start::Request(b"INVITE"));
        assert_eq!((request.run, request.call, request.vias().len()), (7, 42, 2));

        let mut answer = Vec::new();
        callee.write_answer(&mut answer, &request);
        let answer = Message::scan(&answer).expect("our own answer");
        assert_eq!(answer.start, Start::Response(200));
        assert_eq!((answer.call, answer.vias(), answer.cseq_method()), (42, request.vias(), &b"INVITE"[..]));
        assert!(answer.has_to_tag() && !request.has_to_tag());

        let mut dialog = Dialog::default();
        dialog.learn(&answer);
        let mut bye = Vec::new();
        caller.write_bye(&mut bye, 42, &dialog);
        assert!(bye.starts_with(b"BYE sip:gw@127.0.0.3:5070;transport=udp SIP/2.0\r\n"));
        assert!(memchr::memmem::find(&bye, b"\r\nRoute: <sip:127.0.0.1:5060;lr>\r\n").is_some());
        let bye = Message::scan(&bye).expect("our own BYE");
        assert_eq!((bye.to, bye.from, bye.call_id, bye.cseq), (answer.to, answer.from, answer.call_id, &b"2 BYE"[..]));
    }
}
