//! A request leaves on a new branch (RFC 3261 §16.6).

use arrayvec::ArrayVec;

use super::answer::Incoming;
use super::identity::Naming;
use super::records::{Cancel, ClientRef, ClientState, ClientTransaction, Role, ServerRef, TransactionTimers};
use super::{Engine, Turn, compose_in};
use crate::call::session::Asked;
use crate::call::{CallRef, Side, media};
use crate::counter::Counter;
use crate::flow::{Flow, ListenerIndex};
use crate::identity::Shown;
use crate::limits::{HOST_MAX, MAX_BREADTH, UDP_REQUEST_SIZE};
use crate::memory::{Full, Ref};
use crate::message::{Message, Method, Name, OwnRoute, OwnVia, RequestEdits, Rewrite, Writer, write_request};
use crate::routing::Candidate;
use crate::token::{Branch, BranchParts, NO_PLACE};
use crate::transaction::{client, invite_client};

/// What a request gets where it came without Max-Forwards (RFC 3261 §16.6 step 3).
const MAX_FORWARDS: u8 = 70;

/// Room for `SIP/2.0/UDP host:port;branch=…` and for `<sip:host:port;lr;cl=…>`.
const LINE_MAX: usize = HOST_MAX + 96;

/// About as long is one of our fields in a forwarded request.
const FIELD_SIZE: usize = 80;

/// A value of a header that Corelane writes.
pub(crate) type Line = ArrayVec<u8, LINE_MAX>;

/// Where a request goes and what changes in it on the way.
#[derive(Copy, Clone)]
pub(crate) struct Forward<'f> {
    pub(crate) method: Method,
    pub(crate) to: Flow,
    pub(crate) call: Option<CallRef>,
    pub(crate) server: Option<ServerRef>,
    pub(crate) request_uri: Option<&'f [u8]>,
    pub(crate) strip_routes: usize,
    pub(crate) drop_last_route: bool,
    /// For a request that opens a dialog: the pass to record-route under, and the listener that its sender reaches us at.
    pub(crate) record_route: Option<(u32, ListenerIndex)>,
    pub(crate) loop_hash: u32,
    /// Inside a dialog: which one (callee's tag), and whose request it is.
    pub(crate) dialog: u64,
    pub(crate) sender: Side,
    /// What it asks for of the session timer.
    pub(crate) asked: Asked,
    /// For the INVITE of a call: the gateway.
    pub(crate) candidate: Option<Candidate>,
    /// How the gateway knows the caller of the call.
    pub(crate) shown: Shown,
    /// What of From, To and other headers leaves another way than it came.
    pub(crate) rewrite: Rewrite<'f>,
    /// For what may carry SDP in a call that goes through a media node: number of the attempt there, and the figure of offer and answer.
    pub(crate) media: Option<(u8, media::State)>,
}

impl Engine {
    /// Opens a client transaction and sends the request on it.
    pub(crate) fn forward(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        forward: &Forward<'_>,
    ) -> Result<ClientRef, Full> {
        let reliable = forward.to.transport.reliable();
        let (state, action) = if forward.method == Method::Invite {
            let (state, action) = invite_client::start(reliable);
            (ClientState::Invite(state), action)
        } else {
            let (state, action) = client::start(reliable);
            (ClientState::Other(state), action)
        };
        let mut timers = TransactionTimers::idle();
        timers.apply(&action, turn.now.monotonic, false, &self.intervals);
        let role = Role {
            method: forward.method,
            cancel: Cancel::No,
            candidate: forward.candidate,
            call: forward.call,
            server: forward.server,
            dialog: forward.dialog,
            sender: forward.sender,
            cseq: incoming.message.cseq().number,
            shown: forward.shown,
            asked: forward.asked,
            attempt: forward.media.map_or(0, |(attempt, _)| attempt),
        };
        let record = ClientTransaction::new(state, role, incoming.call_hash, forward.to, timers);
        let at = self.clients.insert(record)?;
        let parts =
            BranchParts { place: Ref::index(at), generation: Ref::generation(at), loop_hash: forward.loop_hash };
        let branch = self.tokens.branch(incoming.call_hash, parts);
        match self.compose_forward(turn, incoming, forward, &branch) {
            Ok(buffer) => {
                self.pool.share(buffer);
                if let Some(transaction) = self.clients.find_mut(at) {
                    transaction.branch = branch;
                    transaction.sent = Some(buffer);
                    if let Some((_, state)) = forward.media {
                        transaction.media = state;
                    }
                }
                self.set_wheel(self.places.client(at), timers.next());
                self.send(turn, forward.to, buffer);
                Ok(at)
            }
            Err(full) => {
                self.remove_client(at);
                Err(full)
            }
        }
    }

