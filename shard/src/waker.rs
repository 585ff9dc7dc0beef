//! How a thread that is about to wait is told that there is something for it: a flag, and an eventfd where the flag says that it is needed.
//!
//! A write to the eventfd costs a kernel call on both sides, so it is made only when the reader is parked or about to be. Both sides do
//! "write mine, fence, read the other's": the writer its record and then `parked`, the reader `parked` and then the rings. With a
//! sequentially consistent fence in between at least one of them sees the other's write (the pattern of Dekker's lock), so a record is
//! never left behind with its reader asleep. Acquire and release alone would not do: they let each side's read pass its own write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crate::sys::event::EventFd;

/// How others wake a shard, or the control core.
#[repr(align(128))]
pub(crate) struct Waker {
    parked: AtomicBool,
    pub(crate) event: Arc<EventFd>,
}

impl Waker {
    /// For a shard, which waits in its own ring or poll.
    pub(crate) fn for_shard() -> io::Result<Waker> {
        Ok(Waker { parked: AtomicBool::new(false), event: Arc::new(EventFd::new()?) })
    }

    /// For the control core, whose runtime may look at the event without need.
    pub(crate) fn for_control() -> io::Result<Waker> {
        Ok(Waker { parked: AtomicBool::new(false), event: Arc::new(EventFd::nonblocking()?) })
    }

    /// After a record was written: wakes the reader if it is parked or about to be; says whether that took a kernel call.
    pub(crate) fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        // The swap lets one of several writers make the call.
        let needed = self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::Relaxed);
        if needed {
            self.event.notify();
        }
        needed
    }

    /// Before the reader looks at its rings for the last time.
    pub(crate) fn about_to_park(&self) {
        self.parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// After the wait: nobody needs to wake this reader until it parks again.
    pub(crate) fn awake(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }
}
