//! The table of sessions: what is held on media nodes, and what is owed to them, over restarts.
//!
//! ```text
//!   record, 64 bytes   0 magic 32   4 state 8 (1 held, 2 due)   8 Corelane node 32   12 media node 32   16 boot 64
//!                     24 hash of the Call-ID 64   32 pass 32   36 zeros   60 CRC-32 of bytes 8 to 59
//!
//!   put: before the offer leaves ──► held ── due: the call ended, or another boot's ──► due ── take: the delete is acknowledged
//!                                      └─ take: the node made nothing, or has it no more
//! ```
//!
//! The bytes are the caller's, a mapped file in the product; numbers are little-endian. At the start every record of another boot is due. So what
//! is held belongs to a call that lives, or whose end is still to be read from a journal: also after a panic, when memory knows of no call. The
//! checksum leaves the state out, so that a record falls due by one byte: wherever the process is killed the debt is there. A torn record was being
//! written, before its offer left, or its page was lost with the machine: it is wiped and counted, and its session is the reconciler's.
//!
//! Every look-up is by hash; the records of one session, on several nodes, are chained by their places. Only [`Sessions::open`] and
//! [`Sessions::owed`] read all of the table.

use std::collections::HashMap;

use super::id::{Origin, SessionId};
use corelane_core::bus::MediaCall;

/// Bytes of a record.
pub const RECORD: usize = 64;
const MAGIC: u32 = 0x314d_4c43;
/// Where a record's state lies.
const STATE: usize = 4;
const HELD: u8 = 1;
const DUE: u8 = 2;
/// The end of a chain of places.
const NONE: u32 = u32::MAX;

/// Where records lie.
pub trait Records {
    /// All of them; what is left over at the end is not used.
    fn bytes(&self) -> &[u8];
    /// The same, to change.
    fn bytes_mut(&mut self) -> &mut [u8];
}

impl Records for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// A session on one node.
pub type Debt = (u32, SessionId);

/// Why there is no record for an offer, which must not leave then.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum NoRecord {
    /// The table is full.
    Full,
    /// The session is being deleted: its call has ended.
    Due,
}

/// What one node has.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Sessions of calls in progress.
    pub held: u32,
    /// Sessions whose delete is owed.
    pub due: u32,
}

/// What memory knows of a place.
#[derive(Copy, Clone, Debug)]
struct Place {
    node: u32,
    due: bool,
    /// The session's next place, or the next free one.
    next: u32,
}

/// Bytes of memory for a record: its place, and its share of an index that is at least seven sixteenths full.
pub const MEMORY: usize = size_of::<Place>() + (size_of::<(SessionId, u32)>() + 1) * 16 / 7;

/// The table.
#[derive(Debug)]
pub struct Sessions<R> {
    records: R,
    places: Vec<Place>,
    first_free: u32,
    /// The first place of each session.
    index: HashMap<SessionId, u32>,
    counts: HashMap<u32, Count>,
    damaged: u64,
}

impl<R: Records> Sessions<R> {
    /// Reads what is there. What belongs to another boot becomes due.
    pub fn open(records: R, origin: Origin) -> Sessions<R> {
        // Places beyond 32 bits would be a table of 256 GiB.
        let count = u32::try_from(records.bytes().len() / RECORD).map_or(NONE - 1, |count| count.min(NONE - 1));
        let mut table = Sessions {
            records,
            places: vec![Place { node: 0, due: false, next: NONE }; count as usize],
            first_free: NONE,
            index: HashMap::with_capacity(count as usize),
            counts: HashMap::new(),
            damaged: 0,
        };
        // Backwards, so that the first place is the first to be taken.
        for place in (0..count).rev() {
            match read(table.record(place)) {
                Some(((node, session), due)) if !table.has(node, session) => {
                    let due = due || session.origin != origin;
                    if due {
                        table.record_mut(place)[STATE] = DUE;
                    }
                    table.link(place, (node, session), due);
                }
                found => {
                    let torn = found.is_none() && table.record(place).iter().any(|byte| *byte != 0);
                    table.damaged += u64::from(torn);
                    table.free(place);
                }
            }
        }
        table
    }

