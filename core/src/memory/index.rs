//! A fixed hash index: 64-bit keyed hash → 32-bit slab place.

use super::Full;

/// The index. Keys are already keyed hashes, so they are used as they are; two entries never share a key in practice
/// (64 keyed bits), and an equal key finds the first.
pub struct Index {}

impl Index {
    /// An index for `capacity` entries (it keeps its own spare room).
    #[must_use]
    pub fn new(capacity: u32) -> Index {
        todo!()
    }
    /// Adds an entry. False when the key is taken already: nothing changed.
    pub fn insert(&mut self, key: u64, place: u32) -> bool {
        todo!()
    }
    /// The place under `key`.
    #[must_use]
    pub fn find(&self, key: u64) -> Option<u32> {
        todo!()
    }
    /// Removes the entry, if there, and says its place.
    pub fn remove(&mut self, key: u64) -> Option<u32> {
        todo!()
    }
    /// Entries in use.
    #[must_use]
    pub fn live(&self) -> u32 {
        todo!()
    }
    /// Bytes that an index of `capacity` takes (for the bill).
    #[must_use]
    pub const fn bytes(capacity: u32) -> usize {
        todo!()
    }
}
