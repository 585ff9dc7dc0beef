//! Via (RFC 3261 §20.42, §25.1 `via-parm`; RFC 3581 `rport`).
//!
//! ```text
//! SIP / 2.0 / UDP   host [: port]   *( ; name [= value] )
//! └─ LWS around each slash ─┘ └─ LWS around the colon
//! ```
//!
//! Refused: an empty parameter, `branch`, `rport` or `received` twice (§7.3.1), `received` without a value, a port over 65535.

use super::block::{skip_plain, skip_value, window};
use super::scan::{TOKEN, blanks, byte, host_port, number, port, short_number, skip};
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

/// Reads the value from `start` to `end`, or to a comma before it, into `via`, which is [`Via::NONE`]; gives the offset of that end.
#[inline(always)]
pub(super) fn read(message: &[u8], start: usize, end: usize, via: &mut Via) -> Option<usize> {
    if usual(message, start, end, via) { Some(end) } else { read_any(message, start, end, via) }
}

#[cold]
#[inline(never)]
fn read_any(message: &[u8], start: usize, end: usize, via: &mut Via) -> Option<usize> {
    let (found, end) = any(&message[..end], start)?;
    *via = found;
    Some(end)
}

/// How the parameters that we read begin, as words.
const BRANCH: u64 = u64::from_le_bytes(*b";branch=");
const RECEIVED: u64 = u64::from_le_bytes(*b";receive");
const RPORT: u64 = u64::from_le_bytes(*b";rport\0\0");
const RPORT_MASK: u64 = (1 << 48) - 1;

/// The form that nearly always comes: `SIP/2.0/UDP host[:port]` and of the parameters those that we read, without a blank
/// too many. `via` is [`Via::NONE`] before. False decides nothing, and leaves anything in it. What is found is what [`any`] finds.
///
/// Parts are written where they stay: moving a record of so many small fields costs more than reading it.
#[inline(always)]
pub(super) fn usual(message: &[u8], start: usize, end: usize, via: &mut Via) -> bool {
    usual_parts(message, start, end, via).is_some()
}

#[inline(always)]
fn usual_parts(message: &[u8], start: usize, end: usize, via: &mut Via) -> Option<()> {
    let host_start = start.wrapping_add(12);
    if window::<12>(message, start)? != b"SIP/2.0/UDP " {
        return None;
    }
    let host_end = skip_plain(message, host_start);
    if host_end == host_start {
        return None;
    }
    via.value = Span::new(start, end);
    via.transport = Span::new(start.wrapping_add(8), start.wrapping_add(11));
    via.host = Span::new(host_start, host_end);
    let mut at = host_end;
    (via.port, at) = port(message, at)?;
    while at < end {
        // `;` and seven bytes of the name and what is behind it.
        let head = u64::from_le_bytes(*window(message, at)?);
        let value_start = at.wrapping_add(8);
        if head == BRANCH {
            at = skip_value(message, value_start);
            if at == value_start || via.branch.replace(Span::new(value_start, at)).is_some() {
                return None;
            }
        } else if head & RPORT_MASK == RPORT {
            let name_start = at.wrapping_add(1);
            let value = if head >> 48 & 0xFF == u64::from(b'=') {
                let (value, value_end) = short_number(message, at.wrapping_add(7))?;
                at = value_end;
                Some(value)
            } else {
                at = at.wrapping_add(6);
                None
            };
            if via.rport.replace(value).is_some() {
                return None;
            }
            via.rport_param = Span::new(name_start, at);
        } else {
            if head != RECEIVED || window(message, value_start)? != b"d=" {
                return None;
            }
            let value_start = at.wrapping_add(10);
            at = skip_value(message, value_start);
            if at == value_start || via.received.replace(Span::new(value_start, at)).is_some() {
                return None;
            }
        }
    }
    (at == end).then_some(())
}

/// Every form.
#[inline(never)]
pub(super) fn any(bytes: &[u8], start: usize) -> Option<(Via, usize)> {
    let transport_start = protocol(bytes, start)?;
    // RFC 3261 §18: over UDP a peer says UDP.
    let transport_end = match bytes.get(transport_start..)? {
        [b'U', b'D', b'P', b' ', ..] => transport_start + 3,
        _ => skip(bytes, transport_start, TOKEN),
    };
    let host_start = blanks(bytes, transport_end);
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
        let at = blanks(bytes, end);
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
        return Some(blanks(bytes, start + 8));
    }
    let mut at = start;
    for _ in 0..2 {
        let end = skip(bytes, at, TOKEN);
        let slash = blanks(bytes, end);
        if at == end || byte(bytes, slash) != b'/' {
            return None;
        }
        at = blanks(bytes, slash + 1);
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
