//! How many records an engine has, and what they cost: the memory bill.

use super::Timers;
use super::media::Exchange;
use super::records::{ClientTransaction, ServerTransaction};
use crate::call::Call;
use crate::limits::{BUFFERS_IN_FLIGHT, EXCHANGE_SECONDS, LINGER_HEADROOM_PERCENT, RINGING_SECONDS};
use crate::memory::buffer::CLASSES;
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
    /// Of the transactions of each kind, how many wait for the answer to an INVITE.
    pub ringing: u32,
    /// Messages that wait for a media node.
    pub exchanges: u32,
    /// Buffers of each class of [`CLASS_SIZES`](crate::memory::buffer::CLASS_SIZES).
    pub buffers: [u32; CLASSES],
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
        // (M or D) and the BYE for T4 (K). A quarter for in-dialog requests; a call that is CANCELled has no BYE.
        let server_transactions =
            per_second(2.0 * linger).saturating_add(per_second(linger / 4.0)).saturating_add(ringing);
        let client_transactions =
            per_second(linger + t4).saturating_add(per_second(linger / 4.0)).saturating_add(ringing);
        let exchanges = per_second(f64::from(EXCHANGE_SECONDS));
        Budget {
            calls,
            server_transactions,
            client_transactions,
            ringing,
            exchanges,
            buffers: [
                // The text of a held call's dialog, or the provisional of one that rings; the answer to a BYE (Timer J) or an ACK
                // (Timer D) of a call that is over.
                (calls * HELD_BUFFERS).saturating_add(answers(per_second(linger))).saturating_add(BUFFERS_IN_FLIGHT),
                // A ringing call holds its INVITE as it came and as it was sent.
                // What waits for a media node is held as it came.
                ringing.saturating_mul(2).saturating_add(exchanges).saturating_add(BUFFERS_IN_FLIGHT),
                // One call in eight has a larger INVITE, one in thirty-two one of any size.
                (ringing / 4).saturating_add(64),
                (ringing / 16).saturating_add(64),
            ],
        }
    }

    /// What an engine of this budget takes, item by item. The first two are the terms that the operator sets: `calls_max` held calls,
    /// and the transactions that linger behind `cps_max` calls a second.
    #[must_use]
    pub fn bill(&self) -> [BillLine; 7] {
        let line = |name, count, bytes| BillLine { name, count, bytes };
        let (servers, clients) = (self.server_transactions, self.client_transactions);
        let transactions = servers + clients;
        let held = self.calls * HELD_BUFFERS;
        let answers = self.buffers[0].saturating_sub(held).saturating_sub(BUFFERS_IN_FLIGHT);
        let timers = |count: u32| TimerWheel::bytes(count).saturating_sub(TimerWheel::bytes(0));
        // A budget may be cut by hand.
        let pending = self.ringing.min(servers).min(clients);
        let ringing =
            Slab::<ServerTransaction>::bytes(pending) + Slab::<ClientTransaction>::bytes(pending) + timers(2 * pending);
        let invites = [BUFFERS_IN_FLIGHT, self.buffers[1], self.buffers[2], self.buffers[3]];
        [
            line(
                "held calls",
                self.calls,
                Slab::<Call>::bytes(self.calls)
                    + Index::bytes(self.calls)
                    + timers(self.calls)
                    + BufferPool::memory([held, 0, 0, 0]),
            ),
            line(
                "lingering transactions",
                transactions - 2 * pending,
                Slab::<ServerTransaction>::bytes(servers)
                    + Index::bytes(servers)
                    + Slab::<ClientTransaction>::bytes(clients)
                    + timers(transactions)
                    + BufferPool::memory([answers, 0, 0, 0])
                    - ringing,
            ),
            line("ringing transactions", 2 * pending, ringing),
            line("media exchanges", self.exchanges, Slab::<Exchange>::bytes(self.exchanges) + timers(self.exchanges)),
            line("messages on their way", invites.iter().sum(), BufferPool::memory(invites)),
            line("timer wheel", 1, TimerWheel::bytes(0)),
            line("slot table", 1, crate::steering::SLOTS),
        ]
    }

    /// Timer places: one per record.
    pub(super) const fn timers(&self) -> u32 {
        self.server_transactions + self.client_transactions + self.calls + self.exchanges
    }
}

/// Buffers that each held call has: the text of its dialog.
const HELD_BUFFERS: u32 = 1;

/// Buffers of answers that linger, for the calls of one linger time: one for each BYE, and a quarter for other requests.
const fn answers(calls: u32) -> u32 {
    calls.saturating_add(calls / 4)
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
    use super::*;

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

    /// SPEC §7: two terms of one bill. The planned sizes of the operator's manual, and a large node.
    #[test]
    fn a_held_call_and_a_lingering_transaction_keep_to_their_bytes() {
        for (calls, cps) in [(60_000, 1_000), (1_000_000, 10_000), (196_608, 2_000)] {
            let bill = Budget::for_shard(calls, cps, 1, &Timers::default()).bill();
            for (line, name, bytes_max) in [(bill[0], "held calls", 1_200), (bill[1], "lingering transactions", 512)] {
                assert_eq!(line.name, name);
                let each = line.bytes.div_ceil(line.count as usize);
                assert!(each <= bytes_max, "{calls} calls, {cps} a second: {each} bytes for each of {name}");
            }
        }
    }

    /// SPEC §7: 60,000 calls at rest, and the two terms together at 1,000 calls a second.
    #[test]
    fn sixty_thousand_calls_keep_to_their_megabytes() {
        let [held, lingering, ..] = Budget::for_shard(60_000, 1_000, 1, &Timers::default()).bill();
        assert!(held.bytes <= 72_000_000, "{} bytes at rest", held.bytes);
        assert!(held.bytes + lingering.bytes <= 130_000_000, "{} and {} bytes", held.bytes, lingering.bytes);
    }

    /// The bill is what the engine takes: nothing is left out, nothing is counted twice.
    #[test]
    fn the_bill_is_complete() {
        let budget = Budget::for_shard(1_000, 100, 1, &Timers::default());
        let parts = Slab::<Call>::bytes(budget.calls)
            + Index::bytes(budget.calls)
            + Slab::<ServerTransaction>::bytes(budget.server_transactions)
            + Index::bytes(budget.server_transactions)
            + Slab::<ClientTransaction>::bytes(budget.client_transactions)
            + Slab::<Exchange>::bytes(budget.exchanges)
            + TimerWheel::bytes(budget.timers())
            + BufferPool::memory(budget.buffers)
            + crate::steering::SLOTS;
        assert_eq!(budget.bill().iter().map(|line| line.bytes).sum::<usize>(), parts);
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
