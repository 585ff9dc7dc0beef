//! Time passed: due timers of transactions and calls.

use super::records::{Cancel, ClientEvent, ClientRef, ClientState, Owner, Role, ServerEvent, ServerRef};
use super::{Engine, Turn};
use crate::call::state::Event;
use crate::call::{CallRef, EndReason, Known, Leaving};
use crate::limits::EFFECTS_PER_CALL_MAX;
use crate::message::Method;
use crate::time::Instant;
use crate::transaction::{Tell, client, invite_client};

impl Engine {
    pub(crate) fn on_timeout(&mut self, turn: &mut Turn<'_>) {
        self.sweep_calls(turn);
        while turn.effects.remaining_capacity() >= EFFECTS_PER_CALL_MAX {
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
                Owner::Exchange(index) => {
                    if let Some(at) = self.exchanges.at(index) {
                        self.on_exchange_timer(turn, at);
                    }
                }
                Owner::Call(index) => {
                    if let Some(at) = self.calls.at(index) {
                        self.on_call_timer(turn, at);
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
            if transaction.role.opens() {
                transaction.timers.timeout_at = Instant::NEVER;
                self.on_branch_deadline(turn, at);
            } else if transaction.state == ClientState::Invite(invite_client::State::Proceeding) {
                transaction.timers.timeout_at = Instant::NEVER;
                self.on_ring_timeout(turn, at);
            } else if transaction.state == ClientState::Other(client::State::Completed) && transaction.parked.is_some()
            {
                // Timer K must not take its final response from the media node that has it; that wait has an end of its own.
                transaction.timers.timeout_at = now.after(self.settings.timers.media_timeout);
                self.wheel_client(at);
            } else {
                let (role, offer) = (transaction.role, transaction.media);
                if self.drive_client(turn, at, ClientEvent::Timeout, None) == Some(Tell::Timeout) {
                    let request = self.offer_of(role, offer);
                    self.on_request_timeout(turn, role);
                    self.take_offer_back(turn, role, offer, request);
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

    /// Timer C of a re-INVITE (RFC 3261 §16.8), or 64·T1 after a CANCEL that nothing came back for (§9.1).
    fn on_ring_timeout(&mut self, turn: &mut Turn<'_>, at: ClientRef) {
        let Some(transaction) = self.clients.find(at) else { return };
        let (role, offer) = (transaction.role, transaction.media);
        if role.cancel == Cancel::No {
            self.cancel(turn, at, Cancel::ByTimer);
            return;
        }
        self.remove_client(at);
        let request = self.offer_of(role, offer);
        self.on_request_timeout(turn, role);
        self.take_offer_back(turn, role, offer, request);
    }

    /// A branch is gone that answered, and its answer never reached the server transaction for want of memory: nothing else
    /// would ever end that one.
    fn forget_unanswered(&mut self, at: ServerRef) {
        if self.servers.find(at).is_some_and(|transaction| transaction.state.pending()) {
            self.remove_server(at);
        }
    }

    /// A request inside a dialog, or a CANCEL or BYE of our own, got no final response.
    fn on_request_timeout(&mut self, turn: &mut Turn<'_>, role: Role) {
        let Some(server) = role.server else { return };
        if role.method == Method::Invite {
            let status = if role.cancel == Cancel::ByCaller { 487 } else { 408 };
            self.answer_server(turn, server, None, status, b"");
        } else if self.has_room_for_a_call() {
            // RFC 4320 §4.2: no 408 to a non-INVITE, its sender has timed out as well. What one with a longer Timer F repeats is no new
            // request: neither 481, where this one ended the call, nor once more for the other side, which may have obeyed it.
            self.drive_server(turn, server, ServerEvent::Response(408), None);
        } else {
            self.remove_server(server);
        }
        if role.method == Method::Bye {
            self.end_dialog(turn, role);
        } else if role.cancel != Cancel::ByCaller {
            self.lose_dialog(turn, role);
        }
    }

    /// A dialog of a call is over by a peer's BYE; with the confirmed one the call is.
    pub(crate) fn end_dialog(&mut self, turn: &mut Turn<'_>, role: Role) {
        let Some(at) = role.call else { return };
        let Some(call) = self.calls.find_mut(at) else { return };
        let reason = match role.sender {
            crate::call::Side::Caller => EndReason::ByCaller,
            crate::call::Side::Callee => EndReason::ByCallee,
        };
        match call.dialogs.known(role.dialog) {
            Some(Known::Confirmed) => self.drive_call(turn, at, Event::Bye, reason),
            // RFC 3261 §15: a BYE within an early dialog ends that dialog; the INVITE goes on.
            Some(Known::Early) => self.forget_fork(at, role.dialog),
            None => {}
        }
    }

    /// The early dialog of a fork is over, and the call is not.
    pub(crate) fn forget_fork(&mut self, at: CallRef, tag: u64) {
        let Some(call) = self.calls.find_mut(at) else { return };
        if let (Some(place), Some(media)) = (call.dialogs.forget(tag), &mut call.media) {
            media.forget_fork(place);
        }
    }

    /// A peer no longer knows the dialog, or does not answer in it (RFC 3261 §12.2.1.2): the call ends. Not by a request that only
    /// uses the dialog for a subscription or a message of its own (RFC 5057 §5.1), nor by a PRACK: its 481 says that there is nothing to
    /// acknowledge (RFC 3262 §3), as when it crossed the 2xx. Nor while a BYE is on its way, which a 481 may have crossed: its answer, or
    /// Timer F, ends the call.
    pub(crate) fn lose_dialog(&mut self, turn: &mut Turn<'_>, role: Role) {
        if matches!(
            role.method,
            Method::Cancel | Method::Notify | Method::Refer | Method::Subscribe | Method::Message | Method::Prack
        ) {
            return;
        }
        let Some(at) = role.call else { return };
        let lost = self.calls.find(at).is_some_and(|call| {
            call.dialogs.known(role.dialog) == Some(Known::Confirmed) && call.leaving != Leaving::Peer
        });
        if lost {
            self.drive_call(turn, at, Event::HangUp, EndReason::Lost);
        }
    }
}
