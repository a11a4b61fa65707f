//! Who is measured, and starting each.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use testbed::{
    APP_DATABASE, APP_USER, Bed, Daemon, HaProxy, Interrupt, Login, PgBouncer, PgBouncerOptions,
    Pgmesh, PgmeshOptions, Port, Postgres, ServerTls, Signal,
};

use super::cell::{Cell, Link, Protocol, Stay};

/// Servers of every pooler.
pub(crate) const POOL_SIZE: u32 = 40;

/// Servers that the bare relay may want: one for each client.
pub(crate) const RELAY_CLIENTS_MAX: u32 = 250;

/// Clients that every proxy is told to expect.
const CLIENTS_MAX: u32 = 12_000;

/// What a proxy has open besides its clients.
const DESCRIPTORS_SPARE: u64 = 500;

/// From start to the first answered connection.
const READY: Duration = Duration::from_secs(20);

/// A proxy, or two in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Pgmesh,
    /// Another build of pgmesh.
    Other,
    PgBouncer,
    /// HAProxy in front of a PgBouncer.
    HaProxy,
    /// No protocol at all: the floor.
    Relay,
}

/// A peer that runs. Ends with this value.
pub(crate) struct Running {
    pub(crate) peer: Peer,
    /// Whose processor time and memory count.
    pub(crate) processes: Vec<u32>,
    clients_max: u32,
    login: Login,
    daemons: Daemons,
}

/// In the order in which they end.
enum Daemons {
    Pgmesh(Pgmesh),
    PgBouncer(PgBouncer),
    HaProxy(HaProxy, PgBouncer),
    Relay { daemon: Daemon, _port: Port, _bed: Bed },
}

/// What starting a peer takes.
pub(crate) struct Backstage {
    pub(crate) postgres: Postgres,
    /// Where cargo puts release binaries.
    pub(crate) release: PathBuf,
    pub(crate) other: Option<PathBuf>,
    pub(crate) pgbouncer: Option<PathBuf>,
    pub(crate) tls: ServerTls,
    /// What Postgres keeps of the application's password.
    pub(crate) verifier: String,
    /// For files of ours.
    pub(crate) bed: Bed,
    /// That a process may have open.
    pub(crate) descriptors: u64,
    pub(crate) interrupt: Interrupt,
}

/// As whom a load logs in, and what is to be said about it.
pub(crate) struct Access {
    pub(crate) login: Login,
    pub(crate) note: Option<&'static str>,
}

impl Peer {
    pub(crate) const ALL: [Self; 5] =
        [Self::Pgmesh, Self::Other, Self::PgBouncer, Self::HaProxy, Self::Relay];

    pub(crate) const USUAL: [Self; 4] = [Self::Pgmesh, Self::PgBouncer, Self::HaProxy, Self::Relay];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pgmesh => "pgmesh",
            Self::Other => "other",
            Self::PgBouncer => "pgbouncer",
            Self::HaProxy => "haproxy",
            Self::Relay => "relay",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.as_str() == name)
    }

    /// Whether it has a pool, and ends TLS.
    pub(crate) fn is_pooler(self) -> bool {
        self != Self::Relay
    }
}

impl Backstage {
    /// Starts a peer and waits until it answers.
    pub(crate) fn start(&self, peer: Peer) -> anyhow::Result<Running> {
        let daemons = match peer {
            Peer::Pgmesh => self.pgmesh(self.release.join("pgmesh")),
            Peer::Other => self.pgmesh(self.other.clone().context("no path of another pgmesh")?),
            Peer::PgBouncer => self.pgbouncer().map(Daemons::PgBouncer),
            Peer::HaProxy => self.pgbouncer().and_then(|pgbouncer| {
                let clients = self.clients_max(2);
                let haproxy = HaProxy::start(pgbouncer.port(), clients, self.interrupt.clone())?;
                Ok(Daemons::HaProxy(haproxy, pgbouncer))
            }),
            Peer::Relay => self.relay(),
        };
        let daemons = daemons.with_context(|| format!("start {}", peer.as_str()))?;
        let (processes, login) = match &daemons {
            Daemons::Pgmesh(pgmesh) => (vec![pgmesh.id()], pgmesh.app()),
            Daemons::PgBouncer(pgbouncer) => (vec![pgbouncer.id()], pgbouncer.app()),
            Daemons::HaProxy(haproxy, pgbouncer) => {
                (vec![haproxy.id(), pgbouncer.id()], haproxy.app())
            }
            Daemons::Relay { daemon, _port, .. } => {
                (vec![daemon.id()], Login::new(_port.number(), APP_USER, APP_DATABASE))
            }
        };
        let clients_max = match peer {
            Peer::Relay => RELAY_CLIENTS_MAX,
            Peer::HaProxy => self.clients_max(2),
            Peer::Pgmesh | Peer::Other | Peer::PgBouncer => self.clients_max(1),
        };
        Ok(Running { peer, processes, clients_max, login, daemons })
    }

