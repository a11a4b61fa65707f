//! Durations in buckets, at two relaxed additions per observation.
//!
//! `prometheus::Histogram` takes two ordered additions, one relaxed and a compare-and-swap loop
//! on a float per observation, so that a scrape sees count, sum and buckets of one instant. Here
//! a scrape may see an observation in its bucket and not yet in the sum: the next one will.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::proto;

use crate::Durations;

/// Upper bounds in microseconds: from a cached read on the same host, in steps of about three,
/// to what a failover takes and beyond it the query that somebody will ask about.
pub(crate) const BOUNDS_US: [u64; 12] = [
    100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 5_000_000, 20_000_000,
    60_000_000,
];

/// One more than there are bounds.
pub(crate) const BUCKETS: usize = BOUNDS_US.len() + 1;

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Not cumulative; the last is what exceeds every bound.
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Adds one duration; below a microsecond it counts as zero.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let index = BOUNDS_US.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many durations were observed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// What was observed so far.
    pub fn durations(&self) -> Durations {
        let mut durations =
            Durations { sum_us: self.sum_us.load(Ordering::Relaxed), ..Durations::default() };
        for (bucket, counted) in durations.buckets.iter_mut().zip(&self.buckets) {
            *bucket = counted.load(Ordering::Relaxed);
        }
        durations
    }

    /// The sum of them in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus' samples are floats")]
    pub(crate) fn sample(&self) -> proto::Histogram {
        let mut total = 0;
        let mut buckets = Vec::with_capacity(BOUNDS_US.len());
        // The count is the sum of the buckets as read, so that the two always agree.
        for (count, bound) in self.buckets.iter().zip(BOUNDS_US) {
            total += count.load(Ordering::Relaxed);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound as f64 / 1e6);
            bucket.set_cumulative_count(total);
            buckets.push(bucket);
        }
        total += self.buckets.last().map_or(0, |bucket| bucket.load(Ordering::Relaxed));
        let mut sample = proto::Histogram::default();
        sample.set_bucket(buckets);
        sample.set_sample_count(total);
        sample.set_sample_sum(self.sum_us() as f64 / 1e6);
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_are_inclusive_and_the_last_bucket_is_open() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let sample = histogram.sample();
        let buckets = sample.get_bucket();
        assert_eq!(buckets[0].cumulative_count(), 2);
        assert_eq!(buckets[1].cumulative_count(), 3);
        assert_eq!(buckets[11].cumulative_count(), 4);
        assert_eq!(sample.get_sample_count(), 5);
        assert_eq!(histogram.sum_us(), 120_000_202);
        assert!((sample.get_sample_sum() - 120.000_202).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn buckets_are_cumulative_and_complete(list in prop::collection::vec(any::<u32>(), 0..50)) {
            let histogram = Histogram::default();
            for micros in &list {
                histogram.observe(Duration::from_micros(u64::from(*micros)));
            }
            let sample = histogram.sample();
            for bucket in sample.get_bucket() {
                let below = list.iter()
                    .filter(|micros| f64::from(**micros) / 1e6 <= bucket.upper_bound())
                    .count();
                prop_assert_eq!(bucket.cumulative_count(), below as u64);
            }
            prop_assert_eq!(sample.get_sample_count(), list.len() as u64);
        }
    }
}
