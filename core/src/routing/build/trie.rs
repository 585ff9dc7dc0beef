//! The trie of one routing group, from its prefixes in order.
//!
//! A range of prefixes below a node becomes, whichever fits first: a leaf (none left), a bucket (at most [`BUCKET_MAX`] left), a skip
//! (all share at least two symbols), else a table over as many symbols as it fills well. Every slot of a table that leads
//! nowhere holds the prefix that covers it.

use alloc::vec::Vec;

use crate::routing::build::BuildError;
use crate::routing::digits::Digits;
use crate::routing::layout::PREFIX_MAX;
use crate::routing::trie::{Kind, width};

/// Prefixes of one bucket: with its two words of head it fills two cache lines.
const BUCKET_MAX: usize = 12;
/// A table is taken if at least one slot in so many has a prefix below it.
const FILL: usize = 4;
/// Symbols of the widest root table: 10^5 references are 400 KB and stay in L2.
const ROOT_DIGITS_MAX: u32 = 5;
/// Symbols of the longest skip: what one word holds beside its length.
const SKIP_MAX: u32 = 7;

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

    /// The symbol at a place.
    fn symbol(&self, place: u32) -> u32 {
        (self.prefix.symbols() >> (124 - 4 * place)) as u32 & 15
    }

    /// The symbols from a place on, at the top.
    fn rest(&self, depth: u32) -> u128 {
        self.prefix.symbols().checked_shl(4 * depth).unwrap_or(0)
    }
}

/// Appends the trie of `keys` (sorted, without duplicates) and gives its root and how many digits the root takes.
pub(super) fn build(slots: &mut Vec<u32>, words: &mut Vec<u32>, keys: &[Key]) -> Result<(u32, u32), BuildError> {
    let mut work = Work { slots, words };
    let digits = (4..=ROOT_DIGITS_MAX).rev().find(|digits| {
        let size = 10usize.pow(*digits);
        keys.len() >= size && all_digits(keys, 0, *digits) && distinct(keys, 0, *digits) * FILL >= size
    });
    match digits {
        Some(digits) => {
            let place = work.table(keys, 0, digits, 10, 0)?;
            Ok((u32::try_from(place).map_err(|_| BuildError::TooLarge)?, digits))
        }
        None => Ok((work.subtree(keys, 0, 0)?, 0)),
    }
}

/// Whether no key has a symbol other than a digit in these places.
fn all_digits(keys: &[Key], depth: u32, count: u32) -> bool {
    keys.iter().all(|key| (depth..key.len().min(depth + count)).all(|place| key.symbol(place) < 10))
}

/// How many different runs of `count` symbols the keys have from `depth` on.
fn distinct(keys: &[Key], depth: u32, count: u32) -> usize {
    keys.chunk_by(|left, right| left.rest(depth) >> (128 - 4 * count) == right.rest(depth) >> (128 - 4 * count)).count()
}

struct Work<'a> {
    slots: &'a mut Vec<u32>,
    words: &'a mut Vec<u32>,
}

