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
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use corelane_core::admission::{Caps, CapsSize};
use corelane_core::call::CallRecord;
use corelane_core::engine::{Listener, Settings};
use corelane_core::limits::SESSION_INTERVAL_MAX_S;
use corelane_core::routing::ListenerSlot;
use corelane_core::siphash::Key;
use corelane_core::steering::{ShardIndex, Steering};
use corelane_core::{Counter, Effect, Effects, Engine, Image, Input, Instant, Now, WallTime};

use super::audit::Fault;
use super::caps::Places;
use super::hosts::Host;
use super::ladder::{End, Fate, Ladder, Line, NO_CALL};
use super::leg::Call;
use super::media::{HEARD_MAX, Relay};
use super::network::{Act, Event, LISTENERS, LegIndex, Network, SECOND};
use super::order::Order;
use super::plan::{Every, Plan};
use super::random::{Random, mix};
use super::routes::Limits;
use super::tally::Tally;
use super::waits::Waits;
use super::wire::Method;

/// Where the wall clock starts: some day in 2027.
const WALL_START: u64 = 1_800_000_000 * SECOND;

/// Steps of one instant after which a shard whose timers stay due is stuck.
const TIMEOUTS_MAX: u32 = 1_000_000;

/// A table of caps for nobody.
const NO_ROWS: CapsSize = CapsSize { providers: 0, carriers: 0, gateways: 0, addresses: 0 };

/// One shard.
pub(super) struct Node {
    pub(super) engine: Box<Engine>,
    pub(super) image: usize,
    /// How late the next due timer is noticed.
    late_us: u64,
}

/// The request that the engine is handling: whose it is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Cause {
    pub(super) at: LegIndex,
    pub(super) serial: u32,
    pub(super) method: Method,
    /// It has a session description.
    pub(super) described: bool,
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
    pub(super) emitted: u64,
    /// Those of them that were a 2xx to an INVITE that opens a call.
    pub(super) answers_passed: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) steering: Steering,
    /// What the shards count together.
    pub(super) caps: Arc<Caps>,
    /// Whose calls are where, and how many of them may be.
    pub(super) places: Places,
    pub(super) images: &'i [Image<'i>],
    effects: Effects,
    pub(super) network: Network,
    pub(super) hosts: Vec<Host>,
    pub(super) calls: Vec<Call>,
    /// The responses of each branch.
    pub(super) orders: Vec<Order>,
    /// The control core and its media nodes.
    pub(super) relay: Relay,
    pub(super) ladder: Ladder,
    pub(super) tally: Tally,
    pub(super) cause: Option<Cause>,
    /// Who waits for the relay.
    pub(super) waits: Waits,
    /// What is handled is a relay's answer, and it did as asked.
    pub(super) obliged: bool,
    /// What is handled is a relay's answer, or that none came.
    pub(super) about_media: bool,
    /// The call that the last step was about.
    pub(super) last_call: u32,
    pub(super) fault: Option<Fault>,
    /// Calls by the hash of their Call-ID.
    pub(super) numbers: HashMap<u64, u32>,
    /// Calls that have ended: hash and pass.
    pub(super) settled: HashSet<(u64, u32)>,
    /// What share of a source's new calls reaches a shard, in 65,536ths, and until when; what the kernel would be told.
    pub(super) shares: HashMap<(usize, IpAddr), (u16, u64)>,
    audit_at: u64,
    /// The last call began at this time.
    loaded_at: Option<u64>,
    pub(super) bytes: Vec<u8>,
}

