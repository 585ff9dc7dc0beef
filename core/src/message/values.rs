//! Values of a header: several on a line, several lines (RFC 3261 §7.3.1).
//!
//! A comma between values is one outside quotes and angle brackets. Elements without a byte are passed over.

use core::slice;

use super::block::contains;
use super::scan::{BLANK, blanks, is, quoted};
use super::{Field, Name, Span};

/// Iterates over the comma-separated values of a header. Made by [`Message::values`](super::Message::values).
#[derive(Clone)]
pub struct Values<'m> {
    bytes: &'m [u8],
    /// Fields not yet entered.
    fields: slice::Iter<'m, Field>,
    name: Name,
    /// Where the next element of the field entered last starts, and where that field's value ends.
    at: usize,
    end: usize,
}

impl<'m> Values<'m> {
    /// The values of every field of this name.
    pub(super) fn new(bytes: &'m [u8], fields: &'m [Field], name: Name) -> Values<'m> {
        Values { bytes, fields: fields.iter(), name, at: 0, end: 0 }
    }

    /// The values of a part of one field.
    pub(super) fn within(bytes: &'m [u8], part: Span) -> Values<'m> {
        Values { bytes, fields: [].iter(), name: Name::Other, at: part.first(), end: part.last() }
    }
}

impl Iterator for Values<'_> {
    type Item = Span;

    #[inline]
    fn next(&mut self) -> Option<Span> {
        loop {
            if self.at < self.end {
                let (element, next) = element(&self.bytes[..self.end], self.at);
                self.at = next;
                if !element.is_empty() {
                    return Some(element);
                }
            } else {
                let name = self.name;
                let field = self.fields.find(|field| field.name == name)?;
                if is_single(self.bytes, field.value) {
                    return Some(field.value);
                }
                self.at = field.value.first();
                self.end = field.value.last();
            }
        }
    }
}

/// A field's value is one element, as nearly always: the whole of it, which has no blanks around it.
#[inline]
pub(super) fn is_single(bytes: &[u8], value: Span) -> bool {
    !value.is_empty() && !contains(bytes, value.first(), value.last(), b',')
}

/// The element at `at` without blanks around it, and the offset after the comma behind it (or after the end).
#[inline(never)]
fn element(bytes: &[u8], at: usize) -> (Span, usize) {
    let start = blanks(bytes, at);
    let mut at = start;
    let comma = loop {
        let Some(found) = memchr::memchr3(b',', b'"', b'<', &bytes[at..]) else {
            break bytes.len();
        };
        at += found;
        // An open quote or bracket takes the rest of the line: no comma behind it can be trusted.
        at = match bytes[at] {
            b',' => break at,
            b'"' => quoted(bytes, at).unwrap_or(bytes.len()),
            _ => memchr::memchr(b'>', &bytes[at..]).map_or(bytes.len(), |close| at + close + 1),
        };
    };
    let mut end = comma;
    while end > start && is(bytes[end - 1], BLANK) {
        end -= 1;
    }
    (Span::new(start, end), comma + 1)
}
