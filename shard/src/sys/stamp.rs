//! When the kernel got a datagram: the control message of `SO_TIMESTAMPNS`.
//!
//! ```text
//!   0        8        12       16            24            32
//!   │ length │ level  │ type   │ seconds     │ nanoseconds │      the only control message that our sockets ask for
//! ```
//!
//! The stamp is of the wall clock and is made before the datagram waits in the socket's buffer, so that now minus the stamp is all
//! that it waited for this shard.

use corelane_core::WallTime;

/// Bytes of the control message.
pub(crate) const STAMP_BYTES: usize = HEADER + size_of::<libc::timespec>();

const HEADER: usize = size_of::<libc::cmsghdr>();

// The figure; where it does not hold, the offsets below do not either.
const _: () = assert!(HEADER == 16 && size_of::<libc::timespec>() == 16);

/// Room for it, aligned as the kernel's macros want it.
#[derive(Copy, Clone)]
#[repr(C, align(8))]
pub(crate) struct StampRoom(pub(crate) [u8; STAMP_BYTES]);

/// The stamp among the control bytes that the kernel wrote; `None` when there is none.
pub(crate) fn parse(control: &[u8]) -> Option<WallTime> {
    let control: &[u8; STAMP_BYTES] = control.first_chunk()?;
    let word = |at: usize| -> u64 { u64::from_ne_bytes(std::array::from_fn(|byte| control[at + byte])) };
    let half = |at: usize| -> i32 { i32::from_ne_bytes(std::array::from_fn(|byte| control[at + byte])) };
    let ours = word(0) >= STAMP_BYTES as u64 && (half(8), half(12)) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS);
    let seconds = word(16).checked_mul(1_000_000)?;
    ours.then(|| WallTime(seconds.saturating_add(word(24) / 1000)))
}

#[cfg(test)]
mod tests {
    use super::{STAMP_BYTES, WallTime, parse};

    #[test]
    fn reads_a_stamp_and_nothing_else() {
        let control = |length: u64, level: i32, kind: i32| -> Vec<u8> {
            let head = [&length.to_ne_bytes()[..], &level.to_ne_bytes(), &kind.to_ne_bytes()].concat();
            [&head[..], &1_700_000_000u64.to_ne_bytes(), &123_456_789u64.to_ne_bytes()].concat()
        };
        let good = control(STAMP_BYTES as u64, libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS);
        assert_eq!(parse(&good), Some(WallTime(1_700_000_000_123_456)));
        assert_eq!(parse(&good[..STAMP_BYTES - 1]), None);
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&control(16, libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS)), None);
        assert_eq!(parse(&control(STAMP_BYTES as u64, libc::SOL_IP, libc::SCM_TIMESTAMPNS)), None);
        assert_eq!(parse(&[0xff; STAMP_BYTES]), None);
    }
}
