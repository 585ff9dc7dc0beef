//! An INVITE that opens a call: admitted, routed, sent to a gateway (RFC 3261 §16.3 to §16.6).

use super::answer::Incoming;
use super::forward::{Forward, GATEWAY_URI_MAX, Number, gateway_uri};
use super::{Engine, Turn};
use crate::call::{Call, CallRef, Dialogs, EndReason, Leg, State};
use crate::counter::Counter;
use crate::flow::{Endpoint, Flow, ListenerIndex};
use crate::memory::Full;
use crate::message::{Message, Method, Name, StartLine};
use crate::routing::{Candidate, ListenerSlot, NoCandidate, Recognised};
use crate::siphash::Hasher;
use crate::time::Instant;

/// "No circuit/channel available", for refusals that are a trunk's and not the node's (SPEC §3 *Refusals*).
const NO_CIRCUIT: &[u8] = b"Reason: Q.850;cause=34\r\n";

/// Why an INVITE did not leave.
enum Failure {
    /// A status of our own.
    Refused(u16),
    /// Our limit.
    Full(Full),
}

impl Engine {
    pub(crate) fn on_invite(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        recognised: Recognised,
        dialled: &Number,
    ) {
        let Some(strip_routes) = self.own_routes(incoming.message) else {
            // A preloaded Route that names anyone else: Corelane is no open relay.
            return self.answer_stateless(turn, incoming, 403, b"");
        };
        let loop_hash = self.loop_hash(incoming);
        if self.loops(incoming, loop_hash) {
            return self.answer_stateless(turn, incoming, 482, b"");
        }
        // New calls only: what is kept back is for the calls that run (I8).
        if !self.has_room_for_a_call() {
            return self.refuse_full(turn, incoming);
        }
        let Ok((call, pass)) = self.open_call(turn, incoming, recognised) else {
            return self.refuse_full(turn, incoming);
        };
        let Ok(server) = self.open_server(turn, incoming, Method::Invite, Some(call)) else {
            self.end_call(call, EndReason::Refused);
            return self.refuse_full(turn, incoming);
        };
        self.answer_server(turn, server, Some(incoming), 100, b"");
        let forward = Forward {
            method: Method::Invite,
            to: incoming.flow,
            call: Some(call),
            server: Some(server),
            request_uri: None,
            strip_routes,
            drop_last_route: false,
            record_route: Some(pass),
            loop_hash,
            dialog: 0,
        };
        let outcome = self
            .route(turn, recognised, dialled)
            .and_then(|(candidate, number)| self.try_candidate(turn, incoming, candidate, number, &forward));
        let Err(failure) = outcome else { return };
        match failure {
            Failure::Full(full) => self.answer_full(turn, server, incoming, full),
            Failure::Refused(status) => {
                // A number that leads nowhere is the caller's; anything else is a trunk's trouble, and says so.
                let lines: &[u8] = if status == 404 { b"" } else { NO_CIRCUIT };
                self.answer_server(turn, server, Some(incoming), status, lines);
            }
        }
        self.end_call(call, EndReason::Refused);
    }

    /// The number after the provider's rules, and the gateway for it; or the status of the refusal.
    fn route(
        &mut self,
        turn: &Turn<'_>,
        recognised: Recognised,
        dialled: &Number,
    ) -> Result<(Candidate, Number), Failure> {
        let draw = self.draw();
        let provider = turn.image.provider(recognised.provider).ok_or(Failure::Refused(500))?;
        let mut number = dialled.clone();
        let fits = number.rewrite(recognised.tech_prefix.into(), b"")
            && number.rewrite(provider.strip.into(), provider.prepend);
        if !fits || number.digits.is_empty() {
            return Err(Failure::Refused(404));
        }
        let candidates =
            turn.image.select(provider.routing_group, &number.digits, turn.now.wall, draw).map_err(|reason| {
                match reason {
                    NoCandidate::NoRoute => Failure::Refused(404),
                    NoCandidate::NoneUsable => Failure::Refused(provider.refuse_code),
                }
            })?;
        // Hunting over the others is the call lifecycle's work; the first one is the route's choice.
        candidates.first().map(|first| (*first, number)).ok_or(Failure::Refused(provider.refuse_code))
    }

    /// Sends the INVITE to one gateway.
    fn try_candidate(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        candidate: Candidate,
        mut number: Number,
        forward: &Forward<'_>,
    ) -> Result<(), Failure> {
        let gateway = turn.image.gateway(candidate.gateway).ok_or(Failure::Refused(500))?;
        let listener = gateway.listener.and_then(|slot| self.listener_of(slot)).unwrap_or(incoming.flow.listener);
        if !number.rewrite(gateway.strip.into(), gateway.prepend) || number.digits.is_empty() {
            return Err(Failure::Refused(404));
        }
        let mut uri = [0; GATEWAY_URI_MAX];
        let uri = gateway_uri(&number, &gateway, &mut uri).map_err(Failure::Full)?;
        let to = Flow { peer: gateway.endpoint, listener, transport: incoming.flow.transport };
        let server = forward.server;
        let call = forward.call;
        let forward = Forward { to, request_uri: Some(uri), ..*forward };
        let client = self.forward(turn, incoming, &forward).map_err(Failure::Full)?;
        if let Some(transaction) = server.and_then(|at| self.servers.find_mut(at)) {
            transaction.client = Some(client);
        }
        if let Some(call) = call.and_then(|at| self.calls.find_mut(at)) {
            call.gateway = candidate.gateway;
            call.carrier = candidate.carrier;
            call.callee = Leg { flow: to };
        }
        Ok(())
    }

