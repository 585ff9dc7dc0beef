//! SDP in requests inside a dialog: re-INVITE, UPDATE, PRACK, and the ACK that answers (RFC 3264 §8, RFC 3262 §5, RFC 3311, RFC 3261
//! §13.2.1).
//!
//! A request is held by its server transaction, an ACK in a buffer. What a node does not take is refused to who asked, and the call goes
//! on as it was.

use super::super::answer::{Incoming, Source};
use super::super::forward::Forward;
use super::super::records::{ClientRef, ServerRef};
use super::super::{Engine, Turn};
use super::exchange::{Exchange, Result, Subject};
use super::{Ask, Given, carries_sdp, tags, with_body};
use crate::bus::{MediaOutcome, Verb};
use crate::call::media::{Event, Media, State as Figure, start, step};
use crate::call::{Call, CallRef, EndReason, Side, State};
use crate::counter::Counter;
use crate::message::{Body, Message, Method, StartLine, find_sdp};

impl Engine {
    /// The figure of a request inside a dialog: whether it offers, and under which attempt.
    #[inline(never)]
    pub(crate) fn figure_in_dialog(
        &self,
        call: &Call,
        media: &Media,
        method: Method,
        message: &Message<'_>,
    ) -> (u8, Figure) {
        let offers = match method {
            Method::Invite | Method::Update => carries_sdp(message),
            Method::Prack => carries_sdp(message) && self.prack_offers(call, media, message),
            _ => false,
        };
        (media.attempt, start(method == Method::Invite, offers))
    }

    /// The INVITE of a dialog was sent: PRACK and ACK are for its responses from now on, an ACK of the one before it still for that.
    #[inline(never)]
    pub(crate) fn note_reinvite(&mut self, call: Option<CallRef>, client: ClientRef) {
        if let Some(media) = call.and_then(|call| self.calls.find_mut(call)).and_then(|call| call.media.as_mut()) {
            let before = media.invite.replace(client);
            if let Some(transaction) = self.clients.find_mut(client) {
                transaction.before = before;
            }
        }
    }

    /// A request of a call that goes through a node; true: it is refused, or comes back later.
    #[inline(never)]
    pub(crate) fn holds_request(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        forward: &Forward<'_>,
    ) -> bool {
        let (Some(server), Some(call), Some((attempt, figure))) = (forward.server, forward.call, forward.media) else {
            return false;
        };
        let message = incoming.message;
        let span = match find_sdp(message) {
            Body::None => return false,
            Body::Unreadable => {
                self.counters.count(Counter::MediaRefused);
                self.answer_server(turn, server, Some(incoming), 488, b"");
                return true;
            }
            Body::Sdp(span) => span,
        };
        let (sender, other) = tags(message);
        let (verb, from_tag, to_tag) =
            if figure == Figure::Offered { (Verb::Offer, sender, other) } else { (Verb::Answer, other, sender) };
        // Its transaction may be over before the node has answered, and whose offer it was must be known all the same.
        let held = self.servers.find(server).and_then(|transaction| transaction.request);
        held.iter().for_each(|request| self.pool.share(*request));
        let exchange = Exchange {
            call,
            subject: Subject::Request(server),
            verb,
            asked: true,
            flow: incoming.flow,
            held,
            whole: 0,
            next: None,
            timeout_at: self.media_deadline(turn),
        };
        let asked = self.open_exchange(exchange, false).and_then(|exchange| {
            let ask = Ask { verb, attempt, candidate: None, from_tag, to_tag, sdp: message.text(span) };
            let asked = self.ask(turn, call, Engine::exchange_id(exchange), &ask);
            if asked.is_err() {
                self.close_exchange(exchange);
            }
            asked.map(|()| exchange)
        });
        match asked {
            Ok(exchange) => {
                if let Some(transaction) = self.servers.find_mut(server) {
                    transaction.exchange = Some(exchange);
                }
                if verb == Verb::Answer {
                    self.note_prack(call, message, true);
                }
            }
            Err(full) => self.answer_full(turn, server, incoming, full),
        }
        true
    }

    /// The INVITE's figure hears of the answer in its ACK.
    fn note_answered(&mut self, invite: Option<ClientRef>) {
        if let Some(transaction) = invite.and_then(|invite| self.clients.find_mut(invite))
            && let Some((then, _)) = step(transaction.media, Event::Ack)
        {
            transaction.media = then;
        }
    }

