//! The way of a datagram: from a leg over its link into a shard, and from a shard over a link to a leg.
//!
//! ```text
//!   leg ── send ──► transmit ── link ──► deliver ── handle ──► watched: passed on? answered?
//!   leg ◄─ receive ◄─ arrive ◄── link ── emit ◄──────┘         watched: right receiver, right answer
//! ```

use corelane_core::{BufferRef, Flow, Input, Instant, ListenerIndex, Transport};

use super::ladder::{End, Fate, Line, NO_CALL};
use super::network::{Event, LegIndex, Party, travel};
use super::random::mix;
use super::sdp;
use super::wire::{Branch, Method, check, cseq_method};
use super::world::{Cause, World};
use crate::wire::{Message, Start};

impl World<'_> {
    /// A leg sends; mischief may add something of its own.
    pub(super) fn send(&mut self, at: LegIndex, listener: u8, bytes: &[u8]) {
        let party = self.leg(at).party;
        self.transmit(party, listener, bytes, at.call);
        if self.calls[at.call as usize].tampered && self.random.chance(150) {
            self.mischief(party, listener, bytes, at.call);
        }
    }

    /// A datagram leaves a party.
    pub(super) fn transmit(&mut self, from: Party, listener: u8, bytes: &[u8], call: u32) {
        let copies = travel(&self.plan.links[self.link(from)], &mut self.random);
        let line = Line::of(Message::scan(bytes).as_ref());
        let truncated = bytes.len() > corelane_core::limits::MESSAGE_SIZE_MAX;
        let kept = &bytes[..bytes.len().min(corelane_core::limits::MESSAGE_SIZE_MAX)];
        for delay in copies.into_iter().flatten() {
            let packet = self.network.store(kept, truncated);
            self.network.schedule(self.now_us + delay, Event::ToEngine { from, listener, packet, shard: None });
        }
        let fate = self.fate(copies);
        self.ladder.note(self.now_us, call, End::Party(from), End::Engine(listener), line, fate);
    }

    fn fate(&mut self, copies: [Option<u64>; 2]) -> Fate {
        self.tally.datagrams += 1;
        match copies.map(|delay| delay.map(|delay| self.now_us + delay)) {
            [Some(one), Some(two)] => Fate::Doubled(one, two),
            [Some(one), None] | [None, Some(one)] => Fate::Arrives(one),
            [None, None] => {
                self.tally.lost += 1;
                Fate::Lost
            }
        }
    }

    /// A datagram reaches the socket of some shard, or the inbox of its owner.
    pub(super) fn deliver(&mut self, from: Party, listener: u8, packet: u32, forwarded: Option<u8>) {
        let packet = self.network.take(packet);
        let shards = u64::from(self.plan.shards);
        let owner = self.steering.slot_of_datagram(&packet.bytes).map(|slot| self.steering.owner(slot).0);
        let shard = match (forwarded, owner) {
            (Some(shard), _) => shard,
            (None, Some(owner)) if !self.random.chance(self.plan.misrouted_permille) => owner,
            _ => self.random.below(shards) as u8,
        };
        if forwarded.is_none() && self.sheds(shard.into(), from, listener, &packet.bytes) {
            self.tally.shed += 1;
            return self.network.recycle(packet);
        }
        self.cause = self.cause_of(&packet.bytes);
        if owner.is_none_or(|owner| owner == shard)
            && let Some(message) = Message::scan(&packet.bytes)
        {
            self.note_way(shard.into(), &message);
            self.note_order(&message);
            self.note_verdict(from, &message);
        }
        let repeated = Message::scan(&packet.bytes).and_then(|message| self.repeated_answer(&message));
        let queued_us = self.random.below(self.plan.queued_us + 1);
        let received_at = Instant::from_micros(self.now_us - queued_us);
        let input = Input::Datagram {
            flow: flow(from, listener),
            received_at,
            bytes: &packet.bytes,
            truncated: packet.truncated,
            handed_over: forwarded.map(|_| received_at),
        };
        let (before, passed) = (self.emitted, self.answers_passed);
        let refused = self.refused_by_provider();
        let handed_over = self.handle(shard.into(), input);
        self.watch_refused_by_provider(refused);
        if let Some(to) = handed_over {
            if forwarded.is_some() {
                self.break_promise("a datagram was handed over twice", self.last_call);
            }
            if !self.random.chance(self.plan.inbox_loss_permille) {
                let copy = self.network.store(&packet.bytes, packet.truncated);
                let after = self.random.below(1_000);
                let event = Event::ToEngine { from, listener, packet: copy, shard: Some(to) };
                self.network.schedule(self.now_us + after, event);
            }
        } else if let Some(call) = repeated.filter(|_| self.answers_passed == passed) {
            self.break_promise("a repeated 2xx was not passed on, and the caller had not sent ACK", call);
        } else if let Some(cause) = self.cause {
            self.watch_handled(from, cause, self.emitted > before);
        } else if let Some(message) = Message::scan(&packet.bytes)
            && let Start::Response(status) = message.start
            && cseq_method(&message) == Method::Invite
            && self.call_of(&message).is_some()
        {
            self.watch_progress(from, status, &message);
        }
        self.network.recycle(packet);
    }

    /// Whether the kernel drops what comes to a shard that sheds: a share of the INVITEs of a source, drawn by their bytes, and nothing
    /// that has two tags. It looks for the letters eight bytes at a time, as `shard/src/shed/program.rs` says.
    fn sheds(&mut self, shard: usize, from: Party, listener: u8, bytes: &[u8]) -> bool {
        let Some((pass, until)) = self.shares.get(&(shard, flow(from, listener).peer.ip)).copied() else {
            return false;
        };
        let begins = |place: &usize| bytes[*place..].get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"tag"));
        let rounds = (0..bytes.len()).step_by(8);
        let tagged = rounds.filter(|start| (*start..bytes.len().min(start + 8)).any(|place| begins(&place))).count();
        // All copies of a message have one fate while the share stands.
        let drawn = mix(self.seed ^ u64::from(digest(bytes))) & 0xffff;
        let dropped = until > self.now_us && bytes.starts_with(b"INVITE ") && tagged < 2 && drawn >= u64::from(pass);
        let in_dialog = || {
            Message::scan(bytes)
                .is_some_and(|message| message.has_to_tag() && memchr::memmem::find(message.from, b";tag=").is_some())
        };
        if dropped && in_dialog() {
            self.break_promise("a request inside a dialog was shed", self.last_call);
        }
        dropped
    }

    /// Whose request a datagram is, where an endpoint of the world sent it.
    fn cause_of(&mut self, bytes: &[u8]) -> Option<Cause> {
        let message = Message::scan(bytes)?;
        self.last_call = self.call_of(&message)?;
        let Start::Request(name) = message.start else { return None };
        let method = Method::of(name);
        let Branch { call, leg, serial } = Branch::read(message.vias()[0])?;
        let at = LegIndex { call, leg };
        let known = call == message.call && usize::from(leg) < self.calls[call as usize].legs.len();
        (known && method != Method::Cancel).then(|| Cause { at, serial, method, described: sdp::find(bytes).is_some() })
    }

    /// The call of a message, where its Call-ID is one of this world.
    pub(super) fn call_of(&self, message: &Message<'_>) -> Option<u32> {
        let known = (message.call as usize) < self.calls.len() && message.run == check(self.seed, message.call);
        known.then_some(message.call)
    }

    /// Whoever reads a buffer gives it back when he has.
    pub(super) fn release_later(&mut self, shard: usize, buffer: BufferRef, bytes: &[u8]) {
        if self.plan.release_us == 0 {
            return self.nodes[shard].engine.release(buffer);
        }
        let after = self.random.below(self.plan.release_us);
        let event = Event::Release { shard: shard as u8, buffer, digest: digest(bytes) };
        self.network.schedule(self.now_us + after, event);
    }

    /// The engine sends.
    pub(super) fn emit(&mut self, shard: usize, flow: Flow, buffer: BufferRef) {
        self.emitted += 1;
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.extend_from_slice(self.nodes[shard].engine.buffer(buffer));
        self.release_later(shard, buffer, &bytes);
        let message = Message::scan(&bytes);
        let line = Line::of(message.as_ref());
        let call = message.as_ref().and_then(|message| self.call_of(message)).unwrap_or(NO_CALL);
        if let Some(to) = self.watch(flow, message.as_ref(), call) {
            let copies = travel(&self.plan.links[self.link(to)], &mut self.random);
            for delay in copies.into_iter().flatten() {
                let packet = self.network.store(&bytes, false);
                let event = Event::ToParty { to, listener: flow.listener.0, packet, shard: shard as u8 };
                self.network.schedule(self.now_us + delay, event);
            }
            let fate = self.fate(copies);
            self.ladder.note(self.now_us, call, End::Engine(shard as u8), End::Party(to), line, fate);
        }
        self.bytes = bytes;
    }

    /// A datagram reaches a party's host.
    pub(super) fn arrive(&mut self, to: Party, listener: u8, packet: u32, shard: u8) {
        let down = self.host(to).down;
        if down == Some(true) {
            let after = self.random.below(50_000);
            return self.network.schedule(self.now_us + after, Event::Unreachable { to, listener, packet, shard });
        }
        let packet = self.network.take(packet);
        if down.is_none()
            && let Some(message) = Message::scan(&packet.bytes)
            && let Some(call) = self.call_of(&message)
        {
            self.last_call = call;
            self.receive(to, listener, &message);
        }
        self.network.recycle(packet);
    }

    /// The kernel of the engine's host reports that a datagram did not get through.
    pub(super) fn report(&mut self, to: Party, listener: u8, packet: u32, shard: u8) {
        let packet = self.network.take(packet);
        let call = Message::scan(&packet.bytes).and_then(|message| self.call_of(&message));
        let (from, into) = (End::Party(to), End::Engine(shard));
        self.ladder.note(self.now_us, call.unwrap_or(NO_CALL), from, into, Line::Unreachable, Fate::Done);
        self.tally.unreachable += 1;
        // It gives back the start of what was sent, or nothing.
        let kept = self.random.pick(&[0, 28, 200, usize::MAX]).min(packet.bytes.len());
        if let Some(call) = call {
            self.leave_gateway(call, true);
        }
        self.handle(shard.into(), Input::Unreachable { flow: flow(to, listener), sent: &packet.bytes[..kept] });
        self.network.recycle(packet);
    }

    /// The kernel, or the control core, has taken what was in a buffer.
    pub(super) fn give_back(&mut self, shard: u8, buffer: BufferRef, expected: u32) {
        let engine = &mut self.nodes[usize::from(shard)].engine;
        let changed = digest(engine.buffer(buffer)) != expected;
        engine.release(buffer);
        if changed {
            self.break_promise("a buffer was changed while it was being sent", NO_CALL);
        }
    }

    fn receive(&mut self, to: Party, listener: u8, message: &Message<'_>) {
        match message.start {
            Start::Response(_) => {
                let Some(Branch { call, leg, serial }) = Branch::read(message.vias()[0]) else { return };
                let at = LegIndex { call, leg };
                let ours = call == message.call && usize::from(leg) < self.calls[call as usize].legs.len();
                if ours && self.alive(at) && self.leg(at).party == to {
                    self.on_response(at, serial, message);
                }
            }
            Start::Request(name) => match to {
                Party::Gateway(_) => self.on_gateway_request(to, listener, Method::of(name), message),
                Party::Caller(_) => self.on_caller_request(to, listener, Method::of(name), message),
                Party::Stranger(_) => {}
            },
        }
    }
}

pub(super) fn flow(peer: Party, listener: u8) -> Flow {
    Flow { peer: peer.endpoint(), listener: ListenerIndex(listener), transport: Transport::Udp }
}

/// A fingerprint of a message.
fn digest(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
