//! Sixteen bytes at a step: where lines end, and how far the usual bytes of a value go.
//!
//! ```text
//! bytes    …;branch=z9hG4bK7f;rport␍␊Max-…      a block of 16, loaded from any offset, zeros behind the end
//! marks     1111111111111111110111111111        one bit per byte: it is one of the value
//! ```
//!
//! The vectors are those of the `wide` crate: one instruction each where the processor has them, loops where it has not, and
//! no `unsafe` here (the intrinsics of the language cannot be called without).
//!
//! Each `skip_…` goes past bytes of one class of `scan.rs`, or of a part of one: it may stop early at a byte that is rare, and then
//! the general reader decides. It never goes past a byte that its class does not have, nor past the end: no class has NUL in it.

use core::ops::{BitAnd, BitOr};

use wide::{u8x16, u8x32};

/// The `SIZE` bytes from `at` on, where there are as many.
///
/// Offsets in a message are small ([`Span`](super::Span) has 16 bits for them). Said here, it leaves one comparison: the end of the
/// window cannot wrap.
#[inline(always)]
pub(super) fn window<const SIZE: usize>(bytes: &[u8], at: usize) -> Option<&[u8; SIZE]> {
    let at = at as u32 as usize;
    bytes.get(at..at.wrapping_add(SIZE))?.first_chunk()
}

/// Sixteen bytes.
#[derive(Copy, Clone)]
pub(super) struct Block(u8x16);

impl Block {
    #[inline(always)]
    pub(super) const fn new(bytes: &[u8; 16]) -> Block {
        Block(u8x16::new(*bytes))
    }

    /// The bytes from `at` on, fewer than sixteen, zeros behind the end.
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

    /// The bytes where `mask` is all ones, zeros elsewhere.
    #[inline(always)]
    pub(super) fn masked(self, mask: Block) -> Block {
        Block(self.0 & mask.0)
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

    /// The same with 0xFF, which is of no class, in place of this byte.
    #[inline(always)]
    fn barring(self, byte: u8) -> Block {
        Block(self.0 | self.equal(byte).0)
    }

    /// What is outside of the range from `first` to `last`, which are at most 127 apart.
    #[inline(always)]
    fn beyond(self, first: u8, last: u8) -> Outside {
        // What is in the range is at most 127 now.
        Outside((self.0 - u8x16::splat(first)).saturating_add(u8x16::splat(0x7F - (last - first))))
    }

    /// What is no letter of either case.
    #[inline(always)]
    fn beyond_letters(self) -> Outside {
        self.lower().beyond(b'a', b'z')
    }

    /// All but letters, digits, `-` and `.`, which are of both `HOST` and `TOKEN`.
    #[inline(always)]
    pub(super) fn plain(self) -> Outside {
        let block = self.barring(b'/');
        block.beyond_letters() & block.beyond(b'-', b'9')
    }

    /// All but letters, digits and `+,-./`, which are of `USER`.
    #[inline(always)]
    fn user(self) -> Outside {
        self.beyond_letters() & self.beyond(b'+', b'9')
    }

    /// All but letters, digits and `-./:;=`, which are of `PARAMETERS`.
    #[inline(always)]
    fn parameters(self) -> Outside {
        (self.beyond_letters() & self.beyond(b'-', b';')).without(self.equal(b'='))
    }

    /// All but 0x21 to 0x7E.
    #[inline(always)]
    fn visible(self) -> Outside {
        self.beyond(0x21, 0x7E)
    }

    /// All but those from `-` on which are of `VALUE`; `=` is taken for none of them.
    #[inline(always)]
    fn value(self) -> Outside {
        self.beyond(b'-', b':') & self.beyond(b'@', 0x7E)
    }

    /// Less than a blank, `"` and backslash.
    #[inline(always)]
    fn unquoted(self) -> Outside {
        // The sign of the difference, and not the byte's own.
        Outside((self.0 - u8x16::splat(b' ')) & !self.0) | self.equal(b'"') | self.equal(b'\\')
    }
}

/// A byte each, of which the high bit says that it is not of a class. That is the bit which becomes one of a mask, whatever the others
/// are: so nothing has to be compared.
#[derive(Copy, Clone)]
pub(super) struct Outside(u8x16);

impl Outside {
    /// One bit per byte, the first lowest.
    #[inline(always)]
    fn bits(self) -> u32 {
        self.0.to_bitmask()
    }

    /// How many are of the class before the first that is not, up to 16.
    #[inline(always)]
    pub(super) fn run(self) -> usize {
        (self.bits() | 1 << 16).trailing_zeros() as usize
    }