    /// A node has answered for a request inside a dialog, or none has.
    pub(super) fn on_request_back(
        &mut self,
        turn: &mut Turn<'_>,
        server: ServerRef,
        exchange: &Exchange,
        result: Result<'_>,
    ) {
        let offers = exchange.verb == Verb::Offer;
        let attempt =
            self.calls.find(exchange.call).and_then(|call| call.media.as_ref()).map_or(0, |media| media.attempt);
        let transaction = self.servers.find_mut(server).filter(|transaction| transaction.state.pending());
        let held = transaction.and_then(|transaction| {
            transaction.exchange = None;
            Some((transaction.request?, transaction.source, transaction.key, transaction.call_hash))
        });
        let gone_on = match (held, result) {
            // It was cancelled, or its call has ended.
            (None, _) => false,
            (Some(_), Err(outcome)) => {
                let status = if outcome == MediaOutcome::Refused { 488 } else { 503 };
                // Not for the node's sake: no Retry-After, and the call goes on.
                self.answer_server(turn, server, None, status, b"");
                // Of a refused offer, and of one that no node got, the node knows nothing.
                outcome != MediaOutcome::Failed
            }
            (Some((held, flow, key, call_hash)), Ok(sdp)) => {
                let mut copy = core::mem::take(&mut self.resumed);
                let length = with_body(self.pool.bytes(held), Some(sdp), &mut copy);
                let mut message = Message::unread();
                let gone_on = match length.map(|length| message.read_in_place(&copy[..length])) {
                    Some(Ok(())) => {
                        let source = Source::new(&message.via(), &message, flow);
                        let incoming = Incoming { message: &message, flow, call_hash, key, source, relayed: true };
                        let state = if offers { Figure::Offered } else { Figure::Closed };
                        let method = match message.start() {
                            StartLine::Request { method, .. } => method,
                            StartLine::Response { .. } => unreachable!("it was a request when it came"),
                        };
                        self.go_on_in_dialog(turn, &incoming, (method, state), server)
                    }
                    _ => {
                        self.answer_server(turn, server, None, 513, b"");
                        false
                    }
                };
                self.resumed = copy;
                gone_on
            }
        };
        if gone_on {
            return;
        }
        self.with_held(exchange.held, |engine, message| {
            if offers {
                engine.restore(turn, exchange.call, attempt, tags(message));
            } else {
                // It comes again as a new PRACK, and answers then.
                engine.note_prack(exchange.call, message, false);
            }
        });
    }

    /// An ACK of a call that goes through a node; true: it comes back later, or was told already. `opens`: it is that of the call's INVITE.
    #[inline(never)]
    pub(crate) fn holds_ack(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        (call, side): (CallRef, Side),
        opens: bool,
    ) -> bool {
        let message = incoming.message;
        let span = match find_sdp(message) {
            Body::None => return false,
            Body::Unreadable => {
                self.counters.count(Counter::MediaRefused);
                self.ack_goes_on(turn, incoming, Given::Nothing, call, opens, true);
                return true;
            }
            Body::Sdp(span) => span,
        };
        let Some(record) = self.calls.find(call) else { return false };
        let Some(media) = &record.media else { return false };
        if media.waits.is_some_and(|exchange| self.exchanges.find(exchange).is_some()) {
            // The one that waits is as good.
            self.counters.count(Counter::RetransmissionsAbsorbed);
            return true;
        }
        let (attempt, number) = (media.attempt, message.cseq().number);
        let ((sender, other), sdp) = (tags(message), message.text(span));
        let print = self.print(sender, sdp);
        let invite = self.invite_of(media, side, number, opens);
        let transaction = invite.and_then(|invite| self.clients.find(invite));
        let kept = transaction.and_then(|transaction| transaction.kept[1]);
        if let Some(kept) = kept.filter(|kept| self.kept(*kept).is_some_and(|(known, ..)| known == print)) {
            self.counters.count(Counter::MediaReused);
            self.ack_goes_on(turn, incoming, Given::Kept(kept), call, opens, false);
            return true;
        }
        // Its PRACK has answered already.
        let fork = || record.dialogs.place(self.hash_tag(message.to().tag.map(|tag| message.text(tag))));
        let answered =
            |figure| opens && figure == Figure::Settled && fork().is_some_and(|fork| media.has_answered(fork));
        if transaction.is_none_or(|invite| step(invite.media, Event::Ack).is_none() || answered(invite.media)) {
            // Nothing was offered that it could answer (RFC 3264 §5): what it says goes nowhere.
            self.counters.count(Counter::MediaRefused);
            self.ack_goes_on(turn, incoming, Given::Nothing, call, opens, false);
            return true;
        }
        let Ok(held) = self.pool.store(message.bytes()) else {
            // Lost, as on the way: the 2xx comes again, and so does the ACK.
            self.counters.count(Counter::Full);
            return true;
        };
        let exchange = Exchange {
            call,
            subject: Subject::Ack(opens, invite),
            verb: Verb::Answer,
            asked: true,
            flow: incoming.flow,
            held: Some(held),
            whole: print,
            next: None,
            timeout_at: self.media_deadline(turn),
        };
        if let Ok(exchange) = self.open_exchange(exchange, false) {
            let ask = Ask { verb: Verb::Answer, attempt, candidate: None, from_tag: other, to_tag: sender, sdp };
            if self.ask(turn, call, Engine::exchange_id(exchange), &ask).is_err() {
                self.close_exchange(exchange);
            } else {
                self.note_answered(invite);
                if let Some(media) = self.calls.find_mut(call).and_then(|call| call.media.as_mut()) {
                    media.waits = Some(exchange);
                }
            }
        }
        true
    }

