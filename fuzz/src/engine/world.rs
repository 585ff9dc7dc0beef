//! One engine, its network and its clock, and what must hold after each step.
//!
//! - A datagram that the engine sends is no longer than a message may be and leaves from a listener that exists. A request parses, has our Via on
//!   top, and goes to a gateway of the image or to a host that spoke to us: Corelane is no open relay. A response goes to a host that spoke.
//! - `datagrams_out` counts what was sent; calls that began are those that ended and those that live; no gauge is above its budget.
//! - Due timers are worked off in a bounded number of turns.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::OnceLock;

use std::sync::Arc;

use corelane_core::admission::{Caps, CapsSize};
use corelane_core::engine::{Budget, Command, Listener, Policy, Timers, UnknownSource};
use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::message::{Message, StartLine};
use corelane_core::routing::build::ImageBytes;
use corelane_core::routing::{Image, ListenerSlot};
use corelane_core::steering::{ShardIndex, Steering, find_call_id};
use corelane_core::{
    BufferRef, Counter, Effect, Effects, Endpoint, Engine, Flow, Input, Instant, ListenerIndex, Now, Settings,
    Transport, WallTime,
};

use super::bend::Bend;
use super::compose;
use super::relay::Relay;
use super::site::{self, GATEWAYS, LISTENERS, endpoint, peer};
use crate::script::Script;

/// Datagrams that are remembered in each direction.
const MEMORY: usize = 32;
/// Turns that one step of time may take: each fires a timer or moves a portion of them.
const TURNS_MAX: u32 = 100_000;
/// A time after which no timer may run any more.
const LONGEST: Duration = Duration::from_secs(25 * 3600 + corelane_core::limits::SESSION_INTERVAL_MAX_S as u64);

/// A datagram and where it went or came from.
#[derive(Clone)]
pub(super) struct Datagram {
    pub(super) flow: Flow,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct World<'i> {
    engine: Box<Engine>,
    images: [Image<'i>; 2],
    image: usize,
    now: Now,
    budget: Budget,
    shard: ShardIndex,
    steering: Steering,
    /// Buffers that the ring has not taken yet.
    unreleased: VecDeque<BufferRef>,
    slow_ring: bool,
    sent: VecDeque<Datagram>,
    delivered: VecDeque<Datagram>,
    /// Who spoke to us.
    heard: Vec<Endpoint>,
    bends: Vec<Bend>,
    branches: u32,
    /// The control core, where the images have a media node.
    pub(super) relay: Option<Relay>,
    /// The images are those of [`images`]: what they say is right.
    ours: bool,
    /// The images were verified: what they say can be written into a message.
    verified: bool,
    sends: u64,
    /// Records of calls that ended.
    records: u64,
}

impl<'i> World<'i> {
    /// Three bytes of the script say what the world is like.
    pub(super) fn new(images: &'i [ImageBytes; 2], script: &mut Script<'_>) -> World<'i> {
        let (size, how, seed) = (script.byte(), script.byte(), script.byte());
        let timers = Timers::default();
        let policy = Policy {
            hunt_after_ringing: how & 4 == 0,
            remap_503: how & 8 == 0,
            bye_on_expiry: how & 0x40 == 0,
            shed_in_kernel: true,
        };
        let shards = 1 + u8::from(how & 0x30 == 0x30);
        let mut budget = Budget::for_shard(8, 1, 1, &timers);
        budget.calls = [1, 2, 4, 16][usize::from(size & 3)];
        budget.server_transactions = [2, 4, 9, 40][usize::from(size >> 2 & 3)];
        budget.client_transactions = [1, 3, 9, 40][usize::from(size >> 4 & 3)];
        budget.buffers = [[2, 2, 1, 1], [1, 8, 2, 2], [24, 4, 4, 2], [64, 32, 6, 4]][usize::from(size >> 6)];
        let listener = |place: usize| Listener {
            slot: ListenerSlot(place as u16),
            bound: endpoint(LISTENERS[place]),
            advertised: LISTENERS[place].try_into().expect("short"),
        };
        let settings = Settings {
            shard: ShardIndex(0),
            steering: site::steering(shards),
            listeners: [listener(0), listener(1)].into_iter().collect(),
            secret: site::secret(),
            seed: seed.into(),
            timers,
            unknown_source: if how & 2 == 0 { UnknownSource::Drop } else { UnknownSource::Forbid },
            policy,
            budget,
            caps: Arc::new(Caps::new(CapsSize { providers: 16, carriers: 16, gateways: 16, addresses: 16 })),
        };
        let now = Now { monotonic: Instant::from_micros(1_000_000), wall: WallTime(1_800_000_000_000_000) };
        let opened = [0, 1].map(|place| Image::open(&images[place]).expect("only images that open are tried"));
        let relayed = core::ptr::eq(images, site::relayed_images());
        let ours = relayed || core::ptr::eq(images, site::images());
        World {
            ours,
            verified: ours || opened.iter().all(|image| image.verify().is_ok()),
            shard: settings.shard,
            steering: settings.steering.clone(),
            engine: Engine::new(settings, now.monotonic),
            images: opened,
            image: 0,
            now,
            budget,
            unreleased: VecDeque::new(),
            slow_ring: how & 1 != 0,
            sent: VecDeque::new(),
            delivered: VecDeque::new(),
            heard: Vec::new(),
            bends: Vec::new(),
            relay: relayed.then(|| Relay::new(seed & 1 != 0)),
            branches: 0,
            sends: 0,
            records: 0,
        }
    }

