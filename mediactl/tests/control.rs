//! The control core between shards that ask and media nodes that answer, over real rings, files and sockets.

#![allow(missing_docs, reason = "a test")]

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant as Stopwatch};

use corelane_core::bus::{ExchangeId, MediaCall, MediaOutcome, MediaReply, MediaRequest, Verb};
use corelane_core::call::{CallRecord, EndReason};
use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::memory::BufferPool;
use corelane_core::message::Writer;
use corelane_core::routing::ProviderSlot;
use corelane_core::siphash::Key;
use corelane_core::steering::{ShardIndex, Steering};
use corelane_core::{BufferRef, Counters, Effect, Effects, Flow, Input, Instant, Now, WallTime};
use corelane_mediactl::control::counter::Counter;
use corelane_mediactl::control::{ClientSpec, ControlCore, MediaHandle, MediaMachine, MediaNode, MediaParts, Outputs};
use corelane_mediactl::rtpengine::client::ClientSettings;
use corelane_mediactl::rtpengine::id::Origin;
use corelane_mediactl::rtpengine::node::{Admin, NodeConfig};
use corelane_shard::{IoKind, Journals, Layout, Node, Protocol, SteeringMode};

/// A shard that asks for media what a datagram says, answers it with what came back, and ends a call where it says `end N`. `hold` makes it
/// say so and stand still until somebody says `go`; `flood N` asks N times for something large, and the N-th reply is answered.
struct Asker {
    pool: BufferPool,
    counters: Counters,
    waiting: Vec<Flow>,
    large: usize,
    holds: mpsc::Sender<()>,
    go: mpsc::Receiver<()>,
}

impl Asker {
    fn new(holds: mpsc::Sender<()>, go: mpsc::Receiver<()>) -> Asker {
        let (pool, counters) = (BufferPool::new([512, 64, 64, 64]), Counters::default());
        Asker { pool, counters, waiting: Vec::new(), large: 0, holds, go }
    }

    fn ask(&mut self, flow: Flow, sdp: &[u8], effects: &mut Effects) {
        self.waiting.push(flow);
        let exchange = ExchangeId { index: self.waiting.len() as u32 - 1, generation: 1 };
        let mut bytes = [0; MESSAGE_SIZE_MAX];
        let mut writer = Writer::new(&mut bytes);
        MediaRequest { exchange, sdp, ..REQUEST }.write(&mut writer);
        let buffer = self.pool.store(writer.finish().expect("it fits")).expect("room");
        effects.push(Effect::Media { buffer });
    }

    fn send(&mut self, flow: Flow, bytes: &[u8], effects: &mut Effects) {
        let buffer = self.pool.store(bytes).expect("room");
        effects.push(Effect::Send { flow, buffer });
    }
}

impl Protocol for Asker {
    fn handle(&mut self, _: Now, input: Input<'_>, effects: &mut Effects) {
        match input {
            Input::Datagram { flow, bytes, .. } => match std::str::from_utf8(bytes).expect("text").split_once(' ') {
                Some(("end", number)) => effects.push(Effect::Ended(ended(number.parse().expect("a number")))),
                Some(("ask", sdp)) => self.ask(flow, sdp.as_bytes(), effects),
                Some(("flood", count)) => {
                    (0..count.parse().expect("a number")).for_each(|_| self.ask(flow, LARGE, effects));
                }
                _ if bytes == b"hold" => {
                    self.holds.send(()).expect("the test hears it");
                    self.go.recv().expect("the test says it");
                }
                _ => self.send(flow, bytes, effects),
            },
            Input::Media(MediaReply { exchange, sdp, .. }) if sdp.len() == MESSAGE_SIZE_MAX => {
                self.large += 1;
                if self.large == FLOOD {
                    self.send(self.waiting[exchange.index as usize], b"all", effects);
                }
            }
            Input::Media(MediaReply { exchange, outcome, node, sdp }) => {
                let text = format!("{outcome:?} {node} {}", String::from_utf8_lossy(sdp));
                self.send(self.waiting[exchange.index as usize], text.as_bytes(), effects);
            }
            Input::Unreachable { .. } | Input::Timeout | Input::Command(_) => {}
        }
    }
    fn buffer(&self, buffer: BufferRef) -> &[u8] {
        self.pool.bytes(buffer)
    }
    fn release(&mut self, buffer: BufferRef) {
        self.pool.release(buffer);
    }
    fn next_timeout(&self) -> Option<Instant> {
        None
    }
    fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }
}

