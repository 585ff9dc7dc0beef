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

use core::ops::{BitAnd, BitOr, Not};

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

    /// CR, LF and what is below: bytes that are not usual within a line.
    #[inline(always)]
    fn low(self) -> Marks {
        let end = u8x16::splat(b'\r');
        Marks(self.0.max(end).simd_eq(end))
    }

    /// Which bytes are none of `first` to `last`.
    #[inline(always)]
    fn outside(self, first: u8, last: u8) -> Marks {
        let above = self.0 - u8x16::splat(first);
        Marks(above.max(u8x16::splat(last - first + 1)).simd_eq(above))
    }

    /// Not letters of either case.
    #[inline(always)]
    fn no_letters(self) -> Marks {
        self.lower().outside(b'a', b'z')
    }

    /// Not letters, digits, `-` and `.`, which are of both `HOST` and `TOKEN`.
    #[inline(always)]
    pub(super) fn not_plain(self) -> Marks {
        self.no_letters() & (self.outside(b'-', b'9') | self.equal(b'/'))
    }

    /// Not letters, digits and `+,-./`, which are of `USER`.
    #[inline(always)]
    fn not_user(self) -> Marks {
        self.no_letters() & self.outside(b'+', b'9')
    }

    /// Not letters, digits and `-./:;=`, which are of `PARAMETERS`.
    #[inline(always)]
    fn not_parameters(self) -> Marks {
        self.no_letters() & self.outside(b'-', b';') & !self.equal(b'=')
    }

    /// Not 0x21 to 0x7E.
    #[inline(always)]
    fn not_visible(self) -> Marks {
        self.outside(0x21, 0x7E)
    }

    /// Not those from `-` on which are of `VALUE`; `=` is taken for none of them.
    #[inline(always)]
    fn not_value(self) -> Marks {
        self.outside(b'-', 0x7E) | self.within(b';', b'?')
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

    /// How many are clear before the first that is set.
    #[inline(always)]
    pub(super) fn clear(self) -> usize {
        (self.bits() | 1 << 16).trailing_zeros() as usize
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

/// To the first byte from `at` on that ends a run.
#[inline(always)]
fn skip(bytes: &[u8], mut at: usize, ends: impl Fn(Block) -> Marks) -> usize {
    while let Some(chunk) = bytes.get(at..at.wrapping_add(16)).and_then(<[u8]>::first_chunk) {
        let marks = ends(Block::new(chunk)).bits();
        if marks != 0 {
            return at.wrapping_add(marks.trailing_zeros() as usize);
        }
        at = at.wrapping_add(16);
    }
    skip_short(bytes, at, ends)
}

/// The same within the last bytes.
#[cold]
#[inline(never)]
fn skip_short(bytes: &[u8], at: usize, ends: impl Fn(Block) -> Marks) -> usize {
    at + ends(Block::short(bytes, at)).clear()
}

/// Past the usual bytes of a host.
#[inline(always)]
pub(super) fn skip_plain(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, Block::not_plain)
}

/// Past the usual bytes of a user part.
#[inline(always)]
pub(super) fn skip_user(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, Block::not_user)
}

/// Past the usual bytes of URI parameters.
#[inline(always)]
pub(super) fn skip_parameters(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, Block::not_parameters)
}

/// Past the usual bytes of a parameter value.
#[inline(always)]
pub(super) fn skip_value(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, Block::not_value)
}

/// Past bytes that can be seen.
#[inline(always)]
pub(super) fn skip_visible(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, Block::not_visible)
}

/// Past bytes that can be seen and are not `>`.
#[inline(always)]
pub(super) fn skip_bracketed(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, |block| block.not_visible() | block.equal(b'>'))
}

/// Past bytes from the blank on, other than `"` and backslash.
#[inline(always)]
pub(super) fn skip_quoted(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, |block| block.outside(b' ', 0xFE) | block.equal(b'"') | block.equal(b'\\'))
}

/// The low bytes of a message (0x0D and below), 64 bytes at a step: CR and LF, and what is rare.
#[derive(Copy, Clone)]
pub(super) struct Lows {
    /// Where this step began; the next one begins 64 bytes further on.
    base: usize,
    /// Low bytes of this step not given yet.
    marks: u64,
}

impl Lows {
    /// Those from `at` on.
    #[inline(always)]
    pub(super) fn new(at: usize) -> Lows {
        Lows { base: at.wrapping_sub(64), marks: 0 }
    }

    /// The offset of the next low byte, which stays the next.
    #[inline(always)]
    pub(super) fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        while self.marks == 0 {
            let base = self.base.wrapping_add(64);
            self.marks = match bytes.get(base..).map(<[u8]>::first_chunk) {
                Some(Some(chunk)) => lows(chunk),
                _ => lows_of_short(bytes, base)?,
            };
            self.base = base;
        }
        Some(self.base.wrapping_add(self.marks.trailing_zeros() as usize))
    }

    /// Goes past the one that is next, and past the byte behind it, which is low too.
    #[inline(always)]
    pub(super) fn pass_two(&mut self) {
        self.marks &= self.marks.wrapping_sub(1);
        // No mark left: the second is the first byte of the next step.
        self.base = self.base.wrapping_add(usize::from(self.marks == 0));
        self.marks &= self.marks.wrapping_sub(1);
    }
}

/// Which of the bytes are low, a bit for each.
#[inline(always)]
fn lows(chunk: &[u8; 64]) -> u64 {
    let quarters = chunk.as_chunks::<16>().0.iter().rev();
    quarters.fold(0, |marks, quarter| marks << 16 | u64::from(Block::new(quarter).low().bits()))
}

#[cold]
#[inline(never)]
fn lows_of_short(bytes: &[u8], at: usize) -> Option<u64> {
    let rest = bytes.get(at..)?;
    let mut chunk = [b'x'; 64];
    chunk[..rest.len()].copy_from_slice(rest);
    Some(lows(&chunk))
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
            (skip_value, &|byte| scan::is(byte, VALUE), false),
            (skip_visible, &|byte| byte.is_ascii_graphic(), true),
            (skip_bracketed, &|byte| byte.is_ascii_graphic() && byte != b'>', true),
            (skip_quoted, &|byte| !matches!(byte, b'"' | b'\\' | 0), false),
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

    /// Every low byte is given from wherever it begins; and what is passed is not.
    #[test]
    fn low_bytes_are_where_a_search_says() {
        let mut seed = 7u64;
        for length in (0..300).chain([64, 128, 192]) {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b"aaaaa\n\r\0\t\x0e\xff"[(seed >> 33) as usize % 11]
                })
                .collect();
            let expected: Vec<usize> = (0..length).filter(|at| bytes[*at] <= b'\r').collect();
            for from in [0, length / 2, length] {
                let expected = &expected[expected.partition_point(|at| *at < from)..];
                let found: Vec<usize> = expected.iter().filter_map(|at| Lows::new(*at).next(&bytes)).collect();
                assert_eq!(found, expected);
                let (mut lows, mut found) = (Lows::new(from), Vec::new());
                while let Some(at) = lows.next(&bytes) {
                    found.push(at);
                    if bytes.get(at + 1).is_some_and(|byte| *byte <= b'\r') {
                        lows.pass_two();
                        found.push(at + 1);
                    } else {
                        lows = Lows::new(at + 1);
                    }
                }
                assert_eq!(found, expected);
            }
        }
    }
}
