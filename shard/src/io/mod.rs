//! A shard's datagrams in and out, behind one trait with two implementations.
//!
//! One turn of the loop uses it like this; it is chosen by type, so that nothing is dispatched per datagram:
//!
//! ```text
//!   receive() ─► datagram(0 … n−1) ─► recycle()      fault() …      send(batch)      park(timeout), or look() every few turns
//! ```
//!
//! What both keep: no call blocks except [`Io::park`]; nothing is allocated after `new`; a datagram longer than the
//! largest message is cut and says so; a send is done when [`Io::send`] returns; an ICMP error comes out of [`Io::fault`] with the
//! destination that it is about, never out of the send that happened to meet it.

pub(crate) mod fault;
pub(crate) mod mmsg;
pub(crate) mod ring;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use corelane_core::limits::EFFECTS_MAX;
use corelane_core::{Flow, WallTime};

pub(crate) use fault::Fault;

/// Datagrams received in one turn: enough to spread the cost of a call, few enough that timers wait less than a millisecond.
pub(crate) const RECEIVE_BATCH: usize = 64;

/// Datagrams sent in one flush. One input's effects fit whenever at least [`EFFECTS_MAX`] places are free.
pub(crate) const OUTGOING_MAX: usize = 64 + EFFECTS_MAX;

/// How a shard talks to the kernel.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum IoKind {
    /// `recvmmsg`, `sendmmsg` and `ppoll`: the default by measurement (docs/adr/0003-io-backend.md).
    #[default]
    Mmsg,
    /// An io_uring per shard.
    Ring,
}

/// A datagram as it lies in the receive memory.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Received<'a> {
    /// Listener and peer.
    pub(crate) flow: Flow,
    /// When the kernel got it, by the wall clock; `None`: it did not say.
    pub(crate) stamp: Option<WallTime>,
    /// The bytes.
    pub(crate) bytes: &'a [u8],
    /// It was longer than the largest message and was cut there.
    pub(crate) truncated: bool,
}

/// See the module.
pub(crate) trait Io {
    /// Takes what has arrived, at most [`RECEIVE_BATCH`] datagrams, and says how many.
    fn receive(&mut self) -> io::Result<usize>;
    /// One of them; `None` when the kernel gave no usable sender.
    fn datagram(&self, index: usize) -> Option<Received<'_>>;
    /// Ends the use of the batch.
    fn recycle(&mut self);
    /// The next destination known to fail.
    fn fault(&mut self) -> Option<Fault>;
    /// Sends `message(0 … count − 1)`, in order for each flow, and says how many the kernel refused.
    fn send<'b>(&mut self, count: usize, message: impl Fn(usize) -> (Flow, &'b [u8])) -> io::Result<usize>;
    /// The sockets, by listener.
    fn sockets(&self) -> &[OwnedFd];
    /// Waits for a datagram, an error, a wake-up or the timeout.
    fn park(&mut self, timeout: Duration) -> io::Result<()>;
    /// Finds out what has come to any socket, without a wait: for a shard that has had no time to park. No kernel call where there is
    /// nothing to find out.
    fn look(&mut self) -> io::Result<()>;
}

#[cfg(test)]
mod tests;
