//! The calling end: INVITE, ACK, hold, BYE, each call in a small record found by its number.
//!
//! ```text
//!   Idle ──start──► Inviting ──1xx──► Proceeding ──2xx / ACK──► Talking ──hold / BYE──► Ending ──200──► Done
//!                      │                  │                                               │
//!                      └── 3xx–6xx / ACK, no answer in 64 × T1 + ring ──► Failed ◄── not 200, no answer in 64 × T1
//! ```
//!
//! A 2xx that comes again is acknowledged again (RFC 3261 §13.2.2.4). An answer with a Via left over or without a To tag is
//! the proxy's fault and fails the call.

use std::net::SocketAddr;
use std::time::Duration;

use super::Plan;
use super::callee::Arrival;
use super::delays::{Delays, retransmissions};
use super::relayed::Relays;
use super::report::{Failure, HalfAgreed, Tally};
use super::run::Out;
use super::series::Series;
use crate::histogram::Histogram;
use crate::sys::udp::Address;
use crate::wire::{self, Dialog, Message, Start};

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Inviting,
    Proceeding,
    Talking,
    Ending,
    Done,
    Failed,
}

/// One call. `since_ns` is when the INVITE went out, later when the BYE did.
#[derive(Copy, Clone)]
struct Call {
    since_ns: u64,
    /// The place of its dialog; meaningful from Talking to Ending.
    dialog: u32,
    state: State,
    rung: bool,
    /// The relay that the callee was told, as far as the callee got an INVITE.
    relay: Option<u8>,
}

/// Latencies as the caller sees them.
#[derive(Clone, Default)]
pub struct Latencies {
    /// INVITE to the first provisional response: the proxy's own 100.
    pub trying: Histogram,
    /// INVITE at the caller to INVITE at the callee: what the proxy adds to post-dial delay.
    pub through: Histogram,
    /// INVITE to 180: through the proxy, the callee and back.
    pub ringing: Histogram,
    /// BYE to its 200.
    pub bye: Histogram,
}

/// The calling end.
pub struct CallerSide {
    identities: Vec<wire::Caller>,
    calls: Box<[Call]>,
    dialogs: Vec<Dialog>,
    free: Vec<u32>,
    delays: Delays,
    /// Lanes `INVITE..bye_lane` retransmit INVITE, from there on BYE.
    bye_lane: usize,
    target: Address,
    run: u32,
    live: u32,
    relays: Relays,
    /// Latencies so far.
    pub latencies: Latencies,
    /// Counts by slices so far.
    pub series: Series,
}

const HOLD: usize = 0;
const INVITE_LIMIT: usize = 1;
const BYE_LIMIT: usize = 2;
const INVITE: usize = 3;

impl CallerSide {
    /// A caller with one identity per local address.
    #[must_use]
    pub fn new(plan: &Plan, run: u32, locals: &[SocketAddr]) -> CallerSide {
        let hold = Duration::from_millis(plan.hold_ms);
        let ring = Duration::from_millis(plan.ring_ms);
        let invites = retransmissions(plan.t1(), Duration::MAX);
        let byes = retransmissions(plan.t1(), plan.t1() * 8);
        let bye_lane = INVITE + invites.len();
        let coarse = [vec![plan.give_up() + ring, plan.give_up()], invites, byes].concat();
        let identity =
            |local: &SocketAddr| wire::Caller::new(run, *local, plan.target, &plan.number_prefix, plan.number_digits);
        let idle = Call { since_ns: 0, dialog: 0, state: State::Idle, rung: false, relay: None };
        CallerSide {
            identities: locals.iter().map(identity).collect(),
            calls: vec![idle; plan.calls as usize].into_boxed_slice(),
            dialogs: Vec::new(),
            free: Vec::new(),
            delays: Delays::new(&[hold], &coarse),
            bye_lane,
            target: plan.target.into(),
            run,
            live: 0,
            relays: Relays::new(&plan.relays),
            latencies: Latencies::default(),
            series: Series::new(plan.slice_ms),
        }
    }