    /// Notes a session before its offer leaves. True when it is a new one.
    ///
    /// # Errors
    /// [`NoRecord`]: the offer must not leave.
    pub fn put(&mut self, node: u32, session: SessionId) -> Result<bool, NoRecord> {
        if let Some(place) = self.find(node, session) {
            return if self.places[place as usize].due { Err(NoRecord::Due) } else { Ok(false) };
        }
        self.insert((node, session), false).ok_or(NoRecord::Full)?;
        Ok(true)
    }

    /// Notes that a node has a session that no call owns. False when that was known, or the table is full.
    pub fn owe(&mut self, node: u32, session: SessionId) -> bool {
        self.find(node, session).is_none() && self.insert((node, session), true).is_some()
    }

    /// The call has ended: what nodes have of its session is owed from now on. The nodes of which that is news.
    pub fn due(&mut self, session: SessionId) -> Vec<u32> {
        let mut nodes = Vec::new();
        let mut place = self.first(session);
        while place != NONE {
            let Place { node, due, next } = self.places[place as usize];
            if !due {
                self.places[place as usize].due = true;
                self.record_mut(place)[STATE] = DUE;
                let count = self.counts.entry(node).or_default();
                count.held -= 1;
                count.due += 1;
                nodes.push(node);
            }
            place = next;
        }
        nodes
    }

    /// Takes out what was paid, or what a node does not have.
    pub fn take(&mut self, node: u32, session: SessionId) -> bool {
        let Some(place) = self.find(node, session) else { return false };
        let Place { due, next, .. } = self.places[place as usize];
        if let Some(count) = self.counts.get_mut(&node) {
            *(if due { &mut count.due } else { &mut count.held }) -= 1;
        }
        let before = self.places_of(session).find(|before| self.places[*before as usize].next == place);
        match before {
            Some(before) => self.places[before as usize].next = next,
            None if next == NONE => drop(self.index.remove(&session)),
            None => drop(self.index.insert(session, next)),
        }
        self.free(place);
        true
    }

    /// Whether a session is in the table, held or due.
    #[must_use]
    pub fn has(&self, node: u32, session: SessionId) -> bool {
        self.find(node, session).is_some()
    }

    /// Whether a session is in the table for any node, held or due.
    #[must_use]
    pub fn knows(&self, session: SessionId) -> bool {
        self.index.contains_key(&session)
    }

    /// Whether a session is in the table, and its call has not ended.
    #[must_use]
    pub fn is_held(&self, node: u32, session: SessionId) -> bool {
        self.find(node, session).is_some_and(|place| !self.places[place as usize].due)
    }

    /// Sessions of one node, held and due.
    #[must_use]
    pub fn of_node(&self, node: u32) -> u32 {
        self.counts.get(&node).map_or(0, |count| count.held + count.due)
    }

    /// What each node has; also of those that have nothing any more.
    pub fn counts(&self) -> impl Iterator<Item = (u32, Count)> {
        self.counts.iter().map(|(node, count)| (*node, *count))
    }