/// What is answered with as much as a message can carry.
const LARGE: &[u8] = b"large";
/// So many of those: more than a ring takes.
const FLOOD: usize = 600;

const REQUEST: MediaRequest<'_> = MediaRequest {
    exchange: ExchangeId::NOBODY,
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
    sdp: b"",
};

fn ended(number: u64) -> CallRecord {
    CallRecord {
        call_hash: number,
        pass: REQUEST.call.pass,
        provider: ProviderSlot(2),
        gateway: None,
        carrier: None,
        attempts: 1,
        status: 200,
        started: WallTime(3),
        answered: None,
        ended: WallTime(4),
        duration: Duration::ZERO,
        reason: EndReason::ByCaller,
        media: true,
    }
}

/// What the machines of a test have seen, over all their lives.
#[derive(Default)]
struct Seen {
    started: u32,
    requests: usize,
    /// How many requests there had been when a call's end came.
    requests_before: Vec<usize>,
    /// Lets a machine go on that was asked to hold.
    go_on: bool,
    ended: Vec<u64>,
    unreachable: u32,
    /// The nodes of the last that was told of them, and which of them take calls.
    nodes: Vec<(u32, bool)>,
    /// Where something is held.
    holds: Option<SocketAddr>,
}

/// Asks the first node that is known and enabled; panics where the SDP, or the number of an ended call, says so, and stands still where it
/// says `hold`.
struct Machine {
    seen: Arc<Mutex<Seen>>,
    nodes: Vec<NodeConfig>,
    asked: Vec<(u16, ExchangeId)>,
}

impl Machine {
    fn new(seen: &Arc<Mutex<Seen>>) -> Machine {
        seen.lock().expect("no panic holds it").started += 1;
        Machine { seen: Arc::clone(seen), nodes: Vec::new(), asked: Vec::new() }
    }
}

