//! A fixed array of records addressed by index and generation.
//!
//! ```text
//!   index      0                1                2                3
//!           ┌────────────────┬────────────────┬────────────────┬────────────────┐
//!           │ generation 7   │ generation 2   │ generation 4   │ generation 1   │
//!           │ Live(record)   │ Vacant, next 3 │ Live(record)   │ Vacant, end    │
//!           └────────────────┴───────▲────────┴────────────────┴────────────────┘
//!                     free ──────────┘            a Ref is (index, generation)
//! ```
//!
//! Invariants: the free list runs through exactly the vacant entries; `acquired == released + live` at all times; an
//! entry's generation changes when its record leaves and at no other time, so a [`Ref`] fits one record only.
//!
//! The free list gives back the place that was left last, because its cache lines are the warmest. A place is therefore
//! reused often; its 32-bit generation comes round after four thousand million reuses (five days at 10,000 a second on one and the same
//! place), which no handle outlives: a token that comes back from a peer is checked by its own tags as well.
//!
//! What it refuses: growing. A full slab is [`Full`], which is load, not an error of ours.

use alloc::boxed::Box;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::num::NonZeroU32;

use super::{Full, Resource};

/// The end of the free list; therefore no index.
const END: u32 = u32::MAX;

/// A handle on a record of a [`Slab<T>`]. It outlives the record harmlessly: the generation no longer fits.
///
/// `Option<Ref<T>>` is as small as `Ref<T>`.
pub struct Ref<T> {
    index: u32,
    generation: NonZeroU32,
    of: PhantomData<fn() -> T>,
}

const _: () = assert!(size_of::<Option<Ref<[u64; 8]>>>() == 8, "a handle is two words of 32 bits, None included");

impl<T> Ref<T> {
    /// A handle that fits no record of any slab.
    pub const NOWHERE: Ref<T> = Ref { index: END, generation: NonZeroU32::MIN, of: PhantomData };

    /// A handle from its two numbers, as read back from a token. It may point nowhere; generation 0, which no record
    /// has, becomes [`Ref::NOWHERE`].
    #[must_use]
    pub const fn from_parts(index: u32, generation: u32) -> Ref<T> {
        match NonZeroU32::new(generation) {
            Some(generation) => Ref { index, generation, of: PhantomData },
            None => Ref::NOWHERE,
        }
    }

    /// The place in the slab; below its capacity when the handle came from the slab.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The generation of that place, never 0.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation.get()
    }
}

// Written out because a derive would ask the same of `T`, which a handle does not hold.
impl<T> Copy for Ref<T> {}

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Ref<T> {
        *self
    }
}

impl<T> PartialEq for Ref<T> {
    fn eq(&self, other: &Ref<T>) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}

impl<T> Eq for Ref<T> {}

impl<T> Hash for Ref<T> {
    fn hash<H: Hasher>(&self, into: &mut H) {
        self.index.hash(into);
        self.generation.hash(into);
    }
}

impl<T> fmt::Debug for Ref<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Ref({}.{})", self.index, self.generation)
    }
}

enum Content<T> {
    Vacant { next: u32 },
    Live(T),
}

struct Entry<T> {
    generation: NonZeroU32,
    content: Content<T>,
}

/// A fixed array of records.
pub struct Slab<T> {
    entries: Box<[Entry<T>]>,
    free: u32,
    resource: Resource,
    acquired: u64,
    released: u64,
}

impl<T> Slab<T> {
    /// A slab of `capacity` records; `resource` names it in [`Full`]. Each entry is written here, so that its page is
    /// ours before the first call comes.
    ///
    /// # Panics
    /// When `capacity` is `u32::MAX`: that number marks the end of the free list.
    #[must_use]
    pub fn new(resource: Resource, capacity: u32) -> Slab<T> {
        assert!(capacity < END, "a slab holds fewer than 2^32 - 1 records");
        let entries = (1..=capacity)
            .map(|next| Entry {
                generation: NonZeroU32::MIN,
                content: Content::Vacant { next: if next == capacity { END } else { next } },
            })
            .collect();
        Slab { entries, free: if capacity == 0 { END } else { 0 }, resource, acquired: 0, released: 0 }
    }

    /// Puts a record in.
    ///
    /// # Errors
    /// [`Full`] when every entry is in use; the record is dropped.
    pub fn insert(&mut self, record: T) -> Result<Ref<T>, Full> {
        let index = self.free;
        if index == END {
            return Err(Full(self.resource));
        }
        let entry = &mut self.entries[index as usize];
        let Content::Vacant { next } = entry.content else { unreachable!("the free list runs through vacant entries") };
        self.free = next;
        entry.content = Content::Live(record);
        self.acquired += 1;
        Ok(Ref { index, generation: entry.generation, of: PhantomData })
    }

    /// The record, unless it is gone.
    #[must_use]
    #[inline]
    pub fn find(&self, at: Ref<T>) -> Option<&T> {
        match self.entries.get(at.index as usize)? {
            Entry { generation, content: Content::Live(record) } if *generation == at.generation => Some(record),
            _ => None,
        }
    }

    /// The record, unless it is gone.
    #[must_use]
    #[inline]
    pub fn find_mut(&mut self, at: Ref<T>) -> Option<&mut T> {
        match self.entries.get_mut(at.index as usize)? {
            Entry { generation, content: Content::Live(record) } if *generation == at.generation => Some(record),
            _ => None,
        }
    }

    /// The handle of the record that lives at `index` now (timers know only the place).
    #[must_use]
    pub fn at(&self, index: u32) -> Option<Ref<T>> {
        match self.entries.get(index as usize)? {
            Entry { generation, content: Content::Live(_) } => {
                Some(Ref { index, generation: *generation, of: PhantomData })
            }
            _ => None,
        }
    }

