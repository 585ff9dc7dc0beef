//! Responses: to their branch, and from there upstream (RFC 3261 §16.7). What the INVITE of a call brings is `branch.rs`.

use super::records::{
    Cancel, ClientEvent, ClientRef, ClientState, ClientTransaction, Role, ServerEvent, ServerRef, ShortTag,
};
use super::{Engine, Turn};
use crate::call::state::Event;
use crate::call::{CallRef, EndReason, Known, Side};
use crate::counter::Counter;
use crate::flow::Flow;
use crate::memory::Ref;
use crate::message::{Field, Message, Method, Name};
use crate::time::Instant;
use crate::token::Tokens;
use crate::transaction::{Tell, invite_client};

/// A response that came, and what its branch is for.
#[derive(Copy, Clone)]
pub(crate) struct Came<'m, 'a> {
    pub(crate) message: &'m Message<'a>,
    pub(crate) role: &'m Role,
    pub(crate) status: u16,
    /// Its SDP came back from a media node.
    pub(crate) relayed: bool,
}

impl Engine {
    pub(crate) fn on_response(&mut self, turn: &mut Turn<'_>, message: &Message<'_>, call_hash: u64, status: u16) {
        let Some(at) = self.find_branch(message, call_hash) else {
            // RFC 6026 §8.9: what matches no transaction is dropped, a 2xx too.
            self.counters.count(Counter::StrayResponses);
            return;
        };
        let Some(role) = self.clients.find(at).map(|transaction| transaction.role) else { return };
        // RFC 3261 §16.7 step 3: with our Via gone there is nobody left that it could be for. It is as if it had not come, or its branch
        // would end and the server transaction wait for ever.
        if role.server.is_some() && role.method != Method::Cancel && status > 100 && !has_second_via(message) {
            return self.counters.count(Counter::StrayResponses);
        }
        if self.drive_client(turn, at, ClientEvent::Response(status), Some(message)) != Some(Tell::Message) {
            self.counters.count(Counter::RetransmissionsAbsorbed);
            return;
        }
        let came = Came { message, role: &role, status, relayed: false };
        if role.attempt != 0 && self.holds_back(turn, at, came) {
            return;
        }
        self.pass_on(turn, at, came);
    }

    /// A response that comes back from a media node goes on as one that has just come.
    #[inline(never)]
    pub(crate) fn go_on(&mut self, turn: &mut Turn<'_>, at: ClientRef, came: Came<'_, '_>) {
        self.pass_on(turn, at, came);
    }

