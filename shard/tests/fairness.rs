//! A shard hears of every socket, whatever keeps it busy: another listener, other shards, the control core.
//!
//! What keeps it busy here is never done, and by construction, not by speed: datagrams that go round for ever, and inputs each of which ends
//! only when the next one is there.

mod echo;

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use corelane_core::bus::{ExchangeId, MediaOutcome, MediaReply};
use corelane_core::steering::ShardIndex;
use corelane_core::{BufferRef, Counters, Effects, Input, Instant, Now};
use corelane_shard::{IoKind, Node, Protocol};
use echo::{BOTH, Echo, echoes, hear, layout, peer, table};

/// More than a turn takes, and as many again that are on their way.
const ROUND: usize = 4 * 64;
const PINGS: usize = 5;

/// How many of the pings are answered before one is not.
fn answered(by: ShardIndex, from: &UdpSocket, at: SocketAddr) -> usize {
    let is_answered = |number: &usize| {
        let mut buffer = [0; 64];
        from.send_to(format!("ping {number}").as_bytes(), at).expect("loopback");
        from.recv(&mut buffer).is_ok_and(|length| buffer[..length] == *format!("{} ping {number}", by.0).as_bytes())
    };
    (0..PINGS).take_while(is_answered).count()
}

#[test]
fn a_listener_whose_queue_never_empties_hides_no_other() {
    for io in BOTH {
        let node = echoes(1, &["127.0.0.1:0"; 4], io);
        let addresses = node.local_addresses().to_vec();
        let peer = peer("127.0.0.1:0");
        // One listener after another gets what goes round, until one is left.
        for busy in &addresses[1..] {
            for _ in 0..ROUND {
                peer.send_to(format!("again {busy}").as_bytes(), busy).expect("loopback");
            }
            assert_eq!(answered(ShardIndex(0), &peer, addresses[0]), PINGS, "{io:?}, while {busy} is full");
        }
        node.stop();
        node.join().expect("a clean end");
    }
}

/// An echo to which each input of a kind ends only when the next one of that kind waits.
struct Fed {
    echo: Echo,
    feeder: Option<(Sender<()>, Receiver<()>)>,
}

impl Protocol for Fed {
    fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Effects) {
        let feeds = match input {
            Input::Media(_) => true,
            Input::Datagram { bytes, .. } => bytes.starts_with(b"feed"),
            _ => false,
        };
        let Some((more, fed)) = self.feeder.as_ref().filter(|_| feeds) else {
            return self.echo.handle(now, input, effects);
        };
        // An error: the test is over.
        if more.send(()).is_ok() {
            let _ = fed.recv();
        }
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

/// A node whose last shard is fed, and what its feeder waits for and says.
fn fed(shards: usize, io: IoKind) -> (Node, Feeder) {
    let (more, wanted) = mpsc::channel();
    let (done, fed) = mpsc::channel();
    let mut ends = Some((more, fed));
    let node = Node::start_with(layout(shards, &["127.0.0.1:0"], io), |shard, _| {
        let feeder = if usize::from(shard.0) == shards - 1 { ends.take() } else { None };
        move |_| Fed { echo: Echo::new(shard), feeder }
    })
    .expect("loopback");
    (node, Feeder { wanted, done })
}

struct Feeder {
    wanted: Receiver<()>,
    done: Sender<()>,
}

impl Feeder {
    /// How many pings are answered while `feed` is called each time that the shard asks for more.
    fn answered_meanwhile(self, mut feed: impl FnMut() + Send, pings: impl FnOnce() -> usize) -> usize {
        let over = AtomicBool::new(false);
        feed();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let feeder = self;
                while !over.load(Ordering::Relaxed) && feeder.wanted.recv().is_ok() {
                    feed();
                    let _ = feeder.done.send(());
                }
            });
            let answered = pings();
            over.store(true, Ordering::Relaxed);
            answered
        })
    }
}

#[test]
fn replies_without_end_hide_no_socket() {
    for io in BOTH {
        let (mut node, feeder) = fed(1, io);
        let address = node.local_addresses()[0];
        let mut bus = node.take_bus().expect("nobody took it");
        let feed = || {
            let exchange = ExchangeId { index: 1, generation: 1 };
            let reply = MediaReply { exchange, outcome: MediaOutcome::NoNode, node: 0, sdp: b"" };
            assert!(bus.reply(ShardIndex(0), &reply), "one waits at a time");
            bus.wake();
        };
        let pings = || answered(ShardIndex(0), &peer("127.0.0.1:0"), address);
        assert_eq!(feeder.answered_meanwhile(feed, pings), PINGS, "{io:?}");
        node.stop();
        node.join().expect("a clean end");
    }
}

#[test]
fn datagrams_of_another_shard_hide_no_socket() {
    for io in BOTH {
        let (node, feeder) = fed(2, io);
        let address = node.local_addresses()[0];
        let steering = table(2);
        let owned = |id: &String| steering.owner(steering.slot_of_call_id(id.as_bytes())) == ShardIndex(1);
        let id = (0..).map(|number| format!("call-{number}")).find(owned).expect("some call");
        let food = format!("feed\r\nCall-ID: {id}\r\n\r\n");
        // What has no Call-ID is answered where it came.
        let peer_of = |shard: u8| {
            let hears = |peer: &UdpSocket| {
                peer.send_to(b"where", address).expect("loopback");
                hear(peer) == format!("{shard} where")
            };
            (0..64).map(|_| peer("127.0.0.1:0")).find(hears).expect("half of all ports")
        };
        let (other, own) = (peer_of(0), peer_of(1));
        let feed = || {
            other.send_to(food.as_bytes(), address).expect("loopback");
            other.send_to(b"where", address).expect("loopback");
            assert_eq!(hear(&other), "0 where", "the one before was handed over");
        };
        let pings = || answered(ShardIndex(1), &own, address);
        assert_eq!(feeder.answered_meanwhile(feed, pings), PINGS, "{io:?}");
        node.stop();
        node.join().expect("a clean end");
    }
}
