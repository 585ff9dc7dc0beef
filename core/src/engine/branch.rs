//! What an INVITE branch of a call brings: progress, answers, failures, silence (RFC 3261 §16.7 and §16.8, SPEC §3 *Answers*).
//!
//! One branch is the call's; those that were given up live on as transactions. Of these only a 2xx counts: it goes upstream while the
//! caller has no final response, else Corelane acknowledges and ends it.

use super::hunt::Final;
use super::records::{Cancel, ClientRef, ClientState, Progress, Role, ServerEvent, ShortTag};
use super::response::Came;
use super::{Engine, Turn};
use crate::admission::GatewayHold;
use crate::call::hunt::{Failure, Verdict, verdict};
use crate::call::state::Event;
use crate::call::{CallRef, EndReason, Leaving, State};
use crate::counter::Counter;
use crate::time::Instant;
use crate::transaction::invite_client;

impl Engine {
    #[inline(always)]
    pub(crate) fn on_invite_response(&mut self, turn: &mut Turn<'_>, at: ClientRef, came: Came<'_, '_>) {
        let call = self.call_of_branch(at, *came.role);
        match came.status {
            ..200 => self.on_provisional(turn, at, call, came),
            200..300 => self.on_answer(turn, at, came),
            status => {
                match call {
                    Some(call) => {
                        self.release_place(at);
                        self.on_branch_failed(turn, call, Failure::Status(status), Some(came));
                    }
                    None => self.release_branch(at),
                }
                self.forget_answered_branch(turn, at, came);
            }
        }
    }

    /// The call, where this branch is the one that it waits for.
    pub(crate) fn call_of_branch(&self, at: ClientRef, role: Role) -> Option<CallRef> {
        role.call.filter(|call| self.calls.find(*call).is_some_and(|call| call.branch == Some(at)))
    }

    #[inline(always)]
    fn on_provisional(&mut self, turn: &mut Turn<'_>, at: ClientRef, call: Option<CallRef>, came: Came<'_, '_>) {
        let Came { message, status, .. } = came;
        self.note_provisional(turn, at, call, status);
        // RFC 3261 §16.7 step 5: a 100 is for the hop that it was sent on.
        let Some(call) = call.filter(|_| status > 100) else { return };
        // RFC 3261 §12.1.2: without a tag there is no early dialog.
        let tag = message.to().tag.map(|tag| self.hash_tag(Some(message.text(tag))));
        let Some(record) = self.calls.find_mut(call) else { return };
        let server = record.server;
        if tag.is_some_and(|tag| !record.dialogs.learn(tag)) {
            self.counters.count(Counter::ForksForgotten);
        }
        self.drive_call(turn, call, Event::Progress, EndReason::Refused);
        self.deliver(turn, server, came);
    }

    /// What a 1xx does to the timers of its branch, and to a CANCEL that waited for it.
    #[inline(always)]
    pub(crate) fn note_provisional(&mut self, turn: &mut Turn<'_>, at: ClientRef, call: Option<CallRef>, status: u16) {
        let now = turn.now.monotonic;
        let progress_timeout = self.settings.timers.progress_timeout;
        let ring_timeout = call.and_then(|call| self.calls.find(call)).map(|call| call.ring_timeout);
        // One that comes back from a media node behind the 2xx: that one's Timer M runs.
        let proceeds = ClientState::Invite(invite_client::State::Proceeding);
        let Some(transaction) = self.clients.find_mut(at).filter(|branch| branch.state == proceeds) else { return };
        let why = transaction.role.cancel;
        if why != Cancel::No {
            // A CANCEL that waited for this goes out (RFC 3261 §9.1).
            self.cancel(turn, at, why);
        } else if status > 100 || transaction.progress == Progress::Silent {
            // RFC 3261 §16.7 step 2: Timer C again with each but a 100.
            let (progress, span) = match (status, ring_timeout) {
                (101.., Some(ring_timeout)) => (Progress::Ringing, ring_timeout),
                _ => (Progress::Trying, progress_timeout),
            };
            transaction.progress = progress;
            transaction.timers.timeout_at = now.after(span);
            self.wheel_client(at);
        }
    }

