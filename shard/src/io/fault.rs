//! Destinations known to fail, and what a refused send means.
//!
//! ```text
//!   send refused ─► buffer full ──────────────────────────────────────────────► lost: a transaction sends it again
//!        ▲     └──► else: empty the error queue
//!        │             ├─ first refusal, or the queue held something ─► again
//!        └─────────────┘
//!                      └─ refused again, and the queue was empty ─────────────► the destination's own: a fault
//! ```
//!
//! On a socket that asks for its error queue, an ICMP message leaves an entry there and a pending error that fails whatever send comes
//! next, whoever it is for. Emptying the queue takes the pending error with it. So an error that comes back over an empty queue is
//! about this very datagram, and any other is held against nobody but the destination that its entry names.

use std::io;
use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;
use corelane_core::{Endpoint, Flow, ListenerIndex, Transport};

use crate::sys::error_queue::{self, QUOTE_BYTES, Quote};

/// A destination that cannot be reached, and the datagram that found it out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// Through which listener, which peer.
    pub(crate) flow: Flow,
    /// Who found out.
    pub(crate) source: FaultSource,
    /// The start of what was sent, as far as it is known.
    pub(crate) quote: Quote,
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

/// Faults waiting for the loop, one for each datagram. When they come faster than the loop takes them the rest is forgotten: transactions have timers,
/// and an unreachable peer goes on being unreachable.
#[derive(Default)]
pub(crate) struct Faults(ArrayVec<Fault, 64>);

/// Entries taken from one error queue at a time, so that a flood of ICMP cannot hold the loop.
const DRAIN_MAX: usize = 32;

/// What emptying an error queue met.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Drained {
    /// At least one entry, of whatever kind.
    pub(crate) any: bool,
    /// There may be more than was taken.
    pub(crate) more: bool,
}

impl Faults {
    /// Takes what the error queue of a listener's socket holds.
    pub(crate) fn drain(&mut self, socket: BorrowedFd<'_>, listener: u8) -> Drained {
        for taken in 0..DRAIN_MAX {
            match error_queue::take(socket) {
                Ok(Some(error)) if error.unreachable => {
                    self.report(listener, error.peer, FaultSource::Network, &error.quote);
                }
                Ok(Some(_)) => {}
                // A queue that cannot be read has nothing to tell.
                Ok(None) | Err(_) => return Drained { any: taken > 0, more: false },
            }
        }
        Drained { any: true, more: true }
    }

    /// Notes a fault; `sent` is the datagram, or as much as is left of it.
    pub(crate) fn report(&mut self, listener: u8, peer: Endpoint, source: FaultSource, sent: &[u8]) {
        let flow = Flow { peer, listener: ListenerIndex(listener), transport: Transport::Udp };
        let quote = sent.iter().copied().take(QUOTE_BYTES).collect();
        let fault = Fault { flow, source, quote };
        if !self.0.is_full() && !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Fault> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }
}

/// Refusals of one datagram after which it is lost, whatever the error queue says: a flood of ICMP must not hold the loop.
pub(crate) const REFUSALS_MAX: u8 = 4;

/// What a refusal looks like.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The send buffer is full: the datagram is dropped, as any network may, and its transaction sends it again.
    Full,
    /// It may be the destination itself: no route, forbidden, another address family, too large for the way there.
    Destination,
    /// Anything else: most often a pending error that an ICMP message about *another* destination left behind.
    Pending,
}

/// What becomes of a datagram that was refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// It is tried again.
    Again,
    /// It is lost, and nobody is to blame.
    Lost,
    /// It is lost, and its destination is a fault.
    Fault,
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
                | libc::EINVAL
                | libc::EMSGSIZE,
            ) => Refusal::Destination,
            _ => Refusal::Pending,
        }
    }

    /// What to do after so many refusals of this datagram (the first is 1), the error queue having been emptied after this one.
    pub(crate) fn next(self, refusals: u8, drained: bool) -> Next {
        match self {
            Refusal::Full => Next::Lost,
            // A full receive buffer leaves no room for the entry of a pending error: the first refusal never counts.
            _ if refusals == 1 || drained && refusals < REFUSALS_MAX => Next::Again,
            Refusal::Destination if !drained => Next::Fault,
            _ => Next::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Next, REFUSALS_MAX, Refusal};
    use std::io;

    #[test]
    fn only_an_error_over_an_empty_queue_is_the_destinations_own() {
        let refusal = |errno| Refusal::of(&io::Error::from_raw_os_error(errno));
        for errno in [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EPERM, libc::EMSGSIZE, libc::EAFNOSUPPORT] {
            let refusal = refusal(errno);
            assert_eq!(refusal.next(1, false), Next::Again);
            assert_eq!(refusal.next(1, true), Next::Again);
            assert_eq!(refusal.next(2, false), Next::Fault);
            assert_eq!(refusal.next(2, true), Next::Again, "somebody else's error came in between");
            assert_eq!(refusal.next(REFUSALS_MAX, true), Next::Lost);
        }
        // No send of ours is refused like this: it is what an ICMP message leaves behind.
        assert_eq!(refusal(libc::ECONNREFUSED).next(2, false), Next::Lost);
        for errno in [libc::EAGAIN, libc::ENOBUFS] {
            assert_eq!(refusal(errno).next(1, false), Next::Lost);
        }
    }
}
