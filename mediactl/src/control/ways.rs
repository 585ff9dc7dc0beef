//! The ways out of the media task: what the machine wants done goes there at once.
//!
//! **Full.** A socket that takes nothing loses a datagram that is asked again. Replies that a shard has no room for are kept; with [`KEPT_MAX`] of them no
//! more of its requests are read, so that its ring fills and it answers itself.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use corelane_core::bus::{ExchangeId, MediaOutcome, MediaReply};
use corelane_core::steering::ShardIndex;
use corelane_shard::ControlBus;

use super::counter::{Counter, Shared};
use super::machine::Outputs;
use super::sockets::{Sent, Sockets};

/// Replies kept for a shard that has no room; behind that, its requests wait in their ring.
const KEPT_MAX: usize = 1024;

/// A reply that waits for room.
struct Kept {
    exchange: ExchangeId,
    outcome: MediaOutcome,
    node: u32,
    sdp: Box<[u8]>,
}

/// All of them.
pub(super) struct Ways {
    pub(super) bus: ControlBus,
    pub(super) sockets: Sockets,
    kept: Vec<VecDeque<Kept>>,
    /// Nodes of which a send said that nobody listens there; the machine hears of it next.
    pub(super) unreachable: Vec<u32>,
    shared: Arc<Shared>,
}

impl Ways {
    /// To these shards, and to no node yet.
    pub(super) fn new(bus: ControlBus, shared: Arc<Shared>) -> Ways {
        let kept = (0..bus.shards()).map(|_| VecDeque::new()).collect();
        Ways { bus, sockets: Sockets::default(), kept, unreachable: Vec::new(), shared }
    }

    /// The next request of a shard for whose replies there is room.
    pub(super) fn next_request<'r>(&mut self, request: &'r mut [u8]) -> Option<(ShardIndex, &'r [u8])> {
        let kept = &self.kept;
        self.bus.next_request(request, |shard| kept[usize::from(shard.0)].len() < KEPT_MAX)
    }

    /// Whether a reply is kept.
    pub(super) fn any_kept(&self) -> bool {
        self.kept.iter().any(|kept| !kept.is_empty())
    }

    /// Tries kept replies again, oldest first.
    pub(super) fn offer_kept(&mut self) {
        let mut waiting = 0;
        for (shard, kept) in self.kept.iter_mut().enumerate() {
            while let Some(Kept { exchange, outcome, node, sdp }) = kept.front() {
                let reply = MediaReply { exchange: *exchange, outcome: *outcome, node: *node, sdp };
                if !self.bus.reply(ShardIndex(shard as u8), &reply) {
                    break;
                }
                kept.pop_front();
            }
            waiting += kept.len();
        }
        self.shared.set(Counter::RepliesWaiting, waiting as u64);
    }
}

impl Outputs for Ways {
    fn send(&mut self, node: u32, socket: u8, _: SocketAddr, bytes: &[u8]) {
        match self.sockets.send(node, socket.into(), bytes) {
            Sent::Taken => {}
            Sent::Dropped => self.shared.add(Counter::SendsDropped, 1),
            Sent::Unreachable if self.unreachable.contains(&node) => {}
            Sent::Unreachable => self.unreachable.push(node),
        }
    }

    fn reply(&mut self, shard: u16, reply: MediaReply<'_>) {
        let kept = &mut self.kept[usize::from(shard)];
        if !kept.is_empty() || !self.bus.reply(ShardIndex(shard as u8), &reply) {
            let MediaReply { exchange, outcome, node, sdp } = reply;
            kept.push_back(Kept { exchange, outcome, node, sdp: sdp.into() });
            self.shared.add(Counter::RepliesKept, 1);
        }
    }
}
