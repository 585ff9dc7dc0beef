//! The ends of calls, as the media task reads them from the journals of the shards.
//!
//! ```text
//!   shard ── requests of a call ──► ring ────► taken first …
//!         └─ its end ─────────────► journal ─► … then this: by a gate for each shard
//! ```
//!
//! The end of a call comes by another way than its requests, and must not overtake them, or its last offer would be owed by nobody. So only those ends
//! may be read that were there before the requests that wait. A record is acknowledged when it has been handed over, so that a killed process meets it
//! again; one whose handling panicked is not handled twice.

use corelane_core::call::CallRecord;
use corelane_core::steering::ShardIndex;
use corelane_shard::{ControlBus, JournalReader};

use super::counter::{Counter, Shared};

/// What of a shard's journal may be read. Of each call the requests come first.
#[derive(Copy, Clone, Default)]
struct Gate {
    /// Ends up to this one may be read …
    ends: u64,
    /// … when so many more requests have been taken.
    requests: usize,
}

/// All journals.
pub(super) struct Ends {
    /// Those of the shards, in their order, then what is left of other starts.
    journals: Vec<JournalReader>,
    gates: Box<[Gate]>,
    /// The journal whose record is being handled.
    handling: Option<usize>,
}

impl Ends {
    /// Those of so many shards, and what is left of other starts.
    pub(super) fn new(journals: Vec<JournalReader>, shards: usize) -> Ends {
        Ends { journals, gates: vec![Gate::default(); shards].into(), handling: None }
    }

    /// Lets through the ends that are there now, where all before have been read.
    pub(super) fn open_gates(&mut self, bus: &ControlBus) {
        for (shard, (gate, journal)) in self.gates.iter_mut().zip(&self.journals).enumerate() {
            if journal.read() == gate.ends {
                // In this order: what the shard asked before it wrote an end that is seen here is seen in its ring.
                gate.ends = journal.written();
                gate.requests = bus.waiting(ShardIndex(shard as u8));
            }
        }
    }

    /// Lets everything through: the shards have gone, and requests that nobody has taken leave no debts.
    pub(super) fn open_all(&mut self) {
        self.gates.fill(Gate { ends: u64::MAX, requests: 0 });
    }

    /// A request of a shard has been taken.
    pub(super) fn taken(&mut self, shard: ShardIndex) {
        let gate = &mut self.gates[usize::from(shard.0)];
        gate.requests = gate.requests.saturating_sub(1);
    }

    /// The record whose handling panicked is over.
    pub(super) fn pass_over(&mut self) {
        if let Some(journal) = self.handling.take() {
            self.journals[journal].acknowledge();
        }
    }

    /// Hands ends over, one by one, at most `batch` of each journal; how many there were.
    pub(super) fn read(&mut self, batch: usize, shared: &Shared, mut on_ended: impl FnMut(&CallRecord)) -> usize {
        let mut read = 0;
        for (place, journal) in self.journals.iter_mut().enumerate() {
            // What is left of another start has no requests.
            let gate = self.gates.get(place).copied().unwrap_or(Gate { ends: u64::MAX, requests: 0 });
            for _ in 0..batch {
                if gate.requests > 0 || journal.read() >= gate.ends {
                    break;
                }
                let Some(record) = journal.next_record() else { break };
                read += 1;
                shared.add(Counter::RecordsRead, 1);
                self.handling = Some(place);
                match record {
                    Ok(record) => on_ended(&record),
                    Err(_) => shared.add(Counter::RecordsUnreadable, 1),
                }
                journal.acknowledge();
                self.handling = None;
            }
        }
        if read > 0 {
            // What is left of another start goes when it is read. A file that cannot be removed is found, and empty, at the next one.
            self.journals.retain(|journal| !journal.remove_if_left().unwrap_or(false));
        }
        read
    }
}
