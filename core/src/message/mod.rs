//! The wire: SIP messages read in place and written by copying spans.
//!
//! ```text
//!   bytes ─► parse.rs ─► Message: start line, fields (name, line, value), body: offsets only
//!            scan.rs     │            name.rs, method.rs
//!                        ├─► via(), from(), to(), call_id(), cseq(), max_forwards(): read once, while parsing
//!                        ├─► values(), parse_via(), parse_name_addr(), parse_uri(): read when asked for
//!                        ├─► body.rs: the SDP, also where it is a part of a multipart
//!                        └─► write/: request, response, answer, ACK, CANCEL
//! ```
//!
//! Invariants: a [`Message`] that parsed has one Via at least, exactly one From, To, Call-ID and CSeq, all well-formed; its
//! Max-Forwards and Content-Length, where there, are numbers in their bounds; every [`Span`] that it gives lies within
//! [`Message::bytes`]. Its [`Message::call_id`] is what [`find_call_id`](crate::steering::find_call_id) finds in the raw
//! datagram.
//!
//! What is refused, and what of that can be answered, is the table in `error.rs`. What is tolerated beyond RFC 3261: line ends without CR,
//! a status line without the blank before an empty reason, `_` in host names, parameter values of any visible bytes that do not
//! end them, UTF-8 in a display name without quotes, Call-IDs of any visible bytes.

mod block;
mod body;
mod cseq;
mod error;
mod method;
mod name;
mod name_addr;
mod param;
mod parse;
mod scan;
mod span;
#[cfg(test)]
mod tests;
mod uri;
mod values;
mod via;
mod write;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use crate::limits::HEADERS_MAX;

pub use body::{Body, find_sdp, write_with_sdp, write_without_body};
pub use cseq::CSeq;
pub use error::{Fault, Malformed, ParseError};
pub use method::Method;
pub use name::{Name, Names};
pub use name_addr::NameAddr;
pub use span::Span;
pub use uri::{Scheme, Uri};
pub use values::Values;
pub use via::Via;
pub use write::{
    Answer, OwnRequest, OwnRoute, OwnVia, Patch, RequestEdits, Rewrite, Writer, write_ack, write_answer, write_cancel,
    write_own_request, write_request, write_response, write_response_with,
};

/// Whether a text can be a Request-URI: a URI, and without header fields (RFC 3261 §19.1.1).
pub(crate) fn is_request_uri(text: &[u8]) -> bool {
    let mut uri = Uri::NONE;
    uri::read(text, 0, text.len(), &mut uri) && uri.headers.is_empty()
}

/// One header field: a line with its folded continuations.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Which header it is.
    pub name: Name,
    /// The whole field, from the first byte of its name to after its last line end.
    pub line: Span,
    /// The value without blanks around it; folds stay inside.
    pub value: Span,
}

/// First line of a message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum StartLine {
    /// `method SP Request-URI SP SIP/2.0`.
    Request {
        /// The method.
        method: Method,
        /// Its name as it came.
        name: Span,
        /// The Request-URI.
        uri: Span,
    },
    /// `SIP/2.0 SP code SP reason`.
    Response {
        /// 100 to 699.
        status: u16,
        /// The reason phrase.
        reason: Span,
    },
}

/// No field of that name.
const NOWHERE: u8 = u8::MAX;

/// One for each name, so that no index is out of bounds.
const PLACES: usize = Name::COUNT;
const _: () = assert!(Name::COUNT <= 64, "a bit for each name");

/// A message: the bytes and where its parts are.
pub struct Message<'a> {
    bytes: &'a [u8],
    start: StartLine,
    fields: ArrayVec<Field, HEADERS_MAX>,
    /// The place in `fields` of the first field of each name, or [`NOWHERE`].
    places: [u8; PLACES],
    /// The names that more than one field has, a bit each.
    repeated: u64,
    body: Span,
    // What every message is looked at for. Made sure by parsing.
    uri: Uri,
    /// `uri` was read.
    has_uri: bool,
    via: Via,
    from: NameAddr,
    to: NameAddr,
    call_id: Span,
    cseq: CSeq,
    max_forwards: Option<u8>,
}

