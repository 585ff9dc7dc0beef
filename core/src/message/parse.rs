//! The one pass over a datagram.
//!
//! ```text
//! [CR LF]*  start line  ( name SP* ":" value ( line end  SP value )* line end )*  line end  body
//!           start()     fields(): a loop over lines; a line that starts blank goes on with the one before
//! ```
//!
//! Then the five values that every message must have are read ([`Message::via`] … [`Message::cseq`]), and the two numbers. A fault
//! that leaves a Via to answer by and the other four to repeat is noted, and the pass goes on, so that a request with it can be
//! answered ([`Malformed::partial`]); the first one noted is named.

use arrayvec::ArrayVec;

use super::block::{Block, Lows, skip_visible, window};
use super::scan::{self, BLANK, TOKEN, blanks, byte, is, lone_cr, number, number_in, skip};
use super::{
    CSeq, Fault, Field, Malformed, Message, Method, NOWHERE, Name, NameAddr, PLACES, ParseError, Span, StartLine, Uri,
    Via, cseq, name_addr, uri, via,
};
use crate::limits::{HEADERS_MAX, MESSAGE_SIZE_MAX};

/// Faults noted so far: the first.
#[derive(Default)]
struct Noted(Option<ParseError>);

impl Noted {
    #[cold]
    fn note(&mut self, error: ParseError) {
        self.0.get_or_insert(error);
    }

    /// A From or To that is none: what stands for it has nothing but its place.
    #[cold]
    fn unread(&mut self, name: Name, at: usize, end: usize) -> NameAddr {
        self.note(ParseError::BadHeader(name));
        NameAddr { value: Span::new(at, end), ..NameAddr::NONE }
    }

    /// The message cannot be answered.
    #[cold]
    fn give_up(&self, error: ParseError) -> Fault {
        Fault { error: self.0.unwrap_or(error), answerable: false }
    }
}

impl<'a> Message<'a> {
    /// A message that nothing was read into yet: a place for [`Message::read_in_place`].
    #[inline]
    #[must_use]
    pub fn unread() -> Message<'a> {
        Message {
            bytes: &[],
            start: StartLine::Response { status: 0, reason: Span { start: 0, end: 0 } },
            // Not `new_const`, which writes 1.3 KB of zeros.
            fields: ArrayVec::new(),
            places: [NOWHERE; PLACES],
            repeated: 0,
            body: Span { start: 0, end: 0 },
            uri: Uri::NONE,
            has_uri: false,
            via: Via::NONE,
            from: NameAddr::NONE,
            to: NameAddr::NONE,
            call_id: Span { start: 0, end: 0 },
            cseq: CSeq::NONE,
            max_forwards: None,
        }
    }

    /// [`Message::parse`] without moving the message, which is 1.5 KB long. `self` is [`Message::unread`]; after a [`Fault`]
    /// it is of use only where that says `answerable`.
    ///
    /// # Errors
    /// [`Fault`] says what is wrong.
    #[inline]
    pub fn read_in_place(&mut self, datagram: &'a [u8]) -> Result<(), Fault> {
        // RFC 3261 §7.5: empty lines before the start line are ignored. `steering::find_call_id` does the same.
        let mut bytes = datagram;
        while let [b'\r' | b'\n', message @ ..] = bytes {
            bytes = message;
        }
        self.bytes = bytes;
        self.read().map_err(|fault| {
            // RFC 3261 §8.2.1, §17.1.1.3: an ACK gets no response, and a response none either.
            let asks = matches!(self.start, StartLine::Request { method, .. } if method != Method::Ack);
            Fault { answerable: fault.answerable && asks, ..fault }
        })
    }
}

#[expect(clippy::result_large_err, reason = "an error keeps what can be answered, and there is no heap to box it on")]
pub(super) fn parse(datagram: &[u8]) -> Result<Message<'_>, Malformed<'_>> {
    let mut message = Message::unread();
    match message.read_in_place(datagram) {
        Ok(()) => Ok(message),
        Err(Fault { error, answerable }) => Err(Malformed { error, partial: answerable.then_some(message) }),
    }
}

