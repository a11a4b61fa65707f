//! What look-ups of roles came to, read at scrape time.

use std::time::Duration;

use crate::family::{Row, Spec};

/// What look-ups of roles came to since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Questions put to servers.
    pub asked: u64,
    /// Answered from the cache.
    pub cached: u64,
    /// Answered by the question of another look-up.
    pub joined: u64,
    /// Answered by an answer past its lifetime. One that waited in vain first is also counted
    /// as what it waited for.
    pub stale: u64,
    /// Questions that got no answer.
    pub failed: u64,
    /// How long the questions took, all together.
    pub took: Duration,
    /// Roles and names of none that are kept now.
    pub entries: u64,
}

pub(crate) const ROWS: &[Row<Lookups>] = &[
    Row {
        spec: Spec::counter(
            "pgmesh_auth_query_lookups_total",
            "Look-ups of roles by where the answer is from.",
            &["answer"],
        ),
        read: |spec, lookups| {
            let Lookups { asked, cached, joined, stale, .. } = *lookups;
            let answers =
                [("asked", asked), ("cached", cached), ("joined", joined), ("stale", stale)];
            answers.map(|(answer, count)| spec.sample(&[answer], count)).into()
        },
    },
    Row {
        spec: Spec::counter(
            "pgmesh_auth_query_failures_total",
            "Questions for a role that got no answer.",
            &[],
        ),
        read: |spec, lookups| vec![spec.sample(&[], lookups.failed)],
    },
    Row {
        spec: Spec::counter(
            "pgmesh_auth_query_seconds_total",
            "How long the questions for roles took, all together.",
            &[],
        ),
        read: |spec, lookups| vec![spec.sample_f64(&[], lookups.took.as_secs_f64())],
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_auth_query_cache_entries",
            "Roles, and names of none, that are kept.",
            &[],
        ),
        read: |spec, lookups| vec![spec.sample(&[], lookups.entries)],
    },
];
