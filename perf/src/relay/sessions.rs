//! The sessions of a stand-in: a table of fixed size, by call-id.
//!
//! ```text
//!   index: call-id ─► place        places: [ created, ports, tags … ]  free: [ place, … ]
//! ```
//!
//! A session has a place and its ports follow from that, since nobody sends RTP: a table may be larger than a host has ports. It begins
//! with an offer; a delete that names a to-tag takes that one branch, any other the whole.

use std::collections::HashMap;

/// The first port that is told to anybody, and how many pairs there are.
const PORT_FIRST: u16 = 16_384;
const PORT_PAIRS: usize = 12_000;

/// Ports of one session: a pair for two streams of either side.
const PAIRS_PER_SESSION: usize = 4;

/// Tags that one session keeps; forks beyond that share the last.
const TAGS_MAX: usize = 8;

/// One call on this node.
#[derive(Default, Debug)]
pub struct Session {
    /// When its first offer came, in seconds of the wall clock.
    pub created_s: u64,
    call_id: Box<[u8]>,
    tags: Vec<Box<[u8]>>,
}

impl Session {
    /// Its tags, the first offerer's first.
    pub fn tags(&self) -> impl Iterator<Item = &[u8]> {
        self.tags.iter().map(AsRef::as_ref)
    }
}

/// What a delete met.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Deleted {
    /// The session is gone.
    Whole,
    /// One branch of it is.
    Branch,
    /// There was none.
    Unknown,
}

/// All sessions.
pub struct Sessions {
    index: HashMap<Box<[u8]>, u32>,
    places: Vec<Session>,
    free: Vec<u32>,
    max: usize,
    /// The most that there were at once.
    pub peak: usize,
}

impl Sessions {
    /// A table for `max` sessions; its places are made here, once.
    #[must_use]
    pub fn new(max: usize) -> Sessions {
        Sessions {
            index: HashMap::with_capacity(max),
            places: (0..max).map(|_| Session::default()).collect(),
            free: (0..max as u32).rev().collect(),
            max,
            peak: 0,
        }
    }

    /// Sessions now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Changes how many sessions are taken. Those beyond stay until they are deleted; never more than the table has places.
    pub fn set_max(&mut self, max: usize) {
        self.max = max.min(self.places.len());
    }

    /// The session of a call-id.
    #[must_use]
    pub fn find(&self, call_id: &[u8]) -> Option<&Session> {
        self.index.get(call_id).map(|place| &self.places[*place as usize])
    }

    /// The port that `tag`'s peer is told, the session being made when there is none; `None` when no more are taken.
    pub fn offer(&mut self, call_id: &[u8], tag: &[u8], now_s: u64) -> Option<u16> {
        if let Some(place) = self.index.get(call_id) {
            return Some(self.port(*place, tag));
        }
        if self.index.len() >= self.max {
            return None;
        }
        let place = self.free.pop()?;
        let session = &mut self.places[place as usize];
        (session.created_s, session.call_id) = (now_s, call_id.into());
        session.tags.clear();
        self.index.insert(call_id.into(), place);
        self.peak = self.peak.max(self.index.len());
        Some(self.port(place, tag))
    }

    /// The port for an answer of `tag`; `None` when there was no offer.
    pub fn answer(&mut self, call_id: &[u8], tag: &[u8]) -> Option<u16> {
        let place = *self.index.get(call_id)?;
        Some(self.port(place, tag))
    }

    fn port(&mut self, place: u32, tag: &[u8]) -> u16 {
        let tags = &mut self.places[place as usize].tags;
        let number = tags.iter().position(|known| **known == *tag).unwrap_or_else(|| {
            if tags.len() < TAGS_MAX {
                tags.push(tag.into());
            }
            tags.len() - 1
        });
        let pair = (place as usize * PAIRS_PER_SESSION + number * 2) % PORT_PAIRS;
        PORT_FIRST + 2 * pair as u16
    }

    /// Takes a session, or the one branch of `to_tag`.
    pub fn delete(&mut self, call_id: &[u8], to_tag: Option<&[u8]>) -> Deleted {
        let Some(place) = self.index.get(call_id).copied() else { return Deleted::Unknown };
        let tags = &mut self.places[place as usize].tags;
        if let Some(to_tag) = to_tag {
            let before = tags.len();
            tags.retain(|tag| **tag != *to_tag);
            match (tags.len(), before) {
                (left, before) if left == before => return Deleted::Unknown,
                (1.., _) => return Deleted::Branch,
                _ => {}
            }
        }
        self.index.remove(call_id);
        self.places[place as usize] = Session::default();
        self.free.push(place);
        Deleted::Whole
    }

    /// The call-ids, in no order.
    pub fn call_ids(&self) -> impl Iterator<Item = &[u8]> {
        self.index.keys().map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::{Deleted, Sessions};

    #[test]
    fn a_full_table_takes_no_more_until_one_goes() {
        let mut sessions = Sessions::new(3);
        sessions.set_max(2);
        let port = sessions.offer(b"a", b"1", 7).expect("room");
        assert_eq!(sessions.offer(b"a", b"1", 8), Some(port), "the same offer, the same port");
        assert_eq!(sessions.find(b"a").map(|session| session.created_s), Some(7));
        assert!(sessions.offer(b"b", b"1", 7).is_some_and(|other| other != port));
        assert_eq!(sessions.offer(b"c", b"1", 7), None);
        assert!(sessions.offer(b"a", b"2", 9).is_some_and(|other| other != port), "a re-offer needs no new place");
        assert_eq!(sessions.delete(b"b", None), Deleted::Whole);
        assert!(sessions.offer(b"c", b"1", 7).is_some());
        assert_eq!((sessions.len(), sessions.peak), (2, 2));
    }

    #[test]
    fn a_to_tag_takes_its_branch_alone() {
        let mut sessions = Sessions::new(1);
        assert_eq!(sessions.answer(b"a", b"2"), None, "no offer");
        sessions.offer(b"a", b"1", 0).expect("room");
        sessions.answer(b"a", b"2").expect("an offer");
        sessions.answer(b"a", b"3").expect("an offer");
        assert_eq!(sessions.delete(b"a", Some(b"2")), Deleted::Branch);
        assert_eq!(sessions.delete(b"a", Some(b"2")), Deleted::Unknown);
        assert_eq!(sessions.find(b"a").expect("it stays").tags().collect::<Vec<_>>(), [&b"1"[..], b"3"]);
        assert_eq!(sessions.delete(b"a", None), Deleted::Whole);
        assert_eq!(sessions.delete(b"a", None), Deleted::Unknown);
        assert!(sessions.is_empty() && sessions.call_ids().next().is_none());
    }
}
