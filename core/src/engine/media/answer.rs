//! SDP in responses: held back until a media node has answered, the responses behind it in their order.
//!
//! ```text
//!   183 with SDP ─► node …        180 ─► waits        200 with SDP ─► waits
//!        └─ comes back ─► upstream ─► 180 upstream ─► 200: the same SDP and tag as the 183's: the relay's SDP of that; else ─► node …
//! ```
//!
//! A final failure waits for nothing: what is held before it is provisional, and of no use any more. A response that comes again while it
//! waits is absorbed; one that comes again later has the relay's SDP that the branch has kept.

use core::time::Duration;

use super::super::hunt::Final;
use super::super::records::{Cancel, ClientRef, ClientState, Role, ShortTag};
use super::super::response::Came;
use super::super::{Engine, Turn};
use super::exchange::{Exchange, Result, Subject};
use super::{Ask, Given, carries_sdp, sides, tags, with_body};
use crate::bus::Verb;
use crate::call::media::{Act, Event, step};
use crate::call::{CallRef, EndReason, State};
use crate::counter::Counter;
use crate::limits::WAITING_RESPONSES_MAX;
use crate::message::{Body, Message, Method, Name, StartLine, find_sdp};
use crate::time::Instant;
use crate::transaction::invite_client;

/// How much longer than what it waits for a branch is kept.
const PARKED: Duration = Duration::from_millis(500);

impl Engine {
    /// A response of a call that goes through a node; true: it is dealt with here, or comes back later.
    #[inline(never)]
    pub(crate) fn holds_back(&mut self, turn: &mut Turn<'_>, at: ClientRef, came: Came<'_, '_>) -> bool {
        let Came { message, role, status, .. } = came;
        if status <= 100 {
            return false;
        }
        if status >= 300 {
            self.on_offer_refused(turn, at, role, message);
            return false;
        }
        self.note_held(turn, at, came);
        let Some(call) = role.call.filter(|call| self.speaks(*call)) else { return self.after_the_end(turn, at, came) };
        if !self.awaits(at, call, came) {
            return false;
        }
        let whole = self.print(b"", message.bytes());
        if self.clients.find(at).is_some_and(|transaction| transaction.parked.is_some()) {
            self.wait_behind(turn, at, call, came, whole);
            return true;
        }
        match find_sdp(message) {
            Body::None => {
                self.choose_fork(turn, at, call, came);
                false
            }
            Body::Unreadable => {
                self.counters.count(Counter::MediaRefused);
                self.without_answer(turn, at, message);
                true
            }
            #[cfg(feature = "canary")]
            Body::Sdp(_) if self.misses_its_node() => false,
            Body::Sdp(span) => {
                self.ask_for_response(turn, at, (call, whole), came, message.text(span));
                true
            }
        }
    }

    /// Whether a call still has a session.
    pub(super) fn speaks(&self, call: CallRef) -> bool {
        self.calls.find(call).is_some_and(|call| !matches!(call.state, State::HungUp | State::Terminated))
    }

    /// A response with SDP for a request of a call that has ended: its session is gone, and its SDP goes nowhere (RFC 3261 §15.1.2).
    fn after_the_end(&mut self, turn: &mut Turn<'_>, at: ClientRef, came: Came<'_, '_>) -> bool {
        let Came { message, role, status, .. } = came;
        let Body::Sdp(span) = find_sdp(message) else { return carries_sdp(message) };
        if !role.opens() {
            if let Some(server) = role.server.filter(|_| status >= 200) {
                self.answer_server(turn, server, None, 481, b"");
            }
            return true;
        }
        let tag = message.to().tag.map(|tag| message.text(tag));
        let short = ShortTag::of(self.hash_tag(tag));
        let Some(transaction) = self.clients.find(at) else { return false };
        if transaction.answers.delivered != Some(short) {
            // Nobody's: acknowledged and ended by Corelane, or no more than heard.
            return false;
        }
        // The 2xx again: its ACK was lost, and who waits for it is the callee.
        let print = self.print(tag.unwrap_or_default(), message.text(span));
        let kept = transaction.kept[0].filter(|kept| self.kept(*kept).is_some_and(|(known, ..)| known == print));
        self.resume(turn, at, message, kept.map_or(Given::Nothing, Given::Kept));
        true
    }

