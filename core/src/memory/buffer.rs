//! Counted message buffers in four size classes.
//!
//! ```text
//!   class 0    640 bytes   ┌────────┬────────┬────────┐    one slab of bytes per class; a buffer's address
//!   class 1  1,408 bytes   │ bytes  │ bytes  │ bytes  │    never changes while it has an owner
//!   class 2  2,304 bytes   └────────┴────────┴────────┘
//!   class 3  8,192 bytes
//!                          ┌────────┬────────┬────────┐    beside it 12 bytes per buffer:
//!                          │ 2 own. │ free ──┼─► free │    owners and length, or the next free one
//!                          └────────┴────────┴────────┘
//! ```
//!
//! A message is stored once and then owned by whoever needs it: the transaction that may send it again, and each send that the
//! kernel has not taken yet. The last owner's release gives it back.
//!
//! Invariants: `acquired == released + live`; the free list of a class runs through exactly its unowned buffers; a
//! [`BufferRef`] carries a generation, so that an owner who releases twice, or reads after release, is caught even when the
//! buffer serves another message by then. Handles never leave the process: a wrong one is a bug of ours and asserts.
//!
//! What it refuses: growing. When no class with room has a buffer left, [`Full`] is load.

use alloc::boxed::Box;
use alloc::vec;

use super::{Full, Resource};

/// A handle on a counted buffer. Copying the handle does not count; [`BufferPool::share`] does.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BufferRef {
    class: u8,
    generation: u16,
    index: u32,
}

const _: () = assert!(size_of::<BufferRef>() == 8);

/// Names the room that [`BufferPool::room`] gave: its class.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Room(u8);

/// Size of each class in bytes: a response without a body, an ACK or the text of a dialog; a usual INVITE; one with an Identity or a
/// video offer; the largest message.
pub const CLASS_SIZES: [usize; CLASSES] = [640, 1408, 2304, crate::limits::MESSAGE_SIZE_MAX];

/// How many classes there are.
pub const CLASSES: usize = 4;

const _: () = assert!(CLASS_SIZES[0] < CLASS_SIZES[1] && CLASS_SIZES[1] < CLASS_SIZES[2], "smallest first");
const _: () =
    assert!(CLASS_SIZES[2] < CLASS_SIZES[3] && CLASS_SIZES[3] <= u16::MAX as usize, "lengths are 16 bits wide");

/// The end of a free list; therefore no index.
const END: u32 = u32::MAX;

/// What a buffer holds before its first message: easily seen in a dump, and never a SIP message.
const BLANK: u8 = 0xDB;

enum State {
    Free { next: u32 },
    Owned { owners: u32, length: u16 },
}

struct Head {
    state: State,
    generation: u16,
}

const _: () = assert!(size_of::<Head>() == 12);

/// The buffers of one size.
struct Class {
    size: usize,
    bytes: Box<[u8]>,
    heads: Box<[Head]>,
    free: u32,
    live: u32,
}

impl Class {
    fn new(size: usize, count: u32) -> Class {
        assert!(count < END, "a class holds fewer than 2^32 - 1 buffers");
        let heads = (1..=count)
            .map(|next| Head { state: State::Free { next: if next == count { END } else { next } }, generation: 0 })
            .collect();
        // Written, not only reserved: the kernel hands out the pages now and not during a call.
        let bytes = vec![BLANK; size * count as usize].into_boxed_slice();
        Class { size, bytes, heads, free: if count == 0 { END } else { 0 }, live: 0 }
    }

    /// A free buffer filled with `bytes`, which fit; `None` when the class is empty.
    #[inline]
    fn store(&mut self, bytes: &[u8]) -> Option<(u32, u16)> {
        self.room()?[..bytes.len()].copy_from_slice(bytes);
        Some(self.take(bytes.len()))
    }

    /// The bytes of the buffer that is the next to be taken; `None` when the class is empty.
    #[inline]
    fn room(&mut self) -> Option<&mut [u8]> {
        if self.free == END {
            return None;
        }
        let start = self.free as usize * self.size;
        Some(&mut self.bytes[start..start + self.size])
    }

    /// Takes that buffer, in which `length` bytes now stand.
    #[inline]
    fn take(&mut self, length: usize) -> (u32, u16) {
        let index = self.free;
        let head = &mut self.heads[index as usize];
        let State::Free { next } = head.state else { unreachable!("the free list runs through free buffers") };
        self.free = next;
        // It was compared with the size of the class, which is 16 bits wide.
        head.state = State::Owned { owners: 1, length: length as u16 };
        self.live += 1;
        (index, head.generation)
    }

    /// The owner count of a buffer that is owned; never 0.
    #[inline]
    fn owners(&mut self, buffer: BufferRef) -> &mut u32 {
        match &mut self.heads[buffer.index as usize] {
            Head { state: State::Owned { owners, .. }, generation } if *generation == buffer.generation => owners,
            _ => stale(buffer),
        }
    }

