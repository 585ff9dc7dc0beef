//! What the calling endpoint writes: INVITE, ACK, BYE.
//!
//! Everything that names a call follows from the run and the number of the call, so that an answer leads back to its record
//! without a table: `Call-ID: <run>-<number>-…`, both as eight hexadecimal digits. Via, From, To, Call-ID and CSeq stand right
//! behind the request line, because the floor's 100 carries only the first bytes of the INVITE.

use std::net::SocketAddr;
use std::ops::Range;

use super::{Message, decimal, hex, put, session};

/// Bytes of a Via branch's magic (RFC 3261 §8.1.1.7).
const MAGIC: &[u8] = b"z9hG4bK";

/// Everything of a caller's messages that all calls share.
pub struct Caller {
    run: u32,
    local: Vec<u8>,
    host: Vec<u8>,
    proxy: Vec<u8>,
    prefix: Vec<u8>,
    digits: u32,
    tail: Vec<u8>,
}

/// What a caller remembers of an answered call: where ACK and BYE go and the To with its tag.
#[derive(Default)]
pub struct Dialog {
    bytes: Vec<u8>,
    target: Range<usize>,
    routes: Range<usize>,
    to: Range<usize>,
}

impl Dialog {
    /// Takes the dialog's parts from a 2xx, or from another final answer for its ACK.
    pub fn learn(&mut self, answer: &Message<'_>) {
        self.bytes.clear();
        self.bytes.extend_from_slice(answer.contact);
        self.target = 0..self.bytes.len();
        answer.write_route_set(&mut self.bytes);
        self.routes = self.target.end..self.bytes.len();
        self.bytes.extend_from_slice(answer.to);
        self.to = self.routes.end..self.bytes.len();
    }
}

impl Caller {
    /// A caller at `local` that dials `prefix` and `digits` more digits through `proxy`.
    #[must_use]
    pub fn new(run: u32, local: SocketAddr, proxy: SocketAddr, prefix: &str, digits: u32) -> Caller {
        let body = session(&local.ip().to_string(), 30_000);
        let host = local.ip().to_string();
        let host = if local.is_ipv6() { format!("[{host}]") } else { host };
        let mut tail = format!(
            "Contact: <sip:trunk@{local};transport=udp>\r\n\
             P-Asserted-Identity: <sip:+493022680100@{host};user=phone>\r\n\
             User-Agent: Softswitch/7.2.1\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO\r\n\
             Supported: 100rel\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        tail.extend_from_slice(&body);
        Caller {
            run,
            local: local.to_string().into_bytes(),
            host: host.into_bytes(),
            proxy: proxy.to_string().into_bytes(),
            prefix: prefix.as_bytes().to_vec(),
            digits: digits.min(15),
            tail,
        }
    }

    /// Appends the INVITE of a call.
    pub fn write_invite(&self, out: &mut Vec<u8>, call: u32) {
        out.extend_from_slice(b"INVITE ");
        self.write_dialled(out, call);
        self.write_via(out, call, b'i');
        self.write_from(out, call);
        out.extend_from_slice(b"\r\nTo: <");
        self.write_dialled(out, call);
        out.extend_from_slice(b">");
        self.write_identity(out, call, b"1 INVITE");
        out.extend_from_slice(&self.tail);
    }

    /// Appends the ACK of a 2xx: a request of the dialog, in a transaction of its own (RFC 3261 §13.2.2.4).
    pub fn write_ack(&self, out: &mut Vec<u8>, call: u32, dialog: &Dialog) {
        self.write_in_dialog(out, call, dialog, b"ACK ", b'a', b"1 ACK");
    }

    /// Appends the BYE.
    pub fn write_bye(&self, out: &mut Vec<u8>, call: u32, dialog: &Dialog) {
        self.write_in_dialog(out, call, dialog, b"BYE ", b'b', b"2 BYE");
    }

    /// Appends the ACK of a refusal: part of the INVITE's transaction, with its branch and Request-URI (RFC 3261 §17.1.1.3).
    pub fn write_ack_of_refusal(&self, out: &mut Vec<u8>, call: u32, refusal: &Message<'_>) {
        out.extend_from_slice(b"ACK ");
        self.write_dialled(out, call);
        self.write_via(out, call, b'i');
        self.write_from(out, call);
        put(out, &[b"\r\nTo: ", refusal.to]);
        self.write_identity(out, call, b"1 ACK");
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    }

    fn write_in_dialog(&self, out: &mut Vec<u8>, call: u32, dialog: &Dialog, method: &[u8], branch: u8, cseq: &[u8]) {
        let part = |range: &Range<usize>| &dialog.bytes[range.clone()];
        put(out, &[method, part(&dialog.target)]);
        self.write_via(out, call, branch);
        if !dialog.routes.is_empty() {
            put(out, &[b"Route: ", part(&dialog.routes), b"\r\n"]);
        }
        self.write_from(out, call);
        put(out, &[b"\r\nTo: ", part(&dialog.to)]);
        self.write_identity(out, call, cseq);
        out.extend_from_slice(b"User-Agent: Softswitch/7.2.1\r\nContent-Length: 0\r\n\r\n");
    }

    fn write_dialled(&self, out: &mut Vec<u8>, call: u32) {
        put(out, &[b"sip:", &self.prefix]);
        // A multiplicative walk visits the numbers in no order that a routing table could like.
        let mut rest = u64::from(call).wrapping_mul(2_654_435_761);
        for _ in 0..self.digits {
            out.push(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
        put(out, &[b"@", &self.proxy]);
    }

    fn write_via(&self, out: &mut Vec<u8>, call: u32, branch: u8) {
        put(out, &[b" SIP/2.0\r\nVia: SIP/2.0/UDP ", &self.local, b";branch=", MAGIC]);
        hex(out, self.run);
        hex(out, call);
        out.push(branch);
        out.extend_from_slice(b";rport\r\n");
    }

    fn write_from(&self, out: &mut Vec<u8>, call: u32) {
        out.extend_from_slice(b"From: <sip:+4930226");
        decimal(out, u64::from(call % 90_000) + 10_000);
        put(out, &[b"@", &self.host, b">;tag="]);
        hex(out, self.run ^ 0x5a5a_5a5a);
        hex(out, call);
    }

    fn write_identity(&self, out: &mut Vec<u8>, call: u32, cseq: &[u8]) {
        out.extend_from_slice(b"\r\nCall-ID: ");
        hex(out, self.run);
        out.push(b'-');
        hex(out, call);
        put(out, &[b"-9b1d@", &self.host, b"\r\nCSeq: ", cseq, b"\r\nMax-Forwards: 70\r\n"]);
    }
}
