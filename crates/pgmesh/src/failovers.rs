//! How long failovers take, as metrics and a log line; and what servers show of an epoch, told
//! to the topology.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pool::Report;
use telemetry::FailoverMetrics;
use topology::{Access, Epoch, Snapshot};

/// The failover that is under way, or the last one.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    /// Since when no transaction may begin, and in which epoch (0 before the first) that was.
    shut: Option<(Instant, u64)>,
    /// The epoch that was named since.
    named: Option<u64>,
    /// When a new epoch's primary was proven, until its first transaction ends.
    opened: Option<(u64, Instant)>,
    /// The last epoch of which a transaction has ended, be it that its opening was not seen yet.
    begun: Option<u64>,
}

/// What a step of a failover took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lap {
    Detected(Duration),
    Held(Duration),
    FirstSuccess(Duration),
}

impl Stopwatch {
    /// Looks at a snapshot.
    pub(crate) fn look(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<Lap> {
        let is_open = snapshot.route(Access::ReadWrite).is_ok();
        self.step(snapshot.epoch().get(), is_open, now)
    }

    fn step(&mut self, epoch: u64, is_open: bool, now: Instant) -> Vec<Lap> {
        let mut laps = Vec::new();
        let (since, before) = match self.shut {
            Some(shut) => shut,
            // The first leader that is seen is no failover.
            None if is_open || epoch == 0 => return laps,
            None => {
                self.named = None;
                *self.shut.insert((now, epoch))
            }
        };
        let passed = now.saturating_duration_since(since);
        if epoch != before && self.named != Some(epoch) {
            self.named = Some(epoch);
            laps.push(Lap::Detected(passed));
        }
        if is_open {
            self.shut = None;
            laps.push(Lap::Held(passed));
            if epoch != before {
                if self.begun == Some(epoch) {
                    laps.push(Lap::FirstSuccess(Duration::ZERO));
                } else {
                    self.opened = Some((epoch, now));
                }
            }
        }
        laps
    }

    /// The first transaction of an epoch has ended.
    fn began(&mut self, epoch: u64, now: Instant) -> Option<Lap> {
        self.begun = Some(epoch);
        let (_, opened) = self.opened.take_if(|(opened, _)| *opened == epoch)?;
        Some(Lap::FirstSuccess(now.saturating_duration_since(opened)))
    }
}

impl Lap {
    fn record(self, metrics: &FailoverMetrics) {
        match self {
            Self::Detected(time) => metrics.detect.observe(time),
            Self::Held(time) => metrics.hold.observe(time),
            Self::FirstSuccess(time) => metrics.first_success.observe(time),
        }
    }
}

/// Takes the times of the cluster that the snapshots show, and passes on what servers show.
pub(crate) struct Failovers {
    stopwatch: Mutex<Stopwatch>,
    metrics: Arc<telemetry::Metrics>,
    suspect: Box<dyn Fn(Epoch) + Send + Sync>,
}

impl Failovers {
    /// `suspect` is told of an epoch whose primary has refused a write; it does not wait.
    pub(crate) fn new(
        metrics: Arc<telemetry::Metrics>,
        suspect: Box<dyn Fn(Epoch) + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self { stopwatch: Mutex::default(), metrics, suspect })
    }

    pub(crate) fn look(&self, snapshot: &Snapshot) {
        for lap in self.stopwatch.lock().look(snapshot, Instant::now()) {
            if let Lap::Held(time) = lap {
                let epoch = snapshot.epoch().get();
                tracing::info!(epoch, held_ms = time.as_millis(), "transactions begin again");
            }
            lap.record(self.metrics.failovers());
        }
    }
}

impl Report for Failovers {
    fn refused(&self, epoch: Epoch) {
        (self.suspect)(epoch);
    }

    fn began(&self, epoch: Epoch) {
        if let Some(lap) = self.stopwatch.lock().began(epoch.get(), Instant::now()) {
            lap.record(self.metrics.failovers());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failover_is_timed_from_the_first_sign_to_the_first_success() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        let (first, second) = (1, 2);
        let mut watch = Stopwatch::default();
        assert_eq!(watch.step(0, false, at(0)), []);
        assert_eq!(watch.step(first, true, at(5)), []);
        assert_eq!(watch.step(first, false, at(100)), []);
        assert_eq!(watch.step(first, false, at(200)), []);
        assert_eq!(watch.step(second, false, at(1100)), [Lap::Detected(ms(1000))]);
        assert_eq!(watch.step(second, true, at(1250)), [Lap::Held(ms(1150))]);
        assert_eq!(watch.began(first, at(1251)), None);
        assert_eq!(watch.began(second, at(1255)), Some(Lap::FirstSuccess(ms(5))));
        assert_eq!(watch.began(second, at(1260)), None);
    }

    #[test]
    fn a_success_that_is_reported_before_its_epoch_is_seen_open_counts() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        let (first, second) = (1, 2);
        let mut watch = Stopwatch::default();
        watch.step(first, true, at(0));
        watch.step(first, false, at(100));
        assert_eq!(watch.began(second, at(299)), None);
        assert_eq!(
            watch.step(second, true, at(300)),
            [Lap::Detected(ms(200)), Lap::Held(ms(200)), Lap::FirstSuccess(ms(0))]
        );
        assert_eq!(watch.step(second, true, at(310)), []);
    }

    #[test]
    fn a_switchover_that_is_called_off_is_only_a_hold() {
        let start = Instant::now();
        let epoch = 1;
        let mut watch = Stopwatch::default();
        watch.step(epoch, false, start);
        let later = start + Duration::from_millis(70);
        assert_eq!(watch.step(epoch, true, later), [Lap::Held(Duration::from_millis(70))]);
        assert_eq!(watch.began(epoch, later), None);
    }
}
