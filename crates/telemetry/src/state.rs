//! Gauges of clients, pools and the cluster, read at scrape time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily};

use crate::clients::ClientMetrics;
use crate::cluster::ClusterState;
use crate::family::{Row, Spec, collect, descs};
use crate::labels::{ConnectFailure, Discard, PoolLabels, Reset, Words};
use crate::{Error, POOLS_MAX};

/// What a pool is doing at the moment of a scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolState {
    /// Which pool.
    pub labels: PoolLabels,
    /// Servers that clients have, or that are being reset after one.
    pub active: u64,
    /// Servers that clients have between two transactions as long as no other needs them.
    pub kept: u64,
    /// Servers ready for the next client.
    pub idle: u64,
    /// Servers being connected and logged in.
    pub login: u64,
    /// Servers logged in to likely next primaries.
    pub warm: u64,
    /// Whether clients that wait are held: no server can be had until the cluster has changed.
    pub is_holding: bool,
    /// Whether an operator has paused it.
    pub is_paused: bool,
    /// Clients waiting for a server.
    pub waiting: u64,
    /// How long the first of them has been waiting; zero without any.
    pub oldest_wait: Duration,
    /// The pool's size, its reserve not included.
    pub size: u64,
    /// Clients that may keep their servers between two transactions.
    pub max_pinned: u64,
    /// Servers that clients keep between two transactions, for each reason.
    pub pinned: Vec<PinState>,
    /// Sums since the pool was made.
    pub totals: PoolTotals,
}

/// Servers that clients keep between two transactions for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinState {
    /// The reason.
    pub reason: &'static str,
    /// At this moment.
    pub now: u64,
    /// Since the pool was made.
    pub total: u64,
}

/// What a pool has counted since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolTotals {
    /// Logins to servers that succeeded.
    pub connects: u64,
    /// Lent servers that were called back.
    pub recalls: u64,
    /// Logins to servers that failed; a kind that is not there is zero.
    pub connect_failures: Vec<(ConnectFailure, u64)>,
    /// Servers whose session state was reset before the next client; a kind that is not there is
    /// zero.
    pub resets: Vec<(Reset, u64)>,
    /// Servers closed; a reason that is not there is zero.
    pub discards: Vec<(Discard, u64)>,
}

/// What all pools are doing at the moment of a scrape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolStates {
    /// Each pool.
    pub pools: Vec<PoolState>,
    /// Bytes that waiting clients have sent ahead, over all pools.
    pub held_bytes: u64,
}

/// When our certificates end: seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CertificateExpiries {
    /// The one that clients see.
    pub client: Option<i64>,
    /// The one that servers see.
    pub server: Option<i64>,
}

type Source<T> = Box<dyn Fn() -> T + Send + Sync>;

/// Everything whose value is a state and not a sum.
pub(crate) struct State {
    clients: Arc<ClientMetrics>,
    pools: OnceLock<Source<PoolStates>>,
    certificates: OnceLock<Source<CertificateExpiries>>,
    cluster: Mutex<ClusterState>,
}

impl State {
    pub(crate) fn new(clients: Arc<ClientMetrics>) -> Self {
        let (pools, certificates) = (OnceLock::new(), OnceLock::new());
        Self { clients, pools, certificates, cluster: Mutex::default() }
    }

    /// `false` if there is a source already.
    pub(crate) fn set_pools(&self, source: Source<PoolStates>) -> bool {
        self.pools.set(source).is_ok()
    }

    /// `false` if there is a source already.
    pub(crate) fn set_certificates(&self, source: Source<CertificateExpiries>) -> bool {
        self.certificates.set(source).is_ok()
    }

    pub(crate) fn set_cluster(&self, cluster: ClusterState) {
        *self.cluster.lock() = cluster;
    }

