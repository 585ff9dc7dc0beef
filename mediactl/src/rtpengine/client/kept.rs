//! The SDP that is kept to be said again: offers and answers in the words of the shards, all of one client together within a bound.
//!
//! A call keeps the offer that was rewritten last and the pairs that were agreed (`call.rs`). How large an SDP is, its sender decides; so what is kept is
//! bounded in bytes and not in number, and the bound stands in the memory bill: [`SESSION_BYTES`] for each record of the table of sessions, which is room
//! for an offer and an answer of a browser or for a dozen of a telephone. What does not fit is not kept: then a refused re-INVITE of its call cannot be
//! taken back at the node.
//!
//! Room is given back when what is kept goes, so nobody has to remember to.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

use super::wish::Request;

/// Bytes that a session has on average, at most.
pub const SESSION_BYTES: usize = 4096;

/// What a request costs beside its texts: its head, and what the allocator rounds up.
const OVERHEAD: usize = size_of::<Kept>() + 32;

/// The room of one client.
#[derive(Debug)]
pub(super) struct Room {
    used: Rc<Cell<usize>>,
    most: usize,
}

/// A request that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    request: Request,
    used: Rc<Cell<usize>>,
}

impl Room {
    /// Room for that many bytes.
    pub(super) fn new(most: usize) -> Room {
        Room { used: Rc::default(), most }
    }

    /// Keeps a request; `None` when there is no room for it.
    pub(super) fn keep(&self, request: Request) -> Option<Kept> {
        let used = self.used() + request.size() + OVERHEAD;
        if used > self.most {
            return None;
        }
        self.used.set(used);
        Some(Kept { request, used: Rc::clone(&self.used) })
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.used.get()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.used.set(self.used.get() - self.request.size() - OVERHEAD);
    }
}

impl Deref for Kept {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

#[cfg(test)]
mod tests {
    use corelane_core::bus::{ExchangeId, MediaCall, MediaRequest, Verb};

    use super::*;

    fn request(sdp: &[u8]) -> Request {
        Request::new(&MediaRequest {
            exchange: ExchangeId::NOBODY,
            call: MediaCall::default(),
            started_us: 0,
            since_us: 0,
            set: 0,
            node: 0,
            verb: Verb::Offer,
            attempt: 1,
            from_tag: b"",
            to_tag: b"",
            flags: b"",
            sdp,
        })
    }

    #[test]
    fn what_goes_gives_its_room_back() {
        let room = Room::new(2 * (100 + OVERHEAD));
        let first = room.keep(request(&[1; 100])).expect("room");
        let second = room.keep(request(&[2; 100])).expect("room");
        assert!(room.keep(request(b"")).is_none(), "not even its head");
        assert_eq!(first.view().sdp, [1; 100]);
        drop(first);
        assert_eq!(room.used(), 100 + OVERHEAD);
        drop((room.keep(request(&[3; 100])).expect("room again"), second));
        assert_eq!(room.used(), 0);
    }
}
