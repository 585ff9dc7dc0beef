//! Corelane ends a call by itself: BYE to both sides (SPEC §3 *BYE that Corelane sends*), and a 2xx that nobody waits for.
//!
//! Each BYE is a client transaction of its own that belongs to no call: 200, 401, 407, 481 and silence all mean that the side is
//! gone, and none of them changes anything.

use arrayvec::ArrayVec;

use super::forward::Line;
use super::reason::Cause;
use super::records::{Cancel, ClientRef, ClientState, ClientTransaction, Role, ShortTag, TransactionTimers};
use super::{Engine, SHORT, Turn};
use crate::call::session::Asked;
use crate::call::text::{DialogText, Towards};
use crate::call::{Call, CallRef, EndReason, Side};
use crate::counter::Counter;
use crate::flow::Flow;
use crate::identity::Shown;
use crate::limits::ROUTES_SIZE_MAX;
use crate::memory::buffer::CLASS_SIZES;
use crate::memory::{BufferRef, Full, Ref, Resource};
use crate::message::{Message, Method, Name, OwnRequest, Span, Writer, is_request_uri, write_own_request};
use crate::token::{Branch, BranchParts, NO_PLACE};
use crate::transaction::client;

/// Values of a Route header.
type Routes = ArrayVec<u8, ROUTES_SIZE_MAX>;

/// Where the texts of a BYE are.
#[derive(Copy, Clone)]
enum Texts<'t> {
    /// In a call's dialog text; the side that it is for.
    Kept(BufferRef, Side),
    /// In the message at hand, with its Call-ID.
    Given(Towards<'t>, &'t [u8]),
}

impl Engine {
    /// Sends BYE to both sides of a call that stands, ACK first where none was sent. Who hung up himself gets none.
    pub(crate) fn hang_up(&mut self, turn: &mut Turn<'_>, at: CallRef, reason: EndReason, acknowledged: bool) {
        let Some(call) = self.calls.find(at) else { return };
        let (call_hash, opening) = (call.call_hash, call.opening.cseq);
        let (caller, callee) = (*call.leg(Side::Caller), *call.leg(Side::Callee));
        // Without its text (no memory was left when it was answered) the call ends here alone; its peers find out by themselves.
        if let Some(text) = call.text {
            if !acknowledged {
                self.send_ack(turn, Side::Callee, (callee.flow, call_hash), opening, text);
            }
            for (side, flow, cseq, own) in [
                (Side::Callee, callee.flow, caller.cseq, EndReason::ByCallee),
                (Side::Caller, caller.flow, callee.cseq, EndReason::ByCaller),
            ] {
                if reason == own {
                    continue;
                }
                self.send_bye(turn, (flow, call_hash), cseq.wrapping_add(1), reason, Texts::Kept(text, side), true);
            }
        }
        self.end_call(turn, at, reason);
    }

    /// Acknowledges a 2xx of a side in the other's name.
    pub(crate) fn send_ack(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        (flow, call_hash): (Flow, u64),
        cseq: u32,
        text: BufferRef,
    ) {
        let via = self.own_via(flow, call_hash, NO_PLACE, cseq);
        let text = DialogText::read(self.pool.bytes(text));
        let mut target = Line::new();
        let request = own_request(b"ACK", &text.towards(side), text.call_id, flow, cseq, &via, &mut target);
        let mut writer = Writer::new(&mut self.scratch);
        write_own_request(&request, &mut writer);
        if let Ok(buffer) = writer.finish().and_then(|bytes| self.pool.store(bytes)) {
            self.send(turn, flow, buffer);
        }
    }

