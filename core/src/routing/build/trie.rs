//! The trie of one routing group, from its prefixes in order.
//!
//! A root, and each node below it, divides numbers into cells by their next symbols. [`Work::divide`] goes through the cells in order and
//! puts as many whole cells into a line as fit; a cell that does not fit into a line alone becomes a node. A line must not reach beyond the
//! end of a prefix that starts before it (`routing/trie.rs`, "What covers a line"), so it may hold fewer.

use alloc::vec::Vec;

use crate::routing::build::BuildError;
use crate::routing::digits::Digits;
use crate::routing::layout::{Block, Group, Line, NO_LINE, PREFIX_MAX};
use crate::routing::trie::{CELLS, KEY_SYMBOLS, KEYS, NO_KEY, NUMBER, NUMBER_BITS, kind, root_cell};

/// Kinds of leaves, best first: most keys, and symbols of the longest below the line's depth.
const LEAVES: [(u32, usize, u32); 3] =
    [(kind::NARROW, 14, KEY_SYMBOLS), (kind::WIDE, 7, 2 * KEY_SYMBOLS), (kind::LONG, 3, PREFIX_MAX as u32)];
/// Digits of the widest root: 10^4 blocks are 160 KB and stay in L2.
const ROOT_DIGITS_MAX: u32 = 6;
/// A root is as wide as there are so many prefixes for each block.
const PREFIXES_PER_BLOCK: usize = 8;

/// A prefix and its number in the image.
#[derive(Copy, Clone, Debug)]
pub(super) struct Key {
    pub(super) prefix: Digits,
    pub(super) number: u32,
}

impl Key {
    fn len(&self) -> u32 {
        u32::from(self.prefix.len())
    }
}

/// Appends the trie of `keys` (sorted, without duplicates) and gives its root.
pub(super) fn build(
    routing_group: u32,
    blocks: &mut Vec<Block>,
    lines: &mut Vec<Line>,
    keys: &[Key],
) -> Result<Group, BuildError> {
    if keys.last().is_some_and(|last| last.number > NUMBER) {
        return Err(BuildError::TooLarge);
    }
    let mut work = Work { lines };
    let digits = (2..=ROOT_DIGITS_MAX)
        .rev()
        .find(|digits| keys.len() >= PREFIXES_PER_BLOCK * 10usize.pow(digits - 2))
        .unwrap_or(2);
    let (decimal, others): (Vec<Key>, Vec<Key>) = keys.iter().partition(|key| starts_with_digits(key, digits));
    let cells = Cells { start: 0, end: digits, radix: 10 };
    let place = blocks.len();
    let line = work.lines.len();
    blocks.resize(place + 10usize.pow(digits - 2), Block::default());
    let starts = work.divide(&decimal, cells, 0)?;
    let mut starts = starts.iter().peekable();
    let mut count = 0u64;
    for (block, first) in blocks[place..].iter_mut().zip((0..).step_by(CELLS as usize)) {
        let mut bits = u128::from(count) << CELLS;
        while let Some(start) = starts.next_if(|start| **start < first + CELLS) {
            bits |= 1 << (start - first);
            count += 1;
        }
        block.starts = [bits as u64, (bits >> 64) as u64];
    }
    let others = if others.is_empty() { NO_LINE } else { work.whole(&others)? };
    Ok(Group { routing_group, digits, blocks: place_of(place)?, lines: place_of(line)?, others })
}

fn place_of(place: usize) -> Result<u32, BuildError> {
    u32::try_from(place).ok().filter(|place| place >> (128 - CELLS) == 0).ok_or(BuildError::TooLarge)
}

/// Whether all symbols among its first `count` are digits.
fn starts_with_digits(key: &Key, count: u32) -> bool {
    (0..key.len().min(count)).all(|place| (key.prefix.symbols() >> (124 - 4 * place)) & 15 < 10)
}

/// How a root or a node divides numbers: by the symbols `start..end`, each one of `radix`.
#[derive(Copy, Clone)]
struct Cells {
    start: u32,
    end: u32,
    radix: u32,
}

impl Cells {
    fn count(self) -> u32 {
        self.radix.pow(self.end - self.start)
    }