    #[inline]
    fn free(&mut self, index: u32) {
        let head = &mut self.heads[index as usize];
        head.state = State::Free { next: self.free };
        head.generation = head.generation.wrapping_add(1);
        self.free = index;
        self.live -= 1;
    }
}

#[cold]
#[inline(never)]
fn stale(buffer: BufferRef) -> ! {
    panic!("{buffer:?} has been released by its last owner")
}

/// The pool.
pub struct BufferPool {
    classes: [Class; CLASSES],
    acquired: u64,
    released: u64,
}

impl BufferPool {
    /// A pool with `counts[class]` buffers of each class.
    ///
    /// # Panics
    /// When a count is `u32::MAX`: that number marks the end of a free list.
    #[must_use]
    pub fn new(counts: [u32; CLASSES]) -> BufferPool {
        let classes = core::array::from_fn(|class| Class::new(CLASS_SIZES[class], counts[class]));
        BufferPool { classes, acquired: 0, released: 0 }
    }

    /// A buffer that holds a copy of `bytes`, count 1, from the smallest class with room (a larger one when that is empty).
    ///
    /// # Errors
    /// [`Full`] with [`Resource::MessageSize`] when `bytes` are more than the largest class holds, with
    /// [`Resource::Buffers`] when no class with room has a buffer left.
    pub fn store(&mut self, bytes: &[u8]) -> Result<BufferRef, Full> {
        if bytes.len() > CLASS_SIZES[CLASSES - 1] {
            return Err(Full(Resource::MessageSize));
        }
        for (number, class) in (0u8..).zip(&mut self.classes) {
            if bytes.len() <= class.size
                && let Some((index, generation)) = class.store(bytes)
            {
                self.acquired += 1;
                return Ok(BufferRef { class: number, generation, index });
            }
        }
        Err(Full(Resource::Buffers))
    }

    /// Room to write a message of about `estimate` bytes where it stays: the next free buffer of the smallest class for that. It is
    /// still free; [`BufferPool::keep`] takes it. `None` when that class is empty, or when the estimate is too large for any: then
    /// [`BufferPool::store`] decides.
    #[inline]
    pub fn room(&mut self, estimate: usize) -> Option<(Room, &mut [u8])> {
        let number = CLASS_SIZES.iter().position(|size| estimate <= *size)?;
        Some((Room(number as u8), self.classes[number].room()?))
    }

    /// A buffer of count 1 with the first `length` bytes of what was written into a room, with nothing stored in between. It is the
    /// buffer that [`BufferPool::store`] would have chosen: what turned out shorter goes to a smaller class, where that has one
    /// left.
    ///
    /// # Panics
    /// When the room is not there any more, or `length` is more than it had: our bug.
    #[inline]
    pub fn keep(&mut self, Room(number): Room, length: usize) -> BufferRef {
        let place = usize::from(number);
        if place > 0 && length <= CLASS_SIZES[place - 1] {
            return self.keep_smaller(number, length);
        }
        let class = &mut self.classes[place];
        assert!(class.free != END && length <= class.size, "what was written stands in the room that was given");
        let (index, generation) = class.take(length);
        self.acquired += 1;
        BufferRef { class: number, generation, index }
    }

    /// The same for what a smaller class may hold.
    #[cold]
    #[inline(never)]
    fn keep_smaller(&mut self, number: u8, length: usize) -> BufferRef {
        let (smaller, class) = self.classes.split_at_mut(usize::from(number));
        let class = &mut class[0];
        let written = &class.room().expect("it was given")[..length];
        self.acquired += 1;
        for (number, smaller) in (0u8..).zip(smaller) {
            if length <= smaller.size
                && let Some((index, generation)) = smaller.store(written)
            {
                return BufferRef { class: number, generation, index };
            }
        }
        let (index, generation) = class.take(length);
        BufferRef { class: number, generation, index }
    }

    /// One owner more.
    ///
    /// # Panics
    /// When the buffer is no longer owned.
    pub fn share(&mut self, buffer: BufferRef) {
        *self.classes[usize::from(buffer.class)].owners(buffer) += 1;
    }

    /// One owner less; the last one gives the buffer back.
    ///
    /// # Panics
    /// When the buffer is no longer owned.
    pub fn release(&mut self, buffer: BufferRef) {
        let class = &mut self.classes[usize::from(buffer.class)];
        let owners = class.owners(buffer);
        if *owners > 1 {
            *owners -= 1;
        } else {
            class.free(buffer.index);
            self.released += 1;
        }
    }