    /// Opens the transaction of a BYE of ours and sends it; not `repeated` it goes out once, without one.
    fn send_bye(
        &mut self,
        turn: &mut Turn<'_>,
        (flow, call_hash): (Flow, u64),
        cseq: u32,
        reason: EndReason,
        texts: Texts<'_>,
        repeated: bool,
    ) {
        let lines = Cause::of_end(reason).line();
        let (state, action) = client::start(flow.transport.reliable());
        let mut timers = TransactionTimers::idle();
        timers.apply(&action, turn.now.monotonic, false, &self.intervals);
        let role = Role {
            method: Method::Bye,
            candidate: None,
            cancel: Cancel::No,
            call: None,
            server: None,
            dialog: 0,
            sender: Side::Caller,
            cseq,
            shown: Shown::AsSent,
            asked: Asked::default(),
            attempt: 0,
        };
        let opened = match repeated {
            true => {
                self.clients.insert(ClientTransaction::new(ClientState::Other(state), role, call_hash, flow, timers))
            }
            false => Err(Full(Resource::ClientTransactions)),
        };
        // A BYE that finds no record goes out all the same, once, on a branch of its own: two forks are two dialogs.
        let which = match &texts {
            Texts::Kept(_, side) => cseq << 1 | u32::from(*side == Side::Caller),
            Texts::Given(towards, _) => cseq ^ self.hash_tag(Some(towards.to)) as u32,
        };
        let (place, generation) = opened.map_or((NO_PLACE, which), |at| (Ref::index(at), Ref::generation(at)));
        let branch = self.tokens.branch(call_hash, BranchParts { place, generation, loop_hash: 0 });
        let via = self.via(flow, &branch);
        let (towards, call_id) = match texts {
            Texts::Kept(text, side) => {
                let text = DialogText::read(self.pool.bytes(text));
                (text.towards(side), text.call_id)
            }
            Texts::Given(towards, call_id) => (towards, call_id),
        };
        let mut target = Line::new();
        let request =
            OwnRequest { lines: &lines, ..own_request(b"BYE", &towards, call_id, flow, cseq, &via, &mut target) };
        let mut writer = Writer::new(&mut self.scratch);
        write_own_request(&request, &mut writer);
        let written = writer.finish().and_then(|bytes| self.pool.store(bytes));
        match (opened, written) {
            (Ok(at), Ok(buffer)) => {
                self.pool.share(buffer);
                if let Some(transaction) = self.clients.find_mut(at) {
                    transaction.branch = branch;
                    transaction.sent = Some(buffer);
                }
                self.wheel_client(at);
                self.counters.count(Counter::ByesSent);
                self.send(turn, flow, buffer);
            }
            (Err(_), Ok(buffer)) => {
                self.counters.count(Counter::ByesSent);
                self.send(turn, flow, buffer);
            }
            (Ok(at), Err(_)) => {
                self.counters.count(Counter::Full);
                self.remove_client(at);
            }
            (Err(_), Err(_)) => self.counters.count(Counter::Full),
        }
    }

    /// A 2xx that cannot go upstream any more: ACK each time that it comes, BYE once (RFC 3261 §13.2.2.4, §16.7 step 5 as SPEC §3
    /// *Answers* narrows it). Of more than two on a branch, and where there is little room, nothing is noted and no record is taken: such a
    /// one gets its BYE each time, and no peer gets more out of Corelane than two messages for one of his.
    pub(crate) fn decline_answer(&mut self, turn: &mut Turn<'_>, at: ClientRef, message: &Message<'_>, tag: ShortTag) {
        let room = self.has_room_in_a_call();
        let Some(transaction) = self.clients.find_mut(at) else { return };
        // An INVITE's branch names the call's pass: it may be the only thing left that does.
        let (flow, call_hash, pass) = (transaction.flow, transaction.call_hash, transaction.role.dialog as u32);
        let call = transaction.role.call;
        let again = transaction.answers.delivered == Some(tag) || transaction.answers.has_ended(tag);
        let noted = !again && room && transaction.answers.end(tag);
        let cseq = message.cseq().number;
        let (mut callee_routes, mut caller_routes) = (Routes::new(), Routes::new());
        let routes = (&mut callee_routes, &mut caller_routes);
        if self.routes(message, (flow, flow), (call_hash, pass), true, routes).is_none() {
            // Too long a route set: the next hop is the gateway in any case.
            callee_routes.clear();
        }
        let towards = Towards {
            target: contact(message).map(|contact| message.text(contact)).unwrap_or_default(),
            routes: &callee_routes,
            from: message.text(message.from().value),
            to: message.text(message.to().value),
        };
        let via = self.own_via(flow, call_hash, NO_PLACE, cseq ^ at.generation());
        let mut target = Line::new();
        let request = own_request(b"ACK", &towards, message.call_id(), flow, cseq, &via, &mut target);
        if let Ok(buffer) = self.compose(SHORT, |writer| write_own_request(&request, writer)) {
            self.send(turn, flow, buffer);
        }
        if !again {
            if let Some(call) = call {
                // Another gateway's fork may have the same tag.
                let tag = self.hash_tag(message.to().tag.map(|tag| message.text(tag)));
                let ours = |call: &Call| {
                    call.branch.is_none_or(|running| running == at) && call.dialogs.confirmed() != Some(tag)
                };
                if self.calls.find(call).is_some_and(ours) {
                    self.forget_fork(call, tag);
                }
            }
            self.release_branch(at);
            self.counters.count(Counter::AnswersUndelivered);
            let texts = Texts::Given(towards, message.call_id());
            // A PRACK or UPDATE may have gone on from the INVITE's number in this dialog (RFC 3261 §12.2.1.1).
            let last = call.and_then(|call| self.calls.find(call)).map_or(cseq, |call| call.caller.cseq.max(cseq));
            self.send_bye(turn, (flow, call_hash), last.wrapping_add(1), EndReason::Cancelled, texts, noted);
        }
    }

