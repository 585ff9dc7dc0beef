//! The table of sessions: what is held on media nodes, and what is owed to them, over restarts.
//!
//! ```text
//!   record, 64 bytes   0 magic 32   4 state 8 (1 held, 2 due)   8 Corelane node 32   12 media node 32   16 boot 64
//!                     24 hash of the Call-ID 64   32 pass 32   36 zeros   60 CRC-32 of bytes 0 to 59
//! ```
//!
//! A record is put before the first byte goes to the node, falls due at the call's end, and is taken out when the node acknowledged
//! the delete. The bytes are the caller's, a mapped file in the product; numbers are little-endian. At the start every
//! record of another boot is due. A torn record is wiped and counted: its session is the reconciler's.

use std::collections::HashMap;

use super::id::{Origin, SessionId};
use corelane_core::bus::MediaCall;

/// Bytes of a record.
pub const RECORD: usize = 64;
const MAGIC: u32 = 0x314d_4c43;
const HELD: u8 = 1;
const DUE: u8 = 2;

/// Where records lie.
pub trait Records {
    /// All of them; what is left over at the end is not used.
    fn bytes(&mut self) -> &mut [u8];
}

impl Records for Vec<u8> {
    fn bytes(&mut self) -> &mut [u8] {
        self
    }
}

/// A session on one node.
pub type Debt = (u32, SessionId);

/// The table is full.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct TableFull;

/// The table.
#[derive(Debug)]
pub struct Sessions<R> {
    records: R,
    index: HashMap<Debt, (usize, bool)>,
    free: Vec<usize>,
    counts: HashMap<u32, u32>,
    damaged: u64,
}

impl<R: Records> Sessions<R> {
    /// Reads what is there. What belongs to another boot becomes due.
    pub fn open(mut records: R, origin: Origin) -> Sessions<R> {
        let (mut index, mut counts, mut free, mut damaged) = (HashMap::new(), HashMap::new(), Vec::new(), 0);
        let (places, _) = records.bytes().as_chunks_mut::<RECORD>();
        for (place, record) in places.iter_mut().enumerate() {
            match read(record) {
                Some((debt, due)) if !index.contains_key(&debt) => {
                    let due = due || debt.1.origin != origin;
                    write(record, debt, due);
                    index.insert(debt, (place, due));
                    *counts.entry(debt.0).or_insert(0) += 1;
                }
                found => {
                    damaged += u64::from(found.is_none() && record.iter().any(|byte| *byte != 0));
                    record.fill(0);
                    free.push(place);
                }
            }
        }
        Sessions { records, index, free, counts, damaged }
    }

    /// Notes a session before its offer leaves. True when it is a new one.
    ///
    /// # Errors
    /// When no record is free.
    pub fn put(&mut self, node: u32, session: SessionId) -> Result<bool, TableFull> {
        let debt = (node, session);
        if self.index.contains_key(&debt) {
            return Ok(false);
        }
        let place = self.free.pop().ok_or(TableFull)?;
        self.write(place, debt, false);
        self.index.insert(debt, (place, false));
        *self.counts.entry(node).or_insert(0) += 1;
        Ok(true)
    }

    /// Marks a session as owed; false when it is not in the table.
    pub fn due(&mut self, node: u32, session: SessionId) -> bool {
        let debt = (node, session);
        let Some((place, due)) = self.index.get_mut(&debt) else { return false };
        *due = true;
        let place = *place;
        self.write(place, debt, true);
        true
    }

    /// Takes out what was paid.
    pub fn take(&mut self, node: u32, session: SessionId) -> bool {
        let Some((place, _)) = self.index.remove(&(node, session)) else { return false };
        self.records.bytes()[place * RECORD..][..RECORD].fill(0);
        self.free.push(place);
        if let Some(count) = self.counts.get_mut(&node) {
            *count -= 1;
        }
        true
    }

    /// Whether a session is in the table, held or due.
    #[must_use]
    pub fn has(&self, node: u32, session: SessionId) -> bool {
        self.index.contains_key(&(node, session))
    }

    /// Sessions of one node, held and due.
    #[must_use]
    pub fn of_node(&self, node: u32) -> u32 {
        self.counts.get(&node).copied().unwrap_or(0)
    }

    /// All that is owed. Visits the whole table: at the start, and when nodes change.
    pub fn owed(&self) -> impl Iterator<Item = Debt> {
        self.index.iter().filter(|(_, (_, due))| *due).map(|(debt, _)| *debt)
    }

    /// The bytes, when the table is no longer wanted.
    pub fn into_records(self) -> R {
        self.records
    }

    /// Sessions in the table, held and due.
    #[must_use]
    pub fn live(&self) -> usize {
        self.index.len()
    }

    /// Sessions for which there is a record.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.index.len() + self.free.len()
    }

    /// Records that were torn when the table was opened.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    fn write(&mut self, place: usize, debt: Debt, due: bool) {
        if let Some(record) = self.records.bytes()[place * RECORD..].first_chunk_mut() {
            write(record, debt, due);
        }
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

fn write(record: &mut [u8; RECORD], (node, session): Debt, due: bool) {
    let mut new = [0; RECORD];
    let mut put = |at: usize, bytes: &[u8]| new[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC.to_le_bytes());
    put(4, &[if due { DUE } else { HELD }]);
    put(8, &session.origin.node.to_le_bytes());
    put(12, &node.to_le_bytes());
    put(16, &session.origin.boot.to_le_bytes());
    put(24, &session.call.call_hash.to_le_bytes());
    put(32, &session.call.pass.to_le_bytes());
    let checksum = crc32fast::hash(&new[..60]);
    new[60..].copy_from_slice(&checksum.to_le_bytes());
    *record = new;
}

fn read(record: &[u8; RECORD]) -> Option<(Debt, bool)> {
    let word = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if word(0) != MAGIC || word(60) != crc32fast::hash(&record[..60]) || !matches!(record[4], HELD | DUE) {
        return None;
    }
    let origin = Origin { node: word(8), boot: long(16) };
    let call = MediaCall { call_hash: long(24), pass: word(32) };
    Some(((word(12), SessionId { origin, call }), record[4] == DUE))
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
        assert_eq!(table.put(3, session(4)), Err(TableFull));
        assert!(table.due(3, session(2)) && table.take(3, session(3)) && !table.take(3, session(3)));
        assert_eq!((table.of_node(3), table.owed().count()), (2, 1));

        let again = Sessions::open(table.records.clone(), BEFORE);
        assert_eq!((again.owed().count(), again.of_node(3), again.of_node(4)), (1, 2, 1));
        let mut torn = table.records;
        let place = table.index[&(4, session(1))].0;
        torn[place * RECORD + 20] ^= 1;
        assert_eq!(survey(&torn), Survey { sound: 2, torn: 1, foreign: 0 });
        assert_eq!(survey(b"some other file, and long enough that it could hold more than one record").foreign, 1);
        let next = Sessions::open(torn, Origin { boot: 2, ..BEFORE });
        assert_eq!((next.owed().count(), next.damaged()), (2, 1));
        assert!(next.has(3, session(1)) && !next.has(4, session(1)));
    }
}
