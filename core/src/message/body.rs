//! The SDP in a message's body: found, replaced, or taken out (RFC 3261 §7.4, RFC 2046 §5.1, RFC 5621).
//!
//! ```text
//!   Content-Type: application/sdp                          Content-Type: multipart/mixed;boundary=b
//!   ┌───────────────────────────┐                          --b
//!   │ v=0 …                     │  ◄── the span            Content-Type: application/isup … (stays byte for byte)
//!   └───────────────────────────┘                          --b
//!                                                          Content-Type: application/sdp
//!                                                          ┌─────────────┐
//!                                                          │ v=0 …       │  ◄── the span
//!                                                          └─────────────┘
//!                                                          --b--
//! ```
//!
//! What cannot be read for sure is [`Body::Unreadable`], never "no SDP": an encoded body, a Content-Type that is none or is there twice, a
//! multipart without boundary or with too many or too deeply nested parts, what looks like a description before its first part or behind its
//! last, two descriptions in one message. A body, or a part, without a Content-Type counts as SDP when it begins like one.

use super::write::{Writer, write_body};
use super::{Field, Message, Name, Span};
use crate::limits::{BODY_DEPTH_MAX, BODY_PARTS_MAX};

/// What a message has for a session description.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// None; there may be a body of another kind.
    None,
    /// One, here.
    Sdp(Span),
    /// There may be one, but not where it can be read for sure.
    Unreadable,
}

/// Finds the session description of a message.
#[must_use]
pub fn find_sdp(message: &Message<'_>) -> Body {
    let body = message.body;
    if body.is_empty() {
        return Body::None;
    }
    // Nobody can tell which one the other side goes by.
    if message.is_repeated(Name::ContentType) {
        return Body::Unreadable;
    }
    let kind = match message.first(Name::ContentType) {
        Some(field) => message.text(field.value),
        // RFC 3261 §20.15 wants a Content-Type. Without one the other side may still take this for a description.
        None if looks_like_sdp(message.text(body)) => SDP,
        None => return Body::None,
    };
    let encoded = message.fields().iter().any(|field| is_encoding(message, field));
    let mut search = Search { bytes: message.bytes(), found: Body::None, parts: 0 };
    search.look(kind, encoded, body, 0);
    search.found
}

/// Whether a field says that the body is encoded.
fn is_encoding(message: &Message<'_>, field: &Field) -> bool {
    let line = message.text(field.line);
    field.name == Name::Other
        && (has_name(line, b"content-encoding") || has_name(line, b"e"))
        && !message.text(field.value).eq_ignore_ascii_case(b"identity")
}

/// Whether a header line has this name.
fn has_name(line: &[u8], name: &[u8]) -> bool {
    line.split_at_checked(name.len())
        .is_some_and(|(start, rest)| start.eq_ignore_ascii_case(name) && rest.trim_ascii_start().starts_with(b":"))
}

/// The media type of a description.
const SDP: &[u8] = b"application/sdp";

/// Whether a body begins as a description does (RFC 8866 §5.1).
fn looks_like_sdp(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    body.starts_with(b"v=") || body.starts_with(b"V=")
}

/// Type and subtype of a media type (RFC 3261 §25.1: blanks and folds may stand around the slash); `None` where it is not one.
fn essence(kind: &[u8]) -> Option<(&[u8], &[u8])> {
    let essence = kind.split(|byte| *byte == b';').next()?;
    let slash = memchr::memchr(b'/', essence)?;
    let (kind, subtype) = (essence[..slash].trim_ascii(), essence[slash + 1..].trim_ascii());
    let is_token = |text: &[u8]| {
        let outside = |byte: &u8| !byte.is_ascii_graphic() || b"()<>@,;:\\\"/[]?=".contains(byte);
        !text.is_empty() && !text.iter().any(outside)
    };
    (is_token(kind) && is_token(subtype)).then_some((kind, subtype))
}

struct Search<'a> {
    bytes: &'a [u8],
    found: Body,
    /// Parts met so far, at all depths.
    parts: usize,
}