impl MediaMachine for Machine {
    type Remains = ();
    fn remains(&mut self) {}
    fn take_up(&mut self, (): ()) {}
    fn configure(&mut self, _: Instant, nodes: Vec<NodeConfig>) {
        let told = nodes.iter().map(|node| (node.id, node.admin == Admin::Enabled)).collect();
        self.seen.lock().expect("no panic holds it").nodes = told;
        self.nodes = nodes;
    }
    fn on_request(&mut self, _: Instant, shard: u16, request: &MediaRequest<'_>, out: &mut impl Outputs) {
        assert!(request.sdp != b"panic", "on purpose");
        while request.sdp == b"hold" && !self.seen.lock().expect("no panic holds it").go_on {
            thread::yield_now();
        }
        self.seen.lock().expect("no panic holds it").requests += 1;
        let MediaRequest { exchange, sdp, .. } = *request;
        if sdp == LARGE {
            let sdp = [b's'; MESSAGE_SIZE_MAX];
            return out.reply(shard, MediaReply { exchange, outcome: MediaOutcome::Done, node: 0, sdp: &sdp });
        }
        let usable = |node: &&NodeConfig| node.admin == Admin::Enabled;
        let Some(NodeConfig { id, address, .. }) = self.nodes.iter().find(usable) else {
            return out.reply(shard, MediaReply { exchange, outcome: MediaOutcome::NoNode, node: 0, sdp: b"" });
        };
        self.asked.push((shard, exchange));
        let bytes = [format!("{} ", self.asked.len() - 1).as_bytes(), sdp].concat();
        out.send(*id, self.asked.len() as u8, *address, &bytes);
    }
    fn on_ended(&mut self, _: Instant, call: &CallRecord, _: &mut impl Outputs) {
        assert!(call.call_hash != 666, "on purpose");
        let mut seen = self.seen.lock().expect("no panic holds it");
        seen.ended.push(call.call_hash);
        let requests = seen.requests;
        seen.requests_before.push(requests);
    }
    fn on_datagram(&mut self, _: Instant, _: u8, from: SocketAddr, bytes: &[u8], out: &mut impl Outputs) {
        let (cookie, sdp) = std::str::from_utf8(bytes).expect("text").split_once(' ').expect("a cookie");
        let (shard, exchange) = self.asked[cookie.parse::<usize>().expect("a number")];
        let node = self.nodes.iter().find(|node| node.address == from).expect("one of ours").id;
        out.reply(shard, MediaReply { exchange, outcome: MediaOutcome::Done, node, sdp: sdp.as_bytes() });
    }
    fn on_unreachable(&mut self, _: Instant, _: u32, _: &mut impl Outputs) {
        self.seen.lock().expect("no panic holds it").unreachable += 1;
    }
    fn on_list(&mut self, _: Instant, _: u32, _: Option<&[u8]>, _: &mut impl Outputs) {}
    fn on_timeout(&mut self, _: Instant, _: &mut impl Outputs) {}
    fn next_timeout(&self) -> Instant {
        Instant::NEVER
    }
    fn holds(&self) -> Vec<SocketAddr> {
        self.seen.lock().expect("no panic holds it").holds.into_iter().collect()
    }
    fn foreign(&self) -> u64 {
        0
    }
    fn answers(&self, _: u32) -> bool {
        true
    }
    fn pays(&self, _: Instant) -> bool {
        false
    }
    fn counters(&mut self, each: &mut dyn FnMut(&'static str, u64)) {
        each("test_asked", self.asked.len() as u64);
    }
}

/// A control core, one shard, and whoever calls it.
struct World {
    control: ControlCore,
    node: Node,
    media: MediaHandle,
    seen: Arc<Mutex<Seen>>,
    peer: UdpSocket,
    holds: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
}

impl World {
    fn start(directory: &Path, nodes: Vec<MediaNode>) -> World {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let machines = Arc::clone(&seen);
        let world = World::with(directory, nodes, Box::new(move |_| Ok(Machine::new(&machines))));
        World { seen, ..world }
    }

    fn with<M: MediaMachine + 'static>(
        directory: &Path,
        nodes: Vec<MediaNode>,
        make: Box<dyn FnMut(Now) -> std::io::Result<M> + Send>,
    ) -> World {
        let control = ControlCore::start(None).expect("a thread");
        let journals = Journals::open(directory, 1, 1_000).expect("journals");
        let layout = Layout {
            cpus: vec![None],
            listeners: vec!["127.0.0.1:0".parse().expect("a literal")],
            table: Steering::even(Key::new(*b"a key for tests."), 1),
            steering: SteeringMode::Forward,
            io: IoKind::Mmsg,
            shed_in_kernel: false,
            journals: journals.writers,
        };
        let ((go, going), (held, holds)) = (mpsc::channel(), mpsc::channel());
        let mut ways = Some((held, going));
        let asker = |_: ShardIndex, _: &[SocketAddr]| {
            let (held, going) = ways.take().expect("one shard");
            move |_| Asker::new(held, going)
        };
        let mut node = Node::start_with(layout, asker).expect("loopback");
        let parts = MediaParts {
            bus: node.take_bus().expect("a new node has it"),
            journals: journals.readers,
            nodes,
            sockets: 4,
            reconcile_interval: Duration::from_secs(30),
            make,
        };
        let media = control.serve_media(parts).expect("the first");
        let peer = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        peer.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        World { control, node, media, seen: Arc::default(), peer, holds, go }
    }

    fn say(&self, text: &str) {
        self.peer.send_to(text.as_bytes(), self.node.local_addresses()[0]).expect("loopback");
    }

