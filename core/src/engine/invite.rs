//! An INVITE that opens a call: admitted, routed, sent to a gateway (RFC 3261 §16.3 to §16.6).

use super::answer::Incoming;
use super::holds::Standing;
use super::hunt::{Final, NO_CIRCUIT};
use super::records::ServerRef;
use super::{Effect, Engine, Turn, millis};
use crate::admission::{Day, GatewayHold, ProviderHold, Refusal};
use crate::call::hunt::Hunt;
use crate::call::session::{Decision, Session};
use crate::call::state::START;
use crate::call::{Call, CallRef, Dialogs, EndReason, Leaving, Leg, Opening};
use crate::counter::Counter;
use crate::flow::{Endpoint, Flow, ListenerIndex};
use crate::identity::Shown;
use crate::memory::Full;
use crate::message::{Message, Method, Name, StartLine};
use crate::number::{Dialled, NumberFault};
use crate::routing::{Candidate, ListenerSlot, NoCandidate, Provider, Recognised};
use crate::time::Instant;

impl Engine {
    pub(crate) fn on_invite(
        &mut self,
        turn: &mut Turn<'_>,
        incoming: &Incoming<'_, '_>,
        recognised: Recognised,
        dialled: &Dialled,
    ) {
        let strip_routes = match self.own_routes(incoming.message) {
            Ok(count) => count,
            Err(status) => return self.answer_stateless(turn, incoming, status, b""),
        };
        let loop_hash = self.loop_hash(incoming, recognised);
        if self.loops(incoming, loop_hash) {
            return self.answer_stateless(turn, incoming, 482, b"");
        }
        let Some(provider) = turn.image.provider(recognised.provider) else {
            return self.answer_stateless(turn, incoming, 403, b"");
        };
        let admitted = self.overload.admits(recognised.provider, turn.received_at);
        // The filter knows addresses only: one that two providers share would have the one pay for the other.
        if let Some(pass) = self.overload.passes(recognised.provider)
            && turn.image.is_alone_at(recognised.provider, incoming.flow.peer.ip)
        {
            turn.effects.push(Effect::Shed { source: incoming.flow.peer.ip, pass });
        }
        if !admitted {
            self.counters.count(Counter::Shed);
            let lines = self.retry_after();
            return self.answer_stateless(turn, incoming, 503, &lines);
        }
        if self.draining || self.holding {
            let lines = self.retry_after();
            return self.answer_stateless(turn, incoming, 503, &lines);
        }
        // New calls only: what is kept back is for the calls that run (I8).
        if !self.has_room_for_a_call() {
            return self.refuse_full(turn, incoming);
        }
        let session = match self.session_terms(&provider, incoming.message) {
            Decision::Take(terms) => terms,
            Decision::Refuse { min_se_s } => return self.refuse_interval(turn, incoming, min_se_s),
        };
        let Ok(server) = self.open_server(turn, incoming, Method::Invite, None) else {
            return self.refuse_full(turn, incoming);
        };
        let opening = Opening {
            cseq: incoming.message.cseq().number,
            loop_hash,
            strip_routes,
            record_routed: incoming.message.first(Name::RecordRoute).is_some(),
            contact: super::hangup::contact(incoming.message),
            session,
        };
        let Ok(call) = self.open_call(turn, incoming, recognised, (&provider, server, opening)) else {
            self.counters.count(Counter::Full);
            let lines = self.retry_after();
            return self.answer_server(turn, server, Some(incoming), 503, &lines);
        };
        if let Err(refusal) = self.admit(turn, call, recognised, &provider) {
            self.counters.count(refusal.counter());
            // Its trunk is full, not the node: no Retry-After, because peers shun a node that says it (SPEC §3 *Refusals*).
            return self.refuse_call(turn, call, EndReason::Refused, Final::Own(provider.refuse_code, NO_CIRCUIT));
        }
        self.answer_server(turn, server, Some(incoming), 100, b"");
        match self.route(turn, recognised, &provider, dialled, call) {
            Ok(()) => self.hunt(turn, call, incoming),
            // A number that leads nowhere is the caller's; anything else is a trunk's trouble, and says so.
            Err(status @ (404 | 484)) => self.refuse_call(turn, call, EndReason::Refused, Final::Own(status, b"")),
            Err(status) => self.refuse_call(turn, call, EndReason::Refused, Final::Own(status, NO_CIRCUIT)),
        }
    }

    /// Takes the provider's place for a call: caps, rates, day.
    fn admit(
        &mut self,
        turn: &Turn<'_>,
        at: CallRef,
        recognised: Recognised,
        provider: &Provider<'_>,
    ) -> Result<(), Refusal> {
        let Recognised { provider: slot, cap, .. } = recognised;
        let today = || Day::ending(turn.image.local_midnight(slot, turn.now.wall));
        let hold = self.settings.caps.admit_provider(slot, &provider.into(), cap, turn.now.monotonic, today)?;
        self.admission.acquired += hold.count();
        if let Some(call) = self.calls.find_mut(at) {
            call.hold = hold;
        }
        Ok(())
    }