    #[inline(always)]
    fn on_answer(&mut self, turn: &mut Turn<'_>, at: ClientRef, came: Came<'_, '_>) {
        let Came { message, role, .. } = came;
        let tag = self.hash_tag(message.to().tag.map(|tag| message.text(tag)));
        let short = ShortTag::of(tag);
        let Some(transaction) = self.clients.find(at) else { return };
        let server = role.server.filter(|server| self.servers.find(*server).is_some());
        if transaction.answers.delivered == Some(short) {
            match server {
                // A retransmission: the caller's ACK was lost, or is on its way.
                Some(server) => self.deliver(turn, server, came),
                None => self.decline_answer(turn, at, message, short),
            }
            return;
        }
        let call = role.call.filter(|call| self.calls.find(*call).is_some_and(crate::call::Call::is_early));
        match call {
            Some(call) => self.answer_call(turn, call, at, came, tag),
            // The caller has a final response already, or another fork answered first.
            None => self.decline_answer(turn, at, message, short),
        }
    }

    /// The first 2xx: it makes the dialog and goes upstream. Without memory nothing happens, since the callee repeats it.
    #[inline(always)]
    fn answer_call(&mut self, turn: &mut Turn<'_>, at: CallRef, branch: ClientRef, came: Came<'_, '_>, tag: u64) {
        let Came { message, role, status, .. } = came;
        if !super::response::has_second_via(message) {
            return self.counters.count(Counter::StrayResponses);
        }
        let Some(transaction) = self.clients.find(branch) else { return };
        let flow = transaction.flow;
        let Some(call) = self.calls.find(at) else { return };
        let (server, alone) = (call.server, call.hunt.attempts == 1 && call.branch == Some(branch));
        if !alone && role.candidate.is_some_and(|candidate| !self.settle_on(turn, at, branch, candidate)) {
            // It was not there when its INVITE was sent, and its place has gone to another call since.
            return self.decline_answer(turn, branch, message, ShortTag::of(tag));
        }
        let Ok(buffer) = self.compose_upstream(turn, came) else { return };
        let text = self.compose_text(at, flow, message);
        let Some(transaction) = self.clients.find_mut(branch) else { return };
        transaction.answers.delivered = Some(ShortTag::of(tag));
        let hold = core::mem::replace(&mut transaction.hold, GatewayHold::NONE);
        let Some(call) = self.calls.find_mut(at) else { return };
        call.callee.flow = flow;
        call.candidate = role.candidate;
        if call.branch != Some(branch) {
            // The early dialogs are with the gateway that rings now; their requests must not go to this one.
            call.dialogs.forget_early();
        }
        call.gateway_hold = hold;
        let spare = call.media.as_mut().map(|media| media.settle(role.attempt, branch));
        call.dialogs.confirm(tag);
        call.answered = Some((turn.now.wall, turn.now.monotonic));
        call.status = status;
        call.text = text;
        // Whoever gave it up before has his answer now, but not the operator: he has no use for one.
        let given_up = core::mem::replace(&mut call.given_up, EndReason::Refused);
        let leaving = core::mem::replace(&mut call.leaving, Leaving::No);
        let hung_up = given_up == EndReason::HungUp || leaving == Leaving::HungUp;
        let running = call.branch.take();
        let best = call.hunt.best.take();
        if let Some(buffer) = best.and_then(|best| best.response) {
            self.pool.release(buffer);
        }
        if let Some((offered, waits)) = spare {
            offered.into_iter().for_each(|buffer| self.pool.release(buffer));
            waits.into_iter().for_each(|exchange| self.close_exchange(exchange));
        }
        self.keep_session(turn, at, role, message);
        self.counters.count(Counter::CallsAnswered);
        self.drive_call(turn, at, Event::Answer, EndReason::Refused);
        self.drive_server(turn, server, ServerEvent::Response(status), Some(buffer));
        // A branch that was given up answered: the one that runs now is not needed.
        if let Some(other) = running.filter(|running| *running != branch) {
            self.abandon(turn, other, Cancel::AnsweredElsewhere);
        }
        if hung_up {
            self.drive_call(turn, at, Event::HangUp, EndReason::HungUp);
        }
    }