    /// Calls that have started and not ended.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.live
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.delays.next()
    }

    /// Starts a call.
    pub fn start(&mut self, now_ns: u64, number: u32, outs: &mut [Out], tally: &mut Tally) {
        let call = &mut self.calls[number as usize];
        assert!(call.state == State::Idle, "a call starts once");
        (call.state, call.since_ns) = (State::Inviting, now_ns);
        self.live += 1;
        tally.started += 1;
        self.series.start(now_ns);
        self.delays.arm(INVITE, now_ns, number);
        self.delays.arm(INVITE_LIMIT, now_ns, number);
        self.send_invite(number, outs);
    }

    /// The callee got this call's first INVITE.
    pub fn arrived(&mut self, now_ns: u64, arrival: Arrival) {
        let call = &mut self.calls[arrival.call as usize];
        call.relay = arrival.relay.map(|relay| relay as u8);
        if matches!(call.state, State::Inviting | State::Proceeding) {
            self.latencies.through.record_ns(now_ns.saturating_sub(call.since_ns));
            self.series.through(call.since_ns, now_ns);
        }
    }

    /// Handles a datagram from the target.
    pub fn receive(&mut self, now_ns: u64, bytes: &[u8], outs: &mut [Out], tally: &mut Tally) {
        let Some(message) = Message::scan(bytes) else {
            tally.unreadable += 1;
            return;
        };
        let number = message.call;
        let (Start::Response(status), true) =
            (message.start, message.run == self.run && number < self.calls.len() as u32)
        else {
            tally.strangers += 1;
            return;
        };
        match (message.cseq_method(), status) {
            (b"INVITE", 100..200) => self.on_provisional(now_ns, number, status),
            (b"INVITE", _) => self.on_final(now_ns, number, status, &message, outs, tally),
            (b"BYE", 200..) => self.on_bye_answer(now_ns, number, status, tally),
            _ => {}
        }
    }

    fn on_provisional(&mut self, now_ns: u64, number: u32, status: u16) {
        let call = &mut self.calls[number as usize];
        let waited = now_ns.saturating_sub(call.since_ns);
        if call.state == State::Inviting {
            call.state = State::Proceeding;
            self.latencies.trying.record_ns(waited);
            self.series.trying(call.since_ns, now_ns);
        }
        if status == 180 && call.state == State::Proceeding && !call.rung {
            call.rung = true;
            self.latencies.ringing.record_ns(waited);
        }
    }

    fn on_final(
        &mut self,
        now_ns: u64,
        number: u32,
        status: u16,
        message: &Message<'_>,
        outs: &mut [Out],
        tally: &mut Tally,
    ) {
        let source = self.source(number);
        let call = &mut self.calls[number as usize];
        let first = matches!(call.state, State::Inviting | State::Proceeding);
        if status >= 300 {
            outs[source].send(self.target, |out| self.identities[source].write_ack_of_refusal(out, number, message));
            if first {
                if let (500, Some(relay)) = (status, call.relay) {
                    tally.half_agreed.push(HalfAgreed { relay: relay.into(), at: Duration::from_nanos(now_ns) });
                }
                self.fail(number, Failure::Refused(status), tally);
            }
            return;
        }
        if first && (message.vias().len() != 1 || !message.has_to_tag() || message.contact.is_empty()) {
            return self.fail(number, Failure::BadAnswer, tally);
        }
        match call.state {
            State::Inviting | State::Proceeding => {
                call.state = State::Talking;
                call.dialog = self.free.pop().unwrap_or_else(|| {
                    self.dialogs.push(Dialog::default());
                    self.dialogs.len() as u32 - 1
                });
                self.dialogs[call.dialog as usize].learn(message);
                tally.answered += 1;
                tally.unrelayed += u64::from(!self.relays.names(message.bytes));
                self.delays.arm(HOLD, now_ns, number);
            }
            State::Talking | State::Ending => tally.retransmitted_in += 1,
            // Its dialog is forgotten; the callee retransmits until its own limit and the call was counted.
            State::Idle | State::Done | State::Failed => {
                tally.retransmitted_in += 1;
                return;
            }
        }
        let dialog = &self.dialogs[self.calls[number as usize].dialog as usize];
        outs[source].send(self.target, |out| self.identities[source].write_ack(out, number, dialog));
    }

    fn on_bye_answer(&mut self, now_ns: u64, number: u32, status: u16, tally: &mut Tally) {
        let call = &mut self.calls[number as usize];
        if call.state != State::Ending {
            tally.retransmitted_in += 1;
            return;
        }
        self.latencies.bye.record_ns(now_ns.saturating_sub(call.since_ns));
        if status != 200 {
            return self.fail(number, Failure::ByeRefused(status), tally);
        }
        call.state = State::Done;
        self.free.push(call.dialog);
        self.live -= 1;
        tally.ok += 1;
    }

    /// Fires what is due.
    pub fn run_due(&mut self, now_ns: u64, outs: &mut [Out], tally: &mut Tally) {
        while let Some(number) = self.delays.due(HOLD, now_ns) {
            let call = &mut self.calls[number as usize];
            if call.state == State::Talking {
                (call.state, call.since_ns) = (State::Ending, now_ns);
                self.delays.arm(self.bye_lane, now_ns, number);
                self.delays.arm(BYE_LIMIT, now_ns, number);
                self.send_bye(number, outs);
            }
        }
        while let Some(number) = self.delays.due(INVITE_LIMIT, now_ns) {
            if matches!(self.calls[number as usize].state, State::Inviting | State::Proceeding) {
                self.fail(number, Failure::NoAnswer, tally);
            }
        }
        while let Some(number) = self.delays.due(BYE_LIMIT, now_ns) {
            if self.calls[number as usize].state == State::Ending {
                self.fail(number, Failure::ByeNoAnswer, tally);
            }
        }
        for lane in INVITE..self.delays.lanes() {
            let wanted = if lane < self.bye_lane { State::Inviting } else { State::Ending };
            let last = lane + 1 == self.bye_lane || lane + 1 == self.delays.lanes();
            while let Some(number) = self.delays.due(lane, now_ns) {
                if self.calls[number as usize].state != wanted {
                    continue;
                }
                tally.retransmitted_out += 1;
                if wanted == State::Inviting {
                    self.send_invite(number, outs);
                } else {
                    self.send_bye(number, outs);
                }
                if !last {
                    self.delays.arm(lane + 1, now_ns, number);
                }
            }
        }
    }

    fn fail(&mut self, number: u32, failure: Failure, tally: &mut Tally) {
        let call = &mut self.calls[number as usize];
        if matches!(call.state, State::Talking | State::Ending) {
            self.free.push(call.dialog);
        }
        call.state = State::Failed;
        self.series.fail(call.since_ns, failure);
        self.live -= 1;
        *tally.failures.entry(failure).or_default() += 1;
    }

    fn source(&self, number: u32) -> usize {
        number as usize % self.identities.len()
    }

    fn send_invite(&self, number: u32, outs: &mut [Out]) {
        let source = self.source(number);
        outs[source].send(self.target, |out| self.identities[source].write_invite(out, number));
    }

    fn send_bye(&self, number: u32, outs: &mut [Out]) {
        let source = self.source(number);
        let dialog = &self.dialogs[self.calls[number as usize].dialog as usize];
        outs[source].send(self.target, |out| self.identities[source].write_bye(out, number, dialog));
    }
}
