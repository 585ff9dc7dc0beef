//! Batches of datagrams on unconnected UDP sockets: `recvmmsg` in, `sendmmsg` out.
//!
//! ```text
//!   Inbox   [ place 0 | place 1 | … ]   one arena, `place_size` bytes per datagram, filled by one recvmmsg
//!   Outbox  [ part, part, … ]           each part: static head + a range of some arena, sent by one sendmmsg
//! ```
//!
//! A part names a range instead of holding bytes, so that a relay sends straight out of its inbox and copies nothing.
//! Invariants: what the kernel writes to belongs to the inbox alone; what it reads from is borrowed for the length of the call.
//! No socket is ever connected: a connected socket on a listener's address would capture that peer's traffic.

#![allow(unsafe_code)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::time::Duration;

/// Datagrams that one kernel call may take or give.
pub const BATCH: usize = 64;

/// A socket address in the kernel's own layout, so that relaying one converts nothing.
#[derive(Copy, Clone, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Address {
    /// `sockaddr_in` (16 bytes) or `sockaddr_in6` (28 bytes), the rest zero.
    bytes: [u8; ADDRESS_SIZE],
    length: libc::socklen_t,
}

const ADDRESS_SIZE: usize = size_of::<libc::sockaddr_in6>();
const _: () = assert!(ADDRESS_SIZE == 28 && size_of::<libc::sockaddr_in>() == 16);

impl Address {
    const NONE: Address = Address { bytes: [0; ADDRESS_SIZE], length: 0 };

    /// The address as the standard library names it; `None` when it is neither IPv4 nor IPv6.
    #[must_use]
    pub fn to_std(&self) -> Option<SocketAddr> {
        let port = u16::from_be_bytes([self.bytes[2], self.bytes[3]]);
        let family = libc::c_int::from(u16::from_ne_bytes([self.bytes[0], self.bytes[1]]));
        match (family, self.length) {
            (libc::AF_INET, 16) => {
                let host: [u8; 4] = self.bytes[4..8].try_into().ok()?;
                Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(host)), port))
            }
            (libc::AF_INET6, 28) => {
                let host: [u8; 16] = self.bytes[8..24].try_into().ok()?;
                Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(host)), port))
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        let mut made = Address::NONE;
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        made.bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        made.bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                made.bytes[4..8].copy_from_slice(&v4.ip().octets());
                made.length = 16;
            }
            SocketAddr::V6(v6) => {
                made.bytes[8..24].copy_from_slice(&v6.ip().octets());
                made.bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                made.length = 28;
            }
        }
        made
    }
}

/// What a receive may do when nothing is there.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Block until one datagram came, then take what else is there.
    ForOne,
    /// Take what is there.
    Never,
}

/// The datagrams of one receive.
///
/// The kernel's tables are filled once, when the inbox is made, because at one datagram per wake-up filling 64 places each
/// time would be felt. Their memory is therefore owned through raw pointers, from which every access is derived.
pub struct Inbox {
    arena: NonNull<[u8]>,
    tables: NonNull<Tables>,
    place_size: usize,
    count: usize,
}

/// What one `recvmmsg` reads and writes beside the arena.
struct Tables {
    headers: [libc::mmsghdr; BATCH],
    vectors: [libc::iovec; BATCH],
    sources: [Address; BATCH],
}

// SAFETY: an inbox owns its memory alone; nothing in it belongs to the thread that made it.
unsafe impl Send for Inbox {}

impl Drop for Inbox {
    fn drop(&mut self) {
        // SAFETY: both came from `Box::into_raw` in `new` and are freed only here.
        unsafe {
            drop(Box::from_raw(self.arena.as_ptr()));
            drop(Box::from_raw(self.tables.as_ptr()));
        }
    }
}

impl Inbox {
    /// An inbox for datagrams of up to `place_size` bytes; longer ones are cut.
    #[must_use]
    pub fn new(place_size: usize) -> Inbox {
        // SAFETY: integers and raw pointers, for which all zero is a value.
        let tables: Box<Tables> = Box::new(unsafe { mem::zeroed() });
        let tables = NonNull::from(Box::leak(tables));
        let arena = NonNull::from(Box::leak(vec![0u8; place_size * BATCH].into_boxed_slice()));
        for place in 0..BATCH {
            // SAFETY: `place` is within every table and `place * place_size` within the arena; both allocations live until
            // `drop`, and no reference to them exists yet.
            unsafe {
                let tables = tables.as_ptr();
                let vector = &raw mut (*tables).vectors[place];
                (*vector).iov_base = arena.cast::<u8>().as_ptr().add(place * place_size).cast();
                (*vector).iov_len = place_size;
                let header = &raw mut (*tables).headers[place].msg_hdr;
                (*header).msg_name = (&raw mut (*tables).sources[place].bytes).cast();
                (*header).msg_iov = vector;
                (*header).msg_iovlen = 1;
            }
        }
        // All places count as used, so that the first receive gives each its name length.
        Inbox { arena, tables, place_size, count: BATCH }
    }

