//! A path that loses datagrams: a relay between a SIPp process and Corelane, with a seeded draw for each datagram.
//!
//! ```text
//!   SIPp caller  ◄──►  [outer  wire  inner]  ◄──►  Corelane  ◄──►  [inner  wire  outer]  ◄──►  SIPp gateway
//!                                └ an address of the provider        └ the gateway's address of the tables
//! ```
//!
//! Corelane knows a wire's inner end only: providers are recognised by source address, and answers and requests inside a dialog go back
//! to where the peer was heard from. A wire needs no privileges, unlike the kernel's own emulator.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::site::free_port;

/// How often an idle direction looks whether the wire is to be cut.
const LOOK: Duration = Duration::from_millis(50);

/// A wire in service; cut with the value.
pub(crate) struct Wire {
    outer: UdpSocket,
    cut: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    directions: Vec<JoinHandle<()>>,
    inner: UdpSocket,
    seed: u64,
    percent: u64,
}

impl Wire {
    /// A wire that loses `percent` of all datagrams in each direction, not yet connected. Its inner end is `inner`; its outer end has a free port of `outer`.
    pub(crate) fn new(inner: SocketAddr, outer: IpAddr, percent: u64, seed: u64) -> Wire {
        let bind = |address: SocketAddr| {
            let socket = UdpSocket::bind(address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
            socket.set_read_timeout(Some(LOOK)).expect("a time-out that is not zero");
            socket
        };
        Wire {
            outer: bind(free_port(outer)),
            inner: bind(inner),
            cut: Arc::default(),
            lost: Arc::default(),
            directions: Vec::new(),
            seed,
            percent,
        }
    }

    /// Where SIPp sends to.
    pub(crate) fn outer(&self) -> SocketAddr {
        self.outer.local_addr().expect("a bound socket has an address")
    }

    /// Puts the wire into service between `sipp` and `corelane`.
    pub(crate) fn connect(mut self, sipp: SocketAddr, corelane: SocketAddr) -> Wire {
        let again = |socket: &UdpSocket| socket.try_clone().expect("a socket can be shared");
        let ways = [(again(&self.outer), again(&self.inner), corelane), (again(&self.inner), again(&self.outer), sipp)];
        for (way, (from, through, to)) in (0..).zip(ways) {
            let (cut, lost, percent) = (Arc::clone(&self.cut), Arc::clone(&self.lost), self.percent);
            let mut draw = Draw(self.seed.wrapping_mul(2).wrapping_add(way));
            self.directions.push(thread::spawn(move || {
                let mut bytes = vec![0; 65_536];
                while !cut.load(Ordering::Relaxed) {
                    let length = match from.recv(&mut bytes) {
                        Ok(length) => length,
                        // An ICMP error of an earlier send is told by either call; on a wire that loses datagrams it is one more.
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                        // A socket with a time limit is interrupted by any signal, also by one that nobody handles.
                        Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                        Err(error) => panic!("a wire broke: {error}"),
                    };
                    if draw.next() % 100 < percent || through.send_to(&bytes[..length], to).is_err() {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }));
        }
        self
    }

    /// Datagrams that did not arrive.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cut.store(true, Ordering::Relaxed);
        for direction in self.directions.drain(..) {
            // What a direction had to complain of it has printed.
            drop(direction.join());
        }
    }
}

/// SplitMix64: a few good bits for each datagram, the same for the same seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
