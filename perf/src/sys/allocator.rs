//! An allocator that counts, so that "no heap allocation per call" is a measured number and no promise.
//!
//! Counts are per thread: another thread's work never shows up in a measured stretch. What is counted are calls that may take
//! memory (`alloc`, `alloc_zeroed`, `realloc`); giving back is free of interest here.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // `const` and without a destructor: reading it never allocates, also while a thread starts or ends.
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator with a count in front. A binary that wants [`taken`] to move installs it as `#[global_allocator]`.
pub struct Counting;

/// Allocations of this thread so far. Stays 0 where [`Counting`] is not installed.
#[must_use]
pub fn taken() -> u64 {
    TAKEN.with(Cell::get)
}

fn count() {
    TAKEN.with(|taken| taken.set(taken.get().wrapping_add(1)));
}

// SAFETY: every method hands its arguments unchanged to `System`, which keeps the contract of `GlobalAlloc`; the count
// touches neither the memory nor the layout.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise on `layout` is passed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise on `layout` is passed on as it came.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `memory` came from this allocator, which is `System`'s; the rest is the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from this allocator, which is `System`'s, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}