    /// A datagram arrives, bent as the script wanted it.
    pub(super) fn deliver(&mut self, from: Endpoint, listener: u8, mut bytes: Vec<u8>) {
        let mut truncated = false;
        if !self.bends.is_empty() {
            self.go_astray();
        }
        for bend in self.bends.drain(..) {
            match bend {
                Bend::Cut => truncated = true,
                bend => bytes = bend.apply(bytes),
            }
        }
        if bytes.len() > MESSAGE_SIZE_MAX {
            bytes.truncate(MESSAGE_SIZE_MAX);
            truncated = true;
        }
        let flow = Flow { peer: from, listener: ListenerIndex(listener), transport: Transport::Udp };
        if !self.heard.contains(&from) {
            self.heard.push(from);
        }
        self.ladder("<-", from, &bytes);
        self.handle_promptly(Input::Datagram {
            flow,
            received_at: self.now.monotonic,
            bytes: &bytes,
            truncated,
            handed_over: None,
        });
        remember(&mut self.delivered, Datagram { flow, bytes });
    }

    /// Something that was sent did not arrive, and the kernel gives back all of it, its head or nothing; or anybody cannot be reached.
    pub(super) fn unreachable(&mut self, which: usize) {
        let anybody = Flow { peer: peer(which), listener: ListenerIndex(0), transport: Transport::Udp };
        let lost = self.sent(which & 7, |_| true).unwrap_or(Datagram { flow: anybody, bytes: Vec::new() });
        let length = if which < 8 { lost.bytes.len() } else { lost.bytes.len() * (which & 7) / 8 };
        self.handle_promptly(Input::Unreachable { flow: lost.flow, sent: &lost.bytes[..length] });
    }

    /// The control core drains, takes calls again, ends one call or all.
    pub(super) fn command(&mut self, which: usize, script: &mut Script<'_>) {
        let command = match which {
            0..=2 => Command::Drain(true),
            3..=6 => Command::Drain(false),
            7..=10 => Command::HangUpAll,
            _ => {
                let Some(past) = self.delivered(usize::from(script.byte())) else { return };
                let Some(call_id) = find_call_id(&past.bytes) else { return };
                Command::HangUp { call_hash: self.steering.hash_call_id(call_id), pass: u32::from(script.byte()) }
            }
        };
        self.handle_promptly(Input::Command(command));
    }

    /// The ring is slow from now on, or fast again, or takes some of what waits.
    pub(super) fn ring(&mut self, which: usize) {
        match which & 3 {
            0 => self.slow_ring = true,
            1 => {
                self.slow_ring = false;
                self.release(usize::MAX, false);
            }
            2 => self.release(which >> 2, false),
            _ => self.release(1 + (which >> 2), true),
        }
    }

    fn release(&mut self, count: usize, newest: bool) {
        for _ in 0..count {
            let buffer = if newest { self.unreleased.pop_back() } else { self.unreleased.pop_front() };
            let Some(buffer) = buffer else { return };
            self.engine.release(buffer);
        }
    }

    /// The next datagram is changed in a place.
    pub(super) fn edit_next(&mut self, which: usize, script: &mut Script<'_>) {
        let (place, byte) = (script.word(), script.byte());
        self.bends.push(match which {
            0..=4 => Bend::Replace(place, byte),
            5..=8 => Bend::Insert(place, byte),
            9..=11 => Bend::Delete(place, byte),
            12..=14 => Bend::Repeat(place, byte),
            _ => Bend::Cut,
        });
    }