    /// The call's branch has failed: another gateway, or the end.
    pub(crate) fn on_branch_failed(
        &mut self,
        turn: &mut Turn<'_>,
        at: CallRef,
        failure: Failure,
        response: Option<Came<'_, '_>>,
    ) {
        let Some(call) = self.calls.find_mut(at) else { return };
        call.branch = None;
        let status = failure.status();
        if matches!(failure, Failure::Status(401 | 407)) {
            self.counters.count(Counter::GatewayChallenges);
        }
        if call.state == State::Cancelling {
            return self.finish_given_up(turn, at, response);
        }
        let better = call.hunt.improves(status);
        if self.goes_on(turn, at, failure, response) {
            self.keep_best(turn, at, status, response);
            if let Some(call) = self.calls.find_mut(at) {
                call.dialogs.forget_early();
            }
            return self.hunt_on(turn, at);
        }
        match response {
            Some(came) if better || verdict(failure) == Verdict::Over || self.passes(turn, at, failure) => {
                self.refuse_call(turn, at, EndReason::Refused, Final::Came(came));
            }
            _ if better => self.refuse_call(turn, at, EndReason::Unanswered, Final::Own(status, b"")),
            _ => self.finish_with_best(turn, at),
        }
    }

    /// A redirection that the provider wants to see.
    fn passes(&self, turn: &Turn<'_>, at: CallRef, failure: Failure) -> bool {
        verdict(failure) == Verdict::Redirected && self.stand_in(turn, at, failure.status()).is_none()
    }

    /// The branch of a call that was given up has ended.
    fn finish_given_up(&mut self, turn: &mut Turn<'_>, at: CallRef, response: Option<Came<'_, '_>>) {
        let Some(call) = self.calls.find_mut(at) else { return };
        let reason = call.given_up;
        let own = match reason {
            EndReason::Cancelled => 487,
            EndReason::Unanswered => 408,
            _ => 480,
        };
        let last = match response {
            // What the callee answers before he sees the CANCEL is his answer. His 487 is one only to the caller's own CANCEL
            // (RFC 3261 §16.8).
            Some(came) if came.status != 487 || own == 487 => Final::Came(came),
            _ => match call.hunt.best.take() {
                Some(crate::call::hunt::Best { status, response: Some(kept) }) if own == 408 => {
                    Final::Kept(kept, status)
                }
                best => {
                    call.hunt.best = best;
                    Final::Own(own, b"")
                }
            },
        };
        self.refuse_call(turn, at, reason, last);
    }

    /// The caller, a timer or the operator gave the call up, and its figure has said so: the branch is cancelled.
    pub(crate) fn stop_hunt(&mut self, turn: &mut Turn<'_>, at: CallRef) {
        let Some(call) = self.calls.find(at) else { return };
        let why = match call.given_up {
            EndReason::Cancelled => Cancel::ByCaller,
            EndReason::Unanswered => Cancel::ByTimer,
            _ => Cancel::Abandoned,
        };
        let Some(branch) = call.branch else {
            return self.finish_given_up(turn, at, None);
        };
        let silent = self
            .clients
            .find(branch)
            .is_none_or(|transaction| transaction.state == ClientState::Invite(invite_client::State::Calling));
        if silent && why != Cancel::ByCaller {
            // RFC 3261 §16.8: nothing came that could be cancelled, so it is as if a 408 had.
            self.abandon(turn, branch, why);
            self.on_branch_failed(turn, at, Failure::Silent, None);
        } else {
            // A silent branch has until its fr_timer; its 1xx lets the CANCEL out.
            self.cancel(turn, branch, why);
        }
    }

    /// Gives a branch up: it is cancelled now, or when its 1xx comes, and nothing but a 2xx of it counts any more.
    pub(crate) fn abandon(&mut self, turn: &mut Turn<'_>, at: ClientRef, why: Cancel) {
        let linger = self.settings.timers.linger();
        let Some(transaction) = self.clients.find_mut(at) else { return };
        match transaction.state {
            ClientState::Invite(invite_client::State::Calling) => {
                // It waits for a late 1xx, and asks no more: a gateway that comes back should not ring for a call that is gone.
                transaction.role.cancel = why;
                transaction.progress = Progress::Trying;
                transaction.timers.retransmit_at = Instant::NEVER;
                transaction.timers.timeout_at = turn.now.monotonic.after(linger);
                self.wheel_client(at);
            }
            ClientState::Invite(invite_client::State::Proceeding) => self.cancel(turn, at, why),
            _ => {}
        }
    }

