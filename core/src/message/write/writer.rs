//! The output: a slice and how far it is filled.

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv6Addr};

use crate::memory::{Full, Resource};
use crate::message::block::window;

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
    #[inline(always)]
    pub fn put(&mut self, bytes: &[u8]) {
        let at = self.at();
        match self.out.get_mut(at..at.wrapping_add(bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length = at.wrapping_add(bytes.len());
            }
            None => self.overflow = true,
        }
    }

    /// Where to write next. An output is small; said so, it leaves one comparison for a piece: its end cannot wrap.
    #[inline(always)]
    fn at(&self) -> usize {
        self.length as u32 as usize
    }

    /// Appends bytes that are nearly always few: up to 32 without a call.
    #[inline(always)]
    pub fn put_short(&mut self, bytes: &[u8]) {
        let (at, length) = (self.at(), bytes.len());
        if length <= 32
            && let Some(room) = self.out.get_mut(at..at.wrapping_add(length))
        {
            copy_short(bytes, room);
            self.length = at.wrapping_add(length);
        } else {
            self.put(bytes);
        }
    }

    /// Appends the first `length` bytes of `bytes`. They go as one block, and what comes next overwrites those behind: no call, no
    /// loop.
    #[inline(always)]
    fn put_block<const SIZE: usize>(&mut self, bytes: &[u8; SIZE], length: usize) {
        let at = self.at();
        match self.out.get_mut(at..at.wrapping_add(SIZE)) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length = at.wrapping_add(length);
            }
            None => self.put(&bytes[..length]),
        }
    }

    /// Appends a part of a message.
    #[inline(always)]
    pub(super) fn put_part(&mut self, message: &[u8], start: usize, end: usize) {
        let length = end.wrapping_sub(start);
        match window::<32>(message, start) {
            Some(block) if length <= 32 => self.put_block(block, length),
            _ => self.put(&message[start..end]),
        }
    }

    /// Appends a decimal number.
    #[inline]
    pub fn put_number(&mut self, number: u32) {
        // The digits in front that do not count go.
        if let Some(pair) = PAIRS.get(number as usize) {
            let spare = u32::from(number < 10);
            self.put_block(&(pair >> (8 * spare)).to_le_bytes(), 2 - spare as usize);
        } else if number < 10_000 {
            let (high, low) = (PAIRS[number as usize / 100], PAIRS[number as usize % 100]);
            let spare = u32::from(number < 1_000);
            let word = (u32::from(high) | u32::from(low) << 16) >> (8 * spare);
            self.put_block(&word.to_le_bytes(), 4 - spare as usize);
        } else {
            let mut digits = [0; 10];
            let start = decimal(number, &mut digits);
            self.put(&digits[start..]);
        }
    }

    /// Appends an address; IPv6 in brackets where `reference` (sent-by, URIs), bare otherwise (`received`).
    #[inline]
    pub fn put_ip(&mut self, ip: IpAddr, reference: bool) {
        match ip {
            IpAddr::V4(ip) => {
                // An octet is four bytes at most with the dot behind it; the last dot is left out.
                let mut text = [0; 20];
                let mut length = 0usize;
                for octet in ip.octets() {
                    let (word, size) = OCTETS[usize::from(octet)];
                    // At most twelve bytes are there; said so, nothing is to be checked.
                    text[length % 16..][..4].copy_from_slice(&word);
                    length = length.wrapping_add(usize::from(size));
                }
                self.put_block(&text, length.wrapping_sub(1));
            }
            // RFC 5952, as the standard library writes it. The sink never fails: it remembers.
            IpAddr::V6(ip) => self.put_ip6(ip, reference),
        }
    }

    #[cold]
    #[inline(never)]
    fn put_ip6(&mut self, ip: Ipv6Addr, reference: bool) {
        let _ = if reference { write!(Sink(self), "[{ip}]") } else { write!(Sink(self), "{ip}") };
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

/// Copies up to 32 bytes to as many: both ends of the bytes as a block each, of the largest size that is not larger. The blocks overlap
/// where the bytes are fewer than twice that.
#[inline(always)]
fn copy_short(from: &[u8], to: &mut [u8]) {
    #[inline(always)]
    fn ends<const SIZE: usize>(from: &[u8], to: &mut [u8]) -> Option<()> {
        let (first, last) = (*from.first_chunk::<SIZE>()?, *from.last_chunk::<SIZE>()?);
        *to.first_chunk_mut()? = first;
        *to.last_chunk_mut()? = last;
        Some(())
    }
    let _ = ends::<16>(from, to)
        .or_else(|| ends::<8>(from, to))
        .or_else(|| ends::<4>(from, to))
        .or_else(|| ends::<2>(from, to))
        .or_else(|| ends::<1>(from, to));
}

/// Two digits each, the first one lowest.
static PAIRS: [u16; 100] = {
    let mut pairs = [0; 100];
    let mut pair = 0;
    while pair < 100 {
        pairs[pair] = u16::from_le_bytes([b'0' + (pair / 10) as u8, b'0' + (pair % 10) as u8]);
        pair += 1;
    }
    pairs
};

/// Each octet in decimal with a dot behind it, and how many bytes that are.
static OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let digits = 1 + (octet > 9) as usize + (octet > 99) as usize;
        let (mut at, mut rest) = (digits, octet);
        while at > 0 {
            at -= 1;
            octets[octet].0[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        octets[octet].1 = digits as u8 + 1;
        octet += 1;
    }
    octets
};

/// Writes a number at the end of `text`, which has room for it, and says where it starts.
#[inline]
fn decimal(mut number: u32, text: &mut [u8]) -> usize {
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return at;
        }
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
    use std::string::ToString;

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
    fn every_short_number_and_octet() {
        for number in 0..11_000u32 {
            let mut out = [0; 24];
            // Room for whole blocks, and no more than is needed.
            for room in [number.to_string().len(), 24] {
                let mut writer = Writer::new(&mut out[..room]);
                writer.put_number(number);
                assert_eq!(writer.finish(), Ok(number.to_string().as_bytes()));
            }
            let octet = number as u8;
            let ip = core::net::Ipv4Addr::new(octet, 9, 99, !octet);
            for room in [ip.to_string().len(), 24] {
                let mut writer = Writer::new(&mut out[..room]);
                writer.put_ip(ip.into(), false);
                assert_eq!(writer.finish(), Ok(ip.to_string().as_bytes()));
            }
        }
    }

    #[test]
    fn short_pieces_of_every_length() {
        let bytes: std::vec::Vec<u8> = (0..100).collect();
        for length in 0..100 {
            let mut out = [0; 100];
            let mut writer = Writer::new(&mut out[..length + 1]);
            writer.put(b"a");
            writer.put_short(&bytes[..length]);
            assert_eq!(writer.finish().map(|text| text.split_at(1)), Ok((&b"a"[..], &bytes[..length])));
            let mut writer = Writer::new(&mut out[..length]);
            writer.put(b"a");
            writer.put_short(&bytes[..length]);
            assert_eq!(writer.finish(), Err(Full(Resource::MessageSize)));
        }
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
