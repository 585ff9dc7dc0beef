//! Destinations known to fail, and what a refused send means.

use std::io;
use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;
use corelane_core::{Endpoint, Flow, ListenerIndex, Transport};

use crate::sys::error_queue;

/// A destination that cannot be reached.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// Through which listener, which peer.
    pub(crate) flow: Flow,
    /// Who found out.
    pub(crate) source: FaultSource,
}

/// Who found out that a destination fails.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum FaultSource {
    /// An ICMP error. The kernel gives it to the socket of the group that the *addresses* hash to, which need not be the one that
    /// sent: every shard has to be told.
    Network,
    /// Our own kernel refused the send: no route, forbidden, wrong address family. Only this shard's business.
    Kernel,
}

/// Faults waiting for the loop. When they come faster than the loop takes them the rest is forgotten: transactions have timers,
/// and an unreachable peer goes on being unreachable.
#[derive(Default)]
pub(crate) struct Faults(ArrayVec<Fault, 64>);

/// Entries taken from one error queue at a time, so that a flood of ICMP cannot hold the loop.
const DRAIN_MAX: usize = 32;

impl Faults {
    /// Takes what the error queue of a listener's socket holds; `true` when it may hold more.
    pub(crate) fn drain(&mut self, socket: BorrowedFd<'_>, listener: u8) -> bool {
        for _ in 0..DRAIN_MAX {
            match error_queue::take(socket) {
                Ok(Some(error)) if error.unreachable => self.report(listener, error.peer, FaultSource::Network),
                Ok(Some(_)) => {}
                // A queue that cannot be read has nothing to tell.
                Ok(None) | Err(_) => return false,
            }
        }
        true
    }

    pub(crate) fn report(&mut self, listener: u8, peer: Endpoint, source: FaultSource) {
        let flow = Flow { peer, listener: ListenerIndex(listener), transport: Transport::Udp };
        let fault = Fault { flow, source };
        if !self.0.contains(&fault) && !self.0.is_full() {
            self.0.push(fault);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Fault> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }
}

/// What to do about a send that the kernel refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The send buffer is full: the datagram is dropped, as any network may, and its transaction sends it again.
    Full,
    /// The destination itself is refused: no route, forbidden, another address family.
    Destination,
    /// Anything else: most often a pending error that an ICMP message about *another* destination left behind.
    Pending,
}

impl Refusal {
    pub(crate) fn of(error: &io::Error) -> Refusal {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Refusal::Full,
            Some(
                libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
                | libc::EPERM
                | libc::EACCES
                | libc::EADDRNOTAVAIL
                | libc::EAFNOSUPPORT
                | libc::EINVAL,
            ) => Refusal::Destination,
            _ => Refusal::Pending,
        }
    }
}