    #[track_caller]
    fn hear(&self) -> String {
        let mut buffer = [0; 1024];
        loop {
            match self.peer.recv(&mut buffer) {
                // A socket with a time limit is interrupted when its process was stopped for a while.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => {
                    let length = received.expect("an answer");
                    return String::from_utf8(buffer[..length].to_vec()).expect("text");
                }
            }
        }
    }

    #[track_caller]
    fn until(&self, what: impl Fn(&World) -> bool) {
        let began = Stopwatch::now();
        while !what(self) {
            assert!(began.elapsed() < Duration::from_secs(30), "it does not come");
            thread::yield_now();
        }
    }

    fn stop(self) -> Arc<corelane_mediactl::control::counter::Shared> {
        self.node.stop();
        self.node.join().expect("a clean end");
        self.control.stop()
    }
}

fn row(id: u32, host: &str, port: u16) -> MediaNode {
    MediaNode { id, set: 0, host: host.to_owned(), port, weight: 1, max_sessions: 10, enabled: true }
}

/// A node that sends everything back, for as long as the test runs.
fn echo_node() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let port = socket.local_addr().expect("bound").port();
    echo(socket);
    port
}

fn echo(socket: UdpSocket) {
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
}

#[test]
fn a_shard_asks_and_a_node_answers() {
    let directory = tempfile::tempdir().expect("a directory");
    // A name, so that a look-up is part of it; nobody asks before it is answered.
    let world = World::start(directory.path(), vec![row(7, "localhost", echo_node_v4_and_v6())]);
    world.until(|world| {
        world.say("ask sdp");
        world.hear() == "Done 1 sdp"
    });
    for number in 0..300 {
        world.say(&format!("ask {number}"));
        assert_eq!(world.hear(), format!("Done 1 {number}"));
    }
    world.until(|world| world.media.counters().iter().any(|(name, value)| *name == "test_asked" && *value >= 300));
    let counters = world.stop();
    assert_eq!((counters.value(Counter::Panics), counters.value(Counter::RepliesKept)), (0, 0));
}

/// `localhost` may be either.
fn echo_node_v4_and_v6() -> u16 {
    loop {
        let port = echo_node();
        match UdpSocket::bind(("::1", port)) {
            Ok(socket) => echo(socket),
            Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
            // Then it is no name of this machine.
            Err(_) => {}
        }
        return port;
    }
}

#[test]
fn a_dead_node_is_told_by_the_kernel_and_delays_no_shard() {
    let directory = tempfile::tempdir().expect("a directory");
    // The port is taken, so that no other test gets it, but by a socket that takes datagrams of one peer only, which is not there. The kernel
    // refuses everybody else's.
    let deaf = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    deaf.connect("127.0.0.1:9").expect("loopback");
    let port = deaf.local_addr().expect("bound").port();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let silent_port = silent.local_addr().expect("bound").port();
    let mut rows = vec![row(1, "127.0.0.1", port), row(2, "127.0.0.1", silent_port)];
    let world = World::start(directory.path(), rows.clone());
    for node in 0..2 {
        for number in 0..100 {
            world.say("ask sdp");
            world.say(&format!("{number}"));
            assert_eq!(world.hear(), format!("{number}"), "what needs no media waits for nobody");
        }
        // Asked of this node: orders of the operator overtake what lies in the rings.
        world.until(|world| world.seen.lock().expect("no panic").requests == (node + 1) * 100);
        rows[node].enabled = false;
        world.until(|world| world.media.take_nodes(rows.clone()));
        // What is asked from now on goes elsewhere.
        let drained = (rows[node].id, false);
        world.until(|world| world.seen.lock().expect("no panic").nodes.contains(&drained));
    }
    world.until(|world| world.seen.lock().expect("no panic").unreachable > 0);
    world.say("ask sdp");
    assert_eq!(world.hear(), "NoNode 0 ");
    rows[1].enabled = true;
    world.until(|world| world.media.take_nodes(rows.clone()));
    world.until(|world| world.seen.lock().expect("no panic").nodes.contains(&(rows[1].id, true)));
    world.say("ask again");
    silent.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let mut buffer = [0; 64];
    loop {
        let length = silent.recv(&mut buffer).expect("what was asked");
        if buffer[..length].ends_with(b"again") {
            break;
        }
    }
    world.stop();
}

