//! The INVITE goes to one gateway after the other (SPEC §3 *Hunt*).
//!
//! ```text
//!   on_invite ──► hunt ──► attempt: INVITE out, fr_timer runs ──► branch.rs waits for what comes
//!                  ▲  └──► no candidate left: the best answer so far goes upstream
//!                  └────── hunt_on: from the stored INVITE, when a branch failed
//! ```

use super::answer::{Incoming, Source};
use super::forward::Forward;
use super::holds::Standing;
use super::media::carries_sdp;
use super::response::Came;
use super::{Engine, Turn};
use crate::admission::Refusal;
use crate::call::hunt::{Best, Failure, Verdict, verdict};
use crate::call::session::Wording;
use crate::call::state::Event;
use crate::call::{CallRef, EndReason, Leg, Side, media};
use crate::counter::Counter;
use crate::flow::Flow;
use crate::identity::Shown;
use crate::memory::{BufferRef, Full, Resource};
use crate::message::{Message, Method, Name};
use crate::number::{Dialled, GATEWAY_URI_MAX, NumberFault, gateway_uri};
use crate::routing::{Candidate, Provider, Recognised, Redirect};

/// "No circuit/channel available", for refusals that are a trunk's and not the node's (SPEC §3 *Refusals*).
pub(crate) const NO_CIRCUIT: &[u8] = b"Reason: Q.850;cause=34\r\n";

/// The final non-2xx response of a call.
#[derive(Copy, Clone)]
pub(crate) enum Final<'f> {
    /// The one that just came.
    Came(Came<'f, 'f>),
    /// One that was kept, as it goes upstream.
    Kept(BufferRef, u16),
    /// Corelane's own.
    Own(u16, &'f [u8]),
}

/// Why an attempt did not leave.
enum Skip {
    /// Not this gateway: gone since.
    Gateway,
    /// It, or its carrier, takes no more calls now.
    Capped(Refusal),
    /// The number cannot be given to it; another one may make something of it.
    Number(NumberFault),
    /// Our limit.
    Full(Full),
}

impl Engine {
    /// Sends the INVITE to the first candidate that takes it; answers the caller when none is left.
    pub(crate) fn hunt(&mut self, turn: &mut Turn<'_>, at: CallRef, incoming: &Incoming<'_, '_>) {
        loop {
            let Some(call) = self.calls.find_mut(at) else { return };
            let goes_through_a_node = call.media.is_some();
            let Some(candidate) = call.hunt.take() else { return self.finish_with_best(turn, at) };
            if goes_through_a_node && !self.has_offer(turn, at, incoming, candidate) {
                return;
            }
            match self.attempt(turn, at, incoming, candidate) {
                Ok(()) => return,
                Err(Skip::Gateway) => self.counters.count(Counter::GatewaysSkipped),
                Err(Skip::Capped(refusal)) => {
                    self.counters.count(Counter::GatewaysSkipped);
                    self.counters.count(refusal.counter());
                }
                Err(Skip::Number(fault)) => {
                    self.counters.count(Counter::GatewaysSkipped);
                    if let Some(call) = self.calls.find_mut(at) {
                        call.hunt.fault.get_or_insert(fault.status());
                    }
                }
                Err(Skip::Full(full)) => return self.refuse_for_want(turn, at, incoming, full),
            }
        }
    }

    /// [`Engine::hunt`] from the INVITE that the server transaction holds.
    pub(crate) fn hunt_on(&mut self, turn: &mut Turn<'_>, at: CallRef) {
        self.counters.count(Counter::Hunts);
        self.spend_offer(at);
        self.hunt_held(turn, at, None);
    }

