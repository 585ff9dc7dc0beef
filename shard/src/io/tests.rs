//! Both backends against real loopback sockets, by the same tests.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrayvec::ArrayVec;
use corelane_core::limits::{LISTENERS_MAX, MESSAGE_SIZE_MAX};
use corelane_core::{Endpoint, Flow, ListenerIndex, Transport, WallTime};

use super::fault::FaultSource;
use super::mmsg::Mmsg;
use super::ring::Uring;
use super::{Io, OUTGOING_MAX, RECEIVE_BATCH};
use crate::sys::event::EventFd;
use crate::sys::socket::{self, Sharing};

/// Long enough that a test which needs it all has failed.
const FOREVER: Duration = Duration::from_secs(600);

type Sockets = ArrayVec<OwnedFd, LISTENERS_MAX>;

/// A backend with what the tests ask of it.
trait Backend: Io + Sized {
    fn open(sockets: Sockets, wake: Arc<EventFd>) -> Self;
    /// Receive memory that nobody gave back.
    fn buffers_used(&self) -> usize;
}

impl Backend for Mmsg {
    fn open(sockets: Sockets, wake: Arc<EventFd>) -> Mmsg {
        Mmsg::new(sockets, wake)
    }
    fn buffers_used(&self) -> usize {
        0
    }
}

impl Backend for Uring {
    fn open(sockets: Sockets, wake: Arc<EventFd>) -> Uring {
        Uring::new(sockets, wake).expect("io_uring is allowed here")
    }
    fn buffers_used(&self) -> usize {
        Uring::buffers_used(self)
    }
}

/// A backend on loopback listeners, their addresses, and the event that wakes it.
fn bench<I: Backend>(listeners: &[&str]) -> (I, Vec<SocketAddr>, Arc<EventFd>) {
    let sockets: Sockets = listeners
        .iter()
        .map(|text| {
            let address = text.parse().expect("a literal");
            socket::open(address, Sharing::Exclusive, 8 << 20)
                .map_err(|(step, error)| format!("{step}: {error}"))
                .expect("loopback")
        })
        .collect();
    let addresses = sockets.iter().map(|fd| socket::local_address(fd.as_fd()).expect("bound")).collect();
    let wake = Arc::new(EventFd::new().expect("a descriptor"));
    (I::open(sockets, Arc::clone(&wake)), addresses, wake)
}

fn peer(text: &str) -> UdpSocket {
    let socket = UdpSocket::bind(text).expect("loopback");
    // A lost datagram fails the test instead of holding it.
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    socket
}

/// An address where nobody listens for as long as this is held: the port is taken, so that no other test gets it, but by a socket that
/// takes datagrams of one peer only, which is not there. The kernel refuses everybody else's.
fn deaf(text: &str) -> UdpSocket {
    let socket = peer(text);
    socket.connect((socket.local_addr().expect("bound").ip(), 9)).expect("loopback");
    socket
}

fn flow(listener: u8, peer: SocketAddr) -> Flow {
    Flow { peer: Endpoint::from(peer), listener: ListenerIndex(listener), transport: Transport::Udp }
}

/// A datagram out of the receive memory.
type Taken = (Flow, Vec<u8>, bool);

/// Receives until `count` datagrams are there.
fn receive<I: Io>(io: &mut I, count: usize) -> Vec<Taken> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let received = io.receive().expect("receive");
        assert!(received <= RECEIVE_BATCH);
        for index in 0..received {
            let datagram = io.datagram(index).expect("a sender");
            taken.push((datagram.flow, datagram.bytes.to_vec(), datagram.truncated));
        }
        io.recycle();
        if received == 0 {
            io.park(FOREVER).expect("park");
        }
    }
    taken
}

