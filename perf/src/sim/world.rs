//! The world: engines, hosts, calls and one clock, driven event by event.
//!
//! ```text
//!   earliest of { next event, due timer of a shard + its lateness }
//!        │
//!        ├─ a datagram reaches the engine ──► handle ──► effects, in order ──► links ──► parties
//!        ├─ a datagram reaches a party ─────► its leg answers, or not
//!        ├─ a timer is due ─────────────────► handle(Timeout) until none is
//!        └─ a leg acts, a host crashes, an image is swapped, the wall clock jumps, a new call begins
//!        │
//!   ledger of the shard after each step; the full audit once a simulated second; all empty at the end
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use corelane_core::admission::{Caps, CapsSize};
use corelane_core::call::CallRecord;
use corelane_core::engine::{Command, Listener, Settings};
use corelane_core::routing::ListenerSlot;
use corelane_core::siphash::Key;
use corelane_core::steering::{ShardIndex, Steering};
use corelane_core::{
    BufferRef, Counter, Effect, Effects, Engine, Flow, Image, Input, Instant, ListenerIndex, Now, Transport, WallTime,
};

use super::audit::Fault;
use super::ladder::{End, Fate, Ladder, Line, NO_CALL};
use super::leg::Call;
use super::network::{Act, Event, LISTENERS, LegIndex, Network, Party, SECOND, travel};
use super::plan::{Every, Plan};
use super::random::{Random, mix};
use super::tally::Tally;
use super::wire::{Branch, Method, check, cseq_method};
use crate::wire::{Message, Start};

/// Where the wall clock starts: some day in 2027.
const WALL_START: u64 = 1_800_000_000 * SECOND;

/// Steps of one instant after which a shard whose timers stay due is stuck.
const TIMEOUTS_MAX: u32 = 1_000_000;

/// A table of caps for nobody.
const NO_ROWS: CapsSize = CapsSize { providers: 0, carriers: 0, gateways: 0 };

/// One shard.
pub(super) struct Node {
    pub(super) engine: Box<Engine>,
    image: usize,
    /// How late the next due timer is noticed.
    late_us: u64,
}

/// One host.
#[derive(Copy, Clone, Debug)]
pub(super) struct Host {
    /// Counts its restarts; legs of an earlier life are forgotten.
    pub(super) life: u16,
    /// Down, and whether the network says so (ICMP).
    pub(super) down: Option<bool>,
}

/// The request that the engine is handling: whose it is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Cause {
    pub(super) at: LegIndex,
    pub(super) serial: u32,
    pub(super) method: Method,
}

/// A world.
pub(super) struct World<'i> {
    pub(super) seed: u64,
    pub(super) plan: Plan,
    pub(super) random: Random,
    pub(super) now_us: u64,
    /// How far the wall clock was moved, in microseconds.
    wall_moved: i64,
    pub(super) step: u64,
    /// Datagrams that the engines sent.
    emitted: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) steering: Steering,
    /// What the shards count together.
    pub(super) caps: Arc<Caps>,
    images: &'i [Image<'i>],
    effects: Effects,
    pub(super) network: Network,
    hosts: Vec<Host>,
    pub(super) calls: Vec<Call>,
    pub(super) ladder: Ladder,
    pub(super) tally: Tally,
    pub(super) cause: Option<Cause>,
    /// The call that the last step was about.
    pub(super) last_call: u32,
    pub(super) fault: Option<Fault>,
    /// Calls by the hash of their Call-ID.
    pub(super) numbers: HashMap<u64, u32>,
    /// Calls that have ended: hash and pass.
    settled: HashSet<(u64, u32)>,
    audit_at: u64,
    /// The last call began at this time.
    loaded_at: Option<u64>,
    bytes: Vec<u8>,
}

