//! A dialled number as the trie reads it: nibbles.
//!
//! The alphabet is the sixteen keys of a telephone, coded as RFC 4733 §3.2 codes them: `0`–`9` are 0–9, `*` 10, `#` 11, `A`–`D`
//! (either case) 12–15. The first symbol is in the highest nibble, and nibbles behind the last are zero, so that integer order is
//! the order of prefixes. Every other byte ends the number: `alice` is the empty number, which only a default route matches.

use crate::routing::layout::PREFIX_MAX;

/// Up to 32 symbols.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Digits {
    symbols: u128,
    len: u8,
}

const NONE: u8 = 0xFF;
const CODES: [u8; 256] = {
    let mut codes = [NONE; 256];
    let alphabet = b"0123456789*#ABCD";
    let mut code = 0;
    while code < alphabet.len() {
        codes[alphabet[code] as usize] = code as u8;
        codes[alphabet[code].to_ascii_lowercase() as usize] = code as u8;
        code += 1;
    }
    codes
};

impl Digits {
    /// The symbols at the start of `number`; what comes behind the 32nd is not looked at.
    #[inline]
    #[must_use]
    pub fn leading(number: &[u8]) -> Digits {
        // Two halves of 64 bits: numbers rarely reach the second.
        let (high, high_len) = half(number);
        let (low, low_len) = if high_len == 16 { half(&number[16..]) } else { (0, 0) };
        Digits { symbols: u128::from(high) << 64 | u128::from(low), len: (high_len + low_len) as u8 }
    }

    /// A whole prefix.
    ///
    /// # Errors
    /// The place of the first byte outside the alphabet, or 32 when the prefix is longer.
    pub fn parse(prefix: &[u8]) -> Result<Digits, usize> {
        let digits = Digits::leading(prefix);
        if usize::from(digits.len) == prefix.len() { Ok(digits) } else { Err(usize::from(digits.len)) }
    }

    /// All nibbles, the first symbol highest, zeros behind the last.
    #[must_use]
    pub const fn symbols(self) -> u128 {
        self.symbols
    }

    /// How many symbols.
    #[must_use]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Whether `number` starts with this.
    #[must_use]
    pub fn starts(self, number: Digits) -> bool {
        let unused = 4 * (PREFIX_MAX as u32 - u32::from(self.len));
        self.len <= number.len && (self.symbols ^ number.symbols).checked_shr(unused).unwrap_or(0) == 0
    }
}

/// Up to sixteen symbols, the first in the highest nibble, and how many.
#[inline]
fn half(number: &[u8]) -> (u64, u32) {
    let number = number.get(..16).unwrap_or(number);
    // Eight digits or more, as nearly always: what is behind the first eight ends the last eight.
    let decimal = number.first_chunk().zip(number.last_chunk()).and_then(|(first, last)| {
        let spare = 8 * (16 - number.len() as u32);
        let zeros = ZEROS.checked_shr(64 - spare).unwrap_or(0);
        let rest = u64::from_be_bytes(*last).checked_shl(spare).unwrap_or(0) | zeros;
        Some(u64::from(eight(u64::from_be_bytes(*first))?) << 32 | u64::from(eight(rest)?))
    });
    decimal.map_or_else(|| one_by_one(number), |symbols| (symbols, number.len() as u32))
}

/// One in every byte.
const ONES: u64 = u64::from_le_bytes([1; 8]);
/// The digit 0 in every byte.
const ZEROS: u64 = 0x30 * ONES;

/// Whether each of eight bytes is a decimal digit.
#[inline]
pub(crate) const fn are_digits(text: u64) -> bool {
    // `0` to `9` are 0x30 to 0x39: the upper nibble must be 3, and the lower one must not carry when 6 is added.
    text & (0xF0 * ONES) == ZEROS && ((text & (0x0F * ONES)) + 6 * ONES) & (0x10 * ONES) == 0
}

/// Eight bytes that are all decimal digits, the first one highest, as nibbles; most numbers are nothing else.
#[inline]
fn eight(text: u64) -> Option<u32> {
    if !are_digits(text) {
        return None;
    }
    let low = text & (0x0F * ONES);
    let pairs = (low | low >> 4) & 0x00FF_00FF_00FF_00FF;
    let quads = (pairs | pairs >> 8) & 0x0000_FFFF_0000_FFFF;
    Some((quads | quads >> 16) as u32)
}

fn one_by_one(number: &[u8]) -> (u64, u32) {
    let (mut symbols, mut len) = (0u64, 0u32);
    for byte in number {
        let code = CODES[usize::from(*byte)];
        if code == NONE {
            break;
        }
        symbols = symbols << 4 | u64::from(code);
        len += 1;
    }
    (symbols.checked_shl(64 - 4 * len).unwrap_or(0), len)
}

impl core::fmt::Display for Digits {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for place in 0..u32::from(self.len) {
            let code = (self.symbols >> (124 - 4 * place)) as usize & 15;
            out.write_str(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#", "A", "B", "C", "D"][code])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::Digits;

    #[test]
    fn reads_the_alphabet_and_stops_at_anything_else() {
        assert_eq!(format!("{}", Digits::leading(b"0123456789*#abcdABCD+1")), "0123456789*#ABCDABCD");
        assert_eq!(Digits::leading(b"alice"), Digits::leading(b"a"));
        assert!(Digits::leading(b"+44").is_empty());
        assert!(Digits::leading(b"").is_empty());
        assert_eq!(Digits::leading(&[b'7'; 40]).len(), 32);
        assert_eq!(Digits::parse(b"44x"), Err(2));
        assert_eq!(Digits::parse(&[b'1'; 33]), Err(32));
    }

    #[test]
    fn zeros_at_the_end_count() {
        let (short, long) = (Digits::leading(b"40"), Digits::leading(b"4000"));
        assert!(short < long && short.starts(long) && !long.starts(short));
        assert!(Digits::default().starts(short) && !Digits::leading(b"41").starts(short));
    }
}
