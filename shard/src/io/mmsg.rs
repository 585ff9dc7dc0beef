//! `recvmmsg`, `sendmmsg`, `ppoll`.
//!
//! A socket is *ready* from the poll that said so until a receive comes back short; only ready sockets are asked, so a turn with
//! one busy listener of sixteen makes one receive call, not sixteen. A poll is the wait of [`Io::park`], or [`Io::look`] while there
//! is no time to wait: without it one listener whose queue never empties would hide all others.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use corelane_core::limits::LISTENERS_MAX;
use corelane_core::{Flow, ListenerIndex, Transport};

use super::fault::{Drained, FaultSource, Faults, Next, Refusal};
use super::{Fault, Io, OUTGOING_MAX, RECEIVE_BATCH, Received};
use crate::sys::Filled;
use crate::sys::event::{EventFd, PollSet};
use crate::sys::mmsg::{ReceiveBatch, SendBatch};

/// See the module.
pub(crate) struct Mmsg {
    sockets: ArrayVec<OwnedFd, LISTENERS_MAX>,
    wake: Arc<EventFd>,
    poll: PollSet,
    received: ReceiveBatch,
    /// The listener of each received datagram.
    listener_of: ArrayVec<u8, RECEIVE_BATCH>,
    sending: SendBatch,
    faults: Faults,
    /// Listeners that may have a datagram, one bit each.
    ready: u32,
    /// Listeners that may have an entry in the error queue, one bit each.
    failing: u32,
    /// The listener served first in the next turn, so that a busy one cannot starve the others.
    first: usize,
}

impl Mmsg {
    pub(crate) fn new(sockets: ArrayVec<OwnedFd, LISTENERS_MAX>, wake: Arc<EventFd>) -> Mmsg {
        let poll = PollSet::new(sockets.iter().map(AsFd::as_fd).chain([wake.as_fd()]));
        Mmsg {
            poll,
            received: ReceiveBatch::new(),
            listener_of: ArrayVec::new(),
            sending: SendBatch::new(),
            faults: Faults::default(),
            ready: 0,
            failing: 0,
            first: 0,
            sockets,
            wake,
        }
    }

    /// Learns which sockets have something, after at most `timeout`.
    fn poll(&mut self, timeout: Duration) -> io::Result<()> {
        self.poll.wait(timeout)?;
        for listener in 0..self.sockets.len() {
            let found = self.poll.readiness(listener);
            self.ready |= u32::from(found.readable) << listener;
            self.failing |= u32::from(found.error) << listener;
        }
        if self.poll.readiness(self.sockets.len()).readable {
            self.wake.clear();
        }
        Ok(())
    }

    /// Whether there was anything.
    fn drain_errors(&mut self, listener: usize) -> bool {
        let Drained { any, more } = self.faults.drain(self.sockets[listener].as_fd(), listener as u8);
        self.failing = self.failing & !(1 << listener) | u32::from(more) << listener;
        any
    }

    /// Sends the messages of one listener, given by their places; says how many the kernel refused.
    fn send_from<'b>(&mut self, listener: usize, places: &[u8], message: &impl Fn(usize) -> (Flow, &'b [u8])) -> usize {
        // How many are done, how many of them are lost, and how often the next one was refused.
        let (mut next, mut lost, mut refusals) = (0, 0, 0);
        while next < places.len() {
            let rest = places[next..].iter().map(|place| {
                let (flow, bytes) = message(usize::from(*place));
                (flow.peer, bytes)
            });
            let error = match self.sending.send(self.sockets[listener].as_fd(), rest) {
                Ok(count) => {
                    (next, refusals) = (next + count, 0);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let refusal = Refusal::of(&error);
            if refusal == Refusal::Full {
                // The rest would meet the same full buffer, one call each.
                return lost + places.len() - next;
            }
            refusals += 1;
            let drained = self.drain_errors(listener);
            match refusal.next(refusals, drained) {
                Next::Again => continue,
                Next::Lost => {}
                Next::Fault => {
                    let (flow, bytes) = message(usize::from(places[next]));
                    self.faults.report(listener as u8, flow.peer, FaultSource::Kernel, bytes);
                }
            }
            (next, lost, refusals) = (next + 1, lost + 1, 0);
        }
        lost
    }
}

impl Io for Mmsg {
    fn receive(&mut self) -> io::Result<usize> {
        self.listener_of.clear();
        let (first, listeners) = (self.first, self.sockets.len());
        for listener in (0..listeners).map(|step| (first + step) % listeners) {
            if self.failing & (1 << listener) != 0 {
                self.drain_errors(listener);
            }
            let from = self.listener_of.len();
            if self.ready & (1 << listener) == 0 || from == RECEIVE_BATCH {
                continue;
            }
            match self.received.receive(self.sockets[listener].as_fd(), from) {
                Ok(count) => {
                    (0..count).for_each(|_| self.listener_of.push(listener as u8));
                    if from + count < RECEIVE_BATCH {
                        self.ready &= !(1 << listener);
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.ready &= !(1 << listener),
                    io::ErrorKind::Interrupted => {}
                    // A pending error; the socket stays ready and is asked again in the next turn.
                    _ => self.failing |= 1 << listener,
                },
            }
        }
        self.first = (first + 1) % listeners;
        Ok(self.listener_of.len())
    }

    fn datagram(&self, index: usize) -> Option<Received<'_>> {
        let Filled { peer, stamp, bytes, truncated } = self.received.datagram(index);
        let listener = ListenerIndex(self.listener_of[index]);
        Some(Received { flow: Flow { peer: peer?, listener, transport: Transport::Udp }, stamp, bytes, truncated })
    }

    fn recycle(&mut self) {
        self.listener_of.clear();
    }

    fn fault(&mut self) -> Option<Fault> {
        self.faults.pop()
    }

    fn send<'b>(&mut self, count: usize, message: impl Fn(usize) -> (Flow, &'b [u8])) -> io::Result<usize> {
        let mut refused = 0;
        let mut done = 0;
        for listener in 0..self.sockets.len() {
            let places: ArrayVec<u8, OUTGOING_MAX> = (0..count as u8)
                .filter(|place| usize::from(message(usize::from(*place)).0.listener.0) == listener)
                .collect();
            refused += self.send_from(listener, &places, &message);
            done += places.len();
            if done == count {
                break;
            }
        }
        assert!(done == count, "a flow names a listener of this node");
        Ok(refused)
    }

    fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }

    fn park(&mut self, timeout: Duration) -> io::Result<()> {
        self.poll(if (self.ready | self.failing) == 0 { timeout } else { Duration::ZERO })
    }

    fn look(&mut self) -> io::Result<()> {
        let all = u32::MAX >> (u32::BITS - self.sockets.len() as u32);
        // A socket that is ready is asked in any case, and tells of an error itself.
        if self.ready == all { Ok(()) } else { self.poll(Duration::ZERO) }
    }
}
