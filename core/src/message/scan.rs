//! Bytes and their classes: the letters of RFC 3261 §25.1, in one table.
//!
//! The readers of this module work on a slice that ends where the field's value ends, with offsets from the start of the
//! message. Inside a value CR and LF occur only in folds (the line scan saw to it), so that all four blanks are LWS there.

use super::Span;
use super::block::window;

/// `token` (§25.1).
pub(super) const TOKEN: u8 = 1;
/// LWS: space, tab, and the line end of a fold.
pub(super) const BLANK: u8 = 1 << 1;
/// `hostname` and `IPv4address`; `_` too, as names of hosts in the field have it.
pub(super) const HOST: u8 = 1 << 2;
/// A parameter's value outside quotes. More than `token` and `host`: everything that can be seen and that does not end it.
pub(super) const VALUE: u8 = 1 << 3;
/// `userinfo` of a SIP URI without escapes (§19.1.1 with the `;` and `?` of `user-unreserved`, and `:` before a password).
pub(super) const USER: u8 = 1 << 4;
/// `uri-parameters` without escapes.
pub(super) const PARAMETERS: u8 = 1 << 5;
/// `telephone-subscriber`: digits and visual separators, hexadecimal digits, `*`, `#`, `+` (RFC 3966 §3).
pub(super) const TELEPHONE: u8 = 1 << 6;
/// What stands between the brackets of an `IPv6reference`.
pub(super) const IPV6: u8 = 1 << 7;

static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let letter = byte as u8;
        let alphanumeric = letter.is_ascii_alphanumeric();
        let mut of = 0;
        if alphanumeric || has(b"-.!%*_+`'~", letter) {
            of |= TOKEN;
        }
        if has(b" \t\r\n", letter) {
            of |= BLANK;
        }
        if alphanumeric || has(b".-_", letter) {
            of |= HOST;
        }
        if letter.is_ascii_graphic() && !has(b"\";,<>?", letter) {
            of |= VALUE;
        }
        if alphanumeric || has(b"-_.!~*'()&=+$,;?/:", letter) {
            of |= USER;
        }
        if alphanumeric || has(b"-_.!~*'()[]/:&+$;=", letter) {
            of |= PARAMETERS;
        }
        if letter.is_ascii_hexdigit() || has(b"*#+-.()", letter) {
            of |= TELEPHONE;
        }
        if letter.is_ascii_hexdigit() || has(b":.", letter) {
            of |= IPV6;
        }
        class[byte] = of;
        byte += 1;
    }
    class
};

const fn has(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether a byte is of one of the classes.
#[inline]
pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// The first offset from `at` on whose byte is of none of the classes, or the end.
#[inline]
pub(super) fn skip(bytes: &[u8], mut at: usize, class: u8) -> usize {
    while at < bytes.len() && is(bytes[at], class) {
        at += 1;
    }
    at
}

/// One in every byte.
const ONES: u64 = u64::from_le_bytes([1; 8]);
/// The high bit of every byte.
const HIGH: u64 = ONES << 7;

/// Past blanks. Nearly always there is none or one, so it is asked without the table first.
#[inline]
pub(super) fn blanks(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] <= b' ' && is(bytes[at], BLANK) {
        at += 1;
    }
    at
}

/// A decimal number below 2³² at `at` and the offset behind it.
#[inline]
pub(super) fn digits(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let mut end = at;
    let mut number = 0u64;
    while end < bytes.len() {
        let digit = bytes[end].wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number * 10 + u64::from(digit);
        if number > u64::from(u32::MAX) {
            return None;
        }
        end += 1;
    }
    (end > at).then_some((number as u32, end))
}

