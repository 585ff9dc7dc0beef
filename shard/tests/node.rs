//! Whole nodes on loopback: the loop, the timers, the ways between shards, start and stop.

mod echo;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use corelane_core::steering::ShardIndex;
use corelane_core::{BufferRef, Counter, Counters, Effects, Input, Instant, Now};
use corelane_shard::{IoKind, Layout, Node, Protocol, SheddingInUse, StartError, SteeringInUse, SteeringMode};
use echo::{BOTH, Echo, deaf, echoes, hear, layout, peer, table};

fn message(line: &str, call_id: &str) -> Vec<u8> {
    format!("{line}\r\nVia: x\r\nCall-ID: {call_id}\r\n\r\n").into_bytes()
}

#[test]
fn datagrams_are_answered_and_every_buffer_comes_back() {
    for io in BOTH {
        let node = echoes(1, &["127.0.0.1:0", "[::1]:0"], io);
        assert_eq!(node.steering_in_use(), &SteeringInUse::Single);
        let addresses = node.local_addresses().to_vec();
        for (address, local) in addresses.iter().zip(["127.0.0.1:0", "[::1]:0"]) {
            let peer = peer(local);
            for number in 0..300 {
                peer.send_to(format!("ping {number}").as_bytes(), address).expect("loopback");
                assert_eq!(hear(&peer), format!("0 ping {number}"));
            }
            // More effects in a turn than one flush holds.
            for _ in 0..5 {
                peer.send_to(b"many 30", address).expect("loopback");
            }
            for _ in 0..150 {
                assert_eq!(hear(&peer), "0 many 30");
            }
        }
        node.stop();
        let counters = node.join().expect("a clean end");
        assert_eq!(counters[0].value(Counter::DatagramsIn), 610);
        assert_eq!(counters[0].value(Counter::BuffersLive), 0);
        assert_eq!(counters[0].value(Counter::SendFailed), 0);
    }
}

#[test]
fn a_timer_fires_without_traffic() {
    for io in BOTH {
        let node = echoes(1, &["127.0.0.1:0"], io);
        let peer = peer("127.0.0.1:0");
        for ms in [0, 1, 20] {
            peer.send_to(format!("later {ms}").as_bytes(), node.local_addresses()[0]).expect("loopback");
            assert_eq!(hear(&peer), "0 time");
        }
        node.stop();
        node.join().expect("a clean end");
    }
}

#[test]
fn every_message_of_a_call_meets_its_owner_whatever_port_it_comes_from() {
    for io in BOTH {
        for shards in [2, 4] {
            let node = echoes(shards, &["127.0.0.1:0", "[::1]:0"], io);
            assert_eq!(node.steering_in_use(), &SteeringInUse::Forward { why: None });
            let steering = table(shards);
            for (address, local) in node.local_addresses().iter().zip(["127.0.0.1:0", "[::1]:0"]) {
                let peers: Vec<_> = (0..16).map(|_| peer(local)).collect();
                for call in 0..20 {
                    let call_id = format!("call-{call}@example");
                    let ShardIndex(owner) = steering.owner(steering.slot_of_call_id(call_id.as_bytes()));
                    for peer in &peers {
                        peer.send_to(&message("hello", &call_id), address).expect("loopback");
                        assert_eq!(hear(peer), format!("{owner} hello"), "{shards} shards");
                    }
                }
            }
            node.stop();
            let counters = node.join().expect("a clean end");
            let sum = |counter| counters.iter().map(|counters| counters.value(counter)).sum::<u64>();
            assert_eq!(sum(Counter::DatagramsIn), 640);
            assert!(sum(Counter::DatagramsForwarded) > 0, "sixteen ports do not all hash to the owner");
            assert_eq!((sum(Counter::ForwardDropped), sum(Counter::BuffersLive)), (0, 0));
        }
    }
}

