//! One record of the table of sessions, as it lies in the file.
//!
//! ```text
//!   record, 64 bytes   0 magic 32   4 state 8 (1 held, 2 due)   8 due since 32   12 Corelane node 32   16 boot 64
//!                     24 hash of the Call-ID 64   32 pass 32   36 port 16   38 zeros   40 address 128   56 its scope 32
//!                     60 CRC-32 of bytes 12 to 59
//! ```
//!
//! Numbers are little-endian, and an IPv4 address is mapped into IPv6. The checksum leaves out the state, and since when (in seconds of the wall clock; 0
//! is not known): so a record falls due by one byte, and wherever the process is killed the debt is there. A record that begins otherwise is not read:
//! those of before (`CLM1`) named the row of a media node, and nobody knows which machine that was.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use corelane_core::bus::MediaCall;

use super::super::id::{Origin, SessionId};

/// Bytes of a record.
pub const RECORD: usize = 64;
/// `CLM2`; the records of before named the row of a node instead of its address.
const MAGIC: u32 = 0x324d_4c43;
/// Where a record's state lies.
const STATE: usize = 4;
const HELD: u8 = 1;
const DUE: u8 = 2;
/// And since when it is due.
const SINCE: usize = 8;

/// A session at one address.
pub type Debt = (SocketAddr, SessionId);

/// What bytes hold, as they are.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Survey {
    /// Records that can be read.
    pub sound: u64,
    /// Records that begin as ours do and cannot be read.
    pub torn: u64,
    /// Records that begin otherwise.
    pub foreign: u64,
}

/// Looks at every record and changes none.
#[must_use]
pub fn survey(bytes: &[u8]) -> Survey {
    let mut survey = Survey::default();
    for record in bytes.as_chunks::<RECORD>().0.iter().filter(|record| record.iter().any(|byte| *byte != 0)) {
        if read(record).is_some() {
            survey.sound += 1;
        } else if record.starts_with(&MAGIC.to_le_bytes()) {
            survey.torn += 1;
        } else {
            survey.foreign += 1;
        }
    }
    survey
}

/// The debt of a record begins: first since when, then the byte that makes it one.
pub(super) fn fall_due(record: &mut [u8; RECORD], since_s: u32) {
    record[SINCE..SINCE + 4].copy_from_slice(&since_s.to_le_bytes());
    record[STATE] = DUE;
}

/// The bytes of a record, held or due since a second.
pub(super) fn record((address, session): Debt, due_since_s: Option<u32>) -> [u8; RECORD] {
    let mut new = [0; RECORD];
    let mut put = |at: usize, bytes: &[u8]| new[at..at + bytes.len()].copy_from_slice(bytes);
    let (ip, scope) = match address {
        SocketAddr::V4(address) => (address.ip().to_ipv6_mapped(), 0),
        SocketAddr::V6(address) => (*address.ip(), address.scope_id()),
    };
    put(0, &MAGIC.to_le_bytes());
    put(STATE, &[if due_since_s.is_some() { DUE } else { HELD }]);
    put(SINCE, &due_since_s.unwrap_or(0).to_le_bytes());
    put(12, &session.origin.node.to_le_bytes());
    put(16, &session.origin.boot.to_le_bytes());
    put(24, &session.call.call_hash.to_le_bytes());
    put(32, &session.call.pass.to_le_bytes());
    put(36, &address.port().to_le_bytes());
    put(40, &ip.octets());
    put(56, &scope.to_le_bytes());
    let checksum = crc32fast::hash(&new[12..60]);
    new[60..].copy_from_slice(&checksum.to_le_bytes());
    new
}

/// What a record says, and since when it is due, if it is.
pub(super) fn read(record: &[u8; RECORD]) -> Option<(Debt, Option<u32>)> {
    let word = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if word(0) != MAGIC || word(60) != crc32fast::hash(&record[12..60]) || !matches!(record[STATE], HELD | DUE) {
        return None;
    }
    let origin = Origin { node: word(12), boot: long(16) };
    let call = MediaCall { call_hash: long(24), pass: word(32) };
    let octets: [u8; 16] = std::array::from_fn(|place| record[40 + place]);
    let port = u16::from_le_bytes([record[36], record[37]]);
    let address = match Ipv6Addr::from(octets).to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, word(56)).into(),
    };
    Some(((address, SessionId { origin, call }), (record[STATE] == DUE).then(|| word(SINCE))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(call_hash: u64) -> SessionId {
        SessionId { origin: Origin { node: 7, boot: 1 }, call: MediaCall { call_hash, pass: 1 } }
    }

    #[test]
    fn an_address_is_kept_as_it_is() {
        let addresses: [SocketAddr; 4] = ["192.0.2.1:2223", "192.0.2.1:2224", "[2001:db8::1]:65535", "[fe80::1%7]:1"]
            .map(|text| text.parse().unwrap());
        for address in addresses {
            for since_s in [None, Some(9)] {
                let record = record((address, session(1)), since_s);
                assert_eq!(read(&record), Some(((address, session(1)), since_s)));
            }
        }
    }

    #[test]
    fn what_begins_otherwise_is_not_read() {
        let address = "192.0.2.1:2223".parse().unwrap();
        let mut older = record((address, session(1)), None);
        assert_eq!(survey(&older), Survey { sound: 1, torn: 0, foreign: 0 });
        older[..4].copy_from_slice(b"CLM1");
        assert_eq!((survey(&older), read(&older)), (Survey { sound: 0, torn: 0, foreign: 1 }, None));
    }
}
