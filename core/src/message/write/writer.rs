//! The output: a slice and how far it is filled.

use core::fmt::{self, Write};
use core::net::IpAddr;

use crate::memory::{Full, Resource};

/// A bounded output. Overflow is remembered and reported once, at the end.
pub struct Writer<'b> {
    out: &'b mut [u8],
    length: usize,
    overflow: bool,
}

impl<'b> Writer<'b> {
    /// Writes into `out` from its start.
    #[must_use]
    pub fn new(out: &'b mut [u8]) -> Writer<'b> {
        Writer { out, length: 0, overflow: false }
    }

    /// Appends bytes.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.length..).and_then(|room| room.get_mut(..bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => self.overflow = true,
        }
    }

    /// Appends a decimal number.
    pub fn put_number(&mut self, mut number: u32) {
        let mut digits = [0; 10];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.put(&digits[at..]);
    }

    /// Appends an address; IPv6 in brackets where `reference` (sent-by, URIs), bare otherwise (`received`).
    pub fn put_ip(&mut self, ip: IpAddr, reference: bool) {
        match ip {
            IpAddr::V4(ip) => {
                let [first, rest @ ..] = ip.octets();
                self.put_number(u32::from(first));
                for octet in rest {
                    self.put(b".");
                    self.put_number(u32::from(octet));
                }
            }
            // RFC 5952, as the standard library writes it. The sink never fails: it remembers.
            IpAddr::V6(ip) => {
                let _ = if reference { write!(Sink(self), "[{ip}]") } else { write!(Sink(self), "{ip}") };
            }
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Nothing was written so far.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// What was written.
    ///
    /// # Errors
    /// [`Full`] with [`Resource::MessageSize`] when it did not fit.
    pub fn finish(self) -> Result<&'b [u8], Full> {
        if self.overflow { Err(Full(Resource::MessageSize)) } else { Ok(&self.out[..self.length]) }
    }
}

struct Sink<'w, 'b>(&'w mut Writer<'b>);

impl Write for Sink<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.put(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Writer;
    use crate::memory::{Full, Resource};

    #[test]
    fn numbers_and_addresses() {
        let mut out = [0; 256];
        let mut writer = Writer::new(&mut out);
        for number in [0, 7, 10, 255, 65_535, u32::MAX] {
            writer.put_number(number);
            writer.put(b" ");
        }
        for ip in ["0.0.0.0", "192.0.2.255", "2001:db8::9:1", "::ffff:192.0.2.2"] {
            let ip = ip.parse().expect("an address");
            writer.put_ip(ip, false);
            writer.put(b" ");
            writer.put_ip(ip, true);
            writer.put(b" ");
        }
        let expected = "0 7 10 255 65535 4294967295 0.0.0.0 0.0.0.0 192.0.2.255 192.0.2.255 \
                        2001:db8::9:1 [2001:db8::9:1] ::ffff:192.0.2.2 [::ffff:192.0.2.2] ";
        assert_eq!(writer.finish(), Ok(expected.as_bytes()));
    }

    #[test]
    fn overflow_is_remembered_though_something_shorter_fits_later() {
        let mut out = [0; 4];
        let mut writer = Writer::new(&mut out);
        writer.put(b"abc");
        writer.put(b"de");
        writer.put(b"f");
        assert_eq!(writer.finish(), Err(Full(Resource::MessageSize)));
        let mut writer = Writer::new(&mut out);
        writer.put(b"abcd");
        assert_eq!(writer.finish(), Ok(&b"abcd"[..]));
    }
}
