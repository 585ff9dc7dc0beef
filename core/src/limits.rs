//! Every per-item bound, what it buys, and how the bounds hang together. Counts that depend on the operator's
//! numbers are in [`Budget`](crate::engine::Budget).

/// The largest message in either direction, in bytes (SPEC: larger ones get 513).
pub const MESSAGE_SIZE_MAX: usize = 8 * 1024;

/// Header fields (lines after unfolding) of one message. A call through a dozen proxies carries about forty.
pub const HEADERS_MAX: usize = 128;

/// Fields that a forwarded message may have more than it came with: Via, two Record-Routes, Max-Forwards, Max-Breadth, Session-Expires
/// and Min-SE. What comes in leaves room for them, because Corelane reads its own requests again to acknowledge and to cancel them.
pub const HEADERS_ADDED_MAX: usize = 7;

/// Datagrams that one [`Engine::handle`](crate::Engine::handle) may send. The largest step is a final response that also
/// cancels: one message upstream, one ACK downstream, one CANCEL per branch.
pub const EFFECTS_MAX: usize = 32;

/// Effects that one timer, or the end of one call, can cause: at worst ACK, two BYEs and the record of a call that was hung up, or an
/// INVITE to the next gateway with the CANCEL of the last.
pub const EFFECTS_PER_CALL_MAX: usize = 6;

/// The largest Max-Breadth that leaves, and what a request without one gets (RFC 5393 §5.3.3). Corelane tries one gateway at a time, so
/// that each has all of it.
pub const MAX_BREADTH: u32 = 60;

/// Listeners of one node.
pub const LISTENERS_MAX: usize = 16;

/// Gateways tried for one call.
pub const CANDIDATES_MAX: usize = 8;

/// Early dialogs that one INVITE may open downstream (forks behind a gateway).
pub const EARLY_DIALOGS_MAX: usize = 8;

/// Digits of a dialled number that routing looks at; E.164 has 15, prefixes in front of it take the rest.
pub const DIGITS_MAX: usize = 32;

/// A host name as advertised in Via and Record-Route, in bytes (RFC 1035 allows 253).
pub const HOST_MAX: usize = 64;

/// Route values that Corelane can write for one side of a call, in bytes: a dozen proxies. The BYEs by which Corelane ends a
/// call with more go without.
pub const ROUTES_SIZE_MAX: usize = 1024;

/// Above this a request should leave by a congestion-controlled transport (RFC 3261 §18.1.1); counted until TCP exists.
pub const UDP_REQUEST_SIZE: usize = 1300;

/// How deep multiparts may be nested in a body whose SDP is looked for.
pub const BODY_DEPTH_MAX: usize = 3;

/// Parts of a body that is looked into for its SDP, at all depths.
pub const BODY_PARTS_MAX: usize = 16;

/// Column `media_flags` of a provider, and of a gateway, in bytes. An image with a longer one is not sound.
pub const MEDIA_FLAGS_COLUMN_MAX: usize = 255;

/// Both of them together, with a blank between them, in bytes.
pub const MEDIA_FLAGS_MAX: usize = 2 * MEDIA_FLAGS_COLUMN_MAX + 1;

/// The longest tag by which a branch is deleted at its media node, or a CANCEL is answered; a branch with a longer one goes with its call, and
/// the CANCEL gets a tag of our own.
pub const TAG_MAX: usize = 128;

/// Responses of one branch that may wait behind one whose SDP is with a media node.
pub const WAITING_RESPONSES_MAX: usize = 8;

/// How often a media node is asked whether RTP of a call flows before it counts as silent: once, and three times more where no answer came.
pub const MEDIA_QUERIES_MAX: u8 = 4;

/// Seconds that the messages of one call are planned to wait for media nodes, all together; buys the exchanges.
pub const EXCHANGE_SECONDS: u32 = 4;

/// Seconds that a call is planned to be without a final answer, on average over all calls; buys the buffers of pending INVITEs.
pub const RINGING_SECONDS: u32 = 12;

/// Room above the planned number of lingering transactions, in percent, for bursts above `--cps-max`.
pub const LINGER_HEADROOM_PERCENT: u32 = 12;

/// The longest session interval that a call without a refresh is kept for, in seconds: a day, which is also the longest that a node or
/// provider may ask for. One of a peer's that is twice as long is refreshed within it (RFC 4028 §7.2).
pub const SESSION_INTERVAL_MAX_S: u32 = 86_400;

/// One in how many records is kept from new calls, so that BYE, CANCEL and what else belongs to a running call finds room (I8).
pub const RESERVED_FOR_CALLS: u32 = 16;

/// Buffers of messages that no transaction holds and that the kernel has not taken yet: a full batch of sends on each ring, and more.
pub const BUFFERS_IN_FLIGHT: u32 = 1024;

/// Rows of each kind that the table of caps has at least, so that a small node can grow without a restart: 256 KiB.
pub const CAPS_ROWS_MIN: usize = 1024;

/// How often an admission looks again while another shard is in the middle of one for the same peer. That takes a dozen instructions, so
/// many looks take some microseconds.
pub const LOOKS_MAX: u32 = 256;

/// Words of a shard's overload control: providers whose slots are equal modulo this share one. 32 KiB.
pub const OVERLOAD_BUCKETS: usize = 4096;

const _: () = assert!(MESSAGE_SIZE_MAX <= u16::MAX as usize, "spans are 16 bits wide");
const _: () = assert!(HEADERS_MAX <= u8::MAX as usize, "header places are 8 bits wide");
const _: () = assert!(HEADERS_ADDED_MAX < HEADERS_MAX);
const _: () = assert!(WAITING_RESPONSES_MAX >= 2, "a 2xx behind a provisional");
const _: () = assert!(OVERLOAD_BUCKETS.is_power_of_two(), "a place is a mask away");
const _: () = assert!(
    (100 + LINGER_HEADROOM_PERCENT) * (RESERVED_FOR_CALLS - 1) >= 105 * RESERVED_FOR_CALLS,
    "the planned rate, and a twentieth more, fits beside what is kept back"
);
const _: () = assert!(CANDIDATES_MAX + 8 <= EFFECTS_MAX, "a final answer may cancel every branch");
const _: () = assert!(2 * EFFECTS_PER_CALL_MAX <= EFFECTS_MAX, "a time-out makes headway");