#[test]
fn a_node_without_a_row_is_forgotten_when_nothing_is_owed_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let rows = [row(1, "127.0.0.1", echo_node()), row(2, "127.0.0.1", echo_node())];
    let world = World::start(directory.path(), rows.to_vec());
    let told = |nodes: &[(u32, bool)]| world.until(|world| world.seen.lock().expect("no panic").nodes == nodes);
    told(&[(1, true), (2, true)]);
    world.seen.lock().expect("no panic").holds = Some(([127, 0, 0, 1], rows[0].port).into());
    assert!(world.media.take_nodes(vec![rows[1].clone()]));
    told(&[(1, false), (2, true)]);
    world.say("ask sdp");
    assert_eq!(world.hear(), "Done 2 sdp");
    world.seen.lock().expect("no panic").holds = None;
    told(&[(2, true)]);
    world.stop();
}

/// The control core keeps what a shard has no room for, and loses none of it.
#[test]
fn replies_wait_for_a_shard_that_stands_still() {
    let directory = tempfile::tempdir().expect("a directory");
    let world = World::start(directory.path(), Vec::new());
    // Nothing is answered before the shard stands still: else it may have read most of it by then.
    world.say("ask hold");
    (0..FLOOD / 30).for_each(|_| world.say("flood 30"));
    world.say("hold");
    world.holds.recv_timeout(Duration::from_secs(30)).expect("the shard stands still");
    world.seen.lock().expect("no panic").go_on = true;
    world.until(|world| world.control.counters().value(Counter::RepliesKept) > 0);
    world.go.send(()).expect("the shard listens");
    assert_eq!(world.hear(), "NoNode 0 ", "what was asked first");
    assert_eq!(world.hear(), "all");
    let counters = world.stop();
    assert_eq!(counters.value(Counter::RepliesWaiting), 0);
}

#[test]
fn a_name_that_does_not_resolve_is_a_node_that_is_not_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let world =
        World::start(directory.path(), vec![row(1, "no.such.name.invalid", 2223), row(2, "127.0.0.1", echo_node())]);
    world.say("ask sdp");
    assert_eq!(world.hear(), "Done 1 sdp");
    world.stop();
}

#[test]
fn ended_calls_are_read_acknowledged_and_read_at_the_end_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let world = World::start(directory.path(), Vec::new());
    for number in 1..=100 {
        world.say(&format!("end {number}"));
    }
    world.until(|world| world.seen.lock().expect("no panic").ended.len() == 100);
    let seen = Arc::clone(&world.seen);
    world.say("end 101");
    world.say("last");
    assert_eq!(world.hear(), "last");
    let counters = world.stop();
    assert_eq!(seen.lock().expect("no panic").ended, (1..=101).collect::<Vec<_>>());
    assert_eq!(counters.value(Counter::RecordsRead), 101);
    let mut journals = Journals::open(directory.path(), 1, 1_000).expect("journals");
    assert!(journals.readers[0].next_record().is_none(), "all are acknowledged");
}

/// More requests than one turn takes, and then the end of a call: were it read first, nobody would owe what its last offer opens.
#[test]
fn the_end_of_a_call_does_not_overtake_its_requests() {
    let directory = tempfile::tempdir().expect("a directory");
    let world = World::start(directory.path(), Vec::new());
    world.say("ask hold");
    for number in 0..10 {
        (0..5).for_each(|_| world.say("flood 6"));
        world.say(&format!("end {number}"));
    }
    world.say("last");
    assert_eq!(world.hear(), "last", "the shard has asked for everything");
    world.seen.lock().expect("no panic").go_on = true;
    world.until(|world| world.seen.lock().expect("no panic").ended.len() == 10);
    for (number, requests) in world.seen.lock().expect("no panic").requests_before.iter().enumerate() {
        assert!(*requests > (number + 1) * 30, "end {number} after {requests} requests");
    }
    world.stop();
}

