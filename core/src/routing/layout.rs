//! What lies in an image file: header, sections, records.
//!
//! ```text
//! 0    header (64 bytes): magic, layout, lengths, generation, time, checksums
//! 64   section table: kind, reserved, offset, length; one entry per section
//! ...  sections, each an rkyv archive that starts on a multiple of 64:
//!        tables   listeners, providers, carriers, gateways, media nodes; zones, windows
//!        sources  networks, the rows of each network, gateway addresses           (who is this?)
//!        trie     groups, blocks, lines, prefixes                                 (where does it go?)
//!        routes   distinct sets of routes, shared by the prefixes that have them; when routes are there
//!        origins  route ids and costs by prefix: never read while a call is routed
//! ```
//!
//! Byte by byte: `docs/image-format.md`. All integers are little-endian. A record here is at once what the compiler fills in and
//! what the archive is derived from, so that the two cannot drift apart; any change to this file is a new [`LAYOUT`].

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use rkyv::{Archive, Serialize};

/// First eight bytes of every image.
pub const MAGIC: [u8; 8] = *b"corelane";
/// Version of everything in this module. An image of another version is refused, never guessed at.
pub const LAYOUT: u32 = 3;
/// Bytes of the header in front of the section table.
pub const HEADER_SIZE: usize = 64;
/// Bytes of one entry of the section table.
pub const SECTION_ENTRY_SIZE: usize = 24;
/// Sections start on multiples of this, so that archives can be read in place and a [`Line`] is a cache line.
pub const ALIGNMENT: usize = 64;
/// How many sections there are.
pub const SECTIONS: usize = 5;
/// Where the first section starts.
pub const BODY_START: usize = (HEADER_SIZE + SECTIONS * SECTION_ENTRY_SIZE).next_multiple_of(ALIGNMENT);

/// Symbols of the longest prefix.
pub const PREFIX_MAX: usize = 32;
/// Bytes of the longest tech prefix.
pub const TECH_PREFIX_MAX: usize = 16;
/// Routes of one prefix. Bounds the work of one selection; a prefix with more is a modelling error.
pub const ROUTES_PER_PREFIX_MAX: usize = 64;
/// Gateways of one carrier, for the same reason.
pub const GATEWAYS_PER_CARRIER_MAX: usize = 64;
/// Slots of one table. The last value of a 16-bit slot means "none".
pub const SLOTS_MAX: usize = u16::MAX as usize;
/// "No slot" where a field is 16 bits wide: any listener, no time window.
pub const NO_SLOT: u16 = u16::MAX;
/// The place in [`Routes::schedules`] of a route that is always there: it has none.
pub const ALWAYS: u32 = u32::MAX;
/// Rows of one time window: bounds what one route may cost a call.
pub const ROWS_PER_WINDOW_MAX: usize = 64;
/// Changes of one zone's offset. Zones with daylight saving have two a year, so that the span of an image has a quarter of this.
pub const ZONE_TRANSITIONS_MAX: usize = 128;
/// How far a zone can be from UTC, seconds: what the TZif format allows (RFC 9636 §3.2).
pub const ZONE_OFFSET_MAX_S: i32 = 26 * 3600 - 1;

const _: () = assert!(PREFIX_MAX * 4 == u128::BITS as usize, "a prefix is one u128 of nibbles");
const _: () = assert!(ROUTES_PER_PREFIX_MAX <= 64 && GATEWAYS_PER_CARRIER_MAX <= 64, "tried ones are bits of a u64");

/// The sections, in the order of the file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Section {
    /// [`Tables`].
    Tables = 1,
    /// [`Sources`].
    Sources = 2,
    /// [`Trie`].
    Trie = 3,
    /// [`Routes`].
    Routes = 4,
    /// [`Origins`].
    Origins = 5,
}

impl Section {
    /// All of them, in order.
    pub const ALL: [Section; SECTIONS] =
        [Section::Tables, Section::Sources, Section::Trie, Section::Routes, Section::Origins];
}

// ---- tables -----------------------------------------------------------------------------------------------------------

