//! Writing an image: records in, bytes out.
//!
//! This is the compiler's back end, pure and without input or output of its own; it allocates and is never on a shard's path.
//! Reading tables, telling an operator what is wrong with them and keeping slots over generations is the control core's part;
//! what arrives here is expected to be right, and what is not is refused as a [`BuildError`] that names the row by its place. Tests build
//! small images with [`Builder`].

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use rkyv::api::high::HighSerializer;
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Serialize};

use crate::routing::digits::Digits;
use crate::routing::image::header_checksum;
use crate::routing::layout::{
    ALIGNMENT, BODY_START, HEADER_SIZE, LAYOUT, MAGIC, Origins, ROUTES_PER_PREFIX_MAX, Routes, SECTION_ENTRY_SIZE,
    SECTIONS, Schedule, Section, Tables,
};

mod builder;
mod routes;
mod sources;
mod trie;

pub use builder::Builder;

/// The bytes of an image, aligned so that they can be read in place.
pub type ImageBytes = AlignedVec<ALIGNMENT>;

/// Everything that goes into an image.
#[derive(Clone, Default, Debug)]
pub struct Plan {
    /// One more than the last good image's.
    pub generation: u64,
    /// Microseconds since 1970 UTC.
    pub compiled_at: u64,
    /// Records by slot.
    pub tables: Tables,
    /// Rows of `provider_address`.
    pub addresses: Vec<Address>,
    /// Enabled rows of `route`, in any order.
    pub routes: Vec<RouteRow>,
}

/// One row of `provider_address`, by slots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Provider slot.
    pub provider: u16,
    /// Listener slot; `None`: any.
    pub listener: Option<u16>,
    /// First address of the network.
    pub network: IpAddr,
    /// Bits that count.
    pub prefix_len: u8,
    /// Source port; `None`: any.
    pub port: Option<u16>,
    /// Start of the dialled user, at most 16 bytes without a zero.
    pub tech_prefix: Vec<u8>,
    /// Slot of its cap, and new calls per second; `None`: no cap.
    pub cap: Option<(u16, u32)>,
}

/// One row of `route`, by slots.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct RouteRow {
    /// Where it belongs.
    pub routing_group: u32,
    /// What it is for.
    pub prefix: Digits,
    /// Lower is tried first.
    pub priority: u16,
    /// Carrier slot.
    pub carrier: u16,
    /// Share among equals.
    pub weight: u16,
    /// When it is there.
    pub schedule: Schedule,
    /// `route.id`.
    pub id: u32,
    /// `route.cost` in millionths; `u32::MAX`: not given.
    pub cost: u32,
}

/// Why a plan is no image.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// Two rows of `addresses` (places) have the same network, listener, port and tech prefix.
    DuplicateAddress {
        /// The earlier row.
        first: usize,
        /// The later one.
        second: usize,
    },
    /// A prefix has more routes than one selection may look at.
    TooManyRoutes {
        /// The group.
        routing_group: u32,
        /// The prefix.
        prefix: Digits,
    },
    /// More prefixes, route sets or nodes than the layout can number.
    TooLarge,
}

impl fmt::Display for BuildError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::DuplicateAddress { first, second } => {
                write!(out, "addresses {first} and {second} have the same network, listener, port and tech prefix")
            }
            BuildError::TooManyRoutes { routing_group, prefix } => {
                write!(out, "more than {ROUTES_PER_PREFIX_MAX} routes for prefix '{prefix}' of group {routing_group}")
            }
            BuildError::TooLarge => out.write_str("more routes than one image can hold"),
        }
    }
}

impl core::error::Error for BuildError {}

/// Turns a plan into an image.
///
/// # Errors
/// [`BuildError`]: duplicates and limits.
pub fn encode(plan: Plan) -> Result<ImageBytes, BuildError> {
    let Plan { generation, compiled_at, tables, addresses, routes } = plan;
    let sources = sources::build(&tables, &addresses)?;
    let (trie, routes, origins) = routes::build(routes)?;

    let mut bytes = ImageBytes::new();
    bytes.resize(BODY_START, 0);
    let mut ends = [(0, 0); SECTIONS];
    append(&mut bytes, &mut ends[0], &tables);
    append(&mut bytes, &mut ends[1], &sources);
    append(&mut bytes, &mut ends[2], &trie);
    append(&mut bytes, &mut ends[3], &routes);
    append(&mut bytes, &mut ends[4], &origins);
    seal(&mut bytes, generation, compiled_at, &ends);
    Ok(bytes)
}

/// Appends one archive on the next aligned place.
fn append<T>(bytes: &mut ImageBytes, end: &mut (usize, usize), value: &T)
where
    T: Archive + for<'a> Serialize<HighSerializer<ImageBytes, ArenaHandle<'a>, rancor::Error>>,
{
    // Into a buffer of its own: an archive's pointers and padding count from its own start.
    let archive = rkyv::api::high::to_bytes_in::<_, rancor::Error>(value, ImageBytes::new());
    // A serializer into memory fails only where a record links to itself, and none does.
    let archive = archive.expect("plain records serialize");
    let start = bytes.len().next_multiple_of(ALIGNMENT);
    bytes.resize(start, 0);
    bytes.extend_from_slice(&archive);
    *end = (start, archive.len());
}

/// Writes the header over the zeros at the start.
fn seal(bytes: &mut ImageBytes, generation: u64, compiled_at: u64, sections: &[(usize, usize); SECTIONS]) {
    let total = bytes.len() as u64;
    let body_checksum = crc32fast::hash(&bytes[BODY_START..]);
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &MAGIC);
    put(8, &LAYOUT.to_le_bytes());
    put(12, &(BODY_START as u32).to_le_bytes());
    put(16, &generation.to_le_bytes());
    put(24, &compiled_at.to_le_bytes());
    put(32, &total.to_le_bytes());
    put(40, &(SECTIONS as u32).to_le_bytes());
    put(44, &body_checksum.to_le_bytes());
    for (section, (start, len)) in Section::ALL.into_iter().zip(sections) {
        let at = HEADER_SIZE + (section as usize - 1) * SECTION_ENTRY_SIZE;
        put(at, &(section as u32).to_le_bytes());
        put(at + 8, &(*start as u64).to_le_bytes());
        put(at + 16, &(*len as u64).to_le_bytes());
    }
    let checksum = header_checksum(&bytes[..BODY_START]);
    bytes[HEADER_SIZE - 4..HEADER_SIZE].copy_from_slice(&checksum.to_le_bytes());
}

/// Makes the checksums of a changed image right again, so that tests reach what lies behind them.
#[cfg(test)]
pub(super) fn reseal(bytes: &mut [u8]) {
    let body_checksum = crc32fast::hash(&bytes[BODY_START..]);
    bytes[44..48].copy_from_slice(&body_checksum.to_le_bytes());
    let checksum = header_checksum(&bytes[..BODY_START]);
    bytes[HEADER_SIZE - 4..HEADER_SIZE].copy_from_slice(&checksum.to_le_bytes());
}

/// Route sets and origins start empty with one boundary.
impl Routes {
    fn empty() -> Routes {
        Routes { first: alloc::vec![0], ..Routes::default() }
    }
}

impl Origins {
    fn with_capacity(routes: usize) -> Origins {
        Origins { first: alloc::vec![0], ids: Vec::with_capacity(routes), costs: Vec::with_capacity(routes) }
    }
}