    /// How many clients may be expected of a proxy with this many descriptors for each: HAProxy
    /// refuses to start with more than it can have.
    fn clients_max(&self, descriptors: u64) -> u32 {
        let fit = self.descriptors.saturating_sub(DESCRIPTORS_SPARE) / descriptors;
        u32::try_from(fit).unwrap_or(CLIENTS_MAX).min(CLIENTS_MAX)
    }

    fn pgmesh(&self, binary: PathBuf) -> anyhow::Result<Daemons> {
        let options =
            PgmeshOptions { interrupt: self.interrupt.clone(), ..PgmeshOptions::new(binary) };
        let (certificate, key) =
            (self.bed.path().join("server.crt"), self.bed.path().join("server.key"));
        let pgmesh = Pgmesh::start_with(&options, |ports| {
            ports.toml_for_postgres(&self.postgres)
                + &format!(
                    "\n[proxy.tls]\nmode = \"prefer\"\ncertificate = \"{}\"\nkey = \"{}\"\n\
                     \n[server.tls]\nmode = \"disable\"\n\
                     \n[pool]\nsize = {POOL_SIZE}\nreserve_size = 0\n\
                     \n[log]\nlevel = \"warn\"\n",
                    certificate.display(),
                    key.display(),
                )
        })?;
        Ok(Daemons::Pgmesh(pgmesh))
    }

    fn pgbouncer(&self) -> anyhow::Result<PgBouncer> {
        let mut options = PgBouncerOptions {
            pool_size: POOL_SIZE,
            max_clients: self.clients_max(1),
            tls: Some(self.tls.clone()),
            verifier: Some(self.verifier.clone()),
            interrupt: self.interrupt.clone(),
            ..PgBouncerOptions::installed()?
        };
        if let Some(binary) = &self.pgbouncer {
            options.binary.clone_from(binary);
        }
        Ok(PgBouncer::start(&self.postgres, &options)?)
    }

    fn relay(&self) -> anyhow::Result<Daemons> {
        let bed = Bed::new(self.interrupt.clone())?;
        let port = Port::reserve()?;
        let mut relay = Command::new(self.release.join("relay"));
        relay.arg(format!("127.0.0.1:{port}"));
        relay.arg(format!("127.0.0.1:{}", self.postgres.port()));
        let mut daemon = bed.spawn("relay", &mut relay, Signal::KILL)?;
        daemon.wait_ready(READY, &self.interrupt, || testbed::answers(port.number()))?;
        Ok(Daemons::Relay { daemon, _port: port, _bed: bed })
    }
}

impl Running {
    /// How to run a load through it; `Err` says why that cannot be.
    pub(crate) fn access(&self, cell: &Cell) -> Result<Access, &'static str> {
        if self.peer == Peer::Relay && cell.link == Link::Tls {
            return Err("ends no TLS");
        }
        if cell.clients > self.clients_max {
            return Err("would need more servers or descriptors than there are");
        }
        let mut login = self.login.clone();
        let bouncer = match &self.daemons {
            Daemons::PgBouncer(pgbouncer) | Daemons::HaProxy(_, pgbouncer) => Some(pgbouncer),
            _ => None,
        };
        let keeps_prepared = bouncer.is_none_or(PgBouncer::keeps_prepared);
        if cell.protocol != Protocol::Prepared || keeps_prepared {
            return Ok(Access { login, note: None });
        }
        if cell.stay == Stay::Run && cell.clients > POOL_SIZE {
            return Err("this version keeps no prepared statements but in session mode");
        }
        login.database = PgBouncer::SESSION_DATABASE.to_owned();
        Ok(Access { login, note: Some("session mode") })
    }

    /// A login in the mode that is compared.
    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    /// The version, where the program is not ours.
    pub(crate) fn version(&self) -> Option<&str> {
        match &self.daemons {
            Daemons::PgBouncer(pgbouncer) => Some(pgbouncer.version()),
            _ => None,
        }
    }

    /// The end of what it logged.
    pub(crate) fn log(&self) -> String {
        match &self.daemons {
            Daemons::Pgmesh(pgmesh) => pgmesh.log(),
            Daemons::PgBouncer(pgbouncer) => pgbouncer.tail(),
            Daemons::HaProxy(haproxy, pgbouncer) => haproxy.tail() + &pgbouncer.tail(),
            Daemons::Relay { daemon, .. } => daemon.tail(),
        }
    }
}
