//! The node's loop: several datagrams in, several out, delayed ones when they are due.
//!
//! ```text
//!   ng socket ──recvmmsg──► Node ──► outbox ──sendmmsg──► ng socket        (a wrong address: by the stray socket)
//!   control socket ── one line per datagram ──► Faults; the answer is `ok` or what is wrong, and the counters
//!   TCP ── one thread per connection ──► the same Node behind a mutex that the loop holds for one batch at a time
//! ```
//!
//! The control socket is read also while the node is frozen.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Settings;
use super::counts::Counts;
use super::faults::{Faults, State};
use super::node::{Node, Now};
use super::tcp;
use crate::floor::SOCKET_BUFFER;
use crate::sys::udp::{self, Address, Inbox, Outbox, Part, Wait};

/// The largest request, in bytes: an SDP of a SIP message's size and what is said beside it.
const DATAGRAM_MAX: usize = 16 * 1024;

/// How often a waiting loop looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// A node and its clock, shared with the TCP side.
pub(super) struct Shared {
    node: Mutex<Node>,
    origin: Instant,
}

impl Shared {
    /// The node. A thread that panicked with it spoiled no more than one reply.
    pub(super) fn node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { ns: self.origin.elapsed().as_nanos() as u64, wall_s: wall.as_secs() }
    }
}

/// A bound stand-in.
pub struct Relay {
    shared: Arc<Shared>,
    /// Control first, so that a frozen node looks at that one alone; then ng.
    sockets: [UdpSocket; 2],
    stray: UdpSocket,
    tcp: Option<TcpListener>,
    inbox: Inbox,
    out: Vec<u8>,
    outbox: Outbox,
    stray_outbox: Outbox,
    later: BTreeMap<(u64, u64), Later>,
    sequence: u64,
}

/// A reply that waits.
struct Later {
    bytes: Vec<u8>,
    to: Address,
    stray: bool,
}

impl Relay {
    /// Binds the sockets; the node serves from [`Relay::run`] on.
    ///
    /// # Errors
    /// The kernel's refusal of an address; `InvalidInput` for a line of `--set` that sets nothing.
    pub fn bind(settings: &Settings) -> io::Result<Relay> {
        let ng = UdpSocket::bind(settings.listen)?;
        let control = UdpSocket::bind(settings.control.unwrap_or(SocketAddr::new(settings.listen.ip(), 0)))?;
        let stray = UdpSocket::bind(SocketAddr::new(settings.listen.ip(), 0))?;
        udp::set_buffers(&ng, SOCKET_BUFFER)?;
        let host = settings.media_host.unwrap_or(settings.listen.ip());
        let mut node = Node::new(host, settings.sessions_max, settings.remember_ms * 1_000_000, settings.seed);
        for line in &settings.set {
            node.set(line).map_err(|wrong| io::Error::new(io::ErrorKind::InvalidInput, wrong))?;
        }
        Ok(Relay {
            shared: Arc::new(Shared { node: Mutex::new(node), origin: Instant::now() }),
            sockets: [control, ng],
            stray,
            tcp: settings.listen_tcp.map(TcpListener::bind).transpose()?,
            inbox: Inbox::new(DATAGRAM_MAX),
            out: Vec::new(),
            outbox: Outbox::default(),
            stray_outbox: Outbox::default(),
            later: BTreeMap::new(),
            sequence: 0,
        })
    }

