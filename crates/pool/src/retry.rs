//! When a login that has failed is tried again.

use std::time::{Duration, Instant};

const RETRY_FIRST: Duration = Duration::from_millis(25);

/// The longest pause between two logins: a server that comes back is found within this.
pub const RETRY_MAX: Duration = Duration::from_secs(1);

/// The pause before the next login when so many in a row have failed before the last one did: none
/// after the first, then a time that doubles. `jitter` in 0..1 spreads them.
pub fn retry_pause(failures: u32, jitter: f64) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => RETRY_FIRST.saturating_mul(1 << n.min(8)).min(RETRY_MAX).mul_f64(0.5 + jitter / 2.0),
    }
}

/// `by` after `at`; a time that no clock reaches is a year from then.
pub(crate) fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by).unwrap_or(at + A_YEAR)
}

const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