    /// The call record, under a pass number that no other passage of this Call-ID has.
    fn open_call(
        &mut self,
        turn: &Turn<'_>,
        incoming: &Incoming<'_, '_>,
        recognised: Recognised,
    ) -> Result<(CallRef, u32), Full> {
        let message = incoming.message;
        let mut pass = self.draw() as u32;
        while self.call_index.find(Call::key(incoming.call_hash, pass)).is_some() {
            pass = self.draw() as u32;
        }
        let leg = Leg { flow: incoming.flow };
        let at = self.calls.insert(Call {
            state: State::Early,
            call_hash: incoming.call_hash,
            pass,
            cseq: message.cseq().number,
            caller_tag: self.hash_tag(message.from().tag.map(|tag| message.text(tag))),
            caller: leg,
            callee: leg,
            dialogs: Dialogs::default(),
            provider: recognised.provider,
            gateway: crate::routing::GatewaySlot(u16::MAX),
            carrier: crate::routing::CarrierSlot(u16::MAX),
            started: turn.now.wall,
            timeout_at: Instant::NEVER,
        })?;
        self.call_index.insert(Call::key(incoming.call_hash, pass), at.index());
        self.counters.count(Counter::CallsStarted);
        Ok((at, pass))
    }

    /// How many Route values are there, when all of them name us; `None` when one names somebody else.
    fn own_routes(&self, message: &Message<'_>) -> Option<usize> {
        let mut count = 0;
        for value in message.values(Name::Route) {
            let route = message.parse_name_addr(value).ok()?;
            let uri = message.parse_uri(route.uri).ok()?;
            self.is_own(message.text(uri.host), uri.port).then_some(())?;
            count += 1;
        }
        Some(count)
    }

    /// Whether a host and port are one of our listeners', advertised or bound.
    fn is_own(&self, host: &[u8], port: Option<u16>) -> bool {
        let port = port.unwrap_or(5060);
        self.settings.listeners.iter().any(|listener| {
            let advertised = listener.advertised.as_bytes();
            let named = advertised.iter().rposition(|byte| *byte == b':').is_some_and(|colon| {
                advertised[..colon].eq_ignore_ascii_case(host)
                    && core::str::from_utf8(&advertised[colon + 1..]).is_ok_and(|text| text.parse() == Ok(port))
            });
            let bound = || {
                let bare = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
                let ip = core::str::from_utf8(bare).ok().and_then(|host| host.parse().ok());
                ip.is_some_and(|ip| Endpoint::new(ip, port) == listener.bound)
            };
            named || bound()
        })
    }

    fn listener_of(&self, slot: ListenerSlot) -> Option<ListenerIndex> {
        let at = self.settings.listeners.iter().position(|listener| listener.slot == slot)?;
        Some(ListenerIndex(at as u8))
    }

    /// The hash of all that decides where a request goes (RFC 5393 §4.2.1).
    fn loop_hash(&self, incoming: &Incoming<'_, '_>) -> u32 {
        let message = incoming.message;
        let mut hasher = Hasher::new(self.transaction_key);
        if let StartLine::Request { uri, .. } = message.start() {
            hasher.bytes(message.text(uri));
        }
        let tag = |tag: Option<crate::message::Span>| tag.map(|tag| message.text(tag)).unwrap_or_default();
        hasher.bytes(tag(message.from().tag));
        hasher.bytes(tag(message.to().tag));
        // RFC 3261 §16.6 step 8: a request that comes again with credentials is another one.
        for name in [Name::ProxyRequire, Name::ProxyAuthorization] {
            hasher.bytes(message.first(name).map(|field| message.text(field.value)).unwrap_or_default());
        }
        hasher.word(message.cseq().number.into());
        hasher.word(incoming.call_hash);
        hasher.finish() as u32
    }

    /// Whether the request passed here before with nothing changed: a loop, and not a spiral (RFC 5393 §4.2).
    fn loops(&self, incoming: &Incoming<'_, '_>, loop_hash: u32) -> bool {
        let message = incoming.message;
        message.values(Name::Via).any(|value| {
            let branch = message.parse_via(value).ok().and_then(|via| via.branch);
            branch
                .and_then(|branch| self.tokens.read_branch(incoming.call_hash, message.text(branch)))
                .is_some_and(|parts| parts.loop_hash == loop_hash)
        })
    }
}