    /// The texts of the dialog that a 2xx makes, for the time when Corelane ends it; `None` without memory. A route set that is longer than
    /// any in use is left out, and so is one for which there is little memory: the next hop is the learned peer in any case, and how each side
    /// knows the caller must be known.
    pub(crate) fn compose_text(&mut self, at: CallRef, flow: Flow, answer: &Message<'_>) -> Option<BufferRef> {
        let call = self.calls.find(at)?;
        let (opening, call_hash, caller) = (call.opening, call.call_hash, call.caller.flow);
        let invite = self.servers.find(call.server)?.request;
        let (mut callee_routes, mut caller_routes) = (Routes::new(), Routes::new());
        let routes = (&mut callee_routes, &mut caller_routes);
        if self.routes(answer, (flow, caller), (call_hash, call.pass), opening.record_routed, routes).is_none() {
            callee_routes.clear();
            caller_routes.clear();
        }
        let invite = invite.map_or(&[][..], |buffer| self.pool.bytes(buffer));
        let answered_from = answer.text(answer.from().value);
        let own_from = if call.shown != Shown::AsSent { super::identity::from_of(invite) } else { None };
        let mut text = DialogText {
            call_id: answer.call_id(),
            caller: own_from.unwrap_or(answered_from),
            callee: answer.text(answer.to().value),
            caller_target: opening
                .contact
                .and_then(|span| invite.get(span.start.into()..span.end.into()))
                .unwrap_or_default(),
            callee_target: contact(answer).map(|contact| answer.text(contact)).unwrap_or_default(),
            caller_routes: &caller_routes,
            callee_routes: &callee_routes,
            shown: own_from.map_or(&[][..], |_| answered_from),
        };
        // A long text takes a buffer that INVITEs need: not the second half of them.
        let spare = self.pool.live_by_class()[1] < self.settings.budget.buffers[1] / 2;
        if !spare && text.length() > CLASS_SIZES[0] {
            text = text.without_ways();
        }
        let mut writer = Writer::new(&mut self.scratch);
        text.write(&mut writer);
        let written = writer.finish().and_then(|bytes| {
            if bytes.len() > CLASS_SIZES[0] && !spare { Err(Full(Resource::Buffers)) } else { self.pool.store(bytes) }
        });
        if written.is_err() {
            self.counters.count(Counter::Full);
        }
        written.ok()
    }

