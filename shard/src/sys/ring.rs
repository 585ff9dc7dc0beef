//! One io_uring per shard: multishot receive into a small pool of provided buffers, sends in one submit, the wake-up event on
//! the same ring.
//!
//! ```text
//!   pool   128 buffers ──offered──► kernel ──CQE──► arrived ──take──► held by the turn ──recycle──► offered
//!   send   slot i: msghdr ─► iovec ─► message     all submitted, all completed, within one call of `send`
//! ```
//!
//! - **Sends end inside [`Ring::send`].** With `MSG_DONTWAIT` the kernel runs a UDP send while it takes the submission and never
//!   parks it, and the call waits for the last completion in any case. So no pointer into a message outlives the call: that
//!   keeps the interface safe, and costs nothing, because UDP copies the bytes at submission anyway.
//! - **The pool is small** so that it stays in the second-level cache; 4,096 buffers cost 20 % more. When it is empty the
//!   kernel ends the multishot receive (`ENOBUFS`), datagrams wait in the socket, and the receive is armed again as soon as a
//!   buffer is free.
//! - **The completion queue cannot overflow**: a compile-time sum bounds what can be in flight.
//! - `DEFER_TASKRUN` with `SINGLE_ISSUER`: the kernel works for this ring only when its thread enters it, so nothing interrupts
//!   the engine; the ring therefore is made on the thread that uses it.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;
use corelane_core::Endpoint;
use corelane_core::limits::{LISTENERS_MAX, MESSAGE_SIZE_MAX};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use memmap2::MmapMut;

use super::Filled;
use super::address::RawAddress;
use super::stamp::{self, STAMP_BYTES};
use crate::io::OUTGOING_MAX;

/// Receive buffers; a power of two.
const BUFFERS: usize = 128;
/// What the kernel writes in front of the bytes: its own header, the sender's name, when it came.
const PREFIX: usize = size_of::<libc::c_uint>() * 4 + RawAddress::SIZE as usize + STAMP_BYTES;
/// Distance between two buffers: whole cache lines, an odd number of them, so that buffers do not share cache sets.
const STRIDE: usize = MESSAGE_SIZE_MAX + 3 * 64;
const SUBMISSIONS: u32 = 256;
const COMPLETIONS: u32 = 512;
const GROUP: u16 = 0;

const _: () = assert!(BUFFERS.is_power_of_two());
const _: () = assert!(PREFIX + MESSAGE_SIZE_MAX <= STRIDE && STRIDE.is_multiple_of(64) && (STRIDE / 64) % 2 == 1);
const _: () = assert!(OUTGOING_MAX + LISTENERS_MAX < SUBMISSIONS as usize, "a turn's entries fit one submit");
// Each completion is a receive that holds a buffer, the end of a multishot receive, a send, or the wake-up.
const _: () = assert!(BUFFERS + LISTENERS_MAX + OUTGOING_MAX < COMPLETIONS as usize, "completions never overflow");

const SEND: u64 = 1 << 32;
const WAKE: u64 = 2 << 32;

/// A datagram that lies in a buffer of the pool. It holds the buffer until [`Ring::recycle`].
#[derive(Copy, Clone, Debug)]
pub(crate) struct Arrival {
    /// Place of the socket in the list given to [`Ring::new`].
    pub(crate) listener: u8,
    buffer: u16,
    length: u32,
}

struct SendSlot {
    header: libc::msghdr,
    vector: libc::iovec,
    name: RawAddress,
}

/// See the module.
pub(crate) struct Ring {
    ring: IoUring,
    pool: Pool,
    /// Template of every multishot receive: only the lengths of name and control are read.
    receive: Box<libc::msghdr>,
    slots: Box<[SendSlot]>,
    /// Where the kernel writes the wake-up count.
    wake: Box<[u8; 8]>,
    wake_armed: bool,
    listeners: usize,
    /// Listeners whose multishot receive runs, one bit each.
    armed: u32,
    /// Listeners whose socket reported an error since it was last asked, one bit each.
    failing: u32,
    arrived: ArrayVec<Arrival, BUFFERS>,
    /// Buffers in `arrived` or held by the caller.
    used: usize,
    /// The kernel has filled `wake` since it was last asked.
    woken: bool,
}