/// A place in a slot table.
#[derive(Archive, Serialize, Clone, PartialEq, Debug)]
pub enum Place<T> {
    /// Nobody's, since the generation that removed the last owner: the longest vacant place is reused first.
    Vacant(u64),
    /// Somebody's.
    Taken(T),
}

impl<T> Place<T> {
    /// The record, if there is one.
    pub fn record(&self) -> Option<&T> {
        match self {
            Place::Vacant(_) => None,
            Place::Taken(record) => Some(record),
        }
    }
}

/// Everything that is found by slot.
#[derive(Archive, Serialize, Clone, Default, Debug)]
pub struct Tables {
    /// By listener slot.
    pub listeners: Vec<Place<ListenerRecord>>,
    /// By provider slot.
    pub providers: Vec<Place<ProviderRecord>>,
    /// By gateway slot.
    pub gateways: Vec<Place<GatewayRecord>>,
    /// By carrier slot.
    pub carriers: Vec<Place<CarrierRecord>>,
    /// Rows of `provider_address` that have a cap, by the slot of that.
    pub address_caps: Vec<Place<AddressKey>>,
    /// Time zones that are used, by place, which is not stable over generations.
    pub zones: Vec<ZoneRecord>,
    /// Until when `zones` are known, seconds since 1970 UTC.
    pub zones_until: i64,
    /// Time windows; schedules name them by place, which is not stable over generations.
    pub windows: Vec<WindowRecord>,
    /// Media relay nodes.
    pub media_nodes: Vec<MediaNodeRecord>,
}

/// Table `listener`.
#[derive(Archive, Serialize, Clone, PartialEq, Debug)]
pub struct ListenerRecord {
    /// Key of the row.
    pub id: u32,
    /// Display name.
    pub name: String,
    /// Bound address.
    pub address: IpAddr,
    /// Bound port.
    pub port: u16,
    /// How messages travel.
    pub transport: TransportKind,
    /// Host to write into Via and Record-Route instead of the bound address.
    pub advertise_host: Option<String>,
    /// Port to write there.
    pub advertise_port: Option<u16>,
}

/// Column `transport`.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum TransportKind {
    /// UDP.
    #[default]
    Udp,
}

/// Table `provider`.
#[derive(Archive, Serialize, Clone, PartialEq, Debug, Default)]
pub struct ProviderRecord {
    /// Key of the row.
    pub id: u32,
    /// Display name.
    pub name: String,
    /// A disabled provider keeps its addresses: they are then nobody's, and do not fall to a wider network.
    pub enabled: bool,
    /// Listener slot that requests towards the provider leave from.
    pub listener: Option<u16>,
    /// Where its numbers are looked up.
    pub routing_group: u32,
    /// Symbols taken off the front of the dialled number.
    pub strip: u8,
    /// Put in front afterwards.
    pub prepend: String,
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
    /// Place of the time zone of the daily limits; `None`: UTC.
    pub zone: Option<u16>,
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
    /// Status of refusals that are not the caller's fault.
    pub refuse_code: u16,
    /// What a 3xx does.
    pub redirect: Redirect,
    /// What a REFER does.
    pub refer: Refer,
    /// RFC 3325 trust.
    pub privacy: Privacy,
    /// Media nodes to use.
    pub media_set: Option<u32>,
    /// Flags of the media relay, as written.
    pub media_flags: String,
}

/// Column `timeout_mode`.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum TimeoutMode {
    /// Ends the call.
    #[default]
    Hard,
    /// Restarts while the media node reports RTP.
    Media,
}

/// Column `redirect`.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Redirect {
    /// A 3xx counts as a failure: next candidate.
    #[default]
    Hunt,
    /// The 3xx goes upstream.
    Pass,
    /// The Contact's number is routed, once.
    Recurse,
}

/// Column `refer`.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Refer {
    /// 403.
    #[default]
    Reject,
    /// Goes to the other side.
    Pass,
}

/// Column `privacy`: whether the peer is inside the trust domain of RFC 3325.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Privacy {
    /// Identity headers pass untouched.
    #[default]
    Trusted,
    /// Identity headers are not believed from it, nor shown to it when privacy is asked for.
    Untrusted,
}