impl Work<'_> {
    /// A reference to what `keys`, which share their first `depth` symbols, become. `covering` is the longest prefix above.
    fn subtree(&mut self, keys: &[Key], depth: u32, covering: u32) -> Result<u32, BuildError> {
        let (keys, covering) = match keys {
            [own, below @ ..] if own.len() == depth => (below, own.number),
            _ => (keys, covering),
        };
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
            return Kind::Leaf.at(covering as usize).ok_or(BuildError::TooLarge);
        };
        if keys.len() <= BUCKET_MAX {
            return self.bucket(keys, depth, covering);
        }
        // Keys are sorted: what the first and the last share, all share. The first is the shortest of those that do.
        let shared = (first.prefix.symbols() ^ last.prefix.symbols()).leading_zeros() / 4;
        let skip = (shared.min(first.len()) - depth).min(SKIP_MAX);
        if skip >= 2 {
            let below = self.subtree(keys, depth + skip, covering)?;
            let place = self.words.len();
            self.words.extend([
                (first.rest(depth) >> 96) as u32 >> (32 - 4 * skip) << (32 - 4 * skip) | skip,
                covering,
                below,
            ]);
            return Kind::Skip.at(place).ok_or(BuildError::TooLarge);
        }
        let fills = |count: u32, radix: usize| distinct(keys, depth, count) * FILL >= radix.pow(count);
        let (kind, count, radix) = if all_digits(keys, depth, 3) && fills(3, 10) {
            (Kind::Decimal3, 3, 10)
        } else if all_digits(keys, depth, 2) && fills(2, 10) {
            (Kind::Decimal2, 2, 10)
        } else if all_digits(keys, depth, 1) {
            (Kind::Decimal1, 1, 10)
        } else if depth + 2 <= PREFIX_MAX as u32 && fills(2, 16) {
            (Kind::Symbol2, 2, 16)
        } else {
            (Kind::Symbol1, 1, 16)
        };
        let place = self.table(keys, depth, count, radix, covering)?;
        kind.at(place).ok_or(BuildError::TooLarge)
    }

    /// A table over `count` symbols; its place.
    fn table(&mut self, keys: &[Key], depth: u32, count: u32, radix: u32, covering: u32) -> Result<usize, BuildError> {
        let place = self.slots.len();
        let size = radix.pow(count) as usize;
        self.slots.resize(place + size, 0);
        self.fill(keys, depth, depth + count, radix, covering, place, size)?;
        Ok(place)
    }

    /// Fills the `size` slots from `place` with what is below `depth`.
    #[allow(clippy::too_many_arguments)] // One recursion over one table; a struct would be read once.
    fn fill(
        &mut self,
        keys: &[Key],
        depth: u32,
        end: u32,
        radix: u32,
        covering: u32,
        place: usize,
        size: usize,
    ) -> Result<(), BuildError> {
        if depth == end {
            self.slots[place] = self.subtree(keys, depth, covering)?;
            return Ok(());
        }
        let (mut keys, covering) = match keys {
            [own, below @ ..] if own.len() == depth => (below, own.number),
            _ => (keys, covering),
        };
        if keys.is_empty() {
            let leaf = Kind::Leaf.at(covering as usize).ok_or(BuildError::TooLarge)?;
            self.slots[place..place + size].fill(leaf);
            return Ok(());
        }
        let part = size / radix as usize;
        for symbol in 0..radix {
            let (below, others) = keys.split_at(keys.partition_point(|key| key.symbol(depth) == symbol));
            self.fill(below, depth + 1, end, radix, covering, place + symbol as usize * part, part)?;
            keys = others;
        }
        debug_assert!(keys.is_empty(), "every key has a symbol of the radix");
        Ok(())
    }

    /// A bucket, as narrow as its longest rest allows.
    fn bucket(&mut self, keys: &[Key], depth: u32, covering: u32) -> Result<u32, BuildError> {
        let longest = keys.iter().map(|key| key.len() - depth).max().unwrap_or(0);
        let width = match longest {
            0..=7 => width::NARROW,
            8..=15 => width::MIDDLE,
            _ => width::WIDE,
        };
        let place = self.words.len();
        self.words.extend([width | (keys.len() as u32) << 8, covering]);
        for key in keys {
            let (rest, len) = (key.rest(depth), key.len() - depth);
            let top = |word: u32| (rest >> (96 - 32 * word)) as u32;
            match width {
                width::NARROW => self.words.extend([top(0) | len, key.number]),
                width::MIDDLE => self.words.extend([top(0), top(1) | len, key.number]),
                _ => self.words.extend([top(0), top(1), top(2), top(3), len, key.number]),
            }
        }
        Kind::Bucket.at(place).ok_or(BuildError::TooLarge)
    }
}
