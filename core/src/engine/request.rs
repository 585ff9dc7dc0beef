//! A datagram comes in; a request finds its transaction, its dialog or its way (RFC 3261 §16.3 and §17.2.3).

use super::answer::{ALLOW, Incoming, Source};
use super::records::{ServerEvent, ServerRef};
use super::{Effect, Engine, Turn, UnknownSource};
use crate::counter::Counter;
use crate::flow::{Endpoint, Flow};
use crate::memory::Ref;
use crate::message::{Malformed, Message, Method, Name, ParseError, Scheme, StartLine, Via};
use crate::routing::Recognised;
use crate::siphash::Hasher;
use crate::token::MAGIC_COOKIE;
use crate::transaction::Tell;

impl Engine {
    pub(crate) fn on_datagram(&mut self, turn: &mut Turn<'_>, flow: Flow, bytes: &[u8], truncated: bool) {
        self.counters.count(Counter::DatagramsIn);
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            self.counters.count(Counter::Keepalives);
            return;
        }
        let message = match Message::parse(bytes) {
            Ok(message) if !truncated => message,
            Ok(message) => return self.refuse_malformed(turn, flow, ParseError::TooLarge, Some(&message)),
            Err(Malformed { error, partial }) => {
                let error = if truncated { ParseError::TooLarge } else { error };
                return self.refuse_malformed(turn, flow, error, partial.as_ref());
            }
        };
        let call_hash = self.settings.steering.hash_call_id(message.call_id());
        if let Some(shard) = self.foreign_owner(call_hash) {
            self.counters.count(Counter::DatagramsForeign);
            turn.effects.push(Effect::Forward { shard });
            return;
        }
        match message.start() {
            StartLine::Request { method, .. } => {
                self.counters.count(Counter::Requests);
                let via = message.via();
                let incoming = Incoming {
                    message: &message,
                    flow,
                    call_hash,
                    key: self.server_key(&message, &via, method),
                    source: Source::new(&via, &message, flow),
                };
                self.on_request(turn, &incoming, method);
            }
            StartLine::Response { status, .. } => {
                self.counters.count(Counter::Responses);
                self.on_response(turn, &message, call_hash, status);
            }
        }
    }

    /// 400 or 513 where the top can be read, a counter in any case (SPEC §3 *Failure*).
    fn refuse_malformed(&mut self, turn: &mut Turn<'_>, flow: Flow, error: ParseError, partial: Option<&Message<'_>>) {
        let too_large = error == ParseError::TooLarge;
        self.counters.count(if too_large { Counter::Oversized } else { Counter::ParseErrors });
        let Some(message) = partial else { return };
        let StartLine::Request { method, .. } = message.start() else { return };
        let via = message.via();
        let incoming = Incoming {
            message,
            flow,
            call_hash: self.settings.steering.hash_call_id(message.call_id()),
            key: self.server_key(message, &via, method),
            source: Source::new(&via, message, flow),
        };
        self.answer_stateless(turn, &incoming, if too_large { 513 } else { 400 }, b"");
    }

    /// The key of a server transaction (RFC 3261 §17.2.3). An ACK has that of its INVITE.
    pub(crate) fn server_key(&self, message: &Message<'_>, via: &Via, method: Method) -> u64 {
        let mut hasher = Hasher::new(self.transaction_key);
        let folded = if method == Method::Ack { Method::Invite } else { method };
        hasher.word(folded as u64 | u64::from(via.port.unwrap_or(0)) << 16);
        match via.branch.map(|branch| message.text(branch)) {
            Some(branch) if branch.starts_with(MAGIC_COOKIE) => {
                hasher.bytes(branch);
                hasher.bytes(message.text(via.host));
            }
            // RFC 2543 peers: the whole of what identifies a transaction. The To tag is left out where an ACK must match its INVITE.
            _ => {
                if let StartLine::Request { uri, .. } = message.start() {
                    hasher.bytes(message.text(uri));
                }
                hasher.bytes(message.from().tag.map(|tag| message.text(tag)).unwrap_or_default());
                if folded != Method::Invite {
                    hasher.bytes(message.to().tag.map(|tag| message.text(tag)).unwrap_or_default());
                }
                hasher.bytes(message.call_id());
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
        let in_dialog = incoming.message.to().tag.is_some();
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
        let StartLine::Request { uri, .. } = message.start() else { return };
        let target = message.parse_uri(uri);
        let number = target.as_ref().map(|target| super::forward::Number::read(message, target)).unwrap_or_default();
        let recognised = self.recognise(turn, incoming.flow, &number.digits);
        if recognised.is_none() && turn.image.gateway_at(incoming.flow.peer).is_none() {
            return self.refuse_stranger(turn, incoming);
        }
        match method {
            Method::Options => {
                self.counters.count(Counter::OptionsAnswered);
                return self.answer_stateless(turn, incoming, 200, ALLOW);
            }
            Method::Invite => {}
            // RFC 3261 §12.2.2: these belong to a dialog that the request does not name.
            Method::Bye | Method::Prack | Method::Update | Method::Info => {
                return self.answer_stateless(turn, incoming, 481, b"");
            }
            _ => return self.answer_stateless(turn, incoming, 405, ALLOW),
        }
        let Some(recognised) = recognised else {
            // A gateway that is no provider may ask how we are, not call.
            return self.answer_stateless(turn, incoming, 403, b"");
        };
        if !self.passes_checks(turn, incoming) {
            return;
        }
        match target {
            Ok(target) if matches!(target.scheme, Scheme::Sip | Scheme::Tel) => {
                self.on_invite(turn, incoming, recognised, &number);
            }
            // RFC 3261 §16.3 step 2; sips: cannot be honoured before TLS exists (RFC 5630 §4).
            Ok(_) => self.answer_stateless(turn, incoming, 416, b""),
            Err(_) => self.answer_stateless(turn, incoming, 400, b""),
        }
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

    /// Whether anybody may speak from this address.
    pub(crate) fn known_source(&self, turn: &Turn<'_>, peer: Endpoint, flow: Flow) -> bool {
        self.recognise(turn, flow, b"").is_some() || turn.image.gateway_at(peer).is_some()
    }

    /// 481 to a request that names a dialog which is not there, silence to strangers.
    pub(crate) fn refuse_unknown_dialog(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>) {
        if self.known_source(turn, incoming.flow.peer, incoming.flow) {
            self.answer_stateless(turn, incoming, 481, b"");
        } else {
            self.refuse_stranger(turn, incoming);
        }
    }

    /// RFC 3261 §16.3 steps 3 and 5. True when the request may go on.
    pub(crate) fn passes_checks(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>) -> bool {
        let message = incoming.message;
        if message.max_forwards() == Some(0) {
            self.answer_stateless(turn, incoming, 483, b"");
            return false;
        }
        if message.first(Name::ProxyRequire).is_some() {
            // Corelane knows no extension that a proxy must support: all that is asked for is unsupported.
            let mut lines = arrayvec::ArrayVec::<u8, 512>::new();
            for value in message.values(Name::ProxyRequire) {
                let text = message.text(value);
                if lines.remaining_capacity() >= text.len() + 16 {
                    lines.extend(b"Unsupported: ".iter().chain(text).chain(b"\r\n").copied());
                }
            }
            self.answer_stateless(turn, incoming, 420, &lines);
            return false;
        }
        true
    }

    /// Opens a server transaction for a request that will be served with state. On a full slab the request gets a stateless 503:
    /// new work is refused, what runs is untouched (I8).
    pub(crate) fn open_server(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        method: Method,
        call: Option<crate::call::CallRef>,
    ) -> Option<ServerRef> {
        use super::records::{ServerState, ServerTransaction, TransactionTimers};
        use crate::transaction::{invite_server, server};
        let reliable = incoming.source.reply.transport.reliable();
        let invite = method == Method::Invite;
        let (state, action) = if invite {
            let (state, action) = invite_server::start(reliable);
            (ServerState::Invite(state), action)
        } else {
            let (state, action) = server::start(reliable);
            (ServerState::Other(state), action)
        };
        // An INVITE is kept as it came: 408, 487 and 503 of our own are written from it.
        let request = if invite { Some(self.pool.store(incoming.message.bytes())) } else { None };
        let opened: Result<ServerRef, crate::memory::Full> = match request.transpose() {
            Ok(request) => {
                let mut timers = TransactionTimers::idle();
                timers.apply(&action, turn.now.monotonic, false, &self.settings.timers);
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
                    timers,
                });
                if opened.is_err() {
                    request.into_iter().for_each(|buffer| self.pool.release(buffer));
                }
                opened
            }
            Err(full) => Err(full),
        };
        if let Ok(at) = opened {
            self.server_index.insert(incoming.key, Ref::index(at));
            self.wheel_server(at);
            Some(at)
        } else {
            self.refuse_full(turn, incoming);
            None
        }
    }

    /// A slab is full: 503 with Retry-After, because it is the whole node that has no room.
    pub(crate) fn refuse_full(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>) {
        self.counters.count(Counter::Full);
        let lines = self.retry_after();
        self.answer_stateless(turn, incoming, 503, &lines);
    }
}