    /// The next datagram has a field of one that was sent.
    pub(super) fn transplant_next(&mut self, which: usize, script: &mut Script<'_>) {
        const NAMES: [&str; 8] = ["Via", "From", "To", "Call-ID", "CSeq", "Route", "Record-Route", "Contact"];
        let name = script.pick(&NAMES);
        if let Some(donor) = self.sent(which, |_| true) {
            self.bends.push(Bend::Transplant(name, donor.bytes));
        }
    }

    pub(super) fn swap_image(&mut self, which: usize) {
        self.image = which & 1;
    }

    /// The wall clock steps: forwards, backwards, to the start of time and to its end.
    pub(super) fn step_wall(&mut self, which: usize) {
        let wall = &mut self.now.wall.0;
        *wall = match which {
            0..=4 => wall.saturating_add(3_600_000_000 << which),
            5..=9 => wall.saturating_sub(3_600_000_000 << which),
            10..=12 => 0,
            _ => u64::MAX,
        };
    }

    /// A datagram that was sent and is of this kind, counted from the newest.
    pub(super) fn sent(&self, which: usize, of_kind: fn(&[u8]) -> bool) -> Option<Datagram> {
        self.sent.iter().rev().filter(|sent| of_kind(&sent.bytes)).nth(which).cloned()
    }

    /// A datagram that came, counted from the newest.
    pub(super) fn delivered(&self, which: usize) -> Option<Datagram> {
        self.delivered.iter().rev().nth(which).cloned()
    }

    pub(super) fn delivered_invite(&self, which: usize) -> Option<Datagram> {
        self.delivered.iter().rev().filter(|past| past.bytes.starts_with(b"INVITE")).nth(which).cloned()
    }

    /// A branch of its own for each request, or the last one again.
    pub(super) fn next_branch(&mut self, again: bool) -> String {
        self.branches += u32::from(!again);
        format!("z9hG4bK-in-{}", self.branches)
    }

    /// Time passes, and each timer fires when it is due.
    pub(super) fn advance(&mut self, span: Duration) {
        let until = self.now.monotonic.after(span);
        let mut turns = 0;
        while let Some(next) = self.engine.next_timeout().filter(|next| *next <= until) {
            self.clock_to(next);
            self.work_off(&mut turns);
        }
        self.clock_to(until);
        self.work_off(&mut turns);
    }

    pub(super) fn advance_to_next_timer(&mut self) {
        if let Some(next) = self.engine.next_timeout() {
            self.clock_to(next);
            self.work_off(&mut 0);
        }
    }

    /// As the shard's loop does it: until no timer is due.
    fn work_off(&mut self, turns: &mut u32) {
        while self.engine.next_timeout().is_some_and(|due| due <= self.now.monotonic) {
            self.handle_promptly(Input::Timeout);
            *turns += 1;
            assert!(*turns < TURNS_MAX, "timers that never come to an end");
        }
    }

    fn clock_to(&mut self, at: Instant) {
        let span = at.since(self.now.monotonic).as_micros() as u64;
        self.now.monotonic = self.now.monotonic.max(at);
        self.now.wall.0 = self.now.wall.0.saturating_add(span);
    }

    /// Whether calls go through a media node.
    pub(super) fn has_relay(&self) -> bool {
        self.relay.is_some()
    }

    /// From now on there are messages that no endpoint wrote.
    pub(super) fn go_astray(&mut self) {
        self.relay.iter_mut().for_each(|relay| relay.astray = true);
    }

    /// One input; then what a prompt control core answers to it.
    fn handle_promptly(&mut self, input: Input<'_>) {
        self.handle(input);
        self.be_prompt();
    }

    pub(super) fn handle(&mut self, input: Input<'_>) {
        let mut effects = Effects::new();
        self.engine.handle(self.now, &self.images[self.image], input, &mut effects);
        let count = effects.len();
        for effect in effects {
            if let Effect::Send { flow, buffer } = effect {
                self.on_send(flow, buffer);
            }
            if let Effect::Media { buffer } = effect {
                let bytes = self.engine.buffer(buffer).to_vec();
                self.engine.release(buffer);
                if self.ours {
                    self.wish(&bytes);
                }
            }
            if let Effect::Ended(_) = effect {
                self.records += 1;
            }
            if let Effect::Forward { shard } = effect {
                assert_ne!(shard, self.shard, "handed over to itself");
                assert_eq!(count, 1, "and did something else with it");
            }
        }
        self.audit();
    }

