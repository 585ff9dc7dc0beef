//! Every counter of the control core itself; those of media control are beside its client (`rtpengine::counter`).

use std::sync::atomic::{AtomicU64, Ordering};

corelane_core::counters! {
    /// One counter or gauge of the control core.
    Panics, "control_panics", "total", "Tasks of the control core that panicked and were started again.";
    SlowPanics, "slow_panics", "total", "Runs of slow work that panicked.";
    Turns, "control_turns", "total", "Turns of media control that had something to do.";
    RequestsMalformed, "control_requests_malformed", "total", "Requests of shards that cannot be read.";
    RepliesKept, "replies_kept", "total", "Replies that found the ring of their shard full and waited.";
    RecordsRead, "journal_read", "total", "Records of ended calls that were read from the journals.";
    RecordsUnreadable, "journal_unreadable", "total", "Records of a layout that this program does not know, passed over.";
    SendsDropped, "media_sends_dropped", "total", "Datagrams to media nodes that the kernel did not take; asked again later.";
    RepliesWaiting, "replies_waiting", "now", "Replies that wait for room in the ring of their shard.";
}

/// The counters as threads share them: the control core adds, anybody reads.
#[derive(Debug)]
pub struct Shared([AtomicU64; TABLE.len()]);

impl Default for Shared {
    fn default() -> Shared {
        Shared([const { AtomicU64::new(0) }; TABLE.len()])
    }
}

impl Shared {
    /// Adds.
    pub fn add(&self, counter: Counter, count: u64) {
        self.0[counter as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, counter: Counter, value: u64) {
        self.0[counter as usize].store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn value(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}