    /// A side gave a new Contact (RFC 3261 §12.2.1.2, RFC 3311 §5.1): a request of ours goes there from now on.
    pub(crate) fn refresh_target(&mut self, at: CallRef, side: Side, message: &Message<'_>) {
        let Some(old) = self.calls.find(at).and_then(|call| call.text) else { return };
        let Some(target) = contact(message).map(|contact| message.text(contact)) else { return };
        let text = DialogText::read(self.pool.bytes(old));
        if text.towards(side).target == target {
            return;
        }
        let text = match side {
            Side::Caller => DialogText { caller_target: target, ..text },
            Side::Callee => DialogText { callee_target: target, ..text },
        };
        let mut writer = Writer::new(&mut self.scratch);
        text.write(&mut writer);
        // Without memory the old target stays: it leads to the same peer, whose address is learned.
        if let Ok(buffer) = writer.finish().and_then(|bytes| self.pool.store(bytes)) {
            self.pool.release(old);
            if let Some(call) = self.calls.find_mut(at) {
                call.text = Some(buffer);
            }
        }
    }

    /// The Route values of both sides from the Record-Route of a 2xx: those above ours lead to the callee, in reverse; those below to
    /// the caller (RFC 3261 §12.1.1, §12.1.2). They are written where they stay, since they are large. `None` when they are longer than [`ROUTES_SIZE_MAX`].
    fn routes(
        &self,
        answer: &Message<'_>,
        (callee, caller): (Flow, Flow),
        (call_hash, pass): (u64, u32),
        others: bool,
        (to_callee, to_caller): (&mut Routes, &mut Routes),
    ) -> Option<()> {
        let ours = 1 + usize::from(callee.listener != caller.listener);
        // Nearly every call: nobody else is in the way.
        if !others {
            let one = answer.only_value(Name::RecordRoute).map(|_| 1);
            if one.unwrap_or_else(|| answer.values(Name::RecordRoute).count()) == ours {
                return Some(());
            }
        }
        let mut above = ArrayVec::<Span, 32>::new();
        let mut passed = false;
        for value in answer.values(Name::RecordRoute) {
            // Another pass of this Call-ID through us is a proxy like any other (a spiral).
            if self.token_in_route(answer, value, call_hash) == Some(pass) {
                passed = true;
            } else if passed {
                append(to_caller, answer.text(value))?;
            } else {
                above.try_push(value).ok()?;
            }
        }
        // A peer that lost ours lost the order with it.
        if passed {
            for value in above.iter().rev() {
                append(to_callee, answer.text(*value))?;
            }
        }
        Some(())
    }

    fn own_via(&self, flow: Flow, call_hash: u64, place: u32, generation: u32) -> Line {
        let branch: Branch = self.tokens.branch(call_hash, BranchParts { place, generation, loop_hash: 0 });
        self.via(flow, &branch)
    }
}

/// A request to a side. A side without a Contact, or with one that cannot be asked for, is asked for by its address.
fn own_request<'e>(
    method: &'e [u8],
    towards: &Towards<'e>,
    call_id: &'e [u8],
    flow: Flow,
    cseq: u32,
    via: &'e [u8],
    address: &'e mut Line,
) -> OwnRequest<'e> {
    let target = if !is_request_uri(towards.target) {
        let mut uri = [0; 80];
        let mut writer = Writer::new(&mut uri);
        writer.put(b"sip:");
        writer.put_ip(flow.peer.ip, true);
        writer.put(b":");
        writer.put_number(flow.peer.port.into());
        address.extend(writer.finish().unwrap_or_default().iter().copied());
        address.as_slice()
    } else {
        towards.target
    };
    OwnRequest {
        method,
        target,
        routes: towards.routes,
        via,
        from: towards.from,
        to: towards.to,
        call_id,
        cseq,
        lines: b"",
    }
}

/// What the first Contact has for a URI. Whether it is one is asked when a request is made of it, which is seldom.
pub(crate) fn contact(message: &Message<'_>) -> Option<Span> {
    message.first_address(Name::Contact).map(|contact| contact.uri)
}

fn append(routes: &mut Routes, value: &[u8]) -> Option<()> {
    if !routes.is_empty() {
        routes.try_extend_from_slice(b", ").ok()?;
    }
    routes.try_extend_from_slice(value).ok()
}
