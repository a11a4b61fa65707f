//! What happens in the pools, as metrics.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use control::auth_query::{AuthQuery, Stats};
use notify::Hubs;
use parking_lot::Mutex;
use pool::{Closed, Observe, Pools};
use session::ResetKind;
use telemetry::{
    Bounds, ClusterState, ConnectFailure, Counter, Counts, Discard, Listening, Lookups, Metrics,
    NodeState, PinState, PoolLabels, PoolState, PoolStates, PoolTotals, Reset, Role, Words,
};
use tokio_util::task::AbortOnDropHandle;
use topology::{Access, Node, NodeName, PoolKey, Snapshot};
use transport::{Acceptor, Connector};

use crate::live::Live;

/// Sums of one pool.
#[derive(Debug, Default)]
pub(crate) struct PoolObserver {
    connects: Counter,
    recalls: Counter,
    connect_failures: Counts<ConnectFailure>,
    resets: Counts<Reset>,
    discards: Counts<Discard>,
}

/// The sums of all pools there are.
#[derive(Debug, Default)]
pub(crate) struct Observers(Mutex<HashMap<PoolKey, Weak<PoolObserver>>>);

impl Observers {
    /// The sums for a pool that is being made, or of one that is there.
    pub(crate) fn add(&self, key: &PoolKey) -> Arc<PoolObserver> {
        let mut observers = self.0.lock();
        observers.retain(|_, observer| observer.strong_count() > 0);
        // Of a pool that gets other settings.
        if let Some(observer) = observers.get(key).and_then(Weak::upgrade) {
            return observer;
        }
        let observer = Arc::default();
        observers.insert(key.clone(), Arc::downgrade(&observer));
        observer
    }

    /// The state of every pool, for a scrape.
    pub(crate) fn states(&self, pools: &Pools) -> PoolStates {
        let state = |pool: Arc<pool::Pool>| {
            let counts = pool.counts();
            let observer = self.0.lock().get(pool.key()).and_then(Weak::upgrade);
            PoolState {
                labels: labels(pool.key()),
                active: counts.active as u64,
                kept: counts.kept as u64,
                idle: counts.idle as u64,
                login: counts.connecting as u64,
                warm: counts.warm as u64,
                is_holding: counts.is_holding,
                is_paused: counts.is_paused,
                waiting: counts.waiting as u64,
                oldest_wait: counts.max_wait,
                size: pool.settings().config.size as u64,
                max_pinned: pool.settings().config.max_pinned() as u64,
                pinned: pool.pinned().map(pin_state).collect(),
                totals: observer.map_or_else(PoolTotals::default, |observer| observer.totals()),
            }
        };
        let held_bytes = pools.held_bytes() as u64;
        PoolStates { pools: pools.all().into_iter().map(state).collect(), held_bytes }
    }
}

impl PoolObserver {
    fn totals(&self) -> PoolTotals {
        PoolTotals {
            connects: self.connects.value(),
            recalls: self.recalls.value(),
            connect_failures: each(&self.connect_failures),
            resets: each(&self.resets),
            discards: each(&self.discards),
        }
    }
}

fn pin_state(pinned: pool::Pinned) -> PinState {
    let pool::Pinned { pin, now, total } = pinned;
    PinState { reason: pin.as_str(), now: now as u64, total }
}

fn each<W: Words>(counts: &Counts<W>) -> Vec<(W, u64)> {
    W::ALL.iter().map(|&word| (word, counts.value(word))).collect()
}

impl Observe for PoolObserver {
    fn connected(&self) {
        self.connects.inc();
    }

    fn recalled(&self, servers: usize) {
        self.recalls.add(servers as u64);
    }

    fn connect_failed(&self, error: &backend::ConnectError) {
        self.connect_failures.inc(match error.kind() {
            backend::Kind::Authentication => ConnectFailure::Authentication,
            backend::Kind::Local => ConnectFailure::Local,
            backend::Kind::Unreachable => ConnectFailure::Unreachable,
            backend::Kind::Protocol => ConnectFailure::Protocol,
            backend::Kind::Refused => ConnectFailure::Refused,
            backend::Kind::Timeout => ConnectFailure::Timeout,
            backend::Kind::Tls => ConnectFailure::Tls,
            backend::Kind::WrongRole => ConnectFailure::WrongRole,
        });
    }

    fn reset(&self, kind: ResetKind) {
        self.resets.inc(match kind {
            ResetKind::Targeted => Reset::Targeted,
            ResetKind::All => Reset::All,
        });
    }

    fn closed(&self, why: Closed) {
        self.discards.inc(match why {
            Closed::ClientGone => Discard::ClientGone,
            Closed::Epoch => Discard::Epoch,
            Closed::Idle => Discard::Idle,
            Closed::Lifetime => Discard::Lifetime,
            Closed::Ordered => Discard::Ordered,
            Closed::Protocol => Discard::Protocol,
            Closed::Reset => Discard::Reset,
            Closed::ServerClosed => Discard::ServerClosed,
            Closed::Unclean => Discard::Unclean,
            Closed::Vacated => Discard::Vacated,
        });
    }
}

