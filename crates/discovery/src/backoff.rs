//! How long to wait before the next attempt.

use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;

/// The second attempt comes about this late; the first comes at once.
const SHORTEST: Duration = Duration::from_millis(100);

/// A source that is away for hours is asked this often, at most.
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles from attempt to attempt, with jitter so that many proxies do not return at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    began: Instant,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { failures: 0, began: Instant::now() }
    }

    /// An attempt begins.
    pub(crate) fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// The attempt ended; waits from zero to [`LONGEST`]. One that held longer than that counts
    /// as a success, so that a source which fails right after each connect is not hammered.
    pub(crate) fn after_failure(&mut self) -> Duration {
        if self.began.elapsed() > LONGEST {
            self.failures = 0;
        }
        let delay = match self.failures {
            0 => Duration::ZERO,
            n => SHORTEST.saturating_mul(1 << (n - 1).min(16)).min(LONGEST),
        };
        self.failures = self.failures.saturating_add(1);
        delay.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn first_at_once_then_doubling_up_to_a_bound() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.after_failure(), Duration::ZERO);
        for n in 0..40 {
            let expected = SHORTEST.saturating_mul(1 << n.min(16)).min(LONGEST);
            let delay = backoff.after_failure();
            assert!(delay >= expected / 2 && delay <= expected, "{n}: {delay:?}");
        }
        backoff.begin();
        tokio::time::advance(LONGEST * 2).await;
        assert_eq!(backoff.after_failure(), Duration::ZERO);
    }
}