impl<'a> Message<'a> {
    /// Reads a datagram in one pass.
    ///
    /// CR and LF before the start line are skipped (RFC 3261 §7.5). Bytes behind the body are cut off (§18.3); without
    /// Content-Length the body is the rest of the datagram.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong, and holds what can be answered.
    #[expect(
        clippy::result_large_err,
        reason = "an error keeps what can be answered, and there is no heap to box it on"
    )]
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, Malformed<'a>> {
        parse::parse(bytes)
    }

    /// All bytes of the message (without what came before its first line and what followed the body).
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes of a span.
    #[inline]
    #[must_use]
    pub fn text(&self, span: Span) -> &'a [u8] {
        span.of(self.bytes)
    }

    /// The first line.
    #[inline]
    #[must_use]
    pub fn start(&self) -> StartLine {
        self.start
    }

    /// All fields in order.
    #[inline]
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The first field of this name, in O(1).
    #[inline]
    #[must_use]
    pub fn first(&self, name: Name) -> Option<Field> {
        self.fields.get(usize::from(self.places[name as usize])).copied()
    }

    /// The value of the first field of this name, all of it.
    #[inline]
    fn first_value(&self, name: Name) -> Option<Span> {
        self.fields.get(usize::from(self.places[name as usize])).map(|field| field.value)
    }

    /// The value of a header that has one and no more: in one field, as nearly always.
    #[inline]
    pub(crate) fn only_value(&self, name: Name) -> Option<Span> {
        let value = self.first_value(name)?;
        (!self.is_repeated(name) && values::is_single(self.bytes, value)).then_some(value)
    }

    /// The fields up to the last that has one of these names; all of them where one of the names is there more than once.
    #[inline(always)]
    fn fields_up_to(&self, names: &[Name]) -> &[Field] {
        let (mut mask, mut end) = (0, 0);
        for name in names {
            mask |= 1 << (*name as usize);
            // One behind its place, which is 0 for one that is not there.
            end = end.max(self.places[*name as usize].wrapping_add(1));
        }
        match self.fields.get(..end.into()) {
            Some(fields) if self.repeated & mask == 0 => fields,
            _ => &self.fields,
        }
    }

    /// Every comma-separated value of this header over all its fields, in order, blanks trimmed, empty elements passed over.
    /// Commas in quotes or angle brackets separate nothing. Of use for headers that are lists (RFC 3261 §7.3.1) only.
    #[inline]
    pub fn values(&self, name: Name) -> Values<'_> {
        let from = usize::from(self.places[name as usize]);
        let fields = match self.is_repeated(name) {
            true => self.fields.get(from..),
            false => self.fields.get(from..from.wrapping_add(1)),
        };
        Values::new(self.bytes, fields.unwrap_or_default(), name)
    }

    /// Whether more than one field has this name.
    #[inline]
    #[must_use]
    pub fn is_repeated(&self, name: Name) -> bool {
        self.repeated >> (name as usize) & 1 != 0
    }

    /// The body.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.text(self.body)
    }

    /// The Request-URI, read; `None` for a response (and for a [`Malformed::partial`] whose Request-URI is the fault).
    #[inline]
    #[must_use]
    pub fn request_uri(&self) -> Option<Uri> {
        self.has_uri.then_some(self.uri)
    }

    /// The topmost Via value. Parsing made sure that it is there and well-formed.
    #[inline]
    #[must_use]
    pub fn via(&self) -> Via {
        self.via
    }

    /// From; made sure by parsing.
    #[inline]
    #[must_use]
    pub fn from(&self) -> NameAddr {
        self.from
    }

    /// To; made sure by parsing.
    #[inline]
    #[must_use]
    pub fn to(&self) -> NameAddr {
        self.to
    }

    /// Call-ID; made sure by parsing.
    #[inline]
    #[must_use]
    pub fn call_id(&self) -> &'a [u8] {
        self.text(self.call_id)
    }

    /// CSeq; made sure by parsing.
    #[inline]
    #[must_use]
    pub fn cseq(&self) -> CSeq {
        self.cseq
    }

    /// Max-Forwards, when there (a malformed one is a parse error).
    #[inline]
    #[must_use]
    pub fn max_forwards(&self) -> Option<u8> {
        self.max_forwards
    }

    /// The first field of this name as a decimal number of up to 32 bits; `None` where there is none or it is something else.
    #[must_use]
    pub fn number(&self, name: Name) -> Option<u32> {
        scan::number_in(self.bytes, self.first(name)?.value, u32::MAX)
    }

    /// Reads one Via value, as [`Message::values`] gives them.
    ///
    /// # Errors
    /// [`ParseError::BadHeader`] with [`Name::Via`].
    pub fn parse_via(&self, value: Span) -> Result<Via, ParseError> {
        // The topmost one is known.
        if value == self.via.value {
            return Ok(self.via);
        }
        let mut via = Via::NONE;
        match via::read(self.bytes, value.first(), value.last(), &mut via) {
            Some(end) if end == value.last() => Ok(via),
            _ => Err(ParseError::BadHeader(Name::Via)),
        }
    }

    /// Reads one From, To, Contact, Route or Record-Route value. The `*` of a Contact (RFC 3261 §10.2.2) is none.
    ///
    /// # Errors
    /// [`ParseError::Address`].
    pub fn parse_name_addr(&self, value: Span) -> Result<NameAddr, ParseError> {
        let mut address = NameAddr::NONE;
        let read = name_addr::read(self.bytes, value.first(), value.last(), &mut address);
        if read { Ok(address) } else { Err(ParseError::Address) }
    }

    /// The first value of a header whose values are such addresses; `None` where there is none, or it cannot be read.
    #[must_use]
    pub fn first_address(&self, name: Name) -> Option<NameAddr> {
        let field = self.first_value(name)?;
        let mut address = NameAddr::NONE;
        // The usual form goes to the end of the field, and has no comma outside of quotes and brackets: it is the one value there.
        if name_addr::usual(self.bytes, field.first(), field.last(), &mut address) {
            return Some(address);
        }
        self.parse_name_addr(self.values(name).next()?).ok()
    }

    /// Reads a URI.
    ///
    /// # Errors
    /// [`ParseError::Uri`].
    pub fn parse_uri(&self, uri: Span) -> Result<Uri, ParseError> {
        let mut found = Uri::NONE;
        let read = uri::read(self.bytes, uri.first(), uri.last(), &mut found);
        if read { Ok(found) } else { Err(ParseError::Uri) }
    }
}

/// Kind and length only: numbers and names of people stay out of logs.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("start", &self.start)
            .field("fields", &self.fields.len())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// The address that a host of a Via or URI is, when it is one: IPv4, or IPv6 with or without brackets (RFC 5118 §4.5).
///
/// The `:::` in front of an embedded IPv4 address that RFC 3261's old grammar produced is read as `::` (RFC 5118 §4.10).
#[must_use]
pub fn parse_ip(host: &[u8]) -> Option<IpAddr> {
    let inner = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let text = core::str::from_utf8(inner.unwrap_or(host)).ok()?;
    if inner.is_none()
        && let Ok(ip) = text.parse::<Ipv4Addr>()
    {
        return Some(IpAddr::V4(ip));
    }
    if let Some((head, tail)) = text.split_once(":::")
        && tail.parse::<Ipv4Addr>().is_ok()
    {
        // At most 39 bytes are an address; what is longer cannot be one.
        let mut mended = arrayvec::ArrayString::<48>::new();
        mended.try_push_str(head).ok()?;
        mended.try_push_str("::").ok()?;
        mended.try_push_str(tail).ok()?;
        return mended.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}