    /// Whether a response of the INVITE that opens a call would go upstream; all others would.
    fn awaits(&self, at: ClientRef, call: CallRef, came: Came<'_, '_>) -> bool {
        let Came { message, role, status, .. } = came;
        if !role.opens() {
            return true;
        }
        if status < 200 {
            return self.call_of_branch(at, *role).is_some();
        }
        let early = self.calls.find(call).is_some_and(crate::call::Call::is_early);
        let tag = ShortTag::of(self.hash_tag(message.to().tag.map(|tag| message.text(tag))));
        let again = self.clients.find(at).is_some_and(|transaction| transaction.answers.delivered == Some(tag));
        early || again && role.server.is_some_and(|server| self.servers.find(server).is_some())
    }

    /// What a response does at once, whether it waits, is lost or goes on: its branch lives, and a CANCEL may leave.
    fn note_held(&mut self, turn: &mut Turn<'_>, at: ClientRef, came: Came<'_, '_>) {
        let Came { role, status, .. } = came;
        if status >= 200 {
            return;
        }
        if role.opens() {
            let call = self.call_of_branch(at, *role);
            self.note_provisional(turn, at, call, status);
        } else if role.method == Method::Invite {
            self.on_progress(turn, at, status);
        }
    }

    /// Puts a response behind those of its branch that wait. Where there is no room it is lost, as on the way: a 2xx and a reliable 1xx come
    /// again.
    fn wait_behind(&mut self, turn: &mut Turn<'_>, at: ClientRef, call: CallRef, came: Came<'_, '_>, whole: u64) {
        let Some(transaction) = self.clients.find(at) else { return };
        let (flow, mut last, mut length) = (transaction.flow, None, 0);
        let mut next = transaction.parked;
        while let Some(place) = next {
            let Some(exchange) = self.exchanges.find(place) else { break };
            if exchange.whole == whole {
                return self.counters.count(Counter::RetransmissionsAbsorbed);
            }
            (last, next, length) = (Some(place), exchange.next, length + 1);
        }
        // The last place is for a final response.
        let room = WAITING_RESPONSES_MAX + usize::from(came.status >= 200);
        let held = if length < room { self.pool.store(came.message.bytes()).ok() } else { None };
        let Some(held) = held else { return self.counters.count(Counter::Full) };
        let waiting = Exchange {
            call,
            subject: Subject::Response(at),
            verb: Verb::Answer,
            asked: false,
            flow,
            held: Some(held),
            whole,
            next: None,
            timeout_at: Instant::NEVER,
        };
        if let Ok(place) = self.open_exchange(waiting, false)
            && let Some(last) = last.and_then(|last| self.exchanges.find_mut(last))
        {
            last.next = Some(place);
            self.note_answer(turn, at, call, came);
        }
    }

    /// A 2xx that waits for its node has answered the call, though the caller has not heard of it (RFC 3261 §16.7 step 5): its branch is the
    /// one that decides, and no other branch and no timer of one does any more. Of two the first.
    fn note_answer(&mut self, turn: &mut Turn<'_>, at: ClientRef, call: CallRef, came: Came<'_, '_>) {
        let Came { role, status, .. } = came;
        let Some(record) = self.calls.find_mut(call).filter(|call| role.opens() && status >= 200 && call.is_early())
        else {
            return;
        };
        let running = record.branch;
        let answered = running
            .and_then(|running| self.clients.find(running))
            .is_some_and(|running| running.state == ClientState::Invite(invite_client::State::Accepted));
        let Some(flow) = self.clients.find(at).filter(|_| !answered).map(|transaction| transaction.flow) else {
            return;
        };
        // While all branches can be found from the INVITE.
        if role.candidate.is_some_and(|candidate| !self.settle_on(turn, call, at, candidate)) {
            return;
        }
        let Some(record) = self.calls.find_mut(call) else { return };
        record.branch = Some(at);
        record.candidate = role.candidate;
        record.callee.flow = flow;
        // They are with the gateway that rings now.
        record.dialogs.forget_early();
        record.media.iter_mut().for_each(|media| media.answered = 0);
        if let Some(transaction) = role.server.and_then(|server| self.servers.find_mut(server)) {
            transaction.client = Some(at);
        }
        if let Some(other) = running {
            self.abandon(turn, other, Cancel::AnsweredElsewhere);
        }
    }

