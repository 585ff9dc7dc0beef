//! What a shard and the control core say to each other: plain data of bounded size (SPEC §5).
//!
//! ```text
//!   engine ── Effect::Media(buffer) ──► ring ──► control core: choose a node, ask it, ask again, ask the next one
//!   engine ◄── Input::Media(reply) ──── ring ◄── what the node said
//!   engine ── Effect::Ended(record) ──► journal (a mapped file) ──► CDR, and the deletes that the call owes
//! ```
//!
//! A [`MediaRequest`] lies in a message buffer as 56 bytes and its texts:
//!
//! ```text
//!   0   exchange: index 32, generation 32     8   keyed hash of the Call-ID 64   16   start of the call, µs 64   24   pass 32
//!   28  set 32   32  node id 32 (0: choose)   36  verb 8   37  attempt 8   38  two zeros   40  four lengths 16   48  since, µs 64
//!   56  from-tag │ to-tag │ flags │ SDP
//! ```
//!
//! Numbers are little-endian. Both ends are one process, so nothing here is meant to be kept; what is kept is the journal's own layout.

use crate::message::Writer;

/// Bytes before the texts.
const HEAD: usize = 56;

/// The largest request: a message's body and the tags and flags beside it.
pub const MEDIA_REQUEST_MAX: usize = crate::limits::MESSAGE_SIZE_MAX;

/// Who waits for a reply: a place and a generation of the engine's exchanges. Nobody waits for [`ExchangeId::NOBODY`].
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct ExchangeId {
    /// Place in the slab.
    pub index: u32,
    /// Generation of that place; 0 is none.
    pub generation: u32,
}

impl ExchangeId {
    /// For what needs no reply.
    pub const NOBODY: ExchangeId = ExchangeId { index: 0, generation: 0 };
}

/// Which call, on this node: the part of the ng call-id that the engine knows. The node's id and its boot are the control core's.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct MediaCall {
    /// Keyed hash of its Call-ID.
    pub call_hash: u64,
    /// Which passage of that Call-ID.
    pub pass: u32,
}

/// What is asked of a media node.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Verb {
    /// The SDP is an offer of `from_tag`.
    Offer = 1,
    /// The SDP answers an offer of `from_tag`, and is `to_tag`'s.
    Answer = 2,
    /// A branch that was answered and then given up goes, by its `to_tag`. The delete of a whole call is not asked for here: it is owed from
    /// the call's first offer on and falls due with its record.
    DeleteBranch = 3,
    /// The last offer of `from_tag` to `to_tag` is off: what these two agreed on before holds again, and then what of either side's offers still
    /// waits for its answer (the control core keeps them). Both sides may have an offer out at once, so it is named whose.
    Restore = 4,
    /// Whether RTP of the call came since [`MediaRequest::since_us`].
    Query = 5,
    /// Of several forks one has answered the call, and said nothing new: what it agreed on holds, `from_tag` being who offered that. A node knows the
    /// caller once, and with whichever fork was answered last.
    Choose = 6,
}

impl Verb {
    const fn of(code: u8) -> Option<Verb> {
        Some(match code {
            1 => Verb::Offer,
            2 => Verb::Answer,
            3 => Verb::DeleteBranch,
            4 => Verb::Restore,
            5 => Verb::Query,
            6 => Verb::Choose,
            _ => return None,
        })
    }
}

/// A wish of the engine to the control core.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct MediaRequest<'r> {
    /// Who waits for the reply.
    pub exchange: ExchangeId,
    /// Whose session.
    pub call: MediaCall,
    /// When its INVITE came, in microseconds of the wall clock.
    pub started_us: u64,
    /// For [`Verb::Query`]: RTP that came before does not count, in microseconds of the wall clock. 0 for all others.
    pub since_us: u64,
    /// Which nodes may serve it (column `media_set`).
    pub set: u32,
    /// The control core's number of the place (a node at an address) that has the session; 0 before the first offer.
    pub node: u32,
    /// What is asked.
    pub verb: Verb,
    /// Number of the hunted attempt, from 1: the `via-branch`.
    pub attempt: u8,
    /// The tag of whoever sent the offer.
    pub from_tag: &'r [u8],
    /// The tag of the other side; empty while it is not known.
    pub to_tag: &'r [u8],
    /// Column `media_flags` of the provider and of the gateway, one space between them.
    pub flags: &'r [u8],
    /// The SDP as it came.
    pub sdp: &'r [u8],
}