    /// Those that are marked are of the class too.
    #[inline(always)]
    fn without(self, marks: Marks) -> Outside {
        Outside(self.0 & !marks.0)
    }
}

/// Outside of both.
impl BitAnd for Outside {
    type Output = Outside;
    #[inline(always)]
    fn bitand(self, other: Outside) -> Outside {
        Outside(self.0 & other.0)
    }
}

/// Outside of it, or marked.
impl BitOr<Marks> for Outside {
    type Output = Outside;
    #[inline(always)]
    fn bitor(self, marks: Marks) -> Outside {
        Outside(self.0 | marks.0)
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

    /// How many are clear before the first that is set, up to 16.
    #[inline(always)]
    pub(super) fn clear(self) -> usize {
        (self.bits() | 1 << 16).trailing_zeros() as usize
    }

    /// How many are set before the first that is clear, up to 16.
    #[inline(always)]
    pub(super) fn run(self) -> usize {
        // The bits behind the sixteenth are clear.
        (!self.bits()).trailing_zeros() as usize
    }
}

/// To the first byte from `at` on that is outside of the class.
#[inline(always)]
fn skip(bytes: &[u8], at: usize, class: impl Fn(Block) -> Outside) -> usize {
    // In 32 bits, as a window has it: else the loop counts twice.
    let mut at = at as u32;
    while let Some(chunk) = window(bytes, at as usize) {
        let outside = class(Block::new(chunk)).bits();
        if outside != 0 {
            return (at as usize).wrapping_add(outside.trailing_zeros() as usize);
        }
        at = at.wrapping_add(16);
    }
    skip_short(bytes, at as usize, class)
}

/// The same within the last bytes.
#[cold]
#[inline(never)]
fn skip_short(bytes: &[u8], at: usize, class: impl Fn(Block) -> Outside) -> usize {
    at + class(Block::short(bytes, at)).run()
}

/// Whether a byte stands between `start` and `end`: for values, which are short.
#[inline(never)]
pub(super) fn contains(bytes: &[u8], start: usize, end: usize, byte: u8) -> bool {
    let mut at = start;
    while at < end {
        // What stands behind the end is looked at too, and mostly has none either.
        match window::<64>(bytes, at) {
            Some(chunk) if !is_in(chunk, byte) => at = at.wrapping_add(64),
            _ => return memchr::memchr(byte, &bytes[at..end]).is_some(),
        }
    }
    false
}

/// Whether a byte is one of the sixty-four.
#[inline(always)]
fn is_in(chunk: &[u8; 64], byte: u8) -> bool {
    let halves = chunk.as_chunks::<32>().0.iter();
    let found = halves.fold(u8x32::ZERO, |found, half| found | u8x32::new(*half).simd_eq(u8x32::splat(byte)));
    found.to_bitmask() != 0
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

/// Past the usual bytes of a parameter value.
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
    skip(bytes, at, |block| block.beyond(0x21, b'=') & block.beyond(b'?', 0x7E))
}

/// Past bytes from the blank on, other than `"` and backslash.
#[inline(always)]
pub(super) fn skip_quoted(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, Block::unquoted)
}

/// The low bytes of a message (0x0D and below), 64 bytes at a step: CR and LF, and what is rare. High bytes from 0x8E on, of which UTF-8 is
/// made, count among them: one subtraction tells both, since its sign is all that has to be asked for, and a line with one is read by the
/// general reader.
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
            self.marks = match window(bytes, base) {
                Some(chunk) => lows(chunk),
                None => lows_of_last(bytes, base)?,
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

/// The first byte that is not low.
const BEHIND_LOW: u8 = b'\r' + 1;

/// Which of the bytes are low, a bit for each.
#[inline(always)]
fn lows(chunk: &[u8; 64]) -> u64 {
    // Thirty-two bytes at a step, which is one where the build allows for it and two where not.
    let halves = chunk.as_chunks::<32>().0.iter().rev();
    halves.fold(0, |marks, half| {
        let bytes = u8x32::new(*half);
        // The sign of the difference: that of a low byte, and of one that is so high that it stays negative.
        marks << 32 | u64::from((bytes - u8x32::splat(BEHIND_LOW)).to_bitmask())
    })
}

/// The same for what is left from `at` on, less than a step: as the end of the last 64 bytes.
#[inline(always)]
fn lows_of_last(bytes: &[u8], at: usize) -> Option<u64> {
    match bytes.last_chunk() {
        Some(chunk) => lows(chunk).checked_shr(at.wrapping_sub(bytes.len().wrapping_sub(64)) as u32),
        None => lows_of_short(bytes, at),
    }
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

    /// A byte is found at every place between the ends and at none outside.
    #[test]
    fn a_byte_is_contained_between_the_ends_only() {
        for length in [1, 15, 40, 64, 65, 150] {
            for place in 0..length {
                let mut bytes = std::vec![b'a'; length];
                bytes[place] = b',';
                for (start, end) in [(0, length), (1, length), (0, length - 1), (place, place + 1), (place, place)] {
                    assert_eq!(contains(&bytes, start, end, b','), (start..end).contains(&place), "{length} {place}");
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
                    b"aaaaaa\n\r\0\t\x0e\x8d\x8e\xff"[(seed >> 33) as usize % 14]
                })
                .collect();
            let counts = |byte: &u8| *byte <= b'\r' || *byte >= 0x8E;
            let expected: Vec<usize> = (0..length).filter(|at| counts(&bytes[*at])).collect();
            for from in [0, length / 2, length] {
                let expected = &expected[expected.partition_point(|at| *at < from)..];
                let found: Vec<usize> = expected.iter().filter_map(|at| Lows::new(*at).next(&bytes)).collect();
                assert_eq!(found, expected);
                let (mut lows, mut found) = (Lows::new(from), Vec::new());
                while let Some(at) = lows.next(&bytes) {
                    found.push(at);
                    if bytes.get(at + 1).is_some_and(counts) {
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