    /// How many records there is room for.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        // Opened with that many, which is a number of 32 bits.
        self.places.len() as u32
    }

    /// The session that a node holds at a place, for whoever walks the table from 0 to [`Sessions::capacity`].
    #[must_use]
    pub fn held_at(&self, place: u32, node: u32) -> Option<SessionId> {
        let known = self.places.get(place as usize)?;
        if known.due || known.node != node {
            return None;
        }
        read(self.record(place)).map(|((_, session), _)| session)
    }

    /// All that is owed. Visits the whole table: at the start.
    pub fn owed(&self) -> impl Iterator<Item = Debt> {
        let places = self.index.keys().flat_map(|session| self.places_of(*session).map(|place| (*session, place)));
        places.filter(|(_, place)| self.places[*place as usize].due).map(|(session, place)| {
            let node = self.places[place as usize].node;
            (node, session)
        })
    }

    /// The bytes, when the table is no longer wanted.
    pub fn into_records(self) -> R {
        self.records
    }

    /// Sessions in the table, held and due.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.counts.values().map(|count| count.held + count.due).sum()
    }

    /// Records that were torn when the table was opened.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    fn first(&self, session: SessionId) -> u32 {
        self.index.get(&session).copied().unwrap_or(NONE)
    }

    fn places_of(&self, session: SessionId) -> impl Iterator<Item = u32> {
        let present = |place: u32| (place != NONE).then_some(place);
        std::iter::successors(present(self.first(session)), move |place| present(self.places[*place as usize].next))
    }

    fn find(&self, node: u32, session: SessionId) -> Option<u32> {
        self.places_of(session).find(|place| self.places[*place as usize].node == node)
    }

    fn insert(&mut self, debt: Debt, due: bool) -> Option<u32> {
        let place = Some(self.first_free).filter(|place| *place != NONE)?;
        self.first_free = self.places[place as usize].next;
        *self.record_mut(place) = record(debt, due);
        self.link(place, debt, due);
        Some(place)
    }

    /// Makes a record known that lies at a place.
    fn link(&mut self, place: u32, (node, session): Debt, due: bool) {
        let next = self.index.insert(session, place).unwrap_or(NONE);
        self.places[place as usize] = Place { node, due, next };
        let count = self.counts.entry(node).or_default();
        *(if due { &mut count.due } else { &mut count.held }) += 1;
    }

    /// Wipes a place and gives it back. A free place is no node's: none has the id 0.
    fn free(&mut self, place: u32) {
        self.record_mut(place).fill(0);
        self.places[place as usize] = Place { node: 0, due: false, next: self.first_free };
        self.first_free = place;
    }

    fn record(&self, place: u32) -> &[u8; RECORD] {
        &self.records.bytes().as_chunks().0[place as usize]
    }

    fn record_mut(&mut self, place: u32) -> &mut [u8; RECORD] {
        &mut self.records.bytes_mut().as_chunks_mut().0[place as usize]
    }
}

/// What bytes hold, as they are.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Survey {
    /// Records that can be read.
    pub sound: u64,
    /// Records that begin as ours do and cannot be read.
    pub torn: u64,
    /// Records that begin otherwise.
    pub foreign: u64,
}

/// Looks at every record and changes none.
#[must_use]
pub fn survey(bytes: &[u8]) -> Survey {
    let mut survey = Survey::default();
    for record in bytes.as_chunks::<RECORD>().0.iter().filter(|record| record.iter().any(|byte| *byte != 0)) {
        if read(record).is_some() {
            survey.sound += 1;
        } else if record.starts_with(&MAGIC.to_le_bytes()) {
            survey.torn += 1;
        } else {
            survey.foreign += 1;
        }
    }
    survey
}

fn record((node, session): Debt, due: bool) -> [u8; RECORD] {
    let mut new = [0; RECORD];
    let mut put = |at: usize, bytes: &[u8]| new[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC.to_le_bytes());
    put(STATE, &[if due { DUE } else { HELD }]);
    put(8, &session.origin.node.to_le_bytes());
    put(12, &node.to_le_bytes());
    put(16, &session.origin.boot.to_le_bytes());
    put(24, &session.call.call_hash.to_le_bytes());
    put(32, &session.call.pass.to_le_bytes());
    let checksum = crc32fast::hash(&new[8..60]);
    new[60..].copy_from_slice(&checksum.to_le_bytes());
    new
}

