//! Throughput and latency of the last quarter of an hour, per database. Pure: time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use telemetry::Durations;

use super::Work;

/// Between two samples.
pub(super) const PERIOD: Duration = Duration::from_secs(5);

/// Samples that are kept: 15 minutes.
const SAMPLES_MAX: usize = 180;

/// Databases with points of their own: names are the clients' to make up. The others are one.
const DATABASES_MAX: usize = 16;

/// What the numbers of a point are, in their order; rates are per second.
const COLUMNS: [&str; 7] = [
    "transactions",
    "queries",
    "query_mean_ms",
    "query_p95_ms",
    "wait_mean_ms",
    "waiting",
    "active",
];

/// Whose points they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    All,
    Database(String),
    Others,
}

/// One sample of one series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Point {
    transactions: f64,
    queries: f64,
    query_mean: Option<Duration>,
    query_p95: Option<Duration>,
    wait_mean: Option<Duration>,
    waiting: u64,
    active: u64,
}

/// The samples.
#[derive(Debug, Default)]
pub(super) struct History {
    /// When they were taken: the end of what they cover.
    times: VecDeque<SystemTime>,
    /// Each as long as it has been followed, at most as long as `times`; aligned at the end.
    series: BTreeMap<Of, VecDeque<Point>>,
    last: BTreeMap<String, Work>,
}

impl History {
    /// Takes what was done until `now`, `elapsed` after the last time. The first only says from
    /// where to count.
    pub(super) fn add(&mut self, work: Vec<Work>, now: SystemTime, elapsed: Duration) {
        let is_first = self.times.is_empty() && self.last.is_empty();
        let earlier = std::mem::take(&mut self.last);
        let mut steps: BTreeMap<Of, Work> = BTreeMap::from([(Of::All, Work::default())]);
        for work in work {
            let step = match earlier.get(&work.database) {
                Some(earlier) => since(&work, earlier),
                // What it did before this history began belongs to no sample.
                None if is_first => since(&work, &work),
                None => work.clone(),
            };
            for of in [Of::All, self.of(&step, &steps)] {
                let sum = steps.entry(of).or_default();
                *sum = plus(sum, &step);
            }
            self.last.insert(work.database.clone(), work);
        }
        self.times.push_back(now);
        let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
        for of in steps.keys() {
            self.series.entry(of.clone()).or_default();
        }
        for (of, points) in &mut self.series {
            let step = steps.remove(of).unwrap_or_default();
            points.push_back(point(&step, seconds));
            points.drain(..points.len().saturating_sub(SAMPLES_MAX));
        }
        self.times.drain(..self.times.len().saturating_sub(SAMPLES_MAX));
        self.series.retain(|of, points| *of == Of::All || points.iter().any(|it| !is_idle(it)));
    }

    /// To whose points a database's are added.
    fn of(&self, step: &Work, steps: &BTreeMap<Of, Work>) -> Of {
        let of = Of::Database(step.database.clone());
        if self.series.contains_key(&of) {
            return of;
        }
        let named = |of: &&Of| matches!(of, Of::Database(_));
        let fresh = steps.keys().filter(named).filter(|of| !self.series.contains_key(of)).count();
        let known = self.series.keys().filter(named).count();
        // Whoever does nothing takes no place from somebody who does.
        let has_room = known + fresh < DATABASES_MAX && !is_idle(&point(step, 1.0));
        if has_room { of } else { Of::Others }
    }

    /// All samples.
    pub(super) fn all(&self) -> Value {
        self.to_json(SAMPLES_MAX)
    }

    /// The last sample, to be put behind the others.
    pub(super) fn last(&self) -> Value {
        self.to_json(1)
    }

    /// The last `count` samples, oldest first. Numbers are in arrays, whose order `columns` gives;
    /// a series that began later is shorter.
    fn to_json(&self, count: usize) -> Value {
        let times = self.times.iter().skip(self.times.len().saturating_sub(count));
        let rows = |points: &VecDeque<Point>| -> Value {
            points.iter().skip(points.len().saturating_sub(count)).map(row).collect()
        };
        let series = |of: &Of| self.series.get(of).map_or_else(|| json!([]), rows);
        let databases = self.series.iter().filter_map(|(of, points)| match of {
            Of::Database(name) => Some(json!({ "name": name, "points": rows(points) })),
            Of::All | Of::Others => None,
        });
        json!({
            "period_s": PERIOD.as_secs(),
            "columns": COLUMNS,
            "times": times.map(|time| seconds(*time)).collect::<Vec<_>>(),
            "all": series(&Of::All),
            "databases": databases.collect::<Vec<_>>(),
            "others": series(&Of::Others),
        })
    }
}

/// Seconds since 1970, to the millisecond.
pub(super) fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Milliseconds, to the microsecond.
pub(super) fn millis(duration: Option<Duration>) -> Option<f64> {
    duration.map(|it| (it.as_secs_f64() * 1_000_000.0).round() / 1000.0)
}

fn row(point: &Point) -> Value {
    let rate = |rate: f64| (rate * 10.0).round() / 10.0;
    json!([
        rate(point.transactions),
        rate(point.queries),
        millis(point.query_mean),
        millis(point.query_p95),
        millis(point.wait_mean),
        point.waiting,
        point.active,
    ])
}

fn since(work: &Work, earlier: &Work) -> Work {
    Work {
        transactions: work.transactions.since(&earlier.transactions),
        queries: work.queries.since(&earlier.queries),
        waits: work.waits.since(&earlier.waits),
        ..work.clone()
    }
}

fn plus(sum: &Work, step: &Work) -> Work {
    Work {
        database: String::new(),
        transactions: sum.transactions.plus(&step.transactions),
        queries: sum.queries.plus(&step.queries),
        waits: sum.waits.plus(&step.waits),
        waiting: sum.waiting + step.waiting,
        active: sum.active + step.active,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
fn point(step: &Work, seconds: f64) -> Point {
    let rate = |durations: &Durations| durations.count() as f64 / seconds;
    Point {
        transactions: rate(&step.transactions),
        queries: rate(&step.queries),
        query_mean: step.queries.mean(),
        query_p95: step.queries.quantile(0.95),
        wait_mean: step.waits.mean(),
        waiting: step.waiting,
        active: step.active,
    }
}

fn is_idle(point: &Point) -> bool {
    *point == Point::default()
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