fn every_datagram_comes_once_and_in_order<I: Backend>() {
    let (mut io, addresses, _) = bench::<I>(&["127.0.0.1:0"]);
    let sender = peer("127.0.0.1:0");
    // More than the pool of the ring holds, so that it runs dry and has to be armed again.
    for number in 0..600u32 {
        sender.send_to(&number.to_be_bytes(), addresses[0]).expect("loopback");
    }
    let taken = receive(&mut io, 600);
    for (number, (from, bytes, truncated)) in taken.iter().enumerate() {
        assert_eq!(*from, flow(0, sender.local_addr().expect("bound")));
        assert_eq!((bytes.as_slice(), *truncated), (&(number as u32).to_be_bytes()[..], false));
    }
    assert_eq!(io.buffers_used(), 0);
}

fn what_is_too_long_is_cut_and_says_so<I: Backend>() {
    let (mut io, addresses, _) = bench::<I>(&["127.0.0.1:0"]);
    let sender = peer("127.0.0.1:0");
    let sizes = [0, 1, MESSAGE_SIZE_MAX, MESSAGE_SIZE_MAX + 1, 65_507, 2];
    for size in sizes {
        sender.send_to(&vec![size as u8; size], addresses[0]).expect("loopback");
    }
    for ((_, bytes, truncated), size) in receive(&mut io, sizes.len()).into_iter().zip(sizes) {
        assert_eq!(bytes, vec![size as u8; size.min(MESSAGE_SIZE_MAX)]);
        assert_eq!(truncated, size > MESSAGE_SIZE_MAX, "{size}");
    }
    assert_eq!(io.buffers_used(), 0);
}

fn listeners_of_both_families_are_told_apart<I: Backend>() {
    let (mut io, addresses, _) = bench::<I>(&["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"]);
    let senders = [peer("127.0.0.1:0"), peer("[::1]:0"), peer("127.0.0.1:0")];
    for round in 0..50u8 {
        for (sender, address) in senders.iter().zip(&addresses) {
            sender.send_to(&[round], address).expect("loopback");
        }
    }
    let taken = receive(&mut io, 150);
    for (listener, sender) in senders.iter().enumerate() {
        let expected = flow(listener as u8, sender.local_addr().expect("bound"));
        let mine: Vec<u8> = taken.iter().filter(|(from, ..)| *from == expected).map(|(_, bytes, _)| bytes[0]).collect();
        assert_eq!(mine, (0..50).collect::<Vec<_>>());
    }
    // And out again, each from its own listener, in one flush.
    let refused =
        io.send(3, |index| (flow(index as u8, senders[index].local_addr().expect("bound")), b"back".as_slice()));
    assert_eq!(refused.expect("send"), 0);
    for (sender, address) in senders.iter().zip(&addresses) {
        let mut buffer = [0; 16];
        assert_eq!(sender.recv_from(&mut buffer).expect("an answer"), (4, *address));
    }
}

fn a_full_flush_leaves_in_order<I: Backend>() {
    let (mut io, _, _) = bench::<I>(&["127.0.0.1:0"]);
    let receiver = peer("127.0.0.1:0");
    let to = flow(0, receiver.local_addr().expect("bound"));
    let messages: Vec<Vec<u8>> = (0..OUTGOING_MAX).map(|number| vec![number as u8; 1 + number]).collect();
    for _ in 0..3 {
        assert_eq!(io.send(OUTGOING_MAX, |index| (to, messages[index].as_slice())).expect("send"), 0);
        for message in &messages {
            let mut buffer = vec![0; 2 * MESSAGE_SIZE_MAX];
            let length = receiver.recv(&mut buffer).expect("a datagram");
            assert_eq!(&buffer[..length], message);
        }
    }
    assert_eq!(io.buffers_used(), 0);
}