    fn view(&self) -> View {
        let PoolStates { pools, held_bytes } =
            self.pools.get().map(|read| read()).unwrap_or_default();
        let pools = bounded(pools);
        let sum = |read: fn(&PoolState) -> u64| pools.iter().map(read).sum::<u64>();
        let (active, waiting) = (sum(|pool| pool.active), sum(|pool| pool.waiting));
        // Read one after the other while clients move: never below zero all the same.
        let login = self.clients.logging_in();
        let idle = self.clients.connected().saturating_sub(login + active + waiting);
        let cluster = self.cluster.lock().clone();
        let certificates = self.certificates.get().map(|read| read()).unwrap_or_default();
        View { clients: [active, idle, login, waiting], pools, held_bytes, certificates, cluster }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// One moment of a [`State`].
pub(crate) struct View {
    /// In the order of [`CLIENT_STATES`].
    clients: [u64; 4],
    pools: Vec<PoolState>,
    held_bytes: u64,
    certificates: CertificateExpiries,
    cluster: ClusterState,
}

const CLIENT_STATES: [&str; 4] = ["active", "idle", "login", "waiting"];

/// At most [`POOLS_MAX`] pools by name; the rest added up, per role.
fn bounded(mut pools: Vec<PoolState>) -> Vec<PoolState> {
    let mut others: BTreeMap<PoolLabels, PoolState> = BTreeMap::new();
    for pool in pools.drain(pools.len().min(POOLS_MAX)..) {
        let labels = PoolLabels::other(pool.labels.role);
        let sum = match others.remove(&labels) {
            None => PoolState { labels: labels.clone(), ..pool },
            Some(sum) => PoolState {
                labels: labels.clone(),
                active: sum.active + pool.active,
                kept: sum.kept + pool.kept,
                idle: sum.idle + pool.idle,
                login: sum.login + pool.login,
                warm: sum.warm + pool.warm,
                is_holding: sum.is_holding || pool.is_holding,
                is_paused: sum.is_paused || pool.is_paused,
                waiting: sum.waiting + pool.waiting,
                oldest_wait: sum.oldest_wait.max(pool.oldest_wait),
                size: sum.size + pool.size,
                max_pinned: sum.max_pinned + pool.max_pinned,
                pinned: [sum.pinned, pool.pinned].concat(),
                totals: PoolTotals {
                    connects: sum.totals.connects + pool.totals.connects,
                    recalls: sum.totals.recalls + pool.totals.recalls,
                    connect_failures: [sum.totals.connect_failures, pool.totals.connect_failures]
                        .concat(),
                    resets: [sum.totals.resets, pool.totals.resets].concat(),
                    discards: [sum.totals.discards, pool.totals.discards].concat(),
                },
            },
        };
        others.insert(labels, sum);
    }
    pools.extend(others.into_values());
    pools
}

const POOL: &[&str] = &["database", "user", "role"];
const POOL_REASON: &[&str] = &["database", "user", "role", "reason"];

pub(crate) const ROWS: &[Row<View>] = &[
    Row {
        spec: Spec::gauge(
            "pgmesh_clients",
            "Client connections: having a server, idle, logging in, waiting for a server.",
            &["state"],
        ),
        read: |spec, view| {
            let states = CLIENT_STATES.into_iter().zip(view.clients);
            states.map(|(state, count)| spec.sample(&[state], count)).collect()
        },
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_servers",
            "Server connections: lent to a client or being reset after it, kept by one as long as no other needs it, idle, logging in, warm standbys.",
            &["database", "user", "role", "state"],
        ),
        read: |spec, view| view.pools.iter().flat_map(|pool| servers(spec, pool)).collect(),
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_pinned_servers",
            "Servers that clients keep between two transactions, for each reason.",
            POOL_REASON,
        ),
        read: |spec, view| pins(spec, view, |pin| pin.now),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_pins_total",
            "Times that a client began to keep its server between two transactions.",
            POOL_REASON,
        ),
        read: |spec, view| pins(spec, view, |pin| pin.total),
    },
    Row {
        spec: Spec::gauge("pgmesh_waiting_clients", "Clients waiting for a server.", POOL),
        read: |spec, view| each(spec, view, |spec, base, pool| spec.sample(base, pool.waiting)),
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_oldest_wait_seconds",
            "How long the first of the waiting clients has been waiting.",
            POOL,
        ),
        read: |spec, view| {
            each(spec, view, |spec, base, pool| {
                spec.sample_f64(base, pool.oldest_wait.as_secs_f64())
            })
        },
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_pool_holding",
            "1 while no server can be had until the cluster has changed, and clients are held.",
            POOL,
        ),
        read: |spec, view| {
            each(spec, view, |spec, base, pool| spec.sample(base, pool.is_holding.into()))
        },
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_pool_paused",
            "1 while an operator has paused the pool (PAUSE, KILL), and clients wait.",
            POOL,
        ),
        read: |spec, view| {
            each(spec, view, |spec, base, pool| spec.sample(base, pool.is_paused.into()))
        },
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_held_bytes",
            "What clients have sent ahead that wait for a server.",
            &[],
        ),
        read: |spec, view| vec![spec.sample(&[], view.held_bytes)],
    },
    Row {
        spec: Spec::gauge("pgmesh_pool_size", "Servers a pool may have, without reserve.", POOL),
        read: |spec, view| each(spec, view, |spec, base, pool| spec.sample(base, pool.size)),
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_max_pinned",
            "Clients of a pool that may keep their servers between two transactions.",
            POOL,
        ),
        read: |spec, view| each(spec, view, |spec, base, pool| spec.sample(base, pool.max_pinned)),
    },
    Row {
        spec: Spec::counter("pgmesh_server_connects_total", "Server logins that succeeded.", POOL),
        read: |spec, view| {
            each(spec, view, |spec, base, pool| spec.sample(base, pool.totals.connects))
        },
    },
    Row {
        spec: Spec::counter(
            "pgmesh_fences_total",
            "Lent servers called back at once, for their node is the primary no more.",
            POOL,
        ),
        read: |spec, view| {
            each(spec, view, |spec, base, pool| spec.sample(base, pool.totals.recalls))
        },
    },
    Row {
        spec: Spec::counter(
            "pgmesh_server_connect_failures_total",
            "Server logins that failed.",
            &["database", "user", "role", "kind"],
        ),
        read: |spec, view| words(spec, view, |pool| &pool.totals.connect_failures),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_server_resets_total",
            "Servers whose session state was reset before the next client.",
            &["database", "user", "role", "kind"],
        ),
        read: |spec, view| words(spec, view, |pool| &pool.totals.resets),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_server_discards_total",
            "Server connections closed.",
            &["database", "user", "role", "reason"],
        ),
        read: |spec, view| words(spec, view, |pool| &pool.totals.discards),
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_tls_certificate_expiry_timestamp_seconds",
            "When the certificate ends that clients or servers see of us; absent without one.",
            &["side"],
        ),
        read: |spec, view| expiries(spec, view.certificates),
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_epoch",
            "The tenure of the proven primary; 0 before the first.",
            &[],
        ),
        read: |spec, view| vec![spec.sample(&[], view.cluster.epoch)],
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_leader",
            "1 for the proven primary; absent without one.",
            &["node"],
        ),
        read: |spec, view| view.cluster.leader.iter().map(|node| spec.sample(&[node], 1)).collect(),
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_primary_standing",
            "1 for how the primary stands; transactions begin while it is proven or named.",
            &["standing"],
        ),
        read: |spec, view| view.cluster.standing(spec),
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_node",
            "1 for every node, with what it says it is; other Citus groups included.",
            &["group", "node", "role", "state"],
        ),
        read: |spec, view| view.cluster.nodes(spec),
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_group_leader",
            "1 for the node that holds the leader key of its group.",
            &["group", "node"],
        ),
        read: |spec, view| view.cluster.leaders(spec),
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_node_lag_bytes",
            "Log that a node has yet to replay, where that is known.",
            &["group", "node"],
        ),
        read: |spec, view| view.cluster.lags(spec),
    },
];

