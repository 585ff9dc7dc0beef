//! A datagram comes in; a request finds its transaction, its dialog or its way (RFC 3261 §16.3 and §17.2.3).

use super::answer::{ALLOW, Incoming, Refusal, Source};
use super::records::{ServerEvent, ServerRef, ServerState, ServerTransaction, TransactionTimers};
use super::{Effect, Engine, Turn, UnknownSource};
use crate::call::CallRef;
use crate::counter::Counter;
use crate::flow::Flow;
use crate::limits::{HEADERS_ADDED_MAX, HEADERS_MAX};
use crate::memory::Full;
use crate::message::{Fault, Message, Method, Name, ParseError, Scheme, StartLine, Via};
use crate::number::Dialled;
use crate::routing::Recognised;
use crate::token::MAGIC_COOKIE;
use crate::transaction::{Tell, invite_server, server};

impl Engine {
    pub(crate) fn on_datagram(&mut self, turn: &mut Turn<'_>, flow: Flow, bytes: &[u8], truncated: bool) {
        self.counters.count(Counter::DatagramsIn);
        let line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        if bytes.first().is_none_or(line_end) && bytes.iter().all(line_end) {
            self.counters.count(Counter::Keepalives);
            return;
        }
        let mut message = Message::unread();
        let fault = match message.read_in_place(bytes) {
            Err(fault) => Some(if truncated { Fault { error: ParseError::TooLarge, ..fault } } else { fault }),
            Ok(()) if truncated => Some(Fault { error: ParseError::TooLarge, answerable: true }),
            // Our own fields must fit as well, or we could not read what we sent.
            Ok(()) if message.fields().len() > HEADERS_MAX - HEADERS_ADDED_MAX => {
                Some(Fault { error: ParseError::TooManyHeaders, answerable: true })
            }
            Ok(()) => None,
        };
        if let Some(fault) = fault {
            return self.refuse_malformed(turn, flow, fault, &message);
        }
        let call_hash = self.settings.steering.hash_call_id(message.call_id());
        if let Some(shard) = self.foreign_owner(call_hash) {
            self.counters.count(Counter::DatagramsForeign);
            turn.effects.push(Effect::Forward { shard });
            return;
        }
        match message.start() {
            StartLine::Request { method, .. } => {
                self.counters.count(Counter::Requests);
                let incoming = self.incoming(&message, flow, call_hash, method);
                self.on_request(turn, &incoming, method);
            }
            StartLine::Response { status, .. } => {
                self.counters.count(Counter::Responses);
                self.on_response(turn, &message, call_hash, status);
            }
        }
    }

    fn incoming<'m, 'a>(
        &self,
        message: &'m Message<'a>,
        flow: Flow,
        call_hash: u64,
        method: Method,
    ) -> Incoming<'m, 'a> {
        let via = message.via();
        let key = self.server_key(message, &via, method, call_hash);
        Incoming { message, flow, call_hash, key, source: Source::new(&via, message, flow), relayed: false }
    }

    /// 400, 505 or 513 where the top can be read, a counter in any case (SPEC §3 *Failure*). A stranger gets silence here too:
    /// an answer would go to whatever address a forged datagram names.
    fn refuse_malformed(&mut self, turn: &mut Turn<'_>, flow: Flow, fault: Fault, message: &Message<'_>) {
        let (counter, status) = match fault.error {
            ParseError::TooLarge => (Counter::Oversized, 513),
            ParseError::Version => (Counter::ParseErrors, 505),
            _ => (Counter::ParseErrors, 400),
        };
        self.counters.count(counter);
        if !fault.answerable {
            return;
        }
        let StartLine::Request { method, .. } = message.start() else { return };
        if !self.known_source(turn, flow) {
            return self.counters.count(Counter::UnknownSource);
        }
        let call_hash = self.settings.steering.hash_call_id(message.call_id());
        let incoming = self.incoming(message, flow, call_hash, method);
        self.answer_stateless(turn, &incoming, status, b"");
    }

