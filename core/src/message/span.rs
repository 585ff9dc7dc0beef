//! Where a part of a message is.

use crate::limits::MESSAGE_SIZE_MAX;

/// A part of a message, in bytes from its start.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: u16,
    /// First byte after it.
    pub end: u16,
}

const _: () = assert!(size_of::<Span>() == 4);

impl Span {
    /// Offsets inside a message never exceed [`MESSAGE_SIZE_MAX`], so that the casts lose nothing.
    #[inline]
    pub(super) fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= MESSAGE_SIZE_MAX, "a span of {start}..{end}");
        Span { start: start as u16, end: end as u16 }
    }

    /// The bytes of this span in `message`.
    ///
    /// # Panics
    /// When the span was read from another, longer message: our bug, never the peer's.
    #[inline]
    #[must_use]
    pub fn of(self, message: &[u8]) -> &[u8] {
        &message[usize::from(self.start)..usize::from(self.end)]
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// No byte long.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// The start as an index.
    #[inline]
    pub(super) fn first(self) -> usize {
        usize::from(self.start)
    }

    /// The end as an index.
    #[inline]
    pub(super) fn last(self) -> usize {
        usize::from(self.end)
    }
}