#[expect(clippy::cast_precision_loss, reason = "Prometheus' samples are floats")]
fn expiries(
    spec: &Spec,
    CertificateExpiries { client, server }: CertificateExpiries,
) -> Vec<Metric> {
    let sides = [("client", client), ("server", server)].into_iter();
    sides.filter_map(|(side, end)| Some(spec.sample_f64(&[side], end? as f64))).collect()
}

fn servers(spec: &Spec, pool: &PoolState) -> [Metric; 5] {
    let states = [
        ("active", pool.active),
        ("kept", pool.kept),
        ("idle", pool.idle),
        ("login", pool.login),
        ("warm", pool.warm),
    ];
    let labels = &pool.labels;
    states.map(|(state, count)| {
        spec.sample(&[&labels.database, &labels.user, labels.role.as_str(), state], count)
    })
}

/// A sample per pool and reason. A reason may be there several times in a sum of pools.
fn pins(spec: &Spec, view: &View, read: fn(&PinState) -> u64) -> Vec<Metric> {
    let of_pool = |pool: &PoolState| {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        pool.pinned.iter().for_each(|pin| *sums.entry(pin.reason).or_default() += read(pin));
        let labels = pool.labels.clone();
        sums.into_iter().map(move |(reason, count)| {
            let base = [&*labels.database, &*labels.user, labels.role.as_str(), reason];
            spec.sample(&base, count)
        })
    };
    view.pools.iter().flat_map(of_pool).collect()
}

/// A sample per pool and word. A word may be counted several times in a sum of pools.
fn words<W: Words + PartialEq>(
    spec: &Spec,
    view: &View,
    read: fn(&PoolState) -> &Vec<(W, u64)>,
) -> Vec<Metric> {
    let sample = |pool: &PoolState, word: W| {
        let counts = read(pool).iter().filter(|(it, _)| *it == word).map(|(_, count)| count);
        let PoolLabels { database, user, role } = &pool.labels;
        spec.sample(&[database, user, role.as_str(), word.as_str()], counts.sum())
    };
    let pools = view.pools.iter();
    pools.flat_map(|pool| W::ALL.iter().map(move |word| sample(pool, *word))).collect()
}

fn each(spec: &Spec, view: &View, read: fn(&Spec, &[&str], &PoolState) -> Metric) -> Vec<Metric> {
    let sample = |pool: &PoolState| {
        let labels = &pool.labels;
        read(spec, &[&labels.database, &labels.user, labels.role.as_str()], pool)
    };
    view.pools.iter().map(sample).collect()
}

/// Exposes a [`State`].
#[derive(Debug)]
pub(crate) struct StateCollector {
    state: Arc<State>,
    descs: Vec<Desc>,
}

impl StateCollector {
    pub(crate) fn new(state: Arc<State>) -> Result<Self, Error> {
        Ok(Self { state, descs: descs(ROWS)? })
    }
}

impl Collector for StateCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        collect(ROWS, std::iter::once(&self.state.view()))
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