impl<'a> Message<'a> {
    #[inline]
    fn read(&mut self) -> Result<(), Fault> {
        let mut noted = Noted::default();
        if self.bytes.len() > MESSAGE_SIZE_MAX {
            noted.note(ParseError::TooLarge);
            self.bytes = &self.bytes[..MESSAGE_SIZE_MAX];
        }
        let lines = self.start_line(&mut noted)?;
        let (fields_end, body) = self.header_fields(lines, &mut noted);
        self.mandatory(&mut noted)?;
        self.numbers(fields_end, body, &mut noted);
        match noted.0 {
            None => Ok(()),
            Some(error) => Err(Fault { error, answerable: true }),
        }
    }

    /// RFC 3261 §7.1, §7.2.
    #[inline(always)]
    fn start_line(&mut self, noted: &mut Noted) -> Result<Lines, Fault> {
        let bytes = self.bytes;
        let Some((end, lines)) = Lines::behind_first(bytes) else {
            return Err(noted.give_up(if bytes.is_empty() { ParseError::StartLine } else { ParseError::Truncated }));
        };
        let line = &bytes[..end];
        if let Some(start) = usual_status_line(line) {
            self.start = start;
            return Ok(lines);
        }
        if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
            self.start = status_line(line).map_err(|error| noted.give_up(error))?;
            return Ok(lines);
        }
        let (method, name_end) = method(line);
        if name_end == 0 || byte(line, name_end) != b' ' {
            return Err(noted.give_up(ParseError::StartLine));
        }
        let uri_start = name_end.wrapping_add(1);
        // `… SP SIP/2.0`, as nearly always; else the version is what follows the last blank.
        let uri_end = match line[uri_start..].split_last_chunk() {
            Some((uri, version)) if u64::from_le_bytes(*version) == VERSION => uri_start.wrapping_add(uri.len()),
            _ => unusual_version(line, uri_start, noted),
        };
        let name = Span::new(0, name_end);
        let uri = Span::new(uri_start, uri_end);
        self.start = StartLine::Request { method, name, uri };
        // §19.1.1: no headers in a Request-URI. A blank is a fault of the line (RFC 4475 §3.1.2.8, §3.1.2.9).
        self.has_uri = uri::read(bytes, uri_start, uri_end, &mut self.uri) && self.uri.headers.is_empty();
        if !self.has_uri {
            let blank = memchr::memchr2(b' ', b'\t', uri.of(bytes)).is_some();
            noted.note(if blank || uri.is_empty() { ParseError::StartLine } else { ParseError::Uri });
        }
        Ok(lines)
    }

    /// RFC 3261 §7.3. Gives where the fields end, and where the body starts when an empty line was there.
    #[inline(always)]
    fn header_fields(&mut self, lines: Lines, noted: &mut Noted) -> (usize, Option<usize>) {
        let bytes = self.bytes;
        let Lines { at: first, mut lows, mut lone_cr } = lines;
        let mut at = first;
        let ended = loop {
            at = self.usual_lines(at, lows);
            if bytes[at..].starts_with(b"\r\n") {
                break Ended::Fields { body: at + 2 };
            }
            let Some(feed) = feed(bytes, at) else { break Ended::Datagram };
            let next = feed + 1;
            lows = Lows::new(next);
            lone_cr |= scan::lone_cr(&bytes[at..next]);
            match any_line(bytes, at, feed) {
                Line::Field(name, value) => {
                    let place = self.fields.len() as u8;
                    if self.fields.try_push(Field { name, line: Span::new(at, next), value }).is_err() {
                        break Ended::Room;
                    }
                    let first = &mut self.places[name as usize];
                    if *first == NOWHERE {
                        *first = place;
                    } else {
                        self.repeated |= 1 << (name as usize);
                        if name.single() {
                            noted.note(ParseError::DuplicateHeader(name));
                        }
                    }
                }
                Line::Empty => break Ended::Fields { body: next },
                Line::Fold if at > first => self.unfold(at, feed),
                Line::Fold | Line::Nothing => noted.note(ParseError::HeaderLine),
            }
            at = next;
        };
        match ended {
            Ended::Fields { body } => {
                // What takes a lone CR for a line end would see other header fields than we do.
                if lone_cr {
                    noted.note(ParseError::HeaderLine);
                }
                (at, Some(body))
            }
            Ended::Room => {
                noted.note(ParseError::TooManyHeaders);
                (at, None)
            }
            Ended::Datagram => {
                noted.note(ParseError::Truncated);
                (self.drop_open_field(at), None)
            }
        }
    }

    /// Takes the lines from `at` on, where `lows` are the low bytes, as far as they are as usual. Gives where the first that is not
    /// starts.
    ///
    /// This is the loop that most of the time goes into: it has no more variables than a processor has registers.
    #[inline(never)]
    fn usual_lines(&mut self, mut at: usize, mut lows: Lows) -> usize {
        let bytes = self.bytes;
        while let Some(mark) = lows.next(bytes)
            && let Some((name, start)) = usual_line(bytes, at, mark)
        {
            let place = self.fields.len() as u8;
            let next = mark.wrapping_add(2);
            if self.fields.len() >= HEADERS_MAX {
                break;
            }
            self.fields.push(Field { name, line: Span::new(at, next), value: Span::new(start, mark) });
            let first = &mut self.places[name as usize];
            if *first == NOWHERE {
                *first = place;
            } else {
                if name.single() {
                    self.fields.pop();
                    break;
                }
                self.repeated |= 1 << (name as usize);
            }
            lows.pass_two();
            at = next;
        }
        at
    }

    /// The datagram ends within the line at `at`: when this is a fold, the field that it goes on with is no better. Gives where
    /// the fields end.
    #[cold]
    #[inline(never)]
    fn drop_open_field(&mut self, at: usize) -> usize {
        match (self.bytes.get(at), self.fields.last()) {
            (Some(b' ' | b'\t'), Some(last)) if last.line.last() == at => {
                let field = *last;
                self.fields.pop();
                let place = &mut self.places[field.name as usize];
                if usize::from(*place) == self.fields.len() {
                    *place = NOWHERE;
                }
                field.line.first()
            }
            _ => at,
        }
    }

    /// A line that starts blank goes on with the field before (RFC 3261 §7.3.1), or with what was there and is none.
    #[cold]
    #[inline(never)]
    fn unfold(&mut self, at: usize, feed: usize) {
        let bytes = self.bytes;
        if let Some(field) = self.fields.last_mut()
            && field.line.last() == at
            && let Some((_, colon)) = field_name(&bytes[..at], field.line.first())
        {
            field.line.end = Span::new(at, feed + 1).end;
            field.value = trimmed(bytes, colon + 1, text_end(bytes, at, feed));
        }
    }

    /// Reads what a message must have (RFC 3261 §8.1.1). Where one of these is missing, or no response could find its way, nothing can be
    /// answered; the others are repeated in the answer as they came, read or not.
    #[inline]
    fn mandatory(&mut self, noted: &mut Noted) -> Result<(), Fault> {
        let bytes = self.bytes;
        let there = |message: &Self, name, noted: &Noted| {
            let value = message.first_value(name).ok_or_else(|| noted.give_up(ParseError::MissingHeader(name)))?;
            Ok((value.first(), value.last()))
        };

        let (at, end) = there(self, Name::Via, noted)?;
        via::read(bytes, at, end, &mut self.via).ok_or_else(|| noted.give_up(ParseError::BadHeader(Name::Via)))?;
        let (at, end) = there(self, Name::From, noted)?;
        if !name_addr::read(bytes, at, end, &mut self.from) {
            self.from = noted.unread(Name::From, at, end);
        }
        let (at, end) = there(self, Name::To, noted)?;
        if !name_addr::read(bytes, at, end, &mut self.to) {
            self.to = noted.unread(Name::To, at, end);
        }
        // Any visible bytes: `word [ "@" word ]` is too narrow for what peers send, and nothing reads inside it. What matters
        // is that it ends where steering says it does: at the first blank.
        let (at, end) = there(self, Name::CallId, noted)?;
        self.call_id = Span::new(at, end);
        if at == end || skip_visible(bytes, at) < end {
            noted.note(ParseError::BadHeader(Name::CallId));
        }
        let (at, end) = there(self, Name::CSeq, noted)?;
        if !cseq::read(bytes, at, end, &mut self.cseq) {
            self.cseq = CSeq::NONE;
            noted.note(ParseError::BadHeader(Name::CSeq));
            return Ok(());
        }
        // §8.1.1.5: the method of a request is that of its CSeq.
        if let StartLine::Request { name, method, .. } = self.start
            && (method != self.cseq.method || (method == Method::Other && name.of(bytes) != self.cseq.name.of(bytes)))
        {
            noted.note(ParseError::BadHeader(Name::CSeq));
        }
        Ok(())
    }

    /// Max-Forwards (RFC 3261 §20.22), Content-Length (§20.14) and the body that it bounds (§18.3).
    #[inline]
    fn numbers(&mut self, fields_end: usize, body: Option<usize>, noted: &mut Noted) {
        if let Some(value) = self.first_value(Name::MaxForwards) {
            self.max_forwards = number_in(self.bytes, value, 255).map(|hops| hops as u8);
            if self.max_forwards.is_none() {
                noted.note(ParseError::BadHeader(Name::MaxForwards));
            }
        }
        let Some(start) = body else {
            self.bytes = &self.bytes[..fields_end];
            self.body = Span::new(fields_end, fields_end);
            return;
        };
        let room = self.bytes.len() - start;
        let length = match self.first_value(Name::ContentLength) {
            None => room,
            Some(value) => match number_in(self.bytes, value, u32::MAX) {
                Some(length) if length as usize <= room => length as usize,
                _ => {
                    noted.note(ParseError::ContentLength);
                    room
                }
            },
        };
        self.bytes = &self.bytes[..start + length];
        self.body = Span::new(start, start + length);
    }
}