    /// The deadline of a call's INVITE branch has come.
    pub(crate) fn on_branch_deadline(&mut self, turn: &mut Turn<'_>, at: ClientRef) {
        let Some(transaction) = self.clients.find(at) else { return };
        let (role, state, progress) = (transaction.role, transaction.state, transaction.progress);
        let call = self.call_of_branch(at, role);
        match (state, progress) {
            (ClientState::Invite(invite_client::State::Calling), Progress::Silent) => {
                self.abandon(turn, at, if role.cancel == Cancel::No { Cancel::Abandoned } else { role.cancel });
                if let Some(call) = call {
                    self.on_branch_failed(turn, call, Failure::Silent, None);
                }
            }
            // 64·T1 after a CANCEL that nothing came back for (RFC 3261 §9.1).
            (ClientState::Invite(invite_client::State::Proceeding), _) if role.cancel != Cancel::No => {
                self.remove_client(at);
                if let Some(call) = call {
                    self.on_branch_failed(turn, call, Failure::CancelUnanswered, None);
                }
            }
            (ClientState::Invite(invite_client::State::Proceeding), Progress::Ringing) => {
                // Timer C (RFC 3261 §16.8).
                match call {
                    Some(call) => self.drive_call(turn, call, Event::Timeout, EndReason::Unanswered),
                    None => self.cancel(turn, at, Cancel::ByTimer),
                }
            }
            (ClientState::Invite(invite_client::State::Proceeding), _) => {
                self.abandon(turn, at, Cancel::Abandoned);
                if let Some(call) = call {
                    self.on_branch_failed(turn, call, Failure::NoProgress, None);
                }
            }
            // Timers B (of a branch that was given up), D and M.
            _ => {
                self.drive_client(turn, at, super::records::ClientEvent::Timeout, None);
                // It answered, and its answer never went upstream for want of memory.
                if let Some(call) = call {
                    self.on_branch_failed(turn, call, Failure::CancelUnanswered, None);
                }
            }
        }
    }

    /// Somebody says that a datagram of ours did not arrive: ICMP, with the datagram as it was sent (its start, at least), or the kernel.
    pub(crate) fn on_unreachable(&mut self, turn: &mut Turn<'_>, flow: crate::flow::Flow, sent: &[u8]) {
        self.counters.count(Counter::Unreachable);
        let Some(at) = self.branch_in(sent) else { return };
        let Some(transaction) = self.clients.find(at).filter(|transaction| transaction.flow.peer == flow.peer) else {
            return;
        };
        let role = transaction.role;
        // Where a 1xx came the gateway was there: it may have restarted, or another path answers; its timers decide.
        let silent = transaction.state == ClientState::Invite(invite_client::State::Calling);
        if let Some(call) = self.call_of_branch(at, role).filter(|_| silent) {
            self.abandon(turn, at, if role.cancel == Cancel::No { Cancel::Abandoned } else { role.cancel });
            self.release_place(at);
            self.on_branch_failed(turn, call, Failure::Unreachable, None);
        }
    }

    /// The branch of a request of ours, from its topmost Via.
    fn branch_in(&self, sent: &[u8]) -> Option<ClientRef> {
        const PARAMETER: &[u8] = b";branch=";
        let at = sent.windows(PARAMETER.len()).position(|window| window == PARAMETER)? + PARAMETER.len();
        let branch = sent[at..].first_chunk::<{ crate::token::BRANCH_LENGTH }>()?;
        let (place, generation) = crate::token::Tokens::branch_hint(branch)?;
        let at = crate::memory::Ref::from_parts(place, generation);
        self.clients.find(at).filter(|transaction| transaction.branch == *branch).map(|_| at)
    }
}
