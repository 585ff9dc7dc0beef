//! CSeq (RFC 3261 §20.16): a number below 2³¹ (§8.1.1.5), LWS, a method.

use super::scan::{TOKEN, blanks, digits, skip};
use super::{Method, Span};

/// CSeq (RFC 3261 §20.16).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct CSeq {
    /// The sequence number.
    pub number: u32,
    /// The method.
    pub method: Method,
    /// The method's name as it came.
    pub name: Span,
}

impl CSeq {
    /// Stands in a message until its CSeq is read.
    pub(super) const NONE: CSeq = CSeq { number: 0, method: Method::Other, name: Span { start: 0, end: 0 } };
}

/// Reads the value from `start` to `end`.
#[inline(always)]
pub(super) fn read(message: &[u8], start: usize, end: usize) -> Option<CSeq> {
    usual(message, start, end).or_else(|| any(&message[..end], start))
}

/// The form that nearly always comes: nine digits at most, one blank, a method that we know. `None` decides nothing. What is found is
/// what [`any`] finds.
#[inline(always)]
pub(super) fn usual(message: &[u8], start: usize, end: usize) -> Option<CSeq> {
    let value: &[u8; 18] = message.get(start..)?.first_chunk()?;
    let (mut number, mut digits) = (0u32, 0);
    while digits < 10 && value[digits].wrapping_sub(b'0') <= 9 {
        number = number.wrapping_mul(10).wrapping_add(u32::from(value[digits] & 0xF));
        digits += 1;
    }
    if digits.wrapping_sub(1) > 8 || value[digits] != b' ' {
        return None;
    }
    let name_start = start.wrapping_add(digits + 1);
    let method = Method::of_start(*value[digits + 1..].first_chunk()?, end.wrapping_sub(name_start));
    (method != Method::Other).then(|| CSeq { number, method, name: Span::new(name_start, end) })
}

/// Every form, to the end of `bytes`.
#[inline(never)]
pub(super) fn any(bytes: &[u8], start: usize) -> Option<CSeq> {
    let (number, digits_end) = digits(bytes, start)?;
    let name_start = blanks(bytes, digits_end);
    let end = skip(bytes, name_start, TOKEN);
    if number > i32::MAX as u32 || name_start == digits_end || name_start == end || end != bytes.len() {
        return None;
    }
    let name = Span::new(name_start, end);
    Some(CSeq { number, method: Method::parse(name.of(bytes)), name })
}