    /// Asks a node about the SDP of a response, unless it is the one that was asked about last.
    fn ask_for_response(
        &mut self,
        turn: &mut Turn<'_>,
        at: ClientRef,
        (call, whole): (CallRef, u64),
        came: Came<'_, '_>,
        sdp: &[u8],
    ) {
        let Came { message, role, status, .. } = came;
        let (asker, answerer) = tags(message);
        let print = self.print(answerer, sdp);
        let Some(transaction) = self.clients.find(at) else { return };
        let (flow, figure) = (transaction.flow, transaction.media);
        if let Some(kept) = transaction.kept[0]
            && self.kept(kept).is_some_and(|(known, ..)| known == print)
        {
            self.counters.count(Counter::MediaReused);
            self.choose_fork(turn, at, call, came);
            return self.resume(turn, at, message, Given::Kept(kept));
        }
        if !role.opens() && status >= 200 && self.ended_here(turn, at, message, *role) {
            return;
        }
        let Some((then, act)) = step(figure, Event::Response) else {
            // RFC 6337 §2.2: nothing was offered that it could answer.
            self.counters.count(Counter::MediaRefused);
            return self.resume(turn, at, message, Given::Nothing);
        };
        let (verb, from_tag, to_tag) = match act {
            Act::Offer => (Verb::Offer, answerer, asker),
            _ => (Verb::Answer, asker, answerer),
        };
        let Ok(held) = self.pool.store(message.bytes()) else {
            self.counters.count(Counter::Full);
            return self.without_room(turn, at, came);
        };
        let opened = self.open_exchange(
            Exchange {
                call,
                subject: Subject::Response(at),
                verb,
                asked: true,
                flow,
                held: Some(held),
                whole,
                next: None,
                timeout_at: self.media_deadline(turn),
            },
            false,
        );
        let Ok(exchange) = opened else { return self.without_room(turn, at, came) };
        let ask = Ask { verb, attempt: role.attempt, candidate: role.candidate, from_tag, to_tag, sdp };
        if self.ask(turn, call, Engine::exchange_id(exchange), &ask).is_err() {
            self.close_exchange(exchange);
            return self.without_room(turn, at, came);
        }
        let deadline = self.media_deadline(turn);
        if let Some(transaction) = self.clients.find_mut(at) {
            transaction.media = then;
            transaction.parked = Some(exchange);
            // Timer K is short: the branch of an UPDATE or PRACK must be there when the node has answered.
            if status >= 200 && transaction.timers.timeout_at <= deadline {
                transaction.timers.timeout_at = deadline.after(PARKED);
                self.wheel_client(at);
            }
        }
        if let Some(media) = self.calls.find_mut(call).and_then(|call| call.media.as_mut())
            && role.opens()
            && act == Act::Answer
        {
            // Of an answered offer nothing is left for the next gateway.
            media.answered |= u8::from(media.attempt == role.attempt);
        }
        if act == Act::Offer {
            // Its PRACK has answered it: what it repeats is asked for its own sake.
            self.choose_fork(turn, at, call, came);
        }
        self.note_answer(turn, at, call, came);
    }

    /// No room to wait in: a 2xx comes again, and so does a reliable 1xx.
    fn without_room(&mut self, turn: &mut Turn<'_>, at: ClientRef, came: Came<'_, '_>) {
        if came.status < 200 {
            self.without_answer(turn, at, came.message);
        }
    }

    /// A node has answered for a response, or none has.
    pub(super) fn on_response_back(
        &mut self,
        turn: &mut Turn<'_>,
        at: ClientRef,
        exchange: &Exchange,
        result: Result<'_>,
    ) {
        if !self.speaks(exchange.call) {
            return self.go_on_waiting(turn, at, exchange);
        }
        self.with_held(exchange.held, |engine, message| match result {
            Ok(sdp) => {
                let tag = message.to().tag.map(|tag| message.text(tag)).unwrap_or_default();
                if let Body::Sdp(span) = find_sdp(message) {
                    let print = engine.print(tag, message.text(span));
                    let kept = engine.keep(print, tag, sdp);
                    engine.keep_for(at, 0, kept);
                }
                engine.resume(turn, at, message, Given::Sdp(sdp));
            }
            Err(_) => engine.without_answer(turn, at, message),
        });
    }

    /// A response that waited behind another one: as if it had just come.
    pub(super) fn go_on_waiting(&mut self, turn: &mut Turn<'_>, at: ClientRef, exchange: &Exchange) {
        self.with_held(exchange.held, |engine, message| {
            let Some(role) = engine.clients.find(at).map(|transaction| transaction.role) else { return };
            let StartLine::Response { status, .. } = message.start() else { return };
            let came = Came { message, role: &role, status, relayed: false };
            if !engine.holds_back(turn, at, came) {
                engine.go_on(turn, at, came);
            }
        });
    }

