//! A stand-in for the engine that answers each datagram with what it saw.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "shared by several test programs")]

use std::fmt::Write;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use corelane_core::bus::{ExchangeId, MediaCall, MediaReply, MediaRequest, Verb};
use corelane_core::call::{CallRecord, EndReason};
use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::memory::BufferPool;
use corelane_core::message::Writer;
use corelane_core::routing::ProviderSlot;
use corelane_core::siphash::Key;
use corelane_core::steering::{ShardIndex, Steering};
use corelane_core::{BufferRef, Counter, Counters, Effect, Effects, Endpoint, Flow, Input, Instant, Now, WallTime};
use corelane_shard::{IoKind, Layout, Node, Protocol, SteeringMode};

/// Both backends.
pub const BOTH: [IoKind; 2] = [IoKind::Mmsg, IoKind::Ring];

/// Answers a datagram with `<shard> <first line>`. First lines it acts on:
///
/// - `later <ms>`: answers when that time has passed
/// - `to <address>`: sends to that address instead
/// - `again <address>`: sends the whole datagram on to that address: to the listener's own it goes round for ever
/// - `watch`: from now on it reports unreachable peers to whoever asked
/// - `age`: answers how many microseconds ago it was received
/// - `many <n>`: answers n times
/// - `ask <n>`: asks for media n times; answers each reply with its outcome, exchange, node and SDP
/// - `end <n>`: a call ended whose duration is n microseconds
/// - `shed <pass>`: of this source's new calls so many in 65,536 are to pass from now on
/// - `hear`: from now on it reports commands to whoever asked
pub struct Echo {
    shard: ShardIndex,
    pool: BufferPool,
    counters: Counters,
    due: Option<(Instant, Flow)>,
    watcher: Option<Flow>,
    asker: Option<Flow>,
    listener: Option<Flow>,
    /// What the journal keeps room for.
    live: u32,
}

impl Echo {
    pub fn new(shard: ShardIndex) -> Echo {
        Echo {
            shard,
            pool: BufferPool::new([512, 64, 64, 64]),
            counters: Counters::default(),
            due: None,
            watcher: None,
            asker: None,
            listener: None,
            live: 0,
        }
    }

    /// The same, of so many live calls.
    pub fn with_live(self, live: u32) -> Echo {
        Echo { live, ..self }
    }

    fn ask(&mut self, exchange: u32, effects: &mut Effects) {
        let request = MediaRequest {
            exchange: ExchangeId { index: exchange, generation: 1 },
            call: MediaCall { call_hash: 1, pass: 2 },
            started_us: 3,
            since_us: 0,
            set: 0,
            node: 0,
            verb: Verb::Offer,
            attempt: 1,
            from_tag: b"from",
            to_tag: b"",
            flags: b"",
            sdp: &[b's'; 6000],
        };
        let mut bytes = [0; MESSAGE_SIZE_MAX];
        let mut writer = Writer::new(&mut bytes);
        request.write(&mut writer);
        let buffer = self.pool.store(writer.finish().expect("it fits")).expect("the loop releases what it took");
        effects.push(Effect::Media { buffer });
    }

    fn send(&mut self, flow: Flow, text: &[u8], effects: &mut Effects) {
        let mut message = arrayvec::ArrayVec::<u8, 512>::new();
        message.push(b'0' + self.shard.0);
        message.push(b' ');
        message.extend(text.iter().copied().take(500));
        let buffer = self.pool.store(&message).expect("the loop releases what it sent");
        effects.push(Effect::Send { flow, buffer });
    }
}

