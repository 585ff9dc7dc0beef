//! Longest prefix match in two cache lines.
//!
//! ```text
//!   group ──► root: a bit per cell (the first 2–6 digits), set where a line starts; counting them gives the line
//!                │
//!                ▼ lines of 64 bytes, each
//!              leaf   up to 14 prefixes of 7 symbols below the line's depth, or 7 of 14, compared at once; the longest that fits wins
//!              long   up to 3 prefixes of up to 32 symbols
//!              node   symbols that all prefixes below share, then a bit per cell (the next two symbols) ──► lines
//! ```
//!
//! **Ranges.** Lines divide the numbers in order: a line serves its own cell and those behind it up to the next bit, so lines are
//! well filled wherever prefixes are. The root of a million prefixes has 160 KB, which stay in L2: a look-up reads one block there, one
//! line, and a second line where more than 14 prefixes share six digits. `docs/adr/0002-prefix-trie.md` has figures and alternatives.
//!
//! **What covers a line.** A prefix that starts in an earlier line covers either all of a line's range or nothing of it: the compiler
//! starts a line where one ends. The longest that covers it is written into the line, so nothing is remembered on the way down.
//!
//! **Numbers of prefixes.** Prefixes are numbered in their order, and those of a leaf are neighbours: the leaf names the first.
//!
//! **Keys.** A word holds up to seven symbols from the top and one bit behind the last. From that bit down, `key ^ (key - 1)`, a
//! dialled number may differ. A wide key is two such words. Of the keys that fit, the last is the longest.
//!
//! **Numbers that end early.** Symbols behind the end of a number are zeros. The answer for the number so filled up may be too long; the
//! prefixes that fit are then among its shorter ones, because all of them are prefixes of the filled-up number. So the reader goes up
//! from prefix to next shorter prefix until one is no longer than the number. That same chain serves routes outside their time window.
//!
//! **Symbols that are no digits.** A root knows digits only. Prefixes with `*`, `#`, A–D among the root's digits have a line of their own;
//! a number with one there is looked up there first, and, if nothing fits, as if it ended before it.
//!
//! A damaged image may give wrong answers here but no panic and no endless loop: each step is bounded, each place is checked.

use rkyv::Archived;
use wide::u32x4;

use crate::routing::digits::Digits;
use crate::routing::layout::{ArchivedBlock, ArchivedGroup, ArchivedLine, NO_LINE, PREFIX_MAX, Trie};

/// What a line is; the upper three bits of its head.
pub mod kind {
    /// Up to 14 keys of one word.
    pub const NARROW: u32 = 0;
    /// Up to seven keys of two words.
    pub const WIDE: u32 = 1;
    /// Up to three keys of four words, and their lengths.
    pub const LONG: u32 = 2;
    /// More lines below.
    pub const NODE: u32 = 3;
}

/// Bits of a line's first two words that are a prefix's number.
pub const NUMBER_BITS: u32 = 29;
/// These bits.
pub const NUMBER: u32 = (1 << NUMBER_BITS) - 1;
/// Symbols of one word of a key.
pub const KEY_SYMBOLS: u32 = 7;
/// A key that no number fits: its last symbol is one that the reader cuts off every number.
pub const NO_KEY: u32 = u32::MAX;
/// Bits of a block that are cells; the others count.
pub const CELLS: u32 = 100;
/// Words of a line in front of its keys.
pub const KEYS: usize = 2;
/// More lines than any path has: below a node at least one symbol more is shared.
const STEPS_MAX: usize = PREFIX_MAX + 2;

/// A number, as far as it is compared.
#[derive(Copy, Clone)]
struct Number {
    symbols: u128,
    len: u32,
}

/// The number of the longest prefix of `digits` in a group, `None` where there is none.
#[inline]
pub(super) fn find(trie: &Archived<Trie>, routing_group: u32, digits: Digits) -> Option<u32> {
    let groups = trie.groups.as_slice();
    let place = groups.binary_search_by_key(&routing_group, |group| group.routing_group.to_native()).ok()?;
    let group = groups.get(place)?;
    let mut number = Number { symbols: digits.symbols(), len: u32::from(digits.len()) };
    let count = group.digits.to_native() & 7;
    // A nibble is above 9 when its bit 3 is set and bit 2 or bit 1.
    let root = root_symbols(number, count);
    if root & (root << 1 | root << 2) & 0x8888_8888 != 0 {
        if let Some(found) = in_others(trie, group, number) {
            return Some(found);
        }
        number = before_other(number);
    }
    let (block, cell) = root_cell(root_symbols(number, count));
    let block = trie.blocks.as_slice().get(group.blocks.to_native() as usize + block)?;
    in_lines(trie, (group.lines.to_native() as usize).wrapping_add(line_of(block, cell)), count, number)
}

