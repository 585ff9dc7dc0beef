//! The io_uring of a shard.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use corelane_core::limits::LISTENERS_MAX;
use corelane_core::{Flow, ListenerIndex, Transport};

use super::fault::{FaultSource, Faults, Next, REFUSALS_MAX, Refusal};
use super::{Fault, Io, OUTGOING_MAX, RECEIVE_BATCH, Received};
use crate::sys::Filled;
use crate::sys::event::EventFd;
use crate::sys::ring::{Arrival, Ring};

/// See the module.
pub(crate) struct Uring {
    // Before the sockets: it ends its requests on them when it is dropped.
    ring: Ring,
    batch: ArrayVec<Arrival, RECEIVE_BATCH>,
    faults: Faults,
    /// Listeners whose error queue may hold more than was taken, one bit each.
    failing: u32,
    /// The kernel was entered since the last look, and brought what had come.
    entered: bool,
    sockets: ArrayVec<OwnedFd, LISTENERS_MAX>,
    _wake: Arc<EventFd>,
}

impl Uring {
    /// Must be made on the thread that uses it.
    ///
    /// # Errors
    /// Those of [`Ring::new`].
    pub(crate) fn new(sockets: ArrayVec<OwnedFd, LISTENERS_MAX>, wake: Arc<EventFd>) -> io::Result<Uring> {
        let ring = Ring::new(sockets.iter().map(AsFd::as_fd), wake.as_fd())?;
        Ok(Uring {
            ring,
            batch: ArrayVec::new(),
            faults: Faults::default(),
            failing: 0,
            entered: false,
            sockets,
            _wake: wake,
        })
    }

    /// Buffers that the kernel has not got back.
    #[cfg(test)]
    pub(crate) fn buffers_used(&self) -> usize {
        self.ring.buffers_used()
    }

    /// The listeners that had anything, one bit each.
    fn drain_errors(&mut self, failing: u32) -> u32 {
        let mut any = 0;
        for listener in (0..self.sockets.len()).filter(|listener| failing & (1 << listener) != 0) {
            let drained = self.faults.drain(self.sockets[listener].as_fd(), listener as u8);
            self.failing = self.failing & !(1 << listener) | u32::from(drained.more) << listener;
            any |= u32::from(drained.any) << listener;
        }
        any
    }
}

impl Io for Uring {
    fn receive(&mut self) -> io::Result<usize> {
        self.recycle();
        self.ring.take(&mut self.batch);
        // An ICMP error ends a multishot receive with the pending error, so nothing else has to watch the error queue.
        self.failing |= self.ring.take_failing();
        self.drain_errors(self.failing);
        Ok(self.batch.len())
    }

    fn datagram(&self, index: usize) -> Option<Received<'_>> {
        let arrival = &self.batch[index];
        let Filled { peer, stamp, bytes, truncated } = self.ring.datagram(arrival);
        let listener = ListenerIndex(arrival.listener);
        Some(Received { flow: Flow { peer: peer?, listener, transport: Transport::Udp }, stamp, bytes, truncated })
    }

    fn recycle(&mut self) {
        self.ring.recycle(self.batch.drain(..));
    }

    fn fault(&mut self) -> Option<Fault> {
        self.faults.pop()
    }

    fn send<'b>(&mut self, count: usize, message: impl Fn(usize) -> (Flow, &'b [u8])) -> io::Result<usize> {
        let entry = |index: usize| {
            let (flow, bytes) = message(index);
            (flow.listener.0, flow.peer, bytes)
        };
        let mut places: ArrayVec<u8, OUTGOING_MAX> = (0..count as u8).collect();
        let mut refused: ArrayVec<(u8, Refusal), OUTGOING_MAX> = ArrayVec::new();
        let mut lost = 0;
        self.entered = true;
        // All go into one submit, then those that were refused, in their order, again.
        for refusals in 1..=REFUSALS_MAX {
            self.ring.send(
                places.len(),
                |index| entry(usize::from(places[index])),
                |index, errno| {
                    if errno != 0 {
                        refused.push((places[index], Refusal::of(&io::Error::from_raw_os_error(errno))));
                    }
                },
            )?;
            if refused.is_empty() {
                break;
            }
            let listeners = refused.iter().fold(0, |bits, (place, _)| bits | 1 << entry(usize::from(*place)).0);
            let drained = self.drain_errors(listeners);
            places.clear();
            for (place, refusal) in refused.drain(..) {
                let (listener, peer, bytes) = entry(usize::from(place));
                match refusal.next(refusals, drained & 1 << listener != 0) {
                    Next::Again => places.push(place),
                    Next::Lost => lost += 1,
                    Next::Fault => {
                        lost += 1;
                        self.faults.report(listener, peer, FaultSource::Kernel, bytes);
                    }
                }
            }
            if places.is_empty() {
                break;
            }
            // Completions come in the order of submission nearly always; the next submit must have it always.
            places.sort_unstable();
        }
        Ok(lost)
    }

    fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }

    fn park(&mut self, timeout: Duration) -> io::Result<()> {
        self.entered = true;
        self.ring.wait(if self.failing == 0 { timeout } else { Duration::ZERO })
    }

    fn look(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.entered) { Ok(()) } else { self.ring.look() }
    }
}
