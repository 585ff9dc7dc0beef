//! Opening a listener's socket with the options that every one of them has.
//!
//! | option | why |
//! | --- | --- |
//! | `SO_REUSEPORT` | one socket per shard on the same address; of the first once it has the address, see [`share`] |
//! | `IPV6_V6ONLY` | an IPv6 listener never sees IPv4-mapped peers, so a flow has one spelling |
//! | `IP_MTU_DISCOVER` = `DONT` | a large message is fragmented instead of refused |
//! | `IP_RECVERR` | ICMP errors come with their destination, from the error queue |
//! | `SO_TIMESTAMPNS` | each datagram says when the kernel got it, so that waiting in the socket's buffer is seen |
//! | `SO_RCVBUF`, `SO_SNDBUF` | room for a burst; forced beyond the system's limit where that is allowed |
//!
//! Never here: `connect`. A connected socket on a listener's address would take that peer's traffic past the steering.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use corelane_core::Endpoint;

use super::address::RawAddress;
use super::checked;

/// Whether others may bind the same address.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Sharing {
    /// Nobody, until it is shared: the bind fails when anybody holds the port, even one that would share it.
    Exclusive,
    /// The sockets of the other shards.
    Group,
}

/// A UDP socket bound to `address`. The error says which step failed.
pub(crate) fn open(
    address: SocketAddr,
    sharing: Sharing,
    buffer_bytes: usize,
) -> Result<OwnedFd, (&'static str, io::Error)> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers; the result is checked.
    let fd = checked(unsafe { libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })
        .map_err(|error| ("open a socket", error))?;
    // SAFETY: a fresh descriptor that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    if sharing == Sharing::Group {
        share(fd.as_fd())?;
    }
    let (level, discover, dont, receive_errors) = if address.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT, libc::IP_RECVERR)
    } else {
        set(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1).map_err(|error| ("set IPV6_V6ONLY", error))?;
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT, libc::IPV6_RECVERR)
    };
    set(fd.as_fd(), level, discover, dont).map_err(|error| ("turn path-MTU discovery off", error))?;
    set(fd.as_fd(), level, receive_errors, 1).map_err(|error| ("ask for the error queue", error))?;
    set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1).map_err(|error| ("ask for receive times", error))?;
    // The kernel doubles what it is asked for, to account for its own bookkeeping.
    let bytes = libc::c_int::try_from(buffer_bytes / 2).unwrap_or(libc::c_int::MAX);
    for (forced, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        // The plain option never fails: it silently stops at net.core.rmem_max, which is then the operator's choice.
        set(fd.as_fd(), libc::SOL_SOCKET, forced, bytes)
            .or_else(|_| set(fd.as_fd(), libc::SOL_SOCKET, plain, bytes))
            .map_err(|error| ("size the socket's buffers", error))?;
    }
    let (raw, length) = RawAddress::new(Endpoint { ip: address.ip(), port: address.port() });
    // SAFETY: `raw` lives across the call and `length` is within it.
    checked(unsafe { libc::bind(fd.as_raw_fd(), (&raw const raw).cast(), length) }).map_err(|error| ("bind", error))?;
    Ok(fd)
}

/// Lets others of this user that ask for it bind the address of this socket, which may be bound already.
pub(crate) fn share(fd: BorrowedFd<'_>) -> Result<(), (&'static str, io::Error)> {
    set(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1).map_err(|error| ("share the port (SO_REUSEPORT)", error))
}

/// The address that a socket is bound to.
pub(crate) fn local_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut raw = RawAddress::EMPTY;
    let mut length = RawAddress::SIZE;
    // SAFETY: `raw` has `length` writable bytes.
    checked(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut raw).cast(), &raw mut length) })?;
    raw.endpoint(length).map(SocketAddr::from).ok_or_else(|| io::Error::other("a socket of another family"))
}

fn set(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: an int lives across the call and its size is given.
    checked(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
    .map(drop)
}