/// The end of the line from `start` to the LF at `feed`, without the CR before it.
#[inline(always)]
fn text_end(bytes: &[u8], start: usize, feed: usize) -> usize {
    if feed > start && bytes[feed - 1] == b'\r' { feed - 1 } else { feed }
}

/// The lines of the header fields: where they start, and what was seen so far.
#[derive(Copy, Clone)]
struct Lines {
    /// Where the next one starts.
    at: usize,
    /// The low bytes from there on.
    lows: Lows,
    /// There was a CR without LF.
    lone_cr: bool,
}

impl Lines {
    /// Where the first line ends, without its line end, and the lines behind it.
    #[inline(always)]
    fn behind_first(bytes: &[u8]) -> Option<(usize, Lines)> {
        let mut lows = Lows::new(0);
        let mark = lows.next(bytes)?;
        if let Some(b"\r\n") = bytes.get(mark..).and_then(<[u8]>::first_chunk) {
            lows.pass_two();
            return Some((mark, Lines { at: mark.wrapping_add(2), lows, lone_cr: false }));
        }
        let feed = feed(bytes, mark)?;
        let (at, lone_cr) = (feed + 1, lone_cr(&bytes[..=feed]));
        Some((text_end(bytes, 0, feed), Lines { at, lows: Lows::new(at), lone_cr }))
    }
}

