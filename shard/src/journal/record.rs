//! A call's end as it lies in the journal: sixteen words.
//!
//! ```text
//!   word  0  sequence, from 1
//!         1  version 16 │ reason 8 │ attempts 8 │ status 16 │ which of gateway, carrier, answered and media there are 16
//!         2  keyed hash of the Call-ID
//!         3  pass 32 │ provider 16 │ zero 16
//!         4  gateway 16 │ carrier 16 │ zero 32
//!         5  started   6 answered   7 ended: microseconds since 1970      8  duration, microseconds
//!         9  … 14  zero
//!        15  zero 32 │ crc32 of the words before, little-endian
//! ```
//!
//! The layout outlives the program that wrote it: a change of what a word means is a new version, and codes of reasons are never used
//! twice. Provider, gateway and carrier are slots of the image that was in force.

use std::time::Duration;

use corelane_core::WallTime;
use corelane_core::call::{CallRecord, EndReason};
use corelane_core::routing::{CarrierSlot, GatewaySlot, ProviderSlot};

/// Words of a record: two cache lines.
pub(super) const RECORD_WORDS: usize = 16;
/// The layout above.
const VERSION: u64 = 1;

const GATEWAY: u64 = 1;
const CARRIER: u64 = 2;
const ANSWERED: u64 = 4;
const MEDIA: u64 = 8;

/// Each reason's code, both ways: a reason without a code does not compile.
macro_rules! reasons {
    ($($reason:ident $code:literal)*) => {
        const fn code_of(reason: EndReason) -> u64 {
            match reason {
                $(EndReason::$reason => $code,)*
            }
        }

        /// `None`: a code of a later program.
        const fn reason_of(code: u64) -> Option<EndReason> {
            match code {
                $($code => Some(EndReason::$reason),)*
                _ => None,
            }
        }
    };
}

reasons! {
    Refused 1
    Cancelled 2
    Unanswered 3
    ByCaller 4
    ByCallee 5
    Unacknowledged 6
    Expired 7
    SessionExpired 8
    Lost 9
    HungUp 10
}

/// The words of one record, checksum included.
pub(super) fn write(sequence: u64, record: &CallRecord) -> [u64; RECORD_WORDS] {
    let mut words = [0; RECORD_WORDS];
    let reason = code_of(record.reason);
    let there = |is: bool, flag| if is { flag } else { 0 };
    let parts = there(record.gateway.is_some(), GATEWAY)
        | there(record.carrier.is_some(), CARRIER)
        | there(record.answered.is_some(), ANSWERED)
        | there(record.media, MEDIA);
    words[0] = sequence;
    words[1] = VERSION | reason << 16 | u64::from(record.attempts) << 24 | u64::from(record.status) << 32 | parts << 48;
    words[2] = record.call_hash;
    words[3] = u64::from(record.pass) | u64::from(record.provider.0) << 32;
    words[4] =
        u64::from(record.gateway.map_or(0, |slot| slot.0)) | u64::from(record.carrier.map_or(0, |slot| slot.0)) << 16;
    words[5] = record.started.0;
    words[6] = record.answered.map_or(0, |at| at.0);
    words[7] = record.ended.0;
    words[8] = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX);
    words[RECORD_WORDS - 1] = checksum(&words);
    words
}

/// Whether these words are the record of that number, whole.
pub(super) fn holds(words: &[u64; RECORD_WORDS], sequence: u64) -> bool {
    words[0] == sequence && words[RECORD_WORDS - 1] == checksum(words)
}

/// The record; `None`: another program wrote it, with another layout.
pub(super) fn read(words: &[u64; RECORD_WORDS]) -> Option<CallRecord> {
    let first = words[1];
    (first & 0xffff == VERSION).then_some(())?;
    let reason = reason_of(first >> 16 & 0xff)?;
    let there = |flag| (first >> 48 & flag != 0).then_some(());
    Some(CallRecord {
        call_hash: words[2],
        pass: words[3] as u32,
        provider: ProviderSlot((words[3] >> 32) as u16),
        gateway: there(GATEWAY).map(|()| GatewaySlot(words[4] as u16)),
        carrier: there(CARRIER).map(|()| CarrierSlot((words[4] >> 16) as u16)),
        attempts: (first >> 24) as u8,
        status: (first >> 32) as u16,
        started: WallTime(words[5]),
        answered: there(ANSWERED).map(|()| WallTime(words[6])),
        ended: WallTime(words[7]),
        duration: Duration::from_micros(words[8]),
        reason,
        media: there(MEDIA).is_some(),
    })
}

fn checksum(words: &[u64; RECORD_WORDS]) -> u64 {
    let mut bytes = [0; 8 * (RECORD_WORDS - 1)];
    for (into, word) in bytes.chunks_exact_mut(8).zip(words) {
        into.copy_from_slice(&word.to_le_bytes());
    }
    crc32fast::hash(&bytes).into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record that tells which it is.
    pub(in crate::journal) fn record(number: u64) -> CallRecord {
        CallRecord {
            call_hash: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            pass: number as u32,
            provider: ProviderSlot(number as u16),
            gateway: number.is_multiple_of(2).then_some(GatewaySlot(u16::MAX)),
            carrier: number.is_multiple_of(3).then_some(CarrierSlot(7)),
            attempts: 8,
            status: 699,
            started: WallTime(1_795_392_000_000_000 + number),
            answered: number.is_multiple_of(5).then_some(WallTime(1_795_392_000_500_000)),
            ended: WallTime(u64::MAX),
            duration: Duration::from_micros(number),
            media: number.is_multiple_of(7),
            reason: reason_of(1 + number % 10).expect("ten reasons"),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        for number in 1..=30 {
            let words = write(number, &record(number));
            assert!(holds(&words, number) && !holds(&words, number + 1));
            assert_eq!(read(&words), Some(record(number)));
        }
    }

    #[test]
    fn no_bit_can_change_unnoticed() {
        let words = write(30, &record(30));
        for bit in 0..64 * RECORD_WORDS {
            let mut changed = words;
            changed[bit / 64] ^= 1 << (bit % 64);
            assert!(!holds(&changed, 30), "bit {bit}");
        }
    }

    #[test]
    fn another_layout_is_not_read() {
        let mut words = write(1, &record(1));
        words[1] += 1;
        assert_eq!(read(&words), None);
        words[1] = VERSION;
        assert_eq!(read(&words), None, "no such reason");
    }
}
