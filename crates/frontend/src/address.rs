//! Where clients connect, and where they come from.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use auth::hba::Peer;

/// What is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket, by its name.
    Unix(PathBuf),
}

/// Where a client comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAddress {
    /// From there by TCP.
    Host(SocketAddr),
    /// By a Unix socket.
    Local {
        /// The user that its process ran as when it connected.
        uid: u32,
    },
}

impl ClientAddress {
    /// As rules see it.
    pub fn peer(self) -> Peer {
        match self {
            Self::Host(address) => Peer::Host(address.ip()),
            Self::Local { .. } => Peer::Local,
        }
    }

    /// Whether TLS is a matter there. On a Unix socket it is neither offered nor asked for: nobody
    /// else hears what is said.
    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::Host(_))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// `local`, or address and port: what logs call a client.
impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(address) => address.fmt(f),
            Self::Local { .. } => f.write_str("local"),
        }
    }
}
