//! How many records an engine has, and what they cost: the memory bill.

use super::Timers;
use super::records::{ClientTransaction, ServerTransaction};
use crate::call::Call;
use crate::limits::{BUFFERS_IN_FLIGHT, LINGER_HEADROOM_PERCENT, RINGING_SECONDS};
use crate::memory::{BufferPool, Index, Slab, TimerWheel};

/// How many records of each kind one engine has. Made by [`Budget::for_shard`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Calls from INVITE to end.
    pub calls: u32,
    /// Server transactions, lingering ones included.
    pub server_transactions: u32,
    /// Client transactions, lingering ones included.
    pub client_transactions: u32,
    /// Buffers of each class of [`CLASS_SIZES`](crate::memory::buffer::CLASS_SIZES).
    pub buffers: [u32; 3],
}

/// One line of the bill.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct BillLine {
    /// What it is.
    pub name: &'static str,
    /// How many there are.
    pub count: u32,
    /// Bytes that they take together.
    pub bytes: usize,
}

impl Budget {
    /// The records of one of `shards` engines of a node that holds `calls_max` calls and takes `cps_max` new ones a second.
    ///
    /// Call-IDs spread binomially, so a shard gets its even share and four standard deviations more; one shard gets exactly what
    /// the node was given.
    #[must_use]
    pub fn for_shard(calls_max: u32, cps_max: u32, shards: u8, timers: &Timers) -> Budget {
        let calls = share(calls_max, shards);
        let cps = share(cps_max, shards);
        let per_second = |seconds: f64| -> u32 {
            let count = f64::from(cps) * seconds * f64::from(100 + LINGER_HEADROOM_PERCENT) / 100.0;
            (count as u32).max(64)
        };
        let linger = timers.linger().as_secs_f64();
        let t4 = timers.t4.as_secs_f64();
        // No more INVITEs are pending than calls exist; beyond this many, call set-up is slower than planned for.
        let ringing = per_second(f64::from(RINGING_SECONDS)).min(calls.max(64));
        // Per call: INVITE and BYE at the server for 64·T1 each (Timers L and J); at the client the INVITE for 64·T1
        // (M or D) and the BYE for T4 (K). A third for in-dialog requests and CANCELs.
        let server_transactions =
            per_second(2.0 * linger).saturating_add(per_second(linger / 3.0)).saturating_add(ringing);
        let client_transactions =
            per_second(linger + t4).saturating_add(per_second(linger / 3.0)).saturating_add(ringing);
        Budget {
            calls,
            server_transactions,
            client_transactions,
            buffers: [
                // The answer to a BYE (Timer J) or an ACK (Timer D); the provisional of a ringing call.
                per_second(linger * 4.0 / 3.0).saturating_add(ringing).saturating_add(BUFFERS_IN_FLIGHT),
                // A ringing call holds its INVITE as it came and as it was sent.
                ringing.saturating_mul(2).saturating_add(BUFFERS_IN_FLIGHT),
                // What does not fit: one call in sixteen has an INVITE above the middle class.
                (ringing / 8).saturating_add(64),
            ],
        }
    }

    /// What an engine of this budget takes, item by item.
    #[must_use]
    pub fn bill(&self) -> [BillLine; 6] {
        let line = |name, count, bytes| BillLine { name, count, bytes };
        let timers = self.timers();
        let transactions = self.server_transactions;
        [
            line("calls", self.calls, Slab::<Call>::bytes(self.calls) + Index::bytes(self.calls)),
            line(
                "server transactions",
                transactions,
                Slab::<ServerTransaction>::bytes(transactions) + Index::bytes(transactions),
            ),
            line(
                "client transactions",
                self.client_transactions,
                Slab::<ClientTransaction>::bytes(self.client_transactions),
            ),
            line("timers", timers, TimerWheel::bytes(timers)),
            line("message buffers", self.buffers.iter().sum(), BufferPool::memory(self.buffers)),
            line("slot table", 1, crate::steering::SLOTS),
        ]
    }

    /// Timer places: one per record.
    pub(super) const fn timers(&self) -> u32 {
        self.server_transactions + self.client_transactions + self.calls
    }
}

/// One shard's part of `total`, with room for chance.
fn share(total: u32, shards: u8) -> u32 {
    if shards <= 1 {
        return total;
    }
    let mean = total.div_ceil(u32::from(shards));
    // Four standard deviations of a binomial draw; its variance stays below the mean.
    mean.saturating_add(4 * mean.isqrt() + 8).min(total)
}

#[cfg(test)]
mod tests {
    use super::{Budget, Timers, share};

    #[test]
    fn one_shard_gets_exactly_the_node() {
        assert_eq!(share(60_000, 1), 60_000);
        assert_eq!(Budget::for_shard(3, 10, 1, &Timers::default()).calls, 3);
    }

    #[test]
    fn shards_together_hold_at_least_the_node() {
        for shards in 2..=64 {
            assert!(share(60_000, shards) * u32::from(shards) >= 60_000);
        }
    }

    #[test]
    fn the_bill_grows_with_both_terms() {
        let total = |calls, cps| -> usize {
            Budget::for_shard(calls, cps, 1, &Timers::default()).bill().iter().map(|line| line.bytes).sum()
        };
        assert!(total(60_000, 1_000) > total(30_000, 1_000));
        assert!(total(60_000, 1_000) > total(60_000, 500));
    }
}
