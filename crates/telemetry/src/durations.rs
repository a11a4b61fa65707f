//! What a histogram has counted, as a value: to be added up, compared with an earlier one, and
//! read as a mean or a quantile.

use std::time::Duration;

use crate::histogram::{BOUNDS_US, BUCKETS};

/// Durations by bucket, and their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durations {
    /// Not cumulative; the last is what exceeds every bound.
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) sum_us: u64,
}

impl Durations {
    /// Those that are given one by one.
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let histogram = crate::Histogram::default();
        durations.into_iter().for_each(|duration| histogram.observe(duration));
        histogram.durations()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Those of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::wrapping_add)
    }

    /// Those that have come after `earlier`. What has shrunk, for somebody began anew, is zero.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// The mean; `None` of none.
    pub fn mean(&self) -> Option<Duration> {
        Some(Duration::from_micros(self.sum_us.checked_div(self.count())?))
    }

    /// The duration that a share of `quantile` (0 to 1) does not exceed, taken to be spread
    /// evenly inside a bucket, as Prometheus does; at most the last bound. `None` of none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate between two bounds of a minute at the most"
    )]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = quantile.clamp(0.0, 1.0) * count as f64;
        let (mut below, mut lower) = (0, 0);
        for (in_bucket, bound) in self.buckets.iter().zip(BOUNDS_US) {
            let until = below + in_bucket;
            if *in_bucket > 0 && until as f64 >= rank {
                let share = ((rank - below as f64) / *in_bucket as f64).max(0.0);
                let micros = lower as f64 + share * (bound - lower) as f64;
                return Some(Duration::from_micros(micros as u64));
            }
            (below, lower) = (until, bound);
        }
        Some(Duration::from_micros(lower))
    }

    fn with(&self, other: &Self, combine: fn(u64, u64) -> u64) -> Self {
        let mut buckets = self.buckets;
        for (bucket, other) in buckets.iter_mut().zip(other.buckets) {
            *bucket = combine(*bucket, other);
        }
        Self { buckets, sum_us: combine(self.sum_us, other.sum_us) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_of_its_rank() {
        let durations = Durations::of([ms(2); 90].into_iter().chain([ms(200); 10]));
        assert_eq!(durations.mean(), Some(Duration::from_micros(21_800)));
        let median = durations.quantile(0.5).unwrap();
        assert!(median > ms(1) && median < ms(3), "{median:?}");
        let high = durations.quantile(0.95).unwrap();
        assert_eq!(high, ms(200), "halfway from 100 to 300");
        assert_eq!(Durations::default().quantile(0.5), None);
        assert_eq!(Durations::default().mean(), None);
        let beyond = Durations::of([Duration::from_secs(3600)]);
        assert_eq!(beyond.quantile(0.5), Some(Duration::from_secs(60)));
    }

    #[test]
    fn who_begins_anew_has_done_nothing() {
        let earlier = Durations::of([ms(1), ms(5)]);
        assert_eq!(Durations::default().since(&earlier), Durations::default());
    }

    proptest! {
        #[test]
        fn what_came_since_is_what_was_added(
            first in prop::collection::vec(0_u64..100_000_000, 0..40),
            then in prop::collection::vec(0_u64..100_000_000, 0..40),
        ) {
            let of = |list: &[u64]| Durations::of(list.iter().map(|us| Duration::from_micros(*us)));
            let (earlier, added) = (of(&first), of(&then));
            prop_assert_eq!(earlier.plus(&added).since(&earlier), added);
            prop_assert_eq!(added.count(), then.len() as u64);
        }

        #[test]
        fn quantiles_rise(list in prop::collection::vec(0_u64..100_000_000, 1..40)) {
            let durations = Durations::of(list.into_iter().map(Duration::from_micros));
            let quantiles: Vec<_> =
                [0.0, 0.1, 0.5, 0.9, 1.0].map(|q| durations.quantile(q).unwrap()).into();
            prop_assert!(quantiles.is_sorted(), "{quantiles:?}");
        }
    }
}
