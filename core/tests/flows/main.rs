//! Call flows against the real engine: two peers, one clock, messages as text (RFC 3261 §16, §17, §24; RFC 3665 §3).

mod admission;
mod cancel;
mod columns;
mod dialogs;
mod documents;
mod forks;
mod hangup;
mod hunting;
mod identity;
mod image;
mod intervals;
mod listeners;
mod media;
mod misbehaviour;
mod numbers;
mod reasons;
mod refusals;
mod retransmission;
mod rfc3665;
mod scarcity;
mod session;
mod setup;
mod tokens;
mod torture;
mod windows;
mod world;