#[test]
fn a_panic_in_the_media_task_is_survived() {
    let directory = tempfile::tempdir().expect("a directory");
    let world = World::start(directory.path(), vec![row(1, "127.0.0.1", echo_node())]);
    world.say("ask sdp");
    assert_eq!(world.hear(), "Done 1 sdp");
    for (panics, bad) in [(1, "ask panic"), (2, "end 666")] {
        world.say(bad);
        world.until(|world| world.control.counters().value(Counter::Panics) == panics);
        world.say("end 1");
        world.say("ask more");
        assert_eq!(world.hear(), "Done 1 more", "the next machine does it");
    }
    world.until(|world| world.seen.lock().expect("the panic was outside").ended == [1, 1]);
    assert_eq!(world.seen.lock().expect("no panic").started, 3);
    world.stop();
    let mut journals = Journals::open(directory.path(), 1, 1_000).expect("journals");
    assert!(journals.readers[0].next_record().is_none(), "the record that nobody can take is passed over");
}

/// What a media node that speaks ng was asked: verbs with the ids of their sessions.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// A media node that speaks ng, as far as these tests need it.
fn ng_node() -> (u16, Asked) {
    ng_node_deaf_to("")
}

/// The same, but for a verb that it hears and never answers. What is asked again, on a busy machine, is answered again and noted once.
fn ng_node_deaf_to(deaf: &'static str) -> (u16, Asked) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let port = socket.local_addr().expect("bound").port();
    let asked: Asked = Arc::default();
    let heard = Arc::clone(&asked);
    thread::spawn(move || {
        let mut buffer = [0; 16_384];
        let mut cookies = HashSet::new();
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let (cookie, question) = text.split_once(' ').expect("a cookie");
            let after = |key: &str| {
                let (_, value) = question.split_once(key)?;
                let (length, value) = value.split_once(':')?;
                Some(value[..length.parse().ok()?].to_owned())
            };
            let verb = after("7:command").expect("a verb");
            let reply = match verb.as_str() {
                "ping" => "d6:result4:ponge",
                "offer" | "answer" => "d6:result2:ok3:sdp7:relayede",
                _ => "d6:result2:oke",
            };
            let answers = verb != deaf;
            if cookies.insert(cookie.to_owned()) {
                heard.lock().expect("no panic").push((verb, after("7:call-id").unwrap_or_default()));
            }
            if !answers {
                continue;
            }
            let _ = socket.send_to(format!("{cookie} {reply}").as_bytes(), from);
        }
    });
    (port, asked)
}

fn asked(asked: &Asked, verb: &str) -> Vec<String> {
    let asked = asked.lock().expect("no panic");
    asked.iter().filter(|(asked, _)| asked == verb).map(|(_, session)| session.clone()).collect()
}

/// A world with the product's client, whose one node is at this port.
fn with_client(directory: &Path, port: u16, boot: u64) -> World {
    let settings = ClientSettings {
        origin: Origin { node: 5, boot },
        sockets: 4,
        // Far beyond any pause of a busy machine: what is given up is asked elsewhere, or under another cookie.
        deadline: Duration::from_secs(20),
        orphan_age: Duration::from_secs(60),
        debt_age: Duration::from_secs(3900),
    };
    let client = ClientSpec::new(directory, 100, settings, Vec::new());
    World::with(directory, vec![row(9, "127.0.0.1", port)], Box::new(move |now| client.make(now)))
}

/// The call of these tests on its node, in a boot.
fn session(boot: u64) -> String {
    format!("5-{boot:016x}-{:016x}-{:08x}", REQUEST.call.call_hash, REQUEST.call.pass)
}

