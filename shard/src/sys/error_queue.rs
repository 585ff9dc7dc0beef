//! The error queue of a socket: which destination an ICMP error was about, and which datagram.
//!
//! An unconnected socket with `IP_RECVERR` learns of ICMP errors twice: a *pending error* that fails whatever call comes next,
//! whoever that call is for, and an entry in the error queue that names the destination. Only the second is knowledge.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use arrayvec::ArrayVec;
use corelane_core::Endpoint;

use super::address::RawAddress;

/// Bytes of a datagram that are kept: its request line and our Via, which stands first in whatever request Corelane sends.
pub(crate) const QUOTE_BYTES: usize = 384;

/// The start of a datagram that did not arrive.
pub(crate) type Quote = ArrayVec<u8, QUOTE_BYTES>;

/// One entry of the error queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct QueuedError {
    /// The destination that our datagram had.
    pub(crate) peer: Endpoint,
    /// Whether it means that nothing can reach that destination, as opposed to "fragment" or "took too many hops".
    pub(crate) unreachable: bool,
    /// The start of that datagram, as much of it as the report quoted (RFC 1812 §4.3.2.3: as much as fits into 576 bytes; at least 8).
    pub(crate) quote: Quote,
}

/// Space for the control messages of one entry: the extended error and the address of the router that reported it.
const CONTROL_BYTES: usize = 256;

#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Takes one entry: `Ok(None)` when the queue is empty. Entries that name no usable destination are skipped.
pub(crate) fn take(socket: BorrowedFd<'_>) -> io::Result<Option<QueuedError>> {
    loop {
        let mut name = RawAddress::EMPTY;
        let mut control = Control([0; CONTROL_BYTES]);
        let mut quote = [0; QUOTE_BYTES];
        let mut vector = libc::iovec { iov_base: (&raw mut quote).cast(), iov_len: QUOTE_BYTES };
        // SAFETY: all-zero bytes are a valid msghdr (no name, no vectors, no control).
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = RawAddress::SIZE;
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = CONTROL_BYTES as _;
        // SAFETY: the header points at locals that live across the call, with their true sizes.
        let result =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
        if result < 0 {
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(None),
                io::ErrorKind::Interrupted => continue,
                _ => return Err(error),
            }
        }
        let (Some(peer), Some(error)) = (name.endpoint(header.msg_namelen), extended_error(&header)) else {
            continue;
        };
        let length = usize::try_from(result).unwrap_or(0).min(QUOTE_BYTES);
        let quote = quote[..length].iter().copied().collect();
        return Ok(Some(QueuedError { peer, unreachable: is_unreachable(&error), quote }));
    }
}

/// The extended error among the control messages of a filled header.
fn extended_error(header: &libc::msghdr) -> Option<libc::sock_extended_err> {
    // SAFETY: the kernel filled `msg_control` and `msg_controllen`; the macros stay within them.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a whole header inside the control buffer, which is aligned.
        let head = unsafe { &*message };
        let wanted = matches!(
            (head.cmsg_level, head.cmsg_type),
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR)
        );
        // SAFETY: pure arithmetic on a length.
        let needed = unsafe { libc::CMSG_LEN(size_of::<libc::sock_extended_err>() as libc::c_uint) } as usize;
        if wanted && head.cmsg_len as usize >= needed {
            // SAFETY: the message is long enough for the struct; the read may be unaligned.
            return Some(unsafe { libc::CMSG_DATA(message).cast::<libc::sock_extended_err>().read_unaligned() });
        }
        // SAFETY: `message` is inside the header's control buffer.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}

/// What counts, and what does not:
///
/// | | IPv4 (RFC 792, RFC 1812) | IPv6 (RFC 4443) |
/// | --- | --- | --- |
/// | counts | type 3, destination unreachable: net, host, protocol, port, prohibited, … | type 1, likewise |
/// | does not | type 3 code 4, fragmentation needed | type 2, packet too big |
/// | does not | type 11, time exceeded; 12, parameter problem; 4, source quench | types 3 and 4, likewise |
///
/// What does not count says that the way is long or narrow, not that there is none. Errors of the kernel's own (`SO_EE_ORIGIN_LOCAL`) come
/// back from the send itself; a neighbour that does not answer shows as host unreachable.
fn is_unreachable(error: &libc::sock_extended_err) -> bool {
    match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => error.ee_type == 3 && error.ee_code != 4,
        libc::SO_EE_ORIGIN_ICMP6 => error.ee_type == 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_unreachable;

    #[test]
    fn only_destination_unreachable_counts() {
        let of = |ee_origin, ee_type, ee_code| {
            let error =
                libc::sock_extended_err { ee_errno: 0, ee_origin, ee_type, ee_code, ee_pad: 0, ee_info: 0, ee_data: 0 };
            is_unreachable(&error)
        };
        for code in (0..=15).filter(|code| *code != 4) {
            assert!(of(libc::SO_EE_ORIGIN_ICMP, 3, code), "{code}");
        }
        for code in 0..=6 {
            assert!(of(libc::SO_EE_ORIGIN_ICMP6, 1, code), "{code}");
        }
        let others = [
            (libc::SO_EE_ORIGIN_ICMP, 3, 4),
            (libc::SO_EE_ORIGIN_ICMP, 4, 0),
            (libc::SO_EE_ORIGIN_ICMP, 11, 0),
            (libc::SO_EE_ORIGIN_ICMP, 12, 0),
            (libc::SO_EE_ORIGIN_ICMP6, 2, 0),
            (libc::SO_EE_ORIGIN_ICMP6, 3, 0),
            (libc::SO_EE_ORIGIN_ICMP6, 4, 0),
            (libc::SO_EE_ORIGIN_LOCAL, 3, 3),
        ];
        for (origin, kind, code) in others {
            assert!(!of(origin, kind, code), "{origin} {kind} {code}");
        }
    }
}
