//! Responses: to their branch, and from there upstream (RFC 3261 §16.7).

use super::records::{Cancel, ClientEvent, ClientRef, ServerEvent, ServerRef};
use super::{Engine, Turn};
use crate::call::{CallRef, EndReason, State};
use crate::counter::Counter;
use crate::memory::Ref;
use crate::message::{Message, Method, write_response};
use crate::time::Instant;
use crate::token::NO_PLACE;
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
        let Some(transaction) = self.clients.find(at) else {
            return self.counters.count(Counter::StrayResponses);
        };
        if transaction.method == Method::Invite && status < 200 {
            self.on_progress(turn, at, status);
        }
        let Some(transaction) = self.clients.find(at) else { return };
        let (method, call, server, cancel, dialog) =
            (transaction.method, transaction.call, transaction.server, transaction.cancel, transaction.dialog);
        // RFC 3261 §16.7 step 5: a 100 is for the hop that it was sent on.
        if status == 100 {
            return;
        }
        let early = call.and_then(|call| self.calls.find(call)).is_some_and(|call| call.state == State::Early);
        let opens = method == Method::Invite && early;
        if let Some(call) = call {
            self.note_in_call(turn, call, message, method, status);
        }
        if let Some(server) = server {
            self.deliver(turn, server, message, status, opens, cancel);
        }
        if status < 200 {
            return;
        }
        if opens && status >= 300 {
            call.and_then(|call| self.end_call(call, EndReason::Refused));
        }
        // A challenged BYE comes again with credentials; any other final answer ends the dialog.
        if method == Method::Bye && !matches!(status, 401 | 407) {
            self.end_dialog(call, dialog);
        }
    }

    /// The client transaction of a response, by our own branch token (RFC 3261 §17.1.3).
    fn find_branch(&self, message: &Message<'_>, call_hash: u64) -> Option<ClientRef> {
        let branch = message.text(message.via().branch?);
        let parts = self.tokens.read_branch(call_hash, branch)?;
        if parts.place == NO_PLACE {
            return None;
        }
        let at = Ref::from_parts(parts.place, parts.generation);
        let transaction = self.clients.find(at)?;
        let cseq = message.cseq();
        if cseq.method == transaction.method {
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
        if transaction.cancel == Cancel::No {
            if status > 100 || transaction.timers.timeout_at == Instant::NEVER {
                transaction.timers.timeout_at = deadline;
                self.wheel_client(at);
            }
        } else {
            let why = transaction.cancel;
            self.cancel(turn, at, why);
        }
    }

    /// What a response means for the call's dialogs and timers.
    fn note_in_call(&mut self, turn: &mut Turn<'_>, at: CallRef, message: &Message<'_>, method: Method, status: u16) {
        let tag = message.to().tag.map(|tag| message.text(tag));
        let tag_hash = self.hash_tag(tag);
        let deadline = turn.now.monotonic.after(self.settings.timers.noack_timeout);
        let Some(call) = self.calls.find_mut(at) else { return };
        let success = (200..300).contains(&status);
        match (call.state, method) {
            (State::Early, Method::Invite) if tag.is_some() && status < 300 => {
                if !call.dialogs.learn(tag_hash) {
                    self.counters.count(Counter::Full);
                }
                if success {
                    call.dialogs.confirm(tag_hash);
                    call.state = State::Unacknowledged;
                    call.timeout_at = deadline;
                    self.wheel.set(self.places.call(at), deadline);
                    self.counters.count(Counter::CallsAnswered);
                }
            }
            // A second 2xx of a fork: its dialog stands beside the first.
            (State::Unacknowledged, Method::Invite) if tag.is_some() && success && call.dialogs.learn(tag_hash) => {
                call.dialogs.confirm(tag_hash);
            }
            (State::Confirmed, Method::Invite | Method::Update) if success => self.restart_default_timeout(turn, at),
            _ => {}
        }
    }

    /// Sends a response upstream, or what stands for it there.
    fn deliver(
        &mut self,
        turn: &mut Turn<'_>,
        server: ServerRef,
        message: &Message<'_>,
        status: u16,
        opens: bool,
        cancel: Cancel,
    ) {
        let substitute = match status {
            // RFC 3261 §16.8: the caller of a branch that Timer C ended did not cancel.
            487 if cancel == Cancel::ByRingTimeout => Some(408),
            // RFC 3261 §16.7 step 6: our peer's overload is not ours. A downstream Contact never leaks (SPEC §3 *Hunt*).
            503 | 300..=399 if opens => Some(500),
            _ => None,
        };
        if let Some(status) = substitute {
            return self.answer_server(turn, server, None, status, b"");
        }
        match self.compose(|writer| write_response(message, writer)) {
            Ok(buffer) => {
                self.drive_server(turn, server, ServerEvent::Response(status), Some(buffer));
            }
            // The callee repeats a 2xx; for another final response the state must not wait for memory.
            Err(_) if status >= 300 => self.answer_server(turn, server, None, 500, b""),
            Err(_) => {}
        }
    }

    /// A dialog of a call is over; with the last confirmed one the call is.
    pub(crate) fn end_dialog(&mut self, call: Option<CallRef>, dialog: u64) {
        let Some(at) = call else { return };
        if self.calls.find_mut(at).is_some_and(|call| call.dialogs.end(dialog)) {
            self.end_call(at, EndReason::Bye);
        }
    }
}
