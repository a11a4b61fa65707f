//! How long failovers take, as metrics, a log line and a history; and what servers show of an
//! epoch, told to the topology.

mod history;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use admin::Reign;
use admin::rows::FailoverRow;
use parking_lot::Mutex;
use pool::{Pools, Report};
use telemetry::FailoverMetrics;
use topology::{Epoch, Snapshot};

use history::{History, Seen};

/// The failover that is under way, or the last one.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    /// The last epoch in which transactions could begin.
    open: Option<u64>,
    /// Since when they cannot, and in which epoch they last could.
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
    /// The first sign: no transaction may begin.
    Shut,
    Detected(Duration),
    Held(Duration),
    FirstSuccess(Duration),
}

impl Stopwatch {
    fn step(&mut self, epoch: u64, is_open: bool, now: Instant) -> Vec<Lap> {
        let mut laps = Vec::new();
        let (since, before) = match self.shut {
            Some(shut) => shut,
            None => match self.open {
                Some(open) if !is_open || open != epoch => {
                    self.named = None;
                    laps.push(Lap::Shut);
                    *self.shut.insert((now, open))
                }
                // The first leader that is seen is no failover.
                Some(_) | None => {
                    self.open = is_open.then_some(epoch);
                    return laps;
                }
            },
        };
        let passed = now.saturating_duration_since(since);
        if epoch != before && self.named != Some(epoch) {
            self.named = Some(epoch);
            laps.push(Lap::Detected(passed));
        }
        if is_open {
            (self.open, self.shut) = (Some(epoch), None);
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
            Self::Shut => metrics.holds.inc(),
            Self::Detected(time) => metrics.detect.observe(time),
            Self::Held(time) => metrics.hold.observe(time),
            Self::FirstSuccess(time) => metrics.first_success.observe(time),
        }
    }
}

/// Takes the times of the cluster that the snapshots show, and passes on what servers show.
pub(crate) struct Failovers {
    times: Mutex<Times>,
    metrics: Arc<telemetry::Metrics>,
    suspect: Box<dyn Fn(Epoch) + Send + Sync>,
}

#[derive(Debug, Default)]
struct Times {
    stopwatch: Stopwatch,
    history: History,
}

impl Failovers {
    /// `suspect` is told of an epoch whose primary has refused a write; it does not wait.
    pub(crate) fn new(
        metrics: Arc<telemetry::Metrics>,
        suspect: Box<dyn Fn(Epoch) + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self { times: Mutex::default(), metrics, suspect })
    }

    /// Looks at the cluster, and at how many clients wait meanwhile.
    pub(crate) fn look(&self, snapshot: &Snapshot, pools: &Pools) {
        let seen = Seen::in_snapshot(snapshot);
        let mut times = self.times.lock();
        let was_shut = times.stopwatch.shut.is_some();
        let laps = times.stopwatch.step(seen.epoch, seen.is_open, Instant::now());
        times.history.note(&seen, &laps, SystemTime::now());
        if laps.contains(&Lap::Shut) {
            tracing::info!(event = "hold_began", epoch = seen.epoch, "transactions wait");
            pools.forget_most_waiting();
        }
        if was_shut {
            times.history.waited(pools.most_waiting() as u64);
        }
        drop(times);
        for lap in laps {
            if let Lap::Held(time) = lap {
                let epoch = seen.epoch;
                tracing::info!(
                    event = "hold_ended",
                    epoch,
                    held_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
                    "transactions begin again"
                );
            }
            lap.record(self.metrics.failovers());
        }
    }

    /// The last failovers, switchovers and holds, oldest first; the last may be under way.
    pub(crate) fn rows(&self, pools: &Pools) -> Vec<FailoverRow> {
        let mut times = self.times.lock();
        if times.stopwatch.shut.is_some() {
            times.history.waited(pools.most_waiting() as u64);
        }
        times.history.rows()
    }

    /// Since when the last primary has taken transactions; `None` before the first.
    pub(crate) fn reign(&self) -> Option<Reign> {
        self.times.lock().history.reign()
    }
}

impl Report for Failovers {
    fn refused(&self, epoch: Epoch) {
        (self.suspect)(epoch);
    }

    fn began(&self, epoch: Epoch) {
        let epoch = epoch.get();
        let mut times = self.times.lock();
        let lap = times.stopwatch.began(epoch, Instant::now());
        if let Some(lap @ Lap::FirstSuccess(took)) = lap {
            times.history.began(epoch, took);
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
        assert_eq!(watch.step(first, false, at(100)), [Lap::Shut]);
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
        watch.step(epoch, true, start);
        assert_eq!(watch.step(epoch, false, start), [Lap::Shut]);
        let later = start + Duration::from_millis(70);
        assert_eq!(watch.step(epoch, true, later), [Lap::Held(Duration::from_millis(70))]);
        assert_eq!(watch.began(epoch, later), None);
    }

    #[test]
    fn nothing_is_a_failover_before_the_first_primary_is_proven() {
        let start = Instant::now();
        let mut watch = Stopwatch::default();
        for (epoch, is_open) in [(0, false), (1, false), (2, false), (2, true)] {
            assert_eq!(watch.step(epoch, is_open, start), []);
        }
    }

    #[test]
    fn a_failover_of_which_only_the_end_is_seen_took_no_time() {
        let start = Instant::now();
        let mut watch = Stopwatch::default();
        watch.step(1, true, start);
        let zero = Duration::ZERO;
        let whole = [Lap::Shut, Lap::Detected(zero), Lap::Held(zero)];
        assert_eq!(watch.step(2, true, start), whole);
        assert_eq!(watch.step(3, false, start), whole[..2]);
    }
}
