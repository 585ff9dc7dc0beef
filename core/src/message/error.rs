//! What can be wrong with a message, and what can still be answered.
//!
//! | what | error | answered? |
//! | --- | --- | --- |
//! | no method or status line at all | `StartLine` | no |
//! | Request-Line with blanks in the wrong place (RFC 4475 §3.1.2.7–3.1.2.10) | `StartLine` | yes |
//! | Request-URI in angle brackets, with headers, with a bad escape (§3.1.2.7, §3.1.2.11) | `Uri` | yes |
//! | another SIP version (§3.1.2.16) | `Version` | yes, with 505 |
//! | a line that is no header field, a control byte in a name, a CR without LF | `HeaderLine` | yes |
//! | Via, From, To, Call-ID or CSeq missing | `MissingHeader` | no: nothing to answer with |
//! | the topmost Via malformed (§3.1.2.1) | `BadHeader(Via)` | no: nowhere to answer to |
//! | From, To, Call-ID or CSeq malformed (§3.1.2.4, §3.1.2.6, §3.1.2.14, §3.1.2.15) | `BadHeader` | yes, repeated as it came |
//! | one of them twice (§3.3.8), or two Max-Forwards or Content-Length (§3.3.9) | `DuplicateHeader` | yes, from the first |
//! | Max-Forwards not 0–255 (§3.1.2.4) | `BadHeader(MaxForwards)` | yes |
//! | CSeq with another method (§3.1.2.17, §3.1.2.18) | `BadHeader(CSeq)` | yes |
//! | Content-Length no number or longer than the datagram (§3.1.2.2, §3.1.2.3) | `ContentLength` | yes |
//! | no empty line after the header fields | `Truncated` | yes |
//! | more than [`HEADERS_MAX`](crate::limits::HEADERS_MAX) fields | `TooManyHeaders` | yes, if the five are among the first |
//! | more than [`MESSAGE_SIZE_MAX`](crate::limits::MESSAGE_SIZE_MAX) bytes | `TooLarge` | yes, if the five are in front, with 513 |
//!
//! "Answered" never holds for an ACK (RFC 3261 §8.2.1: it gets no response) nor for a response. Several faults in one
//! message: the first found is named, and one that cannot be answered keeps the whole from being answered.

use super::{Message, Name};

/// What is wrong with a message (the peer's fault). The table is at the head of `message/error.rs`.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum ParseError {
    /// The first line is neither a request line nor a status line (RFC 3261 §7.1, §7.2).
    StartLine,
    /// Another version than `SIP/2.0` (§7.1): 505.
    Version,
    /// A line that is no header field (§7.3), or a CR without its LF.
    HeaderLine,
    /// More fields than [`HEADERS_MAX`](crate::limits::HEADERS_MAX).
    TooManyHeaders,
    /// More bytes than [`MESSAGE_SIZE_MAX`](crate::limits::MESSAGE_SIZE_MAX): 513.
    TooLarge,
    /// A mandatory field is not there (§8.1.1).
    MissingHeader(Name),
    /// A field that may be there once is there twice (§7.3.1).
    DuplicateHeader(Name),
    /// The value of a field is not what its grammar says (§25.1).
    BadHeader(Name),
    /// Content-Length is no number, or more than the datagram holds (§18.3).
    ContentLength,
    /// The datagram ends before the empty line.
    Truncated,
    /// A URI that is none (§19.1), or a Request-URI with header fields in it (§19.1.1).
    Uri,
    /// A value that is neither `name-addr` nor `addr-spec` with parameters (§20.10).
    Address,
}

/// What is wrong with a message, and whether it can be answered all the same.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What is wrong.
    pub error: ParseError,
    /// It is a request (not ACK) whose first Via could be read and that has From, To, Call-ID and CSeq to repeat: a 400, 505 or 513 can be
    /// written.
    pub answerable: bool,
}

/// A message that cannot be served. `partial` is there when it is a request (not ACK) whose first Via could be read, with a From,
/// To, Call-ID and CSeq, so that a 400, 505 or 513 can be written from it. Those of the four that are the fault are there by their place only.
#[derive(Debug)]
pub struct Malformed<'a> {
    /// What is wrong.
    pub error: ParseError,
    /// What can be answered.
    pub partial: Option<Message<'a>>,
}
