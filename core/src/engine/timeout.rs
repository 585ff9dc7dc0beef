//! Time passed: due timers of transactions and calls.

use super::records::{Cancel, ClientEvent, ClientRef, ClientState, Owner, Role, ServerEvent, ServerRef};
use super::{Engine, Turn};
use crate::call::{CallRef, EndReason, State};
use crate::message::Method;
use crate::time::Instant;
use crate::transaction::{Tell, invite_client};

/// Datagrams that one timer can cause: a repeated message, an answer upstream, a CANCEL.
const EFFECTS_PER_TIMER: usize = 4;

impl Engine {
    pub(crate) fn on_timeout(&mut self, turn: &mut Turn<'_>) {
        while turn.effects.remaining_capacity() >= EFFECTS_PER_TIMER {
            let Some(place) = self.wheel.pop(turn.now.monotonic) else { return };
            match self.places.owner(place) {
                Owner::Server(index) => {
                    if let Some(at) = self.servers.at(index) {
                        self.on_server_timer(turn, at);
                    }
                }
                Owner::Client(index) => {
                    if let Some(at) = self.clients.at(index) {
                        self.on_client_timer(turn, at);
                    }
                }
                Owner::Call(index) => {
                    if let Some(at) = self.calls.at(index) {
                        self.on_call_timer(at);
                    }
                }
            }
        }
    }

    fn on_server_timer(&mut self, turn: &mut Turn<'_>, at: ServerRef) {
        let now = turn.now.monotonic;
        let Some(timers) = self.servers.find(at).map(|transaction| transaction.timers) else { return };
        if timers.timeout_at <= now {
            // Timer H without an ACK: the call ended when the final response went out, nothing else is to do.
            self.drive_server(turn, at, ServerEvent::Timeout, None);
        } else if timers.retransmit_at <= now {
            self.drive_server(turn, at, ServerEvent::Retransmit, None);
        } else {
            self.wheel_server(at);
        }
    }

    fn on_client_timer(&mut self, turn: &mut Turn<'_>, at: ClientRef) {
        let now = turn.now.monotonic;
        let Some(transaction) = self.clients.find_mut(at) else { return };
        if transaction.timers.timeout_at <= now {
            if transaction.state == ClientState::Invite(invite_client::State::Proceeding) {
                transaction.timers.timeout_at = Instant::NEVER;
                self.on_ring_timeout(turn, at);
            } else {
                let role = transaction.role;
                if self.drive_client(turn, at, ClientEvent::Timeout, None) == Some(Tell::Timeout) {
                    self.on_branch_timeout(turn, role);
                    if role.method == Method::Bye {
                        self.end_dialog(role.call, role.dialog);
                    }
                } else if let Some(server) = role.server {
                    self.forget_unanswered(server);
                }
            }
        } else if transaction.timers.retransmit_at <= now {
            self.drive_client(turn, at, ClientEvent::Retransmit, None);
        } else {
            self.wheel_client(at);
        }
    }

    /// Timer C (RFC 3261 §16.8), or 64·T1 after a CANCEL that nothing came back for (§9.1).
    fn on_ring_timeout(&mut self, turn: &mut Turn<'_>, at: ClientRef) {
        let Some(transaction) = self.clients.find(at) else { return };
        let role = transaction.role;
        if role.cancel == Cancel::No {
            self.cancel(turn, at, Cancel::ByRingTimeout);
            return;
        }
        self.remove_client(at);
        self.on_branch_timeout(turn, role);
    }

    /// A branch is gone that answered, and its answer never reached the server transaction for want of memory: nothing else
    /// would ever end that one.
    fn forget_unanswered(&mut self, at: ServerRef) {
        if self.servers.find(at).is_some_and(|transaction| transaction.state.pending()) {
            self.remove_server(at);
        }
    }

    /// A branch got no final response.
    fn on_branch_timeout(&mut self, turn: &mut Turn<'_>, role: Role) {
        let Some(server) = role.server else { return };
        if role.method == Method::Invite {
            let status = if role.cancel == Cancel::ByCaller { 487 } else { 408 };
            self.answer_server(turn, server, None, status, b"");
            if role.opens {
                self.end_call_of(server, EndReason::Refused);
            }
        } else {
            // RFC 4320 §4.2: no 408 to a non-INVITE, its sender has timed out as well.
            self.remove_server(server);
        }
    }

    fn on_call_timer(&mut self, at: CallRef) {
        let reason = match self.calls.find(at).map(|call| call.state) {
            Some(State::Unacknowledged) => EndReason::Unacknowledged,
            _ => EndReason::Expired,
        };
        self.end_call(at, reason);
    }
}
