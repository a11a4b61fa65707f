//! What the operator says about the client side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

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
    /// From accept to ReadyForQuery; past it the connection is closed.
    pub login_timeout: Duration,
    /// Connections that may wait in the kernel to be accepted.
    pub backlog: u32,
    /// TLS towards clients.
    pub tls: transport::ServerTls,
    /// TCP options of client connections.
    pub tcp: transport::Config,
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
    /// Every socket to open.
    pub fn endpoints(&self) -> impl Iterator<Item = (Port, SocketAddr)> {
        self.listen.iter().flat_map(|&address| {
            [
                (Port::Primary, Some(self.port)),
                (Port::Replica, self.replica_port),
                (Port::Any, self.any_port),
            ]
            .into_iter()
            .filter_map(move |(kind, port)| Some((kind, SocketAddr::new(address, port?))))
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
            port: 5432,
            replica_port: None,
            any_port: None,
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
