//! Via (RFC 3261 §20.42, §25.1 `via-parm`; RFC 3581 `rport`).
//!
//! ```text
//! SIP / 2.0 / UDP   host [: port]   *( ; name [= value] )
//! └─ LWS around each slash ─┘ └─ LWS around the colon
//! ```
//!
//! Refused: an empty parameter, `branch`, `rport` or `received` twice (§7.3.1), `received` without a value, a port over 65535.

use super::scan::{BLANK, TOKEN, byte, host_port, number, skip};
use super::{Span, param};

/// One Via value (RFC 3261 §20.42).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Via {
    /// The whole value.
    pub value: Span,
    /// `UDP`, `TCP`, … as it came.
    pub transport: Span,
    /// Sent-by host; an IPv6 reference with its brackets.
    pub host: Span,
    /// Sent-by port.
    pub port: Option<u16>,
    /// The branch parameter's value.
    pub branch: Option<Span>,
    /// `rport` (RFC 3581): present, with a value or without.
    pub rport: Option<Option<u16>>,
    /// The whole `rport` parameter, name to value; empty when not present.
    pub rport_param: Span,
    /// The `received` parameter's value.
    pub received: Option<Span>,
}

impl Via {
    /// Stands in a message until its Via is read.
    pub(super) const NONE: Via = Via {
        value: Span { start: 0, end: 0 },
        transport: Span { start: 0, end: 0 },
        host: Span { start: 0, end: 0 },
        port: None,
        branch: None,
        rport: None,
        rport_param: Span { start: 0, end: 0 },
        received: None,
    };
}

/// Reads the value that starts at `start`, up to the end of `bytes` or a comma; gives the offset of that too.
pub(super) fn read(bytes: &[u8], start: usize) -> Option<(Via, usize)> {
    let transport_start = protocol(bytes, start)?;
    let transport_end = skip(bytes, transport_start, TOKEN);
    let host_start = skip(bytes, transport_end, BLANK);
    if transport_start == transport_end || transport_end == host_start {
        return None;
    }
    let (host_end, port, mut end) = host_port(bytes, host_start, true)?;
    let mut via = Via {
        transport: Span::new(transport_start, transport_end),
        host: Span::new(host_start, host_end),
        port,
        ..Via::NONE
    };
    loop {
        let at = skip(bytes, end, BLANK);
        match bytes.get(at) {
            Some(b';') => {
                let param = param::read(bytes, at + 1)?;
                end = param.whole().last();
                take(&mut via, bytes, &param)?;
            }
            None | Some(b',') => {
                via.value = Span::new(start, end);
                return Some((via, at));
            }
            Some(_) => return None,
        }
    }
}

/// Past `protocol-name SLASH protocol-version SLASH`, each slash with LWS around it where the peer likes that.
#[inline]
fn protocol(bytes: &[u8], start: usize) -> Option<usize> {
    if bytes.get(start..)?.starts_with(b"SIP/2.0/") {
        return Some(skip(bytes, start + 8, BLANK));
    }
    let mut at = start;
    for _ in 0..2 {
        let end = skip(bytes, at, TOKEN);
        let slash = skip(bytes, end, BLANK);
        if at == end || byte(bytes, slash) != b'/' {
            return None;
        }
        at = skip(bytes, slash + 1, BLANK);
    }
    Some(at)
}

/// Notes a parameter that we read. `None`: it is there twice, or what it says cannot be.
#[inline]
fn take(via: &mut Via, bytes: &[u8], param: &param::Param) -> Option<()> {
    match param.name.len() {
        6 if param.is(bytes, b"branch") => {
            let known = via.branch.replace(param.value?);
            known.is_none().then_some(())
        }
        5 if param.is(bytes, b"rport") => {
            let port = match param.value {
                Some(value) => Some(number(value.of(bytes), 65535)? as u16),
                None => None,
            };
            via.rport_param = param.whole();
            via.rport.replace(port).is_none().then_some(())
        }
        8 if param.is(bytes, b"received") => {
            let known = via.received.replace(param.value?);
            known.is_none().then_some(())
        }
        _ => Some(()),
    }
}
