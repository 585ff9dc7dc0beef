//! The audit: every record, index entry, timer and buffer held against all others.
//!
//! ```text
//!   call index ◄─1:1─► calls ◄── handle, fits or stale ──┐
//!                        ▲  early: waits for a branch      │
//!                        │                                │
//!   server index ◄─1:1─► server transactions ──handle──► client transactions
//!                        │        │                       │      │
//!   timer wheel  ◄───────┴────────│───────────────────────┘      │    armed places = records with a deadline
//!   buffer pool  ◄────────────────┴──── owners ──────────────────┘    owners = handles held + sends in flight
//! ```
//!
//! A handle may be *stale* where its target ends first: a transaction outlives its call and its partner, a CANCEL its INVITE. It
//! may never be *dangling*, which is what the generation of a [`Slab`] rules out by itself; what is left to check is that
//! whatever waits for something waits for a thing that is still there.
//!
//! The cost is in the number of records that exist. It takes memory, and is for the simulator, for tests and for an operator who
//! asks; never for a shard that handles a message.

use alloc::vec::Vec;
use core::fmt;

use super::Engine;
use super::media::{Exchange, ExchangeRef};
use super::records::{ClientRef, ClientState, ClientTransaction, ServerRef, ServerTransaction};
use crate::call::{Call, CallRef, State};
use crate::counter::Counter;
use crate::limits::WAITING_RESPONSES_MAX;
use crate::memory::{BufferRef, Index, Slab};
use crate::message::Method;
use crate::time::Instant;
use crate::transaction::{client, invite_client};

/// A rule that does not hold, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// The rule, as what is wrong.
    pub rule: &'static str,
    /// The record that breaks it.
    pub at: Holder,
    /// The keyed hash of that record's Call-ID, where it has one.
    pub call_hash: Option<u64>,
}

/// What a broken rule was found at, by its place.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// The engine as a whole.
    Engine,
    /// A call record.
    Call(u32),
    /// A server transaction.
    Server(u32),
    /// A client transaction.
    Client(u32),
    /// An exchange with a media node.
    Exchange(u32),
    /// A message buffer.
    Buffer(BufferRef),
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {:?}", self.rule, self.at)
    }
}

impl core::error::Error for Broken {}

/// Counts what the audit expects, while it walks over the records.
struct Walk {
    /// Places of the wheel that have a reason to be armed.
    armed: u32,
    /// Handles on buffers that records hold.
    held: Vec<BufferRef>,
    /// Records of calls that have ended and answer only BYEs that cross.
    ended: u32,
    /// Calls that owe a delete to media nodes.
    owing: u64,
}

