//! URIs (RFC 3261 §19.1, §25.1; RFC 3966 for tel; RFC 3986 for what else there may be).
//!
//! ```text
//! sip:user;phone-context=x:password@host:port;params?headers
//!     └────── user ──────┘          └───┘ └┘ └─────┘└──────┘
//! tel:+1-201-555-0123;phone-context=example.com
//!     └──── user ───┘└──────── params ────────┘
//! ```
//!
//! A SIP URI has one `@` at most outside escapes, so what stands before it is the user part, whatever `;`, `?` or `/` it
//! has in it (§19.1.1 `user-unreserved`). Escapes stay escaped: a proxy compares and forwards them as they are (§19.1.2).
//!
//! Refused: bytes that the grammar wants escaped, `%` without two hexadecimal digits, an empty user before `@`, a port over
//! 65535, a tel: number without a digit. An IPv6 reference is only looked at byte by byte (RFC 5118 §4.10).

use super::Span;
use super::block::{skip_parameters, skip_plain, skip_user, window};
use super::scan::{PARAMETERS, TELEPHONE, USER, byte, host_port, port, skip, skip_escaped, visible};

/// Scheme of a URI.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    Other,
}

/// A URI (RFC 3261 §25.1, RFC 3966 for tel).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Uri {
    /// The scheme.
    pub scheme: Scheme,
    /// The user part without password, still escaped; for tel: the number without parameters.
    pub user: Option<Span>,
    /// The host; an IPv6 reference with its brackets. Empty for tel and for schemes that we do not know.
    pub host: Span,
    /// The port.
    pub port: Option<u16>,
    /// Parameters from the first `;` to before `?` or the end; empty when none.
    pub params: Span,
    /// Headers from `?` to the end; empty when none.
    pub headers: Span,
}

impl Uri {
    /// Stands in a message until its Request-URI is read.
    pub(super) const NONE: Uri = Uri {
        scheme: Scheme::Other,
        user: None,
        host: Span { start: 0, end: 0 },
        port: None,
        params: Span { start: 0, end: 0 },
        headers: Span { start: 0, end: 0 },
    };

    /// A parameter by name (any case): `None` not there, `Some(None)` there without a value. `message` holds the URI.
    #[must_use]
    pub fn param<'m>(&self, message: &'m [u8], name: &[u8]) -> Option<Option<&'m [u8]>> {
        // Nothing in here can hold a `;` or `=` of its own: both would be escaped.
        self.params.of(message).split(|byte| *byte == b';').skip(1).find_map(|param| {
            let equal = memchr::memchr(b'=', param);
            let known = &param[..equal.unwrap_or(param.len())];
            known.eq_ignore_ascii_case(name).then(|| equal.map(|equal| &param[equal + 1..]))
        })
    }
}

/// Reads the URI from `start` to `end` into `uri`; false when it is none.
#[inline(always)]
pub(super) fn read(message: &[u8], start: usize, end: usize, uri: &mut Uri) -> bool {
    usual(message, start, end, uri) || read_any(message, start, end, uri)
}

#[cold]
#[inline(never)]
fn read_any(message: &[u8], start: usize, end: usize, uri: &mut Uri) -> bool {
    any(&message[..end], start).is_some_and(|found| {
        *uri = found;
        true
    })
}

/// The form that nearly always comes: `sip:user@host:port;params` of usual bytes, each part but the host left out as it likes.
/// False decides nothing, and leaves anything in `uri`. What is found is what [`any`] finds.
#[inline(always)]
pub(super) fn usual(message: &[u8], start: usize, end: usize, uri: &mut Uri) -> bool {
    usual_parts(message, start, end, uri).is_some()
}

