//! Sixteen bytes at a step: where lines end, and how far the usual bytes of a value go.
//!
//! ```text
//! bytes    …;branch=z9hG4bK7f;rport␍␊Max-…      a block of 16, loaded from any offset, zeros behind the end
//! marks     0000000000000000001000000000        one bit per byte: it ends the value
//! ```
//!
//! The vectors are those of the `wide` crate: one instruction each where the processor has them, loops where it has not, and
//! no `unsafe` here (the intrinsics of the language cannot be called without).
//!
//! Each `skip_…` goes past bytes of one class of `scan.rs`, or of a part of one: it may stop early at a byte that is rare, and then
//! the general reader decides. It never goes past a byte that its class does not have, nor past the end: no class has NUL in it.

use core::mem;
use core::num::NonZero;
use core::ops::{BitAnd, BitOr, Not};
use core::slice;

use wide::u8x16;

/// Sixteen bytes.
#[derive(Copy, Clone)]
pub(super) struct Block(u8x16);

impl Block {
    /// The bytes from `at` on, zeros behind the end.
    #[inline(always)]
    pub(super) fn at(bytes: &[u8], at: usize) -> Block {
        match bytes.get(at..).and_then(<[u8]>::first_chunk) {
            Some(chunk) => Block::new(chunk),
            None => Block::short(bytes, at),
        }
    }

    #[inline(always)]
    pub(super) fn new(bytes: &[u8; 16]) -> Block {
        Block(u8x16::new(*bytes))
    }

    #[cold]
    #[inline(never)]
    fn short(bytes: &[u8], at: usize) -> Block {
        let rest = bytes.get(at..).unwrap_or_default();
        let mut block = [0; 16];
        block[..rest.len()].copy_from_slice(rest);
        Block::new(&block)
    }

    /// Bit 0x20 set in each: letters in lower case.
    #[inline(always)]
    pub(super) fn lower(self) -> Block {
        Block(self.0 | u8x16::splat(0x20))
    }

    /// Which bytes are the same in both.
    #[inline(always)]
    pub(super) fn same(self, other: Block) -> Marks {
        Marks(self.0.simd_eq(other.0))
    }

    /// Which bytes are this one.
    #[inline(always)]
    pub(super) fn equal(self, byte: u8) -> Marks {
        Marks(self.0.simd_eq(u8x16::splat(byte)))
    }

    /// Which bytes are one of `first` to `last`.
    #[inline(always)]
    fn within(self, first: u8, last: u8) -> Marks {
        let above = self.0 - u8x16::splat(first);
        Marks(above.min(u8x16::splat(last - first)).simd_eq(above))
    }

    /// Letters of either case.
    #[inline(always)]
    fn letters(self) -> Marks {
        self.lower().within(b'a', b'z')
    }

    /// Letters, digits, `-` and `.`: all of both `HOST` and `TOKEN`.
    #[inline(always)]
    pub(super) fn plain(self) -> Marks {
        self.letters() | (self.within(b'-', b'9') & !self.equal(b'/'))
    }

    /// Letters, digits and `+,-./`: of `USER`.
    #[inline(always)]
    fn user(self) -> Marks {
        self.letters() | self.within(b'+', b'9')
    }

    /// Letters, digits and `-./:;=`: of `PARAMETERS`.
    #[inline(always)]
    fn parameters(self) -> Marks {
        self.letters() | self.within(b'-', b';') | self.equal(b'=')
    }

    /// 0x21 to 0x7E.
    #[inline(always)]
    fn visible(self) -> Marks {
        self.within(0x21, 0x7E)
    }

    /// Exactly `VALUE`.
    #[inline(always)]
    fn value(self) -> Marks {
        let ends = self.equal(b'"') | self.equal(b',') | (self.within(b';', b'?') & !self.equal(b'='));
        self.visible() & !ends
    }
}

/// A byte each, all ones or none.
#[derive(Copy, Clone)]
pub(super) struct Marks(u8x16);

impl Marks {
    /// One bit per byte, the first lowest.
    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0.to_bitmask()
    }

    /// How many are set before the first that is not.
    #[inline(always)]
    pub(super) fn leading(self) -> usize {
        // Bit 16 is never set.
        NonZero::new(!self.bits()).map_or(16, |clear| clear.trailing_zeros() as usize)
    }
}

impl BitOr for Marks {
    type Output = Marks;
    #[inline(always)]
    fn bitor(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

impl BitAnd for Marks {
    type Output = Marks;
    #[inline(always)]
    fn bitand(self, other: Marks) -> Marks {
        Marks(self.0 & other.0)
    }
}

impl Not for Marks {
    type Output = Marks;
    #[inline(always)]
    fn not(self) -> Marks {
        Marks(!self.0)
    }
}

#[inline(always)]
fn skip(bytes: &[u8], mut at: usize, class: impl Fn(Block) -> Marks) -> usize {
    loop {
        let count = class(Block::at(bytes, at)).leading();
        at = at.wrapping_add(count);
        if count < 16 {
            return at;
        }
    }
}

/// Past the usual bytes of a host.
#[inline(always)]
pub(super) fn skip_plain(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, Block::plain)
}

/// Past the usual bytes of a user part.
#[inline(always)]
pub(super) fn skip_user(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, Block::user)
}

/// Past the usual bytes of URI parameters.
#[inline(always)]
pub(super) fn skip_parameters(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, Block::parameters)
}

/// Past a parameter value outside quotes.
#[inline(always)]
pub(super) fn skip_value(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, Block::value)
}