impl<'a> Search<'a> {
    /// Looks at a body, or a part, of this media type.
    fn look(&mut self, kind: &'a [u8], encoded: bool, body: Span, depth: usize) {
        let Some((kind_of, subtype)) = essence(kind) else {
            self.found = Body::Unreadable;
            return;
        };
        let is_multipart = kind_of.eq_ignore_ascii_case(b"multipart");
        if kind_of.eq_ignore_ascii_case(b"application") && subtype.eq_ignore_ascii_case(b"sdp") {
            // Two of them are alternatives that no relay can be asked for.
            let again = self.found != Body::None;
            self.found = if encoded || again { Body::Unreadable } else { Body::Sdp(body) };
        } else if is_multipart {
            match boundary(kind).filter(|_| !encoded && depth < BODY_DEPTH_MAX) {
                Some(boundary) => self.parts_of(boundary, body, depth),
                None => self.found = Body::Unreadable,
            }
        }
    }

    /// The parts of a multipart (RFC 2046 §5.1.1).
    fn parts_of(&mut self, boundary: &[u8], body: Span, depth: usize) {
        let mut at = self.delimiter(boundary, body.first(), body.last());
        // What is called a multipart and has no part may be anything. Of a description before the first part nobody knows who reads it.
        if at.is_none_or(|(end, _)| self.has_sdp_line(body.first(), end)) {
            self.found = Body::Unreadable;
        }
        while let Some((_, start)) = at.filter(|_| self.found != Body::Unreadable) {
            if self.bytes[..start].ends_with(b"--") {
                // The closing delimiter, unless it is a line of the part to a stricter reader; and nobody knows who reads behind it.
                if !self.is_blank_to_line_end(start, body.last()) || self.has_sdp_line(start, body.last()) {
                    self.found = Body::Unreadable;
                }
                return;
            }
            let next = self.delimiter(boundary, start, body.last());
            let Some((end, _)) = next else {
                // A part without an end.
                if start < body.last() {
                    self.part(start, body.last(), depth);
                }
                return;
            };
            self.parts += 1;
            if self.parts > BODY_PARTS_MAX {
                self.found = Body::Unreadable;
                return;
            }
            self.part(start, end, depth);
            at = next;
        }
    }

    /// One part: its header lines, an empty line, its body.
    fn part(&mut self, start: usize, end: usize, depth: usize) {
        let mut at = start;
        let (mut kind, mut encoded) = (None, false);
        while at < end {
            let line_end = self.end_of_field(at, end);
            let line = self.bytes[at..line_end].trim_ascii_end();
            let ends = matches!(&self.bytes[at..line_end], b"\r\n" | b"\n");
            at = line_end;
            if ends {
                break;
            }
            // Blanks alone are the end of the header to one reader and a fold to another, a CR alone ends a line for some, and what is no
            // field may be the body already.
            let stray = |window: &[u8]| window[0] == b'\r' && window[1] != b'\n';
            if line.windows(2).any(stray) || !line.contains(&b':') {
                self.found = Body::Unreadable;
                return;
            }
            let value = || line.splitn(2, |byte| *byte == b':').nth(1).unwrap_or_default().trim_ascii();
            if has_name(line, b"content-type") || has_name(line, b"c") {
                if kind.replace(value()).is_some() {
                    self.found = Body::Unreadable;
                    return;
                }
            } else if has_name(line, b"content-encoding") || has_name(line, b"e") {
                encoded |= !value().eq_ignore_ascii_case(b"identity");
            } else if has_name(line, b"content-transfer-encoding") {
                let plain = [&b"binary"[..], b"8bit", b"7bit"].iter().any(|plain| value().eq_ignore_ascii_case(plain));
                encoded |= !plain;
            }
        }
        let body = Span::new(at, end);
        let untyped = || if looks_like_sdp(body.of(self.bytes)) { SDP } else { b"text/plain" };
        self.look(kind.unwrap_or_else(untyped), encoded, body, depth + 1);
    }

    /// Where a header field ends that starts here: behind its line and those that go on with it (RFC 5322 §2.2.3).
    fn end_of_field(&self, start: usize, end: usize) -> usize {
        let mut at = start;
        loop {
            at = memchr::memchr(b'\n', &self.bytes[at..end]).map_or(end, |found| at + found + 1);
            // The empty line is none that could go on.
            let empty = matches!(&self.bytes[start..at], b"\r\n" | b"\n");
            if empty || at >= end || !matches!(self.bytes[at], b' ' | b'\t') {
                return at;
            }
        }
    }

    /// Whether a line in there begins as a description does.
    fn has_sdp_line(&self, start: usize, end: usize) -> bool {
        self.bytes[start..end].split(|byte| matches!(byte, b'\n' | b'\r')).any(looks_like_sdp)
    }