impl Protocol for Echo {
    fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Effects) {
        assert!(effects.is_empty(), "all effects are taken before the next input");
        match input {
            Input::Datagram { flow, bytes, received_at, .. } => {
                self.counters.count(Counter::DatagramsIn);
                assert!(received_at <= now.monotonic);
                let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
                let text = std::str::from_utf8(line).unwrap_or_default();
                match text.split_once(' ') {
                    Some(("later", ms)) => {
                        let ms = ms.parse().expect("milliseconds");
                        self.due = Some((now.monotonic.after(Duration::from_millis(ms)), flow));
                    }
                    Some(("to", address)) => {
                        let peer = Endpoint::from(address.parse::<SocketAddr>().expect("an address"));
                        self.send(Flow { peer, ..flow }, b"sent", effects);
                    }
                    Some(("again", address)) => {
                        let peer = Endpoint::from(address.parse::<SocketAddr>().expect("an address"));
                        let buffer = self.pool.store(bytes).expect("the loop releases what it sent");
                        effects.push(Effect::Send { flow: Flow { peer, ..flow }, buffer });
                    }
                    Some(("many", count)) => {
                        (0..count.parse().expect("a count")).for_each(|_| self.send(flow, line, effects));
                    }
                    Some(("ask", count)) => {
                        self.asker = Some(flow);
                        (0..count.parse().expect("a count")).for_each(|exchange| self.ask(exchange, effects));
                    }
                    Some(("shed", pass)) => {
                        let pass = pass.parse().expect("a share");
                        effects.push(Effect::Shed { source: flow.peer.ip, pass });
                        self.send(flow, line, effects);
                    }
                    Some(("end", number)) => effects.push(Effect::Ended(ended(number.parse().expect("a number")))),
                    _ if text == "hear" => {
                        self.listener = Some(flow);
                        self.send(flow, b"hearing", effects);
                    }
                    _ if text == "age" => {
                        let age = now.monotonic.since(received_at).as_micros();
                        self.send(flow, format!("age {age}").as_bytes(), effects);
                    }
                    _ if text == "watch" => {
                        self.watcher = Some(flow);
                        self.send(flow, b"watching", effects);
                    }
                    _ => self.send(flow, line, effects),
                }
            }
            Input::Command(command) => {
                if let Some(listener) = self.listener {
                    self.send(listener, format!("{command:?}").as_bytes(), effects);
                }
            }
            Input::Media(reply) => {
                let MediaReply { exchange, outcome, node, sdp } = reply;
                // On the stack: one test counts allocations.
                let mut text = arrayvec::ArrayString::<512>::new();
                let sdp = std::str::from_utf8(sdp).expect("the tests' own");
                write!(text, "{outcome:?} {} {node} {sdp}", exchange.index).expect("it is short");
                self.send(self.asker.expect("nobody else asks"), text.as_bytes(), effects);
            }
            Input::Unreachable { flow, .. } => {
                if let Some(watcher) = self.watcher {
                    self.send(watcher, format!("unreachable {}", flow.peer).as_bytes(), effects);
                }
            }
            Input::Timeout => {
                let (due, flow) = self.due.take().expect("only when one is due");
                assert!(due <= now.monotonic);
                self.send(flow, b"time", effects);
            }
        }
    }

    fn buffer(&self, buffer: BufferRef) -> &[u8] {
        self.pool.bytes(buffer)
    }

    fn release(&mut self, buffer: BufferRef) {
        self.pool.release(buffer);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.due.map(|(due, _)| due)
    }

    fn counters(&mut self) -> &mut Counters {
        self.counters.set(Counter::BuffersLive, u64::from(self.pool.live()));
        &mut self.counters
    }

    fn live_calls(&self) -> u32 {
        self.live
    }
}

/// The record of a call that says its number.
pub fn ended(number: u64) -> CallRecord {
    CallRecord {
        call_hash: number,
        pass: 1,
        provider: ProviderSlot(2),
        gateway: None,
        carrier: None,
        attempts: 1,
        status: 200,
        started: WallTime(3),
        answered: None,
        ended: WallTime(4),
        duration: Duration::from_micros(number),
        reason: EndReason::ByCaller,
        media: true,
    }
}

/// The steering table of the tests' nodes.
pub fn table(shards: usize) -> Steering {
    Steering::even(Key::new(*b"a key for tests."), shards as u8)
}

/// A layout on loopback.
pub fn layout(shards: usize, listeners: &[&str], io: IoKind) -> Layout {
    Layout {
        // More shards than cores is allowed, and a core that the machine lacks means unpinned.
        cpus: (0..shards).map(Some).collect(),
        listeners: listeners.iter().map(|text| text.parse().expect("a literal")).collect(),
        table: table(shards),
        steering: SteeringMode::Forward,
        io,
        shed_in_kernel: false,
        journals: Vec::new(),
    }
}

/// A node of echoes.
pub fn echoes(shards: usize, listeners: &[&str], io: IoKind) -> Node {
    Node::start_with(layout(shards, listeners, io), |shard, _| move |_| Echo::new(shard)).expect("loopback")
}

/// A peer that gives up after a while, so that a loss fails a test instead of holding it.
pub fn peer(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("loopback");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    socket
}

/// An address where nobody listens for as long as this is held: the port is taken, so that no other test gets it, but by a socket that
/// takes datagrams of one peer only, which is not there. The kernel refuses everybody else's.
pub fn deaf(address: &str) -> UdpSocket {
    let socket = peer(address);
    socket.connect((socket.local_addr().expect("bound").ip(), 9)).expect("loopback");
    socket
}

/// The next datagram as text.
pub fn hear(socket: &UdpSocket) -> String {
    let mut buffer = [0; 1024];
    loop {
        match socket.recv(&mut buffer) {
            // A socket with a time limit is interrupted when its process was stopped for a while.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => {
                let length = received.expect("a datagram");
                return String::from_utf8(buffer[..length].to_vec()).expect("text");
            }
        }
    }
}