impl<'i> World<'i> {
    pub(super) fn new(seed: u64, plan: Plan, random: Random, images: &'i [Image<'i>], limits: Limits) -> World<'i> {
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
            addresses: most.addresses.max(size.addresses),
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
            answers_passed: 0,
            nodes,
            steering,
            caps,
            places: Places::new(limits),
            images,
            effects: Effects::new(),
            network: Network::default(),
            hosts,
            calls: Vec::new(),
            orders: Vec::new(),
            relay: Relay::new(mix(mix(seed))),
            ladder: Ladder::default(),
            tally: Tally::default(),
            cause: None,
            waits: Waits::default(),
            obliged: false,
            about_media: false,
            last_call: NO_CALL,
            fault: None,
            numbers: HashMap::new(),
            settled: HashSet::new(),
            shares: HashMap::new(),
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
            (world.plan.media.as_ref().and_then(|media| media.freeze_every), Event::Freeze),
            (world.plan.media.as_ref().and_then(|media| media.lose_node_every), Event::LoseNode),
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
        // Peers may have agreed on any session interval, and the engine waits a day for its refresh.
        let stands = micros(timers.default_timeout.max(Duration::from_secs(SESSION_INTERVAL_MAX_S.into())));
        let longest = stands + micros(timers.early_timeout) + micros(timers.noack_timeout);
        // As often as a relay hears RTP, and each time four questions may go unanswered.
        let kept = u64::from(HEARD_MAX) * (stands + 4 * micros(timers.media_idle));
        let kept = if self.plan.media.is_some() { kept } else { 0 };
        self.loaded_at.map_or(u64::MAX, |at| at + longest + kept + 2 * 3600 * SECOND)
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
            Event::Unreachable { to, listener, packet, shard } => self.report(to, listener, packet, shard),
            Event::Release { shard, buffer, digest } => self.give_back(shard, buffer, digest),
            Event::Media { shard, reply } => self.reply(shard, reply),
            Event::Freeze => {
                self.freeze();
                self.again(self.plan.media.as_ref().and_then(|media| media.freeze_every), event);
            }
            Event::LoseNode => {
                self.lose_node();
                self.again(self.plan.media.as_ref().and_then(|media| media.lose_node_every), event);
            }
            Event::NodeBack(id) => self.regain_node(id),
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

    /// A call has ended.
    fn settle_call(&mut self, shard: usize, record: &CallRecord) {
        self.tally.note_end(record);
        if !self.settled.insert((record.call_hash, record.pass)) {
            return self.break_promise("a call ended twice", self.last_call);
        }
        let known = self.numbers.get(&record.call_hash).copied();
        if let Some(call) = known {
            self.leave_places(call);
        }
        self.watch_media_record(record);
        let Some(call) = known else { return };
        self.watch_kept(call, record);
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

    fn on_act(&mut self, at: LegIndex, act: Act) {
        if !self.alive(at) {
            return;
        }
        match act {
            Act::Answer(step) => self.answer_step(at, step),
            Act::Cancel => self.give_up(at),
            Act::Ack { dialog } => self.late_ack(at, dialog),
            Act::Ask { dialog, method } => self.ask(at, dialog, method),
            Act::RepeatRequest(index) => self.repeat_request(at, index),
            Act::RepeatResponse(index) => self.repeat_response(at, index),
            Act::Vanish => {
                self.leg(at).vanished = true;
                self.calls[at.call as usize].closing = true;
                self.tally.vanished += 1;
            }
        }
    }

    /// One input, its effects in order, the ledger.
    pub(super) fn handle(&mut self, shard: usize, input: Input<'_>) -> Option<u8> {
        self.step += 1;
        let wall = (WALL_START + self.now_us).saturating_add_signed(self.wall_moved);
        let now = Now { monotonic: Instant::from_micros(self.now_us), wall: WallTime(wall) };
        let answers = matches!(input, Input::Media(_));
        let before = self.media_counts(shard);
        let node = &mut self.nodes[shard];
        node.engine.handle(now, &self.images[node.image], input, &mut self.effects);
        let after = self.media_counts(shard);
        self.about_media = answers || before.given_up != after.given_up;
        self.settle_pin(before.late == after.late);
        let mut handed_over = None;
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Send { flow, buffer } => self.emit(shard, flow, buffer),
                Effect::Media { buffer } => self.wish(shard, buffer),
                Effect::Ended(record) => self.settle_call(shard, &record),
                Effect::Forward { shard } => handed_over = Some(shard.0),
                Effect::Shed { source, pass } => {
                    self.shares.insert((shard, source), (pass, self.now_us + SECOND));
                    self.tally.shares += 1;
                }
            }
        }
        self.audit_ledger(shard);
        handed_over
    }

    /// All engines' value of a counter.
    pub(super) fn count(&mut self, counter: Counter) -> u64 {
        self.nodes.iter_mut().map(|node| node.engine.counters().value(counter)).sum()
    }
}
