//! A run by slices of time, each call in the slice in which it started: what happened when, during a fault.
//!
//! ```text
//!   slice 0        slice 1        slice 2 …        started, µs to the 100, µs to the callee, 503s, other failures
//! ```

use std::time::{Duration, Instant};

use super::report::Failure;

/// One slice. Waits are in microseconds, in the order in which they ended.
#[derive(Clone, Default, Debug)]
pub struct Slice {
    /// Calls started.
    pub started: u32,
    /// From INVITE to the first provisional response.
    pub trying_us: Vec<u32>,
    /// From INVITE to INVITE at the callee.
    pub through_us: Vec<u32>,
    /// Calls refused with 503.
    pub unavailable: u32,
    /// Calls that failed otherwise.
    pub failed: u32,
}

/// All slices of a run.
#[derive(Clone, Debug)]
pub struct Series {
    /// When slice 0 began.
    pub origin: Instant,
    /// Length of a slice.
    pub slice: Duration,
    /// The slices; none when the plan wants none.
    pub slices: Vec<Slice>,
}

impl Series {
    /// An empty series; with slices of 0 ms it stays empty.
    #[must_use]
    pub fn new(slice_ms: u64) -> Series {
        Series { origin: Instant::now(), slice: Duration::from_millis(slice_ms), slices: Vec::new() }
    }

    pub(super) fn start(&mut self, now_ns: u64) {
        self.change(now_ns, |slice| slice.started += 1);
    }

    pub(super) fn trying(&mut self, since_ns: u64, now_ns: u64) {
        self.change(since_ns, |slice| slice.trying_us.push(micros(since_ns, now_ns)));
    }

    pub(super) fn through(&mut self, since_ns: u64, now_ns: u64) {
        self.change(since_ns, |slice| slice.through_us.push(micros(since_ns, now_ns)));
    }

    pub(super) fn fail(&mut self, since_ns: u64, failure: Failure) {
        self.change(since_ns, |slice| match failure {
            Failure::Refused(503) => slice.unavailable += 1,
            _ => slice.failed += 1,
        });
    }

    fn change(&mut self, at_ns: u64, change: impl FnOnce(&mut Slice)) {
        if self.slice.is_zero() {
            return;
        }
        let place = (u128::from(at_ns) / self.slice.as_nanos()) as usize;
        if self.slices.len() <= place {
            self.slices.resize_with(place + 1, Slice::default);
        }
        change(&mut self.slices[place]);
    }

    /// The slices that began within this part of the run.
    #[must_use]
    pub fn between(&self, from: Duration, to: Duration) -> &[Slice] {
        if self.slice.is_zero() {
            return &[];
        }
        let place = |at: Duration| {
            let place = at.as_nanos().div_ceil(self.slice.as_nanos());
            usize::try_from(place).unwrap_or(usize::MAX).min(self.slices.len())
        };
        &self.slices[place(from)..place(to).max(place(from))]
    }
}

fn micros(since_ns: u64, now_ns: u64) -> u32 {
    u32::try_from(now_ns.saturating_sub(since_ns) / 1000).unwrap_or(u32::MAX)
}

/// The value below or at which 99 % lie; 0 when there is none.
#[must_use]
pub fn p99(values: &[u32]) -> u32 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Series, p99};
    use crate::load::report::Failure;

    #[test]
    fn what_happens_to_a_call_is_told_of_the_slice_in_which_it_started() {
        let mut series = Series::new(100);
        let ms = |ms: u64| ms * 1_000_000;
        series.start(ms(250));
        series.trying(ms(250), ms(251));
        series.through(ms(250), ms(900));
        series.fail(ms(99), Failure::Refused(503));
        series.fail(ms(99), Failure::NoAnswer);
        let slice = &series.slices[2];
        assert_eq!((slice.started, &slice.trying_us[..], &slice.through_us[..]), (1, &[1_000][..], &[650_000][..]));
        assert_eq!((series.slices[0].unavailable, series.slices[0].failed), (1, 1));
        let part = series.between(Duration::from_millis(150), Duration::from_secs(9));
        assert_eq!((part.len(), part[0].started), (1, 1), "the slice at 100 ms began before, that at 200 ms did not");
        assert_eq!(series.between(Duration::ZERO, Duration::MAX).len(), 3, "to the end");
        let mut none = Series::new(0);
        none.start(5);
        assert!(none.slices.is_empty() && none.between(Duration::ZERO, Duration::MAX).is_empty());
    }

    #[test]
    fn the_99th_percentile_is_one_of_the_values() {
        assert_eq!(p99(&[]), 0);
        assert_eq!(p99(&[7]), 7);
        assert_eq!(p99(&(1..=100).rev().collect::<Vec<_>>()), 99);
    }
}
