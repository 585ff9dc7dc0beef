//! Opening an image, and reading records from it by slot.

use core::fmt;
use core::net::IpAddr;

use rkyv::api::low::LowValidator;
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Failure;
use rkyv::{Archived, Portable};

use crate::flow::{Endpoint, Transport};
use crate::routing::layout::{
    ALIGNMENT, ArchivedPlace, BODY_START, CarrierRecord, HEADER_SIZE, LAYOUT, MAGIC, NO_SLOT, NumberFormat, Origins,
    Place, Privacy, Redirect, Refer, Routes, SECTION_ENTRY_SIZE, SECTIONS, Section, Sources, Tables, TimeoutMode, Trie,
};
use crate::routing::{CarrierSlot, GatewaySlot, ListenerSlot, ProviderSlot, sources};

/// An opened image: cheap to open, every access checked.
#[derive(Copy, Clone)]
pub struct Image<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) tables: &'a Archived<Tables>,
    pub(super) sources: &'a Archived<Sources>,
    pub(super) trie: &'a Archived<Trie>,
    pub(super) routes: &'a Archived<Routes>,
    pub(super) origins: &'a Archived<Origins>,
}

/// Why an image cannot be used.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// The file does not start like an image.
    NotAnImage,
    /// An image of another version: compile it again.
    Layout {
        /// Version in the file.
        found: u32,
        /// Version that this program reads.
        expected: u32,
    },
    /// The file is shorter or longer than its header says.
    Truncated,
    /// The header or the body was changed after it was written.
    Checksum,
    /// The checksums may be right, but what they cover is no image.
    Malformed,
}

impl fmt::Display for ImageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::NotAnImage => out.write_str("not a routing image; name the file that `routes compile` wrote"),
            ImageError::Layout { found, expected } => {
                write!(out, "image layout {found}, this version reads layout {expected}; compile the routes again")
            }
            ImageError::Truncated => out.write_str("the image is cut short; copy it again or compile the routes again"),
            ImageError::Checksum => out.write_str("the image is damaged (checksum); compile the routes again"),
            ImageError::Malformed => out.write_str("the image is damaged (structure); compile the routes again"),
        }
    }
}

impl core::error::Error for ImageError {}

/// A source that belongs to a provider.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Recognised {
    /// Whose source it is.
    pub provider: ProviderSlot,
    /// Bytes of tech prefix at the start of the dialled user, to be taken off.
    pub tech_prefix: u8,
    /// The cap of this row of `provider_address`.
    pub cap: Option<AddressCap>,
}

/// The cap of one row of `provider_address`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct AddressCap {
    /// Its slot, the same for the same row in all images.
    pub slot: u16,
    /// New calls per second.
    pub max_cps: u32,
}

/// A provider as routing needs it. What is `None` follows the node's own setting.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Provider<'a> {
    /// Key of the row.
    pub id: u32,
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
    /// New calls per second; `None`: no cap.
    pub max_cps: Option<u32>,
    /// Calls above the rate taken at once.
    pub burst: Option<u32>,
    /// Calls at the same time.
    pub max_calls: Option<u32>,
    /// Calls per day in `zone`.
    pub max_calls_day: Option<u32>,
    /// Minutes per day in `zone`.
    pub max_minutes_day: Option<u32>,
    /// Time zone name of the daily limits.
    pub zone: &'a str,
    /// RFC 4028 session interval, seconds.
    pub session_expires_s: Option<u32>,
    /// RFC 4028 smallest session interval, seconds.
    pub min_se_s: Option<u32>,
    /// INVITE in to first 101–199 or final response.
    pub invite_timeout_ms: Option<u32>,
    /// Timer C.
    pub ring_timeout_ms: Option<u32>,
    /// Confirmed dialog without refresh, seconds.
    pub default_timeout_s: Option<u32>,
    /// What `default_timeout_s` does at its end.
    pub timeout_mode: TimeoutMode,
    /// What a 3xx does.
    pub redirect: Redirect,
    /// What a REFER does.
    pub refer: Refer,
    /// RFC 3325 trust.
    pub privacy: Privacy,
    /// Media nodes to use.
    pub media_set: Option<u32>,
    /// Flags of the media relay.
    pub media_flags: &'a str,
}