    /// The message.
    ///
    /// # Panics
    /// When the buffer is no longer owned.
    #[must_use]
    pub fn bytes(&self, buffer: BufferRef) -> &[u8] {
        let (_, length) = self.owned(buffer);
        let class = &self.classes[usize::from(buffer.class)];
        let start = buffer.index as usize * class.size;
        &class.bytes[start..start + usize::from(length)]
    }

    /// How long the message is.
    ///
    /// # Panics
    /// When the buffer is no longer owned.
    #[must_use]
    #[inline]
    pub fn length(&self, buffer: BufferRef) -> usize {
        self.owned(buffer).1.into()
    }

    /// How many own the buffer.
    ///
    /// # Panics
    /// When nobody does any more.
    #[must_use]
    pub fn owners(&self, buffer: BufferRef) -> u32 {
        self.owned(buffer).0
    }

    /// Owners and length of a buffer that is owned.
    #[inline]
    fn owned(&self, buffer: BufferRef) -> (u32, u16) {
        match self.classes[usize::from(buffer.class)].heads[buffer.index as usize] {
            Head { state: State::Owned { owners, length }, generation } if generation == buffer.generation => {
                (owners, length)
            }
            _ => stale(buffer),
        }
    }

    /// All buffers in use, with the number of their owners. Visits every buffer up to the last of them: for audits, never for a
    /// message.
    pub fn iter(&self) -> impl Iterator<Item = (BufferRef, u32)> {
        (0u8..).zip(&self.classes).flat_map(|(class, buffers)| {
            let owned = (0u32..).zip(&buffers.heads).filter_map(move |(index, head)| match head.state {
                State::Owned { owners, .. } => Some((BufferRef { class, generation: head.generation, index }, owners)),
                State::Free { .. } => None,
            });
            owned.take(buffers.live as usize)
        })
    }

    /// Buffers in use.
    #[must_use]
    pub fn live(&self) -> u32 {
        // Saturating, because full classes may together exceed 32 bits on paper.
        self.live_by_class().into_iter().fold(0, u32::saturating_add)
    }

    /// Buffers in use of each class.
    #[must_use]
    pub fn live_by_class(&self) -> [u32; CLASSES] {
        core::array::from_fn(|class| self.classes[class].live)
    }

    /// Buffers ever stored.
    #[must_use]
    pub fn acquired(&self) -> u64 {
        self.acquired
    }

