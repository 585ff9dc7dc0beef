//! Longest prefix match in about two cache lines.
//!
//! ```text
//!   group ──► root: one bit per cell (the first 2–6 digits), set where a line starts; counting them gives the line
//!                │
//!                ▼ lines of 64 bytes
//!              leaf     up to 7 prefixes of up to 15 symbols, compared at once; the longest that fits wins
//!              long     up to 3 prefixes of up to 32 symbols
//!              node     symbols that all prefixes below share; then again a bit per cell (the next two symbols) ──► lines
//! ```
//!
//! **Ranges.** Lines divide the numbers in order: a line serves its own cell and those behind it up to the next bit. So lines are
//! well filled wherever prefixes are, and the root of a million prefixes has 160 KB, which stay in L2: a look-up reads a block there, one line, and where more
//! than seven prefixes share a cell a second line. `docs/adr/0002-prefix-trie.md` has the figures and what else was considered.
//!
//! **What covers a line.** A prefix that starts in an earlier line either covers all of a line's range or nothing of it: the compiler
//! starts a line where one ends. The longest that covers it is written into the line, so nothing is remembered on the way down.
//!
//! **Numbers of prefixes.** Prefixes are numbered in their order, those of a leaf are neighbours: the leaf names the first.
//!
//! **Keys.** The symbols from the top, one bit behind the last. The bits from that one down, `key ^ (key - 1)`, are what a number may
//! differ in: it fits if `key ^ number` is not above them. Of those that fit, the last is the longest.
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

use crate::routing::digits::Digits;
use crate::routing::layout::{ArchivedBlock, ArchivedGroup, ArchivedLine, NO_LINE, PREFIX_MAX, Trie};

/// What a line is; the upper three bits of its head.
pub mod kind {
    /// Up to seven keys of up to 15 symbols.
    pub const LEAF: u32 = 0;
    /// Up to three keys of up to 32 symbols.
    pub const LONG: u32 = 1;
    /// More lines below.
    pub const NODE: u32 = 2;
}

/// Bits of a head that are a prefix's number.
pub const NUMBER_BITS: u32 = 29;
/// Symbols of the longest key in a leaf: with the bit behind the last they fill a word.
pub const LEAF_SYMBOLS: u32 = 15;
/// A key that no number fits: its last symbol is one that the reader cuts off every number.
pub const NO_KEY: u64 = u64::MAX;
/// Bits of a block that are cells; the others count.
pub const CELLS: u32 = 100;
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

/// The longest prefix from this line on. What covers the line has at most `shared` symbols.
#[inline]
fn in_lines(trie: &Archived<Trie>, mut place: usize, mut shared: u32, number: Number) -> Option<u32> {
    let lines = trie.lines.as_slice();
    for _ in 0..STEPS_MAX {
        let line = lines.get(place)?;
        let head = line.head.to_native();
        match head >> NUMBER_BITS {
            kind::LEAF => {
                let (found, symbols) = in_leaf(line, number).unwrap_or((line.covering.to_native(), shared));
                return fitting(trie, found, symbols, number.len);
            }
            kind::NODE => match below(line, number) {
                Some((below, symbols)) => (place, shared) = (below, symbols),
                None => return fitting(trie, line.covering.to_native(), shared, number.len),
            },
            kind::LONG => {
                let (found, symbols) = in_long(line, number).unwrap_or((line.covering.to_native(), shared));
                return fitting(trie, found, symbols, number.len);
            }
            _ => return None,
        }
    }
    None
}

/// The longest of up to seven keys that fits: its number and length.
#[inline]
fn in_leaf(line: &ArchivedLine, number: Number) -> Option<(u32, u32)> {
    let symbols = (number.symbols >> 64) as u64 & !15;
    // No branch: which key fits is what no processor can guess.
    let (mut found, mut hit) = (0, 0);
    for (place, key) in (1..).zip(&line.words) {
        let key = key.to_native();
        let fits = key ^ symbols <= key ^ key.wrapping_sub(1);
        (found, hit) = if fits { (place, key) } else { (found, hit) };
    }
    let first = line.head.to_native() & ((1 << NUMBER_BITS) - 1);
    if found == 0 { None } else { Some((first + found - 1, (63 - hit.trailing_zeros().min(63)) / 4)) }
}

/// The longest of up to three long keys that fits: its number and length.
#[cold]
fn in_long(line: &ArchivedLine, number: Number) -> Option<(u32, u32)> {
    let words = line.words.each_ref().map(|word| word.to_native());
    let first = line.head.to_native() & ((1 << NUMBER_BITS) - 1);
    let count = words[0] as u8;
    let keys = words[1..].chunks_exact(2).map(|word| u128::from(word[0]) << 64 | u128::from(word[1]));
    let lengths = words[0].to_le_bytes();
    let keyed = (0..u32::from(count)).zip(keys).zip(lengths[1..].iter().map(|len| u32::from(*len).min(PREFIX_MAX as u32)));
    let fits = keyed.filter(|((_, key), len)| (key ^ number.symbols).checked_shr(128 - 4 * len).unwrap_or(0) == 0);
    fits.last().map(|((place, _), len)| (first + place, len))
}

/// The line below a node and how many symbols cover it, if the number has the symbols that all below share.
#[inline]
fn below(line: &ArchivedLine, number: Number) -> Option<(usize, u32)> {
    let node = Node::of(line);
    if (node.path ^ number.symbols).checked_shr(128 - 4 * node.depth).unwrap_or(0) != 0 {
        return None;
    }
    Some((node.line(node.cell(number.symbols)), node.depth + 2))
}

/// A node's line, unpacked. Words: 0 first line below; 1, 2 path; 3 to 6 cells. The head's lower bits: depth in bits 0–5, then for the
/// second to fourth word of cells how many lines start before it, at most 192, in 8 bits each, lowest first: 24 bits from bit 32 of word 0.
pub(super) struct Node {
    /// Symbols that all prefixes below share.
    pub(super) depth: u32,
    /// These symbols, at the top.
    pub(super) path: u128,
    /// Line of the first cell.
    pub(super) lines: u32,
    /// How many lines start before each word of cells, 8 bits each.
    pub(super) before: u32,
    /// Bit per two symbols: a line starts here.
    pub(super) starts: [u64; 4],
}

impl Node {
    #[inline]
    pub(super) fn of(line: &ArchivedLine) -> Node {
        let words = line.words.each_ref().map(|word| word.to_native());
        Node {
            depth: (line.head.to_native() & 0x3F).min(PREFIX_MAX as u32 - 1),
            path: u128::from(words[1]) << 64 | u128::from(words[2]),
            lines: words[0] as u32,
            before: (words[0] >> 32) as u32,
            starts: [words[3], words[4], words[5], words[6]],
        }
    }

    /// The cell of a number: the two symbols behind the shared ones.
    #[inline]
    pub(super) const fn cell(&self, symbols: u128) -> u8 {
        (symbols << (4 * self.depth) >> 120) as u8
    }

    /// The line of a cell; wraps around in a damaged image, and then no line is there.
    #[inline]
    pub(super) const fn line(&self, cell: u8) -> usize {
        let word = cell as usize / 64;
        let ones = (self.starts[word] & (2u64 << (cell % 64)).wrapping_sub(1)).count_ones();
        (self.lines as usize + (self.before >> (8 * word) & 0xFF) as usize + ones as usize).wrapping_sub(1)
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
