//! What no honest peer sends: mutilated, repeated, forged and foreign messages.

use super::ladder::NO_CALL;
use super::network::{Event, Party, SECOND};
use super::sdp::{Origin, Sdp};
use super::wire::{Branch, Method, Request};
use super::world::World;
use crate::wire::put;

/// Lines that a mutilated message may get on top of its own.
const ODD_LINES: [&[u8]; 10] = [
    b"Max-Forwards: 0\r\n",
    b"Proxy-Require: teleport\r\n",
    b"Route: <sip:203.0.113.99;lr>\r\n",
    b"Session-Expires: 1\r\n",
    b"Session-Expires: 99999999999999999999\r\nMin-SE: 0\r\n",
    b"Content-Length: 70000\r\n",
    b"Via: SIP/2.0/UDP 203.0.113.99;branch=z9hG4bKevil\r\n",
    b"Contact: <sip:203.0.113.99>\r\n",
    b"Call-ID: somebody-elses\r\n",
    b"X-Long: ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss\r\n",
];

impl World<'_> {
    /// Something wrong that follows a right message.
    pub(super) fn mischief(&mut self, from: Party, listener: u8, bytes: &[u8], call: u32) {
        let mut wrong = bytes.to_vec();
        let place = self.random.below(wrong.len() as u64) as usize;
        let mut from = from;
        match self.random.below(10) {
            0 => {
                for _ in 0..self.random.between(1, 8) {
                    let at = self.random.below(wrong.len() as u64) as usize;
                    wrong[at] = self.random.bits() as u8;
                }
            }
            1 => wrong.truncate(place),
            2 => {
                let line = line_at(&wrong, place);
                wrong.drain(line);
            }
            3 => {
                let line = wrong[line_at(&wrong, place)].to_vec();
                let at = line_at(&wrong, place).start;
                wrong.splice(at..at, line);
            }
            4 => from = self.somebody_else(),
            5 => replace(&mut wrong, b"CSeq: ", self.random.pick(b"09")),
            6 => {
                let digit = self.random.pick(b"0123456789abcdefx");
                replace(&mut wrong, b";tag=c", digit);
                replace(&mut wrong, b";tag=g", digit);
            }
            7 => {
                let padding = self.random.between(1_000, 9_000) as usize;
                wrong.resize(wrong.len() + padding, b'x');
            }
            8 => {
                let line = self.random.pick(&ODD_LINES);
                let at = line_at(&wrong, place).start.max(first_line_end(&wrong));
                wrong.splice(at..at, line.iter().copied());
            }
            _ => {
                // The same again, when it is long forgotten.
                let after = self.random.between(SECOND, 60 * SECOND);
                let packet = self.network.store(bytes, false);
                let event = Event::ToEngine { from, listener, packet, shard: None };
                self.network.schedule(self.now_us + after, event);
                return;
            }
        }
        self.tally.mischief += 1;
        self.transmit(from, listener, &wrong, call);
    }

    fn somebody_else(&mut self) -> Party {
        let callers = u64::from(self.plan.callers);
        match self.random.below(3) {
            0 => Party::Caller(self.random.below(callers) as u8),
            1 => Party::Gateway(self.random.below(u64::from(self.plan.gateways)) as u8),
            _ => Party::Stranger(self.random.below(4) as u8),
        }
    }

    /// Somebody whom no call knows sends something.
    pub(super) fn noise(&mut self) {
        let from = self.somebody_else();
        let stray = Branch { call: NO_CALL, leg: 0, serial: self.random.bits() as u32 };
        let stray_sdp = Sdp { party: from, of: Origin { call: NO_CALL, leg: 0, number: 0 } };
        let method = self.random.pick(&[Method::Invite, Method::Options, Method::Bye, Method::Other, Method::Cancel]);
        let mut bytes = Vec::new();
        match self.random.below(4) {
            0 => bytes.extend_from_slice(b"\r\n\r\n"),
            1 => {
                for _ in 0..self.random.between(1, 300) {
                    bytes.push(self.random.bits() as u8);
                }
            }
            2 => {
                put(
                    &mut bytes,
                    &[b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKAAAA\r\nFrom: <sip:a>;tag=1"],
                );
                put(
                    &mut bytes,
                    &[b"\r\nTo: <sip:b>;tag=2\r\nCall-ID: stray\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"],
                );
            }
            _ if matches!(from, Party::Stranger(_)) || method != Method::Invite => {
                let request = Request {
                    method,
                    uri: b"sip:1930@10.0.0.1",
                    from_party: from,
                    branch: stray,
                    route: b"",
                    from: b"<sip:noise@192.0.2.99>;tag=n",
                    to: b"<sip:1930@10.0.0.1>",
                    seed: self.seed,
                    cseq: 1,
                    lines: b"",
                    body: Some(stray_sdp),
                };
                request.write(&mut bytes);
            }
            _ => stray_sdp.write(&mut bytes),
        }
        self.tally.noise += 1;
        self.transmit(from, 0, &bytes, NO_CALL);
    }
}

/// The line around a place.
fn line_at(bytes: &[u8], place: usize) -> std::ops::Range<usize> {
    let start = bytes[..place].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let end = bytes[place..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| place + end + 1);
    start..end
}

fn first_line_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1)
}

/// Puts another byte behind the first occurrence of a text.
fn replace(bytes: &mut [u8], after: &[u8], with: u8) {
    if let Some(at) = memchr::memmem::find(bytes, after)
        && let Some(byte) = bytes.get_mut(at + after.len())
    {
        *byte = with;
    }
}

#[cfg(test)]
mod tests {
    use super::{line_at, replace};

    #[test]
    fn lines_are_found_and_bytes_replaced() {
        let mut text = b"one\r\nCSeq: 7 BYE\r\nthree".to_vec();
        assert_eq!(&text[line_at(&text, 7)], b"CSeq: 7 BYE\r\n");
        assert_eq!(&text[line_at(&text, 20)], b"three");
        replace(&mut text, b"CSeq: ", b'0');
        assert_eq!(&text[5..], b"CSeq: 0 BYE\r\nthree");
        replace(&mut text, b"three", b'x');
        assert!(text.ends_with(b"three"), "nothing is behind it");
    }
}
