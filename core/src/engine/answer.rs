//! Answers that Corelane gives itself: stateless before recognition, through the server transaction after it (SPEC §3).

use core::net::IpAddr;

use arrayvec::ArrayVec;

use super::records::{ServerEvent, ServerRef};
use super::{Engine, SHORT, Turn};
use crate::counter::Counter;
use crate::flow::{Endpoint, Flow};
use crate::limits::TAG_MAX;
use crate::memory::{BufferRef, Full, Resource};
use crate::message::{Answer, Message, StartLine, Via, parse_ip, write_answer};

/// The port of SIP over UDP where a Via names none (RFC 3261 §18.2.2).
const DEFAULT_PORT: u16 = 5060;

/// What Corelane serves, for 200 to OPTIONS and for 405 (RFC 3261 §20.5).
pub(crate) const ALLOW: &[u8] = b"Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, UPDATE, INFO, NOTIFY\r\n";

/// A request together with what its source says.
pub(crate) struct Incoming<'m, 'a> {
    pub(crate) message: &'m Message<'a>,
    pub(crate) flow: Flow,
    /// Keyed hash of its Call-ID.
    pub(crate) call_hash: u64,
    /// Key of its server transaction.
    pub(crate) key: u64,
    pub(crate) source: Source,
    /// Its SDP came back from a media node.
    pub(crate) relayed: bool,
}

/// How a response finds its way back (RFC 3261 §18.2.1 and §18.2.2, RFC 3581 §4).
#[derive(Copy, Clone)]
pub(crate) struct Source {
    /// Where responses go.
    pub(crate) reply: Flow,
    /// The `received` to write.
    pub(crate) received: Option<IpAddr>,
    /// The `rport` to fill in.
    pub(crate) rport: Option<u16>,
}

impl Source {
    /// Reads the top Via against the flow that the request came on. `maddr` is not obeyed: it would let a stranger aim answers
    /// at a third party.
    pub(crate) fn new(via: &Via, message: &Message<'_>, flow: Flow) -> Source {
        let asks_rport = via.rport.is_some();
        let port = if asks_rport { flow.peer.port } else { via.port.unwrap_or(DEFAULT_PORT) };
        // RFC 3581 §4: with rport, received is written even where it says nothing new.
        let stamped = asks_rport || parse_ip(message.text(via.host)) != Some(flow.peer.ip);
        // Another port of the same peer, whose address is held as it should be.
        Source {
            reply: Flow { peer: Endpoint { port, ..flow.peer }, ..flow },
            received: stamped.then_some(flow.peer.ip),
            rport: asks_rport.then_some(flow.peer.port),
        }
    }
}

/// The reason phrase of a status that Corelane gives (RFC 3261 §21).
const fn reason(status: u16) -> &'static [u8] {
    match status {
        100 => b"Trying",
        200 => b"OK",
        400 => b"Bad Request",
        403 => b"Forbidden",
        404 => b"Not Found",
        405 => b"Method Not Allowed",
        408 => b"Request Timeout",
        416 => b"Unsupported URI Scheme",
        420 => b"Bad Extension",
        422 => b"Session Interval Too Small",
        440 => b"Max-Breadth Exceeded",
        480 => b"Temporarily Unavailable",
        481 => b"Call/Transaction Does Not Exist",
        482 => b"Loop Detected",
        483 => b"Too Many Hops",
        484 => b"Address Incomplete",
        487 => b"Request Terminated",
        488 => b"Not Acceptable Here",
        500 => b"Server Internal Error",
        503 => b"Service Unavailable",
        505 => b"Version Not Supported",
        513 => b"Message Too Large",
        _ => b"Refused",
    }
}

/// The counter of a refusal.
const fn rejection(status: u16) -> Option<Counter> {
    Some(match status {
        400 => Counter::Rejected400,
        403 => Counter::Rejected403,
        404 => Counter::Rejected404,
        405 => Counter::Rejected405,
        408 => Counter::Rejected408,
        416 => Counter::Rejected416,
        420 => Counter::Rejected420,
        422 => Counter::Rejected422,
        440 => Counter::Rejected440,
        481 => Counter::Rejected481,
        482 => Counter::Rejected482,
        483 => Counter::Rejected483,
        484 => Counter::Rejected484,
        488 => Counter::Rejected488,
        500 => Counter::Rejected500,
        503 => Counter::Rejected503,
        505 => Counter::Rejected505,
        513 => Counter::Rejected513,
        _ => return None,
    })
}

/// Why a request is refused: a status and the header lines that go with it.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) lines: ArrayVec<u8, 512>,
}

impl Refusal {
    pub(crate) fn new(status: u16) -> Refusal {
        Refusal { status, lines: ArrayVec::new() }
    }

    /// Adds a header line where there is room for it.
    pub(crate) fn add_line(&mut self, name: &[u8], value: &[u8]) {
        if self.lines.remaining_capacity() >= name.len() + value.len() + 2 {
            self.lines.extend(name.iter().chain(value).chain(b"\r\n").copied());
        }
    }
}

impl Engine {
    /// Answers without a transaction. A retransmission gets the same answer, To tag included (RFC 3261 §8.2.7).
    pub(crate) fn answer_stateless(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        status: u16,
        lines: &[u8],
    ) {
        if matches!(incoming.message.start(), StartLine::Request { method: crate::message::Method::Ack, .. }) {
            return; // RFC 3261 §17: an ACK is never answered.
        }
        if let Some(counter) = rejection(status) {
            self.counters.count(counter);
        }
        let tag = self.own_tag(incoming.call_hash, status);
        if let Some(buffer) = self.compose_answer(incoming.message, incoming.source, status, &tag, lines) {
            self.send(turn, incoming.source.reply, buffer);
        }
    }