/// The method at the start of a request line, and where it ends.
#[inline(always)]
fn method(line: &[u8]) -> (Method, usize) {
    // A method that we know is a token; of any other it is to be seen.
    if let Some(start) = window::<16>(line, 0)
        && let Some(word) = start.first_chunk()
    {
        let blank = Block::new(start).equal(b' ').clear();
        let method = Method::of_start(*word, blank);
        if method != Method::Other {
            return (method, blank);
        }
    }
    unusual_method(line)
}

#[cold]
#[inline(never)]
fn unusual_method(line: &[u8]) -> (Method, usize) {
    let end = skip(line, 0, TOKEN);
    (Method::parse(&line[..end]), end)
}

/// The end of a request line as a word.
const VERSION: u64 = u64::from_le_bytes(*b" SIP/2.0");

/// The start of a status line as a word.
const STATUS: u64 = u64::from_le_bytes(*b"SIP/2.0 ");

/// A request line does not end with ` SIP/2.0`. Gives where its URI ends.
#[cold]
#[inline(never)]
fn unusual_version(line: &[u8], uri_start: usize, noted: &mut Noted) -> usize {
    if let Some((uri, version)) = line[uri_start..].split_last_chunk::<8>()
        && version.eq_ignore_ascii_case(b" SIP/2.0")
    {
        return uri_start + uri.len();
    }
    let blank = memchr::memrchr(b' ', &line[uri_start..]);
    let version = blank.map_or(&b""[..], |blank| &line[uri_start + blank + 1..]);
    noted.note(if is_version(version) { ParseError::Version } else { ParseError::StartLine });
    blank.map_or(line.len(), |blank| uri_start + blank)
}