    fn on_send(&mut self, flow: Flow, buffer: BufferRef) {
        let bytes = self.engine.buffer(buffer).to_vec();
        if self.slow_ring {
            self.unreleased.push_back(buffer);
        } else {
            self.engine.release(buffer);
        }
        self.sends += 1;
        self.ladder("->", flow.peer, &bytes);
        self.look_at_description(&bytes);
        assert!(!bytes.is_empty() && bytes.len() <= MESSAGE_SIZE_MAX, "{} bytes", bytes.len());
        assert!(usize::from(flow.listener.0) < LISTENERS.len(), "no such listener");
        if compose::is_response(&bytes) {
            assert!(self.heard.iter().any(|peer| peer.ip == flow.peer.ip), "a response to a host that never spoke");
        } else if self.verified {
            // The port may be one that its Via named: where it takes responses it takes requests.
            let spoke = self.heard.iter().any(|peer| peer.ip == flow.peer.ip);
            let known = spoke || GATEWAYS.iter().any(|gateway| peer(*gateway) == flow.peer);
            assert!(known || !self.ours, "a request to {}, which is nobody", flow.peer);
            self.look_at_request(flow, &bytes);
        }
        remember(&mut self.sent, Datagram { flow, bytes });
    }

    /// One line of what goes on, where somebody asked for it: `FUZZ_LADDER=1`.
    fn ladder(&self, way: &str, peer: Endpoint, bytes: &[u8]) {
        static ASKED: OnceLock<bool> = OnceLock::new();
        if *ASKED.get_or_init(|| std::env::var_os("FUZZ_LADDER").is_some()) {
            let head = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let field = |name| compose::fields(bytes, name).next().unwrap_or_default().escape_ascii();
            let at = self.now.monotonic.as_micros() / 1_000;
            eprintln!(
                "{at:>9} ms {way} {peer} {} [{}] via {} to {}",
                head.escape_ascii(),
                field("CSeq"),
                field("Via"),
                field("To")
            );
        }
    }

    /// A request that we sent is a message, and its answer will come to us.
    fn look_at_request(&self, flow: Flow, bytes: &[u8]) {
        let message =
            Message::parse(bytes).unwrap_or_else(|fault| panic!("{:?}: {}", fault.error, bytes.escape_ascii()));
        assert!(matches!(message.start(), StartLine::Request { .. }));
        let via = message.via();
        let sent_by = format!("SIP/2.0/UDP {};", LISTENERS[usize::from(flow.listener.0)]);
        assert!(message.text(via.value).starts_with(sent_by.as_bytes()), "{}", bytes.escape_ascii());
        assert!(via.branch.is_some_and(|branch| message.text(branch).starts_with(b"z9hG4bK")));
    }

    /// What holds after every step.
    fn audit(&mut self) {
        let budget = self.budget;
        let unreleased = self.unreleased.len();
        for ledger in self.engine.ledger() {
            assert!(ledger.balances(), "{ledger:?}");
        }
        let counters = self.engine.counters();
        let value = |counter| counters.value(counter);
        assert_eq!(value(Counter::CallsEnded), self.records, "one record for each call that ended");
        assert!(value(Counter::CallsEnded) <= value(Counter::CallsStarted), "a call ended twice");
        assert_eq!(value(Counter::DatagramsOut), self.sends, "datagrams_out counts what is sent");
        let records = value(Counter::CallRecordsLive);
        assert!(value(Counter::CallsLive) <= records && records <= budget.calls.into(), "a call without a record");
        assert!(value(Counter::ServerTransactionsLive) <= budget.server_transactions.into());
        assert!(value(Counter::ClientTransactionsLive) <= budget.client_transactions.into());
        let buffers = value(Counter::BuffersLive);
        assert!(buffers <= budget.buffers.iter().map(|count| u64::from(*count)).sum());
        assert!(unreleased == 0 || buffers > 0, "buffers are gone that the ring still holds");
    }

    /// Everything runs out; nothing is left. (A damaged image may give a call a year.)
    pub(super) fn settle(mut self) {
        self.release(usize::MAX, true);
        self.slow_ring = false;
        self.advance(LONGEST);
        if !self.ours {
            return;
        }
        assert_eq!(self.engine.next_timeout(), None, "a timer runs for ever");
        for gauge in [
            Counter::CallsLive,
            Counter::CallRecordsLive,
            Counter::ServerTransactionsLive,
            Counter::ClientTransactionsLive,
            Counter::ExchangesLive,
            Counter::BuffersLive,
            Counter::TimersLive,
        ] {
            assert_eq!(self.engine.counters().value(gauge), 0, "{gauge:?} after everything ended");
        }
        let counters = self.engine.counters();
        assert_eq!(counters.value(Counter::CallsStarted), counters.value(Counter::CallsEnded));
    }
}

fn remember(past: &mut VecDeque<Datagram>, datagram: Datagram) {
    if past.len() == MEMORY {
        past.pop_front();
    }
    past.push_back(datagram);
}