/// Table `gateway`.
#[derive(Archive, Serialize, Clone, PartialEq, Debug)]
pub struct GatewayRecord {
    /// Key of the row.
    pub id: u32,
    /// Display name.
    pub name: String,
    /// A disabled gateway is in no hunt, but calls in progress still find it.
    pub enabled: bool,
    /// Listener slot that requests leave from.
    pub listener: Option<u16>,
    /// Where it is.
    pub host: IpAddr,
    /// Its port.
    pub port: u16,
    /// How messages travel.
    pub transport: TransportKind,
    /// Whether it is sent OPTIONS.
    pub probe: bool,
    /// New calls per second.
    pub max_cps: Option<u32>,
    /// Calls above the rate taken at once.
    pub burst: Option<u32>,
    /// Calls at the same time.
    pub max_calls: Option<u32>,
    /// Symbols taken off the front of the routed number.
    pub strip: u8,
    /// Put in front afterwards.
    pub prepend: String,
    /// How the number is written towards it.
    pub number_format: NumberFormat,
    /// Host of From towards it.
    pub from_host: Option<String>,
    /// RFC 3325 trust.
    pub privacy: Privacy,
    /// Per branch, to any provisional.
    pub fr_timer_ms: Option<u32>,
    /// Timer C.
    pub ring_timeout_ms: Option<u32>,
    /// Flags of the media relay, as written.
    pub media_flags: String,
}

/// Column `number_format`.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum NumberFormat {
    /// As routed.
    #[default]
    Plain,
    /// With a `+` in front, when it is of digits only.
    E164,
    /// Without `+`.
    NoPlus,
}

/// Table `carrier`, with its enabled gateways.
#[derive(Archive, Serialize, Clone, PartialEq, Debug, Default)]
pub struct CarrierRecord {
    /// Key of the row.
    pub id: u32,
    /// Display name.
    pub name: String,
    /// The routes of a disabled carrier stay, without candidates.
    pub enabled: bool,
    /// New calls per second.
    pub max_cps: Option<u32>,
    /// Calls above the rate taken at once.
    pub burst: Option<u32>,
    /// Calls at the same time.
    pub max_calls: Option<u32>,
    /// Status codes that go on to the next candidate.
    pub failover_codes: Vec<u16>,
    /// Q.850 causes that do.
    pub failover_causes: Vec<u8>,
    /// Its enabled gateways, by ascending priority.
    pub gateways: Vec<CarrierGateway>,
}

/// Table `carrier_gateway`.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug)]
pub struct CarrierGateway {
    /// Gateway slot.
    pub gateway: u16,
    /// Lower is tried first.
    pub priority: u16,
    /// Share among equals.
    pub weight: u16,
}

/// A time zone: what its clocks show, as offsets from UTC. No shard knows a rule of daylight saving; it looks up its results.
#[derive(Archive, Serialize, Clone, PartialEq, Eq, Debug)]
pub struct ZoneRecord {
    /// Its name in the IANA time zone database.
    pub name: String,
    /// Seconds that clocks are ahead of UTC before the first transition.
    pub offset_s: i32,
    /// Changes of the offset, ascending. The last offset holds ever after.
    pub transitions: Vec<ZoneTransition>,
}

/// Clocks are set.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug)]
pub struct ZoneTransition {
    /// First second of the new offset, since 1970 UTC.
    pub at: i64,
    /// Seconds that clocks are ahead of UTC from then on.
    pub offset_s: i32,
}

/// Table `time_window`: all rows of one id.
#[derive(Archive, Serialize, Clone, PartialEq, Debug)]
pub struct WindowRecord {
    /// Key of the rows.
    pub id: u32,
    /// Open when any row is.
    pub rows: Vec<WindowRow>,
}

/// One row of a time window, by the clocks of its zone.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug)]
pub struct WindowRow {
    /// First day that it may start on, days since 1970-01-01; `i32::MIN`: open.
    pub date_from: i32,
    /// Last such day; `i32::MAX`: open.
    pub date_to: i32,
    /// Seconds of the day, inclusive.
    pub from_s: u32,
    /// Seconds of the day, exclusive; not above `from_s`: of the day after.
    pub to_s: u32,
    /// Place of its zone; `None`: UTC.
    pub zone: Option<u16>,
    /// Days that it starts on: bit 0 Monday … bit 6 Sunday.
    pub days: u8,
}

