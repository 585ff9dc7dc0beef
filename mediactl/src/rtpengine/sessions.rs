//! The table of sessions: what is held on media nodes, and what is owed to them, over restarts.
//!
//! ```text
//!   put: before the offer leaves ──► held ── due: the call ended, or another boot's ──► due ── take: the delete is acknowledged
//!                                      └─ take: the node made nothing, or has it no more
//! ```
//!
//! **A debt is owed to an address**, the one that the offer went to, as it stood then: neither the row of a table nor a name, which may mean another
//! machine tomorrow.
//!
//! The bytes are the caller's, a mapped file in the product; how a record lies there says `record.rs`. At the start every record of
//! another boot is due. So what is held belongs to a call that lives, or whose end is still to be read from a journal: also after a panic, when memory knows of no call. A torn record
//! was being written, before its offer left, or its page was lost with the machine: it is wiped and counted, and its session is the reconciler's.
//!
//! Every look-up is by hash; the records of one session, at several addresses, are chained by their places. Only [`Sessions::open`] and
//! [`Sessions::owed`] read all of the table.

mod record;

use std::collections::HashMap;
use std::net::SocketAddr;

use corelane_core::memory::Tally;

use super::id::{Origin, SessionId};

pub use self::record::{Debt, RECORD, Survey, survey};
use self::record::{fall_due, read, record};

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

/// Why there is no record for an offer, which must not leave then.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum NoRecord {
    /// The table is full.
    Full,
    /// The session is being deleted: its call has ended.
    Due,
}

/// What one address has.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Sessions of calls in progress.
    pub held: u32,
    /// Sessions whose delete is owed.
    pub due: u32,
}

impl Count {
    /// Both.
    #[must_use]
    pub const fn live(self) -> u32 {
        self.held + self.due
    }
}

/// What memory knows of a place.
#[derive(Copy, Clone, Debug)]
struct Place {
    /// Its address among those that are known.
    home: u32,
    due: bool,
    /// The session's next place, or the next free one.
    next: u32,
}

/// An address that is known, and what it has.
#[derive(Copy, Clone, Debug)]
struct Home {
    address: SocketAddr,
    count: Count,
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
    /// Each address once; a few dozen. One that has nothing any more gives its place to the next.
    homes: Vec<Home>,
    /// Where each of them is.
    home_of: HashMap<SocketAddr, u32>,
    damaged: u64,
    tally: Tally,
}

