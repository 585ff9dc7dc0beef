//! The SDP that is kept to be said again: offers and answers in the words of the shards, all of one client together within a bound.
//!
//! A call keeps the offer that has no answer yet and the pairs that were agreed (`call.rs`). How large an SDP is, its sender decides; so what is kept is
//! bounded in bytes and not in number, and the bound stands in the memory bill: [`SESSION_BYTES`] for each record of the table of sessions, which is room
//! for an offer and an answer of a browser or for a dozen of a telephone. What does not fit is not kept: then a refused re-INVITE of its call cannot be
//! taken back at the node.
//!
//! Room is given back when the last copy goes, so nobody has to remember to.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that a session has on average, at most.
pub const SESSION_BYTES: usize = 4096;

/// What a text costs beside its bytes: its heads, and what the allocator rounds up.
const OVERHEAD: usize = 96;

/// The room of one client.
#[derive(Debug)]
pub(super) struct Room {
    used: Arc<AtomicUsize>,
    most: usize,
}

/// A text that is kept; copies share its bytes.
#[derive(Clone, Debug)]
pub(super) struct Kept(Arc<Text>);

#[derive(Debug)]
struct Text {
    bytes: Box<[u8]>,
    used: Arc<AtomicUsize>,
}

impl Room {
    /// Room for that many bytes.
    pub(super) fn new(most: usize) -> Room {
        Room { used: Arc::default(), most }
    }

    /// Keeps a text; `None` when there is no room for it.
    pub(super) fn keep(&self, text: &[u8]) -> Option<Kept> {
        let used = self.used() + text.len() + OVERHEAD;
        if used > self.most {
            return None;
        }
        // One thread at a time has the client: nobody counts in between.
        self.used.store(used, Ordering::Relaxed);
        Some(Kept(Arc::new(Text { bytes: text.into(), used: Arc::clone(&self.used) })))
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes.len() + OVERHEAD, Ordering::Relaxed);
    }
}

impl Deref for Kept {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_gives_its_room_back() {
        let room = Room::new(2 * (100 + OVERHEAD));
        let first = room.keep(&[1; 100]).expect("room");
        let copy = first.clone();
        let second = room.keep(&[2; 100]).expect("room");
        assert!(room.keep(b"").is_none(), "not even its heads");
        drop(first);
        assert!(room.keep(b"").is_none(), "a copy is left");
        assert_eq!(copy[..], [1; 100]);
        drop(copy);
        assert_eq!(room.used(), 100 + OVERHEAD);
        drop((room.keep(&[3; 100]).expect("room again"), second));
        assert_eq!(room.used(), 0);
    }
}
