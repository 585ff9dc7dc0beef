//! A histogram of durations: fixed memory, bounded relative error.
//!
//! ```text
//!   nanoseconds  0 … 63 | 64 … 127 | 128 … 255 | 256 … 511 | …     each octave from 64 on is cut into 32 buckets
//!   width             1 |        2 |         4 |         8 | …     so a bucket is at most 1/32 of its value wide
//! ```
//!
//! A quantile answers the upper edge of its bucket, so it never flatters; the maximum is exact.

use std::fmt;
use std::time::Duration;

/// log2 of the buckets per octave.
const FINENESS: u32 = 5;
const HALF: u64 = 1 << FINENESS;
/// Octaves above the linear part; the last bucket takes everything longer than about 18 minutes.
const OCTAVES: usize = 34;
const BUCKETS: usize = (2 + OCTAVES) << FINENESS;

/// Durations by frequency.
#[derive(Clone)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: vec![0; BUCKETS].into_boxed_slice(), count: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// Adds one duration, in nanoseconds.
    pub fn record_ns(&mut self, value_ns: u64) {
        self.buckets[bucket_of(value_ns)] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(value_ns);
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// A duration that at least `per_mille` of a thousand recorded ones do not exceed; zero when nothing was recorded.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> Duration {
        let rank = (self.count * per_mille.min(1000)).div_ceil(1000).max(1);
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank {
                return Duration::from_nanos(upper_edge(bucket).min(self.max_ns));
            }
        }
        Duration::ZERO
    }

    /// Quantiles in microseconds: p50, p99, p99.9, max.
    #[must_use]
    pub fn summary_us(&self) -> [u64; 4] {
        [self.quantile(500), self.quantile(990), self.quantile(999), self.max()].map(|span| span.as_micros() as u64)
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999, max] = self.summary_us();
        write!(out, "p50 {p50} µs, p99 {p99} µs, p99.9 {p999} µs, max {max} µs ({} samples)", self.count)
    }
}

fn bucket_of(value_ns: u64) -> usize {
    if value_ns < 2 * HALF {
        return value_ns as usize;
    }
    let octave = value_ns.ilog2() - FINENESS;
    // `value >> octave` lies in HALF..2*HALF: the place within the octave, offset by HALF.
    let place = (u64::from(octave) << FINENESS) + (value_ns >> octave);
    (place as usize).min(BUCKETS - 1)
}

fn upper_edge(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * HALF {
        return bucket;
    }
    let octave = (bucket >> FINENESS) - 1;
    let place = (bucket & (HALF - 1)) + HALF;
    ((place + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Histogram, bucket_of, upper_edge};
    use std::time::Duration;

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        for bucket in 0..BUCKETS - 1 {
            let edge = upper_edge(bucket);
            assert_eq!(bucket_of(edge), bucket, "the upper edge of a bucket belongs to it");
            assert_eq!(bucket_of(edge + 1), bucket + 1, "the next value belongs to the next");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn no_bucket_is_wider_than_a_32nd_of_its_value() {
        for bucket in 1..BUCKETS {
            let (low, high) = (upper_edge(bucket - 1) + 1, upper_edge(bucket));
            assert!((high - low) * 32 <= low, "{low}..{high}");
        }
    }

    #[test]
    fn quantiles_never_flatter_and_the_maximum_is_exact() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(990), Duration::ZERO);
        for micros in 1..=1000 {
            histogram.record_ns(micros * 1000);
        }
        assert_eq!(histogram.count(), 1000);
        assert_eq!(histogram.max(), Duration::from_micros(1000));
        for (per_mille, exact_us) in [(500, 500u64), (990, 990), (999, 999), (1000, 1000)] {
            let answered = histogram.quantile(per_mille).as_nanos() as u64;
            assert!(answered >= exact_us * 1000, "{per_mille}: {answered}");
            assert!(answered <= exact_us * 1000 * 33 / 32, "{per_mille}: {answered}");
        }
    }
}