/// A number of at most five digits and 65,535 at `at`, and the offset behind it. `None` decides nothing: it may have zeros in front.
#[inline(always)]
pub(super) fn short_number(bytes: &[u8], at: usize) -> Option<(u16, usize)> {
    // Four digits and no more, as ports mostly have: both halves of a word at once.
    if let Some(&[a, b, c, d, behind]) = window(bytes, at) {
        let digits = u32::from_le_bytes([a, b, c, d]) ^ 0x3030_3030;
        if (digits | digits.wrapping_add(0x0606_0606)) & 0xF0F0_F0F0 == 0 && behind.wrapping_sub(b'0') > 9 {
            return Some((four_digits(digits) as u16, at.wrapping_add(4)));
        }
    }
    let mut number = 0u32;
    let mut end = at;
    while let Some(byte) = bytes.get(end)
        && byte.wrapping_sub(b'0') <= 9
    {
        number = number.wrapping_mul(10).wrapping_add(u32::from(byte & 0xF));
        end += 1;
    }
    (end > at && end - at <= 5 && number <= 65535).then_some((number as u16, end))
}

/// `[ ":" port ]` without blanks, and the offset behind it.
#[inline(always)]
pub(super) fn port(bytes: &[u8], at: usize) -> Option<(Option<u16>, usize)> {
    if byte(bytes, at) != b':' {
        return Some((None, at));
    }
    short_number(bytes, at + 1).map(|(port, end)| (Some(port), end))
}

/// There is a CR that no LF follows.
#[cold]
#[inline(never)]
pub(super) fn lone_cr(bytes: &[u8]) -> bool {
    let Some((last, before)) = bytes.split_last() else { return false };
    let pairs = before.iter().zip(&bytes[1..]);
    pairs.fold(*last == b'\r', |seen, (byte, next)| seen | ((*byte == b'\r') & (*next != b'\n')))
}

