//! Listening sockets.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use crate::{Config, Port};

/// A socket that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// The reason of the operating system.
    pub source: io::Error,
}

/// One listening socket.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    address: SocketAddr,
    port: Port,
}

impl Listener {
    /// Opens every socket of the configuration, or none. With `share` other listeners, of
    /// other threads or of the process that takes over, may open the same ones.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub fn bind(config: &Config, share: bool) -> Result<Vec<Self>, BindError> {
        config
            .endpoints()
            .map(|(port, address)| {
                let open = || {
                    let inner = transport::listen(address, config.backlog, share, &config.tcp)?;
                    let address = inner.local_addr()?;
                    Ok(Self { inner, address, port })
                };
                open().map_err(|source| BindError { address, source })
            })
            .collect()
    }

    /// The address listened on, with the port that the system chose if it was asked to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients of this socket want.
    pub fn port(&self) -> Port {
        self.port
    }

    /// Waits for the next client. A client that is gone before it
    /// could be accepted is passed over.
    ///
    /// # Errors
    /// This process or machine is out of descriptors or memory. Pause before the next call:
    /// the client still waits, so it would fail again at once.
    ///
    /// # Cancel safety
    /// No connection is lost when the future is dropped.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            match self.inner.accept().await {
                Ok(accepted) => return Ok(accepted),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Errors of the connection that was to be accepted (accept(2), "Error handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TimedOut
    )
}