    /// Whether nothing but blanks stands between here and the end of the line.
    fn is_blank_to_line_end(&self, start: usize, end: usize) -> bool {
        self.bytes[start..end].split(|byte| *byte == b'\n').next().is_none_or(|line| line.trim_ascii().is_empty())
    }

    /// The next delimiter line from `from` on: where the part before it ends, and where the one behind it starts (for the closing
    /// delimiter: behind its two dashes).
    fn delimiter(&self, boundary: &[u8], from: usize, end: usize) -> Option<(usize, usize)> {
        let mut at = from;
        loop {
            let line = &self.bytes[at..end];
            if let Some(rest) = line.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary)) {
                let behind = end - rest.len();
                let tail = memchr::memchr(b'\n', rest).map_or(rest, |found| &rest[..=found]);
                if tail.starts_with(b"--") {
                    return Some((line_end_before(self.bytes, from, at), behind + 2));
                }
                if tail.trim_ascii().is_empty() && tail.ends_with(b"\n") {
                    return Some((line_end_before(self.bytes, from, at), behind + tail.len()));
                }
            }
            at += memchr::memchr(b'\n', line)? + 1;
        }
    }
}

/// The line end before a delimiter belongs to the delimiter.
fn line_end_before(bytes: &[u8], from: usize, at: usize) -> usize {
    let line = &bytes[from..at];
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    from + line.strip_suffix(b"\r").unwrap_or(line).len()
}

/// The `boundary` of a media type, without its quotes. One with an escape in it is none: nobody writes that.
fn boundary(kind: &[u8]) -> Option<&[u8]> {
    let (mut rest, mut found) = (kind, None);
    while let Some(next) = end_of_parameter(rest).filter(|next| *next < rest.len()) {
        rest = &rest[next + 1..];
        let parameter = rest[..end_of_parameter(rest)?].trim_ascii();
        let Some((name, value)) = parameter.split_at_checked(8) else { continue };
        if !name.eq_ignore_ascii_case(b"boundary") {
            continue;
        }
        // Two of them, or one in another notation (RFC 2231), are read by each in his own way.
        let value = value.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
        let text = match value.strip_prefix(b"\"") {
            Some(quoted) => quoted.strip_suffix(b"\"")?,
            None => value,
        };
        // RFC 2046 §5.1.1: 1 to 70 characters, the last one no blank.
        let usable = matches!(text.len(), 1..=70)
            && !text.iter().any(|byte| matches!(byte, b'"' | b'\\') || byte.is_ascii_control())
            && !text.ends_with(b" ")
            && (value.len() != text.len() || !text.contains(&b' '));
        if !usable || found.replace(text).is_some() {
            return None;
        }
    }
    found
}

/// Where a parameter ends: at the next semicolon outside quotes. `None` where a quote does not end.
fn end_of_parameter(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (place, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => return Some(place),
            _ => {}
        }
    }
    (!quoted).then_some(text.len())
}

/// Writes the message once more with another description in the place of its own, and the Content-Length that this makes.
///
/// # Panics
/// When `sdp` is no span of the message's body: our bug.
pub fn write_with_sdp(message: &Message<'_>, sdp: Span, new: &[u8], out: &mut Writer<'_>) {
    let body = message.body;
    assert!(body.start <= sdp.start && sdp.end <= body.end, "a description is part of the body");
    let length = body.len() - sdp.len() + new.len();
    write_body(message, length, Some((sdp, new)), out);
}

/// Writes the message once more without its body and the header fields that describe it (RFC 3261 §20.11 to §20.15).
pub fn write_without_body(message: &Message<'_>, out: &mut Writer<'_>) {
    write_body(message, 0, None, out);
}

/// Whether a field describes the body, its length apart.
pub(super) fn describes_body(message: &Message<'_>, field: &Field) -> bool {
    let line = message.text(field.line);
    match field.name {
        Name::ContentType => true,
        Name::Other => {
            line.split_at_checked(8).is_some_and(|(start, _)| start.eq_ignore_ascii_case(b"content-"))
                || has_name(line, b"e")
                || has_name(line, b"mime-version")
        }
        _ => false,
    }
}

/// Where the body is.
pub(super) const fn body_of(message: &Message<'_>) -> Span {
    message.body
}

#[cfg(test)]
mod tests;