impl Engine {
    /// Holds everything against everything. `in_flight` are the buffers of each [`Effect::Send`](super::Effect::Send) that were not
    /// yet given to [`Engine::release`], each as often as it was sent.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn audit(&self, in_flight: impl IntoIterator<Item = BufferRef>) -> Result<(), Broken> {
        let mut walk = Walk { armed: 0, held: in_flight.into_iter().collect(), ended: 0, owing: 0 };
        for (at, transaction) in self.servers.iter() {
            self.audit_server(&mut walk, at, transaction)?;
        }
        for (at, transaction) in self.clients.iter() {
            self.audit_client(&mut walk, at, transaction)?;
        }
        for (at, call) in self.calls.iter() {
            self.audit_call(&mut walk, at, call)?;
        }
        for (at, exchange) in self.exchanges.iter() {
            self.audit_exchange(&mut walk, at, exchange)?;
        }
        let server_places = audit_index(&self.server_index, &self.servers, |transaction| transaction.key);
        let call_places = audit_index(&self.call_index, &self.calls, |call| Call::key(call.call_hash, call.pass));
        for (holds, rule) in [
            (server_places, "the server index is not one to one with the server transactions"),
            (call_places, "the call index is not one to one with the calls"),
            (self.wheel.live() == walk.armed, "a timer runs that belongs to no record"),
            (
                self.holds().iter().sum::<u64>() == self.admission.live(),
                "no record holds a place that was taken of caps",
            ),
            (self.debts.live() == walk.owing, "a delete is owed to media nodes for no call"),
            (self.counts_calls(walk.ended), "calls started are not calls ended and calls live"),
        ] {
            if !holds {
                return Err(Broken { rule, at: Holder::Engine, call_hash: None });
            }
        }
        self.audit_buffers(walk.held)
    }

    /// What the records of this engine hold of caps: of providers, carriers, gateways. Over all engines of a node it is what
    /// [`Caps::held`](crate::admission::Caps::held) says.
    #[must_use]
    pub fn holds(&self) -> [u64; 3] {
        let mut held = [0; 3];
        let tried = self.clients.iter().map(|(_, transaction)| transaction.hold);
        for hold in tried.chain(self.calls.iter().map(|(_, call)| call.gateway_hold)) {
            let [carriers, gateways] = hold.counts();
            (held[1], held[2]) = (held[1] + carriers, held[2] + gateways);
        }
        held[0] = self.calls.iter().map(|(_, call)| call.hold.count()).sum();
        held
    }

    fn audit_server(&self, walk: &mut Walk, at: ServerRef, transaction: &ServerTransaction) -> Result<(), Broken> {
        let broken =
            |rule| Err(Broken { rule, at: Holder::Server(at.index()), call_hash: Some(transaction.call_hash) });
        if transaction.state.terminated() {
            return broken("a terminated server transaction was not taken out");
        }
        let due = transaction.timers.next();
        if !self.armed_for(self.places.server(at), due) {
            return broken("a server transaction's timer does not run as it should");
        }
        walk.armed += u32::from(due != Instant::NEVER);
        walk.held.extend(transaction.request.iter().chain(&transaction.last));
        if !transaction.state.pending() {
            if due == Instant::NEVER {
                return broken("a server transaction with a final response has no timer to end it");
            }
            if transaction.request.is_some() {
                return broken("a server transaction with a final response still holds its request");
            }
            return Ok(());
        }
        // Nothing but its branch will ever end it.
        let parked = transaction.exchange.is_some_and(|exchange| self.exchanges.find(exchange).is_some());
        let sent = transaction.client.is_some_and(|branch| self.clients.find(branch).is_some());
        if due == Instant::NEVER && !parked && !sent {
            return broken("a pending server transaction waits for nothing");
        }
        Ok(())
    }

    fn audit_client(&self, walk: &mut Walk, at: ClientRef, transaction: &ClientTransaction) -> Result<(), Broken> {
        let broken =
            |rule| Err(Broken { rule, at: Holder::Client(at.index()), call_hash: Some(transaction.call_hash) });
        if transaction.state.terminated() {
            return broken("a terminated client transaction was not taken out");
        }
        let due = transaction.timers.next();
        if due == Instant::NEVER {
            return broken("a client transaction has no timer to end it");
        }
        if !self.armed_for(self.places.client(at), due) {
            return broken("a client transaction's timer does not run as it should");
        }
        walk.armed += 1;
        walk.held.extend(transaction.sent);
        walk.held.extend(transaction.kept.into_iter().flatten());
        self.audit_queue(at, transaction)?;
        let keeps = transaction.state.needs_request()
            || transaction.state == ClientState::Invite(invite_client::State::Completed);
        if transaction.sent.is_some() && !keeps {
            return broken("a client transaction holds a request that it can no longer need");
        }
        if let Some(cancel) = transaction.cancel_branch.and_then(|at| self.clients.find(at))
            && (cancel.role.method != Method::Cancel || cancel.branch != transaction.branch)
        {
            return broken("the CANCEL of a branch is another branch's");
        }
        let ended = matches!(transaction.state, ClientState::Other(client::State::Completed));
        if ended && transaction.timers.retransmit_at != Instant::NEVER {
            return broken("a client transaction with a final response still repeats its request");
        }
        Ok(())
    }

    fn audit_call(&self, walk: &mut Walk, at: CallRef, call: &Call) -> Result<(), Broken> {
        let broken = |rule| Err(Broken { rule, at: Holder::Call(at.index()), call_hash: Some(call.call_hash) });
        let armed = self.wheel.deadline(self.places.call(at)).unwrap_or(Instant::NEVER);
        if armed != call.armed_at || call.armed_at > call.timeout_at {
            return broken("a call's timer does not run as it should");
        }
        walk.armed += u32::from(armed != Instant::NEVER);
        let best = call.hunt.best.and_then(|best| best.response);
        let offered = call.media.as_ref().and_then(|media| media.offered);
        walk.held.extend(best.into_iter().chain(call.text).chain(offered));
        walk.owing += u64::from(call.media.as_ref().is_some_and(|media| media.owed));
        if call.is_early() {
            if !self.servers.find(call.server).is_some_and(|transaction| transaction.state.pending()) {
                return broken("an early call has no pending INVITE");
            }
            // What it waits for has a timer of its own, so that the call comes to an end even where its own is stopped.
            let waits = call.media.as_ref().and_then(|media| self.exchanges.find(media.waits?)).is_some();
            if !waits && call.branch.is_none_or(|branch| self.clients.find(branch).is_none()) {
                return broken("an early call waits for no branch");
            }
            return Ok(());
        }
        walk.ended += u32::from(call.state == State::HungUp);
        if best.is_some() || offered.is_some() || call.state == State::HungUp && call.text.is_some() {
            return broken("a call holds a message that it can no longer need");
        }
        if call.state == State::Terminated {
            return broken("a terminated call was not taken out");
        }
        if call.timeout_at == Instant::NEVER {
            return broken("an answered call has no timer to end it");
        }
        Ok(())
    }

    /// What waits for a media node has a timer to end the wait, and what waits behind it is in its queue.
    fn audit_exchange(&self, walk: &mut Walk, at: ExchangeRef, exchange: &Exchange) -> Result<(), Broken> {
        let broken = |rule| Err(Broken { rule, at: Holder::Exchange(at.index()), call_hash: None });
        walk.held.extend(exchange.held);
        let armed = exchange.timeout_at != Instant::NEVER;
        walk.armed += u32::from(armed);
        if !self.armed_for(self.places.exchange(at), exchange.timeout_at) {
            return broken("the timer of a message at a media node does not run as it should");
        }
        if exchange.asked && !armed {
            return broken("a message waits for a media node without a timer");
        }
        Ok(())
    }

    /// The responses of a branch that wait: the first one has a timer, the others are behind it.
    fn audit_queue(&self, at: ClientRef, transaction: &ClientTransaction) -> Result<(), Broken> {
        let broken =
            |rule| Err(Broken { rule, at: Holder::Client(at.index()), call_hash: Some(transaction.call_hash) });
        let mut next = transaction.parked;
        let mut length = 0;
        while let Some(exchange) = next {
            let Some(record) = self.exchanges.find(exchange) else {
                return broken("a branch waits for an exchange that is gone");
            };
            if length == 0 && record.timeout_at == Instant::NEVER {
                return broken("the responses of a branch wait for nothing");
            }
            (length, next) = (length + 1, record.next);
        }
        if length > WAITING_RESPONSES_MAX + 1 {
            return broken("more responses wait than may");
        }
        Ok(())
    }

    /// Whether a place of the wheel is armed for `due`. Earlier is allowed: the record looks again when it fires.
    fn armed_for(&self, place: u32, due: Instant) -> bool {
        match self.wheel.deadline(place) {
            Some(deadline) => deadline <= due && due != Instant::NEVER,
            None => due == Instant::NEVER,
        }
    }

    fn counts_calls(&self, ended: u32) -> bool {
        let count = |counter| self.counters.value(counter);
        count(Counter::CallsStarted) == count(Counter::CallsEnded) + u64::from(self.calls.live() - ended)
    }

    /// Each buffer has as many owners as there are handles on it, and none is live without one.
    fn audit_buffers(&self, mut held: Vec<BufferRef>) -> Result<(), Broken> {
        let broken = |rule, at| Err(Broken { rule, at: Holder::Buffer(at), call_hash: None });
        held.sort_unstable();
        let mut met = 0;
        for (buffer, owners) in self.pool.iter() {
            let first = held.partition_point(|other| *other < buffer);
            let handles = held[first..].iter().take_while(|other| **other == buffer).count();
            if handles == 0 {
                return broken("a buffer is in use that nobody holds", buffer);
            }
            if handles != owners as usize {
                return broken("a buffer has another number of owners than of handles", buffer);
            }
            met += handles;
        }
        if met == held.len() {
            return Ok(());
        }
        let lost = held.iter().find(|buffer| self.pool.iter().all(|(live, _)| live != **buffer));
        lost.map_or(Ok(()), |buffer| broken("a handle is held on a buffer that was given back", *buffer))
    }
}

/// Whether an index names each record of a slab once, under its key, and nothing else.
fn audit_index<T>(index: &Index, slab: &Slab<T>, key: impl Fn(&T) -> u64) -> bool {
    index.live() == slab.live() && slab.iter().all(|(at, record)| index.find(key(record)) == Some(at.index()))
}
