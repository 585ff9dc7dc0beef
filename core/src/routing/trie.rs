//! Longest prefix match.
//!
//! ```text
//!   group ──► root table: the first 0–5 decimal digits at once
//!                │ reference (3 bits kind, 29 bits place)
//!                ├── leaf     the answer: number of the longest prefix, 0 for none
//!                ├── node     a table over the next 1–3 digits (radix 10) or 1–2 symbols (radix 16)
//!                ├── skip     symbols that all prefixes below share, compared at once
//!                └── bucket   the last few prefixes below, each as what is left of it; the longest that fits wins
//! ```
//!
//! A table answers by itself: a slot without a node below holds the longest prefix that covers it, so nothing is
//! remembered on the way down. With a million prefixes a look-up touches the root table (in L2), mostly one node, one bucket
//! of one or two cache lines: `docs/adr/0002-prefix-trie.md` has the figures and what else was considered.
//!
//! **Numbers that end early.** Symbols behind the end of a number are zeros, and so is, in a table of radix 10, a symbol that is no
//! digit and all that follows it (no prefix below has one there). The answer for the number so filled up may be too long; the
//! prefixes that fit are then among its shorter ones, because all of them are prefixes of the filled-up number. So the reader goes up
//! from prefix to next shorter prefix until one is no longer than the number. That same chain serves routes
//! outside their time window.
//!
//! A damaged image may give wrong answers here but no panic and no endless loop: each step is bounded, each place is checked.

use rkyv::Archived;

use crate::routing::digits::Digits;
use crate::routing::layout::{PREFIX_MAX, Trie};

/// What a reference leads to; the upper three bits.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Kind {
    Leaf = 0,
    Bucket = 1,
    Skip = 2,
    Decimal1 = 3,
    Decimal2 = 4,
    Decimal3 = 5,
    Symbol1 = 6,
    Symbol2 = 7,
}

/// Bits of a reference that are its place.
pub const PLACE_BITS: u32 = 29;

/// Width of a bucket's keys, from its first word.
pub mod width {
    /// One word: 7 symbols.
    pub const NARROW: u32 = 0;
    /// Two words: 15 symbols.
    pub const MIDDLE: u32 = 1;
    /// Five words: 32 symbols and a length.
    pub const WIDE: u32 = 2;
}

/// More nodes than any path has: a path takes at least one symbol per node.
const STEPS_MAX: usize = 2 * PREFIX_MAX + 2;

impl Kind {
    /// The kind of a reference.
    #[inline]
    #[must_use]
    pub const fn of(reference: u32) -> Kind {
        match reference >> PLACE_BITS {
            0 => Kind::Leaf,
            1 => Kind::Bucket,
            2 => Kind::Skip,
            3 => Kind::Decimal1,
            4 => Kind::Decimal2,
            5 => Kind::Decimal3,
            6 => Kind::Symbol1,
            _ => Kind::Symbol2,
        }
    }

    /// A reference of this kind; `None` when the place does not fit.
    #[must_use]
    pub const fn at(self, place: usize) -> Option<u32> {
        if place >> PLACE_BITS != 0 { None } else { Some((self as u32) << PLACE_BITS | place as u32) }
    }
}

/// The place in a reference.
#[inline]
#[must_use]
pub const fn place_of(reference: u32) -> usize {
    (reference & ((1 << PLACE_BITS) - 1)) as usize
}

/// The number that is left to match, seen from the root of one group.
struct Walk {
    /// Symbols not yet walked, at the top.
    rest: u128,
    /// Symbols of the number.
    len: u32,
    /// Symbols walked.
    depth: u32,
}

impl Walk {
    #[inline]
    fn step(&mut self, count: u32) {
        self.rest = self.rest.checked_shl(4 * count).unwrap_or(0);
        self.depth += count;
    }

    /// Place in a table of radix 16, one step down.
    #[inline]
    fn symbols(&mut self, count: u32) -> usize {
        let place = (self.rest >> (128 - 4 * count)) as usize;
        self.step(count);
        place
    }

    /// Place in a table of radix 10, one step down. A symbol that is no digit ends the number.
    #[inline]
    fn digits(&mut self, count: u32) -> usize {
        let mut window = (self.rest >> (128 - 4 * count)) as u64;
        // A nibble is above 9 when its bit 3 is set and bit 2 or bit 1.
        let above_nine = window & (window << 1 | window << 2) & 0x8888_8888_8888_8888;
        if above_nine != 0 {
            self.end_before(count, above_nine);
            window = (self.rest >> (128 - 4 * count)) as u64;
        }
        let mut place = 0;
        for step in (0..count).rev() {
            place = place * 10 + (window >> (4 * step)) as usize % 16;
        }
        self.step(count);
        place
    }

