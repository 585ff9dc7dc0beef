//! The routing image: one mapped file that answers who a source is and where a number goes.

use arrayvec::ArrayVec;

use crate::flow::Endpoint;
use crate::limits::CANDIDATES_MAX;

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

/// An opened image: cheap to open, every access checked.
pub struct Image<'a> {
    bytes: &'a [u8],
}

/// Why an image cannot be used.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ImageError {
    NotAnImage,
    Layout { found: u32, expected: u32 },
    Truncated,
    Checksum,
    Malformed,
}

/// A source that belongs to a provider.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Recognised {
    /// Whose source it is.
    pub provider: ProviderSlot,
    /// Bytes of tech prefix at the start of the dialled user, to be taken off.
    pub tech_prefix: u8,
}

/// A provider as routing needs it.
pub struct Provider<'a> {
    /// Display name.
    pub name: &'a str,
    /// Routing group of its calls.
    pub routing_group: u32,
    /// Digits taken off the front of the dialled number.
    pub strip: u8,
    /// Put in front of it afterwards.
    pub prepend: &'a [u8],
    /// Listener that requests towards this provider leave from; `None`: the one they came in on.
    pub listener: Option<ListenerSlot>,
    /// Status of refusals that are not the caller's fault (default 503).
    pub refuse_code: u16,
}

/// A gateway as routing needs it.
pub struct Gateway<'a> {
    /// Display name.
    pub name: &'a str,
    /// Where its requests go.
    pub endpoint: Endpoint,
    /// Listener that requests leave from; `None`: the one that the call came in on.
    pub listener: Option<ListenerSlot>,
    /// Digits taken off the front of the routed number.
    pub strip: u8,
    /// Put in front of it afterwards.
    pub prepend: &'a [u8],
}

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
    /// No prefix of the number is routed: 404.
    NoRoute,
    /// Routed, but every gateway is disabled or filtered: 503.
    NoneUsable,
}

impl<'a> Image<'a> {
    /// Opens an image: magic, layout, header checksum, section bounds; O(1) in its size.
    pub fn open(bytes: &'a [u8]) -> Result<Image<'a>, ImageError> {
        todo!()
    }
    /// The generation, one more at each compile.
    #[must_use]
    pub fn generation(&self) -> u64 {
        todo!()
    }
    /// Whose source this is: longest CIDR first, then listener match, port match, longest tech prefix of `user`.
    #[must_use]
    pub fn recognise(&self, listener: ListenerSlot, peer: Endpoint, user: &[u8]) -> Option<Recognised> {
        todo!()
    }
    /// The enabled gateway at this address, if any (for its OPTIONS).
    #[must_use]
    pub fn gateway_at(&self, peer: Endpoint) -> Option<GatewaySlot> {
        todo!()
    }
    /// A provider by slot.
    #[must_use]
    pub fn provider(&self, slot: ProviderSlot) -> Option<Provider<'a>> {
        todo!()
    }
    /// A gateway by slot.
    #[must_use]
    pub fn gateway(&self, slot: GatewaySlot) -> Option<Gateway<'a>> {
        todo!()
    }
    /// Candidates for a normalised number in a routing group: longest prefix, routes by priority and weighted shuffle, then each
    /// carrier's gateways alike, at most [`CANDIDATES_MAX`], no gateway twice. `draw` is 64 random bits.
    pub fn select(&self, routing_group: u32, number: &[u8], draw: u64) -> Result<Candidates, NoCandidate> {
        todo!()
    }
}