    /// Goes on with a response under another SDP, or without its body. This, the same of a request (`inside.rs`) and the hunt set the
    /// mark of what came back.
    fn resume(&mut self, turn: &mut Turn<'_>, at: ClientRef, held: &Message<'_>, given: Given<'_>) {
        let Some(role) = self.clients.find(at).map(|transaction| transaction.role) else { return };
        let mut copy = core::mem::take(&mut self.resumed);
        let sdp = match given {
            Given::Sdp(sdp) => Some(sdp),
            Given::Kept(kept) => self.kept(kept).map(|(_, _, sdp)| sdp),
            Given::Nothing => None,
        };
        let length = with_body(held.bytes(), sdp, &mut copy);
        let mut message = Message::unread();
        if let Some(length) = length
            && message.read_in_place(&copy[..length]).is_ok()
            && let StartLine::Response { status, .. } = message.start()
        {
            self.go_on(turn, at, Came { message: &message, role: &role, status, relayed: true });
        }
        self.resumed = copy;
        if length.is_none() {
            // The relay's SDP made it too large.
            self.counters.count(Counter::Oversized);
            self.without_answer(turn, at, held);
        }
    }

    /// A response whose SDP no node could be asked for, or was refused (docs/media.md).
    fn without_answer(&mut self, turn: &mut Turn<'_>, at: ClientRef, message: &Message<'_>) {
        let Some(transaction) = self.clients.find(at) else { return };
        let (role, delivered) = (transaction.role, transaction.answers.delivered);
        let StartLine::Response { status, .. } = message.start() else { return };
        let tag = ShortTag::of(self.hash_tag(message.to().tag.map(|tag| message.text(tag))));
        match (status, role.opens()) {
            // A reliable one promises its SDP (RFC 3262 §3): it comes again, or its sender gives up.
            (..200, _) if message.first(Name::RSeq).is_some() => {}
            (..200, _) => self.resume(turn, at, message, Given::Nothing),
            // The answer that stands is another one.
            (_, true) if delivered == Some(tag) => {}
            (_, true) => self.refuse_answer(turn, at, message, role, tag),
            (_, false) => self.refuse_answer_in_dialog(turn, at, message, role, tag),
        }
    }

    /// The first 2xx of a call cannot be answered for: ACK and BYE to the callee, 500 upstream, no hunt (SPEC §5).
    fn refuse_answer(&mut self, turn: &mut Turn<'_>, at: ClientRef, message: &Message<'_>, role: Role, tag: ShortTag) {
        self.decline_answer(turn, at, message, tag);
        let Some(call) = role.call.filter(|call| self.calls.find(*call).is_some_and(crate::call::Call::is_early))
        else {
            return;
        };
        let Some(record) = self.calls.find_mut(call) else { return };
        let running = record.branch.take().filter(|running| *running != at);
        // Who cancelled meanwhile has his 487.
        let cancelled = record.state == State::Cancelling && record.given_up == EndReason::Cancelled;
        let (status, reason) = if cancelled { (487, EndReason::Cancelled) } else { (500, EndReason::Refused) };
        self.refuse_call(turn, call, reason, Final::Own(status, b""));
        if let Some(other) = running {
            self.abandon(turn, other, Cancel::Abandoned);
        }
    }

    /// The 2xx of a re-INVITE, UPDATE or PRACK cannot be answered for: 500 to who asked; what was agreed before holds, and the call goes on.
    fn refuse_answer_in_dialog(
        &mut self,
        turn: &mut Turn<'_>,
        at: ClientRef,
        message: &Message<'_>,
        role: Role,
        tag: ShortTag,
    ) {
        let Some(transaction) = self.clients.find_mut(at) else { return };
        transaction.answers.end(tag);
        let figure = transaction.media;
        if role.method == Method::Invite {
            self.acknowledge(turn, at, message, role);
        }
        if let Some(server) = role.server {
            self.answer_server(turn, server, None, 500, b"");
        }
        if let Some(call) = role.call {
            self.restore(turn, call, role.attempt, sides(figure, tags(message)));
        }
    }

    /// Whether a 2xx inside a dialog is one that was refused above: it is acknowledged each time that it comes.
    fn ended_here(&mut self, turn: &mut Turn<'_>, at: ClientRef, message: &Message<'_>, role: Role) -> bool {
        let tag = ShortTag::of(self.hash_tag(message.to().tag.map(|tag| message.text(tag))));
        let ended = self.clients.find(at).is_some_and(|transaction| transaction.answers.has_ended(tag));
        if ended && role.method == Method::Invite {
            self.acknowledge(turn, at, message, role);
        }
        ended
    }

    fn acknowledge(&mut self, turn: &mut Turn<'_>, at: ClientRef, message: &Message<'_>, role: Role) {
        let Some((flow, call_hash)) = self.clients.find(at).map(|branch| (branch.flow, branch.call_hash)) else {
            return;
        };
        if let Some(text) = role.call.and_then(|call| self.calls.find(call)).and_then(|call| call.text) {
            self.send_ack(turn, role.sender.other(), (flow, call_hash), message.cseq().number, text);
        }
    }
}