impl<R: Records> Sessions<R> {
    /// Reads what is there, at this second of the wall clock. What belongs to another boot becomes due.
    pub fn open(records: R, origin: Origin, wall_s: u32) -> Sessions<R> {
        // Places beyond 32 bits would be a table of 256 GiB.
        let count = u32::try_from(records.bytes().len() / RECORD).map_or(NONE - 1, |count| count.min(NONE - 1));
        let mut table = Sessions {
            records,
            places: vec![Place { home: NONE, due: false, next: NONE }; count as usize],
            first_free: NONE,
            index: HashMap::with_capacity(count as usize),
            homes: Vec::new(),
            home_of: HashMap::new(),
            damaged: 0,
            tally: Tally::default(),
        };
        // Backwards, so that the first place is the first to be taken.
        for place in (0..count).rev() {
            match read(table.record(place)) {
                Some(((address, session), since_s)) if !table.has(address, session) => {
                    let due = since_s.is_some() || session.origin != origin;
                    if due {
                        table.fall_due(place, since_s.filter(|since_s| *since_s != 0).unwrap_or(wall_s).min(wall_s));
                    }
                    table.link(place, (address, session), due);
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
    pub fn put(&mut self, address: SocketAddr, session: SessionId) -> Result<bool, NoRecord> {
        if let Some(place) = self.find(address, session) {
            return if self.places[place as usize].due { Err(NoRecord::Due) } else { Ok(false) };
        }
        self.insert((address, session), None).ok_or(NoRecord::Full)?;
        Ok(true)
    }

    /// Notes that an address has a session that no call owns. False when that was known, or the table is full.
    pub fn owe(&mut self, address: SocketAddr, session: SessionId, wall_s: u32) -> bool {
        self.find(address, session).is_none() && self.insert((address, session), Some(wall_s)).is_some()
    }

    /// The call has ended: what nodes have of its session is owed from this second on. The addresses of which that is news.
    pub fn due(&mut self, session: SessionId, wall_s: u32) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        let mut place = self.first(session);
        while place != NONE {
            let Place { home, due, next } = self.places[place as usize];
            if !due {
                self.places[place as usize].due = true;
                self.fall_due(place, wall_s);
                let Home { address, count } = &mut self.homes[home as usize];
                count.held -= 1;
                count.due += 1;
                addresses.push(*address);
            }
            place = next;
        }
        addresses
    }

    /// Takes out what was paid, or what a node does not have.
    pub fn take(&mut self, address: SocketAddr, session: SessionId) -> bool {
        let Some(place) = self.find(address, session) else { return false };
        let Place { home, due, next } = self.places[place as usize];
        let count = &mut self.homes[home as usize].count;
        *(if due { &mut count.due } else { &mut count.held }) -= 1;
        let before = self.places_of(session).find(|before| self.places[*before as usize].next == place);
        match before {
            Some(before) => self.places[before as usize].next = next,
            None if next == NONE => drop(self.index.remove(&session)),
            None => drop(self.index.insert(session, next)),
        }
        self.free(place);
        self.tally.released += 1;
        true
    }

    /// Whether a session is in the table, held or due.
    #[must_use]
    pub fn has(&self, address: SocketAddr, session: SessionId) -> bool {
        self.find(address, session).is_some()
    }

    /// Whether a session is in the table for any address, held or due.
    #[must_use]
    pub fn knows(&self, session: SessionId) -> bool {
        self.index.contains_key(&session)
    }

    /// Whether a session is in the table, and its call has not ended.
    #[must_use]
    pub fn is_held(&self, address: SocketAddr, session: SessionId) -> bool {
        self.find(address, session).is_some_and(|place| !self.places[place as usize].due)
    }

    /// Sessions at one address, held and due.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> u32 {
        self.home(address).map_or(0, |home| self.homes[home as usize].count.live())
    }

    /// What each address has that has something.
    pub fn counts(&self) -> impl Iterator<Item = (SocketAddr, Count)> {
        self.homes.iter().filter(|home| home.count.live() > 0).map(|home| (home.address, home.count))
    }

    /// How many records there is room for.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        // Opened with that many, which is a number of 32 bits.
        self.places.len() as u32
    }

    /// The session that is held for an address at a place, for whoever walks the table from 0 to [`Sessions::capacity`].
    #[must_use]
    pub fn held_at(&self, place: u32, address: SocketAddr) -> Option<SessionId> {
        let known = self.places.get(place as usize)?;
        if known.due || known.home == NONE || self.homes[known.home as usize].address != address {
            return None;
        }
        read(self.record(place)).map(|((_, session), _)| session)
    }

    /// The debt at a place, and since which second it is due; for whoever walks the table likewise.
    #[must_use]
    pub fn due_at(&self, place: u32) -> Option<(Debt, u32)> {
        self.places.get(place as usize).filter(|known| known.due)?;
        read(self.record(place)).and_then(|(debt, since_s)| Some((debt, since_s?)))
    }

    /// All that is owed. Visits the whole table: at the start.
    pub fn owed(&self) -> impl Iterator<Item = Debt> {
        let places = self.index.keys().flat_map(|session| self.places_of(*session).map(|place| (*session, place)));
        places.filter(|(_, place)| self.places[*place as usize].due).map(|(session, place)| {
            let home = self.places[place as usize].home;
            (self.homes[home as usize].address, session)
        })
    }

    /// The bytes, when the table is no longer wanted.
    pub fn into_records(self) -> R {
        self.records
    }

    /// Sessions in the table, held and due.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.homes.iter().map(|home| home.count.live()).sum()
    }

    /// Sessions ever put in, those among them that were found at the start; and those taken out.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
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

    fn find(&self, address: SocketAddr, session: SessionId) -> Option<u32> {
        let home = self.home(address)?;
        self.places_of(session).find(|place| self.places[*place as usize].home == home)
    }

    fn insert(&mut self, debt: Debt, due_since_s: Option<u32>) -> Option<u32> {
        let place = Some(self.first_free).filter(|place| *place != NONE)?;
        self.first_free = self.places[place as usize].next;
        *self.record_mut(place) = record(debt, due_since_s);
        self.link(place, debt, due_since_s.is_some());
        Some(place)
    }

    /// Makes a record known that lies at a place.
    fn link(&mut self, place: u32, (address, session): Debt, due: bool) {
        self.tally.acquired += 1;
        let next = self.index.insert(session, place).unwrap_or(NONE);
        let home = self.settle(address);
        self.places[place as usize] = Place { home, due, next };
        let count = &mut self.homes[home as usize].count;
        *(if due { &mut count.due } else { &mut count.held }) += 1;
    }

    fn home(&self, address: SocketAddr) -> Option<u32> {
        self.home_of.get(&address).copied()
    }

    /// The home of an address: its own, that of one which has nothing any more, or a new one.
    fn settle(&mut self, address: SocketAddr) -> u32 {
        if let Some(home) = self.home(address) {
            return home;
        }
        let new = Home { address, count: Count::default() };
        let home = match self.homes.iter().position(|home| home.count.live() == 0) {
            Some(home) => {
                self.home_of.remove(&self.homes[home].address);
                self.homes[home] = new;
                home
            }
            None => {
                self.homes.push(new);
                self.homes.len() - 1
            }
        };
        // As many as there are addresses, which is no more than there are records.
        self.home_of.insert(address, home as u32);
        home as u32
    }

    /// The debt of a record begins.
    fn fall_due(&mut self, place: u32, since_s: u32) {
        fall_due(self.record_mut(place), since_s);
    }

    /// Wipes a place and gives it back. A free place has no home.
    fn free(&mut self, place: u32) {
        self.record_mut(place).fill(0);
        self.places[place as usize] = Place { home: NONE, due: false, next: self.first_free };
        self.first_free = place;
    }