fn a_dead_peer_is_reported_and_hurts_nobody_else<I: Backend>() {
    for (listener, local) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
        let (mut io, _, _) = bench::<I>(&[listener]);
        let alive = peer(local);
        let held = deaf(local);
        let dead = held.local_addr().expect("bound");
        let to_alive = flow(0, alive.local_addr().expect("bound"));
        for round in 0..20u8 {
            // On loopback the ICMP error is nearly always pending before the call returns, so the next send is the one that meets it.
            assert_eq!(io.send(1, |_| (flow(0, dead), b"anybody?".as_slice())).expect("send"), 0);
            let bytes = [round];
            assert_eq!(io.send(1, |_| (to_alive, bytes.as_slice())).expect("send"), 0, "held against another");
            let mut buffer = [0; 8];
            assert_eq!(alive.recv(&mut buffer).expect("a datagram"), 1);
            assert_eq!(buffer[0], round);
            let fault = loop {
                if let Some(fault) = io.fault() {
                    break fault;
                }
                assert_eq!(io.receive().expect("receive"), 0);
                io.recycle();
                if let Some(fault) = io.fault() {
                    break fault;
                }
                io.park(FOREVER).expect("park");
            };
            assert_eq!((fault.flow, fault.source), (flow(0, dead), FaultSource::Network));
            assert_eq!(fault.quote.as_slice(), b"anybody?", "what did not arrive");
        }
        // In one flush, the dead one first.
        let refused = io.send(6, |index| (if index % 2 == 0 { flow(0, dead) } else { to_alive }, b"mixed".as_slice()));
        assert_eq!(refused.expect("send"), 0);
        for _ in 0..3 {
            let mut buffer = [0; 8];
            assert_eq!(alive.recv(&mut buffer).expect("a datagram"), 5);
        }
        // And it still receives.
        alive.send_to(b"hello", io_address(&mut io, &alive, to_alive)).expect("loopback");
        assert_eq!(receive(&mut io, 1)[0].1, b"hello");
    }
}

/// The address that a backend sends from, as its peer sees it.
fn io_address<I: Io>(io: &mut I, seen_by: &UdpSocket, to: Flow) -> SocketAddr {
    assert_eq!(io.send(1, |_| (to, b"?".as_slice())).expect("send"), 0);
    seen_by.recv_from(&mut [0; 8]).expect("a datagram").1
}

fn a_destination_that_the_kernel_refuses_is_reported<I: Backend>() {
    let (mut io, _, _) = bench::<I>(&["127.0.0.1:0"]);
    let alive = peer("127.0.0.1:0");
    let good = flow(0, alive.local_addr().expect("bound"));
    // An IPv6 peer of an IPv4 listener.
    let bad = flow(0, "[::1]:5060".parse().expect("a literal"));
    assert_eq!(io.send(3, |index| (if index == 1 { bad } else { good }, b"x".as_slice())).expect("send"), 1);
    let fault = io.fault().expect("the refusal");
    assert_eq!((fault.flow, fault.source, fault.quote.as_slice()), (bad, FaultSource::Kernel, &b"x"[..]));
    assert_eq!(io.fault(), None);
    for _ in 0..2 {
        assert_eq!(alive.recv(&mut [0; 8]).expect("the others went out"), 1);
    }
}

fn a_refusal_is_told_from_another_ones_pending_error<I: Backend>() {
    let (mut io, _, _) = bench::<I>(&["127.0.0.1:0"]);
    let alive = peer("127.0.0.1:0");
    let good = flow(0, alive.local_addr().expect("bound"));
    let held = deaf("127.0.0.1:0");
    let dead = flow(0, held.local_addr().expect("bound"));
    // No datagram is as long as this, so the kernel refuses it with EMSGSIZE; the broadcast address needs a permission (EACCES).
    let too_long = vec![b'x'; 70_000];
    let forbidden = flow(0, "255.255.255.255:5060".parse().expect("a literal"));
    for _ in 0..10 {
        let batch: [(Flow, &[u8]); 7] = [
            (dead, b"pending"),
            (forbidden, b"refused"),
            (dead, b"pending"),
            (good, b"through"),
            (dead, b"pending"),
            (flow(0, SocketAddr::from(([127, 0, 0, 1], 9))), &too_long),
            (good, b"through"),
        ];
        assert_eq!(io.send(batch.len(), |index| batch[index]).expect("send"), 2, "the two refused ones");
        let expected =
            [(dead, FaultSource::Network), (forbidden, FaultSource::Kernel), (batch[5].0, FaultSource::Kernel)];
        let mut faults = Vec::new();
        // Loopback's ICMP errors are nearly always queued before the send returns, and told as one; a busy kernel may deliver them later.
        while !expected.iter().all(|fault| faults.contains(fault)) {
            assert_eq!(io.receive().expect("receive"), 0);
            io.recycle();
            let before = faults.len();
            faults.extend(std::iter::from_fn(|| io.fault()).map(|fault| (fault.flow, fault.source)));
            if faults.len() == before {
                io.park(FOREVER).expect("park");
            }
        }
        for fault in &expected {
            let times = faults.iter().filter(|found| *found == fault).count();
            assert!(times == 1 || fault.1 == FaultSource::Network, "{faults:?}");
        }
        assert!(faults.iter().all(|fault| expected.contains(fault)), "{faults:?}");
        for _ in 0..2 {
            let mut buffer = [0; 8];
            assert_eq!(alive.recv(&mut buffer).expect("what was refused to others went through"), 7);
        }
    }
}