impl<'r> MediaRequest<'r> {
    /// Writes the request.
    pub fn write(&self, out: &mut Writer<'_>) {
        let texts = [self.from_tag, self.to_tag, self.flags, self.sdp];
        let mut head = [0; HEAD];
        let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.exchange.index.to_le_bytes());
        put(4, &self.exchange.generation.to_le_bytes());
        put(8, &self.call.call_hash.to_le_bytes());
        put(16, &self.started_us.to_le_bytes());
        put(24, &self.call.pass.to_le_bytes());
        put(28, &self.set.to_le_bytes());
        put(32, &self.node.to_le_bytes());
        put(36, &[self.verb as u8, self.attempt]);
        put(48, &self.since_us.to_le_bytes());
        for (place, text) in texts.iter().enumerate() {
            // Each of them was part of one message, or is a column.
            put(40 + 2 * place, &(text.len() as u16).to_le_bytes());
        }
        out.put(&head);
        for text in texts {
            out.put(text);
        }
    }

    /// Whether these bytes are the first offer of a call, which can be refused without harm to one in progress.
    #[must_use]
    pub fn opens(bytes: &[u8]) -> bool {
        bytes.get(32..37) == Some(&[0, 0, 0, 0, Verb::Offer as u8])
    }

    /// Reads what [`MediaRequest::write`] wrote; `None` for anything else.
    #[must_use]
    pub fn read(bytes: &'r [u8]) -> Option<MediaRequest<'r>> {
        let (head, mut rest) = bytes.split_first_chunk::<HEAD>()?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let mut text = |place: usize| {
            let length = u16::from_le_bytes([head[40 + 2 * place], head[41 + 2 * place]]);
            let (text, after) = rest.split_at_checked(length.into())?;
            rest = after;
            Some(text)
        };
        Some(MediaRequest {
            exchange: ExchangeId { index: word(0), generation: word(4) },
            call: MediaCall { call_hash: long(8), pass: word(24) },
            started_us: long(16),
            since_us: long(48),
            set: word(28),
            node: word(32),
            verb: Verb::of(head[36])?,
            attempt: head[37],
            from_tag: text(0)?,
            to_tag: text(1)?,
            flags: text(2)?,
            sdp: text(3)?,
        })
    }
}

/// What came of a [`MediaRequest`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum MediaOutcome {
    /// A node did it; the SDP is the rewritten one. To [`Verb::Query`]: RTP came.
    Done = 0,
    /// The node refused this SDP: no other would take it (488 upstream).
    Refused = 1,
    /// No node of the set can be used: all are down, drained, full, or nobody answered in time (503 for new calls).
    NoNode = 2,
    /// The node that has the session did not do it: it is gone, or said no.
    Failed = 3,
    /// Only to [`Verb::Query`]: the node has heard no RTP of the call, or knows nothing of it.
    Silent = 4,
}

/// The answer to a [`MediaRequest`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct MediaReply<'r> {
    /// Who waits.
    pub exchange: ExchangeId,
    /// What came of it.
    pub outcome: MediaOutcome,
    /// The number of the place that has the session now; 0 for none.
    pub node: u32,
    /// The rewritten SDP; empty unless done, and to [`Verb::Query`].
    pub sdp: &'r [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let request = MediaRequest {
            exchange: ExchangeId { index: 7, generation: 9 },
            call: MediaCall { call_hash: 0x0123_4567_89ab_cdef, pass: 0xfedc_ba98 },
            started_us: 1_795_392_000_000_001,
            since_us: 1_795_393_800_000_002,
            set: 4,
            node: 12,
            verb: Verb::Answer,
            attempt: 3,
            from_tag: b"a",
            to_tag: b"bb",
            flags: b"ICE=remove",
            sdp: b"v=0\r\n",
        };
        let mut bytes = [0; 256];
        let mut writer = Writer::new(&mut bytes);
        request.write(&mut writer);
        let written = writer.finish().expect("it fits");
        assert_eq!(MediaRequest::read(written), Some(request));
        for end in 0..written.len() {
            assert_eq!(MediaRequest::read(&written[..end]), None, "cut at {end}");
        }
        for (node, verb, opens) in [(0, Verb::Offer, true), (12, Verb::Offer, false), (0, Verb::Answer, false)] {
            let mut bytes = [0; 256];
            let mut writer = Writer::new(&mut bytes);
            MediaRequest { node, verb, ..request }.write(&mut writer);
            assert_eq!(MediaRequest::opens(writer.finish().expect("it fits")), opens, "{node} {verb:?}");
        }
    }
}
