//! `recvmmsg` and `sendmmsg` over fixed memory.
//!
//! ```text
//! ReceiveBatch   slot 0 … 63:  mmsghdr ─► iovec ─► 8 KiB of `memory`, one stride apart
//!                                      ├► name
//!                                      └► stamp
//! ```
//!
//! The stride between two buffers is an odd number of cache lines: buffers a power of two apart would share the same few sets of
//! the first-level cache and throw each other out.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use corelane_core::Endpoint;
use corelane_core::limits::MESSAGE_SIZE_MAX;

use super::Filled;
use super::address::RawAddress;
use super::stamp::{self, STAMP_BYTES, StampRoom};
use crate::io::{OUTGOING_MAX, RECEIVE_BATCH};

/// Distance between two receive buffers.
const STRIDE: usize = MESSAGE_SIZE_MAX + 64;
const _: () = assert!((STRIDE / 64) % 2 == 1, "buffers must not share cache sets");

/// Room to receive [`RECEIVE_BATCH`] datagrams.
pub(crate) struct ReceiveBatch {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    names: Box<[RawAddress]>,
    stamps: Box<[StampRoom]>,
    memory: Box<[u8]>,
    /// Slots whose lengths the kernel has overwritten.
    filled: usize,
}

impl ReceiveBatch {
    pub(crate) fn new() -> ReceiveBatch {
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let mut batch = ReceiveBatch {
            headers: vec![empty_header(); RECEIVE_BATCH].into_boxed_slice(),
            vectors: vec![empty; RECEIVE_BATCH].into_boxed_slice(),
            names: vec![RawAddress::EMPTY; RECEIVE_BATCH].into_boxed_slice(),
            stamps: vec![StampRoom([0; STAMP_BYTES]); RECEIVE_BATCH].into_boxed_slice(),
            memory: vec![0; STRIDE * RECEIVE_BATCH].into_boxed_slice(),
            filled: 0,
        };
        // Pointers once for all: boxed slices do not move when the batch does, and nothing ever replaces them.
        let buffers = batch.memory.chunks_exact_mut(STRIDE);
        let slots = batch.headers.iter_mut().zip(&mut batch.vectors).zip(&mut batch.names);
        for ((((header, vector), name), stamp), buffer) in slots.zip(&mut batch.stamps).zip(buffers) {
            *vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: MESSAGE_SIZE_MAX };
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = RawAddress::SIZE;
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = (&raw mut *stamp).cast();
            header.msg_hdr.msg_controllen = STAMP_BYTES;
        }
        batch
    }

    /// Receives into the slots from `from` on, as many as are waiting and fit, never blocking. A batch starts with `from` = 0
    /// and goes on where the last call ended.
    ///
    /// # Errors
    /// Those of `recvmmsg`; `WouldBlock` when nothing is waiting.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, from: usize) -> io::Result<usize> {
        for header in self.headers[..self.filled].iter_mut().skip(from) {
            header.msg_hdr.msg_namelen = RawAddress::SIZE;
            header.msg_hdr.msg_controllen = STAMP_BYTES;
        }
        self.filled = from;
        let headers = &mut self.headers[from..];
        // SAFETY: each header points at a vector, a name, a stamp and a buffer of this batch, distinct per slot and never replaced, which
        // `&mut self` keeps alive and unread across the call.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = super::checked(result)? as usize;
        self.filled += count;
        Ok(count)
    }

    /// A slot that the last calls filled.
    pub(crate) fn datagram(&self, slot: usize) -> Filled<'_> {
        let header = &self.headers[slot];
        let length = (header.msg_len as usize).min(MESSAGE_SIZE_MAX);
        let start = slot * STRIDE;
        let control = header.msg_hdr.msg_controllen.min(STAMP_BYTES);
        Filled {
            peer: self.names[slot].endpoint(header.msg_hdr.msg_namelen),
            stamp: stamp::parse(&self.stamps[slot].0[..control]),
            bytes: &self.memory[start..start + length],
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }
    }
}

/// Room to send [`OUTGOING_MAX`] datagrams.
pub(crate) struct SendBatch {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    names: Box<[RawAddress]>,
}

impl SendBatch {
    pub(crate) fn new() -> SendBatch {
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        SendBatch {
            headers: vec![empty_header(); OUTGOING_MAX].into_boxed_slice(),
            vectors: vec![empty; OUTGOING_MAX].into_boxed_slice(),
            names: vec![RawAddress::EMPTY; OUTGOING_MAX].into_boxed_slice(),
        }
    }

    /// Sends datagrams, in order, never blocking; stops at the first that the kernel refuses.
    ///
    /// # Errors
    /// Those of `sendmmsg`, for the first datagram. A refusal later in the batch shows as a smaller count.
    pub(crate) fn send<'b>(
        &mut self,
        socket: BorrowedFd<'_>,
        messages: impl Iterator<Item = (Endpoint, &'b [u8])>,
    ) -> io::Result<usize> {
        let mut count = 0;
        let slots = self.headers.iter_mut().zip(&mut self.vectors).zip(&mut self.names);
        for (((header, vector), name), (peer, bytes)) in slots.zip(messages) {
            let length;
            (*name, length) = RawAddress::new(peer);
            *vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = length;
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        // SAFETY: the first `count` headers were just filled; names and vectors live in `self`, the bytes for 'b, which outlives
        // this call. The kernel only reads through the vectors of a send.
        let result = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        super::checked(result).map(|count| count as usize)
    }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: all-zero bytes are a valid mmsghdr (null pointers with zero lengths).
    unsafe { mem::zeroed() }
}
