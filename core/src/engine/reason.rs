//! The Reason header (RFC 3326): read from what peers send, written into the CANCELs and BYEs of Corelane's own.

use arrayvec::ArrayVec;

use super::records::Cancel;
use crate::call::EndReason;
use crate::message::{Message, Name};

/// Room for a Reason line.
const LINE_MAX: usize = 64;

/// A complete header line, or nothing.
pub(crate) type ReasonLine = ArrayVec<u8, LINE_MAX>;

/// One value of a Reason header: a protocol and its cause.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cause {
    /// Of ITU-T Q.850; else a SIP status.
    pub(crate) q850: bool,
    pub(crate) code: u16,
}

impl Cause {
    /// The first value of one of the two protocols; with `q850_only` the first of Q.850.
    pub(crate) fn read(message: &Message<'_>, q850_only: bool) -> Option<Cause> {
        message.first(Name::Reason)?;
        message.values(Name::Reason).find_map(|value| {
            let mut parts = parts(message.text(value));
            let protocol = parts.next()?.trim_ascii();
            let q850 = protocol.eq_ignore_ascii_case(b"Q.850");
            if !q850 && (q850_only || !protocol.eq_ignore_ascii_case(b"SIP")) {
                return None;
            }
            let code = parts.find_map(|param| {
                let mut sides = param.splitn(2, |byte| *byte == b'=');
                let name = sides.next()?.trim_ascii();
                let digits = sides.next()?.trim_ascii();
                name.eq_ignore_ascii_case(b"cause").then(|| core::str::from_utf8(digits).ok()?.parse().ok()).flatten()
            })?;
            Some(Cause { q850, code })
        })
    }

    /// Why a branch is cancelled. What the caller said goes on (§2); without a word from him there is none from us.
    pub(crate) fn of_cancel(why: Cancel, callers: Option<Cause>) -> Option<Cause> {
        match why {
            Cancel::ByCaller | Cancel::No => callers,
            Cancel::ByTimer | Cancel::Abandoned => Some(Cause { q850: false, code: 408 }),
            // What tells a forked telephone that this is no missed call.
            Cancel::AnsweredElsewhere => Some(Cause { q850: false, code: 200 }),
        }
    }

    /// Why Corelane ends a call that stands. Q.850: 102 is "recovery on timer expiry", 38 "network out of order", 31 "normal,
    /// unspecified", 26 "non-selected user clearing".
    pub(crate) const fn of_end(reason: EndReason) -> Cause {
        let code = match reason {
            EndReason::Unacknowledged | EndReason::Expired | EndReason::SessionExpired => 102,
            EndReason::Lost => 38,
            EndReason::Cancelled | EndReason::Unanswered => 26,
            _ => 31,
        };
        Cause { q850: true, code }
    }

    /// The line.
    pub(crate) fn line(self) -> ReasonLine {
        let mut line = ReasonLine::new();
        line.extend(*b"Reason: ");
        line.extend(if self.q850 { *b"Q.850" } else { *b"SIP\0\0" }.into_iter().filter(|byte| *byte != 0));
        line.extend(*b";cause=");
        let mut divisor = 10_000;
        while divisor > 0 {
            if self.code >= divisor || divisor == 1 {
                line.push(b'0' + (self.code / divisor % 10) as u8);
            }
            divisor /= 10;
        }
        line.extend(*b"\r\n");
        line
    }
}

/// The protocol and the parameters of a value. A `;` in quotes parts nothing, nor does an escaped quote end them (RFC 3326 §2, RFC 3261
/// §25.1 `quoted-string`).
fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |byte| {
        let apart = *byte == b';' && !quoted;
        quoted ^= *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && quoted && !escaped;
        apart
    })
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    fn read(lines: &str, q850_only: bool) -> Option<Cause> {
        let text = format!(
            "CANCEL sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nMax-Forwards: 1\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 CANCEL\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        let message = Message::parse(text.as_bytes()).expect("a message");
        Cause::read(&message, q850_only)
    }

    #[test]
    fn causes_are_read() {
        let q850 = |code| Some(Cause { q850: true, code });
        assert_eq!(read("Reason: Q.850;cause=16;text=\"Normal; clearing\"\r\n", false), q850(16));
        assert_eq!(read("Reason: SIP ;cause=200 , Q.850 ;cause = 34\r\n", true), q850(34));
        assert_eq!(read("Reason: sip;text=\"x\";cause=600\r\n", false), Some(Cause { q850: false, code: 600 }));
        assert_eq!(read("Reason: Q.850;text=\"x;cause=34;y\";cause=16\r\n", false), q850(16));
        assert_eq!(read("Reason: Q.850;text=\"\\\";cause=34;\\\\\";cause=16\r\n", false), q850(16), "escapes");
        assert_eq!(read("Reason: Q.850;cause=16;text=\"no end;cause=34\r\n", false), q850(16));
        assert_eq!(read("Reason: preemption;cause=1\r\n", false), None);
        assert_eq!(read("Reason: SIP;cause=99999\r\n", false), None);
        assert_eq!(read("", false), None);
    }

    #[test]
    fn causes_are_written() {
        for (cause, line) in [
            (Cause { q850: true, code: 16 }, "Reason: Q.850;cause=16\r\n"),
            (Cause { q850: false, code: 200 }, "Reason: SIP;cause=200\r\n"),
            (Cause { q850: false, code: 0 }, "Reason: SIP;cause=0\r\n"),
            (Cause { q850: true, code: u16::MAX }, "Reason: Q.850;cause=65535\r\n"),
        ] {
            assert_eq!(cause.line().as_slice(), line.as_bytes());
        }
    }
}
