//! From, To, Contact, Route, Record-Route: `( name-addr / addr-spec ) *( SEMI param )` (RFC 3261 §20.10, §25.1).
//!
//! ```text
//! "Display \" name" <sip:user;x@host;p?h=v> ;tag=abc      name-addr: the URI is what stands in the brackets
//! sip:user@host ;tag=abc                                  addr-spec: the URI ends at the first `;` (§20)
//! ```
//!
//! Tolerated: UTF-8 in a display name without quotes (§25.1 wants them; a call is not worth losing over `Jörg`).
//!
//! Refused: blanks, commas or `?` in a URI without brackets (§20: it has to have them), blanks inside the brackets, a display
//! name of other bytes than tokens without quotes, an open quote, an empty parameter, `tag` twice. What the URI itself says is
//! read by [`parse_uri`](super::Message::parse_uri) where somebody needs it.

use super::block::{skip_bracketed, skip_quoted, skip_value, window};
use super::scan::{BLANK, TOKEN, VALUE, blanks, byte, quoted, skip, visible};
use super::{Span, param};

/// From, To, Contact, Route, Record-Route values: `name-addr / addr-spec` with parameters.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct NameAddr {
    /// The whole value.
    pub value: Span,
    /// The URI, without angle brackets.
    pub uri: Span,
    /// The `tag` parameter's value (header parameters only, never a URI's).
    pub tag: Option<Span>,
}

impl NameAddr {
    /// Stands in a message until its field is read.
    pub(super) const NONE: NameAddr =
        NameAddr { value: Span { start: 0, end: 0 }, uri: Span { start: 0, end: 0 }, tag: None };
}

/// Reads the value from `start` to `end` into `address`; false when it is none.
#[inline(always)]
pub(super) fn read(message: &[u8], start: usize, end: usize, address: &mut NameAddr) -> bool {
    usual(message, start, end, address) || read_any(message, start, end, address)
}

#[cold]
#[inline(never)]
fn read_any(message: &[u8], start: usize, end: usize, address: &mut NameAddr) -> bool {
    any(&message[..end], start).is_some_and(|found| {
        *address = found;
        true
    })
}

/// The form that nearly always comes: a `sip:` URI in brackets, a display name in quotes before it or none, `tag` or nothing
/// behind it. False decides nothing, and leaves anything in `address`. What is found is what [`any`] finds.
#[inline(always)]
pub(super) fn usual(message: &[u8], start: usize, end: usize, address: &mut NameAddr) -> bool {
    usual_parts(message, start, end, address).is_some()
}

#[inline(always)]
fn usual_parts(message: &[u8], start: usize, end: usize, address: &mut NameAddr) -> Option<()> {
    let mut open = start;
    let mut head: &[u8; 5] = window(message, open)?;
    if head[0] == b'"' {
        let close = skip_quoted(message, start.wrapping_add(1));
        let [b'"', behind] = *window(message, close)? else { return None };
        open = close.wrapping_add(if behind == b' ' { 2 } else { 1 });
        head = window(message, open)?;
    }
    let uri_start = open.wrapping_add(5);
    let uri_end = skip_bracketed(message, uri_start);
    // Four bytes and one, since no five are compared at once.
    let [bracket, scheme @ ..] = head;
    if *bracket != b'<' || scheme != b"sip:" || uri_end == uri_start || uri_end >= end {
        return None;
    }
    address.value = Span::new(start, end);
    address.uri = Span::new(open.wrapping_add(1), uri_end);
    let at = uri_end.wrapping_add(1);
    // `>` and what is behind it. A value that ends with it has its line end there.
    let [close, semicolon, name @ ..]: &[u8; 6] = window(message, uri_end)?;
    if *close != b'>' {
        return None;
    }
    if at == end {
        address.tag = None;
        return Some(());
    }
    let tag_start = at.wrapping_add(5);
    let tag_end = skip_value(message, tag_start);
    if *semicolon != b';' || name != b"tag=" || tag_end == tag_start || tag_end != end {
        return None;
    }
    address.tag = Some(Span::new(tag_start, end));
    Some(())
}

/// Every form, to the end of `bytes`.
#[inline(never)]
pub(super) fn any(bytes: &[u8], start: usize) -> Option<NameAddr> {
    let (uri, mut end) = address(bytes, start)?;
    let mut tag = None;
    loop {
        let at = blanks(bytes, end);
        match bytes.get(at) {
            Some(b';') => {
                let param = param::read(bytes, at + 1)?;
                end = param.whole().last();
                if param.name.len() == 3 && param.is(bytes, b"tag") && tag.replace(param.value?).is_some() {
                    return None;
                }
            }
            None => return Some(NameAddr { value: Span::new(start, end), uri, tag }),
            Some(_) => return None,
        }
    }
}

/// The URI and where the address part ends.
#[inline]
fn address(bytes: &[u8], start: usize) -> Option<(Span, usize)> {
    let open = match byte(bytes, start) {
        b'<' => start,
        b'"' => blanks(bytes, quoted(bytes, start)?),
        _ => {
            // A display name is tokens with LWS between them; the scheme of a bare URI is a token before a colon.
            let mut end = skip(bytes, start, TOKEN | BLANK);
            while byte(bytes, end) >= 0x80 {
                end = skip(bytes, end + 1, TOKEN | BLANK);
            }
            if byte(bytes, end) == b':' {
                return bare(bytes, start, end);
            }
            end
        }
    };
    if byte(bytes, open) != b'<' {
        return None;
    }
    let close = open + memchr::memchr(b'>', &bytes[open..])?;
    let uri = Span::new(open + 1, close);
    has_scheme(uri.of(bytes)).then_some((uri, close + 1))
}

/// `addr-spec` without brackets: `;` begins the header's parameters, `,` and `?` cannot be (RFC 3261 §20).
#[inline]
fn bare(bytes: &[u8], start: usize, colon: usize) -> Option<(Span, usize)> {
    let end = skip(bytes, colon, VALUE);
    let uri = Span::new(start, end);
    has_scheme(uri.of(bytes)).then_some((uri, end))
}

/// Looks like a URI: a scheme, something behind it, nothing that cannot be seen. Bytes over 0x7E are not visible: a URI has
/// them escaped (RFC 3261 §19.1.2).
#[inline]
fn has_scheme(uri: &[u8]) -> bool {
    if uri.starts_with(b"sip:") {
        return uri.len() > 4 && visible(uri);
    }
    let letters =
        uri.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')).count();
    uri.first().is_some_and(u8::is_ascii_alphabetic)
        && uri.get(letters) == Some(&b':')
        && uri.len() > letters + 1
        && visible(uri)
}
