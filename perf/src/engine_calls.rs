//! The engine alone: whole calls through [`Engine::handle`] without a socket, for counting.
//!
//! ```text
//!   caller ─INVITE─► engine ─100─► caller      one call at a time, 14 messages (7 in, 7 out):
//!                           ─INVITE─► callee   INVITE 100 180 200 ACK BYE 200
//!   callee ─100 180 200─► engine ─180 200─► caller ─ACK BYE─► engine ─► callee ─200─► engine ─► caller
//! ```
//!
//! What is counted happens inside [`measured_handle`] and [`measured_release`] only: the driver's own writing, scanning and
//! copying stays outside, for callgrind (which toggles collection at these two names) as for the allocation count. Engine
//! time runs [`CALL_SPACING`] per call, so that after the warm-up as many transactions linger as end, and the work of their
//! timers is charged to the calls.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use corelane_core::admission::{Caps, CapsSize};
use corelane_core::engine::{Budget, Listener, Policy, Timers, UnknownSource};
use corelane_core::routing::ListenerSlot;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::siphash::Key;
use corelane_core::steering::{ShardIndex, Steering};
use corelane_core::{
    BufferRef, Counter, Effect, Effects, Endpoint, Engine, Flow, Image, Input, Instant, ListenerIndex, Now, Settings,
    Transport, WallTime,
};

use crate::sys::allocator::taken;
use crate::sys::process::thread_cpu;
use crate::wire::{Callee, Caller, Dialog, Message, Start};

/// Engine time from one call to the next.
pub const CALL_SPACING: Duration = Duration::from_millis(20);

/// Engine time after which nothing of a call may be left: 64 × T1 twice, T4, and room.
const ALL_OVER: Duration = Duration::from_secs(75);

/// How many calls, over how many routes.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Calls that are counted.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub calls: u32,
    /// Calls before the count: past the longest linger (32 s of engine time) by default.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub warm_up: u32,
    /// Prefixes in the routing image beside the one that is dialled.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=999_999))]
    pub prefixes: u32,
}

/// An image with the caller as its one provider, the callee as its one gateway, and `prefixes` routes beside the dialled one.
fn routing_image(prefixes: u32) -> ImageBytes {
    let mut image = Builder::new();
    image.listener("127.0.0.1:5060");
    let provider = image.provider("caller", 1);
    image.address(provider, "127.0.0.2/32");
    let gateway = image.gateway("callee", "127.0.0.3:5070");
    let carrier = image.carrier("bench", &[gateway]);
    image.route(1, "4930", carrier);
    for prefix in 0..prefixes {
        image.route(1, &format!("33{prefix:06}"), carrier);
    }
    image.finish()
}

/// What was counted.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Calls counted.
    pub calls: u32,
    /// Datagrams into and out of the engine during them.
    pub datagrams: (u64, u64),
    /// Heap allocations inside the engine during them.
    pub allocations: u64,
    /// CPU time of engine and driver together, per call.
    pub cpu_per_call: Duration,
    /// Records still in use after every timer is over: calls, server and client transactions, buffers, timers.
    pub left: [u64; 5],
}

impl Outcome {
    /// Whether what is promised holds: no allocation, seven datagrams in and out per call, nothing left.
    #[must_use]
    pub fn holds(&self) -> bool {
        let seven = u64::from(self.calls) * 7;
        self.allocations == 0 && self.datagrams == (seven, seven) && self.left == [0; 5]
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (into, from) = self.datagrams;
        writeln!(out, "calls        {}", self.calls)?;
        writeln!(out, "datagrams    {into} in, {from} out")?;
        writeln!(out, "allocations  {} in the engine", self.allocations)?;
        writeln!(out, "CPU          {:.2} µs per call, driver included", self.cpu_per_call.as_secs_f64() * 1e6)?;
        let [calls, servers, clients, buffers, timers] = self.left;
        writeln!(
            out,
            "left         calls {calls}, server tx {servers}, client tx {clients}, buffers {buffers}, timers {timers}"
        )
    }
}

/// The engine did something else than pass a call through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unexpected {
    /// Which call, counted from the first of the warm-up.
    pub call: u32,
    /// What was fed.
    pub step: &'static str,
    /// What came out instead, by first line.
    pub sent: Vec<String>,
}

impl fmt::Display for Unexpected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "call {}: the engine answered {} with {:?}", self.call, self.step, self.sent)
    }
}

impl Error for Unexpected {}

