//! What is counted per pool, and how it is exposed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily};

use crate::family::{Row, Spec, collect, descs};
use crate::labels::{Counter, Counts, Limit, PoolLabels, Retry, ServerLoss, Words};
use crate::{Error, Histogram};

/// Pools that are told apart in labels. One more takes the place of a pool that is gone; if
/// none is, it is counted with others under `database="_other"`.
pub const POOLS_MAX: usize = 512;

/// What relays count in one pool. Per transaction that is `wait`, `transaction`, `query` and the
/// four byte counters. What the pool itself counts comes with its [`PoolState`](crate::PoolState).
#[derive(Debug, Default)]
pub struct PoolMetrics {
    /// From the need of a server to having it; zero when one was idle.
    pub wait: Histogram,
    /// Of that, for those that had to queue.
    pub checkout: Histogram,
    /// From a query's last byte sent to the server to the ReadyForQuery of it.
    pub query: Histogram,
    /// From having the server to giving it back.
    pub transaction: Histogram,
    /// Bytes read from clients.
    pub client_received: Counter,
    /// Bytes written to clients.
    pub client_sent: Counter,
    /// Bytes read from servers.
    pub server_received: Counter,
    /// Bytes written to servers.
    pub server_sent: Counter,
    /// Named statements that clients have prepared.
    pub client_parses: Counter,
    /// Statements that the server at hand had prepared already.
    pub prepared_hits: Counter,
    /// Statements that had to be prepared on the server at hand.
    pub prepared_misses: Counter,
    /// Times that a server was made to forget values of sequences.
    pub sequences_forgotten: Counter,
    /// Statements sent again unseen.
    pub retries: Counts<Retry>,
    /// Leased servers that were lost.
    pub losses: Counts<ServerLoss>,
    /// Limits that clients have come to.
    pub limits: Counts<Limit>,
    /// What is slow for the log, the same for all pools.
    slow: Arc<AtomicU64>,
}

impl PoolMetrics {
    /// Whether a transaction of this length is to be logged.
    #[inline]
    pub fn is_slow(&self, time: Duration) -> bool {
        let limit = self.slow.load(Ordering::Relaxed);
        limit != 0 && time.as_micros() >= u128::from(limit)
    }
}

/// Every pool's counters by labels.
#[derive(Debug, Default)]
pub(crate) struct PoolTable {
    pools: Mutex<HashMap<PoolLabels, Arc<PoolMetrics>>>,
    slow: Arc<AtomicU64>,
}

impl PoolTable {
    /// Transactions that take so long are logged; zero logs none.
    pub(crate) fn set_slow(&self, limit: Duration) {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        self.slow.store(micros, Ordering::Relaxed);
    }

    /// The counters of a pool, the same ones for the same labels.
    pub(crate) fn pool(&self, labels: PoolLabels) -> Arc<PoolMetrics> {
        let mut table = self.pools.lock();
        if let Some(pool) = table.get(&labels) {
            return Arc::clone(pool);
        }
        let mut labels = labels;
        if table.len() >= POOLS_MAX {
            // The lock is held: nobody can take a reference to what only the table holds.
            let unused = table
                .iter()
                .find(|(_, pool)| Arc::strong_count(pool) == 1)
                .map(|(labels, _)| labels.clone());
            match unused {
                Some(unused) => drop(table.remove(&unused)),
                None => labels = PoolLabels::other(labels.role),
            }
        }
        let slow = Arc::clone(&self.slow);
        let new = || Arc::new(PoolMetrics { slow, ..PoolMetrics::default() });
        Arc::clone(table.entry(labels).or_insert_with(new))
    }

    pub(crate) fn all(&self) -> Vec<(PoolLabels, Arc<PoolMetrics>)> {
        self.pools.lock().iter().map(|(labels, pool)| (labels.clone(), Arc::clone(pool))).collect()
    }
}

const POOL: &[&str] = &["database", "user", "role"];
const POOL_PEER: &[&str] = &["database", "user", "role", "peer"];
const POOL_REASON: &[&str] = &["database", "user", "role", "reason"];

/// The labels of a pool and its counters.
pub(crate) type Pool = (PoolLabels, Arc<PoolMetrics>);