    /// Buffers ever given back by their last owner.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.released
    }

    /// Bytes that a pool takes (for the bill).
    #[must_use]
    pub const fn memory(counts: [u32; CLASSES]) -> usize {
        let head = size_of::<Head>();
        counts[0] as usize * (CLASS_SIZES[0] + head)
            + counts[1] as usize * (CLASS_SIZES[1] + head)
            + counts[2] as usize * (CLASS_SIZES[2] + head)
            + counts[3] as usize * (CLASS_SIZES[3] + head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn the_smallest_class_that_fits_serves_and_a_larger_one_steps_in() {
        let mut pool = BufferPool::new([1, 1, 0, 1]);
        let small = pool.store(&[1; 640]).unwrap();
        let stepped = pool.store(&[2; 640]).unwrap();
        let large = pool.store(&[3; 2305]).unwrap();
        assert_eq!(pool.live_by_class(), [1, 1, 0, 1]);
        assert_eq!((small.class, stepped.class, large.class), (0, 1, 3));
        assert_eq!(pool.store(b""), Err(Full(Resource::Buffers)));
        assert_eq!(pool.store(&[0; CLASS_SIZES[3] + 1]), Err(Full(Resource::MessageSize)));
        assert_eq!(pool.bytes(stepped), [2; 640]);
        assert_eq!(pool.bytes(large), [3; 2305]);
        pool.release(small);
        // A large message never takes a small buffer.
        assert_eq!(pool.store(&[4; 641]), Err(Full(Resource::Buffers)));
        assert_eq!(pool.store(b"").map(|buffer| pool.bytes(buffer).len()), Ok(0));
    }

    #[test]
    fn the_last_owner_gives_back_and_the_address_holds_until_then() {
        let mut pool = BufferPool::new([2, 0, 0, 0]);
        let first = pool.store(b"SIP/2.0 200 OK").unwrap();
        let address = pool.bytes(first).as_ptr();
        pool.share(first);
        assert_eq!(pool.owners(first), 2);
        pool.release(first);
        let second = pool.store(b"SIP/2.0 486 Busy Here").unwrap();
        assert_eq!((pool.bytes(first), pool.bytes(first).as_ptr()), (&b"SIP/2.0 200 OK"[..], address));
        pool.release(first);
        let third = pool.store(b"ACK").unwrap();
        assert_eq!(pool.bytes(third).as_ptr(), address, "the buffer left last is the next taken");
        assert_ne!(third, first);
        pool.release(second);
        pool.release(third);
        assert_eq!((pool.live(), pool.acquired(), pool.released()), (0, 3, 3));
    }

    #[test]
    fn what_is_written_where_it_stays_is_where_store_would_have_put_it() {
        let write = |pool: &mut BufferPool, estimate: usize, bytes: &[u8]| {
            let (room, out) = pool.room(estimate)?;
            out[..bytes.len()].copy_from_slice(bytes);
            Some(pool.keep(room, bytes.len()))
        };
        let mut pool = BufferPool::new([1, 2, 0, 1]);
        // Room that is not kept was never taken.
        let size = |pool: &mut BufferPool, estimate| pool.room(estimate).map(|(_, out)| out.len());
        assert_eq!(size(&mut pool, 0), Some(640));
        assert_eq!((size(&mut pool, 641), pool.live()), (Some(1408), 0));
        let large = write(&mut pool, 1000, &[1; 900]).unwrap();
        let shorter = write(&mut pool, 1000, &[2; 640]).unwrap();
        let stepped = write(&mut pool, 1000, &[3; 640]).unwrap();
        assert_eq!((large.class, shorter.class, stepped.class), (1, 0, 1));
        assert_eq!(
            (pool.bytes(large), pool.bytes(shorter), pool.bytes(stepped)),
            (&[1; 900][..], &[2; 640][..], &[3; 640][..])
        );
        // An empty class, and what no class holds, are for `store` to judge.
        assert_eq!([0, 1000, 1409, 8193].map(|estimate| size(&mut pool, estimate)), [None; 4]);
        for buffer in [large, shorter, stepped] {
            pool.release(buffer);
        }
        assert_eq!((pool.live(), pool.acquired(), pool.released()), (0, 3, 3));
    }

    #[test]
    #[should_panic(expected = "released by its last owner")]
    fn releasing_a_free_buffer_is_our_bug() {
        let mut pool = BufferPool::new([1, 0, 0, 0]);
        let buffer = pool.store(b"x").unwrap();
        pool.release(buffer);
        pool.release(buffer);
    }

    #[test]
    #[should_panic(expected = "released by its last owner")]
    fn releasing_a_buffer_that_serves_another_message_is_our_bug() {
        let mut pool = BufferPool::new([1, 0, 0, 0]);
        let stale = pool.store(b"x").unwrap();
        pool.release(stale);
        pool.store(b"y").unwrap();
        pool.release(stale);
    }

    #[test]
    #[should_panic(expected = "released by its last owner")]
    fn reading_a_released_buffer_is_our_bug() {
        let mut pool = BufferPool::new([1, 0, 0, 0]);
        let buffer = pool.store(b"x").unwrap();
        pool.release(buffer);
        let _ = pool.bytes(buffer);
    }

    #[test]
    fn the_bill_is_what_is_taken() {
        let counts = [5, 3, 2, 1];
        let pool = BufferPool::new(counts);
        let taken: usize = pool.classes.iter().map(|class| class.bytes.len() + size_of_val(&*class.heads)).sum();
        assert_eq!(BufferPool::memory(counts), taken);
    }

    proptest! {
        #[test]
        fn behaves_like_counted_copies(
            steps in prop::collection::vec((0u8..4, any::<prop::sample::Index>(), any::<u8>(), 0..9000usize), 1..200),
        ) {
            let counts = [3, 2, 1, 2];
            let mut pool = BufferPool::new(counts);
            let mut model: Vec<(BufferRef, u32, Vec<u8>)> = Vec::new();
            for (action, which, fill, length) in steps {
                // Small messages are the usual ones.
                let length = if fill % 2 == 0 { length % 600 } else { length };
                if action < 2 {
                    let message = std::vec![fill; length];
                    let room = (0..CLASSES).any(|class| {
                        CLASS_SIZES[class] >= length && pool.live_by_class()[class] < counts[class]
                    });
                    match pool.store(&message) {
                        Ok(buffer) => model.push((buffer, 1, message)),
                        Err(Full(Resource::MessageSize)) => prop_assert!(length > CLASS_SIZES[3]),
                        Err(full) => prop_assert!(full == Full(Resource::Buffers) && !room),
                    }
                } else if !model.is_empty() {
                    let at = which.index(model.len());
                    if action == 2 {
                        pool.share(model[at].0);
                        model[at].1 += 1;
                    } else {
                        pool.release(model[at].0);
                        model[at].1 -= 1;
                        if model[at].1 == 0 {
                            model.swap_remove(at);
                        }
                    }
                }
                for (buffer, owners, message) in &model {
                    prop_assert_eq!(pool.bytes(*buffer), &message[..]);
                    prop_assert_eq!(pool.owners(*buffer), *owners);
                }
                prop_assert_eq!(pool.live() as usize, model.len());
                prop_assert_eq!(pool.acquired(), pool.released() + u64::from(pool.live()));
            }
        }
    }
}