fn read(record: &[u8; RECORD]) -> Option<(Debt, bool)> {
    let word = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if word(0) != MAGIC || word(60) != crc32fast::hash(&record[8..60]) || !matches!(record[STATE], HELD | DUE) {
        return None;
    }
    let origin = Origin { node: word(8), boot: long(16) };
    let call = MediaCall { call_hash: long(24), pass: word(32) };
    Some(((word(12), SessionId { origin, call }), record[STATE] == DUE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Origin = Origin { node: 7, boot: 1 };

    fn session(call_hash: u64) -> SessionId {
        SessionId { origin: BEFORE, call: MediaCall { call_hash, pass: 1 } }
    }

    #[test]
    fn what_another_boot_held_is_owed_and_what_was_torn_is_left() {
        let mut table = Sessions::open(vec![0; 4 * RECORD], BEFORE);
        assert_eq!(table.put(3, session(1)), Ok(true));
        assert_eq!(table.put(3, session(1)), Ok(false), "one record for a session and node");
        assert_eq!(table.put(4, session(1)), Ok(true));
        assert_eq!(table.put(3, session(2)), Ok(true));
        assert_eq!(table.put(3, session(3)), Ok(true));
        assert_eq!(table.put(3, session(4)), Err(NoRecord::Full));
        assert_eq!(table.due(session(2)), [3]);
        assert_eq!(table.put(3, session(2)), Err(NoRecord::Due), "a delete is on its way");
        assert!(table.take(3, session(3)) && !table.take(3, session(3)));
        assert_eq!((table.of_node(3), table.owed().count()), (2, 1));

        let again = Sessions::open(table.records.clone(), BEFORE);
        assert_eq!((again.owed().count(), again.of_node(3), again.of_node(4)), (1, 2, 1));
        assert!(again.is_held(3, session(1)) && !again.is_held(3, session(2)), "the same boot goes on");
        let mut torn = table.records.clone();
        let place = table.find(4, session(1)).unwrap() as usize;
        torn[place * RECORD + 20] ^= 1;
        assert_eq!(survey(&torn), Survey { sound: 2, torn: 1, foreign: 0 });
        assert_eq!(survey(b"some other file, and long enough that it could hold more than one record").foreign, 1);
        let next = Sessions::open(torn, Origin { boot: 2, ..BEFORE });
        assert_eq!((next.owed().count(), next.damaged()), (2, 1));
        assert!(next.has(3, session(1)) && !next.has(4, session(1)));
    }

    #[test]
    fn a_session_knows_its_nodes_and_each_goes_alone() {
        let mut table = Sessions::open(vec![0; 8 * RECORD + 9], BEFORE);
        for node in [3, 4, 5] {
            assert_eq!(table.put(node, session(1)), Ok(true));
        }
        assert!(table.owe(6, session(1)) && !table.owe(6, session(1)) && !table.owe(3, session(1)));
        assert!(table.take(4, session(1)), "from the middle of the chain");
        let held = (0..table.capacity()).filter_map(|place| table.held_at(place, 3)).collect::<Vec<_>>();
        assert_eq!((held, table.capacity()), (vec![session(1)], 8));
        let mut nodes = table.due(session(1));
        nodes.sort_unstable();
        assert_eq!(nodes, [3, 5], "6 was owed before");
        assert_eq!(table.due(session(1)), [0; 0]);
        assert_eq!((0..8).filter_map(|place| table.held_at(place, 3)).count(), 0);
        let mut counts: Vec<_> = table.counts().filter(|(_, count)| *count != Count::default()).collect();
        counts.sort_unstable_by_key(|(node, _)| *node);
        assert_eq!(counts, [3, 5, 6].map(|node| (node, Count { held: 0, due: 1 })));
        for node in [3, 5, 6] {
            assert!(table.take(node, session(1)));
        }
        assert_eq!((table.live(), table.index.len()), (0, 0));
        assert!(table.records.iter().all(|byte| *byte == 0));
        // Every place is there to be taken again.
        assert!((0..8).all(|call| table.put(3, session(call)) == Ok(true)));
    }
}