    /// [`Engine::hunt`] from the INVITE that the server transaction holds; `sdp` is what a media node just gave for its own.
    pub(crate) fn hunt_held(&mut self, turn: &mut Turn<'_>, at: CallRef, sdp: Option<&[u8]>) {
        let server = self.calls.find(at).map(|call| call.server);
        let held = server.and_then(|server| self.servers.find(server)).and_then(|transaction| {
            let buffer = transaction.request?;
            Some((buffer, transaction.source, transaction.key, transaction.call_hash))
        });
        // An INVITE is held until its final response, and there is none yet.
        let Some((buffer, flow, key, call_hash)) = held else { return self.finish_with_best(turn, at) };
        let mut copy = core::mem::take(&mut self.reread);
        let offered = self.calls.find(at).and_then(|call| call.media.as_ref()?.offered);
        let sdp = sdp.or_else(|| Some(self.pool.bytes(offered?)));
        let bytes = self.pool.bytes(buffer);
        let length = match sdp {
            None => {
                copy[..bytes.len()].copy_from_slice(bytes);
                Some(bytes.len())
            }
            Some(sdp) => super::media::with_body(bytes, Some(sdp), &mut copy),
        };
        let mut message = Message::unread();
        match length.map(|length| message.read_in_place(&copy[..length])) {
            Some(Ok(())) => {
                let source = Source::new(&message.via(), &message, flow);
                let relayed = sdp.is_some();
                let incoming = Incoming { message: &message, flow, call_hash, key, source, relayed };
                self.hunt(turn, at, &incoming);
            }
            // Only a node's SDP can make it too large.
            None => self.refuse_call(turn, at, EndReason::Refused, Final::Own(513, b"")),
            Some(Err(_)) => unreachable!("it parsed when it came"),
        }
        self.reread = copy;
    }

    /// Sends the INVITE to one gateway.
    fn attempt(
        &mut self,
        turn: &mut Turn<'_>,
        at: CallRef,
        incoming: &Incoming<'_, '_>,
        candidate: Candidate,
    ) -> Result<(), Skip> {
        let gateway = turn.image.gateway(candidate.gateway).filter(|gateway| gateway.enabled).ok_or(Skip::Gateway)?;
        let call = self.calls.find(at).ok_or(Skip::Gateway)?;
        let (pass, server, opening, follows) = (call.pass, call.server, call.opening, call.hunt.attempts > 0);
        let face = call.caller.flow.listener;
        let media = call.media.as_ref().map(|media| (media.attempt, media::start(true, carries_sdp(incoming.message))));
        let number = call.number.as_ref().ok_or(Skip::Gateway)?;
        let mut room = [0; GATEWAY_URI_MAX];
        let uri = gateway_uri(number, &gateway, &mut room).map_err(Skip::Number)?;
        let mut rewrite = self.identity_towards(turn, incoming.message, call, &gateway);
        let (wording, lines);
        if opening.session.rewritten {
            wording = Wording::of_request(&opening.session);
            lines = wording.request_lines(incoming.message);
            rewrite.drop = rewrite.drop.and(wording.replaced());
            rewrite.lines = &lines;
        }
        // One that is bound to a listener which this process does not have would be reached over the wrong network.
        let listener = match gateway.listener {
            Some(slot) => self.listener_of(slot).ok_or(Skip::Gateway)?,
            None => incoming.flow.listener,
        };
        let to = Flow { peer: gateway.endpoint, listener, transport: incoming.flow.transport };
        let timers = &self.settings.timers;
        let fr_timer = gateway.fr_timer_ms.map_or(timers.fr_timer, super::millis);
        // The gateway's own, else the provider's: not that of the gateway before.
        let ring_timeout = gateway
            .ring_timeout_ms
            .or_else(|| turn.image.provider_ring_timeout_ms(call.provider))
            .map_or(timers.ring_timeout, super::millis);
        let forward = Forward {
            method: Method::Invite,
            to,
            call: Some(at),
            server: Some(server),
            request_uri: Some(uri),
            strip_routes: opening.strip_routes.into(),
            drop_last_route: false,
            record_route: Some((pass, face)),
            loop_hash: opening.loop_hash,
            dialog: pass.into(),
            sender: Side::Caller,
            asked: opening.session.asked,
            candidate: Some(candidate),
            shown: Shown::by(&rewrite),
            rewrite,
            media,
        };
        let standing = if follows { self.standing(server, candidate.carrier) } else { Standing::NEW };
        let hold = self.take_gateway(turn, candidate, &gateway, standing).map_err(Skip::Capped)?;
        let branch = self.forward(turn, incoming, &forward).map_err(|full| {
            self.give_back(hold);
            Skip::Full(full)
        })?;
        let deadline = turn.now.monotonic.after(fr_timer);
        if let Some(transaction) = self.clients.find_mut(branch) {
            transaction.hold = hold;
            transaction.timers.timeout_at = transaction.timers.timeout_at.min(deadline);
            self.wheel_client(branch);
        }
        if follows {
            self.inherit(server, branch, standing);
        }
        if let Some(transaction) = self.servers.find_mut(server) {
            transaction.client = Some(branch);
        }
        if let Some(call) = self.calls.find_mut(at) {
            call.branch = Some(branch);
            call.shown = call.shown.max(forward.shown);
            call.candidate = Some(candidate);
            call.callee = Leg { flow: to, cseq: 0 };
            call.hunt.attempts += 1;
            call.ring_timeout = ring_timeout;
            if let Some(media) = &mut call.media {
                media.invite = Some(branch);
            }
        }
        self.counters.count(Counter::Attempts);
        Ok(())
    }