/// Runs the plan.
///
/// # Errors
/// An image that the engine refuses; an engine that does not pass the calls through.
pub fn run(plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
    let bytes = routing_image(plan.prefixes);
    let image = Image::open(&bytes).map_err(|error| format!("the routing image does not open: {error:?}"))?;
    let mut driver = Driver::new(&image);
    driver.place(plan.warm_up)?;
    let (allocations, fed, sent) = (driver.allocations, driver.fed, driver.sent);
    let before = thread_cpu();
    driver.place(plan.calls)?;
    let cpu_per_call = thread_cpu().saturating_sub(before) / plan.calls.max(1);
    let outcome = Outcome {
        calls: plan.calls,
        datagrams: (driver.fed - fed, driver.sent - sent),
        allocations: driver.allocations - allocations,
        cpu_per_call,
        left: [0; 5],
    };
    Ok(Outcome { left: driver.left_over(), ..outcome })
}

/// [`Engine::handle`] under a name of its own, where collecting starts and stops.
#[inline(never)]
pub fn measured_handle(engine: &mut Engine, now: Now, image: &Image<'_>, input: Input<'_>, effects: &mut Effects) {
    engine.handle(now, image, input, effects);
}

/// [`Engine::release`] under a name of its own.
#[inline(never)]
pub fn measured_release(engine: &mut Engine, buffer: BufferRef) {
    engine.release(buffer);
}

/// Where a message goes to or comes from.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Side {
    Caller,
    Callee,
}

struct Driver<'a> {
    engine: Box<Engine>,
    image: &'a Image<'a>,
    effects: Effects,
    caller: Caller,
    callee: Callee,
    endpoints: [Endpoint; 2],
    clock_us: u64,
    next_call: u32,
    /// What the engine sent since the last input: to whom, and where in `arena`.
    out: Vec<(Side, Range<usize>)>,
    arena: Vec<u8>,
    fed: u64,
    sent: u64,
    allocations: u64,
}

