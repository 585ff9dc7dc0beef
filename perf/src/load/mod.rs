//! The call generator: caller and callee in one thread, calls started on a schedule that waits for nobody.
//!
//! ```text
//!   Pace ──due──► CallerSide ──INVITE──► target ──INVITE──► CalleeSide     100, 180 at once; 200 after `ring`
//!                            ◄─100 180 200──      ◄──────                  ACK on the 200, BYE after `hold`
//!   Delays: ring, hold, and RFC 3261 retransmissions (T1, 2 T1, …), one queue per constant delay
//! ```
//!
//! Open loop: a target that slows down gets the next call all the same, as from a real network. Being late is the
//! generator's own fault, is measured, and spoils the run ([`Report::saturated`]). Everything goes to the target, also ACK
//! and BYE, so that the same generator drives the floor, which has no Record-Route.

pub mod callee;
pub mod caller;
pub mod delays;
pub mod pace;
pub mod relayed;
pub mod report;
mod run;
pub mod series;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use report::Report;
pub use run::run;

/// What to place, where and how fast.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// The system under test.
    #[arg(long, value_name = "ADDR:PORT")]
    pub target: SocketAddr,
    /// Where the caller sends from; further sources take the next ports, with port 0 any free ones.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.2:0")]
    pub uac_bind: SocketAddr,
    /// Where the callee listens: the gateway of the system under test.
    #[arg(long, value_name = "ADDR:PORT")]
    pub uas_bind: SocketAddr,
    /// Calls started per second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub cps: u32,
    /// Calls in all.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub calls: u32,
    /// From the callee's 180 to its 200.
    #[arg(long, default_value_t = 50)]
    pub ring_ms: u64,
    /// From the caller's ACK to its BYE.
    #[arg(long, default_value_t = 100)]
    pub hold_ms: u64,
    /// Sockets that the caller sends from, in turn by call.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub sources: u16,
    /// What every dialled number starts with.
    #[arg(long, default_value = "4930")]
    pub number_prefix: String,
    /// Digits dialled after it, different from call to call.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(0..=15))]
    pub number_digits: u32,
    /// Calls are started in bursts of this length of schedule; 0 starts each at its own instant.
    #[arg(long, default_value_t = 500)]
    pub burst_us: u64,
    /// RFC 3261 T1: first retransmission of INVITE, BYE and 200.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub t1_ms: u64,
    /// How late a call may start before the run counts as saturated.
    #[arg(long, default_value_t = 50)]
    pub late_ms: u64,
    /// The system under test's process, for its CPU per call.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Idle time after the last call before the last CPU sample, so that deferred work (timers, frees) is charged too.
    #[arg(long, default_value_t = 1000)]
    pub drain_ms: u64,
    /// Addresses of media relays: every SDP that arrives must name one of them. None: direct media, not looked at.
    #[arg(long, value_name = "ADDR")]
    pub relays: Vec<IpAddr>,
    /// Also count by slices of this length; 0 does not.
    #[arg(long, default_value_t = 0)]
    pub slice_ms: u64,
}

impl Plan {
    /// T1.
    #[must_use]
    pub fn t1(&self) -> Duration {
        Duration::from_millis(self.t1_ms)
    }

    /// The longest wait for an answer: 64 × T1 (Timers B, F, H) on top of the ringing.
    #[must_use]
    pub fn give_up(&self) -> Duration {
        self.t1() * 64
    }
}