/// A gateway as routing needs it. What is `None` follows the node's own setting.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Gateway<'a> {
    /// Key of the row.
    pub id: u32,
    /// Display name.
    pub name: &'a str,
    /// A disabled gateway is in no hunt; calls in progress still find it here.
    pub enabled: bool,
    /// Where its requests go.
    pub endpoint: Endpoint,
    /// How they travel.
    pub transport: Transport,
    /// Listener that requests leave from; `None`: the one that the call came in on.
    pub listener: Option<ListenerSlot>,
    /// Digits taken off the front of the routed number.
    pub strip: u8,
    /// Put in front of it afterwards.
    pub prepend: &'a [u8],
    /// How the number is written towards it.
    pub number_format: NumberFormat,
    /// Host of From towards it.
    pub from_host: Option<&'a str>,
    /// Whether it is sent OPTIONS.
    pub probe: bool,
    /// New calls per second; `None`: no cap.
    pub max_cps: Option<u32>,
    /// Calls above the rate taken at once.
    pub burst: Option<u32>,
    /// Calls at the same time.
    pub max_calls: Option<u32>,
    /// RFC 3325 trust.
    pub privacy: Privacy,
    /// Per branch, to any provisional.
    pub fr_timer_ms: Option<u32>,
    /// Timer C.
    pub ring_timeout_ms: Option<u32>,
    /// Flags of the media relay.
    pub media_flags: &'a str,
}

/// A carrier as hunting needs it.
#[derive(Copy, Clone)]
pub struct Carrier<'a> {
    record: &'a Archived<CarrierRecord>,
}

impl<'a> Carrier<'a> {
    /// Key of the row.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.record.id.to_native()
    }
    /// Display name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.record.name.as_str()
    }
    /// New calls per second; `None`: no cap.
    #[must_use]
    pub fn max_cps(&self) -> Option<u32> {
        number(&self.record.max_cps)
    }
    /// Calls above the rate taken at once.
    #[must_use]
    pub fn burst(&self) -> Option<u32> {
        number(&self.record.burst)
    }
    /// Calls at the same time.
    #[must_use]
    pub fn max_calls(&self) -> Option<u32> {
        number(&self.record.max_calls)
    }
    /// Whether this status goes on to the next candidate.
    #[must_use]
    pub fn fails_over(&self, status: u16) -> bool {
        self.record.failover_codes.iter().any(|code| code.to_native() == status)
    }
    /// Whether this Q.850 cause does.
    #[must_use]
    pub fn fails_over_on_cause(&self, cause: u8) -> bool {
        self.record.failover_causes.contains(&cause)
    }
}

