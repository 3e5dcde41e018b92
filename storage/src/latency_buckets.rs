//! Counts of durations by length, of which quantiles of an interval can be computed. A histogram of Prometheus cannot be
//! read by the process itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Number of buckets: 50 µs times 1.25 to the power of their number, up to 79 s.
const BUCKETS: usize = 64;
/// Upper bound of the first bucket in seconds.
const FIRST: f64 = 0.000_05;
/// Ratio of the bounds of two buckets, by which a quantile may exceed the true value.
const RATIO: f64 = 1.25;

/// Counts of durations, by length.
#[derive(Debug)]
pub struct LatencyBuckets {
    counts: [AtomicU64; BUCKETS],
}

/// Counts at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyCounts {
    counts: [u64; BUCKETS],
}

// === impl LatencyBuckets ===

impl Default for LatencyBuckets {
    fn default() -> LatencyBuckets {
        LatencyBuckets {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl LatencyBuckets {
    /// Counts a duration in its bucket.
    pub fn observe(&self, took: Duration) {
        let steps = (took.as_secs_f64() / FIRST).log(RATIO).ceil();
        // A cast saturates: durations below the first bound are in bucket 0, and so is NaN.
        let bucket = (steps as usize).min(BUCKETS - 1);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts of this moment.
    #[must_use]
    pub fn counts(&self) -> LatencyCounts {
        LatencyCounts {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed)),
        }
    }
}

// === impl LatencyCounts ===

impl Default for LatencyCounts {
    fn default() -> LatencyCounts {
        LatencyCounts { counts: [0; BUCKETS] }
    }
}

impl LatencyCounts {
    /// Returns the counts since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &LatencyCounts) -> LatencyCounts {
        LatencyCounts {
            counts: std::array::from_fn(|bucket| self.counts[bucket].saturating_sub(earlier.counts[bucket])),
        }
    }

    /// Returns the upper bound of the bucket in which the quantile is; `None` without a duration. `of_thousand`: 990 for p99.
    #[must_use]
    pub fn quantile(&self, of_thousand: u64) -> Option<Duration> {
        let total: u64 = self.counts.iter().sum();
        let rank = (total.saturating_mul(of_thousand)).div_ceil(1_000).max(1);
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        let exponent = i32::try_from(bucket).unwrap_or(i32::MAX);
        Some(Duration::from_secs_f64(FIRST * RATIO.powi(exponent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_is_at_most_a_quarter_above_the_true_value() {
        let buckets = LatencyBuckets::default();
        assert_eq!(buckets.counts().quantile(500), None);
        for ms in 1..=1_000 {
            buckets.observe(Duration::from_millis(ms));
        }
        for (of_thousand, ms) in [(1, 1), (500, 500), (990, 990), (1_000, 1_000)] {
            let found = buckets.counts().quantile(of_thousand).unwrap();
            let exact = Duration::from_millis(ms);
            assert!(
                found >= exact && found <= exact.mul_f64(1.26),
                "{of_thousand}: {found:?}"
            );
        }
    }

    #[test]
    fn only_the_durations_of_the_interval_count() {
        let buckets = LatencyBuckets::default();
        buckets.observe(Duration::from_secs(3_600));
        let before = buckets.counts();
        assert_eq!(buckets.counts().since(&before).quantile(990), None);
        buckets.observe(Duration::ZERO);
        buckets.observe(Duration::from_micros(1));
        let found = buckets.counts().since(&before).quantile(990);
        assert_eq!(found, Some(Duration::from_micros(50)));
        // The last bucket has everything beyond.
        assert!(before.quantile(990).unwrap() < Duration::from_secs(100));
    }
}