    /// A response that its transaction told, on its way upstream.
    #[inline(always)]
    fn pass_on(&mut self, turn: &mut Turn<'_>, at: ClientRef, came: Came<'_, '_>) {
        let Came { message, role, status, .. } = came;
        if role.opens() {
            return self.on_invite_response(turn, at, came);
        }
        if role.method == Method::Invite && status < 200 {
            self.on_progress(turn, at, status);
        }
        // RFC 3261 §16.7 step 5: a 100 is for the hop that it was sent on.
        if status == 100 {
            return;
        }
        if let Some(call) = role.call
            && matches!(status, 200..=299)
            && matches!(role.method, Method::Invite | Method::Update)
            && self.answers_first(at, *role)
        {
            self.on_refresh(turn, call, *role, message);
        }
        if let Some(server) = role.server {
            self.deliver_in_dialog(turn, server, came);
        }
        match (role.method, status) {
            (_, ..200) => {}
            // A challenged BYE comes again with credentials; any other final answer ends the dialog.
            (Method::Bye, 401 | 407) => self.on_challenged_bye(*role),
            (Method::Bye, _) => self.end_dialog(turn, *role),
            (_, 481 | 408) => self.lose_dialog(turn, *role),
            _ => {}
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

    /// A re-INVITE's 1xx: Timer C starts with the first one and again with each but a 100 (RFC 3261 §16.7 step 2); a CANCEL that
    /// waited goes out.
    pub(crate) fn on_progress(&mut self, turn: &mut Turn<'_>, at: ClientRef, status: u16) {
        let ring_timeout = self.clients.find(at).and_then(|transaction| self.calls.find(transaction.role.call?));
        let ring_timeout = ring_timeout.map_or(self.settings.timers.ring_timeout, |call| call.ring_timeout);
        let deadline = turn.now.monotonic.after(ring_timeout);
        // One that comes back from a media node behind the 2xx: that one's Timer M runs.
        let proceeds = ClientState::Invite(invite_client::State::Proceeding);
        let Some(transaction) = self.clients.find_mut(at).filter(|branch| branch.state == proceeds) else { return };
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

    /// Whether a 2xx inside a dialog is the first of its branch. A re-INVITE's comes again until its ACK does (RFC 3261 §13.3.1.4), and says
    /// nothing of what was agreed on since.
    fn answers_first(&mut self, at: ClientRef, role: Role) -> bool {
        let transaction = self.clients.find_mut(at);
        transaction.is_none_or(|branch| branch.answers.delivered.replace(ShortTag::of(role.dialog)).is_none())
    }

    /// A re-INVITE or UPDATE succeeded (RFC 3261 §12.2.1.2, RFC 3311 §5): the dialog lives on, and who answered gave his target.
    fn on_refresh(&mut self, turn: &mut Turn<'_>, at: CallRef, role: Role, message: &Message<'_>) {
        let confirmed =
            self.calls.find(at).is_some_and(|call| call.dialogs.known(role.dialog) == Some(Known::Confirmed));
        if confirmed {
            self.refresh_target(at, role.sender.other(), message);
            self.refresh_from_request(at, role);
            self.keep_session(turn, at, &role, message);
            self.drive_call(turn, at, Event::Refresh, EndReason::Refused);
            self.follow(turn, at, role);
        }
    }

    /// Who refreshed the dialog from another host is there from now on (RFC 3261 §12.2.1.2): a gateway's other node, a telephone that
    /// moved. The same host with another port is left where it was learned: some peers send from any port and listen on one.
    /// Nobody moves to where we know nobody: that would make a relay of us (SPEC §3 *Recognise*).
    fn follow(&mut self, turn: &Turn<'_>, at: CallRef, role: Role) {
        let Some(server) = role.server.and_then(|server| self.servers.find(server)) else { return };
        let (source, reply) = (server.source, server.reply);
        if self.calls.find(at).is_none_or(|call| call.leg(role.sender).flow.peer.ip == reply.peer.ip) {
            return;
        }
        if self.known_source(turn, source)
            && let Some(call) = self.calls.find_mut(at)
        {
            let bound = match role.sender {
                Side::Caller => turn.image.provider(call.provider).and_then(|provider| provider.listener),
                Side::Callee => {
                    let gateway = call.candidate.and_then(|candidate| turn.image.gateway(candidate.gateway));
                    gateway.and_then(|gateway| gateway.listener)
                }
            };
            let leg = call.leg_mut(role.sender);
            // A leg that is bound to a listener stays there, whichever he found.
            let kept = bound.is_some() && leg.flow.peer.ip.is_ipv4() == reply.peer.ip.is_ipv4();
            let listener = if kept { leg.flow.listener } else { reply.listener };
            leg.flow = Flow { listener, ..reply };
        }
    }

    /// The target of who asked: that of his request, now that it is accepted (RFC 3261 §12.2.2: a refused one changes nothing).
    fn refresh_from_request(&mut self, at: CallRef, role: Role) {
        let held = role.server.and_then(|server| self.servers.find(server)).and_then(|server| server.request);
        let Some(held) = held else { return };
        let mut copy = core::mem::take(&mut self.reread);
        let bytes = self.pool.bytes(held);
        let room = &mut copy[..bytes.len()];
        room.copy_from_slice(bytes);
        if let Ok(request) = Message::parse(room) {
            self.refresh_target(at, role.sender, &request);
        }
        self.reread = copy;
    }

    /// Sends a response inside a dialog on, or what stands for it.
    fn deliver_in_dialog(&mut self, turn: &mut Turn<'_>, server: ServerRef, came: Came<'_, '_>) {
        let Came { role, status, .. } = came;
        if role.method != Method::Invite {
            match status {
                // RFC 4320 §4.1: no provisional but 100 to a non-INVITE, and that stays on its hop.
                ..200 => return,
                // RFC 4320 §4.2: nor a 408; who asked has timed out by himself. What he repeats till then is no new request: it meets a
                // transaction that has nothing to say.
                408 => {
                    self.drive_server(turn, server, ServerEvent::Response(status), None);
                    return;
                }
                _ => {}
            }
        } else if status == 487 && role.cancel == Cancel::ByTimer {
            // RFC 3261 §16.8: the sender of a re-INVITE that Timer C ended did not cancel.
            return self.answer_server(turn, server, None, 408, b"");
        }
        self.deliver(turn, server, came);
    }

    /// Sends a response upstream.
    pub(crate) fn deliver(&mut self, turn: &mut Turn<'_>, server: ServerRef, came: Came<'_, '_>) {
        let Came { message, role, status, .. } = came;
        if !has_second_via(message) {
            // RFC 3261 §16.7 step 3: with our Via gone there is nobody left that it could be for.
            return self.counters.count(Counter::StrayResponses);
        }
        match self.compose_upstream(turn, came) {
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
}

/// Whether a Via stands below the topmost one.
pub(crate) fn has_second_via(message: &Message<'_>) -> bool {
    let same_field = |field: Field| message.via().value.end < field.value.end;
    message.is_repeated(Name::Via) || message.first(Name::Via).is_some_and(same_field)
}