/// Ends the call and stops the world at once; what the next one finds owed.
fn ended_and_stopped(port: u16) -> u64 {
    let directory = tempfile::tempdir().expect("a directory");
    let world = with_client(directory.path(), port, 100);
    world.say("ask v=0");
    assert_eq!(world.hear(), "Done 1 relayed");
    world.say("end 1");
    world.say("last");
    assert_eq!(world.hear(), "last", "the end lies in the journal");
    world.stop();
    let world = with_client(directory.path(), port, 101);
    let owed = |world: &World| world.media.counters().iter().find(|(name, _)| *name == "media_records_owed").copied();
    world.until(|world| owed(world).is_some());
    let owed = owed(&world).expect("just seen").1;
    world.stop();
    owed
}

/// A row whose address changes, while calls go on and over a restart: what the old address has is asked of it, never of the new one.
#[test]
fn deletes_go_where_their_offers_went_whatever_the_row_means_now() {
    let directory = tempfile::tempdir().expect("a directory");
    let [(first, firsts), (second, seconds), (third, thirds)] = [(); 3].map(|()| ng_node());
    let paid = |world: &World| world.until(|world| world.media.counters().contains(&("media_deletes_paid", 1)));
    let world = with_client(directory.path(), first, 100);
    world.say("ask v=0");
    assert_eq!(world.hear(), "Done 1 relayed");
    assert!(world.media.take_nodes(vec![row(9, "127.0.0.1", second)]));
    world.until(|_| !asked(&seconds, "ping").is_empty());
    world.say("end 1");
    paid(&world);
    assert_eq!((asked(&firsts, "delete"), asked(&seconds, "delete").len()), (vec![session(100)], 0));

    // Another call, on the new address; then the end of the process, and another table at the next start.
    world.say("ask v=0");
    assert_eq!(world.hear(), "Done 2 relayed");
    world.stop();
    let world = with_client(directory.path(), third, 101);
    paid(&world);
    assert_eq!((asked(&seconds, "delete"), asked(&thirds, "delete").len()), (vec![session(100)], 0));
    world.until(|world| world.media.counters().contains(&("media_sessions_stranded", 0)));
    world.stop();
}

#[test]
fn the_end_waits_for_deletes_that_are_due() {
    let (port, node) = ng_node();
    assert_eq!(ended_and_stopped(port), 0, "nothing is left to the next start");
    assert_eq!(asked(&node, "delete"), [session(100)]);
}

#[test]
fn what_no_node_acknowledges_stays_owed_over_the_end() {
    let (port, node) = ng_node_deaf_to("delete");
    assert_eq!(ended_and_stopped(port), 1);
    let began = Stopwatch::now();
    while asked(&node, "delete").len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(30), "only one of them has asked");
        thread::yield_now();
    }
}

#[test]
fn the_ng_client_relays_and_pays_what_a_call_owes_over_restarts_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let (port, node) = ng_node();
    let start = |boot| with_client(directory.path(), port, boot);

    // A call that ends: `end 1` is the record of the very call that asks.
    let world = start(100);
    world.say("ask v=0");
    assert_eq!(world.hear(), "Done 1 relayed");
    assert!(asked(&node, "delete").is_empty(), "the call lives");
    world.say("end 1");
    world.until(|world| world.media.counters().contains(&("media_deletes_paid", 1)));
    assert_eq!(asked(&node, "delete"), [session(100)]);

    // One that lives when the process ends: its session is of another boot then, and owed.
    world.say("ask v=0");
    assert_eq!(world.hear(), "Done 1 relayed");
    world.stop();
    let world = start(101);
    world.until(|world| world.media.counters().contains(&("media_deletes_paid", 1)));
    world.stop();
    assert_eq!(asked(&node, "offer"), [session(100), session(100)]);
    assert!(asked(&node, "delete").iter().all(|found| *found == session(100)));

    let world = start(102);
    world.say("ask v=0");
    assert_eq!(world.hear(), "Done 1 relayed");
    assert_eq!(asked(&node, "offer").last(), Some(&session(102)));
    world.stop();
    assert_eq!(asked(&node, "delete").len(), 2, "everything is paid once");
}
