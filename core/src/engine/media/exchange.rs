//! Exchanges with media nodes: who waits, and how the wait ends.
//!
//! ```text
//!   record ── asked ──► Input::Media, or the wheel: finish ──► offer.rs, answer.rs, inside.rs
//!          └─ not asked: a response behind one of its branch that was ──► resumed in order, by the wheel where the effects are full
//! ```
//!
//! Each record has a place in the timer wheel, so that each wait ends, whatever the control core does. Who waits may end first (its call,
//! its transaction): then the reply finds nobody and means nothing.

use super::super::records::{ClientRef, ServerRef};
use super::super::{Engine, Turn};
use crate::bus::{ExchangeId, MediaOutcome, MediaReply, Verb};
use crate::call::CallRef;
use crate::counter::Counter;
use crate::flow::Flow;
use crate::limits::{EFFECTS_PER_CALL_MAX, RESERVED_FOR_CALLS};
use crate::memory::{BufferRef, Full, Ref, Resource};
use crate::routing::Candidate;
use crate::time::Instant;

/// A handle on an exchange.
pub(crate) type ExchangeRef = Ref<Exchange>;

/// What waits.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Subject {
    /// The INVITE that opens a call, for this gateway.
    Offer(Candidate),
    /// A response of this branch.
    Response(ClientRef),
    /// A request inside a dialog.
    Request(ServerRef),
    /// An ACK; whether it is that of the INVITE that opens the call, and the branch of its INVITE.
    Ack(bool, Option<ClientRef>),
    /// No message: whether RTP of the call flows; the how manieth question it is.
    Query(u8),
}

/// A message that waits for a media node, or behind one that does; or a question without one.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) call: CallRef,
    pub(crate) subject: Subject,
    /// What a node was asked for its SDP; nothing yet where it waits behind another one.
    pub(crate) verb: Verb,
    pub(crate) asked: bool,
    /// The flow that it came on.
    pub(crate) flow: Flow,
    /// The message as it came; none where a transaction holds it for as long.
    pub(crate) held: Option<BufferRef>,
    /// Hash of the whole of it: it may come again meanwhile.
    pub(crate) whole: u64,
    /// The next response of the branch.
    pub(crate) next: Option<ExchangeRef>,
    /// When the wait ends; [`Instant::NEVER`] behind another one.
    pub(crate) timeout_at: Instant,
}

/// What came of an exchange.
pub(super) type Result<'r> = core::result::Result<&'r [u8], MediaOutcome>;

impl Engine {
    /// Opens an exchange for an asked message; its timer runs. `new_call`: what is kept back is for the calls that run (I8).
    pub(super) fn open_exchange(
        &mut self,
        exchange: Exchange,
        new_call: bool,
    ) -> core::result::Result<ExchangeRef, Full> {
        let capacity = self.exchanges.capacity();
        let room = if new_call { capacity - capacity.div_ceil(RESERVED_FOR_CALLS) } else { capacity };
        let (held, timeout_at) = (exchange.held, exchange.timeout_at);
        let opened = match self.exchanges.live() < room {
            true => self.exchanges.insert(exchange),
            false => Err(Full(Resource::Exchanges)),
        };
        match opened {
            Ok(at) => self.set_wheel(self.places.exchange(at), timeout_at),
            Err(_) => {
                self.counters.count(Counter::Full);
                held.into_iter().for_each(|buffer| self.pool.release(buffer));
            }
        }
        opened
    }

    /// Takes an exchange out and gives back what it holds.
    pub(crate) fn close_exchange(&mut self, at: ExchangeRef) {
        if let Some(exchange) = self.exchanges.remove(at) {
            self.wheel.clear(self.places.exchange(at));
            if let Some(buffer) = exchange.held {
                self.pool.release(buffer);
            }
        }
    }

    /// Takes out the responses of a branch that wait.
    pub(crate) fn close_queue(&mut self, mut head: Option<ExchangeRef>) {
        while let Some(at) = head {
            head = self.exchanges.find(at).and_then(|exchange| exchange.next);
            self.close_exchange(at);
        }
    }

    /// A call has ended: what a node says to its wishes is nobody's any more.
    #[inline(never)]
    pub(crate) fn forget_media(&mut self, at: CallRef) {
        let Some(media) = self.calls.find_mut(at).and_then(|call| call.media.take()) else { return };
        media.offered.into_iter().for_each(|buffer| self.pool.release(buffer));
        if let Some(exchange) = media.waits {
            self.close_exchange(exchange);
        }
    }

    /// A branch has gone: what it kept, and its responses that wait, go with it.
    #[inline(never)]
    pub(crate) fn forget_media_of(&mut self, at: ClientRef) {
        let Some(transaction) = self.clients.find_mut(at) else { return };
        let parked = transaction.parked.take();
        core::mem::take(&mut transaction.kept).into_iter().flatten().for_each(|buffer| self.pool.release(buffer));
        self.close_queue(parked);
    }

    /// When an exchange that starts now is given up.
    pub(super) fn media_deadline(&self, turn: &Turn<'_>) -> Instant {
        turn.now.monotonic.after(self.settings.timers.media_timeout)
    }