/// The first `count` symbols, up to 8, at the bottom.
#[inline]
fn root_symbols(number: Number, count: u32) -> u32 {
    ((number.symbols >> 96) as u64 >> (32 - 4 * count)) as u32
}

/// The block and the cell in it of up to eight decimal digits.
#[inline]
pub(super) const fn root_cell(digits: u32) -> (usize, u32) {
    let pairs = (digits & 0x0F0F_0F0F) + 10 * (digits >> 4 & 0x0F0F_0F0F);
    let block = (pairs >> 8 & 0xFF) + 100 * (pairs >> 16 & 0xFF) + 10_000 * (pairs >> 24);
    (block as usize, pairs & 0xFF)
}

/// How many lines start up to and with this cell, less one: wraps around in a damaged image, and then no line is there.
#[inline]
fn line_of(block: &ArchivedBlock, cell: u32) -> usize {
    let [low, high] = [block.starts[0].to_native(), block.starts[1].to_native()];
    let base = (high >> (CELLS - 64)) as usize;
    let mask = 2u128.wrapping_shl(cell).wrapping_sub(1) & ((1 << CELLS) - 1);
    let ones = (low & mask as u64).count_ones() + (high & (mask >> 64) as u64).count_ones();
    (base + ones as usize).wrapping_sub(1)
}

/// What the number finds among prefixes with a symbol that is no digit.
#[cold]
fn in_others(trie: &Archived<Trie>, group: &ArchivedGroup, number: Number) -> Option<u32> {
    let line = group.others.to_native();
    if line == NO_LINE { None } else { in_lines(trie, line as usize, 0, number) }
}

/// The number up to its first symbol that is no digit.
#[cold]
fn before_other(number: Number) -> Number {
    let above_nine = number.symbols & (number.symbols << 1 | number.symbols << 2) & (u128::MAX / 15 * 8);
    let len = above_nine.leading_zeros() / 4;
    Number { symbols: number.symbols & !u128::MAX.checked_shr(4 * len).unwrap_or(0), len: number.len.min(len) }
}

/// The longest prefix from this line on. All numbers of its range share `shared` symbols, or some fewer: that many are in the line.
#[inline]
fn in_lines(trie: &Archived<Trie>, mut place: usize, mut shared: u32, number: Number) -> Option<u32> {
    let lines = trie.lines.as_slice();
    for _ in 0..STEPS_MAX {
        let line = lines.get(place)?;
        let kind = line.words[0].to_native() >> NUMBER_BITS;
        if kind <= kind::WIDE {
            let (found, symbols) = in_leaf(line, kind, shared, number);
            return fitting(trie, found, symbols, number.len);
        }
        let found = match kind {
            kind::NODE => match below(line, number) {
                Some(below) => {
                    (place, shared) = below;
                    continue;
                }
                None => None,
            },
            _ => in_long(line, number),
        };
        let (found, symbols) = found.unwrap_or((line.words[1].to_native() & NUMBER, shared));
        return fitting(trie, found, symbols, number.len);
    }
    None
}

/// The longest of a leaf's keys that fits, else what covers the line: the number, and how many symbols it has at most. One path for both widths,
/// without a branch: which key fits, and which width a line has, is what no processor can guess.
#[inline]
fn in_leaf(line: &ArchivedLine, kind: u32, shared: u32, number: Number) -> (u32, u32) {
    let [head, covering] = [line.words[0].to_native(), line.words[1].to_native()];
    let depth = shared.saturating_sub(covering >> NUMBER_BITS);
    let rest = (number.symbols.checked_shl(4 * depth).unwrap_or(0) >> 64) as u64;
    let first = (rest >> 32) as u32 & !15;
    let second = if kind == kind::NARROW { first } else { (rest >> 4) as u32 & !15 };
    let wanted = u32x4::new([first, second, first, second]);
    let mut fits = 0;
    for (place, keys) in line.words.chunks_exact(4).enumerate() {
        let keys = u32x4::new([keys[0].to_native(), keys[1].to_native(), keys[2].to_native(), keys[3].to_native()]);
        let free = keys ^ (keys - u32x4::splat(1));
        let differs = (keys ^ wanted) & !free;
        fits |= differs.simd_eq(u32x4::splat(0)).to_bitmask() << (4 * place);
    }
    // Of a key of two words both have to fit.
    let (pairs, places) = if kind == kind::NARROW { (u32::MAX, 0xFFFC) } else { (fits >> 1, 0x5554) };
    let hits = fits & pairs & places;
    // Above the bits of keys: the place of `covering` if nothing fits.
    let place = (hits | 2).ilog2();
    let key = line.words[place as usize & 15].to_native();
    let more = if kind == kind::NARROW { 1 << 31 } else { line.words[(place as usize + 1) & 15].to_native() };
    let symbols = |key: u32| (31 - key.trailing_zeros().min(31)) / 4;
    if hits == 0 {
        (covering & NUMBER, shared)
    } else {
        ((head & NUMBER) + ((place - KEYS as u32) >> kind), depth + symbols(key) + symbols(more))
    }
}