    /// Takes a record out; its handles go stale. `None` when it is gone already.
    pub fn remove(&mut self, at: Ref<T>) -> Option<T> {
        self.find(at)?;
        let entry = &mut self.entries[at.index as usize];
        // Generation 0 is skipped when the count comes round: it belongs to no record.
        entry.generation = entry.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let content = core::mem::replace(&mut entry.content, Content::Vacant { next: self.free });
        self.free = at.index;
        self.released += 1;
        match content {
            Content::Live(record) => Some(record),
            Content::Vacant { .. } => unreachable!("find has just seen the record"),
        }
    }

    /// All records in use, by place. Visits every entry up to the last of them: for audits and the end, never for a message.
    pub fn iter(&self) -> impl Iterator<Item = (Ref<T>, &T)> {
        let live = (0u32..).zip(&self.entries).filter_map(|(index, entry)| match &entry.content {
            Content::Live(record) => Some((Ref { index, generation: entry.generation, of: PhantomData }, record)),
            Content::Vacant { .. } => None,
        });
        live.take(self.live() as usize)
    }

    /// Records in use.
    #[must_use]
    pub fn live(&self) -> u32 {
        // Never more than the capacity, which is 32 bits wide.
        (self.acquired - self.released) as u32
    }

    /// Records that exist.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        // `new` was given a u32.
        self.entries.len() as u32
    }

    /// Records ever put in.
    #[must_use]
    pub fn acquired(&self) -> u64 {
        self.acquired
    }

    /// Records ever taken out.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.released
    }

    /// Bytes that a slab of `capacity` takes (for the bill).
    #[must_use]
    pub const fn bytes(capacity: u32) -> usize {
        capacity as usize * size_of::<Entry<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::vec::Vec;

    fn slab(capacity: u32) -> Slab<u32> {
        Slab::new(Resource::Calls, capacity)
    }

    #[test]
    fn a_handle_goes_stale_when_its_place_is_reused() {
        let mut slab = slab(1);
        let first = slab.insert(10).unwrap();
        assert_eq!(slab.remove(first), Some(10));
        let second = slab.insert(20).unwrap();
        assert_eq!(second.index(), first.index());
        assert_ne!(second, first);
        assert_eq!(slab.find(first), None);
        assert_eq!(slab.find_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.find(second), Some(&20));
        assert_eq!(slab.at(0), Some(second));
    }

    #[test]
    fn a_forged_handle_finds_nothing() {
        let mut slab = slab(2);
        let live = slab.insert(10).unwrap();
        // The vacant entry already has the generation that its next record will get.
        for (index, generation) in [(0, 0), (0, 2), (1, 1), (2, 1), (u32::MAX, 1), (u32::MAX, 0)] {
            let forged = Ref::from_parts(index, generation);
            assert_eq!(slab.find(forged), None, "{forged:?}");
            assert_eq!(slab.remove(forged), None, "{forged:?}");
        }
        assert_eq!(Ref::<u32>::from_parts(0, 0), Ref::NOWHERE);
        assert_eq!(slab.find(Ref::from_parts(live.index(), live.generation())), Some(&10));
        assert_eq!(format!("{live:?}"), "Ref(0.1)");
    }

    #[test]
    fn generations_skip_zero_when_they_come_round() {
        let mut slab = slab(1);
        slab.entries[0].generation = NonZeroU32::MAX;
        let last = slab.insert(10).unwrap();
        slab.remove(last);
        assert_eq!(slab.insert(20).unwrap().generation(), 1);
    }

    #[test]
    fn full_names_the_resource_and_the_last_place_left_is_the_next_taken() {
        let mut slab = slab(3);
        let all: Vec<_> = (0..3).map(|record| slab.insert(record).unwrap()).collect();
        assert_eq!(all.iter().map(|at| at.index()).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(slab.insert(3), Err(Full(Resource::Calls)));
        slab.remove(all[0]);
        slab.remove(all[2]);
        assert_eq!(slab.insert(4).unwrap().index(), 2);
        assert_eq!(slab.insert(5).unwrap().index(), 0);
        assert_eq!(Slab::<u32>::new(Resource::Buffers, 0).insert(0), Err(Full(Resource::Buffers)));
    }

    proptest! {
        #[test]
        fn behaves_like_a_list_of_live_records(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..300),
        ) {
            const CAPACITY: u32 = 8;
            let mut slab = slab(CAPACITY);
            let mut live: Vec<(Ref<u32>, u32)> = Vec::new();
            let mut gone: Vec<Ref<u32>> = Vec::new();
            for (number, (insert, which)) in (0u32..).zip(steps) {
                if insert {
                    match slab.insert(number) {
                        Ok(at) => live.push((at, number)),
                        Err(full) => {
                            prop_assert_eq!(full, Full(Resource::Calls));
                            prop_assert_eq!(live.len(), CAPACITY as usize);
                        }
                    }
                } else if !live.is_empty() {
                    let (at, record) = live.swap_remove(which.index(live.len()));
                    prop_assert_eq!(slab.remove(at), Some(record));
                    gone.push(at);
                }
                for (at, record) in &live {
                    prop_assert_eq!(slab.find(*at), Some(record));
                    prop_assert_eq!(slab.at(at.index()), Some(*at));
                }
                prop_assert!(gone.iter().all(|at| slab.find(*at).is_none()));
                prop_assert_eq!(slab.iter().count(), live.len());
                prop_assert!(slab.iter().all(|(at, record)| live.contains(&(at, *record))));
                prop_assert_eq!(slab.live() as usize, live.len());
                prop_assert_eq!(slab.acquired(), slab.released() + u64::from(slab.live()));
                prop_assert_eq!(slab.released() as usize, gone.len());
            }
        }
    }
}