impl Ring {
    /// A ring over the sockets of one shard and its wake-up event. The thread that calls this must be the one that uses it.
    ///
    /// # Errors
    /// Those of `io_uring_setup` and `io_uring_register`: an old kernel, io_uring forbidden, locked memory used up.
    pub(crate) fn new<'f>(sockets: impl Iterator<Item = BorrowedFd<'f>>, wake: BorrowedFd<'f>) -> io::Result<Ring> {
        // The sockets in their order, then the event.
        let files: ArrayVec<i32, { LISTENERS_MAX + 1 }> = sockets.chain([wake]).map(|fd| fd.as_raw_fd()).collect();
        let ring: IoUring = IoUring::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .build(SUBMISSIONS)?;
        // Registered files save the kernel a look-up and a count per operation: 10 to 25 % of a send.
        ring.submitter().register_files(&files)?;
        let pool = Pool::new(&ring)?;
        // SAFETY: all-zero bytes are a valid msghdr.
        let mut receive: Box<libc::msghdr> = Box::new(unsafe { mem::zeroed() });
        receive.msg_namelen = RawAddress::SIZE;
        receive.msg_controllen = STAMP_BYTES;
        let slots = (0..OUTGOING_MAX)
            .map(|_| SendSlot {
                // SAFETY: all-zero bytes are a valid msghdr.
                header: unsafe { mem::zeroed() },
                vector: libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 },
                name: RawAddress::EMPTY,
            })
            .collect();
        Ok(Ring {
            ring,
            pool,
            receive,
            slots,
            wake: Box::new([0; 8]),
            wake_armed: false,
            listeners: files.len() - 1,
            armed: 0,
            failing: 0,
            arrived: ArrayVec::new(),
            used: 0,
            woken: false,
        })
    }

    /// Moves up to `room` arrivals, oldest first, into `batch`.
    pub(crate) fn take<const N: usize>(&mut self, batch: &mut ArrayVec<Arrival, N>) {
        self.reap(|_, _| {});
        let count = self.arrived.len().min(batch.remaining_capacity());
        batch.extend(self.arrived.drain(..count));
    }

    /// An arrival.
    pub(crate) fn datagram(&self, arrival: &Arrival) -> Filled<'_> {
        let buffer = self.pool.filled(arrival);
        let Ok(parsed) = types::RecvMsgOut::parse(buffer, &self.receive) else {
            return Filled { peer: None, stamp: None, bytes: &[], truncated: false };
        };
        let (name, length) = RawAddress::from_bytes(parsed.name_data());
        // The same bytes as `payload_data`, borrowed from the pool instead of from `parsed`.
        let bytes = &buffer[PREFIX..PREFIX + parsed.payload_data().len()];
        Filled {
            peer: name.endpoint(length),
            stamp: stamp::parse(parsed.control_data()),
            bytes,
            truncated: parsed.is_payload_truncated(),
        }
    }

    /// Gives the buffers of a batch back to the kernel.
    pub(crate) fn recycle(&mut self, batch: impl Iterator<Item = Arrival>) {
        let mut count = 0;
        for arrival in batch {
            self.pool.offer(arrival.buffer);
            count += 1;
        }
        if count > 0 {
            self.pool.publish();
            self.used -= count;
        }
    }

    /// Sends `count` datagrams, `message(i)` each, in order, in one submit, and reports what became of each by
    /// `done(i, errno or 0)`. All are done when it returns.
    ///
    /// # Errors
    /// Those of `io_uring_enter`. Nothing is in flight then: an entry that the kernel did not take is taken back.
    pub(crate) fn send<'b>(
        &mut self,
        count: usize,
        message: impl Fn(usize) -> (u8, Endpoint, &'b [u8]),
        mut done: impl FnMut(usize, i32),
    ) -> io::Result<()> {
        self.arm();
        for index in 0..count {
            let (listener, peer, bytes) = message(index);
            assert!(usize::from(listener) < self.listeners, "a flow names a listener of this node");
            let slot = &mut self.slots[index];
            let length;
            (slot.name, length) = RawAddress::new(peer);
            slot.vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            slot.header.msg_name = (&raw mut slot.name).cast();
            slot.header.msg_namelen = length;
            slot.header.msg_iov = &raw mut slot.vector;
            slot.header.msg_iovlen = 1;
            let entry = opcode::SendMsg::new(types::Fixed(u32::from(listener)), &raw const slot.header)
                .flags((libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as u32)
                .build()
                .user_data(SEND | index as u64);
            push(&mut self.ring, &entry);
        }
        let mut open = count;
        while open > 0 {
            match self.ring.submit_and_wait(open.min(COMPLETIONS as usize)) {
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                // Pointers into the caller's messages are in the submission queue, and it cannot be emptied. It is our bug (a
                // bad argument) or a ring that is gone; either way no safe step is left.
                Err(error) => panic!("io_uring_enter: {error}"),
            }
            self.reap(|index, errno| {
                open -= 1;
                done(index, errno);
            });
        }
        Ok(())
    }

    /// Waits until something arrives, an error shows, the wake-up event fires, or `timeout` passed.
    ///
    /// # Errors
    /// Those of `io_uring_enter`.
    pub(crate) fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.arm();
        self.reap(|_, _| {});
        if !self.arrived.is_empty() || self.failing != 0 || mem::take(&mut self.woken) {
            return Ok(());
        }
        self.enter(timeout)?;
        self.reap(|_, _| {});
        self.woken = false;
        Ok(())
    }

    /// Lets the kernel work for this ring, without a wait: with `DEFER_TASKRUN` nothing arrives otherwise, and a receive that ended is
    /// not armed again.
    ///
    /// # Errors
    /// Those of `io_uring_enter`.
    pub(crate) fn look(&mut self) -> io::Result<()> {
        self.arm();
        self.enter(Duration::ZERO)
    }

    fn enter(&self, timeout: Duration) -> io::Result<()> {
        let timeout = types::Timespec::new().sec(timeout.as_secs()).nsec(timeout.subsec_nanos());
        let arguments = types::SubmitArgs::new().timespec(&timeout);
        match self.ring.submitter().submit_with_args(1, &arguments) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) || is_passing(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The listeners whose socket reported an error since the last call, one bit each.
    pub(crate) fn take_failing(&mut self) -> u32 {
        mem::take(&mut self.failing)
    }

    /// Buffers that are neither offered to the kernel nor given back yet.
    #[cfg(test)]
    pub(crate) fn buffers_used(&self) -> usize {
        self.used
    }

    /// Queues what should be running and is not: receives, while a buffer is free, and the read of the wake-up event.
    fn arm(&mut self) {
        if self.used < BUFFERS {
            for listener in 0..self.listeners {
                if self.armed & (1 << listener) == 0 {
                    self.armed |= 1 << listener;
                    let file = types::Fixed(listener as u32);
                    let entry = opcode::RecvMsgMulti::new(file, &raw const *self.receive, GROUP)
                        .build()
                        .user_data(listener as u64);
                    push(&mut self.ring, &entry);
                }
            }
        }
        if !self.wake_armed {
            self.wake_armed = true;
            let file = types::Fixed(self.listeners as u32);
            let entry = opcode::Read::new(file, self.wake.as_mut_ptr(), self.wake.len() as u32).build().user_data(WAKE);
            push(&mut self.ring, &entry);
        }
    }

    /// Takes every completion that is there; those of sends go to `sent`.
    fn reap(&mut self, mut sent: impl FnMut(usize, i32)) {
        for completion in self.ring.completion() {
            let result = completion.result();
            let index = completion.user_data() as u32 as usize;
            match completion.user_data() & !u64::from(u32::MAX) {
                SEND => sent(index, (-result).max(0)),
                WAKE => {
                    self.wake_armed = false;
                    self.woken = true;
                }
                _ => {
                    if !cqueue::more(completion.flags()) {
                        self.armed &= !(1 << index);
                    }
                    match (cqueue::buffer_select(completion.flags()), u32::try_from(result)) {
                        (Some(buffer), Ok(length)) => {
                            self.used += 1;
                            self.arrived.push(Arrival { listener: index as u8, buffer, length });
                        }
                        (Some(buffer), Err(_)) => {
                            self.pool.offer(buffer);
                            self.pool.publish();
                        }
                        (None, Err(_)) if -result != libc::ENOBUFS && -result != libc::ECANCELED => {
                            self.failing |= 1 << index;
                        }
                        (None, _) => {}
                    }
                }
            }
        }
    }
}

