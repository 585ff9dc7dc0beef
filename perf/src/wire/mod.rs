//! SIP as two endpoints need it to place a call: read what a peer sent, write what they say.
//!
//! Corelane's parser and writer are what the harness measures, so it uses neither. This one is small because it reads only
//! what proxies return of messages that the harness wrote, and strict where a proxy's fault would show: an answer whose
//! Vias were not popped, or without a tag, does not scan.

pub mod callee;
pub mod caller;
pub mod scan;

pub use callee::Callee;
pub use caller::{Caller, Dialog};
pub use scan::{Message, Start};

/// Appends a number in decimal.
pub(crate) fn decimal(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    let mut rest = value;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends exactly eight hexadecimal digits.
pub(crate) fn hex(out: &mut Vec<u8>, value: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0u8; 8];
    for (place, digit) in digits.iter_mut().enumerate() {
        *digit = DIGITS[(value >> (28 - 4 * place)) as usize & 15];
    }
    out.extend_from_slice(&digits);
}

/// Appends all pieces.
pub(crate) fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// A session description of the size that softswitches send: eight codecs, DTMF, direction.
pub(crate) fn session(host: &str, port: u16) -> Vec<u8> {
    let family = if host.contains(':') { "IP6" } else { "IP4" };
    format!(
        "v=0\r\no=- 3912765410 3912765410 IN {family} {host}\r\ns=-\r\nc=IN {family} {host}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8 0 9 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )
    .into_bytes()
}
