//! The perf harness: what a call through Corelane costs, as a ratio to what it must cost.
//!
//! ```text
//!   bench ─── starts and samples ──►  floor | corelane          the system under test, on a CPU of its own
//!     └─────── load ◄── datagrams ──►   (the same for both)      caller and callee in one thread, on another CPU
//!
//!   engine ── drives corelane_core::Engine without sockets       instructions (callgrind) and allocations per call
//!   relay ─── answers ng in rtpengine's place               scale and faults of media control
//!   sim ───── the same engine in a world drawn from a seed      every fault, every audit, nothing left
//! ```
//!
//! Rules: every figure is a ratio taken in one run, or a count. A run that saw kernel drops, failed calls or a generator
//! behind its schedule is no figure and ends with an error. The harness shares no parser and no writer with what it
//! measures ([`wire`] is its own), and its kernel calls are its own too ([`sys`]).

#![deny(unsafe_code)]

pub mod bench;
pub mod engine_calls;
pub mod floor;
pub mod histogram;
pub mod kernel;
pub mod load;
pub mod media;
pub mod relay;
pub mod sim;
pub mod sys;
pub mod wire;
