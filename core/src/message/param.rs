//! Parameters of header values: `*( SEMI name [ EQUAL value ] )` (RFC 3261 §25.1 `generic-param`).

use super::Span;
use super::scan::{BLANK, TOKEN, VALUE, byte, quoted, skip};

/// One parameter.
pub(super) struct Param {
    /// Its name.
    pub(super) name: Span,
    /// Its value, quotes included; `None` when there is no `=`.
    pub(super) value: Option<Span>,
}

impl Param {
    /// From the name to the value's end.
    #[inline]
    pub(super) fn whole(&self) -> Span {
        Span { start: self.name.start, end: self.value.unwrap_or(self.name).end }
    }

    /// Whether this is its name; `name` in lower case.
    #[inline]
    pub(super) fn is(&self, bytes: &[u8], name: &[u8]) -> bool {
        self.name.of(bytes).eq_ignore_ascii_case(name)
    }
}

/// Reads the parameter after the `;` that `at` is behind. `None`: neither name nor value where one must be, as in `;;`
/// (RFC 4475 §3.1.2.1).
#[inline]
pub(super) fn read(bytes: &[u8], at: usize) -> Option<Param> {
    let start = skip(bytes, at, BLANK);
    // The two that nearly every message has.
    let end = match bytes.get(start..)? {
        [b'b', b'r', b'a', b'n', b'c', b'h', b'=', ..] => start + 6,
        [b't', b'a', b'g', b'=', ..] => start + 3,
        _ => skip(bytes, start, TOKEN),
    };
    if start == end {
        return None;
    }
    let name = Span::new(start, end);
    let equal = skip(bytes, end, BLANK);
    if byte(bytes, equal) != b'=' {
        return Some(Param { name, value: None });
    }
    let start = skip(bytes, equal + 1, BLANK);
    let end = if byte(bytes, start) == b'"' { quoted(bytes, start)? } else { skip(bytes, start, VALUE) };
    (start < end).then(|| Param { name, value: Some(Span::new(start, end)) })
}