#[test]
fn an_icmp_error_that_names_no_call_reaches_every_shard() {
    for io in BOTH {
        let shards = 4;
        let node = echoes(shards, &["127.0.0.1:0"], io);
        let address = node.local_addresses()[0];
        let steering = table(shards);
        let call_of = |shard: usize| {
            (0..)
                .map(|call| format!("call-{call}"))
                .find(|call_id| steering.owner(steering.slot_of_call_id(call_id.as_bytes())) == ShardIndex(shard as u8))
        };
        let calls: Vec<String> = (0..shards).map(|shard| call_of(shard).expect("some call is its own")).collect();
        let watcher = peer("127.0.0.1:0");
        for (shard, call_id) in calls.iter().enumerate() {
            watcher.send_to(&message("watch", call_id), address).expect("loopback");
            assert_eq!(hear(&watcher), format!("{shard} watching"));
        }
        for call_id in &calls {
            let held = deaf("127.0.0.1:0");
            let dead = held.local_addr().expect("bound");
            watcher.send_to(&message(&format!("to {dead}"), call_id), address).expect("loopback");
            let mut heard: Vec<String> = (0..shards).map(|_| hear(&watcher)).collect();
            heard.sort();
            let expected: Vec<String> = (0..shards).map(|shard| format!("{shard} unreachable {dead}")).collect();
            assert_eq!(heard, expected, "whichever shard sent");
        }
        node.stop();
        node.join().expect("a clean end");
    }
}

#[test]
fn an_icmp_error_that_names_its_call_reaches_its_shard_alone() {
    for io in BOTH {
        let shards = 4;
        let node = echoes(shards, &["127.0.0.1:0"], io);
        let address = node.local_addresses()[0];
        let steering = table(shards);
        let owner = |call_id: &str| steering.owner(steering.slot_of_call_id(call_id.as_bytes()));
        let calls: Vec<String> = (0..64).map(|call| format!("call-{call}")).collect();
        let watcher = peer("127.0.0.1:0");
        for shard in 0..shards {
            let call_id = calls.iter().find(|id| owner(id) == ShardIndex(shard as u8)).expect("one of 64 is its own");
            watcher.send_to(&message("watch", call_id), address).expect("loopback");
            assert_eq!(hear(&watcher), format!("{shard} watching"));
        }
        let unheard_of = || peer("127.0.0.1:0").local_addr().expect("bound");
        for call_id in &calls {
            let dead = unheard_of();
            watcher.send_to(&message(&format!("again {dead}"), call_id), address).expect("loopback");
            assert_eq!(hear(&watcher), format!("{} unreachable {dead}", owner(call_id).0));
        }
        // What another shard had been told of the first would come before what all are told now.
        let dead = unheard_of();
        watcher.send_to(&message(&format!("to {dead}"), &calls[0]), address).expect("loopback");
        for _ in 0..shards {
            assert!(hear(&watcher).ends_with(&format!(" unreachable {dead}")));
        }
        node.stop();
        node.join().expect("a clean end");
    }
}

/// Stands still at its first input, says so, and goes on when it is let go.
struct Slow {
    echo: Echo,
    gate: Option<mpsc::Receiver<()>>,
    stands: mpsc::Sender<()>,
}

impl Protocol for Slow {
    fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Effects) {
        if let Some(gate) = self.gate.take() {
            // Not every test listens.
            let _ = self.stands.send(());
            gate.recv().expect("the test lets it go");
        }
        self.echo.handle(now, input, effects);
    }
    fn buffer(&self, buffer: BufferRef) -> &[u8] {
        self.echo.buffer(buffer)
    }
    fn release(&mut self, buffer: BufferRef) {
        self.echo.release(buffer);
    }
    fn next_timeout(&self) -> Option<Instant> {
        self.echo.next_timeout()
    }
    fn counters(&mut self) -> &mut Counters {
        self.echo.counters()
    }
}

/// How long a datagram waited by the shard's account, that came while the shard stood still and was left for `wait`.
fn age_after(wait: Duration, io: IoKind) -> Duration {
    let (open, gate) = mpsc::channel();
    let (stands, standing) = mpsc::channel();
    let mut parts = Some((gate, stands));
    let node = Node::start_with(layout(1, &["127.0.0.1:0"], io), |shard, _| {
        let (gate, stands) = parts.take().expect("one shard");
        move |_| Slow { echo: Echo::new(shard), gate: Some(gate), stands }
    })
    .expect("loopback");
    let (peer, address) = (peer("127.0.0.1:0"), node.local_addresses()[0]);
    peer.send_to(b"hello", address).expect("loopback");
    standing.recv().expect("the shard stands");
    peer.send_to(b"age", address).expect("loopback");
    std::thread::sleep(wait);
    open.send(()).expect("it waits");
    assert_eq!(hear(&peer), "0 hello");
    let heard = hear(&peer);
    node.stop();
    node.join().expect("a clean end");
    Duration::from_micros(heard.strip_prefix("0 age ").and_then(|age| age.parse().ok()).expect("microseconds"))
}

