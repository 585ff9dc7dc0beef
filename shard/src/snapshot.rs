//! A shard's counters as others see them: copied out once a second, so that counting a message touches nothing shared.

use std::sync::atomic::{AtomicU64, Ordering};

use corelane_core::Counters;
use corelane_core::counter::{COUNTERS, TABLE};

/// The last copy. Each value is true by itself; two values may be from two copies, which a sum over an interval forgives.
pub(crate) struct Snapshot([AtomicU64; COUNTERS]);

impl Snapshot {
    pub(crate) fn new() -> Snapshot {
        Snapshot([const { AtomicU64::new(0) }; COUNTERS])
    }

    pub(crate) fn publish(&self, counters: &Counters) {
        for (shared, value) in self.0.iter().zip(counters.values()) {
            shared.store(*value, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Counters {
        let mut counters = Counters::default();
        for (shared, description) in self.0.iter().zip(TABLE) {
            counters.set(description.counter, shared.load(Ordering::Relaxed));
        }
        counters
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshot;
    use corelane_core::{Counter, Counters};

    #[test]
    fn what_was_published_is_read() {
        let snapshot = Snapshot::new();
        let mut counters = Counters::default();
        counters.add(Counter::DatagramsIn, 7);
        counters.set(Counter::TimersLive, 3);
        snapshot.publish(&counters);
        assert_eq!(snapshot.read().values(), counters.values());
    }
}