impl<'i> World<'i> {
    pub(super) fn new(seed: u64, plan: Plan, random: Random, images: &'i [Image<'i>]) -> World<'i> {
        let secret = Key { k0: mix(seed), k1: mix(!seed) };
        let steering = Steering::even(secret, plan.shards);
        let start = Instant::from_micros(SECOND);
        let listener = |(address, slot): (&&str, u16)| Listener {
            slot: ListenerSlot(slot),
            bound: address.parse::<std::net::SocketAddr>().expect("a constant address").into(),
            advertised: address.parse().expect("a short constant"),
        };
        let size = images.iter().map(CapsSize::for_image).fold(NO_ROWS, |most, size| CapsSize {
            providers: most.providers.max(size.providers),
            carriers: most.carriers.max(size.carriers),
            gateways: most.gateways.max(size.gateways),
        });
        let caps = Arc::new(Caps::new(size));
        let node = |shard: u8| {
            let settings = Settings {
                shard: ShardIndex(shard),
                steering: steering.clone(),
                listeners: LISTENERS.iter().zip(0..).map(listener).collect(),
                secret,
                seed: mix(seed.wrapping_add(shard.into())),
                timers: plan.timers,
                unknown_source: plan.unknown_source,
                policy: plan.policy,
                budget: plan.budget,
                caps: Arc::clone(&caps),
            };
            Node { engine: Engine::new(settings, start), image: 0, late_us: 0 }
        };
        let nodes = (0..plan.shards).map(node).collect();
        let hosts = vec![Host { life: 0, down: None }; usize::from(plan.callers) + usize::from(plan.gateways) + 1];
        let mut world = World {
            seed,
            plan,
            random,
            now_us: start.as_micros(),
            wall_moved: 0,
            step: 0,
            emitted: 0,
            nodes,
            steering,
            caps,
            images,
            effects: Effects::new(),
            network: Network::default(),
            hosts,
            calls: Vec::new(),
            ladder: Ladder::default(),
            tally: Tally::default(),
            cause: None,
            last_call: NO_CALL,
            fault: None,
            numbers: HashMap::new(),
            settled: HashSet::new(),
            audit_at: 0,
            loaded_at: None,
            bytes: Vec::new(),
        };
        world.network.schedule(world.now_us, Event::Call);
        for (every, event) in [
            (world.plan.swap_every, Event::SwapImage),
            (world.plan.step_every, Event::StepClock),
            (world.plan.crash_every, Event::Crash),
            (world.plan.noise_every, Event::Noise),
            (world.plan.command_every, Event::Command),
        ] {
            world.again(every, event);
        }
        world
    }

    /// Lives through the whole load and until nothing is left to happen.
    ///
    /// # Errors
    /// The first promise, ledger or audit that does not hold.
    pub(super) fn run(&mut self) -> Result<(), Fault> {
        loop {
            let event_at = self.network.next_at().unwrap_or(u64::MAX);
            let (timer_at, shard) = self.next_timer();
            let next = event_at.min(timer_at);
            if next == u64::MAX {
                break;
            }
            self.now_us = self.now_us.max(next);
            if self.now_us > self.over_at() {
                return Err(Fault::new("the load is long over and something still runs", self.last_call));
            }
            if timer_at < event_at {
                self.run_timers(shard);
            } else if let Some(event) = self.network.pop() {
                self.happen(event);
            }
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            if self.now_us >= self.audit_at {
                self.audit_at = self.now_us + SECOND;
                self.audit_all()?;
            }
        }
        self.audit_all()?;
        self.audit_end()
    }

    /// When everything must be over: the longest timers one after the other, and room.
    fn over_at(&self) -> u64 {
        let micros = |span: Duration| span.as_micros() as u64;
        let timers = &self.plan.timers;
        let longest = micros(timers.default_timeout) + micros(timers.early_timeout) + micros(timers.noack_timeout);
        self.loaded_at.map_or(u64::MAX, |at| at + longest + 2 * 3600 * SECOND)
    }

    /// The shard whose timer is noticed next, and when.
    fn next_timer(&self) -> (u64, usize) {
        let due = |node: &Node| node.engine.next_timeout().map_or(u64::MAX, |at| at.as_micros() + node.late_us);
        let mut next = (u64::MAX, 0);
        for (shard, node) in self.nodes.iter().enumerate() {
            next = next.min((due(node), shard));
        }
        next
    }

    fn run_timers(&mut self, shard: usize) {
        self.cause = None;
        let mut turns = 0;
        loop {
            self.handle(shard, Input::Timeout);
            turns += 1;
            let due = self.nodes[shard].engine.next_timeout().is_some_and(|at| at.as_micros() <= self.now_us);
            if !due || self.fault.is_some() {
                break;
            }
            if turns == TIMEOUTS_MAX {
                return self.break_promise("timers stay due however often they are run", NO_CALL);
            }
        }
        self.nodes[shard].late_us = self.random.below(self.plan.late_us + 1);
    }

    fn happen(&mut self, event: Event) {
        self.cause = None;
        match event {
            Event::ToEngine { from, listener, packet, shard } => self.deliver(from, listener, packet, shard),
            Event::ToParty { to, listener, packet, shard } => self.arrive(to, listener, packet, shard),
            Event::Unreachable { to, listener, packet, shard } => {
                let packet = self.network.take(packet);
                let call = Message::scan(&packet.bytes).and_then(|message| self.call_of(&message));
                let (from, into) = (End::Party(to), End::Engine(shard));
                self.ladder.note(self.now_us, call.unwrap_or(NO_CALL), from, into, Line::Unreachable, Fate::Done);
                self.tally.unreachable += 1;
                // The kernel gives back the start of what was sent, or nothing.
                let kept = self.random.pick(&[0, 28, 200, usize::MAX]).min(packet.bytes.len());
                self.handle(shard.into(), Input::Unreachable { flow: flow(to, listener), sent: &packet.bytes[..kept] });
                self.network.recycle(packet);
            }
            Event::Release { shard, buffer, digest: expected } => {
                let engine = &mut self.nodes[usize::from(shard)].engine;
                let changed = digest(engine.buffer(buffer)) != expected;
                engine.release(buffer);
                if changed {
                    self.break_promise("a buffer was changed while it was being sent", NO_CALL);
                }
            }
            Event::Act { at, act } => self.on_act(at, act),
            Event::Call => {
                self.begin_call();
                if self.calls.len() < self.plan.calls as usize {
                    let mean = SECOND / u64::from(self.plan.calls_per_second);
                    let after = self.random.below(2 * mean + 1);
                    self.network.schedule(self.now_us + after, Event::Call);
                } else {
                    self.loaded_at = Some(self.now_us);
                }
            }
            Event::SwapImage => {
                let shard = self.random.below(self.nodes.len() as u64) as usize;
                self.nodes[shard].image = self.random.below(self.images.len() as u64) as usize;
                self.tally.swaps += 1;
                self.again(self.plan.swap_every, event);
            }
            Event::StepClock => {
                let hours = self.random.between(0, 48) as i64 - 24;
                self.wall_moved += hours * 3600 * SECOND as i64;
                self.again(self.plan.step_every, event);
            }
            Event::Crash => {
                self.crash();
                self.again(self.plan.crash_every, event);
            }
            Event::Restart(party) => {
                let host = self.host_mut(party);
                host.life += 1;
                host.down = None;
            }
            Event::Noise => {
                self.noise();
                self.again(self.plan.noise_every, event);
            }
            Event::Command => {
                self.command();
                self.again(self.plan.command_every, event);
            }
        }
    }

    /// The control core wants something of a shard: drain, or drain no more, and now and then the end of all its calls.
    fn command(&mut self) {
        let shard = self.random.below(self.nodes.len() as u64) as usize;
        let command = match self.random.below(5) {
            0 => Command::HangUpAll,
            1 => Command::Drain(true),
            _ => Command::Drain(false),
        };
        self.tally.commands += 1;
        if command == Command::HangUpAll {
            self.calls.iter_mut().for_each(|call| call.closing = true);
        }
        self.handle(shard, Input::Command(command));
    }

    /// A call has ended.
    fn settle_call(&mut self, shard: usize, record: &CallRecord) {
        self.tally.records += 1;
        if !self.settled.insert((record.call_hash, record.pass)) {
            return self.break_promise("a call ended twice", self.last_call);
        }
        let known = self.numbers.get(&record.call_hash).copied();
        let Some(call) = known else { return };
        self.ladder.note(
            self.now_us,
            call,
            End::Engine(shard as u8),
            End::Engine(shard as u8),
            Line::Ended(record.reason, record.status),
            Fate::Done,
        );
        self.watch_record(call, record);
        self.calls[call as usize].closing = true;
    }

    /// Schedules what repeats, as long as calls begin.
    fn again(&mut self, every: Every, event: Event) {
        if let Some(mean) = every.filter(|_| self.loaded_at.is_none()) {
            let after = 1 + self.random.below(2 * mean);
            self.network.schedule(self.now_us + after, event);
        }
    }

    fn crash(&mut self) {
        let callers = self.plan.callers;
        let chosen = self.random.below(u64::from(callers) + u64::from(self.plan.gateways)) as u8;
        let party = if chosen < callers { Party::Caller(chosen) } else { Party::Gateway(chosen - callers) };
        let reported = self.random.chance(500);
        let lasts = self.random.pick(&[100_000, SECOND, 20 * SECOND, 100 * SECOND]);
        let host = self.host_mut(party);
        if host.down.is_none() {
            host.down = Some(reported);
            self.tally.crashes += 1;
            self.network.schedule(self.now_us + lasts, Event::Restart(party));
            let hit = |call: &&mut Call| call.legs.iter().any(|leg| leg.party == party);
            self.calls.iter_mut().filter(hit).for_each(|call| call.closing = true);
        }
    }

    fn on_act(&mut self, at: LegIndex, act: Act) {
        if !self.alive(at) {
            return;
        }
        match act {
            Act::Answer(step) => self.answer_step(at, step),
            Act::Cancel => self.give_up(at),
            Act::Ack { dialog } => self.late_ack(at, dialog),
            Act::Ask { dialog, method } => self.ask(at, dialog, method, b""),
            Act::RepeatRequest(index) => self.repeat_request(at, index),
            Act::RepeatResponse(index) => self.repeat_response(at, index),
            Act::Vanish => {
                self.leg(at).vanished = true;
                self.calls[at.call as usize].closing = true;
                self.tally.vanished += 1;
            }
        }
    }

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
    fn deliver(&mut self, from: Party, listener: u8, packet: u32, forwarded: Option<u8>) {
        let packet = self.network.take(packet);
        let shards = u64::from(self.plan.shards);
        let owner = self.steering.slot_of_datagram(&packet.bytes).map(|slot| self.steering.owner(slot).0);
        let shard = match (forwarded, owner) {
            (Some(shard), _) => shard,
            (None, Some(owner)) if !self.random.chance(self.plan.misrouted_permille) => owner,
            _ => self.random.below(shards) as u8,
        };
        self.cause = self.cause_of(&packet.bytes);
        let queued_us = self.random.below(self.plan.queued_us + 1);
        let input = Input::Datagram {
            flow: flow(from, listener),
            received_at: Instant::from_micros(self.now_us - queued_us),
            bytes: &packet.bytes,
            truncated: packet.truncated,
        };
        let before = self.emitted;
        let handed_over = self.handle(shard.into(), input);
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

    /// Whose request a datagram is, where an endpoint of the world sent it.
    fn cause_of(&mut self, bytes: &[u8]) -> Option<Cause> {
        let message = Message::scan(bytes)?;
        self.last_call = self.call_of(&message)?;
        let Start::Request(name) = message.start else { return None };
        let method = Method::of(name);
        let Branch { call, leg, serial } = Branch::read(message.vias()[0])?;
        let at = LegIndex { call, leg };
        let known = call == message.call && usize::from(leg) < self.calls[call as usize].legs.len();
        (known && method != Method::Cancel).then_some(Cause { at, serial, method })
    }

    /// The call of a message, where its Call-ID is one of this world.
    pub(super) fn call_of(&self, message: &Message<'_>) -> Option<u32> {
        let known = (message.call as usize) < self.calls.len() && message.run == check(self.seed, message.call);
        known.then_some(message.call)
    }

    /// One input, its effects in order, the ledger.
    fn handle(&mut self, shard: usize, input: Input<'_>) -> Option<u8> {
        self.step += 1;
        let wall = (WALL_START + self.now_us).saturating_add_signed(self.wall_moved);
        let now = Now { monotonic: Instant::from_micros(self.now_us), wall: WallTime(wall) };
        let node = &mut self.nodes[shard];
        node.engine.handle(now, &self.images[node.image], input, &mut self.effects);
        let mut handed_over = None;
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Send { flow, buffer } => self.emit(shard, flow, buffer),
                // No image of the simulator has media nodes.
                Effect::Media { .. } => unreachable!("media goes from end to end"),
                Effect::Ended(record) => self.settle_call(shard, &record),
                Effect::Forward { shard } => handed_over = Some(shard.0),
            }
        }
        self.audit_ledger(shard);
        handed_over
    }

    /// The engine sends.
    fn emit(&mut self, shard: usize, flow: Flow, buffer: BufferRef) {
        self.emitted += 1;
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let engine = &mut self.nodes[shard].engine;
        bytes.extend_from_slice(engine.buffer(buffer));
        if self.plan.release_us == 0 {
            engine.release(buffer);
        } else {
            let after = self.random.below(self.plan.release_us);
            let event = Event::Release { shard: shard as u8, buffer, digest: digest(&bytes) };
            self.network.schedule(self.now_us + after, event);
        }
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
    fn arrive(&mut self, to: Party, listener: u8, packet: u32, shard: u8) {
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

    fn link(&self, party: Party) -> usize {
        let at = self.place(party).unwrap_or_default();
        at.min(self.plan.links.len() - 1)
    }

    fn place(&self, party: Party) -> Option<usize> {
        match party {
            Party::Caller(number) => Some(usize::from(number)),
            Party::Gateway(number) => Some(usize::from(self.plan.callers) + usize::from(number)),
            Party::Stranger(_) => None,
        }
    }

    pub(super) fn host(&self, party: Party) -> Host {
        self.place(party).map_or(Host { life: 0, down: None }, |place| self.hosts[place])
    }

    fn host_mut(&mut self, party: Party) -> &mut Host {
        let place = self.place(party).expect("only known hosts crash");
        &mut self.hosts[place]
    }

    /// Whether a party is one of this run.
    pub(super) fn exists(&self, party: Party) -> bool {
        match party {
            Party::Caller(number) => number < self.plan.callers,
            Party::Gateway(number) => number <= self.plan.gateways,
            Party::Stranger(_) => true,
        }
    }

    /// All engines' value of a counter.
    pub(super) fn count(&mut self, counter: Counter) -> u64 {
        self.nodes.iter_mut().map(|node| node.engine.counters().value(counter)).sum()
    }
}

pub(super) fn flow(peer: Party, listener: u8) -> Flow {
    Flow { peer: peer.endpoint(), listener: ListenerIndex(listener), transport: Transport::Udp }
}

/// A fingerprint of a message.
fn digest(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
