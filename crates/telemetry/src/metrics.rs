//! The composition of all metrics on one registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::clients::ClientMetrics;
use crate::cluster::ClusterState;
use crate::family::{Row, Spec, collect, descs};
use crate::labels::{Counter, Counts, PoolLabels, Words};
use crate::pool::{PoolCollector, PoolTable};
use crate::process::ProcessCollector;
use crate::source::{Source, SourceCollector};
use crate::state::{State, StateCollector};
use crate::{
    Bounds, CertificateExpiries, Console, Error, Histogram, Listening, Lookups, PoolMetrics,
    PoolStates, ReloadMetrics, bounds, console, listening, lookups, reloads,
};

/// What `pgmesh_build_info` says.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// The version of pgmesh.
    pub version: &'static str,
    /// The commit it was built from; empty when unknown.
    pub commit: &'static str,
}

/// How long the parts of failovers and switchovers took.
#[derive(Debug, Default)]
pub struct FailoverMetrics {
    /// How often transactions could not begin.
    pub holds: Counter,
    /// From the first sign that the primary takes no more transactions to the name of the next.
    pub detect: Histogram,
    /// From that sign until transactions might begin again, on the next primary or the same.
    pub hold: Histogram,
    /// From the proof of a new primary to the end of the first transaction on it.
    pub first_success: Histogram,
}

/// How long TLS handshakes took that came to an end.
#[derive(Debug, Default)]
pub struct TlsMetrics {
    /// With clients.
    pub client: Histogram,
    /// With servers.
    pub server: Histogram,
}

/// All of pgmesh's metrics. Built once by the assembly, which hands out its parts.
#[derive(Debug)]
pub struct Metrics {
    clients: Arc<ClientMetrics>,
    pools: Arc<PoolTable>,
    state: Arc<State>,
    lookups: Arc<Source<Lookups>>,
    listening: Arc<Source<Listening>>,
    bounds: Arc<Source<Bounds>>,
    reloads: Arc<ReloadMetrics>,
    console: Arc<Source<Console>>,
    totals: Arc<Totals>,
}

impl Metrics {
    /// Registers everything with `registry`.
    ///
    /// # Errors
    /// [`Error::Register`] when `registry` has pgmesh's metrics already.
    pub fn new(registry: &Registry, build: Build) -> Result<Self, Error> {
        let clients = Arc::new(ClientMetrics::default());
        let pools = Arc::new(PoolTable::default());
        let state = Arc::new(State::new(Arc::clone(&clients)));
        let lookups: Arc<Source<Lookups>> = Arc::default();
        let listening: Arc<Source<Listening>> = Arc::default();
        let bounds: Arc<Source<Bounds>> = Arc::default();
        let console: Arc<Source<Console>> = Arc::default();
        let totals = Arc::new(Totals {
            build,
            clients: Arc::clone(&clients),
            discovery_failures: Counter::default(),
            log_suppressed: Counter::default(),
            is_draining: AtomicBool::new(false),
            failovers: FailoverMetrics::default(),
            tls: Arc::default(),
        });
        let reloads = Arc::new(ReloadMetrics::new(SystemTime::now()));
        let collectors: [Box<dyn Collector>; 9] = [
            Box::new(PoolCollector::new(Arc::clone(&pools))?),
            Box::new(StateCollector::new(Arc::clone(&state))?),
            Box::new(SourceCollector::new(Arc::clone(&lookups), lookups::ROWS)?),
            Box::new(SourceCollector::new(Arc::clone(&listening), listening::ROWS)?),
            Box::new(SourceCollector::new(Arc::clone(&bounds), bounds::ROWS)?),
            Box::new(ReloadCollector { descs: descs(reloads::ROWS)?, of: Arc::clone(&reloads) }),
            Box::new(SourceCollector::new(Arc::clone(&console), console::ROWS)?),
            Box::new(TotalsCollector { descs: descs(ROWS)?, totals: Arc::clone(&totals) }),
            Box::new(ProcessCollector::new()?),
        ];
        for collector in collectors {
            registry.register(collector).map_err(Error::Register)?;
        }
        Ok(Self { clients, pools, state, lookups, listening, bounds, console, reloads, totals })
    }

    /// Counters and gauges of clients.
    pub fn clients(&self) -> &Arc<ClientMetrics> {
        &self.clients
    }

    /// The counters of one pool; ask once and keep them. Ask when the pool has its first
    /// server, not when a client names a database: names are the clients' to make up.
    pub fn pool(&self, labels: PoolLabels) -> Arc<PoolMetrics> {
        self.pools.pool(labels)
    }

    /// So many events were not logged, because there were too many of their kind.
    pub fn log_suppressed(&self, events: u64) {
        self.totals.log_suppressed.add(events);
    }