/// Like [`skip`], and past `%` with two hexadecimal digits (RFC 3261 §19.1.2).
#[inline]
pub(super) fn skip_escaped(bytes: &[u8], mut at: usize, class: u8) -> usize {
    loop {
        at = skip(bytes, at, class);
        match bytes.get(at..) {
            Some([b'%', high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => at += 3,
            _ => return at,
        }
    }
}

/// The byte at `at`, or 0 at the end (no grammar here has a NUL in it).
#[inline]
pub(super) fn byte(bytes: &[u8], at: usize) -> u8 {
    match bytes.get(at) {
        Some(byte) => *byte,
        None => 0,
    }
}

/// Where the `quoted-string` whose opening quote is at `at` ends (after the closing quote); `None` when it does not (§25.1:
/// a backslash takes the special meaning off any byte behind it).
pub(super) fn quoted(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Every byte can be seen: 0x21 to 0x7E. Eight bytes at a step.
#[inline]
pub(super) fn visible(bytes: &[u8]) -> bool {
    // 0x7F − b keeps the high bit clear only up to 0x7F, b − 0x21 only from 0x21 on, 0x7F ^ b is zero for DEL.
    let hidden = |word: u64| {
        let delete = word ^ (0x7F * ONES);
        (word | word.wrapping_sub(0x21 * ONES) | delete.wrapping_sub(ONES)) & HIGH
    };
    let (words, tail) = bytes.as_chunks::<8>();
    let mut last = [b'x'; 8];
    last[..tail.len()].copy_from_slice(tail);
    words.iter().fold(hidden(u64::from_le_bytes(last)), |seen, word| seen | hidden(u64::from_le_bytes(*word))) == 0
}

/// A decimal number of digits only, at most `max`; leading zeros count for nothing.
#[inline]
pub(super) fn number(digits: &[u8], max: u32) -> Option<u32> {
    match self::digits(digits, 0) {
        Some((number, end)) if end == digits.len() && number <= max => Some(number),
        _ => None,
    }
}

/// [`number`] of a part of a message. Up to four digits, as nearly always, go as one word.
#[inline(always)]
pub(super) fn number_in(message: &[u8], value: Span, max: u32) -> Option<u32> {
    // Behind every value there is a line end and before it a name, so that there are four bytes before its end.
    if let Some(&word) = window::<4>(message, value.last().wrapping_sub(4))
        && value.len().wrapping_sub(1) <= 3
    {
        // The bytes in front of the value become zeros, as leading digits that count for nothing.
        let digits = (u32::from_le_bytes(word) ^ 0x3030_3030) & (u32::MAX << (32 - 8 * value.len() as u32));
        if (digits | digits.wrapping_add(0x0606_0606)) & 0xF0F0_F0F0 == 0 {
            let number = four_digits(digits);
            return (number <= max).then_some(number);
        }
    }
    number(value.of(message), max)
}

/// The number of four decimal digits, one in each byte, the first one lowest.
#[inline(always)]
fn four_digits(digits: u32) -> u32 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00FF_00FF;
    (pairs & 0xFF).wrapping_mul(100).wrapping_add(pairs >> 16)
}

/// `hostport` or `sent-by`: the host's end, the port, and the end of both; `loose` allows LWS around the colon
/// (`COLON` of `sent-by`, which a URI does not have).
#[inline]
pub(super) fn host_port(bytes: &[u8], at: usize, loose: bool) -> Option<(usize, Option<u16>, usize)> {
    let host_end = if byte(bytes, at) == b'[' {
        // RFC 5118 §4.10: old grammar lets `[2001:db8:::192.0.2.1]` through, and it is to be tolerated. What the bytes mean
        // is looked at by who needs an address.
        let end = skip(bytes, at + 1, IPV6);
        if end == at + 1 || byte(bytes, end) != b']' {
            return None;
        }
        end + 1
    } else {
        skip(bytes, at, HOST)
    };
    if host_end == at {
        return None;
    }
    let colon = if loose { blanks(bytes, host_end) } else { host_end };
    if byte(bytes, colon) != b':' {
        return Some((host_end, None, host_end));
    }
    let start = if loose { blanks(bytes, colon + 1) } else { colon + 1 };
    let (port, end) = digits(bytes, start)?;
    Some((host_end, Some(u16::try_from(port).ok()?), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_is_exactly_0x21_to_0x7e_at_every_place() {
        for length in 1..20 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = [b'a'; 20];
                    bytes[place] = byte;
                    assert_eq!(visible(&bytes[..length]), byte.is_ascii_graphic(), "{byte} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_digits_within_their_bound() {
        for (digits, max, expected) in [
            (&b"0"[..], 255, Some(0)),
            (b"0068", 255, Some(68)),
            (b"256", 255, None),
            (b"4294967295", u32::MAX, Some(u32::MAX)),
            (b"4294967296", u32::MAX, None),
            (b"", 9, None),
            (b"-1", 9, None),
            (b"+1", 9, None),
            (b"1 ", 9, None),
        ] {
            assert_eq!(number(digits, max), expected, "{digits:?}");
        }
    }

    /// RFC 3261 §25.1: `quoted-pair`.
    #[test]
    fn a_quoted_string_ends_at_its_own_quote() {
        for (text, expected) in [
            (&b"\"a\"b"[..], Some(3)),
            (b"\"\"", Some(2)),
            (b"\"a\\\"b\"", Some(6)),
            (b"\"a\\\\\"", Some(5)),
            (b"\"a", None),
            (b"\"a\\\"", None),
            (b"\"a\\", None),
        ] {
            assert_eq!(quoted(text, 0), expected, "{}", text.escape_ascii());
        }
    }

    /// RFC 3261 §19.1.2: `%` HEXDIG HEXDIG.
    #[test]
    fn escapes_have_two_digits() {
        for (text, end) in [(&b"a%41b"[..], 5), (b"a%4", 1), (b"a%4g", 1), (b"%00%ff@", 6)] {
            assert_eq!(skip_escaped(text, 0, USER), end, "{}", text.escape_ascii());
        }
    }
}
