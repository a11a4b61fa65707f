//! The cluster, and the proxies in front of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use testbed::{
    Backend, Cluster, ClusterOptions, HaProxy, Interrupt, Login, Network, PgBouncer,
    PgBouncerOptions, Pgmesh, PgmeshOptions, until,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::client::{Connection, Phase};
use super::options::Options;
use super::table;

/// Servers of every pooler: those that hold transactions open, and some for the writers.
const POOL_SIZE: u32 = 60;

/// Of HAProxy; each takes two descriptors.
const HAPROXY_CLIENTS_MAX: u32 = 1000;

/// For the pools of two peers, ours and Patroni's.
const CONNECTIONS_MAX: u32 = 300;

/// For killed nodes to come back by themselves.
const HEALED: Duration = Duration::from_secs(60);

/// With fresh data, where that does not help.
const REMADE: Duration = Duration::from_secs(120);

/// For a proxy to see who is leader: HAProxy looks every three seconds.
const SEEN: Duration = Duration::from_secs(60);

/// Logins in a row that must reach the leader before a proxy counts as ready: HAProxy takes turns
/// between those that it believes to be leader.
const LOGINS: usize = 8;

/// What stands between clients and cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Pgmesh,
    /// HAProxy in front, with Patroni's template; behind it a PgBouncer for each node.
    HaProxy,
    /// The other way round: one PgBouncer in front, and an HAProxy between it and the nodes.
    PgBouncer,
}

/// A proxy that runs.
pub(crate) struct Running {
    pub(crate) peer: Peer,
    pub(crate) login: Login,
    daemons: Daemons,
}

enum Daemons {
    Pgmesh(Pgmesh),
    HaProxy(HaProxy, Vec<PgBouncer>),
}

/// Everything that runs.
pub(crate) struct Stage {
    // Before the cluster: fields are dropped in order.
    pub(crate) running: Vec<Running>,
    pub(crate) cluster: Cluster,
    /// Of the clients.
    pub(crate) runtime: Runtime,
    pub(crate) interrupt: Interrupt,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Pgmesh, Self::HaProxy, Self::PgBouncer];

    pub(crate) const USUAL: [Self; 2] = [Self::Pgmesh, Self::HaProxy];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pgmesh => "pgmesh",
            Self::HaProxy => "haproxy",
            Self::PgBouncer => "pgbouncer",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.as_str() == name)
    }

    /// What is in the way of a query.
    pub(crate) fn way(self) -> &'static str {
        match self {
            Self::Pgmesh => "client → pgmesh → Postgres",
            Self::HaProxy => "client → HAProxy → PgBouncer of the node → Postgres",
            Self::PgBouncer => "client → PgBouncer → HAProxy → Postgres",
        }
    }
}

impl Stage {
    /// Starts the cluster and every peer, and makes the tables.
    pub(crate) fn set_up(
        options: &Options,
        binary: &Path,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let network = match Network::can_be_cut() {
            Ok(()) => Network::Namespaces,
            Err(reason) => {
                println!("no network that can be cut, so no partition: {reason}");
                Network::Loopback
            }
        };
        println!("starting one etcd and three Patroni nodes");
        let cluster = Cluster::start(ClusterOptions {
            failsafe: true,
            synchronous: true,
            network,
            settings: vec![("max_connections".to_owned(), CONNECTIONS_MAX.to_string())],
            interrupt: interrupt.clone(),
            ..ClusterOptions::default()
        })
        .context("start the cluster")?;
        let mut stage = Self::empty(cluster, interrupt)?;
        stage.restart_peers(options, binary)?;
        Ok(stage)
    }

    /// A cluster that runs already, with a pgmesh in front of it.
    pub(crate) fn before(
        cluster: Cluster,
        pgmesh: Pgmesh,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let mut stage = Self::empty(cluster, interrupt)?;
        let (peer, login) = (Peer::Pgmesh, pgmesh.app());
        stage.running.push(Running { peer, login, daemons: Daemons::Pgmesh(pgmesh) });
        Ok(stage)
    }