impl Drop for Ring {
    /// Ends every request while the memory that it may write is still ours, and lets go of the sockets: closing the descriptor
    /// alone lets the kernel do both some time later, in which a stopped node would still hold its ports.
    fn drop(&mut self) {
        let patience = types::Timespec::new().sec(1);
        let cancelled = self.ring.submitter().register_sync_cancel(Some(patience), types::CancelBuilder::any());
        let mut ended = cancelled.is_ok() || cancelled.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        // The requests are marked; each ends with a completion, which the kernel posts while this thread waits for it. Entries
        // that were queued and never submitted go to the kernel with the first wait, and are cancelled after it.
        while ended && (self.armed != 0 || self.wake_armed) {
            let arguments = types::SubmitArgs::new().timespec(&patience);
            ended = match self.ring.submitter().submit_with_args(1, &arguments) {
                Ok(_) => true,
                Err(error) => is_passing(&error),
            };
            self.reap(|_, _| {});
            self.arrived.clear();
            let _ = self.ring.submitter().register_sync_cancel(Some(patience), types::CancelBuilder::any());
        }
        let released = self.ring.submitter().unregister_files();
        if !ended || released.is_err() {
            // Leaking a megabyte once is better than letting the kernel write into memory that serves something else.
            mem::forget(mem::replace(&mut self.pool, Pool::empty()));
            mem::forget(mem::take(&mut self.wake));
        }
    }
}

