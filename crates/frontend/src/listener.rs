//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};

use tokio::net::{TcpListener, UnixListener, UnixStream};
use transport::{Inherited, Socket, SocketFile, UnixError, listen_unix};

use crate::{ClientAddress, Config, Endpoint, Port};

/// A socket that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// One of TCP.
    #[error("cannot listen on {address}: {source}")]
    Tcp {
        /// The address asked for.
        address: SocketAddr,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// One in the file system, or beside it.
    #[error(transparent)]
    Unix(#[from] UnixError),
}

/// Everything that is listened on.
#[derive(Debug)]
pub struct Bound {
    /// One for each socket.
    pub listeners: Vec<Listener>,
    /// What lies in the file system for them; removed when this is dropped, wherever the
    /// listeners are then.
    pub files: Vec<SocketFile>,
}

/// One listening socket.
#[derive(Debug)]
pub struct Listener {
    inner: Inner,
    endpoint: Endpoint,
    port: Port,
}

#[derive(Debug)]
enum Inner {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Opens every socket of the configuration that was not inherited, or none. One that was is
    /// taken as it is; of several addresses those are left out that an inherited listener of all
    /// addresses covers. Blocks where the file system does.
    ///
    /// # Errors
    /// The first socket that cannot be listened on.
    pub fn bind(config: &Config, inherited: &mut Inherited) -> Result<Bound, BindError> {
        let mut bound = Bound { listeners: Vec::new(), files: Vec::new() };
        // Before TCP, whose ports others watch to see that all is up.
        if let Some(unix) = &config.unix {
            for (port, number) in config.ports() {
                let path = unix.path(number);
                let (inner, file) = listen_unix(&path, &unix.access, config.backlog, inherited)?;
                let endpoint = Endpoint::Unix(path);
                bound.listeners.push(Self { inner: Inner::Unix(inner), endpoint, port });
                bound.files.extend(file);
            }
        }
        for (port, address) in config.endpoints() {
            let failed = |source| BindError::Tcp { address, source };
            let inner = match inherited.take_tcp(address) {
                Some(listener) => TcpListener::from_std(listener).map_err(failed)?,
                None if inherited.covers(address) => continue,
                None => transport::listen(address, config.backlog, false, &config.tcp)
                    .map_err(failed)?,
            };
            let endpoint = Endpoint::Tcp(inner.local_addr().map_err(failed)?);
            bound.listeners.push(Self { inner: Inner::Tcp(inner), endpoint, port });
        }
        Ok(bound)
    }

    /// The socket, for another process.
    ///
    /// # Errors
    /// There are too few descriptors.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        match &self.inner {
            Inner::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Inner::Unix(listener) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// What is listened on, with the port that the system chose if it was asked to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What clients of this socket want.
    pub fn port(&self) -> Port {
        self.port
    }

    /// Waits for the next client, and asks who it is on a Unix socket. A client that is gone before
    /// it could be accepted is passed over.
    ///
    /// # Errors
    /// This process or machine is out of descriptors or memory. Pause before the next call:
    /// the client still waits, so it would fail again at once.
    ///
    /// # Cancel safety
    /// No connection is lost when the future is dropped.
    pub async fn accept(&self) -> io::Result<(Socket, ClientAddress)> {
        loop {
            match self.inner.accept().await {
                Ok(Some(accepted)) => return Ok(accepted),
                Ok(None) => {}
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next client of those who wait already, whatever is known of the socket; `None` if
    /// nobody does. For the end: closing the socket resets who waits.
    ///
    /// # Errors
    /// As [`Listener::accept`], and those of one connection.
    pub fn accept_waiting(&self) -> io::Result<Option<(Socket, ClientAddress)>> {
        match &self.inner {
            Inner::Tcp(listener) => {
                let accepted = transport::accept_waiting(listener)?;
                Ok(accepted.map(|(socket, peer)| (Socket::Tcp(socket), ClientAddress::Host(peer))))
            }
            Inner::Unix(listener) => loop {
                let Some(socket) = transport::accept_waiting_unix(listener)? else {
                    return Ok(None);
                };
                if let Some(address) = local(&socket) {
                    return Ok(Some((Socket::Unix(socket), address)));
                }
            },
        }
    }
}

impl Inner {
    /// The next client; `None` if it has gone.
    async fn accept(&self) -> io::Result<Option<(Socket, ClientAddress)>> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                Ok(Some((Socket::Tcp(socket), ClientAddress::Host(peer))))
            }
            Self::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                Ok(local(&socket).map(|address| (Socket::Unix(socket), address)))
            }
        }
    }
}

/// Who is on the other end; `None` if it has gone.
fn local(socket: &UnixStream) -> Option<ClientAddress> {
    let credentials = socket.peer_cred().ok();
    credentials.map(|it| ClientAddress::Local { uid: it.uid() })
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