#[inline(always)]
fn usual_parts(message: &[u8], start: usize, end: usize, uri: &mut Uri) -> Option<()> {
    if window(message, start)? != b"sip:" {
        return None;
    }
    let user_start = start.wrapping_add(4);
    let user_end = skip_user(message, user_start);
    let at_sign = byte(message, user_end) == b'@' && user_end < end;
    if at_sign && user_start == user_end {
        return None;
    }
    uri.scheme = Scheme::Sip;
    uri.user = at_sign.then(|| Span::new(user_start, user_end));
    let host_start = if at_sign { user_end.wrapping_add(1) } else { user_start };
    let mut at = skip_plain(message, host_start);
    if at == host_start {
        return None;
    }
    uri.host = Span::new(host_start, at);
    (uri.port, at) = port(message, at)?;
    // To the end there is no other `@`: it is in none of the classes passed.
    let params_end = if byte(message, at) == b';' && at < end { skip_parameters(message, at) } else { at };
    if params_end != end {
        return None;
    }
    uri.params = Span::new(at, end);
    uri.headers = Span::new(end, end);
    Some(())
}

/// Every form, to the end of `bytes`.
#[inline(never)]
pub(super) fn any(bytes: &[u8], start: usize) -> Option<Uri> {
    let uri = bytes.get(start..)?;
    // The usual one first; all others in any case (RFC 3261 §19.1.4).
    let (scheme, at) = if uri.starts_with(b"sip:") {
        (Scheme::Sip, start + 4)
    } else {
        let colon = memchr::memchr(b':', uri)?;
        let scheme = match &uri[..colon] {
            name if name.eq_ignore_ascii_case(b"sip") => Scheme::Sip,
            name if name.eq_ignore_ascii_case(b"sips") => Scheme::Sips,
            name if name.eq_ignore_ascii_case(b"tel") => Scheme::Tel,
            [first, rest @ ..] if first.is_ascii_alphabetic() && rest.iter().all(is_scheme) => Scheme::Other,
            _ => return None,
        };
        (scheme, start + colon + 1)
    };
    match scheme {
        Scheme::Sip | Scheme::Sips => sip(bytes, at, scheme),
        Scheme::Tel => tel(bytes, at),
        Scheme::Other => {
            let rest = &bytes[at..];
            let plain = !rest.is_empty() && visible(rest) && memchr::memchr3(b'<', b'>', b'"', rest).is_none();
            let empty = Span::new(bytes.len(), bytes.len());
            plain.then_some(Uri { scheme, user: None, host: empty, port: None, params: empty, headers: empty })
        }
    }
}

fn is_scheme(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// `[ userinfo ] hostport uri-parameters [ headers ]`.
#[inline]
fn sip(bytes: &[u8], at: usize, scheme: Scheme) -> Option<Uri> {
    let user_end = skip_escaped(bytes, at, USER);
    let (user, host_start) = if byte(bytes, user_end) == b'@' {
        let info = &bytes[at..user_end];
        let name = memchr::memchr(b':', info).unwrap_or(info.len());
        if name == 0 {
            return None;
        }
        (Some(Span::new(at, at + name)), user_end + 1)
    } else {
        (None, at)
    };
    let (host_end, port, end) = host_port(bytes, host_start, false)?;
    let (params, headers) = tail(bytes, end)?;
    Some(Uri { scheme, user, host: Span::new(host_start, host_end), port, params, headers })
}

/// `telephone-subscriber` (RFC 3966 §3): a number with a digit in it, parameters.
fn tel(bytes: &[u8], at: usize) -> Option<Uri> {
    let end = skip(bytes, at, TELEPHONE);
    let number = &bytes[at..end];
    if !number.iter().any(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#')) {
        return None;
    }
    let (params, headers) = tail(bytes, end)?;
    if !headers.is_empty() {
        return None;
    }
    let empty = Span::new(end, end);
    Some(Uri { scheme: Scheme::Tel, user: Some(Span::new(at, end)), host: empty, port: None, params, headers })
}

/// `*( ";" parameter ) [ "?" headers ]` to the end.
#[inline]
fn tail(bytes: &[u8], at: usize) -> Option<(Span, Span)> {
    let params_end = if byte(bytes, at) == b';' { skip_escaped(bytes, at, PARAMETERS) } else { at };
    let rest = &bytes[params_end..];
    let headers = rest.is_empty() || (rest[0] == b'?' && visible(rest));
    if !headers {
        return None;
    }
    Some((Span::new(at, params_end), Span::new(params_end, bytes.len())))
}