/// An enter that says "again": a signal, or completions to take first.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

/// Queues an entry; a full queue is submitted first.
fn push(ring: &mut IoUring, entry: &squeue::Entry) {
    loop {
        // SAFETY: every entry made in this file points at memory of the `Ring` (boxed, hence not moving) or, for sends, at
        // messages that outlive the call which waits for their completion.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return;
        }
        // Cannot happen by the sums above; were they wrong, this makes room.
        if let Err(error) = ring.submit()
            && !is_passing(&error)
        {
            panic!("io_uring_enter: {error}");
        }
    }
}

/// The provided buffers and the ring in which they are offered. Both are mapped, so that the ring is page-aligned as the kernel
/// demands.
struct Pool {
    entries: MmapMut,
    memory: MmapMut,
    tail: u16,
}

impl Pool {
    fn new(ring: &IoUring) -> io::Result<Pool> {
        let mut pool = Pool {
            entries: MmapMut::map_anon(BUFFERS * size_of::<types::BufRingEntry>())?,
            memory: MmapMut::map_anon(BUFFERS * STRIDE)?,
            tail: 0,
        };
        // SAFETY: the mapping holds BUFFERS entries, is page-aligned, and lives until the ring has ended all requests (`Drop` of
        // `Ring`).
        unsafe {
            ring.submitter().register_buf_ring_with_flags(pool.entries.as_ptr() as u64, BUFFERS as u16, GROUP, 0)
        }?;
        (0..BUFFERS as u16).for_each(|buffer| pool.offer(buffer));
        pool.publish();
        Ok(pool)
    }

    /// A pool of nothing, to stand in for one that is leaked.
    fn empty() -> Pool {
        let nothing = || MmapMut::map_anon(1).expect("one page");
        Pool { entries: nothing(), memory: nothing(), tail: 0 }
    }

    /// Puts a buffer into the ring; the kernel sees it at the next [`Pool::publish`].
    fn offer(&mut self, buffer: u16) {
        let address = self.memory.as_ptr() as u64 + u64::from(buffer) * STRIDE as u64;
        let place = usize::from(self.tail) & (BUFFERS - 1);
        // SAFETY: `place` is within the mapping, which is aligned for entries; the kernel does not read an entry beyond the tail.
        let entry = unsafe { &mut *self.entries.as_mut_ptr().cast::<types::BufRingEntry>().add(place) };
        entry.set_addr(address);
        entry.set_len((PREFIX + MESSAGE_SIZE_MAX) as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel all buffers offered so far.
    fn publish(&self) {
        // SAFETY: the mapping is a registered buffer ring; its tail overlays the reserved field of the first entry.
        let tail = unsafe { types::BufRingEntry::tail(self.entries.as_ptr().cast()) };
        // SAFETY: aligned, in the mapping, and shared with the kernel as an atomic 16-bit value. Release: the entries first.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail, Ordering::Release);
    }

    /// What the kernel wrote for an arrival.
    fn filled(&self, arrival: &Arrival) -> &[u8] {
        let start = usize::from(arrival.buffer) * STRIDE;
        let length = (arrival.length as usize).min(PREFIX + MESSAGE_SIZE_MAX);
        &self.memory[start..start + length]
    }
}