    /// Ends the number before the first of the next `count` symbols that has its bit set in `above_nine`.
    #[cold]
    fn end_before(&mut self, count: u32, above_nine: u64) {
        let left = count - 1 - above_nine.ilog2() / 4;
        self.rest &= !u128::MAX.checked_shr(4 * left).unwrap_or(0);
        self.len = self.len.min(self.depth + left);
    }
}

/// The number of the longest prefix of `digits` in a group, `None` where there is none.
#[inline]
pub(super) fn find(trie: &Archived<Trie>, routing_group: u32, digits: Digits) -> Option<u32> {
    let groups = trie.groups.as_slice();
    let place = groups.binary_search_by_key(&routing_group, |group| group.routing_group.to_native()).ok()?;
    let group = groups.get(place)?;
    let mut walk = Walk { rest: digits.symbols(), len: u32::from(digits.len()), depth: 0 };
    let slots = trie.slots.as_slice();
    let mut reference = match group.root_digits.to_native() {
        0 => group.root.to_native(),
        count => slots.get((group.root.to_native() as usize).checked_add(walk.digits(count.min(9)))?)?.to_native(),
    };
    for _ in 0..STEPS_MAX {
        let place = place_of(reference);
        let step = match Kind::of(reference) {
            Kind::Leaf => return fitting(trie, place as u32, &walk),
            Kind::Bucket => {
                // With the number's end in the bucket, what fits may still be too long.
                let found = in_bucket(trie.words.as_slice(), place, walk.rest)?;
                walk.depth += found.1;
                return fitting(trie, found.0, &walk);
            }
            Kind::Skip => {
                let [pattern, covering, below] = trie.words.as_slice().get(place..place.checked_add(3)?)? else {
                    return None;
                };
                let (pattern, covering) = (pattern.to_native(), covering.to_native());
                let count = pattern & 15;
                if (pattern ^ (walk.rest >> 96) as u32).wrapping_shr(32u32.wrapping_sub(4 * count)) != 0 {
                    return fitting(trie, covering, &walk);
                }
                walk.step(count);
                reference = below.to_native();
                continue;
            }
            Kind::Decimal1 => walk.digits(1),
            Kind::Decimal2 => walk.digits(2),
            Kind::Decimal3 => walk.digits(3),
            Kind::Symbol1 => walk.symbols(1),
            Kind::Symbol2 => walk.symbols(2),
        };
        reference = slots.get(place + step)?.to_native();
    }
    None
}

/// The longest entry of a bucket that `rest` starts with, else what covers the bucket; and how many symbols of `rest` it takes.
#[inline]
fn in_bucket(words: &[Archived<u32>], place: usize, rest: u128) -> Option<(u32, u32)> {
    let [head, covering] = words.get(place..place.checked_add(2)?)? else { return None };
    let (head, mut found) = (head.to_native(), covering.to_native());
    let count = (head >> 8) as usize & 0xFFFF;
    let start = place + 2;
    let mut taken = 0;
    // Entries are sorted, so of those that fit the last is the longest.
    match head & 0xFF {
        width::NARROW => {
            let rest = (rest >> 96) as u32;
            for entry in words.get(start..start + 2 * count)?.chunks_exact(2) {
                let key = entry[0].to_native();
                let fits = (key ^ rest).wrapping_shr(32u32.wrapping_sub(4 * (key & 15))) == 0;
                (found, taken) = if fits { (entry[1].to_native(), key & 15) } else { (found, taken) };
            }
        }
        width::MIDDLE => {
            let rest = (rest >> 64) as u64;
            for entry in words.get(start..start + 3 * count)?.chunks_exact(3) {
                let key = u64::from(entry[0].to_native()) << 32 | u64::from(entry[1].to_native());
                let fits = (key ^ rest).wrapping_shr(64u32.wrapping_sub(4 * (key as u32 & 15))) == 0;
                (found, taken) = if fits { (entry[2].to_native(), key as u32 & 15) } else { (found, taken) };
            }
        }
        width::WIDE => {
            for entry in words.get(start..start + 6 * count)?.chunks_exact(6) {
                let key = entry[..4].iter().fold(0, |key, word| key << 32 | u128::from(word.to_native()));
                let fits = (key ^ rest).wrapping_shr(128u32.wrapping_sub(4 * (entry[4].to_native() & 63))) == 0;
                (found, taken) = if fits { (entry[5].to_native(), entry[4].to_native() & 63) } else { (found, taken) };
            }
        }
        _ => return None,
    }
    Some((found, taken))
}

/// The first prefix on the way up from `number` that is no longer than the walked number. What was found has at most as many
/// symbols as were walked: unless the number ended on the way, its length need not be read.
#[inline]
fn fitting(trie: &Archived<Trie>, number: u32, walk: &Walk) -> Option<u32> {
    if walk.depth <= walk.len { Some(number).filter(|number| *number != 0) } else { not_longer(trie, number, walk.len) }
}

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
