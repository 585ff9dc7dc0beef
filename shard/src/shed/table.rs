//! The table between a shard and its filter: what share of a source's new calls passes, and until when.
//!
//! ```text
//!   8-byte words   0: datagrams dropped   1–7: unused   then 4,096 entries of two words
//!   entry          key:64                                  the hash of the source's address; its top 12 bits are the entry's place
//!                  key:16 | pass:16 | expires:32           low bits of the key again; share in 65,536ths; in units of 2²⁰ ns
//! ```
//!
//! The shard writes entries, the program reads them and counts. Each word is stored as one, and both tell whose they are: a program that
//! meets one old and one new word passes the datagram. Two sources of one place put each other out, and one that is out passes.
//!
//! The hash is computed here and by the program; `tests/shedding.rs` holds the two equal through real sockets.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use corelane_core::siphash::Key;

use crate::sys::bpf::SharedWords;

/// Entries are chosen by so many bits of the key.
pub(super) const PLACE_BITS: u32 = 12;
/// Words in front of the entries: a cache line of its own for the count.
pub(super) const HEADER_WORDS: usize = 8;
/// Words of an entry.
pub(super) const ENTRY_WORDS: usize = 2;
/// Words of the table.
pub(super) const TABLE_WORDS: usize = HEADER_WORDS + (ENTRY_WORDS << PLACE_BITS);

/// Time in an entry counts 2²⁰ ns, a little more than a millisecond; 52 days fit.
pub(super) const TIME_SHIFT: u32 = 20;
/// How long an entry lives unless it is written again: a second.
pub(super) const LIFE: u32 = (1_000_000_000 >> TIME_SHIFT) as u32;

/// The second word of an entry.
pub(super) const CHECK_SHIFT: u32 = 48;
pub(super) const PASS_SHIFT: u32 = 32;

/// Odd, with bits everywhere; from the golden ratio.
pub(super) const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of addresses, and that of messages which makes the draws. Its start is secret only so that no peer can choose its draw.
#[derive(Copy, Clone)]
pub(super) struct Hash {
    pub(super) start: u64,
}

impl Hash {
    pub(super) fn new(key: Key) -> Hash {
        Hash { start: key.hash(b"shed in kernel") }
    }

    /// The key of a source: its address as IPv6, hashed in two words.
    pub(super) fn key(self, source: IpAddr) -> u64 {
        let octets = match source {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let address = u128::from_le_bytes(octets);
        let mut hash = self.start;
        for word in [address as u64, (address >> 64) as u64] {
            hash = (hash ^ word).wrapping_mul(FACTOR);
            hash ^= hash >> 32;
        }
        hash.wrapping_mul(FACTOR)
    }
}

/// The table as the shard sees it.
#[derive(Debug)]
pub(super) struct Table {
    words: SharedWords,
    hash: Hash,
}

impl Table {
    /// `words` are [`TABLE_WORDS`] zeros.
    pub(super) fn new(words: SharedWords, hash: Hash) -> Table {
        assert_eq!(words.words().len(), TABLE_WORDS, "the map was made for the table");
        Table { words, hash }
    }

    /// Lets `pass` in 65,536 of a source's new calls through for a second from `now_ns` of the kernel's clock.
    #[inline]
    pub(super) fn set(&self, source: IpAddr, pass: u16, now_ns: u64) {
        let key = self.hash.key(source);
        let place = HEADER_WORDS + ENTRY_WORDS * (key >> (64 - PLACE_BITS)) as usize;
        let expires = ((now_ns >> TIME_SHIFT) as u32).wrapping_add(LIFE);
        let rest = key << CHECK_SHIFT | u64::from(pass) << PASS_SHIFT | u64::from(expires);
        let words = self.words.words();
        words[place].store(key, Relaxed);
        words[place + 1].store(rest, Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.words.words()[0].load(Relaxed)
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Hash(..)")
    }
}