impl WindowRow {
    /// All day, every day, by UTC.
    pub const EVERY_DAY: WindowRow =
        WindowRow { date_from: i32::MIN, date_to: i32::MAX, from_s: 0, to_s: 86_400, zone: None, days: 0b111_1111 };
}

/// Table `media_node`.
#[derive(Archive, Serialize, Clone, PartialEq, Debug)]
pub struct MediaNodeRecord {
    /// Key of the row.
    pub id: u32,
    /// Set that providers name.
    pub set: u32,
    /// Address or name of its ng socket: only the control core talks to it.
    pub host: String,
    /// Its ng port.
    pub port: u16,
    /// Share of calls.
    pub weight: u16,
    /// Sessions at the same time.
    pub max_sessions: u32,
    /// Whether it takes new calls.
    pub enabled: bool,
}

/// What tells a row of `provider_address` from all others: it has no id of its own.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct AddressKey {
    /// 4 or 6.
    pub family: u8,
    /// First address of the network, in the low bits.
    pub start: u128,
    /// Bits of it that count.
    pub prefix_len: u8,
    /// Listener slot, [`NO_SLOT`]: any.
    pub listener: u16,
    /// Source port, 0: any.
    pub port: u16,
    /// Start of the dialled user, zeros behind it.
    pub tech_prefix: [u8; TECH_PREFIX_MAX],
}

impl From<&ArchivedAddressKey> for AddressKey {
    fn from(key: &ArchivedAddressKey) -> AddressKey {
        AddressKey {
            family: key.family,
            start: key.start.to_native(),
            prefix_len: key.prefix_len,
            listener: key.listener.to_native(),
            port: key.port.to_native(),
            tech_prefix: key.tech_prefix,
        }
    }
}

// ---- sources ----------------------------------------------------------------------------------------------------------

/// Who a source address is. Each list is sorted, so that a look-up is a binary search and a walk up.
#[derive(Archive, Serialize, Clone, Default, Debug)]
pub struct Sources {
    /// IPv4 networks, addresses in the low 32 bits, by (start, length).
    pub networks_v4: Vec<Network>,
    /// IPv6 networks, likewise.
    pub networks_v6: Vec<Network>,
    /// Rows of all networks, each network's together, by (listener, port, tech prefix).
    pub rows: Vec<SourceRow>,
    /// Enabled gateways by (family, address, port, slot).
    pub gateways: Vec<GatewayAddress>,
}

/// A network that at least one row names.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// First address.
    pub start: u128,
    /// Last address.
    pub end: u128,
    /// Place of the next wider network in the same list, plus one; 0: none.
    pub parent: u32,
    /// First of its rows.
    pub first_row: u32,
    /// How many.
    pub rows: u32,
}

/// One row of table `provider_address`.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug)]
pub struct SourceRow {
    /// Listener slot, [`NO_SLOT`]: any.
    pub listener: u16,
    /// Source port, 0: any.
    pub port: u16,
    /// Whose it is.
    pub provider: u16,
    /// Bytes of `tech_prefix` in use.
    pub tech_prefix_len: u8,
    /// Start of the dialled user, zeros behind it.
    pub tech_prefix: [u8; TECH_PREFIX_MAX],
    /// Row of this network, listener and port with the next shorter tech prefix, plus one; 0: none.
    pub parent: u32,
    /// Slot of its cap in [`Tables::address_caps`], [`NO_SLOT`]: none.
    pub cap: u16,
    /// New calls per second from here, where it has a cap.
    pub max_cps: u32,
}

/// Where a gateway's requests come from.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GatewayAddress {
    /// 4 or 6.
    pub family: u8,
    /// The address in the low bits.
    pub address: u128,
    /// Its port.
    pub port: u16,
    /// Gateway slot.
    pub gateway: u16,
}

// ---- trie -------------------------------------------------------------------------------------------------------------

