//! What `/cluster`, `/pools` and the status page show, from what the parts count anyway.

use std::collections::BTreeMap;
use std::sync::Arc;

use admin::rows::{Flag, NodeRow, PoolMode, PoolRow};
use admin::{Cluster, Look, PoolsView, Work};
use pool::Pool;
use session::Mode;
use topology::{Node, NodeName, Snapshot, Standing};

use crate::app::App;
use crate::failovers::Failovers;
use crate::observe;

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
            reign: self.failovers.reign(),
            nodes: nodes(&snapshot),
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
            pools: pools.iter().map(|pool| row(pool)).collect(),
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

/// Every node: ours first, then those of the other Citus groups.
fn nodes(snapshot: &Snapshot) -> Vec<NodeRow> {
    let ours = snapshot.nodes().iter().map(|node| of_ours(snapshot, node));
    let others = snapshot.groups().iter().flat_map(|group| {
        let leader = group.leader.as_ref();
        group.nodes.iter().map(move |node| node_row(Some(u64::from(group.id)), leader, node))
    });
    ours.chain(others).collect()
}

fn of_ours(snapshot: &Snapshot, node: &Node) -> NodeRow {
    let row = NodeRow {
        drained: Flag::from(snapshot.orders().is_drained(&node.name)),
        switchover: switchover(snapshot, node),
        ..node_row(None, snapshot.leader(), node)
    };
    if snapshot.primary().is_none_or(|primary| primary.name != node.name) {
        return row;
    }
    let standing = snapshot.standing();
    NodeRow {
        epoch: Some(snapshot.epoch().get()),
        standing: Some(standing.as_str().to_owned()),
        proof: proof(standing).map(str::to_owned),
        ..row
    }
}

fn node_row(group: Option<u64>, leader: Option<&NodeName>, node: &Node) -> NodeRow {
    NodeRow {
        group,
        node: node.name.to_string(),
        role: node.role.as_str().to_owned(),
        state: node.state.as_str().to_owned(),
        leader: Flag::from(leader == Some(&node.name)),
        address: node.address.to_string(),
        timeline: node.timeline.map(|timeline| u64::from(timeline.0)),
        lag_bytes: node.lag,
        sync: Flag::from(node.sync),
        epoch: None,
        standing: None,
        proof: None,
        drained: Flag::No,
        switchover: None,
    }
}

/// What lets transactions begin on the primary.
fn proof(standing: Standing) -> Option<&'static str> {
    match standing {
        Standing::Proven => Some("probe"),
        // Each login looks whether its server is in recovery.
        Standing::Named => Some("login"),
        _ => None,
    }
}

fn switchover(snapshot: &Snapshot, node: &Node) -> Option<String> {
    let request = snapshot.switchover()?;
    let when = request.scheduled_at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    if request.from.as_ref() == Some(&node.name) {
        return Some(format!("steps down{when}"));
    }
    (request.to.as_ref() == Some(&node.name)).then(|| format!("follows{when}"))
}

fn row(pool: &Pool) -> PoolRow {
    let counts = pool.counts();
    let (waiting, active) = (counts.waiting as u64, (counts.active + counts.kept) as u64);
    let labels = observe::labels(pool.key());
    PoolRow {
        database: labels.database,
        user: labels.user,
        role: telemetry::Words::as_str(labels.role).to_owned(),
        clients_active: active,
        clients_waiting: waiting,
        clients_cancelling: 0,
        clients_waiting_to_cancel: 0,
        servers_active: active,
        servers_cancelling: 0,
        servers_being_cancelled: 0,
        servers_idle: counts.idle as u64,
        servers_tested: 0,
        servers_login: counts.connecting as u64,
        max_wait: counts.max_wait,
        mode: match pool.settings().mode {
            Mode::Session => PoolMode::Session,
            Mode::Statement => PoolMode::Statement,
            Mode::Transaction => PoolMode::Transaction,
        },
        servers_warm: counts.warm as u64,
        clients_held: if counts.is_holding { waiting } else { 0 },
        servers_pinned: pool.pinned().map(|pinned| pinned.now as u64).sum(),
    }
}