    /// Whether a failure sends the call to another gateway. A redirection that is to be followed brings its own.
    pub(crate) fn goes_on(
        &mut self,
        turn: &Turn<'_>,
        at: CallRef,
        failure: Failure,
        response: Option<Came<'_, '_>>,
    ) -> bool {
        let Some(call) = self.calls.find(at) else { return false };
        if call.state == crate::call::State::Ringing && !self.settings.policy.hunt_after_ringing {
            return false;
        }
        match verdict(failure) {
            Verdict::Over => false,
            Verdict::Next => call.hunt.has_next(),
            Verdict::AskCarrier => {
                call.hunt.has_next()
                    && call
                        .candidate
                        .and_then(|candidate| turn.image.carrier(candidate.carrier))
                        .is_some_and(|carrier| fails_over(&carrier, failure, response.map(|came| came.message)))
            }
            Verdict::Redirected => match self.redirect(turn, at) {
                Redirect::Hunt => call.hunt.has_next(),
                Redirect::Pass => false,
                Redirect::Recurse => {
                    response.is_some_and(|came| self.recurse(turn, at, came.message))
                        || self.calls.find(at).is_some_and(|call| call.hunt.has_next())
                }
            },
        }
    }

    /// What the call's provider wants of a 3xx.
    fn redirect(&self, turn: &Turn<'_>, at: CallRef) -> Redirect {
        let provider = self.calls.find(at).and_then(|call| turn.image.provider(call.provider));
        provider.map_or(Redirect::Hunt, |provider| provider.redirect)
    }

    /// Aims the hunt at where the number of a 3xx's Contact is routed: once in a call, in the provider's own routing group.
    /// Nothing of the Contact but its number counts.
    fn recurse(&mut self, turn: &Turn<'_>, at: CallRef, response: &Message<'_>) -> bool {
        let draw = self.draw();
        let Some(call) = self.calls.find(at).filter(|call| !call.hunt.recursed) else { return false };
        let contact = response.values(Name::Contact).next();
        let uri = contact
            .and_then(|value| response.parse_name_addr(value).ok())
            .and_then(|contact| response.parse_uri(contact.uri).ok());
        let (Some(uri), Some(provider)) = (uri, turn.image.provider(call.provider)) else { return false };
        // The gateway's number, not the provider's: nothing is taken off it.
        let plain = Provider { strip: 0, prepend: b"", ..provider };
        let source = Recognised { provider: call.provider, tech_prefix: 0, cap: None };
        let Ok(number) = Dialled::read(response, &uri).for_provider(&source, &plain) else { return false };
        let server = call.server;
        let usable =
            |carrier, gateway| self.has_room(turn, Candidate { gateway, carrier }, self.standing(server, carrier));
        let selected = turn.image.select_where(provider.routing_group, number.digits(), turn.now.wall, draw, usable);
        let Ok(candidates) = selected else { return false };
        let Some(call) = self.calls.find_mut(at) else { return false };
        call.hunt.recursed = true;
        call.hunt.aim(candidates);
        call.number = Some(number);
        true
    }

