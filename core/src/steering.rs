//! Who owns a message: Call-ID → slot → shard.
//!
//! Every message of a call carries its Call-ID, so the Call-ID alone decides. It is hashed under a secret key to a 16-bit
//! **slot**; a table maps slots to shards. The table, not the hash, changes when the number of shards does, so a token that
//! carries a slot stays true. The same function runs in three places that a differential test holds equal: here on parsed
//! messages ([`Steering::slot_of_call_id`]), here on raw datagrams ([`Steering::slot_of_datagram`], forward mode), and in the kernel
//! (`SK_REUSEPORT`).
//!
//! What counts as the Call-ID of a datagram, bit for bit. A *blank* is any byte ≤ 0x20, so CR and LF too.
//!
//! 1. Only the first [`MESSAGE_SIZE_MAX`] bytes are looked at, as if the datagram ended there. Blanks in front are skipped
//!    (RFC 3261 §7.5 has CR LF there; a keep-alive is nothing else).
//! 2. The first [`LINES_MAX`] line feeds are looked at. What starts behind one is, if it starts with
//!    - LF or CR LF: the end of the header fields; the datagram has no Call-ID,
//!    - `Call-ID` or `i`, any case, and then a blank or `:`: the Call-ID line,
//!    - anything else: of no interest.
//! 3. In the Call-ID line blanks may come before `:` and after it; a line folded behind the colon is so unfolded. The value starts
//!    at the next byte and ends before the next blank. No `:`, or no byte of a value: the datagram has no Call-ID.
//!
//! Every valid message has the Call-ID here that the parser finds in it. The rules are chosen so that the kernel's part is short and
//! its work bounded: the verifier must see the end of each loop.
//!
//! A datagram without a Call-ID stays on the shard that received it.

use alloc::boxed::Box;

use crate::limits::MESSAGE_SIZE_MAX;
use crate::siphash::{Hasher, Key};

/// Slots in the table; a slot is 16 bits wide in every token.
pub const SLOTS: usize = 1 << 16;

/// Line feeds of a datagram that are looked at for its Call-ID: bounds what a datagram of line feeds costs in the kernel. A
/// message has at most [`HEADERS_MAX`](crate::limits::HEADERS_MAX) header fields; this leaves each of them a folded line.
pub const LINES_MAX: usize = 2 * crate::limits::HEADERS_MAX;

/// A keyed hash of a Call-ID, 16 bits wide.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u16);

/// A shard of this node.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardIndex(pub u8);

/// The key and the slot table, equal on all shards and in the steering program.
#[derive(Clone)]
pub struct Steering {
    key: Key,
    /// An empty hash under it.
    start: Hasher,
    table: Box<[u8]>,
}

impl Steering {
    /// A table that spreads all slots evenly over `shards` shards.
    ///
    /// # Panics
    /// When `shards` is 0: a node without shards is a configuration error that `check` reports.
    #[must_use]
    pub fn even(secret: Key, shards: u8) -> Steering {
        assert!(shards > 0, "a node has at least one shard");
        let table = (0..SLOTS).map(|slot| (slot * usize::from(shards) / SLOTS) as u8).collect();
        let key = secret.derive(u64::from_le_bytes(*b"steering"));
        Steering { key, start: Hasher::new(key), table }
    }

    /// The key of the Call-ID hash (the steering program needs it).
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// The table: the shard of each slot (the steering program needs it).
    #[must_use]
    pub fn table(&self) -> &[u8] {
        &self.table
    }

    /// The 64-bit keyed hash of a Call-ID value; its top 16 bits are the slot.
    #[inline]
    #[must_use]
    pub fn hash_call_id(&self, call_id: &[u8]) -> u64 {
        self.start.hash(call_id)
    }

    /// The slot of a Call-ID value.
    #[inline]
    #[must_use]
    pub fn slot_of_call_id(&self, call_id: &[u8]) -> Slot {
        slot_of_hash(self.hash_call_id(call_id))
    }

    /// The slot of a raw datagram, or `None` when it shows no Call-ID.
    #[must_use]
    pub fn slot_of_datagram(&self, datagram: &[u8]) -> Option<Slot> {
        find_call_id(datagram).map(|value| self.slot_of_call_id(value))
    }

    /// The slot of a datagram of which only the start may be known, as an ICMP error has it: `None` also where the Call-ID may go on behind it.
    #[must_use]
    pub fn slot_of_start(&self, start: &[u8]) -> Option<Slot> {
        let value = find_call_id(start)?;
        let is_whole = value.as_ptr_range().end != start.as_ptr_range().end;
        is_whole.then(|| self.slot_of_call_id(value))
    }

