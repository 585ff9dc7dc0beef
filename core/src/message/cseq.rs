//! CSeq (RFC 3261 §20.16): a number below 2³¹ (§8.1.1.5), LWS, a method.

use super::block::window;
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

/// Reads the value from `start` to `end` into `cseq`; false when it is none.
#[inline(always)]
pub(super) fn read(message: &[u8], start: usize, end: usize, cseq: &mut CSeq) -> bool {
    usual(message, start, end, cseq) || read_any(message, start, end, cseq)
}

#[cold]
#[inline(never)]
fn read_any(message: &[u8], start: usize, end: usize, cseq: &mut CSeq) -> bool {
    any(&message[..end], start).is_some_and(|found| {
        *cseq = found;
        true
    })
}

/// The form that nearly always comes: nine digits at most, one blank, a method that we know. False decides nothing, and leaves
/// anything in `cseq`. What is found is what [`any`] finds.
#[inline(always)]
pub(super) fn usual(message: &[u8], start: usize, end: usize, cseq: &mut CSeq) -> bool {
    let Some(value) = window::<18>(message, start) else { return false };
    let (mut number, mut digits) = (0u32, 0);
    while digits < 10 && value[digits].wrapping_sub(b'0') <= 9 {
        number = number.wrapping_mul(10).wrapping_add(u32::from(value[digits] & 0xF));
        digits += 1;
    }
    let Some(name) = value[digits..].first_chunk::<9>().and_then(|rest| rest.strip_prefix(b" ")) else { return false };
    let name_start = start.wrapping_add(digits + 1);
    let method = name.first_chunk().map_or(Method::Other, |name| Method::of_start(*name, end.wrapping_sub(name_start)));
    if method == Method::Other || digits.wrapping_sub(1) > 8 {
        return false;
    }
    *cseq = CSeq { number, method, name: Span::new(name_start, end) };
    true
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