    /// Replaces the contents by what the socket has. Returns how many datagrams that were.
    ///
    /// # Errors
    /// The kernel's, except that an empty socket and an interrupted wait are no error but 0 datagrams.
    pub fn receive(&mut self, socket: &UdpSocket, wait: Wait) -> io::Result<usize> {
        let tables = self.tables.as_ptr();
        for place in 0..self.count {
            // SAFETY: `&mut self` and a `count` within BATCH: nobody else looks at this entry.
            unsafe { (*tables).headers[place].msg_hdr.msg_namelen = ADDRESS_SIZE as libc::socklen_t };
        }
        self.count = 0;
        let flags = match wait {
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::Never => libc::MSG_DONTWAIT,
        };
        // SAFETY: BATCH headers, each naming one place, one source and one vector of memory that this inbox owns; `&mut self`
        // keeps every reader away while the kernel writes within the lengths given.
        let received = unsafe {
            let headers = (&raw mut (*tables).headers).cast();
            libc::recvmmsg(socket.as_raw_fd(), headers, BATCH as u32, flags, ptr::null_mut())
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        self.count = (received as usize).min(BATCH);
        Ok(self.count)
    }

    /// The bytes of one datagram of the last receive.
    #[must_use]
    pub fn datagram(&self, place: usize) -> &[u8] {
        &self.arena()[self.range(place)]
    }

    /// Where that datagram lies in [`Inbox::arena`].
    #[must_use]
    pub fn range(&self, place: usize) -> Range<usize> {
        let start = place * self.place_size;
        start..start + (self.header(place).msg_len as usize).min(self.place_size)
    }

    /// Who sent it.
    #[must_use]
    pub fn source(&self, place: usize) -> Address {
        let length = self.header(place).msg_hdr.msg_namelen;
        // SAFETY: `header` checked the place; the kernel writes only under `&mut self`.
        Address { length, ..unsafe { (*self.tables.as_ptr()).sources[place] } }
    }

    /// The memory that [`Part::body`] of a relay names.
    #[must_use]
    pub fn arena(&self) -> &[u8] {
        // SAFETY: initialised in `new`, and the kernel writes only under `&mut self`.
        unsafe { self.arena.as_ref() }
    }

    fn header(&self, place: usize) -> libc::mmsghdr {
        assert!(place < self.count, "only what was received can be read");
        // SAFETY: the place is within BATCH, and the kernel writes only under `&mut self`.
        unsafe { (*self.tables.as_ptr()).headers[place] }
    }
}

/// One datagram to send.
#[derive(Clone)]
pub struct Part {
    /// Sent first; often empty.
    pub head: &'static [u8],
    /// Sent after it: a range of the arena given to [`Outbox::flush`].
    pub body: Range<usize>,
    /// Where to.
    pub to: Address,
}

/// Datagrams to be sent together.
#[derive(Default)]
pub struct Outbox {
    parts: Vec<Part>,
}

impl Outbox {
    /// Adds a datagram behind the others.
    pub fn push(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Sends everything in order, waiting for room in the socket, and is empty afterwards. Returns how many the kernel
    /// refused; the rest went out.
    ///
    /// # Panics
    /// When a part names bytes outside of `arena`.
    pub fn flush(&mut self, socket: &UdpSocket, arena: &[u8]) -> usize {
        let mut refused = 0;
        let mut sent = 0;
        while sent < self.parts.len() {
            let end = (sent + BATCH).min(self.parts.len());
            let tried = &self.parts[sent..end];
            match send(socket, tried, arena) {
                Ok(count) => sent += count.min(tried.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A refusal belongs to the first datagram of the batch: it is lost, the next one gets its try.
                Err(_) => {
                    refused += 1;
                    sent += 1;
                }
            }
        }
        self.parts.clear();
        refused
    }
}

fn send(socket: &UdpSocket, parts: &[Part], arena: &[u8]) -> io::Result<usize> {
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    let mut vectors = [const { MaybeUninit::<[libc::iovec; 2]>::uninit() }; BATCH];
    let mut count = 0;
    for ((header, pair), part) in headers.iter_mut().zip(&mut vectors).zip(parts) {
        let body = &arena[part.body.clone()];
        let pair = pair.write([
            libc::iovec { iov_base: part.head.as_ptr().cast_mut().cast(), iov_len: part.head.len() },
            libc::iovec { iov_base: body.as_ptr().cast_mut().cast(), iov_len: body.len() },
        ]);
        let unused = usize::from(part.head.is_empty());
        // SAFETY: integers and raw pointers, for which all zero is a value.
        let header = header.write(unsafe { mem::zeroed() });
        header.msg_hdr.msg_name = part.to.bytes.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = part.to.length;
        header.msg_hdr.msg_iov = pair[unused..].as_mut_ptr();
        header.msg_hdr.msg_iovlen = 2 - unused;
        count += 1;
    }
    // SAFETY: the first `count` headers were written above; what they name (heads, arena, addresses, vectors) is borrowed
    // until the call is over, and a send only reads it, which is why the casts to mutable pointers are sound.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), count, 0) };
    if sent > 0 { Ok(sent as usize) } else { Err(io::Error::last_os_error()) }
}

/// Sets the size of a socket's receive and send buffers, past the system's limit where the process may.
///
/// # Errors
/// The kernel's refusal of the plain option.
pub fn set_buffers(socket: &UdpSocket, bytes: i32) -> io::Result<()> {
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if set_option(socket, force, bytes).is_err() {
            set_option(socket, plain, bytes)?;
        }
    }
    Ok(())
}

fn set_option(socket: &UdpSocket, option: libc::c_int, value: i32) -> io::Result<()> {
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the call reads `size` bytes of a local.
    let refused =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), size) };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits until one of the sockets has a datagram or the time is over. At most [`BATCH`] sockets are looked at. Returns one bit
