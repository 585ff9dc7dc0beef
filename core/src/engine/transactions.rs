//! Drives the transaction tables: applies an action to a record, its buffers and its timers, and gives everything back at the end.

use super::records::{ClientEvent, ClientRef, ClientState, ServerEvent, ServerRef, ServerState};
use super::{Engine, Turn};
use crate::counter::Counter;
use crate::memory::BufferRef;
use crate::message::{Message, write_ack};
use crate::time::Instant;
use crate::transaction::{Send, Tell, invite_client, invite_server};

impl Engine {
    /// Runs one event through a server transaction. `new` is the response that the event brought (count 1, taken over here).
    pub(crate) fn drive_server(
        &mut self,
        turn: &mut Turn<'_>,
        at: ServerRef,
        event: ServerEvent,
        new: Option<BufferRef>,
    ) -> Option<Tell> {
        let stepped = self.servers.find_mut(at).and_then(|transaction| {
            let (state, action) = transaction.state.step(event, transaction.reply.transport.reliable())?;
            Some((transaction, state, action))
        });
        let Some((transaction, state, action)) = stepped else {
            new.into_iter().for_each(|buffer| self.pool.release(buffer));
            return None;
        };
        transaction.state = state;
        transaction.timers.apply(&action, turn.now.monotonic, false, &self.intervals);
        let (reply, next) = (transaction.reply, transaction.timers.next());
        let mut out = None;
        match action.send {
            Send::New => {
                // A 2xx to an INVITE is repeated by the callee, not by the transaction (RFC 6026 §7.1): nothing to keep.
                let keep = state != ServerState::Invite(invite_server::State::Accepted) && !state.terminated();
                if let Some(buffer) = new {
                    if let Some(old) = transaction.last.take() {
                        self.pool.release(old);
                    }
                    if keep {
                        self.pool.share(buffer);
                        transaction.last = Some(buffer);
                    }
                    out = Some(buffer);
                }
            }
            Send::Again => {
                new.into_iter().for_each(|buffer| self.pool.release(buffer));
                if let Some(last) = transaction.last {
                    self.pool.share(last);
                    self.counters.count(Counter::Retransmissions);
                    out = Some(last);
                }
            }
            Send::Ack | Send::Nothing => new.into_iter().for_each(|buffer| self.pool.release(buffer)),
        }
        if !state.pending()
            && let Some(request) = transaction.request.take()
        {
            self.pool.release(request);
        }
        if state.terminated() {
            self.remove_server(at);
        } else if action.touches_timers() {
            self.set_wheel(self.places.server(at), next);
        }
        if let Some(buffer) = out {
            self.send(turn, reply, buffer);
        }
        Some(action.tell)
    }

    /// Runs one event through a client transaction; `response` is there when the event is one.
    pub(crate) fn drive_client(
        &mut self,
        turn: &mut Turn<'_>,
        at: ClientRef,
        event: ClientEvent,
        response: Option<&Message<'_>>,
    ) -> Option<Tell> {
        let transaction = self.clients.find_mut(at)?;
        let (state, action) = transaction.state.step(event, transaction.flow.transport.reliable())?;
        transaction.state = state;
        transaction.timers.apply(&action, turn.now.monotonic, state.proceeding(), &self.intervals);
        let (flow, sent, next) = (transaction.flow, transaction.sent, transaction.timers.next());
        let mut out = None;
        match action.send {
            Send::Again => {
                if let Some(buffer) = sent {
                    self.pool.share(buffer);
                    self.counters.count(Counter::Retransmissions);
                    out = Some(buffer);
                }
            }
            Send::Ack => {
                let ack = sent.zip(response).and_then(|(buffer, response)| self.compose_ack(buffer, response));
                if let Some(buffer) = ack
                    && !state.terminated()
                {
                    self.pool.share(buffer);
                }
                let transaction = self.clients.find_mut(at)?;
                transaction.sent = if state.terminated() { None } else { ack };
                out = ack;
            }
            Send::New | Send::Nothing => {
                // In Completed it is the ACK.
                if !state.needs_request()
                    && state != ClientState::Invite(invite_client::State::Completed)
                    && let Some(buffer) = transaction.sent.take()
                {
                    self.pool.release(buffer);
                }
            }
        }
        if state.terminated() {
            self.remove_client(at);
        } else if action.touches_timers() {
            self.set_wheel(self.places.client(at), next);
        }
        if let Some(buffer) = out {
            self.send(turn, flow, buffer);
        }
        Some(action.tell)
    }

    /// The ACK for a non-2xx final response (RFC 3261 §17.1.1.3), in place of the request that it is written from: the request's
    /// buffer is given back before one for the ACK is taken.
    fn compose_ack(&mut self, sent: BufferRef, response: &Message<'_>) -> Option<BufferRef> {
        let mut writer = crate::message::Writer::new(&mut self.scratch);
        // What was sent was written here from a message that parsed and had room for our fields.
        let written = Message::parse(self.pool.bytes(sent)).ok().and_then(|request| {
            write_ack(&request, response, &mut writer);
            writer.finish().ok()
        });
        self.pool.release(sent);
        self.pool.store(written?).ok()
    }

    /// Brings the wheel in line with a record's timers.
    pub(crate) fn wheel_server(&mut self, at: ServerRef) {
        if let Some(transaction) = self.servers.find(at) {
            let next = transaction.timers.next();
            self.set_wheel(self.places.server(at), next);
        }
    }

    /// Brings the wheel in line with a record's timers.
    #[inline(always)]
    pub(crate) fn wheel_client(&mut self, at: ClientRef) {
        if let Some(transaction) = self.clients.find(at) {
            let next = transaction.timers.next();
            self.set_wheel(self.places.client(at), next);
        }
    }

    pub(crate) fn set_wheel(&mut self, place: u32, at: Instant) {
        if at == Instant::NEVER {
            self.wheel.clear(place);
        } else {
            self.wheel.set(place, at);
        }
    }

    /// Takes a server transaction out and gives back what it holds.
    pub(crate) fn remove_server(&mut self, at: ServerRef) {
        if let Some(transaction) = self.servers.remove(at) {
            self.server_index.remove(transaction.key);
            self.wheel.clear(self.places.server(at));
            for buffer in transaction.request.into_iter().chain(transaction.last) {
                self.pool.release(buffer);
            }
            #[cfg(feature = "canary")]
            self.leak(at, transaction.key);
        }
    }

    /// Takes a client transaction out and gives back what it holds.
    pub(crate) fn remove_client(&mut self, at: ClientRef) {
        // In its place, so that it is not copied for this.
        if self.clients.find(at).is_some_and(|transaction| transaction.role.attempt != 0) {
            self.forget_media_of(at);
        }
        if let Some(transaction) = self.clients.remove(at) {
            self.wheel.clear(self.places.client(at));
            self.give_back(transaction.hold);
            if let Some(buffer) = transaction.sent {
                self.pool.release(buffer);
            }
        }
    }
}