    /// The cell of a key's first number.
    fn of(self, key: &Key) -> u32 {
        let symbols = (key.prefix.symbols() << (4 * self.start) >> (128 - 4 * (self.end - self.start))) as u32;
        match self.radix {
            10 => {
                let (block, cell) = root_cell(symbols);
                block as u32 * CELLS + cell
            }
            _ => symbols,
        }
    }

    /// The last cell of which a key covers all; `None` if it is longer than cells are.
    fn covered(self, key: &Key) -> Option<u32> {
        let left = self.end.checked_sub(key.len())?;
        Some(self.of(key) + self.radix.pow(left) - 1)
    }
}

/// A prefix that covers cells beyond those that were looked at.
#[derive(Copy, Clone)]
struct Open {
    last: u32,
    number: u32,
}

struct Work<'a> {
    lines: &'a mut Vec<Line>,
}

/// The keys of a line, before it is written.
#[derive(Copy, Clone)]
struct Range<'k> {
    keys: &'k [Key],
    /// The longest prefix that covers it.
    covering: u32,
    /// Symbols that every number in it shares.
    depth: u32,
    /// So many fewer than the cells are deep.
    above: u32,
}

impl<'k> Range<'k> {
    /// The keys of the cells `range`. Prefixes that cover them all are taken off the front: the last of them covers the line.
    fn new(mut keys: &'k [Key], cells: Cells, range: core::ops::Range<u32>, mut covering: u32) -> Range<'k> {
        while let [first, others @ ..] = keys
            && cells.of(first) == range.start
            && cells.covered(first).is_some_and(|last| last + 1 >= range.end)
        {
            (keys, covering) = (others, first.number);
        }
        let (mut first, mut last, mut above) = (range.start, range.end - 1, 0);
        while first != last {
            (first, last, above) = (first / cells.radix, last / cells.radix, above + 1);
        }
        Range { keys, covering, depth: cells.end - above, above }
    }

    /// The kind of leaf that its keys fit in: few enough, short enough, and numbered without a gap.
    fn leaf(&self) -> Option<u32> {
        let longest = |keys: &[Key]| keys.iter().map(Key::len).max().unwrap_or(0);
        let fits = |(kind, count, symbols): &(u32, usize, u32)| {
            (self.keys.len() <= *count && longest(self.keys) <= self.depth + symbols).then_some(*kind)
        };
        LEAVES.iter().find_map(fits).filter(|_| self.keys.windows(2).all(|pair| pair[0].number + 1 == pair[1].number))
    }
}

impl Work<'_> {
    /// Appends the lines of all cells, side by side, then what is below them. Gives the first cell of each line.
    fn divide(&mut self, keys: &[Key], cells: Cells, covering: u32) -> Result<Vec<u32>, BuildError> {
        let mut open: Vec<Open> = Vec::new();
        let mut starts = Vec::new();
        let mut ranges = Vec::new();
        let mut keys = keys;
        let mut start = 0;
        while start < cells.count() {
            while open.last().is_some_and(|open| open.last < start) {
                open.pop();
            }
            let outer = open.last().copied().unwrap_or(Open { last: cells.count() - 1, number: covering });
            let (taken, next, range) = line(keys, cells, start, outer);
            starts.push(start);
            ranges.push(range);
            for key in &keys[..taken] {
                let Some(last) = cells.covered(key) else { continue };
                while open.last().is_some_and(|open| open.last < cells.of(key)) {
                    open.pop();
                }
                open.push(Open { last, number: key.number });
            }
            keys = &keys[taken..];
            start = next;
        }
        let place = self.lines.len();
        self.lines.resize(place + ranges.len(), Line::default());
        for (line, range) in ranges.iter().enumerate() {
            self.lines[place + line] = self.written(range)?;
        }
        Ok(starts)
    }

    /// Appends one line for all keys, and what is below it; its place.
    fn whole(&mut self, keys: &[Key]) -> Result<u32, BuildError> {
        let place = self.lines.len();
        self.lines.push(Line::default());
        self.lines[place] = self.written(&Range { keys, covering: 0, depth: 0, above: 0 })?;
        place_of(place)
    }

