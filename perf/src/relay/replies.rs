//! Replies remembered by cookie alone, as rtpengine does: the same cookie gets the same bytes, whatever the request says now.
//!
//! ```text
//!   young { hash of cookie ─► range │ bytes }  ──after `keep`──►  old  ──after `keep`──►  gone
//! ```
//!
//! So a reply is known for at least `keep` and at most twice that. Two generations need no clock and no allocation per reply.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// Bytes of one generation; what comes beyond that is not remembered.
const BYTES_MAX: usize = 512 * 1024 * 1024;

#[derive(Default)]
struct Generation {
    index: HashMap<u64, (Range<usize>, usize)>,
    bytes: Vec<u8>,
}

impl Generation {
    fn find(&self, hash: u64, cookie: &[u8]) -> Option<&[u8]> {
        let (range, cookie_end) = self.index.get(&hash)?;
        let reply = &self.bytes[range.clone()];
        (&reply[..*cookie_end] == cookie).then_some(reply)
    }
}

/// The memory of one node.
pub struct Replies {
    hasher: RandomState,
    young: Generation,
    old: Generation,
    keep_ns: u64,
    turned_ns: u64,
}

impl Replies {
    /// A memory that keeps a reply for `keep_ns` at least.
    #[must_use]
    pub fn new(keep_ns: u64) -> Replies {
        Replies {
            hasher: RandomState::new(),
            young: Generation::default(),
            old: Generation::default(),
            keep_ns,
            turned_ns: 0,
        }
    }

    /// What was answered to this cookie.
    pub fn find(&mut self, now_ns: u64, cookie: &[u8]) -> Option<&[u8]> {
        if now_ns.saturating_sub(self.turned_ns) >= self.keep_ns {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.index.clear();
            self.young.bytes.clear();
            self.turned_ns = now_ns;
        }
        let hash = self.hasher.hash_one(cookie);
        self.young.find(hash, cookie).or_else(|| self.old.find(hash, cookie))
    }

    /// Remembers a reply: the cookie, a space, and what follows.
    pub fn put(&mut self, cookie: &[u8], reply: &[u8]) {
        debug_assert!(reply.starts_with(cookie), "a reply starts with its cookie");
        let start = self.young.bytes.len();
        if start + reply.len() <= BYTES_MAX {
            self.young.bytes.extend_from_slice(reply);
            self.young.index.insert(self.hasher.hash_one(cookie), (start..start + reply.len(), cookie.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Replies;

    #[test]
    fn a_reply_is_known_for_a_while_and_then_forgotten() {
        let mut replies = Replies::new(10);
        assert_eq!(replies.find(10, b"1_1"), None);
        replies.put(b"1_1", b"1_1 d6:result2:oke");
        assert_eq!(replies.find(15, b"1_1"), Some(&b"1_1 d6:result2:oke"[..]));
        assert_eq!(replies.find(15, b"1_2"), None);
        assert!(replies.find(21, b"1_1").is_some(), "one generation later");
        assert_eq!(replies.find(31, b"1_1"), None, "two generations later");
    }
}