    /// Where it answers ng.
    ///
    /// # Errors
    /// The kernel's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.sockets[1].local_addr()
    }

    /// Where it takes lines.
    ///
    /// # Errors
    /// The kernel's.
    pub fn control_address(&self) -> io::Result<SocketAddr> {
        self.sockets[0].local_addr()
    }

    /// Where it answers ng over TCP; `None` when it does not.
    ///
    /// # Errors
    /// The kernel's.
    pub fn tcp_address(&self) -> io::Result<Option<SocketAddr>> {
        self.tcp.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Serves until `stop` is set, which is seen within 100 ms. Returns the counts.
    ///
    /// # Errors
    /// The kernel's refusal to receive. A refused send is no error: a client that is gone is its own affair.
    pub fn run(mut self, stop: &Arc<AtomicBool>) -> io::Result<Counts> {
        let tcp = self.tcp.take().map(|listener| tcp::serve(listener, Arc::clone(&self.shared), Arc::clone(stop)));
        let served = self.serve(stop);
        stop.store(true, Ordering::Relaxed);
        if let Some(tcp) = tcp {
            // It looks at `stop` as often as this loop does; what it had to say of a panic it has printed.
            drop(tcp.join());
        }
        served?;
        let counts = self.shared.node().counts();
        Ok(counts)
    }

    fn serve(&mut self, stop: &AtomicBool) -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let now = self.shared.now();
            self.send_due(now.ns);
            let next = self.later.keys().next().map(|(due, _)| Duration::from_nanos(due.saturating_sub(now.ns)));
            let frozen = self.shared.node().faults.state == State::Frozen;
            let listened = if frozen { &self.sockets[..1] } else { &self.sockets[..] };
            let ready = udp::wait_any(listened, next.unwrap_or(LOOK).min(LOOK))?;
            if ready & 1 != 0 {
                self.take_lines()?;
            }
            if ready & 2 != 0 {
                self.take_requests()?;
            }
            self.flush();
        }
        Ok(())
    }

    fn take_lines(&mut self) -> io::Result<()> {
        let count = self.inbox.receive(&self.sockets[0], Wait::Never)?;
        for place in 0..count {
            let mut node = self.shared.node();
            let line = String::from_utf8_lossy(self.inbox.datagram(place)).into_owned();
            let said = node.set(&line).map_or_else(|wrong| wrong, |()| "ok".to_owned());
            let answer = format!("{said}\n{}", node.counts());
            if let Some(to) = self.inbox.source(place).to_std() {
                // Whoever is gone does not want to know.
                drop(self.sockets[0].send_to(answer.as_bytes(), to));
            }
        }
        Ok(())
    }

    fn take_requests(&mut self) -> io::Result<()> {
        let count = self.inbox.receive(&self.sockets[1], Wait::Never)?;
        let now = self.shared.now();
        let shared = Arc::clone(&self.shared);
        let mut node = shared.node();
        let faults = node.faults.clone();
        for place in 0..count {
            if faults.state == State::Blackhole || node.draws(faults.loss) {
                node.swallow();
                continue;
            }
            let start = self.out.len();
            if node.answer(now, self.inbox.datagram(place), &mut self.out) {
                let to = self.inbox.source(place);
                self.reply(now, &mut node, &faults, start, to);
            }
        }
        Ok(())
    }

    /// Sends the reply that begins at `start` of the arena, with all that may go wrong.
    fn reply(&mut self, now: Now, node: &mut Node, faults: &Faults, start: usize, to: Address) {
        if node.draws(faults.truncated) {
            self.out.truncate(start + (self.out.len() - start) / 2);
        }
        if node.draws(faults.garbage) {
            let body = memchr::memchr(b' ', &self.out[start..]).map_or(start, |space| start + space + 1);
            for (place, byte) in self.out[body..].iter_mut().enumerate() {
                *byte = (place as u8).wrapping_mul(167) ^ 0xa5;
            }
        }
        let stray = node.draws(faults.wrong_address);
        let delay_us = faults.delay_us + if node.draws(faults.late) { faults.late_us } else { 0 };
        let times = 1 + usize::from(node.draws(faults.duplicated));
        for _ in 0..times {
            if delay_us > 0 {
                let bytes = self.out[start..].to_vec();
                self.later.insert((now.ns + delay_us * 1000, self.sequence), Later { bytes, to, stray });
                self.sequence += 1;
            } else {
                let body = start..self.out.len();
                if stray { &mut self.stray_outbox } else { &mut self.outbox }.push(Part { head: b"", body, to });
            }
        }
    }

    fn send_due(&mut self, now_ns: u64) {
        while let Some(first) = self.later.first_entry().filter(|entry| entry.key().0 <= now_ns) {
            let Later { bytes, to, stray } = first.remove();
            let start = self.out.len();
            self.out.extend_from_slice(&bytes);
            let body = start..self.out.len();
            if stray { &mut self.stray_outbox } else { &mut self.outbox }.push(Part { head: b"", body, to });
        }
        self.flush();
    }

    fn flush(&mut self) {
        self.outbox.flush(&self.sockets[1], &self.out);
        self.stray_outbox.flush(&self.stray, &self.out);
        self.out.clear();
    }
}
