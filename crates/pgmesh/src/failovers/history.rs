//! The last failovers, switchovers and holds, for to be shown.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use admin::rows::FailoverRow;
use admin::{Reign, Start};
use topology::{Access, Snapshot, Standing};

use super::Lap;

/// Rows that are kept; the oldest makes room.
const ROWS_MAX: usize = 64;

const OVER: &str = "over";
const UNDER_WAY: &str = "under way";

/// What a row takes from a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen<'s> {
    pub(super) epoch: u64,
    pub(super) timeline: Option<u64>,
    pub(super) primary: Option<&'s str>,
    pub(super) is_open: bool,
    pub(super) is_switching_over: bool,
}

impl<'s> Seen<'s> {
    pub(super) fn in_snapshot(snapshot: &'s Snapshot) -> Self {
        Self {
            epoch: snapshot.epoch().get(),
            timeline: snapshot.timeline().map(|timeline| u64::from(timeline.0)),
            primary: snapshot.primary().map(|node| node.name.as_str()),
            is_open: snapshot.route(Access::ReadWrite).is_ok(),
            is_switching_over: snapshot.standing() == Standing::SwitchingOver,
        }
    }
}

/// Why transactions cannot begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Cause {
    #[default]
    Loss,
    Switchover,
}

/// The last rows, oldest first; of them at most the last is under way.
#[derive(Debug, Default)]
pub(super) struct History {
    rows: VecDeque<FailoverRow>,
    cause: Cause,
    reign: Option<Reign>,
}

impl History {
    /// Notes what a look at the cluster has shown, with the laps that it ended.
    pub(super) fn note(&mut self, seen: &Seen<'_>, laps: &[Lap], now: SystemTime) {
        for lap in laps {
            self.lap(seen, *lap, now);
        }
        if let Some(row) = self.rows.back_mut().filter(|row| row.outcome == UNDER_WAY) {
            if seen.is_switching_over {
                self.cause = Cause::Switchover;
            }
            row.kind = kind(self.cause, row.detect.is_some()).to_owned();
        }
        if seen.is_open && self.reign.as_ref().is_none_or(|reign| reign.epoch != seen.epoch) {
            let start = if self.reign.is_none() { Start::Before } else { Start::Seen };
            let node = seen.primary.unwrap_or_default().to_owned();
            self.reign = Some(Reign { node, epoch: seen.epoch, since: now, start });
        }
    }

    fn lap(&mut self, seen: &Seen<'_>, lap: Lap, now: SystemTime) {
        match lap {
            Lap::Shut => {
                if self.rows.len() >= ROWS_MAX {
                    self.rows.pop_front();
                }
                self.cause = Cause::default();
                let from = self.reign.as_ref().map(|reign| reign.node.clone());
                self.rows.push_back(begun(seen, from, now));
            }
            Lap::Detected(time) => {
                if let Some(row) = self.rows.back_mut() {
                    row.detect = Some(time);
                    arrive(row, seen);
                }
            }
            Lap::Held(time) => {
                if let Some(row) = self.rows.back_mut() {
                    row.hold = Some(time);
                    row.outcome = OVER.to_owned();
                    row.kind = kind_when_over(self.cause, row.detect.is_some()).to_owned();
                    arrive(row, seen);
                }
            }
            Lap::FirstSuccess(time) => self.began(seen.epoch, time),
        }
    }

    /// The first transaction of an epoch has ended, so long after it could begin.
    pub(super) fn began(&mut self, epoch: u64, took: Duration) {
        let mut rows = self.rows.iter_mut().rev();
        // Not a hold that came later in the same epoch.
        if let Some(row) = rows.find(|row| row.epoch == epoch && row.detect.is_some()) {
            row.first_success = Some(took);
        }
    }

    /// So many clients have waited at one time, at the most, since the last row began.
    pub(super) fn waited(&mut self, clients: u64) {
        if let Some(row) = self.rows.back_mut() {
            row.clients_held = clients;
        }
    }

    pub(super) fn rows(&self) -> Vec<FailoverRow> {
        self.rows.iter().cloned().collect()
    }

    pub(super) fn reign(&self) -> Option<Reign> {
        self.reign.clone()
    }
}

fn begun(seen: &Seen<'_>, from: Option<String>, now: SystemTime) -> FailoverRow {
    FailoverRow {
        started: now,
        kind: String::new(),
        from,
        to: None,
        epoch: seen.epoch,
        timeline: seen.timeline,
        detect: None,
        hold: None,
        first_success: None,
        clients_held: 0,
        outcome: UNDER_WAY.to_owned(),
    }
}

/// Who leads is known.
fn arrive(row: &mut FailoverRow, seen: &Seen<'_>) {
    row.to = seen.primary.map(str::to_owned);
    (row.epoch, row.timeline) = (seen.epoch, seen.timeline);
}

fn kind(cause: Cause, is_named: bool) -> &'static str {
    match (cause, is_named) {
        (Cause::Switchover, _) => "switchover",
        (Cause::Loss, true) => "failover",
        (Cause::Loss, false) => "hold",
    }
}

/// A switchover that was called off was only a hold.
fn kind_when_over(cause: Cause, is_named: bool) -> &'static str {
    if is_named { kind(cause, is_named) } else { "hold" }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