#[test]
fn waiting_in_the_sockets_buffer_is_seen() {
    // The time that passes is what is measured: it is no guess that something will be done by then.
    const WAIT: Duration = Duration::from_millis(20);
    for io in BOTH {
        // The kernel starts to stamp a moment after the first socket of the machine has asked it to: this one asks all the time.
        let asking = echoes(1, &["127.0.0.1:0"], io);
        let began = std::time::Instant::now();
        while age_after(WAIT, io) < WAIT {
            assert!(began.elapsed() < Duration::from_secs(30), "the wait is not seen");
        }
        asking.stop();
        asking.join().expect("a clean end");
    }
}

/// To a shard that stood still a timer is due whose answer waits in its socket: the answer is heard first.
#[test]
fn a_timer_does_not_overtake_what_arrived_before() {
    const DUE: Duration = Duration::from_millis(1);
    for io in BOTH {
        let (open, gate) = mpsc::channel();
        let (stands, standing) = mpsc::channel();
        let mut parts = Some((gate, stands));
        let node = Node::start_with(layout(1, &["127.0.0.1:0"], io), |shard, _| {
            let (gate, stands) = parts.take().expect("one shard");
            move |_| Slow { echo: Echo::new(shard), gate: Some(gate), stands }
        })
        .expect("loopback");
        let (peer, address) = (peer("127.0.0.1:0"), node.local_addresses()[0]);
        peer.send_to(b"later 1", address).expect("loopback");
        standing.recv().expect("the shard stands");
        peer.send_to(b"the answer", address).expect("loopback");
        // The time that passes is what is meant: the timer was due before the shard goes on.
        std::thread::sleep(2 * DUE);
        open.send(()).expect("it waits");
        assert_eq!([hear(&peer), hear(&peer)], ["0 the answer", "0 time"]);
        node.stop();
        node.join().expect("a clean end");
    }
}

#[test]
fn a_shard_that_stands_still_stops_nobody_else() {
    for io in BOTH {
        let (open, gate) = mpsc::channel();
        let mut gate = Some(gate);
        let node = Node::start_with(layout(2, &["127.0.0.1:0"], io), |shard, _| {
            let gate = if shard.0 == 1 { gate.take() } else { None };
            move |_| Slow { echo: Echo::new(shard), gate, stands: mpsc::channel().0 }
        })
        .expect("loopback");
        let address = node.local_addresses()[0];
        let steering = table(2);
        let of = |shard: u8| {
            let mine = |call: &String| steering.owner(steering.slot_of_call_id(call.as_bytes())).0 == shard;
            (0..).map(|call| format!("call-{call}")).find(mine).expect("some call")
        };
        let (calls_0, calls_1) = (of(0), of(1));
        // A port whose datagrams the kernel gives to shard 0: it answers for itself although shard 1 stands still.
        let large = format!("large\r\nCall-ID: {calls_1}\r\n\r\n{}", "x".repeat(8000));
        let peer = (0..64)
            .map(|_| peer("127.0.0.1:0"))
            .find(|peer| {
                peer.send_to(&message("wait", &calls_1), address).expect("loopback");
                peer.send_to(&message("hello", &calls_0), address).expect("loopback");
                // Shard 1 keeps what it got itself, its own calls and others', until it is let go.
                peer.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
                let heard = peer.recv(&mut [0; 64]).is_ok();
                peer.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
                heard
            })
            .expect("half of all ports");
        // Fills the inbox of shard 1, one step at a time, each confirmed by an answer of shard 0.
        for _ in 0..300 {
            peer.send_to(large.as_bytes(), address).expect("loopback");
            peer.send_to(&message("hello", &calls_0), address).expect("loopback");
            assert_eq!(hear(&peer), "0 hello");
        }
        open.send(()).expect("it waits");
        node.stop();
        let counters = node.join().expect("a clean end");
        assert!(counters[0].value(Counter::DatagramsForwarded) > 100, "a mebibyte of inbox");
        assert!(counters[0].value(Counter::ForwardDropped) > 100, "and no more");
    }
}