    /// Sends a request on without a transaction: the ACK for a 2xx (RFC 3261 §16.11). A repeated ACK gets the same branch.
    pub(crate) fn forward_stateless(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        forward: &Forward<'_>,
    ) {
        let parts = BranchParts { place: NO_PLACE, generation: incoming.key as u32, loop_hash: 0 };
        let branch = self.tokens.branch(incoming.call_hash, parts);
        if let Ok(buffer) = self.compose_forward(turn, incoming, forward, &branch) {
            self.send(turn, forward.to, buffer);
        }
    }

    fn compose_forward(
        &mut self,
        turn: &Turn<'_>,
        incoming: &Incoming<'_, '_>,
        forward: &Forward<'_>,
        branch: &Branch,
    ) -> Result<crate::memory::BufferRef, Full> {
        let message = incoming.message;
        if forward.media.is_some() && !incoming.relayed {
            self.refuse_unrelayed(message)?;
        }
        let out = forward.to.listener;
        let back = forward.record_route.map_or(out, |(_, back)| back);
        let face = |listener: ListenerIndex| self.settings.listeners[usize::from(listener.0)].advertised.as_bytes();
        let (sent_by, reached_at) = (face(out), face(back));
        let token = forward.record_route.map(|(pass, _)| self.tokens.dialog(incoming.call_hash, pass));
        let token = token.as_ref().map_or(&[][..], |token| token);
        let record_routes = [OwnRoute { sent_by, token }, OwnRoute { sent_by: reached_at, token }];
        let record_routes = match forward.record_route {
            None => &[],
            // RFC 5658 §5: a proxy between two networks writes both of its faces, the outgoing one on top.
            Some(_) if out != back => &record_routes[..],
            Some(_) => &record_routes[..1],
        };
        let edits = RequestEdits {
            request_uri: forward.request_uri,
            via: OwnVia { transport: forward.to.transport, sent_by, branch },
            received: incoming.source.received,
            rport: incoming.source.rport,
            record_routes,
            strip_routes: forward.strip_routes,
            drop_last_route: forward.drop_last_route,
            max_forwards: message.max_forwards().map_or(MAX_FORWARDS, |hops| hops.saturating_sub(1)),
            max_breadth: !has_breadth(message),
            rewrite: forward.rewrite,
        };
        let renamed = forward.record_route.is_none() && forward.shown != Shown::AsSent;
        let written = match renamed {
            false => {
                // A Via, and a Record-Route for each face; what else comes and goes about cancels out.
                let estimate = message.bytes().len() + FIELD_SIZE * (1 + record_routes.len());
                compose_in(&mut self.pool, &mut self.scratch, estimate, |writer| write_request(message, &edits, writer))
            }
            true => {
                // Beside the engine, since the edits borrow from it.
                let mut scratch = core::mem::take(&mut self.scratch);
                let naming = Naming {
                    call: forward.call,
                    receiver: forward.sender.other(),
                    asked: forward.sender,
                    dialog: forward.dialog,
                    shown: forward.shown,
                    peer: Some(forward.to.peer),
                };
                let names = self.names_for(turn.image, &naming, message);
                let rewrite = Rewrite { drop: forward.rewrite.drop, ..names };
                let mut writer = Writer::new(&mut scratch);
                write_request(message, &RequestEdits { rewrite, ..edits }, &mut writer);
                let written = writer.finish().and_then(|bytes| self.pool.store(bytes));
                self.scratch = scratch;
                written
            }
        };
        let buffer = self.count_full(written)?;
        if self.pool.length(buffer) > UDP_REQUEST_SIZE {
            self.counters.count(Counter::SizeException);
        }
        Ok(buffer)
    }

    pub(crate) fn via(&self, to: Flow, branch: &Branch) -> Line {
        let name = to.transport.via_name().as_bytes();
        line([b"SIP/2.0/", name, b" ", self.advertised(to.listener), b";branch=", branch])
    }

    fn advertised(&self, listener: ListenerIndex) -> &[u8] {
        self.settings.listeners[usize::from(listener.0)].advertised.as_bytes()
    }
}

/// Whether its Max-Breadth can stay (RFC 5393 §5.3.3): one, a number, not too large. A branch has all of it, because it is the only one
/// that runs.
fn has_breadth(message: &Message<'_>) -> bool {
    message.first(Name::MaxBreadth).is_some()
        && !message.is_repeated(Name::MaxBreadth)
        && message.number(Name::MaxBreadth).is_some_and(|breadth| breadth <= MAX_BREADTH)
}

/// The parts one after the other; all lines that Corelane writes are bounded by [`LINE_MAX`].
fn line<const N: usize>(parts: [&[u8]; N]) -> Line {
    let mut line = ArrayVec::new();
    for part in parts {
        let fits = line.try_extend_from_slice(part).is_ok();
        debug_assert!(fits, "LINE_MAX has room for the longest host");
    }
    line
}
