//! A fixed hash index: 64-bit keyed hash → 32-bit slab place.
//!
//! ```text
//!   home = key × φ, its top bits       room = power of two > capacity, load ≤ 3/4
//!
//!          ┌─────┬─────┬─────┬─────┬─────┬─────┬─────┬─────┐   one entry is 12 bytes: key, place;
//!          │     │ a:2 │ b:2 │ c:3 │     │ d:6 │     │     │   linear probing, so a look-up reads
//!          └─────┴─────┴─────┴─────┴─────┴─────┴─────┴─────┘   one or two neighbouring cache lines
//!   remove a ───►  b moves back to its home, c stays: it is home
//! ```
//!
//! Invariants: between an entry and its home there is no vacant one, so a look-up may stop at the first vacancy; at least one
//! entry is vacant, so it does stop. A removal closes its gap by moving later entries back (no tombstones): the table after a
//! year of churn is the table of its live entries, and never rehashes.
//!
//! Keys are keyed hashes already, so a peer cannot pile them up. The multiplication only spreads keys of which some bits
//! are fixed, such as those of one shard. At load 3/4 a miss reads 8.5 entries on average, a hit 2.5.
//!
//! What it refuses: more entries than its capacity, which is a bug of ours, because the slab that it points into is full first.

use alloc::boxed::Box;

/// The place of a vacant entry; therefore no slab place.
const VACANT: u32 = u32::MAX;

/// 2⁶⁴ divided by the golden ratio, odd: neighbouring keys land far apart.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The key in two halves, so that an entry takes 12 bytes and not 16.
#[derive(Copy, Clone)]
struct Entry {
    high: u32,
    low: u32,
    place: u32,
}

const _: () = assert!(size_of::<Entry>() == 12);

impl Entry {
    const NONE: Entry = Entry { high: 0, low: 0, place: VACANT };

    const fn new(key: u64, place: u32) -> Entry {
        Entry { high: (key >> 32) as u32, low: key as u32, place }
    }

    const fn key(self) -> u64 {
        (self.high as u64) << 32 | self.low as u64
    }
}

/// The index. Keys are already keyed hashes; every 64-bit number is one, 0 too. Two entries never share a key in practice
/// (64 keyed bits); where they would, the second [`Index::insert`] is refused.
pub struct Index {
    entries: Box<[Entry]>,
    /// How far a spread key is shifted down to give a home.
    shift: u32,
    capacity: u32,
    live: u32,
}

impl Index {
    /// An index for `capacity` entries (it keeps its own spare room).
    ///
    /// # Panics
    /// When `capacity` is above 2³⁰: no budget asks for it.
    #[must_use]
    pub fn new(capacity: u32) -> Index {
        assert!(capacity <= 1 << 30, "an index holds at most 2^30 entries");
        let room = Index::room(capacity);
        let entries = core::iter::repeat_n(Entry::NONE, room).collect();
        Index { entries, shift: u64::BITS - room.trailing_zeros(), capacity, live: 0 }
    }

    /// Entries, vacant ones included: the power of two that keeps the load at 3/4 or below, at least two.
    const fn room(capacity: u32) -> usize {
        let room = (capacity as usize * 4).div_ceil(3).next_power_of_two();
        if room < 2 { 2 } else { room }
    }

    /// Adds an entry. False when the key is taken already: nothing changed.
    ///
    /// # Panics
    /// When the index is full, or `place` is `u32::MAX`: both are ours to prevent.
    pub fn insert(&mut self, key: u64, place: u32) -> bool {
        assert!(place != VACANT, "no slab has this place");
        match self.probe(key) {
            Ok(_) => false,
            Err(vacant) => {
                assert!(self.live < self.capacity, "an index is as large as what it points into");
                self.entries[vacant] = Entry::new(key, place);
                self.live += 1;
                true
            }
        }
    }

    /// The place under `key`.
    #[must_use]
    pub fn find(&self, key: u64) -> Option<u32> {
        self.probe(key).ok().map(|at| self.entries[at].place)
    }

    /// Removes the entry, if there, and says its place.
    pub fn remove(&mut self, key: u64) -> Option<u32> {
        let at = self.probe(key).ok()?;
        let place = self.entries[at].place;
        self.close_gap(at);
        self.live -= 1;
        Some(place)
    }

    /// Where `key` is, or the vacancy where it would go.
    #[inline]
    fn probe(&self, key: u64) -> Result<usize, usize> {
        let mut at = self.home(key);
        loop {
            let entry = self.entries[at];
            if entry.place == VACANT {
                return Err(at);
            }
            if entry.key() == key {
                return Ok(at);
            }
            at = self.after(at);
        }
    }