    /// Keeps a failure where it is the best answer so far.
    pub(crate) fn keep_best(&mut self, turn: &Turn<'_>, at: CallRef, status: u16, response: Option<Came<'_, '_>>) {
        if !self.calls.find(at).is_some_and(|call| call.hunt.keeps(status)) {
            return;
        }
        // Without a buffer its status is kept: the caller gets that, from Corelane.
        let kept = response
            .filter(|_| self.stand_in(turn, at, status).is_none())
            .and_then(|came| self.compose_upstream(turn, came).ok());
        let Some(call) = self.calls.find_mut(at) else { return };
        let old = call.hunt.best.replace(Best { status, response: kept });
        if let Some(buffer) = old.and_then(|best| best.response) {
            self.pool.release(buffer);
        }
    }

    /// The status that goes upstream in place of a gateway's: its overload is not ours (RFC 3261 §16.7 step 6), and a downstream
    /// Contact never leaks (SPEC §3 *Hunt*).
    pub(crate) fn stand_in(&self, turn: &Turn<'_>, at: CallRef, status: u16) -> Option<u16> {
        match status {
            503 if self.settings.policy.remap_503 => Some(500),
            300..=399 if self.redirect(turn, at) != Redirect::Pass => Some(500),
            _ => None,
        }
    }

    /// No candidate is left: the best failure goes upstream, or the provider's own code where nothing was tried.
    pub(crate) fn finish_with_best(&mut self, turn: &mut Turn<'_>, at: CallRef) {
        let Some(call) = self.calls.find_mut(at) else { return };
        let provider = call.provider;
        match call.hunt.best.take() {
            Some(Best { status, response: Some(buffer) }) => {
                self.refuse_call(turn, at, EndReason::Refused, Final::Kept(buffer, status));
            }
            Some(Best { status, response: None }) => {
                let reason = if status == 408 { EndReason::Unanswered } else { EndReason::Refused };
                let status = self.stand_in(turn, at, status).unwrap_or(status);
                self.refuse_call(turn, at, reason, Final::Own(status, b""));
            }
            None => {
                // Of a number that no gateway could be given the caller hears; of capped ones that his trunk is full.
                if let Some(status) = call.hunt.fault {
                    return self.refuse_call(turn, at, EndReason::Refused, Final::Own(status, b""));
                }
                let code = turn.image.provider(provider).map_or(503, |provider| provider.refuse_code);
                self.refuse_call(turn, at, EndReason::Refused, Final::Own(code, NO_CIRCUIT));
            }
        }
    }

    /// The node has no memory for the INVITE to leave.
    fn refuse_for_want(&mut self, turn: &mut Turn<'_>, at: CallRef, incoming: &Incoming<'_, '_>, full: Full) {
        let Some(call) = self.calls.find_mut(at) else { return };
        call.status = if full.0 == Resource::MessageSize { 513 } else { 503 };
        let server = call.server;
        // From the INVITE at hand: the one that is held may have to make room for the answer.
        self.answer_full(turn, server, incoming, full);
        self.drive_call(turn, at, Event::Failure, EndReason::Refused);
    }

    /// The final non-2xx response goes upstream, and the call ends.
    pub(crate) fn refuse_call(&mut self, turn: &mut Turn<'_>, at: CallRef, reason: EndReason, last: Final<'_>) {
        let Some(call) = self.calls.find(at) else { return };
        let server = call.server;
        let status = match last {
            Final::Came(came) => match self.stand_in(turn, at, came.status) {
                Some(own) => {
                    self.answer_server(turn, server, None, own, b"");
                    own
                }
                None => {
                    self.deliver(turn, server, came);
                    came.status
                }
            },
            Final::Kept(buffer, status) => {
                self.drive_server(turn, server, super::records::ServerEvent::Response(status), Some(buffer));
                status
            }
            Final::Own(status, lines) => {
                self.answer_server(turn, server, None, status, lines);
                status
            }
        };
        if let Some(call) = self.calls.find_mut(at) {
            call.status = status;
        }
        self.drive_call(turn, at, Event::Failure, reason);
    }
}

/// Whether a carrier's list names a status, or the Q.850 cause that came with it (RFC 3326 §2).
fn fails_over(carrier: &crate::routing::Carrier<'_>, failure: Failure, response: Option<&Message<'_>>) -> bool {
    carrier.fails_over(failure.status())
        || response.is_some_and(|response| {
            let cause = super::reason::Cause::read(response, true);
            cause.and_then(|cause| u8::try_from(cause.code).ok()).is_some_and(|code| carrier.fails_over_on_cause(code))
        })
}
