//! The routing image: one mapped file that answers who a source is and where a number goes.
//!
//! ```text
//!   source address ──► sources ──► provider ──► routing group ─┐
//!   dialled number ──► digits ─────────────────────────────────┴─► trie ──► prefix ──► routes ──► carriers ──► gateways
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `layout` | header, sections, records: what the file is made of |
//! | `image` | opening and verifying a file; reading a record by slot |
//! | `digits`, `trie` | numbers and their longest prefix |
//! | `sources` | addresses and their provider |
//! | `select` | candidates of a number |
//! | `window` | which routes are there at a time; local days |
//! | `build` | the other direction: records to bytes. Allocates; never on a shard's path |
//!
//! Opening checks the header, the bounds of all sections and every archive in them (pointers, lengths, UTF-8, enums), not the
//! checksum of the body: that is [`Image::verify`]. A reader trusts no number that it finds: whatever leads outside is "no match", so that
//! no image, however damaged, can panic a shard.
//!
//! Calls keep slots, never references: a slot belongs to one id over all generations.

use arrayvec::ArrayVec;

use crate::limits::CANDIDATES_MAX;

pub mod build;
mod digits;
mod image;
pub mod layout;
mod select;
mod sources;
pub mod trie;
mod verify;
mod window;

pub use digits::Digits;
pub(crate) use digits::are_digits;
pub use image::{AddressCap, Carrier, Counts, Gateway, Image, ImageError, Provider, Recognised};
pub use layout::{NO_SLOT, NumberFormat, Privacy, Redirect, Refer, Schedule, TimeoutMode};
pub use select::{PrefixNumber, Route};
pub use window::{Availability, LocalTime};

/// A listener's stable number in the image.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct ListenerSlot(pub u16);
/// A provider's stable number: kept over generations for the same id.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct ProviderSlot(pub u16);
/// A carrier's stable number.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct CarrierSlot(pub u16);
/// A gateway's stable number.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct GatewaySlot(pub u16);

/// One gateway to try.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The gateway.
    pub gateway: GatewaySlot,
    /// The carrier that it was reached through.
    pub carrier: CarrierSlot,
}

/// Gateways to try, in order.
pub type Candidates = ArrayVec<Candidate, CANDIDATES_MAX>;

/// Why there is no candidate.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum NoCandidate {
    /// No prefix of the number has a route that is there at this time: 404.
    NoRoute,
    /// Routed, but every gateway is disabled or filtered: 503.
    NoneUsable,
}

#[cfg(test)]
mod tests;
