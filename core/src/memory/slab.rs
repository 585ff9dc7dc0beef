//! A fixed array of records addressed by index and generation.

use core::marker::PhantomData;

use super::{Full, Resource};
use alloc::boxed::Box;

/// A handle on a record of a [`Slab<T>`]. It outlives the record harmlessly: the generation no longer fits.
pub struct Ref<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Ref<T> {
    /// A handle from its two numbers, as read back from a token. It may point nowhere.
    #[must_use]
    pub const fn from_parts(index: u32, generation: u32) -> Ref<T> {
        Ref { index, generation, of: PhantomData }
    }
    /// The place in the slab, below its capacity.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }
    /// The generation of that place.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// A fixed array of records.
pub struct Slab<T> {
    records: Box<[Option<T>]>,
}

impl<T> Slab<T> {
    /// A slab of `capacity` records; `resource` names it in [`Full`].
    #[must_use]
    pub fn new(resource: Resource, capacity: u32) -> Slab<T> {
        todo!()
    }
    /// Puts a record in.
    pub fn insert(&mut self, record: T) -> Result<Ref<T>, Full> {
        todo!()
    }
    /// The record, unless it is gone.
    #[must_use]
    pub fn find(&self, at: Ref<T>) -> Option<&T> {
        todo!()
    }
    /// The record, unless it is gone.
    #[must_use]
    pub fn find_mut(&mut self, at: Ref<T>) -> Option<&mut T> {
        todo!()
    }
    /// The handle of the record that lives at `index` now (timers know only the place).
    #[must_use]
    pub fn at(&self, index: u32) -> Option<Ref<T>> {
        todo!()
    }
    /// Takes a record out; its handles go stale.
    pub fn remove(&mut self, at: Ref<T>) -> Option<T> {
        todo!()
    }
    /// Records in use.
    #[must_use]
    pub fn live(&self) -> u32 {
        todo!()
    }
    /// Records that exist.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        todo!()
    }
    /// Bytes that a slab of `capacity` takes (for the bill).
    #[must_use]
    pub const fn bytes(capacity: u32) -> usize {
        todo!()
    }
}