    /// A node has answered for an ACK, or none has: then it goes without SDP. A call that it opens ends with that, one that stands goes on.
    pub(super) fn on_ack_back(
        &mut self,
        turn: &mut Turn<'_>,
        (opens, invite): (bool, Option<ClientRef>),
        exchange: &Exchange,
        result: Result<'_>,
    ) {
        let (call, flow, print) = (exchange.call, exchange.flow, exchange.whole);
        let Some(media) = self.calls.find_mut(call).and_then(|call| call.media.as_mut()) else { return };
        media.waits = None;
        self.with_held(exchange.held, |engine, message| {
            let call_hash = engine.settings.steering.hash_call_id(message.call_id());
            let key = engine.server_key(message, &message.via(), Method::Ack, call_hash);
            let source = Source::new(&message.via(), message, flow);
            let incoming = Incoming { message, flow, call_hash, key, source, relayed: false };
            let given = match result {
                Ok(sdp) => {
                    let tag = message.from().tag.map(|tag| message.text(tag)).unwrap_or_default();
                    let kept = engine.keep(print, tag, sdp);
                    if let Some(invite) = invite {
                        engine.keep_for(invite, 1, kept);
                    }
                    Given::Sdp(sdp)
                }
                Err(_) => Given::Nothing,
            };
            engine.ack_goes_on(turn, &incoming, given, call, opens, result.is_err());
        });
    }

    /// Sends an ACK on under another SDP, or without its body; `failed`: its answer is missing.
    fn ack_goes_on(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        given: Given<'_>,
        call: CallRef,
        opens: bool,
        failed: bool,
    ) {
        let mut copy = core::mem::take(&mut self.resumed);
        let sdp = match given {
            Given::Sdp(sdp) => Some(sdp),
            Given::Kept(kept) => self.kept(kept).map(|(_, _, sdp)| sdp),
            Given::Nothing => None,
        };
        let bytes = incoming.message.bytes();
        let whole = with_body(bytes, sdp, &mut copy);
        let failed = failed || whole.is_none();
        let length = whole.or_else(|| with_body(bytes, None, &mut copy));
        let mut message = Message::unread();
        // One that comes again opens nothing.
        let first = opens && self.calls.find(call).is_some_and(|call| call.state == State::Unacknowledged);
        if let Some(length) = length
            && message.read_in_place(&copy[..length]).is_ok()
        {
            let Incoming { flow, call_hash, key, source, .. } = *incoming;
            self.go_on_with_ack(turn, &Incoming { message: &message, flow, call_hash, key, source, relayed: true });
        }
        self.resumed = copy;
        if !failed {
            return;
        }
        if first && self.calls.find(call).is_some_and(|call| call.state == State::Confirmed) {
            // The callee has no answer, and nothing was agreed before.
            self.drive_call(turn, call, crate::call::state::Event::HangUp, EndReason::Lost);
        } else if !opens {
            let attempt = self.calls.find(call).and_then(|call| call.media.as_ref()).map_or(0, |media| media.attempt);
            // What it should have answered was the other side's.
            self.restore(turn, call, attempt, super::sides(Figure::Returned, tags(incoming.message)));
        }
    }
}
