//! One pass over a message: the header values that an endpoint of the harness looks at.
//!
//! Names are taken in full or compact form and any case. Folded lines are joined to nothing: the harness writes none, and a
//! proxy that folds would be seen as a failed call. What is refused: no start line, no Call-ID of ours, no CSeq, more Via or
//! Record-Route lines than [`LINES_MAX`].

/// Via or Record-Route lines of one message.
pub const LINES_MAX: usize = 8;

/// What the first line says.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Start<'a> {
    /// A request and its method.
    Request(&'a [u8]),
    /// A response and its status.
    Response(u16),
}

/// A scanned message. Values are without their name and outer blanks.
#[derive(Copy, Clone)]
pub struct Message<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// The first line.
    pub start: Start<'a>,
    /// The number of the call, from its Call-ID.
    pub call: u32,
    /// The run that the call belongs to, from its Call-ID.
    pub run: u32,
    /// Call-ID.
    pub call_id: &'a [u8],
    /// From.
    pub from: &'a [u8],
    /// To.
    pub to: &'a [u8],
    /// CSeq, number and method.
    pub cseq: &'a [u8],
    /// The first Contact's URI, without brackets.
    pub contact: &'a [u8],
    vias: Lines<'a>,
    record_routes: Lines<'a>,
}

#[derive(Copy, Clone, Default)]
struct Lines<'a> {
    values: [&'a [u8]; LINES_MAX],
    count: usize,
}

impl<'a> Lines<'a> {
    fn push(&mut self, value: &'a [u8]) -> Option<()> {
        *self.values.get_mut(self.count)? = value;
        self.count += 1;
        Some(())
    }

    fn all(&self) -> &[&'a [u8]] {
        &self.values[..self.count]
    }
}

impl<'a> Message<'a> {
    /// Scans a datagram; `None` when it is nothing that a call of the harness can use.
    #[must_use]
    pub fn scan(bytes: &'a [u8]) -> Option<Message<'a>> {
        let (first, mut rest) = line(bytes)?;
        let start = start(first)?;
        let empty: &[u8] = b"";
        let (mut vias, mut record_routes) = (Lines::default(), Lines::default());
        let (mut call_id, mut from, mut to, mut cseq, mut contact) = (empty, empty, empty, empty, empty);
        while let Some((header, after)) = line(rest) {
            rest = after;
            if header.is_empty() {
                break;
            }
            let Some(colon) = memchr::memchr(b':', header) else { continue };
            let value = header[colon + 1..].trim_ascii();
            match Name::of(header[..colon].trim_ascii_end()) {
                Name::Via => vias.push(value)?,
                Name::RecordRoute => record_routes.push(value)?,
                Name::CallId => call_id = value,
                Name::From => from = value,
                Name::To => to = value,
                Name::CSeq => cseq = value,
                Name::Contact if contact.is_empty() => contact = uri(value),
                Name::Contact | Name::Other => {}
            }
        }
        if cseq.is_empty() || from.is_empty() || to.is_empty() || vias.count == 0 {
            return None;
        }
        let run = from_hex(call_id.get(..8)?)?;
        let call = from_hex(call_id.get(9..17)?)?;
        Some(Message { bytes, start, call, run, call_id, from, to, cseq, contact, vias, record_routes })
    }

    /// The method of the CSeq.
    #[must_use]
    pub fn cseq_method(&self) -> &'a [u8] {
        self.cseq.rsplit(|byte| *byte == b' ').next().unwrap_or_default()
    }

    /// The Via lines in order.
    #[must_use]
    pub fn vias(&self) -> &[&'a [u8]] {
        self.vias.all()
    }

    /// The Record-Route lines in order.
    #[must_use]
    pub fn record_routes(&self) -> &[&'a [u8]] {
        self.record_routes.all()
    }

    /// Whether the To has a tag.
    #[must_use]
    pub fn has_to_tag(&self) -> bool {
        memchr::memmem::find(self.to, b";tag=").is_some()
    }

    /// Writes the Record-Route values in reverse, comma-separated: a caller's route set (RFC 3261 §12.1.2).
    pub fn write_route_set(&self, out: &mut Vec<u8>) {
        let mut first = true;
        for value in self.record_routes().iter().rev() {
            let mut end = value.len();
            while let Some(start) = last_value(&value[..end]) {
                if !first {
                    out.extend_from_slice(b", ");
                }
                first = false;
                out.extend_from_slice(value[start..end].trim_ascii());
                end = start.saturating_sub(1);
            }
        }
    }
}

enum Name {
    Via,
    RecordRoute,
    CallId,
    From,
    To,
    CSeq,
    Contact,
    Other,
}