/// What ended the header fields.
enum Ended {
    /// The empty line; the body starts there.
    Fields { body: usize },
    /// There is no room for another.
    Room,
    /// There was no empty line.
    Datagram,
}

/// The LF that ends the line in which `at` is.
#[cold]
#[inline(never)]
fn feed(bytes: &[u8], at: usize) -> Option<usize> {
    memchr::memchr(b'\n', &bytes[at..]).map(|more| at + more)
}

/// What a line behind the first can be.
#[derive(PartialEq, Debug)]
pub(super) enum Line {
    Field(Name, Span),
    /// The end of the header fields.
    Empty,
    /// It goes on with the line before.
    Fold,
    /// None of these.
    Nothing,
}

/// CR LF as a word.
const CRLF: u16 = u16::from_le_bytes(*b"\r\n");

/// The form that nearly always comes: a name of up to 31 bytes, a colon, one blank, a value, CR LF; `mark` is the first low byte from
/// `at` on. Gives the name and where the value starts; it ends at the mark. `None` decides nothing. What is found is what
/// [`any_line`] finds.
#[inline(always)]
pub(super) fn usual_line(bytes: &[u8], at: usize, mark: usize) -> Option<(Name, usize)> {
    let [last, end @ ..] = *window::<3>(bytes, mark.wrapping_sub(1))?;
    if u16::from_le_bytes(end) != CRLF {
        return None;
    }
    let head: &[u8; 19] = window(bytes, at)?;
    let block = head.first_chunk()?;
    let length = Block::new(block).equal(b':').clear();
    // A name has no low byte in it, nor what is looked at behind the colon: the mark is behind that.
    let Some(name) = Name::of_block(block, length) else {
        // The empty line, which is the end, is asked for here, so that no other line is asked for it.
        return if mark == at { None } else { unknown_name(bytes, at, last) };
    };
    let usual = head[length + 1] == b' ' && head[length + 2] > b' ' && last > b' ';
    usual.then(|| (name, at.wrapping_add(length + 2)))
}

/// The same for a name that is not in the table of short ones.
#[inline(never)]
fn unknown_name(bytes: &[u8], at: usize, last: u8) -> Option<(Name, usize)> {
    let head: &[u8; 34] = window(bytes, at)?;
    let (first, rest) = head.split_first_chunk()?;
    let mut length = Block::new(first).plain().run();
    if length == 16 {
        length += Block::new(rest.first_chunk()?).plain().run();
    }
    let [b':', b' ', start] = *head.get(length..)?.first_chunk()? else { return None };
    let usual = length > 0 && start > b' ' && last > b' ';
    // A short one would have been found in the table.
    let name = if length < 16 { Name::Other } else { Name::parse(&head[..length]) };
    usual.then(|| (name, at.wrapping_add(length + 2)))
}

