//! What `/cluster`, `/pools` and the status page show, from what the parts count anyway.

use std::collections::BTreeMap;
use std::sync::Arc;

use admin::{Cluster, Look, PoolsView, Work};

use crate::app::App;
use crate::console::{node_rows, pool_row};
use crate::failovers::Failovers;

/// Reads the parts.
pub(crate) struct Status {
    app: Arc<App>,
    failovers: Arc<Failovers>,
}

impl Status {
    pub(crate) fn new(app: &Arc<App>, failovers: &Arc<Failovers>) -> Self {
        Self { app: Arc::clone(app), failovers: Arc::clone(failovers) }
    }
}

impl Look for Status {
    fn cluster(&self) -> Cluster {
        let snapshot = Arc::clone(&self.app.snapshots.borrow());
        Cluster {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            standing: snapshot.standing().as_str().to_owned(),
            paused: snapshot.orders().of_all().is_paused,
            reign: self.failovers.reign(),
            nodes: node_rows(&snapshot),
            failovers: self.failovers.rows(&self.app.pools),
        }
    }

    fn pools(&self) -> PoolsView {
        let mut pools = self.app.pools.all();
        pools.sort_by(|a, b| a.key().cmp(b.key()));
        PoolsView {
            clients: self.app.metrics.clients().connected(),
            clients_max: self.app.limits.max().into(),
            sizes: pools.iter().map(|pool| pool.settings().config.size as u64).collect(),
            pools: pools.iter().map(|pool| pool_row(pool)).collect(),
        }
    }

    fn work(&self) -> Vec<Work> {
        let mut databases: BTreeMap<String, Work> = BTreeMap::new();
        for (labels, metrics) in self.app.metrics.pools() {
            let work = databases.entry(labels.database).or_default();
            work.transactions = work.transactions.plus(&metrics.transaction.durations());
            work.queries = work.queries.plus(&metrics.query.durations());
            work.waits = work.waits.plus(&metrics.wait.durations());
        }
        for pool in self.app.pools.all() {
            let counts = pool.counts();
            let work = databases.entry(pool.key().database.to_string()).or_default();
            work.waiting += counts.waiting as u64;
            work.active += (counts.active + counts.kept) as u64;
        }
        let named = |(database, work)| Work { database, ..work };
        databases.into_iter().map(named).collect()
    }
}