    /// Who waits, as the control core knows it.
    pub(super) const fn exchange_id(at: ExchangeRef) -> ExchangeId {
        ExchangeId { index: at.index(), generation: at.generation() }
    }

    /// The control core answers.
    pub(crate) fn on_media(&mut self, turn: &mut Turn<'_>, reply: &MediaReply<'_>) {
        if reply.exchange == ExchangeId::NOBODY {
            return;
        }
        let at = Ref::from_parts(reply.exchange.index, reply.exchange.generation);
        let Some(exchange) = self.exchanges.find(at).filter(|exchange| exchange.asked) else {
            return self.counters.count(Counter::MediaLate);
        };
        if let Some(media) = self.calls.find_mut(exchange.call).and_then(|call| call.media.as_mut())
            && reply.node != 0
        {
            media.node = reply.node;
        }
        let queried = exchange.verb == Verb::Query;
        let result = match reply.outcome {
            // Nothing is no description.
            MediaOutcome::Done if reply.sdp.is_empty() && !queried => Err(MediaOutcome::Failed),
            MediaOutcome::Done => Ok(reply.sdp),
            MediaOutcome::Silent if !queried => Err(MediaOutcome::Failed),
            failure => Err(failure),
        };
        self.counters.count(match result {
            Ok(_) if queried => Counter::MediaFlowing,
            Ok(_) => Counter::MediaDone,
            Err(MediaOutcome::Refused) => Counter::MediaRefused,
            Err(MediaOutcome::NoNode) => Counter::MediaNoNode,
            Err(MediaOutcome::Silent) => Counter::MediaSilent,
            Err(_) => Counter::MediaFailed,
        });
        self.finish(turn, at, result);
    }

    /// The wheel looked at an exchange: nobody answered, or the turn of a response that waited has come.
    pub(crate) fn on_exchange_timer(&mut self, turn: &mut Turn<'_>, at: ExchangeRef) {
        let Some(exchange) = self.exchanges.find(at) else { return };
        if exchange.timeout_at > turn.now.monotonic {
            let timeout_at = exchange.timeout_at;
            return self.set_wheel(self.places.exchange(at), timeout_at);
        }
        match exchange.subject {
            Subject::Response(branch) if !exchange.asked => self.resume_waiting(turn, branch),
            _ => {
                self.counters.count(Counter::MediaTimeouts);
                self.finish(turn, at, Err(MediaOutcome::Failed));
            }
        }
    }

    /// An exchange is over: who waited goes on.
    fn finish(&mut self, turn: &mut Turn<'_>, at: ExchangeRef, result: Result<'_>) {
        let Some(exchange) = self.exchanges.remove(at) else { return };
        self.wheel.clear(self.places.exchange(at));
        match exchange.subject {
            Subject::Offer(candidate) => self.on_offered(turn, exchange.call, candidate, result),
            Subject::Response(branch) => {
                if let Some(transaction) = self.clients.find_mut(branch) {
                    transaction.parked = exchange.next;
                    self.on_response_back(turn, branch, &exchange, result);
                }
            }
            Subject::Request(server) => self.on_request_back(turn, server, &exchange, result),
            Subject::Ack(opens, invite) => self.on_ack_back(turn, (opens, invite), &exchange, result),
            Subject::Query(number) => self.on_query_back(turn, exchange.call, number, result),
        }
        if let Some(buffer) = exchange.held {
            self.pool.release(buffer);
        }
        if let Subject::Response(branch) = exchange.subject {
            self.resume_waiting(turn, branch);
        }
        #[cfg(feature = "canary")]
        self.leak_exchange(&exchange);
    }

    /// Goes on with the responses of a branch that waited, up to one that has to be asked for itself. Where the effects are full the wheel goes on.
    fn resume_waiting(&mut self, turn: &mut Turn<'_>, branch: ClientRef) {
        while let Some(at) = self.clients.find(branch).and_then(|transaction| transaction.parked) {
            let Some(exchange) = self.exchanges.find_mut(at).filter(|exchange| !exchange.asked) else { return };
            if turn.effects.remaining_capacity() < 2 * EFFECTS_PER_CALL_MAX {
                exchange.timeout_at = turn.now.monotonic;
                return self.set_wheel(self.places.exchange(at), turn.now.monotonic);
            }
            let Some(exchange) = self.exchanges.remove(at) else { return };
            self.wheel.clear(self.places.exchange(at));
            if let Some(transaction) = self.clients.find_mut(branch) {
                transaction.parked = None;
            }
            self.go_on_waiting(turn, branch, &exchange);
            if let Some(buffer) = exchange.held {
                self.pool.release(buffer);
            }
            // It may be with a node itself now: what waited behind it still does. A branch that is gone has nobody waiting.
            match self.clients.find_mut(branch).map(|transaction| &mut transaction.parked) {
                Some(parked @ None) => *parked = exchange.next,
                Some(Some(head)) => {
                    let head = *head;
                    if let Some(record) = self.exchanges.find_mut(head) {
                        record.next = exchange.next;
                    }
                }
                None => self.close_queue(exchange.next),
            }
        }
    }
}