    /// Transactions that take so long are logged from now on; zero logs none.
    pub fn log_slower_than(&self, limit: Duration) {
        self.pools.set_slow(limit);
    }

    /// The counters of every pool that has some.
    pub fn pools(&self) -> Vec<(PoolLabels, Arc<PoolMetrics>)> {
        self.pools.all()
    }

    /// Has `source` asked for the state of every pool at each scrape, on the thread of the
    /// scrape: it must only read, never wait for a peer.
    ///
    /// # Errors
    /// [`Error::Register`] at the second call.
    pub fn observe_pools(
        &self,
        source: impl Fn() -> PoolStates + Send + Sync + 'static,
    ) -> Result<(), Error> {
        once(self.state.set_pools(Box::new(source)))
    }

    /// Has `source` asked at each scrape when our certificates end, as above.
    ///
    /// # Errors
    /// [`Error::Register`] at the second call.
    pub fn observe_certificates(
        &self,
        source: impl Fn() -> CertificateExpiries + Send + Sync + 'static,
    ) -> Result<(), Error> {
        once(self.state.set_certificates(Box::new(source)))
    }

    /// Has `source` asked at each scrape what look-ups of roles came to, as above. Without a
    /// source there are no such metrics.
    ///
    /// # Errors
    /// [`Error::Register`] at the second call.
    pub fn observe_lookups(
        &self,
        source: impl Fn() -> Lookups + Send + Sync + 'static,
    ) -> Result<(), Error> {
        once(self.lookups.set(Box::new(source)))
    }

    /// Has `source` asked at each scrape what clients that LISTEN were told, as above. Without a
    /// source there are no such metrics.
    ///
    /// # Errors
    /// [`Error::Register`] at the second call.
    pub fn observe_listening(
        &self,
        source: impl Fn() -> Listening + Send + Sync + 'static,
    ) -> Result<(), Error> {
        once(self.listening.set(Box::new(source)))
    }

    /// Has `source` asked at each scrape how much there may be of what, as above. Without a
    /// source there are no such metrics.
    ///
    /// # Errors
    /// [`Error::Register`] at the second call.
    pub fn observe_bounds(
        &self,
        source: impl Fn() -> Bounds + Send + Sync + 'static,
    ) -> Result<(), Error> {
        once(self.bounds.set(Box::new(source)))
    }

    /// Has `source` asked at each scrape what is done on the console, as above. Without a
    /// source there are no such metrics.
    ///
    /// # Errors
    /// [`Error::Register`] at the second call.
    pub fn observe_console(
        &self,
        source: impl Fn() -> Console + Send + Sync + 'static,
    ) -> Result<(), Error> {
        once(self.console.set(Box::new(source)))
    }

    /// The cluster as it is known now.
    pub fn set_cluster(&self, cluster: ClusterState) {
        self.state.set_cluster(cluster);
    }

    /// What became of reading the configuration again.
    pub fn reloads(&self) -> &Arc<ReloadMetrics> {
        &self.reloads
    }

    /// How long failovers took.
    pub fn failovers(&self) -> &FailoverMetrics {
        &self.totals.failovers
    }

    /// How long TLS handshakes took.
    pub fn tls(&self) -> &Arc<TlsMetrics> {
        &self.totals.tls
    }

    /// Counts a failed round of discovery: the cluster's state could not be read.
    pub fn discovery_failed(&self) {
        self.totals.discovery_failures.inc();
    }

    /// The process is on its way out, for the rest of its time.
    pub fn draining(&self) {
        self.totals.is_draining.store(true, Ordering::Relaxed);
    }
}

fn once(is_first: bool) -> Result<(), Error> {
    match is_first {
        true => Ok(()),
        false => Err(Error::Register(prometheus::Error::AlreadyReg)),
    }
}

#[derive(Debug)]
pub(crate) struct Totals {
    build: Build,
    clients: Arc<ClientMetrics>,
    log_suppressed: Counter,
    discovery_failures: Counter,
    is_draining: AtomicBool,
    failovers: FailoverMetrics,
    tls: Arc<TlsMetrics>,
}

fn one(spec: &Spec, counter: &Counter) -> Vec<prometheus::proto::Metric> {
    vec![spec.sample(&[], counter.value())]
}

fn timed(spec: &Spec, histogram: &Histogram) -> Vec<prometheus::proto::Metric> {
    vec![spec.sample_histogram(&[], histogram.sample())]
}

fn words<W: Words>(spec: &Spec, counts: &Counts<W>) -> Vec<prometheus::proto::Metric> {
    counts.each().map(|(word, count)| spec.sample(&[word], count)).collect()
}