    /// The shard that owns a slot.
    #[inline]
    #[must_use]
    pub fn owner(&self, slot: Slot) -> ShardIndex {
        ShardIndex(self.table[usize::from(slot.0)])
    }
}

/// The slot within a hash from [`Steering::hash_call_id`].
#[inline]
#[must_use]
pub const fn slot_of_hash(hash: u64) -> Slot {
    Slot((hash >> 48) as u16)
}

/// The Call-ID value of a raw datagram, by the definition in this module's head.
#[must_use]
pub fn find_call_id(datagram: &[u8]) -> Option<&[u8]> {
    let mut rest = skip_blanks(&datagram[..datagram.len().min(MESSAGE_SIZE_MAX)]);
    for _ in 0..LINES_MAX {
        let line_end = memchr::memchr(b'\n', rest)?;
        rest = &rest[line_end + 1..];
        let after_name = match rest {
            [b'\n', ..] | [b'\r', b'\n', ..] => return None,
            [b'i' | b'I', after @ ..] => after,
            _ if rest.len() >= 7 && rest[..7].eq_ignore_ascii_case(b"call-id") => &rest[7..],
            _ => continue,
        };
        if matches!(after_name, [0..=b' ' | b':', ..]) {
            let value = skip_blanks(skip_blanks(after_name).strip_prefix(b":")?);
            let end = value.iter().position(|byte| *byte <= b' ').unwrap_or(value.len());
            return (end > 0).then(|| &value[..end]);
        }
    }
    None
}

fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte > b' ').unwrap_or(bytes.len());
    &bytes[start..]
}

#[cfg(test)]
mod tests {
    use super::{Key, LINES_MAX, MESSAGE_SIZE_MAX, Steering, find_call_id};

    #[test]
    fn finds_the_call_id_in_every_spelling() {
        for (datagram, expected) in [
            (&b"INVITE sip:a SIP/2.0\r\nCall-ID: abc@d\r\n\r\n"[..], Some(&b"abc@d"[..])),
            (b"INVITE sip:a SIP/2.0\r\ni:abc\r\n", Some(b"abc")),
            (b"INVITE sip:a SIP/2.0\ncALL-id \t: abc \n", Some(b"abc")),
            (b"X\r\nCall-ID:\r\n folded\r\n", Some(b"folded")),
            (b"X\r\nCall-IDs: no\r\nIt: no\r\nI : yes", Some(b"yes")),
            (b"X\r\n\r\nCall-ID: body", None),
            (b"X\n\nCall-ID: body", None),
            (b"Call-ID: first line", None),
            (b"X\r\nCall-ID:", None),
            (b"X\r\nCall-ID no\r\ni:yes", None),
            (b"\r\n\r\nX\r\nCall-ID: after keep-alives\r\n", Some(b"after")),
            (b"\r\n\r\nCall-ID: first line\r\n", None),
            (b"\r\n\r\n", None),
            (b"X\r\ni: \r\n", None),
            (b"", None),
        ] {
            assert_eq!(find_call_id(datagram), expected, "{:?}", std::str::from_utf8(datagram));
        }
    }

    #[test]
    fn a_call_id_that_may_go_on_behind_what_is_known_is_none() {
        let steering = Steering::even(Key::new(*b"a key for tests."), 4);
        let slot = |start: &[u8]| steering.slot_of_start(start);
        let whole = b"SIP/2.0 200 OK\r\ni: abc\r\nVia: x";
        assert_eq!(slot(whole), Some(steering.slot_of_call_id(b"abc")));
        for known in 0..whole.len() {
            let end_of_value = 22;
            assert_eq!(slot(&whole[..known]).is_some(), known > end_of_value, "{known} bytes");
        }
    }

    #[test]
    fn looks_no_further_than_the_largest_message() {
        let mut datagram = b"X\r\n".to_vec();
        datagram.resize(MESSAGE_SIZE_MAX - 7, b'a');
        datagram.extend_from_slice(b"\ni:1234567");
        assert_eq!(datagram.len(), MESSAGE_SIZE_MAX + 3);
        assert_eq!(find_call_id(&datagram), Some(&b"1234"[..]), "the value ends where the look ends");
        datagram.insert(4, b'a');
        assert_eq!(find_call_id(&datagram), Some(&b"123"[..]));
        datagram.splice(4..4, *b"aaa");
        assert_eq!(find_call_id(&datagram), None, "nothing of the value is left");
    }

    #[test]
    fn looks_no_further_than_the_lines_of_a_message() {
        let lines = |count: usize| [&b"a\n".repeat(count)[..], b"i:yes\n"].concat();
        assert_eq!(find_call_id(&lines(LINES_MAX)), Some(&b"yes"[..]));
        assert_eq!(find_call_id(&lines(LINES_MAX + 1)), None);
    }
}