/// Longest prefix match; `routing/trie.rs` says how it is read.
#[derive(Archive, Serialize, Clone, Default, Debug)]
pub struct Trie {
    /// Leaves and nodes. The lines below a root or a node are neighbours; those below a node lie behind it. First in the archive, because rkyv pads by
    /// less than 32 bytes and a line wants 64.
    pub lines: Vec<Line>,
    /// Roots, one run of blocks per group.
    pub blocks: Vec<Block>,
    /// Routing groups, ascending.
    pub groups: Vec<Group>,
    /// Place of the route set of prefix *n*, at *n* - 1. Prefixes are sorted by group, symbols, length, so that a parent comes before
    /// its children. Sets, parents and lengths lie apart because a call reads mostly the set alone.
    pub sets: Vec<u32>,
    /// The next shorter routed prefix of prefix *n*, 0: none.
    pub parents: Vec<u32>,
    /// How many symbols prefix *n* has.
    pub lengths: Vec<u8>,
}

/// The root of one routing group.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Key.
    pub routing_group: u32,
    /// Decimal digits that the root tells apart, 2 or more: it has 10^(digits - 2) blocks.
    pub digits: u32,
    /// Place of its first block.
    pub blocks: u32,
    /// Place of the line that its first cell leads to.
    pub lines: u32,
    /// Place of the line for prefixes with a symbol that is no digit among their first `digits`; [`NO_LINE`]: there are none.
    pub others: u32,
}

/// "No line" in a [`Group`].
pub const NO_LINE: u32 = u32::MAX;

/// A hundred cells of a root, by the last two of its digits.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Default, Debug)]
#[rkyv(attr(repr(C, align(16))))]
pub struct Block {
    /// Bit *n*: a line starts at cell *n*. Bits 100 to 127: how many start in the blocks before.
    pub starts: [u64; 2],
}

/// A cache line of the trie: a leaf or a node. `routing/trie.rs` says what its words are.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, Default, Debug)]
#[rkyv(attr(repr(C, align(64))))]
pub struct Line {
    /// Head, covering prefix, and by kind.
    pub words: [u32; 16],
}

// ---- routes and origins -----------------------------------------------------------------------------------------------

/// Routes, shared: most prefixes have the same few combinations of carriers.
#[derive(Archive, Serialize, Clone, Default, Debug)]
pub struct Routes {
    /// Set *n* is `entries[first[n]..first[n + 1]]`.
    pub first: Vec<u32>,
    /// Routes of a set, by ascending priority.
    pub entries: Vec<RouteEntry>,
    /// The distinct schedules of all routes that have one.
    pub schedules: Vec<Schedule>,
}

/// What selection reads of a row of table `route`.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouteEntry {
    /// Lower is tried first.
    pub priority: u16,
    /// Carrier slot.
    pub carrier: u16,
    /// Share among equals.
    pub weight: u16,
    /// Place of its schedule, [`ALWAYS`] for none.
    pub schedule: u32,
}

const _: () = assert!(size_of::<ArchivedRouteEntry>() == 12, "five routes of a set in one cache line");

/// When a route is there: within its validity, and while its window is open.
#[derive(Archive, Serialize, Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Schedule {
    /// Place of its time window, [`NO_SLOT`]: none.
    pub window: u16,
    /// First second of validity, since 1970 UTC; `i64::MIN`: open.
    pub valid_from: i64,
    /// First second after it; `i64::MAX`: open.
    pub valid_to: i64,
}

impl Schedule {
    /// Of a route that is always there.
    pub const ALWAYS: Schedule = Schedule { window: NO_SLOT, valid_from: i64::MIN, valid_to: i64::MAX };
}

/// Where the routes of a prefix came from: for records and for people.
#[derive(Archive, Serialize, Clone, Default, Debug)]
pub struct Origins {
    /// Routes of prefix *n* are at `first[n - 1]..first[n]`, in the order of its set.
    pub first: Vec<u32>,
    /// `route.id`.
    pub ids: Vec<u32>,
    /// `route.cost`, millionths; `u32::MAX`: not given.
    pub costs: Vec<u32>,
}
