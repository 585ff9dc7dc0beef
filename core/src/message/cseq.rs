//! CSeq (RFC 3261 §20.16): a number below 2³¹ (§8.1.1.5), LWS, a method.

use super::scan::{BLANK, TOKEN, byte, number, skip};
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

/// Reads the value from `start` to the end of `bytes`.
pub(super) fn read(bytes: &[u8], start: usize) -> Option<CSeq> {
    let mut digits = start;
    while byte(bytes, digits).is_ascii_digit() {
        digits += 1;
    }
    let number = number(&bytes[start..digits], i32::MAX as u32)?;
    let name_start = skip(bytes, digits, BLANK);
    let end = skip(bytes, name_start, TOKEN);
    if name_start == digits || name_start == end || end != bytes.len() {
        return None;
    }
    let name = Span::new(name_start, end);
    Some(CSeq { number, method: Method::parse(name.of(bytes)), name })
}
