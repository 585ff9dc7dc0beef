//! Requests inside a dialog: found by our own token, the Call-ID and both tags; sent to the other side's learned peer
//! (RFC 3261 §16.4, §16.6, §16.12).

use super::answer::{Incoming, Refusal};
use super::forward::Forward;
use super::records::{Role, ServerRef};
use super::{Engine, Turn};
use crate::call::session::{Asked, asked_in_dialog};
use crate::call::state::Event;
use crate::call::{Call, CallRef, EndReason, Known, Leaving, Side, State, media};
use crate::counter::Counter;
use crate::message::{Message, Method, Name, Rewrite, Span, StartLine};
use crate::routing::Refer;
use crate::token::{DIALOG_LENGTH, TOKEN_NAME, TOKEN_PARAMETER};

/// An in-dialog request's call and the way on.
struct DialogMatch {
    call: CallRef,
    side: Side,
    /// The callee's tag.
    dialog: u64,
    strip_routes: usize,
    /// Strict-router repair: the Request-URI was ours, the last Route is the target.
    target: Option<Span>,
}

impl Engine {
    pub(crate) fn on_dialog_request(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>, method: Method) {
        let Some(found) = self.find_dialog(incoming) else {
            if self.awaits_dialog(incoming) {
                // Who hangs up would not ask again after a refusal. He repeats what nobody answers, and by then there is the dialog.
                if method == Method::Bye {
                    return self.counters.count(Counter::ByesEarly);
                }
                // Passed on now it would overtake the response that makes its dialog: the caller would know no such one. Soon he does
                // (RFC 3261 §14.2, RFC 3311 §5.2).
                let lines = self.retry_after();
                return self.answer_stateless(turn, incoming, 500, &lines);
            }
            return self.refuse_unknown_dialog(turn, incoming);
        };
        let Some(mut forward) = self.dialog_forward(turn, incoming, &found, method) else { return };
        // The last records are for what ends calls: one dialog must not keep the others from it (I8).
        let ends = matches!(method, Method::Bye | Method::Prack);
        if !ends && !self.has_room_in_a_call() {
            return self.refuse_full(turn, incoming);
        }
        let Ok(server) = self.open_server(turn, incoming, method, Some(found.call)) else {
            return self.on_full_in_dialog(turn, incoming, &found, method);
        };
        if let Some(status) = self.own_answer(turn, &found, method) {
            return self.answer_server(turn, server, Some(incoming), status, b"");
        }
        // With state, so that the ACK of a refused re-INVITE ends here and not at the other side (RFC 3261 §17.1.1.3).
        if let Some(refusal) = self.check(incoming.message).or_else(|| check_target(incoming.message, &found)) {
            return self.answer_server(turn, server, Some(incoming), refusal.status, &refusal.lines);
        }
        if method == Method::Invite {
            self.answer_server(turn, server, Some(incoming), 100, b"");
        }
        self.note_request(&found, incoming.message, method);
        forward.server = Some(server);
        if forward.media.is_some() && self.holds_request(turn, incoming, &forward) {
            return;
        }
        self.forward_in_dialog(turn, incoming, &forward);
    }

    #[inline(always)]
    fn forward_in_dialog(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>, forward: &Forward<'_>) -> bool {
        let Some(server) = forward.server else { return false };
        let forwarded = self.forward(turn, incoming, forward);
        match forwarded {
            Ok(client) => {
                if let Some(transaction) = self.servers.find_mut(server) {
                    transaction.client = Some(client);
                }
                if forward.media.is_some() && forward.method == Method::Invite {
                    self.note_reinvite(forward.call, client);
                }
            }
            // Who hangs up is not kept: the call ends from here.
            Err(_) if forward.method == Method::Bye && self.stands(forward.call, forward.dialog) => {
                self.counters.count(Counter::Full);
                self.answer_server(turn, server, Some(incoming), 200, b"");
                self.hang_up_for(turn, forward.call, forward.sender);
            }
            Err(full) => self.answer_full(turn, server, incoming, full),
        }
        forwarded.is_ok()
    }

