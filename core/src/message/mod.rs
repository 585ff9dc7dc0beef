//! The wire: SIP messages read in place and written by copying spans.

mod parse;
mod write;

use core::net::IpAddr;

use arrayvec::ArrayVec;

use crate::limits::HEADERS_MAX;

pub use write::{Answer, RequestEdits, Writer, write_ack, write_answer, write_cancel, write_request, write_response};

/// A part of a message, in bytes from its start.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: u16,
    /// First byte after it.
    pub end: u16,
}

const _: () = assert!(size_of::<Span>() == 4);

/// Request methods (RFC 3261 and its extensions that a proxy treats differently). SIP methods are case-sensitive (§7.1).
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Prack,
    Update,
    Info,
    Subscribe,
    Notify,
    Refer,
    Message,
    Publish,
    Other,
}

/// Header fields that Corelane reads. Everything else is `Other` and travels byte for byte.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Name {
    Via,
    Route,
    RecordRoute,
    MaxForwards,
    From,
    To,
    CallId,
    CSeq,
    Contact,
    ContentLength,
    ContentType,
    ProxyRequire,
    ProxyAuthorization,
    Require,
    Supported,
    SessionExpires,
    MinSe,
    MaxBreadth,
    Reason,
    RetryAfter,
    Other,
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

/// What is wrong with a message (the peer's fault).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ParseError {
    StartLine,
    Version,
    HeaderLine,
    TooManyHeaders,
    TooLarge,
    MissingHeader(Name),
    DuplicateHeader(Name),
    BadHeader(Name),
    ContentLength,
    Truncated,
    Uri,
}

/// A message that cannot be served. `partial` is there when it is a request (not ACK) whose first Via, From, To, Call-ID and
/// CSeq could be read, so that a 400 or 513 can be written from it.
pub struct Malformed<'a> {
    /// What is wrong.
    pub error: ParseError,
    /// What can be answered.
    pub partial: Option<Message<'a>>,
}

/// A message: the bytes and where its parts are.
pub struct Message<'a> {
    bytes: &'a [u8],
    start: StartLine,
    fields: ArrayVec<Field, HEADERS_MAX>,
    body: Span,
}

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
    /// The `received` parameter's value.
    pub received: Option<Span>,
}

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
    /// The host; an IPv6 reference with its brackets. Empty for tel.
    pub host: Span,
    /// The port.
    pub port: Option<u16>,
    /// Parameters from the first `;` to before `?` or the end; empty when none.
    pub params: Span,
}

impl Method {
    /// The method of this name.
    #[must_use]
    pub fn parse(name: &[u8]) -> Method {
        todo!()
    }
}

impl Span {
    /// The bytes of this span in `message`.
    #[must_use]
    pub fn of(self, message: &[u8]) -> &[u8] {
        &message[usize::from(self.start)..usize::from(self.end)]
    }
}

impl<'a> Message<'a> {
    /// Reads a datagram in one pass.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, Malformed<'a>> {
        todo!()
    }
    /// All bytes of the message (without what followed the body).
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
    /// The bytes of a span.
    #[must_use]
    pub fn text(&self, span: Span) -> &'a [u8] {
        span.of(self.bytes)
    }
    /// The first line.
    #[must_use]
    pub fn start(&self) -> StartLine {
        self.start
    }
    /// All fields in order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
    /// The first field of this name, in O(1) for the names that routing reads on each message.
    #[must_use]
    pub fn first(&self, name: Name) -> Option<Field> {
        todo!()
    }
    /// Every comma-separated value of this header over all its fields, in order, blanks trimmed.
    pub fn values(&self, name: Name) -> impl Iterator<Item = Span> + '_ {
        core::iter::empty()
    }
    /// The body.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.text(self.body)
    }
    /// The topmost Via value. Parsing made sure that it is there and well-formed.
    #[must_use]
    pub fn via(&self) -> Via {
        todo!()
    }
    /// From; made sure by parsing.
    #[must_use]
    pub fn from(&self) -> NameAddr {
        todo!()
    }
    /// To; made sure by parsing.
    #[must_use]
    pub fn to(&self) -> NameAddr {
        todo!()
    }
    /// Call-ID; made sure by parsing.
    #[must_use]
    pub fn call_id(&self) -> &'a [u8] {
        todo!()
    }
    /// CSeq; made sure by parsing.
    #[must_use]
    pub fn cseq(&self) -> CSeq {
        todo!()
    }
    /// Max-Forwards, when there (a malformed one is a parse error).
    #[must_use]
    pub fn max_forwards(&self) -> Option<u8> {
        todo!()
    }
    /// Reads one Via value.
    pub fn parse_via(&self, value: Span) -> Result<Via, ParseError> {
        todo!()
    }
    /// Reads one From, To, Contact, Route or Record-Route value.
    pub fn parse_name_addr(&self, value: Span) -> Result<NameAddr, ParseError> {
        todo!()
    }
    /// Reads a URI.
    pub fn parse_uri(&self, uri: Span) -> Result<Uri, ParseError> {
        todo!()
    }
}

impl Uri {
    /// A parameter by name (any case): `None` not there, `Some(None)` there without a value. `message` holds the URI.
    #[must_use]
    pub fn param<'m>(&self, message: &'m [u8], name: &[u8]) -> Option<Option<&'m [u8]>> {
        todo!()
    }
}