    /// The key of a server transaction (RFC 3261 §17.2.3). An ACK has that of its INVITE.
    ///
    /// The Call-ID counts as well, though the RFC does not name it: two calls that share a branch by a peer's fault stay two, whatever
    /// shard they are on, and nobody cancels a call by guessing its branch.
    pub(crate) fn server_key(&self, message: &Message<'_>, via: &Via, method: Method, call_hash: u64) -> u64 {
        let mut hasher = self.transactions;
        hasher.word(call_hash);
        let folded = if method == Method::Ack { Method::Invite } else { method };
        hasher.word(folded as u64 | u64::from(via.port.unwrap_or(0)) << 16);
        match via.branch.map(|branch| message.text(branch)) {
            Some(branch) if branch.starts_with(MAGIC_COOKIE) && branch.len() > MAGIC_COOKIE.len() => {
                hasher.bytes(branch);
                hasher.bytes(message.text(via.host));
            }
            // RFC 2543 peers, and a bare cookie (RFC 4475 §3.2.1): the whole of what identifies a transaction. The To tag is
            // left out where an ACK must match its INVITE.
            _ => {
                if let StartLine::Request { uri, .. } = message.start() {
                    hasher.bytes(message.text(uri));
                }
                hasher.bytes(message.from().tag.map(|tag| message.text(tag)).unwrap_or_default());
                if folded != Method::Invite {
                    hasher.bytes(message.to().tag.map(|tag| message.text(tag)).unwrap_or_default());
                }
                hasher.word(message.cseq().number.into());
                hasher.bytes(message.text(via.value));
            }
        }
        if folded == Method::Other {
            hasher.bytes(message.text(message.cseq().name));
        }
        hasher.finish()
    }

    /// The server transaction under a key.
    pub(crate) fn find_server(&self, key: u64) -> Option<ServerRef> {
        self.server_index.find(key).and_then(|place| self.servers.at(place))
    }

    fn on_request(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>, method: Method) {
        if let Some(at) = self.find_server(incoming.key) {
            let event = if method == Method::Ack { ServerEvent::Ack } else { ServerEvent::Request };
            // RFC 6026 §7.1: an ACK that meets Accepted is for the 2xx and goes on end to end.
            if self.drive_server(turn, at, event, None) != Some(Tell::Message) {
                self.counters.count(Counter::RetransmissionsAbsorbed);
                return;
            }
        }
        if method == Method::Cancel {
            return self.on_cancel(turn, incoming);
        }
        let in_dialog = incoming.message.to().tag.is_some() || self.names_dialog(incoming);
        if method == Method::Ack {
            if in_dialog {
                self.on_dialog_ack(turn, incoming);
            } else {
                self.counters.count(Counter::StrayAcks);
            }
            return;
        }
        if in_dialog {
            self.on_dialog_request(turn, incoming, method);
        } else {
            self.on_new_request(turn, incoming, method);
        }
    }

    /// A request outside a dialog: its source decides first, so that a stranger learns nothing.
    fn on_new_request(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>, method: Method) {
        let message = incoming.message;
        let Some(target) = message.request_uri() else { return };
        let dialled = Dialled::read(message, &target);
        let recognised = self.recognise(turn, incoming.flow, dialled.text());
        if recognised.is_none() && !self.known_source(turn, incoming.flow) {
            return self.refuse_stranger(turn, incoming);
        }
        match method {
            Method::Options if self.draining => {
                let lines = self.retry_after();
                return self.answer_stateless(turn, incoming, 503, &lines);
            }
            Method::Options => {
                if let Some(refusal) = unsupported_options(message, target.scheme) {
                    return self.answer_stateless(turn, incoming, refusal.status, &refusal.lines);
                }
                self.counters.count(Counter::OptionsAnswered);
                return self.answer_stateless(turn, incoming, 200, ALLOW);
            }
            Method::Invite => {}
            // RFC 3261 §12.2.2: these belong to a dialog that the request does not name.
            Method::Bye | Method::Prack | Method::Update | Method::Info | Method::Notify => {
                return self.answer_stateless(turn, incoming, 481, b"");
            }
            _ => return self.answer_stateless(turn, incoming, 405, ALLOW),
        }
        let Some(recognised) = recognised else {
            // A gateway that is no provider may ask how we are, not call; nor may a provider without his tech prefix.
            return self.answer_stateless(turn, incoming, 403, b"");
        };
        if let Some(refusal) = self.check(message) {
            return self.answer_stateless(turn, incoming, refusal.status, &refusal.lines);
        }
        // RFC 3261 §8.1.1.3: a From has a tag. It names the caller's side of the dialog, and of the session at a media node.
        if message.from().tag.is_none_or(|tag| tag.start == tag.end) {
            return self.answer_stateless(turn, incoming, 400, b"");
        }
        // RFC 3261 §16.3 step 2; sips: cannot be honoured before TLS exists (RFC 5630 §4).
        if !matches!(target.scheme, Scheme::Sip | Scheme::Tel) {
            return self.answer_stateless(turn, incoming, 416, b"");
        }
        self.on_invite(turn, incoming, recognised, &dialled);
    }

    /// Whose source a flow is.
    fn recognise(&self, turn: &Turn<'_>, flow: Flow, dialled: &[u8]) -> Option<Recognised> {
        let listener = self.settings.listeners.get(usize::from(flow.listener.0))?.slot;
        turn.image.recognise(listener, flow.peer, dialled)
    }

