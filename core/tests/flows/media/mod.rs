//! Calls through media nodes: offer and answer in every position, bad replies, what happens while one is pending (SPEC §5, docs/media.md).
//! Every test ends by looking at all that left: nowhere is an endpoint's own SDP.

mod bad;
mod crossing;
mod early;
mod forks;
mod hunting;
mod idle;
mod inside;
pub(crate) mod node;
mod order;
mod places;
mod search;
mod setup;
mod through;
