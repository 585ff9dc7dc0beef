//! The eventfd that wakes a parked shard or the control core, and the wait of a shard without a ring.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::checked;

/// A counter in the kernel that a parked thread can wait for.
///
/// A shard's is left blocking on purpose: a ring answers a read of a non-blocking one at once with "try again" instead of waiting.
/// Nobody ever blocks on it: it is read only after the kernel said that it can be, and a write blocks only 2⁶⁴ − 1 wake-ups later.
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        EventFd::open(libc::EFD_CLOEXEC)
    }

    /// One that may be read without knowing whether a wake-up is pending: an event loop's readiness can be out of date.
    pub(crate) fn nonblocking() -> io::Result<EventFd> {
        EventFd::open(libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)
    }

    fn open(flags: libc::c_int) -> io::Result<EventFd> {
        // SAFETY: no pointers; the result is checked.
        let fd = checked(unsafe { libc::eventfd(0, flags) })?;
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(EventFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Wakes whoever waits, now or next.
    pub(crate) fn notify(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight readable bytes. It can fail only when the counter is full, and then a wake-up is pending anyway.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes the wake-ups that are pending. On a blocking one only after a wait said that there are some.
    pub(crate) fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: eight writable bytes.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a wait found on one descriptor.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) error: bool,
}

/// A fixed set of descriptors to wait on. The descriptors must stay open as long as the set is used; a closed one is reported
/// as in error, nothing worse.
pub(crate) struct PollSet(Box<[libc::pollfd]>);

impl PollSet {
    pub(crate) fn new<'a>(descriptors: impl Iterator<Item = BorrowedFd<'a>>) -> PollSet {
        PollSet(descriptors.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect())
    }

    /// Waits until a descriptor is ready or `timeout` passed (to the nanosecond: `poll` would round to milliseconds). A signal
    /// ends the wait as well.
    pub(crate) fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
        };
        // SAFETY: the slice and the timeout live across the call; no signal mask is given.
        let result = unsafe {
            libc::ppoll(self.0.as_mut_ptr(), self.0.len() as libc::nfds_t, &raw const timeout, std::ptr::null())
        };
        match checked(result) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.0.iter_mut().for_each(|poll| poll.revents = 0);
                if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
            }
        }
    }

    /// What the last wait found on a descriptor.
    pub(crate) fn readiness(&self, index: usize) -> Readiness {
        let found = self.0[index].revents;
        Readiness {
            readable: found & libc::POLLIN != 0,
            error: found & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0,
        }
    }
}