    /// Silence or 403 (SPEC §3 *Recognise*).
    fn refuse_stranger(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>) {
        self.counters.count(Counter::UnknownSource);
        if self.settings.unknown_source == UnknownSource::Forbid {
            self.answer_stateless(turn, incoming, 403, b"");
        }
    }

    /// Whether a provider, under whatever tech prefix, or a gateway speaks from this address.
    pub(crate) fn known_source(&self, turn: &Turn<'_>, flow: Flow) -> bool {
        let listener = self.settings.listeners.get(usize::from(flow.listener.0));
        listener.is_some_and(|listener| turn.image.knows(listener.slot, flow.peer))
            || turn.image.gateway_at(flow.peer).is_some()
    }

    /// 481 to a request that names a dialog which is not there, silence to strangers.
    pub(crate) fn refuse_unknown_dialog(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>) {
        if self.known_source(turn, incoming.flow) {
            self.answer_stateless(turn, incoming, 481, b"");
        } else {
            self.refuse_stranger(turn, incoming);
        }
    }

    /// RFC 3261 §16.3 steps 3 and 5, RFC 5393 §5: why a request may not go on.
    pub(crate) fn check(&self, message: &Message<'_>) -> Option<Refusal> {
        if message.max_forwards() == Some(0) {
            return Some(Refusal::new(483));
        }
        // RFC 5393 §5.3.3: no branch is left for it.
        if message.first(Name::MaxBreadth).is_some() && message.number(Name::MaxBreadth) == Some(0) {
            return Some(Refusal::new(440));
        }
        message.first(Name::ProxyRequire)?;
        Some(unsupported(message, &[Name::ProxyRequire]))
    }

    /// Opens a server transaction for a request that will be served with state.
    pub(crate) fn open_server(
        &mut self,
        turn: &Turn<'_>,
        incoming: &Incoming<'_, '_>,
        method: Method,
        call: Option<CallRef>,
    ) -> Result<ServerRef, Full> {
        let reliable = incoming.source.reply.transport.reliable();
        let invite = method == Method::Invite;
        let (state, action) = if invite {
            let (state, action) = invite_server::start(reliable);
            (ServerState::Invite(state), action)
        } else {
            let (state, action) = server::start(reliable);
            (ServerState::Other(state), action)
        };
        // An INVITE is kept as it came: 408, 487 and 503 of our own are written from it, and the target of either is its sender's once it is
        // accepted. An UPDATE likewise, and a PRACK because of its SDP.
        let kept = invite || matches!(method, Method::Update | Method::Prack);
        let request = if kept { Some(self.pool.store(incoming.message.bytes())?) } else { None };
        let mut timers = TransactionTimers::idle();
        timers.apply(&action, turn.now.monotonic, false, &self.intervals);
        let opened = self.servers.insert(ServerTransaction {
            state,
            key: incoming.key,
            call_hash: incoming.call_hash,
            reply: incoming.source.reply,
            call,
            client: None,
            request,
            source: incoming.flow,
            last: None,
            exchange: None,
            timers,
        });
        match opened {
            Ok(at) => {
                self.server_index.insert(incoming.key, at.index());
                if action.touches_timers() {
                    self.wheel_server(at);
                }
            }
            Err(_) => request.into_iter().for_each(|buffer| self.pool.release(buffer)),
        }
        opened
    }

    /// A slab is full: 503 with Retry-After, because it is the whole node that has no room.
    pub(crate) fn refuse_full(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>) {
        self.counters.count(Counter::Full);
        let lines = self.retry_after();
        self.answer_stateless(turn, incoming, 503, &lines);
    }
}

/// Corelane knows no extension that it could be asked for: all that these fields name is unsupported. One that names nothing is none
/// (RFC 3261 §20.29, §20.32), and a 420 could not say what is not supported.
#[cold]
fn unsupported(message: &Message<'_>, fields: &[Name]) -> Refusal {
    let mut asked = fields.iter().flat_map(|name| message.values(*name)).peekable();
    let mut refusal = Refusal::new(if asked.peek().is_some() { 420 } else { 400 });
    asked.for_each(|value| refusal.add_line(b"Unsupported: ", message.text(value)));
    refusal
}

/// Why OPTIONS gets no 200, which Corelane answers as a UAS, whatever its Max-Forwards (RFC 3261 §8.2.2, §11): a scheme that is not served
/// (RFC 4475 §3.3.2), or an extension, none of which is supported.
#[cold]
fn unsupported_options(message: &Message<'_>, scheme: Scheme) -> Option<Refusal> {
    const FIELDS: [Name; 2] = [Name::ProxyRequire, Name::Require];
    if !matches!(scheme, Scheme::Sip | Scheme::Tel) {
        return Some(Refusal::new(416));
    }
    FIELDS.iter().any(|name| message.first(*name).is_some()).then(|| unsupported(message, &FIELDS))
}