/// per socket, the first one's lowest, set where a receive will not find nothing.
///
/// # Errors
/// The kernel's; an interrupted wait is none.
pub fn wait_any(sockets: &[UdpSocket], at_most: Duration) -> io::Result<u64> {
    let mut entries = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; BATCH];
    for (entry, socket) in entries.iter_mut().zip(sockets) {
        entry.fd = socket.as_raw_fd();
    }
    let wait = libc::timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
    let count = sockets.len().min(BATCH) as libc::nfds_t;
    // SAFETY: `entries` and `wait` are locals; `count` is within `entries`.
    let ready = unsafe { libc::ppoll(entries.as_mut_ptr(), count, &raw const wait, ptr::null()) };
    if ready >= 0 {
        let bit = |(place, entry): (usize, &libc::pollfd)| u64::from(entry.revents != 0) << place;
        return Ok(entries.iter().take(sockets.len()).enumerate().map(bit).sum());
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::{Address, BATCH, Inbox, Outbox, Part, Wait};
    use std::net::{SocketAddr, UdpSocket};

    #[test]
    fn addresses_survive_the_kernels_layout() {
        for text in ["127.0.0.1:5060", "[2001:db8::7]:5061", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().expect("a literal address");
            assert_eq!(Address::from(address).to_std(), Some(address));
        }
        assert_eq!(Address::NONE.to_std(), None);
    }

    #[test]
    fn more_than_one_batch_arrives_in_order_with_heads_and_sources() {
        let from = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let to = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let target = Address::from(to.local_addr().expect("bound"));
        let arena: Vec<u8> = (0..=255).collect();
        let mut outbox = Outbox::default();
        let total = BATCH + 5;
        for n in 0..total {
            let head: &'static [u8] = if n % 2 == 0 { b"" } else { b"head" };
            outbox.push(Part { head, body: n..n + 3, to: target });
        }
        assert_eq!(outbox.flush(&from, &arena), 0);
        assert!(outbox.is_empty());
        let mut inbox = Inbox::new(16);
        let mut n = 0;
        while n < total {
            let count = inbox.receive(&to, Wait::ForOne).expect("loopback receives");
            for place in 0..count {
                let head: &[u8] = if n % 2 == 0 { b"" } else { b"head" };
                assert_eq!(inbox.datagram(place), [head, &arena[n..n + 3]].concat());
                assert_eq!(inbox.source(place).to_std(), from.local_addr().ok());
                n += 1;
            }
        }
        assert_eq!(inbox.receive(&to, Wait::Never).expect("nothing is no error"), 0);
    }
}