    /// No record for a request inside a dialog: 503. A BYE needs none to be obeyed (RFC 3261 §15.1.2).
    #[cold]
    fn on_full_in_dialog(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        found: &DialogMatch,
        method: Method,
    ) {
        let passes = self.check(incoming.message).or_else(|| check_target(incoming.message, found)).is_none();
        if method != Method::Bye || !passes || !self.stands(Some(found.call), found.dialog) {
            return self.refuse_full(turn, incoming);
        }
        self.counters.count(Counter::Full);
        self.answer_stateless(turn, incoming, 200, b"");
        self.hang_up_for(turn, Some(found.call), found.side);
    }

    /// A peer's BYE was challenged, and comes again.
    pub(crate) fn on_challenged_bye(&mut self, role: Role) {
        let call = role.call.and_then(|call| self.calls.find_mut(call));
        if let Some(call) = call.filter(|call| call.dialogs.confirmed() == Some(role.dialog)) {
            call.leaving = Leaving::No;
        }
    }

    /// Whether a dialog is the one that its call stands for, also where Corelane has just ended that.
    fn stands(&self, call: Option<CallRef>, dialog: u64) -> bool {
        call.and_then(|call| self.calls.find(call))
            .is_some_and(|call| call.dialogs.known(dialog) == Some(Known::Confirmed))
    }

    /// A side has hung up whose BYE could not go on: the other one gets Corelane's.
    fn hang_up_for(&mut self, turn: &mut Turn<'_>, call: Option<CallRef>, side: Side) {
        let reason = match side {
            Side::Caller => EndReason::ByCaller,
            Side::Callee => EndReason::ByCallee,
        };
        if let Some(call) = call {
            self.drive_call(turn, call, Event::HangUp, reason);
        }
    }

    /// A request inside a dialog comes back from its media node, and goes on where it was held; false: it could not. `state` is what its SDP was asked
    /// as.
    pub(crate) fn go_on_in_dialog(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        (method, state): (Method, media::State),
        server: ServerRef,
    ) -> bool {
        let found = self.find_dialog(incoming);
        let forward = found.as_ref().and_then(|found| {
            let forward = self.dialog_forward(turn, incoming, found, method)?;
            self.own_answer(turn, found, method).is_none().then_some(forward)
        });
        let Some(mut forward) = forward else {
            // The dialog ended in the meantime.
            self.answer_server(turn, server, Some(incoming), 481, b"");
            return false;
        };
        forward.server = Some(server);
        forward.media = forward.media.map(|(attempt, _)| (attempt, state));
        self.forward_in_dialog(turn, incoming, &forward)
    }

    /// Whether the request belongs to a dialog that its token names, though it carries no To tag: the other side gave none.
    pub(crate) fn names_dialog(&self, incoming: &Incoming<'_, '_>) -> bool {
        incoming.message.first(Name::Route).is_some() && self.find_dialog(incoming).is_some()
    }

    /// An ACK that comes back from a media node goes on as one that has just come.
    #[inline(never)]
    pub(crate) fn go_on_with_ack(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>) {
        self.on_dialog_ack(turn, incoming);
    }

    /// The ACK for a 2xx: end to end, without a transaction.
    #[inline(always)]
    pub(crate) fn on_dialog_ack(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>) {
        let found = self.find_dialog(incoming).filter(|_| incoming.message.max_forwards() != Some(0));
        let Some(found) = found else {
            self.counters.count(Counter::StrayAcks);
            return;
        };
        let Some(call) = self.calls.find(found.call) else { return };
        let number = incoming.message.cseq().number;
        // The ACK of a re-INVITE that was refused without state ends here too: that INVITE's number never went on. Nor does what a strict
        // router left without a target.
        if number > call.leg(found.side).cseq || check_target(incoming.message, &found).is_some() {
            return self.counters.count(Counter::StrayAcks);
        }
        let opens = number == call.opening.cseq && found.side == Side::Caller;
        let through_a_node = call.media.is_some() && call.state != State::HungUp;
        if through_a_node && !incoming.relayed && self.holds_ack(turn, incoming, (found.call, found.side), opens) {
            return;
        }
        let Some(call) = self.calls.find(found.call) else { return };
        if call.state == State::HungUp {
            // Corelane acknowledged the 2xx itself before its BYE.
            return self.counters.count(Counter::StrayAcks);
        }
        let confirms = found.side == Side::Caller
            && number == call.opening.cseq
            && call.dialogs.known(found.dialog) == Some(Known::Confirmed);
        // It goes on first: the call may be one that ends as soon as it is acknowledged.
        if let Some(forward) = self.dialog_forward(turn, incoming, &found, Method::Ack) {
            self.forward_stateless(turn, incoming, &forward);
        }
        if confirms {
            self.drive_call(turn, found.call, Event::Ack, EndReason::Refused);
        }
    }