    /// Answers through a server transaction: from its request where that is at hand, else from the INVITE that it holds.
    pub(crate) fn answer_server(
        &mut self,
        turn: &mut Turn<'_>,
        at: ServerRef,
        incoming: Option<&Incoming<'_, '_>>,
        status: u16,
        lines: &[u8],
    ) {
        let rang = if status == 487 { self.ringing_tag(at) } else { None };
        // After a final response there is nothing to say, and that one is still to be repeated.
        let Some(transaction) = self.servers.find_mut(at).filter(|transaction| transaction.state.pending()) else {
            return;
        };
        // A final answer replaces the provisional one. Its buffer is given back first, and the request's where that is at hand,
        // so that a refusal for want of memory finds the memory to be told.
        if status >= 200 {
            let stored = if incoming.is_some() { transaction.request.take() } else { None };
            for buffer in transaction.last.take().into_iter().chain(stored) {
                self.pool.release(buffer);
            }
        }
        let (call_hash, flow, held) = (transaction.call_hash, transaction.source, transaction.request);
        if status >= 300
            && let Some(counter) = rejection(status)
        {
            self.counters.count(counter);
        }
        let own = self.own_tag(call_hash, status);
        let tag = rang.as_deref().unwrap_or(&own);
        let buffer = match (incoming, held) {
            (Some(incoming), _) => self.compose_answer(incoming.message, incoming.source, status, tag, lines),
            (None, Some(held)) => {
                let mut writer = crate::message::Writer::new(&mut self.scratch);
                let written = Message::parse(self.pool.bytes(held)).ok().and_then(|request| {
                    let source = Source::new(&request.via(), &request, flow);
                    write_answer(&request, &answer(source, status, tag, lines), &mut writer);
                    writer.finish().ok()
                });
                written.and_then(|bytes| self.pool.store(bytes).ok())
            }
            (None, None) => None,
        };
        // Without a buffer the answer is lost and not repeated; the state changes all the same, so that Timer H or J ends it.
        self.drive_server(turn, at, ServerEvent::Response(status), buffer);
    }

    /// 200 to the CANCEL of an INVITE, under the tag that the INVITE's final response will most probably have (RFC 3261 §9.2): that of its
    /// ringing, which is the gateway's own, else ours. Without a transaction it is not repeated.
    pub(crate) fn answer_cancel(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        invite: ServerRef,
        server: Option<ServerRef>,
    ) {
        let own = self.own_tag(incoming.call_hash, 200);
        let rang = self.ringing_tag(invite);
        let tag = rang.as_deref().unwrap_or(&own);
        let buffer = self.compose_answer(incoming.message, incoming.source, 200, tag, b"");
        match (server, buffer) {
            (Some(server), buffer) => {
                self.drive_server(turn, server, ServerEvent::Response(200), buffer);
            }
            (None, Some(buffer)) => self.send(turn, incoming.source.reply, buffer),
            (None, None) => {}
        }
    }

    /// The To tag of the response that a server transaction sent last: of an INVITE that rings, the gateway's. Where there is none, or one
    /// of immoderate length, answers have our own.
    #[cold]
    #[inline(never)]
    fn ringing_tag(&self, at: ServerRef) -> Option<ArrayVec<u8, TAG_MAX>> {
        let last = Message::parse(self.pool.bytes(self.servers.find(at)?.last?)).ok()?;
        ArrayVec::try_from(last.text(last.to().tag?)).ok()
    }

    fn compose_answer(
        &mut self,
        request: &Message<'_>,
        source: Source,
        status: u16,
        tag: &[u8],
        lines: &[u8],
    ) -> Option<BufferRef> {
        self.compose(SHORT, |writer| write_answer(request, &answer(source, status, tag, lines), writer)).ok()
    }

    /// The tag of our own answers within a Call-ID: the same for a CANCEL as for its INVITE where that did not ring, and the same again
    /// when a request comes again. A 100 has none.
    fn own_tag(&self, call_hash: u64, status: u16) -> [u8; 16] {
        if status == 100 {
            return [0; 16];
        }
        let mut hasher = self.tags;
        hasher.word(call_hash);
        let hash = hasher.finish();
        core::array::from_fn(|place| b"0123456789abcdef"[(hash >> (60 - 4 * place)) as usize & 15])
    }

    /// A branch could not be opened: 513 where the message grew too large, else the node is full.
    pub(crate) fn answer_full(&mut self, turn: &mut Turn<'_>, at: ServerRef, incoming: &Incoming<'_, '_>, full: Full) {
        if full.0 == Resource::MessageSize {
            return self.answer_server(turn, at, Some(incoming), 513, b"");
        }
        self.counters.count(Counter::Full);
        let lines = self.retry_after();
        self.answer_server(turn, at, Some(incoming), 503, &lines);
    }

    /// `Retry-After: n` with n drawn from 1 to 5 seconds, so that refused peers do not come back together.
    pub(crate) fn retry_after(&mut self) -> ArrayVec<u8, 24> {
        let mut line = ArrayVec::new();
        line.extend(*b"Retry-After: ");
        line.push(b'1' + (self.draw() % 5) as u8);
        line.extend(*b"\r\n");
        line
    }
}

fn answer<'e>(source: Source, status: u16, tag: &'e [u8], lines: &'e [u8]) -> Answer<'e> {
    Answer {
        status,
        reason: reason(status),
        // RFC 3261 §8.2.6.2: every answer but 100 carries a To tag.
        to_tag: (status != 100).then_some(tag),
        received: source.received,
        rport: source.rport,
        lines,
    }
}
