//! A histogram with fixed bounds and the percentile rule of `/healthz`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

/// The upper bounds of a histogram's buckets in milliseconds, themselves included; a last bucket has none.
pub const BOUNDS_MS: [u64; 11] = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000];

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_micros: AtomicU64,
}

/// A [`Histogram`] in the form of `/healthz`; all zero if nothing was observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Timing")]
pub struct HistogramSnapshot {
    /// Observations.
    pub count: u64,
    /// Their mean in milliseconds.
    pub mean_ms: f64,
    /// The upper bound of the bucket with the median.
    pub p50_ms: u64,
    /// The same for the 95th percentile.
    pub p95_ms: u64,
    /// The same for the 99th percentile.
    pub p99_ms: u64,
}

impl Histogram {
    /// One observation.
    pub fn observe(&self, took: Duration) {
        let bucket = BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < took);
        // `partition_point` gives at most the length of the bounds, which is the last bucket.
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Observations per bucket, in the order of [`BOUNDS_MS`], and at last those above all bounds.
    pub fn buckets(&self) -> [u64; BOUNDS_MS.len() + 1] {
        self.buckets.each_ref().map(|it| it.load(Ordering::Relaxed))
    }

    /// The sum of all observations.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros.load(Ordering::Relaxed))
    }

    /// Count, mean and percentiles.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let buckets = self.buckets();
        let count: u64 = buckets.iter().sum();
        if count == 0 {
            return HistogramSnapshot::default();
        }
        HistogramSnapshot {
            count,
            mean_ms: self.sum().as_secs_f64() * 1000.0 / count as f64,
            p50_ms: percentile(&buckets, count, 50),
            p95_ms: percentile(&buckets, count, 95),
            p99_ms: percentile(&buckets, count, 99),
        }
    }
}

/// The upper bound of the bucket that holds observation number max(1, ⌊count · percent / 100⌋); the bucket without a
/// bound reports the highest bound.
fn percentile(buckets: &[u64], count: u64, percent: u64) -> u64 {
    let rank = (u128::from(count) * u128::from(percent) / 100).max(1);
    let mut seen = 0_u128;
    let bucket = buckets.iter().position(|it| {
        seen += u128::from(*it);
        seen >= rank
    });
    BOUNDS_MS[bucket.unwrap_or(usize::MAX).min(BOUNDS_MS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn bounds_belong_to_the_bucket_below_them() {
        let histogram = Histogram::default();
        histogram.observe(ms(5));
        assert_eq!(histogram.snapshot().p50_ms, 5);
        histogram.observe(Duration::from_micros(5001));
        assert_eq!(histogram.snapshot().p99_ms, 5, "observation number ⌊2 · 0.99⌋ is the first");
        assert_eq!(histogram.buckets()[..4], [0, 1, 1, 0]);
    }

    #[test]
    fn what_exceeds_all_bounds_reports_the_highest() {
        let histogram = Histogram::default();
        histogram.observe(ms(60_000));
        let seen = histogram.snapshot();
        assert_eq!((seen.count, seen.p50_ms, seen.p99_ms), (1, 10_000, 10_000));
        assert!((seen.mean_ms - 60_000.0).abs() < 1e-6);
    }

    #[test]
    fn percentiles_follow_the_rank_rule() {
        let histogram = Histogram::default();
        for _ in 0..94 {
            histogram.observe(ms(1));
        }
        for _ in 0..4 {
            histogram.observe(ms(40));
        }
        histogram.observe(ms(400));
        histogram.observe(ms(2000));
        let seen = histogram.snapshot();
        assert_eq!((seen.p50_ms, seen.p95_ms, seen.p99_ms), (1, 50, 500));
    }
}
