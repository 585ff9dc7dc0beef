//! Responses: to their branch, and from there upstream (RFC 3261 §16.7).

use super::records::{Cancel, ClientEvent, ClientRef, ClientTransaction, Role, ServerEvent, ServerRef};
use super::{Engine, Turn};
use crate::call::{CallRef, EndReason, State};
use crate::counter::Counter;
use crate::memory::Ref;
use crate::message::{Message, Method, Name};
use crate::time::Instant;
use crate::token::Tokens;
use crate::transaction::Tell;

impl Engine {
    pub(crate) fn on_response(&mut self, turn: &mut Turn<'_>, message: &Message<'_>, call_hash: u64, status: u16) {
        let Some(at) = self.find_branch(message, call_hash) else {
            // RFC 6026 §8.9: what matches no transaction is dropped, a 2xx too.
            self.counters.count(Counter::StrayResponses);
            return;
        };
        if self.drive_client(turn, at, ClientEvent::Response(status), Some(message)) != Some(Tell::Message) {
            self.counters.count(Counter::RetransmissionsAbsorbed);
            return;
        }
        let Some(role) = self.clients.find(at).map(|transaction| transaction.role) else { return };
        if role.method == Method::Invite && status < 200 {
            self.on_progress(turn, at, status);
        }
        // RFC 3261 §16.7 step 5: a 100 is for the hop that it was sent on.
        if status == 100 {
            return;
        }
        if let Some(call) = role.call
            && status < 300
        {
            self.note_in_call(turn, call, message, role, status);
        }
        if let Some(server) = role.server {
            self.deliver(turn, server, message, role, status);
        }
        if status < 200 {
            return;
        }
        if role.opens
            && status >= 300
            && let Some(call) = role.call
        {
            self.end_call(call, EndReason::Refused);
        }
        // A challenged BYE comes again with credentials; any other final answer ends the dialog.
        if role.method == Method::Bye && !matches!(status, 401 | 407) {
            self.end_dialog(role.call, role.dialog);
        }
    }

    /// The client transaction of a response, by our own branch token (RFC 3261 §17.1.3). The branch says where to look, and as a
    /// whole whether it is this one: nobody guesses its MAC, and one of an earlier run is another.
    fn find_branch(&self, message: &Message<'_>, call_hash: u64) -> Option<ClientRef> {
        let branch = message.text(message.via().branch?);
        let (place, generation) = Tokens::branch_hint(branch)?;
        let at = Ref::from_parts(place, generation);
        let same =
            |transaction: &&ClientTransaction| transaction.branch == *branch && transaction.call_hash == call_hash;
        let transaction = self.clients.find(at).filter(same)?;
        let cseq = message.cseq();
        if cseq.method == transaction.role.method {
            return Some(at);
        }
        // A CANCEL shares the branch of its INVITE.
        (cseq.method == Method::Cancel).then_some(transaction.cancel_branch).flatten()
    }

    /// An INVITE's 1xx: Timer C starts with the first one and again with each but a 100 (RFC 3261 §16.7 step 2); a CANCEL that
    /// waited goes out.
    fn on_progress(&mut self, turn: &mut Turn<'_>, at: ClientRef, status: u16) {
        let deadline = turn.now.monotonic.after(self.settings.timers.ring_timeout);
        let Some(transaction) = self.clients.find_mut(at) else { return };
        if transaction.role.cancel == Cancel::No {
            if status > 100 || transaction.timers.timeout_at == Instant::NEVER {
                transaction.timers.timeout_at = deadline;
                self.wheel_client(at);
            }
        } else {
            let why = transaction.role.cancel;
            self.cancel(turn, at, why);
        }
    }

    /// What a response below 300 means for the call's dialogs and timers.
    fn note_in_call(&mut self, turn: &mut Turn<'_>, at: CallRef, message: &Message<'_>, role: Role, status: u16) {
        if !role.opens {
            // A refresh (RFC 3261 §12.2.1.2, RFC 3311 §5): only a confirmed dialog has its own deadline.
            let refreshes = status >= 200 && matches!(role.method, Method::Invite | Method::Update);
            if refreshes && self.calls.find(at).is_some_and(|call| call.state == State::Confirmed) {
                self.restart_default_timeout(turn, at);
            }
            return;
        }
        let tag = message.to().tag.map(|tag| message.text(tag));
        let tag_hash = self.hash_tag(tag);
        let Some(call) = self.calls.find_mut(at) else { return };
        // RFC 3261 §12.1.2: a 2xx of an old peer without a tag makes a dialog all the same, a provisional one none.
        let learnt =
            if status >= 200 { call.dialogs.confirm(tag_hash) } else { tag.is_none() || call.dialogs.learn(tag_hash) };
        if status >= 200 && call.state == State::Early {
            let deadline = turn.now.monotonic.after(self.settings.timers.noack_timeout);
            call.state = State::Unacknowledged;
            call.timeout_at = deadline;
            self.wheel.set(self.places.call(at), deadline);
            self.counters.count(Counter::CallsAnswered);
        }
        if !learnt {
            self.counters.count(Counter::ForksForgotten);
        }
    }

    /// Sends a response upstream, or what stands for it there.
    fn deliver(&mut self, turn: &mut Turn<'_>, server: ServerRef, message: &Message<'_>, role: Role, status: u16) {
        if role.method != Method::Invite {
            match status {
                // RFC 4320 §4.1: no provisional but 100 to a non-INVITE, and that stays on its hop.
                ..200 => return,
                // RFC 4320 §4.2: nor a 408; who asked has timed out by himself.
                408 => return self.remove_server(server),
                _ => {}
            }
        }
        let substitute = match status {
            // RFC 3261 §16.8: the caller of a branch that Timer C ended did not cancel.
            487 if role.cancel == Cancel::ByRingTimeout => Some(408),
            // RFC 3261 §16.7 step 6: our peer's overload is not ours. A downstream Contact never leaks (SPEC §3 *Hunt*).
            503 | 300..=399 if role.opens => Some(500),
            _ => None,
        };
        if let Some(status) = substitute {
            return self.answer_server(turn, server, None, status, b"");
        }
        if !has_second_via(message) {
            // RFC 3261 §16.7 step 3: with our Via gone there is nobody left that it could be for.
            return self.counters.count(Counter::StrayResponses);
        }
        match self.compose_upstream(turn, server, message, role) {
            Ok(buffer) => {
                self.drive_server(turn, server, ServerEvent::Response(status), Some(buffer));
            }
            // No memory: an INVITE's 2xx is repeated by the callee, another final answer is given from what the transaction
            // holds, and who sent a non-INVITE asks again or times out.
            Err(_) if role.method != Method::Invite => self.remove_server(server),
            Err(_) if status >= 300 => self.answer_server(turn, server, None, 500, b""),
            Err(_) => {}
        }
    }

    /// A dialog of a call is over; with the last confirmed one the call is.
    pub(crate) fn end_dialog(&mut self, call: Option<CallRef>, dialog: u64) {
        let Some(at) = call else { return };
        let last = |call: &mut crate::call::Call| call.dialogs.end(dialog) && call.state != State::Early;
        // RFC 3261 §15: a BYE within an early dialog ends that dialog; the INVITE goes on.
        if self.calls.find_mut(at).is_some_and(last) {
            self.end_call(at, EndReason::Bye);
        }
    }
}

/// Whether a Via stands below the topmost one.
fn has_second_via(message: &Message<'_>) -> bool {
    let mut fields = message.fields().iter().filter(|field| field.name == Name::Via);
    let same_field = fields.next().is_some_and(|field| message.via().value.end < field.value.end);
    same_field || fields.next().is_some()
}
