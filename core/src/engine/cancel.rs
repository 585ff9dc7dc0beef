//! CANCEL: from the caller, and our own towards a gateway (RFC 3261 §9 and §16.10).

use super::answer::Incoming;
use super::reason::Cause;
use super::records::{Cancel, ClientRef, ClientState, ClientTransaction, Progress, Role, TransactionTimers};
use super::{Engine, Turn};
use crate::call::session::Asked;
use crate::call::state::Event;
use crate::call::{EndReason, Side};
use crate::identity::Shown;
use crate::message::{Message, Method, write_cancel};
use crate::transaction::{client, invite_client};

impl Engine {
    pub(crate) fn on_cancel(&mut self, turn: &mut Turn<'_>, incoming: &Incoming<'_, '_>) {
        let message = incoming.message;
        let invite_key = self.server_key(message, &message.via(), Method::Invite, incoming.call_hash);
        let Some(invite) = self.find_server(invite_key) else {
            return self.refuse_unknown_dialog(turn, incoming);
        };
        // Whoever repeats a Call-ID and a Via may be anybody: from elsewhere than the INVITE it takes a source that we know.
        let elsewhere = self.servers.find(invite).is_some_and(|server| server.source.peer.ip != incoming.flow.peer.ip);
        if elsewhere && !self.known_source(turn, incoming.flow) {
            return self.refuse_unknown_dialog(turn, incoming);
        }
        // A CANCEL is obeyed also where there is no room to remember that it was.
        let server = self.open_server(turn, incoming, Method::Cancel, None).ok();
        self.answer_cancel(turn, incoming, invite, server);
        let Some(transaction) = self.servers.find(invite) else { return };
        if !transaction.state.pending() {
            return; // RFC 3261 §9.2: a final response was sent, the CANCEL changes nothing.
        }
        let (call, branch) = (transaction.call, transaction.client);
        let cause = Cause::read(message, false);
        if let Some(transaction) = branch.and_then(|branch| self.clients.find_mut(branch)) {
            transaction.callers_cause = cause;
        }
        let opens = call.filter(|call| self.calls.find(*call).is_some_and(|call| call.server == invite));
        match (opens, branch) {
            (Some(call), _) => self.drive_call(turn, call, Event::Cancel, EndReason::Cancelled),
            // A re-INVITE.
            (None, Some(branch)) => self.cancel(turn, branch, Cancel::ByCaller),
            // One whose offer is with a media node: it never leaves.
            (None, None) => self.answer_server(turn, invite, None, 487, b""),
        }
    }

    /// Cancels a branch now, or as soon as its first 1xx comes (RFC 3261 §9.1).
    pub(crate) fn cancel(&mut self, turn: &mut Turn<'_>, at: ClientRef, why: Cancel) {
        let Some(transaction) = self.clients.find_mut(at) else { return };
        // The caller's wish counts more than a timer: after both he gets his 487.
        if transaction.role.cancel == Cancel::No || why == Cancel::ByCaller {
            transaction.role.cancel = why;
        }
        let ready = transaction.state == ClientState::Invite(invite_client::State::Proceeding);
        if ready && transaction.cancel_branch.is_none() {
            self.send_cancel(turn, at);
        }
    }

    fn send_cancel(&mut self, turn: &mut Turn<'_>, invite: ClientRef) {
        let linger = self.settings.timers.linger();
        let Some(transaction) = self.clients.find_mut(invite) else { return };
        // RFC 3261 §9.1: a peer that never answers the INVITE after a CANCEL is given 64·T1.
        let deadline = turn.now.monotonic.after(linger);
        // Counted from the first CANCEL, however long the branch had left before it.
        if transaction.progress != Progress::Cancelled {
            transaction.progress = Progress::Cancelled;
            transaction.timers.timeout_at = deadline;
        }
        let (flow, branch, call_hash, sent) =
            (transaction.flow, transaction.branch, transaction.call_hash, transaction.sent);
        let reason = Cause::of_cancel(transaction.role.cancel, transaction.callers_cause).map(Cause::line);
        self.wheel_client(invite);
        let Some(sent) = sent else { return };
        let mut writer = crate::message::Writer::new(&mut self.scratch);
        let written = Message::parse(self.pool.bytes(sent)).ok().and_then(|request| {
            write_cancel(&request, reason.as_deref().unwrap_or_default(), &mut writer);
            writer.finish().ok()
        });
        // Without memory for a CANCEL the branch ends by its timer, as if the CANCEL had been lost.
        let Some(buffer) = written.and_then(|bytes| self.pool.store(bytes).ok()) else { return };
        let (state, action) = client::start(flow.transport.reliable());
        let mut own = TransactionTimers::idle();
        own.apply(&action, turn.now.monotonic, false, &self.intervals);
        let role = Role {
            method: Method::Cancel,
            candidate: None,
            cancel: Cancel::No,
            call: None,
            server: None,
            dialog: 0,
            sender: Side::Caller,
            cseq: 0,
            shown: Shown::AsSent,
            asked: Asked::default(),
            attempt: 0,
        };
        let opened = self.clients.insert(ClientTransaction {
            branch,
            sent: Some(buffer),
            ..ClientTransaction::new(ClientState::Other(state), role, call_hash, flow, own)
        });
        match opened {
            Ok(at) => {
                self.pool.share(buffer);
                if let Some(transaction) = self.clients.find_mut(invite) {
                    transaction.cancel_branch = Some(at);
                }
                self.wheel_client(at);
            }
            // No room to repeat it by: the next 1xx of the branch sends it again.
            Err(_) => self.counters.count(crate::counter::Counter::Full),
        }
        self.send(turn, flow, buffer);
    }
}
