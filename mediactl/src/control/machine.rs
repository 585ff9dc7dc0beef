//! Who decides about media, as the media task knows it: a sans-IO machine.

use std::net::SocketAddr;

use corelane_core::Instant;
use corelane_core::bus::{ExchangeId, MediaOutcome, MediaReply, MediaRequest};
use corelane_core::call::CallRecord;
use corelane_core::routing::layout::MediaNodeRecord;

use crate::rtpengine::node::NodeConfig;

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

impl From<MediaNodeRecord> for MediaNode {
    fn from(row: MediaNodeRecord) -> MediaNode {
        let MediaNodeRecord { id, set, host, port, weight, max_sessions, enabled } = row;
        MediaNode { id, set, host, port, weight, max_sessions, enabled }
    }
}

pub use crate::rtpengine::client::Outputs;

/// What decides about media: sans-IO, as the engine is.
pub trait MediaMachine {
    /// What of a machine that a panic has ended the next one goes on with.
    type Remains;
    /// Takes that out of one which has ended, and is asked for nothing else any more.
    fn remains(&mut self) -> Self::Remains;
    /// Goes on with it, before anything else.
    fn take_up(&mut self, remains: Self::Remains);
    /// The nodes as they are known now. Comes before anything is asked, and again when an address or an operator's wish changed.
    fn configure(&mut self, now: Instant, nodes: Vec<NodeConfig>);
    /// A shard asks. The reply comes now or later.
    fn on_request(&mut self, now: Instant, shard: u16, request: &MediaRequest<'_>, out: &mut impl Outputs);
    /// A call has ended. When this returns, what the call owes is where it outlives the process.
    fn on_ended(&mut self, now: Instant, call: &CallRecord, out: &mut impl Outputs);
    /// A datagram came in on one of the sockets towards a node, from that node's address.
    fn on_datagram(&mut self, now: Instant, socket: u8, from: SocketAddr, bytes: &[u8], out: &mut impl Outputs);
    /// The kernel says that nobody listens at a node's address.
    fn on_unreachable(&mut self, now: Instant, node: u32, out: &mut impl Outputs);
    /// A node's list of all its sessions, as it came; `None`: there is none to be had.
    fn on_list(&mut self, now: Instant, node: u32, list: Option<&[u8]>, out: &mut impl Outputs);
    /// Time passed.
    fn on_timeout(&mut self, now: Instant, out: &mut impl Outputs);
    /// A time not later than the next due timer; [`Instant::NEVER`] where none runs.
    fn next_timeout(&self) -> Instant;
    /// The addresses at which it holds sessions, or owes deletes, whoever made them.
    fn holds(&self) -> Vec<SocketAddr>;
    /// How many sessions on nodes carry this node's id and are another's.
    fn foreign(&self) -> u64;
    /// Whether a node is not given up: it answers, or has not been silent for long.
    fn answers(&self, node: u32) -> bool;
    /// Whether a delete is to be paid until then to a node that answers: one that is on its way, or waits for its turn.
    fn pays(&self, until: Instant) -> bool;
    /// Its counters by name.
    fn counters(&mut self, each: &mut dyn FnMut(&'static str, u64));
}

/// The machine of a node that has no media nodes.
#[derive(Default)]
pub struct NoNodes;

impl MediaMachine for NoNodes {
    type Remains = ();
    fn remains(&mut self) {}
    fn take_up(&mut self, (): ()) {}
    fn configure(&mut self, _: Instant, _: Vec<NodeConfig>) {}
    fn on_request(&mut self, _: Instant, shard: u16, request: &MediaRequest<'_>, out: &mut impl Outputs) {
        if request.exchange != ExchangeId::NOBODY {
            let reply = MediaReply { exchange: request.exchange, outcome: MediaOutcome::NoNode, node: 0, sdp: b"" };
            out.reply(shard, reply);
        }
    }
    fn on_ended(&mut self, _: Instant, _: &CallRecord, _: &mut impl Outputs) {}
    fn on_datagram(&mut self, _: Instant, _: u8, _: SocketAddr, _: &[u8], _: &mut impl Outputs) {}
    fn on_unreachable(&mut self, _: Instant, _: u32, _: &mut impl Outputs) {}
    fn on_list(&mut self, _: Instant, _: u32, _: Option<&[u8]>, _: &mut impl Outputs) {}
    fn on_timeout(&mut self, _: Instant, _: &mut impl Outputs) {}
    fn next_timeout(&self) -> Instant {
        Instant::NEVER
    }
    fn holds(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
    fn foreign(&self) -> u64 {
        0
    }
    fn answers(&self, _: u32) -> bool {
        true
    }
    fn pays(&self, _: Instant) -> bool {
        false
    }
    fn counters(&mut self, _: &mut dyn FnMut(&'static str, u64)) {}
}
