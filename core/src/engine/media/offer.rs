//! The offer of the INVITE that opens a call: to a media node before it goes to a gateway, and again for the next one where the last answered it,
//! or has other flags (SPEC §5).
//!
//! The INVITE is held by its server transaction, the relay's SDP by the call until an answer. So a hunt over silent gateways asks once.

use super::super::answer::Incoming;
use super::super::hunt::Final;
use super::super::{Engine, Turn};
use super::exchange::{Exchange, Result, Subject};
use super::{Ask, flags};
use crate::bus::{MediaOutcome, Verb};
use crate::call::{CallRef, EndReason};
use crate::memory::{Full, Resource};
use crate::message::{Body, Message, find_sdp};
use crate::routing::Candidate;

impl Engine {
    /// Whether the INVITE at hand can go to a gateway: it has no SDP, or the relay's. Else a node is asked, and the hunt goes on when it has
    /// answered.
    #[inline(never)]
    pub(crate) fn has_offer(
        &mut self,
        turn: &mut Turn<'_>,
        at: CallRef,
        incoming: &Incoming<'_, '_>,
        candidate: Candidate,
    ) -> bool {
        let wanted = self.flags_print(turn, at, candidate);
        let Some(media) = self.calls.find_mut(at).and_then(|call| call.media.as_mut()) else { return true };
        if incoming.relayed {
            if media.flags == wanted {
                return true;
            }
            let offered = media.offered.take();
            offered.into_iter().for_each(|buffer| self.pool.release(buffer));
            self.offer_held(turn, at, candidate);
            return false;
        }
        if find_sdp(incoming.message) == Body::None {
            // The callee offers; each branch is one of its own at the node.
            media.next_attempt();
            return true;
        }
        self.offer(turn, at, incoming.message, candidate);
        false
    }

    /// Asks for the offer of the INVITE that the server transaction holds.
    fn offer_held(&mut self, turn: &mut Turn<'_>, at: CallRef, candidate: Candidate) {
        let server = self.calls.find(at).and_then(|call| self.servers.find(call.server));
        let Some(held) = server.and_then(|server| server.request) else { return self.finish_with_best(turn, at) };
        self.with_held(Some(held), |engine, message| engine.offer(turn, at, message, candidate));
    }

    fn offer(&mut self, turn: &mut Turn<'_>, at: CallRef, message: &Message<'_>, candidate: Candidate) {
        let Body::Sdp(span) = find_sdp(message) else {
            return self.refuse_call(turn, at, EndReason::Refused, Final::Own(488, b""));
        };
        let Some(call) = self.calls.find_mut(at) else { return };
        let (server, attempt) = (call.server, call.media.as_mut().map_or(0, |media| media.next_attempt()));
        let Some(flow) = self.servers.find(server).map(|server| server.source) else { return };
        let opened = self.open_exchange(
            Exchange {
                call: at,
                subject: Subject::Offer(candidate),
                verb: Verb::Offer,
                asked: true,
                flow,
                held: None,
                whole: 0,
                next: None,
                timeout_at: self.media_deadline(turn),
            },
            true,
        );
        let asked = opened.and_then(|exchange| {
            let ask = Ask {
                verb: Verb::Offer,
                attempt,
                candidate: Some(candidate),
                from_tag: message.from().tag.map(|tag| message.text(tag)).unwrap_or_default(),
                to_tag: b"",
                sdp: message.text(span),
            };
            match self.ask(turn, at, Engine::exchange_id(exchange), &ask) {
                Ok(()) => Ok(exchange),
                Err(full) => {
                    self.close_exchange(exchange);
                    Err(full)
                }
            }
        });
        match asked {
            Ok(exchange) => {
                if let Some(media) = self.calls.find_mut(at).and_then(|call| call.media.as_mut()) {
                    media.waits = Some(exchange);
                }
                if let Some(transaction) = self.servers.find_mut(server) {
                    transaction.exchange = Some(exchange);
                }
            }
            Err(Full(Resource::MessageSize)) => self.refuse_call(turn, at, EndReason::Refused, Final::Own(513, b"")),
            Err(_) => self.refuse_for_media(turn, at),
        }
    }

    /// 503 with Retry-After: not one trunk, the node has no media (SPEC §3 *Refusals*).
    fn refuse_for_media(&mut self, turn: &mut Turn<'_>, at: CallRef) {
        let lines = self.retry_after();
        self.refuse_call(turn, at, EndReason::Refused, Final::Own(503, &lines));
    }

    /// A node has answered for the INVITE: it goes to the gateway that it was asked for.
    pub(super) fn on_offered(&mut self, turn: &mut Turn<'_>, at: CallRef, candidate: Candidate, result: Result<'_>) {
        let wanted = self.flags_print(turn, at, candidate);
        // Answered, given up or ended while it waited.
        let Some(call) = self.calls.find_mut(at).filter(|call| call.is_early() && call.branch.is_none()) else {
            return;
        };
        let Some(media) = &mut call.media else { return };
        media.waits = None;
        match result {
            Ok(sdp) => {
                media.flags = wanted;
                call.hunt.give_back();
                // For the next gateway. Without a buffer a node is asked again.
                let offered = self.pool.store(sdp).ok();
                if let Some(media) = self.calls.find_mut(at).and_then(|call| call.media.as_mut()) {
                    media.offered = offered;
                }
                self.hunt_held(turn, at, Some(sdp));
            }
            Err(MediaOutcome::Refused) => self.refuse_call(turn, at, EndReason::Refused, Final::Own(488, b"")),
            Err(_) => self.refuse_for_media(turn, at),
        }
    }

    /// Before another gateway is tried: an offer that was answered is not used again (SPEC §5).
    pub(crate) fn spend_offer(&mut self, at: CallRef) {
        let media = self.calls.find_mut(at).and_then(|call| call.media.as_mut());
        if let Some(buffer) = media.filter(|media| media.answered != 0).and_then(|media| media.offered.take()) {
            self.pool.release(buffer);
        }
    }

    /// Names the flags of a call towards a gateway.
    fn flags_print(&self, turn: &Turn<'_>, at: CallRef, candidate: Candidate) -> u32 {
        let Some(call) = self.calls.find(at) else { return 0 };
        let mut hasher = self.tags;
        hasher.bytes(&flags(turn, call, Some(candidate)));
        hasher.finish() as u32
    }
}