    /// What [`Stage::before`] was given; `None` if it was made otherwise.
    pub(crate) fn into_parts(self) -> Option<(Cluster, Pgmesh)> {
        let pgmesh = self.running.into_iter().find_map(|running| match running.daemons {
            Daemons::Pgmesh(pgmesh) => Some(pgmesh),
            Daemons::HaProxy(..) => None,
        });
        Some((self.cluster, pgmesh?))
    }

    fn empty(cluster: Cluster, interrupt: &Interrupt) -> anyhow::Result<Self> {
        table::make(&cluster)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start a runtime")?;
        Ok(Self { running: Vec::new(), cluster, runtime, interrupt: interrupt.clone() })
    }

    fn start(&self, peer: Peer, binary: &Path, options: &Options) -> anyhow::Result<Running> {
        let (login, daemons) = match peer {
            Peer::Pgmesh => {
                let pgmesh = self.pgmesh(binary, options)?;
                (pgmesh.app(), Daemons::Pgmesh(pgmesh))
            }
            Peer::HaProxy => {
                let nodes = self.cluster.nodes();
                let bouncers = nodes.iter().map(|node| self.pgbouncer(node.address()));
                let bouncers = bouncers.collect::<anyhow::Result<Vec<_>>>()?;
                let addresses = bouncers.iter().map(|bouncer| {
                    let login = bouncer.app();
                    std::net::SocketAddrV4::new(login.host, login.port)
                });
                let haproxy = self.haproxy(addresses)?;
                (haproxy.app(), Daemons::HaProxy(haproxy, bouncers))
            }
            Peer::PgBouncer => {
                let haproxy =
                    self.haproxy(self.cluster.nodes().iter().map(testbed::Node::address))?;
                let login = haproxy.app();
                let server = std::net::SocketAddrV4::new(login.host, login.port);
                let bouncer = self.pgbouncer(server)?;
                (bouncer.app(), Daemons::HaProxy(haproxy, vec![bouncer]))
            }
        };
        Ok(Running { peer, login, daemons })
    }

    fn pgmesh(&self, binary: &Path, options: &Options) -> anyhow::Result<Pgmesh> {
        let start =
            PgmeshOptions { interrupt: self.interrupt.clone(), ..PgmeshOptions::new(binary) };
        // What the crowd needs besides the crew.
        let clients = options.crowd.unwrap_or_default() + 1000;
        let pgmesh = Pgmesh::start_with(&start, |ports| {
            let toml = ports.toml_for_cluster(&self.cluster);
            let toml = toml.replacen(
                "\n[proxy]\n",
                &format!("\n[proxy]\nmax_client_connections = {clients}\n"),
                1,
            );
            toml + &format!("\n[pool]\nsize = {POOL_SIZE}\nreserve_size = 0\n")
        })?;
        Ok(pgmesh)
    }

    fn pgbouncer(&self, server: std::net::SocketAddrV4) -> anyhow::Result<PgBouncer> {
        let options = PgBouncerOptions {
            pool_size: POOL_SIZE,
            interrupt: self.interrupt.clone(),
            ..PgBouncerOptions::installed()?
        };
        Ok(PgBouncer::start_before(server, &options)?)
    }

    fn haproxy(
        &self,
        addresses: impl Iterator<Item = std::net::SocketAddrV4>,
    ) -> anyhow::Result<HaProxy> {
        let nodes = self.cluster.nodes().iter().zip(addresses);
        let backends: Vec<Backend> = nodes
            .map(|(node, address)| Backend {
                name: node.name().to_owned(),
                address,
                check: node.api_address(),
            })
            .collect();
        Ok(HaProxy::start_before(&backends, HAPROXY_CLIENTS_MAX, self.interrupt.clone())?)
    }

    /// Starts every peer anew: one that has seen a later timeline than the cluster is on refuses
    /// writes, and rightly.
    pub(crate) fn restart_peers(&mut self, options: &Options, binary: &Path) -> anyhow::Result<()> {
        self.running.clear();
        for &peer in &options.peers {
            let running = self.start(peer, binary, options);
            let running = running.with_context(|| format!("start {}", peer.as_str()))?;
            self.running.push(running);
        }
        Ok(())
    }