    fn record(&self, place: u32) -> &[u8; RECORD] {
        &self.records.bytes().as_chunks().0[place as usize]
    }

    fn record_mut(&mut self, place: u32) -> &mut [u8; RECORD] {
        &mut self.records.bytes_mut().as_chunks_mut().0[place as usize]
    }
}

#[cfg(test)]
mod tests {
    use corelane_core::bus::MediaCall;

    use super::*;

    const BEFORE: Origin = Origin { node: 7, boot: 1 };

    fn at(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], 2223))
    }

    fn session(call_hash: u64) -> SessionId {
        SessionId { origin: BEFORE, call: MediaCall { call_hash, pass: 1 } }
    }

    #[test]
    fn what_another_boot_held_is_owed_and_what_was_torn_is_left() {
        let mut table = Sessions::open(vec![0; 4 * RECORD], BEFORE, 10);
        assert_eq!(table.put(at(3), session(1)), Ok(true));
        assert_eq!(table.put(at(3), session(1)), Ok(false), "one record for a session and node");
        assert_eq!(table.put(at(4), session(1)), Ok(true));
        assert_eq!(table.put(at(3), session(2)), Ok(true));
        assert_eq!(table.put(at(3), session(3)), Ok(true));
        assert_eq!(table.put(at(3), session(4)), Err(NoRecord::Full));
        assert_eq!(table.due(session(2), 20), [at(3)]);
        assert_eq!(table.put(at(3), session(2)), Err(NoRecord::Due), "a delete is on its way");
        assert!(table.take(at(3), session(3)) && !table.take(at(3), session(3)));
        assert_eq!((table.at(at(3)), table.owed().count()), (2, 1));

        let again = Sessions::open(table.records.clone(), BEFORE, 30);
        assert_eq!((again.owed().count(), again.at(at(3)), again.at(at(4))), (1, 2, 1));
        assert!(again.is_held(at(3), session(1)) && !again.is_held(at(3), session(2)), "the same boot goes on");
        let mut torn = table.records.clone();
        let place = table.find(at(4), session(1)).unwrap() as usize;
        torn[place * RECORD + 20] ^= 1;
        assert_eq!(survey(&torn), Survey { sound: 2, torn: 1, foreign: 0 });
        assert_eq!(survey(b"some other file, and long enough that it could hold more than one record").foreign, 1);
        let next = Sessions::open(torn, Origin { boot: 2, ..BEFORE }, 40);
        assert_eq!((next.owed().count(), next.damaged()), (2, 1));
        assert_eq!(next.tally(), Tally { acquired: 2, released: 0 }, "what was found is had");
        assert!(next.has(at(3), session(1)) && !next.has(at(4), session(1)));
        let mut since: Vec<_> = (0..next.capacity()).filter_map(|place| next.due_at(place)).collect();
        since.sort_unstable_by_key(|(_, since_s)| *since_s);
        assert_eq!(since, [((at(3), session(2)), 20), ((at(3), session(1)), 40)], "what was due stays as old as it is");
    }

    #[test]
    fn a_session_knows_its_nodes_and_each_goes_alone() {
        let mut table = Sessions::open(vec![0; 8 * RECORD + 9], BEFORE, 10);
        for node in [3, 4, 5] {
            assert_eq!(table.put(at(node), session(1)), Ok(true));
        }
        assert!(
            table.owe(at(6), session(1), 40) && !table.owe(at(6), session(1), 40) && !table.owe(at(3), session(1), 40)
        );
        assert!(table.take(at(4), session(1)), "from the middle of the chain");
        let held = (0..table.capacity()).filter_map(|place| table.held_at(place, at(3))).collect::<Vec<_>>();
        assert_eq!((held, table.capacity()), (vec![session(1)], 8));
        let mut addresses = table.due(session(1), 50);
        addresses.sort_unstable();
        assert_eq!(addresses, [at(3), at(5)], "6 was owed before");
        assert!(table.due(session(1), 60).is_empty());
        assert_eq!((0..8).filter_map(|place| table.held_at(place, at(3))).count(), 0);
        let mut counts: Vec<_> = table.counts().collect();
        counts.sort_unstable_by_key(|(address, _)| *address);
        assert_eq!(counts, [3, 5, 6].map(|host| (at(host), Count { held: 0, due: 1 })));
        assert_eq!(table.tally(), Tally { acquired: 4, released: 1 });
        for host in [3, 5, 6] {
            assert!(table.take(at(host), session(1)));
        }
        assert_eq!((table.live(), table.index.len()), (0, 0));
        assert!(table.records.iter().all(|byte| *byte == 0));
        // Every place is there to be taken again.
        assert!((0..8).all(|call| table.put(at(3), session(call)) == Ok(true)));
    }

    #[test]
    fn addresses_that_have_nothing_make_room_for_others() {
        let mut table = Sessions::open(vec![0; 2 * RECORD], BEFORE, 10);
        for host in 1..100 {
            assert_eq!(table.put(at(host), session(1)), Ok(true));
            assert!(table.take(at(host), session(1)));
        }
        assert_eq!((table.homes.len(), table.home_of.len(), table.counts().count()), (1, 1, 0));
    }
}
