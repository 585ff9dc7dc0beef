//! Counted message buffers in three size classes.

use super::Full;

/// A handle on a counted buffer. Copying the handle does not count; [`BufferPool::share`] does.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct BufferRef {
    class: u8,
    index: u32,
}

/// Size of each class in bytes: a final response or ACK, a usual INVITE, the largest message.
pub const CLASS_SIZES: [usize; 3] = [512, 2048, crate::limits::MESSAGE_SIZE_MAX];

/// The pool.
pub struct BufferPool {}

impl BufferPool {
    /// A pool with `counts[class]` buffers of each class.
    #[must_use]
    pub fn new(counts: [u32; 3]) -> BufferPool {
        todo!()
    }
    /// A buffer that holds a copy of `bytes`, count 1, from the smallest class with room (a larger one when that is empty).
    pub fn store(&mut self, bytes: &[u8]) -> Result<BufferRef, Full> {
        todo!()
    }
    /// One owner more.
    pub fn share(&mut self, buffer: BufferRef) {
        todo!()
    }
    /// One owner less; the last one gives the buffer back.
    pub fn release(&mut self, buffer: BufferRef) {
        todo!()
    }
    /// The message.
    #[must_use]
    pub fn bytes(&self, buffer: BufferRef) -> &[u8] {
        todo!()
    }
    /// Buffers in use.
    #[must_use]
    pub fn live(&self) -> u32 {
        todo!()
    }
    /// Bytes that a pool takes (for the bill).
    #[must_use]
    pub const fn memory(counts: [u32; 3]) -> usize {
        todo!()
    }
}