/// Past bytes that can be seen.
#[inline(always)]
pub(super) fn skip_visible(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, Block::visible)
}

/// Past bytes that can be seen and are not `>`.
#[inline(always)]
pub(super) fn skip_bracketed(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, |block| block.visible() & !block.equal(b'>'))
}

/// Past bytes other than `"`, backslash and NUL.
#[inline(always)]
pub(super) fn skip_quoted(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, |block| !(block.equal(b'"') | block.equal(b'\\') | block.equal(0)))
}

/// The line ends of a message, 64 bytes at a step.
pub(super) struct Lines<'m> {
    chunks: slice::Iter<'m, [u8; 64]>,
    /// What is behind the last whole chunk, until it had its turn.
    tail: &'m [u8],
    /// Where the next step begins.
    next: usize,
    /// LFs of this step not given yet.
    feeds: u64,
    /// The step before ended with CR: 1.
    after_cr: u64,
    /// Not zero: somewhere so far a CR had no LF behind it.
    lone_cr: u64,
}

impl<'m> Lines<'m> {
    #[inline(always)]
    pub(super) fn new(bytes: &'m [u8]) -> Lines<'m> {
        let (chunks, tail) = bytes.as_chunks();
        Lines { chunks: chunks.iter(), tail, next: 0, feeds: 0, after_cr: 0, lone_cr: 0 }
    }

    /// The offset of the next LF.
    #[inline(always)]
    pub(super) fn next_feed(&mut self) -> Option<usize> {
        loop {
            if let Some(feeds) = NonZero::new(self.feeds) {
                self.feeds &= self.feeds.wrapping_sub(1);
                return Some(self.next.wrapping_sub(64).wrapping_add(feeds.trailing_zeros() as usize));
            }
            match self.chunks.next() {
                Some(chunk) => self.step(chunk),
                None if self.tail.is_empty() => return None,
                None => {
                    let chunk = padded(mem::take(&mut self.tail));
                    self.step(&chunk);
                }
            }
        }
    }

    /// Whether there may be a CR without LF among the bytes looked at so far. These go past the line asked for last, so that
    /// "yes" is to be looked into; a CR right at the end of the datagram is not seen.
    #[inline(always)]
    pub(super) fn lone_cr(&self) -> bool {
        self.lone_cr != 0
    }

    #[inline(always)]
    fn step(&mut self, chunk: &[u8; 64]) {
        let (mut feeds, mut returns) = (0, 0);
        for (place, quarter) in chunk.as_chunks::<16>().0.iter().enumerate() {
            let block = Block::new(quarter);
            feeds |= u64::from(block.equal(b'\n').bits()) << (16 * place);
            returns |= u64::from(block.equal(b'\r').bits()) << (16 * place);
        }
        self.lone_cr |= ((returns << 1) | self.after_cr) & !feeds;
        self.after_cr = returns >> 63;
        self.feeds = feeds;
        self.next = self.next.wrapping_add(64);
    }
}

#[cold]
#[inline(never)]
fn padded(rest: &[u8]) -> [u8; 64] {
    let mut chunk = [0; 64];
    chunk[..rest.len()].copy_from_slice(rest);
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::scan::{self, HOST, PARAMETERS, TOKEN, USER, VALUE};
    use std::vec::Vec;

    /// A byte at every place of a long run, and the end of the bytes behind it.
    #[test]
    fn a_skip_never_leaves_its_class() {
        /// The skip, its class, and whether it passes all of it.
        type Case<'c> = (fn(&[u8], usize) -> usize, &'c dyn Fn(u8) -> bool, bool);
        let classes: [Case<'_>; 8] = [
            (skip_plain, &|byte| scan::is(byte, HOST), false),
            (skip_plain, &|byte| scan::is(byte, TOKEN), false),
            (skip_user, &|byte| scan::is(byte, USER), false),
            (skip_parameters, &|byte| scan::is(byte, PARAMETERS), false),
            (skip_value, &|byte| scan::is(byte, VALUE), true),
            (skip_visible, &|byte| byte.is_ascii_graphic(), true),
            (skip_bracketed, &|byte| byte.is_ascii_graphic() && byte != b'>', true),
            (skip_quoted, &|byte| !matches!(byte, b'"' | b'\\' | 0), true),
        ];
        for (index, (skip, class, exact)) in classes.into_iter().enumerate() {
            for byte in 0..=u8::MAX {
                for place in 0..40 {
                    let mut bytes = [b'a'; 40];
                    bytes[place] = byte;
                    for from in [0, 1, place] {
                        let end = skip(&bytes, from);
                        let expected = if class(byte) || from > place { 40 } else { place };
                        assert!(end == expected || (!exact && end == place), "{index}: {byte} at {place} from {from}");
                    }
                }
            }
        }
    }

    #[test]
    fn lines_end_where_a_search_says() {
        let mut seed = 7u64;
        for length in (0..300).chain([64, 128, 192]) {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b"aaa\n\r\r\n"[(seed >> 33) as usize % 7]
                })
                .collect();
            let mut lines = Lines::new(&bytes);
            let found: Vec<usize> = core::iter::from_fn(|| lines.next_feed()).collect();
            let expected: Vec<usize> = (0..length).filter(|at| bytes[*at] == b'\n').collect();
            assert_eq!(found, expected);
            let ends_with_cr = bytes.last() == Some(&b'\r');
            assert!(lines.lone_cr() == scan::lone_cr(&bytes) || ends_with_cr, "{}", bytes.escape_ascii());
        }
    }
}
