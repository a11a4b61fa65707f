//! What a scrape may have, as data: for the documentation, and for whoever checks rules and
//! dashboards against it.

use std::fmt;

use prometheus::proto::MetricType;

use crate::family::{Row, Spec};
use crate::{bounds, console, listening, lookups, metrics, pool, process, reloads, state};

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sum that begins at zero with the process.
    Counter,
    /// A value of this moment.
    Gauge,
    /// Counts of what was at most so much, as `_bucket` with the label `le`, `_sum` and `_count`.
    Histogram,
}

/// What a metric counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: clients, statements, nodes.
    Count,
    /// Seconds.
    Seconds,
    /// Seconds since 1970.
    Timestamp,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name of the family.
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts in.
    pub unit: Unit,
    /// What it means.
    pub help: &'static str,
}

/// Every metric that pgmesh may expose, in the order of their names.
pub fn reference() -> Vec<Reference> {
    let tables = [
        of(bounds::ROWS),
        of(console::ROWS),
        of(listening::ROWS),
        of(lookups::ROWS),
        of(metrics::ROWS),
        of(pool::ROWS),
        of(process::ROWS),
        of(reloads::ROWS),
        of(state::ROWS),
    ];
    let mut all = tables.concat();
    all.sort_unstable_by_key(|it| it.name);
    all
}

fn of<S: ?Sized>(rows: &[Row<S>]) -> Vec<Reference> {
    rows.iter().map(|row| Reference::new(&row.spec)).collect()
}

// === impl Reference ===

impl Reference {
    fn new(spec: &Spec) -> Self {
        let Spec { name, help, kind, labels } = *spec;
        let kind = match kind {
            MetricType::COUNTER => Kind::Counter,
            MetricType::HISTOGRAM => Kind::Histogram,
            // Nothing else can be made of a `Spec`.
            MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => Kind::Gauge,
        };
        Self { name, kind, labels, unit: Unit::of(name), help }
    }

    /// The names of its samples: for a histogram there are three.
    pub fn samples(&self) -> Vec<String> {
        match self.kind {
            Kind::Counter | Kind::Gauge => vec![self.name.to_owned()],
            Kind::Histogram => {
                ["bucket", "count", "sum"].map(|part| format!("{}_{part}", self.name)).into()
            }
        }
    }
}

// === impl Unit ===

impl Unit {
    /// Prometheus has units at the end of names, before `_total`.
    fn of(name: &str) -> Self {
        let name = name.strip_suffix("_total").unwrap_or(name);
        match name {
            _ if name.ends_with("_timestamp_seconds") || name.ends_with("_start_time_seconds") => {
                Self::Timestamp
            }
            _ if name.ends_with("_seconds") => Self::Seconds,
            _ if name.ends_with("_bytes") => Self::Bytes,
            _ => Self::Count,
        }
    }
}

// === impl Kind, Unit ===

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Timestamp => "seconds since 1970",
        })
    }
}