impl<'a> Driver<'a> {
    fn new(image: &'a Image<'a>) -> Driver<'a> {
        let at = |host: u8, port: u16| SocketAddr::from(([127, 0, 0, host], port));
        let (proxy, caller, callee) = (at(1, 5060), at(2, 5061), at(3, 5070));
        let timers = Timers::default();
        let secret = Key::new([7; 16]);
        let mut advertised = Listener { slot: ListenerSlot(0), bound: proxy.into(), advertised: Default::default() };
        advertised.advertised.push_str("127.0.0.1:5060");
        let settings = Settings {
            shard: ShardIndex(0),
            steering: Steering::even(secret, 1),
            listeners: [advertised].into_iter().collect(),
            secret,
            seed: 1,
            timers,
            unknown_source: UnknownSource::Drop,
            policy: Policy::default(),
            budget: Budget::for_shard(1000, 200, 1, &timers),
            caps: Arc::new(Caps::new(CapsSize::for_image(image))),
        };
        Driver {
            engine: Engine::new(settings, Instant::ZERO),
            image,
            effects: Effects::new(),
            caller: Caller::new(0x00c0_ffee, caller, proxy, "4930", 7),
            callee: Callee::new(callee),
            endpoints: [caller.into(), callee.into()],
            clock_us: 1,
            next_call: 0,
            out: Vec::new(),
            arena: Vec::new(),
            fed: 0,
            sent: 0,
            allocations: 0,
        }
    }

    fn place(&mut self, calls: u32) -> Result<(), Unexpected> {
        for _ in 0..calls {
            let call = self.next_call;
            self.next_call += 1;
            self.place_one(call)?;
        }
        Ok(())
    }

    /// One call, each message checked to come out once and at the right side.
    fn place_one(&mut self, call: u32) -> Result<(), Unexpected> {
        use Side::{Callee, Caller};
        let started_us = self.clock_us;
        let fed = |step, sent| Unexpected { call, step, sent };
        let mut message = Vec::new();
        let mut answers = [Vec::new(), Vec::new(), Vec::new()];
        let mut dialog = Dialog::default();

        self.caller.write_invite(&mut message, call);
        self.feed(Caller, &message);
        let invite = match self.out[..] {
            [(Caller, _), (Callee, ref invite)] => scan(&self.arena[invite.clone()], Start::Request(b"INVITE")),
            _ => None,
        };
        let Some(invite) = invite else { return Err(fed("INVITE", self.first_lines())) };
        self.callee.write_trying(&mut answers[0], &invite);
        self.callee.write_ringing(&mut answers[1], &invite);
        self.callee.write_answer(&mut answers[2], &invite);

        self.feed(Callee, &answers[0]);
        if !self.out.is_empty() {
            return Err(fed("100", self.first_lines()));
        }
        self.feed(Callee, &answers[1]);
        self.only(Caller, Start::Response(180)).ok_or_else(|| fed("180", self.first_lines()))?;
        self.clock_us += 5_000;
        self.feed(Callee, &answers[2]);
        let answer = self.only(Caller, Start::Response(200)).ok_or_else(|| fed("200", self.first_lines()))?;
        dialog.learn(&answer);

        message.clear();
        self.caller.write_ack(&mut message, call, &dialog);
        self.feed(Caller, &message);
        self.only(Callee, Start::Request(b"ACK")).ok_or_else(|| fed("ACK", self.first_lines()))?;
        self.clock_us += 5_000;
        message.clear();
        self.caller.write_bye(&mut message, call, &dialog);
        self.feed(Caller, &message);
        let bye = self.only(Callee, Start::Request(b"BYE")).ok_or_else(|| fed("BYE", self.first_lines()))?;
        answers[0].clear();
        self.callee.write_bye_answer(&mut answers[0], &bye);
        self.feed(Callee, &answers[0]);
        self.only(Caller, Start::Response(200)).ok_or_else(|| fed("200 to BYE", self.first_lines()))?;

        self.clock_us = started_us + CALL_SPACING.as_micros() as u64;
        self.run_timers();
        if self.out.is_empty() { Ok(()) } else { Err(fed("time", self.first_lines())) }
    }

    /// The one datagram that came out, if it went to this side and says this.
    fn only(&self, side: Side, start: Start<'static>) -> Option<Message<'_>> {
        match self.out[..] {
            [(to, ref range)] if to == side => scan(&self.arena[range.clone()], start),
            _ => None,
        }
    }

    fn first_lines(&self) -> Vec<String> {
        let first_line = |range: &Range<usize>| {
            let bytes = &self.arena[range.clone()];
            String::from_utf8_lossy(bytes.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned()
        };
        self.out.iter().map(|(side, range)| format!("{side:?}: {}", first_line(range))).collect()
    }

    fn now(&self) -> Now {
        Now { monotonic: Instant::from_micros(self.clock_us), wall: WallTime(1_700_000_000_000_000 + self.clock_us) }
    }

    fn feed(&mut self, from: Side, bytes: &[u8]) {
        self.fed += 1;
        self.out.clear();
        self.arena.clear();
        let peer = self.endpoints[from as usize];
        let flow = Flow { peer, listener: ListenerIndex(0), transport: Transport::Udp };
        let received_at = self.now().monotonic;
        self.handle(Input::Datagram { flow, received_at, bytes, truncated: false, handed_over: None });
    }

    fn run_timers(&mut self) {
        self.out.clear();
        self.arena.clear();
        while self.engine.next_timeout().is_some_and(|at| at <= self.now().monotonic) {
            self.handle(Input::Timeout);
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let now = self.now();
        let before = taken();
        measured_handle(&mut self.engine, now, self.image, input, &mut self.effects);
        self.allocations += taken() - before;
        for effect in self.effects.drain(..) {
            // One shard owns every call: nothing is ever forwarded.
            let Effect::Send { flow, buffer } = effect else { continue };
            let start = self.arena.len();
            self.arena.extend_from_slice(self.engine.buffer(buffer));
            let side = if flow.peer == self.endpoints[0] { Side::Caller } else { Side::Callee };
            self.out.push((side, start..self.arena.len()));
            self.sent += 1;
            let before = taken();
            measured_release(&mut self.engine, buffer);
            self.allocations += taken() - before;
        }
    }

    /// Lets every timer run out and reads the gauges.
    fn left_over(&mut self) -> [u64; 5] {
        self.clock_us += ALL_OVER.as_micros() as u64;
        self.run_timers();
        let counters = self.engine.counters();
        [
            Counter::CallsLive,
            Counter::ServerTransactionsLive,
            Counter::ClientTransactionsLive,
            Counter::BuffersLive,
            Counter::TimersLive,
        ]
        .map(|counter| counters.value(counter))
    }
}

fn scan<'m>(bytes: &'m [u8], start: Start<'static>) -> Option<Message<'m>> {
    Message::scan(bytes).filter(|message| message.start == start)
}