    /// Waits until the cluster is whole and every peer leads to its leader.
    pub(crate) fn wait_whole(&mut self) -> anyhow::Result<()> {
        self.wait_cluster()?;
        self.wait_peers()
    }

    /// Waits until somebody leads, the other nodes aside.
    pub(crate) fn wait_leader(&self) -> anyhow::Result<()> {
        let leads = || Ok(self.cluster.leader().ok().map(|_| ()));
        Ok(until("a leader", REMADE, &self.interrupt, leads)?)
    }

    /// Waits until the cluster is whole.
    pub(crate) fn wait_cluster(&mut self) -> anyhow::Result<()> {
        if self.cluster.wait_ready(HEALED).is_err() && !self.interrupt.raised() {
            let stragglers = self.cluster.stragglers()?;
            // Patroni may not see that a node which was leader is ahead of the new one.
            for name in &stragglers {
                println!("{name} does not follow: its data is copied anew");
                self.cluster.reinitialize(name)?;
            }
            // A Patroni 3.0 that hung and was woken may go on with etcd's revisions of before, and
            // then never names a synchronous standby.
            if stragglers.is_empty() {
                let leader = self.cluster.leader()?.name().to_owned();
                println!("{leader} names no synchronous standby: it is killed and started again");
                self.cluster.kill(&leader)?;
                self.cluster.restart(&leader)?;
            }
        }
        Ok(self.cluster.wait_ready(REMADE)?)
    }

    /// Waits until every peer leads to the leader of a cluster that is whole.
    pub(crate) fn wait_peers(&self) -> anyhow::Result<()> {
        for running in &self.running {
            let what = format!("{} to lead to the leader", running.peer.as_str());
            until(&what, SEEN, &self.interrupt, || {
                let leads = (0..LOGINS).all(|_| self.leads_to_leader(&running.login));
                Ok(leads.then_some(()))
            })
            .context("its log is among the others")?;
        }
        Ok(())
    }

    fn leads_to_leader(&self, login: &Login) -> bool {
        let (_phase, phase) = watch::channel(Phase::Steady);
        let answer = self.runtime.block_on(async {
            let connection = Connection::open(login, &phase).await.ok()?;
            connection.simple("SELECT pg_is_in_recovery()").await.ok()
        });
        answer.as_deref() == Some("f")
    }

    /// Which peers there are, and how to log in to each.
    pub(crate) fn logins(&self) -> Vec<(Peer, Login)> {
        self.running.iter().map(|running| (running.peer, running.login.clone())).collect()
    }

    /// Copies what everybody logged into a directory, which it makes.
    pub(crate) fn keep_logs(&self, directory: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(directory).context("make a directory for logs")?;
        for running in &self.running {
            let file = directory.join(format!("{}.log", running.peer.as_str()));
            fs::write(file, running.log()).context("keep a log")?;
        }
        let bed = self.cluster.bed().path();
        for entry in fs::read_dir(bed).context("read the cluster's directory")?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "log") {
                fs::copy(entry.path(), directory.join(entry.file_name())).context("keep a log")?;
            }
        }
        Ok(())
    }
}

impl Running {
    /// What it logged, or its end.
    pub(crate) fn log(&self) -> String {
        match &self.daemons {
            Daemons::Pgmesh(pgmesh) => pgmesh.log(),
            Daemons::HaProxy(haproxy, bouncers) => {
                let logs = bouncers.iter().map(PgBouncer::tail);
                logs.fold(haproxy.tail(), |logs, log| logs + &log)
            }
        }
    }

    /// The version of PgBouncer, where there is one.
    pub(crate) fn version(&self) -> Option<&str> {
        match &self.daemons {
            Daemons::HaProxy(_, bouncers) => bouncers.first().map(PgBouncer::version),
            Daemons::Pgmesh(_) => None,
        }
    }
}
