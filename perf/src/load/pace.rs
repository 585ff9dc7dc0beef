//! The schedule: which call is due when, independent of how earlier ones fare.
//!
//! Call `n` is planned for `n / cps` after the start, rounded up to a whole burst: with bursts of 500 µs at 6,000 calls/s
//! three calls start together every 500 µs. Small bursts are what a real trunk sends, and they spare a wake-up per call.
//! Times are nanoseconds since the start of the run.

/// Open-loop schedule of a fixed number of calls.
#[derive(Clone, Debug)]
pub struct Pace {
    cps: u64,
    calls: u32,
    burst_ns: u64,
    started: u32,
}

impl Pace {
    /// `calls` calls at `cps` per second, in bursts of `burst_ns` of schedule (0: none).
    #[must_use]
    pub fn new(cps: u32, calls: u32, burst_ns: u64) -> Pace {
        Pace { cps: u64::from(cps.max(1)), calls, burst_ns: burst_ns.max(1), started: 0 }
    }

    /// When the next call is planned; `None` when all have started.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        let exact = u64::from(self.started) * 1_000_000_000 / self.cps;
        (self.started < self.calls).then(|| exact.next_multiple_of(self.burst_ns))
    }

    /// Starts the next call if it is due: its number and how late it is, in nanoseconds.
    pub fn start(&mut self, now_ns: u64) -> Option<(u32, u64)> {
        let planned = self.next()?;
        let late = now_ns.checked_sub(planned)?;
        self.started += 1;
        Some((self.started - 1, late))
    }

    /// Calls started.
    #[must_use]
    pub fn started(&self) -> u32 {
        self.started
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    #[test]
    fn calls_start_when_due_and_in_bursts() {
        let mut pace = Pace::new(4000, 5, 500_000);
        assert_eq!(pace.start(0), Some((0, 0)));
        assert_eq!(pace.start(0), None, "planned for 250 µs, rounded up to 500");
        assert_eq!(pace.next(), Some(500_000));
        assert_eq!(pace.start(510_000), Some((1, 10_000)));
        assert_eq!(pace.start(510_000), Some((2, 10_000)));
        assert_eq!(pace.start(510_000), None);
        assert_eq!(pace.start(2_000_000), Some((3, 1_000_000)), "a late call is started all the same");
        assert_eq!(pace.start(2_000_000), Some((4, 1_000_000)));
        assert_eq!((pace.start(u64::MAX), pace.next(), pace.started()), (None, None, 5));
    }

    #[test]
    fn the_schedule_never_drifts() {
        let mut pace = Pace::new(7, 7_000_001, 0);
        let mut last = 0;
        while let Some(planned) = pace.next() {
            last = planned;
            assert!(pace.start(planned).is_some());
        }
        assert_eq!(last, 1_000_000_000_000_000, "call 7,000,000 at 7/s is due after exactly 1,000,000 s");
    }
}
