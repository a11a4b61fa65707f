//! TCP sockets: options, connecting and listening.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// Options for every TCP connection of one side of the proxy.
///
/// `TCP_NODELAY` is not among them: it is always on, since a request is written whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Probes on a silent connection; `None` leaves them off.
    pub keepalive: Option<Keepalive>,
    /// How long written data may stay unacknowledged before the connection is given up
    /// (`TCP_USER_TIMEOUT`); `None` leaves it to the kernel, which takes about 15 minutes.
    pub user_timeout: Option<Duration>,
}

/// When a silent connection is probed. The kernel counts in whole seconds; less becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes after which the connection is dead.
    pub count: u32,
}

// === impl Keepalive ===

/// Dead after 30 s + 3 × 10 s: inside the 60 s in which most NAT tables forget a connection.
impl Default for Keepalive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), interval: Duration::from_secs(10), count: 3 }
    }
}

// === impl Config ===

/// Keepalive as its own default, and as long for unacknowledged data: a peer that vanished
/// is noticed in the same time whether or not something was being sent to it.
impl Default for Config {
    fn default() -> Self {
        Self { keepalive: Some(Keepalive::default()), user_timeout: Some(Duration::from_secs(60)) }
    }
}

impl Config {
    /// Sets the options on a socket that is not connected yet.
    fn apply_to(&self, socket: SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        if let Some(keepalive) = &self.keepalive {
            let whole = |time: Duration| time.max(Duration::from_secs(1));
            let options = TcpKeepalive::new()
                .with_time(whole(keepalive.idle))
                .with_interval(whole(keepalive.interval))
                .with_retries(keepalive.count);
            socket.set_tcp_keepalive(&options)?;
        }
        #[cfg(target_os = "linux")]
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }
}

/// Connects to one address with the options set beforehand, so that the user timeout
/// already covers the first bytes. There is no time limit here: the caller has one.
///
/// # Errors
/// Whatever the operating system says of the socket or of the connection.
///
/// # Cancel safety
/// Dropping the future closes the socket.
pub async fn connect(address: SocketAddr, config: &Config) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    config.apply_to(SockRef::from(&socket))?;
    socket.connect(address).await
}

/// Opens a listening socket. Must be called inside a tokio runtime with io enabled.
///
/// `SO_REUSEADDR` is set, so that a restart need not wait for old connections; with `share`
/// also `SO_REUSEPORT`, so that several listeners, one per thread or an old and a new process,
/// divide the clients. An IPv6 listener takes IPv6 only. Accepted sockets have the options of
/// `config` from the listening one, so that nothing has to be set on each.
///
/// # Errors
/// Whatever the operating system says, `AddrInUse` first of all.
pub fn listen(
    address: SocketAddr,
    backlog: u32,
    share: bool,
    config: &Config,
) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if share {
        socket.set_reuse_port(true)?;
    }
    config.apply_to(SockRef::from(&socket))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Accepts one connection that waits already; `None` if none does. Asks the kernel whatever is
/// known of the listener, so that none is missed before it is closed.
///
/// # Errors
/// As `accept`.
pub fn accept_waiting(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    let Some((socket, address)) = accept_now(SockRef::from(listener))? else { return Ok(None) };
    let address = address.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((TcpStream::from_std(socket.into())?, address)))
}

/// The same of a Unix socket.
///
/// # Errors
/// As `accept`.
pub fn accept_waiting_unix(listener: &UnixListener) -> io::Result<Option<UnixStream>> {
    let Some((socket, _)) = accept_now(SockRef::from(listener))? else { return Ok(None) };
    UnixStream::from_std(socket.into()).map(Some)
}

/// The listener must not block.
fn accept_now(listener: SockRef<'_>) -> io::Result<Option<(Socket, SockAddr)>> {
    match listener.accept() {
        Ok((socket, address)) => {
            socket.set_nonblocking(true)?;
            Ok(Some((socket, address)))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn options_reach_the_kernel() {
        let keepalive = Keepalive {
            idle: Duration::from_secs(7),
            interval: Duration::from_millis(1),
            count: 4,
        };
        let config =
            Config { keepalive: Some(keepalive), user_timeout: Some(Duration::from_millis(1500)) };
        let listener = listen("127.0.0.1:0".parse().unwrap(), 16, false, &config).unwrap();
        let connected = connect(listener.local_addr().unwrap(), &config).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        for stream in [connected, accepted] {
            let socket = SockRef::from(&stream);
            assert!(socket.tcp_nodelay().unwrap());
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(7));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(1));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(1500)));
        }
    }

    #[tokio::test]
    async fn who_waits_is_accepted_before_the_listener_is_asked_for_the_first_time() {
        let listener =
            listen("127.0.0.1:0".parse().unwrap(), 16, false, &Config::default()).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(accept_waiting(&listener).unwrap().is_none());
        let clients = [(), ()].map(|()| std::net::TcpStream::connect(address).unwrap());
        for client in clients {
            let (_, from) = accept_waiting(&listener).unwrap().unwrap();
            assert_eq!(from, client.local_addr().unwrap());
        }
        assert!(accept_waiting(&listener).unwrap().is_none());
    }

    #[tokio::test]
    async fn only_shared_listeners_share_a_port() {
        let config = Config::default();
        let first = listen("127.0.0.1:0".parse().unwrap(), 16, true, &config).unwrap();
        let address = first.local_addr().unwrap();
        let _second = listen(address, 16, true, &config).unwrap();
        let alone = listen(address, 16, false, &config).unwrap_err();
        assert_eq!(alone.kind(), io::ErrorKind::AddrInUse);
    }
}