    /// What Corelane itself says to a request inside a dialog.
    fn own_answer(&self, turn: &Turn<'_>, found: &DialogMatch, method: Method) -> Option<u16> {
        let call = self.calls.find(found.call)?;
        match (call.state, method) {
            // A BYE that crosses ours ends the same dialog; anything else comes too late (RFC 3261 §15.1.2).
            (State::HungUp, Method::Bye) => Some(200),
            (State::HungUp, _) => Some(481),
            (_, Method::Refer) => {
                let provider = turn.image.provider(call.provider);
                provider.is_none_or(|provider| provider.refer == Refer::Reject).then_some(403)
            }
            _ => None,
        }
    }

    /// What a request tells about its side: its CSeq number, and that it leaves.
    fn note_request(&mut self, found: &DialogMatch, message: &Message<'_>, method: Method) {
        let number = message.cseq().number;
        if let Some(call) = self.calls.find_mut(found.call) {
            let leg = call.leg_mut(found.side);
            // A number that goes backwards is the peer's to refuse (RFC 3261 §12.2.2); ours only grow.
            leg.cseq = leg.cseq.max(number);
            if method == Method::Bye && call.dialogs.confirmed() == Some(found.dialog) {
                call.leaving = Leaving::Peer;
            }
        }
    }

    #[inline(always)]
    fn dialog_forward<'m>(
        &self,
        turn: &Turn<'_>,
        incoming: &Incoming<'_, 'm>,
        found: &DialogMatch,
        method: Method,
    ) -> Option<Forward<'m>> {
        let call = self.calls.find(found.call)?;
        let to = match found.side {
            Side::Caller => call.callee.flow,
            Side::Callee => call.caller.flow,
        };
        Some(Forward {
            method,
            to,
            call: Some(found.call),
            server: None,
            request_uri: found.target.map(|target| incoming.message.text(target)),
            strip_routes: found.strip_routes,
            drop_last_route: found.target.is_some(),
            record_route: None,
            loop_hash: 0,
            dialog: found.dialog,
            sender: found.side,
            asked: match method {
                Method::Invite | Method::Update => asked_in_dialog(incoming.message),
                _ => Asked::default(),
            },
            candidate: None,
            shown: call.shown,
            media: match method {
                Method::Invite | Method::Update | Method::Prack | Method::Ack => {
                    call.media.as_ref().map(|media| self.figure_in_dialog(call, media, method, incoming.message))
                }
                _ => None,
            },
            rewrite: Rewrite {
                drop: self.withheld_from(turn, call, found.side, None, incoming.message),
                ..Rewrite::NOTHING
            },
        })
    }

    fn find_dialog(&self, incoming: &Incoming<'_, '_>) -> Option<DialogMatch> {
        let message = incoming.message;
        let (pass, strip_routes, target) = self.own_token(message, incoming.call_hash)?;
        let place = self.call_index.find(Call::key(incoming.call_hash, pass))?;
        let call = self.calls.at(place)?;
        let tag = |tag: Option<Span>| self.hash_tag(tag.map(|tag| message.text(tag)));
        let record = self.calls.find(call)?;
        let (side, dialog) = record.dialogs.sender(tag(message.from().tag), tag(message.to().tag))?;
        // Both ends know both tags and the token: neither may speak in the other's name.
        let from = incoming.flow.peer.ip;
        let (own, other) = (record.leg(side).flow.peer.ip, record.leg(side.other()).flow.peer.ip);
        if from == other && from != own {
            return None;
        }
        Some(DialogMatch { call, side, dialog, strip_routes, target })
    }

    /// Whether a request comes from the callee's side of a call whose gateway has a response with a media node: its dialog may be one that the
    /// caller has not heard of yet.
    #[cold]
    fn awaits_dialog(&self, incoming: &Incoming<'_, '_>) -> bool {
        let message = incoming.message;
        let call = self.own_token(message, incoming.call_hash).and_then(|(pass, ..)| {
            let place = self.call_index.find(Call::key(incoming.call_hash, pass))?;
            self.calls.find(self.calls.at(place)?)
        });
        let to = self.hash_tag(message.to().tag.map(|tag| message.text(tag)));
        call.filter(|call| call.is_early() && call.dialogs.is_callers(to))
            .and_then(|call| self.clients.find(call.branch?))
            .is_some_and(|branch| branch.parked.is_some() && branch.flow.peer.ip == incoming.flow.peer.ip)
    }

    /// Our own dialog token in the request: the pass, how many Route values carry it, and the repaired target.
    // Of its two callers one is cold: for the other one it is a part of itself.
    #[inline(always)]
    fn own_token(&self, message: &Message<'_>, call_hash: u64) -> Option<(u32, usize, Option<Span>)> {
        // One Route, and it is ours, as nearly always.
        if let Some(value) = message.only_value(Name::Route)
            && let Some(pass) = self.token_in_route(message, value, call_hash)
        {
            return Some((pass, 1, None));
        }
        let mut pass = None;
        let mut strip = 0;
        let mut last = None;
        let mut ours_on_top = true;
        for value in message.values(Name::Route) {
            last = Some(value);
            if ours_on_top {
                let token = self.token_in_route(message, value, call_hash);
                // Two values where two listeners are in the way (RFC 5658); another pass is another call of this Call-ID.
                ours_on_top = token.is_some() && (pass.is_none() || token == pass);
                if ours_on_top {
                    pass = token;
                    strip += 1;
                } else if let Some(pass) = pass {
                    return Some(self.behind_another_face(message, (pass, strip), call_hash));
                }
            }
        }
        if let Some(pass) = pass {
            return Some((pass, strip, None));
        }
        // RFC 3261 §16.4: a strict router put our own URI into the Request-URI and the target at the end of the Route.
        let StartLine::Request { uri, .. } = message.start() else { return None };
        let pass = self.token_in_uri(message, uri, call_hash)?;
        let target = message.parse_name_addr(last?).ok()?.uri;
        Some((pass, 0, Some(target)))
    }

    /// The same where one of our URIs is the Request-URI and another one, which `found` is of, on top of the Route: the target is at its end all
    /// the same. Either both are of one call, which passes two listeners, or the Request-URI is of the call that comes first in a spiral.
    #[cold]
    fn behind_another_face(
        &self,
        message: &Message<'_>,
        found: (u32, usize),
        call_hash: u64,
    ) -> (u32, usize, Option<Span>) {
        let first = match message.start() {
            StartLine::Request { uri, .. } => self.token_in_uri(message, uri, call_hash),
            StartLine::Response { .. } => None,
        };
        let target = message.values(Name::Route).last().and_then(|last| message.parse_name_addr(last).ok());
        match (first, target) {
            (Some(first), Some(target)) if first == found.0 => (first, found.1, Some(target.uri)),
            (Some(first), Some(target)) => (first, 0, Some(target.uri)),
            _ => (found.0, found.1, None),
        }
    }

    pub(crate) fn token_in_route(&self, message: &Message<'_>, value: Span, call_hash: u64) -> Option<u32> {
        // As we wrote it, and as nearly every peer returns it: the token is the last thing in the brackets. The MAC tells it
        // from anything else that stands there.
        if let Some(text) = message.text(value).strip_suffix(b">")
            && let Some((rest, token)) = text.split_last_chunk::<DIALOG_LENGTH>()
            && rest.ends_with(TOKEN_PARAMETER)
        {
            return self.tokens.read_dialog(call_hash, token);
        }
        self.token_in_uri(message, message.parse_name_addr(value).ok()?.uri, call_hash)
    }

    fn token_in_uri(&self, message: &Message<'_>, uri: Span, call_hash: u64) -> Option<u32> {
        let token = message.parse_uri(uri).ok()?.param(message.bytes(), TOKEN_NAME)??;
        self.tokens.read_dialog(call_hash, token)
    }
}

/// A strict router's target becomes the Request-URI: it must be one, and not empty-handed (RFC 3261 §19.1.1: no headers).
#[inline]
fn check_target(message: &Message<'_>, found: &DialogMatch) -> Option<Refusal> {
    let target = message.parse_uri(found.target?);
    let usable = target.is_ok_and(|uri| uri.headers.is_empty());
    (!usable).then(|| Refusal::new(400))
}