/// Every form.
#[cold]
#[inline(never)]
pub(super) fn any_line(bytes: &[u8], at: usize, feed: usize) -> Line {
    let end = text_end(bytes, at, feed);
    match &bytes[at..end] {
        [] => Line::Empty,
        [b' ' | b'\t', ..] => Line::Fold,
        _ => match field_name(&bytes[..end], at) {
            Some((name, colon)) => Line::Field(name, trimmed(bytes, colon + 1, end)),
            None => Line::Nothing,
        },
    }
}

/// Without blanks at both ends.
fn trimmed(bytes: &[u8], start: usize, mut end: usize) -> Span {
    let start = blanks(&bytes[..end], start);
    while end > start && is(bytes[end - 1], BLANK) {
        end -= 1;
    }
    Span::new(start, end)
}

/// The name at `at` and where its colon is: `token HCOLON` (RFC 3261 §25.1), within `line`, which may have the lines before it.
fn field_name(line: &[u8], at: usize) -> Option<(Name, usize)> {
    let name_end = skip(line, at, TOKEN);
    // Blanks before the colon are space and tab; a CR is none of a line end here, and is found as a lone one.
    let colon = skip(line, name_end, BLANK);
    (name_end > at && byte(line, colon) == b':').then(|| (Name::parse(&line[at..name_end]), colon))
}

/// The form that nearly always comes, with a reason or its blank. `None` decides nothing. What is found is what [`status_line`]
/// finds.
#[inline(always)]
pub(super) fn usual_status_line(line: &[u8]) -> Option<StartLine> {
    let (head, rest) = line.split_first_chunk::<12>()?;
    let (version, code) = head.split_first_chunk()?;
    let [a, b, c, b' '] = *code else { return None };
    let (a, b, c) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'), c.wrapping_sub(b'0'));
    if u64::from_le_bytes(*version) != STATUS || a.wrapping_sub(1) > 5 || b > 9 || c > 9 {
        return None;
    }
    let status = u16::from(a) * 100 + u16::from(b) * 10 + u16::from(c);
    Some(StartLine::Response { status, reason: Span::new(12, rest.len().wrapping_add(12)) })
}

/// `SIP/2.0 SP 3DIGIT SP reason`; the blank before an empty reason may be missing.
pub(super) fn status_line(line: &[u8]) -> Result<StartLine, ParseError> {
    let rest = match line.split_at_checked(8) {
        Some((version, rest)) if version.eq_ignore_ascii_case(b"SIP/2.0 ") => rest,
        _ => {
            let version = line.split(|byte| *byte == b' ').next().unwrap_or_default();
            return Err(if is_version(version) { ParseError::Version } else { ParseError::StartLine });
        }
    };
    let status = rest.get(..3).and_then(|digits| number(digits, 699)).filter(|status| *status >= 100);
    let reason = match rest.get(3) {
        None => line.len(),
        Some(b' ') => 12,
        Some(_) => return Err(ParseError::StartLine),
    };
    let status = status.ok_or(ParseError::StartLine)? as u16;
    Ok(StartLine::Response { status, reason: Span::new(reason, line.len()) })
}

/// `SIP/` digits `.` digits, other than ours.
fn is_version(text: &[u8]) -> bool {
    let Some((name, rest)) = text.split_at_checked(4) else {
        return false;
    };
    let digits = |part: Option<&[u8]>| part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    let mut parts = rest.split(|byte| *byte == b'.');
    name.eq_ignore_ascii_case(b"SIP/")
        && digits(parts.next())
        && digits(parts.next())
        && parts.next().is_none()
        && rest != b"2.0"
}