    /// Makes `gap` vacant: each later entry of the run that may live in the gap moves there and leaves the next gap.
    fn close_gap(&mut self, mut gap: usize) {
        let mut at = gap;
        loop {
            at = self.after(at);
            let entry = self.entries[at];
            if entry.place == VACANT {
                break;
            }
            // It may move unless its home lies after the gap (all distances cyclic).
            let mask = self.entries.len() - 1;
            let from_home = at.wrapping_sub(self.home(entry.key())) & mask;
            let from_gap = at.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                self.entries[gap] = entry;
                gap = at;
            }
        }
        self.entries[gap] = Entry::NONE;
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        (key.wrapping_mul(SPREAD) >> self.shift) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.entries.len() - 1)
    }

    /// Entries in use.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Entries that it is made for.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// All entries in use, as key and place. Visits the whole table: for audits, never for a message.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.entries.iter().filter(|entry| entry.place != VACANT).map(|entry| (entry.key(), entry.place))
    }

    /// Bytes that an index of `capacity` takes (for the bill).
    #[must_use]
    pub const fn bytes(capacity: u32) -> usize {
        Index::room(capacity) * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A run of entries must be reachable from home, and nothing else may be left behind.
    fn audit(index: &Index) {
        assert_eq!(index.iter().count(), index.live() as usize);
        for (key, place) in index.iter() {
            assert_eq!(index.find(key), Some(place));
        }
    }

    #[test]
    fn load_stays_at_three_quarters() {
        for capacity in [0u32, 1, 2, 3, 4, 6, 7, 48, 49, 1000, 786_432, 786_433, 1 << 30] {
            let room = Index::room(capacity);
            assert!(room.is_power_of_two() && room > capacity as usize, "{capacity}");
            assert!(u64::from(capacity) * 4 <= room as u64 * 3, "{capacity} in {room}");
            assert!(room <= 2 || room < capacity as usize * 8 / 3 + 1, "{capacity} in {room}");
        }
    }

    #[test]
    fn zero_is_a_key_and_a_taken_key_is_refused() {
        let mut index = Index::new(2);
        assert_eq!(index.find(0), None);
        assert!(index.insert(0, 7));
        assert!(!index.insert(0, 8));
        assert_eq!(index.find(0), Some(7));
        assert!(index.insert(u64::MAX, 0));
        assert_eq!(index.remove(0), Some(7));
        assert_eq!(index.remove(0), None);
        assert_eq!((index.find(u64::MAX), index.live()), (Some(0), 1));
    }

    #[test]
    #[should_panic(expected = "as large as what it points into")]
    fn more_than_the_capacity_is_our_bug() {
        let mut index = Index::new(1);
        assert!(index.insert(1, 1));
        index.insert(2, 2);
    }

    #[test]
    fn runs_stay_short_when_full_also_for_keys_that_differ_in_few_bits() {
        let patterns: [fn(u64) -> u64; 3] =
            [|n| n, |n| n << 48, |n| crate::siphash::Key::new([1; 16]).hash(&n.to_le_bytes())];
        for pattern in patterns {
            let mut index = Index::new(49_152);
            assert!((0..49_152).all(|n| index.insert(pattern(u64::from(n)), n)));
            let mut run = 0;
            let mut longest = 0;
            for entry in &index.entries {
                run = if entry.place == VACANT { 0 } else { run + 1 };
                longest = longest.max(run);
            }
            assert!(longest < 400, "a run of {longest} entries");
            audit(&index);
        }
    }

    proptest! {
        // Few keys that share homes, so that runs meet, wrap and close.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0u8..3, 0u64..24), 1..400)) {
            let mut index = Index::new(12);
            let mut model = BTreeMap::new();
            for (number, (action, key)) in (0u32..).zip(steps) {
                let key = key / 6 * 0x0123_4567_89AB_CDEF + key % 6;
                match action {
                    0 if model.len() < 12 => {
                        let free = !model.contains_key(&key);
                        prop_assert_eq!(index.insert(key, number), free);
                        model.entry(key).or_insert(number);
                    }
                    1 => prop_assert_eq!(index.remove(key), model.remove(&key)),
                    _ => prop_assert_eq!(index.find(key), model.get(&key).copied()),
                }
                prop_assert_eq!(index.live() as usize, model.len());
                audit(&index);
                prop_assert!(model.iter().all(|(key, place)| index.find(*key) == Some(*place)));
            }
        }
    }
}