    /// Aims the call at the gateways for its number after the provider's rules; or the status of the refusal.
    fn route(
        &mut self,
        turn: &Turn<'_>,
        recognised: Recognised,
        provider: &Provider<'_>,
        dialled: &Dialled,
        at: CallRef,
    ) -> Result<(), u16> {
        let draw = self.draw();
        let number = dialled.for_provider(&recognised, provider).map_err(NumberFault::status)?;
        let usable = |carrier, gateway| self.has_room(turn, Candidate { gateway, carrier }, Standing::NEW);
        let candidates = turn
            .image
            .select_where(provider.routing_group, number.digits(), turn.now.wall, draw, usable)
            .map_err(|reason| match reason {
                NoCandidate::NoRoute => 404,
                NoCandidate::NoneUsable => provider.refuse_code,
            })?;
        if let Some(call) = self.calls.find_mut(at) {
            call.hunt.aim(candidates);
            call.number = Some(number);
        }
        Ok(())
    }

    /// The call record, under a pass number that no other passage of this Call-ID has.
    fn open_call(
        &mut self,
        turn: &Turn<'_>,
        incoming: &Incoming<'_, '_>,
        recognised: Recognised,
        (provider, server, opening): (&Provider<'_>, ServerRef, Opening),
    ) -> Result<CallRef, Full> {
        let message = incoming.message;
        let mut pass = self.draw() as u32;
        while self.call_index.find(Call::key(incoming.call_hash, pass)).is_some() {
            pass = self.draw() as u32;
        }
        let timers = &self.settings.timers;
        let invite_timeout = provider.invite_timeout_ms.map_or(timers.invite_timeout, millis);
        // Where he takes responses he takes requests: some peers send from any port, and say in the Via on which they listen.
        let mut leg = Leg { flow: incoming.source.reply, cseq: 0 };
        if let Some(listener) = provider.listener {
            leg.flow.listener = self.face_of(listener, leg.flow);
        }
        let at = self.calls.insert(Call {
            state: START,
            call_hash: incoming.call_hash,
            pass,
            caller: Leg { cseq: opening.cseq, ..leg },
            callee: leg,
            dialogs: Dialogs::new(self.hash_tag(message.from().tag.map(|tag| message.text(tag)))),
            provider: recognised.provider,
            candidate: None,
            server,
            branch: None,
            hunt: Hunt::default(),
            hold: ProviderHold::NONE,
            gateway_hold: GatewayHold::NONE,
            number: None,
            opening,
            text: None,
            started: turn.now.wall,
            answered: None,
            timeout_at: turn.now.monotonic.after(invite_timeout),
            armed_at: Instant::NEVER,
            ring_timeout: provider.ring_timeout_ms.map_or(timers.ring_timeout, millis),
            session: Session::NONE,
            default_timeout: provider
                .default_timeout_s
                .map_or(timers.default_timeout, |seconds| core::time::Duration::from_secs(seconds.into())),
            shown: Shown::AsSent,
            leaving: Leaving::No,
            media: self.media_of(turn, provider),
            status: 0,
            given_up: EndReason::Refused,
        })?;
        if let Some(transaction) = self.servers.find_mut(server) {
            transaction.call = Some(at);
        }
        self.call_index.insert(Call::key(incoming.call_hash, pass), at.index());
        self.arm_call(at);
        self.counters.count(Counter::CallsStarted);
        Ok(at)
    }

    /// How many Route values are there, when all of them name us; else the status of the refusal: 403 when one names somebody else, since
    /// Corelane is no open relay; 400 for what is no Route, and hundreds of our own are none.
    fn own_routes(&self, message: &Message<'_>) -> Result<u8, u16> {
        let mut count = 0u8;
        for value in message.values(Name::Route) {
            let uri =
                message.parse_name_addr(value).and_then(|route| message.parse_uri(route.uri)).map_err(|_| 400u16)?;
            if !self.is_own(message.text(uri.host), uri.port) {
                return Err(403);
            }
            count = count.checked_add(1).ok_or(400u16)?;
        }
        Ok(count)
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

    /// The listener that requests towards a provider's peer leave from, where his row names one (SPEC §3 *Listeners*). One that this process
    /// does not have, or of the other IP version, cannot reach him: the socket where his INVITE came in does.
    #[cold]
    #[inline(never)]
    fn face_of(&self, bound: ListenerSlot, flow: Flow) -> ListenerIndex {
        let reaches = |at: &ListenerIndex| {
            self.settings.listeners[usize::from(at.0)].bound.ip.is_ipv4() == flow.peer.ip.is_ipv4()
        };
        self.listener_of(bound).filter(reaches).unwrap_or(flow.listener)
    }

    pub(crate) fn listener_of(&self, slot: ListenerSlot) -> Option<ListenerIndex> {
        let at = self.settings.listeners.iter().position(|listener| listener.slot == slot)?;
        Some(ListenerIndex(at as u8))
    }

    /// The hash of all that decides where a request goes (RFC 5393 §4.2.1): whose it is here, by the row that knew him, is among it.
    fn loop_hash(&self, incoming: &Incoming<'_, '_>, recognised: Recognised) -> u32 {
        let message = incoming.message;
        let mut hasher = self.transactions;
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
        let whose = u64::from(recognised.provider.0) << 8 | u64::from(recognised.tech_prefix);
        hasher.word(whose << 32 | u64::from(message.cseq().number));
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