pub(crate) const ROWS: &[Row<Totals>] = &[
    Row {
        spec: Spec::gauge(
            "pgmesh_build_info",
            "What is running; always 1.",
            &["version", "commit"],
        ),
        read: |spec, totals| vec![spec.sample(&[totals.build.version, totals.build.commit], 1)],
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_draining",
            "Whether the process takes no more clients and ends.",
            &[],
        ),
        read: |spec, totals| {
            vec![spec.sample(&[], u64::from(totals.is_draining.load(Ordering::Relaxed)))]
        },
    },
    Row {
        spec: Spec::counter("pgmesh_accepts_total", "Client connections accepted.", &["via"]),
        read: |spec, totals| words(spec, &totals.clients.accepted),
    },
    Row {
        spec: Spec::counter("pgmesh_logins_total", "Clients logged in.", &[]),
        read: |spec, totals| one(spec, &totals.clients.logins),
    },
    Row {
        spec: Spec::histogram(
            "pgmesh_login_seconds",
            "From a connection accepted to its first ReadyForQuery, for clients that got there.",
            &[],
        ),
        read: |spec, totals| timed(spec, &totals.clients.login_seconds),
    },
    Row {
        spec: Spec::histogram(
            "pgmesh_tls_handshake_seconds",
            "How long TLS handshakes took that came to an end, with clients and with servers.",
            &["side"],
        ),
        read: |spec, totals| {
            let TlsMetrics { client, server } = &*totals.tls;
            [("client", client), ("server", server)]
                .map(|(side, took)| spec.sample_histogram(&[side], took.sample()))
                .into()
        },
    },
    Row {
        spec: Spec::counter(
            "pgmesh_refusals_total",
            "Clients turned away before their first query.",
            &["reason"],
        ),
        read: |spec, totals| words(spec, &totals.clients.refusals),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_oauth_tokens_total",
            "Bearer tokens of clients by outcome.",
            &["outcome"],
        ),
        read: |spec, totals| words(spec, &totals.clients.tokens),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_oauth_key_fetches_total",
            "Fetches of the keys that bearer tokens are verified with.",
            &["outcome"],
        ),
        read: |spec, totals| words(spec, &totals.clients.key_fetches),
    },
    Row {
        spec: Spec::counter("pgmesh_cancels_total", "Cancel requests by outcome.", &["outcome"]),
        read: |spec, totals| words(spec, &totals.clients.cancels),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_ldap_checks_total",
            "Passwords that LDAP servers had to check, by outcome.",
            &["outcome"],
        ),
        read: |spec, totals| words(spec, &totals.clients.ldap_checks),
    },
    Row {
        spec: Spec::histogram(
            "pgmesh_ldap_check_seconds",
            "How long LDAP servers took to check a password, the wait for a turn included.",
            &[],
        ),
        read: |spec, totals| timed(spec, &totals.clients.ldap_seconds),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_log_suppressed_total",
            "Events that were not logged: log.rate.",
            &[],
        ),
        read: |spec, totals| one(spec, &totals.log_suppressed),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_discovery_failures_total",
            "Times that the cluster's state could not be read.",
            &[],
        ),
        read: |spec, totals| one(spec, &totals.discovery_failures),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_client_ends_total",
            "Client connections that ended after their login.",
            &["reason"],
        ),
        read: |spec, totals| words(spec, &totals.clients.ends),
    },
    Row {
        spec: Spec::histogram(
            "pgmesh_failover_detect_seconds",
            "From the first sign that the primary takes no transactions to the name of the next.",
            &[],
        ),
        read: |spec, totals| timed(spec, &totals.failovers.detect),
    },
    Row {
        spec: Spec::counter(
            "pgmesh_holds_total",
            "How often no primary was proven any more, and transactions were held.",
            &[],
        ),
        read: |spec, totals| one(spec, &totals.failovers.holds),
    },
    Row {
        spec: Spec::histogram(
            "pgmesh_failover_hold_seconds",
            "How long no transaction could begin, until the next primary was proven.",
            &[],
        ),
        read: |spec, totals| timed(spec, &totals.failovers.hold),
    },
    Row {
        spec: Spec::histogram(
            "pgmesh_failover_first_success_seconds",
            "From the proof of a new primary to the end of the first transaction on it.",
            &[],
        ),
        read: |spec, totals| timed(spec, &totals.failovers.first_success),
    },
];

#[derive(Debug)]
struct ReloadCollector {
    of: Arc<ReloadMetrics>,
    descs: Vec<Desc>,
}

impl Collector for ReloadCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        collect(reloads::ROWS, std::iter::once(&*self.of))
    }
}

#[derive(Debug)]
struct TotalsCollector {
    totals: Arc<Totals>,
    descs: Vec<Desc>,
}

impl Collector for TotalsCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        collect(ROWS, std::iter::once(&*self.totals))
    }
}