/// The fixed part of the header.
pub(super) struct Header<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> Header<'a> {
    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }
    fn long(&self, at: usize) -> u64 {
        u64::from(self.word(at)) | u64::from(self.word(at + 4)) << 32
    }
    pub(super) fn layout(&self) -> u32 {
        self.word(8)
    }
    fn header_len(&self) -> u32 {
        self.word(12)
    }
    pub(super) fn generation(&self) -> u64 {
        self.long(16)
    }
    pub(super) fn compiled_at(&self) -> u64 {
        self.long(24)
    }
    fn total_len(&self) -> u64 {
        self.long(32)
    }
    fn sections(&self) -> u32 {
        self.word(40)
    }
    pub(super) fn body_checksum(&self) -> u32 {
        self.word(44)
    }
    fn checksum(&self) -> u32 {
        self.word(60)
    }

    /// Magic, version, checksum, lengths: in this order, because another version may have another header behind its version.
    fn check(bytes: &'a [u8]) -> Result<Header<'a>, ImageError> {
        if bytes.get(..MAGIC.len()) != Some(&MAGIC[..]) {
            return Err(ImageError::NotAnImage);
        }
        let header = Header { bytes: bytes.get(..BODY_START).ok_or(ImageError::Truncated)? };
        if header.layout() != LAYOUT {
            return Err(ImageError::Layout { found: header.layout(), expected: LAYOUT });
        }
        if header.checksum() != header_checksum(header.bytes) {
            return Err(ImageError::Checksum);
        }
        if header.total_len() != bytes.len() as u64 {
            return Err(ImageError::Truncated);
        }
        if header.header_len() as usize != BODY_START || header.sections() as usize != SECTIONS {
            return Err(ImageError::Malformed);
        }
        Ok(header)
    }

    /// The archive of a section.
    fn section<T>(&self, bytes: &'a [u8], section: Section) -> Result<&'a T, ImageError>
    where
        T: Portable + for<'b> CheckBytes<LowValidator<'b, Failure>>,
    {
        let at = HEADER_SIZE + (section as usize - 1) * SECTION_ENTRY_SIZE;
        let start = usize::try_from(self.long(at + 8)).map_err(|_| ImageError::Malformed)?;
        let len = usize::try_from(self.long(at + 16)).map_err(|_| ImageError::Malformed)?;
        let end = start.checked_add(len).ok_or(ImageError::Malformed)?;
        if self.word(at) != section as u32 || start < BODY_START || !start.is_multiple_of(ALIGNMENT) {
            return Err(ImageError::Malformed);
        }
        let archive = bytes.get(start..end).ok_or(ImageError::Malformed)?;
        rkyv::api::low::access(archive).map_err(|_: Failure| ImageError::Malformed)
    }
}

/// The checksum of a header, its own place counted as zeros.
pub(super) fn header_checksum(header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..HEADER_SIZE - 4]);
    hasher.update(&[0; 4]);
    hasher.update(&header[HEADER_SIZE..]);
    hasher.finalize()
}

fn at<T: rkyv::Archive>(places: &[ArchivedPlace<T>], slot: u16) -> Option<&Archived<T>> {
    match places.get(usize::from(slot))? {
        Archived::<Place<T>>::Taken(record) => Some(record),
        Archived::<Place<T>>::Vacant(_) => None,
    }
}

fn number(value: &rkyv::option::ArchivedOption<Archived<u32>>) -> Option<u32> {
    value.as_ref().map(|value| value.to_native())
}

impl<'a> Image<'a> {
    /// Opens an image that starts on a multiple of 64 bytes (a mapping does): header, section bounds, archives. The
    /// work grows with the number of listeners, providers, gateways and carriers, hardly with the number of routes.
    ///
    /// # Errors
    /// [`ImageError`] names the first thing that is wrong.
    pub fn open(bytes: &'a [u8]) -> Result<Image<'a>, ImageError> {
        let header = Header::check(bytes)?;
        Ok(Image {
            bytes,
            tables: header.section(bytes, Section::Tables)?,
            sources: header.section(bytes, Section::Sources)?,
            trie: header.section(bytes, Section::Trie)?,
            routes: header.section(bytes, Section::Routes)?,
            origins: header.section(bytes, Section::Origins)?,
        })
    }

    pub(super) fn header(&self) -> Header<'a> {
        // `open` has looked: an image is never shorter than its header.
        Header { bytes: &self.bytes[..BODY_START] }
    }

