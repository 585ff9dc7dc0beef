//! A stand-in for rtpengine: answers the ng protocol for as many sessions as a test wants, and fails as told.
//!
//! ```text
//!   Corelane's control core ──"cookie bencode"──► serve ──► node: replies by cookie, sessions, SDP ──► serve ──► back
//!   bench or test ──────────── one line of text ──► faults: delay, loss, errors, limits, freeze, lies
//! ```
//!
//! No RTP: `c=` and `m=` lines name this node's address and ports, nobody listens there. What a session costs here is a table place, so
//! that one process stands for a fleet that would not fit on the machine. Wire code is this package's own ([`bencode`], [`sdp`]): it
//! shares none with what it measures.

pub mod bencode;
pub mod counts;
pub mod faults;
pub mod node;
pub mod replies;
pub mod sdp;
pub mod serve;
pub mod sessions;
mod tcp;

use std::net::{IpAddr, SocketAddr};

pub use counts::Counts;
pub use serve::Relay;

/// How a node is set up.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Where it answers ng over UDP.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Where it answers ng over TCP too, as rtpengine's `listen-tcp-ng`.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen_tcp: Option<SocketAddr>,
    /// Where it takes control lines, one per datagram [a free port of the ng address].
    #[arg(long, value_name = "ADDR:PORT")]
    pub control: Option<SocketAddr>,
    /// The address in the SDP [that of ng].
    #[arg(long, value_name = "ADDR")]
    pub media_host: Option<IpAddr>,
    /// Places of the session table.
    #[arg(long, default_value_t = 100_000)]
    pub sessions_max: usize,
    /// How long a reply is remembered by its cookie, at least.
    #[arg(long, default_value_t = 5_000)]
    pub remember_ms: u64,
    /// A control line to begin with, e.g. `loss 100`; may be given several times.
    #[arg(long, value_name = "LINE")]
    pub set: Vec<String>,
    /// The draws of what goes wrong.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}