impl Name {
    fn of(name: &[u8]) -> Name {
        let is = |full: &[u8]| name.eq_ignore_ascii_case(full);
        match (name.len(), name.first().map_or(0, u8::to_ascii_lowercase)) {
            (1, b'v') => Name::Via,
            (1, b'i') => Name::CallId,
            (1, b'f') => Name::From,
            (1, b't') => Name::To,
            (1, b'm') => Name::Contact,
            (3, b'v') if is(b"via") => Name::Via,
            (12, b'r') if is(b"record-route") => Name::RecordRoute,
            (7, b'c') if is(b"call-id") => Name::CallId,
            (7, b'c') if is(b"contact") => Name::Contact,
            (4, b'f') if is(b"from") => Name::From,
            (2, b't') if is(b"to") => Name::To,
            (4, b'c') if is(b"cseq") => Name::CSeq,
            _ => Name::Other,
        }
    }
}

/// A line without its end, and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let text = &bytes[..end];
    Some((text.strip_suffix(b"\r").unwrap_or(text), &bytes[end + 1..]))
}

fn start(first: &[u8]) -> Option<Start<'_>> {
    if let Some(status) = first.strip_prefix(b"SIP/2.0 ") {
        let [hundreds @ b'1'..=b'6', tens @ b'0'..=b'9', ones @ b'0'..=b'9', ..] = status else { return None };
        let digit = |byte: &u8| u16::from(byte - b'0');
        return Some(Start::Response(digit(hundreds) * 100 + digit(tens) * 10 + digit(ones)));
    }
    let method_end = memchr::memchr(b' ', first)?;
    first.ends_with(b" SIP/2.0").then(|| Start::Request(&first[..method_end]))
}

/// The URI of a name-addr or addr-spec.
fn uri(value: &[u8]) -> &[u8] {
    if let Some(open) = memchr::memchr(b'<', value) {
        let inner = &value[open + 1..];
        return memchr::memchr(b'>', inner).map_or(b"", |close| &inner[..close]);
    }
    &value[..memchr::memchr(b';', value).unwrap_or(value.len())]
}

/// Where the last of comma-separated values starts; a comma inside angle brackets separates nothing. `None` when none is left.
fn last_value(list: &[u8]) -> Option<usize> {
    if list.trim_ascii().is_empty() {
        return None;
    }
    let mut inside = false;
    for (place, byte) in list.iter().enumerate().rev() {
        match byte {
            b'>' => inside = true,
            b'<' => inside = false,
            b',' if !inside => return Some(place + 1),
            _ => {}
        }
    }
    Some(0)
}

fn from_hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(value << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, Message, Start};

    const ANSWER: &[u8] = b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1\r\nVIA : SIP/2.0/UDP b\r\n\
        Record-Route: <sip:p1;lr>, <sip:p2;x=a,b;lr>\r\nRecord-Route: <sip:p3;lr>\r\nFrom: <sip:f>;tag=1\r\n\
        t: <sip:t>;tag=2\r\nCall-ID: 0000002a-000000ff-x@h\r\nCSeq: 7 INVITE\r\nContact: \"X\" <sip:c@d:5070>;q=1\r\n\r\n\
        Via: body\r\n";

    #[test]
    fn reads_what_an_endpoint_needs() {
        let message = Message::scan(ANSWER).expect("a good answer");
        assert_eq!(message.start, Start::Response(200));
        assert_eq!((message.run, message.call), (42, 255));
        assert_eq!(message.vias().len(), 2, "compact, odd case, and none from the body");
        assert_eq!(message.contact, b"sip:c@d:5070");
        assert_eq!(message.cseq_method(), b"INVITE");
        assert!(message.has_to_tag());
    }

    #[test]
    fn the_route_set_is_reversed_over_lines_and_values() {
        let mut out = Vec::new();
        Message::scan(ANSWER).expect("a good answer").write_route_set(&mut out);
        assert_eq!(out, b"<sip:p3;lr>, <sip:p2;x=a,b;lr>, <sip:p1;lr>");
    }

    #[test]
    fn refuses_what_is_no_message_of_a_call() {
        let text = std::str::from_utf8(ANSWER).expect("ASCII");
        let many_vias = text.replace("v: ", &format!("{}v: ", "v: x\r\n".repeat(LINES_MAX)));
        for bad in [
            "",
            "\r\n\r\n",
            "SIP/2.0 20 OK\r\n",
            "INVITE sip:a HTTP/1.1\r\n",
            &text.replace("Call-ID: 0000002a", "Call-ID: zz00002a"),
            &text.replace("CSeq", "X-CSeq"),
            &many_vias,
        ] {
            assert!(Message::scan(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
