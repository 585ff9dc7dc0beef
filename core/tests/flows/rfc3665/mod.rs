//! The session flows of RFC 3665 §3 that pass through a proxy, message by message, Corelane in a proxy's place.
//!
//! ```text
//!   §3.2  through two proxies             established.rs     §3.8   no answer                    unsuccessful.rs
//!   §3.3  multiple proxy authentication   established.rs     §3.9   busy                         unsuccessful.rs
//!   §3.4  proxy failure                   established.rs     §3.10  no response from the agent   unsuccessful.rs
//!   §3.6  SDP in the ACK                  changes.rs         §3.11  temporarily unavailable      unsuccessful.rs
//!   §3.7  re-INVITE, new address          changes.rs
//! ```
//!
//! §3.1 has no proxy, and what §3.5 adds to §3.2 is a media relay's.
//!
//! What differs from the RFC's pages in every flow, and why:
//!
//! - Corelane never challenges: it knows its providers by their address. The 407 of the nearest proxy and what follows on it are left out.
//! - It Record-Routes always, since it has to see the end of what it admitted. So ACK, BYE and re-INVITE come through it in flows where the
//!   RFC's proxy stepped aside.
//! - The ACK of a refusal leaves before the refusal goes on (RFC 3261 §17.1.1.3 and §16.7 leave the order open).

mod changes;
mod established;
mod figure;
mod stage;
mod unsuccessful;