pub(crate) const ROWS: &[Row<Pool>] = &[
    Row {
        spec: Spec::histogram("pgmesh_wait_seconds", "Time a client waited for a server.", POOL),
        read: |spec, pool| timed(spec, pool, &pool.1.wait),
    },
    Row {
        spec: Spec::histogram(
            "pgmesh_checkout_seconds",
            "Time in the queue of clients for whom no server was idle.",
            POOL,
        ),
        read: |spec, pool| timed(spec, pool, &pool.1.checkout),
    },
    Row {
        spec: Spec::histogram(
            "pgmesh_query_seconds",
            "Time from a query sent to the server to its ReadyForQuery.",
            POOL,
        ),
        read: |spec, pool| timed(spec, pool, &pool.1.query),
    },
    Row {
        spec: Spec::histogram("pgmesh_transaction_seconds", "Time a client had a server.", POOL),
        read: |spec, pool| timed(spec, pool, &pool.1.transaction),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_received_bytes_total",
            "Bytes read from clients and servers.",
            POOL_PEER,
        ),
        read: |spec, pool| peers(spec, pool, &pool.1.client_received, &pool.1.server_received),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_sent_bytes_total",
            "Bytes written to clients and servers.",
            POOL_PEER,
        ),
        read: |spec, pool| peers(spec, pool, &pool.1.client_sent, &pool.1.server_sent),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_client_parses_total",
            "Named statements that clients have prepared.",
            POOL,
        ),
        read: |spec, pool| one(spec, pool, &pool.1.client_parses),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_prepared_hits_total",
            "Statements that the server at hand had prepared already.",
            POOL,
        ),
        read: |spec, pool| one(spec, pool, &pool.1.prepared_hits),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_prepared_misses_total",
            "Statements that had to be prepared on the server at hand.",
            POOL,
        ),
        read: |spec, pool| one(spec, pool, &pool.1.prepared_misses),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_sequences_forgotten_total",
            "Times that a server was made to forget values of sequences before a transaction.",
            POOL,
        ),
        read: |spec, pool| one(spec, pool, &pool.1.sequences_forgotten),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_retries_total",
            "Statements prepared and sent again, unseen by the client.",
            POOL_REASON,
        ),
        read: |spec, pool| words(spec, pool, &pool.1.retries),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_server_losses_total",
            "Servers lost while a client had them, by what the client saw.",
            &["database", "user", "role", "outcome"],
        ),
        read: |spec, pool| words(spec, pool, &pool.1.losses),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_limits_reached_total",
            "Limits that clients have come to after their login.",
            &["database", "user", "role", "limit"],
        ),
        read: |spec, pool| words(spec, pool, &pool.1.limits),
    },
];

/// Exposes a [`PoolTable`].
#[derive(Debug)]
pub(crate) struct PoolCollector {
    table: Arc<PoolTable>,
    descs: Vec<Desc>,
}

impl PoolCollector {
    pub(crate) fn new(table: Arc<PoolTable>) -> Result<Self, Error> {
        Ok(Self { table, descs: descs(ROWS)? })
    }
}

impl Collector for PoolCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        collect(ROWS, self.table.all().iter())
    }
}

fn base(pool: &Pool) -> [&str; 3] {
    [&pool.0.database, &pool.0.user, pool.0.role.as_str()]
}

fn one(spec: &Spec, pool: &Pool, counter: &Counter) -> Vec<Metric> {
    vec![spec.sample(&base(pool), counter.value())]
}

fn timed(spec: &Spec, pool: &Pool, histogram: &Histogram) -> Vec<Metric> {
    vec![spec.sample_histogram(&base(pool), histogram.sample())]
}

fn peers(spec: &Spec, pool: &Pool, client: &Counter, server: &Counter) -> Vec<Metric> {
    let [database, user, role] = base(pool);
    [("client", client), ("server", server)]
        .map(|(peer, counter)| spec.sample(&[database, user, role, peer], counter.value()))
        .into()
}

fn words<W: Words>(spec: &Spec, pool: &Pool, counts: &Counts<W>) -> Vec<Metric> {
    let [database, user, role] = base(pool);
    counts.each().map(|(word, count)| spec.sample(&[database, user, role, word], count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Role;

    fn labels(database: &str) -> PoolLabels {
        PoolLabels { database: database.to_owned(), user: "u".to_owned(), role: Role::Primary }
    }

    #[test]
    fn the_same_labels_are_the_same_counters() {
        let table = PoolTable::default();
        table.pool(labels("a")).prepared_misses.inc();
        assert_eq!(table.pool(labels("a")).prepared_misses.value(), 1);
        assert_eq!(table.pool(labels("b")).prepared_misses.value(), 0);
    }

    #[test]
    fn labels_are_bounded_and_pools_that_are_gone_make_room() {
        let table = PoolTable::default();
        let mut held: Vec<_> =
            (0..POOLS_MAX).map(|index| table.pool(labels(&index.to_string()))).collect();
        let beyond = table.pool(labels("beyond"));
        let further = table.pool(labels("further"));
        assert!(Arc::ptr_eq(&beyond, &further));
        assert!(table.all().iter().all(|(labels, _)| labels.database != "beyond"));

        drop(held.pop());
        table.pool(labels("late")).prepared_misses.inc();
        let all = table.all();
        assert_eq!(all.len(), POOLS_MAX + 1, "the pools, and one for all others");
        assert!(all.iter().any(|(labels, _)| labels.database == "late"));
    }
}
