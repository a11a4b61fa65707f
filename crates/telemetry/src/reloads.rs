//! What became of reading the configuration again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::family::{Row, Spec};
use crate::labels::{Counts, ReloadOutcome};

/// Reads of the configuration, the first one at start not counted.
#[derive(Debug)]
pub struct ReloadMetrics {
    outcomes: Counts<ReloadOutcome>,
    /// 1 if the last one was refused.
    failed: AtomicU64,
    /// When one was last taken, in seconds since 1970.
    succeeded: AtomicU64,
}

impl ReloadMetrics {
    /// The configuration was read at start, `now`.
    pub(crate) fn new(now: SystemTime) -> Self {
        let succeeded = AtomicU64::new(seconds(now));
        Self { outcomes: Counts::default(), failed: AtomicU64::new(0), succeeded }
    }

    /// It was read again, `now`.
    pub fn ended(&self, outcome: ReloadOutcome, now: SystemTime) {
        self.outcomes.inc(outcome);
        match outcome {
            ReloadOutcome::Failed => self.failed.store(1, Relaxed),
            ReloadOutcome::Changed | ReloadOutcome::Unchanged => {
                self.failed.store(0, Relaxed);
                self.succeeded.store(seconds(now), Relaxed);
            }
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(crate) const ROWS: &[Row<ReloadMetrics>] = &[
    Row {
        spec: Spec::counter(
            "pgmesh_reloads_total",
            "Times that the configuration was read again.",
            &["outcome"],
        ),
        read: |spec, reloads| {
            let sample = |(word, count): (&str, u64)| spec.sample(&[word], count);
            reloads.outcomes.each().map(sample).collect()
        },
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_config_reload_failed",
            "Whether the configuration was refused when it was last read: the one before counts.",
            &[],
        ),
        read: |spec, reloads| vec![spec.sample(&[], reloads.failed.load(Relaxed))],
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_reload_success_timestamp_seconds",
            "When a configuration was last read that could be used.",
            &[],
        ),
        read: |spec, reloads| vec![spec.sample(&[], reloads.succeeded.load(Relaxed))],
    },
];
