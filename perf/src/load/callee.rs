//! The called end: 100 and 180 at once, 200 after the ring, 200 to the BYE.
//!
//! ```text
//!   Idle ──INVITE / 100 180──► Ringing ──ring / 200──► Answered ──ACK──► Talking ──BYE / 200──► Ended
//!                                                          └── no ACK in 64 × T1 ──► Ended (counted)
//! ```
//!
//! Answers go to where the request came from, which is what a Via with `received` and `rport` says (RFC 3581 §4): through
//! the floor the topmost Via is still the caller's. A retransmitted request gets its answer again; the 200 is sent again
//! after T1, 2 T1, … until the ACK comes (RFC 3261 §13.3.1.4).

use std::time::Duration;

use super::Plan;
use super::delays::{Delays, retransmissions};
use super::relayed::Relays;
use super::report::{Failure, Tally};
use super::run::Out;
use crate::sys::udp::Address;
use crate::wire::{self, Message, Start};

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Ringing,
    Answered,
    Talking,
    Ended,
}

#[derive(Copy, Clone)]
struct Call {
    /// The place of its 200; meaningful in Ringing and Answered.
    answer: u32,
    state: State,
}

/// The first INVITE of a call.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// The number of the call.
    pub call: u32,
    /// The place, in the plan, of the relay that its SDP names.
    pub relay: Option<usize>,
}

/// A 200 that waits for its time or its ACK.
struct Answer {
    bytes: Vec<u8>,
    to: Option<Address>,
}

/// The called end.
pub struct CalleeSide {
    identity: wire::Callee,
    calls: Box<[Call]>,
    answers: Vec<Answer>,
    free: Vec<u32>,
    delays: Delays,
    relays: Relays,
    run: u32,
    live: u32,
}

const RING: usize = 0;
const ACK_LIMIT: usize = 1;
const ANSWER: usize = 2;

impl CalleeSide {
    /// A callee at `local`.
    #[must_use]
    pub fn new(plan: &Plan, run: u32, local: std::net::SocketAddr) -> CalleeSide {
        let ring = Duration::from_millis(plan.ring_ms);
        let coarse = [vec![plan.give_up()], retransmissions(plan.t1(), plan.t1() * 8)].concat();
        let idle = Call { answer: 0, state: State::Idle };
        CalleeSide {
            identity: wire::Callee::new(local),
            calls: vec![idle; plan.calls as usize].into_boxed_slice(),
            answers: Vec::new(),
            free: Vec::new(),
            delays: Delays::new(&[ring], &coarse),
            relays: Relays::new(&plan.relays),
            run,
            live: 0,
        }
    }

    /// Calls that wait for their 200 or its ACK.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.live
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.delays.next()
    }

    /// Handles a datagram from the target. Returns the call whose first INVITE this was.
    pub fn receive(
        &mut self,
        now_ns: u64,
        bytes: &[u8],
        from: Address,
        out: &mut Out,
        tally: &mut Tally,
    ) -> Option<Arrival> {
        let Some(message) = Message::scan(bytes) else {
            tally.unreadable += 1;
            return None;
        };
        let number = message.call;
        let (Start::Request(method), true) =
            (message.start, message.run == self.run && number < self.calls.len() as u32)
        else {
            tally.strangers += 1;
            return None;
        };
        match method {
            b"INVITE" => return self.on_invite(now_ns, &message, from, out, tally),
            b"ACK" => self.on_ack(number, tally),
            b"BYE" => self.on_bye(&message, from, out, tally),
            _ => tally.strangers += 1,
        }
        None
    }

    fn on_invite(
        &mut self,
        now_ns: u64,
        invite: &Message<'_>,
        from: Address,
        out: &mut Out,
        tally: &mut Tally,
    ) -> Option<Arrival> {
        let call = &mut self.calls[invite.call as usize];
        if call.state != State::Idle {
            tally.retransmitted_in += 1;
            match call.state {
                State::Ringing => out.send(from, |bytes| self.identity.write_ringing(bytes, invite)),
                State::Answered => {
                    out.send(from, |bytes| bytes.extend_from_slice(&self.answers[call.answer as usize].bytes));
                }
                State::Idle | State::Talking | State::Ended => {}
            }
            return None;
        }
        out.send(from, |bytes| self.identity.write_trying(bytes, invite));
        out.send(from, |bytes| self.identity.write_ringing(bytes, invite));
        let place = self.free.pop().unwrap_or_else(|| {
            self.answers.push(Answer { bytes: Vec::with_capacity(1024), to: None });
            self.answers.len() as u32 - 1
        });
        let answer = &mut self.answers[place as usize];
        answer.bytes.clear();
        self.identity.write_answer(&mut answer.bytes, invite);
        answer.to = Some(from);
        *call = Call { answer: place, state: State::Ringing };
        self.live += 1;
        tally.unrelayed += u64::from(!self.relays.names(invite.bytes));
        self.delays.arm(RING, now_ns, invite.call);
        Some(Arrival { call: invite.call, relay: self.relays.which(invite.bytes) })
    }

    fn on_ack(&mut self, number: u32, tally: &mut Tally) {
        let call = &mut self.calls[number as usize];
        if call.state == State::Answered {
            call.state = State::Talking;
            self.free.push(call.answer);
            self.live -= 1;
            tally.acknowledged += 1;
        } else {
            tally.retransmitted_in += 1;
        }
    }

    fn on_bye(&mut self, bye: &Message<'_>, from: Address, out: &mut Out, tally: &mut Tally) {
        let call = &mut self.calls[bye.call as usize];
        match call.state {
            State::Ended => tally.retransmitted_in += 1,
            State::Ringing | State::Answered => {
                // The ACK was lost: the BYE tells the same.
                self.free.push(call.answer);
                self.live -= 1;
            }
            State::Idle | State::Talking => {}
        }
        call.state = State::Ended;
        out.send(from, |bytes| self.identity.write_bye_answer(bytes, bye));
    }

    /// Fires what is due.
    pub fn run_due(&mut self, now_ns: u64, out: &mut Out, tally: &mut Tally) {
        while let Some(number) = self.delays.due(RING, now_ns) {
            let call = &mut self.calls[number as usize];
            if call.state == State::Ringing {
                call.state = State::Answered;
                self.delays.arm(ANSWER, now_ns, number);
                self.delays.arm(ACK_LIMIT, now_ns, number);
                self.send_answer(number, out);
            }
        }
        while let Some(number) = self.delays.due(ACK_LIMIT, now_ns) {
            let call = &mut self.calls[number as usize];
            if call.state == State::Answered {
                call.state = State::Ended;
                self.free.push(call.answer);
                self.live -= 1;
                *tally.failures.entry(Failure::NoAck).or_default() += 1;
            }
        }
        for lane in ANSWER..self.delays.lanes() {
            while let Some(number) = self.delays.due(lane, now_ns) {
                if self.calls[number as usize].state != State::Answered {
                    continue;
                }
                tally.retransmitted_out += 1;
                self.send_answer(number, out);
                if lane + 1 < self.delays.lanes() {
                    self.delays.arm(lane + 1, now_ns, number);
                }
            }
        }
    }

    fn send_answer(&self, number: u32, out: &mut Out) {
        let answer = &self.answers[self.calls[number as usize].answer as usize];
        if let Some(to) = answer.to {
            out.send(to, |bytes| bytes.extend_from_slice(&answer.bytes));
        }
    }
}