/// The cluster as a snapshot has it, for a scrape.
pub(crate) fn cluster(snapshot: &Snapshot) -> ClusterState {
    let state = |group: &str, leader: Option<&NodeName>, node: &Arc<Node>| NodeState {
        group: group.to_owned(),
        name: node.name.to_string(),
        role: node.role.as_str(),
        state: node.state.as_str(),
        is_leader: leader == Some(&node.name),
        lag: node.lag,
    };
    // Ours has no number in a snapshot: it is the one that is followed.
    let ours = snapshot.nodes().iter().map(|node| state("", snapshot.leader(), node));
    let others = snapshot.groups().iter().flat_map(|group| {
        let id = group.id.to_string();
        group.nodes.iter().map(move |node| state(&id, group.leader.as_ref(), node))
    });
    ClusterState {
        epoch: snapshot.epoch().get(),
        leader: snapshot.primary().map(|node| node.name.to_string()),
        standing: snapshot.standing().as_str(),
        nodes: ours.chain(others).collect(),
    }
}

/// What of clients is logged.
pub(crate) fn log(metrics: &Metrics, config: &telemetry::log::Config) {
    metrics.clients().log_connections(config.connections);
    metrics.log_slower_than(config.min_duration);
}

/// Shows how long TLS handshakes take, with clients and with servers.
pub(crate) fn handshakes(metrics: &Metrics, acceptor: &Acceptor, connector: &Connector) {
    let (of_clients, of_servers) = (Arc::clone(metrics.tls()), Arc::clone(metrics.tls()));
    acceptor.time_handshakes(move |took| of_clients.client.observe(took));
    connector.time_handshakes(move |took| of_servers.server.observe(took));
}

/// Shows the state of every pool.
pub(crate) fn pools(
    metrics: &Metrics,
    pools: &Arc<Pools>,
    observers: Arc<Observers>,
) -> Result<(), telemetry::Error> {
    let pools = Arc::clone(pools);
    metrics.observe_pools(move || observers.states(&pools))
}

/// How often it is told how much was not logged.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Tells and counts how much was not logged, for as long as pgmesh runs.
async fn suppressed(metrics: Arc<Metrics>, log: telemetry::log::Handle) {
    let mut told = 0;
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        let suppressed = log.suppressed();
        let events = suppressed - told;
        if events > 0 {
            told = suppressed;
            metrics.log_suppressed(events);
            tracing::warn!(event = "log_suppressed", events, "too much to log: log.rate");
        }
    }
}

/// Shows the limits of the whole process, and tells of what they keep out of the log for as long as
/// what this returns lives.
pub(crate) fn bounds(
    metrics: &Arc<Metrics>,
    live: &Arc<Live>,
    log: &telemetry::log::Handle,
) -> Result<AbortOnDropHandle<()>, telemetry::Error> {
    self::log(metrics, &live.get().log);
    let live = Arc::clone(live);
    metrics.observe_bounds(move || {
        let settings = live.get();
        Bounds {
            clients: settings.max_client_connections.into(),
            held: settings.failover.hold.clients as u64,
            memory_bytes: settings.limits.max_memory,
        }
    })?;
    let telling = tokio::spawn(suppressed(Arc::clone(metrics), log.clone()));
    Ok(AbortOnDropHandle::new(telling))
}

/// Shows what look-ups of roles come to.
pub(crate) fn lookups(metrics: &Metrics, auth_query: &AuthQuery) -> Result<(), telemetry::Error> {
    let auth_query = auth_query.clone();
    metrics.observe_lookups(move || {
        let Stats { hits, stale, joined, questions, failures, took, cached } = auth_query.stats();
        Lookups {
            asked: questions,
            cached: hits,
            joined,
            stale,
            failed: failures,
            took,
            entries: cached as u64,
        }
    })
}

/// Shows what clients that LISTEN are told.
pub(crate) fn listening(metrics: &Metrics, hubs: &Arc<Hubs>) -> Result<(), telemetry::Error> {
    let hubs = Arc::clone(hubs);
    metrics.observe_listening(move || {
        let notify::Stats {
            connections,
            clients,
            channels,
            received,
            delivered,
            resumed,
            connect_failures,
            lagged,
        } = hubs.stats();
        Listening {
            connections,
            clients,
            channels,
            received,
            delivered,
            resumed,
            connect_failures,
            lagged,
        }
    })
}

/// The labels of a pool.
pub(crate) fn labels(key: &PoolKey) -> PoolLabels {
    PoolLabels {
        database: key.database.to_string(),
        user: key.user.to_string(),
        role: match key.access {
            Access::Any => Role::Any,
            Access::ReadOnly => Role::Replica,
            Access::ReadWrite => Role::Primary,
        },
    }
}