fn a_datagram_says_when_the_kernel_got_it<I: Backend>() {
    let wall = || WallTime(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64);
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let (mut io, addresses, _) = bench::<I>(&[local]);
        let sender = peer(local);
        // On loopback a datagram has arrived when its send returns.
        let send = || {
            let before = wall();
            sender.send_to(b"x", addresses[0]).expect("loopback");
            before..=wall()
        };
        let stamp_of = |io: &I, index| io.datagram(index).expect("a sender").stamp.expect("a stamp");
        // The kernel starts to stamp a moment after the first socket of the machine has asked it to. Until then it gives the time of
        // the receive: for the first of many that is far behind its own send.
        loop {
            let sent: Vec<_> = (0..50).map(|_| send()).collect();
            let mut stamps = Vec::new();
            while stamps.len() < sent.len() {
                let received = io.receive().expect("receive");
                stamps.extend((0..received).map(|index| stamp_of(&io, index)));
                io.recycle();
                if received == 0 {
                    io.park(FOREVER).expect("park");
                }
            }
            if sent[0].contains(&stamps[0]) {
                break;
            }
        }
        let sent: Vec<_> = (0..200).map(|_| send()).collect();
        let mut taken = 0;
        while taken < sent.len() {
            let received = io.receive().expect("receive");
            for index in 0..received {
                let stamp = stamp_of(&io, index);
                assert!(sent[taken].contains(&stamp), "{taken}: {stamp:?} in {:?}", sent[taken]);
                taken += 1;
            }
            io.recycle();
            if received == 0 {
                io.park(FOREVER).expect("park");
            }
        }
    }
}

fn an_event_ends_the_wait_each_time<I: Backend>() {
    let (mut io, addresses, wake) = bench::<I>(&["127.0.0.1:0"]);
    for _ in 0..100 {
        // Before the wait and, by another thread, during it.
        wake.notify();
        io.park(FOREVER).expect("park");
        std::thread::scope(|scope| {
            scope.spawn(|| wake.notify());
            io.park(FOREVER).expect("park");
        });
    }
    // The wait still sees datagrams, and ends by itself.
    peer("127.0.0.1:0").send_to(b"x", addresses[0]).expect("loopback");
    assert_eq!(receive(&mut io, 1).len(), 1);
    io.park(Duration::from_millis(1)).expect("park");
}

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod mmsg { $( #[test] fn $name() { super::$name::<super::Mmsg>(); } )* }
        mod ring { $( #[test] fn $name() { super::$name::<super::Uring>(); } )* }
    };
}

on_both!(
    every_datagram_comes_once_and_in_order,
    what_is_too_long_is_cut_and_says_so,
    listeners_of_both_families_are_told_apart,
    a_full_flush_leaves_in_order,
    a_dead_peer_is_reported_and_hurts_nobody_else,
    a_destination_that_the_kernel_refuses_is_reported,
    a_refusal_is_told_from_another_ones_pending_error,
    a_datagram_says_when_the_kernel_got_it,
    an_event_ends_the_wait_each_time,
);