    /// The whole file.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The generation, one more at each compile.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.header().generation()
    }

    /// When it was compiled, microseconds since 1970 UTC.
    #[must_use]
    pub fn compiled_at(&self) -> u64 {
        self.header().compiled_at()
    }

    /// The records behind the slots, as archived: for compilers and statistics.
    #[must_use]
    pub fn tables(&self) -> &'a Archived<Tables> {
        self.tables
    }

    /// How many there are of everything whose number grows with the routes.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            groups: self.trie.groups.len(),
            prefixes: self.trie.sets.len(),
            routes: self.origins.ids.len(),
            route_sets: self.routes.first.len().saturating_sub(1),
            trie_blocks: self.trie.blocks.len(),
            trie_lines: self.trie.lines.len(),
            networks: self.sources.networks_v4.len() + self.sources.networks_v6.len(),
            source_rows: self.sources.rows.len(),
        }
    }

    /// Whose source this is: longest CIDR first, then listener match, port match, longest tech prefix of `user`.
    #[must_use]
    pub fn recognise(&self, listener: ListenerSlot, peer: Endpoint, user: &[u8]) -> Option<Recognised> {
        let row = sources::find(self.sources, listener, peer, user)?;
        let provider = row.provider.to_native();
        at(self.tables.providers.as_slice(), provider).filter(|record| record.enabled).map(|_| Recognised {
            provider: ProviderSlot(provider),
            tech_prefix: row.tech_prefix_len,
            cap: (row.cap != NO_SLOT)
                .then(|| AddressCap { slot: row.cap.to_native(), max_cps: row.max_cps.to_native() }),
        })
    }

    /// Whether an enabled provider sends from this address, under whatever tech prefix.
    #[must_use]
    pub fn knows(&self, listener: ListenerSlot, peer: Endpoint) -> bool {
        sources::rows_of(self.sources, listener, peer).is_some_and(|mut rows| {
            rows.any(|row| {
                at(self.tables.providers.as_slice(), row.provider.to_native()).is_some_and(|row| row.enabled)
            })
        })
    }

    /// Whether no other provider, enabled or not, can be behind this address: then what an address does is this provider's doing.
    /// O(log networks); `false` where more than 64 rows would have to be looked at.
    #[must_use]
    pub fn is_alone_at(&self, provider: ProviderSlot, ip: IpAddr) -> bool {
        sources::alone(self.sources, ip, provider)
    }

    /// Whether there are media nodes: then every call goes through one (I2), whether or not one of them can be used.
    #[must_use]
    pub fn has_media(&self) -> bool {
        !self.tables.media_nodes.is_empty()
    }

    /// The enabled gateway at this address, if any (for its OPTIONS): the one with this port, else the first of the host.
    #[must_use]
    pub fn gateway_at(&self, peer: Endpoint) -> Option<GatewaySlot> {
        sources::gateway(self.sources, peer)
    }

    pub(super) fn carrier_record(&self, slot: CarrierSlot) -> Option<&'a Archived<CarrierRecord>> {
        at(self.tables.carriers.as_slice(), slot.0)
    }

    /// A carrier by slot.
    #[must_use]
    pub fn carrier(&self, slot: CarrierSlot) -> Option<Carrier<'a>> {
        self.carrier_record(slot).map(|record| Carrier { record })
    }

    /// A provider by slot, disabled or not.
    #[must_use]
    pub fn provider(&self, slot: ProviderSlot) -> Option<Provider<'a>> {
        let record = at(self.tables.providers.as_slice(), slot.0)?;
        Some(Provider {
            id: record.id.to_native(),
            name: record.name.as_str(),
            routing_group: record.routing_group.to_native(),
            strip: record.strip,
            prepend: record.prepend.as_bytes(),
            listener: record.listener.as_ref().map(|slot| ListenerSlot(slot.to_native())),
            refuse_code: record.refuse_code.to_native(),
            max_cps: number(&record.max_cps),
            burst: number(&record.burst),
            max_calls: number(&record.max_calls),
            max_calls_day: number(&record.max_calls_day),
            max_minutes_day: number(&record.max_minutes_day),
            zone: self.zone_name(record.zone.as_ref().map(|zone| zone.to_native())),
            session_expires_s: number(&record.session_expires_s),
            min_se_s: number(&record.min_se_s),
            invite_timeout_ms: number(&record.invite_timeout_ms),
            ring_timeout_ms: number(&record.ring_timeout_ms),
            default_timeout_s: number(&record.default_timeout_s),
            timeout_mode: (&record.timeout_mode).into(),
            redirect: (&record.redirect).into(),
            refer: (&record.refer).into(),
            privacy: (&record.privacy).into(),
            media_set: number(&record.media_set),
            media_flags: record.media_flags.as_str(),
        })
    }

    /// [`Provider::privacy`] alone.
    #[must_use]
    #[inline]
    pub(crate) fn provider_privacy(&self, slot: ProviderSlot) -> Option<Privacy> {
        at(self.tables.providers.as_slice(), slot.0).map(|record| (&record.privacy).into())
    }

    /// [`Provider::ring_timeout_ms`] alone.
    #[must_use]
    #[inline]
    pub(crate) fn provider_ring_timeout_ms(&self, slot: ProviderSlot) -> Option<u32> {
        number(&at(self.tables.providers.as_slice(), slot.0)?.ring_timeout_ms)
    }

    /// [`Gateway::privacy`] alone.
    #[must_use]
    #[inline]
    pub(crate) fn gateway_privacy(&self, slot: GatewaySlot) -> Option<Privacy> {
        at(self.tables.gateways.as_slice(), slot.0).map(|record| (&record.privacy).into())
    }

    /// `max_cps`, `burst` and `max_calls` of a gateway, for whoever asks for no more: selection asks each candidate.
    #[must_use]
    #[inline]
    pub(crate) fn gateway_limits(&self, slot: GatewaySlot) -> [Option<u32>; 3] {
        at(self.tables.gateways.as_slice(), slot.0)
            .map_or([None; 3], |record| [number(&record.max_cps), number(&record.burst), number(&record.max_calls)])
    }

    /// A gateway by slot, disabled or not.
    #[must_use]
    pub fn gateway(&self, slot: GatewaySlot) -> Option<Gateway<'a>> {
        let record = at(self.tables.gateways.as_slice(), slot.0)?;
        Some(Gateway {
            id: record.id.to_native(),
            name: record.name.as_str(),
            enabled: record.enabled,
            endpoint: Endpoint::new(record.host.as_ipaddr(), record.port.to_native()),
            transport: Transport::Udp,
            listener: record.listener.as_ref().map(|slot| ListenerSlot(slot.to_native())),
            strip: record.strip,
            prepend: record.prepend.as_bytes(),
            number_format: (&record.number_format).into(),
            from_host: record.from_host.as_ref().map(|host| host.as_str()),
            probe: record.probe,
            max_cps: number(&record.max_cps),
            burst: number(&record.burst),
            max_calls: number(&record.max_calls),
            privacy: (&record.privacy).into(),
            fr_timer_ms: number(&record.fr_timer_ms),
            ring_timeout_ms: number(&record.ring_timeout_ms),
            media_flags: record.media_flags.as_str(),
        })
    }
}

/// Sizes of an image, for `routes stat`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Counts {
    pub groups: usize,
    pub prefixes: usize,
    pub routes: usize,
    pub route_sets: usize,
    pub trie_blocks: usize,
    pub trie_lines: usize,
    pub networks: usize,
    pub source_rows: usize,
}

/// Archived enums back to plain ones.
macro_rules! from_archived {
    ($( $name:ident { $( $variant:ident ),* } )*) => {
        $( impl From<&Archived<$name>> for $name {
            fn from(archived: &Archived<$name>) -> $name {
                match archived { $( Archived::<$name>::$variant => $name::$variant, )* }
            }
        } )*
    };
}

from_archived! {
    TimeoutMode { Hard, Media }
    Redirect { Hunt, Pass, Recurse }
    Refer { Reject, Pass }
    Privacy { Trusted, Untrusted }
    NumberFormat { Plain, E164, NoPlus }
}