    /// The line of a range; a node's lines below are appended.
    fn written(&mut self, range: &Range<'_>) -> Result<Line, BuildError> {
        let Range { keys, covering, depth, above } = *range;
        let Some(kind) = range.leaf() else { return self.node(keys, covering) };
        let first = keys.first().map_or(0, |key| key.number);
        let mut words = [NO_KEY; 16];
        words[0] = kind << NUMBER_BITS | first;
        words[1] = above << NUMBER_BITS | covering;
        if kind == kind::LONG {
            words[2..].fill(0);
            words[2] = keys.len() as u32;
        }
        for (place, key) in keys.iter().enumerate() {
            let rest = key.prefix.symbols().checked_shl(4 * depth).unwrap_or(0);
            let len = key.len() - depth.min(key.len());
            let short = |symbols: u128, len: u32| (symbols >> 96) as u32 & !15 | 1 << (31 - 4 * len);
            match kind {
                kind::NARROW => words[KEYS + place] = short(rest, len),
                kind::WIDE => {
                    words[KEYS + 2 * place] = short(rest, len.min(KEY_SYMBOLS));
                    words[KEYS + 2 * place + 1] = short(rest << (4 * KEY_SYMBOLS), len.saturating_sub(KEY_SYMBOLS));
                }
                _ => {
                    words[2] |= key.len() << (8 * place + 8);
                    for word in 0..4 {
                        words[4 + 4 * place + word] = (key.prefix.symbols() >> (96 - 32 * word)) as u32;
                    }
                }
            }
        }
        Ok(Line { words })
    }

    fn node(&mut self, keys: &[Key], covering: u32) -> Result<Line, BuildError> {
        let [first, .., last] = keys else { unreachable!("a single key fits a line") };
        // Keys are sorted: what the first and the last share, all share. The first is the shortest of those that do.
        let depth = ((first.prefix.symbols() ^ last.prefix.symbols()).leading_zeros() / 4).min(first.len());
        let (below, inner) = if first.len() == depth { (&keys[1..], first.number) } else { (keys, covering) };
        let place = self.lines.len();
        let starts = self.divide(below, Cells { start: depth, end: depth + 2, radix: 16 }, inner)?;
        let mut words = [0; 16];
        words[0] = kind::NODE << NUMBER_BITS | depth;
        words[1] = covering;
        words[2] = place_of(place)?;
        let path = first.prefix.symbols() & !u128::MAX.checked_shr(4 * depth).unwrap_or(0);
        for word in 0..4 {
            words[4 + word] = (path >> (96 - 32 * word)) as u32;
        }
        for start in starts {
            words[8 + start as usize / 32] |= 1 << (start % 32);
            // The first 64 cells have none before them.
            for later in start / 64 + 1..4 {
                words[3] += 1 << (8 * later);
            }
        }
        Ok(Line { words })
    }
}

/// The line that starts at cell `start`, `outer` being the longest prefix from before that covers it: how many `keys` are in its cells,
/// where the next line starts, and what is in it.
fn line<'k>(keys: &'k [Key], cells: Cells, start: u32, outer: Open) -> (usize, u32, Range<'k>) {
    let end = |taken: usize| keys.get(taken).map_or(u32::MAX, |key| cells.of(key)).min(outer.last + 1);
    let alone = keys.iter().take_while(|key| cells.of(key) == start).count();
    // The first cell alone: all prefixes up to its depth cover it. An empty one takes the empty ones behind it along.
    let next = if alone == 0 { end(0) } else { start + 1 };
    let mut best = (alone, next, Range::new(&keys[..alone], cells, start..next, outer.number));
    let mut taken = alone;
    if best.2.leaf().is_none() {
        // A node tells its path from others: unless more prefixes cover the cell alone, it takes the empty ones behind it along.
        let next = end(alone);
        let range = Range::new(&keys[..alone], cells, start..next, outer.number);
        return if range.keys.len() == best.2.keys.len() { (alone, next, range) } else { best };
    }
    while best.2.leaf().is_some() {
        let next = end(taken);
        let range = Range::new(&keys[..taken], cells, start..next, outer.number);
        if range.leaf().is_some() {
            best = (taken, next, range);
        } else if taken > alone {
            break;
        }
        if next > outer.last {
            break;
        }
        taken += keys[taken..].iter().take_while(|key| cells.of(key) == next).count();
    }
    best
}

const _: () = assert!(PREFIX_MAX == 32, "a node's last cell starts at symbol 31");