/// The longest of up to three long keys that fits: its number and length.
#[cold]
fn in_long(line: &ArchivedLine, number: Number) -> Option<(u32, u32)> {
    let words = line.words.each_ref().map(|word| word.to_native());
    let [count, lengths @ ..] = words[2].to_le_bytes();
    let keys = words[4..].chunks_exact(4).map(|key| key.iter().fold(0, |key, word| key << 32 | u128::from(*word)));
    let lengths = lengths.into_iter().map(|len| u32::from(len).min(PREFIX_MAX as u32));
    let mut fits =
        (0..u32::from(count)).zip(keys.zip(lengths)).filter(|(_, (key, len))| shares(*key, number.symbols, *len));
    fits.next_back().map(|(place, (_, len))| ((words[0] & NUMBER) + place, len))
}

/// Whether two have the first `count` symbols in common.
#[inline]
fn shares(one: u128, other: u128, count: u32) -> bool {
    (one ^ other).checked_shr(128 - 4 * count).unwrap_or(0) == 0
}

/// The line below a node, and how many symbols all numbers in its cell share; `None` if the number has not the symbols that all below share.
#[inline]
fn below(line: &ArchivedLine, number: Number) -> Option<(usize, u32)> {
    let node = Node(line);
    let depth = node.depth();
    if !shares(node.path(), number.symbols, depth) {
        return None;
    }
    Some((node.line((number.symbols << (4 * depth) >> 120) as u8), depth + 2))
}

/// A line that is a node. Its head has the depth, then: place of the first line below; how many lines start before each 64 cells, a byte each; path, four
/// words, highest first; a bit per cell.
pub(super) struct Node<'a>(pub(super) &'a ArchivedLine);

impl Node<'_> {
    #[inline]
    fn word(&self, place: usize) -> u32 {
        self.0.words[place].to_native()
    }

    /// How many symbols all prefixes below share.
    #[inline]
    fn depth(&self) -> u32 {
        (self.word(0) & NUMBER).min(PREFIX_MAX as u32 - 1)
    }

    /// These symbols.
    #[inline]
    fn path(&self) -> u128 {
        (4..8).fold(0, |path, place| path << 32 | u128::from(self.word(place)))
    }

    /// Place of the first line below.
    #[inline]
    pub(super) fn lines(&self) -> usize {
        self.word(2) as usize
    }

    /// 64 cells, lowest first.
    #[inline]
    pub(super) fn starts(&self, word: usize) -> u64 {
        u64::from(self.word(8 + 2 * word)) | u64::from(self.word(9 + 2 * word)) << 32
    }

    /// The line of a cell; wraps around in a damaged image, and then no line is there.
    #[inline]
    pub(super) fn line(&self, cell: u8) -> usize {
        let word = usize::from(cell) / 64;
        let ones = (self.starts(word) & (2u64 << (cell % 64)).wrapping_sub(1)).count_ones();
        let before = self.word(3) >> (8 * word) & 0xFF;
        (self.lines() + before as usize + ones as usize).wrapping_sub(1)
    }
}

/// The first prefix on the way up from `number` that is no longer than the dialled number of `len` symbols; the first has at most
/// `symbols`: unless the dialled number is shorter, its length need not be read.
#[inline]
fn fitting(trie: &Archived<Trie>, number: u32, symbols: u32, len: u32) -> Option<u32> {
    if symbols <= len { Some(number).filter(|number| *number != 0) } else { not_longer(trie, number, len) }
}

#[cold]
fn not_longer(trie: &Archived<Trie>, mut number: u32, len: u32) -> Option<u32> {
    while number != 0 {
        if u32::from(length(trie, number)?) <= len {
            return Some(number);
        }
        number = shorter(trie, number)?;
    }
    None
}

/// The next shorter routed prefix of prefix `number`. Parents come before their children; one that does not is damage, and ends
/// the way up.
#[inline]
pub(super) fn shorter(trie: &Archived<Trie>, number: u32) -> Option<u32> {
    let parent = trie.parents.as_slice().get((number as usize).checked_sub(1)?)?.to_native();
    Some(parent).filter(|parent| *parent != 0 && *parent < number)
}

/// How many symbols prefix `number` has.
#[inline]
pub(super) fn length(trie: &Archived<Trie>, number: u32) -> Option<u8> {
    trie.lengths.as_slice().get((number as usize).checked_sub(1)?).copied()
}

/// The place of its route set.
#[inline]
pub(super) fn set(trie: &Archived<Trie>, number: u32) -> Option<usize> {
    trie.sets.as_slice().get((number as usize).checked_sub(1)?).map(|set| set.to_native() as usize)
}