#[test]
fn a_parked_node_stops_and_gives_its_ports_back() {
    // An address of its own: on a shared one somebody else may get the port before this test has it again.
    let process = std::process::id();
    let any = format!("127.{}.{}.{}:0", 1 + (process >> 16) % 254, process >> 8 & 255, process & 255);
    for io in BOTH {
        let node = echoes(4, &[&any], io);
        let address = node.local_addresses()[0].to_string();
        let Err(error) = Node::start_with(layout(1, &[&address], io), |shard, _| move |_| Echo::new(shard)) else {
            panic!("the port is held")
        };
        assert!(matches!(error, StartError::PortInUse { .. }), "{error}");
        node.stop();
        node.stop();
        node.join().expect("a clean end");
        let again = echoes(1, &[&address], io);
        assert_eq!(again.local_addresses()[0].to_string(), address);
        assert_eq!(again.counters(ShardIndex(0)).value(Counter::DatagramsIn), 0);
        again.stop();
        again.join().expect("a clean end");
    }
}

#[test]
fn what_cannot_start_says_so() {
    let start = |shards: usize, listeners: &[&str]| {
        Node::start_with(layout(shards.max(1), listeners, IoKind::Mmsg), |shard, _| move |_| Echo::new(shard)).err()
    };
    assert!(matches!(start(1, &[]), Some(StartError::Listeners { count: 0 })));
    assert!(matches!(start(1, &["127.0.0.1:0"; 17]), Some(StartError::Listeners { count: 17 })));
    assert!(matches!(start(65, &["127.0.0.1:0"]), Some(StartError::Shards { count: 65 })));
    let holder = peer("127.0.0.1:0");
    let held = holder.local_addr().expect("bound");
    let Some(StartError::PortInUse { listener }) = start(1, &[&held.to_string()]) else { panic!("the port is held") };
    assert_eq!(listener, held);
}

#[test]
fn with_one_shard_or_forward_the_kernel_is_not_asked() {
    for (shards, mode, expected) in [
        (1, SteeringMode::Auto, SteeringInUse::Single),
        (1, SteeringMode::Bpf, SteeringInUse::Single),
        (2, SteeringMode::Forward, SteeringInUse::Forward { why: None }),
    ] {
        let mut layout = layout(shards, &["127.0.0.1:0"], IoKind::Mmsg);
        layout.steering = mode;
        let node = Node::start_with(layout, |shard, _: &[SocketAddr]| move |_| Echo::new(shard)).expect("loopback");
        assert_eq!(node.steering_in_use(), &expected);
        node.stop();
        node.join().expect("a clean end");
    }
}

/// What an engine says of a source reaches the filter of its shard's sockets, at all listeners; where the kernel does not allow a filter, all
/// goes on without.
#[test]
fn what_a_shard_sheds_does_not_reach_it() {
    /// What is said of a source holds at least so long: a second, in units of 2²⁰ ns.
    const LIFE: Duration = Duration::from_millis(990);
    for io in BOTH {
        let listeners = ["127.0.0.1:0", "127.0.0.1:0"];
        let layout = Layout { shed_in_kernel: true, ..layout(1, &listeners, io) };
        let node = Node::start_with(layout, |shard, _| move |_| Echo::new(shard)).expect("loopback");
        let kernel = match node.shedding_in_use() {
            SheddingInUse::Kernel => true,
            SheddingInUse::Shards { why } => {
                assert!(why.as_ref().is_some_and(|why| why.contains("CAP_BPF")), "{why:?}");
                false
            }
        };
        let addresses = node.local_addresses().to_vec();
        let peer = peer("127.0.0.1:0");
        let ask = |address: &SocketAddr, line: &str| {
            peer.send_to(line.as_bytes(), address).expect("loopback");
        };
        ask(&addresses[0], "INVITE before");
        assert_eq!(hear(&peer), "0 INVITE before");
        let mut dropped = 0;
        for address in &addresses {
            loop {
                let said = std::time::Instant::now();
                ask(&addresses[0], "shed 0");
                assert_eq!(hear(&peer), "0 shed 0");
                ask(address, "INVITE now");
                ask(address, "BYE now");
                let first = hear(&peer);
                if first == "0 BYE now" {
                    assert!(kernel, "nobody else drops it");
                    dropped += 1;
                    break;
                }
                assert_eq!((first.as_str(), hear(&peer).as_str()), ("0 INVITE now", "0 BYE now"));
                if !kernel {
                    break;
                }
                // On a machine that stood still in between it no longer held: then it is said again.
                assert!(said.elapsed() >= LIFE, "what was said held still");
            }
        }
        node.stop();
        let counters = node.join().expect("a clean end");
        assert_eq!(counters[0].value(Counter::ShedInKernel), dropped);
    }
}
