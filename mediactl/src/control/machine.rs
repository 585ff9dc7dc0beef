//! Who decides about media, as the media task knows it: a sans-IO machine.

use std::collections::VecDeque;
use std::net::SocketAddr;

use corelane_core::Instant;
use corelane_core::bus::{ExchangeId, MediaOutcome, MediaReply, MediaRequest};
use corelane_core::call::CallRecord;
use corelane_core::steering::ShardIndex;

/// A row of table `media_node`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaNode {
    /// Key of the row.
    pub id: u32,
    /// Set that providers name.
    pub set: u32,
    /// Address or name of its ng socket.
    pub host: String,
    /// Its ng port.
    pub port: u16,
    /// Share of calls.
    pub weight: u16,
    /// Sessions at the same time.
    pub max_sessions: u32,
    /// Whether it takes new calls.
    pub enabled: bool,
}

/// What a machine wants done.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Output<'m> {
    /// A datagram to a node.
    Send {
        /// Its id.
        node: u32,
        /// Which of its sockets; any number names one.
        socket: usize,
        /// What.
        bytes: &'m [u8],
    },
    /// An answer to who asked.
    Reply {
        /// The shard.
        shard: ShardIndex,
        /// What came of it.
        reply: MediaReply<'m>,
    },
}

/// What decides about media: sans-IO, as the engine is. After each `on_…` and `configure` its outputs are taken until there is none.
pub trait MediaMachine {
    /// A node's row, its address (`None`: not known), and whether the operator drains it. Comes once for each node before anything
    /// else, and again when something changed.
    fn configure(&mut self, now: Instant, node: &MediaNode, address: Option<SocketAddr>);
    /// A shard asks.
    fn on_request(&mut self, now: Instant, shard: ShardIndex, request: &MediaRequest<'_>);
    /// A call has ended. When this returns, what the call owes is where it outlives the process.
    fn on_ended(&mut self, now: Instant, call: &CallRecord);
    /// A node answers on one of its sockets.
    fn on_datagram(&mut self, now: Instant, node: u32, socket: usize, bytes: &[u8]);
    /// The kernel says that nobody listens at a node's address.
    fn on_unreachable(&mut self, now: Instant, node: u32);
    /// Time passed.
    fn on_timeout(&mut self, now: Instant);
    /// A time not later than the next due timer.
    fn next_timeout(&self) -> Option<Instant>;
    /// The next thing to do.
    fn next_output(&mut self) -> Option<Output<'_>>;
    /// Its counters by name.
    fn counters(&mut self, each: &mut dyn FnMut(&'static str, u64));
}

/// The machine of a node that has no media nodes.
#[derive(Default)]
pub struct NoNodes(VecDeque<(ShardIndex, ExchangeId)>);

impl MediaMachine for NoNodes {
    fn configure(&mut self, _: Instant, _: &MediaNode, _: Option<SocketAddr>) {}
    fn on_request(&mut self, _: Instant, shard: ShardIndex, request: &MediaRequest<'_>) {
        self.0.push_back((shard, request.exchange));
    }
    fn on_ended(&mut self, _: Instant, _: &CallRecord) {}
    fn on_datagram(&mut self, _: Instant, _: u32, _: usize, _: &[u8]) {}
    fn on_unreachable(&mut self, _: Instant, _: u32) {}
    fn on_timeout(&mut self, _: Instant) {}
    fn next_timeout(&self) -> Option<Instant> {
        None
    }
    fn next_output(&mut self) -> Option<Output<'_>> {
        let (shard, exchange) = self.0.pop_front()?;
        Some(Output::Reply { shard, reply: MediaReply { exchange, outcome: MediaOutcome::NoNode, node: 0, sdp: b"" } })
    }
    fn counters(&mut self, _: &mut dyn FnMut(&'static str, u64)) {}
}
