//! Timers of a few constant delays: one queue each, so that arming and firing cost no search.
//!
//! Every entry of a lane waits equally long, hence a lane is in the order of its due times by itself. Nothing is ever
//! cancelled: whoever takes an entry looks whether its call still wants it. Since most retransmission timers are stale when
//! they fire, their lanes round up to a coarser grain, so that they do not cost a wake-up each.

use std::collections::VecDeque;
use std::time::Duration;

/// Queues of calls by delay. `Lane` is a place in the list given to [`Delays::new`].
pub struct Delays {
    lanes: Vec<Lane>,
}

struct Lane {
    delay_ns: u64,
    grain_ns: u64,
    queue: VecDeque<(u64, u32)>,
}

/// The grain of retransmission timers.
pub const COARSE: Duration = Duration::from_millis(10);

impl Delays {
    /// One lane per delay of `exact`, then one per delay of `coarse`; the latter fire up to [`COARSE`] later.
    #[must_use]
    pub fn new(exact: &[Duration], coarse: &[Duration]) -> Delays {
        let lane = |delay: &Duration, grain: Duration| Lane {
            delay_ns: delay.as_nanos() as u64,
            grain_ns: grain.as_nanos() as u64,
            queue: VecDeque::new(),
        };
        let exact = exact.iter().map(|delay| lane(delay, Duration::from_nanos(1)));
        Delays { lanes: exact.chain(coarse.iter().map(|delay| lane(delay, COARSE))).collect() }
    }

    /// Lets a call come back after the lane's delay.
    pub fn arm(&mut self, lane: usize, now_ns: u64, call: u32) {
        let Lane { delay_ns, grain_ns, queue } = &mut self.lanes[lane];
        queue.push_back(((now_ns + *delay_ns).next_multiple_of(*grain_ns), call));
    }

    /// The next call of a lane that is due.
    pub fn due(&mut self, lane: usize, now_ns: u64) -> Option<u32> {
        self.lanes[lane].queue.pop_front_if(|(at, _)| *at <= now_ns).map(|(_, call)| call)
    }

    /// When the next entry of any lane is due.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.lanes.iter().filter_map(|lane| lane.queue.front().map(|(at, _)| *at)).min()
    }

    /// How many lanes there are.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }
}

/// The waits between retransmissions: T1, doubled up to `cap`, until 64 × T1 are over (RFC 3261 §17.1.1.2, §17.1.2.2,
/// §13.3.1.4).
#[must_use]
pub fn retransmissions(t1: Duration, cap: Duration) -> Vec<Duration> {
    let mut waits = Vec::new();
    let (mut wait, mut total) = (t1, Duration::ZERO);
    while total + wait < t1 * 64 {
        waits.push(wait);
        total += wait;
        wait = (wait * 2).min(cap);
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::{Delays, retransmissions};
    use std::time::Duration;

    #[test]
    fn entries_come_back_by_lane_when_due() {
        let mut delays = Delays::new(&[Duration::from_nanos(10), Duration::from_nanos(3)], &[Duration::from_millis(1)]);
        delays.arm(0, 0, 1);
        delays.arm(0, 1, 2);
        delays.arm(1, 1, 3);
        assert_eq!(delays.next(), Some(4));
        assert_eq!((delays.due(1, 3), delays.due(1, 4), delays.due(1, 99)), (None, Some(3), None));
        assert_eq!((delays.due(0, 10), delays.due(0, 10), delays.due(0, 11)), (Some(1), None, Some(2)));
        assert_eq!(delays.next(), None);
        delays.arm(2, 5, 4);
        assert_eq!(delays.next(), Some(10_000_000), "1 ms and a bit, rounded up to the coarse grain");
    }

    #[test]
    fn retransmissions_follow_the_rfc() {
        let seconds = |list: &[f64]| list.iter().map(|s| Duration::from_secs_f64(*s)).collect::<Vec<_>>();
        let (t1, t2) = (Duration::from_millis(500), Duration::from_secs(4));
        // Timer A: INVITE doubles without a cap, six times within 32 s.
        assert_eq!(retransmissions(t1, Duration::MAX), seconds(&[0.5, 1.0, 2.0, 4.0, 8.0, 16.0]));
        // Timer E: capped at T2, ten times.
        assert_eq!(retransmissions(t1, t2), seconds(&[0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]));
    }
}
