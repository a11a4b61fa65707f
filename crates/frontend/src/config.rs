//! What the operator says about the client side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use transport::UnixAccess;

/// Which kind of node clients of a port want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    /// Any healthy node.
    Any,
    /// The primary.
    Primary,
    /// A replica.
    Replica,
}

/// The client side's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen on, each with all the ports.
    pub listen: Vec<IpAddr>,
    /// The port for reads and writes; 0 lets the system choose.
    pub port: u16,
    /// The read-only port, if any.
    pub replica_port: Option<u16>,
    /// The port for any healthy node, if any.
    pub any_port: Option<u16>,
    /// Unix sockets, one for each of the ports; `None` opens none.
    pub unix: Option<UnixSockets>,
    /// From accept to ReadyForQuery; past it the connection is closed.
    pub login_timeout: Duration,
    /// Connections that may wait in the kernel to be accepted.
    pub backlog: u32,
    /// TLS towards clients.
    pub tls: transport::ServerTls,
    /// TCP options of client connections.
    pub tcp: transport::Config,
}

/// Unix sockets, named as libpq looks for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSockets {
    /// Where they lie. One that begins with `@` is not in the file system.
    pub directory: String,
    /// Who may connect to them.
    pub access: UnixAccess,
}

impl UnixSockets {
    /// The name of a port's socket.
    pub fn path(&self, port: u16) -> PathBuf {
        format!("{}/.s.PGSQL.{port}", self.directory.trim_end_matches('/')).into()
    }
}

impl Port {
    /// A name, fit for a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}

impl Config {
    /// Every TCP socket to open.
    pub fn endpoints(&self) -> impl Iterator<Item = (Port, SocketAddr)> {
        self.listen.iter().flat_map(|&address| {
            self.ports().map(move |(kind, port)| (kind, SocketAddr::new(address, port)))
        })
    }

    /// The ports that are on, whatever they are opened on.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (Port, u16)> + use<> {
        [
            (Port::Primary, Some(self.port)),
            (Port::Replica, self.replica_port),
            (Port::Any, self.any_port),
        ]
        .into_iter()
        .filter_map(|(kind, port)| Some((kind, port?)))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
            port: 5432,
            replica_port: None,
            any_port: None,
            unix: None,
            login_timeout: LOGIN_TIMEOUT_DEFAULT,
            backlog: BACKLOG_DEFAULT,
            tls: transport::ServerTls::default(),
            tcp: transport::Config::default(),
        }
    }
}

/// PgBouncer's `client_login_timeout` and Postgres' `authentication_timeout`.
const LOGIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// What Linux allows by default (`net.core.somaxconn`): after a restart all clients come at once.
const BACKLOG_DEFAULT: u32 = 4096;
